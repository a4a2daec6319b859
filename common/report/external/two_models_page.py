"""The page of two models on the same cases: the difference of every metric, by which test, and what is not told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from graftwork.common.evaluation.metrics.registry import EXCLUSIVE, METRICS
from graftwork.common.report.external.predictions_page import Block, methods_of
from graftwork.common.report.external.two_models_tables import (
    ComparedTables,
    has_delong,
    p_value,
    told,
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
    plural,
    sentence,
    shortened,
    title_of,
)
from graftwork.common.report.run.run_figures import Shown
from graftwork.common.report.run.run_page import Link

if TYPE_CHECKING:
    from graftwork.common.evaluation import Protocol
    from graftwork.common.evaluation.compare_models import Compared, Comparison


LEVEL = 0.05  # a corrected p below it fills a circle
FOREST = 40  # classes in one figure
FIGURES = 3  # of classes; all stand in the table
NAMED = 6  # classes that one sentence names


class ComparedPage:
    """What the template shows: `comparison` by `protocol`, of two tables of these names."""

    def __init__(self, comparison: Comparison, protocol: Protocol, names: tuple[str, str]) -> None:
        self.comparison, self.protocol = comparison, protocol
        self.evaluation = comparison.evaluations[0]
        self.tables = ComparedTables(comparison, protocol, told_apart(*names))

    @property
    def title(self) -> str:
        """Of the protocol."""
        return self.protocol.title

    @property
    def headline(self) -> str:
        """The difference of the primary metric, its interval and p."""
        row = self._whole(self.protocol.primary)
        name = self.title_of(self.protocol.primary)
        if row is None or not told(row):
            return f"{name}: no difference is told, {why_not(row) if row else NOT_AVAILABLE}."
        found = row.difference
        return (
            f"{name}: A minus B {signed(found.value)}, {self.level} {interval(found.low, found.high)}, "
            f"p {p_value(found.p)}."
        )

    @property
    def verdict(self) -> str:
        """What the interval of the primary metric allows to say; empty where there is none."""
        row = self._whole(self.protocol.primary)
        if row is None or not told(row):
            return ""
        low, high = row.difference.low, row.difference.high
        if low <= 0 <= high:
            return (
                "The interval holds 0: these cases do not tell the two apart by this metric. That is no proof that "
                "they are equal; the interval says how far apart they may be."
            )
        better = "A" if low > 0 else "B"
        return (
            f"The interval does not hold 0: by this metric {better} is the better one on cases such as these."
        )

    @property
    def subtitle(self) -> str:
        """Cases, groups, both files, protocol."""
        found = self.evaluation
        over = "" if found.group == found.unit else f" of {count(found.groups, found.group)}"
        return (
            f"The same {count(found.n, found.unit)}{over}, part {found.part}, by protocol {found.protocol}, version "
            f"{found.version}."
        )

    @property
    def sections(self) -> list[Link]:
        """The contents."""
        found = [Link("metrics", "Metrics")]
        found += [Link("classes", "Class by class")] if self.tables.classes else []
        return [
            *found, Link("decisions", "Decisions, case by case"), Link("methods", "Methods"),
            Link("undefined", "What is not told"), Link("again", "Getting these numbers again"),
        ]  # fmt: skip

    @property
    def level(self) -> str:
        """What an interval is called: `95 % interval`."""
        return f"{100 * self.evaluation.confidence:g} % interval"

    @property
    def notes(self) -> list[str]:
        """What a reader must know; a note about one model names it."""
        return [sentence(note) for note in self.comparison.all_notes]

    def title_of(self, metric: str) -> str:
        """A metric for people, with its unit where it has one."""
        return title_of(metric, self.evaluation.kind)

    def _whole(self, metric: str) -> Compared | None:
        return next(
            (each for each in self.comparison.compared if (each.metric, each.label) == (metric, "")), None
        )

    def _classes(self, metric: str) -> list[Compared]:
        return [each for each in self.comparison.compared if each.metric == metric and each.label]

    @cached_property
    def forests(self) -> list[Shown]:
        """The primary metric of each class; where there are no classes, metrics of the whole that share a scale."""
        metric = self.protocol.primary
        whole = self._whole(metric)
        classes = [each for each in self._classes(metric) if told(each)]
        if len(classes) < 2:
            return self._metrics()
        rows = [_row(each, shortened(each.label)) for each in classes][: FOREST * FIGURES]
        mean = [_row(whole, "mean over classes")] if whole is not None and told(whole) else []
        limits = common_limits([*rows, *mean])
        pieces = [rows[start : start + FOREST] for start in range(0, len(rows), FOREST)]
        name = self.title_of(metric)
        found = []
        for place, piece in enumerate(pieces):
            drawn = [*(mean if place == 0 else []), *piece]
            part = f" ({place + 1} of {len(pieces)})" if len(pieces) > 1 else ""
            drawing = differences(
                drawn, x_label=f"{metric_name(metric).title}, A − B", limits=limits,
                alt=f"Difference of {name} of each class{part}, A minus B, with its interval. {_in_words(drawn)}.",
                apart=f"Holm p < {LEVEL:g}", otherwise=f"Holm p ≥ {LEVEL:g}",
            )  # fmt: skip
            caption = (
                f"Right of the line A has more, left of it B. Lines: {self.level}s, resampling "
                f"{plural(self.evaluation.group)}, each for itself; p is corrected over the classes (Holm). Diamond: "
                "the mean over classes."
            )
            more = len(classes) - len(rows)
            if more:
                caption += f" {count(more, 'further class')} stand in the table alone."
            found.append(
                Shown(drawing, f"{name}, A minus B, class by class{part}.", caption if not place else "")
            )
        return found

    def _metrics(self) -> list[Shown]:
        rows = [
            replace(
                _row(each, f"{self.title_of(each.metric)}{direction(each.metric)}"), summary=False, apart=True
            )
            for each in self.comparison.compared
            if not each.label and told(each) and METRICS[each.metric].unit == "0 to 1"
        ]
        if len(rows) < 2:
            return []
        drawing = differences(
            rows, x_label="A − B", limits=common_limits(rows),
            alt=f"Difference of each metric from 0 to 1, A minus B, with its interval. {_in_words(rows)}.",
        )  # fmt: skip
        caption = (
            f"Right of the line A has more, left of it B. Lines: {self.level}s, resampling "
            f"{plural(self.evaluation.group)}. Metrics on the scale from 0 to 1."
        )
        return [Shown(drawing, "A minus B, metric by metric.", caption)]

    @property
    def undecided(self) -> str:
        """Why there are no counts of decisions."""
        if self.evaluation.kind not in (*EXCLUSIVE, "binary"):
            return (
                "McNemar's test is of one decision a case. Here a case can have several labels, or none, so there is "
                "no such test."
            )
        reasons = [
            each.reason for found in self.comparison.evaluations for each in found.thresholds if each.reason
        ]
        why = reasons[0] if reasons else "the protocol takes no decision"
        return f"McNemar's test needs a decision of each case, and there is none: {why}."

    # in words

    @cached_property
    def methods(self) -> list[Block]:
        """The methods section of the protocol, and the pairing."""
        return [*methods_of(self.protocol, self.evaluation), Block(self._pairing())]

    def _pairing(self) -> str:
        found, one = self.comparison, self.evaluation
        several, delong = any(each.label for each in found.compared), has_delong(found.compared)
        said = [
            f"The two models are compared on the same {plural(one.unit)}, A minus B, by a paired cluster bootstrap: in "
            f"each of {one.bootstrap:,} replicates the same {plural(one.group)} are drawn for both, with replacement, "
            f"and the difference of each metric is taken. Its {self.level} is an expanded percentile interval of these "
            "differences (Hesterberg 2015). p is two-sided: twice the smaller of the shares of replicates at or below "
            "0 and at or above 0, and 1 over their number at least."
        ]
        if several:
            said.append(
                "Over the classes of each metric, which are one family, p is corrected by Holm's step-down method "
                "(Holm 1979)."
            )
        tests = [
            *(["DeLong's test of two paired AUROCs (DeLong et al. 1988)"] if delong else []),
            *([] if math.isnan(found.mcnemar_p) else ["McNemar's exact test (McNemar 1947)"]),
        ]
        if tests:
            takes, is_are = ("takes", "its p is") if len(tests) == 1 else ("take", "their p are")
            said.append(
                f"{listing(tests)} {takes} {plural(one.unit)} as independent: where several come from one "
                f"{one.group}, {is_are} too small."
            )
        chosen = [
            each
            for evaluation in found.evaluations
            for each in evaluation.thresholds
            if not math.isnan(each.value)
        ]
        if {each.rule for each in chosen} == {"fixed"}:
            said.append("Thresholds were fixed beforehand, the same for both.")
        elif chosen:
            parts = listing(sorted({each.chosen_on for each in chosen}))
            said.append(
                f"Thresholds were chosen for each model by itself, on its own scores of the part {parts}."
            )
        return " ".join(said)

    @cached_property
    def undefined(self) -> list[str]:
        """Every number that is not told, with the reason; classes that share one, together."""
        lacks: dict[tuple[str, str, str], list[str]] = {}
        for row in self.comparison.compared:
            name, why = self.title_of(row.metric), why_not(row)
            if not told(row):
                lacks.setdefault((name, "A minus B", why), []).append(row.label)
            for side, evaluation in zip("AB", self.comparison.evaluations, strict=True):
                result = evaluation.result(row.metric, row.label)
                if math.isnan(result.low) and (told(row) or result.reason != why):
                    lacks.setdefault((name, f"{side} alone", result.reason), []).append(row.label)
        found = [f"{name}{_of(labels)}, {what}: {why}." for (name, what, why), labels in lacks.items()]
        if self.evaluation.excluded:
            found.append(
                f"{count(self.evaluation.excluded, self.evaluation.unit)} without a known label were left out."
            )
        return found

    @property
    def footer(self) -> str:
        """Who made it."""
        from graftwork import __version__

        return f"Made by graftwork {__version__}. This page loads nothing and runs no script."


def told_apart(first: str, second: str) -> tuple[str, str]:
    """The names of two files without their folders, or with as many as it takes to tell them apart."""
    one, other = Path(first).parts, Path(second).parts
    for kept in range(1, max(len(one), len(other), 1) + 1):
        names = "/".join(one[-kept:]), "/".join(other[-kept:])
        if names[0] != names[1] or one == other:
            break
    return shortened(names[0], 60), shortened(names[1], 60)


def _row(row: Compared, label: str) -> DifferenceRow:
    found = row.difference
    return DifferenceRow(
        label,
        found.value,
        found.low,
        found.high,
        apart=bool(row.label) and row.adjusted < LEVEL,
        summary=not row.label,
    )


def _in_words(rows: Sequence[DifferenceRow]) -> str:
    return "; ".join(f"{row.label} {signed(row.value)} ({interval(row.low, row.high)})" for row in rows)


def _of(labels: Sequence[str]) -> str:
    """Which classes: ` of a, b and 12 further classes`; empty for the whole."""
    named = [shortened(label, 40) for label in labels if label]
    if not named:
        return ""
    more = len(named) - NAMED
    said = [*named[:NAMED], f"{count(more, 'further class')}"] if more > 0 else named
    whole = "the whole and of " if "" in labels else ""
    return f" of {whole}{listing(said)}"
