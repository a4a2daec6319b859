"""A table of predictions from a file, CSV or Parquet: names stay text, numbers keep every digit."""

from __future__ import annotations

import csv
import os
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graftwork.common.errors import TableError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_predictions"]

_TEXT = ("case", "group", "part", "path", "target")
_MISSING = ("", "NA", "N/A", "NaN", "nan", "<NA>", "null", "NULL")
# What is a number whatever it looks like; all else is text, and a number only where nothing is lost by it.
_MEASURED = re.compile(r"(?:^|_)(?:score|truth|predicted|both|hausdorff_95|target)_")


def read_predictions(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a table of predictions, CSV (comma, semicolon or tab; UTF-8) or Parquet, told apart by content.

    Names (`case`, `group`, `part`, `path`, `target`) are text, also where they look like numbers; numbers are
    read to the last digit. `evaluate` checks what the columns hold.

    Raises:
        TableError: the file is missing, empty, damaged, or no such table.
    """
    import pandas as pd

    place = Path(path)
    try:
        if place.is_dir():
            raise TableError("is a folder, a file was expected", where=place)
        with place.open("rb") as file:
            start = file.read(4)
        if not start:
            raise TableError("the file is empty", where=place)
        frame = _parquet(place) if start == b"PAR1" else _csv(place)
    except OSError as error:
        raise TableError(f"cannot be read: {error.strerror or error}", where=place) from error
    except (ValueError, csv.Error, pd.errors.ParserError, pd.errors.ParserWarning) as error:
        reason = " ".join(str(error).split())[:300]
        raise TableError(
            f"cannot be read as a table: {reason}",
            where=place,
            remedy="write it as CSV in UTF-8 with one header line, or as Parquet",
        ) from error
    frame.attrs["source"] = str(place)
    return frame


def _parquet(place: Path) -> pd.DataFrame:
    import pandas as pd

    frame: pd.DataFrame = pd.read_parquet(place)
    return frame.reset_index(drop=True)


def _csv(place: Path) -> pd.DataFrame:
    import pandas as pd

    with place.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        if "\0" in first:
            raise TableError("is a binary file, neither CSV nor Parquet", where=place)
        separator = max(",;\t", key=first.count)  # of equals the comma
        header = [name.strip() for name in next(csv.reader([first], delimiter=separator), [])]
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise TableError(f"the column {', '.join(twice)} stands twice", where=place)
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # a row longer than the header
        frame = pd.read_csv(
            place,
            sep=separator,
            names=header,
            header=0,
            index_col=False,
            dtype={name: str for name in header if not _MEASURED.search(name)},
            keep_default_na=False,
            na_values=list(_MISSING),
            # every digit of a number counts; later versions read them all of their own accord
            float_precision="round_trip" if _version(pd.__version__) < (3, 1) else None,
            encoding="utf-8-sig",
            low_memory=False,
            skipinitialspace=True,
        )
    for name in frame.columns:
        if name not in _TEXT and not name.endswith("_target") and not _MEASURED.search(name):
            frame[name] = _as_numbers(frame[name])
    return frame


def _as_numbers(column: pd.Series[Any]) -> pd.Series[Any]:
    """A column of text as numbers, where all of it is plain numbers and no two of them would become one: 001 and 1
    are two names of events."""
    import pandas as pd

    known = column.dropna()
    if not len(known) or not known.str.fullmatch(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?").all():
        return column
    numbers = pd.to_numeric(column)
    return numbers if numbers.nunique() == known.nunique() else column


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(".")[:2])
