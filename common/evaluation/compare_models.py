"""Two models on the same cases by one protocol: every metric's difference, tested, and corrected for many classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from graftwork.common.errors import TableError
from graftwork.common.evaluation.arrays import BoolArray, FloatArray
from graftwork.common.evaluation.evaluate_table import evaluate, metric_cells, questions_of
from graftwork.common.evaluation.intervals.bootstrap import replicate, too_few
from graftwork.common.evaluation.intervals.delong import paired_delong
from graftwork.common.evaluation.intervals.paired_tests import Difference, difference_of, holm, mcnemar
from graftwork.common.evaluation.metrics.operating_points import mean_of_defined
from graftwork.common.evaluation.metrics.registry import EXCLUSIVE, METRICS
from graftwork.common.evaluation.results import Cell
from graftwork.common.evaluation.tables.prediction_arrays import has_groups, numbers, text_of
from graftwork.common.evaluation.tables.predictions import Cases, Question, TargetLike, read_cases
from graftwork.common.wording import fault_lines, short_list

if TYPE_CHECKING:
    import pandas as pd

    from graftwork.common.evaluation.protocols import Protocol
    from graftwork.common.evaluation.results import Evaluation


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
        method: in words. command: that gives the same numbers. notes: what a reader must know of the pair, a sentence
            each. findings: what somebody must look at, of either table.
    """

    evaluations: tuple[Evaluation, Evaluation]
    compared: tuple[Compared, ...]
    only_first: int
    only_second: int
    mcnemar_p: float
    method: str
    notes: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    command: str = field(default="", compare=False)

    def _repr_html_(self) -> str:
        from graftwork.common.evaluation.text_tables import comparison_rows, html_of

        one = self.evaluations[0]
        caption = f"{one.part}: {one.n:,} cases, {one.groups:,} groups, by protocol {one.protocol}; A minus B"
        return html_of(caption, comparison_rows(self), (self.method, *self.all_notes))

    @property
    def all_notes(self) -> tuple[str, ...]:
        """The notes of the pair and of each evaluation; a note about one model names it."""
        one, other = (each.notes for each in self.evaluations)
        return (
            *self.notes,
            *(note if note in other else f"A: {note}" for note in one),
            *(f"B: {note}" for note in other if note not in one),
        )


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
    said = _same_tables(first, second)
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
        cells = [metric_cells(metric, each, questions) for each, questions in zip(cases, asked, strict=True)]
        compared += _metric(metric, cells, alone, asked, count, len(cases[0]))
    equal = int((cases[0].scores == cases[1].scores).all(axis=1).sum())
    if len(cases[0]) and equal == len(cases[0]):
        said.append(f"A and B hold the same scores in all {equal:,} cases: is it twice the same model?")
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
        tuple(said),
    )


def _same_tables(first: pd.DataFrame, second: pd.DataFrame) -> list[str]:
    """Refuse tables that put a case into different parts, or of which only one names groups.

    Returns:
        notes on columns that neither model's numbers rest on and in which the two differ.
    """
    both = (first, second)
    if not all({"case", "part"} <= set(each.columns) for each in both):
        return []  # `evaluate` reports missing columns
    at = [{str(name): row for row, name in enumerate(text_of(each["case"]))} for each in both]
    shared = [name for name in at[0] if name in at[1]]
    rows = [np.array([place[name] for name in shared], dtype=np.intp) for place in at]

    def differing(column: str) -> list[str]:
        values = [text_of(each[column])[row] for each, row in zip(both, rows, strict=True)]
        pairs = zip(shared, *values, strict=True)
        return [
            f"{name} ({here or 'empty'}, {there or 'empty'})" for name, here, there in pairs if here != there
        ]

    faults = []
    if odd := differing("part"):
        bare = [name for name, each in zip(("the first table", "it"), both, strict=True)
                if each.attrs.get("parts") is False]  # fmt: skip
        why = (
            f"; {bare[0]} names no parts, so that each of its cases counts as test" if len(bare) == 1 else ""
        )
        faults.append(f"the part differs in {len(odd):,} of {len(shared):,} cases: {short_list(odd)}{why}")
    named = [has_groups(each, "group") for each in both]
    if named[0] != named[1]:
        one, other = ("it", "the first table") if named[1] else ("the first table", "it")
        faults.append(f"{one} names groups, {other} does not")
    _refuse(faults, str(second.attrs.get("source", "the second table")))
    notes = []
    for column in map(str, first.columns):
        own = column in ("case", "part", "group", "target") or column.startswith(("target_", "score_"))
        if column in second and not own and not _measured(first[column]) and (odd := differing(column)):
            notes.append(
                f"The column {column}, which was not used, differs between A and B in {len(odd):,} of {len(shared):,} "
                f"cases: {short_list(odd)}."
            )
    return notes


def _measured(column: pd.Series[Any]) -> bool:
    """Whether a column holds numbers that are not whole, such as scores under the name of another program."""
    values, odd = numbers(column)
    known = values[~np.isnan(values)]
    return not odd.any() and bool((known != np.round(known)).any())


def _same(one: Cases, other: Cases, where: str) -> None:
    faults = []
    a, b = one.case.astype(str), other.case.astype(str)
    for here, there, what in ((a, b, "lacks"), (b, a, "alone has")):
        odd = here[~np.isin(here, there)]
        if len(odd):
            faults.append(
                f"it {what} {len(odd):,} of {len(here):,} cases with a known truth: {short_list(odd)}"
            )
    if not faults:
        truth = one.truth != other.truth
        if one.truth.ndim == 2:
            truth = (truth & ~(np.isnan(one.truth) & np.isnan(other.truth))).any(axis=1)
        for odd, what, values in (
            (truth, "truth", [_truths(one), _truths(other)]),
            (one.groups != other.groups, "group", [one.groups, other.groups]),
        ):
            if odd.any():
                differing = [f"{a[row]} ({values[0][row]}, {values[1][row]})" for row in np.flatnonzero(odd)]
                faults.append(
                    f"the {what} differs in {len(differing):,} of {len(a):,} cases: {short_list(differing)}"
                )
    _refuse(faults, where)


def _truths(cases: Cases) -> list[str]:
    """The truth of each case, for a message."""
    if cases.truth.ndim == 1:
        return [cases.classes[int(row)] for row in cases.truth]
    names = np.array(cases.classes, dtype=object)
    return [" and ".join(names[row == 1]) or "none" for row in cases.truth]


def _refuse(faults: Sequence[str], where: str) -> None:
    if faults:
        listing = fault_lines(faults, bullet="- ")
        raise TableError(
            f"it is not of the cases of the first table, so nothing is paired:{listing}",
            where=where,
            remedy="give two tables of the same cases, truth, groups and parts",
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
        if METRICS[metric].interval == "delong" and pair in ready:
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
