"""A run killed at any moment and resumed ends byte-identical to one that was not."""

from __future__ import annotations

import json
import logging
import os
import random
import resource
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import digests, forked, recipe_file, start, synthetic_data

from graftwork.common.errors import Interrupted, RunError
from graftwork.common.files import write_json
from graftwork.common.runs.run_folder import open_run
from graftwork.common.verbs import resume, run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_data(tmp_path_factory.mktemp("data") / "set")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recipe_file(tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="module")
def unbroken(
    data: Path, recipe: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, str], float]:
    """Digests of a run that nothing interrupted, and how long one takes, s."""
    context, out = forked(), tmp_path_factory.mktemp("unbroken")
    start(context, str(recipe), str(data), str(out / "first"), ["training.epochs=1"]).join()  # warm up
    begun = time.monotonic()
    child = start(context, str(recipe), str(data), str(out), [])
    child.join()
    assert child.exitcode == 0
    (folder,) = (out / "small").iterdir()
    return digests(folder), time.monotonic() - begun


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_ten_kills_change_no_byte(
    data: Path, recipe: Path, unbroken: tuple[dict[str, str], float], tmp_path: Path, workers: int
) -> None:
    wanted, seconds = unbroken
    context, rng, kills = forked(), random.Random(workers), 0
    for _ in range(200):
        if kills == 10:
            break
        child = start(context, str(recipe), str(data), str(tmp_path), [f"training.workers={workers}"])
        child.join(rng.uniform(0.1, 0.9) * seconds * (1 + workers / 2))
        if child.exitcode is None:
            child.kill()
            kills += 1
        child.join()
        assert child.exitcode in (0, -signal.SIGKILL)
        if child.exitcode == 0:  # complete: begin again, so that ten runs are really cut
            (folder,) = (tmp_path / "small").iterdir()
            assert digests(folder) == wanted
            folder.rename(tmp_path / f"complete-{kills}-{time.monotonic_ns()}")
    assert kills == 10
    child = start(context, str(recipe), str(data), str(tmp_path), [f"training.workers={workers}"])
    child.join()
    (folder,) = (tmp_path / "small").iterdir()
    assert digests(folder) == wanted
    assert open_run(folder).complete


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGINT, 130)]
)
def test_a_signal_ends_the_step_and_exits_resumable(
    data: Path, recipe: Path, unbroken: tuple[dict[str, str], float], tmp_path: Path, number: int, code: int
) -> None:
    wanted, _ = unbroken
    child = start(forked(), str(recipe), str(data), str(tmp_path), ["training.workers=2"])
    until = time.monotonic() + 60
    while time.monotonic() < until and not list(tmp_path.glob("small/*/last/state.json")):
        time.sleep(0.005)
    os.kill(child.pid, number)
    child.join()
    assert child.exitcode == code
    (folder,) = (tmp_path / "small").iterdir()
    assert not open_run(folder).complete
    child = start(forked(), str(recipe), str(data), str(tmp_path), ["training.workers=2"])
    child.join()
    assert child.exitcode == 0
    assert digests(folder) == wanted


def test_resume_needs_the_folder_alone_and_says_what_changed(
    data: Path, recipe: Path, tmp_path: Path
) -> None:
    done = run(recipe, data, tmp_path, ["training.epochs=1"])
    assert resume(done.folder).already
    (done.folder / "report.html").unlink()
    assert not resume(done.folder).already
    (done.folder / "report.html").unlink()
    manifest = open_run(done.folder).manifest
    picture = manifest.file(0)
    content = picture.read_bytes()
    picture.write_bytes(manifest.file(1).read_bytes())
    try:
        with pytest.raises(RunError, match="another content") as caught:
            resume(done.folder)
        assert picture.name in str(caught.value)
    finally:
        picture.write_bytes(content)
    assert resume(done.folder).report.is_file()  # a new time alone is no change


def test_a_state_caught_between_two_renames_is_gone_on_with(data: Path, recipe: Path, tmp_path: Path) -> None:
    done = run(recipe, data, tmp_path, ["training.epochs=1"])
    state = (
        done.folder / "last" / "state.json"
    ).read_bytes()  # holds times, which a second training would change
    (done.folder / "report.html").unlink()
    (done.folder / "last").rename(done.folder / "last.new")
    resume(done.folder)
    assert (done.folder / "last" / "state.json").read_bytes() == state
    assert not (done.folder / "last.new").exists()


def test_two_processes_cannot_write_one_run(data: Path, recipe: Path, tmp_path: Path) -> None:
    done = run(recipe, data, tmp_path, ["training.epochs=1"])
    (done.folder / "report.html").unlink()
    with open_run(done.folder).writer(), pytest.raises(RunError, match="another process"):
        resume(done.folder)


