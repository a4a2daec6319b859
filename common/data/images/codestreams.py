"""Compressed frames of DICOM files: what their headers claim, checked before a decoder sees them, and who decodes them.

The decoders are native code. A codestream that contradicts the data set around it (another size, other components,
millions of tiles) is refused here, from its header alone: no memory is asked for on the word of a damaged file.
Each transfer syntax has one decoder, the first of its list that is installed, so equal files give equal arrays.

This module is also the pydicom plugin that lets `imagecodecs` (libjpeg-turbo 3) decode JPEG lossless, all seven
predictors, and 12-bit JPEG. GDCM is never used: it crashes on damaged files.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydicom import uid
from pydicom.pixels.decoders.base import get_decoder

from graftwork.common.data.images.jpeg import jpeg_damage

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import DecodeRunner


_NATIVE = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
)
# In the order in which they are asked; `pylibjpeg` decodes JPEG only where somebody has added pylibjpeg-libjpeg.
_PLUGINS: dict[uid.UID, tuple[str, ...]] = {
    uid.JPEGBaseline8Bit: ("pillow", "imagecodecs", "pylibjpeg"),
    uid.JPEGExtended12Bit: ("imagecodecs", "pylibjpeg"),
    uid.JPEGLossless: ("imagecodecs", "pylibjpeg"),
    uid.JPEGLosslessSV1: ("imagecodecs", "pylibjpeg"),
    uid.JPEGLSLossless: ("pyjpegls", "pylibjpeg"),
    uid.JPEGLSNearLossless: ("pyjpegls", "pylibjpeg"),
    uid.JPEG2000Lossless: ("pylibjpeg", "pillow"),
    uid.JPEG2000: ("pylibjpeg", "pillow"),
    uid.HTJ2KLossless: ("pylibjpeg",),
    uid.HTJ2KLosslessRPCL: ("pylibjpeg",),
    uid.HTJ2K: ("pylibjpeg",),
    uid.RLELossless: ("pydicom",),
}
_PACKAGES = {"pillow": "pillow", "imagecodecs": "imagecodecs", "pyjpegls": "pyjpegls", "pydicom": "pydicom"}
_JPEG = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1)
# What pydicom asks of a plugin: for each transfer syntax, what has to be installed.
DECODER_DEPENDENCIES = dict.fromkeys(_JPEG, ("numpy", "imagecodecs>=2025.3.30"))

# Tiles, packets and code blocks that openjpeg would set up; the largest radiographs have some 10,000.
_MOST_PIECES = 4_000_000
# A progressive JPEG redraws the image once a scan; ten passes over the largest image allowed are enough.
_MOST_SCANNED_PIXELS = 1_800_000_000


class Refused(Exception):
    """A codestream is damaged or contradicts its data set; the message says how, and quotes numbers only."""


@dataclass(frozen=True)
class Expected:
    """What the data set says of one frame: size in pixels, samples per pixel, bits allocated for each sample."""

    rows: int
    columns: int
    samples: int
    allocated: int

    def agree(self, rows: int, columns: int, samples: int, precision: int) -> None:
        """Refuse a codestream whose header claims another size, other components or deeper samples."""
        if (rows, columns, samples) != (self.rows, self.columns, self.samples):
            raise Refused(
                f"the compressed frame claims {rows} x {columns} x {samples}, "
                f"the data set {self.rows} x {self.columns} x {self.samples} (rows, columns, samples)"
            )
        if not 1 <= precision <= self.allocated:
            raise Refused(
                f"the compressed frame holds {precision}-bit samples, {self.allocated} bits are allocated"
            )


def checked(frame: bytes, syntax: uid.UID, expected: Expected) -> bytes:
    """The codestream of `frame` (a JP2 wrapper taken off), once its header agrees with the data set.

    Raises:
        Refused: it is damaged, truncated, contradicts `expected`, or would ask for work out of all proportion.
    """
    if syntax in uid.JPEG2000TransferSyntaxes:
        return _checked_jpeg2000(frame, expected)
    if syntax in uid.JPEGLSTransferSyntaxes:
        _check_jpeg_ls(frame, expected)
    elif syntax in _JPEG:
        _check_jpeg(frame, expected)
    elif syntax == uid.RLELossless:
        # PackBits can grow by 1 byte in 128; what is twice as long as the image is not its encoding.
        size = expected.rows * expected.columns * expected.samples * max(1, expected.allocated // 8)
        if len(frame) > 2 * size + 4096:
            raise Refused(f"the RLE frame has {len(frame)} bytes for an image of {size}")
        _check_rle(frame, expected.rows * expected.columns)
    return frame


def _check_rle(frame: bytes, size: int) -> None:
    """Refuse a frame whose byte planes do not unpack to `size` bytes each; pydicom cuts off what is too long."""
    import imagecodecs

    count, *offsets = struct.unpack_from("<16I", frame.ljust(64, b"\x00"))
    if not 1 <= count <= 15 or any(not 64 <= place <= len(frame) for place in offsets[:count]):
        raise Refused("the header of the RLE frame is damaged")
    ends = [*offsets[1:count], len(frame)]
    for number, (start, end) in enumerate(zip(offsets, ends, strict=False), 1):
        unpacked = len(imagecodecs.packbits_decode(frame[start:end])) if start < end else 0
        if not size <= unpacked <= size + 2:  # a plane of odd length is padded
            raise Refused(
                f"byte plane {number} of the RLE frame unpacks to {unpacked} bytes, {size} belong there"
            )


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The marker segments of a JPEG or JPEG-LS stream up to and including its first start of scan (T.81, B.1.1)."""
    if data[:2] != b"\xff\xd8":
        raise Refused("the compressed frame does not begin as a JPEG does")
    place = 2
    while place + 4 <= len(data):
        if data[place] != 0xFF:
            break
        marker = data[place + 1]
        if marker == 0xFF:  # fill byte
            place += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:  # these stand alone
            place += 2
            continue
        (length,) = struct.unpack_from(">H", data, place + 2)
        segment = data[place + 4 : place + 2 + length]
        if length < 2 or len(segment) != length - 2:
            break
        yield marker, segment
        if marker == 0xDA:
            if data.rfind(b"\xff\xd9", place) < 0:
                raise Refused("the compressed frame is truncated (no end of image)")
            return
        place += 2 + length
    raise Refused("the compressed frame is truncated or its markers are damaged")


