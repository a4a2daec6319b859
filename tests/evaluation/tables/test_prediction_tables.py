"""From a table of predictions to an evaluation: three kinds of targets, bad tables, exact JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as reference
from predicted import BINARY, EXACT, KERMANY, Target, protocol, table

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation import (
    Evaluation,
    Result,
    auroc,
    evaluate,
    group_bootstrap,
    primary_metric,
    read_predictions,
    score,
)

# The three kinds of targets


def test_binary_evaluation() -> None:
    found = evaluate(table(), BINARY, KERMANY, bootstrap=500, seed=3)
    assert [each.metric for each in found.results] == list(KERMANY.metrics)
    for each in found.results:
        assert each.low < each.value < each.high, each
        assert each.label == "" and each.classes is None
    test = table().query("part == 'test'")
    auc = found.result("auroc")
    assert (
        auc.method
        == f"cluster bootstrap over {test['group'].nunique()} patients, 500 replicates, expanded percentile"
    )
    assert (auc.n, auc.groups, auc.positives) == (
        len(test),
        test["group"].nunique(),
        (test["target"] == "pneumonia").sum(),
    )
    assert (found.bootstrap, found.seed, found.numpy, found.group_column) == (500, 3, np.__version__, "group")
    y, s = test["target"] == "pneumonia", test["score_pneumonia"]
    alone = group_bootstrap(
        lambda w: auroc(y, s, weights=w), test["group"].to_numpy(), replicates=500, seed=3
    )
    assert (auc.low, auc.high) == pytest.approx((alone.low, alone.high), **EXACT)
    with pytest.raises(UsageError, match="the result 'dice' is missing"):
        found.result("dice")


def test_the_negative_score_of_a_binary_target_may_be_left_out() -> None:
    whole = evaluate(table(), BINARY, protocol(BINARY), bootstrap=20)
    assert evaluate(table().drop(columns="score_normal"), BINARY, protocol(BINARY), bootstrap=20) == whole


def several(n: int = 120, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    p = rng.random((n, 3)) + 0.4 * np.eye(3)[y]
    p /= p.sum(axis=1, keepdims=True)
    frame = pd.DataFrame({"case": np.arange(n).astype(str), "group": np.arange(n) // 2, "part": "test"})
    frame["target"] = np.array(["a", "b", "c"])[y]
    return frame.assign(**{f"score_{name}": p[:, k] for k, name in enumerate("abcd"[:3])}, score_d=0.0)


def test_exclusive_classes_mean_over_those_defined() -> None:
    target = Target("multi-class", ("a", "b", "c", "d"))
    frame = several()
    found = evaluate(frame, target, protocol(target), bootstrap=200)
    p = frame[[f"score_{name}" for name in "abcd"]].to_numpy()
    each = [reference.roc_auc_score(frame["target"] == name, frame[f"score_{name}"]) for name in "abc"]
    whole = found.result("auroc")
    assert whole.value == pytest.approx(np.mean(each), **EXACT)
    assert whole.classes == (3, 4)
    assert whole.low < whole.value < whole.high
    assert [found.result("auroc", name).value for name in "abc"] == pytest.approx(each, **EXACT)
    assert math.isnan(found.result("auroc", "d").value)
    assert found.result("auroc", "d").reason == "no positive case among 120"
    y = frame["target"].map({"a": 0, "b": 1, "c": 2}).to_numpy()
    assert found.result("accuracy").value == np.mean(p.argmax(1) == y)
    assert found.result("balanced_accuracy").value == pytest.approx(
        reference.balanced_accuracy_score(y, p.argmax(1)), **EXACT
    )
    assert found.result("sensitivity").value == pytest.approx(
        found.result("balanced_accuracy").value, **EXACT
    )
    assert found.thresholds == () and found.threshold is None
    assert len([each for each in found.results if each.metric == "accuracy"]) == 1


def test_a_mean_over_fewer_classes_in_some_replicates_is_told() -> None:
    """Of class c two groups alone: in about an eighth of the replicates none of them is drawn."""
    frame = several()
    frame = frame[
        (frame["target"] != "c") | (frame["group"].isin(frame.loc[frame["target"] == "c", "group"][:2]))
    ]
    target = Target("multi-class", ("a", "b", "c", "d"))
    found = evaluate(frame, target, protocol(target, ("auroc",)), bootstrap=400)
    assert "more than 5 %" in found.result("auroc", "c").reason
    whole = found.result("auroc")
    assert whole.low < whole.value < whole.high and whole.classes == (3, 4)
    number = found.result("auroc", "c").undefined
    assert any(
        f"in {number} of 400 replicates the mean is over fewer than 3 classes" in note for note in found.notes
    )


def test_labels_with_unknowns_are_masked_each_for_itself() -> None:
    target = Target("multi-label", ("x", "y", "z"))
    rng = np.random.default_rng(2)
    n = 200
    frame = pd.DataFrame({"case": np.arange(n), "group": np.arange(n) // 3})
    frame["part"] = np.where(np.arange(n) < 60, "validation", "test")
    for name in target.classes:
        label = rng.integers(0, 2, n).astype(float)
        frame[f"score_{name}"] = np.clip(rng.normal(0.35 + 0.3 * label, 0.2), 0, 1)
        frame[f"target_{name}"] = np.where(rng.random(n) < 0.3, np.nan, label)
    frame.loc[:, "target_z"] = frame["target_z"].where(
        frame["target_z"] != 1
    )  # no case of z is known to be one
    frame.loc[[70, 71], [f"target_{name}" for name in target.classes]] = np.nan
    found = evaluate(frame, target, protocol(target), bootstrap=200)
    test = frame[frame["part"] == "test"]
    for name in ("x", "y"):
        known = test[test[f"target_{name}"].notna()]
        result = found.result("auroc", name)
        assert result.value == pytest.approx(
            reference.roc_auc_score(known[f"target_{name}"], known[f"score_{name}"]), **EXACT
        )
        assert (result.n, result.positives) == (len(known), int(known[f"target_{name}"].sum()))
        assert result.groups == known["group"].nunique()
    assert found.result("auroc", "z").reason.startswith("no positive case among")
    assert found.result("auroc").classes == (2, 3)
    assert found.excluded == int(test.filter(like="target_").isna().all(axis=1).sum()) >= 2
    assert found.n == len(test) - found.excluded
    assert [each.label for each in found.thresholds] == ["x", "y", "z"]
    assert "no positive case in part validation" in found.result("specificity", "z").reason
    arrays = (
        test[["target_x", "target_y", "target_z"]].to_numpy(),
        test[["score_x", "score_y", "score_z"]].to_numpy(),
    )
    early = score("auroc", "multi-label", target.classes, *arrays)
    assert early == pytest.approx(found.result("auroc").value, **EXACT)
    half = evaluate(frame, target, protocol(target), threshold=0.5, bootstrap=20)
    assert score("sensitivity", "multi-label", target.classes, *arrays) == pytest.approx(
        half.result("sensitivity").value, **EXACT
    )
    called = test.loc[test["target_y"].notna(), "score_y"] >= found.thresholds[1].value
    right = called == (test.loc[test["target_y"].notna(), "target_y"] == 1)
    assert found.result("accuracy", "y").value == pytest.approx(right.mean(), **EXACT)


def test_unknown_labels_are_excluded_and_counted() -> None:
    frame = table()
    rows = frame.index[frame["part"] == "test"][:7]
    frame.loc[rows, "target"] = None
    found = evaluate(frame, BINARY, KERMANY, bootstrap=50)
    assert found.excluded == 7
    assert found.n == (frame["part"] == "test").sum() - 7
    assert any("7 cases without a known label" in note for note in found.notes)
    kept = evaluate(frame.drop(index=rows), BINARY, KERMANY, bootstrap=50)
    assert kept.results == found.results


def test_early_stopping_score_equals_the_evaluation() -> None:
    frame = table()
    test = frame[frame["part"] == "test"]
    found = evaluate(frame, BINARY, KERMANY, threshold=0.5, bootstrap=20)
    y = (test["target"] == "pneumonia").astype(int).to_numpy()
    p = test[["score_normal", "score_pneumonia"]].to_numpy()
    with_unknown = np.append(y, -1), np.vstack([p, [0.5, 0.5]])
    for name in KERMANY.metrics:
        assert score(name, "binary", BINARY.classes, y, p) == pytest.approx(found.result(name).value, **EXACT)
        assert score(name, "binary", BINARY.classes, *with_unknown) == score(
            name, "binary", BINARY.classes, y, p
        )
    assert primary_metric("auroc")("binary", BINARY.classes, y, p) == found.result("auroc").value
    assert math.isnan(score("auroc", "binary", BINARY.classes, np.zeros(4, int), p[:4]))
    with pytest.raises(UsageError, match="better when it is lower"):
        primary_metric("brier")
    with pytest.raises(UsageError, match=r"(?s)'auc' is unknown.*'auroc'"):
        score("auc", "binary", BINARY.classes, y, p)
    with pytest.raises(TableError, match="do not fit 2 classes"):
        score("auroc", "binary", BINARY.classes, y, p[:, :1])


# Tables as people have them


def test_all_faults_of_a_table_are_told_at_once() -> None:
    frame = table().drop(columns="part").astype({"score_pneumonia": object})
    frame.loc[0, "case"] = frame.loc[1, "case"]
    frame.loc[2, "target"] = "Pneumonia"
    frame.loc[3, "score_pneumonia"] = 1.5
    frame.loc[4, "score_pneumonia"] = None
    frame.loc[5, "score_pneumonia"] = "high"
    frame.loc[6, "group"] = None
    frame.loc[7, "score_normal"] = -0.2
    with pytest.raises(TableError) as caught:
        evaluate(frame, BINARY, KERMANY)
    text = str(caught.value)
    for fault in (
        "columns are missing: part",
        "a case stands more than once: case0001",
        "target holds unknown classes: Pneumonia (known: normal, pneumonia): 1 of 240 cases (case0002)",
        "score_pneumonia lies outside 0..1 (1.5 to 1.5): 1 of 240 cases (case0003: '1.5')",
        "score_pneumonia is missing (NaN): 1 of 240 cases (case0004)",
        "score_pneumonia is not a number: 1 of 240 cases (case0005: 'high')",
        "group is missing: 1 of 240 cases (case0006)",
        "score_normal lies outside 0..1",
    ):
        assert fault in text
    assert text.count("\n  - ") == 8


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda f: f.iloc[:0], "there is no row"),
        (
            lambda f: f[[]].iloc[:0],
            "columns are missing: case, part, target, score_pneumonia; there are none",
        ),
        (lambda f: f.assign(score_normal=0.9), "the scores do not sum to 1"),
        (lambda f: f.assign(score_pneumonia=np.inf), "outside 0..1"),
        (lambda f: f.assign(part="train"), "no case is in part 'test' (found train"),
        (lambda f: pd.concat([f, f["target"]], axis=1), "columns stand twice: target"),
        (lambda f: pd.concat([f, f]), "a case stands more than once"),
    ],
)
def test_tables_that_cannot_be_used(change: Any, fault: str) -> None:
    with pytest.raises(TableError) as caught:
        evaluate(change(table()), BINARY, KERMANY)
    assert fault in str(caught.value)


def test_uncertain_labels_need_a_policy() -> None:
    target = Target("multi-label", ("x",))
    frame = pd.DataFrame({"case": ["a", "b"], "part": "test", "target_x": [-1, 1], "score_x": [0.1, 0.2]})
    with pytest.raises(TableError, match="target_x is not 0, 1 or empty but -1"):
        evaluate(frame, target, protocol(target))


def test_a_target_must_fit_its_protocol() -> None:
    with pytest.raises(UsageError, match="evaluates binary targets, this target is multi-class"):
        evaluate(table(), Target("multi-class", BINARY.classes), KERMANY)
    with pytest.raises(UsageError, match="the classes are well, ill, expected normal, pneumonia"):
        evaluate(table(), Target("binary", ("well", "ill")), KERMANY)


def test_our_table_and_a_strangers_go_one_way(tmp_path: Path) -> None:
    frame = table().assign(group=lambda f: f["group"].str[1:])  # group names that look like numbers: 0007
    expected = evaluate(frame, BINARY, KERMANY, bootstrap=100)
    frame.to_parquet(tmp_path / "predictions.parquet")
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_csv(tmp_path / "b.csv", index=False, sep=";", encoding="utf-8-sig")
    frame.to_csv(tmp_path / "c.tsv", index=False, sep="\t")
    (tmp_path / "ünï cödé").mkdir()
    frame.to_parquet(tmp_path / "ünï cödé" / "no suffix")
    for path in ("predictions.parquet", "a.csv", "b.csv", "c.tsv", "ünï cödé/no suffix"):
        assert evaluate(read_predictions(tmp_path / path), BINARY, KERMANY, bootstrap=100) == expected, path


def test_without_groups_each_case_is_its_own_and_it_is_said(tmp_path: Path) -> None:
    table().drop(columns=["group", "path"]).to_csv(tmp_path / "p.csv", index=False)
    frame = read_predictions(tmp_path / "p.csv")
    found = evaluate(frame, BINARY, KERMANY, bootstrap=50)
    assert found.groups == found.n and found.group_column == "" and found.group == "case"
    assert any("The table has no groups" in note for note in found.notes)
    assert "no groups known" in found.result("auroc").method
    with pytest.raises(TableError, match="columns are missing: patient_id"):
        evaluate(frame, BINARY, KERMANY, group="patient_id")
    other = evaluate(
        table().rename(columns={"group": "patient_id"}), BINARY, KERMANY, group="patient_id", bootstrap=50
    )
    assert other.results == evaluate(table(), BINARY, KERMANY, bootstrap=50).results
    assert other.group_column == "patient_id"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "the file is empty"),
        (b"PAR1garbage", "damaged Parquet file"),
        (b"\x89PNG\0\0\0\0\n", "is a binary file"),
        (b"a\0b\n1,2\n", "is a binary file"),
        (b"case,score,case\n1,2,3\n", "the column 'case' is there twice"),
        (b"case,score\n1,2,3\n4,5,6\n", "line 2 has 3 cells, the header has 2"),
        (b'case,score\n"1,2\n', "unexpected end of data"),
    ],
)
def test_files_that_are_no_table(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes(content)
    with pytest.raises(TableError, match=fault) as caught:
        read_predictions(path)
    assert str(path) in str(caught.value)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="there is no such file"):
        read_predictions(tmp_path / "none.csv")
    with pytest.raises(TableError, match="is a folder"):
        read_predictions(tmp_path)
    with pytest.raises(TableError, match="too long"):
        read_predictions(tmp_path / ("x" * 300))


# What is kept


def test_json_is_exact() -> None:
    frame = table()
    frame = frame[(frame["part"] == "validation") | (frame["target"] == "normal")]
    labels = Target("multi-class", ("a", "b", "c", "d"))
    for found in (
        evaluate(frame, BINARY, KERMANY, bootstrap=50),
        evaluate(table(), BINARY, KERMANY, threshold="sensitivity", bootstrap=50),
        evaluate(several(), labels, protocol(labels), bootstrap=50),
    ):
        text = json.dumps(found.to_json(), allow_nan=False)
        again = Evaluation.from_json(json.loads(text))
        assert again == found
        assert json.dumps(again.to_json(), allow_nan=False) == text
        for entry in json.loads(text)["results"]:
            assert entry["reason"] or None not in (entry["value"], entry["low"], entry["high"])


def test_damaged_json_is_told() -> None:
    good = evaluate(table(), BINARY, KERMANY, bootstrap=20).to_json()
    for bad in ({}, [], {**good, "format": 99}, {**good, "results": [{}]}, {**good, "results": None}):
        with pytest.raises(TableError, match="evaluation"):
            Evaluation.from_json(bad)


def test_a_nan_without_a_reason_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="NaN without a reason"):
        Result("auroc", "", math.nan, math.nan, math.nan, 5, 0, 2, "", "")
    with pytest.raises(ValueError, match="NaN without a reason"):
        Result("auroc", "", 0.9, math.nan, 1.0, 5, 2, 2, "", "")


def test_perfect_separation_is_flagged() -> None:
    frame = table()
    frame["score_pneumonia"] = np.where(frame["target"] == "pneumonia", 0.9, 0.1)
    found = evaluate(frame.drop(columns="score_normal"), BINARY, KERMANY, bootstrap=50)
    assert found.result("auroc").value == found.result("auroc").low == 1.0
    assert any("same area under the ROC curve" in note for note in found.notes)
