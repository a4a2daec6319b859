"""ROC and precision-recall curves, and their pointwise bands by resampling groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from graftwork.common.errors import UsageError
from graftwork.common.evaluation.arrays import (
    BoolArray,
    Estimator,
    FloatArray,
    IntArray,
    as_binary,
    divide,
    require_choice,
)
from graftwork.common.evaluation.intervals.bootstrap import (
    describe,
    expanded_band,
    expanded_interval,
    group_codes,
    replicate,
    too_few,
)

CurveKind: TypeAlias = Literal["roc", "precision-recall"]
_ROUNDING = 1e-9  # counts are whole numbers; a share of them may be off by rounding
_ROUNDING_OF_SHARES = 1e-12  # a share that equals the wanted one but for rounding has reached it
Kind: TypeAlias = Literal["above-sensitivity", "mcclish", "raw", "right-of-sensitivity"]
Reading: TypeAlias = Literal["step", "interp"]


class Curve(NamedTuple):
    """A curve through the operating points, thresholds descending: x, y and the threshold of each, [points].

    ROC: x = 1 - specificity, y = sensitivity, from (0, 0) at an infinite threshold to (1, 1).
    Precision-recall: x = recall, y = precision, at each distinct threshold; it has no point at recall 0.
    """

    x: FloatArray
    y: FloatArray
    thresholds: FloatArray


@dataclass(frozen=True, eq=False)
class Band:
    """A curve on a grid with pointwise limits.

    Attributes:
        kind: "roc" or "precision-recall".
        x: [points], the grid. y: the curve there. low, high: pointwise limits; NaN where undefined.
        n, positives, groups: what it rests on. undefined: replicates with one class only, dropped.
        method: in words. reason: why y, or low and high, are NaN; else empty.
    """

    kind: CurveKind
    x: FloatArray
    y: FloatArray
    low: FloatArray
    high: FloatArray
    n: int
    positives: int
    groups: int
    undefined: int
    method: str
    reason: str = ""


class _Steps:
    """True and false positives at every distinct threshold, descending, of many resamples."""

    def __init__(self, truth: BoolArray, scores: FloatArray, units: IntArray) -> None:
        order = np.argsort(-scores, kind="stable")
        self._units, self._truth = units[order], truth[order].astype(np.float64)
        ranked = scores[order]
        self._last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if len(ranked) else order
        self.thresholds = ranked[self._last]

    def counts(self, multiplicity: FloatArray) -> tuple[FloatArray, FloatArray]:
        """[b, units] -> true and false positives [b, 1 + thresholds], from 0 at an infinite threshold."""
        drawn = np.take(multiplicity, self._units, axis=1)
        true = _at(np.cumsum(drawn * self._truth, axis=1), self._last)
        both = _at(np.cumsum(drawn, axis=1), self._last)
        return true, both - true


def _at(sums: FloatArray, last: IntArray) -> FloatArray:
    kept = np.zeros((sums.shape[0], len(last) + 1))
    kept[:, 1:] = sums[:, last]
    return kept


def _steps(y: npt.ArrayLike, s: npt.ArrayLike) -> tuple[_Steps, FloatArray, FloatArray]:
    truth, scores = as_binary(y, s)
    steps = _Steps(truth, scores, np.arange(len(truth)))
    true, false = steps.counts(np.ones((1, len(truth))))
    return steps, true[0], false[0]


def roc_curve(y: npt.ArrayLike, s: npt.ArrayLike) -> Curve:
    """The ROC curve: every operating point, none dropped. NaN along an axis whose class has no case.

    Args, Raises: as `auroc`. Straight lines between the points give an area equal to `auroc`.
    """
    steps, true, false = _steps(y, s)
    thresholds = np.concatenate([[np.inf], steps.thresholds])
    return Curve(divide(false, false[-1:]), divide(true, true[-1:]), thresholds)


def precision_recall_curve(y: npt.ArrayLike, s: npt.ArrayLike) -> Curve:
    """Recall and precision at each distinct threshold. Steps, not lines: between two points no other exists.

    Args, Raises: as `auroc`. Recall is NaN without a positive case.
    """
    steps, true, false = _steps(y, s)
    return Curve(
        divide(true[1:], true[-1:].repeat(len(true) - 1)),
        divide(true[1:], true[1:] + false[1:]),
        steps.thresholds,
    )


def _sensitivity_at(false_rate: FloatArray, steps: _Steps) -> Estimator:
    """Sensitivity at given 1 - specificity: along the lines of the curve, the upper end of a vertical one."""

    def one(true: FloatArray, false: FloatArray) -> FloatArray:
        wanted = false_rate * false[-1]
        before = np.searchsorted(false, wanted + _ROUNDING, side="right") - 1
        after = np.minimum(before + 1, len(false) - 1)
        span = false[after] - false[before]
        share = np.divide(wanted - false[before], span, out=np.zeros_like(wanted), where=span > 0)
        gained = np.clip(share, 0.0, 1.0) * (true[after] - true[before])
        return divide(true[before] + gained, true[-1:])

    return _row_by_row(one, steps, len(false_rate))


def _precision_at(recall: FloatArray, steps: _Steps) -> Estimator:
    """Precision at the highest threshold whose recall reaches the given one: the steps that AP sums."""

    def one(true: FloatArray, false: FloatArray) -> FloatArray:
        reached = np.searchsorted(true, recall * true[-1] - _ROUNDING, side="left")
        return divide(true[reached], true[reached] + false[reached])

    return _row_by_row(one, steps, len(recall))


def _row_by_row(one: Callable[[FloatArray, FloatArray], FloatArray], steps: _Steps, points: int) -> Estimator:
    def estimator(multiplicity: FloatArray) -> FloatArray:
        true, false = steps.counts(multiplicity)
        values = np.full((len(multiplicity), points), np.nan)
        for row in np.flatnonzero((true[:, -1] > 0) & (false[:, -1] > 0)):
            values[row] = one(true[row], false[row])
        return values

    return estimator


def of_counts(
    value: Callable[[FloatArray, FloatArray], float], truth: BoolArray, scores: FloatArray, units: IntArray
) -> Estimator:
    """The estimator of a number that is had of a whole curve.

    Args:
        value: of true and false positives at each threshold, [1 + thresholds], from 0; both kinds occur.
    """
    inner = _row_by_row(lambda true, false: np.array([value(true, false)]), _Steps(truth, scores, units), 1)
    return lambda multiplicity: inner(multiplicity)[:, 0]


def roc_band(
    y: npt.ArrayLike,
    s: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    points: int = 101,
    replicates: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    group: str = "group",
) -> Band:
    """The ROC curve on a grid of 1 - specificity from 0 to 1, with pointwise limits of the sensitivity there.

    Args:
        y: [n], 0 or 1. s: [n]. groups: [n]. group: what a group is, for the words of the method.

    Raises:
        TableError: as `auroc`.
    """
    grid = np.linspace(0.0, 1.0, points)
    return _band("roc", y, s, groups, grid, replicates, seed, confidence, group)


def precision_recall_band(
    y: npt.ArrayLike,
    s: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    points: int = 100,
    replicates: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    group: str = "group",
) -> Band:
    """Precision on a grid of recall above 0 up to 1, with pointwise limits. Arguments as `roc_band`."""
    grid = np.arange(1, points + 1) / points
    return _band("precision-recall", y, s, groups, grid, replicates, seed, confidence, group)


def _band(
    kind: CurveKind,
    y: npt.ArrayLike,
    s: npt.ArrayLike,
    groups: npt.ArrayLike,
    grid: FloatArray,
    replicates: int,
    seed: int,
    confidence: float,
    group: str,
) -> Band:
    truth, scores = as_binary(y, s)
    codes, count = group_codes(groups, len(truth))
    steps = _Steps(truth, scores, codes)
    estimator = _sensitivity_at(grid, steps) if kind == "roc" else _precision_at(grid, steps)
    n, positives = len(truth), int(truth.sum())
    nothing = np.full(len(grid), np.nan)
    curve, low, high, undefined, reason = nothing, nothing, nothing, 0, ""
    if positives in (0, n):
        lack = "no case" if n == 0 else "no positive case" if positives == 0 else "no negative case"
        reason = f"{lack}: no curve"
    else:
        (curve,) = estimator(np.ones((1, count)))
        if count < 2:
            reason = too_few(count, group)
        else:
            (values,) = replicate([estimator], count, items=n, replicates=replicates, seed=seed)
            undefined = int(np.isnan(values).any(axis=1).sum())
            low, high = expanded_band(values, count, confidence)
            reason = expanded_interval(values[:, -1], count, confidence).reason
    method = describe(count, replicates, group)
    return Band(kind, grid, curve, low, high, n, positives, count, undefined, method, reason)


def partial_auroc(y: npt.ArrayLike, s: npt.ArrayLike, limit: float, kind: Kind) -> float:
    """Area under a part of the ROC curve. Four quantities go by this name; each has its own range.

    Args:
        y: [n], 0 or 1. s: [n].
        limit: of `raw` and `mcclish` the largest 1 - specificity; of `above-sensitivity` and `right-of-sensitivity` the
            least sensitivity. In (0, 1].
        kind:
            `raw`: the area for 1 - specificity in 0..limit; 0..limit, of chance limit^2 / 2.
            `mcclish`: the same scaled so that chance is 0.5 and the best 1 (McClish 1989; scikit-learn's
            `roc_auc_score(max_fpr=)`).
            `above-sensitivity`: the area between the curve and the sensitivity `limit`; 0..1 - limit.
            With 0.8 it runs to 0.2, of chance 0.02; a challenge of 2024 was scored by it, not scaled.
            `right-of-sensitivity`: the full area under the curve to the right of the point where the sensitivity
            reaches `limit` (a challenge's scorer has it as `auc_above_sensitivity`).

    Returns:
        The area; NaN where one of the classes has no case.

    Raises:
        UsageError: a kind that is not known, or a limit outside (0, 1]. TableError: as `auroc`.
    """
    require_choice(kind, get_args(Kind), "kind")
    _within(limit, "limit")
    if limit == 0.0:
        raise UsageError("the limit must lie above 0", where="limit")
    false, true, _ = roc_curve(y, s)
    if np.isnan(false).any() or np.isnan(true).any():
        return float("nan")
    return _area(false, true, limit, kind)


def area_above_sensitivity(
    truth: BoolArray, scores: FloatArray, units: IntArray, sensitivity: float = 0.8
) -> Estimator:
    """The estimator of the area between the curve and a sensitivity: `partial_auroc(..., kind="above-sensitivity")`."""

    def area(true: FloatArray, false: FloatArray) -> float:
        return _area(false / false[-1], true / true[-1], sensitivity, "above-sensitivity")

    return of_counts(area, truth, scores, units)


def _area(false: FloatArray, true: FloatArray, limit: float, kind: str) -> float:
    if kind == "right-of-sensitivity":
        start = int(np.flatnonzero(true >= limit - _ROUNDING_OF_SHARES)[0])
        if start and true[start] > limit:  # between two operating points
            share = (limit - true[start - 1]) / (true[start] - true[start - 1])
            where = false[start - 1] + share * (false[start] - false[start - 1])
            false, true = np.append(where, false[start:]), np.append(limit, true[start:])
        else:
            false, true = false[start:], true[start:]
        return float(np.trapezoid(true, false))
    if kind == "above-sensitivity":  # the curve of negated labels and scores, from its left: axes exchanged
        return _left_of(1.0 - true[::-1], 1.0 - false[::-1], 1.0 - limit)
    area = _left_of(false, true, limit)
    if kind == "raw":
        return area
    least = limit * limit / 2.0
    return 0.5 * (1.0 + (area - least) / (limit - least))


def _left_of(x: FloatArray, y: FloatArray, limit: float) -> float:
    """The area under a curve for x in 0..limit, linearly interpolated at the limit."""
    stop = int(np.searchsorted(x, limit, side="right"))
    if stop == len(x):
        return float(np.trapezoid(y, x))
    share = (limit - x[stop - 1]) / (x[stop] - x[stop - 1])
    end = y[stop - 1] + share * (y[stop] - y[stop - 1])
    return float(np.trapezoid(np.append(y[:stop], end), np.append(x[:stop], limit)))


def sensitivity_at_specificity(
    y: npt.ArrayLike, s: npt.ArrayLike, specificity: float, reading: Reading = "step"
) -> tuple[float, float]:
    """The largest sensitivity whose specificity reaches the wanted one.

    Args:
        y: [n], 0 or 1. s: [n]. specificity: in 0..1.
        reading: `step`: of the operating points that exist (as torchmetrics'). `interp`: on the lines between
            them, at exactly that specificity, where no threshold need exist.

    Returns:
        The sensitivity, and the threshold at or above which scores are positive (infinite where nothing is; NaN
        for `interp`). Both NaN where a class has no case. A threshold chosen on the evaluated cases is no
        threshold for them: choose it on others (`choose_threshold`).
    """
    require_choice(reading, ("step", "interp"), "reading")
    _within(specificity, "specificity")
    false, true, thresholds = roc_curve(y, s)
    if np.isnan(false).any() or np.isnan(true).any():
        return float("nan"), float("nan")
    if reading == "interp":
        # up to the last point that is as specific: of a vertical piece the upper end
        last = int(np.flatnonzero(false <= 1.0 - specificity + _ROUNDING_OF_SHARES)[-1])
        return _between(false, true, last, 1.0 - specificity), float("nan")
    reached = np.flatnonzero(1.0 - false >= specificity - _ROUNDING_OF_SHARES)
    best = reached[np.argmax(true[reached])]
    return float(true[best]), float(thresholds[best])


def specificity_at_sensitivity(
    y: npt.ArrayLike, s: npt.ArrayLike, sensitivity: float, reading: Reading = "step"
) -> tuple[float, float]:
    """The largest specificity whose sensitivity reaches the wanted one. As `sensitivity_at_specificity`."""
    require_choice(reading, ("step", "interp"), "reading")
    _within(sensitivity, "sensitivity")
    false, true, thresholds = roc_curve(y, s)
    if np.isnan(false).any() or np.isnan(true).any():
        return float("nan"), float("nan")
    if reading == "interp":
        first = int(np.flatnonzero(true >= sensitivity - _ROUNDING_OF_SHARES)[0])
        return 1.0 - _between(true, false, max(first - 1, 0), sensitivity), float("nan")
    reached = np.flatnonzero(true >= sensitivity - _ROUNDING_OF_SHARES)
    best = reached[np.argmin(false[reached])]
    return 1.0 - float(false[best]), float(thresholds[best])


def _between(x: FloatArray, y: FloatArray, start: int, wanted: float) -> float:
    """y at x = wanted, on the line from point `start` to the next one."""
    if start + 1 == len(x) or x[start + 1] == x[start]:
        return float(y[start])
    share = min(max((wanted - x[start]) / (x[start + 1] - x[start]), 0.0), 1.0)
    return float(y[start] + share * (y[start + 1] - y[start]))


def _within(value: float, name: str) -> None:
    if not 0.0 <= value <= 1.0:
        raise UsageError(f"must be in 0..1, it is {value}", where=name)
