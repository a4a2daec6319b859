"""Camtrap DP packages: deployments, media and observations joined to one line an image.

Read is what a classifier of frames needs of a package of version 0.1 or 1.0: of the media the file, its deployment and
its time, of the observations what was seen, for a medium or for a whole event, and who said it. Ids of events count
within their deployment. (Format: https://camtrap-dp.tdwg.org)
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from graftwork.common.errors import TableError
from graftwork.common.names import clean_name
from graftwork.common.wording import fault_lines
from graftwork.domains.camera_trap.camtrap_observations import (
    Observation,
    Observations,
    observations_of,
    pick,
)
from graftwork.domains.camera_trap.camtrap_package import PACKAGE, PackageTable, package_tables
from graftwork.domains.camera_trap.clocks import aware, clock_doubt, outside
from graftwork.domains.camera_trap.labelling import Frame, bin_of, kind_of, spelling_note, whole
from graftwork.domains.camera_trap.sequences import moment

_SHOWN = 20  # faults in a message
_TRUE, _FALSE = ("true", "1", "yes", "t"), ("false", "0", "no", "f", "")
_KEYS = ("deploymentID", "locationID")
# columns whose values decide something; the others of a table are ignored, and named in a note
_USED = {
    "deployments": {
        "deploymentID",
        "locationID",
        "locationName",
        "deploymentStart",
        "deploymentEnd",
        "start",
        "end",
    }
    | {"timestampIssues", "latitude", "longitude"},
    "media": {"mediaID", "deploymentID", "timestamp", "filePath", "fileName", "fileMediatype"}
    | {"sequenceID", "eventID"},
}


def is_package(folder: Path) -> bool:
    """Whether a folder holds a `datapackage.json`, whatever it says."""
    return (folder / PACKAGE).is_file()


@dataclass
class _Deployment:
    """A camera at a location for a time: location, dates, and whether its clock is reported as wrong."""

    group: str
    begin: datetime | None
    end: datetime | None
    clock_wrong: bool


@dataclass
class _Media:
    """The images of a package, and what was left out."""

    rows: list[tuple[str, str, str, str]] = field(default_factory=list)  # medium, deployment, time, event
    paths: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    away: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def frames_of(folder: Path, group: str = "") -> tuple[list[Frame], list[str]]:
    """The frames of a package, and what a reader must know of it.

    Args:
        group: the column of `deployments` that is the group; "": the location (`locationID`) where deployments have
            one, each other deployment by itself.

    Raises:
        TableError: a table is missing or damaged, lacks a column, or its rows contradict each other (all of it).
        DatasetError: `datapackage.json` describes no such package.
    """
    tables, notes = package_tables(folder)
    faults: list[str] = []
    written: dict[str, Counter[str]] = defaultdict(Counter)
    group, said = _key(tables["deployments"], group, folder)
    deployments, more_said = _deployments(tables["deployments"], group, written, faults)
    said += more_said
    media = _media(tables["media"], folder, deployments, faults)
    of = {medium: deployment for medium, deployment, _, _ in media.rows}
    seen = observations_of(tables["observations"], of, media.away, set(deployments), written, faults)
    if faults:
        raise TableError(
            f"cannot be used:{fault_lines(faults, _SHOWN)}",
            where=folder,
            remedy="correct these rows; ids are what joins the tables of a package",
        )
    frames, more_notes = _frames(media, seen, deployments)
    names = ("read from a Camtrap DP package", *said)
    spelt = [spelling_note(counts, noun) for noun, counts in written.items()]
    ignored = [
        f"columns of {name} that are ignored, since they say nothing of the class, place or time of a frame: "
        f"{', '.join(unused)}"
        for name, used in _USED.items()
        if (
            unused := [
                column
                for column in tables[name].columns
                if column not in used | {group} and any(tables[name].cells(column))
            ]
        )
    ]
    return frames, [*names, *notes, *media.notes, *more_notes, *seen.notes, *filter(None, spelt), *ignored]


def _key(table: PackageTable, group: str, folder: Path) -> tuple[str, list[str]]:
    """The column of deployments that is the group ("": locationID, if present), and notes about it."""
    if group and group not in table.columns:
        raise TableError(
            f"there is no column {group!r} to group by (found {', '.join(table.columns)})",
            where=folder / PACKAGE,
            remedy=f"name one of them as group in columns.toml, such as {' or '.join(_KEYS)}",
        )
    if group:
        return group, [f"the group is the {group} of the deployment, as columns.toml says"]
    if not any(table.cells("locationID")) and all(table.cells("locationName")):
        return "locationName", [
            "the location is the locationName of the deployment: no deployment has a locationID"
        ]
    return "", []


def _deployments(
    table: PackageTable, group: str, written: dict[str, Counter[str]], faults: list[str]
) -> tuple[dict[str, _Deployment], list[str]]:
    places = table.cells(group or "locationID")
    noun = "location" if (group or "locationID") in ("locationID", "locationName") else group
    begins = [a or b for a, b in zip(table.cells("deploymentStart"), table.cells("start"), strict=True)]
    ends = [a or b for a, b in zip(table.cells("deploymentEnd"), table.cells("end"), strict=True)]
    found: dict[str, _Deployment] = {}
    unread: list[str] = []
    known = {clean_name(place) for place in places if place}
    lacking = turned = 0
    for row, key in enumerate(map(clean_name, table.cells("deploymentID"))):
        issues = table.cells("timestampIssues")[row].casefold()
        if not key:
            faults.append(f"deployments, row {row + 1}: deploymentID is empty (expected an id)")
            continue
        if key in found:
            faults.append(f"deployments: deploymentID {key!r} is there twice (expected once)")
        if issues not in _TRUE + _FALSE:
            faults.append(f"deployments: timestampIssues of {key!r} is {issues!r} (expected true or false)")
        place = clean_name(places[row])
        if places[row]:
            written[noun][places[row]] += 1
        elif group:
            faults.append(
                f"deployments: {group} of {key!r} is empty (expected a value, since the group is {group})"
            )
        lacking += not place
        unread += [text for text in (begins[row], ends[row]) if text and moment(_whole_day(text)) is None]
        own = f"deployment {key}" if key in known else key
        begin, end = moment(_whole_day(begins[row])), moment(_whole_day(ends[row]))
        if begin is not None and end is not None and aware(end) < aware(begin):
            turned += 1
            begin = end = None
        found[key] = _Deployment(place or own, begin, end, issues in _TRUE)
    notes = []
    if group:
        pass  # `_key` said which
    elif not lacking:
        notes.append("the location is the locationID of the deployment")
    elif lacking == len(found):
        notes.append("the location is the deployment: no deployment has a locationID")
        notes += _one_spot(table)
    else:
        notes.append(
            f"the location is the locationID of the deployment; {lacking} of {len(found)} deployments have none, and "
            "each of them is a location of its own"
        )
    if turned:
        notes.append(f"{turned} deployments end before they start: their start and end are not used")
    if group != "locationName":
        notes += _one_name(table, places)
    groups = Counter(each.group for each in found.values())
    shared = sum(count for count in groups.values() if count > 1)
    if shared:
        notes.append(f"{shared} deployments share a location with another: their frames are in one group")
    if unread:
        notes.append(f"{len(unread)} starts or ends of deployments cannot be read, such as {unread[0]!r}")
    return found, notes


def _whole_day(text: str) -> str:
    return f"{text} 00:00:00" if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else text


def _one_name(table: PackageTable, places: Sequence[str]) -> Iterator[str]:
    of: dict[str, set[str]] = defaultdict(set)
    for name, place, key in zip(
        table.cells("locationName"), places, table.cells("deploymentID"), strict=True
    ):
        if name:
            of[clean_name(name)].add(clean_name(place) or f"deployment {clean_name(key)}")
    shared = sorted(name for name, groups in of.items() if len(groups) > 1)
    if shared:
        yield (
            f"{len(shared)} locationNames belong to several groups ({', '.join(shared[:3])}), which may be one place: "
            'write a columns.toml with group = "locationName" alone where that is so'
        )


def _one_spot(table: PackageTable) -> Iterator[str]:
    spots = Counter(
        spot for spot in zip(table.cells("latitude"), table.cells("longitude"), strict=True) if all(spot)
    )
    shared = sum(count for count in spots.values() if count > 1)
    if shared:
        yield (
            f"{shared} deployments have the latitude and longitude of another, and may be at one place: name a column "
            "of deployments as group in columns.toml where that is so"
        )


def _media(
    table: PackageTable, folder: Path, deployments: Mapping[str, _Deployment], faults: list[str]
) -> _Media:
    media = _Media()
    known: dict[str, int] = {}
    names: list[str] = []
    given: list[str] = []
    columns = [
        table.cells(name)
        for name in (
            "mediaID",
            "deploymentID",
            "timestamp",
            "filePath",
            "fileName",
            "fileMediatype",
            "eventID",
            "sequenceID",
        )
    ]
    for row, (medium, deployment, time, path, name, kind, event, burst) in enumerate(
        zip(*columns, strict=True), 1
    ):
        medium, deployment = clean_name(medium), clean_name(deployment)
        if not medium:
            faults.append(f"media, row {row}: mediaID is empty (expected an id)")
            continue
        if medium in known:
            faults.append(f"media: mediaID {medium!r} is there twice (rows {known[medium]} and {row})")
        known[medium] = row
        if deployment not in deployments:
            faults.append(
                f"media: {medium!r} is of deployment {deployment!r}, which is not listed in deployments"
            )
        kind = kind.casefold()
        if kind and "/" not in kind:  # "jpg", as if it were the file's suffix
            kind = kind_of(f"file.{kind.removeprefix('.')}") or kind
        kind = kind or kind_of(path) or kind_of(name) or "image"
        if kind == "application/octet-stream":
            kind = kind_of(name) or "image"
        if kind.partition("/")[0] != "image":
            media.left_out[kind] += 1
            media.away.add(medium)
            continue
        media.rows.append((medium, deployment, time, clean_name(event or burst)))
        names.append(name)
        given.append(path)
    media.paths = _paths(media, given, names, folder, faults)
    for kind, count in sorted(media.left_out.items()):
        verb = "medium is no image" if count == 1 else "media are no images"
        media.notes.append(f"{count:,} {verb} ({kind}) and {'is' if count == 1 else 'are'} left out")
    return media


def _paths(
    media: _Media, given: Sequence[str], names: Sequence[str], folder: Path, faults: list[str]
) -> list[str]:
    """A path for each image; of an address in the web the file's name."""
    shared = Counter(given)
    wanted = Counter(name or medium for (medium, *_), name in zip(media.rows, names, strict=True))
    within = Counter((row[1], name or row[0]) for row, name in zip(media.rows, names, strict=True))
    paths: list[str] = []
    far = joined = 0
    for (medium, deployment, _, _), said, name in zip(media.rows, given, names, strict=True):
        path = re.sub(r"^(?:\./)+", "", said.replace("\\", "/"))
        last = path.rpartition("/")[2]
        if "://" in path or not path:
            far += 1
            path = name or medium
            if wanted[path] > 1:
                twin = within[deployment, path] > 1
                path = f"{deployment}/{medium}_{path}" if twin else f"{deployment}/{path}"
        elif (
            "." in name
            and last != name
            and ("." not in last or shared[said] > 1)
            and not (folder / path).is_file()
        ):
            joined += 1
            path = f"{path.rstrip('/')}/{name}"
        if path.startswith(("/", "../")) or ".." in path.split("/") or path[1:2] == ":":
            faults.append(
                f"media: filePath of {medium!r} is {said!r} (expected a path in the folder of the package)"
            )
        paths.append(path)
    first: dict[str, str] = {}
    for (medium, *_), path in zip(media.rows, paths, strict=True):
        if path in first:
            faults.append(
                f"media: {first[path]!r} and {medium!r} name one file, {path} (expected one medium a file)"
            )
        first.setdefault(path, medium)
    if far:
        media.notes.append(f"{far} media are named by addresses; their file names were taken as paths")
    if joined:
        media.notes.append(f"{joined} media have the folder as filePath; fileName was joined to it")
    return paths


