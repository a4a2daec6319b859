"""The figures of a segmentation, from plain numbers: how overlap is spread over units, volume against volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from graftwork.common.report.figures.drawing import Drawing, Theme, draw
from graftwork.common.report.formatting import score, shortened

Floats = NDArray[np.float64]
POINTS = 500  # drawn of a class; more lie on each other


@dataclass(frozen=True)
class Strip:
    """The values of one class, one a unit, in 0..1, and their mean with its interval (NaN: none)."""

    label: str
    values: Floats
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Amounts:
    """True and predicted volumes of one class, one a unit."""

    label: str
    truth: Floats
    predicted: Floats


def heaped(values: Floats, bins: int = 60) -> Floats:
    """How far each point is moved aside, -1 to 1, so that equal values stand beside each other."""
    moved = np.zeros(len(values))
    at = np.clip((values * bins).astype(np.int64), 0, bins)
    most = max((int((at == place).sum()) for place in np.unique(at)), default=1)
    for place in np.unique(at):
        rows = np.flatnonzero(at == place)
        order = rows[np.argsort(values[rows], kind="stable")]
        steps = np.array([(k + 1) // 2 * (1 if k % 2 else -1) for k in range(len(order))], dtype=np.float64)
        moved[order] = steps / max(most / 2, 4)
    return moved.clip(-1, 1)


def strips(rows: Sequence[Strip], *, x_label: str, unit: str, alt: str) -> Drawing:
    """For each class its values as points, a box of median and quartiles, and the mean with its interval."""

    def paint(figure: Figure, theme: Theme) -> None:
        axes = figure.subplots()
        axes.grid(visible=False, axis="y")
        across = axes.get_yaxis_transform()
        for place, row in enumerate(rows):
            y = float(len(rows) - 1 - place)
            values = row.values[np.isfinite(row.values)][:POINTS]
            if len(values):
                axes.plot(
                    values, y + 0.17 * heaped(values), "o", color=theme.lines[0], markersize=3.6,
                    markerfacecolor="none", markeredgewidth=0.9, zorder=3,
                )  # fmt: skip
                first, middle, third = np.percentile(row.values[np.isfinite(row.values)], [25, 50, 75])
                box = Rectangle(
                    (first, y - 0.32), third - first, 0.11, facecolor=theme.fill, edgecolor=theme.ink
                )
                axes.add_patch(box)
                axes.plot(
                    [middle, middle],
                    [y - 0.32, y - 0.21],
                    color=theme.ink,
                    linewidth=2.2,
                    solid_capstyle="butt",
                )
            if np.isfinite(row.low) and np.isfinite(row.high):
                axes.plot(
                    [row.low, row.high],
                    [y - 0.42] * 2,
                    "|-",
                    color=theme.lines[1],
                    markersize=6,
                    linewidth=1.6,
                )
            if np.isfinite(row.mean):
                axes.plot([row.mean], [y - 0.42], "D", color=theme.lines[1], markersize=5)
            limits = f" ({score(row.low)} to {score(row.high)})" if np.isfinite(row.low) else ""
            for x, side, text in (
                (0.0, "left", shortened(row.label, 28)),
                (1.0, "right", f"mean {score(row.mean)}{limits}"),
            ):
                axes.text(x, y + 0.31, text, transform=across, ha=side, va="center", fontsize=9)
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.55, len(rows) - 0.55), xlabel=x_label)
        axes.xaxis.set_major_locator(FixedLocator([0, 0.2, 0.4, 0.6, 0.8, 1]))
        axes.yaxis.set_major_locator(NullLocator())
        axes.spines["left"].set_visible(False)
        figure.legend(
            handles=[
                Line2D([], [], linestyle="none", marker="o", color=theme.lines[0], markerfacecolor="none",
                       markersize=4, label=f"one {unit}"),
                Patch(facecolor=theme.fill, edgecolor=theme.ink, label="median and quartiles"),
                Line2D([], [], marker="D", color=theme.lines[1], markersize=5, label="mean, 95 % interval"),
            ],
            loc="outside upper left", ncols=2, columnspacing=1.2, borderpad=0.1,
        )  # fmt: skip

    return draw(paint, alt=alt, height=1.15 + 0.95 * max(len(rows), 1))


def agreement(rows: Sequence[Amounts], *, measure: str, alt: str) -> Drawing:
    """Predicted against true volume; on the dotted line both are equal."""
    names = [shortened(row.label, 30) for row in rows]

    def paint(figure: Figure, theme: Theme) -> None:
        axes = figure.subplots()
        top = max(
            (float(np.max(side)) for row in rows for side in (row.truth, row.predicted) if len(side)),
            default=1,
        )
        top = 1.06 * top or 1.0
        axes.plot(
            [0, top], [0, top], color=theme.muted, linewidth=1, linestyle=(0, (1, 2)), label="equal", zorder=1
        )
        for place, (row, name) in enumerate(zip(rows, names, strict=True)):
            axes.plot(
                row.truth[:POINTS], row.predicted[:POINTS], theme.marker(place), linestyle="none",
                color=theme.lines[place % len(theme.lines)], markersize=4.5, markeredgewidth=0.9,
                markerfacecolor="none" if place % 2 == 0 else theme.lines[place % len(theme.lines)], label=name,
            )  # fmt: skip
        axes.set(xlim=(-0.03 * top, top), ylim=(-0.03 * top, top), aspect="equal")
        axes.set(xlabel=f"true ({measure})", ylabel=f"predicted ({measure})")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        columns = 2 if max(map(len, names), default=0) <= 22 else 1
        figure.legend(
            *axes.get_legend_handles_labels(),
            loc="outside upper left",
            ncols=columns,
            columnspacing=1.2,
            borderpad=0.1,
        )

    return draw(paint, alt=alt, height=3.85 + 0.2 * (len(rows) + 1))
