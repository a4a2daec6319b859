"""Rows of predictions as they flow: in tables of any length, sorted by file, merged and written without being held.

Nothing here keeps more than a few thousand rows, however many there are.
"""

from __future__ import annotations

import bisect
import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from graftwork.common.errors import RunError
from graftwork.common.files.formulas import escape_formula, unescape_formula
from graftwork.common.prediction.training_overlap import SEEN_BY_RUN
from graftwork.common.wording import cut_text

if TYPE_CHECKING:
    from graftwork.common.data.targets import Target


ROW_GROUP = 8192  # rows that are written together


def columns(targets: Sequence[Target], unit: str = "") -> pa.Schema:
    """The columns of predictions of these targets.

    Of classes: `file`; for each target a score a class, then `predicted`, the class by name (of a multi-label target
    `predicted_<class>`, 1 or 0); `seen_by_run`, the part of the run's split that has this image (else empty);
    `failure`, why the file could not be read (else empty). Of a segmentation: `file`; `mask`, the path of the mask;
    `<unit>_<class>` for each class but the background; `seen_by_run`; `failure`.

    Args:
        unit: in which a segmentation is counted: "ml" or "pixels".
    """
    fields = [pa.field("file", pa.string(), nullable=False)]
    for target in targets:
        if target.kind == "segmentation":
            fields.append(pa.field("mask", pa.string()))
            fields += [pa.field(f"{unit}_{name}", pa.float64()) for name in target.classes[1:]]
            continue
        fields += [pa.field(name, pa.float64()) for name in target.scores]
        if target.kind == "multi-label":
            fields += [pa.field(f"{target.prefix}predicted_{name}", pa.int8()) for name in target.classes]
        else:
            fields.append(pa.field(f"{target.prefix}predicted", pa.string()))
    return pa.schema([*fields, pa.field(SEEN_BY_RUN, pa.string()), pa.field("failure", pa.string())])


def one_line(text: str) -> str:
    """A reason why a file could not be read, as text on one line."""
    return " ".join(text.split())


# Flowing ---------------------------------------------------------------------------------------------------


def merged(streams: Sequence[Iterable[pa.Table]]) -> Iterator[pa.Table]:
    """Several streams, each sorted by `file`, as one.

    Raises:
        RunError: a file is in two of them.
    """
    heads = [_Head(stream) for stream in streams]
    while heads := [head for head in heads if head.fill()]:
        heads.sort(key=lambda head: head.first)
        if len(heads) > 1 and heads[0].first == heads[1].first:
            raise RunError(
                "it is in two tables of predictions",
                where=heads[0].first,
                remedy="predict it again into a new --out",
            )
        yield heads[0].until(heads[1].first if len(heads) > 1 else None)


class _Head:
    """Where a stream stands: the rows of its current table that were not taken yet."""

    def __init__(self, stream: Iterable[pa.Table]) -> None:
        self.stream = iter(stream)
        self.table: pa.Table | None = None
        self.files: list[str] = []
        self.at = 0

    def fill(self) -> bool:
        """Whether a row is left."""
        while self.at == len(self.files):
            self.table = next(self.stream, None)
            if self.table is None:
                return False
            self.files, self.at = self.table["file"].to_pylist(), 0
        return True

    @property
    def first(self) -> str:
        return self.files[self.at]

    def until(self, end: str | None) -> pa.Table:
        """The rows of the current table before the file `end`."""
        start = self.at
        self.at = len(self.files) if end is None else bisect.bisect_left(self.files, end, start)
        assert self.table is not None
        return self.table.slice(start, self.at - start)


def without(stream: Iterable[pa.Table], files: pa.Array) -> Iterator[pa.Table]:
    """The rows whose file is not among `files`."""
    for table in stream:
        yield table.filter(pc.invert(pc.is_in(table["file"].cast(files.type), files)))


def files_of(stream: Iterable[pa.Table]) -> pa.Array:
    """The files of the rows (large text)."""
    names = [table["file"].cast(pa.large_string()).combine_chunks() for table in stream]
    return pa.concat_arrays(names) if names else pa.array([], pa.large_string())


