"""Observations of the media and events of a Camtrap DP package, and who made them."""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from graftwork.common.names import clean_name
from graftwork.domains.camera_trap.camtrap_package import PackageTable
from graftwork.domains.camera_trap.clocks import aware
from graftwork.domains.camera_trap.labelling import whole
from graftwork.domains.camera_trap.sequences import moment

_KINDS = ("animal", "human", "vehicle", "blank", "unknown", "unclassified")
_NO_CLASS = ("blank", "unknown", "unclassified")
_PERSON = "homo sapiens"
_DAY = 86400  # seconds; no event lasts longer
_USED = {"observationID", "deploymentID", "mediaID", "eventID", "sequenceID", "eventStart", "eventEnd"} | {
    "observationLevel",
    "observationType",
    "scientificName",
    "count",
    "classificationMethod",
    "classifiedBy",
    "classificationProbability",
    "classificationConfidence",
}


@dataclass(frozen=True, eq=False, slots=True)
class Observation:
    """One row: its kind (observationType), the class it names ("" none), its event, and who said it.

    `origin` is "human", "machine" or "" (not stated); `by` who or what classified, `certainty` its probability.
    """

    kind: str
    name: str
    event: str
    count: str
    origin: str
    by: str
    certainty: float


@dataclass
class Observations:
    """The observations of a package, by what they are of.

    Attributes:
        of_medium: by mediaID. of_event: by deployment and event. events: the named ones. nameless: time spans.
        loose: deployment and span of each observation that names neither a medium nor an event ("" without times).
        stated: whether any row says who classified. outvoted: how many media and events several classified.
    """

    of_medium: dict[str, list[Observation]] = field(default_factory=lambda: defaultdict(list))
    of_event: dict[tuple[str, str], list[Observation]] = field(default_factory=lambda: defaultdict(list))
    events: set[tuple[str, str]] = field(default_factory=set)
    nameless: set[tuple[str, str]] = field(default_factory=set)
    loose: list[tuple[str, str]] = field(default_factory=list)
    stated: bool = False
    outvoted: int = 0
    notes: list[str] = field(default_factory=list)
    _spans: dict[str, list[tuple[datetime, datetime, str]]] = field(default_factory=dict)
    _latest: dict[str, list[datetime]] = field(default_factory=dict)

    def around(self, deployment: str, time: datetime) -> list[str]:
        """The events in whose time a medium was taken, the one that began last first."""
        spans, latest = self._spans.get(deployment, []), self._latest.get(deployment, [])
        now = aware(time)
        found = []
        for place in range(bisect.bisect_right(spans, now, key=lambda span: span[0]) - 1, -1, -1):
            begin, end, event = spans[place]
            if latest[place] < now or (now - begin).total_seconds() > _DAY:
                break  # no earlier event reaches so far
            if now <= end:
                found.append(event)
        return found

    def spread(self, spans: Mapping[str, set[tuple[datetime, datetime, str]]]) -> None:
        """Keep the time spans of events, by deployment, in an order that is quick to search."""
        for deployment, each in spans.items():
            self._spans[deployment] = sorted(each)
            ends: list[datetime] = []
            for _, end, _ in self._spans[deployment]:
                ends.append(max(ends[-1], end) if ends else end)
            self._latest[deployment] = ends


