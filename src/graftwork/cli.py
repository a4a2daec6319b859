"""The command line. Each verb: parse, call the function of the same name, print its typed result."""

from __future__ import annotations

import inspect
import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graftwork import __version__
from graftwork.common import verbs
from graftwork.common.evaluation.text_tables import (
    comparison_rows,
    evaluation_rows,
    limits_text,
    metric_text,
    number_text,
    p_text,
    readers_rows,
)
from graftwork.common.external.evaluate_any import TAKEN, refuse_idle, what_is
from graftwork.common.recipe.allowances import ALLOWANCES
from graftwork.common.runs.signals import heed_no_more
from graftwork.completion import backbones, formats, names, overrides_of_a_recipe, recipes_or_files, words
from graftwork.terminal import (
    FOUND,
    bars,
    complain,
    exit_code,
    guarded,
    say,
    say_json,
    say_table,
    sentence,
    settings,
)

if TYPE_CHECKING:
    from graftwork.common.doctor import Checkup, Place
    from graftwork.common.evaluation.readers import AgainstReaders
    from graftwork.common.evaluation.results import Evaluation
    from graftwork.common.evaluation.subgroup_metrics import Subgroups
    from graftwork.common.prediction import Outcome

__all__ = ["app", "main"]

HELP = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(rich_markup_mode=None, context_settings=HELP, pretty_exceptions_enable=False)
weights = typer.Typer(
    rich_markup_mode=None,
    context_settings=HELP,
    help="Pretrained weights: what is to be had here, and how to carry it to a machine without internet.",
)
app.add_typer(weights, name="weights")


def _verb(
    described_by: Callable[..., Any] | str, *examples: str, name: str | None = None, to: typer.Typer = app
) -> Callable[[Callable[..., int | None]], Callable[..., int | None]]:
    """Make a command of a function; its help is the docstring of the verb, up to `Args:`, and examples."""
    text = described_by if isinstance(described_by, str) else inspect.getdoc(described_by) or ""
    text = re.split(r"^(?:Args|Returns|Raises):$", text, maxsplit=1, flags=re.MULTILINE)[0].strip()
    shown = "\n".join(f"  graftwork {example}" for example in examples)

    def register(function: Callable[..., int | None]) -> Callable[..., int | None]:
        command = to.command(
            name or function.__name__,
            help=text,
            short_help=" ".join(text.partition("\n\n")[0].split()),
            epilog=f"\b\nExamples:\n{shown}",
        )
        command(guarded(function))
        return function

    return register


DatasetName = Annotated[
    str,
    typer.Argument(metavar="DATASET", help="As `ls datasets` lists it.", autocompletion=names("datasets")),
]
Data = Annotated[
    Path, typer.Option("--data", metavar="DIR", help="The folder in which the dataset was unpacked.")
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]
EscapeFormulas = Annotated[
    bool,
    typer.Option("--escape-formulas", help="Of CSV: an apostrophe before text that begins with = + - @."),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]


