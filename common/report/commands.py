"""Command lines: of a call of a verb, and of the run that a report is about."""

from __future__ import annotations

import inspect
import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graftwork.common.data import domain
from graftwork.common.errors import GraftworkError
from graftwork.common.recipe import load
from graftwork.common.recipe.toml import value_text
from graftwork.common.report.formatting import shortened

if TYPE_CHECKING:
    from graftwork.common.report.run.run_facts import Facts


_OPTIONS = {"low": "from", "high": "to"}  # `from` is a word of Python


def option_of(parameter: str) -> str:
    """The command-line option of a parameter of a verb."""
    return f"--{_OPTIONS.get(parameter, parameter).replace('_', '-')}"


def listed(values: str | Iterable[str]) -> tuple[str, ...]:
    """Names given as a list, or in one text with commas."""
    each = values.split(",") if isinstance(values, str) else values
    return tuple(name.strip() for name in each if name.strip())


def command_of(
    words: str, verb: Callable[..., Any], given: Mapping[str, Any], places: Sequence[str] = ()
) -> str:
    """The command line of a call, quoted for a shell, with every option that differs from its default.

    An absolute path is cut to its last part, so that a page does not show folders of the machine.

    Args:
        words: its start, such as "evaluate seg". verb: the function. given: its arguments by name; those of
            `**options` in a mapping, as they came. places: the parameters without an option, in their order.
    """
    defaults: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for name, parameter in inspect.signature(verb).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            values |= given.get(name, {})
        elif name in given and name != "progress":
            values[name], defaults[name] = given[name], parameter.default
    command = ["graftwork", *words.split(), *(_text(values[name]) for name in places)]
    for name, value in values.items():
        if (
            name in places
            or value == defaults.get(name)
            or (not value and not isinstance(value, int | float))
        ):
            continue
        if value is False:
            continue
        command += [option_of(name)] if value is True else [option_of(name), _text(value)]
    return " ".join(map(shlex.quote, command))


def _text(value: Any) -> str:
    if isinstance(value, str | os.PathLike):
        text = os.fspath(value)
        return Path(text).name if os.path.isabs(text) else str(text)  # noqa: PTH117 (a text may be no path)
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value) if isinstance(value, int | float) else "TABLE"


OVERRIDES = 6  # in a command; with more, the recipe is given as a file


@dataclass(frozen=True)
class Repeat:
    """How to repeat a run: a sentence, the command, and what its folder of data is."""

    sentence: str
    command: str
    data: str


def repeat_of(facts: Facts) -> Repeat:
    """How to repeat a run."""
    command = run_command(facts)
    sentence = (
        "Save the recipe above as recipe.toml (it is in the folder of the run), then run:"
        if "recipe.toml" in command
        else "With the same version of graftwork, run:"
    )
    about = facts.dataset
    where = f" ({shortened(about.title, 120)})" if about is not None else ""
    return Repeat(
        sentence,
        command,
        f"DIR is the folder of {facts.manifest.dataset}{where}, in the published layout. The same recipe, data, "
        "versions and kind of machine give the same bytes.",
    )


def run_command(facts: Facts) -> str:
    """The shortest command for the same run: the name of the recipe with overrides, or the recipe as a file."""
    fallback = "graftwork run recipe.toml --data DIR"
    try:
        text, where = domain.recipe_text(facts.name)
        base = load(text, where=where)
        changed = _changes(base.model_dump(mode="json"), facts.recipe.model_dump(mode="json"))
        overrides = [f"{key}={value_text(value)}" for key, value in changed.items()]
        if (
            facts.recipe.backbone.file
            or len(overrides) > OVERRIDES
            or load(text, overrides=overrides, where=where) != facts.recipe
        ):
            return fallback
    except (GraftworkError, TypeError):
        return fallback
    return " ".join(["graftwork run", shlex.quote(facts.name), "--data DIR", *map(shlex.quote, overrides)])


def _changes(base: dict[str, Any], now: dict[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in now.items():
        if isinstance(value, dict):
            found |= _changes(base.get(key) or {}, value, f"{above}{key}.")
        elif value != base.get(key):
            found[f"{above}{key}"] = value
    return found
