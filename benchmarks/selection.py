"""Kendall's tau between each transferability score and the result of fine-tuning.

Fine-tune every candidate once with an equal budget, into one folder of runs:

    graftwork run chest_xray/kermany_full --data DIR --out runs image.size=64 training.epochs=1 \\
        training.backbone_learning_rate_factor=1.0 training.learning_rate=0.0005 backbone.name=tf_efficientnet_lite0
    ...
    python benchmarks/selection.py RECIPE --data DIR runs/*/*

The candidates are the backbones and weights of the runs. Their scores are computed on the training subset, at the image
size of the runs. For each candidate, the output has its scores and the primary metric of its fine-tuning on the test
subset. For each score, it has tau-b (Kendall 1945) with its exact two-sided p value. With five or six candidates, a tau
below about 0.7 is not significant.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from scipy.stats import kendalltau

from graftwork.common.runs.run_folder import Run, open_run
from graftwork.common.selection.backbone_ranking import CRITERIA, Candidate
from graftwork.common.verbs import select


def named(run: Run) -> str:
    """The candidate of a run, as `select` takes it."""
    asked = run.recipe.backbone
    return f"{asked.name}@{asked.file}" if asked.file else asked.name


def truth_of(run: Run) -> tuple[float, float, float]:
    """The primary metric on the test subset with its interval."""
    primary = run.protocol.primary
    found = next(each for each in run.evaluation.results if each.metric == primary and not each.label)
    return found.value, found.low, found.high


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("recipe")
    words.add_argument("--data", required=True)
    words.add_argument("runs", nargs="+", type=Path)
    asked = words.parse_args()
    runs = {named(run): run for run in map(open_run, asked.runs)}
    sizes = {run.recipe.image.size for run in runs.values()}
    budgets = {
        (run.recipe.training.epochs, run.recipe.training.learning_rate, run.recipe.seed)
        for run in runs.values()
    }
    if len(sizes) != 1 or len(budgets) != 1:
        raise SystemExit(f"the runs differ in size or budget: {sizes}, {budgets}")
    found = select(asked.recipe, asked.data, list(runs), [f"image.size={sizes.pop()}"])
    primary = next(iter(runs.values())).protocol.primary
    print(
        f"{asked.recipe}: {found.cases} training cases of {found.groups} groups; (epochs, rate, seed) {budgets.pop()}"
    )
    print(f"candidate, {', '.join(CRITERIA)}, test {primary} (95 % interval) after fine-tuning, trained on")
    for each in found.candidates:
        value, low, high = truth_of(runs[each.name])
        scores = ", ".join(f"{getattr(each, name):.4f}" for name in CRITERIA)
        print(f"{Path(each.name).name}, {scores}, {value:.4f} ({low:.4f} to {high:.4f}), {each.trained_on}")
    for name in CRITERIA:
        say_tau(name, found.candidates, runs)


def say_tau(name: str, candidates: tuple[Candidate, ...], runs: dict[str, Run]) -> None:
    pairs = [(getattr(each, name), truth_of(runs[each.name])[0]) for each in candidates]
    known = [pair for pair in pairs if not math.isnan(pair[0])]
    if len(known) < 3:
        print(f"{name}: known of {len(known)} candidates alone")
        return
    tau = kendalltau(
        *zip(*known, strict=True), method="exact" if len({a for a, _ in known}) == len(known) else "auto"
    )
    print(f"{name}: tau {tau.statistic:.2f}, p {tau.pvalue:.2f}, n {len(known)}")


if __name__ == "__main__":
    main()
