"""Tables of other programs: found by name, refused as a whole, judged, compared, reported."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from graftwork.cli import main
from graftwork.common.data.domain import names, protocol
from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation import auroc, holm, paired_bootstrap
from graftwork.common.evaluation.tables.external_tables import read_submission
from graftwork.common.verbs import compare, evaluate_file, show

TASKS = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path]:
    """Scores of a program and labels of a publisher: 90 images of 30 patients (made up)."""
    rng = np.random.default_rng(5)
    names = [f"{n:04d}.jpg" for n in range(90)]
    truth = rng.random((90, 2)) < 0.4
    scores = np.clip(0.3 * truth + rng.random((90, 2)) * 0.7, 0, 1)
    predicted = pd.DataFrame({"isic_id": names, "score": scores[:, 0], "noise": scores[:, 1]})
    labels = pd.DataFrame(
        {
            "image_name": names,
            "target": truth[:, 0].astype(int),
            "patient_id": [f"p{n // 3}" for n in range(90)],
            "sex": ["f", "m", "m"] * 30,
            "age": rng.integers(18, 90, 90),
        }
    )
    predicted.to_csv(tmp_path / "scores.csv", index=False)
    labels.sample(frac=1, random_state=1).to_csv(tmp_path / "labels.csv", index=False)
    return tmp_path / "scores.csv", tmp_path / "labels.csv"


def call(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(ended.value.code or 0)


def change(file: Path, **columns: Any) -> None:
    frame = pd.read_csv(file)
    for name, values in columns.items():
        frame[name] = values
    frame.to_csv(file, index=False)


def test_two_tables_are_joined_by_case_and_judged_by_patient(tables: tuple[Path, Path]) -> None:
    found = evaluate_file(
        tables[0], "isic2020", truth=tables[1], group="patient_id", by=["sex", "age"], bootstrap=200
    )
    joined = pd.read_csv(tables[0]).merge(pd.read_csv(tables[1]), left_on="isic_id", right_on="image_name")
    whole = found.evaluation.result("auroc")
    assert whole.value == auroc(joined["target"], joined["score"])
    assert (found.evaluation.n, found.evaluation.groups, found.evaluation.group_column) == (90, 30, "group")
    women = next(each for each in found.subgroups[0].subgroups if each.value == "f")
    here = joined["sex"] == "f"
    assert women.results[0].value == auroc(joined["target"][here], joined["score"][here])
    assert women.results[0].low <= women.results[0].value <= women.results[0].high
    assert (women.n, women.groups) == (30, 30)
    assert len(found.subgroups[1].subgroups) == 4  # years, cut at their quartiles
    gap = found.subgroups[0].gaps[0]
    assert gap.difference.value > 0 and gap.difference.low <= gap.difference.value <= gap.difference.high
    sensitivity = found.evaluation.result("sensitivity")
    assert math.isnan(sensitivity.value) and "no case in part validation" in sensitivity.reason


def test_a_small_subgroup_is_named_and_not_judged(tables: tuple[Path, Path]) -> None:
    change(tables[1], sex=["x"] * 9 + ["m"] * 81)
    (found,) = evaluate_file(
        tables[0], "isic2020", truth=tables[1], group="patient_id", by=["sex"], bootstrap=50
    ).subgroups
    assert [each.value for each in found.subgroups] == ["m"]
    assert found.suppressed[0][0] == "x" and found.suppressed[0][1] < 10
    assert not found.gaps


def test_everything_that_is_wrong_is_said_at_once(tables: tuple[Path, Path]) -> None:
    scores, labels = pd.read_csv(tables[0]), pd.read_csv(tables[1])
    pd.concat(
        [scores, scores[:1], pd.DataFrame({"isic_id": ["new.jpg"], "score": [0.5], "noise": [0]})]
    ).to_csv(tables[0], index=False)
    labels[labels["image_name"] != "0005.jpg"].to_csv(tables[1], index=False)
    with pytest.raises(TableError) as raised:
        evaluate_file(tables[0], "isic2020", truth=tables[1])
    message = str(raised.value)
    assert "cases are more than once in scores.csv: 2 of 92" in message and "0000.jpg" in message
    assert "cases have no truth: 2 of 92" in message and "new.jpg" in message and "0005.jpg" in message


def test_cases_that_were_not_predicted_are_a_fault_unless_asked(tables: tuple[Path, Path]) -> None:
    pd.read_csv(tables[0])[:60].to_csv(tables[0], index=False)
    with pytest.raises(TableError, match=r"have no prediction.*30 of 90"):
        evaluate_file(tables[0], "isic2020", truth=tables[1])
    found = evaluate_file(tables[0], "isic2020", truth=tables[1], only_predicted=True, bootstrap=20)
    assert found.evaluation.n == 60
    assert any("30 cases of the table of truth have no prediction" in note for note in found.evaluation.notes)
    assert any("The group is patient_id of labels.csv" in note for note in found.evaluation.notes)
    assert found.evaluation.groups == 20


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [("score", 1.5, "outside 0..1"), ("score", "high", "not a number"), ("score", None, "missing")],
)
def test_scores_that_are_no_probabilities_are_refused(
    tables: tuple[Path, Path], column: str, value: object, said: str
) -> None:
    frame = pd.read_csv(tables[0]).astype({column: object})
    frame.loc[3, column] = value
    frame.to_csv(tables[0], index=False)
    with pytest.raises(TableError, match=said):
        evaluate_file(tables[0], "isic2020", truth=tables[1])


def test_a_truth_that_is_no_class_is_refused(tables: tuple[Path, Path]) -> None:
    change(tables[1], target=["maybe"] * 90)
    with pytest.raises(TableError, match="neither 0 or 1 nor benign or malignant"):
        evaluate_file(tables[0], "isic2020", truth=tables[1])


def test_columns_that_are_not_there_are_named_with_what_would_do(tables: tuple[Path, Path]) -> None:
    with pytest.raises(
        TableError, match="no column has the scores of Edema: expected score_Edema, prob_Edema"
    ):
        evaluate_file(tables[0], "chexpert", truth=tables[1])
    with pytest.raises(TableError, match="no column 'patient' says the group"):
        evaluate_file(tables[0], "isic2020", truth=tables[1], group="patient")
    with pytest.raises(UsageError, match="the column height is missing"):
        evaluate_file(tables[0], "isic2020", truth=tables[1], by=["height"])
    with pytest.raises(UsageError, match="masks"):
        read_submission(tables[0], protocol("lgg-buda"))


def test_lists_of_findings_views_and_blank_labels(tmp_path: Path) -> None:
    """One cell lists what is there; the views of a study are put together by their largest score."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"Path": [f"s{n // 2}/v{n % 2}.jpg" for n in range(40)], "study": [f"s{n // 2}" for n in range(40)]}
    )
    for name in TASKS:
        frame[f"Prob {name}"] = rng.random(40)
    labels = frame[["Path", "study"]].copy()
    labels["Finding Labels"] = [
        ("Edema|Pleural_Effusion", "No Finding", "Cardiomegaly", "")[n // 2 % 4] for n in range(40)
    ]
    frame.drop(columns="study").to_csv(tmp_path / "p.csv", index=False)
    labels.to_csv(tmp_path / "t.csv", index=False)
    found = evaluate_file(tmp_path / "p.csv", "chexpert", truth=tmp_path / "t.csv", bootstrap=50).evaluation
    assert (found.n, found.unit) == (15, "study")  # a study with an empty cell is not known, and left out
    edema = found.result("auroc", "Edema")
    assert (edema.n, edema.positives) == (15, 5)
    largest = frame.groupby("study")["Prob Edema"].max()
    truth = labels.groupby("study")["Finding Labels"].first()
    known = truth != ""
    assert edema.value == auroc(truth[known].str.contains("Edema"), largest[known])
    absent = found.result("auroc", "Atelectasis")
    assert math.isnan(absent.value) and "no positive case" in absent.reason
    assert found.result("auroc").classes == (3, 5)


def test_one_hot_truth_of_a_challenge(tmp_path: Path) -> None:
    classes = protocol("isic2018-task3").classes
    rng = np.random.default_rng(2)
    index = rng.integers(0, 7, 70)
    scores = rng.dirichlet(np.ones(7), 70)
    scores[0] = 1 / 7  # all are equal: no diagnosis
    names = [f"ISIC_{n}" for n in range(70)]
    pd.DataFrame({"image": names, **{c: scores[:, k] for k, c in enumerate(classes)}}).to_csv(
        tmp_path / "p.csv", index=False
    )
    pd.DataFrame({"image": names, **{c: (index == k) * 1.0 for k, c in enumerate(classes)}}).to_csv(
        tmp_path / "t.csv", index=False
    )
    found = evaluate_file(
        tmp_path / "p.csv", "isic2018-task3", truth=tmp_path / "t.csv", bootstrap=20
    ).evaluation
    right = scores.argmax(1) == index
    right[0] = False
    assert found.result("balanced_accuracy").value == pytest.approx(
        np.mean([right[index == k].mean() for k in range(7)])
    )
    two = pd.read_csv(tmp_path / "t.csv")
    two.loc[4, list(classes)] = 1.0
    two.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(TableError, match="do not name one class: 1 of 70"):
        evaluate_file(tmp_path / "p.csv", "isic2018-task3", truth=tmp_path / "t.csv")


def test_splitting_a_file_in_two_and_joining_it_changes_nothing(
    tables: tuple[Path, Path], tmp_path: Path
) -> None:
    whole = evaluate_file(tables[0], "isic2020", truth=tables[1], group="patient_id", bootstrap=50).evaluation
    frame = pd.read_csv(tables[0])
    pd.concat([frame[50:], frame[:50]]).to_parquet(tmp_path / "again.parquet")
    again = evaluate_file(
        tmp_path / "again.parquet", "isic2020", truth=tables[1], group="patient_id", bootstrap=50
    )
    assert replace(again.evaluation, notes=()) == replace(whole, notes=())


def test_a_better_model_is_told_from_a_worse_one_and_from_itself(
    tables: tuple[Path, Path], tmp_path: Path
) -> None:
    frame = pd.read_csv(tables[0])
    other = tmp_path / "other.csv"
    frame.assign(score=np.random.default_rng(1).random(90)).to_csv(other, index=False)
    how = {"truth": tables[1], "group": "patient_id", "bootstrap": 200, "threshold": 0.5}
    found = compare(tables[0], other, "isic2020", **how)  # type: ignore[arg-type]
    area = found.compared[0]
    assert area.metric == "auroc" and area.first > area.second
    assert area.difference.low > 0 and area.difference.p < 0.05 and area.delong_p < 0.05
    assert area.first - area.second == pytest.approx(area.difference.value)
    assert found.only_first > found.only_second and 0 < found.mcnemar_p < 1
    same = compare(tables[0], tables[0], "isic2020", **how)  # type: ignore[arg-type]
    assert all(each.difference.value == 0 and each.difference.p == 1 for each in same.compared)
    assert (same.only_first, same.only_second, same.mcnemar_p) == (0, 0, 1.0)


def test_models_on_other_cases_are_not_compared(tables: tuple[Path, Path], tmp_path: Path) -> None:
    fewer = tmp_path / "fewer.csv"
    pd.read_csv(tables[0])[:80].to_csv(fewer, index=False)
    with pytest.raises(TableError, match="nothing is paired"):
        compare(tables[0], fewer, "isic2020", truth=tables[1], only_predicted=True, bootstrap=20)


def test_the_command_line_says_it_in_words_in_json_and_as_a_page(
    tables: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "evaluate",
        str(tables[0]),
        "--protocol",
        "isic2020",
        "--truth",
        str(tables[1]),
        "--bootstrap",
        "50",
    ]
    page = tmp_path / "sub" / "out.html"
    page.parent.mkdir()
    assert call(*words, "--group", "patient_id", "--by", "sex", "--report", str(page)) == 0
    said = capsys.readouterr().out
    assert "90 cases, 30 groups, protocol isic2020" in said and "largest difference" in said
    text = page.read_text("utf-8")
    for section in ("curves", "calibration", "subgroups", "methods"):
        assert f'<h2 id="{section}">' in text
    assert "seed 0" in text and "no case in part validation" in text and "<script" not in text
    assert call(*words, "--json") == 0
    assert json.loads(capsys.readouterr().out)["protocol"] == "isic2020"
    assert call("compare", str(tables[0]), str(tables[0]), *words[2:]) == 0
    assert "p (Holm)" in capsys.readouterr().out
    assert call("evaluate", str(tables[0])) == 2
    assert "--protocol" in capsys.readouterr().err


def test_protocols_are_named_with_or_without_their_domain() -> None:
    wanted = ("nih14-official", "chexnet-random", "chexpert", "isic2018-task3", "isic2019", "isic2020", "isic2024-pauc",
              "lgg-buda", "wilds-iwildcam", "serengeti", "empty-filter", "iwildcam2022-counts", "brats2020",
              "brats2023-lesionwise", "brats2024", "isic2018-task1-masks")  # fmt: skip
    for name in wanted:
        full = next(each for each in names("protocols") if each.endswith(f"/{name}"))
        assert protocol(name) == protocol(full)
        assert show(f"protocol/{name}").text.startswith(f"## {protocol(name).title}")


def test_counts_of_sequences(tmp_path: Path) -> None:
    truth = pd.DataFrame({"id": list("abcdef"), "count": [0, 1, 2, 3, 4, 10], "location": list("xxyyzz")})
    predicted = pd.DataFrame({"id": list("fedcba"), "predicted": [7, 4, 3, 1, 1, 0]})
    truth.to_csv(tmp_path / "t.csv", index=False)
    predicted.to_csv(tmp_path / "p.csv", index=False)
    how: dict[str, Any] = {"truth": tmp_path / "t.csv", "group": "location", "bootstrap": 100}
    found = evaluate_file(tmp_path / "p.csv", "iwildcam2022-counts", **how).evaluation
    error = found.result("count_error")
    assert (error.value, error.n, error.groups) == (pytest.approx(4 / 6), 6, 3)
    assert error.low <= error.value <= error.high
    assert found.result("count_exact").value == pytest.approx(4 / 6)
    assert found.result("count_rmse").value == pytest.approx(np.sqrt(10 / 6))
    predicted[:5].to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(TableError, match="have no prediction"):
        evaluate_file(tmp_path / "p.csv", "iwildcam2022-counts", **how)
    predicted.astype(object).assign(predicted=[7, 4, 3, -1, "many", 0]).to_csv(
        tmp_path / "p.csv", index=False
    )
    with pytest.raises(TableError, match="predicted is not a number of 0 or more: 2 of 6"):
        evaluate_file(tmp_path / "p.csv", "iwildcam2022-counts", **how)
    truth.assign(count=[0, 1.5, 2, 3, 4, 10]).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(TableError, match="not a whole number"):
        evaluate_file(tmp_path / "p.csv", "iwildcam2022-counts", **how)


def test_a_score_that_knows_the_source_is_warned_of(tables: tuple[Path, Path]) -> None:
    """Women are ill more often here, and the score of the well is higher for them too: the mark of a shortcut."""
    rng = np.random.default_rng(3)
    labels = pd.read_csv(tables[1])
    copies = [labels.copy() for _ in range(4)]
    for k, copy in enumerate(copies):
        copy["image_name"] += str(k)
        copy["patient_id"] += str(k)
    labels = pd.concat(copies)
    women = labels["sex"] == "f"
    labels["target"] = (rng.random(len(labels)) < np.where(women, 0.7, 0.2)).astype(int)
    labels.to_csv(tables[1], index=False)
    how: dict[str, Any] = {"truth": tables[1], "group": "patient_id", "by": ["sex"], "bootstrap": 200}
    scores = {"blind": 0.5 * labels["target"] + 0.4 * rng.random(len(labels)),
              "seeing": 0.3 * labels["target"] + 0.3 * women + 0.4 * rng.random(len(labels))}  # fmt: skip
    for name, score in scores.items():
        pd.DataFrame({"isic_id": labels["image_name"], "score": score}).to_csv(tables[0], index=False)
        found = evaluate_file(tables[0], "isic2020", **how)
        (probe,) = found.shortcuts
        assert (probe.covariate, probe.value) == ("sex", "f") and probe.difference.low > 0
        assert (
            probe.there == labels["target"][women].mean()
            and probe.elsewhere == labels["target"][~women].mean()
        )
        assert probe.suspected == (name == "seeing")
        assert any("A shortcut is possible" in note for note in found.evaluation.notes) == (name == "seeing")
        assert 0.5 <= probe.area <= 1 and probe.interval.low <= probe.area <= probe.interval.high


def test_uncertain_and_empty_labels_are_what_the_policy_says(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"case": [str(n) for n in range(60)], "study": [str(n) for n in range(60)]})
    labels = rng.choice([0.0, 1.0, -1.0, np.nan], (60, 5))
    for k, name in enumerate(TASKS):
        frame[f"score_{name}"] = rng.random(60)
        frame[f"target_{name}"] = labels[:, k]
    file = tmp_path / "p.csv"
    frame.to_csv(file, index=False)
    with pytest.raises(TableError, match="name a policy for labels of -1"):
        evaluate_file(file, "chexpert", bootstrap=20)
    for policy, value in (("ignore", np.nan), ("zero", 0.0), ("one", 1.0)):
        found = evaluate_file(file, "chexpert", bootstrap=20, uncertain=policy).evaluation
        truth = np.where(labels[:, 3] == -1, value, labels[:, 3])
        known = ~np.isnan(truth)
        edema = found.result("auroc", "Edema")
        assert edema.value == auroc(truth[known], frame["score_Edema"][known]) and edema.n == known.sum()
        assert f"policy {policy}: {(labels == -1).sum()} of them" in " ".join(found.notes)
    mixed = evaluate_file(
        file, "chexpert", bootstrap=20, uncertain="Edema=one,Atelectasis=zero,Cardiomegaly=ignore,Consolidation=ignore,"
        "Pleural Effusion=ignore", blank="zero",
    ).evaluation  # fmt: skip
    truth = np.nan_to_num(np.where(labels[:, 3] == -1, 1.0, labels[:, 3]), nan=0.0)
    assert mixed.result("auroc", "Edema").value == auroc(truth, frame["score_Edema"])
    for wrong, said in (
        ("maybe", "'maybe' is no policy"),
        ("Fracture=one", "the class 'Fracture' is not known"),
        ("Edema=one,Edema=zero", "named twice"),
        ("self-trained", "not a reference to evaluate against"),
    ):
        with pytest.raises(UsageError, match=said):
            evaluate_file(file, "chexpert", uncertain=wrong)
    frame.loc[3, "target_Edema"] = 0.5  # no label is guessed from it, whatever the policy
    frame.to_csv(file, index=False)
    with pytest.raises(TableError, match=r"target_Edema is not 0, 1 or empty but 0[.]5"):
        evaluate_file(file, "chexpert", uncertain="zero", blank="zero")


