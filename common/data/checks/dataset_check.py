"""Check a dataset: unreadable files, duplicate images, leakage.

Every file is decoded in full, in a process of its own (`inspection.py`); what was seen is remembered by the
content of the file, so a second check of the same files takes a fraction of the time.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from graftwork.common.cache.file_facts import Cache, Fingerprint
from graftwork.common.data.checks import duplicates, mask_checks, table_checks
from graftwork.common.data.checks.file_inspection import LOOK_VERSION, Look, looks
from graftwork.common.data.checks.findings import KINDS, SHOWN, Finding, Findings, each
from graftwork.common.data.checks.intensity_checks import intensities
from graftwork.common.data.manifest import Manifest
from graftwork.common.data.volumes import SUFFIXES as VOLUMES, VOLUME_READER_VERSION, is_volume
from graftwork.common.errors import TableError
from graftwork.common.files import file_sha256, hash_of
from graftwork.common.wording import quantity

if TYPE_CHECKING:
    from graftwork.common.data.splits import Split


Progress = Callable[[int, int], None]


def check(
    manifest: Manifest,
    *,
    split: Split | None = None,
    extra: Iterable[Finding] = (),
    cache: Cache | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Findings:
    """Look at every file of a dataset and at its table.

    Images are identical when their decoded pixels are (grey stored as RGB counts as grey). They are near when
    the 256-bit perceptual hashes (`imagehash.phash`, 16 x 16 low frequencies of a 64 x 64 cosine transform)
    differ in at most `duplicates.NEAR` bits. Near-duplicates are searched across parts: those of `split` where it is
    given, else the publisher's, else across groups; a pair within one group is no news, and neither is a slice of
    one value (the ends of a volume often are). Of a volume the voxels are compared whatever their place in the world,
    and the look of its middle slice. Of a segmentation each mask is read too: its grid is that of its image, its
    values are those of the classes. Headers are compared over the set: what decides the range of an image (Rescale
    Slope, units, window, bits) and differs between files is found, with the count of each value.

    Args:
        manifest: the dataset.
        split: parts to look at beside those of the publisher.
        extra: what the dataset's own module found, to stand with the rest.
        cache: remembers what was seen, by content; None remembers nothing.
        workers: reading processes (default: one a processor that this process may use); 0 reads in this
            process, where a decoder that crashes ends everything.
        progress: called with files done and files in all.
    """
    frame = manifest.frame
    wanted = [target for target in manifest.targets if target.kind == "segmentation"]
    masked = {target.name: frame.index[frame[target.columns[0]].notna()].tolist() for target in wanted}
    files = [(manifest.file(row), False) for row in range(len(manifest))]
    for target in wanted:
        files += [(manifest.root / frame[target.columns[0]].iloc[row], True) for row in masked[target.name]]
    looked, remembered = _see(files, cache, _workers(workers, len(files)), progress)
    seen = {row: looked[row] for row in range(len(manifest))}
    given = frame["part"].to_numpy(dtype=object)
    found = [*extra, *table_checks.no_group(manifest), *table_checks.doubtful_names(manifest)]
    found += _files(frame["path"].tolist(), seen, slices="slice" in manifest.covariates)
    found += intensities(frame["path"].tolist(), seen)
    found += table_checks.values(manifest, seen)
    found += table_checks.shared_groups(manifest, given, "the publisher's parts")
    parts = given
    if split is not None:
        if len(split.manifest) != len(manifest) or not (split.manifest.frame["case"] == frame["case"]).all():
            raise TableError(
                "the split is of another manifest", where=manifest.dataset, remedy="split this manifest"
            )
        parts = split.parts.to_numpy(dtype=object)
        found += table_checks.shared_groups(manifest, parts, "the split")
    found += duplicates.identical(manifest, seen, parts)
    found += duplicates.near(manifest, seen, parts)
    place = len(manifest)
    for target in manifest.targets:
        if target.kind != "segmentation":
            found += table_checks.small_classes(
                manifest, target, table_checks.members(manifest, target), parts
            )
            continue
        rows = masked[target.name]
        of_masks = {row: looked[place + number] for number, row in enumerate(rows)}
        place += len(rows)
        names = frame[target.columns[0]].tolist()
        found += _files(names, of_masks, slices=True)
        found += mask_checks.masks(manifest, target, seen, of_masks, parts)
    found += _unlisted(manifest)
    order = {kind: number for number, kind in enumerate(KINDS)}  # an external module may have its own kinds
    found.sort(key=lambda finding: (finding.severity != "error", order.get(finding.kind, len(order))))
    return Findings(
        manifest.dataset,
        len(manifest),
        int(frame["group"].nunique()),
        tuple(found),
        remembered,
        manifest.notes,
    )


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
    wanted: Sequence[tuple[Path, bool]], cache: Cache | None, workers: int, progress: Progress | None
) -> tuple[dict[int, Look | None], int]:
    """What was seen in each file (None: there is no such file), and how many were remembered.

    Args:
        wanted: files, each with whether it is looked at as a mask.
    """
    from graftwork.common.data.images import READER_VERSION

    seen: dict[int, Look | None] = {}
    rows_of: dict[str, list[int]] = {}  # several rows may name one file, several files may have one content
    files: dict[str, tuple[Path, bool]] = {}
    done, remembered, total = 0, 0, len(wanted)

    def tell(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(done, total)

    for row, (file, mask) in enumerate(wanted):
        try:
            content = _fingerprint(file, cache)
        except OSError as error:
            missing = isinstance(error, FileNotFoundError | NotADirectoryError)
            seen[row] = None if missing else Look(stage="open", reason=error.strerror or str(error))
            tell(1)
            continue
        # the name is part of the question: a reader may go by its suffix
        reader = (
            [READER_VERSION, file.suffix.lower()]
            if not is_volume(file)
            else [VOLUME_READER_VERSION, "volume"]
        )
        key = hash_of(["check", LOOK_VERSION, *reader, content.sha256, mask])
        rows_of.setdefault(key, []).append(row)
        if len(rows_of[key]) > 1:
            remembered += key not in files
            tell(1)
            continue
        answer = _recalled(key, cache)
        if answer is None:
            files[key] = file, mask
            continue
        seen[row] = answer
        remembered += 1
        tell(1)
    keys = list(files)
    as_masks = {index for index, key in enumerate(keys) if files[key][1]}
    for index, found in looks([files[key][0] for key in keys], workers=workers, masks=as_masks):
        seen[rows_of[keys[index]][0]] = found
        if cache is not None and found.lasting:
            cache.remember(keys[index], found.to_json())
        tell(1)
    for rows in rows_of.values():
        for row in rows[1:]:
            seen[row] = seen[rows[0]]
    return seen, remembered


def _recalled(key: str, cache: Cache | None) -> Look | None:
    """What was seen in a file of this content before; None where nothing is remembered that can be used."""
    answer = None if cache is None else cache.recall(key)
    if answer is None or cache is None:
        return None
    try:
        return Look(**answer)
    except TypeError:
        cache.drop(key)
        return None


def _fingerprint(file: Path, cache: Cache | None) -> Fingerprint:
    if not stat.S_ISREG(file.stat().st_mode):  # a folder, a device, a pipe that would never end
        raise OSError(0, "it is not a file", str(file))
    if cache is not None:
        return cache.fingerprint(file)
    return Fingerprint(0, 0, file_sha256(file))


def _files(paths: Sequence[str], seen: dict[int, Look | None], *, slices: bool) -> Iterator[Finding]:
    """Files that are not there or cannot be read. `slices`: one single value is no fault of these."""
    gone = [row for row in seen if seen[row] is None]
    yield from each(
        "missing",
        [(paths[row], "the table names this file, but there is none") for row in gone],
        "restore the file, or leave its row out",
    )
    dark = [
        (row, look.stage, look.reason, look.remedy)
        for row, look in seen.items()
        if look is not None and look.stage and not (slices and look.constant)
    ]
    yield from each(
        "unreadable",
        [(paths[row], f"cannot be read ({stage}): {reason}") for row, stage, reason, _ in dark],
        "restore the file from its source, or leave it out",
        [remedy for *_, remedy in dark],
    )


def _unlisted(manifest: Manifest) -> Iterator[Finding]:
    from graftwork.common.data.images import SUFFIXES

    frame = manifest.frame
    listed = set(frame["path"])
    masks = [target.columns[0] for target in manifest.targets if target.kind == "segmentation"]
    for column in (*masks, *manifest.covariates):  # a covariate may name a further image of the same case
        if frame[column].dtype.kind not in "biufcmM":
            listed.update(value for value in frame[column] if isinstance(value, str))
    extra: list[str] = []
    for folder, below, names in os.walk(manifest.root):
        # what file systems and archives leave behind is nobody's image
        below[:] = sorted(name for name in below if not name.startswith(".") and name != "__MACOSX")
        place = Path(folder).relative_to(manifest.root).as_posix()
        for name in sorted(names):
            path = name if place == "." else f"{place}/{name}"
            if (
                name.lower().endswith((*SUFFIXES, *VOLUMES))
                and not name.startswith(".")
                and path not in listed
            ):
                extra.append(path)
    if extra:
        yield Finding(
            "unlisted-file",
            "warning",
            str(manifest.root),
            f"{quantity(len(extra), 'image')} below the root without a row",
            "see whether they belong to the dataset; they are not used",
            len(extra),
            tuple(extra[:SHOWN]),
        )
