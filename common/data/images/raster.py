"""PNG, JPEG, TIFF and BMP by Pillow: size and budget from the header, then pixels with the range of their bit depth."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
import sys
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from graftwork.common.data.images.jpeg import jpeg_damage
from graftwork.common.data.images.png import check_png
from graftwork.common.data.images.tiff import check_tiff, stack_of
from graftwork.common.errors import ImageError

Pixels = NDArray[Any]

# Each kind is opened by its own reader alone, so a file cannot choose among Pillow's forty others.
SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II\x2a\x00": "TIFF",
    b"MM\x00\x2a": "TIFF",
    b"II\x2b\x00": "TIFF",
    b"MM\x00\x2b": "TIFF",
    b"BM": "BMP",
}
DAMAGED = "get the file from its source again, or leave it out"
# A progressive JPEG redraws the image once a scan: ten passes over the largest image allowed are enough.
_MOST_SCANNED_PIXELS = 1_800_000_000
_ORIENTATION, _BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANAR, _SAMPLE_FORMAT = 274, 258, 262, 284, 339
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_CONVERTED = {
    "P": "RGB",
    "PA": "RGBA",
    "CMYK": "RGB",
    "YCbCr": "RGB",
    "RGBX": "RGB",
    "RGBa": "RGBA",
    "La": "LA",
}


def raster_size(file: BinaryIO, kind: str, where: str) -> tuple[int, int]:
    """Height and width of the upright image, from the header."""
    image = _opened(file, kind, where)
    if kind == "PNG" and "exif" not in image.info:
        image.info["exif"] = _late_exif(file)  # else Pillow would decode the image to look for it
    return _upright_size(image)


def _late_exif(file: BinaryIO) -> bytes:
    """The content of a PNG's eXIf chunk, which may stand after the image; empty where there is none."""
    place = 8
    while True:
        file.seek(place)
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            return b""
        length = int.from_bytes(head[:4], "big")
        if head[4:] == b"eXIf":
            return file.read(length)
        place += 12 + length


def raster_picture(
    file: BinaryIO, kind: str, where: str, *, cover: int, pixel_budget: int, frame: int | None
) -> tuple[Pixels, float, float, tuple[int, int]]:
    """Pixels `[H, W, 1 or 3]`, upright, their range, and the full height and width (see `images.read_image`)."""
    image, file = opened_raster(file, kind, where, pixel_budget=pixel_budget, frame=frame)
    full_size = None
    if kind == "JPEG":
        full_size = _upright_size(image)
        _check_jpeg(image, file, where)
        if cover > 0:
            _reduce(image, cover)
    # read before loading: Pillow forgets the tiles then
    raw = _raw_mode(image)
    if ";16" in raw and image.mode in ("RGB", "RGBA"):
        pixels, high = _sixteen_bits(image, _page(_opened(file, kind, where), where, frame), raw), 65535.0
        clear = image.info.get("transparency")
        if isinstance(clear, tuple):  # a PNG's transparent colour, on black
            pixels[(pixels == clear).all(axis=-1)] = 0
        pixels, low = _opaque(pixels, high), 0.0
    else:
        pixels, low, high = _values(image, where)
    return pixels, low, high, full_size or (pixels.shape[0], pixels.shape[1])


def opened_raster(
    file: BinaryIO, kind: str, where: str, *, pixel_budget: int, frame: int | None, floating: bool = False
) -> tuple[Image.Image, BinaryIO]:
    """An image that is not decoded yet, held against budget and checksums (of a JPEG not yet), and the file it reads.

    Args:
        floating: whether a TIFF of floating point numbers is allowed.
    """
    image = _opened(file, kind, where)
    _keep_to(image, where, pixel_budget)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _silence_libtiff()
        # libtiff maps a file that it gets by its descriptor, and dies when somebody shortens it meanwhile
        file.seek(0)
        content = io.BytesIO(file.read())
        image = _page(_opened(content, kind, where), where, frame)
        _keep_to(image, where, pixel_budget)
        _check_tiff(image, where, floating)
        check_tiff(cast(TiffImagePlugin.TiffImageFile, image).tag_v2, content.getvalue(), where)
        return image, content
    if frame:
        raise ImageError(
            f"frame {frame} was asked for, it holds one image",
            where=where,
            stage="header",
            remedy="leave frame= out",
        )
    if kind == "PNG":
        check_png(file, where)
    return image, file


def _opened(file: BinaryIO, kind: str, where: str) -> Image.Image:
    file.seek(0)
    try:
        return Image.open(file, formats=(kind,))
    except (Image.DecompressionBombError, MemoryError):
        raise
    except Exception as error:
        said = "" if isinstance(error, UnidentifiedImageError) else f" ({' '.join(str(error).split())[:200]})"
        what = (
            f"it begins as a {kind} file does, but its header is damaged or of a kind that is not read{said}"
        )
        raise ImageError(what, where=where, stage="header", remedy=DAMAGED) from error


