"""A linear probe whose head is solved to convergence instead of trained step by step."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from graftwork.common.errors import RunError
from graftwork.common.evaluation import METRICS
from graftwork.common.freezing.feature_cache import FeatureSource
from graftwork.common.freezing.freeze import apply
from graftwork.common.networks.head_solver import Standardised, solve, strengths
from graftwork.common.networks.network import Network
from graftwork.common.runs.training_state import State
from graftwork.common.training.checkpoints import Trainable, restore, save
from graftwork.common.training.inference import Check, Validation, quarantine
from graftwork.common.training.losses import Loss
from graftwork.common.training.schedule import advance, epoch_line, ledger_rows, plan_for

if TYPE_CHECKING:
    from accelerate import Accelerator

    from graftwork.common.networks.network import AnyNetwork
    from graftwork.common.runs.provenance import Progress
    from graftwork.common.runs.run_folder import Run
    from graftwork.common.runs.signals import Signals
    from graftwork.common.training.loop import Sources


log = logging.getLogger("graftwork")


def solve_probe(
    run: Run,
    network: AnyNetwork,
    sources: Sources,
    loss_fn: Loss,
    *,
    validate: Callable[[Any, Check], Validation],
    primary: str,
    accelerator: Accelerator,
    signals: Signals,
    classes: object = None,
    progress: Progress | None = None,
) -> State:
    """Solve the head of `network` for each strength of the penalty, from strong to weak; see `training.train`.

    A strength stands where a training has an epoch: in the log, in the ledger, in `last/` and `best/`, and it is
    chosen as an epoch is, by validation.

    Raises:
        Interrupted: a signal came; all strengths that were done are kept.
        RunError: more images than the recipe allows cannot be read.
    """
    recipe = run.recipe
    path = strengths(recipe.strategy.regularisation_strengths)
    settings = recipe.training.model_copy(update={"epochs": len(path), "patience": 0, "schedule": "constant"})
    plan = plan_for(recipe, network)
    trainable = Trainable.of(network, settings, head_only=True)
    state = restore(run, trainable) or State()
    if state.finished:
        return state
    if accelerator.is_main_process:
        run.forget_results()
    apply(network, plan.phases[0].modes)
    source, kept = sources(plan, 0, 1)
    features, truth = _training_part(run, cast(FeatureSource, source), state)
    table = Standardised(features, accelerator.device)
    while not state.finished:
        signals.check()
        clock, strength = time.monotonic(), path[state.epoch - 1]
        network.eval()
        with signals.at_once():  # a strength is solved whole or again
            found = solve(cast(Network, network).head, table, truth, loss_fn, decay=strength)
        if not found.converged:
            log.warning(
                "regularisation strength %g: not converged after %d iterations, gradient %.2g",
                strength, found.iterations, found.gradient,
            )  # fmt: skip
        if accelerator.num_processes > 1:
            for parameter in cast(Network, network).head.parameters():
                torch.distributed.broadcast(parameter.data, 0)
        state.loss_sum, state.loss_count = found.loss * len(truth), len(truth)
        seconds = max(time.monotonic() - clock, 1e-9)
        validation = validate(source, lambda *_: signals.check())
        quarantine(state, validation.failures, recipe.training.max_unreadable_files, run)
        line: dict[str, Any] = epoch_line(state, validation, primary) | {
            "strength": strength,
            "iterations": found.iterations,
            "gradient": found.gradient,
            "converged": found.converged,
            "seconds": round(seconds, 3),
        }
        state.ledger += ledger_rows(network, plan.phases[0], state.epoch, 1.0, kept)
        advance(state, line, METRICS[primary].better == "lower", settings, plan, 0)
        if line["best"]:
            save(run, "best", trainable, state, accelerator)
        save(run, "last", trainable, state, accelerator)
        if progress is not None:
            progress("solving the head", state.epoch - 1, len(path))
        value = "undefined" if validation.value is None else f"{validation.value:.4f}"
        log.info(
            "regularisation strength %g (%d of %d): %d iterations, loss %.4f, validation %s %s",
            strength, state.epoch - 1, len(path), found.iterations, line["train_loss"], primary, value,
        )  # fmt: skip
    return state


def _training_part(run: Run, source: FeatureSource, state: State) -> tuple[Any, torch.Tensor]:
    """Features and truth of the training part, all views of it; images that cannot be read are set aside."""
    rows = run.split.rows("train")
    quarantine(
        state,
        [source.failures[row] for row in rows.tolist() if row in source.failures],
        run.recipe.training.max_unreadable_files,
        run,
    )
    rows = np.array([row for row in rows.tolist() if row not in source.failures], np.int64)
    if not len(rows):
        raise RunError(
            "of the training part no image can be read",
            where=run.folder,
            remedy="run `graftwork check`, which names the reason for each file",
        )
    views = range(1, max(1, source.views) + 1)
    features = np.concatenate([source.gather(rows, view if source.views else 0) for view in views])
    return features, torch.from_numpy(np.concatenate([source.targets[rows] for _ in views]))
