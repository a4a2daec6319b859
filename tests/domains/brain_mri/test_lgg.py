"""The loader of lgg: the tree as the archive unpacks, what names and tables tell, and what is found and refused."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from graftwork.common.data.manifest import Manifest
from graftwork.common.errors import DatasetError
from graftwork.domains.brain_mri import lgg

FIRST, SECOND = "TCGA_CS_4942_19970222", "TCGA_HT_A61B_19991127"
TABLE = "Patient,histological_type,neoplasm_histologic_grade,gender,age_at_initial_pathologic,race\n"
ROWS = "TCGA_CS_4942,1,2,1,44,2\nTCGA_HT_A61B,,,,,\n"


def lay(folder: Path, *, slices: int = 12, table: str = TABLE + ROWS) -> Path:
    """Two patients in a folder, with empty files."""
    for volume, count in ((FIRST, slices), (SECOND, 2)):
        (folder / volume).mkdir(parents=True, exist_ok=True)
        for number in range(1, count + 1):
            (folder / volume / f"{volume}_{number}.tif").write_bytes(b"")
            (folder / volume / f"{volume}_{number}_mask.tif").write_bytes(b"")
    (folder / "data.csv").write_text(table)
    return folder


def draw(path: Path, channels: tuple[int, int, int]) -> None:
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    pixels[2:6, 2:6] = channels
    Image.fromarray(pixels).save(path)


def found(root: Path) -> dict[str, tuple[str, int, tuple[str, ...]]]:
    return {each.what: (each.kind, each.count, each.examples) for each in lgg.findings(root)}


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return lgg.read(lay(tmp_path))


# What names and tables tell


def test_slices_stand_in_the_order_of_their_numbers(manifest: Manifest) -> None:
    first = manifest.frame[manifest.frame["volume"] == FIRST]
    assert first["case"].tolist() == [f"{FIRST}/{number}" for number in range(1, 13)]
    assert first["slice"].tolist() == list(range(12))
    assert first["path"].tolist()[1] == f"{FIRST}/{FIRST}_2.tif"
    assert first["mask"].tolist()[9] == f"{FIRST}/{FIRST}_10_mask.tif"


def test_the_group_is_the_patient_and_the_unit_the_volume(manifest: Manifest) -> None:
    assert set(manifest.frame["group"]) == {"TCGA_CS_4942", "TCGA_HT_A61B"}
    assert manifest.unit == "volume"
    assert manifest.target.values == (0, 255)
    assert set(manifest.frame["institution"]) == {"CS", "HT"}


def test_the_table_is_joined_without_the_date_and_empty_cells_stay_empty(manifest: Manifest) -> None:
    rows = manifest.frame.groupby("volume")[["histology", "grade", "gender", "age"]].first()
    assert rows.loc[FIRST].tolist() == ["1", "2", "1", 44.0]
    assert (
        manifest.frame.loc[manifest.frame["volume"] == SECOND, ["grade", "gender", "age"]]
        .isna()
        .all(axis=None)
    )


def test_without_the_table_nothing_is_known_of_patients(tmp_path: Path) -> None:
    (lay(tmp_path) / "data.csv").unlink()
    manifest = lgg.read(tmp_path)
    assert manifest.frame[["histology", "grade", "gender", "age"]].isna().all(axis=None)
    assert any("data.csv is missing" in note for note in manifest.notes)


def test_a_gap_keeps_the_place_of_later_slices(tmp_path: Path) -> None:
    (lay(tmp_path) / FIRST / f"{FIRST}_3.tif").unlink()
    frame = lgg.read(tmp_path).frame
    assert frame.loc[frame["case"] == f"{FIRST}/4", "slice"].tolist() == [3]
    assert found(tmp_path)["numbers of slices are missing between the first and the last of a patient"] == (
        "missing",
        1,
        (f"{FIRST}_3",),
    )


# The spacing that somebody adds


def test_no_spacing_is_invented(manifest: Manifest) -> None:
    assert manifest.frame["spacing"].isna().all()
    assert any("mm are undefined" in note for note in manifest.notes)


@pytest.mark.parametrize("who", ["TCGA_CS_4942", FIRST])
def test_a_table_of_spacings_is_taken(tmp_path: Path, who: str) -> None:
    (lay(tmp_path) / "spacing.csv").write_text(f"patient,slice_mm,row_mm,column_mm\n{who},5.5,0.9375,0.94\n")
    manifest = lgg.read(tmp_path)
    rows = manifest.frame.groupby("volume")["spacing"].agg(set)
    assert rows[FIRST] == {"5.5 0.9375 0.94"}
    assert manifest.frame.loc[manifest.frame["volume"] == SECOND, "spacing"].isna().all()
    assert not any("mm are undefined" in note for note in manifest.notes)


def test_a_table_of_spacings_may_lie_in_the_folder_that_was_named(tmp_path: Path) -> None:
    lay(tmp_path / "kaggle_3m")
    (tmp_path / "spacing.csv").write_text("patient,slice_mm,row_mm,column_mm\nTCGA_CS_4942,5,1,1\n")
    assert lgg.read(tmp_path).frame["spacing"].notna().sum() == 12


def test_all_faults_of_the_spacings_are_told(tmp_path: Path) -> None:
    rows = "TCGA_CS_4942,0,1,1\nTCGA_HT_A61B,thick,1,1\nTCGA_XX_0000,5,1,1\n"
    (lay(tmp_path) / "spacing.csv").write_text(f"patient,slice_mm,row_mm,column_mm\n{rows}")
    with pytest.raises(DatasetError) as caught:
        lgg.read(tmp_path)
    said = str(caught.value)
    assert all(
        each in said for each in ("3 rows", "TCGA_CS_4942: 0, 1, 1", "thick", "TCGA_XX_0000", "spacing.csv")
    )


def test_a_table_without_its_columns_is_refused(tmp_path: Path) -> None:
    (lay(tmp_path) / "spacing.csv").write_text("patient,thickness\nTCGA_CS_4942,5\n")
    with pytest.raises(DatasetError, match="no column slice_mm, row_mm, column_mm"):
        lgg.read(tmp_path)


# The archive


@pytest.mark.parametrize("below", ["", "kaggle_3m", "lgg-mri-segmentation/kaggle_3m"])
def test_the_root_or_a_folder_above_it_will_do(tmp_path: Path, below: str) -> None:
    lay(tmp_path / below)
    manifest = lgg.read(tmp_path)
    assert manifest.root == tmp_path / below
    assert len(manifest) == 14


@pytest.mark.parametrize("named", ["", "kaggle_3m"])
def test_the_tree_that_the_archive_holds_twice_is_read_once_and_found(tmp_path: Path, named: str) -> None:
    lay(tmp_path / "kaggle_3m")
    shutil.copytree(tmp_path / "kaggle_3m", tmp_path / "lgg-mri-segmentation" / "kaggle_3m")
    manifest = lgg.read(tmp_path / named)
    assert manifest.root == tmp_path / "kaggle_3m"
    assert len(manifest) == 14
    assert any("twice" in note for note in manifest.notes)
    (copy,) = [each for each in lgg.findings(tmp_path / named) if each.kind == "duplicate"]
    assert copy.where == str(tmp_path / "lgg-mri-segmentation" / "kaggle_3m")
    assert "the same byte for byte in all 28 files" in copy.what


def test_a_copy_that_differs_is_told_apart(tmp_path: Path) -> None:
    lay(tmp_path / "kaggle_3m")
    copy = tmp_path / "lgg-mri-segmentation" / "kaggle_3m"
    shutil.copytree(tmp_path / "kaggle_3m", copy)
    for place, content in ((tmp_path / "kaggle_3m", b"A"), (copy, b"B")):  # of one size and time
        (place / FIRST / f"{FIRST}_2.tif").write_bytes(content)
        os.utime(place / FIRST / f"{FIRST}_2.tif", (0, 0))
    (copy / SECOND / f"{SECOND}_1.tif").unlink()
    (told,) = [each for each in lgg.findings(tmp_path) if each.kind == "duplicate"]
    assert "1 of 27 files in both copies differ; 1 are missing there, 0 are only there" in told.what
    assert told.examples == (f"{FIRST}/{FIRST}_2.tif",)


# What is found


def test_halves_that_lack_the_other_are_found(tmp_path: Path) -> None:
    lay(tmp_path)
    (tmp_path / FIRST / f"{FIRST}_5_mask.tif").unlink()
    (tmp_path / SECOND / f"{SECOND}_7_mask.tif").write_bytes(b"")
    (tmp_path / "TCGA_DU_5855_19951217").mkdir()
    manifest = lgg.read(tmp_path)
    assert len(manifest) == 14
    assert manifest.frame.loc[manifest.frame["mask"].isna(), "case"].tolist() == [f"{FIRST}/5"]
    told = found(tmp_path)
    assert told["slices have no mask"][1:] == (1, (f"{FIRST}/{FIRST}_5.tif",))
    assert told["masks have no slice and are left out"][1:] == (1, (f"{SECOND}/{SECOND}_7_mask.tif",))
    assert told["folders of patients hold no image"][2] == ("TCGA_DU_5855_19951217",)
    assert told["patients are missing in data.csv"][2] == ("TCGA_DU_5855",)


def test_a_sequence_that_flair_stands_for_is_found(tmp_path: Path) -> None:
    lay(tmp_path, slices=2)
    for number, channels in ((1, (9, 9, 30)), (2, (70, 70, 70))):
        draw(tmp_path / FIRST / f"{FIRST}_{number}.tif", channels)
        draw(tmp_path / SECOND / f"{SECOND}_{number}.tif", (5, 80, 80))
    equal = {each.where: each.examples for each in lgg.findings(tmp_path) if "FLAIR" in each.what}
    assert equal == {"channel 0 (pre-contrast)": (FIRST,), "channel 2 (post-contrast)": (SECOND,)}


def test_a_sound_set_is_found_sound(tmp_path: Path) -> None:
    lay(tmp_path)
    assert not list(lgg.findings(tmp_path))


# What is refused


def test_a_mask_of_another_type_is_refused_and_not_taken_for_missing(tmp_path: Path) -> None:
    lay(tmp_path)
    mask = sorted(tmp_path.rglob("*_mask.tif"))[0]
    mask.rename(mask.with_suffix(".JPG"))
    with pytest.raises(DatasetError, match=r"_mask\.JPG: a mask of another type"):
        lgg.read(tmp_path)


def test_all_names_that_cannot_be_read_are_listed(tmp_path: Path) -> None:
    lay(tmp_path)
    bad = [
        f"{FIRST}/scan.tif",
        f"{FIRST}/{SECOND}_3.tif",
        f"{FIRST}/{FIRST}_4_mask (1).tif",
        "TCGA_CS_1234/x.tif",
    ]
    for name in bad:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / FIRST / f"{FIRST}_05.tif").write_bytes(b"")
    with pytest.raises(DatasetError) as caught:
        lgg.read(tmp_path)
    said = str(caught.value)
    assert all(name in said for name in bad[:3])
    assert "TCGA_CS_1234: a folder is" in said
    assert f"{FIRST}_5.tif: {FIRST}_05.tif has the same number" in said
    assert "5 file names" in said


def test_an_age_that_is_no_number_is_named(tmp_path: Path) -> None:
    lay(tmp_path, table=TABLE + "TCGA_CS_4942,1,2,1,old,2\n")
    with pytest.raises(DatasetError, match=r"TCGA_CS_4942: 'old' is no age from 0 to 120 years"):
        lgg.read(tmp_path)


def test_folders_without_pictures_are_told(tmp_path: Path) -> None:
    (tmp_path / FIRST).mkdir()
    with pytest.raises(DatasetError, match="no image"):
        lgg.read(tmp_path)


# The twin


def test_the_twin_has_the_quirks_of_the_set(tmp_path: Path) -> None:
    lgg.synthesize(tmp_path / "twin", cases=60, seed=3)
    manifest = lgg.read(tmp_path / "twin")
    frame = manifest.frame
    sizes = frame.groupby("volume").size()
    assert sizes.sum() == 60 and sizes.min() >= 2 and sizes.max() == 12
    assert frame["path"].str.endswith("_10.tif").any()
    filled = []
    for row in range(60):
        with (
            Image.open(manifest.file(row)) as picture,
            Image.open(manifest.root / frame["mask"][row]) as mask,
        ):
            assert (picture.mode, picture.size, mask.mode, mask.size) == ("RGB", (64, 64), "L", (64, 64))
            values = set(np.unique(np.asarray(mask)).tolist())
        assert values <= {0, 255}
        filled.append(255 in values)
    assert 0.25 < np.mean(filled) < 0.75
    assert frame.assign(filled=filled).groupby("group")["filled"].any().all()
    assert frame["age"].isna().any() and frame["age"].notna().any()
    equal = {each.where[:9]: each.count for each in lgg.findings(tmp_path / "twin")}
    assert equal == {"channel 0": 1, "channel 2": 2}


def test_a_blob_of_the_twin_is_seen_in_flair_alone(tmp_path: Path) -> None:
    lgg.synthesize(tmp_path / "twin", cases=60, seed=1)
    manifest = lgg.read(tmp_path / "twin")
    inside, around = [], []
    for row in range(60):
        pixels = np.asarray(Image.open(manifest.file(row)), dtype=float)
        mask = np.asarray(Image.open(manifest.root / manifest.frame["mask"][row])) > 0
        tissue = (pixels[..., 1] > 40) & ~mask
        if (
            mask.any()
            and (pixels[..., 0] != pixels[..., 1]).any()
            and (pixels[..., 2] != pixels[..., 1]).any()
        ):
            inside.append(pixels[mask].mean(axis=0))
            around.append(np.median(pixels[tissue], axis=0))  # brain, not skull
    pre, flair, post = np.mean(inside, axis=0) - np.mean(around, axis=0)
    assert flair > 35
    assert abs(pre) < flair / 2 and abs(post) < flair / 2


# What the tables say is used, said or refused


def test_patients_are_joined_by_their_normal_form(tmp_path: Path) -> None:
    lay(
        tmp_path, table=TABLE + "\u00a0TCGA_CS_4942 ,1,2,1,44,2\nTCGA_HT_A61B,,,,,\nTCGA_XX_0000,1,1,1,30,1\n"
    )
    manifest = lgg.read(tmp_path)
    assert manifest.frame.groupby("volume")["age"].first()[FIRST] == 44
    notes = "\n".join(manifest.notes)
    assert "data.csv: 1 columns are not used (race)" in notes
    assert "data.csv: 1 of 3 patients have no folder here" in notes


def test_names_that_only_look_alike_are_found_and_not_joined(tmp_path: Path) -> None:
    lay(tmp_path, table=TABLE + "tcga_cs_4942,1.0,2,1,44,2\nTCGA_HT_A61B,1,,,,\n")
    manifest = lgg.read(tmp_path)
    assert manifest.frame.loc[manifest.frame["volume"] == FIRST, "age"].isna().all()
    kind, count, examples = found(tmp_path)["names look alike and count as different"]
    assert (kind, count) == ("contradiction", 2)
    assert examples == (
        "tcga_cs_4942 (data.csv) and TCGA_CS_4942 (folder)",
        "1 and 1.0 (histological_type)",
    )


def test_rows_of_patients_that_cannot_be_used_are_listed(tmp_path: Path) -> None:
    rows = "TCGA_CS_4942,1,2,1,nan years,2\nTCGA_CS_4942,1,3,1,44,2\n,1,1,1,30,1\nTCGA_HT_A61B,1,1,1,150,1\n"
    lay(tmp_path, table=TABLE + rows + "TCGA_HT_A61B,1,1,1,inf,1\n")
    with pytest.raises(DatasetError) as caught:
        lgg.read(tmp_path)
    said = str(caught.value)
    for part in (
        "line 2: TCGA_CS_4942: 'nan years'",
        "line 3: TCGA_CS_4942 is there twice, with other values",
        "line 4: it names no patient",
        "line 5: TCGA_HT_A61B: '150' is no age",
        "'inf' is no age",
    ):
        assert part in said
    lay(tmp_path, table=TABLE + ROWS + ROWS)
    assert "data.csv: 2 rows repeat a patient with the same values" in "\n".join(lgg.read(tmp_path).notes)


def test_spacings_that_disagree_are_refused(tmp_path: Path) -> None:
    head = "patient,slice_mm,row_mm,column_mm\n"
    lay(tmp_path / "kaggle_3m")
    table = tmp_path / "kaggle_3m" / "spacing.csv"
    table.write_text(f"{head}TCGA_CS_4942,5,1,1\n{FIRST},6,1,1\n{SECOND},4,1,1\n{SECOND},4,1,2\n")
    with pytest.raises(DatasetError) as caught:
        lgg.read(tmp_path)
    assert f"{FIRST} has 6 1 1, its patient TCGA_CS_4942 5 1 1" in str(caught.value)
    assert f"line 5: {SECOND} is there twice, with 4 1 1 and 4 1 2" in str(caught.value)
    table.write_text(f"{head}TCGA_CS_4942 ,5,1,1\n")
    (tmp_path / "spacing.csv").write_text(f"{head}TCGA_CS_4942,7,1,1\n")
    with pytest.raises(DatasetError, match="differs from"):
        lgg.read(tmp_path)


def test_folders_and_files_that_are_no_slices_are_named(tmp_path: Path) -> None:
    lay(tmp_path)
    (tmp_path / "notes").mkdir()
    (tmp_path / FIRST / "preview.png").write_bytes(b"")
    (tmp_path / FIRST / "more").mkdir()
    notes = "\n".join(lgg.read(tmp_path).notes)
    assert (
        f"left out: 3 files and folders that are no slice (notes, {FIRST}/more, {FIRST}/preview.png)" in notes
    )
    (tmp_path / "tcga_CS_4944_20010208").mkdir()
    with pytest.raises(DatasetError, match="tcga_CS_4944_20010208: a folder is"):
        lgg.read(tmp_path)


def test_masks_of_the_other_scale_are_said_in_the_notes_of_what_is_run(tmp_path: Path, caplog: Any) -> None:
    from graftwork.common.runs.preparation import _with_scales

    lgg.synthesize(tmp_path / "set", cases=24)
    assert _with_scales(lgg.read(tmp_path / "set")).notes == lgg.read(tmp_path / "set").notes
    for file in sorted(tmp_path.rglob("*_mask.tif")):
        Image.fromarray((np.asarray(Image.open(file)) > 0).astype(np.uint8)).save(file)
    manifest = _with_scales(lgg.read(tmp_path / "set"))
    (said,) = [note for note in manifest.notes if "masks that were looked at" in note]
    assert said.endswith(
        "hold 0 and 1, those of the classes are 0, 255: what is not 0 is read as abnormality"
    )
    assert said in caplog.text
