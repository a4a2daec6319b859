"""The loop. It knows a network, batches, an objective, an optimiser, a strategy and a run, and nothing else.

Strategies change what learns, never the loop. Nothing in it has a history that is not in `State`: dropout is
seeded at each step, rates are a function of the step, so a run resumed from any step ends byte-identical.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from graftwork.common.batches import Batch, batches, epoch_plan
from graftwork.common.errors import RunError, UsageError
from graftwork.common.evaluation import METRICS
from graftwork.common.files import write_json
from graftwork.common.freezing import StageMode, apply, open_parameters, trainability
from graftwork.common.networks import AnyNetwork, AnyPreprocessing, build_network, describe
from graftwork.common.objectives import Objective
from graftwork.common.prediction import Check, Validation, quarantine, shared, to_device
from graftwork.common.runs import State
from graftwork.common.seeds import seed_of

if TYPE_CHECKING:
    from accelerate import Accelerator
    from numpy.typing import NDArray

    from graftwork.common.provenance import Progress
    from graftwork.common.recipe import Recipe
    from graftwork.common.recipe.sections import TrainingSection
    from graftwork.common.runs import Run
    from graftwork.common.signals import Signals
    from graftwork.common.weights import WeightsRecord

__all__ = ["begin_network", "rate_at", "train"]

log = logging.getLogger("graftwork")


def train(
    run: Run,
    network: AnyNetwork,
    source: Any,
    minimise: Objective,
    *,
    validate: Callable[[Check], Validation],
    primary: str,
    accelerator: Accelerator,
    signals: Signals,
    progress: Progress | None = None,
) -> State:
    """Train `network` as the run's recipe says, from where the run stands; `last/` and `best/` are kept.

    Args:
        source: pictures, volumes or kept features, indexed by (epoch, row of the manifest).
        minimise: logits and truth to the loss of each case.
        validate: judges the network on the validation part; is given what to call between its pictures.
        primary: the protocol's metric, of which `validate` gives the value: it chooses the best epoch.

    Raises:
        Interrupted: a signal came; the step was ended and the state written.
        RunError: the loss is not finite, or more pictures cannot be read than the recipe bears.
    """
    recipe, settings = run.recipe, run.recipe.training
    rows = run.split.rows("train")
    optimizer = _optimizer(network, settings)
    state = _restore(run, network, optimizer) or State()
    if not state.finished and accelerator.is_main_process:
        run.forget_results()
    steps = len(epoch_plan(rows, settings.batch_size, seed=recipe.seed, epoch=1))
    opened: set[str] = set()
    learner = network

    while not state.finished:
        epoch = state.epoch
        modes = _modes(recipe, network, epoch)
        apply(network, modes)
        now_open = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
        if now_open != opened:  # DDP must be told anew what it reduces
            opened, learner = now_open, accelerator.prepare_model(accelerator.unwrap_model(learner, False))
        plan = epoch_plan(rows, settings.batch_size, seed=recipe.seed, epoch=epoch)
        parts = [
            part for batch in plan[state.step :] for part in _parts(batch, settings.accumulate, accelerator)
        ]
        clock, waited, done = time.monotonic(), 0.0, 0

        with contextlib.closing(batches(source, parts, epoch=epoch, workers=settings.workers)) as reader:
            for step in range(state.step, steps):
                torch.manual_seed(seed_of(recipe.seed, "step", epoch, step, accelerator.process_index))
                _set_rates(optimizer, modes, rate_at(settings, (epoch - 1) + step / steps, 1 / steps))
                loss, count = 0.0, 0.0
                for part in range(settings.accumulate):
                    asked = time.monotonic()
                    batch = next(reader)
                    waited += time.monotonic() - asked
                    quarantine(state, batch.failures, settings.tolerance, run)
                    last = part == settings.accumulate - 1
                    share = accelerator.num_processes / len(plan[step])  # DDP averages over processes; we sum
                    loss += _backward(learner, batch, minimise, share, accelerator, sync=last)
                    count += len(batch)
                    _check_finite(loss, batch, run, epoch, step)
                if settings.clip:
                    torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                loss, count, stop = _summed((loss, count, signals.caught is not None), accelerator)
                state.step = step + 1
                state.loss_sum += loss
                state.loss_count += int(count)
                done += int(count)
                if progress is not None:
                    progress(f"epoch {epoch} of {settings.epochs}", state.step, steps)
                due = settings.save_steps and state.step % settings.save_steps == 0 and state.step < steps
                if due or stop:
                    _save(run, "last", network, optimizer, state, accelerator)
                if stop:
                    signals.stop()

        seconds = time.monotonic() - clock
        judged = validate(lambda *_: _heard(run, network, optimizer, state, accelerator, signals))
        _share_quarantine(state, accelerator)
        quarantine(state, judged.failures, settings.tolerance, run)
        line: dict[str, Any] = {
            "epoch": epoch,
            "steps": steps,
            "train_loss": state.loss_sum / max(state.loss_count, 1),
            "validation_loss": judged.loss,
            "validation": {primary: judged.value},
            "rate": rate_at(settings, epoch - 1 / steps, 1 / steps),
            "seconds": round(seconds, 3),
            "data_wait": round(waited / max(seconds, 1e-9), 4),
            "images_per_second": round(done / max(seconds, 1e-9), 1),
            "quarantined": len(state.quarantine),
        }
        _advance(state, line, judged.value, METRICS[primary].better == "lower", settings)
        state.ledger += _ledger(network, modes, epoch, line["rate"])
        if line["best"]:
            _save(run, "best", network, optimizer, state, accelerator)
        _save(run, "last", network, optimizer, state, accelerator)
        value = "undefined" if judged.value is None else f"{judged.value:.4f}"
        log.info(
            "epoch %d of %d: loss %.4f, validation %s %s, %.0f %% of the time spent waiting for data",
            epoch, settings.epochs, line["train_loss"], primary, value, 100 * line["data_wait"],
        )  # fmt: skip
    return state


def begin_network(
    run: Run, accelerator: Accelerator
) -> tuple[AnyNetwork, AnyPreprocessing, WeightsRecord | None]:
    """The network of a run before its first step, on its device; network.json says what it is.

    Raises:
        RunError: the pretrained weights are not those that the run began with.
    """
    network, preprocessing, record = build_network(run.recipe, run.manifest.targets)
    then = run.network["weights"] if record is not None and (run.folder / "last").is_dir() else None
    if record is not None and then is not None and then["sha256"] != record.sha256:
        raise RunError(
            f"the pretrained weights ({record.origin}) are not those this run began with ({then['origin']})",
            where=run.folder,
            remedy="restore them, or begin a new run with --out elsewhere",
        )
    network.to(accelerator.device)
    if accelerator.is_main_process:
        write_json(
            run.folder / "network.json", describe(network, preprocessing, record, run.manifest.targets)
        )
    return network, preprocessing, record


def rate_at(settings: TrainingSection, at: float, step: float) -> float:
    """The learning rate of the step that begins `at` epochs (a fraction), a step being `step` epochs long.

    Linear warm-up ends at the full rate; a cosine falls to 0 at the last epoch's end (Loshchilov and Hutter 2017).
    """
    if at < settings.warmup:
        return settings.rate * min(1.0, (at + step) / settings.warmup)
    if settings.schedule == "constant":
        return settings.rate
    left = max(settings.epochs - settings.warmup, step)
    return settings.rate * 0.5 * (1 + math.cos(math.pi * min(1.0, (at - settings.warmup) / left)))


def _modes(recipe: Recipe, network: AnyNetwork, epoch: int) -> dict[str, StageMode]:
    return trainability(
        recipe.strategy.name, recipe.strategy.norm, network.stages,
        epoch=epoch, backbone_rate=recipe.training.backbone_rate,
    )  # fmt: skip


def _parts(batch: NDArray[np.int64], accumulate: int, accelerator: Accelerator) -> list[NDArray[np.int64]]:
    """A global batch to this process's share of it, in the parts in which gradients are summed."""
    mine = batch[accelerator.process_index :: accelerator.num_processes]
    if len(batch) < accelerator.num_processes * accumulate:
        raise UsageError(
            f"a batch of {len(batch)} cases cannot be shared by {accelerator.num_processes} processes "
            f"in {accumulate} parts",
            where="training.batch_size",
            remedy="use larger batches, fewer processes or a smaller training.accumulate",
        )
    return np.array_split(mine, accumulate)


