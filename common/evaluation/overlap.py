"""How far two masks agree: volumes in common, and how far their surfaces lie apart. Arrays in, numbers out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graftwork.common.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["dice", "hausdorff_95", "jaccard"]


def dice(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Twice the volume in common over the sum of both; NaN where both are empty."""
    one, other = _masks(truth, predicted)
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else float("nan")


def jaccard(truth: ArrayLike, predicted: ArrayLike) -> float:
    """The volume in common over the volume of either; NaN where both are empty."""
    one, other = _masks(truth, predicted)
    total = int((one | other).sum())
    return int((one & other).sum()) / total if total else float("nan")


def hausdorff_95(truth: ArrayLike, predicted: ArrayLike, spacing: Sequence[float]) -> float:
    """The distance within which 95 % of each surface lies of the other one; NaN where a mask is empty.

    The larger of the two directed 95th percentiles (linear interpolation) of the distances from each surface voxel
    of one mask to the nearest surface voxel of the other, between centres: as
    `monai.metrics.compute_hausdorff_distance(percentile=95, spacing=...)`. Other programs take the percentile of
    both lists together, or weigh by the area of the surface, and report other numbers under the same name. A voxel
    lies on the surface where one of its neighbours along the axes is not in the mask or is off the grid. An axis of
    length 1 has no neighbours to speak of and is left out.

    Args:
        truth, predicted: booleans, [X, Y, Z] or [X, Y].
        spacing: mm along each axis; the result is in mm.

    Raises:
        UsageError: shapes or spacing do not fit.
    """
    from scipy.ndimage import binary_erosion
    from scipy.spatial import KDTree

    one, other = _masks(truth, predicted)
    sides = np.asarray(spacing, np.float64)
    if sides.shape != (one.ndim,) or not (np.isfinite(sides) & (sides > 0)).all():
        raise UsageError(
            f"one positive spacing an axis, not {tuple(spacing)} for {one.ndim} axes", where="spacing"
        )
    if not one.any() or not other.any():
        return float("nan")
    thin = tuple(axis for axis, length in enumerate(one.shape) if length == 1)
    one, other, sides = one.squeeze(thin), other.squeeze(thin), np.delete(sides, thin)
    if not one.ndim:
        return 0.0
    box = _box(one | other)  # beyond it is nothing, so that what touches its border is a surface
    places = [np.argwhere(mask[box] & ~binary_erosion(mask[box])) * sides for mask in (one, other)]
    # surfaces are few against the volume: a tree of them is searched several times faster than distances are mapped
    trees = [KDTree(each, balanced_tree=False) for each in places]
    directed = (trees[1].query(places[0])[0], trees[0].query(places[1])[0])
    return max(float(np.percentile(distances, 95)) for distances in directed)


def _masks(truth: ArrayLike, predicted: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    one, other = np.asarray(truth), np.asarray(predicted)
    if one.shape != other.shape:
        raise UsageError(f"masks of {one.shape} and {other.shape} are not compared", where="overlap")
    return one.astype(bool), other.astype(bool)


def _box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """The smallest box that holds all of a mask that is not empty."""
    box = []
    for axis in range(mask.ndim):
        others: Any = tuple(each for each in range(mask.ndim) if each != axis)
        there = np.flatnonzero(mask.any(axis=others))
        box.append(slice(int(there[0]), int(there[-1]) + 1))
    return tuple(box)
