"""What is kept on disk is found again as it was: never half, never stale, never beyond the budget."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graftwork.common.cache import array_cache
from graftwork.common.cache.array_cache import Kept, as_half, budget, size_of
from graftwork.common.errors import UsageError

ABOUT = {"weights": "w1", "size": 32}


def rows_of(count: int, start: int = 0, width: int = 6, dtype: Any = np.float16) -> np.ndarray:
    return (np.arange(start, start + count)[:, None] * 10 + np.arange(width)).astype(dtype)


def names(count: int, start: int = 0) -> list[str]:
    return [f"row {number}" for number in range(start, start + count)]


def packs(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.npy"))


def filled(folder: Path, count: int = 4, **options: Any) -> Kept:
    store = Kept("features", ABOUT, folder=folder, **options)
    assert store.put(names(count), rows_of(count))
    return store


def test_rows_come_back_in_the_order_of_the_question(tmp_path: Path) -> None:
    store = filled(tmp_path)
    assert store.put(names(3, 10), rows_of(3, 10))
    asked = ["row 11", "unknown", "row 2", "row 10", "row 2", "another"]
    for each in (store, Kept("features", ABOUT, folder=tmp_path)):
        rows = each.find(asked)
        assert len(rows) == 6
        assert rows.missing.tolist() == [1, 5]
        assert rows.missing.dtype == np.int64
        assert rows[0].tolist() == rows_of(1, 11)[0].tolist()
        assert rows[0].dtype == np.float16
        assert (
            rows.gather([4, 0, 3]).tolist() == np.concatenate([rows_of(1, n) for n in (2, 11, 10)]).tolist()
        )
        assert rows.get(1) is None
        for look in (lambda rows=rows: rows[1], lambda rows=rows: rows.gather([0, 5])):
            with pytest.raises(KeyError):
                look()


def test_rows_are_mapped_and_cannot_be_changed(tmp_path: Path) -> None:
    rows = filled(tmp_path).find(names(4))
    with pytest.raises(ValueError, match="read-only"):
        rows[0][0] = 1
    view = rows[1]
    while isinstance(view.base, np.ndarray):
        view = view.base
    assert type(view.base).__name__ in ("mmap", "memoryview"), "nothing is read before it is looked at"
    gathered = rows.gather([0])
    gathered[0] = 5  # a copy
    assert rows[0].tolist() == rows_of(1)[0].tolist()


@pytest.mark.parametrize("shape", [(3,), (3, 0), (3, 2, 4, 1), (1, 7)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.bool_, "<i4"])
def test_any_plain_array_can_be_kept(tmp_path: Path, shape: tuple[int, ...], dtype: Any) -> None:
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    store = Kept("pictures", {}, folder=tmp_path)
    for form in (array, np.asfortranarray(array), array[::-1][::-1]):
        assert store.put(names(len(array)), form)
    found = store.find(names(len(array))).gather(range(len(array)))
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)
    for path in packs(tmp_path):
        assert np.array_equal(np.load(path), array), "NumPy reads a pack"


def test_nothing_at_all_is_kept_and_found(tmp_path: Path) -> None:
    store = Kept("features", ABOUT, folder=tmp_path)
    assert store.put([], np.empty((0, 3)))
    assert not list(tmp_path.rglob("*"))
    rows = store.find([])
    assert (len(rows), rows.missing.tolist()) == (0, [])
    assert store.find(["a"]).missing.tolist() == [0]


def test_what_rows_depend_on_tells_them_apart(tmp_path: Path) -> None:
    filled(tmp_path)
    for kind, about in (
        ("features", {**ABOUT, "size": 33}),
        ("features", {**ABOUT, "weights": "w2"}),
        ("features", {}),
        ("pictures", ABOUT),
    ):
        assert len(Kept(kind, about, folder=tmp_path).find(names(4)).missing) == 4
    same = Kept("features", dict(reversed(ABOUT.items())), folder=tmp_path)
    assert not len(same.find(names(4)).missing)
    assert same.folder.relative_to(tmp_path).parts[0] == "features"


def test_what_cannot_be_rows_is_the_caller_s_fault(tmp_path: Path) -> None:
    store = Kept("features", ABOUT, folder=tmp_path)
    for digests, array in ((names(2), rows_of(3)), (names(1), np.array([[None]], object))):
        with pytest.raises(ValueError, match="digests for"):
            store.put(digests, array)
    for kind in ("", "../up", "A", "a/b", ".hidden"):
        with pytest.raises(ValueError, match="kind"):
            Kept(kind, ABOUT, folder=tmp_path)


# Half precision


def test_values_that_fit_are_halved_and_others_are_not() -> None:
    fits = np.array([[65504.0, -65504.0], [1e-9, 1.0001]], np.float32)
    assert as_half(fits).dtype == np.float16
    assert np.isfinite(as_half(fits)).all()
    for odd in (65505.0, -1e6, np.inf, np.nan):
        values = np.array([[1.0001, 2.0], [odd, 1.0001]], np.float32)
        found = as_half(values)
        assert found.dtype == np.float32
        assert np.array_equal(found[1], values[1], equal_nan=True), "a row that does not fit is as it was"
        alone = as_half(values[:1])
        assert alone.dtype == np.float16
        assert np.array_equal(found[0], alone[0]), "and the rows beside it are what they would be alone"
    assert as_half(np.empty((0, 3), np.float32)).shape == (0, 3)
    assert as_half(np.ones(4, np.float32)).dtype == np.float16


def test_packs_of_both_precisions_lie_side_by_side(tmp_path: Path) -> None:
    store = Kept("features", ABOUT, folder=tmp_path)
    large = np.full((2, 6), 1e6, np.float32)
    assert store.put(names(2), as_half(rows_of(2, dtype=np.float32)))
    assert store.put(names(2, 2), as_half(large))
    rows = store.find(names(4))
    assert [rows[number].dtype for number in range(4)] == [np.float16] * 2 + [np.float32] * 2
    together = rows.gather([3, 0])
    assert together.dtype == np.float32
    assert together.tolist() == [large[0].tolist(), rows_of(1)[0].tolist()]


# Whole or not at all


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from graftwork.common import files
from graftwork.common.cache.array_cache import Kept
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
moment = sys.argv[2]
if moment == "written":
    Path.replace = die
elif moment == "half":
    real = np.ndarray.__len__
    import builtins, io
    class Dying:
        def __init__(self, file): self.file = file; self.left = 2
        def write(self, part):
            if not self.left: self.file.flush(); die()
            self.left -= 1; return self.file.write(part)
        def __enter__(self): return self
        def __exit__(self, *_): pass
    opened = Path.open
    Path.open = lambda self, *a, **k: Dying(opened(self, *a, **k)) if a and a[0] == "wb" else opened(self, *a, **k)
else:
    files._sync_folder = die
store = Kept("features", {"weights": "w1", "size": 32}, folder=Path(sys.argv[1]))
store.put([f"row {n}" for n in range(4)], (np.arange(4)[:, None] * 10 + np.arange(6)).astype(np.float16))
raise SystemExit("was not killed")
"""


