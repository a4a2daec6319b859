"""The loaders of camera traps on real sets and files: counts, splits, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from real_data import real

from graftwork.common.data import domain
from graftwork.common.data.manifest import Manifest
from graftwork.common.data.splits import split
from graftwork.common.errors import DatasetError, GraftworkError
from graftwork.domains.camera_trap import coco_camera_traps as coco, megadetector, own

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def cct20() -> Manifest:
    return coco.read(real("camera_trap/labels/caltech_cct20"))


def bohner(folder: Path, *more: str) -> Manifest:
    place = real("camera_trap/bohner_small_mammal")
    said = [
        f"table = {json.dumps(str(place / 'labels.csv'))}",
        f"images = {json.dumps(str(place))}",
        'path = "path"\nlabel = "label"\ngroup = "location"\ntime = "datetime"',
        'source = "label_source"\nweak = ["automatic"]',
        *more,
    ]
    (folder / "columns.toml").write_text("\n".join(said) + "\n")
    return own.read(folder)


def test_cct20_is_read_from_its_table_alone(cct20: Manifest) -> None:
    frame = cct20.frame
    assert (len(frame), frame["group"].nunique(), frame["event"].nunique()) == (3484, 10, 1421)
    assert frame["group"].value_counts().to_dict() == {
        "38": 799,
        "43": 520,
        "115": 491,
        "33": 473,
        "88": 352,
        "61": 277,
        "108": 180,
        "51": 165,
        "90": 131,
        "120": 96,
    }
    assert len(cct20.target.classes) == 15
    counted = frame["target"].value_counts().to_dict()
    assert (counted["empty"], counted["rabbit"], counted["deer"], counted["badger"]) == (995, 493, 3, 1)
    assert frame["target"].notna().all()
    assert (frame["empty_target"] == "animal").sum() == 2489
    assert frame["count_target"].value_counts().to_dict() == {"1": 1589, "2": 60, "3": 12, "4": 3, "6": 1}
    assert frame["boxes"].sum() == len(coco.boxes(real("camera_trap/labels/caltech_cct20"))) == 1763
    assert any("no image of the table is there" in note for note in cct20.notes)


def test_cct20_is_split_by_location(cct20: Manifest) -> None:
    for seed in range(3):
        made = split(cct20, validation=0.15, test=0.2, seed=seed)
        assert made.leaks == 0
        assert all(len(made.rows(part)) for part in ("train", "validation", "test"))
        assert sum(len(made.rows(part)) for part in ("train", "validation", "test")) == 3484


def test_the_three_boxes_of_cct20_that_reach_outside_are_found() -> None:
    found = list(coco.findings(real("camera_trap/labels/caltech_cct20")))
    assert [(each.count, each.what) for each in found] == [
        (3, "3 boxes that reach outside the declared size")
    ]


def test_the_card_counts_what_is_there(cct20: Manifest) -> None:
    card = domain.card("camera_trap/coco_camera_traps")
    for label, count in cct20.frame["target"].value_counts().items():
        assert f"| {label} | {count} |" in card
    assert "cases: 3484" in card and "groups: 10" in card


@pytest.mark.parametrize("place", ["camera_trap/ena24_small", "camera_trap/ena24_small/images"])
def test_ena24_has_no_location_and_is_not_split(place: str) -> None:
    manifest = coco.read(real(place))
    assert len(manifest) == 21 and all(manifest.file(row).is_file() for row in range(21))
    assert manifest.frame["group"].isna().all()
    assert len(manifest.target.classes) == 7
    assert any("Squirrel (ids 1, 12), Fox (ids 11, 14)" in note for note in manifest.notes)
    assert any("1 of 21 frames show several species" in note for note in manifest.notes)
    with pytest.raises(DatasetError) as caught:
        split(manifest)
    assert "location" in str(caught.value)


def test_the_whole_of_ena24_is_read() -> None:
    manifest = coco.read(real("camera_trap/labels/ena24"))
    assert len(manifest) == 9676 and len(manifest.target.classes) == 21
    found = {each.what: each.examples for each in coco.findings(real("camera_trap/labels/ena24"))}
    assert found["2 names shared by several categories"] == ("Squirrel (ids 1, 12)", "Fox (ids 11, 14)")
    assert "9676 images without a location" in found


def test_bohner_is_read_by_a_map_that_lies_elsewhere(tmp_path: Path) -> None:
    manifest = bohner(tmp_path)
    frame = manifest.frame
    assert (len(frame), frame["group"].nunique()) == (300, 3)
    assert frame["target"].value_counts().to_dict() == {
        "empty": 237,
        "cricetidae": 57,
        "mus_erm": 4,
        "lem_lem": 2,
    }
    assert all(manifest.file(row).is_file() for row in range(300))
    assert [target.name for target in manifest.targets] == ["species", "empty"]
    assert any("weak labels: 271 of 300 labels are 'automatic'" in note for note in manifest.notes)
    assert (frame["label_source"] == "manual").sum() == 29
    assert frame["event"].nunique() == 241


def test_bohners_column_called_sequence_is_no_id_and_is_noted(tmp_path: Path) -> None:
    manifest = bohner(tmp_path, 'sequence = "sequence"')
    assert manifest.frame["event"].nunique() == 9
    assert any("sequences last longer than 6 h" in note for note in manifest.notes)


@pytest.mark.parametrize(
    ("name", "cases", "groups"),
    [
        ("camtrap_dp_example", 423, 4),
        ("camtrap_dp_v0.1_mica", 283, 4),
        ("zamba_assets/camtrap_dp_small", 4, 2),  # and a video
    ],
)
def test_packages_of_camtrap_dp(name: str, cases: int, groups: int) -> None:
    manifest = own.read(real(f"camera_trap/formats/{name}"))
    assert (len(manifest), manifest.frame["group"].nunique()) == (cases, groups)


def test_the_example_of_camtrap_dp_joins_events_and_media() -> None:
    frame = own.read(real("camera_trap/formats/camtrap_dp_example")).frame
    assert frame["event"].nunique() == 34
    assert frame["target"].value_counts().head(3).to_dict() == {
        "Anas platyrhynchos": 117,
        "empty": 112,
        "human": 33,
    }


def test_a_table_of_pytorch_wildlife_is_guessed() -> None:
    manifest = own.read(real("camera_trap/formats/pytorch_wildlife"))
    assert manifest.frame["group"].nunique() == 3
    assert any("path as path, label as label, Location as group" in note for note in manifest.notes)


@pytest.mark.parametrize("name", ["mewc", "camtrap_dp_parsing_issues"])
def test_what_cannot_be_used_says_why(name: str) -> None:
    with pytest.raises(GraftworkError) as caught:
        own.read(real(f"camera_trap/formats/{name}"))
    assert "empty" in str(caught.value) or "columns.toml" in str(caught.value)


def test_an_export_of_wildlife_insights_is_read() -> None:
    frame = own.read(real("camera_trap/formats/wildlife_insights_export")).frame
    assert (len(frame), frame["group"].nunique()) == (49, 4)
    assert frame["target"].value_counts().head(2).to_dict() == {
        "Nesotragus moschatus": 16,
        "Rhynchocyon chrysopygus": 12,
    }


def test_real_results_of_megadetector_are_read() -> None:
    table = megadetector.read(real("camera_trap/lila_md_test/md_results.json"))
    assert (len(table), table["detections"].sum()) == (31, 79)
    assert (table["animal"] >= 0.2).sum() == 17
    named = megadetector.read(real("camera_trap/formats/zamba_assets/megadetector_output.json"))
    assert named["predicted"].iloc[0] == "bear" and named["score_bear"].iloc[0] == 0.951
