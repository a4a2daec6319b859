"""What is asked beside a protocol: further metrics, an aim, policies of labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from predicted import table
from typer.testing import CliRunner

from graftwork.cli import app
from graftwork.common.data.domain import protocol
from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation import calibration_slope, choose_threshold
from graftwork.common.verbs import calibrate, compare, evaluate_boxes, evaluate_file


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    file = tmp_path / "scores.csv"
    frame = table()
    frame["target"] = np.where(frame["target"] == "pneumonia", "malignant", "benign")
    frame["score_malignant"] = frame["score_pneumonia"]
    frame.drop(columns=["score_normal", "score_pneumonia", "path"]).to_csv(file, index=False)
    return file


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"case": [str(n) for n in range(60)], "group": [str(n // 2) for n in range(60)]})
    for name in protocol("nih14-official").classes:
        frame[f"score_{name}"] = rng.random(60)
        frame[f"target_{name}"] = rng.choice([0.0, 1.0, -1.0], 60)
    file = tmp_path / "labelled.csv"
    frame.to_csv(file, index=False)
    return file


def test_metrics_beside_those_of_the_protocol(scores: Path) -> None:
    plain = evaluate_file(scores, "isic2020", bootstrap=20).evaluation
    asked = ["calibration_slope", "calibration_in_the_large", "auroc"]
    found = evaluate_file(scores, "isic2020", bootstrap=20, also=asked).evaluation
    assert [each for each in found.results if each.metric not in asked[:2]] == list(plain.results)
    frame = pd.read_csv(scores)
    rows = frame[frame["part"] == "test"]
    slope = calibration_slope(rows["target"] == "malignant", rows["score_malignant"])[0]
    assert found.result("calibration_slope").value == pytest.approx(slope, abs=1e-9)
    assert f"Beside the metrics of the protocol, as was asked: {', '.join(asked)}." in found.notes
    for wrong, said in (("calibration_slop", "Write 'calibration_slope'"), ("macro_f1", "binary targets")):
        with pytest.raises(UsageError, match=said):
            evaluate_file(scores, "isic2020", also=[wrong])
    both = compare(scores, scores, "isic2020", bootstrap=20, also=["calibration_slope"])
    (slope_of_both,) = [each for each in both.compared if each.metric == "calibration_slope"]
    assert slope_of_both.difference.value == 0 and slope_of_both.difference.p == 1


def test_the_rule_of_a_protocol_aims_at_what_is_asked(tmp_path: Path) -> None:
    frame = table()
    frame["target"] = np.where(frame["target"] == "pneumonia", "animal", "empty")
    frame["event"] = frame["case"]
    frame["score_animal"] = frame["score_pneumonia"]
    file = tmp_path / "frames.csv"
    frame.drop(columns=["score_normal", "score_pneumonia", "path"]).to_csv(file, index=False)
    rest = frame[frame["part"] == "validation"]
    for aim in (0.95, 0.99):
        found = evaluate_file(file, "empty-filter", aim=aim, bootstrap=20).evaluation
        chosen = choose_threshold(
            rest["target"] == "animal", rest["score_animal"], "sensitivity", aim, part="validation"
        )
        assert found.threshold is not None
        assert (found.threshold.value, found.threshold.target) == (chosen.value, aim)


def test_policies_of_labels_hold_for_comparing_and_calibrating_too(labelled: Path, tmp_path: Path) -> None:
    with pytest.raises(TableError, match="name a policy"):
        compare(labelled, labelled, "nih14-official", bootstrap=20)
    both = compare(labelled, labelled, "nih14-official", uncertain="zero", bootstrap=20)
    assert all(each.n == 60 for each in both.evaluations)
    with pytest.raises(TableError, match="name a policy"):
        calibrate(labelled, "nih14-official", tmp_path / "c.json")
    assert calibrate(labelled, "nih14-official", tmp_path / "c.json", uncertain="ignore").n == 60


@pytest.mark.parametrize(
    ("words", "idle"),
    [
        (["seg", "--truth", "t", "--predicted", "p", "--protocol", "brats2020", "--group", "patient"], "--group"),
        (["boxes", "--truth", "t", "--predicted", "p", "--protocol", "coco-boxes", "--report", "r.html"], "--report"),
        (["readers", "r.csv", "--model", "m", "--readers", "a,b", "--by", "sex"], "--by"),
        (["runs/a/b/c", "--by", "sex", "--report", "r.html"], "--by, --report"),
        (["scores.csv", "--protocol", "isic2020", "--groups", "g.csv"], "--groups"),
    ],
)  # fmt: skip
def test_an_option_that_would_do_nothing_is_refused(words: list[str], idle: str) -> None:
    """`--group` given for masks would leave intervals that take each case as independent, unnoticed."""
    said = CliRunner().invoke(app, ["evaluate", *words])
    assert said.exit_code == 2 and f"evaluate: {idle} would do nothing" in said.output


def test_masks_and_boxes_are_no_tables(scores: Path) -> None:
    for name, way in (("brats2020", "evaluate seg"), ("coco-boxes", "evaluate boxes")):
        with pytest.raises(UsageError, match=f"not a table of scores. Give .*{way}"):
            evaluate_file(scores, name)
        with pytest.raises(UsageError, match="not a table of scores"):
            compare(scores, scores, name)


def test_boxes_of_two_files(tmp_path: Path) -> None:
    """Through the door: COCO results, and MegaDetector's file of the same boxes."""
    truth = {
        "images": [
            {"id": n, "file_name": f"{n}.jpg", "width": 200, "height": 100, "location": f"l{n % 3}"} for n in range(12)
        ],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1, "bbox": [20 + n, 10, 60, 40]} for n in range(12)
        ],
        "categories": [{"id": 1, "name": "animal"}],
    }  # fmt: skip
    boxes = [[20 + n, 10, 60 - n, 40] for n in range(12)]
    results = [
        {"image_id": n, "category_id": 1, "bbox": box, "score": 0.9 - n / 20} for n, box in enumerate(boxes)
    ]
    shares = [[x / 200, y / 100, w / 200, h / 100] for x, y, w, h in boxes]
    detector = {
        "info": {"format_version": "1.4"},
        "detection_categories": {"1": "animal"},
        "images": [
            {"file": f"{n}.jpg", "detections": [{"category": "1", "conf": 0.9 - n / 20, "bbox": box}]}
            for n, box in enumerate(shares)
        ],
    }
    for name, content in (("truth", truth), ("results", results), ("detector", detector)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    found = [
        evaluate_boxes(tmp_path / "truth.json", tmp_path / f"{name}.json", "coco-boxes", bootstrap=50)
        for name in ("results", "detector")
    ]
    assert found[0].groups == 3 and found[0].group_column == "location"
    assert 0.5 < found[0].result("coco_ap").value < 1
    assert [each.value for each in found[0].results] == pytest.approx(
        [each.value for each in found[1].results], abs=1e-12
    )
    asked = ["evaluate", "boxes", "--truth", str(tmp_path / "truth.json"), "--protocol", "coco-boxes"]
    said = CliRunner().invoke(app, [*asked, "--predicted", str(tmp_path / "results.json"), "--json"])
    assert json.loads(said.stdout)["n"] == 12
    short = CliRunner().invoke(app, asked)
    assert short.exit_code == 2 and "--predicted FILE" in short.output
