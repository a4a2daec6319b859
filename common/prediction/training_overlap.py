"""Which images a run already knows, by size and SHA-256: those of the parts of its split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from graftwork.common.files import file_sha256

if TYPE_CHECKING:
    from graftwork.common.runs.run_folder import Run


SEEN_BY_RUN = "seen_by_run"
"""The column of predictions that names the part of the run's own split in which an image is; empty: in none."""

SEEN_PARTS = ("train", "validation", "seen", "test")
"""What it holds. An image that is in several parts has the first of these."""


@dataclass(frozen=True)
class SeenFiles:
    """The images of a run.

    Attributes:
        parts: size in bytes to SHA-256 (hex) to the part.
    """

    parts: Mapping[int, Mapping[str, str]]

    def part_of(self, file: Path) -> str | None:
        """The part in which an image of the same content is; None where the run has none.

        Only a file of the size of a known one is read.
        """
        try:
            known = self.parts.get(file.stat().st_size)
            return None if known is None else known.get(file_sha256(file))
        except OSError:  # decoding it fails too, and says why
            return None


def seen_files(run: Run) -> SeenFiles:
    """The images that a run began with, and their parts.

    Raises:
        RunError, TableError: files.parquet or split.csv of the run is missing or damaged.
    """
    part = dict(zip(run.manifest.frame["case"].tolist(), run.split.parts.tolist(), strict=True))
    image = set(zip(run.manifest.frame["case"].tolist(), run.manifest.frame["path"].tolist(), strict=True))
    files = run.files
    found: dict[int, dict[str, str]] = {}
    for case, name, size, sha256 in zip(
        files["case"], files["file"], files["size"], files["sha256"], strict=True
    ):
        if sha256 and (case, name) in image:  # else it was missing, or is a mask
            known = found.setdefault(int(size), {})
            several = {part[case], known.get(sha256, part[case])}
            known[sha256] = min(several, key=SEEN_PARTS.index)
    return SeenFiles(found)
