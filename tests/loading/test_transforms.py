"""Preprocessing is a value, and gives the pixels that were worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from graftwork.common.data.images import StoredImage
from graftwork.common.loading.transforms import Preprocessing, augmenter
from graftwork.common.recipe.sections import AugmentationSection

HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def picture(pixels: np.ndarray, high: float = 255) -> StoredImage:
    return StoredImage(pixels, 0, high, pixels.shape[:2])


def test_grey_is_repeated_and_normalised() -> None:
    inputs = Preprocessing(2, "squash", "bilinear", *HALF)(picture(np.full((2, 2, 1), 255, np.uint8)))
    assert inputs.shape == (3, 2, 2)
    assert inputs.dtype == np.float32
    assert np.allclose(inputs, 1.0)


def test_area_averages_and_keeps_the_range() -> None:
    pixels = np.arange(16, dtype=np.float32).reshape(4, 4, 1) / 15
    fitted = Preprocessing(2, "squash", "area", *HALF).fitted(picture(pixels, 1.0))
    assert np.allclose(fitted[..., 0] * 15, [[2.5, 4.5], [10.5, 12.5]], atol=1e-5)


def test_bilinear_is_antialiased() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))[..., None]  # finer than the target can show
    fitted = Preprocessing(16, "squash", "bilinear", *HALF).fitted(picture(stripes))
    assert np.abs(fitted - 0.5).max() < 0.2


@pytest.mark.parametrize(("height", "width"), [(10, 20), (20, 10), (7, 13), (16, 16), (1, 50)])
def test_pad_keeps_all_and_crop_fills_all(height: int, width: int) -> None:
    white = picture(np.full((height, width, 3), 255, np.uint8))
    padded = Preprocessing(16, "pad", "bilinear", *HALF).fitted(white)
    cropped = Preprocessing(16, "crop", "bilinear", *HALF).fitted(white)
    assert padded.shape == cropped.shape == (16, 16, 3)
    assert cropped.min() == 1.0
    share = min(height, width) / max(height, width)
    assert padded.mean() == pytest.approx(max(1, round(16 * share)) / 16)


def test_sixteen_bits_are_not_cut_to_eight() -> None:
    pixels = np.array([[0, 1], [65534, 65535]], np.uint16)[..., None]
    fitted = Preprocessing(2, "squash", "bilinear", *HALF).fitted(picture(pixels, 65535))
    assert fitted[0, 1, 0] == pytest.approx(1 / 65535)
    assert fitted[1, 0, 0] == pytest.approx(65534 / 65535)


def test_it_travels_as_json() -> None:
    one = Preprocessing(224, "pad", "bicubic", *HALF)
    assert Preprocessing.from_json(one.to_json()) == one


def test_each_augmentation_changes_the_picture_and_keeps_its_range() -> None:
    rng = np.random.default_rng(0)
    image = rng.random((32, 32, 1), dtype=np.float32)
    assert augmenter(AugmentationSection()) is None
    for key, value in [
        ("horizontal_flip", 1.0), ("vertical_flip", 1.0), ("rotation", 15.0), ("zoom", 0.3),
        ("shift", 0.2), ("brightness", 0.3), ("contrast", 0.3),
    ]:  # fmt: skip
        change = augmenter(AugmentationSection(**{key: value}))
        assert change is not None
        changed = change(image, 1)
        assert changed.shape == image.shape
        assert changed.dtype == np.float32
        assert 0 <= changed.min() <= changed.max() <= 1
        assert not np.array_equal(changed, image), key
        assert np.array_equal(changed, change(image, 1)), key
    flip = augmenter(AugmentationSection(horizontal_flip=1.0))
    assert flip is not None
    assert np.array_equal(flip(image, 0), image[:, ::-1])
