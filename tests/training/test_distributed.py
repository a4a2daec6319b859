"""Two processes by torchrun on a CPU learn and judge as one does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_runs import RECIPE, recipe_file, small_weights, synthetic_data

from graftwork.common.runs.run_folder import open_run

WISHES = {
    "scratch": ["training.class_weights=balanced"],
    "gradual": [  # what learns changes from epoch to epoch; validation of an odd number of cases ends it early
        "strategy.name=gradual", "strategy.unfreeze_every=1", "training.sampling=balanced", "training.epochs=9",
        "training.patience=1", "training.ema=0.9", "training.l2_sp=0.01", "augmentation.rotation=0",
        "augmentation.brightness=0",
    ],
}  # fmt: skip

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("wish", WISHES)
def test_two_gloo_processes_equal_one(wish: str, tmp_path: Path) -> None:
    data = synthetic_data(tmp_path / "set", cases=45)
    # layer norm, since batch norm sees half a batch in each process; no dropout, since each draws its own
    text = RECIPE.replace("test_efficientnet", "test_vit").replace("size = 32", "size = 160")
    recipe = recipe_file(
        tmp_path, text.replace("dropout = 0.2", "dropout = 0.0").replace("= 0.01", "= 0.001")
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GRAFTWORK_CACHE": str(tmp_path / "cache")}
    words = ["run", str(recipe), "--data", str(data), *WISHES[wish]]
    if wish != "scratch":
        words.append(f"backbone.file={small_weights(tmp_path / 'weights', 'test_vit')}")
    alone = [sys.executable, "-m", "graftwork"]
    together = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        "-m", "graftwork",
    ]  # fmt: skip
    for name, start in (("one", alone), ("two", together)):
        done = subprocess.run(
            [*start, *words, "--out", str(tmp_path / name)], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip().splitlines()[-1].endswith("report.html")
        assert done.stdout.count("report.html") == 1
    one, two = (open_run(next((tmp_path / name / "small").iterdir())) for name in ("one", "two"))
    assert two.environment["processes"] == 2
    losses = [[line["train_loss"] for line in run.log] for run in (one, two)]
    np.testing.assert_allclose(losses[0], losses[1], atol=1e-5)
    assert one.predictions["case"].tolist() == two.predictions["case"].tolist()
    assert not one.predictions["case"].duplicated().any()
    scores = list(one.manifest.target.scores)
    np.testing.assert_allclose(one.predictions[scores], two.predictions[scores], atol=1e-4)
    assert (one.folder / "ledger.csv").read_text() == (two.folder / "ledger.csv").read_text()


def test_pictures_that_any_process_could_not_read_are_counted(tmp_path: Path) -> None:
    data = synthetic_data(tmp_path / "set", cases=45)
    victims = sorted((data / "train" / "PNEUMONIA").iterdir())[:5]
    for victim in victims:
        victim.write_bytes(b"")
    words = [
        "run", str(recipe_file(tmp_path)), "--data", str(data), "--out", str(tmp_path / "out"),
        "training.max_unreadable_files=5", "training.epochs=1", "image.size=64",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GRAFTWORK_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
            "-m", "graftwork", *words,
        ],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run = open_run(next((tmp_path / "out" / "small").iterdir()))
    assert sorted(Path(row["case"]).name for row in run.quarantine) == sorted(each.stem for each in victims)
    # every process judges with the running statistics that are saved, not with those of its own last step
    table = run.predictions[run.predictions["part"] == "validation"]
    code = [run.manifest.target.classes.index(name) for name in table["target"]]
    scores = table[list(run.manifest.target.scores)].to_numpy()[np.arange(len(table)), code]
    assert run.log[0]["validation_loss"] == pytest.approx(-np.log(scores).mean(), rel=1e-5)
