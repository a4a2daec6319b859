"""Net benefit by its figures and its formula; operating points against scikit-learn and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation import Threshold, choose_threshold, empty_filter_curve, group_bootstrap
from graftwork.common.evaluation.metrics.decision_curves import (
    decision_curve,
    net_benefit,
    operating_point_table,
    operating_points_of,
    treat_all,
)
from graftwork.common.evaluation.metrics.workload import work_curve
from graftwork.common.evaluation.tables.predictions import Question

EXACT = {"abs": 1e-9, "rel": 0}
Y = np.array([0, 0, 0, 0, 1, 0, 1, 0, 1, 1, 1, 1])
P = np.array([0.03, 0.12, 0.22, 0.27, 0.31, 0.41, 0.48, 0.56, 0.71, 0.83, 0.91, 0.97])
ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 10)), min_size=1, max_size=40)
GRID = np.arange(10) / 10


def by_hand(y: np.ndarray, p: np.ndarray, t: float) -> float:
    called = p >= t
    return float(((called & (y == 1)).sum() - (called & (y == 0)).sum() * t / (1 - t)) / len(y))


def test_the_figures_of_the_example() -> None:
    assert net_benefit(Y, P, [0.1, 0.2, 0.5]) == pytest.approx([0.453703704, 0.416666667, 0.25], **EXACT)
    assert treat_all(Y, 0.1) == pytest.approx([0.444444444], **EXACT)


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_net_benefit_is_its_formula_on_edges_too(rows: list[tuple[bool, int]]) -> None:
    y, k = (np.array(each) for each in zip(*rows, strict=True))
    p = k / 10
    found = net_benefit(y, p, GRID)
    assert found == pytest.approx([by_hand(y, p, t) for t in GRID], abs=1e-12)
    assert (found <= y.mean() + 1e-12).all()
    assert net_benefit(y, p, GRID[::-1]) == pytest.approx(found[::-1], abs=0)  # thresholds in any order
    turned = np.random.default_rng(0).permutation(len(y))
    assert net_benefit(y[turned], p[turned], GRID) == pytest.approx(found, abs=1e-12)
    assert treat_all(y, GRID) == pytest.approx(y.mean() - (1 - y.mean()) * GRID / (1 - GRID), abs=1e-12)
    assert found[0] == pytest.approx(y.mean(), abs=1e-12)  # at 0 all are treated, for nothing


def test_one_class_is_worth_what_the_formula_says_and_nothing_is_undefined() -> None:
    assert net_benefit([1, 1], [0.2, 0.6], [0.5]) == pytest.approx([0.5])
    assert net_benefit([0, 0], [0.2, 0.6], [0.5]) == pytest.approx([-0.5])
    assert np.isnan(net_benefit([], [], [0.1, 0.5])).all() and np.isnan(treat_all([], [0.1])).all()
    assert net_benefit(Y, P, []).shape == (0,)


def test_a_curve_and_its_limits() -> None:
    rng = np.random.default_rng(0)
    patient = rng.integers(0, 60, 400)
    p = rng.random(400)
    y = rng.random(400) < p
    found = decision_curve(y, p, patient, replicates=400, seed=3, group="patient")
    assert found.thresholds == pytest.approx(np.linspace(0.01, 0.99, 99))
    assert found.model == pytest.approx(net_benefit(y, p, found.thresholds), abs=1e-12)
    assert found.treat_all == pytest.approx(treat_all(y, found.thresholds), abs=1e-12)
    assert (found.low <= found.model).all() and (found.model <= found.high).all()
    assert (found.gain_low[60:] > 0).all()
    assert (found.n, found.positives, found.groups, found.reason) == (400, y.sum(), 60, "")
    assert "60 patients" in found.method

    def at_half(weights: np.ndarray) -> np.ndarray:
        return np.asarray((weights @ ((p >= 0.5) * np.where(y, 1.0, -1.0))) / weights.sum(1))

    alone = group_bootstrap(at_half, patient, replicates=400, seed=3)
    assert (found.low[49], found.high[49]) == pytest.approx((alone.low, alone.high), abs=1e-12)
    doubled = decision_curve(np.tile(y, 2), np.tile(p, 2), np.tile(patient, 2), replicates=400, seed=3)
    assert doubled.low == pytest.approx(found.low, abs=1e-12)  # cases doubled: no narrower


def test_a_curve_without_groups_to_resample_has_no_limits() -> None:
    for y, p, groups in ((Y, P, np.zeros(12)), ([], [], [])):
        found = decision_curve(y, p, groups, [0.1, 0.2])
        assert np.isnan(found.low).all() and np.isnan(found.gain_high).all() and found.reason


@settings(max_examples=40, deadline=None)
@given(ROWS, st.integers(0, 11))
def test_operating_points_are_those_of_a_confusion_matrix(rows: list[tuple[bool, int]], t: int) -> None:
    y, s = (np.array(each) for each in zip(*rows, strict=True))
    (found,) = operating_point_table(y, s, [t])
    (tn, fp), (fn, tp) = confusion_matrix(y, s >= t, labels=[False, True])
    for share, hits, n in (
        (found.sensitivity, tp, tp + fn),
        (found.specificity, tn, tn + fp),
        (found.ppv, tp, tp + fp),
        (found.npv, tn, tn + fn),
    ):
        assert (share.hits, share.n) == (hits, n)
        assert math.isnan(share.group_low)
        if not n:
            assert math.isnan(share.value) and math.isnan(share.low) and math.isnan(share.high)
            continue
        theirs = binomtest(int(hits), int(n)).proportion_ci(0.95, "wilson")
        assert (share.value, share.low, share.high) == pytest.approx(
            (hits / n, theirs.low, theirs.high), abs=1e-9
        )
    assert (found.prevalence.hits, found.called.hits) == (y.sum(), tp + fp)
    assert found.prevalence.value == pytest.approx(y.mean())
    (turned,) = operating_point_table(
        ~y, -s + 0.0, [math.nextafter(-t, math.inf)]
    )  # mirrored at the threshold
    assert turned.sensitivity == found.specificity and turned.npv == found.ppv


def test_limits_by_groups_stand_beside_those_of_wilson() -> None:
    rng = np.random.default_rng(1)
    patient = np.repeat(np.arange(40), 10)
    y = rng.random(40)[patient] < 0.5
    s = y + rng.normal(0, 1, 40)[patient]  # all cases of a patient alike
    found = operating_point_table(y, s, [0.3, 0.7], patient, replicates=400)
    assert [each.threshold.value for each in found] == [0.3, 0.7]
    for each in found:
        assert each.groups == 40 and not each.reason
        for share in (each.sensitivity, each.specificity, each.ppv, each.npv):
            assert share.group_low < share.value < share.group_high
            assert share.group_high - share.group_low > 2 * (share.high - share.low)
    assert operating_point_table(y, s, [0.3], patient, replicates=400)[0] == found[0]
    (lone,) = operating_point_table(y, s, [0.3], np.zeros(400))
    assert math.isnan(lone.ppv.group_low) and lone.reason and lone.ppv.low == found[0].ppv.low


def test_a_threshold_is_not_judged_on_the_part_it_was_chosen_on() -> None:
    chosen = choose_threshold(Y, P, "sensitivity", 0.9)
    (found,) = operating_point_table(Y, P, [chosen], part="test")
    assert found.threshold is chosen and found.sensitivity.value == 1.0
    with pytest.raises(UsageError, match="validation"):
        operating_point_table(Y, P, [chosen], part="validation")
    with pytest.raises(TableError, match="NaN"):
        operating_point_table(Y, P, [choose_threshold([1], [0.5])])


def test_what_is_no_threshold_probability_or_group_is_refused() -> None:
    for t in (1.0, -0.1, math.nan):
        with pytest.raises(UsageError, match="thresholds"):
            net_benefit(Y, P, [t])
    with pytest.raises(TableError, match=r"0\.\.1"):
        net_benefit(Y, P * 2, [0.1])
    with pytest.raises(TableError, match="dimension"):
        net_benefit([0, 1], [[0.5, 0.5], [0.1, 0.9]], [0.1])
    with pytest.raises(TableError, match="groups"):
        decision_curve(Y, P, [1, 2])
    with pytest.raises(TableError, match="groups"):
        operating_point_table(Y, P, [0.5], [1, 2])
    with pytest.raises(TableError, match="NaN"):
        operating_point_table([0, 1], [0.5, math.nan], [0.5])


def test_the_limits_of_treating_all_are_those_of_the_share_of_positives() -> None:
    rng = np.random.default_rng(4)
    patient = rng.integers(0, 50, 300)
    p = rng.random(300)
    y = (rng.random(300) < p).astype(float)
    found = decision_curve(y, p, patient, [0.2, 0.6], replicates=400, seed=2)
    share = group_bootstrap(lambda w: (w @ y) / w.sum(1), patient, replicates=400, seed=2)
    for k, odds in enumerate((0.25, 1.5)):
        wanted = [each - (1 - each) * odds for each in (share.low, share.high)]
        assert (found.all_low[k], found.all_high[k]) == pytest.approx(wanted, abs=1e-12)


def test_points_of_several_labels_are_of_the_same_drawn_groups() -> None:
    """One label is unknown in some cases, and one is called of nobody."""
    rng = np.random.default_rng(5)
    n, patient = 300, np.arange(300) // 4
    codes, count = np.unique(patient, return_inverse=True)[1], 75
    truth = rng.random((n, 2)) < 0.4
    scores = truth * 0.3 + rng.random((n, 2)) * 0.6
    known = rng.random(n) < 0.8
    rows = [np.flatnonzero(known), np.arange(n)]
    questions = [
        Question(name, each, truth[each, k], scores[each, k], codes[each], count)
        for k, (name, each) in enumerate(zip("ab", rows, strict=True))
    ]
    at = [Threshold(0.5, "fixed", chosen_on="", label="a"), Threshold(2.0, "fixed", chosen_on="", label="b")]
    one, none = operating_points_of(questions, at, replicates=300, seed=1, group="patient")
    called, positive = (scores[:, 0] >= 0.5) & known, truth[:, 0] & known
    for share, hits, among in (
        (one.sensitivity, called & positive, positive),
        (one.ppv, called & positive, called),
        (one.prevalence, positive, known),
        (one.called, called, known),
    ):
        limits = group_bootstrap(
            lambda w, h=hits, a=among: (w @ h) / (w @ a), patient, replicates=300, seed=1
        )
        assert (share.hits, share.n) == (hits.sum(), among.sum())
        assert (share.group_low, share.group_high) == pytest.approx((limits.low, limits.high), abs=1e-12)
    assert math.isnan(none.ppv.value) and math.isnan(none.ppv.group_low) and "undefined" in none.ppv.reason
    assert (none.sensitivity.value, none.specificity.value) == (0.0, 1.0) and not none.npv.reason
    with pytest.raises(UsageError, match="evaluated part"):
        operating_points_of(questions[:1], [Threshold(0.5, "youden", chosen_on="test")], part="test")
    assert operating_points_of([], []) == []


@settings(max_examples=40, deadline=None)
@given(ROWS.filter(lambda rows: any(one for one, _ in rows)))
def test_the_work_left_is_that_of_the_filter_at_the_threshold_that_misses_so_many(
    rows: list[tuple[bool, int]],
) -> None:
    y, s = (np.array(each) for each in zip(*rows, strict=True))
    grid = np.arange(21) / 20
    found = work_curve(y, s, np.zeros(len(y)), grid)
    every = empty_filter_curve(y, s)
    for m, left in zip(grid, found.left, strict=True):
        assert left == pytest.approx(every.seen[every.missed <= m + 1e-9].min(), abs=1e-12)
    assert np.isnan(found.low).all() and found.reason


def test_limits_of_the_work_left_are_of_the_groups_as_often_as_they_are_drawn() -> None:
    rng = np.random.default_rng(6)
    place = rng.integers(0, 30, 200)
    y = rng.random(200) < 0.4
    s = np.round(y * 0.3 + rng.random(200), 1)

    def left(weights: np.ndarray) -> np.ndarray:
        found = []
        for row in weights.astype(int):
            cases = np.repeat(np.arange(200), row)
            found.append(work_curve(y[cases], s[cases], np.zeros(len(cases)), [0.05]).left[0])
        return np.array(found)

    alone = group_bootstrap(left, place, replicates=100, seed=7)
    found = work_curve(y, s, place, [0.0, 0.05, 1.0], replicates=100, seed=7, group="place")
    assert (found.low[1], found.high[1]) == pytest.approx((alone.low, alone.high), abs=1e-12)
    assert (found.n, found.positives, found.groups, found.reason) == (200, y.sum(), 30, "")
    assert found.left[0] >= found.left[1] >= found.left[2] == 0 and "30 places" in found.method


def test_no_work_is_told_without_a_positive_case_or_of_what_does_not_fit() -> None:
    found = work_curve([0, 0], [0.1, 0.2], ["a", "b"])
    assert np.isnan(found.left).all() and "no positive case" in found.reason
    assert np.isnan(work_curve([], [], []).left).all()
    with pytest.raises(UsageError, match="missed"):
        work_curve([0, 1], [0.1, 0.2], ["a", "b"], [1.2])
    for s, groups, match in (
        ([0.1, 0.2], ["a"], "groups has 1 values for 2 cases"),
        ([[0.1, 0.2], [0.2, 0.3]], ["a", "b"], "s must have one dimension"),
    ):
        with pytest.raises(TableError, match=match):
            work_curve([0, 1], s, groups)
