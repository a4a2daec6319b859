"""Damage that a decoder passes over: cut, zeroed and incomplete images are refused, odd but whole ones are read."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from fuzzed_pictures import rle_frame
from PIL import Image, TiffImagePlugin
from pydicom.uid import (
    JPEG2000,
    UID,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from written_pictures import dicom, dicom_failure, failure, lossless_jpeg, save, tiff

from graftwork.common.data.images import read_image, read_size
from graftwork.common.data.images.jpeg import jpeg_damage

RNG = np.random.default_rng(0)
ROWS, COLUMNS = np.mgrid[0:160, 0:200]
GREY = np.clip((2 * ROWS + COLUMNS) % 256 + RNG.integers(-20, 20, ROWS.shape), 0, 255).astype(np.uint8)
COLOUR = np.stack([GREY, 255 - GREY, GREY // 2], axis=-1)
END = b"\xff\xd9"


def jpeg(pixels: np.ndarray | Image.Image, **options: Any) -> bytes:
    content = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(content, "JPEG", **options)
    return content.getvalue()


JPEGS: dict[str, bytes] = {
    "grey": jpeg(GREY),
    "colour": jpeg(COLOUR),
    "4:4:4": jpeg(COLOUR, subsampling=0),
    "rgb": jpeg(COLOUR, keep_rgb=True),
    "cmyk": jpeg(Image.fromarray(COLOUR).convert("CMYK")),
    "optimised": jpeg(COLOUR, optimize=True),
    "progressive": jpeg(COLOUR, progressive=True),
    "grey, progressive": jpeg(GREY, progressive=True),
    "restarts": jpeg(COLOUR, restart_marker_blocks=4),
}


def coded(data: bytes) -> int:
    """Where the coded data of the last scan that is long begin."""
    return data.index(b"\xff\xda") + 20


@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_that_was_cut_and_closed_or_zeroed_is_refused(tmp_path: Path, name: str) -> None:
    data = JPEGS[name]
    start = coded(data)
    half = start + (len(data) - start) // 2
    for what, content in {
        "cut": data[:half] + END,
        "cut late": data[:-40] + END,
        "zeroed to the end": data[:half] + bytes(len(data) - half - 2) + END,
        "a block repeated": data[:half] + data[half - 300 :],
    }.items():
        (tmp_path / "damaged.jpg").write_bytes(content)
        error = failure(tmp_path / "damaged.jpg")
        assert (error.stage, bool(error.remedy)) == ("decode", True), what
        assert "truncated" in error.reason or "damaged" in error.reason
        assert failure(tmp_path / "damaged.jpg", cover=20).stage == "decode"


@pytest.mark.parametrize("name", ["grey", "colour", "4:4:4", "restarts"])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_block_of_zeros_is_found_even_where_the_number_of_pixels_comes_out_right(
    name: str, share: float
) -> None:
    data = JPEGS[name]
    place = coded(data) + int(share * (len(data) - coded(data) - 600))
    for count in (64, 128, 512):
        assert jpeg_damage(data[:place] + bytes(count) + data[place + count :])


@pytest.mark.parametrize("name", JPEGS)
def test_odd_but_whole_jpegs_are_read(tmp_path: Path, name: str) -> None:
    data = JPEGS[name]
    thumbnail = b"Exif\0\0" + JPEGS["grey"][:2000]
    for what, content in {
        "as it is": data,
        "bytes behind the end": data + b"of another program" * 9,
        "another image behind the end": data + JPEGS["grey"],
        "padding of zeros": data[:-2] + bytes(40) + END,
        "padding of FF": data[:-2] + b"\xff" * 40 + END,
        "padding of another value": data[:-2] + b"\x37" * 8 + END,
        "a thumbnail": data[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + data[2:],
        "an unknown revision of JFIF": data.replace(b"JFIF\0\x01", b"JFIF\0\x07"),
    }.items():
        assert jpeg_damage(content) == "", what
        (tmp_path / "whole.jpg").write_bytes(content)
        picture = read_image(tmp_path / "whole.jpg")
        with Image.open(io.BytesIO(data)) as image:
            expected = np.array(image.convert("RGB" if image.mode == "CMYK" else image.mode))
        np.testing.assert_array_equal(picture.pixels.reshape(expected.shape), expected)
    assert jpeg_damage(data[:-1]) == jpeg_damage(data[:-2]) == "", "the end marker alone is missing"


def test_a_jpeg_that_lost_its_last_scans_is_refused(tmp_path: Path) -> None:
    data = JPEGS["progressive"]
    last = data.rindex(b"\xff\xda")
    (tmp_path / "scans.jpg").write_bytes(data[: data.rindex(b"\xff\xc4", 0, last)] + END)
    assert "components incomplete" in failure(tmp_path / "scans.jpg").reason


def test_a_png_fails_by_its_checksums(tmp_path: Path) -> None:
    # not compressed, so that the decoder itself finds nothing amiss
    path = save(tmp_path / "plain.png", COLOUR, compress_level=0)
    whole = path.read_bytes()
    content = bytearray(whole)
    content[len(content) // 2] ^= 16
    path.write_bytes(content)
    assert "checksum" in failure(path).reason
    path.write_bytes(whole[:-60])
    assert "truncated" in failure(path).reason
    path.write_bytes(whole[:-12])  # IEND alone is missing: nothing is lost
    np.testing.assert_array_equal(read_image(path).pixels, COLOUR)
    assert read_size(path) == GREY.shape


def strips(path: Path, **options: Any) -> Path:
    return save(path, COLOUR, format="TIFF", tiffinfo={278: 40}, **options)


def retagged(path: Path, tag: int, change: Any) -> Path:
    """The TIFF with the values of one tag changed in place (`change` gets and gives a list)."""
    data = bytearray(path.read_bytes())
    with Image.open(path) as image:
        assert isinstance(image, TiffImagePlugin.TiffImageFile)
        values = list(np.ravel(image.tag_v2[tag]))
    place = struct.unpack_from("<I", data, 4)[0]
    for entry in range(place + 2, place + 2 + 12 * struct.unpack_from("<H", data, place)[0], 12):
        number, kind, count = struct.unpack_from("<HHI", data, entry)
        if number == tag:
            form = {3: "H", 4: "I"}[kind]
            width = struct.calcsize(form) * count
            target = entry + 8 if width <= 4 else struct.unpack_from("<I", data, entry + 8)[0]
            changed = change(values)
            struct.pack_into("<I", data, entry + 4, len(changed))
            struct.pack_into(f"<{len(changed)}{form}", data, target, *changed)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("compression", [None, "tiff_adobe_deflate", "jpeg", "tiff_lzw", "packbits"])
def test_strips_that_are_missing_are_refused(tmp_path: Path, compression: str | None) -> None:
    path = strips(tmp_path / "a.tif", compression=compression)
    with Image.open(path) as image:
        assert isinstance(image, TiffImagePlugin.TiffImageFile)
        assert len(image.tag_v2[273]) == 4
    assert read_image(path).pixels.shape == (160, 200, 3)
    assert "strip 3 of 4 is missing" in failure(retagged(path, 273, lambda v: [*v[:2], 0, v[3]])).reason
    path = retagged(strips(tmp_path / "b.tif", compression=compression), 273, lambda v: v[:3])
    assert "3 of its 4 strips" in failure(path).reason
    path = retagged(strips(tmp_path / "c.tif", compression=compression), 273, lambda v: [*v[:3], 10**6])
    assert "truncated" in failure(path).reason
    path = retagged(strips(tmp_path / "d.tif", compression=compression), 279, lambda v: [v[0], 0, *v[2:]])
    assert "strip 2 of 4 is missing" in failure(path).reason


def test_coded_strips_are_held_against_their_own_checks(tmp_path: Path) -> None:
    path = strips(tmp_path / "jpeg.tif", compression="jpeg")
    with Image.open(path) as image:
        assert isinstance(image, TiffImagePlugin.TiffImageFile)
        start, length = image.tag_v2[273][1], image.tag_v2[279][1]
    content = bytearray(path.read_bytes())
    content[start + length // 2 : start + length - 2] = bytes(length - 2 - length // 2)
    path.write_bytes(content)
    assert "strip 2 of 4 is" in failure(path).reason
    stored = tiff(tmp_path / "deflate.tif", GREY, "<", True)
    content = bytearray(stored.read_bytes())
    with Image.open(stored) as image:
        assert isinstance(image, TiffImagePlugin.TiffImageFile)
        content[8 + image.tag_v2[279][0] - 1] ^= 1  # the checksum, which no decoder reads
    stored.write_bytes(content)
    assert "checksum" in failure(stored).reason


OME = (
    '<?xml version="1.0"?>'
    + '<OME><Image><Pixels SizeX="200" SizeY="160" SizeZ="{}" SizeC="{}" SizeT="{}"/></Image></OME>'
)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    ("description", "images"),
    [
        ("ImageJ=1.53t\nimages=5\nslices=5\n", 5),
        ("ImageJ=1.53t\nimages=12\nchannels=2\nslices=3\nframes=2\nhyperstack=true\n", 12),
        ("ImageJ=1.53t\nframes=4\n", 4),
        ("ImageJ=1.53t\nslices=4\r\n", 4),
        (OME.format(3, 1, 2), 6),
        (json.dumps({"shape": [7, 160, 200], "truncated": True}), 7),
    ],
)
def test_stacks_under_one_directory_are_refused(
    tmp_path: Path, description: str, images: int, big: bool
) -> None:
    path = tmp_path / "stack.tif"
    save(path, GREY, tiffinfo={270: description}, big_tiff=big)
    path.write_bytes(path.read_bytes() + GREY.tobytes() * (images - 1))
    for frame in (None, 0, 1):
        error = failure(path, frame=frame)
        assert error.stage == "header"
        assert f"{images} images under 1 directory" in error.reason
        assert "one file an image" in (error.remedy or "")


def test_descriptions_of_one_image_are_no_stacks(tmp_path: Path) -> None:
    for number, description in enumerate(
        [
            "ImageJ=1.53t\nunit=mm\nmin=0\nmax=255\n",
            "ImageJ=1.53t\nimages=1\n",
            "images=5",
            OME.format(1, 1, 1),
        ]
    ):
        path = save(tmp_path / f"{number}.tif", GREY, tiffinfo={270: description})
        np.testing.assert_array_equal(read_image(path).pixels[..., 0], GREY)
    for description in (
        "ImageJ=1.53t\nchannels=3\n",
        OME.format(1, 3, 1),
    ):  # the three are the samples of a pixel
        path = save(tmp_path / "colour.tif", COLOUR, tiffinfo={270: description})
        np.testing.assert_array_equal(read_image(path).pixels, COLOUR)


DEEP = GREY.astype(np.uint16) * 16
J2K: dict[str, Any] = {"codecformat": "J2K", "resolutions": 3}
TWELVE = bytes(imagecodecs.jpeg8_encode(DEEP, level=90, bitspersample=12))
FRAMES: dict[str, tuple[np.ndarray, UID, bytes, dict[str, Any]]] = {
    "baseline": (GREY, JPEGBaseline8Bit, JPEGS["grey"], {}),
    "baseline, colour": (
        COLOUR, JPEGBaseline8Bit, JPEGS["colour"], {"PhotometricInterpretation": "YBR_FULL_422"},
    ),
    "12 bits": (DEEP, JPEGExtended12Bit, TWELVE, {"bits": 12}),
    "lossless": (DEEP, JPEGLosslessSV1, lossless_jpeg(DEEP, 12, 1), {"bits": 12}),
    "lossless, predictor 6": (DEEP, JPEGLossless, lossless_jpeg(DEEP, 12, 6), {"bits": 12}),
    "lossless, colour": (COLOUR, JPEGLosslessSV1, lossless_jpeg(COLOUR, 8, 1), {}),
    "JPEG-LS": (DEEP, JPEGLSLossless, bytes(imagecodecs.jpegls_encode(DEEP)), {}),
    "JPEG 2000": (
        DEEP,
        JPEG2000Lossless,
        bytes(imagecodecs.jpeg2k_encode(DEEP, level=0, reversible=True, **J2K)),
        {"bits": 12},
    ),
    "JPEG 2000, lossy": (
        COLOUR,
        JPEG2000,
        bytes(imagecodecs.jpeg2k_encode(COLOUR, level=40, reversible=False, **J2K)),
        {"PhotometricInterpretation": "YBR_ICT"},
    ),
    "HTJ2K": (GREY, HTJ2KLossless, bytes(imagecodecs.htj2k_encode(GREY, reversible=True)), {}),
    "RLE": (DEEP, RLELossless, rle_frame(DEEP), {"bits": 12}),
}  # fmt: skip


@pytest.mark.parametrize("name", FRAMES)
def test_a_compressed_frame_that_was_cut_is_refused(tmp_path: Path, name: str) -> None:
    stored, syntax, frame, options = FRAMES[name]
    read_image(dicom(tmp_path / "whole.dcm", stored, syntax=syntax, frames=[frame], **options))
    half = len(frame) // 2
    cut = [frame[:half], frame[:half] + END, frame[:half] + frame[half + 50 :]]
    if b"\xff\x90" in frame[:400]:  # JPEG 2000: the length of its tile-part, left open or put right
        place = frame.index(b"\xff\x90") + 6
        for length in (0, half - place + 6):
            cut.append(frame[:place] + struct.pack(">I", length) + frame[place + 4 : half] + END)
    for number, content in enumerate(cut):
        path = dicom(tmp_path / f"{number}.dcm", stored, syntax=syntax, frames=[content], **options)
        error = dicom_failure(path)
        assert error.stage == "decode"
        assert error.remedy


def test_a_bitmap_that_is_cut_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.bmp", COLOUR)
    path.write_bytes(path.read_bytes()[:-1000])
    assert "truncated" in failure(path).reason
