"""What decisions by a probability are worth: net benefit and its curve, and operating points with their counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation.arrays import (
    BoolArray,
    Estimator,
    FloatArray,
    IntArray,
    as_binary,
    as_truth,
    divide,
    one_nan,
    ratio,
)
from graftwork.common.evaluation.intervals.bootstrap import (
    Interval,
    describe,
    expanded_band,
    expanded_interval,
    group_codes,
    replicate,
    too_few,
)
from graftwork.common.evaluation.intervals.independent_cases import wilson
from graftwork.common.evaluation.metrics.operating_points import Threshold
from graftwork.common.evaluation.tables.predictions import Question


def _thresholds(thresholds: npt.ArrayLike) -> FloatArray:
    values = np.atleast_1d(np.asarray(thresholds, np.float64))
    if values.ndim != 1 or not ((values >= 0.0) & (values < 1.0)).all():
        raise UsageError(
            "thresholds of a net benefit are probabilities of at least 0 and below 1", where="thresholds"
        )
    return values


def _benefit(
    truth: BoolArray, p: FloatArray, thresholds: FloatArray, units: IntArray, count: int
) -> Estimator:
    """The estimator of the net benefit at each threshold, [b, units] -> [b, T]; NaN where no case is drawn."""
    levels, place = np.unique(thresholds, return_inverse=True)
    width = len(levels) + 1
    reached = np.searchsorted(levels, p, side="right")  # how many thresholds are at or below p
    cell = units * width + reached
    called = [
        # p reaches the threshold number t where it reaches more than t of them
        np.cumsum(np.bincount(cell[kind], minlength=count * width).reshape(count, width)[:, ::-1], axis=1)[
            :, ::-1
        ][:, 1:]
        for kind in (truth, ~truth)
    ]
    worth = (called[0] - called[1] * (levels / (1.0 - levels)))[:, place]
    cases = np.bincount(units, minlength=count).astype(np.float64)
    return lambda multiplicity: divide(multiplicity @ worth, (multiplicity @ cases)[:, None])


def _benefit_of_all(truth: BoolArray, thresholds: FloatArray, units: IntArray, count: int) -> Estimator:
    """The estimator of the net benefit of treating every case, [b, units] -> [b, T]; NaN where no case is drawn."""
    share = ratio(truth, np.ones(len(truth)), units, count)
    odds = thresholds / (1.0 - thresholds)

    def estimator(multiplicity: FloatArray) -> FloatArray:
        positive = share(multiplicity)[:, None]
        return np.asarray(positive - (1.0 - positive) * odds)

    return estimator


def net_benefit(y: npt.ArrayLike, p: npt.ArrayLike, thresholds: npt.ArrayLike) -> FloatArray:
    """True positives less false ones, these weighed by the odds of the threshold, for each case: TP/N - FP/N t/(1-t).

    A case with p >= t is treated. To treat none is worth 0, to treat all `treat_all`.

    Args:
        y: [n], 0 or 1. p: [n], probabilities. thresholds: [T], at least 0 and below 1, in any order.

    Returns:
        [T], at most the share of positive cases; NaN without a case.

    Raises:
        UsageError: thresholds outside 0..1, or 1. TableError: NaN, probabilities outside 0..1, labels other than 0
            and 1, lengths that differ.

    Source: Vickers and Elkin, Medical Decision Making 26:565 (2006).
    """
    truth, scores = as_binary(y, p, "p", probability=True)
    one_unit = np.zeros(len(truth), np.intp)
    whole = _benefit(truth, scores, _thresholds(thresholds), one_unit, 1)(np.ones((1, 1)))
    return np.asarray(whole[0])


def treat_all(y: npt.ArrayLike, thresholds: npt.ArrayLike) -> FloatArray:
    """The net benefit of treating every case: share positive - share negative t/(1-t), [T]. As `net_benefit`."""
    truth = as_truth(y)
    return net_benefit(truth, np.ones(len(truth)), thresholds)


@dataclass(frozen=True, eq=False)
class DecisionCurve:
    """The net benefit over thresholds, with pointwise limits. To treat none is worth 0 everywhere.

    Attributes:
        thresholds: [T]. model, treat_all: [T], net benefits; NaN without a case.
        low, high, all_low, all_high: [T], pointwise limits of `model` and of `treat_all`; NaN where there are none.
        gain_low, gain_high: [T], the same of `model` less `treat_all`, both of the same drawn groups.
        n, positives, groups: what it rests on. method: of the limits, in words.
        reason: why there are no limits; else empty.
    """

    thresholds: FloatArray
    model: FloatArray
    treat_all: FloatArray
    low: FloatArray
    high: FloatArray
    all_low: FloatArray
    all_high: FloatArray
    gain_low: FloatArray
    gain_high: FloatArray
    n: int
    positives: int
    groups: int
    method: str
    reason: str = ""


def decision_curve(
    y: npt.ArrayLike,
    p: npt.ArrayLike,
    groups: npt.ArrayLike,
    thresholds: npt.ArrayLike | None = None,
    *,
    replicates: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    group: str = "group",
) -> DecisionCurve:
    """The net benefit of treating by p, and of treating all, over thresholds, with limits by the group bootstrap.

    Args:
        y: [n], 0 or 1. p: [n], probabilities. groups: [n]. group: what one is, for the words of the method.
        thresholds: [T], at least 0 and below 1; none: 0.01, 0.02 to 0.99. Show those at which somebody would decide.
        replicates, seed, confidence: as `group_bootstrap`.

    Raises:
        As `net_benefit`; TableError: groups of another number than cases.
    """
    truth, scores = as_binary(y, p, "p", probability=True)
    at = _thresholds(np.arange(1, 100) / 100 if thresholds is None else thresholds)
    codes, count = group_codes(groups, len(truth))
    model, every = _benefit(truth, scores, at, codes, count), _benefit_of_all(truth, at, codes, count)
    whole = np.ones((1, count))
    nothing = np.full(len(at), np.nan)
    limits = [(nothing, nothing)] * 3
    reason = too_few(count, group) if count < 2 else ""
    if not reason and len(at):
        found, base = replicate([model, every], count, items=len(at), replicates=replicates, seed=seed)
        limits = [expanded_band(values, count, confidence) for values in (found, base, found - base)]
    (low, high), (all_low, all_high), (gain_low, gain_high) = limits
    return DecisionCurve(
        thresholds=at,
        model=model(whole)[0],
        treat_all=every(whole)[0],
        low=low,
        high=high,
        all_low=all_low,
        all_high=all_high,
        gain_low=gain_low,
        gain_high=gain_high,
        n=len(truth),
        positives=int(truth.sum()),
        groups=count,
        method=describe(count, replicates, group),
        reason=reason,
    )


@dataclass(frozen=True)
class Share:
    """A share of cases with its counts.

    Attributes:
        value: hits / n; NaN where n is 0. hits, n: counts.
        low, high: Wilson's limits, which take cases as independent.
        group_low, group_high: limits by the group bootstrap; NaN where there are no groups to resample, or where
            over 5 % of the replicates are undefined.
        reason: why those are NaN; else empty.
    """

    value: float
    hits: int
    n: int
    low: float
    high: float
    group_low: float = math.nan
    group_high: float = math.nan
    reason: str = ""

    def __post_init__(self) -> None:
        one_nan(self, "value", "low", "high", "group_low", "group_high")


@dataclass(frozen=True)
class OperatingPoint:
    """What a threshold decides; scores at or above it are positive.

    Attributes:
        threshold: and where it comes from.
        sensitivity: TP of the positive cases. specificity: TN of the negative ones.
        ppv, npv: TP of those called positive, TN of those called negative; they hold at this `prevalence`.
        prevalence: the positive of all cases. called: those called positive, of all cases.
        groups: resampled for the further limits; 0 where none were given.
        reason: why there are no limits by groups at all; else empty.
    """

    threshold: Threshold
    sensitivity: Share
    specificity: Share
    ppv: Share
    npv: Share
    prevalence: Share
    called: Share
    groups: int = 0
    reason: str = ""


def operating_point_table(
    y: npt.ArrayLike,
    s: npt.ArrayLike,
    thresholds: Sequence[float | Threshold],
    groups: npt.ArrayLike | None = None,
    *,
    part: str = "",
    replicates: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> list[OperatingPoint]:
    """Sensitivity, specificity, PPV and NPV at given thresholds, each with its counts and limits.

    Args:
        y: [n], 0 or 1. s: [n], any numbers. thresholds: numbers fixed beforehand, or what `choose_threshold` chose on
            other cases.
        groups: [n]; where several cases are of one group, Wilson's limits are too narrow, and those by resampling
            groups are given beside them. None: Wilson's only.
        part: the part these cases are of; a threshold that was chosen on it is refused.
        replicates, seed, confidence: as `group_bootstrap`.

    Raises:
        UsageError: a threshold that was chosen on the part it is evaluated on. TableError: a threshold that is NaN;
            groups of another number than cases; or as `sensitivity`.
    """
    truth, scores = as_binary(y, s)
    chosen = [each if isinstance(each, Threshold) else Threshold(float(each), "fixed", chosen_on="")
              for each in thresholds]  # fmt: skip
    codes, count, reason = np.zeros(len(truth), np.intp), 0, "no groups were given"
    if groups is not None:
        codes, count = group_codes(groups, len(truth))
        reason = too_few(count) if count < 2 else ""
    question = Question("", np.arange(len(truth)), truth, scores, codes, count)
    return _points([question] * len(chosen), chosen, part, reason, replicates, seed, confidence)


def operating_points_of(
    questions: Sequence[Question],
    thresholds: Sequence[Threshold],
    *,
    part: str = "",
    replicates: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    group: str = "group",
) -> list[OperatingPoint]:
    """One operating point of each question at its own threshold, all limits from the same drawn groups.

    Args:
        questions: of the same cases, as `Cases.questions` gives them. thresholds: one for each.
        part, replicates, seed, confidence: as `operating_point_table`. group: what one is, for a reason.

    Raises:
        As `operating_point_table`.
    """
    count = questions[0].count if questions else 0
    reason = too_few(count, group) if count < 2 else ""
    return _points(questions, thresholds, part, reason, replicates, seed, confidence)


def _points(
    questions: Sequence[Question],
    thresholds: Sequence[Threshold],
    part: str,
    reason: str,
    replicates: int,
    seed: int,
    confidence: float,
) -> list[OperatingPoint]:
    for each in thresholds:
        if math.isnan(each.value):
            raise TableError("the threshold is NaN", where="threshold", remedy="choose one on validation")
        if part and each.chosen_on == part:
            raise UsageError(
                f"the threshold was chosen on part {part}, which is the evaluated part",
                where="threshold",
                remedy="choose it on another part",
            )
    asked = [_asked(*pair) for pair in zip(questions, thresholds, strict=True)]
    drawn: list[FloatArray] = []
    count = questions[0].count if questions else 0
    if not reason and asked:
        estimators = [
            ratio(np.stack([hits for hits, _ in six], axis=1), np.stack([among for _, among in six], axis=1),
                  question.units, count)
            for six, question in zip(asked, questions, strict=True)
        ]  # fmt: skip
        drawn = replicate(estimators, count, items=count, replicates=replicates, seed=seed)
    found = []
    for place, (six, threshold) in enumerate(zip(asked, thresholds, strict=True)):
        shares = []
        for column, (hits, among) in enumerate(six):
            k, n = int(hits.sum()), int(among.sum())
            low, high = wilson(k, n, confidence)
            limits = (
                Interval(math.nan, math.nan, 0, 0, reason)
                if reason
                else expanded_interval(drawn[place][:, column], count, confidence)
            )
            value = k / n if n else math.nan
            shares.append(Share(value, k, n, float(low), float(high), limits.low, limits.high, limits.reason))
        sensitivity, specificity, ppv, npv, prevalence, called = shares
        found.append(
            OperatingPoint(threshold, sensitivity, specificity, ppv, npv, prevalence, called, count, reason)
        )
    return found


def _asked(question: Question, threshold: Threshold) -> list[tuple[BoolArray, BoolArray]]:
    """Which cases count, and among which, for each share of an `OperatingPoint` in its order."""
    truth, decided = question.truth, question.scores >= threshold.value
    everyone = np.ones(len(truth), np.bool_)
    return [
        (truth & decided, truth),
        (~truth & ~decided, ~truth),
        (truth & decided, decided),
        (~truth & ~decided, ~decided),
        (truth, everyone),
        (decided, everyone),
    ]
