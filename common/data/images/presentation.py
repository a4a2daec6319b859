"""The stored values of a DICOM frame as they are meant to be seen, and the range that they may take.

The order is that of the standard (PS3.4, figure N.2-1): modality LUT or rescale, VOI LUT or window, inversion. The
range follows from Bits Stored, Pixel Representation, the rescale or the depth of a table, never from the values
found, so two images of one machine stay comparable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from graftwork.common.data.images.dicom import GREY, Header
from graftwork.common.data.images.dicom_elements import COLOURS
from graftwork.common.errors import ImageError

_UNITS = (
    *("HU", "OD", "US", "MGML", "Z_EFF", "ED", "EDW", "HU_MOD", "PCT"),  # Rescale Type
    *("CNTS", "NONE", "CM2", "CM2ML", "PCNT", "CPS", "BQML", "MGMINML", "UMOLMINML", "MLMING", "MLG", "1CM"),
    *("UMOLML", "PROPCNTS", "PROPCPS", "MLMINML", "MLML", "GML", "STDDEV", "SUV"),
)

Pixels = NDArray[Any]
Floats = NDArray[np.float32]


def presented(
    header: Header, stored: Pixels, index: int
) -> tuple[Pixels, float, float, tuple[str, ...], dict[str, str]]:
    """Frame `index` with the stored values `stored` as pixels `[H, W, 1 or 3]` in `low` to `high`, remarks and facts.

    Remarks say what is unusual and was passed over, facts what decides the range (see `StoredImage`). The pixels are
    uint8
    or uint16 where that is what is stored and nothing rescales them, else float32.

    Raises:
        ImageError: its tables or windows are damaged, or nothing states the range of floating point pixels.
    """
    try:
        if header.photometric in GREY:
            pixels, low, high = _grey(header, stored, index)
        elif header.photometric == "PALETTE COLOR":
            pixels, low, high = _palette(header, stored)
        else:
            low, high = _stored_range(header)
            pixels = _plain(stored)
        remarks, facts = _remarks(header, index), _stated(header, index)
    except ImageError:
        raise
    except Exception as error:  # the tables and windows of a damaged file can be anything
        raise header.error(f"its look-up tables or windows are damaged ({type(error).__name__})") from None
    return (pixels[..., None] if pixels.ndim == 2 else pixels), low, high, remarks, facts


def _real(values: Pixels) -> Pixels:
    """As floating point numbers that hold every value exactly."""
    real: Pixels = values.astype(np.float32 if values.dtype.itemsize <= 2 else np.float64)
    return real


def _plain(values: Pixels) -> Pixels:
    return values if values.dtype in (np.uint8, np.uint16) else values.astype(np.float32)


def _stored_range(header: Header) -> tuple[float, float]:
    if header.floating:
        return -np.inf, np.inf
    if header.signed:
        return -float(2 ** (header.stored - 1)), float(2 ** (header.stored - 1) - 1)
    return 0.0, float(2**header.stored - 1)


def _grey(header: Header, stored: Pixels, index: int) -> tuple[Pixels, float, float]:
    pixels, low, high = _modality(
        header, stored, _of_frame(header, index, "PixelValueTransformationSequence")
    )
    pixels, low, high = _voi(header, pixels, low, high, _of_frame(header, index, "FrameVOILUTSequence"))
    if header.floating and not np.isfinite(pixels).all():
        raise header.error("its floating point pixels are not all finite", "content")
    # A codestream may be deeper than Bits Stored says; its values beyond the range would wrap round below.
    pixels = np.clip(pixels, pixels.dtype.type(low), pixels.dtype.type(high))
    # MONOCHROME1: the lowest value is white, after any VOI transformation (PS3.3, C.7.6.3.1.2). INVERSE beside
    # MONOCHROME1, as DX images have it (C.8.11.1.1), says the same once more: together they invert once.
    shape = str(header.data.get("PresentationLUTShape") or "").strip().upper()
    if header.photometric == "MONOCHROME1" or shape == "INVERSE":
        pixels = pixels.dtype.type(low + high) - pixels
    return pixels, low, high


def _of_frame(header: Header, index: int, name: str) -> Dataset:
    """The functional group `name` of a frame (enhanced objects, PS3.3, C.7.6.16), or the data set itself."""
    places = (("PerFrameFunctionalGroupsSequence", index), ("SharedFunctionalGroupsSequence", 0))
    for keyword, place in places:
        groups: Sequence[Dataset] = header.data.get(keyword) or []
        if place < len(groups) and (inner := groups[place].get(name)):
            return cast(Dataset, inner[0])
    return header.data


def _number(header: Header, data: Dataset, name: str) -> float | None:
    """The first value of a decimal string; None where it is absent or empty."""
    content = data.get(name)
    if isinstance(content, Sequence) and not isinstance(content, str):
        content = content[0] if content else None
    if content is None or content == "":
        return None
    value = float(content)
    if not abs(value) < 1e30:
        raise header.error(f"{name} is not a usable number", remedy="correct its header")
    return value


def _modality(header: Header, stored: Pixels, data: Dataset) -> tuple[Pixels, float, float]:
    """Modality LUT or rescale (PS3.3, C.11.1)."""
    low, high = _stored_range(header)
    if sequence := header.data.get("ModalityLUTSequence"):
        table, first, depth = _table(header, sequence[0], "LUTDescriptor", "LUTData", header.signed)
        return _look_up(stored, table, first), 0.0, float(2**depth - 1)
    slope, intercept = _number(header, data, "RescaleSlope"), _number(header, data, "RescaleIntercept")
    slope, intercept = 1.0 if slope is None else slope, 0.0 if intercept is None else intercept
    if slope == 0:
        raise header.error("Rescale Slope is 0, which makes every pixel equal", remedy="correct its header")
    scales = {(slope, intercept), *_frame_scales(header)}
    if scales == {(1.0, 0.0)}:
        return _plain(stored), low, high
    # one range for all frames of a file, so that equal values of two frames look equal
    ends = [end * each + start for each, start in scales for end in (low, high)]
    pixels = _real(stored) * slope + intercept
    return pixels.astype(np.float32), min(ends), max(ends)


def _frame_scales(header: Header) -> set[tuple[float, float]]:
    """Slope and intercept of each frame that has its own (enhanced objects)."""
    scales = set()
    for group in header.data.get("PerFrameFunctionalGroupsSequence") or ():
        for item in (group.get("PixelValueTransformationSequence") or ())[:1]:
            slope, intercept = (_number(header, item, f"Rescale{name}") for name in ("Slope", "Intercept"))
            scales.add((1.0 if slope is None else slope, intercept or 0.0))
    return scales


def _voi(
    header: Header, pixels: Pixels, low: float, high: float, data: Dataset
) -> tuple[Pixels, float, float]:
    """VOI LUT or window, the first where there are several (PS3.3, C.11.2); a window gives 0 to 1."""
    if sequence := data.get("VOILUTSequence"):
        table, first, depth = _table(header, sequence[0], "LUTDescriptor", "LUTData", low < 0)
        return _look_up(np.rint(pixels), table, first), 0.0, float(2**depth - 1)
    window = _window(header, data)
    if window is not None and not _unusable(*window[1:]):
        return _windowed(pixels, *window), 0.0, 1.0
    if header.floating:
        raise header.error(
            "floating point pixels without a window (or with one of no width) have no stated range",
            "content",
            "store it as integers, or with Window Center and Window Width",
        )
    return pixels, low, high


def _window(header: Header, data: Dataset) -> tuple[float, float, str] | None:
    """Centre, width and function of the first window; None where there is none."""
    centre, width = _number(header, data, "WindowCenter"), _number(header, data, "WindowWidth")
    if centre is None or width is None:
        return None
    function = str(data.get("VOILUTFunction") or "LINEAR").strip().upper()
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        what = "its VOI LUT Function is not LINEAR, LINEAR_EXACT or SIGMOID"
        raise header.error(what, remedy="correct or remove its window")
    return centre, width, function


def _unusable(width: float, function: str) -> str:
    """Why a window says nothing, in a phrase; "" of one that does.

    LINEAR is defined from a width of 1 on, the other functions above 0 (PS3.3, C.11.2.1.2 and C.11.2.1.3). Some
    scanners write 0 for "none". Such an image is read in the range of its bits, as one without a window.
    """
    if width < (1.0 if function == "LINEAR" else 1e-30):
        return (
            f"a Window Width of {width:g} is not one that {function} allows: read as if no window were there"
        )
    return ""


def _remarks(header: Header, index: int) -> tuple[str, ...]:
    """What is unusual in the header of frame `index` and was passed over, a phrase each."""
    found = list(header.remarks)
    data = _of_frame(header, index, "FrameVOILUTSequence")
    if header.photometric in GREY and not data.get("VOILUTSequence"):
        window = _window(header, data)
        if window is not None and (fault := _unusable(*window[1:])):
            found.append(fault)
    return tuple(found)


def _stated(header: Header, index: int) -> dict[str, str]:
    """What decides the range of frame `index`, by the names of PS3.6: of two files that differ in it equal pixels may
    mean different things."""
    found = {
        "Photometric Interpretation": header.photometric if header.samples == 1 else "colour",
        "Bits Stored": "floating point" if header.floating else str(header.stored),
        "Pixel Representation": "signed" if header.signed else "unsigned",
    }
    if header.photometric not in GREY:
        return found
    data = _of_frame(header, index, "PixelValueTransformationSequence")
    if header.data.get("ModalityLUTSequence"):
        found["Rescale Slope"] = found["Rescale Intercept"] = "a table"
    else:
        slope, intercept = _number(header, data, "RescaleSlope"), _number(header, data, "RescaleIntercept")
        found["Rescale Slope"] = f"{1.0 if slope is None else slope:g}"
        found["Rescale Intercept"] = f"{intercept or 0.0:g}"
    found["Rescale Type"] = _code(data.get("RescaleType"))
    found["Units"] = _code(header.data.get("Units"))
    data = _of_frame(header, index, "FrameVOILUTSequence")
    window = None if data.get("VOILUTSequence") else _window(header, data)
    usable = window is not None and not _unusable(*window[1:])
    found["Window Center and Width"] = (
        "a table"
        if data.get("VOILUTSequence")
        else f"{window[0]:g}, {window[1]:g}"
        if window and usable
        else "none"
    )
    return found


def _code(content: object) -> str:
    """A unit of the standard (PS3.3, C.11.1.1.2 and C.8.9.1); of another text, which may say anything, its hash."""
    written = str(content or "").strip()
    if not written or written in _UNITS:
        return written or "none"
    return f"another ({hashlib.sha256(written.encode()).hexdigest()[:6]})"


def _windowed(pixels: Pixels, centre: float, width: float, function: str) -> Floats:
    """The VOI LUT functions of PS3.3, C.11.2.1.2 and C.11.2.1.3, with an output range of 0 to 1.

    pydicom's `apply_windowing` takes its output range from the rescaled ends, which turns an image with a negative
    Rescale Slope into its negative.
    """
    values = _real(pixels)
    if function == "SIGMOID":
        exponent = np.clip(-4.0 * (values - centre) / width, -80.0, 80.0)
        return cast(Floats, (1.0 / (1.0 + np.exp(exponent))).astype(np.float32))
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1.0
    if width == 0:  # LINEAR with a width of 1 is a step
        return cast(Floats, (values > centre).astype(np.float32))
    return cast(Floats, np.clip((values - centre) / width + 0.5, 0.0, 1.0).astype(np.float32))


def _words(content: object, little: bool) -> NDArray[np.uint16]:
    """The 16-bit words of an element: bytes where it is OW or its VR depends, else numbers (US, SS)."""
    if isinstance(content, bytes):
        return np.frombuffer(content[: len(content) // 2 * 2], "<u2" if little else ">u2").astype(np.uint16)
    values = content if isinstance(content, Sequence) else [content]
    return (np.array([int(cast(int, value)) for value in values], np.int64) & 0xFFFF).astype(np.uint16)


def _bytes(words: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """8-bit entries that lie two in a word, the first in its low byte."""
    return words.astype("<u2").view(np.uint8)


def _table(
    header: Header, item: Dataset, descriptor: str, content: str, signed: bool
) -> tuple[Pixels, int, int]:
    """A look-up table: its entries, the first value mapped, the bits of an entry (PS3.3, C.11.1.1, C.7.6.3.1.5)."""
    numbers = _words(item.get(descriptor), header.little)
    if len(numbers) != 3 or not 1 <= numbers[2] <= 16:
        raise header.error("the descriptor of a look-up table is damaged")
    entries, first, depth = int(numbers[0]) or 65536, int(numbers[1]), int(numbers[2])
    if signed and first > 0x7FFF:
        first -= 0x10000
    plain = item.get(content)
    if plain is None:
        segments = _words(item.get(f"Segmented{content}"), header.little)
        table = _expanded(_bytes(segments).astype(np.uint16) if depth <= 8 else segments, entries, depth <= 8)
    else:
        table = _words(plain, header.little)
        if depth <= 8 and len(table) < entries:
            table = _bytes(table).astype(np.uint16)
    if len(table) < entries:
        raise header.error("a look-up table is shorter than its descriptor says")
    return table[:entries].astype(np.uint8 if depth <= 8 else np.uint16), first, depth


def _expanded(words: NDArray[np.uint16], entries: int, narrow: bool) -> NDArray[np.uint16]:
    """A segmented palette as its entries (PS3.3, C.7.9.2), `entries` at most: runs, straight lines, references.

    pydicom expands these too, without a bound: a small damaged file can ask for billions of entries.
    """
    table: list[int] = []
    wide = 4 if narrow else 2  # the words of a reference's byte offset

    def segments(place: int, count: int) -> Iterator[tuple[int, int, int]]:
        while count and place + 2 < len(words) and len(table) < entries:
            operation, length = int(words[place]), int(words[place + 1])
            yield operation, length, place + 2
            place += 2 + (length if operation == 0 else 1 if operation == 1 else wide)
            count -= 1

    def draw(operation: int, length: int, place: int) -> None:
        if operation == 0:
            table.extend(words[place : place + length].tolist())
        elif operation == 1 and table:
            line = np.linspace(table[-1], int(words[place]), length + 1)[1:]
            table.extend(np.rint(line).astype(int).tolist())
        else:
            raise ValueError("not a segment")

    for operation, length, place in segments(0, len(words)):
        if operation == 2:  # `length` earlier segments, which may not be references themselves
            parts = words[place : place + wide].tolist()
            offset = sum(part << (position * 16 // wide * 2) for position, part in enumerate(parts))
            for inner in segments(offset if narrow else offset // 2, length):
                draw(*inner)
        else:
            draw(operation, length, place)
    return np.array(table, np.uint16)


def _look_up(values: Pixels, table: Pixels, first: int) -> Pixels:
    """Values below the first one mapped get the first entry, values beyond the last one the last entry."""
    place = np.clip(values.astype(np.int64) - first, 0, len(table) - 1)
    looked_up: Pixels = table[place]
    return looked_up


def _palette(header: Header, stored: Pixels) -> tuple[Pixels, float, float]:
    """Indices to colours (PS3.3, C.7.9)."""
    planes, depths = [], set()
    for colour in COLOURS:
        name = f"{colour}PaletteColorLookupTable"
        table, first, depth = _table(header, header.data, f"{name}Descriptor", f"{name}Data", header.signed)
        planes.append(_look_up(stored, table, first))
        depths.add(depth)
    if len(depths) != 1:
        raise header.error("the three tables of its palette differ in depth")
    return np.stack(planes, axis=-1), 0.0, float(2 ** depths.pop() - 1)
