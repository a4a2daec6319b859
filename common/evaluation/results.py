"""The results of an evaluation: each number with its interval, or NaN with the reason; and its JSON."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation.arrays import Estimator, FloatArray, one_nan
from graftwork.common.evaluation.intervals.bootstrap import (
    constant,
    describe,
    expanded_interval,
    replicate,
    too_few,
)
from graftwork.common.evaluation.intervals.independent_cases import CaseInterval
from graftwork.common.evaluation.metrics.operating_points import Threshold, mean_of_defined
from graftwork.common.evaluation.metrics.registry import METRICS
from graftwork.common.wording import plural, quantity

if TYPE_CHECKING:
    from graftwork.common.evaluation.protocols import Protocol

FORMAT = 1  # increases when an older version could misread the file


@dataclass(frozen=True)
class Result:
    """A metric with its interval and its numbers of cases and groups.

    Attributes:
        metric: its name. label: the class; empty for the whole (a binary target, or all classes).
        value, low, high: NaN where undefined; then `reason` is not empty.
        n, groups: cases and groups in the denominator: for a sensitivity the positive cases, for a specificity the
            negative ones, for masks the units for which it is defined. positives: positive cases (of masks, units
            whose truth holds the class; of boxes, images with a true box of it), None where there is no such class.
        method: of the interval, in words. undefined: replicates in which it was undefined, dropped.
        classes: for a mean over classes, the number of defined classes and of all classes.
        case_low, case_high, case_method: the interval for independent cases ("DeLong", "Wilson"), if there is
            one; else NaN and empty. See `independent_cases.py`.

    Raises:
        ValueError: a NaN without a reason. (A bug, not a user error.)
    """

    metric: str
    label: str
    value: float
    low: float
    high: float
    n: int
    positives: int | None
    groups: int
    reason: str
    method: str
    undefined: int = 0
    classes: tuple[int, int] | None = None
    case_low: float = math.nan
    case_high: float = math.nan
    case_method: str = ""

    def __post_init__(self) -> None:
        one_nan(self, "value", "low", "high", "case_low", "case_high")
        odd = [name for name in ("value", "low", "high") if math.isnan(getattr(self, name))]
        if odd and not self.reason:
            raise ValueError(f"{self.metric} {self.label}: {odd[0]} is NaN without a reason")


@dataclass(frozen=True)
class Evaluation:
    """The results of one part by one protocol, with everything needed to reproduce them.

    Attributes:
        protocol, version: by which. kind, classes: of the target. part: that was evaluated.
        n, groups: cases with a known label, and their groups. excluded: cases of the part without one.
        thresholds: one of a binary target, one for each class of a multi-label one, else none.
        results: in the protocol's order.
        bootstrap, seed, confidence: of the intervals. numpy: the version whose generator drew the replicates.
        unit, group: what a case and a group are, such as image and patient. group_column: the column of the groups;
            empty if there is none and each case is its own group.
        notes: sentences for the reader.
        target: the name of the target; empty for the first of a manifest.
        synthetic: whether the data are synthetic, so that the numbers mean nothing for real data.
        command: the commands that give the same numbers, one per line; empty for a run.
    """

    protocol: str
    version: int
    kind: str
    classes: tuple[str, ...]
    part: str
    n: int
    groups: int
    excluded: int
    thresholds: tuple[Threshold, ...]
    results: tuple[Result, ...]
    bootstrap: int
    seed: int
    confidence: float
    numpy: str
    unit: str
    group: str
    group_column: str
    notes: tuple[str, ...] = ()
    target: str = ""
    synthetic: bool = False
    command: str = field(default="", compare=False)

    @property
    def threshold(self) -> Threshold | None:
        """The threshold of a binary target; None without a threshold, or with one for each class."""
        return self.thresholds[0] if len(self.thresholds) == 1 else None

    def result(self, metric: str, label: str = "") -> Result:
        """One result; without a label, that of the whole.

        Raises:
            UsageError: that metric and class are missing.
        """
        for each in self.results:
            if (each.metric, each.label) == (metric, label):
                return each
        have = ", ".join(dict.fromkeys(each.metric for each in self.results))
        of = f" of class {label!r}" if label else ""
        raise UsageError(
            f"the result {metric!r}{of} is missing (found {have})",
            where=f"protocol {self.protocol!r}",
            remedy="name one of these",
        )

    def positives(self, result: Result) -> tuple[int, int] | None:
        """The smallest and largest number of positive cases of a result: its own, or for a mean those of the classes.

        None where there is no positive class, as for accuracy over exclusive classes.
        """
        own = [result]
        if not result.label and result.positives is None:
            own = [each for each in self.results if each.metric == result.metric and each.label]
        counts = [each.positives for each in own if each.positives is not None]
        return (min(counts), max(counts)) if counts else None

    def _repr_html_(self) -> str:
        from graftwork.common.evaluation.text_tables import evaluation_rows, html_of

        caption = f"{self.part}: {self.n:,} cases, {self.groups:,} groups, by protocol {self.protocol}"
        return html_of(caption, evaluation_rows(self), self.notes)

    def to_json(self) -> dict[str, Any]:
        """As JSON values; NaN becomes null, with its reason."""
        content = {"format": FORMAT, **plain(self)}
        if not self.command:
            del content["command"]
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Evaluation:
        """The evaluation that `to_json` wrote, also an earlier version of it: fields added since have their default.

        Raises:
            TableError: another kind of content, a later format, or damaged content.
        """
        if not isinstance(content, Mapping) or content.get("format") != FORMAT:
            found = content.get("format") if isinstance(content, Mapping) else type(content).__name__
            raise TableError(
                f"the format is {found!r}, expected an evaluation of format {FORMAT}",
                where="metrics.json",
                remedy="write it again with `graftwork evaluate`",
            )
        try:
            return made(cls, content, thresholds=Threshold, results=Result)
        except (KeyError, TypeError, ValueError) as error:
            raise TableError(
                f"the evaluation is damaged: {error}",
                where="metrics.json",
                remedy="write it again with `graftwork evaluate`",
            ) from error


def plain(value: Any) -> Any:
    """Dataclasses, tuples and numbers as JSON values; NaN becomes null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