def _frame_header(segment: bytes) -> tuple[int, int, int, int]:
    """Rows, columns, components, precision from the payload of a start of frame."""
    if len(segment) < 6:
        raise Refused("the compressed frame has a damaged header")
    precision, rows, columns, components = struct.unpack_from(">BHHB", segment)
    if len(segment) != 6 + 3 * components:
        raise Refused("the compressed frame has a damaged header")
    return rows, columns, components, precision


def _check_jpeg(data: bytes, expected: Expected) -> None:
    process = -1
    for marker, segment in _segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if process >= 0 or marker > 0xC3:  # SOF5 to SOF15: hierarchical or arithmetic, neither is DICOM
                raise Refused(f"JPEG process SOF{marker - 0xC0} is not one that DICOM allows here")
            process = marker - 0xC0
            expected.agree(*_frame_header(segment))
        elif marker == 0xDA:
            if process < 0 or len(segment) < 6 or len(segment) != 4 + 2 * segment[0]:
                raise Refused("the compressed frame has a damaged scan header")
            # T.81, table B.3: in a sequential scan the spectral selection is 0 to 63, all there is
            if process < 2 and segment[-3:] != b"\x00\x3f\x00":
                raise Refused("the scan header of the compressed frame is broken (spectral selection)")
    if process == 2 and data.count(b"\xff\xda") * expected.rows * expected.columns > _MOST_SCANNED_PIXELS:
        raise Refused("the progressive JPEG has too many scans")
    if damage := jpeg_damage(data):
        raise Refused(f"the compressed frame is {damage}")


