"""One metric of scores without an interval, for early stopping on validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation.arrays import FloatArray, as_scores
from graftwork.common.evaluation.metrics.operating_points import mean_of_defined
from graftwork.common.evaluation.metrics.registry import EXCLUSIVE, METRICS, scored_metric, why_undefined
from graftwork.common.evaluation.tables.predictions import Cases


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
    found = scored_metric(name)
    if kind not in METRICS[name].kinds:
        raise UsageError(
            f"{name} does not apply to {kind} targets",
            where="metric",
            remedy="name a metric for this kind of target",
        )
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
    if found.label_sets is not None:
        return float(found.label_sets(cases, questions)(once)[0])
    each = [
        float("nan")
        if found.one is None or why_undefined(found.needs, question)
        else float(found.one(question)(once)[0])
        for question in questions
    ]
    return float(mean_of_defined(np.array(each), axis=0))


def primary_metric(name: str) -> Callable[[str, Sequence[str], npt.ArrayLike, npt.ArrayLike], float]:
    """`score` of one metric, checked to be one for which higher is better.

    Raises:
        UsageError: an unknown metric, or one that is not better when it is higher.
    """
    scored_metric(name)
    if METRICS[name].better != "higher":
        raise UsageError(
            f"{name} is better when it is {METRICS[name].better}", where="metric", remedy="take auroc"
        )
    return partial(score, name)
