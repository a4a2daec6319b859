"""The rows of a spreadsheet (XLSX) as text."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from graftwork.common.errors import TableError


def sheet_rows(place: Path, content: bytes, sheet: str) -> tuple[Iterator[tuple[int, list[str]]], str]:
    """The rows of the sheet `sheet` ("": the only one that holds anything) as text, each with its number, and "row".

    Args:
        place: the file, for messages. content: its bytes.

    Raises:
        TableError: it is damaged, or there is no such sheet, or several hold something.
    """
    import warnings

    import openpyxl

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # styles and extensions that hold no data
            book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
            filled = {
                each.title: [list(row) for row in each.iter_rows(values_only=True)]
                for each in book.worksheets
                if not sheet or each.title == sheet
            }
    except Exception as error:  # the library raises whatever its parsers raise
        raise TableError(
            f"cannot be read as a spreadsheet ({type(error).__name__}: {error})",
            where=place,
            remedy="save it again as XLSX, or as CSV in UTF-8 with one header line",
        ) from error
    filled = {
        name: rows for name, rows in filled.items() if any(cell is not None for row in rows for cell in row)
    }
    if len(filled) != 1:
        found = ", ".join(map(repr, filled)) or "none"
        wanted = f"the sheet {sheet!r}" if sheet else "one sheet that holds something"
        raise TableError(
            f"found the sheets {found}, expected {wanted}", where=place, remedy="save one sheet by itself"
        )
    rows = next(iter(filled.values()))
    return ((number, [_cell(cell) for cell in row]) for number, row in enumerate(rows, 1)), "row"


def _cell(value: object) -> str:
    import datetime

    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime.datetime) and value.time() != datetime.time():
        return value.isoformat(sep=" ")
    if isinstance(value, datetime.datetime):
        return value.date().isoformat()
    return str(value)
