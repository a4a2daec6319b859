"""The loader of kermany: the layouts that people have, what a file name tells, and what is refused."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graftwork.common.data.splits import split
from graftwork.common.data.synthetic import MARKER
from graftwork.common.errors import DatasetError, LeakError
from graftwork.domains.chest_xray import kermany

NAMES = {
    "train/NORMAL/IM-0115-0001.jpeg": ("IM-0115", "normal"),
    "train/NORMAL/NORMAL2-IM-0588-0001.jpeg": ("NORMAL2-IM-0588", "normal"),
    "train/NORMAL/NORMAL2-IM-0588-0001-0002.jpeg": ("NORMAL2-IM-0588", "normal"),
    "train/PNEUMONIA/person1_bacteria_2.jpeg": ("person1", "bacteria"),
    "train/PNEUMONIA/person1_virus_6.jpeg": ("person1", "virus"),
    "train/PNEUMONIA/person447_virus_921_1.jpeg": ("person447", "virus"),
    "val/NORMAL/NORMAL2-IM-1427-0001.jpeg": ("NORMAL2-IM-1427", "normal"),
    "val/PNEUMONIA/person1946_bacteria_4874.jpeg": ("person1946", "bacteria"),
    "test/NORMAL/IM-0001-0001.jpeg": ("IM-0001", "normal"),
    "test/NORMAL/NORMAL2-IM-0115-0001.jpeg": ("NORMAL2-IM-0115", "normal"),
    "test/PNEUMONIA/person1_virus_11.jpeg": ("person1", "virus"),
}


def lay(folder: Path, names: list[str] | None = None) -> Path:
    for name in NAMES if names is None else names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def test_a_name_tells_patient_kind_class_and_part(tmp_path: Path) -> None:
    manifest = kermany.read(lay(tmp_path))
    rows = manifest.frame.set_index("path")
    assert set(rows.index) == set(NAMES)
    for path, (group, kind) in NAMES.items():
        row = rows.loc[path]
        assert (row["group"], row["kind"]) == (group, kind), path
        assert row["target"] == ("normal" if "/NORMAL/" in path else "pneumonia")
        assert row["part"] == {"train": "train", "val": "validation", "test": "test"}[path.split("/")[0]]
        assert row["case"] == path.removesuffix(".jpeg")
    assert manifest.covariates == ("kind",)


def test_the_prefix_is_part_of_the_patient(tmp_path: Path) -> None:
    manifest = kermany.read(lay(tmp_path))
    by_part = manifest.frame.groupby("part")["group"].agg(set)
    assert by_part["train"] & by_part["test"] == {"person1"}  # not IM-0115
    assert any(note.startswith("1 patient ids are in both") for note in manifest.notes)
    with pytest.raises(LeakError, match="person1"):
        split(manifest, by="publisher", validation=0)


@pytest.mark.parametrize("below", ["", "chest_xray", "chest_xray/chest_xray", "my copy"])
def test_the_root_or_a_folder_above_it_will_do(tmp_path: Path, below: str) -> None:
    lay(tmp_path / below)
    manifest = kermany.read(tmp_path)
    assert manifest.root == tmp_path / below
    assert set(manifest.frame["path"]) == set(NAMES)


def test_the_archive_as_it_unpacks_is_read_once(tmp_path: Path) -> None:
    lay(tmp_path / "chest_xray")
    lay(tmp_path / "chest_xray" / "chest_xray")
    litter = tmp_path / "chest_xray" / "__MACOSX" / "chest_xray" / "train" / "NORMAL"
    litter.mkdir(parents=True)
    (litter / "._IM-0115-0001.jpeg").write_bytes(b"")
    (tmp_path / "chest_xray" / "train" / ".DS_Store").write_bytes(b"")
    (tmp_path / "chest_xray" / "chest_xray" / "train" / "NORMAL" / ".DS_Store").write_bytes(b"")
    assert len(kermany.read(tmp_path)) == len(NAMES)


def test_suffixes_in_any_case_and_two_files_of_one_stem(tmp_path: Path) -> None:
    names = [
        *NAMES,
        "train/NORMAL/IM-0116-0001.JPG",
        "train/NORMAL/IM-0117-0001.PNG",
        "train/NORMAL/IM-0117-0001.Jpeg",
    ]
    cases = kermany.read(lay(tmp_path, names)).frame["case"].tolist()
    assert "train/NORMAL/IM-0116-0001" in cases
    assert {"train/NORMAL/IM-0117-0001.PNG", "train/NORMAL/IM-0117-0001.Jpeg"} <= set(cases)


def test_val_may_be_missing_and_is_noted(tmp_path: Path) -> None:
    manifest = kermany.read(lay(tmp_path, [name for name in NAMES if not name.startswith("val")]))
    assert set(manifest.frame["part"]) == {"train", "test"}
    assert "the publisher's folder val is missing" in manifest.notes


def test_all_names_that_cannot_be_read_are_listed(tmp_path: Path) -> None:
    bad = {
        "train/NORMAL/scan1.jpeg",
        "train/NORMAL/person3_virus_7.jpeg",
        "train/PNEUMONIA/IM-0115-0001.jpeg",
        "train/PNEUMONIA/person_bacteria_2.jpeg",
        "train/PNEUMONIA/person2_fungus_2.jpeg",
        "test/PNEUMONIA/person1_bacteria_2 (1).jpeg",
        "val/NORMAL/IM-0115.jpeg",
        "train/PNEUMONIA/person\u0661_virus_1.jpeg",
    }
    with pytest.raises(DatasetError) as caught:
        kermany.read(lay(tmp_path, [*NAMES, *bad]))
    said = str(caught.value)
    lines = {line.strip() for line in said.splitlines()[1:]}
    assert all(any(line.startswith(name) for line in lines) for name in bad)
    assert "8 files or folders are not as published" in said
    assert "train/NORMAL/person3_virus_7.jpeg: a name of the other class" in said
    assert not any(name in said for name in NAMES if name not in bad and "person447" in name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("train/COVID/IM-0116-0001.jpeg", "train/COVID: a folder with 1 image"),
        ("train/normal/IM-0116-0001.jpeg", "train/normal: a folder with 1 image"),
        ("train/NORMAL/sub/IM-0116-0001.jpeg", "train/NORMAL/sub: a folder with 1 image"),
        ("train/IM-0116-0001.jpeg", "train: a folder with 1 image"),
        ("valid/NORMAL/IM-0116-0001.jpeg", "valid/NORMAL: a folder with 1 image"),
        ("test/NORMAL/IM-0115-0001.jpeg", "IM-0115-0001: one name in test/NORMAL and train/NORMAL"),
        ("train/NORMAL/IM-0116-0001.webp", "train/NORMAL/IM-0116-0001.webp: expected one of .jpeg"),
        ("train/NORMAL/IM-0116-0001", "train/NORMAL/IM-0116-0001: expected one of .jpeg"),
    ],
)
def test_images_of_no_known_place_class_or_kind_are_refused(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(DatasetError) as caught:
        kermany.read(lay(tmp_path, [*NAMES, name]))
    assert said in str(caught.value)


def test_files_that_are_no_images_are_counted(tmp_path: Path) -> None:
    manifest = kermany.read(lay(tmp_path, [*NAMES, "train/NORMAL/notes.txt", "sizes.csv", "a/b.txt"]))
    assert (
        "3 files are not used: 1 .csv, 2 .txt (in the folder itself 1, a 1, train 1), such as sizes.csv"
        in manifest.notes
    )


def test_numbers_with_and_without_zeros_are_not_two_patients_in_silence(tmp_path: Path) -> None:
    more = [
        f"{part}/NORMAL/IM-{n}-0001.jpeg"
        for part, n in (("train", "115"), ("train", "0600"), ("test", "601"))
    ]
    with pytest.raises(LeakError, match=r"'IM-0115' \(1 case\) = 'IM-115' \(1 case\).*look-alike-groups"):
        split(kermany.read(lay(tmp_path, [*NAMES, *more])))


def test_a_name_that_is_not_unicode_can_be_told(tmp_path: Path) -> None:
    lay(tmp_path)
    odd = bytes(tmp_path / "train" / "NORMAL") + b"/IM-\xff.jpeg"
    try:
        Path(odd.decode(errors="surrogateescape")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    with pytest.raises(DatasetError) as caught:
        kermany.read(tmp_path)
    assert str(caught.value).encode("utf-8")


@pytest.mark.parametrize("gone", ["train", "test/PNEUMONIA", "train/NORMAL"])
def test_a_missing_folder_is_named(tmp_path: Path, gone: str) -> None:
    lay(tmp_path, [name for name in NAMES if not name.startswith(gone)])
    with pytest.raises(DatasetError) as caught:
        kermany.read(tmp_path)
    assert gone in str(caught.value)
    assert "looked for" in str(caught.value)


def test_another_dataset_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels.csv").write_text("")
    with pytest.raises(DatasetError, match=r"found: images, labels\.csv"):
        kermany.read(tmp_path)


def test_folders_without_pictures_are_told(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for label in ("NORMAL", "PNEUMONIA"):
            (tmp_path / part / label).mkdir(parents=True)
    with pytest.raises(DatasetError, match="no image"):
        kermany.read(tmp_path)


# The twin


def test_the_twin_has_the_quirks_of_the_set(tmp_path: Path) -> None:
    begun = time.process_time()
    kermany.synthesize(tmp_path / "twin", cases=200, seed=3)
    assert time.process_time() - begun < 20  # 1.5 s on an idle core
    manifest = kermany.read(tmp_path / "twin")
    frame = manifest.frame
    assert len(frame) == 200
    names = frame["case"].str.rpartition("/")[2]
    for form in (r"IM-\d+-\d+", r"NORMAL2-IM-\d+-\d+", r"person\d+_bacteria_\d+", r"person\d+_virus_\d+"):
        assert names.str.fullmatch(form).any(), form
    assert names.str.fullmatch(r".*IM-\d+-\d+-\d+").any()
    assert names.str.fullmatch(r"person\d+_\w+_\d+_1").sum() == 1
    assert set(frame["part"]) == {"train", "validation", "test"}
    assert (frame["part"] == "validation").sum() < 20
    shared = frame[frame["target"] == "pneumonia"].groupby("group")
    both = [name for name, rows in shared if {"train", "test"} <= set(rows["part"])]
    assert both
    for name in both:  # never of the same kind on both sides
        rows = frame[frame["group"] == name].groupby("part")["kind"].agg(set)
        assert not rows["train"] & rows["test"]
    shapes, modes = set(), []
    for row in range(len(manifest)):
        with Image.open(manifest.file(row)) as picture:
            shapes.add(picture.size)
            modes.append(picture.mode)
    assert len(shapes) > 100
    aspects = [width / height for width, height in shapes]
    assert min(aspects) < 1.05 and max(aspects) > 1.6
    assert modes.count("RGB") == 1 and set(modes) == {"RGB", "L"}


def test_brightness_alone_does_not_give_the_class_away(tmp_path: Path) -> None:
    kermany.synthesize(tmp_path / "twin", cases=160, seed=1)
    manifest = kermany.read(tmp_path / "twin")
    light = []
    for row in range(len(manifest)):
        with Image.open(manifest.file(row)) as picture:
            light.append(np.asarray(picture.convert("L")).mean())
    values, ill = np.array(light), (manifest.frame["target"] == "pneumonia").to_numpy()
    above = (values[ill][:, None] > values[~ill]).mean() + 0.5 * (values[ill][:, None] == values[~ill]).mean()
    assert 0.3 < above < 0.7


def test_the_twin_may_be_written_again_and_is_marked(tmp_path: Path) -> None:
    kermany.synthesize(tmp_path, cases=20, seed=1)
    kermany.synthesize(tmp_path, cases=20, seed=1)
    with pytest.raises(DatasetError, match="holds something else"):
        kermany.synthesize(tmp_path, cases=20, seed=2)
    assert "SYNTHETIC" in (tmp_path / MARKER).read_text()
    assert kermany.read(tmp_path).notes[0].startswith("synthetic")
    (tmp_path / MARKER).unlink()
    assert not any("synthetic" in note for note in kermany.read(tmp_path).notes)
