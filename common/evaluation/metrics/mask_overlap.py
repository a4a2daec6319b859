"""Overlap of masks from voxel counts: one row per unit (a volume, or a single image), never a mean over slices.

Columns, for each class c but the background: `truth_<c>`, `predicted_<c>`, `both_<c>`, how many voxels of the unit
are of the class in the truth, in the prediction and in both; `hausdorff_95_<c>` in mm (NaN where undefined);
and `spacing`, empty where it is unknown. A unit whose `truth_<c>` is empty has no known mask.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from graftwork.common.errors import TableError
from graftwork.common.evaluation.arrays import (
    Array,
    BoolArray,
    Estimator,
    FloatArray,
    IntArray,
    by_unit,
    divide,
    ratio,
)
from graftwork.common.evaluation.intervals.bootstrap import group_codes
from graftwork.common.evaluation.mask_values import mask_pair
from graftwork.common.evaluation.metrics.operating_points import mean_of_defined
from graftwork.common.evaluation.metrics.registry import METRICS, function_of
from graftwork.common.evaluation.results import Cell
from graftwork.common.evaluation.tables.prediction_arrays import (
    absent,
    faulty_cases,
    has_groups,
    numbers,
    refuse,
    row_faults,
    text_of,
)
from graftwork.common.wording import quantity

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

    from graftwork.common.evaluation.mask_rules import MaskRules, Region
    from graftwork.common.evaluation.metrics.lesions import LesionWise
    from graftwork.common.evaluation.metrics.surface_distances import Surfaces
    from graftwork.common.evaluation.protocols import Protocol


_COUNTS = ("truth", "predicted", "both")
_DISTANCE = "hausdorff_95"


@dataclass(frozen=True, eq=False)
class Masks:
    """The units of one part with a known mask, as counts of voxels.

    Attributes:
        classes: K, without the background.
        truth, predicted, both: [n, K], counts. distance: [n, K], mm, NaN where undefined.
        measured: whether there was a column of distances at all. spaced: [n], whether the spacing is known.
        parts: [n], how many rows a unit was combined from.
        groups: [n]. case: [n]. excluded: units of the part without a known mask.
    """

    classes: tuple[str, ...]
    truth: FloatArray
    predicted: FloatArray
    both: FloatArray
    distance: FloatArray
    measured: bool
    spaced: BoolArray
    parts: IntArray
    groups: Array
    case: Array
    excluded: int = 0

    def __len__(self) -> int:
        return len(self.truth)

    @cached_property
    def units(self) -> tuple[IntArray, int]:
        """The group of each unit as a number, and how many groups there are."""
        return group_codes(self.groups)

    @property
    def known_distance(self) -> FloatArray:
        """`distance` where both masks hold the class and the spacing is known; else NaN."""
        known = (self.truth > 0) & (self.predicted > 0) & self.spaced[:, None]
        return np.where(known, self.distance, np.nan)


def unit_values(metric: str, masks: Masks, empty: str = "one") -> FloatArray:
    """A metric of each unit and class, [n, K]; NaN where it is undefined.

    Dice is 2 |A and B| / (|A| + |B|), without smoothing; Jaccard |A and B| / |A or B|; the volume difference
    | |B| - |A| | / |A| of the truth A and the prediction B.

    Args:
        empty: Dice and Jaccard of a class that neither mask holds: "one", or "undefined" (NaN).

    Raises:
        UsageError: an unknown metric, or none of masks.
    """
    found = function_of(metric, "unit_values", "masks")(masks)
    one = METRICS[metric].empty_one and empty == "one"
    return np.where((masks.truth + masks.predicted == 0) & one, 1.0, found)


def dice_of_counts(masks: Masks) -> FloatArray:
    """Dice of each unit and class, [n, K]."""
    return divide(2.0 * masks.both, masks.truth + masks.predicted)


def jaccard_of_counts(masks: Masks) -> FloatArray:
    """The Jaccard index of each unit and class, [n, K]."""
    return divide(masks.both, masks.truth + masks.predicted - masks.both)


def volume_difference_of_counts(masks: Masks) -> FloatArray:
    """The relative volume difference of each unit and class, [n, K]."""
    return divide(np.abs(masks.predicted - masks.truth), masks.truth)


def segmentation_score(metric: str, frame: pd.DataFrame, classes: Sequence[str], empty: str = "one") -> float:
    """One metric of masks without an interval, for early stopping: the mean over classes of the mean over units.

    Args:
        metric: "dice", "dice_median" (the median over units in place of the mean), "jaccard" or another of masks.
        frame: one row a unit, with the columns of counts; units without a known mask are left out.
        classes: of the target, (background, ...).
        empty: as in `unit_values`.

    Returns:
        Over the classes, and in each the units, for which it is defined; NaN where there are none.

    Raises:
        UsageError: an unknown metric. TableError: the columns are missing, or hold no counts.
    """
    foreground = tuple(classes)[1:]
    missing = [column for column in _columns(foreground) if column not in frame.columns]
    refuse(frame, [f"the column {column} is missing" for column in missing])
    names = np.arange(len(frame)).astype(str).astype(object)
    refuse(frame, list(_count_faults(frame, foreground, names)))
    masks = _masks(frame, foreground, names, names)
    values = unit_values(metric, masks, empty)
    if METRICS[metric].median:
        defined = [column[~np.isnan(column)] for column in values.T]
        each = np.array([np.median(column) if len(column) else np.nan for column in defined])
    else:
        each = mean_of_defined(values, axis=0)
    return float(mean_of_defined(each, axis=0))


def read_masks(
    predictions: pd.DataFrame, classes: Sequence[str], part: str, *, group: str = "group", by: str = ""
) -> Masks:
    """The units of a part as counts, ordered by name; the whole table is checked first.

    Args:
        classes: of the target, (background, ...).
        by: the column whose equal values are added up into one unit; empty where each row is one already. Across
            rows that were added up no distance is known.

    Raises:
        TableError: all faults of the table at once.
    """
    foreground = tuple(classes)[1:]
    faults, names = row_faults(predictions, _columns(foreground), group, by)
    if names is not None:
        faults += _count_faults(predictions, foreground, names)
    refuse(predictions, faults)
    if names is None:
        raise TableError(
            "there is no row", where="predictions", remedy="write a table with a row for each case"
        )  # `refuse` said so
    rows = np.flatnonzero(text_of(predictions["part"]) == part)
    rows = rows[np.argsort(names[rows].astype(str), kind="stable")]
    frame, case = predictions.iloc[rows], names[rows].astype(str)
    grouped = has_groups(predictions, group)
    groups = text_of(frame[group]).astype(str) if grouped else case
    if not by:
        return _masks(frame, foreground, groups, case)
    unit = text_of(frame[by]).astype(str)
    return _added_up(_masks(frame, foreground, groups if grouped else unit, case, known_only=False), unit)


def _columns(classes: Sequence[str]) -> list[str]:
    return [f"{count}_{name}" for name in classes for count in _COUNTS]


def _count_faults(frame: pd.DataFrame, classes: Sequence[str], case: Array) -> Iterator[str]:
    for name in classes:
        found: dict[str, FloatArray] = {}
        for column in (f"{count}_{name}" for count in (*_COUNTS, _DISTANCE)):
            if column not in frame.columns:
                continue
            values, odd = numbers(frame[column])
            yield from faulty_cases(f"{column} is not a number", odd, case)
            yield from faulty_cases(
                f"{column} is negative or infinite", (values < 0) | np.isinf(values), case
            )
            if not column.startswith(_DISTANCE):
                whole = np.isnan(values) | np.isinf(values) | (values == np.round(values))
                yield from faulty_cases(f"{column} is not a whole number of voxels", ~whole, case)
                found[column.partition("_")[0]] = values
        if len(found) < len(_COUNTS):
            continue
        known = ~np.isnan(found["truth"])
        yield from faulty_cases(f"predicted_{name} is missing", np.isnan(found["predicted"]), case)
        yield from faulty_cases(f"both_{name} is missing", np.isnan(found["both"]) & known, case)
        least = np.fmin(found["truth"], found["predicted"])
        yield from faulty_cases(
            f"both_{name} is more than there is in one of the masks", found["both"] > least, case
        )


def _masks(
    frame: pd.DataFrame, classes: tuple[str, ...], groups: Array, case: Array, *, known_only: bool = True
) -> Masks:
    def column(start: str) -> FloatArray:
        blank = np.full(len(frame), np.nan)
        each = [
            numbers(frame[f"{start}_{name}"])[0] if f"{start}_{name}" in frame.columns else blank
            for name in classes
        ]
        return np.stack(each, axis=1) if each else np.empty((len(frame), 0))

    truth, predicted, both, distance = (column(start) for start in (*_COUNTS, _DISTANCE))
    everything = np.ones(len(frame), dtype=np.bool_)
    spaced = ~absent(text_of(frame["spacing"])) if "spacing" in frame.columns else everything
    kept = ~np.isnan(truth).any(axis=1) if known_only else everything
    return Masks(
        classes,
        truth[kept],
        predicted[kept],
        both[kept],
        distance[kept],
        any(f"{_DISTANCE}_{name}" in frame.columns for name in classes),
        spaced[kept],
        np.ones(int(kept.sum()), dtype=np.intp),
        groups[kept],
        case[kept],
        int((~kept).sum()),
    )


def _added_up(masks: Masks, unit: Array) -> Masks:
    """The rows of each unit added up. A unit of which a row has no known mask has none."""
    names, codes = np.unique(unit, return_inverse=True)
    codes = codes.astype(np.intp)
    count = len(names)
    size = np.bincount(codes, minlength=count).astype(np.intp)
    first = np.full(count, len(codes), dtype=np.intp)
    np.minimum.at(first, codes, np.arange(len(codes)))
    truth, predicted, both = (
        by_unit(each, codes, count) for each in (masks.truth, masks.predicted, masks.both)
    )
    known = ~np.isnan(truth).any(axis=1)
    distance = np.where((size == 1)[:, None], masks.distance[first], np.nan)
    spaced = np.bincount(codes, ~masks.spaced, minlength=count) == 0
    return Masks(
        masks.classes,
        truth[known],
        predicted[known],
        both[known],
        distance[known],
        masks.measured,
        spaced[known],
        size[known],
        masks.groups[first][known],
        names[known],
        int((~known).sum()),
    )


def segmentation_table(
    protocol: Protocol, masks: Masks
) -> tuple[dict[str, tuple[int, list[Cell]]], list[str]]:
    """The estimators of masks by a protocol: metric to (units, a cell for each class); and the notes about
    units for which a metric is undefined. Of one class the cell is that of the whole."""
    units, count = masks.units
    table: dict[str, tuple[int, list[Cell]]] = {}
    said: list[str] = []
    for metric in protocol.metrics:
        values = unit_values(metric, masks, protocol.empty)
        defined = ~np.isnan(values)
        cells: list[Cell] = []
        for k, name in enumerate(masks.classes):
            have = defined[:, k]
            why = _why_not(metric, masks, k, have)
            if len(masks) and why:
                all_of = quantity(len(masks), protocol.unit)
                what = f"defined for {int(have.sum()):,} of {all_of} ({why})"
                if have.any():
                    said.append(f"{METRICS[metric].title} of {name}: {what}.")
                reason = "" if have.any() else what
            else:
                reason = "" if len(masks) else f"no {protocol.unit} with a known mask"
            estimate = _median if METRICS[metric].median else _mean
            cells.append(
                Cell(
                    metric,
                    name if len(masks.classes) > 1 else "",
                    int(have.sum()),
                    int((masks.truth[:, k] > 0).sum()),
                    len(np.unique(units[have])),
                    None if reason else estimate(values[have, k], units[have], count),
                    reason,
                )
            )
        table[metric] = (int(defined.any(axis=1).sum()), cells)
    return table, said


def _why_not(metric: str, masks: Masks, k: int, have: BoolArray) -> str:
    """Why a metric is undefined for some units, with how many; empty where it is defined for all."""
    if have.all():
        return ""
    if METRICS[metric].undefined:
        return f"in {int((~have).sum()):,} {METRICS[metric].undefined}"
    left = ~have
    reasons = []
    empty = (masks.truth[:, k] == 0) | (masks.predicted[:, k] == 0)
    for why, rows in (
        ("the spacing is unknown", ~masks.spaced),
        ("truth or prediction does not hold it", empty),
        ("no distance is known across the rows that were added up", masks.parts > 1),
        ("it was not measured", np.ones(len(masks), dtype=np.bool_)),
    ):
        number = int((left & rows).sum())
        left = left & ~rows
        reasons += [f"in {number:,} {why}"] if number else []
    return ", ".join(reasons)


def _mean(values: FloatArray, units: IntArray, count: int) -> Estimator:
    return ratio(values, np.ones(len(values)), units, count)


def _median(values: FloatArray, units: IntArray, count: int) -> Estimator:
    """The estimator of the median: of an even number the mean of the two in the middle."""
    order = np.argsort(values, kind="stable")
    ordered, owner = values[order], units[order]

    def estimator(multiplicity: FloatArray) -> FloatArray:
        drawn: FloatArray = np.cumsum(np.take(multiplicity, owner, axis=1), axis=1)
        half = drawn[:, -1:] / 2.0
        lower, upper = (ordered[np.argmax(reached, axis=1)] for reached in (drawn >= half, drawn > half))
        return np.where(half[:, 0] > 0, (lower + upper) / 2.0, np.nan)

    return estimator


def dice(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Twice the volume in common over the sum of both; NaN where both are empty.

    Args:
        truth, predicted: booleans (or 0 and 1) of one shape.

    Raises:
        UsageError: the shapes differ. TableError: a mask holds other values.
    """
    one, other = mask_pair(truth, predicted, "overlap")
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else float("nan")


