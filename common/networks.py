"""The network of a run: a backbone, a head on it, and what it must be fed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from graftwork.common.backbones import Backbone, create_backbone
from graftwork.common.errors import UsageError
from graftwork.common.heads import LinearHead
from graftwork.common.seeds import seed_of
from graftwork.common.transforms import Preprocessing
from graftwork.common.weights import WeightsRecord, load_weights

if TYPE_CHECKING:
    from graftwork.common.manifest import Target
    from graftwork.common.recipe import Recipe

__all__ = ["HEAD", "Network", "build_network", "describe"]

HEAD = "head"  # the stage above the last one of the backbone


class Network(nn.Module):
    """A backbone with a head on it.

    Attributes:
        stages: names of the backbone's stages from input to output; `HEAD` stands above them.
    """

    def __init__(self, backbone: Backbone, head: LinearHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.stages = tuple(stage.name for stage in backbone.stages)
        self._stage_of = {
            f"backbone.{tensor}": stage.name
            for stage in backbone.stages
            for tensor in (*stage.parameters, *stage.buffers)
        }
        for name, _ in reversed(
            list(self.named_modules())
        ):  # a module belongs to the stage of all its tensors
            if name and not name.startswith("head"):
                within = {stage for key, stage in self._stage_of.items() if key.startswith(f"{name}.")}
                if len(within) == 1:
                    self._stage_of[name] = within.pop()

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [B, outputs] of images [B, 3, H, W], or of kept features [B, width].

        Raises:
            UsageError: batch norm has too little to learn from.
        """
        try:
            features = inputs if inputs.ndim == 2 else self.backbone(inputs)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise UsageError(
                "batch norm cannot learn from a single picture of which one pixel is left",
                where="training.batch_size",
                remedy="use larger batches, fewer parts (training.accumulate), a larger image.size or "
                "strategy.norm=hold",
            ) from error
        logits: Tensor = self.head(features)
        return logits

    def stage_of(self, name: str) -> str:
        """The stage of a parameter, a buffer or a module by its name in this network.

        A module without tensors (dropout, drop-path) belongs to the stage around it; one that holds several
        stages, to the last.
        """
        if name.partition(".")[0] == "head":
            return HEAD
        while name and name not in self._stage_of:
            name = name.rpartition(".")[0]
        return self._stage_of.get(name, self.stages[-1])


def build_network(recipe: Recipe, target: Target) -> tuple[Network, Preprocessing, WeightsRecord | None]:
    """The network that a recipe asks for, before training; the preprocessing that its weights need; their record.

    `scratch` takes no pretrained weights: initialisation is seeded by the recipe, and the record is None.

    Raises:
        WeightsError: the weights are not to be had as the recipe allows.
        UsageError: no such backbone, or it does not take pictures of this size.
    """
    asked = recipe.backbone
    weights = None
    if recipe.strategy.name != "scratch":
        weights = load_weights(
            asked.name,
            sources=asked.weights,
            file=asked.file,
            offline=recipe.offline,
            mean=asked.mean,
            std=asked.std,
            padding=asked.padding,
        )
    backbone = create_backbone(
        asked.name, weights=weights, seed=seed_of(recipe.seed, "backbone"), padding=asked.padding
    )
    head = LinearHead(
        backbone.width, len(target.classes), recipe.training.dropout, seed_of(recipe.seed, "head")
    )
    preprocessing = Preprocessing(
        recipe.image.size,
        recipe.image.fit,
        recipe.image.interpolation,
        tuple(asked.mean or backbone.mean),
        tuple(asked.std or backbone.std),
    )
    network = Network(backbone, head).to(memory_format=torch.channels_last)
    return network, preprocessing, None if weights is None else weights.record


def describe(
    network: Network, preprocessing: Preprocessing, record: WeightsRecord | None, target: Target
) -> dict[str, Any]:
    """What must travel with the tensors of a network, as JSON: what it is, what it is fed, what its outputs mean."""
    sizes = dict.fromkeys((*network.stages, HEAD), 0)
    for name, parameter in network.named_parameters():
        sizes[network.stage_of(name)] += parameter.numel()
    return {
        "backbone": network.backbone.name,
        "parameters": sum(sizes.values()),
        "stages": [{"name": name, "parameters": number} for name, number in sizes.items()],
        "kind": target.kind,
        "classes": list(target.classes),
        "preprocessing": preprocessing.to_json(),
        "weights": None if record is None else record.to_json(),
    }
