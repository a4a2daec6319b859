"""How far apart the surfaces of two masks lie: Hausdorff distances, mean distances, normalised surface Dice.

Programs that report these under one name take the surface to be different things, and so differ:

- *voxels*: a voxel of the mask with a neighbour along an axis that is not in it, or is off the grid; every one
  counts the same, and is at its centre (MONAI, MedPy, MetricsReloaded, nnU-Net).
- *surfels*: the corners of voxels whose 2 x 2 x 2 (in a plane 2 x 2) voxels lie partly in the mask; each counts
  by the area in mm² of the surface that marching cubes would lay there (in a plane its length in mm).
  This is google-deepmind/surface-distance.

Each function says which definition it follows; masks and spacing are as of `Surfaces`, which finds the distances once
for several metrics. (Where two places are equally near but for rounding, either may be taken.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, cached_property
from itertools import permutations, product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt
from scipy.spatial import KDTree

from graftwork.common.errors import UsageError
from graftwork.common.evaluation.arrays import BoolArray, FloatArray, IntArray, require_choice
from graftwork.common.evaluation.mask_values import mask_pair

HAUSDORFFS_95 = ("max-of-directed", "pooled", "surfel-weighted")
AVERAGE_DISTANCES = ("pooled", "mean-of-directed")
SURFACE_DICES = ("surfel", "voxel", "fraction-mean")

# The triangles of marching cubes in each of the twelve ways, but for turning, mirroring and exchanging inside and
# outside, in which a surface can cut a cube between eight voxel centres: the sizes of their normals along the axes
# in eighths of a side (the length of a normal is the area). A key is the cube in reading order, the first voxel the
# highest bit. Surfaces that are not flat can be cut into triangles in several ways, with other areas once the
# spacing differs between axes; these are the triangles of `lookup_tables.py` of google-deepmind/surface-distance
# (Apache-2.0, commit 1f805ce), which are the same under all 48 symmetries of the cube.
_CORNER = (1, 1, 1)
_CUBES: dict[int, tuple[tuple[int, ...], ...]] = {
    0b00000001: (_CORNER,),
    0b00000011: ((2, 2, 0), (2, 2, 0)),
    0b00000110: (_CORNER, _CORNER),
    0b00000111: ((4, 0, 0), (2, 2, 2), _CORNER),
    0b00001111: ((4, 0, 0), (4, 0, 0)),
    0b00010110: (_CORNER, _CORNER, _CORNER),
    0b00010111: (_CORNER, (2, 2, 2), (2, 2, 2), _CORNER),
    0b00011000: (_CORNER, _CORNER),
    0b00011001: ((0, 2, 2), (0, 2, 2), _CORNER),
    0b00011011: (_CORNER, (3, 3, 3), (0, 2, 2), (2, 0, 2)),
    0b00011110: ((4, 0, 0), (2, 2, 2), _CORNER, _CORNER),
    0b00111100: ((2, 2, 0), (2, 2, 0), (2, 2, 0), (2, 2, 0)),
    0b01101001: (_CORNER, _CORNER, _CORNER, _CORNER),
}
# Likewise in a plane: a corner is cut off, the line runs along an axis, or two opposite corners are cut off.
_SQUARES: dict[int, tuple[tuple[int, ...], ...]] = {
    0b0001: ((4, 4),),
    0b0011: ((8, 0),),
    0b0110: ((4, 4), (4, 4)),
}


class _Surfels(NamedTuple):
    distances: FloatArray
    areas: FloatArray


class Surfaces:
    """The surfaces of two masks and the distances between them, each found when first asked for and kept.

    An axis of length 1 has no neighbours to speak of and is left out: a single slice is evaluated as a plane.

    Args:
        truth, predicted: booleans (or 0 and 1), [X, Y] or [X, Y, Z].
        spacing: mm along each axis; all distances are in mm.

    Raises:
        UsageError: shapes or spacing do not fit. TableError: a mask holds other values.
    """

    def __init__(self, truth: npt.ArrayLike, predicted: npt.ArrayLike, spacing: Sequence[float]) -> None:
        masks = mask_pair(truth, predicted, "surfaces")
        shape = masks[0].shape
        if len(shape) not in (2, 3):
            raise UsageError(f"masks must be [X, Y] or [X, Y, Z], not of shape {shape}", where="surfaces")
        sides = np.asarray(spacing, np.float64)
        if sides.shape != (len(shape),) or not (np.isfinite(sides) & (sides > 0)).all():
            raise UsageError(
                f"one positive spacing an axis, not {tuple(spacing)} for {len(shape)} axes", where="spacing"
            )
        self.empty = (not masks[0].any(), not masks[1].any())
        """Whether the truth, and the prediction, is empty."""
        self._sides = sides
        self._thin = tuple(axis for axis, length in enumerate(shape) if length == 1)
        if not all(self.empty):  # what lies beyond the box and a rim around it is background to both
            box = _box(masks[0] | masks[1])
            masks = (np.pad(masks[0][box], 1), np.pad(masks[1][box], 1))
        self._masks = masks

    @cached_property
    def voxel_distances(self) -> tuple[FloatArray, FloatArray]:
        """From each surface voxel of the truth to the nearest one of the prediction, and the other way; mm.

        Centre to centre, in reading order. Empty arrays where either mask is empty.
        """
        if any(self.empty):
            return np.zeros(0), np.zeros(0)
        thin = self._thin[: len(self._sides) - 1]  # a line is the least that has ends
        one, other = (_boundary(_without_rim(mask, thin)) for mask in self._masks)
        sides = np.delete(self._sides, thin)
        return _directed(one, other, sides), _directed(other, one, sides)

    @cached_property
    def surfels(self) -> tuple[_Surfels, _Surfels]:
        """Of each surface: `distances` of its surfels to the nearest one of the other (mm), `areas` (mm², mm).

        Empty arrays where either mask is empty. The areas in a plane are lengths.
        """
        if any(self.empty):
            return (_Surfels(np.zeros(0), np.zeros(0)),) * 2
        thin = self._thin[: len(self._sides) - 2]  # a plane is the least that has surfels
        sides = np.delete(self._sides, thin)
        area = _areas(sides)
        codes = [_codes(_without_rim(mask, thin)) for mask in self._masks]
        one, other = ((code != 0) & (code != len(area) - 1) for code in codes)
        return (
            _Surfels(_directed(one, other, sides), area[codes[0][one]]),
            _Surfels(_directed(other, one, sides), area[codes[1][other]]),
        )

    def hausdorff(self) -> float:
        """As the function `hausdorff`."""
        if any(self.empty):
            return math.nan
        return max(float(each.max()) for each in self.voxel_distances)

    def hausdorff_95(self, definition: str = "max-of-directed") -> float:
        """As the function `hausdorff_95`."""
        require_choice(definition, HAUSDORFFS_95, "definition")
        if any(self.empty):
            return math.nan
        if definition == "surfel-weighted":
            return max(_weighted_quantile(each, 0.95) for each in self.surfels)
        if definition == "pooled":
            return float(np.percentile(np.concatenate(self.voxel_distances), 95))
        return max(float(np.percentile(each, 95)) for each in self.voxel_distances)

    def average_distance(self, definition: str = "pooled") -> float:
        """As the function `average_surface_distance`."""
        require_choice(definition, AVERAGE_DISTANCES, "definition")
        if any(self.empty):
            return math.nan
        if definition == "pooled":
            return float(np.concatenate(self.voxel_distances).mean())
        return float(np.mean([each.mean() for each in self.voxel_distances]))

    def surface_dice(self, tolerance: float, definition: str = "surfel") -> float:
        """As the function `surface_dice`."""
        require_choice(definition, SURFACE_DICES, "definition")
        if not (math.isfinite(tolerance) and tolerance >= 0):
            raise UsageError(f"a tolerance in mm, 0 or more, not {tolerance}", where="tolerance")
        if any(self.empty):
            return math.nan if all(self.empty) else 0.0
        if definition == "surfel":
            within = sum(float(areas[distances <= tolerance].sum()) for distances, areas in self.surfels)
            return within / sum(float(areas.sum()) for _, areas in self.surfels)
        counts = [(int((each <= tolerance).sum()), len(each)) for each in self.voxel_distances]
        if definition == "voxel":
            return sum(within for within, _ in counts) / sum(all_ for _, all_ in counts)
        near = sum(within / all_ for within, all_ in counts)
        far = sum((all_ - within) / all_ for within, all_ in counts)
        # the 1e-8 is the program's, and lowers a perfect score to 0.999999995
        return near / (near + far + 1e-8)


def hausdorff(truth: npt.ArrayLike, predicted: npt.ArrayLike, spacing: Sequence[float]) -> float:
    """The greatest distance from a surface voxel of either mask to the other surface, mm; NaN where one is empty.

    As MONAI 1.6 and MedPy 0.5 `hd`. Args and raises: see `Surfaces`.
    """
    return Surfaces(truth, predicted, spacing).hausdorff()


def hausdorff_95(
    truth: npt.ArrayLike,
    predicted: npt.ArrayLike,
    spacing: Sequence[float],
    definition: str = "max-of-directed",
) -> float:
    """The distance within which 95 % of the surfaces lie of each other, mm; NaN where a mask is empty.

    Args:
        definition: "max-of-directed", the larger of the 95th percentiles (linear interpolation) of the two lists of
            voxel distances: MONAI, MetricsReloaded. "pooled", the percentile of both lists together: MedPy `hd95`,
            scripts of nnU-Net. "surfel-weighted", on each surface the first distance up to which at least 95 %
            of its area lie, without interpolation, and the larger of both: surface-distance.

    Raises:
        UsageError: another definition; shapes or spacing do not fit.
    """
    return Surfaces(truth, predicted, spacing).hausdorff_95(definition)


def average_surface_distance(
    truth: npt.ArrayLike, predicted: npt.ArrayLike, spacing: Sequence[float], definition: str = "pooled"
) -> float:
    """The mean distance of surface voxels from the other surface, mm; NaN where a mask is empty.

    Args:
        definition: "pooled", the mean of both lists together (ASSD of MONAI and MetricsReloaded);
            "mean-of-directed", the mean of the two means (MASD).

    Raises:
        UsageError: another definition; shapes or spacing do not fit.
    """
    return Surfaces(truth, predicted, spacing).average_distance(definition)


def surface_dice(
    truth: npt.ArrayLike,
    predicted: npt.ArrayLike,
    spacing: Sequence[float],
    tolerance: float,
    definition: str = "surfel",
) -> float:
    """Normalised surface Dice (NSD), the share of the surfaces that lies near the other one: 0..1.

    A distance equal to the tolerance is near enough. NaN where both masks are empty, 0 where one is.

    Args:
        tolerance: mm.
        definition: "surfel", by area: Nikolov et al. 2021, surface-distance, MONAI `use_subvoxels=True`. "voxel",
            by the number of surface voxels of both: MONAI's default. "fraction-mean", the mean of the two shares of
            surface voxels: a function of nnU-Net (`normalized_surface_dice`), with its 1e-8.

    Raises:
        UsageError: another definition; a negative tolerance; shapes or spacing do not fit.
    """
    return Surfaces(truth, predicted, spacing).surface_dice(tolerance, definition)


def volume_difference(truth: npt.ArrayLike, predicted: npt.ArrayLike, *, signed: bool = False) -> float:
    """The difference of the volumes over that of the truth, 0 or more; NaN where the truth is empty.

    Args:
        truth, predicted: booleans (or 0 and 1) of one shape.
        signed: keep the sign, positive where too much was predicted.

    Raises:
        UsageError: shapes differ. TableError: a mask holds other values.
    """
    one, other = (int(mask.sum()) for mask in mask_pair(truth, predicted, "surfaces"))
    if not one:
        return math.nan
    return (other - one) / one if signed else abs(other - one) / one


def _box(mask: BoolArray) -> tuple[slice, ...]:
    """The smallest box that holds all of a mask that is not empty."""
    box = []
    for axis in range(mask.ndim):
        there = np.flatnonzero(mask.any(axis=tuple(each for each in range(mask.ndim) if each != axis)))
        box.append(slice(int(there[0]), int(there[-1]) + 1))
    return tuple(box)


def _without_rim(mask: BoolArray, thin: tuple[int, ...]) -> BoolArray:
    """A mask with a rim of background, less the axes that have length 1 without it."""
    return np.asarray(mask[tuple(1 if axis in thin else slice(None) for axis in range(mask.ndim))])


def _boundary(mask: BoolArray) -> BoolArray:
    """The surface voxels of a mask that has a rim of background; without the rim."""
    centre = (slice(1, -1),) * mask.ndim
    inside = mask[centre].copy()
    for axis in range(mask.ndim):
        for shifted in (slice(None, -2), slice(2, None)):
            inside &= mask[(*centre[:axis], shifted, *centre[axis + 1 :])]
    return np.asarray(mask[centre] & ~inside)


def _codes(mask: BoolArray) -> npt.NDArray[np.uint8]:
    """For each corner of a voxel, which of the voxels about it are in a mask that has a rim of background."""
    bits = mask.view(np.uint8)
    code = np.zeros([length - 1 for length in mask.shape], np.uint8)
    for corner in product((slice(None, -1), slice(1, None)), repeat=mask.ndim):
        code <<= 1
        code |= bits[corner]
    return code


def _directed(one: BoolArray, other: BoolArray, sides: FloatArray) -> FloatArray:
    """From each place in `one` to the nearest in `other`, which is not empty, in reading order."""
    apart = ~other[one]  # places on both surfaces need no search; of a good prediction they are many
    if 32 * int(apart.sum()) > one.size:  # measured: a map of all distances is then the quicker
        return np.asarray(distance_transform_edt(~other, sampling=list(sides))[one])
    distances = np.zeros(apart.shape)
    if apart.any():
        places, targets = np.argwhere(one)[apart], np.argwhere(other)
        nearest = KDTree(targets * sides, balanced_tree=False).query(places * sides)[1]
        # whole steps times the spacing, as the map has it: rounding decides whether one equals a tolerance
        distances[apart] = _lengths((places - targets[nearest]) * sides)
    return distances


def _lengths(vectors: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt((vectors * vectors).sum(axis=-1)))


@cache
def _normals(axes: int) -> FloatArray:
    """The sizes of the normals of the surface at each code, in sides: [codes, triangles, axes]."""
    corners = 2**axes
    known = _CUBES if axes == 3 else _SQUARES
    normals = np.zeros((2**corners, max(map(len, known.values())), axes))
    weights = 1 << np.arange(corners)[::-1]
    for code, triangles in known.items():
        cube: IntArray = np.array([code >> bit & 1 for bit in range(corners)][::-1]).reshape((2,) * axes)
        for order in permutations(range(axes)):
            turned = cube.transpose(order)
            sizes = np.array(triangles)[:, list(order)] / 8
            for mirrored in product((slice(None), slice(None, None, -1)), repeat=axes):
                found = int(turned[mirrored].ravel() @ weights)
                for each in (found, 2**corners - 1 - found):  # a surface has two sides
                    normals[each, : len(sizes)] = sizes
    return normals


def _areas(sides: FloatArray) -> FloatArray:
    """The area of the surface at each code in mm² (in a plane its length in mm): [256] or [16]."""
    faces = np.array([np.prod(np.delete(sides, axis)) for axis in range(len(sides))])
    return np.asarray(_lengths(_normals(len(sides)) * faces).sum(axis=1))


def _weighted_quantile(surfels: _Surfels, share: float) -> float:
    """The first distance up to which at least a share of the area lies."""
    # sorted by area within one distance, and summed up, as the program does: rounding decides at a tie
    order = np.lexsort((surfels.areas, surfels.distances))
    areas = surfels.areas[order]
    reached = np.searchsorted(np.cumsum(areas) / np.sum(areas), share)
    return float(surfels.distances[order[min(int(reached), len(order) - 1)]])
