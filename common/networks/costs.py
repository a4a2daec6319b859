"""What a network costs, stage by stage: parameters, and multiply-adds of one image."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from graftwork.common.networks.backbones import Backbone, meta_copy


def parameters(backbone: Backbone) -> dict[str, int]:
    """Number of parameters by stage."""
    sizes = {name: tensor.numel() for name, tensor in backbone.named_parameters()}
    return {stage.name: sum(sizes[name] for name in stage.parameters) for stage in backbone.stages}


def multiply_adds(backbone: Backbone, size: int) -> dict[str, int]:
    """Multiply-adds of one image by stage, as torch counts those of convolutions, matrix products and attention.

    Additions of norms, activations and pooling are not counted, as usual. Nothing is computed: the network runs on
    torch's meta device.

    Args:
        size: side of the image, px.
    """
    ghost = meta_copy(backbone)
    stages = {
        tensor: stage.name for stage in backbone.stages for tensor in (*stage.parameters, *stage.buffers)
    }
    owner: dict[str, str] = {}
    for name, module in ghost.named_modules():
        inside = {stages[key] for key, _ in _tensors(module, name)}
        if len(inside) == 1:
            owner[name] = inside.pop()
    images = torch.empty(1, len(backbone.mean), size, size, device="meta")
    with torch.no_grad(), contextlib.ExitStack() as stack:
        counter = stack.enter_context(FlopCounterMode(display=False))
        ghost(images)
    counts: dict[str, Any] = {name: sum(each.values()) for name, each in counter.get_flop_counts().items()}
    found = dict.fromkeys((stage.name for stage in backbone.stages), 0)
    outer = type(ghost).__name__
    for name, stage in owner.items():
        above = name.rpartition(".")[0]
        if owner.get(above) != stage:  # the outermost module of a stage; those within it are in its count
            found[stage] += counts.get(f"{outer}.{name}" if name else outer, 0) // 2
    whole = counts.get("Global", 0) // 2
    last = backbone.stages[-1].name
    found[last] += whole - sum(found.values())  # what stands outside of all modules, as products of positions
    return found


def _tensors(module: torch.nn.Module, name: str) -> list[tuple[str, torch.Tensor]]:
    prefix = f"{name}." if name else ""
    every = [*module.named_parameters(), *module.named_buffers()]
    return [(f"{prefix}{key}", value) for key, value in every]
