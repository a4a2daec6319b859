"""The intervals that take every case as independent, beside those of resampled groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graftwork.common.report.metric_heads import title_of
from graftwork.common.report.metrics_table import interval_cell
from graftwork.common.report.tables import Column, Row, Table
from graftwork.common.report.wording import interval, plural, score, shortened

if TYPE_CHECKING:
    from graftwork.common.evaluation import Evaluation

__all__ = ["independent_table"]


def independent_table(evaluation: Evaluation) -> Table | None:
    """DeLong's and Wilson's intervals, each beside the resampled one; None where theory has none."""
    rows = []
    found = [each for each in evaluation.results if each.case_method]
    labelled = any(each.label for each in found)
    for each in found:
        cells = [shortened(each.label or "–", 40)] if labelled else []
        cells += [score(each.value), interval(each.case_low, each.case_high) or "–", each.case_method]
        rows.append(Row(title_of(each.metric, evaluation.kind), (*cells, interval_cell(each))))
    columns = (
        Column("metric"), *((Column("class"),) if labelled else ()), Column("value", numeric=True),
        Column("cases independent", numeric=True), Column("method"),
        Column(f"{plural(evaluation.group)} resampled", numeric=True),
    )  # fmt: skip
    notes = (
        f"95 % intervals. Those that take each case as independent are too narrow where several come from one "
        f"{evaluation.group}; cite the resampled ones.",
    )
    return (
        Table("Intervals that take cases as independent", columns, tuple(rows), stacks=True, notes=notes)
        if rows
        else None
    )
