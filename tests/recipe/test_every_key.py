"""Every key of a recipe changes something that a user can see; a key without an entry here is a red test."""

from __future__ import annotations

import hashlib
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
from small_runs import recipe_file, synthetic_data

from graftwork.common.errors import GraftworkError, RunError, WeightsError
from graftwork.common.recipe import keys
from graftwork.common.runs.run_folder import open_run
from graftwork.common.verbs import run

# short, but with every mechanism at work, so that a changed value meets it
BASE = """
title = "Every key"
dataset = "chest_xray/kermany"
seed = 3
[backbone]
name = "test_efficientnet"
[image]
size = 32
[split]
seed = 5
[strategy]
name = "scratch"
[training]
epochs = 2
batch_size = 8
learning_rate = 0.01
workers = 0
[evaluation]
bootstrap = 50
"""

# key: the value that is tried, and what else must be set for it to have its say
LITE = "backbone.name=tf_efficientnet_lite0"  # its pretrained weights are at hand
CHANGES: dict[str, tuple[str, ...]] = {
    "backbone.channels": ("backbone.channels=1",),
    "backbone.drop_path": ("backbone.drop_path=0.5", "backbone.name=test_resnet"),
    "augmentation.views": (
        "augmentation.views=1",
        "augmentation.rotation=20",
        "strategy.name=last-stages",
        LITE,
    ),
    "strategy.last_stages": ("strategy.last_stages=2", "strategy.name=last-stages", LITE),
    "strategy.stages": ('strategy.stages=["stem"]', "strategy.name=surgical", LITE),
    "strategy.unfreeze_every": ("strategy.unfreeze_every=2", "strategy.name=gradual", LITE),
    "strategy.unfreeze_patience": (
        "strategy.unfreeze_patience=1",
        "strategy.unfreeze_every=0",
        "strategy.name=gradual",
        "training.epochs=5",
        LITE,
    ),
    "strategy.probe_epochs": (
        "strategy.probe_epochs=1",
        "strategy.name=probe-then-full",
        "training.epochs=4",
        LITE,
    ),
    "strategy.layer_decay": ("strategy.layer_decay=0.5", "strategy.name=layer-wise", LITE),
    "strategy.lora_rank": ("strategy.lora_rank=2", "strategy.name=lora", LITE),
    "strategy.lora_alpha": ("strategy.lora_alpha=2", "strategy.name=lora", LITE),
    "strategy.regularisation_strengths": (
        "strategy.regularisation_strengths=3",
        "strategy.name=linear-probe",
        "training.epochs=10",
        "training.batch_size=32",
        "training.learning_rate=0.001",
        LITE,
    ),
    "strategy.phases": ('strategy.phases=[{ stages = ["stem"] }]', "strategy.name=phases", LITE),
    "training.l2_sp": ("training.l2_sp=1", "strategy.name=full", LITE),
    "training.plateau_factor": (
        "training.plateau_factor=0.5",
        "training.schedule=plateau",
        "training.plateau_patience=1",
        "training.epochs=5",
    ),
    "training.plateau_patience": (
        "training.plateau_patience=1",
        "training.schedule=plateau",
        "training.epochs=5",
    ),
    "training.restart_schedule": ("training.restart_schedule=true", "strategy.name=gradual", LITE),
    "training.sampling": ("training.sampling=balanced",),
    "training.mixup": ("training.mixup=0.5",),
    "training.cutmix": ("training.cutmix=0.5",),
    "training.ema": ("training.ema=0.9",),
    "seed": ("seed=4",),
    "backbone.name": ("backbone.name=test_resnet",),
    "backbone.mean": ("backbone.mean=[0.4, 0.4, 0.4]", "backbone.std=[0.5, 0.5, 0.5]"),
    "backbone.std": ("backbone.mean=[0.5, 0.5, 0.5]", "backbone.std=[0.3, 0.3, 0.3]"),
    "backbone.padding": ("backbone.padding=same",),
    "image.size": ("image.size=48",),
    "image.fit": ("image.fit=pad",),
    "image.interpolation": ("image.interpolation=bicubic",),
    "augmentation.horizontal_flip": ("augmentation.horizontal_flip=0.5",),
    "augmentation.vertical_flip": ("augmentation.vertical_flip=0.5",),
    "augmentation.rotation": ("augmentation.rotation=20",),
    "augmentation.zoom": ("augmentation.zoom=0.3",),
    "augmentation.shift": ("augmentation.shift=0.2",),
    "augmentation.brightness": ("augmentation.brightness=0.3",),
    "augmentation.contrast": ("augmentation.contrast=0.3",),
    "split.by": ("split.by=publisher", "split.allow_leak=true"),
    "split.validation": ("split.validation=0.3",),
    "split.test": ("split.test=0.3",),
    "split.seen": ("split.seen=0.2",),
    "split.seed": ("split.seed=6",),
    "strategy.name": ("strategy.name=linear-probe", "backbone.name=tf_efficientnet_lite0"),
    "strategy.norm": ("strategy.norm=hold", "strategy.name=full", "backbone.name=tf_efficientnet_lite0"),
    "training.epochs": ("training.epochs=3",),
    "training.batch_size": ("training.batch_size=4",),
    "training.accumulation_steps": ("training.accumulation_steps=2",),
    "training.learning_rate": ("training.learning_rate=0.02",),
    "training.backbone_learning_rate_factor": ("training.backbone_learning_rate_factor=0.5",),
    "training.weight_decay": ("training.weight_decay=0.5",),
    "training.warmup": ("training.warmup=1",),
    "training.schedule": ("training.schedule=constant",),
    "training.dropout": ("training.dropout=0.5",),
    "training.label_smoothing": ("training.label_smoothing=0.1",),
    "training.class_weights": ("training.class_weights=balanced",),
    "training.patience": ("training.patience=1", "training.epochs=9"),
    "training.gradient_clip_norm": ("training.gradient_clip_norm=0.001",),
    "training.precision": ("training.precision=bfloat16",),
    "evaluation.bootstrap": ("evaluation.bootstrap=60",),
    "evaluation.threshold": ("evaluation.threshold=sensitivity",),
    "evaluation.threshold_target": ("evaluation.threshold=sensitivity", "evaluation.threshold_target=0.5"),
}
# what a change is compared with, where that is not the base recipe with the rest of the change
COMPANY: dict[str, tuple[str, ...]] = {
    "strategy.stages": ('strategy.stages=["blocks.1"]', "strategy.name=surgical", LITE),
    "strategy.phases": ('strategy.phases=[{ stages = ["head"] }]', "strategy.name=phases", LITE),
    "backbone.mean": ("backbone.mean=[0.5, 0.5, 0.5]", "backbone.std=[0.5, 0.5, 0.5]"),
    "backbone.std": ("backbone.mean=[0.5, 0.5, 0.5]", "backbone.std=[0.5, 0.5, 0.5]"),
    "split.by": (),
}
# keys with a test of their own, below or (of networks that outline) in test_segmenting.py
APART = {
    "decoder.width", "volume.patch_size", "volume.patches_per_volume", "volume.patch_overlap",
    "title", "dataset", "offline", "engine", "backbone.weights", "backbone.file", "split.allow_leak", "split.allow",
    "training.workers",
    "training.save_steps", "training.max_unreadable_files", "evaluation.protocol",
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_data(tmp_path_factory.mktemp("data") / "set", cases=40)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recipe_file(tmp_path_factory.mktemp("recipe"), BASE)


def results(recipe: Path, data: Path, out: Path, overrides: tuple[str, ...]) -> str:
    """What came out: the last and best tensors, the predictions and the numbers, as one hash."""
    folder = run(recipe, data, out, overrides).folder
    digest = hashlib.sha256()
    for name in ("last/model.safetensors", "best/model.safetensors", "predictions.parquet", "metrics.json"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def base(recipe: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], str]:
    """Results by overrides: what a key is compared with when it needs company."""
    out = tmp_path_factory.mktemp("base")
    alone: dict[tuple[str, ...], str] = {}

    def found(overrides: tuple[str, ...]) -> str:
        if overrides not in alone:
            alone[overrides] = results(recipe, data, out / str(len(alone)), overrides)
        return alone[overrides]

    class Lazy(dict[tuple[str, ...], str]):
        def __missing__(self, overrides: tuple[str, ...]) -> str:
            return found(overrides)

    return Lazy()


def test_no_key_is_forgotten() -> None:
    assert set(keys()) == set(CHANGES) | APART


@pytest.mark.slow
@pytest.mark.parametrize("key", CHANGES)
def test_the_key_changes_the_result(
    key: str, recipe: Path, data: Path, base: dict[tuple[str, ...], str], tmp_path: Path
) -> None:
    changed = CHANGES[key]
    company = COMPANY.get(key, tuple(word for word in changed if not word.startswith(f"{key}=")))
    assert results(recipe, data, tmp_path, changed) != base[company]


def test_the_same_recipe_gives_the_same_bytes(
    recipe: Path, data: Path, base: dict[tuple[str, ...], str], tmp_path: Path
) -> None:
    assert results(recipe, data, tmp_path, ()) == base[()]


def test_title_heads_the_report(recipe: Path, data: Path, tmp_path: Path) -> None:
    done = run(recipe, data, tmp_path, ["title=Quite another title", "training.epochs=1"])
    assert "Quite another title" in done.report.read_text("utf-8")


def test_dataset_and_protocol_are_looked_up(recipe: Path, data: Path, tmp_path: Path) -> None:
    for key in ("dataset=chest_xray/nowhere", "evaluation.protocol=chest_xray/nowhere"):
        with pytest.raises(GraftworkError, match="nowhere"):
            run(recipe, data, tmp_path, [key, "training.epochs=1"])


def test_offline_and_weights_say_where_weights_may_come_from(
    recipe: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    probe = ["strategy.name=linear-probe", "backbone.name=tf_efficientnet_lite0", "training.epochs=1"]
    with pytest.raises(WeightsError, match="network may not be asked"):
        run(recipe, data, tmp_path, [*probe, 'backbone.weights=["hub"]', "offline=true"])
    run(recipe, data, tmp_path, [*probe, 'backbone.weights=["package"]'])
    with pytest.raises(WeightsError, match=r"no-such\.safetensors"):
        run(recipe, data, tmp_path, [*probe, "backbone.file=no-such.safetensors"])


def test_the_engine_computes_the_features_and_is_recorded(recipe: Path, data: Path, tmp_path: Path) -> None:
    probe = [
        "strategy.name=linear-probe", "backbone.name=tf_efficientnet_lite0", "training.epochs=3",
        "augmentation.rotation=0", "augmentation.brightness=0",
    ]  # fmt: skip
    one = run(recipe, data, tmp_path / "torch", [*probe, "engine=torch"]).folder
    other = run(recipe, data, tmp_path / "openvino", [*probe, "engine=openvino"]).folder
    assert open_run(one).environment["engine"] == "torch"
    assert open_run(other).environment["engine"] == "openvino"
    frames = [open_run(each).predictions.set_index("case")["score_pneumonia"] for each in (one, other)]
    assert frames[0].to_numpy() == pytest.approx(frames[1].to_numpy(), abs=2e-4)
    assert not frames[0].equals(frames[1])  # else the cache of one was read by the other


def test_allow_leak_lets_a_leak_pass_and_stamps_it(recipe: Path, data: Path, tmp_path: Path) -> None:
    words = ["split.by=publisher", "training.epochs=1"]
    with pytest.raises(GraftworkError, match="allow-leak"):
        run(recipe, data, tmp_path, words)
    done = run(recipe, data, tmp_path, words, allow_leak=True)
    assert open_run(done.folder).split.leaks > 0


def test_allow_lets_groups_pass_that_look_alike_and_the_run_keeps_it(recipe: Path, tmp_path: Path) -> None:
    folder = synthetic_data(tmp_path / "set", cases=40)
    first = next((folder / "train" / "NORMAL").glob("IM-0*.jpeg"))
    shutil.copy(first, first.with_name(first.name.replace("IM-0", "IM-")))
    with pytest.raises(GraftworkError, match="allow look-alike-groups"):
        run(recipe, folder, tmp_path, ["training.epochs=1"])
    done = run(recipe, folder, tmp_path, ["training.epochs=1"], allow=("look-alike-groups",))
    again = open_run(done.folder)
    assert again.recipe.split.allow == ("look-alike-groups",) and again.split.allow == ("look-alike-groups",)
    page = done.report.read_text()
    assert "DOUBTFUL GROUPS" in page and "allowed by --allow look-alike-groups" in page


def test_workers_read_beside_the_training_process(
    recipe: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graftwork.common.loading import batches

    seen: list[int] = []
    original = batches.DataLoader

    def spy(*args: Any, **named: Any) -> Any:
        seen.append(named["num_workers"])
        return original(*args, **named)

    monkeypatch.setattr(batches, "DataLoader", spy)
    run(recipe, data, tmp_path, ["training.workers=1", "training.epochs=1"])
    assert set(seen) == {1}


def test_save_steps_keeps_states_within_an_epoch(
    recipe: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graftwork.common.runs.run_folder import Run

    steps: list[int] = []
    original = Run.save

    def spy(self: Run, which: str, model: Any, optimizer: Any, state: Any) -> None:
        steps.append(state.step)
        original(self, which, model, optimizer, state)

    monkeypatch.setattr(Run, "save", spy)
    run(recipe, data, tmp_path, ["training.save_steps=2", "training.epochs=1"])
    assert 2 in steps


def test_tolerance_bears_unreadable_pictures_and_counts_them(
    recipe: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = synthetic_data(tmp_path / "set", cases=40)
    victims = sorted((data / "train" / "PNEUMONIA").iterdir())[:2]
    for victim in victims:
        victim.write_bytes(victim.read_bytes()[:300])
    with caplog.at_level(logging.ERROR), pytest.raises(RunError, match="tolerance") as caught:
        run(recipe, data, tmp_path, ["training.epochs=1"])
    assert any(victim.name in str(caught.value) for victim in victims)
    done = run(recipe, data, tmp_path, ["training.epochs=1", "training.max_unreadable_files=2"])
    listed = open_run(done.folder).quarantine
    assert len(listed) == 2
    assert {row["case"] for row in listed} == {
        case
        for case, path in open_run(done.folder).manifest.frame[["case", "path"]].itertuples(index=False)
        if Path(path).name in {victim.name for victim in victims}
    }
