"""Scores of masks beside MedPy, surface-distance and MONAI, on masks that are easy to get wrong, and lesion-wise
scores beside figures of the organisers' programs.

What a tool is given, it is given as its documentation says; where its convention differs, the test says how.
"""

from __future__ import annotations

import json
import math
import random
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from medpy.metric import binary
from medpy.metric.binary import __surface_distances as medpy_distances
from monai.metrics import compute_hausdorff_distance, compute_surface_dice
from surface_distance import (
    compute_robust_hausdorff,
    compute_surface_dice_at_tolerance,
    compute_surface_distances,
)
from written_volumes import write

from graftwork.common.data.domain import protocol
from graftwork.common.evaluation.arrays import BoolArray
from graftwork.common.evaluation.metrics.lesions import SubRegion, lesion_wise
from graftwork.common.evaluation.metrics.mask_overlap import dice, jaccard
from graftwork.common.evaluation.metrics.surface_distances import HAUSDORFFS_95, Surfaces, volume_difference
from graftwork.common.evaluation.protocols import Protocol
from graftwork.common.external.mask_folders import evaluate_folders, judge_masks

pytestmark = [
    # surface-distance 0.1 calls SciPy by names that SciPy 2 will not have; MONAI 1.6 names an argument of its own
    pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning"),
]

SHAPE = (9, 14, 12)
SPACING = (2.5, 0.8, 0.6)
TOLERANCES = (
    0.0,
    0.5,
    0.8,
    1.0,
    2.5,
)  # 0.8 and 2.5 are distances between voxels: the tolerance is near enough
RECORDED = json.loads(
    (Path(__file__).parents[2] / "support" / "recorded_lesion_scores.json").read_text("utf-8")
)


def edge_cases() -> dict[str, tuple[BoolArray, BoolArray]]:
    found: dict[str, tuple[BoolArray, BoolArray]] = {}

    def pair(name: str) -> tuple[BoolArray, BoolArray]:
        found[name] = (np.zeros(SHAPE, bool), np.zeros(SHAPE, bool))
        return found[name]

    one, other = pair("boxes that overlap")
    one[2:6, 3:10, 2:9] = other[3:8, 4:12, 2:7] = True
    one, other = pair("in a corner of the grid")
    one[:4, :6, :5] = other[:3, :8, 1:7] = True
    one, other = pair("at opposite faces of the grid")
    one[:2] = other[-1:, 2:] = True
    one, other = pair("the whole grid")
    one[:] = other[2:7, 3:9, 4:8] = True
    one, other = pair("one voxel each")
    one[4, 6, 6] = other[5, 8, 3] = True
    one, other = pair("one voxel within a box")
    one[1:8, 2:12, 1:11] = other[4, 6, 6] = True
    one, other = pair("voxels that meet across a corner")
    one[4, 6, 6] = one[5, 7, 7] = other[4, 7, 6] = other[5, 6, 7] = True
    one, other = pair("plates side by side")
    one[4] = other[5, 2:, 1:] = True
    one, other = pair("plates that cross")
    one[:, 3] = other[:, :, 5] = True
    one, other = pair("lines")
    one[4, 5] = other[4, :, 6] = True
    one, other = pair("several parts")
    one[1:3, 1:3, 1:3] = one[6:8, 9:13, 7:11] = one[5, 2, 9] = True
    other[1:3, 2:4, 1:3] = other[0, 13, 11] = other[7:9, 9:12, 6:11] = True
    one, other = pair("a shell and what it holds")
    one[1:8, 2:12, 1:11] = True
    one[3:6, 4:10, 3:9] = False
    other[3:6, 4:10, 3:9] = True
    one, other = pair("every second voxel")
    one[:] = np.indices(SHAPE).sum(axis=0) % 2 == 0
    other[:] = ~one
    one, other = pair("the same")
    one[2:6, 3:10, 2:9] = other[2:6, 3:10, 2:9] = True
    one, other = pair("noise")
    chance = np.random.default_rng(3)
    one[:], other[:] = chance.random(SHAPE) < 0.3, chance.random(SHAPE) < 0.05
    return found


VOLUMES = [pytest.param(*pair, SPACING, id=name) for name, pair in edge_cases().items()]
PLANES = [  # what is seen along the first axis, or the second
    pytest.param(
        *(mask.any(axis) for mask in pair), SPACING[1 - axis :: 1 + axis], id=f"{name}, along {axis}"
    )
    for name, pair in edge_cases().items()
    for axis in (0, 1)
]
on_edge_cases = pytest.mark.parametrize(("truth", "predicted", "spacing"), [*VOLUMES, *PLANES])


def near(value: float, within: float = 1e-12) -> Any:
    return pytest.approx(value, rel=within, abs=within)


