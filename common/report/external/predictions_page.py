"""The page of a table of predictions that somebody brought: methods, numbers, curves, subgroups, what is undefined."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graftwork.common.evaluation.metrics.registry import EXCLUSIVE, SCORED
from graftwork.common.evaluation.tables.predictions import read_cases
from graftwork.common.report.external.abstention_section import (
    CALIBRATED_ON,
    Abstaining,
    abstaining_of,
    abstains,
)
from graftwork.common.report.external.threshold_section import Decided, decided_of
from graftwork.common.report.figures import ForestRow, forest
from graftwork.common.report.formatting import (
    NOT_AVAILABLE,
    count,
    interval,
    metric_name,
    number,
    plural,
    score,
    shortened,
)
from graftwork.common.report.run.curves_section import Outcomes, outcomes_of
from graftwork.common.report.run.metrics_table import independent_table, interval_cell, positives_cell
from graftwork.common.report.run.run_figures import Shown
from graftwork.common.report.run.run_page import Link
from graftwork.common.report.tables import Column, Row, Table

if TYPE_CHECKING:
    import pandas as pd

    from graftwork.common.evaluation import Cases, Evaluation, Protocol, Result
    from graftwork.common.evaluation.subgroup_metrics import Subgroups
    from graftwork.common.evaluation.tables.external_tables import Submission, TableTarget


if TYPE_CHECKING:
    from graftwork.common.evaluation import Evaluation, Protocol


FOREST = 40  # classes in one figure


class SubmittedPage:
    """What the template shows."""

    def __init__(
        self,
        submission: Submission,
        protocol: Protocol,
        evaluation: Evaluation,
        subgroups: Sequence[Subgroups],
    ) -> None:
        self.protocol, self.evaluation, self.subgroups = protocol, evaluation, tuple(subgroups)
        self.target = submission.target
        self.source = Path(str(submission.table.attrs.get("source", "predictions"))).name
        self.unit = self.picture = protocol.unit  # what rows are put together into is what every figure shows
        self.group = evaluation.group
        self.predictions: pd.DataFrame = submission.table
        self.decided, self.abstaining = Decided(), Abstaining()
        if self.target.kind in SCORED:
            part, other = evaluation.part, CALIBRATED_ON
            cases = read_cases(submission.table, self.target, part, protocol=protocol)
            self.predictions = _frame(cases, self.target, part)
            self.decided = decided_of(cases, evaluation, protocol)
            if abstains(self.target.kind):
                others = (
                    None
                    if part == other
                    else read_cases(submission.table, self.target, other, protocol=protocol)
                )
                self.abstaining = abstaining_of(cases, others, evaluation)
        self.outcomes: Outcomes = outcomes_of(self)

    def overall(self, metric: str) -> Result | None:
        """The result of the whole."""
        return next(
            (each for each in self.evaluation.results if (each.metric, each.label) == (metric, "")), None
        )

    @property
    def sections(self) -> list[Link]:
        """The contents."""
        found = [Link("metrics", "Metrics"), Link("methods", "Methods"), Link("curves", "Curves")]
        found += [Link("calibration", "Calibration")] if self.outcomes.calibration else []
        found += [Link("operating-points", "Operating points")] if self.has_points else []
        drawn = self.decided.curves or self.decided.curve_notes
        found += [Link("decision-curves", self.curves_title)] if drawn else []
        found += [Link("abstention", "Abstention")] if self.has_abstention else []
        found += [Link("subgroups", "Subgroups")] if self.subgroups else []
        return [*found, Link("undefined", "What is not told"), Link("again", "Getting these numbers again")]

    @property
    def has_points(self) -> bool:
        """Whether anything is said of operating points."""
        found = self.decided
        return bool(found.points or found.point_notes or found.work or found.work_notes)

    @property
    def has_abstention(self) -> bool:
        """Whether anything is said of abstention."""
        found = self.abstaining
        return bool(found.figure or found.notes or found.set_notes)

    @property
    def units(self) -> str:
        """What is judged, in the plural."""
        return plural(self.unit)

    @property
    def curves_title(self) -> str:
        """Of the section on decision curves."""
        return "Decision curves" if len(self.decided.curves) > 1 else "Decision curve"

    @property
    def title(self) -> str:
        """Of the protocol."""
        return self.protocol.title

    @property
    def headline(self) -> str:
        """The primary metric with its interval."""
        found = self.overall(self.protocol.primary)
        if found is None or math.isnan(found.value):
            return f"{self._title(self.protocol.primary)} is undefined: {found.reason if found else NOT_AVAILABLE}."
        limits = interval(found.low, found.high)
        of = f", mean over {found.classes[0]} of {found.classes[1]} classes" if found.classes else ""
        return (
            f"{self._title(found.metric)} {score(found.value)}{of}; 95 % interval "
            f"{limits or f'{NOT_AVAILABLE}: {found.reason}'}."
        )

    @property
    def subtitle(self) -> str:
        """Cases, groups, file, protocol."""
        found = self.evaluation
        over = "" if found.group == self.unit else f" of {count(found.groups, found.group)}"
        return (
            f"{count(found.n, self.unit)}{over} in {shortened(self.source, 90)}, by protocol {found.protocol}, version "
            f"{found.version}"
        )

    def _title(self, metric: str) -> str:
        name = metric_name(metric, exclusive=self.target.kind in EXCLUSIVE).title
        return name[:1].upper() + name[1:]

    @cached_property
    def methods(self) -> list[Block]:
        """The methods section of the protocol, block by block."""
        return methods_of(self.protocol, self.evaluation)

    @cached_property
    def independent(self) -> Table | None:
        """The intervals that take cases as independent."""
        return independent_table(self.evaluation)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know."""
        return self.evaluation.notes

    @cached_property
    def table(self) -> Table:
        """Every number with its interval or the reason why there is none, published ones beside it."""
        results = self.evaluation.results
        labelled = any(each.label for each in results)
        published = self.protocol.published
        columns = [Column("metric"), *([Column("class")] if labelled else [])]
        columns += [Column("value", numeric=True), Column("95 % interval", numeric=True)]
        columns += [Column(plural(self.unit), numeric=True), Column("positive", numeric=True)]
        columns += [Column("published")] if published else []
        rows = []
        for each in results:
            cells = [shortened(each.label or "–", 40)] if labelled else []
            cells += [score(each.value), interval_cell(each), number(each.n)]
            cells.append(positives_cell(self.evaluation, each))
            if published:
                beside = [
                    score(other.value)
                    for other in published
                    if other.metric == each.metric and other.label == each.label
                ]
                cells.append("; ".join(beside) or "–")
            head = self._title(each.metric)
            if each.classes is not None:
                head += f", mean over {each.classes[0]} of {each.classes[1]} classes"
            strong = each.metric == self.protocol.primary and not each.label
            rows.append(Row(head, tuple(cells), strong=strong))
        methods = list(dict.fromkeys(each.method for each in results if each.method))
        notes = [f"Intervals: {method}." for method in methods]
        notes += [f"Published: {what}; {source}." for what, source in
                  dict.fromkeys((each.what, each.source) for each in published)]  # fmt: skip
        return Table("All metrics", tuple(columns), tuple(rows), stacks=True, notes=tuple(notes))

    @cached_property
    def forest(self) -> Shown | None:
        """The primary metric of each class."""
        metric = self.protocol.primary
        found = [each for each in self.evaluation.results if each.metric == metric and each.label]
        found = [each for each in found if not math.isnan(each.value)][:FOREST]
        if len(found) < 2:
            return None
        rows = [ForestRow(each.label, each.value, each.low, each.high) for each in found]
        said = "; ".join(f"{each.label} {score(each.value)}" for each in found)
        return Shown(
            forest(
                rows, metric=metric, alt=f"{self._title(metric)} of each class with its interval. {said}."
            ),
            f"{self._title(metric)}, class by class.",
            f"Points: values; lines: 95 % intervals, resampling {plural(self.group)}.",
        )

    @cached_property
    def subgroup_tables(self) -> list[Table]:
        """The whole of each metric in each subgroup."""
        found = []
        for covariate in self.subgroups:
            rows = []
            for each in covariate.subgroups:
                for one in each.results:
                    if one.label:
                        continue
                    cells = (
                        shortened(each.value, 40), score(one.value), interval_cell(one), number(one.n),
                        "–" if one.positives is None else number(one.positives), number(one.groups),
                    )  # fmt: skip
                    rows.append(Row(self._title(one.metric), cells))
            rows.sort(key=lambda row: [self._title(name) for name in self.protocol.metrics].index(row.head))
            notes = []
            for gap in covariate.gaps:
                limits = interval(gap.difference.low, gap.difference.high)
                notes.append(
                    f"{self._title(gap.metric)}: {gap.highest} lies {score(gap.difference.value)} "
                    f"({limits or gap.difference.reason}) above {gap.lowest}; the two lie furthest apart, so that "
                    "a gap above 0 is expected by chance."
                )
            notes += [
                f"{value}: {count(groups, self.group)} only, not judged."
                for value, groups in covariate.suppressed
            ]
            columns = (
                Column("metric"), Column(covariate.covariate), Column("value", numeric=True),
                Column("95 % interval", numeric=True), Column(plural(self.unit), numeric=True),
                Column("positive", numeric=True), Column(plural(self.group), numeric=True),
            )  # fmt: skip
            found.append(
                Table(f"By {covariate.covariate}", columns, tuple(rows), stacks=True, notes=tuple(notes))
            )
        return found

    @property
    def undefined(self) -> list[str]:
        """Every number that is not told, with the reason."""
        found = []
        for each in self.evaluation.results:
            of = f" of {each.label}" if each.label else ""
            if math.isnan(each.value):
                found.append(f"{self._title(each.metric)}{of}: {each.reason}.")
            elif math.isnan(each.low):
                found.append(f"The interval of {self._title(each.metric)}{of}: {each.reason}.")
        if self.evaluation.excluded:
            found.append(f"{count(self.evaluation.excluded, self.unit)} without a known label were left out.")
        return found

    @property
    def again(self) -> str:
        """What is needed to get the same numbers."""
        found = self.evaluation
        column = f"groups from the column {found.group_column}" if found.group_column else "no groups"
        return (
            f"Protocol {found.protocol}, version {found.version}; part {found.part}; {column}; {found.bootstrap:,} "
            f"replicates, seed {found.seed}, numpy {found.numpy}."
        )

    @property
    def footer(self) -> str:
        """Who made it."""
        from graftwork import __version__

        return f"Made by graftwork {__version__}. This page loads nothing and runs no script."


