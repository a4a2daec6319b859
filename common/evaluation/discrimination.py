"""How well scores tell two classes apart, whatever the threshold: AUROC and average precision."""

from __future__ import annotations

from typing import overload

import numpy as np
import numpy.typing as npt

from graftwork.common.evaluation.arrays import (
    BoolArray,
    FloatArray,
    IntArray,
    answer,
    as_scores,
    as_truth,
    divide,
)

__all__ = ["Ranking", "auroc", "average_precision"]


class Ranking:
    """Scores sorted once, so that each of many resamples costs one pass.

    Args:
        truth: [n] bool. scores: [n] float64 without NaN. units: [n], the unit, of `count`, of an item.
    """

    def __init__(self, truth: BoolArray, scores: FloatArray, units: IntArray, count: int) -> None:
        positive, negative = np.flatnonzero(truth), np.flatnonzero(~truth)
        positive = positive[np.argsort(scores[positive], kind="stable")]
        negative = negative[np.argsort(scores[negative], kind="stable")]
        above, below = scores[positive], scores[negative]
        self.count = count
        self._positive, self._negative = units[positive], units[negative]
        # for each positive item: negatives with a lower score, with a lower or the same; positives lower
        self._lower = np.searchsorted(below, above, side="left")
        self._lower_or_same = np.searchsorted(below, above, side="right")
        self._first = np.searchsorted(above, above, side="left")
        self._tied = bool((self._lower != self._lower_or_same).any())

    def auroc(self, multiplicity: FloatArray) -> FloatArray:
        """Share of (positive, negative) pairs in the right order, ties half: [b, units] -> [b]."""
        positive = np.take(multiplicity, self._positive, axis=1)
        negatives = _running(np.take(multiplicity, self._negative, axis=1))
        lower = np.take(negatives, self._lower, axis=1)
        # twice the count keeps halves of ties exact
        twice = lower + np.take(negatives, self._lower_or_same, axis=1) if self._tied else 2.0 * lower
        ordered = np.einsum("bi,bi->b", positive, twice)
        return divide(ordered, 2.0 * positive.sum(axis=1) * negatives[:, -1])

    def average_precision(self, multiplicity: FloatArray) -> FloatArray:
        """Sum of the steps in recall times the precision there: [b, units] -> [b]."""
        positive = np.take(multiplicity, self._positive, axis=1)
        positives = _running(positive)
        negatives = _running(np.take(multiplicity, self._negative, axis=1))
        true = positives[:, -1:] - np.take(positives, self._first, axis=1)
        false = negatives[:, -1:] - np.take(negatives, self._lower, axis=1)
        precision = np.divide(true, true + false, out=np.zeros_like(true), where=true > 0)
        return divide(np.einsum("bi,bi->b", positive, precision), positives[:, -1])


def _running(values: FloatArray) -> FloatArray:
    """Cumulated sums along the rows with a leading 0: [b, n] -> [b, n + 1]."""
    sums = np.zeros((values.shape[0], values.shape[1] + 1))
    np.cumsum(values, axis=1, out=sums[:, 1:])
    return sums


def _ranking(y: npt.ArrayLike, s: npt.ArrayLike) -> Ranking:
    truth = as_truth(y)
    scores = as_scores(s, len(truth))
    if scores.ndim != 1:
        scores = scores.reshape(len(truth))
    return Ranking(truth, scores, np.arange(len(truth)), len(truth))


@overload
def auroc(y: npt.ArrayLike, s: npt.ArrayLike, *, weights: None = None) -> float: ...
@overload
def auroc(y: npt.ArrayLike, s: npt.ArrayLike, *, weights: FloatArray) -> FloatArray: ...
def auroc(y: npt.ArrayLike, s: npt.ArrayLike, *, weights: FloatArray | None = None) -> float | FloatArray:
    """Area under the ROC curve: the share of (positive, negative) pairs that the score orders, ties half.

    Args:
        y: [n], 0 or 1. s: [n], any numbers; higher means more likely 1.
        weights: none, [n], or [B, n] for B weightings at once (sorting is done once).

    Returns:
        A float in 0..1, or [B]. NaN where one of the classes has no case.

    Raises:
        TableError: NaN among the scores, labels other than 0 and 1, lengths that differ.

    Source: Hanley and McNeil, Radiology 143:29 (1982); equal to the Mann-Whitney statistic by midranks.
    """
    ranking = _ranking(y, s)
    result: float | FloatArray = answer(ranking.auroc, ranking.count, weights)
    return result


@overload
def average_precision(y: npt.ArrayLike, s: npt.ArrayLike, *, weights: None = None) -> float: ...
@overload
def average_precision(y: npt.ArrayLike, s: npt.ArrayLike, *, weights: FloatArray) -> FloatArray: ...
def average_precision(
    y: npt.ArrayLike, s: npt.ArrayLike, *, weights: FloatArray | None = None
) -> float | FloatArray:
    """Average precision: the sum over distinct thresholds of the step in recall times the precision there.

    Never the trapezoid below the precision-recall curve, which interpolates where no operating point exists.

    Args, Raises: as `auroc`.

    Returns:
        A float in 0..1, or [B]. NaN where no case is positive.

    Source: the step sum of scikit-learn's `average_precision_score`.
    """
    ranking = _ranking(y, s)
    result: float | FloatArray = answer(ranking.average_precision, ranking.count, weights)
    return result
