"""Boxes in files: COCO results and MegaDetector's, what is left out and counted, and everything that is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graftwork.common.data.domain import protocol
from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation.results import Evaluation
from graftwork.common.external.box_files import evaluate_boxes
from graftwork.domains.camera_trap.megadetector import read_boxes

COCO = protocol("coco-boxes")
SIZE = (200, 100)


def truth(images: int = 8) -> dict[str, Any]:
    """Images of four places; every image but the last has an animal, every fourth a person too."""
    found: dict[str, Any] = {
        "images": [
            {
                "id": f"id-{n}", "file_name": f"Standort {n % 4}/Füchse {n}.jpg", "width": SIZE[0],
                "height": SIZE[1], "location": n % 4,
            }
            for n in range(images)
        ],
        "annotations": [],
        "categories": [{"id": 0, "name": "empty"}, {"id": 1, "name": "animal"}, {"id": 2, "name": "person"}],
    }  # fmt: skip
    for n in range(images - 1):
        add(found, n, 1, [10 + n, 20, 40, 30])
        if n % 4 == 0:
            add(found, n, 2, [100, 5, 50, 80])
    found["annotations"].append({"id": "a-none", "image_id": f"id-{images - 1}", "category_id": 0})
    return found


def add(content: dict[str, Any], image: int, category: int, box: list[float]) -> None:
    key = f"a{len(content['annotations'])}"
    record = {"id": key, "image_id": f"id-{image}", "category_id": category, "bbox": box}
    content["annotations"].append(record)


def results(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Each box found, with lower scores for higher numbers; and something beside it in every third image."""
    found = [
        {key: each[key] for key in ("image_id", "category_id", "bbox")}
        | {"score": round(0.9 - 0.03 * number, 2)}
        for number, each in enumerate(content["annotations"])
        if "bbox" in each
    ]
    false = [
        {"image_id": f"id-{n}", "category_id": 1, "bbox": [150, 60, 20, 20], "score": 0.8}
        for n in range(0, 8, 3)
    ]
    return [*false, *found]


def megadetector(content: dict[str, Any], predicted: list[dict[str, Any]]) -> dict[str, Any]:
    """The same as MegaDetector writes it: by file, shares of the image, categories by number and name."""
    by_id: dict[str, list[dict[str, Any]]] = {each["id"]: [] for each in content["images"]}
    for each in predicted:
        box = (np.array(each["bbox"]) / np.tile(SIZE, 2)).tolist()
        by_id[each["image_id"]].append(
            {"category": str(each["category_id"]), "conf": each["score"], "bbox": box}
        )
    return {
        "info": {"format_version": "1.5", "detector": "md_v5a.0.1.pt"},
        "detection_categories": {"1": "Animal", "2": "person", "3": "vehicle"},
        "images": [
            {"file": each["file_name"].replace("/", "\\"), "detections": by_id[each["id"]]}
            for each in content["images"]
        ],
    }


class Files:
    """Two files, and what they come to."""

    def __init__(self, folder: Path) -> None:
        self.truth, self.predicted = folder / "wahrheit.json", folder / "treffer.json"

    def write(self, true: Any, predicted: Any) -> None:
        for file, content in ((self.truth, true), (self.predicted, predicted)):
            text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
            file.write_text(text, encoding="utf-8")

    def judge(self, true: Any, predicted: Any, **words: Any) -> Evaluation:
        self.write(true, predicted)
        return evaluate_boxes(self.truth, self.predicted, COCO, read=read_boxes, **{"bootstrap": 40, **words})

    def refusal(self, true: Any, predicted: Any, **words: Any) -> str:
        with pytest.raises(TableError) as raised:
            self.judge(true, predicted, **words)
        return str(raised.value)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def said(found: Evaluation, words: str) -> bool:
    return any(words in note for note in found.notes)


