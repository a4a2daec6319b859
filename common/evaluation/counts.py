"""Numbers that are counted, such as animals in a sequence: one predicted for each case, judged by how far off it is.

Columns: `case`, `part`, `group`, `target` (a whole number; empty where unknown) and `predicted` (a number).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from graftwork.common.evaluation.arrays import Array, Estimator, FloatArray, IntArray, ratio
from graftwork.common.evaluation.cells import Cell
from graftwork.common.evaluation.intervals import group_codes
from graftwork.common.evaluation.tables import absent, has_groups, numbers, refuse, row_faults, some, text_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Counted", "counted_cells", "read_counts"]


@dataclass(frozen=True, eq=False)
class Counted:
    """The cases of one part whose number is known: truth and prediction, [n], and the group of each."""

    truth: FloatArray
    predicted: FloatArray
    groups: Array
    excluded: int = 0

    def __len__(self) -> int:
        return len(self.truth)

    @cached_property
    def units(self) -> tuple[IntArray, int]:
        """The group of each case as a number, and how many groups there are."""
        return group_codes(self.groups)


def read_counts(frame: pd.DataFrame, part: str, *, group: str = "group") -> Counted:
    """The cases of a part; the whole table is checked first.

    Raises:
        TableError: all faults at once: columns or cases missing or twice, numbers that are none, negative or broken
            truth, a prediction that is missing.
    """
    faults, case = row_faults(frame, ["target", "predicted"], group)
    if case is not None and {"target", "predicted"} <= set(frame.columns):
        truth, odd = numbers(frame["target"])
        wrong = odd | (~np.isnan(truth) & ((truth < 0) | (truth != np.round(truth))))
        faults += some("target is not a whole number of 0 or more", wrong, case)
        predicted, odd = numbers(frame["predicted"])
        faults += some(
            "predicted is not a number of 0 or more", odd | (predicted < 0) | np.isinf(predicted), case
        )
        faults += some("predicted is missing", absent(text_of(frame["predicted"])), case)
    refuse(frame, faults)
    rows = frame[text_of(frame["part"]) == part]
    rows = rows.iloc[np.argsort(text_of(rows["case"]).astype(str), kind="stable")]
    truth, predicted = numbers(rows["target"])[0], numbers(rows["predicted"])[0]
    groups = text_of(rows[group]) if has_groups(frame, group) else text_of(rows["case"])
    known = ~np.isnan(truth)
    return Counted(truth[known], predicted[known], groups[known].astype(str), int((~known).sum()))


def counted_cells(metric: str, found: Counted) -> list[Cell]:
    """A metric of counts: "count_error" (mean absolute), "count_rmse" (root of the mean square), "count_exact"."""
    units, count = found.units
    apart = found.predicted - found.truth
    each = {"count_error": np.abs(apart), "count_rmse": apart**2, "count_exact": (apart == 0).astype(float)}[
        metric
    ]
    mean = ratio(each, np.ones(len(each)), units, count)
    if not len(found):
        return [Cell(metric, "", 0, None, count, None, "no case with a known number")]
    return [Cell(metric, "", len(found), None, count, _root(mean) if metric == "count_rmse" else mean)]


def _root(mean: Estimator) -> Estimator:
    return lambda drawn: np.sqrt(mean(drawn))
