"""A fifth domain in somebody else's package: installed beside graftwork, it is run by the same commands.

The package lies in `tests/outside`. Nothing of graftwork knows of it; the entry point is all.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pip has put the package, without a network."""
    place = tmp_path_factory.mktemp("installed")
    source = tmp_path_factory.mktemp("source") / "outside"
    shutil.copytree(HERE / "outside", source)  # a build leaves files about
    words = ["install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--target", str(place)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *words, str(source)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return place


def graftwork(installed: Path, *words: str | Path, expect: int = 0) -> str:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-m", "graftwork", *map(str, words)],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == expect, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def data(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "set"
    graftwork(installed, "synthesize", "land_cover/eurosat", folder, "--cases", "80")
    return folder


@pytest.fixture(scope="module")
def run(installed: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    said = graftwork(
        installed, "run", "land_cover/eurosat_linear-probe", "--data", data, "--out", out, "--json",
        "training.workers=0", "evaluation.bootstrap=100",
    )  # fmt: skip
    return Path(json.loads(said)["folder"])


def test_it_is_listed_and_shown_beside_ours(installed: Path) -> None:
    listed = graftwork(installed, "ls")
    for name in ("land_cover/eurosat", "land_cover/eurosat_linear-probe", "chest_xray/kermany"):
        assert name in listed
    assert "Helber" in graftwork(installed, "show", "land_cover/eurosat", "--kind", "protocol")
    assert "scenes.csv" in graftwork(installed, "show", "land_cover/eurosat", "--kind", "dataset")


def test_it_is_checked(installed: Path, data: Path) -> None:
    found = json.loads(graftwork(installed, "check", "land_cover/eurosat", "--data", data, "--json"))
    assert found["cases"] == 80 and not found["findings"]


def test_it_is_run_and_learned(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    (accuracy,) = [each for each in metrics["results"] if each["metric"] == "accuracy"]
    assert accuracy["value"] > 0.8
    assert metrics["group"] == "scene"


def test_it_is_reported(installed: Path, run: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    graftwork(installed, "report", run, "--out", page)
    text = page.read_text()
    assert "Residential" in text and "synthetic" in text.lower()


def test_it_predicts_a_folder(installed: Path, run: Path, data: Path, tmp_path: Path) -> None:
    graftwork(installed, "predict", run, data / "River", "--out", tmp_path / "river.csv")
    lines = (tmp_path / "river.csv").read_text().splitlines()
    assert len(lines) == 1 + 20
    assert sum(",River," in line or line.endswith(",River") for line in lines) > 15


def test_it_passes_the_contract_of_every_domain(installed: Path) -> None:
    words = [
        "-q",
        "-k",
        "eurosat or visited",
        "-p",
        "no:cacheprovider",
        str(HERE.parent / "test_contract.py"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        capture_output=True, text=True, check=False, cwd=HERE.parents[1],
        env={**os.environ, "PYTHONPATH": str(installed)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert "passed" in done.stdout


def test_the_guide_shows_these_files() -> None:
    guide = (HERE.parents[1] / "docs" / "how-to" / "add-a-domain.md").read_text()
    files = [path for path in (HERE / "outside").rglob("*") if path.suffix in (".py", ".toml")]
    known = "\n".join(path.read_text() for path in files)
    shown = re.findall(r"^```(?:python|toml)\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    assert len(shown) == 7
    for block in shown:
        assert block.rstrip() in known, block


def test_without_it_nothing_is_left(data: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "graftwork", "check", "land_cover/eurosat", "--data", str(data)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "there is no dataset of this name" in done.stderr
