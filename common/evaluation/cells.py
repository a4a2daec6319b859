"""The numbers of an evaluation before and after resampling: what is to be had becomes value, interval, reason."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

import numpy as np

from graftwork.common.evaluation.arrays import Estimator, FloatArray
from graftwork.common.evaluation.case_intervals import CaseInterval
from graftwork.common.evaluation.intervals import (
    constant,
    count_of,
    describe,
    expanded_interval,
    replicate,
    too_few,
)
from graftwork.common.evaluation.metric_texts import METRICS
from graftwork.common.evaluation.operating_points import mean_of_defined
from graftwork.common.evaluation.protocols import plural
from graftwork.common.evaluation.results import Result

__all__ = ["Cell", "Resampling", "results_of"]

FEW = 20  # groups below which even expanded intervals were not seen to hold what they say


@dataclass(frozen=True, eq=False)
class Cell:
    """One number to be had: its estimator, or why there is none.

    `classes`: of a mean over classes that the estimator takes itself, over how many of how many. `alone`: the interval
    that takes every case as independent, where there is one.
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
    """How intervals are had.

    Attributes:
        groups: how many there are. name: what one is, for people. grouped: whether the table tells them.
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
        """What a reader must know of the groups."""
        found = []
        if not self.grouped:
            found.append(
                "The table has no groups: each case counts as its own group, so intervals are too narrow where "
                "several cases come from one."
            )
        if 2 <= self.groups < FEW:
            found.append(f"Only {count_of(self.groups, self.name)}: intervals from so few may be too narrow.")
        return found


def results_of(
    table: Mapping[str, tuple[int, Sequence[Cell]]], how: Resampling
) -> tuple[tuple[Result, ...], list[str]]:
    """Every number of a protocol, all from the same replicates; and what must be said about them.

    Args:
        table: metric to (cases that a mean over its cells rests on, its cells: one, or one a class).
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
            reason = "there is none for these cases"
        elif not reason and not enough:
            reason = too_few(how.groups, how.name)
        elif not reason:
            found = expanded_interval(replicates, how.groups, how.confidence)
            low, high, undefined, reason = found.low, found.high, found.undefined, found.reason
            if constant(replicates) and not reason:
                of = f" of {cell.label}" if cell.label else ""
                title = METRICS[cell.metric].title
                remarks.append(
                    f"Every replicate gave the same {title}{of}; an interval without width is no certainty."
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
            first = cells[0].reason or "there is none for these cases"
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
