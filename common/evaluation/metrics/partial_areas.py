"""Part of the ROC curve: partial AUROC in its named kinds, and sensitivity at a specificity and the reverse."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from graftwork.common.errors import UsageError
from graftwork.common.evaluation.arrays import BoolArray, Estimator, FloatArray, IntArray
from graftwork.common.evaluation.metrics.curves import of_counts, roc_curve

Kind: TypeAlias = Literal["above-sensitivity", "mcclish", "raw", "right-of-sensitivity"]
Reading: TypeAlias = Literal["step", "interp"]
_ROUNDING = 1e-12  # a share that equals the wanted one but for rounding has reached it
_KINDS = ("above-sensitivity", "mcclish", "raw", "right-of-sensitivity")


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
    if kind not in _KINDS:
        raise UsageError(f"the kind {kind!r} is not one of {', '.join(_KINDS)}", where="partial_auroc")
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
        start = int(np.flatnonzero(true >= limit - _ROUNDING)[0])
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
        for `interp`). Both NaN where a class has no case. A threshold had from the cases that are judged is no
        threshold for them: choose it on others (`choose_threshold`).
    """
    _reading(reading)
    _within(specificity, "specificity")
    false, true, thresholds = roc_curve(y, s)
    if np.isnan(false).any() or np.isnan(true).any():
        return float("nan"), float("nan")
    if reading == "interp":
        # up to the last point that is as specific: of a vertical piece the upper end
        last = int(np.flatnonzero(false <= 1.0 - specificity + _ROUNDING)[-1])
        return _between(false, true, last, 1.0 - specificity), float("nan")
    reached = np.flatnonzero(1.0 - false >= specificity - _ROUNDING)
    best = reached[np.argmax(true[reached])]
    return float(true[best]), float(thresholds[best])


def specificity_at_sensitivity(
    y: npt.ArrayLike, s: npt.ArrayLike, sensitivity: float, reading: Reading = "step"
) -> tuple[float, float]:
    """The largest specificity whose sensitivity reaches the wanted one. As `sensitivity_at_specificity`."""
    _reading(reading)
    _within(sensitivity, "sensitivity")
    false, true, thresholds = roc_curve(y, s)
    if np.isnan(false).any() or np.isnan(true).any():
        return float("nan"), float("nan")
    if reading == "interp":
        first = int(np.flatnonzero(true >= sensitivity - _ROUNDING)[0])
        return 1.0 - _between(true, false, max(first - 1, 0), sensitivity), float("nan")
    reached = np.flatnonzero(true >= sensitivity - _ROUNDING)
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
        raise UsageError(f"must lie in 0..1, it is {value}", where=name)


def _reading(reading: str) -> None:
    if reading not in ("step", "interp"):
        raise UsageError(f"one of step, interp, not {reading!r}", where="reading")
