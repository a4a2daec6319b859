"""The page of two folders of masks: metrics by region, single cases, the worst ones, empty masks."""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graftwork.common.evaluation.metrics.registry import METRICS
from graftwork.common.report.external.predictions_page import footer, methods_of, notes_of, undefined_section
from graftwork.common.report.figures.mask_figures import CaseStrip, case_strips, drawn_of
from graftwork.common.report.formatting import (
    NOT_AVAILABLE,
    count,
    direction,
    interval,
    listing,
    number,
    score,
    sentence,
    shortened,
    title_of,
)
from graftwork.common.report.run.metrics_section import interval_cell
from graftwork.common.report.section import (
    Column,
    Figure,
    Page,
    Row,
    Section,
    Table,
    Value,
    properties,
    section,
    sections_of,
)
from graftwork.common.wording import plural

if TYPE_CHECKING:
    import pandas as pd

    from graftwork.common.evaluation import Evaluation, Protocol, Result


SIZES = ("truth_voxels", "predicted_voxels")  # columns with the size of each region
WORST = 10  # cases in the table of the worst
DRAWN = 10  # regions in a figure; the table has every region
TILES = 6


class MaskResults:
    """The evaluation of masks; `values`: one row per case and region; `folders`: names of the two folders."""

    def __init__(
        self, evaluation: Evaluation, values: pd.DataFrame, protocol: Protocol, folders: tuple[str, str]
    ) -> None:
        self.evaluation, self.values, self.protocol = evaluation, values, protocol
        self.folders = tuple(shortened(Path(each).name, 60) for each in folders)
        self.regions = list(dict.fromkeys(values["region"]))
        self.unit = evaluation.unit

    @property
    def level(self) -> str:
        """The name of an interval: `95 % interval`."""
        return f"{100 * self.evaluation.confidence:g} % interval"

    @property
    def primary(self) -> str:
        """The primary metric."""
        return self.protocol.primary

    def title_of(self, metric: str) -> str:
        """The title of a metric with its unit; Hausdorff distances with their definition, which changes the value."""
        rules = self.protocol.masks
        if metric == "hausdorff_95" and rules is not None:
            return title_of(metric, self.evaluation.kind, f"Hausdorff distance, 95 %, {rules.hausdorff}")
        return title_of(metric, self.evaluation.kind)

    def result(self, metric: str, region: str) -> Result | None:
        """Of a region, or (an empty name) over all regions; of a single region the overall result."""
        of = [each for each in self.evaluation.results if each.metric == metric]
        own = [each for each in of if each.label == region]
        return next(iter(own or (of if len(self.regions) == 1 else [])), None)

    @cached_property
    def ranked(self) -> list[tuple[str, float]]:
        """Cases with the mean of the primary metric over the regions in which it is defined, the worst first."""
        means = self.values.groupby("case", sort=False)[self.primary].mean().dropna()
        return sorted(
            ((str(case), float(value)) for case, value in means.items()), key=lambda each: (each[1], each[0])
        )


def masks_page(
    evaluation: Evaluation, table: pd.DataFrame, protocol: Protocol, folders: tuple[str, str]
) -> Page:
    """The page of two folders of masks."""
    data = MaskResults(evaluation, table, protocol, folders)
    title = (
        f"{data.folders[1]} against {data.folders[0]}"
        if all(data.folders)
        else "Predicted against true masks"
    )
    tiles = [
        _value(data, each)
        for each in evaluation.results
        if not each.label and each.metric != protocol.primary
    ]
    return Page(
        kind="evaluation of masks",
        title=title,
        subtitle=f"by protocol {evaluation.protocol}, version {evaluation.version}: {protocol.title}",
        result=_primary(data),
        tiles=tuple(tiles[:TILES]),
        notes=tuple(map(sentence, evaluation.notes)),
        sections=sections_of("masks", data),
        footer=footer(),
    )


def _value(data: MaskResults, found: Result) -> Value:
    value = score(found.value) if _has_interval(found) else NOT_AVAILABLE
    limits = interval(found.low, found.high) if _has_interval(found) else f"undefined: {found.reason}"
    return Value(f"{data.title_of(found.metric)}{direction(found.metric)}", value, limits)


def _primary(data: MaskResults) -> Value:
    evaluation, found = data.evaluation, data.result(data.primary, "")
    groups = f" of {count(evaluation.groups, evaluation.group)}"
    sample = f"{count(evaluation.n, data.unit)}{'' if evaluation.group in (data.unit, 'case') else groups}."
    name = data.title_of(data.primary)
    if found is None or not _has_interval(found):
        return Value(name, NOT_AVAILABLE, f"undefined: {found.reason if found else 'not computed'}", sample)
    limits = f"{data.level} {interval(found.low, found.high)}"
    return Value(f"{name}{_over(found)}", score(found.value), limits, sample)


