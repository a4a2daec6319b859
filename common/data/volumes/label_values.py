"""The values of a mask as integers: never through a type that cannot hold them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graftwork.common.errors import ImageError

_KINDS = (np.uint8, np.int16, np.int32, np.int64)
_EXACT = 2**53  # float64 holds every whole number up to here
# A slope such as 0.1 is stored as float32, whose relative error is 6e-8: beyond, it could lead to another whole number.
_SCALED = 2**23
_SLACK = 1e-3  # what scaling may be away from a whole number


def whole_numbers(
    stored: NDArray[Any], where: str, slope: float = 1.0, intercept: float = 0.0
) -> NDArray[np.integer[Any]]:
    """`stored * slope + intercept` as the smallest of uint8, int16, int32 and int64 that holds all of it.

    Integers with a whole slope and intercept never pass through floating point numbers. Other values may be up to
    0.001 away from a whole number, which scaling leads to.

    Args:
        stored: integers or floating point numbers, [H, W] or [X, Y, Z]. where: the file, for messages.

    Raises:
        ImageError: values that are not finite or not whole (the mask was interpolated, or is none), or too large.
    """
    if not stored.size:
        return stored.astype(np.uint8)
    whole = float(slope).is_integer() and float(intercept).is_integer()
    if stored.dtype.kind in "iub" and whole:
        times, plus = int(slope), int(intercept)
        ends = [int(stored.min()) * times + plus, int(stored.max()) * times + plus]
        found = np.empty(stored.shape, _smallest(min(ends), max(ends), where), order="F")
        for place in _pieces(stored):
            piece = stored[place]
            found[place] = piece if (times, plus) == (1, 0) else piece.astype(np.int64) * times + plus
        return found
    low, high = _ends(stored, where, slope, intercept, _EXACT if whole else _SCALED)
    found = np.empty(stored.shape, _smallest(low, high, where), order="F")
    for place in _pieces(stored):
        found[place] = np.rint(_scaled(stored[place], slope, intercept))
    return found


def _ends(stored: NDArray[Any], where: str, slope: float, intercept: float, most: int) -> tuple[int, int]:
    """The lowest and the highest value, once all are known to be whole."""
    odd = infinite = 0
    example = low = high = 0.0
    first = True
    for place in _pieces(stored):
        values = _scaled(stored[place], slope, intercept)
        finite = np.isfinite(values)
        infinite += int((~finite).sum())
        values = values[finite]
        away = np.abs(values - np.rint(values)) > _SLACK
        if away.any() and not odd:
            example = float(values[away][0])
        odd += int(away.sum())
        if values.size:
            low, high = (
                (float(values.min()), float(values.max()))
                if first
                else (min(low, float(values.min())), max(high, float(values.max())))
            )
            first = False
    if infinite:
        raise ImageError(
            f"{infinite:,} of {stored.size:,} values are not a number",
            where=where,
            stage="content",
            remedy="replace them in the file, or leave it out",
        )
    if max(-low, high) > most and not (odd and most == _EXACT):
        raise ImageError(
            f"its values reach {max(-low, high):,.0f}; stored like this, whole numbers are exact up to {most:,}",
            where=where,
            stage="content",
            remedy="save the labels as integers, without a slope",
        )
    if odd:
        raise ImageError(
            f"{odd:,} of {stored.size:,} values are no whole numbers, such as {example:.4g}; "
            "a mask has one value a class",
            where=where,
            stage="content",
            remedy="make it again with nearest-neighbour interpolation, or name the mask instead of an image",
        )
    return round(low), round(high)


def _scaled(values: NDArray[Any], slope: float, intercept: float) -> NDArray[np.float64]:
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is counted by the caller
        found: NDArray[np.float64] = values.astype(np.float64)
        return found if (slope, intercept) == (1.0, 0.0) else found * slope + intercept


def _smallest(low: int, high: int, where: str) -> type[np.integer[Any]]:
    for kind in _KINDS:
        if low >= np.iinfo(kind).min and high <= np.iinfo(kind).max:
            return kind
    raise ImageError(
        f"its values reach from {low:,} to {high:,}, which passes 64 bits",
        where=where,
        stage="content",
        remedy="number the labels from 0",
    )


def _pieces(array: NDArray[Any]) -> Iterator[Any]:
    """All of an image, a volume slice by slice: float64 of the whole would be several times the file."""
    if array.ndim < 3:
        yield ...
        return
    for last in range(array.shape[-1]):
        yield (..., last)
