"""A NIfTI file to an array with a stated geometry, and an array of classes back onto the grid it came from.

Nothing is resampled on the way. The axes are turned and flipped into the closest order of the world (right,
anterior, superior), which loses nothing and is undone exactly when a mask is written. The header is read and held
against a budget before a voxel is decoded; a file that cannot be read is one `ImageError`, whatever it holds.
"""

from __future__ import annotations

import gzip
import io
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from graftwork.common.data.volumes import nifti
from graftwork.common.data.volumes.label_values import whole_numbers
from graftwork.common.data.volumes.nifti import Geometry, by
from graftwork.common.errors import DatasetError, ImageError, UsageError
from graftwork.common.files import write_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "SUFFIXES",
    "VOLUME_READER_VERSION",
    "VOXEL_BUDGET",
    "Geometry",
    "Regridded",
    "Volume",
    "from_canonical",
    "geometry_faults",
    "is_volume",
    "mismatch_error",
    "read_geometry",
    "read_labels",
    "read_volume",
    "regrid",
    "regrid_remedy",
    "save",
    "whole_numbers",
]

SUFFIXES = (".nii", ".nii.gz")
# Changes whenever the array read from some file may change; caches of what was read are kept by it.
VOLUME_READER_VERSION = "1"
VOXEL_BUDGET = 2**28  # 1 GiB as float32, and 1,024 slices of 512 x 512
_SLACK = 0.01  # of the smallest side of a voxel: the rounding of quaternions and float32 stays far below
# The fields of a header that say where its voxels lie; beside them only the first four of pixdim.
_PLACE = (
    *("qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("sform_code", "srow_x", "srow_y", "srow_z", "xyzt_units"),
)
_UPRIGHT = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])  # the orientation of an array in canonical order


@dataclass(frozen=True, eq=False)
class Volume:
    """A volume in the closest canonical order: its axes run to the right, to the front and upwards.

    Attributes:
        array: [X, Y, Z] float32, slope and intercept of the file applied.
        geometry: of the file.
        spacing: mm between voxels along the axes of `array`.
        replaced: voxels that were not finite and became 0, where the caller allowed it.
    """

    array: NDArray[np.float32]
    geometry: Geometry
    spacing: tuple[float, float, float]
    replaced: int = 0


@dataclass(frozen=True)
class Regridded:
    """A mask that was put on another grid.

    Attributes:
        file: the mask that was written.
        faults: how the grids differed.
        counts: voxels of each value before and after, background too.
        outside: voxels of the image that the mask does not cover; they became 0.
        remarks: what is unusual in the header of either file, with its name.
    """

    file: Path
    faults: tuple[str, ...]
    counts: dict[int, tuple[int, int]]
    outside: int
    remarks: tuple[str, ...] = ()


def is_volume(path: str | os.PathLike[str]) -> bool:
    """Whether the name of a file is that of a NIfTI file."""
    return os.fsdecode(path).lower().endswith(SUFFIXES)


def read_geometry(path: str | os.PathLike[str]) -> Geometry:
    """The geometry of a NIfTI file, from its header alone; no budget applies.

    Raises:
        ImageError: as `read_volume`, but for what only the voxels can have wrong.
    """
    with nifti.reading(path) as (stream, where, _):
        return nifti.geometry_of(nifti.read_header(stream, where), where)


def read_volume(
    path: str | os.PathLike[str],
    voxel_budget: int = VOXEL_BUDGET,
    *,
    not_finite: Literal["error", "zero"] = "error",
) -> Volume:
    """Read a NIfTI-1 or NIfTI-2 file (.nii, .nii.gz) of three axes; further ones of length 1 are left out.

    The affine is the sform where its code says so, else the qform, else the voxel size (as nibabel). Voxel sizes
    come from the affine: if `pixdim` differs (or is 0 or -1 with an sform), `Geometry.remarks` says so.

    Args:
        path: the file. Its first bytes say what it is.
        voxel_budget: the most voxels that may be decoded.
        not_finite: whether NaN and infinite voxels are an error or become 0 (and are counted).

    Raises:
        ImageError: the file cannot be read, for whatever reason; its `stage` says where reading ended.
    """
    with nifti.reading(path) as (stream, where, size):
        header = nifti.read_header(stream, where)
        geometry = nifti.geometry_of(header, where)
        array = nifti.read_voxels(stream, header, geometry.shape, where, size, voxel_budget)
    bad = ~np.isfinite(array)
    replaced = int(bad.sum())
    if replaced and not_finite == "error":
        raise ImageError(
            f"{replaced:,} of {array.size:,} voxels are not a number",
            where=where,
            stage="content",
            remedy="replace them in the file, or leave it out",
        )
    array[bad] = 0
    turned = nifti.turned(array, nifti.orientation(geometry.affine), _UPRIGHT)
    return Volume(np.ascontiguousarray(turned), geometry, _canonical_spacing(geometry), replaced)


