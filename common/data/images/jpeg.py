"""Whether the coded data of a JPEG decode to the whole image.

libjpeg decodes a damaged stream, fills missing parts with grey and only emits a warning, which neither Pillow nor
imagecodecs passes on. Here the stream is decoded once more by simplejpeg (libjpeg-turbo), at an eighth of its size and
without colour where that is possible, and its warnings are kept. This costs about a fifth of the decoding.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import simplejpeg

# Of libjpeg's warnings (jerror.h) those that mean that pixels are missing or wrong. Others (an unknown revision of
# JFIF, an odd Adobe marker, scan parameters that nobody needs) do not touch the image.
_PREMATURE = ("premature end of data segment", "Premature end of JPEG file")
_LOSS = (
    *_PREMATURE,
    "bad Huffman code",
    "bad arithmetic code",
    "instead of RST",
    "Inconsistent progression",
)
_LEFT_OVER = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")
_KEPT = (0xDB, 0xC4, 0xCC, 0xDD)  # tables of quantisation, Huffman and arithmetic coding, restart interval
_FRAMES = {
    0xC0,
    0xC1,
    0xC2,
    0xC3,
    0xC9,
    0xCA,
}  # baseline, extended, progressive, lossless; the last two arithmetic
_PROGRESSIVE, _LOSSLESS = (0xC2, 0xCA), 0xC3
_END = b"\xff\xd9"
_ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"
_ZEROED = bytes(32)  # the coded data of five blocks at least, of which each coefficient is one same value
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


@dataclass
class _Stream:
    """A JPEG as far as its pixels depend on it: tables and frame header, first scan header, and all that follows."""

    tables: list[bytes] = field(default_factory=list)
    process: int = 0
    frame: bytes = b""
    scan: bytes = b""
    coded: bytes = b""

    @property
    def components(self) -> bytes:
        return self.frame[6::3]

    def written(self, coded: bytes) -> bytes:
        """The stream without application data (a thumbnail, an unknown revision), its samples called 8 bits deep.

        What a sample's depth is changes nothing about the coded data, and libjpeg's plain interface takes 8 bits.
        """
        scan = self.scan
        if self.process in (0xC0, 0xC1, 0xC9):
            scan = scan[:-3] + b"\x00\x3f\x00"
        # colours: YCbCr, of which grey is the first component; none of lossless ones or of CMYK
        colours = b"" if len(self.components) < 3 else _ADOBE + bytes([self._is_ycbcr])
        parts = [b"\xff\xd8", colours, *self.tables, _segment(self.process, b"\x08" + self.frame[1:])]
        return b"".join([*parts, _segment(0xDA, scan), coded, _END])

    @property
    def _is_ycbcr(self) -> bool:
        return len(self.components) == 3 and self.process != _LOSSLESS


def jpeg_damage(data: bytes, tables: bytes = b"") -> str:
    """What of a JPEG is missing or damaged, in a phrase that follows "it is"; "" where all of it decodes.

    Bytes behind the end of the image, application data, a missing end marker behind complete data and padding before
    it are no damage. A stream that libjpeg cannot decode at all is left to the reader that refuses it.

    Args:
        data: the JPEG, or an abbreviated one of a TIFF.
        tables: of an abbreviated one, the stream with its tables (TIFF tag 347).
    """
    stream = _Stream()
    if (tables and _read_into(stream, tables) is None) or (start := _read_into(stream, data)) is None:
        return ""
    stream.coded = data[start:]
    if not stream.frame or not stream.components or not stream.scan:
        return ""
    if any(_zeroed(stream.process, *scan) for scan in _scans(stream)):
        return "damaged: a block of its coded data was overwritten with zeros"
    said = _warning(stream, stream.coded)
    left_over = _LEFT_OVER.search(said)
    if left_over and left_over[2] == "d9" and _is_padding(stream, int(left_over[1])):
        said = ""
    if any(phrase in said for phrase in _PREMATURE):
        return "truncated or damaged: its coded data end before the image does"
    if left_over and said:
        return f"damaged: {left_over[1]} bytes of its coded data fit nowhere"
    if any(phrase in said for phrase in _LOSS):
        return f"damaged: {said.removeprefix('Corrupt JPEG data: ')} in its coded data"
    if stream.process in _PROGRESSIVE or stream.scan[0] < len(stream.components):
        scans, lacking = _open_coefficients(stream)
        if lacking:
            return f"truncated: its scans ({scans}) leave {lacking} of {len(stream.components)} components incomplete"
    return ""


def _segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def _read_into(stream: _Stream, data: bytes) -> int | None:
    """Read the segments up to the first scan; where its coded data begin, None where the stream has no scan.

    Of a stream of tables alone, the end of it.
    """
    place = 2
    while (place := data.find(b"\xff", place)) >= 0 and place + 4 <= len(data):
        marker = data[place + 1]
        if marker == 0xFF:
            place += 1
            continue
        if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:
            place += 2
            continue
        if marker == 0xD9:
            break
        length: int = struct.unpack_from(">H", data, place + 2)[0]
        payload = data[place + 4 : place + 2 + length]
        if length < 2 or len(payload) != length - 2:
            return None
        if marker in _KEPT:
            stream.tables.append(_segment(marker, payload))
        elif marker in _FRAMES and len(payload) >= 6 and len(payload) == 6 + 3 * payload[5]:
            stream.process, stream.frame = marker, payload
        elif 0xC0 <= marker <= 0xCF:
            return None
        elif marker == 0xDA and len(payload) >= 6 and len(payload) == 4 + 2 * payload[0]:
            stream.scan = payload
            return place + 2 + length
        place += 2 + length
    return len(data) if stream.tables else None


def _warning(stream: _Stream, coded: bytes) -> str:
    """libjpeg's first warning about the coded data; what it says where it cannot decode them; "" where all is well."""
    lossless, components = stream.process == _LOSSLESS, len(stream.components)
    colours = {1: "GRAY", 3: "RGB" if lossless else "GRAY", 4: "CMYK"}.get(components)
    if colours is None:
        return ""
    scale = {} if lossless else {"min_height": 1, "min_width": 1, "min_factor": 8}
    try:
        simplejpeg.decode_jpeg(stream.written(coded), colorspace=colours, strict=True, **scale)
    except ValueError as error:
        return str(error)
    return ""


