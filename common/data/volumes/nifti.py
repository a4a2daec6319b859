"""A NIfTI file taken apart: its stream, its header as it stands, its geometry, its voxels in their own order.

Damaged files are expected: a length in a header is checked against the file size before it is used, and every
failure is one `ImageError`.
"""

from __future__ import annotations

import gzip
import importlib
import math
import os
import stat
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Literal, cast

import numpy as np

from graftwork.common.errors import ImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray


_DAMAGED = "restore the file from its source"
_MILLIMETRES = {1: 1000.0, 3: 0.001}  # NIfTI-1's xyzt_units: metres, micrometres; else millimetres
_UNITS = (0, 1, 2, 3)  # not stated, metres, millimetres, micrometres
_ROUNDING = 0.01  # of a side of a voxel, by which pixdim and the affine may differ without a remark
_ORDERS: tuple[Literal["little", "big"], ...] = ("little", "big")
_DEFLATE_MOST = 1032  # no byte of deflate holds more than this many (RFC 1951: 258 bytes by two bits)


@dataclass(frozen=True, eq=False)
class Geometry:
    """The position of the voxels of a file in world coordinates.

    Attributes:
        shape: voxels along the file's own three axes.
        affine: [4, 4] float64: index along the file's own axes to the world (right, anterior, superior; mm).
        spacing: mm between voxels along the file's own axes, from the affine.
        orientation: to which side each of the file's own axes runs, the closest one: "RAS", "LPI".
        header: the file's NIfTI header, of which `save` takes what says the geometry and nothing else.
        remarks: what in the header is unusual and was passed over, a phrase each.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    spacing: tuple[float, float, float]
    orientation: str
    header: bytes = field(repr=False)
    remarks: tuple[str, ...] = ()


def library() -> Any:
    """nibabel, which is imported when the first volume is read."""
    return importlib.import_module("nibabel")


def by(numbers: Sequence[float]) -> str:
    """ "240 x 240 x 155"."""
    return " x ".join(f"{number:.6g}" for number in numbers)


def orientation(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """[3, 2]: of each axis of an array, the axis of the world closest to it, and whether it runs along it (1, -1)."""
    return cast("NDArray[np.float64]", library().orientations.io_orientation(affine))


def turned(array: NDArray[Any], start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[Any]:
    """An array in one `orientation`, reoriented to another; a view, nothing is resampled."""
    orientations = library().orientations
    return cast(
        "NDArray[Any]", orientations.apply_orientation(array, orientations.ornt_transform(start, end))
    )


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[tuple[IO[bytes], str, int]]:
    """The unpacked content as a stream, the name for messages, and the bytes that the file can hold at most."""
    where = os.fsdecode(path)
    try:
        # O_NONBLOCK: opening a pipe that nobody writes to returns at once, to be refused below
        with open(os.open(where, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ImageError("it is not a regular file", where=where, stage="open", remedy="name a file")
            if status.st_size == 0:
                raise ImageError("it is empty", where=where, stage="open", remedy=_DAMAGED)
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not packed:
                yield file, where, status.st_size
                return
            with gzip.GzipFile(fileobj=file) as stream:
                yield cast("IO[bytes]", stream), where, status.st_size * _DEFLATE_MOST
    except EOFError as error:
        raise ImageError("it is truncated", where=where, stage="decode", remedy=_DAMAGED) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ImageError(f"it is damaged ({error})", where=where, stage="decode", remedy=_DAMAGED) from error
    except MemoryError as error:
        raise ImageError(
            "there is not enough memory for it", where=where, stage="decode", remedy="free some memory"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise ImageError(
            reason, where=where, stage="open", remedy="check the path, and that the file can be read here"
        ) from error


def parsed(block: bytes) -> Any:
    """A NIfTI header exactly as stored (nibabel would turn a negative voxel size into a positive one)."""
    kind = library().Nifti2Header if len(block) == 540 else library().Nifti1Header
    return kind(block, check=False)


def read_header(stream: IO[bytes], where: str) -> Any:
    """The header at the beginning of a stream, as nibabel's object; only its kind has been looked at.

    Raises:
        ImageError: it is not that of a NIfTI file of one part.
    """

    def refuse(what: str, remedy: str = _DAMAGED) -> ImageError:
        return ImageError(what, where=where, stage="header", remedy=remedy)

    convert = "convert it to NIfTI (.nii or .nii.gz), or leave it out"
    block = stream.read(348)
    sizes = {int.from_bytes(block[:4], order) for order in _ORDERS}
    if 540 in sizes:
        block += stream.read(540 - 348)
    elif 348 not in sizes:
        raise refuse("its first bytes are not those of a NIfTI file", convert)
    if len(block) not in (348, 540) or (540 in sizes and len(block) < 540):
        raise refuse("it ends within its header")
    magic = block[4:8] if 540 in sizes else block[344:348]
    if magic[:3] in (b"ni1", b"ni2"):
        raise refuse("it is the header of a pair of files (.hdr, .img)", "convert the pair to one .nii file")
    if magic[:3] not in (b"n+1", b"n+2"):
        raise refuse("its header is not that of a NIfTI file", convert)
    return parsed(block)


def unit_of(header: Any) -> float:
    """mm of a unit of length in a header."""
    return _MILLIMETRES.get(int(header["xyzt_units"]) & 7, 1.0)


def geometry_of(header: Any, where: str) -> Geometry:
    """Where the voxels of a file lie, by its header.

    Raises:
        ImageError: the header claims no volume of three axes, no voxel size, or an affine that cannot be.
    """

    def refuse(what: str, remedy: str) -> ImageError:
        return ImageError(what, where=where, stage="header", remedy=remedy)

    axes = int(header["dim"][0])
    if not 1 <= axes <= 7:
        raise refuse(f"its header claims {axes} axes", _DAMAGED)
    dims = [int(length) for length in header["dim"][1 : axes + 1]]
    if min(dims) < 1:
        raise refuse(f"its header claims an axis without a voxel ({by(dims)})", _DAMAGED)
    if len(dims) < 3 or max([1, *dims[3:]]) > 1:
        raise refuse(
            f"it has {len(dims)} axes ({by(dims)}); a volume has three",
            "save each volume of a series to a file of its own" if len(dims) > 3 else "stack its slices",
        )
    sizes = [float(side) for side in header["pixdim"][1:4]]
    sound = all(math.isfinite(side) and side > 0 for side in sizes)
    if not sound and int(header["sform_code"]) <= 0:  # the affine is then made of pixdim
        raise refuse(
            f"its voxel size (pixdim) is {by(sizes)} mm, and it has no sform to take it from",
            "correct the voxel size in its header",
        )
    remarks = []
    if int(header["sform_code"]) <= 0 < int(header["qform_code"]) and not float(header["pixdim"][0]):
        header["pixdim"][0] = 1
        remarks.append("the sign of its quaternion (pixdim[0]) is 0, which counts as 1")
    unit = int(header["xyzt_units"]) & 7
    if unit not in _UNITS:
        remarks.append(f"its unit of length (xyzt_units) is {unit}, which is not known and counts as mm")
    try:
        raw = np.asarray(header.get_best_affine(), np.float64)
    except (
        Exception
    ) as error:  # nibabel: a quaternion longer than 1, and whatever else a damaged header leads to
        raise refuse(f"its affine cannot be computed ({error})", "correct the forms in its header") from error
    affine = raw.copy()
    affine[:3] *= unit_of(header)
    spacing = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    # the volume of a voxel against that of a box with its sides: near 0 if the axes are in one plane
    if not np.isfinite(affine).all() or not (spacing > 0).all():
        flat = True
    else:
        flat = abs(np.linalg.det(affine[:3, :3] / spacing)) < 1e-3
    if flat:
        raise refuse(
            "its affine squeezes the volume flat, or is not finite", "correct the forms in its header"
        )
    if len(dims) > 3:
        remarks.append(
            f"it has {len(dims)} axes ({by(dims)}), all beyond the third of length 1: one volume is read"
        )
    # of a quaternion or without a form, the affine is made of pixdim
    if not sound or (np.abs(np.array(sizes) * unit_of(header) - spacing) > _ROUNDING * spacing).any():
        remarks.append(
            f"its voxel size (pixdim) is {by(sizes)}; that of its affine is used, {by(np.round(spacing, 6))} mm"
        )
    return Geometry(
        shape=(dims[0], dims[1], dims[2]),
        affine=affine,
        spacing=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        orientation="".join(library().orientations.aff2axcodes(affine)),
        header=bytes(header.binaryblock),
        remarks=tuple(remarks),
    )


def read_voxels(
    stream: IO[bytes], header: Any, shape: tuple[int, int, int], where: str, size: int, budget: int
) -> NDArray[np.float32]:
    """The scaled voxels in the file's own order. `size`: the bytes that the file can hold at most."""
    stored, slope, intercept = stored_voxels(stream, header, shape, where, size, budget)
    array = np.empty(shape, np.float32, order="F")
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is counted by the caller
        for third in range(shape[2]):  # slice by slice: float64 of the whole would be twice the result
            values = stored[..., third]
            if (slope, intercept) != (1.0, 0.0):
                values = values.astype(np.float64) * slope + intercept
            array[..., third] = values
    return array


