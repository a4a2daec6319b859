"""Turn the labels of frames into a manifest (species, empty, count); shared by all loaders."""

from __future__ import annotations

import mimetypes
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from graftwork.common.data.domain import Dataset
from graftwork.common.data.manifest import Manifest
from graftwork.common.data.targets import Target
from graftwork.common.errors import DatasetError
from graftwork.common.names import clean_name, look_alikes, name_key
from graftwork.domains.camera_trap.clocks import clock_doubt
from graftwork.domains.camera_trap.sequences import Moment, interleaved, moment, sequences

if TYPE_CHECKING:
    import pandas as pd


EMPTY = "empty"  # the class of a frame in which nothing is
BINS = (*map(str, range(1, 11)), "11-50", "51+")  # of counts, as volunteers of Snapshot Serengeti gave them
UNPLACED = "(location unknown)"  # the group of frames without a location, where others have one
_LONGEST = 6 * 3600  # seconds that an event may plausibly last
_WHOLE = re.compile(r"(\d{1,18})(?:\.0+)?")
_SHOWN = 5  # examples in a note or a finding


@dataclass(frozen=True, slots=True)
class Frame:
    """What is known of an image.

    Attributes:
        path: POSIX, relative to the root.
        species: what is in it, each once, by name; empty where nothing is known to be in it.
        empty: whether it is labelled empty. Without a species and this, the frame is unlabelled.
        location: of the camera; "" unknown. time, sequence, number: as text or "", None where unknown.
        count: how many animals, as a bin of `BINS`, "" unknown.
        boxes: how many boxes were drawn in it; None where the set has no boxes.
        source: who labelled it; "" unknown.
        part: as the publisher gave it, "" unknown.
        doubt: why its time is not believed, in words that follow "times are"; "" where nothing is known against it.
    """

    path: str
    species: tuple[str, ...] = ()
    empty: bool = False
    location: str = ""
    time: str = ""
    sequence: str = ""
    number: int | None = None
    count: str = ""
    boxes: int | None = None
    source: str = ""
    doubt: str = ""
    part: str = ""

    @property
    def label(self) -> str | None:
        """The one class of the frame; None where it is unknown, of two species, or contradictory."""
        if self.empty:
            return None if self.species else EMPTY
        return self.species[0] if len(self.species) == 1 else None

    @property
    def filled(self) -> str | None:
        """ "empty" or "animal"; None where it is unknown or contradictory."""
        if self.empty:
            return None if self.species else "empty"
        return "animal" if self.species else None


def bin_of(count: str | float) -> str:
    """The bin of a count, "7" or "11-50"; of text that already is a bin, itself; "" of what is no count above 0."""
    text = str(count).strip()
    if text in BINS:
        return text
    try:
        number = float(text)
    except ValueError:
        return ""
    if not number >= 1 or not number.is_integer():
        return ""
    return str(int(number)) if number <= 10 else "11-50" if number <= 50 else "51+"


def whole(text: str) -> int | None:
    """A whole number from text, "2" or "2.0"; None of anything else, also of a number beyond 64 bits."""
    found = _WHOLE.fullmatch(text.strip())
    return int(found[1]) if found else None


