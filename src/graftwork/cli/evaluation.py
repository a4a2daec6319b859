"""Commands that evaluate and compare: evaluate, calibrate, compare and report."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from graftwork.cli.commands import verb
from graftwork.cli.completion import words
from graftwork.cli.options import (
    Aim,
    Allow,
    Also,
    Blank,
    Bootstrap,
    Case,
    EscapeFormulas,
    FixedThreshold,
    Group,
    IgnoreLabels,
    Json,
    Model,
    ModelColumn,
    Models,
    Nothing,
    OnlyPredicted,
    Part,
    PartColumn,
    Positive,
    ProtocolName,
    Ranks,
    ReportFile,
    Score,
    Seed,
    Truth,
    TruthColumn,
    Uncertain,
)
from graftwork.cli.results import print_evaluation, print_readers, print_subgroups
from graftwork.cli.terminal import FOUND, bars, print_json, print_note, print_table, print_text
from graftwork.common import verbs
from graftwork.common.evaluation.text_tables import comparison_rows, number_text, p_text
from graftwork.common.external.evaluate_any import TAKEN, refuse_idle, what_is

_READING = ("case", "score", "truth_column", "part_column", "model", "model_column", "positive", "ranks",
            "ignore_labels", "nothing", "allow")  # fmt: skip


def _reading(context: typer.Context) -> Any:
    """The given options for reading tables, as keywords of the functions."""
    given = {name: context.params[name] for name in _READING if context.params.get(name)}
    return {name: tuple(_listed(value)) if name in _READING[-3:] else value for name, value in given.items()}


def _refuse_idle(context: typer.Context, what: str) -> None:
    """Refuse options that do nothing for what is evaluated."""
    taken = {"what", "as_json", *TAKEN[what]}
    idle = [
        param.opts[0] if param.param_type_name == "option" else str(context.params[str(param.name)])
        for param in context.command.params
        if param.name in context.params and param.name not in taken
        and getattr(context.get_parameter_source(param.name), "name", "") == "COMMANDLINE"
    ]  # fmt: skip
    refuse_idle(what, idle)


@verb(
    verbs.evaluate,
    "evaluate runs/chest_xray/kermany_linear-probe/0-1f2e3d4c",
    "evaluate scores.csv --truth labels.csv --protocol isic2020 --group patient_id",
    "evaluate predictions.csv --protocol nih14-official --by sex,view --report out.html",
    "evaluate seg --truth DIR --predicted DIR --protocol brats2023-lesionwise",
    "evaluate boxes --truth coco.json --predicted detections.json --protocol coco-boxes",
    "evaluate readers readings.csv --model network --readers r1,r2,r3,r4 --group patient_id",
)
def evaluate(
    context: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            metavar="RUN|FILE|WORD",
            help="The folder of a run, a prediction table, or the word seg, boxes or readers.",
        ),
    ],
    table: Annotated[
        Path | None, typer.Argument(metavar="[TABLE]", help="readers: the table of readings.")
    ] = None,
    protocol: ProtocolName = "",
    truth: Truth = None,
    group: Group = "",
    by: Annotated[
        str,
        typer.Option(
            "--by", metavar="COLUMNS", help="Evaluate the subgroups of these covariates, separated by commas."
        ),
    ] = "",
    part: Part = "test",
    threshold: FixedThreshold = None,
    only_predicted: OnlyPredicted = False,
    bootstrap: Bootstrap = 2000,
    seed: Seed = 0,
    uncertain: Uncertain = "",
    blank: Blank = "",
    also: Also = "",
    aim: Aim = 0.95,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration", metavar="FILE", help="A file written by `calibrate`, applied to the scores."
        ),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            "--features",
            metavar="FILE",
            help="A table of features per case: can they predict the --by covariates?",
        ),
    ] = None,
    report: ReportFile = None,
    predicted: Annotated[
        Path | None,
        typer.Option(
            "--predicted", metavar="DIR|FILE", help="seg: the folder of predicted masks; boxes: a file."
        ),
    ] = None,
    groups: Annotated[
        Path | None,
        typer.Option("--groups", metavar="FILE", help="seg, boxes: a table with the columns case and group."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="seg: write the values of each case to this .csv file."),
    ] = None,
    escape_formulas: EscapeFormulas = False,
    model: Model = "",
    case: Case = "",
    score: Score = "",
    truth_column: TruthColumn = "",
    part_column: PartColumn = "",
    model_column: ModelColumn = "",
    positive: Positive = "",
    ranks: Ranks = False,
    ignore_labels: IgnoreLabels = "",
    nothing: Nothing = "",
    allow: Allow = "",
    readers: Annotated[
        str,
        typer.Option(
            "--readers", metavar="COLUMNS", help="readers: the columns of the readers, separated by commas."
        ),
    ] = "",
    metric: Annotated[
        str,
        typer.Option(
            "--metric",
            help="readers: accuracy, f1, kappa, sensitivity or specificity.",
            autocompletion=words("accuracy", "f1", "kappa", "sensitivity", "specificity"),
        ),
    ] = "f1",
    reference: Annotated[
        str,
        typer.Option(
            "--reference",
            help="readers: majority-of-others or each.",
            autocompletion=words("majority-of-others", "each"),
        ),
    ] = "majority-of-others",
    reference_readers: Annotated[
        str,
        typer.Option(
            "--reference-readers",
            metavar="COLUMNS",
            help="readers: other readers; their majority is the reference.",
        ),
    ] = "",
    as_json: Json = False,
) -> int | None:
    kind = what_is(what, protocol)
    _refuse_idle(context, kind)
    given: dict[str, Any] = {name: context.params[name] for name in TAKEN[kind] if name not in _READING}
    given |= {name: value for name, value in _reading(context).items() if name in TAKEN[kind]}
    with bars() as move:
        given |= {"progress": move} if kind == "seg" else {}
        found = verbs.evaluate(what, **given)
    if as_json:
        further = verbs.further_evaluations(what) if kind == "a run" else None
        content = _plain(found) if kind == "readers" else found.to_json()
        print_json(
            content if further is None else {**content, "further": [each.to_json() for each in further]}
        )
        return FOUND if kind == "a table" and found.findings else 0
    if kind == "a run":
        for each in (found, *verbs.further_evaluations(what)):
            print_evaluation(each)
        return 0
    if kind == "readers":
        print_readers(found)
        return 0
    evaluation = found.evaluation if kind == "a table" else found
    print_evaluation(evaluation)
    for covariate in found.subgroups if kind == "a table" else ():
        print_subgroups(covariate)
    for note in evaluation.notes:
        print_text(note)
    if report:
        print_text(f"report: {report}")
    return FOUND if kind == "a table" and found.findings else 0


def _plain(found: Any) -> Any:
    from graftwork.common.evaluation.results import plain

    return plain(found)


def _listed(words: str) -> list[str]:
    return [each.strip() for each in words.split(",") if each.strip()]


@verb(verbs.calibrate, "calibrate local.csv --protocol isic2020 --group patient_id --out local.json")
def calibrate(
    context: typer.Context,
    predictions: Annotated[Path, typer.Argument(metavar="FILE", help="A prediction table with labels.")],
    protocol: ProtocolName,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The .json file to write.")],
    truth: Truth = None,
    group: Group = "",
    method: Annotated[
        str,
        typer.Option(
            "--method", help="temperature or isotonic.", autocompletion=words("temperature", "isotonic")
        ),
    ] = "temperature",
    rule: Annotated[
        str | None,
        typer.Option(
            "--rule",
            help="youden, sensitivity or specificity. Default: the rule of the protocol.",
            autocompletion=words("youden", "sensitivity", "specificity"),
        ),
    ] = None,
    aim: Aim = 0.95,
    part: Annotated[
        str,
        typer.Option("--part", help="The subset to fit on, if the table has several. Default: validation."),
    ] = "",
    only_predicted: OnlyPredicted = False,
    uncertain: Uncertain = "",
    blank: Blank = "",
    case: Case = "",
    score: Score = "",
    truth_column: TruthColumn = "",
    part_column: PartColumn = "",
    model: Models = "",
    model_column: ModelColumn = "",
    positive: Positive = "",
    ignore_labels: IgnoreLabels = "",
    nothing: Nothing = "",
    allow: Allow = "",
) -> None:
    found = verbs.calibrate(
        predictions, protocol, out, truth=truth, group=group, method=method, rule=rule, aim=aim,  # type: ignore[arg-type]
        part=part, only_predicted=only_predicted, uncertain=uncertain, blank=blank, **_reading(context),
    )  # fmt: skip
    of = f" ({found.part} subset)" if found.part else ""
    print_text(
        f"{found.method}, fitted on {found.n:,} cases of {found.groups:,} groups{of}; `evaluate --calibration` "
        "refuses to evaluate these cases and groups"
    )
    if found.part == "test":
        print_note(
            "fitted on the test subset: the test subset of this table cannot be evaluated with this file"
        )
    for label, scaling in zip(found.labels, found.scalings, strict=True):
        if why := getattr(scaling, "reason", ""):
            print_note(f"{label or 'all classes'}: {why}")
    for each in found.thresholds:
        of = f"{each.label}: " if each.label else ""
        print_text(
            f"{of}threshold {number_text(each.value)}, {each.describe() if not each.reason else each.reason}"
        )
    print_text(str(out))


@verb(verbs.compare, "compare a.csv b.csv --protocol isic2018-task3 --group lesion_id")
def compare(
    context: typer.Context,
    first: Annotated[Path, typer.Argument(metavar="A", help="A prediction table.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another prediction table of the same cases.")],
    protocol: ProtocolName,
    truth: Truth = None,
    group: Group = "",
    part: Part = "test",
    threshold: FixedThreshold = None,
    only_predicted: OnlyPredicted = False,
    uncertain: Uncertain = "",
    blank: Blank = "",
    also: Also = "",
    bootstrap: Bootstrap = 2000,
    seed: Seed = 0,
    report: ReportFile = None,
    case: Case = "",
    score: Score = "",
    truth_column: TruthColumn = "",
    part_column: PartColumn = "",
    model: Models = "",
    model_column: ModelColumn = "",
    positive: Positive = "",
    ranks: Ranks = False,
    ignore_labels: IgnoreLabels = "",
    nothing: Nothing = "",
    allow: Allow = "",
    as_json: Json = False,
) -> int | None:
    found = verbs.compare(
        first, second, protocol, truth=truth, group=group, part=part, threshold=threshold,
        only_predicted=only_predicted, uncertain=uncertain, blank=blank, also=_listed(also), bootstrap=bootstrap,
        seed=seed, report=report, **_reading(context),
    )  # fmt: skip
    code = FOUND if found.findings else 0
    if as_json:
        print_json(_plain(found))
        return code
    one = found.evaluations[0]
    print_text(
        f"{one.part}: {one.n:,} cases, {one.groups:,} groups, protocol {one.protocol}; differences are A minus B"
    )
    print_table(*comparison_rows(found))
    print_text(f"{found.method}; DeLong treats cases as independent")
    if not math.isnan(found.mcnemar_p):
        print_text(
            f"correct only in A: {found.only_first:,}, only in B: {found.only_second:,}; McNemar's exact test "
            f"p {p_text(found.mcnemar_p)}, treats cases as independent"
        )
    for note in found.all_notes:
        print_text(note)
    if report:
        print_text(f"report: {report}")
    return code


@verb(verbs.report, "report RUN", "report runs/chest_xray/kermany_*/0-* --out comparison.html")
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="One or more folders of runs.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The .html file to write.")
    ] = None,
) -> None:
    print_text(str(verbs.report(runs, out)))