def test_coco_results_with_the_locations_of_the_truth(files: Files) -> None:
    """By hand, IoU 1 for every hit: of animals the false ones stand after three hits."""
    content = truth()
    found = files.judge(content, results(content))
    assert (found.kind, found.classes, found.n, found.groups, found.excluded) == (
        "boxes", ("animal", "person"), 8, 4, 0,
    )  # fmt: skip
    assert (found.unit, found.group, found.group_column) == ("image", "location", "location")
    # animals 0.90, 0.84, 0.81 | 3 false at 0.80 | 0.78, 0.75, 0.69, 0.66: 3 / 3, then rising to 7 / 10
    animal = (math.floor(100 * 3 / 7) + 1) / 101 + (101 - math.floor(100 * 3 / 7) - 1) / 101 * 0.7
    assert found.result("coco_ap", "animal").value == pytest.approx(animal)
    assert found.result("coco_ap_75", "person").value == pytest.approx(1.0)
    assert found.result("coco_ap").value == pytest.approx((animal + 1) / 2)
    assert found.result("coco_ar_100").value == 1.0
    result = found.result("coco_ap")
    assert result.low < result.value < result.high and result.classes == (2, 2)
    assert said(found, "1 of 8 images without a detection") and said(found, "locations of the truth")
    assert Evaluation.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_megadetector_says_the_same(files: Files) -> None:
    content = truth()
    coco = files.judge(content, results(content))
    found = files.judge(content, megadetector(content, results(content)))
    for one, other in zip(coco.results, found.results, strict=True):
        assert (one.low, one.value, one.high) == pytest.approx(
            (other.low, other.value, other.high), abs=1e-12, nan_ok=True
        )
    assert not said(found, "without a detection in the results")


def test_what_was_not_processed_is_left_out_and_counted(files: Files) -> None:
    """It is not called empty: without its image the truth is another."""
    content = truth()
    predicted = megadetector(content, results(content))
    for number, detections in ((1, None), (3, [])):
        predicted["images"][number] |= {"failure": "image access failure", "detections": detections}
    found = files.judge(content, predicted)
    assert (found.n, found.excluded) == (6, 2) and said(found, "2 images not processed")
    kept = {**content, "images": [each for n, each in enumerate(content["images"]) if n not in (1, 3)]}
    kept["annotations"] = [
        each for each in content["annotations"] if each["image_id"] not in ("id-1", "id-3")
    ]
    fewer = [each for each in results(content) if each["image_id"] not in ("id-1", "id-3")]
    assert [each.value for each in found.results] == [each.value for each in files.judge(kept, fewer).results]
    predicted["images"][0]["detections"] = []  # an empty list is no detection, and the image stays
    assert files.judge(content, predicted).n == 6
    for each in predicted["images"]:
        each |= {"failure": "all of them", "detections": None}
    assert "no image is left" in files.refusal(content, predicted)


def test_a_picture_with_something_that_has_no_box_is_left_out(files: Files) -> None:
    content = truth()
    content["annotations"].append({"id": "x", "image_id": "id-2", "category_id": 2})
    found = files.judge(content, results(content))
    assert (found.n, found.excluded) == (7, 1) and said(found, "1 image with an annotation that has no box")
    assert files.judge(truth(), results(truth())).excluded == 0  # the empty category needs none


def test_groups_by_file_or_by_id_and_none(files: Files) -> None:
    content = truth()
    by_file = {each["file_name"]: f"g{n // 4}" for n, each in enumerate(content["images"])}
    by_id = {each["id"]: f"g{n // 4}" for n, each in enumerate(content["images"])}
    one, other = (files.judge(content, results(content), groups=told) for told in (by_file, by_id))
    assert one == other and (one.groups, one.group_column) == (2, "groups")
    del by_id["id-3"]
    assert "images without a group: 1 of 8 (Standort 3/Füchse 3.jpg)" in files.refusal(
        content, results(content), groups=by_id
    )
    del content["images"][2]["location"]
    assert "images without a `location`: 1 of 8" in files.refusal(content, results(content))
    for each in content["images"]:
        each.pop("location", None)
    found = files.judge(content, results(content))
    assert (found.groups, found.group, found.group_column) == (8, "case", "") and said(found, "no groups")
    alone = files.judge(
        content, results(content), groups=dict.fromkeys((e["id"] for e in content["images"]), "g")
    )
    result = alone.result("coco_ap")
    assert math.isnan(result.low) and result.reason == "1 location only: nothing to resample"


