"""A table of predictions, whatever it predicts: its columns as arrays, and what is wrong with it, in words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graftwork.common.errors import TableError
from graftwork.common.evaluation.arrays import Array, BoolArray, FloatArray
from graftwork.common.names import clean_names
from graftwork.common.wording import short_list

if TYPE_CHECKING:
    import pandas as pd


_POINT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?[iI]nf(?:inity)?")
_COMMA = re.compile(r"[-+]?[0-9]+,[0-9]+(?:[eE][-+]?[0-9]+)?")
_THOUSANDS = re.compile(r"[-+]?[1-9][0-9]{0,2},[0-9]{3}")  # 1,234: a thousands separator or a decimal comma
_PERCENT = re.compile(r"(.*[0-9]) ?%")


def refuse(frame: pd.DataFrame, faults: Sequence[str]) -> None:
    """Raise a TableError that lists all faults; with none, nothing happens."""
    if faults:
        several = f"{len(faults)} faults" if len(faults) > 1 else "a fault"
        listing = "".join(f"\n  - {fault}" for fault in faults)
        raise TableError(
            f"the table of predictions has {several}:{listing}",
            where=frame.attrs.get("source", "predictions"),
            remedy="correct the table, or name its columns by the options of the command",
        )


def has_groups(frame: pd.DataFrame, group: str) -> bool:
    """Whether the table has groups; an empty column `group` counts as none."""
    return group in frame.columns and not (group == "group" and bool(frame[group].isna().all()))


def row_faults(
    frame: pd.DataFrame, needed: Sequence[str], group: str, by: str = ""
) -> tuple[list[str], Array | None]:
    """What is wrong with columns and rows, whatever they predict: a line each.

    Args:
        needed: the columns there must be. group: the column of groups; only one that was named is needed.
        by: the column whose equal values form one unit; empty for none.

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
    group_columns = [group] if has_groups(frame, group) else []
    for name in ("case", "part", *group_columns, *([by] if by else [])):
        if name in columns:
            found += faulty_cases(f"{name} is missing", absent(text_of(frame[name])), case)
    if named:
        names, counts = np.unique(case[~absent(case)].astype(str), return_counts=True)
        if (counts > 1).any():
            several = names[counts > 1]
            found.append(
                f"a case stands more than once: {short_list(several)} ({len(several)} of {len(names)} cases)"
            )
    if by and group_columns and by in columns:
        import pandas as pd

        groups = pd.Series(text_of(frame[group])).groupby(text_of(frame[by])).nunique()
        torn = groups.index[groups > 1]
        if len(torn):
            found.append(
                f"{by} is in two groups: {short_list(list(torn))} ({len(torn):,} of {len(groups):,}); the cases of "
                "one unit belong to one group"
            )
    return found, case


def faulty_cases(what: str, rows: BoolArray, case: Array, values: Array | None = None) -> Iterator[str]:
    """A fault that some rows have, with how many and the first of them; nothing where none has it.

    Args:
        values: [n], what each row holds, quoted beside its case.
    """
    count = int(rows.sum())
    if count:
        which = case[rows].tolist()
        if values is not None:
            which = [f"{name}: {value!r}" for name, value in zip(which, values[rows], strict=True)]
        yield f"{what}: {count:,} of {len(rows):,} cases ({short_list(which)})"


def text_of(column: pd.Series[Any]) -> Array:
    """A column as str objects in the normal form of names (`clean_name`), None where missing or blank; whole numbers
    without a decimal point."""
    values = column.to_numpy(dtype=object).copy()
    values[column.isna().to_numpy()] = None
    text = np.empty(len(values), dtype=object)
    text[:] = clean_names(values)[0]
    return text


def distinct(text: Array) -> list[str]:
    """The different values of what `text_of` found, in the order in which they appear."""
    return [value for value in dict.fromkeys(text) if value is not None]


def absent(text: Array) -> BoolArray:
    """Where `text_of` found nothing."""
    return np.fromiter((value is None for value in text), dtype=np.bool_, count=len(text))


def numbers(column: pd.Series[Any]) -> tuple[FloatArray, BoolArray]:
    """A column as float64 (NaN where it is none), to the last digit, and where it holds something that is no number.

    Text is a number with a decimal point; with a decimal comma where `decimal_commas` finds that no cell can mean
    anything else; a percentage (`50 %` is 0.5) where every cell of the column is one.
    """
    if is_number(column):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        return values, np.zeros(len(values), dtype=np.bool_)
    missing = column.isna().to_numpy().copy()
    commas, percent = decimal_commas(column)[0], percentages(column)
    values = np.full(len(column), np.nan)
    for row, cell in enumerate(column.to_numpy(dtype=object)):
        if not missing[row]:
            text = str(float(cell)) if isinstance(cell, bool | np.bool_) else str(cell).strip()
            text = _PERCENT.sub(r"\1", text) if percent else text
            text = text.replace(",", ".") if commas and _COMMA.fullmatch(text) else text
            if _POINT.fullmatch(text):
                values[row] = float(text) / (100 if percent else 1)
            else:
                missing[row] |= text.lower() in ("", "nan")
    return values, np.isnan(values) & ~missing


def is_number(column: pd.Series[Any]) -> bool:
    """Whether a column has a type of numbers, as columns of Parquet may; text and XLSX are text."""
    import pandas as pd

    return bool(pd.api.types.is_numeric_dtype(column.dtype))


def percentages(column: pd.Series[Any]) -> bool:
    """Whether every cell of a column of text is a percentage."""
    cells = [] if is_number(column) else [str(cell).strip() for cell in column.dropna().unique()]
    return bool(cells) and all(_PERCENT.fullmatch(cell) for cell in cells)


def decimal_commas(column: pd.Series[Any]) -> tuple[bool, str]:
    """Whether the numbers of a column of text have decimal commas, and what is wrong where that is ambiguous.

    In a table whose cells a comma separates, every cell with a comma must be such a number.
    """
    if is_number(column):
        return False, ""
    cells = [_PERCENT.sub(r"\1", str(cell).strip()) for cell in column.dropna().unique()]
    with_comma = [cell for cell in cells if _COMMA.fullmatch(cell)]
    only_such = all(_COMMA.fullmatch(cell) or cell in ("0", "1") for cell in cells)
    if not with_comma or not (column.attrs.get("decimal_comma") or only_such):
        return False, ""
    point = next((cell for cell in cells if "." in cell and _POINT.fullmatch(cell)), "")
    comma, fault = with_comma[0], ""
    if point:
        fault = (
            f"{column.name} has decimal commas ({comma}) and decimal points ({point}), expected one of them"
        )
    elif all(_THOUSANDS.fullmatch(cell) for cell in with_comma):
        fault = (
            f"{column.name} holds {short_list(map(repr, with_comma))}, whose comma may separate thousands or "
            "decimals, expected numbers with a decimal point"
        )
    return not fault, fault
