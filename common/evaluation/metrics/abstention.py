"""Saying less where a model is unsure: conformal sets of classes, and risk over the share of cases answered."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation.arrays import (
    BoolArray,
    Estimator,
    FloatArray,
    IntArray,
    as_scores,
    require_choice,
    require_length,
    require_vector,
)
from graftwork.common.evaluation.intervals.bootstrap import (
    describe,
    expanded_band,
    expanded_interval,
    group_codes,
    replicate,
    too_few,
)
from graftwork.common.evaluation.metrics.operating_points import class_indices

Score: TypeAlias = Literal["lac", "aps"]
_ROUNDING = 1e-12  # a sum that equals the quantile but for rounding has reached it
_SUM = 1e-3  # how far a row of probabilities may be from 1; half-precision softmax is off by less
_WHOLE = 1e-9  # a share of whole numbers may be off by rounding


def conformal_quantile(scores: npt.ArrayLike, alpha: float) -> float:
    """The quantile of n calibration scores that a new one exceeds with a probability of at most alpha.

    It is the k-th smallest, k = ceil((n + 1)(1 - alpha)), found by sorting; the product is rounded to 1e-9 first, so
    that 10 * 0.8 is 8. The popular `np.quantile(..., ceil((n + 1)(1 - alpha)) / n, method="higher")` mostly gives
    the (k + 1)-th.

    Args:
        scores: [n], of cases that are exchangeable with the new ones; images of one patient are not: one a group.
        alpha: the share of misses that is allowed, in (0, 1).

    Returns:
        A number; infinite where k > n: too few cases to promise that much.

    Raises:
        UsageError: alpha outside (0, 1). TableError: NaN among the scores, or not one-dimensional.

    Source: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World (2005); split conformal.
    """
    if not 0.0 < alpha < 1.0:
        raise UsageError(f"must lie between 0 and 1, it is {alpha}", where="alpha")
    values = as_scores(require_vector(scores, "scores"), np.size(scores), "scores")
    n = len(values)
    k = math.ceil(round((n + 1) * (1.0 - alpha), 9))
    if k > n:
        return math.inf
    return float(np.sort(values)[max(k, 1) - 1])


def conformal_sets(
    calibration_y: npt.ArrayLike,
    calibration_p: npt.ArrayLike,
    p: npt.ArrayLike,
    alpha: float,
    score: Score = "lac",
    seed: int | None = None,
) -> BoolArray:
    """Sets of classes that hold the true one in at least 1 - alpha of new cases, whatever the model is worth.

    The promise is over cases and calibration sets together, and holds where both are exchangeable: of images of one
    patient give one to calibrate on.

    Args:
        calibration_y: [m], class indices. calibration_p: [m, K], probabilities. p: [n, K], of the new cases.
        alpha: the share of misses that is allowed, in (0, 1).
        score:
            `lac`: classes with 1 - p at or below the quantile of 1 - p_true; the smallest sets, some of them empty.
            `aps`: classes by falling p (equal ones by their order) until their sum reaches the quantile of the sum down
            to the true class: never empty, larger where a case is hard.
        seed: of `aps` only: a share of each class's own p, drawn evenly from 0..1 for each case, is left out of the
            sum, and a class is in where its sum is at or below the quantile: coverage nearer to 1 - alpha, some sets
            empty. None: not randomised.

    Returns:
        bool [n, K]; all classes where calibration cases are too few for alpha.

    Raises:
        UsageError: alpha outside (0, 1), an unknown score, a seed with `lac`. TableError: NaN, rows that are no
            probabilities of the same classes, classes that are not known.

    Source: LAC: Sadinle, Lei and Wasserman, JASA 114:223 (2019). APS: Romano, Sesia and Candes, NeurIPS 2020.
    """
    require_choice(score, ("lac", "aps"), "score")
    if score == "lac" and seed is not None:
        raise UsageError("nothing is drawn for lac, so it takes no seed", where="seed")
    known = _rows(calibration_p, "calibration_p")
    new = _rows(p, "p")
    classes = new.shape[1]
    if known.shape[1] != classes:
        raise TableError(
            f"{known.shape[1]} classes were calibrated, p has {classes}",
            where="p",
            remedy="give p the classes of the calibration, in the same order",
        )
    truth = class_indices(calibration_y, [str(k) for k in range(classes)], "calibration_y")
    require_length(len(truth), len(known), "calibration_y")
    rows = np.arange(len(truth))
    if score == "lac":
        limit = conformal_quantile(1.0 - known[rows, truth], alpha)
        return np.asarray(1.0 - new <= limit)
    if seed is None:
        _, through = _sums(known)
        limit = conformal_quantile(through[rows, truth], alpha)
        before, through = _sums(new)
        # the class with which the sum reaches the limit is in; and, so that the promise holds where p is 0 in many
        # classes, whatever scores no more than the limit
        return np.asarray((before < limit - _ROUNDING) | (through <= limit))
    rng = np.random.default_rng(seed)
    limit = conformal_quantile(_drawn(known, rng)[rows, truth], alpha)
    return np.asarray(_drawn(new, rng) <= limit)


def _rows(p: npt.ArrayLike, name: str) -> FloatArray:
    found = np.asarray(p)
    if found.ndim != 2 or found.shape[1] < 2:
        raise TableError(
            f"{name} must have the shape [n, K], a probability a class, it is {found.shape}",
            where=name,
            remedy="give one row for each case and one column for each class",
        )
    values = as_scores(found, len(found), name, probability=True)
    off = np.abs(values.sum(axis=1) - 1.0)
    if off.size and off.max() > _SUM:
        raise TableError(
            f"each row of {name} must sum to 1, one is off by {off.max():.3g}",
            where=name,
            remedy="conformal sets are for classes that exclude each other",
        )
    return values


def _sums(p: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Of each class the sum of larger probabilities (of equal ones the earlier), without and with its own: [n, K]."""
    order = np.argsort(-p, axis=1, kind="stable")
    through, before = np.empty_like(p), np.zeros_like(p)
    falling = np.cumsum(np.take_along_axis(p, order, axis=1), axis=1)
    np.put_along_axis(through, order, falling, axis=1)
    np.put_along_axis(before, order[:, 1:], falling[:, :-1], axis=1)
    return before, through


