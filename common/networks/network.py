"""The network of a run: a backbone with a head or decoder, and its preprocessing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import torch
from torch import Tensor

from graftwork.common.data.targets import Target
from graftwork.common.errors import RunError, UsageError
from graftwork.common.files.untrusted_files import interpreting
from graftwork.common.loading.target_encoding import outputs
from graftwork.common.loading.transforms import Preprocessing, VolumePreprocessing, preprocessing_from
from graftwork.common.networks import lora
from graftwork.common.networks.backbones import Backbone, create_backbone, for_channels
from graftwork.common.networks.cutting import Cut
from graftwork.common.networks.heads import LinearHead
from graftwork.common.networks.input_checks import normalisation_fault
from graftwork.common.networks.stages import HEAD, Staged
from graftwork.common.networks.unets import UNET3D, Segmenter, VolumeSegmenter
from graftwork.common.networks.weights import Weights, WeightsRecord, load_weights
from graftwork.common.recipe.strategy import STRATEGIES
from graftwork.common.seeds import seed_of

if TYPE_CHECKING:
    from graftwork.common.recipe import Recipe


class Network(Staged):
    """A backbone with a head on it: images in, logits out.

    Attributes:
        stages: names of the backbone's stages from input to output; `HEAD` comes after them.
    """

    def __init__(self, backbone: Backbone, head: LinearHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.lay_out(backbone.stages)
        self._entry: list[
            Cut
        ] = []  # in a list, so that what the cut shares with the backbone is not held twice

    def enter(self, behind: Cut | None) -> None:
        """Take what the first stages of the backbone put out for input from now on; None: images again."""
        self._entry = [] if behind is None else [behind]

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [B, outputs] of images [B, C, H, W], of cached features [B, width], or of the input set by `enter`.

        Raises:
            UsageError: batch norm has too little to learn from.
        """
        try:
            if inputs.ndim == 2:
                features = inputs
            elif self._entry:
                features = self._entry[0].suffix(inputs)
            else:
                features = self.backbone(inputs)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise UsageError(
                "batch norm cannot learn from a single image of which one pixel is left",
                where="training.batch_size",
                remedy="use larger batches, fewer parts (training.accumulation_steps), a larger image.size or "
                "strategy.norm=hold",
            ) from error
        logits: Tensor = self.head(features)
        return logits


AnyNetwork: TypeAlias = Network | Segmenter | VolumeSegmenter
AnyPreprocessing: TypeAlias = Preprocessing | VolumePreprocessing


class _Trained(Protocol):
    """Of a run, what its network is made of again."""

    @property
    def recipe(self) -> Recipe: ...
    @property
    def network(self) -> dict[str, Any]: ...
    @property
    def folder(self) -> object: ...
    def saved(self, which: str) -> tuple[Mapping[str, Tensor], Any, Any] | None: ...


def build_network(
    recipe: Recipe, targets: Sequence[Target]
) -> tuple[AnyNetwork, AnyPreprocessing, WeightsRecord | None]:
    """The network that a recipe asks for, before training; the preprocessing that it needs; its weights' record.

    A segmentation gets a decoder on the backbone, or the network for volumes; every other target, or several of
    them, a head. `scratch` takes no pretrained weights: initialisation is seeded by the recipe, and the record is
    None.

    Raises:
        WeightsError: the weights are not available as the recipe allows.
        UsageError: no such backbone, or it cannot do what is asked of it.
    """
    asked = recipe.backbone
    strategy = STRATEGIES[recipe.strategy.name]
    weights = None
    if strategy.pretrained:
        weights = load_weights(
            asked.name,
            sources=asked.weights,
            file=asked.file,
            offline=recipe.offline,
            mean=asked.mean,
            std=asked.std,
            padding=asked.padding,
        )
    fault = "" if weights is None else normalisation_fault(asked.mean, asked.std, weights.record)
    if fault:
        raise UsageError(
            fault,
            where="backbone.mean",
            remedy="leave backbone.mean and backbone.std out, or correct the card",
        )
    network = _laid_out(recipe, targets, weights, asked.padding)
    record = None if weights is None else weights.record
    if strategy.lora:
        lora.insert(
            network, recipe.strategy.lora_rank, recipe.strategy.lora_alpha, seed_of(recipe.seed, "adapters")
        )
    if isinstance(network, VolumeSegmenter):
        x, y, z = recipe.volume.patch_size
        return network, VolumePreprocessing((x, y, z), recipe.volume.patch_overlap), record
    preprocessing = Preprocessing(
        recipe.image.size,
        recipe.image.fit,
        recipe.image.interpolation,
        for_channels(asked.mean or network.backbone.mean, asked.channels),
        for_channels(asked.std or network.backbone.std, asked.channels),
    )
    return network, preprocessing, record


