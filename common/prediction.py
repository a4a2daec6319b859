"""A network over rows of a manifest: logits in the order asked for, the same for any number of processes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from graftwork.common.batches import Failure, batches
from graftwork.common.errors import RunError
from graftwork.common.tasks import probabilities

if TYPE_CHECKING:
    import pandas as pd
    from accelerate import Accelerator
    from numpy.typing import NDArray
    from torch import nn

    from graftwork.common.manifest import Manifest

__all__ = ["predict_rows", "prediction_table", "shared", "to_device"]

T = TypeVar("T")

STEP = 64  # cases that go through the network at once


def predict_rows(
    network: nn.Module,
    source: Any,
    rows: NDArray[np.int64],
    *,
    accelerator: Accelerator,
    outputs: int,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[NDArray[np.float32], list[Failure]]:
    """Logits of the given rows, computed in eval mode without gradients.

    Processes share the rows, and each row is counted once, however many processes there are.

    Args:
        network: is put into eval mode and left in it.
        source: `ImageSource` or `FeatureSource`.
        outputs: number of logits a case.

    Returns:
        logits [n, outputs] in the order of `rows`, NaN where a picture could not be read; these failures.

    Raises:
        RunError: the network's output is not finite, which must not pass for an unread picture.
    """
    network.eval()
    if accelerator.num_processes > 1:  # else each judges with the running statistics of its own last step
        for buffer in network.buffers():
            torch.distributed.broadcast(buffer, 0)
    logits = np.full((len(rows), outputs), np.nan, np.float32)
    mine = np.arange(accelerator.process_index, len(rows), accelerator.num_processes)
    place = {int(rows[index]): index for index in mine}
    failures: list[Failure] = []
    done = 0
    plan = [rows[mine[at : at + STEP]] for at in range(0, len(mine), STEP)]
    with (
        torch.inference_mode(),
        accelerator.autocast(),
        contextlib.closing(batches(source, plan, workers=workers)) as reader,
    ):
        for batch in reader:
            failures += batch.failures
            if len(batch):
                outcome = network(to_device(batch.inputs, accelerator.device)).float().cpu().numpy()
                _check_finite(outcome)
                logits[[place[row] for row in batch.rows.tolist()]] = outcome
            done += len(batch) + len(batch.failures)
            if progress is not None:
                progress(min(done * accelerator.num_processes, len(rows)), len(rows))
    return _gathered(logits, mine, accelerator), shared(failures, accelerator)


def shared(values: list[T], accelerator: Accelerator) -> list[T]:
    """The values of all processes, known to each of them."""
    if accelerator.num_processes == 1:
        return values
    from accelerate.utils import gather_object

    return list(gather_object(values))


def _check_finite(outcome: NDArray[np.float32]) -> None:
    if not np.isfinite(outcome).all():
        raise RunError(
            "the network's output is not a finite number: its training went astray in this epoch or before",
            where="prediction",
            remedy="lower training.rate, set training.clip, or use training.precision=float32",
        )


def to_device(inputs: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Pictures in the memory layout that convolutions are quickest in; features as they are."""
    layout = torch.channels_last if inputs.ndim == 4 else torch.contiguous_format
    return inputs.to(device, memory_format=layout)


def _gathered(
    logits: NDArray[np.float32], mine: NDArray[np.int64], accelerator: Accelerator
) -> NDArray[np.float32]:
    """Every process's rows, put together by their place; padding of unequal shares is dropped."""
    if accelerator.num_processes == 1:
        return logits
    longest = -(-len(logits) // accelerator.num_processes)
    places = np.full(longest, -1)
    places[: len(mine)] = mine
    values = np.full((longest, logits.shape[1]), np.nan, np.float32)
    values[: len(mine)] = logits[mine]
    everywhere = accelerator.gather(torch.from_numpy(places).to(accelerator.device)).cpu().numpy()
    everything = accelerator.gather(torch.from_numpy(values).to(accelerator.device)).cpu().numpy()
    whole = np.full_like(logits, np.nan)
    whole[everywhere[everywhere >= 0]] = everything[everywhere >= 0]
    return whole


def prediction_table(
    manifest: Manifest, rows: NDArray[np.int64], parts: NDArray[Any], logits: NDArray[np.float32]
) -> pd.DataFrame:
    """The hinge: case, group, part, path, targets, one score a class, covariates. Unread pictures are left out.

    Args:
        parts: the part of each of `rows`.
        logits: [n, classes] from `predict_rows`.
    """
    read = ~np.isnan(logits).any(axis=1)
    scores = probabilities(manifest.target, torch.from_numpy(logits[read]).double()).numpy()
    frame = manifest.frame.iloc[rows[read]].reset_index(drop=True)
    table = frame[["case", "group"]].assign(part=parts[read], path=frame["path"])
    for column in manifest.target.columns:
        table[column] = frame[column]
    for index, column in enumerate(manifest.target.scores):
        table[column] = scores[:, index]
    for column in manifest.covariates:
        table[column] = frame[column]
    return table
