"""A table of readings: a model and readers of the same cases, evaluated by each other or by a truth of its own."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation.arrays import Array, FloatArray
from graftwork.common.evaluation.readers import AgainstReaders, against_readers, majority
from graftwork.common.evaluation.tables.case_joining import join_cases
from graftwork.common.evaluation.tables.case_rows import CASES
from graftwork.common.evaluation.tables.case_tables import read_predictions
from graftwork.common.evaluation.tables.columns.named_columns import NamedColumns
from graftwork.common.evaluation.tables.columns.part_columns import part_name, read_parts
from graftwork.common.evaluation.tables.columns.truth_columns import NO, YES
from graftwork.common.evaluation.tables.prediction_arrays import (
    absent,
    decimal_commas,
    faulty_cases,
    numbers,
    percentages,
    refuse,
    text_of,
)
from graftwork.common.names import clean_name, look_alikes, match_names
from graftwork.common.wording import short_list

if TYPE_CHECKING:
    import pandas as pd


StrPath = str | os.PathLike[str]
_TRUTH = ("target", "truth", "true", "label", "y")
_WORDS = {**dict.fromkeys(YES, 1.0), **dict.fromkeys(NO, 0.0)}
_COPY = 20  # cases from which two columns that agree in all of them count as copies


def judge_readings(
    readings: StrPath,
    model: str,
    readers: Sequence[str],
    *,
    metric: str = "f1",
    reference: str = "majority-of-others",
    reference_readers: Sequence[str] = (),
    truth: StrPath | None = None,
    truth_column: str = "",
    positive: str = "",
    group: str = "",
    part: str = "test",
    threshold: float | None = None,
    only_predicted: bool = False,
    bootstrap: int = 2000,
    seed: int = 0,
) -> AgainstReaders:
    """Evaluate a model among readers from a table; every argument and error: see `graftwork.evaluate_readers`."""
    _one_reference(reference, reference_readers, truth, truth_column)
    frame = read_predictions(readings)
    roles = [(model, "the model"), *((name, "a reader") for name in readers)]
    roles += [(name, "a reader of the reference") for name in reference_readers]
    roles += [(group, "the group")] if group else []
    roles += [(truth_column, "the truth")] if truth_column and truth is None else []
    columns, notes = _columns(frame, roles, str(readings))
    frame, said, of_parts = _of_part(frame, part, columns.values(), str(readings))
    notes += said
    faults: list[str] = []
    case, named = _cases(frame, faults, notes)
    groups = _groups(frame, columns.get(group, "group" if "group" in frame else ""), case, faults, notes)
    deciders = [*([] if threshold is not None else [model]), *readers, *reference_readers]
    if truth_column and truth is None:
        deciders.append(truth_column)
    values = _decisions(frame, [columns[name] for name in deciders], positive, case, faults, notes)
    own = (
        _scores(frame, columns[model], threshold, case, faults, notes)
        if threshold is not None
        else values[columns[model]]
    )
    if threshold is None:
        faults += _missing(own, columns[model], case)
    known = None
    if truth is not None:
        known = _truth(
            str(readings),
            truth,
            truth_column,
            positive,
            case if named else None,
            only_predicted,
            faults,
            notes,
        )
    elif truth_column:
        known = values[columns[truth_column]]
    refuse(frame, faults)
    used = {columns[name] for name, _ in roles} | {named, "group" if groups is not None else "", *of_parts}
    idle = [str(name) for name in frame.columns if str(name) not in used]
    notes += [f"Columns that were not used: {', '.join(idle)}."] if idle else []
    of_readers = {name: values[columns[name]] for name in readers}
    _copies(
        model,
        own,
        {**of_readers, **{name: values[columns[name]] for name in reference_readers}},
        readings,
        notes,
    )
    if reference_readers:
        known = majority(np.stack([values[columns[name]] for name in reference_readers], axis=1))
    if known is not None:
        lost = int(np.isnan(known).sum())
        why = "a majority of the readers of the reference" if reference_readers else "a known truth"
        notes += [f"{lost:,} of {len(known):,} cases without {why} were left out."] if lost else []
    found = against_readers(
        np.stack(list(of_readers.values()), axis=1) if of_readers else np.empty((len(frame), 0)),
        own,
        metric,  # type: ignore[arg-type]
        reference,  # type: ignore[arg-type]
        groups,
        truth=known,
        replicates=bootstrap,
        seed=seed,
        group=group or ("group" if groups is not None else "case"),
    )
    by = found.reference if not reference_readers else f"the majority of {', '.join(reference_readers)}"
    return replace(found, reference=by, notes=tuple(notes), names=(model, *readers))


def _one_reference(reference: str, others: Sequence[str], truth: StrPath | None, truth_column: str) -> None:
    own = bool(truth is not None or truth_column)
    if own and others:
        raise UsageError(
            "found a truth and readers of the reference, expected one of the two",
            where="reference",
            remedy="leave out the truth or the readers of the reference",
        )
    if (own or others) and reference != "majority-of-others":
        raise UsageError(
            f"the reference {reference!r} is of the readers themselves, and another reference was named",
            where="reference",
            remedy="leave one of them out",
        )


def _columns(
    frame: pd.DataFrame, roles: Sequence[tuple[str, str]], where: str
) -> tuple[dict[str, str], list[str]]:
    """The column of each name that was asked for; a column that has two roles is refused."""
    there = [str(name) for name in frame.columns]
    found = match_names([name for name, _ in dict(roles).items()], there, "column")
    missing = [name for name, _ in roles if name not in found]
    if missing:
        raise UsageError(
            f"no column {', '.join(missing)}; there are {short_list(there, 40)}",
            where=where,
            remedy="name columns as the table does",
        )
    taken: dict[str, str] = {}
    for name, role in roles:
        column = found[name]
        if column in taken:
            both = f"{taken[column]} and {role}" if taken[column] != role else f"{role} twice"
            raise UsageError(
                f"the column {column!r} is named twice: as {both}",
                where=where,
                remedy="name another column for one of them",
            )
        taken[column] = role
    return found, [
        f"The column {column!r} was taken for {name!r}."
        for name, column in found.items()
        if clean_name(name) != clean_name(column)
    ]


def _of_part(
    frame: pd.DataFrame, part: str, asked: Iterable[str], where: str
) -> tuple[pd.DataFrame, list[str], set[str]]:
    """The rows of a part, where a column says it that was not asked for as something else; and that column."""
    columns = NamedColumns(frame, where)
    for name in asked:
        columns.take(name, "asked for")
    faults: list[str] = []
    notes: list[str] = []
    lines = np.array([f"line {number}" for number in range(2, len(frame) + 2)], dtype=object)
    parts = read_parts([columns], lines, part, "", faults, notes, named_by_option=False)
    refuse(frame, faults)
    used = {name for name, what in columns.used.items() if what == "part"}
    if parts is None:
        return frame, [], used
    here = parts == part_name(part)
    if not here.any():
        listed = ", ".join(sorted({str(name) for name in parts}))
        raise TableError(
            f"found the parts {listed} in the column {', '.join(used)}, expected {part}",
            where=where,
            remedy="name a part with --part, or remove the column",
        )
    rows = frame[here].reset_index(drop=True)
    rows.attrs = dict(frame.attrs)
    left = (
        f"{len(rows):,} of {len(frame):,} rows are of the part {part_name(part)}; the others were left out."
    )
    return rows, [*notes, left], used


def _cases(frame: pd.DataFrame, faults: list[str], notes: list[str]) -> tuple[Array, str]:
    """The name of each row's case (its line where no column says it), and the column."""
    column = next(
        iter(match_names(CASES, [str(name) for name in frame.columns], "column of cases").values()), ""
    )
    if not column:
        notes.append("No column names the cases, so that a case that is there twice cannot be found.")
        return np.array([f"line {number}" for number in range(2, len(frame) + 2)], dtype=object), ""
    case = text_of(frame[column])
    rows = np.array([f"line {number}" for number in range(2, len(frame) + 2)], dtype=object)
    faults += faulty_cases(f"{column} is missing", absent(case), rows)
    names, counts = np.unique(case[~absent(case)].astype(str), return_counts=True)
    if (counts > 1).any():
        several = names[counts > 1]
        faults.append(
            f"a case is there more than once: {short_list(several)} ({len(several):,} of {len(names):,} cases)"
        )
    notes += _alike(names, "cases")
    return np.where(absent(case), rows, case), column


