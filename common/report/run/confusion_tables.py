"""Who was called what: confusion matrices with counts and shares, and decisions by class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from graftwork.common.evaluation import confusion
from graftwork.common.report.formatting import NOT_AVAILABLE, count, number, percent, plural, shortened
from graftwork.common.report.run.class_against_rest import OneClass, classes_of
from graftwork.common.report.run.data_tables import frequent, left_out
from graftwork.common.report.tables import Column, Row, Table

if TYPE_CHECKING:
    from graftwork.common.report.run.run_facts import Facts


GRID = 20  # classes up to which a confusion matrix is shown


@dataclass(frozen=True)
class Cell:
    """A cell of a confusion matrix; `shade` 0 to 4 by its share of the row."""

    count: str
    share: str
    shade: int
    own: bool


@dataclass(frozen=True)
class ConfusionRow:
    """A true class and what it was called."""

    name: str
    cells: tuple[Cell, ...]
    total: str


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix, ready to be laid out."""

    caption: str
    classes: tuple[str, ...]
    rows: tuple[ConfusionRow, ...]
    notes: tuple[str, ...]


@dataclass
class Decisions:
    """The confusion matrices, the table of decisions by class, and what is said of them."""

    confusions: list[Confusion] = field(default_factory=list)
    table: Table | None = None
    notes: list[str] = field(default_factory=list)


def decisions_of(facts: Facts) -> Decisions:
    """Who was called what on the part that was evaluated, at thresholds chosen on validation."""
    found = Decisions()
    _decisions(facts, found)
    return found


def _decisions(facts: Facts, found: Decisions) -> None:
    target, part = facts.target, facts.evaluation.part
    if target.kind == "multi-label":
        found.table = _decision_table(facts, classes_of(facts))
        return
    (column,) = target.columns
    frame = facts.predictions[(facts.predictions["part"] == part) & facts.predictions[column].notna()]
    if target.kind == "binary":
        threshold = facts.evaluation.threshold
        if threshold is None or not math.isfinite(threshold.value):
            reason = threshold.reason if threshold is not None else "the evaluation names no threshold"
            found.notes.append(f"No confusion matrix: {reason or 'the threshold is undefined'}.")
            return
        positive = frame[target.scores[1]].to_numpy(dtype=np.float64) >= threshold.value
        decided = np.where(positive, 1, 0)
        how = (
            f"A case is called {shortened(target.classes[1], 40)} where its score is at least {threshold.value:.4g}: "
            f"{threshold.describe()}."
        )
        caption = f"Confusion matrix of the {part} part at the threshold chosen on {threshold.chosen_on or 'no part'}"
    else:
        decided = frame[list(target.scores)].to_numpy(dtype=np.float64).argmax(axis=1)
        how, caption = "A case is called by its highest score.", f"Confusion matrix of the {part} part"
    if len(target.classes) > GRID:
        found.notes.append(
            f"No confusion matrix: {len(target.classes)} classes do not fit a page; each stands under All metrics."
        )
        return
    if not len(frame):
        found.notes.append(f"No confusion matrix: no {facts.picture} of the {part} part has a known label.")
        return
    index = {name: place for place, name in enumerate(target.classes)}
    truth = np.array([index[name] for name in frame[column]], dtype=np.int64)
    counts = confusion(truth, decided, target.classes)
    notes = [how]
    if target.kind == "ordinal":
        near = int(sum(np.diagonal(counts, offset).sum() for offset in (-1, 0, 1)))
        notes.append(
            f"The classes are in an order: {number(near)} of {count(len(frame), facts.picture)} "
            f"({percent(near, len(frame))}) were called the true class or one beside it."
        )
    found.confusions.append(_laid_out(facts, counts, caption, notes))


def _laid_out(facts: Facts, counts: NDArray[np.int64], caption: str, how: Sequence[str]) -> Confusion:
    names = tuple(shortened(name, 28) for name in facts.target.classes)
    rows = []
    for place, (name, row) in enumerate(zip(names, counts.tolist(), strict=True)):
        total = sum(row)
        cells = tuple(
            Cell(number(n), percent(n, total), 0 if not n else min(4, 1 + int(4 * n / total)), place == at)
            for at, n in enumerate(row)
        )
        rows.append(ConfusionRow(name, cells, number(total)))
    said = f"Numbers are {plural(facts.picture)}; percentages are of the row, that is of the true class."
    return Confusion(caption, names, tuple(rows), (said, *how))


def _decision_table(facts: Facts, classes: Sequence[OneClass]) -> Table:
    rows = []
    shown = {shortened(name, 40) for name in frequent(facts)}
    for one in classes:
        if one.name not in shown:
            continue
        if one.threshold is None or not math.isfinite(one.threshold.value):
            reason = one.threshold.reason if one.threshold is not None else "no threshold"
            rows.append(Row(one.name, (f"{NOT_AVAILABLE}: {reason}", *("–",) * 4)))
            continue
        called = one.s >= one.threshold.value
        cells = [int((called & (one.y == 1)).sum()), int((~called & (one.y == 1)).sum()),
                 int((called & (one.y == 0)).sum()), int((~called & (one.y == 0)).sum())]  # fmt: skip
        rows.append(Row(one.name, (f"{one.threshold.value:.4g}", *map(number, cells))))
    columns = (
        Column("class"), Column("threshold", numeric=True), Column("true positive", numeric=True),
        Column("missed", numeric=True), Column("false positive", numeric=True), Column("true negative", numeric=True),
    )  # fmt: skip
    return Table(
        f"Decisions on the {facts.evaluation.part} part at thresholds chosen on validation ({plural(facts.picture)})",
        columns, tuple(rows), stacks=True,
        notes=("A class is called at or above its threshold; unknown labels do not count.", *left_out(facts)),
    )  # fmt: skip
