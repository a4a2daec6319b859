"""Real NIfTI files with odd headers, each against what is written about it in headers.csv."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
from real_data import real

from graftwork.common.data.masks import read_mask, write_mask
from graftwork.common.data.volumes import geometry_faults, read_geometry, read_volume
from graftwork.common.errors import ImageError

pytestmark = pytest.mark.real

HEADERS = "brain_mri/nifti_headers"
# What is no volume of one number a voxel in one file, with what is said of it.
REFUSED = {
    "5D_small.nii": "5 axes (1 x 2 x 3 x 1 x 3)",
    "air.hdr.gz": "a pair of files",
    "air2.hdr.gz": "a pair of files",
    "example4d.nii.gz": "4 axes (128 x 96 x 24 x 2)",
    "example_nifti2.nii.gz": "4 axes (32 x 20 x 12 x 2)",
    "functional.nii": "4 axes (17 x 21 x 3 x 20)",
    "not-nifti.nii": "not those of a NIfTI file",
    "test.mgz": "not those of a NIfTI file",
}


def rows() -> list[dict[str, str]]:
    with (real(HEADERS) / "headers.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_all_19_headers_are_read_as_the_table_says_or_refused_with_the_reason() -> None:
    read = set()
    for row in rows():
        path = real(HEADERS) / row["file"]
        if row["file"] in REFUSED:
            for reader in (read_volume, read_geometry):
                with pytest.raises(ImageError) as caught:
                    reader(path)
                assert caught.value.stage == "header", row["file"]
                assert REFUSED[row["file"]] in caught.value.reason
                assert caught.value.remedy
            continue
        volume = read_volume(path, not_finite="zero")
        geometry = volume.geometry
        assert "x".join(map(str, geometry.shape)) == row["shape"].removesuffix("x1"), row["file"]
        assert geometry.orientation == row["axes"], row["file"]
        zooms = [float(side) for side in row["zooms"].split("x")][:3]
        np.testing.assert_allclose(geometry.spacing, zooms, rtol=1e-3)
        assert volume.replaced == int(row["n_nan"]), row["file"]
        values = volume.array.astype(np.float64)
        if volume.replaced == 0:
            ends = float(row["min"]), float(row["max"]), float(row["mean"])
            np.testing.assert_allclose(
                (values.min(), values.max(), values.mean()), ends, rtol=1e-5, atol=1e-6
            )
        image = nibabel.as_closest_canonical(nibabel.load(path))
        theirs = np.nan_to_num(image.get_fdata().reshape(volume.array.shape))
        np.testing.assert_allclose(volume.array, theirs, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(volume.spacing, np.linalg.norm(image.affine[:3, :3], axis=0), rtol=1e-5)
        read.add(row["file"])
    assert len(read) == 11
    assert len(read) + len(REFUSED) == 19


def test_voxels_that_are_no_number_are_an_error_by_default() -> None:
    with pytest.raises(ImageError, match="153 of 1,071 voxels"):
        read_volume(real(HEADERS) / "resampled_anat_moved.nii")


def test_both_byte_orders_are_the_same_volume() -> None:
    one, other = (read_volume(real(HEADERS) / name) for name in ("big.nii.gz", "little.nii.gz"))
    np.testing.assert_array_equal(one.array, other.array)
    assert not geometry_faults(one.geometry, other.geometry)


def test_a_mask_is_written_on_the_grid_of_each_and_nibabel_finds_the_same_affine(tmp_path: Path) -> None:
    for row in rows():
        if row["file"] in REFUSED:
            continue
        path = real(HEADERS) / row["file"]
        volume = read_volume(path, not_finite="zero")
        classes = (volume.array > volume.array.mean()).astype(np.uint8)
        write_mask(tmp_path / "m.nii.gz", classes, (0, 1), volume.geometry)
        old, new = nibabel.load(path), nibabel.load(tmp_path / "m.nii.gz")
        np.testing.assert_array_equal(new.affine, old.affine)
        for form in ("qform_code", "sform_code"):
            assert new.header[form] == old.header[form]
        theirs = np.nan_to_num(np.asarray(old.dataobj, np.float32)).reshape(new.shape) > volume.array.mean()
        np.testing.assert_array_equal(np.asarray(new.dataobj), theirs)
        np.testing.assert_array_equal(read_mask(tmp_path / "m.nii.gz", (0, 1)), classes)


def test_the_volumes_of_a_published_set_lie_on_the_grids_of_their_masks() -> None:
    folder = real("brain_mri/hippocampus_msd")
    images = sorted((folder / "imagesTr").glob("h*.nii.gz"))
    fit = 0
    for image in images[:40]:
        mask = folder / "labelsTr" / image.name
        if mask.exists():
            assert not geometry_faults(read_geometry(image), read_geometry(mask)), image.name
            assert set(np.unique(read_mask(mask, (0, 1, 2)))) == {0, 1, 2}
            fit += 1
    assert fit > 30


def test_every_cut_of_a_packed_file_is_an_error(tmp_path: Path) -> None:
    content = (real(HEADERS) / "standard.nii.gz").read_bytes()
    path = tmp_path / "cut.nii.gz"
    for end in range(0, len(content), max(1, len(content) // 60)):
        path.write_bytes(content[:end])
        with pytest.raises(ImageError):
            read_volume(path)
    path.write_bytes(gzip.decompress(content))
    assert read_volume(path).array.shape == (4, 5, 7)
