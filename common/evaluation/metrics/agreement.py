"""How far decisions and truth agree beyond chance, and scores of several classes at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from graftwork.common.evaluation.arrays import (
    BoolArray,
    Estimator,
    FloatArray,
    IntArray,
    by_unit,
    divide,
    ratio,
    require_choice,
)
from graftwork.common.evaluation.metrics.operating_points import confusion


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
    require_choice(weights, costs, "weights")
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


def f1_estimator(decided: BoolArray, truth: BoolArray, units: IntArray, count: int) -> Estimator:
    """The estimator of F1, 2 TP / (2 TP + FP + FN)."""
    return ratio(2 * (decided & truth), decided.astype(int) + truth, units, count)
