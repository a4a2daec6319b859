"""Rows of arrays kept on disk by content: what frozen stages put out, and images decoded and resized.

A row is found by a digest of all that it depends on, so nothing stale is ever found, and whoever needs the same row
again (another seed, strategy or process) finds it. Rows are in packs (`packs`). A pack is one file, so that it is there
whole or not at all. Its rows are mapped into memory. A row is verified when a process first reads it; a pack with a
damaged row is removed, and its rows are computed again. All packs together are bounded by a budget; those not used for
longest make room.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import mmap
import os
import re
import resource
import shutil
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graftwork.common.cache.pack_files import (
    Pack,
    pack_files,
    packs_below,
    parts_of_pack,
    read_pack,
    row_checksum,
)
from graftwork.common.errors import GraftworkError, UsageError
from graftwork.common.files import cache_folder, hash_of, writing

if TYPE_CHECKING:
    from numpy.typing import NDArray


log = logging.getLogger("graftwork")

VARIABLE = "GRAFTWORK_CACHE_GB"
GIB = 2**30
MOST = 20 * GIB  # bytes that are kept at most where the user says nothing
SHARE = 5  # and no more than this part of the disk
FORMAT = 2  # of a pack; counts into every key
HALF = float(np.finfo(np.float16).max)  # 65504
_KIND = re.compile(r"[a-z][a-z0-9-]*")


def budget(folder: Path | None = None) -> int:
    """Bytes that all packs below `folder` (the cache folder) may take.

    `GRAFTWORK_CACHE_GB` (GiB), else the smaller of 20 GiB and a fifth of what is free on the disk or kept already.

    Raises:
        UsageError: the variable holds no number above 0.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if text:
        try:
            wish = float(text)
        except ValueError:
            wish = math.nan
        if not 0 < wish < math.inf:
            what = f"expected a number above 0 (GiB), found {text!r}"
            raise UsageError(what, where=VARIABLE, remedy=f"as in {VARIABLE}=20")
        return int(wish * GIB)
    root = (cache_folder() if folder is None else folder).absolute()
    there = next((each for each in (root, *root.parents) if each.exists()), root)
    try:
        free = shutil.disk_usage(there).free
    except OSError:
        return 0
    return min(MOST, (free + size_of(root)) // SHARE)


def size_of(folder: Path | None = None) -> int:
    """Bytes that all packs below `folder` (the cache folder) take now."""
    return sum(status.st_size for _, status in packs_below(cache_folder() if folder is None else folder))


def as_half(array: NDArray[Any]) -> NDArray[Any]:
    """Rows [n, ...] rounded to half precision; float16 where every value fits (|x| <= 65504), else float32.

    A row that fits is rounded also where another one keeps the array at float32, so that what is kept of a row does
    not depend on the rows beside it. Later steps use these, and get the same when they are found
    again.
    """
    if array.dtype == np.float16:
        return array
    fits = (np.abs(array) <= HALF).all(axis=tuple(range(1, array.ndim)))  # NaN and infinity do not
    if fits.all():
        return array.astype(np.float16)
    rounded = array.astype(np.float32)
    rounded[fits] = array[fits].astype(np.float16)
    return rounded


class _Mapped:
    """A pack in use: its rows, mapped. It stays readable when its file is removed, and is not removed by this process.

    Args:
        hold: keep the mapping, and with it an open file; else it is opened again for each row.
    """

    def __init__(self, pack: Pack, *, hold: bool) -> None:
        self.path, self.size, self.offset = pack.path, pack.size, pack.offset
        self.shape, self.dtype, self.hold = pack.shape, pack.dtype, hold
        self.checksums = pack.table[:, 2]
        self._rows: NDArray[Any] | None = None
        self._verified = np.zeros(len(pack.table), np.bool_)
        _in_use.add(self)

    def rows(self) -> NDArray[Any]:
        """The rows [n, ...], read-only.

        Raises:
            OSError: the file is gone and had not been mapped before.
        """
        if self._rows is not None:
            return self._rows
        with self.path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != self.size:
                raise FileNotFoundError(f"{self.path} is not what it was")
            view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        rows: NDArray[Any] = np.ndarray(self.shape, self.dtype, buffer=view, offset=self.offset)
        if self.hold:
            self._rows = rows
        return rows

    def row(self, number: int) -> NDArray[Any]:
        """One row, read-only, verified when this process reads it for the first time.

        Raises:
            OSError: the file is gone and had not been mapped before.
            ValueError: the row is damaged; the pack was removed.
        """
        found: NDArray[Any] = self.rows()[number, ...]
        if not self._verified[number]:
            if row_checksum(found) != self.checksums[number]:
                with contextlib.suppress(OSError):
                    self.path.unlink(missing_ok=True)
                raise ValueError("a row does not fit its checksum")
            self._verified[number] = True
        return found

    def __getstate__(self) -> dict[str, Any]:  # a process that is spawned maps the file itself
        return {**self.__dict__, "_rows": None, "_verified": np.zeros_like(self._verified)}


_in_use: weakref.WeakSet[_Mapped] = weakref.WeakSet()


class Rows:
    """Rows that were asked for, in the order of the question. Small to pickle; it holds no values.

    Attributes:
        missing: positions of those that are not kept, ascending.
    """

    def __init__(self, packs: Sequence[_Mapped], pack: NDArray[np.int32], row: NDArray[np.int32]) -> None:
        self._packs, self._pack, self._row = tuple(packs), pack, row
        self.missing: NDArray[np.int64] = np.flatnonzero(pack < 0)

    def __len__(self) -> int:
        return len(self._pack)

    def get(self, position: int) -> NDArray[Any] | None:
        """One row, read-only, mapped from disk; None where it is not kept (any more), or damaged."""
        number = int(self._pack[position])
        with contextlib.suppress(OSError):
            try:
                return None if number < 0 else self._packs[number].row(int(self._row[position]))
            except ValueError as error:
                _say_damaged(self._packs[number].path, error)
                self._pack[self._pack == number] = -1  # its other rows are not trusted either
        return None

    def verify(self) -> int:
        """Verify all rows now; those of a damaged pack become missing.

        Returns:
            how many rows became missing.
        """
        before = len(self.missing)
        for position in np.flatnonzero(self._pack >= 0).tolist():
            if self._pack[position] >= 0:
                self.get(position)
        self.missing = np.flatnonzero(self._pack < 0)
        return len(self.missing) - before

    def __getitem__(self, position: int) -> NDArray[Any]:
        """One row, read-only, mapped from disk.

        Raises:
            KeyError: it is not kept.
        """
        found = self.get(position)
        if found is None:
            raise KeyError(position)
        return found

    def gather(self, positions: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[Any]:
        """Several rows, copied into one array [n, ...]; float32 where some are float16 and others float32.

        Raises:
            KeyError: one of them is not kept.
        """
        return np.stack([self[int(position)] for position in positions])


class Kept:
    """Rows of one kind that depend, beside their digests, on the same things.

    Args:
        kind: what they are, in small letters and dashes; the name of a folder.
        about: JSON-like: all that the rows depend on and their digests do not say.
        folder: default: the cache folder.
        budget: bytes of all packs below `folder`, other kinds' included; default: `budget(folder)`.

    Raises:
        UsageError: `GRAFTWORK_CACHE_GB` holds no number above 0.
    """

    def __init__(
        self, kind: str, about: Mapping[str, Any], *, folder: Path | None = None, budget: int | None = None
    ) -> None:
        if not _KIND.fullmatch(kind):
            raise ValueError(f"a kind is named in small letters and dashes, not {kind!r}")
        self.kind = kind
        self.root = cache_folder() if folder is None else Path(folder)
        key = hash_of({"format": FORMAT, "kind": kind, "about": dict(about)})
        self.folder = self.root / kind / key[:2] / key
        self.budget = _budget(self.root) if budget is None else budget
        self._known: dict[str, tuple[tuple[int, int], Pack]] = {}  # by name: inode and size, content
        self._written: list[_Mapped] = []
        self._refused = False

    def find(self, digests: Sequence[str], *, verify: bool = False) -> Rows:
        """Where the rows with these digests lie. Ask for many at once: each question looks through the folder.

        A pack that is damaged is removed, and its rows are missing.

        Args:
            verify: read all rows now and hold them against their checksums, so that none is found damaged later.
        """
        tags, packs = _tags(digests), self._packs()
        owner, row = np.full(len(tags), -1, np.int32), np.zeros(len(tags), np.int32)
        if packs and len(tags):
            table = np.concatenate([pack.table for pack in packs])
            order = np.argsort(table[:, 0], kind="stable")
            place = np.searchsorted(table[order, 0], tags[:, 0])
            place[place == len(order)] = 0
            at = order[place]
            hit = (table[at, :2] == tags).all(axis=1)
            starts = np.cumsum([0, *(len(pack.table) for pack in packs[:-1])])
            number = np.searchsorted(starts, at, side="right") - 1
            owner[hit], row[hit] = number[hit], (at - starts[number])[hit]
        used, held = list[_Mapped](), _maps_held()
        for number in np.unique(owner[owner >= 0]).tolist():
            mapped = _Mapped(packs[number], hold=len(used) < held)
            mine = owner == number
            try:
                mapped.rows()
            except OSError:  # removed a moment ago by another process
                owner[mine] = -1
                continue
            with contextlib.suppress(OSError):  # a folder may be read-only
                os.utime(mapped.path)  # used now, so not the next to make room
            owner[mine] = len(used)
            used.append(mapped)
        rows = Rows(used, owner, row)
        if verify and (lost := rows.verify()):
            log.warning("%s: %d cached rows were in damaged files and are computed again", self.kind, lost)
        return rows

    def put(self, digests: Sequence[str], array: NDArray[Any]) -> bool:
        """Keep rows [n, ...] under their digests, as one pack.

        Returns:
            False where they cannot be kept: no room within the budget, a disk that is full, a folder that cannot be
            written. The log says so once, and nothing is tried again.
        """
        if len(digests) != len(array) or array.dtype.hasobject:
            raise ValueError(f"{len(digests)} digests for {len(array)} rows of {array.dtype}")
        if not len(array):
            return True
        pack, parts = parts_of_pack(np.ascontiguousarray(array), _tags(digests))
        if self._refused or not self._make_room(pack.size):
            return False
        pack = replace(pack, path=self.folder / pack.path)
        try:
            with writing(pack.path) as temporary, temporary.open("wb") as file:
                for part in parts:
                    file.write(part)
        except GraftworkError as error:
            return self._refuse(error.what.removeprefix("cannot be written: "))
        self._written.append(_Mapped(pack, hold=False))
        return True

    def room(self) -> int:
        """Bytes that can be put yet, without removing what this process uses."""
        return max(0, self.budget - sum(self._ours().values()))

    def _ours(self) -> dict[Path, int]:
        return {each.path: each.size for each in _in_use if each.path.is_relative_to(self.root)}

    def _make_room(self, size: int) -> bool:
        """Remove the packs not used for longest until `size` bytes fit, but none that this process uses."""
        if size > self.room():
            return self._refuse(f"more is in use at once than the {self.budget / GIB:.3g} GiB of {VARIABLE}")
        ours = self._ours()
        packs = sorted(packs_below(self.root, sweep=True), key=lambda each: each[1].st_mtime_ns)
        used = sum(status.st_size for _, status in packs)
        for path, status in packs:
            if used + size <= self.budget:
                break
            if path not in ours:
                with contextlib.suppress(OSError):  # removed by another process, or not ours to remove
                    path.unlink(missing_ok=True)
                    used -= status.st_size
        return used + size <= self.budget or self._refuse("older files there cannot be removed")

    def _refuse(self, why: str) -> bool:
        if not self._refused:
            log.warning("cannot cache %s in %s: %s", self.kind, self.root, why)
        self._refused = True
        return False

    def _packs(self) -> list[Pack]:
        """The packs that are there now, in the order of their names; each is read once."""
        known = {}
        for path, status in sorted(pack_files(self.folder)):
            stamp = (status.st_ino, status.st_size)
            if path.name in self._known and self._known[path.name][0] == stamp:
                known[path.name] = self._known[path.name]
                continue
            with contextlib.suppress(OSError):  # gone in the meantime, or not for us to read
                try:
                    known[path.name] = (stamp, read_pack(path))
                except ValueError as error:
                    _say_damaged(path, error)
                    path.unlink(missing_ok=True)
        self._known = known
        return [pack for _, pack in known.values()]


_budget = budget  # under the name of an argument above


def _say_damaged(path: Path, error: Exception) -> None:
    log.warning("%s is damaged (%s) and removed; its rows are computed again", path, error)


def _tags(digests: Sequence[str]) -> NDArray[np.uint64]:
    """16 bytes of a hash of each digest as two numbers, [n, 2]: a million of them take 16 MB."""
    joined = b"".join(hashlib.blake2b(digest.encode(), digest_size=16).digest() for digest in digests)
    return np.frombuffer(joined, "<u8").reshape(-1, 2)


def _maps_held() -> int:
    """How many packs are held open at once: each takes a file descriptor, of which loading processes need some too."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 65536 if soft == resource.RLIM_INFINITY else soft // 4
