"""The loop. It knows a network, batches, an objective, an optimiser, a plan and a run, and nothing else.

Strategies change which parts are trained, never the loop. Nothing in it has a history that is not in `State` or in
the tensors
beside it: dropout is seeded at each step, rates are a function of the step, so a run resumed from any step ends
byte-identical.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import parametrize

from graftwork.common.errors import Interrupted, RunError, UsageError
from graftwork.common.evaluation import METRICS
from graftwork.common.freezing.freeze import apply
from graftwork.common.loading.batches import Batch, batches, epoch_plan
from graftwork.common.memory import memory_lack
from graftwork.common.networks.network import AnyNetwork
from graftwork.common.recipe.strategy import Plan, StageMode
from graftwork.common.runs.training_state import State
from graftwork.common.seeds import seed_of
from graftwork.common.training.checkpoints import Trainable, restore, save, share_quarantine, write
from graftwork.common.training.inference import Check, Validation, quarantine, to_device
from graftwork.common.training.losses import Loss
from graftwork.common.training.mixup import Mixing
from graftwork.common.training.optimizer import set_rates
from graftwork.common.training.schedule import Schedule, advance, epoch_line, ledger_rows, plan_for
from graftwork.common.wording import short_list

if TYPE_CHECKING:
    from accelerate import Accelerator
    from numpy.typing import NDArray

    from graftwork.common.runs.provenance import Progress
    from graftwork.common.runs.run_folder import Run
    from graftwork.common.runs.signals import Signals


log = logging.getLogger("graftwork")

Sources = Callable[[Plan, int, int], tuple[Any, int]]
"""Plan, number of a phase and its first epoch to its training source (indexed by (epoch, row)), and how many
stages, from the input on, have already done their work in it."""


def train(
    run: Run,
    network: AnyNetwork,
    sources: Sources,
    loss_fn: Loss,
    *,
    validate: Callable[[Any, Check], Validation],
    primary: str,
    accelerator: Accelerator,
    signals: Signals,
    classes: NDArray[np.int64] | None = None,
    progress: Progress | None = None,
) -> State:
    """Train `network` as the run's recipe says, from where the run stands; `last/` and `best/` are kept.

    Args:
        network: as built, before its first step.
        loss_fn: logits and truth to the loss of each case.
        validate: evaluates the network on the validation part; it gets the training source and a callback to call
            between images.
        primary: the protocol's metric, of which `validate` gives the value: it chooses the best epoch.
        classes: the class of each training case, where the recipe asks for balanced sampling.

    Raises:
        Interrupted: a signal came; the step was ended and the state written.
        RunError: the loss is not finite, memory is not enough for one case, or more images than the recipe
            allows cannot be read.
    """
    loop = Loop(run, network, loss_fn, accelerator, signals, progress)
    settings, state = run.recipe.training, loop.state
    rows = run.split.rows("train")
    plan = plan_for(run.recipe, network)
    if not state.finished and accelerator.is_main_process:
        run.forget_results()
    source, kept, number = None, 0, -1

    while not state.finished:
        epoch = state.epoch
        phase, first = plan.at(epoch, state.plateaus)
        modes = plan.phases[phase].modes
        apply(network, modes)
        if phase != number:
            number, (source, kept) = phase, sources(plan, phase, first)
            loop.wrap_anew()
        schedule = Schedule(settings, state, plan, phase, first)
        order = epoch_plan(rows, settings.batch_size, seed=run.recipe.seed, epoch=epoch, classes=classes)
        clock, done = time.monotonic(), state.loss_count
        loop.waited = 0.0
        while state.step < len(order):
            batch_plan = [part for batch in order[state.step :] for part in loop.parts(batch)]
            reader = batches(source, batch_plan, epoch=epoch, workers=settings.workers)
            with contextlib.closing(reader):
                try:
                    for step in range(state.step, len(order)):
                        loop.step(reader, step, order, modes, schedule)
                except _NoMemory as error:  # the rest of the epoch in smaller parts
                    loop.halve_parts(order[state.step], error)
        seconds = max(time.monotonic() - clock, 1e-9)

        validation = loop.validated(validate, source)
        share_quarantine(state, accelerator)
        quarantine(state, validation.failures, settings.max_unreadable_files, run)
        line = epoch_line(state, validation, primary) | {
            "steps": len(order),
            "parts": settings.accumulation_steps << state.halvings,
            "rate": schedule.rate(len(order) - 1, len(order)),
            "seconds": round(seconds, 3),
            "data_wait": round(loop.waited / seconds, 4),
            "images_per_second": round((state.loss_count - done) / seconds, 1),
        }
        state.ledger += ledger_rows(network, plan.phases[phase], epoch, line["rate"], kept)
        advance(state, line, METRICS[primary].better == "lower", settings, plan, phase)
        if line["best"]:
            save(run, "best", loop.trainable, state, accelerator)
        save(run, "last", loop.trainable, state, accelerator)
        value = "undefined" if validation.value is None else f"{validation.value:.4f}"
        log.info(
            "epoch %d of %d (%s): loss %.4f, validation %s %s, %.0f %% of the time waiting for data",
            epoch, settings.epochs, plan.phases[phase].name, line["train_loss"], primary, value,
            100 * line["data_wait"],
        )  # fmt: skip
    return state


class Rates(Protocol):
    """The rate of each step."""

    def rate(self, step: int, steps: int) -> float: ...


class Loop:
    """The steps of a training: network, optimizer, state, and what a step needs besides its batch."""

    def __init__(
        self,
        run: Run,
        network: AnyNetwork,
        loss_fn: Loss,
        accelerator: Accelerator,
        signals: Signals,
        progress: Progress | None,
    ) -> None:
        settings = run.recipe.training
        self.run, self.network, self.loss_fn = run, network, loss_fn
        self.accelerator, self.signals, self.progress = accelerator, signals, progress
        self.settings = settings
        self.trainable = Trainable.of(network, settings)
        self.state = restore(run, self.trainable) or State()
        self.mixing = (
            Mixing(settings.mixup, settings.cutmix, run.recipe.seed)
            if settings.mixup or settings.cutmix
            else None
        )
        self.wrapped: torch.nn.Module = network
        self.waited = 0.0

    def wrap_anew(self) -> None:
        """Other parameters are trained now: DDP must be set up again."""
        self.wrapped = self.accelerator.prepare_model(self.accelerator.unwrap_model(self.wrapped, False))

    def step(
        self,
        reader: Generator[Batch],
        step: int,
        order: Sequence[NDArray[np.int64]],
        modes: Mapping[str, StageMode],
        schedule: Rates,
    ) -> None:
        """Step `step` of those in `order`: its batch in parts from `reader`, then one step of the optimiser."""
        state, settings = self.state, self.settings
        optimizer, accelerator = self.trainable.optimizer, self.accelerator
        torch.manual_seed(seed_of(self.run.recipe.seed, "step", state.epoch, step, accelerator.process_index))
        rate = schedule.rate(step, len(order))
        set_rates(optimizer, modes, rate)
        parts = len(self.parts(order[step]))
        share = accelerator.num_processes / len(order[step])  # DDP averages over processes; we sum
        loss, cases = 0.0, []
        with self._unmoved_on_failure():
            for part in range(parts):
                asked = time.monotonic()
                batch = next(reader)
                self.waited += time.monotonic() - asked
                quarantine(state, batch.failures, settings.max_unreadable_files, self.run)
                loss += self._backward(batch, share, step, part, sync=part == parts - 1)
                cases += batch.rows.tolist()
        self._clip(cases, step)
        if self.trainable.pull is not None:
            self.trainable.pull.step(modes, rate)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if self.trainable.average is not None:
            self.trainable.average.update()
        loss, count, stop = _summed((loss, len(cases), self.signals.caught is not None), accelerator)
        state.step = step + 1
        state.loss_sum += loss
        state.loss_count += int(count)
        if self.progress is not None:
            self.progress(f"epoch {state.epoch} of {settings.epochs}", state.step, len(order))
        due = settings.save_steps and state.step % settings.save_steps == 0 and state.step < len(order)
        if due or stop:
            save(self.run, "last", self.trainable, state, accelerator)
        if stop:
            self.signals.stop()

    def parts(self, batch: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """A global batch to this process's share of it, in the parts in which gradients are summed: as many as asked
        for, or as the share has cases where these are fewer."""
        asked, processes = self.settings.accumulation_steps, self.accelerator.num_processes
        if len(batch) < processes:
            raise UsageError(
                f"a batch of {len(batch)} cases cannot be shared by {processes} processes",
                where="training.batch_size",
                remedy="use larger batches or fewer processes",
            )
        mine = batch[self.accelerator.process_index :: processes]
        return np.array_split(mine, min(asked << self.state.halvings, len(mine)))

    def _backward(self, batch: Batch, share: float, step: int, part: int, *, sync: bool) -> float:
        """One part of a step: its gradients are added to the previous ones. Returns the sum of its cases' losses."""
        accelerator = self.accelerator
        if not len(batch):
            if accelerator.num_processes > 1:  # the others would wait for its gradients without end
                raise RunError(
                    "of one process's part of a step no image can be read",
                    where="training.batch_size",
                    remedy="use larger batches or fewer processes, or repair the files that `graftwork check` lists",
                )
            return 0.0
        lone = accelerator.num_processes == 1
        quiet = contextlib.nullcontext() if sync or lone else accelerator.no_sync(self.wrapped)
        with quiet, _naming_lack_of_memory(lone):
            inputs, truth = to_device(batch.inputs, accelerator.device), batch.targets.to(accelerator.device)
            losses = self._losses(inputs, truth, step, part)
            bad = ~torch.isfinite(losses.detach())
            if bad.any():
                kind = float(losses.detach()[bad][0])
                raise self._diverged(f"the loss is {kind}", batch.rows[bad.cpu().numpy()], step)
            loss = losses.sum()
            accelerator.backward(loss * share)
        return float(loss.detach())

    def _losses(self, inputs: Tensor, truth: Tensor, step: int, part: int) -> Tensor:
        """The loss of each case [B]."""
        if self.mixing is None:
            return self.loss_fn(self.wrapped(inputs), truth)
        mixed = self.mixing(inputs, truth, epoch=self.state.epoch, step=step, part=part)
        return self.loss_fn(self.wrapped(mixed.inputs), mixed.truth, mixed.other, mixed.share)

    def _clip(self, cases: Sequence[int], step: int) -> None:
        """Limit the gradient, and see that it is finite before a step is made of it."""
        norm = torch.nn.utils.clip_grad_norm_(
            self.network.parameters(), self.settings.gradient_clip_norm or math.inf
        )
        if not math.isfinite(float(norm)):
            raise self._diverged(f"the gradient is {float(norm)}", cases, step)

    def _diverged(self, what: str, rows: Sequence[int] | NDArray[np.int64], step: int) -> RunError:
        cases = self.run.manifest.frame["case"].iloc[list(rows)].astype(str).tolist()
        return RunError(
            f"{what} at epoch {self.state.epoch}, step {step + 1} (cases {short_list(cases, 20)}); what was "
            "saved before is finite",
            where=self.run.folder,
            remedy="lower training.learning_rate, set training.gradient_clip_norm, or use training.precision=float32",
        )

    @contextlib.contextmanager
    def _unmoved_on_failure(self) -> Iterator[None]:
        """Put the statistics of norm layers back where a step cannot be ended, so that it may be done again."""
        before = [(buffer, buffer.clone()) for buffer in self.network.buffers()]
        try:
            yield
        except _NoMemory:
            for buffer, value in before:
                buffer.copy_(value)
            self.trainable.optimizer.zero_grad(set_to_none=True)
            raise

    def halve_parts(self, batch: NDArray[np.int64], error: _NoMemory) -> None:
        """Work through batches in twice as many parts from here on; the batch of a step stays what it is."""
        state = self.state
        if self.settings.accumulation_steps << state.halvings >= len(batch):
            raise RunError(
                f"memory is not enough for one case at a time ({error})",
                where=self.run.folder,
                remedy="use a smaller image.size or backbone.name, or a machine with more memory",
            ) from error
        state.halvings += 1
        if self.accelerator.device.type == "cuda":
            torch.cuda.empty_cache()
        parts = self.settings.accumulation_steps << state.halvings
        log.warning(
            "out of memory at epoch %d, step %d: continuing with batches of %d cases in %d parts of %d",
            state.epoch, state.step + 1, len(batch), parts, -(-len(batch) // parts),
        )  # fmt: skip

    def validated(self, validate: Callable[[Any, Check], Validation], source: Any) -> Validation:
        """The validation result of the network, or of its EMA weights if there are any."""
        average = self.trainable.average

        def heard(*_: int) -> None:
            self.signals.check()

        try:
            with average.swapped() if average else contextlib.nullcontext(), parametrize.cached():
                return validate(source, heard)
        except Interrupted:  # all steps of the epoch are kept; no process waits for another
            if self.accelerator.is_main_process:
                write(self.run, "last", self.trainable, self.state)
            raise


class _NoMemory(Exception):
    """Memory was not enough for a part of a step."""


@contextlib.contextmanager
def _naming_lack_of_memory(lone: bool) -> Iterator[None]:
    """Turn the several errors of lacking memory into one. `lone`: of several processes none can go back alone."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
        text = memory_lack(error)
        if not text:
            raise
        if not lone:
            raise RunError(
                f"a process ran out of memory ({text})",
                where="training.accumulation_steps",
                remedy="set training.accumulation_steps to 2 or more: the batch of a step stays what it is",
            ) from error
        raise _NoMemory(text) from error


def _summed(values: tuple[float, float, bool], accelerator: Accelerator) -> tuple[float, float, float]:
    """Each value summed over the processes: all log the same loss, and all stop at the same step."""
    if accelerator.num_processes == 1:
        return float(values[0]), float(values[1]), float(values[2])
    mine = torch.tensor([values], dtype=torch.float64, device=accelerator.device)
    loss, count, stop = accelerator.gather(mine).sum(dim=0).tolist()
    return loss, count, stop
