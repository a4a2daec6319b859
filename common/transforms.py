"""A picture to the network's input (preprocessing), and the seeded changes made to it in training (augmentation).

Preprocessing is a value that is stored with the run, so that whoever uses the network later feeds it the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image as PillowImage

from graftwork.common.images import Picture, to_float

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graftwork.common.recipe.sections import AugmentationSection

__all__ = ["Augment", "Preprocessing", "augmenter"]

# (picture [H, W, C] float32 in 0..1, seed) -> the same shape and range
Augment = Callable[["NDArray[np.float32]", int], "NDArray[np.float32]"]

_RESAMPLING = {
    "bilinear": PillowImage.Resampling.BILINEAR,
    "bicubic": PillowImage.Resampling.BICUBIC,
    "area": PillowImage.Resampling.BOX,
}


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the network's input.

    Attributes:
        size: side of the square input, px.
        fit: `squash` (aspect ratio given up), `pad` (kept, black bars) or `crop` (kept, centre).
        interpolation: `bilinear`, `bicubic` or `area`; all antialiased, as Pillow does them.
        mean, std: of each channel, for values in 0..1.
    """

    size: int
    fit: Literal["squash", "pad", "crop"]
    interpolation: Literal["bilinear", "bicubic", "area"]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """The values as JSON-like types."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Preprocessing:
        """The inverse of `to_json`."""
        return cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})

    @property
    def cover(self) -> int:
        """The shorter side that a draft decoding must keep, px: twice the input, which costs half a grey level."""
        return 2 * self.size

    def fitted(self, picture: Picture) -> NDArray[np.float32]:
        """The picture at the input's size: [size, size, C] float32 in 0..1, C as in the picture."""
        size = self.size
        channels = picture.pixels.shape[2]
        pixels = picture.pixels if picture.pixels.dtype == np.uint8 else to_float(picture, channels)
        height, width = pixels.shape[:2]
        if self.fit == "squash":
            return _unit(_resize(pixels, size, size, self.interpolation))
        scale = (min if self.fit == "pad" else max)(size / height, size / width)
        inner = max(1, round(height * scale)), max(1, round(width * scale))
        resized = _unit(_resize(pixels, *inner, self.interpolation))
        top, left = (size - inner[0]) // 2, (size - inner[1]) // 2
        if self.fit == "crop":
            return resized[-top : size - top, -left : size - left]
        canvas = np.zeros((size, size, channels), np.float32)
        canvas[top : top + inner[0], left : left + inner[1]] = resized
        return canvas

    def normalised(self, fitted: NDArray[np.float32]) -> NDArray[np.float32]:
        """[size, size, 1 or 3] in 0..1 to the network's input [3, size, size]; grey is repeated."""
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        inputs: NDArray[np.float32] = ((fitted - mean) / std).transpose(2, 0, 1)
        return inputs

    def __call__(self, picture: Picture) -> NDArray[np.float32]:
        """Picture to the network's input: float32 [3, size, size], normalised."""
        return self.normalised(self.fitted(picture))


def _unit(pixels: NDArray[Any]) -> NDArray[np.float32]:
    if pixels.dtype == np.uint8:
        return pixels.astype(np.float32) / np.float32(255)
    clipped: NDArray[np.float32] = np.clip(pixels, 0, 1, dtype=np.float32)  # bicubic overshoots
    return clipped


def _resize(pixels: NDArray[Any], height: int, width: int, interpolation: str) -> NDArray[Any]:
    if pixels.shape[:2] == (height, width):
        return pixels
    kernel = _RESAMPLING[interpolation]
    if pixels.dtype == np.uint8:
        flat = pixels[..., 0] if pixels.shape[2] == 1 else pixels
        resized = np.asarray(PillowImage.fromarray(flat).resize((width, height), kernel))
        return resized.reshape(height, width, pixels.shape[2])
    planes = (PillowImage.fromarray(pixels[..., channel]) for channel in range(pixels.shape[2]))
    return np.stack([np.asarray(plane.resize((width, height), kernel)) for plane in planes], axis=2)


def augmenter(wish: AugmentationSection) -> Augment | None:
    """The augmentation that a recipe asks for, or None where it asks for nothing.

    Each call is seeded by its caller, so a picture's change depends on (seed, epoch, index) and never on the worker.
    """
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # else its import asks the network for its version
    steps: list[Any] = []
    if not any(wish.model_dump().values()):
        return None
    import albumentations as A

    if wish.horizontal_flip:
        steps.append(A.HorizontalFlip(p=wish.horizontal_flip))
    if wish.vertical_flip:
        steps.append(A.VerticalFlip(p=wish.vertical_flip))
    if wish.rotation or wish.zoom or wish.shift:
        steps.append(
            A.Affine(
                rotate=(-wish.rotation, wish.rotation),
                scale=(1 - wish.zoom, 1 + wish.zoom),
                translate_percent=(-wish.shift, wish.shift),
                balanced_scale=False,
                p=1.0,
            )
        )
    if wish.brightness or wish.contrast:
        steps.append(
            A.RandomBrightnessContrast(
                brightness_limit=(-wish.brightness, wish.brightness),
                contrast_limit=(-wish.contrast, wish.contrast),
                p=1.0,
            )
        )
    return _Augmenter(steps)


class _Augmenter:
    """A pipeline of albumentations, seeded for each picture; picklable, so that workers may be spawned."""

    def __init__(self, steps: Sequence[Any]) -> None:
        import albumentations as A

        self.pipeline = A.Compose(list(steps))

    def __call__(self, picture: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
        self.pipeline.set_random_seed(seed % 2**32)
        changed: NDArray[np.float32] = self.pipeline(image=np.ascontiguousarray(picture))["image"]
        return np.clip(changed.reshape(picture.shape), 0, 1)
