"""The sections on metrics: all results with intervals or reasons, published values, and results by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from graftwork.common.report.formatting import (
    NOT_AVAILABLE,
    count,
    interval,
    metric_name,
    number,
    score,
    shortened,
    title_of,
)
from graftwork.common.report.run.data_section import frequent, left_out
from graftwork.common.report.section import Column, Row, Section, Table, section
from graftwork.common.wording import plural

if TYPE_CHECKING:
    from graftwork.common.evaluation import Evaluation, Result
    from graftwork.common.report.run.run_facts import Facts


FEW = 20  # cases of a class, or groups of a part: fewer give unreliable results
COLUMNS = 6  # metrics in the table of classes; the table of all metrics has every metric


@section("run", 20)
def by_class(facts: Facts) -> Section | None:
    """The results of each class."""
    evaluation = facts.evaluation
    table = class_table(evaluation, frequent(facts), f"Each class on the {evaluation.part} part", titled=True)
    return None if table is None else Section("Results by class", "classes", tables=(table,))


@section("run", 30)
def metrics(facts: Facts) -> Section:
    """Every result."""
    return Section("All metrics", "metrics", tables=(metrics_table(facts),))


def interval_cell(result: Result) -> str:
    """The interval, or the reason why there is none."""
    found = interval(result.low, result.high)
    return found or f"{NOT_AVAILABLE}: {result.reason or 'the evaluation gave no interval and no reason'}"


def positives_cell(evaluation: Evaluation, result: Result) -> str:
    """The number of positive cases; for a mean over classes, the smallest and the largest."""
    found = evaluation.positives(result)
    return "–" if found is None else " to ".join(dict.fromkeys(map(number, found)))


def metrics_table(facts: Facts) -> Table:
    """Every result with its interval, or the reason why there is none, beside published values."""
    evaluation = facts.evaluation
    published = facts.protocol.published if facts.protocol is not None else ()
    sources = list(dict.fromkeys((each.what, each.source) for each in published))
    methods = list(dict.fromkeys(result.method for result in evaluation.results if result.method))
    labelled = any(result.label for result in evaluation.results)
    columns = [Column("metric"), *([Column("class")] if labelled else [])]
    columns += [Column("value", numeric=True), Column("95 % interval", numeric=True)]
    counted = any(result.positives is not None for result in evaluation.results)
    columns.append(Column(plural(facts.unit), numeric=True))
    if counted:
        columns.append(Column("with the class" if facts.segments else "positive", numeric=True))
    apart = facts.group != facts.unit  # else groups are the units, which are counted
    columns += [Column(plural(facts.group), numeric=True)] if apart else []
    columns += [Column("published")] if published else []
    columns += [Column("method")] if len(methods) > 1 else []
    rows: list[Row] = []
    shown = set(frequent(facts))
    for result in evaluation.results:
        if result.label and result.label not in shown:
            continue
        cells = [shortened(result.label or "–", 40)] if labelled else []
        cells += [score(result.value), interval_cell(result)]
        cells.append(number(result.n))
        if counted:
            cells.append(positives_cell(evaluation, result))
        cells += [number(result.groups)] if apart else []
        if published:
            beside = [
                f"{score(each.value)} [{sources.index((each.what, each.source)) + 1}]"
                for each in published
                if each.metric == result.metric
                and (result.label == each.label if each.label else result is facts.overall(result.metric))
            ]
            cells.append("; ".join(beside) or "–")
        cells += [result.method or "–"] if len(methods) > 1 else []
        head = title_of(result.metric, facts.target.kind)
        if result.classes is not None:
            head += f", mean over {result.classes[0]} of {result.classes[1]} classes"
        rows.append(Row(head, tuple(cells), strong=result is facts.headline))
    ours = {result.metric for result in evaluation.results}
    for each in published:
        if each.metric not in ours:
            own = ["–"] * (len(columns) - 1)
            own[2 if labelled else 1] = f"{NOT_AVAILABLE}: not computed in this run"
            own[-2 if len(methods) > 1 else -1] = (
                f"{score(each.value)} [{sources.index((each.what, each.source)) + 1}]"
            )
            rows.append(Row(metric_name(each.metric).title, tuple(own)))
    notes = [f"Method of the intervals: {methods[0]}."] if len(methods) == 1 else []
    notes += [f"[{place}] {what}; {source}." for place, (what, source) in enumerate(sources, 1)]
    if published:
        notes.append(_same_split(facts))
    notes += facts.protocol.notes if facts.protocol is not None else ()
    notes += left_out(facts)
    notes.append("Values without a unit are from 0 to 1.")
    return Table(
        f"All metrics on the {evaluation.part} part",
        tuple(columns),
        tuple(rows),
        stacks=True,
        notes=tuple(notes),
        titled=True,
    )


def _same_split(facts: Facts) -> str:
    if facts.synthetic:
        return "These data are synthetic: do not compare them with the published values."
    if facts.recipe.split.by == "publisher":
        text = "This run is tested on the published test part, as published values usually are"
        if facts.leaks:
            text += f"; {number(facts.leaks)} {plural(facts.group)} have cases in more than one part"
        return f"{text}."
    return (
        "The split differs: published values are usually of the published test part; this test part was drawn by "
        f"{facts.group}. The cases are different, so the values are not directly comparable."
    )


def independent_table(evaluation: Evaluation) -> Table | None:
    """DeLong's and Wilson's intervals, each beside the resampled one; None where there are none."""
    rows = []
    found = [each for each in evaluation.results if each.case_method]
    labelled = any(each.label for each in found)
    for each in found:
        cells = [shortened(each.label or "–", 40)] if labelled else []
        cells += [score(each.value), interval(each.case_low, each.case_high) or "–", each.case_method]
        rows.append(Row(title_of(each.metric, evaluation.kind), (*cells, interval_cell(each))))
    columns = (
        Column("metric"), *((Column("class"),) if labelled else ()), Column("value", numeric=True),
        Column("cases independent", numeric=True), Column("method"),
        Column(f"{plural(evaluation.group)} resampled", numeric=True),
    )  # fmt: skip
    notes = (
        f"95 % intervals. Those that take each case as independent are too narrow where several come from one "
        f"{evaluation.group}; cite the resampled ones.",
    )
    return (
        Table("Intervals that take cases as independent", columns, tuple(rows), stacks=True, notes=notes)
        if rows
        else None
    )


def with_interval(result: Result | None) -> str:
    """A value with its interval in one cell: `0.871 (0.840 to 0.902)`."""
    if result is None:
        return "–"
    found = interval(result.low, result.high)
    return f"{score(result.value)} ({found})" if found else f"{score(result.value)} (no interval)"


def class_table(
    evaluation: Evaluation, shown: Sequence[str], caption: str, *, titled: bool = False
) -> Table | None:
    """One row per class; None where there are no results by class.

    Args:
        shown: the classes in the table, in this order. caption: of the table.
        titled: as of a `Table`.
    """
    labelled = [result for result in evaluation.results if result.label]
    classes = [name for name in shown if any(result.label == name for result in labelled)]
    if len(classes) < 2:
        return None
    metrics = list(dict.fromkeys(result.metric for result in labelled))[:COLUMNS]
    counted = any(result.positives is not None for result in labelled)
    rows, few = [], []
    for name in classes:
        of = {result.metric: result for result in labelled if result.label == name}
        positives = next((result.positives for result in of.values() if result.positives is not None), None)
        cells = [NOT_AVAILABLE if positives is None else number(positives)] if counted else []
        cells += [with_interval(of.get(metric)) for metric in metrics]
        if positives is not None and positives < FEW:
            few.append(f"{shortened(name, 40)} ({number(positives)})")
        rows.append(Row(shortened(name, 40), tuple(cells)))
    columns = [Column("class")]
    if counted:
        such = "with" if evaluation.kind == "segmentation" else "of"
        columns.append(Column(f"{plural(evaluation.unit)} {such} the class", numeric=True))
    for metric in metrics:
        columns.append(Column(title_of(metric, evaluation.kind), numeric=True))
    notes = ["In parentheses: 95 % interval."]
    if few:
        notes.insert(
            0,
            f"Classes with fewer than {count(FEW, evaluation.unit)}: {', '.join(few)}. Their results are unreliable, "
            "whatever the intervals.",
        )
    return Table(
        caption, tuple(columns), tuple(rows), stacks=True, notes=tuple(notes), spans=True, titled=titled
    )
