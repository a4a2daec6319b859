"""What goes wrong in a training: memory, numbers that are not finite, and what is left of the run then."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import recipe_file, synthetic_data

from graftwork.common.errors import RunError
from graftwork.common.networks.network import Network
from graftwork.common.runs.run_folder import open_run
from graftwork.common.verbs import resume, run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_data(tmp_path_factory.mktemp("data") / "set", cases=40)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recipe_file(tmp_path_factory.mktemp("recipe"))


# layer norm and no dropout: what a part of a batch gives does not depend on the rest of it
VIT = [
    "backbone.name=test_vit",
    "image.size=160",
    "training.dropout=0",
    "training.learning_rate=0.001",
    "training.epochs=2",
]


def limited(monkeypatch: pytest.MonkeyPatch, most: int, error: BaseException) -> None:
    """A machine whose memory suffices for `most` images that are learned from at once."""
    original = Network.forward

    def forward(self: Network, inputs: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() and len(inputs) > most:
            raise error
        return original(self, inputs)

    monkeypatch.setattr(Network, "forward", forward)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_lack_of_memory_halves_the_parts_and_keeps_the_batch(
    error: BaseException, recipe: Path, data: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    whole = open_run(run(recipe, data, tmp_path / "whole", VIT).folder)
    limited(monkeypatch, 3, error)
    with caplog.at_level(logging.WARNING):
        found = open_run(run(recipe, data, tmp_path, VIT).folder)
    assert "out of memory at epoch 1, step 1: continuing with batches of" in caplog.text
    assert caplog.text.count("out of memory") == 2, "8 to 4 to 2, once for the whole run"
    for one, two in zip(whole.log, found.log, strict=True):
        assert one["train_loss"] == pytest.approx(two["train_loss"], abs=1e-5)
        assert one["steps"] == two["steps"]
    assert found.saved("last")[2].halvings == 2  # type: ignore[index]


def test_a_step_that_was_broken_off_leaves_no_trace_in_norm_layers(
    recipe: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second part of a step fails: the first one has moved the statistics, and is done again."""
    words = ["training.accumulation_steps=2", "training.epochs=1", "training.dropout=0", "image.size=64"]
    wanted = open_run(
        run(recipe, data, tmp_path / "four", ["training.accumulation_steps=4", *words[1:]]).folder
    )
    original, calls = Network.forward, [0]

    def forward(self: Network, inputs: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            calls[0] += 1
            if calls[0] == 2:
                raise torch.OutOfMemoryError("second part")
        return original(self, inputs)

    monkeypatch.setattr(Network, "forward", forward)
    found = open_run(run(recipe, data, tmp_path, words).folder)
    one, two = (each.saved("last")[0] for each in (wanted, found))  # type: ignore[index]
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_one_case_at_a_time_is_the_end_of_it(
    recipe: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(monkeypatch, 0, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(RunError, match="one case at a time") as caught:
        run(recipe, data, tmp_path, VIT)
    assert "image.size" in str(caught.value)


def astray(monkeypatch: pytest.MonkeyPatch, spoil: Any) -> list[int]:
    from graftwork.common.training import classification

    original, at = classification.loss_for, [0]

    def loss_for(*words: Any) -> Any:
        minimised = original(*words)

        def spoiled(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
            losses = minimised(logits, truth)
            if not torch.is_grad_enabled():
                return losses
            at[0] += 1
            return spoil(at[0], logits, losses)

        return spoiled

    monkeypatch.setattr(classification, "loss_for", loss_for)
    return at


def finite(folder: Path) -> bool:
    model, held, _ = open_run(folder).saved("last")  # type: ignore[misc]
    return all(bool(torch.isfinite(value).all()) for value in [*model.values(), *held.values()])


def test_a_loss_that_is_not_finite_names_its_cases_and_leaves_finite_checkpoints(
    recipe: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(step: int, logits: torch.Tensor, losses: torch.Tensor) -> torch.Tensor:
        return torch.where(torch.arange(len(losses)) == 1, torch.nan, losses) if step == 6 else losses

    astray(monkeypatch, spoil)
    with pytest.raises(RunError, match=r"the loss is nan at epoch \d, step \d+ \(cases \S+\)") as caught:
        run(recipe, data, tmp_path, ["training.save_steps=1"])
    (folder,) = (tmp_path / "small").iterdir()
    named = str(caught.value).partition("(cases ")[2].partition(")")[0]
    assert named in set(open_run(folder).manifest.frame["case"].astype(str)), "the one case, and no other"
    assert finite(folder)
    monkeypatch.undo()
    assert resume(folder).report.is_file()


def test_a_gradient_that_is_not_finite_is_never_stepped(
    recipe: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(step: int, logits: torch.Tensor, losses: torch.Tensor) -> torch.Tensor:
        # the square root of 0: a finite loss whose gradient is not
        return losses + (logits[:, 0] * 0).abs().sqrt() if step == 3 else losses

    astray(monkeypatch, spoil)
    with pytest.raises(RunError, match=r"the gradient is (nan|inf) at epoch 1, step 3"):
        run(recipe, data, tmp_path, ["training.save_steps=1"])
    (folder,) = (tmp_path / "small").iterdir()
    assert finite(folder)
    assert np.isfinite([line["train_loss"] for line in open_run(folder).log]).all()
