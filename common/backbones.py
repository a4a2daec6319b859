"""One surface over every family of networks: images in, pooled features out, ordered stages.

The networks are timm's (and torchvision's SqueezeNet, which timm does not have). Ours are the names and the
order of the stages, the seeded initialisation, and loading that is strict and says everything that is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import timm
import torch
from timm.models._manipulate import MATCH_PREV_GROUP, group_with_matcher
from torch import Tensor, nn

from graftwork.common.architectures import SQUEEZENET, architecture_of, describe
from graftwork.common.errors import UsageError, WeightsError
from graftwork.common.weights import Weights

__all__ = ["HEAD", "Backbone", "Stage", "Staged", "create_backbone", "seeded", "stages_of"]

HEAD = "head"  # the stage above the last one of a backbone

_Matcher = dict[str, Any] | Callable[[str], Any]


@dataclass(frozen=True)
class Stage:
    """A part of a backbone that is frozen or opened as one.

    Attributes:
        name: stable and readable, the path of its first module: `stem`, `blocks.0`, `layer4`, `conv_head`.
        parameters, buffers: names inside the backbone module, as its `named_parameters` and `named_buffers`
            give them.
    """

    name: str
    parameters: tuple[str, ...]
    buffers: tuple[str, ...]


class Staged(nn.Module):
    """A network of which each tensor belongs to a stage: those of its backbone, and `HEAD` for all that stands on it.

    Attributes:
        stages: names of the backbone's stages from input to output; `HEAD` stands above them.
    """

    stages: tuple[str, ...]

    def lay_out(self, stages: Iterable[Stage], below: str = "backbone") -> None:
        """Take note of the stages of the module called `below`; to be called once, when all modules are there."""
        self.stages = tuple(stage.name for stage in stages)
        self._below = below
        self._stage_of = {
            f"{below}.{tensor}": stage.name
            for stage in stages
            for tensor in (*stage.parameters, *stage.buffers)
        }
        for name, _ in reversed(
            list(self.named_modules())
        ):  # a module belongs to the stage of all its tensors
            if name.partition(".")[0] == below:
                within = {stage for key, stage in self._stage_of.items() if key.startswith(f"{name}.")}
                if len(within) == 1:
                    self._stage_of[name] = within.pop()

    def stage_of(self, name: str) -> str:
        """The stage of a parameter, a buffer or a module by its name in this network.

        A module without tensors (dropout, drop-path) belongs to the stage around it; one that holds several
        stages, to the last.
        """
        if name and name.partition(".")[0] != self._below:
            return HEAD
        while name and name not in self._stage_of:
            name = name.rpartition(".")[0]
        return self._stage_of.get(name, self.stages[-1])


class Backbone(nn.Module):
    """A network without its classifier.

    Attributes:
        name: timm's name of the architecture.
        width: number of pooled features.
        stages: from input to output; each parameter and each buffer belongs to exactly one of them.
        mean, std: what images in 0..1 are normalised with, one number a channel.
        input_size: side in px of the square images that the network was made for.
        network: the timm module.
    """

    def __init__(
        self, network: nn.Module, name: str, mean: tuple[float, ...], std: tuple[float, ...], input_size: int
    ) -> None:
        super().__init__()
        self.network = network
        self.name = name
        self.width = int(getattr(network, "head_hidden_size", None) or cast(int, network.num_features))
        self.mean = mean
        self.std = std
        self.input_size = input_size
        self.stages = stages_of(network)

    def forward(self, images: Tensor) -> Tensor:
        """Pooled features [B, width] of normalised images [B, 3, H, W]."""
        return self.pooled(self.maps(images))

    def maps(self, images: Tensor) -> Tensor:
        """What the last stage puts out before pooling: [B, C, h, w] of a convolutional network.

        Some transformers put out tokens [B, n, C] or channels last [B, h, w, C]; `grid` brings these to one
        layout.
        """
        maps: Tensor = cast(Any, self.network).forward_features(images)
        return maps

    def pooled(self, maps: Tensor) -> Tensor:
        """Pooled features [B, width] of what `maps` returned: `pooled(maps(x))` is `forward(x)`."""
        features: Tensor = cast(Any, self.network).forward_head(maps, pre_logits=True)
        return features

    def grid(self, maps: Tensor) -> Tensor:
        """What `maps` returned (or a gradient of that shape) laid out as [B, C, h, w]; class tokens left out.

        Raises:
            UsageError: the tokens do not form a square.
        """
        if maps.ndim == 4:
            channels_last = getattr(self.network, "output_fmt", "NCHW") in ("NHWC", "Format.NHWC")
            return maps.permute(0, 3, 1, 2) if channels_last else maps
        tokens = maps[:, int(getattr(self.network, "num_prefix_tokens", 0)) :]
        side = round(tokens.shape[1] ** 0.5)
        if side * side != tokens.shape[1]:
            raise UsageError(f"{tokens.shape[1]} tokens do not form a square map", where=self.name)
        return tokens.transpose(1, 2).reshape(maps.shape[0], -1, side, side)


def create_backbone(name: str, *, weights: Weights | None, seed: int, padding: str = "") -> Backbone:
    """A backbone with pretrained weights, or freshly initialised.

    Args:
        name: timm's name, with or without a tag.
        weights: from `load_weights`; the classifier among them is left out. None: a fresh initialisation.
        seed: of the fresh initialisation. The global generator is left as it was found, and not read.
        padding: "same" pads as TensorFlow does; "" is what the weights say, or else the architecture's own.

    Raises:
        UsageError: no such architecture, or it cannot pad as asked.
        WeightsError: the tensors do not fit; names all that are missing, unexpected or of another shape.
    """
    architecture, tag = architecture_of(name)
    padding = padding or (weights.record.padding if weights is not None else "")
    network = _network(architecture, tag, padding, seed)
    config: Mapping[str, Any] = cast(Any, network).pretrained_cfg
    mean, std = tuple(config["mean"]), tuple(config["std"])
    if weights is not None:
        _load_strictly(network, weights, architecture)
        mean, std = weights.record.mean, weights.record.std
    return Backbone(network, architecture, mean, std, int(config["input_size"][-1]))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Initialise on the CPU from `seed`; its global generator is put back as it was, others are untouched."""
    state = torch.get_rng_state()
    try:
        torch.default_generator.manual_seed(seed)
        with torch.device("cpu"):
            yield
    finally:
        torch.set_rng_state(state)


