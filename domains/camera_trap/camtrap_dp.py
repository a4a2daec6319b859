"""Camtrap DP packages: deployments, media and observations joined to one line a picture.

Read is what a classifier of frames needs of a package of version 0.1 or 1.0: of `media.csv` the file, its deployment
and its time, of `observations.csv` what was seen, for a medium or for a whole event, and the event. A deployment is a
camera at a place for a time: it is the group. (Format: https://camtrap-dp.tdwg.org)
"""

from __future__ import annotations

import bisect
import json
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from graftwork.common.errors import TableError
from graftwork.domains.camera_trap.columns import MISSING, Table, read_table
from graftwork.domains.camera_trap.labelling import Frame, bin_of, whole
from graftwork.domains.camera_trap.sequences import moment

__all__ = ["PACKAGE", "frames_of", "is_package"]

PACKAGE = "datapackage.json"
_TABLES = ("deployments", "media", "observations")
_NOTHING_SAID = ("unknown", "unclassified", "")  # observation types that tell no class
Row = Mapping[str, str]


def is_package(folder: Path) -> bool:
    """Whether a folder holds a Camtrap DP package: `datapackage.json` with the three tables."""
    try:
        resources = json.loads((folder / PACKAGE).read_text(encoding="utf-8-sig"))["resources"]
        names = {each["name"] for each in resources}
    except (OSError, ValueError, TypeError, KeyError):
        return False
    return set(_TABLES) <= names


def frames_of(folder: Path) -> tuple[list[Frame], list[str]]:
    """The frames of a package, and what a reader must know of it.

    Raises:
        TableError: a table is missing or damaged, lacks a column, or names a medium or deployment that is not listed.
    """
    tables = {name: _rows(_table(folder, name), name) for name in _TABLES}
    media, observations = tables["media"], tables["observations"]
    faults = _faults(tables)
    if faults:
        shown = faults[:20] + ([f"and {len(faults) - 20} more"] if len(faults) > 20 else [])
        raise TableError("cannot be used:" + "".join(f"\n  {fault}" for fault in shown), where=folder)
    of_medium: dict[str, list[Row]] = defaultdict(list)
    of_event: dict[str, list[Row]] = defaultdict(list)
    for row in observations:
        if row.get("mediaID"):
            of_medium[row["mediaID"]].append(row)
        elif event := _event(row) or _span_name(row):
            of_event[event].append(row)
    nameless = {_span_name(row) for row in observations} - {""}
    joined: set[str] = set()
    spans = _spans(observations)
    paths, far = _paths(media)
    frames = []
    own = 0
    for row, path in zip(media, paths, strict=True):
        seen = of_medium[row["mediaID"]]
        event = row.get("sequenceID", "") or next(filter(None, map(_event, seen)), "")
        around = _around(spans.get(row["deploymentID"], []), row.get("timestamp", ""))
        within = [each for each in around if each in nameless]
        event = event or next((each for each in around if each not in nameless), "") or (within or [""])[0]
        joined.update(within)
        # what was seen in the medium itself goes before what was seen in its event, whose animals it need not show
        told = seen or [each for name in dict.fromkeys([event, *within]) for each in of_event.get(name, [])]
        own += bool(seen)
        species = {_class(each) for each in told} - {""}
        frames.append(
            Frame(
                path=path,
                species=tuple(sorted(species)),
                empty=any(each.get("observationType") == "blank" for each in told),
                location=row["deploymentID"],
                time=row.get("timestamp", ""),
                sequence=event,
                count=_count(seen),
            )
        )
    notes = ["read from a Camtrap DP package; the location is the deployment"]
    notes += _shared_places(tables["deployments"])
    if own < len(frames):
        notes.append(
            f"{own} of {len(frames)} media have observations of their own; the others are labelled as their event, "
            "which they need not show: weak labels"
        )
    stray = sum(not (row.get("mediaID") or _event(row) or _span_name(row) in joined) for row in observations)
    if stray:
        notes.append(
            f"{stray} observations that name neither a medium nor an event are ignored: no medium of their deployment "
            "was taken between their eventStart and eventEnd"
        )
    if far:
        notes.append(f"{far} media are named by addresses; their file names were taken as paths")
    return frames, notes


def _table(folder: Path, name: str) -> Table:
    resources = json.loads((folder / PACKAGE).read_text(encoding="utf-8-sig"))["resources"]
    path = next((each.get("path") for each in resources if each.get("name") == name), None)
    if not isinstance(path, str):
        path = f"{name}.csv"
    return read_table(folder / path, ",", short=True)


