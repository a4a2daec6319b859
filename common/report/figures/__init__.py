"""The figures of a report, from plain numbers: curves, calibration, a forest plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from graftwork.common.report.figures.drawing import Drawing, Theme, draw
from graftwork.common.report.formatting import metric_name, score, shortened

__all__ = [
    "Calibration",
    "ForestRow",
    "Line",
    "calibration",
    "forest",
    "learning",
    "unit_square",
]

Floats = NDArray[np.float64]
POINTS = 240  # of a drawn curve; more cannot be seen


@dataclass(frozen=True)
class Line:
    """One curve.

    Attributes:
        label: its name in the key; empty where another line stands there for it.
        x, y: its points; NaN breaks it.
        low, high: its band on `band_x`, or None.
        style: which colour, dash and marker.
        mark: index of the epoch that is marked as chosen, or None.
        point: where the chosen threshold stands, or None.
    """

    label: str
    x: Floats
    y: Floats
    style: int = 0
    band_x: Floats | None = None
    low: Floats | None = None
    high: Floats | None = None
    mark: int | None = None
    point: tuple[float, float] | None = None


def thinned(x: Floats, y: Floats, points: int = POINTS) -> tuple[Floats, Floats]:
    """At most about `points` points of a curve: those at evenly spaced positions along its length, ends kept."""
    if len(x) <= points:
        return x, y
    length = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    chosen = np.searchsorted(length, np.linspace(0.0, length[-1], points))
    kept = np.unique(np.concatenate([[0], np.minimum(chosen, len(x) - 1), [len(x) - 1]]))
    return x[kept], y[kept]


def _entry(line: Line) -> str:
    return shortened(line.label, 44) if line.label else "_nolegend_"


def _key(figure: Figure, axes: Axes, *, longest: int) -> None:
    """The key of a figure, above the plot where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        columns = 1 if longest > 22 or len(handles) == 1 else 2
        figure.legend(
            handles, labels, loc="outside upper left", ncols=columns, columnspacing=1.2, borderpad=0.1
        )


def _key_height(labels: Sequence[str]) -> float:
    columns = 1 if max((len(label) for label in labels), default=0) > 22 or len(labels) == 1 else 2
    return 0.2 * max(
        2, -(-len(labels) // columns)
    )  # two rows at least: figures side by side are then of one height


def unit_square(
    lines: Sequence[Line],
    *,
    x_label: str,
    y_label: str,
    alt: str,
    diagonal: bool = False,
    level: float | None = None,
    level_label: str = "",
    steps: bool = False,
) -> Drawing:
    """Curves whose both axes run from 0 to 1 (ROC, precision and recall), with bands and marked points.

    Args:
        diagonal: draw y = x, what guessing gives.
        level: draw a horizontal line here, what guessing gives; `level_label` names it.
        steps: the value at a point holds back to the point before it; no straight lines between points.
    """
    names = [shortened(line.label, 44) for line in lines if line.label]
    guess = ["guessing"] if diagonal else [level_label] if level is not None else []

    def paint(figure: Figure, theme: Theme) -> None:
        axes = figure.subplots()
        for line in lines:
            style = theme.line(line.style)
            if line.band_x is not None and line.low is not None and line.high is not None:
                axes.fill_between(
                    line.band_x, line.low, line.high, color=style["color"], alpha=0.2, linewidth=0
                )
            x, y = thinned(line.x, line.y)
            axes.plot(x, y, label=_entry(line), drawstyle="steps-pre" if steps else "default", **style)
            if line.point is not None:
                axes.plot(
                    *line.point, theme.marker(line.style), color=style["color"],
                    markersize=7, markeredgecolor=theme.paper, zorder=5,
                )  # fmt: skip
        if diagonal:
            axes.plot([0, 1], [0, 1], color=theme.muted, linewidth=1, linestyle=(0, (1, 2)), label="guessing")
        elif level is not None:
            axes.axhline(level, color=theme.muted, linewidth=1, linestyle=(0, (1, 2)), label=level_label)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=x_label, ylabel=y_label)
        axes.xaxis.set_major_locator(FixedLocator([0, 0.2, 0.4, 0.6, 0.8, 1]))
        axes.yaxis.set_major_locator(FixedLocator([0, 0.2, 0.4, 0.6, 0.8, 1]))
        axes.set_aspect("equal")
        _key(figure, axes, longest=max(map(len, names + guess), default=0))

    return draw(paint, alt=alt, height=3.85 + _key_height(names + guess))


