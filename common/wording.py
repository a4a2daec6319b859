"""Plurals, counts and shortened lists for messages and reports."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence, Sized


def plural(noun: str) -> str:
    """The plural of an English noun: patient, patients; study, studies; series, series."""
    if not noun or noun.endswith("series"):
        return noun
    if re.search(r"[^aeiou]y$", noun):
        return noun[:-1] + "ies"
    if noun.endswith(("s", "x", "z", "ch", "sh")) and not noun.endswith("epoch"):
        return noun + "es"
    return noun + "s"


def quantity(count: int, noun: str) -> str:
    """A number of things: `1 patient`, `2,431 patients`."""
    return f"{count:,} {noun if count == 1 else plural(noun)}"


def and_list(words: Iterable[str]) -> str:
    """All words: `a`, `a and b`, `a, b and c`."""
    items = list(words)
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + (f" and {items[-1]}" if items else "")


def short_list(items: Iterable[object], most: int = 5, *, separator: str = ", ", length: int = 100) -> str:
    """The first items and the number of the others: `a, b, c and 7 more`.

    Args:
        items: each is shown as `str` writes it, on one line.
        most: items that are shown.
        separator: between two items; `; ` where the items hold commas.
        length: characters of one item; a longer one is cut.
    """
    every = list(items)
    listed = separator.join(cut_text(item, length) for item in every[:most])
    return f"{listed}{more_than(every, most)}"


def more_than(items: Sized, most: int) -> str:
    """What follows the first `most` items of a list: ` and 7 more`; empty where there are no others."""
    return f" and {len(items) - most:,} more" if len(items) > most else ""


def fault_lines(faults: Sequence[object], most: int = 10, *, bullet: str = "") -> str:
    """Faults below a message, one on each indented line, and the number of those that are not shown."""
    lines = [f"\n  {bullet}{fault}" for fault in faults[:most]]
    return "".join(lines) + (f"\n  and {len(faults) - most:,} more" if len(faults) > most else "")


def cut_text(text: object, length: int = 200) -> str:
    """A text on one line, cut where it is longer than `length` characters; the end says how long it was."""
    line = " ".join(str(text).split())
    return line if len(line) <= length else f"{line[:length]}... (cut, {len(line):,} characters)"
