"""Tables of one's own: the one that is meant is found, its columns are read, and its rows become frames."""

from __future__ import annotations

import os
import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from graftwork.common.errors import DatasetError, TableError
from graftwork.common.layouts import hidden, listed
from graftwork.common.names import clean_name
from graftwork.common.tables import MISSING, TextTable, read_table
from graftwork.domains.camera_trap.camtrap_dp import frames_of, is_package
from graftwork.domains.camera_trap.columns import (
    COLUMNS,
    Columns,
    cells,
    example,
    guess,
    package_group,
    read_columns,
)
from graftwork.domains.camera_trap.labelling import Frame, bin_of, spelling_note, whole
from graftwork.domains.camera_trap.wildlife_insights import (
    export_frames,
    is_export,
    is_export_of_deployments,
)

__all__ = ["own_frames"]

_LOOKED_FOR = (
    f"{COLUMNS}, a Camtrap DP package (datapackage.json), or a table (.csv, .tsv, .txt, .xlsx, .parquet) with columns "
    "for path, label and location"
)
_TABLES = (
    ".csv",
    ".tsv",
    ".txt",
    ".xlsx",
    ".parquet",
    ".csv.gz",
    ".tsv.gz",
    ".csv.zip",
    ".csv.bz2",
    ".csv.xz",
)
_SHOWN = 20  # faults in a message


def own_frames(place: Path) -> tuple[list[Frame], list[str], Path]:
    """The frames of the set in a folder (or of a `columns.toml`), the notes, and the folder of the pictures.

    Raises:
        DatasetError: no table is found, or several. TableError: it cannot be used; all faults at once.
    """
    if place.is_file() and place.name == COLUMNS:
        return _described(place, elsewhere=True)
    if not place.is_dir():
        what = "is a file, not a folder" if place.exists() else "there is no such folder"
        raise DatasetError(
            f"{what}; looked for a folder with {_LOOKED_FOR}",
            where=place,
            remedy="give the folder of the set",
        )
    if (place / COLUMNS).is_file():
        group = package_group(place / COLUMNS) if is_package(place) else None
        if group is None:
            return _described(place / COLUMNS, elsewhere=False)
        return *frames_of(place, group), place
    if is_package(place):
        return *frames_of(place), place
    return _guessed(place)


def _described(file: Path, *, elsewhere: bool) -> tuple[list[Frame], list[str], Path]:
    """The set that a `columns.toml` describes.

    Args:
        elsewhere: whether its table may lie outside of its folder and of that of the pictures, since the file itself
            was named on the command line.
    """
    columns = read_columns(file)
    folders = [Path(os.path.normpath(folder.absolute())) for folder in (file.parent, columns.pictures)]
    named = Path(os.path.normpath(columns.table.absolute()))
    if not elsewhere and not any(named.is_relative_to(folder) for folder in folders):
        raise TableError(
            f"the table {columns.table} is outside of the data folder (expected a file in {file.parent}, or in "
            "the folder of the pictures)",
            where=file,
            remedy=f"put the table into the folder, or name the file itself on the command line: --data {file}",
        )
    if not columns.pictures.is_dir():
        raise DatasetError(
            f"there is no such folder; {COLUMNS} names it as that of the pictures",
            where=columns.pictures,
            remedy=f"correct `pictures` in {file}",
        )
    table = read_table(
        columns.table,
        separator=columns.separator,
        encoding=columns.encoding,
        sheet=columns.sheet,
        missing=(),
    )
    lacking = [f"{name!r} ({role})" for role, name in columns.roles().items() if name not in table.columns]
    if lacking:
        raise TableError(
            f"column {', '.join(lacking)} is missing; found: {', '.join(table.columns)}",
            where=table.file,
            remedy=f"correct {file}",
        )
    frames, notes = _frames(columns, table)
    return frames, notes, columns.pictures


