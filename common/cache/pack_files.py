"""The file of a pack: a NumPy file of rows, behind it a table of their digests and checksums, and where packs lie."""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graftwork.common.files import TEMPORARY, remove_leftovers

if TYPE_CHECKING:
    from numpy.typing import NDArray


CHECKSUM = hashlib.sha256().digest_size
ENTRY = 24  # bytes of the table a row: its digest, its CRC-32
_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Pack:
    """What a pack's file says of itself: where its rows begin, their shape [n, ...] and type, and a table [n, 3] of
    their digests (two numbers) and checksums."""

    path: Path
    size: int
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    table: NDArray[np.uint64]


def parts_of_pack(values: NDArray[Any], digests: NDArray[np.uint64]) -> tuple[Pack, tuple[Any, ...]]:
    """A pack without a path, named by its checksum, and the parts of its file in order.

    Args:
        values: the rows [n, ...]. digests: two numbers a row, [n, 2].
    """
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(values))
    head = header.getvalue()
    table = np.column_stack([digests, np.array([row_checksum(row) for row in values], np.uint64)])
    checksum = hashlib.sha256(head + table.tobytes()).digest()
    size = len(head) + values.nbytes + table.nbytes + CHECKSUM
    name = Path(f"{checksum.hex()[:32]}.npy")  # the same rows have the same name in every process
    pack = Pack(name, size, len(head), values.shape, values.dtype, table)
    return pack, (head, values.data, table.data, checksum)


def read_pack(path: Path) -> Pack:
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
        if size != offset + nbytes + ENTRY * shape[0] + CHECKSUM:
            raise ValueError(
                "it is truncated" if size < offset + nbytes else "its digests do not fit its rows"
            )
        file.seek(0)
        head = file.read(offset)
        file.seek(offset + nbytes)
        table, checksum = file.read(ENTRY * shape[0]), file.read(CHECKSUM)
    if hashlib.sha256(head + table).digest() != checksum:
        raise ValueError("its digests do not fit their checksum")
    return Pack(path, size, offset, shape, dtype, np.frombuffer(table, "<u8").reshape(-1, 3))


def row_checksum(row: NDArray[Any]) -> int:
    """CRC-32 of a row's bytes: a quarter of a second a GB."""
    return zlib.crc32(np.ascontiguousarray(row).reshape(-1).view(np.uint8).data if row.nbytes else b"")


def packs_below(root: Path, *, sweep: bool = False) -> Iterator[tuple[Path, os.stat_result]]:
    """Every pack below a cache folder. `sweep`: temporary files of killed processes are removed on the way."""
    for kind in _folders(root):
        for pair in _folders(kind):
            for folder in _folders(pair) if len(pair.name) == 2 else ():
                if _KEY.fullmatch(folder.name):
                    yield from pack_files(folder, sweep=sweep)


def _folders(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    return []


def pack_files(folder: Path, *, sweep: bool = False) -> list[tuple[Path, os.stat_result]]:
    """The packs in a folder, each with its size and times."""
    found = []
    if sweep:
        remove_leftovers(folder)
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):  # removed in the meantime by another process
                status, path = entry.stat(follow_symlinks=False), Path(entry.path)
                if path.suffix == ".npy" and not entry.name.startswith(TEMPORARY) and entry.is_file():
                    found.append((path, status))
    return found
