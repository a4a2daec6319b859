"""Runs that outline: what is minimised, what a unit is, masks on their image's grid, the same bytes after any kill."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image
from small_masks import SHAPE, stacks, volumes
from small_runs import forked, recipe_file, start

from graftwork.common.data.masks import measure, read_mask
from graftwork.common.data.volumes import read_geometry
from graftwork.common.errors import ImageError, RunError, UsageError
from graftwork.common.loading.target_encoding import UNKNOWN_MASK
from graftwork.common.loading.transforms import Preprocessing
from graftwork.common.networks.network import restore_network
from graftwork.common.recipe import load
from graftwork.common.recipe.unused_keys import refuse_idle_keys
from graftwork.common.runs.run_folder import open_run
from graftwork.common.training.losses import dice_loss
from graftwork.common.training.segmentation import decided, segment_picture, units_of
from graftwork.common.verbs import run, synthesize

FLAT = """
title = "Small slices for tests"
dataset = "brain_mri/lgg"
seed = 3
[backbone]
name = "test_efficientnet"
[image]
size = 32
[decoder]
width = 4
[augmentation]
horizontal_flip = 0.5
rotation = 10.0
[strategy]
name = "scratch"
[training]
epochs = 2
batch_size = 8
learning_rate = 0.01
dropout = 0.1
workers = 0
save_steps = 1
[evaluation]
bootstrap = 20
"""
DEEP = (
    FLAT.replace("lgg", "hippocampus_msd")
    .replace("test_efficientnet", "unet3d")
    .replace("[image]\nsize = 32\n", "")
    .replace("[strategy]", "[volume]\npatch_size = [16, 32, 16]\npatches_per_volume = 1\n[strategy]")
)
KINDS = {"flat": ("brain_mri/lgg", FLAT), "deep": ("brain_mri/hippocampus_msd", DEEP)}
RESULTS = (
    "best/model.safetensors",
    "last/optimizer.safetensors",
    "predictions.parquet",
    "metrics.json",
    "ledger.csv",
)


@pytest.fixture(scope="module", params=KINDS)
def sets(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A recipe, its data, and the folder of a run that nothing interrupted."""
    dataset, text = KINDS[request.param]
    place = tmp_path_factory.mktemp(request.param)
    data = synthesize(dataset, place / "set", cases=24, seed=1)
    recipe = recipe_file(place, text)
    child = start(forked(), str(recipe), str(data), str(place / "whole"), [])
    child.join()
    assert child.exitcode == 0
    return recipe, data, next((place / "whole" / "small").iterdir())


def digests(folder: Path) -> dict[str, str]:
    files = [*(folder / name for name in RESULTS), *(p for p in (folder / "masks").rglob("*") if p.is_file())]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_kills_change_no_byte(sets: tuple[Path, Path, Path], tmp_path: Path) -> None:
    recipe, data, whole = sets
    wanted, context, rng, kills = digests(whole), forked(), random.Random(1), 0
    assert any(name.startswith("masks/") for name in wanted)
    words = (
        str(recipe),
        str(data),
        str(tmp_path),
        ["training.workers=2"],
    )  # the whole run read without workers
    # in the first epoch, in the second, between the two first masks, before and while the images are drawn
    for mark in ("last/state.json", "best/state.json", "masks/*", "predictions.parquet", "examples.new/*"):
        child = start(context, *words)
        while child.exitcode is None and not list(tmp_path.glob(f"small/*/{mark}")):
            time.sleep(0.002)
        child.join(rng.uniform(0, 0.05))
        if child.exitcode is None:
            child.kill()
            kills += 1
        child.join()
        assert child.exitcode in (0, -signal.SIGKILL)
    assert kills >= 3
    child = start(context, *words)
    child.join()
    assert child.exitcode == 0
    (folder,) = (tmp_path / "small").iterdir()
    assert digests(folder) == wanted
    assert open_run(folder).complete


