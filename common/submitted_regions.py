"""Masks and boxes of any program, judged by a protocol against those of the truth, and reported."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graftwork.common.errors import UsageError

if TYPE_CHECKING:
    from graftwork.common.evaluation.results import Evaluation

__all__ = ["evaluate_boxes", "evaluate_masks"]

Words = str | os.PathLike[str]


def evaluate_masks(
    truth: Words,
    predicted: Words,
    protocol: str,
    *,
    groups: Words | None = None,
    out: Words | None = None,
    bootstrap: int = 2000,
    seed: int = 0,
    report: Words | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Evaluation:
    """Judge a folder of predicted masks against one of true masks, by a protocol.

    Args:
        truth, predicted: folders of .nii, .nii.gz or pictures; a case is told by the name of its file.
        protocol: its name. groups: a table with the columns `case` and `group`; None: each case is its own group.
        out: a .csv file for all values, one row a case and region. report: an .html file to write the report to.
        bootstrap, seed: of the intervals. progress: is told what, how many of how many.

    Raises:
        TableError: everything that is wrong with the folders, at once.
        UsageError: no such protocol, or one that judges no folders of masks.
    """
    from graftwork.common import domain
    from graftwork.common.files import write_text
    from graftwork.common.mask_folders import evaluate_folders
    from graftwork.common.submitted import page_file

    page = page_file(report)
    convention = domain.protocol(protocol)
    found, table = evaluate_folders(
        truth,
        predicted,
        convention,
        groups=_groups_of(groups),
        bootstrap=bootstrap,
        seed=seed,
        progress=progress,
    )
    if out is not None:
        write_text(Path(out), table.to_csv(index=False))
    if page is not None:
        from graftwork.common.report import masks_report

        masks_report(found, table, convention, page, folders=(str(truth), str(predicted)))
    return found


def evaluate_boxes(
    truth: Words,
    predicted: Words,
    protocol: str,
    *,
    groups: Words | None = None,
    bootstrap: int = 2000,
    seed: int = 0,
) -> Evaluation:
    """Judge predicted boxes against true ones, by a protocol.

    Args:
        truth: a COCO file. predicted: COCO results, or a format of a domain (MegaDetector's JSON).
        protocol: its name. groups: a table with the columns `case` (an image's file or id) and `group`; None: the
            `location` of the images where there is one, else each image is its own group.
        bootstrap, seed: of the intervals.

    Raises:
        TableError: everything that is wrong with the files, at once.
        UsageError: no such protocol, or one that judges no boxes; pycocotools is not installed.
    """
    from graftwork.common import boxes, domain

    return boxes.evaluate_boxes(
        truth,
        predicted,
        domain.protocol(protocol),
        groups=_groups_of(groups),
        bootstrap=bootstrap,
        seed=seed,
        read=_reader(os.fspath(predicted)),
    )


def _reader(file: str) -> Callable[[Words], Any] | None:
    from graftwork.common import domain

    for name in domain.domains():
        for ending, path in domain.domain(name).box_readers.items():
            if file.lower().endswith(ending):
                module, _, function = path.partition(":")
                found: Callable[[Words], Any] = getattr(import_module(module), function)
                return found
    return None


def _groups_of(table: Words | None) -> dict[str, str] | None:
    """Case to group, of a table that says so."""
    if table is None:
        return None
    from graftwork.common.evaluation.table_files import read_predictions
    from graftwork.common.evaluation.tables import text_of

    frame = read_predictions(table)
    missing = [name for name in ("case", "group") if name not in frame]
    if missing:
        raise UsageError(f"the table of groups has no column {', '.join(missing)}", where=str(table))
    return dict(zip(text_of(frame["case"]), text_of(frame["group"]), strict=True))
