"""graftwork beside scripts with other libraries, in alternating pairs of processes: CPU and wall seconds, and ratios.

    make bench NAME=speed ARGS='--data DIR --cases 600 --pairs 5'
    python benchmarks/speed.py --data DIR --cases 600 --pairs 5 --only probe predict

Both sides of a pair use the same images, split, backbone (EfficientNet-Lite0 with the weights of its package, at 224
px), number of threads and precision, each in its own process, from its start to its result in a file:

- probe: `graftwork run chest_xray/kermany_linear-probe` with an empty feature cache and a report, against a script that
  computes timm features once (channels last) and fits scikit-learn's LogisticRegression for the same ten strengths.
- warm: the same run with another seed and the cached features, against the script, which keeps nothing.
- ten-epochs: the same run against timm's `freeze`, AdamW and ten epochs over the images (measured in full).
- full: `graftwork run chest_xray/kermany_full` for two epochs against a plain timm loop with AdamW, channels last.
- predict: `graftwork predict` of a folder against a timm script with its own transform and a DataLoader.
- help, doctor: `graftwork --help` and `graftwork doctor`, against `python -c "import pandas"`.

Engines (ONNX Runtime, OpenVINO) are measured before the first pair, as on a machine that is in use.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frozen_backbone import (
    BACKBONE,
    BATCH,
    image_dataset,
    pretrained,
    scored,
    squashed,
    subset,
    with_timm,
)

STRENGTHS = 10
GRAFTWORK = [sys.executable, "-m", "graftwork"]
PROBE = ["chest_xray/kermany_linear-probe", f"strategy.regularisation_strengths={STRENGTHS}"]
QUIET = ["evaluation.bootstrap=1000"]


@dataclass
class Place:
    """Where a benchmark works: its data, its scratch folder, and what both sides are given."""

    data: Path
    scratch: Path
    threads: int
    precision: str

    def environment(self, cache: str) -> dict[str, str]:
        return {
            **os.environ, "OMP_NUM_THREADS": str(self.threads), "GRAFTWORK_CACHE": str(self.scratch / cache),
            "HF_HUB_OFFLINE": "1",
        }  # fmt: skip

    def run(self, words: list[str], cache: str = "cache") -> tuple[float, float]:
        """CPU seconds (of the process and its children) and wall seconds."""
        start = time.monotonic()
        process = subprocess.Popen(
            words, env=self.environment(cache), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - start
        code = os.waitstatus_to_exitcode(status)
        if code not in (0, 1):  # 1: doctor has advice
            raise SystemExit(f"{' '.join(words)} failed:\n{said[-2000:]}")
        return used.ru_utime + used.ru_stime, wall

    def peer(self, name: str) -> tuple[float, float]:
        return self.run([sys.executable, __file__, "--job", name, "--data", str(self.scratch / "job.json")])

    def probe(self, number: int, cache: str, seed: int = 0) -> tuple[float, float]:
        return self.run(
            [*GRAFTWORK, "run", PROBE[0], "--data", str(self.data), "--out", str(self.scratch / f"probe{number}"),
             PROBE[1], f"training.precision={self.precision}", f"seed={seed}", "split.seed=0", *QUIET], cache,
        )  # fmt: skip


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--data", required=True, type=Path, help="the folder of kermany_224")
    words.add_argument("--cases", type=int, default=600)
    words.add_argument("--pairs", type=int, default=5)
    words.add_argument("--threads", type=int, default=1)
    words.add_argument("--only", nargs="*", choices=TASKS, default=list(TASKS))
    words.add_argument("--job", help=argparse.SUPPRESS)
    asked = words.parse_args()
    if asked.job:
        PEERS[asked.job](json.loads(asked.data.read_text()))
        return
    with tempfile.TemporaryDirectory() as scratch:
        compare(asked, Path(scratch))


def compare(asked: argparse.Namespace, scratch: Path) -> None:
    import torch

    from graftwork.common.freezing.feature_cache import best_precision

    place = Place(
        subset(asked.data, asked.cases, scratch / "set"), scratch, asked.threads,
        best_precision(torch.device("cpu")),
    )  # fmt: skip
    prepare(place)
    print(f"{asked.cases} images, {asked.threads} thread(s), {place.precision}, {asked.pairs} pairs")
    print("seconds and ratios: min, median, max")
    print(f"{'task':11} {'graftwork, CPU':>22} {'other, CPU':>22} {'ratio of CPU':>22} {'ratio of wall':>22}")
    for name in asked.only:
        mine, other = TASKS[name]
        pairs = []
        for number in range(asked.pairs):
            first, second = (mine, other) if number % 2 == 0 else (other, mine)
            one, two = first(place, number), second(place, number)
            pairs.append((one, two) if number % 2 == 0 else (two, one))
        columns = [
            [pair[0][0] for pair in pairs],
            [pair[1][0] for pair in pairs],
            [pair[0][0] / pair[1][0] for pair in pairs],
            [pair[0][1] / pair[1][1] for pair in pairs],
        ]
        cells = [f"{min(each):.2f}, {statistics.median(each):.2f}, {max(each):.2f}" for each in columns]
        print(f"{name:11} " + " ".join(f"{cell:>22}" for cell in cells), flush=True)


def prepare(place: Place) -> None:
    """A finished run for `predict`, warm features, measured engines, and the split for the other side."""
    place.probe(999, "warm")
    from graftwork.common.runs.run_folder import open_run

    folder = next((place.scratch / "probe999").glob("*/*/*/recipe.toml")).parent
    run = open_run(folder)
    parts, frame = run.split.parts.to_numpy(), run.manifest.frame
    column, positive = run.manifest.target.columns[0], run.manifest.target.classes[1]
    listed = {
        part: [
            (str(run.manifest.root / path), int(label == positive), "")
            for path, label in zip(frame["path"][parts == part], frame[column][parts == part], strict=True)
        ]
        for part in ("train", "validation", "test")
    }
    job = {"parts": listed, "epochs": 10, "threads": place.threads, "precision": place.precision,
           "data": str(place.data), "out": str(place.scratch / "peer.csv")}  # fmt: skip
    (place.scratch / "job.json").write_text(json.dumps(job))
    (place.scratch / "run.txt").write_text(str(folder))
    place.run(
        [*GRAFTWORK, "predict", str(folder), str(place.data), "--out", str(place.scratch / "first.csv")]
    )
    engines = place.scratch / "warm" / "engines"
    if engines.is_dir():
        print("engines:", *(file.read_text() for file in engines.glob("*.json")), sep="\n")


def cold(place: Place, number: int) -> tuple[float, float]:
    """A run without features in the cache, but with measured engines."""
    import shutil

    shutil.rmtree(place.scratch / f"probe{number}", ignore_errors=True)
    cache = place.scratch / f"cold{number}"
    shutil.rmtree(cache, ignore_errors=True)
    if (place.scratch / "warm" / "engines").is_dir():
        shutil.copytree(place.scratch / "warm" / "engines", cache / "engines")
    return place.probe(number, cache.name)


def full(place: Place, number: int) -> tuple[float, float]:
    return place.run(
        [*GRAFTWORK, "run", "chest_xray/kermany_full", "--data", str(place.data), "--out",
         str(place.scratch / f"full{number}"), "training.epochs=2", f"training.batch_size={BATCH}",
         f"training.precision={place.precision}", *QUIET], f"full-cache{number}",
    )  # fmt: skip


def predict(place: Place, number: int) -> tuple[float, float]:
    run = (place.scratch / "run.txt").read_text()
    out = place.scratch / f"predicted{number}.csv"
    return place.run([*GRAFTWORK, "predict", run, str(place.data), "--out", str(out)], "warm")


Side = Callable[[Place, int], tuple[float, float]]
PANDAS = [sys.executable, "-c", "import pandas"]
TASKS: dict[str, tuple[Side, Side]] = {
    "probe": (cold, lambda place, _: place.peer("sklearn")),
    "warm": (
        lambda place, number: place.probe(number + 100, "warm", seed=number + 1),
        lambda place, _: place.peer("sklearn"),
    ),
    "ten-epochs": (cold, lambda place, _: place.peer("timm")),
    "full": (full, lambda place, _: place.peer("full")),
    "predict": (predict, lambda place, _: place.peer("predict")),
    "help": (lambda place, _: place.run([*GRAFTWORK, "--help"]), lambda place, _: place.run(PANDAS)),
    "doctor": (lambda place, _: place.run([*GRAFTWORK, "doctor"]), lambda place, _: place.run(PANDAS)),
}


# --- the other side, each in a process of its own


def _model(job: dict[str, Any], classes: int) -> Any:
    import timm
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(job["threads"])
    model = timm.create_model(BACKBONE, num_classes=classes)
    model.load_state_dict(pretrained(), strict=False)
    return model.to(memory_format=torch.channels_last)


def _loader(rows: list[Any], *, shuffle: bool = False) -> Any:
    from torch.utils.data import DataLoader

    return DataLoader(image_dataset(rows, squashed()), batch_size=BATCH, shuffle=shuffle, num_workers=2)


def _autocast(job: dict[str, Any]) -> Any:
    import torch

    return torch.autocast("cpu", torch.bfloat16, enabled=job["precision"] == "bfloat16")


def with_sklearn(job: dict[str, Any]) -> None:
    """Features once, then a regularisation path."""
    import numpy as np
    import torch
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = _model(job, 0).eval()
    features, labels = {}, {}
    with torch.inference_mode(), _autocast(job):
        for part, rows in job["parts"].items():
            features[part] = np.concatenate(
                [
                    model(images.to(memory_format=torch.channels_last)).float().numpy()
                    for images, _ in _loader(rows)
                ]
            )
            labels[part] = np.array([row[1] for row in rows])
    best = None
    for c in np.geomspace(1e-4, 1e2, STRENGTHS):
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000))
        probe.fit(features["train"], labels["train"])
        score = roc_auc_score(labels["validation"], probe.predict_proba(features["validation"])[:, 1])
        if best is None or score > best[0]:
            best = (score, probe)
    assert best is not None
    Path(job["out"]).write_text("\n".join(map(str, best[1].predict_proba(features["test"])[:, 1])))


def fine_tuned(job: dict[str, Any]) -> None:
    """A plain loop over all layers, validated after each epoch."""
    import torch

    model = _model(job, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    for _ in range(2):
        model.train()
        for images, labels in _loader(job["parts"]["train"], shuffle=True):
            optimizer.zero_grad()
            with _autocast(job):
                loss = torch.nn.functional.cross_entropy(
                    model(images.to(memory_format=torch.channels_last)).float(), labels
                )
            loss.backward()
            optimizer.step()
        with _autocast(job):
            scored(model, _loader(job["parts"]["validation"]), torch.channels_last)
    with _autocast(job):
        found = scored(model, _loader(job["parts"]["test"]), torch.channels_last)
    Path(job["out"]).write_text("\n".join(map(str, found)))


def predicted(job: dict[str, Any]) -> None:
    """Scores of every image below a folder, as CSV."""
    import torch

    model = _model(job, 2).eval()
    files = sorted(
        path for path in Path(job["data"]).rglob("*") if path.suffix.lower() in (".jpeg", ".jpg", ".png")
    )
    found: list[str] = []
    with torch.inference_mode(), _autocast(job):
        for images, _ in _loader([(str(path), 0) for path in files]):
            logits = model(images.to(memory_format=torch.channels_last))
            found += [f"{score:.6f}" for score in logits.float().softmax(dim=1)[:, 1].tolist()]
    Path(job["out"]).write_text(
        "\n".join(f"{path},{score}" for path, score in zip(files, found, strict=True))
    )


def ten_epochs(job: dict[str, Any]) -> None:
    import torch

    torch.set_num_threads(job["threads"])
    Path(job["out"]).write_text(json.dumps(with_timm(job)["scores"]))


PEERS: dict[str, Callable[[dict[str, Any]], None]] = {
    "sklearn": with_sklearn, "full": fine_tuned, "predict": predicted, "timm": ten_epochs,
}  # fmt: skip

if __name__ == "__main__":
    main()
