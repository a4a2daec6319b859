"""Small images written by hand or by another encoder, for the tests of the readers."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian

from graftwork.common.data.images import StoredImage, read_image
from graftwork.common.errors import ImageError

__all__ = [
    "COLOUR",
    "GREY",
    "NAME",
    "RAMP",
    "dicom",
    "dicom_failure",
    "expect",
    "failure",
    "lossless_jpeg",
    "png",
    "save",
    "table",
    "tiff",
]

NAME = "Doe^Jane^Secret"
# Smooth, so that JPEG keeps it; no symmetry, so that every orientation shows.
ROWS, COLUMNS = np.mgrid[0:48, 0:64]
GREY = (2 * ROWS + COLUMNS).astype(np.uint8)
COLOUR = np.stack([GREY, 255 - 4 * COLUMNS.astype(np.uint8), 5 * ROWS.astype(np.uint8)], axis=-1)
RAMP = np.array([[0, 10, 20, 30], [40, 50, 60, 70], [80, 90, 100, 255]], np.uint8)


def png(path: Path, samples: np.ndarray, depth: int, colour: int, **chunks: bytes) -> Path:
    """A PNG written by hand: `samples` `[H, W, C]` of `depth` bits, colour type 0, 2, 4 or 6, further chunks."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    height, width = samples.shape[:2]
    rows = samples.reshape(height, -1).astype(">u2" if depth == 16 else "u1")
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    extra = b"".join(chunk(name.encode(), content) for name, content in chunks.items())
    body = chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def tiff(
    path: Path, samples: np.ndarray, order: str = "<", compressed: bool = False, **tags: int | tuple[int, ...]
) -> Path:
    """A TIFF of one strip written by hand: `[H, W]` or `[H, W, 3]`, in byte order `<` or `>`."""
    content = samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    content = zlib.compress(content) if compressed else content
    height, width = samples.shape[:2]
    channels = samples.shape[2] if samples.ndim == 3 else 1
    bits = 8 * samples.dtype.itemsize
    fields: dict[int, tuple[int, ...]] = {
        256: (width,),
        257: (height,),
        258: (bits,) * channels,
        259: (8 if compressed else 1,),
        262: (2 if channels == 3 else 1,),
        273: (8,),
        277: (channels,),
        278: (height,),
        279: (len(content),),
    }
    for name, value in tags.items():
        fields[int(name[1:])] = value if isinstance(value, tuple) else (value,)
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8 + len(content))
    entries, extra = b"", b""
    after = 8 + len(content) + 2 + 12 * len(fields) + 4
    for tag, values in sorted(fields.items()):
        packed = struct.pack(f"{order}{len(values)}I", *values)
        kind = 4
        if tag in (258, 339):  # SHORT
            packed, kind = struct.pack(f"{order}{len(values)}H", *values), 3
        if len(packed) > 4:
            place = struct.pack(order + "I", after + len(extra))
            extra += packed
        else:
            place = packed.ljust(4, b"\0")
        entries += struct.pack(order + "HHI", tag, kind, len(values)) + place
    path.write_bytes(head + content + struct.pack(order + "H", len(fields)) + entries + bytes(4) + extra)
    return path


def dicom(
    path: Path,
    stored: np.ndarray,
    *,
    syntax: UID = ExplicitVRLittleEndian,
    frames: list[bytes] | None = None,
    bits: int | None = None,
    **elements: Any,
) -> Path:
    """Write `stored` (`[frames,] H, W [, 3]`) as DICOM; `frames` are its codestreams, `elements` set or (None) drop."""
    little = syntax != ExplicitVRBigEndian
    data = Dataset()
    data.PatientName, data.PatientID, data.PatientComments = NAME, "SECRET-4711", "Secret free text"
    data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3.4"
    colour = stored.shape[-1] == 3 and stored.ndim > 2
    data.SamplesPerPixel = 3 if colour else 1
    data.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        data.PlanarConfiguration = 0
    shape = stored.shape[:-1] if colour else stored.shape
    if len(shape) == 3:
        data.NumberOfFrames = shape[0]
    data.Rows, data.Columns = shape[-2:]
    data.BitsAllocated = 8 * stored.dtype.itemsize
    data.BitsStored = data.BitsAllocated if bits is None else bits
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(stored.dtype.kind == "i")
    content = stored.astype(stored.dtype.newbyteorder("<" if little else ">")).tobytes()
    data.PixelData = encapsulate(frames) if frames is not None else content + b"\0" * (len(content) % 2)
    data["PixelData"].VR = "OB" if frames is not None or stored.dtype.itemsize == 1 else "OW"
    data["PixelData"].is_undefined_length = frames is not None
    for keyword, value in elements.items():
        if value is None:
            del data[keyword]
        else:
            setattr(data, keyword, value)
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.file_meta.TransferSyntaxUID = syntax
    data.save_as(path, enforce_file_format=True)
    return path


def lossless_jpeg(stored: np.ndarray, bits: int, predictor: int) -> bytes:
    space = {"colorspace": "rgb", "outcolorspace": "rgb"} if stored.ndim == 3 else {}
    return bytes(
        imagecodecs.jpeg8_encode(stored, lossless=True, predictor=predictor, bitspersample=bits, **space)
    )


def save(path: Path, pixels: np.ndarray, mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return path


def expect(picture: StoredImage, pixels: np.ndarray, high: float) -> None:
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    assert picture.pixels.dtype == pixels.dtype
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert (picture.low, picture.high) == (0, high)
    assert picture.full_size == pixels.shape[:2]


def failure(path: str | os.PathLike[str], **options: object) -> ImageError:
    with pytest.raises(ImageError) as caught:
        read_image(path, **options)  # type: ignore[arg-type]
    assert str(os.fspath(path))[:30] in str(caught.value)
    return caught.value


def table(entries: list[int], first: int, depth: int) -> Sequence:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries), first, depth])
    item.add_new("LUTData", "US", entries)
    return Sequence([item])


def dicom_failure(path: Path, **options: Any) -> ImageError:
    with pytest.raises(ImageError) as caught:
        read_image(path, **options)
    text = f"{caught.value} {caught.value.__cause__} {caught.value.remedy}".replace(str(path), "")
    assert "ecret" not in text
    assert "SECRET" not in text
    assert caught.value.__cause__ is None, "the parser's own error may quote the header"
    return caught.value
