"""Small complete runs for tests: a synthetic set of tiny images and a recipe that ends in a second."""

from __future__ import annotations

import hashlib
import multiprocessing
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

RECIPE = """
title = "A small run for tests"
dataset = "chest_xray/kermany"
seed = 3

[backbone]
name = "test_efficientnet"

[image]
size = 32

[strategy]
name = "scratch"

[training]
epochs = 3
batch_size = 8
learning_rate = 0.01
dropout = 0.2
workers = 0

[augmentation]
rotation = 10.0
brightness = 0.2

[evaluation]
bootstrap = 50
"""

# What of a run must not depend on where it was cut
RESULTS = ("best/model.safetensors", "best/optimizer.safetensors", "last/model.safetensors",
           "last/optimizer.safetensors", "predictions.parquet", "metrics.json", "split.csv", "ledger.csv")  # fmt: skip


def synthetic_data(folder: Path, cases: int = 48) -> Path:
    """A synthetic set in the layout of chest_xray/kermany."""
    from graftwork.common.verbs import synthesize

    return synthesize("chest_xray/kermany", folder, cases=cases, seed=1)


def small_weights(folder: Path, backbone: str = "test_efficientnet") -> Path:
    """A weights file with its card, of random numbers: what a test calls pretrained."""
    import json

    from graftwork.common.files import save_tensors
    from graftwork.common.networks.backbones import create_backbone

    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{backbone}.random.safetensors"
    network = create_backbone(backbone, weights=None, seed=9).network
    save_tensors(place, {name: value.contiguous() for name, value in network.state_dict().items()})
    card = {
        "backbone": backbone, "trained_on": "nothing: random numbers", "mean": [0.5] * 3, "std": [0.5] * 3,
        "padding": "", "classes": 0, "licence": "", "sha256": hashlib.sha256(place.read_bytes()).hexdigest(),
    }  # fmt: skip
    place.with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")
    return place


def recipe_file(folder: Path, text: str = RECIPE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / "small.toml"
    place.write_text(text, encoding="utf-8")
    return place


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each result of a run."""
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in RESULTS}


def forked() -> ForkServerContext:
    """Children that begin with torch imported and no thread started: quick to make, safe to kill."""
    context = multiprocessing.get_context("forkserver")
    heavy = [
        "timm", "accelerate", "albumentations", "matplotlib.backends.backend_svg", "pyarrow.parquet",
        "monai.losses.dice", "monai.inferers.inferer", "monai.networks.nets.basic_unet",
    ]  # fmt: skip
    context.set_forkserver_preload(["graftwork.common.pipeline", *heavy])
    return context


def run_in_child(recipe: str, data: str, out: str, overrides: list[str]) -> None:
    """The body of a child: one run, on one thread; its exit code is that of the command line."""
    import sys

    import torch

    from graftwork.common.errors import GraftworkError
    from graftwork.common.verbs import run

    # loading processes are forked, as from the command line; a child of the fork server would ask a server of its
    # own for them, and they would outlive a killed parent
    multiprocessing.set_start_method("fork", force=True)
    torch.set_num_threads(1)
    try:
        run(recipe, data, out, overrides)
    except GraftworkError as error:
        sys.exit(error.exit_code)


def run_until_killed(recipe: str, data: str, out: str, overrides: list[str], at: tuple[int, int]) -> None:
    """The body of a child that is killed after a step: its epoch and its number, from 1, before anything is saved."""
    import os
    import signal

    import torch

    from graftwork.common.verbs import run

    torch.set_num_threads(1)

    def killed(what: str, done: int, total: int) -> None:
        if what.startswith(f"epoch {at[0]} of") and done == at[1]:
            os.kill(os.getpid(), signal.SIGKILL)

    run(recipe, data, out, overrides, progress=killed)


def start(context: ForkServerContext, *words: Any, body: Any = run_in_child) -> Any:
    """Start `body` in a child that may have children of its own (loading processes)."""
    child = context.Process(target=body, args=tuple(words), daemon=False)
    child.start()
    return child
