"""Masks judged from counts: units as a whole, what is undefined and why, intervals by resampling groups."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st
from predicted import EXACT, Target, quick, tails

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation import (
    Evaluation,
    Protocol,
    dice,
    evaluate,
    jaccard,
    read_predictions,
    segmentation_score,
)

TARGET = Target("segmentation", ("ground", "a", "b"))
ALL = ("dice", "dice_median", "jaccard", "hausdorff_95", "volume_difference")


def rules(metrics: tuple[str, ...] = ALL, **changes: Any) -> Protocol:
    return Protocol(
        "trial", 1, "A trial", "nobody", "volume", "segmentation", "dice", metrics, group="person", **changes
    )


def volumes(n: int = 60, seed: int = 0) -> pd.DataFrame:
    """Counts of two classes, two volumes a group, all of them with voxels of both on both sides."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "case": [f"v{row:03}" for row in rng.permutation(n)],
            "group": [f"p{row // 2:03}" for row in range(n)],
            "part": np.where(np.arange(n) // 2 % 4 == 0, "validation", "test"),
            "path": "x.nii.gz",
            "images": 1,
            "spacing": "3 1 1",
        }
    )
    for name in "ab":
        truth, predicted = rng.integers(50, 900, n), rng.integers(50, 900, n)
        frame[f"truth_{name}"], frame[f"predicted_{name}"] = truth, predicted
        frame[f"both_{name}"] = (np.minimum(truth, predicted) * rng.random(n)).astype(int)
        frame[f"hausdorff_95_{name}"] = rng.gamma(2, 3, n)
    return frame


def test_every_metric_of_each_class_and_their_mean() -> None:
    frame = volumes()
    found = evaluate(frame, TARGET, rules(), bootstrap=200, seed=3)
    test = frame[frame["part"] == "test"]
    assert (found.n, found.groups, found.thresholds) == (len(test), test["group"].nunique(), ())
    assert (found.unit, found.group, found.kind) == ("volume", "person", "segmentation")
    for name in "ab":
        t, p, both = (test[f"{start}_{name}"] for start in ("truth", "predicted", "both"))
        expected = {
            "dice": (2 * both / (t + p)).mean(),
            "dice_median": (2 * both / (t + p)).median(),
            "jaccard": (both / (t + p - both)).mean(),
            "hausdorff_95": test[f"hausdorff_95_{name}"].mean(),
            "volume_difference": ((p - t).abs() / t).mean(),
        }
        for metric, value in expected.items():
            result = found.result(metric, name)
            assert result.value == pytest.approx(value, abs=1e-12)
            assert result.low < value < result.high
            assert (result.n, result.positives, result.groups) == (len(test), len(test), found.groups)
    for metric in ALL:
        mean = np.mean([found.result(metric, name).value for name in "ab"])
        assert found.result(metric).value == pytest.approx(mean, **EXACT)
        assert found.result(metric).classes == (2, 2)
        assert segmentation_score(metric, test, TARGET.classes) == pytest.approx(mean, **EXACT)


def test_one_class_has_one_row_that_is_the_whole() -> None:
    found = evaluate(volumes(), Target("segmentation", ("ground", "a")), rules(), bootstrap=50)
    assert [(each.metric, each.label) for each in found.results] == [(metric, "") for metric in ALL]


def test_intervals_are_those_of_the_loop_over_drawn_people() -> None:
    frame = volumes()
    frame.loc[frame.index % 5 == 0, "hausdorff_95_a"] = np.nan
    found = evaluate(frame, TARGET, rules(), bootstrap=300, seed=7)
    test = frame[frame["part"] == "test"]
    values = (2 * test["both_a"] / (test["truth_a"] + test["predicted_a"])).to_numpy()
    far = test["hausdorff_95_a"].to_numpy()
    names, person = np.unique(test["group"], return_inverse=True)
    rng = np.random.default_rng(7)
    means, medians, distances = [], [], []
    for _ in range(300):
        drawn = rng.integers(0, len(names), len(names))
        rows = np.concatenate([np.flatnonzero(person == each) for each in drawn])
        means.append(values[rows].mean())
        medians.append(np.median(values[rows]))
        distances.append(np.nanmean(far[rows]))
    for metric, loop in (("dice", means), ("dice_median", medians), ("hausdorff_95", distances)):
        limits = tuple(np.quantile(loop, tails(len(names))))
        result = found.result(metric, "a")
        assert (result.low, result.high) == pytest.approx(limits, abs=1e-9)


