"""Splits of sets that are not like a clinic's: groups that are met again, unknown groups, rare classes, masks."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from graftwork.common.data.manifest import PARTS, Manifest
from graftwork.common.data.splits import SEEN, SharedGroups, Split, split
from graftwork.common.data.targets import Target
from graftwork.common.errors import DatasetError, LeakError, TableError, UsageError

BINARY = Target("state", "binary", ("no", "yes"))


def manifest(
    groups: Any, targets: Any, events: Any = None, target: Target = BINARY, parts: Any = None, **more: Any
) -> Manifest:
    count = len(groups)
    column = target.columns[0]
    table: dict[str, Any] = {
        "case": [f"case{row}" for row in range(count)],
        "path": [f"{row}.png" for row in range(count)],
        "group": groups,
        "part": [None] * count if parts is None else parts,
        column: targets,
    }
    unit: dict[str, Any] = {}
    if events is not None:
        table["event"] = events
        unit = {"covariates": ("event",), "unit": "event"}
    return Manifest(pd.DataFrame(table), Path("/data"), "d/x", "place", target, **unit, **more)


def events(places: int = 12, each: int = 20, frames: int = 3, seed: int = 0, **more: Any) -> Manifest:
    """Places with events of up to `frames` frames; the frames of an event show the same."""
    chance = np.random.default_rng(seed)
    rows = []
    for place in range(places):
        for event in range(each):
            shown = ("no", "yes")[event % 2]
            rows += [(f"p{place}", f"p{place}e{event}", shown)] * int(chance.integers(1, frames + 1))
    group, event_of, shown_of = zip(*rows, strict=True)
    return manifest(group, shown_of, event_of, **more)


def table(made: Split) -> pd.DataFrame:
    return made.manifest.frame.assign(part=made.parts)


# Cases set aside in the groups that train


@settings(max_examples=60, deadline=None)
@given(
    places=st.integers(4, 20),
    each=st.integers(2, 15),
    frames=st.integers(1, 5),
    share=st.sampled_from([0.05, 0.2, 0.4]),
    seed=st.integers(0, 10**6),
)
def test_seen_is_of_groups_that_train_and_of_no_unit_that_does(
    places: int, each: int, frames: int, share: float, seed: int
) -> None:
    try:
        made = split(events(places, each, frames, seed), seed=seed, seen=share)
    except DatasetError as error:  # each place keeps one event, which leaves too few
        assert each <= 3 and "can be set aside as seen" in str(error)
        return
    rows = table(made)
    train, seen = rows[rows["part"] == "train"], rows[rows["part"] == SEEN]
    elsewhere = rows[rows["part"].isin(["validation", "test"])]
    assert len(seen)
    assert set(seen["group"]) <= set(train["group"])
    assert not set(seen["group"]) & set(elsewhere["group"])
    assert not set(seen["event"]) & set(train["event"])
    assert set(train["target"]) == {"no", "yes"}
    assert made.shared_units == SharedGroups("train", SEEN, 0, pd.concat([train, seen])["event"].nunique())
    # as closely as whole units allow
    assert abs(len(seen) - share * (len(train) + len(seen))) <= 2 * frames
    assert [pair.shared for pair in made.proof()] == [0, 0, 0] and made.leaks == 0


def test_seen_takes_from_train_alone_and_nothing_where_none_is_asked_for() -> None:
    made_of = events()
    without, with_seen = split(made_of), split(made_of, seen=0.25)
    assert len(without.seen) == 0
    for part in ("validation", "test"):
        assert without.rows(part).tolist() == with_seen.rows(part).tolist()
    assert with_seen.seen.frame["case"].tolist() == table(with_seen).query("part == 'seen'")["case"].tolist()
    assert sorted([*with_seen.rows("train"), *with_seen.rows(SEEN)]) == without.rows("train").tolist()
    member = made_of.frame["target"] == "yes"
    of_train = member[without.rows("train")].mean()
    assert member[with_seen.rows(SEEN)].mean() == pytest.approx(of_train, abs=0.05)


def test_what_is_seen_depends_on_seed_and_names_alone() -> None:
    made_of = events()
    there = dict(zip(made_of.frame["case"], split(made_of, seen=0.2, seed=3).parts, strict=True))
    order = np.random.default_rng(0).permutation(len(made_of))
    again = split(made_of.subset(order), seen=0.2, seed=3)
    assert dict(zip(again.manifest.frame["case"], again.parts, strict=True)) == there
    other = split(made_of, seen=0.2, seed=4)
    assert dict(zip(made_of.frame["case"], other.parts, strict=True)) != there


def test_each_case_is_its_own_unit_where_none_is_told() -> None:
    made = split(manifest(np.repeat([f"p{n}" for n in range(10)], 20), ["no", "yes"] * 100), seen=0.2)
    rows = table(made)
    assert len(made.seen) == pytest.approx(0.2 * (rows["part"].isin(["train", SEEN])).sum(), abs=1)
    assert made.shared_units.of == rows["part"].isin(["train", SEEN]).sum()


def test_a_class_of_one_unit_is_learned_from_and_not_set_aside() -> None:
    made_of = manifest(
        [f"p{n}" for n in range(10) for _ in range(20)],
        ["c" if n == 33 else "ab"[n % 2] for n in range(200)],
        target=Target("t", "multi-class", ("a", "b", "c")),
    )
    for seed in range(20):
        made = split(made_of, seed=seed, seen=0.3)
        assert made.parts[33] != SEEN


def test_seen_works_with_the_publishers_parts() -> None:
    made_of = events(places=10)
    parts = made_of.frame["group"].map(
        lambda name: {"p8": "validation", "p9": "test", "p7": "test"}.get(name, "train")
    )
    given = manifest(
        made_of.frame["group"], made_of.frame["target"], made_of.frame["event"], parts=parts.tolist()
    )
    made = split(given, by="publisher", validation=0, seen=0.2)
    assert (made.parts[parts == "test"] == "test").all()
    assert set(made.seen.frame["group"]) <= {f"p{n}" for n in range(7)}
    assert len(made.seen) > 0


def test_groups_of_one_unit_have_nothing_to_set_aside() -> None:
    with pytest.raises(DatasetError, match=r"each place keeps one case to learn from.*split\.seen"):
        split(manifest([f"p{n}" for n in range(40)], ["no", "yes"] * 20), seen=0.2)
    with pytest.raises(DatasetError, match=r"0\.6 of all were asked for"):
        split(manifest([f"p{n // 2}" for n in range(80)], ["no", "yes"] * 40), seen=0.6)
    for share in (-0.1, 1.0, float("nan")):
        with pytest.raises(UsageError, match=r"split\.seen"):
            split(events(), seen=share)


def test_seen_comes_back_from_its_file(tmp_path: Path) -> None:
    made = split(events(), seen=0.2, seed=5)
    made.save(tmp_path / "split.csv")
    back = Split.load(tmp_path / "split.csv", made.manifest, seed=5)
    pd.testing.assert_series_equal(back.parts, made.parts)
    assert back.seen.frame["case"].tolist() == made.seen.frame["case"].tolist()


def test_a_unit_that_trains_and_is_seen_cannot_be_built() -> None:
    made_of = manifest(["p"] * 3 + ["q"], ["no", "yes", "no", "yes"], ["e1", "e1", "e2", "e3"])
    whole = Split(made_of, pd.Series([SEEN, SEEN, "train", "test"]), "group", 0, False)
    assert whole.shared_units == SharedGroups("train", SEEN, 0, 2)
    for allow in (False, True):  # a leak of groups may be studied; this would only be a mistake
        with pytest.raises(LeakError, match=r"1 of 2 units \(event\) stand both in train and in seen"):
            Split(made_of, pd.Series([SEEN, "train", "train", "test"]), "group", 0, allow)


def test_seen_of_a_group_that_never_trains_cannot_be_built() -> None:
    made_of = manifest(["p", "p", "q", "r"], ["no", "yes", "no", "yes"])
    with pytest.raises(TableError, match="no case of their group"):
        Split(made_of, pd.Series(["train", "train", SEEN, "test"]), "group", 0, False)
    with pytest.raises(LeakError, match="train and test share 1"):
        Split(made_of, pd.Series([SEEN, "test", "train", "test"]), "group", 0, False)


# Groups that the data do not tell


@pytest.mark.parametrize("by", ["group", "publisher"])
def test_a_set_without_groups_cannot_be_split_and_the_reason_is_said(by: Any) -> None:
    made_of = manifest([None] * 40, ["no", "yes"] * 20, parts=["train"] * 30 + ["test"] * 10)
    with pytest.raises(DatasetError) as caught:
        split(made_of, by=by)
    said = str(caught.value)
    assert "no case has a place" in said
    assert "the score would be too optimistic" in said
    assert "Find out the place" in said
    with pytest.raises(DatasetError, match="no case has a place"):
        Split(made_of, pd.Series(["train", "test"] * 20), "group", 0, True)


# Classes that do not stand everywhere


def species(rare: int = 2, seed: int = 0) -> Manifest:
    """Twenty places; two classes everywhere, `rare` of them at one place each, one at two places."""
    chance = np.random.default_rng(seed)
    names = ("a", "b", "pair", *(f"rare{n}" for n in range(rare)))
    group = np.repeat(np.arange(20), 12)
    shown = chance.choice(["a", "b"], len(group))
    for number, place in enumerate(chance.permutation(20)[:rare]):
        shown = shown.astype(object)
        shown[np.flatnonzero(group == place)[:3]] = f"rare{number}"
    for place in chance.permutation(20)[:2]:
        shown[np.flatnonzero(group == place)[-2:]] = "pair"
    return manifest([f"p{n}" for n in group], shown, target=Target("species", "multi-class", names))


def test_rare_classes_are_learned_from_and_their_absence_is_said(caplog: pytest.LogCaptureFixture) -> None:
    for seed in range(10):
        made_of = species(seed=seed)
        with caplog.at_level(logging.WARNING, "graftwork"):
            made = split(made_of, seed=seed)
        seen_in = {part: set(made.manifest.frame["target"][made.rows(part)]) for part in PARTS}
        assert seen_in["train"] == {"a", "b", "pair", "rare0", "rare1"}
        assert {"a", "b", "pair"} <= seen_in["test"]
        assert made.absent == [
            f"No case of {', '.join(sorted({'pair', 'rare0', 'rare1'} - seen_in['validation']))} in the "
            "validation part; figures of such a class are undefined there.",
            "No case of rare0, rare1 in the test part; figures of such a class are undefined there.",
        ]
        assert all(sentence in caplog.text for sentence in made.absent)


@pytest.mark.parametrize(("validation", "test"), [(0.0, 0.6), (0.6, 0.1), (0.1, 0.6)])
def test_rare_classes_are_learned_from_however_small_the_train_part(validation: float, test: float) -> None:
    for seed in range(10):
        made = split(species(seed=seed), validation=validation, test=test, seed=seed)
        assert set(made.train.frame["target"]) == {"a", "b", "pair", "rare0", "rare1"}
        assert "pair" in set(made.test.frame["target"])


def test_what_stands_nowhere_is_said_once() -> None:
    made_of = manifest(
        [f"p{n}" for n in range(30)],
        ["a", "b"] * 15,
        target=Target("t", "ordinal", ("a", "b", *(f"c{n}" for n in range(7)))),
    )
    assert split(made_of).absent == ["No case of c0, c1, c2, c3, c4 and 2 more in the whole set."]
    assert split(manifest([f"p{n}" for n in range(30)], ["no", "yes"] * 15)).absent == []


def test_what_cannot_be_learned_is_refused() -> None:
    kinds = Target("species", "multi-class", ("a", "b", "c"))
    with pytest.raises(DatasetError, match="only a in the train part"):
        split(manifest([f"p{n}" for n in range(30)], ["a"] * 30, target=kinds))
    shown = ["a", "b"] * 5 + [None] * 20
    with pytest.raises(DatasetError, match="no known species in the test part"):
        split(
            manifest([f"p{n}" for n in range(30)], shown, target=kinds, parts=["train"] * 20 + ["test"] * 10),
            by="publisher",
        )


# Masks, and several targets


def test_a_segmentation_is_split_by_cases_alone_and_volumes_stay_whole() -> None:
    patients = np.repeat([f"p{n}" for n in range(30)], 9)
    made_of = manifest(
        patients,
        [f"m/{n}.png" for n in range(270)],
        events=[f"{name}v{n % 9 // 5}" for n, name in enumerate(patients)],
        target=Target("region", "segmentation", ("background", "inside")),
    )
    made = split(made_of, seed=1)
    rows = table(made)
    assert (rows.groupby("event")["part"].nunique() == 1).all() and made.leaks == 0
    assert rows["part"].value_counts().to_dict() == {"train": 180, "test": 54, "validation": 36}
    assert made.absent == []


def test_masks_that_are_unknown_are_parted_like_those_that_are_known() -> None:
    masks = [f"m/{n}.png" if n % 10 == 0 else None for n in range(300)]
    target = Target("region", "segmentation", ("background", "inside"))
    made = split(manifest([f"p{n}" for n in range(300)], masks, target=target))
    there = table(made).dropna(subset="mask")["part"].value_counts()
    assert there["test"] == 6 and there["validation"] in (4, 5)
    with pytest.raises(DatasetError, match="no known region in the train part"):
        split(manifest([f"p{n}" for n in range(30)], [None] * 30, target=target))


def test_the_first_target_alone_is_stratified_by() -> None:
    made_of = species()
    frame = made_of.frame.drop(columns="part").assign(count_target=["1"] * 100 + ["2"] * 140)
    both = Manifest(
        frame,
        Path("/data"),
        "d/x",
        "place",
        made_of.target,
        further=(Target("count", "ordinal", ("1", "2"), "count_"),),
    )
    assert split(both).parts.tolist() == split(made_of).parts.tolist()
