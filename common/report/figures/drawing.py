"""A matplotlib figure as a small SVG text; the same input gives the same bytes.

It uses Figure objects only: no pyplot, no global state. Text stays text, in the fonts of the browser.
"""

from __future__ import annotations

import base64
import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast
from unicodedata import combining, east_asian_width

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

WIDTH = 4.2  # inches; 403 px on a page, and legible when a phone shows it at 328 px

# Lines differ in dash and marker as well as in colour: they stay apart in greyscale and for colour-blind readers.
STYLES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.2, 1.5)), (0, (7, 2, 1.2, 2)), (0, (3, 1.5, 1, 1.5, 1, 1.5)),
                           (0, (9, 3)), (0, (2, 4)), (0, (1, 1)))  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

_FONTS = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', 'DejaVu Sans', Arial, sans-serif"


@dataclass(frozen=True)
class Theme:
    """Colours of a figure. `lines` are those of Okabe and Ito (2008), darker where white paper needs it."""

    name: str
    ink: str
    muted: str
    grid: str
    fill: str
    paper: str
    lines: tuple[str, ...]

    def line(self, index: int) -> dict[str, Any]:
        """Colour and dash of the `index`-th line."""
        return {"color": self.lines[index % len(self.lines)], "linestyle": STYLES[index % len(STYLES)]}

    def marker(self, index: int) -> str:
        """Marker of the `index`-th line."""
        return MARKERS[index % len(MARKERS)]


LIGHT = Theme(
    "light", ink="#1b1f24", muted="#57606a", grid="#dfe3e8", fill="#eef1f4", paper="#ffffff",
    lines=("#0072b2", "#c04f00", "#007a5a", "#a8478a", "#8a6100", "#2a7fb8", "#1b1f24", "#6b4fa0"),
)  # fmt: skip


@dataclass(frozen=True)
class Drawing:
    """A figure with its description. In dark mode the style sheet of a page inverts it.

    Attributes:
        svg: its text.
        alt: the description, for readers who cannot see it.
        width, height: px.
    """

    svg: str
    alt: str
    width: int
    height: int

    @property
    def uri(self) -> str:
        """The figure as a `data:` address."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg.encode()).decode()


def draw(paint: Callable[[Figure, Theme], None], *, alt: str, height: float, width: float = WIDTH) -> Drawing:
    """Call `paint` on an empty figure of `width` by `height` inches."""
    return Drawing(_svg(paint, width, height), alt, round(width * 96), round(height * 96))


def _settings(theme: Theme) -> dict[str, Any]:
    return {
        "svg.hashsalt": "graftwork",
        "svg.fonttype": "none",
        "text.parse_math": False,  # a class named $x$ is a name
        "axes.unicode_minus": True,
        "font.family": ["sans-serif"],
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 9.5,
        "axes.titlesize": 9.5,
        "axes.labelsize": 9.5,
        "xtick.labelsize": 9,
        "ytick.labelsize": 9,
        "legend.fontsize": 9,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
        "text.color": theme.ink,
        "axes.labelcolor": theme.ink,
        "axes.edgecolor": theme.muted,
        "xtick.color": theme.muted,
        "ytick.color": theme.muted,
        "xtick.labelcolor": theme.ink,
        "ytick.labelcolor": theme.ink,
        "grid.color": theme.grid,
        "grid.linewidth": 0.6,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "lines.linewidth": 1.7,
        "lines.markersize": 4.5,
        "hatch.linewidth": 0.6,
        "hatch.color": theme.muted,
        "legend.frameon": False,
        "legend.handlelength": 2.6,
    }


def _svg(paint: Callable[[Figure, Theme], None], width: float, height: float) -> str:
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()  # the user's matplotlibrc must not change a report
        matplotlib.rcParams.update(cast(Any, _settings(LIGHT)))
        # a character that the font of matplotlib lacks; browsers have it
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        figure = Figure(figsize=(width, height), layout="constrained")
        paint(figure, LIGHT)
        text = io.StringIO()
        canvas: Any = FigureCanvasSVG(figure)  # its methods have no types
        canvas.print_svg(text, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _slim(text.getvalue())


def _slim(svg: str) -> str:
    """The SVG element alone, without file metadata and inline styles, in the fonts of the browser.

    Styles become attributes of the same name, which content security policies ignore.
    """
    svg = svg[svg.index("<svg") :]
    for needless in (
        r"<metadata>.*?</metadata>\s*",
        r"<!--.*?-->\s*",
        r"<style type=\"text/css\">.*?</style>\s*",
    ):
        svg = re.sub(needless, "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sstyle="([^"]*)"', lambda style: _attributes(style[1]), svg)
    svg = svg.replace(
        "<svg ", '<svg stroke-linejoin="round" stroke-linecap="butt" ', 1
    )  # as in the removed style sheet
    return re.sub(r"\n\s*", "\n", svg)


def _attributes(style: str) -> str:
    found = {}
    for declaration in filter(None, map(str.strip, style.split(";"))):
        name, _, value = declaration.partition(":")
        found[name.strip()] = value.strip()
    font = found.pop("font", None)  # a shorthand, "bold 9px 'DejaVu Sans', ..."
    if font is not None:
        size = re.search(r"([\d.]+px)", font)
        found["font-size"] = size[1] if size else "9px"
        found["font-family"] = _FONTS
        if re.search(r"\b(bold|700)\b", font):
            found["font-weight"] = "bold"
    return "".join(f' {name}="{value}"' for name, value in found.items())


def breadth(text: str) -> int:
    """The width of a text in narrow letters: wide letters (Chinese, Japanese, Korean) count two, accents zero."""
    return sum(0 if combining(letter) else 2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def fitted(text: str, most: int) -> str:
    """A name on one line, at most `most` narrow letters wide; its middle is left out."""
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
