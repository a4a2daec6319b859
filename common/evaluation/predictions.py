"""The table of predictions: read from a file, checked as a whole, and turned into arrays.

One row a case. Columns: `case` (unique), `part`, the target (`target` with the class by name, or
`target_<class>` with 0, 1 or nothing for labels that do not exclude each other), one `score_<class>` a class
with a probability, and `group` (patient, lesion, location). Whoever wrote it, it goes this way.
"""

from __future__ import annotations

import csv
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation.arrays import Array, BoolArray, FloatArray, IntArray
from graftwork.common.evaluation.intervals import group_codes

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Cases", "Question", "TargetLike", "read_cases", "read_predictions"]

_TEXT = ("case", "group", "part", "path", "target")
_MISSING = ("", "NA", "N/A", "NaN", "nan", "<NA>", "null", "NULL")
_OVERSHOOT = 1e-6  # a mean of float32 probabilities may pass 1 by rounding; more is no probability
_SUM = 0.01  # probabilities rounded to a few digits still sum to 1 within this


class TargetLike(Protocol):
    """What is to be told: "binary" (classes: negative, positive), "multi-class" or "multi-label"."""

    @property
    def kind(self) -> str: ...
    @property
    def classes(self) -> Sequence[str]: ...


@dataclass(frozen=True, eq=False)
class Question:
    """One yes-or-no question put to cases: is it this class?

    Attributes:
        label: the class; empty where there is only one question.
        rows: [m], of the cases that have an answer. truth: [m]. scores: [m].
        units, count: [m], the group of each in 0..count-1.
        decided: [m], called positive; None where there is no decision, and `undecided` says why.
    """

    label: str
    rows: IntArray
    truth: BoolArray
    scores: FloatArray
    units: IntArray
    count: int
    decided: BoolArray | None = None
    undecided: str = "no threshold was chosen"


@dataclass(frozen=True, eq=False)
class Cases:
    """The cases of one part with a known label, as arrays.

    Attributes:
        kind, classes: of the target.
        truth: exclusive classes: [n], the index of the class; labels: [n, K] of 0, 1 and NaN (unknown).
        scores: [n, K], float64 probabilities.
        groups: [n], the group of each. case: [n], its name.
        excluded: cases of the part without a known label.
    """

    kind: str
    classes: tuple[str, ...]
    truth: Array
    scores: FloatArray
    groups: Array
    case: Array
    excluded: int = 0

    def __len__(self) -> int:
        return len(self.scores)

    @cached_property
    def units(self) -> tuple[IntArray, int]:
        """The group of each case as a number, and how many groups there are."""
        return group_codes(self.groups)

    def questions(self) -> tuple[Question, ...]:
        """Binary: the positive class. Exclusive classes: each against the rest, decided by the largest score
        (of equals the first). Labels: each over the cases where it is known."""
        units, count = self.units
        everyone = np.arange(len(self))
        if self.kind == "binary":
            return (Question("", everyone, self.truth == 1, self.scores[:, 1], units, count),)
        if self.kind == "multi-class":
            choice = self.choice
            return tuple(
                Question(name, everyone, self.truth == k, self.scores[:, k], units, count, choice == k)
                for k, name in enumerate(self.classes)
            )
        known = ~np.isnan(self.truth)
        return tuple(
            Question(
                name,
                np.flatnonzero(known[:, k]),
                self.truth[known[:, k], k] == 1,
                self.scores[known[:, k], k],
                units[known[:, k]],
                count,
            )
            for k, name in enumerate(self.classes)
        )

    @property
    def choice(self) -> IntArray:
        """[n], the class with the largest score; of equals the one with the lowest index."""
        chosen: IntArray = np.argmax(self.scores, axis=1)
        return chosen


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
        return pd.read_csv(
            place,
            sep=separator,
            names=header,
            header=0,
            index_col=False,
            dtype={name: str for name in header if name in _TEXT},
            keep_default_na=False,
            na_values=list(_MISSING),
            # every digit of a number counts; later versions read them all of their own accord
            float_precision="round_trip" if _version(pd.__version__) < (3, 1) else None,
            encoding="utf-8-sig",
            low_memory=False,
            skipinitialspace=True,
        )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(".")[:2])


def read_cases(
    predictions: pd.DataFrame, target: TargetLike, part: str | None = None, *, group: str = "group"
) -> Cases:
    """The cases of a part (None: of all) as arrays, ordered by name; the whole table is checked first.

    Where the column `group` is missing, each case is its own group.

    Raises:
        TableError: all faults of the table at once: missing columns, duplicated cases, unknown classes,
            scores that are missing or outside 0..1, no row.
    """
    faults = list(_faults(predictions, target, group))
    if faults:
        several = f"{len(faults)} faults" if len(faults) > 1 else "a fault"
        listing = "".join(f"\n  - {fault}" for fault in faults)
        where = predictions.attrs.get("source", "predictions")
        raise TableError(f"the table of predictions has {several}:{listing}", where=where)
    case = _text(predictions["case"])
    kept = np.ones(len(case), dtype=np.bool_) if part is None else _text(predictions["part"]) == part
    rows = np.flatnonzero(kept)
    rows = rows[np.argsort(case[rows].astype(str), kind="stable")]
    frame = predictions.iloc[rows]
    classes = tuple(target.classes)
    names = _score_columns(target)
    scores = np.stack([_numbers(frame[name])[0] for name in names], axis=1).clip(0.0, 1.0)
    if target.kind == "binary":  # the positive class is what is judged
        scores = np.stack([1.0 - scores[:, -1], scores[:, -1]], axis=1)
    truth: Array
    if target.kind == "multi-label":
        truth = np.stack([_numbers(frame[f"target_{name}"])[0] for name in classes], axis=1)
        known = ~np.isnan(truth).all(axis=1)
    else:
        place = {name: index for index, name in enumerate(classes)}
        truth = np.array([place.get(value, -1) for value in _text(frame["target"])], dtype=np.intp)
        known = truth >= 0
    case = case[rows]
    groups = _text(frame[group]) if group in frame.columns else case
    return Cases(
        target.kind,
        classes,
        truth[known],
        scores[known],
        groups[known].astype(str),
        case[known].astype(str),
        int((~known).sum()),
    )


