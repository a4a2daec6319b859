"""DICOM files: the header first, with all that can be refused from it, then one frame of stored values.

Only the elements named in `dicom_elements` are parsed; names, dates and free text are skipped over unread, and no value
of any element but sizes and syntaxes is ever part of an error. What stored values mean is in `presentation`.
"""

from __future__ import annotations

import io
import re
import zlib
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.filereader import read_dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from graftwork.common.data.images.codestreams import Expected, Refused, checked, decoder_of, supported
from graftwork.common.data.images.dicom_elements import PIXELS, add_later_elements, read_elements
from graftwork.common.errors import ImageError

GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR_SPACES = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_TRANSFER_SYNTAX = 0x00020010
# A deflated data set is inflated whole; what grows beyond this is not an image that anybody deflates.
_MOST_INFLATED = 2**28
DAMAGED = "get the file from its source again"


@dataclass(frozen=True, eq=False)
class Header:
    """What a file says of its pixels, before any of them is decoded.

    `body` holds the pixel data's value from `start` on, `length` bytes of it (what the file has left, at most), or
    -1 where it is encapsulated. `data` holds the elements of the grey scale pipeline and nothing else. `remarks` says
    what is unusual and was passed over.
    """

    where: str
    syntax: uid.UID
    data: Dataset
    body: BinaryIO
    start: int
    length: int
    keyword: str
    vr: str
    rows: int
    columns: int
    samples: int
    frames: int
    allocated: int
    stored: int
    signed: bool
    photometric: str
    remarks: tuple[str, ...] = ()

    @property
    def little(self) -> bool:
        """Whether the words of the file are little endian."""
        return self.syntax != uid.ExplicitVRBigEndian

    @property
    def floating(self) -> bool:
        """Whether the pixels are floating point numbers, which have no bits stored."""
        return self.keyword != "PixelData"

    def error(self, what: str, stage: str = "header", remedy: str | None = DAMAGED) -> ImageError:
        return ImageError(what, where=self.where, stage=stage, remedy=remedy)


def looks_like_dicom(head: bytes) -> bool:
    """Whether the first bytes of a file (132 at least) are a DICOM preamble, or a data set that lacks one."""
    return (
        head[128:132] == b"DICM"
        or head[:4] in (b"\x02\x00\x00\x00", b"\x02\x00\x10\x00")
        or bool(_guess(head))
    )


def _guess(head: bytes) -> uid.UID | None:
    """The native transfer syntax of a data set whose first bytes are `head`: group 8, a low element number."""
    known = rb"AE|AS|AT|CS|DA|DS|DT|IS|LO|LT|OB|PN|SH|SQ|ST|TM|UI|UL|UN|US|UT"
    explicit = re.fullmatch(known, head[4:6]) is not None
    if head[0:2] == b"\x08\x00" and head[3:4] == b"\x00":
        if explicit:
            return uid.ExplicitVRLittleEndian
        return uid.ImplicitVRLittleEndian if int.from_bytes(head[4:8], "little") <= 256 else None
    if head[0:3] == b"\x00\x08\x00" and explicit:
        return uid.ExplicitVRBigEndian
    return None


def read_header(file: BinaryIO, size: int, where: str) -> Header:
    """The header of the DICOM file `file` of `size` bytes.

    Raises:
        ImageError: it is damaged, holds no pixel data, or says something of them that is impossible or not read.
    """
    try:
        return _read_header(file, size, where)
    except ImageError:
        raise
    except Exception as error:  # only the kind: the message of a parser may quote what it could not parse
        what = f"the DICOM header is damaged ({type(error).__name__})"
        raise ImageError(what, where=where, stage="header", remedy=DAMAGED) from None