def _orientation(image: Image.Image) -> int:
    orientation = 1
    with contextlib.suppress(Exception):  # damaged EXIF: the image counts as upright, as it does to Pillow
        orientation = int(image.getexif().get(_ORIENTATION, 1))
    return orientation


def _upright_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    turned = _orientation(image) in (5, 6, 7, 8)
    if turned and not isinstance(
        image, TiffImagePlugin.TiffImageFile
    ):  # of a TIFF, Pillow gives the upright size
        width, height = height, width
    return height, width


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    return image if _orientation(image) == 1 else ImageOps.exif_transpose(image)


def _keep_to(image: Image.Image, where: str, pixel_budget: int) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise ImageError(f"its size is {height} x {width}", where=where, stage="header", remedy=DAMAGED)
    if width * height > pixel_budget:
        raise ImageError(
            f"{height:,} x {width:,} are {height * width:,} pixels, the budget is {pixel_budget:,}",
            where=where,
            stage="budget",
            remedy="raise pixel_budget if the image is genuine",
        )


def _page(image: Image.Image, where: str, frame: int | None) -> Image.Image:
    pages = getattr(image, "n_frames", 1) if isinstance(image, TiffImagePlugin.TiffImageFile) else 1
    if isinstance(image, TiffImagePlugin.TiffImageFile) and (stack := stack_of(image)):
        raise ImageError(
            f"it holds {stack}, where one image is expected",
            where=where,
            stage="header",
            remedy="save it as one file an image (ImageJ: File, Save As, Image Sequence)",
        )
    if pages > 1 and frame is None:
        raise ImageError(
            f"it holds {pages} pages, where one image is expected",
            where=where,
            stage="header",
            remedy="name one with frame=, or split it into one file a page",
        )
    if not 0 <= (frame or 0) < pages:
        raise ImageError(
            f"page {frame} was asked for, it holds {pages}, counted from 0",
            where=where,
            stage="header",
            remedy=f"ask for a page from 0 to {pages - 1}",
        )
    if pages > 1:
        image.seek(frame or 0)
    return image


@functools.cache
def _silence_libtiff() -> None:
    """libtiff writes to standard error what it thinks of a damaged file, which Pillow raises as well."""
    bundled = [str(path) for path in (Path(PIL.__file__).parent.parent / "pillow.libs").glob("libtiff*.so*")]
    for library in bundled or ["libtiff.so.6"]:
        with contextlib.suppress(OSError, AttributeError):
            handler = ctypes.CDLL(library).TIFFSetErrorHandler
            handler.argtypes, handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            handler(None)


def _check_tiff(image: Image.Image, where: str, floating: bool) -> None:
    """Refuse what Pillow would read wrongly without a word, and tiles out of proportion to the image."""
    tags = cast(TiffImagePlugin.TiffImageFile, image).tag_v2
    width, height = image.size
    tile = (tags.get(_TILE_WIDTH) or 1) * (tags.get(_TILE_LENGTH) or 1)
    if tile > max(4 * width * height, 2**22):
        raise ImageError("its tiles are larger than the image", where=where, stage="budget", remedy=DAMAGED)
    if image.mode == "F" and not floating:
        raise ImageError(
            "floating point pixels have no stated range",
            where=where,
            stage="content",
            remedy="store it as 16-bit integers",
        )
    if (
        image.mode in ("RGB", "RGBA", "CMYK")
        and max(tags.get(_BITS_PER_SAMPLE, (8,))) > 8
        and tags.get(_PLANAR) == 2
    ):
        raise ImageError(
            "16-bit colours in separate planes are not read",
            where=where,
            stage="header",
            remedy="store its colours pixel by pixel (PlanarConfiguration 1)",
        )


def _check_jpeg(image: Image.Image, file: BinaryIO, where: str) -> None:
    """Refuse a progressive JPEG that would take minutes, and one of which a part is missing or damaged."""
    place = file.tell()
    file.seek(0)
    data = file.read()
    file.seek(place)
    scans = data.count(b"\xff\xda") if image.info.get("progressive") else 1
    if scans * image.size[0] * image.size[1] > _MOST_SCANNED_PIXELS:
        what = f"a progressive JPEG of this size with {scans:,} scans would take minutes"
        raise ImageError(what, where=where, stage="budget", remedy=DAMAGED)
    if damage := jpeg_damage(data):
        raise ImageError(f"it is {damage}", where=where, stage="decode", remedy=DAMAGED)


