"""Evaluate the predictions of a run by its protocols and save the results. Needs no torch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from graftwork.common.data import domain
from graftwork.common.evaluation.evaluate_table import evaluate_all, keep

if TYPE_CHECKING:
    from graftwork.common.evaluation.results import Evaluation
    from graftwork.common.runs.run_folder import Run


def evaluate_run(run: Run) -> Evaluation:
    """Evaluate the predictions of a run and save metrics.json and further_metrics.json.

    Returns:
        the evaluation of the test part by the first protocol; `Run.further_evaluations` has the others.
    """
    wish, further = run.recipe.evaluation, map(domain.protocol, domain.dataset(run.recipe.dataset).further)
    how = {"threshold": wish.threshold, "target_value": wish.threshold_target, "bootstrap": wish.bootstrap}
    found, others = evaluate_all(run.predictions, run.manifest.targets, run.protocol, further, **how)
    if run.manifest.synthetic:
        found = replace(found, synthetic=True)
        others = tuple(replace(each, synthetic=True) for each in others)
    keep(run.folder, found, others)
    return found