def read_labels(
    path: str | os.PathLike[str], voxel_budget: int = VOXEL_BUDGET
) -> tuple[NDArray[np.integer[Any]], Geometry]:
    """The whole numbers of a NIfTI mask, [X, Y, Z] in canonical order, and its geometry; files as of `read_volume`.

    Integers stay integers, up to 64 bits; floating point numbers and scaled ones are allowed where they are whole.

    Raises:
        ImageError: the file cannot be read, or holds values that are no whole numbers.
    """
    with nifti.reading(path) as (stream, where, size):
        header = nifti.read_header(stream, where)
        geometry = nifti.geometry_of(header, where)
        stored, *scale = nifti.stored_voxels(stream, header, geometry.shape, where, size, voxel_budget)
        values = whole_numbers(stored, where, *scale)
    turned = nifti.turned(values, nifti.orientation(geometry.affine), _UPRIGHT)
    return np.ascontiguousarray(turned), geometry


def from_canonical(array: NDArray[Any], geometry: Geometry) -> NDArray[Any]:
    """An array [X, Y, Z, ...] in canonical order, put back into the order of the file: the inverse of reading."""
    canonical, _ = _canonical(geometry)
    if array.shape[:3] != canonical:
        raise UsageError(
            f"an array of {array.shape} is not on the grid of {canonical}", where="from_canonical"
        )
    return nifti.turned(array, _UPRIGHT, nifti.orientation(geometry.affine))


def save(
    path: str | os.PathLike[str],
    array: NDArray[np.integer[Any] | np.bool_],
    geometry: Geometry,
    *,
    description: str = "",
) -> None:
    """Write whole numbers [X, Y, Z] in canonical order as NIfTI on the grid of a file: whole or not at all.

    The file gets the geometry of the header that it is like, field by field (both forms, their codes, voxel size,
    units), and nothing else of it: descriptions and extensions may hold personal data. Equal arrays give equal
    bytes.

    Args:
        path: ends in .nii or .nii.gz.
        array: integers or booleans. geometry: of the image. description: at most 79 bytes, cut off there.

    Raises:
        UsageError: the array is not of whole numbers, or not on this grid. RunError: it cannot be written.
    """
    if not is_volume(path):
        raise UsageError("the name ends in .nii or .nii.gz", where=path)
    if array.dtype.kind not in "iub":
        raise UsageError(f"whole numbers are written, not {array.dtype}", where=path)
    own = from_canonical(array.astype(np.uint8) if array.dtype == bool else array, geometry)
    old = nifti.parsed(geometry.header)
    header = type(old)()
    header.set_data_dtype(own.dtype)
    header.set_data_shape(own.shape)
    for name in _PLACE:
        header[name] = old[name]
    header["pixdim"][:4] = old["pixdim"][:4]
    if not (
        np.isfinite(old["pixdim"][1:4]) & (old["pixdim"][1:4] > 0)
    ).all():  # programs refuse such a voxel size
        header["pixdim"][1:4] = np.asarray(geometry.spacing) / nifti.unit_of(old)
    header["descrip"] = description.encode("ascii", "replace")[:79]
    header.set_slope_inter(1, 0)
    kind = "Nifti2Image" if len(geometry.header) == 540 else "Nifti1Image"
    image = getattr(nifti.library(), kind)
    # affine None: the header keeps its own forms
    content: bytes = image(own, None, header).to_bytes()
    if os.fsdecode(path).lower().endswith(".gz"):
        packed = io.BytesIO()
        # no name and no time: equal masks are equal files
        with gzip.GzipFile("", "wb", compresslevel=6, fileobj=packed, mtime=0) as file:
            file.write(content)
        content = packed.getvalue()
    write_bytes(path, content)


def geometry_faults(image: Geometry, mask: Geometry) -> list[str]:
    """How the grid of a mask differs from its image's, a phrase each with both values; empty where it does not.

    Grids are the same where their shapes are equal and no corner of one lies further from the other's than 1 % of
    the smallest side of a voxel.
    """
    faults = []
    slack = _SLACK * min(image.spacing)
    if image.shape != mask.shape:
        faults.append(f"shape: image {by(image.shape)}, mask {by(mask.shape)}")
    if np.abs(np.subtract(image.spacing, mask.spacing)).max() > slack:
        faults.append(f"spacing: image {by(image.spacing)} mm, mask {by(mask.spacing)} mm")
    ends = np.array(np.meshgrid(*[(0, length - 1) for length in image.shape])).reshape(3, -1)
    corners = np.vstack([ends, np.ones(ends.shape[1])])
    apart = float(np.linalg.norm((image.affine @ corners - mask.affine @ corners)[:3], axis=0).max())
    if apart > slack:
        faults.append(
            f"affine: image {_rows(image)}, mask {_rows(mask)}, which puts the same voxel up to {apart:.4g} mm away"
        )
    return faults


