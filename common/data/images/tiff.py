"""What a TIFF says of its images beside the pixels that Pillow reads: stacks, strips and tiles, checksums.

Pillow reads the first image of a stack that stands under one directory, leaves the rows of a missing strip black and
passes on no warning of libjpeg. Whatever it would read wrongly without a word is refused here.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import TiffImagePlugin

from graftwork.common.data.images.jpeg import jpeg_damage
from graftwork.common.errors import ImageError

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _DESCRIPTION = (
    256,
    257,
    258,
    259,
    262,
    266,
    270,
)
_SAMPLES, _ROWS_PER_STRIP, _PLANAR, _TILE_WIDTH, _TILE_HEIGHT, _TABLES = 277, 278, 284, 322, 323, 347
_STRIPS, _TILES = (273, 279), (324, 325)  # offsets, byte counts
_DEPTH, _METAMORPH = 32997, 33629
_DEFLATE, _JPEG = (8, 32946), 7
DAMAGED = "get the file from its source again, or leave it out"


def stack_of(image: TiffImagePlugin.TiffImageFile) -> str:
    """Of a TIFF with more images than directories, in words how many and who wrote them so; "" of any other."""
    tags: Mapping[int, Any] = image.tag_v2
    description = tags.get(_DESCRIPTION) or ""
    description = description if isinstance(description, str) else ""
    samples = _number(tags, _SAMPLES, 1)
    for images, kind in (
        (_imagej(description, samples), "an ImageJ stack"),
        (_ome(description, samples), "an OME-TIFF"),
        (_shaped(description, tags), "a stack written by tifffile"),
        (len(np.ravel(tags.get(_METAMORPH, (1,)))), "a MetaMorph stack"),
        (_number(tags, _DEPTH, 1), "a volume"),
    ):
        if images > image.n_frames:
            return f"{images} images under {image.n_frames} director{'ies' if image.n_frames > 1 else 'y'} ({kind})"
    return ""


def _number(tags: Mapping[int, Any], tag: int, default: int) -> int:
    """The first value of a tag as a whole number of at least 1."""
    values = np.ravel(tags.get(tag, (default,)))
    return max(1, int(values[0])) if len(values) else default


def _imagej(description: str, samples: int) -> int:
    """How many images ImageJ says a file holds: `images`, or channels, slices and frames; 1 if not stated."""
    if not description.startswith("ImageJ="):
        return 1
    said = dict(re.findall(r"^(images|channels|slices|frames)=(\d{1,9})\s*$", description, re.MULTILINE))
    channels = int(said.get("channels", 1))
    channels = 1 if channels == samples else channels
    return max(int(said.get("images", 1)), channels * int(said.get("slices", 1)) * int(said.get("frames", 1)))


def _ome(description: str, samples: int) -> int:
    """How many planes OME-XML says a file holds; 1 if they are in several files or not stated."""
    if "<OME" not in description or "FileName=" in description:
        return 1
    planes = 0
    for pixels in re.findall(r"<(?:\w+:)?Pixels\b[^>]*>", description):
        sizes = {axis: int(size) for axis, size in re.findall(r'\bSize([ZCT])="(\d{1,9})"', pixels)}
        planes += sizes.get("Z", 1) * sizes.get("T", 1) * -(-sizes.get("C", 1) // samples)
    return max(1, planes)


def _shaped(description: str, tags: Mapping[int, Any]) -> int:
    """How many images the shape has that tifffile describes an array by."""
    if not description.startswith('{"shape"'):
        return 1
    try:
        shape = json.loads(description)["shape"]
        values = math.prod(int(length) for length in shape)
    except (ValueError, KeyError, TypeError, RecursionError):
        return 1
    one = _number(tags, _WIDTH, 1) * _number(tags, _HEIGHT, 1) * _number(tags, _SAMPLES, 1)
    return max(1, values // one)


def check_tiff(tags: Mapping[int, Any], data: bytes, where: str) -> None:
    """Refuse an image whose strips or tiles are not all there and whole.

    JPEG is held against libjpeg's warnings, deflate against its checksum. Other codings of TIFF have none.

    Args:
        tags: of the image's directory. data: the file.

    Raises:
        ImageError: some are missing, lie beyond the end of the file, are too short, or are damaged.
    """

    def fault(what: str) -> ImageError:
        return ImageError(what, where=where, stage="decode", remedy=DAMAGED)

    tiled = _TILE_WIDTH in tags or _TILES[0] in tags
    kind = "tiles" if tiled else "strips"
    places, lengths = (_numbers(tags, tag) for tag in (_TILES if tiled else _STRIPS))
    expected, size = _layout(tags, tiled)
    if len(places) < expected:
        raise fault(f"it is truncated: {len(places)} of its {expected} {kind} are there")
    compression = _number(tags, _COMPRESSION, 1)
    jpeg_tables = tags.get(_TABLES, b"")
    for index, place in enumerate(places[:expected]):
        needed = size(index) if compression == 1 else 1
        length = lengths[index] if index < len(lengths) else needed
        if place == 0 or length == 0:
            raise fault(f"{kind[:-1]} {index + 1} of {expected} is missing")
        if place + max(length, needed) > len(data) and place + needed > len(data):
            raise fault(
                f"it is truncated: {kind[:-1]} {index + 1} of {expected} ends at byte {place + max(length, needed):,}, "
                f"the file at {len(data):,}"
            )
        if length < needed:
            raise fault(f"{kind[:-1]} {index + 1} of {expected} has {length:,} bytes where {needed:,} belong")
        coded = data[place : place + length]
        if compression != 1 and len(coded) < length:
            raise fault(
                f"it is truncated: {kind[:-1]} {index + 1} of {expected} has {len(coded):,} of {length:,} bytes"
            )
        if compression == _JPEG:
            damage = jpeg_damage(coded, jpeg_tables if isinstance(jpeg_tables, bytes) else b"")
            if damage:
                raise fault(f"{kind[:-1]} {index + 1} of {expected} is {damage}")
        elif compression in _DEFLATE and _number(tags, _FILL_ORDER, 1) == 1 and not _inflates(coded):
            raise fault(f"{kind[:-1]} {index + 1} of {expected} is damaged: it fails its checksum")


def _numbers(tags: Mapping[int, Any], tag: int) -> Sequence[int]:
    return [int(value) for value in np.ravel(tags.get(tag, ()))]


def _layout(tags: Mapping[int, Any], tiled: bool) -> tuple[int, Any]:
    """How many strips or tiles an image has, and the bytes that one of them takes uncompressed, by its index."""
    width, height, samples = _number(tags, _WIDTH, 1), _number(tags, _HEIGHT, 1), _number(tags, _SAMPLES, 1)
    bits = _numbers(tags, _BITS) or [1]
    planes = samples if _number(tags, _PLANAR, 1) == 2 else 1
    per_pixel = bits[0] if planes > 1 else bits[0] * samples if len(bits) < samples else sum(bits)
    if tiled:
        wide, high = _number(tags, _TILE_WIDTH, width), _number(tags, _TILE_HEIGHT, height)
        count = -(-width // wide) * -(-height // high) * planes
        return (
            count,
            lambda index: 1 if _number(tags, _PHOTOMETRIC, 1) == 6 else -(-wide * per_pixel // 8) * high,
        )
    rows = min(_number(tags, _ROWS_PER_STRIP, height), height)
    strips = -(-height // rows)

    def size(index: int) -> int:
        if _number(tags, _PHOTOMETRIC, 1) == 6:  # YCbCr: how much colour is left out is up to the file
            return 1
        last = height - rows * (strips - 1)
        return -(-width * per_pixel // 8) * (last if index % strips == strips - 1 else rows)

    return strips * planes, size


def _inflates(coded: bytes) -> bool:
    """Whether a deflated strip is whole and fits its checksum; it is inflated in pieces and kept nowhere."""
    inflater = zlib.decompressobj()
    try:
        left = coded
        while left and not inflater.eof:
            inflater.decompress(left, 2**20)
            left = inflater.unconsumed_tail
    except zlib.error:
        return False
    return inflater.eof
