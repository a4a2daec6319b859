"""COCO Camera Traps files: found by their content, and their three lists joined by id, never by name."""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graftwork.common.data.file_layouts import folders_below, hidden, listed
from graftwork.common.errors import DatasetError, TableError
from graftwork.common.files.untrusted_files import read_json
from graftwork.common.names import clean_name, look_alikes, name_key
from graftwork.common.wording import short_list

EMPTIES = ("empty", "blank", "none")  # names of the category of frames in which nothing is
_LISTS = ("images", "annotations", "categories")
_KEYS = {
    "images": {
        "id",
        "file_name",
        "width",
        "height",
        "location",
        "datetime",
        "date_captured",
        "seq_id",
        "frame_num",
    },
    "annotations": {"id", "image_id", "category_id", "count", "bbox"},
    "categories": {"id", "name"},
}
_LOOKED_FOR = "one .json file in COCO Camera Traps format (lists images, annotations, categories)"
_SAMPLE = 50  # images checked to find the image folder
_SHOWN = 20  # faults of one kind in a message


@dataclass(frozen=True)
class ImageRecord:
    """A record of the list `images`; missing values are "" or None."""

    id: str
    path: str
    width: float | None
    height: float | None
    location: str
    time: str
    sequence: str
    number: int | None


@dataclass(frozen=True)
class Annotation:
    """A record of the list `annotations`: ids of image and category, count ("" unknown), box (x, y, w, h in px)."""

    id: str
    image: str
    category: str
    count: str
    box: tuple[float, float, float, float] | None


@dataclass(frozen=True)
class Tables:
    """A file in this format.

    Attributes:
        file: the file. root: the folder to which the names of its images are relative.
        missing: how many of the images are not there.
        backslashes: how many names were written with backslashes.
        images: in the file's order, each once. categories: id to name.
        annotations: of each image's id; those of images that are not listed too.
        written: "category" and "location" to each spelling in the file, and how often.
        unused: list to keys of its records that are not read, and in how many records they are.
    """

    file: Path
    root: Path
    missing: int
    backslashes: int
    images: tuple[ImageRecord, ...]
    categories: dict[str, str]
    annotations: dict[str, list[Annotation]]
    written: dict[str, Counter[str]]
    unused: dict[str, Counter[str]]

    def one_name(self) -> dict[str, list[str]]:
        """Names shared by several categories (ignoring case), with their ids."""
        bearers: dict[str, list[str]] = defaultdict(list)
        for key, name in self.categories.items():
            bearers[name.casefold()].append(key)
        return {self.categories[ids[0]]: ids for ids in bearers.values() if len(ids) > 1}


def load(root: str | os.PathLike[str]) -> Tables:
    """The file below `root` (up to two folders), or beside the folder of images that `root` is, or `root` itself.

    Raises:
        DatasetError: there is none, there are several, it is damaged, or it says something impossible (all of it).
    """
    file, document = _find(Path(root))
    faults: list[str] = []
    images, backslashes = _images(document["images"], faults)
    categories = _categories(document["categories"], faults)
    annotations = _annotations(document["annotations"], categories, faults)
    faults.extend(_nearly_listed(images, annotations))
    if faults:
        raise DatasetError(
            "cannot be used:" + "".join(f"\n  {fault}" for fault in faults),
            where=file,
            remedy="correct the file; ids are what joins its lists",
        )
    place, missing = _place(Path(root), file, [image.path for image in images])
    written = {
        noun: Counter(
            text
            for record in document[name]
            if isinstance(record, dict) and (text := _spelling(record.get(key))).strip()
        )
        for noun, name, key in (("category", "categories", "name"), ("location", "images", "location"))
    }
    unused = {
        name: Counter(
            str(key)
            for record in document[name]
            if isinstance(record, dict)
            for key, value in record.items()
            if key not in _KEYS[name] and value not in (None, "")
        )
        for name in _LISTS
    }
    return Tables(file, place, missing, backslashes, tuple(images), categories, annotations, written, unused)


# Finding the file and the images


