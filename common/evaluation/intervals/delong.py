"""The AUROC with DeLong's interval, and the paired test of two AUROCs on the same cases."""

from __future__ import annotations

import math
from dataclasses import dataclass
from math import nan

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from graftwork.common.errors import UsageError
from graftwork.common.evaluation.arrays import FloatArray, as_binary


@dataclass(frozen=True)
class DeLong:
    """An AUROC with its interval.

    Attributes:
        value: 0..1. standard_error. low, high: clipped to 0..1. n, positives: cases.
        reason: why `value`, or the limits, are NaN; or that they have no width; else empty.
    """

    value: float
    standard_error: float
    low: float
    high: float
    n: int
    positives: int
    reason: str = ""


@dataclass(frozen=True)
class PairedDeLong:
    """The difference of two AUROCs on the same cases, first minus second, and its test.

    Attributes:
        first, second: as `delong` gives them. difference, low, high: the limits are not clipped.
        covariance: of the two. z, p: of the two-sided test that the difference is 0.
        reason: why there is no test; else empty.
    """

    first: DeLong
    second: DeLong
    difference: float
    low: float
    high: float
    covariance: float
    z: float
    p: float
    reason: str = ""


def delong(y: npt.ArrayLike, s: npt.ArrayLike, confidence: float = 0.95) -> DeLong:
    """The AUROC, ties half, with the interval value +- z SE clipped to 0..1, as pROC's `ci.auc` gives it.

    Cases are taken as independent; where several come from one patient it is too narrow: resample patients.

    Args:
        y: [n], 0 or 1. s: [n], any numbers without NaN. confidence: in (0, 1).

    Returns:
        A `DeLong`; limits are NaN with one case of a class, the value too with none. Perfect separation has a
        standard error of 0, which `reason` says.

    Raises:
        TableError: as `auroc`. UsageError: confidence.

    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 44:837 (1988), by midranks as Sun and Xu, IEEE Signal
    Processing Letters 21:1389 (2014).
    """
    truth, scores = as_binary(y, s)
    of_positives, of_negatives = _placements(scores[truth], scores[~truth], in_order=False)
    return _single(of_positives, of_negatives, _z(confidence))


def paired_delong(
    y: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike, confidence: float = 0.95
) -> PairedDeLong:
    """The paired test of two AUROCs, as pROC's `roc.test(method="delong")` gives it.

    Args:
        y: [n], 0 or 1. a, b: [n], the two scores of each case. confidence: of the difference's limits.

    Returns:
        A `PairedDeLong`. Two equal AUROCs without any variance: z 0, p 1. NaN with a reason where a class has
        fewer than two cases, or a difference has no variance.

    Raises:
        TableError: as `auroc`. UsageError: confidence.
    """
    z = _z(confidence)
    parts = [
        _placements(scores[truth], scores[~truth], in_order=True)
        for truth, scores in (as_binary(y, a, "a"), as_binary(y, b, "b"))
    ]
    first, second = (_single(*each, z) for each in parts)
    difference = first.value - second.value
    if math.isnan(first.standard_error + second.standard_error):
        reason = first.reason or second.reason
        return PairedDeLong(first, second, difference, nan, nan, nan, nan, nan, reason)
    (pa, na), (pb, nb) = parts
    shared = _covariance(pa, pb) / len(pa) + _covariance(na, nb) / len(na)
    # the variance from the differences themselves: that of two equal scores is then 0, not nearly so
    variance = _covariance(pa - pb, pa - pb) / len(pa) + _covariance(na - nb, na - nb) / len(na)
    error = math.sqrt(variance)
    if error == 0.0:
        if difference == 0.0:
            return PairedDeLong(first, second, 0.0, 0.0, 0.0, shared, 0.0, 1.0)
        reason = "the difference has no variance: no test"
        return PairedDeLong(first, second, difference, nan, nan, shared, nan, nan, reason)
    ratio = difference / error
    low, high = difference - z * error, difference + z * error
    return PairedDeLong(first, second, difference, low, high, shared, ratio, 2.0 * float(ndtr(-abs(ratio))))


def _z(confidence: float) -> float:
    if not 0.0 < confidence < 1.0:
        raise UsageError(f"must lie between 0 and 1, it is {confidence}", where="confidence")
    return float(ndtri(0.5 + confidence / 2.0))


def _placements(
    positive: FloatArray, negative: FloatArray, *, in_order: bool
) -> tuple[FloatArray, FloatArray]:
    """Of each positive the share of negatives below it, of each negative that of positives above it; ties half.

    `in_order`: as the cases come, for covariances with those of other scores; else sorted, which is quicker.
    """
    above, below = np.sort(positive), np.sort(negative)

    def share(values: FloatArray, ordered: FloatArray) -> FloatArray:
        """Twice the number of `ordered` below each of `values`, ties once."""
        lower, same = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
        return (lower + same).astype(np.float64)

    asked = (positive, negative) if in_order else (above, below)
    with np.errstate(invalid="ignore", divide="ignore"):
        return share(asked[0], below) / (2.0 * len(below)), 1.0 - share(asked[1], above) / (2.0 * len(above))


def _single(of_positives: FloatArray, of_negatives: FloatArray, z: float) -> DeLong:
    positives, negatives = len(of_positives), len(of_negatives)
    n = positives + negatives
    if not positives or not negatives:
        lack = "no case" if not n else "no positive case" if not positives else "no negative case"
        return DeLong(nan, nan, nan, nan, n, positives, f"{lack} among {n:,}" if n else lack)
    value = float(of_positives.mean())
    if min(positives, negatives) < 2:
        which = "positive" if positives < 2 else "negative"
        return DeLong(value, nan, nan, nan, n, positives, f"one {which} case only: no variance")
    variance = _covariance(of_positives, of_positives) / positives
    error = math.sqrt(variance + _covariance(of_negatives, of_negatives) / negatives)
    reason = "" if error else "every placement is the same: the interval has no width, which is no certainty"
    return DeLong(
        value, error, max(0.0, value - z * error), min(1.0, value + z * error), n, positives, reason
    )


def _covariance(a: FloatArray, b: FloatArray) -> float:
    """The sample covariance (ddof 1)."""
    return float((a - a.mean()) @ (b - b.mean())) / (len(a) - 1)
