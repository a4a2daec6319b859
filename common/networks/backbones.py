"""One surface over every family of networks: images in, pooled features out, ordered stages.

The networks are timm's (and torchvision's SqueezeNet, which timm does not have). Ours are the names and the
order of the stages, the seeded initialisation, and loading that is strict and says everything that is wrong.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, cast

import timm
import timm.layers
import torch
from timm.layers import norm
from timm.layers.grn import GlobalResponseNorm
from timm.models import adapt_input_conv
from torch import Tensor, nn

from graftwork.common.errors import UsageError, WeightsError
from graftwork.common.networks.architectures import SQUEEZENET, architecture_of, describe
from graftwork.common.networks.stages import stages_of
from graftwork.common.networks.weights import Weights
from graftwork.common.wording import fault_lines

# timm's own norm layers, which are not subclasses of torch's
NORM_LAYERS: tuple[type[nn.Module], ...] = (
    *(
        getattr(norm, f"{kind}Norm{form}")
        for kind in ("Rms", "Simple")
        for form in ("", "2d", "Fp32", "2dFp32")
    ),
    *(getattr(timm.layers, f"EvoNorm2d{kind}") for kind in ("B0", "B1", "B2", "S0", "S1", "S2")),
    *(getattr(timm.layers, f"FilterResponseNorm{kind}2d") for kind in ("Act", "Tlu")),
    timm.layers.norm_act.FrozenBatchNormAct2d,
    GlobalResponseNorm,
)
LEAST = 16  # px, the smallest side that a recipe may ask for


class Backbone(nn.Module):
    """A network without its classifier.

    Attributes:
        name: timm's name of the architecture.
        width: number of pooled features.
        stages: from input to output; each parameter and each buffer belongs to exactly one of them.
        mean, std: what images in 0..1 are normalised with, one number a channel of the input.
        input_size: side in px of the square images that the network was made for.
        padding: "same" where it pads as TensorFlow does, else "".
        network: the timm module.
    """

    def __init__(
        self,
        network: nn.Module,
        name: str,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        input_size: int,
        padding: str = "",
    ) -> None:
        super().__init__()
        self.network = network
        self.name = name
        self.padding = padding
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


def create_backbone(
    name: str,
    *,
    weights: Weights | None,
    seed: int,
    padding: str = "",
    channels: int = 3,
    size: int | None = None,
    drop_path: float = 0.0,
) -> Backbone:
    """A backbone with pretrained weights, or freshly initialised.

    Args:
        name: timm's name, with or without a tag.
        weights: from `load_weights`; the classifier among them is left out. None: a fresh initialisation.
        seed: of the fresh initialisation. The global generator is left as it was found, and not read.
        padding: "same" pads as TensorFlow does; "" is what the weights say, or else the architecture's own.
        channels: of the input. Pretrained weights of the first convolution are adapted as timm does: for one channel
            those of the colours are added up, for more than three they are repeated and scaled.
        size: side of the images, px; None for what the network was made for. Of networks with tables of positions
            these are resampled, as timm does.
        drop_path: probability with which the deepest residual branch is left out in training; it rises from 0.

    Raises:
        UsageError: no such architecture, or it cannot pad, take images or leave out branches as asked.
        WeightsError: the tensors do not fit; names all that are missing, unexpected or of another shape.
    """
    architecture, tag = architecture_of(name)
    padding = padding or (weights.record.padding if weights is not None else "")
    network, native = _network(architecture, tag, padding, seed, channels, size, drop_path)
    config: Mapping[str, Any] = cast(Any, network).pretrained_cfg
    made_for = int(config["input_size"][-1])
    if size not in (None, made_for) and not _takes(network, channels, size):
        raise _no_size(architecture, size, network, channels)
    mean, std = tuple(config["mean"]), tuple(config["std"])
    if weights is not None:
        _load_strictly(network, native, weights, architecture, channels)
        mean, std = weights.record.mean, weights.record.std
    mean, std = for_channels(mean, channels), for_channels(std, channels)
    return Backbone(network, architecture, mean, std, made_for, padding)


def for_channels(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """Mean or deviation of as many channels: of one the mean over the colours, which a further one has too."""
    if len(values) == channels:
        return tuple(values)
    middle = sum(values) / len(values)
    return (middle,) if channels == 1 else (*values[:channels], *[middle] * (channels - len(values)))


def meta_copy(module: nn.Module) -> nn.Module:
    """A copy in eval mode on torch's meta device, where shapes are computed and nothing else; no tensor is copied."""
    memo: dict[int, Any] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        empty = torch.empty_like(tensor, device="meta")
        memo[id(tensor)] = nn.Parameter(empty, False) if isinstance(tensor, nn.Parameter) else empty
    return copy.deepcopy(module, memo).eval()


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