def _read_header(file: BinaryIO, size: int, where: str) -> Header:
    def error(what: str, remedy: str = DAMAGED, stage: str = "header") -> ImageError:
        return ImageError(what, where=where, stage=stage, remedy=remedy)

    file.seek(128)
    start = 132 if file.read(4) == b"DICM" else 0
    file.seek(start)
    named = None
    if file.read(2) == b"\x02\x00":
        file.seek(start)
        meta = read_dataset(
            file,
            False,
            True,
            stop_when=lambda tag, vr, length: tag >> 16 != 2,
            specific_tags=[_TRANSFER_SYNTAX],
        )
        named = meta.get("TransferSyntaxUID")
        start = file.tell()
    file.seek(start)
    syntax = uid.UID(str(named)) if named else _guess(file.read(8))
    file.seek(start)
    if syntax is None:
        raise error("it names no transfer syntax", "write it with its file meta information (PS3.10)")
    if not supported(syntax):
        shown = syntax.name if re.fullmatch(r"[0-9.]{1,64}", syntax) else "(damaged)"
        raise error(
            f"the transfer syntax {shown} is not one that is read",
            "convert it to Explicit VR Little Endian; `graftwork doctor` lists what is read",
        )
    body, left = file, size
    if syntax == uid.DeflatedExplicitVRLittleEndian:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        inflated = inflater.decompress(file.read(), _MOST_INFLATED)
        if inflater.unconsumed_tail:
            raise error(f"the deflated data set grows beyond {_MOST_INFLATED:,} bytes", stage="budget")
        body, left = io.BytesIO(inflated), len(inflated)

    implicit, little = syntax == uid.ImplicitVRLittleEndian, syntax != uid.ExplicitVRBigEndian
    data, found, stray = read_elements(body, implicit, little)
    if not found:
        if any(length == 0xFFFFFFFF for length in stray):
            raise error(
                "an item tag (FFFE,E000) of undefined length among its elements swallows all that follows"
            )
        raise error(
            f"it holds no pixel data (the data end at byte {min(body.tell(), left):,} of {left:,})",
            "leave it out; if other programs show an image, get it from its source again",
        )
    tag, vr, length = found[0]
    value = body.tell() + (12 if vr in EXPLICIT_VR_LENGTH_32 else 8)
    encapsulated = length == 0xFFFFFFFF
    add_later_elements(data, body, value, length, implicit, little)
    if encapsulated != syntax.is_encapsulated:
        claim = "compressed" if syntax.is_encapsulated else "not compressed"
        raise error(
            f"its pixel data are {claim} by its transfer syntax and the opposite by their form"
            if named
            else "its pixel data are compressed, and it has no file meta information that says how",
            "write it with the right Transfer Syntax UID in its file meta information (PS3.10)",
        )

    def number(name: str, default: int | None = None) -> int:
        content = data.get(name)
        if content is None or content == "":
            if default is None:
                raise error(f"{name} is missing")
            return default
        if isinstance(content, (str, bytes, float)) or not hasattr(content, "__int__"):
            raise error(f"{name} is not one whole number")
        return int(content)

    integers = PIXELS[tag] == "PixelData"
    header = Header(
        where=where,
        syntax=syntax,
        data=data,
        body=body,
        start=value,
        length=-1 if encapsulated else max(0, min(length, left - value)),
        keyword=PIXELS[tag],
        vr=vr or "OW",
        rows=number("Rows"),
        columns=number("Columns"),
        samples=number("SamplesPerPixel"),
        frames=max(1, number("NumberOfFrames", 1)),
        allocated=number("BitsAllocated"),
        stored=number("BitsStored", None if integers else 0),
        signed=number("PixelRepresentation", None if integers else 0) == 1,
        photometric=str(data.get("PhotometricInterpretation") or "").strip(),
        remarks=("a stray item tag (FFFE) among its elements was passed over",) if stray else (),
    )
    _validate(header)
    return header


def _shown(code: str) -> str:
    """A code of the standard; what is none, which may be anything, is not shown."""
    known = (
        *GREY,
        *_COLOUR_SPACES,
        "PALETTE COLOR",
        "YBR_PARTIAL_420",
        "YBR_PARTIAL_422",
        "HSV",
        "CMYK",
        "ARGB",
    )
    return code if code in known else "none of the standard"


def _validate(header: Header) -> None:
    fitting = {1: (*GREY, "PALETTE COLOR"), 3: _COLOUR_SPACES}.get(header.samples, ())
    if not fitting:
        raise header.error(f"{header.samples} samples per pixel are neither grey nor colour")
    if header.photometric not in fitting:
        raise header.error(
            f"its Photometric Interpretation ({_shown(header.photometric)}) does not go with {header.samples} samples "
            "per pixel, or is not read",
            remedy=f"convert it to one of {', '.join(fitting)}",
        )
    if header.rows < 1 or header.columns < 1:
        raise header.error(f"its size is {header.rows} x {header.columns}")
    if header.floating:
        return
    allocated, stored = header.allocated, header.stored
    if allocated not in (1, 8, 16, 32) or not 1 <= stored <= allocated:
        raise header.error(f"Bits Allocated {allocated} and Bits Stored {stored} do not go together")
    high = header.data.get("HighBit")
    if header.length >= 0 and isinstance(high, int) and high != stored - 1:
        # PS3.5, 8.1.1 demands it. Values stored higher up would have to be shifted; nothing says whether they are.
        raise header.error(f"High Bit is {high} where Bits Stored is {stored}", remedy="correct its header")


def frame_index(header: Header, frame: int | None) -> int:
    """Which frame is meant: the only one, or the one asked for (from 0).

    Raises:
        ImageError: it holds several and none was named, or not so many.
    """
    if frame is None and header.frames > 1:
        raise header.error(
            f"it holds {header.frames} frames (NumberOfFrames), where one image is expected",
            remedy="name one with frame=, or split it into one file a frame",
        )
    if not 0 <= (frame or 0) < header.frames:
        raise header.error(
            f"frame {frame} was asked for, it holds {header.frames}, counted from 0",
            remedy=f"ask for a frame from 0 to {header.frames - 1}",
        )
    return frame or 0


