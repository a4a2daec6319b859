"""An image or a volume to the network's input (preprocessing), and the seeded changes made in training (augmentation).

Preprocessing is a value that is stored with the run, so that whoever uses the network later feeds it the same.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image as PillowImage

from graftwork.common.data.images import StoredImage, to_float
from graftwork.common.errors import ImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graftwork.common.data.volumes import Volume
    from graftwork.common.recipe.sections import AugmentationSection


_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_RESAMPLING = {
    "bilinear": PillowImage.Resampling.BILINEAR,
    "bicubic": PillowImage.Resampling.BICUBIC,
    "area": PillowImage.Resampling.BOX,
}


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the network's input.

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

    def fitted(self, picture: StoredImage) -> NDArray[np.float32]:
        """The image at the input's size: [size, size, C] float32 in 0..1, C as in the image."""
        return unit(self.resized(picture))

    def resized(self, picture: StoredImage) -> NDArray[Any]:
        """The same as uint8 of the image's own values where these are uint8; `unit` of it is `fitted`."""
        size = self.size
        channels = picture.pixels.shape[2]
        pixels = picture.pixels if picture.pixels.dtype == np.uint8 else to_float(picture, channels)
        height, width = pixels.shape[:2]
        if self.fit == "squash":
            return _resize(pixels, size, size, self.interpolation)
        top, left, *inner = self.window(height, width)
        resized = _resize(pixels, inner[0], inner[1], self.interpolation)
        if self.fit == "crop":
            return resized[-top : size - top, -left : size - left]
        canvas = np.zeros((size, size, channels), resized.dtype)
        canvas[top : top + inner[0], left : left + inner[1]] = resized
        return canvas

    def window(self, height: int, width: int) -> tuple[int, int, int, int]:
        """The position of an image of this size in the input: top, left, height, width in px; negative for `crop`."""
        if self.fit == "squash":
            return 0, 0, self.size, self.size
        scale = (min if self.fit == "pad" else max)(self.size / height, self.size / width)
        inner = max(1, round(height * scale)), max(1, round(width * scale))
        return (self.size - inner[0]) // 2, (self.size - inner[1]) // 2, *inner

    def fitted_mask(self, classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The mask [H, W] of an image at the input's size [size, size], by the nearest pixel; bars are background."""
        top, left, *inner = self.window(*classes.shape)
        resized = np.asarray(
            PillowImage.fromarray(classes).resize((inner[1], inner[0]), PillowImage.Resampling.NEAREST)
        )
        canvas = np.zeros((self.size, self.size), np.uint8)
        canvas[max(top, 0) : top + inner[0], max(left, 0) : left + inner[1]] = resized[
            max(-top, 0) : self.size - top, max(-left, 0) : self.size - left
        ]
        return canvas

    def normalised(self, fitted: NDArray[np.float32]) -> NDArray[np.float32]:
        """[size, size, C] in 0..1 to the network's input [channels, size, size]; grey is repeated, and colours are put
        together to grey (Rec. 601) where the network takes one channel.

        Raises:
            ImageError: the image has too few channels; its stage is "recipe", for no file is at fault.
        """
        channels = len(self.mean)
        if channels == 1 and fitted.shape[2] == 3:
            fitted = (fitted @ _LUMA)[..., None]
        elif fitted.shape[2] not in (1, channels):
            raise ImageError(
                f"the network takes {channels} channels (backbone.channels={channels}), and the image has "
                f"{fitted.shape[2]}",
                where="backbone.channels",
                stage="recipe",
                remedy=f"set backbone.channels={fitted.shape[2]}",
            )
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        inputs: NDArray[np.float32] = ((fitted - mean) / std).transpose(2, 0, 1)
        return inputs

    def __call__(self, picture: StoredImage) -> NDArray[np.float32]:
        """Image to the network's input: float32 [3, size, size], normalised."""
        return self.normalised(self.fitted(picture))


@dataclass(frozen=True)
class VolumePreprocessing:
    """How a volume becomes the network's input, and how it is worked through.

    Attributes:
        patch: sides of the blocks that the network sees, voxels: left to right, back to front, foot to head.
        overlap: of neighbouring blocks, a share of the side.
        clip: percentiles of the voxels that are not 0, to which they are limited.
    """

    patch: tuple[int, int, int]
    overlap: float
    clip: tuple[float, float] = (0.5, 99.5)

    def to_json(self) -> dict[str, Any]:
        """The values as JSON-like types."""
        return {**asdict(self), "patch": list(self.patch), "clip": list(self.clip)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> VolumePreprocessing:
        """The inverse of `to_json`."""
        first, second, third = values["patch"]
        low, high = values["clip"]
        return cls((first, second, third), values["overlap"], (low, high))

    def __call__(self, volume: Volume) -> NDArray[np.float32]:
        """A volume to float32 [1, X, Y, Z] in canonical order.

        The voxels that are not 0 are limited to the percentiles `clip` and brought to mean 0 and deviation 1; 0
        stays 0, as outside the body in many files, and is what the border is filled up with.
        """
        array = volume.array
        inside = array != 0
        values = array[inside]
        if not values.size:
            return array[None].copy()
        values = np.clip(values, *np.percentile(values, self.clip)).astype(np.float64)
        result = np.zeros_like(array)
        result[inside] = (values - values.mean()) / max(float(values.std()), 1e-8)
        return result[None]


def preprocessing_from(values: dict[str, Any]) -> Preprocessing | VolumePreprocessing:
    """The preprocessing of which `to_json` gave these values."""
    return (VolumePreprocessing if "patch" in values else Preprocessing).from_json(values)


def unit(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Pixels to float32 in 0..1."""
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

    Each call is seeded by its caller, so an image's change depends on (seed, epoch, index) and never on the worker.
    """
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # else its import asks the network for its version
    steps: list[Any] = []
    if not any(wish.model_dump(exclude={"views"}).values()):
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
    return Augment(steps)


class Augment:
    """A pipeline of albumentations, seeded for each image; picklable, so that workers may be spawned."""

    def __init__(self, steps: Sequence[Any]) -> None:
        import albumentations as A

        self.pipeline = A.Compose(list(steps))

    def __repr__(self) -> str:
        return repr(self.pipeline)  # identifies the augmentation in the cache

    def __call__(self, picture: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
        """An image [H, W, C] float32 in 0..1, changed; of the same shape and range."""
        self.pipeline.set_random_seed(seed % 2**32)
        changed: NDArray[np.float32] = self.pipeline(image=np.ascontiguousarray(picture))["image"]
        return np.clip(changed.reshape(picture.shape), 0, 1)

    def both(
        self, picture: NDArray[np.float32], mask: NDArray[np.uint8], seed: int
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """An image, and its mask [H, W] moved alike (by the nearest pixel; what comes in from outside is class 0)."""
        self.pipeline.set_random_seed(seed % 2**32)
        changed = self.pipeline(image=np.ascontiguousarray(picture), mask=np.ascontiguousarray(mask))
        return np.clip(changed["image"].reshape(picture.shape), 0, 1), changed["mask"]


def volume_augmenter(wish: AugmentationSection) -> VolumeAugment | None:
    """The augmentation of volumes that a recipe asks for, or None where it asks for nothing."""
    return VolumeAugment(wish) if any(wish.model_dump(exclude={"views"}).values()) else None


class VolumeAugment:
    """The changes of a recipe made to a block of a volume, by MONAI, seeded for each block.

    A left-right flip is one along the first axis, an upside-down flip one along the last; rotation is about all
    three axes. What comes in from outside is 0, in the mask class 0. Brightness is added, as a share of the block's
    range; contrast is a factor on the block's values about their mean.
    """

    def __init__(self, wish: AugmentationSection) -> None:
        self.wish = wish

    def both(
        self, block: NDArray[np.float32], mask: NDArray[np.uint8], seed: int
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """A block [1, X, Y, Z], and its mask [X, Y, Z] moved alike (by the nearest voxel)."""
        from monai.transforms.spatial.dictionary import RandAffined

        wish, random = self.wish, np.random.RandomState(seed % 2**32)
        flips = random.uniform(size=2) < (wish.horizontal_flip, wish.vertical_flip)
        brightness, contrast = random.uniform(-1, 1, size=2) * (wish.brightness, wish.contrast)
        for axis in (axis for axis, flip in zip((0, 2), flips, strict=True) if flip):
            block, mask = np.flip(block, axis + 1), np.flip(mask, axis)
        if wish.rotation or wish.zoom or wish.shift:
            move = RandAffined(
                ("block", "mask"),
                prob=1.0,
                rotate_range=[float(np.deg2rad(wish.rotation))] * 3,
                scale_range=[wish.zoom] * 3,
                translate_range=[wish.shift * side for side in mask.shape],
                mode=("bilinear", "nearest"),
                padding_mode="zeros",
            ).set_random_state(state=random)
            both: Any = {"block": np.ascontiguousarray(block), "mask": mask[None].astype(np.float32)}
            moved: Any = move(both)
            block = np.asarray(moved["block"].numpy(), np.float32)
            mask = np.rint(moved["mask"].numpy()[0]).astype(np.uint8)
        if brightness or contrast:
            middle = float(block.mean())
            block = (block - middle) * (1 + contrast) + middle + brightness * float(np.ptp(block))
        return np.ascontiguousarray(block, np.float32), np.ascontiguousarray(mask)
