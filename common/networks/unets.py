"""Segmentation networks (U-Nets): a class for each pixel of an image or voxel of a volume.

An image's network is a U-Net (Ronneberger et al. 2015) whose descending half is any pretrained timm network; a
volume's is MONAI's 3-D U-Net, for which there are no pretrained weights. In both the descending half is the
backbone, with its stages, and all that ascends again belongs to the stage `HEAD`.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graftwork.common.errors import UsageError
from graftwork.common.networks.backbones import Backbone, seeded
from graftwork.common.networks.stages import Stage, Staged, stages_of

if TYPE_CHECKING:
    from monai.networks.nets.basic_unet import BasicUNet


UNET3D = "unet3d"  # the backbone's name in a recipe
WIDEST = 256  # channels of a stage of the decoder, at most
ACTIVATION = ("LeakyReLU", {"negative_slope": 0.1, "inplace": True})


class Encoder(nn.Module):
    """The inner maps of a backbone, one of each size; what no map needs (the last norm, the head) is taken off.

    Args:
        backbone: with its weights; it is changed, and of no use alone afterwards.

    Attributes:
        name, mean, std, stages: as of the backbone; `stages` of what is left.
        channels, reductions: of each map, from the largest to the smallest; a map is about the image's size
            divided by its reduction.

    Raises:
        UsageError: the network does not give its inner maps.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        network: Any = backbone.network
        if not hasattr(network, "forward_intermediates"):
            raise UsageError(
                f"{backbone.name} does not expose its feature maps, which segmentation needs",
                where="backbone.name",
                remedy="take one of timm's networks with forward_intermediates, such as tf_efficientnet_lite0, "
                "mobilenetv2_100, resnet18, densenet121, vgg11_bn, convnext_tiny or vit_small_patch16_224",
            )
        feature_stages = getattr(network.feature_info, "info", network.feature_info)
        last = {
            int(each["reduction"]): index for index, each in enumerate(feature_stages)
        }  # the deepest one of each size
        self.indices = [last[reduction] for reduction in sorted(last)]
        self.reductions = tuple(sorted(last))
        self.channels = tuple(int(feature_stages[index]["num_chs"]) for index in self.indices)
        network.prune_intermediate_layers(self.indices, prune_norm=True, prune_head=True)
        self.network = cast(nn.Module, network)
        self.name, self.mean, self.std = backbone.name, backbone.mean, backbone.std
        self.stages = stages_of(self.network)

    def forward(self, images: Tensor) -> list[Tensor]:
        """The maps [B, C, h, w] of normalised images [B, 3, H, W], from the largest to the smallest."""
        network: Any = self.network
        maps: list[Tensor] = network.forward_intermediates(
            images, indices=self.indices, intermediates_only=True, output_fmt="NCHW"
        )
        return maps


