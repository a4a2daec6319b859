"""The page of two models on the same cases: differences with intervals, tests, and undefined results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from graftwork.common.evaluation.metrics.registry import EXCLUSIVE, METRICS
from graftwork.common.report.external.predictions_page import footer, methods_of, undefined_section
from graftwork.common.report.external.two_models_tables import (
    TwoModels,
    has_delong,
    has_interval,
    p_value,
    why_not,
)
from graftwork.common.report.figures.difference_figures import (
    DifferenceRow,
    common_limits,
    differences,
    signed,
)
from graftwork.common.report.formatting import (
    NOT_AVAILABLE,
    count,
    direction,
    interval,
    listing,
    metric_name,
    sentence,
    shortened,
)
from graftwork.common.report.section import Figure, Page, Section, Value, section, sections_of
from graftwork.common.wording import plural

if TYPE_CHECKING:
    from graftwork.common.evaluation import Protocol
    from graftwork.common.evaluation.compare_models import Compared, Comparison


LEVEL = 0.05  # a corrected p below it fills a circle
FOREST = 40  # classes in one figure
FIGURES = 3  # of classes; the tables have every class
NAMED = 6  # classes that one sentence names
TILES = 6


def two_models_page(comparison: Comparison, protocol: Protocol, names: tuple[str, str]) -> Page:
    """The page of two models; `names`: of their two files."""
    data = TwoModels(comparison, protocol, distinct_names(*names))
    found = data.evaluation
    groups = "" if found.group == found.unit else f" of {count(found.groups, found.group)}"
    tiles = [
        Value(
            f"{data.title_of(each.metric)}, A − B{direction(each.metric)}",
            signed(each.difference.value),
            f"{interval(each.difference.low, each.difference.high)}, p {p_value(each.difference.p)}",
        )
        for each in comparison.compared
        if not each.label and each.metric != protocol.primary and has_interval(each)
    ]
    return Page(
        kind="comparison of two models",
        title=f"{data.names[0]} (A) and {data.names[1]} (B)",
        subtitle=(
            f"The same {count(found.n, found.unit)}{groups}, part {found.part}, by protocol {found.protocol}, version "
            f"{found.version}: {protocol.title}"
        ),
        result=_primary(data),
        tiles=tuple(tiles[:TILES]),
        text=_conclusion(data),
        notes=tuple(sentence(note) for note in comparison.all_notes),
        sections=sections_of("two-models", data),
        footer=footer(),
    )


def _primary(data: TwoModels) -> Value:
    row, found = data.whole(data.protocol.primary), data.evaluation
    name = f"{data.title_of(data.protocol.primary)}: A minus B"
    sample = f"{count(found.n, found.unit)} of {count(found.groups, found.group)}."
    sample = f"{count(found.n, found.unit)}." if found.group == found.unit else sample
    if row is None or not has_interval(row):
        return Value(name, NOT_AVAILABLE, f"undefined: {why_not(row) if row else 'not computed'}", sample)
    apart = row.difference
    within = f"{data.level} {interval(apart.low, apart.high)}, p {p_value(apart.p)}"
    return Value(name, signed(apart.value), within, sample)


def _conclusion(data: TwoModels) -> tuple[str, ...]:
    """What follows from the interval of the primary metric; nothing where there is none."""
    row = data.whole(data.protocol.primary)
    if row is None or not has_interval(row):
        return ()
    low, high = row.difference.low, row.difference.high
    if low <= 0 <= high:
        return (
            "The interval contains 0: these cases do not show which model is better by this metric. This does not "
            "prove that they are equal; the interval shows how large the difference may be.",
        )
    text = "The interval does not contain 0:"
    better = METRICS[data.protocol.primary].better
    if better not in ("higher", "lower"):
        return (f"{text} the two models differ by this metric on cases like these.",)
    name = "A" if (low > 0) == (better == "higher") else "B"
    return (f"{text} by this metric, {name} is better on cases like these.",)


@section("two-models", 10)
def metrics(data: TwoModels) -> Section:
    """Every metric, and the figures."""
    return Section("All metrics", "metrics", figures=tuple(_forests(data)), tables=(data.metrics,))


@section("two-models", 20)
def classes(data: TwoModels) -> Section | None:
    """Every metric of each class."""
    if not data.classes:
        return None
    folded = tuple(
        Section(each.caption, tables=(replace(each, titled=True),), folded=True)
        for each, shown in data.classes
        if not shown
    )
    tables = tuple(each for each, shown in data.classes if shown)
    return Section("Results by class", "classes", tables=tables, sections=folded)


@section("two-models", 30)
def decisions(data: TwoModels) -> Section:
    """McNemar's counts, or why there are none."""
    found = data.decisions
    if found is None:
        return Section("Decisions on single cases", "decisions", text=(_no_decisions(data),))
    return Section("Decisions on single cases", "decisions", tables=(found,))


