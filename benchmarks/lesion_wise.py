"""Speed of mask metrics compared with the reference programs: one core, the same files and arrays.

    OMP_NUM_THREADS=1 python benchmarks/lesion_wise.py --organisers DIR --python DIR/venv/bin/python

The organisers' programs for lesion-wise scores need older versions of Python, NumPy and pandas. In a folder DIR:

    git clone https://github.com/rachitsaluja/BraTS-2023-Metrics && git -C BraTS-2023-Metrics checkout 43c9052
    git clone https://github.com/rachitsaluja/BraTS-2024-Metrics && git -C BraTS-2024-Metrics checkout f1131e3
    python3.10 -m venv venv
    venv/bin/pip install -r BraTS-2023-Metrics/requirements.txt MedPy==0.5.2

They run in a process of that Python, which times only their function, from two file names to a table of scores. They
run once, because they take minutes. graftwork is timed from the same files to the same scores, as the fastest of three
runs. Without these options, only surface-distance is timed, which is in the extra `test`. All data are synthetic.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from surface_distance import (
    compute_robust_hausdorff,
    compute_surface_dice_at_tolerance,
    compute_surface_distances,
)

from graftwork.common.data.domain import protocol
from graftwork.common.data.masks import read_values
from graftwork.common.evaluation.metrics.surface_distances import Surfaces
from graftwork.common.external.mask_folders import judge_masks

SHAPE = (240, 240, 155)
SIDE = (1.0, 1.0, 1.0)
REGIONS = {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)}
# Rules to protocol, clone and module, and which of its figures are ours. Its other figures of 2024, of whole regions,
# are taken after small parts of the prediction were deleted, so they are not compared.
PROGRAMS = {
    "2023": (
        "brats2023-lesionwise",
        "BraTS-2023-Metrics",
        "metrics",
        {
            "LesionWise_Score_Dice": "lesion_dice",
            "LesionWise_Score_HD95": "lesion_hausdorff_95",
            "Legacy_Dice": "dice",
            "Legacy_HD95": "hausdorff_95",
        },
    ),
    "2024": (
        "brats2024",
        "BraTS-2024-Metrics",
        "metrics_GLI",
        {
            "LesionWise_Score_Dice": "lesion_dice",
            "LesionWise_Score_HD95": "lesion_hausdorff_95",
            "LesionWise_Score_NSD @ 0.5": "lesion_surface_dice_half",
            "LesionWise_Score_NSD @ 1.0": "lesion_surface_dice_one",
        },
    ),
}
# Runs under the other Python, in an empty folder: the program of 2024 leaves files where it is started.
CHILD = """
import importlib, json, sys, time, warnings
warnings.simplefilter("ignore")
folder, module, predicted, truth = sys.argv[1:]
sys.path.insert(0, folder)
score = importlib.import_module(module).get_LesionWiseResults
start = time.perf_counter()
table = score(predicted, truth, "BraTS-GLI")
seconds = time.perf_counter() - start
table = table[0] if isinstance(table, tuple) else table
rows = {row.pop("Labels"): {name: float(value) for name, value in row.items()} for row in table.to_dict("records")}
print("SCORES " + json.dumps({"seconds": seconds, "rows": rows}))
"""


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """The fastest of three runs in seconds, and the result."""
    best, found = np.inf, None
    for _ in range(3):
        start = time.perf_counter()
        found = work()
        best = min(best, time.perf_counter() - start)
    return best, found


def tumours() -> tuple[np.ndarray, np.ndarray]:
    """A glioma with three layers and two satellites, and a prediction that is shifted, misses one and adds one."""
    place = np.indices(SHAPE, dtype=np.float32)

    def drawn(balls: list[tuple[tuple[int, int, int], int, int]]) -> np.ndarray:
        labels = np.zeros(SHAPE, np.uint8)
        for centre, radius, label in balls:
            far = sum((axis - c) ** 2 for axis, c in zip(place, centre, strict=True))
            labels[far < radius**2] = label
        return labels

    truth = [((110, 130, 80), 45, 2), ((110, 130, 80), 30, 3), ((108, 128, 80), 18, 1)]
    satellites = [((60, 60, 60), 12, 2), ((60, 60, 60), 7, 3), ((185, 150, 100), 6, 3)]
    predicted = [((112, 129, 83), 45, 2), ((112, 129, 83), 30, 3), ((108, 128, 80), 18, 1)]
    others = [((61, 59, 60), 11, 2), ((61, 59, 60), 7, 3), ((180, 60, 100), 5, 3)]
    return drawn(truth + satellites), drawn(predicted + others)


def surfaces(truth: np.ndarray, predicted: np.ndarray) -> None:
    """HD95 and NSD of three regions by surfels."""
    pairs = [[np.isin(each, labels) for each in (truth, predicted)] for labels in REGIONS.values()]

    def ours() -> list[tuple[float, float]]:
        both = [Surfaces(*pair, SIDE) for pair in pairs]
        return [(each.hausdorff_95("surfel-weighted"), each.surface_dice(1.0, "surfel")) for each in both]

    def theirs() -> list[tuple[float, float]]:
        both = [compute_surface_distances(*pair, SIDE) for pair in pairs]
        return [
            (compute_robust_hausdorff(each, 95), compute_surface_dice_at_tolerance(each, 1.0))
            for each in both
        ]

    own, mine = timed(ours)
    peer, other = timed(theirs)
    apart = np.abs(np.subtract(mine, other)).max()
    print(f"HD95 and NSD of 3 regions by surfels, 240 x 240 x 155: graftwork {own:.2f} s, surface-distance "
          f"{peer:.2f} s, ratio {peer / own:.1f}; largest difference {apart:.1e}")  # fmt: skip


def lesions(rules: str, files: tuple[Path, Path], organisers: Path, python: Path, at: Path) -> None:
    """Lesion-wise scores of all regions, from the two files (truth, prediction)."""
    name, clone, module, figures = PROGRAMS[rules]
    if not (organisers / clone / f"{module}.py").is_file():
        print(
            f"left out: the organisers' program of {rules}; there is no {clone}/{module}.py in {organisers}"
        )
        return
    judged = protocol(name)
    assert judged.masks is not None

    def ours() -> dict[str, dict[str, float]]:
        truth, predicted = (read_values(file) for file in files)
        return judge_masks(truth, predicted, SIDE, judged.masks, judged.metrics)  # type: ignore[arg-type]

    own, mine = timed(ours)
    words = [python, "-c", CHILD, organisers / clone, module, files[1], files[0]]
    (at / rules).mkdir()
    done = subprocess.run([*map(str, words)], cwd=at / rules, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(
            f"the organisers' program of {rules} ended with {done.returncode}:\n{done.stderr[-2000:]}"
        )
    found = json.loads(done.stdout.rsplit("SCORES ", 1)[1])
    peer, rows = found["seconds"], found["rows"]
    assert rows.keys() == mine.keys()
    apart = [abs(row[each] - mine[region][figures[each]]) for region, row in rows.items() for each in figures]
    print(f"lesion-wise by the rules of {rules}, {len(rows)} regions from two files, 240 x 240 x 155: graftwork "
          f"{own:.2f} s, the organisers' program {peer:.1f} s, ratio {peer / own:.0f}; largest difference of "
          f"{len(apart)} figures {max(apart):.1e}")  # fmt: skip


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--organisers", type=Path, help="the folder of the clones")
    words.add_argument("--python", type=Path, help="the Python that runs them")
    asked = words.parse_args()
    if (asked.organisers is None) != (asked.python is None):
        words.error("--organisers and --python go together")
    warnings.simplefilter("ignore")
    if hasattr(os, "sched_setaffinity"):  # one core for all that follows, also in the other process
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    truth, predicted = tumours()
    surfaces(truth, predicted)
    if asked.python is None:
        print("left out: the organisers' programs for lesion-wise scores; see --organisers and --python")
        return
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        files = (at / "truth.nii.gz", at / "predicted.nii.gz")
        for array, file in zip((truth, predicted), files, strict=True):
            nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), file)
        for rules in PROGRAMS:
            # absolute, as the program is started elsewhere; a link to a venv's Python stays a link
            lesions(rules, files, asked.organisers.resolve(), asked.python.absolute(), at)


if __name__ == "__main__":
    main()