def jaccard(truth: ArrayLike, predicted: ArrayLike) -> float:
    """The volume in common over the volume of either; NaN where both are empty. Args and raises: as `dice`."""
    one, other = mask_pair(truth, predicted, "overlap")
    total = int((one | other).sum())
    return int((one & other).sum()) / total if total else float("nan")


@dataclass(frozen=True, eq=False)
class RegionMasks:
    """One region of one case as two masks, with the rules of the protocol.

    Attributes:
        truth, predicted: booleans of one shape. spacing: mm along each axis; None: unknown, so that distances and
            lesion-wise scores are NaN. rules, region: of the protocol. inside: region to its two masks.
    """

    truth: BoolArray
    predicted: BoolArray
    spacing: tuple[float, ...] | None
    rules: MaskRules
    region: Region
    inside: Mapping[str, tuple[BoolArray, BoolArray]]

    @cached_property
    def _empty(self) -> tuple[bool, bool]:
        return not self.truth.any(), not self.predicted.any()

    @cached_property
    def surfaces(self) -> Surfaces | None:
        """Both surfaces; None where the spacing is unknown."""
        from graftwork.common.evaluation.metrics.surface_distances import Surfaces

        return None if self.spacing is None else Surfaces(self.truth, self.predicted, self.spacing)

    @cached_property
    def _lesions(self) -> LesionWise | None:
        from graftwork.common.evaluation.metrics.lesions import SubRegion, lesion_wise

        if not self.rules.lesions or self.spacing is None:
            return None
        places = {each.name: each for each in self.rules.regions}
        return lesion_wise(
            self.truth, self.predicted, self.spacing,
            dilation=self.region.dilation, smallest=self.region.smallest, penalty=self.rules.penalty,
            rules=self.rules.lesions,
            touching=[
                SubRegion(*self.inside[name], places[name].dilation, places[name].smallest)
                for name in self.region.touching
            ],
        )  # fmt: skip

    def share(self, value: Callable[[], float]) -> float:
        """A share of the masks, by the protocol's rule where both are empty."""
        if all(self._empty):
            return math.nan if self.rules.empty_both is None else self.rules.empty_both[0]
        return value()

    def distance(self, value: Callable[[Surfaces], float]) -> float:
        """A distance of the surfaces, by the protocol's rules where one or both masks are empty."""
        if self.surfaces is None:
            return math.nan
        if all(self._empty):
            return math.nan if self.rules.empty_both is None else self.rules.empty_both[1]
        if any(self._empty):
            return math.nan if self.rules.empty_one is None else self.rules.empty_one
        return value(self.surfaces)

    def surface_dice(self, tolerance: float) -> float:
        """The share of both surfaces within `tolerance` mm of the other; NaN where the spacing is unknown."""
        return math.nan if self.surfaces is None else self.surfaces.surface_dice(tolerance)

    def jaccard_from_least(self) -> float:
        """The Jaccard index, 0 where it is below the least of the protocol."""
        found = jaccard(self.truth, self.predicted)
        return 0.0 if found < self.rules.least else found

    def rate(self, inside: BoolArray, predicted: BoolArray) -> float:
        """The share of the voxels inside that are predicted; NaN where there are none."""
        total = int(inside.sum())
        return int((inside & predicted).sum()) / total if total else math.nan

    def of_lesions(self, value: Callable[[LesionWise], float]) -> float:
        """A lesion-wise score; NaN where the protocol has no such rules, or the spacing is unknown."""
        return math.nan if self._lesions is None else value(self._lesions)


def region_value(metric: str, masks: RegionMasks) -> float:
    """A metric of two masks of one region.

    Raises:
        UsageError: it is not a metric of two masks.
    """
    return float(function_of(metric, "region", "two masks")(masks))