def _is_padding(stream: _Stream, count: int) -> bool:
    """Whether the `count` bytes before the end marker are filling: one value, and the image is complete without it."""
    coded = stream.coded[: stream.coded.find(_END)]
    value = coded[-1:]
    body = coded.rstrip(value)
    if len(coded) - len(body) < count:
        return False
    # the last bytes of the image may have the value of the padding
    tries = (_warning(stream, body + value * kept) for kept in range(3))
    return any(not any(phrase in said for phrase in _LOSS) for said in tries)


def _scans(stream: _Stream) -> Iterator[tuple[bytes, bytes, dict[int, int]]]:
    """Each scan: its header, its coded data, and the symbol of the all-zero code in each AC table."""
    zeros: dict[int, int] = {}
    for table in stream.tables:
        if table[1] == 0xC4:
            zeros.update(_zero_symbols(table[4:]))
    scan, begin, place = stream.scan, 0, 0
    while found := _MARKER.search(stream.coded, place):
        marker, place = stream.coded[found.start() + 1], found.end()
        if begin >= 0:
            yield scan, stream.coded[begin : found.start()], zeros
            begin = -1
        if marker == 0xD9 or place + 2 > len(stream.coded):
            return
        (length,) = struct.unpack_from(">H", stream.coded, place)
        payload = stream.coded[place + 2 : place + length]
        place += length
        if marker == 0xC4:
            zeros.update(_zero_symbols(payload))
        elif marker == 0xDA and len(payload) >= 6 and len(payload) == 4 + 2 * payload[0]:
            scan, begin = payload, place
    if begin >= 0:
        yield scan, stream.coded[begin:], zeros


def _zero_symbols(payload: bytes) -> Iterator[tuple[int, int]]:
    """Of each Huffman table for AC its number and first symbol, whose code is nothing but zeros (T.81, C.2)."""
    place = 0
    while place + 18 <= len(payload):
        kind, symbols = payload[place], sum(payload[place + 1 : place + 17])
        if kind >> 4 == 1:
            yield kind & 15, payload[place + 17]
        place += 17 + symbols


def _zeroed(process: int, scan: bytes, coded: bytes, zeros: Mapping[int, int]) -> bool:
    """Whether a block of a Huffman-coded scan was overwritten with zeros.

    Zero bits say "nothing more in this block" where that is the first symbol of each table, as in the flat parts of
    an image. Where it is another, they say that every coefficient of block after block has one same value.
    """
    if process not in (0xC0, 0xC1, 0xC2) or (process == 0xC2 and scan[-3] == 0):
        return False
    used = [zeros.get(each & 15, 0) for each in scan[2:-3:2]]
    natural = all(symbol & 15 == 0 and symbol != 0xF0 for symbol in used)
    return not natural and coded.rstrip(b"\x00").find(_ZEROED) >= 0


def _open_coefficients(stream: _Stream) -> tuple[int, int]:
    """How many scans a JPEG has, and of how many components they leave coefficients or their last bits open."""
    progressive = stream.process in _PROGRESSIVE
    open_bits = {name: [1] * 64 for name in stream.components}
    scans = 0
    for scan, _, _ in _scans(stream):
        scans += 1
        first, last, low = (0, 63, 0) if not progressive else (scan[-3], min(scan[-2], 63), scan[-1] & 15)
        for name in scan[1:-3:2]:
            if name in open_bits:
                open_bits[name][first : last + 1] = [low] * (last + 1 - first)
    return scans, sum(any(bits) for bits in open_bits.values())
