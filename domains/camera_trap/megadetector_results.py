"""The one reader of MegaDetector results, versions 1.0 to 1.6: what each record says, and what was left out.

Format: https://lila.science/megadetector-output-format. A file that stands twice is treated as MegaDetector's own
`combine_batch_outputs.py` does: a result replaces an earlier failure.
"""

from __future__ import annotations

import json
import mimetypes
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graftwork.common.errors import TableError
from graftwork.common.files.untrusted_files import read_json
from graftwork.common.wording import short_list

WHOLE_FRAMES = "none: each detection is the whole frame"  # info.detector of a classifier's results
_SHOWN = 10  # faults in a message
_NEWEST = 1.6
_MAJOR = 2.0  # a format that is not known


@dataclass(frozen=True)
class Record:
    """What a file says of an image: its path, why it was not processed ("" if it was), and its detections, of listed
    categories, with `category` by name."""

    file: str
    failure: str
    detections: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Results:
    """A file of results: a record for each image, the classes by id, whether each box is a whole frame, and notes."""

    records: tuple[Record, ...]
    classes: Mapping[str, str]
    whole_frames: bool
    notes: tuple[str, ...]


def is_video(name: str) -> bool:
    """Whether a file is a video by the ending of its name."""
    return (mimetypes.guess_type(name.lower())[0] or "").startswith("video/")


def as_number(value: object) -> float:
    """A number of JSON; NaN of anything else, infinity of a whole number of hundreds of digits."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return float("nan")
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def read_results(file: str | os.PathLike[str]) -> Results:
    """Read a file of results.

    A detection of a category that the file does not list is none, as the format says, and is counted. Of a file with
    a failure and a result, the result counts; equal records of a file count once.

    Raises:
        TableError: it cannot be read, is not such a file, or records of a file differ; all that is wrong with it.
    """
    content = read_json(file, TableError)
    if faults := list(_faults(content)):
        raise refused(file, faults)
    info = content.get("info") or {}
    ours = info.get("detector") == WHOLE_FRAMES  # in which a backslash is part of a name
    categories = {str(key): str(name).strip() for key, name in content["detection_categories"].items()}
    classes = {str(key): str(name) for key, name in (content.get("classification_categories") or {}).items()}
    unlisted: Counter[str] = Counter()
    found: dict[str, list[Record]] = defaultdict(list)
    for record in content["images"]:
        name = record["file"] if ours else record["file"].replace("\\", "/")
        failure = str(record.get("failure") or "")
        kept = []
        for each in [] if failure else record["detections"]:
            key = str(each["category"])
            if key in categories:
                kept.append({**each, "category": categories[key]})
            else:
                unlisted[key] += 1
        found[name].append(Record(name, failure, tuple(kept)))
    records, more, faults = _once(found)
    if faults:
        raise refused(file, faults)
    notes = [*_version(info), *more]
    if unlisted:
        ids = ", ".join(map(repr, sorted(unlisted)))
        noun = "detection is" if unlisted.total() == 1 else "detections are"
        notes.append(
            f"{unlisted.total():,} {noun} of a category that the file does not list ({ids}): taken as none."
        )
    return Results(tuple(records), classes, ours, tuple(notes))


def refused(file: str | os.PathLike[str], faults: list[str]) -> TableError:
    """The error for a file of results with faults, the first of them listed."""
    listed = short_list(faults, _SHOWN, separator="; ", length=400)
    said = listed.encode("utf-8", "backslashreplace").decode()  # half characters too
    return TableError(
        f"not readable as MegaDetector results: {said}",
        where=file,
        remedy="correct these records, or export the results again",
    )


def _once(found: Mapping[str, list[Record]]) -> tuple[list[Record], list[str], list[str]]:
    """Each file once, in the order of the file; notes; and files whose records differ."""
    records: list[Record] = []
    faults: list[str] = []
    recovered = again = 0
    for name, each in found.items():
        done = [record for record in each if not record.failure]
        recovered += bool(done) and len(done) < len(each)
        again += len(done) > 1 or (not done and len(each) > 1)
        if any(_signature(record) != _signature(done[0]) for record in done[1:]):
            faults.append(
                f"{name} has {len(done)} results that differ ({' and '.join(map(_told, done[:3]))}; expected one)"
            )
        records.append((done or each)[0])
    notes = []
    if recovered:
        notes.append(f"{recovered:,} files have a failure and a result: the result counts.")
    if again:
        notes.append(f"{again:,} files have several equal records: they count once.")
    return records, notes, faults


def _signature(record: Record) -> list[str]:
    return sorted(json.dumps(each, sort_keys=True, default=str) for each in record.detections)


def _told(record: Record) -> str:
    most = max((as_number(each["conf"]) for each in record.detections), default=0.0)
    return f"{len(record.detections)} detections, largest conf {most:g}"


def _version(info: Mapping[str, Any]) -> Iterator[str]:
    version = info.get("format_version")
    if version is None:
        yield "The file states no format_version: read as the format of today."
    elif float(version) > _NEWEST:
        yield f"The file is of format_version {version}, newer than {_NEWEST:g}: what is new in it is not read."


def _faults(content: Any) -> Iterator[str]:
    """What is wrong with the form of a file of results, whatever its numbers are."""
    if isinstance(content, list):
        yield (
            "it is a list, as another program of that name writes, with boxes of x1, y1, x2, y2 in px; an object with "
            "info, detection_categories and images was expected"
        )
        return
    wanted = {"detection_categories": dict, "images": list}
    have = content if isinstance(content, dict) else {}
    if lacking := [key for key, kind in wanted.items() if type(have.get(key)) is not kind]:
        yield f"without {' and '.join(lacking)}"
        return
    for key in ("info", "classification_categories"):
        if not isinstance(have.get(key) or {}, dict):
            yield f"{key} is {type(have[key]).__name__}, expected an object"
            return
    version = (content.get("info") or {}).get("format_version")
    try:
        known = version is None or 1.0 <= float(version) < _MAJOR
    except (TypeError, ValueError):
        known = False
    if not known:
        yield f"info.format_version is {version!r}; 1.0 to {_NEWEST:g} are read"
    for number, record in enumerate(content["images"]):
        where = f"images[{number}]"
        if not isinstance(record, dict) or not isinstance(record.get("file"), str):
            yield f"{where} has no file"
        elif record.get("failure"):
            continue
        elif not isinstance(record.get("detections"), list):
            yield f"{where} ({record['file']}) has neither detections nor a failure"
        else:
            yield from _detection_faults(where, record)


def _detection_faults(where: str, record: Mapping[str, Any]) -> Iterator[str]:
    for at, each in enumerate(record["detections"]):
        place = f"{where}.detections[{at}] ({record['file']})"
        keys = each if isinstance(each, dict) else ()
        missing = [key for key in ("category", "bbox", "conf") if key not in keys]
        if missing:
            yield f"{place} has no {' and no '.join(missing)}"
            continue
        told = each.get("classifications") or []
        pairs = isinstance(told, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in told)
        if not pairs or any(as_number(score) != as_number(score) for _, score in told):
            yield f"{place} has classifications {told!r}"[:200] + ", expected pairs of a class and a number"
