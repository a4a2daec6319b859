"""What a reader relies on where a run is judged by another target than its first: the whole page speaks of that one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd
import pytest
import yaml
from PIL import Image
from read_pages import Page, words
from reported_runs import COUNTS, EMPTY, EVENTS, FRAMES, camera_run

from graftwork.common.errors import RunError, UsageError
from graftwork.common.report import model_card
from graftwork.common.runs.run_folder import Run, open_run
from graftwork.common.training.example_images import grad_cam


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Judged by its third target, which is binary; it kept a mistake of its first one."""
    run = camera_run(tmp_path_factory.mktemp("judged") / "0-aa", asked=(EMPTY, FRAMES, EVENTS, COUNTS))
    (run.folder / "mistakes").mkdir()
    Image.new("L", (8, 8)).save(run.folder / "mistakes" / "01.jpg")
    kept = {"case": "c3/e0/0", "group": "place3", "target": "marten", "predicted": "hare", "score": 0.9,
            "picture": "01.jpg", "cam": "01.jpg"}  # fmt: skip
    (run.folder / "mistakes" / "index.json").write_text(json.dumps([kept]), "utf-8")
    return run


@pytest.fixture(scope="module")
def page(run: Run) -> Page:
    return words([run])


def _tested(run: Run) -> pd.DataFrame:
    return run.predictions[run.predictions["part"] == "test"]


def _alt(page: Page, begins: str) -> str:
    (alt,) = {alt for attrs in page.named("img") if (alt := attrs["alt"] or "").startswith(begins)}
    return alt


def _matrix(page: Page) -> list[list[int]]:
    """The counts of the confusion matrix, a row for each true class, its sum at the end."""
    table = page.html.split("<caption>Confusion matrix of the test part")[1].split("</table>")[0]
    return [[int(n) for n in re.findall(r"<td[^>]*>(\d+)\b", row)] for row in table.split("<tr>")[2:]]


def test_the_headline_names_the_target_that_is_judged(page: Page, run: Run) -> None:
    assert "AUROC, target empty, on the test part" in page.text
    asked = [row for row in page.rows("Settings of the recipe") if row[0].endswith("target")]
    assert [row[1].endswith("; evaluated here") for row in asked] == [False, False, True]
    (index,) = yaml.safe_load(model_card(run).split("---\n")[1])["model-index"]
    assert index["results"][0]["task"]["name"] == "empty"


def test_curves_are_of_the_judged_target(page: Page, run: Run) -> None:
    found = {each.metric: f"{each.value:.3f}" for each in run.evaluation.results}
    alt = _alt(page, "ROC curve of")
    assert alt.startswith(f"ROC curve of no animal on the test part. AUROC {found['auroc']}")
    # the point on the curve and the number above it come from the same cases and scores
    assert f"sensitivity {found['sensitivity']}, specificity {found['specificity']}." in alt
    assert "Precision over recall of no animal" in _alt(page, "Precision over recall of")
    assert "Calibration of no animal." in page.text and "class-1 ECE" in page.text


def test_decisions_are_of_the_judged_target(page: Page, run: Run) -> None:
    frame, threshold = _tested(run), run.evaluation.threshold
    assert threshold is not None
    called = frame["empty_score_no animal"] >= threshold.value
    empty = frame["empty_target"] == "no animal"
    wanted = [
        [int((truth & ~called).sum()), int((truth & called).sum()), int(truth.sum())]
        for truth in (~empty, empty)
    ]
    assert _matrix(page) == wanted
    asked = {row[0]: row[1] for row in page.rows("Settings of the recipe")}
    assert asked["decision"].startswith("threshold chosen on validation")


