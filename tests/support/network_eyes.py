"""What a pretrained network says of an image, for tests that prove its weights by it."""

from __future__ import annotations

from typing import Any

import numpy as np
import timm
import torch
from PIL import Image

from graftwork.common.networks.weights import Weights

__all__ = ["sample", "seen", "whole_network"]


def whole_network(weights: Weights, name: str, **options: Any) -> torch.nn.Module:
    """timm's network with its classifier, all tensors loaded strictly."""
    network: torch.nn.Module = timm.create_model(name, **options)
    network.load_state_dict(weights.tensors, strict=True)
    return network.eval()


def seen(network: torch.nn.Module, picture: Image.Image, side: int, weights: Weights) -> torch.Tensor:
    """Probabilities of the classes: shorter side to 8/7 of `side`, bicubic, the centre cut out."""
    scale = round(side * 8 / 7) / min(picture.size)
    resized = picture.convert("RGB").resize(
        (round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC
    )
    left, top = (resized.width - side) // 2, (resized.height - side) // 2
    pixels = np.asarray(resized.crop((left, top, left + side, top + side)), dtype=np.float32) / 255
    normal = (pixels - np.float32(weights.record.mean)) / np.float32(weights.record.std)
    with torch.inference_mode():
        logits: torch.Tensor = network(torch.from_numpy(normal).permute(2, 0, 1)[None])
    return logits.softmax(1)[0]


def sample(name: str) -> Image.Image:
    """One of scikit-learn's two photographs, `china.jpg` or `flower.jpg`."""
    from sklearn.datasets import load_sample_image

    return Image.fromarray(load_sample_image(name))
