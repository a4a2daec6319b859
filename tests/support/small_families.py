"""A small member of each family of networks: the family's own code, few and narrow layers."""

from __future__ import annotations

from typing import Any

import timm
import torch

from graftwork.common.networks.backbones import Backbone, create_backbone, seeded
from graftwork.common.networks.heads import LinearHead
from graftwork.common.networks.network import Network

# family: timm's name, what makes it small, side of its images in px
FAMILIES: dict[str, tuple[str, dict[str, Any], int]] = {
    "resnet": ("test_resnet", {}, 48),
    "vgg": ("vgg11_bn", {"mlp_ratio": 0.01}, 32),
    "inception": ("inception_v3", {}, 75),
    "efficientnet": ("test_efficientnet", {}, 48),
    "densenet": ("densenet121", {"growth_rate": 8, "block_config": (2, 2, 2, 2)}, 48),
    "mobilenetv3": ("mobilenetv3_small_050", {}, 48),
    "convnext": ("test_convnext", {}, 64),
    "vit": (
        "vit_tiny_patch16_224",
        {"embed_dim": 48, "depth": 3, "num_heads": 3, "img_size": 64},
        64,
    ),
    "swin": (
        "swin_tiny_patch4_window7_224",
        {
            "embed_dim": 24,
            "depths": (1, 1, 1, 1),
            "num_heads": (1, 2, 2, 2),
            "img_size": 64,
            "window_size": 2,
        },
        64,
    ),
    "dinov2": (
        "vit_small_patch14_dinov2",
        {"embed_dim": 48, "depth": 3, "num_heads": 3, "img_size": 56},
        56,
    ),
    "dinov3": (
        "vit_small_patch16_dinov3",
        {"embed_dim": 48, "depth": 3, "num_heads": 3, "img_size": 64},
        64,
    ),
    "eva02": (
        "eva02_tiny_patch14_224",
        {"embed_dim": 48, "depth": 3, "num_heads": 3, "img_size": 56},
        56,
    ),
    "maxvit": ("test_maxvit", {}, 160),
    "squeezenet": ("squeezenet1_1", {}, 64),
}
REGULARISED = {  # dropout and drop-path within the backbone, so that a test sees whether freezing switches them off
    "efficientnet": {"drop_path_rate": 0.3},
    "convnext": {"drop_path_rate": 0.3},
    "vit": {"drop_path_rate": 0.3, "proj_drop_rate": 0.3},
    "swin": {"drop_path_rate": 0.3, "proj_drop_rate": 0.3},
    "dinov2": {"drop_path_rate": 0.3, "proj_drop_rate": 0.3, "attn_drop_rate": 0.3},
    "eva02": {"drop_path_rate": 0.3, "proj_drop_rate": 0.3},
    "resnet": {"drop_path_rate": 0.3},
    "densenet": {"drop_rate": 0.3},
}


def small_backbone(family: str, seed: int = 0) -> Backbone:
    """The family's small member with random weights."""
    name, options, size = FAMILIES[family]
    if name == "squeezenet1_1":
        return create_backbone(name, weights=None, seed=seed)
    with seeded(seed):
        network = timm.create_model(name, num_classes=0, **options, **REGULARISED.get(family, {}))
    with torch.no_grad():  # branches that begin as nearly nothing hand no gradient down
        for key, value in network.named_parameters():
            if key.endswith(".gamma") or (key.endswith(".weight") and not value.any()):
                value.fill_(1.0)
    half = (0.5, 0.5, 0.5)
    return Backbone(network, name, half, half, size)


def small_network(family: str, outputs: int = 2, seed: int = 0) -> Network:
    """The same with a head that drops half of its features."""
    backbone = small_backbone(family, seed)
    return Network(backbone, LinearHead(backbone.width, outputs, dropout=0.5, seed=seed))
