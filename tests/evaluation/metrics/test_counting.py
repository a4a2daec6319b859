"""Counts in bins, errors against scikit-learn, sets of species, and the filter of empty frames."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as extra
from sklearn.metrics import jaccard_score, mean_absolute_error, root_mean_squared_error

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation import choose_threshold, group_bootstrap
from graftwork.common.evaluation.metrics.counting import (
    COUNT_BINS,
    count_bin,
    empty_filter_curve,
    empty_threshold,
    exact,
    mae,
    mcrmse,
    rmse,
    set_jaccard,
    within_one_bin,
)

COUNTS = st.lists(st.tuples(st.integers(1, 80), st.integers(1, 80)), min_size=1, max_size=30)
FRAMES = st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=1, max_size=40)


def test_bins_have_their_edges() -> None:
    assert count_bin([1, 2, 9, 10, 11, 50, 51, 4000]).tolist() == [0, 1, 8, 9, 10, 10, 11, 11]
    assert count_bin(range(1, 200)).max() + 1 == len(COUNT_BINS) == 12
    assert int(count_bin(10.0)) == 9 and count_bin([]).shape == (0,)
    assert count_bin([0, 1, 12], (0, *COUNT_BINS)).tolist() == [0, 1, 11]


def test_shares_of_right_bins() -> None:
    truth, predicted = [1, 3, 10, 12, 30, 51, 10, 60], [1, 4, 11, 50, 60, 11, 51, 900]
    assert exact(truth, predicted) == 3 / 8  # 1, 12 and 50, 60 and 900
    assert within_one_bin(truth, predicted) == 7 / 8  # 10 and 51 are two bins apart
    assert exact(truth, predicted, None) == 1 / 8
    assert within_one_bin([5], [9], (0, 5, 10)) == 1.0


@settings(max_examples=60, deadline=None)
@given(COUNTS)
def test_errors_are_those_of_sklearn(rows: list[tuple[int, int]]) -> None:
    truth, predicted = (np.array(each) for each in zip(*rows, strict=True))
    assert mae(truth, predicted) == pytest.approx(mean_absolute_error(truth, predicted), abs=1e-12)
    assert rmse(truth, predicted) == pytest.approx(root_mean_squared_error(truth, predicted), abs=1e-12)
    columns = np.stack([truth, predicted, truth * 0], axis=1), np.stack([predicted, truth, truth], axis=1)
    assert mcrmse(*columns) == pytest.approx(root_mean_squared_error(*columns), abs=1e-12)
    assert mae(truth, predicted) <= rmse(truth, predicted) + 1e-12
    turned = np.random.default_rng(0).permutation(len(truth))
    for metric in (exact, within_one_bin, mae, rmse):
        once = metric(truth, predicted)
        assert metric(predicted, truth) == pytest.approx(once, abs=1e-12)
        assert metric(truth[turned], predicted[turned]) == pytest.approx(once, abs=1e-12)
    assert exact(truth, predicted, None) <= exact(truth, predicted) <= within_one_bin(truth, predicted)


def test_the_root_is_taken_of_each_species_before_the_mean() -> None:
    truth = np.array([[0, 0], [0, 0]])
    predicted = np.array([[2, 0], [0, 4]])
    assert mcrmse(truth, predicted) == pytest.approx((math.sqrt(2) + math.sqrt(8)) / 2, abs=1e-12)
    assert rmse(truth.ravel(), predicted.ravel()) == pytest.approx(math.sqrt(5), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(extra.arrays(bool, st.tuples(st.integers(1, 12), st.integers(2, 5), st.just(2))))
def test_sets_of_species(both: np.ndarray) -> None:
    truth, predicted = both[..., 0], both[..., 1]
    theirs = jaccard_score(truth, predicted, average="samples", zero_division=1.0)
    assert set_jaccard(truth, predicted) == pytest.approx(theirs, abs=1e-12)
    assert set_jaccard(truth.astype(int), predicted) == set_jaccard(predicted, truth)
    assert set_jaccard(truth, truth) == 1.0


def test_two_empty_sets_agree_and_one_does_not() -> None:
    none, some = np.zeros((1, 3), bool), np.ones((1, 3), bool)
    assert (set_jaccard(none, none), set_jaccard(none, some), set_jaccard(some, none)) == (1.0, 0.0, 0.0)
    assert set_jaccard(np.zeros((2, 0)), np.zeros((2, 0))) == 1.0


def test_weights_count_events_again_and_groups_can_be_resampled() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(1, 30, 50), rng.integers(1, 30, 50)
    table, other = rng.integers(0, 3, (50, 4)), rng.integers(0, 3, (50, 4))
    weights = rng.integers(0, 4, (2, 50)).astype(float)
    for metric, one, two in (
        (exact, truth, predicted),
        (within_one_bin, truth, predicted),
        (mae, truth, predicted),
        (rmse, truth, predicted),
        (mcrmse, table, other),
        (set_jaccard, table > 0, other > 0),
    ):
        found = metric(one, two, weights=weights)
        for row, value in zip(weights.astype(int), found, strict=True):
            assert metric(np.repeat(one, row, axis=0), np.repeat(two, row, axis=0)) == pytest.approx(
                value, abs=1e-12
            )
        assert metric(one, two, weights=weights[0]) == pytest.approx(found[0], abs=1e-12)
        assert np.isnan(metric(one, two, weights=np.zeros((1, 50)))).all()
        limits = group_bootstrap(
            lambda w, m=metric, a=one, b=two: m(a, b, weights=w), np.arange(50) // 5, replicates=100
        )
        assert limits.low <= metric(one, two) <= limits.high
        assert math.isnan(metric(one[:0], two[:0]))
    assert math.isnan(mcrmse(np.zeros((3, 0)), np.zeros((3, 0))))


def test_a_filter_by_hand() -> None:
    animal = np.array([1, 1, 0, 1, 0, 0, 1, 0])
    score = np.array([0.9, 0.2, 0.1, 0.6, 0.3, 0.1, 0.6, 0.0])
    found = empty_filter_curve(animal, score)
    assert found.thresholds.tolist() == [0.0, 0.1, 0.2, 0.3, 0.6, 0.9, math.inf]
    assert found.missed.tolist() == [0, 0, 0, 0.25, 0.25, 0.75, 1.0]
    assert found.seen.tolist() == [1, 7 / 8, 5 / 8, 4 / 8, 3 / 8, 1 / 8, 0]
    assert empty_threshold(animal, score, 0.0).value == 0.2
    assert empty_threshold(animal, score, 0.25).value == 0.6  # of two animals at 0.6 neither may be missed
    assert empty_threshold(animal, score, 0.74).value == 0.6
    assert empty_threshold(animal, score, 0.75).value == 0.9
    assert empty_threshold(animal, score, 1.0).value == math.inf
    chosen = empty_threshold(animal, score, 0.25, part="fold 1")
    assert (chosen.chosen_on, chosen.n, chosen.positives) == ("fold 1", 8, 4)
    assert (chosen.sensitivity, chosen.specificity, chosen.target) == (0.75, 1.0, 0.75)


@settings(max_examples=80, deadline=None)
@given(FRAMES, st.sampled_from([0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.9]))
def test_the_threshold_is_the_largest_that_keeps_its_word(
    rows: list[tuple[bool, int]], target: float
) -> None:
    animal, score = (np.array(each) for each in zip(*rows, strict=True))
    curve = empty_filter_curve(animal, score)
    assert (np.diff(curve.seen) < 0).all() and curve.seen[[0, -1]].tolist() == [1.0, 0.0]
    found = empty_threshold(animal, score, target)
    if not animal.any():
        assert math.isnan(found.value) and found.reason and np.isnan(curve.missed).all()
        return
    assert (np.diff(curve.missed) >= 0).all() and curve.missed[[0, -1]].tolist() == [0.0, 1.0]
    assert (score[animal] < found.value).mean() <= target + 1e-12
    assert (score[animal] < np.nextafter(found.value, math.inf)).mean() > target + 1e-12
    assert found.value == curve.thresholds[curve.missed <= target + 1e-12].max()
    if not animal.all():
        assert found.value == choose_threshold(animal, score, "sensitivity", 1 - target).value
    risen = empty_threshold(animal, np.exp(score), target).value
    assert risen == pytest.approx(math.exp(found.value))


def test_a_hundred_animals_may_lose_exactly_five() -> None:
    """5 of 100 is a share of 0.05, however either is rounded; 1 - 0.9 is computed as 0.09999999999999998."""
    score = np.arange(100.0)
    for percent in range(100):
        assert empty_threshold(np.ones(100, bool), score, percent / 100).value == percent
    assert empty_threshold(np.ones(100, bool), score, 1 - 0.9).value == 10


def test_nothing_to_filter_is_undefined() -> None:
    found = empty_filter_curve([], [])
    assert found.thresholds.tolist() == [math.inf] and np.isnan([*found.missed, *found.seen]).all()
    assert math.isnan(empty_threshold([0, 0], [0.1, 0.2], 0.05).value)
    assert math.isnan(empty_threshold([1, 1], [0.1, 0.2], 0.05).specificity)
    endless = empty_filter_curve([1, 0, 1], [math.inf, 0.5, -math.inf])
    assert endless.thresholds.tolist() == [-math.inf, 0.5, math.inf]
    assert endless.missed.tolist() == [0.0, 0.5, 0.5]


def test_what_are_no_counts_is_refused() -> None:
    for function, args, match in (
        (count_bin, ([0, 1],), "begin at 1"),
        (count_bin, ([1.5],), "whole"),
        (exact, ([1, 2], [1, -1]), "whole"),
        (within_one_bin, ([1, 2], [1]), "shape"),
        (mae, ([1, 2], [1, math.nan]), "missing"),
        (rmse, ([1, 2], ["a", "b"]), "numbers"),
        (mae, ([[1, 2]], [[1, 2]]), r"\[n\]"),
        (mcrmse, ([1, 2], [1, 2]), "species"),
        (set_jaccard, ([[1, 2]], [[1, 0]]), "0 and 1"),
        (set_jaccard, ([1, 0], [1, 0]), "species"),
        (set_jaccard, ([[1, 0]], [[1, 0, 0]]), "species"),
        (empty_filter_curve, ([1, 0], [0.5, math.nan]), "NaN"),
        (empty_filter_curve, ([1, 2], [0.5, 0.1]), "0 and 1"),
        (empty_filter_curve, ([1, 0], [[0.5, 0.5], [0.1, 0.1]]), "dimension"),
    ):
        with pytest.raises(TableError, match=match):
            function(*args)  # type: ignore[operator]
    with pytest.raises(UsageError, match="target"):
        empty_threshold([1, 0], [0.5, 0.1], 5)
    with pytest.raises(UsageError, match="rising"):
        count_bin([1], (3, 2))
