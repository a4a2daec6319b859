"""Read masks (files of labels) and write them; whether a mask fits its image; what two masks have in common.

Every program part that reads a mask uses `read_labels`, so that a file means the same in all of them.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from graftwork.common.data import volumes
from graftwork.common.errors import ImageError, TableError, UsageError
from graftwork.common.evaluation.mask_values import SCALES, require_values
from graftwork.common.evaluation.metrics.surface_distances import hausdorff_95
from graftwork.common.files import write_bytes
from graftwork.common.wording import more_than

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graftwork.common.data.volumes import Geometry


_UNKNOWN = 255  # the class of a pixel of which nothing is known
_SHOWN = 5  # values named in a message
_COUNTED = 1000  # values that are no class whose pixels are counted


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels that a mask's file holds.

    Attributes:
        values: integers, [H, W] of an image, [X, Y, Z] in canonical order of a volume.
        graded: whether they may be levels of grey, between which a threshold has a meaning; not so of palette indices.
        geometry: of a volume; None of an image.
    """

    values: NDArray[np.integer[Any]]
    graded: bool = True
    geometry: Geometry | None = None


def read_labels(path: str | os.PathLike[str]) -> Labels:
    """The labels of a PNG, TIFF, BMP or NIfTI mask, exactly as stored, up to 64 bits.

    Images are read by `images.label_images.read_label_image` (palettes are indices; JPEG, colour and transparency that
    says something are refused), volumes by `volumes.read_labels`. A mask of 1 bit holds 0 and 255.

    Raises:
        ImageError: it cannot be read, or has no single reading as labels; says why, and the way out.
    """
    if volumes.is_volume(path):
        values, geometry = volumes.read_labels(path)
        return Labels(values, geometry=geometry)
    from graftwork.common.data.images.label_images import read_label_image

    found = read_label_image(path)
    return Labels(volumes.whole_numbers(found.values, os.fsdecode(path)), found.graded)


def read_values(path: str | os.PathLike[str]) -> NDArray[np.integer[Any]]:
    """The values alone of `read_labels`, which says what is raised."""
    return read_labels(path).values


def read_mask(path: str | os.PathLike[str], values: Sequence[int]) -> NDArray[np.uint8]:
    """The class of each pixel [H, W] of an image, or of each voxel [X, Y, Z] of a NIfTI file in canonical order.

    Of two classes 0 and 1, or 0 and 255, a mask that holds 0 and one of 1, 255 and 65535 alone is read whichever it is:
    what is not 0 is the foreground (see `other_scale`).

    Args:
        path: PNG, TIFF, BMP, or .nii, .nii.gz; see `read_labels`.
        values: the value of each class in the file, at most 255 of them; the first one is the background's.

    Raises:
        ImageError: it cannot be read, or holds a value that is no class; says which, and the way out.
        UsageError: more than 255 classes, or a value twice.
    """
    if len(values) > 255 or len(set(values)) < len(values):
        raise UsageError(
            f"expected up to 255 different values of classes, found {len(values)}", where="read_mask"
        )
    found = read_values(path)
    there = np.unique(found)
    scale = other_scale(there.tolist(), values)
    classes = np.zeros(found.shape, np.uint8)
    if scale:
        classes[...] = np.where(found == 0, list(values).index(0), 1 - list(values).index(0))
        return classes
    for index, value in enumerate(values):
        classes[found == value] = index
    odd = [value for value in there.tolist() if value not in set(values)]
    if odd:
        counts = {value: int((found == value).sum()) for value in odd[:_COUNTED]}
        what, remedy = unknown_values({value: counts.get(value, 1) for value in odd}, values)
        raise ImageError(f"it holds {what}", where=os.fsdecode(path), stage="content", remedy=remedy)
    return classes


def other_scale(found: Sequence[int], values: Sequence[int]) -> int:
    """The foreground's value in a mask of two values that are not those of its two classes; 0 where this is not so.

    Args:
        found: the values that the mask holds. values: those of the classes; two, of which one is 0.
    """
    if len(values) != 2 or 0 not in values or max(values) not in SCALES or set(found) <= set(values):
        return 0
    rest = set(found) - {0}
    return next(iter(rest)) if len(rest) == 1 and rest <= set(SCALES) else 0


def unknown_values(odd: dict[int, int], values: Sequence[int]) -> tuple[str, str]:
    """What is wrong with masks that hold values which are no class, and what to do about it.

    Args:
        odd: each such value with its number of pixels. values: those of the classes.
    """
    shown = sorted(odd, key=lambda value: -odd[value])[:_SHOWN]
    more = more_than(odd, _SHOWN)
    named = ", ".join(f"{value} ({odd[value]:,})" for value in shown)
    remedy = "correct the mask, or give the value a class of its own"
    if len(odd) > _SHOWN:
        remedy = "store it without interpolation between the classes, and not from a JPEG file"
    expected = ", ".join(map(str, values))
    return (
        f"values that are no class (with their pixels): {named}{more}; the classes are {expected}",
        remedy,
    )


