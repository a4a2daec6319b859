"""Folders of tiny images for tests of prediction, and a child process that predicts them and may be killed."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

__all__ = ["damage", "picture", "pictures", "predict_in_child", "predicting"]


def picture(place: Path, seed: int, size: int = 32) -> Path:
    """A grey image of noise, each seed another one."""
    place.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (size, size), np.uint8)
    Image.fromarray(noise).save(place)
    return place


def pictures(folder: Path, count: int, start: int = 0) -> Path:
    """Images in folders of a hundred, named alike in each, as memory cards name them."""
    for number in range(start, start + count):
        picture(folder / f"card {number // 100:02}" / f"IMG_{number % 100:04}.png", number)
    return folder


def damage(place: Path) -> Path:
    """An image that ends in the middle."""
    content = picture(place, 0).read_bytes()
    place.write_bytes(content[: len(content) // 2])
    return place


def predict_in_child(run: str, folder: str, out: str, words: dict[str, Any]) -> None:
    """The body of a child: one prediction, on one thread; its exit code is that of the command line."""
    import sys

    import torch

    from graftwork.common.errors import GraftworkError
    from graftwork.common.prediction import folder_prediction
    from graftwork.common.verbs import predict

    multiprocessing.set_start_method("fork", force=True)  # of loading processes, as from the command line
    torch.set_num_threads(1)
    pause = words.pop("pause", 0.0)
    folder_prediction.PORTIONS[""] = words.pop("portion", folder_prediction.PORTIONS[""])
    try:
        predict(run, folder, out, progress=lambda *_: time.sleep(pause), **words)
    except GraftworkError as error:
        sys.exit(error.exit_code)


def predicting(context: ForkServerContext, run: Path, folder: Path, out: Path, **words: Any) -> Any:
    """Start `predict_in_child`; `pause`: seconds after each batch, `portion`: files whose rows are kept together."""
    child = context.Process(
        target=predict_in_child, args=(str(run), str(folder), str(out), words), daemon=False
    )
    child.start()
    return child
