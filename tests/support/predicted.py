"""Predictions to judge in tests: a table with several cases a group, and small scored samples with ties."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from hypothesis import assume, settings, strategies as st
from scipy.stats import norm, t

from graftwork.common.evaluation import METRICS, Protocol
from graftwork.common.evaluation.metrics.registry import SCORED
from graftwork.domains.chest_xray.protocols import PROTOCOLS

__all__ = [
    "ALL",
    "BINARY",
    "EXACT",
    "KERMANY",
    "Floats",
    "Target",
    "protocol",
    "quick",
    "scored",
    "table",
    "tails",
]

Floats = npt.NDArray[np.float64]
EXACT = {"abs": 1e-12, "rel": 0}
quick = settings(deadline=None, max_examples=30, derandomize=True)
ALL = tuple(name for name, text in METRICS.items() if set(SCORED) <= set(text.kinds))


def tails(groups: int) -> list[float]:
    """The shares at which the percentiles of a 95 % interval over so many groups stand (Hesterberg 2015)."""
    share = float(norm.cdf(-np.sqrt(groups / (groups - 1)) * t.ppf(0.975, groups - 1)))
    return [share, 1.0 - share]


@dataclass(frozen=True)
class Target:
    kind: Any
    classes: tuple[str, ...]


BINARY = Target("binary", ("normal", "pneumonia"))
KERMANY = PROTOCOLS[0]


def protocol(target: Target, metrics: tuple[str, ...] = ALL, **changes: Any) -> Protocol:
    return Protocol("trial", 1, "A trial", "nobody", "image", target.kind, "auroc", metrics, **changes)


def table(n: int = 240, *, groups: int = 80, seed: int = 0, parts: bool = True) -> pd.DataFrame:
    """Predictions of a binary target, several cases a group, no group in two parts."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, groups, n)
    ill = rng.random(groups) < 0.6
    s = 1 / (1 + np.exp(-(rng.normal(size=n) + rng.normal(size=groups)[group] + 3 * (ill[group] - 0.5))))
    return pd.DataFrame(
        {
            "case": [f"case{row:04}" for row in range(n)],
            "group": [f"p{number:04}" for number in group],
            "part": np.where((group % 3 == 0) & parts, "validation", "test"),
            "path": [f"a/{row}.png" for row in range(n)],
            "target": np.where(ill[group], "pneumonia", "normal"),
            "score_normal": 1 - s,
            "score_pneumonia": s,
        }
    )


@st.composite
def scored(draw: st.DrawFn, least: int = 2) -> tuple[npt.NDArray[np.int64], Floats]:
    """Labels with both classes, and scores with many ties."""
    n = draw(st.integers(least, 40))
    y = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    assume(0 < y.sum() < n)
    levels = draw(st.integers(1, 50))
    return y, np.array(draw(st.lists(st.integers(0, levels), min_size=n, max_size=n))) / levels
