"""Calibration slope, calibration-in-the-large and sets of labels as metrics, with intervals."""

from __future__ import annotations

import numpy as np
import pytest
from predicted import BINARY, Target, protocol, table, tails

from graftwork.common.errors import UsageError
from graftwork.common.evaluation import (
    Protocol,
    calibration_in_the_large,
    calibration_slope,
    evaluate,
    score,
    set_jaccard,
)
from graftwork.common.evaluation.intervals.bootstrap import multiplicities
from graftwork.common.evaluation.metrics.calibration import intercept_at_slope_one, slope_of_logits

BOTH = ("auroc", "calibration_slope", "calibration_in_the_large")


def test_each_replicate_is_the_fit_of_the_cases_it_drew() -> None:
    rng = np.random.default_rng(0)
    undefined = 0
    for n, groups, steep in ((25, 7, 3.0), (200, 40, 0.5), (1500, 300, 1.0)):
        units = rng.integers(0, groups, n)
        z = rng.normal(-1, 2, n)
        p = 1 / (1 + np.exp(-z))
        y = rng.random(n) < 1 / (1 + np.exp(-steep * z))
        rows = rng.multinomial(groups, np.full(groups, 1 / groups), size=30).astype(float)
        slopes = slope_of_logits(y, p, units, groups)(rows)
        large = intercept_at_slope_one(y, p, units, groups)(rows)
        for row, slope, intercept in zip(rows, slopes, large, strict=True):
            drawn = np.repeat(np.arange(n), row[units].astype(int))
            assert slope == pytest.approx(
                calibration_slope(y[drawn], p[drawn])[0], abs=1e-9, rel=1e-9, nan_ok=True
            )
            assert intercept == pytest.approx(
                calibration_in_the_large(y[drawn], p[drawn]), abs=1e-9, nan_ok=True
            )
            undefined += bool(np.isnan(slope))
    assert undefined  # separated classes have no fit, and were among them


def test_they_are_metrics_with_intervals() -> None:
    frame = table(parts=False)
    found = evaluate(frame, BINARY, protocol(BINARY, BOTH), bootstrap=60, seed=3)
    y, p = (frame["target"] == "pneumonia").to_numpy(), frame["score_pneumonia"].to_numpy()
    slope, large = found.result("calibration_slope"), found.result("calibration_in_the_large")
    assert slope.value == pytest.approx(calibration_slope(y, p)[0], abs=1e-9)
    assert large.value == pytest.approx(calibration_in_the_large(y, p), abs=1e-9)
    names = sorted(set(frame["group"]))
    values = []
    for row in next(multiplicities(len(names), 60, 3, at_a_time=60)):
        times = dict(zip(names, row.astype(int), strict=True))
        drawn = np.repeat(np.arange(len(frame)), [times[name] for name in frame["group"]])
        values.append(calibration_slope(y[drawn], p[drawn])[0])
    low, high = np.quantile(values, tails(len(names)))
    assert (slope.low, slope.high) == pytest.approx((low, high), abs=1e-9)


def test_one_class_or_classes_that_a_threshold_separates_have_no_slope() -> None:
    frame = table(parts=False)
    frame["score_pneumonia"] = np.where(frame["target"] == "pneumonia", 0.9, 0.1)
    frame["score_normal"] = 1 - frame["score_pneumonia"]
    found = evaluate(frame, BINARY, protocol(BINARY, BOTH), bootstrap=20).result("calibration_slope")
    assert np.isnan(found.value) and found.reason
    frame["target"] = "normal"
    for metric in BOTH[1:]:
        one = evaluate(frame, BINARY, protocol(BINARY, BOTH), bootstrap=20).result(metric)
        assert np.isnan(one.value) and one.reason.startswith("no positive case")


def test_sets_of_labels() -> None:
    rng = np.random.default_rng(1)
    target = Target("multi-label", ("a", "b", "c"))
    frame = table(120, parts=False).drop(columns=["target", "score_normal", "score_pneumonia"])
    truth = rng.integers(0, 2, (120, 3)).astype(float)
    scores = rng.random((120, 3))
    truth[:10] = 0
    scores[:5] = 0.1  # both sets empty: 1
    for k, name in enumerate(target.classes):
        frame[f"target_{name}"], frame[f"score_{name}"] = truth[:, k], scores[:, k]
    ours = protocol(target, ("auroc", "set_jaccard"))
    found = evaluate(frame, target, ours, threshold=0.5, bootstrap=50).result("set_jaccard")
    assert found.value == pytest.approx(set_jaccard(truth, scores >= 0.5), abs=1e-12)
    assert found.low < found.value < found.high and found.n == 120
    unchosen = evaluate(frame, target, ours, bootstrap=20).result("set_jaccard")
    assert np.isnan(unchosen.value) and "threshold" in unchosen.reason
    # a label that is not known is in neither set; a case without any has no share
    truth[20, :], truth[21, 0] = np.nan, np.nan
    for k, name in enumerate(target.classes):
        frame[f"target_{name}"] = truth[:, k]
    found = evaluate(frame, target, ours, threshold=0.5, bootstrap=20).result("set_jaccard")
    known, decided = ~np.isnan(truth), (scores >= 0.5) & ~np.isnan(truth)
    some = known.any(axis=1)
    assert found.n == 119
    assert found.value == pytest.approx(set_jaccard(np.nan_to_num(truth[some]), decided[some]), abs=1e-12)
    stopping = score(
        "set_jaccard", "multi-label", target.classes, truth, scores
    )  # the same, for early stopping
    assert stopping == pytest.approx(found.value, abs=1e-12)


def test_a_slope_is_not_the_better_the_higher_it_is() -> None:
    with pytest.raises(UsageError, match="better when it is closer to 1"):
        Protocol("trial", 1, "A trial", "nobody", "image", "binary", "calibration_slope", BOTH)
