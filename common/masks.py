"""A mask's file to the class of each pixel or voxel and back; whether it fits its image; what two have in common."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graftwork.common import volumes
from graftwork.common.errors import ImageError, UsageError
from graftwork.common.evaluation.surfaces import hausdorff_95
from graftwork.common.files import write_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graftwork.common.volumes import Geometry

__all__ = ["fit_faults", "measure", "read_mask", "read_values", "strangers", "write_mask"]

_SHOWN = 5  # values named in a message


def read_mask(path: str | os.PathLike[str], values: Sequence[int]) -> NDArray[np.uint8]:
    """The class of each pixel [H, W] of a picture, or of each voxel [X, Y, Z] of a NIfTI file in canonical order.

    Args:
        path: PNG, TIFF, BMP (a mask of 1 bit holds 0 and 255), or .nii, .nii.gz.
        values: the value of each class in the file; the first one is the background's.

    Raises:
        ImageError: it cannot be read, is in colour, or holds a value that is no class; says which, and the way out.
    """
    found = read_values(path)
    classes = np.zeros(found.shape, np.uint8)
    known = np.zeros(found.shape, bool)
    for index, value in enumerate(values):
        here = found == value
        classes[here] = index
        known |= here
    if not known.all():
        odd = dict(
            zip(*(each.tolist() for each in np.unique(found[~known], return_counts=True)), strict=True)
        )
        what, remedy = strangers(odd, values)
        raise ImageError(f"it holds {what}", where=os.fsdecode(path), stage="content", remedy=remedy)
    return classes


def read_values(path: str | os.PathLike[str]) -> NDArray[np.integer[Any]]:
    """The whole numbers that a mask's file holds, shaped as by `read_mask`.

    Raises:
        ImageError: it cannot be read, is in colour, or holds what is not a whole number.
    """
    where = os.fsdecode(path)
    if volumes.is_volume(path):
        return volumes.whole_numbers(volumes.read_volume(path).array, where)
    from graftwork.common.images import read_image

    pixels = read_image(path, constant="allow").pixels
    if pixels.shape[2] == 3 and (pixels != pixels[..., :1]).any():
        raise ImageError(
            "it is in colour; a mask has one value a class",
            where=where,
            stage="content",
            remedy="store it in grey, each class by its value, or name the mask instead of the picture",
        )
    return volumes.whole_numbers(pixels[..., 0], where)


def strangers(odd: dict[int, int], values: Sequence[int]) -> tuple[str, str]:
    """What is wrong with masks that hold values which are no class, and what to do about it.

    Args:
        odd: each such value with its number of pixels. values: those of the classes.
    """
    shown = sorted(odd, key=lambda value: -odd[value])[:_SHOWN]
    more = f" and {len(odd) - _SHOWN} more" if len(odd) > _SHOWN else ""
    named = ", ".join(f"{value} ({odd[value]:,})" for value in shown)
    remedy = "correct the mask, or give the value a class of its own"
    if set(odd) == {255} and tuple(values) == (0, 1):
        remedy = "its foreground is 255, as in every mask of 1 bit: the values of the classes are then 0, 255"
    elif set(odd) == {1} and tuple(values) == (0, 255):
        remedy = "its foreground is 1: multiply the mask by 255, or the values of the classes are 0, 1"
    elif len(odd) > _SHOWN:
        remedy = "store it without loss (PNG, not JPEG) and without interpolation between the classes"
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
        like: of NIfTI, the geometry of the image; the mask lies on its grid, with its affine.

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
        kind: Any = np.uint8 if small else np.int16 if -32769 < min(values) <= highest < 32768 else np.int32
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
        kinds = ("volume" if volumes.is_volume(path) else "picture" for path in (image, mask))
        return ["kind: image {}, mask {}".format(*kinds)]
    if volumes.is_volume(image):
        return volumes.geometry_faults(volumes.read_geometry(image), volumes.read_geometry(mask))
    from graftwork.common.images import read_size

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
        truth, predicted: the class of each pixel or voxel, [H, W] or [X, Y, Z] (or [slice, row, column]).
        classes: their names; the first one is the background.
        spacing: mm along each axis; None where it is not known.

    Returns:
        `truth_<class>`, `predicted_<class>`, `both_<class>`: pixels or voxels; `hausdorff_95_<class>`: mm, NaN
        where the spacing is not known or one of the two is empty.
    """
    if truth.shape != predicted.shape:
        raise UsageError(f"masks of {truth.shape} and {predicted.shape} are not compared", where="measure")
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
