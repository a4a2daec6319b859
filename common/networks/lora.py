"""LoRA (Hu et al. 2021): trainable low-rank matrices beside frozen weights, and merging them.

To a weight W, laid out as a matrix [outputs, inputs x kernel], alpha / rank * B A is added (section 4.1): A random, B
zero, so that a network begins unchanged. They are parametrizations of torch, which compute the weight again each time
it
is read: between two steps `torch.nn.utils.parametrize.cached()` saves that.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

from graftwork.common.errors import UsageError
from graftwork.common.networks.stages import Staged
from graftwork.common.seeds import seed_of

_FACTORS = ("lora_a", "lora_b")


class _LowRank(nn.Module):
    """Adds a matrix of low rank to a weight.

    Args:
        weight: [outputs, ...]; decides device and type of the factors.
        rank: asked for; A and B have at most as many rows and columns as the weight, as a matrix, has ranks.
        scale: factor on B A.
        seed: of A, drawn from a generator of its own.
        order: names of the parameters that the weight stands among, in their order, for `merge`.
    """

    def __init__(self, weight: Tensor, rank: int, scale: float, seed: int, order: tuple[str, ...]) -> None:
        super().__init__()
        outputs, inputs = weight.shape[0], weight[0].numel()
        rank = min(rank, outputs, inputs)
        generator = torch.Generator().manual_seed(seed)
        a = torch.empty(rank, inputs).normal_(0.0, inputs**-0.5, generator=generator)
        self.lora_a = nn.Parameter(a.to(weight.device, weight.dtype))
        self.lora_b = nn.Parameter(torch.zeros(outputs, rank, device=weight.device, dtype=weight.dtype))
        self.scale = scale
        self.order = order

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(
            weight.device.type, enabled=False
        ):  # trained in the precision in which `merge` adds it
            update = (self.scale * self.lora_b) @ self.lora_a
        # in the memory layout of the weight, which decides by which kernel, and so how rounded, a layer computes
        laid = torch.empty_strided(weight.shape, weight.stride(), device=update.device, dtype=update.dtype)
        return laid.copy_(update.reshape(weight.shape)).add_(weight)


def insert(network: Staged, rank: int, alpha: float, seed: int) -> list[str]:
    """Add LoRA updates to weights of `network.backbone`; its outputs do not change.

    They are added to the linear layers of attention, of a network without attention on all linear layers, and on every
    convolution that is not grouped. All parameters stay what they were, under `...parametrizations.weight.original`.

    Args:
        rank: of each update, and no more than its weight can have.
        alpha: the updates are scaled by alpha / rank.
        seed: of the initial values; the global generator is left as it was, and not read.

    Returns:
        names of the modules whose weight has an update now.

    Raises:
        UsageError: a number is out of its range, there is nothing to put an update on, or there are updates already.
    """
    if rank < 1:
        raise UsageError(f"an update has a rank of at least 1, not {rank}", where="strategy.lora_rank")
    if not 0.0 < alpha < float("inf"):
        raise UsageError(f"the scale of updates is above 0, not {alpha}", where="strategy.lora_alpha")
    if _adapted(network):
        raise UsageError("the network already has LoRA updates", where="strategy.name")
    chosen = _chosen(cast(nn.Module, network.backbone))
    if not chosen:
        raise UsageError(
            "the backbone has neither linear layers nor ungrouped convolutions for LoRA updates",
            where="strategy.name",
            remedy="choose another backbone or another strategy",
        )
    names = []
    for below, module in chosen.items():
        name = f"backbone.{below}"
        weight = cast(Tensor, module.weight)
        update = _LowRank(weight, rank, alpha / rank, seed_of(seed, name), tuple(module._parameters))
        parametrize.register_parametrization(module, "weight", update)
        names.append(name)
    return names


def _chosen(backbone: nn.Module) -> dict[str, nn.Module]:
    modules = dict(backbone.named_modules())
    attentions = [name for name, module in modules.items() if _attends(module)]
    # of nested blocks the innermost: a block named attention can contain a perceptron
    innermost = [
        f"{name}." for name in attentions if not any(each.startswith(f"{name}.") for each in attentions)
    ]

    def takes(name: str, module: nn.Module) -> bool:
        if isinstance(module, nn.Linear):
            return not innermost or name.startswith(tuple(innermost))
        return isinstance(module, _ConvNd) and not module.transposed and module.groups == 1

    return {name: module for name, module in modules.items() if takes(name, module)}


def _attends(module: nn.Module) -> bool:
    """Whether a module is an attention: by its class, or by the layers that it projects with."""
    kind = type(module).__name__.lower()
    named = "attention" in kind or "attn" in kind
    projects = any(name in ("qkv", "kv", "q", "q_proj") for name, _ in module.named_children())
    return (named or projects) and any(isinstance(each, nn.Linear) for each in module.modules())


def is_adapter(parameter_name: str) -> bool:
    """Whether a parameter, by its name in a network, is part of a LoRA update."""
    return ".parametrizations.weight." in parameter_name and parameter_name.endswith(_FACTORS)


def adapter_parameters(network: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters of all updates by their names in `network`."""
    return {name: each for name, each in network.named_parameters() if is_adapter(name)}


def merge(network: nn.Module) -> None:
    """Add all updates to their weights, in place, and take them off: names, order and layout are as before `insert`.

    What a parameter is stays: an optimiser that holds it still does. A network without updates is left alone.
    """
    for module, update in _adapted(network).values():
        held = cast(Any, module.parametrizations).weight
        with torch.no_grad():
            held.original.copy_(held())  # copied, so that the memory layout is kept
        # torch's remove_parametrizations would take the weight from deep copies too, which share the class
        module.__class__ = parametrize.type_before_parametrizations(module)
        del module.parametrizations
        module.register_parameter("weight", held.original)
        module._parameters = {name: module._parameters[name] for name in update.order}


def merged_state(network: nn.Module) -> dict[str, Tensor]:
    """The `state_dict` that `merge` would leave, in that order; the network is not touched.

    Tensors without an update are the network's own, as in its `state_dict`.
    """
    adapted, state = _adapted(network), network.state_dict()
    found: dict[str, Tensor] = {}
    for key, tensor in state.items():
        owner, parametrized, _ = key.partition(".parametrizations.")
        owner = owner if parametrized else key.rpartition(".")[0]
        if owner not in adapted:
            found[key] = tensor
        elif f"{owner}.weight" not in found:  # the first of its tensors
            module, update = adapted[owner]
            for name in update.order:
                if name == "weight":
                    found[f"{owner}.weight"] = _weight(module)
                elif f"{owner}.{name}" in state:
                    found[f"{owner}.{name}"] = state[f"{owner}.{name}"]
        if not parametrized:
            found.setdefault(key, tensor)
    return found


def _weight(module: nn.Module) -> Tensor:
    """The weight with its update, in the layout of the weight; computed again even if parametrizations are cached."""
    held = cast(Any, module.parametrizations).weight
    with torch.no_grad():
        weight: Tensor = torch.empty_like(held.original).copy_(held())
    return weight


def _adapted(network: nn.Module) -> dict[str, tuple[nn.Module, _LowRank]]:
    """The modules whose weight has an update, by name, each with it."""
    found = {}
    for name, module in network.named_modules():
        if parametrize.is_parametrized(module, "weight"):
            last = list(cast(Any, module.parametrizations).weight)[-1]
            if isinstance(last, _LowRank):
                found[name] = (module, last)
    return found
