"""Checked arrays, and the *estimator*: a metric that is prepared once and then computed for many resamples.

A bootstrap replicate is a row of multiplicities: how often each unit (a group, or a single item) was drawn.
An estimator takes such rows, [b, units], and returns the metric of each, [b] (or [b, points] for a curve); NaN
where it is undefined. It sorts and counts by group once, so a replicate is cheap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from graftwork.common.errors import TableError, UsageError

Array: TypeAlias = npt.NDArray[Any]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.intp]
Estimator: TypeAlias = Callable[[FloatArray], FloatArray]


def require_vector(values: npt.ArrayLike, name: str) -> Array:
    """`values` as an array of one dimension.

    Raises:
        TableError: another number of dimensions.
    """
    found = np.asarray(values)
    if found.ndim != 1:
        raise TableError(
            f"{name} must have one dimension, its shape is {found.shape}",
            where=name,
            remedy="give one value for each case",
        )
    return found


def require_length(found: int, n: int, name: str) -> None:
    """Raise a TableError where the number of values differs from the number of cases."""
    if found != n:
        raise TableError(
            f"{name} has {found} values for {n} cases", where=name, remedy="give one value for each case"
        )


def require_choice(value: object, known: Iterable[str], where: str) -> None:
    """Raise a UsageError where an argument is none of the known values."""
    names = tuple(known)
    if value not in names:
        raise UsageError(f"one of {', '.join(names)}, not {value!r}", where=where, remedy="name one of these")


def one_nan(record: object, *names: str) -> None:
    """Make NaN in these fields of a frozen record the same object, so that equal records compare equal."""
    for name in names:
        if math.isnan(getattr(record, name)):
            object.__setattr__(record, name, math.nan)


def as_truth(y: npt.ArrayLike, name: str = "y") -> BoolArray:
    """`y`, [n] of 0 and 1 (or False and True), as bool.

    Raises:
        TableError: not one-dimensional, or another value than 0 and 1 (unknown labels are masked beforehand).
    """
    found = require_vector(y, name)
    if found.dtype == np.bool_:
        return found
    if found.size == 0:
        return np.zeros(0, dtype=np.bool_)
    if not np.issubdtype(found.dtype, np.number):
        raise TableError(
            f"{name} must hold 0 and 1, it holds {found.dtype}",
            where=name,
            remedy="give 0 and 1, or False and True",
        )
    odd = np.unique(found[(found != 0) & (found != 1)])
    if odd.size:
        values = ", ".join(f"{value:g}" for value in odd[:5])
        raise TableError(
            f"{name} must hold 0 and 1, it holds {values}",
            where=name,
            remedy="remove unknown labels (NaN, -1) first",
        )
    return found.astype(np.bool_)


def as_scores(s: npt.ArrayLike, n: int, name: str = "s", *, probability: bool = False) -> FloatArray:
    """`s` as float64, with `n` rows and no NaN; within 0..1 for probabilities.

    Raises:
        TableError: not numbers, another length than `n`, NaN, or outside 0..1.
    """
    found = np.asarray(s)
    if found.size and not (np.issubdtype(found.dtype, np.number) or found.dtype == np.bool_):
        raise TableError(
            f"{name} must hold numbers, it holds {found.dtype}", where=name, remedy="convert it to numbers"
        )
    values = found.astype(np.float64)
    if values.ndim not in (1, 2) or len(values) != n:
        raise TableError(
            f"{name} must have {n} rows, its shape is {values.shape}",
            where=name,
            remedy="give one row for each case",
        )
    missing = int(np.isnan(values).sum())
    if missing:
        raise TableError(
            f"{missing} of {values.size} values of {name} are NaN",
            where=name,
            remedy="check why the model gave no number",
        )
    if probability and values.size and not (values.min() >= 0 and values.max() <= 1):
        raise TableError(
            f"{name} must hold probabilities in 0..1, it ranges from {values.min():g} to {values.max():g}",
            where=name,
            remedy="give probabilities (AUROC accepts any scores)",
        )
    return values


def as_binary(
    y: npt.ArrayLike, s: npt.ArrayLike, name: str = "s", *, probability: bool = False
) -> tuple[BoolArray, FloatArray]:
    """Truth and scores of two classes, [n] each; scores may be one column, [n, 1].

    Raises:
        TableError: as `as_truth` and `as_scores`; several scores for each case.
    """
    truth = as_truth(y)
    scores = as_scores(s, len(truth), name, probability=probability)
    column = scores.ndim == 2 and scores.shape[1] == 1
    return truth, require_vector(scores[:, 0] if column else scores, name)


def divide(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """The quotient; NaN where the denominator is 0."""
    above, below = np.broadcast_arrays(numerator, denominator)
    quotient = np.full(above.shape, np.nan)
    np.divide(above, below, out=quotient, where=below > 0)
    return quotient


def by_unit(values: Array, units: IntArray, count: int) -> FloatArray:
    """The sum of `values` ([n] or [n, k]) in each of `count` units: [units] or [units, k]."""
    if values.ndim == 1:
        return np.bincount(units, values, count).astype(np.float64, copy=False)
    sums = np.zeros((count, values.shape[1]))
    for column in range(values.shape[1]):
        sums[:, column] = np.bincount(units, values[:, column], count)
    return sums


def ratio(numerator: Array, denominator: Array, units: IntArray, count: int) -> Estimator:
    """The estimator of a quotient of two sums over items ([n] or [n, k]); NaN where nothing is counted."""
    above, below = by_unit(numerator, units, count), by_unit(denominator, units, count)
    return lambda multiplicity: divide(multiplicity @ above, multiplicity @ below)


def answer(estimator: Estimator, n: int, weights: npt.ArrayLike | None) -> Any:
    """An estimator over single items computed once: a float for no weights or [n], an array [B] for [B, n].

    Raises:
        TableError: weights of another length, negative or NaN.
    """
    if weights is None:
        return float(estimator(np.ones((1, n)))[0])
    rows = np.asarray(weights, dtype=np.float64)
    if rows.ndim not in (1, 2) or rows.shape[-1] != n:
        raise TableError(
            f"weights must have the shape [{n}] or [B, {n}], they have {rows.shape}",
            where="weights",
            remedy="give one weight for each case or group",
        )
    if rows.size and not rows.min() >= 0:
        raise TableError(
            "weights must be 0 or more",
            where="weights",
            remedy="remove negative, infinite and missing weights",
        )
    values = estimator(np.atleast_2d(rows))
    return float(values[0]) if rows.ndim == 1 else values
