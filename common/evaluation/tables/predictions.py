"""The table of predictions: checked as a whole, and turned into arrays.

One row a case. Columns: `case` (unique), `part`, the target (`target` with the class by name, or
`target_<class>` with 0, 1 or nothing for labels that do not exclude each other), one `score_<class>` a class
with a probability, and `group` (whom it came from). Of a further target each of these names begins with its
prefix: `count_target`, `count_score_<class>`. Masks: see `mask_folders`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from graftwork.common.errors import UsageError
from graftwork.common.evaluation.arrays import Array, BoolArray, FloatArray, IntArray
from graftwork.common.evaluation.intervals.bootstrap import group_codes
from graftwork.common.evaluation.metrics.registry import EXCLUSIVE, SCORED
from graftwork.common.evaluation.tables.prediction_arrays import (
    absent,
    faulty_cases,
    has_groups,
    numbers,
    refuse,
    row_faults,
    text_of,
)
from graftwork.common.evaluation.tables.units import UNKNOWN, Rows, put_together
from graftwork.common.wording import short_list

if TYPE_CHECKING:
    import pandas as pd

    from graftwork.common.evaluation.protocols import Protocol as Convention


_OVERSHOOT = 1e-6  # a mean of float32 probabilities may pass 1 by rounding; more is no probability
_SUM = 0.01  # probabilities rounded to a few digits still sum to 1 within this
_COARSE_SUM = 0.05  # and those of many classes rounded to two decimals within this


class TargetLike(Protocol):
    """The target: "binary" (classes: negative, positive), "multi-class", "multi-label", "ordinal" (classes
    in their order) or "segmentation" (background first). It may have a `prefix`, of its columns, and a `name`."""

    @property
    def kind(self) -> str: ...
    @property
    def classes(self) -> Sequence[str]: ...


@dataclass(frozen=True, eq=False)
class Question:
    """One yes-or-no question put to cases: is it this class?

    Attributes:
        label: the class; empty where there is only one question.
        rows: [m], of the cases that have an answer. truth: [m]. scores: [m].
        units, count: [m], the group of each in 0..count-1.
        decided: [m], called positive; None where there is no decision, and `undecided` says why.
    """

    label: str
    rows: IntArray
    truth: BoolArray
    scores: FloatArray
    units: IntArray
    count: int
    decided: BoolArray | None = None
    undecided: str = "no threshold was chosen"

    @property
    def decision(self) -> BoolArray:
        """`decided`, where there is a decision; metrics that need one check this first (`why_undefined`)."""
        if self.decided is None:
            raise ValueError(f"no decision on {self.label!r}: {self.undecided}")
        return self.decided


@dataclass(frozen=True, eq=False)
class Cases:
    """The cases of one part with a known label, as arrays.

    Attributes:
        kind, classes: of the target.
        truth: exclusive classes: [n], the index of the class; labels: [n, K] of 0, 1 and NaN (unknown).
        scores: [n, K], float64 probabilities.
        groups: [n], the group of each. case: [n], its name.
        excluded: cases of the part without a known label; several: those of them that combine cases of several classes.
        undecided: whether a case whose largest score several classes share is given none of them; else the first.
    """

    kind: str
    classes: tuple[str, ...]
    truth: Array
    scores: FloatArray
    groups: Array
    case: Array
    excluded: int = 0
    several: int = 0
    undecided: bool = False

    def __len__(self) -> int:
        return len(self.scores)

    @cached_property
    def units(self) -> tuple[IntArray, int]:
        """The group of each case as a number, and how many groups there are."""
        return group_codes(self.groups)

    def questions(self) -> tuple[Question, ...]:
        """Binary: the positive class. Exclusive classes: each against the rest, decided by the largest score
        (of equals the first). Labels: each over the cases where it is known."""
        units, count = self.units
        everyone = np.arange(len(self))
        if self.kind == "binary":
            return (Question("", everyone, self.truth == 1, self.scores[:, 1], units, count),)
        if self.kind in EXCLUSIVE:
            choice = self.choice
            return tuple(
                Question(name, everyone, self.truth == k, self.scores[:, k], units, count, choice == k)
                for k, name in enumerate(self.classes)
            )
        known = ~np.isnan(self.truth)
        return tuple(
            Question(
                name,
                np.flatnonzero(known[:, k]),
                self.truth[known[:, k], k] == 1,
                self.scores[known[:, k], k],
                units[known[:, k]],
                count,
            )
            for k, name in enumerate(self.classes)
        )

    @property
    def outcomes(self) -> BoolArray:
        """[n, K], whether each class is the true one; of exclusive classes."""
        return np.asarray(self.truth[:, None] == np.arange(len(self.classes)))

    @property
    def choice(self) -> IntArray:
        """[n], the class with the largest score; of equals the one with the lowest index, or -1 (`undecided`)."""
        chosen: IntArray = np.argmax(self.scores, axis=1)
        if self.undecided and len(self):
            tied = (self.scores == self.scores.max(axis=1, keepdims=True)).sum(axis=1) > 1
            chosen = np.where(tied, -1, chosen)
        return chosen


def read_cases(
    predictions: pd.DataFrame,
    target: TargetLike,
    part: str | None = None,
    *,
    group: str = "group",
    protocol: Convention | None = None,
) -> Cases:
    """The cases of a part (None: of all) as arrays, ordered by name; the whole table is checked first.

    Where the column `group` is missing or empty, each case is its own group.

    Args:
        protocol: what it combines (`by`) is combined, and undecided cases stay undecided.

    Raises:
        TableError: all faults of the table at once: missing columns, duplicated cases, unknown classes,
            scores that are missing or outside 0..1, a unit with cases of two groups, no row.
    """
    rows = _rows_of(predictions, target, part, group, protocol)
    known = rows.truth != UNKNOWN if rows.truth.ndim == 1 else ~np.isnan(rows.truth).all(axis=1)
    return Cases(
        target.kind,
        tuple(target.classes),
        rows.truth[known],
        rows.scores[known],
        rows.groups[known],
        rows.case[known],
        int((~known).sum()),
        rows.several,
        protocol is not None and protocol.ties == "wrong",
    )


def _rows_of(
    predictions: pd.DataFrame, target: TargetLike, part: str | None, group: str, protocol: Convention | None
) -> Rows:
    """The cases of a part, combined where the protocol says so, with those of unknown truth; after all checks."""
    by = "" if protocol is None else protocol.by
    refuse(predictions, list(_faults(predictions, target, group, by)))
    names = text_of(predictions["case"])
    kept = np.ones(len(names), dtype=np.bool_) if part is None else text_of(predictions["part"]) == part
    chosen = np.flatnonzero(kept)
    chosen = chosen[np.argsort(names[chosen].astype(str), kind="stable")]
    frame = predictions.iloc[chosen]
    grouped = has_groups(predictions, group)
    rows = _rows(frame, target, text_of(frame[group]) if grouped else names[chosen])
    if protocol is None or not by:
        return rows
    unit = text_of(frame[by])
    if not grouped:
        rows = Rows(rows.case, unit.astype(str), rows.truth, rows.scores)
    return put_together(
        rows, unit, target.kind, tuple(target.classes), pooling=protocol.pooling, rest=protocol.rest
    )


def units_table(
    predictions: pd.DataFrame, target: TargetLike, protocol: Convention, group: str = "group"
) -> pd.DataFrame:
    """A table with one row for each unit of the protocol; read again, it gives the same cases.

    Args:
        predictions, target, protocol, group: as `read_cases` takes them.

    Returns:
        `case` and the protocol's column are the unit's name; other columns hold what its first case has.

    Raises:
        TableError: as `read_cases`.
    """
    import pandas as pd

    unit, parts = text_of(predictions[protocol.by]), text_of(predictions["part"])
    found = []
    for part in dict.fromkeys(parts.tolist()):
        rows = _rows_of(predictions, target, part, group, protocol)
        here = np.flatnonzero(parts == part)
        order = here[np.argsort(text_of(predictions["case"])[here].astype(str), kind="stable")]
        first = {str(name): place for place, name in zip(order[::-1], unit[order[::-1]], strict=True)}
        table = predictions.iloc[[first[name] for name in rows.case]].copy()
        table["case"] = table[protocol.by] = rows.case
        table["part"] = part
        if has_groups(predictions, group):
            table[group] = rows.groups
        if rows.truth.ndim == 2:
            table[_target_columns(target)] = rows.truth
        else:
            class_names = np.array([*target.classes, None], dtype=object)
            table[_target_columns(target)[0]] = class_names[rows.truth]
        for name, scores in zip(target.classes, rows.scores.T, strict=True):
            column = f"{_prefix(target)}score_{name}"
            if column in table:  # of two classes the first may have none
                table[column] = scores
        found.append(table)
    return pd.concat(found, ignore_index=True)


def _rows(frame: pd.DataFrame, target: TargetLike, groups: Array) -> Rows:
    classes = tuple(target.classes)
    scores = np.stack([numbers(frame[name])[0] for name in score_columns(target)], axis=1).clip(0.0, 1.0)
    if target.kind == "binary":  # the positive class is evaluated
        scores = np.stack([1.0 - scores[:, -1], scores[:, -1]], axis=1)
    truth: Array
    if target.kind == "multi-label":
        truth = np.stack([numbers(frame[name])[0] for name in _target_columns(target)], axis=1)
    else:
        place = {name: index for index, name in enumerate(classes)}
        (column,) = _target_columns(target)
        truth = np.array([place.get(value, UNKNOWN) for value in text_of(frame[column])], dtype=np.intp)
    return Rows(text_of(frame["case"]).astype(str), groups.astype(str), truth, scores)


def _prefix(target: TargetLike) -> str:
    return str(getattr(target, "prefix", ""))


def _target_columns(target: TargetLike) -> list[str]:
    if target.kind == "multi-label":
        return [f"{_prefix(target)}target_{name}" for name in target.classes]
    return [f"{_prefix(target)}target"]


def score_columns(target: TargetLike) -> list[str]:
    """The columns that are needed; of a binary target the positive class's says all."""
    classes = target.classes[1:] if target.kind == "binary" else target.classes
    return [f"{_prefix(target)}score_{name}" for name in classes]


