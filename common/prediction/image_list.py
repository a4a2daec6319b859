"""Which files are to be predicted: those below a folder, of a list, or that fit a pattern.

A file is known by its path below a root, POSIX and relative, so that names that occur on many memory cards stay apart
and a folder may be carried elsewhere together with its predictions. The list is the one thing that grows with the
number of files; it is kept in one block of memory that loading processes share.
"""

from __future__ import annotations

import csv
import glob
import hashlib
import io
import itertools
import logging
import os
import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from graftwork.common.data.file_layouts import walk
from graftwork.common.errors import DatasetError, UsageError
from graftwork.common.wording import cut_text, short_list

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


log = logging.getLogger("graftwork")

IDENTITY = "masks.about.json"
"""The name of the file in a folder of masks that says what makes them."""

INDEX = "index.csv"
"""The name of the table in a folder of masks."""

LISTS = (".csv", ".tsv", ".txt")
"""The ends of names of lists of files."""

COLUMNS = (
    "path",
    "file",
    "filepath",
    "filename",
)  # of a list, in small letters; the first that is there counts


@dataclass(frozen=True)
class Shard:
    """One of `of` shares of the files, `number` counted from 1. Which share a file is in, its path alone decides."""

    number: int
    of: int

    def __contains__(self, key: str) -> bool:
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.of == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def shard_of(text: str) -> Shard:
    """The shard that "2/8" names.

    Raises:
        UsageError: it names none.
    """
    number, slash, of = text.partition("/")
    if slash and number.strip().isdecimal() and of.strip().isdecimal() and 1 <= int(number) <= int(of):
        return Shard(int(number), int(of))
    raise UsageError(
        f"{text!r} is no shard",
        where="--shard",
        remedy="the second of eight is 2/8; they run from 1/8 to 8/8",
    )


@dataclass(frozen=True, eq=False)
class Listing:
    """The files to predict, in the order of their keys.

    Attributes:
        root: the folder below which they lie.
        keys: paths below it, POSIX, each once (text).
        names: the same as the file system has them (bytes), which need not be valid Unicode.
        left_out: how many files were found and are not predicted, by kind: the end of their names (".MP4", or "no
            ending"), "hidden", "excluded" (by a pattern), "masks" (that were predicted), "listed twice".
    """

    root: Path
    keys: pa.Array
    names: pa.Array
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.keys)

    def file(self, row: int) -> Path:
        """The file of a row (counted from 0)."""
        return self.root / os.fsdecode(self.names[row].as_py())

    def rows(self, rows: NDArray[np.int64]) -> Listing:
        """Some of them, in order."""
        return Listing(
            self.root, self.keys.take(pa.array(rows)), self.names.take(pa.array(rows)), self.left_out
        )

    def digest(self) -> str:
        """SHA-256 of the keys, 64 hex digits."""
        found = hashlib.sha256()
        for start in range(0, len(self), 4096):
            for key in self.keys[start : start + 4096].to_pylist():
                found.update(key.encode() + b"\0")
        return found.hexdigest()