@pytest.mark.parametrize(("moment", "there"), [("half", False), ("written", False), ("renamed", True)])
def test_a_pack_of_a_killed_process_is_whole_or_not_there(tmp_path: Path, moment: str, there: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), moment], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    store = Kept("features", ABOUT, folder=tmp_path)
    left = [path for path in packs(tmp_path) if path.name.startswith(".writing-")]
    assert len(left) == (0 if there else 1)
    assert store.find(names(4)).missing.tolist() == ([] if there else [0, 1, 2, 3])
    assert store.put(names(4), rows_of(4))
    assert not any(path.exists() for path in left), "its process is dead"
    assert store.find(names(4)).gather([3]).tolist() == rows_of(1, 3).tolist()


def damages(path: Path) -> dict[str, bytes]:
    whole = path.read_bytes()
    middle = len(whole) // 2
    table = len(whole) - 32 - 4 * 24
    return {
        "empty": b"",
        "head": whole[:20],
        "truncated": whole[:middle],
        "no table": whole[:table],
        "half a table": whole[: table + 24],
        "last byte": whole[:-1],
        "longer": whole + b"\\0" * 16,
        "another table": whole[:table] + bytes(96) + whole[-32:],
        "no numpy": b"\\0" * len(whole),
        "another shape": whole.replace(b"(4, 6)", b"(6, 4)"),
        "pickles": whole.replace(b"'<f2'", b"'|O' "),
        "header": whole.replace(b"'shape'", b"'sha(e'"),
    }


