"""Files of the learning-rate finder: a table, and the loss over the learning rate as a figure."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.ticker import FuncFormatter, NullFormatter

from graftwork.common.files import write_text
from graftwork.common.report.figures.drawing import draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from graftwork.common.report.figures.drawing import Theme
    from graftwork.common.training.lr_finder import RateSearch


def write_search(found: RateSearch, folder: Path) -> RateSearch:
    """Write rates.csv and rates.svg into a folder.

    Raises:
        GraftworkError: the folder cannot be written.
    """
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(("step", "rate", "loss", "smoothed"))
    for step, row in enumerate(zip(found.rates, found.losses, found.smoothed, strict=True), 1):
        rows.writerow((step, *(f"{value:.6g}" for value in row)))
    write_text(folder / "rates.csv", table.getvalue())
    write_text(folder / "rates.svg", _figure(found))
    return replace(found, table=folder / "rates.csv", picture=folder / "rates.svg")


def _figure(found: RateSearch) -> str:
    """The loss over the learning rate, with both suggestions, on a white background."""

    from graftwork.common.training.lr_finder import EDGE  # here, as it needs torch

    def paint(figure: Figure, theme: Theme) -> None:
        figure.set_facecolor(theme.paper)
        axes = figure.subplots()
        axes.plot(
            found.rates, found.losses, color=theme.muted, linewidth=0.7, alpha=0.7, label="loss of a batch"
        )
        axes.plot(found.rates, found.smoothed, color=theme.lines[0], label="smoothed")
        for name, value, dash in (
            ("steepest", found.steepest, (0, (5, 2))),
            ("one tenth of the minimum", found.tenth, (0, (1, 2))),
        ):
            axes.axvline(value, color=theme.ink, linewidth=1.2, linestyle=dash, label=f"{name}: {value:.2g}")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        # a diverging loss runs out of the figure
        top, bottom = 1.6 * max(found.smoothed[: EDGE + 1]), min(found.smoothed)
        axes.set_ylim(bottom - 0.25 * (top - bottom), top)
        axes.set(xlabel="learning rate", ylabel="training loss")
        figure.legend(loc="outside upper left", ncols=2, borderpad=0.1)

    drawing = draw(paint, alt="", height=3.6, width=5.6)
    paper = '<rect width="100%" height="100%" fill="#ffffff"/>'
    head, end, rest = drawing.svg.partition(">")
    return f"{head}{end}{paper}{rest}"