@weights.callback(invoke_without_command=True)
def _weights_door(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        say(context.get_help())


@app.callback(invoke_without_command=True)
def _door(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Say the version.")] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show errors in full, with any verb.")
    ] = False,
) -> None:
    """Transfer learning for medical and wildlife imaging: recipes, grouped splits, honest intervals.

    \b
    A first run:
      graftwork ls recipes
      graftwork synthesize chest_xray/kermany toy
      graftwork run chest_xray/kermany_linear-probe --data toy seed=1
    \b
    Exit codes: 0 done; 1 done, and something was found (check, doctor, predict); 2 wrong use or bad input;
    70 a fault of graftwork; 75 stopped by a signal and 130 by Ctrl-C, both to be gone on with.
    """
    settings.traceback = traceback
    if version:
        say(f"graftwork {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        say(context.get_help())


@_verb(verbs.ls, "ls", "ls recipes", "ls weights --json")
def ls(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="KIND",
            help="recipes, datasets, protocols, weights or backbones; all of them where left out.",
            autocompletion=words("recipes", "datasets", "protocols", "weights", "backbones"),
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    entries = verbs.ls(kind)  # type: ignore[arg-type]  # a kind that there is not is answered by the verb
    if as_json:
        return say_json([asdict(entry) for entry in entries])
    last = {"recipes": "expect", "datasets": "target", "protocols": "source", "weights": "from"}
    kinds = dict.fromkeys(entry.kind for entry in entries)
    for each in kinds:
        if each == "backbones":
            say_table(*_backbone_table(entries))
        else:
            rows = [(entry.name, entry.title, entry.about) for entry in entries if entry.kind == each]
            say_table((each, "title", last[each]), rows)
        if len(kinds) > 1 and each != list(kinds)[-1]:
            say("")
    return None


def _backbone_table(entries: Sequence[verbs.Entry]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    columns = ("backbones", "family", "parameters", "multiply-adds", "size", "licence", "weights")
    found = [(entry, entry.figures) for entry in entries if isinstance(entry, verbs.BackboneEntry)]
    rows = [
        (
            entry.name, about.family, f"{about.parameters / 1e6:.1f} M", f"{about.multiply_adds / 1e9:.2f} G",
            f"{about.size} px", entry.licence, entry.about,
        )
        for entry, about in found
    ]  # fmt: skip
    return columns, rows


@_verb(verbs.show, "show chest_xray/kermany_linear-probe", "show chest_xray/kermany", "show recipe-keys")
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="As `ls` lists it, backbone/NAME, or recipe-keys.",
            autocompletion=lambda incomplete: [
                *names("recipes", "datasets", "protocols")(incomplete),
                *words("recipe-keys", *backbones())(incomplete),
            ],
        ),
    ],
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            metavar="KIND",
            help="recipe, dataset or protocol.",
            autocompletion=words("recipe", "dataset", "protocol"),
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    found = verbs.show(name, kind)
    if not as_json:
        return say(found.text)
    keys = [asdict(key) for key in verbs.recipe_keys()] if found.kind == "keys" else None
    told = {key: value for key, value in asdict(found).items() if key != "about" or value}
    return say_json({**told, **({"keys": keys} if keys else {})})


@_verb(verbs.cp, "cp chest_xray/kermany_linear-probe .", "cp chest_xray/kermany_full mine.toml")
def cp(
    recipe: Annotated[
        str,
        typer.Argument(metavar="RECIPE", help="As `ls recipes` lists it.", autocompletion=names("recipes")),
    ],
    to: Annotated[
        Path, typer.Argument(metavar="FOLDER_OR_FILE", help="Where; a file ends in .toml.")
    ] = Path(),
) -> None:
    say(str(verbs.cp(recipe, to)))


@_verb(verbs.doctor, "doctor", "doctor --json")
def doctor(as_json: Json = False) -> int:
    found = verbs.doctor()
    if as_json:
        say_json(found.to_json())
    else:
        say_table(("this machine", ""), _checkup_rows(found))
        for each in found.advice:
            say(f"{each.severity}: {each.what}; {each.remedy}")
    return 0 if found.ok else FOUND


def _checkup_rows(found: Checkup) -> list[tuple[str, str]]:
    cpu, memory = found.processors, found.memory
    limits = "" if cpu.limit is None else f", limited to the time of {cpu.limit:g}"
    devices = [
        f"{device.name}{f', {device.memory_gib:g} GiB' if device.memory_gib else ''}"
        f"{f', driver {device.driver}' if device.driver else ''}"
        for device in found.devices
    ]
    rows = [
        ("graftwork", f"{found.graftwork}{', offline' if found.offline else ''}"),
        ("Python", found.python),
        ("system", found.platform),
        ("device", "; ".join(devices) or "no GPU: work is done on the CPU"),
        ("CPUs", f"{cpu.allowed} of {cpu.installed}{limits} ({cpu.name})"),
        (
            "memory",
            f"{memory.available_gib:g} of {memory.total_gib:g} GiB free"
            + ("" if memory.limit_gib is None else f", limited to {memory.limit_gib:g} GiB"),
        ),
        ("/dev/shm", "missing" if found.shared_memory is None else _room(found.shared_memory)),
        (
            "cache",
            f"{found.cache.path}: {found.cache.fault or _room(found.cache)}; "
            f"{found.kept_gib:g} of at most {found.budget_gib:g} GiB kept",
        ),
    ]
    rows += [("weights", f"{backbone} ({origin})") for backbone, origin in found.weights]
    rows += [
        ("domain", f"{each.name} ({each.package}): {each.fault or ', '.join(each.datasets)}")
        for each in found.domains
    ]
    rows += [("DICOM", f"{name}: {decoder or 'no decoder'}") for name, decoder in found.decoders.items()]
    versions = {name: version or "missing" for name, version in found.libraries.items()}
    if "torch" in versions and found.torch_cuda:
        versions["torch"] += f" (CUDA {found.torch_cuda})"
    return [*rows, ("libraries", ", ".join(f"{name} {version}" for name, version in versions.items()))]


def _room(place: Place) -> str:
    return f"{place.free_gib:g} of {place.total_gib:g} GiB free"


@_verb(verbs.check, "check chest_xray/kermany --data chest_xray", "check chest_xray/kermany --data D --json")
def check(
    dataset: DatasetName,
    data: Data,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that decode; as many as CPUs where left out.")
    ] = None,
    as_json: Json = False,
) -> int:
    with bars() as move:
        step = None if move is None else lambda done, total: move("decoding pictures", done, total)
        found = verbs.check(dataset, data, workers=workers, progress=step)
    if as_json:
        say_json(found.to_json())
    else:
        columns = ("severity", "kind", "where", "what", "remedy")
        if found.findings:
            say_table(columns, [[row[column] for column in columns] for row in found.rows()], whole=2)
        count = len(found.findings)
        verdict = f"{count} finding{'s' * (count != 1)}" if count else "nothing found amiss"
        for note in found.notes:
            say(f"note: {note}")
        say(f"{found.dataset}: {found.cases:,} cases, {found.groups:,} groups; {verdict}")
    return FOUND if found.findings else 0


