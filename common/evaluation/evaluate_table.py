"""Evaluate a table of predictions by a protocol: every metric with its interval."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from graftwork.common.errors import RunError, TableError, UsageError
from graftwork.common.evaluation.arrays import Estimator
from graftwork.common.evaluation.intervals.independent_cases import case_interval, case_interval_of_classes
from graftwork.common.evaluation.metrics.counting import Counted, counted_cells, read_counts
from graftwork.common.evaluation.metrics.mask_overlap import Masks, read_masks, segmentation_table
from graftwork.common.evaluation.metrics.operating_points import Threshold, choose_threshold
from graftwork.common.evaluation.metrics.registry import EXCLUSIVE, scored_metric, why_undefined
from graftwork.common.evaluation.protocols import Protocol
from graftwork.common.evaluation.results import Cell, Evaluation, Resampling, evaluation_of, results_of
from graftwork.common.evaluation.tables.prediction_arrays import has_groups
from graftwork.common.evaluation.tables.predictions import Cases, Question, TargetLike, read_cases
from graftwork.common.files import write_json
from graftwork.common.files.checksums import verified
from graftwork.common.files.untrusted_files import read_json
from graftwork.common.wording import quantity

if TYPE_CHECKING:
    import pandas as pd


ThresholdLike: TypeAlias = str | float | Threshold | Sequence[Threshold] | None


@dataclass(frozen=True, eq=False)
class _Found:
    """The cases, their metrics (see `results_of`), and notes."""

    cases: Cases | Masks | Counted
    table: Mapping[str, tuple[int, Sequence[Cell]]]
    notes: tuple[str, ...]
    thresholds: tuple[Threshold, ...] = ()


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
    """Evaluate the predictions of one part by a protocol; cases of one unit are combined first.

    Args:
        predictions: as `read_predictions` returns it, one row per case; for the columns see
            `predictions.py` and `mask_overlap.py`.
        target: its kind and classes, and the prefix of its columns.
        part: the part that is evaluated.
        threshold_part: the part on which thresholds are chosen; not `part`.
        threshold: the rule ("youden", "sensitivity", "specificity"; None: the protocol's), or a given
            one: a number, a `Threshold`, or one for each class.
        target_value: the target of the last two rules, 0..1.
        bootstrap, seed, confidence: replicates of the groups, their seed, and the share between the limits.
        group: the column of the group. Without groups each case is its own group, and a note says so.

    Returns:
        An `Evaluation`. Undefined metrics are NaN with a reason.

    Raises:
        TableError: all errors of the table at once, or no case in `part`.
        UsageError: the threshold part is the evaluated part; target and protocol do not match.
    """
    _fits(target, protocol)
    grouped = has_groups(predictions, group)
    name = protocol.group if grouped else "case"
    if target.kind == "counts":
        counted = read_counts(predictions, part, group=group)
        said = (f"{quantity(counted.excluded, protocol.unit)} without a known number left out.",)
        table = {each: (len(counted), counted_cells(each, counted)) for each in protocol.metrics}
        found = _Found(counted, table, said if counted.excluded else ())
    elif target.kind == "segmentation":
        found = _of_masks(predictions, target, protocol, part, group)
    else:
        if target.kind not in EXCLUSIVE:
            _refuse_leak(threshold, threshold_part, part)
        rule = protocol.threshold if threshold is None else threshold
        found = _of_scores(
            predictions, target, protocol, part, group, name, (threshold_part, rule, target_value), confidence
        )
    cases = found.cases
    if not len(cases) and not cases.excluded:
        parts = ", ".join(sorted({str(value) for value in predictions["part"]}))
        where = predictions.attrs.get("source", "predictions")
        has_parts = predictions.attrs.get("parts", True)
        raise TableError(
            f"no case is in part {part!r} (found {parts})"
            if has_parts
            else f"no column holds the part, expected one with the value {part!r}",
            where=where,
            remedy="name one of these with --part"
            if has_parts
            else "leave out --part to evaluate every case",
        )
    how = Resampling(cases.units[1], name, grouped, len(cases), bootstrap, seed, confidence)
    results, remarks = results_of(found.table, how)
    return evaluation_of(
        protocol,
        how,
        results,
        classes=tuple(target.classes),
        part=part,
        n=len(cases),
        excluded=cases.excluded,
        thresholds=found.thresholds,
        group_column=group if grouped else "",
        notes=(*how.notes(), *found.notes, *remarks),
    )


def _of_masks(
    predictions: pd.DataFrame, target: TargetLike, protocol: Protocol, part: str, group: str
) -> _Found:
    masks = read_masks(predictions, target.classes, part, group=group, by=protocol.by)
    table, said = segmentation_table(protocol, masks)
    if masks.excluded:
        said.insert(0, f"{quantity(masks.excluded, protocol.unit)} without a known mask left out.")
    return _Found(masks, table, tuple(said))


def _of_scores(
    predictions: pd.DataFrame,
    target: TargetLike,
    protocol: Protocol,
    part: str,
    group: str,
    name: str,
    choice: tuple[str, str | float | Threshold | Sequence[Threshold], float],
    confidence: float,
) -> _Found:
    """`choice`: the part on which thresholds are chosen, the rule and its target."""
    cases = read_cases(predictions, target, part, group=group, protocol=protocol)
    questions = cases.questions()
    thresholds: tuple[Threshold, ...] = ()
    said = []
    if target.kind not in EXCLUSIVE:
        other, rule, aim = choice
        others = read_cases(predictions, target, other, group=group, protocol=protocol)
        thresholds = _thresholds(rule, aim, others, other)
        questions = questions_of(cases, thresholds)
        shared = len(set(others.groups.tolist()) & set(cases.groups.tolist()))
        if shared and any(each.chosen_on for each in thresholds):
            said.append(
                f"{quantity(shared, name)} of part {part} are also in part {other}, on which the threshold was chosen."
            )
    if cases.excluded:
        noun = protocol.unit if protocol.by else "case"
        mixed = f", {cases.several:,} of them with several classes" if cases.several else ""
        said.append(f"{quantity(cases.excluded, noun)} without a known label left out{mixed}.")
    table = {
        each: (len(cases), metric_cells(each, cases, questions, confidence)) for each in protocol.metrics
    }
    return _Found(cases, table, tuple(said), thresholds)


def _fits(target: TargetLike, protocol: Protocol) -> None:
    where = f"protocol {protocol.name!r}"
    if target.kind != protocol.kind:
        raise UsageError(
            f"the protocol evaluates {protocol.kind} targets, this target is {target.kind}",
            where=where,
            remedy=f"name a protocol for {target.kind} targets; `graftwork ls protocols` lists them",
        )
    name = getattr(target, "name", protocol.target)
    if protocol.masks is not None:
        raise UsageError(
            "the protocol evaluates two folders of masks",
            where=where,
            remedy="run `graftwork evaluate seg --truth DIR --predicted DIR --protocol NAME`",
        )
    if protocol.target and name != protocol.target:
        raise UsageError(
            f"the protocol evaluates the target {protocol.target!r}, this target is {name!r}",
            where=where,
            remedy="name a protocol for this target",
        )
    if protocol.classes and tuple(target.classes) != protocol.classes:
        raise UsageError(
            f"the classes are {', '.join(target.classes)}, expected {', '.join(protocol.classes)}",
            where=where,
            remedy="name the columns by the classes of the protocol, or use another protocol",
        )


def _refuse_leak(threshold: ThresholdLike, threshold_part: str, part: str) -> None:
    """Refuse a threshold that was chosen on the evaluated cases: its metrics are too optimistic."""
    given = [threshold] if isinstance(threshold, Threshold) else threshold
    if isinstance(given, (str, type(None))):
        sources = {threshold_part}
    elif isinstance(given, (int, float)):
        sources = set()
    else:
        sources = {each.chosen_on for each in given}
    if part in sources:
        raise UsageError(
            f"the threshold is chosen on part {part!r}, which is also evaluated",
            where="threshold",
            remedy="choose it on another part, such as validation, or give a fixed value",
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
            raise UsageError(
                "the threshold is NaN", where="threshold", remedy="give a number, or leave out the threshold"
            )
        fixed = Threshold(float(threshold), "fixed", chosen_on="")
        return tuple(replace(fixed, label=each.label) for each in questions)
    if isinstance(threshold, Threshold):
        return tuple(replace(threshold, label=each.label) for each in questions)
    place = {each.label: each for each in threshold}
    missing = [each.label for each in questions if each.label not in place]
    if missing:
        raise UsageError(
            f"the threshold of {', '.join(missing)} is missing",
            where="threshold",
            remedy="give one threshold for each class",
        )
    return tuple(place[each.label] for each in questions)


def questions_of(cases: Cases, thresholds: Sequence[Threshold]) -> tuple[Question, ...]:
    """The questions of cases, with decisions at the threshold of each; without decisions where there are none."""
    questions = cases.questions()
    return tuple(map(_decide, questions, thresholds)) if thresholds else questions


def _decide(question: Question, threshold: Threshold) -> Question:
    if math.isnan(threshold.value):
        return replace(question, undecided=threshold.reason or "no threshold was chosen")
    return replace(question, decided=question.scores >= threshold.value)


def metric_cells(
    name: str, cases: Cases, questions: Sequence[Question], confidence: float = 0.95
) -> list[Cell]:
    """A metric of cases as cells, one for the whole or one per class, each with its number of cases (sensitivity: the
    positive ones). `confidence`: of the intervals for independent cases."""
    found = scored_metric(name)
    if cases.kind in EXCLUSIVE and found.whole is not None:
        n, groups = len(cases), cases.units[1]
        if not n:
            return [Cell(name, "", n, None, groups, None, "no case with a known label")]
        share = (len(np.unique(cases.truth)), len(cases.classes)) if found.over_present else None
        alone = case_interval_of_classes(name, cases, confidence)
        return [Cell(name, "", n, None, groups, found.whole(cases), classes=share, alone=alone)]
    if found.label_sets is not None:
        return [_label_sets(name, found.label_sets, cases, questions)]
    cells = []
    for each in questions:
        reason = why_undefined(found.needs, each)
        rests = {"positive": each.truth, "negative": ~each.truth}.get(found.among, np.ones_like(each.truth))
        cells.append(
            Cell(
                name,
                each.label,
                int(rests.sum()),
                int(each.truth.sum()),
                len(np.unique(each.units[rests])),
                None if reason or found.one is None else found.one(each),
                reason,
                alone=None if reason else case_interval(name, each, confidence),
            )
        )
    return cells


def _label_sets(
    name: str,
    made: Callable[[Cases, Sequence[Question]], Estimator],
    cases: Cases,
    questions: Sequence[Question],
) -> Cell:
    """A metric of all labels of a case together."""
    rows = np.unique(np.concatenate([each.rows for each in questions]))
    reason = next((each.undecided for each in questions if each.decided is None), "")
    if not len(rows):
        reason = "no case with a known label"
    groups = len(np.unique(cases.units[0][rows]))
    return Cell(name, "", len(rows), None, groups, None if reason else made(cases, questions), reason)


FURTHER = "further_metrics.json"
FORMAT = 1
SEEN = "seen"  # the part of held-out cases whose groups are also in training


def target_of(protocol: Protocol, targets: Sequence[TargetLike]) -> TargetLike | None:
    """The target that a protocol evaluates: the first, or the named one; None where no target has its kind."""
    names = [getattr(each, "name", "") for each in targets]
    if protocol.target and protocol.target not in names:
        return None
    found = targets[names.index(protocol.target) if protocol.target else 0]
    return found if found.kind == protocol.kind else None


def evaluate_all(
    predictions: pd.DataFrame,
    targets: Sequence[TargetLike],
    first: Protocol,
    further: Iterable[Protocol] = (),
    **how: Any,
) -> tuple[Evaluation, tuple[Evaluation, ...]]:
    """Evaluate a table by its first protocol on the part test, and by all other protocols that apply.

    Args:
        targets: of the manifest, in its order.
        further: protocols of other targets or units; `first` among them is not evaluated twice.
        how: options of `evaluate`: threshold, target_value, bootstrap, seed, confidence, group.

    Returns:
        the evaluation by `first`; then those by `first` on the part "seen" and by each of `further` on "test" and
        "seen". Protocols whose target, column, part or known labels the table lacks are left out.

    Raises:
        UsageError: the target of `first` is missing. TableError: as `evaluate`.
    """
    target = target_of(first, targets)
    if target is None:
        wanted = repr(first.target) if first.target else "the first target"
        known = ", ".join(f"{getattr(each, 'name', '')!r} ({each.kind})" for each in targets)
        raise UsageError(
            f"the protocol evaluates {wanted} ({first.kind}), the targets are {known}",
            where=f"protocol {first.name!r}",
            remedy="name another protocol",
        )
    found = evaluate(predictions, target, first, **how)
    others = []
    for protocol, part in [
        (first, SEEN),
        *((each, part) for each in further if each != first for part in ("test", SEEN)),
    ]:
        target = target_of(protocol, targets)
        there = bool((predictions["part"] == part).any()) and protocol.by in ("", *predictions.columns)
        if target is not None and there:
            evaluation = evaluate(predictions, target, protocol, part=part, **how)
            others += [evaluation] if evaluation.n else []
    return found, tuple(others)


def keep(folder: Path, found: Evaluation, others: Sequence[Evaluation]) -> None:
    """Write metrics.json and, for further evaluations, further_metrics.json."""
    if others:
        write_json(folder / FURTHER, {"format": FORMAT, "evaluations": [each.to_json() for each in others]})
    else:
        (folder / FURTHER).unlink(missing_ok=True)
    write_json(
        folder / "metrics.json", found.to_json()
    )  # last: its presence means that the evaluation is complete


def read_further(folder: str | os.PathLike[str]) -> tuple[Evaluation, ...]:
    """The evaluations in further_metrics.json; none where there is no such file.

    Raises:
        RunError, TableError: the file is damaged.
    """
    place = Path(folder) / FURTHER
    if not place.is_file():
        return ()
    remedy = "write it again with `graftwork evaluate`"
    try:
        content = read_json(verified(place, remedy=remedy), RunError, remedy=remedy)
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, not {FORMAT}")
        return tuple(Evaluation.from_json(each) for each in content["evaluations"])
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"damaged: {error}", where=place, remedy=remedy) from error
