"""The tables of a page that compares two models: metrics, classes, decisions, thresholds, and what to give again."""

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
    plural,
    score,
    shortened,
    title_of,
)
from graftwork.common.report.run.metrics_table import positives_cell
from graftwork.common.report.tables import Column, Row, Table

if TYPE_CHECKING:
    from graftwork.common.evaluation import Evaluation, Protocol, Threshold
    from graftwork.common.evaluation.compare_models import Compared, Comparison


OPEN = 40  # rows of classes up to which every table of classes stands open


@dataclass(frozen=True, eq=False)
class ComparedTables:
    """Of `comparison` by `protocol`; `names`: of the two files."""

    comparison: Comparison
    protocol: Protocol
    names: tuple[str, str]

    @property
    def evaluation(self) -> Evaluation:
        """Of the first model; cases, groups and replicates are those of both."""
        return self.comparison.evaluations[0]

    @cached_property
    def metrics(self) -> Table:
        """Every metric of the whole."""
        one = self.evaluation
        found = [each for each in self.comparison.compared if not each.label]
        rows = []
        for each in found:
            head = title_of(each.metric, one.kind)
            result = one.result(each.metric)
            if result.classes is not None:
                head += f", mean over {result.classes[0]} of {result.classes[1]} classes"
            head += direction(each.metric)
            counts = (number(result.n), positives_cell(one, result))
            rows.append(
                Row(head, (*counts, *self._cells(each, found)), strong=each.metric == self.protocol.primary)
            )
        notes = (
            f"A: {self.names[0]}. B: {self.names[1]}. In parentheses: the interval of each alone.",
            f"The smallest p that {one.bootstrap:,} replicates can tell is {1 / one.bootstrap:.2g}. p is not corrected "
            "over metrics.",
        )
        columns = (
            Column("metric"),
            Column(plural(one.unit), numeric=True),
            Column("positive", numeric=True),
            *self._columns(found),
        )
        return Table("All metrics", columns, tuple(rows), stacks=True, notes=notes, spans=True)

    @cached_property
    def classes(self) -> list[tuple[Table, bool]]:
        """One table a metric, a row a class; and whether it stands open."""
        found: list[tuple[Table, bool]] = []
        several = [each for each in self.comparison.compared if each.label]
        for metric in self.protocol.metrics:
            of = [each for each in several if each.metric == metric]
            if of:
                found.append(
                    (self._of_classes(metric, of), len(several) <= OPEN or metric == self.protocol.primary)
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
        caption = (
            f"{title_of(metric, self.evaluation.kind)} of {count(len(found), 'class')}{direction(metric)}"
        )
        return Table(caption, tuple(columns), tuple(rows), stacks=True, spans=True)

    def _cells(self, row: Compared, found: Sequence[Compared]) -> tuple[str, ...]:
        why = why_not(row)
        cells = []
        for evaluation in self.comparison.evaluations:
            result = evaluation.result(row.metric, row.label)
            limits = interval(result.low, result.high)
            # a reason that A, B and the difference share stands once in a row
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
        """McNemar's counts; None where there is no such test."""
        found, unit = self.comparison, self.evaluation.unit
        if math.isnan(found.mcnemar_p):
            return None
        n, a, b = self.evaluation.n, found.only_first, found.only_second
        rows = (
            ("decided rightly by A alone", a),
            ("decided rightly by B alone", b),
            ("decided rightly by both, or by neither", n - a - b),
        )
        return Table(
            f"Decisions on {count(n, unit)}",
            (Column("what"), Column(plural(unit), numeric=True)),
            tuple(Row(name, (number(k),)) for name, k in rows),
            notes=(
                f"McNemar's exact test: p {p_value(found.mcnemar_p)}. It takes {plural(unit)} as independent.",
            ),
        )

    @property
    def again(self) -> Table:
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
                f"from the column {one.group_column}" if one.group_column else "none: each case is its own",
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
        columns = (Column("what"), Column("value"))
        return Table("What to give", columns, tuple(Row(name, (value,)) for name, value in rows))

    @property
    def thresholds(self) -> Table | None:
        """Of each class, where each has its own."""
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


def told(row: Compared) -> bool:
    """Whether a difference has an interval; without one it is not shown."""
    return all(
        math.isfinite(each) for each in (row.difference.value, row.difference.low, row.difference.high)
    )


def why_not(row: Compared) -> str:
    """Why there is no difference; empty where there is one."""
    return row.difference.reason or row.reason


def has_delong(found: Iterable[Compared]) -> bool:
    """Whether DeLong's test was made of any of them."""
    return any(not math.isnan(each.delong_p) for each in found)


def p_value(value: float, absent: str = NOT_AVAILABLE) -> str:
    """A p of three decimals; a smaller one as `<0.001`."""
    return absent if math.isnan(value) else "<0.001" if value < 0.001 else score(value)


def _value(found: Threshold) -> str:
    """To the last digit: it decides which scores lie above it."""
    return f"{NOT_AVAILABLE}: {found.reason}" if math.isnan(found.value) else repr(float(found.value))


def _rule(found: Threshold) -> str:
    if found.rule == "fixed":
        return "Thresholds were fixed beforehand."
    how = "Youden's index" if found.rule == "youden" else f"a {found.rule} of at least {found.target:g}"
    return f"Chosen for {how}, on so many cases of the part {found.chosen_on}."