RecipeName = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="As `ls recipes` lists it, or a .toml file.",
        autocompletion=recipes_or_files,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Overrides; `show recipe-keys` lists the keys.",
        autocompletion=overrides_of_a_recipe,
    ),
]


@_verb(
    verbs.run,
    "run chest_xray/kermany_linear-probe --data chest_xray",
    "run mine.toml --data chest_xray --out runs seed=1 training.epochs=3",
)
def run(
    recipe: RecipeName,
    data: Data,
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder of runs.")] = Path("runs"),
    allow_leak: Annotated[
        bool,
        typer.Option(
            "--allow-leak", help="For studies of leakage: groups may stand in two parts. Stamped on reports."
        ),
    ] = False,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow",
            metavar="NAME",
            help=f"Allow what the split is else refused for: {', '.join(ALLOWANCES)}. Repeatable; stamped on reports.",
            autocompletion=lambda: list(ALLOWANCES),
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    with bars() as move:
        done = verbs.run(
            recipe, data, out, overrides or (), allow_leak=allow_leak, allow=allow or (), progress=move
        )
    _say_run(done, as_json)


@_verb(verbs.resume, "resume runs/chest_xray/kermany_linear-probe/0-1f2e3d4c")
def resume(run: RunFolder, as_json: Json = False) -> None:
    with bars() as move:
        done = verbs.resume(run, progress=move)
    _say_run(done, as_json)


def _say_run(done: verbs.RunResult, as_json: bool) -> None:
    if as_json:
        paths = {"folder": str(done.folder), "report": str(done.report), "already": done.already}
        further = [each.to_json() for each in done.further]
        return say_json({**paths, "evaluation": done.evaluation.to_json(), "further": further})
    if done.already:
        complain(f"{done.folder} is complete; nothing was left to do")
    for each in (done.evaluation, *done.further):
        _say_evaluation(each)
    return say(str(done.report))


@_verb(
    verbs.find_rate,
    "find-rate chest_xray/kermany_full --data chest_xray",
    "find-rate mine.toml --data chest_xray --phase 2 training.batch_size=64",
    name="find-rate",
)
def find_rate(
    recipe: RecipeName,
    data: Data,
    overrides: Overrides = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where rates.csv and rates.svg go.")
    ] = Path("rates"),
    low: Annotated[float, typer.Option("--from", metavar="RATE", help="The lowest rate.")] = 1e-7,
    high: Annotated[float, typer.Option("--to", metavar="RATE", help="The highest rate.")] = 1.0,
    steps: Annotated[int, typer.Option("--steps", metavar="N", help="Steps, at most.")] = 100,
    phase: Annotated[
        int, typer.Option("--phase", metavar="N", help="Of the strategy: whose stages learn.")
    ] = 1,
    as_json: Json = False,
) -> None:
    with bars() as move:
        found = verbs.find_rate(
            recipe, data, out, overrides or (), low=low, high=high, steps=steps, phase=phase, progress=move
        )
    if as_json:
        return say_json({**asdict(found), "table": str(found.table), "picture": str(found.picture)})
    rows = [
        ("steepest fall of the loss", f"{found.steepest:.2g}"),
        ("a tenth of the rate of the lowest loss", f"{found.tenth:.2g}"),
        ("suggested: the lower of the two", f"{found.suggested:.2g}"),
    ]
    say_table(("by", "training.learning_rate"), rows)
    say(f"{len(found.rates)} steps in phase {phase} ({found.phase}); {found.ended}")
    return say(str(found.picture))


