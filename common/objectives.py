"""What is minimised: the task's loss, weighed and smoothed as the recipe says."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from graftwork.common.tasks import class_weights, losses

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graftwork.common.manifest import Target
    from graftwork.common.recipe.sections import TrainingSection

__all__ = ["Objective", "objective"]

Objective = Callable[[Tensor, Tensor], Tensor]
"""Logits [B, classes] and truth (as `tasks.encode`) to the loss of each case [B]."""


def objective(
    target: Target, training: TrainingSection, truth: NDArray[Any], device: torch.device
) -> Objective:
    """The objective of a run.

    Args:
        truth: the encoded targets of the training part, from which balanced class weights come.
    """
    weights = None
    if training.class_weights == "balanced":
        weights = torch.from_numpy(class_weights(target, truth)).to(device)

    def minimised(logits: Tensor, wanted: Tensor) -> Tensor:
        return losses(target, logits.float(), wanted, weights=weights, smoothing=training.label_smoothing)

    return minimised
