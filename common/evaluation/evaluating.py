"""From a table of predictions to an evaluation: each number of a protocol with its interval, by one path."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation.arrays import Estimator, FloatArray
from graftwork.common.evaluation.intervals import (
    constant,
    count_of,
    describe,
    percentile_interval,
    replicate,
    too_few,
)
from graftwork.common.evaluation.metrics import Measure, lack, measure
from graftwork.common.evaluation.operating_points import Threshold, choose_threshold, mean_of_defined
from graftwork.common.evaluation.predictions import Cases, Question, TargetLike, read_cases
from graftwork.common.evaluation.protocols import METRICS, Protocol, plural
from graftwork.common.evaluation.results import Evaluation, Result

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["evaluate"]

ThresholdLike: TypeAlias = str | float | Threshold | Sequence[Threshold] | None
_FEW = 20  # groups below which percentile intervals are known to be too narrow


@dataclass(frozen=True, eq=False)
class _Cell:
    """One number to be had: its estimator, or why there is none."""

    metric: str
    label: str
    n: int
    positives: int | None
    groups: int
    estimator: Estimator | None
    reason: str = ""


def evaluate(
    predictions: pd.DataFrame,
    target: TargetLike,
    protocol: Protocol,
    *,
    part: str = "test",
    threshold_part: str = "validation",
    threshold: ThresholdLike = None,
    target_value: float = 0.95,
    bootstrap: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    group: str = "group",
) -> Evaluation:
    """Judge the predictions of one part by a protocol.

    Args:
        predictions: as `read_predictions` gives it: one row a case; see `predictions.py` for the columns.
        target: its kind and classes.
        part: the part that is evaluated.
        threshold_part: the part on which thresholds are chosen; never `part`.
        threshold: the rule ("youden", "sensitivity", "specificity"; None: the protocol's), or one that is
            already there: a number, a `Threshold`, or one for each class.
        target_value: what the last two rules aim at, 0..1.
        bootstrap, seed, confidence: replicates of the groups, their seed, and the share between the limits.
        group: the column that says the group. Where the table has no column `group`, each case is its own
            group, and the evaluation says so.

    Returns:
        An `Evaluation`. What is undefined is NaN with a reason.

    Raises:
        TableError: all faults of the table at once, or no case in `part`.
        UsageError: thresholds would be chosen on the part that is evaluated; target and protocol do not fit.
    """
    _fits(target, protocol)
    _refuse_leak(threshold, threshold_part, part)
    cases = read_cases(predictions, target, part, group=group)
    if not len(cases) and not cases.excluded:
        parts = ", ".join(sorted({str(value) for value in predictions["part"]}))
        where = predictions.attrs.get("source", "predictions")
        raise TableError(f"no case is of part {part!r}; there are {parts}", where=where)
    grouped = group in predictions.columns
    name = protocol.group if grouped else "case"
    notes = []
    if not grouped:
        notes.append(
            "The table has no groups: each case counts as its own group, so intervals are too narrow where "
            "several cases come from one."
        )
    chosen: tuple[Threshold, ...] = ()
    questions = cases.questions()
    if target.kind != "multi-class":
        others = read_cases(predictions, target, threshold_part, group=group)
        rule = protocol.threshold if threshold is None else threshold
        chosen = _thresholds(rule, target_value, others, threshold_part)
        questions = tuple(map(_decide, questions, chosen))
        shared = len(set(others.groups.tolist()) & set(cases.groups.tolist()))
        if shared and any(each.chosen_on for each in chosen):
            notes.append(
                f"{count_of(shared, name)} of part {part} also stand in part {threshold_part}, on which the "
                "threshold was chosen."
            )
    results, remarks = _results(protocol, cases, questions, name, grouped, bootstrap, seed, confidence)
    groups = cases.units[1]
    if 2 <= groups < _FEW:
        notes.append(f"Only {count_of(groups, name)}: percentile intervals from so few are too narrow.")
    if cases.excluded:
        notes.append(f"{count_of(cases.excluded, 'case')} without a known label left out.")
    return Evaluation(
        protocol=protocol.name,
        version=protocol.version,
        kind=target.kind,
        classes=tuple(target.classes),
        part=part,
        n=len(cases),
        groups=groups,
        excluded=cases.excluded,
        thresholds=chosen,
        results=results,
        bootstrap=bootstrap,
        seed=seed,
        confidence=confidence,
        numpy=np.__version__,
        unit=protocol.unit,
        group=name,
        group_column=group if grouped else "",
        notes=(*notes, *remarks),
    )


def _fits(target: TargetLike, protocol: Protocol) -> None:
    where = f"protocol {protocol.name!r}"
    if target.kind != protocol.kind:
        raise UsageError(f"it judges {protocol.kind} targets, this one is {target.kind}", where=where)
    if protocol.classes and tuple(target.classes) != protocol.classes:
        raise UsageError(
            f"its classes are {', '.join(protocol.classes)}, those here {', '.join(target.classes)}",
            where=where,
        )


def _refuse_leak(threshold: ThresholdLike, threshold_part: str, part: str) -> None:
    """A threshold chosen on the cases it is judged on makes every number at it too good."""
    given = [threshold] if isinstance(threshold, Threshold) else threshold
    if isinstance(given, (str, type(None))):
        sources = {threshold_part}
    elif isinstance(given, (int, float)):
        sources = set()
    else:
        sources = {each.chosen_on for each in given}
    if part in sources:
        raise UsageError(
            f"the threshold would be chosen on part {part!r}, which is evaluated",
            where="threshold",
            remedy="choose it on another part, such as validation, or give a value fixed beforehand",
        )


def _thresholds(
    threshold: str | float | Threshold | Sequence[Threshold], target: float, others: Cases, part: str
) -> tuple[Threshold, ...]:
    questions = others.questions()
    if isinstance(threshold, str):
        return tuple(
            choose_threshold(each.truth, each.scores, threshold, target, part=part, label=each.label)
            for each in questions
        )
    if isinstance(threshold, (int, float)):
        if math.isnan(threshold):
            raise UsageError("the threshold is NaN", where="threshold")
        fixed = Threshold(float(threshold), "fixed", chosen_on="")
        return tuple(replace(fixed, label=each.label) for each in questions)
    if isinstance(threshold, Threshold):
        return tuple(replace(threshold, label=each.label) for each in questions)
    place = {each.label: each for each in threshold}
    missing = [each.label for each in questions if each.label not in place]
    if missing:
        raise UsageError(f"no threshold is given for {', '.join(missing)}", where="threshold")
    return tuple(place[each.label] for each in questions)


def _decide(question: Question, threshold: Threshold) -> Question:
    if math.isnan(threshold.value):
        return replace(question, undecided=threshold.reason or "no threshold was chosen")
    return replace(question, decided=question.scores >= threshold.value)


def _cells(name: str, found: Measure, cases: Cases, questions: Sequence[Question]) -> list[_Cell]:
    if cases.kind == "multi-class" and found.whole is not None:
        n, groups = len(cases), cases.units[1]
        if not n:
            return [_Cell(name, "", n, None, groups, None, "no case with a known label")]
        return [_Cell(name, "", n, None, groups, found.whole(cases))]
    cells = []
    for each in questions:
        reason = lack(found.needs, each)
        cells.append(
            _Cell(
                name,
                each.label,
                len(each.truth),
                int(each.truth.sum()),
                len(np.unique(each.units)),
                None if reason else found.of(each),
                reason,
            )
        )
    return cells


def _results(
    protocol: Protocol,
    cases: Cases,
    questions: Sequence[Question],
    name: str,
    grouped: bool,
    bootstrap: int,
    seed: int,
    confidence: float,
) -> tuple[tuple[Result, ...], list[str]]:
    """Every number of the protocol, all from the same replicates; and what must be said about them."""
    groups = cases.units[1]
    method = describe(groups, bootstrap, name, grouped=grouped)
    table = {each: _cells(each, measure(each), cases, questions) for each in protocol.metrics}
    ready = [cell for cells in table.values() for cell in cells if cell.estimator is not None]
    estimators = [cell.estimator for cell in ready if cell.estimator is not None]
    once = np.ones((1, groups))
    values = {cell: float(each(once)[0]) for cell, each in zip(ready, estimators, strict=True)}
    enough = groups >= 2 and bool(estimators)
    drawn = (
        replicate(estimators, groups, items=len(cases), replicates=bootstrap, seed=seed)
        if enough
        else [np.empty(0) for _ in estimators]
    )
    draws = dict(zip(ready, drawn, strict=True))
    remarks: list[str] = []

    def result(cell: _Cell, value: float, replicates: FloatArray, classes: tuple[int, int] | None) -> Result:
        low = high = math.nan
        undefined, reason = 0, cell.reason
        if not reason and not enough:
            reason = too_few(groups, name)
        elif not reason:
            found = percentile_interval(replicates, confidence)
            low, high, undefined, reason = found.low, found.high, found.undefined, found.reason
            if constant(replicates) and not reason:
                of = f" of {cell.label}" if cell.label else ""
                title = METRICS[cell.metric].title
                remarks.append(
                    f"Every replicate gave the same {title}{of}; an interval without width is no certainty."
                )
        return Result(
            cell.metric, cell.label, value, low, high, cell.n, cell.positives, cell.groups, reason, method,
            undefined, classes,
        )  # fmt: skip

    results: list[Result] = []
    for metric, cells in table.items():
        if len(cells) > 1:
            defined = [cell for cell in cells if cell in values]
            share = (len(defined), len(cells))
            why = "" if defined else f"undefined for each of {len(cells)} classes: {cells[0].reason}"
            whole = _Cell(metric, "", len(cases), None, groups, None, why)
            every = np.stack([draws[cell] for cell in defined]) if defined else np.empty((1, 0))
            mean = float(np.mean([values[cell] for cell in defined])) if defined else math.nan
            results.append(result(whole, mean, mean_of_defined(every, axis=0), share))
            fewer = int(np.isnan(every).any(axis=0).sum())
            if fewer:
                remarks.append(
                    f"{METRICS[metric].title}: in {fewer:,} of {bootstrap:,} replicates the mean is over "
                    f"fewer than {share[0]} classes, as some {plural(name)} were not drawn."
                )
        for cell in cells:
            results.append(result(cell, values.get(cell, math.nan), draws.get(cell, np.empty(0)), None))
    return tuple(results), list(dict.fromkeys(remarks))
