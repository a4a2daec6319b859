"""Finding published files, whatever lies beside them; and what every made-up set has in common."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from graftwork.common.data.file_layouts import find_folder, folders_below, hidden, listed, walk
from graftwork.common.data.synthetic import MARKER, begin, generator, is_synthetic
from graftwork.common.errors import DatasetError


def lay(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def find(root: Path) -> Path:
    return find_folder(root, lambda place: (place / "list.csv").is_file(), "a table list.csv", "unpack again")


def test_what_archives_and_file_systems_leave_behind_is_hidden() -> None:
    assert all(map(hidden, (".DS_Store", "._a.png", "__MACOSX")))
    assert not any(map(hidden, ("a.png", "_a", "lost+found")))


def test_a_folder_is_found_up_to_two_below_the_higher_ones_first(tmp_path: Path) -> None:
    lay(tmp_path, "__MACOSX/list.csv", ".git/list.csv", "a/b/list.csv")
    assert find(tmp_path) == tmp_path / "a" / "b"
    lay(tmp_path, "z/list.csv")
    assert find(tmp_path) == tmp_path / "z"
    lay(tmp_path, "a/list.csv")
    assert find(tmp_path) == tmp_path / "a"
    lay(tmp_path, "list.csv")
    assert find(tmp_path) == tmp_path


def test_what_was_looked_for_and_found_is_said(tmp_path: Path) -> None:
    lay(tmp_path, "a/b/c/list.csv", ".DS_Store", *(f"f{n}" for n in range(9)))
    with pytest.raises(DatasetError) as caught:
        find(tmp_path)
    said = str(caught.value)
    assert "looked for a table list.csv, here and up to two folders below" in said
    assert "found: a, f0, f1, f2, f3, f4, f5, f6 and 2 more. Unpack again." in said
    assert str(tmp_path) in said
    for place, reason in ((tmp_path / "f0", "is a file, not a folder"), (tmp_path / "x", "no such folder")):
        with pytest.raises(DatasetError, match=f"{reason}; looked for a table"):
            find(place)
    (tmp_path / "empty").mkdir()
    assert listed(tmp_path / "empty") == "nothing"
    assert "cannot be listed" in listed(tmp_path / "x")
    with pytest.raises(DatasetError, match="cannot be listed"):
        folders_below(tmp_path / "f0")


def test_names_that_are_not_unicode_can_be_told(tmp_path: Path) -> None:
    try:
        Path(os.fsdecode(bytes(tmp_path) + b"/a\xff.png")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    assert listed(tmp_path).encode("utf-8") == rb"a\udcff.png"


def test_files_are_walked_in_one_order_and_once(tmp_path: Path) -> None:
    lay(tmp_path, "b/2.png", "b/10.PNG", "a/x.tif", "a/c/.hidden.png", "a/c/y.png", "__MACOSX/z.png", "0.png")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "folder.png").mkdir()
    assert list(walk(tmp_path, (".png",))) == ["0.png", "a/c/y.png", "b/10.PNG", "b/2.png"]
    assert list(walk(tmp_path, (".png", ".tif")))[1] == "a/x.tif"
    with pytest.raises(DatasetError, match="cannot be listed"):
        list(walk(tmp_path / "nowhere", (".png",)))


# Made-up sets


def test_a_made_up_set_is_marked_before_anything_is_drawn(tmp_path: Path) -> None:
    root = begin(str(tmp_path / "new" / "set"), cases=20, seed=1, least=16)
    assert root == tmp_path / "new" / "set"
    assert "SYNTHETIC" in (root / MARKER).read_text() and "cases=20 seed=1" in (root / MARKER).read_text()
    assert is_synthetic(tmp_path, root) and not is_synthetic(tmp_path)
    assert begin(root, cases=20, seed=1, least=16) == root  # goes on with its own
    for folder, cases, seed, reason in (
        (root, 20, 2, "holds something else"),
        (root, 21, 1, "holds something else"),
        (lay(tmp_path / "other", "a.png"), 20, 1, "holds something else"),
        (tmp_path / "other" / "a.png", 20, 1, "is a file, not a folder"),
        (tmp_path / "few", 15, 1, "cases is at least 16, got 15"),
    ):
        with pytest.raises(DatasetError, match=reason):
            begin(folder, cases=cases, seed=seed, least=16)
    assert not (tmp_path / "few").exists()


def test_what_is_drawn_depends_on_names_alone() -> None:
    first = generator("d/x", 0, "case", 1).integers(0, 10**9)
    assert generator("d/x", 0, "case", 1).integers(0, 10**9) == first
    others = [("d/y", 0, "case", 1), ("d/x", 1, "case", 1), ("d/x", 0, "case", 2), ("d/x", 0, "case")]
    assert all(generator(*each).integers(0, 10**9) != first for each in others)