def _network(
    architecture: str, tag: str, padding: str, seed: int, channels: int, size: int | None, drop_path: float
) -> tuple[nn.Module, bool]:
    """The timm module, and whether it takes images of the size that its weights were made for."""
    if padding not in ("", "same"):
        raise UsageError(f"padding is '' or 'same', not '{padding}'", where="backbone.padding")
    with seeded(seed):
        if architecture == SQUEEZENET:
            if padding:
                raise _no_padding(architecture)
            if drop_path:
                raise _no_drop_path(architecture)
            return _SqueezeNet(channels), True
        said = timm.get_pretrained_cfg(architecture, allow_unregistered=True)
        fixed = said is not None and said.fixed_input_size and said.input_size is not None
        resized = bool(fixed and size is not None and size != said.input_size[-1])  # type: ignore[union-attr]
        options: dict[str, Any] = {"pad_type": "same"} if padding else {}
        options |= {"in_chans": channels} if channels != 3 else {}
        options |= {"drop_path_rate": drop_path} if drop_path else {}
        options |= {"img_size": size} if resized else {}
        try:
            network: nn.Module = timm.create_model(
                f"{architecture}.{tag}" if tag and describe(architecture, tag) else architecture,
                pretrained=False,
                num_classes=0,
                **options,
            )
        except TypeError as error:
            if padding and "pad_type" in str(error):
                raise _no_padding(architecture) from error
            if drop_path and "drop_path" in str(error):
                raise _no_drop_path(architecture) from error
            raise
        except (AssertionError, ArithmeticError, RuntimeError, ValueError) as error:
            if resized:
                raise _no_size(architecture, cast(int, size), None, channels) from error
            raise
    return network, not resized


def _takes(network: nn.Module, channels: int, size: int) -> bool:
    """Whether images of a size go through a network; nothing is computed but shapes."""
    patch = _patch(network)
    if patch and size % patch:  # the rest of the image would be cut off, unsaid
        return False
    ghost = cast(Any, meta_copy(network))
    try:
        with torch.no_grad():
            maps = ghost.forward_features(torch.empty(2, channels, size, size, device="meta"))
            ghost.forward_head(maps, pre_logits=True)
    except (AssertionError, ArithmeticError, RuntimeError, ValueError):
        return False
    return True


def _patch(network: nn.Module | None) -> int:
    """Side of the squares into which a transformer cuts images, px; 0 of other networks."""
    patch = getattr(getattr(network, "patch_embed", None), "patch_size", None)
    return int(patch[0]) if isinstance(patch, tuple) else 0


