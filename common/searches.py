"""Searches before a run: the learning-rate finder, and the ranking of backbones."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from graftwork.common.catalogue import find_recipe
from graftwork.common.errors import require_training
from graftwork.common.report.commands import listed
from graftwork.common.runs.preparation import prepared

if TYPE_CHECKING:
    from graftwork.common.selection.backbone_ranking import Selection
    from graftwork.common.training.lr_finder import RateSearch

__all__ = ["find_lr", "select"]

StrPath = str | os.PathLike[str]


def find_lr(
    recipe: StrPath,
    data: StrPath,
    out: StrPath = "rates",
    overrides: str | Sequence[str] = (),
    *,
    low: float = 1e-7,
    high: float = 1.0,
    steps: int = 100,
    phase: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> RateSearch:
    """Find a learning rate: train a few steps with a rising learning rate and plot the loss.

    It uses the network, strategy, loss and batches of the recipe, and reads only the training subset. It writes
    rates.csv and rates.svg to OUT. It starts no run and does not change a later one.

    Args:
        recipe, data, overrides, progress: as for `run`.
        out: a folder.
        low, high: the first and the last learning rate.
        steps: maximum number of steps.
        phase: the phase of the strategy, from 1.

    Raises:
        UsageError: the strategy solves the head without a learning rate, or has no such phase.
        RecipeError, DatasetError, WeightsError, RunError: as for `run`.
    """
    require_training("graftwork find-lr")
    import tempfile

    from graftwork.common.files import check_writable
    from graftwork.common.report.figures.lr_figure import write_search
    from graftwork.common.runs.run_folder import begin_run
    from graftwork.common.training.lr_finder import search

    name, asked = find_recipe(recipe, overrides)
    manifest, parts = prepared(asked, data)
    check_writable(out)
    with tempfile.TemporaryDirectory(prefix="graftwork-") as scratch:
        begun = begin_run(scratch, name, asked, manifest, parts, progress=progress)
        found = search(begun, low=low, high=high, steps=steps, phase=phase, progress=progress)
    return write_search(found, Path(out))


def select(
    recipe: StrPath,
    data: StrPath,
    among: str | Sequence[str],
    overrides: str | Sequence[str] = (),
    *,
    by: str = "log_me",
    out: StrPath | None = None,
    escape_formulas: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Selection:
    """Rank backbones by how well their features transfer to your data, with their cost.

    LogME, LEEP and H-score need one pass over the training subset and no training. A cross-validated linear probe
    is the reference. The validation and test subsets are not read, and no run is started.

    Args:
        recipe, data, overrides, progress: as for `run`; the image size and fit of the recipe apply.
        among: timm names; NAME@FILE for weights in a safetensors file with its card.
        by: "log_me", "leep", "h_score" or "probe".
        out: a .csv file to write the table to. escape_formulas: put an apostrophe before text in it that a spreadsheet
            would run as a formula.

    Raises:
        UsageError: no candidate, an unknown criterion, a target without exclusive classes.
        RecipeError, DatasetError: as for `run`.
    """
    require_training("graftwork select")
    from graftwork.common.files import check_target
    from graftwork.common.selection.backbone_ranking import select_among, write_selection

    if out is not None:
        check_target(Path(out))
    _, asked = find_recipe(recipe, overrides)
    manifest, parts = prepared(asked, data)
    found = select_among(asked, manifest, parts, listed(among), by=by, progress=progress)
    if out is not None:
        write_selection(found, Path(out), escape=escape_formulas)
    return found
