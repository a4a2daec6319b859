"""A learning rate range test: rates rise from step to step while the loss is watched."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graftwork.common.errors import RunError, UsageError
from graftwork.common.freezing.freeze import apply
from graftwork.common.loading.batches import batches, epoch_plan
from graftwork.common.runs.signals import Signals
from graftwork.common.training.loop import Loop
from graftwork.common.training.schedule import plan_for
from graftwork.common.training.setup import accelerator_for, task_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graftwork.common.runs.provenance import Progress
    from graftwork.common.runs.run_folder import Run


log = logging.getLogger("graftwork")

SMOOTHING = 0.98  # share of the past in the smoothed loss
DIVERGED = 4.0  # times the lowest smoothed loss, at which the search ends
EDGE = 10  # steps at the beginning in which the smoothed loss is mostly chance


@dataclass(frozen=True)
class RateSearch:
    """What a range test found.

    Attributes:
        rates, losses, smoothed: of each step: the rate, the loss of its batch, and its smoothed value.
        steepest: the rate at which the smoothed loss falls fastest (over the logarithm of the rate).
        tenth: a tenth of the rate at which the smoothed loss is lowest.
        suggested: the lower of the two.
        phase: the phase of the strategy whose stages were trained.
        ended: why the search ended.
        table, image: the files that were written; None before.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    steepest: float
    tenth: float
    suggested: float
    phase: str
    ended: str
    table: Path | None = None
    picture: Path | None = None


@dataclass(frozen=True)
class _Ramp:
    """Rates that rise exponentially from step to step."""

    low: float
    high: float

    def rate(self, step: int, steps: int) -> float:
        return float(self.low * (self.high / self.low) ** (step / max(1, steps - 1)))


def search(
    run: Run, *, low: float, high: float, steps: int, phase: int = 1, progress: Progress | None = None
) -> RateSearch:
    """Train the network of a run for a few steps at rates that rise from `low` to `high`, and watch the loss.

    The range test of Smith 2017, section 3.3, with the rates rising exponentially, and the stop at a loss of four
    times its minimum, as fastai's `lr_find` does it. Network, strategy, objective, optimiser, batches and their
    order are those of the run; the factors of stages on the rate apply. Only the training part is read.

    Args:
        run: a new run without training; it cannot be used afterwards.
        steps: at most.
        phase: of the strategy, from 1.

    Raises:
        UsageError: a number is out of its range; the head of the run is solved, so that there is no rate.
        RunError: the loss was never finite.
    """
    recipe = run.recipe
    if recipe.strategy.regularisation_strengths:
        raise UsageError(
            "the head is solved, and nothing in that has a rate",
            where="strategy.regularisation_strengths",
            remedy="set strategy.regularisation_strengths to 0 to train the head step by step",
        )
    if not 0 < low < high or steps < 2 * EDGE:
        raise UsageError(
            f"expected rates that rise from above 0, and {2 * EDGE} steps or more, not {low:g} to {high:g} in {steps}",
            where="find-lr",
            remedy="change --from, --to or --steps",
        )
    accelerator = accelerator_for(run)
    with Signals(run.folder) as signals:
        task = task_of(run, accelerator, signals, progress)
        plan = plan_for(recipe, task.network)
        if not 1 <= phase <= len(plan.phases):
            names = ", ".join(f"{number} {each.name}" for number, each in enumerate(plan.phases, 1))
            raise UsageError(f"there is no phase {phase}", where="find-lr", remedy=f"the phases are {names}")
        loop = Loop(run, task.network, task.loss, accelerator, signals, None)
        modes = plan.phases[phase - 1].modes
        apply(task.network, modes)
        source, _ = task.training_source(plan, phase - 1, 1)
        loop.wrap_anew()
        order = _order(run, steps, task.balanced)
        ramp, ended = _Ramp(low, high), "the highest rate was reached"
        rates: list[float] = []
        losses: list[float] = []
        smoothed: list[float] = []
        average = 0.0
        with contextlib.closing(batches(source, order, epoch=1, workers=recipe.training.workers)) as reader:
            for step in range(len(order)):
                before = loop.state.loss_sum, loop.state.loss_count
                try:
                    loop.step(reader, step, order, modes, ramp)
                except RunError as error:
                    if "the loss is" not in str(error) and "the gradient is" not in str(error):
                        raise
                    ended = "the loss was not finite any more"
                    break
                cases = max(1, loop.state.loss_count - before[1])
                losses.append((loop.state.loss_sum - before[0]) / cases)
                rates.append(ramp.rate(step, len(order)))
                average = SMOOTHING * average + (1 - SMOOTHING) * losses[-1]
                smoothed.append(average / (1 - SMOOTHING ** len(losses)))
                if progress is not None:
                    progress("finding the learning rate", step + 1, len(order))
                if len(losses) > EDGE and smoothed[-1] > DIVERGED * min(smoothed):
                    ended = f"the smoothed loss had risen to {DIVERGED:g} times its minimum"
                    break
    if len(losses) < 2 * EDGE:
        raise RunError(
            f"after {len(losses)} steps {ended}: too few to suggest a learning rate",
            where="find-lr",
            remedy="begin at a lower rate, or use training.precision=float32",
        )
    steepest, tenth = _suggestions(np.array(rates), np.array(smoothed))
    return RateSearch(
        tuple(rates), tuple(losses), tuple(smoothed), steepest, tenth, min(steepest, tenth),
        plan.phases[phase - 1].name, ended,
    )  # fmt: skip


def _order(run: Run, steps: int, classes: NDArray[np.int64] | None) -> list[NDArray[np.int64]]:
    """As many batches as there are steps: those of the first epochs, one after the other."""

    def endless() -> Iterator[NDArray[np.int64]]:
        rows, settings = run.split.rows("train"), run.recipe.training
        for epoch in count(1):
            yield from epoch_plan(
                rows, settings.batch_size, seed=run.recipe.seed, epoch=epoch, classes=classes
            )

    return [batch for batch, _ in zip(endless(), range(steps), strict=False)]


def _suggestions(rates: NDArray[np.float64], smoothed: NDArray[np.float64]) -> tuple[float, float]:
    lowest = int(np.argmin(smoothed[EDGE:])) + EDGE
    slopes = np.gradient(smoothed, np.log(rates))
    within = slice(EDGE, max(lowest, EDGE + 1))
    steepest = int(np.argmin(slopes[within])) + EDGE
    return float(rates[steepest]), float(rates[lowest]) / 10
