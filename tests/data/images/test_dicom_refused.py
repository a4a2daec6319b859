"""DICOM files that must be refused: by their header, before a decoder sees them, and without telling whose they are."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
import warnings
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from written_pictures import NAME, RAMP, dicom, dicom_failure, lossless_jpeg

from graftwork.common.data.images import read_image, stored_pixels
from graftwork.common.data.images.dicom import read_header
from graftwork.common.errors import ImageError

RNG = np.random.default_rng(0)
# ---------------------------------------------------------------- what must fail


def patched(path: Path, old: bytes, new: bytes) -> Path:
    content = path.read_bytes()
    assert content.count(old) >= 1
    path.write_bytes(content.replace(old, new))
    return path


def test_the_budget_is_held_against_the_header(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", RAMP, Rows=60000, Columns=60000)
    tracemalloc.start()
    assert dicom_failure(path).stage == "budget"
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    assert dicom_failure(dicom(tmp_path / "b.dcm", RAMP), pixel_budget=11).stage == "budget"
    read_image(dicom(tmp_path / "b.dcm", RAMP), pixel_budget=12)
    many = dicom(tmp_path / "c.dcm", np.stack([RAMP] * 4))
    read_image(many, frame=3, pixel_budget=12)
    with pytest.raises(ImageError) as caught:
        stored_pixels(many, pixel_budget=47)
    assert caught.value.stage == "budget"


def codestreams() -> list[tuple[str, UID, bytes, int]]:
    """Name, syntax, a frame of 16 x 24, and where in it the height stands (two or four bytes, big endian)."""
    stored = RNG.integers(0, 256, (16, 24)).astype(np.uint8)
    jpeg = bytes(imagecodecs.jpeg8_encode(stored, level=90))
    lossless = lossless_jpeg(stored, 8, 1)
    jpeg_ls = bytes(imagecodecs.jpegls_encode(stored))
    j2k = bytes(imagecodecs.jpeg2k_encode(stored, level=0, reversible=True, codecformat="J2K"))
    return [
        ("baseline", JPEGBaseline8Bit, jpeg, jpeg.index(b"\xff\xc0") + 5),
        ("lossless", JPEGLosslessSV1, lossless, lossless.index(b"\xff\xc3") + 5),
        ("jpeg-ls", JPEGLSLossless, jpeg_ls, jpeg_ls.index(b"\xff\xf7") + 5),
        ("jpeg 2000", JPEG2000Lossless, j2k, 14),
    ]


@pytest.mark.parametrize(("name", "syntax", "frame", "place"), codestreams())
def test_a_codestream_that_contradicts_its_data_set_never_reaches_a_decoder(
    tmp_path: Path, name: str, syntax: UID, frame: bytes, place: int
) -> None:
    stored = np.zeros((16, 24), np.uint8)
    read_image(dicom(tmp_path / "whole.dcm", stored, syntax=syntax, frames=[frame]))
    huge = frame[:place] + b"\xff\xf0" + frame[place + 2 :]
    error = dicom_failure(dicom(tmp_path / "a.dcm", stored, syntax=syntax, frames=[huge]))
    assert error.stage == "decode"
    assert "the data set 16 x 24 x 1" in error.reason
    assert (
        dicom_failure(dicom(tmp_path / "b.dcm", stored[:, :23], syntax=syntax, frames=[frame])).stage
        == "decode"
    )
    half = frame[: len(frame) // 2]
    assert (
        "truncated" in dicom_failure(dicom(tmp_path / "c.dcm", stored, syntax=syntax, frames=[half])).reason
    )
    assert (
        dicom_failure(dicom(tmp_path / "d.dcm", stored, syntax=syntax, frames=[b"not a codestream"])).stage
        == "decode"
    )
    assert dicom_failure(dicom(tmp_path / "e.dcm", stored, syntax=syntax, frames=[b"\0\0"])).stage == "decode"


def test_jpeg_2000_of_a_million_pieces_is_refused(tmp_path: Path) -> None:
    _, syntax, frame, _ = codestreams()[-1]
    stored = np.zeros((16, 24), np.uint8)
    large = frame[:8] + struct.pack(">II", 4000, 4000) + frame[16:24]
    coding = frame.index(b"\xff\x52")
    for name, damaged in {
        "tiles of one pixel": large + struct.pack(">II", 1, 1) + frame[32:],
        "65,535 layers": large
        + struct.pack(">II", 500, 500)
        + frame[32 : coding + 6]
        + b"\xff\xff"
        + frame[coding + 8 :],
    }.items():
        path = dicom(
            tmp_path / f"{name}.dcm", stored, syntax=syntax, frames=[damaged], Rows=4000, Columns=4000
        )
        assert "more tiles and packets" in dicom_failure(path).reason


def test_a_jp2_wrapper_is_taken_off_and_a_box_without_length_does_not_hang(tmp_path: Path) -> None:
    _, syntax, frame, _ = codestreams()[-1]
    stored = np.zeros((16, 24), np.uint8)
    head = b"\0\0\0\x0cjP  \r\n\x87\n"
    wrapped = head + struct.pack(">I4s", 8 + len(frame), b"jp2c") + frame
    whole = read_image(dicom(tmp_path / "a.dcm", stored, syntax=syntax, frames=[wrapped]))
    bare = read_image(dicom(tmp_path / "b.dcm", stored, syntax=syntax, frames=[frame]))
    np.testing.assert_array_equal(whole.pixels, bare.pixels)
    endless = head + struct.pack(">I4s", 0, b"free") + wrapped[12:]
    assert dicom_failure(dicom(tmp_path / "c.dcm", stored, syntax=syntax, frames=[endless])).stage == "decode"


def test_truncated_native_pixels(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", RAMP)
    path.write_bytes(path.read_bytes()[:-3])
    assert "truncated" in dicom_failure(path).reason
    path = dicom(tmp_path / "b.dcm", RAMP, Rows=300)
    assert "truncated" in dicom_failure(path).reason
    path = dicom(tmp_path / "c.dcm", RAMP)
    path.write_bytes(path.read_bytes()[:300])
    assert dicom_failure(path).stage == "header"


def test_lengths_of_gigabytes_cost_no_memory(tmp_path: Path) -> None:
    huge = b"\xf0\xff\xff\xff"
    pixels = patched(
        dicom(tmp_path / "a.dcm", RAMP), struct.pack("<I", 12) + RAMP.tobytes(), huge + RAMP.tobytes()
    )
    palette = dicom(tmp_path / "b.dcm", RAMP, RedPaletteColorLookupTableData=bytes(range(16)))
    patched(palette, struct.pack("<I", 16) + bytes(range(16)), huge + bytes(range(16)))
    frame = lossless_jpeg(RAMP, 8, 1)
    fragment = dicom(tmp_path / "c.dcm", RAMP, syntax=JPEGLosslessSV1, frames=[frame])
    patched(fragment, struct.pack("<I", len(frame) + len(frame) % 2) + frame, huge + frame)
    tracemalloc.start()
    np.testing.assert_array_equal(read_image(pixels).pixels[..., 0], RAMP)
    assert dicom_failure(palette).stage == "header"
    with contextlib.suppress(ImageError):
        read_image(fragment)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_a_deflated_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graftwork.common.data.images.dicom._MOST_INFLATED", 2**22)
    path = dicom(tmp_path / "a.dcm", RAMP, syntax=DeflatedExplicitVRLittleEndian)
    content = path.read_bytes()
    start = 132 + 12 + struct.unpack_from("<I", content, 132 + 8)[0]
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = b"".join(packer.compress(bytes(2**20)) for _ in range(5)) + packer.flush()
    path.write_bytes(content[:start] + packed)
    assert dicom_failure(path).stage == "budget"


def test_impossible_headers(tmp_path: Path) -> None:
    cases: list[tuple[str, dict[str, Any]]] = [
        ("Rows is missing", {"Rows": None}),
        ("0 x 4", {"Rows": 0}),
        ("BitsStored is missing", {"BitsStored": None}),
        ("Bits Allocated 8 and Bits Stored 12", {"BitsStored": 12}),
        ("Bits Allocated 24", {"BitsAllocated": 24}),
        ("High Bit is 3", {"HighBit": 3}),
        ("2 samples", {"SamplesPerPixel": 2}),
        ("no pixel data", {"PixelData": None}),
        ("not one whole number", {"Rows": [3, 3]}),
    ]
    for number, (text, elements) in enumerate(cases):
        error = dicom_failure(dicom(tmp_path / f"{number}.dcm", RAMP, **elements))
        assert text in error.reason
        assert error.stage == "header"


def test_files_without_their_meta_information(tmp_path: Path) -> None:
    for syntax in (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian):
        path = dicom(tmp_path / "a.dcm", RAMP, syntax=syntax)
        content = path.read_bytes()
        start = 132 + 12 + struct.unpack_from("<I", content, 132 + 8)[0]
        path.write_bytes(content[start:])
        np.testing.assert_array_equal(read_image(path).pixels[..., 0], RAMP)
        path.write_bytes(content[132:])  # the meta information without the preamble
        np.testing.assert_array_equal(read_image(path).pixels[..., 0], RAMP)
    path = dicom(tmp_path / "b.dcm", RAMP, syntax=JPEGLosslessSV1, frames=[lossless_jpeg(RAMP, 8, 1)])
    content = path.read_bytes()
    path.write_bytes(content[132 + 12 + struct.unpack_from("<I", content, 132 + 8)[0] :])
    assert "no file meta information" in dicom_failure(path).reason
    (tmp_path / "c.dcm").write_bytes(b"\x20" + content[200:])
    assert "preamble" in dicom_failure(tmp_path / "c.dcm").reason


def test_other_transfer_syntaxes_and_contradictions_are_named(tmp_path: Path) -> None:
    video = dicom(tmp_path / "a.dcm", RAMP, syntax=UID("1.2.840.10008.1.2.4.102"), frames=[b"video"])
    assert "MPEG-4" in dicom_failure(video).reason
    native = dicom(tmp_path / "b.dcm", RAMP, syntax=JPEG2000, frames=[b"\0\0"])
    patched(
        native, JPEG2000.encode() + b"\0" * (len(JPEG2000) % 2), b"1.2.840.10008.1.2.1\0\0\0"[: len(JPEG2000)]
    )
    assert dicom_failure(native).stage == "header"
    rle = dicom(tmp_path / "c.dcm", RAMP, syntax=RLELossless, frames=[b"\x01\0\0\0" + bytes(100_000)])
    assert "RLE frame has" in dicom_failure(rle).reason


def test_no_name_date_or_text_of_a_file_is_kept_or_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Also where the header is so damaged that pydicom would warn and quote it."""
    path = dicom(tmp_path / "a.dcm", RAMP, NumberOfFrames=1, WindowCenter="5", WindowWidth="9")
    with path.open("rb") as file:
        header = read_header(file, path.stat().st_size, "a.dcm")
    assert "PatientName" not in header.data
    assert "SECRET" not in f"{header} {header.data}"
    name = NAME.encode() + b" "
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert NAME not in repr(read_image(path))
        for element, value, kind, told in [
            (b"(\x00\x10\x00US\x02\x00", b"\x03\x00", b"IS", name),  # Rows
            (b"(\x00\x08\x00IS\x02\x00", b"1 ", b"IS", name),  # Number of Frames
            (b"(\x00\x11\x00US\x02\x00", b"\x04\x00", b"US", b"Secret7"),  # Columns, of 7 bytes
            (b"(\x00\x04\x00CS\x0c\x00", b"MONOCHROME2 ", b"CS", name),  # Photometric Interpretation
            (b"(\x00P\x10DS\x02\x00", b"5 ", b"DS", name),  # Window Center
        ]:
            content = path.read_bytes()
            assert content.count(element + value) == 1
            spoilt = content.replace(
                element + value, element[:4] + kind + struct.pack("<H", len(told)) + told
            )
            (tmp_path / "b.dcm").write_bytes(spoilt)
            dicom_failure(tmp_path / "b.dcm")
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")
