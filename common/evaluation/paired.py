"""Two models on the same cases by one protocol: every metric's difference, tested, and corrected for many classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from graftwork.common.errors import TableError
from graftwork.common.evaluation.area_intervals import paired_delong
from graftwork.common.evaluation.arrays import BoolArray, FloatArray
from graftwork.common.evaluation.cells import Cell
from graftwork.common.evaluation.comparing import Difference, difference_of, holm, mcnemar
from graftwork.common.evaluation.evaluating import cells_of, evaluate, questions_of
from graftwork.common.evaluation.intervals import replicate, too_few
from graftwork.common.evaluation.metric_texts import EXCLUSIVE
from graftwork.common.evaluation.operating_points import mean_of_defined
from graftwork.common.evaluation.predictions import Cases, Question, TargetLike, read_cases
from graftwork.common.evaluation.tables import shown

if TYPE_CHECKING:
    import pandas as pd

    from graftwork.common.evaluation.protocols import Protocol
    from graftwork.common.evaluation.results import Evaluation

__all__ = ["Compared", "Comparison", "compare"]


@dataclass(frozen=True)
class Compared:
    """A metric of two models on the same cases.

    Attributes:
        metric, label: of the whole where the label is empty. first, second: the values.
        difference: first minus second, by the paired group bootstrap.
        adjusted: its p after Holm's correction over the classes of this metric; of the whole its p as it is.
        delong_p: of an AUROC, DeLong's paired test, which takes cases as independent; else NaN.
        reason: why there is no difference; else empty.
    """

    metric: str
    label: str
    first: float
    second: float
    difference: Difference
    adjusted: float
    delong_p: float = math.nan
    reason: str = ""


@dataclass(frozen=True)
class Comparison:
    """Two models by a protocol.

    Attributes:
        evaluations: of each alone. compared: in the protocol's order.
        only_first, only_second, mcnemar_p: cases that only one decided rightly, and McNemar's exact p, which takes
            cases as independent; of labels that do not exclude each other there is none (NaN).
        method: in words.
    """

    evaluations: tuple[Evaluation, Evaluation]
    compared: tuple[Compared, ...]
    only_first: int
    only_second: int
    mcnemar_p: float
    method: str


def compare(
    first: pd.DataFrame,
    second: pd.DataFrame,
    target: TargetLike,
    protocol: Protocol,
    *,
    part: str = "test",
    threshold: float | None = None,
    bootstrap: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Comparison:
    """Compare two tables of predictions of the same cases.

    Thresholds, where the protocol needs them, are chosen for each model on its own validation part. The same groups
    are drawn for both, 2,000 times, and the difference of each metric is taken in each draw.

    Args:
        first, second: as `read_predictions` gives them. target, protocol, part, threshold, bootstrap, seed,
            confidence: as `evaluate` takes them.

    Raises:
        TableError: the two do not hold the same cases with the same truth and groups; or as `evaluate`.
    """
    options = {
        "part": part, "threshold": threshold, "bootstrap": bootstrap, "seed": seed, "confidence": confidence,
    }  # fmt: skip
    alone = (
        evaluate(first, target, protocol, **options),  # type: ignore[arg-type]
        evaluate(second, target, protocol, **options),  # type: ignore[arg-type]
    )
    cases = [read_cases(each, target, part, protocol=protocol) for each in (first, second)]
    _same(cases[0], cases[1], str(second.attrs.get("source", "the second table")))
    asked = [questions_of(each, found.thresholds) for each, found in zip(cases, alone, strict=True)]
    _, count = cases[0].units
    compared: list[Compared] = []
    for metric in protocol.metrics:
        cells = [cells_of(metric, each, questions) for each, questions in zip(cases, asked, strict=True)]
        compared += _metric(metric, cells, alone, asked, count, len(cases[0]))
    right, other = (_right(each, questions) for each, questions in zip(cases, asked, strict=True))
    test = mcnemar(right, other) if right is not None and other is not None else None
    method = (
        f"paired cluster bootstrap over {count:,} groups, {bootstrap:,} replicates, expanded percentile; p two-sided; "
        "Holm over the classes of each metric"
    )
    return Comparison(
        alone,
        tuple(compared),
        test.only_first if test else 0,
        test.only_second if test else 0,
        test.p if test else math.nan,
        method,
    )


def _same(one: Cases, other: Cases, where: str) -> None:
    faults = []
    a, b = one.case.astype(str), other.case.astype(str)
    for here, there, what in ((a, b, "lacks"), (b, a, "alone has")):
        odd = here[~np.isin(here, there)]
        if len(odd):
            faults.append(f"it {what} {len(odd):,} cases with a known truth: {shown(odd)}")
    if not faults:
        truth = one.truth != other.truth
        if one.truth.ndim == 2:
            truth = (truth & ~(np.isnan(one.truth) & np.isnan(other.truth))).any(axis=1)
        for odd, what in ((a[truth], "truth"), (a[one.groups != other.groups], "group")):
            if len(odd):
                faults.append(f"the {what} differs in {len(odd):,} cases: {shown(odd)}")
    if faults:
        listing = "".join(f"\n  - {fault}" for fault in faults)
        raise TableError(
            f"it is not of the cases of the first table, so nothing is paired:{listing}",
            where=where,
            remedy="give two tables of the same cases, truth and groups",
        )


def _metric(
    metric: str,
    cells: Sequence[Sequence[Cell]],
    alone: tuple[Evaluation, Evaluation],
    asked: Sequence[Sequence[Question]],
    count: int,
    items: int,
) -> list[Compared]:
    found = alone[0]
    pairs = list(zip(*cells, strict=True))
    ready = [pair for pair in pairs if all(each.estimator is not None for each in pair)]
    drawn: list[FloatArray] = []
    if count >= 2 and ready:
        estimators = [each.estimator for pair in ready for each in pair if each.estimator is not None]
        drawn = replicate(estimators, count, items=items, replicates=found.bootstrap, seed=found.seed)
    apart = {pair: drawn[2 * k] - drawn[2 * k + 1] for k, pair in enumerate(ready)} if drawn else {}
    rows = []
    if len(pairs) > 1:
        values = [np.stack([drawn[2 * k + m] for k in range(len(ready))]) for m in (0, 1)] if drawn else []
        means = mean_of_defined(values[0], axis=0) - mean_of_defined(values[1], axis=0) if values else None
        rows.append(_row(metric, "", alone, means, count))
    for number, pair in enumerate(pairs):
        row = _row(metric, pair[0].label, alone, apart.get(pair), count)
        if metric == "auroc" and pair in ready:
            one, other = asked[0][number], asked[1][number]
            row = replace(row, delong_p=paired_delong(one.truth, one.scores, other.scores).p)
        rows.append(row)
    classes = [row for row in rows if row.label]
    adjusted = dict(
        zip([row.label for row in classes], holm([row.difference.p for row in classes]), strict=True)
    )
    return [replace(row, adjusted=float(adjusted.get(row.label, row.difference.p))) for row in rows]


def _row(
    metric: str, label: str, alone: tuple[Evaluation, Evaluation], apart: FloatArray | None, count: int
) -> Compared:
    one, other = (each.result(metric, label) for each in alone)
    value = one.value - other.value
    reason = one.reason or other.reason
    if apart is None or math.isnan(value):
        why = reason or (too_few(count) if count < 2 else "undefined")
        nothing = Difference(value, math.nan, math.nan, math.nan, 0, 0, why)
        return Compared(metric, label, one.value, other.value, nothing, math.nan, reason=why)
    difference = difference_of(value, apart, count, alone[0].confidence)
    return Compared(metric, label, one.value, other.value, difference, math.nan, reason=difference.reason)


def _right(cases: Cases, questions: Sequence[Question]) -> BoolArray | None:
    if cases.kind in EXCLUSIVE:
        return np.asarray(cases.choice == cases.truth)
    if cases.kind == "binary" and questions[0].decided is not None:
        return np.asarray(questions[0].decided == questions[0].truth)
    return None