def _groups(
    frame: pd.DataFrame, column: str, case: Array, faults: list[str], notes: list[str]
) -> Array | None:
    if not column:
        return None
    groups = text_of(frame[column])
    faults += faulty_cases(f"{column} is missing", absent(groups), case)
    notes += _alike(groups[~absent(groups)].astype(str), "groups")
    return groups.astype(str)


def _cells(values: Array) -> Array:
    """Cells in their normal form; whole numbers without decimals, as a column with gaps may be written as 0.0, 1.0."""
    found = np.empty(len(values), dtype=object)
    found[:] = [None if cell is None else _plain_number(cell) for cell in values]
    return found


def _plain_number(text: str) -> str:
    text = clean_name(text)
    return str(int(float(text))) if re.fullmatch(r"-?[0-9]{1,15}(?:\.0*)?", text) else text


def _alike(names: Array, what: str) -> list[str]:
    alike = look_alikes(set(names.tolist()))
    listed = short_list([" and ".join(each) for each in alike])
    return (
        [f"{what[:1].upper()}{what[1:]} whose names only look alike were taken for different ones: {listed}."]
        if alike
        else []
    )


def _decisions(
    frame: pd.DataFrame,
    columns: Sequence[str],
    positive: str,
    case: Array,
    faults: list[str],
    notes: list[str],
) -> dict[str, FloatArray]:
    """Decisions of columns as 0, 1 and NaN."""
    cells = {name: _cells(text_of(frame[name])) for name in columns}
    found, said = _read_decisions(cells, positive, case)
    faults += said
    notes += _words_read(cells, positive) if not said else []
    return found


