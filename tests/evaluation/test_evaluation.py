"""Statistics: agreement with scikit-learn, the bootstrap of groups, the traps of the field, thresholds."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as reference
from hypothesis import assume, given, strategies as st
from predicted import BINARY, EXACT, KERMANY, protocol, quick, scored, table, tails

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation import (
    Threshold,
    accuracy,
    auroc,
    average_precision,
    balanced_accuracy,
    brier,
    choose_threshold,
    confusion,
    evaluate,
    group_bootstrap,
    percentile_interval,
    precision_recall_curve,
    roc_curve,
    score,
    sensitivity,
    specificity,
)
from graftwork.common.evaluation.intervals.bootstrap import multiplicities

# Agreement with scikit-learn


@quick
@given(scored(), st.integers(0, 1000))
def test_discrimination_agrees_with_scikit_learn(data: Any, seed: int) -> None:
    y, s = data
    assert auroc(y, s) == pytest.approx(reference.roc_auc_score(y, s), **EXACT)
    assert average_precision(y, s) == pytest.approx(reference.average_precision_score(y, s), **EXACT)
    weights = np.random.default_rng(seed).integers(0, 4, (5, len(y))).astype(float)
    for values, tool in (
        (auroc(y, s, weights=weights), reference.roc_auc_score),
        (average_precision(y, s, weights=weights), reference.average_precision_score),
    ):
        for row, value in zip(weights, values, strict=True):
            one_class = (row[y == 1].sum() == 0) or (row[y == 0].sum() == 0)
            if not one_class:
                assert value == pytest.approx(tool(y, s, sample_weight=row), **EXACT)


@quick
@given(scored())
def test_curves_agree_with_scikit_learn(data: Any) -> None:
    y, s = data
    x, height, thresholds = reference.roc_curve(y, s, drop_intermediate=False)
    ours = roc_curve(y, s)
    np.testing.assert_allclose(ours.x, x, rtol=0, atol=1e-12)
    np.testing.assert_allclose(ours.y, height, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(ours.thresholds, thresholds)
    precision, recall, levels = reference.precision_recall_curve(y, s)  # thresholds ascend, the end is added
    ours = precision_recall_curve(y, s)
    np.testing.assert_allclose(ours.x[::-1], recall[:-1], rtol=0, atol=1e-12)
    np.testing.assert_allclose(ours.y[::-1], precision[:-1], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(ours.thresholds[::-1], levels)
    assert np.sum(np.diff(np.append(0.0, ours.x)) * ours.y) == pytest.approx(average_precision(y, s), **EXACT)


@quick
@given(scored(), st.floats(0, 1))
def test_decisions_agree_with_scikit_learn(data: Any, threshold: float) -> None:
    y, s = data
    called = s >= threshold
    assert sensitivity(y, s, threshold) == pytest.approx(reference.recall_score(y, called), **EXACT)
    negatives = reference.recall_score(y, called, pos_label=0)
    assert specificity(y, s, threshold) == pytest.approx(negatives, **EXACT)
    assert accuracy(y, s, threshold) == pytest.approx(reference.accuracy_score(y, called), **EXACT)
    balanced = reference.balanced_accuracy_score(y, called)
    assert balanced_accuracy(y, s, threshold) == pytest.approx(balanced, **EXACT)
    assert brier(y, s) == pytest.approx(reference.brier_score_loss(y, s), **EXACT)
    np.testing.assert_array_equal(
        confusion(y, called, "ab"), reference.confusion_matrix(y, called, labels=[0, 1])
    )


@quick
@given(st.integers(3, 6), st.integers(8, 40), st.integers(0, 10_000))
def test_exclusive_classes_agree_with_scikit_learn(classes: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = rng.integers(1, 6, (n, classes)).astype(float)
    p /= p.sum(axis=1, keepdims=True)
    y = rng.integers(0, classes, n)
    assume(len(np.unique(y)) > 1)
    names = "abcdef"[:classes]
    found = score("balanced_accuracy", "multi-class", names, y, p)
    assert found == pytest.approx(
        reference.recall_score(y, p.argmax(1), labels=np.unique(y), average="macro"), **EXACT
    )
    assert found == balanced_accuracy(y, p)
    present = [k for k in range(classes) if 0 < (y == k).sum() < n]
    each = [reference.roc_auc_score(y == k, p[:, k]) for k in present]
    assert score("auroc", "multi-class", names, y, p) == pytest.approx(np.mean(each), **EXACT)
    total = np.mean(np.square(p - np.eye(classes)[y]).sum(axis=1))
    assert score("brier", "multi-class", names, y, p) == pytest.approx(total, **EXACT) == brier(y, p)


def test_group_bootstrap_equals_the_loop_over_drawn_patients() -> None:
    """The replicate itself: patients drawn, all their images taken, scikit-learn asked."""
    frame = table(60, groups=14)
    y, s = (frame["target"] == "pneumonia").to_numpy(), frame["score_pneumonia"].to_numpy()
    names, patient = np.unique(frame["group"], return_inverse=True)
    rng = np.random.default_rng(5)
    loop = []
    for _ in range(200):
        drawn = rng.integers(0, len(names), len(names))
        rows = np.concatenate([np.flatnonzero(patient == each) for each in drawn])
        both = 0 < y[rows].sum() < len(rows)
        loop.append(reference.roc_auc_score(y[rows], s[rows]) if both else math.nan)
    assert 0 < np.isnan(loop).sum() < 10  # one class only: dropped, counted
    interval = group_bootstrap(
        lambda w: auroc(y, s, weights=w), frame["group"].to_numpy(), replicates=200, seed=5
    )
    assert interval.undefined == np.isnan(loop).sum()
    expected = np.nanquantile(loop, tails(len(names)))
    assert (interval.low, interval.high) == pytest.approx(tuple(expected), **EXACT)


# The bootstrap


def test_drawn_groups_are_as_many_as_there_are_and_blocks_do_not_matter() -> None:
    whole = np.concatenate(list(multiplicities(7, 100, 3)))
    assert whole.shape == (100, 7)
    assert (whole.sum(axis=1) == 7).all()
    for block in (1, 3, 64):
        np.testing.assert_array_equal(whole, np.concatenate(list(multiplicities(7, 100, 3, at_a_time=block))))
    assert not np.array_equal(whole, np.concatenate(list(multiplicities(7, 100, 4))))


def test_random_draws_approach_the_exhaustive_ones() -> None:
    """Three patients, all 27 draws: every value comes with its frequency, within five standard errors."""
    right, patient = np.array([1, 1, 0, 0, 0, 1]), np.array([0, 0, 0, 1, 1, 2])
    sizes, sums = np.bincount(patient), np.bincount(patient, right)
    exact: dict[float, float] = {}
    for draw in itertools.product(range(3), repeat=3):
        value = round(sum(sums[list(draw)]) / sum(sizes[list(draw)]), 9)
        exact[value] = exact.get(value, 0.0) + 1 / 27
    rows = np.concatenate(list(multiplicities(3, 20_000, 0)))
    found = accuracy(np.ones(6), right, 0.5, weights=rows[:, patient]).round(9)
    assert set(np.unique(found)) == set(exact)
    for value, share in exact.items():
        assert np.mean(found == value) == pytest.approx(share, abs=5 * math.sqrt(share / 20_000))


def test_undefined_replicates_are_dropped_and_counted_up_to_five_percent() -> None:
    values = np.arange(1000, dtype=float)
    values[:50] = np.nan
    found = percentile_interval(values)
    assert found.undefined == 50
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(values[50:], [0.025, 0.975])))
    values[50] = np.nan
    found = percentile_interval(values)
    assert math.isnan(found.low) and math.isnan(found.high)
    assert "undefined in 51 of 1,000 replicates" in found.reason


def test_one_group_has_no_interval() -> None:
    found = group_bootstrap(lambda w: w.sum(axis=1), ["a"] * 5)
    assert math.isnan(found.low) and "1 group only" in found.reason
    frame = table().assign(group="p1")
    frame = frame.assign(part=np.where(np.arange(len(frame)) % 2, "test", "validation"))
    result = evaluate(frame, BINARY, KERMANY, bootstrap=50).result("auroc")
    assert 0 < result.value < 1
    assert math.isnan(result.low) and "1 patient only" in result.reason


def test_no_replicates_no_interval() -> None:
    with pytest.raises(UsageError, match="at least 2 bootstrap replicates"):
        evaluate(table(), BINARY, KERMANY, bootstrap=1)


def test_missing_groups_are_refused() -> None:
    with pytest.raises(TableError, match="has no group"):
        group_bootstrap(lambda w: w.sum(axis=1), np.array(["a", None], dtype=object))


# Traps


def test_order_of_rows_changes_nothing() -> None:
    frame = table()
    first = evaluate(frame, BINARY, protocol(BINARY), bootstrap=200)
    for seed in range(3):
        mixed = frame.sample(frac=1, random_state=seed)
        assert evaluate(mixed, BINARY, protocol(BINARY), bootstrap=200) == first


@quick
@given(scored())
def test_a_monotone_transform_leaves_ranks_alone(data: Any) -> None:
    y, s = data
    for other in (1 / (1 + np.exp(-s)), 100 * s - 90, np.exp(s), s**3 * 1e-8):
        assert auroc(y, other) == auroc(y, s)
        assert average_precision(y, other) == average_precision(y, s)
    assert auroc(y, -s) == pytest.approx(1 - auroc(y, s), **EXACT)
    assert 0 <= auroc(y, s) <= 1


def test_logits_beyond_0_to_1_are_ranked_as_they_are() -> None:
    assert auroc([0, 1, 0, 1], [-100, -90, 90, 100]) == 0.75


def test_duplicated_images_do_not_shrink_an_interval() -> None:
    """Every image twice within its patient adds no patient: the same interval to the last digit."""
    frame = table()
    twice = pd.concat([frame, frame.assign(case=frame["case"] + "-copy")], ignore_index=True)
    once, again = (evaluate(each, BINARY, protocol(BINARY), bootstrap=300) for each in (frame, twice))
    for first, second in zip(once.results, again.results, strict=True):
        assert second.n == 2 * first.n and second.groups == first.groups
        assert (second.low, second.high) == pytest.approx((first.low, first.high), **EXACT)
        assert second.high > second.low
    images = evaluate(twice.drop(columns="group"), BINARY, protocol(BINARY), bootstrap=300)
    assert images.result("auroc").high - images.result("auroc").low < 0.8 * (
        again.result("auroc").high - again.result("auroc").low
    )


@pytest.mark.parametrize(("kept", "undefined"), [("normal", 5), ("pneumonia", 3)])
def test_one_class_gives_nan_with_a_reason(kept: str, undefined: int) -> None:
    frame = table()
    frame = frame[(frame["part"] == "validation") | (frame["target"] == kept)]
    found = evaluate(frame, BINARY, KERMANY, bootstrap=50)
    lacking = [each for each in found.results if math.isnan(each.value)]
    names = {
        "normal": ["auroc", "average_precision", "sensitivity", "balanced_accuracy"],
        "pneumonia": ["auroc", "specificity", "balanced_accuracy"],
    }[kept]
    assert [each.metric for each in lacking] == names
    assert all(
        f"no {'positive' if kept == 'normal' else 'negative'} case among" in each.reason for each in lacking
    )
    assert all(math.isnan(each.low) and math.isnan(each.high) for each in lacking)
    assert math.isnan(auroc([1, 1], [0.1, 0.2])) and math.isnan(average_precision([0, 0], [0.1, 0.2]))
    assert math.isnan(auroc([], [])) and math.isnan(accuracy([], [], 0.5))


def test_a_rare_class_has_a_value_and_no_interval() -> None:
    """One positive patient of 40 is missing from over a third of the replicates."""
    frame = table(40, groups=40, parts=False).assign(group=[f"p{row}" for row in range(40)])
    frame["target"] = ["pneumonia"] + ["normal"] * 39
    result = evaluate(frame, BINARY, KERMANY, threshold=0.5, bootstrap=400).result("auroc")
    assert 0 <= result.value <= 1
    assert math.isnan(result.low) and "replicates, more than 5 %" in result.reason
    assert 0.25 * 400 < result.undefined < 0.5 * 400


def test_nan_scores_raise() -> None:
    for metric in (auroc, average_precision, brier, roc_curve, choose_threshold):
        with pytest.raises(TableError, match=r"1 of 2 values of . are NaN"):
            metric([0, 1], [0.5, math.nan])
    with pytest.raises(TableError, match="Remove unknown labels"):
        auroc([0, -1, 1], [0.1, 0.2, 0.3])
    with pytest.raises(TableError, match="nan"):
        auroc([0, math.nan, 1], [0.1, 0.2, 0.3])
    with pytest.raises(TableError, match=r"0\.\.1"):
        brier([0, 1], [0.5, 1.5])


# Thresholds


@quick
@given(scored(), st.sampled_from(["youden", "sensitivity", "specificity"]), st.floats(0, 1))
def test_chosen_thresholds_are_the_best_of_all(data: Any, rule: str, target: float) -> None:
    y, s = data
    found = choose_threshold(y, s, rule, target)
    at = {t: (sensitivity(y, s, t), specificity(y, s, t)) for t in np.unique(s).tolist()}
    if rule == "youden":
        best = max(a + b for a, b in at.values())
        expected = min(t for t, (a, b) in at.items() if a + b >= best - 1e-9)
    elif rule == "sensitivity":
        expected = max(t for t, (a, _) in at.items() if a >= target - 1e-12)
    else:
        reached = [t for t, (_, b) in at.items() if b >= target - 1e-12]
        expected = min(reached) if reached else math.nextafter(max(at), math.inf)
    assert found.value == expected
    assert found.sensitivity == pytest.approx(sensitivity(y, s, found.value), **EXACT)
    assert found.specificity == pytest.approx(specificity(y, s, found.value), **EXACT)
    assert (found.n, found.positives, found.chosen_on) == (len(y), y.sum(), "validation")


def test_where_no_score_is_specific_enough_nothing_is_positive() -> None:
    y, s = [1, 0, 1], [0.9, 0.9, 0.1]
    found = choose_threshold(y, s, "specificity", 0.5)
    assert (found.value, found.sensitivity, found.specificity) == (math.nextafter(0.9, 1), 0.0, 1.0)
    assert (sensitivity(y, s, found.value), specificity(y, s, found.value)) == (0.0, 1.0)


def test_a_score_at_the_threshold_is_positive() -> None:
    assert sensitivity([1, 0], [0.5, 0.5], 0.5) == 1.0
    assert specificity([1, 0], [0.5, 0.5], 0.5) == 0.0
    frame = table()
    at = float(frame.loc[frame["part"] == "test", "score_pneumonia"].iloc[0])
    found = evaluate(frame, BINARY, KERMANY, threshold=at, bootstrap=20)
    test = frame[frame["part"] == "test"]
    y, s = test["target"] == "pneumonia", test["score_pneumonia"]
    for metric in (sensitivity, specificity, accuracy, balanced_accuracy):
        assert found.result(metric.__name__).value == metric(y, s, at)
    assert accuracy(y, s, at) != accuracy(y, s, math.nextafter(at, 1))


def test_thresholds_see_validation_only() -> None:
    frame = table()
    found = evaluate(frame, BINARY, KERMANY, bootstrap=50)
    validation = frame[frame["part"] == "validation"]
    expected = choose_threshold(validation["target"] == "pneumonia", validation["score_pneumonia"])
    assert found.threshold == expected
    test = frame[frame["part"] == "test"]
    value = sensitivity(test["target"] == "pneumonia", test["score_pneumonia"], expected.value)
    assert found.result("sensitivity").value == value


def test_a_threshold_from_the_part_that_is_evaluated_is_refused() -> None:
    frame = table()
    with pytest.raises(UsageError, match="chosen on part 'test', which is also evaluated"):
        evaluate(frame, BINARY, KERMANY, threshold_part="test")
    with pytest.raises(UsageError, match="chosen on part 'validation'"):
        evaluate(frame, BINARY, KERMANY, part="validation")
    test = frame[frame["part"] == "test"]
    leaked = choose_threshold(test["target"] == "pneumonia", test["score_pneumonia"], part="test")
    with pytest.raises(UsageError, match="chosen on part 'test'"):
        evaluate(frame, BINARY, KERMANY, threshold=leaked)
    fixed = evaluate(frame, BINARY, KERMANY, threshold=0.0, threshold_part="test", bootstrap=20)
    assert fixed.threshold == Threshold(0.0, "fixed", chosen_on="")
    assert fixed.result("sensitivity").value == 1.0


def test_without_validation_decisions_are_undefined_and_the_rest_stands() -> None:
    found = evaluate(table(parts=False), BINARY, KERMANY, bootstrap=50)
    reason = "no threshold could be chosen: no case in part validation"
    assert {each.metric for each in found.results if each.reason == reason} == {
        "sensitivity",
        "specificity",
        "accuracy",
        "balanced_accuracy",
    }
    assert found.result("auroc").low < found.result("auroc").value < found.result("auroc").high


def test_groups_in_both_parts_are_told() -> None:
    frame = table().assign(part=np.where(np.arange(240) % 2, "test", "validation"))
    assert any(
        "are also in part validation" in note for note in evaluate(frame, BINARY, KERMANY, bootstrap=20).notes
    )
    assert not any(
        "are also in part" in note for note in evaluate(table(), BINARY, KERMANY, bootstrap=20).notes
    )


@pytest.mark.parametrize("rule", ["yuden", "0.5"])
def test_unknown_rules_are_answered(rule: str) -> None:
    with pytest.raises(UsageError, match="there are youden, sensitivity, specificity"):
        evaluate(table(), BINARY, KERMANY, threshold=rule)