def _network(architecture: str, tag: str, padding: str, seed: int) -> nn.Module:
    if padding not in ("", "same"):
        raise UsageError(f"padding is '' or 'same', not '{padding}'", where="backbone.padding")
    with seeded(seed):
        if architecture == SQUEEZENET:
            if padding:
                raise _no_padding(architecture)
            return _SqueezeNet()
        options: dict[str, Any] = {"pad_type": "same"} if padding else {}
        try:
            network: nn.Module = timm.create_model(
                f"{architecture}.{tag}" if tag and describe(architecture, tag) else architecture,
                pretrained=False,
                num_classes=0,
                **options,
            )
        except TypeError as error:
            if not padding or "pad_type" not in str(error):
                raise
            raise _no_padding(architecture) from error
    return network


def _no_padding(architecture: str) -> UsageError:
    return UsageError(
        f"{architecture} cannot pad as TensorFlow does",
        where="backbone.padding",
        remedy="leave padding empty; 'same' is for the EfficientNet and MobileNet families",
    )


class _SqueezeNet(nn.Module):
    """torchvision's SqueezeNet 1.1 with timm's surface; timm has none."""

    num_features = 512
    pretrained_cfg: Mapping[str, Any] = {
        "mean": timm.data.IMAGENET_DEFAULT_MEAN,
        "std": timm.data.IMAGENET_DEFAULT_STD,
        "input_size": (3, 224, 224),
    }

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import squeezenet1_1

        self.features: nn.Module = squeezenet1_1().features

    def forward_features(self, images: Tensor) -> Tensor:
        maps: Tensor = self.features(images)
        return maps

    def forward_head(self, maps: Tensor, pre_logits: bool = True) -> Tensor:
        return maps.mean((2, 3))

    def group_matcher(self, coarse: bool = True) -> dict[str, str]:
        return {"stem": r"^features\.0", "blocks": r"^features\.(\d+)"}


