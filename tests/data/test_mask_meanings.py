"""A fuzz of meanings: masks that mean the same give the same numbers everywhere, masks that mean nothing are refused.

GRAFTWORK_FUZZ=20 tries twenty times as many.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from written_masks import BINARY, LABELLED, MEANINGLESS, ODD_VOLUMES, VOLUMES, volume
from written_volumes import UPRIGHT, write

from graftwork.common.data.domain import protocol
from graftwork.common.data.masks import read_mask, read_values
from graftwork.common.data.volumes import regrid
from graftwork.common.errors import GraftworkError, ImageError, TableError
from graftwork.common.evaluation.mask_rules import MaskRules, Region
from graftwork.common.external.mask_folders import evaluate_folders, judge_masks

TIMES = int(os.environ.get("GRAFTWORK_FUZZ", "1"))
VALUES = (0, 1, 2, 4, 6)
ISIC = protocol("isic2018-task1-masks")
BRATS = protocol("brats2023-lesionwise")


def blobs(chance: np.random.Generator, *shape: int, values: tuple[int, ...] = (0, 1)) -> np.ndarray:
    """Labels in blocks, all of them in it."""
    mask = np.zeros(shape, np.int64)
    for value in values[1:]:
        for _ in range(2):
            start = [int(chance.integers(0, side - 2)) for side in shape]
            mask[tuple(slice(at, at + int(chance.integers(1, 5))) for at in start)] = value
    for place, value in enumerate(values):
        mask[(*[0] * (len(shape) - 1), place)] = value
    return mask


def test_every_way_to_store_labels_is_read_alike(tmp_path: Path) -> None:
    for seed in range(4 * TIMES):
        chance = np.random.default_rng(seed)
        labels = blobs(chance, int(chance.integers(6, 30)), int(chance.integers(6, 30)), values=VALUES)
        for name, save in LABELLED.items():
            path = save(tmp_path / "m", labels)
            np.testing.assert_array_equal(np.array(VALUES)[read_mask(path, VALUES)], labels, err_msg=name)
            np.testing.assert_array_equal(read_values(path), labels, err_msg=name)


def test_every_way_to_store_a_foreground_is_read_alike_whatever_the_classes_values(tmp_path: Path) -> None:
    for seed in range(2 * TIMES):
        chance = np.random.default_rng(seed)
        mask = blobs(chance, int(chance.integers(6, 30)), int(chance.integers(6, 30)))
        for name, save in BINARY.items():
            path = save(tmp_path / "m", mask)
            for values in ((0, 1), (0, 255), (255, 0)):
                expected = mask if values[0] == 0 else 1 - mask
                np.testing.assert_array_equal(read_mask(path, values), expected, err_msg=f"{name} {values}")


@pytest.mark.parametrize("name", MEANINGLESS)
def test_what_has_no_single_reading_is_refused_by_the_reader(tmp_path: Path, name: str) -> None:
    mask = blobs(np.random.default_rng(0), 12, 14)
    path = MEANINGLESS[name](tmp_path / "m", mask)
    for values in ((0, 1), (0, 255)):
        with pytest.raises(ImageError) as raised:
            read_mask(path, values)
        assert str(path) in str(raised.value) and raised.value.remedy


def folders(
    place: Path, chance: np.random.Generator, ways: list[str], marks: tuple[str, ...] = ("", "_mask", "_SEG")
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Two folders of binary masks, each file in a way and with a mark of its own; the arrays of each case."""
    cases = {}
    for number in chance.permutation(4).tolist():
        shape = (int(chance.integers(8, 20)), int(chance.integers(8, 20)))
        pair = (blobs(chance, *shape), blobs(chance, *shape) * int(number != 3))
        cases[f"c{number}"] = pair
        for folder, mask in zip(("t", "p"), pair, strict=True):
            (place / folder).mkdir(parents=True, exist_ok=True)
            way = BINARY[ways[int(chance.integers(len(ways)))]]
            way(place / folder / f"c{number}{marks[int(chance.integers(len(marks)))]}", mask)
    return cases


