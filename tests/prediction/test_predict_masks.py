"""Masks of a folder: the run's own, on the grid of each image whichever way its axes run, and whole after a stop."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
from small_predictions import picture
from small_runs import recipe_file

from graftwork.common.data.images import read_size
from graftwork.common.data.masks import read_mask
from graftwork.common.errors import GraftworkError, RunError, UsageError
from graftwork.common.prediction.image_list import IDENTITY, Shard
from graftwork.common.runs.run_folder import open_run
from graftwork.common.verbs import merge, predict, run, synthesize

RECIPE = """
title = "A small run that segments"
dataset = "brain_mri/{dataset}"
seed = 3

[backbone]
name = "{backbone}"

{own}

[decoder]
width = 4

[strategy]
name = "scratch"

[training]
epochs = 1
batch_size = 2
learning_rate = 0.01
workers = 0

[evaluation]
bootstrap = 50
"""


def trained(folder: Path, dataset: str, backbone: str, cases: int, own: str) -> Path:
    data = synthesize(f"brain_mri/{dataset}", folder / "set", cases=cases, seed=1)
    recipe = recipe_file(folder, RECIPE.format(dataset=dataset, backbone=backbone, own=own))
    return run(recipe, data, folder / "runs").folder


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on volumes."""
    return trained(
        tmp_path_factory.mktemp("volumes"),
        "hippocampus_msd",
        "unet3d",
        10,
        "[volume]\npatch_size = [32, 32, 32]",
    )


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on images."""
    return trained(tmp_path_factory.mktemp("slices"), "lgg", "test_efficientnet", 24, "[image]\nsize = 64")


@pytest.fixture
def images(volumes: Path) -> Path:
    return open_run(volumes).data / "imagesTr"


def content(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()
    }


def test_the_masks_of_volumes_are_those_of_the_run(volumes: Path, images: Path, tmp_path: Path) -> None:
    done = predict(volumes, images, tmp_path / "masks")
    assert (done.file, done.failed) == (tmp_path / "masks" / "index.csv", 0)
    table = pd.read_csv(done.file).set_index("file")
    opened = open_run(volumes)
    target = opened.manifest.target
    own = opened.predictions
    assert len(own) >= 2
    for row in own.itertuples():
        name = Path(str(row.path)).name
        mask = read_mask(tmp_path / "masks" / table.loc[name, "mask"], target.values)
        for index, label in enumerate(target.classes[1:], 1):
            count = int((mask == index).sum())
            assert count == getattr(row, f"predicted_{label}")
            voxel = abs(np.linalg.det(nibabel.load(images / name).affine[:3, :3])) / 1000
            assert table.loc[name, f"ml_{label}"] == pytest.approx(count * voxel, abs=1e-6)


def test_the_masks_of_pictures_are_those_of_the_run_in_their_size(slices: Path, tmp_path: Path) -> None:
    opened = open_run(slices)
    target, data = opened.manifest.target, opened.data
    done = predict(slices, data, tmp_path / "masks", exclude=["*_mask.tif"])
    table = pd.read_csv(done.file).set_index("file")
    assert done.files == len(table) > 20
    parts = dict(zip(opened.manifest.frame["path"], opened.split.parts, strict=True))
    assert table["seen_by_run"].to_dict() == parts
    assert done.seen_by_run == {
        name: len(opened.split.rows(name)) for name in ("train", "validation", "test")
    }
    (foreground,) = target.classes[1:]
    sums: dict[str, int] = {}
    frame = opened.manifest.frame
    for case, path in zip(frame["group"], frame["path"], strict=True):
        mask = read_mask(tmp_path / "masks" / table.loc[path, "mask"], target.values)
        assert mask.shape == read_size(data / path)
        assert int(mask.sum()) == table.loc[path, f"pixels_{foreground}"]
        sums[case] = sums.get(case, 0) + int(mask.sum())
    for row in opened.predictions.itertuples():
        assert sums[str(row.group)] == getattr(row, f"predicted_{foreground}")


def test_48_orientations_and_an_oblique_one_have_the_same_mask_in_the_world(
    volumes: Path, images: Path, tmp_path: Path
) -> None:
    first = nibabel.load(sorted(images.glob("h*.nii.gz"))[0])
    array, affine = np.asarray(first.dataobj), np.diag([1.0, 1.2, 0.9, 1.0])
    affine[:3, 3] = [-20, 30, 5]
    straight = nibabel.Nifti1Image(array, affine)
    folder = tmp_path / "turned"
    folder.mkdir()
    names = []
    for axes in itertools.permutations(range(3)):
        for flips in itertools.product((1, -1), repeat=3):
            turned = straight.as_reoriented(np.array(list(zip(axes, flips, strict=True)), float))
            names.append("".join(nibabel.aff2axcodes(turned.affine)))
            nibabel.save(turned, folder / f"{names[-1]}.nii.gz")
    assert len(set(names)) == 48
    c, s = np.cos(0.3), np.sin(0.3)
    oblique = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]) @ affine
    nibabel.save(nibabel.Nifti1Image(array, oblique), folder / "oblique.nii")
    assert predict(volumes, folder, tmp_path / "masks").failed == 0
    wanted = np.asarray(nibabel.load(tmp_path / "masks" / "RAS.nii.gz").dataobj)
    assert len(np.unique(wanted)) > 1
    for name in (*names, "oblique"):
        mask = nibabel.load(tmp_path / "masks" / f"{name}.nii.gz")
        image = nibabel.load(folder / (f"{name}.nii.gz" if name != "oblique" else "oblique.nii"))
        assert mask.shape == image.shape
        assert np.array_equal(mask.affine, image.affine)
        assert np.array_equal(np.asarray(nibabel.as_closest_canonical(mask).dataobj), wanted), name


def test_stopped_and_in_shards_the_masks_are_those_of_one_prediction(
    volumes: Path, images: Path, tmp_path: Path
) -> None:
    out, shards = tmp_path / "stopped", tmp_path / "shards"
    predict(volumes, images, tmp_path / "whole")

    def stop(_: str, count: int, __: int) -> None:
        if count == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(GraftworkError, match="what was done is kept"):
        predict(volumes, images, out, progress=stop)
    assert not (out / "index.csv").exists()
    assert predict(volumes, images, out).new == 7
    assert content(out) == content(tmp_path / "whole")
    name = sorted(file.name for file in out.glob("*.nii.gz"))[3]
    (out / name).unlink()
    assert predict(volumes, images, out).new == 1
    assert content(out) == content(tmp_path / "whole")
    for number in (1, 2):
        predict(volumes, images, shards, shard=f"{number}/2")
    assert merge(shards).files == 10
    assert (shards / "index.csv").read_bytes() == (out / "index.csv").read_bytes()
    (shards / name).unlink()
    with pytest.raises(RunError, match=f"masks are missing: {name}"):
        merge(shards)


def test_a_damaged_volume_has_a_row_and_no_mask(volumes: Path, images: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    (folder / "a").mkdir(parents=True)
    whole = sorted(images.glob("h*.nii.gz"))[0].read_bytes()
    (folder / "a" / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    (folder / "a" / "x.nii.gz").write_bytes(whole)
    done = predict(volumes, folder, folder / "masks")
    assert (done.files, done.failed) == (2, 1)
    table = pd.read_csv(done.file).set_index("file")
    assert isinstance(table.loc["a/cut.nii.gz", "failure"], str)
    assert table.loc["a/cut.nii.gz"].drop("failure").isna().all()
    assert [file.name for file in (folder / "masks").rglob("*.nii.gz")] == ["x.nii.gz"]
    assert predict(volumes, folder, folder / "masks").files == 2  # masks below the folder are not its images


def test_words_that_do_not_fit_masks_are_refused(volumes: Path, images: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="masks have one format"):
        predict(volumes, images, tmp_path / "masks", format="csv")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="masks go into a folder"):
        predict(volumes, images, tmp_path / "file")
    twins: Any = tmp_path / "twins"
    twins.mkdir()
    for name in ("x.nii", "x.nii.gz"):
        (twins / name).touch()
    with pytest.raises(UsageError, match=r"one name: x\.nii and x\.nii\.gz"):
        predict(volumes, twins, tmp_path / "masks")
    assert not (tmp_path / "masks").exists()


# Whose a folder is -------------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for seed, name in enumerate(("a.png", "b.png")):
        picture(tmp_path / "photos" / name, seed)
    return tmp_path / "photos"


@pytest.fixture
def another(slices: Path, tmp_path: Path) -> Path:
    """A run like that on images, with other tensors."""
    from safetensors.torch import load_file, save_file

    copy = tmp_path / "another"
    shutil.copytree(slices, copy)
    tensors = load_file(copy / "best" / "model.safetensors")
    save_file(
        {name: -each if each.is_floating_point() else each for name, each in tensors.items()},
        copy / "best" / "model.safetensors",
    )
    return copy


@pytest.mark.parametrize("case", ["truth", "above", "the same", "a link", "a link in"])
def test_masks_never_take_the_place_of_what_is_not_ours(
    slices: Path, photos: Path, tmp_path: Path, case: str
) -> None:
    out, said = tmp_path / "out", "masks would be written over the images"
    if case == "truth":
        picture(out / "a.png", 7)
        said = "holds files that are not predictions"
    elif case == "above":
        picture(tmp_path / "photos" / "deep" / "a.png", 7)
        photos, out = photos / "deep", photos
        said = "holds files that are not predictions"
    elif case == "the same":
        out = photos
    elif case == "a link":
        out.symlink_to(photos)
    else:
        picture(out / "a.png", 7)
        (photos / "a.png").unlink()
        (photos / "a.png").symlink_to(out / "a.png")
    before = content(tmp_path)
    with pytest.raises(UsageError, match=said):
        predict(slices, photos, out)
    assert content(tmp_path) == before


def test_a_folder_of_masks_is_that_of_one_network(
    slices: Path, another: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "masks"
    for number in (1, 2):
        predict(slices, photos, out, shard=f"{number}/2")
    before = content(out)
    for shard in ("1/1", "2/3", ""):
        with pytest.raises(RunError, match="the network's tensors"):
            predict(another, photos, out, shard=shard)
    assert content(out) == before
    said = json.loads((out / IDENTITY).read_text())
    (out / IDENTITY).write_text(json.dumps({**said, "model_sha256": "0" * 64}))
    with pytest.raises(RunError, match="the network's tensors"):
        merge(out)
    (out / IDENTITY).write_text(json.dumps(said))
    assert merge(out).files == 2


def test_the_owner_is_written_before_the_first_mask(
    slices: Path, another: Path, photos: Path, tmp_path: Path
) -> None:
    def stop(_: str, count: int, __: int) -> None:
        if count == 1:  # the second is kept too
            os.kill(os.getpid(), signal.SIGTERM)

    picture(photos / "c.png", 3)
    with pytest.raises(GraftworkError, match="what was done is kept"):
        predict(slices, photos, tmp_path / "masks", progress=stop)
    with pytest.raises(RunError, match="the network's tensors"):
        predict(another, photos, tmp_path / "masks", shard="1/1")
    (tmp_path / "masks" / "a.png").unlink()  # half done, and gone
    assert predict(slices, photos, tmp_path / "masks").new == 2
    predict(slices, photos, tmp_path / "whole")
    assert content(tmp_path / "masks") == content(tmp_path / "whole")


def test_a_picture_that_follows_another_does_not_take_its_mask(
    slices: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "masks"
    predict(slices, photos, out)
    (photos / "a.png").unlink()
    picture(photos / "a.jpg", 5, size=48)
    before = content(out)
    with pytest.raises(UsageError, match=r"one name: a\.jpg and a\.png"):
        predict(slices, photos, out)
    assert {name: found for name, found in content(out).items() if "partial" not in name} == before
    assert predict(slices, photos, out, exclude=["a.png"]).new == 1
    assert list(pd.read_csv(out / "index.csv")["file"]) == ["a.jpg", "b.png"]


def test_shards_in_which_two_pictures_have_one_mask_are_refused(
    slices: Path, photos: Path, tmp_path: Path
) -> None:
    first = Shard(1, 2)
    name = next(f"{n}" for n in range(99) if f"{n}.png" in first and f"{n}.jpg" not in first)
    older = picture(photos / f"{name}.png", 8)
    predict(slices, photos, tmp_path / "masks", shard="1/2")
    older.unlink()
    picture(photos / f"{name}.jpg", 9)
    predict(slices, photos, tmp_path / "masks", shard="2/2")
    with pytest.raises(RunError, match=f"{name}.png and {name}.jpg have one mask"):
        merge(tmp_path / "masks")
