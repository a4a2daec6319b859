"""The part of each case (train, validation, test): by columns called part, split or fold, or that hold its words.

A column that only looks like one, such as `is_test` with 0 and 1, is refused until --part-column names it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from graftwork.common.evaluation.arrays import Array
from graftwork.common.evaluation.tables.columns.named_columns import NamedColumns
from graftwork.common.evaluation.tables.prediction_arrays import absent, distinct, faulty_cases, text_of
from graftwork.common.names import clean_name, name_key
from graftwork.common.wording import short_list

SEEN_BY_RUN = "seen_by_run"
"""The column in which `predict` names the part of the run's split that has the same image; empty: the run has none."""

NO_PARTS = "none"  # of --part-column: no column says the part
_COLUMNS = ("part", "split", "set", "fold", "subset", "partition", "data split", "dataset split", "set id")
# words in names such as split_v1 and cv_fold
_NAMED_IN = frozenset(("split", "splits", "fold", "folds", "kfold", "subset", "partition"))
_FLAG = re.compile(
    r"(?:is|in)?(train|test|val|holdout|heldout)(?:ing|idation)?(?:set|flag|split|sample|data)?"
)
_SURE = frozenset(("train", "training", "test", "testing", "val", "validation"))
_YES, _NO = frozenset(("1", "yes", "y", "true", "t")), frozenset(("0", "no", "n", "false", "f"))
_MOST = 12  # different values of a column that says the part
_WORDS = {
    "train": ("train", "training", "trn", "tr", "training set", "train set"),
    "validation": (
        "validation",
        "val",
        "valid",
        "dev",
        "development",
        "tune",
        "tuning",
        "validation set",
        "val set",
    ),
    "test": ("test", "testing", "tst", "te", "holdout", "heldout", "evaluation", "eval", "test set"),
    "seen": ("seen",),
    "calibration": ("calibration",),
}
_UNSEEN = "test"
_BY_RUN = {"train": "trained", "validation": "validated", "seen": "are of groups that trained"}
_PARTS = {name_key(word): part for part, words in _WORDS.items() for word in words}


def part_name(text: str) -> str:
    """The name of a part as graftwork writes it: `Val` and `dev` are validation; what it does not know stays."""
    name = clean_name(text)
    return _PARTS.get(name_key(name), name)


def read_parts(
    tables: Sequence[NamedColumns],
    case: Array,
    wanted: str,
    column: str,
    faults: list[str],
    notes: list[str],
    *,
    named_by_option: bool = True,
) -> Array | None:
    """The part of each case; None where no column says it.

    Where `seen_by_run` of `predict` names train, validation or seen, that is the part of the case, whatever another
    column says; a case that the run has not, or that is of its test part, has the part of the other column, or test.

    Args:
        tables: of the same cases in the same order. case: their names. wanted: the part that is evaluated, which makes
            its own value known, such as a numbered fold. column: the one that says the part; empty: any of its usual
            names; `none`: no column does. named_by_option: whether the command has --part-column, for messages.
    """
    found: list[tuple[str, Array]] = []
    seen: Array | None = None
    for table in tables:
        if SEEN_BY_RUN in table and SEEN_BY_RUN not in table.used and column in ("", SEEN_BY_RUN):
            own = _read_seen(table, case, faults, notes)
            seen = own if seen is None else np.where(absent(seen), own, seen)
            if column:
                continue
        if column not in ("", SEEN_BY_RUN):
            ignored = [SEEN_BY_RUN] if SEEN_BY_RUN in table else []
            ignored += table.called(_COLUMNS) if column == NO_PARTS else []
            ignored = [name for name in ignored if name not in table.used]
            for name in ignored:
                table.take(name, "ignored")
            if ignored:
                notes.append(
                    f"The column {short_list(ignored)} of {table.source} was not read as the part, as was asked."
                )
        if column == NO_PARTS:
            continue
        named = table.called(_COLUMNS)
        if column:
            named = [table.asked(column, "--part-column", needed=len(tables) == 1 and seen is None)]
        named = [each for each in named if each and each not in table.used]
        if not column and all(absent(text_of(table.frame[each])).all() for each in named):
            named += _look_like_parts(table, named)
            if not named:
                faults += _flags(table, wanted, named_by_option)
        for name in named:
            values = text_of(table.take(name, "part"))
            if not absent(values).all():
                parts = _read(name, values, case, wanted, table.source, faults, notes, named_by_option)
                found.append((f"{name} ({table.source})", parts))
    if column not in ("", NO_PARTS) and not found and seen is None:
        tables[0].asked(column, "--part-column")
    for other in found[1:]:
        faults += conflict("part", found[0], other, case)
    if seen is None or absent(seen).all():
        return found[0][1] if found else None
    otherwise = found[0][1] if found else np.full(len(case), _UNSEEN, dtype=object)
    return np.where(np.isin(seen.astype(str), list(_BY_RUN)), seen, otherwise)


