"""A network over rows of a manifest: logits in the order asked for, the same for any number of processes.

And what all work over rows has in common: what is done about images that cannot be read, and about a signal.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from graftwork.common.errors import RunError
from graftwork.common.loading.batches import Failure, batches
from graftwork.common.loading.target_encoding import probabilities
from graftwork.common.runs.training_state import State

if TYPE_CHECKING:
    import pandas as pd
    from accelerate import Accelerator
    from numpy.typing import NDArray
    from torch import nn

    from graftwork.common.data.manifest import Manifest
    from graftwork.common.runs.provenance import Progress
    from graftwork.common.runs.run_folder import Run
    from graftwork.common.runs.signals import Signals


T = TypeVar("T")

Check = Callable[[int, int], None]
"""Called with (units done, units in all) between two of them; may raise, to end the work there."""

STEP = 64  # cases that go through the network at once


@dataclass(frozen=True)
class Validation:
    """What a network is worth on the validation part.

    Attributes:
        loss: mean over the cases; None where none could be read.
        value: of the metric that chooses the epoch; None where it is undefined.
        failures: images that could not be read.
    """

    loss: float | None
    value: float | None
    failures: list[Failure]


def predict_rows(
    network: nn.Module,
    source: Any,
    rows: NDArray[np.int64],
    *,
    accelerator: Accelerator,
    outputs: int,
    workers: int = 0,
    progress: Check | None = None,
) -> tuple[NDArray[np.float32], list[Failure]]:
    """Logits of the given rows, computed in eval mode without gradients.

    Processes share the rows, and each row is counted once, however many processes there are.

    Args:
        network: is put into eval mode and left in it.
        source: `ImageSource` or `FeatureSource`.
        outputs: number of logits a case.

    Returns:
        logits [n, outputs] in the order of `rows`, NaN where an image could not be read; these failures.

    Raises:
        RunError: the network's output is not finite, which must not pass for an unread image.
    """
    settle(network, accelerator)
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
                outcome = network(to_device(batch.inputs, accelerator.device)).float().cpu()
                check_finite(outcome)
                logits[[place[row] for row in batch.rows.tolist()]] = outcome.numpy()
            done += len(batch) + len(batch.failures)
            if progress is not None:
                progress(min(done * accelerator.num_processes, len(rows)), len(rows))
    return _gathered(logits, mine, accelerator), shared(failures, accelerator)


def settle(network: nn.Module, accelerator: Accelerator) -> None:
    """Put a network into eval mode, the same one in all processes."""
    network.eval()
    if accelerator.num_processes > 1:  # else each uses the running statistics of its own last step
        for buffer in network.buffers():
            torch.distributed.broadcast(buffer, 0)


def shared(values: list[T], accelerator: Accelerator) -> list[T]:
    """The values of all processes, known to each of them."""
    if accelerator.num_processes == 1:
        return values
    from accelerate.utils import gather_object

    return list(gather_object(values))


def check_finite(outcome: torch.Tensor) -> None:
    """Raise a RunError where the output of a network is not finite."""
    if not bool(torch.isfinite(outcome).all()):
        raise RunError(
            "the network's output is not a finite number: training diverged in this epoch or before",
            where="prediction",
            remedy="lower training.learning_rate, set training.gradient_clip_norm, or use training.precision=float32",
        )


def to_device(inputs: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Images in the memory layout that convolutions are quickest in; features as they are."""
    layout = torch.channels_last if inputs.ndim == 4 else torch.contiguous_format
    return inputs.to(device, memory_format=layout)


def _gathered(
    logits: NDArray[np.float32], mine: NDArray[np.int64], accelerator: Accelerator
) -> NDArray[np.float32]:
    """The rows of all processes in order; padding of unequal shares is dropped."""
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
    """The hinge: case, group, part, path, targets, one score a class, covariates. Unread images are left out.

    Args:
        parts: the part of each of `rows`.
        logits: [n, outputs] from `predict_rows`.
    """
    read = ~np.isnan(logits).any(axis=1)
    scores = probabilities(manifest.targets, torch.from_numpy(logits[read]).double()).numpy()
    frame = manifest.frame.iloc[rows[read]].reset_index(drop=True)
    table = frame[["case", "group"]].assign(part=parts[read], path=frame["path"])
    for column in (name for target in manifest.targets for name in target.columns):
        table[column] = frame[column]
    for index, column in enumerate(name for target in manifest.targets for name in target.scores):
        table[column] = scores[:, index]
    for column in manifest.covariates:
        table[column] = frame[column]
    return table


def evaluated_parts(run: Run) -> list[str]:
    """The evaluated parts: validation, test and, if the split has it, seen."""
    there = set(run.split.parts)
    return [part for part in ("validation", "test", "seen") if part in there]


def stoppable(what: str, signals: Signals, progress: Progress | None) -> Check:
    """A progress callback that stops the work at a signal; nothing has to be saved before."""

    def note(done: int, total: int) -> None:
        signals.check()
        if progress is not None:
            progress(what, done, total)

    return note


def read_first(run: Run, source: Any, check: Check, size: int = 32) -> None:
    """Read each evaluated image once before training, so that a damaged image does not end a long run.

    Args:
        size: images that are read together.

    Raises:
        RunError: more images than the recipe allows cannot be read; lists all.
    """
    rows = np.concatenate([run.split.rows(part) for part in evaluated_parts(run)])
    plan = [rows[at : at + size] for at in range(0, len(rows), size)]
    failures: list[Failure] = []
    with contextlib.closing(batches(source, plan, workers=run.recipe.training.workers)) as reader:
        for done, batch in enumerate(reader, 1):
            failures += batch.failures
            check(min(size * done, len(rows)), len(rows))
    quarantine(State(), failures, run.recipe.training.max_unreadable_files, run)


def quarantine(state: State, failures: Sequence[Failure], tolerance: int, run: Run) -> None:
    """Set unreadable images aside with their reason.

    Raises:
        RunError: there are more than `tolerance`; lists all. Or the recipe does not fit the images.
    """
    if unfit := [failure for failure in failures if failure.stage == "recipe"]:
        raise RunError(
            f"{unfit[0].reason}: the files are sound, the recipe does not fit them",
            where=run.manifest.frame["path"].iloc[unfit[0].row],
            remedy="correct backbone.channels: 3 reads grey and colour, 1 makes grey of both",
        )
    for failure in failures:
        state.quarantine[str(failure.row)] = [failure.stage, failure.reason]
    if len(state.quarantine) > tolerance:
        cases = run.manifest.frame["path"]
        listed = "".join(
            f"\n  {cases.iloc[int(row)]} ({stage}): {reason}"
            for row, (stage, reason) in state.quarantine.items()
        )
        raise RunError(
            f"{len(state.quarantine)} images cannot be read, and the recipe allows {tolerance}"
            f" (training.max_unreadable_files){listed}",
            where=run.folder,
            remedy="`graftwork check` lists all of them; repair or remove them, or raise training.max_unreadable_files",
        )
