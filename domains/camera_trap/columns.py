"""What the columns of somebody's own table mean: said in a `columns.toml`, or guessed from usual names."""

from __future__ import annotations

import csv
import difflib
import io
import re
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path

from graftwork.common.errors import TableError
from graftwork.domains.camera_trap.coco_tables import EMPTIES

__all__ = ["COLUMNS", "MISSING", "Columns", "Table", "example", "guess", "read_columns", "read_table"]

COLUMNS = "columns.toml"
# what R and pandas write where nothing is known; as a name it would put strangers into one location or event
MISSING = ("", "NA", "N/A", "n/a", "<NA>", "NaN", "nan", "NULL", "null")
_ROLES = ("path", "label", "group", "time", "sequence", "count", "source")
# capitals, spaces, dashes and underscores aside; the first that is there is taken
_USUAL = {
    "path": ("path", "file", "filename", "filepath", "relativepath", "image", "imagepath"),
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
    "time": ("datetime", "timestamp", "time", "datecaptured", "datetimeoriginal", "phototime"),
    # "sequence" alone is often the place of a frame in its burst ("1 of 3")
    "sequence": ("sequenceid", "seqid", "eventid"),
    "count": ("count", "groupsize", "numberofobjects"),
}
_SEPARATORS = ",;\t"
# a line before the header that tells a spreadsheet the separator
_SAID = re.compile(r'\s*"?sep=([^\r\n])"?[ ,;\t]*(?:\r\n?|\n)', re.IGNORECASE)


@dataclass(frozen=True)
class Columns:
    """Which column says what, by name in the table's first line.

    Attributes:
        path, label, group: of the picture, of what it shows, of the location; a group of "" is unknown.
        time, sequence, count, source: of the time, of what belongs together, of how many animals, of who labelled;
            "" where no column tells.
        table: file of the table. pictures: the folder to which the paths are relative.
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
    pictures: Path = field(default=Path())
    weak: tuple[str, ...] = ()
    empty: tuple[str, ...] = EMPTIES
    separator: str = ""
    guessed: bool = False

    def roles(self) -> dict[str, str]:
        """Role to column, of those that are said."""
        return {role: getattr(self, role) for role in _ROLES if getattr(self, role)}


@dataclass(frozen=True)
class Table:
    """A text table: its header, its rows as text, and the line in the file where each row ends."""

    file: Path
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]


def example(
    path: str = "path", label: str = "species", group: str = "location", table: str = "labels.csv"
) -> str:
    """The text of a `columns.toml`, for messages and documentation."""
    return (
        f'table = "{table}"\npictures = "."        # the folder that the paths are relative to\n'
        f'path = "{path}"\nlabel = "{label}"\ngroup = "{group}"    # the camera\'s location\n'
        '# also: time, sequence, count, source, weak = ["..."], empty = ["empty"], separator = ";"'
    )


def read_columns(file: Path) -> Columns:
    """What a `columns.toml` says; relative paths in it are relative to its folder.

    Raises:
        TableError: it is not TOML, or keys are missing, unknown or of another type (all of them).
    """
    try:
        said = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise TableError(
            f"cannot be read: {error}", where=file, remedy=f"write it like this:\n{example()}"
        ) from error
    known = [each.name for each in fields(Columns) if each.name != "guessed"]
    faults = []
    for key, value in said.items():
        wanted = list if key in ("weak", "empty") else str
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            faults.append(f"there is no key {key!r}" + (f"; {near[0]!r} is meant?" if near else ""))
        elif not isinstance(value, wanted) or (
            wanted is list and not all(isinstance(each, str) for each in value)
        ):
            faults.append(f"{key} is {'a list of texts' if wanted is list else 'a text'}, not {value!r}")
    faults += [f"{key} is missing" for key in ("table", "path", "label", "group") if key not in said]
    faults += [f"{key} is empty" for key in ("table", "path", "label") if said.get(key) == ""]
    if said.get("weak") and not said.get("source"):
        faults.append("weak names values of the column that source names, and source is missing")
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
        pictures=file.parent / said.get("pictures", "."),
        weak=tuple(said.get("weak", ())),
        empty=tuple(said.get("empty", EMPTIES)),
        separator=said.get("separator", ""),
    )


def guess(table: Table, root: Path) -> Columns | None:
    """The columns of a table by their usual names; None where path, label or group is not among them."""
    plain = {_plain(name): name for name in reversed(table.header)}
    found = {
        role: next((plain[name] for name in usual if name in plain), "") for role, usual in _USUAL.items()
    }
    if not (found["path"] and found["label"] and found["group"]):
        return None
    return Columns(
        path=found["path"],
        label=found["label"],
        group=found["group"],
        time=found["time"],
        sequence=found["sequence"],
        count=found["count"],
        table=table.file,
        pictures=root,
        guessed=True,
    )


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def read_table(file: Path, separator: str = "", *, short: bool = False) -> Table:
    """A text table in UTF-8, with or without a byte order mark; separated by comma, semicolon or tab, whichever stands
    most in the first line, or as a line `sep=;` before it says. Empty lines are left out.

    Args:
        short: whether rows may end early; the cells that are missing are empty.

    Raises:
        TableError: it is not there, not UTF-8, without rows, a column stands twice, or rows are of another length.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        what = (
            "there is no such table"
            if isinstance(error, FileNotFoundError)
            else f"cannot be read ({error.strerror})"
        )
        raise TableError(what, where=file) from error
    advice = 'save it in the spreadsheet as "CSV UTF-8"'
    if content[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in content[:4096]:
        kind = "is UTF-16 text" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "is no text"
        raise TableError(f"{kind}, not UTF-8", where=file, remedy=advice)
    if content[:2] == b"PK":
        raise TableError("is a spreadsheet or an archive, not text", where=file, remedy=advice)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        what = f"is not UTF-8: byte {content[error.start]:#04x} in line {line}"
        raise TableError(what, where=file, remedy=advice) from error
    told = _SAID.match(text)
    if told:
        separator = separator or told[1]
        text = "\n" * len(told[0].splitlines()) + text[told.end() :]  # so that lines keep their numbers
    first = next((line for line in text.splitlines() if line.strip()), "")
    mark = separator or max(_SEPARATORS, key=first.count)
    if len(mark) != 1:
        raise TableError(f"the separator is one character, not {mark!r}", where=file)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
    header: tuple[str, ...] = ()
    rows: list[tuple[str, ...]] = []
    lines: list[int] = []
    faults: list[str] = []
    try:
        for row in reader:
            cells = tuple(cell.strip() for cell in row)
            if not any(cells):
                continue
            if not header:
                header = cells
            elif len(cells) > len(header) or (len(cells) < len(header) and not short):
                faults.append(f"line {reader.line_num} has {len(cells)} cells, the first line {len(header)}")
            else:
                rows.append(cells + ("",) * (len(header) - len(cells)))
                lines.append(reader.line_num)
    except csv.Error as error:
        faults.append(f"line {reader.line_num}: {error}")
    faults += [
        f"column {name!r} stands twice" for name in dict.fromkeys(header) if name and header.count(name) > 1
    ]
    if not rows and not faults:
        faults.append("there are no rows")
    if faults:
        shown = faults[:20] + ([f"and {len(faults) - 20} more"] if len(faults) > 20 else [])
        raise TableError("cannot be used:" + "".join(f"\n  {fault}" for fault in shown), where=file)
    return Table(file, header, tuple(rows), tuple(lines))