def test_order_of_rows_changes_nothing() -> None:
    frame = volumes()
    frame["group"] = [
        f"p{row // 12}" for row in range(len(frame))
    ]  # sums of many: their last digit tells the order
    frame.loc[3, ["truth_a", "both_a"]] = 0
    first = evaluate(frame, TARGET, rules(), bootstrap=100)
    for seed in range(3):
        assert evaluate(frame.sample(frac=1, random_state=seed), TARGET, rules(), bootstrap=100) == first


@quick
@given(st.integers(0, 10_000), st.floats(0, 1), st.floats(0, 1))
def test_counts_say_what_the_masks_say(seed: int, much: float, more: float) -> None:
    rng = np.random.default_rng(seed)
    truth, predicted = rng.random((3, 4, 5)) < much, rng.random((3, 4, 5)) < more
    counts = {"truth_a": truth.sum(), "predicted_a": predicted.sum(), "both_a": (truth & predicted).sum()}
    frame = pd.DataFrame([counts])
    for metric, of in (("dice", dice), ("jaccard", jaccard)):
        found = segmentation_score(metric, frame, ("ground", "a"), "undefined")
        assert found == pytest.approx(of(truth, predicted), nan_ok=True, **EXACT)


# What is undefined


def empties() -> pd.DataFrame:
    """Of class a: perfect, missed, a false alarm, empty on both sides."""
    frame = volumes(8)
    frame["part"] = "test"
    frame[["truth_a", "predicted_a", "both_a", "hausdorff_95_a"]] = [
        [10, 10, 10, 0.0], [10, 0, 0, math.nan], [0, 10, 0, math.nan], [0, 0, 0, math.nan],
    ] * 2  # fmt: skip
    return frame


def test_an_empty_mask_is_judged_by_the_rule_of_the_protocol() -> None:
    one = evaluate(empties(), TARGET, rules(), bootstrap=50)
    assert one.result("dice", "a").value == one.result("jaccard", "a").value == 0.5
    undefined = evaluate(empties(), TARGET, rules(empty="undefined"), bootstrap=50)
    result = undefined.result("dice", "a")
    assert (result.value, result.n, result.positives) == (pytest.approx(1 / 3, **EXACT), 6, 4)
    assert (
        "Dice coefficient of a: defined for 6 of 8 volumes (in 2 neither truth nor prediction holds it)."
        in undefined.notes
    )
    assert one.result("dice_median", "a").value == 0.5


def test_a_distance_that_is_undefined_is_counted_and_said() -> None:
    frame = empties()
    frame.loc[frame.index[4:], "spacing"] = None
    found = evaluate(frame, TARGET, rules(), bootstrap=50)
    assert (found.result("hausdorff_95", "a").value, found.result("hausdorff_95", "a").n) == (0.0, 1)
    title = "Hausdorff distance, 95th percentile (larger of the two directed)"
    assert (
        f"{title} of a: defined for 1 of 8 volumes (in 4 the spacing is unknown, in 3 truth or prediction does "
        "not hold it)." in found.notes
    )
    assert f"{title} of b: defined for 4 of 8 volumes (in 4 the spacing is unknown)." in found.notes
    assert found.result("hausdorff_95").n == 4
    assert any(
        "relative volume difference of a: defined for 4 of 8 volumes (in 4 the truth" in each
        for each in found.notes
    )


def test_where_no_spacing_is_known_there_is_no_distance_but_a_reason() -> None:
    found = evaluate(volumes().assign(spacing=pd.NA), TARGET, rules(), bootstrap=50)
    for label in ("a", "b"):
        result = found.result("hausdorff_95", label)
        assert math.isnan(result.value) and result.n == 0
        assert result.reason == "defined for 0 of 44 volumes (in 44 the spacing is unknown)"
    whole = found.result("hausdorff_95")
    assert math.isnan(whole.value) and whole.classes == (0, 2)
    assert whole.reason.startswith("undefined for each of 2 classes: defined for 0 of 44")
    assert found.result("dice").low < found.result("dice").value
    none = volumes().drop(columns=["hausdorff_95_a", "hausdorff_95_b", "spacing"])
    assert (
        "in 44 it was not measured"
        in evaluate(none, TARGET, rules(), bootstrap=50).result("hausdorff_95").reason
    )


def test_a_unit_without_a_known_mask_is_left_out_and_counted() -> None:
    frame = volumes()
    rows = frame.index[frame["part"] == "test"][:3]
    kept = evaluate(frame.drop(index=rows), TARGET, rules(), bootstrap=50)
    frame = frame.astype({"truth_a": float, "both_a": float})
    frame.loc[rows, ["truth_a", "both_a"]] = np.nan
    found = evaluate(frame, TARGET, rules(), bootstrap=50)
    assert found.excluded == 3 and found.results == kept.results
    assert "3 volumes without a known mask left out." in found.notes


# Rows added up


