"""Metrics within subgroups of the cases, such as sex, view or device, and the gaps between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from graftwork.common.errors import UsageError
from graftwork.common.evaluation.arrays import Array, BoolArray, Estimator, FloatArray
from graftwork.common.evaluation.evaluate_table import metric_cells, questions_of
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
    10  # groups (patients) below which a subgroup is not shown: too few, and people could be identified
)
_BANDS = 10  # distinct numbers above which a covariate is divided at its quartiles
_MOST = 30  # values of a covariate


@dataclass(frozen=True)
class Subgroup:
    """A value of a covariate, with its cases, groups and results."""

    value: str
    n: int
    groups: int
    results: tuple[Result, ...]


@dataclass(frozen=True)
class Gap:
    """The difference between the highest and the lowest subgroup, with its interval.

    The two are chosen because they differ most, so a gap is above 0 by chance alone, more so with more subgroups.
    """

    metric: str
    highest: str
    lowest: str
    difference: Difference


@dataclass(frozen=True)
class Subgroups:
    """The subgroups of one covariate.

    Attributes:
        covariate: the column. subgroups: in the order of their names; "not known" for an empty cell.
        gaps: for each metric of the whole that is defined in at least two subgroups.
        suppressed: values with fewer than `SMALLEST` groups, with their number: not evaluated.
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
    """Evaluate each subgroup of the evaluated part, at the same thresholds.

    Each replicate draws groups once for all subgroups, so that differences are paired. A metric that is undefined in
    a subgroup, such as the sensitivity without a positive case, is NaN with the reason.

    Args:
        predictions, target, protocol: as for `evaluate`. evaluation: its result.
        covariates: columns; numbers with more than ten values are divided at their quartiles.
        smallest: groups below which a subgroup is named but not evaluated.

    Raises:
        UsageError: a missing column, a column with too many values, or targets without scores.
    """
    if target.kind not in SCORED:
        raise UsageError(
            "subgroups need targets with scores, not masks or counts", where="by", remedy="leave --by out"
        )
    missing = [name for name in covariates if name not in predictions.columns]
    if missing:
        there = short_list([str(name) for name in predictions.columns], 40)
        raise UsageError(
            f"the column {short_list(missing)} is missing (found {there})",
            where="by",
            remedy="name columns of the table",
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
    """The value of each case or unit; a unit with several values is marked as such."""
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
            f"{name} has {len(distinct)} values ({short_list(distinct)}); expected at most {_MOST}",
            where="by",
            remedy="use a coarser column",
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
            metric: (len(some), [_moved(cell, columns) for cell in metric_cells(
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
    """A cell whose estimator takes the multiplicities of all groups; its own groups are `columns`."""
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
