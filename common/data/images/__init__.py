"""A file to an array with a stated range: PNG, JPEG, TIFF and BMP by Pillow, DICOM by pydicom.

What a file is, its first bytes say, not its name. Its size is read from the header and held against a budget before
anything is decoded. A file that cannot be read is one `ImageError`, whatever it holds: the readers below (and their
native code) must expect damaged files.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import stat
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal, TypeVar

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, ImageFile

from graftwork.common.data.images.raster import DAMAGED, SIGNATURES, raster_picture, raster_size
from graftwork.common.errors import ImageError, UsageError

__all__ = [
    "PIXEL_BUDGET",
    "READER_VERSION",
    "SUFFIXES",
    "StoredImage",
    "decoders",
    "read_image",
    "read_size",
    "stored_pixels",
    "to_float",
]

# Changes whenever the arrays read from some file may change; caches of what was read are kept by it.
READER_VERSION = f"2-pillow-{PIL.__version__}"
# The ends of names, in small letters, under which images are looked for. DICOM files often have none.
SUFFIXES = (".bmp", ".dcm", ".dicom", ".jpeg", ".jpg", ".png", ".tif", ".tiff")
# Rows times columns. Pillow's own limit for an error, and four times the largest radiographs.
PIXEL_BUDGET = 178_956_970

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class StoredImage:
    """An image as an array with its range.

    Attributes:
        pixels: `[H, W, C]`, C is 1 (grey) or 3 (RGB); uint8, uint16 or float32.
        low, high: the range that the pixels may take, from the file's bit depth, never from the values found.
        full_size: H, W of the file's image, upright, before any reduced decoding.
        remarks: what is unusual in the header and was passed over, a phrase each.
        stated: what of the header decides the range, by name. Of two files that differ in it, equal pixels may mean
            different things.
    """

    pixels: NDArray[np.generic]
    low: float
    high: float
    full_size: tuple[int, int]
    remarks: tuple[str, ...] = ()
    stated: Mapping[str, str] = field(default_factory=dict)


def read_image(
    path: str | os.PathLike[str],
    *,
    cover: int = 0,
    pixel_budget: int = PIXEL_BUDGET,
    constant: Literal["error", "allow"] = "error",
    frame: int | None = None,
) -> StoredImage:
    """Read an image, upright (EXIF orientation is applied), with the range of values that its file allows.

    PNG, JPEG, TIFF, BMP: 16-bit samples stay 16 bits (CMYK and premultiplied alpha become 8 bits), 1-bit images become
    0 and 255, palettes and CMYK become RGB (without a colour profile). An opaque alpha channel is removed; any other
    alpha channel, and a transparent colour, is composited on black. Colour profiles and gamma are not applied. DICOM:
    modality LUT or rescale, VOI LUT or window (the first), inversion of MONOCHROME1, in the order of PS3.4, scaled by
    Bits Stored; colour spaces and palettes become RGB.

    Args:
        path: the file. Its first bytes define the format; its name does not matter.
        cover: the minimum of the shorter side in pixels; a JPEG is decoded at the smallest scale (1/8, 1/4, 1/2) that
            reaches it. 0: full size. Other formats are always decoded in full.
        pixel_budget: the maximum number of pixels (rows times columns) to decode. Pillow's own limit
            (`PIL.Image.MAX_IMAGE_PIXELS`; twice that is an error) also applies.
        constant: whether an image with a single colour is an error or allowed.
        frame: the frame of a DICOM file or the page of a TIFF, from 0. None: the only one.

    Raises:
        ImageError: the file cannot be read; `stage` names the step that failed.
    """

    def read(file: BinaryIO, size: int, where: str) -> StoredImage:
        kind = _kind(file, where)
        if kind == "DICOM":
            picture = _dicom_picture(file, size, where, pixel_budget, frame)
        else:
            found = raster_picture(file, kind, where, cover=cover, pixel_budget=pixel_budget, frame=frame)
            picture = StoredImage(*found, stated={"Range": f"{found[1]:g} to {found[2]:g}"})
        if constant == "error" and _is_constant(picture.pixels):
            raise ImageError(
                "every pixel has the same value",
                where=where,
                stage="content",
                remedy='look at it, and leave it out if it shows nothing (constant="allow" reads it)',
            )
        return picture

    return _reading(path, read)


def stored_pixels(
    path: str | os.PathLike[str], *, pixel_budget: int = PIXEL_BUDGET, frame: int | None = None
) -> NDArray[np.generic]:
    """The stored values of a DICOM file, before any table, window or inversion: `[frames,] H, W [, 3]`.

    The frames' axis is there where the file holds several and `frame` names none of them. YBR is turned into RGB,
    palettes stay indices.

    Raises:
        ImageError: as `read_image`; also where the file is not DICOM.
    """
    from graftwork.common.data.images import dicom

    def read(file: BinaryIO, size: int, where: str) -> NDArray[np.generic]:
        if _kind(file, where) != "DICOM":
            raise ImageError("it is not a DICOM file", where=where, stage="header", remedy="use read_image")
        header = dicom.read_header(file, size, where)
        if frame is None:
            dicom.keep_to(header, header.frames, pixel_budget)
            frames = [dicom.decoded(header, index) for index in range(header.frames)]
            return frames[0] if len(frames) == 1 else np.stack(frames)
        index = dicom.frame_index(header, frame)
        dicom.keep_to(header, 1, pixel_budget)
        return dicom.decoded(header, index)

    return _reading(path, read)


def read_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Height and width in pixels of the upright image, from the header alone; no budget applies.

    Raises:
        ImageError: the file cannot be opened or its header cannot be read.
    """

    def read(file: BinaryIO, size: int, where: str) -> tuple[int, int]:
        kind = _kind(file, where)
        if kind == "DICOM":
            from graftwork.common.data.images import dicom

            header = dicom.read_header(file, size, where)
            return header.rows, header.columns
        return raster_size(file, kind, where)

    return _reading(path, read)