def test_the_headline_stands_among_the_further_results_of_its_own_target_alone(page: Page, run: Run) -> None:
    heads = {name: page.rows(f"{name}: metrics by")[0][1:] for name in ("species", "count", "empty")}
    unseen, seen = "frames, unseen locations", "frames, seen locations"
    assert heads["empty"] == [unseen, seen]
    assert heads["count"] == [unseen, seen]
    assert heads["species"] == [unseen, seen, "events, unseen locations", "events, seen locations"]
    species = {row[0]: row[1:] for row in page.rows("species: metrics by")}
    own = next(each for each in run.further_evaluations if each.protocol == "frames" and each.part == "test")
    assert species["AUROC"][0].startswith(f"{own.result('auroc').value:.3f} (")
    rows = {row[0]: row[1:] for row in page.rows("empty: metrics by")}
    assert rows["AUROC"][0].startswith(f"{run.evaluation.result('auroc').value:.3f} (")


def test_a_target_with_nothing_beside_the_headline_has_no_further_section(tmp_path: Path) -> None:
    page = words([camera_run(tmp_path / "0-aa", seen=False, asked=(EMPTY, FRAMES))])
    assert "species: metrics by" in page.text and "empty: metrics by" not in page.text
    assert page.rows("species: metrics by")[0] == ["metric", "frames, unseen locations"]


def test_pictures_of_another_target_are_left_out_with_a_sentence(page: Page) -> None:
    assert "Left out: the images that the run saved are of its first target, species." in page.text
    assert "predicted hare, score 0.900" not in page.text and not page.section("mistakes").named("img")


def test_mistakes_of_the_first_target_are_not_decided_by_the_threshold_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from made_runs import made_run

    found: list[float | None] = []

    def none_wrong(*_: object, threshold: float | None) -> pd.DataFrame:
        found.append(threshold)
        return pd.DataFrame()

    monkeypatch.setattr(grad_cam, "confident_mistakes", none_wrong)
    nothing: Any = mock.Mock()
    own, other = made_run(tmp_path / "own"), camera_run(tmp_path / "other", asked=(EMPTY, FRAMES))
    for each in (own, other):
        assert each.evaluation.threshold is not None
        grad_cam.write_mistakes(each, nothing, nothing, nothing)
    assert own.evaluation.threshold is not None and found == [own.evaluation.threshold.value, None]


def test_an_ordinal_target_that_is_judged_has_its_own_classes(tmp_path: Path) -> None:
    run = camera_run(tmp_path / "0-aa", asked=(COUNTS, FRAMES))
    page, frame, target = words([run]), _tested(run), run.manifest.targets[1]
    matrix, near = _matrix(page), round(run.evaluation.result("within_one").value * len(frame))
    assert [row[-1] for row in matrix] == [
        int((frame["count_target"] == name).sum()) for name in target.classes
    ]
    assert f"{near} of {len(frame)} frames" in page.text
    assert "ROC curve of 0, 1, 2 and 3 or more on" in _alt(page, "ROC curve of")


def test_runs_judged_by_different_targets_are_not_compared(run: Run, tmp_path: Path) -> None:
    other = camera_run(tmp_path / "0-aa", asked=(FRAMES, EMPTY))
    with pytest.raises(UsageError, match=r"the runs have different targets.*empty"):
        words([run, other])
    relabelled = camera_run(tmp_path / "0-bb", asked=(EMPTY, FRAMES))
    frame = relabelled.predictions
    frame["empty_target"] = frame["empty_target"].map({"animal": "no animal", "no animal": "animal"})
    frame.to_parquet(relabelled.folder / "predictions.parquet")
    assert "same test cases with different labels" in words([run, relabelled]).text


def test_numbers_of_a_target_that_the_manifest_lacks_are_refused(tmp_path: Path) -> None:
    run = camera_run(tmp_path / "0-aa", asked=(COUNTS, FRAMES))
    place = run.folder / "metrics.json"
    place.write_text(json.dumps({**json.loads(place.read_text("utf-8")), "target": "age"}), "utf-8")
    with pytest.raises(RunError, match="'age'"):
        words([open_run(run.folder)])