def test_one_class_an_empty_truth_and_no_detection(files: Files) -> None:
    content = truth()
    one = {**content, "categories": content["categories"][:2]}
    one["annotations"] = [each for each in content["annotations"] if each["category_id"] < 2]
    found = files.judge(one, [each for each in results(content) if each["category_id"] == 1])
    assert [(each.metric, each.label) for each in found.results] == [(name, "") for name in COCO.metrics]
    nothing = files.judge(content, [])
    assert [each.value for each in nothing.results] == [0.0] * 12
    empty = files.judge({**content, "annotations": []}, results(content))
    assert all(math.isnan(each.value) and "no box" in each.reason for each in empty.results)
    assert said(empty, "8 images without an annotation") and said(empty, "without a share in the means")


def test_categories_of_one_name_are_one_class(files: Files) -> None:
    content = truth()
    plain = files.judge(content, results(content))
    content["categories"].append({"id": 9, "name": "Animal"})
    predicted = results(content)
    for each in (*content["annotations"][::3], *predicted[::2]):
        each["category_id"] = 9 if each["category_id"] == 1 else each["category_id"]
    found = files.judge(content, predicted)
    assert [each.value for each in found.results] == [each.value for each in plain.results]
    assert said(found, "Categories of one name are one class: animal")


def test_everything_wrong_with_coco_files_is_said_at_once(files: Files) -> None:
    content, predicted = truth(), results(truth())
    content["images"].append(dict(content["images"][0]))
    content["images"].append({"file_name": "x.jpg"})
    content["annotations"] += [
        {"id": "b1", "image_id": "id-77", "category_id": 1, "bbox": [1, 1, 2, 2]},
        {"id": "b2", "image_id": "id-1", "category_id": 5, "bbox": [1, 1, 2, 2]},
        {"id": "b3", "image_id": "id-1", "category_id": 1, "bbox": [1, 1, -2, 2]},
        {"id": "b4", "image_id": "id-1", "category_id": 1, "bbox": [1, 1, math.nan, 2]},
        {"id": "b5", "image_id": "id-1"},
        {"id": "b6", "image_id": "id-1", "category_id": 1, "bbox": [1, 1, 2, 2], "iscrowd": 3},
    ]
    good = {"image_id": "id-1", "category_id": 1, "bbox": [1, 1, 2, 2], "score": 0.5}
    predicted += [
        {**good, "score": 1.5},
        {**good, "score": math.nan},
        {**good, "image_id": "id-99"},
        {**good, "category_id": 7},
        {**good, "category_id": 0},
        {**good, "bbox": [1, 2, 3]},
        {"image_id": "id-1", "score": 0.5},
        5,
    ]
    message = files.refusal(content, predicted)
    for words in (
        "15 faults",
        "wahrheit.json: ids of several images: 1 (id-0)",
        "images without id: 1 (number 9)",
        "annotations of an image that is not listed: 1 (b1: id-77)",
        "annotations of a category that is not listed: 1 (b2: 5)",
        "annotations of negative width or height: 1 (b3)",
        "annotations whose bbox is not four finite numbers: 1 (b4)",
        "annotations without category_id: 1 (number 14)",
        "annotations whose iscrowd is not 0 or 1: 1 (b6)",
        "treffer.json: detections without category_id and bbox: 1 (number 18)",
        "detections in an image that the truth does not list: 1 (id-99)",
        "detections of a category that the truth does not list: 1 (7)",
        "detections of the category of images with nothing in them: 1",
        "detections whose bbox is not four finite numbers: 1 (image id-1)",
        "detections whose score is not within 0..1: 2 (image id-1: 1.5, image id-1: nan)",
        "detections that are no objects: 1",
    ):
        assert words in message