def test_masks_lie_on_their_image_s_grid_and_say_what_the_table_counts(sets: tuple[Path, Path, Path]) -> None:
    done = open_run(sets[2])
    manifest, table = done.manifest, done.predictions
    judged = done.split.parts.isin(["validation", "test"]).to_numpy()
    frame = manifest.frame
    unit = manifest.unit or "case"
    assert sorted(table["case"]) == sorted(frame[judged][unit].astype(str).unique())
    assert table["images"].sum() == judged.sum()
    for row in table.itertuples():
        rows = np.flatnonzero(judged & (frame[unit].astype(str) == row.case).to_numpy())
        counts = dict.fromkeys(manifest.target.classes[1:], 0)
        for index in rows:
            volume = str(frame["path"].iloc[index]).endswith(".nii.gz")
            place = done.folder / "masks" / f"{frame['case'].iloc[index]}{'.nii.gz' if volume else '.png'}"
            classes = read_mask(place, manifest.target.values)
            for name in counts:
                counts[name] += int((classes == manifest.target.classes.index(name)).sum())
            if volume:
                like, mask = nibabel.load(manifest.file(index)), nibabel.load(place)
                np.testing.assert_array_equal(like.affine, mask.affine)
                assert like.shape == mask.shape
        for name, number in counts.items():
            assert getattr(row, f"predicted_{name}") == number
    # the network is built again from the folder alone, and gives the same mask of the same file
    network, preprocessing = restore_network(done)
    assert not network.training
    row = int(done.split.rows("test")[0])
    classes, geometry = segment_picture(network, preprocessing, manifest.file(row))
    stem = done.folder / "masks" / str(frame["case"].iloc[row])
    place = stem.with_name(stem.name + (".png" if geometry is None else ".nii.gz"))
    np.testing.assert_array_equal(classes, read_mask(place, manifest.target.values))
    assert (geometry is None) == (not str(manifest.file(row)).endswith(".nii.gz"))


def test_the_log_the_ledger_and_the_examples_are_there(sets: tuple[Path, Path, Path]) -> None:
    done = open_run(sets[2])
    assert [line["epoch"] for line in done.log] == [1, 2]
    assert all(0 <= line["validation"]["dice"] <= 1 for line in done.log)
    assert all(line["validation_loss"] > 0 for line in done.log)
    assert done.network["kind"] == "segmentation"
    assert done.network["targets"][0]["values"] == list(done.manifest.target.values)
    index = json.loads((done.folder / "examples" / "index.json").read_text())
    assert {each["which"] for each in index} <= {"best", "median", "worst"}


def test_a_damaged_picture_is_set_aside_or_ends_the_run_before_it_trains(
    sets: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    recipe, data, whole = sets
    done = open_run(whole)
    row = int(done.split.rows("test")[0])
    copy = tmp_path / "set"
    shutil.copytree(data, copy)
    (copy / done.manifest.file(row).relative_to(data)).write_bytes(b"")
    with pytest.raises(RunError, match="cannot be read") as caught:
        run(recipe, copy, tmp_path / "none")
    assert str(done.manifest.frame["path"].iloc[row]) in str(caught.value)
    (folder,) = (tmp_path / "none" / "small").iterdir()
    assert not (folder / "last").exists()
    borne = open_run(
        run(recipe, copy, tmp_path / "borne", ["training.max_unreadable_files=1", "training.epochs=1"]).folder
    )
    assert [each["case"] for each in borne.quarantine] == [done.manifest.frame["case"].iloc[row]]
    assert borne.predictions["images"].sum() == done.predictions["images"].sum() - 1


# what is minimised, and what is decided -----------------------------------------------------------------------


def test_the_objective_is_monai_s_for_each_case() -> None:
    from monai.losses.dice import DiceCELoss

    generator = torch.Generator().manual_seed(0)
    for size in ((9, 7), (5, 6, 4)):
        logits = torch.randn(3, 3, *size, generator=generator)
        truth = torch.randint(0, 3, (3, *size), generator=generator).to(torch.uint8)
        found = dice_loss()(logits, truth)
        wanted = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True)
        for case in range(3):
            alone = wanted(logits[case : case + 1], truth[case : case + 1, None].long())
            assert found[case] == pytest.approx(float(alone), abs=1e-5)
    blocks = torch.randn(2, 3, 2, 4, 4, 4, generator=generator)
    truth = torch.randint(0, 2, (2, 3, 4, 4, 4), generator=generator)
    each = dice_loss()(blocks.flatten(0, 1), truth.flatten(0, 1))
    assert torch.allclose(dice_loss()(blocks, truth), each.reshape(2, 3).mean(1))


