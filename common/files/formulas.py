"""Cells that a spreadsheet would run: text that begins with = + - @, a tab or a carriage return.

On request a writer of CSV puts an apostrophe before such text, which spreadsheets take for text. Text that begins with
apostrophes before such a sign gets one more, so that `unescape_formula` gives every text back.
"""

from __future__ import annotations

import re

_RUN = re.compile(r"'*[=+\-@\t\r]")


def escape_formula(cell: object) -> object:
    """A cell that no spreadsheet runs; what is no text (a number, nothing) stays as it is."""
    return f"'{cell}" if isinstance(cell, str) and _RUN.match(cell) else cell


def unescape_formula(text: str) -> str:
    """The text that `escape_formula` was given."""
    return text[1:] if text.startswith("'") and _RUN.match(text[1:]) else text
