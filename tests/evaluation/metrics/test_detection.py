"""Detected boxes: pycocotools' own accumulation to the last digit, once and on data that are drawn several times."""

from __future__ import annotations

import contextlib
import copy
import io
import math
import sys
import time
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from graftwork.common.errors import MissingLibraryError, TableError
from graftwork.common.evaluation import METRICS as REGISTRY
from graftwork.common.evaluation.metrics.detection import BoxRanking, coco_scores, matches_of
from graftwork.common.evaluation.tables.coco_boxes import read_detections, read_truth

METRICS = ("coco_ap", "coco_ap_50", "coco_ap_75", "coco_ar_100")
PLACES = (0, 1, 2, 8)  # in COCOeval.stats
EXACT = 1e-12


def pycocotools(truth: dict[str, Any], predicted: list[dict[str, Any]]) -> tuple[list[float], dict[str, Any]]:
    """Four figures of `COCOeval.summarize`, and what `accumulate` gave."""
    with contextlib.redirect_stdout(io.StringIO()):
        true = COCO()
        true.dataset = copy.deepcopy(truth)
        true.createIndex()
        found = COCO()
        found.dataset = {**copy.deepcopy(truth), "annotations": copy.deepcopy(predicted)}
        for number, each in enumerate(found.dataset["annotations"], start=1):
            each |= {"id": number, "area": each["bbox"][2] * each["bbox"][3], "iscrowd": 0}
        found.createIndex()
        judged = COCOeval(true, found, "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return [float(judged.stats[place]) for place in PLACES], judged.eval


def made_up(
    seed: int, images: int = 12, classes: int = 3, *, digits: int = 1, crowds: bool = True, most: int = 4
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Boxes, and detections near them, beside them and twice; scores rounded, so that many are equal."""
    rng = np.random.default_rng(seed)
    ids = rng.permutation(images * 3)[:images].tolist()
    annotations: list[dict[str, Any]] = []
    predicted: list[dict[str, Any]] = []
    for image in ids:
        for category in range(1, classes + 1):
            for _ in range(int(rng.integers(0, most))):
                x, y, w, h = rng.uniform([0, 0, 10, 10], [300, 200, 150, 150]).round(2).tolist()
                crowd = int(crowds and rng.random() < 0.1)
                annotations.append(
                    {
                        "id": len(annotations) + 1, "image_id": image, "category_id": category,
                        "bbox": [x, y, w, h], "area": w * h, "iscrowd": crowd,
                    }
                )  # fmt: skip
                for _ in range(int(rng.integers(0, 3))):
                    near = [x, y, w, h] + rng.normal(0, 0.06, 4) * [w, h, w, h]
                    score = round(float(rng.uniform(0.2, 1)), digits)
                    predicted.append(
                        {
                            "image_id": image,
                            "category_id": category,
                            "bbox": near.tolist(),
                            "score": score,
                        }
                    )
            for _ in range(int(rng.integers(0, most))):
                box = rng.uniform([0, 0, 10, 10], [300, 200, 150, 150]).tolist()
                score = round(float(rng.uniform(0, 0.8)), digits)
                predicted.append({"image_id": image, "category_id": category, "bbox": box, "score": score})
    order = rng.permutation(len(predicted))
    truth = {
        "images": [{"id": key, "file_name": f"{key}.jpg", "location": f"place {key % 5}"} for key in ids],
        "annotations": annotations,
        "categories": [{"id": key, "name": f"class {key}"} for key in range(1, classes + 1)],
    }
    return truth, [predicted[at] for at in order]


def drawn(
    truth: dict[str, Any], predicted: list[dict[str, Any]], times: dict[int, int]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The data with each image as often as it was drawn; the copies of an image stand beside each other."""
    images, annotations, found = [], [], []
    for image in sorted(times):
        for number in range(times[image]):
            key = image * 1000 + number
            images.append({"id": key})
            annotations += [
                {**each, "image_id": key} for each in truth["annotations"] if each["image_id"] == image
            ]
            found += [{**each, "image_id": key} for each in predicted if each["image_id"] == image]
    annotations = [{**each, "id": number} for number, each in enumerate(annotations, start=1)]
    return {"images": images, "annotations": annotations, "categories": truth["categories"]}, found


def values(truth: dict[str, Any], predicted: list[dict[str, Any]]) -> dict[tuple[str, str], float]:
    results = coco_scores(truth, predicted, bootstrap=2)
    return {(each.metric, each.label): each.value for each in results}


@pytest.mark.parametrize("seed", range(4))
def test_once_it_is_what_pycocotools_gives(seed: int) -> None:
    """Ties within and between images, crowds, double detections, images in no order: means and each class."""
    truth, predicted = made_up(seed, digits=1 + seed % 3)
    stats, whole = pycocotools(truth, predicted)
    found = values(truth, predicted)
    assert [found[metric, ""] for metric in METRICS] == pytest.approx(stats, abs=EXACT)
    for k, category in enumerate(truth["categories"]):
        precision, recall = whole["precision"][:, :, k, 0, 2], whole["recall"][:, k, 0, 2]
        expected = (precision.mean(), precision[0].mean(), precision[5].mean(), recall.mean())
        mine = [found[metric, category["name"]] for metric in METRICS]
        assert mine == pytest.approx(expected, abs=EXACT)


@pytest.mark.parametrize("seed", range(4))
def test_drawn_several_times_it_is_what_pycocotools_gives_of_the_copies(seed: int) -> None:
    """Whole locations drawn 0 to 4 times, with equal scores of hits and false detections within an image."""
    truth, predicted = made_up(seed + 100, images=8, digits=seed % 2)
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, 5, (4, 5)).astype(float)
    draws[0], draws[1] = 1.0, [0.0, 0.0, 3.0, 0.0, 0.0]
    true, _ = read_truth(truth)
    assert true is not None
    detections, _ = read_detections(predicted, true)
    assert detections is not None
    places = np.array([int(key) % 5 for key in true.ids])
    rankings = [BoxRanking(each, places, 5) for each in matches_of(true, detections)]
    mine = {name: np.stack([REGISTRY[name].boxes(each)(draws) for each in rankings]) for name in METRICS}
    for row, times in enumerate(draws):
        copies = drawn(truth, predicted, {int(key): int(times[int(key) % 5]) for key in true.ids})
        stats, _ = pycocotools(*copies)
        assert [np.nanmean(mine[metric][:, row]) for metric in METRICS] == pytest.approx(stats, abs=EXACT)


def test_hits_and_false_detections_of_one_score_in_one_image_repeat_in_turn() -> None:
    """Two copies of (false, hit) at one score: precision 1/2 in both steps, not 1/3 and 2/4."""
    box = [10.0, 10.0, 20.0, 20.0]
    truth = {
        "images": [{"id": 1}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": box, "area": 400, "iscrowd": 0}],
        "categories": [{"id": 1, "name": "it"}],
    }
    about = {"image_id": 1, "category_id": 1, "score": 0.5}
    predicted = [{**about, "bbox": [90.0, 90.0, 5.0, 5.0]}, {**about, "bbox": box}]
    true, _ = read_truth(truth)
    assert true is not None
    detections, _ = read_detections(predicted, true)
    assert detections is not None
    (matches,) = matches_of(true, detections)
    found = BoxRanking(matches, np.zeros(1, dtype=np.intp), 1).average_precision(
        (0,), np.array([[1.0], [3.0]])
    )
    assert found.tolist() == pytest.approx([0.5, 0.5])
    tied = [{**predicted[1]}, {**predicted[0]}]  # (hit, false): 1/1 at recall 1/3, then 2/3, then 3/5
    detections, _ = read_detections(tied, true)
    assert detections is not None
    (matches,) = matches_of(true, detections)
    found = BoxRanking(matches, np.zeros(1, dtype=np.intp), 1).average_precision(
        (0,), np.array([[1.0], [3.0]])
    )
    assert found.tolist() == pytest.approx([1.0, (34 * 1 + 33 * 2 / 3 + 34 * 3 / 5) / 101])


def test_a_plain_case_by_hand() -> None:
    """Two boxes, three detections, IoU 1, 0 and 0.6 in the order of scores: AP 0.50 is (51 + 50 * 2/3) / 101."""
    box, other = [0.0, 0.0, 10.0, 10.0], [50.0, 0.0, 10.0, 10.0]
    truth = {
        "images": [{"id": "b"}, {"id": "a"}],
        "annotations": [
            {"image_id": "a", "category_id": 1, "bbox": box},
            {"image_id": "b", "category_id": 1, "bbox": other},
        ],
        "categories": [{"id": 1, "name": "Füchse"}, {"id": 2, "name": "nothing seen"}],
    }
    predicted = [
        {"image_id": "a", "category_id": 1, "bbox": box, "score": 0.9},
        {"image_id": "a", "category_id": 1, "bbox": [70, 70, 4, 4], "score": 0.8},
        {"image_id": "b", "category_id": 1, "bbox": [50, 0, 10, 6], "score": 0.7},
    ]
    found = {(each.metric, each.label): each for each in coco_scores(truth, predicted, bootstrap=50)}
    at_50 = (51 + 50 * 2 / 3) / 101
    assert found["coco_ap_50", "Füchse"].value == pytest.approx(at_50)
    assert found["coco_ap_75", "Füchse"].value == pytest.approx(51 / 101)
    assert found["coco_ap", ""].value == pytest.approx((3 * at_50 + 7 * 51 / 101) / 10)
    assert found["coco_ar_100", ""].value == pytest.approx((3 * 1.0 + 7 * 0.5) / 10)
    assert found["coco_ap", ""].classes == (1, 2)
    lacking = found["coco_ap", "nothing seen"]
    assert math.isnan(lacking.value) and lacking.reason == "the truth has no box of it"
    assert (lacking.positives, found["coco_ap", "Füchse"].positives) == (0, 2)


def test_a_hundred_detections_of_a_class_in_an_image_count() -> None:
    truth, predicted = made_up(3, images=4, classes=1, digits=3)
    rng = np.random.default_rng(0)
    predicted += [
        {"image_id": truth["images"][0]["id"], "category_id": 1, "bbox": [5.0 + n, 5, 9, 9], "score": score}
        for n, score in enumerate(rng.random(150).tolist())
    ]
    stats, _ = pycocotools(truth, predicted)
    assert values(truth, predicted)["coco_ap", ""] == pytest.approx(stats[0], abs=EXACT)


@pytest.mark.parametrize("boxes", [50, 100])
def test_recalls_are_reached_as_floating_point_has_them(boxes: int) -> None:
    """0.07 times 100 is a little more than 7; seven of a hundred boxes are a recall of 0.07 all the same."""
    truth, predicted = made_up(1, images=60, classes=1, digits=9, crowds=False)
    truth["annotations"] = truth["annotations"][:boxes]
    assert len(truth["annotations"]) == boxes
    stats, _ = pycocotools(truth, predicted)
    found = values(truth, predicted)
    assert [found[metric, ""] for metric in METRICS] == pytest.approx(stats, abs=EXACT)


def test_an_annotation_with_the_id_0_is_found_too() -> None:
    """pycocotools takes a match with it for none; so numbers start at 1 here."""
    box = [0.0, 0.0, 10.0, 10.0]
    truth = {
        "images": [{"id": 1}],
        "annotations": [{"id": 0, "image_id": 1, "category_id": 1, "bbox": box, "area": 100, "iscrowd": 0}],
        "categories": [{"id": 1, "name": "it"}],
    }
    predicted = [{"image_id": 1, "category_id": 1, "bbox": box, "score": 1.0}]
    assert pycocotools(truth, predicted)[0][0] == 0
    assert values(truth, predicted)["coco_ap", ""] == pytest.approx(1.0)


def test_no_detection_no_box_and_crowds_alone() -> None:
    truth, predicted = made_up(5)
    none = values(truth, [])
    assert [none[metric, ""] for metric in METRICS] == [0.0] * 4
    for each in truth["annotations"]:
        each["iscrowd"] = int(each["category_id"] == 2)
    found = {
        each.label: each for each in coco_scores(truth, predicted, bootstrap=2) if each.metric == "coco_ap"
    }
    assert math.isnan(found["class 2"].value) and "but crowds" in found["class 2"].reason
    assert found[""].value == pytest.approx(pycocotools(truth, predicted)[0][0], abs=EXACT)
    empty = coco_scores({**truth, "annotations": []}, predicted, bootstrap=2)
    assert all(math.isnan(each.value) and each.reason for each in empty)


def test_intervals_are_over_groups(capsys: pytest.CaptureFixture[str]) -> None:
    """Each image twice in its group: neither the values nor the limits move, as they do for images by themselves."""
    truth, predicted = made_up(7, images=30, digits=9)
    plain = coco_scores(truth, predicted, bootstrap=100)
    assert capsys.readouterr().out == ""
    double = drawn(truth, predicted, {each["id"]: 2 for each in truth["images"]})
    groups = {str(each["id"]): f"place {each['id'] // 1000 % 5}" for each in double[0]["images"]}
    again = coco_scores(*double, groups, bootstrap=100)
    for one, other in zip(plain, again, strict=True):
        assert (one.low, one.value, one.high) == pytest.approx(
            (other.low, other.value, other.high), abs=EXACT
        )
        assert one.low < one.value < one.high and one.groups == 5
    single = {str(each["id"]): "one" for each in truth["images"]}
    alone = coco_scores(truth, predicted, single, bootstrap=100)
    assert math.isnan(alone[0].low) and alone[0].reason == "1 group only: nothing to resample"
    with pytest.raises(TableError, match=r"images without a group: 30 of 30"):
        coco_scores(truth, predicted, {}, bootstrap=100)


def test_without_pycocotools_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(MissingLibraryError, match=r'pip install "graftwork\[boxes\]"'):
        coco_scores({}, [])


def test_a_thousand_replicates_are_quick() -> None:
    """100 images of 5 classes: a twentieth of the work of 2,000 images."""
    truth, predicted = made_up(11, images=100, classes=5, digits=3, most=2)
    start = time.process_time()
    coco_scores(truth, predicted, bootstrap=1000)
    assert time.process_time() - start < 4
