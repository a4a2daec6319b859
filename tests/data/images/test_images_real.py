"""Real files: 13 DICOM transfer syntaxes with known arrays, radiographs of both polarities, odd photographs."""

from __future__ import annotations

import csv
import hashlib
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from fuzzed_pictures import fuzz
from real_data import real

from graftwork.common.data.images import read_image, read_size, stored_pixels, to_float
from graftwork.common.errors import ImageError

pytestmark = pytest.mark.real

SYNTAXES = "chest_xray/dicom_syntaxes"
RADIOGRAPHS = "chest_xray/dicom_and_originals"
ODD_FILES = "camera_trap/odd_files"
# What does not decode as it stands, with the stage at which reading ends (SOURCE.md says why).
EXPECTED_FAILURES = {"no_meta.dcm": "header", "MR_truncated.dcm": "decode", "JPEG-lossy.dcm": "decode"}
# Lossy JPEG differs by decoder: these are held to shape, dtype and ends, all others to the hash of their array.
LOSSY = {"SC_rgb_jpeg.dcm", "JPGExtended.dcm"}


def rows() -> list[dict[str, str]]:
    with (real(SYNTAXES) / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_all_36_files_read_to_the_arrays_of_the_manifest_or_fail_as_expected() -> None:
    seen: dict[str, str] = {}
    for row in rows():
        name = row["file"]
        path = real(SYNTAXES) / name
        if name in EXPECTED_FAILURES:
            for read in (stored_pixels, read_image):
                with pytest.raises(ImageError) as caught:
                    read(path)
                assert caught.value.stage == EXPECTED_FAILURES[name]
            assert row["decodes"].startswith("no")
            seen[name] = "error"
            continue
        stored = stored_pixels(path)
        assert "x".join(map(str, stored.shape)) == row["shape"], name
        assert str(stored.dtype) == row["dtype"], name
        assert (abs(int(stored.min()) - int(row["min"])) <= 2) and (
            abs(int(stored.max()) - int(row["max"])) <= 2
        )
        if name not in LOSSY:
            content = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
            assert hashlib.sha256(content).hexdigest()[:16] == row["sha256_16_of_little_endian_array"], name
        seen[name] = row["transfer_syntax_uid"]
    assert len(seen) == 36
    assert len(set(seen.values()) - {"error"}) == 13


def test_they_read_as_pictures_in_the_range_that_they_state() -> None:
    read = 0
    for row in rows():
        if row["file"] in EXPECTED_FAILURES:
            continue
        path = real(SYNTAXES) / row["file"]
        frames = int(row["shape"].split("x")[0]) if row["shape"].count("x") == 3 else 1
        picture = read_image(path, frame=0 if frames > 1 else None)
        height, width, channels = picture.pixels.shape
        assert (height, width) == picture.full_size == read_size(path)
        assert channels == (1 if row["photometric_interpretation"].startswith("MONOCHROME") else 3)
        assert picture.low <= picture.pixels.min() < picture.pixels.max() <= picture.high
        values = to_float(picture)
        assert values.shape == (height, width, 3)
        assert 0 <= values.min() < values.max() <= 1
        read += 1
    assert read == 33


def test_one_mr_image_in_seven_codings_is_one_picture() -> None:
    same: dict[str, list[str]] = defaultdict(list)
    for row in rows():
        same[row["sha256_16_of_little_endian_array"]].append(row["file"])
    names = same["88617aaa46138fb1"]
    assert len(names) == 7
    first = read_image(real(SYNTAXES) / names[0])
    for name in names[1:]:
        np.testing.assert_array_equal(read_image(real(SYNTAXES) / name).pixels, first.pixels)


def test_the_genuine_monochrome1_radiograph_has_dark_air_and_light_bone() -> None:
    values = to_float(read_image(real(RADIOGRAPHS) / "RG1_J2KI_chest_cr_monochrome1.dcm"), 1)[..., 0]
    assert values.shape == (1955, 1841)

    def mean(top: float, bottom: float, left: float, right: float) -> float:
        height, width = values.shape
        return float(
            values[int(top * height) : int(bottom * height), int(left * width) : int(right * width)].mean()
        )

    air = [mean(0.02, 0.08, 0.02, 0.10), mean(0.02, 0.08, 0.90, 0.98)]  # above the shoulders
    lungs = [mean(0.35, 0.50, 0.25, 0.35), mean(0.35, 0.50, 0.65, 0.75)]
    spine, abdomen = mean(0.50, 0.80, 0.47, 0.53), mean(0.88, 0.95, 0.40, 0.60)
    assert max(air) < min(lungs) - 0.2
    assert max(lungs) < min(spine, abdomen) - 0.2


def test_equal_pixels_tagged_1_and_2_are_a_picture_and_its_exact_negative() -> None:
    plain = real(RADIOGRAPHS) / "cxr_monochrome2_jpeg_baseline.dcm"
    turned = real(RADIOGRAPHS) / "cxr_same_pixels_tagged_monochrome1.dcm"
    np.testing.assert_array_equal(stored_pixels(plain), stored_pixels(turned))
    pictures = read_image(plain), read_image(turned)
    assert pictures[0].pixels.dtype == pictures[1].pixels.dtype == np.uint8
    np.testing.assert_array_equal(pictures[0].pixels, 255 - pictures[1].pixels)


def test_radiographs_as_released() -> None:
    grey = read_image(real(RADIOGRAPHS) / "nih_00019534_000.png")
    assert (grey.pixels.shape, grey.pixels.dtype) == ((1024, 1024, 1), np.uint8)
    opaque = read_image(real(RADIOGRAPHS) / "nih_00002578_000_rgba.png")
    assert opaque.pixels.shape == (1024, 1024, 3)
    originals = sorted((real(RADIOGRAPHS) / "kermany_originals").rglob("*.jpeg"))
    assert len(originals) == 9
    for path in originals:
        full, reduced = read_image(path), read_image(path, cover=224)
        assert full.full_size == reduced.full_size == read_size(path) == full.pixels.shape[:2]
        shorter = min(reduced.pixels.shape[:2])
        assert shorter >= min(224, min(full.full_size))
        assert shorter < 448 or shorter == min(full.full_size)
        assert abs(float(to_float(full).mean()) - float(to_float(reduced).mean())) < 0.01


def test_photographs_that_break_readers() -> None:
    with (real(ODD_FILES) / "files.csv").open(encoding="utf-8", newline="") as file:
        photographs = list(csv.DictReader(file))
    assert len(photographs) == 9
    for row in photographs:
        path = real(ODD_FILES) / row["file"]
        if row["decodes"] != "yes":
            with pytest.raises(ImageError, match="truncated") as caught:
                read_image(path)
            assert caught.value.stage == "decode"
            continue
        picture = read_image(path)
        size = int(row["height"]), int(row["width"])
        assert picture.full_size == (size[::-1] if row["exif_orientation"] == "6" else size), row["file"]
        assert picture.pixels.shape[2] == (1 if row["mode"] == "L" else 3)


def test_real_dicom_files_damaged_at_random(tmp_path: Path) -> None:
    sources = [tmp_path / row["file"] for row in rows()]
    for source in sources:
        shutil.copyfile(real(SYNTAXES) / source.name, source)
    outcome = fuzz(sources, 1_500, seed=7, folder=tmp_path / "damaged")
    assert outcome.wrong == []
    assert outcome.said == ""
    assert outcome.total == 1_500
    assert outcome.slowest < 10
    assert outcome.pictures > 200
    assert outcome.errors["decode"] > 200
