"""How far decisions and truth agree beyond chance, and scores of several classes at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation.arrays import (
    Array,
    BoolArray,
    Estimator,
    FloatArray,
    IntArray,
    as_scores,
    by_unit,
    divide,
    ratio,
)
from graftwork.common.evaluation.metrics.discrimination import Ranking, auroc
from graftwork.common.evaluation.metrics.operating_points import class_indices, confusion, mean_of_defined


def f1_score(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """2 TP / (2 TP + FP + FN) of two arrays of 0 and 1; NaN where all three are 0 (scikit-learn: 0)."""
    counts = confusion(y_true, y_pred, ("0", "1"))
    below = 2 * counts[1, 1] + counts[0, 1] + counts[1, 0]
    return float(2 * counts[1, 1] / below) if below else float("nan")


def kappa(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    classes: Sequence[str],
    weights: Literal["none", "linear", "quadratic"] = "none",
) -> float:
    """Cohen's kappa: agreement beyond what the two margins give by chance.

    Args:
        y_true, y_pred: [n], class names or indices into `classes`.
        classes: all there are, in their order: a grade that nobody gave still counts in the distances.
        weights: of a disagreement of classes i and j: 1, |i - j|, or (i - j)^2.

    Returns:
        -1..1; NaN where both are constantly the same class.

    Raises:
        TableError: an unknown class, lengths that differ. UsageError: unknown weights.

    Source: Cohen, Psychological Bulletin 70:213 (1968).
    """
    return float(_kappa(confusion(y_true, y_pred, classes)[None].astype(np.float64), weights)[0])


def _kappa(counts: FloatArray, weights: str) -> FloatArray:
    """Of confusion matrices [b, K, K]: [b]."""
    classes = counts.shape[1]
    apart = np.abs(np.subtract.outer(np.arange(classes), np.arange(classes))).astype(np.float64)
    costs = {"none": (apart > 0).astype(np.float64), "linear": apart, "quadratic": apart**2}
    if weights not in costs:
        raise UsageError(f"one of {', '.join(costs)}, not {weights!r}", where="weights")
    chance = counts.sum(axis=2)[:, :, None] * counts.sum(axis=1)[:, None, :]
    expected = (costs[weights] * chance).sum(axis=(1, 2))
    observed = (costs[weights] * counts).sum(axis=(1, 2)) * counts.sum(axis=(1, 2))
    return 1.0 - divide(observed, expected)


def matthews(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, classes: Sequence[str]) -> float:
    """Matthews' correlation of truth and decision, of two or several classes.

    Returns:
        -1..1; NaN where truth or decision is one class only (scikit-learn: 0).

    Source: Gorodkin, Computational Biology and Chemistry 28:367 (2004).
    """
    return float(_matthews(confusion(y_true, y_pred, classes)[None].astype(np.float64))[0])


def _matthews(counts: FloatArray) -> FloatArray:
    """Of confusion matrices [b, K, K]: [b]."""
    n, true, called = counts.sum(axis=(1, 2)), counts.sum(axis=2), counts.sum(axis=1)
    together = np.trace(counts, axis1=1, axis2=2) * n - (true * called).sum(axis=1)
    spread = (n * n - (called**2).sum(axis=1)) * (n * n - (true**2).sum(axis=1))
    return divide(together, np.sqrt(spread))


def square(
    of: Literal["matthews", "quadratic"],
    decided: IntArray,
    truth: IntArray,
    classes: int,
    units: IntArray,
    count: int,
) -> Estimator:
    """The estimator of Matthews' correlation or quadratic kappa of class indices; a case that was given no class
    (index -1) is left out of the matrix."""
    given = decided >= 0
    cells = (truth[given] * classes + decided[given])[:, None] == np.arange(classes * classes)
    counts = by_unit(cells, units[given], count)

    def estimator(multiplicity: FloatArray) -> FloatArray:
        tables = (multiplicity @ counts).reshape(-1, classes, classes)
        return _matthews(tables) if of == "matthews" else _kappa(tables, "quadratic")

    return estimator


def overlap_of_decisions(decided: BoolArray, truth: BoolArray, units: IntArray, count: int) -> Estimator:
    """The estimator of F1, 2 TP / (2 TP + FP + FN)."""
    return ratio(2 * (decided & truth), decided.astype(int) + truth, units, count)


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
    """The mean over pairs of classes of how well the scores of the two tell them apart.

    Args:
        y: [n], class indices. p: [n, K], scores.

    Returns:
        M, 0..1 (NaN without a pair), over how many pairs it is defined, and how many there are. A pair of which a
        class has no case is left out.

    Source: Hand and Till, Machine Learning 45:171 (2001), equation 7; scikit-learn's
    `roc_auc_score(multi_class="ovo", average="macro")`.
    """
    truth, scores = _table(y, p)
    pairs = list(combinations(range(scores.shape[1]), 2))
    found = []
    for i, j in pairs:
        of_i, of_j = truth == i, truth == j
        if of_i.any() and of_j.any():
            either: Array = of_i | of_j
            found.append(
                (auroc(of_i[either], scores[either, i]) + auroc(of_j[either], scores[either, j])) / 2.0
            )
    return (float(np.mean(found)) if found else float("nan")), len(found), len(pairs)


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
        raise UsageError(f"k must lie in 1..{scores.shape[1]}, it is {k}", where="k")
    if not len(truth):
        return float("nan")
    return float((places_before(truth, scores) < k).mean())


def places_before(truth: IntArray, scores: FloatArray) -> IntArray:
    """[n], how many classes stand before the true one; of equals those of a lower index."""
    own = scores[np.arange(len(truth)), truth][:, None]
    before = (scores > own).sum(axis=1)
    before += ((scores == own) & (np.arange(scores.shape[1]) < truth[:, None])).sum(axis=1)
    return np.asarray(before, dtype=np.intp)
