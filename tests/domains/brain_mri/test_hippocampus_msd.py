"""The loader of hippocampus_msd: pairs, what dataset.json says of them, and what is found and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graftwork.common.errors import DatasetError
from graftwork.domains.brain_mri import hippocampus_msd

LABELS: dict[str, Any] = {"0": "background", "1": "Anterior", "2": "Posterior"}


def lay(
    folder: Path,
    images: tuple[int, ...] = (1, 3, 10),
    labels: tuple[int, ...] = (1, 3, 10),
    listed: tuple[int, ...] | None = (1, 3, 10),
    names: dict[str, Any] = LABELS,
) -> Path:
    """Empty files in the Decathlon's layout."""
    for kind, numbers in (("imagesTr", images), ("labelsTr", labels)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for number in numbers:
            (folder / kind / f"hippocampus_{number:03d}.nii.gz").write_bytes(b"")
    if listed is not None:
        files = [f"hippocampus_{number:03d}.nii.gz" for number in listed]
        pairs = [{"image": f"./imagesTr/{file}", "label": f"./labelsTr/{file}"} for file in files]
        (folder / "dataset.json").write_text(json.dumps({"labels": names, "training": pairs}))
    return folder


def found(root: Path) -> dict[str, tuple[str, ...]]:
    return {each.what: each.examples for each in hippocampus_msd.findings(root)}


def test_a_volume_is_a_case_and_a_group(tmp_path: Path) -> None:
    manifest = hippocampus_msd.read(lay(tmp_path))
    frame = manifest.frame
    assert frame["case"].tolist() == ["hippocampus_001", "hippocampus_003", "hippocampus_010"]
    assert frame["group"].tolist() == frame["case"].tolist()
    assert frame["path"].tolist()[0] == "imagesTr/hippocampus_001.nii.gz"
    assert frame["mask"].tolist()[0] == "labelsTr/hippocampus_001.nii.gz"
    assert (manifest.unit, manifest.target.values) == ("", (0, 1, 2))
    assert any("of the same person" in note for note in manifest.notes)
    assert not found(tmp_path)


@pytest.mark.parametrize("below", ["", "Task04_Hippocampus", "Decathlon/Task04_Hippocampus"])
def test_the_root_or_a_folder_above_it_will_do(tmp_path: Path, below: str) -> None:
    lay(tmp_path / below)
    assert hippocampus_msd.read(tmp_path).root == tmp_path / below


def test_files_without_their_other_half_are_left_out_and_found(tmp_path: Path) -> None:
    lay(tmp_path, images=(1, 3, 118), labels=(1, 3, 10, 281), listed=(1, 3))
    manifest = hippocampus_msd.read(tmp_path)
    assert manifest.frame["case"].tolist() == ["hippocampus_001", "hippocampus_003"]
    assert found(tmp_path) == {
        "images without labels": ("imagesTr/hippocampus_118.nii.gz",),
        "labels without an image": ("labelsTr/hippocampus_010.nii.gz", "labelsTr/hippocampus_281.nii.gz"),
    }
    left = [note for note in manifest.notes if note.startswith("left out")]
    assert len(left) == 2 and "hippocampus_118" in left[0] and "hippocampus_281" in left[1]


def test_the_list_is_held_against_the_folders(tmp_path: Path) -> None:
    lay(tmp_path, listed=(1, 3, 77))
    manifest = hippocampus_msd.read(tmp_path)
    assert len(manifest) == 3  # the folders decide
    assert found(tmp_path) == {
        "pairs of dataset.json that are not here": ("hippocampus_077",),
        "pairs that dataset.json does not list": ("hippocampus_010",),
    }
    assert any("hippocampus_077" in note for note in manifest.notes)


def test_without_a_list_the_folders_are_taken(tmp_path: Path) -> None:
    manifest = hippocampus_msd.read(lay(tmp_path, listed=None))
    assert len(manifest) == 3
    assert any("no list of pairs" in note for note in manifest.notes)
    assert not found(tmp_path)


def test_the_form_that_nnunet_wants_is_read(tmp_path: Path) -> None:
    lay(tmp_path, images=(), listed=None)
    for number in (1, 3, 10):
        (tmp_path / "imagesTr" / f"hippocampus_{number:03d}_0000.nii.gz").write_bytes(b"")
    about = {"labels": {"background": 0, "Anterior": 1, "Posterior": 2}, "numTraining": 3}
    (tmp_path / "dataset.json").write_text(json.dumps(about))
    assert len(hippocampus_msd.read(tmp_path)) == 3


def test_volumes_for_the_hidden_test_are_left_alone(tmp_path: Path) -> None:
    (lay(tmp_path) / "imagesTs").mkdir()
    (tmp_path / "imagesTs" / "hippocampus_002.nii.gz").write_bytes(b"")
    manifest = hippocampus_msd.read(tmp_path)
    assert len(manifest) == 3
    assert any("imagesTs" in note for note in manifest.notes)


def test_another_task_is_told_apart(tmp_path: Path) -> None:
    lay(tmp_path, names={"0": "background", "1": "spleen"})
    with pytest.raises(
        DatasetError, match=r"the labels are 0 background, 1 spleen; looked for .* 2 posterior"
    ):
        hippocampus_msd.read(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"labels": 3}', '{"labels": {}, "training": [1]}'])
def test_a_damaged_list_is_refused(tmp_path: Path, text: str) -> None:
    (lay(tmp_path) / "dataset.json").write_text(text)
    with pytest.raises(DatasetError, match=r"dataset\.json"):
        hippocampus_msd.read(tmp_path)


def test_all_names_that_cannot_be_read_are_listed(tmp_path: Path) -> None:
    bad = ["imagesTr/hippocampus_001 (1).nii.gz", "labelsTr/left.nii", "labelsTr/hippocampus_003_0000.nii.gz"]
    lay(tmp_path)
    for name in (*bad, "imagesTr/hippocampus_010.nii"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(DatasetError) as caught:
        hippocampus_msd.read(tmp_path)
    said = str(caught.value)
    assert "4 file names" in said
    assert all(name in said for name in bad)
    assert "is of the same case" in said


def test_no_pair_at_all_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no volume has both .*\(1 images, 1 labels\)"):
        hippocampus_msd.read(lay(tmp_path, images=(1,), labels=(2,), listed=None))


def test_the_twin_has_the_quirks_of_the_set(tmp_path: Path) -> None:
    import nibabel

    images: Any = nibabel
    hippocampus_msd.synthesize(tmp_path / "twin", cases=30, seed=2)
    manifest = hippocampus_msd.read(tmp_path / "twin")
    assert len(manifest) == 30
    numbers = manifest.frame["case"].str.rpartition("_")[2].astype(int)
    assert numbers.max() > 30  # with gaps, as published
    shapes, kinds, tops, offsets = set(), [], [], []
    for row in range(30):
        image = images.load(manifest.file(row))
        label = images.load(manifest.root / manifest.frame["mask"][row])
        assert image.shape == label.shape and np.array_equal(image.affine, label.affine)
        assert set(np.unique(label.dataobj).tolist()) == {0, 1, 2}
        assert image.header.get_zooms() == (1.0, 1.0, 1.0)
        shapes.add(image.shape)
        kinds.append(image.get_data_dtype().name)
        tops.append(float(np.asarray(image.dataobj).max()))
        offsets.append(tuple(image.affine[:3, 3].tolist()))
        front, rear = (np.argwhere(np.asarray(label.dataobj) == value).mean(axis=0) for value in (1, 2))
        assert front[1] > rear[1] and front[2] < rear[2]
    assert len(shapes) > 15
    assert set(kinds) == {"uint8", "float32"} and kinds.count("float32") > 20
    assert min(tops) < 256 and max(tops) > 100_000
    assert set(offsets) == {(0.0, 0.0, 0.0), (1.0, 1.0, 1.0)}
    assert not list(hippocampus_msd.findings(tmp_path / "twin"))


# what dataset.json and the folders say -------------------------------------------------------------------------


def rewrite(root: Path, **changes: Any) -> Path:
    path = root / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return root


def test_a_pair_of_two_volumes_and_a_pair_twice_are_refused(tmp_path: Path) -> None:
    pair = {"image": "./imagesTr/hippocampus_001.nii.gz", "label": "./labelsTr/hippocampus_003.nii.gz"}
    rewrite(lay(tmp_path), training=[pair, {**pair, "label": pair["image"].replace("images", "labels")}])
    with pytest.raises(DatasetError) as caught:
        hippocampus_msd.read(tmp_path)
    said = str(caught.value)
    assert "imagesTr/hippocampus_001.nii.gz has the label ./labelsTr/hippocampus_003.nii.gz" in said
    assert "hippocampus_001 is listed twice" in said


def test_a_key_twice_is_refused_and_what_is_not_used_is_said(tmp_path: Path) -> None:
    rewrite(
        lay(tmp_path),
        numTraining=5,
        weights=[1],
        labels={"0": "background ", "1": "ANTERIOR", "2": "Posterior"},
    )
    (tmp_path / "labelsTr" / "README.txt").write_text("hello")
    notes = "\n".join(hippocampus_msd.read(tmp_path).notes)
    assert "dataset.json: 1 keys are not known and not used (weights)" in notes
    assert "numTraining is 5, and it lists 3 pairs" in notes
    assert "left out: 1 files of another type (labelsTr/README.txt)" in notes
    (tmp_path / "dataset.json").write_text(
        '{"labels": {"1": "Anterior", "1": "Posterior", "0": "background"}}'
    )
    with pytest.raises(DatasetError, match="the key '1' is there twice"):
        hippocampus_msd.read(tmp_path)
    (tmp_path / "dataset.json").write_text("[" * 100_000)
    with pytest.raises(DatasetError, match="not readable as JSON"):
        hippocampus_msd.read(tmp_path)


def test_names_of_volumes_that_look_alike_are_found(tmp_path: Path) -> None:
    lay(tmp_path, listed=None)
    for kind in ("imagesTr", "labelsTr"):
        (tmp_path / kind / "hippocampus_01.nii.gz").write_bytes(b"")
    assert found(tmp_path) == {
        "names of volumes look alike and count as different": ("hippocampus_001 and hippocampus_01",)
    }
    assert "names that look alike count as different" in "\n".join(hippocampus_msd.read(tmp_path).notes)


def test_another_folder_of_the_same_layout_is_named(tmp_path: Path) -> None:
    lay(tmp_path / "Task04_Hippocampus")
    lay(tmp_path / "Task04_new", images=(1,), labels=(1,))
    manifest = hippocampus_msd.read(tmp_path)
    assert manifest.root == tmp_path / "Task04_Hippocampus"
    assert f"not read: 1 other folders of this layout ({tmp_path / 'Task04_new'})" in "\n".join(
        manifest.notes
    )
