"""Test whether features identify the source of a case and the source correlates with the label: signs of a shortcut.

A network may know the source and not (yet) put it into its scores; this asks the features themselves. The probe of
scores is `evaluation/shortcuts.py`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from graftwork.common.errors import TableError
from graftwork.common.evaluation import read_cases, read_predictions
from graftwork.common.evaluation.arrays import ratio
from graftwork.common.evaluation.intervals.bootstrap import replicate
from graftwork.common.evaluation.intervals.paired_tests import Difference, difference_of
from graftwork.common.evaluation.shortcuts import REVEALED
from graftwork.common.evaluation.subgroup_metrics import SMALLEST, values_of
from graftwork.common.evaluation.tables.prediction_arrays import numbers, text_of
from graftwork.common.selection.transferability import Probe, cross_validated_probe
from graftwork.common.wording import short_list

if TYPE_CHECKING:
    import pandas as pd

    from graftwork.common.evaluation.protocols import Protocol
    from graftwork.common.evaluation.results import Evaluation
    from graftwork.common.evaluation.tables.predictions import Cases, TargetLike


@dataclass(frozen=True)
class FeatureProbe:
    """What features say of a covariate.

    Attributes:
        covariate, values: the source and its values. among: which cases, in words; they all have one label,
            so that the label is not what is predicted.
        n, groups: of these. probe: linear, cross-validated by group. reason: why there is none; else empty.
        apart: class, value and how much more frequent the class is there than elsewhere, where the interval of that
            difference leaves out 0.
    """

    covariate: str
    values: tuple[str, ...]
    among: str
    n: int
    groups: int
    probe: Probe
    reason: str
    apart: tuple[tuple[str, str, Difference], ...]

    @property
    def suspected(self) -> bool:
        """Whether the features identify the source, and the source correlates with the label."""
        return self.probe.low > REVEALED and bool(self.apart)

    def describe(self) -> str:
        """What was found, in a sentence or two."""
        if self.reason:
            return f"Whether features identify {self.covariate} was not tested: {self.reason}."
        said = (
            f"Features identify {self.covariate} ({', '.join(self.values)}) by a linear probe, {self.probe.folds} "
            f"folds by group, with an AUROC of {self.probe.auroc:.3f} ({self.probe.low:.3f} to {self.probe.high:.3f}) "
            f"among {self.n:,} {self.among}."
        )
        if not self.suspected:
            return said
        label, value, found = max(self.apart, key=lambda each: abs(each[2].value))
        of = f"{label} " if label else "the class "
        return (
            f"A shortcut is possible. {said} And it goes with the label: {of}is {100 * abs(found.value):.1f} points "
            f"{'more' if found.value > 0 else 'less'} frequent where {self.covariate} is {value}."
        )


def read_features(file: str | os.PathLike[str], cases: Sequence[str]) -> NDArray[np.float32]:
    """Features of some cases: a table with `case` and one number a column for each feature.

    Returns:
        [n, d], in the order of `cases`.

    Raises:
        TableError: it cannot be read; no column `case`; cases missing or twice; a value that is no finite number.
    """
    frame = read_predictions(file)
    faults = []
    if "case" not in frame:
        raise TableError(
            f"no column `case`; there are {short_list(list(map(str, frame.columns)))}",
            where=str(file),
            remedy="call the column of the cases case",
        )
    names = text_of(frame["case"]).astype(str)
    places = {name: place for place, name in enumerate(names.tolist())}
    if len(places) < len(names):
        faults.append(f"{len(names) - len(places):,} cases stand twice")
    missing = [name for name in cases if name not in places]
    if missing:
        faults.append(f"{len(missing):,} cases have no features: {short_list(missing)}")
    columns = [name for name in frame.columns if name not in ("case", "group", "part", "path")]
    values = [numbers(frame[name])[0] for name in columns]
    odd = [str(name) for name, each in zip(columns, values, strict=True) if not np.isfinite(each).all()]
    if odd or not columns:
        faults.append(
            f"features are finite numbers; {short_list(odd)} hold others" if odd else "there is no feature"
        )
    if faults:
        raise TableError("; ".join(faults), where=str(file), remedy="give `case` and a column a feature")
    return np.stack(values, axis=1).astype(np.float32)[[places[name] for name in cases]]


def probe_features(
    predictions: pd.DataFrame,
    target: TargetLike,
    protocol: Protocol,
    evaluation: Evaluation,
    covariates: Sequence[str],
    features: str | os.PathLike[str],
) -> tuple[FeatureProbe, ...]:
    """Test for each covariate whether features identify it, among cases of one label.

    Of two classes and of labels these are the cases without any; of several exclusive classes those of the most
    frequent one. Values with fewer than ten groups among them are left out.

    Args:
        as `source_probe`. features: as `read_features` takes them.

    Raises:
        TableError: as `read_features`. UsageError: an unknown covariate.
    """
    cases = read_cases(predictions, target, evaluation.part, protocol=protocol)
    table = read_features(features, cases.case.astype(str).tolist())
    alike, among = _alike(cases)
    codes, _ = cases.units
    found = []
    for name in covariates:
        values = values_of(predictions, name, evaluation.part, cases, protocol.by)
        kept = [
            value
            for value in sorted(set(values[alike]))
            if len(np.unique(codes[alike & (values == value)])) >= SMALLEST
        ]
        rows = np.flatnonzero(alike & np.isin(values, kept))
        groups = len(np.unique(codes[rows]))
        reason, probe = "", Probe(float("nan"), float("nan"), float("nan"), 0)
        if len(kept) < 2:
            reason = f"fewer than two of its values have {SMALLEST} groups among {among}"
        else:
            probe = cross_validated_probe(
                table[rows], np.unique(values[rows], return_inverse=True)[1], codes[rows]
            )
            reason = "" if probe.folds else "a fold lacks one of its values"
        apart = () if reason else _apart(cases, values, kept, evaluation)
        found.append(
            FeatureProbe(name, tuple(map(str, kept)), among, len(rows), groups, probe, reason, apart)
        )
    return tuple(found)


def _alike(cases: Cases) -> tuple[NDArray[np.bool_], str]:
    """The cases of one label, and which these are."""
    if cases.kind == "multi-label":
        return np.asarray((np.nan_to_num(cases.truth) == 0).all(axis=1)), "cases without a positive label"
    if cases.kind == "binary":
        return np.asarray(cases.truth == 0), f"cases of {cases.classes[0]}"
    most = int(np.bincount(cases.truth, minlength=len(cases.classes)).argmax())
    return np.asarray(cases.truth == most), f"cases of {cases.classes[most]}"


def _apart(
    cases: Cases, values: NDArray[np.generic], kept: Sequence[object], evaluation: Evaluation
) -> tuple[tuple[str, str, Difference], ...]:
    """Where a class is more, or less, frequent than elsewhere, beyond what resampled groups allow."""
    found = []
    for value in kept[:1] if len(kept) == 2 else kept:
        for question in cases.questions():
            here = (values == value)[question.rows]
            if not here.any() or here.all():
                continue
            shares = [
                ratio(question.truth & each, each, question.units, question.count) for each in (here, ~here)
            ]
            once = np.ones((1, question.count))
            one, other = replicate(
                shares, question.count, items=len(here), replicates=evaluation.bootstrap, seed=evaluation.seed
            )
            apart = difference_of(
                float(shares[0](once)[0] - shares[1](once)[0]),
                one - other,
                question.count,
                evaluation.confidence,
            )
            if apart.low > 0 or apart.high < 0:
                found.append((question.label, str(value), apart))
    return tuple(found)
