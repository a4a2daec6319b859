"""Which files are predicted, and how their rows flow: sorted, merged, of any number."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from small_predictions import picture

from graftwork.common.errors import DatasetError, RunError, UsageError
from graftwork.common.prediction import Outcome
from graftwork.common.prediction.image_list import IDENTITY, Listing, Shard, list_files, shard_of
from graftwork.common.prediction.row_stream import merged, regrouped, without

SUFFIXES = (".jpg", ".png")


def keys(found: Listing) -> list[str]:
    return [str(key) for key in found.keys.to_pylist()]


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


# A folder --------------------------------------------------------------------------------------------------


def test_a_folder_is_listed_by_relative_paths_in_order(tmp_path: Path) -> None:
    long = "n" * 240 + ".png"
    names = ["b/IMG_1.JPG", "a/IMG_1.JPG", "a.png", "a b/ü 鹿.png", f"deep/er/{long}"]
    root = make(tmp_path, *names, "notes.txt", ".hidden.png", ".git/x.png", "__MACOSX/a.png", "._a.png")
    found = list_files(root, SUFFIXES)
    assert keys(found) == sorted(names)
    assert found.root == root
    assert [found.file(row) for row in range(len(found))] == [root / name for name in sorted(names)]


def test_links_are_followed_and_not_in_circles(tmp_path: Path) -> None:
    root = make(tmp_path / "root", "a/x.png")
    elsewhere = make(tmp_path / "elsewhere", "y.png")
    (root / "linked").symlink_to(elsewhere)
    (root / "a" / "up").symlink_to(root)
    assert keys(list_files(root, SUFFIXES)) == ["a/x.png", "linked/y.png"]


def test_what_is_excluded_is_left_out(tmp_path: Path) -> None:
    root = make(tmp_path, "a/x.png", "a/thumbs/x.png", "b/x.png", "b/y.jpg")
    assert keys(list_files(root, SUFFIXES, exclude=["thumbs"])) == ["a/x.png", "b/x.png", "b/y.jpg"]
    assert keys(list_files(root, SUFFIXES, exclude=["b/*", "thumb*"])) == ["a/x.png"]
    assert keys(list_files(root, SUFFIXES, exclude=["*.png"])) == ["b/y.jpg"]
    assert keys(list_files(root, SUFFIXES, apart=root / "b")) == ["a/thumbs/x.png", "a/x.png"]


def test_what_is_no_image_is_counted_by_kind(tmp_path: Path) -> None:
    root = make(
        tmp_path, "100RECNX/RCNX0001.JPG", "100RECNX/RCNX0004.MP4", "b/RCNX0006.mp4", "RCNX0005.AVI", "a.xmp",
        "notes.txt", "IM00001", "Thumbs.db", ".DS_Store", "._x.jpg", ".git/x.png", "thumbs/x.jpg", "out.csv",
        "out.csv.about.json", "out.csv.partial/part.parquet",
    )  # fmt: skip
    found = list_files(root, SUFFIXES, exclude=["thumbs"], out=root / "out.csv")
    assert keys(found) == ["100RECNX/RCNX0001.JPG"]
    assert found.left_out == {
        ".AVI": 1, ".MP4": 2, ".db": 1, ".txt": 1, ".xmp": 1, "excluded": 1, "hidden": 3, "no ending": 1,
    }  # fmt: skip
    assert found.rows(np.array([0])).left_out == found.left_out
    words = Outcome(root / "out.csv", 1, 0, 1, found.left_out).left_out_text
    assert words == (
        "7 skipped that are no images (.AVI 1, .MP4 2, .db 1, .txt 1, .xmp 1, no ending 1); "
        "1 skipped (by --exclude); 3 skipped (hidden)"
    )
    assert list_files(f"{root}/100RECNX/*", SUFFIXES).left_out == {".MP4": 1}
    assert list_files(f"{root}/*/*.JPG", SUFFIXES).left_out == {}  # a pattern says what is asked for
    with pytest.raises(UsageError) as caught:
        list_files(make(tmp_path / "videos", "a.MP4"), SUFFIXES)
    assert "looked for .jpg, .png; other files found: .MP4 1" in caught.value.what
    assert "a .csv or .txt list" in (caught.value.remedy or "")
    (tmp_path / "list.txt").write_text("a.jpg\nb.MP4\na.jpg\n", encoding="utf-8")
    found = list_files(tmp_path / "list.txt", SUFFIXES)
    assert (keys(found), found.left_out) == (["a.jpg", "b.MP4"], {"listed twice": 1})


def test_a_name_that_is_no_unicode_is_listed_and_opened(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.png"
    Path(os.fsdecode(raw)).touch()
    make(tmp_path, "cafz.png")
    found = list_files(tmp_path, SUFFIXES)
    assert keys(found) == ["caf\\xe9.png", "cafz.png"]
    assert os.fsencode(found.file(0)) == raw


def test_one_file_and_patterns(tmp_path: Path) -> None:
    root = make(
        tmp_path, "c1/DCIM/a/1.JPG", "c1/DCIM/2.jpg", "c2/DCIM/a/b/3.jpg", "c2/other/4.jpg", "c1/DCIM/n.txt"
    )
    assert keys(list_files(root / "c1" / "DCIM" / "2.jpg", SUFFIXES)) == ["2.jpg"]
    found = list_files(f"{root}/*/DCIM/**/*.jpg", SUFFIXES)
    assert (found.root, keys(found)) == (root, ["c1/DCIM/2.jpg", "c2/DCIM/a/b/3.jpg"])
    assert keys(list_files(f"{root}/c?/DCIM/*", SUFFIXES)) == ["c1/DCIM/2.jpg"]
    assert keys(list_files(f"{root}/c1/**", SUFFIXES)) == ["DCIM/2.jpg", "DCIM/a/1.JPG"]
    with pytest.raises(UsageError, match="no file to predict"):
        list_files(f"{root}/*/nothing/*", SUFFIXES)
    with pytest.raises(UsageError, match="no such folder"):
        list_files(f"{root}/no/*.jpg", SUFFIXES)


# A list ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.csv", 'id,path\n1,a/ü 鹿.png\n2,"b, c/x.png"\n3,gone.png\n\n4,a/ü 鹿.png\n'),
        ("list.csv", "\ufefffilePath;n\r\na/ü 鹿.png;1\r\nb, c\\x.png;2\r\n./gone.png;3\r\n"),
        ("list.tsv", "n\tFile\n1\ta/ü 鹿.png\n2\tb, c/x.png\n3\ta/../gone.png\n"),
        ("list.txt", "a/ü 鹿.png\n\nb, c/x.png\ngone.png\n"),
    ],
)
def test_a_list_names_the_files(tmp_path: Path, name: str, text: str) -> None:
    make(tmp_path, "a/ü 鹿.png", "b, c/x.png")
    (tmp_path / name).write_bytes(text.encode())
    found = list_files(tmp_path / name, SUFFIXES)
    assert (found.root, keys(found)) == (tmp_path, ["a/ü 鹿.png", "b, c/x.png", "gone.png"])


def test_a_list_of_absolute_paths_says_below_which_folder_they_lie(tmp_path: Path) -> None:
    data = make(tmp_path / "data", "a/x.png", "b/y.png")
    place = make(tmp_path / "lists", "list.txt") / "list.txt"
    place.write_text(f"{data}/a/x.png\n{data}/b/y.png\n")
    with pytest.raises(DatasetError, match="2 files lie outside") as caught:
        list_files(place, SUFFIXES)
    assert f"--root {data}." in str(caught.value)
    assert keys(list_files(place, SUFFIXES, root=data)) == ["a/x.png", "b/y.png"]
    place.write_text("../../x.png")
    with pytest.raises(DatasetError, match="1 files lie outside"):
        list_files(place, SUFFIXES)


def test_a_list_that_is_none_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "list.csv"
    place.write_text("image,label\nx.png,1\n")
    with pytest.raises(DatasetError, match=r"no column path.*image, label"):
        list_files(place, SUFFIXES)
    place.write_bytes("path\ncaf\xe9.png\n".encode("latin-1"))
    with pytest.raises(DatasetError, match="not UTF-8"):
        list_files(place, SUFFIXES)
    place.write_text("path\nhttps://example.org/x.png\n")
    with pytest.raises(DatasetError, match="addresses, not files"):
        list_files(place, SUFFIXES)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('path\na.png\n"oops.png\nb.png\n', r"line 4 cannot be read \(unexpected end of data\)"),
        ('path\n"a.png" b\n', "line 2 cannot be read"),
        ("id,path\n1,a.png\n2\n3,b.png\n4,\n", "2 rows have no path: line 3, 5"),
        ('path\n"a.png\nb.png"\n', r"1 entries have a line break in them, and are not there: 'a\.png\\nb"),
    ],
)
def test_a_list_that_is_broken_is_refused_by_its_lines(tmp_path: Path, text: str, said: str) -> None:
    place = make(tmp_path, "a.png", "b.png") / "list.csv"
    place.write_text(text)
    with pytest.raises(DatasetError, match=said):
        list_files(place, SUFFIXES)


def test_a_line_break_in_a_name_that_is_there_is_part_of_it(tmp_path: Path) -> None:
    place = make(tmp_path, "a\rb.png", "c\nd.png") / "list.csv"
    place.write_bytes(b'path\n"a\rb.png"\n"c\nd.png"\n')
    assert keys(list_files(place, SUFFIXES)) == ["a\rb.png", "c\nd.png"]


def test_masks_that_were_predicted_are_no_pictures(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = make(tmp_path, "x.png", "masks/x.png", "masks/deep/y.png", f"masks/{IDENTITY}")
    assert keys(list_files(root, SUFFIXES)) == ["x.png"]
    assert "2 files are predicted masks and are skipped: masks" in caplog.text
    assert keys(list_files(f"{root}/**/*.png", SUFFIXES)) == ["x.png"]
    (root / "list.txt").write_text("masks/x.png")
    assert keys(list_files(root / "list.txt", SUFFIXES)) == ["masks/x.png"]  # asked for by name


# Shards and rows -------------------------------------------------------------------------------------------


def test_a_path_alone_decides_its_shard() -> None:
    names = [f"card {number % 7}/IMG_{number:04}.JPG" for number in range(4000)]
    shares = [[name for name in names if name in Shard(number, 8)] for number in range(1, 9)]
    assert sorted(name for share in shares for name in share) == sorted(names)
    assert all(400 < len(share) < 600 for share in shares)
    assert "card 3/IMG_0003.JPG" in Shard(8, 8)  # the same on every machine, for ever
    assert str(shard_of(" 2/8")) == "2/8"


def table(files: list[str]) -> pa.Table:
    return pa.table(
        {"file": pa.array(files, pa.string()), "n": pa.array([len(name) for name in files], pa.int64())}
    )


def test_streams_flow_together_in_order_and_in_equal_tables() -> None:
    rng = np.random.default_rng(0)
    files = [f"{number:05}" for number in range(3000)]
    owner = np.repeat(rng.integers(0, 3, 300), 10)
    streams = []
    for number in range(3):
        own = [name for name, of in zip(files, owner, strict=True) if of == number]
        cuts = sorted(rng.integers(0, len(own), 5).tolist())
        streams.append([table(own[start:end]) for start, end in zip([0, *cuts], [*cuts, None], strict=True)])
    flowed = list(regrouped(merged(streams), 512))
    assert [len(each) for each in flowed] == [512] * 5 + [440]
    assert [name for each in flowed for name in each["file"].to_pylist()] == files
    rest = without(iter([table(["a", "b", "c"])]), pa.array(["b"], pa.large_string()))
    assert next(rest)["file"].to_pylist() == ["a", "c"]
    assert list(merged([])) == []
    with pytest.raises(RunError, match="b: it is in two"):
        list(merged([[table(["a", "b"])], [table(["b"])]]))


def test_the_files_of_a_real_folder_of_pictures_are_found(tmp_path: Path) -> None:
    from graftwork.common.data.images import SUFFIXES as PICTURES

    picture(tmp_path / "x.PNG", 0)
    make(tmp_path, "x.nii.gz", "y.json")
    assert keys(list_files(tmp_path, PICTURES)) == ["x.PNG"]
