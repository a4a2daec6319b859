"""The part of each case (train, validation, test), from columns that people call part, split, set, fold or subset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graftwork.common.evaluation.arrays import Array
from graftwork.common.evaluation.named_columns import NamedColumns
from graftwork.common.evaluation.tables import absent, shown, some, text_of
from graftwork.common.names import clean_name, name_key

__all__ = ["NO_PARTS", "conflict", "part_name", "read_parts"]

NO_PARTS = "none"  # of --part-column: no column says the part
_COLUMNS = (
    "part",
    "split",
    "set",
    "fold",
    "subset",
    "partition",
    "data split",
    "dataset split",
    "set id",
    "data set",
)
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
_PARTS = {name_key(word): part for part, words in _WORDS.items() for word in words}


def part_name(text: str) -> str:
    """The name of a part as graftwork writes it: `Val` and `dev` are validation; what it does not know stays."""
    name = clean_name(text)
    return _PARTS.get(name_key(name), name)


def read_parts(
    tables: Sequence[NamedColumns], case: Array, wanted: str, column: str, faults: list[str], notes: list[str]
) -> Array | None:
    """The part of each case; None where no column says it.

    Args:
        tables: of the same cases in the same order. case: their names. wanted: the part that is evaluated, which makes
            its own value known, such as a numbered fold. column: the one that says the part; empty: any of its usual
            names; `none`: no column does.
    """
    found: list[tuple[str, Array]] = []
    for table in tables:
        if column == NO_PARTS:
            ignored = [name for name in table.called(_COLUMNS) if name not in table.used]
            for name in ignored:
                table.take(name, "ignored")
            if ignored:
                notes.append(
                    f"The column {shown(ignored)} of {table.source} was not read as the part, as was asked."
                )
            continue
        named = (
            [table.asked(column, "--part-column", needed=len(tables) == 1)]
            if column
            else table.called(_COLUMNS)
        )
        for name in (each for each in named if each and each not in table.used):
            values = text_of(table.take(name, "part"))
            if not absent(values).all():
                found.append(
                    (
                        f"{name} ({table.source})",
                        _read(name, values, case, wanted, table.source, faults, notes),
                    )
                )
    if column not in ("", NO_PARTS) and not found:
        tables[0].asked(column, "--part-column")
    if not found:
        return None
    for other in found[1:]:
        faults += conflict("part", found[0], other, case)
    return found[0][1]


def _read(
    name: str, values: Array, case: Array, wanted: str, source: str, faults: list[str], notes: list[str]
) -> Array:
    distinct = list(dict.fromkeys(value for value in values if value is not None))
    known = {value: part_name(value) for value in distinct if name_key(value) in _PARTS}
    unknown = [value for value in distinct if value not in known]
    if unknown and clean_name(wanted) in unknown:
        known |= {value: value for value in unknown}
        notes.append(f"{name} of {source} is the part; {wanted!r} is evaluated, of {shown(unknown, 6)}.")
    elif unknown:
        odd = np.array([value in unknown for value in values])
        numbered = all(value.replace(".", "").isdigit() for value in unknown)
        what = "holds numbers of folds" if numbered else "holds no part"
        faults += some(
            f"{name} {what} ({shown([repr(each) for each in unknown], 6)}), expected train, validation and "
            "test; name the one to "
            f"evaluate (--part VALUE), or say that the column is no part (--part-column {NO_PARTS})",
            odd, case, values,
        )  # fmt: skip
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
    if not apart.any():
        return []
    pairs = np.array([f"{a} and {b}" for a, b in zip(one[1], other[1], strict=True)], dtype=object)
    advice = remedy or "correct one of them or leave it out"
    return [
        f"{fault}; {advice}"
        for fault in some(
            f"the columns {one[0]} and {other[0]} name the {what} and disagree", apart, case, pairs
        )
    ]