def _check_jpeg_ls(data: bytes, expected: Expected) -> None:
    seen = False
    for marker, segment in _segments(data):
        if marker == 0xF7:
            expected.agree(*_frame_header(segment))
            seen = True
        elif marker == 0xF8 and segment[:1] != b"\x01":  # mapping tables and oversize dimensions
            raise Refused("the JPEG-LS stream has parameters that DICOM does not use")
    if not seen:
        raise Refused("the JPEG-LS stream has no frame header")


def _without_jp2(data: bytes) -> bytes:
    """The codestream inside JP2 boxes (T.800, annex I), which DICOM forbids and some files have."""
    if not data.startswith(b"\x00\x00\x00\x0cjP  "):
        return data
    place = 12
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind == b"jp2c":
            return data[place + 8 : place + length if length >= 8 else len(data)]
        if length < 8:  # 0: to the end; 1: 64-bit length; less: damaged
            break
        place += length
    raise Refused("the JP2 file inside the pixel data holds no codestream")


def _checked_jpeg2000(frame: bytes, expected: Expected) -> bytes:
    data = _without_jp2(frame)
    if data[:4] != b"\xff\x4f\xff\x51" or len(data) < 45:
        raise Refused("the compressed frame does not begin as a JPEG 2000 codestream does")
    right, bottom, left, top, wide, high, tile_left, tile_top, components = struct.unpack_from(
        ">8IH", data, 8
    )
    if len(data) < 42 + 3 * components or components == 0:
        raise Refused("the compressed frame has a damaged header")
    kinds = {data[42 + 3 * index : 45 + 3 * index] for index in range(components)}
    if len(kinds) != 1 or data[43:45] != b"\x01\x01":
        raise Refused("the components of the JPEG 2000 codestream differ in depth or size")
    expected.agree(bottom - top, right - left, components, (data[42] & 0x7F) + 1)
    if not (wide and high and tile_left <= left < tile_left + wide and tile_top <= top < tile_top + high):
        raise Refused("the tiles of the JPEG 2000 codestream do not cover the image")
    tiles = _parts(right - tile_left, wide) * _parts(bottom - tile_top, high)
    tile_size = min(wide, expected.columns), min(high, expected.rows)
    pieces = 0
    for marker, segment in _jpeg2000_segments(data):
        if marker == 0x52 and len(segment) >= 10:  # COD
            (layers,) = struct.unpack_from(">H", segment, 2)
            pieces = max(pieces, layers * _pieces(segment[5:], bool(segment[0] & 1), tile_size))
        elif marker == 0x53 and len(segment) >= 7:  # COC; one byte says which component, there are at most 3
            pieces = max(pieces, _pieces(segment[2:], bool(segment[1] & 1), tile_size))
    if pieces == 0:
        raise Refused("the JPEG 2000 codestream does not say how it is coded")
    if tiles * 64 + tiles * components * pieces > _MOST_PIECES:
        raise Refused("the JPEG 2000 codestream claims more tiles and packets than an image of this size has")
    return data


