"""Reliability, ROC and precision-recall curves with their bands; the protocols; the package as it is imported."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
import time
import tracemalloc
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import sklearn.metrics as reference
from hypothesis import given, strategies as st
from predicted import BINARY, EXACT, KERMANY, Floats, Target, protocol, quick, scored, table, tails

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation import (
    METRICS,
    Protocol,
    auroc,
    confusion,
    evaluate,
    expected_calibration_error,
    group_bootstrap,
    precision_recall_band,
    reliability,
    roc_band,
    score,
)
from graftwork.common.evaluation.metrics.registry import BOXES, COUNTS, FOLDERS

# Calibration and curves


def test_bins_are_right_closed_and_zero_is_in_the_first() -> None:
    p = np.array([0.0, 0.1, 0.2, 0.3, 0.6, 0.7, 0.7, 1.0])
    y = np.array([0, 0, 1, 0, 1, 1, 0, 1])
    found = reliability(y, p, np.arange(8), bins=10, replicates=50)
    assert found.n.tolist() == [2, 1, 1, 0, 0, 1, 2, 0, 0, 1]
    assert "right-closed" in found.variant and "10 equal-width bins" in found.variant


def test_a_probability_of_one_half_decides_for_the_first_class() -> None:
    assert expected_calibration_error([0, 1], [0.5, 0.9], bins=1) == pytest.approx(0.3, **EXACT)
    assert expected_calibration_error([0, 1], [[0.5, 0.5], [0.1, 0.9]], bins=1) == pytest.approx(0.3, **EXACT)


@quick
@given(scored(least=4), st.integers(1, 20))
def test_calibration_error_is_its_definition(data: Any, bins: int) -> None:
    y, p = data
    for variant, right, confidence in (
        ("class-1", y, p),
        ("top-label", (p > 0.5) == y, np.maximum(p, 1 - p)),
    ):
        total = 0.0
        for b in range(bins):
            inside = (confidence > b / bins) & (confidence <= (b + 1) / bins) | ((b == 0) & (confidence == 0))
            if inside.any():
                total += inside.mean() * abs(np.mean(right[inside]) - np.mean(confidence[inside]))
        found = expected_calibration_error(y, p, bins=bins, variant=variant)
        assert found == pytest.approx(total, **EXACT)
    two = np.stack([1 - p, p], axis=1)
    assert expected_calibration_error(y, two, bins=bins) == pytest.approx(
        expected_calibration_error(y, p, bins=bins), **EXACT
    )
    assert score("ece_top_label", "multi-class", "ab", y, two) == pytest.approx(
        expected_calibration_error(y, p), **EXACT
    )


def test_reliability_has_bands_or_says_why_not() -> None:
    frame = table(600, groups=150)
    y, p = frame["target"] == "pneumonia", frame["score_pneumonia"]
    found = reliability(y, p, frame["group"], bins=5, replicates=200, group="patient")
    assert (found.low <= found.observed).all() and (found.observed <= found.high).all()
    assert found.n.sum() == 600
    inside = ((p > 0.4) & (p <= 0.6)).to_numpy()
    alone = group_bootstrap(
        lambda w: w[:, inside] @ y[inside].to_numpy(dtype=float) / w[:, inside].sum(axis=1),
        frame["group"].to_numpy(),
        replicates=200,
    )
    assert (found.low[2], found.high[2]) == pytest.approx((alone.low, alone.high), **EXACT)
    assert found.ece == pytest.approx(expected_calibration_error(y, p, bins=5, variant="class-1"), **EXACT)
    assert found.ece_low < found.ece_high
    sparse = reliability([0, 1, 1], [0.1, 0.15, 0.95], ["a", "b", "c"], bins=10, replicates=100)
    assert math.isnan(sparse.observed[4]) and math.isnan(sparse.low[4])
    assert "1 patient only" in reliability([0, 1], [0.1, 0.9], ["a", "a"], group="patient").reason


@pytest.mark.parametrize("band", [roc_band, precision_recall_band])
def test_bands_are_the_curves_of_resampled_groups(band: Any) -> None:
    """Against the plain loop over drawn patients, on the curves of scikit-learn."""
    frame = table(80, groups=20).round(2)  # ties
    y, s = (frame["target"] == "pneumonia").to_numpy(), frame["score_pneumonia"].to_numpy()
    names, patient = np.unique(frame["group"], return_inverse=True)
    found = band(y, s, frame["group"], points=20, replicates=60, seed=1, group="patient")

    def curve(rows: npt.NDArray[np.int64]) -> Floats:
        if band is roc_band:
            x, height, _ = reference.roc_curve(y[rows], s[rows], drop_intermediate=False)
            return np.interp(found.x, x, height)
        precision, recall, _ = reference.precision_recall_curve(y[rows], s[rows])
        reached = [np.flatnonzero(recall[:-1] >= x - 1e-9)[-1] for x in found.x]
        return np.asarray(precision[reached])

    rng = np.random.default_rng(1)
    loop = [
        curve(
            np.concatenate(
                [np.flatnonzero(patient == each) for each in rng.integers(0, len(names), len(names))]
            )
        )
        for _ in range(60)
    ]
    low, high = np.quantile(loop, tails(len(names)), axis=0)
    np.testing.assert_allclose(found.y, curve(np.arange(80)), rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.low, low, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.high, high, rtol=0, atol=1e-12)
    assert found.method == f"cluster bootstrap over {len(names)} patients, 60 replicates, expanded percentile"


def test_bands_of_one_class_say_why() -> None:
    found = roc_band([1, 1], [0.1, 0.2], ["a", "b"])
    assert np.isnan(found.y).all() and "no negative case" in found.reason
    found = precision_recall_band([0, 1], [0.1, 0.2], ["a", "a"], group="lesion")
    assert not np.isnan(found.y).any() and np.isnan(found.low).all() and "1 lesion only" in found.reason


def test_confusion_takes_names_and_refuses_unknown_ones() -> None:
    counts = confusion(["a", "b", "b"], ["a", "a", "b"], ["a", "b", "c"])
    assert counts.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]
    with pytest.raises(TableError, match="y_pred holds d"):
        confusion(["a"], ["d"], ["a", "b"])
    with pytest.raises(TableError, match="y_pred has 1 values for 2 cases"):
        confusion([0, 1], [0], ["a", "b"])


# Protocols and the package


def test_methods_section_says_what_was_done() -> None:
    text = KERMANY.methods(replicates=1000)
    for words in (
        "`kermany`, version 1",
        "The unit of analysis is the image.",
        "pneumonia (positive) against normal (negative)",
        "ties counted half",
        "chosen on the validation part",
        "1,000 replicates, each drawing as many patients",
        "AUROC) 0.968: Inception-v3, 624 test images",
        "accuracy 0.928",
        "sensitivity 0.932",
        "specificity 0.901",
        "Cell 172:1122",
    ):
        assert words in text
    several = protocol(Target("multi-class", ()), group="study").methods()
    assert "largest score" in several and "as many studies as there are" in several
    labels = protocol(Target("multi-label", ()), threshold="sensitivity").methods(target=0.9)
    assert "The threshold of each class" in labels and "reaches the target, 0.9," in labels
    asked = KERMANY.methods(rule="specificity", target=0.8, chosen_on="calibration", group="case")
    assert (
        "chosen on the calibration part, as the lowest score whose specificity reaches the target, 0.8"
        in asked
    )
    assert "of a bootstrap: 2,000 replicates, each drawing as many images as there are" in asked
    assert "patients" not in asked.partition("Intervals are")[2].partition("\n")[0]
    fixed = KERMANY.methods(rule="fixed")
    assert (
        "The threshold was fixed in advance;" in fixed and "chosen" not in fixed.partition("threshold was")[2]
    )


def test_protocols_that_cannot_be() -> None:
    with pytest.raises(UsageError) as caught:
        Protocol("p", 1, "", "", "image", "ternary", "dice", ("auc", "brier"), threshold="best")
    for fault in ("'auc' is unknown", "'ternary'", "'best'", "'dice' is not among"):
        assert fault in str(caught.value)
    with pytest.raises(UsageError, match="better when it is lower"):
        Protocol("p", 1, "", "", "image", "binary", "brier", ("brier",))
    with pytest.raises(UsageError, match="'within_one' does not apply to multi-class targets"):
        Protocol("p", 1, "", "", "image", "multi-class", "accuracy", ("accuracy", "within_one"))
    idle = {"rest": "none", "pooling": "max", "ties": "wrong", "empty": "undefined"}
    with pytest.raises(UsageError) as caught:
        Protocol("p", 1, "", "", "image", "binary", "auroc", ("auroc",), **idle)
    for fault in ("rest needs a multi-class", "pooling needs", "ties need", "empty needs"):
        assert fault in str(caught.value)
    with pytest.raises(UsageError, match="rest 'c' is not among its classes"):
        Protocol(
            "p",
            1,
            "",
            "",
            "event",
            "multi-class",
            "auroc",
            ("auroc",),
            by="event",
            rest="c",
            classes=("a", "b"),
        )


def test_methods_say_what_is_put_together_and_what_masks_are_judged_by() -> None:
    events = Protocol(
        "p", 1, "Events", "nobody", "event", "multi-class", "macro_f1", ("macro_f1", "accuracy"),
        by="event", pooling="max", rest="none", ties="wrong", classes=("none", "a", "b"),
    ).methods()  # fmt: skip
    for said in (
        "The unit of analysis is the event.",
        "Cases of one event are combined before the evaluation",
        "the largest score of each class, rescaled to sum to 1",
        "one class other than none that occurs, else none; if several occur, it is unknown",
        "if several classes share it, the case counts as wrong",
        "the classes present in the truth",
    ):
        assert said in events
    counts = Protocol(
        "p", 1, "Counts", "nobody", "event", "ordinal", "within_one", ("within_one", "mean_absolute_error"),
        by="event", target="count", classes=("1", "2", "3+"),
    ).methods()  # fmt: skip
    assert "one, in this order, of 1, 2, 3+" in counts and "the largest known class" in counts
    assert "the mean over its cases" in counts and "threshold" not in counts
    masks = Protocol(
        "p", 1, "Masks", "nobody", "volume", "segmentation", "dice", ("dice", "hausdorff_95"),
        classes=("ground", "a", "b"),
    )  # fmt: skip
    assert "The task is segmentation: a, b against ground." in masks.methods()
    assert "Dice coefficient and Jaccard index are 1;" in masks.methods()
    assert "larger of the two directed" in masks.methods() and "threshold" not in masks.methods()
    undefined = dataclasses.replace(masks, empty="undefined")
    assert "are undefined, and the unit is left out and counted" in undefined.methods()


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_has_a_description_and_an_estimator_for_each_of_its_kinds(name: str) -> None:
    metric = METRICS[name]
    assert metric.title and metric.definition
    estimators = {
        "binary": metric.one,
        "multi-label": metric.one or metric.label_sets,
        "multi-class": metric.whole or metric.one,
        "ordinal": metric.whole or metric.one,
        "segmentation": metric.unit_values,
        FOLDERS[0]: metric.region,
        COUNTS[0]: metric.count,
        BOXES[0]: metric.boxes,
    }
    assert all(estimators[kind] is not None for kind in metric.kinds)
    assert metric.one is None or "binary" in metric.kinds


def test_public_names_load_lazily() -> None:
    code = (
        "import sys, graftwork.common.evaluation as e, graftwork.common.evaluation.protocols\n"
        "import graftwork.domains.chest_xray.protocols\n"
        "heavy = {'numpy', 'pandas', 'scipy', 'torch', 'sklearn'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "from graftwork.common.evaluation import *\n"
        "assert callable(evaluate) and set(e.__all__) <= set(dir(e))\n"
        "assert not {'pandas', 'torch', 'sklearn'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with pytest.raises(AttributeError, match="attribute nothing"):
        __import__("graftwork.common.evaluation", fromlist=["x"]).nothing  # noqa: B018


def test_two_thousand_replicates_are_quick() -> None:
    frame = table(1800, groups=1100)
    start = time.process_time()  # of this process: others may use the machine
    found = evaluate(frame, BINARY, protocol(BINARY))
    assert found.n > 1000 and found.bootstrap == 2000
    assert time.process_time() - start < 2


def test_memory_is_bounded() -> None:
    """100,000 cases by 150 replicates: a matrix of weights would be 120 MB, and there would be several."""
    rng = np.random.default_rng(0)
    y, s = rng.integers(0, 2, 100_000), rng.random(100_000)
    tracemalloc.start()
    group_bootstrap(lambda w: auroc(y, s, weights=w), np.arange(100_000) // 2, replicates=150)
    roc_band(y, s, np.arange(100_000) // 2, replicates=20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80e6


def test_results_are_plain_and_frozen() -> None:
    found = evaluate(table(), BINARY, KERMANY, bootstrap=20)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.seed = 1
    for each in found.results:
        assert type(each.value) is float and type(each.n) is int and type(each.positives) is int
