"""Two models on the same cases: the interval of a difference, tests of it, and many tests at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation.arrays import Array, FloatArray
from graftwork.common.evaluation.intervals.bootstrap import (
    Interval,
    expanded_interval,
    group_codes,
    replicate,
    too_few,
)

_EXACT = 20_000  # swaps up to which all of them are tried
_TIE = 1e-12  # statistics that differ by less are equal but for rounding


@dataclass(frozen=True)
class Difference:
    """A difference of two values of a metric, first minus second.

    Attributes:
        value: of the cases as they are. low, high: of the paired group bootstrap. p: two-sided, 2 min(share of
            replicates at or below 0, share at or above 0), at least 1 / B. replicates, undefined: of the bootstrap.
        reason: why something is NaN; else empty.
    """

    value: float
    low: float
    high: float
    p: float
    replicates: int
    undefined: int
    reason: str = ""


@dataclass(frozen=True)
class McNemar:
    """Cases that only the first, only the second decided rightly, and the exact two-sided p."""

    only_first: int
    only_second: int
    p: float


def difference_of(value: float, replicates: FloatArray, groups: int, confidence: float = 0.95) -> Difference:
    """A difference from its replicates [B], with the interval and p that `Difference` describes."""
    found: Interval = expanded_interval(replicates, groups, confidence)
    defined = replicates[~np.isnan(replicates)]
    p = math.nan
    if not found.reason:
        tail = min(float((defined <= 0).mean()), float((defined >= 0).mean()))
        p = min(1.0, max(2.0 * tail, 1.0 / len(defined)))
    reason = found.reason or ("undefined" if math.isnan(value) else "")
    return Difference(value, found.low, found.high, p, len(replicates), found.undefined, reason)


def paired_bootstrap(
    first: Callable[[FloatArray], FloatArray],
    second: Callable[[FloatArray], FloatArray],
    groups: npt.ArrayLike,
    *,
    replicates: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Difference:
    """The difference of two metrics of the same cases, with both taken from the same resampled groups.

    For example ``paired_bootstrap(lambda w: auroc(y, a, weights=w), lambda w: auroc(y, b, weights=w), patients)``.

    Args:
        first, second: take weights [b, n] and give [b], NaN where undefined. groups: [n].
        replicates, seed, confidence: as `group_bootstrap`.
    """
    codes, count = group_codes(groups)
    whole = np.ones((1, len(codes)))
    value = float(first(whole)[0] - second(whole)[0])
    if count < 2:
        return Difference(value, math.nan, math.nan, math.nan, 0, 0, too_few(count))

    def estimator(multiplicity: FloatArray) -> FloatArray:
        weights = np.take(multiplicity, codes, axis=1)
        return first(weights) - second(weights)

    (values,) = replicate([estimator], count, items=len(codes), replicates=replicates, seed=seed)
    return difference_of(value, values, count, confidence)


def permutation_test(
    statistic: Callable[[Array, Array], float],
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    *,
    replicates: int = 9999,
    seed: int = 0,
) -> tuple[float, bool]:
    """The two-sided p of a difference if it did not matter which model gave which output.

    The outputs of the two are swapped, for all cases of a group together. All 2^G swaps are tried where they are
    20,000 at most; else as many as `replicates` are drawn and p is (1 + as extreme) / (1 + drawn).

    Args:
        statistic: of two outputs [n, ...] the difference of a metric. a, b: the outputs.
        groups: [n]; None: each case by itself.

    Returns:
        p (NaN where the statistic is undefined), and whether it is exact.

    Raises:
        TableError: outputs of different shapes, or none.
    """
    one, other = np.asarray(a), np.asarray(b)
    if one.shape != other.shape or not len(one):
        raise TableError(
            f"outputs of the shapes {one.shape} and {other.shape} are not paired",
            where="b",
            remedy="give both for the same cases",
        )
    codes, count = group_codes(np.arange(len(one)) if groups is None else groups, len(one))
    observed = abs(statistic(one, other))
    if math.isnan(observed):
        return math.nan, False
    exact = 2**count <= _EXACT
    rng = np.random.default_rng(seed)
    extreme, tried = 0, 2**count if exact else replicates
    for turn in range(tried):
        drawn = (turn >> np.arange(count)) & 1 if exact else rng.integers(0, 2, count)
        swap = drawn.astype(bool)[codes].reshape((-1,) + (1,) * (one.ndim - 1))
        found = abs(statistic(np.where(swap, other, one), np.where(swap, one, other)))
        extreme += bool(found >= observed - _TIE)
    return (extreme / tried, True) if exact else ((1 + extreme) / (1 + tried), False)


def mcnemar(first: npt.ArrayLike, second: npt.ArrayLike) -> McNemar:
    """McNemar's exact test of two series of right and wrong decisions on the same independent cases.

    Args:
        first, second: [n] bool, whether each case was decided rightly.

    Returns:
        the discordant pairs, and p of the two-sided binomial test on them; 1 where there is none.

    Raises:
        TableError: lengths that differ.

    Source: McNemar, Psychometrika 12:153 (1947); exact as statsmodels' `mcnemar(exact=True)`.
    """
    one, other = np.asarray(first).astype(bool), np.asarray(second).astype(bool)
    if one.shape != other.shape or one.ndim != 1:
        raise TableError(
            f"decisions of the shapes {one.shape} and {other.shape} are not paired",
            where="second",
            remedy="give both for the same cases",
        )
    b, c = int((one & ~other).sum()), int((~one & other).sum())
    from scipy.stats import binom

    p = min(1.0, 2.0 * float(binom.cdf(min(b, c), b + c, 0.5))) if b + c else 1.0
    return McNemar(b, c, p)


def holm(p: npt.ArrayLike) -> FloatArray:
    """Holm's step-down adjustment of a family of p values: [k] -> [k], each at most 1.

    A test that is undefined (NaN) stays so, and is not counted in the family.

    Raises:
        UsageError: a value outside 0..1.

    Source: Holm, Scandinavian Journal of Statistics 6:65 (1979); statsmodels' `multipletests(method="holm")`.
    """
    values = np.asarray(p, np.float64)
    known = np.flatnonzero(~np.isnan(values))
    if ((values[known] < 0) | (values[known] > 1)).any():
        raise UsageError(
            f"found {values[known].min():g} to {values[known].max():g}, expected p values of 0 to 1",
            where="p",
            remedy="give p values",
        )
    adjusted = np.full(values.shape, np.nan)
    order = known[np.argsort(values[known], kind="stable")]
    steps = values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(order) else steps
    return adjusted