def _frames(
    media: _Media, seen: Observations, deployments: Mapping[str, _Deployment]
) -> tuple[list[Frame], list[str]]:
    """A frame for each image, with what was seen in it."""
    reused = Counter(event for _, event in seen.events | {(row[1], row[3]) for row in media.rows if row[3]})
    issues = len({row[1] for row in media.rows if deployments[row[1]].clock_wrong})
    wrong = f"said to be wrong (timestampIssues of {issues} {'deployment' if issues == 1 else 'deployments'})"
    frames: list[Frame] = []
    own = by_event = machine = 0
    joined: set[tuple[str, str]] = set()
    for (medium, deployment, text, event), path in zip(media.rows, media.paths, strict=True):
        about = deployments[deployment]
        time = moment(text)
        doubt = _doubt(time, about, wrong)
        mine = seen.of_medium.get(medium, [])
        event = event or next((each.event for each in mine if each.event), "")
        around = seen.around(deployment, time) if time is not None and not clock_doubt(time) else []
        within = [name for name in around if (deployment, name) in seen.nameless]
        event = event or next((name for name in around if (deployment, name) not in seen.nameless), "")
        joined.update((deployment, name) for name in (*within, event) if name)
        events = [
            each
            for name in dict.fromkeys([event, *within])
            if name
            for each in seen.of_event.get((deployment, name), [])
        ]
        chosen, source = pick(mine, events)
        own += bool(chosen) and chosen[0] in mine
        by_event += bool(chosen) and chosen[0] not in mine
        machine += source == "machine"
        sequence = event or ("" if doubt else (within or [""])[0])
        frames.append(
            Frame(
                path=path,
                species=tuple(sorted({each.name for each in chosen} - {""})),
                empty=any(each.kind == "blank" for each in chosen),
                location=about.group,
                time=text,
                sequence=f"{deployment}/{sequence}" if reused[sequence] > 1 else sequence,
                count=_count([each for each in chosen if each in mine]),
                source=source if seen.stated else "",
                doubt=doubt,
            )
        )
    return frames, list(_said(frames, own, by_event, machine, media, seen, joined, deployments))