def keep_to(header: Header, frames: int, pixel_budget: int) -> None:
    """Refuse more pixels than the budget allows, from the header's word alone."""
    pixels = header.rows * header.columns * frames
    if pixels > pixel_budget:
        size = f"{header.rows:,} x {header.columns:,}" + (f" x {frames:,} frames" if frames > 1 else "")
        raise header.error(
            f"{size} are {pixels:,} pixels, the budget is {pixel_budget:,}",
            "budget",
            "raise pixel_budget if the image is genuine",
        )


def decoded(header: Header, index: int) -> NDArray[np.generic]:
    """The stored values of one frame: `[H, W]` or `[H, W, 3]`, YBR turned into RGB, palettes as indices.

    Raises:
        ImageError: the pixel data are truncated, damaged, or no decoder is there.
    """
    try:
        return _decoded(header, index)
    except ImageError:
        raise
    except Refused as error:
        raise header.error(str(error), "decode") from None
    except Exception as error:
        # what a decoder says of a codestream is technical; what a parser says of a data set may quote it
        said = f": {re.sub(r'[^ -~]+', ' ', str(error))[:200]}" if header.length < 0 else ""
        raise header.error(
            f"the pixel data cannot be decoded ({type(error).__name__}{said})", "decode"
        ) from None


def _decoded(header: Header, index: int) -> NDArray[np.generic]:
    options: dict[str, Any] = {
        "rows": header.rows,
        "columns": header.columns,
        "samples_per_pixel": header.samples,
        "photometric_interpretation": header.photometric,
        "planar_configuration": 1 if header.data.get("PlanarConfiguration") == 1 else 0,
        "bits_allocated": header.allocated,
        "bits_stored": header.stored,
        "pixel_representation": int(header.signed),
        "number_of_frames": header.frames,
        "pixel_keyword": header.keyword,
        "pixel_vr": header.vr,
    }
    header.body.seek(header.start)
    source: BinaryIO | bytes = header.body
    plugin = ""
    if header.length < 0:
        frame = _frame(header, index)
        plugin = decoder_of(header.syntax, frame) or ""
        if not plugin:
            raise header.error(
                f"no decoder for {header.syntax.name} is installed",
                "decode",
                "install graftwork's requirements again",
            )
        source, index, options["number_of_frames"] = encapsulate([frame], has_bot=False), 0, 1
    else:
        _check_length(header, index)
        header.body.seek(header.start)
    pixels, properties = get_decoder(header.syntax).as_array(
        source, index=index, decoding_plugin=plugin, **options
    )
    if header.samples == 3 and properties["photometric_interpretation"] != "RGB":
        raise header.error(
            f"{header.photometric} cannot be turned into RGB here", "decode", "convert it to RGB"
        )
    return np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("="))


def _frame(header: Header, index: int) -> bytes:
    """The codestream of one frame, checked against the header."""
    offsets = None
    if "ExtendedOffsetTable" in header.data and "ExtendedOffsetTableLengths" in header.data:
        offsets = (header.data.ExtendedOffsetTable, header.data.ExtendedOffsetTableLengths)
    frame = get_frame(
        cast("io.BufferedReader", header.body),
        index,
        number_of_frames=header.frames,
        extended_offsets=offsets,
    )
    return checked(
        frame, header.syntax, Expected(header.rows, header.columns, header.samples, header.allocated)
    )


def _check_length(header: Header, index: int) -> None:
    bits = header.rows * header.columns * header.samples
    bits *= {"FloatPixelData": 32, "DoubleFloatPixelData": 64}.get(header.keyword, header.allocated)
    if header.photometric == "YBR_FULL_422":  # two pixels share their chrominance
        bits = bits * 2 // 3
    needed = (bits * (index + 1) + 7) // 8
    if header.length < needed:
        raise header.error(
            f"it is truncated: {header.length:,} bytes of pixels, {needed:,} belong there", "decode"
        )
    whole = (bits * header.frames + 7) // 8
    if header.photometric == "YBR_FULL_422" or header.length < whole + 2:
        return
    header.body.seek(header.start + whole)
    more = header.body.read(min(header.length - whole, 2**20))
    if header.length - whole >= bits // 8 or more.strip(b"\x00"):  # zeros alone are padding
        raise header.error(
            f"its pixels take {header.length:,} bytes where {header.rows} x {header.columns} x {header.samples} in "
            f"{header.frames} frame{'s' * (header.frames > 1)} take {whole:,}: Rows, Columns or Number of Frames is "
            "wrong"
        )