def test_slices_are_added_up_and_never_averaged() -> None:
    """Each volume cut into slices at random, empty ones among them: the same numbers, but for the distance."""
    whole = volumes()
    rng = np.random.default_rng(0)
    slices = []
    for _, row in whole.iterrows():
        cuts = {}
        for name in "ab":
            both = rng.multinomial(row[f"both_{name}"], [0.5, 0.3, 0.2, 0.0])
            cuts[name] = [
                (both[z] + more, both[z] + other, both[z])
                for z, (more, other) in enumerate(
                    zip(
                        rng.multinomial(row[f"truth_{name}"] - both.sum(), [0.2, 0.2, 0.6, 0.0]),
                        rng.multinomial(row[f"predicted_{name}"] - both.sum(), [0.5, 0.5, 0.0, 0.0]),
                        strict=True,
                    )
                )
            ]
        for z in range(4):
            entry = {
                "case": f"{row['case']}-{z}",
                "volume": row["case"],
                "group": row["group"],
                "part": row["part"],
                "hausdorff_95_a": 1.0,
            }
            for name in "ab":
                entry |= dict(
                    zip((f"truth_{name}", f"predicted_{name}", f"both_{name}"), cuts[name][z], strict=True)
                )
            slices.append(entry)
    frame = pd.DataFrame(slices).sample(frac=1, random_state=1)
    expected = evaluate(whole, TARGET, rules(), bootstrap=50)
    found = evaluate(frame, TARGET, rules(by="volume"), bootstrap=50)
    assert (found.n, found.groups) == (expected.n, expected.groups)
    for one, other in zip(found.results, expected.results, strict=True):
        if one.metric == "hausdorff_95":
            assert "no distance is known across the rows" in one.reason
        else:
            assert one == other
    unknown = frame.astype({"truth_a": float})
    unknown.loc[unknown["volume"] == unknown["volume"].iloc[0], "truth_a"] = [5.0, math.nan, 3.0, 0.0]
    unknown["both_a"] = unknown["both_a"].clip(upper=unknown["truth_a"])
    assert evaluate(unknown.assign(part="test"), TARGET, rules(by="volume"), bootstrap=50).excluded == 1


# Tables as people have them


def test_all_faults_of_a_table_are_told_at_once() -> None:
    frame = volumes().astype(object)
    frame.loc[0, "truth_a"], frame.loc[1, "predicted_a"], frame.loc[2, "both_a"] = "many", -1, 2.5
    frame.loc[3, "both_b"], frame.loc[4, "predicted_b"] = 99_999, None
    frame.loc[5, "hausdorff_95_b"], frame.loc[6, "case"] = -0.5, frame.loc[7, "case"]
    with pytest.raises(TableError) as caught:
        evaluate(frame.drop(columns="truth_b"), TARGET, rules())
    for fault in (
        "columns are missing: truth_b",
        "a case stands more than once",
        "truth_a is not a number: 1 of 60",
        "predicted_a is negative or infinite",
        "both_a is not a whole number of voxels",
        "hausdorff_95_b is negative",
    ):
        assert fault in str(caught.value)
    with pytest.raises(TableError) as caught:
        evaluate(frame.assign(case=volumes()["case"]), TARGET, rules())
    assert "both_b is more than there is in one of the masks: 1 of 60" in str(caught.value)
    assert "predicted_b is missing: 1 of 60" in str(caught.value)


def test_other_tables_that_cannot_be_used() -> None:
    with pytest.raises(TableError, match=r"no case is in part 'test' \(found train"):
        evaluate(volumes().assign(part="train"), TARGET, rules())
    with pytest.raises(TableError, match="there is no row"):
        evaluate(volumes().iloc[:0], TARGET, rules())
    with pytest.raises(UsageError, match="evaluates segmentation targets"):
        evaluate(volumes(), Target("binary", ("a", "b")), rules())
    with pytest.raises(TableError, match="the column both_c is missing"):
        segmentation_score("dice", volumes(), ("ground", "a", "c"))
    with pytest.raises(UsageError, match=r"'auroc' is not a metric of masks\. Name one of dice"):
        segmentation_score("auroc", volumes(), TARGET.classes)


def test_a_file_says_the_same_as_the_table_and_json_is_exact(tmp_path: Any) -> None:
    frame = empties()
    expected = evaluate(frame, TARGET, rules(), bootstrap=50)
    frame.to_csv(tmp_path / "p.csv", index=False)
    frame.to_parquet(tmp_path / "p.parquet")
    for name in ("p.csv", "p.parquet"):
        assert evaluate(read_predictions(tmp_path / name), TARGET, rules(), bootstrap=50) == expected
    assert Evaluation.from_json(json.loads(json.dumps(expected.to_json(), allow_nan=False))) == expected