def _backward(
    learner: torch.nn.Module,
    batch: Batch,
    minimise: Objective,
    share: float,
    accelerator: Accelerator,
    *,
    sync: bool,
) -> float:
    """One part of a step: its gradients are added to those at hand. Returns the sum of its cases' losses."""
    if not len(batch):
        if accelerator.num_processes > 1:  # the others would wait for its gradients without end
            raise RunError(
                "of one process's part of a step no picture can be read",
                where="training.batch_size",
                remedy="use larger batches or fewer processes, or mend what `graftwork check` lists",
            )
        return 0.0
    inputs, truth = to_device(batch.inputs, accelerator.device), batch.targets.to(accelerator.device)
    if sync or accelerator.num_processes == 1:
        loss = minimise(learner(inputs), truth).sum()
        accelerator.backward(loss * share)
    else:
        with accelerator.no_sync(learner):
            loss = minimise(learner(inputs), truth).sum()
            accelerator.backward(loss * share)
    return float(loss.detach())


def _optimizer(network: AnyNetwork, settings: TrainingSection) -> torch.optim.AdamW:
    """AdamW with two groups a stage: weights, and the biases and norm layers that weight decay spares."""
    groups: list[dict[str, Any]] = []
    for stage, members in open_parameters(network).items():
        for spared in (False, True):
            chosen = [(name, parameter) for name, parameter, exempt in members if exempt == spared]
            if chosen:
                decay = 0.0 if spared else settings.weight_decay
                groups.append({"params": chosen, "stage": stage, "weight_decay": decay})
    return torch.optim.AdamW(groups, lr=settings.rate, foreach=False)


