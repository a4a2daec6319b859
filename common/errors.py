"""The exceptions of graftwork: what happened, where, why, and what to do about it.

Every error that a user can do something about is a `GraftworkError`. The command line prints it in a line or
two and exits with its code; nothing else is ever shown to a user as a traceback.
"""

from __future__ import annotations

import errno
import importlib.util
import os
from collections.abc import Sequence


class GraftworkError(Exception):
    """Something went wrong that the user can do something about.

    Args:
        what: what was expected and what was found, in one sentence without a full stop.
        where: the file, key or name that it concerns.
        remedy: what to do about it, in one sentence without a full stop.

    `str(error)` reads ``where: what. remedy.``; the three parts stay available as attributes, so that a
    program (a table of findings, a report) can lay them out itself.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: object = None, remedy: str | None = None) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.remedy = remedy
        shown = self.where or ""
        place = "" if self.where is None else f"{shown_path(shown) if len(shown) > 400 else shown}: "
        advice = "" if remedy is None else f" {remedy[:1].upper()}{remedy[1:].rstrip('.')}"
        advice += "" if not advice or advice.endswith("?") else "."
        super().__init__(f"{place}{what.rstrip('.')}.{advice}")


class UsageError(GraftworkError):
    """The words of a call do not fit: an unknown name, a missing option, an impossible combination."""


class RecipeError(GraftworkError):
    """A recipe with faults. `faults` holds one line for each of them; all are found in one reading."""

    def __init__(
        self, what: str, *, faults: Sequence[str] = (), where: object = None, remedy: str | None = None
    ) -> None:
        self.faults = tuple(faults)
        listing = "".join(f"\n  {fault}" for fault in self.faults)
        super().__init__(what, where=where, remedy=remedy)
        if listing:
            self.args = (f"{self.args[0]}{listing}",)


class DatasetError(GraftworkError):
    """The files of a dataset do not lie as its loader expects, or say something impossible."""


class TableError(GraftworkError):
    """A table (labels, predictions) cannot be used: a column, a value or a row is not what it must be."""


class LeakError(GraftworkError):
    """A group, or the same image, would be in two parts of a split."""


class ImageError(GraftworkError):
    """An image that cannot be read.

    Args:
        what: the reason.
        where: the file.
        stage: where reading ended: `open`, `header`, `budget`, `decode` or `content`.
        remedy: what to do about it.
    """

    def __init__(self, what: str, *, where: object, stage: str, remedy: str | None = None) -> None:
        self.stage = stage
        self.reason = what
        super().__init__(f"cannot be read ({stage}): {what}", where=where, remedy=remedy)

    def __reduce__(self) -> tuple[object, ...]:  # crosses the border of a worker process with its parts
        return (_image_error, (self.reason, self.where, self.stage, self.remedy))


def _image_error(what: str, where: str, stage: str, remedy: str | None) -> ImageError:
    return ImageError(what, where=where, stage=stage, remedy=remedy)


class WeightsError(GraftworkError):
    """Pretrained weights are missing where the recipe looks for them, or are not the declared ones."""


class RunError(GraftworkError):
    """The folder of a run is in use, incomplete, damaged, or does not fit what is asked of it."""


class MissingLibraryError(GraftworkError, ImportError):
    """A library that an extra of graftwork installs is missing; one line gives the command that installs it.

    Args:
        library: its import name: "torch".
        where: what needs it: "graftwork run".
    """

    def __init__(self, library: str, *, where: object) -> None:
        remedy = f'pip install "graftwork[{_EXTRA_OF.get(library, "train")}]"'
        super().__init__(f"needs {library}, which is not installed", where=where, remedy=remedy)
        self.library = library
        self.msg = f"{where} needs {library}. Fix: {remedy}"  # what ImportError shows

    def __reduce__(self) -> tuple[object, ...]:
        return (_missing_library, (self.library, self.where))


def _missing_library(library: str, where: object) -> MissingLibraryError:
    return MissingLibraryError(library, where=where)


_TRAINING = ("torch", "torchvision", "timm", "accelerate", "safetensors")  # what every run needs
_EXTRA_OF = {
    **dict.fromkeys((*_TRAINING, "monai", "albumentations", "cv2", "huggingface_hub"), "train"),
    "pycocotools": "boxes",
}


def require_training(where: str) -> None:
    """Refuse to start what the light install cannot do.

    Args:
        where: what needs the libraries: "graftwork run".

    Raises:
        MissingLibraryError: the extra `train` is not installed.
    """
    for library in _TRAINING:
        if importlib.util.find_spec(library) is None:
            raise MissingLibraryError(library, where=where)


class Interrupted(GraftworkError):
    """Work was stopped by a signal after its state was written; the same command goes on from there.

    `exit_code` is 75 (EX_TEMPFAIL: try again) after SIGTERM or SIGUSR1, 130 after Ctrl-C.
    """

    def __init__(self, what: str, *, exit_code: int, where: object = None, remedy: str | None = None) -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.exit_code = exit_code


_SYSTEM = {  # what a user can change about a failed system call: what it is, and the remedy
    errno.ENAMETOOLONG: ("the name or path is too long for this file system", "use a shorter path"),
    errno.ENOSPC: ("the disk is full", "free some room, then run the same command again"),
    errno.EDQUOT: ("the disk quota is used up", "free some room, then run the same command again"),
    errno.EROFS: ("the file system is read-only", "choose another folder"),
    errno.EACCES: ("permission denied", "change the permissions, or choose another path"),
    errno.EPERM: ("permission denied", "change the permissions, or choose another path"),
    errno.ENOENT: ("there is no such file or folder", "check the path"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "check the path"),
    errno.EISDIR: ("is a folder, expected a file", "check the path"),
    errno.ELOOP: ("symbolic links lead in a circle", "correct the links"),
    errno.ENXIO: ("is a pipe, socket or device, expected a file", "name a file"),
    errno.EIO: ("the disk or network drive reports an error", "copy the data to another disk"),
    errno.ESTALE: ("the network drive was disconnected", "mount it again, then run the same command again"),
    errno.EMFILE: ("too many files are open", "raise the limit with `ulimit -n`, or use fewer workers"),
    errno.ENFILE: ("too many files are open on this machine", "close other programs"),
}


def shown_path(path: object) -> str:
    """A path as a message shows it: the first 200 characters of a longer one, and its length."""
    text = str(path)  # not `cut_text`, which would fold spaces that belong to the path
    return text if len(text) <= 200 else f"{text[:200]}... (cut, {len(text):,} characters)"


def as_user_error(error: BaseException, *, where: str = "graftwork") -> GraftworkError | None:
    """Turn an error of a library or the system into one with a remedy; None if a user cannot fix it.

    For the last moment before an error counts as a bug in graftwork: a disk that is full, a path that is
    too long. Of memory that is used up `memory.memory_lack` says.
    """
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in _EXTRA_OF:
        return MissingLibraryError((error.name or "").partition(".")[0], where=where)
    if isinstance(error, OSError) and error.errno in _SYSTEM:
        what, remedy = _SYSTEM[error.errno]
        named = [
            os.fsdecode(each) for each in (error.filename, error.filename2) if isinstance(each, str | bytes)
        ]
        return GraftworkError(what, where=shown_path(named[0]) if named else None, remedy=remedy)
    if isinstance(error, ValueError) and str(error).startswith("embedded null"):
        return GraftworkError("a path holds a NUL byte", where="path", remedy="check the paths")
    return None
