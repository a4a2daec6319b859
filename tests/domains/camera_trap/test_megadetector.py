"""MegaDetector results: what is written is what the format says, and is read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from graftwork.common.data.targets import Target
from graftwork.common.errors import TableError
from graftwork.common.prediction.output_formats import Predictions
from graftwork.domains.camera_trap.megadetector import read, write

SPECIES = Target("species", "multi-class", ("deer", "empty", "fox"))
EMPTY = Target("empty", "binary", ("empty", "animal"), prefix="empty_")
ABOUT = {
    "graftwork": "0.1.0",
    "run": "/home/me/runs/camera_trap/own_full/0-1234",
    "dataset": "camera_trap/own",
    "model_sha256": "ab" * 32,
}


def predictions(*targets: Target) -> Predictions:
    frame = pd.DataFrame(
        {
            "file": ["A 1/x.jpg", "b/ü.jpg", "b/z.jpg"],
            "score_deer": [0.7, None, 0.05],
            "score_empty": [0.1, None, 0.949998],
            "score_fox": [0.2, None, 0.000002],
            "predicted": ["deer", None, "empty"],
            "empty_score_empty": [0.25, None, 1.0],
            "empty_score_animal": [0.75, None, 0.0],
            "failure": [None, "cannot be read (decode): truncated", None],
        }
    )
    return Predictions(frame, targets or (SPECIES,), ABOUT, {"b/ü.jpg": "cannot be read (decode): truncated"})


def assert_valid(content: dict[str, Any]) -> None:
    """The rules of the format's own validator (megadetector 10.0.28, validate_batch_results.py)."""
    assert {"info", "images", "detection_categories"} <= set(content)
    assert set(content) <= {"info", "images", "detection_categories", "classification_categories"}
    version = content["info"]["format_version"]
    assert isinstance(version, str) and float(version) >= 1.6
    for categories in (content["detection_categories"], content["classification_categories"]):
        assert all(int(key) >= 0 and name.strip() for key, name in categories.items())
    for image in content["images"]:
        if image.get("failure") is not None:
            assert isinstance(image["failure"], str) and image["detections"] is None
            continue
        for found in image["detections"]:
            assert isinstance(found["conf"], float) and 0 <= found["conf"] <= 1
            assert found["category"] in content["detection_categories"]
            x, y, w, h = found["bbox"]
            assert 0 <= x <= x + w <= 1 and 0 <= y <= y + h <= 1
            scores = [score for _, score in found["classifications"]]
            assert scores == sorted(scores, reverse=True)
            assert all(key in content["classification_categories"] for key, _ in found["classifications"])


def test_what_is_written_keeps_the_format(tmp_path: Path) -> None:
    write(predictions(), tmp_path / "md.json")
    content = json.loads((tmp_path / "md.json").read_text(encoding="utf-8"))
    assert_valid(content)
    assert content["detection_categories"]["1"] == "animal"
    assert content["classification_categories"] == {"0": "deer", "1": "empty", "2": "fox"}
    first, failed, last = content["images"]
    assert first == {
        "file": "A 1/x.jpg",
        "detections": [
            {
                "category": "1",
                "conf": 0.9,
                "bbox": [0.0, 0.0, 1.0, 1.0],
                "classifications": [["0", 0.7], ["2", 0.2], ["1", 0.1]],
            }
        ],
    }
    assert failed == {"file": "b/ü.jpg", "failure": "cannot be read (decode): truncated", "detections": None}
    assert last["detections"][0]["classifications"] == [["1", 0.95], ["0", 0.05]]  # 0.000002 is left out
    # which run, but not where it lies
    assert content["info"]["classifier"] == "graftwork 0.1.0 run camera_trap/own_full/0-1234"


def test_it_is_read_back(tmp_path: Path) -> None:
    write(predictions(), tmp_path / "md.json")
    table = read(tmp_path / "md.json")
    assert table["file"].tolist() == ["A 1/x.jpg", "b/ü.jpg", "b/z.jpg"]
    assert table["failure"].notna().tolist() == [False, True, False]
    assert table["animal"].round(5).fillna(-1).tolist() == [0.9, -1, 0.05]
    assert table["score_deer"].fillna(-1).tolist() == [0.7, -1, 0.05]
    assert table["score_fox"].fillna(-1).tolist() == [0.2, -1, 0.0]
    assert table["predicted"].fillna("?").tolist() == ["deer", "?", "empty"]


def test_a_target_of_empty_goes_before_the_class(tmp_path: Path) -> None:
    write(predictions(SPECIES, EMPTY), tmp_path / "md.json")
    assert read(tmp_path / "md.json")["animal"].fillna(-1).tolist() == [0.75, -1, 0.0]


def test_where_nothing_tells_empty_each_frame_is_full(tmp_path: Path) -> None:
    write(predictions(Target("species", "multi-class", ("deer", "fox"))), tmp_path / "md.json")
    assert read(tmp_path / "md.json")["animal"].fillna(-1).tolist() == [1.0, -1, 1.0]


def test_the_same_predictions_make_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        write(predictions(SPECIES, EMPTY), tmp_path / name)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_no_picture_at_all_is_a_valid_file(tmp_path: Path) -> None:
    whole = predictions()
    write(Predictions(whole.frame.iloc[:0], whole.targets, whole.about, {}), tmp_path / "md.json")
    assert json.loads((tmp_path / "md.json").read_text())["images"] == []
    assert len(read(tmp_path / "md.json")) == 0


@pytest.mark.parametrize("name", ["/a.jpg", "../d.jpg", "e/../../d.jpg"])
def test_paths_that_timelapse_would_not_find_are_refused(tmp_path: Path, name: str) -> None:
    whole = predictions()
    frame = whole.frame.assign(file=[name, "b/ü.jpg", "z.jpg"])
    with pytest.raises(TableError, match="relative, with forward slashes"):
        write(Predictions(frame, whole.targets, ABOUT, whole.failures), tmp_path / "md.json")
    assert not (tmp_path / "md.json").exists()


def test_a_backslash_in_a_name_is_written_and_read_back(tmp_path: Path) -> None:
    names = [
        "b\\c.jpg",
        "b/ü.jpg",
        "caf\\xe9.jpg",
    ]  # the last: a name that is no Unicode, as listings write it
    whole = predictions()
    write(
        Predictions(whole.frame.assign(file=names), whole.targets, ABOUT, whole.failures),
        tmp_path / "md.json",
    )
    content = json.loads((tmp_path / "md.json").read_text())
    assert [image["file"] for image in content["images"]] == names
    assert read(tmp_path / "md.json")["file"].tolist() == names
    content["info"]["detector"] = "md_v5a.0.0.pt"  # of another program on Windows
    (tmp_path / "other.json").write_text(json.dumps(content))
    assert read(tmp_path / "other.json")["file"].tolist()[0] == "b/c.jpg"


def test_what_is_no_class_of_frames_is_refused(tmp_path: Path) -> None:
    masks = Target("mask", "segmentation", ("background", "animal"))
    with pytest.raises(TableError, match="segmentation"):
        write(predictions(masks), tmp_path / "md.json")


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"images": []}', '{"images": [{}], "detection_categories": {}}']
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(TableError, match=r"x\.json"):
        read(tmp_path / "x.json")
    with pytest.raises(TableError, match=r"nothing\.json"):
        read(tmp_path / "nothing.json")