def mismatch_error(
    image_path: str | os.PathLike[str], mask_path: str | os.PathLike[str], faults: Sequence[str]
) -> DatasetError:
    """The error for a mask that is not on the grid of its image: both files, the differences, and a remedy."""
    mask = os.fsdecode(mask_path)
    return DatasetError(
        f"the mask {mask} is not on its grid ({'; '.join(faults)})",
        where=os.fsdecode(image_path),
        remedy=regrid_remedy(image_path, mask_path),
    )


def regrid_remedy(image_path: str | os.PathLike[str], mask_path: str | os.PathLike[str]) -> str:
    """What to do about a mask on another grid, as a sentence with the command in it."""
    image, mask = os.fsdecode(image_path), os.fsdecode(mask_path)
    name = Path(mask).name
    for suffix in reversed(SUFFIXES):
        name = name.removesuffix(suffix)
    words = ["graftwork", "regrid", mask, "--like", image, "--out", f"{name}_regridded.nii.gz"]
    return f"look at both; if they show the same place, put the mask on the image's grid: {shlex.join(words)}"


def regrid(
    mask_path: str | os.PathLike[str], like_path: str | os.PathLike[str], out: str | os.PathLike[str]
) -> Regridded:
    """Put a mask on the grid of an image, by the nearest voxel in the world, and write it there.

    The header of the new file describes what was done. Voxels outside the mask become 0.

    Raises:
        ImageError: a file cannot be read, or the mask holds what is not a whole number.
        UsageError: `out` is one of the two. RunError: it cannot be written.
    """
    for path in (mask_path, like_path):
        if os.path.realpath(path) == os.path.realpath(out):
            raise UsageError("is one of the two files that are read", where=out, remedy="name another file")
    (values, own), like = read_labels(mask_path), read_geometry(like_path)
    shape, grid = _canonical(like)
    _, source = _canonical(own)
    result = np.zeros(shape, values.dtype)
    step = np.linalg.inv(source) @ grid  # index in the image to index in the mask
    first, second = np.arange(shape[0])[:, None], np.arange(shape[1])[None, :]
    outside = 0
    for third in range(shape[2]):
        inside = np.ones(shape[:2], bool)
        index = []
        for axis in range(3):
            place = step[axis, 0] * first + step[axis, 1] * second + (step[axis, 2] * third + step[axis, 3])
            # a touch above one half: rounding noise does not decide which of two voxels equally near is taken
            nearest = np.floor(place + (0.5 + 1e-6)).astype(np.int64)
            inside &= (nearest >= 0) & (nearest < values.shape[axis])
            index.append(nearest)
        one, two, three = (each[inside] for each in index)
        result[..., third][inside] = values[one, two, three]
        outside += int((~inside).sum())
    was = f"{by(own.shape)} {own.orientation}"
    save(out, result, like, description=f"graftwork regrid: nearest voxel, from {was}".replace(" x ", "x"))
    before, after = (dict(zip(*_counted(each), strict=True)) for each in (values, result))
    counts = {value: (before.get(value, 0), after.get(value, 0)) for value in sorted({*before, *after})}
    remarks = tuple(
        f"{os.fsdecode(path)}: {remark}"
        for path, each in ((mask_path, own), (like_path, like))
        for remark in each.remarks
    )
    return Regridded(Path(out), tuple(geometry_faults(like, own)), counts, outside, remarks)


def _counted(values: NDArray[np.integer[Any]]) -> tuple[list[int], list[int]]:
    found, counts = np.unique(values, return_counts=True)
    return found.tolist(), counts.tolist()


def _rows(geometry: Geometry) -> str:
    rows = (" ".join(f"{value:.6g}" for value in row) for row in np.round(geometry.affine[:3], 6) + 0.0)
    return f"{geometry.orientation} [{'; '.join(rows)}]"


# Axes


def _canonical(geometry: Geometry) -> tuple[tuple[int, int, int], NDArray[np.float64]]:
    """The shape of the array in canonical order, and the affine that belongs to it."""
    orientation = nifti.orientation(geometry.affine)
    shape = [0, 0, 0]
    for own, length in enumerate(geometry.shape):
        shape[int(orientation[own, 0])] = length
    affine = geometry.affine @ nifti.library().orientations.inv_ornt_aff(orientation, geometry.shape)
    return (shape[0], shape[1], shape[2]), affine


def _canonical_spacing(geometry: Geometry) -> tuple[float, float, float]:
    spacing = [0.0, 0.0, 0.0]
    for own, length in enumerate(geometry.spacing):
        spacing[int(nifti.orientation(geometry.affine)[own, 0])] = length
    return spacing[0], spacing[1], spacing[2]
