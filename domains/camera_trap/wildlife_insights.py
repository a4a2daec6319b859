"""Exports of Wildlife Insights: `images.csv`, where `location` is the address of an image and `species` an epithet."""

from __future__ import annotations

import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from graftwork.common.errors import TableError
from graftwork.common.files.table_files import TextTable
from graftwork.common.names import clean_name
from graftwork.common.wording import fault_lines
from graftwork.domains.camera_trap.clocks import outside
from graftwork.domains.camera_trap.columns import cells
from graftwork.domains.camera_trap.labelling import Frame, bin_of, spelling_note, whole
from graftwork.domains.camera_trap.sequences import moment

_MARKS = ("deployment_id", "image_id", "filename", "location", "is_blank", "genus", "species", "common_name")
_USED = {*_MARKS, "identified_by", "timestamp", "number_of_objects", "family", "order", "class"}
_BLANK = {
    "1": True,
    "true": True,
    "yes": True,
    "1.0": True,
    "0.0": False,
    "0": False,
    "false": False,
    "no": False,
    "": False,
}
_NOTHING = ("blank", "no cv result", "unknown", "")
_MACHINE = "computer vision"
_SHOWN = 20


def is_export(table: TextTable) -> bool:
    """Whether a table is the images of an export."""
    return set(_MARKS) <= set(table.columns)


def is_export_of_deployments(table: TextTable) -> bool:
    """Whether a table is the deployments of an export."""
    return {"project_id", "deployment_id", "placename"} <= set(table.columns)


@dataclass(frozen=True)
class _Row:
    image: str
    deployment: str
    label: str
    blank: bool
    source: str
    count: str
    time: str


def export_frames(
    table: TextTable, deployments: TextTable | None, folder: Path
) -> tuple[list[Frame], list[str]]:
    """The frames of an export and notes.

    The group is the place (`placename`) if the export has a table of deployments, else the deployment. The
    label is genus and species, else the genus, the common name, or the lowest rank that is given; several rows of an
    image are several species.

    Raises:
        TableError: cells are missing or not known, or the rows of an image contradict each other; all of it.
    """
    faults: list[str] = []
    places, windows, said = _places(deployments, faults)
    names = (
        "image_id",
        "deployment_id",
        "is_blank",
        "genus",
        "species",
        "common_name",
        "filename",
        "location",
    )
    further = ("timestamp", "number_of_objects", "identified_by", "family", "order", "class")
    columns = [
        cells(table, name) if name in table.columns else [""] * len(table.lines)
        for name in (*names, *further)
    ]
    rows: dict[str, list[_Row]] = defaultdict(list)
    files: dict[str, tuple[str, str]] = {}
    written: Counter[str] = Counter()
    ranks: Counter[str] = Counter()
    for line, values in zip(table.lines, zip(*columns, strict=True), strict=True):
        image, deployment, blank, genus, species, common, file, address, time, number, by, *higher = values
        image, deployment = clean_name(image), clean_name(deployment)
        empty = [name for name, value in zip(names, (image, deployment), strict=False) if not value]
        faults += [f"line {line}: {name} is empty (expected an id)" for name in empty]
        if blank.casefold() not in _BLANK:
            faults.append(f"line {line}: is_blank is {blank!r} (expected 0 or 1)")
        if number and whole(number) is None:
            faults.append(f"line {line}: number_of_objects is {number!r} (expected a whole number)")
        if places and deployment and deployment not in places:
            faults.append(
                f"line {line}: deployment_id {deployment!r} is not listed in {deployments and deployments.file.name}"
            )
        void = _BLANK.get(blank.casefold(), False) or common.casefold() == "blank"
        genus, species, common, *higher = (
            "" if each.casefold() in _NOTHING else each for each in (genus, species, common, *higher)
        )
        # labelled both blank and with a species: unknown
        label, rank = ("", "") if void and not genus else _label(genus, species, common, higher)
        if label:
            written[label] += 1
            ranks[rank] += 1
        machine = clean_name(by).casefold() == _MACHINE
        told = _Row(
            image,
            deployment,
            clean_name(label),
            void,
            "machine" if machine else "human" if by else "",
            number,
            time,
        )
        if rows[image]:
            first = rows[image][0]
            for name, a, b in (
                ("deployment_id", first.deployment, deployment),
                ("timestamp", first.time, time),
            ):
                if a != b:
                    faults.append(f"line {line}: {name} of image {image} is {b!r}, and {a!r} in another row")
        rows[image].append(told)
        files[image] = (file, address)
    if faults:
        raise TableError(
            f"cannot be used:{fault_lines(faults, _SHOWN)}",
            where=table.file,
            remedy="correct these rows, or export the project again",
        )
    paths, how = _paths(rows, files, folder)
    frames = [_frame(each, paths[image], places, windows) for image, each in rows.items()]
    notes = [
        f"{table.file.name} is read as an export of Wildlife Insights: {how}; the label is genus and species",
        *said,
    ]
    notes += _notes(table, frames, rows, ranks, written)
    return frames, notes


