"""Evaluate files of predicted boxes against the truth, by image and class."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graftwork.common.errors import GraftworkError, TableError, UsageError
from graftwork.common.evaluation.arrays import BoolArray, FloatArray
from graftwork.common.evaluation.intervals.bootstrap import group_codes
from graftwork.common.evaluation.metrics.detection import MOST, detection_table, matcher
from graftwork.common.evaluation.results import Evaluation, Resampling, evaluation_of, results_of
from graftwork.common.evaluation.tables.coco_boxes import (
    Detections,
    Truth,
    counted_faults,
    number_faults,
    plain_name,
    read_detections,
    read_truth,
)
from graftwork.common.files.untrusted_files import check_file, read_json
from graftwork.common.wording import fault_lines, quantity, short_list

if TYPE_CHECKING:
    import pandas as pd

    from graftwork.common.evaluation.protocols import Protocol


StrPath = str | os.PathLike[str]
Reader = Callable[[StrPath], "pd.DataFrame"]
_LISTED = 20
_SHARES = 1.001  # of the image: 1, and what rounding adds


def evaluate_boxes(
    truth: StrPath,
    predicted: StrPath,
    protocol: Protocol,
    *,
    groups: Mapping[str, str] | None = None,
    bootstrap: int = 2000,
    seed: int = 0,
    read: Reader | None = None,
) -> Evaluation:
    """Evaluate predicted boxes against true ones.

    Args:
        truth: a COCO file: images, annotations with `bbox` (x, y, width, height in px), categories.
        predicted: COCO results (a list of image_id, category_id, bbox, score), where an image without a row has no
            detection; or a file that `read` reads, where every image of the truth must stand.
        protocol: one of boxes. groups: name of an image's file, or its id as text, to its group (location); None: the
            `location` of the images, where there is one, else each image is its own group.
        bootstrap, seed: of the intervals.
        read: reads predictions that are no list into a table, a row a detection: `file`, `category` (by name), `x`,
            `y`, `width`, `height` (shares of the image, origin top left), `score`, `failure`, `record` (which record
            of the file); an image without a detection, or with a `failure`, is a row without a category. Its
            `attrs["notes"]` count what was left out, one sentence for each kind.

    Returns:
        the evaluation. Images that were not processed, and images with an annotation that has no box, are excluded and
        counted. A class without a true box is NaN with the reason, and has no share in the means.

    Raises:
        TableError: everything that is wrong with the files at once.
        UsageError: the protocol is not for boxes, or pycocotools is not installed.
    """
    if protocol.kind != "boxes":
        raise UsageError(
            "it is not for boxes",
            where=f"protocol {protocol.name!r}",
            remedy="`graftwork ls protocols` lists those that do",
        )
    matcher()  # report what is missing before files are read
    faults: list[str] = []
    said: list[str] = []
    true = _truth(Path(truth), faults)
    found, failed = _predictions(Path(predicted), true, read, faults, said)
    if true is not None:
        grouping, column, lost = true.groups(groups)
        faults += lost
    if true is None or found is None or faults:
        several = f"{len(faults)} faults" if len(faults) > 1 else "a fault"
        listing = fault_lines(faults, _LISTED, bullet="- ")
        raise TableError(
            f"the boxes have {several}:{listing}", where=str(predicted), remedy="correct the files"
        )
    if protocol.classes and set(true.classes) != set(protocol.classes):
        raise UsageError(
            f"its classes are {', '.join(protocol.classes)}, those here {', '.join(true.classes)}",
            where=f"protocol {protocol.name!r}",
            remedy="name the categories of the truth by the classes of the protocol",
        )
    notes = [*true.notes, *said, *_left_out(true, failed)]
    judged = ~(failed | true.unboxed)
    if not judged.any():
        raise TableError(
            "no image is left: each was not processed, or has an annotation without a box",
            where=str(predicted),
            remedy="predict the images again, or give the annotations boxes",
        )
    told_by = true.ids if grouping is None else grouping
    true, found = _kept(true, found, judged)
    codes, count = group_codes(told_by[judged])
    notes += _counted(true, found)
    if column == "location":
        notes.append("The groups are the locations of the truth.")
    table, items = detection_table(protocol.metrics, true, found, codes, count)
    named = "case" if grouping is None else protocol.group
    how = Resampling(count, named, grouping is not None, items, bootstrap, seed, 0.95)
    results, remarks = results_of(table, how)
    return evaluation_of(
        protocol,
        how,
        results,
        classes=true.classes,
        part="test",
        n=len(true),
        excluded=int((~judged).sum()),
        thresholds=(),
        group_column=column,
        notes=(*how.notes(), *notes, *remarks),
    )


def _is_list(file: Path) -> bool:
    """Whether the JSON of a file is a list; decided by its first character.

    Raises:
        TableError: it cannot be read, or is no text.
    """
    check_file(file, TableError)
    try:
        with file.open(encoding="utf-8-sig") as opened:
            while (sign := opened.read(1)).isspace():
                pass
    except OSError as error:
        raise TableError(f"cannot be read ({error.strerror})", where=file, remedy="check the path") from error
    except ValueError as error:
        raise TableError(
            f"not readable as JSON: {error}", where=file, remedy="write the file again"
        ) from error
    return sign == "["


def _truth(file: Path, faults: list[str]) -> Truth | None:
    try:
        found, wrong = read_truth(read_json(file, TableError))
    except TableError as error:
        faults.append(str(error))
        return None
    faults += [f"{file}: {each}" for each in wrong]
    return found


def _predictions(
    file: Path, truth: Truth | None, read: Reader | None, faults: list[str], said: list[str]
) -> tuple[Detections | None, BoolArray]:
    """The detections, and which images of the truth were not processed."""
    failed = np.zeros(0 if truth is None else len(truth), dtype=np.bool_)
    try:
        by_file = read is not None and not _is_list(file)
        content = read(file) if by_file and read is not None else read_json(file, TableError)
    except GraftworkError as error:
        faults.append(str(error))
        return None, failed
    if truth is None:
        return None, failed
    if by_file:
        found, failed, wrong = _of_files(content, truth)
        said += content.attrs.get("notes", ())
    else:
        found, wrong = read_detections(content, truth)
        bare = len(truth) - (0 if found is None else len(np.unique(found.image)))
        if bare:
            every = quantity(len(truth), "image")
            said.append(f"{bare:,} of {every} without a detection in the results: taken as processed.")
    faults += [f"{file}: {each}" for each in wrong]
    return found, failed


def _of_files(frame: pd.DataFrame, truth: Truth) -> tuple[Detections | None, BoolArray, list[str]]:
    """Detections given by file, category and shares of the image, in the truth's terms."""
    wrong: defaultdict[str, list[str]] = defaultdict(list)
    place = truth.by_file()
    names = [str(name) for name in frame["file"]]
    image = np.array([place.get(name, place.get(plain_name(name), -1)) for name in names], dtype=np.intp)
    failed, there = np.zeros(len(truth), dtype=np.bool_), np.zeros(len(truth), dtype=np.bool_)
    there[image[image >= 0]] = True
    failed[image[frame["failure"].notna().to_numpy() & (image >= 0)]] = True
    if not any(truth.files):
        wrong["images of the truth without a file_name, which these detections need"].append("all of them")
    elif (image < 0).any():
        some = f"images that the truth does not list (it has such as {next(filter(None, truth.files))})"
        wrong[some] += dict.fromkeys(name for name, at in zip(names, image, strict=True) if at < 0)
    if not there.all():
        lost = [str(file or own) for file, own in zip(truth.files[~there], truth.ids[~there], strict=True)]
        wrong["images of the truth without a record"] += lost
    times = frame.groupby(image)["record"].nunique()
    wrong_twice = [str(truth.files[at]) for at in times.index[times > 1] if at >= 0]
    if wrong_twice:
        wrong["images that stand twice"] += wrong_twice
    classes = {name.casefold(): at for at, name in enumerate(truth.classes)}
    rows = np.flatnonzero(frame["category"].notna().to_numpy() & (image >= 0))
    rows = rows[~failed[image[rows]]]
    categories = [str(name) for name in frame["category"].to_numpy(dtype=object)[rows]]
    label = np.array([classes.get(name.strip().casefold(), -1) for name in categories], dtype=np.intp)
    unknown = dict.fromkeys(name for name, at in zip(categories, label, strict=True) if at < 0)
    if unknown:
        have = short_list(truth.classes, 5)
        what = f"categories of detections that the truth does not have (it has {have}; add them to its list)"
        wrong[what] += unknown
    share: FloatArray = frame[["x", "y", "width", "height"]].to_numpy(dtype=np.float64)[rows]
    score: FloatArray = frame["score"].to_numpy(dtype=np.float64)[rows]
    own = np.array(names, dtype=object)[rows]
    number_faults(share, score, own, wrong, "detections")
    far = np.isfinite(share).all(axis=1) & (np.abs(share) > _SHARES).any(axis=1)
    if far.any():
        wrong["boxes that are not shares of the image (0 to 1) but px, as another program writes them"] += [
            f"{name}: {', '.join(f'{value:g}' for value in box)}"
            for name, box in zip(own[far], share[far], strict=True)
        ]
    unsized = np.unique(image[rows][~(truth.sizes[image[rows]] > 0).all(axis=1)])
    if len(unsized):
        wrong["images of the truth without width and height, which shares need"] += [
            str(truth.files[at]) for at in unsized
        ]
    if wrong:
        return None, failed, counted_faults(wrong)
    box = share * np.tile(truth.sizes[image[rows]], 2)
    return Detections(image[rows], label, box, score), failed, []


