"""NIfTI files: the same voxels in the world whatever the order of the axes, and damaged files as one typed error."""

from __future__ import annotations

import gzip
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from written_volumes import OBLIQUE, ORIENTATIONS, UPRIGHT, oriented, write

from graftwork.common.data.volumes import (
    from_canonical,
    geometry_faults,
    mismatch_error,
    read_geometry,
    read_volume,
    save,
)
from graftwork.common.errors import ImageError, UsageError

RNG = np.random.default_rng(0)
ARRAY = RNG.integers(0, 900, (4, 5, 6)).astype(np.int16)


def failure(path: Path, **wishes: Any) -> ImageError:
    with pytest.raises(ImageError) as caught:
        read_volume(path, **wishes)
    assert str(path) in str(caught.value)
    return caught.value


def at_places_of(
    grid: np.ndarray, shape: tuple[int, ...], affine: np.ndarray, array: np.ndarray
) -> np.ndarray:
    """What an array under its affine holds where the voxels of a grid lie in the world."""
    index = np.vstack([np.indices(shape).reshape(3, -1), np.ones(int(np.prod(shape)))])
    found = (np.linalg.inv(affine) @ grid @ index)[:3]
    assert np.abs(found - np.rint(found)).max() < 1e-3
    return array[tuple(np.rint(found).astype(int))].reshape(shape)


# Geometry


def test_there_are_48_orientations() -> None:
    assert len(set(ORIENTATIONS)) == 48