@_verb(
    verbs.select,
    "select chest_xray/kermany_full --data chest_xray --among resnet18,resnet50",
    "select mine.toml --data chest_xray --among resnet18@mine.safetensors",
)
def select(
    recipe: RecipeName,
    data: Data,
    among: Annotated[
        str,
        typer.Option(
            "--among", metavar="A,B,C", help="Backbones; NAME@FILE for weights in a file with its card."
        ),
    ],
    overrides: Overrides = None,
    by: Annotated[
        str,
        typer.Option(
            "--by",
            metavar="SCORE",
            help="log_me, leep, h_score or probe.",
            autocompletion=words("log_me", "leep", "h_score", "probe"),
        ),
    ] = "log_me",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="A .csv file to write the table to.")
    ] = None,
    escape_formulas: EscapeFormulas = False,
    as_json: Json = False,
) -> None:
    with bars() as move:
        found = verbs.select(recipe, data, among.split(","), overrides or (), by=by, out=out,
                             escape_formulas=escape_formulas, progress=move)  # fmt: skip
    if as_json:
        return say_json(found.to_json())
    columns = ("rank", "backbone", "LogME", "LEEP", "H-score", "probe AUROC", "parameters", "multiply-adds",
               "images/s", "trained on", "weights")  # fmt: skip
    rows = [
        (
            str(each.rank or "-"), each.name, number_text(each.log_me), number_text(each.leep),
            number_text(each.h_score),
            f"{number_text(each.probe)} ({number_text(each.probe_low)} to {number_text(each.probe_high)})",
            f"{each.parameters / 1e6:.1f} M", f"{each.multiply_adds / 1e9:.2f} G", f"{each.images_per_second:.0f}",
            each.trained_on or "-", each.weights,
        )
        for each in found.candidates
    ]  # fmt: skip
    say_table(columns, rows, whole=1)
    for name, why in found.left_out:
        complain(f"{name} is left out: {why}")
    say(f"ranked by {found.by} on the training part alone: {found.cases:,} cases of {found.groups:,} groups")
    return None


