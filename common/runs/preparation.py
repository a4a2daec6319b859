"""From a recipe and data to a manifest and a split, before a run starts."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graftwork.common.data.manifest import Manifest
    from graftwork.common.data.splits import Split
    from graftwork.common.recipe import Recipe


log = logging.getLogger("graftwork")
_LOOKED_AT = 50  # masks, spread over the set


def prepared(asked: Recipe, data: str | os.PathLike[str]) -> tuple[Manifest, Split]:
    """The data that a recipe asks for, and their split.

    Raises:
        UsageError: the recipe sets a key that its data do not use; unknown dataset or protocol.
        DatasetError, LeakError: as the loader and the split raise them.
    """
    from graftwork.common.data.domain import dataset, protocol
    from graftwork.common.data.splits import split
    from graftwork.common.recipe.unused_keys import refuse_idle_keys

    found = dataset(asked.dataset)
    protocol(asked.evaluation.protocol or found.protocol)  # one that there is not is refused before any work
    manifest = _with_scales(found.read(data))
    refuse_idle_keys(
        asked,
        segmentation=manifest.target.kind == "segmentation",
        volumes=manifest.holds_volumes,
        targets=len(manifest.targets),
    )
    parts = split(
        manifest,
        validation=asked.split.validation,
        test=asked.split.test,
        seed=asked.split_seed,
        by=asked.split.by,
        allow=asked.split.allowed,
        seen=asked.split.seen,
    )
    return manifest, parts


def _with_scales(manifest: Manifest) -> Manifest:
    """The manifest with a note where masks of two classes hold 0 and 255 in place of 0 and 1, or the other way."""
    import numpy as np

    from graftwork.common.data.masks import other_scale, read_values
    from graftwork.common.errors import ImageError

    target = manifest.target
    if target.kind != "segmentation" or len(target.values) != 2:
        return manifest
    files = [manifest.root / name for name in manifest.frame[target.columns[0]].dropna()]
    step = max(1, len(files) // _LOOKED_AT)
    scales: list[int] = []
    for file in files[::step]:
        try:
            found = np.unique(read_values(file)).tolist()
        except (ImageError, OSError):
            continue  # a file that is missing or damaged is counted by whoever reads it
        scales.append(other_scale(found, target.values))
    others = sorted({scale for scale in scales if scale})
    if not others:
        return manifest
    count = sum(bool(scale) for scale in scales)
    said = (
        f"{count} of {len(scales)} masks that were looked at hold 0 and {' or '.join(map(str, others))}, those of the "
        f"classes are {', '.join(map(str, target.values))}: what is not 0 is read as {target.classes[-1]}"
    )
    log.warning("%s", said)
    return replace(manifest, notes=(*manifest.notes, said))
