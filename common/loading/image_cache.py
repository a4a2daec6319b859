"""The image cache: decoded images at input size, stored by content for all runs."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import Dataset

from graftwork.common.cache.array_cache import VARIABLE, Kept, Rows, budget
from graftwork.common.data.images import READER_VERSION
from graftwork.common.errors import ImageError
from graftwork.common.files import file_sha256
from graftwork.common.loading.batches import Failure, batches
from graftwork.common.loading.samples import ImageSource

if TYPE_CHECKING:
    from numpy.typing import NDArray


log = logging.getLogger("graftwork")


class Decoded:
    """Images that were read once and are kept at the input's size, by row of the manifest."""

    def __init__(self, kept: Sequence[tuple[NDArray[np.int64], Rows]]) -> None:
        self._kept = kept

    def __call__(self, row: int) -> NDArray[Any] | None:
        """The image [size, size, C] uint8; None where it is not kept."""
        for rows, found in self._kept:
            position = int(np.searchsorted(rows, row))
            if position < len(rows) and rows[position] == row:
                kept = found.get(position)
                if kept is not None:
                    return kept
        return None


class _Resized(Dataset[tuple[Any, Any]]):
    """What `decode_once` reads: images at the input's size; of no channels those that are not to be kept."""

    def __init__(self, source: ImageSource, contents: Sequence[str]) -> None:
        self.source = source
        self.contents = np.array(contents)  # one block that forks share, no list of strings

    def __getitem__(self, key: tuple[int, int]) -> tuple[Any, Any]:
        row = key[1]
        try:
            resized = self.source.resized(row)
        except ImageError as error:
            return Failure(row, error.stage, error.reason), 0
        flat = np.zeros((*resized.shape[:2], 4), np.uint8)
        if resized.dtype != np.uint8:
            return flat, 0
        path = self.source.root / self.source.paths[row].as_py()
        if file_sha256(path) != self.contents[row]:
            return flat, 0  # changed since it was hashed: not to be kept under its old hash
        flat[..., : resized.shape[2]] = resized
        return flat, resized.shape[2]


def decode_once(
    source: ImageSource,
    rows: NDArray[np.int64],
    contents: Sequence[str],
    *,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Failure]:
    """Read images once; from then on `source` takes them, resized, from where they are kept.

    8-bit images are cached by content; others are read again each time, and so are all if they do not
    fit into the budget (`kept.budget`), which the log says. What comes out of `source` is the same either way.

    Args:
        rows: the rows of the manifest that will be used.
        contents: SHA-256 of each image's file, in the order of the source.
        progress: called with (images done, images in all).

    Returns:
        the images that could not be read.
    """
    asked = np.unique(rows)
    size, about = source.preprocessing.size, source.preprocessing
    stores = {
        channels: Kept(
            "pictures",
            {"size": size, "fit": about.fit, "interpolation": about.interpolation, "reader": READER_VERSION,
             "channels": channels},
        )
        for channels in (1, 3)
    }  # fmt: skip
    digests = [contents[row] for row in asked.tolist()]

    def found() -> dict[int, Rows]:
        return {channels: store.find(digests) for channels, store in stores.items()}

    at_hand = found()
    missing = np.intersect1d(at_hand[1].missing, at_hand[3].missing)
    needed, limit = len(missing) * size * size * 3, budget()
    fits = len(asked) * size * size * 3 <= limit
    if not fits:
        log.warning(
            "images are read again in every epoch: %d of %d px need %.1f GiB, more than the limit %s of %.1f GiB",
            len(asked), size, needed / 2**30, VARIABLE, limit / 2**30,
        )  # fmt: skip
    failures: list[Failure] = []
    step, done = 32, len(asked) - len(missing)
    plan = [asked[missing[at : at + step]] for at in range(0, len(missing), step)]
    waiting: dict[int, list[tuple[str, NDArray[Any]]]] = {1: [], 3: []}

    def put(most: int) -> None:
        for channels, store in stores.items():
            if len(waiting[channels]) > most:
                names, arrays = zip(*waiting[channels], strict=True)
                store.put(names, np.stack(arrays))
                waiting[channels].clear()

    with contextlib.closing(batches(_Resized(source, contents), plan, workers=workers)) as reader:
        for batch in reader:
            failures += batch.failures
            for picture, channels, row in zip(
                batch.inputs.numpy(), batch.targets.tolist(), batch.rows.tolist(), strict=True
            ):
                if fits and channels in stores:
                    waiting[channels].append((contents[row], picture[..., :channels].copy()))
            put(max(1, 2**25 // (size * size * 3)))
            done += len(batch) + len(batch.failures)
            if progress is not None:
                progress(done, len(asked))
    put(0)
    if fits:
        source.decoded = Decoded([(asked, each) for each in found().values()])
    return failures