def _read_seen(table: NamedColumns, case: Array, faults: list[str], notes: list[str]) -> Array:
    """The value of `seen_by_run` for each case; None where the run does not have the image."""
    values = text_of(table.take(SEEN_BY_RUN, "part"))
    known = np.isin(values.astype(str), [*_BY_RUN, _UNSEEN])
    faults += faulty_cases(
        f"{SEEN_BY_RUN} of {table.source} holds no part of a run (expected {', '.join((*_BY_RUN, _UNSEEN))} or "
        "nothing); write it as graftwork predict did, or name the column of parts with --part-column",
        ~absent(values) & ~known, case, values,
    )  # fmt: skip
    counts = {part: int((values == part).sum()) for part in _BY_RUN}
    said = [
        f"{count:,} {_BY_RUN[part]} the run that predicted them" for part, count in counts.items() if count
    ]
    if said:
        notes.append(
            f"{table.source}: of {len(values):,} cases, {', '.join(said)} (seen_by_run). They are left out where the "
            "part test is evaluated; --part train or validation evaluates them. Only the same image is recognised, not "
            "another one of the same group."
        )
    return values


def _few_values(table: NamedColumns) -> list[tuple[str, list[str]]]:
    """The columns that nothing was taken from and that have few values, and these."""
    found = []
    for name in table.unused():
        column = table.frame[name]
        if column.nunique() <= _MOST:
            values = distinct(text_of(column.drop_duplicates()))
            found += [(name, values)] if values else []
    return found


def _look_like_parts(table: NamedColumns, known: Sequence[str]) -> list[str]:
    """Columns of another name than the usual ones that say the part: by their values, or by a word in their name."""
    found = []
    for name, values in _few_values(table):
        words = [frozenset(re.split(r"[\s_-]+", value.casefold())) for value in values]
        parts = all(name_key(value) in _PARTS for value in values) and any(each & _SURE for each in words)
        obvious = all(each & _SURE for each in words) and 2 * len(values) <= len(table)
        named = _NAMED_IN & set(re.split(r"[\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold()))
        if name not in known and (parts or obvious or named):
            found.append(name)
    return found


def _flags(table: NamedColumns, wanted: str, named_by_option: bool) -> list[str]:
    """A fault for each column such as `is_test` or `train` that divides the cases by yes and no."""
    found = []
    for name, values in _few_values(table):
        flag = _FLAG.fullmatch(name_key(name))
        low = {re.sub(r"\.0+$", "", value).casefold(): value for value in values}
        if flag is None or not set(low) <= _YES | _NO:
            continue
        part = {"val": "validation", "holdout": "test", "heldout": "test"}.get(flag[1], flag[1])
        here = [value for key, value in low.items() if (key in _YES) == (part == part_name(wanted))]
        if len(here) == len(values):
            continue  # every case is of the part that is evaluated
        value = here[0] if here else "VALUE"
        advice = (
            f"name it and the value to use (--part-column {name!r} --part {value}), or say that it is no part "
            f"(--part-column {NO_PARTS})"
            if named_by_option
            else "write these words, or remove the column"
        )
        found.append(
            f"the column {name} ({table.source}) holds {short_list([repr(each) for each in values])} and looks like "
            f"a flag of the part {part}, expected a column of train, validation and test; {advice}"
        )
    return found


def _read(
    name: str,
    values: Array,
    case: Array,
    wanted: str,
    source: str,
    faults: list[str],
    notes: list[str],
    named_by_option: bool,
) -> Array:
    """The part of each case by one column."""
    there = distinct(values)
    known = {value: part_name(value) for value in there if name_key(value) in _PARTS}
    unknown = [value for value in there if value not in known]
    if unknown and clean_name(wanted) in unknown:
        known |= {value: value for value in unknown}
        notes.append(f"{name} of {source} is the part; {wanted!r} is evaluated, of {short_list(unknown, 6)}.")
    elif unknown:
        odd = np.array([value in unknown for value in values])
        other = f"say that the column is no part (--part-column {NO_PARTS})"
        no_part = other if named_by_option else "remove the column"
        numbered = all(value.replace(".", "").isdigit() for value in unknown)
        what = "holds numbers of folds" if numbered else "holds no part"
        faults += faulty_cases(
            f"{name} {what} ({short_list([repr(each) for each in unknown], 6)}), expected train, validation and "
            f"test; name the one to evaluate (--part VALUE), or {no_part}",
            odd, case, values,
        )  # fmt: skip
    if absent(values).any() and not unknown:
        faults += faulty_cases(f"{name} ({source}) says no part; fill it in", absent(values), case)
    renamed = [f"{value!r} as {part}" for value, part in known.items() if value != part]
    if renamed or name != "part":
        how = f" ({', '.join(renamed)})" if renamed else ""
        notes.append(f"The column {name} of {source} was read as the part{how}.")
    return np.array([None if value is None else known.get(value, value) for value in values], dtype=object)


def conflict(
    what: str, one: tuple[str, Array], other: tuple[str, Array], case: Array, remedy: str = ""
) -> list[str]:
    """A fault where two columns say different things of a case: how many, and the first of them.

    Args:
        one, other: (the column, [n] what it says; None where it says nothing).
    """
    both = ~absent(one[1]) & ~absent(other[1])
    apart = both & (one[1] != other[1])
    pairs = np.array([f"{a} and {b}" for a, b in zip(one[1], other[1], strict=True)], dtype=object)
    advice = remedy or "correct one of them or leave it out"
    said = f"the columns {one[0]} and {other[0]} name the {what} and disagree"
    return [f"{fault}; {advice}" for fault in faulty_cases(said, apart, case, pairs)]
