"""Evaluate external masks and boxes against the truth by a protocol, and report them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from graftwork.common.data.synthetic import marked
from graftwork.common.errors import TableError, UsageError
from graftwork.common.external.table_inputs import domain_reader
from graftwork.common.files.formulas import escape_formula
from graftwork.common.report.commands import command_of
from graftwork.common.wording import fault_lines

if TYPE_CHECKING:
    from graftwork.common.evaluation.results import Evaluation


StrPath = str | os.PathLike[str]
_LISTED = 20


def evaluate_masks(
    truth: StrPath,
    predicted: StrPath,
    protocol: str,
    *,
    groups: StrPath | None = None,
    out: StrPath | None = None,
    escape_formulas: bool = False,
    bootstrap: int = 2000,
    seed: int = 0,
    report: StrPath | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Evaluation:
    """Evaluate a folder of predicted masks against a folder of true masks.

    Args:
        truth, predicted: folders of NIfTI, PNG, TIFF or BMP masks. A case has the same name in both.
        protocol: the name of a protocol.
        groups: a table with the columns `case` (a case, or the file of its mask) and `group`. None: each case is its
            own group.
        out: a .csv file for the values of each case and region.
        escape_formulas: put an apostrophe before text in this file that a spreadsheet program would run as a formula.
        bootstrap, seed: number and seed of the bootstrap replicates.
        report: an .html file for the report.
        progress: called with (current step, units done, total).

    Raises:
        TableError: the folders are invalid; lists all errors.
        UsageError: the protocol is unknown, or is not for masks.
    """
    command = command_of("evaluate seg", evaluate_masks, locals())
    from graftwork.common.data import domain
    from graftwork.common.external.evaluate_tables import page_file
    from graftwork.common.external.mask_folders import evaluate_folders
    from graftwork.common.external.mask_pairs import pairs_of
    from graftwork.common.files import write_text

    page = page_file(report)
    convention = domain.protocol(protocol)
    known = _groups_of(groups)
    if known.of is not None and groups is not None:
        cases = list(pairs_of(Path(truth), Path(predicted)).files)
        joined = _of_cases(known.of, cases, groups)
        known = _Groups(joined.of, (*known.notes, *joined.notes))
    found, table = evaluate_folders(
        truth,
        predicted,
        convention,
        groups=known.of,
        bootstrap=bootstrap,
        seed=seed,
        progress=progress,
    )
    notes = (*found.notes, *known.notes)
    found = marked(replace(found, notes=notes, command=command), truth, predicted)
    if out is not None:
        written = table.map(escape_formula) if escape_formulas else table
        write_text(Path(out), written.to_csv(index=False))
    if page is not None:
        from graftwork.common.report import masks_report

        masks_report(found, table, convention, page, folders=(str(truth), str(predicted)))
    return found


def evaluate_boxes(
    truth: StrPath,
    predicted: StrPath,
    protocol: str,
    *,
    groups: StrPath | None = None,
    bootstrap: int = 2000,
    seed: int = 0,
) -> Evaluation:
    """Evaluate predicted boxes against true boxes.

    Args:
        truth: a COCO file.
        predicted: COCO results, or a format of a domain (such as the JSON of MegaDetector).
        protocol: the name of a protocol.
        groups: a table with the columns `case` (the file or id of an image) and `group`. None: the `location` of the
            images if there is one, else each image is its own group.
        bootstrap, seed: number and seed of the bootstrap replicates.

    Raises:
        TableError: the files are invalid; lists all errors.
        UsageError: the protocol is unknown, or is not for boxes; pycocotools is missing.
    """
    command = command_of("evaluate boxes", evaluate_boxes, locals())
    from graftwork.common.data import domain
    from graftwork.common.external import box_files

    known = _groups_of(groups)
    found = box_files.evaluate_boxes(
        truth,
        predicted,
        domain.protocol(protocol),
        groups=known.of,
        bootstrap=bootstrap,
        seed=seed,
        read=domain_reader(predicted, "box_readers"),
    )
    notes = (*found.notes, *known.notes)
    return marked(replace(found, notes=notes, command=command), truth, predicted)


@dataclass(frozen=True)
class _Groups:
    """The group of each case, as a table has it (None without a table), and what was left out of it."""

    of: dict[str, str] | None
    notes: tuple[str, ...] = ()


def _groups_of(table: StrPath | None) -> _Groups:
    """Case to group, of a table that says so.

    Raises:
        UsageError: it has no such columns. TableError: a row without a case or group, or a case in two groups.
    """
    if table is None:
        return _Groups(None)
    from graftwork.common.files.table_files import read_table
    from graftwork.common.names import clean_names, look_alikes

    read = read_table(table)
    frame, notes = read.frame, [f"{table}: {note}" for note in read.notes]
    missing = [name for name in ("case", "group") if name not in frame]
    if missing:
        raise UsageError(
            f"the table of groups has no column {', '.join(missing)} (found {', '.join(read.columns)})",
            where=str(table),
            remedy="name its columns case and group",
        )
    faults: list[str] = []
    of: dict[str, str] = {}
    cases, _ = clean_names(frame["case"])
    groups, _ = clean_names(frame["group"])
    for line, case, group in zip(read.lines, cases, groups, strict=True):
        if case is None or group is None:
            faults.append(
                f"line {line}: no {'case' if case is None else 'group'} (case {case}, group {group})"
            )
        elif of.setdefault(case, group) != group:
            faults.append(f"line {line}: the case {case} is in the group {group}, and above in {of[case]}")
    if faults:
        listing = fault_lines(faults, _LISTED, bullet="- ")
        raise TableError(
            f"the table of groups has {len(faults)} faulty rows:{listing}",
            where=str(table),
            remedy="give each case one group",
        )
    unused = [name for name in read.columns if name not in ("case", "group")]
    if unused:
        notes.append(f"{table}: {len(unused)} columns were not used: {', '.join(unused)}.")
    alike = look_alikes(set(of.values()))
    if alike:
        shown = "; ".join(" and ".join(each) for each in alike[:5])
        notes.append(
            f"{table}: {len(alike)} sets of groups look alike, and count as different groups: {shown}."
        )
    return _Groups(of, tuple(notes))


def _of_cases(groups: Mapping[str, str], cases: list[str], table: StrPath) -> _Groups:
    """The groups by the cases of folders of masks, which the table may name by their files."""
    from graftwork.common.external.mask_pairs import case_of

    of, notes, used = dict(groups), [], set(cases) & set(groups)
    known: dict[str, list[str]] = {}
    for name in groups:
        known.setdefault(case_of(name) or name, []).append(name)
    joined = 0
    for case in cases:
        if case not in of and len(known.get(case, [])) == 1:
            of[case] = groups[known[case][0]]
            used.add(known[case][0])
            joined += 1
    if joined:
        notes.append(f"{table}: {joined:,} cases are named there by the file of their mask.")
    spare = len(groups) - len(used)
    if spare:
        notes.append(f"{table}: {spare:,} of its {len(groups):,} cases have no mask here and were not used.")
    return _Groups(of, tuple(notes))
