"""The metrics by name: what each needs, and how it is made ready for a question or for exclusive classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial

import numpy as np
import numpy.typing as npt

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation.arrays import Estimator, FloatArray, as_scores, ratio
from graftwork.common.evaluation.metrics.calibration import (
    intercept_at_slope_one,
    slope_of_logits,
    squared_error,
    top_label_error,
)
from graftwork.common.evaluation.metrics.chance_agreement import (
    overlap_of_decisions,
    pairwise,
    places_before,
    square,
)
from graftwork.common.evaluation.metrics.discrimination import Ranking
from graftwork.common.evaluation.metrics.operating_points import (
    agreement,
    hits,
    mean_f1,
    mean_of_defined,
    mean_rate,
    mean_recall,
    near_hits,
    rate,
    steps_apart,
)
from graftwork.common.evaluation.metrics.partial_areas import area_above_sensitivity
from graftwork.common.evaluation.metrics.texts import EXCLUSIVE, METRICS
from graftwork.common.evaluation.tables.predictions import Cases, Question


@dataclass(frozen=True)
class Measure:
    """How a metric is computed.

    Attributes:
        of: makes the estimator for one yes-or-no question; None where it is of exclusive classes alone.
        needs: "positive", "negative": cases without which it is undefined; "decision": a threshold.
        whole: makes the estimator for exclusive classes together, where that is not the mean over classes.
        over_present: `whole` is a mean over the classes that are present in the truth.
        among: "positive" or "negative": the cases that it is a share of, where these are not all.
        together: makes the estimator for labels that do not exclude each other, all of a case at once.
    """

    of: Callable[[Question], Estimator] | None
    needs: tuple[str, ...] = ()
    whole: Callable[[Cases], Estimator] | None = None
    over_present: bool = False
    together: Callable[[Cases, Sequence[Question]], Estimator] | None = None
    among: str = ""


def _ranking(question: Question) -> Ranking:
    return Ranking(question.truth, question.scores, question.units, question.count)


def _decided(question: Question) -> npt.NDArray[np.bool_]:
    if question.decided is None:
        raise ValueError(f"no decision on {question.label!r}: {question.undecided}")  # `lack` comes first
    return question.decided


def _sets(cases: Cases, questions: Sequence[Question]) -> Estimator:
    """Of each case the labels that are known; one without any has no share in the mean."""
    common, either, known = (np.zeros(len(cases)) for _ in range(3))
    for each in questions:
        decided = _decided(each)
        common[each.rows] += decided & each.truth
        either[each.rows] += decided | each.truth
        known[each.rows] = 1.0
    share = np.where(either > 0, common / np.maximum(either, 1.0), known)
    return ratio(share, known, *cases.units)


MEASURES = {
    "auroc": Measure(lambda q: _ranking(q).auroc, ("positive", "negative")),
    "average_precision": Measure(lambda q: _ranking(q).average_precision, ("positive",)),
    "sensitivity": Measure(
        lambda q: rate(_decided(q), q.truth, q.units, q.count),
        ("positive", "decision"),
        among="positive",
    ),
    "specificity": Measure(
        lambda q: rate(~_decided(q), ~q.truth, q.units, q.count),
        ("negative", "decision"),
        among="negative",
    ),
    "accuracy": Measure(
        lambda q: agreement(_decided(q), q.truth, q.units, q.count),
        ("decision",),
        lambda c: hits(c.choice, c.truth, *c.units),
    ),
    "balanced_accuracy": Measure(
        lambda q: mean_rate(_decided(q), q.truth, q.units, q.count),
        ("positive", "negative", "decision"),
        lambda c: mean_recall(c.choice, c.truth, len(c.classes), *c.units),
        over_present=True,
    ),
    "brier": Measure(
        lambda q: squared_error(q.truth, q.scores, q.units, q.count),
        (),
        lambda c: squared_error(c.truth[:, None] == np.arange(len(c.classes)), c.scores, *c.units),
    ),
    "ece_top_label": Measure(
        lambda q: top_label_error(q.truth, q.scores, q.units, q.count),
        (),
        lambda c: top_label_error(c.truth, c.scores, *c.units),
    ),
    "calibration_slope": Measure(
        lambda q: slope_of_logits(q.truth, q.scores, q.units, q.count), ("positive", "negative")
    ),
    "calibration_in_the_large": Measure(
        lambda q: intercept_at_slope_one(q.truth, q.scores, q.units, q.count), ("positive", "negative")
    ),
    "set_jaccard": Measure(None, ("decision",), together=_sets),
    "macro_f1": Measure(
        None, (), lambda c: mean_f1(c.choice, c.truth, len(c.classes), *c.units), over_present=True
    ),
    "f1": Measure(lambda q: overlap_of_decisions(_decided(q), q.truth, q.units, q.count), ("decision",)),
    "partial_auroc": Measure(
        lambda q: area_above_sensitivity(q.truth, q.scores, q.units), ("positive", "negative")
    ),
    "hand_till": Measure(None, (), lambda c: pairwise(c.truth, c.scores, *c.units)),
    "top_5_accuracy": Measure(
        None, (), lambda c: ratio(places_before(c.truth, c.scores) < 5, np.ones(len(c)), *c.units)
    ),
    "matthews": Measure(
        lambda q: square("matthews", _decided(q).astype(int), q.truth.astype(int), 2, q.units, q.count),
        ("positive", "negative", "decision"),
        lambda c: square("matthews", c.choice, c.truth, len(c.classes), *c.units),
    ),
    "kappa_quadratic": Measure(
        None, (), lambda c: square("quadratic", c.choice, c.truth, len(c.classes), *c.units)
    ),
    "within_one": Measure(None, (), lambda c: near_hits(c.choice, c.truth, *c.units)),
    "mean_absolute_error": Measure(None, (), lambda c: steps_apart(c.choice, c.truth, *c.units)),
}


def measure(name: str) -> Measure:
    """The metric of that name, of targets that are told by scores.

    Raises:
        UsageError: there is none.
    """
    if name not in MEASURES and name in METRICS:
        masks = "segmentation" in METRICS[name].kinds
        what, way = (
            ("masks", "take it from segmentation_score")
            if masks
            else (" and ".join(METRICS[name].kinds), None)
        )
        raise UsageError(f"{name} is of {what}, not of scores", where="metric", remedy=way)
    if name not in MEASURES:
        near = get_close_matches(name, MEASURES, n=1)
        raise UsageError(
            f"the metric {name!r} is not known; there are {', '.join(MEASURES)}",
            where="metric",
            remedy=f"write {near[0]!r}" if near else None,
        )
    return MEASURES[name]


def asked(found: Measure, question: Question) -> Estimator:
    """The estimator of a metric for a question that lacks nothing."""
    if found.of is None:
        raise ValueError("a metric of exclusive classes alone")  # its kinds are looked at first
    return found.of(question)


def lack(needs: Sequence[str], question: Question) -> str:
    """Why a metric with such needs is undefined for a question; empty where it is defined."""
    n, positives = len(question.truth), int(question.truth.sum())
    if n == 0:
        return "no case with a known label"
    if "positive" in needs and positives == 0:
        return f"no positive case among {n:,}"
    if "negative" in needs and positives == n:
        return f"no negative case among {n:,}"
    if "decision" in needs and question.decided is None:
        return question.undecided
    return ""


def score(
    name: str, kind: str, classes: Sequence[str], y_true: npt.ArrayLike, scores: npt.ArrayLike
) -> float:
    """One metric of scores without an interval, for early stopping on validation.

    Args:
        name: in `METRICS`. kind: "binary", "multi-class", "multi-label" or "ordinal". classes: K names.
        y_true: exclusive classes: [n], the index of the class, negative where unknown; labels: [n, K] of 0, 1
            and NaN (unknown). Unknown ones are left out.
        scores: [n, K], probabilities. Decisions: the largest score; of labels, a score of at least 0.5.

    Returns:
        The metric (of labels and one-vs-rest metrics the mean over the classes where it is defined);
        NaN where it is undefined.

    Raises:
        UsageError: an unknown metric, or none of such targets. TableError: NaN scores or shapes that do not fit.
    """
    found = measure(name)
    if kind not in METRICS[name].kinds:
        raise UsageError(f"{name} is not one of {kind} targets", where="metric")
    truth = np.asarray(y_true)
    values = as_scores(scores, len(truth), "scores")
    if values.shape != (len(truth), len(classes)) or truth.ndim != (2 if kind == "multi-label" else 1):
        raise TableError(
            f"scores {values.shape} and truth {truth.shape} do not fit {len(classes)} classes",
            where="scores",
            remedy="give one column for each class",
        )
    if kind != "multi-label":
        known = truth >= 0
        truth, values = truth[known].astype(np.intp), values[known]
    everyone = np.arange(len(truth))
    cases = Cases(kind, tuple(classes), truth, values, everyone, everyone)
    once: FloatArray = np.ones((1, len(truth)))
    if kind in EXCLUSIVE and found.whole is not None:
        return float(found.whole(cases)(once)[0])
    questions = [
        question
        if question.decided is not None
        else replace(question, decided=cases.choice == 1 if kind == "binary" else question.scores >= 0.5)
        for question in cases.questions()
    ]
    if found.together is not None:
        return float(found.together(cases, questions)(once)[0])
    each = [
        float("nan") if lack(found.needs, question) else float(asked(found, question)(once)[0])
        for question in questions
    ]
    return float(mean_of_defined(np.array(each), axis=0))


def primary_metric(name: str) -> Callable[[str, Sequence[str], npt.ArrayLike, npt.ArrayLike], float]:
    """`score` of one metric, checked to be one for which higher is better.

    Raises:
        UsageError: an unknown metric, or one that is not better when it is higher.
    """
    measure(name)
    if METRICS[name].better != "higher":
        raise UsageError(
            f"{name} is better when it is {METRICS[name].better}", where="metric", remedy="take auroc"
        )
    return partial(score, name)
