"""Decision curves, workload curves and risk-coverage curves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from graftwork.common.report.figures.drawing import Drawing, Theme, draw
from graftwork.common.report.formatting import score

Floats = NDArray[np.float64]
DOTTED = (0, (1, 2))
HEIGHT = 3.5  # inches


@dataclass(frozen=True)
class Spread:
    """A curve on a grid with its pointwise limits; NaN: no limit."""

    x: Floats
    y: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Benefit:
    """Net benefit over thresholds: treating by the score, and treating all."""

    model: Spread
    every: Spread


@dataclass(frozen=True)
class Marked:
    """A point with its limits along both axes; NaN: no limit."""

    x: float
    y: float
    across: tuple[float, float]
    along: tuple[float, float]


def _curve(axes: Axes, theme: Theme, spread: Spread, style: int, label: str, *, steps: bool = False) -> None:
    how = theme.line(style)
    if np.isfinite(spread.low).any():
        axes.fill_between(
            spread.x, spread.low, spread.high, color=how["color"], alpha=0.22 if style == 0 else 0.1,
            linewidth=0, step="post" if steps else None,
        )  # fmt: skip
    axes.plot(spread.x, spread.y, label=label, drawstyle="steps-post" if steps else "default", **how)


def _key(figure: Figure, axes: Axes) -> None:
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside upper left", ncols=2, columnspacing=1.2, borderpad=0.1
    )


def benefit(shown: Benefit, *, name: str) -> Drawing:
    """Net benefit over the threshold for the class `name`, compared with treating all and treating none."""

    def paint(figure: Figure, theme: Theme) -> None:
        axes = figure.subplots()
        _curve(axes, theme, shown.model, 0, "treat by the score")
        _curve(axes, theme, shown.every, 1, "treat all")
        axes.axhline(0.0, color=theme.ink, linewidth=1.1, linestyle=DOTTED, label="treat none")
        known = [
            values[np.isfinite(values)] for values in (shown.model.y, shown.model.high, shown.every.y[:1])
        ]
        top = max((float(values.max()) for values in known if len(values)), default=0.0)
        top = 1.08 * top if top > 0 else 0.05
        end = math.ceil(10 * float(shown.model.x[-1]) - 1e-9) / 10
        axes.set(xlim=(0.0, end), ylim=(-0.3 * top, top))
        axes.set(xlabel="threshold probability", ylabel="net benefit per case")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_locator(MaxNLocator(6))
        _key(figure, axes)

    model, every = shown.model, shown.every
    values = "; ".join(
        f"{score(float(model.y[k]))} at {score(float(model.x[k]), 2)} (treat all {score(float(every.y[k]))})"
        for k in _places(model)
    )
    alt = f"Net benefit of treating by the score of {name} over the threshold probability: {values}."
    return draw(paint, alt=alt, height=HEIGHT)


def _places(spread: Spread, n: int = 5) -> list[int]:
    """Evenly spaced places of a curve that its description names."""
    return [int(place) for place in np.unique(np.linspace(0, len(spread.x) - 1, n).astype(int))]


def work(shown: Spread, *, point: Marked | None, positive: float, unit: str, name: str) -> Drawing:
    """The share of cases left to read over the share of positives missed.

    Args:
        positive: the share of positives, which a perfect model leaves. unit: of the cases, in the plural.
        name: of the positive class.
    """

    def paint(figure: Figure, theme: Theme) -> None:
        axes = figure.subplots()
        end = float(shown.x[-1])
        _curve(axes, theme, shown, 0, "by the score", steps=True)
        axes.plot([0, end], [1, 1 - end], color=theme.muted, linewidth=1, linestyle=DOTTED, label="by chance")
        axes.plot(
            [0, end], [positive, positive * (1 - end)], color=theme.ink, linewidth=1.1,
            linestyle=(0, (6, 2, 1, 2)), label="perfect model",
        )  # fmt: skip
        if point is not None:
            colour = theme.lines[1]
            for (low, high), at, horizontal in ((point.across, point.y, True), (point.along, point.x, False)):
                if math.isfinite(low) and math.isfinite(high):
                    ends, level = [low, high], [at, at]
                    axes.plot(
                        *((ends, level) if horizontal else (level, ends)), color=colour, linewidth=1.4, zorder=4,
                    )  # fmt: skip
            axes.plot(
                [point.x], [point.y], "s", color=colour, markersize=7, markeredgecolor=theme.paper, zorder=5,
                label="chosen threshold", linestyle="none",
            )  # fmt: skip
        axes.set(xlim=(-0.01 * end, end), ylim=(0.0, 1.02))
        axes.set(xlabel="share of positives missed", ylabel=f"share of {unit} left to read")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_locator(MaxNLocator(6))
        _key(figure, axes)

    values = "; ".join(
        f"{score(float(shown.y[k]))} left at {score(float(shown.x[k]), 2)} missed" for k in _places(shown)
    )
    at = "" if point is None else f" At the threshold: {score(point.y)} left, {score(point.x)} missed."
    alt = f"Share of {unit} left to read over the share of positives ({name}) missed: {values}.{at}"
    return draw(paint, alt=alt, height=HEIGHT)


def risk(shown: Spread, *, unit: str) -> Drawing:
    """The share of wrong decisions among the cases answered over the share answered. `unit`: in the plural."""

    def paint(figure: Figure, theme: Theme) -> None:
        axes = figure.subplots()
        _curve(axes, theme, shown, 0, "most certain answered")
        axes.axhline(
            float(shown.y[-1]), color=theme.muted, linewidth=1, linestyle=DOTTED, label="all answered"
        )  # fmt: skip
        known = shown.high[np.isfinite(shown.high)]
        top = max(float(np.nanmax(shown.y)), float(known.max()) if len(known) else 0.0)
        axes.set(xlim=(0.0, 1.0), ylim=(0.0, min(1.02, 1.08 * top) if top > 0 else 0.05))
        axes.set(xlabel=f"share of {unit} answered", ylabel="share wrong of those answered")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_locator(MaxNLocator(6))
        _key(figure, axes)

    values = ", ".join(
        f"{score(float(shown.y[k]))} of the most certain {100 * shown.x[k]:.0f} %"
        for k in reversed(_places(shown, 6))
    )
    alt = f"Share of wrong decisions over the share of {unit} answered, the most certain first: {values}."
    return draw(paint, alt=alt, height=HEIGHT)