def _score_columns(target: TargetLike) -> list[str]:
    """The columns that are needed; of a binary target the positive class's says all."""
    classes = target.classes[1:] if target.kind == "binary" else target.classes
    return [f"score_{name}" for name in classes]


def _faults(frame: pd.DataFrame, target: TargetLike, group: str) -> Iterator[str]:
    """Everything that is wrong with a table of predictions, a line each."""
    if target.kind not in ("binary", "multi-class", "multi-label"):
        raise UsageError(f"targets of kind {target.kind!r} are not evaluated", where="target")
    classes = list(target.classes)
    targets = [f"target_{name}" for name in classes] if target.kind == "multi-label" else ["target"]
    scores = _score_columns(target)
    columns = list(frame.columns)
    needed = ["case", "part", *targets, *scores, *([group] if group != "group" else [])]
    missing = [name for name in needed if name not in columns]
    if missing:
        yield f"columns are missing: {', '.join(missing)}; there are {', '.join(map(str, columns)) or 'none'}"
    twice = sorted({str(name) for name in columns if columns.count(name) > 1})
    if twice:
        yield f"columns stand twice: {', '.join(twice)}"
        return
    if not len(frame):
        yield "there is no row"
        return
    case = (
        _text(frame["case"]) if "case" in columns else np.arange(1, len(frame) + 1).astype(str).astype(object)
    )
    for name in ("case", "part", group):
        if name in columns:
            yield from _some(f"{name} is missing", _absent(_text(frame[name])), case)
    if "case" in columns:
        named = case[~_absent(case)].astype(str)
        found, counts = np.unique(named, return_counts=True)
        if (counts > 1).any():
            several = found[counts > 1]
            yield f"a case stands more than once: {_shown(several)} ({len(several)} of {len(found)} cases)"
    for name in (each for each in targets if each in columns):
        yield from _target_faults(frame[name], name, case, classes, target.kind)
    sound = []
    optional = [f"score_{classes[0]}"] if target.kind == "binary" else []
    for name in (each for each in (*optional, *scores) if each in columns):
        faults = list(_score_faults(frame[name], name, case))
        yield from faults
        sound += [] if faults else [name]
    if target.kind != "multi-label" and len(sound) == len(classes):
        total = np.sum([_numbers(frame[name])[0] for name in sound], axis=0)
        yield from _some("the scores do not sum to 1", np.abs(total - 1.0) > _SUM, case)


def _target_faults(
    column: pd.Series[Any], name: str, case: Array, classes: Sequence[str], kind: str
) -> Iterator[str]:
    if kind == "multi-label":
        values, odd = _numbers(column)
        odd |= ~np.isnan(values) & (values != 0) & (values != 1)
        found = _shown(np.unique(_text(column)[odd].astype(str)))
        yield from _some(
            f"{name} is not 0, 1 or empty but {found}; name a policy for other labels", odd, case
        )
    else:
        text = _text(column)
        odd = ~_absent(text) & ~np.isin(text.astype(str), list(classes))
        found = _shown(np.unique(text[odd].astype(str)))
        yield from _some(f"{name} holds unknown classes: {found} (known: {_shown(classes)})", odd, case)


def _score_faults(column: pd.Series[Any], name: str, case: Array) -> Iterator[str]:
    values, odd = _numbers(column)
    missing = np.isnan(values) & ~odd
    outside = ~np.isnan(values) & ~((values >= -_OVERSHOOT) & (values <= 1.0 + _OVERSHOOT))
    yield from _some(f"{name} is not a number", odd, case)
    yield from _some(f"{name} is missing (NaN)", missing, case)
    if outside.any():
        low, high = values[outside].min(), values[outside].max()
        yield from _some(f"{name} lies outside 0..1 ({low:g} to {high:g})", outside, case)


def _some(what: str, rows: BoolArray, case: Array) -> Iterator[str]:
    count = int(rows.sum())
    if count:
        yield f"{what}: {count:,} of {len(rows):,} cases ({_shown(case[rows])})"


def _shown(values: Sequence[object] | Array, most: int = 3) -> str:
    listed = ", ".join(str(value)[:60] for value in values[:most])
    return listed + (", ..." if len(values) > most else "")


def _text(column: pd.Series[Any]) -> Array:
    """A column as str objects, None where missing; whole numbers without a decimal point."""
    missing = column.isna().to_numpy()
    values = column.to_numpy(dtype=object)
    text = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        whole = isinstance(value, float) and not missing[row] and value.is_integer()
        text[row] = None if missing[row] else str(int(value)) if whole else str(value)
    return text


def _absent(text: Array) -> BoolArray:
    return np.fromiter((value is None for value in text), dtype=np.bool_, count=len(text))


def _numbers(column: pd.Series[Any]) -> tuple[FloatArray, BoolArray]:
    """A column as float64 (NaN where it is none), and where it holds something that is no number."""
    import pandas as pd

    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    odd = np.isnan(values) & ~column.isna().to_numpy()
    return values, odd
