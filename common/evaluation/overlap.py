"""How far the volumes of two masks agree. Arrays in, numbers out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graftwork.common.errors import UsageError
from graftwork.common.evaluation.mask_values import binary_mask

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

__all__ = ["dice", "jaccard"]


def dice(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Twice the volume in common over the sum of both; NaN where both are empty.

    Args:
        truth, predicted: booleans (or 0 and 1) of one shape.

    Raises:
        UsageError: the shapes differ. TableError: a mask holds other values.
    """
    one, other = _masks(truth, predicted)
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else float("nan")


def jaccard(truth: ArrayLike, predicted: ArrayLike) -> float:
    """The volume in common over the volume of either; NaN where both are empty. Args and raises: as `dice`."""
    one, other = _masks(truth, predicted)
    total = int((one | other).sum())
    return int((one & other).sum()) / total if total else float("nan")


def _masks(truth: ArrayLike, predicted: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    one, other = binary_mask(truth, "truth"), binary_mask(predicted, "predicted")
    if one.shape != other.shape:
        raise UsageError(f"masks of {one.shape} and {other.shape} are not compared", where="overlap")
    return one, other
