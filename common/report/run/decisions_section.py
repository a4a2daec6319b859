"""The section on decisions: confusion matrix, or counts by class at the thresholds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from graftwork.common.evaluation import confusion
from graftwork.common.report.formatting import NOT_AVAILABLE, count, number, percent, shortened
from graftwork.common.report.run.data_section import frequent, left_out
from graftwork.common.report.run.one_class import OneClass, classes_of
from graftwork.common.report.section import Column, Row, Section, Table, section
from graftwork.common.wording import plural

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graftwork.common.report.run.run_facts import Facts


GRID = 20  # classes up to which a confusion matrix is shown


@section("run", 70)
def decisions(facts: Facts) -> Section | None:
    """Predicted against true classes on the evaluated part, at thresholds chosen on validation."""
    if facts.segments:
        return None
    found = (
        decision_table(facts, classes_of(facts))
        if facts.target.kind == "multi-label"
        else confusion_matrix(facts)
    )
    if isinstance(found, str):
        return Section("Decisions", "decisions", text=(found,))
    return Section("Decisions", "decisions", tables=(found,))


def confusion_matrix(facts: Facts) -> Table | str:
    """The confusion matrix, or a sentence on why there is none."""
    target, part = facts.target, facts.evaluation.part
    (column,) = target.columns
    frame = facts.predictions[(facts.predictions["part"] == part) & facts.predictions[column].notna()]
    caption = f"Confusion matrix of the {part} part"
    if target.kind == "binary":
        threshold = facts.evaluation.threshold
        if threshold is None or not math.isfinite(threshold.value):
            reason = threshold.reason if threshold is not None else "the evaluation has no threshold"
            return f"No confusion matrix: {reason or 'the threshold is undefined'}."
        decided = np.where(frame[target.scores[1]].to_numpy(dtype=np.float64) >= threshold.value, 1, 0)
        how = (
            f"Predicted {shortened(target.classes[1], 40)}: a score of at least {threshold.value:.4g}, "
            f"{threshold.describe()}."
        )
        caption += f" at the threshold chosen on {threshold.chosen_on or 'no part'}"
    else:
        decided = frame[list(target.scores)].to_numpy(dtype=np.float64).argmax(axis=1)
        how = "The predicted class is the one with the highest score."
    if len(target.classes) > GRID:
        return f"No confusion matrix: it has {len(target.classes)} classes; All metrics has every class."
    if not len(frame):
        return f"No confusion matrix: no {facts.image} of the {part} part has a known label."
    index = {name: place for place, name in enumerate(target.classes)}
    truth = np.array([index[name] for name in frame[column]], dtype=np.int64)
    counts = confusion(truth, decided, target.classes)
    notes = [f"Counts of {plural(facts.image)}; percentages are of the row (the true class).", how]
    if target.kind == "ordinal":
        near = int(sum(np.diagonal(counts, offset).sum() for offset in (-1, 0, 1)))
        notes.append(
            f"The classes are ordered: for {number(near)} of {count(len(frame), facts.image)} "
            f"({percent(near, len(frame))}) the predicted class is the true class or next to it."
        )
    return _matrix(facts, counts, caption, notes)


def _matrix(facts: Facts, counts: NDArray[np.int64], caption: str, notes: Sequence[str]) -> Table:
    names = tuple(shortened(name, 28) for name in facts.target.classes)
    rows, shades = [], []
    for name, row in zip(names, counts.tolist(), strict=True):
        total = sum(row)
        rows.append(Row(name, (*(f"{number(n)} ({percent(n, total)})" for n in row), number(total))))
        shades.append(tuple(0 if not n else min(4, 1 + int(4 * n / total)) for n in row))
    columns = (
        Column("true class"),
        *(Column(f"predicted {name}", numeric=True) for name in names),
        Column("all", numeric=True),
    )
    return Table(caption, columns, tuple(rows), notes=tuple(notes), shades=tuple(shades))


def decision_table(facts: Facts, classes: Sequence[OneClass]) -> Table:
    """Counts of true and false decisions of each class."""
    rows = []
    shown = {shortened(name, 40) for name in frequent(facts)}
    for one in classes:
        if one.name not in shown:
            continue
        if one.threshold is None or not math.isfinite(one.threshold.value):
            reason = one.threshold.reason if one.threshold is not None else "no threshold"
            rows.append(Row(one.name, (f"{NOT_AVAILABLE}: {reason}", *("–",) * 4)))
            continue
        positive = one.s >= one.threshold.value
        cells = [
            int((decided & (one.y == truth)).sum()) for truth in (1, 0) for decided in (positive, ~positive)
        ]
        rows.append(Row(one.name, (f"{one.threshold.value:.4g}", *map(number, cells))))
    names = ("threshold", "true positive", "false negative", "false positive", "true negative")
    return Table(
        f"Decisions on the {facts.evaluation.part} part at thresholds chosen on validation ({plural(facts.image)})",
        (Column("class"), *(Column(name, numeric=True) for name in names)), tuple(rows), stacks=True,
        notes=("Positive: a score at or above the threshold. Unknown labels are not counted.", *left_out(facts)),
    )  # fmt: skip
