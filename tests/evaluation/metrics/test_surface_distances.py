"""Distances between surfaces, against numbers of other programs, against MONAI itself, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation.arrays import BoolArray
from graftwork.common.evaluation.metrics.surface_distances import (
    AVERAGE_DISTANCES,
    HAUSDORFFS_95,
    SURFACE_DICES,
    Surfaces,
    average_surface_distance,
    hausdorff,
    hausdorff_95,
    surface_dice,
    volume_difference,
)

# Two boxes that overlap, and a speck; 2.5 mm between slices, 0.5 mm in them.
SPACING = (2.5, 0.5, 0.5)
TRUTH = np.zeros((8, 24, 24), bool)
TRUTH[2:6, 5:15, 5:15] = 1
PREDICTED = np.zeros_like(TRUTH)
PREDICTED[1:5, 6:15, 5:18] = 1
PREDICTED[6, 18:22, 18:22] = 1


def masks_by_chance(seed: int, axes: int) -> tuple[BoolArray, BoolArray, list[float]]:
    """Blocks that may touch the border of the grid, and noise; never empty."""
    chance = np.random.default_rng(seed)
    shape = chance.integers(5, 12, axes)
    masks = []
    for _ in range(2):
        mask = chance.random(shape) < chance.choice([0, 0.02, 0.3])
        for _ in range(2):
            low = chance.integers(0, shape)
            mask[tuple(slice(start, start + int(chance.integers(1, 8))) for start in low)] = True
        masks.append(mask)
    return masks[0], masks[1], chance.uniform(0.3, 3, axes).tolist()


def test_numbers_of_reference_programs() -> None:
    # MedPy 0.5.2 (pooled, hausdorff), MONAI 1.6.1 (max-of-directed, voxel), surface-distance 1f805ce (surfel)
    def near(value: float) -> object:
        return pytest.approx(value, abs=1e-9)

    both = (TRUTH, PREDICTED, SPACING)
    assert hausdorff(*both) == near(5.545268253)
    assert hausdorff_95(*both) == near(2.915475947)
    assert hausdorff_95(*both, "pooled") == near(2.692582404)
    assert hausdorff_95(*both, "surfel-weighted") == near(3.807886553)
    assert hausdorff_95(TRUTH, PREDICTED, (1, 1, 1), "pooled") == near(3.0)
    assert average_surface_distance(*both) == near(1.386354434)
    assert average_surface_distance(*both, "mean-of-directed") == near(1.373562477)
    assert surface_dice(*both, 1) == near(0.646429726)
    assert surface_dice(*both, 1, "voxel") == near(0.501661130)
    assert surface_dice(*both, 1, "fraction-mean") == near(0.505392154)
    assert surface_dice(*both, 0.5) == near(0.592148866)
    assert surface_dice(*both, 0.5, "voxel") == near(0.411960133)
    assert surface_dice(*both, 2.5) == near(0.925762426)
    assert surface_dice(*both, 2.5, "voxel") == near(0.911960133)


def test_a_voxel_has_one_place_on_its_surface_but_eight_surfels() -> None:
    one, other = np.zeros((20, 20, 20), bool), np.zeros((20, 20, 20), bool)
    one[4, 10, 10] = other[4, 10, 12] = True
    surfaces = Surfaces(one, other, (3, 0.75, 0.75))
    assert [surfaces.hausdorff_95(each) for each in HAUSDORFFS_95] == [1.5, 1.5, 1.5]
    assert (
        surfaces.surface_dice(0.75) == 0.5
    )  # the four corners between them; a distance of the tolerance is in
    assert surfaces.surface_dice(0.7499) == 0
    assert surfaces.surface_dice(0.75, "voxel") == surfaces.surface_dice(0.75, "fraction-mean") == 0
    assert surfaces.surface_dice(1.5, "fraction-mean") == 2 / (2 + 1e-8)
    assert [len(each.areas) for each in surfaces.surfels] == [8, 8]
    assert [len(each) for each in surfaces.voxel_distances] == [1, 1]


def test_areas_are_those_of_the_figures() -> None:
    def area(mask: BoolArray, spacing: tuple[float, ...]) -> float:
        return float(Surfaces(mask, mask, spacing).surfels[0].areas.sum())

    # an octahedron with half axes of 1, 1.5 and 2 mm: eight triangles
    triangle = math.hypot(1 * 1.5, 1.5 * 2, 1 * 2) / 2
    assert area(np.ones((1, 1), bool), (3, 4)) == pytest.approx(4 * math.hypot(1.5, 2))
    alone = np.zeros((3, 3, 3), bool)
    alone[1, 1, 1] = True
    assert area(alone, (2, 3, 4)) == pytest.approx(8 * triangle)
    # a box between the centres of its outer voxels has faces half a voxel further out, with its edges cut off
    box = np.zeros((30, 30, 30), bool)
    box[4:24, 4:24, 4:24] = True
    assert area(box, (1, 1, 1)) == pytest.approx(6 * 19**2 + 12 * 19 * math.sqrt(0.5) + 8 * math.sqrt(3) / 8)
    square = box[10]
    assert area(square, (2, 1)) == pytest.approx(2 * 19 * 2 + 2 * 19 * 1 + 4 * math.sqrt(1.25))
    # marching cubes does not depend on how the image lies
    for seed in range(3):
        mask, _, spacing = masks_by_chance(seed, 3)
        a, b, c = spacing
        assert area(mask.transpose(2, 0, 1)[::-1], (c, a, b)) == pytest.approx(area(mask, (a, b, c)))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), axes=st.integers(2, 3))
def test_monai_gives_the_same(seed: int, axes: int) -> None:
    import torch
    from monai.metrics import (
        compute_average_surface_distance,
        compute_hausdorff_distance,
        compute_surface_dice,
    )

    one, other, spacing = masks_by_chance(seed, axes)
    surfaces = Surfaces(one, other, spacing)
    truth, predicted = (torch.from_numpy(mask.astype(np.float32))[None, None] for mask in (one, other))
    for percentile, value in ((None, surfaces.hausdorff()), (95, surfaces.hausdorff_95())):
        expected = compute_hausdorff_distance(
            predicted, truth, include_background=True, percentile=percentile, spacing=list(spacing)
        )
        assert value == pytest.approx(float(expected), rel=1e-5)
    expected = compute_average_surface_distance(
        predicted, truth, include_background=True, symmetric=True, spacing=list(spacing)
    )
    assert surfaces.average_distance() == pytest.approx(float(expected), rel=1e-5)
    for tolerance in (0.4, 1.7):
        for subvoxels, definition in ((False, "voxel"), (True, "surfel")):
            expected = compute_surface_dice(
                predicted,
                truth,
                class_thresholds=[tolerance],
                include_background=True,
                spacing=list(spacing),
                use_subvoxels=subvoxels,
            )
            found = surfaces.surface_dice(tolerance, definition)
            assert found == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize("cuboid", [False, True])
def test_the_search_and_the_map_find_the_same(cuboid: bool) -> None:
    # few places in a wide grid are searched for in a tree, many in a narrow one are looked up in a map
    chance = np.random.default_rng(4)
    one, other = np.zeros((40, 40, 40), bool), np.zeros((40, 40, 40), bool)
    if cuboid:
        one[3:17, 3:17, 3:17] = other[12:20, 12:20, 12:20] = True
    else:
        one[tuple(chance.integers(0, 40, (3, 30)))] = other[tuple(chance.integers(0, 40, (3, 30)))] = True
    sides = np.array([0.7, 1.1, 2.0])
    surfaces = Surfaces(one, other, tuple(sides))
    places = [np.argwhere(np.pad(mask, 1)) - 1 for mask in (one, other)]
    if cuboid:  # surface voxels are those with a face, counted the slow way
        places = [
            np.array([at for at in each if not all(mask[tuple(at + step)] for step in steps())])
            for each, mask in zip(places, (one, other), strict=True)
        ]
    far = np.sqrt((((places[0][:, None] - places[1][None]) * sides) ** 2).sum(-1))
    assert surfaces.voxel_distances[0] == pytest.approx(far.min(1), abs=1e-12)
    assert surfaces.voxel_distances[1] == pytest.approx(far.min(0), abs=1e-12)


def steps() -> BoolArray:
    return np.concatenate([np.eye(3, dtype=int), -np.eye(3, dtype=int)])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), axes=st.integers(2, 3))
def test_what_must_hold_for_any_masks(seed: int, axes: int) -> None:
    one, other, spacing = masks_by_chance(seed, axes)

    def scores(surfaces: Surfaces, tolerance: float) -> list[float]:
        return [
            surfaces.hausdorff(),
            *(surfaces.hausdorff_95(each) for each in HAUSDORFFS_95),
            *(surfaces.average_distance(each) for each in AVERAGE_DISTANCES),
            *(surfaces.surface_dice(tolerance, each) for each in SURFACE_DICES),
        ]

    found = scores(Surfaces(one, other, spacing), 0.9)
    assert scores(Surfaces(other, one, spacing), 0.9) == pytest.approx(found)
    turned = Surfaces(one.T[::-1], other.T[::-1], spacing[::-1])
    assert scores(turned, 0.9) == pytest.approx(found)
    moved = Surfaces(np.pad(one, 3), np.pad(other, 3), spacing)
    assert scores(moved, 0.9) == pytest.approx(found)
    doubled = scores(Surfaces(one, other, [2 * each for each in spacing]), 1.8)
    assert doubled == pytest.approx([2 * each for each in found[:6]] + found[6:])
    assert found[0] >= max(found[1:3]) and found[0] >= found[4]
    edges = [np.argwhere(mask & ~binary_erosion(mask)) * np.array(spacing) for mask in (one, other)]
    apart = cdist(*edges)
    assert found[1] == pytest.approx(max(np.percentile(apart.min(axis), 95) for axis in (0, 1)))
    assert all(0 <= each <= 1 for each in found[6:])
    wider = scores(Surfaces(one, other, spacing), 1.5)
    assert all(more >= less for more, less in zip(wider[6:], found[6:], strict=True))
    same = scores(Surfaces(one, one, spacing), 0)
    assert same == pytest.approx([0] * 6 + [1, 1, 1 / (1 + 5e-9)])


def test_what_is_not_defined_is_nan() -> None:
    empty = np.zeros_like(TRUTH)
    for one, other, near in ((TRUTH, empty, 0), (empty, TRUTH, 0), (empty, empty, math.nan)):
        surfaces = Surfaces(one, other, SPACING)
        assert math.isnan(surfaces.hausdorff())
        assert all(math.isnan(surfaces.hausdorff_95(each)) for each in HAUSDORFFS_95)
        assert all(math.isnan(surfaces.average_distance(each)) for each in AVERAGE_DISTANCES)
        for each in SURFACE_DICES:
            assert surfaces.surface_dice(1, each) == pytest.approx(near, nan_ok=True)
        assert [len(each) for each in surfaces.voxel_distances] == [0, 0]
        assert [len(each.areas) for each in surfaces.surfels] == [0, 0]
    assert math.isnan(volume_difference(empty, TRUTH))


def test_a_single_slice_is_judged_as_a_plane() -> None:
    flat, deep = Surfaces(TRUTH[3], PREDICTED[3], SPACING[1:]), Surfaces(TRUTH[3:4], PREDICTED[3:4], SPACING)
    for definition in HAUSDORFFS_95:
        assert deep.hausdorff_95(definition) == flat.hausdorff_95(definition) > 0
    for definition in SURFACE_DICES:
        assert deep.surface_dice(0.5, definition) == flat.surface_dice(0.5, definition) > 0
    one = np.ones((1, 1, 1), bool)
    assert hausdorff(one, one, SPACING) == hausdorff_95(one, one, SPACING, "surfel-weighted") == 0
    line = np.array([[[1, 1, 0, 0, 0]]]), np.array([[[0, 0, 0, 0, 1]]])
    assert hausdorff(*line, (1, 1, 2)) == 8


def test_volume_difference() -> None:
    truth, predicted = np.array([[1, 1, 1, 1, 0]]), np.array([[0, 0, 0, 1, 0]])
    assert volume_difference(truth, predicted) == 0.75
    assert volume_difference(truth, predicted, signed=True) == -0.75
    assert volume_difference(predicted, truth) == volume_difference(predicted, truth, signed=True) == 3


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="are not compared"):
        Surfaces(TRUTH, PREDICTED[1:], SPACING)
    with pytest.raises(UsageError, match=r"\[X, Y\] or \[X, Y, Z\]"):
        Surfaces([True, False], [True, True], (1,))
    for spacing in ((1, 1), (1, 1, 0), (1, 1, math.nan)):
        with pytest.raises(UsageError, match="one positive spacing an axis"):
            hausdorff(TRUTH, PREDICTED, spacing)
    with pytest.raises(TableError, match="truth: it must hold 0 and 1, it holds 3"):
        hausdorff(TRUTH * 3, PREDICTED, SPACING)
    with pytest.raises(TableError, match="predicted: it must hold whole numbers, it holds nan"):
        volume_difference(TRUTH, np.where(PREDICTED, np.nan, 0))
    for tolerance in (-1, math.nan, math.inf):
        with pytest.raises(UsageError, match="a tolerance in mm"):
            surface_dice(TRUTH, PREDICTED, SPACING, tolerance)
    empty = np.zeros_like(TRUTH)  # an unknown definition is told of also where nothing is to be computed
    with pytest.raises(UsageError, match="one of max-of-directed, pooled, surfel-weighted, not 'hd95'"):
        hausdorff_95(empty, empty, SPACING, "hd95")
    with pytest.raises(UsageError, match="one of pooled, mean-of-directed, not 'surfel'"):
        average_surface_distance(empty, empty, SPACING, "surfel")
    with pytest.raises(UsageError, match="one of surfel, voxel, fraction-mean, not 'monai'"):
        surface_dice(empty, empty, SPACING, 1, "monai")
