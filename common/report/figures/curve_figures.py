"""ROC and precision-recall curves, training curves, calibration plots and forest plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from graftwork.common.report.figures.drawing import Drawing, Theme, draw
from graftwork.common.report.formatting import count, interval, metric_name, score, shortened

Floats = NDArray[np.float64]
POINTS = 240  # of a drawn curve; more cannot be seen


@dataclass(frozen=True)
class Line:
    """One curve.

    Attributes:
        label: its name in the legend; empty where another line represents it there.
        x, y: its points; NaN interrupts it.
        low, high: its band on `band_x`, or None.
        style: number of its colour, dash and marker.
        mark: index of the chosen epoch, or None.
        point: the point of the chosen threshold, or None.
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
    """At most about `points` points of a curve, evenly spaced along its length, with both ends."""
    if len(x) <= points:
        return x, y
    length = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    chosen = np.searchsorted(length, np.linspace(0.0, length[-1], points))
    used = np.unique(np.concatenate([[0], np.minimum(chosen, len(x) - 1), [len(x) - 1]]))
    return x[used], y[used]


def _entry(line: Line) -> str:
    return shortened(line.label, 44) if line.label else "_nolegend_"


def _key(figure: Figure, axes: Axes, *, longest: int) -> None:
    """The legend of a figure, above the plot."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        columns = 1 if longest > 22 or len(handles) == 1 else 2
        figure.legend(
            handles, labels, loc="outside upper left", ncols=columns, columnspacing=1.2, borderpad=0.1
        )


def _key_height(labels: Sequence[str]) -> float:
    columns = 1 if max((len(label) for label in labels), default=0) > 22 or len(labels) == 1 else 2
    # at least two rows: figures side by side then have the same height
    return 0.2 * max(2, -(-len(labels) // columns))


def unit_square(
    lines: Sequence[Line],
    *,
    x_label: str,
    y_label: str,
    title: str,
    diagonal: bool = False,
    level: float | None = None,
    level_label: str = "",
    steps: bool = False,
) -> Drawing:
    """Curves on axes from 0 to 1 (ROC, precision and recall), with bands and marked points.

    Args:
        title: of the alternative text.
        diagonal: draw y = x, the result of guessing.
        level: draw a horizontal line here, the result of guessing; `level_label` names it.
        steps: draw steps in place of straight lines between points.
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

    alt = " ".join([title, *(_curve_words(line, x_label, y_label) for line in lines)])
    return draw(paint, alt=alt, height=3.85 + _key_height(names + guess))


def _curve_words(line: Line, x_label: str, y_label: str) -> str:
    """Values of a curve at five places, and its marked point."""
    known = np.isfinite(line.y)
    if not known.any():
        return f"{shortened(line.label, 44)}: no value."
    places = np.unique(np.linspace(0, int(known.sum()) - 1, 5).round().astype(int))
    x, y = line.x[known][places], line.y[known][places]
    values = ", ".join(f"{score(float(b), 2)} at {score(float(a), 2)}" for a, b in zip(x, y, strict=True))
    text = f"{shortened(line.label, 44)}: {y_label} over {x_label} {values}."
    if line.point is None:
        return text
    complement = x_label.startswith("1 − ")
    across = 1 - line.point[0] if complement else line.point[0]
    return f"{text} At the threshold: {y_label} {score(line.point[1])}, {x_label.removeprefix('1 − ')} {score(across)}."


def learning(
    lines: Sequence[Line], *, y_label: str, mark_label: str = "", x_label: str = "epoch", step: str = "epoch"
) -> Drawing:
    """Curves over epochs (or another `step`); the `mark` of a line is a vertical line and a larger point."""
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

    chosen = sorted({int(line.x[line.mark]) for line in lines if line.mark is not None})
    marks = "" if len(chosen) != 1 else f" {step.capitalize()} {chosen[0]} was chosen."
    epochs = count(max((len(line.x) for line in lines), default=0), step)
    alt = f"{y_label[:1].upper()}{y_label[1:]} over {epochs}: {'; '.join(map(_trend, lines))}.{marks}"
    return draw(paint, alt=alt, height=2.75 + _key_height(names + extra))


def _trend(line: Line) -> str:
    """First and last value of a line, and that of its chosen epoch."""
    known, name = line.y[np.isfinite(line.y)], shortened(line.label, 44)
    if not len(known):
        return f"{name} was not recorded"
    text = f"{name} from {score(float(known[0]))} to {score(float(known[-1]))}"
    if line.mark is None or not np.isfinite(line.y[line.mark]):
        return text
    return f"{text}, {score(float(line.y[line.mark]))} at the chosen place"


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


def calibration(shown: Calibration, *, unit: str) -> Drawing:
    """Observed share against predicted probability with bands, and a histogram of the predictions below."""

    def paint(figure: Figure, theme: Theme) -> None:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        above.plot(
            [0, 1], [0, 1], color=theme.muted, linewidth=1, linestyle=(0, (1, 2)), label="perfect calibration"
        )
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

    bins = [
        f"{score(float(x), 2)} predicted, {score(float(y), 2)} observed"
        for x, y in zip(shown.predicted, shown.observed, strict=True)
        if np.isfinite(x) and np.isfinite(y)
    ]
    of = f"Observed share against predicted probability of {shortened(shown.label, 44)} in {len(shown.predicted)} bins."
    alt = f"{of} By bin: {'; '.join(bins)}." if bins else f"{of} Every bin is empty."
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
    rows: Sequence[ForestRow], *, metric: str, each: str, published: Sequence[tuple[str, float]] = ()
) -> Drawing:
    """Values with intervals, one row for `each` run or class; published values as vertical lines."""
    # a long label gets its own line above the number
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
            text_of_value = _with_interval(row)
            label = shortened(row.label, 58 if tall else 30)
            for x, over, side, text in ((0.0, above, "left", label), (1.0, beside, "right", text_of_value)):
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

    values = "; ".join(f"{row.label} {_with_interval(row)}" for row in rows)
    lines = "".join(f" Published: {shortened(what, 40)} {score(value)}." for what, value in published)
    alt = f"{metric_name(metric).title} of each {each} with its interval: {values}.{lines}"
    return draw(paint, alt=alt, height=0.75 + pitch * max(len(rows), 1) + 0.19 * len(names))


def _with_interval(row: ForestRow) -> str:
    limits = interval(row.low, row.high)
    return f"{score(row.value)} ({limits})" if limits else score(row.value)
