"""Checksums of the files of a folder, so that damage is found when a file is read.

`checksums.txt` has a line for each content that a file of the folder was given: SHA-256, two spaces, name. The line is
written before the file takes its place, so after a kill at any moment a whole file has one of its lines. A folder
without this file (of an earlier version) and a file without a line are read unverified, and the log names them.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from functools import cache
from pathlib import Path

from graftwork.common.errors import GraftworkError, RunError

log = logging.getLogger("graftwork")

CHECKSUMS = "checksums.txt"
_HEADER = (
    "# SHA-256 of each content that a file of this folder was given; the last line of a name is the newest\n"
)
_LINE = re.compile(r"([0-9a-f]{64})  ([^\n]+)")
_LARGEST = 1 << 18  # bytes; a longer list is reduced to the contents that are there


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's content, as 64 hex digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def begin_checksums(folder: Path) -> None:
    """Have each file that is written into `folder` from now on listed with its checksum.

    Raises:
        OSError: it cannot be written.
    """
    place = folder / CHECKSUMS
    if not place.exists():
        lines = [
            f"{file_sha256(each)}  {each.name}\n"
            for each in sorted(folder.iterdir())
            if each.is_file() and not each.name.startswith(".")
        ]
        place.write_text(_HEADER + "".join(lines), encoding="utf-8")


def note_checksum(path: Path, content: Path) -> None:
    """List what `path` will hold, where its folder lists checksums; `content` is the file that takes its place.

    Raises:
        OSError: it cannot be read or written.
    """
    place = path.parent / CHECKSUMS
    if path == place or not place.is_file():
        return
    line = f"{file_sha256(content)}  {path.name}\n"
    with place.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        if file.read(1) not in (b"\n", b""):  # a line that a killed process left unfinished
            line = f"\n{line}"
        file.seek(0, os.SEEK_END)
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())


def compact_checksums(folder: Path) -> None:
    """Reduce a long list to the contents that are there. For the one process that may write into the folder.

    Raises:
        OSError: it cannot be read or written.
    """
    place = folder / CHECKSUMS
    if not place.is_file() or place.stat().st_size <= _LARGEST:
        return
    kept = [
        f"{digest}  {name}\n"
        for name, digests in _listed(place).items()
        for digest in digests
        if (folder / name).is_file() and file_sha256(folder / name) == digest
    ]
    fresh = place.with_name(f".{CHECKSUMS}")
    fresh.write_text(_HEADER + "".join(kept), encoding="utf-8")
    fresh.replace(place)


def verified(
    path: Path, error: type[GraftworkError] = RunError, remedy: str = "restore the file from a copy"
) -> Path:
    """`path`, once its content is one that its folder's checksums list.

    Args:
        error: the class of the error. remedy: how the file is had again.

    Raises:
        error: the file is damaged or was changed.
    """
    place = path.parent / CHECKSUMS
    try:
        digests = _listed(place).get(path.name, ()) if place.is_file() else ()
        found = file_sha256(path) if digests else ""
    except OSError as fault:
        raise error(f"cannot be read ({fault.strerror or fault})", where=path, remedy=remedy) from fault
    if not digests and place.is_file() and path.is_file():
        _say_unlisted(path)
    if digests and found not in digests:
        raise error(
            f"damaged or changed: its SHA-256 is {found}, {CHECKSUMS} beside it has {digests[-1]}",
            where=path,
            remedy=remedy,
        )
    return path


@cache
def _say_unlisted(path: Path) -> None:
    log.warning("%s: %s beside it has no line for it; it is read unverified", path, CHECKSUMS)


def _listed(place: Path) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for line in place.read_text("utf-8", errors="replace").split("\n"):
        match = _LINE.fullmatch(line)
        if match:
            found[match[2]] = (*found.get(match[2], ()), match[1])
    return found
