"""A fuzz of meanings: equivalent ways to write a set give the same manifest, contradictory ones are refused.

Some hundreds of variants by default; GRAFTWORK_MEANINGS=1000 asks for that many of each reader.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import random
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graftwork.common.data.manifest import Manifest
from graftwork.common.errors import GraftworkError
from graftwork.domains.camera_trap import coco_camera_traps as coco, megadetector, own

MANY = int(os.environ.get("GRAFTWORK_MEANINGS", "40"))
Rows = list[dict[str, str]]
PLACES = ("Étang 1", "Wald 2", "North ridge")
SPECIES = ("Vulpes vulpes", "Meles meles", "Genette d’Éthiopie")


def spelt(chance: random.Random, name: str) -> str:
    """A name written in another way that means the same."""
    name = unicodedata.normalize(chance.choice(["NFC", "NFD"]), name)
    inner = chance.choice([" ", "  ", "\u00a0", " \u00a0"])
    return chance.choice(["", " ", "\u00a0"]) + name.replace(" ", inner) + chance.choice(["", " ", "  "])


def essence(manifest: Manifest) -> list[tuple[object, ...]]:
    """What a set means, whatever the order of its rows: path, group, classes, event by its members, time."""
    frame = manifest.frame
    members = frame.groupby(["group", "event"])["path"].agg(tuple).to_dict()
    columns = [name for name in ("path", "group", "target", "species_set", "count_target") if name in frame]
    rows = frame[[*columns, "event", "datetime"]].fillna("?").to_dict("records")
    return sorted(
        (*(row[name] for name in columns), row["datetime"], members[row["group"], row["event"]])
        for row in rows
    )


def table(rows: Rows, chance: random.Random, names: list[str], mark: str = "", head: bool = True) -> bytes:
    """Rows as a table in one of the usual forms, with columns and rows in any order."""
    mark = mark or chance.choice([",", ";", "\t", "|"])
    text = io.StringIO()
    writer = csv.writer(
        text,
        delimiter=mark,
        quoting=chance.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
        lineterminator=chance.choice(["\n", "\r\n"]),
    )
    if head:
        writer.writerow(names)
    writer.writerows([[row.get(name, "") for name in names] for row in rows])
    return text.getvalue().encode(chance.choice(["utf-8", "utf-8-sig"]))


# Tables of one's own


def own_rows() -> Rows:
    return [
        {
            "path": f"{place}/IMG_{number:02d}.JPG",
            "species": "empty" if number == 3 else SPECIES[number % 3],
            "location": PLACES[place],
            "datetime": f"2021-05-0{1 + place} 10:0{number}:{10 * (number % 2):02d}",
            "count": "" if number == 3 else str(1 + number % 2),
        }
        for place in range(3)
        for number in range(4)
    ]


def write_own(folder: Path, rows: Rows, chance: random.Random) -> None:
    names = ["path", "species", "location", "datetime", "count", "weather", "observer"]
    chance.shuffle(names)
    chance.shuffle(rows)
    for row in rows:
        row |= {name: spelt(chance, row[name]) for name in ("species", "location")}
        row["datetime"] = chance.choice(
            [row["datetime"], row["datetime"].replace(" ", "T"), row["datetime"].replace("-", "/")]
        )
        row["count"] = (
            chance.choice([row["count"], f"{row['count']}.0"]) if row["count"] else chance.choice(["", "NA"])
        )
        path = row["path"]
        row["path"] = chance.choice([path, f"./{path}", path.replace("/", "\\"), str(folder / path)])
    content = table(rows, chance, names)
    if chance.random() < 0.2:
        content = content.decode("utf-8-sig").encode("utf-16")
    if chance.random() < 0.2:
        (folder / "labels.csv.gz").write_bytes(gzip.compress(content))
    else:
        (folder / "labels.csv").write_bytes(content)


def test_equivalent_tables_of_ones_own_are_the_same_set(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    chance = random.Random(0)
    (tmp_path / "plain" / "labels.csv").write_bytes(table(own_rows(), chance, list(own_rows()[0]), ","))
    expected = essence(own.read(tmp_path / "plain"))
    assert {row[1] for row in expected} == set(PLACES)
    for seed in range(MANY):
        folder = tmp_path / str(seed)
        folder.mkdir()
        write_own(folder, own_rows(), random.Random(seed))
        assert essence(own.read(folder)) == expected, seed


OWN_FAULTS: dict[str, Callable[[Rows], None]] = {
    "one image": lambda rows: rows.append({**rows[0], "species": "Lepus"}),
    "species.*one image": lambda rows: rows.append({**rows[0], "path": "x.mp3/../" + rows[0]["path"]}),
    "label is empty": lambda rows: rows[1].update(species="NA"),
    "group is empty": lambda rows: rows[1].update(location=""),
    "count is 'few'": lambda rows: rows[1].update(count="few"),
    "leads out": lambda rows: rows[1].update(path="../x.jpg"),
    "is an address": lambda rows: rows[1].update(path="gs://bucket/x.jpg"),
}


@pytest.mark.parametrize("words", OWN_FAULTS)
def test_contradictory_tables_of_ones_own_are_refused(tmp_path: Path, words: str) -> None:
    for seed in range(max(4, MANY // 10)):
        chance = random.Random(seed)
        rows = own_rows()
        OWN_FAULTS[words](rows)
        (tmp_path / "labels.csv").write_bytes(table(rows, chance, sorted(rows[0])))
        with pytest.raises(GraftworkError, match=r"(?s)labels\.csv.*" + words.rpartition(".*")[2]):
            own.read(tmp_path)


# Camtrap DP


def package_rows() -> dict[str, Rows]:
    deployments = [
        {
            "deploymentID": f"d{number}",
            "locationID": PLACES[number % 3],
            "deploymentStart": "2021-01-01",
            "deploymentEnd": "2021-12-31",
        }
        for number in range(4)
    ]
    media: Rows = []
    seen: Rows = []
    for number in range(4):
        for shot in range(3):
            when = f"2021-05-0{1 + number}T10:0{shot}:00Z"
            media.append(
                {"mediaID": f"m{number}{shot}", "deploymentID": f"d{number}", "timestamp": when,
                 "filePath": f"d{number}/{shot}.jpg", "fileMediatype": "image/jpeg"}
            )  # fmt: skip
            row = {"deploymentID": f"d{number}", "eventID": str(shot), "eventStart": when, "eventEnd": when,
                   "observationType": "blank" if shot == 2 else "animal", "observationLevel": "event",
                   "scientificName": "" if shot == 2 else SPECIES[(number + shot) % 3],
                   "count": "" if shot == 2 else "2"}  # fmt: skip
            if shot:
                row |= {"mediaID": f"m{number}{shot}", "observationLevel": "media"}
            seen.append(row)
    return {"deployments": deployments, "media": media, "observations": seen}


def write_package(folder: Path, rows: dict[str, Rows], chance: random.Random) -> None:
    resources: list[dict[str, Any]] = []
    for name, each in rows.items():
        names = [*dict.fromkeys(key for row in each for key in row), "comments"]
        if name == "observations" and "mediaID" not in names:
            names.append("mediaID")
        chance.shuffle(names)
        chance.shuffle(each)
        for row in each:
            for key in ("locationID", "scientificName"):
                if row.get(key):
                    row[key] = spelt(chance, row[key])
            if row.get("count") == "2":
                row["count"] = chance.choice(["2", "2.0"])
        mark = chance.choice([",", ";", "\t", "|"])
        resource: dict[str, Any] = {"name": name, "encoding": "utf-8", "dialect": {"delimiter": mark}}
        schema: dict[str, Any] = {"fields": [{"name": field} for field in names]}
        content = table(each, chance, names, mark)
        if chance.random() < 0.3:
            resource["schema"] = {**schema, "missingValues": ["", "-"]}
            for row in each:
                row["comments"] = "-"
        form = chance.choice(["plain", "gzip", "parts", "headless", "comments", "utf-16"])
        files = {f"{name}.csv": content}
        if form == "gzip":
            files = {f"{name}.csv.gz": gzip.compress(content)}
        elif form == "parts":
            half = len(each) // 2
            again = chance.random() < 0.5
            files = {
                f"data/{name}-1.csv": table(each[:half], chance, names, mark),
                f"data/{name}-2.csv": table(each[half:], chance, names, mark, again),
            }
        elif form == "headless":
            files = {f"{name}.csv": table(each, chance, names, mark, False)}
            resource["dialect"]["header"] = False
            resource["schema"] = schema
        elif form == "comments":
            files = {f"{name}.csv": b"# exported\n" + content.removeprefix(b"\xef\xbb\xbf")}
            resource["dialect"]["commentChar"] = "#"
        elif form == "utf-16":
            resource["encoding"] = "utf-16"
            files = {f"{name}.csv": content.decode("utf-8-sig").encode("utf-16")}
        resource["path"] = list(files) if len(files) > 1 or chance.random() < 0.2 else next(iter(files))
        for path, said in files.items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_bytes(said)
        resources.append(resource)
    chance.shuffle(resources)
    resources.insert(chance.randrange(4), {"name": "individuals", "path": "nowhere.csv"})
    (folder / "old_media.csv").write_text("path,species,location\nx.jpg,fox,A\n")  # nobody names it
    (folder / "datapackage.json").write_text(json.dumps({"resources": resources}))


def test_equivalent_packages_are_the_same_set(tmp_path: Path) -> None:
    expected: list[tuple[object, ...]] = []
    for seed in range(MANY):
        folder = tmp_path / str(seed)
        folder.mkdir()
        write_package(folder, package_rows(), random.Random(seed))
        found = essence(own.read(folder))
        expected = expected or found
        assert found == expected, seed
    assert {row[1] for row in expected} == set(PLACES)
    assert [row[2] for row in expected if row[0] == "d1/0.jpg"] == ["Meles meles"]  # event 0 of d1, not of d0


PACKAGE_FAULTS: dict[str, Callable[[dict[str, Rows]], None]] = {
    "mediaID 'm00' is there twice": lambda rows: rows["media"].append(
        {**rows["media"][0], "filePath": "y.jpg"}
    ),
    "name one file": lambda rows: rows["media"].append({**rows["media"][0], "mediaID": "m99"}),
    "'d9', which is not listed": lambda rows: rows["media"][0].update(deploymentID="d9"),
    "deployment 'd9' is not listed": lambda rows: rows["observations"][0].update(deploymentID="d9"),
    "is of deployment 'd0' in media and of 'd1' here": lambda rows: rows["observations"][1].update(
        deploymentID="d1"
    ),
    "medium 'm77' is not listed": lambda rows: rows["observations"][1].update(mediaID="m77"),
    "observationType is 'beast'": lambda rows: rows["observations"][0].update(observationType="beast"),
    "count is 'few'": lambda rows: rows["observations"][0].update(count="few"),
    "classificationMethod is 'oracle'": lambda rows: rows["observations"][0].update(
        classificationMethod="oracle"
    ),
    "classificationProbability is '61 %'": lambda rows: rows["observations"][0].update(
        classificationProbability="61 %"
    ),
    "timestampIssues of 'd0' is 'perhaps'": lambda rows: rows["deployments"][0].update(
        timestampIssues="perhaps"
    ),
    "deploymentID 'd0' is there twice": lambda rows: rows["deployments"].append(dict(rows["deployments"][0])),
    "filePath of 'm00' is": lambda rows: rows["media"][0].update(filePath="../x.jpg"),
    "mediaID is empty": lambda rows: rows["media"][0].update(mediaID=""),
}


@pytest.mark.parametrize("words", PACKAGE_FAULTS)
def test_contradictory_packages_are_refused_with_the_value(tmp_path: Path, words: str) -> None:
    for seed in range(max(2, MANY // 30)):
        rows = package_rows()
        PACKAGE_FAULTS[words](rows)
        folder = tmp_path / str(seed)
        folder.mkdir()
        write_package(folder, rows, random.Random(seed))
        with pytest.raises(GraftworkError) as caught:
            own.read(folder)
        said = caught.value
        assert words in said.what, said
        assert said.where and said.remedy and "..." not in str(said)


DESCRIPTIONS: dict[str, Any] = {
    "lists no resource media": lambda all_: [each for each in all_ if each["name"] != "media"],
    "have the same name: media": lambda all_: [*all_, all_[1]],
    "there is no such file": lambda all_: [all_[0], {**all_[1], "path": "gone.csv"}, all_[2]],
    "expected the name of a file": lambda all_: [all_[0], {"name": "media", "data": []}, all_[2]],
    "leads out of the package": lambda all_: [all_[0], {**all_[1], "path": "../media.csv"}, all_[2]],
    "is the address": lambda all_: [all_[0], {**all_[1], "path": "https://x.org/media.csv"}, all_[2]],
    "unknown keys separator": lambda all_: [all_[0], {**all_[1], "dialect": {"separator": ";"}}, all_[2]],
    "delimiter is ';;'": lambda all_: [all_[0], {**all_[1], "dialect": {"delimiter": ";;"}}, all_[2]],
    "the encoding 'utf-9' is unknown": lambda all_: [all_[0], {**all_[1], "encoding": "utf-9"}, all_[2]],
    "has no header line, and": lambda all_: [all_[0], {**all_[1], "dialect": {"header": False}}, all_[2]],
    "column mediaID, deploymentID, filePath is missing": lambda all_: [
        all_[0],
        {**all_[1], "dialect": {"delimiter": "|"}},
        all_[2],
    ],
}


@pytest.mark.parametrize("words", DESCRIPTIONS)
def test_descriptions_that_cannot_be_followed_are_refused(tmp_path: Path, words: str) -> None:
    plain = [{"name": name, "path": f"{name}.csv"} for name in ("deployments", "media", "observations")]
    for name, rows in package_rows().items():
        names = list(dict.fromkeys([*(key for row in rows for key in row)]))
        (tmp_path / f"{name}.csv").write_bytes(table(rows, random.Random(1), names, ","))
    (tmp_path / "datapackage.json").write_text(json.dumps({"resources": plain}))
    own.read(tmp_path)
    (tmp_path / "datapackage.json").write_text(json.dumps({"resources": DESCRIPTIONS[words](plain)}))
    with pytest.raises(GraftworkError) as caught:
        own.read(tmp_path)
    assert words in caught.value.what and caught.value.where and caught.value.remedy


# COCO Camera Traps


def coco_content(chance: random.Random | None) -> dict[str, Any]:
    say = (lambda name: spelt(chance, name)) if chance else (lambda name: name)
    key = (
        (lambda number: chance.choice([number, str(number), float(number)]))
        if chance
        else (lambda number: number)
    )
    images = [
        {"id": key(number), "file_name": f"{number}.jpg", "location": say(PLACES[number % 3]),
         "datetime": f"2021-05-01 1{number % 3}:00:{number:02d}"}
        for number in range(12)
    ]  # fmt: skip
    annotations = [
        {"id": f"a{number}", "image_id": key(number), "category_id": key(number % 4)} for number in range(12)
    ]
    categories = [
        {"id": 0, "name": "empty"},
        *({"id": at + 1, "name": say(name)} for at, name in enumerate(SPECIES)),
    ]
    lists = [("images", images), ("annotations", annotations), ("categories", categories)]
    if chance:
        for _, each in lists:
            chance.shuffle(each)
        chance.shuffle(lists)
    return dict(lists)


def test_equivalent_coco_files_are_the_same_set(tmp_path: Path) -> None:
    file = tmp_path / "set.json"
    file.write_text(json.dumps(coco_content(None)))
    expected = essence(coco.read(file))
    for seed in range(MANY):
        chance = random.Random(seed)
        text = json.dumps(
            coco_content(chance), ensure_ascii=chance.random() < 0.5, indent=chance.choice([None, 1])
        )
        file.write_bytes(text.encode(chance.choice(["utf-8", "utf-8-sig"])))
        assert essence(coco.read(file)) == expected, seed


def test_one_category_in_two_spellings_is_one_class_and_said(tmp_path: Path) -> None:
    content = coco_content(None)
    content["categories"] += [{"id": 9, "name": "Meles\u00a0 meles"}]
    content["annotations"][2]["category_id"] = 9
    (tmp_path / "set.json").write_text(json.dumps(content))
    manifest = coco.read(tmp_path)
    assert manifest.target.classes == tuple(sorted([*SPECIES, "empty"]))
    (note,) = (each for each in manifest.notes if each.startswith("categories: 1 name, 2 spellings"))
    assert note.endswith(
        "each is read as one, since its spellings differ in spaces, Unicode form or case alone"
    )


def test_images_that_are_listed_twice_and_differ_are_refused_and_unread_keys_are_said(tmp_path: Path) -> None:
    content = coco_content(None)
    content["images"] += [dict(content["images"][0]), {"id": 77, "file_name": "a.MP4", "weather": "rain"}]
    content["annotations"] += [{"id": "x", "image_id": 77, "category_id": 1}]
    (tmp_path / "set.json").write_text(json.dumps(content))
    manifest = coco.read(tmp_path)
    assert len(manifest) == 12 and "1 file is no image (video/mp4): left out" in manifest.notes
    assert "keys of images that are not read: weather (1)" in manifest.notes
    content["images"][-2]["location"] = "elsewhere"
    (tmp_path / "set.json").write_text(json.dumps(content))
    with pytest.raises(GraftworkError, match="1 image listed twice with other values: 0"):
        coco.read(tmp_path)


# MegaDetector


def results(chance: random.Random | None) -> dict[str, Any]:
    images: list[dict[str, Any]] = [
        {
            "file": f"cam {number % 2}/{number}.jpg",
            "detections": [
                {"category": "1", "conf": round(0.1 * at + 0.05 * number, 3), "bbox": [0, 0, 0.5, 0.5]}
                for at in range(number % 3)
            ],
        }
        for number in range(8)
    ]
    images.append({"file": "cam 0/broken.jpg", "failure": "Failure image access"})
    if chance:
        for each in images[:8]:
            each["detections"] += [{"category": "77", "conf": 0.99, "bbox": [0, 0, 1, 1]}] * chance.randrange(
                2
            )
            chance.shuffle(each["detections"])
            if chance.random() < 0.3:
                images.append({"file": each["file"], "failure": "Failure infer", "detections": None})
            if chance.random() < 0.3:
                images.append(dict(each))
            if chance.random() < 0.5:
                each["file"] = each["file"].replace("/", "\\")
            if chance.random() < 0.5:
                each["max_detection_conf"] = 0.5
        chance.shuffle(images)
    info = {"format_version": chance.choice(["1.0", "1.1", "1.3", "1.4", "1.5", "1.6"])} if chance else {}
    return {"info": info, "detection_categories": {"1": "animal", "2": "person"}, "images": images}


def test_equivalent_results_of_megadetector_are_the_same_scores_and_boxes(tmp_path: Path) -> None:
    file = tmp_path / "md.json"
    keep = ["file", "category", "score", "x", "y", "width", "height", "failure"]

    def told() -> tuple[object, ...]:
        scores, boxes = megadetector.read_scores(file), megadetector.read_boxes(file)
        whole = megadetector.read(file)
        assert scores["score_animal"].tolist() == whole.loc[whole["failure"].isna(), "animal"].tolist()
        plain = boxes[keep].assign(failure=boxes["failure"].notna()).to_dict("split")["data"]
        return sorted(scores.to_dict("split")["data"]), scores.attrs["failed"], sorted(map(str, plain))

    file.write_text(json.dumps(results(None)))
    expected = told()
    assert expected[1] == ("cam 0/broken.jpg",)
    for seed in range(MANY):
        file.write_text(json.dumps(results(random.Random(seed))))
        assert told() == expected, seed


MD_FAULTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "has 2 results that differ": lambda said: said["images"].append(
        {"file": "cam 0/2.jpg", "detections": []}
    ),
    "has the conf '0.9'": lambda said: said["images"][1]["detections"][0].update(conf="0.9"),
    "has no bbox": lambda said: said["images"][1]["detections"][0].pop("bbox"),
    "neither detections nor a failure": lambda said: said["images"][1].pop("detections"),
    "info.format_version is '3'": lambda said: said["info"].update(format_version="3"),
    "without detection_categories": lambda said: said.pop("detection_categories"),
    "expected pairs of a class and a number": lambda said: said["images"][1]["detections"][0].update(
        classifications=[["0", "x"]]
    ),
}


@pytest.mark.parametrize("words", MD_FAULTS)
def test_contradictory_results_of_megadetector_are_refused(tmp_path: Path, words: str) -> None:
    content = results(None)
    MD_FAULTS[words](content)
    (tmp_path / "md.json").write_text(json.dumps(content))
    with pytest.raises(GraftworkError) as caught:
        megadetector.read_scores(tmp_path / "md.json")
    assert words in caught.value.what and caught.value.remedy
    assert "md.json" in str(caught.value)


def test_what_was_left_out_of_results_is_counted(tmp_path: Path) -> None:
    content = results(None)
    content["images"] += [
        {
            "file": "a.mp4",
            "detections": [{"category": "1", "conf": 0.7, "bbox": [0, 0, 1, 1], "frame_number": 3}],
        },
        {"file": "cam 0/0.jpg", "failure": "x"},
    ]
    content["images"][1]["detections"][0]["category"] = "9"
    (tmp_path / "md.json").write_text(json.dumps(content))
    said = " ".join(megadetector.read_scores(tmp_path / "md.json").attrs["notes"])
    for words in (
        "1 detection is of a category",
        "1 files have a failure and a result",
        "1 records are of videos",
    ):
        assert words in said
    boxes = megadetector.read_boxes(tmp_path / "md.json")
    assert "a.mp4" not in set(boxes["file"]) and "1 videos are left out" in " ".join(boxes.attrs["notes"])