def test_results_of_megadetector_are_judged_by_event_at_a_threshold_of_other_places(tmp_path: Path) -> None:
    """40 events of two frames at 10 places; one frame could not be read; half of the places choose the threshold."""
    rng = np.random.default_rng(4)
    rows, images = [], []
    for n in range(80):
        event, place = n // 2, n // 8
        animal = event % 2
        name = f"place {place}/frame {n}.jpg"
        rows.append((name, f"e{event}", f"l{place}", animal, "validation" if place % 2 else "test"))
        found = [{"category": "1", "conf": round(float(0.5 + 0.4 * rng.random()), 3), "bbox": [0, 0, 1, 1]}]
        images.append({"file": name, "detections": found if animal else []})
    images[3] = {"file": images[3]["file"], "failure": "cannot be read", "detections": None}
    content = {"info": {"format_version": "1.6"}, "detection_categories": {"1": "animal"}, "images": images}
    (tmp_path / "md.json").write_text(json.dumps(content))
    labels = pd.DataFrame(rows, columns=["file", "event", "location", "target", "part"])
    labels.to_csv(tmp_path / "t.csv", index=False)
    how: dict[str, Any] = {"truth": tmp_path / "t.csv", "group": "location", "bootstrap": 50}
    found = evaluate_file(tmp_path / "md.json", "empty-filter", **how).evaluation
    assert (found.n, found.unit, found.groups) == (20, "event", 5)
    assert found.result("specificity").value == 1.0 and found.result("auroc").value == 1.0
    assert found.threshold is not None and found.threshold.chosen_on == "validation"
    assert any("1 cases were not processed" in note for note in found.notes)
    labels[:70].to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(TableError, match="cases have no truth: 10 of 79"):
        evaluate_file(tmp_path / "md.json", "empty-filter", **how)
    (tmp_path / "md.json").write_text("{}")
    with pytest.raises(TableError, match="not readable as MegaDetector results"):
        evaluate_file(tmp_path / "md.json", "empty-filter", **how)