def _rows(table: Table, name: str) -> list[Row]:
    wanted = {
        "deployments": ("deploymentID",),
        "media": ("mediaID", "deploymentID", "filePath"),
        "observations": ("deploymentID", "mediaID", "observationType", "scientificName"),
    }[name]
    lacking = [column for column in wanted if column not in table.header]
    if lacking:
        found = ", ".join(table.header)
        raise TableError(f"column {', '.join(lacking)} is missing; found: {found}", where=table.file)
    return [
        {column: "" if cell in MISSING else cell for column, cell in zip(table.header, row, strict=True)}
        for row in table.rows
    ]


def _faults(tables: Mapping[str, list[Row]]) -> list[str]:
    deployments = {row["deploymentID"] for row in tables["deployments"]}
    known: set[str] = set()
    faults = []
    for row in tables["media"]:
        if row["mediaID"] in known:
            faults.append(f"media: mediaID {row['mediaID']!r} stands twice")
        known.add(row["mediaID"])
        if row["deploymentID"] not in deployments:
            faults.append(
                f"media: {row['mediaID']} is of deployment {row['deploymentID']!r}, which is not listed"
            )
    faults += [
        f"observations: medium {row['mediaID']!r} is not listed"
        for row in tables["observations"]
        if row["mediaID"] and row["mediaID"] not in known
    ]
    return faults


def _event(row: Row) -> str:
    return row.get("eventID", "") or row.get("sequenceID", "")


def _span_name(row: Row) -> str:
    """A name for the time span of an observation that names neither a medium nor an event: what joins it to media;
    "" of other observations, and where the span is not told."""
    if row.get("mediaID") or _event(row) or row.get("observationLevel") == "media":
        return ""
    begin, end = row.get("eventStart", ""), row.get("eventEnd", "")
    told = moment(begin) is not None and moment(end) is not None
    return f"{row['deploymentID']} {begin}/{end}" if told else ""


def _class(row: Row) -> str:
    """The class of an observation: the animal's name, "human", "vehicle"; "" where it tells none."""
    kind = row.get("observationType", "")
    if kind == "animal":
        return row.get("scientificName", "")
    return "" if kind == "blank" or kind in _NOTHING_SAID else kind


def _count(seen: list[Row]) -> str:
    counts = [whole(row.get("count", "")) for row in seen if _class(row)]
    known = [count for count in counts if count is not None]
    return bin_of(sum(known)) if known and len(known) == len(counts) else ""


def _spans(observations: list[Row]) -> dict[str, list[tuple[datetime, datetime, str]]]:
    """Begin, end and id of the events of each deployment, in their order."""
    spans: dict[str, set[tuple[datetime, datetime, str]]] = defaultdict(set)
    for row in observations:
        begin, end = moment(row.get("eventStart", "")), moment(row.get("eventEnd", ""))
        name = _event(row) or _span_name(row)
        if name and begin is not None and end is not None:
            spans[row["deploymentID"]].add((_aware(begin), _aware(end), name))
    return {key: sorted(found) for key, found in spans.items()}


def _around(spans: list[tuple[datetime, datetime, str]], text: str) -> list[str]:
    """The events in whose time a medium was taken, the one that began last first."""
    time = moment(text)
    if time is None:
        return []
    now = _aware(time)
    found = []
    for begin, end, event in reversed(spans[: bisect.bisect_right(spans, now, key=lambda span: span[0])]):
        if begin <= now <= end:
            found.append(event)
        if (now - begin).total_seconds() > 86400:  # no event lasts so long
            break
    return found


def _aware(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


def _paths(media: list[Row]) -> tuple[list[str], int]:
    """A path for each medium, and how many are addresses in the web, of which the file's name is taken."""
    names = [row.get("fileName", "") or row["mediaID"] for row in media]
    again = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    paths = []
    far = 0
    for row, name in zip(media, names, strict=True):
        path = row["filePath"].replace("\\", "/").removeprefix("./")
        if "://" in path or not path:
            far += 1
            path = f"{row['deploymentID']}/{name}" if name in again else name
        paths.append(path)
    return paths, far


def _shared_places(deployments: list[Row]) -> list[str]:
    places: dict[str, int] = defaultdict(int)
    for row in deployments:
        places[row.get("locationID", "")] += 1
    shared = sum(times for place, times in places.items() if place and times > 1)
    if not shared:
        return []
    return [
        f"{shared} deployments share a location (locationID) with another; a split keeps deployments apart only"
    ]
