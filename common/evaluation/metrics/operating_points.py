"""What decisions at a threshold get right: sensitivity, specificity, accuracy; how it is chosen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation.arrays import (
    Array,
    BoolArray,
    Estimator,
    FloatArray,
    IntArray,
    answer,
    as_binary,
    as_scores,
    by_unit,
    divide,
    one_nan,
    ratio,
    require_length,
    require_vector,
)

if TYPE_CHECKING:
    from graftwork.common.evaluation.tables.predictions import Cases, Question

RULES = ("youden", "sensitivity", "specificity")
_ROUNDING = 1e-12  # a share that equals the target but for rounding has reached it


@dataclass(frozen=True)
class Threshold:
    """A threshold and where it comes from. A score at or above `value` is predicted positive.

    Attributes:
        value: NaN where it could not be chosen (`reason` says why).
        rule: "youden", "sensitivity", "specificity", or "fixed" for one that was given.
        target: what sensitivity or specificity was asked for; NaN for the other rules.
        chosen_on: the part it was chosen on; empty for "fixed".
        n, positives: cases it was chosen on.
        sensitivity, specificity: reached there. They chose the threshold, so they are no estimates.
        label: the class, where each class has its own.
    """

    value: float
    rule: str
    target: float = math.nan
    chosen_on: str = "validation"
    n: int = 0
    positives: int = 0
    sensitivity: float = math.nan
    specificity: float = math.nan
    label: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        one_nan(self, "value", "target", "sensitivity", "specificity")

    def describe(self) -> str:
        """In words: how it was chosen and on what."""
        if self.rule == "fixed":
            return f"fixed at {self.value:g} beforehand"
        how = "Youden's index" if self.rule == "youden" else f"{self.rule} of at least {self.target:g}"
        return f"chosen for {how} on {self.n:,} cases of part {self.chosen_on}"


def choose_threshold(
    y: npt.ArrayLike,
    s: npt.ArrayLike,
    rule: str = "youden",
    target: float = 0.95,
    *,
    part: str = "validation",
    label: str = "",
) -> Threshold:
    """Choose a threshold among the scores found, on cases that will not be evaluated with it.

    Rules: `youden`, the largest sensitivity + specificity - 1 (of equals the lowest threshold, the most
    sensitive); `sensitivity`, the highest threshold whose sensitivity reaches `target`; `specificity`, the
    lowest whose specificity reaches it (where no score does: just above the highest, nothing is positive).

    Args:
        y: [n], 0 or 1. s: [n]; scores >= threshold are positive. target: in 0..1.
        part: the part these cases are of; the threshold carries it, and evaluating on it is refused.

    Returns:
        A `Threshold`; its value is NaN, with the reason, where one of the classes has no case.

    Raises:
        UsageError: an unknown rule, or a target outside 0..1. TableError: as `auroc`.
    """
    if rule not in RULES:
        near = get_close_matches(rule, RULES, n=1)
        raise UsageError(
            f"the rule {rule!r} is not known; there are {', '.join(RULES)}",
            where="threshold",
            remedy=f"write {near[0]!r}" if near else None,
        )
    if not 0.0 <= target <= 1.0:
        raise UsageError(f"the target must be in 0..1, it is {target}", where="threshold")
    truth, scores = as_binary(y, s)
    above, below = np.sort(scores[truth]), np.sort(scores[~truth])
    n, positives, negatives = len(truth), len(above), len(below)
    aim = math.nan if rule == "youden" else target
    if positives == 0 or negatives == 0:
        lack = "no case" if n == 0 else "no positive case" if positives == 0 else "no negative case"
        reason = f"no threshold could be chosen: {lack} in part {part}"
        return Threshold(
            math.nan, rule, aim, part, n, positives, math.nan, math.nan, label=label, reason=reason
        )
    candidates = np.unique(scores)
    hits = positives - np.searchsorted(above, candidates, side="left")  # positives at or above
    passed = np.searchsorted(below, candidates, side="left")  # negatives below
    if rule == "youden":
        best = int(np.argmax(hits * negatives + passed * positives))  # in whole numbers: no tie by rounding
    elif rule == "sensitivity":
        best = int(np.flatnonzero(hits / positives >= target - _ROUNDING)[-1])
    else:
        reached = np.flatnonzero(passed / negatives >= target - _ROUNDING)
        if not reached.size:
            above_all = math.nextafter(float(candidates[-1]), math.inf)
            return Threshold(above_all, rule, aim, part, n, positives, 0.0, 1.0, label=label)
        best = int(reached[0])
    return Threshold(
        float(candidates[best]),
        rule,
        aim,
        part,
        n,
        positives,
        float(hits[best] / positives),
        float(passed[best] / negatives),
        label=label,
    )


def rate(decided: BoolArray, truth: BoolArray, units: IntArray, count: int) -> Estimator:
    """The estimator of the share called positive among the positive: the sensitivity.

    With both arrays negated it is the specificity.
    """
    return ratio(truth & decided, truth, units, count)


def mean_rate(decided: BoolArray, truth: BoolArray, units: IntArray, count: int) -> Estimator:
    """The estimator of (sensitivity + specificity) / 2; undefined where either is."""
    positive, negative = rate(decided, truth, units, count), rate(~decided, ~truth, units, count)
    return lambda multiplicity: (positive(multiplicity) + negative(multiplicity)) / 2.0


def correct(decided: Array, truth: Array, units: IntArray, count: int) -> Estimator:
    """The estimator of the share of cases classified correctly; of truth and decision, or of class indices."""
    return ratio(decided == truth, np.ones(len(truth)), units, count)


def mean_recall(decided: IntArray, truth: IntArray, classes: int, units: IntArray, count: int) -> Estimator:
    """The estimator of the mean recall over the classes (indices, [n]) that are present in the truth."""
    present = truth[:, None] == np.arange(classes)
    recalls = ratio(present & (decided == truth)[:, None], present, units, count)

    def estimator(multiplicity: FloatArray) -> FloatArray:
        return mean_of_defined(recalls(multiplicity), axis=1)

    return estimator


def mean_f1(decided: IntArray, truth: IntArray, classes: int, units: IntArray, count: int) -> Estimator:
    """The estimator of the mean F1, 2 TP / (2 TP + FP + FN), over the classes (indices, [n]) present in the truth.

    A class that is only predicted is not averaged. Source: `f1_score(average="macro", labels=unique(y_true))` of
    scikit-learn, as the WILDS benchmark has it (Koh et al. 2021).
    """
    present = truth[:, None] == np.arange(classes)
    called = decided[:, None] == np.arange(classes)
    both, true, either = (
        by_unit(each, units, count) for each in (present & called, present, present.astype(int) + called)
    )

    def estimator(multiplicity: FloatArray) -> FloatArray:
        values = divide(2.0 * (multiplicity @ both), multiplicity @ either)
        return mean_of_defined(np.where(multiplicity @ true > 0, values, np.nan), axis=1)

    return estimator


def steps_apart(decided: IntArray, truth: IntArray, units: IntArray, count: int) -> Estimator:
    """The estimator of the mean distance of two classes (indices, [n]) in their order."""
    return ratio(np.abs(decided - truth), np.ones(len(truth)), units, count)


def near_hits(decided: IntArray, truth: IntArray, units: IntArray, count: int) -> Estimator:
    """The estimator of the share of cases that got the right class or one next to it in the order."""
    return ratio(np.abs(decided - truth) <= 1, np.ones(len(truth)), units, count)


def label_sets(cases: Cases, questions: Sequence[Question]) -> Estimator:
    """The estimator of the mean Jaccard index of each case's known labels; a case without known labels is left out."""
    common, either, known = (np.zeros(len(cases)) for _ in range(3))
    for each in questions:
        common[each.rows] += each.decision & each.truth
        either[each.rows] += each.decision | each.truth
        known[each.rows] = 1.0
    share = np.where(either > 0, common / np.maximum(either, 1.0), known)
    return ratio(share, known, *cases.units)