def _no_size(architecture: str, size: int, network: nn.Module | None, channels: int) -> UsageError:
    """The error, which names the nearest sizes that were tried and found to do."""
    said = timm.get_pretrained_cfg(architecture, allow_unregistered=True)
    native = int(said.input_size[-1]) if said is not None and said.input_size else 224
    if said is not None and said.fixed_input_size:  # it is built for one size
        unit = _patch(network) or 32
        below = [each for each in range(size // unit * unit, LEAST - 1, -unit) if each < size][:3]
        above = [(size // unit + step) * unit for step in (1, 2, 3)]
        near = [
            next((each for each in tried if _can_be_built(architecture, channels, each)), None)
            for tried in (below, above)
        ]
        named = " or ".join(str(each) for each in near if each is not None)
        remedy = f"choose a multiple of {unit}, such as {named or native}; it was made for {native} px"
    else:
        least = native if network is None else _least(network, channels, size, native)
        remedy = f"choose a larger size, {least} px at least; it was made for {native} px"
    return UsageError(f"{architecture} does not take images of {size} px", where="image.size", remedy=remedy)


def _least(network: nn.Module, channels: int, small: int, large: int) -> int:
    """The smallest size that a network takes, between one that is too small and one that does."""
    while large - small > 1:
        middle = (small + large) // 2
        small, large = (small, middle) if _takes(network, channels, middle) else (middle, large)
    return large


def sizes_of(backbone: Backbone) -> str:
    """Sides of the images that an architecture can be made for, for people."""
    said = timm.get_pretrained_cfg(backbone.name, allow_unregistered=True)
    if said is not None and said.fixed_input_size:
        return f"multiples of {_patch(backbone.network) or 32} px; tables of positions are resampled"
    channels, least = len(backbone.mean), LEAST
    if not _takes(backbone.network, channels, least):
        least = _least(backbone.network, channels, least, backbone.input_size)
    return f"any from {least} px"


def _can_be_built(architecture: str, channels: int, size: int) -> bool:
    try:
        with seeded(0):
            network = timm.create_model(architecture, num_classes=0, in_chans=channels, img_size=size)
    except (AssertionError, ArithmeticError, RuntimeError, ValueError):
        return False
    return _takes(network, channels, size)


def _no_drop_path(architecture: str) -> UsageError:
    return UsageError(
        f"{architecture} has no residual branches that could be left out",
        where="backbone.drop_path",
        remedy="set it to 0",
    )


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
        "first_conv": "features.0",
        "mean": timm.data.IMAGENET_DEFAULT_MEAN,
        "std": timm.data.IMAGENET_DEFAULT_STD,
        "input_size": (3, 224, 224),
    }

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        from torchvision.models import squeezenet1_1

        self.features: Any = squeezenet1_1().features
        if channels != 3:
            first = self.features[0]
            self.features[0] = nn.Conv2d(channels, first.out_channels, first.kernel_size, first.stride)

    def forward_features(self, images: Tensor) -> Tensor:
        maps: Tensor = self.features(images)
        return maps

    def forward_head(self, maps: Tensor, pre_logits: bool = True) -> Tensor:
        return maps.mean((2, 3))

    def group_matcher(self, coarse: bool = True) -> dict[str, str]:
        return {"stem": r"^features\.0", "blocks": r"^features\.(\d+)"}


def _load_strictly(
    network: nn.Module, native: bool, weights: Weights, architecture: str, channels: int
) -> None:
    wanted = network.state_dict()
    tensors = dict(weights.tensors)
    if channels != 3:
        for conv in _names(cast(Any, network).pretrained_cfg.get("first_conv")):
            key = f"{conv}.weight"
            if key in tensors and tensors[key].ndim == 4 and tensors[key].shape[1] == 3:  # else used as it is
                tensors[key] = adapt_input_conv(channels, tensors[key])
    if not native:  # tables of positions, as timm resamples them when it loads weights of another size
        resample = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
        with suppress(KeyError, RuntimeError, ValueError):  # of another network: said below, tensor by tensor
            tensors = dict(resample(tensors, network)) if resample is not None else tensors
    said = describe(architecture)
    head = tuple(f"{classifier}." for classifier in (said.classifiers if said is not None else ()))
    given = {
        key: value for key, value in tensors.items() if key in wanted or not head or not key.startswith(head)
    }
    faults = [f"missing: {key} {list(value.shape)}" for key, value in wanted.items() if key not in given]
    faults += [f"unexpected: {key} {list(value.shape)}" for key, value in given.items() if key not in wanted]
    faults += [
        f"another shape: {key} is {list(given[key].shape)}, expected {list(value.shape)}"
        for key, value in wanted.items()
        if key in given and given[key].shape != value.shape
    ]
    if faults:
        raise WeightsError(
            f"the tensors are not those of {architecture} ({len(faults)} faults):{fault_lines(faults, 20)}",
            where=weights.record.origin,
            remedy="the file may be of another network: choose the backbone it was made for",
        )
    network.load_state_dict(given, strict=True)


def _names(value: object) -> tuple[str, ...]:
    """One name or several, as timm's descriptions have them."""
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple) else ()
