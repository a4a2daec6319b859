"""The Typer application, and the decorator that makes a command of a function."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any

import typer

from graftwork import __version__
from graftwork.cli.terminal import guarded, print_text, settings

RENAMED = {"find-rate": "find-lr"}

HELP = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(rich_markup_mode=None, context_settings=HELP, pretty_exceptions_enable=False)
weights = typer.Typer(
    rich_markup_mode=None,
    context_settings=HELP,
    help="List pretrained weights, and copy them to a machine without internet.",
)
app.add_typer(weights, name="weights")


def verb(
    described_by: Callable[..., Any] | str, *examples: str, name: str | None = None, to: typer.Typer = app
) -> Callable[[Callable[..., int | None]], Callable[..., int | None]]:
    """Make a command of a function; its help is the docstring of the verb, up to `Args:`, and examples."""
    text = described_by if isinstance(described_by, str) else inspect.getdoc(described_by) or ""
    text = re.split(r"^(?:Args|Returns|Raises):$", text, maxsplit=1, flags=re.MULTILINE)[0].strip()
    shown = "\n".join(f"  graftwork {example}" for example in examples)

    def register(function: Callable[..., int | None]) -> Callable[..., int | None]:
        command = to.command(
            name or function.__name__,
            help=text,
            short_help=" ".join(text.partition("\n\n")[0].split()),
            epilog=f"\b\nExamples:\n{shown}",
        )
        command(guarded(function))
        return function

    return register


@weights.callback(invoke_without_command=True)
def _weights_alone(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print_text(context.get_help())


@app.callback(invoke_without_command=True)
def _before_any_command(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    traceback: Annotated[
        bool,
        typer.Option("--traceback", help="Print the full traceback of an error. Works with any command."),
    ] = False,
) -> None:
    """Transfer learning for medical and wildlife imaging: train, predict, evaluate and report from one recipe.

    \b
    A first run:
      graftwork ls recipes
      graftwork synthesize chest_xray/kermany toy
      graftwork run chest_xray/kermany_linear-probe --data toy seed=1
    \b
    Exit codes: 0 done; 1 done, with findings (check, doctor, predict, evaluate, compare); 2 wrong usage or
    invalid input; 70 a bug in graftwork; 75 stopped by a signal and 130 by Ctrl-C: both can be resumed.
    """
    settings.traceback = traceback
    if version:
        print_text(f"graftwork {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print_text(context.get_help())
