"""The page of a table of predictions: metrics, subgroups, methods, undefined results, and how to repeat it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graftwork.common.evaluation.metrics.registry import EXCLUSIVE, SCORED
from graftwork.common.evaluation.tables.predictions import read_cases
from graftwork.common.report.figures.curve_figures import ForestRow, forest
from graftwork.common.report.formatting import (
    NOT_AVAILABLE,
    count,
    interval,
    metric_name,
    number,
    score,
    sentence,
    shortened,
)
from graftwork.common.report.run.metrics_section import independent_table, interval_cell, positives_cell
from graftwork.common.report.section import (
    Column,
    Figure,
    Page,
    Row,
    Section,
    Table,
    Value,
    section,
    sections_of,
)
from graftwork.common.wording import plural

if TYPE_CHECKING:
    import pandas as pd

    from graftwork.common.evaluation import Cases, Evaluation, Protocol, Result
    from graftwork.common.evaluation.subgroup_metrics import Subgroups
    from graftwork.common.evaluation.tables.external_tables import Submission, TableTarget


FOREST = 40  # classes in one figure
TILES = 6
CALIBRATED_ON = "validation"  # the part on which thresholds and conformal sets are calibrated


class Predictions:
    """A table of predictions with its evaluation; `predictions` has the cases of the protocol, combined if it "
    "says so."""

    def __init__(
        self,
        submission: Submission,
        protocol: Protocol,
        evaluation: Evaluation,
        subgroups: Sequence[Subgroups],
    ) -> None:
        self.submission, self.protocol, self.evaluation = submission, protocol, evaluation
        self.subgroups, self.target = tuple(subgroups), submission.target
        self.source = Path(str(submission.table.attrs.get("source", "predictions"))).name
        self.unit = self.image = protocol.unit  # figures show what the protocol combines rows into
        self.group = evaluation.group

    @cached_property
    def cases(self) -> Cases | None:
        """The cases of the evaluated part; None where the target has no scores."""
        return self._cases(self.evaluation.part)

    @cached_property
    def calibration_cases(self) -> Cases | None:
        """The cases of the validation part; None where it is the evaluated part, or the target has no scores."""
        return None if self.evaluation.part == CALIBRATED_ON else self._cases(CALIBRATED_ON)

    def _cases(self, part: str) -> Cases | None:
        if self.target.kind not in SCORED:
            return None
        return read_cases(self.submission.table, self.target, part, protocol=self.protocol)

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """One row per case of the protocol."""
        cases = self.cases
        return self.submission.table if cases is None else _frame(cases, self.target, self.evaluation.part)

    def overall(self, metric: str) -> Result | None:
        """The result over all classes."""
        return next(
            (each for each in self.evaluation.results if (each.metric, each.label) == (metric, "")), None
        )

    def title_of(self, metric: str) -> str:
        """The title of a metric."""
        name = metric_name(metric, exclusive=self.target.kind in EXCLUSIVE).title
        return name[:1].upper() + name[1:]


def _frame(cases: Cases, target: TableTarget, part: str) -> pd.DataFrame:
    """The cases of a protocol as a table of predictions."""
    import pandas as pd

    truth: dict[str, object]
    if target.kind == "multi-label":
        truth = {name: cases.truth[:, k] for k, name in enumerate(target.columns)}
    else:
        truth = {target.columns[0]: np.array(target.classes, dtype=object)[cases.truth]}
    scores = {name: cases.scores[:, k] for k, name in enumerate(target.scores)}
    return pd.DataFrame({"case": cases.case, "part": part, "group": cases.groups, **truth, **scores})


def predictions_page(
    submission: Submission, protocol: Protocol, evaluation: Evaluation, subgroups: Sequence[Subgroups]
) -> Page:
    """The page of a table of predictions."""
    data = Predictions(submission, protocol, evaluation, subgroups)
    return Page(
        kind="evaluation of predictions",
        title=shortened(data.source, 90),
        subtitle=f"by protocol {evaluation.protocol}, version {evaluation.version}: {protocol.title}",
        result=_primary(data),
        tiles=tuple(_others(data)),
        notes=tuple(map(sentence, evaluation.notes)),
        sections=sections_of("predictions", data),
        footer=footer(),
    )


def footer() -> str:
    """The last line of a page on files of other programs."""
    from graftwork import __version__

    return f"Written by graftwork {__version__}. The page loads nothing and runs no script."