def _reduce(image: Image.Image, cover: int) -> None:
    """Have a JPEG decoded at 1/8, 1/4 or 1/2, the smallest of which the shorter side still has `cover` pixels."""
    width, height = image.size
    fitting = [scale for scale in (8, 4, 2) if -(-min(width, height) // scale) >= cover]
    if fitting:  # Pillow takes the smallest scale that is no smaller than the size it is given
        image.draft(image.mode, (max(1, width // fitting[0]), max(1, height // fitting[0])))


def _raw_mode(image: Image.Image) -> str:
    """How the file stores a pixel, in Pillow's words (`RGB;16B`)."""
    tile = getattr(image, "tile", None) or [None]
    arguments = tile[0][3] if tile[0] is not None else ""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _with_raw_mode(image: Image.Image, raw: str) -> Pixels:
    """The image decoded as if a pixel were stored as `raw`, which has the same number of bits."""
    reader: Any = image
    tiles = []
    for codec, extents, offset, arguments in reader.tile:
        changed = (raw, *arguments[1:]) if isinstance(arguments, tuple) else raw
        tiles.append(type(reader.tile[0])(codec, extents, offset, changed))
    reader.tile = tiles
    return np.array(_upright(image))


def _sixteen_bits(image: Image.Image, again: Image.Image, raw: str) -> NDArray[np.uint16]:
    """16-bit colours, which Pillow has no mode for: their high bytes, and their low bytes from a second decoding.

    Pillow unpacks the high byte of each sample. Told the opposite byte order, it unpacks the low byte.
    """
    if raw == "LA;16B":  # 32 bits a pixel, read as four channels
        parts = _with_raw_mode(image, "RGBA").astype(np.uint16)
        return (parts[..., 0::2] << np.uint16(8)) | parts[..., 1::2]
    high = np.array(_upright(image)).astype(np.uint16) << np.uint16(8)
    form, order = raw[:-1], raw[-1]
    if form not in (
        "RGB;16",
        "RGBA;16",
        "RGBX;16",
    ):  # premultiplied alpha: 8 bits, spread over the 16-bit range
        return (high >> np.uint16(8)) * np.uint16(257)
    big = order == "B" or (order == "N" and sys.byteorder == "big")
    low = _with_raw_mode(again, form + ("L" if big else "B"))
    return high | low.astype(np.uint16)


def _opaque(pixels: Pixels, high: float) -> Pixels:
    """`[H, W, 1 to 4]` to 1 or 3 channels: alpha dropped where all is opaque, else composited on black."""
    channels = pixels.shape[2]
    if channels in (1, 3):
        return pixels
    alpha = pixels[..., -1:]
    colours = np.ascontiguousarray(pixels[..., :-1])
    if (alpha == high).all():
        return colours
    shown: Pixels = np.rint(colours * (alpha / np.float32(high))).astype(pixels.dtype)
    return shown


def _values(image: Image.Image, where: str) -> tuple[Pixels, float, float]:
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    bits = max(np.ravel(tags.get(_BITS_PER_SAMPLE, (8,))))
    signed = max(np.ravel(tags.get(_SAMPLE_FORMAT, (1,)))) == 2
    inverted = tags.get(_PHOTOMETRIC) == 0
    image = _upright(image)
    clear = image.info.get("transparency")
    if image.mode.startswith("I"):
        return _deep(image, int(bits), signed, inverted, clear)
    if clear is not None and image.mode in ("1", "L", "P", "RGB"):
        image = image.convert("RGBA" if image.mode in ("P", "RGB") else "LA")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode in _CONVERTED:
        image = image.convert(_CONVERTED[image.mode])
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        what = f"its colour space ({image.mode}) is not one that is read"
        raise ImageError(what, where=where, stage="header", remedy="convert it to RGB")
    pixels = np.array(image)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if signed and image.mode == "L":
        return pixels.view(np.int8).astype(np.float32), -128.0, 127.0
    return _opaque(pixels, 255.0), 0.0, 255.0


def _deep(
    image: Image.Image, bits: int, signed: bool, inverted: bool, clear: object
) -> tuple[Pixels, float, float]:
    """Grey of more than 8 bits: uint16 where it is unsigned and fits, else float32."""
    pixels = np.array(image)[..., None]
    if image.mode == "I":
        bits = 16 if bits == 16 else 32
        pixels = (pixels if signed else pixels.view(np.uint32)).astype(np.float32)
        low, high = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if signed else (0.0, 2.0**bits - 1)
        return pixels, low, high
    high = 2.0 ** (bits if 8 < bits < 16 else 16) - 1
    pixels = np.ascontiguousarray(pixels.astype(np.uint16))
    if isinstance(clear, int):  # a PNG's transparent grey, on black
        pixels[pixels == clear] = 0
    if inverted:  # WhiteIsZero, which Pillow heeds at 8 bits and below only
        pixels = np.uint16(high) - pixels
    return pixels, 0.0, high