def regrouped(stream: Iterable[pa.Table], size: int = ROW_GROUP) -> Iterator[pa.Table]:
    """The same rows in tables of `size`, so that the output does not depend on how they arrived."""
    waiting: list[pa.Table] = []
    count = 0
    for table in stream:
        waiting.append(table)
        count += len(table)
        while count >= size:
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, size).combine_chunks()
            waiting, count = [whole.slice(size)], count - size
    if count:
        yield pa.concat_tables(waiting).combine_chunks()


# Files -----------------------------------------------------------------------------------------------------


def read_parquet(place: Path, schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows of a Parquet file, some thousands at a time.

    Raises:
        RunError: it is damaged, or has other columns.
    """
    try:
        with pq.ParquetFile(place, page_checksum_verification=True) as file:
            _check_columns(place, file.schema_arrow.names, schema)
            for batch in file.iter_batches(ROW_GROUP):
                yield pa.Table.from_batches([batch]).cast(schema)
    except RunError:
        raise
    except (OSError, ValueError, TypeError, KeyError, OverflowError, MemoryError, pa.ArrowException) as error:
        raise _unreadable(place, error) from error


def read_rows(place: Path, form: str, schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows of a file of predictions, "csv", "csv-escaped" or "parquet", some thousands at a time.

    Raises:
        RunError: it is damaged, or has other columns.
    """
    if form == "parquet":
        yield from read_parquet(place, schema)
        return
    convert = pcsv.ConvertOptions(
        column_types=schema, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=True
    )
    parse = pcsv.ParseOptions(newlines_in_values=True)
    try:
        with place.open(encoding="utf-8", newline="") as file:
            _check_columns(place, next(csv.reader(file), []), schema)
        with pcsv.open_csv(place, convert_options=convert, parse_options=parse) as reader:
            for batch in reader:
                table = pa.Table.from_batches([batch]).cast(schema)
                yield table if form == "csv" else _unescaped(table)
    except RunError:
        raise
    except (OSError, ValueError, csv.Error, MemoryError, pa.ArrowException) as error:
        raise _unreadable(place, error) from error


def _unescaped(table: pa.Table) -> pa.Table:
    for at, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            cells = [
                None if cell is None else unescape_formula(cell) for cell in table.column(at).to_pylist()
            ]
            table = table.set_column(at, field, pa.array(cells, field.type))
    return table


def _check_columns(place: Path, found: Sequence[str], schema: pa.Schema) -> None:
    if list(found) != schema.names:
        raise RunError(
            f"its columns are {', '.join(found) or 'none'}, expected {', '.join(schema.names)}",
            where=place,
            remedy="move it away, or name another file with --out",
        )


def _unreadable(place: Path, error: Exception) -> RunError:
    return RunError(
        f"cannot be read back ({cut_text(error)})",
        where=place,
        remedy="move it away, or name another file with --out",
    )


def write_parquet(stream: Iterable[pa.Table], schema: pa.Schema, file: Path) -> None:
    """Write rows as Parquet, a row group at a time."""
    with pq.ParquetWriter(file, schema, write_page_checksum=True) as writer:
        for table in regrouped(stream):
            writer.write_table(table, row_group_size=ROW_GROUP)


class _UnixLines:
    """A file whose lines end in one character: `csv` quotes a carriage return only where it ends lines with one."""

    def __init__(self, file: IO[str]) -> None:
        self.file = file

    def write(self, line: str) -> int:
        return self.file.write(line.removesuffix("\r\n") + "\n")


def write_csv(stream: Iterable[pa.Table], schema: pa.Schema, file: Path, *, escape: bool = False) -> None:
    """Write rows as CSV in UTF-8 with Unix line ends: an empty field where nothing is known, as in pandas.

    Args:
        escape: put an apostrophe before text that a spreadsheet would run as a formula.
    """
    with file.open("w", encoding="utf-8", newline="") as opened:
        table = csv.writer(_UnixLines(opened), lineterminator="\r\n")
        table.writerow(schema.names)
        for rows in regrouped(stream):
            each: Iterable[list[Any]] = (column.to_pylist() for column in rows.columns)
            if escape:
                each = ([escape_formula(cell) for cell in column] for column in each)
            table.writerows(zip(*each, strict=True))
