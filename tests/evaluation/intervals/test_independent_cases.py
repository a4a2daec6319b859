"""The interval that takes cases as independent stands beside that of resampled groups, wherever theory has one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from predicted import ALL, BINARY, Target, protocol, table
from statsmodels.stats.proportion import proportion_confint

from graftwork.common.evaluation import delong, evaluate
from graftwork.common.evaluation.results import Evaluation


def test_delong_and_wilson_beside_the_bootstrap() -> None:
    frame = table()
    found = evaluate(frame, BINARY, protocol(BINARY), threshold=0.5, bootstrap=50)
    rows = frame[frame["part"] == "test"]
    y, s = (rows["target"] == "pneumonia").to_numpy(), rows["score_pneumonia"].to_numpy()
    area, peer = found.result("auroc"), delong(y, s)
    assert (area.case_low, area.case_high, area.case_method) == (peer.low, peer.high, "DeLong")
    right = (s >= 0.5) == y
    for metric, among in (("sensitivity", y), ("specificity", ~y), ("accuracy", y | ~y)):
        each = found.result(metric)
        limits = proportion_confint(right[among].sum(), among.sum(), method="wilson")
        assert (each.case_low, each.case_high) == pytest.approx(limits, abs=1e-12)
        assert each.case_method == "Wilson" and each.low < each.value < each.high
        assert (each.low, each.high) != (each.case_low, each.case_high)
    for metric in set(ALL) - {"auroc", "sensitivity", "specificity", "accuracy"}:
        assert found.result(metric).case_method == "" and math.isnan(found.result(metric).case_low)


def test_exclusive_classes() -> None:
    rng = np.random.default_rng(0)
    frame = table(parts=False)
    target = Target("multi-class", ("a", "b", "c"))
    frame["target"] = rng.choice(target.classes, len(frame))
    p = rng.dirichlet(np.ones(3), len(frame))
    for k, name in enumerate(target.classes):
        frame[f"score_{name}"] = p[:, k]
    found = evaluate(frame, target, protocol(target, ("auroc", "accuracy", "sensitivity")), bootstrap=20)
    right = np.array(target.classes)[p.argmax(axis=1)] == frame["target"]
    whole = found.result("accuracy")
    assert (whole.case_low, whole.case_high) == pytest.approx(
        proportion_confint(right.sum(), len(right), method="wilson"), abs=1e-12
    )
    one = found.result("sensitivity", "b")
    of_b = right[frame["target"] == "b"]
    assert (one.case_low, one.case_high) == pytest.approx(
        proportion_confint(of_b.sum(), len(of_b), method="wilson"), abs=1e-12
    )
    assert found.result("auroc", "b").case_method == "DeLong"
    assert found.result("auroc").case_method == ""  # a mean over classes has no such theory here


def test_there_is_none_where_it_would_mislead() -> None:
    frame = table(parts=False)
    frame["score_pneumonia"] = np.where(frame["target"] == "pneumonia", 0.9, 0.1)
    frame["score_normal"] = 1 - frame["score_pneumonia"]
    found = evaluate(frame, BINARY, protocol(BINARY, ("auroc", "sensitivity")), bootstrap=20)
    assert (
        found.result("auroc").value == 1 and found.result("auroc").case_method == ""
    )  # no variance: no interval
    assert found.result("sensitivity").case_method == ""  # no threshold: no decision


def test_it_is_in_the_json_and_files_from_before_can_be_read() -> None:
    found = evaluate(table(), BINARY, protocol(BINARY), threshold=0.5, bootstrap=20)
    content = found.to_json()
    assert Evaluation.from_json(content) == found
    for each in content["results"]:
        for name in ("case_low", "case_high", "case_method"):
            del each[name]
    before = Evaluation.from_json(content)
    assert before.result("auroc").value == found.result("auroc").value
    assert math.isnan(before.result("auroc").case_low)
