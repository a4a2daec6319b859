"""Duplicate images: identical pixels, or images so similar that they may show the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from graftwork.common.data.checks.file_inspection import HASH_BITS, Look
from graftwork.common.data.checks.findings import SHOWN, Finding
from graftwork.common.data.manifest import Manifest
from graftwork.common.wording import quantity

if TYPE_CHECKING:
    from numpy.typing import NDArray


# Bits of 256 in which the hashes of near-duplicates differ at most. Measured on 5,856 radiographs of children: one
# image saved again (JPEG at quality 30, half the size, brightness, contrast or gamma changed by a third) differs in
# at most 26 bits from itself, those of different children that are most alike in 36. A border of 2 % cut off costs 20
# to 44, one of 5 % 66 and more: such copies are found in part, or not.
NEAR = 30


def near_pairs(
    words: NDArray[np.uint64], labels: NDArray[Any], most: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of hashes under different labels that differ in at most `most` bits.

    All pairs are compared, in tiles that stay in the processor's cache: 100,000 hashes in two parts take some
    ten seconds.

    Args:
        words: [n, w], the bits of each hash in w words.
        labels: [n]; a pair under one label is not looked for.
        most: the Hamming distance, inclusive.

    Returns:
        The first and the second member of each pair (first < second), and their distance.
    """
    tile = 512
    found: list[NDArray[np.int64]] = []
    codes = np.unique(labels, return_inverse=True)[1].reshape(-1)
    order = np.argsort(codes, kind="stable")  # so that most tiles of one label are passed over
    codes, words = codes[order], np.ascontiguousarray(words[order])
    columns = np.ascontiguousarray(words.T)
    for top in range(0, len(words), tile):
        for left in range(top, len(words), tile):
            if codes[top] == codes[min(left + tile, len(words)) - 1]:
                continue
            # two of four words exclude nearly all dissimilar pairs
            differ = np.bitwise_count(columns[0, top : top + tile, None] ^ columns[0, left : left + tile])
            for column in columns[1:2]:
                differ += np.bitwise_count(column[top : top + tile, None] ^ column[left : left + tile])
            one, other = np.nonzero(differ <= most)
            one, other = one + top, other + left
            keep = (one < other) & (codes[one] != codes[other])
            one, other = one[keep], other[keep]
            bits = np.bitwise_count(words[one] ^ words[other]).sum(axis=1, dtype=np.int64)
            near = bits <= most
            ends = np.sort([order[one[near]], order[other[near]]], axis=0)
            found.append(np.stack([*ends, bits[near]]))
    if not found:
        return (np.zeros(0, np.int64),) * 3
    first, second, distance = np.concatenate(found, axis=1)
    sequence = np.lexsort((second, first))
    return first[sequence], second[sequence], distance[sequence]


def identical(
    manifest: Manifest, seen: Mapping[int, Look | None], parts: NDArray[np.object_]
) -> Iterator[Finding]:
    """Sets of images with identical pixels, and those of them whose targets differ."""
    frame = manifest.frame
    paths, groups = frame["path"].tolist(), _groups(manifest)
    # of a segmentation the mask is another file for each image, and says nothing by its name
    told = () if manifest.target.kind == "segmentation" else manifest.target.columns
    columns = [frame[name].astype(object).where(frame[name].notna(), None) for name in told]
    truth = list(zip(*columns, strict=True)) if columns else [()] * len(manifest)
    same: dict[str, list[int]] = {}
    for row in range(len(manifest)):
        look = seen[row]
        if look is not None and look.readable:
            same.setdefault(look.pixels, []).append(row)
    sets = [rows for rows in same.values() if len(rows) > 1]
    if not sets:
        return
    sets.sort(key=lambda rows: paths[rows[0]])
    over_groups = sum(len({groups[row] for row in rows}) > 1 for rows in sets)
    over_parts = sum(len({parts[row] for row in rows if isinstance(parts[row], str)}) > 1 for rows in sets)
    files = sum(map(len, sets))
    yield Finding(
        "duplicate",
        "error" if over_groups or over_parts else "warning",
        f"{files} files",
        f"{quantity(len(sets), 'set')} of images with identical pixels, {files - len(sets)} of the files are too many; "
        f"{over_groups} of the sets under several groups ({manifest.group}), {over_parts} in several parts",
        "keep one of each set, or give them one group",
        len(sets),
        tuple(" = ".join(paths[row] for row in rows[:4]) for rows in sets[:SHOWN]),
    )
    torn = [rows for rows in sets if len({truth[row] for row in rows}) > 1]
    if torn:
        yield Finding(
            "contradiction",
            "error",
            manifest.target.name,
            f"{quantity(len(torn), 'set')} of images with identical pixels and different targets",
            "find out which target is right, and leave the others out",
            len(torn),
            tuple(" = ".join(paths[row] for row in rows[:4]) for rows in torn[:SHOWN]),
        )


def near(
    manifest: Manifest, seen: Mapping[int, Look | None], parts: NDArray[np.object_]
) -> Iterator[Finding]:
    """Pairs across parts (across groups where there are no parts) that look alike, those of one group left out."""
    rows = [row for row in range(len(manifest)) if (look := seen[row]) is not None and look.readable]
    parted = [row for row in rows if isinstance(parts[row], str)]
    by_parts = len({parts[row] for row in parted}) > 1
    rows = parted if by_parts else rows
    if len(rows) < 2:
        return
    hashes = b"".join(bytes.fromhex(look.appearance) for row in rows if (look := seen[row]))
    words = np.frombuffer(hashes, dtype=np.uint64).reshape(len(rows), -1)
    groups = _groups(manifest)
    grouped = any(group is not None for group in groups)
    labels = np.array([str(parts[row] if by_parts else groups[row] if grouped else row) for row in rows])
    first, second, distance = near_pairs(words, labels, NEAR)
    pairs = [
        (int(bits), rows[one], rows[other])
        for bits, one, other in zip(distance, first, second, strict=True)
        if (not grouped or groups[rows[one]] != groups[rows[other]])
        and _pixels(seen, rows[one]) != _pixels(seen, rows[other])
    ]
    if pairs:
        pairs.sort()
        paths = manifest.frame["path"]
        yield Finding(
            "near-duplicate",
            "warning",
            "across parts" if by_parts else "across groups" if grouped else "across cases",
            f"{quantity(len(pairs), 'pair')} of images that look alike (perceptual hashes differ in at most {NEAR} "
            f"of {HASH_BITS} bits) under {'different' if grouped else 'unknown'} groups ({manifest.group})",
            "look at them; if they show the same, give them one group or keep one",
            len(pairs),
            tuple(
                f"{paths.iloc[one]} ~ {paths.iloc[other]} ({bits} bits)" for bits, one, other in pairs[:SHOWN]
            ),
        )


def _pixels(seen: Mapping[int, Look | None], row: int) -> str:
    look = seen[row]
    return "" if look is None else look.pixels


def _groups(manifest: Manifest) -> list[str | None]:
    """The group of each row; None where it is not known."""
    return [group if isinstance(group, str) else None for group in manifest.frame["group"]]
