"""What a recipe asks for, on data: their manifest and their split, before anything is begun."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graftwork.common.manifest import Manifest
    from graftwork.common.recipe import Recipe
    from graftwork.common.splits import Split

__all__ = ["prepared"]


def prepared(asked: Recipe, data: str | os.PathLike[str]) -> tuple[Manifest, Split]:
    """The data that a recipe asks for, and their split.

    Raises:
        UsageError: the recipe sets what its data have no use for; no such dataset or protocol.
        DatasetError, LeakError: as the loader and the split raise them.
    """
    from graftwork.common.domain import dataset, protocol
    from graftwork.common.recipe.uses import refuse_idle_keys
    from graftwork.common.splits import split
    from graftwork.common.volumes import is_volume

    found = dataset(asked.dataset)
    protocol(asked.evaluation.protocol or found.protocol)  # one that there is not is refused before any work
    manifest = found.read(data)
    refuse_idle_keys(
        asked,
        segmentation=manifest.target.kind == "segmentation",
        volumes=any(is_volume(path) for path in manifest.frame["path"]),
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