def to_float(picture: StoredImage, channels: int = 3) -> NDArray[np.float32]:
    """The pixels as `[H, W, channels]` float32 in 0..1 of the image's range; values outside it are cut off.

    One channel to three repeats it; three to one is the luma of ITU-R BT.601 (0.299 R + 0.587 G + 0.114 B).

    Raises:
        UsageError: `channels` is neither 1 nor 3.
    """
    if channels not in (1, 3):
        raise UsageError(f"channels must be 1 or 3, not {channels}", where="to_float")
    values = picture.pixels.astype(np.float32)
    if picture.low != 0:
        values -= np.float32(picture.low)
    values /= np.float32(picture.high - picture.low)
    if channels == 1 and values.shape[2] == 3:
        values = values @ np.array([[0.299], [0.587], [0.114]], np.float32)
    np.clip(values, 0.0, 1.0, out=values)
    return np.repeat(values, 3, axis=2) if channels == 3 and values.shape[2] == 1 else values


def decoders() -> dict[str, str | None]:
    """For each DICOM transfer syntax, by its name in PS3.6, the decoder and its version; None where none is there."""
    from graftwork.common.data.images import codestreams

    return codestreams.decoders()


def _reading(path: str | os.PathLike[str], read: Callable[[BinaryIO, int, str], _Result]) -> _Result:
    """Open `path`, read it, and turn whatever goes wrong into an ImageError."""
    where = os.fsdecode(path)
    try:
        with _open(where) as file, _undisturbed():
            return read(file, os.fstat(file.fileno()).st_size, where)
    except ImageError:
        raise
    except OSError as error:
        if error.errno is None:  # Pillow's word for a damaged image
            raise _broken(error, where) from error
        raise ImageError(
            (error.strerror or "it cannot be read").lower(), where=where, stage="open", remedy=_advice(error)
        ) from error
    except Exception as error:
        raise _broken(error, where) from error


def _advice(error: OSError) -> str:
    return {
        errno.ENOENT: "check the path, and that the file was unpacked",
        errno.EACCES: "give yourself permission to read it",
        errno.ENAMETOOLONG: "use a shorter name",
    }.get(error.errno or 0, "check that the file can be read here")


def _broken(error: Exception, where: str) -> ImageError:
    if isinstance(error, Image.DecompressionBombError):
        remedy = "raise PIL.Image.MAX_IMAGE_PIXELS and pixel_budget if the image is genuine"
        return ImageError("it has more pixels than Pillow allows", where=where, stage="budget", remedy=remedy)
    if isinstance(error, MemoryError):
        return ImageError(
            "there is not enough memory for it", where=where, stage="decode", remedy="free some memory"
        )
    said = " ".join(str(error).split())
    said = said if len(said) <= 200 else f"{said[:200]} (and so on)"
    what = (
        "it is truncated"
        if "truncated" in said.lower()
        else f"it is damaged ({said or type(error).__name__})"
    )
    return ImageError(what, where=where, stage="decode", remedy=DAMAGED)


