"""Arguments and options that more than one command has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graftwork.cli.completion import names, overrides_of_a_recipe, recipes_or_files

DatasetName = Annotated[
    str,
    typer.Argument(
        metavar="DATASET", help="A name that `ls datasets` lists.", autocompletion=names("datasets")
    ),
]
Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="The folder with the unpacked dataset.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]
EscapeFormulas = Annotated[
    bool,
    typer.Option("--escape-formulas", help="CSV: put an apostrophe before text that starts with = + - @."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

RecipeName = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="A name that `ls recipes` lists, or a .toml file.",
        autocompletion=recipes_or_files,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Change keys of the recipe; `show recipe-keys` lists them.",
        autocompletion=overrides_of_a_recipe,
    ),
]

ProtocolName = Annotated[
    str,
    typer.Option(
        "--protocol",
        metavar="NAME",
        help="A name that `ls protocols` lists.",
        autocompletion=names("protocols"),
    ),
]
Truth = Annotated[
    Path | None,
    typer.Option(
        "--truth",
        metavar="FILE|DIR",
        help="The labels, if they are in a separate file. seg: the folder of true masks.",
    ),
]
Group = Annotated[
    str,
    typer.Option(
        "--group",
        metavar="COLUMN",
        help="The column of the group, such as the patient: intervals resample it.",
    ),
]
Part = Annotated[str, typer.Option("--part", help="The subset to evaluate, if the table has several.")]
FixedThreshold = Annotated[
    float | None,
    typer.Option("--threshold", help="A fixed threshold. Default: chosen on the validation subset."),
]
OnlyPredicted = Annotated[
    bool, typer.Option("--only-predicted", help="Evaluate only predicted cases if --truth has more cases.")
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
    typer.Option(
        "--also",
        metavar="METRICS",
        help="Additional metrics, separated by commas, such as calibration_slope.",
    ),
]
ReportFile = Annotated[
    Path | None, typer.Option("--report", metavar="FILE", help="Write a report to this .html file.")
]
Aim = Annotated[
    float, typer.Option("--aim", help="The sensitivity or specificity that the threshold must reach.")
]
Bootstrap = Annotated[int, typer.Option("--bootstrap", help="Number of bootstrap replicates.", min=2)]
Seed = Annotated[int, typer.Option("--seed", help="Seed of the bootstrap.", min=0)]


Case = Annotated[
    str, typer.Option("--case", metavar="COLUMN", help="The column of the case, in both tables.")
]
Score = Annotated[
    str, typer.Option("--score", metavar="COLUMN", help="The column of the scores, if there is one class.")
]
TruthColumn = Annotated[
    str, typer.Option("--truth-column", metavar="COLUMN", help="The column of the true label.")
]
PartColumn = Annotated[
    str,
    typer.Option(
        "--part-column",
        metavar="COLUMN",
        help="The column of the subset; none: the table has no such column.",
    ),
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="NAME",
        help="The model to evaluate, if the table has several; readers: its column.",
    ),
]
Models = Annotated[
    str,
    typer.Option(
        "--model", metavar="NAME", help="The model, if a table has several; two separated by a comma."
    ),
]
ModelColumn = Annotated[
    str, typer.Option("--model-column", metavar="COLUMN", help="The column of the model name.")
]
Positive = Annotated[
    str,
    typer.Option("--positive", metavar="VALUE", help="The value that means positive, such as 2 or ill."),
]
Ranks = Annotated[bool, typer.Option("--ranks", help="Accept scores of any range; only their order is used.")]
IgnoreLabels = Annotated[
    str, typer.Option("--ignore-labels", metavar="NAMES", help="Classes to leave out, separated by commas.")
]
Nothing = Annotated[
    str,
    typer.Option(
        "--nothing", metavar="WORDS", help="Words in a list of classes that mean none, separated by commas."
    ),
]
Allow = Annotated[
    str,
    typer.Option(
        "--allow",
        metavar="FINDINGS",
        help="look-alikes: do not report names that differ only in case or zeros.",
    ),
]