_T = TypeVar("_T")
# fields that the first files of this format lack
_LATER = ("synthetic", "target", "command", "case_low", "case_high", "case_method")


def made(cls: type[_T], content: Mapping[str, Any], **nested: type[Any]) -> _T:
    """An object of `cls` from its JSON: null to NaN where a number belongs, lists to tuples."""
    found: dict[str, Any] = {}
    for each in dataclasses.fields(cls):  # type: ignore[arg-type]
        if each.name not in content and each.name in _LATER:
            continue
        value = content[each.name]
        if each.type == "float":
            found[each.name] = math.nan if value is None else float(value)
        elif each.name in nested:
            found[each.name] = tuple(made(nested[each.name], entry) for entry in value)
        else:
            found[each.name] = tuple(value) if isinstance(value, list) else value
    return cls(**found)


FEW = 20  # below this number of groups even expanded intervals are too narrow in simulations


@dataclass(frozen=True, eq=False)
class Cell:
    """One number: its estimator, or why it is undefined.

    `classes`: for an estimator that is a mean over classes, the number of present classes and of all. `alone`: the
    interval for independent cases, if there is one.
    """

    metric: str
    label: str
    n: int
    positives: int | None
    groups: int
    estimator: Estimator | None
    reason: str = ""
    classes: tuple[int, int] | None = None
    alone: CaseInterval | None = None


@dataclass(frozen=True)
class Resampling:
    """How intervals are computed.

    Attributes:
        groups: their number. name: what a group is, such as patient. grouped: whether the table has groups.
        items: cases, which bound the memory. replicates, seed, confidence: of the bootstrap.
    """

    groups: int
    name: str
    grouped: bool
    items: int
    replicates: int
    seed: int
    confidence: float

    def notes(self) -> list[str]:
        """Notes about the groups."""
        found = []
        if not self.grouped:
            found.append(
                "The table has no groups: each case is its own group, so intervals are too narrow if several cases "
                "belong to one group."
            )
        if 2 <= self.groups < FEW:
            found.append(f"Only {quantity(self.groups, self.name)}: intervals from so few may be too narrow.")
        return found


