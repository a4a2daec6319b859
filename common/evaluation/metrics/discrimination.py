"""How well scores separate two classes at any threshold: AUROC and average precision."""

from __future__ import annotations

from itertools import combinations
from typing import overload

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation.arrays import (
    BoolArray,
    Estimator,
    FloatArray,
    IntArray,
    answer,
    as_binary,
    as_scores,
    divide,
    ratio,
)
from graftwork.common.evaluation.metrics.operating_points import class_indices, mean_of_defined


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
    """How many of each unit are in each run of a sorted list; run i is starts[i]:starts[i + 1]."""
    return csr_array((np.ones(len(units)), units, starts), shape=(len(starts) - 1, count))


def _ranking(y: npt.ArrayLike, s: npt.ArrayLike) -> Ranking:
    truth, scores = as_binary(y, s)
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


def _table(y: npt.ArrayLike, p: npt.ArrayLike) -> tuple[IntArray, FloatArray]:
    truth = np.asarray(y)
    scores = as_scores(p, len(truth), "p")
    if scores.ndim != 2:
        raise TableError(
            f"p must be [n, classes], its shape is {scores.shape}",
            where="p",
            remedy="give one row for each case and one column for each class",
        )
    return class_indices(truth, [str(k) for k in range(scores.shape[1])], "y"), scores


def hand_till(y: npt.ArrayLike, p: npt.ArrayLike) -> tuple[float, int, int]:
    """The mean over pairs of classes of how well the scores of the two separate them.

    Args:
        y: [n], class indices. p: [n, K], scores.

    Returns:
        M, 0..1 (NaN without a pair), over how many pairs it is defined, and how many there are. A pair of which a
        class has no case is left out.

    Source: Hand and Till, Machine Learning 45:171 (2001), equation 7; scikit-learn's
    `roc_auc_score(multi_class="ovo", average="macro")`.
    """
    truth, scores = _table(y, p)
    count = scores.shape[1]
    cases = np.bincount(truth, minlength=count)
    ordered = np.full((count, count), np.nan)  # [i, j]: how well the scores of i separate i from j
    for i in np.flatnonzero(cases):
        own = np.sort(scores[truth == i, i])
        below, up_to = (np.searchsorted(own, scores[:, i], side=side) for side in ("left", "right"))
        twice = 2 * (len(own) - up_to) + (up_to - below)  # cases of i with a higher score, ties half
        with np.errstate(invalid="ignore"):
            ordered[i] = np.bincount(truth, twice, minlength=count) / (2.0 * len(own) * cases)
    pairs = np.triu_indices(count, 1)
    found = ((ordered + ordered.T) / 2.0)[pairs]
    defined = found[~np.isnan(found)]
    return (float(np.mean(defined)) if len(defined) else float("nan")), len(defined), len(found)


def top_k_accuracy(y: npt.ArrayLike, p: npt.ArrayLike, k: int) -> float:
    """Share of cases whose class is among the k with the largest scores; of equals the lower index comes first.

    With k = 1 it is the accuracy of the largest score. (scikit-learn's prefers the higher index.)

    Args:
        y: [n], class indices. p: [n, K]. k: 1..K.

    Returns:
        0..1; NaN without a case.

    Raises:
        UsageError: k outside 1..K. TableError: unknown classes, NaN scores.
    """
    truth, scores = _table(y, p)
    if not 1 <= k <= scores.shape[1]:
        raise UsageError(f"k must be in 1..{scores.shape[1]}, it is {k}", where="k")
    if not len(truth):
        return float("nan")
    return float((places_before(truth, scores) < k).mean())


def places_before(truth: IntArray, scores: FloatArray) -> IntArray:
    """[n], how many classes stand before the true one; of equals those of a lower index."""
    own = scores[np.arange(len(truth)), truth][:, None]
    before = (scores > own).sum(axis=1)
    before += ((scores == own) & (np.arange(scores.shape[1]) < truth[:, None])).sum(axis=1)
    return np.asarray(before, dtype=np.intp)


def pairwise(truth: IntArray, scores: FloatArray, units: IntArray, count: int) -> Estimator:
    """The estimator of Hand and Till's M, over the pairs that are defined in a resample."""
    rankings = []
    for i, j in combinations(range(scores.shape[1]), 2):
        either = np.flatnonzero((truth == i) | (truth == j))
        for k in (i, j):
            rankings.append(Ranking(truth[either] == k, scores[either, k], units[either], count))

    def estimator(multiplicity: FloatArray) -> FloatArray:
        return mean_of_defined(np.stack([each.auroc(multiplicity) for each in rankings]), axis=0)

    return estimator


def top_k(truth: IntArray, scores: FloatArray, k: int, units: IntArray, count: int) -> Estimator:
    """The estimator of the share of cases whose class is among the k with the largest scores."""
    return ratio(places_before(truth, scores) < k, np.ones(len(truth)), units, count)
