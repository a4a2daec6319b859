"""How CPU seconds and memory grow with the size of the data: four sizes of each task, and the exponent of the growth.

    make bench NAME=growth
    python benchmarks/growth.py --sizes 25000 50000 100000 200000 --only evaluate own-table

An exponent of 1 is linear. Each measurement is a process of its own, less the seconds of the same process on 100 rows:

- evaluate: `graftwork.evaluate_file` of a binary table with groups, 1,000 resamples.
- multi-class: the same with ten classes, and its report.
- subgroups: the binary table by sex and site, with its report.
- compare: two tables of the same cases.
- own-table: `camera_trap/own` reads a table of frames (its images are empty files).
- coco: `camera_trap/coco_camera_traps` reads its JSON.
- split: a grouped split of a manifest with two levels of strata.
- list: `graftwork predict` lists a folder tree (without a network).
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

LEAST = 100


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--sizes", type=int, nargs="+", default=[12_500, 25_000, 50_000, 100_000])
    words.add_argument("--only", nargs="*", choices=TASKS, default=list(TASKS))
    words.add_argument("--job", nargs=2, help=argparse.SUPPRESS)
    asked = words.parse_args()
    if asked.job:
        name, folder = asked.job
        TASKS[name][1](Path(folder))
        return
    print(f"{'task':12} " + " ".join(f"{size:>10,}" for size in asked.sizes) + "  exponent   MB")
    for name in asked.only:
        seconds, memory = [], 0.0
        base, _ = measured(name, LEAST)
        for size in asked.sizes:
            used, memory = measured(name, size)
            seconds.append(max(used - base, 1e-3))
        cells = " ".join(f"{each:10.2f}" for each in seconds)
        print(f"{name:12} {cells}  {exponent(asked.sizes, seconds):8.2f} {memory:5.0f}", flush=True)


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """The slope of the regression line of log seconds over log size."""
    x, y = [math.log(each) for each in sizes], [math.log(each) for each in seconds]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    top = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return top / sum((a - mean_x) ** 2 for a in x)


def measured(name: str, size: int) -> tuple[float, float]:
    """CPU seconds and the largest memory in MB of a task on data of a size."""
    with tempfile.TemporaryDirectory() as place:
        TASKS[name][0](Path(place), size)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GRAFTWORK_CACHE": f"{place}/cache"}
        process = subprocess.Popen(
            [sys.executable, __file__, "--job", name, place], env=environment, stdout=subprocess.DEVNULL
        )
        _, status, used = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{name} with {size:,} failed")
        return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


# --- the data


def _binary(folder: Path, size: int, name: str = "a.csv", shift: float = 0.0) -> None:
    import numpy as np
    import pandas as pd

    draw = np.random.default_rng(0)
    target = draw.random(size) < 0.3
    score = np.clip(draw.normal(0.4 + 0.2 * target + shift, 0.2), 0, 1)
    pd.DataFrame(
        {
            "case": [f"c{each}" for each in range(size)],
            "group": [f"g{each // 3}" for each in range(size)],
            "target": np.where(target, "malignant", "benign"),
            "score_malignant": score.round(6),
            "sex": draw.choice(["f", "m"], size),
            "site": draw.choice(["a", "b", "c", "d"], size),
        }
    ).to_csv(folder / name, index=False)


def _two(folder: Path, size: int) -> None:
    _binary(folder, size)
    _binary(folder, size, "b.csv", 0.01)


def _classes(folder: Path, size: int) -> None:
    import numpy as np
    import pandas as pd

    names = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
    draw = np.random.default_rng(0)
    target = draw.integers(0, len(names), size)
    scores = draw.random((size, len(names)))
    scores[np.arange(size), target] += 0.5
    scores /= scores.sum(axis=1, keepdims=True)
    frame = pd.DataFrame(scores, columns=list(names))
    frame.insert(0, "image", [f"ISIC_{each:07}" for each in range(size)])
    truth = pd.DataFrame(np.eye(len(names))[target], columns=list(names))
    truth.insert(0, "image", frame["image"])
    frame.to_csv(folder / "scores.csv", index=False)
    truth.to_csv(folder / "truth.csv", index=False)


def _frames(folder: Path, size: int) -> None:
    start, species = datetime.datetime(2024, 1, 1), ("deer", "fox", "empty", "boar", "badger", "hare")
    (folder / "columns.toml").write_text(
        'table = "labels.csv"\nimages = "."\npath = "file"\nlabel = "species"\ngroup = "camera"\ntime = "when"\n'
    )
    rows = ["file,species,camera,when"]
    for each in range(size):
        camera = each % 200
        when = start + datetime.timedelta(seconds=37 * each)
        rows.append(f"c{camera}/IMG_{each}.JPG,{species[each % 6]},cam{camera},{when}")
        place = folder / f"c{camera}"
        place.mkdir(exist_ok=True)
        (place / f"IMG_{each}.JPG").touch()
    (folder / "labels.csv").write_text("\n".join(rows))


def _coco(folder: Path, size: int) -> None:
    names = ("empty", "deer", "fox", "boar")
    content = {
        "images": [
            {"id": f"i{each}", "file_name": f"c{each % 200}/{each}.jpg", "location": each % 200,
             "seq_id": f"s{each // 3}", "datetime": "2024-01-01 12:00:00"}
            for each in range(size)
        ],
        "annotations": [
            {"id": f"a{each}", "image_id": f"i{each}", "category_id": each % 4} for each in range(size)
        ],
        "categories": [{"id": each, "name": name} for each, name in enumerate(names)],
    }  # fmt: skip
    (folder / "set.json").write_text(json.dumps(content))
    for each in range(200):
        (folder / f"c{each}").mkdir()
    for each in range(size):
        (folder / f"c{each % 200}" / f"{each}.jpg").touch()


def _nothing(folder: Path, size: int) -> None:
    (folder / "size").write_text(str(size))


def _tree(folder: Path, size: int) -> None:
    for each in range(size):
        place = folder / "images" / f"c{each % 200}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{each}.jpg").touch()


# --- the tasks, each in a process of its own


def evaluate(folder: Path, **how: Any) -> None:
    import graftwork

    graftwork.evaluate_file(folder / "a.csv", "isic2020", bootstrap=1000, threshold=0.5, **how)


def multi_class(folder: Path) -> None:
    import graftwork

    graftwork.evaluate_file(
        folder / "scores.csv",
        "isic2018-task3",
        truth=folder / "truth.csv",
        bootstrap=200,
        report=folder / "page.html",
    )


def subgroups(folder: Path) -> None:
    evaluate(folder, by=["sex", "site"], report=folder / "page.html")


def compare(folder: Path) -> None:
    import graftwork

    graftwork.compare(folder / "a.csv", folder / "b.csv", "isic2020", threshold=0.5, bootstrap=1000)


def read(name: str) -> Callable[[Path], None]:
    def work(folder: Path) -> None:
        from graftwork.common.data.domain import dataset

        dataset(name).read(folder)

    return work


def split(folder: Path) -> None:
    import numpy as np
    import pandas as pd

    from graftwork.common.data.manifest import Manifest
    from graftwork.common.data.splits import split as split_manifest
    from graftwork.common.data.targets import Target

    size, draw = int((folder / "size").read_text()), np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "case": [f"c{each}" for each in range(size)],
            "path": [f"{each}.png" for each in range(size)],
            "group": [f"g{each // 4}" for each in range(size)],
            "target": draw.choice(["normal", "ill"], size),
        }
    )
    manifest = Manifest(
        frame, folder, "chest_xray/kermany", "patient", Target("target", "binary", ("normal", "ill"))
    )
    split_manifest(manifest, seed=0)


def listing(folder: Path) -> None:
    from graftwork.common.data import images
    from graftwork.common.prediction.image_list import list_files

    list_files(folder / "images", images.SUFFIXES, exclude=(), root=None, apart=None, out=folder / "out.csv")


TASKS: dict[str, tuple[Callable[[Path, int], None], Callable[[Path], None]]] = {
    "evaluate": (_binary, evaluate),
    "multi-class": (_classes, multi_class),
    "subgroups": (_binary, subgroups),
    "compare": (_two, compare),
    "own-table": (_frames, read("camera_trap/own")),
    "coco": (_coco, read("camera_trap/coco_camera_traps")),
    "split": (_nothing, split),
    "list": (_tree, listing),
}

if __name__ == "__main__":
    main()
