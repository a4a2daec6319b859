"""Predict on a folder of images: streaming, resumable, in shards, and only new files.

`predict` lists the files, predicts those that are new in batches, and combines the rows into one file; `merge` combines
shards. Slow libraries are imported only when there is something to predict.
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
    """The result of `predict` or `merge`.

    Attributes:
        file: the complete file of predictions, or the index of a folder of masks.
        files: rows in it.
        failed: rows of files that could not be read.
        new: files that were predicted now.
        left_out: files that were found and not predicted, by kind: ".MP4", "hidden", "excluded", ...
        seen_by_run: rows of images that the run used, by its subset: "train", "validation", ...
    """

    file: Path
    files: int
    failed: int
    new: int
    left_out: Mapping[str, int] = field(default_factory=dict)
    seen_by_run: Mapping[str, int] = field(default_factory=dict)

    @property
    def left_out_text(self) -> str:
        """The skipped files in words: "2 files skipped that are no images (.AVI 1, .MP4 1)"; "" if there are none."""
        kinds = {kind: count for kind, count in self.left_out.items() if kind not in _REASONS}
        texts = [
            f"{count:,} skipped ({_REASONS[kind]})"
            for kind, count in self.left_out.items()
            if kind in _REASONS
        ]
        if kinds:
            listing = ", ".join(f"{kind} {count:,}" for kind, count in kinds.items())
            texts.insert(0, f"{sum(kinds.values()):,} skipped that are no images ({listing})")
        return "; ".join(texts)

    @property
    def seen_text(self) -> str:
        """The images that the run used, in words; "" if there are none."""
        counts = [f"{count:,} {_SEEN[part]}" for part, count in self.seen_by_run.items()]
        return f"of {self.files:,} files, this run already used {', '.join(counts)}" if counts else ""


_SEEN = {
    "train": "for training",
    "validation": "for validation",
    "seen": "for the test on training groups",
    "test": "for the test",
}

_REASONS = {
    "hidden": "hidden",
    "excluded": "by --exclude",
    "masks": "predicted masks",
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
    engine: str = "auto",
    progress: Callable[[str, int, int], None] | None = None,
) -> Outcome:
    """Predict on a folder or list of images with a trained model.

    The output has one row per file, in the order of the paths: the score of each class, the predicted class, whether
    the run used the same image (`seen_by_run`), and why a file could not be read (`failure`). A segmentation run writes
    masks instead, as PNG or NIfTI with the same relative paths, and index.csv.

    Memory does not grow with the number of images. The same command resumes an interrupted prediction, with the same
    bytes as without interruption. If the output exists, only new files, and files that could not be read, are
    predicted. --shard 2/8 predicts the second of eight shares; `graftwork merge` combines them.

    Args:
        run: the folder of the run.
        folder: a folder; all images (or volumes) in it are used, and other files are counted in `left_out`. Or a .csv
            or .txt list of files, a pattern, or one file.
        out: the file to write, .csv or .parquet. For a segmentation run: a folder. FILE.about.json beside it describes
            its run, network and settings.
        format: csv, parquet, or a format of the domain. "": by the suffix of the file.
        shard: "2/8" for the second of eight shares. "": all files.
        exclude: patterns of paths to skip; their rows are removed from the output.
        root: the folder of relative paths in a list. None: the folder of the list.
        workers: processes that read images.
        escape_formulas: for CSV, put an apostrophe before text that a spreadsheet program would run as a formula.
        engine: library for the forward pass of a classifier on a CPU: "auto" measures the installed ones once per
            network and machine and uses the fastest that agrees with torch; "torch", "onnxruntime" or "openvino".
        progress: called with (current step, files done, total).

    Raises:
        UsageError: the folder or the format is unknown, there is nothing to predict, or masks would overwrite other
            files.
        DatasetError: the list is invalid.
        RunError: the run is not complete, the output cannot be written, or it belongs to another run or folder.
        Interrupted: stopped by a signal; the same call resumes.
    """
    require_training("graftwork predict")
    from graftwork.common.prediction import folder_prediction

    return folder_prediction.predict(
        run, folder, out,
        form=format, shard=shard, exclude=[exclude] if isinstance(exclude, str) else exclude,
        root=root, workers=workers, escape=escape_formulas,
        engine=engine, progress=progress,
    )  # fmt: skip


def merge(file: StrPath, *, format: str = "", escape_formulas: bool = False) -> Outcome:
    """Merge the shards of `predict --shard` into one file, or one index for a folder of masks.

    All shards must exist, and be of the same run and folder. They are kept, so that you can add new images later.

    Args:
        file: the `out` of `predict`.
        format: as for `predict`. "": the format of the shards. escape_formulas: as for `predict`.

    Raises:
        UsageError: there are no shards.
        RunError: shards are missing or of another run, or the file cannot be written.
    """
    from graftwork.common.prediction import merge_shards

    return merge_shards.merge(file, form=format, escape=escape_formulas)