def _faults(frame: pd.DataFrame, target: TargetLike, group: str, by: str) -> Iterator[str]:
    """Everything that is wrong with a table of predictions, a line each."""
    if target.kind not in SCORED:
        raise UsageError(f"targets of kind {target.kind!r} have no scores to be read", where="target")
    classes = list(target.classes)
    targets, scores = _target_columns(target), score_columns(target)
    found, case = row_faults(frame, [*targets, *scores], group, by)
    yield from found
    if case is None:
        return
    columns = list(frame.columns)
    places = frame.attrs.get("columns", {})  # how the table that was read calls a column
    for name in (each for each in targets if each in columns):
        yield from _target_faults(frame[name], places.get(name, name), case, classes, target.kind)
    sound = []
    optional = [f"{_prefix(target)}score_{classes[0]}"] if target.kind == "binary" else []
    for name in (each for each in (*optional, *scores) if each in columns):
        faults = list(_score_faults(frame[name], places.get(name, name), case, target.kind))
        yield from faults
        sound += [] if faults else [name]
    if target.kind != "multi-label" and len(sound) == len(classes):
        scored = np.stack([numbers(frame[name])[0] for name in sound])
        total = scored.sum(axis=0)
        # of numbers with two decimals each may be off by 0.005
        coarse = bool((np.abs(scored * 100 - np.round(scored * 100)) < 1e-6).all())
        most = max(_SUM, min(len(sound) * 0.005, _COARSE_SUM)) if coarse else _SUM
        sums = np.array([f"{each:.4g}" for each in total], dtype=object)
        fault = f"the scores do not sum to 1 ({short_list([places.get(name, name) for name in sound], 8)})"
        yield from faulty_cases(fault, np.abs(total - 1.0) > most + 1e-9, case, sums)