def evaluation_of(
    protocol: Protocol, how: Resampling, results: tuple[Result, ...], **found: Any
) -> Evaluation:
    """An evaluation by a protocol. `found`: the fields that are neither of the protocol nor of the resampling."""
    return Evaluation(
        protocol=protocol.name,
        version=protocol.version,
        kind=protocol.kind,
        target=protocol.target,
        unit=protocol.unit,
        results=results,
        group=how.name,
        groups=how.groups,
        bootstrap=how.replicates,
        seed=how.seed,
        confidence=how.confidence,
        numpy=np.__version__,
        **found,
    )


def results_of(
    table: Mapping[str, tuple[int, Sequence[Cell]]], how: Resampling
) -> tuple[tuple[Result, ...], list[str]]:
    """Every number of a protocol, all from the same replicates, and notes about them.

    Args:
        table: metric to (number of cases of the mean over its cells, its cells: one, or one per class).
    """
    method = describe(how.groups, how.replicates, how.name, grouped=how.grouped)
    ready = [cell for _, cells in table.values() for cell in cells if cell.estimator is not None]
    estimators = [cell.estimator for cell in ready if cell.estimator is not None]
    once = np.ones((1, how.groups))
    values = {cell: float(each(once)[0]) for cell, each in zip(ready, estimators, strict=True)}
    enough = how.groups >= 2 and bool(estimators)
    drawn = (
        replicate(estimators, how.groups, items=how.items, replicates=how.replicates, seed=how.seed)
        if enough
        else [np.empty(0) for _ in estimators]
    )
    draws = dict(zip(ready, drawn, strict=True))
    remarks: list[str] = []

    def result(cell: Cell, value: float, replicates: FloatArray) -> Result:
        low = high = math.nan
        undefined, reason = 0, cell.reason
        if not reason and math.isnan(value):
            reason = "undefined for these cases"
        elif not reason and not enough:
            reason = too_few(how.groups, how.name)
        elif not reason:
            found = expanded_interval(replicates, how.groups, how.confidence)
            low, high, undefined, reason = found.low, found.high, found.undefined, found.reason
            if constant(replicates) and not reason:
                of = f" of {cell.label}" if cell.label else ""
                title = METRICS[cell.metric].title
                remarks.append(
                    f"Every replicate gave the same {title}{of}; an interval without width does not mean certainty."
                )
        return Result(
            cell.metric, cell.label, value, low, high, cell.n, cell.positives, cell.groups, reason, method,
            undefined, cell.classes, *(() if cell.alone is None else astuple(cell.alone)),
        )  # fmt: skip

    results: list[Result] = []
    for metric, (n, cells) in table.items():
        if len(cells) > 1:
            defined = [cell for cell in cells if not math.isnan(values.get(cell, math.nan))]
            share = (len(defined), len(cells))
            first = cells[0].reason or "undefined for these cases"
            why = "" if defined else f"undefined for each of {len(cells)} classes: {first}"
            whole = Cell(metric, "", n, None, how.groups, None, why, share)
            every = np.stack([draws[cell] for cell in defined]) if defined else np.empty((1, 0))
            mean = float(np.mean([values[cell] for cell in defined])) if defined else math.nan
            results.append(result(whole, mean, mean_of_defined(every, axis=0)))
            fewer = int(np.isnan(every).any(axis=0).sum())
            if fewer:
                remarks.append(
                    f"{METRICS[metric].title}: in {fewer:,} of {how.replicates:,} replicates the mean is over "
                    f"fewer than {share[0]} classes, as some {plural(how.name)} were not drawn."
                )
        for cell in cells:
            results.append(result(cell, values.get(cell, math.nan), draws.get(cell, np.empty(0))))
    return tuple(results), list(dict.fromkeys(remarks))