def _find(root: Path) -> tuple[Path, dict[str, Any]]:
    if root.is_file() and root.suffix.lower() == ".json":
        found, why = _document(root)
        if found is None:
            raise DatasetError(
                f"{why}; looked for {_LOOKED_FOR}", where=root, remedy="check the path given with --data"
            )
        return root, found
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "there is no such folder"
        raise DatasetError(
            f"{what}; looked for {_LOOKED_FOR}", where=root, remedy="check the path given with --data"
        )
    below = folders_below(root)
    hits: list[Path] = []
    others: list[str] = []
    kept: dict[str, Any] = {}
    deeper = [folder for start in below for folder in folders_below(start)]
    for place in (root, *below, *deeper):
        for file in _jsons(place):
            document, why = _document(file)
            if document is None:
                others.append(f"{file.relative_to(root).as_posix()} ({why})")
                continue
            hits.append(file)
            kept = kept or document
    if not hits:  # the image folder was given, and the file is next to it
        for file in _jsons(root.absolute().parent):
            document, _ = _document(file)
            if document is not None and any((root / name).is_file() for name in _sample(_names(document))):
                hits.append(file)
                kept = kept or document
    if len(hits) > 1:
        names = ", ".join(os.path.relpath(file, root).replace(os.sep, "/") for file in hits)
        raise DatasetError(
            f"looked for {_LOOKED_FOR}; found {len(hits)}: {names}",
            where=root,
            remedy="give the path of the file that you mean",
        )
    if not hits:
        seen = f" and the files {', '.join(others)}" if others else ""
        raise DatasetError(
            f"looked for {_LOOKED_FOR}, here and up to two folders below; found: {listed(root)}{seen}",
            where=root,
            remedy="give the folder that holds the .json file, or the file itself",
        )
    return hits[0], kept


def _jsons(folder: Path) -> list[Path]:
    try:
        return sorted(
            entry
            for entry in folder.iterdir()
            if entry.suffix.lower() == ".json" and not hidden(entry.name) and entry.is_file()
        )
    except OSError as error:
        raise DatasetError(
            f"the folder cannot be listed ({error.strerror})",
            where=folder,
            remedy="check the permissions of the folder",
        ) from error


def _document(file: Path) -> tuple[dict[str, Any] | None, str]:
    """The content of a file in this format; else None and why it is not one."""
    try:
        content = read_json(file, TableError)
    except TableError as error:
        return None, error.what
    if not isinstance(content, dict):
        return None, "not an object with lists"
    lacking = [name for name in _LISTS if not isinstance(content.get(name), list)]
    return (None, f"without the list {' and '.join(lacking)}") if lacking else (content, "")


def _names(document: dict[str, Any]) -> list[str]:
    return [str(each.get("file_name", "")) for each in document["images"] if isinstance(each, dict)]


