"""Commands that train, or prepare training: run, resume, find-lr and select."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from graftwork.cli.commands import verb
from graftwork.cli.completion import words
from graftwork.cli.options import Data, EscapeFormulas, Json, Overrides, RecipeName, RunFolder
from graftwork.cli.results import print_evaluation
from graftwork.cli.terminal import bars, print_json, print_note, print_table, print_text
from graftwork.common import verbs
from graftwork.common.evaluation.text_tables import number_text
from graftwork.common.recipe.allowances import ALLOWANCES


@verb(
    verbs.run,
    "run chest_xray/kermany_linear-probe --data chest_xray",
    "run mine.toml --data chest_xray --out runs seed=1 training.epochs=3",
)
def run(
    recipe: RecipeName,
    data: Data,
    overrides: Overrides = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="The folder in which runs are saved.")
    ] = Path("runs"),
    allow_leak: Annotated[
        bool,
        typer.Option(
            "--allow-leak", help="For studies of leakage: allow a group in two subsets. Reports show it."
        ),
    ] = False,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow",
            metavar="NAME",
            help=f"Allow a split that is otherwise refused: {', '.join(ALLOWANCES)}. Repeatable. Reports show it.",
            autocompletion=lambda: list(ALLOWANCES),
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    with bars() as move:
        done = verbs.run(
            recipe, data, out, overrides or (), allow_leak=allow_leak, allow=allow or (), progress=move
        )
    _print_run(done, as_json)


@verb(verbs.resume, "resume runs/chest_xray/kermany_linear-probe/0-1f2e3d4c")
def resume(run: RunFolder, as_json: Json = False) -> None:
    with bars() as move:
        done = verbs.resume(run, progress=move)
    _print_run(done, as_json)


def _print_run(done: verbs.RunResult, as_json: bool) -> None:
    if as_json:
        paths = {"folder": str(done.folder), "report": str(done.report), "already": done.already}
        further = [each.to_json() for each in done.further]
        return print_json({**paths, "evaluation": done.evaluation.to_json(), "further": further})
    if done.already:
        print_note(f"{done.folder} is already complete; nothing to do")
    for each in (done.evaluation, *done.further):
        print_evaluation(each)
    return print_text(str(done.report))


@verb(
    verbs.find_lr,
    "find-lr chest_xray/kermany_full --data chest_xray",
    "find-lr mine.toml --data chest_xray --phase 2 training.batch_size=64",
    name="find-lr",
)
def find_lr(
    recipe: RecipeName,
    data: Data,
    overrides: Overrides = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="The folder for rates.csv and rates.svg.")
    ] = Path("rates"),
    low: Annotated[float, typer.Option("--from", metavar="RATE", help="The lowest learning rate.")] = 1e-7,
    high: Annotated[float, typer.Option("--to", metavar="RATE", help="The highest learning rate.")] = 1.0,
    steps: Annotated[int, typer.Option("--steps", metavar="N", help="Maximum number of steps.")] = 100,
    phase: Annotated[
        int, typer.Option("--phase", metavar="N", help="The phase of the strategy, from 1.")
    ] = 1,
    as_json: Json = False,
) -> None:
    with bars() as move:
        found = verbs.find_lr(
            recipe, data, out, overrides or (), low=low, high=high, steps=steps, phase=phase, progress=move
        )
    if as_json:
        return print_json({**asdict(found), "table": str(found.table), "picture": str(found.picture)})
    rows = [
        ("steepest fall of the loss", f"{found.steepest:.2g}"),
        ("a tenth of the learning rate with the lowest loss", f"{found.tenth:.2g}"),
        ("suggested: the lower of these two", f"{found.suggested:.2g}"),
    ]
    print_table(("rule", "training.learning_rate"), rows)
    print_text(f"{len(found.rates)} steps in phase {phase} ({found.phase}); {found.ended}")
    return print_text(str(found.picture))


@verb(
    verbs.select,
    "select chest_xray/kermany_full --data chest_xray --among resnet18,resnet50",
    "select mine.toml --data chest_xray --among resnet18@mine.safetensors",
)
def select(
    recipe: RecipeName,
    data: Data,
    among: Annotated[
        str,
        typer.Option("--among", metavar="A,B,C", help="Backbones. NAME@FILE takes the weights from a file."),
    ],
    overrides: Overrides = None,
    by: Annotated[
        str,
        typer.Option(
            "--by",
            metavar="SCORE",
            help="The score to rank by: log_me, leep, h_score or probe.",
            autocompletion=words("log_me", "leep", "h_score", "probe"),
        ),
    ] = "log_me",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the table to this .csv file.")
    ] = None,
    escape_formulas: EscapeFormulas = False,
    as_json: Json = False,
) -> None:
    with bars() as move:
        found = verbs.select(recipe, data, among.split(","), overrides or (), by=by, out=out,
                             escape_formulas=escape_formulas, progress=move)  # fmt: skip
    if as_json:
        return print_json(found.to_json())
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
    print_table(columns, rows, whole=1)
    for name, why in found.left_out:
        print_note(f"{name} was skipped: {why}")
    print_text(
        f"ranked by {found.by} on the training subset only: {found.cases:,} cases of {found.groups:,} groups"
    )
    return None