def _load_strictly(network: nn.Module, weights: Weights, architecture: str) -> None:
    wanted = network.state_dict()
    said = describe(architecture)
    head = tuple(f"{classifier}." for classifier in (said.classifiers if said is not None else ()))
    given = {
        key: value
        for key, value in weights.tensors.items()
        if key in wanted or not head or not key.startswith(head)
    }
    faults = [f"missing: {key} {list(value.shape)}" for key, value in wanted.items() if key not in given]
    faults += [f"unexpected: {key} {list(value.shape)}" for key, value in given.items() if key not in wanted]
    faults += [
        f"another shape: {key} is {list(given[key].shape)}, expected {list(value.shape)}"
        for key, value in wanted.items()
        if key in given and given[key].shape != value.shape
    ]
    if faults:
        shown = "".join(f"\n  {fault}" for fault in faults[:20])
        more = f"\n  and {len(faults) - 20} more" if len(faults) > 20 else ""
        raise WeightsError(
            f"the tensors are not those of {architecture} ({len(faults)} faults):{shown}{more}",
            where=weights.record.origin,
            remedy="the file may be of another network: choose the backbone it was made for",
        )
    network.load_state_dict(given, strict=True)


def stages_of(network: nn.Module) -> tuple[Stage, ...]:
    """Group all parameters and buffers by timm's own coarse matcher, with three adjustments.

    A convolution after the blocks (`conv_head`) is a stage of its own, where timm adds it to the last block.
    A norm layer that would stand alone (the last one of DenseNet, Swin, ViT; those of VGG) belongs to the
    stage before it. Tables of positions that all blocks read belong to the stem.
    """
    parameters = dict(network.named_parameters())
    buffers = dict(network.named_buffers())
    names = [*parameters, *buffers]
    shared = [name for name in names if name.split(".")[0] in ("rope", "rel_pos_bias")]
    rest = [(name, None) for name in names if name not in shared]
    matcher = _without_merging(cast(Any, network).group_matcher(coarse=True))
    groups: list[list[str]] = []
    for _, members in sorted(group_with_matcher(iter(rest), matcher).items()):
        holds_weights = any(name in parameters and parameters[name].ndim > 1 for name in members)
        if groups and not holds_weights:
            groups[-1] += members
        else:
            groups.append(list(members))
    groups[0] += shared
    if sorted(name for group in groups for name in group) != sorted(names):
        raise RuntimeError(f"the stages of {type(network).__name__} do not hold each tensor exactly once")
    return tuple(
        Stage(
            "stem" if position == 0 else _stage_name(group, names),
            tuple(f"network.{name}" for name in group if name in parameters),
            tuple(f"network.{name}" for name in group if name in buffers),
        )
        for position, group in enumerate(groups)
    )


def _without_merging(matcher: _Matcher) -> _Matcher:
    """timm's matcher, with what it adds to the group before as a group of its own, in the same order."""
    if not isinstance(matcher, dict):
        return matcher

    def apart(rule: tuple[str, Any]) -> tuple[str, Any]:
        pattern, suffix = rule
        return pattern, (MATCH_PREV_GROUP[0] - 1,) if suffix == MATCH_PREV_GROUP else suffix

    return {
        key: [apart(rule) for rule in rules] if isinstance(rules, list | tuple) else rules
        for key, rules in matcher.items()
    }


def _stage_name(group: Iterable[str], names: Iterable[str]) -> str:
    """The shortest path of modules to the group's first tensor under which no other group's tensor lies."""
    inside = set(group)
    first = next(iter(group)).split(".")
    for depth in range(1, len(first)):
        path = ".".join(first[:depth])
        if all(name in inside for name in names if name.startswith(path + ".")):
            return path
    return ".".join(first)
