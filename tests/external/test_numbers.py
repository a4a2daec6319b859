"""What stands beside a number: the cases it rests on, positive cases; and what two tables must share to be compared."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from predicted import Target, protocol as trial
from read_pages import Page

from graftwork.cli import main
from graftwork.common.errors import TableError
from graftwork.common.evaluation import evaluate
from graftwork.common.verbs import compare, evaluate_file


def main_code(*words: str) -> object:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return ended.value.code


def test_tables_that_differ_in_more_than_their_scores_are_refused_with_what_differs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"case": [f"c{n:02}" for n in range(40)], "part": "test", "group": [f"g{n // 2}" for n in range(40)],
         "target": rng.permutation(np.arange(40) % 2), "score": rng.random(40), "ward": np.arange(40) % 3}
    )  # fmt: skip
    frame.to_csv(tmp_path / "a.csv", index=False)
    how = {"threshold": 0.5, "bootstrap": 20}

    def said(other: pd.DataFrame, first: pd.DataFrame = frame) -> str:
        first.to_csv(tmp_path / "a.csv", index=False)
        other.to_csv(tmp_path / "b.csv", index=False)
        with pytest.raises(TableError) as caught:
            compare(tmp_path / "a.csv", tmp_path / "b.csv", "isic2020", **how)  # type: ignore[arg-type]
        return str(caught.value)

    flipped = frame.assign(target=np.where(frame.index < 2, 1 - frame["target"], frame["target"]))
    assert "b.csv" in said(flipped) and "the truth differs in 2 of 40 cases: c00 (" in said(flipped)
    assert re.search(r"c00 \((benign, malignant|malignant, benign)\)", said(flipped))
    assert "the group differs in 4 of 40 cases: c00 (g0, h), c01 (g0, h), c02 (g1, h), c03 (g1, h)" in said(
        frame.assign(group=frame["group"].where(frame.index > 3, "h"))
    )
    assert "the first table names groups, it does not" in said(frame.drop(columns="group"))
    assert "it lacks 3 of 40 cases with a known truth: c37, c38, c39" in said(frame[:37])
    assert "it alone has 3 of 40 cases with a known truth: c37, c38, c39" in said(frame, frame[:37])
    trained = frame.assign(part=np.where(frame.index < 5, "train", "test"))
    assert "the part differs in 5 of 40 cases: c00 (test, train), c01" in said(trained)
    bare = said(frame.drop(columns="part"), trained)
    assert (
        "the part differs in 5 of 40 cases: c00 (train, test)" in bare
        and "it names no parts, so that each" in bare
    )

    frame.to_csv(tmp_path / "a.csv", index=False)
    other = frame.sample(frac=1, random_state=1).assign(score=rng.random(40), ward="x")
    other.to_csv(tmp_path / "b.csv", index=False)
    found = compare(tmp_path / "a.csv", tmp_path / "b.csv", "isic2020", **how)  # type: ignore[arg-type]
    (note,) = found.notes
    assert (
        "The column ward, which was not used, differs between A and B in 40 of 40 cases: c00 (0, x)" in note
    )
    same = compare(tmp_path / "a.csv", tmp_path / "a.csv", "isic2020", **how)  # type: ignore[arg-type]
    assert same.notes == ("A and B hold the same scores in all 40 cases: is it twice the same model?",)
    for file, label in (("a.csv", "y"), ("b.csv", "z")):
        pd.DataFrame(
            {"case": ["c1", "c2"], "target_x": [0, 1], f"target_{label}": [1, 0], "score_x": [0.1, 0.9],
             f"score_{label}": [0.9, 0.1]}
        ).to_csv(tmp_path / file, index=False)  # fmt: skip
    with pytest.raises(TableError, match=r"b.csv: its classes are x, z, those of .*a.csv are x, y"):
        compare(tmp_path / "a.csv", tmp_path / "b.csv", "species-sets", **how)  # type: ignore[arg-type]


def test_a_share_rests_on_the_cases_that_it_is_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A sensitivity of 1.0 over 3 positive cases of 60 is not one over 60; positives are beside every figure."""
    rng = np.random.default_rng(0)
    ill = np.zeros(60, dtype=int)
    ill[[3, 20, 41]] = 1
    frame = pd.DataFrame(
        {"case": [f"c{n}" for n in range(60)], "group": [f"g{n // 2}" for n in range(60)], "target": ill,
         "score": np.clip(0.5 * ill + 0.6 * rng.random(60), 0, 1), "sex": np.where(np.arange(60) % 4 < 2, "f", "m")}
    )  # fmt: skip
    frame.to_csv(tmp_path / "a.csv", index=False)
    judged = evaluate_file(tmp_path / "a.csv", "isic2020", threshold=0.5, by=["sex"], bootstrap=20, also=["accuracy"],
                           report=tmp_path / "a.html")  # fmt: skip
    found = {each.metric: (each.n, each.positives, each.groups) for each in judged.evaluation.results}
    assert found["auroc"] == found["accuracy"] == (60, 3, 30)
    assert found["sensitivity"] == (3, 3, 3) and found["specificity"] == (57, 3, 30)
    of_women = {each.metric: (each.n, each.positives) for each in judged.subgroups[0].subgroups[0].results}
    women = int(ill[frame["sex"] == "f"].sum())
    assert of_women["sensitivity"] == (women, women) and of_women["specificity"] == (30 - women, women)
    assert {each["metric"]: each["n"] for each in judged.to_json()["results"]}["sensitivity"] == 3
    page = Page((tmp_path / "a.html").read_text("utf-8"))
    rows = {row[0]: row for row in page.rows("All metrics")}
    assert rows["Sensitivity"][-2:] == ["3", "3"] and rows["Specificity"][-2:] == ["57", "3"]
    words = ["--protocol", "isic2020", "--threshold", "0.5", "--bootstrap", "20"]
    assert main_code("evaluate", str(tmp_path / "a.csv"), *words) == 0
    assert re.search(r"sensitivity +\S+ +\S+ to \S+ +3 +3\n", capsys.readouterr().out)
    assert main_code("compare", str(tmp_path / "a.csv"), str(tmp_path / "a.csv"), *words) == 0
    assert re.search(r"specificity +57 +3 ", capsys.readouterr().out)

    several = pd.DataFrame(
        {"case": [f"c{n}" for n in range(30)], "target": ["x"] * 5 + ["y"] * 10 + ["z"] * 15}
    )
    several[["score_x", "score_y", "score_z"]] = rng.dirichlet([1, 1, 1], 30)
    target = Target("multi-class", tuple("xyz"))
    evaluation = evaluate(
        several.assign(part="test"), target, trial(target, ("auroc", "sensitivity")), bootstrap=20
    )
    assert [evaluation.result("sensitivity", label).n for label in "xyz"] == [5, 10, 15]
    assert evaluation.positives(evaluation.result("auroc")) == (5, 15)
    assert evaluation.positives(evaluation.result("auroc", "y")) == (10, 10)