ProtocolName = Annotated[
    str,
    typer.Option(
        "--protocol", metavar="NAME", help="As `ls protocols` lists it.", autocompletion=names("protocols")
    ),
]
Truth = Annotated[
    Path | None,
    typer.Option(
        "--truth", metavar="FILE|DIR", help="A table of its own with the truth; the folder of true masks."
    ),
]
Group = Annotated[
    str, typer.Option("--group", metavar="COLUMN", help="What is resampled, such as the patient.")
]
Part = Annotated[str, typer.Option("--part", help="The part that is judged, where a table has parts.")]
FixedThreshold = Annotated[
    float | None, typer.Option("--threshold", help="Fixed beforehand; else chosen on the part validation.")
]
OnlyPredicted = Annotated[
    bool, typer.Option("--only-predicted", help="Judge the predicted cases where --truth has more.")
]
Uncertain = Annotated[
    str,
    typer.Option(
        "--uncertain", metavar="POLICY", help="Labels of -1: ignore, zero or one, or CLASS=POLICY,..."
    ),
]
Blank = Annotated[
    str, typer.Option("--blank", metavar="POLICY", help="Empty labels: ignore or zero, or CLASS=POLICY,...")
]
Also = Annotated[
    str,
    typer.Option("--also", metavar="METRICS", help="Further metrics by comma, such as calibration_slope."),
]
ReportFile = Annotated[
    Path | None, typer.Option("--report", metavar="FILE", help="An .html file to write the report to.")
]
Aim = Annotated[float, typer.Option("--aim", help="What sensitivity or specificity is to reach.")]
Bootstrap = Annotated[int, typer.Option("--bootstrap", help="Replicates of the groups.", min=2)]
Seed = Annotated[int, typer.Option("--seed", help="Of the replicates.", min=0)]


Case = Annotated[
    str, typer.Option("--case", metavar="COLUMN", help="The column of the case, in either table.")
]
Score = Annotated[
    str, typer.Option("--score", metavar="COLUMN", help="The column of the scores, of one class.")
]
TruthColumn = Annotated[
    str, typer.Option("--truth-column", metavar="COLUMN", help="The column of the truth.")
]
PartColumn = Annotated[
    str,
    typer.Option("--part-column", metavar="COLUMN", help="The column of the part; none: no column says it."),
]
Model = Annotated[
    str,
    typer.Option(
        "--model", metavar="NAME", help="Whose rows, of a table of several; readers: the model's column."
    ),
]
Models = Annotated[
    str,
    typer.Option("--model", metavar="NAME", help="Whose rows, of tables of several models; two by comma."),
]
ModelColumn = Annotated[str, typer.Option("--model-column", metavar="COLUMN", help="The column of models.")]
Positive = Annotated[
    str,
    typer.Option("--positive", metavar="VALUE", help="The value of the positive class, such as 2 or ill."),
]
Ranks = Annotated[bool, typer.Option("--ranks", help="Scores of any range: their order alone counts.")]
IgnoreLabels = Annotated[
    str, typer.Option("--ignore-labels", metavar="NAMES", help="Classes that are not evaluated, by comma.")
]
Nothing = Annotated[
    str,
    typer.Option("--nothing", metavar="WORDS", help="Words of a list of classes for none of them, by comma."),
]
Allow = Annotated[
    str,
    typer.Option(
        "--allow", metavar="FINDINGS", help="look-alikes: cases or groups that look alike are no finding."
    ),
]
_READING = ("case", "score", "truth_column", "part_column", "model", "model_column", "positive", "ranks",
            "ignore_labels", "nothing", "allow")  # fmt: skip


def _reading(context: typer.Context) -> Any:
    """The options that say how tables are read, as keywords of the verbs; those that were not given are left out."""
    given = {name: context.params[name] for name in _READING if context.params.get(name)}
    return {name: tuple(_listed(value)) if name in _READING[-3:] else value for name, value in given.items()}


def _refuse_idle(context: typer.Context, what: str) -> None:
    """Say which options were given that do nothing for what is judged."""
    taken = {"what", "as_json", *TAKEN[what]}
    idle = [
        param.opts[0] if param.param_type_name == "option" else str(context.params[str(param.name)])
        for param in context.command.params
        if param.name in context.params and param.name not in taken
        and getattr(context.get_parameter_source(param.name), "name", "") == "COMMANDLINE"
    ]  # fmt: skip
    refuse_idle(what, idle)


