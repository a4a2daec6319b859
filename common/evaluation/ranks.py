"""Scores of which only the order counts: metrics that do not follow from the order are undefined."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from graftwork.common.errors import UsageError
from graftwork.common.evaluation.metrics.registry import EXCLUSIVE, METRICS
from graftwork.common.evaluation.results import Evaluation, Result

if TYPE_CHECKING:
    from graftwork.common.evaluation.protocols import Protocol


ORDER_METRICS = tuple(name for name, metric in METRICS.items() if metric.order)
_REASON = "the scores are ranks, no probabilities (--ranks)"


def of_order(evaluation: Evaluation) -> Evaluation:
    """An evaluation in which every metric that is not of the order of scores is NaN with the reason."""
    results = tuple(each if each.metric in ORDER_METRICS else _undefined(each) for each in evaluation.results)
    return replace(evaluation, results=results, thresholds=())


def _undefined(result: Result) -> Result:
    return replace(
        result, value=math.nan, low=math.nan, high=math.nan, case_low=math.nan, case_high=math.nan, reason=_REASON,
        case_method="", undefined=0,
    )  # fmt: skip


def only_order(protocol: Protocol) -> Protocol:
    """The protocol with those of its metrics that are of the order of scores.

    Raises:
        UsageError: it has none.
    """
    kept = tuple(name for name in protocol.metrics if name in ORDER_METRICS)
    if not kept:
        raise UsageError(
            f"its metrics are {', '.join(protocol.metrics)}, expected one of {', '.join(ORDER_METRICS)}",
            where=f"protocol {protocol.name!r}, --ranks",
            remedy="add --also auroc",
        )
    return replace(protocol, metrics=kept, primary=protocol.primary if protocol.primary in kept else kept[0])


def refuse_values(protocol: Protocol, **given: object) -> None:
    """Refuse options that need probabilities beside ranks.

    Args:
        given: option to its value; None where it was not given.

    Raises:
        UsageError: one was given, or the protocol's classes exclude each other, so that scores are compared.
    """
    named = [name for name, value in given.items() if value is not None]
    if named:
        raise UsageError(
            f"--{named[0]} needs probabilities, and the scores are ranks",
            where="--ranks",
            remedy=f"leave out --{named[0]} or --ranks",
        )
    if protocol.kind in EXCLUSIVE:
        raise UsageError(
            f"{protocol.kind} scores are compared with each other, which ranks do not allow; expected two "
            "classes or labels",
            where="--ranks",
            remedy="give probabilities",
        )
