"""Splits: no group in two parts, shares met, classes in each part, the same for the same seed and for no other."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings, strategies as st

from graftwork.common.data.manifest import PARTS, Manifest
from graftwork.common.data.splits import SharedGroups, Split, split
from graftwork.common.data.splits.assignment import allot
from graftwork.common.data.targets import Target
from graftwork.common.errors import DatasetError, LeakError, TableError, UsageError


def manifest(
    groups: Any, targets: Any, parts: Any = None, classes: tuple[str, ...] = ("no", "yes")
) -> Manifest:
    count = len(groups)
    frame = pd.DataFrame(
        {
            "case": [f"case{row}" for row in range(count)],
            "path": [f"{row}.png" for row in range(count)],
            "group": [str(group) for group in groups],
            "part": [None] * count if parts is None else parts,
            "target": targets,
        }
    )
    kind = "binary" if len(classes) == 2 else "multi-class"
    return Manifest(frame, Path("/data"), "d/x", "patient", Target("t", kind, classes))


def many(count: int = 600, groups: int = 200, classes: int = 2, seed: int = 0) -> Manifest:
    """Groups of very different size; a group leans towards one class."""
    chance = np.random.default_rng(seed)
    names = tuple("abcdefgh"[:classes]) if classes > 2 else ("no", "yes")
    weight = chance.pareto(1.5, groups) + 0.2
    group = chance.choice(groups, count, p=weight / weight.sum())
    own = chance.integers(0, classes, groups)
    target = np.where(chance.random(count) < 0.8, own[group], chance.integers(0, classes, count))
    return manifest(group, [names[value] for value in target], classes=names)


def shares(made: Split) -> dict[str, float]:
    return {part: len(made.rows(part)) / len(made.manifest) for part in PARTS}


def together(made: Split) -> bool:
    """Whether each group stands in one part; said without the code that is tested."""
    table = pd.DataFrame({"group": made.manifest.frame["group"], "part": made.parts})
    return bool((table.groupby("group")["part"].nunique() == 1).all())


def by_case(made: Split) -> dict[str, str]:
    return dict(zip(made.manifest.frame["case"], made.parts, strict=True))


# Grouped splits


@settings(max_examples=150, deadline=None)
@given(
    data=st.lists(st.tuples(st.integers(0, 25), st.sampled_from(["no", "yes"])), min_size=20, max_size=120),
    validation=st.sampled_from([0.0, 0.1, 0.15, 0.3]),
    test=st.sampled_from([0.0, 0.2, 0.4]),
    seed=st.integers(0, 2**40),
)
def test_no_group_ever_stands_in_two_parts(
    data: list[tuple[int, str]], validation: float, test: float, seed: int
) -> None:
    made_of = manifest([group for group, _ in data], [target for _, target in data])
    wanted = {"validation": validation, "test": test, "train": 1 - validation - test}
    active = [part for part, share in wanted.items() if share > 0]
    stands = made_of.frame.groupby("target")["group"].nunique()
    assume(len(stands) == 2 and stands.min() >= len(active))
    made = split(made_of, validation=validation, test=test, seed=seed)
    assert together(made)
    assert made.leaks == 0
    assert all(pair.shared == 0 for pair in made.proof())
    biggest = made_of.frame["group"].value_counts().iloc[0]
    for part, share in wanted.items():
        rows = made.rows(part)
        assert (len(rows) == 0) == (share == 0)
        # as closely as whole groups allow: never off by more than the biggest one
        assert abs(len(rows) - share * len(made_of)) <= biggest
    assert sorted(np.concatenate([made.rows(part) for part in PARTS])) == list(range(len(made_of)))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**9), shuffle=st.randoms(use_true_random=False))
def test_the_order_of_rows_has_no_say(seed: int, shuffle: Any) -> None:
    made_of = many(150, 60)
    order = list(range(len(made_of)))
    shuffle.shuffle(order)
    there = by_case(split(made_of, seed=seed))
    assert by_case(split(made_of.subset(order), seed=seed)) == there
    assert by_case(split(made_of, seed=seed)) == there


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**9), groups=st.integers(6, 60), shuffle=st.randoms(use_true_random=False))
def test_the_order_of_groups_has_no_say(seed: int, groups: int, shuffle: Any) -> None:
    chance = np.random.default_rng(seed)
    classes = chance.integers(0, 4, (groups, 2)) + np.array([1, 0])
    counts = np.column_stack([classes, classes.sum(1)]).astype(np.int64)
    names = [f"g{n}" for n in range(groups)]
    order = list(range(groups))
    shuffle.shuffle(order)
    wanted = np.array([0.2, 0.15, 0.65])
    there = allot(names, counts, wanted, seed)
    again = allot([names[n] for n in order], counts[order], wanted, seed)
    assert again.tolist() == there[order].tolist()


def test_the_same_seed_gives_the_same_split_on_every_machine() -> None:
    made_of = manifest([f"p{n}" for n in range(20)], ["no", "yes"] * 10)
    made = split(made_of, validation=0.2, test=0.2, seed=0)
    for own in (range(0, 20, 2), range(1, 20, 2)):  # of each class
        order = sorted(
            (f"p{n}" for n in own), key=lambda name: hashlib.sha256(f"0\0{name}".encode()).digest()
        )
        assert set(order[:2]) <= set(made.test.frame["group"])
        assert set(order[2:4]) <= set(made.validation.frame["group"])
    # another result here means that published splits have changed
    assert made.test.frame["group"].tolist() == ["p2", "p12", "p15", "p17"]


def test_another_seed_gives_another_split() -> None:
    made_of = many()
    parts = [tuple(split(made_of, seed=seed).parts) for seed in range(10)]
    assert len(set(parts)) == 10
    apart = np.mean([a != b for a, b in zip(parts[0], parts[1], strict=True)])
    assert apart > 0.3


def test_every_group_has_the_same_chance_of_testing() -> None:
    """Great groups and small ones alike: a test part of small groups alone would be another population."""
    chance = np.random.default_rng(1)
    sizes = np.repeat([1, 2, 4, 8], 30)
    group = np.repeat(np.arange(len(sizes)), sizes)
    made_of = manifest(group, chance.choice(["no", "yes"], len(sizes))[group])
    times = np.zeros(len(sizes))
    for seed in range(100):
        times[np.unique(group[split(made_of, seed=seed).rows("test")])] += 1
    shares_of = [times[sizes == size].mean() / 100 for size in (1, 2, 4, 8)]
    assert all(0.12 < share < 0.28 for share in shares_of), shares_of


def test_test_stays_when_only_validation_changes() -> None:
    made_of = manifest(range(1000), ["no", "yes"] * 500)
    one, other = split(made_of, validation=0.1), split(made_of, validation=0.3)
    kept = set(one.rows("test")) & set(other.rows("test"))
    assert len(kept) >= 0.95 * len(one.rows("test"))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("classes", [2, 5])
def test_shares_and_classes_are_met(seed: int, classes: int) -> None:
    made_of = many(2000, 500, classes, seed)
    made = split(made_of, validation=0.15, test=0.2, seed=seed)
    assert together(made)
    for part, share in {"train": 0.65, "validation": 0.15, "test": 0.2}.items():
        assert shares(made)[part] == pytest.approx(share, abs=0.005)
        for label in made_of.target.classes:
            member = made_of.frame["target"] == label
            # with many classes one group may hold half of one, and goes where its name sends it
            near = 0.02 if classes == 2 else 0.05
            assert (member & (made.parts == part)).sum() / member.sum() == pytest.approx(share, abs=near)


def test_a_few_great_groups_are_parted_as_well_as_can_be() -> None:
    group = np.repeat(range(6), [60, 10, 10, 10, 5, 5])
    made = split(manifest(group, ["no", "yes"] * 50), validation=0.2, test=0.2, seed=3)
    assert shares(made) == {"train": 0.6, "validation": 0.2, "test": 0.2}


def test_a_rare_class_stands_in_each_part() -> None:
    group = np.arange(300)
    target = np.where(group < 3, "c", np.where(group % 2 == 0, "a", "b"))
    made_of = manifest(group, target, classes=("a", "b", "c"))
    for seed in range(8):
        made = split(made_of, seed=seed)
        assert all((made.manifest.frame["target"][made.rows(part)] == "c").sum() == 1 for part in PARTS)


def test_unknown_targets_are_parted_with_the_others() -> None:
    target = [None if n % 4 == 0 else ("no", "yes")[n % 2] for n in range(400)]
    made = split(manifest(range(400), target))
    unknown = made.manifest.frame["target"].isna()
    assert (unknown & (made.parts == "test")).sum() / unknown.sum() == pytest.approx(0.2, abs=0.01)


def test_labels_that_stand_together_are_each_met() -> None:
    chance = np.random.default_rng(0)
    count = 3000
    group = chance.integers(0, 900, count)
    frame = pd.DataFrame(
        {
            "case": [f"c{n}" for n in range(count)],
            "path": [f"{n}.png" for n in range(count)],
            "group": [f"g{n}" for n in group],
            "target_a": (chance.random(count) < 0.3).astype(float),
            "target_b": (chance.random(count) < 0.05).astype(float),
            "target_c": np.where(np.arange(count) == 0, 1.0, 0.0),  # too rare for three parts, and no error
        }
    )
    frame.loc[5:50, "target_a"] = np.nan
    made = split(Manifest(frame, Path("/x"), "d/x", "patient", Target("t", "multi-label", ("a", "b", "c"))))
    for column in ("target_a", "target_b"):
        positive = frame[column] == 1
        assert (positive & (made.parts == "test").to_numpy()).sum() / positive.sum() == pytest.approx(
            0.2, abs=0.02
        )


def test_half_a_million_rows_take_seconds() -> None:
    chance = np.random.default_rng(0)
    made_of = many(1000, 100)
    count = 500_000
    group = chance.integers(0, 200_000, count)
    frame = pd.DataFrame(
        {
            "case": np.char.add("c", np.arange(count).astype(str)),
            "path": np.char.add("p/", np.arange(count).astype(str)),
            "group": np.char.add("g", group.astype(str)),
            "target": chance.choice(["no", "yes"], count),
        }
    )
    big = Manifest(frame, Path("/x"), "d/x", "patient", made_of.target)
    begun = time.process_time()
    made = split(big)
    assert time.process_time() - begun < 15  # 1 s on an idle core
    assert shares(made)["test"] == pytest.approx(0.2, abs=1e-4)
    assert made.leaks == 0


# What cannot be split


def test_one_group_only_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"one group only \(patient p\)"):
        split(manifest(["p"] * 40, ["no", "yes"] * 20))


def test_fewer_groups_than_parts_are_refused() -> None:
    with pytest.raises(DatasetError, match="2 groups only"):
        split(manifest(["p", "q"] * 20, ["no", "yes"] * 20))
    assert together(split(manifest(["p", "p", "q", "q"] * 10, ["no", "yes"] * 20), validation=0))


def test_a_class_too_small_to_stand_in_each_part_is_named() -> None:
    target = ["yes"] * 2 + ["no"] * 98
    with pytest.raises(DatasetError, match=r"'yes' \(2\)"):
        split(manifest(range(100), target))
    made = split(manifest(range(100), target), validation=0)
    assert {made.parts[0], made.parts[1]} == {"train", "test"}


def test_one_class_only_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"'yes' \(0\)"):
        split(manifest(range(100), ["no"] * 100))


def test_no_case_is_refused() -> None:
    with pytest.raises(DatasetError, match="no case"):
        split(manifest([], []))


@pytest.mark.parametrize(
    ("fractions", "said"),
    [
        ({"test": 1.0}, "split.test"),
        ({"test": -0.1}, "split.test"),
        ({"validation": float("nan")}, "split.validation"),
        ({"validation": 0.5, "test": 0.5}, "nothing is left to train on"),
        ({"by": "patient"}, "by group or by publisher"),
    ],
)
def test_impossible_wishes_are_refused(fractions: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        split(many(), **fractions)


def test_parts_that_are_not_wanted_are_empty() -> None:
    made = split(many(), validation=0, test=0)
    assert len(made.train) == 600
    assert len(made.validation) == len(made.test) == 0


# The publisher's parts


def published(leak: bool = False, validation: bool = True) -> Manifest:
    parts = ["train"] * 60 + (["validation"] * 10 if validation else ["train"] * 10) + ["test"] * 30
    group = [f"p{n}" for n in range(100)]
    if leak:
        group[0] = group[-1]
        group[1] = group[-2]
    return manifest(group, ["no", "yes"] * 50, parts)


def test_the_publishers_parts_are_kept() -> None:
    made = split(published(), by="publisher", validation=0)
    assert made.parts.tolist() == published().frame["part"].tolist()
    assert made.by == "publisher"


def test_validation_is_drawn_from_the_publishers_train_and_validation() -> None:
    made = split(published(), by="publisher", validation=0.3, test=0.9)
    assert made.test.frame["case"].tolist() == published().subset(range(70, 100)).frame["case"].tolist()
    assert len(made.validation) == 21  # of the 70 that are pooled
    assert together(made)
    assert by_case(split(published(), by="publisher", validation=0.3, seed=1)) != by_case(made)


def test_groups_shared_by_the_publishers_parts_are_refused_and_counted() -> None:
    for validation in (0.0, 0.2):
        with pytest.raises(LeakError) as caught:
            split(published(leak=True), by="publisher", validation=validation)
        said = str(caught.value)
        assert "2 of 98 groups (patient)" in said
        assert "train and test share 2" in said
        assert "p98, p99" in said
        assert "--allow-leak" in said


def test_a_leak_may_be_studied() -> None:
    made = split(published(leak=True), by="publisher", validation=0, allow_leak=True)
    assert made.allow_leak
    assert made.leaks == 2
    assert made.proof()[1] == SharedGroups("train", "test", 2, 98)
    pooled = split(published(leak=True), by="publisher", validation=0.2, allow_leak=True)
    assert pooled.leaks == 2
    # the group of a leak is still in one of train and validation
    assert pooled.proof()[0].shared == 0


@pytest.mark.parametrize(
    ("parts", "validation", "said"),
    [
        (None, 0.1, "gives no parts"),
        (["train"] * 100, 0.1, "gives no test part"),
        (["test"] * 100, 0.1, "gives no train part"),
        (["train"] * 70 + ["test"] * 30, 0.0, "gives no validation part"),
        ([None] * 3 + ["train"] * 67 + ["test"] * 30, 0.1, "no part for 3 of 100 cases"),
    ],
)
def test_parts_that_the_publisher_does_not_give(parts: Any, validation: float, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        split(manifest(range(100), ["no", "yes"] * 50, parts), by="publisher", validation=validation)


def test_a_part_without_one_of_two_classes_is_refused() -> None:
    made_of = manifest(range(100), ["no"] * 70 + ["yes"] * 30, ["train"] * 80 + ["test"] * 20)
    with pytest.raises(DatasetError, match="no case of class 'no' in the test part"):
        split(made_of, by="publisher", validation=0.2)


# A split that leaks cannot be built


def test_a_split_with_a_group_in_two_parts_cannot_be_built() -> None:
    made_of = manifest(["p", "p", "q"], ["no", "yes", "no"])
    parts = pd.Series(["train", "test", "train"])
    with pytest.raises(LeakError, match=r"1 of 2 groups \(patient\).*: p\."):
        Split(made_of, parts, "group", 0, False)
    assert Split(made_of, parts, "group", 0, True).leaks == 1


def test_parts_that_do_not_fit_are_refused() -> None:
    made_of = manifest(["p", "p", "q"], ["no", "yes", "no"])
    with pytest.raises(TableError, match="2 parts for 3 cases"):
        Split(made_of, pd.Series(["train", "test"]), "group", 0, False)
    with pytest.raises(TableError, match="not 'val'"):
        Split(made_of, pd.Series(["train", "train", "val"]), "group", 0, False)
    with pytest.raises(TableError, match=r"not (nan|None)"):
        Split(made_of, pd.Series(["train", "train", None]), "group", 0, False)


def test_the_parts_are_manifests() -> None:
    made = split(many())
    assert len(made.train) + len(made.validation) + len(made.test) == 600
    assert made.test.frame["case"].tolist() == made.manifest.frame["case"][made.rows("test")].tolist()
    with pytest.raises(UsageError):
        made.rows("dev")


# Files


def test_a_split_comes_back_from_its_file(tmp_path: Path) -> None:
    names = ["NA", "a,b", 'c"d', "ü", "1", "e\nf", "null"]
    frame = pd.DataFrame(
        {
            "case": names,
            "path": [f"{n}.png" for n in range(7)],
            "group": names,
            "target": ["no", "yes"] * 3 + ["no"],
        }
    )
    made_of = Manifest(frame, Path("/x"), "d/x", "patient", Target("t", "binary", ("no", "yes")))
    made = split(made_of, validation=0.3, test=0.3, seed=5)
    made.save(tmp_path / "split.csv")
    text = (tmp_path / "split.csv").read_bytes()
    assert text.startswith(b"case,group,part\nNA,NA,")
    assert b"\r" not in text
    back = Split.load(tmp_path / "split.csv", made_of, by=made.by, seed=5)
    pd.testing.assert_series_equal(back.parts, made.parts)
    assert (back.by, back.seed, back.allow_leak) == ("group", 5, False)


def test_lines_may_come_in_another_order(tmp_path: Path) -> None:
    made = split(many())
    made.save(tmp_path / "split.csv")
    head, *lines = (tmp_path / "split.csv").read_text().splitlines()
    (tmp_path / "split.csv").write_text("\n".join([head, *reversed(lines)]) + "\n")
    assert by_case(Split.load(tmp_path / "split.csv", made.manifest)) == by_case(made)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda text: text.replace("case,group", "name,group"), TableError, "'case' is missing"),
        (lambda text: text.replace(",train\n", ",dev\n", 1), TableError, "'dev'"),
        (lambda text: text + "case0,1,train\n", TableError, "cases are there twice: 'case0'"),
        (lambda text: text + "new,1,train\n", TableError, "new"),
        (lambda text: text.rsplit("\n", 2)[0] + "\n", TableError, "has 39 cases, the manifest 40"),
        (lambda text: text.replace("case0,0,", "case0,1,"), TableError, "another group"),
        (lambda text: "", TableError, "not a readable table"),
        (lambda text: text.replace(",train\n", ",test\n", 1), LeakError, "1 of 20 groups"),
    ],
)
def test_a_split_that_was_tampered_with_is_refused(
    tmp_path: Path, change: Any, error: Any, said: str
) -> None:
    made = split(manifest([n // 2 for n in range(40)], ["no", "yes"] * 20))
    made.save(tmp_path / "split.csv")
    (tmp_path / "split.csv").write_text(change((tmp_path / "split.csv").read_text()))
    with pytest.raises(error, match=said):
        Split.load(tmp_path / "split.csv", made.manifest)


def test_a_split_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no such split"):
        Split.load(tmp_path / "split.csv", many())


def test_a_leak_is_read_where_it_is_allowed(tmp_path: Path) -> None:
    made = split(published(leak=True), by="publisher", validation=0, allow_leak=True)
    made.save(tmp_path / "split.csv")
    with pytest.raises(LeakError):
        Split.load(tmp_path / "split.csv", made.manifest)
    assert Split.load(tmp_path / "split.csv", made.manifest, allow_leak=True).leaks == 2
