"""Custom tables of camera-trap images: find the table, read its columns, turn rows into frames."""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from graftwork.common.data.file_layouts import hidden, listed
from graftwork.common.data.manifest import PARTS
from graftwork.common.errors import DatasetError, TableError
from graftwork.common.files.table_files import MISSING, TextTable, read_table
from graftwork.common.names import clean_name
from graftwork.common.wording import fault_lines
from graftwork.domains.camera_trap.camtrap_dp import frames_of, is_package
from graftwork.domains.camera_trap.coco_tables import EMPTIES
from graftwork.domains.camera_trap.columns import (
    COLUMNS,
    Columns,
    cells,
    example,
    guess,
    package_group,
    read_columns,
    usual_part,
)
from graftwork.domains.camera_trap.labelling import Frame, bin_of, spelling_note, whole
from graftwork.domains.camera_trap.wildlife_insights import (
    export_frames,
    is_export,
    is_export_of_deployments,
)

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
_TWO_WAYS = re.compile(r"\d{1,2}[./-]\d{1,2}[./-](?:\d{4}|\d{2})\b")  # 05/08/2024
_LISTED = re.compile(r"[,;|+&]")  # between names in one cell


def own_frames(place: Path) -> tuple[list[Frame], list[str], Path]:
    """The frames of the set in a folder (or of a `columns.toml`), the notes, and the folder of the images.

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
        elsewhere: whether its table may lie outside of its folder and of that of the images, since the file itself
            was named on the command line.
    """
    columns = read_columns(file)
    folders = [Path(os.path.normpath(folder.absolute())) for folder in (file.parent, columns.images)]
    named = Path(os.path.normpath(columns.table.absolute()))
    if not elsewhere and not any(named.is_relative_to(folder) for folder in folders):
        raise TableError(
            f"the table {columns.table} is outside of the data folder (expected a file in {file.parent}, or in "
            "the folder of the images)",
            where=file,
            remedy=f"put the table into the folder, or name the file itself on the command line: --data {file}",
        )
    if not columns.images.is_dir():
        raise DatasetError(
            f"there is no such folder; {COLUMNS} names it as that of the images",
            where=columns.images,
            remedy=f"correct `images` in {file}",
        )
    table = read_table(
        columns.table,
        separator=columns.separator,
        encoding=columns.encoding,
        sheet=columns.sheet,
        missing=(),
    )
    notes: list[str] = []
    if columns.part is None:
        columns, notes = _usual_part(columns, table)
    lacking = [f"{name!r} ({role})" for role, name in columns.roles().items() if name not in table.columns]
    if lacking:
        raise TableError(
            f"column {', '.join(lacking)} is missing; found: {', '.join(table.columns)}",
            where=table.file,
            remedy=f"correct {file}",
        )
    frames, more = _frames(columns, table)
    return frames, more + notes, columns.images


def _usual_part(columns: Columns, table: TextTable) -> tuple[Columns, list[str]]:
    """The columns with the one that says the part by its usual name, where nobody named one and all its values are
    known; else a note on why it is not read."""
    from graftwork.common.evaluation.tables.columns.part_columns import part_name

    name = usual_part(table)
    if not name or name in columns.roles().values():
        return replace(columns, part=""), []
    odd = sorted(
        {each for each in map(clean_name, cells(table, name)) if each and part_name(each) not in PARTS}
    )
    if not odd:
        return replace(columns, part=name), []
    shown = ", ".join(odd[:5])
    said = f"the column {name} is not read as the publisher's part: its values are no parts ({shown})"
    return replace(columns, part=""), [f"{said}; say in parts what they mean"]


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
    """What the rows of one image say."""

    lines: list[int] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    void: bool = False
    part: str = ""
    said: dict[str, str] = field(default_factory=dict)
    counts: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)