def _target_faults(
    column: pd.Series[Any], name: str, case: Array, classes: Sequence[str], kind: str
) -> Iterator[str]:
    if kind == "multi-label":
        values, odd = numbers(column)
        odd |= ~np.isnan(values) & (values != 0) & (values != 1)
        held = text_of(column)
        found = short_list(np.unique(held[odd].astype(str)))
        policy = "; name a policy for labels of -1 (--uncertain)" if (values[odd] == -1).any() else ""
        yield from faulty_cases(f"{name} is not 0, 1 or empty but {found}{policy}", odd, case, held)
    else:
        text = text_of(column)
        odd = ~absent(text) & ~np.isin(text.astype(str), list(classes))
        found = short_list(np.unique(text[odd].astype(str)))
        yield from faulty_cases(
            f"{name} holds unknown classes: {found} (known: {short_list(classes, 20)})", odd, case
        )


def _score_faults(column: pd.Series[Any], name: str, case: Array, kind: str) -> Iterator[str]:
    values, odd = numbers(column)
    missing = np.isnan(values) & ~odd
    outside = ~np.isnan(values) & ~((values >= -_OVERSHOOT) & (values <= 1.0 + _OVERSHOOT))
    yield from faulty_cases(f"{name} is not a number", odd, case, text_of(column))
    yield from faulty_cases(f"{name} is missing (NaN)", missing, case)
    if outside.any():
        low, high = values[outside].min(), values[outside].max()
        advice = (
            "give probabilities" if kind in EXCLUSIVE else "--ranks evaluates the order of such scores alone"
        )
        what = f"{name} lies outside 0..1 ({low:g} to {high:g})"
        yield from (f"{fault}; {advice}" for fault in faulty_cases(what, outside, case, text_of(column)))
