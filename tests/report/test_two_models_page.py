"""What a reader of the page of two models relies on: each difference with its interval, the tests, the reasons."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from predicted import BINARY, KERMANY, Target, protocol, table
from read_pages import Page, check, worded

from graftwork.common.evaluation import Protocol
from graftwork.common.evaluation.compare_models import Compared, Comparison, compare
from graftwork.common.evaluation.intervals.paired_tests import Difference
from graftwork.common.report import compared_report
from graftwork.common.report.external.two_models_page import distinct_names
from graftwork.common.report.figures.difference_figures import (
    DifferenceRow,
    common_limits,
    differences,
    signed,
)
from graftwork.common.report.figures.drawing import breadth, fitted

MANY = ("auroc", "sensitivity", "brier")
NAMES = ("/home/somebody/runs/first/predictions.csv", "/home/somebody/runs/second/predictions.csv")


def blurred(frame: pd.DataFrame, seed: int = 1) -> pd.DataFrame:
    """The same cases of a model that knows less."""
    noise = np.random.default_rng(seed).normal(0, 0.35, len(frame))
    score = (frame["score_pneumonia"] + noise).clip(0.001, 0.999)
    return frame.assign(score_pneumonia=score, score_normal=1 - score)


def several(classes: tuple[str, ...], n: int = 300, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two models' scores of exclusive classes; the first one is better; the last class never occurs."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, len(classes) - 1, n)
    base = {
        "case": [f"c{i}" for i in range(n)],
        "group": [f"g{i // 3}" for i in range(n)],
        "part": "test",
        "target": [classes[k] for k in truth],
    }
    found = []
    for skill in (2.5, 1.5):
        raw = np.exp(rng.normal(size=(n, len(classes))) + skill * (np.arange(len(classes)) == truth[:, None]))
        shares = raw / raw.sum(axis=1, keepdims=True)
        found.append(pd.DataFrame({**base, **{f"score_{c}": shares[:, k] for k, c in enumerate(classes)}}))
    return found[0], found[1]


def written(found: Comparison, rules: Protocol, folder: Path, names: tuple[str, str] = NAMES) -> Page:
    return worded(lambda out: compared_report(found, rules, names, out), folder)


@pytest.fixture(scope="module")
def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    frame = table()
    return frame, blurred(frame)


@pytest.fixture(scope="module")
def binary(tables: tuple[pd.DataFrame, pd.DataFrame]) -> Comparison:
    return compare(*tables, BINARY, KERMANY, bootstrap=200)


@pytest.fixture(scope="module")
def page(binary: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Page:
    out = tmp_path_factory.mktemp("compared") / "out.html"
    return Page(compared_report(binary, KERMANY, NAMES, out).read_text("utf-8"))


CLASSES = ("one", "two", "three", "never")
RULES = protocol(Target("multi-class", CLASSES), MANY, group="patient")


@pytest.fixture(scope="module")
def classed() -> Comparison:
    return compare(*several(CLASSES), target=Target("multi-class", CLASSES), protocol=RULES, bootstrap=200)


def test_the_page_loads_nothing_and_has_words_for_its_figure(page: Page) -> None:
    check(page, figures=1)
    (alt,) = {attrs["alt"] for attrs in page.named("img")}
    assert alt is not None and "AUROC +0." in alt and "Brier score; lower is better −0." in alt


def test_the_same_input_gives_the_same_bytes(binary: Comparison, page: Page, tmp_path: Path) -> None:
    out = compared_report(binary, KERMANY, NAMES, tmp_path / "again.html")
    assert out.read_text("utf-8") == page.html


def test_values_and_counts_are_those_of_the_tables(
    tables: tuple[pd.DataFrame, pd.DataFrame], page: Page, binary: Comparison
) -> None:
    """Pairs counted one by one, and McNemar's cases by pandas, from the tables themselves."""
    areas, right = [], []
    for frame, evaluation in zip(tables, binary.evaluations, strict=True):
        test = frame[frame["part"] == "test"]
        score, ill = test["score_pneumonia"].to_numpy(), (test["target"] == "pneumonia").to_numpy()
        apart = score[ill][:, None] - score[~ill][None, :]
        areas.append(((apart > 0) + 0.5 * (apart == 0)).mean())
        assert evaluation.threshold is not None
        right.append((score >= evaluation.threshold.value) == ill)
    rows = {row[0]: row[1:] for row in page.rows("All metrics")}
    assert rows["AUROC"][2].startswith(f"{areas[0]:.3f} (") and rows["AUROC"][3].startswith(
        f"{areas[1]:.3f} ("
    )
    assert rows["AUROC"][4] == f"+{areas[0] - areas[1]:.3f}"
    assert rows["AUROC"][:2] == [str(len(ill)), str(ill.sum())]
    assert rows["Sensitivity"][:2] == [str(ill.sum()), str(ill.sum())]
    assert rows["Specificity"][:2] == [str((~ill).sum()), str(ill.sum())]
    cases = {row[0]: row[1] for row in page.rows("Decisions on")}
    alone = int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())
    assert [cases[f"correct only by {side}"] for side in "AB"] == [str(n) for n in alone]
    assert cases["correct by both, or by neither"] == str(len(right[0]) - sum(alone))
    assert f"The same {len(right[0])} images of" in page.text


