"""Numbers of reference tools, each with tool, version and call. Float64, tolerance 1e-9.

The arrays are those for which the tools were run; the expected figures were written down then, so the tools need
not be installed here.
"""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from predicted import Target, protocol
from real_data import real

from graftwork.common.evaluation import (
    Protocol,
    accuracy,
    auroc,
    average_precision,
    balanced_accuracy,
    brier,
    choose_threshold,
    evaluate,
    expected_calibration_error,
    percentile_interval,
    precision_recall_curve,
    score,
    segmentation_score,
)

EXACT = {"abs": 1e-9, "rel": 0}

Y = np.array([0] * 6 + [1] * 6)
A = np.array([0.10, 0.30, 0.30, 0.35, 0.60, 0.80, 0.20, 0.35, 0.55, 0.60, 0.90, 0.95])
B = np.array([0.20, 0.10, 0.40, 0.30, 0.50, 0.45, 0.30, 0.50, 0.60, 0.40, 0.70, 0.65])
Y3 = np.array([0] * 5 + [1] * 3 + [2] * 2)
P3 = (
    np.array(
        [
            [6, 3, 1],
            [5, 3, 2],
            [2, 5, 3],
            [7, 2, 1],
            [4, 1, 5],
            [3, 5, 2],
            [4, 4, 2],
            [1, 3, 6],
            [2, 2, 6],
            [3, 4, 3],
        ]
    )
    / 10
)
YC = np.array([0, 0, 0, 0, 1, 0, 1, 0, 1, 1, 1, 1])
PC = np.array([0.03, 0.12, 0.22, 0.27, 0.31, 0.41, 0.48, 0.56, 0.71, 0.83, 0.91, 0.97])


def test_auroc_of_delong_reference() -> None:
    """roc_comparison 62da5b8, `delong_roc_variance(y, s)[0]`; by hand the placements of DeLong 1988."""
    assert auroc(Y, A) == pytest.approx(0.694444444, **EXACT)
    assert auroc(Y, B) == pytest.approx(0.819444444, **EXACT)


def test_average_precision_is_the_step_sum() -> None:
    """scikit-learn 1.9.1, `average_precision_score(y, s)`; the trapezoid, `auc(recall, precision)`, is another."""
    assert average_precision(Y, A) == pytest.approx(0.739520202, **EXACT)
    assert average_precision(Y, B) == pytest.approx(0.8375, **EXACT)
    for scores, trapezoid in ((A, 0.739204545), (B, 0.859722222)):
        curve = precision_recall_curve(Y, scores)
        recall, precision = np.append(0.0, curve.x), np.append(1.0, curve.y)
        assert np.trapezoid(precision, recall) == pytest.approx(trapezoid, **EXACT)


def test_sensitivity_at_specificity_by_steps() -> None:
    """By steps, as torchmetrics 1.9.0 (`binary_sensitivity_at_specificity`, min_specificity 0.8) has it; between
    the operating points, where no threshold lies, interpolation would give 0.366666667."""
    chosen = choose_threshold(Y, A, "specificity", 0.8)
    assert chosen.sensitivity == pytest.approx(1 / 3, **EXACT)
    assert chosen.specificity == pytest.approx(5 / 6, **EXACT)


def test_one_against_the_rest() -> None:
    """scikit-learn 1.9.1, `roc_auc_score(Y, P, multi_class="ovr", average="macro")`; accuracy of `P.argmax(1)`."""
    assert score("auroc", "multi-class", "abc", Y3, P3) == pytest.approx(0.804801587, **EXACT)
    assert accuracy(Y3, P3) == pytest.approx(0.5, **EXACT)
    assert score("accuracy", "multi-class", "abc", Y3, P3) == pytest.approx(0.5, **EXACT)


def test_balanced_accuracy_gives_a_tied_row_to_the_first_class() -> None:
    """scikit-learn 1.9.1, `balanced_accuracy_score(y, rows.argmax(1))`; the ISIC scorer, tie wrong, gives 7/9."""
    truth = [0, 0, 0, 1, 1, 2]
    rows = np.array(
        [[0.4, 0.4, 0.2], [0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.3, 0.6, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]]
    )
    assert balanced_accuracy(truth, rows) == pytest.approx(8 / 9, **EXACT)
    assert score("balanced_accuracy", "multi-class", "abc", truth, rows) == pytest.approx(8 / 9, **EXACT)
    frame = pd.DataFrame(rows, columns=["score_a", "score_b", "score_c"]).assign(part="test")
    frame["case"], frame["target"] = [f"case{row}" for row in range(6)], [list("abc")[k] for k in truth]
    target = Target("multi-class", ("a", "b", "c"))
    for ties, expected in (("first", 8 / 9), ("wrong", 7 / 9)):
        found = evaluate(frame, target, protocol(target, ties=ties), bootstrap=10)
        assert found.result("balanced_accuracy").value == pytest.approx(expected, **EXACT)
        assert found.result("sensitivity").value == pytest.approx(expected, **EXACT)


def test_macro_f1_over_the_classes_in_the_truth() -> None:
    """scikit-learn 1.9.1, `f1_score(t, p, average="macro", labels=np.unique(t))`, as WILDS 4726775 (iWildCam) has
    it. With the default labels, the union of both sides, it would be 0.533333333."""
    truth, called = [0, 0, 0, 1, 1, 2, 2, 2], [0, 0, 3, 1, 2, 2, 2, 3]
    scores = np.eye(5)[called]
    for kind in ("multi-class", "ordinal"):
        assert score("macro_f1", kind, "abcde", truth, scores) == pytest.approx(0.711111111, **EXACT)