class Segmenter(Staged):
    """A U-Net on a pretrained encoder: from its smallest map upwards, each step twice as large, with the encoder's map
    of that size beside it where there is one, and the image itself beside the last.

    Args:
        backbone: see `Encoder`.
        outputs: number of classes.
        width: channels at the size of the image; each step deeper has twice as many, 256 at most.
        dropout: probability in [0, 1) with which a whole map is zeroed before the last layer.
        seed: of the decoder's initial weights; the global generator is left as it was.
    """

    def __init__(
        self, backbone: Backbone, outputs: int, width: int, dropout: float = 0.0, seed: int = 0
    ) -> None:
        from monai.networks.nets.basic_unet import TwoConv

        super().__init__()
        self.backbone = Encoder(backbone)
        sizes = dict(zip(self.backbone.reductions, self.backbone.channels, strict=True))
        deepest = max(sizes)
        self.steps = [2**power for power in range(12, -1, -1) if 2**power < deepest]  # reductions, falling
        channels, blocks = sizes[deepest], []
        with seeded(seed):
            for step in self.steps:
                skip = sizes.get(step, 0) + (3 if step == 1 else 0)
                wide = min(WIDEST, width * step)
                # batch norm: instance norm would raise the noise of an image that shows nothing to full strength
                blocks.append(TwoConv(2, channels + skip, wide, act=ACTIVATION, norm="batch", bias=False))
                channels = wide
            last = nn.Conv2d(channels, outputs, kernel_size=1)
        self.decoder = nn.ModuleList(blocks)
        self.head = nn.Sequential(nn.Dropout2d(dropout), last)
        self.lay_out(self.backbone.stages)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, classes, H, W] of normalised images [B, 3, H, W], of any H and W that the encoder takes."""
        maps = dict(zip(self.backbone.reductions, self.backbone(images), strict=True))
        height, width = images.shape[-2:]
        found = maps[max(maps)]
        for step, block in zip(self.steps, self.decoder, strict=True):
            beside = [maps[step]] if step in maps else []
            beside += [images] if step == 1 else []
            size = beside[0].shape[-2:] if beside else (-(-height // step), -(-width // step))
            found = F.interpolate(found, size=tuple(size), mode="bilinear", align_corners=False)
            found = block(torch.cat([found, *beside], dim=1))
        logits: Tensor = self.head(found)
        return logits


class _Descent(nn.Module):
    """The descending half of the 3-D U-Net, each level a stage."""

    name = UNET3D

    def __init__(self, unet: BasicUNet) -> None:
        super().__init__()
        self.levels = nn.ModuleList([unet.conv_0, unet.down_1, unet.down_2, unet.down_3, unet.down_4])
        self.stages = tuple(
            Stage(
                f"levels.{index}",
                tuple(f"levels.{index}.{name}" for name, _ in level.named_parameters()),
                tuple(f"levels.{index}.{name}" for name, _ in level.named_buffers()),
            )
            for index, level in enumerate(self.levels)
        )

    def forward(self, blocks: Tensor) -> list[Tensor]:
        maps = [blocks]
        for level in self.levels:
            maps.append(level(maps[-1]))
        return maps[1:]


class VolumeSegmenter(Staged):
    """MONAI's BasicUNet for volumes, its descending half as the backbone.

    Instance norm throughout: blocks are few in a batch, and a case does not depend on those beside it.

    Args:
        outputs: number of classes.
        width: channels of the largest maps, at both ends; the deepest have eight times as many.
        patch: sides of the blocks that it will be fed, voxels.
        dropout: probability in [0, 1) with which a whole map is zeroed before the last layer.
        seed: of the initial weights; the global generator is left as it was.

    Raises:
        UsageError: of such blocks the deepest level would see a single voxel, of which no norm can be taken.
    """

    def __init__(
        self, outputs: int, width: int, patch: Sequence[int], dropout: float = 0.0, seed: int = 0
    ) -> None:
        from monai.networks.nets.basic_unet import BasicUNet

        super().__init__()
        if max(patch) <= 16:
            raise UsageError(
                f"of a block of {' x '.join(map(str, patch))} one voxel is left at the deepest level",
                where="volume.patch_size",
                remedy="make one of its sides at least 32",
            )
        with seeded(seed), contextlib.redirect_stdout(io.StringIO()):  # it prints its features
            unet = BasicUNet(
                spatial_dims=3,
                in_channels=1,
                out_channels=outputs,
                features=(width, width, 2 * width, 4 * width, 8 * width, width),
                act=ACTIVATION,
                norm=("instance", {"affine": True}),
            )
        self.backbone = _Descent(unet)
        self.decoder = nn.ModuleList([unet.upcat_4, unet.upcat_3, unet.upcat_2, unet.upcat_1])
        self.head = nn.Sequential(nn.Dropout3d(dropout), unet.final_conv)
        self.lay_out(self.backbone.stages)

    def forward(self, blocks: Tensor) -> Tensor:
        """Logits [B, classes, X, Y, Z] of blocks [B, 1, X, Y, Z]; of [B, P, 1, X, Y, Z] those of each of P blocks."""
        if blocks.ndim == 6:
            logits = self(blocks.flatten(0, 1))
            return cast(Tensor, logits.reshape(*blocks.shape[:2], *logits.shape[1:]))
        *beside, found = self.backbone(blocks)
        for block, skip in zip(self.decoder, reversed(beside), strict=True):
            found = block(found, skip)
        return cast(Tensor, self.head(found))