@pytest.mark.parametrize("affine", [UPRIGHT, OBLIQUE], ids=["upright", "oblique"])
@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_any_order_of_the_axes_gives_the_same_array_and_a_mask_in_the_same_place(
    tmp_path: Path, codes: str, affine: np.ndarray
) -> None:
    own, own_affine = oriented(ARRAY, affine, codes)
    image = write(tmp_path / "image.nii.gz", own, own_affine)
    volume = read_volume(image)
    np.testing.assert_array_equal(volume.array, ARRAY)
    assert volume.array.dtype == np.float32
    assert volume.array.flags.c_contiguous
    np.testing.assert_allclose(volume.spacing, (1.5, 2, 3), rtol=1e-6)
    assert volume.geometry.orientation == codes
    assert volume.geometry.shape == own.shape
    np.testing.assert_allclose(volume.geometry.affine, nibabel.load(image).affine, atol=1e-12)
    np.testing.assert_array_equal(from_canonical(volume.array, volume.geometry), own)
    # a mask goes back to where its voxels came from, under the file's own affine
    mask = (volume.array > 450).astype(np.uint8)
    save(tmp_path / "mask.nii.gz", mask, volume.geometry)
    written = nibabel.load(tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(written.affine, nibabel.load(image).affine)
    assert written.shape == own.shape
    assert written.get_data_dtype() == np.uint8
    there = at_places_of(affine, ARRAY.shape, written.affine, np.asarray(written.dataobj))
    np.testing.assert_array_equal(there, ARRAY > 450)
    np.testing.assert_array_equal(read_volume(tmp_path / "mask.nii.gz").array, mask)


@pytest.mark.parametrize("forms", [(0, 0), (1, 0), (0, 2), (1, 2), (3, 4)])
@pytest.mark.parametrize("two", [False, True], ids=["NIfTI-1", "NIfTI-2"])
def test_a_mask_keeps_both_forms_their_codes_and_the_units(
    tmp_path: Path, forms: tuple[int, int], two: bool
) -> None:
    own, affine = oriented(ARRAY, OBLIQUE, "PIR")
    image = write(tmp_path / "a.nii", own, affine, two=two, forms=forms)
    if forms == (1, 2):  # two forms that disagree: the sform counts, and both stay
        changed = nibabel.load(image)
        shifted = affine.copy()
        shifted[:3, 3] += 5
        changed.set_sform(shifted, 2)
        assert not np.allclose(changed.get_qform(), changed.affine)
        changed.header.set_xyzt_units("mm", "sec")
        image = tmp_path / "changed.nii"
        changed.to_filename(image)
    volume = read_volume(image)
    save(tmp_path / "m.nii", volume.array > 9, volume.geometry)
    old, new = nibabel.load(image), nibabel.load(tmp_path / "m.nii")
    assert type(new) is type(old)
    for name in ("qform_code", "sform_code", "xyzt_units", "srow_x", "srow_z", "quatern_c", "qoffset_y"):
        np.testing.assert_array_equal(new.header[name], old.header[name])
    np.testing.assert_array_equal(new.header["pixdim"][:4], old.header["pixdim"][:4])
    np.testing.assert_array_equal(new.affine, old.affine)
    np.testing.assert_array_equal(np.asarray(new.dataobj), own > 9)


def test_spacing_is_that_of_the_affine_where_pixdim_says_otherwise(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii", ARRAY, UPRIGHT, pixdim=[1, 9, 9, 9, 1, 1, 1, 1])
    np.testing.assert_allclose(read_volume(path).spacing, (1.5, 2, 3))


def test_metres_and_micrometres_become_millimetres(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii", ARRAY, np.diag([0.001, 0.002, 0.003, 1]), xyzt_units=1)
    np.testing.assert_allclose(read_geometry(path).spacing, (1, 2, 3), rtol=1e-6)
    path = write(tmp_path / "b.nii", ARRAY, np.diag([1000, 2000, 3000, 1.0]), xyzt_units=3)
    np.testing.assert_allclose(read_geometry(path).spacing, (1, 2, 3), rtol=1e-6)
    save(tmp_path / "m.nii", ARRAY, read_geometry(path))
    assert not geometry_faults(read_geometry(path), read_geometry(tmp_path / "m.nii"))


def test_a_geometry_crosses_the_border_of_a_process(tmp_path: Path) -> None:
    geometry = read_geometry(write(tmp_path / "a.nii", ARRAY, OBLIQUE))
    again = pickle.loads(pickle.dumps(geometry))
    assert not geometry_faults(geometry, again)
    assert again.header == geometry.header


# Values


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "<i2", ">i2", "uint16", "int32", ">f4", "float64", "uint32"]
)
def test_values_of_any_type_are_those_that_nibabel_reads(tmp_path: Path, dtype: str) -> None:
    array = RNG.integers(0, 100, (3, 4, 5)).astype(dtype)
    path = write(tmp_path / "a.nii", array, scl_slope=0.25, scl_inter=-3)
    np.testing.assert_allclose(read_volume(path).array, nibabel.load(path).get_fdata(), rtol=1e-6)
    np.testing.assert_allclose(read_volume(path).array, array * 0.25 - 3, rtol=1e-6)


def test_a_trailing_axis_of_one_is_left_out_and_a_longer_one_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii", ARRAY[..., None, None])
    np.testing.assert_array_equal(read_volume(path).array, ARRAY)
    assert read_geometry(path).shape == ARRAY.shape
    error = failure(write(tmp_path / "b.nii", np.stack([ARRAY, ARRAY], -1)))
    assert error.stage == "header"
    assert "4 axes (4 x 5 x 6 x 2); a volume has three" in str(error)
    assert "each volume of a series" in str(error)
    assert "2 axes" in failure(write(tmp_path / "c.nii", ARRAY[..., 0])).reason


def test_what_is_not_finite_is_counted_and_an_error_unless_allowed(tmp_path: Path) -> None:
    array = ARRAY.astype(np.float32)
    array[0, 0, :2], array[1, 1, 1] = np.nan, np.inf
    path = write(tmp_path / "a.nii.gz", array)
    error = failure(path)
    assert error.stage == "content"
    assert "3 of 120 voxels are not a number" in error.reason
    volume = read_volume(path, not_finite="zero")
    assert volume.replaced == 3
    np.testing.assert_array_equal(volume.array, np.nan_to_num(array, posinf=0))


# Files that cannot be read


def test_bad_files_end_at_their_stage(tmp_path: Path) -> None:
    good = write(tmp_path / "good.nii.gz", RNG.integers(0, 900, (20, 20, 20)).astype(np.int16))
    packed, plain = good.read_bytes(), gzip.decompress(good.read_bytes())
    broken = bytearray(packed)
    broken[len(packed) // 2] ^= 0xFF
    checksum = bytearray(packed)
    checksum[-6] ^= 0xFF
    for name, content, stage in [
        ("empty.nii", b"", "open"),
        ("empty.nii.gz", gzip.compress(b""), "header"),
        ("text.nii", b"this is no volume\n" * 99, "header"),
        ("text.nii.gz", gzip.compress(b"this is no volume\n" * 99), "header"),
        ("short.nii", plain[:200], "header"),
        ("truncated.nii", plain[:9000], "decode"),
        ("truncated.nii.gz", packed[: len(packed) // 2], "decode"),
        ("no end.nii.gz", packed[:-4], "decode"),
        ("head.nii.gz", packed[:40], "decode"),
        ("less.nii.gz", gzip.compress(plain[:-100]), "decode"),
        ("broken.nii.gz", bytes(broken), "decode"),
        ("checksum.nii.gz", bytes(checksum), "decode"),
        ("analyze.nii", plain[:344] + b"\0\0\0\0" + plain[348:], "header"),
        ("pair.nii", plain[:344] + b"ni1\0" + plain[348:], "header"),
    ]:
        path = tmp_path / name
        path.write_bytes(content)
        error = failure(path)
        assert error.stage == stage, f"{name}: {error}"
        assert error.remedy, name
    assert failure(tmp_path / "none.nii").stage == "open"
    (tmp_path / "folder.nii").mkdir()
    assert failure(tmp_path / "folder.nii").stage == "open"


def test_the_first_bytes_say_what_is_packed_not_the_name(tmp_path: Path) -> None:
    good = write(tmp_path / "good.nii.gz", ARRAY)
    (tmp_path / "packed.nii").write_bytes(good.read_bytes())
    np.testing.assert_array_equal(read_volume(tmp_path / "packed.nii").array, ARRAY)


@pytest.mark.parametrize(
    ("fields", "stage", "said"),
    [
        ({"dim": [3, 4, 5, 0, 1, 1, 1, 1]}, "header", "without a voxel"),
        ({"dim": [3, 4, -5, 6, 1, 1, 1, 1]}, "header", "without a voxel"),
        ({"dim": [3, 30000, 30000, 30000, 1, 1, 1, 1]}, "budget", "27,000,000,000,000 voxels"),
        ({"dim": [3, 400, 500, 600, 1, 1, 1, 1]}, "decode", "truncated"),
        ({"sform_code": 0, "pixdim": [1, 0, 1, 1, 1, 1, 1, 1]}, "header", "(pixdim) is 0 x 1 x 1 mm"),
        ({"sform_code": 0, "pixdim": [1, 1, -2, 1, 1, 1, 1, 1]}, "header", "(pixdim) is 1 x -2 x 1 mm"),
        ({"sform_code": 0, "pixdim": [1, 1, 1, np.nan, 1, 1, 1, 1]}, "header", "(pixdim) is 1 x 1 x nan mm"),
        ({"srow_x": [0, 0, 0, 0]}, "header", "flat"),
        ({"srow_x": [0, 2, 0, 0]}, "header", "flat"),
        ({"srow_y": [np.nan, 1, 0, 0]}, "header", "not finite"),
        ({"sform_code": 0, "qform_code": 1, "quatern_b": 5}, "header", "affine"),
        ({"datatype": 128, "bitpix": 24}, "header", "type"),
        ({"datatype": 32, "bitpix": 64}, "header", "type"),
        ({"datatype": 9999}, "header", "damaged"),
        ({"vox_offset": 1e9}, "decode", "truncated"),
        ({"vox_offset": -352}, "decode", "truncated"),
        ({"vox_offset": np.nan}, "header", "damaged"),
        ({"scl_slope": 1, "scl_inter": np.nan}, "header", "damaged"),
    ],
)
def test_no_claim_of_a_header_is_believed(
    tmp_path: Path, fields: dict[str, Any], stage: str, said: str
) -> None:
    error = failure(write(tmp_path / "a.nii", ARRAY, **fields))
    assert (error.stage, said in error.reason) == (stage, True), str(error)


def test_a_packed_file_cannot_claim_more_than_it_can_hold(tmp_path: Path) -> None:
    plain = write(tmp_path / "a.nii", ARRAY, dim=[3, 500, 500, 500, 1, 1, 1, 1]).read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(plain))
    assert "do not fit in it" in failure(tmp_path / "a.nii.gz").reason


def test_the_budget_is_the_callers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii", ARRAY)
    assert failure(path, voxel_budget=119).stage == "budget"
    assert read_volume(path, voxel_budget=120).array.size == 120


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_damaged_bytes_are_a_typed_error_or_read(tmp_path: Path, suffix: str) -> None:
    good = write(tmp_path / f"good{suffix}", RNG.integers(0, 4, (9, 9, 9)).astype(np.uint8)).read_bytes()
    read = refused = 0
    for seed in range(400):
        chance = np.random.default_rng(seed)
        content = bytearray(good)
        for _ in range(int(chance.integers(1, 6))):
            content[int(chance.integers(0, min(len(content), 400)))] = int(chance.integers(0, 256))
        path = tmp_path / f"bad{suffix}"
        path.write_bytes(
            bytes(content[: int(chance.integers(1, len(content) + 1))] if seed % 4 == 0 else content)
        )
        try:
            read_volume(path)
            read += 1
        except ImageError:
            refused += 1
    assert refused > 50


# Writing


def test_equal_masks_are_equal_files_that_say_nothing_of_the_image(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(ARRAY, UPRIGHT)
    image.header["descrip"] = b"Jane Doe"
    image.header["db_name"] = b"Jane Doe"
    image.header["intent_name"] = b"Jane Doe"
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"Jane Doe"))
    image.to_filename(tmp_path / "a.nii")
    geometry = read_volume(tmp_path / "a.nii").geometry
    contents = []
    for name in ("one.nii.gz", "other name.nii.gz"):
        save(tmp_path / name, ARRAY > 100, geometry, description="what was done " * 9)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]
    assert contents[0][3:8] == bytes(5)  # RFC 1952: no name, no time
    plain = gzip.decompress(contents[0])
    assert b"Jane" not in plain
    written = nibabel.Nifti1Image.from_bytes(plain)
    assert bytes(written.header["descrip"]).startswith(b"what was done what")
    assert not written.header.extensions


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "uint16", "int64"])
def test_whole_numbers_keep_their_type(tmp_path: Path, dtype: str) -> None:
    geometry = read_geometry(write(tmp_path / "a.nii", ARRAY))
    save(tmp_path / "m.nii.gz", ARRAY.astype(dtype), geometry)
    assert nibabel.load(tmp_path / "m.nii.gz").get_data_dtype() == np.dtype(dtype)
    np.testing.assert_array_equal(read_volume(tmp_path / "m.nii.gz").array, ARRAY.astype(dtype))


