"""Boxes as COCO writes them: the lists of a truth and of detections, checked, as arrays.

Format: https://cocodataset.org/#format-data and #format-results. Sets of cameras that stand outdoors add `location` to
images, ids of text, and annotations without a box.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graftwork.common.evaluation.arrays import Array, BoolArray, FloatArray, IntArray
from graftwork.common.wording import quantity, short_list

EMPTIES = ("empty", "blank", "none")  # names of the category of images in which nothing is
_LISTS = ("images", "annotations", "categories")
_RESULT = ("image_id", "category_id", "bbox", "score")

Wrong = defaultdict[str, list[str]]  # what is wrong, to where


@dataclass(frozen=True, eq=False)
class Truth:
    """True boxes, of n images and K classes.

    Attributes:
        ids: [n], ids as text, sorted as pycocotools sorts them. files: [n], "" where unknown.
        sizes: [n, 2], width and height in px, NaN where unknown. locations: [n], "" where unknown.
        classes: K names, in the file's order. places: id of a category to its class; -1: of images with nothing.
        image, label: [m], of each box. box: [m, 4], x, y, width, height in px. area: [m], px². crowd: [m].
        unboxed: [n], an annotation names something and does not say where it is.
        notes: what must be said of it.
    """

    ids: Array
    files: Array
    sizes: FloatArray
    locations: Array
    classes: tuple[str, ...]
    places: Mapping[str, int]
    image: IntArray
    label: IntArray
    box: FloatArray
    area: FloatArray
    crowd: BoolArray
    unboxed: BoolArray
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def by_file(self) -> dict[str, int]:
        """The name of an image's file, as it stands and with forward slashes, to its place."""
        found = {plain_name(name): row for row, name in enumerate(self.files) if name}
        return found | {name: row for row, name in enumerate(self.files) if name}

    def groups(self, told_of: Mapping[str, str] | None) -> tuple[Array | None, str, list[str]]:
        """The group of each image ([n]; None: each is its own), what told it, and what is wrong with that.

        Args:
            told_of: name of a file, or id as text, to group; None: the locations of the truth, where it has any.
        """
        if told_of is None and not self.locations.astype(bool).any():
            return None, "", []
        if told_of is None:
            found, column, key = list(self.locations), "location", "`location`"
        else:
            column, key = "groups", "group"
            names = ((file, plain_name(file), own) for file, own in zip(self.files, self.ids, strict=True))
            found = [
                next((str(told_of[each]) for each in of if told_of.get(each) is not None), "") for of in names
            ]
        lost = [
            str(file or own)
            for file, own, group in zip(self.files, self.ids, found, strict=True)
            if group in ("", "nan")
        ]
        faults = (
            [f"images without a {key}: {len(lost):,} of {len(self):,} ({short_list(lost)})"] if lost else []
        )
        return np.array(found, dtype=object), column, faults


@dataclass(frozen=True, eq=False)
class Detections:
    """Predicted boxes: the place of the image in the truth, the class, the box in px, the score 0..1."""

    image: IntArray
    label: IntArray
    box: FloatArray
    score: FloatArray


def counted_faults(wrong: Mapping[str, Sequence[str]]) -> list[str]:
    """Faults as lines: what is wrong, how often, and where it is first."""
    return [_whole(f"{what}: {len(where):,} ({short_list(where)})") for what, where in wrong.items()]


def _whole(text: str) -> str:
    """Text that can be printed: half a character, which JSON lets through, as its code."""
    return text.encode("utf-8", "backslashreplace").decode()


def plain_name(name: str) -> str:
    """The name of a file with forward slashes and without ./ before it."""
    return name.replace("\\", "/").removeprefix("./")


