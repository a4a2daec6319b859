"""What a person at a terminal, or a program at the other end of a pipe, sees: tables, bars, logs, errors.

Results go to standard output. Bars, logs and errors go to standard error; bars on a terminal only. Of the
processes of one run (torchrun), the first one speaks.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import typer

from graftwork.common.errors import GraftworkError, as_user_error
from graftwork.common.memory import memory_lack
from graftwork.common.recipe.keys import printable
from graftwork.common.runs.signals import Stopped

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "FOUND",
    "bars",
    "complain",
    "guarded",
    "logs",
    "say",
    "say_json",
    "say_table",
    "sentence",
    "settings",
]

FOUND, OURS, STOPPED, INTERRUPTED = 1, 70, 75, 130  # exit codes; those of errors stand in errors.py


class _Settings:
    traceback = False  # show them in full, for people who mend graftwork


settings = _Settings()


class _ReaderGone(Exception):
    """Whoever read our standard output has seen enough, as `head` does."""


def _speaks() -> bool:
    return os.environ.get("RANK", "0") in ("", "0")


def plain(text: object) -> str:
    """Text as it may be shown: what steers a terminal (in a file's name, for one) is written as an escape."""
    return "\n".join(printable(line) for line in str(text).split("\n"))


def sentence(text: str) -> str:
    """Text with the one mark that ends it."""
    return text if text.endswith(("?", "!")) else f"{text.rstrip('.')}."


def say(text: str) -> None:
    """Write a text, as it is, and the end of its line to standard output."""
    if not _speaks():
        return
    try:
        sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise _ReaderGone from error
    except OSError as error:
        raise GraftworkError(
            f"cannot be written: {error.strerror}",
            where="standard output",
            remedy="free space, or send the output elsewhere",
        ) from error


def say_json(content: object) -> None:
    """Write a JSON value to standard output."""
    say(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))


def say_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, whole: int = 1) -> None:
    """Write a table: as wide as the terminal on one, with the first `whole` columns not broken; one line a row in
    a pipe."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    at_terminal = sys.stdout.isatty()
    page = io.StringIO()  # written out by say, which knows what to do when nobody reads
    width = None if at_terminal else 100_000
    console = Console(file=page, force_terminal=at_terminal, width=width, highlight=False)
    table = Table(box=box.SIMPLE_HEAD if at_terminal else None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(Text(column), overflow="fold", no_wrap=number < whole)
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    console.print(table, crop=False)
    say("\n".join(line.rstrip() for line in page.getvalue().split("\n")).rstrip("\n"))


def complain(text: str) -> None:
    """Write a text and the end of its line to standard error."""
    with contextlib.suppress(OSError, ValueError):  # closed, or its reader gone: nobody is there to be told
        sys.stderr.write(f"{plain(text)}\n")
        sys.stderr.flush()


def guarded(verb: Callable[..., int | None]) -> Callable[..., None]:
    """A verb that ends in an exit code and, where something is wrong, in a line or two on standard error."""

    @functools.wraps(verb)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            with logs():
                code = verb(*args, **kwargs) or 0
        except (typer.Exit, typer.TyperException):
            raise
        except (Exception, KeyboardInterrupt) as error:
            code = exit_code(error)
        raise typer.Exit(code)

    return wrapped


def exit_code(error: BaseException) -> int:
    """Say what went wrong on standard error, in a line or two, and with which code the program ends.

    Raises:
        the error itself, where the user asked for tracebacks.
    """
    if isinstance(error, _ReaderGone):
        with contextlib.suppress(OSError, ValueError):  # or the interpreter complains when it flushes
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if settings.traceback:
        raise error
    if isinstance(error, Stopped):
        complain(f"stopped: by {error}; what was done is kept. The same command goes on.")
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        complain("stopped: interrupted")
        return INTERRUPTED
    error = as_user_error(error) or error
    if isinstance(error, GraftworkError):
        stopped = error.exit_code in (STOPPED, INTERRUPTED)
        complain(f"{'stopped' if stopped else 'error'}: {error}")
        return error.exit_code
    if lack := memory_lack(error):
        complain(
            f"error: memory ran out ({sentence(lack)[:-1]}). Fix: lower --workers or training.workers, "
            "training.batch_size or image.size, work on fewer files at a time, or use a machine with more memory."
        )
        return GraftworkError.exit_code
    kept = _kept(error)
    complain(
        f"error: {type(error).__name__}: {sentence(_first_line(error))} This is a fault of graftwork.{kept}"
    )
    return OURS


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no message"


def _kept(error: BaseException) -> str:
    """Write the traceback to a file, and say where; say how else to see it where that fails."""
    try:
        handle, name = tempfile.mkstemp(prefix="graftwork-", suffix=".traceback.txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write("".join(traceback.format_exception(error)))
    except OSError:
        return " Run again with --traceback to see where."
    return f" Where: {name}"


class _LogHandler(logging.Handler):
    """Logs as lines on standard error, above a bar where there is one."""

    console: Console | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
            text = f"{level}{record.getMessage()}"
            if self.console is None:
                complain(text)
            else:
                self.console.print(plain(text), markup=False, highlight=False, soft_wrap=True)
        except Exception:  # a log line must not end the work it tells of
            self.handleError(record)


_handler = _LogHandler()


@contextlib.contextmanager
def logs() -> Iterator[None]:
    """Show the logs of graftwork on standard error."""
    logger = logging.getLogger("graftwork")
    before = logger.level, logger.propagate
    logger.setLevel(logging.INFO if _speaks() else logging.ERROR)
    logger.propagate = False
    logger.addHandler(_handler)
    try:
        yield
    finally:
        logger.removeHandler(_handler)
        logger.level, logger.propagate = before


@contextlib.contextmanager
def bars() -> Iterator[Callable[[str, int, int], None] | None]:
    """A callback (what, done, in all) that moves a bar on standard error; None where nobody would see it."""
    if not (_speaks() and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        tasks: dict[str, TaskID] = {}

        def move(what: str, done: int, total: int) -> None:
            if what not in tasks:  # a new bar, so that the time left is that of the work at hand
                for task in tasks.values():
                    progress.remove_task(task)
                tasks.clear()
                tasks[what] = progress.add_task(plain(what), total=total)
            progress.update(tasks[what], completed=done, total=total)

        _handler.console = console
        try:
            yield move
        finally:
            _handler.console = None