@_verb(
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
            metavar="RUN|FILE|WORD", help="The folder of a run, a table, or the word seg, boxes or readers."
        ),
    ],
    table: Annotated[
        Path | None, typer.Argument(metavar="[TABLE]", help="readers: the table of readings.")
    ] = None,
    protocol: ProtocolName = "",
    truth: Truth = None,
    group: Group = "",
    by: Annotated[
        str, typer.Option("--by", metavar="COLUMNS", help="Covariates whose subgroups are judged, by comma.")
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
        typer.Option("--calibration", metavar="FILE", help="As `calibrate` wrote it: used on the scores."),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option("--features", metavar="FILE", help="Features by case: do they tell what --by names?"),
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
        typer.Option("--out", metavar="FILE", help="seg: a .csv file for the values of each case."),
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
        str, typer.Option("--readers", metavar="COLUMNS", help="readers: what each reader said, by comma.")
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
            "--reference-readers", metavar="COLUMNS", help="readers: others, whose majority is the reference."
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
        say_json(content if further is None else {**content, "further": [each.to_json() for each in further]})
        return FOUND if kind == "a table" and found.findings else 0
    if kind == "a run":
        for each in (found, *verbs.further_evaluations(what)):
            _say_evaluation(each)
        return 0
    if kind == "readers":
        _say_readers(found)
        return 0
    evaluation = found.evaluation if kind == "a table" else found
    _say_evaluation(evaluation)
    for covariate in found.subgroups if kind == "a table" else ():
        _say_subgroups(covariate)
    for note in evaluation.notes:
        say(note)
    if report:
        say(f"report: {report}")
    return FOUND if kind == "a table" and found.findings else 0


def _plain(found: Any) -> Any:
    from graftwork.common.evaluation.results import plain

    return plain(found)


def _say_readers(found: AgainstReaders) -> None:
    say(f"{found.metric} by {found.reference}: {found.n:,} cases, {found.groups:,} groups")
    say_table(*readers_rows(found))
    for note in found.notes:
        say(note)
    say(f"{found.method}; these readers, other cases")


def _listed(words: str) -> list[str]:
    return [each.strip() for each in words.split(",") if each.strip()]


def _say_subgroups(found: Subgroups) -> None:
    rows = [
        (found.covariate, each.value, metric_text(one.metric), one.label, number_text(one.value),
         limits_text(one.low, one.high), one.n,
         "" if one.positives is None else one.positives, one.groups, one.reason)
        for each in found.subgroups
        for one in each.results
        if not one.label or len(each.results) <= 8
    ]  # fmt: skip
    columns = (
        "covariate", "value", "metric", "class", "value", "interval", "n", "positive", "groups", "why undefined",
    )  # fmt: skip
    say_table(columns, rows)
    for gap in found.gaps:
        apart = gap.difference
        of = f"{number_text(apart.value)} ({number_text(apart.low)} to {number_text(apart.high)})"
        say(f"{gap.metric}: {gap.highest} lies {of} above {gap.lowest}, the furthest apart of all")
    for value, groups in found.suppressed:
        say(f"{found.covariate} {value}: {groups} groups only, not judged")


@_verb(verbs.calibrate, "calibrate local.csv --protocol isic2020 --group patient_id --out local.json")
def calibrate(
    context: typer.Context,
    predictions: Annotated[
        Path, typer.Argument(metavar="FILE", help="A table of predictions with their truth.")
    ],
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
            help="youden, sensitivity or specificity; else the protocol's.",
            autocompletion=words("youden", "sensitivity", "specificity"),
        ),
    ] = None,
    aim: Aim = 0.95,
    part: Annotated[
        str,
        typer.Option("--part", help="Whose cases are used, where the table has parts; else validation."),
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
    of = f", the part {found.part}" if found.part else ""
    say(
        f"{found.method}, fitted on {found.n:,} cases of {found.groups:,} groups{of}; `evaluate --calibration` refuses "
        "these cases and groups"
    )
    if found.part == "test":
        complain(
            "it was fitted on the part test: no case of that part of this table can be evaluated with it"
        )
    for label, scaling in zip(found.labels, found.scalings, strict=True):
        if why := getattr(scaling, "reason", ""):
            complain(f"{label or 'all classes'}: {why}")
    for each in found.thresholds:
        of = f"{each.label}: " if each.label else ""
        say(f"{of}threshold {number_text(each.value)}, {each.describe() if not each.reason else each.reason}")
    say(str(out))


@_verb(verbs.compare, "compare a.csv b.csv --protocol isic2018-task3 --group lesion_id")
def compare(
    context: typer.Context,
    first: Annotated[Path, typer.Argument(metavar="A", help="A table of predictions.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another one, of the same cases.")],
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
        say_json(_plain(found))
        return code
    one = found.evaluations[0]
    say(f"{one.part}: {one.n:,} cases, {one.groups:,} groups, by protocol {one.protocol}; A minus B")
    say_table(*comparison_rows(found))
    say(f"{found.method}; DeLong takes cases as independent")
    if not math.isnan(found.mcnemar_p):
        say(
            f"right in A alone {found.only_first:,}, in B alone {found.only_second:,}: McNemar's exact "
            f"p {p_text(found.mcnemar_p)}, cases taken as independent"
        )
    for note in found.all_notes:
        say(note)
    if report:
        say(f"report: {report}")
    return code


def _say_evaluation(found: Evaluation) -> None:
    say(f"{found.part}: {found.n:,} cases, {found.groups:,} groups, by protocol {found.protocol}")
    of = f"; the target is {found.target}" if found.target else ""
    say(f"a case is one {found.unit}, a group one {found.group}{of}")
    if found.threshold is not None:
        chosen = f" on {found.threshold.chosen_on}" if found.threshold.chosen_on else ""
        say(f"threshold: {number_text(found.threshold.value)}, {found.threshold.rule}{chosen}")
    say_table(*evaluation_rows(found))


@_verb(
    verbs.predict,
    "predict RUN photos --out photos.csv",
    "predict RUN 'cards/*/DCIM/**/*.JPG' --out cards.parquet --exclude thumbnails",
    "predict RUN list.csv --root /data --out list.parquet --shard 2/8",
    "predict RUN volumes --out masks",
)
def predict(
    run: RunFolder,
    folder: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER",
            help="All pictures (volumes) below it. Or a list: .csv with a column path, file or filePath; .txt, "
            "one a line. Or a pattern in quotation marks.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="FILE", help="The file to write; of a run that segments, a folder."),
    ],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="csv, parquet, or one of the domain's; by the end of FILE where left out.",
            autocompletion=formats,
        ),
    ] = "",
    shard: Annotated[
        str,
        typer.Option(
            "--shard", metavar="I/N", help="The I-th of N shares of the files, by a hash of their paths."
        ),
    ] = "",
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            metavar="PATTERN",
            help="Leave out paths below FOLDER that fit; without a slash, any part of them. May be repeated.",
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            "--root",
            metavar="DIR",
            help="Of a list: the folder that paths are relative to; that of the list where left out.",
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read pictures.")] = 2,
    escape_formulas: EscapeFormulas = False,
    as_json: Json = False,
) -> int:
    with bars() as move:
        done = verbs.predict(
            run, folder, out,
            format=form, shard=shard, exclude=exclude or (), root=root, workers=workers,
            escape_formulas=escape_formulas, progress=move,
        )  # fmt: skip
    return _say_outcome(done, as_json)


