"""Events of camera traps: known by an id, or built from gaps in time and never from clock bins."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, strategies as some

from graftwork.domains.camera_trap.sequences import Moment, moment, sequences


def frames(*times: str, location: str = "A") -> list[Moment]:
    return [Moment(location, moment(time), f"IMG_{number:04d}") for number, time in enumerate(times)]


def together(moments: list[Moment]) -> list[list[int]]:
    """Rows of each event, in the order of first rows."""
    found: dict[str, list[int]] = {}
    for row, (event, _) in enumerate(sequences(moments)):
        found.setdefault(event, []).append(row)
    return list(found.values())


def test_a_burst_over_midnight_and_over_a_minutes_edge_is_one_event() -> None:
    midnight = frames("2020-12-31 23:59:58", "2020-12-31 23:59:59", "2021-01-01 00:00:01")
    assert together(midnight) == [[0, 1, 2]]
    assert sequences(midnight)[0] == ("A 2020-12-31 23:59:58", 1)
    assert together(frames("2021-01-01 10:04:59", "2021-01-01 10:05:00", "2021-01-01 10:05:01")) == [
        [0, 1, 2]
    ]


def test_a_gap_of_60_s_holds_together_and_one_of_61_s_parts() -> None:
    assert together(frames("2021-01-01 10:00:00", "2021-01-01 10:01:00", "2021-01-01 10:02:01")) == [
        [0, 1],
        [2],
    ]
    # each gap counts, not the length of the whole: twenty frames, 50 s apart
    begun = datetime(2021, 1, 1)
    walk = [Moment("A", begun + timedelta(seconds=50 * step), f"{step:02d}") for step in range(20)]
    assert together(walk) == [list(range(20))]


def test_locations_are_never_put_together() -> None:
    both = [*frames("2021-01-01 10:00:00"), *frames("2021-01-01 10:00:00", location="B")]
    assert together(both) == [[0], [1]]


def test_equal_seconds_are_ordered_by_fraction_then_name() -> None:
    time = moment("2021-01-01 10:00:00")
    later = moment("2021-01-01 10:00:00.5")
    moments = [Moment("A", later, "a"), Moment("A", time, "c"), Moment("A", time, "b")]
    assert [number for _, number in sequences(moments)] == [3, 2, 1]


def test_what_tells_no_time_or_no_place_is_alone() -> None:
    time = moment("2021-01-01 10:00:00")
    moments = [Moment("A", None, "a"), Moment("A", None, "b"), Moment("", time, "c"), Moment("", time, "d")]
    assert together(moments) == [[0], [1], [2], [3]]


def test_ids_go_before_times_and_are_made_unique_by_location() -> None:
    time = moment("2021-01-01 10:00:00")
    later = moment("2021-01-01 11:00:00")
    known = [Moment("A", time, "a", "s1"), Moment("A", later, "b", "s1"), Moment("A", time, "c")]
    assert together(known) == [[0, 1], [2]]
    numbered = [Moment("A", time, "a", "1"), Moment("B", time, "b", "1")]
    assert [event for event, _ in sequences(numbered)] == ["A/1", "B/1"]


def test_told_numbers_are_kept_where_each_frame_has_its_own() -> None:
    time = moment("2021-01-01 10:00:00")
    told = [Moment("A", time, "a", "s", 3), Moment("A", time, "b", "s", 5)]
    assert [number for _, number in sequences(told)] == [3, 5]
    doubled = [Moment("A", time, "a", "s", 3), Moment("A", time, "b", "s", 3)]
    assert [number for _, number in sequences(doubled)] == [1, 2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2012-05-08 19:23:36", datetime(2012, 5, 8, 19, 23, 36)),
        ("2012:05:08 19:23:36", datetime(2012, 5, 8, 19, 23, 36)),
        ("2012/5/8 19:23:36", datetime(2012, 5, 8, 19, 23, 36)),
        ("2012-05-08T19:23:36.25", datetime(2012, 5, 8, 19, 23, 36, 250000)),
        ("2012-05-08 19:23", datetime(2012, 5, 8, 19, 23)),
        ("2012/05/08 9:23:36", datetime(2012, 5, 8, 9, 23, 36)),
        ("2012-5-8 10:00:00", datetime(2012, 5, 8, 10)),
        ("2012/5/8 9:23", datetime(2012, 5, 8, 9, 23)),
        ("2012:5:8T9:23:36.5", datetime(2012, 5, 8, 9, 23, 36, 500000)),
        ("2012-05-08 01:00:00 PM", datetime(2012, 5, 8, 13)),
        ("2012/5/8 9:23 am", datetime(2012, 5, 8, 9, 23)),
        ("2012-05-08 12:05:00 a.m.", datetime(2012, 5, 8, 0, 5)),
        ("2012-05-08 12:05:00\u202fPM", datetime(2012, 5, 8, 12, 5)),
    ],
)
def test_times_as_they_are_written(text: str, expected: datetime) -> None:
    assert moment(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2012-05-08",
        "05/08/2012 19:23",
        "0000-00-00 00:00:00",
        "noon",
        "20120508",
        "5/8/2012 9:23",
        "2012-5-8",
        "2012-13-8 9:23",
        "2012-05-08 13:00 PM",
        "2012-05-08 0:30 AM",
    ],
)
def test_what_is_no_time_or_two_is_unknown(text: str) -> None:
    assert moment(text) is None


def test_offsets_are_heeded() -> None:
    assert together(frames("2020-07-29T07:29:41+02:00", "2020-07-29T05:29:50Z")) == [[0, 1]]


@given(some.lists(some.integers(0, 3000), min_size=1, max_size=40), some.randoms())
def test_events_do_not_depend_on_the_order_of_rows(seconds: list[int], chance: object) -> None:
    begun = datetime(2021, 1, 1, 23, 30)
    moments = [Moment("A", begun + timedelta(seconds=each), f"{row:03d}") for row, each in enumerate(seconds)]
    straight = dict(zip((each.name for each in moments), sequences(moments), strict=True))
    chance.shuffle(moments)  # type: ignore[attr-defined]
    assert dict(zip((each.name for each in moments), sequences(moments), strict=True)) == straight
    # neighbours in time belong together exactly where the gap is at most a minute
    ordered = sorted(moments, key=lambda each: (each.time or begun, each.name))
    for before, after in pairwise(ordered):
        assert before.time is not None and after.time is not None
        near = (after.time - before.time).total_seconds() <= 60
        assert (straight[before.name][0] == straight[after.name][0]) == near
