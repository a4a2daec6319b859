"""The tables about the data: parts, classes, covariates, the proof that no group is shared, unreadable files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from graftwork.common.data.splits import SEEN
from graftwork.common.report.formatting import (
    NOT_AVAILABLE,
    number,
    percent,
    plural,
    shortened,
)
from graftwork.common.report.tables import Column, Row, Table

if TYPE_CHECKING:
    import pandas as pd

    from graftwork.common.data.targets import Target
    from graftwork.common.report.run.run_facts import Facts


LEVELS = 12  # of a covariate; one with more is described, not listed
CLASSES = 40  # named in a table, the most frequent ones; all stand in the run's metrics.json
SHOWN = 50  # quarantined files named; the rest is counted


def _by_part(facts: Facts) -> dict[str, pd.DataFrame]:
    frame, parts = facts.manifest.frame, facts.split.parts.to_numpy()
    return {part: frame[parts == part] for part in facts.parts}


def parts_table(facts: Facts) -> Table:
    """Pictures, units, groups and classes of each part; shares are of the pictures of the part."""
    parts = {**_by_part(facts), "all": facts.manifest.frame}
    frames = list(parts.values())
    sizes = [len(frame) for frame in frames]
    rows = [Row(plural(facts.picture), tuple(map(number, sizes)), strong=True)]
    unit = facts.manifest.unit
    if unit:
        rows.append(_distinct(plural(unit), frames, ["group", unit]))
    names = dict.fromkeys((facts.picture, facts.group))  # a volume may be the group
    if len(names) > 1:
        rows.append(_distinct(plural(facts.group), frames, ["group"]))
    several = len(facts.manifest.targets) > 1
    for target in facts.manifest.targets:
        if several:
            rows.append(Row(shortened(target.name, 48), ("",) * len(frames)))
        rows += _class_rows(facts, target, frames, level=int(several))
    said = [f"Shares are of the {plural(facts.picture)} of the part."]
    if SEEN in facts.parts:
        said.append(
            f"The part {SEEN} holds {plural(facts.picture)} that training did not see, of {plural(facts.group)} "
            "that it did see."
        )
    return Table(
        f"{', '.join(map(plural, names)).capitalize()} and classes of each part",
        (Column("what"), *(Column(part, numeric=True) for part in parts)),
        tuple(rows),
        stacks=SEEN in facts.parts,
        notes=(*said, *left_out(facts)),
    )


def _distinct(name: str, frames: Sequence[pd.DataFrame], columns: list[str]) -> Row:
    counts = tuple(number(len(frame[columns].dropna().drop_duplicates())) for frame in frames)
    return Row(name, counts, strong=True)


def _class_rows(facts: Facts, target: Target, frames: Sequence[pd.DataFrame], *, level: int) -> list[Row]:
    """How many cases of each class of a target each part has, and how many whose class is not known."""
    sizes, rows = [len(frame) for frame in frames], []
    shown = set(frequent(facts, target))
    column = target.columns[0]
    if target.kind == "segmentation":
        rows.append(
            _shares("with a mask", [int(frame[column].notna().sum()) for frame in frames], sizes, level)
        )
        return rows
    for name in (name for name in target.classes if name in shown):
        multiple = target.kind == "multi-label"
        if multiple:
            column = target.columns[target.classes.index(name)]
        counts = [int((frame[column] == (1 if multiple else name)).sum()) for frame in frames]
        rows.append(_shares(name, counts, sizes, level))
        unknown = [int(frame[column].isna().sum()) for frame in frames]
        if multiple and unknown[-1]:
            rows.append(Row("unknown", tuple(map(number, unknown)), level=1))
    unknown = [int(frame[column].isna().sum()) for frame in frames]
    if target.kind != "multi-label" and unknown[-1]:
        rows.append(_shares("unknown", unknown, sizes, level))
    return rows


def frequent(facts: Facts, target: Target | None = None) -> list[str]:
    """The classes of a target (the judged one) that tables name, in its order: all, or the most frequent of many."""
    target, frame = target or facts.target, facts.manifest.frame
    if target.kind == "segmentation":
        return list(target.classes[1:])
    if target.kind == "multi-label":
        counts = {
            name: int((frame[column] == 1).sum())
            for name, column in zip(target.classes, target.columns, strict=True)
        }
    else:
        found = frame[target.columns[0]].value_counts()
        counts = {name: int(found.get(name, 0)) for name in target.classes}
    kept = set(sorted(target.classes, key=lambda name: -counts[name])[:CLASSES])
    return [name for name in target.classes if name in kept]


def left_out(facts: Facts) -> tuple[str, ...]:
    """What a table says where it does not name every class."""
    classes = len(facts.target.classes)
    if classes <= CLASSES or facts.segments:
        return ()
    return (
        f"The {CLASSES} most frequent of {number(classes)} classes; all stand in metrics.json of the run.",
    )


def _shares(name: str, counts: Sequence[int], sizes: Sequence[int], level: int = 0) -> Row:
    cells = tuple(
        f"{number(n)} ({percent(n, size)})" if size else "0" for n, size in zip(counts, sizes, strict=True)
    )
    return Row(shortened(name, 48), cells, level=level)


def covariates_table(facts: Facts) -> Table | None:
    """What the manifest knows of the cases beside the target, by part; None where it knows nothing."""
    import pandas as pd

    parts = {**_by_part(facts), "all": facts.manifest.frame}
    sizes = [len(frame) for frame in parts.values()]
    rows: list[Row] = []
    for name in facts.manifest.covariates:
        column = facts.manifest.frame[name]
        title, known = shortened(name, 48), column.dropna()
        missing = [int(frame[name].isna().sum()) for frame in parts.values()]
        measured = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        if not len(known):
            rows.append(Row(title, ("unknown",) * len(parts)))
            continue
        if measured and known.nunique() > LEVELS:
            rows.append(
                Row(f"{title}, median (range)", tuple(_spread(frame[name]) for frame in parts.values()))
            )
        elif known.nunique() > LEVELS:
            cells = tuple(number(frame[name].nunique()) for frame in parts.values())
            rows.append(Row(f"{title}, distinct values", cells))
        else:
            rows.append(Row(title, ("",) * len(parts)))
            for level in sorted(known.unique().tolist(), key=str):
                found = [int((frame[name] == level).sum()) for frame in parts.values()]
                rows.append(_shares(str(level), found, sizes, level=1))
        if missing[-1]:
            rows.append(_shares("unknown", missing, sizes, level=1))
    if not rows:
        return None
    return Table(
        f"Covariates of the {plural(facts.picture)} of each part (none of them is an input)",
        (Column("covariate"), *(Column(part, numeric=True) for part in parts)),
        tuple(rows),
        stacks=SEEN in facts.parts,
    )


def _spread(column: pd.Series) -> str:
    known = column.dropna()
    if not len(known):
        return NOT_AVAILABLE
    return f"{known.median():.4g} ({known.min():.4g} to {known.max():.4g})"


def proof_table(facts: Facts) -> Table:
    """Groups that two parts share, counted over the split that was really used; of the part of groups that are met
    again, also the units that it shares with train."""
    rows = [
        Row(f"{pair.first} and {pair.second}", (number(pair.shared), number(pair.of)), strong=pair.shared > 0)
        for pair in facts.proof
    ]
    columns = [
        Column("parts"),
        Column(f"shared {plural(facts.group)}", numeric=True),
        Column(f"of {plural(facts.group)} in all", numeric=True),
    ]
    notes = ["Counted over the split that this run used."]
    if SEEN in facts.parts:
        unit = facts.manifest.unit or facts.picture
        both, frame = facts.split.shared_units, facts.split.seen.frame
        # a unit lies within one group: parts without a common group have no common unit
        rows = [
            replace(row, cells=(*row.cells, row.cells[0] if row.cells[0] == "0" else "–")) for row in rows
        ]
        met = (number(frame["group"].nunique()), number(facts.groups), number(both.shared))
        rows.append(Row(f"{both.first} and {both.second}", met, strong=both.shared > 0))
        columns.append(Column(f"shared {plural(unit)}", numeric=True))
        notes.append(
            f"The part {SEEN} shares its {plural(facts.group)} with train on purpose, and none of its {plural(unit)}."
        )
    return Table(
        f"{plural(facts.group).capitalize()} shared between parts",
        tuple(columns),
        tuple(rows),
        stacks=SEEN in facts.parts,
        notes=tuple(notes),
    )


def quarantine_table(facts: Facts) -> Table | None:
    """The files that could not be read, with the reason; None where all could."""
    if not facts.quarantine:
        return None
    rows = tuple(
        Row(
            shortened(facts.scrub(line.get("case", "")), 60),
            (line.get("stage", ""), facts.scrub(line.get("reason", ""))),
        )
        for line in facts.quarantine[:SHOWN]
    )
    more = len(facts.quarantine) - SHOWN
    notes = (f"{number(more)} more stand in quarantine.csv of the run.",) if more > 0 else ()
    return Table(
        "Files that could not be read",
        (Column("case"), Column("ended at"), Column("reason")),
        rows,
        notes=notes,
    )
