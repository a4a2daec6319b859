"""What a page consists of: sections with figures, tables and notes. Section functions are found, not listed."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from graftwork.common.report.figures.drawing import Drawing

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Column:
    """The heading of a column. Numbers are aligned right, in digits of equal width."""

    name: str
    numeric: bool = False


@dataclass(frozen=True)
class Row:
    """The heading of a row and its other cells; `level` 1 indents it, `strong` sets it in bold."""

    head: str
    cells: tuple[str, ...]
    strong: bool = False
    level: int = 0


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        stacks: on a narrow screen each row becomes a block.
        spans: cells hold a value and its interval; with many columns the interval gets a line of its own.
        titled: the heading of the section is its title, so that its caption is only read aloud.
        shades: [rows][columns], 0 to 4, the background of each cell of a confusion matrix; the diagonal is framed.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    stacks: bool = False
    notes: tuple[str, ...] = ()
    spans: bool = False
    titled: bool = False
    shades: tuple[tuple[int, ...], ...] = ()

    @property
    def pairs(self) -> bool:
        """Whether it lists properties with their values, which needs no visible headings."""
        return [column.name for column in self.columns] == ["property", "value"]


def properties(caption: str, rows: list[tuple[str, str]], notes: tuple[str, ...] = ()) -> Table:
    """A table of properties with their values."""
    columns = (Column("property"), Column("value"))
    return Table(
        caption, columns, tuple(Row(name, (value,)) for name, value in rows), notes=notes, titled=True
    )


@dataclass(frozen=True)
class Figure:
    """A drawing with its title and caption; its alternative text comes from the drawing."""

    drawing: Drawing
    title: str
    caption: str = ""


@dataclass(frozen=True)
class Image:
    """An image of the data with its captions. `source`: a `data:` address; where it is empty, `absent` says why.

    `beside` is a second image (Grad-CAM) with its alternative text.
    """

    source: str
    alt: str
    title: str
    lines: tuple[str, ...] = ()
    absent: str = ""
    beside: tuple[str, str] | None = None


@dataclass(frozen=True)
class Section:
    """A section of a page: text, code, images, figures, tables and notes, in this order, and sections below it.

    Attributes:
        title, anchor: its heading, and its name in links; a section inside another needs no anchor.
        text: paragraphs above. notes: paragraphs below. items: a list below them.
        folded: shown when the reader opens it. screen: not printed. large: each image has a row of the page.
    """

    title: str
    anchor: str = ""
    text: tuple[str, ...] = ()
    code: str = ""
    images: tuple[Image, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()
    folded: bool = False
    screen: bool = False
    large: bool = False


@dataclass(frozen=True)
class Banner:
    """A warning at the top of a page; `mild`: about synthetic data or weak labels."""

    text: str
    mild: bool = False


@dataclass(frozen=True)
class Value:
    """A result: its name, its value, its interval (or why there is none), and the cases that it comes from."""

    name: str
    value: str
    interval: str
    sample: str = ""


@dataclass(frozen=True)
class Page:
    """A page. It opens with its warnings, the primary result, other results and example images.

    Attributes:
        kind: "report of one run". title: names the user's data. subtitle: one line below it.
        verified: what was checked and is as it has to be. result, tiles: the primary result, and others in short.
        caution: printed beside the result. text: what the result means. notes: what a reader must know.
        examples: images of each class, with a sentence on which they are.
    """

    kind: str
    title: str
    subtitle: str
    sections: tuple[Section, ...]
    footer: str
    warnings: tuple[Banner, ...] = ()
    verified: str = ""
    result: Value | None = None
    tiles: tuple[Value, ...] = ()
    caution: str = ""
    text: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    examples: Section | None = None


_REGISTERED: dict[str, dict[str, tuple[int, Callable[..., Section | None]]]] = {}


def section(page: str, place: int) -> Callable[[Function], Function]:
    """Register a function as a section of a page.

    The function gets the page's data (`Facts` of a run, `Evaluated` predictions ...) and returns a `Section`, or
    None where the data have nothing for it. Its module is found anywhere in `report/`.

    Args:
        page: `run`, `comparison`, `predictions`, `two-models` or `masks`.
        place: sections appear in this order.
    """

    def register(function: Function) -> Function:
        name = f"{function.__module__}.{function.__qualname__}"
        _REGISTERED.setdefault(page, {})[name] = (place, function)
        return function

    return register


def sections_of(page: str, data: object) -> tuple[Section, ...]:
    """The sections of a page: every registered function gets the data, in the order of its place."""
    report = import_module("graftwork.common.report")
    for module in pkgutil.walk_packages(report.__path__, "graftwork.common.report."):
        import_module(module.name)
    registered = sorted((place, name, function) for name, (place, function) in _REGISTERED[page].items())
    found = [function(data) for _, _, function in registered]
    return tuple(each for each in found if each is not None)
