"""What is looked for before a run: a learning rate, a backbone. No run is begun."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from graftwork.common.catalogue import find_recipe
from graftwork.common.report.commands import listed
from graftwork.common.runs.preparation import prepared

if TYPE_CHECKING:
    from graftwork.common.selection.backbone_ranking import Selection
    from graftwork.common.training.lr_finder import RateSearch

__all__ = ["find_rate", "select"]

Words = str | os.PathLike[str]


def find_rate(
    recipe: Words,
    data: Words,
    out: Words = "rates",
    overrides: str | Sequence[str] = (),
    *,
    low: float = 1e-7,
    high: float = 1.0,
    steps: int = 100,
    phase: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> RateSearch:
    """Look for a learning rate: train a few steps at rates that rise, and watch the loss.

    Network, strategy, objective and batches are the recipe's; only the training part is read. OUT gets the table
    and the picture of the search and nothing else: no run is begun, and one that follows is the same to the byte.

    Args:
        recipe, data, overrides, progress: as for `run`.
        out: a folder.
        low, high: the rates to begin and to end with.
        steps: at most.
        phase: of the strategy, from 1: whose stages learn.

    Raises:
        UsageError: the head is solved and has no rate; there is no such phase.
        RecipeError, DatasetError, WeightsError, RunError: as for `run`.
    """
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
    recipe: Words,
    data: Words,
    among: str | Sequence[str],
    overrides: str | Sequence[str] = (),
    *,
    by: str = "log_me",
    out: Words | None = None,
    escape_formulas: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Selection:
    """Rank backbones by how well their features would transfer to a recipe's data, beside what they cost.

    LogME, LEEP and H-score need one pass over the training part and no training; a cross-validated linear probe
    stands beside them as the reference. Validation and test are not read, and no run is begun.

    Args:
        recipe, data, overrides, progress: as for `run`; the recipe's size and fit of pictures apply.
        among: timm names; NAME@FILE for weights in a safetensors file with its card.
        by: "log_me", "leep", "h_score" or "probe".
        out: a .csv file to write the table to. escape_formulas: put an apostrophe before text in it that a spreadsheet
            would run as a formula.

    Raises:
        UsageError: no candidate, an unknown criterion, a target without exclusive classes.
        RecipeError, DatasetError: as for `run`.
    """
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
