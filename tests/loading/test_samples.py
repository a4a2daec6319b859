"""Masks stay on their images: fitted, turned and cut alike; blocks depend on seed, epoch and row alone."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image
from small_masks import stacks, volumes

from graftwork import monai_dicts, torch_dataset
from graftwork.common.data.volumes import read_volume
from graftwork.common.errors import DatasetError, ImageError
from graftwork.common.loading.batches import Failure
from graftwork.common.loading.samples import MaskSource, VolumeSource, Whole
from graftwork.common.loading.target_encoding import UNKNOWN_MASK
from graftwork.common.loading.transforms import (
    Preprocessing,
    VolumePreprocessing,
    augmenter,
    preprocessing_from,
    volume_augmenter,
)
from graftwork.common.recipe.sections import AugmentationSection

HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
BLOCKS = VolumePreprocessing((32, 16, 16), 0.5)
MOVES = AugmentationSection(horizontal_flip=0.5, vertical_flip=0.5, rotation=30.0, zoom=0.2, shift=0.1)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / max(1, one.sum() + other.sum())


@pytest.mark.parametrize("fit", ["squash", "pad"])
def test_a_mask_is_fitted_and_moved_with_its_picture(tmp_path: Path, fit: str) -> None:
    manifest = stacks(tmp_path)
    plain = Preprocessing(64, fit, "bilinear", *HALF)
    still = MaskSource(manifest, plain)
    moving = MaskSource(manifest, plain, augment=augmenter(MOVES), seed=4)
    assert len(still) == len(manifest)
    for row in range(6):
        image, classes = still[row]
        assert image.shape == (3, 64, 64)
        assert classes.shape == (64, 64)
        assert overlap(image[0].numpy() > -0.1, classes.numpy() == 1) > 0.95
        moved, mask = moving[2, row]
        assert overlap(moved[0] > -0.1, mask == 1) > 0.93
        assert not np.array_equal(mask, classes.numpy())
        again = moving[2, row]
        assert np.array_equal(moved, again[0])
        assert np.array_equal(mask, again[1])
        assert not np.array_equal(mask, moving[3, row][1])
        assert np.array_equal(moving[0, row][1], classes.numpy())  # epoch 0: as validation sees it


def test_blocks_and_their_masks_are_drawn_by_seed_epoch_and_row(tmp_path: Path) -> None:
    manifest = volumes(tmp_path)
    source = VolumeSource(manifest, BLOCKS, patches=4, seed=1)
    np.random.seed(0)
    blocks, classes = source[1, 0]
    np.random.seed(7)
    torch.manual_seed(7)
    assert np.array_equal(blocks, source[1, 0][0])
    assert not np.array_equal(blocks, source[2, 0][0])
    assert not np.array_equal(blocks, VolumeSource(manifest, BLOCKS, patches=4, seed=2)[1, 0][0])
    assert blocks.shape == (4, 1, 32, 16, 16)
    assert classes.shape == (4, 32, 16, 16)
    for block, mask in zip(blocks, classes, strict=True):
        assert overlap(block[0] > 0.5, mask > 0) > 0.95


def test_every_other_block_lies_around_a_place_of_the_foreground(tmp_path: Path) -> None:
    manifest = volumes(tmp_path, count=1, shape=(60, 60, 60))
    mask = np.zeros((60, 60, 60), np.uint8)
    mask[3, 50, 3:5] = 2  # a block drawn anywhere would hardly ever hold it
    affine = read_volume(manifest.file(0)).geometry.affine
    nibabel.save(nibabel.Nifti1Image(mask, affine), tmp_path / "v0_mask.nii.gz")
    source = VolumeSource(manifest, VolumePreprocessing((16, 16, 16), 0.5), patches=4)
    there = np.array([(source[epoch, 0][1] > 0).reshape(4, -1).any(axis=1) for epoch in range(1, 7)])
    assert there[:, [0, 2]].all()
    assert there[:, [1, 3]].mean() < 0.5


def test_a_volume_smaller_than_a_block_is_filled_up(tmp_path: Path) -> None:
    manifest = volumes(tmp_path, count=1)
    volume = read_volume(manifest.file(0)).array
    source = VolumeSource(manifest, VolumePreprocessing((48, 48, 32), 0.5), patches=1)
    blocks, classes = source[1, 0]
    assert blocks.shape == (1, 1, 48, 48, 32)
    whole, mask = source.whole(0)
    assert whole.shape == (1, *volume.shape)
    assert (classes > 0).sum() == (mask > 0).sum()
    assert (blocks != 0).sum() == (whole != 0).sum()


def test_a_block_and_its_mask_move_alike(tmp_path: Path) -> None:
    manifest = volumes(tmp_path, count=1)
    change = volume_augmenter(MOVES)
    assert change is not None
    source = VolumeSource(manifest, VolumePreprocessing((48, 48, 32), 0.5), patches=2, augment=change, seed=3)
    still = VolumeSource(manifest, source.preprocessing, patches=2, seed=3)
    state = np.random.get_state()[1].copy()
    for epoch in (1, 2, 3):
        blocks, classes = source[epoch, 0]
        for block, mask in zip(blocks, classes, strict=True):
            assert overlap(block[0] > 0.5, mask > 0) > 0.85
        assert not np.array_equal(classes, still[epoch, 0][1])
        assert np.array_equal(blocks, source[epoch, 0][0])
    assert np.array_equal(state, np.random.get_state()[1])
    assert volume_augmenter(AugmentationSection()) is None


def test_brightness_and_contrast_of_a_block_leave_its_mask(tmp_path: Path) -> None:
    block, mask = (
        np.random.default_rng(0).normal(size=(1, 8, 8, 8)).astype(np.float32),
        np.ones((8,) * 3, np.uint8),
    )
    for wish in (AugmentationSection(brightness=0.3), AugmentationSection(contrast=0.3)):
        change = volume_augmenter(wish)
        assert change is not None
        changed, same = change.both(block, mask, 1)
        assert np.array_equal(same, mask)
        assert not np.array_equal(changed, block)
        assert np.corrcoef(changed.ravel(), block.ravel())[0, 1] > 0.999


def test_a_volume_is_normalised_where_it_is_not_zero(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(500, 50, (10, 11, 12)).astype(np.float32)
    values[:3] = 0
    values[5, 5, 5] = 1e6  # one spike must not set the scale
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "v.nii.gz")
    found = VolumePreprocessing((16, 16, 32), 0.5)(read_volume(tmp_path / "v.nii.gz"))
    inside = found[0][values != 0]
    assert (found[0][:3] == 0).all()
    assert inside.mean() == pytest.approx(0, abs=1e-4)
    assert inside.std() == pytest.approx(1, abs=1e-4)
    assert np.abs(inside).max() < 4


def test_preprocessing_comes_back_from_its_record() -> None:
    for each in (BLOCKS, Preprocessing(64, "pad", "area", *HALF)):
        assert preprocessing_from(each.to_json()) == each


def test_a_mask_that_does_not_lie_on_its_image_is_named_with_it(tmp_path: Path) -> None:
    flat, deep = tmp_path / "flat", tmp_path / "deep"
    flat.mkdir()
    deep.mkdir()
    pictures, scans = stacks(flat), volumes(deep)
    name = pictures.frame["mask"].iloc[0]
    Image.fromarray(np.zeros((40, 55), np.uint8)).save(flat / name)
    image = nibabel.load(deep / "v0_mask.nii.gz")
    moved = image.affine.copy()
    moved[0, 3] += 3
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), moved), deep / "v0_mask.nii.gz")
    for source, names in (
        (
            MaskSource(pictures, Preprocessing(32, "squash", "bilinear", *HALF)),
            (name, name.replace("_mask", "")),
        ),
        (VolumeSource(scans, BLOCKS), ("v0_mask.nii.gz", "v0.nii.gz")),
    ):
        with pytest.raises(DatasetError) as caught:
            source[0]
        assert all(each in str(caught.value) for each in names)
        for failure, _ in (source[1, 0], Whole(source)[0, 0]):  # the loop sets it aside with its reason
            assert isinstance(failure, Failure)
            assert failure.stage == "geometry"
            assert all(each in failure.reason for each in names)


def test_unreadable_files_and_unknown_masks_are_told_apart(tmp_path: Path) -> None:
    manifest = stacks(tmp_path)
    manifest.frame.loc[0, "mask"] = None
    (tmp_path / manifest.frame["path"].iloc[1]).write_bytes(b"no image")
    (tmp_path / manifest.frame["mask"].iloc[2]).unlink()
    source = MaskSource(manifest, Preprocessing(32, "squash", "bilinear", *HALF))
    assert (source[1, 0][1] == UNKNOWN_MASK).all()
    for row in (1, 2):
        assert isinstance(source[1, row][0], Failure)
        with pytest.raises(ImageError):
            source[row]


def test_public_datasets_know_masks(tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    (tmp_path / "deep").mkdir()
    pictures, scans = stacks(tmp_path / "flat"), volumes(tmp_path / "deep")
    image, classes = torch_dataset(pictures, size=48)[0]
    assert image.shape == (3, 48, 48)
    assert classes.shape == (48, 48)
    assert classes.dtype == torch.int64
    assert set(classes.unique().tolist()) == {0, 1}
    blocks, classes = torch_dataset(scans, patch=(16, 32, 16), patches=3)[0]
    assert blocks.shape == (3, 1, 16, 32, 16)
    assert classes.shape == (3, 16, 32, 16)
    first = monai_dicts(scans)[1]
    assert first["image"] == str(tmp_path / "deep" / "v1.nii.gz")
    assert first["label"] == str(tmp_path / "deep" / "v1_mask.nii.gz")
