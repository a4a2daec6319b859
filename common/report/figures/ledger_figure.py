"""The training ledger as a figure: which stage trained in which epoch, at which learning rate."""

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
from graftwork.common.report.formatting import count, listing, number, rate, shortened


@dataclass(frozen=True)
class LedgerRow:
    """One stage over the epochs: the number of its trained parameters, learning rate and norm mode.

    Attributes:
        parameters: of the whole stage; 0: unknown.
        cached: whether it did not run, because its output was cached.
    """

    stage: str
    trained: tuple[int, ...]
    rates: tuple[float, ...]
    norms: tuple[str, ...]
    parameters: int = 0
    cached: tuple[bool, ...] = ()

    def state(self, epoch: int) -> str:
        """`trained`, `partly`, `frozen` or `cached`, in an epoch counted from 0."""
        if self.trained[epoch] > 0:
            return "partly" if self.trained[epoch] < self.parameters / 2 else "trained"
        return "cached" if self.cached and self.cached[epoch] else "frozen"


def ledger(
    rows: Sequence[LedgerRow],
    *,
    small: bool = False,
    phases: Sequence[tuple[str, int, int]] = (),
    chosen: int | None = None,
    epoch: str = "epoch",
) -> Drawing:
    """Stages (head on top) over epochs. Hatched: frozen. Filled: trained, height by learning rate. Letter: norm mode.

    Args:
        phases: name, first and last epoch of each; where there are several, they are numbered.
        chosen: the epoch whose weights were saved.
        epoch: name of a column.
    """
    begins = [first for _, first, _ in phases] if len(phases) > 1 else []
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
        for place, first in enumerate(begins, 1):
            if place > 1:
                axes.axvline(first - 0.5, color=theme.ink, linewidth=1.1)
            axes.annotate(
                str(place), (first - 0.5, len(rows) - 0.4), xytext=(2, 1), textcoords="offset points",
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
            "trained": Patch(facecolor=theme.lines[0], edgecolor=theme.muted, label="trained, height by learning rate"),
            "partly": Patch(
                facecolor=theme.paper, edgecolor=theme.lines[0], hatch="||||||", label="partly trained"
            ),
            "frozen": Patch(facecolor=theme.fill, edgecolor=theme.muted, hatch="////", label="frozen"),
            "cached": Patch(facecolor=theme.grid, edgecolor=theme.muted, label="frozen, output cached"),
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
            names = ", ".join(words.get(mode, mode) for mode in ("hold", "adapt", "train") if mode in modes)
            figure.supxlabel(f"norm layers: {names}", fontsize=9, x=0.02, ha="left", color=theme.muted)

    lines = (len(states) + (chosen is not None) + 1) // 2
    alt = f"{_words(rows, epoch)} {phase_words(phases, epoch)}".strip()
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
    if row.trained[start] > 0:
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
        cached = row.state(start) == "cached"
        look: dict[str, Any] = (
            {"facecolor": theme.grid} if cached else {"facecolor": theme.fill, "hatch": "////"}
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
    top = max((value for value, trained in zip(row.rates, row.trained, strict=True) if trained), default=None)
    if top is not None and epoch == "strength":
        return "solved"
    return "frozen" if top is None else rate(top)


def phase_words(phases: Sequence[tuple[str, int, int]], epoch: str) -> str:
    """The phases with their numbers and epochs."""
    return " ".join(
        f"{place} {name} ({epoch} {first}{f' to {last}' if last > first else ''})."
        for place, (name, first, last) in enumerate(phases, 1)
    )


def _words(rows: Sequence[LedgerRow], step: str) -> str:
    always = [row.stage for row in rows if all(row.trained)]
    never = [row.stage for row in rows if not any(row.trained)]
    partly = [row.stage for row in rows if any(row.trained) and not all(row.trained)]
    text = [
        f"Trainability of {number(len(rows))} stages over {count(len(rows[0].rates) if rows else 0, step)}."
    ]
    for stages, words in (
        (always, "trained throughout"),
        (never, "frozen throughout"),
        (partly, f"trained in some {step}s"),
    ):
        if stages:
            short = listing(shortened(stage, 24) for stage in stages)
            text.append(f"{short if len(stages) <= 12 else f'{len(stages)} stages'}: {words}.")
    if step == "epoch":
        highest = max((value for row in rows for value in row.rates), default=0.0)
        text.append(f"Highest learning rate {rate(highest)}.")
    return " ".join(text)
