"""The owner of a mask folder: one network and one image folder; masks are never written into a folder of images.

Masks have the names of their images, so a folder that holds anything else could lose it. A folder is made ours by
a file that says what makes its masks, written before the first of them; all that write into it, shards too, are held
against it.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from graftwork.common.data.file_layouts import hidden
from graftwork.common.errors import UsageError
from graftwork.common.files import write_json
from graftwork.common.prediction.image_list import IDENTITY, Listing
from graftwork.common.prediction.output_files import check_same, identity_of, read_json
from graftwork.common.wording import short_list

_REMEDY = "name a new folder with --out"


def mask_name(key: str, suffix: str, endings: Sequence[str]) -> str:
    """The path of a file's mask: its own, with `suffix` in the place of its ending (one of `endings`)."""
    for ending in sorted(endings, key=len, reverse=True):
        if key.lower().endswith(ending):
            return f"{key[: -len(ending)]}{suffix}"
    return f"{key}{suffix}"


def check_names(keys: Iterable[str], suffix: str, endings: Sequence[str], where: Path) -> None:
    """See that no two files would have one mask.

    Raises:
        UsageError: names those that would.
    """
    owners: dict[str, set[str]] = defaultdict(set)
    for key in keys:
        owners[mask_name(key, suffix, endings)].add(key)
    shared = [sorted(each) for each in owners.values() if len(each) > 1]
    if shared:
        listed = short_list(map(" and ".join, shared), separator="; ")
        raise UsageError(
            f"files whose masks would have one name: {listed}",
            where=where,
            remedy="leave some out with --exclude, or predict them into another folder",
        )


def check_apart(out: Path, listing: Listing, suffix: str, endings: Sequence[str]) -> None:
    """See that no mask would take the place of an image, by whatever links the two are reached.

    Raises:
        UsageError: one would.
    """
    what = "masks would be written over the images"
    if os.path.realpath(out) == os.path.realpath(listing.root):
        raise UsageError(what, where=out, remedy=_REMEDY)
    masks = (_which(out / mask_name(key, suffix, endings)) for key in listing.keys.to_pylist())
    there = {mask for mask in masks if mask is not None}
    if not there:
        return
    for row in range(len(listing)):
        if _which(listing.file(row)) in there:
            raise UsageError(f"{what}, as over {listing.file(row)}", where=out, remedy=_REMEDY)


def _which(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def claim(folder: Path, identity: Mapping[str, Any]) -> None:
    """Make a new or empty folder that of some masks, or see that it is theirs.

    Args:
        identity: what makes the masks.

    Raises:
        UsageError: it holds something else.
        RunError: it is that of others, or cannot be written.
    """
    mark = folder / IDENTITY
    if not mark.is_file():
        other = folder.is_dir() and any(not hidden(entry.name) for entry in folder.iterdir())
        if other and not mark.is_file():  # not by another shard in the meantime
            raise UsageError(
                "it holds files that are not predictions, over which masks could be written",
                where=folder,
                remedy=_REMEDY,
            )
        if not other:
            write_json(mark, identity_of(identity))
    check_owner(folder, identity)


def check_owner(folder: Path, identity: Mapping[str, Any]) -> None:
    """See that a folder of masks is that of `identity`.

    Raises:
        UsageError: it does not say whose it is.
        RunError: it is that of others.
    """
    mark = folder / IDENTITY
    if not mark.is_file():
        raise UsageError(f"{mark.name}, which says what made its masks, is not there", where=folder)
    check_same(read_json(mark), identity, where=folder, said=mark, remedy=_REMEDY)