def test_the_headline_says_difference_interval_and_p(page: Page, binary: Comparison) -> None:
    found = binary.compared[0].difference
    limits = f"95 % interval {found.low:.3f} to {found.high:.3f}, p {found.p:.3f}"
    assert page.result() == ("AUROC: A minus B", f"+{found.value:.3f}", limits) and found.low > 0
    assert "does not contain 0: by this metric, A is better" in page.text
    heads = page.rows("All metrics")[0]
    assert heads == ["metric", "images", "positive", "A", "B", "A − B", "95 % interval", "p", "p, DeLong"]


def changed(found: Comparison, **changes: Any) -> Comparison:
    """With another first row."""
    return replace(found, compared=(replace(found.compared[0], **changes), *found.compared[1:]))


@pytest.mark.parametrize(
    ("low", "high", "p", "said"),
    [
        (
            -0.2,
            0.1,
            0.4,
            ("A minus B −0.050 95 % interval −0.200 to 0.100, p 0.400", "The interval contains 0"),
        ),
        (-0.2, -0.01, 0.0004, ("p <0.001", "by this metric, B is better")),
    ],
)
def test_what_the_interval_allows_to_say(
    binary: Comparison, tmp_path: Path, low: float, high: float, p: float, said: tuple[str, str]
) -> None:
    found = changed(binary, difference=Difference(-0.05, low, high, p, 200, 0), delong_p=math.nan)
    text = written(found, KERMANY, tmp_path)
    assert all(each in text.text for each in said)
    assert "DeLong" not in text.text and "McNemar's exact test" in text.text


def test_a_number_without_an_interval_is_not_shown(binary: Comparison, tmp_path: Path) -> None:
    nothing = Difference(0.3217, math.nan, math.nan, math.nan, 0, 0, "1 patient only: nothing to resample")
    one = binary.evaluations[0]
    result = replace(one.results[0], value=0.7654, low=math.nan, high=math.nan, reason="1 patient only")
    found = changed(binary, difference=nothing, delong_p=math.nan)
    found = replace(
        found, evaluations=(replace(one, results=(result, *one.results[1:])), binary.evaluations[1])
    )
    page = written(found, KERMANY, tmp_path)
    assert "0.322" not in page.html and "0.765" not in page.html
    assert "AUROC: A minus B n/a undefined: 1 patient only: nothing to resample" in page.text
    row = next(row for row in page.rows("All metrics") if row[0] == "AUROC")
    assert row[3] == "n/a: 1 patient only" and row[5:7] == ["n/a", "n/a: 1 patient only: nothing to resample"]
    assert "AUROC, A minus B: 1 patient only: nothing to resample." in page.text
    assert "AUROC, A alone: 1 patient only." in page.text