@on_edge_cases
def test_medpy(truth: BoolArray, predicted: BoolArray, spacing: tuple[float, ...]) -> None:
    assert dice(truth, predicted) == near(binary.dc(predicted, truth))
    assert jaccard(truth, predicted) == near(binary.jc(predicted, truth))
    assert volume_difference(truth, predicted, signed=True) == near(binary.ravd(predicted, truth))
    surfaces = Surfaces(truth, predicted, spacing)
    how = {"voxelspacing": spacing, "connectivity": 1}
    assert surfaces.hausdorff() == near(binary.hd(predicted, truth, **how))
    assert surfaces.hausdorff_95("pooled") == near(binary.hd95(predicted, truth, **how))
    assert surfaces.average_distance() == near(binary.assd(predicted, truth, **how))
    directed = binary.asd(predicted, truth, **how) + binary.asd(truth, predicted, **how)
    assert surfaces.average_distance("mean-of-directed") == near(directed / 2)


@on_edge_cases
def test_surface_distance(truth: BoolArray, predicted: BoolArray, spacing: tuple[float, ...]) -> None:
    surfaces, expected = (
        Surfaces(truth, predicted, spacing),
        compute_surface_distances(truth, predicted, spacing),
    )
    assert surfaces.hausdorff_95("surfel-weighted") == near(compute_robust_hausdorff(expected, 95))
    for tolerance in TOLERANCES:
        assert surfaces.surface_dice(tolerance) == near(
            compute_surface_dice_at_tolerance(expected, tolerance)
        )


@on_edge_cases
def test_monai(truth: BoolArray, predicted: BoolArray, spacing: tuple[float, ...]) -> None:
    surfaces = Surfaces(truth, predicted, spacing)
    tensors = [torch.from_numpy(mask.astype(np.float32))[None, None] for mask in (predicted, truth)]
    how: dict[str, Any] = {"include_background": True, "spacing": list(spacing)}
    expected = compute_hausdorff_distance(*tensors, percentile=95, **how).item()
    assert surfaces.hausdorff_95("max-of-directed") == near(expected, 1e-6)  # float32
    for tolerance in (0.0, 0.7, 1.9):
        expected = compute_surface_dice(*tensors, [tolerance], **how).item()
        assert surfaces.surface_dice(tolerance, "voxel") == near(expected, 1e-6)


@on_edge_cases
def test_the_mean_of_two_shares(truth: BoolArray, predicted: BoolArray, spacing: tuple[float, ...]) -> None:
    """As `normalized_surface_dice` of nnU-Net 1 (nnunet/evaluation/surface_dice.py) has it, on MedPy's distances."""
    lists = [medpy_distances(*pair, spacing, 1) for pair in ((predicted, truth), (truth, predicted))]
    for tolerance in TOLERANCES:
        hit = sum(np.sum(each <= tolerance) / len(each) for each in lists)
        miss = sum(np.sum(each > tolerance) / len(each) for each in lists)
        expected = hit / (hit + miss + 1e-8)
        assert Surfaces(truth, predicted, spacing).surface_dice(tolerance, "fraction-mean") == near(expected)


SIDES = st.sampled_from([0.5, 0.75, 1.0, 1.3, 2.5])


@settings(max_examples=30, deadline=None)
@given(data=st.data(), axes=st.integers(2, 3))
def test_any_masks_however_they_lie(data: st.DataObject, axes: int) -> None:
    """Both tools are given the masks with their axes in another order, some of them reversed, truth for prediction."""
    shape = data.draw(st.tuples(*[st.integers(2, 6)] * axes))
    one, other = (data.draw(arrays(bool, shape)) for _ in range(2))
    assume(one.any() and other.any())
    spacing = data.draw(st.tuples(*[SIDES] * axes))
    order = data.draw(st.sampled_from(list(permutations(range(axes)))))
    reversed_axes = data.draw(st.sets(st.integers(0, axes - 1)))
    turned = [np.flip(mask.transpose(order), tuple(reversed_axes)).copy() for mask in (one, other)]
    sides = [spacing[axis] for axis in order]
    surfaces, swapped = Surfaces(one, other, spacing), Surfaces(other, one, spacing)
    assert surfaces.hausdorff() == near(binary.hd(*turned, sides)) == swapped.hausdorff()
    assert surfaces.hausdorff_95("pooled") == near(binary.hd95(*turned, sides))
    assert surfaces.average_distance() == near(binary.assd(*turned, sides))
    expected = compute_surface_distances(*turned, sides)
    tolerance = 0.91  # no distance between voxels of these sides: rounding decides nothing
    assert surfaces.surface_dice(tolerance) == near(compute_surface_dice_at_tolerance(expected, tolerance))
    # at 95 % of the area rounding may decide, and does alike only where the areas are summed in one order
    expected = compute_surface_distances(one, other, spacing)
    assert surfaces.hausdorff_95("surfel-weighted") == near(compute_robust_hausdorff(expected, 95))
    for definition in HAUSDORFFS_95:
        assert swapped.hausdorff_95(definition) == surfaces.hausdorff_95(definition)