def _doubt(time: datetime | None, about: _Deployment, wrong: str) -> str:
    if time is None:
        return ""
    if about.clock_wrong:
        return wrong
    if doubt := clock_doubt(time):
        return doubt
    return "outside of the start and end of their deployment" if outside(time, about.begin, about.end) else ""


def _count(seen: Iterable[Observation]) -> str:
    counts = [whole(each.count) for each in seen if each.name]
    known = [count for count in counts if count is not None]
    return bin_of(sum(known)) if known and len(known) == len(counts) else ""


def _said(
    frames: Sequence[Frame],
    own: int,
    around: int,
    machine: int,
    media: _Media,
    seen: Observations,
    joined: set[tuple[str, str]],
    deployments: Mapping[str, _Deployment],
) -> Iterator[str]:
    if machine:
        yield (
            f"weak labels: {machine} of {len(frames)} labels are 'machine' by the column classificationMethod; scores "
            "against them measure agreement with their source"
        )
    if seen.outvoted:
        yield (
            f"{seen.outvoted} media or events have observations of several origins, persons or machines: those "
            "of a person count, else those of the machine that is surest"
        )
    if around:
        others = "the others" if own + around == len(frames) else f"{around:,}"
        yield (
            f"{own} of {len(frames)} media have observations of their own; {others} are labelled as their event, "
            "which they need not show: weak labels"
        )
    unmet = sum(
        len(each) for key, each in seen.of_event.items() if key not in joined and key not in seen.nameless
    )
    if unmet:
        yield f"{unmet} observations are of events to which no medium belongs, and are ignored"
    stray = sum(1 for key in seen.loose if key not in joined)
    if stray:
        yield (
            f"{stray} observations that name neither a medium nor an event are ignored: no medium of their deployment "
            "was taken between their eventStart and eventEnd"
        )
    empty = set(deployments) - {row[1] for row in media.rows}
    if empty:
        yield f"{len(empty)} deployments have no images"
