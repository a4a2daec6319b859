"""How much room a name takes in a figure, where no browser breaks lines: a wide letter as much as two narrow ones."""

from __future__ import annotations

from unicodedata import combining, east_asian_width

__all__ = ["breadth", "fitted"]


def breadth(text: str) -> int:
    """The room of a text in narrow letters: a wide one (Chinese, Japanese, Korean) takes two, an accent none."""
    return sum(0 if combining(letter) else 2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def fitted(text: str, most: int) -> str:
    """A name on one line that takes at most the room of `most` narrow letters; its middle is left out."""
    line = " ".join(str(text).split())
    if breadth(line) <= most:
        return line
    head, tail = "", ""
    for letter in line:
        if breadth(head + letter) > (most - 1) * 2 // 3:
            break
        head += letter
    for letter in reversed(line):
        if breadth(head + letter + tail) > most - 1:
            break
        tail = letter + tail
    return f"{head}…{tail}"
