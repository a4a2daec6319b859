"""What a run's files say of it: what was done, and whether its data are synthetic, each by a field."""

from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from small_runs import RECIPE, recipe_file, small_weights, synthetic_data

from graftwork.common import verbs
from graftwork.common.data.domain import dataset
from graftwork.common.data.synthetic import is_synthetic, rests_on_synthetic
from graftwork.common.report.run.training_section import training_words
from graftwork.common.runs.run_folder import open_run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_data(tmp_path_factory.mktemp("data") / "set", cases=40)


@pytest.fixture(scope="module")
def solved(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on synthetic data whose head was solved."""
    place = tmp_path_factory.mktemp("solved")
    weights = small_weights(place / "weights")
    section = (
        'name = "linear-probe"\nregularisation_strengths = 2\n[training]\nworkers = 0\n[evaluation]\n'
        "bootstrap = 50\n"
    )
    text = RECIPE.partition('name = "scratch"')[0] + section
    backbone = f'[backbone]\nweights = ["file"]\nfile = "{weights}"\n'
    recipe = recipe_file(place / "recipe", text.replace("[backbone]\n", backbone))
    return verbs.run(recipe, data, place).folder


def _text(page: Path) -> str:
    return " ".join(
        html.unescape(re.sub(r"<style.*?</style>|<[^>]+>", " ", page.read_text(), flags=re.S)).split()
    )


def test_a_head_that_was_solved_is_not_described_as_trained(solved: Path) -> None:
    card, recipe = (solved / "MODEL_CARD.md").read_text(), (solved / "recipe.toml").read_text()
    report = _text(solved / "report.html")
    for text in (card, report, recipe, (solved / "metrics.json").read_text()):
        assert not re.search(r"\b10 epochs|epochs = |a step\b|rate 0\.001|rate = |batch_size = ", text)
    for text in (card, report):
        assert "solved by L-BFGS on all training cases at once, for 2 regularisation strengths" in text
        assert "The head was solved for 2 regularisation strengths by L-BFGS" in text
        assert "The epoch was chosen" not in text
        assert "measured during the epoch" not in text
    assert "This curve chose the strength whose weights were saved" in report
    assert "# epochs: only with strategy.regularisation_strengths = 0" in recipe


def test_a_run_on_synthetic_data_is_recognised_by_a_field(solved: Path) -> None:
    assert open_run(solved).manifest.synthetic
    assert open_run(solved).manifest.subset([0, 1]).synthetic
    assert json.loads((solved / "environment.json").read_text())["synthetic"] is True
    assert json.loads((solved / "metrics.json").read_text())["synthetic"] is True
    front = (solved / "MODEL_CARD.md").read_text().split("---")[1]
    assert "\nsynthetic: true\n" in front
    assert 'type: "synthetic"' in front
    assert "kermany" not in front.partition("datasets:")[2].lower().partition("model-index")[0]
    names = re.findall(r"    - type: .*\n      name: (.*)", front)
    assert names and all(name.startswith('"on SYNTHETIC data: ') for name in names)
    assert "SYNTHETIC DATA" in _text(solved / "report.html")
    verbs.evaluate(solved)
    assert json.loads((solved / "metrics.json").read_text())["synthetic"] is True
    second = solved.parent / "copy"
    shutil.copytree(solved, second, dirs_exist_ok=True)
    assert "SYNTHETIC DATA" in _text(verbs.report([solved, second], solved.parent / "both.html"))


def test_predictions_and_their_evaluation_say_it_too(solved: Path, data: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"  # copied without the marker
    pictures.mkdir()
    for row in range(4):
        file = open_run(solved).manifest.file(row)
        shutil.copy(file, pictures / f"{row}{file.suffix}")
    out = tmp_path / "p.csv"
    for shard in ("1/2", "2/2"):
        verbs.predict(solved, str(pictures), out, shard=shard, workers=0)
    verbs.merge(out)
    assert json.loads((tmp_path / "p.csv.about.json").read_text())["synthetic"] is True
    assert rests_on_synthetic(out)
    table = tmp_path / "t.parquet"
    found = verbs.evaluate_file(solved / "predictions.parquet", "chest_xray/kermany", bootstrap=20)
    assert found.to_json()["synthetic"] is True
    assert found.evaluation.notes[0].startswith("SYNTHETIC DATA")
    fitted = verbs.calibrate(solved / "predictions.parquet", "chest_xray/kermany", tmp_path / "c.json")
    assert fitted.synthetic and json.loads((tmp_path / "c.json").read_text())["synthetic"] is True
    shutil.copy(solved / "predictions.parquet", table)
    assert not verbs.calibrate(table, "chest_xray/kermany", tmp_path / "d.json").synthetic
    both = verbs.compare(solved / "predictions.parquet", table, "chest_xray/kermany", bootstrap=20)
    assert [each.synthetic for each in both.evaluations] == [True, False]
    assert not verbs.evaluate_file(table, "chest_xray/kermany", bootstrap=20).evaluation.synthetic


def test_the_marker_reaches_the_folders_below_and_survives_a_copy(data: Path, tmp_path: Path) -> None:
    below = next(path for path in data.rglob("*") if path.is_dir())
    assert is_synthetic(below)
    shutil.copytree(data, tmp_path / "copy")
    assert dataset("chest_xray/kermany").read(tmp_path / "copy").synthetic
    assert not is_synthetic(tmp_path)


def test_batches_that_were_halved_are_in_the_report() -> None:
    log = [
        {"epoch": epoch, "parts": parts, "best": epoch == 2, "validation": {"auroc": 0.5}}
        for epoch, parts in ((1, 1), (2, 2), (3, 4))
    ]
    training = SimpleNamespace(epochs=5, patience=1, accumulation_steps=1)
    facts = SimpleNamespace(
        log=log, best_epoch=2, solved=False, recipe=SimpleNamespace(training=training), environment={},
        primary="auroc",
    )  # fmt: skip
    said = training_words(facts)  # type: ignore[arg-type]
    assert "3 epochs of 5 planned. Training stopped early" in said
    assert "from epoch 2 a batch was computed in 4 parts instead of 1" in said