@section("two-models", 40)
def undefined(data: TwoModels) -> Section:
    """Results without an interval, with the reasons; classes with the same reason together."""
    lacks: dict[tuple[str, str, str], list[str]] = {}
    for row in data.comparison.compared:
        name, why = data.title_of(row.metric), why_not(row)
        if not has_interval(row):
            lacks.setdefault((name, "A minus B", why), []).append(row.label)
        for side, evaluation in zip("AB", data.comparison.evaluations, strict=True):
            result = evaluation.result(row.metric, row.label)
            if math.isnan(result.low) and (has_interval(row) or result.reason != why):
                lacks.setdefault((name, f"{side} alone", result.reason), []).append(row.label)
    found = [f"{name}{_of(labels)}, {what}: {why}." for (name, what, why), labels in lacks.items()]
    if data.evaluation.excluded:
        found.append(
            f"Left out: {count(data.evaluation.excluded, data.evaluation.unit)} without a known label."
        )
    return undefined_section(found)


@section("two-models", 50)
def methods(data: TwoModels) -> Section:
    """The methods of the protocol, and of the paired comparison."""
    return methods_of(data.protocol, data.evaluation, _pairing(data))


@section("two-models", 60)
def repeat(data: TwoModels) -> Section:
    """What is needed to get the same numbers."""
    thresholds = () if data.thresholds is None else (data.thresholds,)
    return Section(
        "Repeat this comparison", "repeat", code=data.comparison.command, tables=(data.inputs, *thresholds)
    )


def _forests(data: TwoModels) -> list[Figure]:
    """The primary metric of each class; where there are no classes, the metrics on the scale from 0 to 1."""
    metric, groups = data.protocol.primary, plural(data.evaluation.group)
    whole = data.whole(metric)
    found = [each for each in data.of_classes(metric) if has_interval(each)]
    if len(found) < 2:
        return _metrics(data)
    rows = [_row(each, shortened(each.label)) for each in found][: FOREST * FIGURES]
    mean = [_row(whole, "mean over classes")] if whole is not None and has_interval(whole) else []
    limits = common_limits([*rows, *mean])
    pieces = [rows[start : start + FOREST] for start in range(0, len(rows), FOREST)]
    name, figures = data.title_of(metric), []
    for place, piece in enumerate(pieces):
        part = f" ({place + 1} of {len(pieces)})" if len(pieces) > 1 else ""
        drawing = differences(
            [*(mean if place == 0 else []), *piece], x_label=f"{metric_name(metric).title}, A − B", limits=limits,
            title=f"Difference of {name} of each class{part}, A minus B, with its interval",
            apart=f"Holm p < {LEVEL:g}", otherwise=f"Holm p ≥ {LEVEL:g}",
        )  # fmt: skip
        caption = (
            f"Right of the line A is higher, left of it B. Lines: {data.level}s of each class, resampling "
            f"{groups}; p is "
            "corrected for the number of classes (Holm). Diamond: mean over classes."
        )
        more = len(found) - len(rows)
        if more:
            caption += f" {count(more, 'further class')}: see the table."
        title = f"{name}, A minus B, by class{part}."
        figures.append(Figure(drawing, title, caption if not place else ""))
    return figures