def learning(
    lines: Sequence[Line], *, y_label: str, alt: str, mark_label: str = "", x_label: str = "epoch"
) -> Drawing:
    """Curves over epochs; `mark` of a line is the chosen epoch, drawn as a vertical line and a larger point."""
    names = [shortened(line.label, 44) for line in lines if line.label]
    marked = any(line.mark is not None for line in lines)
    extra = [mark_label] if marked and mark_label else []

    def paint(figure: Figure, theme: Theme) -> None:
        axes = figure.subplots()
        few = max((len(line.x) for line in lines), default=0) <= 20
        for line in lines:
            style = theme.line(line.style)
            axes.plot(
                line.x, line.y, label=_entry(line), marker=theme.marker(line.style) if few else None, **style
            )
            if line.mark is not None and np.isfinite(line.y[line.mark]):
                axes.plot(line.x[line.mark], line.y[line.mark], theme.marker(line.style), color=style["color"],
                          markersize=8, markeredgecolor=theme.ink, markeredgewidth=1.2, zorder=5)  # fmt: skip
        verticals = sorted({float(line.x[line.mark]) for line in lines if line.mark is not None})
        for position, epoch in enumerate(verticals if mark_label else []):
            axes.axvline(epoch, color=theme.muted, linewidth=1, linestyle=(0, (4, 2)), zorder=1,
                         label=mark_label if position == 0 else None)  # fmt: skip
        _epochs(axes, np.concatenate([line.x for line in lines]) if lines else np.ones(1))
        axes.set(xlabel=x_label, ylabel=y_label)
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.ticklabel_format(axis="y", useOffset=False)
        axes.margins(y=0.08)
        _key(figure, axes, longest=max(map(len, names + extra), default=0))

    return draw(paint, alt=alt, height=2.75 + _key_height(names + extra))


def _epochs(axes: Axes, epochs: Floats) -> None:
    first, last = float(np.min(epochs)), float(np.max(epochs))
    axes.set_xlim(first - 0.5, last + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))


@dataclass(frozen=True)
class Calibration:
    """Observed shares of one class against its predicted probability, by bin.

    Attributes:
        edges: [bins + 1], from 0 to 1.
        predicted, observed, low, high: [bins], mean probability, share, and the band of the share; NaN where empty.
        negatives, positives: [bins], numbers of cases without and with the class.
    """

    label: str
    edges: Floats
    predicted: Floats
    observed: Floats
    low: Floats
    high: Floats
    negatives: Floats
    positives: Floats


