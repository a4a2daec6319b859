"""A table of predictions or of truth from a file: text in any usual form, XLSX or Parquet; cells stay as written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from graftwork.common.files.table_files import read_table

if TYPE_CHECKING:
    import pandas as pd


def read_predictions(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a table of predictions: delimited text, XLSX or Parquet, told apart by content (see `read_table`).

    Cells of text and XLSX stay text, so that `1.10` is not `1.1` and `007` is not `7`; `numbers` reads numbers to the
    last digit. `evaluate` checks what the columns hold.

    Returns:
        The table. `attrs`: `source`, the file; `notes`, what was assumed, a sentence each; `decimal_comma`, whether
        0,5 may be a number (not where the comma separates cells).

    Raises:
        TableError: the file is missing, empty, damaged, or no such table.
    """
    found = read_table(path)
    frame = found.frame
    frame.attrs = {"source": str(path), "notes": found.notes, "decimal_comma": found.separator != ","}
    return frame
