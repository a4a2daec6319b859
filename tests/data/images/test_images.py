"""PNG, JPEG, TIFF and BMP as arrays with a range; files that cannot be read as one typed error."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from written_pictures import COLOUR, GREY, expect, failure, png, save, tiff

from graftwork.common.data.images import (
    READER_VERSION,
    SUFFIXES,
    StoredImage,
    decoders,
    read_image,
    read_size,
    stored_pixels,
    to_float,
)
from graftwork.common.errors import ImageError, UsageError

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_eight_bits_are_kept_as_they_are(tmp_path: Path, suffix: str) -> None:
    expect(read_image(save(tmp_path / f"grey.{suffix}", GREY)), GREY, 255)
    expect(read_image(save(tmp_path / f"colour.{suffix}", COLOUR)), COLOUR, 255)


def test_the_content_says_what_a_file_is_not_its_name(tmp_path: Path) -> None:
    path = tmp_path / "photograph.png"
    save(path, COLOUR, format="TIFF")
    expect(read_image(path), COLOUR, 255)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate"])
def test_sixteen_bit_grey_keeps_its_depth(tmp_path: Path, suffix: str, compression: str | None) -> None:
    deep = (GREY.astype(np.uint16) << 8) | RNG.integers(0, 256, GREY.shape).astype(np.uint16)
    options = {"compression": compression} if suffix == "tif" else {}
    expect(read_image(save(tmp_path / f"deep.{suffix}", deep, **options)), deep, 65535)


def test_sixteen_bit_colours_keep_both_bytes(tmp_path: Path) -> None:
    deep = RNG.integers(0, 65536, (5, 7, 3)).astype(np.uint16)
    expect(read_image(png(tmp_path / "rgb.png", deep, 16, 2)), deep, 65535)
    opaque = np.concatenate([deep, np.full((5, 7, 1), 65535, np.uint16)], axis=-1)
    expect(read_image(png(tmp_path / "rgba.png", opaque, 16, 6)), deep, 65535)
    grey = np.concatenate([deep[..., :1], opaque[..., 3:]], axis=-1)
    expect(read_image(png(tmp_path / "la.png", grey, 16, 4)), deep[..., :1], 65535)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compressed", [False, True])
def test_sixteen_bit_colours_of_a_tiff(tmp_path: Path, order: str, compressed: bool) -> None:
    deep = RNG.integers(0, 65536, (5, 7, 3)).astype(np.uint16)
    expect(read_image(tiff(tmp_path / "rgb.tif", deep, order, compressed)), deep, 65535)


def test_a_tiff_whose_lowest_value_is_white_is_inverted(tmp_path: Path) -> None:
    deep = RNG.integers(0, 65536, (5, 7)).astype(np.uint16)
    expect(read_image(tiff(tmp_path / "a.tif", deep, t262=0)), 65535 - deep, 65535)
    expect(read_image(tiff(tmp_path / "b.tif", GREY, t262=0)), 255 - GREY, 255)


def test_signed_and_32_bit_tiffs_say_their_range(tmp_path: Path) -> None:
    signed = np.array([[-5, 7], [32767, -32768]], np.int16)
    picture = read_image(tiff(tmp_path / "signed.tif", signed, t339=2))
    assert (picture.low, picture.high, picture.pixels.dtype) == (-32768, 32767, np.float32)
    np.testing.assert_array_equal(picture.pixels[..., 0], signed)
    deep = np.array([[0, 1], [2**31, 2**32 - 1]], np.uint32)
    picture = read_image(tiff(tmp_path / "deep.tif", deep))
    assert (picture.low, picture.high) == (0, 2**32 - 1)
    np.testing.assert_allclose(to_float(picture, 1)[..., 0], [[0, 0], [0.5, 1]], atol=1e-6)
    small = np.array([[-5, 7], [127, -128]], np.int8)
    picture = read_image(tiff(tmp_path / "small.tif", small, t339=2))
    np.testing.assert_array_equal(picture.pixels[..., 0], small)
    assert (picture.low, picture.high) == (-128, 127)


def test_what_a_tiff_cannot_state_or_pillow_would_misread_is_an_error(tmp_path: Path) -> None:
    real = RNG.random((5, 7)).astype(np.float32)
    assert "no stated range" in failure(tiff(tmp_path / "float.tif", real, t339=3)).reason
    planes = RNG.integers(0, 65536, (5, 7, 3)).astype(np.uint16)
    assert "separate planes" in failure(tiff(tmp_path / "planes.tif", planes, t284=2)).reason
    huge = tiff(tmp_path / "tile.tif", GREY, t322=60000, t323=60000)
    assert failure(huge).stage == "budget"


def test_one_bit_palettes_cmyk(tmp_path: Path) -> None:
    bits = (GREY > 90).astype(np.uint8) * 255
    expect(read_image(save(tmp_path / "one.png", bits, "1")), bits, 255)
    expect(read_image(save(tmp_path / "one.tif", bits, "1")), bits, 255)
    palette = Image.fromarray(COLOUR).quantize(16)
    palette.save(tmp_path / "palette.png")
    expect(read_image(tmp_path / "palette.png"), np.array(palette.convert("RGB")), 255)
    save(tmp_path / "cmyk.jpg", COLOUR, "CMYK", quality=95)
    picture = read_image(tmp_path / "cmyk.jpg")
    assert picture.pixels.shape == COLOUR.shape
    assert np.abs(picture.pixels.astype(int) - COLOUR).mean() < 3
    save(tmp_path / "lab.tif", COLOUR, format="TIFF")
    with Image.open(tmp_path / "lab.tif") as image:
        Image.merge("LAB", image.split()).save(tmp_path / "lab.tif")
    assert "colour space" in failure(tmp_path / "lab.tif").reason


def test_alpha_is_dropped_where_opaque_and_else_composited_on_black(tmp_path: Path) -> None:
    alpha = np.full((*GREY.shape, 1), 255, np.uint8)
    expect(read_image(save(tmp_path / "rgba.png", np.concatenate([COLOUR, alpha], -1))), COLOUR, 255)
    expect(
        read_image(png(tmp_path / "la.png", np.concatenate([GREY[..., None], alpha], -1), 8, 4)), GREY, 255
    )
    alpha[:, :32], alpha[0, 40] = 0, 51
    shown = np.rint(COLOUR * (alpha / 255)).astype(np.uint8)
    picture = read_image(save(tmp_path / "cut.png", np.concatenate([COLOUR, alpha], -1)))
    expect(picture, shown, 255)
    assert picture.pixels[0, 40, 1] == round(COLOUR[0, 40, 1] / 5)


def test_a_transparent_colour_becomes_black(tmp_path: Path) -> None:
    black = np.where(GREY == 100, 0, GREY).astype(np.uint8)
    expect(
        read_image(png(tmp_path / "8.png", GREY[..., None], 8, 0, tRNS=struct.pack(">H", 100))), black, 255
    )
    colours = RNG.integers(1, 65536, (5, 7, 3)).astype(np.uint16)
    shown = colours.copy()
    shown[2, 3] = 0
    key = struct.pack(">3H", *colours[2, 3])
    expect(read_image(png(tmp_path / "rgb16.png", colours, 16, 2, tRNS=key)), shown, 65535)
    deep = GREY.astype(np.uint16) * 257
    key = struct.pack(">H", 100 * 257)
    expect(
        read_image(png(tmp_path / "16.png", deep[..., None], 16, 0, tRNS=key)), black * np.uint16(257), 65535
    )


EXIF_ORIENTATIONS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    # The EXIF standard, tag 274: what the stored rows and columns show; here the way back to the upright image.
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", list(EXIF_ORIENTATIONS))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_exif_orientation_is_applied_once(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    path = save(tmp_path / f"turned.{suffix}", COLOUR, exif=exif)
    upright = EXIF_ORIENTATIONS[orientation](COLOUR)
    picture = read_image(path)
    assert picture.full_size == read_size(path) == upright.shape[:2]
    np.testing.assert_allclose(picture.pixels.astype(int), upright, atol=40 if suffix == "jpg" else 0)
    assert np.abs(picture.pixels.astype(int) - upright).mean() < 3


def test_orientation_of_sixteen_bit_colours(tmp_path: Path) -> None:
    deep = RNG.integers(0, 65536, (5, 7, 3)).astype(np.uint16)
    path = tiff(tmp_path / "turned.tif", deep, t274=6)
    expect(read_image(path), np.rot90(deep, -1), 65535)
    assert read_size(path) == (7, 5)


def test_a_jpeg_is_decoded_at_the_smallest_scale_that_covers(tmp_path: Path) -> None:
    path = save(tmp_path / "large.jpg", np.tile(COLOUR, (10, 10, 1)))  # 480 x 640
    for cover, size in [(0, (480, 640)), (60, (60, 80)), (61, (120, 160)), (120, (120, 160))]:
        picture = read_image(path, cover=cover)
        assert picture.pixels.shape[:2] == size
        assert picture.full_size == (480, 640)
    for cover, size in [(121, (240, 320)), (241, (480, 640)), (5000, (480, 640))]:
        assert read_image(path, cover=cover).pixels.shape[:2] == size
    small, full = read_image(path, cover=240).pixels, read_image(path).pixels
    halved = full.reshape(240, 2, 320, 2, 3).mean(axis=(1, 3))
    assert np.abs(small - halved).mean() < 3
    odd = save(tmp_path / "odd.jpg", np.tile(COLOUR, (10, 10, 1))[:479, :639])
    assert read_image(odd, cover=60).pixels.shape[:2] == (60, 80)
    assert read_image(odd, cover=61).pixels.shape[:2] == (120, 160)


def test_to_float_has_the_range_of_the_file(tmp_path: Path) -> None:
    picture = read_image(save(tmp_path / "grey.png", GREY))
    values = to_float(picture)
    assert values.shape == (48, 64, 3)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values[..., 1], GREY.astype(np.float32) / np.float32(255))
    assert to_float(StoredImage(np.array([[[255]]], np.uint8), 0, 255, (1, 1)), 1)[0, 0, 0] == 1.0
    luma = to_float(read_image(save(tmp_path / "colour.png", COLOUR)), 1)[..., 0]
    np.testing.assert_allclose(luma, COLOUR @ [0.299, 0.587, 0.114] / 255, atol=1e-6)
    beyond = StoredImage(np.array([[[-3.0], [0.5], [9.0]]], np.float32), -1.0, 1.0, (1, 3))
    np.testing.assert_allclose(to_float(beyond, 1).ravel(), [0, 0.75, 1])
    with pytest.raises(UsageError):
        to_float(picture, 4)


def test_a_frame_of_one_value_is_an_error_unless_allowed(tmp_path: Path) -> None:
    flat = np.full((40, 50, 3), (10, 20, 30), np.uint8)
    path = save(tmp_path / "flat.png", flat)
    error = failure(path)
    assert (error.stage, error.reason) == ("content", "every pixel has the same value")
    expect(read_image(path, constant="allow"), flat, 255)
    flat[39, 49] = 0
    assert read_image(save(path, flat)).pixels[39, 49, 0] == 0


def test_pages_of_a_tiff_must_be_named(tmp_path: Path) -> None:
    first, second = Image.fromarray(GREY), Image.fromarray(255 - GREY)
    first.save(tmp_path / "pages.tif", save_all=True, append_images=[second])
    error = failure(tmp_path / "pages.tif")
    assert "2 pages" in error.reason
    assert "frame=" in (error.remedy or "")
    expect(read_image(tmp_path / "pages.tif", frame=0), GREY, 255)
    expect(read_image(tmp_path / "pages.tif", frame=1), 255 - GREY, 255)
    assert "page 2" in failure(tmp_path / "pages.tif", frame=2).reason
    assert "frame 1" in failure(save(tmp_path / "one.png", GREY), frame=1).reason


def test_stored_pixels_are_those_of_dicom_only(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="not a DICOM file"):
        stored_pixels(save(tmp_path / "grey.png", GREY))


def test_the_decoders_of_this_machine_are_told_quickly_and_without_torch() -> None:
    code = (
        "import sys, time; began = time.perf_counter()\n"
        "from graftwork.common.data.images import decoders\n"
        "found = decoders(); print(time.perf_counter() - began, len(found), sum(v is None for v in found.values()))\n"
        "print(sorted({'torch', 'monai', 'pandas', 'timm', 'matplotlib', 'albumentations'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, syntaxes, missing = done.stdout.splitlines()[0].split()
    assert (syntaxes, missing) == ("16", "0")
    assert done.stdout.splitlines()[1] == "[]"
    assert float(seconds) < 3  # 0.2 s on an idle core
    assert decoders()["JPEG Baseline (Process 1)"].startswith("pillow ")  # type: ignore[union-attr]


def test_images_is_imported_without_pydicom() -> None:
    code = "import sys, graftwork.common.data.images; print('pydicom' in sys.modules, 'imagecodecs' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"


def test_what_others_rely_on() -> None:
    assert isinstance(READER_VERSION, str)
    assert {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm"} <= set(SUFFIXES)
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in SUFFIXES)