def _drawn(p: FloatArray, rng: np.random.Generator) -> FloatArray:
    before, _ = _sums(p)
    return np.asarray(before + rng.random((len(p), 1)) * p)


@dataclass(frozen=True)
class Coverage:
    """How often sets of classes held the true one.

    Attributes:
        coverage: share of cases; NaN without one. size: mean number of classes in a set. empty: sets with none.
        n: cases. per_class: [K], the coverage of the cases of each class; NaN where it has none. cases: [K].
    """

    coverage: float
    size: float
    empty: int
    n: int
    per_class: tuple[float, ...]
    cases: tuple[int, ...]

    def __post_init__(self) -> None:
        one = tuple(math.nan if math.isnan(value) else value for value in self.per_class)
        object.__setattr__(self, "per_class", one)  # one NaN, so that equal records compare equal


def coverage(sets: npt.ArrayLike, y: npt.ArrayLike) -> Coverage:
    """Coverage, mean size and empty ones of sets of classes.

    What is promised is the coverage on the whole; that of a single class can lie far below it.

    Args:
        sets: bool [n, K]. y: [n], class indices.

    Raises:
        TableError: sets that are not bool [n, K], classes that are not known, lengths that differ.
    """
    held = np.asarray(sets)
    if held.ndim != 2 or held.dtype != np.bool_:
        raise TableError(
            f"sets must be bool of the shape [n, K], they are {held.dtype} {held.shape}",
            where="sets",
            remedy="give what `conformal_sets` returns",
        )
    n, classes = held.shape
    truth = class_indices(y, [str(k) for k in range(classes)], "y")
    require_length(len(truth), n, "y")
    hit = held[np.arange(n), truth]
    cases, hits = np.bincount(truth, minlength=classes), np.bincount(truth[hit], minlength=classes)
    return Coverage(
        coverage=float(hit.mean()) if n else math.nan,
        size=float(held.sum(axis=1).mean()) if n else math.nan,
        empty=int((~held.any(axis=1)).sum()),
        n=n,
        per_class=tuple(int(h) / int(c) if c else math.nan for h, c in zip(hits, cases, strict=True)),
        cases=tuple(int(c) for c in cases),
    )