def _guessed(place: Path) -> tuple[list[Frame], list[str], Path]:
    """The set of the one table in a folder that has columns of usual names."""
    found: list[tuple[Columns | None, TextTable]] = []
    others: list[str] = []
    deployments: list[TextTable] = []
    for file in sorted(place.iterdir()):
        if not file.name.lower().endswith(_TABLES) or hidden(file.name) or not file.is_file():
            continue
        try:
            table = read_table(file, missing=())
        except TableError as error:
            others.append(f"{file.name} ({' '.join(error.what.split())})")
            continue
        if is_export(table):
            found.append((None, table))
            continue
        if is_export_of_deployments(table):
            deployments.append(table)
        guessed, passed = guess(table, place)
        if guessed is None:
            why = f" ({'; '.join(passed)})" if passed else ""
            others.append(f"{file.name} with the columns {', '.join(table.columns)}{why}")
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
    columns, table = found[0]
    if columns is None:
        if len(deployments) > 1:
            raise DatasetError(
                f"found {len(deployments)} tables of deployments: {', '.join(each.file.name for each in deployments)}",
                where=place,
                remedy="keep the one of this export",
            )
        beside = {each.file.name for each in deployments}
        others = [each for each in others if each.partition(" with ")[0] not in beside]
        frames, notes = export_frames(table, deployments[0] if deployments else None, place)
    else:
        frames, notes = _frames(columns, table)
    if others:
        notes.append(f"other tables in the folder are not read: {'; '.join(others)}")
    return frames, notes, place


@dataclass
class _Row:
    """What the rows of one picture say."""

    lines: list[int] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    void: bool = False
    said: dict[str, str] = field(default_factory=dict)
    counts: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)


def _frames(columns: Columns, table: TextTable) -> tuple[list[Frame], list[str]]:
    roles = columns.roles()
    given = {role: cells(table, name) for role, name in roles.items()}
    empties = {clean_name(each).casefold() for each in columns.empty}
    weak = {clean_name(each) for each in columns.weak}
    faults: list[str] = []
    rows: dict[str, _Row] = defaultdict(_Row)
    written: dict[str, Counter[str]] = {"label": Counter(), "location": Counter()}
    backslashes = 0
    markers: Counter[str] = Counter()
    mark = columns.label_separator
    for number, line in enumerate(table.lines):
        said = {role: values[number] for role, values in given.items()}
        void = clean_name(said["label"]).casefold() in empties
        kept = {"path"} | ({"label"} if void else set())
        if clean_name(said.get("source", "")) in weak:
            kept.add("source")
        # a marker for what is missing is no name
        cell = {role: text if role in kept or text not in MISSING else "" for role, text in said.items()}
        markers.update(text for role, text in said.items() if text and text != cell[role])
        spoken = "/".join(filter(None, (cell.get("folder", "").rstrip("/\\"), cell["path"])))
        path, fault = _relative(spoken if cell["path"] else "", columns.pictures)
        backslashes += "\\" in spoken
        wrong = [fault] if fault else []
        wrong += [
            f"{role} is empty (found {said[role]!r}, expected a name)"
            for role in ("label", "group")
            if cell.get(role) == "" and not (role == "label" and void)
        ]
        count = bin_of(cell.get("count", ""))
        if not count and cell.get("count", "") not in ("", "0"):
            wrong.append(f"count is {cell['count']!r} (expected a whole number, 11-50 or 51+)")
        faults += [f"line {line}: {each}" for each in wrong]
        for role, noun in (("label", "label"), ("group", "location")):
            if cell.get(role) and not (role == "label" and void):
                written[noun].update(_labels(cell, mark) if role == "label" else [cell[role]])
        row = rows[path]
        if row.lines and columns.several and path:
            faults += [
                f"line {line}: {role} of {path} is {cell[role]!r}, and {row.said[role]!r} in line {row.lines[0]}"
                for role in ("group", "time", "sequence")
                if role in cell and clean_name(cell[role]) != clean_name(row.said[role])
            ]
        row.lines.append(line)
        row.said = row.said or cell
        row.void |= void
        row.counts.append("" if void else cell.get("count", "") or "?")
        row.sources.append(clean_name(cell.get("source", "")))
        row.labels += [] if void else [clean_name(label) for label in _labels(cell, mark)]
    if not columns.several:
        faults += [
            f"lines {', '.join(map(str, row.lines))}: one picture, {path} (labels "
            f"{', '.join(map(repr, row.labels or ['empty']))}; expected one row)"
            for path, row in rows.items()
            if path and len(row.lines) > 1
        ]
    if faults:
        raise _unusable(columns, table, rows, faults)
    frames = [_frame(path, row, weak) for path, row in rows.items()]
    return frames, list(_notes(columns, table, frames, rows, backslashes, markers, written))


