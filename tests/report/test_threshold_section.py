"""What a reader relies on where the page of a table speaks of decisions: numbers that are right, and of other cases."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from read_pages import Page
from scipy.stats import binomtest

from graftwork.common.errors import UsageError
from graftwork.common.evaluation import (
    Evaluation,
    Protocol,
    Submission,
    Threshold,
    aurc,
    decision_curve,
    evaluate,
    group_bootstrap,
)
from graftwork.common.evaluation.metrics.conformal_coverage import one_per_group
from graftwork.common.evaluation.tables.external_tables import TableTarget
from graftwork.common.report import evaluation_report
from graftwork.common.report.formatting import listing

BINARY = TableTarget("binary", ("well", "ill"))
SEVERAL = TableTarget("multi-class", ("red", "green", "blue"))
LABELS = TableTarget("multi-label", tuple("abcdef"))


def trial(target: TableTarget, **changes: Any) -> Protocol:
    metrics = ("auroc",) if target.kind == "multi-class" else ("auroc", "sensitivity", "specificity")
    how: dict[str, Any] = {"group": "patient", **changes}
    return Protocol("trial", 1, "A trial", "nobody", "picture", target.kind, "auroc", metrics, **how)  # type: ignore[arg-type]


def chances(logits: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-logits)))


def binary(n: int = 400, patients: int = 120, seed: int = 0) -> pd.DataFrame:
    """Several pictures a patient; a third of the patients are of the part validation."""
    rng = np.random.default_rng(seed)
    patient = rng.integers(0, patients, n)
    tended = rng.normal(-0.7, 1.2, patients)[patient] + rng.normal(0, 1, n)
    score = np.round(chances(tended + rng.normal(0, 0.7, n)), 3)
    return pd.DataFrame(
        {
            "case": [f"{k:04}" for k in range(n)],
            "group": [f"p{k}" for k in patient],
            "part": np.where(patient % 3 == 0, "validation", "test"),
            "target": np.where(rng.random(n) < chances(tended), "ill", "well"),
            "score_well": 1 - score,
            "score_ill": score,
        }
    )


def several(n: int = 300) -> pd.DataFrame:
    frame = binary(n, seed=3)
    rng = np.random.default_rng(4)
    p = rng.dirichlet((1, 1, 0.6), n)
    truth = (rng.random((n, 1)) > np.cumsum(p, axis=1)).sum(1).clip(0, 2)
    frame["target"] = np.array(SEVERAL.classes)[truth]
    for k, name in enumerate(SEVERAL.classes):
        frame[f"score_{name}"] = p[:, k] * rng.choice([1.0, 0.995], n)  # rows that miss 1, as rounded ones do
    return frame.drop(columns=["score_well", "score_ill"])


def labels(n: int = 300) -> pd.DataFrame:
    """Six labels; b is unknown in some cases and the same in all of a patient, f occurs in no case of the part test."""
    frame = binary(n, seed=5)
    rng = np.random.default_rng(6)
    for k, name in enumerate(LABELS.classes):
        frame[f"score_{name}"] = (0.9 if name == "b" else 0.6) * rng.random(n) ** (1 + k / 4)
        frame[f"target_{name}"] = (rng.random(n) < frame[f"score_{name}"]).astype(float)
    alike = frame.groupby("group")[["score_b", "target_b"]].transform(
        "first"
    )  # pictures of a patient, of the label b
    frame[["score_b", "target_b"]] = alike
    frame.loc[frame["part"] == "test", "target_f"] = 0.0
    frame.loc[frame.index[::7], "target_b"] = np.nan
    return frame


def written(
    frame: pd.DataFrame, target: TableTarget, protocol: Protocol, folder: Path, **how: Any
) -> tuple[Page, Evaluation]:
    """The page without its figures, and the evaluation that it is of."""
    evaluation = evaluate(frame, target, protocol, **{"bootstrap": 100, **how})
    return page_of(frame, target, protocol, evaluation, folder), evaluation


def page_of(
    frame: pd.DataFrame, target: TableTarget, protocol: Protocol, evaluation: Evaluation, folder: Path
) -> Page:
    empty = '<svg xmlns="http://www.w3.org/2000/svg"/>'
    with mock.patch("graftwork.common.report.figures.drawing._svg", return_value=empty):
        file = evaluation_report(Submission(frame, target), protocol, evaluation, (), folder / "page.html")
    return Page(file.read_text("utf-8"))


def cases_of(frame: pd.DataFrame, part: str = "test") -> pd.DataFrame:
    return frame[frame["part"] == part].sort_values("case")


def alt(page: Page, begins: str) -> str:
    (found,) = {text for attrs in page.named("img") if (text := attrs["alt"] or "").startswith(begins)}
    return found


def sections(page: Page) -> list[str]:
    return re.findall(r"<h2[^>]*>(.*?)</h2>", page.html)


def said(value: float, low: float, high: float) -> list[str]:
    return [f"{value:.3f}", f"{low:.3f} to {high:.3f}"]


def test_the_operating_point_of_a_binary_target_is_counted_on_the_part_test(tmp_path: Path) -> None:
    frame = binary()
    page, evaluation = written(frame, BINARY, trial(BINARY), tmp_path)
    assert page.title() == "predictions" and page.sections() == [
        "result", "metrics", "curves", "calibration", "operating-points", "decision-curves", "abstention",
        "undefined", "methods", "repeat",
    ]  # fmt: skip
    here, threshold = cases_of(frame), evaluation.threshold
    assert threshold is not None
    ill, called = (here["target"] == "ill").to_numpy(), (here["score_ill"] >= threshold.value).to_numpy()
    rows = {row[0]: row[1:] for row in page.rows(r"ill \(positive\) on the test part at the threshold")}
    for name, hits, among, of in (
        ("Sensitivity", ill & called, ill, " positive"),
        ("Specificity", ~ill & ~called, ~ill, " negative"),
        ("PPV", ill & called, called, " predicted positive"),
        ("NPV", ~ill & ~called, ~called, " predicted negative"),
        ("Prevalence", ill, ill | True, ""),
        ("Predicted positive", called, ill | True, ""),
    ):
        k, n = int(hits.sum()), int(among.sum())
        by_group = group_bootstrap(
            lambda w, h=hits, a=among: (w @ h) / (w @ a), here["group"], replicates=100
        )
        alone = binomtest(k, n).proportion_ci(0.95, "wilson")
        assert rows[name] == [
            *said(k / n, by_group.low, by_group.high), f"{alone.low:.3f} to {alone.high:.3f}", f"{k} of {n}{of}",
        ]  # fmt: skip
    whole = evaluation.result("sensitivity")  # one page, one number
    assert rows["Sensitivity"][:2] == said(whole.value, whole.low, whole.high)
    validation = cases_of(frame, "validation")
    assert (
        f"(Youden's index) on the part validation ({len(validation)} cases, {(validation['target'] == 'ill').sum()}"
        in page.text
    )
    assert "Wilson's treat pictures as independent and are too narrow with several per patient" in page.text


def test_a_threshold_of_the_part_that_is_judged_never_appears(tmp_path: Path) -> None:
    frame, protocol = binary(200), trial(BINARY)
    evaluation = evaluate(frame, BINARY, protocol, bootstrap=20)
    stolen = replace(evaluation, thresholds=(Threshold(0.4, "youden", chosen_on="test", n=10, positives=5),))
    with pytest.raises(UsageError, match="chosen on part test, which is the evaluated part"):
        page_of(frame, BINARY, protocol, stolen, tmp_path)
    page, _ = written(frame, BINARY, protocol, tmp_path, threshold=0.25)
    assert "at the threshold 0.25" in page.text and "Threshold: fixed beforehand." in page.text
    assert "The marked point is the threshold fixed beforehand." in page.text


def test_without_other_cases_there_is_no_threshold_and_no_set_and_the_page_says_why(tmp_path: Path) -> None:
    page, _ = written(binary(200).assign(part="test"), BINARY, trial(BINARY), tmp_path)
    assert "No operating point: no threshold could be chosen: no case in part validation." in page.text
    assert (
        "No threshold could be chosen: no case in part validation. Metrics that need a threshold" in page.text
    )
    assert "was chosen on the validation part" not in page.text
    assert "never chosen on the cases that are evaluated" in page.text
    assert (
        "No conformal sets at 90" in page.text and "the table has no case of the part validation" in page.text
    )
    assert "at the threshold" not in page.text
    judged, _ = written(binary(200), BINARY, trial(BINARY), tmp_path, part="validation", threshold=0.5)
    assert "the part validation, which is evaluated here" in judged.text


def test_every_label_has_its_operating_point_and_what_is_undefined_has_a_reason(tmp_path: Path) -> None:
    frame = labels()
    page, evaluation = written(frame, LABELS, trial(LABELS), tmp_path)
    here = cases_of(frame)
    rows = {row[0]: row[1:] for row in page.rows("Operating points on the test part")}
    alone = {row[0]: row[1:] for row in page.rows("Counts of pictures")}
    assert list(rows)[1:] == list(alone)[1:] == list(LABELS.classes)
    for name, threshold in zip(LABELS.classes, evaluation.thresholds, strict=True):
        known = here[f"target_{name}"].notna()
        truth, called = here[f"target_{name}"][known] == 1, here[f"score_{name}"][known] >= threshold.value
        found = evaluation.result("specificity", name)
        assert rows[name][0] == f"{threshold.value:.4g}"
        assert rows[name][2] == f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"
        assert alone[name][2].startswith(f"{(truth & called).sum()} of {called.sum()}")
        assert alone[name][4].startswith(f"{truth.sum()} of {known.sum()}")
    assert rows["f"][1] == "n/a" and "Sensitivity of f is undefined: no case is positive." in page.text
    sizes = {each.n for each in evaluation.thresholds}
    assert f"({min(sizes)} to {max(sizes)} cases)" in page.text
    assert (
        "An interval of width 0 does not mean certainty" in page.text
    )  # the prevalence of f is 0 in all replicates


def test_decision_curves_are_of_the_most_frequent_labels(tmp_path: Path) -> None:
    frame = labels()
    page, evaluation = written(frame, LABELS, trial(LABELS), tmp_path)
    here = cases_of(frame)
    drawn = re.findall(r"Decision curve of (\w)\.", page.text)
    counts = here[[f"target_{name}" for name in LABELS.classes]].sum().to_numpy()
    assert drawn == [LABELS.classes[k] for k in np.argsort(-counts, kind="stable")[:4]]
    assert "b" in drawn and "The 4 most frequent of 6 classes." in page.text
    # up to the tenth above the largest score; the last of a hundred thresholds
    curve = decision_curve(here["target_a"], here["score_a"], here["group"], [0.006, 0.6], replicates=100)
    words = alt(page, "Net benefit of treating by the score of a over")
    for at, place in ((0.01, 0), (0.60, 1)):
        model, every = curve.model[place], curve.treat_all[place]
        assert f"{model:.3f} at {at:.2f} (treat all {every:.3f})".replace("-", "−") in words
    assert evaluation.bootstrap == 100 and "Vickers" in page.text
    for name in drawn:
        known = here[here[f"target_{name}"].notna()]
        end = math.ceil(10 * known[f"score_{name}"].max()) / 10
        grid = np.linspace(end / 100, end, 100)
        fine = decision_curve(
            known[f"target_{name}"], known[f"score_{name}"], known["group"], grid, replicates=100
        )
        better = (fine.low > 0) & (fine.gain_low > 0)
        runs = [list(run) for one, run in itertools.groupby(range(100), better.__getitem__) if one]
        ends = [[f"{grid[k]:.2f}" for k in (run[0], run[-1])] for run in runs]
        assert runs and ((fine.low > 0) & ~better).any()  # there treating all is as good
        where = listing(" to ".join(dict.fromkeys(each)) for each in ends)
        if len(runs) > 3:
            where = f"{len(runs)} ranges between {ends[0][0]} and {ends[-1][1]}"
        told = f"a higher net benefit than treating all and none at thresholds from {where} (pointwise"
        assert f"Decision curve of {name}. Treating by the score has {told}" in page.text


def test_a_filter_is_told_by_what_it_leaves_and_misses(tmp_path: Path) -> None:
    frame = binary()
    plain, _ = written(frame, BINARY, trial(BINARY), tmp_path)
    assert "left to read" not in plain.html
    page, evaluation = written(frame, BINARY, trial(BINARY, threshold="sensitivity"), tmp_path)
    here, threshold = cases_of(frame), evaluation.threshold
    assert threshold is not None
    kept, ill = here["score_ill"] >= threshold.value, here["target"] == "ill"
    found = evaluation.result("sensitivity")
    left = group_bootstrap(lambda w: (w @ kept.to_numpy()) / w.sum(1), here["group"], replicates=100)
    text = page.text.replace("\u00a0", " ")
    assert (
        f"At the threshold, {1 - found.value:.3f} of the positive pictures are missed (95 % interval "
        f"{1 - found.high:.3f} to {1 - found.low:.3f}), and {kept.mean():.3f} of all pictures are left to read (95 % "
        f"interval {left.low:.3f} to {left.high:.3f})." in text
    )
    none_missed = (here["score_ill"] >= here["score_ill"][ill].min()).mean()
    assert f"{none_missed:.3f} left at 0.00 missed" in alt(page, "Share of pictures left to read")
    assert "a sensitivity of at least 0.95 on the part validation" in text


def pooled() -> pd.DataFrame:
    """Frames of events: an event is ill where any of its frames is, by the largest score of them."""
    frame = binary(600, patients=60, seed=8).sort_values("group", kind="stable")
    frame["event"] = frame["group"] + "-" + (frame.groupby("group").cumcount() // 3).astype(str)
    return frame


def test_what_is_put_together_is_judged_together_in_every_section(tmp_path: Path) -> None:
    frame = pooled()
    protocol = trial(BINARY, by="event", pooling="max")
    protocol = replace(protocol, unit="event")
    page, evaluation = written(frame, BINARY, protocol, tmp_path)
    events = frame.groupby("event").agg(
        {"group": "first", "part": "first", "score_ill": "max", "target": lambda each: "ill" in set(each)}
    )
    here, threshold = events[events["part"] == "test"], evaluation.threshold
    assert threshold is not None
    called = here["score_ill"] >= threshold.value
    rows = {row[0]: row[1:] for row in page.rows("ill")}
    hits, ill = int((called & here["target"]).sum()), int(here["target"].sum())
    assert rows["Sensitivity"][3] == f"{hits} of {ill} positive"
    assert rows["Sensitivity"][0] == f"{evaluation.result('sensitivity').value:.3f}"
    # the point on the curve stands where the table says
    shares = f"sensitivity {rows['Sensitivity'][0]}, specificity {rows['Specificity'][0]}"
    assert shares in alt(page, "ROC curve of ill")
    answered = page.rows("Risk without the least certain cases")
    assert answered[1][3] == f"{len(here)}" and "single" not in page.text
    groups = events[events["part"] == "validation"]["group"].nunique()
    assert f"so one event of each of {groups} patients of part validation was drawn (seed 0)" in page.text


def test_risk_is_of_the_decisions_that_are_surest(tmp_path: Path) -> None:
    frame = several()
    page, _ = written(frame, SEVERAL, trial(SEVERAL), tmp_path)
    here = cases_of(frame)
    p = here[[f"score_{name}" for name in SEVERAL.classes]].to_numpy()
    wrong = np.array(SEVERAL.classes)[p.argmax(1)] != here["target"].to_numpy()
    rows = {row[0]: row[1:] for row in page.rows("Risk without the least certain cases")}
    assert rows["AURC"][0] == f"{aurc(wrong, p.max(1)):.3f}"
    low, high = map(float, rows["AURC"][1].split(" to "))
    assert low < aurc(wrong, p.max(1)) < high
    whole = group_bootstrap(lambda w: (w @ wrong) / w.sum(1), here["group"], replicates=100)
    assert rows["Wrong, all answered"] == [*said(wrong.mean(), whole.low, whole.high), str(len(here))]
    assert "Operating points" not in sections(page) and "Decision curve" not in sections(page)
    assert rows["Wrong, most certain 80 % answered"][2] == str(math.ceil(0.8 * len(here)))


def test_ties_that_a_protocol_leaves_undecided_are_wrong(tmp_path: Path) -> None:
    frame = several()
    frame[["score_red", "score_green", "score_blue"]] = (0.5, 0.5, 0.0)
    page, _ = written(frame, SEVERAL, trial(SEVERAL, ties="wrong"), tmp_path)
    assert page.rows("Risk without the least certain cases")[1][1] == "1.000"
    assert "A tie has no decision" in page.text


def test_a_binary_target_is_decided_by_the_larger_probability(tmp_path: Path) -> None:
    frame = binary()
    page, _ = written(frame, BINARY, trial(BINARY), tmp_path, threshold=0.1)
    here = cases_of(frame)
    wrong = (here["score_ill"] > 0.5) != (here["target"] == "ill")
    rows = {row[0]: row[1:] for row in page.rows("Risk without the least certain cases")}
    sure = np.maximum(here["score_ill"], 1 - here["score_ill"])
    assert rows["Wrong, all answered"][0] == f"{wrong.mean():.3f}"
    assert float(rows["AURC"][0]) == pytest.approx(aurc(wrong, sure), abs=0.0006)


def by_hand(frame: pd.DataFrame, left: set[str]) -> tuple[np.ndarray, int, float]:
    """Sets at 90 % from one case of each patient: [n, K], the number calibrated on, and the least probability."""
    columns = [f"score_{name}" for name in SEVERAL.classes]
    old = cases_of(frame, "validation")
    old = old[~old["group"].isin(left)]
    old = old.iloc[one_per_group(old["group"], 0)]
    p = old[columns].to_numpy()
    p /= p.sum(axis=1, keepdims=True)
    true = sorted((p[k, SEVERAL.classes.index(name)] for k, name in enumerate(old["target"])), reverse=True)
    n = len(true)
    bound = true[math.ceil(round((n + 1) * 0.9, 9)) - 1]
    new = cases_of(frame)[columns].to_numpy()
    return new / new.sum(axis=1, keepdims=True) >= bound - 1e-12, n, bound


@pytest.mark.parametrize("shared", [0, 5])
def test_sets_are_calibrated_on_one_case_of_each_other_patient(shared: int, tmp_path: Path) -> None:
    frame = several()
    ours = frame[frame["part"] == "test"]["group"].unique()
    theirs = frame[frame["part"] == "validation"]["group"].unique()[:shared]
    both = dict(zip(theirs, ours, strict=False))  # some patients of validation become patients of test
    frame["group"] = frame["group"].map(lambda name: both.get(name, name))
    page, _ = written(frame, SEVERAL, trial(SEVERAL), tmp_path)
    sets, n, bound = by_hand(frame, set(both.values()))
    here = cases_of(frame)
    truth = here["target"].map(SEVERAL.classes.index).to_numpy()
    hit = sets[np.arange(len(sets)), truth]
    rows = {row[0]: row[1:] for row in page.rows("Conformal sets at 90")}
    limits = group_bootstrap(lambda w: (w @ hit) / w.sum(1), here["group"], replicates=100)
    assert rows["Coverage"] == said(hit.mean(), limits.low, limits.high)
    means = pd.Series(hit).groupby(here["group"].to_numpy()).mean().mean()
    assert rows["Coverage, mean over patients"][0] == f"{means:.3f}"
    size = sets.sum(axis=1)
    assert rows["Mean number of classes in a set"][0] == f"{size.mean():.3f}"
    assert rows["Share of sets with one class"][0] == f"{(size == 1).mean():.3f}"
    assert rows["Share of empty sets"][0] == f"{(size == 0).mean():.3f}"
    of = {row[0]: row[1:] for row in page.rows("Coverage by true class")}
    for k, name in enumerate(SEVERAL.classes):
        assert of[name][0] == f"{hit[truth == k].mean():.3f}" and of[name][2] == str((truth == k).sum())
    assert f"A set has each class with a probability of at least {bound:.3f}" in page.text
    assert (
        f"Pictures of one patient are not exchangeable, so one picture of each of {n} patients" in page.text
    )
    assert ("Left out: 5 patients that part test also has." in page.text) == bool(shared)


def test_too_few_patients_calibrate_no_set(tmp_path: Path) -> None:
    frame = binary(120, patients=24)
    frame.loc[(frame["part"] == "validation") & (frame.groupby("group").ngroup() > 20), "part"] = "train"
    page, _ = written(frame, BINARY, trial(BINARY), tmp_path)
    left = cases_of(frame, "validation")["group"].nunique()
    assert left < 9
    assert f"calibration needs at least 9 patients; part validation has {left}." in page.text


def test_a_table_without_groups_says_what_its_sets_take_for_granted(tmp_path: Path) -> None:
    page, _ = written(binary(200).drop(columns="group"), BINARY, trial(BINARY), tmp_path)
    assert "The table has no groups: several pictures of one source are not exchangeable" in page.text
    assert ", as these do." in page.text  # intervals by case, as Wilson's
    assert "Coverage, mean over" not in page.text


def test_a_part_with_one_kind_of_cases_or_one_patient_has_reasons_in_place_of_numbers(tmp_path: Path) -> None:
    frame = binary(200)
    frame.loc[frame["part"] == "test", "target"] = "well"
    page, _ = written(frame, BINARY, trial(BINARY, threshold="sensitivity"), tmp_path)
    assert "Sensitivity of ill is undefined: no case is positive." in page.text
    assert "No workload curve: no picture is positive." in page.text
    assert not any(title.startswith("Decision curve") for title in sections(page))
    frame["target"] = frame["target"].where(frame["part"] == "validation", None)
    page, _ = written(frame, BINARY, trial(BINARY), tmp_path)
    assert page.text.count("No picture of the test part has a known label.") == 2
    assert "at the threshold" not in page.text
    frame = binary(200)
    frame.loc[frame["part"] == "test", "group"] = "one"
    page, _ = written(frame, BINARY, trial(BINARY, threshold="sensitivity"), tmp_path)
    assert page.text.count("1 patient only: nothing to resample") >= 5
    rows = {row[0]: row[1:] for row in page.rows("ill")}
    assert rows["PPV"][1] == "n/a" and " to " in rows["PPV"][2]


def test_counts_have_none_of_these_sections(tmp_path: Path) -> None:
    target = TableTarget("counts", ())
    frame = pd.DataFrame(
        {
            "case": list("abcd"),
            "part": "test",
            "group": list("xxyy"),
            "target": [0, 1, 2, 3],
            "predicted": [0, 1, 1, 3],
        }
    )
    protocol = Protocol("trial", 1, "A trial", "nobody", "event", "counts", "count_exact", ("count_exact",))
    page, _ = written(frame, target, protocol, tmp_path)
    assert not {"Operating points", "Decision curve", "Abstention"} & set(sections(page))


def test_the_figures_are_drawn_and_their_links_lead_to_them(tmp_path: Path) -> None:
    frame, protocol = binary(), trial(BINARY, threshold="sensitivity")
    evaluation = evaluate(frame, BINARY, protocol, bootstrap=50)
    file = evaluation_report(Submission(frame, BINARY), protocol, evaluation, (), tmp_path / "page.html")
    page = Page(file.read_text("utf-8"))
    drawn = " ".join(page.pictures())
    for label in (
        "net benefit per case", "threshold probability", "share of positives missed",
        "share of pictures left to read", "share of pictures answered", "share wrong of those answered",
    ):  # fmt: skip
        assert f">{label}<" in drawn
    links = {(attrs["href"] or "")[1:] for attrs in page.named("a")}
    ids = {attrs["id"] for attrs in page.named("h2")}
    assert {"operating-points", "decision-curves", "abstention"} <= ids and ids - {None} <= links
