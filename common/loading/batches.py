"""Batches: which cases are in which batch, and loading them in parallel.

Nothing here has a history: the order of an epoch, the batches and the change made to an image are hashes of
(seed, epoch, index). So the batches are the same for any number of workers and processes, and a resumed run
finds its place by arithmetic, without reading what it had read before.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import signal
import weakref
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from graftwork.common.seeds import seed_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


log = logging.getLogger("graftwork")


def epoch_plan(
    rows: NDArray[np.int64],
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    classes: NDArray[np.int64] | None = None,
) -> list[NDArray[np.int64]]:
    """The batches of one epoch, in an order that depends on (seed, epoch) alone: all rows once, or balanced.

    Batch sizes differ by one at most, so no small last batch unsettles batch norm.

    Args:
        classes: the class of each entry of `rows`, a code from 0, or -1 where it is not known. With it, the epoch holds
            as many draws as `rows` has entries, and each known class equally often (up to one). Of a rare class each
            member comes equally often (up to one), of a frequent one a part of the members comes once; which ones,
            changes with the epoch. Entries of no known class are left out.

    Returns:
        ceil(n / batch_size) arrays of row numbers; none where no class is known.
    """
    drawn = rows if classes is None else rows[_balanced(classes, seed_of(seed, "balance", epoch))]
    order = np.random.Generator(np.random.Philox(seed_of(seed, "order", epoch))).permutation(len(drawn))
    return [part for part in np.array_split(drawn[order], max(1, -(-len(drawn) // batch_size))) if len(part)]


def _balanced(classes: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """As many positions as `classes` has, each class that is known equally often, up to one."""
    random = np.random.Generator(np.random.Philox(seed))
    known = np.unique(classes[classes >= 0])
    if not len(known):
        return np.empty(0, np.int64)
    draws = np.full(len(known), len(classes) // len(known))
    draws[random.permutation(len(known))[: len(classes) % len(known)]] += 1
    parts = []
    for code, count in zip(known, draws, strict=True):
        members = random.permutation(np.flatnonzero(classes == code))
        parts.append(np.resize(members, count))  # all of them over and over, then the first ones once more
    return np.concatenate(parts)


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
        batch = _collate([self.source[self.epoch, int(row)] for row in rows], rows)
        if get_worker_info() is not None:
            # Here, where running out of it is an error that arrives: the thread that hands over would lose the batch,
            # and the parent would wait for it for ever.
            for values in (batch.inputs, batch.targets):
                if values.numel():
                    values.share_memory_()  # type: ignore[no-untyped-call]
        return batch


def _prepare_worker(_: int) -> None:
    import cv2

    cv2.setNumThreads(0)
    # the parent hears these, ends its step and stops its workers, by SIGTERM if need be
    for name in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(name, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _same(batch: Batch) -> Batch:
    return batch


class _Quiet:
    """The loader's batches, a worker's death being an error of `next` alone.

    torch's own handler of SIGCHLD raises wherever the main thread happens to be, in the middle of a step too.
    """

    def __init__(self, loader: DataLoader[Batch]) -> None:
        before = signal.getsignal(signal.SIGCHLD)
        self.iterator = iter(loader)
        with contextlib.suppress(ValueError):  # not in the main thread: torch has set none
            signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)

    def __iter__(self) -> Iterator[Batch]:
        return self.iterator

    def codes(self) -> list[int]:
        """How the workers that are no more ended: exit codes, a signal as a negative number."""
        workers = getattr(self.iterator, "_workers", ())
        for worker in workers:
            worker.join(0.05)  # one that broke off in the middle of a batch may be ending just now
        return [worker.exitcode for worker in workers if worker.exitcode]

    def close(self) -> None:
        """End the workers, and free what they hold, before others are started."""
        getattr(self.iterator, "_shutdown_workers", lambda: None)()


def _cause(error: BaseException, codes: Sequence[int]) -> str:
    """Why loading processes failed, as far as it can be known, and the way out."""
    said = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    everything = " ".join(said).lower()
    full = "shared memory" in everything or "no space left on device" in everything
    if full or -signal.SIGBUS in codes:
        try:
            room = f"{shutil.disk_usage('/dev/shm').total / 2**20:.0f} MiB"
        except OSError:
            room = "missing"
        sure = "" if full else "killed by SIGBUS, most often because "
        return (
            f"{sure}shared memory (/dev/shm, {room}), through which batches are handed over, is full; "
            "use fewer training.workers, or give the container more, as with --shm-size=2g"
        )
    if "too many open files" in everything:
        return "too many open files; use fewer training.workers, or raise the limit with ulimit -n"
    if -signal.SIGKILL in codes:
        return (
            "killed by signal 9, most often because memory ran out; "
            "use fewer training.workers, or a smaller training.batch_size"
        )
    if isinstance(error, MemoryError) or "cannot allocate memory" in everything:
        return f"memory ran out ({said[-1]}); use fewer training.workers, or a smaller training.batch_size"
    if codes:
        ends = {f"killed by signal {-code}" if code < 0 else f"it ended with code {code}" for code in codes}
        return ", ".join(sorted(ends))
    if said[0].startswith("Caught "):  # the error of the worker itself, its traceback and then its text
        return f"its own error: {said[-1]}"
    return said[0]


# The number of workers that a source can use after some died: not tried again in every epoch.
_bearable: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()


def batches(
    source: Any, plan: Sequence[NDArray[np.int64]], *, epoch: int = 0, workers: int = 0
) -> Generator[Batch]:
    """The batches of `plan` in its order, read ahead by `workers` processes.

    Should a worker die (most often for want of memory), the rest is read by half as many, then by one, then in this
    process, and the log says why: the batches are the same in every case. An error that the source itself makes is
    raised by this process in the end. A source that says `in_memory` is read in this process: starting others, and
    passing rows between them, takes longer than reading.
    """
    done = 0
    if getattr(source, "in_memory", False):
        workers = 0
    with contextlib.suppress(TypeError):  # a source without weak references is tried again
        workers = min(workers, _bearable.get(source, workers))
    while workers and len(plan) - done > 1:
        reader: _Quiet | None = None
        loader = DataLoader(
            _BatchSource(source, plan[done:], epoch),
            batch_size=None,
            num_workers=min(workers, len(plan) - done),
            worker_init_fn=_prepare_worker,
            collate_fn=_same,  # type: ignore[arg-type]  # batch_size=None hands over one item at a time
            # workers must not draw their seed from the global generator
            generator=torch.Generator().manual_seed(0),
        )
        try:
            reader = _Quiet(loader)
            for batch in reader:
                yield batch
                done += 1
            return
        except (RuntimeError, OSError, EOFError, MemoryError) as error:
            cause = _cause(error, reader.codes() if reader is not None else ())
        finally:
            if reader is not None:
                reader.close()
        workers = min(workers, len(plan) - done) // 2
        with contextlib.suppress(TypeError):
            _bearable[source] = workers
        left = f"{workers} worker{'s' * (workers > 1)}" if workers else "the main process"
        log.warning("a worker process died (%s); continuing with %s", cause, left)
    rest = _BatchSource(source, plan[done:], epoch)
    for index in range(len(rest)):
        yield rest[index]
