"""The loader of COCO Camera Traps: where the file and the images lie, what is joined, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from graftwork.common.data.group_keys import group_doubts
from graftwork.common.data.splits import split
from graftwork.common.errors import DatasetError
from graftwork.domains.camera_trap import coco_camera_traps as coco
from graftwork.domains.camera_trap.labelling import BINS, bin_of

CATEGORIES = [
    {"id": 0, "name": "empty"},
    {"id": 1, "name": "fox"},
    {"id": 2, "name": "deer"},
    {"id": "12", "name": "Fox"},
]


def image(key: object, name: str, **more: object) -> dict[str, object]:
    return {"id": key, "file_name": name, "width": 100, "height": 80, **more}


def note(key: object, category: object, **more: object) -> dict[str, object]:
    return {"id": f"{key}-{category}-{len(more)}", "image_id": key, "category_id": category, **more}


def lay(
    file: Path, images: list[dict[str, object]], annotations: list[dict[str, object]], **more: object
) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {"images": images, "annotations": annotations, "categories": CATEGORIES, **more}
    file.write_text(json.dumps(content))
    return file


def three(file: Path) -> Path:
    """A file of three frames at two locations."""
    images = [
        image("a", "one/a.jpg", location=1, datetime="2021-01-01 10:00:00"),
        image("b", "one/b.jpg", location=1, datetime="2021-01-01 10:00:30"),
        image("c", "two/c.jpg", location="x", datetime="2021-01-01 10:00:00"),
    ]
    return lay(file, images, [note("a", 1, bbox=[1, 2, 30, 40]), note("b", 0), note("c", 2)])


def pictures(folder: Path, *names: str) -> None:
    for name in names or ("one/a.jpg", "one/b.jpg", "two/c.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_frames_have_species_place_event_and_boxes(tmp_path: Path) -> None:
    three(tmp_path / "set.json")
    pictures(tmp_path)
    manifest = coco.read(tmp_path)
    rows = manifest.frame.set_index("case")
    assert rows["target"].to_dict() == {"one/a": "fox", "one/b": "empty", "two/c": "deer"}
    assert rows["group"].tolist() == ["1", "1", "x"]
    assert rows["empty_target"].tolist() == ["animal", "empty", "animal"]
    assert rows["event"].nunique() == 2 and rows["frame_number"].tolist() == [1, 2, 1]
    assert rows["boxes"].tolist() == [1, 0, 0]
    assert rows["datetime"].iloc[0] == "2021-01-01T10:00:00"
    assert manifest.unit == "event" and manifest.target.classes == ("deer", "empty", "fox")
    assert not any("image of the table" in each for each in manifest.notes)


@pytest.mark.parametrize("place", ["images", "deep/images", "."])
def test_pictures_may_lie_beside_the_file_or_below(tmp_path: Path, place: str) -> None:
    three(tmp_path / "set.json")
    pictures(tmp_path / place)
    manifest = coco.read(tmp_path)
    assert manifest.root == tmp_path / place
    assert all(manifest.file(row).is_file() for row in range(3))


def test_the_folder_of_the_pictures_or_the_file_itself_will_do_as_root(tmp_path: Path) -> None:
    file = three(tmp_path / "set.json")
    pictures(tmp_path / "images")
    assert coco.read(tmp_path / "images").root == tmp_path / "images"
    assert coco.read(file).root == tmp_path / "images"
    lay(tmp_path / "other.json", [image("a", "a.jpg")], [])
    with pytest.raises(DatasetError, match=r"found 2: other\.json, set\.json"):
        coco.read(tmp_path)
    assert len(coco.read(file)) == 3  # then the file says which is meant


def test_a_table_beside_a_folder_of_other_pictures_is_not_taken(tmp_path: Path) -> None:
    three(tmp_path / "set.json")
    pictures(tmp_path / "holiday", "beach.jpg")
    with pytest.raises(DatasetError, match=r"looked for one \.json file"):
        coco.read(tmp_path / "holiday")


def test_other_json_files_are_passed_over_and_named_where_nothing_is_found(tmp_path: Path) -> None:
    (tmp_path / "splits.json").write_text('{"splits": {}}')
    (tmp_path / "broken.json").write_text('{"images": [')
    with pytest.raises(DatasetError) as caught:
        coco.read(tmp_path)
    assert "splits.json (without the list images and annotations and categories)" in str(caught.value)
    assert "broken.json (not readable as JSON" in str(caught.value)
    three(tmp_path / "set.json")
    assert len(coco.read(tmp_path)) == 3


def test_without_any_picture_the_table_is_read_and_some_missing_are_counted(tmp_path: Path) -> None:
    three(tmp_path / "set.json")
    assert any("no image of the table is there" in each for each in coco.read(tmp_path).notes)
    pictures(tmp_path, "one/a.jpg")
    assert any("2 of the 3 images" in each for each in coco.read(tmp_path).notes)


def test_ids_are_joined_however_they_are_written(tmp_path: Path) -> None:
    annotations = [note(7.0, "1", bbox=[0, 0, 5, 5]), note("8", 2.0), note(9, "0")]
    lay(tmp_path / "s.json", [image(7, "a.jpg"), image(8, "b.jpg"), image("9", "c.jpg")], annotations)
    assert coco.read(tmp_path).frame["target"].tolist() == ["fox", "deer", "empty"]


def test_ids_that_a_program_rewrote_are_refused_with_those_that_look_alike(tmp_path: Path) -> None:
    images = [image(1, "a.jpg"), image(2, "b.jpg"), image(3, "c.jpg")]
    lay(tmp_path / "s.json", images, [note("01", 1), note(2, 2), note("99", 2)])
    with pytest.raises(
        DatasetError, match=r"1 image_id not listed but for zeros, case or punctuation: 01 \(1\)"
    ):
        coco.read(tmp_path)


def test_categories_of_one_name_are_one_class_and_said_so(tmp_path: Path) -> None:
    images = [image(1, "a.jpg"), image(2, "b.jpg"), image(3, "c.jpg")]
    lay(tmp_path / "s.json", images, [note(1, 1), note(2, "12"), note(3, 2)])
    manifest = coco.read(tmp_path)
    assert manifest.frame["target"].tolist() == ["fox", "fox", "deer"]
    assert "categories of one name are taken as one class: fox (ids 1, 12)" in manifest.notes


def test_two_species_or_a_contradiction_make_the_species_unknown(tmp_path: Path) -> None:
    images = [image(key, f"{key}.jpg") for key in range(5)]
    annotations = [note(0, 1), note(0, 2), note(1, 0), note(1, 1), note(2, 1), note(3, 0)]
    lay(tmp_path / "s.json", images, annotations)
    manifest = coco.read(tmp_path)
    frame = manifest.frame
    assert frame["target"].isna().tolist() == [True, True, False, False, True]
    assert frame["empty_target"].fillna("?").tolist() == ["animal", "?", "animal", "empty", "?"]
    assert frame["species_set"].tolist() == ["deer;fox", "fox", "fox", "", ""]
    said = "\n".join(manifest.notes)
    assert "1 of 5 frames show several species" in said
    assert "1 frames are labelled both empty and not empty" in said
    assert "1 of 5 frames have no label" in said


def test_how_many_is_told_by_counts_or_boxes_or_not_at_all(tmp_path: Path) -> None:
    box = [0, 0, 5, 5]
    images = [image(key, f"{key}.jpg") for key in range(7)]
    annotations = [
        *[note(0, 1, bbox=box), note(0, 1, bbox=[9, 9, 5, 5])],  # two boxes
        note(1, 1, count=12),
        note(2, 1, count="51+"),
        note(3, 1),  # neither
        *[note(4, 1, bbox=box), note(4, 1)],  # one of two is not told
        note(5, 0),  # empty
        *[note(6, 1, count=3, bbox=box), note(6, 1, count=2)],
    ]
    lay(tmp_path / "s.json", images, annotations)
    manifest = coco.read(tmp_path)
    assert manifest.frame["count_target"].fillna("?").tolist() == ["2", "11-50", "51+", "?", "?", "?", "5"]
    assert manifest.targets[-1].classes == BINS and len(BINS) == 12
    assert "how many animals is known for 4 of 6 frames that show any" in manifest.notes


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, "1"),
        (10, "10"),
        (11, "11-50"),
        (50, "11-50"),
        (51, "51+"),
        ("7", "7"),
        ("11-50", "11-50"),
        (0, ""),
        (-1, ""),
        (2.5, ""),
        ("many", ""),
        ("nan", ""),
        ("inf", ""),
    ],
)
def test_bins_of_counts(count: str | float, expected: str) -> None:
    assert bin_of(count) == expected


def test_a_set_without_locations_is_read_and_never_split_by_location(tmp_path: Path) -> None:
    images = [image(key, f"{key}.jpg") for key in range(6)]
    lay(tmp_path / "s.json", images, [note(key, 1 + key % 2) for key in range(6)])
    manifest = coco.read(tmp_path)
    assert manifest.frame["group"].isna().all()
    assert manifest.frame["event"].nunique() == 6
    with pytest.raises(DatasetError, match="location"):
        split(manifest)


def test_frames_whose_location_is_missing_are_one_location(tmp_path: Path) -> None:
    images = [image(1, "a.jpg", location=3), image(2, "b.jpg"), image(3, "c.jpg", location="")]
    lay(tmp_path / "s.json", images, [note(1, 1), note(2, 2), note(3, 2)])
    manifest = coco.read(tmp_path)
    assert manifest.frame["group"].tolist() == ["3", "(location unknown)", "(location unknown)"]
    assert manifest.frame["event"].nunique() == 3
    assert any("2 frames without a location" in each for each in manifest.notes)


def test_a_sequence_id_that_stands_at_two_locations_is_two_events(tmp_path: Path) -> None:
    images = [image(key, f"{key}.jpg", location=key // 2, seq_id=key % 2) for key in range(4)]
    lay(tmp_path / "s.json", images, [note(key, 1 + key % 2) for key in range(4)])
    assert coco.read(tmp_path).frame["event"].tolist() == ["0/0", "0/1", "1/0", "1/1"]


def test_all_faults_are_listed_at_once(tmp_path: Path) -> None:
    images = [
        image(1, "a.jpg"),
        image(1, "b.jpg"),
        image(2, "a.jpg"),
        image(3, "../c.jpg"),
        image(4, "C:\\d.jpg"),
        {"id": 5},
    ]
    annotations = [note(1, 77), {"id": "x", "category_id": 1}]
    lay(tmp_path / "s.json", images, annotations)
    with pytest.raises(DatasetError) as caught:
        coco.read(tmp_path)
    said = str(caught.value)
    for fault in (
        "1 image whose id belongs to several files: 1 (a.jpg, b.jpg)",
        "1 image of one file under several ids: a.jpg (1, 2)",
        "2 images with a file_name that is not below the folder: 3 (../c.jpg), 4 (C:\\d.jpg)",
        "1 image without an id or a file_name: number 5",
        "1 annotation of a category that is not listed",
        "1 annotation without an image_id or a category_id: number 1",
    ):
        assert fault in said


def test_one_class_is_no_task(tmp_path: Path) -> None:
    lay(tmp_path / "s.json", [image(1, "a.jpg")], [note(1, 1)])
    with pytest.raises(DatasetError, match="at least two classes; the frames of one class show: fox"):
        coco.read(tmp_path)


def test_boxes_are_a_table_of_their_own(tmp_path: Path) -> None:
    three(tmp_path / "s.json")
    table = coco.boxes(tmp_path)
    assert table.to_dict("records") == [
        {"case": "one/a", "category": "fox", "x": 1, "y": 2, "w": 30, "h": 40, "width": 100, "height": 80}
    ]


def test_findings_name_what_only_this_format_can_have_wrong(tmp_path: Path) -> None:
    images = [image(1, "a.jpg", location=1), image(2, "b.jpg"), image(3, "c.jpg", location=1)]
    annotations = [
        note(1, 1, bbox=[90, 0, 20, 5]),
        {"id": "same", "image_id": 1, "category_id": 1},
        {"id": "same", "image_id": 3, "category_id": 2},
        note(3, 0),
        note(99, 1),
    ]
    lay(tmp_path / "s.json", images, annotations)
    found = {each.what.split(" ", 1)[1]: (each.count, each.examples) for each in coco.findings(tmp_path)}
    assert found["boxes that reach outside the declared size"] == (1, ("a.jpg (90, 0, 20, 5)",))
    assert found["annotations of images that are not listed"][0] == 1
    assert found["images without an annotation"] == (1, ("b.jpg",))
    assert found["ids shared by several annotations"] == (1, ("same",))
    assert found["names shared by several categories"] == (1, ("fox (ids 1, 12)",))
    assert found["images called empty and not empty at once"] == (1, ("c.jpg",))
    assert found["images without a location"] == (1, ("b.jpg",))
    three(tmp_path / "whole" / "s.json")
    kinds = [each.what for each in coco.findings(tmp_path / "whole")]
    assert kinds == ["1 names shared by several categories"]


def test_locations_that_are_spelt_alike_are_noted_and_found(tmp_path: Path) -> None:
    images = [
        image(key, f"{key}.jpg", location=place) for key, place in enumerate([1, "01", 1.0, "A", "a ", "b"])
    ]
    lay(tmp_path / "s.json", images, [note(key, 1 + key % 2) for key in range(6)])
    manifest = coco.read(tmp_path)
    assert manifest.frame["group"].tolist() == ["1", "01", "1", "A", "a", "b"]
    assert any(
        "locations: 2 names, 4 spellings: '01' (1) = '1' (2); 'A' (1)" in each for each in manifest.notes
    )
    (doubt,) = (each for each in group_doubts(manifest) if each.allowance == "look-alike-groups")
    assert doubt.count == 2


def test_numbers_beyond_all_bounds_and_broken_text_are_refused_kindly(tmp_path: Path) -> None:
    images = [
        image(0, "\ud800.jpg"),
        {**image(1, "b.jpg"), "width": 10**400},
        image(2, "c.jpg", frame_num=10**30),
        image(3, "d.jpg", frame_num=str(10**30)),
        image(4, "e.jpg"),
    ]
    lay(tmp_path / "s.json", images, [note(4, 1, bbox=[0, 0, -(10**400), 5])])
    with pytest.raises(DatasetError) as caught:
        coco.read(tmp_path)
    said = str(caught.value)
    assert "1 image with a file_name that is broken text: 0 (\\ud800.jpg)" in said
    assert "3 images with a number beyond 64 bits: 1 (width), 2 (frame_num), 3 (frame_num)" in said
    assert "1 annotation with a number beyond 64 bits" in said
    said.encode("utf-8")


def test_broken_text_elsewhere_and_counts_that_are_none_stop_nothing(tmp_path: Path) -> None:
    images = [
        image(key, f"{key}.jpg", location="\ud800", seq_id="\udfff", datetime="\ud800") for key in range(4)
    ]
    annotations = [
        note(0, 1, count="²"),
        note(1, 2, count="9" * 5000),
        note(2, 1, count="²"),
        note(3, 1, count=2),
    ]
    annotations += [note(2, 2, count="9" * 5000), note(3, 2, count=3)]
    lay(tmp_path / "s.json", images, annotations)
    manifest = coco.read(tmp_path)
    assert manifest.frame["group"].unique().tolist() == ["\\ud800"]
    assert manifest.frame.to_csv().encode("utf-8") and "\n".join(manifest.notes).encode("utf-8")
    assert "how many animals is known for 1 of 4 frames that show any" in manifest.notes


def test_the_twin_has_the_quirks_that_it_promises(tmp_path: Path) -> None:
    coco.synthesize(tmp_path, cases=120, seed=3)
    manifest = coco.read(tmp_path)
    frame = manifest.frame
    assert [target.name for target in manifest.targets] == ["species", "empty", "count"]
    assert manifest.target.classes == ("badger", "deer", "empty", "fox", "hare")
    assert frame.loc[frame["target"] == "badger", "group"].nunique() <= frame["group"].nunique() / 3
    assert frame["target"].isna().any() and frame["species_set"].str.contains(";").any()
    assert frame.groupby("event").size().max() == 3
    built = frame["event"].str.startswith("seq-")
    assert built.any() and not built.all()
    assert any(each.what.endswith("outside the declared size") for each in coco.findings(tmp_path))
    # built events are the drawn ones: each lies within seconds
    times = frame.assign(time=frame["datetime"].astype("datetime64[s]")).groupby("event")["time"]
    assert (times.max() - times.min()).dt.total_seconds().max() <= 4