def _metrics(data: TwoModels) -> list[Figure]:
    rows = [
        replace(
            _row(each, f"{data.title_of(each.metric)}{direction(each.metric)}"), summary=False, apart=True
        )
        for each in data.comparison.compared
        if not each.label and has_interval(each) and METRICS[each.metric].unit == "0 to 1"
    ]
    if len(rows) < 2:
        return []
    drawing = differences(
        rows, x_label="A − B", limits=common_limits(rows),
        title="Difference of each metric from 0 to 1, A minus B, with its interval",
    )  # fmt: skip
    caption = (
        f"Right of the line A is higher, left of it B. Lines: {data.level}s, resampling "
        f"{plural(data.evaluation.group)}. Metrics on the scale from 0 to 1."
    )
    return [Figure(drawing, "A minus B, by metric.", caption)]


def _no_decisions(data: TwoModels) -> str:
    """Why there are no counts of decisions."""
    if data.evaluation.kind not in (*EXCLUSIVE, "binary"):
        return "McNemar's test needs one decision per case. Here a case can have several labels, so there is no test."
    reasons = [
        each.reason for found in data.comparison.evaluations for each in found.thresholds if each.reason
    ]
    return (
        f"McNemar's test needs a decision on each case: {reasons[0] if reasons else 'the protocol has none'}."
    )


def _pairing(data: TwoModels) -> str:
    found, one = data.comparison, data.evaluation
    units, groups = plural(one.unit), plural(one.group)
    text = [
        f"The two models are compared on the same {units}, A minus B, by a paired cluster bootstrap: each of "
        f"{one.bootstrap:,} replicates draws the same {groups} for both models, with replacement, and takes the "
        f"difference of each metric. The {data.level} is an expanded percentile interval of these differences "
        "(Hesterberg 2015). p is two-sided: twice the smaller share of replicates at or below 0, or at or above 0, and "
        "at least 1 over the number of replicates."
    ]
    if any(each.label for each in found.compared):
        text.append(
            "The classes of each metric are one family: p is corrected by Holm's step-down method (Holm 1979)."
        )
    tests = [
        *(["DeLong's test of two paired AUROCs (DeLong et al. 1988)"] if has_delong(found.compared) else []),
        *([] if math.isnan(found.mcnemar_p) else ["McNemar's exact test (McNemar 1947)"]),
    ]
    if tests:
        verb, its = ("treats", "its p is") if len(tests) == 1 else ("treat", "their p are")
        text.append(
            f"{listing(tests)} {verb} {units} as independent: with several {units} per {one.group}, {its} too small."
        )
    chosen = [
        each
        for evaluation in found.evaluations
        for each in evaluation.thresholds
        if not math.isnan(each.value)
    ]
    if {each.rule for each in chosen} == {"fixed"}:
        text.append("Thresholds were fixed beforehand, the same for both models.")
    elif chosen:
        parts = listing(sorted({each.chosen_on for each in chosen}))
        text.append(f"Thresholds were chosen for each model separately, on its scores of the part {parts}.")
    return " ".join(text)


def distinct_names(first: str, second: str) -> tuple[str, str]:
    """The names of two files, with as many of their folders as make them different."""
    one, other = Path(first).parts, Path(second).parts
    for n in range(1, max(len(one), len(other), 1) + 1):
        names = "/".join(one[-n:]), "/".join(other[-n:])
        if names[0] != names[1] or one == other:
            break
    return shortened(names[0], 60), shortened(names[1], 60)


def _row(row: Compared, label: str) -> DifferenceRow:
    found = row.difference
    significant = bool(row.label) and row.adjusted < LEVEL
    return DifferenceRow(label, found.value, found.low, found.high, apart=significant, summary=not row.label)


def _of(labels: Sequence[str]) -> str:
    """The classes of a sentence: ` of a, b and 12 further classes`; empty for the overall result."""
    named = [shortened(label, 40) for label in labels if label]
    if not named:
        return ""
    more = len(named) - NAMED
    text = [*named[:NAMED], f"{count(more, 'further class')}"] if more > 0 else named
    whole = "all classes together and of " if "" in labels else ""
    return f" of {whole}{listing(text)}"