def spelling_note(written: Mapping[str, int], noun: str, *, cased: bool = True) -> str:
    """A sentence on names that are written in several ways, with how often; "" where each is written in one.

    Args:
        written: each spelling in the file with its count. noun: "label", "location", "category".
        cased: whether names that differ in case are different names here.
    """
    clean = {text: clean_name(text) for text in written}
    of: dict[str, str] = {}
    for alike in look_alikes(clean.values(), signs=True):
        of.update(dict.fromkeys(alike, alike[0]))
    together: dict[str, list[str]] = defaultdict(list)
    for text, name in clean.items():
        together[of.get(name, name)].append(text)
    several = {name: sorted(texts) for name, texts in sorted(together.items()) if len(texts) > 1}
    if not several:
        return ""
    listed = []
    for texts in list(several.values())[:_SHOWN]:
        shown = [
            f"{ascii(text) if clean[text] != text else repr(text)} ({written[text]:,})" for text in texts[:8]
        ]
        listed.append(" = ".join(shown) + (f" and {len(texts) - 8} more spellings" if len(texts) > 8 else ""))
    more = f"; and {len(several) - _SHOWN} more names" if len(several) > _SHOWN else ""
    plural = f"{noun.removesuffix('y')}ies" if noun.endswith("y") else f"{noun}s"
    one = "spaces or Unicode form" if cased else "spaces, Unicode form or case"
    left = len(
        {clean[text] if cased else clean[text].casefold() for texts in several.values() for text in texts}
    )
    count = sum(map(len, several.values()))
    rule = (
        f"each is read as one, since its spellings differ in {one} alone"
        if left == len(several)
        else f"those that differ in {one} alone are one {noun}; the others, in {'case, ' if cased else ''}underscores, "
        f"zeros or punctuation, stay different ({left} {plural})"
    )
    names = "1 name" if len(several) == 1 else f"{len(several)} names"
    return f"{plural}: {names}, {count} spellings: {'; '.join(listed)}{more}; {rule}"


def manifest_of(frames: Sequence[Frame], root: Path, about: Dataset, notes: Sequence[str] = ()) -> Manifest:
    """The manifest of these frames, in the order of their paths.

    Targets: `species` (of several classes, those that occur; `empty` is one where frames are empty), then, where they
    is available, `empty` (empty or animal, prefix `empty_`) and `count` (twelve bins, prefix `count_`). Group: the
    location; unit: the event.

    Raises:
        DatasetError: no frames, fewer than two classes, or a table that is not valid.
    """
    import numpy as np
    import pandas as pd

    kinds = [_other_kind(frame.path) for frame in frames]
    others = Counter(filter(None, kinds))
    frames = [frame for frame, kind in zip(frames, kinds, strict=True) if not kind]
    left_out = [
        f"{count:,} {'file is no image' if count == 1 else 'files are no images'} ({kind}): left out"
        for kind, count in sorted(others.items())
    ]
    if not frames:
        found = "; ".join(left_out) or "no rows"
        raise DatasetError(
            f"the table lists no image (found {found})",
            where=root,
            remedy="give a table with a row an image",
        )
    frames = sorted(frames, key=lambda frame: frame.path)
    classes = tuple(sorted({frame.label for frame in frames if frame.label is not None}))
    if len(classes) < 2:
        counted = [each for each in (*left_out, *notes) if each[:1].isdigit()]
        why = f" ({'; '.join(counted)})" if counted else ""
        raise DatasetError(
            f"species takes at least two classes; the frames of one class show: {', '.join(classes) or 'none'}{why}",
            where=root,
            remedy="give a set with more than one class (empty frames count as one)",
        )
    stems = [_stem(frame.path) for frame in frames]
    twice = Counter(stems)
    # two files may differ only in their suffix; then the suffix is kept
    cases = [stem if twice[stem] == 1 else frame.path for stem, frame in zip(stems, frames, strict=True)]
    placed = any(frame.location for frame in frames)
    frames = [each if each.location or not placed else replace(each, location=UNPLACED) for each in frames]
    read = [moment(frame.time) for frame in frames]
    doubts = [
        frame.doubt or clock_doubt(time) if time is not None else ""
        for frame, time in zip(frames, read, strict=True)
    ]
    times = [None if doubt else time for time, doubt in zip(read, doubts, strict=True)]
    folders = _visits(frames)
    moments = [
        # an unknown camera gives no information about events
        Moment(
            "" if frame.location == UNPLACED else frame.location,
            time,
            case,
            frame.sequence,
            frame.number,
            folder,
        )
        for frame, time, case, folder in zip(frames, read, cases, folders, strict=True)
    ]
    mixed = interleaved(moments)
    events = sequences(
        [
            each if each.time is time else replace(each, time=time)
            for each, time in zip(moments, times, strict=True)
        ]
    )
    text = pd.StringDtype(na_value=np.nan)
    columns: dict[str, pd.Series] = {
        "case": pd.Series(cases, dtype=text),
        "path": pd.Series([frame.path for frame in frames], dtype=text),
        "group": pd.Series([frame.location or None for frame in frames], dtype=text),
        "target": pd.Series([frame.label for frame in frames], dtype=text),
    }
    if any(frame.part for frame in frames):
        columns["part"] = pd.Series([frame.part or None for frame in frames], dtype=text)
    further = []
    if {"empty", "animal"} <= {frame.filled for frame in frames}:
        further.append(Target("empty", "binary", ("empty", "animal"), prefix="empty_"))
        columns["empty_target"] = pd.Series([frame.filled for frame in frames], dtype=text)
    counts = [frame.count if frame.filled == "animal" and frame.count else None for frame in frames]
    if len(set(counts) - {None}) >= 2:
        further.append(Target("count", "ordinal", BINS, prefix="count_"))
        columns["count_target"] = pd.Series(counts, dtype=text)
    columns["event"] = pd.Series(_within_groups(frames, [event for event, _ in events]), dtype=text)
    columns["datetime"] = pd.Series(
        [None if each is None else each.isoformat() for each in times], dtype=text
    )
    columns["frame_number"] = pd.Series([number for _, number in events], dtype="int64")
    columns["species_set"] = pd.Series([";".join(frame.species) for frame in frames], dtype=text)
    covariates = ["event", "datetime", "frame_number", "species_set"]
    if any(frame.boxes is not None for frame in frames):
        columns["boxes"] = pd.Series([frame.boxes or 0 for frame in frames], dtype="int64")
        covariates.append("boxes")
    if any(frame.source for frame in frames):
        columns["label_source"] = pd.Series([frame.source or None for frame in frames], dtype=text)
        covariates.append("label_source")
    return Manifest(
        frame=pd.DataFrame(columns),
        root=root,
        dataset=about.name,
        group=about.group,
        target=Target(about.target.name, about.target.kind, classes),
        covariates=tuple(covariates),
        notes=(*notes, *left_out, *_notes(frames, read, times, placed), *_clock_notes(frames, doubts, mixed)),
        further=tuple(further),
        unit="event",
    )


