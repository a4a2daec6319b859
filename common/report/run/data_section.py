"""The section on the data: parts, classes, shared groups, covariates, unreadable files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from graftwork.common.data.splits import SEEN
from graftwork.common.report.formatting import NOT_AVAILABLE, count, number, percent, sentence, shortened
from graftwork.common.report.section import Column, Row, Section, Table, section
from graftwork.common.wording import plural

if TYPE_CHECKING:
    import pandas as pd

    from graftwork.common.data.targets import Target
    from graftwork.common.report.run.run_facts import Facts


LEVELS = 12  # of a covariate; one with more is summarised, not listed
CLASSES = 40  # named in a table, the most frequent ones; metrics.json of the run has all
SHOWN = 50  # quarantined files in the table; the others are counted


@section("run", 100)
def data(facts: Facts) -> Section:
    """Parts and classes, shared groups, covariates, unreadable files."""
    covariates, unreadable = covariates_table(facts), quarantine_table(facts)
    found = [
        Section("Groups shared between parts", text=(shared_sentence(facts),), tables=(proof_table(facts),))
    ]
    if covariates is not None:
        found.append(
            Section("Covariates", text=("None of them is an input of the network.",), tables=(covariates,))
        )
    found.append(
        Section("Unreadable files", text=("None: every file was read.",))
        if unreadable is None
        else Section("Unreadable files", text=(quarantined(facts),), tables=(unreadable,))
    )
    return Section(
        "Data", "data", tables=(parts_table(facts),), notes=absent_classes(facts), sections=tuple(found)
    )


def absent_classes(facts: Facts) -> tuple[str, ...]:
    """Sentences of the split on classes that a part lacks."""
    return tuple(sentence(facts.scrub(text)) for text in facts.absent)


def quarantined(facts: Facts) -> str:
    """How many files could not be read."""
    n, limit = len(facts.quarantine), facts.recipe.training.max_unreadable_files
    return (
        f"{count(n, 'file')} could not be read and {'was' if n == 1 else 'were'} left out; the recipe allows "
        f"{number(limit)}."
    )


def leak_sentence(facts: Facts) -> str:
    """How many groups have cases in more than one part, and what that means for the numbers."""
    return (
        f"{number(facts.leaks)} of {count(facts.groups, facts.group)} "
        f"{'has' if facts.leaks == 1 else 'have'} {plural(facts.image)} in more than one part: the results are too "
        "optimistic"
    )


def verified(facts: Facts) -> str:
    """That no group is shared; empty where one is."""
    parts = " (train, validation, test)" if SEEN in facts.parts else ""
    groups = plural(facts.group).capitalize()
    return "" if facts.leaks else f"{groups} shared between parts{parts}: 0 of {number(facts.groups)}."


def shared_sentence(facts: Facts) -> str:
    """The number of shared groups, and what it means."""
    if facts.leaks:
        return f"{leak_sentence(facts)}. A network can recognise a {facts.group} from training."
    return f"{verified(facts)} The split keeps every {facts.group} in one part."


def _by_part(facts: Facts) -> dict[str, pd.DataFrame]:
    frame, parts = facts.manifest.frame, facts.split.parts.to_numpy()
    return {part: frame[parts == part] for part in facts.parts}


def parts_table(facts: Facts) -> Table:
    """Images, units, groups and classes of each part."""
    parts = {**_by_part(facts), "all": facts.manifest.frame}
    frames = list(parts.values())
    sizes = [len(frame) for frame in frames]
    rows = [Row(plural(facts.image), tuple(map(number, sizes)), strong=True)]
    unit = facts.manifest.unit
    if unit:
        rows.append(_distinct(plural(unit), frames, ["group", unit]))
    names = dict.fromkeys((facts.image, facts.group))  # a volume may be the group
    if len(names) > 1:
        rows.append(_distinct(plural(facts.group), frames, ["group"]))
    several = len(facts.manifest.targets) > 1
    for target in facts.manifest.targets:
        if several:
            rows.append(Row(shortened(target.name, 48), ("",) * len(frames)))
        rows += _class_rows(facts, target, frames, level=int(several))
    notes = [f"Percentages are of the {plural(facts.image)} of the part."]
    if SEEN in facts.parts:
        notes.append(
            f"The part {SEEN} has {plural(facts.image)} that are not in training, of {plural(facts.group)} that are."
        )
    return Table(
        f"{', '.join(map(plural, names)).capitalize()} and classes of each part",
        (Column("count"), *(Column(part, numeric=True) for part in parts)),
        tuple(rows),
        stacks=SEEN in facts.parts,
        notes=(*notes, *left_out(facts)),
    )


def _distinct(name: str, frames: Sequence[pd.DataFrame], columns: list[str]) -> Row:
    counts = tuple(number(len(frame[columns].dropna().drop_duplicates())) for frame in frames)
    return Row(name, counts, strong=True)


def _class_rows(facts: Facts, target: Target, frames: Sequence[pd.DataFrame], *, level: int) -> list[Row]:
    """Numbers of cases by class of a target and part, and of cases without a known class."""
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
    """The classes of a target (the evaluated one) that tables name, in its order: all, or the most frequent."""
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
    shown = set(sorted(target.classes, key=lambda name: -counts[name])[:CLASSES])
    return [name for name in target.classes if name in shown]


def left_out(facts: Facts) -> tuple[str, ...]:
    """The note of a table that does not name every class."""
    classes = len(facts.target.classes)
    if classes <= CLASSES or facts.segments:
        return ()
    return (
        f"The {CLASSES} most frequent of {number(classes)} classes; metrics.json of the run has all of them.",
    )


def _shares(name: str, counts: Sequence[int], sizes: Sequence[int], level: int = 0) -> Row:
    cells = tuple(
        f"{number(n)} ({percent(n, size)})" if size else "0" for n, size in zip(counts, sizes, strict=True)
    )
    return Row(shortened(name, 48), cells, level=level)


def covariates_table(facts: Facts) -> Table | None:
    """The covariates of the cases by part; None where there are none."""
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
        f"Covariates of the {plural(facts.image)} of each part",
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
    """Groups that two parts share, counted over the split of the run; for the part `seen` also the units that it
    shares with train."""
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
        unit = facts.manifest.unit or facts.image
        both, frame = facts.split.shared_units, facts.split.seen.frame
        # a unit belongs to one group: parts without a common group have no common unit
        rows = [
            replace(row, cells=(*row.cells, row.cells[0] if row.cells[0] == "0" else "–")) for row in rows
        ]
        pair = (number(frame["group"].nunique()), number(facts.groups), number(both.shared))
        rows.append(Row(f"{both.first} and {both.second}", pair, strong=both.shared > 0))
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
    """The files that could not be read, with the reason; None where all were read."""
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
    notes = (f"{number(more)} more are in quarantine.csv of the run.",) if more > 0 else ()
    return Table(
        "Files that could not be read",
        (Column("case"), Column("step"), Column("reason")),
        rows,
        notes=notes,
    )
