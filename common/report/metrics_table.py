"""The table of all results: each with its interval or the reason why there is none, published values beside ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graftwork.common.report.data_tables import frequent, left_out
from graftwork.common.report.tables import Column, Row, Table
from graftwork.common.report.wording import (
    NOT_AVAILABLE,
    interval,
    metric_name,
    number,
    plural,
    score,
    shortened,
)

if TYPE_CHECKING:
    from graftwork.common.evaluation import Evaluation, Result
    from graftwork.common.report.facts import Facts

__all__ = ["metrics_table"]


def interval_cell(result: Result) -> str:
    """The interval, or the reason why there is none: one of the two always stands there."""
    found = interval(result.low, result.high)
    return found or f"{NOT_AVAILABLE}: {result.reason or 'the evaluation gave no interval and no reason'}"


def positives_cell(evaluation: Evaluation, result: Result) -> str:
    """How many cases are positive; of a mean over classes, the fewest and the most."""
    found = evaluation.positives(result)
    return "–" if found is None else " to ".join(dict.fromkeys(map(number, found)))


def metrics_table(facts: Facts) -> Table:
    """Every result with its interval, or the reason why there is none, and published values beside ours."""
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
    apart = facts.group != facts.unit  # else a unit is a group, and is counted already
    columns += [Column(plural(facts.group), numeric=True)] if apart else []
    columns += [Column("published")] if published else []
    columns += [Column("method")] if len(methods) > 1 else []
    rows: list[Row] = []
    shown, exclusive = set(frequent(facts)), facts.exclusive
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
        about = metric_name(result.metric, exclusive=exclusive)
        head = about.title if about.unit in ("", "0 to 1") else f"{about.title} ({about.unit})"
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
    notes.append("All values are without unit and run from 0 to 1 where nothing else is said.")
    return Table(
        f"All metrics on the {evaluation.part} part",
        tuple(columns),
        tuple(rows),
        stacks=True,
        notes=tuple(notes),
    )


def _same_split(facts: Facts) -> str:
    if facts.synthetic:
        return "These data are synthetic: published values stand here for the layout alone."
    if facts.recipe.split.by == "publisher":
        text = "This run is tested on the publisher's test part, as published values usually are"
        if facts.leaks:
            text += f"; {number(facts.leaks)} {plural(facts.group)} stand in more than one part"
        return f"{text}."
    return (
        f"The split differs: published values usually stand for the publisher's test part; here the test part was "
        f"drawn by {facts.group}, so its cases are others and the values are not measured on the same thing."
    )