def _frame(cases: Cases, target: TableTarget, part: str) -> pd.DataFrame:
    """The cases that the protocol judges, as a table of predictions."""
    import pandas as pd

    truth: dict[str, object]
    if target.kind == "multi-label":
        truth = {name: cases.truth[:, k] for k, name in enumerate(target.columns)}
    else:
        truth = {target.columns[0]: np.array(target.classes, dtype=object)[cases.truth]}
    scores = {name: cases.scores[:, k] for k, name in enumerate(target.scores)}
    return pd.DataFrame({"case": cases.case, "part": part, "group": cases.groups, **truth, **scores})


@dataclass(frozen=True)
class Block:
    """A paragraph of the methods, or (`items`) a list."""

    text: str = ""
    items: tuple[str, ...] = ()


def methods_of(protocol: Protocol, evaluation: Evaluation) -> list[Block]:
    """The methods section of a protocol, without its heading, as an evaluation followed it."""
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
    return blocks_of(text.partition("\n\n")[2])


def blocks_of(markdown: str) -> list[Block]:
    """Paragraphs and lists of a text in which an empty line parts them; bold and code are set as plain text."""
    found = []
    for part in filter(None, markdown.split("\n\n")):
        plain = re.sub(r"\*\*|`", "", part)
        lines = plain.splitlines()
        if all(line.startswith("- ") for line in lines):
            found.append(Block(items=tuple(line[2:] for line in lines)))
        else:
            found.append(Block(plain))
    return found