def test_a_case_without_a_mask_weighs_nothing() -> None:
    logits = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    truth = torch.zeros(2, 8, 8, dtype=torch.uint8)
    truth[1] = UNKNOWN_MASK
    found = dice_loss()(logits, truth)
    assert found[0] > 0
    assert found[1] == 0
    found.sum().backward()
    assert (logits.grad[1] == 0).all()


@pytest.mark.parametrize("fit", ["squash", "pad"])
@pytest.mark.parametrize("shape", [(40, 70), (90, 30), (32, 32)])
def test_what_is_decided_lies_where_the_picture_lay(fit: str, shape: tuple[int, int]) -> None:
    plain = Preprocessing(48, fit, "bilinear", (0.5,) * 3, (0.5,) * 3)
    mask = np.zeros(shape, np.uint8)
    mask[5:22, 6:25] = 1
    mask[-4:, -3:] = 2
    fitted = torch.from_numpy(plain.fitted_mask(mask).astype(np.int64))
    logits = 20 * torch.nn.functional.one_hot(fitted, 3).permute(2, 0, 1)[None].float()
    found = decided(logits, plain, shape)
    assert found.shape == shape
    assert (found != mask).mean() < 0.03
    assert found[-1, -1] == 2


def test_a_unit_is_its_slices_in_order(tmp_path: Path) -> None:
    manifest = stacks(tmp_path)
    units = units_of(manifest, np.arange(len(manifest)), "test")
    assert sorted(unit.name for unit in units) == ["v0", "v1", "v2"]
    for unit in units:
        frame = manifest.frame.iloc[list(unit.rows)]
        assert frame["slice"].tolist() == [0, 1, 2, 3]
        assert set(frame["volume"]) == {unit.name}


def test_what_is_not_known_of_a_unit_is_not_zero(tmp_path: Path) -> None:
    from graftwork.common.training.segmentation import SegmentationTask, _Segmented

    manifest = stacks(tmp_path)
    task = object.__new__(SegmentationTask)
    task.run = type("Stub", (), {"manifest": manifest})()
    task.classes = SHAPE.classes
    (unit, *_) = units_of(manifest, np.arange(len(manifest)), "test")
    truths = [read_mask(tmp_path / manifest.frame["mask"].iloc[row], SHAPE.values) for row in unit.rows]
    guess = [np.roll(each, 2, axis=0) for each in truths]
    pictures = [_Segmented(*each) for each in zip(unit.rows, truths, guess, strict=True)]
    whole = task._row(unit, pictures, True, whole=True)
    stack = measure(np.stack(truths), np.stack(guess), SHAPE.classes, (5.0, 1.0, 1.0))
    assert {name: whole[name] for name in stack} == stack
    assert stack["hausdorff_95_shape"] == 2.0
    assert whole["spacing"] == "5 1 1"
    assert whole["age"] == manifest.frame["age"].iloc[unit.rows[0]]  # constant within the unit
    assert whole["weight"] is None
    assert "slice" not in whole
    gap = task._row(
        unit, [pictures[0], *pictures[2:]], True, whole=True
    )  # how far apart the others lie is not known
    assert np.isnan(gap["hausdorff_95_shape"])
    assert gap["spacing"] is None
    assert gap["truth_shape"] == stack["truth_shape"] - int((truths[1] == 1).sum())
    blank = _Segmented(unit.rows[0], np.full_like(truths[0], UNKNOWN_MASK), guess[0])
    unknown = task._row(unit, [blank, *pictures[1:]], True, whole=True)
    assert np.isnan(unknown["truth_shape"])
    assert np.isnan(unknown["both_shape"])
    assert unknown["predicted_shape"] == stack["predicted_shape"]


def test_a_volume_keeps_its_spacing_by_axis(tmp_path: Path) -> None:
    from graftwork.common.data.volumes import read_volume
    from graftwork.common.training.segmentation import canonical_spacing

    volumes(tmp_path, count=1)
    assert (
        canonical_spacing(read_geometry(tmp_path / "v0.nii.gz"))
        == read_volume(tmp_path / "v0.nii.gz").spacing
    )
    assert len(set(canonical_spacing(read_geometry(tmp_path / "v0.nii.gz")))) == 3


