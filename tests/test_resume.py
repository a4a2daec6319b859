"""A run killed at any moment and resumed ends byte-identical to one that was not."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
from small_runs import digests, forked, recipe_file, start, synthetic_data

from graftwork.common.errors import RunError
from graftwork.common.runs import open_run
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


def test_two_processes_cannot_write_one_run(data: Path, recipe: Path, tmp_path: Path) -> None:
    done = run(recipe, data, tmp_path, ["training.epochs=1"])
    (done.folder / "report.html").unlink()
    with open_run(done.folder).writer(), pytest.raises(RunError, match="another process"):
        resume(done.folder)


def test_a_damaged_state_is_a_typed_error(data: Path, recipe: Path, tmp_path: Path) -> None:
    done = run(recipe, data, tmp_path, ["training.epochs=1"])
    (done.folder / "report.html").unlink()
    (done.folder / "last" / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(RunError, match="cannot be read"):
        resume(done.folder)
