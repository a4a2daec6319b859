"""Intervals that take every case as independent, for the metrics for which theory has one: DeLong's and Wilson's.

They stand beside the intervals over resampled groups, never in their place: where several cases come from one patient
they are too narrow, and where each case is its own group the two should agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from graftwork.common.evaluation.area_intervals import delong
from graftwork.common.evaluation.arrays import BoolArray
from graftwork.common.evaluation.predictions import Cases, Question
from graftwork.common.evaluation.proportions import wilson

__all__ = ["CaseInterval", "case_interval", "case_interval_of_classes"]


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
    if metric == "auroc":
        found = delong(question.truth, question.scores, confidence)
        return None if found.reason else CaseInterval(found.low, found.high, "DeLong")
    if question.decided is None or metric not in ("sensitivity", "specificity", "accuracy"):
        return None
    right = question.decided == question.truth
    among = {"sensitivity": question.truth, "specificity": ~question.truth}.get(metric)
    return _wilson(right if among is None else right[among], confidence)


def case_interval_of_classes(metric: str, cases: Cases, confidence: float = 0.95) -> CaseInterval | None:
    """Of a metric of exclusive classes together: Wilson's of their accuracy; None of any other."""
    return _wilson(cases.choice == cases.truth, confidence) if metric == "accuracy" else None


def _wilson(hit: BoolArray, confidence: float) -> CaseInterval | None:
    low, high = (float(limit) for limit in wilson(int(hit.sum()), len(hit), confidence))
    return None if math.isnan(low) else CaseInterval(low, high, "Wilson")