def test_a_slice_given_as_a_volume() -> None:
    """MedPy takes every voxel of a volume of one slice to be on its surface; here the slice is judged as a plane."""
    one, other = (mask[4:5] for mask in edge_cases()["boxes that overlap"])
    ours = Surfaces(one, other, SPACING)
    assert ours.average_distance() == near(binary.assd(one[0], other[0], SPACING[1:]))
    assert ours.average_distance() > binary.assd(one, other, SPACING) > 0


EMPTY = np.zeros((6, 7, 8), bool)
FULL = EMPTY.copy()
FULL[1:5, 1:6, 2:6] = True  # 80 mm³: a lesion that counts
PAIRS = {"both": (EMPTY, EMPTY), "predicted": (FULL, EMPTY), "truth": (EMPTY, FULL)}
UNIT = (1.0, 1.0, 1.0)


@pytest.mark.filterwarnings("ignore:.*is all 0, this may result in nan/inf distance:UserWarning")
@pytest.mark.parametrize("empty", PAIRS)
def test_where_a_mask_is_empty_each_tool_says_something_else(
    empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, predicted = PAIRS[empty]
    both = empty == "both"
    # MedPy: no distance at all; Dice undefined, but Jaccard 1, where both are
    for distance in (binary.hd, binary.hd95, binary.assd):
        with pytest.raises(RuntimeError, match="does not contain any binary object"):
            distance(predicted, truth)
    with np.errstate(invalid="ignore"):
        assert binary.dc(predicted, truth) == pytest.approx(math.nan if both else 0, nan_ok=True)
    assert binary.jc(predicted, truth) == (1 if both else 0)
    # MONAI: NaN for the 95th percentile, infinity without one
    tensors = [torch.from_numpy(mask)[None, None] for mask in (predicted, truth)]
    for percentile, expected in ((95, math.nan), (None, math.nan if both else math.inf)):
        found = compute_hausdorff_distance(*tensors, percentile=percentile, include_background=True).item()
        assert found == pytest.approx(expected, nan_ok=True)
    found = compute_surface_dice(*tensors, [1.0], include_background=True).item()
    assert found == pytest.approx(math.nan if both else 0, nan_ok=True)
    # surface-distance: infinity and 0, even where both are. With NumPy 2 its release 0.1 needs the name it uses.
    monkeypatch.setattr(np, "Inf", np.inf, raising=False)
    lists = compute_surface_distances(truth, predicted, UNIT)
    assert compute_robust_hausdorff(lists, 95) == math.inf
    with np.errstate(invalid="ignore"):
        found = compute_surface_dice_at_tolerance(lists, 1)
    assert found == pytest.approx(math.nan if both else 0, nan_ok=True)
    # ours: a distance is undefined; an overlap is undefined where both are empty and else 0
    surfaces = Surfaces(truth, predicted, UNIT)
    distances = [
        surfaces.hausdorff(),
        surfaces.average_distance(),
        *map(surfaces.hausdorff_95, HAUSDORFFS_95),
    ]
    assert all(map(math.isnan, distances))
    overlaps = [dice(truth, predicted), jaccard(truth, predicted), surfaces.surface_dice(1)]
    assert overlaps == [pytest.approx(math.nan if both else 0, nan_ok=True)] * 3


@pytest.mark.parametrize(
    ("name", "penalty"), [("brats2020", 373.12866), ("brats2023-lesionwise", 374.0), ("brats2024", 337.0)]
)
@pytest.mark.parametrize("empty", PAIRS)
def test_protocols_say_what_their_programs_do_with_empty_masks(name: str, penalty: float, empty: str) -> None:
    """nnU-Net's script for BraTS 2020; `get_LesionWiseResults` of 2023 and 2024, run on such files."""
    rules = protocol(name)
    assert rules.masks is not None
    label = rules.masks.labels[2]  # 4, and 3 since 2023: enhancing tumour
    pair = [label * mask.astype(np.uint8) for mask in PAIRS[empty]]
    found = judge_masks(*pair, UNIT, rules.masks, rules.metrics)["ET"]
    both = empty == "both"
    for metric, value in found.items():
        if metric in ("voxel_sensitivity", "voxel_specificity"):
            continue
        if metric.endswith("hausdorff_95"):
            assert value == (0 if both else penalty), metric
        else:
            assert value == (1 if both else 0), metric


def labels_by_number(number: int) -> tuple[Any, Any, tuple[float, ...]]:
    """Blocks of labels 0 to 4, as truth and a little aside, with others over them; the same on every machine."""
    chance = random.Random(number)

    def below(end: int) -> int:
        return int(chance.random() * end)

    shape = (30 + below(14), 24 + below(12), 14 + below(8))

    def blocks(count: int) -> Any:
        found = np.zeros(shape, np.uint8)
        for _ in range(count):
            low = [below(length) for length in shape]
            sides = [1 + below(6) for _ in shape]
            if chance.random() < 0.25:
                sides[below(3)] = 18
            found[tuple(slice(a, a + b) for a, b in zip(low, sides, strict=True))] = below(5)
        return found

    truth = blocks(6 + below(22))
    predicted = np.roll(truth, [below(3) - 1 for _ in shape], (0, 1, 2))
    if number % 3:
        other = blocks(4 + below(8))
        predicted = np.where(other, other, predicted)
    if number % 2:
        return truth, predicted, UNIT
    return truth, predicted, (0.5 + below(4) / 4, 0.5 + below(4) / 4, 1.0 + below(5) / 4)


def lesion_scores(
    truth: Any, predicted: Any, spacing: tuple[float, ...], rules: Protocol
) -> dict[str, list[float]]:
    """True and false positives, false negatives, Dice and distance of each region, and since 2024 surface Dice."""
    regions, year = {each.name: each for each in rules.masks.regions}, rules.masks.lesions
    found = {}
    for name, region in regions.items():
        inside = {key: [np.isin(each, regions[key].labels) for each in (truth, predicted)] for key in regions}
        touching = [
            SubRegion(*inside[key], regions[key].dilation, regions[key].smallest) for key in region.touching
        ]
        scores = lesion_wise(
            *inside[name], spacing, dilation=region.dilation, smallest=region.smallest, rules=year,
            penalty=rules.masks.penalty, touching=touching,
        )  # fmt: skip
        found[name] = [
            *(scores.true_positives, scores.false_positives, scores.false_negatives),
            *(scores.dice, scores.hausdorff_95),
            *(scores.surface_dice if year == "2024" else ()),
        ]
    return found


RULES = {"2023": "brats2023-lesionwise", "2024": "brats2024"}


@pytest.mark.parametrize(
    "record", RECORDED["synthetic"]["scores"], ids=lambda record: f"{record['rules']}, {record['number']}"
)
def test_lesions_as_the_organisers_programs_score_them(record: dict[str, Any]) -> None:
    """Every kind of lesion and a cavity, other spacings; the programs' commits and versions stand in the record."""
    found = lesion_scores(*labels_by_number(record["number"]), protocol(RULES[record["rules"]]))
    width = 5 if record["rules"] == "2023" else 7
    assert found.keys() == record["regions"].keys()
    for region, figures in record["regions"].items():
        assert found[region] == pytest.approx(figures[:width], abs=1e-9, rel=0), region


def chain() -> tuple[Any, Any]:
    """Enhancing lesions at the ends of a chain and between two necrotic ones, of which the farther one lies a voxel
    nearer to the start of the first axis and so comes first in reading order; the prediction lacks an end."""
    truth = np.zeros((30, 64, 20), np.uint8)
    truth[8:11, 40:52, 8:11] = 1
    truth[9:12, 12:24, 8:11] = 1
    truth[9:11, 24:40, 8:11] = 3
    truth[9:12, 8:12, 8:11] = 3
    truth[8:11, 52:56, 8:11] = 3
    predicted = truth.copy()
    predicted[9:12, 8:12, 8:11] = 0
    return truth, predicted


# metrics_GLI.py of BraTS-2024-Metrics, commit f1131e3, on files of `chain`, whatever their affine
CHAIN = (0.5, 168.5, 0.4999999975, 0.4999999975)


def test_touching_lesions_are_joined_in_the_order_of_the_whole_grid() -> None:
    found = lesion_scores(*chain(), UNIT, protocol("brats2024"))
    assert found["ET"] == pytest.approx([1, 0, 1, *CHAIN], abs=1e-9, rel=0)
    assert found["NETC"][:5] == [2, 0, 0, 1, 0]


@pytest.mark.parametrize("signs", [(1, 1), (-1, 1), (-1, -1)])
def test_touching_lesions_are_joined_in_the_order_of_the_file(tmp_path: Path, signs: tuple[int, int]) -> None:
    """The programs know nothing of the affine: which lesion is the first depends on how the file lies."""
    for folder, array in zip(("truth", "predicted"), chain(), strict=True):
        write(tmp_path / folder / "case.nii.gz", array, np.diag([*signs, 1, 1]).astype(float))
    _, table = evaluate_folders(
        tmp_path / "truth", tmp_path / "predicted", protocol("brats2024"), bootstrap=10
    )
    row = table[table["region"] == "ET"].iloc[0]
    scores = ("dice", "hausdorff_95", "surface_dice_half", "surface_dice_one")
    assert [row[f"lesion_{each}"] for each in scores] == pytest.approx(CHAIN, abs=1e-9, rel=0)
