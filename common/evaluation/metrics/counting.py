"""Counts of animals and sets of species in a sequence, and the filter that spares people the empty ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation.arrays import (
    Array,
    BoolArray,
    Estimator,
    FloatArray,
    IntArray,
    answer,
    as_binary,
    as_truth,
    divide,
    ratio,
)
from graftwork.common.evaluation.intervals.bootstrap import group_codes
from graftwork.common.evaluation.metrics.operating_points import Threshold
from graftwork.common.evaluation.metrics.registry import METRICS, function_of
from graftwork.common.evaluation.results import Cell
from graftwork.common.evaluation.tables.prediction_arrays import (
    absent,
    faulty_cases,
    has_groups,
    numbers,
    refuse,
    row_faults,
    text_of,
)

if TYPE_CHECKING:
    import pandas as pd


# The least count of each bin: 1 to 10 each by itself, 11-50, 51 and more (Norouzzadeh et al., PNAS 115:E5716, 2018).
COUNT_BINS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 51)
_ROUNDING = 1e-12  # a share that equals the target but for rounding has not passed it


def count_bin(count: npt.ArrayLike, bins: Sequence[int] = COUNT_BINS) -> IntArray:
    """The bin of each count, from 0.

    Args:
        count: whole numbers, of any shape. bins: the least count of each bin, rising; the last one is open.

    Returns:
        Bins, of the shape of `count`.

    Raises:
        TableError: a count that is no whole number, NaN, or below the first bin. UsageError: bins that do not rise.
    """
    edges = np.asarray(bins)
    if edges.ndim != 1 or not len(edges) or not (np.diff(edges) > 0).all():
        raise UsageError("the least count of each bin, rising, was expected", where="bins")
    values = _whole(count, "count")
    if values.size and values.min() < edges[0]:
        raise TableError(
            f"the bins begin at {edges[0]}, a count is {values.min():g}",
            where="count",
            remedy="leave out events without an animal, or give bins that begin at 0",
        )
    return np.asarray(np.searchsorted(edges, values, side="right") - 1, dtype=np.intp)


def _numbers(values: npt.ArrayLike, name: str) -> FloatArray:
    found = np.asarray(values)
    if found.size and not (np.issubdtype(found.dtype, np.number) or found.dtype == np.bool_):
        raise TableError(
            f"{name} must hold numbers, it holds {found.dtype}", where=name, remedy="convert it to numbers"
        )
    numbers = found.astype(np.float64)
    missing = int((~np.isfinite(numbers)).sum())
    if missing:
        raise TableError(
            f"{missing} of {numbers.size} values of {name} are no finite numbers",
            where=name,
            remedy="every sequence needs a count; one that is missing is not 0",
        )
    return numbers


def _whole(values: npt.ArrayLike, name: str) -> FloatArray:
    numbers = _numbers(values, name)
    if not ((numbers >= 0) & (numbers == np.round(numbers))).all():
        raise TableError(
            f"{name} must hold whole numbers from 0", where=name, remedy="give counts, such as 0, 1 and 2"
        )
    return numbers


def _pair(one: FloatArray | BoolArray, other: FloatArray | BoolArray, dimensions: int) -> None:
    if one.shape != other.shape or one.ndim != dimensions:
        shape = "[n]" if dimensions == 1 else "[n, species]"
        raise TableError(
            f"truth and predicted must both have the shape {shape}, they have {one.shape} and {other.shape}",
            where="predicted",
            remedy="give truth and predicted of the same shape",
        )


def _mean(values: FloatArray | BoolArray, weights: FloatArray | None) -> Any:
    n = len(values)
    return answer(ratio(values, np.ones(n), np.arange(n), n), n, weights)


def _apart(truth: npt.ArrayLike, predicted: npt.ArrayLike, bins: Sequence[int] | None) -> FloatArray:
    """How far apart counts are, in bins, or without bins in animals: [n]."""
    one, other = _whole(truth, "truth"), _whole(predicted, "predicted")
    _pair(one, other, 1)
    if bins is None:
        return np.abs(one - other)
    apart: FloatArray = np.abs(count_bin(one, bins) - count_bin(other, bins)).astype(np.float64)
    return apart


def exact(
    truth: npt.ArrayLike,
    predicted: npt.ArrayLike,
    bins: Sequence[int] | None = COUNT_BINS,
    *,
    weights: FloatArray | None = None,
) -> Any:
    """Share of events whose count falls into the right bin.

    Args:
        truth, predicted: [n], whole numbers. bins: as `count_bin`; None: the numbers themselves must be equal.
        weights: none, [n] or [B, n].

    Returns:
        A float in 0..1, or [B]; NaN without an event. All events count alike: no means over batches.

    Raises:
        As `count_bin`; TableError: lengths that differ, weights that do not fit.

    Source: Norouzzadeh et al., PNAS 115:E5716 (2018).
    """
    return _mean(_apart(truth, predicted, bins) == 0, weights)


def within_one_bin(
    truth: npt.ArrayLike,
    predicted: npt.ArrayLike,
    bins: Sequence[int] = COUNT_BINS,
    *,
    weights: FloatArray | None = None,
) -> Any:
    """Share of events whose count falls into the right bin or one beside it. As `exact`."""
    return _mean(_apart(truth, predicted, bins) <= 1, weights)


def mae(truth: npt.ArrayLike, predicted: npt.ArrayLike, *, weights: FloatArray | None = None) -> Any:
    """Mean absolute error over sequences.

    Args:
        truth, predicted: [n], any finite numbers. weights: none, [n] or [B, n].

    Returns:
        A float from 0, in animals, or [B]; NaN without a sequence.

    Raises:
        TableError: a count that is missing (NaN), lengths that differ, weights that do not fit.
    """
    one, other = _numbers(truth, "truth"), _numbers(predicted, "predicted")
    _pair(one, other, 1)
    return _mean(np.abs(one - other), weights)


def rmse(truth: npt.ArrayLike, predicted: npt.ArrayLike, *, weights: FloatArray | None = None) -> Any:
    """Root of the mean squared error over sequences. As `mae`."""
    one, other = _numbers(truth, "truth"), _numbers(predicted, "predicted")
    _pair(one, other, 1)
    found = np.sqrt(_mean(np.square(one - other), weights))
    return float(found) if found.ndim == 0 else found


def mcrmse(truth: npt.ArrayLike, predicted: npt.ArrayLike, *, weights: FloatArray | None = None) -> Any:
    """Mean over species of the root of the mean squared error over sequences.

    Args:
        truth, predicted: [n, S], counts of each species; one that is not there is 0. weights: none, [n] or [B, n].

    Returns:
        A float from 0, in animals, or [B]; NaN without a sequence or a species. Times S sqrt(n) it is the SCRSSE
        that the iWildCam competition of 2021 was scored by.

    Raises:
        As `mae`.
    """
    one, other = _numbers(truth, "truth"), _numbers(predicted, "predicted")
    _pair(one, other, 2)
    n, species = one.shape
    if not species:
        return answer(lambda rows: np.full(len(rows), np.nan), n, weights)
    squares = ratio(np.square(one - other), np.ones((n, species)), np.arange(n), n)
    return answer(lambda rows: np.sqrt(squares(rows)).mean(axis=1), n, weights)


def set_jaccard(truth: npt.ArrayLike, predicted: npt.ArrayLike, *, weights: FloatArray | None = None) -> Any:
    """Mean over events of the species in common over the species in either; 1 where both sets are empty.

    Args:
        truth, predicted: [n, S], bool or 0 and 1. weights: none, [n] or [B, n].

    Returns:
        A float in 0..1, or [B]; NaN without an event.

    Raises:
        TableError: other values than 0 and 1, shapes that differ, weights that do not fit.
    """
    sets = []
    for name, values in (("truth", truth), ("predicted", predicted)):
        found = np.asarray(values)
        if found.ndim != 2:
            raise TableError(
                f"{name} must have the shape [n, species], it has {found.shape}",
                where=name,
                remedy="give one row for each case and one column for each species",
            )
        sets.append(as_truth(found.ravel(), name).reshape(found.shape))
    one, other = sets
    _pair(one, other, 2)
    common, either = (one & other).sum(axis=1), (one | other).sum(axis=1)
    return _mean(np.where(either > 0, common / np.maximum(either, 1), 1.0), weights)


class EmptyFilter(NamedTuple):
    """What a filter does at each threshold: frames with a score below it are put aside unseen.

    thresholds: [T], the distinct scores, rising, and last an infinite one. missed: [T], share of the frames with an
    animal that are put aside; NaN without any. seen: [T], share of all frames that a person must still see; NaN
    without a frame.
    """

    thresholds: FloatArray
    missed: FloatArray
    seen: FloatArray


def empty_filter_curve(animal: npt.ArrayLike, score: npt.ArrayLike) -> EmptyFilter:
    """Animals missed, and frames still to be seen, at every threshold of a filter of empty frames.

    Args:
        animal: [n], bool or 0 and 1: whether there is one. score: [n], higher where one is likelier; kept if
            score >= threshold. Of events, give the largest score of an event's frames.

    Returns:
        An `EmptyFilter`; as thresholds rise, `missed` rises from 0 to 1 and `seen` falls from 1 to 0.

    Raises:
        TableError: NaN among the scores, other values than 0 and 1, lengths that differ.
    """
    truth, scores = as_binary(animal, score, "score")
    levels = np.unique(scores[np.isfinite(scores) | (scores < 0)])
    thresholds = np.append(levels, np.inf)
    missed = np.searchsorted(np.sort(scores[truth]), thresholds, side="left").astype(np.float64)
    below = np.searchsorted(np.sort(scores), thresholds, side="left")
    return EmptyFilter(
        thresholds,
        divide(missed, np.array(float(truth.sum()))),
        divide((len(scores) - below).astype(np.float64), np.array(float(len(scores)))),
    )


def empty_threshold(
    animal: npt.ArrayLike, score: npt.ArrayLike, target: float, *, part: str = "validation"
) -> Threshold:
    """The largest threshold below which at most a share `target` of the animals lies.

    Fix it on validation, and report on other cases what share of animals it misses there, and of empties it removes.

    Args:
        animal, score: as `empty_filter_curve`. target: the share of animals that may be missed, in 0..1.
        part: the part these cases are of; the threshold carries it, and evaluating on it is refused.

    Returns:
        A `Threshold` by the rule "sensitivity", of the target 1 - `target`, with the sensitivity reached here and
        the share of empties removed as its specificity (NaN without an empty frame). Its value is infinite where
        all animals may be missed, and NaN, with the reason, without an animal.

    Raises:
        UsageError: a target outside 0..1. TableError: as `empty_filter_curve`.
    """
    if not 0.0 <= target <= 1.0:
        raise UsageError(f"the target must be in 0..1, it is {target}", where="target")
    truth, scores = as_binary(animal, score, "score")
    above, below = np.sort(scores[truth]), np.sort(scores[~truth])
    n, animals, empties = len(truth), len(above), len(below)
    aim = 1.0 - target
    if not animals:
        reason = f"no threshold could be chosen: no animal in part {part}"
        return Threshold(math.nan, "sensitivity", aim, part, n, 0, reason=reason)
    # of k animals that may be missed the next one's score: anything above it would miss that one too
    may = int(np.flatnonzero(np.arange(animals + 1) / animals <= target + _ROUNDING)[-1])
    value = float(above[may]) if may < animals else math.inf
    return Threshold(
        value,
        "sensitivity",
        aim,
        part,
        n,
        animals,
        float((above >= value).mean()),
        float((below < value).mean()) if empties else math.nan,
    )


@dataclass(frozen=True, eq=False)
class Counted:
    """The cases of one part whose number is known: truth and prediction, [n], and the group of each."""

    truth: FloatArray
    predicted: FloatArray
    groups: Array
    excluded: int = 0

    def __len__(self) -> int:
        return len(self.truth)

    @cached_property
    def units(self) -> tuple[IntArray, int]:
        """The group of each case as a number, and how many groups there are."""
        return group_codes(self.groups)


def read_counts(frame: pd.DataFrame, part: str, *, group: str = "group") -> Counted:
    """The cases of a part; the whole table is checked first.

    Raises:
        TableError: all faults at once: columns or cases missing or twice, numbers that are none, negative or broken
            truth, a prediction that is missing.
    """
    faults, case = row_faults(frame, ["target", "predicted"], group)
    if case is not None and {"target", "predicted"} <= set(frame.columns):
        truth, odd = numbers(frame["target"])
        wrong = odd | (~np.isnan(truth) & ((truth < 0) | (truth != np.round(truth))))
        faults += faulty_cases("target is not a whole number of 0 or more", wrong, case)
        predicted, odd = numbers(frame["predicted"])
        faults += faulty_cases(
            "predicted is not a number of 0 or more", odd | (predicted < 0) | np.isinf(predicted), case
        )
        faults += faulty_cases("predicted is missing", absent(text_of(frame["predicted"])), case)
    refuse(frame, faults)
    rows = frame[text_of(frame["part"]) == part]
    rows = rows.iloc[np.argsort(text_of(rows["case"]).astype(str), kind="stable")]
    truth, predicted = numbers(rows["target"])[0], numbers(rows["predicted"])[0]
    groups = text_of(rows[group]) if has_groups(frame, group) else text_of(rows["case"])
    known = ~np.isnan(truth)
    return Counted(truth[known], predicted[known], groups[known].astype(str), int((~known).sum()))


def counted_cells(metric: str, found: Counted) -> list[Cell]:
    """A metric of counts as a cell."""
    units, count = found.units
    each = function_of(metric, "count", "counts")(found.truth, found.predicted)
    mean = ratio(each, np.ones(len(each)), units, count)
    if not len(found):
        return [Cell(metric, "", 0, None, count, None, "no case with a known number")]
    estimator: Estimator = (lambda drawn: np.sqrt(mean(drawn))) if METRICS[metric].root else mean
    return [Cell(metric, "", len(found), None, count, estimator)]