def test_everything_wrong_with_a_megadetector_file_is_said_at_once(files: Files) -> None:
    content = truth()
    predicted = megadetector(content, results(content))
    images = predicted["images"]
    images.append(dict(images[0]))
    images.append({"file": "anderswo.jpg", "detections": []})
    del images[5]
    images[1]["detections"][0]["bbox"] = [10, 20, 140, 80]
    images[2]["detections"][0]["category"] = "3"
    images[3]["detections"][0]["conf"] = -1
    del content["images"][6]["width"]
    message = files.refusal(content, predicted)
    for words in (
        "6 faults",
        "images that the truth does not list (it has such as Standort 0/Füchse 0.jpg): 1 (anderswo.jpg)",
        "images of the truth without a record: 1 (Standort 1/Füchse 5.jpg)",
        "categories of detections that the truth does not have (it has animal, person; add them to its list): 1",
        "score is not within 0..1: 1 (Standort 3/Füchse 3.jpg: -1)",
        "not shares of the image (0 to 1) but px, as another program writes them: 1 (Standort 1/Füchse 1.jpg: 10,",
        "without width and height, which shares need: 1 (Standort 2/Füchse 6.jpg)",
    ):
        assert words in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not readable as JSON"),
        ('[{"image_id": 1', "not readable as JSON"),
        ("", "not readable as JSON"),
        ("[" * 100_000, "not readable as JSON"),
        ({"images": []}, "not readable as MegaDetector results: without detection_categories"),
        ([{"file": "a.jpg", "detections": []}], "x1, y1, x2, y2 in px"),
        ("3", "MegaDetector results: without detection_categories and images"),
        (
            '[{"image_id": "\\ud800", "category_id": 1, "bbox": [1, 1, 1e999, 1], "score": 1}]',
            "list: 1 (\\ud800)",
        ),
        (
            f'[{{"image_id": "id-1", "category_id": 1, "bbox": [1, 1, {10**400}, 1], "score": 1}}]',
            "finite numbers: 1",
        ),
    ],
)
def test_files_that_are_something_else(files: Files, content: Any, words: str) -> None:
    assert words in files.refusal(truth(), content)


def test_a_truth_that_is_something_else_and_files_that_are_not_there(files: Files, tmp_path: Path) -> None:
    assert "not readable as JSON" in files.refusal('{"images": [', [])
    assert "it is no COCO file: an object" in files.refusal([], [])
    assert "without the list annotations and categories; there are images" in files.refusal(
        {"images": []}, []
    )
    message = files.refusal({"images": [], "annotations": [], "categories": []}, [])
    assert "images, none of them" in message and "categories, none of them" in message
    unboxed = truth()
    for each in unboxed["annotations"]:
        each.pop("bbox", None)
    assert "it holds no boxes" in files.refusal(unboxed, [])
    with pytest.raises(TableError, match="2 faults") as raised:
        evaluate_boxes(tmp_path / "a.json", tmp_path / "b.json", COCO, read=read_boxes)
    assert str(raised.value).count("there is no such file") == 2
    with pytest.raises(UsageError, match="it is not for boxes"):
        evaluate_boxes(files.truth, files.predicted, protocol("isic2020"))


def test_the_form_of_megadetector_files(files: Files) -> None:
    content = truth()
    good = megadetector(content, results(content))
    for change, words in (
        ({"info": {"format_version": "2.0"}}, "info.format_version is '2.0'; 1.0 to 1.6 are read"),
        (
            {"info": {"format_version": "1.6", "detector": "none: each detection is the whole frame"}},
            "each of its boxes is the whole frame",
        ),
        ({"images": [{"file": "a.jpg"}]}, "images[0] (a.jpg) has neither detections nor a failure"),
        ({"images": [{"detections": []}]}, "images[0] has no file"),
        ({"images": [{"file": "a.jpg", "detections": [{"conf": 1}]}]}, "has no category and no bbox"),
    ):
        assert words in files.refusal(content, {**good, **change})
    good["images"][0]["detections"].append({"category": "8", "conf": 0.9, "bbox": [0, 0, 1, 1]})
    found = files.judge(content, good)  # of a category that the file does not list: none, says the format
    assert said(found, "1 detection is of a category that the file does not list ('8')")
    table = read_boxes(files.predicted)
    assert list(table) == ["file", "category", "x", "y", "width", "height", "score", "failure", "record"]
    assert table["file"][0] == "Standort 0/Füchse 0.jpg"
    last = table.iloc[-1]
    assert table["category"].isna().tolist()[-1] and math.isnan(last["x"]) and last["record"] == 7


def test_the_protocol_says_its_conventions() -> None:
    words = COCO.methods()
    for each in (
        "0.50 to 0.95",
        "crowd",
        "100 detections",
        "pycocotools",
        "locations",
        "failure",
        "no share in the means",
    ):
        assert each in words
