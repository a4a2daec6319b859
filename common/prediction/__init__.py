"""A network over a folder: streaming, resumable, in shards, and only what is new.

`predict` lists the files, sends those that were not predicted yet through the run's network, a portion at a time,
and puts the rows together into one file; `merge` puts shards together. Nothing slow is imported before there is work.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from graftwork.common.errors import require_training

__all__ = ["Outcome", "merge", "predict"]

StrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class Outcome:
    """A file of predictions that is complete.

    Attributes:
        file: it, or the index of a folder of masks.
        files: rows in it.
        failed: rows of files that could not be read.
        new: files that were predicted now.
        left_out: files that were found and not predicted, by kind: ".MP4", "hidden", "excluded", ...
        seen_by_run: rows of images that the run knows, by the part of its split: "train", "validation", ...
    """

    file: Path
    files: int
    failed: int
    new: int
    left_out: Mapping[str, int] = field(default_factory=dict)
    seen_by_run: Mapping[str, int] = field(default_factory=dict)

    @property
    def left_out_text(self) -> str:
        """What was left out, in words: "2 left out that are no images (.AVI 1, .MP4 1)"; "" where nothing was."""
        kinds = {kind: count for kind, count in self.left_out.items() if kind not in _REASONS}
        said = [
            f"{count:,} left out ({_REASONS[kind]})"
            for kind, count in self.left_out.items()
            if kind in _REASONS
        ]
        if kinds:
            listing = ", ".join(f"{kind} {count:,}" for kind, count in kinds.items())
            said.insert(0, f"{sum(kinds.values()):,} left out that are no images ({listing})")
        return "; ".join(said)

    @property
    def seen_text(self) -> str:
        """What the run knows, in words: "65 of 100 files trained this run, 15 validated it"; "" where nothing."""
        said: list[str] = []
        for part, count in self.seen_by_run.items():
            of = "" if said else f" of {self.files:,} files"
            said.append(f"{count:,}{of} {_SEEN[part]} {'it' if said else 'this run'}")
        return ", ".join(said)


_SEEN = {
    "train": "trained",
    "validation": "validated",
    "seen": "are of groups that trained",
    "test": "are of the test part of",
}

_REASONS = {
    "hidden": "hidden",
    "excluded": "by --exclude",
    "masks": "masks that were predicted",
    "listed twice": "listed twice",
}


def predict(
    run: StrPath,
    folder: StrPath,
    out: StrPath,
    *,
    format: str = "",
    shard: str = "",
    exclude: str | Sequence[str] = (),
    root: StrPath | None = None,
    workers: int = 2,
    escape_formulas: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Outcome:
    """Say what a run's network sees in the files of a folder, or of a list.

    A row a file, in the order of their paths below the folder: a score a class, the class that is chosen
    (`predicted`; of two classes by the run's threshold), the part of the run's split that has the same image
    (`seen_by_run`: train, validation or test; else empty), and why the file could not be read (`failure`). Of a run
    that segments, the masks, as PNG or NIfTI at the same paths below OUT, a new folder or one of the same run's
    masks, and index.csv.

    It streams, so memory does not grow with the folder. It is kept as it goes: killed at any moment, the same
    command goes on and ends byte-identical to one that was not. Where FILE is there already, only files that are not
    in it, and those that could not be read, are predicted; a file that changed under its old name is not. With
    --shard 2/8 a machine does its share, and `graftwork merge FILE` puts the shards together.

    Args:
        run: its folder.
        folder: all pictures (or volumes) below it, by the ends of their names (what else is there is counted in
            `left_out`); or a .csv or .txt list of files, a pattern, or one file.
        out: the file to write, .csv or .parquet; of a run that segments, a folder. FILE.about.json beside it says
            what made it.
        format: csv, parquet, or one of the domain's; "" to go by the end of the file's name.
        shard: "2/8", the second of eight shares; "" for all.
        exclude: patterns of paths to leave out; their rows leave OUT.
        root: the folder that paths in a list are relative to; None for that of the list.
        workers: processes that read pictures.
        escape_formulas: of CSV, put an apostrophe before text that a spreadsheet would run as a formula.
        progress: called with (what is being done, files done, files in all).

    Raises:
        UsageError: no such folder, nothing to predict, a format that there is not, or masks would be written over
            other files.
        DatasetError: a list is broken.
        RunError: the run is not complete, the output cannot be written, or it was made by something else.
        Interrupted: by a signal; the same call goes on.
    """
    require_training("graftwork predict")
    from graftwork.common.prediction import folder_prediction

    return folder_prediction.predict(
        run, folder, out,
        form=format, shard=shard, exclude=[exclude] if isinstance(exclude, str) else exclude,
        root=root, workers=workers, escape=escape_formulas,
        progress=progress,
    )  # fmt: skip


def merge(file: StrPath, *, format: str = "", escape_formulas: bool = False) -> Outcome:
    """Put the shards of `predict --shard` together into one file, or one index of a folder of masks.

    All of them must be there, of one run and one folder. The shards stay, so that they can be gone on with when new
    files have come.

    Args:
        file: what was given to `predict` as --out.
        format: as of `predict`; "" for that which the shards were predicted for. escape_formulas: as of `predict`.

    Raises:
        UsageError: there are no shards of it.
        RunError: some are missing, or of another run; or the file cannot be written.
    """
    from graftwork.common.prediction import merge_shards

    return merge_shards.merge(file, form=format, escape=escape_formulas)
