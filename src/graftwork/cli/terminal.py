"""Print tables, progress bars, logs and errors.

Results go to standard output. Bars, logs and errors go to standard error; bars only on a terminal. With torchrun,
only the first process prints.
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

FOUND, BUG, STOPPED, INTERRUPTED = 1, 70, 75, 130  # exit codes; errors.py has those of errors


class _Settings:
    traceback = False  # show full tracebacks, for developers of graftwork


settings = _Settings()


class _PipeClosed(Exception):
    """The program that reads our standard output has ended, as `head` does."""


def _first_process() -> bool:
    return os.environ.get("RANK", "0") in ("", "0")


def plain(text: object) -> str:
    """The text with control characters (of a file name, for example) written as escapes."""
    return "\n".join(printable(line) for line in str(text).split("\n"))


def sentence(text: str) -> str:
    """The text, ending with exactly one full stop (or ? or !)."""
    return text if text.endswith(("?", "!")) else f"{text.rstrip('.')}."


def print_text(text: str) -> None:
    """Write a line of text to standard output."""
    if not _first_process():
        return
    try:
        sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise _PipeClosed from error
    except OSError as error:
        raise GraftworkError(
            f"cannot write: {error.strerror}",
            where="standard output",
            remedy="free disk space, or write the output to another disk",
        ) from error


def print_json(content: object) -> None:
    """Write a JSON value to standard output."""
    print_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, whole: int = 1) -> None:
    """Write a table to standard output: fitted to the width of a terminal, or one line per row in a pipe.

    The first `whole` columns are never wrapped.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    at_terminal = sys.stdout.isatty()
    page = io.StringIO()  # written out by print_text, which handles a closed pipe
    width = None if at_terminal else 100_000
    console = Console(file=page, force_terminal=at_terminal, width=width, highlight=False)
    table = Table(box=box.SIMPLE_HEAD if at_terminal else None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(Text(column), overflow="fold", no_wrap=number < whole)
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    console.print(table, crop=False)
    print_text("\n".join(line.rstrip() for line in page.getvalue().split("\n")).rstrip("\n"))


def print_note(text: str) -> None:
    """Write a line of text to standard error."""
    with contextlib.suppress(OSError, ValueError):  # closed, or nobody reads it
        sys.stderr.write(f"{plain(text)}\n")
        sys.stderr.flush()


def guarded(verb: Callable[..., int | None]) -> Callable[..., None]:
    """Turn the result of a command into an exit code, and an error into one or two lines on standard error."""

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
    """Print an error in one or two lines on standard error, and return the exit code.

    Raises:
        the error itself, with --traceback.
    """
    if isinstance(error, _PipeClosed):
        with contextlib.suppress(
            OSError, ValueError
        ):  # otherwise the interpreter reports an error when it flushes
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if settings.traceback:
        raise error
    if isinstance(error, Stopped):
        print_note(f"stopped by {error}; finished work is saved. Run the same command again to resume.")
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        print_note("stopped: interrupted")
        return INTERRUPTED
    error = as_user_error(error) or error
    if isinstance(error, GraftworkError):
        stopped = error.exit_code in (STOPPED, INTERRUPTED)
        print_note(f"{'stopped' if stopped else 'error'}: {error}")
        return error.exit_code
    if lack := memory_lack(error):
        print_note(
            f"error: out of memory ({sentence(lack)[:-1]}). Fix: use a lower --workers, training.workers, "
            "training.batch_size or image.size, process fewer files at a time, or use a machine with more memory."
        )
        return GraftworkError.exit_code
    place = _save_traceback(error)
    print_note(
        f"error: {type(error).__name__}: {sentence(_first_line(error))} This is a bug in graftwork.{place}"
    )
    return BUG


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no message"


def _save_traceback(error: BaseException) -> str:
    """Write the traceback to a file and name the file, or name the option that prints the traceback."""
    try:
        handle, name = tempfile.mkstemp(prefix="graftwork-", suffix=".traceback.txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write("".join(traceback.format_exception(error)))
    except OSError:
        return " Run again with --traceback to see the traceback."
    return f" Traceback: {name}"


class _LogHandler(logging.Handler):
    """Print log records as lines on standard error, above a progress bar if there is one."""

    console: Console | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
            text = f"{level}{record.getMessage()}"
            if self.console is None:
                print_note(text)
            else:
                self.console.print(plain(text), markup=False, highlight=False, soft_wrap=True)
        except Exception:  # a log line must never end the work
            self.handleError(record)


_handler = _LogHandler()


@contextlib.contextmanager
def logs() -> Iterator[None]:
    """Show the logs of graftwork on standard error."""
    logger = logging.getLogger("graftwork")
    before = logger.level, logger.propagate
    logger.setLevel(logging.INFO if _first_process() else logging.ERROR)
    logger.propagate = False
    logger.addHandler(_handler)
    try:
        yield
    finally:
        logger.removeHandler(_handler)
        logger.level, logger.propagate = before


@contextlib.contextmanager
def bars() -> Iterator[Callable[[str, int, int], None] | None]:
    """A callback (what, done, total) that moves a bar on standard error; None if standard error is no terminal."""
    if not (_first_process() and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        tasks: dict[str, TaskID] = {}

        def move(what: str, done: int, total: int) -> None:
            if what not in tasks:  # a new bar, so that the remaining time is that of the current step
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