def observations_of(
    table: PackageTable,
    media: Mapping[str, str],
    left_out: set[str],
    deployments: set[str],
    written: dict[str, Counter[str]],
    faults: list[str],
) -> Observations:
    """The observations of a package.

    Args:
        media: image to deployment. left_out: media that are no images. written: takes the spellings of labels.
        faults: takes what is wrong, a row each.
    """
    found = Observations()
    spans: dict[str, set[tuple[datetime, datetime, str]]] = defaultdict(set)
    counted: Counter[str] = Counter()
    names: tuple[str, ...] = (
        "deploymentID",
        "mediaID",
        "eventID",
        "sequenceID",
        "eventStart",
        "eventEnd",
        "observationLevel",
    )
    names += ("observationType", "scientificName", "count", "classificationMethod", "classifiedBy")
    columns = [table.cells(name) for name in names]
    sure = [
        a or b
        for a, b in zip(
            table.cells("classificationProbability"), table.cells("classificationConfidence"), strict=True
        )
    ]
    for row, (cells, chance) in enumerate(zip(zip(*columns, strict=True), sure, strict=True), 1):
        deployment, medium, event, burst, begin, end, level, kind, name, count, method, by = cells
        deployment, medium = clean_name(deployment), clean_name(medium)
        event, kind, method = clean_name(event or burst), kind.casefold(), method.casefold()
        where = f"observations, row {row}"
        if kind == "animal" and clean_name(name).casefold() == _PERSON:
            kind = "human"
            counted["of animals name Homo sapiens: taken as human"] += 1
        wrong = _wrong(
            deployment, medium, kind, name, count, method, chance, level, media, left_out, deployments
        )
        faults += [f"{where}: {each}" for each in wrong]
        if medium in left_out:
            counted["are of media that are left out, and are left out with them"] += 1
            continue
        if wrong:
            continue
        deployment = deployment or media.get(medium, "")
        if kind == "animal" and not name:
            counted["of animals have no scientificName, and name no class"] += 1
        if kind == "" and name:
            counted["have a scientificName and no observationType, and name no class"] += 1
        if name and kind not in _NO_CLASS and whole(count) == 0:
            counted["name what was seen and count 0: how many there are is taken as unknown"] += 1
        if kind == "unclassified":
            counted["are unclassified, and say nothing"] += 1
        if kind == "animal" and name:
            written["label"][name] += 1
        certainty = float(chance) if chance else float("nan")
        origin = method
        if not method and chance and certainty != 1:
            origin = "machine"
            counted["have a probability and no classificationMethod: taken as a machine's"] += 1
        found.stated |= bool(origin)
        told = Observation(
            kind,
            clean_name(name) if kind == "animal" else "" if kind in _NO_CLASS else kind,
            event,
            count,
            origin,
            clean_name(by),
            certainty,
        )
        first, last = moment(begin), moment(end)
        if first is not None and last is not None and aware(last) < aware(first):
            counted["have an eventEnd before their eventStart: these times are not used"] += 1
            first = last = None
        span = ""
        if not medium and not event and level.casefold() != "media":
            span = f"{deployment} {begin}/{end}" if first is not None and last is not None else ""
            found.loose.append((deployment, span))
        elif not medium and not event:
            found.loose.append((deployment, ""))
        if span:
            found.nameless.add((deployment, span))
        if event:
            found.events.add((deployment, event))
        if (event or span) and first is not None and last is not None:
            spans[deployment].add((aware(first), aware(last), event or span))
        if kind == "unclassified":
            continue
        if medium:
            found.of_medium[medium].append(told)
        elif event or span:
            found.of_event[deployment, event or span].append(told)
    found.spread(spans)
    for observations in (*found.of_medium.values(), *found.of_event.values()):
        found.outvoted += len(_surest(observations)) < len(observations)
    found.notes = [f"{count:,} observations {what}" for what, count in sorted(counted.items())]
    unused = [name for name in table.columns if name not in _USED and any(table.cells(name))]
    if unused:
        found.notes.append(
            "columns of observations that are ignored, since they say nothing of the class, place or time of a frame: "
            + ", ".join(unused)
        )
    return found


def _wrong(
    deployment: str,
    medium: str,
    kind: str,
    name: str,
    count: str,
    method: str,
    chance: str,
    level: str,
    media: Mapping[str, str],
    left_out: set[str],
    deployments: set[str],
) -> list[str]:
    """What is wrong with a row."""
    wrong = []
    if medium and medium not in media and medium not in left_out:
        wrong.append(f"medium {medium!r} is not listed in media")
    if deployment not in deployments and (deployment or not medium):
        wrong.append(f"deployment {deployment!r} is not listed in deployments")
    elif medium in media and deployment and media[medium] != deployment:
        wrong.append(
            f"medium {medium!r} is of deployment {media[medium]!r} in media and of {deployment!r} here"
        )
    if kind not in (*_KINDS, ""):
        wrong.append(f"observationType is {kind!r} (expected {', '.join(_KINDS)})")
    if kind == "blank" and name:
        wrong.append(f"observationType is blank and scientificName {name!r} (expected one or the other)")
    if count and whole(count) is None:
        wrong.append(f"count is {count!r} (expected a whole number)")
    if method not in ("human", "machine", ""):
        wrong.append(f"classificationMethod is {method!r} (expected human or machine)")
    if level.casefold() not in ("media", "event", ""):
        wrong.append(f"observationLevel is {level!r} (expected media or event)")
    try:
        inside = not chance or 0 <= float(chance) <= 1
    except ValueError:
        inside = False
    if not inside:
        wrong.append(f"classificationProbability is {chance!r} (expected a number from 0 to 1)")
    return wrong


def pick(own: Sequence[Observation], event: Sequence[Observation]) -> tuple[list[Observation], str]:
    """The observations that label a frame, and their origin ("human", "machine" or "" where nobody says).

    A person's go before those without an origin, and these before a machine's; within each, those of the frame itself
    before those of its event, whose animals it need not show. Of several machines the surest counts.
    """
    for origins in (("human",), ("",), ("machine",)):
        for told in (own, event):
            chosen = [each for each in told if each.origin in origins]
            if chosen:
                return _surest(chosen), origins[0]
    return [], ""


def _surest(told: Sequence[Observation]) -> list[Observation]:
    """A person's observations, else those without an origin, else those of the machine with the largest probability."""
    for origin in ("human", ""):
        if found := [each for each in told if each.origin == origin]:
            return found
    best: dict[str, float] = defaultdict(float)
    for each in told:
        best[each.by] = max(best[each.by], each.certainty if each.certainty == each.certainty else 0.0)
    most = max(best.values(), default=0.0)
    return [each for each in told if best[each.by] == most]
