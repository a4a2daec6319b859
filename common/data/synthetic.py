"""Shared code of synthetic datasets: the marker file, and random draws that depend only on names."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from graftwork.common.errors import DatasetError
from graftwork.common.files.untrusted_files import read_json

if TYPE_CHECKING:
    import numpy as np

    from graftwork.common.evaluation.results import Evaluation


MARKER = "SYNTHETIC.txt"  # in every folder that `synthesize` wrote, so that nobody mistakes it for real data
NOTE = "synthetic: these images were drawn by a program; they show nothing real and prove nothing"


SAID = "SYNTHETIC DATA, drawn to try the program. These numbers say nothing about the world."


def begin(folder: str | os.PathLike[str], *, cases: int, seed: int, least: int) -> Path:
    """Start a synthetic dataset: create its folder, with the marker before any image.

    Args:
        folder: must be missing, empty, or hold the same synthetic dataset.
        cases, seed: what the set depends on. least: the fewest cases from which the set can be made.

    Raises:
        DatasetError: too few cases, or a folder that holds something else.
    """
    root = Path(folder)
    if cases < least:
        raise DatasetError(
            f"cases is at least {least}, got {cases}", where=root, remedy="ask for more cases (--cases)"
        )
    note = (
        "SYNTHETIC. These images were drawn by graftwork, to try programs on. They show nothing real, and no\n"
        f"result obtained on them says anything about the world.\ncases={cases} seed={seed}\n"
    )
    if root.is_file():
        raise DatasetError("is a file, not a folder", where=root, remedy="name a new or an empty folder")
    if root.is_dir() and any(root.iterdir()):
        marker = root / MARKER
        if not marker.is_file() or marker.read_text(encoding="utf-8") != note:
            raise DatasetError(
                "the folder holds something else", where=root, remedy="name a new or an empty folder"
            )
    root.mkdir(parents=True, exist_ok=True)
    # first, so that not even an interrupted call leaves images that could be taken for data
    (root / MARKER).write_text(note, encoding="utf-8")
    return root


def is_synthetic(*folders: Path) -> bool:
    """Whether one of these folders was written by `synthesize`, or is inside one that was; its manifest then has
    `NOTE`."""
    above = (each for folder in folders for each in (folder.absolute(), *folder.absolute().parents))
    return any((folder / MARKER).is_file() for folder in above)


def rests_on_synthetic(*files: str | os.PathLike[str] | None) -> bool:
    """Whether predictions or truths (files or folders) are from synthetic data, according to the files next to them.

    They are if they are in a folder that `synthesize` wrote, or if FILE.about.json (of `predict`) or the
    environment.json of their run has `synthetic` true.
    """
    for file in (Path(each) for each in files if each is not None):
        folder = file if file.is_dir() else file.parent
        if is_synthetic(folder):
            return True
        said = (
            sorted(folder.glob("*.about.json"))
            if file.is_dir()
            else [file.with_name(f"{file.name}.about.json")]
        )
        for beside in (*said, folder / "environment.json", folder.parent / "environment.json"):
            with contextlib.suppress(DatasetError):  # no such file, or another's
                content = read_json(beside, DatasetError)
                if isinstance(content, dict) and content.get("synthetic") is True:
                    return True
    return False


def marked(found: Evaluation, *files: str | os.PathLike[str] | None) -> Evaluation:
    """An evaluation with the field `synthetic` and a note where one of its files rests on synthetic data."""
    if not rests_on_synthetic(*files):
        return found
    return replace(found, synthetic=True, notes=(SAID, *found.notes))


def generator(dataset: str, seed: int, *words: object) -> np.random.Generator:
    """A generator for each thing that is drawn, so that nothing depends on the order of drawing."""
    import hashlib

    import numpy as np

    digest = hashlib.sha256("\0".join(map(str, (dataset, seed, *words))).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))
