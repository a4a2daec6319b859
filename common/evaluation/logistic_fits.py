"""Calibration slope and calibration-in-the-large as estimators: the logistic fit of each replicate, many at a time."""

from __future__ import annotations

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
        found[overlap] = _fits(design, truth, units, drawn[overlap], free=True)[:, 1] / spread
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
        found[both] = _fits(x, truth, units, drawn[both], free=False)[:, 0]
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


def _fits(x: FloatArray, truth: BoolArray, units: IntArray, drawn: FloatArray, *, free: bool) -> FloatArray:
    """Intercept and slope of each replicate, [b, 2]; the slope is 1 where it is not `free`."""
    at_once = max(1, _CELLS // max(1, len(x)))
    flat = np.array([0.0, 0.0 if free else 1.0])
    whole = _newton(x, truth, np.ones((1, len(x))), flat, free=free)[0]
    near = flat if np.isnan(whole).any() else whole  # replicates lie close to the fit of all cases
    parts = [
        _newton(x, truth, drawn[start : start + at_once][:, units], near, free=free)
        for start in range(0, len(drawn), at_once)
    ]
    return np.concatenate(parts) if parts else np.empty((0, 2))


def _newton(
    x: FloatArray, truth: BoolArray, weights: FloatArray, start: FloatArray, *, free: bool
) -> FloatArray:
    """By Newton's method with bounded steps from `start`; a replicate that does not settle is NaN."""
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
        if free:
            second, mixed, square = left @ x, bend @ x, bend @ squares
            size = curve * square - mixed * mixed
            with np.errstate(divide="ignore", invalid="ignore"):
                step = np.stack(
                    [(square * slope - mixed * second) / size, (curve * second - mixed * slope) / size],
                    axis=1,
                )
        else:
            with np.errstate(divide="ignore", invalid="ignore"):
                step = np.stack([slope / curve, np.zeros(len(slope))], axis=1)
        step = np.where(np.isfinite(step), step, np.sign(np.stack([slope, slope * 0.0], axis=1)))
        longest = np.abs(step).max(axis=1, keepdims=True)
        found[open_rows] = at + step / np.maximum(
            1.0, longest
        )  # far from the fit a whole step can go too far
        open_rows = open_rows[longest[:, 0] > _CLOSE * np.maximum(1.0, np.abs(found[open_rows]).max(axis=1))]
    found[open_rows] = np.nan
    return found
