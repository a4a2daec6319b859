"""A mask on another grid, put on its image's: what stays in its place in the world, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from written_volumes import OBLIQUE, ORIENTATIONS, UPRIGHT, oriented, write

from graftwork.cli import main
from graftwork.common import verbs
from graftwork.common.data.masks import fit_faults, read_mask
from graftwork.common.errors import ImageError, UsageError

CLASSES = np.zeros((8, 9, 10), np.uint8)
CLASSES[2:5, 2:6, 3:7], CLASSES[5, 5, 5] = 1, 3


@pytest.mark.parametrize("codes", ORIENTATIONS[::5])
def test_another_order_of_the_axes_loses_nothing(tmp_path: Path, codes: str) -> None:
    image = write(tmp_path / "i.nii.gz", *oriented(CLASSES.astype(np.float32), OBLIQUE, codes))
    mask = write(tmp_path / "m.nii.gz", CLASSES, OBLIQUE)
    out = tmp_path / "out.nii.gz"
    done = verbs.regrid(mask, image, out)
    assert not fit_faults(image, out)
    np.testing.assert_array_equal(read_mask(out, (0, 1, 3)), np.array([0, 1, 0, 2])[CLASSES])
    assert done.outside == 0
    assert done.counts == {0: (671, 671), 1: (48, 48), 3: (1, 1)}
    np.testing.assert_array_equal(nibabel.load(out).affine, nibabel.load(image).affine)


def test_each_voxel_takes_the_value_at_its_place_in_the_world(tmp_path: Path) -> None:
    finer = UPRIGHT @ np.diag([0.5, 0.5, 0.5, 1])
    finer[:3, 3] += 0.1
    image = write(tmp_path / "i.nii", np.zeros((20, 16, 22), np.int16), finer)
    mask = write(tmp_path / "m.nii", CLASSES, UPRIGHT)
    done = verbs.regrid(mask, image, tmp_path / "o.nii")
    written = nibabel.load(tmp_path / "o.nii")
    found = np.asarray(written.dataobj)
    expected = np.zeros_like(found)
    outside = 0
    for index in np.ndindex(found.shape):
        place = np.linalg.inv(UPRIGHT) @ finer @ (*index, 1)
        nearest = tuple(np.floor(place[:3] + 0.5).astype(int))
        if all(0 <= each < length for each, length in zip(nearest, CLASSES.shape, strict=True)):
            expected[index] = CLASSES[nearest]
        else:
            outside += 1
    np.testing.assert_array_equal(found, expected)
    assert done.outside == outside > 0
    assert done.counts[1] == (48, int((expected == 1).sum()))
    assert (
        bytes(written.header["descrip"]).rstrip(b"\0") == b"graftwork regrid: nearest voxel, from 8x9x10 RAS"
    )
    assert [fault.partition(":")[0] for fault in done.faults] == ["shape", "spacing", "affine"]


def test_it_is_refused_before_anything_is_lost(tmp_path: Path) -> None:
    mask = write(tmp_path / "m.nii", CLASSES, UPRIGHT)
    image = write(tmp_path / "i.nii", np.full((3, 3, 3), 0.5, np.float32))
    before = mask.read_bytes(), image.read_bytes()
    for out in (mask, image, tmp_path / "o.png"):
        with pytest.raises(UsageError):
            verbs.regrid(mask, image, out)
    with pytest.raises(ImageError, match="no whole numbers"):
        verbs.regrid(image, mask, tmp_path / "o.nii")
    assert (mask.read_bytes(), image.read_bytes()) == before
    assert not (tmp_path / "o.nii").exists()


def test_the_command_says_how_many_voxels_each_value_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = write(tmp_path / "m.nii", CLASSES, UPRIGHT)
    image = write(tmp_path / "i.nii", np.zeros((8, 9, 5), np.int16), UPRIGHT @ np.diag([1, 1, 2, 1]))
    words = ["regrid", str(mask), "--like", str(image), "--out", str(tmp_path / "o.nii.gz")]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    said = capsys.readouterr()
    assert [line.split() for line in said.out.splitlines() if line.split()[:1] == ["1"]] == [
        ["1", "48", "24"]
    ]
    assert said.out.rstrip().endswith("o.nii.gz")
    assert "shape: image 8 x 9 x 5, mask 8 x 9 x 10" in said.err
    with pytest.raises(SystemExit):
        main([*words, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["counts"] == {"0": [671, 336], "1": [48, 24], "3": [1, 0]}
    assert found["file"] == str(tmp_path / "o.nii.gz")


def test_an_image_with_an_odd_voxel_size_gets_a_mask_with_a_sound_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write(tmp_path / "i.nii", CLASSES, UPRIGHT, pixdim=[1, 0, -1, 3, 1, 1, 1, 1])
    mask = write(tmp_path / "m.nii", CLASSES[..., None], UPRIGHT)
    done = verbs.regrid(mask, image, tmp_path / "o.nii")
    assert nibabel.load(tmp_path / "o.nii").header.get_zooms() == (1.5, 2, 3)
    assert [each.partition(": ")[0] for each in done.remarks] == [str(mask), str(image)]
    with pytest.raises(SystemExit):
        main(["regrid", str(mask), "--like", str(image), "--out", str(tmp_path / "o2.nii")])
    said = capsys.readouterr().err
    assert "its voxel size (pixdim) is 0 x -1 x 3; that of its affine is used, 1.5 x 2 x 3 mm" in said
    assert "it has 4 axes (8 x 9 x 10 x 1)" in said
