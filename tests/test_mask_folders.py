"""Two folders of masks: golden values of other programs through files, mismatches refused, empties by the protocol."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from written_volumes import write

from graftwork.cli import main
from graftwork.common.domain import protocol
from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation.evaluating import evaluate
from graftwork.common.evaluation.mask_rules import MaskRules, Region
from graftwork.common.evaluation.submissions import TableTarget
from graftwork.common.mask_folders import evaluate_folders, judge_masks, pairs_of

MM = np.diag([1.0, 1.0, 1.0, 1.0])
ONE = MaskRules(regions=(Region("it", (1,)),), labels=(1,))


def golden() -> tuple[np.ndarray, np.ndarray]:
    """Truth with three lesions, a prediction that finds one, a little off, and another that is not there."""
    truth = np.zeros((40, 40, 40), np.uint8)
    predicted = truth.copy()
    truth[5:11, 5:11, 5:11] = truth[25:30, 25:30, 25:30] = truth[5:8, 30:33, 5:8] = 3
    predicted[6:12, 5:11, 5:11] = predicted[32:34, 5:7, 5:7] = 3
    return truth, predicted


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two cases; the second is found exactly."""
    truth, predicted = golden()
    for name, pair in (("a", (truth, predicted)), ("b", (truth, truth))):
        write(tmp_path / "truth" / f"{name}_seg.nii.gz", pair[0], MM)
        write(tmp_path / "predicted" / f"{name}.nii.gz", pair[1], MM)
    return tmp_path / "truth", tmp_path / "predicted"


