"""Anybody's own camera-trap photographs: a table with a column map, or a Camtrap DP package.

A file `columns.toml` beside the table says which column is the path, the label and the location. Without one the usual
names are looked for, and the notes say what was taken for what. See the data card.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from graftwork.common.domain import Dataset
from graftwork.common.errors import DatasetError, TableError
from graftwork.common.layouts import hidden, listed
from graftwork.common.manifest import Manifest, Target
from graftwork.common.synthetic import NOTE, is_synthetic
from graftwork.domains.camera_trap.camtrap_dp import PACKAGE, frames_of, is_package
from graftwork.domains.camera_trap.columns import (
    COLUMNS,
    MISSING,
    Columns,
    Table,
    example,
    guess,
    read_columns,
    read_table,
)
from graftwork.domains.camera_trap.labelling import Frame, bin_of, manifest_of, spellings

if TYPE_CHECKING:
    from graftwork.common.checks.findings import Finding

__all__ = ["DATASET", "findings", "read", "synthesize"]

DATASET = Dataset(
    name="camera_trap/own",
    title="Camera-trap photographs of one's own, with a table or as Camtrap DP",
    group="location",
    target=Target("species", "multi-class", ()),
    protocol="species",
    licence="one's own",
    citation=(
        "One's own. The counts of the card are of small-mammal camera tunnels: Boehner H, Kleiven EF, Ims RA, "
        "Soininen EM. A semi-automatic workflow to process images from small mammal camera traps. Ecological "
        "Informatics 76:102150, 2023. doi:10.1016/j.ecoinf.2023.102150"
    ),
    further=("species-events", "empty", "empty-events", "count", "count-events"),
)
_LOOKED_FOR = (
    f"{COLUMNS}, a Camtrap DP package (datapackage.json), or a table (.csv, .tsv, .txt) with columns for path, label "
    "and location"
)
_TABLES = (".csv", ".tsv", ".txt")
_SHOWN = 20  # faults in a message


def read(root: str | os.PathLike[str]) -> Manifest:
    """The manifest of the set in `root`: the table and file names alone, no pixel is read.

    Args:
        root: a folder with a `columns.toml`; or a Camtrap DP package; or a folder with one table whose columns have
            usual names. Pictures may be missing, even all (a note says so).

    Returns:
        group: what the column of the location says; unit `event`: the sequence, else built from gaps in time. Targets
        `species`, `empty`, `count` as `manifest_of` says. Covariates `event`, `datetime`, `frame_number`,
        `species_set` and, where a column tells who labelled, `label_source`.

    Raises:
        DatasetError: no table is found. TableError: the table cannot be used; all faults at once.
    """
    place = Path(root)
    frames, notes, pictures, _ = _read(place)
    if is_synthetic(place, pictures):
        notes.insert(0, NOTE)
    missing = sum(not (pictures / frame.path).is_file() for frame in frames)
    if missing == len(frames):
        notes.append("no picture of the table is there: the table alone was read")
    elif missing:
        notes.append(f"{missing} of the {len(frames)} pictures of the table are not there")
    return manifest_of(frames, pictures, DATASET, notes)


def findings(root: str | os.PathLike[str]) -> Iterator[Finding]:
    """What only somebody's own table can have wrong with it: locations that are written in several ways.

    Raises:
        DatasetError, TableError: as `read`.
    """
    frames, _, _, file = _read(Path(root))
    yield from spellings((frame.location for frame in frames), file.name)


def _read(place: Path) -> tuple[list[Frame], list[str], Path, Path]:
    """The frames, the notes, the folder of the pictures, and the file that says it."""
    if not place.is_dir():
        what = "is a file, not a folder" if place.exists() else "there is no such folder"
        raise DatasetError(f"{what}; looked for a folder with {_LOOKED_FOR}", where=place)
    if not (place / COLUMNS).is_file() and is_package(place):
        return *frames_of(place), place, place / PACKAGE
    columns, table = _table(place)
    return *_frames(columns, table), columns.pictures, table.file


def _table(place: Path) -> tuple[Columns, Table]:
    """The table and its columns, as `columns.toml` says or as usual names tell."""
    if (place / COLUMNS).is_file():
        columns = read_columns(place / COLUMNS)
        if not columns.pictures.is_dir():
            raise DatasetError(
                f"there is no such folder; {COLUMNS} names it as that of the pictures", where=columns.pictures
            )
        table = read_table(columns.table, columns.separator)
        lacking = [f"{name!r} ({role})" for role, name in columns.roles().items() if name not in table.header]
        if lacking:
            raise TableError(
                f"column {', '.join(lacking)} is missing; found: {', '.join(table.header)}",
                where=table.file,
                remedy=f"correct {place / COLUMNS}",
            )
        return columns, table
    found: list[tuple[Columns, Table]] = []
    others: list[str] = []
    for file in sorted(place.iterdir()):
        if file.suffix.lower() not in _TABLES or hidden(file.name) or not file.is_file():
            continue
        try:
            table = read_table(file)
        except TableError as error:
            others.append(f"{file.name} ({error.what.splitlines()[0]})")
            continue
        guessed = guess(table, place)
        if guessed is None:
            others.append(f"{file.name} with the columns {', '.join(table.header)}")
        else:
            found.append((guessed, table))
    if len(found) > 1:
        raise DatasetError(
            f"looked for one table; found {len(found)}: {', '.join(table.file.name for _, table in found)}",
            where=place,
            remedy=f"say in a file {COLUMNS} which one is meant:\n{example()}",
        )
    if not found:
        seen = f"; of tables: {'; '.join(others)}" if others else ""
        raise DatasetError(
            f"looked for {_LOOKED_FOR}; found: {listed(place)}{seen}",
            where=place,
            remedy=f"write a file {COLUMNS} there, with the names of your columns:\n{example()}",
        )
    return found[0]


def _frames(columns: Columns, table: Table) -> tuple[list[Frame], list[str]]:
    at = {role: table.header.index(name) for role, name in columns.roles().items()}
    empties = {each.casefold() for each in columns.empty}
    faults: list[str] = []
    lines: dict[str, list[int]] = defaultdict(list)
    frames: list[Frame] = []
    backslashes = 0
    markers: Counter[str] = Counter()
    for row, line in zip(table.rows, table.lines, strict=True):
        said = {role: row[index] for role, index in at.items()}
        void = said["label"].casefold() in empties
        kept = {"path"} | ({"label"} if void else set())
        if said.get("source") in columns.weak:
            kept.add("source")
        # a marker for what is missing is no name
        cell = {role: text if role in kept or text not in MISSING else "" for role, text in said.items()}
        markers.update(text for role, text in said.items() if text != cell[role])
        path, fault = _relative(cell["path"], columns.pictures)
        backslashes += "\\" in cell["path"]
        wrong = [fault] if fault else []
        wrong += [
            f"{role} is empty" + (f" (it says {said[role]!r})" if said[role] else "")
            for role in ("label", "group")
            if cell.get(role) == "" and not (role == "label" and void)
        ]
        count = bin_of(cell.get("count", ""))
        if not count and cell.get("count", "") not in ("", "0"):
            wrong.append(f"count {cell['count']!r} is neither a whole number nor 11-50 nor 51+")
        faults += [f"line {line}: {each}" for each in wrong]
        lines[path].append(line)
        frames.append(
            Frame(
                path=path,
                species=() if void or not cell["label"] else (cell["label"],),
                empty=void,
                location=cell.get("group", ""),
                time=cell.get("time", ""),
                sequence=cell.get("sequence", ""),
                count=count,
                source=cell.get("source", ""),
            )
        )
    for path, places in lines.items():
        if path and len(places) > 1:
            faults.append(f"lines {', '.join(map(str, places))}: one picture, {path}")
    if faults:
        more = [f"and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else []
        listing = "".join(f"\n  {fault}" for fault in faults[:_SHOWN] + more)
        word = columns.empty[0] if columns.empty else "empty"
        raise TableError(
            f"cannot be used:{listing}",
            where=table.file,
            remedy=(
                f"correct these lines or leave them out; a frame without an animal is labelled {word}, or as the list "
                f"empty in {COLUMNS} says"
            ),
        )
    return frames, list(_notes(columns, table, frames, backslashes, markers))


def _relative(said: str, pictures: Path) -> tuple[str, str]:
    """A path relative to the folder of the pictures, and what is wrong with it ("" nothing)."""
    text = said.replace("\\", "/")
    if not text:
        return "", "path is empty"
    if "://" in text:
        return text, f"{said} is an address, not a file"
    if text.startswith("/"):
        below = os.path.relpath(text, pictures.absolute()).replace(os.sep, "/")
        if below.startswith("../"):
            return text, f"{said} is not below {pictures}; name the folder in {COLUMNS} (pictures)"
        return below, ""
    if re.match(r"[A-Za-z]:", text):
        return text, f"{said} is a path of another machine; write it relative to the pictures"
    plain = posixpath.normpath(text)
    if plain == ".." or plain.startswith("../"):
        return plain, f"{said} leads out of {pictures}"
    return plain, ""


def _notes(
    columns: Columns, table: Table, frames: list[Frame], backslashes: int, markers: Counter[str]
) -> Iterator[str]:
    if columns.guessed:
        taken = ", ".join(f"{name} as {role}" for role, name in columns.roles().items())
        yield f"there is no {COLUMNS}; of {table.file.name} were taken {taken}"
    else:
        yield f"labels are those of {table.file.name}, as {COLUMNS} says"
    if backslashes:
        yield f"backslashes in {backslashes} paths were read as slashes"
    if markers:
        yield f"{markers.total()} cells that say {', '.join(sorted(markers))} were read as empty"
    spelt: dict[str, set[str]] = defaultdict(set)
    for frame in frames:
        for name in frame.species:
            spelt[name.casefold()].add(name)
    alike = [", ".join(sorted(names)) for names in spelt.values() if len(names) > 1]
    if alike:
        yield f"labels that differ in capitals alone are taken as different classes: {'; '.join(alike)}"
    if columns.source:
        sources = Counter(frame.source or "nobody named" for frame in frames)
        weak = [source for source in columns.weak if sources[source]]
        for source in weak:
            yield (
                f"weak labels: {sources[source]} of {len(frames)} labels are {source!r} by the column "
                f"{columns.source}; scores against them measure agreement with their source"
            )
        if not weak:
            told = ", ".join(f"{source} {count}" for source, count in sources.most_common(6))
            yield f"labels by source ({columns.source}): {told}"


def synthesize(folder: str | os.PathLike[str], *, cases: int = 60, seed: int = 0) -> None:
    """Write a small made-up set with a table and a `columns.toml`; it shows nothing real.

    Drawn frames of fifteen or more locations, by day and by night: four animals that differ in shape, empty frames,
    bursts, up to three animals at once. The table is as a spreadsheet writes it: a byte order mark, semicolons,
    backslashes in the paths; no sequence ids, so that events are built from the times; a third of the labels are
    called a model's. What is written depends on `cases` and `seed` alone.

    Args:
        folder: where to; must be new, empty, or hold the same made-up set already.
        cases: how many pictures, at least 24.
        seed: another seed, other places and animals.

    Raises:
        DatasetError: too few cases, or a folder that holds something else.
    """
    from graftwork.common.synthetic import begin
    from graftwork.domains.camera_trap.drawings import LEAST, draw, plan

    root = begin(folder, cases=cases, seed=seed, least=LEAST)
    rows = ["File;Station;Taken;Species;Animals;Labelled by"]
    for serial, planned in enumerate(plan(DATASET.name, cases, seed)):
        # a table has one label a picture, so there is one species in it
        shot = replace(planned, animals=tuple(each for each in planned.animals if each == planned.animals[0]))
        picture, _ = draw(DATASET.name, seed, shot)
        file = root / "pictures" / f"station {shot.location}" / f"IMG_{serial:04d}.JPG"
        file.parent.mkdir(parents=True, exist_ok=True)
        picture.save(file, format="JPEG", quality=88)
        label = shot.animals[0] if shot.animals else "nothing"
        source = "model" if serial % 3 == 0 else "person"
        count = str(len(shot.animals)) if shot.animals else ""
        name = f"station {shot.location}\\{file.name}"
        rows.append(f"{name};{shot.location};{shot.time:%Y-%m-%d %H:%M:%S};{label};{count};{source}")
    (root / "labels.csv").write_bytes(("\ufeff" + "\r\n".join(rows) + "\r\n").encode())
    said = (
        '# SYNTHETIC\ntable = "labels.csv"\npictures = "pictures"\npath = "File"\nlabel = "Species"\n'
        'group = "Station"\ntime = "Taken"\ncount = "Animals"\nsource = "Labelled by"\nweak = ["model"]\n'
        'empty = ["nothing"]\n'
    )
    (root / COLUMNS).write_text(said, encoding="utf-8")
