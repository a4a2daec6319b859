"""Lesion-wise scores: every lesion counts the same, and a false one counts too.

By the rules of 2023 and of 2024 of the challenge that introduced them, as its organisers' programs have them
(commits 43c9052 and f1131e3 of their repositories), oddities included. Parameters differ by kind of lesion and year;
protocols hold them. The variant of 2024 that leaves false positives out of the mean is not here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects, label

from graftwork.common.errors import UsageError
from graftwork.common.evaluation.arrays import BoolArray, require_choice
from graftwork.common.evaluation.mask_values import mask_pair
from graftwork.common.evaluation.metrics.surface_distances import Surfaces

RULES = ("2023", "2024")
Labels: TypeAlias = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Lesion:
    """A lesion of the truth against all predicted lesions that touch it, joined.

    Attributes:
        volume: mm³. counted: whether it is larger than `smallest` and so in the mean.
        touching: the number of predicted lesions that touch it or the margin around it; 0 where it was missed.
        dice: 0..1; 0 where it was missed. hausdorff_95: mm, surfel-weighted; the penalty where it was missed.
        surface_dice: 0..1 at each tolerance, "fraction-mean"; 0 where it was missed.
    """

    volume: float
    counted: bool
    touching: int
    dice: float
    hausdorff_95: float
    surface_dice: tuple[float, ...]


@dataclass(frozen=True)
class LesionWise:
    """The lesion-wise scores of one region of one case.

    Attributes:
        dice: 0..1. hausdorff_95: mm. surface_dice: 0..1 at each of `tolerances`. Means over the counted lesions and
            the false positives. With neither, Dice and surface Dice are 1 and the distance is 0: the programs'
            convention, also where a lesion too small to count was missed.
        true_positives: counted lesions that a predicted one touches. false_negatives: the other ones.
        false_positives: predicted lesions that touch no lesion at all, one that does not count included.
        tolerances: mm. lesions: of the truth, also those that do not count, in reading order of the grid.
    """

    dice: float
    hausdorff_95: float
    surface_dice: tuple[float, ...]
    true_positives: int
    false_positives: int
    false_negatives: int
    tolerances: tuple[float, ...]
    lesions: tuple[Lesion, ...]


@dataclass(frozen=True, eq=False)
class SubRegion:
    """Another sub-region of the same case, whose lesions make one of those that touch them (rules of 2024).

    Attributes:
        truth, predicted: booleans, [X, Y, Z]. dilation, smallest: its own, as of `lesion_wise`.
    """

    truth: npt.ArrayLike
    predicted: npt.ArrayLike
    dilation: int = 3
    smallest: float = 20.0


def lesion_wise(
    truth: npt.ArrayLike,
    predicted: npt.ArrayLike,
    spacing: Sequence[float],
    *,
    dilation: int = 3,
    smallest: float = 50.0,
    penalty: float = 374.0,
    rules: str = "2023",
    tolerances: Sequence[float] = (0.5, 1.0),
    touching: Sequence[SubRegion] = (),
) -> LesionWise:
    """The lesion-wise Dice, Hausdorff distance and surface Dice of one region of one case.

    Lesions of the truth are what hangs together (26 neighbours) once it is dilated `dilation` times (18 neighbours),
    less the dilation: two parts 6 voxels apart are one lesion at 3. All predicted lesions that touch a dilated one are
    joined and compared with it undilated; so one in its margin alone is a hit of Dice 0, and one predicted lesion
    may serve several. Predicted lesions are what hangs together, by the rules of 2024 likewise after dilation.

    Args:
        truth, predicted: booleans (or 0 and 1), [X, Y, Z].
        spacing: mm along each axis.
        dilation: voxels, 0 or more.
        smallest: mm³; lesions of the truth up to it are left out of the mean. By the rules of 2024 predicted lesions
            of up to as many *voxels* do not exist, whatever the spacing.
        penalty: mm; the distance of a lesion missed and of a false positive.
        rules: "2023" or "2024".
        tolerances: mm, of the surface Dice, which the programs report since 2024.
        touching: rules of 2024; one after another: lesions whose first lesion of that sub-region, in reading order,
            is the same become one. Those that touch only a later one in common stay apart, as in the program.

    Raises:
        UsageError: shapes, spacing or options do not fit. TableError: a mask holds other values.
    """
    regions = [SubRegion(truth, predicted, dilation, smallest), *touching]
    masks = _as_masks(regions)
    sides = _as_sides(spacing)
    wanted = tuple(float(each) for each in tolerances)
    _check(regions, penalty, rules, wanted)

    masks = _cropped(masks, max(each.dilation for each in regions) if touching else 0)
    dilated, lesions = _lesions_after_dilation(masks[0][0], dilation)
    if rules == "2023":
        found: Labels = label(masks[0][1], np.ones((3, 3, 3), bool))[0]
    else:
        found = _without_specks(_lesions_after_dilation(masks[0][1], dilation)[1], smallest)
    for region, (one, other) in zip(touching, masks[1:], strict=True):
        joined = _joined(lesions, _lesions_after_dilation(one, region.dilation)[1])
        # a lesion dilated is a part of the dilated mask, so that joining parts joins lesions
        dilated, lesions = joined[dilated], joined[lesions]
        others = _without_specks(_lesions_after_dilation(other, region.dilation)[1], region.smallest)
        found = _joined(found, others)[found]

    hits, false_positives = _hits(dilated, found)
    records = _compared(lesions, found, hits, sides, smallest, float(penalty), wanted)
    return _summed(records, false_positives, float(penalty), wanted)


def _compared(
    lesions: Labels,
    found: Labels,
    hits: dict[int, Labels],
    sides: tuple[float, ...],
    smallest: float,
    penalty: float,
    tolerances: tuple[float, ...],
) -> list[Lesion]:
    # a rim, so that every lesion has background around it and no axis of its box has length 1
    lesions, found = np.pad(lesions, 1), np.pad(found, 1)
    boxes, boxes_found = find_objects(lesions), find_objects(found)
    records = []
    for number, box in enumerate(boxes, 1):
        if box is None:
            continue
        touching = hits.get(number, np.zeros(0, np.intp))
        crop = _around([box, *(boxes_found[each - 1] for each in touching)])
        one = lesions[crop] == number
        volume = int(one.sum()) * sides[0] * sides[1] * sides[2]
        counted = volume > smallest
        if not touching.size:
            records.append(Lesion(volume, counted, 0, 0.0, penalty, (0.0,) * len(tolerances)))
            continue
        chosen = np.zeros(int(found.max()) + 1, bool)
        chosen[touching] = True
        other = chosen[found[crop]]
        surfaces = Surfaces(one, other, sides)
        records.append(
            Lesion(
                volume,
                counted,
                len(touching),
                2 * int((one & other).sum()) / (int(one.sum()) + int(other.sum())),
                surfaces.hausdorff_95("surfel-weighted"),
                tuple(surfaces.surface_dice(each, "fraction-mean") for each in tolerances),
            )
        )
    return records


def _summed(
    records: list[Lesion], false_positives: int, penalty: float, tolerances: tuple[float, ...]
) -> LesionWise:
    counted = [each for each in records if each.counted]
    total = len(counted) + false_positives
    hit = sum(each.touching > 0 for each in counted)

    def mean(values: list[float], false: float, nothing: float) -> float:
        return (sum(values) + false * false_positives) / total if total else nothing

    return LesionWise(
        dice=mean([each.dice for each in counted], 0, 1),
        hausdorff_95=mean([each.hausdorff_95 for each in counted], penalty, 0),
        surface_dice=tuple(
            mean([each.surface_dice[at] for each in counted], 0, 1) for at in range(len(tolerances))
        ),
        true_positives=hit,
        false_positives=false_positives,
        false_negatives=len(counted) - hit,
        tolerances=tolerances,
        lesions=tuple(records),
    )


def _lesions_after_dilation(mask: BoolArray, times: int) -> tuple[Labels, Labels]:
    """What hangs together (26 neighbours) in the dilated mask, numbered from 1 in reading order; and in the mask."""
    dilated: Labels = label(_dilated(mask, times), np.ones((3, 3, 3), bool))[0]
    return dilated, dilated * mask


def _dilated(mask: BoolArray, times: int) -> BoolArray:
    """A mask with its 18 neighbours (across faces and edges), `times` over; not beyond the grid."""
    for _ in range(times):
        # the three planes through a voxel, as steps along one axis after another: far quicker than a 3-D structure
        first, second = _stretched(mask, 0), _stretched(mask, 1)
        mask = _stretched(first, 1) | _stretched(first, 2) | _stretched(second, 2)
    return mask


def _stretched(mask: BoolArray, axis: int) -> BoolArray:
    """A mask with its neighbours along an axis."""
    wider = mask.copy()
    rows, source = np.moveaxis(wider, axis, 0), np.moveaxis(mask, axis, 0)
    rows[1:] |= source[:-1]
    rows[:-1] |= source[1:]
    return wider


def _without_specks(lesions: Labels, smallest: float) -> Labels:
    """The same numbers without lesions of up to `smallest` voxels."""
    kept = np.bincount(lesions.ravel()) > smallest
    kept[0] = False
    return lesions * kept[lesions]


def _joined(lesions: Labels, others: Labels) -> Labels:
    """The new number of each lesion (by its old one, 0 first), one and the same for those that touch one other."""
    count, steps = int(lesions.max()) + 1, int(others.max()) + 1
    numbers = np.arange(count)
    first = np.full(count, steps)
    padded = np.pad(others, 1)
    shape = lesions.shape
    occupied = np.nonzero(lesions)
    own = lesions[occupied]
    for step in product((0, 1, 2), repeat=3):
        if sum(each != 1 for each in step) > 2:  # across a corner is not touching
            continue
        shifted = padded[tuple(slice(at, at + length) for at, length in zip(step, shape, strict=True))]
        near = shifted[occupied]
        np.minimum.at(first, own[near > 0], near[near > 0])
    touched = first < steps
    if touched.any():  # lesions of one first other take the number of the first of them
        _, at, group = np.unique(first[touched], return_index=True, return_inverse=True)
        numbers[touched] = numbers[touched][at][group]
    return numbers


def _hits(dilated: Labels, found: Labels) -> tuple[dict[int, Labels], int]:
    """The predicted lesions in each dilated lesion of the truth, and how many predicted ones are in none."""
    there = found > 0
    one, other = dilated[there].astype(np.int64), found[there].astype(np.int64)
    pairs = np.unique(one * (int(other.max(initial=0)) + 1) + other)
    one, other = np.divmod(pairs, int(other.max(initial=0)) + 1)
    touching = one > 0
    hits = {
        int(number): other[touching & (one == number)].astype(np.intp) for number in np.unique(one[touching])
    }
    return hits, len(np.unique(other)) - len(np.unique(other[touching]))


def _around(boxes: Sequence[tuple[slice, ...]]) -> tuple[slice, ...]:
    """The box that holds boxes, and a voxel more on each side."""
    return tuple(
        slice(min(each.start for each in along) - 1, max(each.stop for each in along) + 1)
        for along in zip(*boxes, strict=True)
    )


def _cropped(masks: list[tuple[BoolArray, BoolArray]], margin: int) -> list[tuple[BoolArray, BoolArray]]:
    """All masks, cut to the box of what any of them holds and a margin of some voxels.

    What hangs together after dilation does so in the box too, in the nearest place there. Which lesion comes first in
    reading order may depend on voxels that dilation adds beyond it, so that joining by order needs the margin.
    """
    either = np.logical_or.reduce([mask for pair in masks for mask in pair])
    boxes = find_objects(either.astype(np.uint8))
    box = boxes[0] if boxes else (slice(0, 1),) * 3
    wider = tuple(slice(max(0, each.start - margin), each.stop + margin) for each in box)
    return [(one[wider], other[wider]) for one, other in masks]


def _as_masks(regions: Sequence[SubRegion]) -> list[tuple[BoolArray, BoolArray]]:
    shape = np.shape(regions[0].truth)
    if len(shape) != 3:
        raise UsageError(f"masks must be [X, Y, Z], not of shape {shape}", where="lesions")
    masks = [mask_pair(region.truth, region.predicted, "lesions") for region in regions]
    for one, _ in masks:
        if one.shape != shape:
            raise UsageError(f"masks of {shape} and {one.shape} are not compared", where="lesions")
    return masks


def _as_sides(spacing: Sequence[float]) -> tuple[float, ...]:
    sides = tuple(float(each) for each in spacing)
    if len(sides) != 3 or not all(math.isfinite(each) and each > 0 for each in sides):
        raise UsageError(f"three positive spacings, not {tuple(spacing)}", where="spacing")
    return sides


def _check(regions: Sequence[SubRegion], penalty: float, rules: str, tolerances: tuple[float, ...]) -> None:
    require_choice(rules, RULES, "rules")
    if len(regions) > 1 and rules != "2024":
        raise UsageError("lesions are joined where sub-regions touch by the rules of 2024", where="touching")
    for region in regions:
        if region.dilation < 0 or region.dilation != int(region.dilation):
            raise UsageError(f"a whole number, 0 or more, not {region.dilation}", where="dilation")
        if not region.smallest >= 0:
            raise UsageError(f"a volume, 0 or more, not {region.smallest}", where="smallest")
    for name, each in (("penalty", penalty), *(("tolerances", each) for each in tolerances)):
        if not (math.isfinite(each) and each >= 0):
            raise UsageError(f"a distance in mm, 0 or more, not {each}", where=name)