def list_files(
    source: str | os.PathLike[str],
    suffixes: Sequence[str],
    *,
    exclude: Sequence[str] = (),
    root: str | os.PathLike[str] | None = None,
    apart: Path | None = None,
    out: Path | None = None,
) -> Listing:
    """The files that `source` names.

    Args:
        source: a folder (all below it that end in one of `suffixes`; hidden ones are left out, links to folders are
            followed once), a list (.csv or .tsv with a column path, file, filePath or filename; .txt, one a line; all
            that it names, whatever they end in), a pattern such as "cards/*/DCIM/**/*.JPG", or one file.
        exclude: patterns of paths below the root; one without a slash is held against each part of the path.
        root: the folder that paths in a list are relative to; default: the folder of the list.
        apart: a folder whose files are left out, as it holds what is written.
        out: the file that is written; it and the files that belong to it are not counted as left out.

    Raises:
        UsageError: there is no such folder, list or file, or no file fits.
        DatasetError: a folder or a list cannot be read, or it names files outside the root.
    """
    place = Path(source)
    named = place.is_file()
    left_out: Counter[str] = Counter()
    if root is not None and not (place.is_file() and place.suffix.lower() in LISTS):
        raise UsageError("--root goes with a list of files", where=source, remedy="leave it out")
    if place.is_dir():
        home, found = place, walk(place, ("",), left_out)
    elif place.is_file() and place.suffix.lower() in LISTS:
        home, found = _of_list(place, None if root is None else Path(root))
    elif place.is_file():
        home, found = place.parent, iter((place.name,))
    elif glob.has_magic(str(source)):
        home, found = _of_pattern(str(source))
    else:
        raise UsageError(
            "there is no such folder, list or file",
            where=source,
            remedy="give a folder, a .csv or .txt list of files, or a pattern in quotation marks",
        )
    home = Path(os.path.abspath(home))  # noqa: PTH100 (resolve would follow links)
    kept = found if apart is None else _apart(found, home, apart)
    if not named:
        kept = _no_masks(kept, home, tuple(suffixes), left_out)
        kept = _fitting(kept, home, tuple(suffixes), left_out, out)
    kept = _less(kept, exclude, left_out)
    names = list(kept)
    unique = sorted(set(names), key=_text)
    if len(names) > len(unique):
        left_out["listed twice"] = len(names) - len(unique)
    if not unique:
        found_there = ", ".join(f"{kind} {count:,}" for kind, count in sorted(left_out.items())) or "none"
        raise UsageError(
            f"no file to predict; looked for {', '.join(suffixes)}"
            + (f", less {', '.join(exclude)}" if exclude else "")
            + f"; other files found: {found_there}",
            where=source,
            remedy="name a folder with such files, or a .csv or .txt list of files, whatever their names end in",
        )
    keys = pa.array(map(_text, unique), pa.large_string())
    files = pa.array(map(os.fsencode, unique), pa.large_binary())
    return Listing(home, keys, files, dict(sorted(left_out.items())))


def _fitting(
    found: Iterable[str], home: Path, suffixes: tuple[str, ...], left_out: Counter[str], out: Path | None
) -> Iterator[str]:
    """The files that end in one of `suffixes`; the others are counted by their ends, as they are first written."""
    own = None if out is None else os.path.relpath(out, home).replace(os.sep, "/")
    spelled: dict[str, str] = {}
    for name in found:
        if name.lower().endswith(suffixes):
            yield name
        elif own is None or not name.startswith(own):
            end = posixpath.splitext(_text(name))[1] or "no ending"
            left_out[spelled.setdefault(end.lower(), end)] += 1


def _less(found: Iterable[str], exclude: Sequence[str], left_out: Counter[str]) -> Iterator[str]:
    for name in found:
        if excluded(_text(name), exclude):
            left_out["excluded"] += 1
        else:
            yield name


def _text(name: str) -> str:
    """A name as valid Unicode: bytes of another encoding are written as escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def excluded(name: str, patterns: Sequence[str]) -> bool:
    """Whether a key fits one of the patterns; one without a slash is held against each part of it."""
    for pattern in map(_text, patterns):
        if "/" in pattern:
            if fnmatchcase(name, pattern.removeprefix("./")):
                return True
        elif any(fnmatchcase(part, pattern) for part in name.split("/")):
            return True
    return False


def _apart(found: Iterable[str], home: Path, apart: Path) -> Iterator[str]:
    inside = os.path.relpath(os.path.realpath(apart), os.path.realpath(home)).replace(os.sep, "/")
    return (name for name in found if not name.startswith(f"{inside}/"))


def _no_masks(
    found: Iterable[str], home: Path, suffixes: tuple[str, ...], left_out: Counter[str]
) -> Iterator[str]:
    """The files outside folders of predicted masks; the others are counted and reported."""
    known = {"": False}

    def ours(folder: str) -> bool:
        if folder not in known:
            known[folder] = ours(posixpath.dirname(folder)) or (home / folder / IDENTITY).is_file()
        return known[folder]

    left: dict[str, int] = {}
    for name in found:
        folder = posixpath.dirname(name)
        if ours(folder):
            if not name.lower().endswith(suffixes):
                continue  # files next to the masks belong to them
            left[folder] = left.get(folder, 0) + 1
        else:
            yield name
    if left:
        left_out["masks"] = sum(left.values())
        shown = short_list([_text(folder) for folder in left])
        log.warning("%d files are predicted masks and are skipped: %s", sum(left.values()), shown)


def _of_pattern(pattern: str) -> tuple[Path, Iterator[str]]:
    parts = pattern.split("/")
    fixed = list(itertools.takewhile(lambda part: not glob.has_magic(part), parts))
    home = "/".join(fixed) or ("/" if pattern.startswith("/") else ".")
    if not Path(home).is_dir():
        raise UsageError("there is no such folder", where=home, remedy=f"correct the pattern {pattern}")
    asked = tuple(parts[len(fixed) :])
    return Path(home), (name for name in walk(Path(home), ("",)) if _fits(tuple(name.split("/")), asked))


def _fits(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether the parts of a path fit those of a pattern; `**` is any number of folders."""
    if pattern in ((), ("**",)):
        return bool(pattern) or not parts
    if pattern[0] == "**":
        return any(_fits(parts[start:], pattern[1:]) for start in range(len(parts)))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])


