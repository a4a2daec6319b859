"""Files appear whole or not at all; caches forget rather than fail; one process holds a lock."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from graftwork.common import files
from graftwork.common.cache.file_facts import Cache
from graftwork.common.errors import GraftworkError, ImageError, Interrupted, RecipeError, RunError


def test_an_interrupted_write_leaves_the_old_content_and_no_litter(tmp_path: Path) -> None:
    place = tmp_path / "a.txt"
    files.write_text(place, "old")
    with pytest.raises(KeyboardInterrupt), files.writing(place) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert place.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("number", "word"), [(errno.ENOSPC, "full"), (errno.EROFS, "read-only"), (errno.EDQUOT, "quota")]
)
def test_a_full_or_read_only_disk_is_one_typed_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, word: str
) -> None:
    place = tmp_path / "metrics.json"
    files.write_json(place, {"auroc": 0.5})

    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(RunError, match=word) as caught:
        files.write_json(place, {"auroc": 0.9})
    assert str(place) in str(caught.value)
    assert json.loads(place.read_text()) == {"auroc": 0.5}
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_in_the_way_and_a_very_long_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError):
        files.check_writable(tmp_path / "file" / "below")
    with pytest.raises(RunError, match="too long"):
        files.write_text(tmp_path / ("ü" * 300), "x")
    deep = tmp_path.joinpath(*["größe" * 10] * 10) / "résumé 患者.txt"
    files.write_text(deep, "ok")
    assert deep.read_text() == "ok"


def test_written_files_obey_the_umask(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a", "x")
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~mask


def test_nan_never_reaches_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(tmp_path / "a.json", {"auroc": float("nan")})
    assert not list(tmp_path.iterdir())


def test_a_folder_is_swapped_whole(tmp_path: Path) -> None:
    target = tmp_path / "last"
    for content in ("one", "two"):
        with files.swap_folder(target) as folder:
            (folder / "a").write_text(content)
            (folder / "b").write_text(content)
    assert {entry.name: entry.read_text() for entry in target.glob("?")} == {"a": "two", "b": "two"}
    with pytest.raises(ZeroDivisionError), files.swap_folder(target) as folder:
        (folder / "a").write_text("three")
        raise ZeroDivisionError
    assert (target / "a").read_text() == "two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["last"]


@pytest.mark.parametrize("moment", ["before the old is moved", "after the old is moved"])
def test_a_death_between_the_two_renames_is_settled(tmp_path: Path, moment: str) -> None:
    target, ready = tmp_path / "last", tmp_path / "last.new"
    ready.mkdir()
    (ready / "a").write_text("new")
    if moment.startswith("before"):
        target.mkdir()
        (target / "a").write_text("old")
    else:
        (tmp_path / "last.old").mkdir()
    files.settle_folder(target)
    assert (target / "a").read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["last"]


def test_a_lock_dies_with_its_owner(tmp_path: Path) -> None:
    code = (
        "import sys, time; from graftwork.common.files import lock\n"
        "with lock(sys.argv[1], 'busy'):\n print('held', flush=True); time.sleep(60)"
    )
    place = tmp_path / ".lock"
    holder = subprocess.Popen([sys.executable, "-c", code, str(place)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(RunError, match="another process"), files.lock(place, "another process works here"):
        pass
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with files.lock(place, "busy"):
        pass


def test_a_child_that_outlives_its_parent_does_not_keep_the_lock(tmp_path: Path) -> None:
    code = (
        "import os, sys, time; from graftwork.common.files import lock\n"
        "with lock(sys.argv[1], 'busy'):\n"
        " if os.fork() == 0:\n  print('held', flush=True); time.sleep(3); os._exit(0)\n"
        " time.sleep(60)"
    )
    place = tmp_path / ".lock"
    holder = subprocess.Popen([sys.executable, "-c", code, str(place)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(RunError), files.lock(place, "busy"):  # the parent still holds it
        pass
    holder.kill()
    holder.wait()
    with files.lock(place, "busy"):
        pass
    holder.stdout.close()


def test_a_fingerprint_follows_the_content(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(b"one")
    with Cache(tmp_path / "cache") as cache:
        first = cache.fingerprint(picture)
        assert first.sha256 == files.file_sha256(picture)
        cache.remember("key", {"answer": 42})
    picture.write_bytes(b"two!")
    with Cache(tmp_path / "cache") as cache:
        assert cache.fingerprint(picture).sha256 == files.file_sha256(picture) != first.sha256
        assert cache.recall("key") == {"answer": 42}
        assert cache.recall("other") is None


def test_a_cache_that_cannot_be_written_or_is_damaged_only_forgets(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "index.sqlite").write_bytes(b"no database" * 500)
    for folder in (tmp_path / "file" / "below", tmp_path / "damaged"):
        with Cache(folder) as cache:
            cache.remember("key", {"answer": 42})
            assert cache.fingerprint(tmp_path / "file").size == 0


def test_errors_say_what_where_and_what_to_do() -> None:
    error = GraftworkError("expected 3 columns, found 2", where="labels.csv", remedy="add the column group")
    assert str(error) == "labels.csv: expected 3 columns, found 2. Add the column group."
    assert error.exit_code == 2
    assert "\n  training.epochs" in str(RecipeError("2 faults", faults=["training.epochs: x", "seed: y"]))
    assert Interrupted("stopped", exit_code=75).exit_code == 75


def test_an_image_error_crosses_a_process_border() -> None:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, pytest.raises(ImageError) as caught:
        pool.submit(_fail).result()
    assert (caught.value.where, caught.value.stage, caught.value.reason) == (
        "a.png",
        "decode",
        "it is cut short",
    )


def _fail() -> None:
    raise ImageError("it is cut short", where="a.png", stage="decode", remedy="copy it again")


def test_a_damaged_row_of_the_cache_is_dropped_and_computed_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import sqlite3

    picture = tmp_path / "a.png"
    picture.write_bytes(b"one")
    with Cache(tmp_path) as cache:
        right = cache.fingerprint(picture)
        cache.remember("key", {"answer": 42})
    damages = (
        "value = '{\"answer\": 43}' WHERE key = 'key'",
        "value = NULL WHERE key = 'key'",
        "value = 7 WHERE key = 'key'",
        "value = x'ff00' WHERE key = 'key'",
        "value = CAST(x'ff80' AS TEXT) WHERE key = 'key'",
        "checksum = 'no' WHERE key = 'key'",
        "value = (SELECT value FROM rows WHERE key <> 'key') WHERE key = 'key'",
    )
    for damage in damages:
        caplog.clear()
        with sqlite3.connect(tmp_path / "index.sqlite") as database:
            database.execute(f"UPDATE rows SET {damage}")
        database.close()
        with Cache(tmp_path) as cache:
            assert cache.recall("key") is None, damage
            assert cache.fingerprint(picture) == right
            cache.remember("key", {"answer": 42})
            assert cache.recall("key") == {"answer": 42}
        assert "1 damaged rows were dropped" in caplog.text, damage
    with sqlite3.connect(tmp_path / "index.sqlite") as database:
        database.execute("UPDATE rows SET value = replace(value, 'a', 'b')")
    database.close()
    with Cache(tmp_path) as cache:
        assert cache.fingerprint(picture) == right


def test_a_cache_index_of_noise_is_begun_anew_and_none_hangs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import random

    with Cache(tmp_path / "whole") as cache:
        for number in range(300):
            cache.remember(f"key {number}", {"answer": "x" * 50})
    whole = (tmp_path / "whole" / "index.sqlite").read_bytes()
    place = tmp_path / "index.sqlite"
    draw = random.Random(0)
    for turn in range(40):
        content = bytearray(whole)
        for _ in range(turn * 20 + 1):
            content[draw.randrange(len(content))] = draw.randrange(256)
        place.write_bytes(bytes(content) if turn % 2 else whole[: draw.randrange(len(whole))])
        with Cache(tmp_path) as cache:
            for number in range(0, 300, 7):
                assert cache.recall(f"key {number}") in (None, {"answer": "x" * 50})
            cache.remember("key", {"answer": 1})
    assert "was replaced" in caplog.text
    place.unlink()
    os.mkfifo(place)
    with Cache(tmp_path) as cache:
        cache.remember("key", {"answer": 1})
        assert cache.recall("key") == {"answer": 1}


def test_temporary_files_of_dead_processes_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    prefix = files.temporary_prefix()
    machine, process, began = prefix.removeprefix(files.TEMPORARY).rstrip("-").split("-")
    alive = [
        tmp_path / f"{prefix}abc.json",
        tmp_path / f"{files.TEMPORARY}{machine}-{child.pid}-{files._started(child.pid)}-x",
        tmp_path / f"{files.TEMPORARY}00000000-{child.pid}-1-x",  # of another machine
        tmp_path / f"{files.TEMPORARY}old.json",  # of an earlier version
    ]
    dead = [
        tmp_path / f"{files.TEMPORARY}{machine}-{process}-{int(began) + 1}-x",  # its number was given again
        tmp_path / f"{files.TEMPORARY}{machine}-{2**22 + 1}-5-x",
    ]
    (tmp_path / f"{files.TEMPORARY}{machine}-{2**22 + 1}-5-folder").mkdir()
    for path in (*alive, *dead):
        path.write_text("x")
    files.write_text(tmp_path / "a.txt", "content")
    assert sorted(tmp_path.glob(".writing-*")) == sorted(alive)
    child.communicate(b"\n")
    os.utime(alive[2], (1, 1))
    assert files.remove_leftovers(tmp_path) == 2
    assert sorted(tmp_path.glob(".writing-*")) == sorted([alive[0], alive[3]])
