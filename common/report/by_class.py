"""Each class by itself: how many cases it rests on, and every metric that has a value of its own for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from graftwork.common.evaluation.metric_texts import EXCLUSIVE
from graftwork.common.report.tables import Column, Row, Table
from graftwork.common.report.wording import (
    NOT_AVAILABLE,
    count,
    interval,
    metric_name,
    number,
    plural,
    score,
    shortened,
)

if TYPE_CHECKING:
    from graftwork.common.evaluation import Evaluation, Result

__all__ = ["FEW", "class_table", "said_value"]

FEW = 20  # cases of a class, or groups of a part, below which a number says little
METRICS = 6  # columns; all stand in the table of all metrics


def said_value(result: Result | None) -> str:
    """A value with its interval in one cell: `0.871 (0.840 to 0.902)`."""
    if result is None:
        return "–"
    found = interval(result.low, result.high)
    return f"{score(result.value)} ({found})" if found else f"{score(result.value)} (no interval)"


def class_table(evaluation: Evaluation, shown: Sequence[str], caption: str) -> Table | None:
    """One row a class; None where no class has a number of its own.

    Args:
        shown: the classes that are named, in this order.
        caption: of the table.
    """
    labelled = [result for result in evaluation.results if result.label]
    classes = [name for name in shown if any(result.label == name for result in labelled)]
    if len(classes) < 2:
        return None
    metrics = list(dict.fromkeys(result.metric for result in labelled))[:METRICS]
    exclusive = evaluation.kind in EXCLUSIVE
    counted = any(result.positives is not None for result in labelled)
    rows, few = [], []
    for name in classes:
        of = {result.metric: result for result in labelled if result.label == name}
        positives = next((result.positives for result in of.values() if result.positives is not None), None)
        cells = [NOT_AVAILABLE if positives is None else number(positives)] if counted else []
        cells += [said_value(of.get(metric)) for metric in metrics]
        if positives is not None and positives < FEW:
            few.append(f"{shortened(name, 40)} ({number(positives)})")
        rows.append(Row(shortened(name, 40), tuple(cells)))
    columns = [Column("class")]
    if counted:
        such = "with" if evaluation.kind == "segmentation" else "of"
        columns.append(Column(f"{plural(evaluation.unit)} {such} the class", numeric=True))
    for metric in metrics:
        about = metric_name(metric, exclusive=exclusive)
        unit = f" ({about.unit})" if about.unit not in ("", "0 to 1") else ""
        columns.append(Column(f"{about.title}{unit}", numeric=True))
    notes = ["In parentheses: 95 % interval."]
    if few:
        notes.insert(
            0,
            f"Few cases, below {count(FEW, evaluation.unit)} of the class: {', '.join(few)}. Their values say little, "
            "whatever the intervals.",
        )
    return Table(caption, tuple(columns), tuple(rows), stacks=True, notes=tuple(notes), spans=True)