def _frames(columns: Columns, table: TextTable) -> tuple[list[Frame], list[str]]:
    roles = columns.roles()
    given = {role: cells(table, name) for role, name in roles.items()}
    empties = {clean_name(each).casefold() for each in columns.empty}
    weak = {clean_name(each).casefold() for each in columns.weak}
    parts, unread = _parts(columns, given.get("part", []))
    given["time"] = _times(columns, table, given)
    faults: list[str] = []
    rows: dict[str, _Row] = defaultdict(_Row)
    written: dict[str, Counter[str]] = {"label": Counter(), "location": Counter()}
    backslashes = 0
    markers: Counter[str] = Counter()
    none = 0
    mark = columns.label_separator
    for number, line in enumerate(table.lines):
        said = {role: values[number] for role, values in given.items()}
        void = clean_name(said["label"]).casefold() in empties
        kept = {"path"} | ({"label"} if void else set())
        if clean_name(said.get("source", "")).casefold() in weak:
            kept.add("source")
        # a marker for what is missing is no name
        cell = {role: text if role in kept or text not in MISSING else "" for role, text in said.items()}
        markers.update(text for role, text in said.items() if text and text != cell[role])
        spoken = "/".join(filter(None, (cell.get("folder", "").rstrip("/\\"), cell["path"])))
        path, fault = _relative(spoken if cell["path"] else "", columns.images)
        backslashes += "\\" in spoken
        wrong = [fault] if fault else []
        named = _labels(cell, mark)
        labels = [each for each in named if clean_name(each).casefold() not in empties]
        void |= len(labels) < len(named)
        wrong += [
            f"{role} is empty (found {said[role]!r}, expected a name)"
            for role in ("label", "group")
            if cell.get(role) == "" and not (role == "label" and (void or named))
        ]
        count = bin_of(cell.get("count", ""))
        nothing = whole(cell.get("count", "")) == 0
        none += nothing and bool(labels)
        if not count and not nothing and cell.get("count", ""):
            wrong.append(f"count is {cell['count']!r} (expected a whole number, 11-50 or 51+)")
        faults += [f"line {line}: {each}" for each in wrong]
        for role, noun in (("label", "label"), ("group", "location")):
            if role == "label" or cell.get(role):
                written[noun].update(labels if role == "label" else [cell[role]])
        row = rows[path]
        if row.lines and columns.several and path:
            faults += [
                f"line {line}: {role} of {path} is {cell[role]!r}, and {row.said[role]!r} in line {row.lines[0]}"
                for role in ("group", "time", "sequence", "part")
                if role in cell and clean_name(cell[role]) != clean_name(row.said[role])
            ]
        row.lines.append(line)
        row.said = row.said or cell
        row.void |= void
        row.part = row.part or parts.get(clean_name(cell.get("part", "")), "")
        row.counts.append("" if void else cell.get("count", "") or "?")
        row.sources.append(clean_name(cell.get("source", "")))
        row.labels += [clean_name(label) for label in labels]
    if not columns.several:
        faults += [
            f"lines {', '.join(map(str, row.lines))}: one image, {path} (labels "
            f"{', '.join(map(repr, row.labels or ['empty']))}; expected one row)"
            for path, row in rows.items()
            if path and len(row.lines) > 1
        ]
    if faults:
        raise _unusable(columns, table, rows, faults)
    _refuse_lists(table, written["label"])
    frames = [_frame(path, row, weak) for path, row in rows.items()]
    notes = list(_notes(columns, table, frames, rows, backslashes, markers, written))
    notes += [_part_note(columns, parts)] if parts else []
    notes += unread
    if none:
        notes.append(f"{none} rows name an animal and count 0: how many there are is taken as unknown")
    return frames, notes