def _primary(data: Predictions) -> Value:
    found, result = data.evaluation, data.overall(data.protocol.primary)
    groups = "" if found.group == data.unit else f" of {count(found.groups, found.group)}"
    positives = ""
    if result is not None and result.positives is not None:
        positives = f" ({number(result.positives)} of them positive)"
    sample = f"{count(found.n, data.unit)}{positives}{groups}."
    name = data.title_of(data.protocol.primary)
    if result is None or math.isnan(result.value):
        reason = result.reason if result else "not computed"
        return Value(f"{name} on the {found.part} part", NOT_AVAILABLE, f"undefined: {reason}", sample)
    if result.classes is not None:
        name += f", mean over {result.classes[0]} of {result.classes[1]} classes,"
    limits = interval(result.low, result.high)
    within = f"95 % interval {limits}" if limits else f"no interval: {result.reason}"
    return Value(f"{name} on the {found.part} part", score(result.value), within, sample)


def _others(data: Predictions) -> list[Value]:
    found = [
        each for each in data.evaluation.results if not each.label and each.metric != data.protocol.primary
    ]
    return [
        Value(
            data.title_of(each.metric),
            score(each.value),
            interval(each.low, each.high) or f"no interval: {each.reason}",
        )
        for each in found[:TILES]
    ]


@section("predictions", 10)
def metrics(data: Predictions) -> Section:
    """Every result, and the primary metric of each class."""
    figure, independent = _forest(data), independent_table(data.evaluation)
    title = f"Intervals that treat {plural(data.unit)} as independent (DeLong, Wilson)"
    folded = () if independent is None else (Section(title, tables=(independent,), folded=True),)
    return Section(
        "All metrics", "metrics", figures=() if figure is None else (figure,), tables=(metrics_table(data),),
        sections=folded,
    )  # fmt: skip


def metrics_table(data: Predictions) -> Table:
    """Every result with its interval or the reason why there is none, beside published values."""
    results, published = data.evaluation.results, data.protocol.published
    labelled = any(each.label for each in results)
    columns = [Column("metric"), *([Column("class")] if labelled else [])]
    columns += [Column("value", numeric=True), Column("95 % interval", numeric=True)]
    columns += [Column(plural(data.unit), numeric=True), Column("positive", numeric=True)]
    columns += [Column("published")] if published else []
    rows = []
    for each in results:
        cells = [shortened(each.label or "–", 40)] if labelled else []
        cells += [score(each.value), interval_cell(each), number(each.n)]
        cells.append(positives_cell(data.evaluation, each))
        if published:
            beside = [
                score(one.value) for one in published if (one.metric, one.label) == (each.metric, each.label)
            ]
            cells.append("; ".join(beside) or "–")
        head = data.title_of(each.metric)
        if each.classes is not None:
            head += f", mean over {each.classes[0]} of {each.classes[1]} classes"
        rows.append(Row(head, tuple(cells), strong=each.metric == data.protocol.primary and not each.label))
    notes = notes_of(data.evaluation, data.protocol)
    return Table("All metrics", tuple(columns), tuple(rows), stacks=True, notes=notes, titled=True)


def notes_of(evaluation: Evaluation, protocol: Protocol) -> tuple[str, ...]:
    """The methods of the intervals, and the sources of published values."""
    methods = dict.fromkeys(each.method for each in evaluation.results if each.method)
    sources = dict.fromkeys((each.what, each.source) for each in protocol.published)
    return (
        *(f"Intervals: {method}." for method in methods),
        *(f"Published: {what}; {source}." for what, source in sources),
    )


def _forest(data: Predictions) -> Figure | None:
    """The primary metric of each class."""
    metric = data.protocol.primary
    found = [each for each in data.evaluation.results if each.metric == metric and each.label]
    found = [each for each in found if not math.isnan(each.value)][:FOREST]
    if len(found) < 2:
        return None
    rows = [ForestRow(each.label, each.value, each.low, each.high) for each in found]
    return Figure(
        forest(rows, metric=metric, each="class"),
        f"{data.title_of(metric)} of each class.",
        f"Points: values. Lines: 95 % intervals, resampling {plural(data.group)}.",
    )


