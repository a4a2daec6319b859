"""What a reader of an outlined image relies on: the right units, the right plane, the borders where they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from reported_runs import camera_run, outlined_run

from graftwork.common.errors import RunError
from graftwork.common.evaluation.metrics.mask_overlap import read_masks, unit_values
from graftwork.common.runs.run_folder import Run
from graftwork.common.training.example_images.overlays import chosen_units, write_examples

ORANGE, WHITE = (255, 154, 31), (255, 255, 255)


def index_of(run: Run) -> list[dict[str, Any]]:
    return list(json.loads((run.folder / "examples" / "index.json").read_text("utf-8")))


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("stacks")
    run = outlined_run(root / "r" / "0-aa", root / "data", empty=2)
    write_examples(run)
    return run


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("volumes")
    run = outlined_run(root / "r" / "0-aa", root / "data", solid=True)
    write_examples(run)
    return run


@pytest.mark.parametrize("which", ["stacks", "volumes"])
def test_the_best_the_median_and_the_worst_are_those_of_the_numbers(
    which: str, request: pytest.FixtureRequest
) -> None:
    run: Run = request.getfixturevalue(which)
    masks = read_masks(run.predictions, run.manifest.target.classes, "test")
    there = (masks.truth.sum(axis=1) + masks.predicted.sum(axis=1)) > 0
    means = {
        str(case): float(value)
        for case, value, shown in zip(masks.case, unit_values("dice", masks).mean(axis=1), there, strict=True)
        if shown
    }
    order = sorted(means, key=lambda case: (-means[case], case))
    found = index_of(run)
    assert [entry["which"] for entry in found] == ["best", "median", "worst"]
    assert [entry["case"] for entry in found] == [order[0], order[len(order) // 2], order[-1]]
    for entry in found:
        assert entry["dice"] == pytest.approx(means[entry["case"]])
        assert entry["label"] == f"{entry['which']} of {len(order)}" and entry["spacing_known"]
        assert entry["group"] == f"person{int(entry['case'][4:])}"
        with Image.open(run.folder / "examples" / entry["picture"]) as picture:
            assert picture.format == "PNG" and min(picture.size) > 300


def test_a_unit_in_which_nothing_is_to_be_seen_is_no_example(stacks: Run) -> None:
    masks = read_masks(stacks.predictions, stacks.manifest.target.classes, "test")
    values = unit_values("dice", masks)
    assert float(values.max()) == 1.0  # the empty ones are the best by number
    assert all(entry["dice"] < 1 for entry in index_of(stacks))


def test_the_slice_with_the_largest_true_area_is_shown_with_both_borders(stacks: Run) -> None:
    best = index_of(stacks)[0]
    frame = stacks.manifest.frame
    areas = []
    for mask in frame[frame["volume"] == best["case"]].sort_values("slice")["mask"]:
        with Image.open(stacks.manifest.root / mask) as picture:
            areas.append(int((np.asarray(picture) > 0).sum()))
    assert f"Slice {int(np.argmax(areas)) + 1} of 6, the slice with the largest true area" in best["caption"]
    assert "spacing 5 × 1 × 0.8 mm" in best["caption"] and "Dice lesion 0." in best["caption"]
    pixels = np.asarray(Image.open(stacks.folder / "examples" / best["picture"]).convert("RGB")).astype(int)
    for colour in (ORANGE, WHITE):
        assert (np.abs(pixels - colour).max(axis=2) < 12).sum() > 60, colour


def test_the_borders_stand_where_truth_and_prediction_end(tmp_path: Path) -> None:
    """The truth moved to the right half of the image takes its white border there."""
    run = outlined_run(tmp_path / "r" / "0-aa", tmp_path / "data", units=5)
    frame = run.manifest.frame
    for row in frame.index:
        left, right = np.zeros((96, 80), np.uint8), np.zeros((96, 80), np.uint8)
        left[20:70, 5:30], right[20:70, 50:75] = 255, 255
        Image.fromarray(right).save(run.manifest.root / frame["mask"][row])
        Image.fromarray(left).save(run.folder / "masks" / f"{frame['case'][row]}.png")
    write_examples(run)
    with Image.open(run.folder / "examples" / "best.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    pixels = pixels[: int(pixels.shape[0] * 0.88)]  # without the key
    columns = {
        name: np.nonzero(np.abs(pixels - colour).max(axis=2) < 12)[1].mean() / pixels.shape[1]
        for name, colour in (("prediction", ORANGE), ("truth", WHITE))
    }
    assert columns["prediction"] < 0.5 < columns["truth"]


def test_planes_do_not_depend_on_the_order_of_axes_in_the_file(tmp_path: Path, volumes: Run) -> None:
    turned = outlined_run(tmp_path / "r" / "0-aa", tmp_path / "data", solid=True, orientation="PIL")
    write_examples(turned)
    for first, second in zip(index_of(volumes), index_of(turned), strict=True):
        assert first["caption"] == second["caption"] and "spacing 1 × 1.2 × 1.5 mm" in first["caption"]
        assert "R, L, A, P (right, left, front, back) as the file's header says" in first["caption"]
        pictures = [
            np.asarray(Image.open(run.folder / "examples" / first["picture"])) for run in (volumes, turned)
        ]
        assert (pictures[0] == pictures[1]).all()


def test_the_same_run_gives_the_same_bytes(stacks: Run) -> None:
    before = {file.name: file.read_bytes() for file in (stacks.folder / "examples").iterdir()}
    write_examples(stacks)
    assert {file.name: file.read_bytes() for file in (stacks.folder / "examples").iterdir()} == before


def test_what_cannot_be_drawn_is_said_and_ends_nothing(tmp_path: Path) -> None:
    run = outlined_run(tmp_path / "r" / "0-aa", tmp_path / "data", units=10, spacing=False)
    write_examples(run)
    worst = index_of(run)[-1]
    assert not worst["spacing_known"] and "; spacing unknown" in worst["caption"]
    for place in (run.folder / "masks").glob(f"{worst['case']}_*.png"):
        place.unlink()
    write_examples(run)
    entry = index_of(run)[-1]
    assert entry["picture"] == "" and "No image: its predicted mask is gone" in entry["caption"]
    assert index_of(run)[0]["picture"] == "best.png"
    with pytest.raises(RunError, match="no masks"):
        write_examples(camera_run(tmp_path / "c" / "0-aa"))


@pytest.mark.parametrize(
    ("dice", "chosen"),
    [
        ([[0.5]], [("best", 0)]),
        ([[0.5], [0.7]], [("best", 1), ("worst", 0)]),
        ([[0.5], [0.5], [0.5]], [("best", 0), ("median", 1), ("worst", 2)]),
        (
            [[np.nan, np.nan], [0.2, np.nan], [0.9, 0.1], [0.4, 0.4]],
            [("best", 2), ("median", 3), ("worst", 1)],
        ),
        ([[np.nan]], []),
    ],
)
def test_which_units_are_chosen(dice: list[list[float]], chosen: list[tuple[str, int]]) -> None:
    assert chosen_units(np.array(dice), [f"u{i}" for i in range(len(dice))]) == chosen
