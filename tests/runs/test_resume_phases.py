"""Killed at every boundary between phases and between, a run ends byte-identical; nothing with a history is lost."""

from __future__ import annotations

import signal
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import digests, forked, recipe_file, run_until_killed, small_weights, start, synthetic_data

from graftwork.common.runs.run_folder import open_run
from graftwork.common.runs.training_state import State
from graftwork.common.training.checkpoints import Trainable, restore, write
from graftwork.common.training.network_setup import network_of
from graftwork.common.verbs import run

RECIPE = """
title = "Everything that has a history"
dataset = "chest_xray/kermany"
seed = 3
[backbone]
name = "test_efficientnet"
[image]
size = 32
[augmentation]
rotation = 10.0
[strategy]
name = "gradual"
unfreeze_every = 1
[training]
epochs = 9
batch_size = 8
learning_rate = 0.01
dropout = 0.2
l2_sp = 0.1
ema = 0.9
mixup = 0.4
sampling = "balanced"
schedule = "plateau"
plateau_factor = 0.5
plateau_patience = 1
save_steps = 1
workers = 0
[evaluation]
bootstrap = 50
"""
ON_PLATEAU = (
    "strategy.unfreeze_every=0",
    "strategy.unfreeze_patience=1",
    "training.patience=3",
    "training.epochs=14",
)
KEPT = ("augmentation.rotation=0", "training.mixup=0", "strategy.unfreeze_every=2", "training.epochs=10")
RESTARTED = (
    "training.schedule=cosine", "training.plateau_factor=0.1", "training.plateau_patience=2", "training.warmup=0.5",
    "training.restart_schedule=true",
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_data(tmp_path_factory.mktemp("data") / "set")


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return [f"backbone.file={small_weights(tmp_path_factory.mktemp('weights'))}"]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recipe_file(tmp_path_factory.mktemp("recipe"), RECIPE)


@pytest.mark.parametrize(
    "asked", [(), ON_PLATEAU, KEPT, RESTARTED], ids=["epochs", "plateau", "kept", "restart"]
)
def test_kills_at_and_between_boundaries_change_no_byte(
    asked: tuple[str, ...], recipe: Path, data: Path, words: list[str], tmp_path: Path
) -> None:
    context, overrides = forked(), [*words, *asked]
    child = start(context, str(recipe), str(data), str(tmp_path / "whole"), overrides)
    child.join()
    assert child.exitcode == 0
    whole = open_run(next((tmp_path / "whole" / "small").iterdir()))
    steps, phases = whole.log[0]["steps"], whole.ledger.groupby("epoch")["phase"].first().tolist()
    assert len(set(phases)) > 2, "the schedule passes boundaries"
    boundaries = [epoch for epoch in range(1, len(phases)) if phases[epoch] != phases[epoch - 1]]
    moments = [(1, 2)]
    for epoch in boundaries[:4]:
        moments += [(epoch, steps), (epoch + 1, 1)]  # the phase's last step; the next one's first
    for at in moments:
        child = start(context, str(recipe), str(data), str(tmp_path), overrides, at, body=run_until_killed)
        child.join()
        assert child.exitcode == -signal.SIGKILL, at
    child = start(context, str(recipe), str(data), str(tmp_path), overrides)
    child.join()
    assert child.exitcode == 0
    found = open_run(next((tmp_path / "small").iterdir()))
    assert digests(found.folder) == digests(whole.folder)
    assert (found.folder / "frozen.json").read_bytes() == (whole.folder / "frozen.json").read_bytes()
    same = ("train_loss", "validation", "rate", "best")
    assert [[line[key] for key in same] for line in found.log] == [
        [line[key] for key in same] for line in whole.log
    ]


def test_everything_with_a_history_is_saved(
    recipe: Path, data: Path, words: list[str], tmp_path: Path
) -> None:
    from accelerate import Accelerator

    folder = run(recipe, data, tmp_path, [*words, "training.epochs=2"]).folder
    opened, accelerator = open_run(folder), Accelerator(cpu=True)

    def learner() -> Trainable:
        return Trainable.of(network_of(opened, accelerator)[0], opened.recipe.training)

    one = learner()
    state = restore(opened, one)
    assert state is not None
    told = {
        "epoch": 3, "step": 1, "best_value": 0.5, "best_epoch": 2, "phase_best": 0.25, "stale": 4, "rate_stale": 5,
        "reductions": 6, "plateaus": [1, 2], "halvings": 2, "averaged": one.average.steps, "finished": True,
        "loss_sum": 1.5, "loss_count": 7, "log": [{"epoch": 1}], "ledger": state.ledger,
        "quarantine": {"1": ["a", "b"]},
    }  # fmt: skip
    assert set(told) == {each.name for each in fields(State)}, "a new field of State belongs into this test"
    assert set(vars(one)) == {"network", "optimizer", "average", "pull", "head_only"}, (
        "so does a new object with state"
    )
    with torch.no_grad():
        for value in [*one.network.state_dict().values(), *one.average.tensors().values()]:
            value.add_(1)
        for held in one.optimizer.state.values():
            for value in held.values():
                value.add_(2)
    write(opened, "last", one, State(**told))
    two = learner()
    again = restore(opened, two)
    assert vars(again) == told
    assert two.average.steps == one.average.steps
    for name, value in one.network.state_dict().items():
        assert torch.equal(two.network.state_dict()[name], value), name
    for name, value in one.average.tensors().items():
        assert torch.equal(two.average.tensors()[name], value), name
    names = [name for name, _ in one.network.named_parameters()]
    held = [
        {name: dict(each.optimizer.state[dict(each.network.named_parameters())[name]]) for name in names}
        for each in (one, two)
    ]
    for name in names:
        assert held[0][name].keys() == held[1][name].keys()
        for key, value in held[0][name].items():
            assert torch.equal(value, held[1][name][key]), (name, key)
    origins: list[list[Any]] = [[origin for _, origin, _ in each.pull.origins] for each in (one, two)]
    assert origins[0] and all(torch.equal(a, b) for a, b in zip(*origins, strict=True))