def _sample(names: list[str]) -> list[str]:
    return [name.replace("\\", "/") for name in names[:: max(1, len(names) // _SAMPLE)] if name]


def _place(root: Path, file: Path, names: list[str]) -> tuple[Path, int]:
    """The folder to which most of the names are relative, and how many of the images are not there."""
    starts = dict.fromkeys([file.parent, *([root] if root.is_dir() else [])])
    below = [folder for start in starts for folder in folders_below(start)]
    deeper = [folder for start in below for folder in folders_below(start)]
    best, most = file.parent, 0
    for folder in dict.fromkeys([*starts, *below, *deeper]):
        there = sum((folder / name).is_file() for name in _sample(names))
        if there > most:
            best, most = folder, there
    if not most:
        return best, len(names)
    return best, sum(not (best / name).is_file() for name in names)


# Its three lists


def _images(records: list[Any], faults: list[str]) -> tuple[list[ImageRecord], int]:
    ids: dict[str, ImageRecord] = {}
    paths: dict[str, str] = {}
    wrong: dict[str, list[str]] = defaultdict(list)
    backslashes = 0
    for number, record in enumerate(records):
        key = _text(record.get("id")) if isinstance(record, dict) else ""
        name = record.get("file_name") if isinstance(record, dict) else None
        if not key or not isinstance(name, str) or not name.strip():
            wrong["without an id or a file_name"].append(f"number {number}")
            continue
        if _escaped(name) != name:
            wrong["with a file_name that is broken text"].append(f"{key} ({_escaped(name)})")
            continue
        frame = _whole(record.get("frame_num"))
        sizes = {"width": record.get("width"), "height": record.get("height"), "frame_num": frame}
        beyond = [field for field, value in sizes.items() if _beyond(value)]
        if beyond:
            wrong["with a number beyond 64 bits"].append(f"{key} ({', '.join(beyond)})")
            continue
        path = name.strip().replace("\\", "/").removeprefix("./")
        backslashes += "\\" in name
        if path.startswith("/") or ":" in path.partition("/")[0] or ".." in path.split("/"):
            wrong["with a file_name that is not below the folder"].append(f"{key} ({name})")
            continue
        image = ImageRecord(
            id=key,
            path=path,
            width=_number(record.get("width")),
            height=_number(record.get("height")),
            location=_text(record.get("location")),
            time=_text(record.get("datetime")) or _text(record.get("date_captured")),
            sequence=_text(record.get("seq_id")),
            number=frame,
        )
        if key in ids:
            if ids[key].path != path:
                wrong["whose id belongs to several files"].append(f"{key} ({ids[key].path}, {path})")
            elif ids[key] != image:
                wrong["listed twice with other values"].append(key)
            continue
        if path in paths:
            wrong["of one file under several ids"].append(f"{path} ({paths[path]}, {key})")
            continue
        ids[key], paths[path] = image, key
    faults.extend(_counted("image", wrong))
    return list(ids.values()), backslashes


def _categories(records: list[Any], faults: list[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    wrong: dict[str, list[str]] = defaultdict(list)
    for number, record in enumerate(records):
        key = _text(record.get("id")) if isinstance(record, dict) else ""
        name = _text(record.get("name")) if isinstance(record, dict) else ""
        if not key or not name:
            wrong["without an id or a name"].append(f"number {number}")
        elif names.get(key, name) != name:
            wrong["whose id belongs to several names"].append(f"{key} ({names[key]}, {name})")
        else:
            names[key] = name
    faults.extend(_counted("category", wrong))
    return names


def _annotations(
    records: list[Any], categories: dict[str, str], faults: list[str]
) -> dict[str, list[Annotation]]:
    of: dict[str, list[Annotation]] = defaultdict(list)
    wrong: dict[str, list[str]] = defaultdict(list)
    for number, record in enumerate(records):
        key = _text(record.get("image_id")) if isinstance(record, dict) else ""
        category = _text(record.get("category_id")) if isinstance(record, dict) else ""
        if not key or not category:
            wrong["without an image_id or a category_id"].append(f"number {number}")
        elif category not in categories:
            wrong["of a category that is not listed"].append(
                f"{_text(record.get('id')) or number} ({category})"
            )
        else:
            box = record.get("bbox")
            if isinstance(box, list) and any(_beyond(each) for each in box):
                wrong["with a number beyond 64 bits"].append(f"{_text(record.get('id')) or number} (bbox)")
                continue
            numbers = (
                [_number(each) for each in box] if isinstance(box, list | tuple) and len(box) == 4 else [None]
            )
            corner = tuple(each for each in numbers if each is not None)
            of[key].append(
                Annotation(
                    id=_text(record.get("id")),
                    image=key,
                    category=category,
                    count=_text(record.get("count")),
                    box=corner if len(corner) == 4 else None,
                )
            )
    faults.extend(_counted("annotation", wrong))
    return of


def _nearly_listed(images: list[ImageRecord], annotations: dict[str, list[Annotation]]) -> Iterator[str]:
    """A fault for images of annotations that are listed under an id that looks alike, since a program rewrote ids."""
    listed = {image.id for image in images}
    stray = [key for key in annotations if key not in listed]
    alike = {name_key(key): key for key in listed} if stray else {}
    near = [
        f"{key} ({alike[name_key(key)]})"
        for key in stray
        if look_alikes([key, alike.get(name_key(key), key)])
    ]
    if near:
        yield from _counted("image_id", {"not listed but for zeros, case or punctuation": near})


def _counted(noun: str, wrong: dict[str, list[str]]) -> Iterator[str]:
    for what, examples in wrong.items():
        one = noun if len(examples) == 1 else "categories" if noun == "category" else f"{noun}s"
        yield f"{len(examples)} {one} {what}: {short_list(examples, _SHOWN)}"


def _text(value: object) -> str:
    """An id, a name or a place as text, however it was written: 33, 33.0 and "33" are one; "" is unknown."""
    if value is None or isinstance(value, bool | list | dict):
        return ""
    if isinstance(value, float):
        if value != value:
            return ""
        return str(int(value)) if value.is_integer() else str(value)
    return clean_name(_escaped(str(value)))


def _spelling(value: object) -> str:
    """A name as written in the file."""
    return _escaped(value) if isinstance(value, str) else _text(value)


def _escaped(text: str) -> str:
    """Text that can be written to a file: half a character, which JSON lets through, as its code."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _beyond(value: object) -> bool:
    if isinstance(value, float) and math.isinf(value):
        return True  # what a whole number of hundreds of digits is read as
    return isinstance(value, int) and not -(2**63) <= value < 2**63


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(value: object) -> int | None:
    try:
        return int(_text(value))
    except ValueError:
        return None
