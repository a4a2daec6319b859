"""Archives of a few plain files: the same content gives the same bytes, and a foreign one can do no harm."""

from __future__ import annotations

import io
import lzma
import os
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO

from graftwork.common.errors import GraftworkError, UsageError
from graftwork.common.files import writing
from graftwork.common.files.untrusted_files import is_file


def check_name(path: str | os.PathLike[str]) -> Path:
    """The path of an archive to be written.

    Raises:
        UsageError: its name ends neither in .tar nor in .zip.
    """
    target = Path(path)
    if target.suffix not in (".tar", ".zip"):
        raise UsageError("the name of an archive ends in .tar or .zip", where=target)
    return target


def write(path: str | os.PathLike[str], members: Mapping[str, bytes]) -> None:
    """Write files by name into a `.tar` or `.zip` (not compressed), whole or not at all.

    The bytes depend on names and contents alone: no times, no owners, in the order of the names.

    Raises:
        UsageError: the name ends neither in .tar nor in .zip.
        RunError: it cannot be written.
    """
    target = check_name(path)
    with writing(target) as temporary:
        if target.suffix == ".tar":
            with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as tar:
                for name, content in sorted(members.items()):
                    header = tarfile.TarInfo(name)
                    header.size = len(content)
                    tar.addfile(header, io.BytesIO(content))
        else:
            with zipfile.ZipFile(temporary, "w") as archive:
                for name, content in sorted(members.items()):
                    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
                    entry.create_system, entry.external_attr = 3, 0o644 << 16
                    archive.writestr(entry, content)


def extract(path: str | os.PathLike[str], folder: str | os.PathLike[str], names: str) -> list[str]:
    """Write the members of a `.tar` or `.zip` into a folder; return their names in the archive's order.

    Args:
        folder: where to; files there with the same names are replaced.
        names: a regular expression that each whole name must match. It is the guard against paths that lead
            out of the folder: let it match no slash and no leading dot.

    Raises:
        UsageError: no such file, no such archive, damaged; a member whose name does not match, that stands
            there twice or is a link, folder or device; content of more than 20 times the archive's size.
    """
    source, into = Path(path), Path(folder)
    if not is_file(source, UsageError):
        what = "is no file" if source.exists() else "there is no such archive"
        raise UsageError(what, where=source, remedy="name the file that `graftwork weights pack` wrote")
    limit = 20 * source.stat().st_size + 2**20
    done: list[str] = []
    try:
        for name, plain, opened in _members(source):
            if not plain or name in done or not re.fullmatch(names, name, re.ASCII):
                raise UsageError(
                    f"its member {name!r} is not a plain file of the expected kind, or is a duplicate",
                    where=source,
                    remedy="unpack only what graftwork packed",
                )
            done.append(name)
            with opened() as content, (into / name).open("wb") as file:
                while chunk := content.read(2**20):
                    limit -= len(chunk)
                    if limit < 0:
                        raise UsageError("it unpacks to more than 20 times its size", where=source)
                    file.write(chunk)
    except GraftworkError:
        raise
    except _DAMAGE as error:
        raise UsageError(
            f"not a whole .tar or .zip: {error}", where=source, remedy="bring it again"
        ) from error
    except OSError as error:
        raise UsageError(f"cannot be unpacked: {error.strerror or error}", where=source) from error
    return done


_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
    RuntimeError,  # an encrypted member
    NotImplementedError,  # a compression that Python does not know
    struct.error,
    OverflowError,
)


def _members(source: Path) -> Iterator[tuple[str, bool, Callable[[], IO[bytes]]]]:
    """Name, whether it is a plain file, and how to open it, for each member of a tar or zip archive."""
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            for entry in archive.infolist():
                kind = entry.external_attr >> 28  # the type in a Unix mode; 0 where none was stored, 8 a file
                plain = kind in (0, 8) and not entry.is_dir() and not entry.flag_bits & 1
                yield entry.filename, plain, partial(archive.open, entry)
        return
    with tarfile.open(source, "r:") as tar:
        for member in tar:
            plain = member.isreg() and not member.issparse()
            yield member.name, plain, partial(_opened, tar, member)


def _opened(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    return tar.extractfile(member) or io.BytesIO()
