"""What a reader of a segmentation's report relies on: overlap with its rules, pictures, no section of another kind."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
import yaml
from read_pages import Page, words
from reported_runs import OUTLINES, outlined_run

from graftwork.common.errors import UsageError
from graftwork.common.evaluation import evaluate
from graftwork.common.report import model_card
from graftwork.common.report.figures.segmentation_figures import heaped
from graftwork.common.report.page import render
from graftwork.common.runs.run_folder import Run
from graftwork.common.training.example_images.overlays import write_examples


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("volumes")
    run = outlined_run(root / "unet" / "0-aa", root / "data", solid=True, units=22)
    write_examples(run)
    return run


@pytest.fixture(scope="module")
def page(run: Run) -> Page:
    return Page(render([run]))


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("stacks")
    return outlined_run(
        root / "stacks" / "0-aa",
        root / "data",
        empty=2,
        notes=("weak labels: drawn by a program, corrected by nobody",),
    )


def test_the_sections_are_those_of_a_segmentation(page: Page) -> None:
    titles = re.findall(r'<h2 id="(\w+)">', page.html)
    assert {"result", "overlap", "classes", "metrics"} <= set(titles)
    assert not {"curves", "calibration", "decisions", "mistakes", "further"} & set(titles)
    links = [attrs["href"] for attrs in page.named("a") if (attrs.get("href") or "") != "#content"]
    assert links == [f"#{title}" for title in titles]
    assert "ROC" not in page.text and "hreshold chosen" not in page.text


def test_the_headline_counts_units_and_the_distances_have_their_unit(page: Page, run: Run) -> None:
    result = run.evaluation.result("dice")
    said = f"{result.value:.3f} 95 % interval {result.low:.3f} to {result.high:.3f} 8 volumes of 8 patients."
    assert f"Dice, mean over 2 of 2 classes, on the test part {said}" in page.text
    rows = page.rows("All metrics on the test part")
    assert [row for row in rows if row[0] == "Hausdorff distance, 95 % (mm)" and row[1] == "front"]
    assert f"{run.evaluation.result('hausdorff_95').value:.3f} mm" in page.text
    each = {row[0]: row for row in page.rows("Each class on the test part")}
    front = run.evaluation.result("dice", "front")
    assert (
        each["front"][1] == "8"
        and each["front"][2] == f"{front.value:.3f} ({front.low:.3f} to {front.high:.3f})"
    )


def test_the_rules_are_named(page: Page, stacks: Run) -> None:
    assert "both empty, Dice is 1" in page.text and "as in MONAI" in page.text
    assert "None of 8 volumes has an empty mask" in page.text
    other = words([stacks])
    empty = int((stacks.predictions.query("part == 'test'")["truth_lesion"] == 0).sum())
    assert empty == 2 and f"lesion: both empty {empty}, only the true mask empty 0" in other.text
    assert "A volume is the stack of its slices (6 to 6, 48 in all)" in other.text
    undefined = outlined_again(stacks, empty="undefined")
    assert "is undefined and left out of the mean" in words([undefined]).text


def outlined_again(run: Run, **changes: object) -> Run:
    """The same run judged by another rule."""
    import dataclasses
    import json

    from graftwork.common.runs.run_folder import open_run

    again = open_run(run.folder)
    rule = dataclasses.replace(OUTLINES, **changes)  # type: ignore[arg-type]
    again.__dict__["protocol"] = rule
    found = evaluate(again.predictions, again.manifest.target, rule, bootstrap=100)
    (run.folder / "metrics.json").write_text(json.dumps(found.to_json()), "utf-8")
    return again


def test_overlap_and_volume_are_drawn_and_told(page: Page, run: Run) -> None:
    alts = [attrs.get("alt") or "" for attrs in page.named("img")]
    (spread,) = {alt for alt in alts if alt.startswith("Dice of each volume by class, 8 volumes.")}
    front = run.evaluation.result("dice", "front")
    assert f"front: mean {front.value:.3f} ({front.low:.3f} to {front.high:.3f}), median" in spread
    (volume,) = {alt for alt in alts if alt.startswith("Predicted against true volume in mm³ of 8 volumes")}
    frame = run.predictions.query("part == 'test'")
    size = 1.0 * 1.2 * 1.5
    assert f"front: true {round(frame['truth_front'].min() * size):,} to" in volume
    assert any("one volume" in svg and "median and quartiles" in svg for svg in page.pictures())


def test_volumes_without_a_spacing_are_counted_in_voxels(tmp_path: Path) -> None:
    page = words([outlined_run(tmp_path / "r" / "0-aa", tmp_path / "data", units=10, spacing=False)])
    assert "In voxels." in page.text and "mm³" not in page.text
    assert "The spacing of 4 of 4 volumes is unknown, so distances in mm are undefined there." in page.text
    rows = {row[0]: row for row in page.rows("All metrics on the test part")}
    assert rows["Hausdorff distance, 95 % (mm)"][1] == "n/a"


def test_the_pictures_are_in_the_page_with_their_captions(page: Page, run: Run) -> None:
    sources = [
        attrs["src"] or "" for attrs in page.named("img") if (attrs["src"] or "").startswith("data:image/png")
    ]
    assert len(sources) == 3
    best = base64.b64decode(sources[0].partition("base64,")[2])
    assert best == (run.folder / "examples" / "best.png").read_bytes()
    assert re.search(
        r"Best of 8 volumes: mean Dice 0\.\d{3} patient person\d+, volume unit\d+ Dice front 0\.", page.text
    )
    assert "Solid white: border of the true mask; dashed orange: border of the predicted mask." in page.text
    assert str(run.manifest.root) not in page.html


def test_a_run_without_pictures_says_so(stacks: Run) -> None:
    assert "The run saved no image of a volume of the test part with its masks." in words([stacks]).text


def test_what_was_asked_tells_the_network(page: Page, stacks: Run) -> None:
    asked = {row[0]: row[1] for row in page.rows("Settings of the recipe")}
    assert asked["target"] == "structure, segmentation: front and back against background"
    assert asked["network"].startswith("unet3d: a 3-D U-Net")
    assert asked["input"].startswith("blocks of 32 × 48 × 32 voxels")
    asked = {row[0]: row[1] for row in words([stacks]).rows("Settings of the recipe")}
    assert "as the encoder of a U-Net; its decoder ends in 16 channels" in asked["network"]
    assert "batches of 32 slices" in asked["training"]


def test_slices_and_volumes_are_counted_by_part(stacks: Run) -> None:
    rows = {row[0]: row[1:] for row in words([stacks]).rows("Slices, patients and classes of each part")}
    assert rows["slices"] == ["48", "24", "48", "120"]
    assert rows["volumes"] == rows["patients"] == ["8", "4", "8", "20"]


def test_weak_labels_are_stamped_and_stay_among_the_limits(stacks: Run, page: Page) -> None:
    found = words([stacks])
    assert found.warnings() == ["WEAK LABELS: Drawn by a program, corrected by nobody."]
    assert "eak labels: drawn by a program" in found.text.partition("Of these data, from their loader")[2]
    assert [stamp.partition(":")[0] for stamp in page.warnings()] == ["DOUBTFUL GROUPS"]  # one volume each


@pytest.mark.parametrize(("units", "said"), [(20, False), (10, True)])
def test_too_few_groups_are_said_beside_the_result(units: int, said: bool, tmp_path: Path) -> None:
    run = outlined_run(tmp_path / "r" / "0-aa", tmp_path / "data", units=units)
    text = "Only 4 patients in the test part: too few for any conclusion."
    page = words([run])
    assert bool(re.search(r'<p class="few"><b>Only 4 patients', page.html)) == said
    assert (text in model_card(run)) == said


def test_the_card_is_that_of_a_segmentation(run: Run) -> None:
    meta = yaml.safe_load(model_card(run).split("---\n")[1])
    assert meta["pipeline_tag"] == "image-segmentation" and meta["tags"][0] == "image-segmentation"
    assert "monai" in meta["tags"] and "timm" not in meta["tags"]
    (index,) = meta["model-index"]
    assert index["results"][0]["task"]["type"] == "image-segmentation"
    assert index["results"][0]["metrics"][0]["type"] == "dice"


def test_runs_are_compared_side_by_side_without_curves(run: Run, tmp_path: Path, stacks: Run) -> None:
    other = outlined_run(tmp_path / "unet" / "1-bb", tmp_path / "data", solid=True, units=22, seed=1)
    page = Page(render([run, other]))
    assert "All 2 runs have the same test cases: 8 volumes, with the same labels." in page.text
    alts = [attrs["alt"] or "" for attrs in page.named("img")]
    assert [alt for alt in alts if alt.startswith("Dice of each run")] and not [
        alt for alt in alts if "ROC" in alt
    ]
    assert "ROC" not in page.text
    with pytest.raises(UsageError, match=r"the runs have different targets .*lesion.*Compare runs"):
        render([run, stacks])


def test_points_of_equal_value_stand_beside_each_other() -> None:
    import numpy as np

    moved = heaped(np.array([0.5, 0.5, 0.5, 0.9]))
    assert len(set(moved[:3])) == 3 and moved[3] == 0