def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    geometry = read_geometry(write(tmp_path / "a.nii", ARRAY))
    calls: list[Callable[[], None]] = [
        lambda: save(tmp_path / "m.nii", ARRAY.astype(np.float32), geometry),  # type: ignore[arg-type]
        lambda: save(tmp_path / "m.nii", ARRAY[1:], geometry),
        lambda: save(tmp_path / "m.img", ARRAY, geometry),
    ]
    for call in calls:
        with pytest.raises(UsageError):
            call()
    assert [path.name for path in tmp_path.iterdir()] == ["a.nii"]


# Two grids


def test_grids_that_differ_are_told_with_both_values(tmp_path: Path) -> None:
    image = read_geometry(write(tmp_path / "i.nii", ARRAY, UPRIGHT))
    assert not geometry_faults(image, read_geometry(write(tmp_path / "same.nii.gz", ARRAY, UPRIGHT)))


def test_a_rounded_affine_is_the_same_grid_and_a_tenth_of_a_voxel_is_not(tmp_path: Path) -> None:
    image = read_geometry(write(tmp_path / "i.nii", ARRAY, OBLIQUE, forms=(0, 1)))
    by_quaternion = read_geometry(write(tmp_path / "q.nii", ARRAY, OBLIQUE, forms=(1, 0)))
    assert not geometry_faults(image, by_quaternion)
    moved = OBLIQUE.copy()
    moved[0, 3] += 0.15
    (fault,) = geometry_faults(image, read_geometry(write(tmp_path / "m.nii", ARRAY, moved)))
    assert fault.startswith("affine: image RAS [")
    assert ", mask RAS [" in fault
    assert "up to 0.15 mm away" in fault