def _parts(whole: int, part: int) -> int:
    return -(-whole // part)


def _pieces(style: bytes, precincts: bool, tile: tuple[int, int]) -> int:
    """Packets and code blocks of one component in one tile and layer (T.800, A.6.1: SPcod)."""
    levels, block_width, block_height = style[0], (style[1] & 15) + 2, (style[2] & 15) + 2
    if levels > 32 or block_width + block_height > 12 or (precincts and len(style) < 6 + levels):
        raise Refused("the JPEG 2000 codestream has a damaged coding style")
    count = 0
    for level in range(levels + 1):
        size = style[5 + level] if precincts else 0xFF
        across, down = size & 15, size >> 4
        width, height = (_parts(length, 1 << (levels - level)) for length in tile)
        count += _parts(width, 1 << across) * _parts(height, 1 << down)
        count += _parts(width, 1 << min(across, block_width)) * _parts(height, 1 << min(down, block_height))
    return count


def _jpeg2000_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The marker segments of the main header and of every tile-part (T.800, annex A); refuses truncation."""
    place, end = 2, 0
    while place + 4 <= len(data):
        mark, marker, length = struct.unpack_from(">BBH", data, place)
        if mark != 0xFF or (length < 2 and marker != 0x93):
            break
        if marker == 0x90 and place + 12 <= len(data):  # SOT: where this tile-part ends
            (size,) = struct.unpack_from(">I", data, place + 6)
            end = place + size if size else len(data)
            if size and size < 14:
                break
        elif marker == 0x93:  # SOD: the coded data, up to the end of the tile-part
            if end > len(data):
                raise Refused("the compressed frame is truncated")
            if end <= place:
                break
            place = end
            if place >= len(data) - 1 or data[place : place + 2] == b"\xff\xd9":
                return
            if data[place : place + 2] != b"\xff\x90":  # padding after the last tile-part
                if not data[place:].strip(b"\x00"):
                    return
                break
            continue
        yield marker, data[place + 4 : place + 2 + length]
        place += 2 + length
    raise Refused("the compressed frame is truncated or its markers are damaged")


def is_available(syntax: str) -> bool:
    """Whether the plugin of this module decodes `syntax` here (pydicom asks)."""
    return syntax in DECODER_DEPENDENCIES and importlib.util.find_spec("imagecodecs") is not None


def _decode_frame(src: bytes, runner: DecodeRunner) -> bytes:
    """One JPEG frame by libjpeg-turbo, its components as they are stored (pydicom calls this)."""
    import imagecodecs

    # Equal colour spaces in and out: nothing is converted, the data set says what the components are. Only an
    # Adobe marker that says YCbCr outweighs a data set that says RGB, as in pydicom's other plugins.
    space = None
    if runner.samples_per_pixel == 3:
        adobe = b"\xff\xee\x00\x0eAdobe"
        place = src.find(adobe, 0, 4096)
        converted = place >= 0 and src[place + 15 : place + 16] == b"\x01"
        space = 2 if converted and runner.photometric_interpretation == "RGB" else 3
    pixels = imagecodecs.jpeg8_decode(src, colorspace=None if space is None else 3, outcolorspace=space)
    runner.set_option("bits_allocated", 8 * pixels.dtype.itemsize)
    runner.set_option("planar_configuration", 0)
    return bytes(pixels.tobytes())


def decoder_of(syntax: uid.UID, frame: bytes = b"") -> str | None:
    """The plugin that decodes `syntax` here; None where there is none.

    A frame sent as baseline that is something else (12 bits, lossless) goes past Pillow, which cannot read it.
    """
    installed = get_decoder(syntax).available_plugins
    for name in _PLUGINS[syntax]:
        if name not in installed:
            continue
        if name == "pillow" and syntax in _JPEG and frame and not _is_plain(frame):
            continue
        return name
    return None


def _is_plain(frame: bytes) -> bool:
    return any(0xC0 <= marker <= 0xC2 and segment[:1] == b"\x08" for marker, segment in _segments(frame))


def decoders() -> dict[str, str | None]:
    """For each DICOM transfer syntax (its name in PS3.6, table A-1) the decoder with its version; None: none here."""
    found: dict[str, str | None] = {syntax.name: _with_version("pydicom", syntax) for syntax in _NATIVE}
    for syntax in _PLUGINS:
        name = decoder_of(syntax)
        found[syntax.name] = None if name is None else _with_version(name, syntax)
    return found


def _with_version(name: str, syntax: uid.UID) -> str:
    package = _PACKAGES.get(name, "pylibjpeg-libjpeg" if syntax in _JPEG else "pylibjpeg-openjpeg")
    return f"{package} {importlib.metadata.version(package)}"


def supported(syntax: uid.UID) -> bool:
    """Whether `syntax` is one that graftwork reads, given its decoder."""
    return syntax in _NATIVE or syntax in _PLUGINS


for _syntax in _JPEG:
    if "imagecodecs" not in get_decoder(_syntax).available_plugins:
        get_decoder(_syntax).add_plugin("imagecodecs", (__name__, "_decode_frame"))
