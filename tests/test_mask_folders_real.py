"""Five algorithms and two fusions of two gliomas, pair by pair, against MONAI's numbers."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice
from real_data import real

from graftwork.common.domain import protocol
from graftwork.common.evaluation.overlap import dice
from graftwork.common.evaluation.surfaces import Surfaces
from graftwork.common.mask_folders import judge_masks
from graftwork.common.masks import read_values

pytestmark = pytest.mark.real
CASES = ("TCGA-FG-6692", "TCGA-DU-7294")


@pytest.mark.parametrize("case", CASES)
def test_pair_by_pair(case: str) -> None:
    folder = real(f"brain_mri/brats_toolkit_multi/{case}")
    files = [*sorted((folder / "segmentations").iterdir()), *sorted((folder / "fusion").iterdir())]
    labels = [read_values(file) for file in files]
    assert len(labels) == 7
    for one, other in combinations(labels, 2):
        whole = (one > 0, other > 0)
        ours = Surfaces(*whole, (1.0, 1.0, 1.0))
        box = tuple(slice(int(each.min()), int(each.max()) + 1) for each in np.nonzero(whole[0] | whole[1]))
        tensors = [torch.from_numpy(np.pad(each[box], 1))[None, None] for each in whole]
        distance = compute_hausdorff_distance(*tensors, percentile=95, include_background=True).item()
        assert ours.hausdorff_95("max-of-directed") == pytest.approx(distance, rel=5e-6)  # theirs is float32
        near = compute_surface_dice(*tensors, [1.0], include_background=True).item()
        assert ours.surface_dice(1.0, "voxel") == pytest.approx(near, abs=1e-6)
        total = int(whole[0].sum()) + int(whole[1].sum())
        assert dice(*whole) == 2 * int((whole[0] & whole[1]).sum()) / total


def test_the_fusions_are_the_same_in_every_region() -> None:
    folder = real(f"brain_mri/brats_toolkit_multi/{CASES[0]}/fusion")
    rules = protocol("brats2020").masks
    assert rules is not None
    one, other = (read_values(folder / f"{name}.nii.gz") for name in ("mav", "simple"))
    found = judge_masks(one, other, (1.0, 1.0, 1.0), rules, ("dice", "hausdorff_95"))
    assert all(values == {"dice": 1.0, "hausdorff_95": 0.0} for values in found.values())
