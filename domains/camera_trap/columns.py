"""The columns of a custom table: assigned in a `columns.toml`, or guessed from common names."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from graftwork.common.data.manifest import PARTS
from graftwork.common.data.manifest_names import is_file_name
from graftwork.common.errors import TableError
from graftwork.common.files.table_files import TextTable
from graftwork.common.files.untrusted_files import read_text
from graftwork.common.names import clean_name
from graftwork.domains.camera_trap.coco_tables import EMPTIES
from graftwork.domains.camera_trap.sequences import moment

COLUMNS = "columns.toml"
_ROLES = ("path", "folder", "label", "genus", "group", "date", "time", "sequence", "count", "source", "part")
# capitals, spaces, dashes and underscores aside; the first that is there is taken
_USUAL = {
    "path": ("path", "filepath", "file", "filename", "imagepath", "image", "imagename", "relativepath"),
    # Timelapse: RelativePath is the folder, File the name
    "folder": ("relativepath", "folder", "directory"),
    "label": ("label", "species", "scientificname", "category", "class", "commonname"),
    "group": (
        "location",
        "site",
        "deploymentid",
        "deployment",
        "camera",
        "cameraid",
        "station",
        "locationid",
    ),
    "time": ("datetime", "datetimeoriginal", "timestamp", "datecaptured", "phototime", "time"),
    # joined with a column Time; a day alone is no time
    "date": ("date",),
    # "sequence" alone is often the place of a frame in its burst ("1 of 3")
    "sequence": ("sequenceid", "seqid", "eventid"),
    "count": ("count", "groupsize", "numberofobjects"),
    "source": ("classificationmethod",),
    "part": ("part", "split", "set", "fold", "subset", "partition"),
}
_EPITHETS = ("species", "specificepithet", "epithet")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://|www\.|[a-z]:[\\/]|\\\\|/", re.IGNORECASE)
_FEW = 3  # rows; of so few each may have a location of its own
_SEVERAL = ("", "rows")


@dataclass(frozen=True)
class Columns:
    """Which column says what, by name in the table's first line.

    Attributes:
        path, label, group: of the image, of what it shows, of the location; a group of "" is unknown.
        time, sequence, count, source: of the time, of what belongs together, of how many animals, of who labelled;
            "" if no column has it.
        table: file of the table. images: the folder to which the paths are relative.
        folder: of the folder of the image, joined with its name; genus: where the label is the epithet alone.
        several: "rows" where an image may have several rows, one for each species in it.
        label_separator: between the species of one cell ("fox; deer"); "" where a cell is one label.
        date: of the day, where the time is in a column of its own. time_format: how times (with the day) are written,
            as Python's strptime has it ("%d/%m/%Y %H:%M"); "" where the year comes first.
        part: of the publisher's part, None where a map does not name one. parts: its values to train, validation and
            test, where they have other names.
        sheet, encoding: of the table, where they cannot be found out.
        weak: values of the column `source` whose labels are not a person's.
        empty: labels of frames in which nothing is.
        separator: between columns; "" found out.
        guessed: whether nobody said so, and the names were taken for what they usually mean.
    """

    path: str
    label: str
    group: str
    time: str = ""
    sequence: str = ""
    count: str = ""
    source: str = ""
    table: Path = field(default=Path())
    images: Path = field(default=Path())
    weak: tuple[str, ...] = ()
    empty: tuple[str, ...] = EMPTIES
    separator: str = ""
    folder: str = ""
    genus: str = ""
    several: str = ""
    label_separator: str = ""
    sheet: str = ""
    encoding: str = ""
    date: str = ""
    time_format: str = ""
    part: str | None = ""
    parts: dict[str, str] = field(default_factory=dict)
    guessed: bool = False

    def roles(self) -> dict[str, str]:
        """Role to column, for the assigned roles."""
        return {role: getattr(self, role) for role in _ROLES if getattr(self, role)}


def example(
    path: str = "path", label: str = "species", group: str = "location", table: str = "labels.csv"
) -> str:
    """The text of a `columns.toml`, for messages and documentation."""
    return (
        f'table = "{table}"\nimages = "."          # the folder that the paths are relative to\n'
        f'path = "{path}"\nlabel = "{label}"\ngroup = "{group}"    # the camera\'s location\n'
        '# also: time, date, time_format = "%d/%m/%Y %H:%M", sequence, count, folder, genus, source, weak = ["..."], '
        'empty = ["empty"], part, parts = {A = "train"}, several = "rows", label_separator = ";", separator = ";", '
        "sheet, encoding"
    )


def read_columns(file: Path) -> Columns:
    """What a `columns.toml` says; relative paths in it are relative to its folder.

    Raises:
        TableError: it is not TOML, or keys are missing, unknown or of another type (all of them).
    """
    said = _document(file)
    known = [each.name for each in fields(Columns) if each.name != "guessed"]
    faults = []
    for key, value in said.items():
        wanted = list if key in ("weak", "empty") else dict if key == "parts" else str
        kind = {list: "a list of texts", dict: "a table of texts"}.get(wanted, "a text")
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            expected = f"; did you mean {near[0]!r}?" if near else f" (expected {', '.join(known)})"
            faults.append(
                "the key pictures is now called images"
                if key == "pictures"
                else f"unknown key {key!r}{expected}"
            )
        elif not isinstance(value, wanted) or not all(
            isinstance(each, str) for each in (value.values() if isinstance(value, dict) else value)
        ):
            faults.append(f"{key} is {kind}, not {value!r}")
    faults += [f"{key} is missing" for key in ("table", "path", "label", "group") if key not in said]
    faults += [f"{key} is empty" for key in ("table", "path", "label") if said.get(key) == ""]
    if said.get("weak") and not said.get("source"):
        faults.append("weak names values of the column that source names, and source is missing")
    clock = said.get("time_format", "")
    if isinstance(clock, str) and clock and not re.search(r"%[HIXcT]", clock):
        faults.append(f"time_format is {clock!r}, without an hour (expected such as '%d/%m/%Y %H:%M')")
    if said.get("date") and not said.get("time"):
        faults.append("date names the column of the day, and time is missing: a day alone makes no events")
    parts = said.get("parts", {})
    if isinstance(parts, dict):
        odd = [f"{key} = {value!r}" for key, value in parts.items() if value not in PARTS]
        faults += [f"parts has {', '.join(odd)} (expected {', '.join(PARTS)})"] if odd else []
    if parts and not said.get("part"):
        faults.append("parts names values of the column that part names, and part is missing")
    if said.get("several", "") not in _SEVERAL:
        faults.append(f"several is {said['several']!r} (expected 'rows')")
    if faults:
        listing = "".join(f"\n  {fault}" for fault in faults)
        raise TableError(f"cannot be used:{listing}", where=file, remedy=f"write it like this:\n{example()}")
    return Columns(
        path=said["path"],
        label=said["label"],
        group=said["group"],
        time=said.get("time", ""),
        sequence=said.get("sequence", ""),
        count=said.get("count", ""),
        source=said.get("source", ""),
        table=file.parent / said["table"],
        images=file.parent / said.get("images", "."),
        weak=tuple(said.get("weak", ())),
        empty=tuple(said.get("empty", EMPTIES)),
        part=said.get("part"),
        parts={clean_name(key): value for key, value in parts.items()},
        **{
            key: said.get(key, "")
            for key in (
                "separator",
                "folder",
                "genus",
                "several",
                "label_separator",
                "sheet",
                "encoding",
                "date",
                "time_format",
            )
        },
    )


def package_group(file: Path) -> str | None:
    """The column of deployments that a `columns.toml` beside a data package names as group; None where it describes a
    table of its own.

    Raises:
        TableError: it is no TOML, or it has other keys than group.
    """
    said = _document(file)
    if "table" in said:
        return None
    others = [key for key in said if key != "group"]
    group = said.get("group")
    if others or not isinstance(group, str) or not group:
        found = ", ".join(f"{key} = {value!r}" for key, value in said.items()) or "nothing"
        raise TableError(
            f"does not fit a data package (found {found}, expected the key group alone, a column of deployments)",
            where=file,
            remedy='write group = "locationID", or name a table of your own with table, path, label and group',
        )
    return group


def _document(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(file, TableError))
    except (ValueError, RecursionError) as error:
        raise TableError(
            f"cannot be read: {error}", where=file, remedy=f"write it like this:\n{example()}"
        ) from error


def guess(table: TextTable, root: Path) -> tuple[Columns | None, list[str]]:
    """The columns of a table by their usual names, and why columns of such a name were passed over.

    A column is taken for the location only if its values can be places: no addresses, no names of files, not another in
    each row. None where path, label or group is not among the columns.
    """
    plain: dict[str, str] = {}
    rivals: dict[str, list[str]] = defaultdict(list)
    for name in table.columns:
        plain.setdefault(_plain(name), name)
        rivals[_plain(name)].append(name)
    passed: list[str] = []
    found: dict[str, str] = {}
    for role, usual in _USUAL.items():
        there = [plain[name] for name in usual if name in plain]
        if role == "group":
            reasons = {name: _no_place(cells(table, name)) for name in there}
            passed += [f"{name!r} is no place: {why}" for name, why in reasons.items() if why]
            there = [name for name in there if not reasons[name]]
        found[role] = there[0] if there else ""
    if found["folder"]:
        folders = cells(table, found["folder"])
        file = plain.get("file") or plain.get("filename") or plain.get("imagename") or ""
        if not file or found["path"] not in (file, found["folder"]):
            found["folder"] = ""
        elif all(
            folder.replace("\\", "/").rpartition("/")[2].casefold() == name.casefold()
            for folder, name in zip(folders, cells(table, file), strict=True)
        ):
            found["path"], found["folder"] = found["folder"], ""  # this column has the whole path
        else:
            found["path"] = file
    if found["date"] and (
        _plain(found["time"]) != "time" or any(moment(each) for each in cells(table, found["time"])[:_FEW])
    ):
        found["date"] = ""  # the time has its day
    if not (found["path"] and found["label"] and found["group"]):
        return None, passed
    alike = [names for name in found.values() if len(names := rivals[_plain(name)]) > 1 and name]
    if alike:
        passed += [f"{' and '.join(map(repr, names))} are ambiguous" for names in alike]
        return None, passed
    genus = plain.get("genus", "")
    epithet = genus and _plain(found["label"]) in _EPITHETS
    if epithet:
        epithet = not any(" " in name for name in cells(table, found["label"]))
    return (
        Columns(
            path=found["path"],
            label=found["label"],
            group=found["group"],
            time=found["time"],
            sequence=found["sequence"],
            count=found["count"],
            source=found["source"],
            date=found["date"],
            part=found["part"],
            folder=found["folder"],
            genus=genus if epithet else "",
            weak=("machine",) if found["source"] else (),
            table=table.file,
            images=root,
            guessed=True,
        ),
        passed,
    )


def usual_part(table: TextTable) -> str:
    """The first column whose name says that it holds the publisher's part; "" where there is none."""
    plain = {_plain(name): name for name in reversed(table.columns)}
    return next((plain[name] for name in _USUAL["part"] if name in plain), "")


def cells(table: TextTable, column: str) -> list[str]:
    """The cells of a column as text, "" where there is no value."""
    return [
        "" if value is None or value != value else _number(value) if isinstance(value, float) else str(value)
        for value in table.frame[column].tolist()
    ]


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else str(value)


def _no_place(names: Sequence[str]) -> str:
    """Why the values of a column are no places; "" where they may be."""
    known = [name for name in map(clean_name, names) if name]
    named = [name for name in known if _ADDRESS.match(name) or is_file_name(name)]
    if named:
        return (
            f"{len(named):,} of {len(names):,} values are addresses or names of files, such as {named[0]!r}"
        )
    if len(known) > _FEW and len(set(known)) == len(known) == len(names):
        return f"each image has a location of its own, such as {known[0]!r}"
    return ""


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
