"""A table of predictions, whatever it predicts: its columns as arrays, and what is wrong with it, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graftwork.common.errors import TableError
from graftwork.common.evaluation.arrays import Array, BoolArray, FloatArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["absent", "has_groups", "numbers", "refuse", "row_faults", "shown", "some", "text_of"]


def refuse(frame: pd.DataFrame, faults: Sequence[str]) -> None:
    """Raise a TableError that lists all faults; with none, nothing happens."""
    if faults:
        several = f"{len(faults)} faults" if len(faults) > 1 else "a fault"
        listing = "".join(f"\n  - {fault}" for fault in faults)
        where = frame.attrs.get("source", "predictions")
        raise TableError(f"the table of predictions has {several}:{listing}", where=where)


def has_groups(frame: pd.DataFrame, group: str) -> bool:
    """Whether the table tells groups: a column `group` that says nothing at all is as good as none."""
    return group in frame.columns and not (group == "group" and bool(frame[group].isna().all()))


def row_faults(
    frame: pd.DataFrame, needed: Sequence[str], group: str, by: str = ""
) -> tuple[list[str], Array | None]:
    """What is wrong with columns and rows, whatever they predict: a line each.

    Args:
        needed: the columns there must be. group: the column of groups; only one that was named is needed.
        by: the column whose equal values are put together; empty for none.

    Returns:
        the faults, and the name of each row's case (its number where there is no name); None in its place where
        the table cannot be looked at any further.
    """
    columns = list(frame.columns)
    needed = ["case", "part", *needed, *([group] if group != "group" else []), *([by] if by else [])]
    missing = [name for name in needed if name not in columns]
    found = []
    if missing:
        there = ", ".join(map(str, columns)) or "none"
        found.append(f"columns are missing: {', '.join(missing)}; there are {there}")
    twice = sorted({str(name) for name in columns if columns.count(name) > 1})
    if twice:
        return [*found, f"columns stand twice: {', '.join(twice)}"], None
    if not len(frame):
        return [*found, "there is no row"], None
    named = "case" in columns
    case = text_of(frame["case"]) if named else np.arange(1, len(frame) + 1).astype(str).astype(object)
    told = [group] if has_groups(frame, group) else []
    for name in ("case", "part", *told, *([by] if by else [])):
        if name in columns:
            found += some(f"{name} is missing", absent(text_of(frame[name])), case)
    if named:
        names, counts = np.unique(case[~absent(case)].astype(str), return_counts=True)
        if (counts > 1).any():
            several = names[counts > 1]
            found.append(
                f"a case stands more than once: {shown(several)} ({len(several)} of {len(names)} cases)"
            )
    if by and told and by in columns:
        groups = frame.groupby(by, observed=True)[group].nunique()
        torn = groups.index[groups > 1]
        if len(torn):
            found.append(
                f"{by} stands in two groups: {shown(list(torn))} ({len(torn):,} of {len(groups):,}); what is put "
                "together comes from one"
            )
    return found, case


def some(what: str, rows: BoolArray, case: Array) -> Iterator[str]:
    """A fault that some rows have, with how many and the first of them; nothing where none has it."""
    count = int(rows.sum())
    if count:
        yield f"{what}: {count:,} of {len(rows):,} cases ({shown(case[rows])})"


def shown(values: Sequence[object] | Array, most: int = 3) -> str:
    """The first few values, for a message, and how many more there are; a long value is cut, with a mark."""
    listed = ", ".join(_cut(str(value)) for value in values[:most])
    more = len(values) - most
    return f"{listed} and {more:,} more" if more > 0 else listed


def _cut(text: str, most: int = 60) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} letters)"


def text_of(column: pd.Series[Any]) -> Array:
    """A column as str objects, None where missing; whole numbers without a decimal point."""
    missing = column.isna().to_numpy()
    values = column.to_numpy(dtype=object)
    text = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        whole = isinstance(value, float) and not missing[row] and value.is_integer()
        text[row] = None if missing[row] else str(int(value)) if whole else str(value)
    return text


def absent(text: Array) -> BoolArray:
    """Where `text_of` found nothing."""
    return np.fromiter((value is None for value in text), dtype=np.bool_, count=len(text))


def numbers(column: pd.Series[Any]) -> tuple[FloatArray, BoolArray]:
    """A column as float64 (NaN where it is none), and where it holds something that is no number."""
    import pandas as pd

    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    odd = np.isnan(values) & ~column.isna().to_numpy()
    return values, odd
