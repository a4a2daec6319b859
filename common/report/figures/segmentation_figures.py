"""Overlap of single cases by class, and predicted against true volume."""

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
from graftwork.common.report.formatting import count, interval, listing, number, score, shortened

Floats = NDArray[np.float64]
POINTS = 500  # of a class; more would cover each other


@dataclass(frozen=True)
class Strip:
    """The values of one class, one per case, in 0..1, and their mean with its interval (NaN: none)."""

    label: str
    values: Floats
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Amounts:
    """True and predicted volumes of one class, one per case."""

    label: str
    truth: Floats
    predicted: Floats


def heaped(values: Floats, bins: int = 60) -> Floats:
    """How far each point is moved aside, -1 to 1, so that equal values are drawn side by side."""
    moved = np.zeros(len(values))
    at = np.clip((values * bins).astype(np.int64), 0, bins)
    most = max((int((at == place).sum()) for place in np.unique(at)), default=1)
    for place in np.unique(at):
        rows = np.flatnonzero(at == place)
        order = rows[np.argsort(values[rows], kind="stable")]
        steps = np.array([(k + 1) // 2 * (1 if k % 2 else -1) for k in range(len(order))], dtype=np.float64)
        moved[order] = steps / max(most / 2, 4)
    return moved.clip(-1, 1)


def strips(rows: Sequence[Strip], *, x_label: str, unit: str) -> Drawing:
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
            limits = f" ({found})" if (found := interval(row.low, row.high)) else ""
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

    n = count(max((len(row.values) for row in rows), default=0), unit)
    alt = f"{x_label} by class, {n}. {'; '.join(map(strip_words, rows))}."
    return draw(paint, alt=alt, height=1.15 + 0.95 * max(len(rows), 1))


def strip_words(row: Strip) -> str:
    """Mean with its interval, median and range of the values of a class."""
    known = np.sort(row.values[np.isfinite(row.values)])
    limits = interval(row.low, row.high)
    mean = f"mean {score(row.mean)}{f' ({limits})' if limits else ''}, " if np.isfinite(row.mean) else ""
    spread = "no value"
    if len(known):
        spread = f"median {score(float(np.median(known)))}, from {score(known[0])} to {score(known[-1])}"
    return f"{shortened(row.label, 40)}: {mean}{spread}"


def agreement(rows: Sequence[Amounts], *, measure: str, unit: str) -> Drawing:
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

    n = count(max((len(row.truth) for row in rows), default=0), unit)
    values = "; ".join(
        f"{shortened(row.label, 40)}: true {_range(row.truth)}, predicted {_range(row.predicted)}"
        for row in rows
    )
    middle = f"Median difference: {listing(median_differences(rows, measure))}."
    alt = f"Predicted against true {volume_name(measure)} in {measure} of {n}. {values}. {middle}"
    return draw(paint, alt=alt, height=3.85 + 0.2 * (len(rows) + 1))


def volume_name(measure: str) -> str:
    """`area` of flat images, `volume` of others."""
    return "area" if measure == "pixels" else "volume"


def median_differences(rows: Sequence[Amounts], measure: str) -> list[str]:
    """Predicted minus true volume of each class: the median with its sign."""
    found = []
    for row in rows:
        middle = float(np.median(row.predicted - row.truth)) if len(row.truth) else 0.0
        sign = "+" if middle > 0 else "−" if middle < 0 else ""
        found.append(f"{shortened(row.label, 40)} {sign}{_figure(abs(middle))} {measure}")
    return found


def _figure(value: float) -> str:
    """Three significant digits: `0.0213`, `4.12`, `1,090`."""
    return number(round(value)) if value >= 100 else f"{value:.3g}"


def _range(values: Floats) -> str:
    return f"{_figure(float(values.min()))} to {_figure(float(values.max()))}" if len(values) else "none"
