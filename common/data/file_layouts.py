"""Find the files of a published dataset: its folders, and leftovers of archives and file systems to ignore."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Container, Iterator
from pathlib import Path, PurePosixPath

from graftwork.common.errors import DatasetError
from graftwork.common.wording import short_list


def hidden(name: str) -> bool:
    """Whether it is what file systems and archives leave behind: .DS_Store, ._x.jpeg, __MACOSX."""
    return name.startswith(".") or name == "__MACOSX"


def folders_below(root: Path) -> list[Path]:
    """The folders directly below `root`, hidden ones left out, in the order of their names.

    Raises:
        DatasetError: it cannot be listed.
    """
    try:
        return sorted(entry for entry in root.iterdir() if entry.is_dir() and not hidden(entry.name))
    except OSError as error:
        raise DatasetError(
            f"the folder cannot be listed ({error.strerror})",
            where=root,
            remedy="check the permissions of the folder",
        ) from error


def find_folder(
    root: str | os.PathLike[str], is_it: Callable[[Path], bool], looked_for: str, remedy: str
) -> Path:
    """The first folder for which `is_it` holds: `root`, then those one and two below it, by name.

    Args:
        looked_for: what makes it the one, for the message. remedy: what to do where there is none.

    Raises:
        DatasetError: `root` is no folder, or none is it; says what was looked for and what was found.
    """
    place = Path(root)
    if not place.is_dir():
        what = "is a file, not a folder" if place.exists() else "there is no such folder"
        raise DatasetError(
            f"{what}; looked for {looked_for}", where=place, remedy="check the path given with --data"
        )
    if is_it(place):
        return place
    below = folders_below(place)
    for each in (*below, *(deeper for folder in below for deeper in folders_below(folder))):
        if is_it(each):
            return each
    raise DatasetError(
        f"looked for {looked_for}, here and up to two folders below; found: {listed(place)}",
        where=place,
        remedy=remedy,
    )


def listed(folder: Path, most: int = 8) -> str:
    """The first names in a folder, hidden ones left out, for messages: "a, b and 5 more"; "nothing" if empty."""
    try:
        names = sorted(name for name in os.listdir(folder) if not hidden(name))  # noqa: PTH208 (names, no Paths)
    except OSError as error:
        return f"it cannot be listed ({error.strerror})"
    said = short_list(names, most) or "nothing"
    return said.encode(errors="backslashreplace").decode()  # a name need not be Unicode


def left_out(root: Path, used: Container[str]) -> str:
    """The sentence that counts the files below a folder that a reader does not use; empty where there are none.

    Args:
        used: paths relative to `root`, POSIX. Hidden files are not counted.
    """
    rest = [path for path in walk(root, ("",)) if path not in used]
    if not rest:
        return ""
    kinds = Counter(PurePosixPath(path).suffix.lower() or "without an ending" for path in rest)
    listing = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
    places = Counter(path.partition("/")[0] if "/" in path else "" for path in rest)
    folders = [f"{name or 'the folder itself'} {count:,}" for name, count in sorted(places.items())]
    example = rest[0].encode(errors="backslashreplace").decode()
    files = "1 file is" if len(rest) == 1 else f"{len(rest):,} files are"
    return f"{files} not used: {listing} (in {short_list(folders, 8)}), such as {example}"


def walk(root: Path, suffixes: tuple[str, ...], unseen: Counter[str] | None = None) -> Iterator[str]:
    """Paths of the files below `root` that end so (in small letters), POSIX and relative, hidden ones left out.

    The files of a folder by name, then those of the folders in it, these by name too. Links to folders are
    followed, and duplicates are reported once.

    Args:
        unseen: counts under "hidden" the hidden files and folders that were passed over.

    Raises:
        DatasetError: a folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        raise DatasetError(
            f"the folder cannot be listed ({error.strerror})",
            where=error.filename,
            remedy="check the permissions of the folder",
        ) from error

    seen: set[tuple[int, int]] = set()
    for folder, below, names in os.walk(root, onerror=refuse, followlinks=True):
        status = os.stat(folder)  # noqa: PTH116 (a Path for each of many folders is slow)
        if (status.st_dev, status.st_ino) in seen:  # a link to a folder above
            below.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        if unseen is not None and (count := sum(map(hidden, (*below, *names)))):
            unseen["hidden"] += count
        below[:] = sorted(name for name in below if not hidden(name))
        place = os.path.relpath(folder, root).replace(os.sep, "/")
        for name in sorted(names):
            if name.lower().endswith(suffixes) and not hidden(name):
                yield name if place == "." else f"{place}/{name}"
