"""What two masks have in common, against numbers of other programs and by hand."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from graftwork.common.errors import UsageError
from graftwork.common.evaluation.metrics.mask_overlap import dice, jaccard
from graftwork.common.evaluation.metrics.surface_distances import hausdorff_95

# Two boxes that overlap, and a speck; 2.5 mm between slices, 0.5 mm in them.
SPACING = (2.5, 0.5, 0.5)
TRUTH = np.zeros((8, 24, 24), bool)
TRUTH[2:6, 5:15, 5:15] = 1
PREDICTED = np.zeros_like(TRUTH)
PREDICTED[1:5, 6:15, 5:18] = 1
PREDICTED[6, 18:22, 18:22] = 1


def test_numbers_of_reference_programs() -> None:
    # computed with MONAI 1.6.1 (compute_hausdorff_distance(percentile=95, spacing=...)) and by counting
    assert dice(TRUTH, PREDICTED) == pytest.approx(0.610859729, abs=1e-9)
    assert jaccard(TRUTH, PREDICTED) == pytest.approx(0.439739414, abs=1e-9)
    assert hausdorff_95(TRUTH, PREDICTED, SPACING) == pytest.approx(2.915475947, abs=1e-9)
    one, other = np.zeros((20, 20, 20), bool), np.zeros((20, 20, 20), bool)
    one[4, 10, 10] = other[4, 10, 12] = True
    assert hausdorff_95(one, other, (3, 0.75, 0.75)) == pytest.approx(1.5)


def test_the_axes_may_be_turned_with_their_spacing_and_the_masks_exchanged() -> None:
    expected = hausdorff_95(TRUTH, PREDICTED, SPACING)
    assert hausdorff_95(PREDICTED, TRUTH, SPACING) == pytest.approx(expected)
    assert hausdorff_95(TRUTH.T, PREDICTED.T, SPACING[::-1]) == pytest.approx(expected)
    assert hausdorff_95(TRUTH, PREDICTED, (0.5, 0.5, 2.5)) != pytest.approx(expected)
    assert hausdorff_95(TRUTH, PREDICTED, (5, 1, 1)) == pytest.approx(2 * expected)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), axes=st.integers(2, 3))
def test_hausdorff_95_is_that_of_monai(seed: int, axes: int) -> None:
    import torch
    from monai.metrics import compute_hausdorff_distance

    chance = np.random.default_rng(seed)
    spacing = chance.uniform(0.3, 3, axes).tolist()
    masks = []
    for _ in range(2):
        mask = np.zeros(chance.integers(5, 6, axes) * 2, bool)
        # blocks that may touch the border of the grid, and a voxel alone
        for _ in range(2):
            low = chance.integers(0, 7, axes)
            mask[tuple(slice(start, start + int(chance.integers(1, 8))) for start in low)] = True
        masks.append(mask)
    one, other = (torch.from_numpy(mask.astype(np.float32))[None, None] for mask in masks)
    expected = compute_hausdorff_distance(
        other, one, include_background=True, percentile=95, spacing=list(spacing)
    )
    assert hausdorff_95(masks[0], masks[1], spacing) == pytest.approx(float(expected), rel=1e-5)


def test_what_is_not_defined_is_nan() -> None:
    empty = np.zeros_like(TRUTH)
    for one, other in ((TRUTH, empty), (empty, TRUTH), (empty, empty)):
        assert math.isnan(hausdorff_95(one, other, SPACING))
    assert math.isnan(dice(empty, empty))
    assert math.isnan(jaccard(empty, empty))
    assert dice(TRUTH, empty) == jaccard(empty, TRUTH) == 0
    assert hausdorff_95(TRUTH, TRUTH, SPACING) == 0


def test_a_single_slice_is_judged_as_a_plane() -> None:
    one, other = np.zeros((30, 30), bool), np.zeros((30, 30), bool)
    one[3:27, 3:27] = other[9:21, 9:21] = True
    flat = hausdorff_95(one, other, SPACING[1:])
    assert flat > 3  # not lowered by the inside, every voxel of which has a neighbour off the grid
    for axis in range(3):
        spacing = np.insert(SPACING[1:], axis, 2.5)
        assert hausdorff_95(np.expand_dims(one, axis), np.expand_dims(other, axis), spacing) == flat


def test_what_does_not_fit_is_refused() -> None:
    for call in (
        lambda: dice(TRUTH, TRUTH[1:]),
        lambda: hausdorff_95(TRUTH, PREDICTED, (1, 1)),
        lambda: hausdorff_95(TRUTH, PREDICTED, (1, 0, 1)),
        lambda: hausdorff_95(TRUTH, PREDICTED, (1, math.nan, 1)),
    ):
        with pytest.raises(UsageError):
            call()


def test_a_large_volume_costs_what_its_mask_costs() -> None:
    one, other = np.zeros((240, 240, 155), bool), np.zeros((240, 240, 155), bool)
    one[100:140, 90:150, 60:90] = other[104:140, 88:150, 62:94] = True
    begun = time.process_time()
    assert hausdorff_95(one, other, (1, 1, 1)) == pytest.approx(4)
    assert time.process_time() - begun < 1.5