def test_a_damaged_pack_is_removed_and_its_rows_are_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = filled(tmp_path)
    (path,) = packs(tmp_path)
    for what, content in damages(path).items():
        caplog.clear()
        path.write_bytes(content)
        fresh = Kept("features", ABOUT, folder=tmp_path)
        for each in (store, fresh) if content != b"" else (fresh, store):
            assert len(each.find(names(4)).missing) == 4, what
            assert not path.exists(), what
            path.write_bytes(content)
        assert "damaged" in caplog.text, what
        path.unlink()
        assert fresh.put(names(4), rows_of(4))
        assert fresh.find(names(4)).gather(range(4)).tolist() == rows_of(4).tolist(), what


@pytest.mark.parametrize("verify", [True, False])
def test_a_flipped_bit_in_a_row_removes_its_pack(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, verify: bool
) -> None:
    store = filled(tmp_path)
    assert store.put(names(4, 4), rows_of(4, 4))
    path = next(path for path in packs(tmp_path) if rows_of(1, 1).tobytes() in path.read_bytes())
    whole = path.read_bytes()
    place = whole.index(rows_of(1, 1).tobytes())
    for fresh in (True, False):
        for offset in (0, 5, rows_of(1).nbytes - 1):
            caplog.clear()
            damaged = bytearray(whole)
            damaged[place + offset] ^= 4
            path.write_bytes(damaged)
            other = Kept("features", ABOUT, folder=tmp_path) if fresh else store
            rows = other.find(names(8), verify=verify)
            if verify:
                assert rows.missing.tolist() == [0, 1, 2, 3]
                assert "4 cached rows were in damaged files" in caplog.text
            assert rows.get(1) is None
            assert rows.get(0) is None, "a pack that is damaged in one place is not trusted in another"
            assert rows[6].tolist() == rows_of(1, 6)[0].tolist()
            assert "damaged" in caplog.text
            assert not path.exists()
            assert store.put(names(4), rows_of(4))
            assert path.read_bytes() == whole


def test_two_rows_whose_digests_begin_alike_are_not_mixed_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def alike(digests: list[str]) -> np.ndarray:
        return np.array([[7, int(digest.split()[1])] for digest in digests], "<u8").reshape(-1, 2)

    monkeypatch.setattr(array_cache, "_tags", alike)
    store = filled(tmp_path)
    rows = store.find(names(5))
    for position in range(5):
        found = rows.get(position)
        assert found is None or found.tolist() == rows_of(1, position)[0].tolist()


# Several processes


def _write_and_read(folder: Path, again: int, barrier: Any, said: Any) -> None:
    barrier.wait()
    for turn in range(again):
        store = Kept("features", ABOUT, folder=folder)
        start = turn * 4
        kept_all = store.put(names(4, start), rows_of(4, start))
        rows = store.find(names(4, start))
        right = (
            kept_all
            and not len(rows.missing)
            and rows.gather(range(4)).tolist() == rows_of(4, start).tolist()
        )
        said.put(bool(right))