class RiskCoverage(NamedTuple):
    """The mean error of the cases answered, most confident first: coverage 1/n, 2/n to 1, and the risk there, [n]."""

    coverage: FloatArray
    risk: FloatArray


def risk_coverage(error: npt.ArrayLike, confidence: npt.ArrayLike) -> RiskCoverage:
    """Risk over coverage: the mean error of the k most confident cases, for k from 1 to n.

    Cases of equal confidence each count with the mean error of all of them, so that their order means nothing.

    Args:
        error: [n], finite and not negative: 1 (or True) where the model is *wrong*, else 0; or any loss of a case.
        confidence: [n], any numbers; higher means surer.

    Raises:
        TableError: NaN, a negative or infinite error, lengths that differ.

    Source: Geifman and El-Yaniv, NeurIPS 2017.
    """
    wrong, sure = _errors(error, confidence)
    _, place, cases = np.unique(-sure, return_inverse=True, return_counts=True)
    shared = _shared(wrong, place, cases)
    k = np.arange(1, len(wrong) + 1)
    return RiskCoverage(k / max(len(wrong), 1), np.cumsum(shared) / k)


def _errors(error: npt.ArrayLike, confidence: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    wrong = as_scores(require_vector(error, "error"), np.size(error), "error")
    sure = as_scores(require_vector(confidence, "confidence"), len(wrong), "confidence")
    if wrong.size and not (wrong.min() >= 0.0 and np.isfinite(wrong).all()):
        raise TableError(
            "an error must be finite and not negative",
            where="error",
            remedy="give the error of each case as a number from 0",
        )
    return wrong, sure


def _shared(wrong: FloatArray, place: IntArray, cases: IntArray) -> FloatArray:
    """The mean error of each case's tie group, groups in the order of `place`."""
    if not len(wrong):
        return wrong
    return np.repeat(np.bincount(place, wrong) / cases, cases)


def aurc(error: npt.ArrayLike, confidence: npt.ArrayLike) -> float:
    """Area under the risk-coverage curve: the mean of `risk_coverage` over k; lower is better.

    Returns:
        Of errors 0 and 1 a number in 0..1, about the error rate where confidence says nothing; NaN without a case.
    """
    risk = risk_coverage(error, confidence).risk
    return float(risk.mean()) if len(risk) else math.nan


@dataclass(frozen=True, eq=False)
class RiskCoverageBand:
    """Risk over coverage on a grid, and the area below all of it, with limits by resampling groups.

    Attributes:
        coverage: [points], shares of the cases answered, above 0 up to 1. risk: [points], their mean error.
        low, high: [points], pointwise limits of `risk`; NaN where there are none.
        area, area_low, area_high: AURC, as `aurc` of the cases, and its limits.
        n, groups: what it rests on. method: of the limits, in words. reason: why there are no limits; else empty.
    """

    coverage: FloatArray
    risk: FloatArray
    low: FloatArray
    high: FloatArray
    area: float
    area_low: float
    area_high: float
    n: int
    groups: int
    method: str
    reason: str = ""


def risk_coverage_band(
    error: npt.ArrayLike,
    confidence: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    points: int = 100,
    replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    group: str = "group",
) -> RiskCoverageBand:
    """Risk over coverage and AURC of each resample of the groups, as of a table in which its cases stand that often.

    At a coverage c the most confident ceil(c n) cases of a resample are answered.

    Args:
        error, confidence: [n], as `risk_coverage`. groups: [n]. group: what one is, for the words of the method.
        points: the grid is 1 / points, 2 / points to 1.
        replicates, seed: as `group_bootstrap`. level: the share of the replicates between the limits.

    Raises:
        TableError: as `risk_coverage`; groups of another number than cases.
    """
    wrong, sure = _errors(error, confidence)
    codes, count = group_codes(groups, len(wrong))
    grid = np.arange(1, points + 1) / points
    method = describe(count, replicates, group)
    nothing = np.full(points, np.nan)
    if not len(wrong):
        reason = "no case"
        return RiskCoverageBand(
            grid, nothing, nothing, nothing, math.nan, math.nan, math.nan, 0, 0, method, reason
        )
    estimator = _answered(wrong, sure, codes, grid)
    whole = estimator(np.ones((1, count)))[0]
    low = high = np.full(points + 1, np.nan)
    reason = too_few(count, group) if count < 2 else ""
    if not reason:
        (values,) = replicate([estimator], count, items=len(wrong), replicates=replicates, seed=seed)
        low, high = expanded_band(values, count, level)
        reason = expanded_interval(values[:, 0], count, level).reason
    return RiskCoverageBand(
        grid, whole[1:], low[1:], high[1:], float(whole[0]), float(low[0]), float(high[0]), len(wrong), count, method,
        reason,
    )  # fmt: skip


def _answered(wrong: FloatArray, sure: FloatArray, units: IntArray, grid: FloatArray) -> Estimator:
    """The estimator of AURC, and of the risk at each coverage of a grid: [b, units] -> [b, 1 + points].

    Multiplicities are whole numbers. In a tie group that begins after C cases of summed error E, and whose mean error
    is r, the risk of C + i cases is r + (E - r C) / (C + i); summed over i that takes two harmonic numbers.
    """
    ranked = RankedSums(sure, units)

    def estimator(multiplicity: FloatArray) -> FloatArray:
        cases, errors = ranked.of(multiplicity, wrong)
        here, more = np.diff(cases, axis=1), np.diff(errors, axis=1)
        mean = np.divide(more, here, out=np.zeros_like(more), where=here > 0)
        ahead = errors[:, :-1] - mean * cases[:, :-1]
        total = cases[:, -1]
        harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1.0, total.max(initial=0.0) + 1.0))])
        steps = np.diff(harmonic[cases.astype(np.intp)], axis=1)
        found = np.full((len(total), 1 + len(grid)), np.nan)
        some = total > 0
        found[some, 0] = ((mean * here + ahead * steps).sum(axis=1))[some] / total[some]
        for row in np.flatnonzero(some):
            k = np.maximum(np.ceil(grid * total[row] - _WHOLE), 1.0)
            place = np.searchsorted(cases[row, 1:], k, side="left")
            found[row, 1:] = mean[row, place] + ahead[row, place] / k
        return found

    return estimator


