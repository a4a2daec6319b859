"""Whether the pixels of a PNG are whole: checksums, and as many bytes as its header says."""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO

from graftwork.common.errors import ImageError

DAMAGED = "get the file from its source again, or leave it out"


def check_png(file: BinaryIO, where: str) -> None:
    """Refuse a PNG whose pixels are cut short, fail a checksum, or are not as many as its header says.

    Pillow checks no chunk of pixels, and leaves rows black for which there are none.
    """

    def fault(what: str) -> ImageError:
        return ImageError(what, where=where, stage="decode", remedy=DAMAGED)

    begin = file.tell()
    place, expected, inflated = 8, 0, 0
    inflater = zlib.decompressobj()
    while True:
        file.seek(place)
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            break
        length, name = int.from_bytes(head[:4], "big"), head[4:]
        if name in (b"IHDR", b"PLTE", b"IDAT", b"tRNS", b"eXIf"):
            body, stated = file.read(length), file.read(4)
            if len(body) < length or len(stated) < 4:
                raise fault(
                    f"it is truncated: {len(body):,} of the {length:,} bytes of its chunk {name.decode()} are there"
                )
            if zlib.crc32(body, zlib.crc32(name)) != int.from_bytes(stated, "big"):
                raise fault(f"it is damaged: its chunk {name.decode()} at byte {place:,} fails its checksum")
            if name == b"IHDR":
                expected = _png_bytes(body)
            elif name == b"IDAT":
                while body and not inflater.eof and inflated <= expected:
                    inflated += len(inflater.decompress(body, 2**20))
                    body = inflater.unconsumed_tail
        place += 12 + length
    if inflated != expected:
        more = "more than " if inflated > expected else ""
        raise fault(
            f"its pixels take {more}{min(inflated, expected):,} bytes where its header says {expected:,}"
        )
    file.seek(begin)


def _png_bytes(header: bytes) -> int:
    """The bytes of all rows of a PNG, each with its filter (PNG specification, 7.2 and 8.2), from its IHDR."""
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header[:13])
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    # of each pass: first column, first row, steps
    passes = [
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ]
    total = 0
    for left, top, across, down in passes if interlaced else [(0, 0, 1, 1)]:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        total += rows * (1 + -(-columns * bits // 8)) if columns > 0 and rows > 0 else 0
    return total