def _of_list(place: Path, root: Path | None) -> tuple[Path, Iterator[str]]:
    home = Path(os.path.abspath(root or place.parent))  # noqa: PTH100
    if not home.is_dir():
        raise UsageError("there is no such folder", where=home, remedy="correct --root")
    entries = [entry.strip() for entry in _entries(place)]
    broken = [entry for entry in entries if re.search(r"[\r\n]", entry) and not (home / entry).exists()]
    if broken:
        raise DatasetError(
            f"{len(broken)} entries have a line break in them, and are not there: {short_list([*map(repr, broken)])}",
            where=place,
            remedy="see to the quotation marks and line ends of the list",
        )
    names: list[str] = []
    outside: list[str] = []
    addresses: list[str] = []
    for entry in filter(None, entries):
        if "://" in entry:
            addresses.append(entry)
            continue
        path = entry.replace("\\", "/") if "\\" in entry and not (home / entry).exists() else entry
        relative = posixpath.normpath(os.path.relpath(path, home) if path.startswith("/") else path)
        if relative == ".." or relative.startswith("../"):
            outside.append(entry)
        elif relative != ".":
            names.append(relative)
    if addresses:
        raise DatasetError(
            f"{len(addresses)} entries are addresses, not files: {short_list(addresses)}",
            where=place,
            remedy="download the files and list these",
        )
    if outside:
        folders = [os.path.abspath(home / entry / "..") for entry in outside]  # noqa: PTH100
        above = os.path.commonpath([*folders, *([str(home)] if names else [])])
        raise DatasetError(
            f"{len(outside)} files lie outside {home}: {short_list(outside)}",
            where=place,
            remedy=f"say below which folder all of them lie: --root {above}",
        )
    return home, iter(names)


def _entries(place: Path) -> list[str]:
    try:
        text = place.read_bytes().decode("utf-8-sig")  # read_text would change line breaks within names
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"it is not UTF-8 (byte {error.start})", where=place, remedy="save the list as UTF-8"
        ) from error
    except OSError as error:
        raise DatasetError(
            f"it cannot be read ({error.strerror})", where=place, remedy="check the path and its permissions"
        ) from error
    if place.suffix.lower() == ".txt":
        return re.split(r"\r?\n", text)
    head = text.split("\n", 1)[0]
    mark: Callable[[str], int] = head.count
    delimiter = max((",", ";", "\t"), key=mark)
    table: Any = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        rows = [(table.line_num, row) for row in table if row]
    except csv.Error as error:
        raise DatasetError(
            f"line {table.line_num} cannot be read ({error})",
            where=place,
            remedy="see to its quotation marks; a mark within a quoted name is doubled",
        ) from error
    columns = [column.strip() for column in rows[0][1]] if rows else []
    small = [column.lower() for column in columns]
    chosen = next((small.index(name) for name in COLUMNS if name in small), None)
    if chosen is None:
        raise DatasetError(
            f"the list has no column path, file, filePath or filename; it has {cut_text(', '.join(columns)) or 'none'}",
            where=place,
            remedy="name the column of the files path",
        )
    short = [str(line) for line, row in rows if len(row) <= chosen or not row[chosen].strip()]
    if short:
        raise DatasetError(
            f"{len(short)} rows have no path: line {short_list(short)}",
            where=place,
            remedy=f"fill in the column {columns[chosen]}, or remove the rows",
        )
    return [row[chosen] for _, row in rows[1:]]
