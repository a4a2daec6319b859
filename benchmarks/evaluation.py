"""Speed of the evaluation compared with scikit-learn and MONAI: one process, one thread, the same numbers.

    OMP_NUM_THREADS=1 python benchmarks/evaluation.py

All data are synthetic. The loop over scikit-learn is timed on some of the resamples, and its total time is
extrapolated; the AUROCs of these resamples are compared. MONAI is used as in its documentation, with float32 tensors.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice
from sklearn.metrics import roc_auc_score

from graftwork.common.evaluation import auroc, delong
from graftwork.common.evaluation.intervals.bootstrap import multiplicities, replicate
from graftwork.common.evaluation.metrics.discrimination import Ranking
from graftwork.common.evaluation.metrics.lesions import lesion_wise
from graftwork.common.evaluation.metrics.surface_distances import Surfaces


def timed(work: Callable[[], object]) -> tuple[float, object]:
    """The fastest of three runs in seconds, and the result."""
    best, found = np.inf, None
    for _ in range(3):
        start = time.perf_counter()
        found = work()
        best = min(best, time.perf_counter() - start)
    return best, found


def bootstrap(replicates: int, sample: int) -> None:
    """14 AUROCs of 25,000 images of 6,000 patients."""
    rng = np.random.default_rng(0)
    n, groups = 25_000, 6_000
    units = np.sort(rng.integers(0, groups, n))
    truth = rng.random((n, 14)) < rng.uniform(0.002, 0.18, 14)
    scores = (
        (truth * rng.uniform(0.5, 2.0, 14) + rng.normal(size=(n, 14))).astype(np.float32).astype(np.float64)
    )

    def ours() -> list[np.ndarray]:
        made = [Ranking(truth[:, k], scores[:, k], units, groups).auroc for k in range(14)]
        return replicate(made, groups, items=n, replicates=replicates, seed=0)

    start = time.perf_counter()
    values = ours()
    own = time.perf_counter() - start
    rows = next(multiplicities(groups, sample, 0, at_a_time=sample))
    worst = 0.0
    start = time.perf_counter()
    for place, row in enumerate(rows):
        index = np.repeat(np.arange(n), row[units].astype(int))
        for k in range(14):
            worst = max(worst, abs(roc_auc_score(truth[index, k], scores[index, k]) - values[k][place]))
    theirs = (time.perf_counter() - start) / sample * replicates
    print(f"bootstrap of 14 AUROCs, {n:,} images of {groups:,} patients, {replicates:,} resamples: graftwork "
          f"{own:.1f} s, scikit-learn's loop {theirs:.0f} s (from {sample} resamples), ratio {theirs / own:.0f}; "
          f"largest difference {worst:.1e}")  # fmt: skip


def million() -> None:
    """AUROC and DeLong of a million cases."""
    rng = np.random.default_rng(1)
    y = rng.random(1_000_000) < 0.3
    s = y + rng.normal(size=len(y))
    own, area = timed(lambda: auroc(y, s))
    peer, other = timed(lambda: roc_auc_score(y, s))
    with_interval, found = timed(lambda: delong(y, s))
    print(f"AUROC of a million: graftwork {own:.2f} s, scikit-learn {peer:.2f} s, ratio {peer / own:.1f}, "
          f"difference {abs(area - other):.1e}; with DeLong's interval {with_interval:.2f} s")  # type: ignore[operator]  # fmt: skip
    assert found is not None


def surfaces() -> None:
    """HD95 and NSD of three regions of a volume of 240 x 240 x 155, and lesion-wise scores."""
    shape = (240, 240, 155)
    place = np.indices(shape, dtype=np.float32)
    rng = np.random.default_rng(2)

    def ball(centre: tuple[float, ...], radius: float) -> np.ndarray:
        far = sum((axis - c) ** 2 for axis, c in zip(place, centre, strict=True))
        return np.asarray(far < radius**2)

    pairs = []
    for radius in (45.0, 30.0, 18.0):
        centre = np.array([110.0, 130.0, 80.0]) + rng.normal(0, 2, 3)
        truth = ball(tuple(centre), radius) | ball((60, 60, 60), 8)
        pairs.append((truth, ball(tuple(centre + np.array([2, -1, 3])), radius) | ball((180, 60, 100), 4)))
    side = (1.0, 1.0, 1.0)

    def ours() -> list[tuple[float, float]]:
        found = []
        for truth, predicted in pairs:
            both = Surfaces(truth, predicted, side)
            found.append((both.hausdorff_95("max-of-directed"), both.surface_dice(1.0, "voxel")))
        return found

    tensors = [torch.from_numpy(np.stack([pair[m] for pair in pairs]))[None] for m in (0, 1)]

    def theirs() -> list[tuple[float, float]]:
        far = compute_hausdorff_distance(
            tensors[1], tensors[0], percentile=95, include_background=True, spacing=side
        )
        near = compute_surface_dice(tensors[1], tensors[0], [1.0] * 3, include_background=True, spacing=side)
        return list(zip(far[0].tolist(), near[0].tolist(), strict=True))

    own, mine = timed(ours)
    peer, other = timed(theirs)
    print(f"HD95 and NSD of 3 regions, 240 x 240 x 155: graftwork {own:.2f} s, MONAI {peer:.2f} s, "
          f"ratio {peer / own:.1f}; largest difference {np.abs(np.subtract(mine, other)).max():.1e}")  # fmt: skip
    surfel, _ = timed(lambda: [Surfaces(*pair, side).surface_dice(1.0, "surfel") for pair in pairs])
    lesions, _ = timed(lambda: [lesion_wise(*pair, side) for pair in pairs])
    print(f"the same by surfels: {surfel:.2f} s; lesion-wise by the rules of 2023: {lesions:.2f} s")


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--replicates", type=int, default=1000)
    words.add_argument(
        "--sample", type=int, default=10, help="resamples that scikit-learn's loop is timed over"
    )
    asked = words.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    bootstrap(asked.replicates, asked.sample)
    million()
    surfaces()


if __name__ == "__main__":
    main()
