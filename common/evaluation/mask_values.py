"""What the values of a mask mean: which belong to the foreground, and which are no values of a mask."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation.arrays import BoolArray
from graftwork.common.wording import and_list, short_list

# The foreground of a mask of two values, as programs write it: a number, 8 bits full, 16 bits full.
SCALES = (1, 255, 65535)


@dataclass(frozen=True, eq=False)
class Foreground:
    """What is in a mask of one region.

    Attributes:
        mask: booleans, of the shape of the values.
        scale: "empty" (0 alone), "0/1", "0/255", "0/65535", "grey" (of 8 or 16 bits), "faint" (of grey levels, none of
            them above the threshold) or "labels" (a threshold below 1: whatever is above it).
        grey: pixels that hold neither 0 nor the full value.
    """

    mask: BoolArray
    scale: str
    grey: int = 0


def foreground(values: npt.ArrayLike, above: float, *, graded: bool = True, name: str = "mask") -> Foreground:
    """What is in a mask by its values, whatever their scale.

    A mask of 0 alone is empty. One of 0 and 1, of 0 and 255, or of 0 and 65535 has the other value as its foreground.
    Any other is of grey levels up to 255, or up to 65535 where it holds 65535: in it is what lies above `above`, which
    is of 255. A threshold below 1 takes whatever is above it. Booleans are the mask itself.

    Args:
        values: whole numbers. above: 0 to 255. graded: whether they may be levels of grey. name: for messages.

    Raises:
        TableError: they are no whole numbers, are negative, or neither of two values nor levels of grey.
    """
    found = np.asarray(values)
    if found.dtype == np.bool_:
        return Foreground(found, "0/1")
    there = _values(found, name)
    if not there or there == [0]:
        return Foreground(np.zeros(found.shape, np.bool_), "empty")
    if there[0] < 0:
        raise TableError(
            f"its lowest value is {there[0]}, expected 0 or more",
            where=name,
            remedy="save the mask as 0 and 255",
        )
    if above < 1:
        return Foreground(np.asarray(found > above), "labels")
    rest = [value for value in there if value]
    if len(rest) == 1 and rest[0] in SCALES:
        return Foreground(np.asarray(found != 0), f"0/{rest[0]}")
    top = 255 if rest[-1] <= 255 else 65535
    if not graded or (top == 65535 and rest[-1] != top):
        raise TableError(
            f"it holds {short_list(there)}; expected two values (0 and 1, or 0 and 255)"
            + (", or levels of grey" if graded else ""),
            where=name,
            remedy="save the mask as 0 and 255, or name a protocol that knows these labels",
        )
    grey = int(((found != 0) & (found != top)).sum())
    mask = np.asarray(found > (above if top == 255 else above * 257))
    return Foreground(mask, "grey" if mask.any() else "faint", grey)


def binary_mask(mask: npt.ArrayLike, name: str) -> BoolArray:
    """A mask of booleans, or of 0 and 1, as booleans.

    Raises:
        TableError: it holds anything else.
    """
    found = np.asarray(mask)
    if found.dtype == np.bool_:
        return found
    require_values(found, (0, 1), name, "compare one label at a time: mask == label")
    return np.asarray(found != 0)


def mask_pair(truth: npt.ArrayLike, predicted: npt.ArrayLike, where: str) -> tuple[BoolArray, BoolArray]:
    """Two masks of one shape as booleans.

    Raises:
        UsageError: the shapes differ. TableError: a mask holds other values than 0 and 1.
    """
    one, other = binary_mask(truth, "truth"), binary_mask(predicted, "predicted")
    if one.shape != other.shape:
        raise UsageError(
            f"masks of {one.shape} and {other.shape} are not compared",
            where=where,
            remedy="give two of one shape",
        )
    return one, other


def require_values(
    mask: npt.ArrayLike, known: Iterable[int], name: str, remedy: str = "correct the mask, or name its labels"
) -> None:
    """Raise a TableError where a mask holds a value that is not one of those known."""
    allowed = set(known)
    found = np.asarray(mask)
    if found.dtype.kind in "iu":  # for a large volume, this search is far quicker than sorting all values
        found = found[~np.isin(found, sorted(allowed))]
    odd = [value for value in _values(found, name) if value not in allowed]
    if odd:
        listed = list(map(str, sorted(allowed)))
        expected = f"{listed[0]} to {listed[-1]}" if len(listed) > 8 else and_list(listed)
        raise TableError(f"it must hold {expected}, it holds {short_list(odd)}", where=name, remedy=remedy)


def _values(found: npt.NDArray[np.generic], name: str) -> list[int]:
    """The different values of a mask, in order."""
    if found.dtype.kind not in "biuf":
        raise TableError(
            f"a mask is of numbers, not of {found.dtype}", where=name, remedy="give an array of labels"
        )
    there = np.unique(found)
    if found.dtype.kind == "f":
        odd = there[~np.isfinite(there) | (there != np.rint(there))]
        if odd.size:
            shown = ", ".join(f"{value:.4g}" for value in odd[:5].tolist())
            raise TableError(
                f"it must hold whole numbers, it holds {shown}",
                where=name,
                remedy="apply a threshold first, such as probabilities > 0.5",
            )
    return [int(value) for value in there.tolist()]