def scores(place: Path) -> dict[str, float]:
    _, table = evaluate_folders(place / "t", place / "p", ISIC, bootstrap=20)
    return dict(zip(table["case"], table["jaccard"], strict=True))


def test_folders_that_mean_the_same_have_the_same_scores(tmp_path: Path) -> None:
    # a palette is no grey, a mask of 0 and 1 in one file and of 0 and 255 in the next one is still clear
    for seed in range(40 * TIMES):
        chance = np.random.default_rng(seed)
        place = tmp_path / str(seed)
        cases = folders(place, chance, list(BINARY))
        expected = {
            case: 1.0 if not (one | other).any() else float((one & other).sum() / (one | other).sum())
            for case, (one, other) in cases.items()
        }
        assert scores(place) == pytest.approx(expected), seed


def test_a_folder_with_one_file_that_means_nothing_is_refused(tmp_path: Path) -> None:
    for seed, name in enumerate(list(MEANINGLESS) * TIMES):
        chance = np.random.default_rng(seed)
        place = tmp_path / str(seed)
        cases = folders(place, chance, list(BINARY), marks=("",))
        folder = place / "tp"[seed % 2]
        victim = next(each for each in folder.iterdir() if each.stem == "c1")
        victim.unlink()
        path = MEANINGLESS[name](folder / "c1", cases["c1"]["tp".index(folder.name)])
        with pytest.raises(TableError) as raised:
            scores(place)
        assert path.name in str(raised.value), (name, str(raised.value))


def lose(folder: Path, chance: np.random.Generator) -> None:
    next(each for each in sorted(folder.iterdir()) if each.stem == "c2").unlink()


def add(folder: Path, chance: np.random.Generator) -> None:
    BINARY["255 png"](folder / "c9", blobs(chance, 9, 9))


def again(folder: Path, chance: np.random.Generator) -> None:
    BINARY["255 tif"](folder / "c2_segmentation", blobs(chance, 9, 9))


def rename(folder: Path, chance: np.random.Generator) -> None:
    victim = next(each for each in folder.iterdir() if each.stem == "c2")
    victim.rename(victim.with_name(victim.name.replace("c2", str(chance.choice(["C2", "c02", "c_2", "2"])))))


def bury(folder: Path, chance: np.random.Generator) -> None:
    (folder / "deep").mkdir()
    victim = next(each for each in folder.iterdir() if each.stem == "c2")
    victim.rename(folder / "deep" / victim.name)


def shrink(folder: Path, chance: np.random.Generator) -> None:
    lose(folder, chance)
    BINARY["255 png"](folder / "c2", blobs(chance, 5, 7))


def grey(folder: Path, chance: np.random.Generator) -> None:
    for case in ("c1", "c2"):
        next(each for each in folder.iterdir() if each.stem == case).unlink()
    Image.fromarray(chance.integers(0, 2, (9, 9)).astype(np.uint8)).save(folder / "c1.png")
    Image.fromarray(chance.integers(0, 256, (9, 9)).astype(np.uint8)).save(folder / "c2.png")


@pytest.mark.parametrize("harm", [lose, add, again, rename, bury, shrink, grey])
def test_folders_that_do_not_fit_are_refused(
    tmp_path: Path, harm: Callable[[Path, np.random.Generator], None]
) -> None:
    for seed in range(3 * TIMES):
        chance = np.random.default_rng(seed)
        place = tmp_path / str(seed)
        folders(place, chance, list(BINARY), marks=("",))
        harm(place / "tp"[seed % 2], chance)
        with pytest.raises(TableError) as raised:
            scores(place)
        assert "c1" in str(raised.value) or "c2" in str(raised.value) or "c9" in str(raised.value)


