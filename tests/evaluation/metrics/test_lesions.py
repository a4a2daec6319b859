"""Lesion-wise scores, against numbers of the organisers' programs and a second, slow way of counting."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import ndimage

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation.arrays import Array, BoolArray
from graftwork.common.evaluation.metrics.lesions import LesionWise, SubRegion, lesion_wise
from graftwork.common.evaluation.metrics.mask_overlap import dice
from graftwork.common.evaluation.metrics.surface_distances import hausdorff_95, surface_dice

UNIT = (1.0, 1.0, 1.0)
# A lesion found with a shift of a voxel, a large and a small one missed, and a speck that is not there.
TRUTH = np.zeros((40, 40, 40), bool)
TRUTH[5:11, 5:11, 5:11] = TRUTH[25:30, 25:30, 25:30] = TRUTH[5:8, 30:33, 5:8] = True
PREDICTED = np.zeros_like(TRUTH)
PREDICTED[6:12, 5:11, 5:11] = PREDICTED[32:34, 5:7, 5:7] = True

ANY = np.ones((3, 3, 3), bool)
EDGES = ndimage.generate_binary_structure(3, 2)


def counts(scores: LesionWise) -> tuple[int, int, int]:
    return scores.true_positives, scores.false_positives, scores.false_negatives


def test_numbers_of_the_organisers_programs() -> None:
    gli = lesion_wise(TRUTH, PREDICTED, UNIT)
    assert gli.dice == pytest.approx(0.277777778, abs=1e-9)
    assert gli.hausdorff_95 == pytest.approx(249.666666667, abs=1e-9)
    assert counts(gli) == (1, 1, 1)
    assert [each.counted for each in gli.lesions] == [True, False, True]
    met = lesion_wise(TRUTH, PREDICTED, UNIT, dilation=1, smallest=2)
    assert met.dice == pytest.approx(0.208333333, abs=1e-9)
    assert met.hausdorff_95 == pytest.approx(280.75, abs=1e-9)
    later = lesion_wise(TRUTH, PREDICTED, UNIT, smallest=10, penalty=337, rules="2024")
    assert later.dice == pytest.approx(0.277777778, abs=1e-9)
    assert later.hausdorff_95 == pytest.approx(225.0, abs=1e-9)
    assert later.surface_dice == pytest.approx((0.219298, 0.333333), abs=1e-6)
    assert later.tolerances == (0.5, 1.0)
    assert counts(later) == (1, 0, 2)


def test_lesions_that_touch_the_same_other_sub_region_are_one() -> None:
    # computed with metrics_GLI.py of BraTS-2024-Metrics, commit f1131e3: necrosis 1, enhancing 3, cavity 4
    truth = np.zeros((60, 14, 14), int)
    truth[4:36, 2:4, 2:4] = 1
    for start in (4, 18, 31):
        truth[start : start + 3, 4:7, 2:5] = 3
    truth[54:57, 9:13, 9:13] = 3
    predicted = np.zeros_like(truth)
    predicted[6:30, 2:4, 2:4] = 1
    for start in (5, 18):
        predicted[start : start + 3, 4:7, 2:5] = 3
    predicted[18, 4, 2] = 0
    predicted[40:43, 9:12, 9:12] = predicted[52:55, 9:13, 8:12] = 3
    predicted[58, 4, 2] = 4
    spacing = (1, 1, 1.5)

    def of(value: int) -> tuple[BoolArray, BoolArray]:
        return truth == value, predicted == value

    necrosis, cavity = SubRegion(*of(1), dilation=5), SubRegion(*of(4), dilation=5)
    scores = lesion_wise(*of(3), spacing, smallest=10, penalty=337, rules="2024", touching=(necrosis, cavity))
    assert scores.dice == pytest.approx(0.30223880597014924, abs=1e-12)
    assert scores.hausdorff_95 == pytest.approx(117.33333333333333, abs=1e-9)
    assert scores.surface_dice == pytest.approx((0.3125028550579894, 0.42929292714646466), abs=1e-12)
    assert counts(scores) == (2, 1, 0)
    assert [each.volume for each in scores.lesions] == [121.5, 72]
    apart = lesion_wise(*of(3), spacing, smallest=10, penalty=337, rules="2024")
    assert counts(apart) == (3, 1, 1)
    other = lesion_wise(*of(1), spacing, dilation=5, smallest=20, penalty=337, rules="2024")
    assert (other.dice, other.hausdorff_95) == pytest.approx((0.8571428571428571, 5))
    assert other.surface_dice == pytest.approx((0.8749999956250001, 0.9062499954687501), abs=1e-12)


def test_predicted_lesions_are_joined_by_predicted_sub_regions_large_enough_to_exist() -> None:
    empty, predicted, bar = (np.zeros((30, 9, 9), bool) for _ in range(3))
    predicted[2:5, 2:5, 2:5] = predicted[20:23, 2:5, 2:5] = True
    bar[4:21, 5, 4] = True

    def false_positives(bar: BoolArray, smallest: float) -> int:
        touching = (SubRegion(empty, bar, smallest=smallest),)
        return lesion_wise(
            empty, predicted, UNIT, smallest=20, rules="2024", touching=touching
        ).false_positives

    assert false_positives(bar, 16) == 1
    assert false_positives(bar, 17) == 2
    assert false_positives(np.roll(bar, 1, 1), 16) == 2  # away
    assert false_positives(np.roll(bar, 1, 2), 16) == 1  # across an edge
    bar = np.roll(bar, 1, 2)
    bar[4], bar[20] = False, False
    bar[5, 5, 5] = bar[19, 5, 5] = True
    assert false_positives(bar, 5) == 2  # across a corner is not touching


@pytest.mark.parametrize(("gap", "lesions"), [(6, 1), (7, 2)])
def test_a_gap_of_six_voxels_joins_two_lesions(gap: int, lesions: int) -> None:
    truth = np.zeros((40, 12, 12), bool)
    truth[4:9, 3:9, 3:9] = truth[9 + gap : 14 + gap, 3:9, 3:9] = True
    scores = lesion_wise(truth, truth, UNIT)
    assert len(scores.lesions) == scores.true_positives == lesions
    assert (scores.dice, scores.hausdorff_95) == (1, 0)
    # predicted lesions are joined likewise, but by the later rules alone
    for rules, met in (("2023", 3 - lesions), ("2024", 1)):
        found = lesion_wise(truth, truth, UNIT, rules=rules)
        assert found.lesions[0].touching == met


def test_in_the_margin_alone_is_a_hit_of_dice_0() -> None:
    truth, predicted = np.zeros((30, 12, 12), bool), np.zeros((30, 12, 12), bool)
    truth[2:7, 2:7, 2:7] = True
    predicted[9, 4, 4] = True
    scores = lesion_wise(truth, predicted, UNIT)
    assert counts(scores) == (1, 0, 0)
    assert scores.dice == 0
    assert 0 < scores.hausdorff_95 < 10
    predicted[9, 4, 4], predicted[10, 4, 4] = False, True
    assert counts(lesion_wise(truth, predicted, UNIT)) == (0, 1, 1)


def test_one_predicted_lesion_may_serve_several() -> None:
    truth, predicted = np.zeros((40, 9, 9), bool), np.zeros((40, 9, 9), bool)
    truth[2:7, 2:7, 2:7] = truth[25:30, 2:7, 2:7] = predicted[2:30, 2:7, 2:7] = True
    scores = lesion_wise(truth, predicted, UNIT)
    assert counts(scores) == (2, 0, 0)
    assert scores.dice == pytest.approx(2 * 5 / (5 + 28))


def test_small_lesions_of_the_truth_do_not_count_but_are_met() -> None:
    truth, predicted = np.zeros((30, 30, 30), bool), np.zeros((30, 30, 30), bool)
    truth[2:4, 2:7, 2:7] = True  # 50 mm³: not more than the smallest
    alone = lesion_wise(truth, predicted, UNIT)
    assert (alone.dice, alone.hausdorff_95, alone.surface_dice) == (1, 0, (1, 1))
    assert counts(alone) == (0, 0, 0)
    predicted[2:4, 2:7, 2:7] = True
    assert counts(lesion_wise(truth, predicted, UNIT)) == (0, 0, 0)
    assert lesion_wise(truth, predicted, (1, 1, 1.01)).true_positives == 1
    predicted[20, 20, 20] = True  # a single voxel is a false positive, unless it is too small to exist
    scores = lesion_wise(truth, predicted, UNIT)
    assert (scores.dice, scores.hausdorff_95, scores.surface_dice) == (0, 374, (0, 0))
    assert counts(scores) == (0, 1, 0)
    assert lesion_wise(truth, predicted, UNIT, smallest=20, rules="2024").dice == 1
    # by the later rules a predicted lesion of as many voxels does not exist, whatever its volume
    missed = lesion_wise(truth, predicted, (2, 2, 2), rules="2024")
    assert counts(missed) == (0, 0, 1)


def test_nothing_to_find_and_nothing_found() -> None:
    empty = np.zeros_like(TRUTH)
    for rules in ("2023", "2024"):
        scores = lesion_wise(empty, empty, UNIT, rules=rules)
        assert (scores.dice, scores.hausdorff_95, scores.surface_dice) == (1, 0, (1, 1))
        assert counts(scores) == (0, 0, 0) and scores.lesions == ()
        missed = lesion_wise(TRUTH, empty, UNIT, rules=rules)
        assert (missed.dice, missed.hausdorff_95) == (0, 374)
        false = lesion_wise(empty, TRUTH, UNIT, smallest=0, rules=rules)
        assert (false.dice, false.hausdorff_95) == (0, 374)
        assert counts(false) == (0, 3, 0)
    assert lesion_wise(TRUTH, PREDICTED, UNIT, tolerances=()).surface_dice == ()


def slowly(
    truth: BoolArray,
    predicted: BoolArray,
    spacing: tuple[float, ...],
    dilation: int,
    smallest: float,
    rules: str,
) -> tuple[float, float, float, int, int, int]:
    """Over the whole grid for each lesion, dilating each anew, as the steps are written down."""

    def parts(mask: BoolArray) -> Array:
        grown = ndimage.label(ndimage.binary_dilation(mask, EDGES, dilation), ANY)[0]
        return np.asarray(grown * mask)

    lesions = parts(truth)
    found = parts(predicted) if rules == "2024" else np.asarray(ndimage.label(predicted, ANY)[0])
    if rules == "2024":
        for each in range(1, found.max() + 1):
            if (found == each).sum() <= smallest:
                found[found == each] = 0
    values, used = [], set()
    hits = misses = 0
    for each in range(1, lesions.max() + 1):
        lesion = lesions == each
        met = set(found[ndimage.binary_dilation(lesion, EDGES, dilation)]) - {0}
        used |= met
        if lesion.sum() * math.prod(spacing) <= smallest:
            continue
        joined = np.isin(found, list(met))
        hits, misses = hits + bool(met), misses + (not met)
        values.append(
            (
                dice(lesion, joined),
                hausdorff_95(lesion, joined, spacing, "surfel-weighted"),
                surface_dice(lesion, joined, spacing, 1.0, "fraction-mean"),
            )
            if met
            else (0.0, 374.0, 0.0)
        )
    false = len(set(np.unique(found)) - {0} - used)
    values += [(0.0, 374.0, 0.0)] * false
    mean = np.mean(values, axis=0) if values else (1.0, 0.0, 1.0)
    return (*(float(each) for each in mean), hits, false, misses)  # type: ignore[return-value]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), dilation=st.integers(1, 3), rules=st.sampled_from(["2023", "2024"]))
def test_a_slow_count_gives_the_same(seed: int, dilation: int, rules: str) -> None:
    chance = np.random.default_rng(seed)
    shape = chance.integers(8, 26, 3)
    masks = []
    for _ in range(2):
        mask = np.zeros(shape, bool)
        for _ in range(int(chance.integers(0, 8))):
            low = chance.integers(0, shape)
            mask[tuple(slice(start, start + int(chance.integers(1, 6))) for start in low)] = True
        masks.append(mask)
    spacing = tuple(chance.choice([0.5, 1.0, 1.3], 3).tolist())
    smallest = float(chance.choice([0, 5, 20]))
    scores = lesion_wise(
        *masks, spacing, dilation=dilation, smallest=smallest, rules=rules, tolerances=(1.0,)
    )
    expected = slowly(masks[0], masks[1], spacing, dilation, smallest, rules)
    assert (scores.dice, scores.hausdorff_95, scores.surface_dice[0]) == pytest.approx(
        expected[:3], abs=1e-12
    )
    assert counts(scores) == expected[3:]
    assert 0 <= scores.dice <= 1
    # the grid around does not matter
    moved = lesion_wise(
        *(np.pad(mask, 4)[..., 4:-4] for mask in masks),
        spacing,
        dilation=dilation,
        smallest=smallest,
        rules=rules,
        tolerances=(1.0,),
    )
    assert (moved.dice, moved.hausdorff_95) == pytest.approx((scores.dice, scores.hausdorff_95))


def test_many_lesions_in_a_brain_take_no_time() -> None:
    chance = np.random.default_rng(0)
    truth = np.zeros((240, 240, 155), bool)
    for low in chance.integers(40, 115, (60, 3)):
        truth[tuple(slice(start, start + 3) for start in low)] = True
    predicted = np.roll(truth, 1, 0)
    start = time.perf_counter()
    scores = lesion_wise(truth, predicted, UNIT, dilation=1, smallest=2)
    assert time.perf_counter() - start < 3  # 0.15 s; a loop over the whole grid takes a minute
    assert scores.false_positives == scores.false_negatives == 0


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match=r"must be \[X, Y, Z\]"):
        lesion_wise(TRUTH[0], PREDICTED[0], UNIT)
    with pytest.raises(UsageError, match="are not compared"):
        lesion_wise(TRUTH, PREDICTED[1:], UNIT)
    with pytest.raises(TableError, match="must hold 0 and 1"):
        lesion_wise(TRUTH * 3, PREDICTED, UNIT)
    for spacing in ((1, 1), (1, 1, 0), (1, 1, math.inf)):
        with pytest.raises(UsageError, match="three positive spacings"):
            lesion_wise(TRUTH, PREDICTED, spacing)
    for wrong, told in (
        ({"dilation": -1}, "a whole number"),
        ({"smallest": math.nan}, "a volume"),
        ({"penalty": math.inf}, "a distance in mm"),
        ({"rules": "2022"}, "one of 2023, 2024"),
        ({"tolerances": (1, -0.5)}, "tolerances: a distance in mm"),
        ({"touching": (SubRegion(TRUTH, PREDICTED),)}, "by the rules of 2024"),
        ({"touching": (SubRegion(TRUTH, PREDICTED[1:]),), "rules": "2024"}, "are not compared"),
    ):
        with pytest.raises(UsageError, match=told):
            lesion_wise(TRUTH, PREDICTED, UNIT, **wrong)  # type: ignore[arg-type]
