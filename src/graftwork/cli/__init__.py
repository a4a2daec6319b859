"""The command line. Each command parses its words, calls the function of the same name and prints the result."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from graftwork.cli import browse, datasets, training, prediction, evaluation  # isort: skip  # in the order of --help
from graftwork.cli.commands import RENAMED, app, weights
from graftwork.cli.terminal import exit_code, print_note, sentence
from graftwork.common.errors import UsageError
from graftwork.common.runs.signals import heed_no_more

__all__ = ["app", "browse", "datasets", "evaluation", "main", "prediction", "training", "weights"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):  # show a character that the terminal does not have as an escape
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    given = list(sys.argv[1:] if arguments is None else arguments)
    if "--traceback" in given:  # it may be at any place
        given = ["--traceback", *(word for word in given if word != "--traceback")]
    try:
        verb = next((word for word in given if not word.startswith("-")), "")
        if verb in RENAMED:
            now = f"graftwork {RENAMED[verb]}"
            raise UsageError(f"this command is now `{now}`", where=verb, remedy=f"run `{now}`")
        code = app(given, prog_name="graftwork", standalone_mode=False)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        path = "graftwork" if context is None else context.command_path
        print_note(f"error: {sentence(error.format_message())} See: {path} --help")
        code = error.exit_code if error.exit_code != 1 else 2
    except (Exception, KeyboardInterrupt) as error:  # outside of a command
        stopped = isinstance(error.__cause__, KeyboardInterrupt)  # typer wraps it in an error of its own
        code = exit_code(error.__cause__ if stopped and error.__cause__ else error)
    code = code if isinstance(code, int) else 0
    heed_no_more(code)
    sys.exit(code)
