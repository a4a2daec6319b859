"""Combine cases into the unit of evaluation: the frames of an event, the images of a visit.

One case has one truth and one row of scores; so has the unit made of several. What is unknown of a unit is
unknown, and counted, never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graftwork.common.evaluation.arrays import Array, BoolArray, FloatArray, IntArray, by_unit, divide

UNKNOWN = -1  # the index of a class that is not known


@dataclass(frozen=True, eq=False)
class Rows:
    """Cases as arrays, those without a known truth among them.

    Attributes:
        case, groups: [n], names.
        truth: exclusive classes: [n], the index of the class, -1 where unknown; labels: [n, K] of 0, 1 and NaN.
        scores: [n, K].
        several: how many have no truth because their cases have several.
    """

    case: Array
    groups: Array
    truth: Array
    scores: FloatArray
    several: int = 0


def put_together(
    rows: Rows, unit: Array, kind: str, classes: tuple[str, ...], *, pooling: str = "mean", rest: str = ""
) -> Rows:
    """One row for each unit, in the order of their names.

    The truth of a unit. Binary and each label: positive where any case is; negative where all are known to be.
    Ordinal: the largest known. Exclusive classes: the one that occurs; with `rest`, the one other than it that
    occurs, and `rest` where all cases are it. Several classes in one unit, or a case that is not known: unknown.

    The scores. `mean`: of its cases. `max`: binary and labels: the largest; exclusive classes: the largest of
    each, made to sum to 1; ordinal: those of the case with the highest expected class (of equals the first).

    Args:
        unit: [n], the name of each row's unit; equal ones come from one group.
        rest: the class that yields to others, such as that of an image with nothing in it; where the classes lack
            it, none yields.
    """
    names, codes = np.unique(unit.astype(str), return_inverse=True)
    codes = codes.astype(np.intp)
    count = len(names)
    first = np.full(count, len(codes), dtype=np.intp)
    np.minimum.at(first, codes, np.arange(len(codes)))
    truth, several = _truth(rows.truth, codes, count, kind, classes, rest)
    return Rows(names, rows.groups[first], truth, _scores(rows.scores, codes, count, kind, pooling), several)


def _any(rows: BoolArray, codes: IntArray, count: int) -> BoolArray:
    found: BoolArray = np.bincount(codes[rows], minlength=count) > 0
    return found


def _truth(
    truth: Array, codes: IntArray, count: int, kind: str, classes: tuple[str, ...], rest: str
) -> tuple[Array, int]:
    found: Array
    if kind == "multi-label":
        found = np.zeros((count, truth.shape[1]))
        for k in range(truth.shape[1]):
            found[_any(np.isnan(truth[:, k]), codes, count), k] = np.nan
            found[_any(truth[:, k] == 1, codes, count), k] = 1.0
        return found, 0
    if kind == "ordinal":
        found = np.full(count, UNKNOWN, dtype=np.intp)
        np.maximum.at(found, codes, truth)
        return found, 0
    yields = classes.index(rest) if rest in classes else 0 if kind == "binary" else UNKNOWN
    unknown = _any(truth == UNKNOWN, codes, count)
    if yields == UNKNOWN:
        found = np.full(count, UNKNOWN, dtype=np.intp)
    else:  # one case that is not known might be of another class
        found = np.where(unknown, UNKNOWN, yields).astype(np.intp)
    occurring = np.zeros(count, dtype=np.intp)
    for k in range(len(classes)):
        if k != yields:
            here = _any(truth == k, codes, count)
            occurring += here
            found[here] = k
    found[occurring > 1] = UNKNOWN
    if kind != "binary":  # there one positive is enough, whatever the others are
        found[unknown] = UNKNOWN
    return found, int((occurring > 1).sum())


def _scores(scores: FloatArray, codes: IntArray, count: int, kind: str, pooling: str) -> FloatArray:
    if pooling == "mean":
        return divide(
            by_unit(scores, codes, count), np.bincount(codes, minlength=count)[:, None].astype(float)
        )
    if kind == "ordinal":
        expected = scores @ np.arange(scores.shape[1])
        order = np.lexsort(
            (np.arange(len(codes)), -expected, codes)
        )  # the rows come in the order of their names
        starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
        highest: FloatArray = scores[order[starts]]
        return highest
    largest = np.zeros((count, scores.shape[1]))
    np.maximum.at(largest, codes, scores)
    if kind == "binary":
        return np.stack([1.0 - largest[:, 1], largest[:, 1]], axis=1)
    if kind == "multi-label":
        return largest
    return divide(largest, largest.sum(axis=1, keepdims=True))