def kind_of(path: str) -> str:
    """The kind of a file by its name, "image/jpeg"; "" where the name does not say it."""
    name = path.rpartition("/")[2].casefold()
    suffix = name.rpartition(".")[2]
    return _kind(name if suffix in ("gz", "bz2", "xz", "br") else f"file.{suffix}" if "." in name else "file")


@lru_cache(maxsize=4096)
def _kind(name: str) -> str:
    return mimetypes.guess_type(name)[0] or ""


def _other_kind(path: str) -> str:
    """The kind of a file that is a video or sound by its name; "" of all others."""
    kind = kind_of(path)
    return kind if kind.startswith(("video/", "audio/")) else ""


def _visits(frames: Sequence[Frame]) -> list[str]:
    """The folder of each frame; "" of all where folders are named after what the frames show, and sort no visits."""
    folders = [frame.path.rpartition("/")[0] for frame in frames]
    labels = set(map(name_key, {name for frame in frames for name in frame.species})) | {EMPTY, "blank"}
    if any(name_key(part) in labels for folder in set(folders) for part in folder.split("/") if part):
        return [""] * len(folders)
    return folders


def _clock_notes(
    frames: Sequence[Frame], doubts: Sequence[str], mixed: Sequence[tuple[str, ...]]
) -> Iterator[str]:
    """Notes about implausible times and folders with overlapping times."""
    for doubt, count in sorted(Counter(filter(None, doubts)).items()):
        verb = "time is" if count == 1 else "times are"
        yield f"{count:,} {verb} {doubt}, and taken as unknown"
    alone = sum(bool(doubt) and not frame.sequence for frame, doubt in zip(frames, doubts, strict=True))
    if alone:
        yield f"{alone:,} frames of these times have no sequence: each is an event of its own"
    if mixed:
        where = "1 place" if len(mixed) == 1 else f"{len(mixed):,} places"
        yield (
            f"frames of different folders overlap in time at {where} (such as {', '.join(mixed[0][:3])}), as visits "
            "with a reset clock do: frames of different folders are separate events there"
        )


