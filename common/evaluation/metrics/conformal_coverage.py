"""Coverage and size of conformal prediction sets, with intervals by resampling groups."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from graftwork.common.errors import UsageError
from graftwork.common.evaluation.arrays import (
    Array,
    Estimator,
    FloatArray,
    IntArray,
    by_unit,
    divide,
    one_nan,
    ratio,
)
from graftwork.common.evaluation.intervals.bootstrap import (
    describe,
    expanded_interval,
    group_codes,
    replicate,
    too_few,
)
from graftwork.common.evaluation.metrics.abstention import coverage


@dataclass(frozen=True)
class SetShare:
    """A number of sets with its limits; NaN where undefined, with the reason."""

    value: float
    low: float
    high: float
    reason: str = ""

    def __post_init__(self) -> None:
        one_nan(self, "value", "low", "high")


@dataclass(frozen=True)
class CoverageIntervals:
    """What sets of classes are worth, each number with its limits.

    Attributes:
        coverage: share of cases whose set holds the true class. by_group: the mean over groups of that share, which is
            what sets calibrated on one case a group promise.
        size: mean number of classes in a set. empty, single: shares of sets with none, with one class.
        per_class: [K], the coverage of the cases of each class. cases: [K], how many those are.
        n, groups: what it rests on. method: of the limits, in words.
    """

    coverage: SetShare
    by_group: SetShare
    size: SetShare
    empty: SetShare
    single: SetShare
    per_class: tuple[SetShare, ...]
    cases: tuple[int, ...]
    n: int
    groups: int
    method: str


def coverage_intervals(
    sets: npt.ArrayLike,
    y: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    replicates: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    group: str = "group",
) -> CoverageIntervals:
    """Coverage, sizes and coverage of each class of sets, with limits by the group bootstrap.

    The sets are taken as they are: the interval covers the sampling of the evaluated cases, not that of the
    calibration cases.

    Args:
        sets: bool [n, K]. y: [n], class indices. groups: [n]. group: what one is, for the words of the method.
        replicates, seed, confidence: as `group_bootstrap`.

    Raises:
        TableError: as `coverage`; groups of another number than cases.
    """
    plain = coverage(sets, y)
    held, truth = np.asarray(sets), np.asarray(y, dtype=np.intp)
    codes, count = group_codes(groups, plain.n)
    hit = held[np.arange(plain.n), truth]
    size = held.sum(axis=1)
    member = truth[:, None] == np.arange(held.shape[1])
    everyone = np.ones(plain.n)
    above = np.column_stack([hit, size, size == 0, size == 1, member & hit[:, None]]).astype(np.float64)
    below = np.column_stack([everyone, everyone, everyone, everyone, member])
    estimators = [ratio(above, below, codes, count), _mean_of_groups(hit, codes, count)]
    whole = np.concatenate([each(np.ones((1, count)))[0] for each in estimators])
    lack = too_few(count, group) if count < 2 else ""
    drawn = np.zeros((0, len(whole)))
    if not lack:
        drawn = np.concatenate(
            replicate(estimators, count, items=plain.n, replicates=replicates, seed=seed), axis=1
        )

    def found(column: int, absent: str = "no case") -> SetShare:
        value = float(whole[column])
        if math.isnan(value) or lack:
            return SetShare(value, math.nan, math.nan, absent if math.isnan(value) else lack)
        limits = expanded_interval(drawn[:, column], count, confidence)
        return SetShare(value, limits.low, limits.high, limits.reason)

    classes = range(held.shape[1])
    return CoverageIntervals(
        coverage=found(0),
        by_group=found(len(whole) - 1),
        size=found(1),
        empty=found(2),
        single=found(3),
        per_class=tuple(found(4 + k, "no case of the class") for k in classes),
        cases=plain.cases,
        n=plain.n,
        groups=count,
        method=describe(count, replicates, group),
    )


def _mean_of_groups(values: Array, units: IntArray, count: int) -> Estimator:
    """The estimator of the mean over groups of the mean of a group, [b, units] -> [b, 1]."""
    means = divide(by_unit(values, units, count), np.bincount(units, minlength=count).astype(np.float64))

    def estimator(multiplicity: FloatArray) -> FloatArray:
        return divide(multiplicity @ means[:, None], multiplicity.sum(axis=1, keepdims=True))

    return estimator


def one_per_group(groups: npt.ArrayLike, seed: int) -> IntArray:
    """One case of each group, drawn evenly from its cases: what sets are calibrated on where groups hold several.

    Cases of one group are not exchangeable with those of another; one case drawn from each group is, with one drawn
    from a new group.

    Args:
        groups: [n], in an order that means nothing (of names), as the draw goes by it. seed: of the draw.

    Returns:
        Rows, one a group, in the order of the groups' names.

    Raises:
        TableError: a case without a group.
    """
    codes, count = group_codes(groups)
    keys = np.random.default_rng(seed).random(len(codes))
    order = np.lexsort((keys, codes))
    starts = np.searchsorted(codes[order], np.arange(count))
    return np.asarray(order[starts], dtype=np.intp)


def coverage_spread(n: int, alpha: float, confidence: float = 0.95) -> tuple[float, float]:
    """Between which limits the coverage of split conformal sets lies, over draws of n calibration cases.

    It is beta distributed, with k = ceil((n + 1)(1 - alpha)) and n + 1 - k, where scores have no ties; ties cover more.

    Args:
        n: calibration cases. alpha: the share of misses allowed, in (0, 1). confidence: share between the limits.

    Returns:
        low, high in 0..1; both 1 where n is too small to promise that much, as sets then hold every class.

    Raises:
        UsageError: alpha or confidence outside (0, 1).

    Source: Vovk, Conditional validity of inductive conformal predictors, PMLR 25:475 (2012).
    """
    from scipy.special import betaincinv

    for name, value in (("alpha", alpha), ("confidence", confidence)):
        if not 0.0 < value < 1.0:
            raise UsageError(f"must lie between 0 and 1, it is {value}", where=name)
    k = max(math.ceil(round((n + 1) * (1.0 - alpha), 9)), 1)
    if k > n:
        return 1.0, 1.0
    tail = (1.0 - confidence) / 2.0
    return float(betaincinv(k, n + 1 - k, tail)), float(betaincinv(k, n + 1 - k, 1.0 - tail))
