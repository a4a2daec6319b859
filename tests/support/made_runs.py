"""The folder of a finished run with predictions drawn by a seed, for tests of reports: nothing is trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from graftwork.common.data.manifest import Manifest
from graftwork.common.data.splits import Split
from graftwork.common.data.targets import Target
from graftwork.common.evaluation import Protocol, Published, evaluate
from graftwork.common.recipe import load, to_toml
from graftwork.common.runs.run_folder import Run, open_run

PRIVATE = "/home/jane doe/secret data/xray"
STAGES = ("stem", *(f"blocks.{i}" for i in range(7)), "conv_head", "head")
TARGETS = {
    "binary": Target("diagnosis", "binary", ("normal", "pneumonia")),
    "multi-class": Target(
        "diagnosis", "multi-class", ("nevus", "melanoma", "keratosis", "naevus <b>bleu</b>")
    ),
    "multi-label": Target("findings", "multi-label", ("effusion", "mass", "nodule")),
}


def made_run(
    folder: Path,
    *,
    kind: str = "binary",
    seed: int = 0,
    strategy: str = "full",
    leak: bool = False,
    allow_leak: bool = False,
    by: str = "group",
    groups: int = 150,
    skill: float = 2.0,
    epochs: int = 8,
    mistakes: int = 12,
    notes: tuple[str, ...] = ("Synthetic images, made up to try the program.",),
    case_name: Callable[[int], str] = lambda i: f"case{i:04d}",
    title: str = "Pneumonia from paediatric radiographs, fine-tuned",
    target: Target | None = None,
    test_classes: int | None = None,
    changes: tuple[str, ...] = (),
    quarantine: int = 0,
    name: str | None = None,
) -> Run:
    """A run's folder with made-up predictions, written as the program writes it."""
    folder.mkdir(parents=True)
    target = target or TARGETS[kind]
    dataset = (
        "chest_xray/kermany" if kind == "binary" and target is TARGETS["binary"] else "elsewhere/made-up"
    )
    draw = np.random.default_rng(7)  # the data are the same whatever the seed of the run
    group = np.repeat(np.arange(groups), draw.integers(1, 4, groups))
    n = len(group)
    frame = pd.DataFrame({"case": [case_name(i) for i in range(n)], "path": [f"a/{i}.png" for i in range(n)]})
    frame["group"] = [f"person{g}" for g in group]
    part_of = np.array(["train"] * 6 + ["validation"] * 2 + ["test"] * 2, dtype=object)[
        np.arange(groups) % 10
    ]
    parts = part_of[group]
    if leak:
        parts[1::5] = "test"
    frame["part"] = parts
    label = draw.integers(0, len(target.classes), groups)[group]
    if test_classes is not None:
        label = np.where(parts == "test", label % test_classes, label)
    frame["sex"] = draw.choice(["F", "M"], n)
    frame["age"] = np.where(draw.random(n) < 0.05, np.nan, draw.uniform(1, 6, n).round(1))
    if target.kind == "multi-label":
        for k, column in enumerate(target.columns):
            frame[column] = (draw.random(groups)[group] < 0.3 + 0.1 * k).astype(float)
            frame.loc[draw.random(n) < 0.05, column] = np.nan
    else:
        frame["target"] = np.array(target.classes, dtype=object)[label]
    manifest = Manifest(frame, Path(PRIVATE), dataset, "patient", target, ("sex", "age"), notes)
    recipe = load(
        f"title = {json.dumps(title)}\ndataset = '{dataset}'\nseed = {seed}\n"
        f"[strategy]\nname = '{strategy}'\n[training]\nepochs = {epochs}\n[split]\nby = '{by}'\n"
        f"allow_leak = {str(allow_leak or leak).lower()}\n[evaluation]\nbootstrap = 100\n",
        overrides=changes,
        where="test",
    )
    split = Split(manifest, pd.Series(parts), by, seed, allow_leak or leak)
    manifest.save(folder / "manifest.parquet")
    split.save(folder / "split.csv")
    (folder / "recipe.toml").write_text(to_toml(recipe), "utf-8")

    own = np.random.default_rng(100 + seed)
    if target.kind == "multi-label":
        truth = manifest.frame[list(target.columns)].fillna(0).to_numpy()
        scores = 1 / (1 + np.exp(-(skill * (truth - 0.5) + own.normal(0, 1, truth.shape))))
    else:
        logits = own.normal(0, 1, (n, len(target.classes)))
        logits[np.arange(n), label] += skill
        scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    columns = pd.DataFrame(scores, columns=list(target.scores))
    predictions = pd.concat([manifest.frame.assign(part=parts), columns], axis=1)
    predictions = predictions[predictions["part"] != "train"].reset_index(drop=True)
    predictions.to_parquet(folder / "predictions.parquet", index=False)
    protocol = Protocol(
        "kermany", 1, "made up", "nobody", "image", target.kind, "auroc",
        ("auroc", "average_precision", "sensitivity", "specificity", "accuracy", "balanced_accuracy", "brier"),
        published=(Published("auroc", 0.9, "x", "y"),), group="patient", classes=target.classes,
    )  # fmt: skip
    evaluation = evaluate(predictions, target, protocol, bootstrap=100, seed=seed)
    as_json(folder / "metrics.json", evaluation.to_json())
    as_json(
        folder / "environment.json",
        {
            "graftwork": "0.1.0", "recipe": name or f"chest_xray/kermany_{strategy}", "python": "3.11.9",
            "platform": "Linux-6.1-x86_64-with-glibc2.36", "processor": "AMD EPYC 7B13", "cpus": 2, "memory_gib": 15.6,
            "device": "cpu", "device_name": "CPU", "threads": 2, "processes": 1,
            "versions": {"torch": "2.15.0", "timm": "1.0.31", "numpy": "2.4.6"}, "data": PRIVATE,
            "started": "2026-11-20T08:00:00+00:00", "finished": "2026-11-20T08:03:12+00:00", "seconds": 192.3 + seed,
        },
    )  # fmt: skip
    as_json(
        folder / "network.json",
        {
            "backbone": "tf_efficientnet_lite0", "parameters": 3373570, "classes": list(target.classes),
            "kind": target.kind,
            "weights": {
                "backbone": "tf_efficientnet_lite0", "source": "file", "origin": f"{PRIVATE}/weights.safetensors",
                "sha256": "ab" * 32, "licence": "Apache-2.0", "trained_on": "ImageNet-1k",
                "mean": [0.5] * 3, "std": [0.5] * 3, "padding": "same", "classes": 1000,
            },
            "preprocessing": {"size": 224, "fit": "squash", "interpolation": "bilinear", "channels": 3},
            "stages": [{"name": stage, "parameters": 1000 * (i + 1)} for i, stage in enumerate(STAGES)],
        },
    )  # fmt: skip
    best = max(1, epochs - 2)
    lines, rows = [], []
    for epoch in range(1, epochs + 1):
        lines.append(
            {
                "epoch": epoch, "steps": 40 * epoch, "train_loss": 0.7 / epoch + 0.05,
                "validation_loss": 0.5 / epoch + 0.02 * epoch + own.normal(0, 0.01),
                "validation": {"auroc": 0.95 - 0.1 / epoch - 0.002 * (epoch - best) ** 2 - 0.1 / (1 + skill)},
                "rate": 1e-3, "seconds": 18.2, "data_wait": 0.12, "images_per_second": 181.4,
                "best": epoch in (1, best), "quarantined": 0,
            }
        )  # fmt: skip
        for i, stage in enumerate(STAGES):
            learns = stage == "head" or (strategy != "linear-probe" and epoch > max(0, 4 - i // 2))
            full = 1e-3 * (1 if stage == "head" else 0.3)
            rows.append(
                {
                    "epoch": epoch, "stage": stage, "parameters": 1000 * (i + 1),
                    "learning": 1000 * (i + 1) if learns else 0,
                    "rate": full * (1 + np.cos(np.pi * epoch / (epochs + 1))) / 2 if learns else 0.0,
                    "norm": "train" if learns else "hold",
                }
            )  # fmt: skip
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    pd.DataFrame(rows).to_csv(folder / "ledger.csv", index=False)
    if quarantine:
        broken = [
            {"case": case_name(i), "stage": "decode", "reason": f"truncated at {PRIVATE}/a/{i}.png"}
            for i in range(quarantine)
        ]
        pd.DataFrame(broken).to_csv(folder / "quarantine.csv", index=False)
    (folder / "mistakes").mkdir()
    index = []
    for i in range(mistakes):
        y, x = np.mgrid[:224, :224]
        body = np.hypot((x - 112) / 90, (y - 120) / 100) < 1
        picture = (60 + 120 * body + own.normal(0, 12, (224, 224))).clip(0, 255).astype(np.uint8)
        heat = 120 * np.exp(-((np.hypot(x - 80 - 5 * i, y - 130) / 40) ** 2))
        cam = np.stack([(picture + heat).clip(0, 255), picture * 0.8, picture * 0.7], -1).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"mistakes/{i:02d}.jpg", quality=80)
        Image.fromarray(cam).save(folder / f"mistakes/{i:02d}_cam.jpg", quality=80)
        index.append(
            {
                "case": case_name(i), "group": f"person{i}",
                "target": target.classes[0], "predicted": target.classes[-1],
                "score": 0.99 - i / 50, "picture": f"{i:02d}.jpg", "cam": f"{i:02d}_cam.jpg",
            }
        )  # fmt: skip
    as_json(folder / "mistakes" / "index.json", index)
    run = open_run(folder)
    run.__dict__["split"] = split  # as read with the recipe's word on leakage
    return run


def as_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), "utf-8")
