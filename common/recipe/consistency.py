"""Rules between keys of a recipe: values that must agree, and keys that only apply with certain values of another."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import TYPE_CHECKING, Any, get_args

from graftwork.common.recipe.keys import found_text
from graftwork.common.recipe.strategy import STRATEGIES, Norm
from graftwork.common.recipe.toml import value_text
from graftwork.common.recipe.unused_keys import STEPS

if TYPE_CHECKING:
    from graftwork.common.recipe import Recipe


def contradictions(
    given: dict[str, Any], faulty: Container[str], defaults: Mapping[str, Any]
) -> list[tuple[tuple[str, ...], str]]:
    """Errors that involve several keys: (the keys, the one to change first; what was expected and found).

    Args:
        given: the keys as given, in sections; missing ones have their defaults.
        faulty: keys with an error of their own; rules that involve them are not checked.
        defaults: the default of every key that has one.
    """

    def at(name: str) -> Any:
        section, _, last = name.rpartition(".")
        table = (given.get(section) or {}) if section else given
        return table.get(last, defaults.get(name)) if isinstance(table, dict) else None

    found: list[tuple[tuple[str, ...], str]] = []

    def expect(fits: Callable[..., bool], text: str, *names: str) -> None:
        if any(name in faulty or name.rpartition(".")[0] in faulty for name in names):
            return
        values = [at(name) for name in names]
        if not fits(*values):
            shown = [found_text(value) if value is not None else "nothing" for value in values]
            found.append((names, text.format(*shown)))

    by_group = 'with split.by = "group"'
    for part, use in (("test", "test on"), ("validation", "choose the epoch and the threshold on")):
        expect(
            lambda share, by: by != "group" or share > 0,
            f"expected more than 0 {by_group} (nothing would be left to {use}), found {{0}}",
            f"split.{part}",
            "split.by",
        )
    expect(
        lambda test, validation, by: by != "group" or test + validation < 1,
        f"expected less than 1 together with split.validation {by_group} (nothing would be left to train "
        "on), found {0} and {1}",
        "split.test",
        "split.validation",
        "split.by",
    )
    for strategy, record in STRATEGIES.items():
        modes = " or ".join(f'"{mode}"' for mode in get_args(Norm) if mode in record.norms)
        expect(
            lambda norm, name, strategy=strategy, record=record: (
                name != strategy or norm in (None, *record.norms)
            ),
            f"expected {modes} with strategy.name = {{1}} ({record.norms_reason}), found {{0}}",
            "strategy.norm",
            "strategy.name",
        )
    for needed in ("stages", "phases"):
        expect(
            lambda value, name, needed=needed: name != _ALONE[f"strategy.{needed}"][1][0] or bool(value),
            "expected at least one with strategy.name = {1}, found none",
            f"strategy.{needed}",
            "strategy.name",
        )
    expect(
        lambda phases, name: name != "phases" or _rising(phases),
        "expected `until` to rise from phase to phase, with 0 only in the last phase, found {0}",
        "strategy.phases",
        "strategy.name",
    )
    expect(
        lambda probe, epochs, name: name != "probe-then-full" or probe < epochs,
        "expected less than training.epochs ({1}), found {0}",
        "strategy.probe_epochs",
        "training.epochs",
        "strategy.name",
    )
    expect(
        lambda strengths, norm: not strengths or norm in (None, "hold"),
        "expected 0 with strategy.norm = {1} (only features of a frozen backbone can be cached), found {0}",
        "strategy.regularisation_strengths",
        "strategy.norm",
    )
    expect(
        lambda name, backbone: backbone != "unet3d" or name == "scratch",
        'expected "scratch" with backbone.name = "unet3d" (no weights are published for it), found {0}',
        "strategy.name",
        "backbone.name",
    )
    expect(
        lambda file, name: not file or name != "scratch",
        'expected "" with strategy.name = "scratch" (training starts from random weights, so no file is read), '
        "found {0}",
        "backbone.file",
        "strategy.name",
    )
    expect(
        lambda parts, batch: batch % parts == 0,
        "expected a divisor of training.batch_size ({1}), found {0}",
        "training.accumulation_steps",
        "training.batch_size",
    )
    for mix in ("mixup", "cutmix"):
        expect(
            lambda alpha, batch, parts: not alpha or batch // parts > 1 or batch % parts != 0,
            "expected 0 with training.batch_size = {1} and training.accumulation_steps = {2} (images are mixed within "
            "one accumulation step, and a step holds one case), found {0}",
            f"training.{mix}",
            "training.batch_size",
            "training.accumulation_steps",
        )
    expect(
        lambda warmup, epochs: warmup <= epochs,
        "expected at most training.epochs ({1}), found {0}",
        "training.warmup",
        "training.epochs",
    )
    for one, other in (("mean", "std"), ("std", "mean")):
        expect(
            lambda values, others: bool(others) or not values,
            f"expected together with backbone.{other}, which is empty",
            f"backbone.{one}",
            f"backbone.{other}",
        )
    expect(
        lambda file, weights: not file or "file" in weights,
        'expected "" where backbone.weights does not name "file", found {0}',
        "backbone.file",
        "backbone.weights",
    )
    for name, (ruler, values) in _ALONE.items():
        section = name.rpartition(".")[0]
        if isinstance(given.get(section), dict) and at(name) != defaults.get(name):
            choice = " or ".join(value_text(value) for value in values)
            expect(
                lambda _, ruling, values=values: ruling in values,
                f"expected only with {ruler} = {choice} (it does nothing under {{1}}), found {{0}}",
                name,
                ruler,
            )
    return found


# Keys that only apply where another key has one of these values.
_ALONE: dict[str, tuple[str, tuple[Any, ...]]] = {
    key: ("strategy.name", tuple(name for name, each in STRATEGIES.items() if key in each.keys))
    for strategy in STRATEGIES.values()
    for key in strategy.keys
} | {
    "strategy.unfreeze_patience": ("strategy.unfreeze_every", (0,)),
    "training.plateau_factor": ("training.schedule", ("plateau",)),
    "training.plateau_patience": ("training.schedule", ("plateau",)),
    "evaluation.threshold_target": ("evaluation.threshold", ("sensitivity", "specificity")),
}


def _rising(phases: Any) -> bool:
    """Whether phases, as tables or sections, end in order and the last one ends with the training."""
    ends = [each.get("until", 0) if isinstance(each, dict) else each.until for each in phases]
    return (
        0 not in ends[:-1]
        and ends[:-1] == sorted(set(ends[:-1]))
        and (not ends or ends[-1] == 0 or ends[-1] > max(ends[:-1], default=0))
    )


def idle_under(recipe: Recipe, name: str) -> str:
    """Why a key does nothing in this recipe, as a comment; "" where it applies."""
    if recipe.strategy.regularisation_strengths and name in STEPS:
        section, _, last = name.rpartition(".")
        table = getattr(recipe, section)
        if getattr(table, last) == type(table).model_fields[last].default:
            return "only with strategy.regularisation_strengths = 0 (the head is solved, not trained step by step)"
    if name not in _ALONE:
        return ""
    ruler, values = _ALONE[name]
    section, _, last = ruler.rpartition(".")
    if getattr(getattr(recipe, section), last) in values:
        return idle_under(recipe, ruler)
    return f"only with {ruler} = {' or '.join(value_text(value) for value in values)}"
