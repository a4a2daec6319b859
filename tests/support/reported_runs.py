"""Folders of runs with made-up predictions, for tests of reports: outlines in slices and volumes, several targets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from graftwork.common.data.manifest import Manifest
from graftwork.common.data.masks import measure, write_mask
from graftwork.common.data.splits import Split
from graftwork.common.data.targets import Target
from graftwork.common.evaluation import Protocol
from graftwork.common.evaluation.evaluate_table import evaluate_all, keep
from graftwork.common.recipe import load, to_toml
from graftwork.common.runs.run_folder import Run, open_run

__all__ = ["COUNTS", "EMPTY", "EVENTS", "FRAMES", "OUTLINES", "camera_run", "outlined_run"]

Bytes = npt.NDArray[np.uint8]
OUTLINES = Protocol(
    "outlines", 1, "made up", "nobody", "volume", "segmentation", "dice",
    ("dice", "dice_median", "jaccard", "hausdorff_95", "volume_difference"), group="patient",
)  # fmt: skip
FRAMES = Protocol(
    "frames", 1, "made up", "nobody", "frame", "multi-class", "balanced_accuracy",
    ("balanced_accuracy", "macro_f1", "auroc", "sensitivity"), group="location",
)  # fmt: skip
EVENTS = Protocol(
    "events", 1, "made up", "nobody", "event", "multi-class", "balanced_accuracy",
    ("balanced_accuracy", "macro_f1", "auroc", "sensitivity"), group="location", by="event", rest="nothing",
)  # fmt: skip
COUNTS = Protocol(
    "counts", 1, "made up", "nobody", "frame", "ordinal", "within_one",
    ("within_one", "mean_absolute_error", "accuracy"), group="location", target="count",
)  # fmt: skip
EMPTY = Protocol(
    "empty", 1, "made up", "nobody", "frame", "binary", "auroc",
    ("auroc", "average_precision", "sensitivity", "specificity"), group="location", target="empty",
)  # fmt: skip


def _written(
    folder: Path, manifest: Manifest, parts: Sequence[str], recipe: str, network: dict[str, Any], metric: str
) -> Split:
    """All of a run's folder but its predictions and numbers."""
    asked = load(recipe, where="test")
    split = Split(manifest, pd.Series(list(parts)), "group", asked.split_seed, False)
    manifest.save(folder / "manifest.parquet")
    split.save(folder / "split.csv")
    (folder / "recipe.toml").write_text(to_toml(asked), "utf-8")
    stages = ("stem", "blocks.0", "blocks.1", "head")
    described = {
        "kind": manifest.target.kind, "classes": list(manifest.target.classes), "weights": {"source": "none"},
        "stages": [{"name": stage, "parameters": 1000} for stage in stages], **network,
    }  # fmt: skip
    (folder / "network.json").write_text(json.dumps(described), "utf-8")
    environment = {
        "graftwork": "0.2.0", "recipe": f"elsewhere/{folder.parent.name}", "python": "3.11.9", "platform": "Linux",
        "processor": "a processor", "cpus": 2, "memory_gib": 8.0, "device": "cpu", "device_name": "CPU", "threads": 2,
        "processes": 1, "versions": {"numpy": "2.4.6"}, "data": str(manifest.root),
        "started": "2026-11-20T08:00:00+00:00", "finished": "2026-11-20T08:03:12+00:00", "seconds": 192.3,
    }  # fmt: skip
    (folder / "environment.json").write_text(json.dumps(environment), "utf-8")
    lines, rows = [], []
    for epoch in (1, 2, 3):
        lines.append(
            {
                "epoch": epoch, "steps": 40 * epoch, "train_loss": 1.1 / epoch, "validation_loss": 1 / epoch,
                "validation": {metric: 0.9 - 0.3 / epoch}, "rate": 1e-3, "seconds": 20.0, "data_wait": 0.1,
                "images_per_second": 80.0, "best": True, "quarantined": 0,
            }
        )  # fmt: skip
        rows += [
            {
                "epoch": epoch,
                "stage": stage,
                "parameters": 1000,
                "learning": 1000,
                "rate": 1e-3,
                "norm": "train",
            }
            for stage in stages
        ]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    pd.DataFrame(rows).to_csv(folder / "ledger.csv", index=False)
    return split


def _judged(
    folder: Path, predictions: pd.DataFrame, protocol: Protocol, further: Sequence[Protocol] = ()
) -> Run:
    predictions.to_parquet(folder / "predictions.parquet", index=False)
    run = open_run(folder)
    run.__dict__["protocol"] = protocol  # as if its domain were installed
    found, others = evaluate_all(predictions, run.manifest.targets, protocol, further, bootstrap=100)
    keep(folder, found, others)
    return run