def test_an_unreadable_file_is_an_image_error(sets: tuple[Path, Path, Path], tmp_path: Path) -> None:
    network, preprocessing = restore_network(open_run(sets[2]))
    place = tmp_path / "odd.png"
    place.write_bytes(b"odd")
    with pytest.raises(ImageError):
        segment_picture(network, preprocessing, place)


def test_a_picture_of_one_value_is_outlined_too(sets: tuple[Path, Path, Path], tmp_path: Path) -> None:
    network, preprocessing = restore_network(open_run(sets[2]))
    if isinstance(preprocessing, Preprocessing):
        Image.fromarray(np.zeros((30, 50), np.uint8)).save(tmp_path / "black.png")
        classes, _ = segment_picture(network, preprocessing, tmp_path / "black.png")
        assert classes.shape == (30, 50)
    else:
        nibabel.save(nibabel.Nifti1Image(np.zeros((20, 9, 7), np.int16), np.eye(4)), tmp_path / "black.nii")
        classes, _ = segment_picture(network, preprocessing, tmp_path / "black.nii")
        assert classes.shape == (20, 9, 7)


# what a recipe may say ----------------------------------------------------------------------------------------


def words(*overrides: str) -> Any:
    return load('title = "t"\ndataset = "x/y"\n[strategy]\nname = "scratch"\n', overrides=overrides)


@pytest.mark.parametrize(
    ("segmentation", "deep", "idle"),
    [
        (
            False,
            False,
            (
                "decoder.width=8",
                "volume.patches_per_volume=3",
                "volume.patch_size=[32, 32, 32]",
                "volume.patch_overlap=0.1",
            ),
        ),
        (
            True,
            False,
            (
                "volume.patches_per_volume=3",
                "training.class_weights=balanced",
                "evaluation.threshold=sensitivity",
            ),
        ),
        (True, True, ("image.size=64", "image.fit=pad", "backbone.padding=same")),
    ],
)
def test_a_key_that_would_do_nothing_is_refused_by_name(
    segmentation: bool, deep: bool, idle: tuple[str, ...]
) -> None:
    def refuse(*overrides: str) -> None:
        refuse_idle_keys(words(*overrides), segmentation=segmentation, volumes=deep)

    refuse()
    refuse("training.epochs=3", "split.seen=0.1", "augmentation.rotation=3")
    for word in idle:
        with pytest.raises(UsageError, match=word.partition("=")[0]):
            refuse(word)
    with pytest.raises(UsageError) as caught:
        refuse(*idle)
    assert all(word.partition("=")[0] in str(caught.value) for word in idle)


def test_a_crop_would_leave_the_border_without_a_mask(sets: tuple[Path, Path, Path], tmp_path: Path) -> None:
    recipe, data, _ = sets
    key = "image.fit=crop"
    with pytest.raises(UsageError, match="fit"):
        run(recipe, data, tmp_path, [key])
    assert not list(tmp_path.glob("small/*/last"))


def test_pictures_and_volumes_need_their_own_networks(sets: tuple[Path, Path, Path], tmp_path: Path) -> None:
    recipe, data, whole = sets
    other = "test_resnet" if open_run(whole).recipe.backbone.name == "unet3d" else "unet3d"
    with pytest.raises(UsageError, match="is a network for"):
        run(recipe, data, tmp_path, [f"backbone.name={other}"])
    assert not list(tmp_path.glob("small/*/last"))


@pytest.mark.parametrize(
    "key",
    [
        "decoder.width=8",
        "volume.patch_size=[32, 32, 16]",
        "volume.patches_per_volume=2",
        "volume.patch_overlap=0.1",
    ],
)
def test_the_keys_of_outlining_change_the_result(
    key: str, sets: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    recipe, data, whole = sets
    deep = open_run(whole).recipe.backbone.name == "unet3d"
    if key.startswith("volume.") and not deep:
        pytest.skip("volumes alone")
    other = run(recipe, data, tmp_path, [key]).folder
    assert digests(other) != digests(whole)