def mean_of_defined(values: FloatArray, axis: int) -> FloatArray:
    """The mean over the entries that are not NaN; NaN where none is."""
    defined = ~np.isnan(values)
    total = np.where(defined, values, 0.0).sum(axis=axis)
    quotient: FloatArray = np.full(total.shape, np.nan)
    np.divide(total, defined.sum(axis=axis), out=quotient, where=defined.any(axis=axis))
    return quotient


def _decisions(y: npt.ArrayLike, s: npt.ArrayLike, threshold: float) -> tuple[BoolArray, BoolArray, IntArray]:
    truth, scores = as_binary(y, s)
    if math.isnan(threshold):
        raise TableError("the threshold is NaN", where="threshold", remedy="choose one on validation")
    return scores >= threshold, truth, np.arange(len(truth))


def sensitivity(
    y: npt.ArrayLike, s: npt.ArrayLike, threshold: float, *, weights: FloatArray | None = None
) -> Any:
    """Share of the positive cases with a score >= threshold; NaN without a positive case.

    Args: y [n] of 0 and 1; s [n]; weights none, [n] or [B, n]. Returns a float, or [B]. Raises as `auroc`.
    """
    decided, truth, units = _decisions(y, s, threshold)
    return answer(rate(decided, truth, units, len(units)), len(units), weights)