def _set_rates(optimizer: torch.optim.Optimizer, modes: Mapping[str, StageMode], rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * modes[group["stage"]].rate


def _advance(
    state: State, line: dict[str, Any], value: float | None, less: bool, settings: TrainingSection
) -> None:
    """End an epoch: is it the best so far (`less`: the lower value is better), and is there another one?"""
    ended = state.epoch >= settings.epochs
    before = state.best_value
    better = value is not None and (before is None or (value < before if less else value > before))
    if better or (ended and not state.best_epoch):  # a metric that was never defined: the last epoch stands
        state.best_value, state.best_epoch, state.stale = value, state.epoch, 0
    else:
        state.stale += 1
    line["best"] = state.best_epoch == state.epoch
    state.finished = ended or bool(
        settings.patience and state.best_epoch and state.stale >= settings.patience
    )
    state.log.append(line)
    state.epoch, state.step, state.loss_sum, state.loss_count = state.epoch + 1, 0, 0.0, 0


def _ledger(
    network: AnyNetwork, modes: Mapping[str, StageMode], epoch: int, rate: float
) -> list[dict[str, Any]]:
    """What each stage did in an epoch, read off the network and not off the plan."""
    rows = []
    for stage, members in open_parameters(network).items():
        rows.append(
            {
                "epoch": epoch,
                "stage": stage,
                "parameters": sum(parameter.numel() for _, parameter, _ in members),
                "learning": sum(parameter.numel() for _, parameter, _ in members if parameter.requires_grad),
                "rate": rate * modes[stage].rate,
                "norm": modes[stage].norm,
            }
        )
    return rows


def _check_finite(loss: float, batch: Batch, run: Run, epoch: int, step: int) -> None:
    if not math.isfinite(loss):
        cases = run.manifest.frame["case"].iloc[batch.rows].tolist()
        raise RunError(
            f"the loss is {loss} at epoch {epoch}, step {step + 1} (cases {', '.join(map(str, cases[:3]))}, ...)",
            where=run.folder,
            remedy="lower training.rate, set training.clip, or use training.precision=float32",
        )


def _summed(values: tuple[float, float, bool], accelerator: Accelerator) -> tuple[float, float, float]:
    """Each value summed over the processes: all log the same loss, and all stop at the same step."""
    if accelerator.num_processes == 1:
        return float(values[0]), float(values[1]), float(values[2])
    mine = torch.tensor([values], dtype=torch.float64, device=accelerator.device)
    loss, count, stop = accelerator.gather(mine).sum(dim=0).tolist()
    return loss, count, stop


def _save(
    run: Run,
    which: str,
    network: AnyNetwork,
    optimizer: torch.optim.Optimizer,
    state: State,
    accelerator: Accelerator,
) -> None:
    """Have the main process write model, optimiser and state, while the others wait."""
    _share_quarantine(state, accelerator)
    if accelerator.is_main_process:
        _write(run, which, network, optimizer, state)
    accelerator.wait_for_everyone()


def _write(run: Run, which: str, network: AnyNetwork, optimizer: torch.optim.Optimizer, state: State) -> None:
    """Write model, optimiser and state; the tensors of the optimiser are named by their parameters."""
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    moments = {
        f"{names[id(parameter)]}/{key}": value.contiguous()
        for parameter, held in optimizer.state.items()
        for key, value in held.items()
    }
    model = {name: value.contiguous() for name, value in network.state_dict().items()}
    run.save(which, model, moments, state)
    run.write_progress(state)


def _heard(
    run: Run,
    network: AnyNetwork,
    optimizer: torch.optim.Optimizer,
    state: State,
    accelerator: Accelerator,
    signals: Signals,
) -> None:
    """Stop a validation where a signal came; all steps of its epoch are kept. No process waits for another."""
    if signals.caught is not None:
        if accelerator.is_main_process:
            _write(run, "last", network, optimizer, state)
        signals.stop()


def _share_quarantine(state: State, accelerator: Accelerator) -> None:
    """Tell every process which pictures the others could not read."""
    for met in shared([state.quarantine], accelerator):
        state.quarantine.update(met)


def _restore(run: Run, network: AnyNetwork, optimizer: torch.optim.Optimizer) -> State | None:
    saved = run.saved("last")
    if saved is None:
        return None
    model, moments, state = saved
    network.load_state_dict(model, strict=True)
    parameters = dict(network.named_parameters())
    for name, value in moments.items():
        owner, _, key = name.rpartition("/")
        parameter = parameters[owner]
        # step is a number; the moments take the parameter's device and memory layout
        optimizer.state[parameter][key] = value if key == "step" else torch.empty_like(parameter).copy_(value)
    log.info("resuming at epoch %d, step %d", state.epoch, state.step)
    return state
