"""The loader of one's own camera traps: the column map, tables as spreadsheets write them, Camtrap DP packages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from graftwork.common.data.group_keys import group_doubts
from graftwork.common.data.splits import split
from graftwork.common.errors import DatasetError, GraftworkError, TableError
from graftwork.domains.camera_trap import own

MAP = 'table = "labels.csv"\npath = "path"\nlabel = "label"\ngroup = "place"\n'
TABLE = "path,label,place\na/1.jpg,fox,A\na/2.jpg,empty,A\nb/1.jpg,deer,B\n"


def lay(folder: Path, table: str | bytes = TABLE, columns: str = MAP, name: str = "labels.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(table if isinstance(table, bytes) else table.encode())
    if columns:
        (folder / "columns.toml").write_text(columns)
    return folder


def test_the_map_says_what_columns_mean(tmp_path: Path) -> None:
    table = "path,label,place,when,n,by\na.jpg,fox,A,2021-01-01 10:00:00,2,ann\n"
    table += "b.jpg,none,A,2021-01-01 10:00:20,,model\n"
    more = 'time = "when"\ncount = "n"\nsource = "by"\nweak = ["model"]\n'
    manifest = own.read(lay(tmp_path, table + "c.jpg,deer,B,,11-50,ann\n", MAP + more))
    frame = manifest.frame
    assert frame["target"].tolist() == ["fox", "empty", "deer"]
    assert frame["group"].tolist() == ["A", "A", "B"]
    assert frame["event"].tolist() == ["A 2021-01-01 10:00:00"] * 2 + ["c"]
    assert frame["count_target"].fillna("?").tolist() == ["2", "?", "11-50"]
    assert frame["label_source"].tolist() == ["ann", "model", "ann"]
    assert any(each.startswith("weak labels: 1 of 3 labels are 'model'") for each in manifest.notes)
    assert [target.name for target in manifest.targets] == ["species", "empty", "count"]


def test_table_and_pictures_may_lie_elsewhere(tmp_path: Path) -> None:
    lay(tmp_path / "data", columns="")
    (tmp_path / "data" / "a").mkdir()
    for name in ("a/1.jpg", "a/2.jpg"):
        (tmp_path / "data" / name).write_bytes(b"")
    said = MAP.replace('"labels.csv"', json.dumps(str(tmp_path / "data" / "labels.csv")))
    (tmp_path / "map").mkdir()
    (tmp_path / "map" / "columns.toml").write_text(said + f"images = {json.dumps(str(tmp_path / 'data'))}\n")
    manifest = own.read(tmp_path / "map")
    assert manifest.root == tmp_path / "data" and manifest.file(0).is_file()
    assert any("1 of the 3 images" in each for each in manifest.notes)


@pytest.mark.parametrize("outside", ["../labels.csv", "absolute"])
def test_a_table_outside_of_the_data_is_refused_unless_it_is_named(tmp_path: Path, outside: str) -> None:
    (tmp_path / "labels.csv").write_text(TABLE)
    path = str(tmp_path / "labels.csv") if outside == "absolute" else outside
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "columns.toml").write_text(MAP.replace('"labels.csv"', json.dumps(path)))
    with pytest.raises(TableError, match=r"outside of the data folder .* --data .*columns\.toml"):
        own.read(tmp_path / "set")
    assert len(own.read(tmp_path / "set" / "columns.toml")) == 3  # named on the command line


@pytest.mark.parametrize(
    "table",
    [
        b"\xef\xbb\xbf" + TABLE.encode(),
        TABLE.replace(",", ";").replace("\n", "\r\n").encode(),
        TABLE.replace(",", "\t").encode(),
        TABLE.replace("a/", "a\\").replace("b/", ".\\b\\").encode(),
        TABLE.encode() + b"\n ,,\n",
    ],
    ids=["mark", "semicolons", "tabs", "backslashes", "empty lines"],
)
def test_tables_as_spreadsheets_write_them(tmp_path: Path, table: bytes) -> None:
    manifest = own.read(lay(tmp_path, table))
    assert manifest.frame["path"].tolist() == ["a/1.jpg", "a/2.jpg", "b/1.jpg"]
    assert manifest.frame["target"].tolist() == ["fox", "empty", "deer"]
    assert any("backslashes in 3 paths" in each for each in manifest.notes) == (b"\\" in table)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"PK\x03\x04rest", "the zip file is damaged"),
        (b"", "is empty"),
        (
            TABLE.encode() + b"c.jpg,fox\nd.jpg,fox,A,more\n",
            "line 5 has 2 cells, the header has 3\n  line 6 has 4",
        ),
        (b"path,label,label,place\na,b,c,d\n", "the column 'label' is there twice"),
    ],
    ids=["zip", "nothing", "ragged", "columns twice"],
)
def test_what_is_no_such_table_is_refused_kindly(tmp_path: Path, content: bytes, expected: str) -> None:
    with pytest.raises(TableError) as caught:
        own.read(lay(tmp_path, content))
    assert expected in str(caught.value) and "labels.csv" in str(caught.value)


def test_all_faults_of_a_table_at_once_with_their_lines(tmp_path: Path) -> None:
    rows = [
        ",fox,A,",  # 2
        "a.jpg,,A,",
        "b.jpg,fox,,",
        "c.jpg,fox,A,few",  # 5
        "../d.jpg,fox,A,",
        "/elsewhere/e.jpg,fox,A,",
        "C:\\f.jpg,fox,A,",  # 8
        "https://example.org/g.jpg,fox,A,",
        "h.jpg,fox,A,1",
        "./h.jpg,deer,B,1",
    ]
    table = "path,label,place,n\n" + "\n".join(rows) + "\n"
    with pytest.raises(TableError) as caught:
        own.read(lay(tmp_path, table, MAP + 'count = "n"\n'))
    said = str(caught.value)
    for fault in (
        "line 2: path is empty",
        "line 3: label is empty",
        "line 4: group is empty",
        "line 5: count is 'few' (expected a whole number, 11-50 or 51+)",
        "line 6: ../d.jpg leads out",
        "line 7: /elsewhere/e.jpg is not below",
        "line 8: C:\\f.jpg is a path of another machine",
        "line 9: https://example.org/g.jpg is an address",
        "lines 10, 11: one image, h.jpg",
    ):
        assert fault in said, fault


def test_absolute_paths_below_the_pictures_are_made_relative(tmp_path: Path) -> None:
    table = TABLE.replace("a/1.jpg", str(tmp_path / "a" / "1.jpg"))
    assert own.read(lay(tmp_path, table)).frame["path"].iloc[0] == "a/1.jpg"


def test_a_map_with_faults_lists_them_and_shows_a_whole_one(tmp_path: Path) -> None:
    with pytest.raises(TableError) as caught:
        own.read(lay(tmp_path, columns='tabel = "x"\npath = 3\nweak = ["model"]\n'))
    said = str(caught.value)
    for fault in (
        "unknown key 'tabel'; did you mean 'table'?",
        "path is a text, not 3",
        "label is missing",
        "weak",
    ):
        assert fault in said
    assert 'group = "location"' in said
    with pytest.raises(TableError, match=r"column 'place' \(group\) is missing; found: path, label, site"):
        own.read(lay(tmp_path, TABLE.replace("place", "site")))
    with pytest.raises(TableError, match="cannot be read"):
        own.read(lay(tmp_path, columns="path = [\n"))
    with pytest.raises(DatasetError, match=r"folder; columns\.toml names it"):
        own.read(lay(tmp_path, columns=MAP + 'images = "nowhere"\n'))


@pytest.mark.parametrize(
    "header",
    ["filepath,species,location", "File Name;scientificName;deploymentID", "IMAGE\tCategory\tStation"],
)
def test_usual_names_are_taken_and_said(tmp_path: Path, header: str) -> None:
    mark = next(each for each in ",;\t" if each in header)
    rows = TABLE.split("\n", 1)[1].replace(",", mark)
    manifest = own.read(lay(tmp_path, f"{header}\n{rows}", columns=""))
    assert manifest.frame["group"].tolist() == ["A", "A", "B"]
    named = header.split(mark)
    assert any(
        f"{named[0]} as path, {named[1]} as label, {named[2]} as group" in each for each in manifest.notes
    )


def test_a_column_called_sequence_is_not_taken_for_an_id(tmp_path: Path) -> None:
    table = "path,species,location,sequence\na.jpg,fox,A,1 2\nb.jpg,fox,A,2 2\nc.jpg,deer,A,1 2\n"
    assert own.read(lay(tmp_path, table, columns="")).frame["event"].nunique() == 3
    times = "path,label,place,when,nth\na.jpg,fox,A,2021-01-01 10:00,1\nb.jpg,deer,A,2021-03-01 10:00,1\n"
    manifest = own.read(lay(tmp_path, times, MAP + 'time = "when"\nsequence = "nth"\n'))
    assert any("1 sequences last longer than 6 h ('1' at A)" in each for each in manifest.notes)


def test_without_usual_names_the_columns_are_listed_and_a_map_is_shown(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        own.read(lay(tmp_path, "bild,tier,ort\na,b,c\n", columns=""))
    assert "labels.csv with the columns bild, tier, ort" in str(caught.value)
    assert 'path = "path"' in str(caught.value)
    lay(tmp_path, TABLE.replace("place", "site"), columns="", name="one.csv")
    lay(tmp_path, TABLE.replace("place", "site"), columns="", name="two.csv")
    with pytest.raises(DatasetError, match=r"found 2: one\.csv, two\.csv"):
        own.read(tmp_path)


def test_no_column_of_locations_may_be_said_aloud(tmp_path: Path) -> None:
    manifest = own.read(lay(tmp_path, columns=MAP.replace('"place"', '""')))
    assert manifest.frame["group"].isna().all()
    with pytest.raises(GraftworkError):
        split(manifest)


def test_labels_that_differ_in_capitals_are_noted(tmp_path: Path) -> None:
    manifest = own.read(lay(tmp_path, TABLE.replace("deer", "Fox")))
    assert any(
        "labels: 1 name, 2 spellings: 'Fox' (1) = 'fox' (1)" in each and "stay different" in each
        for each in manifest.notes
    )


def test_bursts_hold_together_as_a_spreadsheet_writes_their_times(tmp_path: Path) -> None:
    rows = [
        f"{place}{burst}_{frame}.jpg,{'fox' if burst else 'deer'},{place},"
        f"2012/5/{burst + 1} {7 + burst}:23:{10 + frame}"
        for place in "AB"
        for burst in range(4)
        for frame in range(5)
    ]
    table = "path,label,place,when\n" + "\n".join(rows) + "\n"
    manifest = own.read(lay(tmp_path, table, MAP + 'time = "when"\n'))
    frame = manifest.frame
    assert frame["event"].nunique() == 8 and frame["event"].nunique() == frame["case"].str[:2].nunique()
    assert not any("cannot be read" in each for each in manifest.notes)


def test_times_that_cannot_be_read_are_shown_and_what_follows_is_said(tmp_path: Path) -> None:
    table = "path,label,place,when,id\na.jpg,fox,A,2012:05:08 noon,\nb.jpg,deer,A,NA,\nc.jpg,fox,A,noon,s\n"
    more = 'time = "when"\nsequence = "id"\n'
    said = "\n".join(own.read(lay(tmp_path, table, MAP + more)).notes)
    assert "2 times cannot be read, such as '2012:05:08 noon'" in said
    assert "the 1 of them without a sequence stand alone" in said and "`seen`) may be torn" in said
    said = "\n".join(own.read(lay(tmp_path, table.replace("08 noon,", "08 noon,r"), MAP + more)).notes)
    assert "2 times cannot be read" in said and "torn" not in said


@pytest.mark.parametrize("marker", ["NA", "N/A", "NULL", "NaN", "n/a"])
def test_markers_of_what_is_missing_are_no_names(tmp_path: Path, marker: str) -> None:
    more = 'time = "when"\nsequence = "id"\ncount = "n"\n'
    head = "path,label,place,when,id,n\n"
    table = head + f"a.jpg,fox,A,{marker},{marker},{marker}\nb.jpg,deer,A,{marker},{marker},2\n"
    manifest = own.read(lay(tmp_path / "read", table + "c.jpg,fox,B,,,1\n", MAP + more))
    assert manifest.frame["event"].tolist() == ["a", "b", "c"]
    assert manifest.frame["datetime"].isna().all()
    assert manifest.frame["count_target"].fillna("?").tolist() == ["?", "2", "1"]
    assert f"5 cells that say {marker} were read as empty" in manifest.notes
    assert not any("times cannot be read" in each for each in manifest.notes)
    faulty = TABLE + f"c.jpg,{marker},A\nd.jpg,fox,{marker}\n"
    with pytest.raises(TableError) as caught:
        own.read(lay(tmp_path / "refused", faulty))
    assert f"line 5: label is empty (found {marker!r}, expected a name)" in str(caught.value)
    assert f"line 6: group is empty (found {marker!r}, expected a name)" in str(caught.value)


@pytest.mark.parametrize("marker", ["NA", ""])
def test_a_label_that_the_map_calls_empty_is_no_marker(tmp_path: Path, marker: str) -> None:
    table = TABLE + f"c.jpg,{marker},A\n"
    frame = own.read(lay(tmp_path, table, MAP + f'empty = ["empty", "{marker}"]\n')).frame
    assert frame.set_index("path")["target"].to_dict()["c.jpg"] == "empty"


def test_locations_that_are_spelt_alike_are_noted_and_found(tmp_path: Path) -> None:
    places = ["Site 1", "site 1", "Site  1", "1", "01", "1.0", "10", "1.5", "Site 2"]
    rows = [f"{row}.jpg,{'fox' if row % 2 else 'deer'},{place}" for row, place in enumerate(places)]
    lay(tmp_path / "alike", "path,label,place\n" + "\n".join(rows) + "\n")
    manifest = own.read(tmp_path / "alike")
    assert manifest.frame["group"].nunique() == 8  # two spaces are one
    note = next(each for each in manifest.notes if each.startswith("locations: "))
    assert (
        "2 names, 6 spellings: '01' (1) = '1' (1) = '1.0' (1); 'Site  1' (1) = 'Site 1' (1) = 'site 1' (1)"
        in note
    )
    assert "stay different (5 locations)" in note
    (found,) = (each for each in group_doubts(manifest) if each.allowance == "look-alike-groups")
    assert (found.kind, found.severity, found.count) == ("look-alike-groups", "error", 2)
    with pytest.raises(GraftworkError, match="look-alike-groups"):
        split(manifest)
    lay(tmp_path / "sound")
    assert not any("spellings" in each for each in own.read(tmp_path / "sound").notes)


@pytest.mark.parametrize("mark", [";", "|", "\t"])
def test_a_first_line_that_tells_the_separator_is_no_row(tmp_path: Path, mark: str) -> None:
    table = f"\ufeffsep={mark}\r\n" + TABLE.replace(",", mark).replace("\n", "\r\n")
    assert own.read(lay(tmp_path, table)).frame["target"].tolist() == ["fox", "empty", "deer"]
    with pytest.raises(TableError, match="line 6: label is empty"):  # lines are counted as an editor does
        own.read(lay(tmp_path, table + f"c.jpg{mark}{mark}A\r\n"))


# Camtrap DP


def package(folder: Path, media: str, observations: str, deployments: str = "d1,L1\nd2,L2\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    names = ("deployments", "media", "observations")
    resources = [{"name": name, "path": f"{name}.csv"} for name in names]
    (folder / "datapackage.json").write_text(json.dumps({"resources": resources}))
    (folder / "deployments.csv").write_text("deploymentID,locationID\n" + deployments)
    (folder / "media.csv").write_text("mediaID,deploymentID,timestamp,filePath,fileName\n" + media)
    head = "deploymentID,mediaID,eventID,eventStart,eventEnd,observationType,scientificName,count\n"
    (folder / "observations.csv").write_text(head + observations)
    return folder


MEDIA = (
    "m1,d1,2020-05-30T10:00:00Z,pics/1.jpg,1.jpg\n"
    "m2,d1,2020-05-30T12:00:05+02:00,pics/2.jpg,2.jpg\n"
    "m3,d2,2020-05-30T10:00:00Z,https://example.org/file,3.jpg\n"
    "m4,d2,2020-05-30T15:00:00Z,pics/4.jpg,4.jpg\n"
)
OBSERVATIONS = (
    "d1,,e1,2020-05-30T10:00:00Z,2020-05-30T10:00:10Z,animal,Vulpes vulpes,2\n"
    "d1,m1,e1,2020-05-30T10:00:00Z,2020-05-30T10:00:00Z,animal,Vulpes vulpes,1\n"
    "d2,m3,e2,2020-05-30T10:00:00Z,2020-05-30T10:00:00Z,blank,,\n"
    "d2,m4,e3,2020-05-30T15:00:00Z,2020-05-30T15:00:00Z,human,,3\n"
)


def test_a_package_gives_deployment_event_and_what_was_seen(tmp_path: Path) -> None:
    manifest = own.read(package(tmp_path, MEDIA, OBSERVATIONS))
    rows = manifest.frame.set_index("path")
    assert rows["group"].to_dict() == {
        "3.jpg": "L2",
        "pics/1.jpg": "L1",
        "pics/2.jpg": "L1",
        "pics/4.jpg": "L2",
    }
    assert rows.loc["pics/2.jpg", "target"] == "Vulpes vulpes"  # of its event, by its time
    assert rows.loc["pics/2.jpg", "event"] == rows.loc["pics/1.jpg", "event"] == "e1"
    assert rows["target"].to_dict()["3.jpg"] == "empty" and rows["target"].to_dict()["pics/4.jpg"] == "human"
    assert rows["count_target"].fillna("?").to_dict()["pics/2.jpg"] == "?"  # an event's number is no frame's
    assert rows["count_target"].to_dict()["pics/1.jpg"] == "1"
    said = "\n".join(manifest.notes)
    assert "3 of 4 media have observations of their own" in said and "1 media are named by addresses" in said


def test_observations_without_an_id_join_by_deployment_and_time(tmp_path: Path) -> None:
    observations = (
        "d1,,,2020-05-30T09:59:00Z,2020-05-30T10:00:02Z,animal,Vulpes vulpes,1\n"
        "d1,,,2020-05-30T10:00:04Z,2020-05-30T10:01:00Z,blank,,\n"
        "d2,,NA,2020-05-30T09:00:00Z,2020-05-30T11:00:00Z,animal,Vulpes vulpes,1\n"
        "d2,NA,,2020-05-30T09:30:00Z,2020-05-30T10:30:00Z,animal,Meles meles,1\n"  # both while m3 was taken
        "d2,,,2020-05-30T14:00:00Z,2020-05-30T14:01:00Z,animal,Lepus,1\n"  # nothing was taken then
        "d2,,,,,animal,Felis,1\n"
    )
    manifest = own.read(package(tmp_path, MEDIA, observations))
    rows = manifest.frame.set_index("path")
    assert rows["target"].fillna("?").to_dict() == {
        "3.jpg": "?",
        "pics/1.jpg": "Vulpes vulpes",
        "pics/2.jpg": "empty",
        "pics/4.jpg": "?",
    }
    assert rows["species_set"].to_dict()["3.jpg"] == "Meles meles;Vulpes vulpes"
    assert rows["event"].nunique() == 4
    said = "\n".join(manifest.notes)
    assert "2 observations that name neither a medium nor an event are ignored" in said
    assert "NA" not in said


def test_markers_in_a_package_are_no_names(tmp_path: Path) -> None:
    observations = (
        "d1,m1,NA,NA,NA,animal,Vulpes vulpes,NA\nd1,m2,NA,,,animal,NA,2\nd2,m3,NULL,,,blank,NA,NA\n"
    )
    frame = own.read(package(tmp_path, MEDIA, observations)).frame.set_index("path")
    assert frame["target"].fillna("?").to_dict()["pics/2.jpg"] == "?"
    assert not frame["event"].str.contains("NA|NULL").any()


def test_deployments_that_share_a_place_are_noted(tmp_path: Path) -> None:
    manifest = own.read(package(tmp_path, MEDIA, OBSERVATIONS, "d1,L1\nd2,L1\n"))
    assert any("2 deployments share a location" in each for each in manifest.notes)
    assert set(manifest.frame["group"]) == {"L1"}
    (tmp_path / "columns.toml").write_text('group = "deploymentID"\n')
    assert set(own.read(tmp_path).frame["group"]) == {"d1", "d2"}
    (tmp_path / "columns.toml").write_text('group = "place"\n')
    with pytest.raises(TableError, match=r"no column .place. to group by .found deploymentID, locationID"):
        own.read(tmp_path)
    (tmp_path / "columns.toml").write_text('label = "x"\n')
    with pytest.raises(TableError, match="does not fit a data package"):
        own.read(tmp_path)


def test_where_only_some_deployments_have_a_place_each_other_is_one(tmp_path: Path) -> None:
    manifest = own.read(package(tmp_path, MEDIA, OBSERVATIONS, "d1,L1\nd2,\nL1,\n"))
    assert set(manifest.frame["group"]) == {"L1", "d2"}
    assert any("2 of 3 deployments have none" in each for each in manifest.notes)


def test_a_package_that_does_not_join_is_refused(tmp_path: Path) -> None:
    media = MEDIA + "m4,d9,2020-05-30T15:00:00Z,pics/5.jpg,5.jpg\n"
    with pytest.raises(TableError) as caught:
        own.read(package(tmp_path, media, OBSERVATIONS + "d2,m8,e3,,,animal,Felis,1\n"))
    for fault in (
        "mediaID 'm4' is there twice (rows 4 and 5)",
        "deployment 'd9', which is not listed",
        "medium 'm8' is not listed",
    ):
        assert fault in str(caught.value)


def test_the_twin_is_a_table_as_a_spreadsheet_writes_it(tmp_path: Path) -> None:
    own.synthesize(tmp_path, cases=60, seed=1)
    assert (tmp_path / "labels.csv").read_bytes().startswith(b"\xef\xbb\xbfFile;")
    manifest = own.read(tmp_path)
    assert [target.name for target in manifest.targets] == ["species", "empty", "count"]
    said = "\n".join(manifest.notes)
    assert "backslashes in 60 paths" in said and "weak labels: 20 of 60 labels are 'model'" in said
    assert 15 < manifest.frame["event"].nunique() < 45


def test_day_and_time_in_two_columns_are_joined_and_two_ways_to_read_a_date_are_refused(
    tmp_path: Path,
) -> None:
    table = "File,Species,Station,Date,Time\n1.jpg,fox,A,{},10:00:00\n2.jpg,deer,A,{},10:00:30\n3.jpg,fox,B,{},10:00\n"
    for day in ("2024-05-08", "08-May-2024", "8 May 2024", "2024/5/8"):
        frame = own.read(lay(tmp_path / day.replace("/", "-"), table.format(day, day, day), "")).frame
        assert frame["datetime"].tolist() == [f"2024-05-08T10:00:{each}" for each in ("00", "30", "00")]
        assert frame["event"].tolist()[0] == frame["event"].tolist()[1]
    dotted = table.format("08.05.2024", "08.05.2024", "08.05.2024").replace("10:00\n", "10:00:00\n")
    with pytest.raises(
        TableError, match=r"3 times of Date and Time may have the day or the month first .*time_format"
    ):
        own.read(lay(tmp_path / "two-ways", dotted, ""))
    map_ = MAP.replace('"path"', '"File"').replace('"label"', '"Species"').replace('"place"', '"Station"')
    stated = map_ + 'date = "Date"\ntime = "Time"\ntime_format = "%d.%m.%Y %H:%M:%S"\n'
    assert (
        own.read(lay(tmp_path / "stated", dotted, stated)).frame["datetime"].iloc[0] == "2024-05-08T10:00:00"
    )
    # the stated format goes before what is read without one
    swapped = dotted.replace("08.05.2024", "2024-08-05")
    frame = own.read(lay(tmp_path / "swapped", swapped, stated.replace("%d.%m.%Y", "%Y-%d-%m"))).frame
    assert frame["datetime"].iloc[0] == "2024-05-08T10:00:00"
    with pytest.raises(
        TableError, match=r"3 times of Date and Time do not have the stated format .*'2024-08-05 10:00:00'"
    ):
        own.read(lay(tmp_path / "other", swapped, stated))
    with pytest.raises(TableError, match="without an hour"):
        own.read(lay(tmp_path / "hourless", dotted, stated.replace(" %H:%M:%S", "")))


@pytest.mark.parametrize("name", ["part", "Split", "SET", "fold"])
def test_a_column_of_parts_is_the_publishers_part_or_refused(tmp_path: Path, name: str) -> None:
    table = TABLE.replace("place", f"location,{name}").replace(",A\n", ",A,{}\n").replace(",B\n", ",B,test\n")
    known = table.format("training", "")
    mapped = MAP.replace('"place"', '"location"')
    for number, columns in enumerate(("", mapped, mapped + f'part = "{name}"\n')):
        manifest = own.read(lay(tmp_path / f"known{number}", known, columns))
        assert manifest.frame["part"].fillna("?").tolist() == ["train", "?", "test"]
        assert any(
            f"the publisher's part is the column {name} (training as train)" in each
            for each in manifest.notes
        )
    odd = table.format("A", "A")
    for columns in ("", mapped + f'part = "{name}"\n'):
        with pytest.raises(
            TableError, match=rf"the column {name} does not say the publisher's part \(found A \(2\)"
        ):
            own.read(lay(tmp_path / f"odd{len(columns)}", odd, columns))
    manifest = own.read(lay(tmp_path / "stated", odd, mapped + f'part = "{name}"\nparts = {{A = "train"}}\n'))
    assert manifest.frame["part"].tolist() == ["train", "train", "test"]
    manifest = own.read(lay(tmp_path / "unread", odd, mapped))
    assert manifest.frame["part"].isna().all()
    assert any(f"the column {name} is not read as the publisher's part" in each for each in manifest.notes)
    assert own.read(lay(tmp_path / "off", known, mapped + 'part = ""\n')).frame["part"].isna().all()


def test_who_labelled_counts_and_lists_of_labels_are_not_misread(tmp_path: Path) -> None:
    table = "path,label,place,by,n\na.jpg,fox,A,Model,1\nb.jpg,deer,A,ann,0\nc.jpg,fox; None,B,ann,2\n"
    more = 'source = "by"\nweak = ["model", "robot"]\ncount = "n"\nlabel_separator = ";"\n'
    manifest = own.read(lay(tmp_path / "said", table, MAP + more))
    said = "\n".join(manifest.notes)
    assert (
        "weak labels: 1 of 3 labels are 'Model'" in said
        and "weak names 'robot', which the column by never says" in said
    )
    assert "1 rows name an animal and count 0" in said
    assert "1 frames are labelled both empty and not empty" in said
    lists = TABLE + 'c.jpg,"fox, deer",B\n'
    with pytest.raises(TableError, match=r"labels list several labels of the table: 'fox, deer' \(1\)"):
        own.read(lay(tmp_path / "lists", lists, MAP))


def test_columns_that_cannot_be_told_apart_are_not_guessed_and_a_genus_alone_is_a_label(
    tmp_path: Path,
) -> None:
    table = "File,file,Species,Station\n1.jpg,x/1.jpg,fox,A\n2.jpg,x/2.jpg,deer,B\n"
    with pytest.raises(DatasetError, match="'File' and 'file' are ambiguous"):
        own.read(lay(tmp_path / "rivals", table, ""))
    table = "File,Genus,Species,Station\n1.jpg,Vulpes,vulpes,A\n2.jpg,,empty,A\n3.jpg,Vulpes,,B\n"
    assert own.read(lay(tmp_path / "genus", table, "")).frame["target"].tolist() == [
        "Vulpes vulpes",
        "empty",
        "Vulpes",
    ]


def test_times_with_and_without_an_offset_are_counted(tmp_path: Path) -> None:
    table = TABLE.replace("place", "place,when").replace(",A\n", ",A,2024-05-01T10:00:00Z\n")
    notes = own.read(
        lay(tmp_path, table.replace(",B\n", ",B,2024-05-01 10:00:00\n"), MAP + 'time = "when"\n')
    ).notes
    assert any(each.startswith("2 times have an offset from UTC and 1 have none") for each in notes)
