"""Which cases stand in which batch, and how they are read ahead.

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

from graftwork.common.seeds import seed_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Batch", "Failure", "batches", "epoch_plan"]

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