def _parts(columns: Columns, values: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The part (train, validation or test) that each value of the column of parts means.

    Raises:
        TableError: values are neither usual names of parts nor said in `parts`.
    """
    from graftwork.common.evaluation.tables.columns.part_columns import part_name

    said = Counter(name for value in values if (name := clean_name(value)) and value not in MISSING)
    known = {name: columns.parts.get(name) or part_name(name) for name in said}
    odd = [f"{name} ({said[name]:,})" for name, part in known.items() if part not in PARTS]
    if odd:
        raise TableError(
            f"the column {columns.part} does not say the publisher's part (found {', '.join(odd[:_SHOWN])}, expected "
            f"{', '.join(PARTS)})",
            where=columns.table,
            remedy=f'say in {COLUMNS} what its values are, part = "{columns.part}" and parts = {{{_quoted(odd[0])} = '
            f'"train"}}, or write one without part: the column is not read then\n{example()}',
        )
    absent = [name for name in columns.parts if name not in said]
    return known, [f"parts names {', '.join(absent)}, which {columns.part} never says"] if absent else []


def _quoted(counted: str) -> str:
    return json.dumps(counted.rpartition(" (")[0], ensure_ascii=False)


def _part_note(columns: Columns, parts: dict[str, str]) -> str:
    renamed = [f"{name} as {part}" for name, part in parts.items() if name != part]
    how = f" ({', '.join(renamed)})" if renamed else ""
    return f'the publisher\'s part is the column {columns.part}{how}; split.by = "publisher" keeps it'


def _times(columns: Columns, table: TextTable, given: Mapping[str, Sequence[str]]) -> list[str]:
    """The time of each row as text with the year first, from the columns of day and time and their stated format.

    Raises:
        TableError: times do not have the stated format, or could be read in two ways and no format is stated.
    """
    found = list(given.get("time", [""] * len(table.lines)))
    if columns.date:
        found = [
            next(
                (cell for cell in (day, clock) if cell in MISSING), f"{day.removesuffix(' 00:00:00')} {clock}"
            )
            for day, clock in zip(given["date"], found, strict=True)
        ]
    wrong: list[str] = []
    for number, (line, text) in enumerate(zip(table.lines, found, strict=True)):
        if text in MISSING:
            continue
        if not columns.time_format:
            wrong += [f"{text!r} (line {line})"] if _TWO_WAYS.match(text) else []
            continue
        try:
            found[number] = datetime.strptime(text, columns.time_format).isoformat(sep=" ")
        except ValueError:
            wrong.append(f"{text!r} (line {line})")
    if wrong:
        what = (
            f"do not have the stated format {columns.time_format}"
            if columns.time_format
            else "may have the day or the month first"
        )
        where = " and ".join(filter(None, (columns.date, columns.time)))
        raise TableError(
            f"{len(wrong):,} times of {where} {what} (found {', '.join(wrong[:5])}, expected "
            f"{columns.time_format or 'the year first'})",
            where=table.file,
            remedy=f'state how they are written in {COLUMNS}: time_format = "%d/%m/%Y %H:%M:%S" where the day is first'
            + (f"\n{example(columns.path, columns.label, columns.group, table.file.name)}" * columns.guessed),
        )
    return found


def _refuse_lists(table: TextTable, written: Mapping[str, int]) -> None:
    """Refuse labels that list other labels of the table with another separator than the stated one."""
    known = {clean_name(text) for text in written}
    lists = {
        text: count
        for text, count in written.items()
        if len(parts := [clean_name(part) for part in _LISTED.split(text)]) > 1 and known.issuperset(parts)
    }
    if lists:
        shown = ", ".join(f"{text!r} ({count:,})" for text, count in list(lists.items())[:_SHOWN])
        mark = _LISTED.findall(next(iter(lists)))[0]
        raise TableError(
            f"labels list several labels of the table: {shown} (expected one name each)",
            where=table.file,
            remedy=f'name what separates them in {COLUMNS}: label_separator = "{mark}", '
            "and use the same one in all cells",
        )


def _labels(cell: dict[str, str], mark: str) -> list[str]:
    genus = f"{cell['genus']} " if cell.get("genus") else ""
    parts = cell["label"].split(mark) if mark else [cell["label"]]
    # an animal of which the genus alone is known
    return [genus + part.strip() for part in parts if part.strip()] or ([genus.strip()] if genus else [])


def _frame(path: str, row: _Row, weak: set[str]) -> Frame:
    persons = [number for number, source in enumerate(row.sources) if source.casefold() not in weak]
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
        part=row.part,
    )


def _unusable(columns: Columns, table: TextTable, rows: dict[str, _Row], faults: list[str]) -> TableError:
    """The error for a table with faults; its remedy is one that keeps the rows."""
    listing = fault_lines(faults, _SHOWN)
    twice = sum(len(row.lines) for path, row in rows.items() if path and len(row.lines) > 1)
    word = columns.empty[0] if columns.empty else "empty"
    if columns.several:
        remedy = "correct these lines: rows of one image have the same place, time, sequence and part"
    elif twice:
        remedy = (
            f"{twice:,} of {len(table.lines):,} rows share their path with another; if several rows of an image are "
            f'several species in it, write several = "rows" in {COLUMNS}; if its name repeats in several folders, name '
            f"the column of the folder there (folder = ...); else keep one row an image"
        )
    else:
        remedy = (
            "correct these lines or leave them out"
            if 3 * len(faults) < len(table.lines)
            else "correct these lines"
        )
        remedy += f"; a frame without an animal is labelled {word}, or as the list empty in {COLUMNS} says"
    return TableError(f"cannot be used:{listing}", where=table.file, remedy=remedy)


def _relative(said: str, images: Path) -> tuple[str, str]:
    """A path relative to the folder of the images, and what is wrong with it ("" nothing)."""
    text = said.replace("\\", "/")
    if not text:
        return "", "path is empty"
    if "://" in text:
        return text, f"{said} is an address, not a file"
    if text.startswith("/"):
        below = os.path.relpath(text, images.absolute()).replace(os.sep, "/")
        if below.startswith("../"):
            return text, f"{said} is not below {images}; name the folder in {COLUMNS} (images)"
        return below, ""
    if re.match(r"[A-Za-z]:", text):
        return text, f"{said} is a path of another machine; write it relative to the images"
    plain = posixpath.normpath(text)
    if plain == ".." or plain.startswith("../"):
        return plain, f"{said} leads out of {images}"
    return plain, ""


def _says(table: TextTable, column: str, name: str) -> bool:
    return clean_name(name).casefold() in {clean_name(cell).casefold() for cell in cells(table, column)}


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
        yield f"the label is {columns.genus} and {columns.label}, joined (the genus alone where there is no epithet)"
    if columns.date:
        yield f"the time is {columns.date} and {columns.time}, joined"
    if columns.empty != EMPTIES:
        never = [name for name in columns.empty if not _says(table, columns.label, name)]
        if never:
            yield f"empty names {', '.join(map(repr, never))}, which the column {columns.label} never says"
    unused = [name for name in table.columns if name and name not in columns.roles().values()]
    if unused:
        yield f"columns that are not used: {', '.join(unused)}"
    if backslashes:
        yield f"backslashes in {backslashes} paths were read as slashes"
    if markers:
        yield f"{markers.total()} cells that say {', '.join(sorted(markers))} were read as empty"
    twice = sum(len(row.lines) > 1 for row in rows.values())
    if twice:
        yield f"{twice} images have several rows: they show all species that these name, and the counts are added"
    for noun, counts in written.items():
        if note := spelling_note(counts, noun):
            yield note
    if columns.source:
        sources = Counter(frame.source or "nobody named" for frame in frames)
        names = {clean_name(name).casefold() for name in columns.weak}
        weak = [source for source in sources if source.casefold() in names]
        never = [name for name in columns.weak if not _says(table, columns.source, name)]
        if never and not columns.guessed:
            yield f"weak names {', '.join(map(repr, never))}, which the column {columns.source} never says"
        for source in weak:
            yield (
                f"weak labels: {sources[source]} of {len(frames)} labels are {source!r} by the column "
                f"{columns.source}; scores against them measure agreement with their source"
            )
        if not weak:
            told = ", ".join(f"{source} {count}" for source, count in sources.most_common(6))
            yield f"labels by source ({columns.source}): {told}"