def write_mask(
    path: str | os.PathLike[str],
    classes: NDArray[np.integer[Any]],
    values: Sequence[int],
    like: Geometry | None = None,
) -> None:
    """Write the class of each pixel or voxel by its value, whole or not at all; `read_mask` gives it back.

    Args:
        path: ends in .png, or in .nii or .nii.gz.
        classes: [H, W], or [X, Y, Z] in canonical order.
        values: the value of each class in the file.
        like: for NIfTI, the geometry of the image; the mask gets its grid and affine.

    Raises:
        UsageError: the suffix is another one, the geometry is missing, or a value does not fit the file.
        RunError: it cannot be written.
    """
    highest = max(values)
    if classes.size and not 0 <= int(classes.min()) <= int(classes.max()) < len(values):
        raise UsageError(f"classes are counted from 0 to {len(values) - 1}", where=path)
    if volumes.is_volume(path):
        if like is None:
            raise UsageError("a NIfTI mask is written on the grid of its image", where=path)
        small = min(values) >= 0 and highest < 256
        kinds: tuple[Any, ...] = (np.int16, np.int32, np.int64)
        fits = [each for each in kinds if np.iinfo(each).min <= min(values) <= highest <= np.iinfo(each).max]
        if not fits:
            raise UsageError(f"values pass 64 bits: {min(values)} to {highest}", where=path)
        kind: Any = np.uint8 if small else fits[0]
        volumes.save(path, np.array(values, kind)[classes], like, description="graftwork: classes by value")
        return
    if not os.fsdecode(path).lower().endswith(".png"):
        raise UsageError("a mask is written as .png, .nii or .nii.gz", where=path)
    if min(values) < 0 or highest > 65535:
        raise UsageError(f"PNG holds values from 0 to 65535, not {min(values)} to {highest}", where=path)
    from PIL import Image

    picture = np.array(values, np.uint8 if highest < 256 else np.uint16)[classes]
    packed = io.BytesIO()
    Image.fromarray(picture).save(packed, "PNG")
    write_bytes(path, packed.getvalue())


def fit_faults(image: str | os.PathLike[str], mask: str | os.PathLike[str]) -> list[str]:
    """How the grid of a mask's file differs from its image's, from the headers alone; empty where it does not.

    Raises:
        ImageError: a header cannot be read.
    """
    if volumes.is_volume(image) != volumes.is_volume(mask):
        kinds = ("volume" if volumes.is_volume(path) else "image" for path in (image, mask))
        return ["kind: image {}, mask {}".format(*kinds)]
    if volumes.is_volume(image):
        return volumes.geometry_faults(volumes.read_geometry(image), volumes.read_geometry(mask))
    from graftwork.common.data.images import read_size

    sizes = [read_size(path) for path in (image, mask)]
    if sizes[0] == sizes[1]:
        return []
    shown = [f"{height} x {width} px" for height, width in sizes]
    return [f"size: image {shown[0]}, mask {shown[1]}"]


def measure(
    truth: NDArray[np.integer[Any]],
    predicted: NDArray[np.integer[Any]],
    classes: Sequence[str],
    spacing: Sequence[float] | None = None,
) -> dict[str, float | int]:
    """What a true and a predicted mask of one unit have in common, for each foreground class.

    Args:
        truth, predicted: the class of each pixel or voxel, integers, [H, W] or [X, Y, Z] (or [slice, row, column]); 255
            where it is not known, which counts as no class.
        classes: their names; the first one is the background.
        spacing: mm along each axis; None where it is not known.

    Returns:
        `truth_<class>`, `predicted_<class>`, `both_<class>`: pixels or voxels; `hausdorff_95_<class>`: mm, NaN
        where the spacing is not known or one of the two is empty.

    Raises:
        UsageError: the shapes differ. TableError: a mask holds a value that is no class.
    """
    if truth.shape != predicted.shape:
        raise UsageError(f"masks of {truth.shape} and {predicted.shape} are not compared", where="measure")
    for side, mask in (("truth", truth), ("predicted", predicted)):
        odd = mask[(mask < 0) | (mask >= len(classes)) & (mask != _UNKNOWN)]
        if odd.size or mask.dtype.kind not in "biu":
            require_values(odd if odd.size else mask, (*range(len(classes)), _UNKNOWN), side)
            raise TableError(f"classes are integers, not {mask.dtype}", where=side, remedy="convert them")
    found: dict[str, float | int] = {}
    for index, name in enumerate(classes):
        if index == 0:
            continue
        one, other = truth == index, predicted == index
        found[f"truth_{name}"] = int(one.sum())
        found[f"predicted_{name}"] = int(other.sum())
        found[f"both_{name}"] = int((one & other).sum())
        found[f"hausdorff_95_{name}"] = float("nan") if spacing is None else hausdorff_95(one, other, spacing)
    return found
