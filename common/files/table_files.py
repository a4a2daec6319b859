"""Open a table that somebody made: delimited text in any usual form, a spreadsheet (XLSX) or Parquet.

All readers of tables use this one, so that encodings, separators, compression and damage are understood, or refused, in
the same way everywhere. Cells stay text: `007`, `1.10` and `1e5` are read as written. What was assumed is in `notes`.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import itertools
import lzma
import os
import re
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graftwork.common.errors import TableError, shown_path
from graftwork.common.files.xlsx import sheet_rows
from graftwork.common.names import clean_name
from graftwork.common.wording import fault_lines

if TYPE_CHECKING:
    import pandas as pd


# What spreadsheets, R, pandas and SQL write where a value is missing.
MISSING = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null")
_SEPARATORS = ",;\t|"
_LARGEST = 4 << 30  # bytes after decompression
_FAULTS = 20  # listed in one message
# A line before the header that names the separator, as spreadsheets read it.
_SEPARATOR_LINE = re.compile(r'\s*"?sep=([^\r\n])"?[ ,;\t|]*(?:\r\n?|\n)', re.IGNORECASE)
_ADVICE = "save it as CSV in UTF-8 with one header line, as XLSX, or as Parquet"


@dataclass(frozen=True, eq=False)
class TextTable:
    """A table as it was written.

    Attributes:
        file: where it is.
        frame: one column a header cell (cleaned by `clean_name`). Of text and XLSX every cell is a str without white
            space at its ends, NaN where it is one of `missing`; of Parquet the columns keep their types.
        lines: the line of the text file in which each row ends, or the row of the sheet (the header is 1).
        notes: what was assumed or left out, a sentence each: an encoding, empty lines, an unpacked file.
        separator: of text; empty otherwise. With ";" or a tab, numbers may have a decimal comma.
    """

    file: Path
    frame: pd.DataFrame
    lines: Sequence[int]
    notes: tuple[str, ...] = ()
    separator: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(map(str, self.frame.columns))


def read_table(
    path: str | os.PathLike[str],
    *,
    separator: str = "",
    encoding: str = "",
    quote: str = '"',
    escape: str = "",
    comment: str = "",
    header: Sequence[str] = (),
    short: bool = False,
    missing: Sequence[str] = MISSING,
    sheet: str = "",
) -> TextTable:
    """Read a table, told apart by content: delimited text, XLSX or Parquet; text may be packed (gzip, bzip2, xz, zip).

    Text is UTF-8 or UTF-16 with a byte order mark, UTF-8 without one, else Windows-1252 (then a note says so). The
    separator is that of a line `sep=;`, or the one of comma, semicolon, tab and bar that gives the header most columns.

    Args:
        separator, encoding: where they are known, such as from the dialect of a data package.
        quote: the quotation mark of text; "" for none. escape: the mark before a quotation mark inside quoted text;
            empty: the quotation mark is doubled. comment: what lines that are left out begin with.
        header: the columns of a text without a header line. short: rows may end early; the cells they lack are missing.
        missing: cells that are no value. sheet: of a spreadsheet; empty: the only one that holds anything.

    Raises:
        TableError: there is no such file, it is no regular file, damaged, no table, has no rows, a column twice, or
            rows of another length. All faulty lines are counted and the first 20 listed.
    """
    place = Path(path)
    content = _content(place)
    if content[:4] == b"PAR1":
        return _parquet(place, content)
    content, notes = _unpacked(place, content)
    if content[:2] == b"PK":
        return _from_rows(place, *sheet_rows(place, content, sheet), notes, "", short, missing)
    text, said = _text(place, content, encoding)
    notes += said
    named = _SEPARATOR_LINE.match(text)
    if named:
        separator = separator or named[1]
        text = "\n" * len(named[0].splitlines()) + text[named.end() :]  # so that lines keep their numbers
    if comment:
        notes += _uncommented(place, text, comment)
        text = "".join("\n" if line.startswith(comment) else line for line in text.splitlines(keepends=True))
    mark = separator or _separator(text, quote)
    if len(mark) != 1:
        raise TableError(
            f"the separator is {mark!r}, expected one character", where=place, remedy="name one character"
        )
    rows = _csv_rows(text, mark, quote, escape)
    if header:
        rows = itertools.chain([(0, list(header))], rows)
    return _from_rows(place, rows, "line", notes, mark, short, missing)


def _uncommented(place: Path, text: str, comment: str) -> list[str]:
    count = sum(line.startswith(comment) for line in text.splitlines())
    return [f"{place.name}: {count:,} comment lines ({comment}) were left out."] if count else []


def _content(place: Path) -> bytes:
    try:
        mode = place.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "folder" if stat.S_ISDIR(mode) else "pipe, device or socket"
            raise TableError(f"is a {kind}, expected the file of a table", where=place, remedy=_ADVICE)
        content = place.read_bytes()
    except FileNotFoundError as error:
        raise TableError("there is no such file", where=place, remedy="check the path") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        reason = getattr(error, "strerror", None) or error
        raise TableError(
            f"cannot be read ({reason})", where=shown_path(place), remedy="check the path"
        ) from error
    except MemoryError as error:
        raise TableError(
            f"does not fit into memory ({place.stat().st_size:,} bytes)",
            where=place,
            remedy="write it as Parquet",
        ) from error
    if not content.strip():
        raise TableError("the file is empty", where=place, remedy=_ADVICE)
    return content


def _unpacked(place: Path, content: bytes) -> tuple[bytes, list[str]]:
    """The content of a packed file (XLSX, which is a zip file itself, as it is), and a note."""
    kind = next((name for magic, name in _PACKED if content.startswith(magic)), "")
    if not kind:
        return content, []
    try:
        if kind == "zip":
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                files = [each for each in archive.infolist() if not each.is_dir()]
                names = [each.filename for each in files]
                if "[Content_Types].xml" in names:
                    return content, []
                if len(files) != 1:
                    raise TableError(
                        f"is a zip file with {len(files)} files, expected one table",
                        where=place,
                        remedy="unpack it and name the table",
                    )
                with archive.open(files[0]) as file:
                    unpacked = file.read(_LARGEST + 1)
        else:
            opener: Any = {"gzip": gzip, "bzip2": bz2, "xz": lzma}[kind]
            with opener.open(io.BytesIO(content)) as file:
                unpacked = file.read(_LARGEST + 1)
    except _DAMAGE as error:
        raise TableError(
            f"the {kind} file is damaged or encrypted ({error})",
            where=place,
            remedy="get it again, or unpack it",
        ) from error
    if len(unpacked) > _LARGEST:
        raise TableError(
            f"unpacks to more than {_LARGEST >> 30} GiB", where=place, remedy="unpack it and divide it"
        )
    if not unpacked.strip():
        raise TableError(f"the {kind} file holds nothing", where=place, remedy=_ADVICE)
    return unpacked, [f"{place.name} was unpacked ({kind})."]


_DAMAGE = (
    OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError, RuntimeError,
)  # fmt: skip
_PACKED = ((b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ", "xz"), (b"PK", "zip"))


def _text(place: Path, content: bytes, encoding: str) -> tuple[str, list[str]]:
    """The text of a file, and a note where its encoding was assumed."""
    marked = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
    found = next((name for mark, name in marked.items() if content.startswith(mark)), "")
    try:
        if found or encoding:
            text = content.decode(found or encoding)
            if "\0" not in text:
                return text, []
        elif b"\0" not in content:
            return content.decode("utf-8"), []
        raise TableError("is a binary file, no table (it holds NUL bytes)", where=place, remedy=_ADVICE)
    except LookupError as error:
        raise TableError(
            f"the encoding {encoding!r} is unknown", where=place, remedy="name one such as utf-8"
        ) from error
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        byte = f"byte {content[error.start]:#04x} in line {line}"
        if not found and not encoding:
            try:
                text = content.decode("cp1252")
            except UnicodeDecodeError:
                pass
            else:
                example = content.split(b"\n")[line - 1].decode("cp1252").strip()
                shown = example if len(example) <= 80 else f"{example[:80]} (cut)"
                return text, [
                    f"{place.name} is not UTF-8 ({byte}) and was read as Windows-1252; that line reads: {shown}"
                ]
        raise TableError(
            f"is not {found or encoding or 'UTF-8'}: {byte}", where=place, remedy=_ADVICE
        ) from error


def _separator(text: str, quote: str) -> str:
    """The separator that gives the first line with content most columns; of equals the first of `_SEPARATORS`."""
    first = next((line.group() for line in re.finditer(r"[^\r\n]+", text) if line.group().strip()), "")

    def width(mark: str) -> int:
        try:
            return len(next(csv.reader([first], **_format(mark, quote)), []))
        except csv.Error:
            return 0

    return max(_SEPARATORS, key=width)


def _format(mark: str, quote: str, escape: str = "") -> dict[str, Any]:
    quoting: dict[str, Any] = {"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE}
    if escape:
        quoting |= {"escapechar": escape, "doublequote": False}
    return {"delimiter": mark, "skipinitialspace": mark != "\t", "strict": True, **quoting}


def _csv_rows(text: str, mark: str, quote: str, escape: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), **_format(mark, quote, escape))
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise _Stop(f"line {reader.line_num}: {error}") from error
        if row is None:
            return
        yield reader.line_num, row


class _Stop(Exception):
    """Text from which no further row can be read; says where and why."""


def _from_rows(
    place: Path,
    rows: Iterator[tuple[int, list[str]]],
    word: str,
    notes: Sequence[str],
    mark: str,
    short: bool,
    missing: Sequence[str],
) -> TextTable:
    """Rows of cells as a table; every fault of its shape in one error."""
    import pandas as pd

    header: list[str] = []
    lines: list[int] = []
    cells: list[list[str]] = []
    faults: list[str] = []
    empty = 0
    trimmed: list[tuple[int, str]] = []  # cells that had white space at their ends, and their column
    try:
        for number, written in rows:
            row = [cell.strip() for cell in written]
            if not any(row):
                empty += bool(header)
                continue
            if header and row != written:
                trimmed += [(at, cell) for at, cell in enumerate(written) if cell != row[at] != ""]
            if not header:
                header = [clean_name(cell) for cell in row]
                while header and not header[-1]:  # columns of a sheet or a line that ends in separators
                    header.pop()
                continue
            while len(row) > len(header) and not row[-1]:
                row.pop()
            if len(row) > len(header) or (len(row) < len(header) and not short and mark):
                faults.append(f"{word} {number} has {len(row)} cells, the header has {len(header)}")
            else:
                cells.append(row + [""] * (len(header) - len(row)))
                lines.append(number)
    except _Stop as error:
        faults.append(str(error))
    faults += [
        f"the column {name!r} is there twice"
        for name in dict.fromkeys(header)
        if name and header.count(name) > 1
    ]
    unnamed = [str(number) for number, name in enumerate(header, 1) if not name]
    if len(unnamed) > 1:
        faults.append(f"columns {', '.join(unnamed)} have no name")
    if not cells and not faults:
        faults.append("it has a header and no rows" if header else "it has no header")
    if faults:
        listing = fault_lines(faults, _FAULTS)
        raise TableError(
            f"cannot be used as a table:{listing}",
            where=place,
            remedy="correct these lines or the separator",
        )
    nothing = frozenset(missing)
    columns = zip(*cells, strict=True)
    text = pd.StringDtype(na_value=float("nan"))
    frame = pd.DataFrame(
        {
            name: pd.array([None if cell in nothing else cell for cell in column], dtype=text)
            for name, column in zip(header, columns, strict=True)
        }
    )
    if empty and any(lines[i + 1] - lines[i] > 1 for i in range(len(lines) - 1)):
        notes = [*notes, f"{place.name}: {empty:,} empty lines were left out."]
    if trimmed:
        counts = Counter(header[at] for at, _ in trimmed)
        counted = ", ".join(f"{count:,} of `{name}`" for name, count in counts.items())
        said = f"{place.name}: white space at the ends of cells was removed ({counted}), such as {trimmed[0][1]!r}."
        notes = [*notes, said]
    frame.attrs["source"] = str(place)
    return TextTable(place, frame, lines, tuple(notes), mark)


def _parquet(place: Path, content: bytes) -> TextTable:
    import pyarrow.parquet as pq

    try:
        # ParquetFile, not read_table: a folder such as part=test above the file is no column
        with pq.ParquetFile(io.BytesIO(content), page_checksum_verification=True) as file:
            table = file.read()
        table.validate(full=True)  # text that is no UTF-8 would fail later
        frame = table.to_pandas()
    except Exception as error:  # whatever the library's parsers raise
        reason = " ".join(str(error).split())[:300]
        raise TableError(
            f"is a damaged Parquet file ({reason})", where=place, remedy="write it again"
        ) from error
    frame = frame.reset_index(drop=True)
    frame.columns = [clean_name(str(name)) for name in frame.columns]
    twice = sorted(set(frame.columns[frame.columns.duplicated()]))
    if twice:
        raise TableError(
            f"columns are there twice: {', '.join(twice)}", where=place, remedy="rename or remove one of each"
        )
    if not len(frame):
        raise TableError("it has no rows", where=place, remedy="write a table with a row for each case")
    frame.attrs["source"] = str(place)
    return TextTable(place, frame, range(1, len(frame) + 1))