def _laid_out(recipe: Recipe, targets: Sequence[Target], weights: Weights | None, padding: str) -> AnyNetwork:
    """The network with the given weights, or with fresh ones."""
    asked, dropout = recipe.backbone, recipe.training.dropout
    segmentation = any(target.kind == "segmentation" for target in targets)
    if segmentation and len(targets) > 1:
        raise UsageError(
            "a segmentation network has no other targets", where=", ".join(target.name for target in targets)
        )
    if asked.name == UNET3D:
        if not segmentation:
            raise UsageError(f"{UNET3D} segments volumes and cannot classify", where="backbone.name")
        seed = seed_of(recipe.seed, "backbone")
        return VolumeSegmenter(
            len(targets[0].classes), recipe.decoder.width, recipe.volume.patch_size, dropout, seed
        )
    backbone = create_backbone(
        asked.name,
        weights=weights,
        seed=seed_of(recipe.seed, "backbone"),
        padding=padding,
        channels=asked.channels,
        size=recipe.image.size,
        drop_path=asked.drop_path,
    )
    seed = seed_of(recipe.seed, "head")
    network: Network | Segmenter
    if segmentation:
        network = Segmenter(backbone, len(targets[0].classes), recipe.decoder.width, dropout, seed)
    else:
        network = Network(backbone, LinearHead(backbone.width, outputs(targets), dropout, seed))
    return network.to(memory_format=torch.channels_last)


def describe(
    network: AnyNetwork,
    preprocessing: AnyPreprocessing,
    record: WeightsRecord | None,
    targets: Sequence[Target],
) -> dict[str, Any]:
    """What must travel with the tensors of a network, as JSON: what it is, what it is fed, what its outputs mean."""
    sizes = dict.fromkeys((*network.stages, HEAD), 0)
    for name, parameter in network.named_parameters():
        if not lora.is_adapter(name):  # they are merged in the end
            sizes[network.stage_of(name)] += parameter.numel()
    return {
        "backbone": network.backbone.name,
        "parameters": sum(sizes.values()),
        "stages": [{"name": name, "parameters": number} for name, number in sizes.items()],
        "kind": targets[0].kind,
        "classes": list(targets[0].classes),
        "targets": [asdict(target) for target in targets],
        "preprocessing": preprocessing.to_json(),
        "weights": None if record is None else record.to_json(),
    }


def restore_network(run: _Trained) -> tuple[AnyNetwork, AnyPreprocessing]:
    """The network of a run at its best epoch, in eval mode, and the preprocessing that it needs.

    Needs the folder of the run alone: no pretrained weights are looked for.

    Raises:
        RunError: the run has no best epoch yet, or it is damaged.
    """
    saved = run.saved("best")
    if saved is None:
        raise RunError(
            "its network is not there yet",
            where=run.folder,
            remedy=f"resume with: graftwork resume {run.folder}",
        )
    with interpreting(run.folder, RunError):
        about = run.network
        targets = [Target(**each) for each in about["targets"]]
        padding = run.recipe.backbone.padding or (about["weights"] or {}).get("padding", "")
        network = _laid_out(run.recipe, targets, None, padding)
        network.load_state_dict(saved[0], strict=True)
        return network.eval(), preprocessing_from(about["preprocessing"])
