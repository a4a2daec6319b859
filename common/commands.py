"""The command that does the same as a call of a verb: for a page, and for what programs read."""

from __future__ import annotations

import inspect
import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["command_of", "listed", "option_of"]

_OPTIONS = {"low": "from", "high": "to"}  # `from` is a word of Python


def option_of(parameter: str) -> str:
    """The option of the command line that a parameter of a verb is."""
    return f"--{_OPTIONS.get(parameter, parameter).replace('_', '-')}"


def listed(values: str | Iterable[str]) -> tuple[str, ...]:
    """Names that were given one by one, or in one text by comma; a single name is one name, not its letters."""
    each = values.split(",") if isinstance(values, str) else values
    return tuple(name.strip() for name in each if name.strip())


def command_of(
    words: str, verb: Callable[..., Any], given: Mapping[str, Any], places: Sequence[str] = ()
) -> str:
    """The command line of a call, quoted for a shell, with every option that differs from its default.

    An absolute path is cut to its last part: a page says nothing of the machine it was made on.

    Args:
        words: how it begins, such as "evaluate seg". verb: the function. given: its arguments by name; those of
            `**options` in a mapping, as they came. places: the parameters without an option, in their order.
    """
    defaults: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for name, parameter in inspect.signature(verb).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            values |= given.get(name, {})
        elif name in given and name != "progress":
            values[name], defaults[name] = given[name], parameter.default
    said = ["graftwork", *words.split(), *(_text(values[name]) for name in places)]
    for name, value in values.items():
        if (
            name in places
            or value == defaults.get(name)
            or (not value and not isinstance(value, int | float))
        ):
            continue
        if value is False:
            continue
        said += [option_of(name)] if value is True else [option_of(name), _text(value)]
    return " ".join(map(shlex.quote, said))


def _text(value: Any) -> str:
    if isinstance(value, str | os.PathLike):
        text = os.fspath(value)
        return Path(text).name if os.path.isabs(text) else str(text)  # noqa: PTH117 (a text may be no path)
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value) if isinstance(value, int | float) else "TABLE"
