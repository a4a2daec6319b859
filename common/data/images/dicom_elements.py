"""The elements of a DICOM data set that an image depends on, wherever a writer left them."""

from __future__ import annotations

import contextlib
from typing import Any, BinaryIO, cast

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

COLOURS = ("Red", "Green", "Blue")
_ELEMENTS = [
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "ModalityLUTSequence",
    "RescaleIntercept",
    "RescaleSlope",
    "RescaleType",
    "Units",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "PresentationLUTShape",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    *(f"{colour}PaletteColorLookupTable{part}" for colour in COLOURS for part in ("Descriptor", "Data")),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in COLOURS),
]
_TAGS = [cast(int, tag_for_keyword(keyword)) for keyword in _ELEMENTS]
PIXELS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}


def read_elements(
    body: BinaryIO, implicit: bool, little: bool
) -> tuple[Dataset, list[tuple[int, str | None, int]], list[int]]:
    """The elements up to the pixel data; tag, VR and length of these (or nothing); lengths of stray item tags.

    Item and delimitation tags (FFFE) are no elements. Some writers leave one among the elements: what one of a stated
    length holds is skipped, as pydicom does.
    """
    found: list[tuple[int, str | None, int]] = []
    stray: list[int] = []

    def at_pixels(tag: int, vr: str | None, length: int) -> bool:
        if tag in PIXELS:
            found[:] = [(tag, vr, length)]
        elif tag >> 16 == 0xFFFE:
            stray.append(length)
            return length == 0xFFFFFFFF  # nothing says where it ends
        return tag > 0x7FE00007

    data = Dataset()
    item = b"\xfe\xff" if little else b"\xff\xfe"
    while True:
        data.update(
            read_dataset(body, implicit, little, stop_when=at_pixels, specific_tags=cast("list[Any]", _TAGS))
        )
        end = body.tell()
        body.seek(max(0, end - 8))
        # pydicom takes the end of an item for the end of the file
        stopped = body.read(8) == item + (b"\x0d\xe0" if little else b"\xe0\x0d") + bytes(4)
        if found or not stopped or 0xFFFFFFFF in stray:
            body.seek(end)
            return data, found, stray
        stray.append(0)
        while (tag := body.read(8))[:2] == item and not any(tag[4:]):
            stray.append(0)
        body.seek(-len(tag), 1)


def add_later_elements(
    data: Dataset, body: BinaryIO, place: int, length: int, implicit: bool, little: bool
) -> None:
    """Add the elements that stand behind the pixel data, where their order (PS3.5, 7.1) forbids them to be.

    What is behind the pixels and is no data set (padding to a whole block, another program's mark) adds nothing.
    """
    if length == 0xFFFFFFFF:
        end = _end_of_fragments(body, place)
        if end is None:
            return
        place = end
    else:
        place += length
    body.seek(place)

    def is_none(tag: int, vr: str | None, length: int) -> bool:
        return tag >> 16 < 8 or tag >> 16 in (0xFFFC, 0xFFFE)

    with contextlib.suppress(Exception):
        later = read_dataset(
            body, implicit, little, stop_when=is_none, specific_tags=cast("list[Any]", _TAGS)
        )
        for element in later:
            if element.tag in _TAGS and element.tag not in data:
                data.add(element)


def _end_of_fragments(body: BinaryIO, place: int) -> int | None:
    """Where encapsulated pixel data end (PS3.5, A.4); None where they are cut short."""
    while True:
        body.seek(place)
        head = body.read(8)
        if len(head) < 8 or head[:2] != b"\xfe\xff":
            return None
        if head[2:4] == b"\xdd\xe0":
            return place + 8
        place += 8 + int.from_bytes(head[4:], "little")
