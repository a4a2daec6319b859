"""Events: the frames that belong together, known by an id or built from gaps in time at a camera.

An event is one passing of an animal, seen in one frame or in a burst of many. Frames of an event are near copies, so
they stay in one part and are counted once. Where a set does not say what belongs together, a new event begins when
the gap to the frame before, at the same location, is longer than a minute; a clock bin (all frames of 10:05) would
split bursts and join unrelated frames.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

GAP = 60.0  # seconds; a longer gap between frames of one location begins a new event

# 2012:05:08 19:23:36 as a camera writes it, 2012/5/8 9:23 as spreadsheets do; what fromisoformat does not take
_CLOCK = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:?\d\d")
_ISO = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:Z|[+-]\d\d:\d\d)?")
_DATE = re.compile(r"(\d{4})[-:/](\d{1,2})[-:/](\d{1,2})(?:([ T])(?:(\d)(?=:))?|$)")
# 01-May-2024 as Timelapse writes it: with the name of the month no day is taken for it
_NAMED = re.compile(
    r"(\d{1,2})[- ./](jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?[- ./,]+(\d{4})\b",
    re.IGNORECASE,
)
_MONTHS = "janfebmaraprmayjunjulaugsepoctnovdec"
_HALF = re.compile(r"([ T])(\d{1,2})(:[\d:.]+) ?([AP])\.? ?M\.?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Moment:
    """What a frame says of its place in time: location ("" where unknown), time, sequence and number in it ("",
    None where unknown), its name, which decides among equal times, and the folder of its visit ("" where folders are
    no visits)."""

    location: str
    time: datetime | None
    name: str
    sequence: str = ""
    number: int | None = None
    folder: str = ""


def moment(text: str) -> datetime | None:
    """A time from text, `2012-05-08 19:23:36`, with or without fraction and offset.

    Also read are colons or slashes in the date (year first), numbers of one digit (2012/5/8 9:23), AM or PM, and the
    month by its English name (8-May-2012). None where it is no time, is a day without a time, or could be read in two
    ways (05/08/2012).
    """
    said = text if _ISO.fullmatch(text) else _usual(text)
    if not _CLOCK.match(said):
        return None
    try:
        return datetime.fromisoformat(said)
    except ValueError:
        return None


def _usual(text: str) -> str:
    """A time in the form that `fromisoformat` takes, where it has one of the other forms."""
    said = _HALF.sub(_of_24, " ".join(text.split()))
    said = _NAMED.sub(_year_first, said, count=1)
    said = _DATE.sub(_padded, said, count=1)
    # 19:23:36.5 has one digit too few for Python 3.11 on some builds, and 19:23:36.123456789 three too many
    return re.sub(r"\.(\d+)", lambda found: f".{found[1][:6]:0<6}", said)


def _of_24(found: re.Match[str]) -> str:
    """9:23:36 PM as 21:23:36; an hour that no such clock shows (13:00 PM) stays as it is, and is not read."""
    hour = int(found[2])
    if not 1 <= hour <= 12:
        return found[0]
    return f"{found[1]}{hour % 12 + 12 * (found[4] in 'Pp'):02d}{found[3]}"


def _year_first(found: re.Match[str]) -> str:
    return f"{found[3]}-{_MONTHS.index(found[2].lower()) // 3 + 1:02d}-{int(found[1]):02d}"


def _padded(found: re.Match[str]) -> str:
    date = f"{found[1]}-{int(found[2]):02d}-{int(found[3]):02d}{found[4] or ''}"
    return f"{date}0{found[5]}" if found[5] else date


def sequences(moments: Sequence[Moment], gap: float = GAP) -> list[tuple[str, int]]:
    """The event of each frame, and its number in it, counted from 1; in the order of `moments`.

    Frames with a sequence id belong to the event of that id; where an id is used at several locations (cameras that
    count from 1), the location belongs to it. The others are grouped by time: at each location, in the order of
    (time, fraction of a second, name), a new event begins when the gap to the frame before is longer than `gap`
    seconds. It is named by its location and its first time. Where frames of different folders interleave in it (visits
    whose clock was reset), those of each folder are an event. Frames without a time or a location are each alone.
    Frame numbers are kept if each frame of an event has its own.
    """
    places: dict[str, set[str]] = defaultdict(set)
    for each in moments:
        if each.sequence:
            places[each.sequence].add(each.location)
    ambiguous = any(len(found) > 1 for found in places.values())

    events = [""] * len(moments)
    for row, each in enumerate(moments):
        if each.sequence:
            events[row] = f"{each.location}/{each.sequence}" if ambiguous else each.sequence
        else:
            events[row] = each.name
    for rows in _runs(moments, gap):
        event = f"{moments[rows[0]].location} {_stamp(moments[rows[0]])}"
        torn = _interleave(moments, rows)
        for row in rows:
            events[row] = f"{event} in {moments[row].folder}" if torn else event

    instants = [_instant(each) for each in moments]
    members: dict[str, list[int]] = defaultdict(list)
    for row, event in enumerate(events):
        members[event].append(row)
    numbers = [0] * len(moments)
    for rows in members.values():
        told = [moments[row].number for row in rows]
        if None not in told and len(set(told)) == len(told):
            for row in rows:
                numbers[row] = moments[row].number or 0
            continue
        ordered = sorted(rows, key=lambda row: (instants[row], moments[row].name))
        for number, row in enumerate(ordered, start=1):
            numbers[row] = number
    return list(zip(events, numbers, strict=True))


def interleaved(moments: Sequence[Moment], gap: float = GAP) -> list[tuple[str, ...]]:
    """The folders that interleave, for each run of frames at a location in which some do."""
    return [
        tuple(sorted({moments[row].folder for row in rows}))
        for rows in _runs(moments, gap)
        if _interleave(moments, rows)
    ]


def _runs(moments: Sequence[Moment], gap: float) -> Iterator[list[int]]:
    """Rows of frames without a sequence that follow each other at a location within `gap` seconds, in their order."""
    timed: dict[str, list[int]] = defaultdict(list)
    for row, each in enumerate(moments):
        if not each.sequence and each.time is not None and each.location:
            timed[each.location].append(row)
    for rows in timed.values():
        run: list[int] = []
        instants = {row: _instant(moments[row]) for row in rows}
        for row in sorted(rows, key=lambda row: (instants[row], moments[row].name)):
            if run and (instants[row] - instants[run[-1]]).total_seconds() > gap:
                yield run
                run = []
            run.append(row)
        yield run


def _interleave(moments: Sequence[Moment], rows: Sequence[int]) -> bool:
    """Whether the frames of a folder are parted by those of another."""
    order = [folder for folder, _ in groupby(moments[row].folder for row in rows)]
    return len(order) > len(set(order)) and "" not in order


def _instant(frame: Moment) -> datetime:
    """For ordering: a time without an offset is taken as it stands, one without a time comes first."""
    if frame.time is None:
        return datetime.min.replace(tzinfo=UTC)
    return frame.time.replace(tzinfo=UTC) if frame.time.tzinfo is None else frame.time.astimezone(UTC)


def _stamp(frame: Moment) -> str:
    return "" if frame.time is None else frame.time.isoformat(sep=" ")