class _Bounded(io.BufferedReader):
    """A file of which no read asks for more memory than it has bytes left, whatever length its header claims."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > 65536:
            size = min(size, max(0, os.fstat(self.fileno()).st_size - self.tell()))
        return super().read(size)


def _open(where: str) -> _Bounded:
    """The file, which is a regular one: a pipe or a device would wait for ever or never end."""
    try:
        # O_NONBLOCK: opening a pipe that nobody writes to returns at once, to be refused below
        handle = os.open(where, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except ValueError as error:  # a null byte
        raise ImageError(
            "its name holds a null byte, which no file name can",
            where=repr(where),
            stage="open",
            remedy="correct the path in the table or list that names it",
        ) from error
    try:
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            raise ImageError("it is a folder", where=where, stage="open", remedy="name a file inside it")
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(
                "it is not a regular file", where=where, stage="open", remedy="copy it into a file"
            )
        if status.st_size == 0:
            raise ImageError("it is empty", where=where, stage="open", remedy=DAMAGED)
        return _Bounded(io.FileIO(handle))
    except BaseException:
        os.close(handle)
        raise


_LOGGERS = [logging.getLogger(name) for name in ("pydicom", "PIL", "pylibjpeg", "openjpeg")]
for _logger in _LOGGERS:
    _logger.addHandler(logging.NullHandler())  # else Python prints what nobody handles
_undisturbed_lock = threading.Lock()
_undisturbed_readers = 0
_undisturbed_state = contextlib.ExitStack()


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """While images are read: no warnings or log lines of the readers (they may quote a DICOM header), and
    truncated files are errors, whatever the program around sets.

    All three are global to the process; the first reader of several threads sets them, the last one sets them back.
    """
    global _undisturbed_readers
    with _undisturbed_lock:
        if _undisturbed_readers == 0:
            _undisturbed_state.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            places: list[tuple[Any, str]] = [(ImageFile, "LOAD_TRUNCATED_IMAGES")]
            places += [(logger, "propagate") for logger in _LOGGERS]
            for place, name in places:
                _undisturbed_state.callback(setattr, place, name, getattr(place, name))
                setattr(place, name, False)
        _undisturbed_readers += 1
    try:
        yield
    finally:
        with _undisturbed_lock:
            _undisturbed_readers -= 1
            if _undisturbed_readers == 0:
                _undisturbed_state.close()


def _forget_other_threads() -> None:
    """In a forked process the threads that were reading are gone, and with them whoever holds the lock."""
    global _undisturbed_lock, _undisturbed_readers
    _undisturbed_lock, _undisturbed_readers = threading.Lock(), 0
    _undisturbed_state.close()


os.register_at_fork(after_in_child=_forget_other_threads)


def _other_kind(head: bytes) -> str:
    """What a file is that is not read, by its first bytes; "" where they say nothing."""
    if head[4:8] == b"ftyp":
        stills = (b"heic", b"heix", b"mif1", b"avif")
        return "a HEIF or AVIF image" if head[8:12] in stills else "a video (MP4 or QuickTime)"
    if head[:4] == b"RIFF":
        return "a WebP image" if head[8:12] == b"WEBP" else "a video (AVI) or sound (WAV)"
    names = {
        b"GIF8": "a GIF image",
        b"\xff\x4f\xff\x51": "a JPEG 2000 codestream",
        b"\x00\x00\x00\x0cjP": "a JPEG 2000 image",
        b"%PDF": "a PDF document",
        b"PK\x03\x04": "a ZIP archive",
        b"\x1f\x8b": "a gzip archive",
    }
    return next((name for begin, name in names.items() if head.startswith(begin)), "")


def _kind(file: BinaryIO, where: str) -> str:
    """PNG, JPEG, TIFF, BMP or DICOM, from the first bytes."""
    head = file.read(132)
    file.seek(0)
    if head[128:132] != b"DICM":  # a preamble may be anything, also the head of a TIFF file (PS3.10, 7.1)
        for signature, kind in SIGNATURES.items():
            if head.startswith(signature):
                return kind
    from graftwork.common.data.images import dicom

    if dicom.looks_like_dicom(head):
        return "DICOM"
    raise ImageError(
        "it has neither the DICOM preamble nor file meta information, so nothing says how to read it"
        if where.lower().endswith((".dcm", ".dicom"))
        else "it is "
        + (_other_kind(head) or f"of no known kind (its first bytes are {head[:4].hex(' ')})")
        + ", expected PNG, JPEG, TIFF, BMP or DICOM",
        where=where,
        stage="header",
        remedy="leave it out, or convert it to PNG",
    )


def _dicom_picture(
    file: BinaryIO, size: int, where: str, pixel_budget: int, frame: int | None
) -> StoredImage:
    from graftwork.common.data.images import dicom, presentation

    header = dicom.read_header(file, size, where)
    index = dicom.frame_index(header, frame)
    dicom.keep_to(header, 1, pixel_budget)
    pixels, low, high, remarks, stated = presentation.presented(header, dicom.decoded(header, index), index)
    return StoredImage(pixels, low, high, (pixels.shape[0], pixels.shape[1]), remarks, stated)


def _is_constant(pixels: NDArray[np.generic]) -> bool:
    first = pixels[0, 0]
    return not (pixels[::16, ::16] != first).any() and not (pixels != first).any()