def test_processes_that_write_the_same_rows_at_once_all_succeed(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, said = context.Barrier(3), context.Queue()
    workers = [context.Process(target=_write_and_read, args=(tmp_path, 15, barrier, said)) for _ in range(3)]
    for worker in workers:
        worker.start()
    assert all(said.get(timeout=60) for _ in range(45))
    for worker in workers:
        worker.join()
    assert len(packs(tmp_path)) == 15, "the same rows are one file"


def test_rows_cross_to_a_process_without_their_values(tmp_path: Path) -> None:
    store = Kept("features", ABOUT, folder=tmp_path)
    assert store.put(names(50), rows_of(50, width=4000, dtype=np.float32))
    rows = store.find(names(50))
    rows.gather(range(50))
    sent = pickle.dumps(rows)
    assert len(sent) < 5000
    again = pickle.loads(sent)
    assert np.array_equal(again.gather([3, 49]), rows.gather([3, 49]))
    assert again.missing.tolist() == []
    later = pickle.loads(sent)
    for path in packs(tmp_path):
        path.unlink()
    assert later.get(3) is None, "removed before it was mapped here"
    assert again[3][5] == rows[3][5], "mapped: it stays"


def test_a_pack_in_use_stays_readable_when_it_is_removed(tmp_path: Path) -> None:
    rows = filled(tmp_path).find(names(4))
    for path in packs(tmp_path):
        path.unlink()
    assert rows.gather(range(4)).tolist() == rows_of(4).tolist()
    assert len(Kept("features", ABOUT, folder=tmp_path).find(names(4)).missing) == 4


def test_a_pack_that_goes_while_it_is_looked_for_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(tmp_path)
    real = array_cache._Mapped.rows

    def late(self: array_cache._Mapped) -> np.ndarray:
        self.path.unlink(missing_ok=True)
        return real(self)

    monkeypatch.setattr(array_cache._Mapped, "rows", late)
    assert len(store.find(names(4)).missing) == 4


def test_more_packs_than_files_may_be_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Kept("features", ABOUT, folder=tmp_path)
    for number in range(12):
        assert store.put(names(1, number), rows_of(1, number))
    monkeypatch.setattr(array_cache, "_maps_held", lambda: 3)
    before = len(list(Path("/proc/self/fd").iterdir()))
    rows = store.find(names(12))
    assert rows.gather(range(12)).tolist() == rows_of(12).tolist()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 3
    assert array_cache._maps_held() > 0


# The budget


def pack_size(folder: Path) -> int:
    filled(folder / "measure")
    return size_of(folder / "measure")


def test_packs_not_used_for_longest_make_room(tmp_path: Path) -> None:
    size = pack_size(tmp_path)
    place = tmp_path / "cache"
    for number, kind in enumerate(("pictures", "features", "features")):
        Kept(kind, ABOUT, folder=place, budget=3 * size).put(names(4, number * 4), rows_of(4, number * 4))
    for age, path in enumerate(sorted(packs(place), key=lambda path: path.stat().st_mtime_ns)):
        os.utime(path, (1000 + age, 1000 + age))
    assert size_of(place) == 3 * size
    pictures = Kept("pictures", ABOUT, folder=place, budget=3 * size)
    pictures.find(names(4))  # used now; kept no longer in use, as nobody holds the answer
    fresh = Kept("features", ABOUT, folder=place, budget=3 * size)
    assert fresh.put(names(4, 100), rows_of(4, 100))
    assert size_of(place) == 3 * size
    assert not len(pictures.find(names(4)).missing)
    assert fresh.find(names(4, 4)).missing.tolist() == [0, 1, 2, 3], "the one not used for longest"
    assert not len(fresh.find(names(4, 8)).missing)
    assert not len(fresh.find(names(4, 100)).missing)


def test_what_this_process_uses_is_not_removed_and_the_rest_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    size = pack_size(tmp_path)
    place = tmp_path / "cache"
    old = filled(place).find(names(4))
    store = Kept("features", ABOUT, folder=place, budget=int(2.5 * size))
    assert store.room() == int(2.5 * size) - size
    assert store.put(names(4, 4), rows_of(4, 4))
    for start in (8, 12, 16):
        assert not store.put(names(4, start), rows_of(4, start))
    assert caplog.text.count("GRAFTWORK_CACHE_GB") == 1, "said once"
    assert size_of(place) == 2 * size
    assert not len(store.find(names(8)).missing), "no pack was removed in vain"
    assert old.gather([0]).tolist() == rows_of(1).tolist()


def test_room_is_made_by_a_newer_pack_before_one_in_use(tmp_path: Path) -> None:
    size = pack_size(tmp_path)
    place = tmp_path / "cache"
    used = filled(place).find(names(4))
    (mine,) = packs(place)
    os.utime(mine, (1000, 1000))
    Kept("pictures", ABOUT, folder=place).put(
        names(4), rows_of(4)
    )  # whose store is gone: nobody uses it here
    assert Kept("features", {}, folder=place, budget=2 * size).put(names(4), rows_of(4))
    assert mine.exists()
    assert len(Kept("pictures", ABOUT, folder=place).find(names(4)).missing) == 4
    assert used.gather([1]).tolist() == rows_of(1, 1).tolist()


def test_a_pack_larger_than_the_budget_removes_nothing(tmp_path: Path) -> None:
    filled(tmp_path)
    small = Kept("pictures", ABOUT, folder=tmp_path, budget=1000)
    assert not small.put(names(40), rows_of(40, width=100))
    assert len(packs(tmp_path)) == 1


def test_only_packs_are_counted_and_removed(tmp_path: Path) -> None:
    others = [
        tmp_path / "index.sqlite",
        tmp_path / "weights" / "a" / "model.npy",
        tmp_path / "features" / "x.npy",
    ]
    for path in others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1" * 5000)
        os.utime(path, (5, 5))
    assert size_of(tmp_path) == 0
    store = Kept("features", ABOUT, folder=tmp_path, budget=400)
    for number in range(5):
        del store
        store = Kept("features", ABOUT, folder=tmp_path, budget=400)
        assert store.put(names(1, number), rows_of(1, number))
    assert all(path.stat().st_size == 5000 for path in others)
    assert 0 < size_of(tmp_path) <= 400


def test_the_budget_is_the_user_s_or_a_fifth_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAFTWORK_CACHE_GB", "1.5")
    assert budget(tmp_path) == 3 * 2**29
    assert Kept("features", ABOUT, folder=tmp_path).budget == 3 * 2**29
    for wrong in ("0", "-1", "nan", "inf", "much", "5 GB"):
        monkeypatch.setenv("GRAFTWORK_CACHE_GB", wrong)
        for ask in (lambda: budget(tmp_path), lambda: Kept("features", ABOUT, folder=tmp_path)):
            with pytest.raises(UsageError, match="GRAFTWORK_CACHE_GB"):
                ask()
    monkeypatch.setenv("GRAFTWORK_CACHE_GB", " ")
    usage = type("Usage", (), {"free": 50 * 2**30})
    monkeypatch.setattr(array_cache.shutil, "disk_usage", lambda _: usage)
    assert budget(tmp_path / "not" / "yet") == 10 * 2**30
    filled(tmp_path)
    usage.free -= size_of(tmp_path)
    assert budget(tmp_path) == 10 * 2**30, "what is kept does not shrink it"
    usage.free = 2**50
    assert budget(tmp_path) == 20 * 2**30

    def fail(_: object) -> None:
        raise OSError(errno.EIO, "no answer")

    monkeypatch.setattr(array_cache.shutil, "disk_usage", fail)
    assert budget(tmp_path) == 0


def test_the_cache_folder_is_where_things_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFTWORK_CACHE", str(tmp_path / "mine"))
    store = Kept("features", ABOUT)
    assert store.put(names(1), rows_of(1))
    assert store.folder.is_relative_to(tmp_path / "mine")
    assert size_of() == packs(tmp_path)[0].stat().st_size


# Where nothing can be written


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EIO])
def test_a_disk_that_takes_nothing_is_said_once_and_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    store = filled(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    monkeypatch.setattr(os, "utime", refuse)
    for start in (4, 8):
        assert not store.put(names(4, start), rows_of(4, start))
    assert len(caplog.records) == 1
    assert str(tmp_path) in caplog.text
    assert len(list(packs(tmp_path))) == 1, "nothing half is left"
    rows = store.find(names(8))
    assert rows.missing.tolist() == [4, 5, 6, 7], "what was there is still found"
    assert rows[0].tolist() == rows_of(1)[0].tolist()


def test_a_folder_that_cannot_be_made_is_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    store = Kept("features", ABOUT, folder=tmp_path / "file" / "cache")
    assert store.find(names(2)).missing.tolist() == [0, 1]
    assert not store.put(names(2), rows_of(2))
    assert not store.put(names(2), rows_of(2))
    assert len(caplog.records) == 1
    assert "file" in caplog.text


def test_a_large_table_is_small_in_memory(tmp_path: Path) -> None:
    store = Kept("features", ABOUT, folder=tmp_path)
    count = 60_000
    assert store.put(names(count), np.arange(count, dtype=np.int32))
    rows = store.find(names(count, 1))
    assert rows.missing.tolist() == [count - 1]
    assert rows[count - 2] == count - 1
    (pack,) = (pack for _, pack in store._known.values())
    assert pack.table.nbytes == 24 * count
    assert rows._pack.nbytes + rows._row.nbytes == 8 * count