@section("masks", 10)
def metrics(data: MaskResults) -> Section:
    """Every metric by region."""
    published, several = data.protocol.published, len(data.regions) > 1
    rows = []
    for each in data.evaluation.results:
        cells = [score(each.value) if _has_interval(each) else NOT_AVAILABLE, interval_cell(each)]
        of_one = bool(each.label) or not several
        cells.append(f"{number(each.n)} of {number(data.evaluation.n)}" if of_one else "–")
        if published:
            beside = [
                score(one.value) for one in published if (one.metric, one.label) == (each.metric, each.label)
            ]
            cells.append("; ".join(beside) or "–")
        if each.label:
            rows.append(Row(shortened(each.label, 40), tuple(cells), level=1))
        else:
            head = f"{data.title_of(each.metric)}{_over(each)}{direction(each.metric)}"
            rows.append(Row(head, tuple(cells), strong=each.metric == data.primary))
    columns = [Column("metric, and region" if several else "metric")]
    columns += [Column("value", numeric=True), Column(data.level, numeric=True)]
    columns.append(Column(f"defined, of {plural(data.unit)}", numeric=True))
    columns += [Column("published")] if published else []
    notes = notes_of(data.evaluation, data.protocol)
    table = Table("All metrics", tuple(columns), tuple(rows), stacks=True, notes=notes, titled=True)
    return Section("All metrics", "metrics", tables=(table,))


@section("masks", 20)
def cases(data: MaskResults) -> Section:
    """How each metric varies over cases, and the worst cases."""
    names = [data.primary, *(each for each in data.protocol.metrics if each != data.primary)]
    drawn = [name for name in names if name in data.values and data.values[name].notna().any()]
    found = [_spread(data, name, _explanation(data) if name == drawn[0] else "") for name in drawn]
    return Section("Single cases", "cases", figures=tuple(found), tables=(worst_table(data),))


def _spread(data: MaskResults, metric: str, caption: str) -> Figure:
    worst = {case for case, _ in data.ranked[:WORST]} if len(data.ranked) > WORST else set()
    rows = []
    for name in data.regions[:DRAWN]:
        of = data.values[data.values["region"] == name]
        result = data.result(metric, name)
        known = result is not None and _has_interval(result)
        limits = (result.value, result.low, result.high) if result is not None and known else (math.nan,) * 3
        marked = of["case"].astype(str).isin(worst).to_numpy(bool)
        rows.append(CaseStrip(name, of[metric].to_numpy(np.float64), *limits, marked))
    title = data.title_of(metric)
    drawing = case_strips(
        rows, x_label=title, unit=data.unit, worst=f"{WORST} worst {plural(data.unit)}" if worst else "",
        share=METRICS[metric].unit == "0 to 1",
    )  # fmt: skip
    return Figure(drawing, f"{title} of each {data.unit}{direction(metric)}.", caption)


def _explanation(data: MaskResults) -> str:
    text = f"Each point is one {data.unit} in one region; equal values are side by side."
    if len(data.ranked) > WORST:
        text += f" Triangles: the {WORST} worst {plural(data.unit)} by this metric, the same in every figure."
    most, drawn = int(data.values.groupby("region").size().max()), drawn_of(min(len(data.regions), DRAWN))
    if most > drawn + WORST:
        text += f" The figure shows {drawn} of {most:,} points of a region, evenly spaced by rank, and all triangles."
    if len(data.regions) > DRAWN:
        text += f" The figure shows the first {DRAWN} of {len(data.regions)} regions."
    return text


