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
from graftwork.common.data.domain import protocol
from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation.evaluate_table import evaluate
from graftwork.common.evaluation.mask_rules import MaskRules, Region
from graftwork.common.evaluation.tables.external_tables import TableTarget
from graftwork.common.external.evaluate_regions import evaluate_masks
from graftwork.common.external.mask_folders import evaluate_folders, judge_masks
from graftwork.common.external.mask_pairs import pairs_of

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
    with pytest.raises(TableError, match=r"1 case of .*truth has no prediction in .*: c"):
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
    with pytest.raises(UsageError, match="it is not for folders of masks"):
        evaluate_folders("x", "y", protocol("isic2020"))
    with pytest.raises(UsageError, match="two folders of masks"):
        evaluate(pd.DataFrame(), TableTarget("segmentation", ("background", "WT")), protocol("brats2020"))
    with pytest.raises(UsageError, match="cannot be evaluated"):
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
    assert "95th percentile (pooled)**" in said["brats2020"] and "both lists pooled" in said["brats2020"]
    assert "larger of the two directed" not in said["brats2020"]
    for name, text in said.items():
        if "hausdorff_95" in protocol(name).metrics:
            assert text.count(protocol(name).masks.hausdorff) >= 2  # type: ignore[union-attr]


# every file is used, ignored by a rule that is said, or refused --------------------------------------------

ISIC = "isic2018-task1-masks"


