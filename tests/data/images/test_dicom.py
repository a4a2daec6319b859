"""DICOM as it is meant to be seen: each step against numbers worked out by hand from PS3.3, then what must fail."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
)
from written_pictures import RAMP, dicom, dicom_failure, expect, lossless_jpeg, table

from graftwork.common.data.images import StoredImage, read_image, read_size, stored_pixels, to_float

RNG = np.random.default_rng(0)


def shown(picture: StoredImage) -> np.ndarray:
    """The image in 0..1, `[H, W]`."""
    return to_float(picture, 1)[..., 0]


# ---------------------------------------------------------------- ranges


@pytest.mark.parametrize(
    ("bits", "kind", "high"), [(8, "u1", 255), (7, "u1", 127), (12, "u2", 4095), (16, "u2", 65535)]
)
def test_the_range_comes_from_bits_stored_never_from_the_maximum(
    tmp_path: Path, bits: int, kind: str, high: int
) -> None:
    stored = np.array([[0, 1], [2, 3]], kind)
    picture = read_image(dicom(tmp_path / "a.dcm", stored, bits=bits))
    assert (picture.low, picture.high, picture.pixels.dtype) == (0, high, stored.dtype)
    np.testing.assert_array_equal(picture.pixels[..., 0], stored)
    np.testing.assert_allclose(shown(picture), stored / high, rtol=1e-6)
    assert picture.full_size == (2, 2)


def test_signed_values_keep_their_sign_and_unused_bits_do_not_count(tmp_path: Path) -> None:
    stored = np.array([[-2048, -1], [0, 2047]], np.int16)
    dirty = (stored & 0x0FFF) | 0x5000  # an overlay in the four bits above
    picture = read_image(dicom(tmp_path / "a.dcm", dirty.astype(np.int16), bits=12))
    assert (picture.low, picture.high, picture.pixels.dtype) == (-2048, 2047, np.float32)
    np.testing.assert_array_equal(picture.pixels[..., 0], stored)


def test_rescale_shifts_the_range_also_with_a_negative_slope(tmp_path: Path) -> None:
    stored = np.array([[0, 100], [200, 255]], np.uint8)
    picture = read_image(dicom(tmp_path / "a.dcm", stored, RescaleSlope="2", RescaleIntercept="-10"))
    assert (picture.low, picture.high) == (-10, 500)
    np.testing.assert_array_equal(picture.pixels[..., 0], [[-10, 190], [390, 500]])
    picture = read_image(dicom(tmp_path / "b.dcm", stored, RescaleSlope="-2", RescaleIntercept="10"))
    assert (picture.low, picture.high) == (-500, 10)
    np.testing.assert_array_equal(picture.pixels[..., 0], [[10, -190], [-390, -500]])
    np.testing.assert_allclose(shown(picture), [[1, 310 / 510], [110 / 510, 0]], rtol=1e-6)
    # a window over it: PS3.3 C.11.2.1.2 maps low output values to dark, whatever the slope did before
    windowed = dicom(
        tmp_path / "c.dcm",
        stored,
        RescaleSlope="-2",
        RescaleIntercept="10",
        WindowCenter="-245",
        WindowWidth="510",
        VOILUTFunction="LINEAR_EXACT",
    )
    np.testing.assert_allclose(shown(read_image(windowed)), [[1, 310 / 510], [110 / 510, 0]], rtol=1e-6)


def test_the_identity_rescale_leaves_integers_alone(tmp_path: Path) -> None:
    picture = read_image(dicom(tmp_path / "a.dcm", RAMP, RescaleSlope="1", RescaleIntercept="0"))
    assert picture.pixels.dtype == np.uint8
    assert (
        "Slope is 0"
        in dicom_failure(dicom(tmp_path / "b.dcm", RAMP, RescaleSlope="0", RescaleIntercept="5")).reason
    )


# ---------------------------------------------------------------- windows (PS3.3, C.11.2.1.2 and C.11.2.1.3)


def linear(x: float, centre: float, width: float) -> float:
    if x <= centre - 0.5 - (width - 1) / 2:
        return 0.0
    if x > centre - 0.5 + (width - 1) / 2:
        return 1.0
    return (x - (centre - 0.5)) / (width - 1) + 0.5


def linear_exact(x: float, centre: float, width: float) -> float:
    if x <= centre - width / 2:
        return 0.0
    if x > centre + width / 2:
        return 1.0
    return (x - centre) / width + 0.5


def sigmoid(x: float, centre: float, width: float) -> float:
    return 1 / (1 + float(np.exp(-4 * (x - centre) / width)))


@pytest.mark.parametrize(
    ("name", "formula"),
    [(None, linear), ("LINEAR", linear), ("LINEAR_EXACT", linear_exact), ("SIGMOID", sigmoid)],
)
@pytest.mark.parametrize(
    ("centre", "width"), [(50.0, 40.0), (50.0, 1.0), (128.0, 256.0), (60.5, 3.0), (-20.0, 500.0)]
)
def test_each_voi_function_follows_its_formula(
    tmp_path: Path, name: str | None, formula: Callable[..., float], centre: float, width: float
) -> None:
    elements: dict[str, Any] = {"WindowCenter": centre, "WindowWidth": width}
    if name:
        elements["VOILUTFunction"] = name
    picture = read_image(dicom(tmp_path / "a.dcm", RAMP, **elements), constant="allow")
    expected = [[formula(float(x), centre, width) for x in row] for row in RAMP]
    assert (picture.low, picture.high) == (0, 1)
    np.testing.assert_allclose(picture.pixels[..., 0], expected, atol=2e-7, rtol=2e-6)


def test_the_example_of_the_standard(tmp_path: Path) -> None:
    # PS3.3 C.11.2.1.2.1, table of examples: centre 2048, width 4096 maps 0 to 0 and 4095 to 1;
    # centre 2048, width 1 is a step between 2047 and 2048; centre 0, width 100 runs from -50 to 49.
    stored = np.array([[0, 2047, 2048, 4095]], np.uint16)
    whole = read_image(dicom(tmp_path / "a.dcm", stored, bits=12, WindowCenter="2048", WindowWidth="4096"))
    np.testing.assert_allclose(whole.pixels[0, :, 0], [0, 2047 / 4095, 2048 / 4095, 1], rtol=1e-6)
    step = read_image(dicom(tmp_path / "b.dcm", stored, bits=12, WindowCenter="2048", WindowWidth="1"))
    np.testing.assert_array_equal(step.pixels[0, :, 0], [0, 0, 1, 1])
    signed = np.array([[-51, -50, 0, 49]], np.int16)
    narrow = read_image(dicom(tmp_path / "c.dcm", signed, WindowCenter="0", WindowWidth="100"))
    np.testing.assert_allclose(narrow.pixels[0, :, 0], [0, 0, 50 / 99, 1], rtol=1e-6)


def test_of_several_windows_the_first_counts_and_an_empty_one_does_not(tmp_path: Path) -> None:
    several = dicom(tmp_path / "a.dcm", RAMP, WindowCenter=["50", "90"], WindowWidth=["41", "1"])
    np.testing.assert_allclose(read_image(several).pixels[1, 0, 0], linear(40, 50, 41), rtol=1e-6)
    empty = dicom(tmp_path / "b.dcm", RAMP, WindowCenter="", WindowWidth="")
    assert read_image(empty).pixels.dtype == np.uint8


def test_a_window_without_width_is_passed_over_and_said(tmp_path: Path) -> None:
    for width, function in [("0", "LINEAR"), ("0.21", "LINEAR"), ("0", "SIGMOID"), ("-3", "LINEAR_EXACT")]:
        window = {"WindowCenter": "5", "WindowWidth": width, "VOILUTFunction": function}
        picture = read_image(dicom(tmp_path / "a.dcm", RAMP, **window))
        expect(picture, RAMP, 255)
        assert f"Window Width of {width}" in picture.remarks[0]
        rescaled = dicom(tmp_path / "b.dcm", RAMP, RescaleSlope="0.01", RescaleIntercept="-1", **window)
        picture = read_image(rescaled)
        np.testing.assert_allclose(picture.pixels[..., 0], RAMP * 0.01 - 1, rtol=1e-6)
        assert (picture.low, round(picture.high, 6)) == (-1, 1.55)
    # widths below 1 mean something in the other two
    for function in ("LINEAR_EXACT", "SIGMOID"):
        path = dicom(tmp_path / "c.dcm", RAMP, WindowCenter="5", WindowWidth="0.5", VOILUTFunction=function)
        picture = read_image(path)
        assert (picture.high, picture.remarks) == (1, ())


def test_a_function_that_is_not_known_is_an_error(tmp_path: Path) -> None:
    path = dicom(tmp_path / "b.dcm", RAMP, WindowCenter="5", WindowWidth="9", VOILUTFunction="CUBIC")
    assert "VOI LUT Function" in dicom_failure(path).reason


# ---------------------------------------------------------------- tables


def test_a_modality_lut_maps_and_sets_the_range(tmp_path: Path) -> None:
    stored = np.array([[0, 4, 5], [6, 7, 200]], np.uint8)
    path = dicom(tmp_path / "a.dcm", stored, ModalityLUTSequence=table([1000, 2000, 4095], 5, 12))
    picture = read_image(path)
    assert (picture.low, picture.high, picture.pixels.dtype) == (0, 4095, np.uint16)
    np.testing.assert_array_equal(picture.pixels[..., 0], [[1000, 1000, 1000], [2000, 4095, 4095]])


def test_a_voi_lut_comes_after_the_rescale_and_before_the_window(tmp_path: Path) -> None:
    stored = np.array([[0, 1, 2, 3]], np.uint8)
    elements = {
        "RescaleSlope": "10",
        "RescaleIntercept": "-20",
        "VOILUTSequence": table([7, *range(8, 8 + 9), 900], -20, 10),
        "WindowCenter": "5",
        "WindowWidth": "1",
    }
    picture = read_image(dicom(tmp_path / "a.dcm", stored, **elements))
    assert (picture.low, picture.high) == (0, 1023)
    np.testing.assert_array_equal(picture.pixels[0, :, 0], [7, 900, 900, 900])


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_eight_bit_tables_in_words_of_either_byte_order(tmp_path: Path, syntax: UID) -> None:
    item = Dataset()
    item.LUTDescriptor = [4, 0, 8]
    words = struct.pack("<HH" if syntax != ExplicitVRBigEndian else ">HH", 10 | 20 << 8, 30 | 40 << 8)
    item.add_new("LUTData", "OW", words)
    stored = np.array([[0, 1, 2, 3]], np.uint8)
    path = dicom(tmp_path / "a.dcm", stored, syntax=syntax, VOILUTSequence=Sequence([item]))
    picture = read_image(path)
    np.testing.assert_array_equal(picture.pixels[0, :, 0], [10, 20, 30, 40])
    assert picture.high == 255


def test_damaged_tables_are_errors(tmp_path: Path) -> None:
    short = table([1, 2, 3], 0, 12)
    short[0].LUTDescriptor = [300, 0, 12]
    assert "shorter" in dicom_failure(dicom(tmp_path / "a.dcm", RAMP, VOILUTSequence=short)).reason
    deep = table([1, 2, 3], 0, 12)
    deep[0].LUTDescriptor = [3, 0, 40]
    assert "descriptor" in dicom_failure(dicom(tmp_path / "b.dcm", RAMP, ModalityLUTSequence=deep)).reason


# ---------------------------------------------------------------- inversion


def test_monochrome1_is_the_exact_negative_of_monochrome2(tmp_path: Path) -> None:
    for bits, kind in [(8, "u1"), (12, "u2"), (16, "i2")]:
        stored = RNG.integers(0, 2**bits // 2, (6, 5)).astype(kind)
        stored[0, 0] = 0
        plain = read_image(dicom(tmp_path / "2.dcm", stored, bits=bits))
        turned = read_image(
            dicom(tmp_path / "1.dcm", stored, bits=bits, PhotometricInterpretation="MONOCHROME1")
        )
        assert (turned.low, turned.high, turned.pixels.dtype) == (plain.low, plain.high, plain.pixels.dtype)
        total = turned.pixels.astype(np.float64) + plain.pixels.astype(np.float64)
        np.testing.assert_array_equal(total, plain.low + plain.high)


def test_inversion_comes_after_the_window(tmp_path: Path) -> None:
    window = {"WindowCenter": "50", "WindowWidth": "21"}
    path = dicom(tmp_path / "a.dcm", RAMP, PhotometricInterpretation="MONOCHROME1", **window)
    expected = [[1 - linear(float(x), 50, 21) for x in row] for row in RAMP]
    np.testing.assert_allclose(read_image(path).pixels[..., 0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "INVERSE", True),  # as DX images have it: one inversion, said twice
        ("MONOCHROME1", "IDENTITY", True),
    ],
)
def test_presentation_lut_shape(tmp_path: Path, photometric: str, shape: str, inverted: bool) -> None:
    path = dicom(tmp_path / "a.dcm", RAMP, PhotometricInterpretation=photometric, PresentationLUTShape=shape)
    np.testing.assert_array_equal(read_image(path).pixels[..., 0], 255 - RAMP if inverted else RAMP)


def test_values_deeper_than_bits_stored_do_not_wrap_round(tmp_path: Path) -> None:
    stored = np.array([[0, 1000, 5000, 60000]], np.uint16)
    frame = bytes(imagecodecs.jpeg2k_encode(stored, level=0, reversible=True, codecformat="J2K"))
    path = dicom(
        tmp_path / "a.dcm",
        stored,
        bits=12,
        syntax=JPEG2000Lossless,
        frames=[frame],
        PhotometricInterpretation="MONOCHROME1",
    )
    np.testing.assert_array_equal(read_image(path).pixels[0, :, 0], [4095, 3095, 0, 0])


# ---------------------------------------------------------------- colours


def test_palettes(tmp_path: Path) -> None:
    stored = np.array([[0, 1], [2, 9]], np.uint8)
    palette: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    colours = {"Red": [0, 65280, 256], "Green": [1, 2, 3], "Blue": [65535, 0, 7]}
    for colour, entries in colours.items():
        palette[f"{colour}PaletteColorLookupTableDescriptor"] = [3, 0, 16]
        palette[f"{colour}PaletteColorLookupTableData"] = struct.pack("<3H", *entries)
    picture = read_image(dicom(tmp_path / "a.dcm", stored, **palette))
    assert (picture.high, picture.pixels.dtype) == (65535, np.uint16)
    expected = np.stack([np.array(colours[c])[np.minimum(stored, 2)] for c in ("Red", "Green", "Blue")], -1)
    np.testing.assert_array_equal(picture.pixels, expected)
    np.testing.assert_array_equal(stored_pixels(tmp_path / "a.dcm"), stored)
    palette["BluePaletteColorLookupTableDescriptor"] = [3, 0, 8]
    assert "depth" in dicom_failure(dicom(tmp_path / "b.dcm", stored, **palette)).reason


def test_segmented_palettes(tmp_path: Path) -> None:
    """PS3.3 C.7.9.2: two entries as they are, a line of four to 60, then the first segment once more."""
    palette: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    segments = struct.pack("<11H", 0, 2, 10, 20, 1, 4, 60, 2, 1, 0, 0)
    for colour in ("Red", "Green", "Blue"):
        palette[f"{colour}PaletteColorLookupTableDescriptor"] = [8, 0, 16]
        palette[f"Segmented{colour}PaletteColorLookupTableData"] = segments
    stored = np.arange(8, dtype=np.uint8).reshape(2, 4)
    picture = read_image(dicom(tmp_path / "a.dcm", stored, **palette))
    np.testing.assert_array_equal(picture.pixels[..., 0].ravel(), [10, 20, 30, 40, 50, 60, 10, 20])
    for colour in ("Red", "Green", "Blue"):  # a kilobyte that asks for hundreds of millions of entries
        palette[f"Segmented{colour}PaletteColorLookupTableData"] = struct.pack("<4H", 0, 2, 1, 2) + (
            struct.pack("<3H", 1, 65535, 5) * 100 + struct.pack("<4H", 2, 65535, 8, 0) * 100
        )
    assert read_image(dicom(tmp_path / "b.dcm", stored, **palette)).pixels[0, 1, 0] == 2


def test_ybr_becomes_rgb_and_planes_are_woven(tmp_path: Path) -> None:
    rgb = RNG.integers(0, 256, (4, 6, 3)).astype(np.uint8)
    np.testing.assert_array_equal(read_image(dicom(tmp_path / "a.dcm", rgb)).pixels, rgb)
    planes = np.ascontiguousarray(rgb.transpose(2, 0, 1)).reshape(4, 6, 3)
    path = dicom(tmp_path / "b.dcm", planes, PlanarConfiguration=1)
    np.testing.assert_array_equal(read_image(path).pixels, rgb)
    # PS3.3 C.7.6.3.1.2: Y = 0.299 R + 0.587 G + 0.114 B, CB and CR about 128
    matrix = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])
    ybr = np.clip(np.rint(rgb @ matrix.T + [0, 128, 128]), 0, 255).astype(np.uint8)
    picture = read_image(dicom(tmp_path / "c.dcm", ybr, PhotometricInterpretation="YBR_FULL"))
    assert np.abs(picture.pixels.astype(int) - rgb).max() <= 3
    for wrong in ("YBR_PARTIAL_420", "HSV", "MONOCHROME2", "SECRET"):
        assert (
            dicom_failure(dicom(tmp_path / "d.dcm", rgb, PhotometricInterpretation=wrong)).stage == "header"
        )


# ---------------------------------------------------------------- transfer syntaxes


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
)
@pytest.mark.parametrize("kind", ["u1", "u2", "i2", "u4"])
def test_native_syntaxes(tmp_path: Path, syntax: UID, kind: str) -> None:
    stored = RNG.integers(0, 100, (5, 7)).astype(kind)
    path = dicom(tmp_path / "a.dcm", stored, syntax=syntax)
    found = stored_pixels(path)
    assert found.dtype == stored.dtype
    np.testing.assert_array_equal(found, stored)
    np.testing.assert_array_equal(read_image(path).pixels[..., 0], stored)
    assert read_size(path) == (5, 7)


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize(
    ("bits", "shape"), [(8, (9, 11)), (8, (9, 11, 3)), (10, (9, 11)), (12, (9, 11)), (16, (9, 11))]
)
def test_jpeg_lossless_of_every_predictor_and_depth(
    tmp_path: Path, predictor: int, bits: int, shape: tuple[int, ...]
) -> None:
    stored = RNG.integers(0, 2**bits, shape).astype(np.uint8 if bits == 8 else np.uint16)
    syntax = JPEGLosslessSV1 if predictor == 1 else JPEGLossless
    frame = lossless_jpeg(stored, bits, predictor)
    path = dicom(tmp_path / "a.dcm", stored, syntax=syntax, frames=[frame], bits=bits)
    np.testing.assert_array_equal(stored_pixels(path), stored)
    assert read_image(path).high == 2**bits - 1


def test_twelve_bit_jpeg_has_the_range_of_its_bits_stored(tmp_path: Path) -> None:
    rows, columns = np.mgrid[0:40, 0:48]
    stored = (20 * rows + 30 * columns).astype(np.uint16)
    frame = bytes(imagecodecs.jpeg8_encode(stored, level=95, bitspersample=12))
    path = dicom(tmp_path / "a.dcm", stored, syntax=JPEGExtended12Bit, frames=[frame], bits=12)
    picture = read_image(path)
    assert (picture.high, picture.pixels.dtype) == (4095, np.uint16)
    assert np.abs(picture.pixels[..., 0].astype(int) - stored).mean() < 4
    # sent as baseline, which Pillow cannot read at 12 bits: the other decoder takes it
    path = dicom(tmp_path / "b.dcm", stored, syntax=JPEGBaseline8Bit, frames=[frame], bits=12)
    np.testing.assert_array_equal(read_image(path).pixels, picture.pixels)


def test_frames_must_be_named(tmp_path: Path) -> None:
    stored = RNG.integers(0, 256, (3, 4, 5)).astype(np.uint8)
    native = dicom(tmp_path / "a.dcm", stored)
    packed = dicom(
        tmp_path / "b.dcm",
        stored,
        syntax=JPEGLosslessSV1,
        frames=[lossless_jpeg(frame, 8, 1) for frame in stored],
    )
    for path in (native, packed):
        error = dicom_failure(path)
        assert "3 frames (NumberOfFrames)" in error.reason
        assert "frame=" in (error.remedy or "")
        for index in range(3):
            np.testing.assert_array_equal(read_image(path, frame=index).pixels[..., 0], stored[index])
            np.testing.assert_array_equal(stored_pixels(path, frame=index), stored[index])
        np.testing.assert_array_equal(stored_pixels(path), stored)
        assert "frame 3" in dicom_failure(path, frame=3).reason
        assert "frame -1" in dicom_failure(path, frame=-1).reason


def test_windows_of_enhanced_objects_stand_in_their_functional_groups(tmp_path: Path) -> None:
    stored = np.stack([RAMP, RAMP])

    def group(keyword: str, **elements: str) -> Dataset:
        inner, outer = Dataset(), Dataset()
        for name, value in elements.items():
            setattr(inner, name, value)
        setattr(outer, keyword, Sequence([inner]))
        return outer

    rescale = group("PixelValueTransformationSequence", RescaleSlope="2", RescaleIntercept="-8")
    windows = [group("FrameVOILUTSequence", WindowCenter=c, WindowWidth="41") for c in ("50", "150")]
    path = dicom(
        tmp_path / "a.dcm",
        stored,
        SharedFunctionalGroupsSequence=Sequence([rescale]),
        PerFrameFunctionalGroupsSequence=Sequence(windows),
    )
    for index, centre in enumerate((50, 150)):
        expected = [[linear(2.0 * x - 8, centre, 41) for x in row] for row in RAMP]
        np.testing.assert_allclose(read_image(path, frame=index).pixels[..., 0], expected, atol=1e-6)


def test_floating_point_pixels_need_a_window(tmp_path: Path) -> None:
    def parametric(name: str, values: np.ndarray, **elements: Any) -> Path:
        drop = dict.fromkeys(("PixelData", "BitsStored", "HighBit", "PixelRepresentation"))
        content = values.astype("<f4").tobytes()
        return dicom(tmp_path / name, RAMP, BitsAllocated=32, FloatPixelData=content, **drop, **elements)

    values = RAMP / 10.0
    assert "no stated range" in dicom_failure(parametric("a.dcm", values)).reason
    window = {"WindowCenter": "5", "WindowWidth": "4", "VOILUTFunction": "LINEAR_EXACT"}
    expected = [[linear_exact(float(x), 5, 4) for x in row] for row in values]
    np.testing.assert_allclose(
        read_image(parametric("b.dcm", values, **window)).pixels[..., 0], expected, atol=1e-6
    )
    values[1, 1] = np.nan
    assert "finite" in dicom_failure(parametric("c.dcm", values, **window)).reason


def test_constant_frames(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", np.full((5, 6), 7, np.uint8))
    assert dicom_failure(path).stage == "content"
    assert read_image(path, constant="allow").pixels.shape == (5, 6, 1)
    # not constant as stored, but nothing is left of it after its window
    assert (
        dicom_failure(dicom(tmp_path / "b.dcm", RAMP, WindowCenter="2000", WindowWidth="10")).stage
        == "content"
    )
