"""How well scores tell two classes apart, whatever the threshold: AUROC and average precision."""

from __future__ import annotations

from typing import overload

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from graftwork.common.evaluation.arrays import (
    BoolArray,
    FloatArray,
    IntArray,
    answer,
    as_scores,
    as_truth,
    divide,
)


class Ranking:
    """Scores sorted once, so that each of many resamples costs one pass over counts.

    The sorted cases become two sparse tables of counts by unit: of the positive cases at each distinct score
    of a positive one, and of the negative cases between those scores. A product with the multiplicities gives
    the weights of all resamples at once.

    Args:
        truth: [n] bool. scores: [n] float64 without NaN. units: [n], the unit, of `count`, of an item.
    """

    def __init__(self, truth: BoolArray, scores: FloatArray, units: IntArray, count: int) -> None:
        positive, negative = np.flatnonzero(truth), np.flatnonzero(~truth)
        positive = positive[np.argsort(scores[positive], kind="stable")]
        negative = negative[np.argsort(scores[negative], kind="stable")]
        below = scores[negative]
        levels, starts = np.unique(scores[positive], return_index=True)
        # for each level: negatives with a lower score, and with a lower or the same
        lower, same = (np.searchsorted(below, levels, side=side) for side in ("left", "right"))
        cuts = np.unique(np.concatenate([lower, same, [len(below)]]))
        self.count = count
        self._positives = _counts(units[positive], np.append(starts, len(positive)), count)
        self._negatives = _counts(units[negative], np.append(0, cuts), count)
        self._lower, self._same = np.searchsorted(cuts, lower), np.searchsorted(cuts, same)
        self._tied = bool((lower != same).any())

    def _weigh(self, multiplicity: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Positives at each level, [levels, b], and negatives up to each cut, [cuts, b]; the last is all."""
        drawn = np.ascontiguousarray(multiplicity.T)
        positives, negatives = np.asarray(self._positives @ drawn), np.asarray(self._negatives @ drawn)
        return positives, np.cumsum(negatives, axis=0, out=negatives)

    def auroc(self, multiplicity: FloatArray) -> FloatArray:
        """Share of (positive, negative) pairs in the right order, ties half: [b, units] -> [b]."""
        positives, negatives = self._weigh(multiplicity)
        lower = negatives[self._lower]
        # twice the count keeps halves of ties exact
        twice = lower + negatives[self._same] if self._tied else 2.0 * lower
        ordered = np.einsum("jb,jb->b", positives, twice)
        return divide(ordered, 2.0 * positives.sum(axis=0) * negatives[-1])

    def average_precision(self, multiplicity: FloatArray) -> FloatArray:
        """Sum of the steps in recall times the precision there: [b, units] -> [b]."""
        positives, negatives = self._weigh(multiplicity)
        every = positives.sum(axis=0)
        true = every - np.cumsum(positives, axis=0) + positives
        called = negatives[-1] - negatives[self._lower]
        called += true
        np.divide(true, called, out=true, where=called > 0)
        return divide(np.einsum("jb,jb->b", positives, true), every)


def _counts(units: IntArray, starts: IntArray, count: int) -> csr_array[np.float64]:
    """How many of each unit stand in each run of a sorted list; run i is starts[i]:starts[i + 1]."""
    return csr_array((np.ones(len(units)), units, starts), shape=(len(starts) - 1, count))


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
