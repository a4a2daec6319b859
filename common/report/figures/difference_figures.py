"""A forest plot of differences between two models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from graftwork.common.report.figures.drawing import Drawing, Theme, breadth, draw, fitted
from graftwork.common.report.formatting import interval, score


@dataclass(frozen=True)
class DifferenceRow:
    """A difference with its interval; `apart`: its corrected p is below 0.05; `summary`: over all classes."""

    label: str
    value: float
    low: float
    high: float
    apart: bool = False
    summary: bool = False


def signed(value: float) -> str:
    """A difference with its sign: `+0.032`, `−0.010`, `0.000`."""
    text = score(value)
    return f"+{text}" if np.isfinite(value) and value > 0 and float(text) > 0 else text


def common_limits(rows: Sequence[DifferenceRow]) -> tuple[float, float]:
    """The ends of an axis that shows every interval, and zero."""
    ends = [0.0, *(end for row in rows for end in (row.value, row.low, row.high) if np.isfinite(end))]
    low, high = min(ends), max(ends)
    room = 0.08 * (high - low) or 0.01
    return low - room, high + room


def differences(
    rows: Sequence[DifferenceRow],
    *,
    x_label: str,
    limits: tuple[float, float],
    title: str,
    apart: str = "",
    otherwise: str = "",
) -> Drawing:
    """A forest plot of differences, first minus second.

    Args:
        rows: one for each class (a circle, filled where it is `apart`), or for all classes (a diamond).
        x_label: of the axis. limits: of the axis, so that several figures can be compared.
        title: of the alternative text. apart, otherwise: meaning of a filled and an open circle; empty: no legend.
    """
    # a wide label gets its own line above the number
    tall = any(breadth(row.label) > 26 for row in rows)
    pitch, above, beside = (0.6, 0.52, 0.24) if tall else (0.42, 0.32, 0.32)

    def paint(figure: Figure, theme: Theme) -> None:
        axes = figure.subplots()
        axes.grid(visible=False, axis="y")
        across = axes.get_yaxis_transform()
        axes.axvline(0.0, color=theme.ink, linewidth=1.3, zorder=1)
        for place, row in enumerate(rows):
            y = len(rows) - 1 - place
            colour = theme.ink if row.summary else theme.lines[0]
            filled = colour if row.apart or row.summary else theme.paper
            axes.plot([row.low, row.high], [y, y], "|-", color=colour, linewidth=1.6, markersize=7)
            axes.plot(
                [row.value], [y], "D" if row.summary else "o", color=colour, markerfacecolor=filled,
                markersize=6 if row.summary else 5.5, zorder=3,
            )  # fmt: skip
            label = fitted(row.label, 50 if tall else 26)
            value = f"{signed(row.value)} ({interval(row.low, row.high)})"
            for x, over, side, text in ((0.0, above, "left", label), (1.0, beside, "right", value)):
                name = axes.text(
                    x, y + over, text, transform=across, ha=side, va="center", fontsize=9, zorder=2,
                    fontweight="bold" if row.summary else "normal",
                    bbox={"boxstyle": "square,pad=0.1", "facecolor": theme.paper, "edgecolor": "none"},
                )  # fmt: skip
                name.set_in_layout(False)  # a long name must not narrow the axis of this figure alone
        axes.set(xlim=limits, ylim=(-0.5, len(rows) - (0.2 if tall else 0.35)), xlabel=x_label)
        axes.yaxis.set_major_locator(NullLocator())
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(_tick))
        if apart:
            keys = [
                Line2D([], [], marker="o", linestyle="none", color=theme.lines[0], markerfacecolor=face, label=text)
                for face, text in ((theme.lines[0], apart), (theme.paper, otherwise))
            ]  # fmt: skip
            figure.legend(handles=keys, loc="outside upper left", ncols=2, columnspacing=1.2, borderpad=0.1)

    values = "; ".join(f"{row.label} {signed(row.value)} ({interval(row.low, row.high)})" for row in rows)
    height = 0.75 + pitch * max(len(rows), 1) + (0.2 if apart else 0.0)
    return draw(paint, alt=f"{title}: {values}.", height=height)


def _tick(value: float, _: int | None) -> str:
    text = f"{round(value, 12):+.3g}"
    return "0" if float(text) == 0 else text.replace("-", "−")
