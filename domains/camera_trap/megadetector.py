"""MegaDetector results: the JSON that Timelapse and the other programs of camera-trap people read.

Format: https://lila.science/megadetector-output-format, version 1.6. It is made for boxes; a classifier of frames
writes one box a picture, the whole frame, whose confidence says how surely the frame is not empty.
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

if TYPE_CHECKING:
    import pandas as pd

    from graftwork.common.manifest import Target
    from graftwork.common.predicting.formats import Predictions

__all__ = ["FORMAT_VERSION", "read", "read_boxes", "read_scores", "write"]

FORMAT_VERSION = "1.6"
_ANIMAL = "1"
_DETECTIONS = {_ANIMAL: "animal", "2": "person", "3": "vehicle"}  # the numbers that every such file has
_WHOLE = [0.0, 0.0, 1.0, 1.0]  # x, y, width, height as shares of the picture
_DIGITS = 5
_SHOWN = 10  # faults in a message
_DETECTOR = "none: each detection is the whole frame"
_OLDEST = 1.3  # what the format's own validator accepts
_COLUMNS = ("file", "category", "x", "y", "width", "height", "score", "failure", "record")


def write(predictions: Predictions, file: Path) -> None:
    """Write predictions as MegaDetector results.

    Each picture has one detection, the whole frame, of the category animal. Its confidence is 1 minus the score of
    empty (of the target `empty` where there is one, else of the class `empty` of the species; 1 where neither is
    told). Its classifications are the classes of the first target, the largest score first; scores that round to
    0.00000 are left out. People and vehicles are classes too, not categories of detection. A file that could not
    be read has a `failure`, and null for detections: it is not known to be empty. A backslash in a path is one in the
    name of a file, as on Unix.

    Raises:
        TableError: no target tells classes of frames, or a path is not relative, or leads out of the folder.
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
    astray = [name for name in names if name.startswith("/") or ".." in name.split("/")]
    if astray:
        raise TableError(
            f"paths are relative, with forward slashes; found {astray[0]!r}", where="format megadetector"
        )
    about = predictions.about
    # <domain>/<recipe>/<seed and hash>, not where it lies on this machine
    run = "/".join(str(about.get("run", "")).replace("\\", "/").split("/")[-3:])
    head = {
        "info": {
            "format_version": FORMAT_VERSION,
            "detector": _DETECTOR,
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
            # a line a picture, so that a file of a million stays one that can be looked at
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
    """A file of MegaDetector results as a table, one row a picture.

    Returns:
        `file` (with forward slashes), `failure` (NA where there is none), `detections` (how many), `animal` (the
        largest confidence of an animal; 0 without a detection, NaN of a file that could not be read), and, where
        the file classifies, `score_<class>` of that detection (a class that is not named: 0) and `predicted`.

    Raises:
        TableError: it cannot be read, or is not such a file.
    """
    import pandas as pd

    try:
        content = json.loads(Path(file).read_text(encoding="utf-8-sig"))
        categories = {str(key): str(name) for key, name in content["detection_categories"].items()}
        classes = {str(key): str(name) for key, name in content.get("classification_categories", {}).items()}
        ours = content.get("info", {}).get("detector") == _DETECTOR  # in which a backslash is part of a name
        rows = [_row(record, categories, classes, ours) for record in content["images"]]
    except OSError as error:
        raise TableError(f"cannot be read ({error.strerror})", where=file) from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        what = f"not readable as MegaDetector results ({type(error).__name__}: {error})"
        raise TableError(what, where=file) from error
    columns = ["file", "failure", "detections", "animal"]
    columns += [*(f"score_{name}" for name in classes.values()), "predicted"] if classes else []
    return pd.DataFrame(rows, columns=columns)


def read_scores(file: str | os.PathLike[str]) -> pd.DataFrame:
    """A file of MegaDetector results as scores to be judged: `file` and `score_animal`.

    A picture without a detection has the score 0. One that could not be read has none: it is no row, and
    `attrs["failed"]` names it.
    """
    found = read(file)
    failed = found["failure"].notna()
    table = (
        found[~failed][["file", "animal"]].rename(columns={"animal": "score_animal"}).reset_index(drop=True)
    )
    table.attrs = {"source": str(file), "failed": tuple(found["file"][failed])}
    return table


def read_boxes(file: str | os.PathLike[str]) -> pd.DataFrame:
    """A file of MegaDetector results (format 1.3 to 1.6) as boxes to be judged, one row a detection.

    Returns:
        `file` (with forward slashes), `category` (by name), `x`, `y`, `width`, `height` (shares of the picture, origin
        top left; NaN where they are no four numbers), `score` (NaN where it is no number), `failure` (NA where there is
        none), and `record`: which record of the file, from 0. A picture without a detection, or with a failure, is one
        row without a category. Detections of a category that the file does not list are none, as the format says;
        `attrs["unlisted"]` counts them.

    Raises:
        TableError: it cannot be read, is not such a file, or its boxes are whole frames; all that is wrong with it.
    """
    import pandas as pd

    try:
        content = json.loads(Path(file).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise TableError(f"cannot be read ({error.strerror})", where=file) from error
    except (ValueError, RecursionError) as error:
        raise TableError(f"not readable as JSON: {error}", where=file) from error
    if faults := list(_faults(content)):
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        said = "; ".join(faults[:_SHOWN]).encode("utf-8", "backslashreplace").decode()  # half characters too
        raise TableError(f"not readable as MegaDetector results: {said}{more}", where=file)
    categories = {str(key): str(name).strip() for key, name in content["detection_categories"].items()}
    rows: list[tuple[object, ...]] = []
    unlisted = 0
    for number, record in enumerate(content["images"]):
        name, failure = record["file"].replace("\\", "/"), record.get("failure")
        found = [] if failure else record["detections"]
        boxes = [each for each in found if str(each["category"]) in categories]
        unlisted += len(found) - len(boxes)
        for each in boxes:
            box = each["bbox"] if isinstance(each["bbox"], list) and len(each["bbox"]) == 4 else [None] * 4
            numbers = [_number(value) for value in (*box, each["conf"])]
            rows.append((name, categories[str(each["category"])], *numbers, None, number))
        if not boxes:
            rows.append((name, None, *[float("nan")] * 5, str(failure) if failure else None, number))
    table = pd.DataFrame(rows, columns=list(_COLUMNS))
    table.attrs = {"source": str(file), "unlisted": unlisted}
    return table


def _faults(content: Any) -> Iterator[str]:
    """What is wrong with the form of a file of results, whatever its numbers are."""
    if isinstance(content, list):
        yield (
            "it is a list, as another program of that name writes, with boxes of x1, y1, x2, y2 in px; an object with "
            "info, detection_categories and images was expected"
        )
        return
    wanted = {"info": dict, "detection_categories": dict, "images": list}
    have = content if isinstance(content, dict) else {}
    if lacking := [key for key, kind in wanted.items() if type(have.get(key)) is not kind]:
        yield f"without {' and '.join(lacking)}"
        return
    version = content["info"].get("format_version")
    try:
        old = float(version) < _OLDEST
    except (TypeError, ValueError):
        old = True
    if old:
        yield f"info.format_version is {version!r}; 1.3 to {FORMAT_VERSION} are read"
    if content["info"].get("detector") == _DETECTOR:
        yield "each of its boxes is the whole frame: it is of a classifier, and tells no boxes"
    for number, record in enumerate(content["images"]):
        where = f"images[{number}]"
        if not isinstance(record, dict) or not isinstance(record.get("file"), str):
            yield f"{where} has no file"
        elif record.get("failure"):
            continue
        elif not isinstance(record.get("detections"), list):
            yield f"{where} ({record['file']}) has neither detections nor a failure"
        else:
            for at, each in enumerate(record["detections"]):
                keys = each if isinstance(each, dict) else ()
                missing = [key for key in ("category", "bbox", "conf") if key not in keys]
                if missing:
                    yield f"{where}.detections[{at}] ({record['file']}) has no {' and no '.join(missing)}"


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return float("nan")
    try:
        return float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return float("inf")


def _row(
    record: Mapping[str, Any], categories: Mapping[str, str], classes: Mapping[str, str], ours: bool
) -> dict[str, object]:
    found = record.get("detections")
    failure = record.get("failure")
    if found is None and not failure:
        raise ValueError(f"{record['file']} has neither detections nor a failure")
    animals = [each for each in found or [] if categories[str(each["category"])] == "animal"]
    best = max(animals, key=lambda each: float(each["conf"]), default=None)
    row: dict[str, object] = {
        "file": str(record["file"]) if ours else str(record["file"]).replace("\\", "/"),
        "failure": failure or None,
        "detections": len(found or []),
        "animal": float("nan") if failure else float(best["conf"]) if best else 0.0,
    }
    if classes:
        told = (
            {}
            if best is None
            else {str(key): float(score) for key, score in best.get("classifications") or []}
        )
        for key, name in classes.items():
            row[f"score_{name}"] = float("nan") if failure else told.get(key, 0.0)
        row["predicted"] = classes[max(told, key=lambda key: told[key])] if told else None
    return row
