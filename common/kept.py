"""Rows of arrays kept on disk by content: what frozen stages put out, and pictures decoded and resized.

A row is found by a digest of all that it depends on, so nothing stale is ever found, and whoever needs the same row
again (another seed, strategy or process) finds it. Rows lie in packs. A pack is one file, so that it is there whole or
not at all: a NumPy file of the rows, behind it their digests (16 bytes each) and a checksum. Its rows are mapped into
memory, never read as a whole. All packs together are bounded by a budget; those not used for longest make room.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import math
import mmap
import os
import re
import resource
import shutil
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graftwork.common.errors import GraftworkError, UsageError
from graftwork.common.files import cache_folder, hash_of, writing

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["VARIABLE", "Kept", "Rows", "as_half", "budget", "size_of"]

log = logging.getLogger("graftwork")

VARIABLE = "GRAFTWORK_CACHE_GB"
GIB = 2**30
MOST = 20 * GIB  # bytes that are kept at most where the user says nothing
SHARE = 5  # and no more than this part of the disk
FORMAT = 1  # of a pack; counts into every key
ABANDONED = (
    3600.0  # seconds after which a file that was begun and not finished is taken for a killed process's
)
HALF = float(np.finfo(np.float16).max)  # 65504
CHECKSUM = hashlib.sha256().digest_size
_KIND = re.compile(r"[a-z][a-z0-9-]*")
_KEY = re.compile(r"[0-9a-f]{64}")


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
    return sum(status.st_size for _, status in _packs(cache_folder() if folder is None else folder))


def as_half(array: NDArray[Any]) -> NDArray[Any]:
    """Rows [n, ...] rounded to half precision; float16 where every value fits (|x| <= 65504), else float32.

    A row that fits is rounded also where another one keeps the array at float32, so that what is kept of a row does
    not depend on the rows beside it. Whoever goes on with the rows uses these, and gets the same when they are found
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


@dataclass(frozen=True)
class _Pack:
    """What a pack's file says of itself: where its rows begin, their shape [n, ...] and type, and their digests."""

    path: Path
    size: int
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    table: NDArray[np.uint64]


class _Mapped:
    """A pack in use: its rows, mapped. It stays readable when its file is removed, and is not removed by this process.

    Args:
        hold: keep the mapping, and with it an open file; else it is opened anew for each row.
    """

    def __init__(self, pack: _Pack, *, hold: bool) -> None:
        self.path, self.size, self.offset = pack.path, pack.size, pack.offset
        self.shape, self.dtype, self.hold = pack.shape, pack.dtype, hold
        self._rows: NDArray[Any] | None = None
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

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_rows": None}  # a process that is spawned maps the file itself


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
        """One row, read-only, mapped from disk; None where it is not kept (any more)."""
        number = int(self._pack[position])
        with contextlib.suppress(OSError):
            return None if number < 0 else self._packs[number].rows()[int(self._row[position]), ...]
        return None

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
        self._known: dict[str, tuple[tuple[int, int], _Pack]] = {}  # by name: inode and size, content
        self._written: list[_Mapped] = []
        self._refused = False

    def find(self, digests: Sequence[str]) -> Rows:
        """Where the rows with these digests lie. Ask for many at once: each question looks through the folder.

        A pack that is damaged is removed, and its rows are missing.
        """
        tags, packs = _tags(digests), self._packs()
        owner, row = np.full(len(tags), -1, np.int32), np.zeros(len(tags), np.int32)
        if packs and len(tags):
            table = np.concatenate([pack.table for pack in packs])
            order = np.argsort(table[:, 0], kind="stable")
            place = np.searchsorted(table[order, 0], tags[:, 0])
            place[place == len(order)] = 0
            at = order[place]
            hit = (table[at] == tags).all(axis=1)
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
        return Rows(used, owner, row)

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
        tags, values = _tags(digests), np.ascontiguousarray(array)
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(values))
        head = header.getvalue()
        checksum = hashlib.sha256(head + tags.tobytes()).digest()
        size = len(head) + values.nbytes + tags.nbytes + CHECKSUM
        if self._refused or not self._make_room(size):
            return False
        path = self.folder / f"{checksum.hex()[:32]}.npy"  # the same rows have the same name in every process
        try:
            with writing(path) as temporary, temporary.open("wb") as file:
                for part in (head, values.data, tags.data, checksum):
                    file.write(part)
        except GraftworkError as error:
            return self._refuse(error.what.removeprefix("cannot be written: "))
        pack = _Pack(path, size, len(head), values.shape, values.dtype, tags)
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
        packs = sorted(_packs(self.root, sweep=True), key=lambda each: each[1].st_mtime_ns)
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
            log.warning("%s cannot be kept in %s: %s", self.kind, self.root, why)
        self._refused = True
        return False

    def _packs(self) -> list[_Pack]:
        """The packs that are there now, in the order of their names; each is read once."""
        known = {}
        for path, status in sorted(_files(self.folder)):
            stamp = (status.st_ino, status.st_size)
            if path.name in self._known and self._known[path.name][0] == stamp:
                known[path.name] = self._known[path.name]
                continue
            with contextlib.suppress(OSError):  # gone in the meantime, or not for us to read
                try:
                    known[path.name] = (stamp, _read(path))
                except ValueError as error:
                    log.warning("%s is damaged (%s) and removed; its rows are computed again", path, error)
                    path.unlink(missing_ok=True)
        self._known = known
        return [pack for _, pack in known.values()]


