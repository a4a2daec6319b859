"""What equal pixels of two images mean: units, ranges and windows that differ within a set, ranges that stay unused."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from graftwork.common.data.checks.file_inspection import Look
from graftwork.common.data.checks.findings import SHOWN, Finding
from graftwork.common.wording import quantity

LEAST_USED = 0.05  # of the range that an image may take
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")  # of a value in a remark
_NAMED = 8  # values of one element that are named one by one
_READ_AS = "docs/how-to/read-dicom.md says how images are scaled"


def intensities(paths: Sequence[str], seen: Mapping[int, Look | None]) -> Iterator[Finding]:
    """Headers that differ between the images of a set, images in a small part of their range, headers passed over.

    Each image is scaled by what its own file says it can hold. Where files of one set say different things (Rescale
    Slope, units, window, bits), equal numbers mean different intensities.
    """
    looks = {row: look for row, look in sorted(seen.items()) if look is not None}
    yield from header_remarks(paths, looks)
    yield from _differing(paths, looks)
    narrow = [(paths[row], look.used) for row, look in looks.items() if 0 < look.used < LEAST_USED]
    if narrow:
        yield Finding(
            "intensity",
            "warning",
            quantity(len(narrow), "image"),
            f"{quantity(len(narrow), 'image')} of {len(looks)} with values in less than {LEAST_USED:.0%} "
            "of the range that "
            "the file states: a network sees them nearly black or of one grey",
            "see what the values mean: 10 or 12 bits stored as 16 are rescaled to their range, or given a window",
            len(narrow),
            tuple(f"{path} ({used:.1%})" for path, used in narrow[:SHOWN]),
        )


def header_remarks(paths: Sequence[str], looks: Mapping[int, Look], kind: str = "") -> Iterator[Finding]:
    """What is unusual in headers of images or masks and was passed over, one finding for each remark.

    Args:
        kind: of the findings; empty: "geometry" of volumes, "header" of images.
    """
    of: dict[tuple[str, str], list[str]] = defaultdict(list)
    told: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for row, look in looks.items():
        for remark in look.remarks:
            key = kind or ("geometry" if look.depth else "header"), _NUMBER.sub("#", remark)
            of[key].append(paths[row])
            told[key][remark] = None
    for (found, form), files in of.items():
        remark, *others = told[found, form]
        if others:
            remark += f"; the same of {quantity(len(files) - 1, 'other file')}, with other numbers in some"
        yield Finding(
            found,
            "warning",
            quantity(len(files), "file"),
            remark,
            "nothing, if this is right; other programs may read the file otherwise",
            len(files),
            tuple(files[:SHOWN]),
        )


def _differing(paths: Sequence[str], looks: Mapping[int, Look]) -> Iterator[Finding]:
    """What of their headers differs between images, with the number of images of each value."""
    values: dict[str, dict[int, str]] = defaultdict(dict)
    for row, look in looks.items():
        for name, value in look.stated.items():
            values[name][row] = value
    for name, of_row in values.items():
        counts = Counter(of_row.values()).most_common()
        if len(counts) < 2:
            continue
        said = [f"{value} ({quantity(count, 'image')})" for value, count in counts[:_NAMED]]
        more = counts[_NAMED:]
        if more:
            said.append(f"{len(more)} more values ({quantity(sum(count for _, count in more), 'image')})")
        first = {value: row for row, value in reversed(of_row.items())}
        yield Finding(
            "intensity",
            "warning",
            name,
            f"{name} differs between the images: {', '.join(said)}",
            f"store them in one unit and range, or with one window; else equal values look different ({_READ_AS})",
            len(of_row),
            tuple(f"{paths[first[value]]}: {value}" for value, _ in counts[:SHOWN]),
        )