def _label(genus: str, species: str, common: str, higher: Sequence[str]) -> tuple[str, str]:
    """The name of what was seen, and by which column."""
    if genus and species:
        return f"{genus} {species}", "genus and species"
    if genus:
        return genus, "genus"
    if common:
        return common, "common_name"
    rank = next((value for value in higher if value), "")
    return rank, "family, order or class" if rank else ""


def _places(
    table: TextTable | None, faults: list[str]
) -> tuple[dict[str, str], dict[str, tuple[datetime | None, datetime | None]], list[str]]:
    """The place and the time of each deployment, where the export has its deployments."""
    if table is None:
        return (
            {},
            {},
            ["the location is deployment_id: there is no table of deployments with their locations"],
        )
    keys = [clean_name(each) for each in cells(table, "deployment_id")]
    names = [clean_name(each) for each in cells(table, "placename")]
    places: dict[str, str] = {}
    for line, key, name in zip(table.lines, keys, names, strict=True):
        if places.setdefault(key, name) != name:
            faults.append(
                f"{table.file.name}, line {line}: placename of deployment_id {key!r} is {name!r}, and {places[key]!r} "
                "above"
            )
    if not all(names):
        lacking = sum(not name for name in names)
        said = f"the location is deployment_id: {lacking} of {len(names)} deployments have no placename"
        places = dict(zip(keys, keys, strict=True))
    else:
        said = f"the location is the placename of the deployment, of {table.file.name}"
    begins, ends = (
        cells(table, name) if name in table.columns else [""] * len(keys)
        for name in ("start_date", "end_date")
    )
    windows = {key: (moment(a), moment(b)) for key, a, b in zip(keys, begins, ends, strict=True)}
    return places, windows, [said]


def _paths(
    rows: dict[str, list[_Row]], files: dict[str, tuple[str, str]], folder: Path
) -> tuple[dict[str, str], str]:
    """The path of each image, of the ways to build it the one by which most images are there."""
    ways: dict[str, dict[str, str]] = {}
    for image, (file, address) in files.items():
        file, last = file.replace("\\", "/"), posixpath.basename(address.replace("\\", "/"))
        deployment = rows[image][0].deployment
        for way, path in (
            ("filename", file),
            ("deployment_id and filename", f"{deployment}/{file}"),
            ("the name in location", last),
            ("deployment_id and the name in location", f"{deployment}/{last}"),
        ):
            ways.setdefault(way, {})[image] = path
    unique = {
        way: paths
        for way, paths in ways.items()
        if len(set(paths.values())) == len(paths) and all(paths.values())
    }
    if not unique:
        raise TableError(
            "images are ambiguous by filename, deployment_id and location (expected one file per image)",
            where=folder,
            remedy="write a columns.toml with a column for the path",
        )
    best = max(unique, key=lambda way: sum((folder / path).is_file() for path in unique[way].values()))
    outside = [path for path in unique[best].values() if path.startswith("/") or ".." in path.split("/")]
    if outside:
        raise TableError(
            f"{len(outside)} names of files lead out of the folder, such as {outside[0]!r} (expected names in it)",
            where=folder,
            remedy="correct filename",
        )
    return unique[best], f"the path is {best}"


def _frame(
    rows: Sequence[_Row],
    path: str,
    places: dict[str, str],
    windows: dict[str, tuple[datetime | None, datetime | None]],
) -> Frame:
    first = rows[0]
    persons = [row for row in rows if row.source != "machine"]
    told = persons or list(rows)
    counts = [whole(row.count) for row in told if row.label]
    known = [count for count in counts if count is not None]
    time = moment(first.time)
    begin, end = windows.get(first.deployment, (None, None))
    away = time is not None and outside(time, begin, end)
    return Frame(
        path=path,
        species=tuple(sorted({row.label for row in told} - {""})),
        empty=any(row.blank for row in told),
        location=places.get(first.deployment, first.deployment),
        time=first.time,
        count=bin_of(sum(known)) if known and len(known) == len(counts) else "",
        source=told[0].source,
        doubt="outside of the start and end of their deployment" if away else "",
    )


def _notes(
    table: TextTable,
    frames: Sequence[Frame],
    rows: dict[str, list[_Row]],
    ranks: Counter[str],
    written: Counter[str],
) -> Iterator[str]:
    others = {rank: count for rank, count in ranks.items() if rank != "genus and species"}
    if others:
        yield "labels without a species are named by " + ", ".join(
            f"{rank} ({count})" for rank, count in others.items()
        )
    weak = sum(frame.source == "machine" for frame in frames)
    if weak:
        yield (
            f"weak labels: {weak} of {len(frames)} labels are 'machine' by the column identified_by; scores against "
            "them measure agreement with their source"
        )
    several = sum(len(each) > 1 for each in rows.values())
    if several:
        yield f"{several} images have several rows: they show what all of these say, a person's before a machine's"
    if note := spelling_note(written, "label"):
        yield note
    unused = [name for name in table.columns if name not in _USED and any(cells(table, name))]
    if unused:
        yield f"columns that are not used: {', '.join(unused)}"