def worst_table(data: MaskResults) -> Table:
    """The worst cases by the primary metric, region by region."""
    name, several = data.title_of(data.primary), len(data.regions) > 1
    # a table edited by hand may have a case twice: its first row counts
    once = data.values.drop_duplicates(["case", "region"])
    by = {
        (str(case), str(region)): float(value)
        for case, region, value in zip(once["case"], once["region"], once[data.primary], strict=True)
    }
    shown, n, rows = data.ranked[:WORST], len(data.ranked), []
    for case, mean in shown:
        values = [by.get((case, region), math.nan) for region in data.regions]
        cells = ["–" if math.isnan(value) else score(value) for value in values]
        rows.append(Row(shortened(case, 40), (*([score(mean)] if several else []), *cells)))
    columns = [Column(data.unit)]
    columns += [Column("mean", numeric=True)] if several else []
    columns += [Column(shortened(region, 24) if several else name, numeric=True) for region in data.regions]
    notes = [f"{name} of single {plural(data.unit)}: measured, not estimated, so it has no interval."]
    if several:
        notes.append("Mean: over the regions in which it is defined. –: undefined.")
    same = sum(value == shown[-1][1] for _, value in data.ranked[WORST:]) if shown else 0
    if same:
        notes.append(f"{count(same, f'further {data.unit}')} with the same value as the last one here.")
    if data.evaluation.n > n:
        notes.append(f"{count(data.evaluation.n - n, data.unit)} without a value in any region: not ranked.")
    caption = (
        f"The {WORST} worst of {count(n, data.unit)}"
        if n > WORST
        else f"{count(n, data.unit)}, the worst first"
    )
    return Table(caption, tuple(columns), tuple(rows), stacks=True, notes=tuple(notes))


@section("masks", 30)
def empty(data: MaskResults) -> Section:
    """How often the true and the predicted mask of a region are empty."""
    if not set(SIZES) <= set(data.values):
        return Section("Empty masks", "empty", text=(f"Unknown: the table has no columns {listing(SIZES)}.",))
    rows = []
    for name in data.regions:
        of = data.values[data.values["region"] == name]
        truth, predicted = (of[column].to_numpy(np.float64) > 0 for column in SIZES)
        found = (truth & predicted, truth & ~predicted, ~truth & predicted, ~truth & ~predicted)
        rows.append(Row(shortened(name, 40), tuple(number(int(each.sum())) for each in found)))
    names = ("neither empty", "only predicted mask empty", "only true mask empty", "both empty")
    columns = (Column("region"), *(Column(name, numeric=True) for name in names))
    notes = (
        "Only predicted mask empty: the region was missed. Only true mask empty: the prediction is false. Methods says "
        "what Dice and distances are then.",
    )
    caption = f"{plural(data.unit).capitalize()} by empty masks"
    return Section(
        "Empty masks", "empty", tables=(Table(caption, columns, tuple(rows), stacks=True, notes=notes),)
    )


@section("masks", 40)
def undefined(data: MaskResults) -> Section:
    """Results without an interval, and cases that a mean leaves out."""
    found = []
    for each in data.evaluation.results:
        if not _has_interval(each):
            of = f" of {shortened(each.label, 40)}" if each.label else ""
            found.append(f"{data.title_of(each.metric)}{of}: {each.reason}.")
    for metric in data.protocol.metrics:
        lacks = [
            f"{number(data.evaluation.n - result.n)} of {shortened(region, 40)}"
            for region in data.regions
            if (result := data.result(metric, region)) is not None and 0 < result.n < data.evaluation.n
        ]
        if lacks:
            found.append(
                f"{data.title_of(metric)} is undefined in some {plural(data.unit)}, which the mean leaves out: "
                f"{listing(lacks)}."
            )
    return undefined_section(found)


@section("masks", 50)
def methods(data: MaskResults) -> Section:
    """The methods of the protocol, and how two folders are paired."""
    several = ", and the mean over regions is the mean of their means" if len(data.regions) > 1 else ""
    text = (
        f"A {data.unit} is a pair of files with the same name, one in each folder. A file without its pair is an "
        f"error, so none was left out. Each region is evaluated separately in each {data.unit}. A value is the mean "
        f"over the {plural(data.unit)} in which it is defined{several}."
    )
    return methods_of(data.protocol, data.evaluation, text)


@section("masks", 60)
def repeat(data: MaskResults) -> Section:
    """What is needed to get the same numbers."""
    from graftwork import __version__

    one = data.evaluation
    rows = [
        *([("truth", data.folders[0]), ("predictions", data.folders[1])] if all(data.folders) else []),
        ("protocol", f"{one.protocol}, version {one.version}"),
        (plural(data.unit), number(one.n)),
        (
            "groups",
            f"{number(one.groups)}, from a table"
            if one.group_column
            else f"none: each {data.unit} is a group",
        ),
        ("replicates", f"{one.bootstrap:,}, seed {one.seed}"),
        ("versions", f"graftwork {__version__}, numpy {one.numpy}"),
    ]
    return Section("Repeat this evaluation", "repeat", code=one.command, tables=(properties("Inputs", rows),))


def _has_interval(result: Result) -> bool:
    """Whether a result has an interval; without one it is not shown."""
    return all(math.isfinite(each) for each in (result.value, result.low, result.high))


def _over(result: Result) -> str:
    if result.classes is None:
        return ""
    return f", mean over {result.classes[0]} of {result.classes[1]} regions"
