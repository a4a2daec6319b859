"""Intervals by resampling groups (cluster bootstrap): patients, locations, never single images of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation.arrays import (
    Array,
    Estimator,
    FloatArray,
    IntArray,
    require_choice,
    require_length,
    require_vector,
)
from graftwork.common.wording import quantity

# Above this share of undefined replicates the rest no longer represents the whole, and the interval is NaN.
UNDEFINED_SHARE = 0.05
# Numbers held at a time by one array of a replicate: small enough for the processor's cache, whatever n is.
_AT_A_TIME = 1 << 20


@dataclass(frozen=True)
class Interval:
    """Limits of an interval, how many replicates it rests on, and how many were undefined and dropped.

    `reason` says why the limits are NaN, or is empty.
    """

    low: float
    high: float
    replicates: int
    undefined: int
    reason: str = ""


def group_codes(groups: npt.ArrayLike, n: int | None = None) -> tuple[IntArray, int]:
    """Number the groups 0..G-1 in the order of their names, so that the order of rows means nothing.

    Raises:
        TableError: a group is missing (None or NaN), or not one-dimensional; the number of groups is not `n`.
    """
    found = require_vector(groups, "groups")
    if n is not None:
        require_length(len(found), n, "groups")
    if found.dtype.kind in "Of" and any(value is None or value != value for value in found):
        raise TableError("a case has no group", where="groups", remedy="give each case its group")
    if found.dtype == object:
        found = found.astype(str)
    names, codes = np.unique(found, return_inverse=True)
    return codes.astype(np.intp), len(names)


def multiplicities(
    groups: int, replicates: int, seed: int, *, at_a_time: int | None = None
) -> Iterator[FloatArray]:
    """Draw as many groups as there are, with replacement; yield how often each was drawn, [b, groups].

    `at_a_time` bounds the rows of a block; the draws do not depend on it.
    """
    rng = np.random.default_rng(seed)
    block = at_a_time or max(1, _AT_A_TIME // max(groups, 1))
    for done in range(0, replicates, block):
        rows = min(block, replicates - done)
        draws = rng.integers(0, groups, size=(rows, groups)) + np.arange(rows)[:, None] * groups
        counts = np.bincount(draws.ravel(), minlength=rows * groups)
        yield counts.reshape(rows, groups).astype(np.float64)


def replicate(
    estimators: Sequence[Estimator], groups: int, *, items: int, replicates: int, seed: int
) -> list[FloatArray]:
    """Ask every estimator for the same replicates: one array [B] (or [B, points]) for each.

    `items` is the number of cases; with it the blocks stay small whatever the number of cases.

    Raises:
        UsageError: fewer than two replicates.
    """
    if replicates < 2:
        raise UsageError(
            f"an interval needs at least 2 bootstrap replicates, {replicates} were asked for",
            where="bootstrap",
            remedy="2,000 is customary",
        )
    found: list[list[FloatArray]] = [[] for _ in estimators]
    block = max(1, _AT_A_TIME // max(groups, items, 1))
    for rows in multiplicities(groups, replicates, seed, at_a_time=block):
        by_column = np.asfortranarray(rows)  # one resample beside the other: sums over many at once are quick
        for estimator, values in zip(estimators, found, strict=True):
            values.append(estimator(by_column))
    return [np.concatenate(values) for values in found]


def percentile_interval(values: FloatArray, confidence: float = 0.95) -> Interval:
    """Percentile interval of replicates [B], linearly interpolated; undefined (NaN) ones dropped and counted.

    More than 5 % undefined: the limits are NaN, with the reason.
    """
    defined = values[~np.isnan(values)]
    undefined = len(values) - len(defined)
    if len(defined) == 0 or undefined > UNDEFINED_SHARE * len(values):
        reason = f"undefined in {undefined:,} of {len(values):,} replicates, more than 5 %"
        return Interval(math.nan, math.nan, len(values), undefined, reason)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(defined, [tail, 1.0 - tail])
    return Interval(float(low), float(high), len(values), undefined)


def expanded_interval(values: FloatArray, groups: int, confidence: float = 0.95) -> Interval:
    """Percentile interval of replicates [B] at tails that allow for few groups.

    A resample of G groups varies by a factor (G - 1) / G less than groups do, and a normal tail stands where Student's
    belongs, so that plain percentiles are too narrow. The tails are Phi(-sqrt(G / (G - 1)) t), with Student's t of
    G - 1 degrees of freedom: 1.6 % in place of 2.5 for 20 groups, 2.4 % for 200.

    Source: Hesterberg, The American Statistician 69:371 (2015), section 4.1, the expanded percentile interval.
    """
    from scipy.special import ndtr, stdtrit

    if groups < 2:
        return Interval(math.nan, math.nan, 0, 0, too_few(groups))
    t = float(stdtrit(groups - 1, 0.5 + confidence / 2.0))
    return percentile_interval(values, 1.0 - 2.0 * float(ndtr(-math.sqrt(groups / (groups - 1)) * t)))


def bca_interval(
    values: FloatArray, estimate: float, jackknife: FloatArray, confidence: float = 0.95
) -> Interval:
    """Bias-corrected and accelerated interval of replicates [B]; undefined ones dropped and counted.

    Args:
        values: [B]. estimate: the metric of all groups.
        jackknife: [G], the metric without each *group* in turn; without single cases the acceleration is another.

    Returns:
        An `Interval`; NaN with a reason where a replicate share is 0 or 1, or the jackknife is undefined.

    Source: Efron, JASA 82:171 (1987), equations 6.6 and 7.3; replicates equal to the estimate count half.
    """
    from scipy.special import ndtr, ndtri

    plain = percentile_interval(values, confidence)
    if plain.reason:
        return plain
    defined = values[~np.isnan(values)]
    below = ((defined < estimate).sum() + (defined <= estimate).sum()) / (2.0 * len(defined))
    apart = jackknife.mean() - jackknife
    spread = float((apart**2).sum())
    if math.isnan(estimate) or not np.isfinite(spread) or not 0.0 < below < 1.0 or spread == 0.0:
        why = (
            "one-sided replicates"
            if not 0.0 < below < 1.0
            else "the metric without single groups is undefined"
        )
        why = "the metric is the same without any group" if spread == 0.0 else why
        return Interval(math.nan, math.nan, len(values), plain.undefined, f"no BCa interval: {why}")
    bias, acceleration = float(ndtri(below)), float((apart**3).sum()) / (6.0 * spread**1.5)
    tail = (1.0 - confidence) / 2.0
    moved = [bias + float(ndtri(share)) for share in (tail, 1.0 - tail)]
    low, high = np.quantile(defined, [ndtr(bias + z / (1.0 - acceleration * z)) for z in moved])
    return Interval(float(low), float(high), len(values), plain.undefined)


def expanded_band(values: FloatArray, groups: int, confidence: float = 0.95) -> tuple[FloatArray, FloatArray]:
    """Pointwise limits (`expanded_interval`) of replicates [B, points]; NaN where more than 5 % are undefined."""
    limits = [expanded_interval(column, groups, confidence) for column in values.T]
    return np.array([limit.low for limit in limits]), np.array([limit.high for limit in limits])


def group_bootstrap(
    metric: Callable[[FloatArray], FloatArray],
    groups: npt.ArrayLike,
    *,
    replicates: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    method: Literal["expanded", "percentile", "bca"] = "expanded",
) -> Interval:
    """Interval of any weighted metric, by resampling groups with replacement.

    A group drawn twice counts with all its items twice. For example
    ``group_bootstrap(lambda w: auroc(y, s, weights=w), patients)``.

    Args:
        metric: takes weights [b, n] (multiplicities of the items) and gives [b], NaN where undefined.
        groups: [n], the group of each item.
        replicates, seed: how many, and the seed of `numpy.random.default_rng`.
        confidence: the share of the replicates between the limits.
        method: percentiles at tails that allow for few groups (`expanded_interval`), plain ones, or bias-corrected
            and accelerated ones (`bca_interval`). Simulated (benchmarks/coverage.py), the first held the truth most
            nearly as often as they say.

    Returns:
        An `Interval`; NaN with a reason for fewer than two groups or more than 5 % undefined replicates.
    """
    require_choice(method, ("expanded", "percentile", "bca"), "method")
    codes, count = group_codes(groups)
    if count < 2:
        return Interval(math.nan, math.nan, 0, 0, too_few(count))

    def estimator(multiplicity: FloatArray) -> FloatArray:
        return metric(np.take(multiplicity, codes, axis=1))

    (values,) = replicate([estimator], count, items=len(codes), replicates=replicates, seed=seed)
    if method == "expanded":
        return expanded_interval(values, count, confidence)
    if method == "percentile":
        return percentile_interval(values, confidence)
    whole = float(estimator(np.ones((1, count)))[0])
    return bca_interval(values, whole, leave_one_out(estimator, count), confidence)


def leave_one_out(estimator: Estimator, groups: int) -> FloatArray:
    """The jackknife over groups: an estimator without each of them in turn, [groups]."""
    found = []
    for start in range(0, groups, 64):  # few rows at a time
        rows = np.ones((min(64, groups - start), groups))
        rows[np.arange(len(rows)), start + np.arange(len(rows))] = 0.0
        found.append(estimator(rows))
    return np.concatenate(found)


def too_few(groups: int, name: str = "group") -> str:
    """Why there is no interval over fewer than two groups."""
    return f"{quantity(groups, name)} only: nothing to resample"


def describe(groups: int, replicates: int, name: str = "group", *, grouped: bool = True) -> str:
    """The method of an interval in words, as a methods section would say it."""
    if grouped:
        return (
            f"cluster bootstrap over {quantity(groups, name)}, {replicates:,} replicates, expanded percentile"
        )
    over = quantity(groups, "case")
    return f"bootstrap over {over} (no groups known), {replicates:,} replicates, expanded percentile"


def constant(values: Array) -> bool:
    """Whether all defined replicates are one value: the interval has no width, and that deserves a word."""
    defined = values[~np.isnan(values)]
    return len(defined) > 0 and float(np.ptp(defined)) == 0.0
