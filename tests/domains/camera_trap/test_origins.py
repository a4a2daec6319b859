"""Camera traps: who labelled a frame, where its camera stood and whether its time can be right."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from graftwork.common.data.splits import split
from graftwork.common.errors import GraftworkError, TableError
from graftwork.domains.camera_trap import own

HEAD = (
    "deploymentID,mediaID,eventID,eventStart,eventEnd,observationLevel,observationType,scientificName,count"
)
MORE = ",classificationMethod,classifiedBy,classificationProbability"


def package(folder: Path, media: str, seen: str, deployments: str = "d1,L1,,,\nd2,L2,,,\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    names = ("deployments", "media", "observations")
    resources = [{"name": name, "path": f"{name}.csv"} for name in names]
    (folder / "datapackage.json").write_text(json.dumps({"resources": resources}))
    head = "deploymentID,locationID,deploymentStart,deploymentEnd,timestampIssues\n"
    (folder / "deployments.csv").write_text(head + deployments)
    (folder / "media.csv").write_text(
        "mediaID,deploymentID,timestamp,filePath,fileName,fileMediatype\n" + media
    )
    (folder / "observations.csv").write_text(f"{HEAD}{MORE}\n{seen}")
    return folder


def labels(folder: Path) -> dict[str, str]:
    frame = own.read(folder).frame
    return dict(zip(frame["path"], frame["target"].fillna("?"), strict=True))


def said(folder: Path) -> str:
    return "\n".join(own.read(folder).notes)


MEDIA = "".join(
    f"{name},{place},2024-05-0{day}T10:00:00Z,{name}.jpg,,image/jpeg\n"
    for name, place, day in (("a", "d1", 1), ("b", "d1", 2), ("c", "d2", 3))
)


def test_a_persons_row_goes_before_a_machines_and_the_surest_machine_counts(tmp_path: Path) -> None:
    seen = (
        "d1,a,e1,,,media,animal,Vulpes vulpes,1,machine,m1,0.99\n"
        "d1,a,e1,,,media,animal,Meles meles,1.0,human,ann,\n"
        "d1,b,e2,,,media,animal,Vulpes vulpes,1,machine,m1,0.6\n"
        "d1,b,e2,,,media,animal,Lepus,1,machine,m2,0.8\n"
        "d2,,e3,2024-05-03T09:59:00Z,2024-05-03T10:01:00Z,event,animal,Meles meles,1,human,ann,\n"
        "d2,c,e3,,,media,blank,,,machine,m1,0.9\n"
    )
    package(tmp_path, MEDIA, seen)
    assert labels(tmp_path) == {"a.jpg": "Meles meles", "b.jpg": "Lepus", "c.jpg": "Meles meles"}
    frame = own.read(tmp_path).frame
    assert frame["label_source"].tolist() == ["human", "machine", "human"]
    assert "weak labels: 1 of 3 labels are 'machine'" in said(tmp_path)
    assert "2 of 3 media have observations of their own" in said(tmp_path)


def test_a_probability_without_a_method_is_a_machines(tmp_path: Path) -> None:
    seen = "d1,a,e1,,,media,animal,Lepus,1,,x,0.7\nd1,b,e2,,,media,blank,,,,,\nd2,c,e3,,,media,animal,Meles,1,,,\n"
    package(tmp_path, MEDIA, seen)
    assert "1 observations have a probability and no classificationMethod: taken as a machine's" in said(
        tmp_path
    )
    assert own.read(tmp_path).frame["label_source"].fillna("?").tolist() == ["machine", "?", "?"]


def test_events_count_within_their_deployment(tmp_path: Path) -> None:
    seen = "".join(
        f"{place},,1,{day}T09:59:00Z,{day}T10:01:00Z,event,{kind},1,,,\n"
        for place, day, kind in (
            ("d1", "2024-05-01", "animal,Vulpes vulpes"),
            ("d2", "2024-05-03", "animal,Meles meles"),
        )
    )
    package(tmp_path, MEDIA, seen, "d1,L1,,,\nd2,L1,,,\n")  # at one place
    assert labels(tmp_path) == {"a.jpg": "Vulpes vulpes", "b.jpg": "?", "c.jpg": "Meles meles"}
    frame = own.read(tmp_path).frame
    assert frame["event"].tolist()[::2] == ["d1/1", "d2/1"] and set(frame["group"]) == {"L1"}


def test_videos_are_left_out_by_kind_and_folders_are_joined_with_names(tmp_path: Path) -> None:
    media = (
        "a,d1,2024-05-01T10:00:00Z,cards/1,IMG_1.JPG,image/jpeg\n"
        "b,d1,2024-05-01T11:00:00Z,cards/1,IMG_2.JPG,\n"
        "v,d1,2024-05-01T11:30:00Z,v.mp4,,video/mp4\n"
        "w,d2,2024-05-01T12:00:00Z,w.avi,,\n"
        "s,d2,2024-05-01T12:00:00Z,s.wav,,audio/wav\n"
    )
    seen = (
        "d1,a,,,,media,animal,Meles meles,1,,,\nd1,b,,,,media,blank,,,,,\nd2,w,,,,media,animal,Lepus,1,,,\n"
    )
    package(tmp_path, media, seen)
    assert labels(tmp_path) == {"cards/1/IMG_1.JPG": "Meles meles", "cards/1/IMG_2.JPG": "empty"}
    words = said(tmp_path)
    assert "1 medium is no image (audio/wav)" in words and "1 medium is no image (video/mp4)" in words
    assert "(video/x-msvideo)" in words and "1 observations are of media that are left out" in words
    assert "2 media have the folder as filePath" in words


def test_times_that_cannot_be_right_are_unknown_and_counted(tmp_path: Path) -> None:
    soon = (datetime.now(UTC) + timedelta(days=400)).strftime("%Y-%m-%dT%H:%M:%SZ")
    times = [
        "2000-01-01T00:00:05Z",
        "1970-01-01T00:00:09Z",
        soon,
        "2024-06-03T10:00:00Z",
        "2024-05-03T10:00:00Z",
    ]
    media = "".join(f"m{row},d1,{time},{row}.jpg,,\n" for row, time in enumerate(times))
    media += "w1,d2,2024-05-03T10:00:00Z,w1.jpg,,\nw2,d2,2024-05-03T10:00:05Z,w2.jpg,,\n"
    seen = "d1,m0,,,,media,animal,Lepus,1,,,\nd1,m1,,,,media,blank,,,,,\n"
    package(tmp_path, media, seen, "d1,L1,2024-05-01,2024-05-31,false\nd2,L2,,,TRUE\n")
    frame = own.read(tmp_path).frame.set_index("path")
    assert frame["datetime"].notna().to_dict() == {f"{row}.jpg": row == 4 for row in range(5)} | {
        "w1.jpg": False,
        "w2.jpg": False,
    }
    assert frame["event"].nunique() == 7
    words = said(tmp_path)
    for each in (
        "1 time is at a factory date (2000-01-01)",
        "1 time is at a factory date (1970-01-01)",
        "1 time is in the future",
        "1 time is outside of the start and end of their deployment",
        "2 times are said to be wrong (timestampIssues of 1 deployment), and taken as unknown",
    ):
        assert each in words


def test_visits_that_interleave_are_not_one_event(tmp_path: Path) -> None:
    rows = [
        f"A/{visit}/{shot}.jpg,{label},A,2021-05-01 10:00:{2 * shot + late:02d}"
        for visit, label, late in (("visit1", "fox", 0), ("visit2", "blank", 1))
        for shot in range(3)
    ]
    (tmp_path / "labels.csv").write_text("path,species,location,datetime\n" + "\n".join(rows) + "\n")
    manifest = own.read(tmp_path)
    assert manifest.frame["event"].nunique() == 2
    assert manifest.frame.groupby("event")["target"].nunique().max() == 1
    assert any(
        "frames of different folders overlap in time at 1 place (such as A/visit1" in each
        for each in manifest.notes
    )
    # folders that sort frames by what they show are no visits
    (tmp_path / "labels.csv").write_text(
        "path,species,location,datetime\n"
        + "\n".join(rows).replace("visit1", "fox").replace("visit2", "empty")
        + "\n"
    )
    assert own.read(tmp_path).frame["event"].nunique() == 1


def test_timelapse_joins_folder_and_file(tmp_path: Path) -> None:
    rows = [
        f"st,{folder},IMG_{shot}.JPG,{'fox' if shot else 'empty'},{folder[:2]}"
        for folder in ("S1\\\\a", "S1\\\\b", "S2")
        for shot in range(2)
    ]
    (tmp_path / "data.csv").write_text("RootFolder,RelativePath,File,Species,Site\n" + "\n".join(rows) + "\n")
    manifest = own.read(tmp_path)
    assert manifest.frame["path"].tolist()[:2] == ["S1/a/IMG_0.JPG", "S1/a/IMG_1.JPG"]
    assert any("the path is RelativePath and File, joined" in each for each in manifest.notes)
    assert any("columns that are not used: RootFolder" in each for each in manifest.notes)


def test_two_species_in_a_picture_have_two_ways_to_be_written(tmp_path: Path) -> None:
    said = 'table = "t.csv"\npath = "path"\nlabel = "species"\ngroup = "place"\ncount = "n"\n'
    (tmp_path / "t.csv").write_text(
        "path,species,place,n\na.jpg,fox,A,1\na.jpg,deer,A,2\nb.jpg,deer,B,1\nc.jpg,none,B,\n"
    )
    (tmp_path / "columns.toml").write_text(said)
    with pytest.raises(
        TableError, match=r'lines 2, 3: one image, a\.jpg .labels .fox., .deer.*several = "rows"'
    ):
        own.read(tmp_path)
    (tmp_path / "columns.toml").write_text(said + 'several = "rows"\n')
    rows = own.read(tmp_path).frame
    (tmp_path / "columns.toml").write_text(said + 'label_separator = ";"\n')
    (tmp_path / "t.csv").write_text(
        "path,species,place,n\na.jpg,fox; deer,A,3\nb.jpg,deer,B,1\nc.jpg,none,B,\n"
    )
    cells = own.read(tmp_path).frame
    assert rows.astype(str).equals(cells.astype(str))
    assert rows["species_set"].tolist() == ["deer;fox", "deer", ""] and rows["count_target"].tolist()[:2] == [
        "3",
        "1",
    ]
    (tmp_path / "t.csv").write_text("path,species,place,n\na.jpg,fox,A,1\na.jpg,deer,B,2\n")
    (tmp_path / "columns.toml").write_text(said + 'several = "rows"\n')
    with pytest.raises(TableError, match=r"line 3: group of a\.jpg is 'B', and 'A' in line 2"):
        own.read(tmp_path)


def test_an_export_of_wildlife_insights_is_known_by_its_columns(tmp_path: Path) -> None:
    head = "project_id,deployment_id,image_id,filename,location,is_blank,identified_by,"
    head += "genus,species,common_name,timestamp"
    rows = [
        f"1,D{number // 2},i{number},IMG_{number % 2}.JPG,gs://b/{number}.JPG,{int(number == 5)},"
        f"{'Computer vision' if number == 4 else 'Ann'},{names},2024-05-0{1 + number} 10:00:00"
        for number, names in enumerate(
            [
                "Hystrix,cristata,Porcupine",
                "Galerida,cristata,Lark",
                "Genetta,,Genet",
                ",,Cattle",
                "Hystrix,cristata,P",
                ",,",
            ]
        )
    ]
    (tmp_path / "images.csv").write_text(f"{head}\n" + "\n".join(rows) + "\n")
    manifest = own.read(tmp_path)
    assert manifest.frame["path"].tolist()[:2] == ["D0/IMG_0.JPG", "D0/IMG_1.JPG"]
    assert manifest.frame["target"].tolist() == [
        "Hystrix cristata",
        "Galerida cristata",
        "Genetta",
        "Cattle",
        "Hystrix cristata",
        "empty",
    ]
    assert set(manifest.frame["group"]) == {"D0", "D1", "D2"}
    assert any("weak labels: 1 of 6 labels are 'machine'" in each for each in manifest.notes)
    (tmp_path / "deployments.csv").write_text(
        "project_id,deployment_id,placename\n1,D0,Hill\n1,D1,Hill\n1,D2,Lake\n"
    )
    assert set(own.read(tmp_path).frame["group"]) == {"Hill", "Lake"}
    with pytest.raises(GraftworkError):
        split(own.read(tmp_path))


def test_a_column_that_is_no_place_is_not_taken_for_the_location(tmp_path: Path) -> None:
    rows = [f"{n}.jpg,{'fox' if n % 2 else 'deer'},s3://b/{n},S{n % 2}" for n in range(6)]
    (tmp_path / "t.csv").write_text("path,species,location,station\n" + "\n".join(rows) + "\n")
    assert set(own.read(tmp_path).frame["group"]) == {"S0", "S1"}
    (tmp_path / "t.csv").write_text("path,species,location,x\n" + "\n".join(rows) + "\n")
    with pytest.raises(GraftworkError, match="'location' is no place: 6 of 6 values are addresses"):
        own.read(tmp_path)
    (tmp_path / "t.csv").write_text(
        "path,species,location,x\n" + "\n".join(rows).replace("s3://b/", "P") + "\n"
    )
    with pytest.raises(GraftworkError, match="each image has a location of its own, such as 'P0'"):
        own.read(tmp_path)


COLUMN_FAULTS = {
    'several = "both"\n': "several is 'both'",
    "weak = 3\n": "weak is a list of texts, not 3",
    'lable = "x"\n': "unknown key 'lable'",
    'weak = ["m"]\n': "source is missing",
    'images = "gone"\n': "there is no such folder",
    'count = "n"\n': "column 'n' (count) is missing",
    'separator = "::"\n': "the separator is '::'",
    'encoding = "utf-9"\n': "the encoding 'utf-9' is unknown",
}


@pytest.mark.parametrize("line", COLUMN_FAULTS)
def test_each_fault_of_a_map_has_file_key_found_and_remedy(tmp_path: Path, line: str) -> None:
    (tmp_path / "t.csv").write_text("path,species,place\na.jpg,fox,A\nb.jpg,deer,B\n")
    said = 'table = "t.csv"\npath = "path"\nlabel = "species"\ngroup = "place"\n'
    (tmp_path / "columns.toml").write_text(said + line)
    with pytest.raises(GraftworkError) as caught:
        own.read(tmp_path)
    assert COLUMN_FAULTS[line] in caught.value.what and caught.value.where and caught.value.remedy


def test_observations_that_contradict_themselves_are_refused_or_counted(tmp_path: Path) -> None:
    seen = "d1,a,,,,media,blank,Lepus,,,,\nd1,b,,,,media,blank,,,,,\nd2,c,,,,media,animal,Lepus,1,,,\n"
    with pytest.raises(TableError, match=r"row 1: observationType is blank and scientificName 'Lepus'"):
        own.read(package(tmp_path / "both", MEDIA, seen))
    seen = (
        "d1,a,,,,media,animal,Lepus,0,,,\nd1,b,,,,media,animal,Homo sapiens,1,,,\n"
        "d2,c,,,,media,human,Homo sapiens,1,,,\n"
        "d2,c,,,,media,,Lepus,,,,\nd1,,e9,2024-05-03T10:00:00Z,2024-05-02T10:00:00Z,event,animal,Lepus,1,,,\n"
    )
    package(tmp_path, MEDIA, seen, "d1,L1,2024-06-01,2024-04-01,\nd2,L2,,,\n")
    assert labels(tmp_path) == {"a.jpg": "Lepus", "b.jpg": "human", "c.jpg": "human"}
    words = said(tmp_path)
    for each in (
        "1 observations name what was seen and count 0",
        "1 observations of animals name Homo sapiens: taken as human",
        "1 observations have a scientificName and no observationType",
        "1 observations have an eventEnd before their eventStart",
        "1 observations are of events to which no medium belongs",
        "1 deployments end before they start",
    ):
        assert each in words, each
    assert own.read(tmp_path).frame["datetime"].notna().all()


def test_a_package_without_location_ids_is_grouped_by_its_location_names(tmp_path: Path) -> None:
    seen = "d1,a,,,,media,animal,Lepus,1,,,\nd1,b,,,,media,blank,,,,,\nd2,c,,,,media,blank,,,,,\n"
    media = MEDIA.replace("image/jpeg", "JPG")  # a kind without its family is that of the suffix
    package(tmp_path, media, seen)
    (tmp_path / "deployments.csv").write_text("deploymentID,locationName\nd1,Pond\nd2,Pond\n")
    manifest = own.read(tmp_path)
    assert len(manifest) == 3 and set(manifest.frame["group"]) == {"Pond"}
    assert (
        "the location is the locationName of the deployment: no deployment has a locationID" in manifest.notes
    )
    (tmp_path / "deployments.csv").write_text(
        "deploymentID,locationID,locationName\nd1,L1,Pond\nd2,L2,Pond\n"
    )
    assert "1 locationNames belong to several groups (Pond)" in said(tmp_path)
    (tmp_path / "columns.toml").write_text('group = "locationName"\n')
    manifest = own.read(tmp_path)
    assert set(manifest.frame["group"]) == {"Pond"} and not any("ignored" in note for note in manifest.notes)


def test_an_export_that_contradicts_itself_or_names_nothing_is_not_believed(tmp_path: Path) -> None:
    head = "project_id,deployment_id,image_id,filename,location,is_blank,genus,species,common_name\n"
    rows = [
        "p,d1,1,1.jpg,x/1.jpg,1,Vulpes,vulpes,Fox",
        "p,d1,2,2.jpg,x/2.jpg,0,No CV Result,No CV Result,No CV Result",
        "p,d2,3,3.jpg,x/3.jpg,1.0,,,Blank",
        "p,d2,4,4.jpg,x/4.jpg,0,Meles,meles,Badger",
    ]
    (tmp_path / "images.csv").write_text(head + "\n".join(rows) + "\n")
    assert list(labels(tmp_path).values()) == ["?", "?", "empty", "Meles meles"]
    assert "1 frames are labelled both empty and not empty" in said(tmp_path)
    places = "project_id,deployment_id,placename\np,d1,Pond\np,d2,Hill\n"
    (tmp_path / "deployments.csv").write_text(places + "p,d1,Lake\n")
    with pytest.raises(TableError, match="placename of deployment_id 'd1' is 'Lake', and 'Pond' above"):
        own.read(tmp_path)
    (tmp_path / "deployments.csv").write_text(places + "p,d1,Pond\n")
    assert set(own.read(tmp_path).frame["group"]) == {"Pond", "Hill"}
