"""Evaluate whatever there is: a run, a table of predictions, folders of masks, boxes, or readers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from graftwork.common.data.synthetic import SAID, rests_on_synthetic
from graftwork.common.errors import UsageError
from graftwork.common.evaluation.tables.reading_options import ReadingOptions
from graftwork.common.external.evaluate_regions import evaluate_boxes, evaluate_masks
from graftwork.common.external.evaluate_tables import evaluate_file
from graftwork.common.report.commands import command_of, listed, option_of

if TYPE_CHECKING:
    from graftwork.common.evaluation.readers import AgainstReaders
    from graftwork.common.evaluation.results import Evaluation


StrPath = str | os.PathLike[str]

_NEEDED = {
    "readers": (("table", "model", "readers"), "a table, a model and readers are needed",
                "`graftwork evaluate readers FILE --model COLUMN --readers A,B,C`"),
    "boxes": (("truth", "predicted", "protocol"), "two files and a protocol are needed",
              "add --truth FILE --predicted FILE --protocol coco-boxes"),
    "seg": (("truth", "predicted", "protocol"), "two folders and a protocol are needed",
            "add --truth DIR --predicted DIR --protocol NAME"),
}  # fmt: skip


def evaluate(
    what: StrPath,
    table: StrPath | None = None,
    *,
    protocol: str = "",
    truth: StrPath | None = None,
    group: str = "",
    by: str | Sequence[str] = (),
    part: str = "test",
    threshold: float | None = None,
    only_predicted: bool = False,
    bootstrap: int = 2000,
    seed: int = 0,
    uncertain: str = "",
    blank: str = "",
    also: str | Sequence[str] = (),
    aim: float = 0.95,
    calibration: StrPath | None = None,
    features: StrPath | None = None,
    report: StrPath | None = None,
    predicted: StrPath | None = None,
    groups: StrPath | None = None,
    out: StrPath | None = None,
    escape_formulas: bool = False,
    readers: str | Sequence[str] = (),
    metric: str = "f1",
    reference: str = "majority-of-others",
    reference_readers: str | Sequence[str] = (),
    progress: Callable[[str, int, int], None] | None = None,
    **reading: Unpack[ReadingOptions],
) -> Any:
    """Evaluate a run again, or any table of predictions with --protocol.

    To evaluate a run again, graftwork needs only the predictions in its folder. A prediction table (CSV, XLSX, Parquet)
    has one row per case (`case`, `image`, `isic_id`, `Image Index`, ...), the scores of each class (`score_NAME`,
    `prob_NAME`, ...) and the labels (`target`, `target_NAME`); labels can also be in a second table, --truth. Instead
    of a table, `seg` evaluates the masks in --predicted against those in --truth, `boxes` evaluates the boxes of two
    files, and `readers` compares a model with human readers. All errors are reported at once, and then no metric is
    printed.

    Args:
        what: the folder of a run, a prediction table, or the word "seg", "boxes" or "readers".
        table: for "readers", the table of readings.
        protocol, truth, group, by, part, threshold, only_predicted, bootstrap, seed, uncertain, blank, also, aim,
            calibration, features, report, reading: see `evaluate_file`.
        predicted, groups, out, escape_formulas: see `evaluate_masks` and `evaluate_boxes`.
        readers, metric, reference, reference_readers: see `evaluate_readers`.
        progress: for "seg", called with (current step, units done, total).

    Returns:
        For a run, the `Evaluation` by its first protocol on the test subset (`further_evaluations` has the others). For
        a table, masks, boxes and readers, the result of `evaluate_file`, `evaluate_masks`, `evaluate_boxes` or
        `evaluate_readers`.

    Raises:
        UsageError: an option is missing, or an option does nothing for what is evaluated.
        RunError: the folder is no run, or has no predictions yet.
        TableError: see the functions named above.
    """
    given = {**locals()}
    options: dict[str, Any] = {**given.pop("reading"), **given}
    for name in ("what", "progress"):
        del options[name]
    kind = what_is(what, protocol)
    _refuse_idle(kind, options)
    if kind in _NEEDED:
        needed, lacking, way = _NEEDED[kind]
        if not all(options.get(name) for name in needed):
            raise UsageError(lacking, where=f"evaluate {kind}", remedy=way)
    taken = {name: value for name, value in options.items() if name in TAKEN[kind]}
    if kind == "a run":
        return _of_run(what)
    if kind == "a table":
        if not protocol:
            raise UsageError(
                "a table is evaluated by a protocol, and none is named",
                where=str(what),
                remedy="name one with --protocol; `graftwork ls protocols` lists them",
            )
        return evaluate_file(what, **taken)
    if kind == "seg":
        return evaluate_masks(**taken, progress=progress)
    return evaluate_boxes(**taken) if kind == "boxes" else evaluate_readers(taken.pop("table"), **taken)


def what_is(what: object, protocol: str) -> str:
    """What is evaluated: "a run", "a table", "seg", "boxes" or "readers"."""
    path = Path(what) if isinstance(what, str | os.PathLike) else None
    if path is not None and str(path) in _NEEDED and not path.exists():
        return str(path)
    return "a table" if protocol or path is None or path.is_file() else "a run"


def _refuse_idle(kind: str, options: dict[str, Any]) -> None:
    """Say which options were given that do nothing for what is evaluated."""
    defaults = {name: each.default for name, each in signature(evaluate).parameters.items()}
    idle = [
        name
        for name, value in options.items()
        if name not in TAKEN[kind] and value != defaults.get(name) and value not in (None, "", (), [])
    ]
    refuse_idle(kind, ["the table" if name == "table" else option_of(name) for name in idle])


def refuse_idle(kind: str, idle: Sequence[str]) -> None:
    """Refuse options that do nothing for what is evaluated.

    Raises:
        UsageError: `idle` names some.
    """
    if idle:
        raise UsageError(
            f"{', '.join(idle)} would do nothing for {kind}",
            where="evaluate",
            remedy="leave it out; `graftwork evaluate --help` lists the options of each kind",
        )


def _of_run(run: StrPath) -> Evaluation:
    from graftwork.common.runs.run_evaluation import evaluate_run
    from graftwork.common.runs.run_folder import open_run

    opened = open_run(run)
    with opened.writer():
        return evaluate_run(opened)


def evaluate_readers(
    readings: StrPath,
    model: str,
    readers: str | Sequence[str],
    *,
    metric: str = "f1",
    reference: str = "majority-of-others",
    reference_readers: str | Sequence[str] = (),
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
    """Compare a model with human readers on the same cases.

    The reference is the majority of the other readers, the majority of additional readers, or the true labels.

    Args:
        readings: a table with one row per case.
        model: the column of its decisions, or of its scores together with `threshold`.
        readers: the columns of the readers, empty if a reader did not read a case. Decisions are 0 and 1, yes and no,
            true and false, or the value `positive` and one other.
        metric: accuracy, f1, kappa, sensitivity or specificity.
        reference: "majority-of-others" or "each".
        reference_readers: columns of additional readers, whose majority is the reference.
        truth: a table with the true label of each case.
        truth_column: its column in that table; without `truth`, a column of the readings.
        group: the column of the group that is resampled. "": the column `group` if there is one, else each case.
        part: the subset to evaluate, if the table has a column of subsets.
        only_predicted: evaluate only the cases of the readings if `truth` has more.
        bootstrap, seed: number and seed of the bootstrap replicates.

    Raises:
        TableError: the table is invalid: duplicate or unnamed cases, missing groups or decisions of the model, other
            values, cases without a label, or two equal columns.
        UsageError: a column, metric or reference is unknown, or a column is named twice.
    """
    command = command_of("evaluate readers", evaluate_readers, locals(), ["readings"])
    from graftwork.common.evaluation.tables.reader_tables import judge_readings

    found = judge_readings(
        readings, model, listed(readers), metric=metric, reference=reference,
        reference_readers=listed(reference_readers), truth=truth, truth_column=truth_column, positive=positive,
        group=group, part=part, threshold=threshold, only_predicted=only_predicted, bootstrap=bootstrap, seed=seed,
    )  # fmt: skip
    if rests_on_synthetic(readings, truth):
        found = replace(found, synthetic=True, notes=(SAID, *found.notes))
    return replace(found, command=command)


def _parameters(function: Callable[..., Any], *others: str) -> frozenset[str]:
    return frozenset(signature(function).parameters) - set(others)


TAKEN = {
    "a run": frozenset[str](),
    "a table": _parameters(evaluate_file, "predictions", "reading")
    | frozenset(ReadingOptions.__annotations__),
    "seg": _parameters(evaluate_masks, "progress"),
    "boxes": _parameters(evaluate_boxes),
    "readers": _parameters(evaluate_readers, "readings") | {"table"},
}
"""The options of each kind of evaluation. Any other option is refused, as it would do nothing."""
