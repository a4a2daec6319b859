"""Looking for a rate and for a backbone: what is found, what is left untouched, and what is refused."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import torch
from small_runs import digests, recipe_file, small_weights, synthetic_data

from graftwork.common.errors import UsageError
from graftwork.common.runs.run_folder import open_run
from graftwork.common.verbs import find_lr, run, select


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_data(tmp_path_factory.mktemp("data") / "set", cases=60)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recipe_file(tmp_path_factory.mktemp("recipe"))


def test_a_rate_is_found_and_the_run_that_follows_is_the_same_to_the_byte(
    recipe: Path, data: Path, tmp_path: Path
) -> None:
    before = digests(run(recipe, data, tmp_path / "before").folder)
    state = torch.get_rng_state()
    found = find_lr(recipe, data, tmp_path / "rates", steps=60)
    assert found.table == tmp_path / "rates" / "rates.csv" and found.picture is not None
    assert sorted(each.name for each in (tmp_path / "rates").iterdir()) == ["rates.csv", "rates.svg"]
    assert digests(run(recipe, data, tmp_path / "after").folder) == before
    assert torch.equal(torch.get_rng_state(), state)
    with found.table.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(found.rates)
    assert [float(row["rate"]) for row in rows] == pytest.approx(found.rates, rel=1e-4)
    assert list(found.rates) == sorted(found.rates) and found.rates[0] == pytest.approx(1e-7)
    assert found.suggested == min(found.steepest, found.tenth) and 1e-7 < found.suggested < 1
    svg = found.picture.read_text()
    assert svg.startswith("<svg") and "learning rate" in svg and "steepest" in svg


def test_the_first_losses_are_those_of_a_network_that_has_not_learned(
    recipe: Path, data: Path, tmp_path: Path
) -> None:
    found = find_lr(recipe, data, tmp_path, ["training.dropout=0"], high=1e-6, steps=20)
    assert found.ended == "the highest rate was reached"
    assert all(loss == pytest.approx(math.log(2), abs=0.15) for loss in found.losses)


def test_a_loss_that_runs_away_ends_the_search(recipe: Path, data: Path, tmp_path: Path) -> None:
    found = find_lr(recipe, data, tmp_path, low=1e-4, high=1e4, steps=80)
    assert len(found.rates) < 80 and ("4 times" in found.ended or "not finite" in found.ended)


def test_the_stages_of_a_phase_are_those_that_learn(recipe: Path, data: Path, tmp_path: Path) -> None:
    words = [
        "strategy.name=probe-then-full", "strategy.probe_epochs=1", f"backbone.file={small_weights(tmp_path / 'w')}",
        "augmentation.rotation=0", "augmentation.brightness=0",
    ]  # fmt: skip
    names = [
        find_lr(recipe, data, tmp_path / str(each), words, phase=each, steps=20).phase for each in (1, 2)
    ]
    assert names == ["probe", "full"]
    with pytest.raises(UsageError, match=r"no phase 3.*\n?.*1 probe, 2 full"):
        find_lr(recipe, data, tmp_path, words, phase=3)


def test_what_has_no_rate_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"strategy\.regularisation_strengths"):
        find_lr("chest_xray/kermany_linear-probe", data, tmp_path, ["image.size=32"])
    recipe = recipe_file(tmp_path)
    for wrong in ({"low": 0.0}, {"low": 1.0, "high": 0.1}, {"steps": 5}):
        with pytest.raises(UsageError, match="rates that rise"):
            find_lr(recipe, data, tmp_path, **wrong)  # type: ignore[arg-type]


def test_backbones_are_ranked_on_the_training_part_alone(
    recipe: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graftwork.common.loading import samples

    read: set[str] = set()
    original = samples.read_image

    def noted(path: Path, **named: object) -> object:
        read.add(Path(path).name)
        return original(path, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(samples, "read_image", noted)
    weights = small_weights(tmp_path / "w")
    among = ["tf_efficientnet_lite0", f"test_efficientnet@{weights}", "resnet18"]
    found = select(recipe, data, among, ["strategy.name=full", "image.size=48"], out=tmp_path / "found.csv")
    monkeypatch.undo()
    done = run(recipe, data, tmp_path / "runs", ["training.epochs=1"])
    opened = open_run(done.folder)
    judged = [*opened.split.rows("test"), *opened.split.rows("validation")]
    names = {Path(path).name for path in opened.manifest.frame["path"].iloc[judged]}
    assert names and not names & read, "neither validation nor test was looked at"
    assert found.cases == len(opened.split.rows("train"))
    assert [each.rank for each in found.candidates] == [1, 2]
    first, second = found.candidates
    assert first.log_me >= second.log_me and {first.backbone, second.backbone} == {
        "tf_efficientnet_lite0", "test_efficientnet",
    }  # fmt: skip
    lite = next(each for each in found.candidates if each.backbone == "tf_efficientnet_lite0")
    other = next(each for each in found.candidates if each is not lite)
    assert math.isfinite(lite.leep) and math.isnan(other.leep) and "no LEEP" in other.note
    assert lite.trained_on == "ImageNet-1k" and lite.parameters == 3_371_008 and lite.images_per_second > 0
    assert [name for name, _ in found.left_out] == ["resnet18"] and "no pretrained weights" in found.left_out[
        0
    ][1]
    assert (tmp_path / "found.csv").read_text().count("\n") == 3


def test_wrong_wishes_of_a_selection_are_refused(recipe: Path, data: Path) -> None:
    with pytest.raises(UsageError, match="log_me, leep"):
        select(recipe, data, ["tf_efficientnet_lite0"], by="luck")
