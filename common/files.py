"""Files that appear whole or not at all, what they contain (hashes), and who may write (locks)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graftwork.common.errors import GraftworkError, RunError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Cache",
    "Fingerprint",
    "cache_folder",
    "check_writable",
    "file_sha256",
    "hash_of",
    "lock",
    "save_tensors",
    "settle_folder",
    "swap_folder",
    "write_bytes",
    "write_json",
    "write_text",
    "writing",
]


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut. Some network file systems refuse; they sync by themselves."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _as_error(error: OSError, path: Path) -> GraftworkError:
    reasons = {
        errno.ENOSPC: ("the disk is full", "free some room, then run the same command again"),
        errno.EDQUOT: ("the disk quota is used up", "free some room, then run the same command again"),
        errno.EROFS: ("the file system is read-only", "choose another folder, for example with --out"),
        errno.EACCES: ("no permission to write here", "choose another folder, for example with --out"),
        errno.EPERM: ("no permission to write here", "choose another folder, for example with --out"),
        errno.ENAMETOOLONG: ("the name is too long for this file system", "choose a shorter folder name"),
        errno.EEXIST: ("a file stands in the way", "choose another folder"),
        errno.ENOTDIR: ("a part of the path is a file, not a folder", "choose another folder"),
    }
    what, remedy = reasons.get(error.errno or 0, (error.strerror or str(error), None))
    return RunError(f"cannot be written: {what}", where=path, remedy=remedy)


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; on a clean exit it becomes `path`, else it vanishes.

    The temporary file is flushed and synced, renamed over `path`, and the folder is synced, so a reader (or a
    power cut) sees the old content or the new one, never a part. Folders above are made.

    Raises:
        RunError: the disk is full or read-only, or permission is missing. The old `path` is as it was.
    """
    target = Path(path)
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # the end of the name is kept: writers choose a format by it
        handle, name = tempfile.mkstemp(prefix=".writing-", suffix=target.suffix[-16:], dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(target)
        temporary = None
        _sync_folder(target.parent)
    except OSError as error:
        raise _as_error(error, target) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` to `path`, whole or not at all (see `writing`)."""
    with writing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | os.PathLike[str], content: str) -> None:
    """Write `content` as UTF-8 with Unix line ends, whole or not at all (see `writing`)."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write `content` as readable JSON (UTF-8, NaN refused), whole or not at all (see `writing`)."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextlib.contextmanager
def swap_folder(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield an empty folder to fill; on a clean exit it takes the place of `folder` as one step.

    Two renames are needed (POSIX has no portable exchange of folders). A process that dies between them
    leaves the new content beside the place under the name `<folder>.new`; `settle_folder` finishes the step.
    """
    target = Path(folder)
    settle_folder(target)
    fresh, old = target.with_name(target.name + ".writing"), target.with_name(target.name + ".old")
    ready = target.with_name(target.name + ".new")
    try:
        for leftover in (fresh, old, ready):
            shutil.rmtree(leftover, ignore_errors=True)
        fresh.mkdir(parents=True)
        yield fresh
        for file in fresh.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        _sync_folder(fresh)
        fresh.rename(ready)  # from here on the new content counts
        settle_folder(target)
    except OSError as error:
        raise _as_error(error, target) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def save_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write a safetensors file, within `writing` or `swap_folder`.

    Raises:
        OSError: it cannot be written (safetensors itself has an error of its own for a full disk).
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(dict(tensors), path, metadata=metadata)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else errno.EIO, str(error)) from error


def settle_folder(folder: str | os.PathLike[str]) -> None:
    """Finish a `swap_folder` that was interrupted between its renames; does nothing where all is settled."""
    target = Path(folder)
    ready, old = target.with_name(target.name + ".new"), target.with_name(target.name + ".old")
    if ready.is_dir():
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
            target.rename(old)
        ready.rename(target)
        _sync_folder(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's content, as 64 hex digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_of(content: object) -> str:
    """SHA-256 of a JSON-like value (keys sorted), as 64 hex digits: equal values, equal hash, on every machine."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def check_writable(folder: str | os.PathLike[str]) -> Path:
    """Make `folder` and prove that a file can be written in it, before hours of work end in an error.

    Raises:
        RunError: the reason, and what to do.
    """
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place) as probe:
            probe.write(b"\0" * 4096)
            probe.flush()
    except OSError as error:
        raise _as_error(error, place) from error
    return place


_held: set[int] = set()  # descriptors of the locks of this process


def _let_go() -> None:
    """In a forked child: a loading process that outlives its killed parent must not keep the parent's lock."""
    for handle in _held:
        with contextlib.suppress(OSError):
            os.close(handle)
    _held.clear()


os.register_at_fork(after_in_child=_let_go)


@contextlib.contextmanager
def lock(path: str | os.PathLike[str], busy: str) -> Iterator[None]:
    """Hold an exclusive lock on the file `path`; the kernel drops it when this process ends, however it ends.

    Args:
        path: the lock file; made where it is missing, left behind afterwards (removing it would race).
        busy: what is said when another process holds it.

    Raises:
        RunError: another process holds the lock, or the file cannot be made.
    """
    target = Path(path)
    try:
        handle = os.open(target, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise _as_error(error, target) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(busy, where=target.parent, remedy="wait until it ends, or stop it") from error
        _held.add(handle)
        yield
    finally:
        _held.discard(handle)
        os.close(handle)


def cache_folder() -> Path:
    """Where what can be computed again is kept.

    `GRAFTWORK_CACHE`, else `$XDG_CACHE_HOME/graftwork`, else `~/.cache/graftwork`.
    """
    chosen = os.environ.get("GRAFTWORK_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "graftwork"


COMMIT_SECONDS = 2.0  # a killed check forgets no more than this, and others may write in between


@dataclass(frozen=True)
class Fingerprint:
    """What tells one content of a file from another: size (bytes), time of change (ns), SHA-256 of the content."""

    size: int
    mtime_ns: int
    sha256: str


class Cache:
    """Small things remembered between commands: fingerprints of files, and values by content hash.

    One SQLite file in `cache_folder()`, safe for several processes. A cache that cannot be opened or written
    (read-only home, full disk) forgets everything and is otherwise harmless.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        place = Path(folder) if folder is not None else cache_folder()
        self._database: sqlite3.Connection
        self._committed = time.monotonic()
        try:
            place.mkdir(parents=True, exist_ok=True)
            self._database = self._open(str(place / "index.sqlite"))
        except (OSError, sqlite3.Error):
            self._database = self._open(":memory:")

    @staticmethod
    def _open(name: str) -> sqlite3.Connection:
        database = sqlite3.connect(name, timeout=10)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=OFF")
        database.execute(
            "CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, size INT, mtime_ns INT, sha256 TEXT)"
        )
        database.execute("CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, value TEXT)")
        database.commit()
        return database

    def fingerprint(self, path: str | os.PathLike[str]) -> Fingerprint:
        """Size, time and SHA-256 of a file; the content is read only where size or time changed since last time.

        Raises:
            OSError: the file cannot be read.
        """
        name = os.path.realpath(path)
        status = Path(name).stat()
        try:
            row = self._database.execute(
                "SELECT size, mtime_ns, sha256 FROM files WHERE path = ?", (name,)
            ).fetchone()
        except sqlite3.Error:
            row = None
        if row is not None and (row[0], row[1]) == (status.st_size, status.st_mtime_ns):
            return Fingerprint(*row)
        found = Fingerprint(status.st_size, status.st_mtime_ns, file_sha256(name))
        self._write(
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)",
            (name, found.size, found.mtime_ns, found.sha256),
        )
        return found

    def recall(self, key: str) -> Any | None:
        """The JSON value remembered under `key`, or None."""
        try:
            row = self._database.execute("SELECT value FROM facts WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error:
            return None
        return None if row is None else json.loads(row[0])

    def remember(self, key: str, value: Mapping[str, Any]) -> None:
        """Remember a JSON value under `key` (use a hash of all that it depends on)."""
        self._write("INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, json.dumps(value)))

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._database.execute(statement, values)
            if time.monotonic() - self._committed > COMMIT_SECONDS:
                self._database.commit()
                self._committed = time.monotonic()

    def close(self) -> None:
        """Write what was remembered."""
        with contextlib.suppress(sqlite3.Error):
            self._database.commit()
            self._database.close()

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