_budget = budget  # under the name of an argument above


def _read(path: Path) -> _Pack:
    """What a pack says of itself.

    Raises:
        ValueError: it is damaged.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            version = np.lib.format.read_magic(file)
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        except Exception as error:  # whatever reading such a header comes to
            raise ValueError("its header cannot be read") from error
        if version != (1, 0) or fortran or dtype.hasobject or not shape:
            raise ValueError("its header is not one of a pack")
        offset = file.tell()
        nbytes = math.prod(shape) * dtype.itemsize
        if size != offset + nbytes + 16 * shape[0] + CHECKSUM:
            raise ValueError(
                "it is truncated" if size < offset + nbytes else "its digests do not fit its rows"
            )
        file.seek(0)
        head = file.read(offset)
        file.seek(offset + nbytes)
        table, checksum = file.read(16 * shape[0]), file.read(CHECKSUM)
    if hashlib.sha256(head + table).digest() != checksum:
        raise ValueError("its digests do not fit their checksum")
    return _Pack(path, size, offset, shape, dtype, np.frombuffer(table, "<u8").reshape(-1, 2))


def _tags(digests: Sequence[str]) -> NDArray[np.uint64]:
    """16 bytes of a hash of each digest as two numbers, [n, 2]: a million of them take 16 MB."""
    joined = b"".join(hashlib.blake2b(digest.encode(), digest_size=16).digest() for digest in digests)
    return np.frombuffer(joined, "<u8").reshape(-1, 2)


def _maps_held() -> int:
    """How many packs are held open at once: each takes a file descriptor, of which loading processes need some too."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 65536 if soft == resource.RLIM_INFINITY else soft // 4


def _packs(root: Path, *, sweep: bool = False) -> Iterator[tuple[Path, os.stat_result]]:
    """Every pack below a cache folder. `sweep`: what killed processes left unfinished is removed on the way."""
    for kind in _folders(root):
        for pair in _folders(kind):
            for folder in _folders(pair) if len(pair.name) == 2 else ():
                if _KEY.fullmatch(folder.name):
                    yield from _files(folder, sweep=sweep)


def _folders(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    return []


def _files(folder: Path, *, sweep: bool = False) -> list[tuple[Path, os.stat_result]]:
    found = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):  # removed in the meantime by another process
                status, path = entry.stat(follow_symlinks=False), Path(entry.path)
                if entry.name.startswith(".writing-"):
                    if sweep and time.time() - status.st_mtime > ABANDONED:
                        path.unlink()
                elif path.suffix == ".npy":
                    found.append((path, status))
    return found