def test_classes_have_their_corrected_p_and_undefined_ones_their_reason(
    classed: Comparison, tmp_path: Path
) -> None:
    page = Page(compared_report(classed, RULES, NAMES, tmp_path / "out.html").read_text("utf-8"))
    check(page, figures=1)
    heads, *rows = page.rows("AUROC of 4 classes")
    assert heads == ["class", "positive", "A", "B", "A − B", "95 % interval", "p", "p, Holm", "p, DeLong"]
    by = {row[0]: row[1:] for row in rows}
    p = np.array([float(by[name][5]) for name in CLASSES[:3]])
    order = np.argsort(p, kind="stable")
    steps = np.minimum(np.maximum.accumulate(p[order] * [3, 2, 1]), 1)
    assert [float(by[CLASSES[k]][6]) for k in order] == pytest.approx(steps.tolist(), abs=2e-3)
    assert by["never"][1:5] == ["n/a", "n/a", "n/a", "n/a: no positive case among 300"]
    assert "p, Holm" not in page.rows("All metrics")[0]
    assert "AUROC of never, A minus B: no positive case among 300." in page.text
    assert "AUROC, mean over 3 of 4 classes" in [row[0] for row in page.rows("All metrics")]
    assert page.html.count("<details") == 0


def test_the_pairing_is_told(page: Page, classed: Comparison, tmp_path: Path) -> None:
    for said in (
        "each of 200 replicates draws the same patients for both models",
        "DeLong's test of two paired AUROCs (DeLong et al. 1988) and McNemar's exact test (McNemar 1947) treat images",
        "Thresholds were chosen for each model separately, on its scores of the part validation.",
    ):
        assert said in page.text
    assert "Holm" not in page.text
    assert "corrected by Holm's step-down method (Holm 1979)" in written(classed, RULES, tmp_path).text


def test_what_it_takes_to_get_the_numbers_again(page: Page, binary: Comparison) -> None:
    rows = {row[0]: row[1] for row in page.rows("Inputs")}
    assert (rows["A"], rows["B"]) == ("first/predictions.csv", "second/predictions.csv")
    assert rows["replicates"] == "200, seed 0" and rows["protocol"] == "kermany, version 1"
    assert np.__version__ in rows["versions"]
    for side, evaluation in zip("AB", binary.evaluations, strict=True):
        value, _, how = rows[f"threshold of {side}"].partition(", ")
        assert evaluation.threshold is not None and float(value) == evaluation.threshold.value
        assert how.startswith("chosen for Youden") and how.endswith("of part validation")
    assert rows["threshold of A"] != rows["threshold of B"]
    assert "somebody" not in page.html


