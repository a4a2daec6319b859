"""A head that is solved: small checkpoints, the same result after an interruption, and no worker processes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from safetensors.torch import load_file
from small_runs import synthetic_data
from torch.utils import data as torch_data

import graftwork
from graftwork.common.training import checkpoints, linear_probe
from graftwork.common.verbs import resume, run

RECIPE = """
title = "A solved head for tests"
dataset = "chest_xray/kermany"
[backbone]
name = "tf_efficientnet_lite0"
[image]
size = 32
[strategy]
name = "linear-probe"
regularisation_strengths = 4
[training]
workers = 2
[evaluation]
bootstrap = 20
"""


class Cut(Exception):
    """In place of a power cut."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("solved")
    (place / "recipe.toml").write_text(RECIPE)
    synthetic_data(place / "set")
    return place


def start(place: Path, out: Path, **words: Any) -> Path:
    return run(place / "recipe.toml", place / "set", out, **words).folder


@pytest.fixture(scope="module")
def whole(place: Path) -> Path:
    return start(place, place / "whole")


def test_last_holds_the_head_and_best_the_network(whole: Path) -> None:
    last, best = (load_file(whole / which / "model.safetensors") for which in ("last", "best"))
    assert set(last) == {"head.linear.weight", "head.linear.bias"}
    assert set(last) < set(best) and any(name.startswith("backbone.") for name in best)


@pytest.mark.parametrize(
    "written_whole", [False, True], ids=["head", "whole network, as version 0.1 wrote it"]
)
def test_an_interrupted_one_ends_as_an_uninterrupted_one(
    place: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written_whole: bool
) -> None:
    write, count = linear_probe.save, 0

    def cut(saved: Any, which: str, *rest: Any) -> None:
        nonlocal count
        write(saved, which, *rest)
        count += which == "last"
        if count == 2:
            raise Cut

    with monkeypatch.context() as patch:
        patch.setattr(linear_probe, "save", cut)
        if written_whole:
            patch.setattr(checkpoints, "_changing", lambda trainable: trainable.network.state_dict())
        with pytest.raises(Cut):
            start(place, tmp_path)
    (folder,) = (each.parent for each in tmp_path.rglob("recipe.toml"))
    assert ("backbone." in " ".join(load_file(folder / "last" / "model.safetensors"))) == written_whole
    resume(folder)
    for name in ("best/model.safetensors", "last/model.safetensors", "predictions.parquet", "ledger.csv"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name


def test_it_predicts_from_its_folder_alone(place: Path, whole: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(whole, tmp_path / "moved")
    shutil.rmtree(moved / "last")
    found = graftwork.predict(moved, place / "set", tmp_path / "out.csv", workers=0)
    assert found.files == found.new > 0 and len(pd.read_csv(tmp_path / "out.csv"))


def test_rows_in_memory_are_read_without_processes(
    place: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a loader was started for cached features")

    monkeypatch.setattr(torch_data.DataLoader, "__init__", never)
    start(place, tmp_path)  # the features of `whole` are in the cache