def call(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(ended.value.code or 0)


def test_lesions_through_files(folders: tuple[Path, Path]) -> None:
    """The organisers' program of 2023 on the first case: Dice 0.277777778, HD95 249.666666667, legacy beside them."""
    found, table = evaluate_folders(*folders, protocol("brats2023-lesionwise"), bootstrap=50)
    row = table[(table["case"] == "a") & (table["region"] == "ET")].iloc[0]
    assert row["lesion_dice"] == pytest.approx(0.277777777778, abs=1e-9)
    assert row["lesion_hausdorff_95"] == pytest.approx(249.666666666667, abs=1e-9)
    assert (row["dice"], row["hausdorff_95"]) == pytest.approx((0.608108108, 30.099833887), abs=1e-9)
    result = found.result("lesion_dice", "ET")
    assert result.value == pytest.approx((0.277777777778 + 1) / 2, abs=1e-9)
    assert result.low <= result.value <= result.high
    assert (found.n, found.groups, found.unit) == (2, 2, "case")


def test_the_rules_of_2024_through_files(folders: tuple[Path, Path]) -> None:
    _, table = evaluate_folders(*folders, protocol("brats2024"), bootstrap=20)
    row = table[(table["case"] == "a") & (table["region"] == "ET")].iloc[0]
    assert (row["lesion_dice"], row["lesion_hausdorff_95"]) == pytest.approx((0.277777778, 225.0), abs=1e-9)
    half, one = row["lesion_surface_dice_half"], row["lesion_surface_dice_one"]
    assert (half, one) == pytest.approx((0.219298, 0.333333), abs=1e-6)


def test_spacing_comes_from_the_header(tmp_path: Path) -> None:
    """MedPy 0.5.2 and MONAI 1.6.1 at spacing 2.5, 0.5, 0.5: 2.692582404, 2.915475947; a file turned round agrees."""
    truth = np.zeros((8, 24, 24), np.uint8)
    predicted = truth.copy()
    truth[2:6, 5:15, 5:15] = predicted[1:5, 6:15, 5:18] = 1
    predicted[6, 18:22, 18:22] = 1
    sides = np.diag([2.5, 0.5, 0.5, 1.0])
    write(tmp_path / "truth" / "g.nii", truth, sides)
    write(tmp_path / "predicted" / "g.nii", predicted, sides)
    base = protocol("brats2020")
    for definition, expected in (
        ("pooled", 2.692582404),
        ("max-of-directed", 2.915475947),
        ("surfel-weighted", 3.807886553),
    ):
        rules = replace(ONE, hausdorff=definition)  # type: ignore[arg-type]
        own = replace(
            base, masks=rules, classes=("background", "it"), metrics=("dice", "hausdorff_95", "jaccard")
        )
        _, table = evaluate_folders(tmp_path / "truth", tmp_path / "predicted", own, bootstrap=20)
        assert table["hausdorff_95"][0] == pytest.approx(expected, abs=1e-9)
        assert (table["dice"][0], table["jaccard"][0]) == pytest.approx((0.610859729, 0.439739414), abs=1e-9)


def test_empty_masks_give_what_the_protocol_says() -> None:
    nothing, something = np.zeros((5, 5, 5), np.uint8), np.ones((5, 5, 5), np.uint8)
    metrics = (
        "dice",
        "jaccard",
        "hausdorff_95",
        "surface_dice_one",
        "volume_difference",
        "voxel_sensitivity",
    )
    side = (1.0, 1.0, 1.0)
    both = judge_masks(nothing, nothing, side, replace(ONE, empty_one=373.12866), metrics)["it"]
    assert [both[name] for name in metrics[:4]] == [1.0, 1.0, 0.0, 1.0]
    assert math.isnan(both["volume_difference"]) and math.isnan(both["voxel_sensitivity"])
    for pair in ((nothing, something), (something, nothing)):
        one = judge_masks(*pair, side, replace(ONE, empty_one=373.12866), metrics)["it"]
        assert [one[name] for name in metrics[:4]] == [0.0, 0.0, 373.12866, 0.0]
        none = judge_masks(*pair, side, ONE, metrics)["it"]
        assert math.isnan(none["hausdorff_95"])
    left = judge_masks(nothing, nothing, side, replace(ONE, empty_both=None), metrics)["it"]
    assert math.isnan(left["dice"]) and math.isnan(left["hausdorff_95"])


def test_pictures_are_masks_too_and_a_poor_outline_counts_nothing(tmp_path: Path) -> None:
    for number, width in enumerate((10, 7, 5)):  # Jaccard 1, 0.7, 0.5
        truth, predicted = np.zeros((20, 20), np.uint8), np.zeros((20, 20), np.uint8)
        truth[:, :10], predicted[:, :width] = 255, 200
        predicted[:, 15:] = 128  # not above 128
        for folder, array in (("truth", truth), ("predicted", predicted)):
            (tmp_path / folder).mkdir(exist_ok=True)
            mark = "_segmentation" if folder == "truth" else ""
            Image.fromarray(array).save(tmp_path / folder / f"ISIC_{number}{mark}.png")
    found, table = evaluate_folders(
        tmp_path / "truth", tmp_path / "predicted", protocol("isic2018-task1-masks"), bootstrap=20
    )
    assert table["jaccard"].tolist() == [1.0, 0.7, 0.5]
    assert table["least_jaccard"].tolist() == [1.0, 0.7, 0.0]
    assert found.result("least_jaccard").value == pytest.approx(1.7 / 3)


def test_everything_that_does_not_fit_is_said_at_once(folders: tuple[Path, Path]) -> None:
    truth, predicted = folders
    array = golden()[0]
    write(truth / "c.nii.gz", array, MM)
    with pytest.raises(TableError, match="1 cases have no prediction: c"):
        pairs_of(truth, predicted)
    write(predicted / "c.nii.gz", array[:39], MM)
    write(predicted / "b.nii.gz", array, np.diag([1.0, 1.0, 2.0, 1.0]))
    (predicted / "a.nii.gz").write_bytes(b"no mask")
    with pytest.raises(TableError) as raised:
        evaluate_folders(truth, predicted, protocol("brats2023-lesionwise"))
    message = str(raised.value)
    assert "3 faults" in message
    for said in ("c: truth", "shape: image 40 x 40 x 40", "spacing: image 1 x 1 x 1 mm", "a.nii.gz"):
        assert said in message


def test_labels_of_another_year_are_refused(folders: tuple[Path, Path]) -> None:
    truth, predicted = folders
    array = golden()[0]
    array[array == 3] = 4
    write(predicted / "a.nii.gz", array, MM)
    with pytest.raises(TableError, match="holds 4; the protocol knows 0, 1, 2, 3"):
        evaluate_folders(truth, predicted, protocol("brats2023-lesionwise"))


def test_an_empty_folder_none_and_a_case_twice(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(TableError, match="holds no mask"):
        pairs_of(folders[0], tmp_path / "nothing")
    with pytest.raises(UsageError, match="a folder of masks"):
        pairs_of(folders[0], tmp_path / "missing")
    write(folders[0] / "a.nii", golden()[0], MM)
    with pytest.raises(TableError, match="the case a stands twice"):
        pairs_of(*folders)


def test_a_protocol_of_scores_judges_no_masks_and_the_other_way() -> None:
    with pytest.raises(UsageError, match="does not judge folders"):
        evaluate_folders("x", "y", protocol("isic2020"))
    with pytest.raises(UsageError, match="two folders of masks"):
        evaluate(pd.DataFrame(), TableTarget("segmentation", ("background", "WT")), protocol("brats2020"))
    with pytest.raises(UsageError, match="cannot be judged"):
        MaskRules(regions=(Region("it", (5,)),), labels=(1,))


def test_the_command_line_with_groups_and_a_table_of_values(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pd.DataFrame({"case": ["a", "b"], "group": ["p", "p"]}).to_csv(tmp_path / "groups.csv", index=False)
    words = [
        "evaluate",
        "seg",
        "--truth",
        str(folders[0]),
        "--predicted",
        str(folders[1]),
        "--protocol",
        "brats2020",
    ]
    words[-1] = "brats2023-lesionwise"
    out = tmp_path / "values.csv"
    assert call(*words, "--groups", str(tmp_path / "groups.csv"), "--out", str(out), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n"], found["groups"]) == (2, 1)
    assert len(pd.read_csv(out)) == 6
    assert call(*words, "--bootstrap", "20") == 0
    assert "lesion_hausdorff_95 (mm)" in capsys.readouterr().out
    assert call("evaluate", "seg", "--protocol", "brats2020") == 2
    assert "--predicted DIR" in capsys.readouterr().err


def test_a_protocol_says_which_distance_it_means() -> None:
    said = {name: protocol(name).methods() for name in ("brats2020", "brats2023-lesionwise")}
    assert (
        "95th percentile (pooled)**" in said["brats2020"] and "both lists taken together" in said["brats2020"]
    )
    assert "larger of the two directed" not in said["brats2020"]
    for name, text in said.items():
        if "hausdorff_95" in protocol(name).metrics:
            assert text.count(protocol(name).masks.hausdorff) >= 2  # type: ignore[union-attr]
