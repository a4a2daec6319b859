"""MegaDetector results: the JSON that Timelapse and the other programs of camera-trap people read.

Format: https://lila.science/megadetector-output-format, version 1.6. It is made for boxes; a classifier of frames
writes one box an image, the whole frame, whose confidence says how surely the frame is not empty.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graftwork.common.errors import TableError
from graftwork.common.files import writing
from graftwork.domains.camera_trap.labelling import EMPTY
from graftwork.domains.camera_trap.megadetector_results import (
    WHOLE_FRAMES,
    Record,
    as_number,
    is_video,
    read_results,
    refused,
)

if TYPE_CHECKING:
    import pandas as pd

    from graftwork.common.data.targets import Target
    from graftwork.common.prediction.output_formats import Predictions


FORMAT_VERSION = "1.6"
_ANIMAL = "1"
_DETECTIONS = {_ANIMAL: "animal", "2": "person", "3": "vehicle"}  # the numbers that every such file has
_WHOLE = [0.0, 0.0, 1.0, 1.0]  # x, y, width, height as shares of the image
_DIGITS = 5
_COLUMNS = ("file", "category", "x", "y", "width", "height", "score", "failure", "record")


def write(predictions: Predictions, file: Path) -> None:
    """Write predictions as MegaDetector results.

    Each image has one detection, the whole frame, of the category animal. Its confidence is 1 minus the score of
    empty (of the target `empty` where there is one, else of the class `empty` of the species; 1 where neither is
    told). Its classifications are the classes of the first target, the largest score first; scores that round to
    0.00000 are left out. People and vehicles are classes too, not categories of detection. A file that could not
    be read has a `failure`, and null for detections: it is not known to be empty. A backslash in a path is one in the
    name of a file, as on Unix.

    Raises:
        TableError: no target has classes of frames, a path is not relative, or a path is outside the folder.
        RunError: it cannot be written.
    """
    target = predictions.targets[0]
    if target.kind not in ("multi-class", "binary"):
        raise TableError(
            f"MegaDetector results are of frames with one class each, not of a {target.kind} target",
            where="format megadetector",
            remedy="write .csv or .parquet",
        )
    names = [str(name) for name in predictions.frame["file"].tolist()]
    outside = [name for name in names if name.startswith("/") or ".." in name.split("/")]
    if outside:
        raise TableError(
            f"paths are relative, with forward slashes; found {outside[0]!r}",
            where="format megadetector",
            remedy="give paths below the folder that was predicted",
        )
    about = predictions.about
    # <domain>/<recipe>/<seed and hash>, not the path on this computer
    run = "/".join(str(about.get("run", "")).replace("\\", "/").split("/")[-3:])
    head = {
        "info": {
            "format_version": FORMAT_VERSION,
            "detector": WHOLE_FRAMES,
            "classifier": f"graftwork {about.get('graftwork', '')} run {run}".strip(),
            "classifier_metadata": {
                key: str(about[key]) for key in ("dataset", "model_sha256") if about.get(key) is not None
            },
        },
        "detection_categories": _DETECTIONS,
        "classification_categories": {str(number): name for number, name in enumerate(target.classes)},
    }
    opening = json.dumps(head, indent=1, ensure_ascii=False).removesuffix("\n}")
    with writing(file) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as out:
        out.write(f'{opening},\n "images": [')
        for number, record in enumerate(_records(predictions, target, names)):
            # a line an image, so that a file of a million stays one that can be looked at
            out.write(
                (",\n  " if number else "\n  ") + json.dumps(record, ensure_ascii=False, allow_nan=False)
            )
        out.write("\n ]\n}\n")


def _records(predictions: Predictions, target: Target, names: list[str]) -> Iterator[dict[str, Any]]:
    frame = predictions.frame
    scores = frame[list(target.scores)].to_numpy(dtype="float64")
    full = _full(predictions, target)
    for row, name in enumerate(names):
        if name in predictions.failures:
            yield {"file": name, "failure": str(predictions.failures[name]), "detections": None}
            continue
        rounded = [round(float(score), _DIGITS) for score in scores[row]]
        # of equal scores the first class, as in the column `predicted`
        order = sorted(range(len(rounded)), key=lambda place: -float(scores[row][place]))
        kept = [[str(place), rounded[place]] for place in order if rounded[place] > 0]
        detection = {
            "category": _ANIMAL,
            "conf": round(float(full[row]), _DIGITS),
            "bbox": _WHOLE,
            "classifications": kept,
        }
        yield {"file": name, "detections": [detection]}


def _full(predictions: Predictions, target: Target) -> list[float]:
    """How surely each frame is not empty."""
    frame = predictions.frame
    for told in (*predictions.targets[1:], target):
        if EMPTY in told.classes and told.kind in ("binary", "multi-class"):
            return [1.0 - float(score) for score in frame[f"{told.prefix}score_{EMPTY}"].tolist()]
    return [1.0] * len(frame)


def read(file: str | os.PathLike[str]) -> pd.DataFrame:
    """A file of MegaDetector results as a table, one row an image.

    Returns:
        `file` (with forward slashes), `failure` (NA where there is none), `detections` (how many), `animal` (the
        largest confidence of an animal; 0 without a detection, NaN of a file that could not be read), and, where
        the file classifies, `score_<class>` of that detection (a class that is not named: 0) and `predicted`.
        `attrs["notes"]` as `read_scores`.

    Raises:
        TableError: it cannot be read, or is not such a file; all that is wrong with it.
    """
    import pandas as pd

    results = read_results(file)
    unknown = [
        f"{record.file} has the conf {each['conf']!r} (expected a number from 0 to 1)"
        for record in results.records
        for each in record.detections
        if not 0 <= as_number(each["conf"]) <= 1
    ]
    if unknown:
        raise refused(file, unknown)
    rows = [_row(record, results.classes) for record in results.records]
    columns = ["file", "failure", "detections", "animal"]
    columns += (
        [*(f"score_{name}" for name in results.classes.values()), "predicted"] if results.classes else []
    )
    table = pd.DataFrame(rows, columns=columns)
    table.attrs = {"source": str(file), "notes": results.notes}
    return table


def read_scores(file: str | os.PathLike[str]) -> pd.DataFrame:
    """A file of MegaDetector results as scores for evaluation: `file` and `score_animal`.

    An image without a detection has the score 0, a video the largest of its frames. One that could not be read has
    none: it is no row, and `attrs["failed"]` names it. `attrs["notes"]` say what was left out or assumed.

    Raises:
        TableError: as `read`.
    """
    found = read(file)
    failed = found["failure"].notna()
    table = (
        found[~failed][["file", "animal"]].rename(columns={"animal": "score_animal"}).reset_index(drop=True)
    )
    notes = found.attrs["notes"]
    videos = sum(is_video(name) for name in table["file"])
    if videos:
        notes += (f"{videos:,} records are of videos: the score of each is the largest of its frames.",)
    table.attrs = {"source": str(file), "failed": tuple(found["file"][failed]), "notes": notes}
    return table


def read_boxes(file: str | os.PathLike[str]) -> pd.DataFrame:
    """A file of MegaDetector results as boxes for evaluation, one row per detection.

    Returns:
        `file` (with forward slashes), `category` (by name), `x`, `y`, `width`, `height` (shares of the image, origin
        top left; NaN where they are no four numbers), `score` (NaN where it is no number), `failure` (NA where there is
        none), and `record`: which record of the file, from 0. An image without a detection, or with a failure, is one
        row without a category. Videos are left out. `attrs["notes"]` say what was left out or assumed.

    Raises:
        TableError: it cannot be read, is not such a file, or its boxes are whole frames; all that is wrong with it.
    """
    import pandas as pd

    results = read_results(file)
    if results.whole_frames:
        raise TableError(
            "each of its boxes is the whole frame: it is of a classifier (found info.detector "
            f"{WHOLE_FRAMES!r}, expected the results of a detector)",
            where=file,
            remedy="evaluate its scores, or give the results of a detector",
        )
    rows: list[tuple[object, ...]] = []
    notes = results.notes
    videos = sum(is_video(record.file) for record in results.records)
    for number, record in enumerate(results.records):
        if is_video(record.file):
            continue
        for each in record.detections:
            box = each["bbox"] if isinstance(each["bbox"], list) and len(each["bbox"]) == 4 else [None] * 4
            numbers = [as_number(value) for value in (*box, each["conf"])]
            rows.append((record.file, each["category"], *numbers, None, number))
        if not record.detections:
            rows.append((record.file, None, *[float("nan")] * 5, record.failure or None, number))
    if videos:
        notes += (f"{videos:,} videos are left out: boxes are of images.",)
    table = pd.DataFrame(rows, columns=list(_COLUMNS))
    table.attrs = {"source": str(file), "notes": notes}
    return table


def _row(record: Record, classes: Mapping[str, str]) -> dict[str, object]:
    animals = [each for each in record.detections if each["category"] == "animal"]
    best = max(animals, key=lambda each: float(each["conf"]), default=None)
    row: dict[str, object] = {
        "file": record.file,
        "failure": record.failure or None,
        "detections": len(record.detections),
        "animal": float("nan") if record.failure else float(best["conf"]) if best else 0.0,
    }
    if classes:
        told = (
            {}
            if best is None
            else {str(key): float(score) for key, score in best.get("classifications") or []}
        )
        for key, name in classes.items():
            row[f"score_{name}"] = float("nan") if record.failure else told.get(key, 0.0)
        known = [key for key in told if key in classes]
        row["predicted"] = classes[max(known, key=lambda key: told[key])] if known else None
    return row