def calibration(shown: Calibration, *, alt: str, unit: str) -> Drawing:
    """Observed share against predicted probability with bands, and below it where the cases lie."""

    def paint(figure: Figure, theme: Theme) -> None:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        above.plot([0, 1], [0, 1], color=theme.muted, linewidth=1, linestyle=(0, (1, 2)), label="agreement")
        known = np.isfinite(shown.observed) & np.isfinite(shown.predicted)
        x, y = shown.predicted[known], shown.observed[known]
        low, high = np.minimum(shown.low[known], y), np.maximum(shown.high[known], y)
        banded = np.isfinite(low) & np.isfinite(high)
        above.errorbar(
            x[banded], y[banded], yerr=[(y - low)[banded], (high - y)[banded]], fmt="none",
            ecolor=theme.lines[0], elinewidth=1.3, capsize=3,
        )  # fmt: skip
        above.plot(x, y, color=theme.lines[0], marker="o", label="observed, with 95 % band")
        above.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="observed share")
        above.xaxis.set_major_locator(FixedLocator([0, 0.2, 0.4, 0.6, 0.8, 1]))
        above.yaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
        middles, width = (shown.edges[:-1] + shown.edges[1:]) / 2, np.diff(shown.edges)
        below.bar(middles, shown.negatives, width, color=theme.fill, edgecolor=theme.muted, linewidth=0.7,
                  hatch="////", label="without the class")  # fmt: skip
        below.bar(middles, shown.positives, width, bottom=shown.negatives, color=theme.lines[1],
                  edgecolor=theme.muted, linewidth=0.7, label="with the class")  # fmt: skip
        below.set(xlabel=f"predicted probability of {shortened(shown.label, 24)}", ylabel=unit)
        below.margins(y=0.08)
        below.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        handles, labels = above.get_legend_handles_labels()
        more, names = below.get_legend_handles_labels()
        figure.legend(
            handles + more,
            labels + names,
            loc="outside upper left",
            ncols=2,
            columnspacing=1.2,
            borderpad=0.1,
        )

    return draw(paint, alt=alt, height=4.6)


@dataclass(frozen=True)
class ForestRow:
    """A value with its interval, or (`summary`) a mean with the range over seeds."""

    label: str
    value: float
    low: float
    high: float
    summary: bool = False


def forest(
    rows: Sequence[ForestRow], *, metric: str, alt: str, published: Sequence[tuple[str, float]] = ()
) -> Drawing:
    """Values with intervals one below the other, label and number above each; published values as vertical lines."""
    # long labels take a line of their own above the number
    tall = any(len(row.label) > 30 for row in rows)
    pitch, above, beside = (0.6, 0.52, 0.24) if tall else (0.42, 0.32, 0.32)
    names = [f"published: {shortened(what, 40)}" for what, _ in published]

    def paint(figure: Figure, theme: Theme) -> None:
        axes = figure.subplots()
        for place, row in enumerate(rows):
            y = len(rows) - 1 - place
            colour = theme.ink if row.summary else theme.lines[0]
            if np.isfinite(row.low) and np.isfinite(row.high):
                axes.plot([row.low, row.high], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt",
                          linestyle=(0, (4, 1.5)) if row.summary else "-")  # fmt: skip
                axes.plot([row.low, row.high], [y, y], "|", color=colour, markersize=7)
            if np.isfinite(row.value):
                axes.plot([row.value], [y], "D" if row.summary else "o", color=colour,
                          markersize=7 if row.summary else 5.5)  # fmt: skip
            across = axes.get_yaxis_transform()
            said = score(row.value)
            if np.isfinite(row.low) and np.isfinite(row.high):
                said += f" ({score(row.low)} to {score(row.high)})"
            label = shortened(row.label, 58 if tall else 30)
            for x, over, side, text in ((0.0, above, "left", label), (1.0, beside, "right", said)):
                axes.text(
                    x, y + over, text, transform=across, ha=side, va="center", fontsize=9,
                    fontweight="bold" if row.summary else "normal",
                    bbox={"boxstyle": "square,pad=0.1", "facecolor": theme.paper, "edgecolor": "none"},
                )  # fmt: skip
        for place, ((_, value), name) in enumerate(zip(published, names, strict=True)):
            style = theme.line(place + 1)
            axes.axvline(value, linewidth=1.3, label=name, zorder=0, **style)
        axes.set_ylim(-0.5, len(rows) - (0.2 if tall else 0.35))
        axes.yaxis.set_major_locator(NullLocator())
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.ticklabel_format(axis="x", useOffset=False)
        axes.margins(x=0.06)
        about = metric_name(metric)
        axes.set_xlabel(f"{about.title} ({about.unit})" if about.unit else about.title)
        if names:
            handles, labels = axes.get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside upper left", borderpad=0.1)

    return draw(paint, alt=alt, height=0.75 + pitch * max(len(rows), 1) + 0.19 * len(names))
