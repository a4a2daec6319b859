"""The exceptions of graftwork: what happened, where, why, and what to do about it.

Every error that a user can do something about is a `GraftworkError`. The command line prints it in a line or
two and exits with its code; nothing else is ever shown to a user as a traceback.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "DatasetError",
    "GraftworkError",
    "ImageError",
    "Interrupted",
    "LeakError",
    "RecipeError",
    "RunError",
    "TableError",
    "UsageError",
    "WeightsError",
]


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
        place = "" if self.where is None else f"{self.where}: "
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
    """A group, or the same picture, would stand in two parts of a split."""


class ImageError(GraftworkError):
    """A picture that cannot be read.

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
    """Pretrained weights are not to be had as the recipe allows, or are not what they claim to be."""


class RunError(GraftworkError):
    """The folder of a run is in use, incomplete, damaged, or does not fit what is asked of it."""


class Interrupted(GraftworkError):
    """Work was stopped by a signal after its state was written; the same command goes on from there.

    `exit_code` is 75 (EX_TEMPFAIL: try again) after SIGTERM or SIGUSR1, 130 after Ctrl-C.
    """

    def __init__(self, what: str, *, exit_code: int, where: object = None, remedy: str | None = None) -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.exit_code = exit_code
