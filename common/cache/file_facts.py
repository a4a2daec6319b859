"""Small facts remembered between commands: fingerprints of files, and what was seen in them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import sqlite3
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graftwork.common.files import cache_folder, file_sha256

log = logging.getLogger("graftwork")

COMMIT_SECONDS = 2.0  # a killed check forgets no more than this, and others may write in between


@dataclass(frozen=True)
class Fingerprint:
    """What distinguishes two versions of a file: size (bytes), time of change (ns), SHA-256 of the content."""

    size: int
    mtime_ns: int
    sha256: str


class Cache:
    """Small things remembered between commands: fingerprints of files, and values by content hash.

    One SQLite file in `cache_folder()`, safe for several processes. Each row has a checksum: one that is damaged is
    dropped and computed again, and the log counts them. A file that is not a database is started again. A cache that
    cannot
    be opened or written (read-only home, full disk) forgets everything and is otherwise harmless.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        place = (Path(folder) if folder is not None else cache_folder()) / "index.sqlite"
        self._place = place
        self._database: sqlite3.Connection
        self._committed = time.monotonic()
        self._dropped = 0
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.exists() and not stat.S_ISREG(place.stat().st_mode):
                raise OSError("no regular file")
            self._database = self._open(str(place))
        except (sqlite3.OperationalError, OSError, ValueError):  # locked, read-only, no room, a path too long
            self._database = self._open(":memory:")
        except sqlite3.Error as error:
            self._database = self._anew(place, error)

    def _anew(self, place: Path, damage: sqlite3.Error) -> sqlite3.Connection:
        """The database in the place of one that is damaged."""
        log.warning("%s is damaged (%s) and was replaced; its content is computed again", place, damage)
        try:
            for name in (place.name, f"{place.name}-wal", f"{place.name}-shm"):
                place.with_name(name).unlink(missing_ok=True)
            return self._open(str(place))
        except (sqlite3.Error, OSError):
            return self._open(":memory:")

    @staticmethod
    def _open(name: str) -> sqlite3.Connection:
        database = sqlite3.connect(name, timeout=10)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=OFF")
        for old in ("files", "facts"):  # of earlier versions: rows without a checksum
            database.execute(f"DROP TABLE IF EXISTS {old}")
        database.execute("CREATE TABLE IF NOT EXISTS rows (key TEXT PRIMARY KEY, value TEXT, checksum TEXT)")
        database.commit()
        return database

    def fingerprint(self, path: str | os.PathLike[str]) -> Fingerprint:
        """Size, time and SHA-256 of a file; the content is read only where size or time changed since last time.

        Raises:
            OSError: the file cannot be read.
        """
        name = os.path.realpath(path)
        status = Path(name).stat()
        key = f"file {name}"
        row = self.recall(key)
        if row is not None and (row["size"], row["mtime_ns"]) == (status.st_size, status.st_mtime_ns):
            return Fingerprint(row["size"], row["mtime_ns"], row["sha256"])
        found = Fingerprint(status.st_size, status.st_mtime_ns, file_sha256(name))
        self.remember(key, vars(found))
        return found

    def recall(self, key: str) -> Any | None:
        """The JSON value remembered under `key`; None where there is none, or a damaged one."""
        try:
            row = self._database.execute(
                "SELECT value, checksum FROM rows WHERE key = ?", (_text(key),)
            ).fetchone()
        except sqlite3.OperationalError:  # locked, or text that is no UTF-8
            self.drop(key)
            return None
        except sqlite3.Error as error:  # a damaged page
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            self._database = self._anew(self._place, error)
            return None
        if row is None:
            return None
        value, checksum = row
        if isinstance(value, str) and checksum == _checksum(key, value):
            return json.loads(value)
        self.drop(key)
        return None

    def drop(self, key: str) -> None:
        """Forget a value that is damaged, or that its reader does not understand."""
        self._dropped += 1
        self._write("DELETE FROM rows WHERE key = ?", (_text(key),))

    def remember(self, key: str, value: Mapping[str, Any]) -> None:
        """Remember a JSON value under `key` (use a hash of all that it depends on)."""
        text = json.dumps(dict(value))
        self._write("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)", (_text(key), text, _checksum(key, text)))

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._database.execute(statement, values)
            if time.monotonic() - self._committed > COMMIT_SECONDS:
                self._database.commit()
                self._committed = time.monotonic()

    def close(self) -> None:
        """Write what was remembered, and say how many rows were damaged."""
        if self._dropped:
            log.warning("cache index: %d damaged rows were dropped and computed again", self._dropped)
            self._dropped = 0
        with contextlib.suppress(sqlite3.Error):
            self._database.commit()
            self._database.close()

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _text(key: str) -> str:
    """A key as SQLite takes it: a file name in another encoding has half characters."""
    return key.encode("utf-8", "backslashreplace").decode()


def _checksum(key: str, value: str) -> str:
    return hashlib.sha256(f"{_text(key)}\0{value}".encode("utf-8", "backslashreplace")).hexdigest()[:32]
