"""Patches in the folders of EuroSAT, `<Class>/<Class>_<number>.jpg`, with a table that tells the scene of each.

The published set tells no scene. Neighbouring patches of one scene look alike, so a group is needed: `scenes.csv`
(columns `image`, `scene`) lies beside the folders.
"""

from __future__ import annotations

import csv
import os
import re

from graftwork import Dataset, DatasetError, Manifest, Target
from graftwork.common.data.file_layouts import find_folder, walk
from graftwork.common.data.synthetic import NOTE, begin, generator, is_synthetic

__all__ = ["CLASSES", "DATASET", "read", "synthesize"]

CLASSES = ("AnnualCrop", "Forest", "Residential", "River")
DATASET = Dataset(
    name="land_cover/eurosat",
    title="Satellite patches of four land covers, in the layout of EuroSAT",
    group="scene",
    target=Target("cover", "multi-class", CLASSES),
    protocol="eurosat",
    licence="MIT",
    citation="Helber P, Bischke B, Dengel A, Borth D. EuroSAT. IEEE JSTARS 12:2217-2226, 2019.",
)
_FORM = re.compile(r"(?P<label>[A-Za-z]+)/(?P=label)_[0-9]+\.jpg")


def read(root: str | os.PathLike[str]) -> Manifest:
    """The manifest of the set below `root`; no pixel is read.

    Raises:
        DatasetError: the folders or the table are not there, or a patch has no scene.
    """
    import pandas as pd

    place = find_folder(
        root,
        lambda folder: (folder / "scenes.csv").is_file() and (folder / CLASSES[0]).is_dir(),
        f"scenes.csv beside the folders {', '.join(CLASSES)}",
        "give the folder that holds them",
    )
    with (place / "scenes.csv").open(encoding="utf-8", newline="") as file:
        scenes = {row["image"]: row["scene"] for row in csv.DictReader(file)}
    paths = [path for path in walk(place, (".jpg",)) if _FORM.fullmatch(path)]
    paths = [path for path in paths if path.partition("/")[0] in CLASSES]
    lost = [path for path in paths if path not in scenes]
    if lost:
        raise DatasetError(
            f"{len(lost)} patches have no scene, such as {lost[0]}",
            where=place / "scenes.csv",
            remedy="add them",
        )
    frame = pd.DataFrame(
        {
            "case": [path.removesuffix(".jpg") for path in paths],
            "path": paths,
            "group": [scenes[path] for path in paths],
            "target": [path.partition("/")[0] for path in paths],
        }
    )
    notes = (NOTE,) if is_synthetic(place) else ()
    return Manifest(frame, place, DATASET.name, DATASET.group, DATASET.target, notes=notes)


def synthesize(folder: str | os.PathLike[str], *, cases: int = 60, seed: int = 0) -> None:
    """Write a small made-up set in the same layout: fields in stripes, woods, roofs, a river.

    Raises:
        DatasetError: too few cases, or a folder that holds something else.
    """
    from PIL import Image

    root = begin(folder, cases=cases, seed=seed, least=16)
    table = []
    for number in range(cases):
        label = CLASSES[number % len(CLASSES)]
        scene = f"scene{number // 6}"  # six patches of one scene
        path = f"{label}/{label}_{number + 1}.jpg"
        (root / label).mkdir(exist_ok=True)
        Image.fromarray(_patch(label, scene, number, seed)).save(root / path, quality=92)
        table.append({"image": path, "scene": scene})
    with (root / "scenes.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ("image", "scene"), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


def _patch(label: str, scene: str, number: int, seed: int) -> object:
    import numpy as np

    where, own = generator(DATASET.name, seed, scene), generator(DATASET.name, seed, number)
    down, right = np.mgrid[0:64, 0:64] / 64
    shift, turn, dense = own.uniform(0, 1), own.uniform(0, np.pi), own.uniform(0.7, 1.4)
    along, across = np.cos(turn) * right + np.sin(turn) * down, np.cos(turn) * down - np.sin(turn) * right
    light = 0.9 + 0.2 * where.uniform()
    ground = np.array([0.45, 0.42, 0.30]) * light
    tint = {"AnnualCrop": (0.62, 0.55, 0.25), "Forest": (0.10, 0.26, 0.12), "Residential": (0.75, 0.62, 0.58),
            "River": (0.12, 0.22, 0.38)}[label]  # fmt: skip
    cover = {
        "AnnualCrop": 0.5 + 0.5 * np.sin(40 * dense * along + 6 * shift),
        "Forest": 0.7 + 0.3 * own.uniform(size=(64, 64)),
        "Residential": (
            np.sin(24 * dense * along + 6 * shift) * np.sin(30 * dense * across) + own.normal(0, 0.1) > 0.1
        ).astype(float),
        "River": np.exp(-(((along - 0.3 - 0.4 * shift + 0.1 * np.sin(9 * dense * across)) / 0.12) ** 2)),
    }[label][..., None]
    shown = ground * (1 - cover) + np.array(tint) * light * cover + 0.02 * own.standard_normal((64, 64, 3))
    return (shown.clip(0, 1) * 255).astype(np.uint8)