def test_dice_of_stacked_slices() -> None:
    """Counted by hand: three slices of 10 x 10 with 40 true, 41 predicted and 38 shared pixels, 76 / 81. Averaged
    over slices it would be 0.75 (those with truth), 0.625 (both empty: 1) or 0.5."""
    truth, predicted = np.zeros((4, 10, 10), bool), np.zeros((4, 10, 10), bool)
    truth[1, 2:8, 2:8] = truth[2, 4:6, 4:6] = True
    predicted[1, 2:8, 2:8] = predicted[2, 4:6, 5:7] = predicted[3, 0, 0] = True
    slices = pd.DataFrame(
        {
            "case": [f"slice{z}" for z in range(4)],
            "part": "test",
            "volume": "v",
            "truth_a": truth.sum((1, 2)),
            "predicted_a": predicted.sum((1, 2)),
            "both_a": (truth & predicted).sum((1, 2)),
        }
    )
    target = Target("segmentation", ("ground", "a"))
    rules = Protocol(
        "trial", 1, "A trial", "nobody", "volume", "segmentation", "dice", ("dice", "jaccard"), by="volume"
    )
    found = evaluate(slices, target, rules, bootstrap=10)
    assert found.n == 1
    assert found.result("dice").value == pytest.approx(0.938271605, **EXACT)
    assert found.result("jaccard").value == pytest.approx(38 / 43, **EXACT)
    stacked = slices[["truth_a", "predicted_a", "both_a"]].sum().to_frame().T
    assert segmentation_score("dice", stacked, target.classes) == pytest.approx(0.938271605, **EXACT)


def test_calibration() -> None:
    """Brier: scikit-learn 1.9.1, `brier_score_loss(y, p)`. ECE in 5, 10 and 15 bins: counted by hand from the
    definition of Guo 2017, as the tools differ in edges and target and no call gives these variants by name."""
    assert brier(YC, PC) == pytest.approx(0.1239, **EXACT)
    assert brier(YC, np.stack([1 - PC, PC], axis=1)) == pytest.approx(2 * 0.1239, **EXACT)
    top = [expected_calibration_error(YC, PC, bins=bins) for bins in (5, 10, 15)]
    assert top == pytest.approx([0.100, 0.215, 0.121666667], **EXACT)
    one = [expected_calibration_error(YC, PC, bins=bins, variant="class-1") for bins in (5, 10, 15)]
    assert one == pytest.approx([0.115, 0.215, 0.238333333], **EXACT)


def test_exhaustive_bootstrap_over_groups() -> None:
    """All 4^4 draws of four patients, accuracy, `numpy.quantile(..., [.025, .975])` (numpy 2.4.6)."""
    flags = [[1, 0, 1], [0, 0], [1, 1, 1, 1], [0, 1, 0]]
    right = np.concatenate(flags)
    patient = np.repeat(np.arange(4), [len(each) for each in flags])
    draws = np.array([np.bincount(draw, minlength=4) for draw in itertools.product(range(4), repeat=4)])
    values = accuracy(np.ones(len(right)), right, 0.5, weights=draws[:, patient].astype(float))
    assert accuracy(np.ones(len(right)), right, 0.5) == pytest.approx(0.583333333, **EXACT)
    interval = percentile_interval(values)
    assert (interval.low, interval.high) == pytest.approx((0.2, 0.866666667), **EXACT)
    assert (interval.replicates, interval.undefined) == (256, 0)


def test_auroc_is_pooled_and_never_a_mean_over_batches() -> None:
    """scikit-learn 1.9.1, `roc_auc_score(y, s)`, and its mean over batches of 4."""
    y = np.array([0, 1] * 8)
    s = np.array([0.1, 0.9, 0.2, 0.3, 0.6, 0.7, 0.4, 0.5, 0.35, 0.45, 0.8, 0.85, 0.15, 0.25, 0.65, 0.55])
    assert auroc(y, s) == pytest.approx(0.6875, **EXACT)
    batches = [auroc(y[start : start + 4], s[start : start + 4]) for start in range(0, 16, 4)]
    assert np.mean(batches) == pytest.approx(0.75, **EXACT)


@pytest.mark.real
def test_published_scores_of_another_program() -> None:
    """reproduce-chexnet a011a9a, `pretrained/aucs.csv` (scikit-learn): 14 findings, every digit."""
    folder = real("chest_xray/predictions/nih_reproduce_chexnet")
    published = pd.read_csv(folder / "aucs.csv").set_index("label")["auc"]
    names = tuple(published.index)
    frame = pd.read_csv(folder / "preds.csv").rename(
        columns={f"prob_{name}": f"score_{name}" for name in names}
    )
    labels = pd.read_csv(real("chest_xray/labels/Data_Entry_2017_v2020.csv")).set_index("Image Index")
    found = labels["Finding Labels"].loc[frame["Image Index"]].str.split("|")
    for name in names:
        frame[f"target_{name}"] = [int(name in each) for each in found]
    frame = frame.rename(columns={"Image Index": "case"}).assign(part="test")
    frame["group"] = frame["case"].str.split("_").str[0]
    target = Target("multi-label", names)
    done = evaluate(frame, target, protocol(target, ("auroc",), group="patient"), bootstrap=100)
    assert (done.n, done.groups) == (22433, 6187)
    for name in names:
        result = done.result("auroc", name)
        assert result.value == pytest.approx(published[name], abs=1e-14, rel=0)
        assert result.low < result.value < result.high
