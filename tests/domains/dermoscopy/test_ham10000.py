"""The loader of dermoscopy/ham10000: its layouts, its groups, and what it refuses."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graftwork.common.data.checks import check
from graftwork.common.data.splits import split
from graftwork.common.errors import DatasetError, LeakError
from graftwork.domains.dermoscopy import ham10000

Rows = list[dict[str, str]]
TABLE = "HAM10000_metadata.csv"


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ham") / "set"
    ham10000.synthesize(folder, cases=60, seed=0)
    return folder


@pytest.fixture
def copy(twin: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(twin, tmp_path / "copy"))


def rewrite(root: Path, change: Callable[[Rows], Rows], separator: str = ",", name: str = TABLE) -> None:
    with (root / TABLE).open(encoding="utf-8", newline="") as file:
        rows = change(list(csv.DictReader(file)))
    (root / TABLE).unlink()
    with (root / name).open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), delimiter=separator)
        table.writeheader()
        table.writerows(rows)


def test_lesions_are_groups_and_diagnoses_are_words(twin: Path) -> None:
    manifest = ham10000.read(twin)
    assert manifest.group == "lesion"
    assert manifest.frame["group"].str.fullmatch(r"HAM_\d{7}").all()
    assert set(manifest.frame["target"]) == set(ham10000.DIAGNOSES.values())
    assert manifest.frame["group"].value_counts().max() >= 2
    assert split(manifest, seed=1).leaks == 0


def test_what_describes_a_case_is_a_covariate_and_unknown_is_missing(twin: Path) -> None:
    manifest = ham10000.read(twin)
    assert manifest.covariates == ("age", "sex", "localization", "dx_type", "mask")
    assert not manifest.frame[["sex", "localization"]].isin(["unknown", ""]).any(axis=None)
    assert manifest.frame["age"].isna().any() and manifest.frame["age"].dtype.kind == "f"
    follow_up = manifest.frame["dx_type"] == "follow_up"
    assert set(manifest.frame["target"][follow_up]) == {"nevus"}


def test_masks_are_known_where_they_lie_below_the_root(twin: Path, copy: Path) -> None:
    manifest = ham10000.read(twin)
    place = twin / manifest.frame["mask"].iloc[0]
    assert manifest.frame["case"].iloc[0] in place.name
    assert 0.01 < np.asarray(Image.open(place).convert("L")).mean() / 255 < 0.9
    shutil.rmtree(copy / "HAM10000_segmentations")
    assert "mask" not in ham10000.read(copy).covariates


@pytest.mark.parametrize("layout", ["together", "nested", "flat"])
def test_pictures_are_found_wherever_they_were_unpacked(copy: Path, twin: Path, layout: str) -> None:
    target = {"together": copy / "images", "nested": copy / "a" / "b ü" / "c", "flat": copy}[layout]
    target.mkdir(parents=True, exist_ok=True)
    for part in ("HAM10000_images_part_1", "HAM10000_images_part_2"):
        for file in (copy / part).iterdir():
            file.rename(target / file.name)
    moved, published = ham10000.read(copy).frame, ham10000.read(twin).frame
    assert moved["case"].equals(published["case"]) and moved["target"].equals(published["target"])
    assert not moved["path"].equals(published["path"])


def test_a_copy_is_read_once_and_found(copy: Path) -> None:
    shutil.copytree(copy / "HAM10000_images_part_1", copy / "all" / "HAM10000_images_part_1")
    assert len(ham10000.read(copy)) == 60
    (found,) = [each for each in ham10000.findings(copy) if each.kind == "copy"]
    assert found.count == 30
    assert ham10000.read(copy).frame["path"].str.startswith("HAM10000_images").all()  # the one less deep


def test_a_second_table_is_found_and_one_that_differs_is_an_error(copy: Path) -> None:
    (copy / "old").mkdir()
    text = (copy / TABLE).read_text()
    (copy / "old" / TABLE).write_text(text)
    assert [(each.kind, each.severity) for each in ham10000.findings(copy)] == [("copy", "warning")]
    (copy / "old" / TABLE).write_text(text.replace(",mel,", ",nv,"))
    assert [(each.kind, each.severity) for each in ham10000.findings(copy)] == [("contradiction", "error")]


def test_rows_without_a_picture_are_left_out_and_said(copy: Path) -> None:
    gone = sorted((copy / "HAM10000_images_part_1").iterdir())[:3]
    for file in gone:
        file.unlink()
    manifest = ham10000.read(copy)
    assert len(manifest) == 57
    assert any(note.startswith("3 rows of the table have no image") for note in manifest.notes)
    (found,) = ham10000.findings(copy)
    assert (found.kind, found.count, found.examples) == ("missing", 3, tuple(file.stem for file in gone))


def test_a_picture_without_a_row_is_found(copy: Path) -> None:
    first = next((copy / "HAM10000_images_part_1").iterdir())
    Image.open(first).rotate(90).save(copy / "ISIC_9999999.jpg")
    found = [each for each in check(ham10000.read(copy), workers=0).findings if each.kind == "unlisted-file"]
    assert [each.examples for each in found] == [("ISIC_9999999.jpg",)]


def test_the_sound_twin_has_no_findings_of_its_own(twin: Path) -> None:
    assert list(ham10000.findings(twin)) == []
    assert {each.kind for each in check(ham10000.read(twin), workers=0).findings} <= {"small-class"}


@pytest.mark.parametrize("name", ["HAM10000_metadata", "HAM10000_metadata.tab"])
def test_the_table_of_the_dataverse_is_read(copy: Path, twin: Path, name: str) -> None:
    rewrite(copy, lambda rows: rows, separator="\t", name=name)
    assert ham10000.read(copy).frame.equals(ham10000.read(twin).frame)


def test_all_faults_of_the_table_are_told_at_once(copy: Path) -> None:
    def spoil(rows: Rows) -> Rows:
        rows[0] = {**rows[0], "dx": "wart"}
        rows[1] = {**rows[1], "image_id": rows[2]["image_id"]}
        rows[3] = {**rows[3], "lesion_id": ""}
        rows[4] = {**rows[4], "age": "old"}
        rows[5] = {**rows[5], "image_id": "IMG_5"}
        rows[-1] = {**rows[-1], "lesion_id": rows[10]["lesion_id"]}
        return rows

    rewrite(copy, spoil)
    with pytest.raises(DatasetError) as caught:
        ham10000.read(copy)
    said = str(caught.value)
    for word in (
        "'wart'",
        "is there twice",
        "lesion_id is empty",
        "'old'",
        "'IMG_5'",
        "two diagnoses",
        TABLE,
    ):
        assert word in said


def test_a_missing_column_is_named(copy: Path) -> None:
    rewrite(copy, lambda rows: [{key: row[key] for key in row if key != "lesion_id"} for row in rows])
    with pytest.raises(DatasetError, match="lesion_id is missing"):
        ham10000.read(copy)


def test_a_table_without_pictures_says_where_to_put_them(copy: Path) -> None:
    for part in ("HAM10000_images_part_1", "HAM10000_images_part_2"):
        shutil.rmtree(copy / part)
    with pytest.raises(DatasetError, match="none of the 60 images"):
        ham10000.read(copy)


# What is not believed


def test_a_trailing_space_makes_no_other_lesion_and_is_said(copy: Path, twin: Path) -> None:
    def space(rows: Rows) -> Rows:
        return [{**row, "lesion_id": row["lesion_id"] + " " * (n % 2)} for n, row in enumerate(rows)]

    rewrite(copy, space)
    manifest = ham10000.read(copy)
    assert manifest.frame.equals(ham10000.read(twin).frame)
    assert any("(30 of `lesion_id`), such as 'HAM_" in note for note in manifest.notes)
    assert split(manifest, seed=0).leaks == 0


def test_other_capitals_are_a_finding_and_no_split_is_made(copy: Path) -> None:
    rewrite(copy, lambda rows: [{**rows[0], "lesion_id": rows[0]["lesion_id"].lower()}, *rows[1:]])
    manifest = ham10000.read(copy)
    (found,) = [each for each in check(manifest, workers=0).findings if each.kind == "look-alike-groups"]
    assert found.severity == "error" and "'HAM_0000001' (" in found.examples[0]
    with pytest.raises(LeakError, match="allow look-alike-groups"):
        split(manifest)


def test_tables_that_disagree_about_a_lesion_or_a_diagnosis_are_refused_by_name(copy: Path) -> None:
    text = (copy / TABLE).read_text()
    (copy / "old").mkdir()
    (copy / "old" / TABLE).write_text(text.replace("HAM_0000001,", "HAM_0000777,"))
    with pytest.raises(
        DatasetError, match=rf"{TABLE} and old/{TABLE} disagree about lesion_id of \d of 60 images"
    ):
        ham10000.read(copy)


@pytest.mark.parametrize("agrees", [True, False])
def test_the_truth_of_the_challenge_is_compared(copy: Path, agrees: bool) -> None:
    with (copy / TABLE).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
    lines = [[row["image_id"], *(f"{float(row['dx'].upper() == name)}" for name in names)] for row in rows]
    if not agrees:
        lines[0] = [lines[0][0], *lines[0][2:], lines[0][1]]
    text = "\n".join(",".join(line) for line in [["image", *names], *lines])
    (copy / "ISIC2018_Task3_Training_GroundTruth.csv").write_text(text)
    if agrees:
        said = "further tables agree with the one that is read"
        name = "ISIC2018_Task3_Training_GroundTruth.csv (dx of 60 images)"
        assert f"{said}: {name}" in ham10000.read(copy).notes
    else:
        with pytest.raises(
            DatasetError, match=r"disagree about dx of 1 of 60 images: ISIC_\d+ \('\w+', '\w+'\)"
        ):
            ham10000.read(copy)


def test_everything_that_is_not_used_is_counted(copy: Path) -> None:
    first = next((copy / "HAM10000_images_part_1").iterdir())
    shutil.copy(first, copy / "ISIC_9999999.jpg")
    (copy / "clinic.jpg").write_bytes(b"")
    (copy / "notes.pdf").write_bytes(b"")
    (copy / "hmnist_28_28_L.csv").write_text("pixel0000,label\n1,2\n")
    (copy / "patients.csv").write_text("who,age\nA,3\n")
    rewrite(copy, lambda rows: [{**row, "dataset": "x"} for row in rows])
    notes = ham10000.read(copy).notes
    for said in (
        "1 image has no row in the table and is not used, such as ISIC_9999999",
        "2 files are not used: 1 .jpg, 1 .pdf (in the folder itself 2), such as clinic.jpg",
        "1 further table is not used (pixels as numbers): hmnist_28_28_L.csv",
        "1 further table is not used (no column image_id, image, isic_id): patients.csv",
        f"{TABLE}: columns that are not used: dataset",
    ):
        assert said in notes


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("dx", "MEL", r"dx is not one of .* \(nearest: 'mel' for 'MEL'\): 'MEL' \(line 2\)"),
        ("sex", "Femal", r"nearest: 'female' for 'Femal'\): 'Femal' \(line 2\)"),
        ("dx_type", "biopsy", r"dx_type is not one of .*'biopsy' \(line 2\)"),
        ("localization", "Back", r"nearest: 'back' for 'Back'"),
        ("age", "55 years", r"0 to 120: '55 years' \(line 2\)"),
    ],
)
def test_unknown_values_are_refused_with_line_and_nearest(
    copy: Path, column: str, value: str, said: str
) -> None:
    rewrite(copy, lambda rows: [{**rows[0], column: value}, *rows[1:]])
    with pytest.raises(DatasetError, match=said):
        ham10000.read(copy)


def test_a_place_that_the_published_table_has_not_is_kept_and_said(copy: Path) -> None:
    rewrite(copy, lambda rows: [{**rows[0], "localization": "eyelid"}, *rows[1:]])
    manifest = ham10000.read(copy)
    assert "eyelid" in set(manifest.frame["localization"])
    assert any(
        "localization has values that the published table has not: 'eyelid' 1" in x for x in manifest.notes
    )


def test_columns_are_found_by_another_spelling_and_never_two_for_one(copy: Path) -> None:
    rewrite(
        copy,
        lambda rows: [{"Lesion ID" if key == "lesion_id" else key: row[key] for key in row} for row in rows],
    )
    assert f"{TABLE}: the column 'Lesion ID' is read as lesion_id" in ham10000.read(copy).notes
    rewrite(copy, lambda rows: [{**row, "lesion_id": "HAM_0000001"} for row in rows])
    with pytest.raises(DatasetError, match="ambiguous columns: 'Lesion ID' and 'lesion_id'"):
        ham10000.read(copy)
