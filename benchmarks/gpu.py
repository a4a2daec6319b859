"""Fine-tuning and prediction on a GPU: images a second, the time that the GPU waits, and agreement with the CPU.

    make bench NAME=gpu ARGS='--data DIR'

Prints for ResNet-50 and ViT-S (random weights, 224 px, bfloat16, batches of 64), as medians without the first epoch:

- graftwork: images a second of `graftwork run chest_xray/kermany_full`, from its own log.
- loop: the same network, loss, optimizer and batches from memory in a plain loop with torch.compile, as an upper bound.
- waiting: the share of the seconds of an epoch in which graftwork's GPU computes nothing, as 1 - (seconds of the same
  steps on images that are on the GPU already) / (seconds of the epoch).
- agreement: the largest difference between the scores that a run gives its test images on the GPU and on the CPU.

`--device cpu --backbones resnet18 --cases 64 --size 64` tries the program without a GPU; its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from frozen_backbone import subset

EPOCHS = 4


def main() -> None:
    import torch

    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--data", required=True, type=Path, help="the folder of kermany_224")
    words.add_argument("--cases", type=int, default=3000)
    words.add_argument("--size", type=int, default=224)
    words.add_argument("--batch", type=int, default=64)
    words.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    words.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    words.add_argument("--backbones", nargs="+", default=["resnet50", "vit_small_patch16_224"])
    asked = words.parse_args()
    if asked.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no GPU that torch can use; --device cpu tries the program")
    name = torch.cuda.get_device_name() if asked.device == "cuda" else "CPU"
    print(
        f"{name}, torch {torch.__version__}, {asked.cases} images, {asked.size} px, batches of {asked.batch}"
    )
    print(
        f"{'backbone':24} {'graftwork':>10} {'loop':>10} {'waiting':>8} {'agreement':>10}   (images a second)"
    )
    with tempfile.TemporaryDirectory() as scratch:
        data = subset(asked.data, asked.cases, Path(scratch) / "set")
        for backbone in asked.backbones:
            compare(asked, backbone, data, Path(scratch))


def compare(asked: argparse.Namespace, backbone: str, data: Path, scratch: Path) -> None:
    from graftwork.common.runs.run_folder import open_run

    out = scratch / backbone
    environment = {**os.environ, "GRAFTWORK_CACHE": str(scratch / "cache")}
    if asked.device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    words = [
        sys.executable, "-m", "graftwork", "run", "chest_xray/kermany_full", "--data", str(data), "--out", str(out),
        f"backbone.name={backbone}", "strategy.name=scratch", f"training.epochs={EPOCHS}", f"image.size={asked.size}",
        f"training.batch_size={asked.batch}", f"training.workers={asked.workers}", "training.precision=auto",
        "evaluation.bootstrap=20",
    ]  # fmt: skip
    subprocess.run(words, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    run = open_run(next(out.glob("*/*/*/recipe.toml")).parent)
    trained = len(run.split.rows("train"))
    seconds = statistics.median(line["seconds"] for line in run.log[1:])
    precision = str(run.environment["precision"])
    loop = step_seconds(backbone, asked, precision, compiled=True)
    bare = step_seconds(backbone, asked, precision, compiled=False)
    steps = -(-trained // asked.batch)
    waiting = max(0.0, 1 - bare * steps / seconds)
    print(
        f"{backbone:24} {trained / seconds:10.1f} {asked.batch / loop:10.1f} {waiting:8.1%} "
        f"{disagreement(run, data, scratch, environment):10.1e}",
        flush=True,
    )


def step_seconds(backbone: str, asked: argparse.Namespace, precision: str, *, compiled: bool) -> float:
    """Seconds of a training step on images that are on the device."""
    import timm
    import torch

    torch.manual_seed(0)
    sized = {"img_size": asked.size} if backbone.startswith("vit") else {}
    model = timm.create_model(backbone, num_classes=2, **sized).to(
        asked.device, memory_format=torch.channels_last
    )
    step: Any = torch.compile(model) if compiled and asked.device == "cuda" else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    images = torch.randn(asked.batch, 3, asked.size, asked.size, device=asked.device)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.randint(0, 2, (asked.batch,), device=asked.device)
    found = []
    for number in range(12):
        start = time.perf_counter()
        with torch.autocast(asked.device, torch.bfloat16, enabled=precision == "bfloat16"):
            loss = torch.nn.functional.cross_entropy(step(images).float(), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        float(loss.detach())  # waits for the device
        if number >= 4:  # compilation and warming up
            found.append(time.perf_counter() - start)
    return statistics.median(found)


def disagreement(run: Any, data: Path, scratch: Path, environment: dict[str, str]) -> float:
    """The largest difference of a score between the predictions of the device and of the CPU."""
    import pandas as pd

    tables = []
    for name, hidden in (("device", environment), ("cpu", {**environment, "CUDA_VISIBLE_DEVICES": ""})):
        out = scratch / f"{Path(run.folder).name} {name}.csv"
        words = [
            sys.executable,
            "-m",
            "graftwork",
            "predict",
            str(run.folder),
            str(data / "test"),
            "--out",
            str(out),
        ]
        subprocess.run(words, env=hidden, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        tables.append(pd.read_csv(out).filter(like="score_"))
    return float((tables[0] - tables[1]).abs().max().max())


if __name__ == "__main__":
    main()
