"""Masks beside their images: on the same grid, of the values of the classes, and not all empty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from graftwork.common.data.checks.file_inspection import Look
from graftwork.common.data.checks.findings import SHOWN, Finding, each
from graftwork.common.data.checks.intensity_checks import header_remarks
from graftwork.common.data.checks.table_checks import small_classes
from graftwork.common.data.manifest import Manifest
from graftwork.common.data.masks import fit_faults, other_scale, unknown_values
from graftwork.common.data.targets import Target
from graftwork.common.data.volumes import is_volume, regrid_remedy
from graftwork.common.errors import ImageError
from graftwork.common.wording import quantity

if TYPE_CHECKING:
    from numpy.typing import NDArray


def masks(
    manifest: Manifest,
    target: Target,
    pictures: Mapping[int, Look | None],
    seen: Mapping[int, Look | None],
    parts: NDArray[np.object_],
) -> Iterator[Finding]:
    """What is wrong with the masks of a target.

    Args:
        images: what was seen in the image of each row.
        seen: what was seen in the mask of each row that names one.
        parts: train, validation, test or NaN of each row.
    """
    paths = manifest.frame[target.columns[0]].tolist()
    readable = {row: look for row, look in seen.items() if look is not None and look.readable}
    yield from _off_the_grid(manifest, paths, pictures, readable)
    yield from header_remarks(paths, dict(sorted(readable.items())), "geometry")
    scales = {row: other_scale(list(map(int, look.values)), target.values) for row, look in readable.items()}
    yield from _other_scales(target, paths, scales)
    readable |= {row: _rescaled(readable[row], scale, target) for row, scale in scales.items() if scale}
    yield from _strange_values(target, paths, readable)
    if not readable:
        return
    of_class = {
        label: np.array(
            [str(value) in readable[row].values if row in readable else False for row in range(len(paths))]
        )
        for label, value in zip(target.classes[1:], target.values[1:], strict=True)
    }
    if not any(member.any() for member in of_class.values()):
        yield Finding(
            "no-foreground",
            "error",
            target.name,
            f"{quantity(len(readable), 'mask')}, and in none of them a pixel of {', '.join(target.classes[1:])}",
            "look at the masks and at the values of the classes: "
            f"{', '.join(f'{label} is {value}' for label, value in zip(target.classes, target.values, strict=True))}",
            len(readable),
        )
        return
    yield from small_classes(manifest, target, of_class, parts)


def _other_scales(target: Target, paths: list[str], scales: Mapping[int, int]) -> Iterator[Finding]:
    """Masks of two values that are not those of the two classes, which are read all the same."""
    for scale in sorted({scale for scale in scales.values() if scale}):
        files = [paths[row] for row, each in sorted(scales.items()) if each == scale]
        yield Finding(
            "mask-values",
            "warning",
            quantity(len(files), "mask"),
            f"the values are 0 and {scale}, those of the classes {', '.join(map(str, target.values))}: {scale} is read "
            "as the foreground",
            "nothing, if this is right; else correct the masks",
            len(files),
            tuple(files[:SHOWN]),
        )


def _rescaled(look: Look, scale: int, target: Target) -> Look:
    full = str(max(target.values))
    return replace(look, values={full if each == str(scale) else each: n for each, n in look.values.items()})


def _off_the_grid(
    manifest: Manifest, paths: list[str], pictures: Mapping[int, Look | None], readable: Mapping[int, Look]
) -> Iterator[Finding]:
    items, remedies = [], []
    for row in sorted(readable):
        picture = pictures[row]
        if picture is None or not (picture.readable or picture.constant):
            continue
        image, mask = manifest.file(row), manifest.root / paths[row]
        try:
            faults = fit_faults(image, mask)
        except ImageError:  # changed since it was looked at
            continue
        if faults:
            said = f"the mask {paths[row]} is not on its grid ({'; '.join(faults)})"
            items.append((str(manifest.frame["path"].iloc[row]), said))
            both = is_volume(image) and is_volume(mask)
            remedies.append(regrid_remedy(image, mask) if both else "")
    yield from each(
        "geometry", items, "find the mask that belongs to this image, or leave both out", remedies
    )


def _strange_values(target: Target, paths: list[str], readable: Mapping[int, Look]) -> Iterator[Finding]:
    known = {str(value) for value in target.values}
    odd: Counter[int] = Counter()
    where = []
    for row, look in sorted(readable.items()):
        own = {int(value): count for value, count in look.values.items() if value not in known}
        if own:
            odd.update(own)
            named = ", ".join(f"{value} ({count:,})" for value, count in sorted(own.items())[:SHOWN])
            where.append(f"{paths[row]}: {named}")
    if where:
        what, remedy = unknown_values(dict(odd), target.values)
        yield Finding(
            "mask-values",
            "error",
            quantity(len(where), "mask"),
            what,
            remedy,
            len(where),
            tuple(where[:SHOWN]),
        )
