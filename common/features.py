"""Frozen work is done once: the output of a backbone that does not change, kept by content.

The unit is a chunk of consecutive cases. Its key is a hash of all that its output depends on: the weights, the
preprocessing, the reader, the library and the content of every picture. So the same pictures are never sent
through the same network twice, whatever the seed or the split, and no stale output can survive a change.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from graftwork.common.batches import Failure, batches
from graftwork.common.errors import GraftworkError
from graftwork.common.files import cache_folder, hash_of, writing
from graftwork.common.images import READER_VERSION
from graftwork.common.sources import ImageSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from graftwork.common.backbones import Backbone

__all__ = ["FeatureSource", "compute_features"]

log = logging.getLogger("graftwork")
CHUNK = 128  # cases that are computed and kept together
STEP = 32  # cases that go through the network at once


class FeatureSource:
    """Kept features in the place of pictures: `source[epoch, row]` is `(features [width], target)` or a `Failure`."""

    def __init__(
        self, features: NDArray[np.float32], targets: NDArray[Any], failures: Sequence[Failure]
    ) -> None:
        self.features, self.targets = features, targets
        self.failures = {failure.row: failure for failure in failures}

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Any, Any]:
        row = key[1]
        return self.failures.get(row, self.features[row]), self.targets[row]


def compute_features(
    backbone: Backbone,
    source: ImageSource,
    contents: Sequence[str],
    *,
    weights: str,
    device: torch.device,
    precision: str = "float32",
    workers: int = 0,
    folder: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FeatureSource:
    """The pooled output of `backbone` for every case of `source`, from the cache where it is there.

    Args:
        backbone: in eval mode; it is not changed.
        contents: SHA-256 of each picture's file, in the order of the source.
        weights: what identifies the backbone's tensors (name and SHA-256).
        folder: where chunks are kept; default `features/` in the cache folder; one that cannot be written
            is done without.
        progress: called with (cases done, cases in all).
    """
    folder = cache_folder() / "features" if folder is None else folder
    total = len(source)
    features = np.full((total, backbone.width), np.nan, np.float32)
    failures: list[Failure] = []
    common = {
        "weights": weights,
        "preprocessing": source.preprocessing.to_json(),
        "reader": READER_VERSION,
        "torch": torch.__version__,
        "device": device.type,
        "precision": precision,
        "threads": torch.get_num_threads() if device.type == "cpu" else 0,
    }
    chunks: dict[int, tuple[NDArray[np.int64], Path]] = {}  # those not kept yet, by their number
    for number, start in enumerate(range(0, total, CHUNK)):
        rows = np.arange(start, min(start + CHUNK, total))
        key = hash_of({**common, "contents": [contents[row] for row in rows.tolist()]})
        place = folder / key[:2] / f"{key}.npy"
        kept = _kept(place, (len(rows), backbone.width))
        if kept is None:
            chunks[number] = (rows, place)
        else:
            features[rows] = kept
    missing = sum(len(rows) for rows, _ in chunks.values())
    log.info("features: %d of %d cases at hand, %d to compute", total - missing, total, missing)
    plan = [rows[at : at + STEP] for rows, _ in chunks.values() for at in range(0, len(rows), STEP)]
    done = total - missing
    with (
        torch.inference_mode(),
        torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"),
        contextlib.closing(batches(source, plan, workers=workers)) as reader,
    ):
        for step, batch in zip(plan, reader, strict=True):
            failures += batch.failures
            if len(batch):
                inputs = batch.inputs.to(device, memory_format=torch.channels_last)
                features[batch.rows] = backbone(inputs).float().cpu().numpy()
            rows, place = chunks[int(step[0]) // CHUNK]
            if step[-1] == rows[-1] and not {failure.row for failure in failures}.intersection(rows.tolist()):
                with contextlib.suppress(GraftworkError), writing(place) as temporary:
                    np.save(temporary, features[rows], allow_pickle=False)
            done += len(step)
            if progress is not None:
                progress(done, total)
    return FeatureSource(features, source.targets, failures)


def _kept(place: Path, shape: tuple[int, int]) -> NDArray[np.float32] | None:
    try:
        kept: NDArray[np.float32] = np.load(place, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return kept if kept.shape == shape and kept.dtype == np.float32 else None
