"""Statistics beside torchmetrics on random and edge cases; and where another tool gives another number, why.

Each disagreement is pinned with what the tool gives and what ours gives. The figures of torchmetrics are those of 1.9
(`torchmetrics>=1.9,<2`): where a later one has changed its mind, the test of that disagreement goes red, and may go.
netcal and confidenceinterval need other versions of what is installed here, so their figures were written down, each
with tool, version and call.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as reference
from hypothesis import assume, given, settings, strategies as st
from predicted import Target, protocol, scored

from graftwork.common.errors import TableError
from graftwork.common.evaluation import (
    accuracy,
    auroc,
    average_precision,
    balanced_accuracy,
    brier,
    clopper_pearson,
    conformal_quantile,
    delong,
    evaluate,
    expected_calibration_error,
    f1_score,
    group_bootstrap,
    hand_till,
    kappa,
    matthews,
    operating_point_table,
    partial_auroc,
    reliability,
    roc_curve,
    score,
    sensitivity,
    sensitivity_at_specificity,
    specificity,
    specificity_at_sensitivity,
    top_k_accuracy,
    wilson,
)

pytestmark = pytest.mark.filterwarnings("ignore:No (positive|negative) samples:UserWarning")

Ask = Callable[..., Any]
few = settings(deadline=None, max_examples=12, derandomize=True)
EXACT: Any = {"abs": 1e-12, "rel": 0}
SINGLE: Any = {"abs": 1e-6, "rel": 0}  # torchmetrics divides in single precision, whatever the scores come in
Y = np.array([0] * 6 + [1] * 6)
A = np.array([0.10, 0.30, 0.30, 0.35, 0.60, 0.80, 0.20, 0.35, 0.55, 0.60, 0.90, 0.95])
B = np.array([0.20, 0.10, 0.40, 0.30, 0.50, 0.45, 0.30, 0.50, 0.60, 0.40, 0.70, 0.65])
YC = np.array([0, 0, 0, 0, 1, 0, 1, 0, 1, 1, 1, 1])
PC = np.array([0.03, 0.12, 0.22, 0.27, 0.31, 0.41, 0.48, 0.56, 0.71, 0.83, 0.91, 0.97])
Y3 = np.array([0] * 5 + [1] * 3 + [2] * 2)
P3 = np.array([[6, 3, 1], [5, 3, 2], [2, 5, 3], [7, 2, 1], [4, 1, 5], [3, 5, 2], [4, 4, 2], [1, 3, 6], [2, 2, 6],
               [3, 4, 3]]) / 10  # fmt: skip
# scores on the edges of four bins, each an exact number in any precision
Y_EDGES = np.array([0, 1, 0, 1, 1, 1, 0, 0, 1, 1, 0, 1])
P_EDGES = np.array([0, 0.25, 0.25, 0.25, 0.5, 0.5, 0.5, 0.75, 0.75, 1, 0.125, 0.625])


@pytest.fixture(scope="module")
def ask() -> Ask:
    """A function of torchmetrics by name, given arrays. It is imported here, as that takes seconds."""
    import torch
    from torchmetrics import functional

    def answered(value: Any) -> Any:
        if isinstance(value, tuple | list):
            return [answered(each) for each in value]
        return value.double().numpy() if value.ndim else float(value)

    def asked(name: str, *arrays: Any, **how: Any) -> Any:
        function = getattr(functional.classification, name, None) or getattr(functional, name)
        return answered(function(*(torch.as_tensor(np.asarray(each)) for each in arrays), **how))

    return asked


# Agreement with torchmetrics


def ranks_agree(ask: Ask, y: Any, s: Any) -> None:
    assert auroc(y, s) == pytest.approx(ask("binary_auroc", s, y), **SINGLE)
    assert average_precision(y, s) == pytest.approx(ask("binary_average_precision", s, y), **SINGLE)
    assert partial_auroc(y, s, 0.2, "mcclish") == pytest.approx(
        ask("binary_auroc", s, y, max_fpr=0.2), **SINGLE
    )
    false, true, _ = ask("binary_roc", s, y)
    curve = roc_curve(y, s)
    assert curve.x == pytest.approx(false, **SINGLE)
    assert curve.y == pytest.approx(true, **SINGLE)
    for aim in (0.3, 0.8, 1.0):
        found, at = sensitivity_at_specificity(y, s, aim)
        theirs = ask("binary_sensitivity_at_specificity", s, y, min_specificity=aim)
        assert found == pytest.approx(theirs[0], **SINGLE)
        assert min(at, 1.0) == theirs[1]  # they call a threshold that nothing reaches 1
        found, at = specificity_at_sensitivity(y, s, aim)
        theirs = ask("binary_specificity_at_sensitivity", s, y, min_sensitivity=aim)
        assert found == pytest.approx(theirs[0], **SINGLE)
        assert min(at, 1.0) == theirs[1]


def rare(n: int, positives: int) -> tuple[Any, Any]:
    s = np.random.default_rng(n).random(n).round(3)  # about ten cases a score
    return (np.arange(n) < positives).astype(int), s


@pytest.mark.parametrize(
    ("y", "s"),
    [
        pytest.param(Y, A, id="ties"),
        pytest.param([0, 1, 0, 1, 1], [0.5] * 5, id="one score alone"),
        pytest.param([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], id="perfect separation"),
        pytest.param([1, 1, 0, 0], [0.1, 0.2, 0.8, 0.9], id="the wrong way round"),
        pytest.param([0, 1], [0.7, 0.7], id="one case a class"),
        pytest.param([0, 0, 0, 1, 0], [0.1, 0.7, 0.7, 0.7, 1.0], id="one positive case"),
        pytest.param([1, 1, 0, 1], [0.0, 0.5, 0.5, 1.0], id="one negative case"),
        pytest.param(*rare(10_001, 1), id="one in 10,000"),
        pytest.param(*rare(30_003, 3), id="three in 30,000"),
    ],
)
def test_ranks_on_edge_cases(ask: Ask, y: Any, s: Any) -> None:
    ranks_agree(ask, np.array(y), np.array(s))


@few
@given(data=scored())
def test_ranks(ask: Ask, data: Any) -> None:
    ranks_agree(ask, *data)


@few
@given(data=scored(), step=st.integers(0, 50))
def test_decisions_at_a_threshold(ask: Ask, data: Any, step: int) -> None:
    y, s = data
    t = (step + 0.3) / 51  # between the scores: at one itself the two differ, see below
    assume(not (s == t).any())
    called = (s >= t).astype(int)
    (point,) = operating_point_table(y, s, [t])
    for name, ours in (
        ("binary_accuracy", accuracy(y, s, t)),
        ("binary_recall", sensitivity(y, s, t)),
        ("binary_specificity", specificity(y, s, t)),
        ("binary_precision", point.ppv.value),
        ("binary_negative_predictive_value", point.npv.value),
        ("binary_f1_score", f1_score(y, called)),
        ("binary_cohen_kappa", kappa(y, called, "ab")),
        ("binary_matthews_corrcoef", matthews(y, called, "ab")),
    ):
        if not math.isnan(ours):  # where ours is undefined they give a number, see below
            assert ours == pytest.approx(ask(name, s, y, threshold=t), **SINGLE), name
    two = np.stack([1 - s, s], axis=1)
    both = ask("multiclass_recall", (two[:, 1] > t).astype(int), y, num_classes=2, average="macro")
    assert balanced_accuracy(y, s, t) == pytest.approx(both, **SINGLE)


@few
@given(data=scored(), bins=st.integers(1, 20), seed=st.integers(0, 1000))
def test_calibration_of_scores_off_the_edges(ask: Ask, data: Any, bins: int, seed: int) -> None:
    y = data[0]
    p = np.random.default_rng(seed).random(len(y))
    found = expected_calibration_error(y, p, bins=bins, variant="class-1")
    assert found == pytest.approx(ask("binary_calibration_error", p, y, n_bins=bins), **SINGLE)
    curve = reliability(y, p, np.arange(len(y)), bins, replicates=2)
    largest = ask("binary_calibration_error", p, y, n_bins=bins, norm="max")
    assert np.nanmax(np.abs(curve.observed - curve.predicted)) == pytest.approx(largest, **SINGLE)
    two = np.stack([1 - p, p], axis=1)
    top = ask("multiclass_calibration_error", two, y, num_classes=2, n_bins=bins)
    assert expected_calibration_error(y, two, bins=bins) == pytest.approx(top, **SINGLE)
    assert brier(y, p) == pytest.approx(ask("mean_squared_error", p, y.astype(float)), **SINGLE)


@few
@given(
    classes=st.integers(2, 5),
    labels=st.lists(st.integers(0, 4), min_size=5, max_size=40),
    seed=st.integers(0, 1000),
)
def test_several_classes(ask: Ask, classes: int, labels: list[int], seed: int) -> None:
    y = np.array(labels) % classes
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(classes), len(y))
    names, called, how = "abcde"[:classes], p.argmax(axis=1), {"num_classes": classes}
    for k in range(1, classes + 1):
        top = ask("multiclass_accuracy", p, y, top_k=k, average="micro", **how)
        assert top_k_accuracy(y, p, k) == pytest.approx(top, **SINGLE)
    for weights, theirs in (("none", None), ("linear", "linear"), ("quadratic", "quadratic")):
        value = ask("multiclass_cohen_kappa", p, y, weights=theirs, **how)  # all classes count, there or not
        assert kappa(y, called, names, weights) == pytest.approx(value, nan_ok=True, **SINGLE)  # type: ignore[arg-type]
    if not math.isnan(matthews(y, called, names)):
        value = ask("multiclass_matthews_corrcoef", p, y, **how)
        assert matthews(y, called, names) == pytest.approx(value, **SINGLE)
    top = ask("multiclass_calibration_error", p, y, n_bins=15, **how)
    assert expected_calibration_error(y, p) == pytest.approx(top, **SINGLE)
    squares = classes * ask("mean_squared_error", p, np.eye(classes)[y])
    assert brier(y, p) == pytest.approx(squares, abs=1e-5)
    if len(np.unique(y)) == classes:  # where a class is absent the means differ, see below
        for name, metric in (
            ("multiclass_auroc", "auroc"),
            ("multiclass_average_precision", "average_precision"),
            ("multiclass_recall", "balanced_accuracy"),
            ("multiclass_f1_score", "macro_f1"),
            ("multiclass_specificity", "specificity"),
        ):
            ours = score(metric, "multi-class", names, y, p)
            assert ours == pytest.approx(ask(name, p, y, average="macro", **how), **SINGLE), name


@pytest.mark.parametrize("seed", range(3))
def test_labels_some_of_them_unknown(ask: Ask, seed: int) -> None:
    """`ignore_index` of torchmetrics leaves a label out as a missing one is left out of ours: of that class alone."""
    rng = np.random.default_rng(seed)
    truth = rng.choice([0.0, 1.0, np.nan], (80, 3), p=[0.5, 0.3, 0.2])
    p = rng.integers(0, 20, (80, 3)) / 20
    target = Target("multi-label", ("x", "y", "z"))
    frame = pd.DataFrame({"case": np.arange(80), "group": np.arange(80) // 2, "part": "test"})
    for k, name in enumerate(target.classes):
        frame[f"target_{name}"], frame[f"score_{name}"] = truth[:, k], p[:, k]
    metrics = ("auroc", "average_precision", "sensitivity", "specificity", "accuracy", "f1", "matthews")
    found = evaluate(frame, target, protocol(target, metrics), threshold=0.52, bootstrap=10)
    coded = np.nan_to_num(truth, nan=-1).astype(int)
    for name, metric in (
        ("multilabel_auroc", "auroc"),
        ("multilabel_average_precision", "average_precision"),
        ("multilabel_recall", "sensitivity"),
        ("multilabel_specificity", "specificity"),
        ("multilabel_accuracy", "accuracy"),
        ("multilabel_f1_score", "f1"),
    ):
        how: dict[str, Any] = {"num_labels": 3, "ignore_index": -1}
        if metric not in ("auroc", "average_precision"):
            how["threshold"] = 0.52
        each = [found.result(metric, name).value for name in target.classes]
        assert each == pytest.approx(ask(name, p, coded, average=None, **how), **SINGLE), name
        assert found.result(metric).value == pytest.approx(
            ask(name, p, coded, average="macro", **how), **SINGLE
        )
    for k, name in enumerate(target.classes):
        value = ask("binary_matthews_corrcoef", p[:, k], coded[:, k], threshold=0.52, ignore_index=-1)
        assert found.result("matthews", name).value == pytest.approx(value, **SINGLE)
        assert found.result("auroc", name).n == (coded[:, k] >= 0).sum()


def test_labels_that_are_not_0_or_1_are_refused_by_both(ask: Ask) -> None:
    for odd in (math.nan, -1):
        labels = np.where(np.arange(12) == 3, odd, Y)
        given = labels if math.isnan(odd) else labels.astype(int)
        with pytest.raises((ValueError, RuntimeError), match="target"):
            ask("binary_auroc", A, given)
        with pytest.raises(TableError, match="must hold 0 and 1"):
            auroc(given, A)


def test_a_bootstrap_of_one_case_a_group_is_that_of_cases(ask: Ask) -> None:
    """Every replicate asked of torchmetrics, on the cases that were drawn."""
    rng = np.random.default_rng(2)
    y, s = rng.integers(0, 2, 30), rng.integers(0, 12, 30) / 12
    draws = np.random.default_rng(7).integers(0, 30, (60, 30))
    for name, metric in (("binary_auroc", auroc), ("binary_average_precision", average_precision)):
        values = [ask(name, s[rows], y[rows]) for rows in draws]

        def of(weights: Any, metric: Any = metric) -> Any:
            return metric(y, s, weights=weights)

        found = group_bootstrap(of, np.arange(30), replicates=60, seed=7, method="percentile")
        assert found.undefined == 0
        assert (found.low, found.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])), **SINGLE)


# Where torchmetrics gives another number


def test_one_class_has_an_area_of_0_there_which_enters_the_mean(ask: Ask) -> None:
    for label in (0, 1):
        assert ask("binary_auroc", [0.1, 0.2], [label, label]) == 0.0
        assert math.isnan(auroc([label, label], [0.1, 0.2]))
    truth, p = np.array([[0, 0], [1, 0]]), np.array([[0.1, 0.3], [0.9, 0.4]])
    assert ask("multilabel_auroc", p, truth, num_labels=2, average=None).tolist() == [1.0, 0.0]
    assert ask("multilabel_auroc", p, truth, num_labels=2, average="macro") == 0.5
    assert score("auroc", "multi-label", "ab", truth, p) == 1.0
    here = Y3 < 2  # no case of the third class
    each = ask("multiclass_auroc", P3[here], Y3[here], num_classes=3, average=None)
    assert each == pytest.approx([5 / 6, 23 / 30, 0.0], **SINGLE)
    macro = ask("multiclass_auroc", P3[here], Y3[here], num_classes=3, average="macro")
    assert macro == pytest.approx(8 / 15, **SINGLE)
    assert score("auroc", "multi-class", "abc", Y3[here], P3[here]) == pytest.approx(0.8, **EXACT)
    assert hand_till(Y3[here], P3[here])[1:] == (1, 3)
    # all positive, and yet a sensitivity at a specificity of 0.9
    assert ask("binary_sensitivity_at_specificity", [0.9, 0.5], [1, 1], min_specificity=0.9) == [1.0, 0.5]
    assert np.isnan(sensitivity_at_specificity([1, 1], [0.9, 0.5], 0.9)).all()


def test_without_a_positive_case_precision_is_0_there_and_enters_the_mean(ask: Ask) -> None:
    assert ask("binary_average_precision", [0.1, 0.2], [0, 0]) == 0.0
    assert math.isnan(average_precision([0, 0], [0.1, 0.2]))
    truth, p = np.array([[0, 0], [1, 0]]), np.array([[0.1, 0.3], [0.9, 0.4]])
    assert ask("multilabel_average_precision", p, truth, num_labels=2, average="macro") == 0.5
    assert score("average_precision", "multi-label", "ab", truth, p) == 1.0


def test_scores_beyond_0_to_1_go_through_a_sigmoid_there_which_makes_ties(ask: Ask) -> None:
    """In single precision 90 and 100 become 1, and -100 and -90 become 0; in double only the upper two are one."""
    y, s = [0, 1, 0, 1], np.array([-100.0, -90.0, 90.0, 100.0])
    assert ask("binary_auroc", s.astype(np.float32), y) == 0.5
    assert ask("binary_auroc", s, y) == 0.625
    assert auroc(y, s) == auroc(y, s.astype(np.float32)) == 0.75
    # and one score above 1 moves all others: the decision at 0.5 of 0.4 is another
    assert ask("binary_recall", [0.4, 1.1], [1, 1]) == 1.0
    assert sensitivity([1, 1], [0.4, 1.1], 0.5) == 0.5


def test_thresholds_on_a_grid_give_another_area(ask: Ask) -> None:
    assert ask("binary_auroc", A, Y, thresholds=5) == pytest.approx(23 / 36, **SINGLE)
    assert auroc(Y, A) == pytest.approx(25 / 36, **EXACT)
    assert ask("binary_average_precision", A, Y, thresholds=5) == pytest.approx(11 / 18, **SINGLE)
    assert average_precision(Y, A) == pytest.approx(0.739520202, abs=1e-9)
    assert ask("binary_sensitivity_at_specificity", A, Y, min_specificity=0.8, thresholds=5)[1] == 0.75
    assert sensitivity_at_specificity(Y, A, 0.8)[1] == 0.9


def test_edges_belong_to_the_bin_above_there_and_to_the_bin_below_here(ask: Ask) -> None:
    """Four bins, nine of twelve scores on their edges; counted by hand from the two rules."""
    left = ask("binary_calibration_error", P_EDGES, Y_EDGES, n_bins=4)
    assert left == pytest.approx(2.75 / 12, **SINGLE)
    right = expected_calibration_error(Y_EDGES, P_EDGES, bins=4, variant="class-1")
    assert right == pytest.approx(1.75 / 12, **EXACT)
    # of the class decided for the same cases are right, in other bins
    two = np.stack([1 - P_EDGES, P_EDGES], axis=1)
    left = ask("multiclass_calibration_error", two, Y_EDGES, num_classes=2, n_bins=4)
    assert left == pytest.approx(1.75 / 12, **SINGLE)
    assert expected_calibration_error(Y_EDGES, P_EDGES, bins=4) == pytest.approx(2 / 12, **EXACT)
    # between the edges both are one number
    assert ask("binary_calibration_error", PC, YC, n_bins=5) == pytest.approx(0.115, **SINGLE)
    assert expected_calibration_error(YC, PC, bins=5, variant="class-1") == pytest.approx(0.115, **EXACT)


def test_a_score_at_the_threshold_is_negative_there(ask: Ask) -> None:
    y, s = [1, 0], [0.5, 0.5]
    assert (ask("binary_recall", s, y), ask("binary_specificity", s, y)) == (0.0, 1.0)
    assert (sensitivity(y, s, 0.5), specificity(y, s, 0.5)) == (1.0, 0.0)


def test_what_is_undefined_is_a_number_there(ask: Ask) -> None:
    none, every = [0, 0], [1, 1]
    assert ask("binary_f1_score", none, none) == 0.0 and math.isnan(f1_score(none, none))
    for called, theirs in (([0, 1], 0.0), (every, 1.0), (none, -1.0)):
        assert ask("binary_matthews_corrcoef", called, every) == theirs
        assert math.isnan(matthews(every, called, "ab"))
    assert ask("binary_recall", [0.1, 0.9], none) == 0.0 and math.isnan(sensitivity(none, [0.1, 0.9], 0.5))
    assert ask("binary_specificity", [0.1, 0.9], every) == 0.0
    assert math.isnan(specificity(every, [0.1, 0.9], 0.5))
    assert math.isnan(ask("binary_cohen_kappa", every, every)) and math.isnan(kappa(every, every, "ab"))


def test_a_class_that_is_not_in_the_truth_enters_the_mean_there(ask: Ask) -> None:
    here = Y3 < 2
    recall = ask("multiclass_recall", P3[here], Y3[here], num_classes=3, average="macro")
    assert recall == pytest.approx((3 / 5 + 1 / 3 + 0) / 3, **SINGLE)
    assert balanced_accuracy(Y3[here], P3[here]) == pytest.approx((3 / 5 + 1 / 3) / 2, **EXACT)
    truth, called = [0, 0, 0, 1, 1, 2, 2, 2], [0, 0, 3, 1, 2, 2, 2, 3]
    union = ask("multiclass_f1_score", called, truth, num_classes=5, average="macro")
    assert union == pytest.approx(8 / 15, **SINGLE)  # of the five classes the four in truth or decisions
    ours = score("macro_f1", "multi-class", "abcde", truth, np.eye(5)[called])
    assert ours == pytest.approx(32 / 45, **EXACT)


def test_a_score_that_is_no_number_is_ranked_first_there(ask: Ask) -> None:
    broken = np.where(np.arange(12) == 0, np.nan, A)
    assert ask("binary_auroc", broken, Y) == pytest.approx(19 / 36, **SINGLE)
    with pytest.raises(TableError, match="1 of 12 values of s are NaN"):
        auroc(Y, broken)


# Where scikit-learn gives another number


def test_scikit_learn_gives_a_tied_row_to_the_higher_class_and_0_to_what_is_undefined() -> None:
    assert reference.top_k_accuracy_score(Y3, P3, k=1) == 0.6
    assert top_k_accuracy(Y3, P3, 1) == reference.accuracy_score(Y3, P3.argmax(axis=1)) == 0.5
    assert reference.matthews_corrcoef([1, 1], [0, 1]) == 0.0 and math.isnan(matthews([1, 1], [0, 1], "ab"))
    with pytest.warns(UserWarning, match="F-score is ill-defined"):
        assert reference.f1_score([0, 0], [0, 0]) == 0.0
    assert math.isnan(f1_score([0, 0], [0, 0]))
    with pytest.warns(UserWarning, match="No positive class"):
        assert reference.average_precision_score([0, 0], [0.1, 0.2]) == 0.0
    assert math.isnan(average_precision([0, 0], [0.1, 0.2]))


def test_scikit_learn_halves_the_brier_score_of_two_columns_and_knows_only_grades_that_were_given() -> None:
    two = np.stack([1 - PC, PC], axis=1)
    assert reference.brier_score_loss(YC, two) == pytest.approx(0.1239, abs=1e-12)
    assert brier(YC, two) == pytest.approx(2 * 0.1239, abs=1e-12)
    truth, called, grades = [0, 0, 2, 2, 3, 3], [0, 2, 2, 3, 3, 3], ("0", "1", "2", "3")
    near = reference.cohen_kappa_score(truth, called, weights="quadratic")  # 2 is one step from 0
    assert near == pytest.approx(0.75, **EXACT)
    assert kappa(truth, called, grades, "quadratic") == pytest.approx(38 / 53, **EXACT)


def test_the_popular_quantile_of_conformal_sets_is_one_too_high() -> None:
    """numpy 2.4.6, `quantile(scores, ceil((n + 1)(1 - alpha)) / n, method="higher")`: the ninth of nine scores."""
    scores = np.array([0.1, 0.2, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.9])
    assert np.quantile(scores, math.ceil(10 * 0.8) / 9, method="higher") == 0.9
    assert conformal_quantile(scores, 0.2) == 0.7


# Figures of tools that are not installed with the tests


@pytest.mark.parametrize(
    ("bins", "ece", "largest"), [(5, 0.115, 0.29), (10, 0.215, 0.69), (15, 0.238333333333, 0.56)]
)
def test_calibration_errors_of_netcal(bins: int, ece: float, largest: float) -> None:
    """netcal 1.4.0, `ECE(bins).measure(p, y)` and `MCE(bins).measure(p, y)`: of the positive class."""
    found = expected_calibration_error(YC, PC, bins=bins, variant="class-1")
    assert found == pytest.approx(ece, abs=1e-9)
    curve = reliability(YC, PC, np.arange(12), bins, replicates=2)
    assert np.nanmax(np.abs(curve.observed - curve.predicted)) == pytest.approx(largest, abs=1e-9)


def test_where_netcal_differs() -> None:
    """netcal 1.4.0. `ECE(4).measure(p, y)` of scores on edges, which belong to the bin above; `ECE(5).measure(two, y)`
    of two columns, of which it takes the positive one; `ECE(bins).measure(p, y)` of three classes, of which the one
    decided for counts, as here."""
    of_edges = 0.229166666667  # MCE 0.416666666667
    assert expected_calibration_error(Y_EDGES, P_EDGES, bins=4, variant="class-1") != pytest.approx(of_edges)
    moved = np.where(P_EDGES < 1, P_EDGES + 1e-12, P_EDGES)  # off the edges, upwards: then it is the same
    assert expected_calibration_error(Y_EDGES, moved, bins=4, variant="class-1") == pytest.approx(
        of_edges, abs=1e-9
    )
    of_two_columns = 0.115
    two = np.stack([1 - PC, PC], axis=1)
    assert expected_calibration_error(YC, two, bins=5) == pytest.approx(0.1, abs=1e-9) != of_two_columns
    rows = [[0.55, 0.3, 0.15], [0.62, 0.2, 0.18], [0.2, 0.47, 0.33], [0.71, 0.2, 0.09], [0.41, 0.1, 0.49],
            [0.3, 0.52, 0.18], [0.36, 0.44, 0.2], [0.1, 0.27, 0.63], [0.2, 0.14, 0.66], [0.3, 0.43, 0.27]]  # fmt: skip
    for bins, of_three in ((5, 0.048), (10, 0.214), (15, 0.144)):
        assert expected_calibration_error(Y3, rows, bins=bins) == pytest.approx(of_three, abs=1e-9)


@pytest.mark.parametrize(
    ("scores", "area", "low", "high"),
    [
        (A, 0.694444477558136, 0.36960366610039136, 1.0192852890158806),
        (B, 0.819444477558136, 0.570548005047355, 1.068340950068917),
    ],
)
def test_delong_of_confidenceinterval(scores: Any, area: float, low: float, high: float) -> None:
    """confidenceinterval 1.0.5, `roc_auc_score(y, s)`: ranks in single precision, limits that leave 0 to 1."""
    found = delong(Y, scores)
    assert found.value == pytest.approx(area, abs=5e-8)
    assert found.value != area
    assert found.low == pytest.approx(low, abs=1e-7)
    assert found.value + (found.value - found.low) == pytest.approx(high, abs=2e-7)  # as far above as below
    assert found.high == 1.0 < high


def test_where_confidenceinterval_has_no_figure_or_another() -> None:
    """confidenceinterval 1.0.5, `roc_auc_score(y, s)`. Six cases, separated: 0.9999999403953552 for 1. One positive
    case: 0.5 (NaN, NaN). None: an AssertionError. Three in 20,001: a lower limit of -0.0267161757754954."""
    separated = delong([0, 0, 0, 1, 1, 1], np.arange(6) / 6)
    assert (separated.value, separated.low, separated.high) == (1.0, 1.0, 1.0)
    assert separated.value - 0.9999999403953552 == pytest.approx(2.0**-24)
    one = delong([0, 0, 1], [0.1, 0.2, 0.15])
    assert one.value == 0.5 and math.isnan(one.low) and one.reason
    none = delong([0, 0], [0.1, 0.2])
    assert math.isnan(none.value) and none.reason
    y = (np.arange(20_001) < 3).astype(int)
    rarest = delong(y, np.random.default_rng(0).random(20_001).round(3))
    assert rarest.low == 0.0 > -0.0267161757754954
    assert rarest.value - 1.959963984540 * rarest.standard_error == pytest.approx(
        -0.0267161757754954, abs=1e-6
    )
    assert rarest.high == pytest.approx(0.6501618654536768, abs=1e-6)


def test_shares_of_confidenceinterval() -> None:
    """confidenceinterval 1.0.5 on A at 0.5, method "wilson" and "beta": `accuracy_score(y, d)` 8 of 12; `tpr_score`,
    `tnr_score`, `ppv_score`, `npv_score` 4 of 6 each. It adds 1e-7 to what it divides by: 0.6666666555555557."""
    for count, n, method, limits in (
        (8, 12, wilson, (0.39062208887279953, 0.8618799089087867)),
        (8, 12, clopper_pearson, (0.34887550641881554, 0.9007539088504167)),
        (4, 6, wilson, (0.299993315138392, 0.9032285888942195)),
        (4, 6, clopper_pearson, (0.22277809550351216, 0.9567281317072583)),
    ):
        assert method(count, n) == pytest.approx(limits, abs=1e-12)
    (point,) = operating_point_table(Y, A, [0.5])
    for share in (point.sensitivity, point.specificity, point.ppv, point.npv):
        assert (share.value, share.low, share.high) == pytest.approx(
            (2 / 3, 0.299993315138392, 0.9032285888942195), abs=1e-12
        )
        assert share.value - 0.6666666555555557 == pytest.approx(4e-7 / 36, rel=1e-3)
