"""Whether a score means what it says: Brier score, expected calibration error, reliability curve."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from graftwork.common.errors import UsageError
from graftwork.common.evaluation.arrays import (
    Array,
    BoolArray,
    Estimator,
    FloatArray,
    IntArray,
    answer,
    as_binary,
    as_scores,
    as_truth,
    by_unit,
    divide,
    ratio,
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
from graftwork.common.evaluation.metrics.operating_points import class_indices

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
    edges = np.arange(bins + 1) / bins  # k / bins as a literal would be: 0.7 is on the edge 7 / 10
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
    require_choice(variant, ("class-1", "top-label"), "variant")
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
    "top-label" as the `variant`, the name of this error.

    Args:
        y: [n], 0 or 1. p: [n], 0..1. groups: [n]. bins: of equal width, right-closed.
        group: what a group is, for the words of the method.

    Raises:
        TableError: NaN, probabilities outside 0..1, labels other than 0 and 1, lengths that differ.
    """
    truth, scores = as_binary(y, p, "p", probability=True)
    codes, count = group_codes(groups, len(truth))
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


_ROUNDS = 50
_CLOSE = 1e-10  # of the last step, in units of the fit
_CELLS = 1_000_000  # replicates times cases fitted at once: 8 MB an array
CLIP = 1e-12  # a probability of 0 or 1 has no log odds


def slope_of_logits(truth: BoolArray, scores: FloatArray, units: IntArray, count: int) -> Estimator:
    """The slope b of the unpenalised fit y ~ a + b logit(p); see `scaling.calibration_slope`.

    NaN in a replicate whose drawn cases have one class, one value of p, or classes that a threshold separates.

    Args:
        truth, scores: [n], probabilities. units: [n], the group of each in 0..count-1.
    """
    x = log_odds(scores)
    spread = float(x.std()) or 1.0
    middle = float(x.mean()) if len(x) else 0.0
    design = (x - middle) / spread
    above, below = (_Extremes(design[kind], units[kind], count) for kind in (truth, ~truth))

    def estimator(drawn: FloatArray) -> FloatArray:
        (least, most), (lowest, highest) = above(drawn), below(drawn)
        # a finite fit of one variable exists just where the two classes overlap (Albert and Anderson 1984)
        overlap = (least < highest) & (most > lowest)
        found = np.full(len(drawn), np.nan)
        found[overlap] = _slopes(design, truth, units, drawn[overlap]) / spread
        return found

    return estimator


def intercept_at_slope_one(truth: BoolArray, scores: FloatArray, units: IntArray, count: int) -> Estimator:
    """The a of the fit y ~ a + logit(p); see `scaling.calibration_in_the_large`. NaN where a class was not drawn.

    Args: as `slope_of_logits`.
    """
    x = log_odds(scores)
    positives = np.bincount(units[truth], minlength=count).astype(np.float64)
    negatives = np.bincount(units[~truth], minlength=count).astype(np.float64)

    def estimator(drawn: FloatArray) -> FloatArray:
        both = (drawn @ positives > 0) & (drawn @ negatives > 0)
        found = np.full(len(drawn), np.nan)
        parts = [_intercepts(x, truth, weights) for weights in _weights(drawn[both], units)]
        found[both] = np.concatenate(parts) if parts else np.empty(0)
        return found

    return estimator


def log_odds(p: FloatArray) -> FloatArray:
    """The logits of probabilities, clipped to 1e-12..1 - 1e-12."""
    return np.asarray(logit(np.clip(p, CLIP, 1.0 - CLIP)), dtype=np.float64)


class _Extremes:
    """The least and the largest value among the drawn cases of each replicate: [b], [b]."""

    def __init__(self, values: FloatArray, units: IntArray, count: int) -> None:
        self.least, self.most = np.full(count, np.inf), np.full(count, -np.inf)
        np.minimum.at(self.least, units, values)
        np.maximum.at(self.most, units, values)

    def __call__(self, drawn: FloatArray) -> tuple[FloatArray, FloatArray]:
        there = drawn > 0
        least = np.where(there, self.least, np.inf).min(axis=1)
        return least, np.where(there, self.most, -np.inf).max(axis=1)


