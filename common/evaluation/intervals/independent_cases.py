"""Intervals of a share of cases that do not depend on each other: Wilson and Clopper-Pearson."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation.arrays import BoolArray, FloatArray
from graftwork.common.evaluation.intervals.delong import delong
from graftwork.common.evaluation.metrics.registry import METRICS
from graftwork.common.evaluation.tables.predictions import Cases, Question


def wilson(
    successes: npt.ArrayLike, n: npt.ArrayLike, confidence: float = 0.95
) -> tuple[FloatArray, FloatArray]:
    """The score interval of a share, without continuity correction.

    It takes the cases as independent: where several come from one patient, resample patients instead.

    Args:
        successes, n: whole numbers, 0 <= successes <= n; arrays are taken together. confidence: in (0, 1).

    Returns:
        low, high, in 0..1; NaN where n is 0.

    Raises:
        TableError: counts that are negative, broken, or more successes than cases. UsageError: confidence.

    Source: Wilson, JASA 22:209 (1927); equal to statsmodels' `proportion_confint(method="wilson")`.
    """
    hit, total = _counts(successes, n, confidence)
    z = float(ndtri(0.5 + confidence / 2.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = hit / total
        middle = (share + z * z / (2.0 * total)) / (1.0 + z * z / total)
        half = (
            z * np.sqrt(share * (1.0 - share) / total + z * z / (4.0 * total * total)) / (1.0 + z * z / total)
        )
    low, high = np.clip(middle - half, 0.0, 1.0), np.clip(middle + half, 0.0, 1.0)
    # at the ends the formula is exact but for rounding
    return np.where((hit == 0) & (total > 0), 0.0, low), np.where((hit == total) & (total > 0), 1.0, high)


def clopper_pearson(
    successes: npt.ArrayLike, n: npt.ArrayLike, confidence: float = 0.95
) -> tuple[FloatArray, FloatArray]:
    """The exact interval of a share, which holds the truth at least as often as it says. As `wilson`.

    Source: Clopper and Pearson, Biometrika 26:404 (1934); equal to statsmodels' `proportion_confint(method="beta")`.
    """
    from scipy.stats import beta  # most of a second, which prediction does not need

    hit, total = _counts(successes, n, confidence)
    tail = (1.0 - confidence) / 2.0
    with np.errstate(invalid="ignore"):
        low = np.where(hit == 0, 0.0, beta.ppf(tail, hit, total - hit + 1.0))
        high = np.where(hit == total, 1.0, beta.ppf(1.0 - tail, hit + 1.0, total - hit))
    return np.where(total > 0, low, np.nan), np.where(total > 0, high, np.nan)


def _counts(successes: npt.ArrayLike, n: npt.ArrayLike, confidence: float) -> tuple[FloatArray, FloatArray]:
    if not 0.0 < confidence < 1.0:
        raise UsageError(f"must lie between 0 and 1, it is {confidence}", where="confidence")
    hit, total = np.broadcast_arrays(np.asarray(successes, np.float64), np.asarray(n, np.float64))
    if (
        hit.size
        and not ((hit >= 0) & (hit <= total) & (hit == np.round(hit)) & (total == np.round(total))).all()
    ):
        raise TableError(
            "whole numbers with 0 <= successes <= n were expected",
            where="successes",
            remedy="give counts: how many cases, and how many of them are successes",
        )
    return hit, total


@dataclass(frozen=True)
class CaseInterval:
    """Limits, and how they were had: "DeLong", "Wilson"."""

    low: float
    high: float
    method: str


def case_interval(metric: str, question: Question, confidence: float = 0.95) -> CaseInterval | None:
    """Of a metric of one yes-or-no question.

    Args:
        metric: "auroc" (DeLong), or "sensitivity", "specificity", "accuracy" (Wilson). confidence: in (0, 1).

    Returns:
        None where theory has none for that metric, or it is undefined: no decision, no case; of an AUROC fewer than two
        cases of a class, or no variance, as where a score separates the classes.
    """
    record = METRICS.get(metric)
    method = record.interval if record else ""
    if method == "delong":
        found = delong(question.truth, question.scores, confidence)
        return None if found.reason else CaseInterval(found.low, found.high, "DeLong")
    if question.decided is None or method != "wilson":
        return None
    right = question.decided == question.truth
    among = {"positive": question.truth, "negative": ~question.truth}.get(record.among if record else "")
    return _wilson(right if among is None else right[among], confidence)


def case_interval_of_classes(metric: str, cases: Cases, confidence: float = 0.95) -> CaseInterval | None:
    """Of a metric of exclusive classes together: Wilson's of their accuracy; None of any other."""
    return (
        _wilson(cases.choice == cases.truth, confidence)
        if metric in METRICS and METRICS[metric].interval == "wilson"
        else None
    )


def _wilson(hit: BoolArray, confidence: float) -> CaseInterval | None:
    low, high = (float(limit) for limit in wilson(int(hit.sum()), len(hit), confidence))
    return None if math.isnan(low) else CaseInterval(low, high, "Wilson")
