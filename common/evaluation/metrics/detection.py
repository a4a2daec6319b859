"""Detected boxes: average precision and recall as COCO defines them, with intervals over resampled groups.

Which detection finds which true box is decided by pycocotools (`COCOeval.evaluate`). How these hits become precision
and recall is done here, as an estimator, so that every replicate of a bootstrap costs one pass over the hits; asked
once, it gives what `COCOeval.accumulate` and `summarize` give.

Sources: Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014, arXiv:1405.0312; the evaluation code of the
COCO API, pycocotools 2.0.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from graftwork.common.errors import MissingLibraryError, TableError
from graftwork.common.evaluation.arrays import BoolArray, FloatArray, IntArray, by_unit, divide
from graftwork.common.evaluation.intervals.bootstrap import group_codes
from graftwork.common.evaluation.metrics.registry import BOXES, METRICS
from graftwork.common.evaluation.results import Cell, Resampling, Result, results_of
from graftwork.common.evaluation.tables.coco_boxes import Detections, Truth, read_detections, read_truth

MOST = 100  # detections of one class in one image, those with the largest scores
THRESHOLDS = np.linspace(0.5, 0.95, 10)  # of the intersection over union
RECALLS = np.linspace(0.0, 1.0, 101)
_AREA = [0.0, 1e10]  # px²; pycocotools' "all"
_AT_A_TIME = 2000  # images that pycocotools is given at once, which bounds its memory


@dataclass(frozen=True, eq=False)
class Matches:
    """The detections of one class, image by image, each image's in the order of their scores.

    Attributes:
        image: [d], the place of the image. score: [d].
        hit, false: [thresholds, d], whether it finds a true box, or finds none; a detection in a crowd is neither.
        boxes: [images], true boxes that count (no crowds). held: whether the truth holds the class at all.
    """

    image: IntArray
    score: FloatArray
    hit: BoolArray
    false: BoolArray
    boxes: IntArray
    held: bool


def matcher() -> tuple[Any, Any]:
    """Its classes COCO and COCOeval.

    Raises:
        MissingLibraryError: it is not installed.
    """
    try:
        return import_module("pycocotools.coco").COCO, import_module("pycocotools.cocoeval").COCOeval
    except ImportError as error:
        raise MissingLibraryError("pycocotools", where="graftwork evaluate boxes") from error


def matches_of(truth: Truth, found: Detections) -> Iterator[Matches]:
    """Which detections find which boxes, class by class.

    A detection, in the order of scores, finds the free true box of its class and image with which it shares most, where
    the intersection over union reaches the threshold. Crowds are as in pycocotools. Annotations are numbered again from
    1, as pycocotools takes a match with the annotation 0 for none.

    Raises:
        MissingLibraryError: pycocotools is not installed.
    """
    coco, evaluator = matcher()
    for label in range(len(truth.classes)):
        true, called = np.flatnonzero(truth.label == label), np.flatnonzero(found.label == label)
        # by image, and within an image as in the file
        true = true[np.argsort(truth.image[true], kind="stable")]
        called = called[np.argsort(found.image[called], kind="stable")]
        images = np.union1d(truth.image[true], found.image[called])
        boxes = np.zeros(len(truth), dtype=np.intp)
        image: list[IntArray] = [np.empty(0, dtype=np.intp)]
        score: list[FloatArray] = [np.empty(0)]
        hit: list[BoolArray] = [np.empty((len(THRESHOLDS), 0), dtype=np.bool_)]
        false = hit.copy()
        for start in range(0, len(images), _AT_A_TIME):
            within = images[start : start + _AT_A_TIME]
            rows = [
                each[slice(*np.searchsorted(of[each], (within[0], within[-1] + 1)))]
                for each, of in ((true, truth.image), (called, found.image))
            ]
            for each in _evaluated(coco, evaluator, truth, found, *rows):
                boxes[each["image_id"]] = np.count_nonzero(np.asarray(each["gtIgnore"]) == 0)
                image.append(np.full(len(each["dtScores"]), each["image_id"], dtype=np.intp))
                score.append(np.asarray(each["dtScores"], dtype=np.float64))
                matched, ignored = each["dtMatches"] > 0, each["dtIgnore"] > 0
                hit.append(matched & ~ignored)
                false.append(~matched & ~ignored)
        yield Matches(
            np.concatenate(image),
            np.concatenate(score),
            np.concatenate(hit, axis=1),
            np.concatenate(false, axis=1),
            boxes,
            len(true) > 0,
        )


def _evaluated(
    coco: Any, evaluator: Any, truth: Truth, found: Detections, true: IntArray, called: IntArray
) -> list[dict[str, Any]]:
    """What pycocotools says of some images and one class."""
    images = np.union1d(truth.image[true], found.image[called]).tolist()
    listing = {"images": [{"id": key} for key in images], "categories": [{"id": 1}]}
    annotations = [
        {"id": number, "image_id": image, "category_id": 1, "bbox": box, "area": area, "iscrowd": int(crowd)}
        for number, (image, box, area, crowd) in enumerate(
            zip(
                truth.image[true].tolist(), truth.box[true].tolist(), truth.area[true].tolist(),
                truth.crowd[true].tolist(), strict=True,
            ),
            start=1,
        )
    ]  # fmt: skip
    detections = [
        {"id": number, "image_id": image, "category_id": 1, "bbox": box, "area": box[2] * box[3], "score": score}
        for number, (image, box, score) in enumerate(
            zip(found.image[called].tolist(), found.box[called].tolist(), found.score[called].tolist(), strict=True),
            start=1,
        )
    ]  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        sides = []
        for rows in (annotations, detections):
            side = coco()
            side.dataset = {**listing, "annotations": rows}
            side.createIndex()
            sides.append(side)
        evaluating = evaluator(*sides, "bbox")
        evaluating.params.areaRng, evaluating.params.areaRngLbl = [_AREA], ["all"]
        evaluating.params.maxDets = [MOST]
        evaluating.params.iouThrs = THRESHOLDS
        evaluating.evaluate()
    return [each for each in evaluating.evalImgs if each is not None]


class BoxRanking:
    """The detections of one class, sorted once over all images, for any multiplicities of the groups.

    Images of a group that is drawn m times stand m times, the copies beside each other; equal scores keep the order
    of the images and, in an image, of the file, as pycocotools' stable sort has them. A hit drawn m times is then a
    step of m, since precision rises along it. Only where hits and false detections of one image share a score does
    the order within a copy matter: these stand once for each copy.

    Args:
        matches: of the class. units: [images], the group, of `count`, of an image.
    """

    def __init__(self, matches: Matches, units: IntArray, count: int) -> None:
        order = np.argsort(-matches.score, kind="stable")
        score, image = matches.score[order], matches.image[order]
        self._hit, self._false = matches.hit[:, order], matches.false[:, order]
        self._owner, self._count = units[image], count
        self._boxes = by_unit(matches.boxes, units, count)
        self._hits = np.stack([by_unit(row, self._owner, count) for row in self._hit])
        new = np.ones(len(order), dtype=np.bool_)  # where a run of one image and score begins
        new[1:] = (image[1:] != image[:-1]) | (score[1:] != score[:-1])
        starts = np.flatnonzero(new)
        self._run = np.cumsum(new) - 1
        self._mixed = np.zeros(len(order), dtype=np.bool_)
        if len(order):
            both = [np.logical_or.reduceat(each, starts, axis=1) for each in (self._hit, self._false)]
            self._mixed = np.asarray((both[0] & both[1]).any(axis=0))[self._run]
        self._laid: dict[int, tuple[IntArray, IntArray]] = {}

    @property
    def size(self) -> int:
        """How many numbers a replicate takes, about."""
        return len(self._owner) + 8 * int(self._mixed.sum())

    def _order(self, copies: int) -> tuple[IntArray, IntArray]:
        """The detections in order, and the unit of each; copy c of unit u is unit count * (1 + c) + u."""
        if copies not in self._laid:
            alone, mixed = np.flatnonzero(~self._mixed), np.flatnonzero(self._mixed)
            copy = np.repeat(np.arange(copies), len(mixed))
            place = np.concatenate([alone, np.tile(mixed, copies)])
            unit = np.concatenate(
                [self._owner[alone], (1 + copy) * self._count + np.tile(self._owner[mixed], copies)]
            )
            sorted_ = np.lexsort((place, np.concatenate([np.zeros(len(alone), int), copy]), self._run[place]))
            self._laid[copies] = place[sorted_], unit[sorted_]
        return self._laid[copies]

    def average_precision(self, thresholds: Sequence[int], multiplicity: FloatArray) -> FloatArray:
        """The mean over thresholds and 101 recalls of the interpolated precision: [b, units] -> [b].

        NaN where no true box is drawn.
        """
        drawn = np.ascontiguousarray(multiplicity.T)
        copies = max(1, int(np.ceil(drawn.max(initial=0.0)))) if self._mixed.any() else 0
        place, unit = self._order(copies)
        weights = np.concatenate([drawn, *(np.clip(drawn - copy, 0.0, 1.0) for copy in range(copies))])
        boxes = multiplicity @ self._boxes
        steps = _steps(boxes)
        means = np.zeros(len(boxes))
        for at in thresholds:
            means += _interpolated(self._hit[at, place], self._false[at, place], unit, weights, steps)
        return np.where(boxes > 0, means / len(thresholds), np.nan)

    def recall(self, multiplicity: FloatArray) -> FloatArray:
        """The mean over thresholds of the share of true boxes that are found: [b, units] -> [b]; NaN as above."""
        boxes = multiplicity @ self._boxes
        shares: FloatArray = divide(multiplicity @ self._hits.T, boxes[:, None]).mean(axis=1)
        return shares


def _steps(boxes: FloatArray) -> FloatArray:
    """How many hits reach each recall, [b, recalls]: the least c with c / boxes >= recall, in floating point too."""
    total = np.maximum(boxes, 1.0)[:, None]
    least = np.ceil(RECALLS * total)
    least -= (least - 1.0) / total >= RECALLS
    least += least / total < RECALLS
    return np.maximum(least, 0.0)


def _interpolated(
    hit: BoolArray, false: BoolArray, unit: IntArray, weights: FloatArray, steps: FloatArray
) -> FloatArray:
    """The mean over recalls of the largest precision there or at a larger recall, [b]; 0 where it is not reached."""
    hits, misses = np.flatnonzero(hit), np.flatnonzero(false)
    replicates = weights.shape[1]
    if not len(hits):
        return np.zeros(replicates)
    before = np.searchsorted(misses, hits)  # false detections before each hit
    runs = csr_array(
        (np.ones(before[-1]), unit[misses[: before[-1]]], np.append(0, before)),
        shape=(len(hits), len(weights)),
    )
    below = np.cumsum(np.asarray(runs @ weights), axis=0)
    above = np.cumsum(weights[unit[hits]], axis=0)
    below += above
    below += np.spacing(1)  # as pycocotools
    np.divide(above, below, out=below)
    best = np.ascontiguousarray(np.maximum.accumulate(below[::-1], axis=0)[::-1].T)
    # one search in all replicates: each has a stretch of numbers of its own
    stretch = max(float(steps.max()), float(above[-1].max())) + 1.0
    offset = np.arange(replicates)[:, None]
    at = np.searchsorted((above.T + offset * stretch).ravel(), (steps + offset * stretch).ravel())
    at = at.reshape(steps.shape) - offset * len(hits)
    found = best[offset, np.minimum(at, len(hits) - 1)]
    means: FloatArray = np.where(at < len(hits), found, 0.0).mean(axis=1)
    return means


def detection_table(
    metrics: Sequence[str], truth: Truth, found: Detections, units: IntArray, count: int
) -> tuple[dict[str, tuple[int, list[Cell]]], int]:
    """The estimators of boxes: metric to (images, a cell for each class); and how many numbers a replicate takes.

    Args:
        metrics: of boxes. units: [images], the group, of `count`, of an image.

    Raises:
        MissingLibraryError: pycocotools is not installed.
    """
    table: dict[str, tuple[int, list[Cell]]] = {metric: (len(truth), []) for metric in metrics}
    items = len(truth)
    for name, matches in zip(truth.classes, matches_of(truth, found), strict=True):
        ranking = BoxRanking(matches, units, count)
        items = max(items, ranking.size)
        known = bool(matches.boxes.any())
        reason = "the truth has no box of it"
        if matches.held:
            reason = "the truth has no box of it but crowds"
        for metric in metrics:
            estimator = METRICS[metric].boxes
            table[metric][1].append(
                Cell(
                    metric,
                    name if len(truth.classes) > 1 else "",
                    len(truth),
                    int((matches.boxes > 0).sum()),
                    count,
                    estimator(ranking) if known and estimator is not None else None,
                    "" if known else reason,
                )
            )
    return table, items


def coco_scores(
    truth: Mapping[str, Any],
    predicted: Sequence[Mapping[str, Any]],
    groups: Mapping[str, str] | None = None,
    *,
    bootstrap: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> tuple[Result, ...]:
    """COCO's average precision and recall of boxes, of each class and as the mean over classes, with intervals.

    Args:
        truth: {"images": [{"id"}], "annotations": [{"image_id", "category_id", "bbox"}], "categories": [{"id",
            "name"}]}; boxes are x, y, width, height in px. An annotation without one is a fault, unless the name of its
            category is empty.
        predicted: [{"image_id", "category_id", "bbox", "score"}], scores 0..1. An image without one has no detection.
        groups: name of an image's file, or its id as text, to its group (location); None: the `location` of the images,
            where there is one, else each image is its own group.
        bootstrap, seed, confidence: replicates of the groups, their seed, and the share between the limits.

    Returns:
        `Result`s, each with `metric`, `label` (the class; empty: the mean over the classes of which the truth has a
        box), `value`, `low`, `high`, all 0..1: coco_ap (IoU 0.50 to 0.95 in steps of 0.05, 100 detections an image,
        areas of all sizes), coco_ap_50, coco_ap_75, coco_ar_100. NaN with a `reason` for a class without a box.

    Raises:
        TableError: everything that is wrong with the lists, at once. MissingLibraryError: pycocotools is not installed.

    Source: `COCOeval` of pycocotools 2.0, to which the values are equal.
    """
    matcher()
    true, faults = read_truth(truth)
    if true is None:
        raise TableError(
            f"the boxes have faults: {'; '.join(faults)}",
            where="truth",
            remedy="correct these boxes or leave them out",
        )
    found, wrong = read_detections(list(predicted), true)
    named_groups, _, lost = true.groups(groups)
    faults += [*wrong, *lost]
    if true.unboxed.any():
        faults.append(f"images with an annotation that has no bbox: {int(true.unboxed.sum()):,}")
    if found is None or faults:
        raise TableError(
            f"the boxes have faults: {'; '.join(faults)}",
            where="boxes",
            remedy="correct these boxes or leave them out",
        )
    codes, count = group_codes(true.ids if named_groups is None else named_groups)
    table, items = detection_table(
        tuple(name for name, metric in METRICS.items() if metric.kinds == BOXES), true, found, codes, count
    )
    named = "group" if named_groups is not None else "case"
    how = Resampling(count, named, named_groups is not None, items, bootstrap, seed, confidence)
    return results_of(table, how)[0]
