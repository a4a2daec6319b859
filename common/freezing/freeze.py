"""Freeze and unfreeze: set which parameters of a network are trained, stage by stage.

Nothing else in graftwork changes `requires_grad` or the train and eval modes of a network in training, so the record of
trained parameters is exact. The strategies themselves are defined in `recipe/strategy.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from graftwork.common.networks import backbones
from graftwork.common.networks.lora import is_adapter
from graftwork.common.networks.stages import HEAD, Staged
from graftwork.common.recipe.strategy import StageMode

NORM_LAYERS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, *backbones.NORM_LAYERS)


def frozen_stages(modes: Mapping[str, StageMode]) -> int:
    """How many stages from the input on do not change under `modes`, so that what they put out may be kept."""
    count = 0
    for stage, mode in modes.items():
        if stage == HEAD or mode.trained or mode.norm != "hold":
            break
        count += 1
    return count


def apply(network: Staged, modes: Mapping[str, StageMode]) -> None:
    """Set `requires_grad` and the train or eval mode of every module as `modes` says, whatever they were before.

    In a stage that does not learn, dropout and drop-path are off, and under `hold` its batch-norm buffers stand still.
    """
    for name, parameter, is_norm in _parameters(network):
        mode = modes[network.stage_of(name)]
        parameter.requires_grad_(mode.trained and _trainable(name, is_norm, mode))
    for name, module in network.named_modules():
        mode = modes[network.stage_of(name)]
        moves = mode.norm != "hold" if isinstance(module, NORM_LAYERS) else mode.trained
        module.training = moves  # not train(): that would reach down into other stages


def _trainable(name: str, is_norm: bool, mode: StageMode) -> bool:
    if mode.part == "adapters":
        return is_adapter(name)
    if is_norm:
        return mode.norm == "train"
    return mode.part == "all" or name.rpartition(".")[2] == "bias"


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
