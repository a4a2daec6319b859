"""All findings about a dataset at once: files that cannot be read, pictures that stand in it twice, leaks.

Every file is decoded in full, in a process of its own (`inspection.py`); what was seen is remembered by the
content of the file, so a second check of the same files takes a fraction of the time.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graftwork.common.checks import twins
from graftwork.common.checks.findings import KINDS, SHOWN, Finding, Findings, some
from graftwork.common.checks.inspection import LOOK_VERSION, Look, looks
from graftwork.common.errors import TableError
from graftwork.common.files import Cache, Fingerprint, file_sha256, hash_of
from graftwork.common.manifest import PARTS, Manifest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graftwork.common.splits import Split

__all__ = ["KINDS", "Finding", "Findings", "check"]

_LEAST_GROUPS = 3  # one for each of train, validation and test
_LEAST_CASES = 10  # of a class in a part, below which a part says little about it
_LEAST_SIDE = 32  # px
_EACH = 100  # findings of one kind that are named one by one; above, they are counted

Progress = Callable[[int, int], None]


def check(
    manifest: Manifest,
    *,
    split: Split | None = None,
    cache: Cache | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Findings:
    """Look at every file of a dataset and at its table.

    Pictures are identical when their decoded pixels are (grey stored as RGB counts as grey). They are near when
    the 256-bit perceptual hashes (`imagehash.phash`, 16 x 16 low frequencies of a 64 x 64 cosine transform)
    differ in at most `twins.NEAR` bits. Near pictures are looked for across parts: those of `split` where it is
    given, else the publisher's, else across groups; a pair within one group is no news.

    Args:
        manifest: the dataset.
        split: parts to look at beside those of the publisher.
        cache: remembers what was seen, by content; None remembers nothing.
        workers: reading processes (default: one a processor that this process may use); 0 reads in this
            process, where a decoder that crashes ends everything.
        progress: called with files done and files in all.
    """
    frame = manifest.frame
    seen, remembered = _see(manifest, cache, _workers(workers, len(manifest)), progress)
    given = frame["part"].to_numpy(dtype=object)
    found: list[Finding] = []
    found += _files(manifest, seen)
    found += _values(manifest, seen)
    found += _shared_groups(manifest, given, "the publisher's parts")
    parts = given
    if split is not None:
        if len(split.manifest) != len(manifest) or not (split.manifest.frame["case"] == frame["case"]).all():
            raise TableError("the split is of another manifest", where=manifest.dataset)
        parts = split.parts.to_numpy(dtype=object)
        found += _shared_groups(manifest, parts, "the split")
    found += twins.identical(manifest, seen, parts)
    found += twins.near(manifest, seen, parts)
    found += _small(manifest, parts)
    found += _unlisted(manifest)
    found.sort(key=lambda finding: (finding.severity != "error", KINDS.index(finding.kind)))
    return Findings(manifest.dataset, len(manifest), int(frame["group"].nunique()), tuple(found), remembered)


def _workers(asked: int | None, files: int) -> int:
    if asked is not None:
        return max(0, asked)
    try:
        processors = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        processors = os.cpu_count() or 1
    return max(1, min(processors, -(-files // 8)))  # a process takes half a second to begin


# Looking at files


def _see(
    manifest: Manifest, cache: Cache | None, workers: int, progress: Progress | None
) -> tuple[dict[int, Look | None], int]:
    """What was seen in the file of each row (None: there is no such file), and how many were remembered."""
    from graftwork.common.images import READER_VERSION

    seen: dict[int, Look | None] = {}
    rows_of: dict[str, list[int]] = {}  # several rows may name one file, several files may have one content
    files: dict[str, Path] = {}
    done, remembered, total = 0, 0, len(manifest)

    def tell(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(done, total)

    for row in range(total):
        file = manifest.file(row)
        try:
            content = _fingerprint(file, cache)
        except OSError as error:
            missing = isinstance(error, FileNotFoundError | NotADirectoryError)
            seen[row] = None if missing else Look(stage="open", reason=error.strerror or str(error))
            tell(1)
            continue
        # the name is part of the question: a reader may go by its suffix
        key = hash_of(["check", LOOK_VERSION, READER_VERSION, content.sha256, file.suffix.lower()])
        rows_of.setdefault(key, []).append(row)
        if len(rows_of[key]) > 1:
            remembered += key not in files
            tell(1)
            continue
        answer = None if cache is None else cache.recall(key)
        if answer is None:
            files[key] = file
            continue
        seen[row] = Look(**answer)
        remembered += 1
        tell(1)
    keys = list(files)
    for index, found in looks([files[key] for key in keys], workers=workers):
        seen[rows_of[keys[index]][0]] = found
        if cache is not None and found.lasting:
            cache.remember(keys[index], found.to_json())
        tell(1)
    for rows in rows_of.values():
        for row in rows[1:]:
            seen[row] = seen[rows[0]]
    return seen, remembered


def _fingerprint(file: Path, cache: Cache | None) -> Fingerprint:
    if not stat.S_ISREG(file.stat().st_mode):  # a folder, a device, a pipe that would never end
        raise OSError(0, "it is not a file", str(file))
    if cache is not None:
        return cache.fingerprint(file)
    return Fingerprint(0, 0, file_sha256(file))


def _files(manifest: Manifest, seen: dict[int, Look | None]) -> Iterator[Finding]:
    paths = manifest.frame["path"].tolist()
    gone = [row for row in range(len(manifest)) if seen[row] is None]
    yield from _each(
        "missing",
        [(paths[row], "the table names this file, but there is none") for row in gone],
        "restore the file, or leave its row out",
    )
    dark = [(row, look) for row in range(len(manifest)) if (look := seen[row]) is not None and look.stage]
    yield from _each(
        "unreadable",
        [(paths[row], f"cannot be read ({look.stage}): {look.reason}") for row, look in dark],
        "restore the file from its source, or leave it out",
        [look.remedy for _, look in dark],
    )


def _each(
    kind: str, items: Sequence[tuple[str, str]], remedy: str, remedies: Sequence[str] = ()
) -> Iterator[Finding]:
    """A finding for each item, or one for all where they are too many to be read."""
    if len(items) > _EACH:
        examples = tuple(f"{where}: {what}" for where, what in items[:SHOWN])
        yield Finding(kind, "error", f"{len(items)} files", f"{kind} files", remedy, len(items), examples)
        return
    for index, (where, what) in enumerate(items):
        own = remedies[index] if remedies and remedies[index] else remedy
        yield Finding(kind, "error", where, what, own)


def _unlisted(manifest: Manifest) -> Iterator[Finding]:
    from graftwork.common.images import SUFFIXES

    listed = set(manifest.frame["path"])
    extra: list[str] = []
    for folder, below, names in os.walk(manifest.root):
        # what file systems and archives leave behind is nobody's picture
        below[:] = sorted(name for name in below if not name.startswith(".") and name != "__MACOSX")
        place = Path(folder).relative_to(manifest.root).as_posix()
        for name in sorted(names):
            path = name if place == "." else f"{place}/{name}"
            if name.lower().endswith(SUFFIXES) and not name.startswith(".") and path not in listed:
                extra.append(path)
    if extra:
        yield Finding(
            "unlisted-file",
            "warning",
            str(manifest.root),
            f"{some(len(extra), 'picture')} below the root that no row names",
            "see whether they belong to the dataset; they are not used",
            len(extra),
            tuple(extra[:SHOWN]),
        )


# Looking at the table


def _values(manifest: Manifest, seen: dict[int, Look | None]) -> Iterator[Finding]:
    frame, cases = manifest.frame, manifest.frame["case"]
    for column in manifest.target.columns:
        unknown = frame[column].isna()
        if unknown.any():
            yield Finding(
                "impossible-value",
                "warning",
                f"column {column!r}",
                f"{some(int(unknown.sum()), 'case')} without a known target",
                "they are neither trained on nor counted; leave them out if that is not meant",
                int(unknown.sum()),
                tuple(cases[unknown][:SHOWN]),
            )
    for column in manifest.covariates:
        if frame[column].dtype.kind == "f" and (infinite := np.isinf(frame[column])).any():
            yield Finding(
                "impossible-value",
                "error",
                f"column {column!r}",
                f"{some(int(infinite.sum()), 'infinite value')}",
                "correct the table; an unknown value is NaN",
                int(infinite.sum()),
                tuple(cases[infinite][:SHOWN]),
            )
    small = [
        f"{cases.iloc[row]} ({look.width} x {look.height} px)"
        for row in range(len(manifest))
        if (look := seen[row]) is not None and look.readable and min(look.height, look.width) < _LEAST_SIDE
    ]
    if small:
        yield Finding(
            "impossible-value",
            "warning",
            "size",
            f"{some(len(small), 'picture')} with a side shorter than {_LEAST_SIDE} px",
            "see whether these are thumbnails",
            len(small),
            tuple(small[:SHOWN]),
        )


def _shared_groups(manifest: Manifest, parts: NDArray[np.object_], whose: str) -> Iterator[Finding]:
    group = manifest.frame["group"].to_numpy(dtype=object)
    groups_of = {part: set(group[parts == part]) for part in PARTS}
    for first, second in combinations(PARTS, 2):
        shared = sorted(groups_of[first] & groups_of[second])
        if shared:
            yield Finding(
                "group-across-parts",
                "error",
                f"{first} and {second}",
                f"{some(len(shared), 'group')} ({manifest.group}) in both of {whose}",
                "split by group (split.by = 'group'); --allow-leak is for studies of leakage",
                len(shared),
                tuple(shared[:SHOWN]),
            )


def _small(manifest: Manifest, parts: NDArray[np.object_]) -> Iterator[Finding]:
    frame, target = manifest.frame, manifest.target
    group = frame["group"].to_numpy(dtype=object)
    for label in target.classes:
        column = f"target_{label}" if target.kind == "multi-label" else "target"
        member = (frame[column] == (1 if target.kind == "multi-label" else label)).to_numpy(dtype=bool)
        cases, groups = int(member.sum()), len(set(group[member]))
        if groups < _LEAST_GROUPS:
            yield Finding(
                "small-class",
                "error",
                f"class {label!r}",
                f"{some(cases, 'case')} of {some(groups, 'group')} ({manifest.group}): "
                "it cannot stand in each of train, validation and test",
                "leave the class out or join it with another",
                cases,
            )
            continue
        for part in PARTS:
            there = parts == part
            count = int((member & there).sum())
            if there.any() and count < _LEAST_CASES:
                yield Finding(
                    "small-class",
                    "warning",
                    f"class {label!r} in {part}",
                    f"{some(count, 'case')} of {int(there.sum())}: too few to say much",
                    "draw this part anew from a larger one (split.by, split.validation)",
                    count,
                )