def test_every_way_to_store_a_volume_is_read_and_regridded_alike(tmp_path: Path) -> None:
    for seed in range(2 * TIMES):
        chance = np.random.default_rng(seed)
        labels = blobs(chance, *(int(side) for side in chance.integers(6, 9, 3)), values=VALUES)
        even = np.where(labels % 2, 2, labels)
        like = write(tmp_path / f"like{seed}.nii", np.zeros(labels.shape, np.uint8), UPRIGHT)
        for turn, (name, way) in enumerate(VOLUMES.items()):
            expected = even if way.get("even") else labels
            path = volume(tmp_path / "m", expected, way, int(chance.integers(48)), bool(turn % 2))
            np.testing.assert_array_equal(np.array(VALUES)[read_mask(path, VALUES)], expected, err_msg=name)
            done = regrid(path, like, tmp_path / "out.nii.gz")
            np.testing.assert_array_equal(read_values(tmp_path / "out.nii.gz"), expected, err_msg=name)
            assert done.outside == 0 and all(before == after for before, after in done.counts.values())


@pytest.mark.parametrize("name", ODD_VOLUMES)
def test_volumes_that_mean_nothing_are_refused_by_reader_regridding_and_evaluation(
    tmp_path: Path, name: str
) -> None:
    labels = blobs(np.random.default_rng(0), 6, 7, 8, values=(0, 1, 2, 3))
    like = write(tmp_path / "like.nii", np.zeros(labels.shape, np.uint8), UPRIGHT)
    (tmp_path / "t").mkdir()
    (tmp_path / "p").mkdir()
    path = volume(tmp_path / "t" / "a", labels, ODD_VOLUMES[name], 5, False)
    volume(tmp_path / "p" / "a", labels, VOLUMES["u1"], 5, True)
    with pytest.raises(ImageError):
        read_mask(path, (0, 1, 2, 3))
    if name != "a label that is not known":  # regridding knows no classes
        with pytest.raises(GraftworkError):
            regrid(path, like, tmp_path / "out.nii")
        assert not (tmp_path / "out.nii").exists()
    with pytest.raises(TableError) as raised:
        evaluate_folders(tmp_path / "t", tmp_path / "p", BRATS, bootstrap=20)
    assert str(path) in str(raised.value)


def test_volumes_that_mean_the_same_have_the_same_scores(tmp_path: Path) -> None:
    rules = BRATS.masks
    assert rules is not None
    for seed in range(8 * TIMES):
        chance = np.random.default_rng(seed)
        shape = [int(side) for side in chance.integers(6, 9, 3)]
        turn = int(chance.integers(48))
        one, other = (blobs(chance, *shape, values=(0, 1, 2, 3)) for _ in range(2))
        ways = [name for name, way in VOLUMES.items() if not way.get("even")]
        for folder, mask in (("t", one), ("p", other)):
            place = tmp_path / str(seed) / folder
            place.mkdir(parents=True)
            volume(place / "a", mask, VOLUMES[str(chance.choice(ways))], turn, bool(chance.integers(2)))
        _, table = evaluate_folders(
            tmp_path / str(seed) / "t", tmp_path / str(seed) / "p", BRATS, bootstrap=20
        )
        expected = judge_masks(one, other, None, rules, ("dice",))
        for region, dice in zip(table["region"], table["dice"], strict=True):
            assert dice == pytest.approx(expected[region]["dice"])


def test_a_volume_of_two_values_has_one_foreground_under_every_rule(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    one, other = blobs(chance, 6, 7, 8), blobs(chance, 6, 7, 8)
    expected = float(2 * (one & other).sum() / (one.sum() + other.sum()))
    for rules in (
        MaskRules(regions=(Region("it", (1,)),), labels=(1,)),
        MaskRules(regions=(Region("it", (1,)),), above=128),
    ):
        for number, full in enumerate((1, 255, 65535)):
            place = tmp_path / f"{bool(rules.labels)}{number}"
            write(place / "t" / "a.nii", (one * full).astype(np.int32))
            write(place / "p" / "a.nii", other.astype(np.uint8))
            own = replace(BRATS, masks=rules, classes=("background", "it"), metrics=("dice",), primary="dice")
            _, table = evaluate_folders(place / "t", place / "p", own, bootstrap=20)
            assert table["dice"].tolist() == pytest.approx([expected])
