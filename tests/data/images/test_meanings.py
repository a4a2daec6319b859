"""One image written in many ways gives the same values; a file that contradicts itself is refused."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from fuzzed_pictures import rle_frame
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLSLossless,
    RLELossless,
)
from written_pictures import dicom, dicom_failure, failure, lossless_jpeg, png, save, tiff

from graftwork.common.data.images import read_image, to_float
from graftwork.common.errors import ImageError

TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    # EXIF tag 274: how the upright image is stored
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}
J2K: dict[str, Any] = {"codecformat": "J2K", "resolutions": 2, "level": 0, "reversible": True}


def image(seed: int) -> np.ndarray:
    """A grey image of random size, 8 bits."""
    rng = np.random.default_rng(seed)
    rows, columns = int(rng.integers(17, 40)), int(rng.integers(18, 41))
    return np.ascontiguousarray(rng.integers(0, 256, (rows, columns)).astype(np.uint8))


def rasters(folder: Path, grey: np.ndarray) -> Iterator[Path]:
    """The same grey image as PNG, TIFF and BMP."""
    colour = np.repeat(grey[..., None], 3, axis=2)
    opaque = np.full((*grey.shape, 1), 255, np.uint8)
    palette = Image.fromarray(grey, "P")
    palette.putpalette([level for level in range(256) for _ in range(3)])
    yield save(folder / "grey.png", grey)
    yield save(folder / "stored.png", grey, compress_level=0)
    yield save(folder / "colour.png", colour)
    yield save(folder / "rgba.png", np.concatenate([colour, opaque], axis=2))
    yield png(folder / "la.png", np.concatenate([grey[..., None], opaque], axis=2), 8, 4)
    yield png(folder / "deep.png", grey[..., None].astype(np.uint16) * 257, 16, 0)
    yield png(folder / "deep_colour.png", colour.astype(np.uint16) * 257, 16, 2)
    palette.save(folder / "palette.png")
    yield folder / "palette.png"
    for suffix in ("bmp", "tif"):
        yield save(folder / f"grey.{suffix}", grey)
        yield save(folder / f"colour.{suffix}", colour)
        palette.save(folder / f"palette.{suffix}")
        yield folder / f"palette.{suffix}"
    for order in "<>":
        yield tiff(folder / f"order{order}.tif", grey, order)
        yield tiff(folder / f"deflated{order}.tif", colour, order, True)
        yield tiff(folder / f"deep{order}.tif", grey.astype(np.uint16) * 257, order)
        yield tiff(folder / f"white{order}.tif", 255 - grey, order, t262=0)
    for compression in ("tiff_lzw", "packbits", "tiff_adobe_deflate"):
        yield save(folder / f"{compression}.tif", grey, compression=compression, tiffinfo={278: 7})
    yield save(folder / "big.tif", grey, big_tiff=True)
    for orientation, turn in TURNS.items():
        exif = Image.Exif()
        exif[274] = orientation
        for suffix in ("png", "tif"):
            yield save(folder / f"turned{orientation}.{suffix}", np.ascontiguousarray(turn(grey)), exif=exif)


def dicoms(folder: Path, grey: np.ndarray, seed: int) -> Iterator[Path]:
    """The same grey image as DICOM: syntaxes, depths, polarities, with and without preamble, any order of elements."""
    rng = np.random.default_rng(seed)
    deep = grey.astype(np.uint16)
    for name, syntax in {
        "implicit": ImplicitVRLittleEndian,
        "explicit": ExplicitVRLittleEndian,
        "big": ExplicitVRBigEndian,
        "deflated": DeflatedExplicitVRLittleEndian,
    }.items():
        yield dicom(folder / f"{name}.dcm", grey, syntax=syntax)
        yield dicom(folder / f"{name}_16.dcm", deep, syntax=syntax, bits=8)
        yield dicom(
            folder / f"{name}_1.dcm", 255 - grey, syntax=syntax, PhotometricInterpretation="MONOCHROME1"
        )
    for name, syntax, frame in (
        ("rle", RLELossless, rle_frame(grey)),
        ("lossless", JPEGLossless, lossless_jpeg(grey, 8, int(rng.integers(1, 8)))),
        ("ls", JPEGLSLossless, bytes(imagecodecs.jpegls_encode(grey))),
        ("j2k", JPEG2000Lossless, bytes(imagecodecs.jpeg2k_encode(grey, **J2K))),
        ("htj2k", HTJ2KLossless, bytes(imagecodecs.htj2k_encode(grey, reversible=True))),
    ):
        yield dicom(folder / f"{name}.dcm", grey, syntax=syntax, frames=[frame])
    colour = np.repeat(grey[..., None], 3, axis=2)
    yield dicom(folder / "rgb.dcm", colour)
    yield dicom(
        folder / "planes.dcm",
        np.ascontiguousarray(colour.transpose(2, 0, 1)).reshape(colour.shape),
        PlanarConfiguration=1,
    )
    signed = (grey.astype(np.int16) - 128).astype(np.int8)
    yield dicom(folder / "signed.dcm", signed)
    yield dicom(
        folder / "window.dcm", grey, WindowCenter="127.5", WindowWidth="255", VOILUTFunction="LINEAR_EXACT"
    )
    yield dicom(folder / "no_width.dcm", grey, WindowCenter="40", WindowWidth="0")
    yield dicom(folder / "identity.dcm", grey, RescaleSlope="1", RescaleIntercept="0")
    whole = dicom(folder / "plain.dcm", grey)
    content = whole.read_bytes()
    for name, changed in {
        "no_preamble": content[132:],
        "no_meta": content[content.index(b"\x08\x00\x16\x00UI") :],
        "zero_padding": content + bytes(300),
        "stray_item": spliced(content, b"\xfe\xff\x00\xe0" + bytes(4)),
        "stray_end": spliced(content, b"\xfe\xff\x0d\xe0" + bytes(4)),
        "stray_ends": spliced(content, (b"\xfe\xff\x0d\xe0" + bytes(4)) * 3 + b"\xfe\xff\xdd\xe0" + bytes(4)),
        "shuffled": shuffled(content, rng),
        "shuffled_again": shuffled(content, rng),
    }.items():
        (folder / f"{name}.dcm").write_bytes(changed)
        yield folder / f"{name}.dcm"


def spliced(content: bytes, tag: bytes) -> bytes:
    """The explicit little endian file with bytes before its group 0028."""
    place = content.index(b"\x28\x00\x02\x00US")
    return content[:place] + tag + content[place:]


def shuffled(content: bytes, rng: np.random.Generator) -> bytes:
    """The same elements in another order, pixel data among them."""
    data = dcmread(io.BytesIO(content))
    start = content.index(b"\x08\x00\x16\x00UI")
    places = sorted(element.file_tell for element in data)  # where the values begin
    heads = [place - (12 if content[place - 8 : place - 6] in (b"OB", b"OW") else 8) for place in places]
    ends = [*heads[1:], len(content)]
    parts = [content[head:end] for head, end in zip(heads, ends, strict=True)]
    return content[:start] + b"".join(parts[index] for index in rng.permutation(len(parts)))


@pytest.mark.parametrize("seed", range(4))
def test_one_image_in_many_files_is_one_image(tmp_path: Path, seed: int) -> None:
    grey = image(seed)
    expected = grey / np.float32(255)
    seen = 0
    for path in (*rasters(tmp_path, grey), *dicoms(tmp_path, grey, seed)):
        picture = read_image(path)
        np.testing.assert_allclose(to_float(picture, 1)[..., 0], expected, atol=2e-6, err_msg=path.name)
        assert picture.full_size == grey.shape, path.name
        seen += 1
    assert seen >= 68


def contradictions(folder: Path, grey: np.ndarray) -> Iterator[Path]:
    """Files of which a header says another thing than the pixels."""
    rows, columns = grey.shape
    for name, value in {
        "Rows": rows + 1, "Columns": columns + 1, "NumberOfFrames": 2, "BitsAllocated": 16, "BitsStored": 9,
        "HighBit": 6, "SamplesPerPixel": 3, "PhotometricInterpretation": "RGB",
    }.items():  # fmt: skip
        yield dicom(folder / f"{name}.dcm", grey, **{name: value})
    yield dicom(folder / "rows_less.dcm", grey, Rows=rows - 2)
    yield dicom(folder / "columns_less.dcm", grey, Columns=columns - 2)
    yield dicom(folder / "frames_less.dcm", np.stack([grey, grey]), NumberOfFrames=None)
    yield dicom(folder / "native.dcm", grey, syntax=ExplicitVRLittleEndian, frames=[rle_frame(grey)])
    jpeg = io.BytesIO()
    Image.fromarray(grey).save(jpeg, "JPEG")
    frame = jpeg.getvalue()
    yield dicom(
        folder / "samples.dcm", np.repeat(grey[..., None], 3, 2), syntax=JPEGBaseline8Bit, frames=[frame]
    )
    place = frame.index(b"\xff\xc0") + 5
    for name, size in {"more": (rows + 32, columns), "fewer": (8, columns), "narrow": (rows, 8)}.items():
        path = folder / f"{name}.jpg"
        path.write_bytes(frame[:place] + struct.pack(">HH", *size) + frame[place + 4 :])
        yield path
    for name, size in {"rows": (columns, rows + 3), "columns": (columns + 3, rows)}.items():
        path = save(folder / f"{name}.png", grey)
        content = bytearray(path.read_bytes())
        struct.pack_into(">II", content, 16, *size)
        struct.pack_into(">I", content, 29, zlib.crc32(content[12:29]))
        path.write_bytes(content)
        yield path
    yield tiff(folder / "long.tif", grey, t257=rows + 5)
    yield tiff(folder / "deep.tif", grey, t258=16)
    yield tiff(folder / "strips.tif", grey, t278=4)
    path = save(folder / "high.bmp", grey)
    content = bytearray(path.read_bytes())
    struct.pack_into("<i", content, 22, rows + 4)
    path.write_bytes(content)
    yield path


@pytest.mark.parametrize("seed", range(4))
def test_a_file_that_contradicts_itself_is_refused(tmp_path: Path, seed: int) -> None:
    for path in contradictions(tmp_path, image(seed)):
        with pytest.raises(ImageError) as caught:
            read_image(path)
            pytest.fail(f"{path.name} was read")
        assert caught.value.where == str(path)
        assert caught.value.remedy


def test_stray_items_are_said_and_one_of_undefined_length_is_refused_by_name(tmp_path: Path) -> None:
    content = dicom(tmp_path / "plain.dcm", image(0)).read_bytes()
    path = tmp_path / "stray.dcm"
    path.write_bytes(spliced(content, b"\xfe\xff\x00\xe0" + bytes(4)))
    assert "stray item" in read_image(path).remarks[0]
    # as pydicom: what an item of a stated length holds is none of the image's elements
    path.write_bytes(spliced(content, b"\xfe\xff\x00\xe0\x0a\0\0\0" + b"\x28\x00\x10\x00US\x02\x00\x01\x00"))
    assert read_image(path).full_size == image(0).shape
    path.write_bytes(spliced(content, b"\xfe\xff\x00\xe0" + b"\xff" * 4))
    assert "item tag (FFFE,E000) of undefined length" in dicom_failure(path).reason
    path.write_bytes(content[: content.index(b"\xe0\x7f\x10\x00")])
    assert "holds no pixel data (the data end at byte" in dicom_failure(path).reason


def test_frames_of_one_file_have_one_range(tmp_path: Path) -> None:
    real = np.array([[0, 1000, 2000, 4000], [8000, 10000, 12000, 16000]])
    frames = []
    for slope in (1, 4):
        item, frame = Dataset(), Dataset()
        item.RescaleSlope, item.RescaleIntercept = str(slope), "0"
        frame.PixelValueTransformationSequence = Sequence([item])
        frames.append(frame)
    stored = np.stack([real, real // 4]).astype(np.int16)
    path = dicom(tmp_path / "frames.dcm", stored, PerFrameFunctionalGroupsSequence=Sequence(frames))
    first, second = (to_float(read_image(path, frame=index), 1) for index in (0, 1))
    np.testing.assert_array_equal(first, second)
    assert read_image(path, frame=0).high == 4 * 32767


def test_elements_behind_the_pixels_are_read(tmp_path: Path) -> None:
    grey = image(1)
    window = dicom(tmp_path / "window.dcm", grey, WindowCenter="100", WindowWidth="50").read_bytes()
    start, end = window.index(b"\x28\x00\x50\x10DS"), window.index(b"\xe0\x7f\x10\x00")
    path = tmp_path / "later.dcm"
    path.write_bytes(window[:start] + window[end:] + window[start:end])
    np.testing.assert_array_equal(read_image(path).pixels, read_image(tmp_path / "window.dcm").pixels)
    frame = lossless_jpeg(grey, 8, 1)
    window = dicom(
        tmp_path / "coded.dcm",
        grey,
        syntax=JPEGLossless,
        frames=[frame],
        WindowCenter="100",
        WindowWidth="50",
    ).read_bytes()
    start, end = window.index(b"\x28\x00\x50\x10DS"), window.index(b"\xe0\x7f\x10\x00")
    path.write_bytes(window[:start] + window[end:] + window[start:end])
    np.testing.assert_array_equal(read_image(path).pixels, read_image(tmp_path / "coded.dcm").pixels)
    assert failure(tmp_path / "no.dcm").stage == "open"
