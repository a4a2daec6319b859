"""Commands that predict on new images: predict and merge."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from graftwork.cli.commands import verb
from graftwork.cli.completion import formats
from graftwork.cli.options import EscapeFormulas, Json, RunFolder
from graftwork.cli.terminal import FOUND, bars, print_json, print_note, print_text
from graftwork.common import verbs

if TYPE_CHECKING:
    from graftwork.common.prediction import Outcome


@verb(
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
            help="A folder; all images (volumes) in it are used. Or a list: .csv with a column path, file or "
            "filePath, or .txt with one path per line. Or a pattern in quotation marks.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="FILE", help="The file to write. For a segmentation run: a folder."),
    ],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="csv, parquet, or a format of the domain. Default: the suffix of FILE.",
            autocompletion=formats,
        ),
    ] = "",
    shard: Annotated[
        str,
        typer.Option(
            "--shard", metavar="I/N", help="Predict only share I of N. A hash of the path assigns each file."
        ),
    ] = "",
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            metavar="PATTERN",
            help="Skip paths in FOLDER that match. Without a slash: any folder or file name. Repeatable.",
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            "--root",
            metavar="DIR",
            help="For a list: the folder of relative paths. Default: the folder of the list.",
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read images.")] = 2,
    engine: Annotated[
        str,
        typer.Option(
            metavar="ENGINE",
            help="Library that computes a classifier on a CPU: torch, onnxruntime, openvino, or auto: the fastest "
            "installed one that agrees with torch, measured once.",
        ),
    ] = "auto",
    escape_formulas: EscapeFormulas = False,
    as_json: Json = False,
) -> int:
    with bars() as move:
        done = verbs.predict(
            run, folder, out,
            format=form, shard=shard, exclude=exclude or (), root=root, workers=workers,
            engine=engine, escape_formulas=escape_formulas, progress=move,
        )  # fmt: skip
    return _print_outcome(done, as_json)


@verb(verbs.merge, "merge photos.csv", "merge masks")
def merge(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The --out of `predict`.")],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="csv, parquet, or a format of the domain. Default: the format of the shards.",
            autocompletion=formats,
        ),
    ] = "",
    escape_formulas: EscapeFormulas = False,
    as_json: Json = False,
) -> int:
    return _print_outcome(verbs.merge(file, format=form, escape_formulas=escape_formulas), as_json)


def _print_outcome(done: Outcome, as_json: bool) -> int:
    if as_json:
        print_json({**asdict(done), "file": str(done.file)})
    else:
        failed = f"; {done.failed:,} could not be read (column failure)" if done.failed else ""
        left_out = f"; {done.left_out_text}" if done.left_out else ""
        files = "1 file" if done.files == 1 else f"{done.files:,} files"
        seen = f"; {done.seen_text} (column seen_by_run)" if done.seen_by_run else ""
        print_note(f"{files}, {done.new:,} of them new{failed}{left_out}{seen}")
        print_text(str(done.file))
    return FOUND if done.failed else 0