def test_the_error_names_both_files_both_values_and_the_command(tmp_path: Path) -> None:
    image = read_geometry(write(tmp_path / "i.nii", ARRAY, UPRIGHT))
    other = UPRIGHT.copy()
    other[2, 2] = 2.5
    mask = read_geometry(write(tmp_path / "m.nii", ARRAY[:, :, :5], other))
    error = str(mismatch_error("my data/i.nii", "my data/m.nii.gz", geometry_faults(image, mask)))
    for said in (
        "my data/i.nii: the mask my data/m.nii.gz is not on its grid",
        "shape: image 4 x 5 x 6, mask 4 x 5 x 5",
        "spacing: image 1.5 x 2 x 3 mm, mask 1.5 x 2 x 2.5 mm",
        "affine: image RAS [1.5 0 0 -20; 0 2 0 7; 0 0 3 40], mask RAS [1.5 0 0 -20; 0 2 0 7; 0 0 2.5 40]",
        "graftwork regrid 'my data/m.nii.gz' --like 'my data/i.nii' --out m_regridded.nii.gz",
    ):
        assert said in error


def test_a_quaternion_without_a_sign_and_an_unknown_unit_are_read_and_said(tmp_path: Path) -> None:
    plain = write(tmp_path / "a.nii", ARRAY, forms=(1, 0))
    odd = write(tmp_path / "b.nii", ARRAY, forms=(1, 0), xyzt_units=5, pixdim=[0, 1.5, 2, 3, 1, 1, 1, 1])
    one, other = read_geometry(plain), read_geometry(odd)
    np.testing.assert_allclose(one.affine, other.affine)
    assert one.remarks == ()
    assert other.remarks == (
        "the sign of its quaternion (pixdim[0]) is 0, which counts as 1",
        "its unit of length (xyzt_units) is 5, which is not known and counts as mm",
    )


@pytest.mark.parametrize("size", [[0, 0, 0], [1, -1, 5], [1, 1, float("nan")], [2, 2, 2]])
def test_the_voxel_size_is_that_of_the_sform_whatever_pixdim_says(tmp_path: Path, size: list[float]) -> None:
    path = write(tmp_path / "a.nii", ARRAY, np.diag([1.0, 1, 5, 1]), pixdim=[1, *size, 1, 1, 1, 1])
    geometry = read_geometry(path)
    assert geometry.spacing == read_volume(path).spacing == (1, 1, 5)
    (remark,) = geometry.remarks
    assert "that of its affine is used, 1 x 1 x 5 mm" in remark
