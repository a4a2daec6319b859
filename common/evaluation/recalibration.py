"""Scores made to mean what they say at another place: scaling and thresholds fitted anew on a small local set.

They are fitted on one set and used on another. The file remembers whom it was fitted on, and evaluating the same groups
with it is refused: what was fitted on cases makes them look better than others.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation.metric_texts import EXCLUSIVE, SCORED
from graftwork.common.evaluation.operating_points import Threshold, choose_threshold
from graftwork.common.evaluation.predictions import TargetLike, read_cases, score_columns, units_table
from graftwork.common.evaluation.results import made, plain
from graftwork.common.evaluation.scaling import Isotonic, Temperature, fit_isotonic, fit_temperature
from graftwork.common.evaluation.tables import numbers, shown
from graftwork.common.files import write_json

if TYPE_CHECKING:
    import pandas as pd

    from graftwork.common.evaluation.protocols import Protocol

__all__ = ["METHODS", "Recalibration", "read_recalibration", "recalibrate"]

METHODS = ("temperature", "isotonic")
Method: TypeAlias = Literal["temperature", "isotonic"]
FORMAT = 1
_PART = "calibration"


@dataclass(frozen=True)
class Recalibration:
    """What was fitted on a local set.

    Attributes:
        protocol, version: by which the set was read. method: "temperature" or "isotonic".
        n, groups: of the set. digests: of its groups, so that they are known again and nobody reads their names.
        labels: of the scalings; one empty label where one scaling serves all. scalings: in their order.
        thresholds: chosen on the set after scaling; of exclusive classes none.
    """

    protocol: str
    version: int
    method: str
    n: int
    groups: int
    digests: tuple[str, ...]
    labels: tuple[str, ...]
    scalings: tuple[Temperature | Isotonic, ...]
    thresholds: tuple[Threshold, ...]

    def apply(
        self, table: pd.DataFrame, target: TargetLike, protocol: Protocol, group: str = "group"
    ) -> pd.DataFrame:
        """The table with its scores scaled; where the protocol puts cases together, a row a unit, scaled as one.

        Raises:
            UsageError: it was fitted by another protocol. TableError: the table holds groups it was fitted on.
        """
        if (protocol.name, protocol.version) != (self.protocol, self.version):
            raise UsageError(
                f"it was fitted by {self.protocol}, version {self.version}, not {protocol.name}, {protocol.version}",
                where="calibration",
            )
        cases = read_cases(table, target, group=group, protocol=protocol)
        known = set(self.digests)
        met = [name for name in np.unique(cases.groups.astype(str)) if _digest(name) in known]
        if met:
            raise TableError(
                f"{len(met)} groups are those that the calibration was fitted on: {shown(met)}",
                where=str(table.attrs.get("source", "predictions")),
                remedy="evaluate other groups than those the calibration has seen",
            )
        scaled = units_table(table, target, protocol, group) if protocol.by else table.copy()
        columns = score_columns(target)
        scores = np.stack([numbers(scaled[name])[0] for name in columns], axis=1).clip(0.0, 1.0)
        if self.labels == ("",):
            found = self.scalings[0].apply(scores[:, 0] if len(columns) == 1 else scores)
            scores = found[:, None] if found.ndim == 1 else found
        else:
            scores = np.stack([each.apply(scores[:, k]) for k, each in enumerate(self.scalings)], axis=1)
        for k, name in enumerate(columns):
            scaled[name] = scores[:, k]
        if target.kind == "binary" and f"score_{target.classes[0]}" in scaled:
            scaled[f"score_{target.classes[0]}"] = 1.0 - scores[:, 0]
        scaled.attrs = dict(table.attrs)
        return scaled

    def write(self, file: str | os.PathLike[str]) -> Path:
        """Write it as JSON."""
        place = Path(file)
        write_json(
            place, {"format": FORMAT, **plain(self), "scalings": [each.to_json() for each in self.scalings]}
        )
        return place


def recalibrate(
    table: pd.DataFrame,
    target: TargetLike,
    protocol: Protocol,
    *,
    method: Method = "temperature",
    rule: str | None = None,
    target_value: float = 0.95,
    group: str = "group",
) -> Recalibration:
    """Fit scaling and thresholds on a whole table.

    Args:
        table, target, protocol: as `evaluate` takes them; every case is used, whatever its part. What the protocol
            puts together is scaled together.
        method: "temperature": one number for exclusive classes and two classes, one a label else; keeps the order of
            cases. "isotonic": a rising curve a label, of two classes or labels; needs more cases (hundreds).
        rule, target_value: by which thresholds are chosen; None: the protocol's.

    Raises:
        TableError: as `evaluate`; a class without a case. UsageError: a method that there is not for such targets, or
            a protocol that judges no scores.
    """
    if method not in METHODS:
        raise UsageError(f"one of {', '.join(METHODS)}, not {method!r}", where="method")
    if target.kind not in SCORED:
        raise UsageError(f"scores are scaled; it judges {target.kind}", where=f"protocol {protocol.name!r}")
    if method == "isotonic" and target.kind in EXCLUSIVE:
        raise UsageError("exclusive classes are scaled by a temperature", where="method")
    cases = read_cases(table, target, group=group, protocol=protocol)
    fit = fit_temperature if method == "temperature" else fit_isotonic
    thresholds = []
    if target.kind in EXCLUSIVE:
        labels: tuple[str, ...] = ("",)
        scalings: list[Temperature | Isotonic] = [fit_temperature(cases.truth, cases.scores, _PART)]
    else:
        questions = cases.questions()
        labels = tuple(each.label for each in questions)
        scalings = [fit(each.truth, each.scores, _PART) for each in questions]
        for each, scaling in zip(questions, scalings, strict=True):
            scores = scaling.apply(each.scores)
            thresholds.append(
                choose_threshold(
                    each.truth, scores, rule or protocol.threshold, target_value, part=_PART, label=each.label
                )
            )
    names = np.unique(cases.groups.astype(str))
    return Recalibration(
        protocol.name,
        protocol.version,
        method,
        len(cases),
        len(names),
        tuple(map(_digest, names)),
        labels,
        tuple(scalings),
        tuple(thresholds),
    )


def read_recalibration(file: str | os.PathLike[str]) -> Recalibration:
    """What `Recalibration.write` wrote.

    Raises:
        TableError: it is something else, or damaged.
    """
    try:
        content = json.loads(Path(file).read_text("utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, not {FORMAT}")
        kind = Temperature if content["method"] == "temperature" else Isotonic
        found: Mapping[str, Any] = {**content, "scalings": []}
        base = made(Recalibration, found, thresholds=Threshold)
        return Recalibration(
            base.protocol, base.version, base.method, base.n, base.groups, base.digests, base.labels,
            tuple(kind.from_json(each) for each in content["scalings"]), base.thresholds,
        )  # fmt: skip
    except OSError as error:
        raise TableError(f"cannot be read: {error.strerror or error}", where=str(file)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise TableError(
            f"no calibration, or damaged: {error}",
            where=str(file),
            remedy="make it again with `graftwork calibrate`",
        ) from error


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:20]
