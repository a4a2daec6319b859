"""What an epoch is: its phase, the rates of its steps, what is written of it, and what follows from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graftwork.common.freezing.freeze import open_parameters
from graftwork.common.recipe.strategy import Phase, Plan, plan_of
from graftwork.common.training.optimizer import rate_at

if TYPE_CHECKING:
    from graftwork.common.networks.network import AnyNetwork
    from graftwork.common.recipe import Recipe
    from graftwork.common.recipe.sections import TrainingSection
    from graftwork.common.runs.training_state import State
    from graftwork.common.training.inference import Validation


def plan_for(recipe: Recipe, network: AnyNetwork) -> Plan:
    """The recipe's strategy laid out for a network."""
    return plan_of(
        recipe.strategy,
        network.stages,
        epochs=recipe.training.epochs,
        backbone_rate=recipe.training.backbone_learning_rate_factor,
    )


class Schedule:
    """The learning rate of each step of the current epoch of `state`."""

    def __init__(self, settings: TrainingSection, state: State, plan: Plan, phase: int, first: int) -> None:
        self.settings, self.epoch, self.reductions = settings, state.epoch, state.reductions
        self.first = first if settings.restart_schedule else 1
        last = plan.last_epoch(phase, settings.epochs) if settings.restart_schedule else settings.epochs
        self.epochs = (last or settings.epochs) - self.first + 1

    def rate(self, step: int, steps: int) -> float:
        """Of step `step`, from 0, of `steps`."""
        at = (self.epoch - self.first) + step / steps
        return rate_at(self.settings, at, 1 / steps, epochs=self.epochs, reductions=self.reductions)


def epoch_line(state: State, judged: Validation, primary: str) -> dict[str, Any]:
    """What log.jsonl says of the epoch that ends, as far as every way of learning knows it."""
    return {
        "epoch": state.epoch,
        "train_loss": state.loss_sum / max(state.loss_count, 1),
        "validation_loss": judged.loss,
        "validation": {primary: judged.value},
        "quarantined": len(state.quarantine),
    }


def advance(
    state: State, line: dict[str, Any], less: bool, settings: TrainingSection, plan: Plan, phase: int
) -> None:
    """End an epoch: is it the best so far (`less`: the lower value is better), does a plateau change something, and is
    there another epoch?"""
    (value,) = line["validation"].values()

    def better(before: float | None) -> bool:
        return value is not None and (before is None or (value < before if less else value > before))

    ended = state.epoch >= settings.epochs
    if better(state.best_value) or (ended and not state.best_epoch):  # a metric never defined: the last epoch
        state.best_value, state.best_epoch = value, state.epoch
    line["best"] = state.best_epoch == state.epoch
    if better(state.phase_best):
        state.phase_best, state.stale, state.rate_stale = value, 0, 0
    else:
        state.stale, state.rate_stale = state.stale + 1, state.rate_stale + 1
    if settings.schedule == "plateau" and state.rate_stale >= settings.plateau_patience:
        state.reductions, state.rate_stale = state.reductions + 1, 0
    last = phase == len(plan.phases) - 1
    stopped = last and settings.patience and state.best_epoch and state.stale >= settings.patience
    state.finished = ended or bool(stopped)
    if plan.ends_by_plateau(phase) and state.stale >= plan.patience:
        state.plateaus.append(state.epoch)
    if plan.at(state.epoch + 1, state.plateaus)[0] != phase:  # the next phase has its own best value
        state.phase_best, state.stale, state.rate_stale = None, 0, 0
        if settings.restart_schedule:
            state.reductions = 0
    state.log.append(line)
    state.epoch, state.step, state.loss_sum, state.loss_count = state.epoch + 1, 0, 0.0, 0


def ledger_rows(
    network: AnyNetwork, phase: Phase, epoch: int, rate: float, kept: int
) -> list[dict[str, Any]]:
    """What each stage did in an epoch, read off the network and not off the plan; `kept`: stages, from the input on,
    that did not run because their features were cached."""
    rows = []
    for place, (stage, members) in enumerate(open_parameters(network).items()):
        rows.append(
            {
                "epoch": epoch,
                "stage": stage,
                "parameters": sum(parameter.numel() for _, parameter, _ in members),
                "learning": sum(parameter.numel() for _, parameter, _ in members if parameter.requires_grad),
                "rate": rate * phase.modes[stage].rate,
                "norm": phase.modes[stage].norm,
                "phase": phase.name,
                "source": "kept" if place < kept else "computed",
            }
        )
    return rows
