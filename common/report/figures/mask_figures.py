"""Values of single cases by region, for folders of masks: points, the median, and the worst cases marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from graftwork.common.report.figures.drawing import Drawing, Theme, draw, fitted
from graftwork.common.report.figures.segmentation_figures import Strip, heaped, strip_words
from graftwork.common.report.formatting import count, score

Floats = NDArray[np.float64]
POINTS = 800  # of a figure, beside the marked ones: a page of many regions stays small
_NEAR = 0.8  # shares that are all above it get an axis that starts at the smallest
_SPREAD = 8.0  # times the median: a larger maximum needs a logarithmic axis


@dataclass(frozen=True)
class CaseStrip(Strip):
    """The values of one region, one per case; `marked`: [n], which cases are among the worst."""

    marked: NDArray[np.bool_]


def case_strips(rows: Sequence[CaseStrip], *, x_label: str, unit: str, worst: str, share: bool) -> Drawing:
    """For each region the values of its cases, their median, and the mean with its interval below.

    Args:
        rows: regions. x_label: name of the values. unit: name of a case.
        worst: meaning of a triangle; empty: none is marked.
        share: values are in 0..1, and so is the axis, unless all are near 1; else it runs from 0 to the largest,
            logarithmic where that is far away.
    """
    scale = _scale_of(rows, share)
    named = fitted(x_label, 54) + ("\nlogarithmic above 1" if scale.far else "")

    def paint(figure: Figure, theme: Theme) -> None:
        axes = figure.subplots()
        axes.grid(visible=False, axis="y")
        _set(axes, scale)
        across = axes.get_yaxis_transform()
        for place, row in enumerate(rows):
            y = float(len(rows) - 1 - place)
            values, marked = _drawn(row, drawn_of(len(rows)))
            aside = y + 0.17 * heaped(scale.places(values))
            for chosen, marker, size, colour in (
                (~marked, "o", 3.6, theme.lines[0]),
                (marked, "^", 5.5, theme.lines[1]),
            ):
                axes.plot(
                    values[chosen], aside[chosen], marker, color=colour, markersize=size, markeredgewidth=0.9,
                    markerfacecolor=colour if marker == "^" else "none", zorder=4 if marker == "^" else 3,
                )  # fmt: skip
            lacking = int((~np.isfinite(row.values)).sum())
            label = fitted(row.label, 22) + (f" ({lacking:,} undefined)" if lacking else "")
            middle_text = "no value"
            if len(values):
                middle = float(np.nanmedian(row.values))
                axes.plot([middle, middle], [y - 0.27, y + 0.2], color=theme.ink, linewidth=2.4, zorder=5)
                middle_text = f"median {score(middle)}"
            if np.isfinite(row.low) and np.isfinite(row.high):
                axes.plot(
                    [row.low, row.high],
                    [y - 0.38] * 2,
                    "|-",
                    color=theme.lines[2],
                    markersize=6,
                    linewidth=1.6,
                )
                axes.plot([row.mean], [y - 0.38], "D", color=theme.lines[2], markersize=5)
            for x, side, text in ((0.0, "left", label), (1.0, "right", middle_text)):
                axes.text(x, y + 0.33, text, transform=across, ha=side, va="center", fontsize=9)
        axes.set(ylim=(-0.55, len(rows) - 0.52), xlabel=named)
        axes.yaxis.set_major_locator(NullLocator())
        axes.spines["left"].set_visible(False)
        figure.legend(handles=_key(theme, unit, worst), loc="outside upper left", ncols=2, columnspacing=1.2,
                      borderpad=0.1)  # fmt: skip

    n = count(max((len(row.values) for row in rows), default=0), unit)
    alt = f"{x_label} by region, {n}. {'; '.join(map(strip_words, rows))}."
    return draw(paint, alt=alt, height=1.25 + 0.95 * max(len(rows), 1))


def drawn_of(regions: int) -> int:
    """The largest number of points that are drawn for a region, beside the marked ones."""
    return min(300, POINTS // max(regions, 1))


def _drawn(row: CaseStrip, most: int) -> tuple[Floats, NDArray[np.bool_]]:
    """The values that are drawn and which are marked: all marked ones; of many others, evenly spaced ranks."""
    known = np.isfinite(row.values)
    values, marked = row.values[known], row.marked[known]
    others = np.sort(values[~marked])
    if len(others) > most:
        others = others[np.linspace(0, len(others) - 1, most).round().astype(np.int64)]
    worst = values[marked]
    return np.concatenate([others, worst]), np.arange(len(others) + len(worst)) >= len(others)


@dataclass(frozen=True)
class _Scale:
    """An axis from `low` to `high`; `far`: logarithmic above 1; `share`: for values in 0..1."""

    low: float
    high: float
    far: bool
    share: bool

    def places(self, values: Floats) -> Floats:
        """Positions of values along it, 0 to 1."""
        if self.far:
            return np.asarray(
                np.where(values > 1, 1 + np.log10(np.maximum(values, 1)), values) / (1 + np.log10(self.high))
            )
        return np.asarray((values - self.low) / (self.high - self.low))


def _scale_of(rows: Sequence[CaseStrip], share: bool) -> _Scale:
    every = np.concatenate([row.values[np.isfinite(row.values)] for row in rows] or [np.empty(0)])
    ends = [end for row in rows for end in (row.low, row.high) if np.isfinite(end)]
    if share:
        least = min([*every.tolist(), *ends], default=0.0)
        # values that are all near 1 would look equal on the whole scale
        return _Scale(least if _NEAR < least < 1 else 0.0, 1.0, far=False, share=True)
    top = max([*every.tolist(), *ends], default=1.0) or 1.0
    far = len(every) > 0 and top > max(10.0, _SPREAD * float(np.median(every)))
    return _Scale(0.0, top, far=far, share=False)


def _set(axes: Axes, scale: _Scale) -> None:
    if scale.far:
        axes.set_xscale("symlog", linthresh=1.0, linscale=0.9)
        axes.set_xlim(-0.15, 1.25 * scale.high)
        steps = [step * 10.0**power for power in range(9) for step in (1, 3)]
        ticks = [0.0, *(tick for tick in steps if tick <= 1.2 * scale.high)]
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_major_formatter(FixedFormatter([f"{tick:,.0f}" for tick in ticks]))
        axes.xaxis.set_minor_locator(NullLocator())
        return
    room = 0.03 * (scale.high - scale.low)
    axes.set_xlim(scale.low - room, scale.high + room)
    if scale.share and scale.low == 0:
        axes.xaxis.set_major_locator(FixedLocator([0, 0.2, 0.4, 0.6, 0.8, 1]))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.ticklabel_format(axis="x", useOffset=False)


def _key(theme: Theme, unit: str, worst: str) -> list[Line2D]:
    found = [
        Line2D([], [], linestyle="none", marker="o", color=theme.lines[0], markerfacecolor="none", markersize=4,
               label=f"one {unit}"),
        Line2D([], [], linestyle="none", marker="|", color=theme.ink, markersize=10, markeredgewidth=2.4,
               label="median"),
        Line2D([], [], marker="D", color=theme.lines[2], markersize=5, label="mean, with interval"),
    ]  # fmt: skip
    if worst:
        triangle = Line2D(
            [], [], linestyle="none", marker="^", color=theme.lines[1], markersize=5.5, label=worst
        )
        found.insert(1, triangle)
    return found