def _within_groups(frames: Sequence[Frame], events: list[str]) -> list[str]:
    """Events within one group each: an id that also occurs on a frame without a location is split there."""
    places: dict[str, set[str]] = {}
    for frame, event in zip(frames, events, strict=True):
        places.setdefault(event, set()).add(frame.location)
    return [
        event if len(places[event]) == 1 else f"{frame.location}/{event}"
        for frame, event in zip(frames, events, strict=True)
    ]


def _notes(
    frames: Sequence[Frame],
    read: Sequence[datetime | None],
    times: Sequence[datetime | None],
    placed: bool,
) -> Iterator[str]:
    several = sum(len(frame.species) > 1 and not frame.empty for frame in frames)
    if several:
        yield f"{several} of {len(frames)} frames show several species; their species is taken as unknown"
    contrary = sum(frame.empty and bool(frame.species) for frame in frames)
    if contrary:
        yield f"{contrary} frames are labelled both empty and not empty; their label is treated as unknown"
    silent = sum(not frame.empty and not frame.species for frame in frames)
    if silent:
        yield f"{silent} of {len(frames)} frames have no label; what they show is taken as unknown"
    if any(frame.filled == "empty" for frame in frames):
        yield "animal means anything but empty: people and vehicles too, where the set has them"
    full = [frame for frame in frames if frame.filled == "animal"]
    uncounted = sum(not frame.count for frame in full)
    if uncounted == len(full):
        yield "how many animals a frame shows is not told"
    elif uncounted:
        yield f"how many animals is known for {len(full) - uncounted} of {len(full)} frames that show any"
    if not placed:
        yield "no frame has a location, so the data cannot be split by location"
    else:
        lost = sum(frame.location == UNPLACED for frame in frames)
        if lost:
            yield f"{lost} frames without a location are taken as one location of their own, {UNPLACED}"
    unread = [frame for frame, time in zip(frames, read, strict=True) if frame.time and time is None]
    if unread:
        loose = sum(not frame.sequence for frame in unread)
        torn = f"; the {loose} of them without a sequence stand alone, so that events (and the part `seen`) may be torn"
        yield (
            f"{len(unread)} times cannot be read, such as {unread[0].time!r} (wanted: year, month, day, hour), and are "
            f"taken as unknown{torn if loose else ''}"
        )
    known = [time for time in times if time is not None]
    shifted = sum(time.tzinfo is not None for time in known)
    if 0 < shifted < len(known):
        yield (
            f"{shifted} times have an offset from UTC and {len(known) - shifted} have none: these are taken as UTC, so "
            "that frames of one event may be parted, or of two joined"
        )
    given = sum(bool(frame.sequence) for frame in frames)
    if given:
        yield from _long(frames, times)
    if given == len(frames):
        yield "events are the sequences that the table names"
    else:
        some = (
            ""
            if given == 0
            else f"{given} frames belong to the sequences that the table names; of the others, "
        )
        timeless = sum(
            not frame.sequence and (time is None or frame.location in ("", UNPLACED))
            for frame, time in zip(frames, times, strict=True)
        )
        if timeless == len(frames):
            yield "no frame has a sequence, or both time and location: each frame is a separate event"
            return
        built = "events are built from gaps in time of more than 60 s at a location"
        alone = f"; {timeless} frames without time or location are each alone" if timeless else ""
        yield f"{some}{built}{alone}"


def _long(frames: Sequence[Frame], times: Sequence[datetime | None]) -> Iterator[str]:
    """A hint if sequences last too long, which suggests that the column numbers something else."""
    told: dict[tuple[str, str], list[datetime]] = defaultdict(list)
    for frame, time in zip(frames, times, strict=True):
        if frame.sequence and time is not None:
            told[frame.location, frame.sequence].append(time.replace(tzinfo=None))
    long = [key for key, moments in told.items() if (max(moments) - min(moments)).total_seconds() > _LONGEST]
    if long:
        yield (
            f"{len(long)} sequences last longer than {_LONGEST // 3600} h ({long[0][1]!r} at {long[0][0]}): see "
            "whether their ids are what they seem; without them, events are built from times"
        )


def _stem(path: str) -> str:
    head, dot, suffix = path.rpartition(".")
    return head if dot and "/" not in suffix and head and not head.endswith("/") else path