@_verb(verbs.merge, "merge photos.csv", "merge masks")
def merge(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What was given to `predict` as --out.")],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="csv, parquet, or one of the domain's; that of the shards where left out.",
            autocompletion=formats,
        ),
    ] = "",
    escape_formulas: EscapeFormulas = False,
    as_json: Json = False,
) -> int:
    return _say_outcome(verbs.merge(file, format=form, escape_formulas=escape_formulas), as_json)


def _say_outcome(done: Outcome, as_json: bool) -> int:
    if as_json:
        say_json({**asdict(done), "file": str(done.file)})
    else:
        failed = f"; {done.failed:,} could not be read (column failure)" if done.failed else ""
        left_out = f"; {done.left_out_text}" if done.left_out else ""
        files = "1 file" if done.files == 1 else f"{done.files:,} files"
        seen = f"; {done.seen_text} (column seen_by_run)" if done.seen_by_run else ""
        complain(f"{files}, {done.new:,} of them new{failed}{left_out}{seen}")
        say(str(done.file))
    return FOUND if done.failed else 0


@_verb(verbs.report, "report RUN", "report runs/chest_xray/kermany_*/0-* --out comparison.html")
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Folders of runs.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="The page to write.")] = None,
) -> None:
    say(str(verbs.report(runs, out)))


