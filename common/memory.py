"""Turn running out of memory into one error that names the step and the setting to lower."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
from collections.abc import Iterator

from graftwork.common.errors import RunError

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # options of mallopt in glibc's malloc.h

# how torch says it of the CPU and of a GPU, and the system of a new process
_SAID = ("defaultcpuallocator", "out of memory", "cannot allocate memory", "can't allocate memory")


def memory_lack(error: BaseException) -> str:
    """The line in which an error speaks of too little memory; empty where it is about something else."""
    line = (str(error).strip().splitlines() or [""])[0]
    lacks = (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"  # of torch, which is not imported for this
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (isinstance(error, RuntimeError) and any(said in str(error).lower() for said in _SAID))
    )
    return (line or "out of memory") if lacks else ""


@contextlib.contextmanager
def collecting_later() -> Iterator[None]:
    """Put off the collection of garbage while many small objects are made that all stay: it searches them in vain, each
    time longer, and reading a large table would take more than its share of time."""
    active = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if active:
            gc.enable()


def keep_freed_memory() -> bool:
    """Keep freed memory in this process for its next step, and return whether that is possible.

    By default glibc returns each large array to the kernel as soon as it is freed, and the kernel clears it before the
    next step gets it again; for the activations of a network this costs up to 40 % of the time. No effect on systems
    with another C library.
    """
    try:
        library = ctypes.CDLL(None)
        return bool(library.mallopt(_MMAP_MAX, 0)) and bool(library.mallopt(_TRIM_THRESHOLD, 2**30))
    except (OSError, AttributeError, TypeError):  # no libc of this kind
        return False


@contextlib.contextmanager
def memory_for(doing: str, remedy: str, *, where: object = None) -> Iterator[None]:
    """Turn an error of lacking memory into one that says what was being done.

    Args:
        doing: "predicting". remedy: what to lower. where: the file, folder or verb that it concerns.

    Raises:
        RunError: there was not enough memory.
    """
    try:
        yield
    except (MemoryError, OSError, RuntimeError) as error:
        text = memory_lack(error)
        if not text:
            raise
        raise RunError(f"memory ran out while {doing} ({text})", where=where, remedy=remedy) from error
