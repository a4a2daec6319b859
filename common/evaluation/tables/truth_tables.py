"""A dataset's own table, known as truth: which columns say the case, the class and the group, and in which codes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TruthTable:
    """How a table, as a dataset's publisher writes it, is read as the truth of a protocol.

    Attributes:
        name: for notes, such as the file's name.
        columns: that identify it: it is this table where all of them, or one of each tuple, are there.
        case: columns of the case; the first that is there. truth: likewise, of the class; empty where a column a
            class, or a list of classes, has it under its usual name.
        codes: (code, class), of the cells of `truth`, or of columns named by a code; the class "" is unknown.
        rest: the class of cells that no code lists; empty: they are names of classes.
        group, unit: likewise columns, of the group, and of the unit of the protocol.
        group_in_case, unit_in_case: regular expressions that find both in the name of a case, where no column has them.
    """

    name: str
    columns: tuple[str | tuple[str, ...], ...]
    case: tuple[str, ...]
    truth: tuple[str, ...] = ()
    codes: tuple[tuple[str, str], ...] = ()
    rest: str = ""
    group: tuple[str, ...] = ()
    unit: tuple[str, ...] = ()
    group_in_case: str = ""
    unit_in_case: str = ""
