"""Small sets of images and volumes with masks for tests, made on the spot: bright shapes on a dark ground."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
from PIL import Image

from graftwork.common.data.manifest import Manifest
from graftwork.common.data.targets import Target

SHAPE = Target("shape", "segmentation", ("ground", "shape"), values=(0, 255))
LAYERS = Target("layers", "segmentation", ("ground", "first", "second"))


def stacks(folder: Path, volumes: int = 3, slices: int = 4, size: tuple[int, int] = (40, 56)) -> Manifest:
    """Grey slices with one bright rectangle each, and masks of 0 and 255; the rows in no order."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for volume in range(volumes):
        for index in range(slices):
            mask = np.zeros(size, bool)
            top, left = rng.integers(4, 14, 2)
            mask[top : top + 18, left : left + 24] = True
            pixels = (rng.integers(10, 40, size) + 160 * mask).astype(np.uint8)
            name = f"v{volume}_{index}"
            Image.fromarray(pixels).save(folder / f"{name}.png")
            Image.fromarray((255 * mask).astype(np.uint8)).save(folder / f"{name}_mask.png")
            rows.append(
                {
                    "case": name, "path": f"{name}.png", "group": f"g{volume}", "mask": f"{name}_mask.png",
                    "volume": f"v{volume}", "slice": index, "spacing": "5 1 1", "age": 40 + volume,
                    "weight": float(index),
                }
            )  # fmt: skip
    frame = pd.DataFrame(rows).sample(frac=1, random_state=1).reset_index(drop=True)
    covariates = ("volume", "slice", "spacing", "age", "weight")
    return Manifest(frame, folder, "x/stacks", "patient", SHAPE, covariates, unit="volume")


def volumes(folder: Path, count: int = 3, shape: tuple[int, int, int] = (20, 34, 26)) -> Manifest:
    """Volumes stored with their axes turned, of 2 x 1.5 x 1 mm, with two bright boxes; masks on the same grid."""
    rng = np.random.default_rng(0)
    affine = np.array([[0, -2.0, 0, 10], [0, 0, 1.5, -4], [-1.0, 0, 0, 6], [0, 0, 0, 1]])
    rows = []
    for number in range(count):
        mask = np.zeros(shape, np.uint8)
        mask[4:9, 8:18, 6:16] = 1
        mask[11:15, 10:24, 9:19] = 2
        image = (rng.normal(100, 8, shape) + 120 * mask).astype(np.float32)
        for name, array in ((f"v{number}", image), (f"v{number}_mask", mask)):
            nibabel.save(nibabel.Nifti1Image(array, affine), folder / f"{name}.nii.gz")
        rows.append((f"v{number}", f"v{number}.nii.gz", f"g{number}", f"v{number}_mask.nii.gz"))
    frame = pd.DataFrame(rows, columns=["case", "path", "group", "mask"])
    return Manifest(frame, folder, "x/volumes", "person", LAYERS)