class RankedSums:
    """Cases in the order of falling scores, those of equal score taken together.

    Args:
        scores: [n]. units: [n], the unit of each in 0..count-1, whose multiplicities are given later.
    """

    def __init__(self, scores: FloatArray, units: IntArray) -> None:
        self._order = np.argsort(-scores, kind="stable")
        self._units = units[self._order]
        ranked = scores[self._order]
        ends = np.append(ranked[1:] != ranked[:-1], True) if len(ranked) else np.zeros(0, np.bool_)
        self._last = np.flatnonzero(ends)

    def of(self, multiplicity: FloatArray, *values: FloatArray) -> list[FloatArray]:
        """The number of cases, and the sum of each of `values` ([n]), down to each distinct score.

        Args:
            multiplicity: [b, units].

        Returns:
            Arrays [b, 1 + distinct scores], each from 0 at a score above all.
        """
        drawn = np.take(multiplicity, self._units, axis=1)
        return [self._summed(drawn), *(self._summed(drawn * each[self._order]) for each in values)]

    def _summed(self, drawn: FloatArray) -> FloatArray:
        found = np.zeros((len(drawn), len(self._last) + 1))
        sums = np.cumsum(drawn, axis=1)
        found[:, 1:] = sums if len(self._last) == sums.shape[1] else sums[:, self._last]
        return found
