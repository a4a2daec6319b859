"""Rows of two tables put side by side: files that could not be read left out, and each case with its row of truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from graftwork.common.evaluation.arrays import Array
from graftwork.common.evaluation.tables.case_joining import join_cases
from graftwork.common.evaluation.tables.columns.named_columns import NamedColumns
from graftwork.common.evaluation.tables.prediction_arrays import absent, faulty_cases, refuse, text_of
from graftwork.common.wording import short_list

if TYPE_CHECKING:
    import pandas as pd


CASES = (
    "case", "image", "image_name", "isic_id", "image_id", "Image Index", "Path", "filename", "file", "filepath", ".row",
    "rowIndex", "row_ids", "id", "study", "study_id",
)  # fmt: skip
_FAILURES = ("failure", "failure reason")


def case_columns(
    scores: NamedColumns, labels: NamedColumns | None, own: Sequence[str], asked: str
) -> tuple[str, str]:
    """The columns that say the case, in the predictions and in the table of truth.

    Args:
        labels: the table of truth; None where the predictions hold it. own: columns of the dataset's own table.
        asked: the column that was named, in either table; empty: found by the usual names.

    Raises:
        TableError: a table has none, or two that look alike and differ. UsageError: the named one is not there.
    """
    faults: list[str] = []
    named = scores.asked(asked, "--case", needed=labels is None) if asked else ""
    case = named or next(iter(scores.called(CASES)), "")
    tables = [(scores, case)]
    if labels is not None:
        beside = labels.asked(asked, "--case", needed=not named) if asked else ""
        tables.append(
            (labels, beside or next(iter(labels.called((*own, *([case] if case else []), *CASES))), ""))
        )
    for table, found in tables:
        if not found:
            faults.append(
                f"{table.source}: no column says the case; it is one of {short_list(CASES, 20)}, or named with --case; "
                f"there are {table.there()}"
            )
        for other in table.called([found]) if found and found != asked else ():
            if (text_of(table.frame[other]) != text_of(table.frame[found])).any():
                faults.append(
                    f"{table.source}: the columns {found!r} and {other!r} both say the case and differ; remove one, or "
                    "name one with --case"
                )
    refuse(scores.frame, faults)
    return case, tables[-1][1]


def without_failures(table: NamedColumns, case: str, notes: list[str]) -> tuple[NamedColumns, pd.DataFrame]:
    """The table without the rows of files that could not be read (a column `failure`), and those rows."""
    failed = np.zeros(len(table), dtype=np.bool_)
    for name in table.called(_FAILURES):
        failed |= ~absent(text_of(table.take(name, "failure")))
    if not failed.any():
        return table, table.frame[:0]
    kept = table.frame[~failed].reset_index(drop=True)
    notes.append(f"{int(failed.sum()):,} cases were not processed (failure); they are left out.")
    return table.with_frame(kept), table.frame[failed]


def scored_failures(table: NamedColumns, gone: pd.DataFrame, case: str) -> list[str]:
    """A fault where rows that were left out as failures have scores.

    Args:
        table: whose columns of scores are known. gone: the rows that were left out. case: their column of the case.
    """
    held = np.zeros(len(gone), dtype=np.bool_)
    for name, what in table.used.items():
        if what.startswith("score"):
            held |= ~absent(text_of(gone[name]))
    what = "cases have a failure and a score, expected one of the two; correct them"
    return list(faulty_cases(what, held, text_of(gone[case])))


def with_truth(
    scores: NamedColumns,
    labels: NamedColumns,
    case: str,
    place: str,
    failed: Sequence[str],
    *,
    by: str,
    only_predicted: bool,
    faults: list[str],
    notes: list[str],
) -> tuple[NamedColumns, Array]:
    """The rows of the truth in the order of the predicted cases, and the names of these.

    Where cases match by file name alone, they have the names of the truth, so that other tables of them can be paired.

    Args:
        scores, labels: predictions and truth. case, place: their columns of the case. failed: cases without a score.
        by: what the protocol combines, such as a study; the truth may have a row for each of these.
        only_predicted: the truth may have more. faults, notes: added to.
    """
    names, theirs = text_of(scores.frame[case]), text_of(labels.frame[place])
    unnamed = False
    for table, each in ((scores, names), (labels, theirs)):
        empty = absent(each)
        if empty.any():
            unnamed = True
            lines = [f"row {row + 1}" for row in np.flatnonzero(empty)]
            faults.append(
                f"{len(lines):,} cases of {table.source} have no name ({short_list(lines)}); fill them in"
            )
    if unnamed:
        return labels, names
    unit = _unit_of_truth(scores, labels, case, place, by)
    wanted = text_of(scores.take(unit, by)) if unit else names
    distinct = np.array(list(dict.fromkeys(wanted.tolist())), dtype=object) if unit else names
    found = join_cases(
        distinct,
        theirs,
        () if unit else failed,
        only_predicted=only_predicted,
        where=(scores.source, labels.source),
        faults=faults,
    )
    if found.rows is None:
        return labels, names
    rows = found.rows
    if unit:
        at = dict(zip(distinct.tolist(), rows.tolist(), strict=True))
        rows = np.array([at[each] for each in wanted.tolist()], dtype=np.intp)
        notes.append(f"{labels.source} has a row for each {by}, which its cases share.")
    if found.note:
        notes.append(found.note)
    if found.left and only_predicted:
        notes.append(
            f"{found.left:,} cases of the table of truth have no prediction and were left out, as was asked."
        )
    kept = labels.frame.iloc[rows].reset_index(drop=True)
    return labels.with_frame(kept), theirs[rows] if found.note and not unit else names


def _unit_of_truth(scores: NamedColumns, labels: NamedColumns, case: str, place: str, by: str) -> str:
    """The column of the unit in the predictions, where the cases of the truth are such units."""
    if not by or place not in labels.called([by]) or case in scores.called([by]):
        return ""
    return next(iter(scores.called([by])), "")