def picture(path: Path, columns: int, full: int = 255, kind: type = np.uint8) -> Path:
    """A mask of 20 x 20 pixels whose first columns are its foreground."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.zeros((20, 20), kind)
    array[:, :columns] = full
    Image.fromarray(array).save(path)
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Path, Path]:
    """Three cases with Jaccard indices of 1, 0.5 and 0."""
    for number, (true, said) in enumerate(((10, 10), (10, 5), (10, 0))):
        picture(tmp_path / "t" / f"c{number}_segmentation.png", true)
        picture(tmp_path / "p" / f"c{number}.png", said)
    return tmp_path / "t", tmp_path / "p"


def judged(folders: tuple[Path, Path]) -> tuple[dict[str, float], str]:
    found, table = evaluate_folders(*folders, protocol(ISIC), bootstrap=20)
    return dict(zip(table["case"], table["jaccard"], strict=True)), "\n".join(found.notes)


def refusal(folders: tuple[Path, Path]) -> str:
    with pytest.raises(TableError) as raised:
        evaluate_folders(*folders, protocol(ISIC), bootstrap=20)
    return str(raised.value)


def test_disjoint_masks_of_0_and_1_are_disjoint(tmp_path: Path) -> None:
    picture(tmp_path / "t" / "a.png", 10, 1)
    turned = np.zeros((20, 20), np.uint8)
    turned[:, 10:] = 1
    (tmp_path / "p").mkdir()
    Image.fromarray(turned).save(tmp_path / "p" / "a.png")
    values, notes = judged((tmp_path / "t", tmp_path / "p"))
    assert values == {"a": 0}
    assert f"{tmp_path / 't'}: 1 mask holds 0 and 1: 1 is read as the foreground." in notes


@pytest.mark.parametrize(
    ("full", "kind"), [(1, np.uint8), (255, np.uint8), (65535, np.uint16), (1, np.uint16)]
)
def test_a_scale_of_its_own_in_either_folder_is_understood(
    pictures: tuple[Path, Path], full: int, kind: type
) -> None:
    for number, columns in enumerate((10, 5, 0)):
        picture(pictures[1] / f"c{number}.png", columns, full, kind)
    assert judged(pictures)[0] == {"c0": 1, "c1": 0.5, "c2": 0}


def test_both_scales_in_one_folder_are_read_file_by_file_unless_there_is_grey(
    pictures: tuple[Path, Path],
) -> None:
    picture(pictures[1] / "c1.png", 5, 1)
    values, notes = judged(pictures)
    assert values == {"c0": 1, "c1": 0.5, "c2": 0}
    assert "p: 1 mask holds 0 and 1" in notes
    picture(pictures[1] / "c2.png", 5, 200)
    said = refusal(pictures)
    assert "1 masks hold 0 and 1 (c1.png) beside 1 of grey levels (c2.png)" in said


def test_grey_levels_are_cut_at_the_stated_threshold_and_counted(pictures: tuple[Path, Path]) -> None:
    array = np.zeros((20, 20), np.uint8)
    array[:, :10], array[:, 10:12] = 129, 128
    Image.fromarray(array).save(pictures[1] / "c2.png")
    values, notes = judged(pictures)
    assert values["c2"] == 1
    assert (
        "1 mask holds levels of grey (240 pixels are neither 0 nor full): what lies above 128 of 255" in notes
    )
    for number in range(3):
        picture(pictures[1] / f"c{number}.png", 5, 100)
    assert "hold values between 0 and the threshold alone (c0.png, c1.png, c2.png)" in refusal(pictures)


def test_files_that_are_no_masks_are_named(pictures: tuple[Path, Path]) -> None:
    for folder, suffix in zip(pictures, ("_segmentation", ""), strict=True):
        Image.open(folder / f"c2{suffix}.png").save(folder / f"c2{suffix}.jpg")
        (folder / f"c2{suffix}.png").unlink()
    np.save(pictures[1] / "c9.npy", np.zeros(3))
    (pictures[1] / "link.png").symlink_to(pictures[1] / "gone.png")
    said = refusal(pictures)
    assert "t: 1 file is in a format that changes values" in said and "c2_segmentation.jpg" in said
    assert "p: 1 file is not a mask (expected .nii.gz" in said and "c9.npy" in said
    assert "link.png is no regular file" in said


def test_what_file_systems_and_publishers_leave_is_counted(pictures: tuple[Path, Path]) -> None:
    for name in (".DS_Store", "._c0.png", "Thumbs.db"):
        (pictures[0] / name).write_bytes(b"litter")
    (pictures[1] / "__MACOSX").mkdir()
    picture(pictures[1] / "__MACOSX" / "c7.png", 3)
    (pictures[0] / "LICENSE.txt").write_text("free")
    values, notes = judged(pictures)
    assert len(values) == 3
    assert "t: 3 entries of the file system ignored" in notes and "p: 1 entry of the file system" in notes
    assert "t: 1 accompanying texts ignored: LICENSE.txt." in notes


def test_masks_in_subfolders_are_judged_or_named(pictures: tuple[Path, Path]) -> None:
    picture(pictures[0] / "more" / "c0_mask.png", 10)
    assert "1 case of" in refusal(pictures) and "more/c0" in refusal(pictures)
    picture(pictures[1] / "more" / "c0.PNG", 5)
    values, notes = judged(pictures)
    assert values == {"c0": 1, "c1": 0.5, "c2": 0, "more/c0": 0.5}
    assert "1 of 4 cases are in subfolders" in notes
    (pictures[1] / "c1.png").rename(pictures[1] / "more" / "c1.png")
    assert "these are in different subfolders: c1 and more/c1" in refusal(pictures)


def test_a_folder_without_masks_says_what_it_holds(pictures: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "q" / "deep").mkdir(parents=True)
    (tmp_path / "q" / "deep" / "a.gif").write_bytes(b"GIF")
    said = refusal((pictures[0], tmp_path / "q"))
    assert (
        "it holds no mask" in said
        and "nor do the folders in it; it holds files of other types (1 of type .gif)" in said
    )


def test_names_are_compared_in_their_normal_form(tmp_path: Path) -> None:
    picture(tmp_path / "t" / "caf\u00e9_1.png", 10)
    picture(tmp_path / "p" / "cafe\u0301_1_Mask.PNG", 5)
    assert judged((tmp_path / "t", tmp_path / "p"))[0] == {"caf\u00e9_1": 0.5}
    (tmp_path / "p" / "cafe\u0301_1_Mask.PNG").rename(tmp_path / "p" / "Caf\u00e9_01.png")
    assert "these look alike but are different names: Caf\u00e9_01 and caf\u00e9_1" in refusal(
        (tmp_path / "t", tmp_path / "p")
    )


def test_one_folder_is_not_judged_against_itself(pictures: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "same").symlink_to(pictures[0])
    with pytest.raises(UsageError, match="truth and of the prediction at once"):
        pairs_of(pictures[0], tmp_path / "same")


def test_labels_out_of_the_rules_are_refused_by_the_library_too() -> None:
    with pytest.raises(TableError, match="truth: it must hold 0 and 1, it holds 2"):
        judge_masks(np.full((2, 2), 2), np.ones((2, 2), int), None, ONE, ("dice",))
    either = MaskRules(regions=(Region("it", (1,)),), above=128)
    one = judge_masks(np.array([[0, 1]]), np.array([[1, 0]]), None, either, ("dice",))
    assert one["it"]["dice"] == 0


def test_an_odd_header_is_read_and_said(folders: tuple[Path, Path]) -> None:
    truth = golden()[0]
    write(folders[1] / "b.nii", truth, MM, pixdim=[1, 1, -1, 0, 1, 1, 1, 1])
    (folders[1] / "b.nii.gz").unlink()
    write(folders[0] / "b_seg.nii.gz", truth[..., None], MM)
    found, table = evaluate_folders(*folders, protocol("brats2023-lesionwise"), bootstrap=20)
    assert table[table["case"] == "b"]["dice"].tolist() == [1, 1, 1]
    notes = "\n".join(found.notes)
    assert (
        "of 1 file, its voxel size (pixdim) is 1 x -1 x 0; that of its affine is used, 1 x 1 x 1 mm (b.nii)"
        in notes
    )
    assert "it has 4 axes (40 x 40 x 40 x 1), all beyond the third of length 1: one volume is read" in notes


def test_a_table_of_groups_is_read_whole(pictures: tuple[Path, Path], tmp_path: Path) -> None:
    table = tmp_path / "groups.csv"

    def notes(text: str) -> tuple[int, str]:
        table.write_text(text, encoding="utf-8")
        found = evaluate_masks(*pictures, ISIC, groups=table, bootstrap=20)
        return found.groups, "\n".join(found.notes)

    groups, said = notes("case,group,site\nc0, p1 ,x\nc1_segmentation.png,p1,x\nc2,P01,y\nc9,p4,y\n")
    assert groups == 2
    assert "1 columns were not used: site" in said and "1 of its 4 cases have no mask here" in said
    assert "1 sets of groups look alike, and count as different groups: P01 and p1" in said
    assert "1 cases are named there by the file of their mask" in said
    with pytest.raises(TableError, match="line 4: the case c0 is in the group p2, and above in p1"):
        notes("case,group\nc0,p1\nc1,p1\nc0 ,p2\nc2,p2\n")
    with pytest.raises(TableError, match=r"line 3: no group \(case c1, group None\)"):
        notes("case,group\nc0,p1\nc1,\nc2,p2\n")
    with pytest.raises(UsageError, match=r"no column group \(found case, patient\)"):
        notes("case,patient\nc0,p1\n")


def test_one_folder_may_lie_in_the_other(pictures: tuple[Path, Path]) -> None:
    pictures[1].rename(pictures[0] / "said")
    assert judged((pictures[0], pictures[0] / "said"))[0] == {"c0": 1, "c1": 0.5, "c2": 0}
