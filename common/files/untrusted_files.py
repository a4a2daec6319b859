"""Open files that may be foreign or damaged: regular files only, as bytes, text or JSON.

All readers of JSON use `read_json`, so that nothing blocks, ends in a traceback or is misread: pipes and devices,
paths that are too long, other encodings, keys that are there twice, numbers too large to hold, deep nesting.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graftwork.common.errors import GraftworkError, shown_path
from graftwork.common.wording import cut_text

if TYPE_CHECKING:
    import pandas as pd


_DIGITS = re.compile(r"\d{309}")  # more than a float holds
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def is_file(path: Path, error: type[GraftworkError]) -> bool:
    """Whether there is such a file.

    Raises:
        error: the path cannot be looked up: it is too long, holds a NUL byte, or a folder of it may not be entered.
    """
    try:
        return path.is_file()
    except (OSError, ValueError) as fault:
        reason = getattr(fault, "strerror", None) or fault
        raise error(f"cannot be read ({reason})", where=shown_path(path), remedy="check the path") from fault


def read_bytes(
    path: str | os.PathLike[str],
    error: type[GraftworkError],
    *,
    remedy: str | None = None,
    largest: int = 0,
) -> bytes:
    """The content of a regular file; anything else is refused before it is opened.

    Args:
        error: the class of the error. remedy: what to do about it, where the cause does not say it.
        largest: bytes; 0 for no limit.

    Raises:
        error: it is missing, no regular file, too large, cannot be read, or does not fit into memory.
    """
    place = check_file(path, error, remedy=remedy, largest=largest)
    try:
        return place.read_bytes()
    except OSError as fault:
        reason = fault.strerror or str(fault)
        raise error(
            f"cannot be read ({reason})", where=shown_path(place), remedy=remedy or "check the path"
        ) from fault
    except MemoryError as fault:
        raise error(
            "does not fit into memory", where=shown_path(place), remedy="free memory, or divide it"
        ) from fault


def check_file(
    path: str | os.PathLike[str],
    error: type[GraftworkError],
    *,
    remedy: str | None = None,
    largest: int = 0,
) -> Path:
    """The path of a regular file. Anything else is refused before it is opened: a pipe blocks, a device has no end.

    Raises:
        error: it is missing, no regular file, larger than `largest` bytes, or cannot be looked up.
    """
    place = Path(path)
    where = shown_path(place)
    try:
        status = place.stat()
    except FileNotFoundError as fault:
        raise error("there is no such file", where=where, remedy=remedy or "check the path") from fault
    except OSError as fault:
        reason = fault.strerror or str(fault)
        raise error(f"cannot be read ({reason})", where=where, remedy=remedy or "check the path") from fault
    except ValueError as fault:  # a NUL byte in the path
        raise error(f"cannot be read ({fault})", where=repr(where), remedy="check the path") from fault
    kind = next((name for test, name in _KINDS if test(status.st_mode)), "")
    if kind:
        raise error(f"is {kind}, expected a file", where=where, remedy=remedy or "name a file")
    if largest and status.st_size > largest:
        raise error(
            f"is too large ({status.st_size:,} bytes, at most {largest:,})", where=where, remedy=remedy
        )
    return place


def read_text(
    path: str | os.PathLike[str],
    error: type[GraftworkError],
    *,
    remedy: str | None = None,
    largest: int = 0,
) -> str:
    """The text of a regular file: UTF-8, or UTF-16 with a byte order mark.

    Raises:
        error: as `read_bytes`, or it is not such text.
    """
    return _decoded(read_bytes(path, error, remedy=remedy, largest=largest), path, error, remedy)


def read_json(
    path: str | os.PathLike[str],
    error: type[GraftworkError],
    *,
    remedy: str | None = None,
    content: bytes | None = None,
) -> Any:
    """The value of a JSON file.

    Args:
        content: its bytes, where they were read already.

    Raises:
        error: as `read_text`, or it is not valid JSON: says in which line.
    """
    given = read_bytes(path, error, remedy=remedy) if content is None else content
    text = _decoded(given, path, error, remedy)
    try:
        return parse_json(text)
    except ValueError as fault:
        remedy = remedy or "save it again from the program that made it"
        raise error(f"not readable as JSON: {fault}", where=shown_path(path), remedy=remedy) from fault


def check_keys(
    content: Any, kinds: Mapping[str, type | tuple[type, ...]], where: object, error: type[GraftworkError]
) -> dict[str, Any]:
    """A JSON object, once the keys that are there have values of these types; keys without a type are not looked at.

    Args:
        kinds: the type of each key; None among the types: it may be missing.

    Raises:
        error: it is no object, or keys are missing or of another type (all of them).
    """
    if not isinstance(content, dict):
        raise error(f"damaged: found a {type(content).__name__}, expected an object", where=where)
    faults = []
    for key, kind in kinds.items():
        wanted = kind if isinstance(kind, tuple) else (kind,)
        if key not in content:
            faults += [] if type(None) in wanted else [f"{key} is missing"]
        elif not isinstance(content[key], wanted) or (isinstance(content[key], bool) and bool not in wanted):
            names = " or ".join("null" if each is type(None) else each.__name__ for each in wanted)
            faults.append(f"{key} is {str(content[key])[:60]!r}, expected {names}")
    if faults:
        raise error(f"damaged: {'; '.join(faults)}", where=where, remedy="restore the file from a copy")
    return content


@contextlib.contextmanager
def interpreting(where: object, error: type[GraftworkError]) -> Iterator[None]:
    """Around code that takes the content of files apart, which fails in many ways where one is damaged.

    Raises:
        error: the content is not what the files of this folder hold.
    """
    try:
        yield
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        IndexError,
        RuntimeError,
        AssertionError,
    ) as fault:
        raise error(
            f"its files are damaged or do not belong together ({type(fault).__name__}: {cut_text(fault)})",
            where=where,
            remedy="restore the folder from a copy, or begin a new run with --out elsewhere",
        ) from fault


def read_parquet(
    path: Path, error: type[GraftworkError], *, remedy: str = "restore the file from a copy"
) -> pd.DataFrame:
    """The rows of a Parquet file that graftwork wrote; the checksums of its pages are verified.

    Raises:
        error: it is missing or damaged.
    """
    import io

    import pyarrow.parquet as pq

    content = read_bytes(path, error, remedy=remedy)
    try:
        # ParquetFile, not read_table: a folder name like part=test above the file is no column
        with pq.ParquetFile(io.BytesIO(content), page_checksum_verification=True) as file:
            table = file.read()
        table.validate(full=True)  # text that is no UTF-8 would fail later
        frame: pd.DataFrame = table.to_pandas()
        return frame
    except Exception as fault:  # whatever the library's parsers raise
        raise error(f"damaged ({cut_text(fault)})", where=path, remedy=remedy) from fault


def parse_json(text: str) -> Any:
    """The value of a JSON text. NaN and Infinity are read, as other programs write them; a whole number of more than
    308 digits is infinite, as 1e400 is.

    Raises:
        ValueError: it is not JSON, a key is there twice in one object, or lists and objects are nested too deeply.
    """
    integer = _integer if _DIGITS.search(text) else None
    try:
        return json.loads(text, object_pairs_hook=_object, parse_int=integer)
    except RecursionError as error:
        raise ValueError("its lists and objects are nested too deeply") from error
    except MemoryError as error:
        raise ValueError("it does not fit into memory") from error


def _integer(digits: str) -> float:
    return int(digits) if len(digits) <= 308 else math.copysign(math.inf, -1.0 if digits[0] == "-" else 1.0)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} is there twice in one object")
    return found


def _decoded(
    content: bytes, path: str | os.PathLike[str], error: type[GraftworkError], remedy: str | None
) -> str:
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as fault:
        line = content.count(b"\n", 0, fault.start) + 1
        what = f"not UTF-8 text: byte {content[fault.start]:#04x} in line {line}"
        remedy = remedy or "save it as UTF-8"
        raise error(what, where=shown_path(path), remedy=remedy) from fault
    except MemoryError as fault:
        raise error("does not fit into memory", where=shown_path(path), remedy="free memory") from fault
