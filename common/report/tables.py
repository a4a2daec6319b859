"""The tables of a report: each a caption, named columns and rows of finished texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from graftwork.common.report.facts import NORMS, STRATEGIES, Facts
from graftwork.common.report.wording import (
    NOT_AVAILABLE,
    count,
    duration,
    listing,
    number,
    plural,
    rate,
    shortened,
)

if TYPE_CHECKING:
    pass

__all__ = ["Column", "Row", "Table", "asked_table", "environment_table", "ledger_table"]


@dataclass(frozen=True)
class Column:
    """A column's heading, and whether its cells are numbers (set flush right, in figures of one width)."""

    name: str
    numeric: bool = False


@dataclass(frozen=True)
class Row:
    """A row's heading and its other cells; `level` 1 sets it under the row above, `strong` makes it stand out."""

    head: str
    cells: tuple[str, ...]
    strong: bool = False
    level: int = 0


@dataclass(frozen=True)
class Table:
    """A table. `stacks`: on a narrow screen each row becomes a block of its own."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    stacks: bool = False
    notes: tuple[str, ...] = field(default=())


def _pairs(caption: str, rows: Sequence[tuple[str, str]]) -> Table:
    return Table(
        caption, (Column("what"), Column("value")), tuple(Row(name, (value,)) for name, value in rows)
    )


def asked_table(facts: Facts) -> Table:
    """What the recipe asked for, in the order in which a reader asks."""
    recipe, training, split = facts.recipe, facts.recipe.training, facts.recipe.split
    weights = facts.weights
    origin = str(weights.get("origin") or weights.get("source") or NOT_AVAILABLE)
    if weights.get("source") == "none" or not weights:
        origin = "none: random initial values"
    elif weights.get("trained_on"):
        origin += f"; trained on {weights['trained_on']}"
    parameters = facts.network.get("parameters")
    named = f" ({facts.manifest.dataset})" if facts.dataset is not None else ""
    drawn = {
        "group": f"drawn by {facts.group}, seed {recipe.split_seed}: validation {split.validation:g}, "
        f"test {split.test:g} of the {plural(facts.unit)}",
        "publisher": "test part as published; "
        + (
            f"validation {split.validation:g} of the rest, drawn by {facts.group}, seed {recipe.split_seed}"
            if split.validation
            else "validation part as published"
        ),
    }[split.by]
    image = recipe.image
    rows = [
        ("recipe", facts.short_name),
        ("dataset", shortened(facts.dataset_title, 160) + named),
        ("target", f"{facts.manifest.target.name}, {facts.manifest.target.kind}: {_classes(facts)}"),
        ("strategy", f"{recipe.strategy.name}: {STRATEGIES.get(recipe.strategy.name, '')}"),
        ("norm layers", f"{recipe.strategy.norm}: {NORMS.get(recipe.strategy.norm, '')}"),
        (
            "network",
            f"{facts.network.get('backbone', recipe.backbone.name)}"
            + (f", {number(parameters)} parameters" if isinstance(parameters, int) else ""),
        ),
        ("pretrained weights", facts.scrub(origin)),
        ("input", f"{image.size} × {image.size} px, {image.fit}, {image.interpolation}"),
        ("split", drawn),
        (
            "training",
            f"{count(training.epochs, 'epoch')}, {count(training.batch_size, facts.unit)} a step, "
            f"rate {rate(training.rate)}, {training.schedule} schedule, {training.precision}",
        ),
        ("seed", str(recipe.seed)),
        (
            "threshold",
            "chosen on validation: "
            + {
                "youden": "the highest sum of sensitivity and specificity (Youden)",
                "sensitivity": f"at least {recipe.evaluation.target:g} sensitivity",
                "specificity": f"at least {recipe.evaluation.target:g} specificity",
            }[recipe.evaluation.threshold],
        ),
        ("protocol", f"{facts.evaluation.protocol}, version {facts.evaluation.version}"),
    ]
    return _pairs("What the recipe asked for", rows)


def _classes(facts: Facts) -> str:
    names = [shortened(name, 40) for name in facts.manifest.target.classes]
    if facts.manifest.target.kind == "binary":
        return f"{names[1]} (positive) or {names[0]}"
    return listing(names) if len(names) <= 20 else f"{len(names)} classes"


def environment_table(facts: Facts) -> Table:
    """The machine and the libraries; never where the data lie or who ran it."""
    known, said = facts.environment, facts.scrub
    memory = known.get("memory_gib")
    device = known.get("device_name") or known.get("device")
    rows = [
        ("graftwork", str(known.get("graftwork", NOT_AVAILABLE))),
        ("Python", str(known.get("python", NOT_AVAILABLE))),
        ("platform", str(known.get("platform", NOT_AVAILABLE))),
        (
            "processor",
            f"{known.get('processor') or NOT_AVAILABLE}, {count(int(known.get('cpus') or 0), 'CPU')}",
        ),
        ("memory", f"{memory:g} GiB" if isinstance(memory, int | float) else NOT_AVAILABLE),
        ("device", str(device or NOT_AVAILABLE)),
        ("threads", str(known.get("threads", NOT_AVAILABLE))),
        ("processes", str(known.get("processes", NOT_AVAILABLE))),
        ("begun", str(known.get("started") or NOT_AVAILABLE).replace("T", " ").replace("+00:00", " UTC")),
        ("work time", duration(_seconds(known.get("seconds")))),
    ]
    versions = known.get("versions")
    if isinstance(versions, dict):
        rows += [(str(name), str(version)) for name, version in sorted(versions.items())]
    return _pairs("Machine and versions", [(name, said(value)) for name, value in rows])


def _seconds(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def ledger_table(facts: Facts) -> Table:
    """The ledger in words: for each stage the stretches of epochs in which it did one thing."""
    rows: list[Row] = []
    for stage, frame in facts.ledger.groupby("stage", sort=False):
        state = (frame["learning"] > 0).astype(str) + frame["norm"].astype(str)
        for _, stretch in frame.groupby((state != state.shift()).cumsum()):
            first, last = int(stretch["epoch"].iloc[0]), int(stretch["epoch"].iloc[-1])
            learns = int(stretch["learning"].iloc[0])
            rates = [float(value) for value in stretch["rate"]]
            span = rate(rates[0]) if rates[0] == rates[-1] else f"{rate(rates[0])} to {rate(rates[-1])}"
            cells = (
                str(first) if first == last else f"{first} to {last}",
                number(int(stretch["parameters"].iloc[0])),
                number(learns) if learns else "frozen",
                span if learns else "–",
                str(stretch["norm"].iloc[0]),
            )
            rows.append(Row(shortened(str(stage), 40), cells))
    columns = (
        Column("stage"), Column("epochs", numeric=True), Column("parameters", numeric=True),
        Column("learning", numeric=True), Column("rate", numeric=True), Column("norm layers"),
    )  # fmt: skip
    return Table("What learned: stages from input to head", columns, tuple(rows), stacks=True)
