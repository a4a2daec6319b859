"""The ledger of trainability as a picture: which stage learned in which epoch, at which rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FixedLocator, MaxNLocator

from graftwork.common.report.figures.drawing import Drawing, Theme, draw
from graftwork.common.report.formatting import rate, shortened


@dataclass(frozen=True)
class LedgerRow:
    """One stage over the epochs: how many of its parameters learn, at which rate, in which norm mode.

    Attributes:
        parameters: of the stage, all of them; 0 where that is not known.
        kept: whether it did not run, because what it puts out was kept.
    """

    stage: str
    learning: tuple[int, ...]
    rates: tuple[float, ...]
    norms: tuple[str, ...]
    parameters: int = 0
    kept: tuple[bool, ...] = ()

    def state(self, epoch: int) -> str:
        """`learning`, `partly`, `frozen` or `kept`, in an epoch counted from 0."""
        if self.learning[epoch] > 0:
            return "partly" if self.learning[epoch] < self.parameters / 2 else "learning"
        return "kept" if self.kept and self.kept[epoch] else "frozen"


def ledger(
    rows: Sequence[LedgerRow],
    *,
    alt: str,
    small: bool = False,
    begins: Sequence[int] = (),
    chosen: int | None = None,
    epoch: str = "epoch",
) -> Drawing:
    """Stages (head on top) over epochs. Hatched: frozen. Filled: learning, as high as its rate. Letter: norm mode.

    Args:
        begins: the first epoch of each phase, where there are several; they are numbered in the order of time.
        chosen: the epoch whose weights were kept.
        epoch: what stands in a column.
    """
    epochs = len(rows[0].rates) if rows else 1
    states = {row.state(each) for row in rows for each in range(epochs)}
    pitch = max(0.13, min(0.27, 6.0 / max(len(rows), 1))) * (0.8 if small else 1.0)
    modes = {norm for row in rows for norm in row.norms}

    def paint(figure: Figure, theme: Theme) -> None:
        axes = figure.subplots()
        axes.grid(visible=False)
        for y, row in enumerate(rows):
            for start, stop in _stretches(row):
                _stretch(axes, theme, row, start, stop, y, letters=pitch > 0.15)
        axes.set_xlim(0.5, epochs + 0.5)
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
        axes.set_xlabel(epoch)
        for number, first in enumerate(begins, 1):
            if number > 1:
                axes.axvline(first - 0.5, color=theme.ink, linewidth=1.1)
            axes.annotate(
                str(number), (first - 0.5, len(rows) - 0.4), xytext=(2, 1), textcoords="offset points",
                fontsize=8, fontweight="bold", color=theme.ink, annotation_clip=False,
            )  # fmt: skip
        if chosen is not None and epochs > 1:
            axes.plot([chosen], [-0.6], marker="^", markersize=7, color=theme.ink, clip_on=False, zorder=5)
        axes.yaxis.set_major_locator(FixedLocator(list(range(len(rows)))))
        axes.set_yticks(range(len(rows)), [shortened(row.stage, 18) for row in rows])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        right = axes.secondary_yaxis("right")
        right.set_yticks(range(len(rows)), [_highest(row, epoch) for row in rows])
        right.tick_params(axis="y", length=0)
        right.spines["right"].set_visible(False)
        right.set_ylabel("highest learning rate" if epoch == "epoch" else "")
        keys = {
            "learning": Patch(facecolor=theme.lines[0], edgecolor=theme.muted, label="learning, as high as its rate"),
            "partly": Patch(
                facecolor=theme.paper, edgecolor=theme.lines[0], hatch="||||||", label="a part of it learning"
            ),
            "frozen": Patch(facecolor=theme.fill, edgecolor=theme.muted, hatch="////", label="frozen"),
            "kept": Patch(facecolor=theme.grid, edgecolor=theme.muted, label="frozen, run once and kept"),
        }  # fmt: skip
        handles: list[Any] = [handle for state, handle in keys.items() if state in states]
        if chosen is not None and epochs > 1:
            handles.append(
                Line2D(
                    [],
                    [],
                    marker="^",
                    markersize=7,
                    color=theme.ink,
                    linestyle="none",
                    label=f"chosen {epoch}",
                )
            )
        figure.legend(handles=handles, loc="outside upper left", ncols=2, columnspacing=1.2, borderpad=0.1)
        if modes - {""}:
            words = {"hold": "H hold", "adapt": "A adapt", "train": "T train"}
            said = ", ".join(words.get(mode, mode) for mode in ("hold", "adapt", "train") if mode in modes)
            figure.supxlabel(f"norm layers: {said}", fontsize=9, x=0.02, ha="left", color=theme.muted)

    lines = (len(states) + (chosen is not None) + 1) // 2
    return draw(paint, alt=alt, height=1.0 + 0.17 * lines + 0.12 * bool(begins) + pitch * max(len(rows), 1))


def _stretches(row: LedgerRow) -> list[tuple[int, int]]:
    """Runs of epochs (from 0, the end left out) in which the stage is in one state."""
    states = [(row.state(epoch), norm) for epoch, norm in enumerate(row.norms)]
    starts = [i for i, state in enumerate(states) if i == 0 or state != states[i - 1]]
    return list(zip(starts, [*starts[1:], len(states)], strict=True))


def _stretch(
    axes: Axes, theme: Theme, row: LedgerRow, start: int, stop: int, y: float, *, letters: bool
) -> None:
    bottom, tall = y - 0.4, 0.8
    highest = max(row.rates) or 1.0
    if row.learning[start] > 0:
        edges = np.repeat(np.arange(start, stop + 1), 2)[1:-1] + 0.5
        heights = np.repeat([max(0.06, value / highest) for value in row.rates[start:stop]], 2) * tall
        partly: dict[str, Any] = {}
        if row.state(start) == "partly":
            partly = {"hatch": "||||||", "facecolor": theme.paper, "edgecolor": theme.lines[0]}
        axes.fill_between(
            edges, bottom, bottom + heights, **{"facecolor": theme.lines[0], "linewidth": 0, **partly}
        )
        axes.add_patch(
            Rectangle(
                (start + 0.5, bottom), stop - start, tall, fill=False, edgecolor=theme.muted, linewidth=0.6
            )
        )
    else:
        kept = row.state(start) == "kept"
        look: dict[str, Any] = (
            {"facecolor": theme.grid} if kept else {"facecolor": theme.fill, "hatch": "////"}
        )
        axes.add_patch(
            Rectangle((start + 0.5, bottom), stop - start, tall, edgecolor=theme.muted, linewidth=0.6, **look)
        )
    letter = {"hold": "H", "adapt": "A", "train": "T"}.get(row.norms[start], "")
    if letter and letters:
        axes.annotate(
            letter, (start + 0.5, y), xytext=(3, 0), textcoords="offset points", ha="left", va="center",
            fontsize=8, fontweight="bold", color=theme.ink,
            bbox={"boxstyle": "round,pad=0.18", "facecolor": theme.paper, "edgecolor": theme.muted, "linewidth": 0.5},
        )  # fmt: skip


def _highest(row: LedgerRow, epoch: str) -> str:
    top = max((value for value, learns in zip(row.rates, row.learning, strict=True) if learns), default=None)
    if top is not None and epoch == "strength":
        return "solved"
    return "frozen" if top is None else rate(top)
