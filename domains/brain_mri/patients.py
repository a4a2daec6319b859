"""The tables beside the slices: what `data.csv` says of patients, and the spacings that somebody may have added."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graftwork.common.errors import DatasetError
from graftwork.common.files.table_files import TextTable, read_table
from graftwork.common.names import clean_name, look_alikes, match_names, name_key
from graftwork.domains.brain_mri.stacks import Volume, complain

# covariate: column of data.csv. The publisher explains none of its codes, so they stay as they are
TABLE = {
    "histology": "histological_type",
    "grade": "neoplasm_histologic_grade",
    "gender": "gender",
    "age": "age_at_initial_pathologic",
}
SPACING = "spacing.csv"
_SIDES = ("slice_mm", "row_mm", "column_mm")
_OLDEST = 120  # years


@dataclass
class Patients:
    """What data.csv says.

    Attributes:
        rows: patient to covariate to value, None where the cell is empty. Empty without the table.
        notes: what was assumed or not used, a sentence each.
        alike: a patient of the table and a folder's, or two codes of a column, that only look alike.
    """

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    alike: list[str] = field(default_factory=list)


def _table(path: Path, wanted: Sequence[str]) -> tuple[TextTable, dict[str, list[str]], list[str]]:
    """A table, the cells of its wanted columns ("" where missing), and notes on the others.

    Raises:
        TableError: it cannot be read. DatasetError: it lacks one of the columns.
    """
    table = read_table(path)
    there = match_names(wanted, table.columns, "column")
    missing = [name for name in wanted if name not in there]
    if missing:
        raise DatasetError(
            f"the table has no column {', '.join(missing)} (found {', '.join(table.columns)})",
            where=path,
            remedy="restore the published table",
        )
    notes = list(table.notes)
    notes += [
        f"{path.name}: the column {there[name]} is read as {name}"
        for name in wanted
        if clean_name(there[name]) != name
    ]
    unused = [name for name in table.columns if name not in there.values()]
    if unused:
        notes.append(f"{path.name}: {len(unused)} columns are not used ({', '.join(unused)})")
    cells = {
        name: [clean_name(str(cell)) for cell in table.frame[there[name]].fillna("").tolist()]
        for name in wanted
    }
    return table, cells, notes


def read_patients(place: Path, groups: Collection[str]) -> Patients:
    """What data.csv says of each patient.

    Args:
        place: its folder. groups: the patients with a folder.

    Raises:
        TableError: it cannot be read. DatasetError: a missing column; rows without a patient, patients twice with other
            values and impossible ages, all of them at once.
    """
    path = place / "data.csv"
    if not path.is_file():
        return Patients()
    table, cells, notes = _table(path, ("Patient", *TABLE.values()))
    found = Patients(notes=notes)
    faults: list[str] = []
    repeated = 0
    for row, (line, who) in enumerate(zip(table.lines, cells["Patient"], strict=True)):
        known: dict[str, Any] = {name: cells[column][row] or None for name, column in TABLE.items()}
        if known["age"] is not None:
            age = _number(known["age"])
            if age is None or not 0 <= age <= _OLDEST:
                faults.append(f"line {line}: {who}: {known['age']!r} is no age from 0 to {_OLDEST} years")
            known["age"] = age
        if not who:
            faults.append(f"line {line}: it names no patient")
        elif found.rows.setdefault(who, known) != known:
            faults.append(f"line {line}: {who} is there twice, with other values")
        else:
            repeated += found.rows[who] is not known
    complain(faults, "row", "a row is a patient, once, with an age in years or none", path)
    if repeated:
        found.notes.append(f"{path.name}: {repeated} rows repeat a patient with the same values")
    keys = {name_key(group): group for group in groups}
    spare = [who for who in found.rows if who not in groups]
    found.alike += [
        f"{who} (data.csv) and {keys[name_key(who)]} (folder)" for who in spare if name_key(who) in keys
    ]
    for name, column in TABLE.items():
        codes = {value[name] for value in found.rows.values() if isinstance(value[name], str)}
        found.alike += [f"{' and '.join(each)} ({column})" for each in look_alikes(codes)]
    if spare:
        found.notes.append(f"{path.name}: {len(spare)} of {len(found.rows)} patients have no folder here")
    if found.alike:
        found.notes.append(f"names that look alike count as different: {'; '.join(found.alike[:5])}")
    return found


def read_spacings(root: Path, place: Path, volumes: Sequence[Volume]) -> tuple[dict[str, str], list[str]]:
    """ "slice row column" in mm by patient or patient's folder, from a table that somebody has added; and notes.

    Raises:
        TableError: it cannot be read. DatasetError: two tables that differ, or rows that cannot be used, all at once.
    """
    paths = [each / SPACING for each in dict.fromkeys((place, root)) if (each / SPACING).is_file()]
    if not paths:
        return {}, []
    if len(paths) > 1 and paths[0].read_bytes() != paths[1].read_bytes():
        raise DatasetError(f"differs from {paths[1]}", where=paths[0], remedy="keep the right one of the two")
    path = paths[0]
    table, cells, notes = _table(path, ("patient", *_SIDES))
    known = {name for volume in volumes for name in (volume.name, volume.group)}
    spacings: dict[str, str] = {}
    faults: list[str] = []
    for row, (line, who) in enumerate(zip(table.lines, cells["patient"], strict=True)):
        given = [cells[name][row] for name in _SIDES]
        sides = [_number(text) for text in given]
        if not all(side is not None and 0 < side < 1000 for side in sides):
            faults.append(f"line {line}: {who or '(no patient)'}: {', '.join(given)}")
        elif who not in known:
            faults.append(f"line {line}: {who}: there is no such patient")
        else:
            text = " ".join(f"{side:g}" for side in sides)
            if spacings.setdefault(who, text) != text:
                faults.append(f"line {line}: {who} is there twice, with {spacings[who]} and {text}")
    faults += _two_answers(spacings, volumes)
    complain(faults, "row", "a row is a patient of the set and three lengths in mm", path)
    return spacings, notes


def _two_answers(spacings: Mapping[str, str], volumes: Sequence[Volume]) -> list[str]:
    return [
        f"{volume.name} has {spacings[volume.name]}, its patient {volume.group} {spacings[volume.group]}"
        for volume in volumes
        if volume.name in spacings
        and spacings.get(volume.group, spacings[volume.name]) != spacings[volume.name]
    ]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