def test_a_damaged_state_is_a_typed_error(data: Path, recipe: Path, tmp_path: Path) -> None:
    done = run(recipe, data, tmp_path, ["training.epochs=1"])
    (done.folder / "report.html").unlink()
    (done.folder / "last" / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(RunError, match="damaged"):
        resume(done.folder)


def test_other_data_are_refused_and_leave_the_run_as_it_was(data: Path, recipe: Path, tmp_path: Path) -> None:
    words = ["training.epochs=1"]
    folder = run(recipe, data, tmp_path, words).folder
    (folder / "report.html").unlink()
    with pytest.raises(RunError, match="started with other data"):
        run(recipe, synthetic_data(tmp_path / "other", cases=30), tmp_path, words)
    assert open_run(folder).data == data
    moved = tmp_path / "moved"
    shutil.copytree(data, moved)
    assert not run(recipe, moved, tmp_path, words).already
    assert open_run(folder).data == moved


def test_changed_labels_are_refused(
    data: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graftwork.domains.chest_xray import kermany

    words = ["training.epochs=1"]
    run(recipe, data, tmp_path, words)
    original = kermany.read

    def relabelled(root: Any) -> Any:
        found = original(root)
        found.frame.loc[0, "group"] = "somebody else"
        return found

    monkeypatch.setattr(kermany, "read", relabelled)
    with pytest.raises(RunError, match="the column group changed"):
        run(recipe, data, tmp_path, words)


def test_results_of_an_earlier_training_are_never_kept(data: Path, recipe: Path, tmp_path: Path) -> None:
    folder = run(recipe, data, tmp_path, ["training.epochs=2"]).folder
    wanted = digests(folder)
    table = open_run(folder).predictions
    scores = list(open_run(folder).manifest.target.scores)
    table[scores] = 0.5
    table.to_parquet(folder / "predictions.parquet", index=False)  # what other tensors gave
    (folder / "report.html").unlink()
    shutil.rmtree(folder / "last")  # as the advice about a damaged state says
    resume(folder)
    assert digests(folder) == wanted


def test_a_full_disk_in_training_is_a_typed_error(data: Path, recipe: Path, tmp_path: Path) -> None:
    folder = run(recipe, data, tmp_path, ["training.epochs=1"]).folder
    model, optimizer, state = open_run(folder).saved("last")  # type: ignore[misc]
    before = digests(folder)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(RunError, match="cannot be written"):
            open_run(folder).save("last", model, optimizer, state)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert digests(folder) == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_heard_while_predicting_and_its_seconds_count(
    data: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    from graftwork.common.training import inference

    words = ["training.epochs=2"]

    monkeypatch.setattr(inference, "STEP", 4)
    wanted = digests(run(recipe, data, tmp_path / "whole", words).folder)

    def stop(what: str, done: int, total: int) -> None:
        if what == "predicting" and done == 4:
            time.sleep(1)
            os.kill(os.getpid(), number)

    with pytest.raises(Interrupted):
        run(recipe, data, tmp_path, words, progress=stop)
    (folder,) = (tmp_path / "small").iterdir()
    assert not (folder / "predictions.parquet").exists()
    assert open_run(folder).environment["seconds"] >= 1
    assert digests(run(recipe, data, tmp_path, words).folder) == wanted


def test_a_signal_in_the_validation_keeps_the_steps_of_its_epoch(
    data: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graftwork.common.training import classification

    wanted = digests(run(recipe, data, tmp_path / "whole", ["training.epochs=2"]).folder)
    original = classification.predict_rows

    def signalled(*args: Any, **named: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return original(*args, **named)

    monkeypatch.setattr(classification, "predict_rows", signalled)
    with pytest.raises(Interrupted):
        run(recipe, data, tmp_path, ["training.epochs=2"])
    monkeypatch.undo()
    (folder,) = (tmp_path / "small").iterdir()
    state = open_run(folder).saved("last")[2]  # type: ignore[index]
    assert (state.epoch, state.log) == (1, [])
    assert state.step > 0
    assert digests(resume(folder).folder) == wanted


def test_other_pretrained_weights_are_refused(data: Path, recipe: Path, tmp_path: Path) -> None:
    words = ["strategy.name=linear-probe", "backbone.name=tf_efficientnet_lite0", "training.epochs=1"]
    folder = run(recipe, data, tmp_path, words).folder
    (folder / "report.html").unlink()
    network = json.loads((folder / "network.json").read_text())
    write_json(
        folder / "network.json", {**network, "weights": {**network["weights"], "sha256": "0" * 64}}
    )  # fmt: skip
    with pytest.raises(RunError, match="not those this run began with"):
        resume(folder)


def test_other_conditions_are_said(
    data: Path, recipe: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = run(recipe, data, tmp_path, ["training.epochs=1"]).folder
    (folder / "report.html").unlink()
    environment = open_run(folder).environment
    write_json(folder / "environment.json", {**environment, "device": "cuda", "processes": 4})
    with caplog.at_level(logging.WARNING):
        resume(folder)
    assert "device cuda, now cpu; processes 4, now 1" in caplog.text


def test_an_output_that_is_not_finite_never_passes_for_an_unread_picture(
    data: Path, recipe: Path, tmp_path: Path
) -> None:
    import torch
    from accelerate import Accelerator

    from graftwork.common.training.inference import predict_rows

    class Broken(torch.nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return torch.full((len(inputs), 2), float("nan"))

    class Source:
        def __getitem__(self, key: tuple[int, int]) -> tuple[np.ndarray, np.int64]:
            return np.zeros(3, np.float32), np.int64(0)

    with pytest.raises(RunError, match="not a finite number"):
        predict_rows(Broken(), Source(), np.arange(3), accelerator=Accelerator(cpu=True), outputs=2)
