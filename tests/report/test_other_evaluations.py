"""What a reader relies on where a run tells more than one thing: each target, unit and part has its own numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
from read_pages import Page, words
from reported_runs import camera_run

from graftwork.common.data.targets import Target
from graftwork.common.report import model_card
from graftwork.common.runs.run_folder import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return camera_run(tmp_path_factory.mktemp("camera") / "heads" / "0-aa")


@pytest.fixture(scope="module")
def page(run: Run) -> Page:
    return words([run])


def test_frames_and_events_of_seen_and_unseen_groups_stand_side_by_side(page: Page, run: Run) -> None:
    head, *rows = page.rows("species: metrics by unit and part")
    where = ("frames, unseen", "frames, seen", "events, unseen", "events, seen")
    assert head == ["metric", *(f"{each} locations" for each in where)]
    table = {row[0]: row[1:] for row in rows}
    frames, events = run.evaluation, [each for each in run.further_evaluations if each.protocol == "events"]
    assert table["cases"] == ["108 frames", "54 frames", "36 events", "18 events"]
    assert table["locations"] == ["3", "6", "3", "6"]
    assert [each.part for each in events] == ["test", "seen"]
    for place, evaluation in ((0, frames), (2, events[0]), (3, events[1])):
        found = evaluation.result("balanced_accuracy")
        assert table["Balanced accuracy"][place] == f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"
    assert "Unseen: locations that are not in training" in page.text
    assert (
        "Few locations, so the intervals are too narrow: frames, unseen locations (3 locations)" in page.text
    )


def test_a_further_target_has_its_own_table_in_its_own_measure(page: Page, run: Run) -> None:
    rows = {row[0]: row[1:] for row in page.rows("count: metrics by unit and part")}
    (test, _) = [each for each in run.further_evaluations if each.target == "count"]
    assert rows["Within one class"][0].startswith(f"{test.result('within_one').value:.3f} (")
    assert rows["Mean absolute error (classes)"][0].startswith(
        f"{test.result('mean_absolute_error').value:.3f} ("
    )
    assert "count (ordinal)" in page.text
    asked = {row[0]: row[1] for row in page.rows("Settings of the recipe")}
    assert asked["further target"] == "count, ordinal: 0, 1, 2 and 3 or more, in this order"


def test_a_run_without_further_results_has_no_such_section(tmp_path: Path, page: Page) -> None:
    assert 'id="further"' in page.html
    run = camera_run(tmp_path / "plain" / "0-aa")
    (run.folder / "further_metrics.json").unlink()
    assert 'id="further"' not in words([run]).html and "#further" not in words([run]).html


def test_parts_are_counted_by_picture_unit_and_group_for_each_target(page: Page, run: Run) -> None:
    head, *rows = page.rows("Frames, locations and classes of each part")
    table = [row[0] for row in rows]
    assert head == ["count", "train", "validation", "test", "seen", "all"]
    assert table == [
        "frames", "events", "locations", "species", "nothing", "hare", "marten", "rare thing",
        "count", "0", "1", "2", "3 or more",
    ]  # fmt: skip
    frame = run.manifest.frame
    seen = frame[run.split.parts == "seen"]
    assert rows[1][4] == str(seen["event"].nunique()) and rows[2][4] == str(seen["group"].nunique())


def test_the_proof_counts_the_groups_that_are_met_again_and_no_shared_event(page: Page) -> None:
    head, *rows = page.rows("Locations shared between parts")
    assert head == ["parts", "shared locations", "of locations in all", "shared events"]
    pairs = ("train and validation", "train and test", "validation and test")
    assert rows[:3] == [[pair, "0", "12", "0"] for pair in pairs]
    assert rows[3] == ["train and seen", "6", "12", "0"]
    assert "The part seen shares its locations with train on purpose, and none of its events." in page.text
    assert not [stamp for stamp in page.warnings() if "LEAK" in stamp]
    assert "Locations shared between parts (train, validation, test): 0 of 12." in page.text


def test_rare_classes_are_named_with_their_numbers_and_weights(page: Page, run: Run) -> None:
    rows = {row[0]: row for row in page.rows("Each class on the test part")}
    assert rows["rare thing"][1] == "0" and rows["rare thing"][2] == "n/a (no interval)"
    assert rows["nothing"][1] == str(run.evaluation.result("sensitivity", "nothing").positives)
    assert "Classes with fewer than 20 frames: marten (10), rare thing (0)." in page.text
    assert "No case of rare thing in the test part" in page.text  # the split's own sentence, under Data
    asked = {row[0]: row[1] for row in page.rows("Settings of the recipe")}
    train = run.split.train.frame["target"].value_counts()
    low, high = (train.sum() / (len(train) * train[name]) for name in ("nothing", "rare thing"))
    assert asked["class weights"].endswith(f"from {low:.3g} (nothing) to {high:.3g} (rare thing)")
    assert "0.2 of the rest, in whole events, is left out of training" in asked["split"]


def test_definitions_are_those_of_several_classes(page: Page) -> None:
    assert "Balanced accuracy is the mean over the classes present in the truth" in page.text


def test_the_card_has_the_further_results_too(run: Run) -> None:
    card = model_card(run)
    assert "### species (multi-class)" in card and "| frames, unseen locations |" in card
    assert "No case of rare thing in the test part" in card


def test_an_ordinal_first_target_is_shown_as_classes_in_an_order(tmp_path: Path) -> None:
    from made_runs import made_run

    target = Target("grade", "ordinal", ("none", "mild", "moderate", "severe"))
    page = words([made_run(tmp_path / "r", kind="ordinal", target=target)])
    assert "Confusion matrix of the test part" in page.text
    assert "the predicted class is the true class or next to it." in page.text
    asked = {row[0]: row[1] for row in page.rows("Settings of the recipe")}
    assert asked["target"].endswith("moderate and severe, in this order")
    assert asked["decision"] == "the class with the highest score"
