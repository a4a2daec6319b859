"""Files that appear whole or not at all, what they contain (hashes), and who may write (locks)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graftwork.common.errors import GraftworkError, RunError, shown_path
from graftwork.common.files.checksums import begin_checksums, file_sha256, note_checksum

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger("graftwork")

__all__ = [
    "TEMPORARY",
    "cache_folder",
    "check_target",
    "check_writable",
    "file_sha256",
    "hash_of",
    "lock",
    "remove_leftovers",
    "save_tensors",
    "settle_folder",
    "swap_folder",
    "temporary_prefix",
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
        errno.EEXIST: ("a file is in the way", "choose another folder"),
        errno.ENOTDIR: ("a part of the path is a file, not a folder", "choose another folder"),
    }
    what, remedy = reasons.get(error.errno or 0, (error.strerror or str(error), None))
    return RunError(f"cannot be written: {what}", where=shown_path(path), remedy=remedy)


# Temporary files have the process that writes them in their name, so that those of killed processes can be removed.
TEMPORARY = ".writing-"
ABANDONED = (
    24 * 3600.0
)  # seconds after which one whose process cannot be asked for is taken for a killed one's
_OWNED = re.compile(re.escape(TEMPORARY) + r"([0-9a-f]{8})-(\d+)-(\d+)-")
_swept: set[tuple[int, str]] = set()  # this process and the folders in which it has looked for leftovers


@cache
def _machine() -> str:
    """8 hex digits that are the same for all processes that can ask whether one of them is alive."""
    said = [os.uname().nodename]
    with contextlib.suppress(OSError):
        said += [
            Path("/proc/sys/kernel/random/boot_id").read_text(),
            str(Path("/proc/self/ns/pid").readlink()),
        ]
    return hashlib.sha256(" ".join(said).encode()).hexdigest()[:8]


def _started(process: int) -> int | None:
    """When a process began, in ticks since the machine did (0 where the system does not say); None: it is no more."""
    try:
        if Path("/proc/self/stat").exists():
            return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19])
        os.kill(process, 0)
    except PermissionError:
        return 0
    except (OSError, ValueError, IndexError):
        return None
    return 0


def temporary_prefix() -> str:
    """How the name of a temporary file or folder of this process begins."""
    return f"{TEMPORARY}{_machine()}-{os.getpid()}-{_started(os.getpid()) or 0}-"


def remove_leftovers(folder: Path) -> int:
    """Remove the temporary files of killed processes from a folder, and return how many there were.

    A file of a process that is alive stays. One of another machine, whose processes cannot be asked for, goes when
    nothing was written to it for a day.
    """
    removed = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith(TEMPORARY):
                continue
            with contextlib.suppress(OSError):  # gone in the meantime, or not ours to remove
                owner = _OWNED.match(entry.name)
                if owner is not None and owner[1] == _machine():
                    began = _started(int(owner[2]))
                    alive = began is not None and began in (0, int(owner[3]))
                else:
                    alive = time.time() - entry.stat(follow_symlinks=False).st_mtime < ABANDONED
                if alive:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
                else:
                    Path(entry.path).unlink()
                removed += 1
    if removed:
        log.info("%s: removed %d temporary files of killed processes", folder, removed)
    return removed


def _sweep(folder: Path) -> None:
    """`remove_leftovers`, once a process and folder."""
    if (key := (os.getpid(), str(folder))) not in _swept:
        _swept.add(key)
        remove_leftovers(folder)


def check_target(target: Path) -> None:
    """Refuse to write a file in the place of a folder, pipe, socket or device; before the work, as after it.

    Raises:
        RunError: there is one, or the path cannot be looked up.
    """
    try:
        there = target.stat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise _as_error(error, target) from error
    except ValueError as error:  # a NUL byte in the path
        raise RunError(
            f"cannot be written: {error}", where=repr(shown_path(target)), remedy="check the path"
        ) from error
    if not stat.S_ISREG(there):
        kind = "a folder" if stat.S_ISDIR(there) else "a pipe, socket or device"
        raise RunError(
            f"cannot be written: it is {kind}, expected a file",
            where=shown_path(target),
            remedy="name a file",
        )


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; on a clean exit it becomes `path`, else it vanishes.

    The temporary file is flushed and synced, renamed over `path`, and the folder is synced, so a reader (or a
    power cut) sees the old content or the new one, never a part. Folders above are made. Where the folder lists
    checksums, that of the new content is added. Temporary files that killed processes left there are removed.

    Raises:
        RunError: the disk is full or read-only, or permission is missing. The old `path` is as it was.
    """
    target = Path(path)
    check_target(target)
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        # the end of the name is kept: writers choose a format by it
        handle, name = tempfile.mkstemp(
            prefix=temporary_prefix(), suffix=target.suffix[-16:], dir=target.parent
        )
        os.close(handle)
        temporary = Path(name)
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        note_checksum(target, temporary)
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
    """Yield an empty folder to fill; on a clean exit it takes the place of `folder` as one step, with its checksums.

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
        begin_checksums(fresh)
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
        busy: the message when another process holds it.

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