def specificity(
    y: npt.ArrayLike, s: npt.ArrayLike, threshold: float, *, weights: FloatArray | None = None
) -> Any:
    """Share of the negative cases with a score < threshold; NaN without a negative case. As `sensitivity`."""
    decided, truth, units = _decisions(y, s, threshold)
    return answer(rate(~decided, ~truth, units, len(units)), len(units), weights)


def accuracy(
    y: npt.ArrayLike, s: npt.ArrayLike, threshold: float | None = None, *, weights: FloatArray | None = None
) -> Any:
    """Share of cases decided rightly; NaN without a case.

    Args:
        y: [n] of 0 and 1 with s [n] and a threshold (positive at or above it); or [n] of class indices with
            s [n, K] and no threshold: the class with the largest score, of equals the first.
        weights: none, [n] or [B, n].
    """
    if threshold is not None:
        decided, truth, units = _decisions(y, s, threshold)
        return answer(correct(decided, truth, units, len(units)), len(units), weights)
    chosen, index, _ = _choices(y, s)
    units = np.arange(len(index))
    return answer(correct(chosen, index, units, len(units)), len(units), weights)


def balanced_accuracy(
    y: npt.ArrayLike, s: npt.ArrayLike, threshold: float | None = None, *, weights: FloatArray | None = None
) -> Any:
    """Mean recall over the classes. Arguments as `accuracy`.

    Two classes at a threshold: (sensitivity + specificity) / 2, NaN where either is undefined. Several
    classes: the mean over those that are present in the truth (Brodersen 2010). A tied row
    goes to the first of its classes, as in scikit-learn's; a protocol may leave it undecided (`ties`).
    """
    if threshold is not None:
        decided, truth, units = _decisions(y, s, threshold)
        return answer(mean_rate(decided, truth, units, len(units)), len(units), weights)
    chosen, index, classes = _choices(y, s)
    units = np.arange(len(index))
    return answer(mean_recall(chosen, index, classes, units, len(units)), len(units), weights)


def _choices(y: npt.ArrayLike, s: npt.ArrayLike) -> tuple[IntArray, IntArray, int]:
    truth = np.asarray(y)
    scores = as_scores(s, len(truth))
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise UsageError(
            "one score for each case needs a threshold", where="threshold", remedy="give the threshold"
        )
    index = class_indices(truth, [str(k) for k in range(scores.shape[1])], "y")
    return np.argmax(scores, axis=1), index, scores.shape[1]


def class_indices(values: npt.ArrayLike, classes: Sequence[str], name: str) -> IntArray:
    """Class names, or indices into `classes`, as indices.

    Raises:
        TableError: a name or an index that is not among the classes.
    """
    found = require_vector(values, name)
    if found.size == 0:
        return np.zeros(0, dtype=np.intp)
    if np.issubdtype(found.dtype, np.number) or found.dtype == np.bool_:
        odd = found[~np.isin(found, np.arange(len(classes)))]
        index = found
    else:
        place = {entry: number for number, entry in enumerate(classes)}
        index = np.array([place.get(str(value), -1) for value in found])
        odd = found[index < 0]
    if odd.size:
        listed = ", ".join(sorted({str(value) for value in odd})[:5])
        raise TableError(
            f"{name} holds {listed}; the classes are {', '.join(classes)}",
            where=name,
            remedy="correct these values, or name all classes",
        )
    return index.astype(np.intp)


def confusion(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, classes: Sequence[str]) -> npt.NDArray[np.int64]:
    """Counts [K, K]: rows the true class, columns the class decided, both in the order of `classes`.

    Args:
        y_true, y_pred: [n], class names or indices into `classes`.

    Raises:
        TableError: an unknown class, or lengths that differ.
    """
    true, decided = class_indices(y_true, classes, "y_true"), class_indices(y_pred, classes, "y_pred")
    require_length(len(decided), len(true), "y_pred")
    counts = np.bincount(true * len(classes) + decided, minlength=len(classes) ** 2)
    return counts.reshape(len(classes), len(classes)).astype(np.int64)