@section("predictions", 80)
def subgroups(data: Predictions) -> Section | None:
    """The overall metrics in each subgroup."""
    if not data.subgroups:
        return None
    order = [data.title_of(name) for name in data.protocol.metrics]
    tables = []
    for covariate in data.subgroups:
        rows = []
        for each in covariate.subgroups:
            for one in each.results:
                if one.label:
                    continue
                cells = (
                    shortened(each.value, 40), score(one.value), interval_cell(one), number(one.n),
                    "–" if one.positives is None else number(one.positives), number(one.groups),
                )  # fmt: skip
                rows.append(Row(data.title_of(one.metric), cells))
        rows.sort(key=lambda row: order.index(row.head))
        notes = []
        for gap in covariate.gaps:
            limits = interval(gap.difference.low, gap.difference.high)
            notes.append(
                f"{data.title_of(gap.metric)}: {gap.highest} is {score(gap.difference.value)} "
                f"({limits or gap.difference.reason}) above {gap.lowest}. These two have the largest difference, so a "
                "difference above 0 is expected by chance."
            )
        notes += [
            f"{value}: not evaluated, only {count(groups, data.group)}."
            for value, groups in covariate.suppressed
        ]
        columns = (
            Column("metric"), Column(covariate.covariate), Column("value", numeric=True),
            Column("95 % interval", numeric=True), Column(plural(data.unit), numeric=True),
            Column("positive", numeric=True), Column(plural(data.group), numeric=True),
        )  # fmt: skip
        tables.append(
            Table(f"By {covariate.covariate}", columns, tuple(rows), stacks=True, notes=tuple(notes))
        )
    return Section("Subgroups", "subgroups", tables=tuple(tables))


@section("predictions", 90)
def undefined(data: Predictions) -> Section:
    """Results without a value or an interval, with the reasons."""
    found = []
    for each in data.evaluation.results:
        of = f" of {each.label}" if each.label else ""
        if math.isnan(each.value):
            found.append(f"{data.title_of(each.metric)}{of}: {each.reason}.")
        elif math.isnan(each.low):
            found.append(f"The interval of {data.title_of(each.metric)}{of}: {each.reason}.")
    if data.evaluation.excluded:
        found.append(f"Left out: {count(data.evaluation.excluded, data.unit)} without a known label.")
    return undefined_section(found)


def undefined_section(items: Sequence[str]) -> Section:
    """The section on undefined results."""
    text = () if items else ("Every result of the protocol is defined and has an interval.",)
    return Section("Undefined results", "undefined", text=text, items=tuple(items))


@section("predictions", 100)
def methods(data: Predictions) -> Section:
    """The methods of the protocol."""
    return methods_of(data.protocol, data.evaluation)


@section("predictions", 110)
def repeat(data: Predictions) -> Section:
    """What is needed to get the same numbers."""
    found = data.evaluation
    column = f"groups from the column {found.group_column}" if found.group_column else "no groups"
    text = (
        f"Protocol {found.protocol}, version {found.version}; part {found.part}; {column}; {found.bootstrap:,} "
        f"replicates, seed {found.seed}, numpy {found.numpy}."
    )
    return Section("Repeat this evaluation", "repeat", code=found.command, notes=(text,))


def methods_of(protocol: Protocol, evaluation: Evaluation, *more: str) -> Section:
    """The methods section of a protocol as the evaluation followed it, and paragraphs after it."""
    chosen = next((each for each in evaluation.thresholds if not math.isnan(each.value)), None)
    text = protocol.methods(
        replicates=evaluation.bootstrap,
        confidence=evaluation.confidence,
        group=evaluation.group,
        target=0.95 if chosen is None else chosen.target,
        rule="" if chosen is None else chosen.rule,
        chosen_on="validation" if chosen is None else chosen.chosen_on,
        unchosen=evaluation.thresholds[0].reason if evaluation.thresholds and chosen is None else "",
    )
    blocks = (*paragraphs_of(text.partition("\n\n")[2]), *(Section("", text=(each,)) for each in more))
    return Section("Methods", "methods", sections=blocks)


def paragraphs_of(markdown: str) -> tuple[Section, ...]:
    """Paragraphs and lists of a text with empty lines between them; bold and code become plain text."""
    found = []
    for part in filter(None, markdown.split("\n\n")):
        plain = re.sub(r"\*\*|`", "", part)
        lines = plain.splitlines()
        if all(line.startswith("- ") for line in lines):
            found.append(Section("", items=tuple(line[2:] for line in lines)))
        else:
            found.append(Section("", text=(plain,)))
    return tuple(found)
