"""How a step changes the weights: the optimiser, its rates over time, and the decay towards pretrained weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from graftwork.common.freezing.freeze import open_parameters
from graftwork.common.networks.stages import HEAD, Staged
from graftwork.common.recipe.strategy import StageMode

if TYPE_CHECKING:
    from torch import Tensor, nn

    from graftwork.common.recipe.sections import TrainingSection


def optimizer_of(network: Staged, settings: TrainingSection) -> torch.optim.AdamW:
    """AdamW with two groups a stage: weights, and the biases and norm layers that weight decay spares.

    With `l2_sp` the weights of the backbone are not drawn to 0 but, by `Pull`, to where they began.
    """
    groups: list[dict[str, Any]] = []
    for stage, members in open_parameters(network).items():
        for spared in (False, True):
            chosen = [(name, parameter) for name, parameter, exempt in members if exempt == spared]
            if chosen:
                pulled = bool(settings.l2_sp) and stage != HEAD
                decay = 0.0 if spared or pulled else settings.weight_decay
                groups.append({"params": chosen, "stage": stage, "weight_decay": decay})
    return torch.optim.AdamW(groups, lr=settings.learning_rate, foreach=False)


def set_rates(optimizer: torch.optim.Optimizer, modes: Mapping[str, StageMode], rate: float) -> None:
    """Set the rate of each stage: its factor times `rate`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * modes[group["stage"]].rate


def rate_at(
    settings: TrainingSection, at: float, step: float, *, epochs: int | None = None, reductions: int = 0
) -> float:
    """The learning rate of the step that begins `at` epochs (a fraction), a step being `step` epochs long.

    Linear warm-up ends at the full rate; a cosine falls to 0 at the last epoch's end (Loshchilov and Hutter 2017).

    Args:
        epochs: over which the schedule runs: the training's, or those of a phase.
        reductions: how often a plateau has lowered the rate.
    """
    if at < settings.warmup:
        return settings.learning_rate * min(1.0, (at + step) / settings.warmup)
    if settings.schedule == "constant":
        return settings.learning_rate
    if settings.schedule == "plateau":
        return settings.learning_rate * settings.plateau_factor**reductions
    left = max((settings.epochs if epochs is None else epochs) - settings.warmup, step)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, (at - settings.warmup) / left)))


class Pull:
    """Decay of the backbone's weights towards the values they have now, the pretrained ones.

    The starting point as the reference of the penalty is L2-SP (Li, Grandvalet and Davoine 2018, equation 2); the
    decay is decoupled from the gradient, as AdamW's is (Loshchilov and Hutter 2019): w - rate * strength * (w - w0).
    Biases and norm layers are spared, as they are by weight decay.
    """

    def __init__(self, network: Staged, strength: float) -> None:
        self.strength = strength
        self.origins: list[tuple[nn.Parameter, Tensor, str]] = [
            (parameter, parameter.detach().clone(), stage)
            for stage, members in open_parameters(network).items()
            for _, parameter, spared in members
            if stage != HEAD and not spared
        ]

    @torch.no_grad()
    def step(self, modes: Mapping[str, StageMode], rate: float) -> None:
        """Pull the trained weights towards their pretrained values; called before the step of the optimiser."""
        for parameter, origin, stage in self.origins:
            if parameter.requires_grad:
                parameter.lerp_(origin, min(1.0, rate * modes[stage].rate * self.strength))