def _weights(drawn: FloatArray, units: IntArray) -> Iterator[FloatArray]:
    """How often each case was drawn, [b, n], some replicates at a time."""
    at_once = max(1, _CELLS // max(1, len(units)))
    for start in range(0, len(drawn), at_once):
        yield drawn[start : start + at_once][:, units]


def _slopes(x: FloatArray, truth: BoolArray, units: IntArray, drawn: FloatArray) -> FloatArray:
    """The slope of each replicate, [b]; one that does not settle is NaN."""
    whole = _newton(x, truth, np.ones((1, len(x))), np.zeros(2))[0]
    near = np.zeros(2) if np.isnan(whole).any() else whole  # replicates lie close to the fit of all cases
    parts = [_newton(x, truth, weights, near)[:, 1] for weights in _weights(drawn, units)]
    return np.concatenate(parts) if parts else np.empty(0)


def _newton(x: FloatArray, truth: BoolArray, weights: FloatArray, start: FloatArray) -> FloatArray:
    """Intercept and slope by Newton's method with bounded steps from `start`: [b, 2]."""
    found = np.tile(start, (len(weights), 1))
    open_rows, squares = np.arange(len(weights)), x * x
    for _ in range(_ROUNDS):
        if not len(open_rows):
            break
        here, at = weights[open_rows], found[open_rows]
        fitted = expit(at[:, :1] + at[:, 1:] * x)
        left = here * (truth - fitted)
        bend = here * fitted * (1.0 - fitted)
        slope, curve = left.sum(axis=1), bend.sum(axis=1)
        second, mixed, square = left @ x, bend @ x, bend @ squares
        size = curve * square - mixed * mixed
        with np.errstate(divide="ignore", invalid="ignore"):
            step = np.stack(
                [(square * slope - mixed * second) / size, (curve * second - mixed * slope) / size], axis=1
            )
        step = np.where(np.isfinite(step), step, np.sign(np.stack([slope, second], axis=1)))
        longest = np.abs(step).max(axis=1, keepdims=True)
        # far from the fit a whole step can go too far
        found[open_rows] = at + step / np.maximum(1.0, longest)
        open_rows = open_rows[longest[:, 0] > _CLOSE * np.maximum(1.0, np.abs(found[open_rows]).max(axis=1))]
    found[open_rows] = np.nan
    return found


def _intercepts(x: FloatArray, truth: BoolArray, weights: FloatArray) -> FloatArray:
    """The intercept at slope 1, [b]: the root of a rising function, by Newton's method within a bracket.

    Where most probabilities are 0 or 1 the function is flat, and halving the bracket is what finds the root.
    """
    total = weights.sum(axis=1)
    wanted = weights @ truth
    middle = logit(wanted / total)
    low, high = middle - x.max() - _CLOSE, middle - x.min() + _CLOSE
    at = np.clip(0.0, low, high)
    open_rows = np.arange(len(weights))
    for turn in range(4 * _ROUNDS):
        if not len(open_rows):
            break
        here = weights[open_rows]
        fitted = expit(at[open_rows, None] + x)
        excess = (here * fitted).sum(axis=1) - wanted[open_rows]
        low[open_rows] = np.where(excess < 0, at[open_rows], low[open_rows])
        high[open_rows] = np.where(excess >= 0, at[open_rows], high[open_rows])
        with np.errstate(divide="ignore", invalid="ignore"):
            to = at[open_rows] - excess / (here * fitted * (1.0 - fitted)).sum(axis=1)
        inside = (to >= low[open_rows]) & (to <= high[open_rows]) & (turn % 8 < 7)
        to = np.where(inside, to, (low[open_rows] + high[open_rows]) / 2.0)
        moved, at[open_rows] = np.abs(to - at[open_rows]), to
        open_rows = open_rows[moved > _CLOSE * np.maximum(1.0, np.abs(to))]
    return np.asarray(at, dtype=np.float64)
