"""The metrics of a protocol within subgroups of the cases: by sex, view, device; and how far they lie apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from graftwork.common.errors import UsageError
from graftwork.common.evaluation.arrays import Array, BoolArray, Estimator, FloatArray
from graftwork.common.evaluation.evaluate_table import cells_of, questions_of
from graftwork.common.evaluation.intervals.bootstrap import replicate, too_few
from graftwork.common.evaluation.intervals.paired_tests import Difference, difference_of
from graftwork.common.evaluation.metrics.operating_points import mean_of_defined
from graftwork.common.evaluation.metrics.registry import SCORED
from graftwork.common.evaluation.results import Cell, Resampling, results_of
from graftwork.common.evaluation.tables.prediction_arrays import has_groups, numbers, text_of
from graftwork.common.evaluation.tables.predictions import Cases, TargetLike, read_cases
from graftwork.common.wording import short_list

if TYPE_CHECKING:
    import pandas as pd

    from graftwork.common.evaluation.protocols import Protocol
    from graftwork.common.evaluation.results import Evaluation, Result


SMALLEST = (
    10  # groups (patients) below which a subgroup is not shown: too few to judge, and they could be known
)
_BANDS = 10  # distinct numbers above which a covariate is cut at its quartiles
_MOST = 30  # values of a covariate


@dataclass(frozen=True)
class Subgroup:
    """A value of a covariate: cases and groups with it, and every result of the protocol among them."""

    value: str
    n: int
    groups: int
    results: tuple[Result, ...]


@dataclass(frozen=True)
class Gap:
    """How far the highest subgroup lies above the lowest, with the interval of that one difference.

    The two were chosen because they lie furthest apart, so a gap is above 0 by chance alone; the more subgroups, the
    more.
    """

    metric: str
    highest: str
    lowest: str
    difference: Difference


@dataclass(frozen=True)
class Subgroups:
    """The subgroups of one covariate.

    Attributes:
        covariate: the column. subgroups: in the order of their names; "not known" where it is empty.
        gaps: of each metric's whole that is defined in two subgroups or more.
        suppressed: values with fewer than `SMALLEST` groups, with how many: not judged.
    """

    covariate: str
    subgroups: tuple[Subgroup, ...]
    gaps: tuple[Gap, ...]
    suppressed: tuple[tuple[str, int], ...]


def subgroups(
    predictions: pd.DataFrame,
    target: TargetLike,
    protocol: Protocol,
    evaluation: Evaluation,
    covariates: Sequence[str],
    *,
    group: str = "group",
    smallest: int = SMALLEST,
) -> tuple[Subgroups, ...]:
    """Judge each subgroup of the part that was evaluated, at the same thresholds.

    Groups are drawn once for all subgroups, so that a difference of two is that of one resample. A metric that is
    undefined in a subgroup, such as the sensitivity where no case is positive, is NaN with the reason.

    Args:
        predictions, target, protocol: as `evaluate` takes them. evaluation: what it gave.
        covariates: columns; numbers with more than ten values are cut at their quartiles.
        smallest: groups below which a subgroup is named, but not judged.

    Raises:
        UsageError: there is no such column, it has too many values, or masks are judged.
    """
    if target.kind not in SCORED:
        raise UsageError(
            "subgroups are of targets told by scores, not of masks or counts",
            where="by",
            remedy="leave --by out",
        )
    missing = [name for name in covariates if name not in predictions.columns]
    if missing:
        there = short_list([str(name) for name in predictions.columns], 40)
        raise UsageError(
            f"no column {short_list(missing)}; there are {there}",
            where="by",
            remedy="name columns as the table does",
        )
    cases = read_cases(predictions, target, evaluation.part, group=group, protocol=protocol)
    _, count = cases.units
    how = Resampling(
        count, evaluation.group, has_groups(predictions, group), len(cases),
        evaluation.bootstrap, evaluation.seed, evaluation.confidence,
    )  # fmt: skip
    found = []
    for name in covariates:
        values = values_of(predictions, name, evaluation.part, cases, protocol.by)
        found.append(_of_one(name, values, cases, protocol, evaluation, how, smallest))
    return tuple(found)


def values_of(frame: pd.DataFrame, name: str, part: str, cases: Cases, by: str) -> Array:
    """The value of each case, or of what was put together; several in one unit are told as such."""
    rows = frame[text_of(frame["part"]) == part]
    units = text_of(rows[by if by else "case"]).astype(str)
    text = _as_text(rows[name])
    found: dict[str, str] = {}
    for unit, value in zip(units, text, strict=True):
        found[unit] = value if found.get(unit, value) == value else "several"
    values = np.array([found[unit] for unit in cases.case.astype(str)], dtype=object)
    distinct = sorted(set(values))
    if len(distinct) > _MOST:
        raise UsageError(
            f"{name} has {len(distinct)} values ({short_list(distinct)}); a subgroup is of {_MOST} at most",
            where="by",
            remedy="write a coarser column",
        )
    return values


def _as_text(column: pd.Series[Any]) -> Array:
    """Values as words; numbers with many values as bands from quartile to quartile."""
    text = text_of(column)
    values, odd = numbers(column)
    known = values[~np.isnan(values)]
    words = np.array(["not known" if each is None else each for each in text], dtype=object)
    if odd.any() or len(np.unique(known)) <= _BANDS:
        return words
    edges = np.unique(np.quantile(known, [0.0, 0.25, 0.5, 0.75, 1.0], method="inverted_cdf"))
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    for row in np.flatnonzero(~np.isnan(values)):
        low, high = edges[place[row]], edges[place[row] + 1]
        last = place[row] == len(edges) - 2
        words[row] = f"{low:g} to {high:g}" if last else f"{low:g} to below {high:g}"
    return words


def _of_one(
    name: str,
    values: Array,
    cases: Cases,
    protocol: Protocol,
    evaluation: Evaluation,
    how: Resampling,
    smallest: int,
) -> Subgroups:
    every, codes = np.unique(cases.groups.astype(str)), cases.units[0]
    judged, suppressed = [], []
    wholes: dict[str, list[tuple[str, float, Estimator]]] = {metric: [] for metric in protocol.metrics}
    for value in sorted(set(values)):
        here = values == value
        groups = len(np.unique(codes[here]))
        if groups < smallest:
            suppressed.append((value, groups))
            continue
        some = _restricted(cases, here)
        columns = np.searchsorted(every, np.unique(some.groups.astype(str)))
        table = {
            metric: (len(some), [_moved(cell, columns) for cell in cells_of(
                metric, some, questions_of(some, evaluation.thresholds), how.confidence)])
            for metric in protocol.metrics
        }  # fmt: skip
        results, _ = results_of(table, how)
        results = tuple(replace(each, groups=min(each.groups, groups)) for each in results)
        judged.append(Subgroup(value, len(some), groups, results))
        for metric, (_, cells) in table.items():
            ready = [cell.estimator for cell in cells if cell.estimator is not None]
            whole = next(each.value for each in results if each.metric == metric)
            if ready and not math.isnan(whole):
                wholes[metric].append((value, whole, _mean(ready)))
    gaps = [_gap(metric, found, how) for metric, found in wholes.items() if len(found) > 1]
    return Subgroups(name, tuple(judged), tuple(gaps), tuple(suppressed))


def _restricted(cases: Cases, here: BoolArray) -> Cases:
    return replace(
        cases,
        truth=cases.truth[here],
        scores=cases.scores[here],
        groups=cases.groups[here],
        case=cases.case[here],
    )


def _moved(cell: Cell, columns: Array) -> Cell:
    """A cell whose estimator takes the multiplicities of all groups, of which its own are `columns`."""
    inner = cell.estimator
    return cell if inner is None else replace(cell, estimator=lambda drawn: inner(drawn[:, columns]))


def _mean(estimators: Sequence[Estimator]) -> Estimator:
    return lambda drawn: mean_of_defined(np.stack([each(drawn) for each in estimators]), axis=0)


def _gap(metric: str, found: Sequence[tuple[str, float, Estimator]], how: Resampling) -> Gap:
    ordered = sorted(found, key=lambda each: each[1])
    (low, least, below), (high, most, above) = ordered[0], ordered[-1]
    if how.groups < 2:
        nothing = Difference(most - least, math.nan, math.nan, math.nan, 0, 0, too_few(how.groups, how.name))
        return Gap(metric, high, low, nothing)

    def estimator(drawn: FloatArray) -> FloatArray:
        return above(drawn) - below(drawn)

    (values,) = replicate([estimator], how.groups, items=how.items, replicates=how.replicates, seed=how.seed)
    return Gap(metric, high, low, difference_of(most - least, values, how.groups, how.confidence))
