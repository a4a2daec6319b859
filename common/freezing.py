"""Strategy and epoch to trainability: for each stage whether it learns, at which rate, in which norm mode.

`trainability` is a pure function; `apply` puts its answer onto a network. Nothing else in graftwork touches
`requires_grad` or the train and eval modes of a network that learns, so what the ledger says is what was done.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from graftwork.common.backbones import HEAD, Staged

__all__ = ["Norm", "StageMode", "apply", "backbone_is_fixed", "open_parameters", "trainability"]

Norm = Literal["hold", "adapt", "train"]

NORM_LAYERS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@dataclass(frozen=True)
class StageMode:
    """What one stage may do in one epoch.

    Attributes:
        learns: its weights change.
        rate: factor on the recipe's rate; 0 where it does not learn.
        norm: `hold`, statistics and affine weights of its norm layers fixed; `adapt`, statistics follow the data,
            affine weights fixed; `train`, both change.
    """

    learns: bool
    rate: float
    norm: Norm


def trainability(
    strategy: str, norm: Norm, stages: Sequence[str], *, epoch: int, backbone_rate: float = 1.0
) -> dict[str, StageMode]:
    """What each stage does in `epoch`: a pure function, so a resumed run cannot disagree with an unbroken one.

    Args:
        strategy: `linear-probe` (only the head learns), `full` (all stages learn from pretrained weights) or
            `scratch` (all learn from random ones: the control).
        norm: what the norm layers of the backbone do.
        stages: names from input to output, the head left out.
        epoch: from 1. The three strategies above do not change with it; a schedule by phases will.
        backbone_rate: factor on the rate of the backbone's stages.

    Raises:
        ValueError: an unknown strategy (recipes are checked before).
    """
    if strategy == "linear-probe":
        below = StageMode(learns=False, rate=0.0, norm=norm)
    elif strategy in ("full", "scratch"):
        below = StageMode(learns=True, rate=backbone_rate, norm=norm)
    else:
        raise ValueError(f"unknown strategy {strategy!r}")
    return {**dict.fromkeys(stages, below), HEAD: StageMode(learns=True, rate=1.0, norm="train")}


def backbone_is_fixed(modes: Sequence[Mapping[str, StageMode]]) -> bool:
    """Whether no stage of the backbone changes in any of the given epochs, so that its output may be kept."""
    return all(
        not mode.learns and mode.norm == "hold"
        for epoch in modes
        for stage, mode in epoch.items()
        if stage != HEAD
    )


def apply(network: Staged, modes: Mapping[str, StageMode]) -> None:
    """Set `requires_grad` and the train or eval mode of every module as `modes` says, whatever they were before.

    In a stage that does not learn, dropout and drop-path are off, and under `hold` its batch-norm buffers stand still.
    """
    for name, parameter, is_norm in _parameters(network):
        mode = modes[network.stage_of(name)]
        parameter.requires_grad_(mode.learns and (mode.norm == "train" or not is_norm))
    for name, module in network.named_modules():
        mode = modes[network.stage_of(name)]
        moves = mode.norm != "hold" if isinstance(module, NORM_LAYERS) else mode.learns
        module.training = moves  # not train(): that would reach down into other stages


def open_parameters(network: Staged) -> dict[str, list[tuple[str, nn.Parameter, bool]]]:
    """All parameters by stage: name, parameter, and whether weight decay spares it (biases and norm layers)."""
    groups: dict[str, list[tuple[str, nn.Parameter, bool]]] = {stage: [] for stage in (*network.stages, HEAD)}
    for name, parameter, is_norm in _parameters(network):
        groups[network.stage_of(name)].append((name, parameter, is_norm or parameter.ndim <= 1))
    return groups


def _parameters(network: nn.Module) -> Iterator[tuple[str, nn.Parameter, bool]]:
    for prefix, module in network.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            yield f"{prefix}.{name}" if prefix else name, parameter, isinstance(module, NORM_LAYERS)
