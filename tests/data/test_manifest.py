"""The manifest: what is valid, what is refused (all at once), and that it comes back from a file as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from graftwork.common.data.manifest import Manifest
from graftwork.common.data.targets import Target
from graftwork.common.errors import DatasetError, RunError

BINARY = Target("diagnosis", "binary", ("no", "yes"))
LABELS = Target("signs", "multi-label", ("round", "red"))
GRADE = Target("grade", "ordinal", ("low", "middle", "high"))
REGION = Target("region", "segmentation", ("background", "inside"), values=(0, 255))
COUNT = Target("count", "ordinal", ("1", "2", "3 or more"), prefix="count_")


def frame(**columns: Any) -> pd.DataFrame:
    table: dict[str, Any] = {
        "case": ["a", "b", "c", "d"],
        "path": ["x/a.png", "x/b.png", "x/c.png", "x/d.png"],
        "group": ["g1", "g1", "g2", "g3"],
        "part": ["train", "validation", "test", None],
        "target": ["no", "yes", "yes", None],
    }
    table.update(columns)
    return pd.DataFrame({name: values for name, values in table.items() if values is not ...})


def manifest(table: pd.DataFrame | None = None, **fields: Any) -> Manifest:
    given: dict[str, Any] = {
        "frame": frame() if table is None else table,
        "root": Path("/data"),
        "dataset": "d/x",
        "group": "patient",
        "target": BINARY,
    }
    return Manifest(**(given | fields))


def fault(table: pd.DataFrame, **fields: Any) -> str:
    with pytest.raises(DatasetError) as caught:
        manifest(table, **fields)
    return str(caught.value)


# Targets


def test_columns_and_scores_follow_the_kind() -> None:
    assert BINARY.columns == ("target",)
    assert BINARY.scores == ("score_no", "score_yes")
    assert LABELS.columns == ("target_round", "target_red")
    assert LABELS.scores == ("score_round", "score_red")
    assert REGION.columns == ("mask",)
    assert REGION.scores == ()
    assert GRADE.columns == ("target",)
    assert [each.outputs for each in (BINARY, LABELS, GRADE, REGION)] == [2, 2, 2, 2]


def test_columns_of_a_further_target_begin_with_its_prefix() -> None:
    assert COUNT.columns == ("count_target",)
    assert COUNT.scores == ("count_score_1", "count_score_2", "count_score_3 or more")
    assert Target("r", "segmentation", ("a", "b"), "r_").columns == ("r_mask",)
    assert Target("s", "multi-label", ("a", "b"), "s_").columns == ("s_target_a", "s_target_b")


def test_values_are_counted_where_none_are_given() -> None:
    assert Target("r", "segmentation", ("a", "b", "c")).values == (0, 1, 2)
    assert REGION.values == (0, 255)


def test_classes_may_be_left_to_the_tables_but_not_in_a_manifest() -> None:
    unknown = Target("species", "multi-class", ())
    assert unknown.scores == ()
    assert "target 'species' has no classes" in fault(frame(), target=unknown)


@pytest.mark.parametrize(
    ("kind", "classes", "said"),
    [
        ("binary", ("a",), "two classes"),
        ("binary", ("a", "b", "c"), "two classes"),
        ("multi-class", ("a",), "at least 2"),
        ("multi-class", ("a", "b", "a"), "twice"),
        ("multi-class", ("a", " "), "names"),
        ("ordinal", ("a",), "at least 2"),
        ("segmentation", ("background",), "at least 2"),
        (
            "regression",
            ("a", "b"),
            "binary, multi-class, multi-label, ordinal, segmentation, not 'regression'",
        ),
    ],
)
def test_an_impossible_target_is_refused(kind: Any, classes: tuple[str, ...], said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        Target("t", kind, classes)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"values": (0, 0)}, "a value of its own"),
        ({"values": (0, 1, 2)}, "a value of its own"),
        ({"values": (0, -1)}, "whole numbers from 0"),
        ({"values": (0, 0.5)}, "whole numbers from 0"),
        ({"kind": "multi-class", "values": (0, 1)}, "only the classes of a segmentation"),
        ({"prefix": "count"}, "'_' at its end"),
        ({"prefix": "a b_"}, "'_' at its end"),
    ],
)
def test_values_and_prefixes_that_do_not_fit_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        Target(**({"name": "t", "kind": "segmentation", "classes": ("a", "b")} | fields))


# What a manifest is


def test_columns_are_put_in_order_with_one_type_whatever_the_loader_made() -> None:
    table = frame(kind=["u", "v", "u", "v"])[["kind", "target", "part", "group", "path", "case"]]
    variants = [
        table,
        table.astype(dict.fromkeys(table.columns, "object")),
        table.astype({"target": "category", "part": "category"}),
        table.set_index(pd.Index([7, 7, 3, 1])),
    ]
    made = [manifest(each, covariates=("kind",)).frame for each in variants]
    assert list(made[0].columns) == ["case", "path", "group", "part", "target", "kind"]
    assert isinstance(made[0].index, pd.RangeIndex)
    for each in made[1:]:
        pd.testing.assert_frame_equal(
            each[["case", "path", "group", "part", "target"]],
            made[0][["case", "path", "group", "part", "target"]],
        )
    assert made[0]["target"].isna().tolist() == [False, False, False, True]


def test_the_loaders_own_table_is_left_alone() -> None:
    table = frame(part=...)
    before = table.copy()
    made = manifest(table)
    pd.testing.assert_frame_equal(table, before)
    assert made.frame["part"].isna().all()


def test_a_file_lies_below_the_root() -> None:
    assert manifest().file(1) == Path("/data/x/b.png")
    assert manifest(frame(path=["ä ö/x.png", "b", "c", "d"])).file(0) == Path("/data/ä ö/x.png")


def test_multi_label_targets_are_0_1_or_unknown() -> None:
    table = frame(target=..., target_round=[0, 1, None, 1], target_red=[True, False, True, False])
    made = manifest(table, target=LABELS).frame
    assert made["target_round"].tolist()[:2] == [0.0, 1.0]
    assert np.isnan(made["target_round"].iloc[2])
    assert made["target_red"].dtype == np.float64
    said = fault(frame(target=..., target_round=[0, 2, 0.5, 1], target_red=["yes", 0, 1, 1]), target=LABELS)
    assert "'target_round' is 0, 1 or NaN; found 2.0, 0.5 in row 1, 2" in said
    assert "'target_red' is 0, 1 or NaN; found 'yes' in row 0" in said


def test_masks_are_paths_or_unknown() -> None:
    made = manifest(frame(target=..., mask=["m/a.png", None, "m/c.png", "m/d.png"]), target=REGION)
    assert list(made.frame.columns) == ["case", "path", "group", "part", "mask"]
    assert made.frame["mask"].isna().tolist() == [False, True, False, False]
    said = fault(frame(target=..., mask=["/m/a.png", "../b.png", "", "m\\d.png"]), target=REGION)
    assert "column 'mask' is POSIX and relative, without '..'; found '/m/a.png', '../b.png'" in said
    assert "column 'mask' is a path or NA; found '' in row 2" in said


def test_several_targets_stand_side_by_side() -> None:
    table = frame(count_target=["1", "3 or more", None, "2"])
    made = manifest(table, further=(COUNT,))
    assert made.targets == (BINARY, COUNT)
    assert list(made.frame.columns) == ["case", "path", "group", "part", "target", "count_target"]
    assert "'count_target' is one of 1, 2, 3 or more or NA; found '4'" in fault(
        frame(count_target=["4", None, "1", "2"]), further=(COUNT,)
    )
    assert "column 'count_target' is missing" in fault(frame(), further=(COUNT,))


@pytest.mark.parametrize(
    ("target", "further", "said"),
    [
        (BINARY, (Target("x", "binary", ("a", "b")),), "each further one has one of its own"),
        (COUNT, (), "the first target has no prefix"),
        (BINARY, (COUNT, Target("other", "ordinal", ("1", "2"), "count_")), "two targets have the prefix"),
        (BINARY, (COUNT, Target("count", "ordinal", ("1", "2"), "n_")), "two targets have the name 'count'"),
    ],
)
def test_targets_that_cannot_be_told_apart_are_refused(
    target: Target, further: tuple[Target, ...], said: str
) -> None:
    assert said in fault(frame(), target=target, further=further)


def test_groups_may_be_unknown_for_all_cases_and_not_for_some() -> None:
    for nothing in (None, np.nan):
        made = manifest(frame(group=[nothing] * 4))
        assert made.frame["group"].isna().all()
        assert made.frame["group"].dtype == made.frame["case"].dtype
    assert "column 'group' is never empty" in fault(frame(group=["g", None, None, None]))
    assert "column 'group' is never empty" in fault(frame(group=[""] * 4))


def test_a_unit_lies_within_one_group() -> None:
    made = manifest(frame(event=["e1", "e1", "e2", "e3"]), covariates=("event",), unit="event")
    assert made.unit == "event"
    assert made.subset([0, 1]).unit == "event"
    said = fault(frame(event=["e1", "e1", "e2", "e2"]), covariates=("event",), unit="event")
    assert "column 'event' is in only one group, as the unit; found 'e2' in row 2, 3" in said
    said = fault(frame(event=["e1", None, "e2", "e3"]), covariates=("event",), unit="event")
    assert "column 'event' is never empty, as the unit; found nan in row 1" in said
    assert "the unit 'event' is not one of the covariates" in fault(frame(), unit="event")
    unknown = frame(group=[None] * 4, event=["e1", "e1", "e2", "e3"])
    assert len(manifest(unknown, covariates=("event",), unit="event")) == 4


def test_no_two_slices_of_a_volume_have_one_place() -> None:
    columns: dict[str, Any] = {"covariates": ("volume", "slice"), "unit": "volume"}
    volume = ["v1", "v1", "v2", "v3"]
    assert len(manifest(frame(volume=volume, slice=[0, 1, 0, 0]), **columns)) == 4
    said = fault(frame(volume=volume, slice=[1, 1, 1, 0]), **columns)
    assert "column 'slice' is another in each image of a volume; found 1 in row 0, 1" in said


# What is refused


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"case": ["a", "b", "b", "d"]}, "column 'case' is unique; found 'b' in row 1, 2"),
        ({"case": ["a", "", "c", "d"]}, "column 'case' is never empty; found '' in row 1"),
        ({"case": ["a", None, "c", "d"]}, "column 'case' is never empty"),
        ({"case": [True, "b", "c", "d"]}, "column 'case' is text; found True in row 0"),
        ({"group": ["g", None, "g", "g"]}, "column 'group' is never empty"),
        ({"group": ["g", ("h",), "g", "g"]}, "column 'group' is text; found ('h',) in row 1"),
        ({"path": ["/a", "b", "c", "d"]}, "column 'path' is POSIX and relative"),
        ({"path": ["a/../../b", "b", "c", "d"]}, "column 'path' is POSIX and relative"),
        ({"path": ["a", "b", "c", ".."]}, "found '..' in row 3"),
        ({"path": ["x\\a.png", "b", "c", "d"]}, "column 'path' is POSIX and relative"),
        ({"path": ["a\0", "b", "c", "d"]}, "column 'path' is POSIX and relative"),
        ({"part": ["train", "val", "test", "dev"]}, "found 'val', 'dev' in row 1, 3"),
        ({"target": ["no", "maybe", "yes", "no"]}, "column 'target' is one of no, yes or NA; found 'maybe'"),
        ({"target": [0, 1, 0, 1]}, "column 'target' is text"),
        ({"path": ..., "group": ...}, "column 'path', 'group' is missing"),
        ({"age": [1, 2, 3, 4]}, "column 'age' is neither a target nor a named covariate"),
    ],
)
def test_a_fault_is_named_with_column_value_and_row(columns: dict[str, Any], said: str) -> None:
    assert said in fault(frame(**columns))


def test_names_with_two_dots_inside_are_no_way_out() -> None:
    assert len(manifest(frame(path=["a..b/c.png", "..a", "b..", "x/...y"]))) == 4


def test_all_faults_are_told_at_once() -> None:
    said = fault(
        frame(case=["a"] * 4, path=["/x"] * 4, part=["val"] * 4, target=["maybe"] * 4, group=[""] * 4)
    )
    for column in ("case", "path", "part", "target", "group"):
        assert f"column '{column}' is" in said
    assert said.count("\n") == 0


def test_many_faulty_rows_are_counted_not_listed() -> None:
    many = pd.DataFrame({"case": [f"c{n}" for n in range(900)], "path": "p", "group": "g", "target": "maybe"})
    said = fault(many)
    assert "and 895 more" in said
    assert len(said) < 300


def test_columns_that_stand_twice_and_reserved_names_are_refused() -> None:
    twice = pd.concat([frame(), frame()[["group"]]], axis=1)
    assert "column 'group' stands twice" in fault(twice)
    assert "'part' stands twice" in fault(frame(), covariates=("part",))
    assert "'score_no': this name is kept" in fault(frame(score_no=[1, 1, 1, 1]), covariates=("score_no",))
    assert "column 'age' is missing" in fault(frame(), covariates=("age",))
    said = fault(
        frame(count_target=["1"] * 4, count_score_1=1.0), further=(COUNT,), covariates=("count_score_1",)
    )
    assert "'count_score_1': this name is kept" in said
    measured = frame(target=..., mask="m", truth_inside=1)
    assert "'truth_inside': this name is kept" in fault(measured, target=REGION, covariates=("truth_inside",))
    assert len(manifest(frame(truth_inside=1), covariates=("truth_inside",))) == 4


def test_a_name_in_another_encoding_is_a_fault_not_a_traceback() -> None:
    table = frame().astype("object")
    table.loc[2, "path"] = "x/\udcff.png"
    assert "column 'path' is valid Unicode" in fault(table)


def test_an_empty_manifest_is_possible_and_stays_typed(tmp_path: Path) -> None:
    empty = manifest(frame().iloc[:0])
    assert len(empty) == 0
    empty.save(tmp_path / "m.parquet")
    assert len(Manifest.load(tmp_path / "m.parquet", "/data")) == 0


# Subsets


def test_a_subset_takes_a_mask_or_rows_in_their_order() -> None:
    made = manifest()
    assert made.subset([True, False, True, False]).frame["case"].tolist() == ["a", "c"]
    assert made.subset(np.array([3, 0])).frame["case"].tolist() == ["d", "a"]
    assert made.subset(made.frame["group"] == "g1").frame.index.tolist() == [0, 1]
    assert len(made.subset([])) == 0
    assert made.subset([0]).target == BINARY
    with pytest.raises(DatasetError, match="a mask of 3 for 4 cases"):
        made.subset([True, False, True])
    with pytest.raises(DatasetError, match="case' is unique"):
        made.subset([0, 0])


# Files


def test_what_is_saved_comes_back_equal(tmp_path: Path) -> None:
    table = frame(
        case=["ä", "b,\n\"c'", "NA", "d" * 3000],
        age=[1.5, None, 3.0, 4.0],
        seen=pd.to_datetime(["2020-01-01", None, "2021-01-01", "2022-01-01"]),
        count=[1, 2, 3, 4],
    )
    made = manifest(table, covariates=("age", "seen", "count"), notes=("one", "zwei, ö"))
    file = tmp_path / "part=test" / "m.parquet"
    made.save(file)
    back = Manifest.load(file, "/elsewhere")
    pd.testing.assert_frame_equal(back.frame, made.frame)
    for name in ("dataset", "group", "target", "covariates", "notes"):
        assert getattr(back, name) == getattr(made, name)
    assert back.root == Path("/elsewhere")
    assert b"/data" not in file.read_bytes()
    made.save(tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == file.read_bytes()


def test_masks_units_and_further_targets_come_back_equal(tmp_path: Path) -> None:
    table = frame(
        target=...,
        mask=["a", None, "c", "d"],
        count_target=["1", None, "2", "3 or more"],
        group=[None] * 4,
        volume=["v", "v", "w", "x"],
        slice=[0, 1, 0, 0],
        spacing=["5 1 1", "5 1 1", None, None],
    )
    made = manifest(
        table, target=REGION, further=(COUNT,), covariates=("volume", "slice", "spacing"), unit="volume"
    )
    made.save(tmp_path / "m.parquet")
    back = Manifest.load(tmp_path / "m.parquet", "/data")
    pd.testing.assert_frame_equal(back.frame, made.frame)
    assert (back.targets, back.unit, back.covariates) == (made.targets, "volume", made.covariates)
    assert back.target.values == (0, 255)


def test_multi_label_comes_back_equal(tmp_path: Path) -> None:
    made = manifest(frame(target=..., target_round=[0, 1, None, 1], target_red=[1, 0, 1, 0]), target=LABELS)
    made.save(tmp_path / "m.parquet")
    back = Manifest.load(tmp_path / "m.parquet", "/data")
    pd.testing.assert_frame_equal(back.frame, made.frame)
    assert back.target == LABELS


def test_what_is_no_manifest_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such manifest"):
        Manifest.load(tmp_path / "none.parquet", "/data")
    (tmp_path / "text.parquet").write_text("nonsense")
    with pytest.raises(DatasetError, match="not a readable manifest"):
        Manifest.load(tmp_path / "text.parquet", "/data")
    (tmp_path / "empty.parquet").write_bytes(b"")
    with pytest.raises(DatasetError, match="not a readable manifest"):
        Manifest.load(tmp_path / "empty.parquet", "/data")
    frame().to_parquet(tmp_path / "plain.parquet")
    with pytest.raises(DatasetError, match="not a manifest of graftwork"):
        Manifest.load(tmp_path / "plain.parquet", "/data")
    manifest().save(tmp_path / "cut.parquet")
    whole = (tmp_path / "cut.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match="not a readable manifest"):
        Manifest.load(tmp_path / "cut.parquet", "/data")


def test_a_manifest_whose_metadata_was_changed_is_checked_again(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    def change(**changes: Any) -> None:
        manifest().save(tmp_path / "m.parquet")
        table = pq.read_table(tmp_path / "m.parquet")
        about = json.loads(table.schema.metadata[b"graftwork.manifest"]) | changes
        about = {name: value for name, value in about.items() if value is not ...}
        said = {**table.schema.metadata, b"graftwork.manifest": json.dumps(about).encode()}
        pq.write_table(table.replace_schema_metadata(said), tmp_path / "m.parquet")

    target = {"name": "diagnosis", "kind": "binary"}
    change(targets=[{**target, "classes": ["no", "other"]}])
    with pytest.raises(DatasetError, match="found 'yes'"):
        Manifest.load(tmp_path / "m.parquet", "/data")
    for changes in ({"unit": ...}, {"targets": ...}):
        change(**changes)
        with pytest.raises(DatasetError, match="not a manifest of graftwork"):
            Manifest.load(tmp_path / "m.parquet", "/data")
    for targets in ([], [{**target, "classes": ["no", "yes"], "colour": "red"}], [target]):
        change(targets=targets)
        with pytest.raises(DatasetError, match="not a readable manifest"):
            Manifest.load(tmp_path / "m.parquet", "/data")


def test_a_place_where_nothing_can_be_written_is_an_error_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        manifest().save(tmp_path / "file" / "m.parquet")