def _left_out(truth: Truth, failed: BoolArray) -> Iterator[str]:
    if failed.any():
        yield f"{quantity(int(failed.sum()), 'image')} not processed: left out, and not evaluated."
    unboxed = truth.unboxed & ~failed
    if unboxed.any():
        those = f"{quantity(int(unboxed.sum()), 'image')} with an annotation that has no box"
        yield f"{those}: left out, as it is not known where it is."


def _kept(truth: Truth, found: Detections, judged: BoolArray) -> tuple[Truth, Detections]:
    """Truth and detections of some of the images."""
    place = np.cumsum(judged) - 1
    true, called = judged[truth.image], judged[found.image]
    return (
        replace(
            truth,
            image=place[truth.image[true]],
            **{
                name: getattr(truth, name)[judged]
                for name in ("ids", "files", "sizes", "locations", "unboxed")
            },
            **{name: getattr(truth, name)[true] for name in ("label", "box", "area", "crowd")},
        ),
        Detections(place[found.image[called]], found.label[called], found.box[called], found.score[called]),
    )


def _counted(truth: Truth, found: Detections) -> Iterator[str]:
    """What must be said of detections."""
    _, times = np.unique(np.stack([found.image, found.label]), axis=1, return_counts=True)
    if (times > MOST).any():
        over = int((times > MOST).sum())
        yield f"{quantity(over, 'time')} more than {MOST} detections of a class in an image: the largest scores count."
    known = np.isin(found.label, truth.label[~truth.crowd])
    if not known.all():
        names = [truth.classes[label] for label in np.unique(found.label[~known])]
        those = quantity(int((~known).sum()), "detection")
        yield f"{those} of a class of which the truth has no box ({', '.join(names)}): without a share in the means."
