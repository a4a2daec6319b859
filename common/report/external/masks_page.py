"""The page of two folders of masks: every metric by region, how cases are spread, the worst ones, empty masks."""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graftwork.common.evaluation.metrics.registry import METRICS
from graftwork.common.report.external.predictions_page import Block, methods_of
from graftwork.common.report.figures.mask_figures import CaseStrip, case_strips, drawn_of
from graftwork.common.report.formatting import (
    NOT_AVAILABLE,
    count,
    direction,
    interval,
    listing,
    number,
    plural,
    score,
    sentence,
    shortened,
    title_of,
)
from graftwork.common.report.run.metrics_table import interval_cell
from graftwork.common.report.run.run_figures import Shown
from graftwork.common.report.run.run_page import Link
from graftwork.common.report.tables import Column, Row, Table

if TYPE_CHECKING:
    import pandas as pd

    from graftwork.common.evaluation import Evaluation, Protocol, Result


SIZES = (
    "truth_voxels",
    "predicted_voxels",
)  # columns that tell which masks hold a region, and how much of it
WORST = 10  # cases in the table of the worst
DRAWN = 10  # regions in a figure; all stand in the table


class MasksPage:
    """What the template shows.

    `table`: one row a case and region, as `evaluate_folders` gives it; `folders`: of the truth and the predictions.
    """

    def __init__(
        self, evaluation: Evaluation, table: pd.DataFrame, protocol: Protocol, folders: tuple[str, str]
    ) -> None:
        self.evaluation, self.values, self.protocol = evaluation, table, protocol
        self.folders = tuple(shortened(Path(each).name, 60) for each in folders)
        self.regions = list(dict.fromkeys(table["region"]))
        self.unit = evaluation.unit

    @property
    def title(self) -> str:
        """Of the protocol."""
        return self.protocol.title

    @property
    def headline(self) -> str:
        """The primary metric with its interval."""
        found = self._result(self.protocol.primary, "")
        name = self._title(self.protocol.primary)
        if found is None or not _told(found):
            return f"{name} is not told: {found.reason if found else NOT_AVAILABLE}."
        return f"{name}: {score(found.value)}{_over(found)}; {self.level} {interval(found.low, found.high)}."

    @property
    def subtitle(self) -> str:
        """Cases, groups, folders, protocol."""
        found = self.evaluation
        over = "" if found.group in (found.unit, "case") else f" of {count(found.groups, found.group)}"
        where = f": {self.folders[1]} against {self.folders[0]}" if all(self.folders) else ""
        return f"{count(found.n, found.unit)}{over}{where}; by protocol {found.protocol}, version {found.version}."

    @property
    def sections(self) -> list[Link]:
        """The contents."""
        return [
            Link("metrics", "Metrics"), Link("cases", "Case by case"), Link("empty", "Empty masks"),
            Link("methods", "Methods"), Link("undefined", "What is not told"),
            Link("again", "Getting these numbers again"),
        ]  # fmt: skip

    @property
    def level(self) -> str:
        """What an interval is called: `95 % interval`."""
        return f"{100 * self.evaluation.confidence:g} % interval"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know."""
        return tuple(map(sentence, self.evaluation.notes))

    def _title(self, metric: str) -> str:
        rules = self.protocol.masks
        if metric == "hausdorff_95" and rules is not None:  # the three definitions differ by millimetres
            return title_of(metric, self.evaluation.kind, f"Hausdorff distance, 95 %, {rules.hausdorff}")
        return title_of(metric, self.evaluation.kind)

    def _result(self, metric: str, region: str) -> Result | None:
        """Of a region, or (an empty name) of the whole; of the only region that of the whole."""
        of = [each for each in self.evaluation.results if each.metric == metric]
        own = [each for each in of if each.label == region]
        return next(iter(own or (of if len(self.regions) == 1 else [])), None)

    @property
    def table(self) -> Table:
        """Every metric by region, with its interval or the reason why there is none, published values beside it."""
        published, several = self.protocol.published, len(self.regions) > 1
        rows = []
        for each in self.evaluation.results:
            cells = [score(each.value) if _told(each) else NOT_AVAILABLE, interval_cell(each)]
            of_one = bool(each.label) or not several
            cells.append(f"{number(each.n)} of {number(self.evaluation.n)}" if of_one else "–")
            if published:
                beside = [
                    score(other.value)
                    for other in published
                    if (other.metric, other.label) == (each.metric, each.label)
                ]
                cells.append("; ".join(beside) or "–")
            head = f"{self._title(each.metric)}{_over(each)}{direction(each.metric)}"
            if each.label:
                rows.append(Row(shortened(each.label, 40), tuple(cells), level=1))
            else:
                rows.append(Row(head, tuple(cells), strong=each.metric == self.protocol.primary))
        columns = [Column("metric, and region" if several else "metric")]
        columns += [Column("value", numeric=True), Column(self.level, numeric=True)]
        columns.append(Column(f"defined, of {plural(self.unit)}", numeric=True))
        columns += [Column("published")] if published else []
        methods = dict.fromkeys(each.method for each in self.evaluation.results if each.method)
        notes = [f"Intervals: {method}." for method in methods]
        notes += [f"Published: {what}; {source}." for what, source in
                  dict.fromkeys((each.what, each.source) for each in published)]  # fmt: skip
        return Table("All metrics", tuple(columns), tuple(rows), stacks=True, notes=tuple(notes))

    # cases

    @cached_property
    def ranked(self) -> list[tuple[str, float]]:
        """Cases with the mean of the primary metric over the regions in which it is defined, the worst first."""
        means = self.values.groupby("case", sort=False)[self.protocol.primary].mean().dropna()
        return sorted(
            ((str(case), float(value)) for case, value in means.items()), key=lambda each: (each[1], each[0])
        )

    @cached_property
    def figures(self) -> list[Shown]:
        """How each metric is spread over cases, the primary one first."""
        primary = self.protocol.primary
        metrics = [primary, *(each for each in self.protocol.metrics if each != primary)]
        found = [
            self._spread(metric)
            for metric in metrics
            if metric in self.values and self.values[metric].notna().any()
        ]
        return [self._explained(found[0]), *found[1:]] if found else []

    def _spread(self, metric: str) -> Shown:
        worst = {case for case, _ in self.ranked[:WORST]} if len(self.ranked) > WORST else set()
        rows, said = [], []
        for name in self.regions[:DRAWN]:
            of = self.values[self.values["region"] == name]
            values = of[metric].to_numpy(np.float64)
            marked = of["case"].astype(str).isin(worst).to_numpy(bool)
            result = self._result(metric, name)
            mean, low, high = (
                (result.value, result.low, result.high)
                if result is not None and _told(result)
                else (math.nan,) * 3
            )
            rows.append(CaseStrip(name, values, marked, mean, low, high))
            known = np.sort(values[np.isfinite(values)])
            spread = "no value"
            if len(known):
                spread = f"median {score(np.median(known))}, from {score(known[0])} to {score(known[-1])}"
            limits = f"mean {score(mean)} ({interval(low, high)}), " if math.isfinite(low) else ""
            said.append(f"{shortened(name, 40)}: {limits}{spread}")
        title = self._title(metric)
        drawing = case_strips(
            rows, x_label=title, unit=self.unit, worst=f"{WORST} worst {plural(self.unit)}" if worst else "",
            share=METRICS[metric].unit == "0 to 1",
            alt=f"{title} of {count(self.evaluation.n, self.unit)} by region. {'; '.join(said)}.",
        )  # fmt: skip
        return Shown(drawing, f"{title} of each {self.unit}{direction(metric)}.")

    def _explained(self, first: Shown) -> Shown:
        text = f"Each point is one {self.unit} in one region; equal values stand beside each other."
        if len(self.ranked) > WORST:
            text += f" Triangles: the {WORST} worst {plural(self.unit)} by this metric, the same ones in every figure."
        most = int(self.values.groupby("region").size().max())
        drawn = drawn_of(min(len(self.regions), DRAWN))
        if most > drawn + WORST:
            text += (
                f" Of {most:,} points of a region {drawn} are drawn, evenly apart by rank, and all triangles."
            )
        if len(self.regions) > DRAWN:
            text += f" Drawn are the first {DRAWN} of {len(self.regions)} regions."
        return Shown(first.drawing, first.title, text)

    @property
    def worst(self) -> Table:
        """The worst cases by the primary metric, region by region."""
        metric, name = self.protocol.primary, self._title(self.protocol.primary)
        several = len(self.regions) > 1
        # a case may stand twice in a table that was put together by hand: the first of its rows counts
        once = self.values.drop_duplicates(["case", "region"])
        by = {
            (str(case), str(region)): float(value)
            for case, region, value in zip(once["case"], once["region"], once[metric], strict=True)
        }
        shown = self.ranked[:WORST]
        rows = []
        for case, mean in shown:
            each = [by.get((case, region), math.nan) for region in self.regions]
            cells = [score(mean)] if several else []
            rows.append(
                Row(shortened(case, 40), (*cells, *("–" if math.isnan(v) else score(v) for v in each)))
            )
        columns = [Column(self.unit)]
        columns += [Column("mean", numeric=True)] if several else []
        columns += [
            Column(shortened(region, 24) if several else name, numeric=True) for region in self.regions
        ]
        n = len(self.ranked)
        notes = [
            f"{name} of single {plural(self.unit)}: measured, not estimated, and so without an interval."
        ]
        if several:
            notes.append("Mean: over the regions in which it is defined. –: undefined.")
        level = sum(value == shown[-1][1] for _, value in self.ranked[WORST:]) if shown else 0
        if level:
            notes.append(f"{count(level, f'further {self.unit}')} have the same value as the last one here.")
        if self.evaluation.n > n:
            notes.append(
                f"{count(self.evaluation.n - n, self.unit)} without a value in any region: not ranked."
            )
        caption = (
            f"The {WORST} worst of {count(n, self.unit)}"
            if n > WORST
            else f"{count(n, self.unit)}, the worst first"
        )
        return Table(caption, tuple(columns), tuple(rows), stacks=True, notes=tuple(notes))

    # empty masks

    @property
    def empty(self) -> Table | None:
        """How often truth and prediction hold each region; None where the table does not tell."""
        if not set(SIZES) <= set(self.values):
            return None
        rows = []
        for name in self.regions:
            of = self.values[self.values["region"] == name]
            truth, predicted = (of[column].to_numpy(np.float64) > 0 for column in SIZES)
            found = (truth & predicted, truth & ~predicted, ~truth & predicted, ~truth & ~predicted)
            rows.append(Row(shortened(name, 40), tuple(number(int(each.sum())) for each in found)))
        names = ("both hold it", "only prediction empty", "only truth empty", "both empty")
        columns = (Column("region"), *(Column(name, numeric=True) for name in names))
        notes = (
            "Only prediction empty: what is there was missed. Only truth empty: what is not there was outlined.",
            "What Dice and distances then are by the protocol stands under Methods.",
        )
        caption = f"{plural(self.unit).capitalize()} by what truth and prediction hold"
        return Table(caption, columns, tuple(rows), stacks=True, notes=notes)

    # in words

    @cached_property
    def methods(self) -> list[Block]:
        """The methods section of the protocol, and how two folders are put together."""
        several = ", and the mean over regions is that of their means" if len(self.regions) > 1 else ""
        own = (
            f"A {self.unit} is a pair of files of the same name, one in each folder; a file without its pair is an "
            f"error, so that none was left out. Each region is judged by itself, in each {self.unit}. A value is "
            f"the mean over the {plural(self.unit)} in which it is defined{several}."
        )
        return [*methods_of(self.protocol, self.evaluation), Block(own)]

    @property
    def undefined(self) -> list[str]:
        """Every number that is not told, with the reason, and cases that a mean leaves out."""
        found = []
        for each in self.evaluation.results:
            if not _told(each):
                of = f" of {shortened(each.label, 40)}" if each.label else ""
                found.append(f"{self._title(each.metric)}{of}: {each.reason}.")
        for metric in self.protocol.metrics:
            lacks = [
                (region, self.evaluation.n - result.n)
                for region in self.regions
                if (result := self._result(metric, region)) is not None and 0 < result.n < self.evaluation.n
            ]
            if lacks:
                said = listing(f"{number(n)} of {shortened(region, 40)}" for region, n in lacks)
                found.append(
                    f"{self._title(metric)} is undefined, and left out of the mean, in so many "
                    f"{plural(self.unit)}: {said}."
                )
        if self.empty is None:
            found.append(f"How many masks are empty: the table of values lacks the columns {listing(SIZES)}.")
        return found

    @property
    def again(self) -> Table:
        """What is needed to get the same numbers."""
        from graftwork import __version__

        one = self.evaluation
        rows = [
            *([("truth", self.folders[0]), ("predictions", self.folders[1])] if all(self.folders) else []),
            ("protocol", f"{one.protocol}, version {one.version}"),
            (plural(self.unit), number(one.n)),
            (
                "groups",
                f"{number(one.groups)}, of a table"
                if one.group_column
                else f"none: each {self.unit} is its own",
            ),
            ("replicates", f"{one.bootstrap:,}, seed {one.seed}"),
            ("versions", f"graftwork {__version__}, numpy {one.numpy}"),
        ]
        columns = (Column("what"), Column("value"))
        return Table("What to give", columns, tuple(Row(name, (value,)) for name, value in rows))

    @property
    def footer(self) -> str:
        """Who made it."""
        from graftwork import __version__

        return f"Made by graftwork {__version__}. This page loads nothing and runs no script."


def _told(result: Result) -> bool:
    """Whether a number has an interval; without one it is not shown."""
    return all(math.isfinite(each) for each in (result.value, result.low, result.high))


def _over(result: Result) -> str:
    return (
        f", mean over {result.classes[0]} of {result.classes[1]} regions"
        if result.classes is not None
        else ""
    )
