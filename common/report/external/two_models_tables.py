"""The comparison of two models and its tables: metrics, classes, decisions, thresholds, inputs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from graftwork.common.report.figures.difference_figures import signed
from graftwork.common.report.formatting import (
    NOT_AVAILABLE,
    count,
    direction,
    interval,
    number,
    score,
    shortened,
    title_of,
)
from graftwork.common.report.run.metrics_section import positives_cell
from graftwork.common.report.section import Column, Row, Table, properties
from graftwork.common.wording import plural

if TYPE_CHECKING:
    from graftwork.common.evaluation import Evaluation, Protocol, Threshold
    from graftwork.common.evaluation.compare_models import Compared, Comparison


OPEN = 40  # rows of classes up to which every table of classes is open


@dataclass(frozen=True, eq=False)
class TwoModels:
    """A comparison by a protocol; `names`: of the two files."""

    comparison: Comparison
    protocol: Protocol
    names: tuple[str, str]

    @property
    def evaluation(self) -> Evaluation:
        """Of the first model; cases, groups and replicates are the same for both."""
        return self.comparison.evaluations[0]

    @property
    def level(self) -> str:
        """The name of an interval: `95 % interval`."""
        return f"{100 * self.evaluation.confidence:g} % interval"

    def title_of(self, metric: str) -> str:
        """The title of a metric, with its unit where it has one."""
        return title_of(metric, self.evaluation.kind)

    def whole(self, metric: str) -> Compared | None:
        """The difference over all classes."""
        return next(
            (each for each in self.comparison.compared if (each.metric, each.label) == (metric, "")), None
        )

    def of_classes(self, metric: str) -> list[Compared]:
        """The differences of each class."""
        return [each for each in self.comparison.compared if each.metric == metric and each.label]

    @cached_property
    def metrics(self) -> Table:
        """Every metric over all classes."""
        one = self.evaluation
        found = [each for each in self.comparison.compared if not each.label]
        rows = []
        for each in found:
            head = self.title_of(each.metric)
            result = one.result(each.metric)
            if result.classes is not None:
                head += f", mean over {result.classes[0]} of {result.classes[1]} classes"
            head += direction(each.metric)
            counts = (number(result.n), positives_cell(one, result))
            rows.append(
                Row(head, (*counts, *self._cells(each, found)), strong=each.metric == self.protocol.primary)
            )
        notes = (
            f"A: {self.names[0]}. B: {self.names[1]}. In parentheses: the interval of each model.",
            f"The smallest possible p with {one.bootstrap:,} replicates is {1 / one.bootstrap:.2g}. p is not "
            "corrected for "
            "several metrics.",
        )
        columns = (
            Column("metric"),
            Column(plural(one.unit), numeric=True),
            Column("positive", numeric=True),
            *self._columns(found),
        )
        return Table("All metrics", columns, tuple(rows), stacks=True, notes=notes, spans=True, titled=True)

    @cached_property
    def classes(self) -> list[tuple[Table, bool]]:
        """One table per metric, one row per class; and whether it is open."""
        found: list[tuple[Table, bool]] = []
        labelled = sum(bool(each.label) for each in self.comparison.compared)
        for metric in self.protocol.metrics:
            of = self.of_classes(metric)
            if of:
                found.append(
                    (self._of_classes(metric, of), labelled <= OPEN or metric == self.protocol.primary)
                )
        return found

    def _of_classes(self, metric: str, found: Sequence[Compared]) -> Table:
        positives = [self.evaluation.result(metric, each.label).positives for each in found]
        counted = any(each is not None for each in positives)
        rows = []
        for each, n in zip(found, positives, strict=True):
            cells = self._cells(each, found)
            rows.append(
                Row(
                    shortened(each.label, 40),
                    (("–" if n is None else number(n)), *cells) if counted else cells,
                )
            )
        columns = [
            Column("class"),
            *([Column("positive", numeric=True)] if counted else []),
            *self._columns(found),
        ]
        caption = f"{self.title_of(metric)} of {count(len(found), 'class')}{direction(metric)}"
        return Table(caption, tuple(columns), tuple(rows), stacks=True, spans=True)

    def _cells(self, row: Compared, found: Sequence[Compared]) -> tuple[str, ...]:
        why = why_not(row)
        cells = []
        for evaluation in self.comparison.evaluations:
            result = evaluation.result(row.metric, row.label)
            limits = interval(result.low, result.high)
            # a reason that A, B and the difference share appears once in a row
            reason = NOT_AVAILABLE if result.reason == why else f"{NOT_AVAILABLE}: {result.reason}"
            cells.append(f"{score(result.value)} ({limits})" if limits else reason)
        apart = row.difference
        limits = interval(apart.low, apart.high)
        cells += [signed(apart.value), limits] if limits else [NOT_AVAILABLE, f"{NOT_AVAILABLE}: {why}"]
        cells.append(p_value(apart.p))
        cells += [p_value(row.adjusted)] if any(each.label for each in found) else []
        cells += [p_value(row.delong_p, "–")] if has_delong(found) else []
        return tuple(cells)

    def _columns(self, found: Sequence[Compared]) -> list[Column]:
        names = ["A", "B", "A − B", f"{100 * self.evaluation.confidence:g} % interval", "p"]
        names += ["p, Holm"] if any(each.label for each in found) else []
        names += ["p, DeLong"] if has_delong(found) else []
        return [Column(name, numeric=True) for name in names]

    @property
    def decisions(self) -> Table | None:
        """The counts of McNemar's test; None where there is no test."""
        found, unit = self.comparison, self.evaluation.unit
        if math.isnan(found.mcnemar_p):
            return None
        n, a, b = self.evaluation.n, found.only_first, found.only_second
        rows = (
            ("correct only by A", a),
            ("correct only by B", b),
            ("correct by both, or by neither", n - a - b),
        )
        return Table(
            f"Decisions on {count(n, unit)}",
            (Column("decision"), Column(plural(unit), numeric=True)),
            tuple(Row(name, (number(k),)) for name, k in rows),
            notes=(
                f"McNemar's exact test: p {p_value(found.mcnemar_p)}. It treats {plural(unit)} as independent.",
            ),
        )

    @property
    def inputs(self) -> Table:
        """What is needed to get the same numbers."""
        from graftwork import __version__

        one = self.evaluation
        rows = [
            ("A", self.names[0]),
            ("B", self.names[1]),
            ("protocol", f"{one.protocol}, version {one.version}"),
            ("part", one.part),
            (
                "groups",
                f"from the column {one.group_column}" if one.group_column else "none: each case is a group",
            ),
            ("replicates", f"{one.bootstrap:,}, seed {one.seed}"),
            ("versions", f"graftwork {__version__}, numpy {one.numpy}"),
        ]
        for side, evaluation in zip("AB", self.comparison.evaluations, strict=True):
            chosen = evaluation.threshold
            if chosen is not None:
                how = (
                    ", fixed beforehand"
                    if chosen.rule == "fixed"
                    else ""
                    if chosen.reason
                    else f", {chosen.describe()}"
                )
                rows.append((f"threshold of {side}", f"{_value(chosen)}{how}"))
        return properties("Inputs", rows)

    @property
    def thresholds(self) -> Table | None:
        """The thresholds of each class, where there are several."""
        one, other = (each.thresholds for each in self.comparison.evaluations)
        if len(one) < 2:
            return None
        rows = [
            Row(shortened(a.label, 40), (_value(a), number(a.n), _value(b), number(b.n)))
            for a, b in zip(one, other, strict=True)
        ]
        columns = (
            Column("class"), Column("threshold of A"), Column("cases", numeric=True), Column("threshold of B"),
            Column("cases", numeric=True),
        )  # fmt: skip
        notes = dict.fromkeys(_rule(each) for each in (*one, *other))
        return Table("Threshold of each class", columns, tuple(rows), stacks=True, notes=tuple(notes))


def has_interval(row: Compared) -> bool:
    """Whether a difference has an interval; without one it is not shown."""
    return all(
        math.isfinite(each) for each in (row.difference.value, row.difference.low, row.difference.high)
    )


def why_not(row: Compared) -> str:
    """Why there is no difference; empty where there is one."""
    return row.difference.reason or row.reason


def has_delong(found: Iterable[Compared]) -> bool:
    """Whether any of them has DeLong's test."""
    return any(not math.isnan(each.delong_p) for each in found)


def p_value(value: float, absent: str = NOT_AVAILABLE) -> str:
    """A p of three decimals; a smaller one as `<0.001`."""
    return absent if math.isnan(value) else "<0.001" if value < 0.001 else score(value)


def _value(found: Threshold) -> str:
    """With every digit: it decides which scores are above it."""
    return f"{NOT_AVAILABLE}: {found.reason}" if math.isnan(found.value) else repr(float(found.value))


def _rule(found: Threshold) -> str:
    if found.rule == "fixed":
        return "Thresholds were fixed beforehand."
    how = "Youden's index" if found.rule == "youden" else f"a {found.rule} of at least {found.target:g}"
    return f"Chosen for {how}, on the cases of the part {found.chosen_on} that the table counts."
