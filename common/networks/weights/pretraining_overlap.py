"""Whether pretrained weights saw the images of a dataset: by the names of datasets, and by the files themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from graftwork.common.errors import WeightsError
from graftwork.common.files.untrusted_files import read_text
from graftwork.common.networks.weights.cards import WeightsRecord


@dataclass(frozen=True)
class Overlap:
    """What of a dataset pretrained weights were trained on.

    Attributes:
        names: of the dataset's names, those that the card of the weights gives.
        files: files of the dataset that are, byte for byte, among those that the weights were trained on.
        of: files that were looked for; 0 where the card lists none.
    """

    names: tuple[str, ...]
    files: int
    of: int


def overlap(
    record: WeightsRecord,
    *,
    names: Sequence[str],
    digests: Iterable[str] = (),
    folder: Path | None = None,
) -> Overlap | None:
    """What of a dataset the weights were trained on, as far as their card says; None where it is nothing.

    Files are compared whole: an image saved again at another size or quality is not found by its digest.

    Args:
        names: those by which the dataset and the collections that it is drawn from are known.
        digests: SHA-256 of its files; "" (of a missing file) is left out.
        folder: where the card lies; None: no files are compared.

    Raises:
        WeightsError: the list of files that the card names is missing or damaged.
    """
    met = record.shared_names(names)
    files = of = 0
    if record.seen_sha256 and folder is not None:
        known = read_seen(folder / record.seen_sha256)
        sought = {bytes.fromhex(each) for each in digests if each}
        files, of = len(sought & known), len(sought)
    return Overlap(met, files, of) if met or files else None


def overlap_sentence(record: WeightsRecord, found: Overlap | None) -> str:
    """The overlap for a report, without a full stop; "" where there is none."""
    if found is None:
        return ""
    said = []
    if found.names:
        said.append(f"{found.names[0]}, of which this set is or from which it is drawn")
    if found.files:
        said.append(f"{found.files:,} of the {found.of:,} files of this set, byte for byte")
    what = "the network has seen" if found.files else "the network may have seen"
    return (
        f"the pretrained weights ({record.origin}) were trained on {', and on '.join(said)}: {what} these very "
        "images, and those of the test part may be among them"
    )


def read_seen(path: Path) -> frozenset[bytes]:
    """The SHA-256 of a list of files, one a line, as sha256sum writes it; empty lines and those with # are skipped.

    Raises:
        WeightsError: there is no such file, or a line does not begin with 64 hex digits.
    """
    found: set[bytes] = set()
    text = read_text(
        path, WeightsError, remedy="bring it with the weights, or take seen_sha256 off their card"
    )
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = re.match(r"\\?([0-9a-fA-F]{64})(?:\s|$)", line)
        if match is None:
            shown = line if len(line) <= 80 else f"{line[:80]}... (cut)"
            raise WeightsError(
                f"line {number} does not begin with the 64 hex digits of a SHA-256 (found {shown!r})",
                where=path,
                remedy="write it with sha256sum",
            )
        found.add(bytes.fromhex(match.group(1)))
    return frozenset(found)
