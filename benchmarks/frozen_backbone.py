"""Training with a frozen backbone for ten epochs: graftwork, a plain PyTorch loop, timm and fastai.

    make bench NAME=frozen_backbone ARGS='--data DIR --cases 600'
    python benchmarks/frozen_backbone.py --data DIR --cases 600 --fastai-python ENV/bin/python

All use the same images and split, the same backbone (EfficientNet-Lite0 with the weights of its package) at 224 px, the
same number of epochs and the same number of threads, each in a separate process:

- graftwork: `graftwork run chest_xray/kermany_linear-probe` with an empty feature cache. Instead of epochs, it solves
  the head for the same number of regularisation strengths.
- forward: read every image and pass it through the network once, at the best speed we know (folded norms, channels
  last, bfloat16 if the processor supports it).
- plain: the loop of PyTorch's transfer-learning tutorial (frozen network as feature extractor), SGD with momentum.
- timm: `timm.utils.freeze` on all but the classifier, with timm's transform, AdamW and cosine schedule, channels last.
- fastai: `vision_learner`, `freeze` and `fit` as in its documentation, in the environment given by --fastai-python
  (any with `pip install fastai timm`). It is skipped without this option.

For each, the output has the seconds of the whole process, the seconds of training and prediction, the test AUROC with
its 95 % interval (2,000 resamples of patients), and the ratio of the seconds to those of graftwork.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BACKBONE, SIZE, BATCH = "tf_efficientnet_lite0", 224, 32


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--data", required=True, type=Path, help="the folder of kermany_224")
    words.add_argument("--cases", type=int, default=600)
    words.add_argument("--epochs", type=int, default=10)
    words.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    words.add_argument("--fastai-python", default="")
    words.add_argument("--job", help=argparse.SUPPRESS)
    asked = words.parse_args()
    if asked.job:
        job = json.loads(Path(asked.job).read_text())
        print(json.dumps(TOOLS[job["tool"]](job)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        compare(asked, Path(scratch))


def compare(asked: argparse.Namespace, scratch: Path) -> None:
    data = subset(asked.data, asked.cases, scratch / "set")
    whole, done = timed(
        [sys.executable, "-m", "graftwork", "run", "chest_xray/kermany_linear-probe", "--data", str(data),
         "--out", str(scratch / "runs"), f"strategy.regularisation_strengths={asked.epochs}", "training.precision=auto",
         "evaluation.bootstrap=100"],
        scratch, asked.threads,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    import pandas as pd

    from graftwork.common.runs.run_folder import open_run

    run = open_run(next((scratch / "runs").glob("*/*/*")))
    parts = run.split.parts.to_numpy()
    frame = run.manifest.frame
    listed = {
        part: [
            (str(run.manifest.root / path), int(label == run.manifest.target.classes[1]), str(group))
            for path, label, group in zip(
                frame["path"][parts == part], frame[run.manifest.target.columns[0]][parts == part],
                frame["group"][parts == part], strict=True,
            )
        ]
        for part in ("train", "validation", "test")
    }  # fmt: skip
    table = run.predictions
    test = table[table["part"] == "test"]
    scores = dict(zip(test["path"], test[run.manifest.target.scores[1]], strict=True))
    mine = [scores[str(Path(path).relative_to(run.manifest.root))] for path, _, _ in listed["test"]]
    trained = sum(line["seconds"] for line in run.log)
    found = {"graftwork": {"whole": whole, "training": trained, "scores": mine}}
    for tool in ("forward", "plain", "timm", "fastai"):
        python = asked.fastai_python if tool == "fastai" else sys.executable
        if not python:
            print("fastai is left out: --fastai-python names no environment")
            continue
        job = scratch / f"{tool}.json"
        job.write_text(json.dumps({"tool": tool, "parts": listed, "epochs": asked.epochs}))
        words = [python, __file__, "--data", "-", "--job", str(job)]
        whole, done = timed(words, scratch, asked.threads)
        if done.returncode:
            print(f"{tool} failed:\n{done.stderr[-2000:]}")
            continue
        found[tool] = {"whole": whole, **json.loads(done.stdout.strip().splitlines()[-1])}
    say(found, listed)
    print(pd.Series({part: len(rows) for part, rows in listed.items()}).to_dict(), f"threads {asked.threads}")


def timed(words: list[str], scratch: Path, threads: int) -> tuple[float, subprocess.CompletedProcess[str]]:
    environment = {
        **os.environ, "OMP_NUM_THREADS": str(threads), "GRAFTWORK_CACHE": str(scratch / "cache"),
        "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    start = time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    return time.monotonic() - start, done


def subset(data: Path, cases: int, folder: Path) -> Path:
    """Links to about `cases` images of complete patients, in the order of a hash of their names."""
    from graftwork.common.data.domain import dataset
    from graftwork.common.seeds import seed_of

    frame = dataset("chest_xray/kermany").read(data).frame
    order = sorted(frame["group"].unique(), key=lambda group: seed_of(0, "benchmark", str(group)))
    taken, chosen = 0, set()
    sizes = frame["group"].value_counts()
    for group in order:
        if taken >= cases:
            break
        chosen.add(group)
        taken += int(sizes[group])
    for path in frame["path"][frame["group"].isin(chosen)]:
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to((data / path).absolute())
    for path in frame["path"]:  # the layout has folders that may not be missing
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
    return folder


def say(found: dict[str, dict[str, Any]], listed: dict[str, Any]) -> None:
    import numpy as np

    from graftwork.common.evaluation import auroc

    labels = np.array([label for _, label, _ in listed["test"]])
    names, place = np.unique([group for _, _, group in listed["test"]], return_inverse=True)
    members = [np.flatnonzero(place == each) for each in range(len(names))]
    generator = np.random.default_rng(0)
    draws = [
        np.concatenate([members[each] for each in generator.integers(len(names), size=len(names))])
        for _ in range(2000)
    ]
    base = found["graftwork"]["whole"]
    print(f"{'tool':10} {'whole, s':>9} {'ratio':>6} {'training, s':>12}  test AUROC (95 % interval)")
    for name, each in found.items():
        result = "-"
        if each.get("scores"):
            scores = np.array(each["scores"])
            values = [auroc(labels[rows], scores[rows]) for rows in draws]
            low, high = np.nanpercentile(values, [2.5, 97.5])
            result = f"{auroc(labels, scores):.3f} ({low:.3f} to {high:.3f})"
        print(
            f"{name:10} {each['whole']:9.1f} {each['whole'] / base:6.1f} {each['training']:12.1f}  {result}"
        )


# --- the tools, each in a process of its own


def image_dataset(rows: list[Any], transform: Any) -> Any:
    from PIL import Image
    from torch.utils.data import Dataset

    class Pictures(Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(rows)

        def __getitem__(self, index: int) -> Any:
            with Image.open(rows[index][0]) as image:
                return transform(image.convert("RGB")), rows[index][1]

    return Pictures()


def squashed() -> Any:
    from torchvision import transforms

    return transforms.Compose(
        [transforms.Resize((SIZE, SIZE)), transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
    )


def pretrained() -> dict[str, Any]:
    from graftwork.common.networks.weights import load_weights

    return {key: value for key, value in load_weights(BACKBONE).tensors.items() if "classifier" not in key}


def forward(job: dict[str, Any]) -> dict[str, Any]:
    import torch
    from torch.utils.data import DataLoader

    from graftwork.common.freezing.feature_cache import best_precision
    from graftwork.common.networks.backbones import create_backbone
    from graftwork.common.networks.cutting import Cut, cut
    from graftwork.common.networks.weights import load_weights

    backbone = create_backbone(BACKBONE, weights=load_weights(BACKBONE), seed=0).eval()
    whole = cut(backbone, len(backbone.stages), size=SIZE)
    assert isinstance(whole, Cut)
    rows = [row for part in job["parts"].values() for row in part]
    low = best_precision(torch.device("cpu")) == "bfloat16"
    start = time.monotonic()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=low):
        for images, _ in DataLoader(image_dataset(rows, squashed()), batch_size=BATCH, num_workers=2):
            whole.prefix(images.to(memory_format=torch.channels_last))
    return {"training": time.monotonic() - start}


def loop(job: dict[str, Any], model: Any, optimizer: Any, scheduler: Any, layout: Any) -> dict[str, Any]:
    """Epochs of training and validation, then the test subset, as in a plain program."""
    import torch
    from torch.utils.data import DataLoader

    loaders = {
        part: DataLoader(
            image_dataset(rows, squashed()), batch_size=BATCH, shuffle=part == "train", num_workers=2
        )
        for part, rows in job["parts"].items()
    }
    start = time.monotonic()
    for epoch in range(job["epochs"]):
        model.train()
        for images, labels in loaders["train"]:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(images.to(memory_format=layout)), labels)
            loss.backward()
            optimizer.step()
        scheduler.step(epoch + 1) if scheduler is not None else None
        scored(model, loaders["validation"], layout)
    return {"scores": scored(model, loaders["test"], layout), "training": time.monotonic() - start}


def scored(model: Any, loader: Any, layout: Any) -> list[float]:
    import torch

    model.eval()
    found: list[float] = []
    with torch.no_grad():
        for images, _ in loader:
            found += model(images.to(memory_format=layout)).softmax(dim=1)[:, 1].tolist()
    return found


def plain(job: dict[str, Any]) -> dict[str, Any]:
    import timm
    import torch

    torch.manual_seed(0)
    model = timm.create_model(BACKBONE, num_classes=2)
    model.load_state_dict(pretrained(), strict=False)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.startswith("classifier")
    optimizer = torch.optim.SGD(model.classifier.parameters(), lr=0.01, momentum=0.9)
    return loop(job, model, optimizer, None, torch.contiguous_format)


def with_timm(job: dict[str, Any]) -> dict[str, Any]:
    import timm
    import torch
    from timm.optim import create_optimizer_v2
    from timm.scheduler import CosineLRScheduler
    from timm.utils import freeze

    torch.manual_seed(0)
    model = timm.create_model(BACKBONE, num_classes=2)
    model.load_state_dict(pretrained(), strict=False)
    freeze(model, [name for name, _ in model.named_children() if name != "classifier"])
    model.to(memory_format=torch.channels_last)
    optimizer = create_optimizer_v2(model, opt="adamw", lr=1e-2, weight_decay=0.01)
    scheduler = CosineLRScheduler(optimizer, t_initial=job["epochs"])
    return loop(job, model, optimizer, scheduler, torch.channels_last)


def with_fastai(job: dict[str, Any]) -> dict[str, Any]:
    import pandas as pd
    import torch
    from fastai.vision.all import (
        CategoryBlock,
        ColReader,
        ColSplitter,
        DataBlock,
        ImageBlock,
        Normalize,
        Resize,
        ResizeMethod,
        vision_learner,
    )  # fmt: skip

    frame = pd.DataFrame(
        [
            (path, label, part == "validation")
            for part in ("train", "validation")
            for path, label, _ in job["parts"][part]
        ],
        columns=["path", "label", "is_valid"],
    )  # fmt: skip
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock), get_x=ColReader("path"), get_y=ColReader("label"), splitter=ColSplitter(),
        item_tfms=Resize(SIZE, ResizeMethod.Squish),
        batch_tfms=Normalize.from_stats([0.5] * 3, [0.5] * 3, cuda=False),
    )  # fmt: skip
    loaders = block.dataloaders(frame, bs=BATCH, num_workers=2, device=torch.device("cpu"))
    learner = vision_learner(loaders, BACKBONE, pretrained=False, normalize=False)
    body = learner.model[0].model
    body.load_state_dict(pretrained(), strict=False)
    start = time.monotonic()
    learner.freeze()
    with learner.no_bar(), learner.no_logging():
        learner.fit(job["epochs"])
        rows = pd.DataFrame([row[0] for row in job["parts"]["test"]], columns=["path"])
        scores, _ = learner.get_preds(dl=loaders.test_dl(rows))
    return {"scores": scores[:, 1].tolist(), "training": time.monotonic() - start}


TOOLS = {"forward": forward, "plain": plain, "timm": with_timm, "fastai": with_fastai}

if __name__ == "__main__":
    main()
