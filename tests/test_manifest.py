"""The manifest: what is valid, what is refused (all at once), and that it comes back from a file as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from graftwork.common.errors import DatasetError, RunError
from graftwork.common.manifest import Manifest, Target

BINARY = Target("diagnosis", "binary", ("no", "yes"))
LABELS = Target("signs", "multi-label", ("round", "red"))


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


@pytest.mark.parametrize(
    ("kind", "classes", "said"),
    [
        ("binary", ("a",), "two classes"),
        ("binary", ("a", "b", "c"), "two classes"),
        ("multi-class", ("a",), "at least 2"),
        ("multi-label", (), "at least 1"),
        ("multi-class", ("a", "b", "a"), "twice"),
        ("multi-class", ("a", " "), "names"),
        ("ordinal", ("a", "b"), "binary, multi-class, multi-label"),
    ],
)
def test_an_impossible_target_is_refused(kind: Any, classes: tuple[str, ...], said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        Target("t", kind, classes)


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


# What is refused


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"case": ["a", "b", "b", "d"]}, "column 'case' is unique; found 'b' in row 1, 2"),
        ({"case": ["a", "", "c", "d"]}, "column 'case' is never empty; found '' in row 1"),
        ({"case": ["a", None, "c", "d"]}, "column 'case' is never empty"),
        ({"case": [1, 2, 3, 4]}, "column 'case' is text; found 1, 2, 3, 4 in row 0, 1, 2, 3"),
        ({"group": ["g", None, "g", "g"]}, "column 'group' is never empty"),
        ({"group": ["g", 2.0, "g", "g"]}, "column 'group' is text; found 2.0 in row 1"),
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

    manifest().save(tmp_path / "m.parquet")
    table = pq.read_table(tmp_path / "m.parquet")
    about = json.loads(table.schema.metadata[b"graftwork.manifest"])
    about["target"]["classes"] = ["no", "other"]
    said = {**table.schema.metadata, b"graftwork.manifest": json.dumps(about).encode()}
    pq.write_table(table.replace_schema_metadata(said), tmp_path / "m.parquet")
    with pytest.raises(DatasetError, match="found 'yes'"):
        Manifest.load(tmp_path / "m.parquet", "/data")


def test_a_place_where_nothing_can_be_written_is_an_error_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        manifest().save(tmp_path / "file" / "m.parquet")
