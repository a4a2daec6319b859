"""Which cases stand in which batch, and how a case becomes a tensor.

Nothing here has a history: the order of an epoch, the batches and the change made to a picture are hashes of
(seed, epoch, index). So the batches are the same for any number of workers and processes, and a resumed run
finds its place by arithmetic, without reading what it had read before.
"""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from graftwork.common.errors import ImageError
from graftwork.common.images import read_image
from graftwork.common.seeds import seed_of
from graftwork.common.tasks import encode
from graftwork.common.transforms import Augment, Preprocessing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graftwork.common.manifest import Manifest

__all__ = ["Batch", "Failure", "ImageSource", "batches", "epoch_plan", "monai_dicts", "torch_dataset"]

log = logging.getLogger("graftwork")


def epoch_plan(rows: NDArray[np.int64], batch_size: int, *, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """The batches of one epoch: all rows once, in an order that depends on (seed, epoch) alone.

    Batch sizes differ by one at most, so no small last batch unsettles batch norm.

    Returns:
        ceil(n / batch_size) arrays of row numbers.
    """
    order = np.random.Generator(np.random.Philox(seed_of(seed, "order", epoch))).permutation(len(rows))
    return [part for part in np.array_split(rows[order], max(1, -(-len(rows) // batch_size))) if len(part)]


@dataclass(frozen=True)
class Failure:
    """A case that could not be read: its row, the stage at which reading ended, and the reason."""

    row: int
    stage: str
    reason: str


@dataclass(frozen=True)
class Batch:
    """Inputs [B, ...], their targets [B, ...] and rows [B] in the manifest; `failures` are not among them."""

    inputs: Tensor
    targets: Tensor
    rows: NDArray[np.int64]
    failures: tuple[Failure, ...]

    def __len__(self) -> int:
        return len(self.rows)


class ImageSource(Dataset[tuple[Any, Any]]):
    """The pictures of a manifest as a map-style torch dataset.

    `source[row]` is `(image, target)`: image float32 [3, size, size], normalised; target as `tasks.encode`.
    The loop asks with `(epoch, row)`, which seeds the augmentation.

    Raises (on indexing by a plain row):
        ImageError: the file cannot be read.
    """

    def __init__(
        self,
        manifest: Manifest,
        preprocessing: Preprocessing,
        *,
        augment: Augment | None = None,
        seed: int = 0,
    ) -> None:
        import pyarrow as pa

        self.root = manifest.root
        # one block of memory that forked workers share, never a list of Python strings
        self.paths = pa.array(manifest.frame["path"].tolist(), pa.large_string())
        self.targets = encode(manifest.target, manifest.frame)
        self.preprocessing = preprocessing
        self.augment = augment
        self.seed = seed

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, key: int | tuple[int, int]) -> tuple[Any, Any]:
        if not isinstance(key, tuple):
            return torch.from_numpy(self.image(int(key))), torch.as_tensor(self.targets[int(key)])
        epoch, row = key
        try:
            return self.image(row, epoch), self.targets[row]
        except ImageError as error:
            return Failure(row, error.stage, error.reason), self.targets[row]

    def image(self, row: int, epoch: int = 0) -> NDArray[np.float32]:
        """The network's input for a row: float32 [3, size, size]. Epoch 0 is without augmentation."""
        picture = read_image(self.root / self.paths[row].as_py(), cover=self.preprocessing.cover)
        fitted = self.preprocessing.fitted(picture)
        if self.augment is not None and epoch:
            fitted = self.augment(fitted, seed_of(self.seed, "augment", epoch, row))
        return np.ascontiguousarray(self.preprocessing.normalised(fitted))


def _collate(samples: Sequence[tuple[Any, Any]], rows: NDArray[np.int64]) -> Batch:
    good = [index for index, (value, _) in enumerate(samples) if not isinstance(value, Failure)]
    failures = tuple(value for value, _ in samples if isinstance(value, Failure))
    inputs = np.stack([samples[index][0] for index in good]) if good else np.empty((0,), np.float32)
    targets = np.stack([samples[index][1] for index in good]) if good else np.empty((0,), np.int64)
    return Batch(torch.from_numpy(inputs), torch.from_numpy(targets), rows[good], failures)


class _BatchSource(Dataset[Batch]):
    """A whole batch as one item, so that a worker's error and its order stay with its batch."""

    def __init__(self, source: Any, plan: Sequence[NDArray[np.int64]], epoch: int) -> None:
        self.source, self.plan, self.epoch = source, plan, epoch

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> Batch:
        rows = self.plan[index]
        return _collate([self.source[self.epoch, int(row)] for row in rows], rows)


def _prepare_worker(_: int) -> None:
    import cv2

    cv2.setNumThreads(0)
    # the parent hears these, ends its step and stops its workers, by SIGTERM if need be
    for name in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(name, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _same(batch: Batch) -> Batch:
    return batch


def _quietly(loader: DataLoader[Batch]) -> Iterator[Batch]:
    """The loader's batches, a worker's death being an error of `next` alone.

    torch's own handler of SIGCHLD raises wherever the main thread happens to be, in the middle of a step too.
    """
    before = signal.getsignal(signal.SIGCHLD)
    iterator = iter(loader)
    with contextlib.suppress(ValueError):  # not in the main thread: torch has set none
        signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)
    return iterator


def batches(
    source: Any, plan: Sequence[NDArray[np.int64]], *, epoch: int = 0, workers: int = 0
) -> Generator[Batch]:
    """The batches of `plan` in its order, read ahead by `workers` processes.

    Should a worker die (most often for want of memory), the rest is read in this process and the log says so:
    the batches are the same either way.
    """
    done = 0
    if workers and len(plan) > 1:
        loader = DataLoader(
            _BatchSource(source, plan, epoch),
            batch_size=None,
            num_workers=min(workers, len(plan)),
            worker_init_fn=_prepare_worker,
            collate_fn=_same,  # type: ignore[arg-type]  # batch_size=None hands over one item at a time
            # workers must not draw their seed from the global generator
            generator=torch.Generator().manual_seed(0),
        )
        try:
            for batch in _quietly(loader):
                yield batch
                done += 1
            return
        except (RuntimeError, OSError, EOFError) as error:
            lost = isinstance(error, ConnectionError | EOFError)  # in the middle of a batch
            if not lost and not any(word in str(error).lower() for word in ("worker", "shared memory")):
                raise
            log.warning(
                "a loading process died (%s); going on without loading processes", str(error).split("\n")[0]
            )
    rest = _BatchSource(source, plan[done:], epoch)
    for index in range(len(rest)):
        yield rest[index]


def torch_dataset(
    manifest: Manifest,
    *,
    size: int = 224,
    fit: str = "squash",
    mean: Sequence[float] = (0.5, 0.5, 0.5),
    std: Sequence[float] = (0.5, 0.5, 0.5),
) -> ImageSource:
    """A manifest (or a part of a split) as a torch dataset of `(image [3, size, size] float32, target)`.

    The default mean and std are those of the embedded EfficientNet-Lite weights.
    """
    return ImageSource(manifest, Preprocessing(size, fit, "bilinear", tuple(mean), tuple(std)))  # type: ignore[arg-type]


def monai_dicts(manifest: Manifest) -> list[dict[str, Any]]:
    """A manifest as MONAI's dictionaries: `image` (path), `label` (as `tasks.encode`), `case`, `group`."""
    truth = encode(manifest.target, manifest.frame)
    return [
        {"image": str(manifest.file(row)), "label": truth[row], "case": case, "group": group}
        for row, (case, group) in enumerate(zip(manifest.frame["case"], manifest.frame["group"], strict=True))
    ]
