"""Whether a score means what it says: Brier score, expected calibration error, reliability curve."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from graftwork.common.errors import UsageError
from graftwork.common.evaluation.arrays import (
    Array,
    Estimator,
    FloatArray,
    IntArray,
    answer,
    as_scores,
    as_truth,
    by_unit,
    divide,
    ratio,
)
from graftwork.common.evaluation.intervals import (
    describe,
    expanded_band,
    expanded_interval,
    group_codes,
    replicate,
    too_few,
)
from graftwork.common.evaluation.operating_points import class_indices

__all__ = ["Reliability", "brier", "expected_calibration_error", "reliability"]

Variant: TypeAlias = Literal["class-1", "top-label"]


def squared_error(truth: Array, scores: FloatArray, units: IntArray, count: int) -> Estimator:
    """The estimator of the mean squared distance from the truth, [n] or summed over classes [n, K]."""
    error = np.square(scores - truth)
    each = error if error.ndim == 1 else error.sum(axis=1)
    return ratio(each, np.ones(len(each)), units, count)


def brier(y: npt.ArrayLike, p: npt.ArrayLike, *, weights: FloatArray | None = None) -> Any:
    """Brier score; lower is better.

    Args:
        y: [n] of 0 and 1 with p [n]: the mean of (p - y)^2, 0..1. Or [n] class indices with p [n, K]: the sum
            over classes, averaged over cases, 0..2; of two classes it is twice the binary one (Brier 1950).
        weights: none, [n] or [B, n].

    Returns:
        A float, or [B]; NaN without a case.

    Raises:
        TableError: NaN, probabilities outside 0..1, unknown classes.
    """
    truth = np.asarray(y)
    scores = as_scores(p, len(truth), "p", probability=True)
    units = np.arange(len(scores))
    wanted: Array
    if scores.ndim == 2:
        names = [str(k) for k in range(scores.shape[1])]
        wanted = class_indices(truth, names, "y")[:, None] == np.arange(scores.shape[1])
    else:
        wanted = as_truth(truth)
    return answer(squared_error(wanted, scores, units, len(units)), len(units), weights)


def _bins(p: FloatArray, bins: int) -> IntArray:
    """The bin of each p: equal widths, right-closed (l, u], 0 in the first (Guo et al. 2017)."""
    edges = np.arange(bins + 1) / bins  # k / bins as a literal would be: 0.7 lies on the edge 7 / 10
    return np.clip(np.searchsorted(edges, p, side="left") - 1, 0, bins - 1)


def _binned(right: FloatArray, confidence: FloatArray, bins: int, units: IntArray, count: int) -> FloatArray:
    """Per unit and bin: cases, sum of confidence, sum of right; stacked [3, units, bins]."""
    member = _bins(confidence, bins)[:, None] == np.arange(bins)
    sums = [
        by_unit(member * each[:, None], units, count) for each in (np.ones(len(right)), confidence, right)
    ]
    return np.stack(sums)


def _gap(binned: FloatArray) -> Estimator:
    """The estimator of sum_b n_b / N * |right_b - confidence_b|."""
    cases, confidence, right = binned
    apart = right - confidence

    def estimator(multiplicity: FloatArray) -> FloatArray:
        return divide(np.abs(multiplicity @ apart).sum(axis=1), (multiplicity @ cases).sum(axis=1))

    return estimator


def _confidence(y: npt.ArrayLike, p: npt.ArrayLike, variant: str) -> tuple[FloatArray, FloatArray]:
    """Whether the statement was right, and with which confidence it was made."""
    if variant not in ("class-1", "top-label"):
        raise UsageError(
            f"the variant {variant!r} is not known; there are class-1, top-label", where="variant"
        )
    truth = np.asarray(y)
    scores = as_scores(p, len(truth), "p", probability=True)
    if scores.ndim == 1:
        positive = as_truth(truth)
        if variant == "class-1":
            return positive.astype(np.float64), scores
        right = (scores > 0.5) == positive  # a tie goes to the class with the lower index
        return right.astype(np.float64), np.maximum(scores, 1.0 - scores)
    if variant == "class-1":
        raise UsageError(
            "class-1 takes one probability for each case", where="variant", remedy="use top-label"
        )
    names = [str(k) for k in range(scores.shape[1])]
    right = class_indices(truth, names, "y") == np.argmax(scores, axis=1)
    return right.astype(np.float64), scores.max(axis=1)


def top_label_error(
    truth: Array, scores: FloatArray, units: IntArray, count: int, bins: int = 15
) -> Estimator:
    """The estimator of the top-label ECE: bool [n] with scores [n], or class indices with [n, K]."""
    right, confidence = _confidence(truth, scores, "top-label")
    return _gap(_binned(right, confidence, bins, units, count))


def expected_calibration_error(
    y: npt.ArrayLike,
    p: npt.ArrayLike,
    *,
    bins: int = 15,
    variant: Variant = "top-label",
    weights: FloatArray | None = None,
) -> Any:
    """Expected calibration error, sum over bins of n_b / N * |share right - mean confidence|, 0..1.

    Bins have equal widths and are right-closed, (l, u], with 0 in the first. Variants:

    - `top-label` (default; Guo et al. 2017): confidence of the class decided for, and whether it is right. Of
      one probability p a case: max(p, 1 - p).
    - `class-1`: p itself, and whether the case is positive. Binary only.

    Other tools use other edges or targets, so state variant, bins and edges with the number.

    Args:
        y: [n] of 0 and 1 with p [n]; or [n] class indices with p [n, K].
        weights: none, [n] or [B, n].
    """
    right, confidence = _confidence(y, p, variant)
    n = len(right)
    return answer(_gap(_binned(right, confidence, _checked(bins), np.arange(n), n)), n, weights)


def _checked(bins: int) -> int:
    if bins < 1:
        raise UsageError(f"at least one bin is needed, {bins} were asked for", where="bins")
    return bins


@dataclass(frozen=True, eq=False)
class Reliability:
    """A reliability curve: for each bin of predicted probability, how often it came true.

    Attributes:
        edges: [bins + 1]; bin b is (edges[b], edges[b + 1]], 0 in the first.
        n: [bins], cases in each bin.
        predicted, observed: [bins], mean probability and share of positives; NaN in an empty bin.
        low, high: [bins], pointwise limits of `observed`; NaN where over 5 % of replicates leave it empty.
        ece, ece_low, ece_high: expected calibration error over these bins. Resampling adds noise to an absolute
            difference, so the interval can lie above a small `ece`.
        variant: what the ECE is, in words. method: of the intervals. reason: why there are none, or empty.
    """

    edges: FloatArray
    n: IntArray
    predicted: FloatArray
    observed: FloatArray
    low: FloatArray
    high: FloatArray
    ece: float
    ece_low: float
    ece_high: float
    groups: int
    variant: str
    method: str
    reason: str = ""


def reliability(
    y: npt.ArrayLike,
    p: npt.ArrayLike,
    groups: npt.ArrayLike,
    bins: int = 15,
    *,
    replicates: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    group: str = "group",
    variant: Variant = "class-1",
) -> Reliability:
    """The reliability curve of probabilities of the positive class, with pointwise bands by group bootstrap.

    For several classes give whether the class decided for is right as `y`, its probability as `p`, and
    "top-label" as the `variant`, by which the error is called.

    Args:
        y: [n], 0 or 1. p: [n], 0..1. groups: [n]. bins: of equal width, right-closed.
        group: what a group is, for the words of the method.

    Raises:
        TableError: NaN, probabilities outside 0..1, labels other than 0 and 1, lengths that differ.
    """
    truth = as_truth(y)
    scores = as_scores(p, len(truth), "p", probability=True).reshape(len(truth))
    codes, count = group_codes(groups)
    binned = _binned(truth.astype(np.float64), scores, _checked(bins), codes, count)
    cases, predicted, right = binned.sum(axis=1)
    apart = _gap(binned)
    ece = float(apart(np.ones((1, count)))[0])

    def observed(multiplicity: FloatArray) -> FloatArray:
        return divide(multiplicity @ binned[2], multiplicity @ binned[0])

    low = high = np.full(bins, np.nan)
    ece_low = ece_high = math.nan
    reason, method = "", describe(count, replicates, group)
    if count < 2:
        reason = too_few(count, group)
    else:
        shares, gaps = replicate([observed, apart], count, items=bins, replicates=replicates, seed=seed)
        low, high = expanded_band(shares, count, confidence)
        limits = expanded_interval(gaps, count, confidence)
        ece_low, ece_high = limits.low, limits.high
    return Reliability(
        edges=np.arange(bins + 1) / bins,
        n=cases.astype(np.intp),
        predicted=divide(predicted, cases),
        observed=divide(right, cases),
        low=low,
        high=high,
        ece=ece,
        ece_low=ece_low,
        ece_high=ece_high,
        groups=count,
        variant=f"{variant} ECE, {bins} equal-width bins, right-closed (l, u], 0 in the first",
        method=method,
        reason=reason,
    )