def _words_read(cells: dict[str, Array], positive: str) -> list[str]:
    """What was taken for positive, where other words than 0 and 1 are used."""
    texts = {str(cell).casefold() for values in cells.values() for cell in values if cell is not None}
    if not positive and texts <= {"0", "1"}:
        return []
    wanted = _plain_number(positive).casefold()
    read = {text: text == wanted if positive else _WORDS[text] == 1.0 for text in sorted(texts)}
    for_it, against = ([text for text, it in read.items() if it is which] for which in (True, False))
    return [f"Decisions were read as positive: {', '.join(for_it)}; as negative: {', '.join(against)}."]


def _read_decisions(
    cells: dict[str, Array], positive: str, case: Array
) -> tuple[dict[str, FloatArray], list[str]]:
    faults: list[str] = []
    known = _WORDS
    if positive:
        wanted = _plain_number(positive).casefold()
        there = sorted(
            {str(cell).casefold() for values in cells.values() for cell in values if cell is not None}
        )
        others = [each for each in there if each != wanted]
        if wanted not in there or len(others) > 1:
            faults.append(
                f"found the values {', '.join(there)} in {', '.join(cells)}, expected {positive} and one other value"
            )
            return {name: np.zeros(len(case)) for name in cells}, faults
        known = {wanted: 1.0, **dict.fromkeys(others, 0.0)}
    found = {}
    for name, values in cells.items():
        texts = [None if cell is None else str(cell).casefold() for cell in values]
        odd = np.array([text is not None and text not in known for text in texts], dtype=np.bool_)
        held = sorted({str(cell) for cell in values if cell is not None})
        many = len(held) > 5
        listed = f"{len(held):,} values such as {', '.join(held[:3])}" if many else " and ".join(held)
        advice = "scores need a --threshold" if many else "--positive names the value that is positive"
        faults += faulty_cases(
            f"{name} holds {listed}, expected 0 and 1, or yes and no ({advice})", odd, case
        )
        found[name] = np.array(
            [known.get(text, np.nan) if text else np.nan for text in texts], dtype=np.float64
        )
        if odd.any():
            found[name][odd] = 0.0  # said once
    return found, faults