def _labels(cell: dict[str, str], mark: str) -> list[str]:
    genus = f"{cell['genus']} " if cell.get("genus") else ""
    parts = cell["label"].split(mark) if mark else [cell["label"]]
    return [genus + part.strip() for part in parts if part.strip()]


def _frame(path: str, row: _Row, weak: set[str]) -> Frame:
    persons = [number for number, source in enumerate(row.sources) if source not in weak]
    several = 0 < len(persons) < len(row.sources) and len(row.labels) == len(row.sources)
    chosen = persons if several else range(len(row.sources))  # a person's rows go before a machine's
    labels = [row.labels[number] for number in chosen] if several else row.labels
    said = [row.counts[number] for number in chosen if row.counts[number]]
    counts = [whole(count) for count in said]
    known = [count for count in counts if count is not None]
    total = bin_of(sum(known)) if known and len(known) == len(counts) else ""
    return Frame(
        path=path,
        species=tuple(sorted(set(labels) - {""})),
        empty=row.void,
        location=clean_name(row.said.get("group", "")),
        time=row.said.get("time", ""),
        sequence=clean_name(row.said.get("sequence", "")),
        count=bin_of(said[0]) if len(said) == 1 else total,
        source=row.sources[next(iter(chosen))],
    )


def _unusable(columns: Columns, table: TextTable, rows: dict[str, _Row], faults: list[str]) -> TableError:
    """The error for a table with faults; its remedy is one that keeps the rows."""
    more = [f"and {len(faults) - _SHOWN:,} more"] if len(faults) > _SHOWN else []
    listing = "".join(f"\n  {fault}" for fault in faults[:_SHOWN] + more)
    twice = sum(len(row.lines) for path, row in rows.items() if path and len(row.lines) > 1)
    word = columns.empty[0] if columns.empty else "empty"
    if twice:
        remedy = (
            f"{twice:,} of {len(table.lines):,} rows share their path with another; if several rows of a picture are "
            f'several species in it, write several = "rows" in {COLUMNS}; if its name repeats in several folders, name '
            f"the column of the folder there (folder = ...); else keep one row a picture"
        )
    else:
        remedy = (
            "correct these lines or leave them out"
            if 3 * len(faults) < len(table.lines)
            else "correct these lines"
        )
        remedy += f"; a frame without an animal is labelled {word}, or as the list empty in {COLUMNS} says"
    return TableError(f"cannot be used:{listing}", where=table.file, remedy=remedy)


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
    columns: Columns,
    table: TextTable,
    frames: list[Frame],
    rows: dict[str, _Row],
    backslashes: int,
    markers: Counter[str],
    written: dict[str, Counter[str]],
) -> Iterator[str]:
    if columns.guessed:
        taken = ", ".join(f"{name} as {role}" for role, name in columns.roles().items())
        yield f"there is no {COLUMNS}; of {table.file.name} were taken {taken}"
    else:
        yield f"labels are those of {table.file.name}, as {COLUMNS} says"
    yield from table.notes
    if columns.folder:
        yield f"the path is {columns.folder} and {columns.path}, joined"
    if columns.genus:
        yield f"the label is {columns.genus} and {columns.label}, joined"
    unused = [name for name in table.columns if name and name not in columns.roles().values()]
    if unused:
        yield f"columns that are not used: {', '.join(unused)}"
    if backslashes:
        yield f"backslashes in {backslashes} paths were read as slashes"
    if markers:
        yield f"{markers.total()} cells that say {', '.join(sorted(markers))} were read as empty"
    twice = sum(len(row.lines) > 1 for row in rows.values())
    if twice:
        yield f"{twice} pictures have several rows: they show all species that these name, and the counts are added"
    for noun, counts in written.items():
        if note := spelling_note(counts, noun):
            yield note
    if columns.source:
        sources = Counter(frame.source or "nobody named" for frame in frames)
        weak = [source for source in map(clean_name, columns.weak) if sources[source]]
        for source in weak:
            yield (
                f"weak labels: {sources[source]} of {len(frames)} labels are {source!r} by the column "
                f"{columns.source}; scores against them measure agreement with their source"
            )
        if not weak:
            told = ", ".join(f"{source} {count}" for source, count in sources.most_common(6))
            yield f"labels by source ({columns.source}): {told}"