def stored_voxels(
    stream: IO[bytes], header: Any, shape: tuple[int, int, int], where: str, size: int, budget: int
) -> tuple[NDArray[Any], float, float]:
    """The voxels as they are stored, in the file's own order and type, and the slope and intercept of the header (1 and
    0 where it has none)."""
    voxels = math.prod(shape)
    if voxels > budget:
        raise ImageError(
            f"its header claims {by(shape)} = {voxels:,} voxels, more than {budget:,}",
            where=where,
            stage="budget",
            remedy="raise voxel_budget if the volume is genuine",
        )
    try:
        dtype: np.dtype[Any] = header.get_data_dtype()
        slope, intercept = header.get_slope_inter()
        offset = int(header.get_data_offset())
    except Exception as error:  # nibabel: a type that it does not know, an intercept that is not finite
        raise ImageError(
            f"its header is damaged ({error})", where=where, stage="header", remedy=_DAMAGED
        ) from error
    if dtype.kind not in "iuf":
        remedy = "convert it to a volume of one number a voxel"
        raise ImageError(f"its voxels are of type {dtype}", where=where, stage="header", remedy=remedy)
    needed = voxels * dtype.itemsize
    if not len(header.binaryblock) <= offset <= size - needed:
        what = f"it is truncated: {needed:,} bytes of voxels do not fit in it"
        raise ImageError(what, where=where, stage="decode", remedy=_DAMAGED)
    stream.seek(offset)
    raw = np.empty(needed, np.uint8)
    done = 0
    while done < needed:
        piece = stream.read(min(1 << 20, needed - done))
        if not piece:
            what = f"it is truncated: {done:,} of {needed:,} bytes of voxels are there"
            raise ImageError(what, where=where, stage="decode", remedy=_DAMAGED)
        raw[done : done + len(piece)] = np.frombuffer(piece, np.uint8)
        done += len(piece)
    stream.read(1 << 20)  # to the end, where a packed file has its checksum
    stored = raw.view(dtype).reshape(shape, order="F")
    return (stored, 1.0, 0.0) if slope is None else (stored, float(slope), float(intercept))