def _key(value: object) -> str:
    """An id as text, however it was written: 33, 33.0 and "33" are one; "" is none."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else "" if math.isnan(value) else str(value)
    return str(value).strip() if isinstance(value, int | str) and not isinstance(value, bool) else ""


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _four(value: object) -> list[float]:
    """Four numbers; NaN in the place of what is none."""
    if not isinstance(value, list | tuple) or len(value) != 4:
        return [math.nan] * 4
    return [_number(each) for each in value]


def _records(content: list[Any], name: str, needed: Sequence[str], wrong: Wrong) -> Iterator[dict[str, Any]]:
    """The records of a list that have the keys that are needed."""
    for number, record in enumerate(content):
        if not isinstance(record, dict):
            wrong[f"{name} that are no objects"].append(f"number {number}")
            continue
        missing = [key for key in needed if record.get(key) in (None, "")]
        if missing:
            wrong[f"{name} without {' and '.join(missing)}"].append(f"number {number}")
            continue
        yield record


def number_faults(box: FloatArray, score: FloatArray | None, names: Array, wrong: Wrong, what: str) -> None:
    """What is wrong with boxes ([m, 4]) and scores ([m]), added to `wrong`; `names`: [m], for people."""
    finite = np.isfinite(box).all(axis=1)
    for said, rows in (
        (f"{what} whose bbox is not four finite numbers", ~finite),
        (f"{what} of negative width or height", finite & (box[:, 2:] < 0).any(axis=1)),
    ):
        if rows.any():
            wrong[said].extend(map(str, names[rows]))
    if score is not None:
        outside = ~((score >= 0) & (score <= 1))
        if outside.any():
            wrong[f"{what} whose score is not within 0..1"].extend(
                f"{name}: {value:g}" for name, value in zip(names[outside], score[outside], strict=True)
            )


def read_truth(content: object) -> tuple[Truth | None, list[str]]:
    """The truth from the content of a COCO file, and everything that is wrong with it.

    Args:
        content: {"images": [{"id", ...}], "annotations": [{"image_id", "category_id", "bbox", ...}], "categories":
            [{"id", "name"}]}. Of images `file_name`, `width`, `height` and `location` are read where they are there; of
            annotations `area` (else width times height) and `iscrowd` (else 0).

    Returns:
        the truth, or None where there are no lists; the faults, a line each. With faults it is there only so that
        detections can be held against it.
    """
    if not isinstance(content, Mapping):
        return None, [f"it is no COCO file: an object with {', '.join(_LISTS)} was expected"]
    lacking = [name for name in _LISTS if not isinstance(content.get(name), list)]
    if lacking:
        there = short_list(list(content), 6) or "nothing"
        return None, [f"it is no COCO file: without the list {' and '.join(lacking)}; there are {there}"]
    wrong: Wrong = defaultdict(list)
    images = _images(content["images"], wrong)
    names = _categories(content["categories"], wrong)
    rows = list(_records(content["annotations"], "annotations", ("image_id", "category_id"), wrong))
    place = {key: row for row, key in enumerate(images)}
    boxed: list[tuple[int, str, list[float], float, float]] = []
    called: list[str] = []
    unboxed = np.zeros(len(images), dtype=np.bool_)
    for number, record in enumerate(rows):
        key, category = _key(record["image_id"]), _key(record["category_id"])
        own = _key(record.get("id")) or f"number {number}"
        if key not in place:
            wrong["annotations of an image that is not listed"].append(f"{own}: {key}")
        elif category not in names:
            wrong["annotations of a category that is not listed"].append(f"{own}: {category}")
        elif record.get("bbox") in (None, []):
            unboxed[place[key]] |= names[category].casefold() not in EMPTIES
        else:
            box = _four(record["bbox"])
            area = box[2] * box[3] if record.get("area") is None else _number(record["area"])
            boxed.append((place[key], category, box, area, _number(record.get("iscrowd") or 0)))
            called.append(own)
    if unboxed.any() and not boxed:
        wrong["annotations without a bbox, all of them"].append("it holds no boxes")
    array = np.array([each[2] for each in boxed], dtype=np.float64).reshape(-1, 4)
    areas, crowd = (np.array([each[at] for each in boxed], dtype=np.float64) for at in (3, 4))
    marks = np.array(called, dtype=object)
    number_faults(array, None, marks, wrong, "annotations")
    sound = np.isfinite(array).all(axis=1) & (array[:, 2:] >= 0).all(axis=1)
    for said, odd in (
        ("annotations whose area is no number of px²", sound & ~(np.isfinite(areas) & (areas >= 0))),
        ("annotations whose iscrowd is not 0 or 1", ~np.isin(crowd, (0.0, 1.0))),
    ):
        if odd.any():
            wrong[said].extend(map(str, marks[odd]))
    classes, places, merged = _classes(names, {each[1] for each in boxed})
    notes = list(
        _notes(rows, merged, int(crowd.sum()), len(images) - len({_key(r["image_id"]) for r in rows}))
    )
    about = list(images.values())
    truth = Truth(
        ids=np.array(list(images), dtype=object),
        files=np.array([each[0] for each in about], dtype=object),
        sizes=np.array([each[1] for each in about], dtype=np.float64).reshape(-1, 2),
        locations=np.array([each[2] for each in about], dtype=object),
        classes=classes,
        places=places,
        image=np.array([each[0] for each in boxed], dtype=np.intp),
        label=np.array([places[each[1]] for each in boxed], dtype=np.intp),
        box=array,
        area=areas,
        crowd=crowd == 1,
        unboxed=unboxed,
        notes=tuple(notes),
    )
    return truth, counted_faults(wrong)


def _images(content: list[Any], wrong: Wrong) -> dict[str, tuple[str, tuple[float, float], str]]:
    """Id to file, size and location, sorted by id: numbers by value where all are numbers, else as text."""
    found: dict[str, tuple[str, tuple[float, float], str]] = {}
    files: dict[str, str] = {}
    if not content:
        wrong["images, none of them"].append("the list is empty")
    numbers: dict[str, float] = {}
    for record in _records(content, "images", ("id",), wrong):
        key = _key(record["id"])
        file = record.get("file_name")
        name = file.strip() if isinstance(file, str) else ""
        if key in found:
            wrong["ids of several images"].append(key)
            continue
        if name and plain_name(name) in files:
            wrong["files that stand under several ids"].append(f"{name}: {files[plain_name(name)]} and {key}")
            continue
        files[plain_name(name)] = key
        numbers[key] = math.nan if isinstance(record["id"], str) else _number(record["id"])
        size = (_number(record.get("width")), _number(record.get("height")))
        found[key] = (name, size, _key(record.get("location")))
    if not any(math.isnan(value) for value in numbers.values()):
        return dict(sorted(found.items(), key=lambda each: numbers[each[0]]))
    return dict(sorted(found.items()))


def _categories(content: list[Any], wrong: Wrong) -> dict[str, str]:
    names: dict[str, str] = {}
    if not content:
        wrong["categories, none of them"].append("the list is empty")
    for record in _records(content, "categories", ("id", "name"), wrong):
        key = _key(record["id"])
        if key in names:
            wrong["ids of several categories"].append(key)
        names[key] = _whole(str(record["name"])).strip()
    return names


def _classes(names: Mapping[str, str], boxed: set[str]) -> tuple[tuple[str, ...], dict[str, int], list[str]]:
    """The classes, the class of each category, and names shared by several categories: those are one class."""
    with_boxes = {names[key].casefold() for key in boxed}
    classes: dict[str, str] = {}
    for name in names.values():
        if name.casefold() not in EMPTIES or name.casefold() in with_boxes:
            classes.setdefault(name.casefold(), name)
    order = {key: at for at, key in enumerate(classes)}
    times = Counter(name.casefold() for name in names.values())
    places = {key: order.get(name.casefold(), -1) for key, name in names.items()}
    return tuple(classes.values()), places, [classes[key] for key in classes if times[key] > 1]


def _notes(rows: Sequence[dict[str, Any]], merged: Sequence[str], crowds: int, bare: int) -> Iterator[str]:
    if bare:
        yield f"{quantity(bare, 'image')} without an annotation: taken as showing nothing."
    if merged:
        yield f"Categories of one name are one class: {', '.join(merged)}."
    if crowds:
        yield f"{quantity(crowds, 'crowd')} (iscrowd) in the truth: neither found nor missed."
    times = Counter(_key(record.get("id")) for record in rows)
    several = [key for key, count in times.items() if key and count > 1]
    if several:
        yield (
            f"{quantity(len(several), 'id')} of several annotations ({short_list(several)}): each of "
            "these was evaluated."
        )


def read_detections(content: object, truth: Truth) -> tuple[Detections | None, list[str]]:
    """Detections from the content of a COCO results file, and everything that is wrong with it.

    Args:
        content: [{"image_id", "category_id", "bbox": [x, y, width, height] in px, "score": 0..1}, ...]; may be empty.
    """
    if not isinstance(content, list):
        return None, ["it is no COCO results file: a list of objects was expected"]
    if content and isinstance(content[0], dict) and "detections" in content[0]:
        return None, [
            "it is a list of files with their detections, whose boxes are x1, y1, x2, y2 in px: another program's; "
            "COCO results are a list of image_id, category_id, bbox and score"
        ]
    wrong: Wrong = defaultdict(list)
    place = {key: row for row, key in enumerate(truth.ids)}
    found: list[tuple[int, int, list[float], float]] = []
    marks: list[str] = []
    for record in _records(content, "detections", _RESULT, wrong):
        key, category = _key(record["image_id"]), _key(record["category_id"])
        if key not in place:
            wrong["detections in an image that the truth does not list"].append(key)
        elif category not in truth.places:
            wrong["detections of a category that the truth does not list"].append(category)
        elif truth.places[category] < 0:
            wrong["detections of the category of images with nothing in them"].append(f"image {key}")
        else:
            found.append(
                (place[key], truth.places[category], _four(record["bbox"]), _number(record["score"]))
            )
            marks.append(f"image {key}")
    box = np.array([each[2] for each in found], dtype=np.float64).reshape(-1, 4)
    score = np.array([each[3] for each in found], dtype=np.float64)
    number_faults(box, score, np.array(marks, dtype=object), wrong, "detections")
    if wrong:
        return None, counted_faults({what: list(dict.fromkeys(where)) for what, where in wrong.items()})
    image, label = (np.array([each[at] for each in found], dtype=np.intp) for at in (0, 1))
    return Detections(image, label, box, score), []
