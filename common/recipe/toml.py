"""TOML with the line number of each key, which tomllib does not report, and values written back."""

from __future__ import annotations

import datetime
import json
import math
import re
import tomllib
from typing import Any

from graftwork.common.errors import RecipeError

LARGEST = 1 << 20  # characters; a recipe has two thousand
_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_GAP = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SCALAR = re.compile(r"[^,\]}#\n]*")
_STRING = re.compile(  # in this order: three quotes before one
    r'"""(?:\\.|[^\\])*?"{3,5}(?!")|\'\'\'.*?\'{3,5}(?!\')|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'', re.DOTALL
)


def parse(text: str, where: str) -> dict[str, Any]:
    """TOML text to values.

    Raises:
        RecipeError: the text is not TOML; says the line, the column and the file.
    """
    if len(text) > LARGEST:
        raise RecipeError(
            f"too long for a recipe: {len(text):,} characters, at most {LARGEST:,}", where=where
        )
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        message, place = str(error), _PLACE.search(str(error))
        if place is None:
            at = where
        elif place[1] is None:
            at = f"{where}, line {text.count(chr(10)) + 1} (the end)"
        else:
            at = f"{where}, line {place[1]}, column {place[2]}"
        raise RecipeError(f"not valid TOML: {_PLACE.sub('', message)}", where=at) from None
    except RecursionError:
        raise RecipeError("not usable: its lists or tables are nested too deeply", where=where) from None
    except ValueError as error:  # an integer of thousands of digits, a date of month 13
        raise RecipeError(f"not valid TOML: {error}", where=where) from None


def key_lines(text: str) -> dict[tuple[str, ...], int]:
    """The line, from 1, on which each key and each table of a valid TOML text first appears.

    Dotted keys, quoted keys, inline tables and tables of tables are followed; values within a list are not.
    """
    return _Lines(text.removeprefix("\ufeff")).found


class _Lines:
    """One pass over a valid text. Each step advances, so an invalid text ends the pass early."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.found: dict[tuple[str, ...], int] = {}
        table: tuple[str, ...] = ()
        while self._gap() < len(text):
            line = self._line()
            if text[self.at] == "[":
                self.at += 2 if text.startswith("[[", self.at) else 1
                table = self._key()
                self.at = (text.find("\n", self.at) + 1) or len(text)
                self._note(table, line)
            elif not self._pair(table):
                return

    def _line(self) -> int:
        return self.text.count("\n", 0, self.at) + 1

    def _note(self, key: tuple[str, ...], line: int) -> None:
        for length in range(1, len(key) + 1):
            self.found.setdefault(key[:length], line)

    def _gap(self) -> int:
        match = _GAP.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.at

    def _key(self) -> tuple[str, ...]:
        parts: list[str] = []
        while True:
            self._gap()
            match = _STRING.match(self.text, self.at) or _BARE.match(self.text, self.at)
            if match is None:
                return tuple(parts)
            name, self.at = match[0], match.end()
            parts.append(tomllib.loads(f"k = {name}")["k"] if name[0] in "\"'" else name)
            self._gap()
            if not self.text.startswith(".", self.at):
                return tuple(parts)
            self.at += 1

    def _pair(self, table: tuple[str, ...] | None) -> bool:
        line = self._line()
        key = self._key()
        if not key or not self.text.startswith("=", self.at):
            return False
        if table is not None:
            self._note(table + key, line)
        self.at += 1
        self._value(None if table is None else table + key)
        return True

    def _value(self, key: tuple[str, ...] | None) -> None:
        """`key`: the key of the value; None within a list, whose tables are not recorded."""
        self._gap()
        opening = self.text[self.at : self.at + 1]
        match = _STRING.match(self.text, self.at)
        if match is not None:
            self.at = match.end()
        elif opening in ("{", "["):
            self.at += 1
            closing = "}" if opening == "{" else "]"
            while self._gap() < len(self.text) and self.text[self.at] != closing:
                before = self.at
                if self.text[self.at] == ",":
                    self.at += 1
                elif opening == "[":
                    self._value(None)
                elif not self._pair(key):
                    return
                if self.at == before:
                    return
            self.at += 1
        else:
            scalar = _SCALAR.match(self.text, self.at)
            self.at = scalar.end() if scalar else self.at


def value_text(value: object) -> str:
    """A value in TOML; loading it gives an equal value.

    Raises:
        TypeError: TOML has no such value (None, for one).
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)  # inf, -inf, nan
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return f"[{', '.join(value_text(item) for item in value)}]"
    if isinstance(value, dict):
        pairs = ", ".join(
            f"{key if _BARE.fullmatch(key) else value_text(key)} = {value_text(item)}"
            for key, item in value.items()
        )
        return f"{{ {pairs} }}" if pairs else "{}"
    raise TypeError(f"TOML has no value for {type(value).__name__}")
