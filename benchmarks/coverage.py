"""Coverage of the 95 % intervals on simulated cases with a known true value.

    python benchmarks/coverage.py --draws 2000 --replicates 1000

Each group (patient) has 1 to 12 similar cases: a random effect of the group changes its share of positives and its
scores. The true value of a metric is its value in a population of 400,000 groups. Each cell has the share of draws
whose interval contains the true value, the shares with the true value above and below the interval, and the mean
width. Draws without an interval are counted separately. The standard error of the simulation with 2,000 draws is 0.5
percentage points.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np

from graftwork.common.evaluation.arrays import Estimator, FloatArray, ratio
from graftwork.common.evaluation.intervals.bootstrap import (
    bca_interval,
    expanded_interval,
    leave_one_out,
    percentile_interval,
    replicate,
)
from graftwork.common.evaluation.metrics.discrimination import Ranking

SIZES = np.array([1, 1, 1, 2, 2, 3, 4, 6, 12])


def draw(groups: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Simulated cases of `groups` groups: group, label, score, and the intersection and sum of volumes for Dice."""
    sizes = rng.choice(SIZES, groups)
    units = np.repeat(np.arange(groups), sizes)
    ill, bias = rng.normal(0, 1, groups)[units], rng.normal(0, 0.5, groups)[units]
    truth = rng.random(len(units)) < 1 / (1 + np.exp(0.6 - ill))
    score = truth * 1.3 + bias + rng.normal(0, 1, len(units))
    overlap = rng.beta(6, 2, groups)
    return units, truth, score, overlap


def estimators(cases: tuple[np.ndarray, ...], groups: int) -> dict[str, Estimator]:
    """The estimator of each metric."""
    units, truth, score, overlap = cases
    ranking = Ranking(truth, score, units, groups)
    decided = score >= 0.8
    return {
        "AUROC": ranking.auroc,
        "average precision": ranking.average_precision,
        "sensitivity": ratio(truth & decided, truth, units, groups),
        "Dice": ratio(overlap, np.ones(groups), np.arange(groups), groups),
    }


def truths() -> dict[str, float]:
    """The value of each metric in a large population, computed in blocks of 40,000 groups."""
    rng = np.random.default_rng(99)
    parts = []
    for _ in range(10):
        cases = draw(40_000, rng)
        once = np.ones((1, 40_000))
        parts.append({name: float(each(once)[0]) for name, each in estimators(cases, 40_000).items()})
    return {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}


Limits = Callable[[FloatArray, float, Estimator, int], tuple[float, float]]


def percentile(values: FloatArray, whole: float, estimator: Estimator, groups: int) -> tuple[float, float]:
    found = percentile_interval(values)
    return found.low, found.high


def expanded(values: FloatArray, whole: float, estimator: Estimator, groups: int) -> tuple[float, float]:
    found = expanded_interval(values, groups)
    return found.low, found.high


def accelerated(values: FloatArray, whole: float, estimator: Estimator, groups: int) -> tuple[float, float]:
    found = bca_interval(values, whole, leave_one_out(estimator, groups))
    return found.low, found.high


METHODS: dict[str, Limits] = {"percentile": percentile, "expanded": expanded, "BCa": accelerated}


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--draws", type=int, default=2000)
    words.add_argument("--replicates", type=int, default=1000)
    words.add_argument("--groups", type=int, nargs="+", default=[20, 50, 200])
    asked = words.parse_args()
    known = truths()
    print(f"{asked.draws} draws, {asked.replicates} replicates; truth: "
          + ", ".join(f"{name} {value:.4f}" for name, value in known.items()))  # fmt: skip
    print(
        "groups, metric, method, holds the truth (%), truth below, truth above, mean width, without interval"
    )
    for groups in asked.groups:
        rng = np.random.default_rng(groups)
        found: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for _ in range(asked.draws):
            cases = draw(groups, rng)
            made = estimators(cases, groups)
            seed = int(rng.integers(2**31))
            drawn = replicate(
                list(made.values()), groups, items=len(cases[0]), replicates=asked.replicates, seed=seed
            )
            for (metric, estimator), values in zip(made.items(), drawn, strict=True):
                whole = float(estimator(np.ones((1, groups)))[0])
                for method, limits in METHODS.items():
                    found.setdefault((metric, method), []).append(limits(values, whole, estimator, groups))
        for (metric, method), rows in found.items():
            low, high = np.array(rows).T
            there = ~np.isnan(low)
            truth = known[metric]
            below, above = (truth < low[there]).mean(), (truth > high[there]).mean()
            print(
                f"{groups}, {metric}, {method}, {100 * (1 - below - above):.1f}, {100 * below:.1f}, {100 * above:.1f}, "
                f"{(high[there] - low[there]).mean() if there.any() else math.nan:.3f}, {int((~there).sum())}"
            )


if __name__ == "__main__":
    main()
