"""Names and groups that are not believed: look-alikes, one case a group, files and addresses for groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest
from PIL import Image

from graftwork.common.data.checks import Finding, check
from graftwork.common.data.group_keys import group_doubts, name_doubts
from graftwork.common.data.manifest import Manifest
from graftwork.common.data.splits import Split, split
from graftwork.common.data.targets import Target
from graftwork.common.errors import DatasetError, GraftworkError, LeakError, UsageError
from graftwork.common.recipe import load, to_toml
from graftwork.common.recipe.allowances import ALLOWANCES, known_allowances
from graftwork.common.recipe.sections import Allowance

TARGET = Target("t", "binary", ("no", "yes"))


def made(groups: list[Any], root: Path = Path("/data"), target: Target = TARGET, **more: Any) -> Manifest:
    """Cases of these groups, two classes in turn; `more`: columns (lists) and fields of the manifest."""
    columns = {name: value for name, value in more.items() if isinstance(value, list)}
    fields = {name: value for name, value in more.items() if not isinstance(value, list)}
    count = len(groups)
    frame = pd.DataFrame(
        {
            "case": [f"case-{row}" for row in range(count)],
            "path": [f"images/{row}.png" for row in range(count)],
            "group": groups,
            "target": [target.classes[row // 2 % 2] for row in range(count)],
            **columns,
        }
    )
    fields["covariates"] = tuple(name for name in columns if name not in ("case", "path"))
    return Manifest(frame, root, "d/x", "patient", target, **fields)


def pairs(count: int, name: str = "p{}") -> list[Any]:
    return [name.format(row // 2) for row in range(2 * count)]


def kinds(manifest: Manifest) -> list[tuple[str, str]]:
    return [(doubt.kind, doubt.severity) for doubt in name_doubts(manifest)]


# Normal forms


@pytest.mark.parametrize("spelt", ["p3 ", " p3", "p3\u00a0", "p3\u200b", "\tp3", "\ufeffp3"])
def test_groups_are_equal_whatever_their_white_space(spelt: str) -> None:
    groups = pairs(8)
    groups[7] = spelt
    manifest = made(groups)
    assert manifest.frame["group"].tolist() == pairs(8)
    note = f"1 value of `group` had white space or Unicode forms normalised, such as {spelt!r}"
    assert manifest.notes == (note,)
    assert kinds(manifest) == []


def test_composed_and_decomposed_letters_are_one_name() -> None:
    groups = [name for n in range(8) for name in (f"Caf\u00e9 {n}", f"Cafe\u0301 {n}")]
    manifest = made(groups)
    assert manifest.frame["group"].nunique() == 8
    assert manifest.notes[0].startswith("8 values of `group`")


def test_numbers_of_a_loader_become_text_and_are_no_change() -> None:
    manifest = made([7, 7.0, 1.10, "7", *pairs(4)])
    assert manifest.frame["group"].tolist()[:4] == ["7", "7", "1.1", "7"]
    assert manifest.notes == ()
    assert made(pairs(4), case=[*range(8)]).frame["case"].tolist() == [str(n) for n in range(8)]


def test_classes_parts_units_and_covariates_are_normalised_and_paths_are_not() -> None:
    target = Target("t", "binary", ("Re\u0301gion\u00a0a", "b "))
    assert target.classes == ("R\u00e9gion a", "b")
    manifest = made(
        pairs(4),
        target=target,
        path=[f" x{n}.png" for n in range(8)],
        event=["e1 ", "e1", *(f"e{n}" for n in range(2, 8))],
        site=["north  side", "north side", *["south"] * 6],
        mask=[f"m/{n} .png" for n in range(8)],
        unit="event",
    )
    frame = manifest.frame
    assert frame["path"].tolist() == [f" x{n}.png" for n in range(8)]
    assert frame["mask"].tolist() == [f"m/{n} .png" for n in range(8)]
    assert frame["event"].tolist()[:2] == ["e1", "e1"] and frame["site"].nunique() == 2
    assert [note.split("`")[1] for note in manifest.notes] == ["event", "site"]
    parted = frame.assign(target=["b\u00a0 ", *frame["target"][1:]], part=["train "] * 8)
    again = Manifest(parted, Path("/data"), "d/x", "patient", target, manifest.covariates)
    assert set(again.frame["part"]) == {"train"} and again.frame["target"].iloc[0] == "b"


def test_two_classes_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(DatasetError, match=r"look-alike classes: 'a\\xa0b', 'a b' are equal"):
        Target("t", "multi-class", ("a\u00a0b", "a b", "c"))


def test_a_cell_that_is_only_like_a_class_is_refused_with_the_nearest() -> None:
    with pytest.raises(DatasetError, match=r"'Yes' in row 1; 'Yes' looks like 'yes'"):
        Manifest(made(["p", "p"]).frame.assign(target=["no", "Yes"]), Path("/d"), "d/x", "p", TARGET)


def test_two_cases_that_become_one_are_refused_by_name() -> None:
    with pytest.raises(DatasetError, match=r"'case' is unique; found 'a', 'a ' in row 0, 1"):
        made(pairs(2), case=["a", "a ", "b", "c"])


def test_a_manifest_of_an_older_version_keeps_its_names(tmp_path: Path) -> None:
    groups = ["p0", "p0 ", *pairs(6, "q{}")]
    old = made(groups, as_written=True)
    assert old.frame["group"].tolist() == groups
    old.save(tmp_path / "old.parquet")
    assert Manifest.load(tmp_path / "old.parquet", "/d").frame["group"].tolist() == groups
    made(groups).save(tmp_path / "new.parquet")
    new = Manifest.load(tmp_path / "new.parquet", "/d")
    assert new.frame["group"].nunique() == 7 and len(new.notes) == 1


# Look-alikes


@pytest.mark.parametrize(
    ("one", "other"), [("P7", "p7"), ("7", "007"), ("7", "7.0"), ("A-7", "A7"), ("x_1", "X 1"), ("№7", "no7")]
)
def test_groups_that_look_alike_are_a_finding_and_no_split_is_made(one: str, other: str) -> None:
    manifest = made([one, other, one, *pairs(10, "q{}")])
    (doubt,) = group_doubts(manifest)
    assert (doubt.kind, doubt.severity, doubt.count) == ("look-alike-groups", "error", 1)
    assert f"{one!r} (2 cases)" in doubt.examples[0] and f"{other!r} (1 case)" in doubt.examples[0]
    with pytest.raises(LeakError, match="--allow look-alike-groups") as caught:
        split(manifest, seed=1)
    assert repr(one) in str(caught.value) and repr(other) in str(caught.value)
    allowed = split(manifest, seed=1, allow=("look-alike-groups",))
    assert allowed.allow == ("look-alike-groups",) and len(allowed.doubts) == 1


def test_ids_are_text_and_separators_of_digits_count() -> None:
    assert kinds(made(["1.10", "1.1", "1.10", "1-11", "11-1", *pairs(6)])) == []


def test_units_look_alike_within_a_group_only() -> None:
    event = [f"e{n}" for n in range(8)]
    apart = made(pairs(4), event=["7", "8", "07", *event[3:]], unit="event")
    assert kinds(apart) == []
    within = made(pairs(4), event=["7", "07", *event[2:]], unit="event")
    assert kinds(within) == [("look-alike-units", "error")]
    with pytest.raises(LeakError, match="look-alike-units"):
        split(within)


def test_classes_that_look_alike_are_refused_and_signs_tell_them_apart() -> None:
    target = Target("t", "multi-class", ("Vole", "vole", "Shrew"))
    with pytest.raises(DatasetError, match="--allow look-alike-classes"):
        split(made(pairs(20), target=target))
    for classes in (("HER2+", "HER2-"), ("<5", ">5")):
        assert kinds(made(pairs(8), target=Target("t", "binary", classes))) == []


def test_cases_and_covariates_that_look_alike_are_findings_and_do_not_stop_a_split() -> None:
    manifest = made(
        pairs(10), case=["IMG_1", "img_1", *(f"c{n}x" for n in range(18))], site=["North", "north"] * 10
    )
    assert kinds(manifest) == [("look-alike-cases", "error"), ("look-alike-values", "error")]
    assert split(manifest).doubts == ()


# Keys that are none


def test_each_case_a_group_is_said_by_check_and_split(caplog: pytest.LogCaptureFixture) -> None:
    manifest = made([f"p{n}" for n in range(24)])
    (doubt,) = name_doubts(manifest)
    assert (doubt.kind, doubt.severity) == ("group-key", "error")
    said = "each of the 24 cases is its own group; a split by patient is then a split by image"
    assert doubt.what == said
    parts = split(manifest)  # published sets of one image a patient exist
    assert said in caplog.text and [each.what for each in parts.doubts] == [said]


def test_a_dataset_of_one_image_a_group_says_so_and_it_is_a_note() -> None:
    manifest = made([f"p{n}" for n in range(24)], one_case_groups=True)
    assert kinds(manifest) == []
    assert manifest.notes == (
        "each of the 24 cases is its own group; a split by patient is then a split by image",
    )


@pytest.mark.parametrize("column", ["case", "path"])
def test_a_group_that_repeats_the_case_or_the_path_is_said(column: str) -> None:
    frame = made(pairs(8)).frame
    manifest = made(frame[column].tolist())
    assert any("repeats the names of cases or files" in doubt.what for doubt in name_doubts(manifest))
    some = [frame[column].iloc[0], *pairs(8)[1:]]
    assert any("1 of 16 cases have their own name" in doubt.what for doubt in name_doubts(made(some)))


@pytest.mark.parametrize(
    "name",
    [
        "https://x.org/i/{}",
        "gs://bucket/{}",
        "www.x.org/{}",
        "/mnt/data/{}",
        "C:\\data\\{}",
        "{}.jpg",
        "a/{}.nii.gz",
    ],
)
def test_files_paths_and_addresses_are_no_groups(name: str) -> None:
    manifest = made(pairs(10, name))
    assert ("group-key", "error") in kinds(manifest)
    with pytest.raises(LeakError, match=r"named like files, paths or addresses.*--allow group-key"):
        split(manifest)
    assert split(manifest, allow=["group-key"]).leaks == 0


def test_places_with_a_slash_or_a_point_are_groups() -> None:
    assert (
        kinds(made([*pairs(5, "Survey 2019/Site {}"), *pairs(5, "St. Mary {}"), *pairs(4, "v1.{}a")])) == []
    )


def test_a_constant_group_is_a_finding() -> None:
    assert kinds(made(["p"] * 8)) == [("group-key", "error")]


def test_groups_within_another_column_that_looks_like_a_key() -> None:
    groups = pairs(12, "deployment {}")
    place = [f"place {n // 4}" for n in range(24)]
    nested = made(groups, location=place)
    assert kinds(nested) == [("group-key", "warning")]
    assert "12 groups (patient) lie within 6 values of 'location'" in name_doubts(nested)[0].what
    across = [*place[:-1], "place 0"]
    assert kinds(made(groups, location=across)) == []
    assert kinds(made(groups, colour=["red", "blue"] * 12)) == []


def test_a_check_lists_doubts_and_notes(tmp_path: Path) -> None:
    groups = ["P1", "p1", "p2 ", "p2", *pairs(6, "q{}")]
    manifest = made(groups, root=tmp_path)
    (tmp_path / "images").mkdir()
    for row in range(len(groups)):
        Image.new("L", (40, 40), 10 * row).save(manifest.file(row))
    found = check(manifest, workers=0)
    (alike,) = [each for each in found.findings if each.kind == "look-alike-groups"]
    assert isinstance(alike, Finding) and alike.severity == "error"
    assert alike.examples == ("'P1' (1 case) = 'p1' (1 case)",)
    assert found.notes == manifest.notes and found.to_json()["notes"] == list(manifest.notes)


# What is allowed


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'look-alikes'; expected one of leak, look-alike-groups"):
        split(made(pairs(10)), allow=("look-alikes",))
    assert known_allowances(["group-key", "leak", "leak"]) == ("leak", "group-key")


def test_leak_is_a_name_too() -> None:
    manifest = made(pairs(10))
    frame = manifest.frame.assign(part=["train", "test"] * 10)
    leaky = Manifest(frame, Path("/d"), "d/x", "patient", TARGET)
    with pytest.raises(LeakError):
        split(leaky, by="publisher", validation=0.2)
    assert split(leaky, by="publisher", validation=0.2, allow=["leak"]).allow_leak


def test_a_recipe_keeps_what_is_allowed_and_older_digests_stay() -> None:
    text = 'title = "A"\ndataset = "a/b"\n[strategy]\nname = "full"\n'
    recipe = load(text, overrides=['split.allow=["look-alike-groups"]', "split.allow_leak=true"])
    assert recipe.split.allowed == ("leak", "look-alike-groups")
    assert load(to_toml(recipe)) == recipe
    older = load(text)
    assert older.digest() == "a44a5e81b9023b1fa4736c0aa1f48d76c0478c338b186b79e9379c09fd5b6769", (
        "the key came later"
    )
    assert older.digest() != load(text, overrides=['split.allow=["group-key"]']).digest()
    with pytest.raises(GraftworkError, match=r"split.allow.*expected a list of 'leak', 'look-alike-groups'"):
        load(text, overrides=['split.allow=["everything"]'])
    assert set(ALLOWANCES) == set(get_args(Allowance))


def test_a_saved_split_opens_with_groups_that_look_alike(tmp_path: Path) -> None:
    manifest = made(["P1", "p1", *pairs(10)])
    parts = split(manifest, allow=("look-alike-groups",))
    parts.save(tmp_path / "split.csv")
    assert Split.load(tmp_path / "split.csv", manifest).allow == ()


def test_a_group_that_says_there_is_none_is_no_group() -> None:
    groups = [*pairs(8), "nan", "nan", "NA"]  # one case alone joins nobody
    (doubt,) = group_doubts(made(groups))
    assert (doubt.kind, doubt.count, doubt.examples) == ("group-key", 2, ("'nan' (2)",))
    with pytest.raises(LeakError, match="2 cases have a patient that says that there is none"):
        split(made(groups), validation=0.2, test=0.2, seed=0)
    assert split(made(groups), validation=0.2, test=0.2, seed=0, allow=("group-key",))
    (doubt,) = group_doubts(made([*pairs(8), "Unknown", "Unknown"]))
    assert doubt.examples == ("'Unknown' (2)",)
    assert not group_doubts(made([*pairs(8), "Nancy", "Nancy"]))
