"""What a filter of cases leaves to people, over the positives that it misses, with limits by resampling groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from graftwork.common.errors import UsageError
from graftwork.common.evaluation.arrays import FloatArray, as_binary
from graftwork.common.evaluation.intervals.bootstrap import (
    describe,
    expanded_band,
    expanded_interval,
    group_codes,
    replicate,
    too_few,
)
from graftwork.common.evaluation.metrics.abstention import RankedSums

_ROUNDING = 1e-9  # a share of whole numbers may be off by rounding


@dataclass(frozen=True, eq=False)
class WorkCurve:
    """Of a filter that puts cases of low score aside: what is left to be looked at, over the positives it misses.

    Attributes:
        missed: [points], the share of positive cases that may be put aside.
        left: [points], the least share of all cases that are then kept; NaN without a positive case.
        low, high: [points], pointwise limits of `left`; NaN where undefined.
        n, positives, groups: what it rests on. method: of the limits, in words.
        reason: why `left`, or its limits, are NaN; else empty.
    """

    missed: FloatArray
    left: FloatArray
    low: FloatArray
    high: FloatArray
    n: int
    positives: int
    groups: int
    method: str
    reason: str = ""


def work_curve(
    y: npt.ArrayLike,
    s: npt.ArrayLike,
    groups: npt.ArrayLike,
    missed: npt.ArrayLike | None = None,
    *,
    replicates: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    group: str = "group",
) -> WorkCurve:
    """The share of cases kept at the highest threshold that misses no more positives than allowed, with limits.

    It is `empty_filter_curve` read at given shares missed. A threshold read off it was chosen on these cases: choose it
    on others.

    Args:
        y: [n], 0 or 1. s: [n]; kept if s >= threshold. groups: [n]. group: what one is, for the words of the method.
        missed: [points], in 0..1; none: 0, 0.01 to 1.
        replicates, seed, confidence: as `group_bootstrap`.

    Raises:
        UsageError: shares outside 0..1. TableError: as `sensitivity`; groups of another number than cases.
    """
    truth, scores = as_binary(y, s)
    codes, count = group_codes(groups, len(truth))
    grid = np.atleast_1d(np.asarray(np.arange(101) / 100 if missed is None else missed, np.float64))
    if not ((grid >= 0.0) & (grid <= 1.0)).all():
        raise UsageError("the shares missed must be in 0..1", where="missed")
    ranked, positive = RankedSums(scores, codes), truth.astype(np.float64)

    def left(multiplicity: FloatArray) -> FloatArray:
        every, true = ranked.of(multiplicity, positive)
        values = np.full((len(multiplicity), len(grid)), np.nan)
        for row in np.flatnonzero(true[:, -1] > 0):
            needed = (1.0 - grid) * true[row, -1] - _ROUNDING
            values[row] = every[row, np.searchsorted(true[row], needed, side="left")] / every[row, -1]
        return values

    curve = left(np.ones((1, count)))[0]
    low = high = np.full(len(grid), np.nan)
    reason = "" if truth.any() else f"no positive case among {len(truth):,}"
    if not reason and count < 2:
        reason = too_few(count, group)
    elif not reason:
        (values,) = replicate([left], count, items=len(truth), replicates=replicates, seed=seed)
        low, high = expanded_band(values, count, confidence)
        reason = expanded_interval(values[:, 0], count, confidence).reason if len(grid) else ""
    method = describe(count, replicates, group)
    return WorkCurve(grid, curve, low, high, len(truth), int(truth.sum()), count, method, reason)
