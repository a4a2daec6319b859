"""A run folder written by version 0.1.0 (synthetic radiographs) opens, evaluates and reports with equal numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import graftwork

OLD = Path(__file__).parent / "run_of_version_0_1"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy, as opening a run may write to it."""
    return Path(shutil.copytree(OLD, tmp_path / "0-15378851"))


def test_its_files_are_read_and_its_recipe_has_the_present_keys(old: Path) -> None:
    assert "strengths = 10" in (old / "recipe.toml").read_text()
    run = graftwork.open_run(old)
    assert run.recipe.strategy.regularisation_strengths == 10
    assert run.recipe.digest()[:8] == "15378851", "the same recipe names the same folder"
    assert len(run.manifest.frame) == len(run.split.parts) == len(run.files) == 80
    assert run.log and len(run.ledger) and run.network["backbone"] == "tf_efficientnet_lite0"
    assert not run.unverified and not run.quarantine


def test_it_is_evaluated_again_with_equal_numbers(old: Path) -> None:
    written = json.loads((old / "metrics.json").read_text())
    (old / "metrics.json").unlink()
    graftwork.evaluate(str(old))
    assert json.loads((old / "metrics.json").read_text()) == written


def test_it_is_reported(old: Path) -> None:
    page = Path(graftwork.report([str(old)])).read_text()
    auroc = graftwork.open_run(old).evaluation.results[0].value
    assert f"{auroc:.3f}" in page and "synthetic" in page