def test_a_comparison_is_paired_by_group_and_corrected_over_classes(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    frame = pd.DataFrame({"case": [str(n) for n in range(120)], "group": [f"g{n // 3}" for n in range(120)]})
    frame["study"] = frame["case"]
    for name in TASKS:
        frame[f"target_{name}"] = (rng.random(120) < 0.4).astype(int)
        frame[f"score_{name}"] = np.clip(0.2 * frame[f"target_{name}"] + 0.8 * rng.random(120), 0, 1)
    other = frame.copy()
    for name in TASKS:
        other[f"score_{name}"] = np.clip(frame[f"score_{name}"] * 0.7 + 0.3 * rng.random(120), 0, 1)
    frame.to_csv(tmp_path / "a.csv", index=False)
    other.to_csv(tmp_path / "b.csv", index=False)
    found = compare(tmp_path / "a.csv", tmp_path / "b.csv", "chexpert", bootstrap=200, seed=5)
    areas = [each for each in found.compared if each.metric == "auroc" and each.label]
    assert [each.label for each in areas] == list(TASKS)
    assert [each.adjusted for each in areas] == pytest.approx(
        holm([each.difference.p for each in areas]).tolist()
    )
    assert any(each.adjusted > each.difference.p for each in areas)
    ordered = frame.sort_values("case"), other.sort_values("case")
    y, a, b = (
        ordered[k][f"{what}_Edema"].to_numpy() for k, what in ((0, "target"), (0, "score"), (1, "score"))
    )
    alone = paired_bootstrap(
        lambda w: auroc(y, a, weights=w),
        lambda w: auroc(y, b, weights=w),
        ordered[0]["group"],
        replicates=200,
        seed=5,
    )
    edema = next(each for each in areas if each.label == "Edema").difference
    assert (edema.value, edema.low, edema.high) == pytest.approx(
        (alone.value, alone.low, alone.high), abs=1e-12
    )
    assert math.isnan(found.mcnemar_p)  # labels that do not exclude each other
