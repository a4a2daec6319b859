"""A model and readers of the same cases, evaluated by what other readers said or by a truth of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from graftwork.common.errors import TableError
from graftwork.common.evaluation.arrays import (
    BoolArray,
    Estimator,
    FloatArray,
    IntArray,
    as_truth,
    divide,
    one_nan,
    require_choice,
    require_length,
)
from graftwork.common.evaluation.intervals.bootstrap import (
    describe,
    expanded_interval,
    group_codes,
    replicate,
    too_few,
)
from graftwork.common.evaluation.intervals.paired_tests import Difference, difference_of
from graftwork.common.evaluation.metrics.operating_points import mean_of_defined

Metric: TypeAlias = Literal["accuracy", "f1", "kappa", "sensitivity", "specificity"]
Reference: TypeAlias = Literal["majority-of-others", "each"]


def _kappa(tp: FloatArray, fp: FloatArray, fn: FloatArray, tn: FloatArray) -> FloatArray:
    n = tp + fp + fn + tn
    chance = (tp + fp) * (tp + fn) + (tn + fn) * (tn + fp)
    return divide(n * (tp + tn) - chance, n * n - chance)


# of true and false positives, false and true negatives
_METRICS: dict[str, Callable[[FloatArray, FloatArray, FloatArray, FloatArray], FloatArray]] = {
    "accuracy": lambda tp, fp, fn, tn: divide(tp + tn, tp + fp + fn + tn),
    "f1": lambda tp, fp, fn, tn: divide(2.0 * tp, 2.0 * tp + fp + fn),
    "kappa": _kappa,
    "sensitivity": lambda tp, fp, fn, tn: divide(tp, tp + fn),
    "specificity": lambda tp, fp, fn, tn: divide(tn, tn + fp),
}


@dataclass(frozen=True)
class ReaderValue:
    """The mean of a metric over comparisons with a reference.

    Attributes:
        value: over the comparisons in which it is defined; NaN where it is in none. low, high: its limits.
        defined, comparisons: in how many of how many it is defined.
        cases: the fewest and the most cases of a comparison. positives: the same of cases that the reference calls
            positive: sensitivity rests on these, specificity on the others.
        reason: why something is NaN; else empty.
    """

    value: float
    low: float
    high: float
    defined: int
    comparisons: int
    cases: tuple[int, int]
    reason: str = ""
    positives: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        one_nan(self, "value", "low", "high")


@dataclass(frozen=True)
class AgainstReaders:
    """A model and readers, evaluated against the same references.

    Attributes:
        model: the mean over its comparisons. readers: one for each reader, in the order of the columns.
        mean: of the readers. difference: the model less the mean of the readers, paired: of the same drawn groups.
        metric, reference: as asked for; "truth" where a truth was given. n, groups: cases and groups in all.
        method: of the limits, in words. notes: what a reader must know, a sentence each.
        names: of a table, the columns of the model and of the readers. command: that gives the same numbers.
        synthetic: whether a file rests on data that a program drew: no number then says anything about the world.
    """

    model: ReaderValue
    readers: tuple[ReaderValue, ...]
    mean: ReaderValue
    difference: Difference
    metric: str
    reference: str
    n: int
    groups: int
    method: str
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] = field(default=(), compare=False)
    command: str = field(default="", compare=False)
    synthetic: bool = False

    def _repr_html_(self) -> str:
        from graftwork.common.evaluation.text_tables import html_of, readers_rows

        caption = f"{self.metric} by {self.reference}: {self.n:,} cases, {self.groups:,} groups"
        return html_of(caption, readers_rows(self), (self.method, *self.notes))


def majority(readings: npt.ArrayLike) -> FloatArray:
    """What more than half of those who read a case said.

    Args:
        readings: [n, R] of 0 and 1; NaN where a reader did not read a case.

    Returns:
        [n] of 0 and 1; NaN for a tie, and where nobody read.

    Raises:
        TableError: another shape, or other values.
    """
    return _vote(_readings(readings))


def _vote(read: FloatArray) -> FloatArray:
    balance = np.where(np.isnan(read), 0.0, 2.0 * read - 1.0).sum(axis=1)
    return np.where(balance == 0.0, np.nan, (balance > 0.0).astype(np.float64))


def _readings(readings: npt.ArrayLike) -> FloatArray:
    found = np.asarray(readings)
    if found.ndim != 2:
        raise TableError(
            f"readings must have the shape [n, readers], they have {found.shape}",
            where="readings",
            remedy="give a row a case and a column a reader",
        )
    try:
        values = found.astype(np.float64)
        odd = np.unique(values[~np.isnan(values) & (values != 0.0) & (values != 1.0)])
        held = ", ".join(f"{value:g}" for value in odd[:5])
    except (TypeError, ValueError):
        held = str(found.dtype)
    if held:
        raise TableError(
            f"readings must hold 0, 1 and NaN, they hold {held}",
            where="readings",
            remedy="recode them; NaN is a case that a reader did not read",
        )
    return values


def against_readers(
    readings: npt.ArrayLike,
    model: npt.ArrayLike,
    metric: Metric = "f1",
    reference: Reference = "majority-of-others",
    groups: npt.ArrayLike | None = None,
    *,
    truth: npt.ArrayLike | None = None,
    replicates: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    group: str = "group",
) -> AgainstReaders:
    """A model's decisions beside those of R readers, all by the same reference.

    - `majority-of-others`: for each reader the majority of the other R - 1 is the reference, of that reader and of the
      model alike, on the cases that the reader read and that have a majority. The model's value is the mean over its R
      comparisons, the readers' the mean of theirs. Of an even R - 1 many cases may be tied, and fall away.
    - `each`: every single other reader is a reference: R comparisons of the model, R - 1 of a reader, each on
      the cases that both read.
    - `truth`: one reference of its own for all of them, such as histology or the majority of further readers: one
      comparison of the model, on the cases whose truth is known, and one of each reader, on those of them it read.

    Args:
        readings: [n, R], 0, 1, or NaN where a reader did not read a case; R at least 2, with `truth` at least 1.
        model: [n], 0 or 1, decisions at a threshold chosen on other cases.
        metric: accuracy, f1, kappa, sensitivity or specificity; NaN where undefined, as F1 without any positive.
        truth: [n], 0, 1, or NaN where it is not known; `reference` is then not used.
        groups: [n]; None: each case by itself. group: what a group is, for the words of the method.
        replicates, seed, confidence: as `group_bootstrap`. Readers are not resampled: the limits are for these readers
            and other cases.

    Raises:
        TableError: other values or shapes, fewer than two readers. UsageError: an unknown metric or reference.

    Source: Rajpurkar et al., arXiv 1711.05225 (2017): F1 of four readers and a model, each by the majority of three
    readers.
    """
    require_choice(metric, _METRICS, "metric")
    require_choice(reference, ("majority-of-others", "each"), "reference")
    read = _readings(readings)
    n, many = read.shape
    if many < (2 if truth is None else 1):
        raise TableError(
            f"at least {'two readers are' if truth is None else 'one reader is'} needed, there is {many}",
            where="readings",
            remedy="name further readers, or give a truth of its own",
        )
    known = None if truth is None else _readings(np.asarray(truth)[:, None])[:, 0]
    if known is not None:
        require_length(len(known), n, "truth")
    own = as_truth(model, "model").astype(np.float64)
    require_length(len(own), n, "model")
    codes, count = group_codes(np.arange(n) if groups is None else groups, n)
    evaluated = _comparisons(read, own, reference, known)
    sizes = [[int(there.sum()) for _, _, there in each] for each in evaluated]
    positive = [[int(y[there].sum()) for _, y, there in each] for each in evaluated]
    estimators = [_estimator(each, metric, codes, count) for each in evaluated]
    whole = [estimator(np.ones((1, count))) for estimator in estimators]
    drawn: list[FloatArray] = []
    if count >= 2:
        drawn = replicate(estimators, count, items=4 * many * many, replicates=replicates, seed=seed)
    why = "" if count >= 2 else too_few(count, group)

    def record(
        value: float, values: FloatArray | None, defined: int, of: int, cases: list[int], positives: list[int]
    ) -> ReaderValue:
        found = None if values is None else expanded_interval(values, count, confidence)
        reason = why if found is None else found.reason
        if math.isnan(value):
            reason = f"{metric} is undefined in every comparison"
        low, high = (math.nan, math.nan) if found is None else (found.low, found.high)
        spans = (min(cases), max(cases)), (min(positives), max(positives))
        return ReaderValue(value, low, high, defined, of, spans[0], reason, spans[1])

    means = [float(mean_of_defined(each, axis=1)[0]) for each in whole]
    resampled = [mean_of_defined(each, axis=1) for each in drawn]
    of_each = [
        record(value, resampled[k] if drawn else None, int((~np.isnan(whole[k])).sum()), len(sizes[k]), sizes[k],
               positive[k])
        for k, value in enumerate(means)
    ]  # fmt: skip
    together = float(mean_of_defined(np.array([means[1:]]), axis=1)[0])
    pooled = mean_of_defined(np.stack(resampled[1:], axis=1), axis=1) if drawn else None
    readers = int((~np.isnan(means[1:])).sum())
    mean = record(together, pooled, readers, many, list(chain(*sizes[1:])), list(chain(*positive[1:])))
    difference = Difference(means[0] - together, math.nan, math.nan, math.nan, 0, 0, why)
    if pooled is not None:
        difference = difference_of(means[0] - together, resampled[0] - pooled, count, confidence)
    method = describe(count, replicates, group, grouped=groups is not None)
    named = reference if known is None else "truth"
    return AgainstReaders(of_each[0], tuple(of_each[1:]), mean, difference, metric, named, n, count, method)


def _comparisons(
    read: FloatArray, own: FloatArray, reference: str, truth: FloatArray | None
) -> list[list[tuple[FloatArray, FloatArray, BoolArray]]]:
    """Of the model, and then of each reader: its decisions, the reference, and the cases compared, a list of each."""
    there = ~np.isnan(read)
    many = read.shape[1]
    if truth is not None:
        labelled = ~np.isnan(truth)
        return [
            [(own, truth, labelled)],
            *[[(read[:, k], truth, labelled & there[:, k])] for k in range(many)],
        ]
    if reference == "each":
        model = [(own, read[:, k], there[:, k]) for k in range(many)]
        readers = [
            [(read[:, k], read[:, j], there[:, k] & there[:, j]) for j in range(many) if j != k]
            for k in range(many)
        ]
        return [model, *readers]
    votes = [_vote(np.delete(read, k, axis=1)) for k in range(many)]
    known = [there[:, k] & ~np.isnan(votes[k]) for k in range(many)]
    return [
        [(own, votes[k], known[k]) for k in range(many)],
        *[[(read[:, k], votes[k], known[k])] for k in range(many)],
    ]


def _estimator(
    compared: list[tuple[FloatArray, FloatArray, BoolArray]], metric: str, codes: IntArray, count: int
) -> Estimator:
    """The estimator of a metric in each comparison: [b, units] -> [b, comparisons]."""
    tables = []
    for decided, truth, known in compared:
        # 0 true negative, 1 false positive, 2 false negative, 3 true positive
        kind = (2.0 * truth[known] + decided[known]).astype(np.intp)
        tables.append(np.bincount(codes[known] * 4 + kind, minlength=count * 4).reshape(count, 4))
    counts = np.stack(tables, axis=1).astype(np.float64).reshape(count, 4 * len(tables))
    formula = _METRICS[metric]

    def estimator(multiplicity: FloatArray) -> FloatArray:
        tn, fp, fn, tp = np.moveaxis((multiplicity @ counts).reshape(len(multiplicity), len(tables), 4), 2, 0)
        return formula(tp, fp, fn, tn)

    return estimator