def ball(shape: tuple[int, ...], middle: npt.ArrayLike, radii: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """True inside an ellipsoid."""
    grid = np.meshgrid(*(np.arange(side, dtype=float) for side in shape), indexing="ij")
    sides = zip(grid, np.asarray(middle), np.asarray(radii), strict=True)
    far = sum(((at - m) / r) ** 2 for at, m, r in sides)
    inside: npt.NDArray[np.bool_] = np.asarray(far) < 1
    return inside


def outlined_run(
    folder: Path,
    data: Path,
    *,
    solid: bool = False,
    units: int = 20,
    spacing: bool = True,
    seed: int = 0,
    notes: tuple[str, ...] = (),
    classes: tuple[str, ...] | None = None,
    empty: int = 0,
    orientation: str = "RAS",
) -> Run:
    """A run that outlined something, with images, masks and predicted masks: stacks of PNG slices of one class,
    or (`solid`) NIfTI volumes of two. The last `empty` units have nothing in them, and nothing was predicted."""
    folder.mkdir(parents=True)
    classes = classes or (("background", "front", "back") if solid else ("background", "lesion"))
    values = tuple(range(len(classes))) if solid else (0, 255)
    target = Target("structure", "segmentation", classes, values=values)
    draw = np.random.default_rng(7)
    own = np.random.default_rng(100 + seed)
    parts_of = ["train" if u % 5 < 2 else "validation" if u % 5 == 2 else "test" for u in range(units)]
    cases: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for u in range(units):
        shape = (40, 48, 32) if solid else (6, 96, 80)
        radii = np.array(shape) * draw.uniform(0.2, 0.3, 3)
        middle = np.array(shape) * draw.uniform(0.42, 0.58, 3)
        truth = ball(shape, middle, radii).astype(np.uint8)
        predicted = ball(shape, middle + own.normal(0, 1, 3), radii * own.uniform(0.75, 1.15, 3)).astype(
            np.uint8
        )
        if u >= units - empty:
            truth[:], predicted[:] = 0, 0
        elif solid:
            for mask, cut in ((truth, middle[1]), (predicted, middle[1] + own.normal(0, 2))):
                mask[:, : int(cut)] *= 2
        body = ball(shape, np.array(shape) / 2, np.array(shape) * [0.6, 0.46, 0.45])
        picture = 60 * body + 90 * (truth > 0) * body + draw.normal(0, 12, shape) + 20
        name, part = f"unit{u:02d}", parts_of[u]
        sides = ((1.0, 1.2, 1.5) if solid else (5.0, 1.0, 0.8)) if spacing else None
        files = (
            _volume(data, name, picture, truth, values, orientation)
            if solid
            else _slices(data, name, picture, truth)
        )
        for at, (image, outlined) in enumerate(files):
            rows.append({"case": f"{name}_{at}" if not solid else name, "path": image, "mask": outlined,
                         "group": f"person{u}", "part": part, "volume": name, "slice": at})  # fmt: skip
            if part != "train":
                place = folder / "masks" / f"{rows[-1]['case']}{'.nii.gz' if solid else '.png'}"
                place.parent.mkdir(exist_ok=True)
                if solid:
                    from graftwork.common.data.volumes import read_geometry

                    write_mask(place, predicted, values, read_geometry(data / image))
                else:
                    write_mask(place, predicted[at], values)
        if part != "train":
            text = " ".join(f"{side:g}" for side in sides) if sides else None
            about = {
                "case": name,
                "group": f"person{u}",
                "part": part,
                "path": files[0][0],
                "images": len(files),
            }
            cases.append({**about, "spacing": text, **measure(truth, predicted, classes, sides)})
    frame = pd.DataFrame(rows)
    covariates: tuple[str, ...] = () if solid else ("volume", "slice")
    unit = "" if solid else "volume"
    frame = frame.drop(columns=["volume", "slice"]) if solid else frame
    manifest = Manifest(frame, data, "elsewhere/outlined", "patient", target, covariates, notes, unit=unit)
    backbone = "unet3d" if solid else "tf_efficientnet_lite0"
    recipe = (
        f"title = 'Outlines, made up'\ndataset = 'elsewhere/outlined'\nseed = {seed}\n[backbone]\nname = '{backbone}'\n"
        "[strategy]\nname = 'scratch'\n[training]\nepochs = 3\n[evaluation]\nbootstrap = 100\n"
    )
    _written(
        folder, manifest, frame["part"].tolist(), recipe, {"backbone": backbone, "parameters": 123456}, "dice"
    )
    return _judged(folder, pd.DataFrame(cases), OUTLINES)


def _slices(data: Path, name: str, picture: npt.NDArray[np.float64], truth: Bytes) -> list[tuple[str, str]]:
    (data / name).mkdir(parents=True, exist_ok=True)
    found = []
    for at in range(len(picture)):
        image, mask = f"{name}/{at}.png", f"{name}/{at}_mask.png"
        Image.fromarray(picture[at].clip(0, 255).astype(np.uint8)).save(data / image)
        Image.fromarray((truth[at] * 255).astype(np.uint8)).save(data / mask)
        found.append((image, mask))
    return found


def _volume(
    data: Path,
    name: str,
    picture: npt.NDArray[np.float64],
    truth: Bytes,
    values: Sequence[int],
    orientation: str,
) -> list[tuple[str, str]]:
    nibabel = import_module("nibabel")  # it has no types

    data.mkdir(parents=True, exist_ok=True)
    affine = np.diag([1.0, 1.2, 1.5, 1.0])
    found = []
    for suffix, array in (
        ("", picture.astype(np.float32)),
        ("_mask", np.take(values, truth).astype(np.uint8)),
    ):
        file: Any = nibabel.nifti1.Nifti1Image(array, affine)
        if orientation != "RAS":
            turn = nibabel.orientations.ornt_transform(
                nibabel.orientations.axcodes2ornt("RAS"), nibabel.orientations.axcodes2ornt(orientation)
            )
            file = file.as_reoriented(turn)
        nibabel.loadsave.save(file, data / f"{name}{suffix}.nii.gz")
        found.append(f"{name}{suffix}.nii.gz")
    return [(found[0], found[1])]


def camera_run(
    folder: Path,
    *,
    seen: bool = True,
    locations: int = 12,
    notes: tuple[str, ...] = (),
    asked: Sequence[Protocol] = (FRAMES, EVENTS, COUNTS),
) -> Run:
    """A run with frames in events at locations, a class and a count, judged by what is `asked`, the first one first;
    with a third target, empty or not, where that is asked for."""
    folder.mkdir(parents=True)
    first = Target("species", "multi-class", ("nothing", "hare", "marten", "rare thing"))
    count = Target("count", "ordinal", ("0", "1", "2", "3 or more"), prefix="count_")
    empty = Target("empty", "binary", ("animal", "no animal"), prefix="empty_")
    further = (count, empty) if EMPTY in asked else (count,)
    draw = np.random.default_rng(3)
    rows = []
    for location in range(locations):
        part = ("train", "train", "validation", "test")[location % 4]
        for event in range(12):
            kind = int(draw.choice(4, p=[0.4, 0.35, 0.22, 0.03]))
            kept = "seen" if part == "train" and event % 4 == 3 and seen else part
            for picture in range(3):
                shown = kind if picture != 2 else 0
                rows.append(
                    {
                        "case": f"c{location}/e{event}/{picture}", "path": f"c{location}/e{event}_{picture}.jpg",
                        "group": f"place{location}", "part": kept, "target": first.classes[shown],
                        "count_target": count.classes[min(3, shown and 1 + event % 3)], "event": f"{location}-{event}",
                    }
                )  # fmt: skip
    frame = pd.DataFrame(rows)
    parts = frame.pop("part")
    if empty in further:
        frame["empty_target"] = np.where(frame["target"] == "nothing", "no animal", "animal")
    manifest = Manifest(
        frame,
        Path("/data/secret/camera"),
        "elsewhere/camera",
        "location",
        first,
        ("event",),
        notes,
        further,
        "event",
    )
    recipe = (
        "title = 'Frames and events, made up'\ndataset = 'elsewhere/camera'\n[strategy]\nname = 'linear-probe'\n"
        "[training]\nepochs = 3\nclass_weights = 'balanced'\n[split]\nseen = 0.2\n[evaluation]\nbootstrap = 100\n"
    )
    _written(
        folder,
        manifest,
        parts.tolist(),
        recipe,
        {"backbone": "tf_efficientnet_lite0", "parameters": 3},
        "balanced_accuracy",
    )
    table = manifest.frame.assign(part=parts)
    for target in manifest.targets:
        place = (
            table[target.columns[0]]
            .map({name: k for k, name in enumerate(target.classes)})
            .to_numpy(dtype=int)
        )
        skill = np.where(table["part"] == "seen", 2.2, 1.2)
        logits = draw.normal(0, 1, (len(table), len(target.classes)))
        logits[np.arange(len(table)), place] += skill
        scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        table[list(target.scores)] = scores
    return _judged(folder, table[table["part"] != "train"].reset_index(drop=True), asked[0], asked[1:])
