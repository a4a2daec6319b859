"""Calibration slope and calibration-in-the-large as estimators: the logistic fit of each replicate, many at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.special import expit, logit

from graftwork.common.evaluation.arrays import BoolArray, Estimator, FloatArray, IntArray

__all__ = ["intercept_at_slope_one", "slope_of_logits"]

_ROUNDS = 50
_CLOSE = 1e-10  # of the last step, in units of the fit
_CELLS = 1_000_000  # replicates times cases fitted at once: 8 MB an array
_CLIP = 1e-12  # a probability of 0 or 1 has no log odds


def slope_of_logits(truth: BoolArray, scores: FloatArray, units: IntArray, count: int) -> Estimator:
    """The slope b of the unpenalised fit y ~ a + b logit(p); see `scaling.calibration_slope`.

    NaN in a replicate whose drawn cases have one class, one value of p, or classes that a threshold separates.

    Args:
        truth, scores: [n], probabilities. units: [n], the group of each in 0..count-1.
    """
    x = _logits(scores)
    spread = float(x.std()) or 1.0
    middle = float(x.mean()) if len(x) else 0.0
    design = (x - middle) / spread
    above, below = (
        _Extremes(design[truth], units[truth], count),
        _Extremes(design[~truth], units[~truth], count),
    )

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
    x = _logits(scores)
    positives = np.bincount(units[truth], minlength=count).astype(np.float64)
    negatives = np.bincount(units[~truth], minlength=count).astype(np.float64)

    def estimator(drawn: FloatArray) -> FloatArray:
        both = (drawn @ positives > 0) & (drawn @ negatives > 0)
        found = np.full(len(drawn), np.nan)
        parts = [_intercepts(x, truth, weights) for weights in _weights(drawn[both], units)]
        found[both] = np.concatenate(parts) if parts else np.empty(0)
        return found

    return estimator


def _logits(scores: FloatArray) -> FloatArray:
    return np.asarray(logit(np.clip(scores, _CLIP, 1.0 - _CLIP)), dtype=np.float64)


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
        found[open_rows] = at + step / np.maximum(
            1.0, longest
        )  # far from the fit a whole step can go too far
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