def _missing(own: FloatArray, column: str, case: Array) -> list[str]:
    return list(faulty_cases(f"{column}, the model's column, is empty", np.isnan(own), case))


def _scores(
    frame: pd.DataFrame, column: str, threshold: float, case: Array, faults: list[str], notes: list[str]
) -> FloatArray:
    if np.isnan(threshold):
        raise UsageError("the threshold is NaN, expected a number", where="threshold", remedy="give a number")
    values, odd = numbers(frame[column])
    commas, mixed = decimal_commas(frame[column])
    if mixed:
        faults.append(f"{mixed}; write all numbers in one way")
    if commas:
        notes.append(f"Numbers with a decimal comma were read: {column}.")
    if percentages(frame[column]):
        notes.append(f"Percentages were read, 50 % as 0.5: {column}.")
    faults += faulty_cases(f"{column} is not a number", odd, case)
    faults += _missing(np.where(odd, 0.0, values), column, case)
    decided: FloatArray = (values >= threshold).astype(np.float64)
    return decided


def _truth(
    readings: str,
    file: StrPath,
    column: str,
    positive: str,
    case: Array | None,
    only_predicted: bool,
    faults: list[str],
    notes: list[str],
) -> FloatArray | None:
    """The truth of each case, from a table of its own."""
    if case is None:
        faults.append("no column names the cases, by which the truth is found")
        return None
    frame = read_predictions(file)
    there = [str(name) for name in frame.columns]
    wanted = match_names([column] if column else _TRUTH, there, "column of the truth")
    if not wanted or len(set(wanted.values())) > 1:
        listed = ", ".join(wanted.values()) or ", ".join(there)
        raise UsageError(
            f"found the columns {listed}, expected one with the truth ({column or ', '.join(_TRUTH)})",
            where=str(file),
            remedy="name the column with --truth-column",
        )
    own: list[str] = []
    names, named = _cases(frame, own, notes)
    if not named:
        own.append("no column names the cases")
    values, said = _read_decisions(
        {(name := next(iter(wanted.values()))): _cells(text_of(frame[name]))}, positive, names
    )
    faults += [f"{file}: {each}" for each in (*own, *said)]
    if faults:
        return None
    joined = join_cases(
        case, names, (), only_predicted=only_predicted, where=(readings, str(file)), faults=faults
    )
    if joined.rows is None:
        return None
    notes += [joined.note] if joined.note else []
    if joined.left:
        notes.append(f"{joined.left:,} cases of {file} have no reading and were left out, as was asked.")
    return values[name][joined.rows]


def _copies(
    model: str, own: FloatArray, others: dict[str, FloatArray], where: StrPath, notes: list[str]
) -> None:
    """Refuse a model whose decisions are those of a reader in every case; say it of two readers."""
    seen = {model: own, **others}
    names = list(seen)
    for at, one in enumerate(names):
        for other in names[at + 1 :]:
            a, b = seen[one], seen[other]
            both = ~np.isnan(a) & ~np.isnan(b)
            n = int(both.sum())
            if n < _COPY or (a[both] != b[both]).any() or len(np.unique(a[both])) < 2:
                continue
            if one == model:
                raise TableError(
                    f"the columns {one} (the model) and {other} (a reader) hold the same decision in all {n:,} cases",
                    where=str(where),
                    remedy="name the model's own column; a reader that is the model is no reader",
                )
            notes.append(
                f"The readers {one} and {other} gave the same decision in all {n:,} cases that both read."
            )