@_verb(verbs.synthesize, "synthesize chest_xray/kermany toy", "synthesize chest_xray/kermany toy --cases 200")
def synthesize(
    dataset: DatasetName,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where; empty or missing.")],
    cases: Annotated[int, typer.Option(min=1, help="Pictures, about.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds write equal files.")] = 0,
) -> None:
    say(str(verbs.synthesize(dataset, folder, cases=cases, seed=seed)))


@_verb(verbs.regrid, "regrid mask.nii.gz --like image.nii.gz --out mask_regridded.nii.gz")
def regrid(
    mask: Annotated[Path, typer.Argument(metavar="MASK", help="A NIfTI file of whole numbers.")],
    like: Annotated[Path, typer.Option("--like", metavar="IMAGE", help="A NIfTI file on the grid wanted.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The file to write, .nii or .nii.gz.")],
    as_json: Json = False,
) -> None:
    done = verbs.regrid(mask, like, out)
    if as_json:
        return say_json({**asdict(done), "file": str(done.file)})
    rows = [(value, f"{was:,}", f"{now:,}") for value, (was, now) in done.counts.items()]
    say_table(("value", "voxels before", "voxels after"), rows)
    if done.outside:
        complain(f"{done.outside:,} voxels of {like} lie outside {mask}; they are 0")
    for each in (*done.remarks, *(done.faults or ("the grids were the same",))):
        complain(each)
    return say(str(done.file))


@_verb(verbs.schema, "schema > recipe.schema.json")
def schema() -> None:
    say_json(verbs.schema())


@_verb("List the pretrained weights to be had without a network.", "weights ls", name="ls", to=weights)
def weights_ls(as_json: Json = False) -> None:
    ls("weights", as_json)


@_verb(verbs.pack_weights, "weights pack weights.tar tf_efficientnet_lite0", name="pack", to=weights)
def weights_pack(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The archive to write, .tar or .zip.")],
    backbones: Annotated[
        list[str] | None, typer.Argument(metavar="BACKBONE", help="timm names; all here where left out.")
    ] = None,
) -> None:
    for record in verbs.pack_weights(file, backbones or ()):
        say(f"{record.backbone}: {record.origin}")


@_verb(verbs.unpack_weights, "weights unpack weights.tar", name="unpack", to=weights)
def weights_unpack(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `weights pack` wrote.")],
) -> None:
    for record in verbs.unpack_weights(file):
        say(f"{record.backbone}: {record.origin}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show is no reason to end
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    given = list(sys.argv[1:] if arguments is None else arguments)
    if "--traceback" in given:  # wherever it stands
        given = ["--traceback", *(word for word in given if word != "--traceback")]
    try:
        code = app(given, prog_name="graftwork", standalone_mode=False)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        path = "graftwork" if context is None else context.command_path
        complain(f"error: {sentence(error.format_message())} See: {path} --help")
        code = error.exit_code if error.exit_code != 1 else 2
    except (Exception, KeyboardInterrupt) as error:  # outside of a verb
        stopped = isinstance(error.__cause__, KeyboardInterrupt)  # typer makes an error of its own of it
        code = exit_code(error.__cause__ if stopped and error.__cause__ else error)
    code = code if isinstance(code, int) else 0
    heed_no_more(code)
    sys.exit(code)
