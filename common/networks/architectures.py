"""Names of networks: which exist, and what timm says about the pretrained weights that go with a name."""

from __future__ import annotations

import csv
import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from graftwork.common.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor


SQUEEZENET = "squeezenet1_1"  # of torchvision; timm has none

# What `ls backbones` lists, by family; every other network of timm can be named in a recipe as well.
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "ResNet": ("resnet18", "resnet50", "resnet101"),
    "VGG": ("vgg16", "vgg16_bn", "vgg19", "vgg19_bn"),
    "Inception": ("inception_v3",),
    "DenseNet": ("densenet121", "densenet169", "densenet201"),
    "EfficientNet": tuple(f"efficientnet_b{each}" for each in range(5)),
    "EfficientNet-Lite": tuple(f"tf_efficientnet_lite{each}" for each in range(3)),
    "MobileNetV2": ("mobilenetv2_100",),
    "MobileNetV3": ("mobilenetv3_small_100", "mobilenetv3_large_100"),
    "SqueezeNet": (SQUEEZENET,),
    "ConvNeXt": ("convnext_tiny", "convnext_small", "convnext_base"),
    "ViT": ("vit_tiny_patch16_224", "vit_small_patch16_224", "vit_base_patch16_224"),
    "DINOv2": ("vit_small_patch14_dinov2", "vit_base_patch14_dinov2"),
    "DINOv3": ("vit_small_patch16_dinov3", "vit_base_patch16_dinov3"),
    "EVA-02": ("eva02_tiny_patch14_224", "eva02_small_patch14_224"),
    "Swin": ("swin_tiny_patch4_window7_224", "swin_small_patch4_window7_224"),
    "MaxViT": ("maxvit_tiny_rw_224", "maxvit_rmlp_pico_rw_256"),
}


@dataclass(frozen=True)
class Description:
    """What timm says about a network with pretrained weights.

    Attributes:
        tag: of the weights; "" where they have none.
        repository: on the Hugging Face hub, as `owner/name` or `owner/name@revision`; "" where there is none.
        filename: in the repository; "" for the usual one.
        licence: as the publisher says; "" where nobody said.
        mean, std: of the normalisation of images in 0..1.
        classifiers: names of the modules that make classes of features.
    """

    tag: str
    repository: str
    filename: str
    licence: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classifiers: tuple[str, ...]


@dataclass(frozen=True)
class Figures:
    """What is known about a member of a family without building it.

    Attributes:
        name, family: timm's name, and the family's.
        parameters, multiply_adds: of the network without a classifier; of one image of `size` px.
        size: side of the images that it was made for, px.
        width: number of pooled features.
        stages: how many it has.
        licence: of the usual weights, as their publisher says; "" where nobody said.
        repository: on the Hugging Face hub, of the usual weights; "" where there is none.
    """

    name: str
    family: str
    parameters: int
    multiply_adds: int
    size: int
    width: int
    stages: int
    licence: str
    repository: str


def figures() -> tuple[Figures, ...]:
    """The members of all families, from the table that docs/backbones.py writes; nothing is built."""
    text = (files("graftwork.common.networks") / "families.csv").read_text("utf-8")
    numbers = ("parameters", "multiply_adds", "size", "width", "stages")
    return tuple(
        Figures(**{key: int(value) if key in numbers else value for key, value in row.items()})  # type: ignore[arg-type]
        for row in csv.DictReader(text.splitlines())
    )


def architecture_of(name: str) -> tuple[str, str]:
    """Architecture and tag of a name: `resnet18.a1_in1k` is `("resnet18", "a1_in1k")`; the tag may be "".

    Raises:
        UsageError: unknown architecture (similar names are listed), or a tag with characters other than letters,
            digits, `_`, `-` and dots.
    """
    import timm

    architecture, _, tag = name.partition(".")
    if not re.fullmatch(r"[\w.-]*", tag):
        raise UsageError(f"'{tag}' is no tag of weights", where="backbone.name")
    if architecture == SQUEEZENET or timm.is_model(architecture):
        return architecture, tag
    near = difflib.get_close_matches(architecture.lower(), [*timm.list_models(), SQUEEZENET], n=3, cutoff=0.5)
    raise UsageError(
        f"no backbone has the name '{name}'",
        where="backbone.name",
        remedy=f"the nearest names are {', '.join(near)}"
        if near
        else "take one of those that timm.list_models() lists",
    )


def describe(architecture: str, tag: str = "") -> Description | None:
    """timm's description of a tag, or of the usual one; None where there is none (a local file's tag)."""
    import timm

    if architecture == SQUEEZENET:
        mean, std = timm.data.IMAGENET_DEFAULT_MEAN, timm.data.IMAGENET_DEFAULT_STD
        return None if tag else Description("", "", "", "", mean, std, ("classifier",))
    try:
        said: Any = timm.get_pretrained_cfg(f"{architecture}.{tag}" if tag else architecture, False)
    except RuntimeError:  # no such tag
        return None
    if said is None:
        return None
    classifiers = (said.classifier,) if isinstance(said.classifier, str) else tuple(said.classifier or ())
    return Description(
        tag=str(said.tag or tag),
        repository=str(said.hf_hub_id or ""),
        filename=str(said.hf_hub_filename or ""),
        licence=str(said.license or ""),
        mean=tuple(said.mean),
        std=tuple(said.std),
        classifiers=classifiers,
    )


def classes_of(architecture: str, tensors: Mapping[str, Tensor]) -> int:
    """Number of classes of the classifier among the tensors of a whole network; 0 where it holds none."""
    said = describe(architecture)
    for classifier in said.classifiers if said is not None else ():
        for key, value in tensors.items():
            if key.startswith(f"{classifier}.") and value.ndim > 1:
                return int(value.shape[0])
    return 0
