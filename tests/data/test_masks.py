"""Masks as files of values: read to classes, written back, refused where they hold what is no class."""

from __future__ import annotations

import math
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from written_volumes import OBLIQUE, UPRIGHT, oriented, write

from graftwork.common.data.masks import fit_faults, measure, read_mask, write_mask
from graftwork.common.data.volumes import read_geometry, read_volume
from graftwork.common.errors import ImageError, UsageError

RNG = np.random.default_rng(0)
CLASSES = RNG.integers(0, 3, (7, 9)).astype(np.uint8)


def failure(path: Path, values: tuple[int, ...]) -> str:
    with pytest.raises(ImageError) as caught:
        read_mask(path, values)
    assert caught.value.stage == "content"
    assert caught.value.remedy
    return str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_pictures_of_values_become_classes(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"m.{suffix}"
    Image.fromarray(np.array([0, 128, 255], np.uint8)[CLASSES]).save(path)
    found = read_mask(path, (0, 128, 255))
    np.testing.assert_array_equal(found, CLASSES)
    assert found.dtype == np.uint8
    # the order of the values is that of the classes
    np.testing.assert_array_equal(read_mask(path, (255, 0, 128)), np.array([1, 2, 0])[CLASSES])


def test_one_bit_is_0_and_255_and_three_equal_channels_are_grey(tmp_path: Path) -> None:
    bits = (CLASSES > 0).astype(np.uint8)
    Image.fromarray(bits * 255).convert("1").save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "bits.png", (0, 255)), bits)
    Image.fromarray(bits * 255).convert("RGB").save(tmp_path / "rgb.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "rgb.png", (0, 255)), bits)


def test_a_mask_without_foreground_is_read(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((5, 6), np.uint8)).save(tmp_path / "m.png")
    assert not read_mask(tmp_path / "m.png", (0, 255)).any()


def test_sixteen_bits_are_kept(tmp_path: Path) -> None:
    write_mask(tmp_path / "m.png", CLASSES, (0, 300, 65535))
    assert Image.open(tmp_path / "m.png").mode.startswith("I;16")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", (0, 300, 65535)), CLASSES)


def test_values_that_are_no_class_are_named_with_their_number(tmp_path: Path) -> None:
    values = np.zeros((5, 6), np.uint8)
    values[0, :3], values[1, 0], values[2, 2] = 7, 9, 1
    Image.fromarray(values).save(tmp_path / "m.png")
    said = failure(tmp_path / "m.png", (0, 1))
    assert "no class (with their pixels): 7 (3), 9 (1); the classes are 0, 1" in said


def test_the_way_out_fits_the_fault(tmp_path: Path) -> None:
    bits = (CLASSES > 0).astype(np.uint8)
    Image.fromarray(bits * 255).save(tmp_path / "255.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "255.png", (0, 1)), bits)
    Image.fromarray(bits).save(tmp_path / "1.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "1.png", (0, 255)), bits)
    large = np.kron(bits, np.ones((9, 9), np.uint8)) * 255
    Image.fromarray(large).save(tmp_path / "lossy.jpg", quality=30)
    assert "it is a JPEG file, which stores values that are only near" in failure(
        tmp_path / "lossy.jpg", (0, 255)
    )
    Image.fromarray(RNG.integers(0, 255, (5, 6, 3)).astype(np.uint8)).save(tmp_path / "photo.png")
    assert "it is in colour" in failure(tmp_path / "photo.png", (0, 255))
    write(tmp_path / "soft.nii", np.full((3, 3, 3), 0.4, np.float32))
    assert "27 of 27 values are no whole numbers, such as 0.4" in failure(tmp_path / "soft.nii", (0, 1))


def test_a_volume_is_read_in_the_order_of_its_image(tmp_path: Path) -> None:
    classes = RNG.integers(0, 3, (4, 5, 6)).astype(np.uint8)
    own, affine = oriented(classes, OBLIQUE, "IRP")
    for name, array in (
        ("u8.nii.gz", own),
        ("f.nii", own.astype(np.float32)),
        ("i16.nii", own.astype(np.int16)),
    ):
        write(tmp_path / name, array, affine)
        np.testing.assert_array_equal(read_mask(tmp_path / name, (0, 1, 2)), classes)
    # scaled values are rounded only where they are whole but for the noise of the scaling
    write(tmp_path / "scaled.nii", own * np.uint8(10), affine, scl_slope=0.1, scl_inter=0)
    np.testing.assert_array_equal(read_mask(tmp_path / "scaled.nii", (0, 1, 2)), classes)


def test_what_is_written_is_read_back_on_the_images_grid(tmp_path: Path) -> None:
    classes = RNG.integers(0, 3, (4, 5, 6)).astype(np.uint8)
    own, affine = oriented(RNG.random((4, 5, 6)).astype(np.float32), OBLIQUE, "SLP")
    image = write(tmp_path / "i.nii.gz", own, affine)
    for values, dtype in (((0, 1, 4), "uint8"), ((-1, 0, 300), "int16"), ((0, 5, 70000), "int32")):
        write_mask(tmp_path / "m.nii.gz", classes, values, read_geometry(image))
        assert not fit_faults(image, tmp_path / "m.nii.gz")
        assert nibabel.load(tmp_path / "m.nii.gz").get_data_dtype() == np.dtype(dtype)
        np.testing.assert_array_equal(read_mask(tmp_path / "m.nii.gz", values), classes)
    write_mask(tmp_path / "m.png", CLASSES, (0, 127, 255))
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", (0, 127, 255)), CLASSES)


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    geometry = read_volume(write(tmp_path / "i.nii", np.zeros((4, 5, 6), np.uint8))).geometry
    for name, classes, values, like in (
        ("m.jpg", CLASSES, (0, 1, 2), None),
        ("m.nii", CLASSES, (0, 1, 2), None),
        ("m.nii", CLASSES, (0, 1, 2), geometry),
        ("m.png", CLASSES, (0, 1), None),
        ("m.png", CLASSES, (-1, 0, 1), None),
    ):
        with pytest.raises(UsageError):
            write_mask(tmp_path / name, classes, values, like)
    assert [path.name for path in tmp_path.iterdir()] == ["i.nii"]


def test_a_mask_of_another_grid_is_told_from_the_headers(tmp_path: Path) -> None:
    Image.fromarray(CLASSES).save(tmp_path / "i.png")
    Image.fromarray(CLASSES).save(tmp_path / "m.png")
    assert not fit_faults(tmp_path / "i.png", tmp_path / "m.png")
    Image.fromarray(CLASSES.T.copy()).save(tmp_path / "t.png")
    assert fit_faults(tmp_path / "i.png", tmp_path / "t.png") == ["size: image 7 x 9 px, mask 9 x 7 px"]
    volume = write(tmp_path / "v.nii", np.zeros((4, 5, 6), np.uint8), UPRIGHT)
    assert fit_faults(volume, tmp_path / "m.png") == ["kind: image volume, mask image"]
    flipped = write(tmp_path / "f.nii", *oriented(np.zeros((4, 5, 6), np.uint8), UPRIGHT, "LAS"))
    (fault,) = fit_faults(volume, flipped)
    assert fault.startswith("affine: image RAS")


def test_measures_are_counts_of_each_class_and_a_distance_in_mm() -> None:
    truth, predicted = np.zeros((6, 20, 20), np.uint8), np.zeros((6, 20, 20), np.uint8)
    truth[1:4, 5:10, 5:10], predicted[1:4, 5:10, 7:12] = 1, 1
    predicted[5, 0, 0] = 2
    found = measure(truth, predicted, ("none", "a", "b"), (3.0, 0.5, 0.5))
    assert (found["truth_a"], found["predicted_a"], found["both_a"]) == (75, 75, 45)
    assert (found["truth_b"], found["predicted_b"], found["both_b"]) == (0, 1, 0)
    assert found["hausdorff_95_a"] == pytest.approx(1.0)
    assert math.isnan(found["hausdorff_95_b"])
    assert all(type(found[f"{each}_a"]) is int for each in ("truth", "predicted", "both"))
    assert set(found) == {
        f"{each}_{name}" for each in ("truth", "predicted", "both", "hausdorff_95") for name in "ab"
    }
    unknown = measure(truth, predicted, ("none", "a", "b"), None)
    assert math.isnan(unknown["hausdorff_95_a"])
    assert unknown["both_a"] == 45
    with pytest.raises(UsageError):
        measure(truth, predicted[1:], ("none", "a", "b"))