def test_labels_that_do_not_exclude_each_other(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    n, names = 120, ("a", "b")
    base: dict[str, Any] = {
        "case": [str(i) for i in range(n)],
        "group": [f"g{i // 2}" for i in range(n)],
        "part": ["validation" if i % 4 == 0 else "test" for i in range(n // 2) for _ in (0, 1)],
    }
    frames = []
    for name in names:
        base[f"target_{name}"] = rng.integers(0, 2, n).astype(float)
    for _ in (0, 1):
        frames.append(pd.DataFrame({**base, **{f"score_{name}": rng.random(n) for name in names}}))
    target = Target("multi-label", names)
    rules = protocol(target, ("auroc", "sensitivity"))
    found = compare(frames[0], frames[1], target, rules, bootstrap=100)
    page = written(found, rules, tmp_path)
    assert "a case can have several labels, so there is no test" in page.text
    rows = page.rows("Threshold of each class")
    assert [row[0] for row in rows[1:]] == ["a", "b"]
    assert float(rows[1][1]) == found.evaluations[0].thresholds[0].value
    assert "Chosen for Youden's index, on the cases of the part validation" in page.text
    fixed = compare(frames[0], frames[1], target, rules, bootstrap=50, threshold=0.5)
    assert (
        "Thresholds were fixed beforehand, the same for both models." in written(fixed, rules, tmp_path).text
    )


def test_a_hundred_classes_with_odd_names_stay_readable(classed: Comparison, tmp_path: Path) -> None:
    names = [f"<b>{'基底細胞癌' * 30}</b>{i}" if i % 2 else f"class {i}" for i in range(130)]
    like = classed.compared[1]
    result = classed.evaluations[0].result("auroc", "one")
    whole = classed.compared[0]
    compared = (whole, *(replace(like, label=name) for name in names))
    results = (
        *classed.evaluations[0].results,
        *(replace(result, label=name) for name in names),
    )
    both = tuple(replace(each, results=results) for each in classed.evaluations)
    found = replace(classed, compared=compared, evaluations=both)  # type: ignore[arg-type]
    page = written(found, RULES, tmp_path)
    assert not page.named("b")[1:] or "<b>基" not in page.html
    assert len(page.rows("AUROC of 130 classes")) == 131
    assert len([attrs for attrs in page.named("img") if attrs["class"] == "chart"]) == 3
    assert "10 further classes: see the table." in page.text
    longest = max(len(row[0]) for row in page.rows("AUROC of 130 classes"))
    assert longest <= 60  # 40, of which the angles are escaped


def test_many_rows_are_folded_but_for_the_primary_metric(classed: Comparison, tmp_path: Path) -> None:
    names = [f"class {i}" for i in range(30)]
    compared: list[Compared] = []
    results = list(classed.evaluations[0].results)
    for metric in ("auroc", "sensitivity"):
        row = next(each for each in classed.compared if (each.metric, each.label) == (metric, "one"))
        result = classed.evaluations[0].result(metric, "one")
        compared += [next(each for each in classed.compared if each.metric == metric and not each.label)]
        compared += [replace(row, label=name) for name in names]
        results += [replace(result, label=name) for name in names]
    both = tuple(replace(each, results=tuple(results)) for each in classed.evaluations)
    found = replace(classed, compared=tuple(compared), evaluations=both)  # type: ignore[arg-type]
    page = written(found, RULES, tmp_path)
    assert re.findall(r"<summary>(.*?)</summary>", page.html) == ["Sensitivity of 30 classes"]
    assert len(page.rows("Sensitivity of 30 classes")) == 31


def test_files_are_told_apart_by_no_more_than_it_takes() -> None:
    assert distinct_names("/a/b/one.csv", "/c/two.csv") == ("one.csv", "two.csv")
    assert distinct_names("/x/a/p.csv", "/x/b/p.csv") == ("a/p.csv", "b/p.csv")
    assert distinct_names("p.csv", "p.csv") == ("p.csv", "p.csv")
    assert distinct_names("p.csv", "/x/p.csv") == ("p.csv", "x/p.csv")
    assert len(distinct_names("a" * 300 + ".csv", "b.csv")[0]) == 60


def test_the_figure_marks_zero_and_fills_what_is_apart() -> None:
    rows = [DifferenceRow("far", 0.2, 0.1, 0.3, apart=True), DifferenceRow("near", 0.15, -0.0, 0.3)]
    low, high = common_limits([rows[0]])
    assert low < 0 < 0.3 < high
    drawing = differences(
        rows, x_label="A − B", limits=(-0.1, 0.4), title="", apart="p < 0.05", otherwise="not"
    )
    faces = re.findall(r'<use [^>]*fill="(#\w{6})"[^>]*stroke="#0072b2"', drawing.svg)
    # each circle once in the key and once in the plot, beside the ends of the lines
    assert faces.count("#ffffff") == 2 and faces.count("#0072b2") >= 2
    assert [signed(value) for value in (0.0321, -0.0104, 0.0, 0.0001)] == [
        "+0.032",
        "−0.010",
        "0.000",
        "0.000",
    ]


def test_names_fit_a_figure_by_the_room_they_take() -> None:
    assert breadth("ab") == 2 and breadth("基底") == 4 and breadth("e\u0301") == 1
    assert fitted("short", 10) == "short"
    for name in ("x" * 90, "基底細胞癌" * 20, "mixed 基底 and more " * 9):
        for most in (7, 26, 50):
            found = fitted(name, most)
            assert most - 3 <= breadth(found) <= most and "…" in found
            assert found[0] == name[0] and found[-1] == name.rstrip()[-1]
