"""Recalibrate scores for another site: scaling and thresholds fitted on a small local set.

They are fitted on one set and used on another. The file keeps fingerprints of the cases and groups it was fitted on,
and evaluating any of them with it is refused: what was fitted on cases makes them look better than others.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation.metrics.operating_points import Threshold, choose_threshold
from graftwork.common.evaluation.metrics.registry import EXCLUSIVE, SCORED
from graftwork.common.evaluation.rescaling import Isotonic, Temperature, fit_isotonic, fit_temperature
from graftwork.common.evaluation.results import made, plain
from graftwork.common.evaluation.tables.fingerprints import Fingerprints, fingerprints_of
from graftwork.common.evaluation.tables.prediction_arrays import has_groups, numbers, text_of
from graftwork.common.evaluation.tables.predictions import (
    Cases,
    TargetLike,
    read_cases,
    score_columns,
    units_table,
)
from graftwork.common.files import hash_of, write_json
from graftwork.common.files.untrusted_files import read_json
from graftwork.common.wording import quantity, short_list

if TYPE_CHECKING:
    import pandas as pd

    from graftwork.common.evaluation.protocols import Protocol


METHODS = ("temperature", "isotonic")
Method: TypeAlias = Literal["temperature", "isotonic"]
FORMAT = 2  # of format 1, which kept hashes of groups alone, nothing but the refusal is left
_PART = "calibration"
_MANY = 3  # equal rows of scores and truth from which a warning says that cases may have been renamed


@dataclass(frozen=True)
class Recalibration:
    """What was fitted on a local set.

    Attributes:
        protocol, version: by which the set was read. method: "temperature" or "isotonic".
        n, groups: of the set. labels: of the scalings; one empty label where one scaling serves all. scalings: in their
            order. thresholds: chosen on the set after scaling; of exclusive classes none.
        fingerprints: of its cases and groups; None in a file of format 1, with which nothing is evaluated.
        grouping: the column of its groups, by the name it was asked for; empty where none was. part: of a table with
            parts, the one it was fitted on.
        digests: of format 1, unkeyed hashes of groups. source: the file it was read from. command: that fitted it.
        synthetic: whether the set rests on data that a program drew.
    """

    protocol: str
    version: int
    method: str
    n: int
    groups: int
    labels: tuple[str, ...]
    scalings: tuple[Temperature | Isotonic, ...]
    thresholds: tuple[Threshold, ...]
    fingerprints: Fingerprints | None
    grouping: str = ""
    part: str = ""
    digests: tuple[str, ...] = ()
    source: str = field(default="calibration", compare=False)
    command: str = field(default="", compare=False)
    synthetic: bool = False

    def apply(
        self,
        table: pd.DataFrame,
        target: TargetLike,
        protocol: Protocol,
        group: str = "group",
        part: str | None = None,
    ) -> pd.DataFrame:
        """The table with its scores scaled; where the protocol puts cases together, a row a unit, scaled as one.

        Args:
            part: the part that is evaluated, whose cases must not be those of the fit; None: all cases.

        Returns:
            the scaled table; `attrs["calibration"]` has notes on what was compared, a tuple of sentences.

        Raises:
            UsageError: it was fitted by another protocol. TableError: the part holds cases or groups it was fitted on,
                or the file has no fingerprints to compare.
        """
        if (protocol.name, protocol.version) != (self.protocol, self.version):
            raise UsageError(
                f"it was fitted by {self.protocol}, version {self.version}, not {protocol.name}, {protocol.version}",
                where=self.source,
                remedy="evaluate by that protocol, or fit another calibration",
            )
        notes = self._compared(table, target, protocol, group, part)
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
        scaled.attrs = {**table.attrs, "calibration": tuple(notes)}
        return scaled

    def _compared(
        self, table: pd.DataFrame, target: TargetLike, protocol: Protocol, group: str, part: str | None
    ) -> list[str]:
        """Refuse cases and groups of the fit; what is to be said about the others."""
        where = str(table.attrs.get("source", "predictions"))
        if self.fingerprints is None:
            raise self._unknown(table, part)
        cases = read_cases(table, target, part, group=group)
        column = group if has_groups(table, group) else ""
        named = next((name for name in (column, protocol.by, self.grouping) if name and name in table), "")
        theirs = _column_of(cases, table, named)
        shared = self.fingerprints.overlap(cases, theirs)
        faults = []
        if shared.cases.any():
            faults.append(
                f"{int(shared.cases.sum()):,} of {len(cases):,} cases are cases that the calibration was fitted on: "
                f"{short_list(cases.case[shared.cases])}"
            )
        if theirs is not None and shared.groups.any():
            groups = np.unique(np.array(theirs)[shared.groups])
            faults.append(
                f"{int(shared.groups.sum()):,} of {len(cases):,} cases are of {quantity(len(groups), 'group')} that "
                f"the calibration was fitted on: {short_list(groups)}"
            )
        if faults:
            raise TableError(
                "; ".join(faults),
                where=where,
                remedy=f"evaluate cases and groups that {self.source} was not fitted on, or fit it on other cases",
            )
        notes = []
        if self.fingerprints.groups and not named:
            notes.append(
                f"The calibration was fitted on {self.groups:,} groups ({self.grouping or 'group'}); this table names "
                "no groups, so only cases were compared with those of the fit."
            )
        if not self.fingerprints.groups and column:
            notes.append(
                "The calibration was fitted on a table without groups: cases were compared with those of the fit, "
                "groups could not be."
            )
        if shared.alike.any():
            notes.append(
                f"{int(shared.alike.sum()):,} of {len(cases):,} cases have a name or a group that only looks like one "
                "the calibration was fitted on (case, zeros, punctuation or folder differ): "
                f"{short_list(cases.case[shared.alike])}. Check that they are other cases."
            )
        if int(shared.rows.sum()) >= _MANY:
            notes.append(
                f"{int(shared.rows.sum()):,} of {len(cases):,} cases have exactly the scores and the truth of a case "
                f"that the calibration was fitted on, under another name: {short_list(cases.case[shared.rows])}. Check "
                "that no case was renamed."
            )
        return notes

    def _unknown(self, table: pd.DataFrame, part: str | None) -> TableError:
        """Why a file without fingerprints of cases is not used, with the groups that are shared all the same."""
        rows = table if part is None else table[text_of(table["part"]) == part]
        known, most, column = set(self.digests), 0, ""
        for name in map(str, rows.columns):
            times = sum(_digest(text) in known for text in text_of(rows[name]) if text is not None)
            most, column = (times, name) if times > most else (most, column)
        seen = (
            f"; {most:,} of {len(rows):,} cases are of its groups, by the column {column!r}" if column else ""
        )
        return TableError(
            "it was written by an earlier version and keeps no fingerprints of the cases it was fitted on, so cases "
            f"that were fitted on cannot be distinguished from others{seen}",
            where=self.source,
            remedy="fit it again with `graftwork calibrate`",
        )

    def write(self, file: str | os.PathLike[str]) -> Path:
        """Write it as JSON."""
        place = Path(file)
        content = {**plain(self), "scalings": [each.to_json() for each in self.scalings]}
        for name in ("source", "digests"):
            del content[name]
        said = {"format": FORMAT, **content}
        write_json(place, {**said, "sealed": hash_of(said)})
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
    part: str | None = None,
    grouping: str = "",
) -> Recalibration:
    """Fit scaling and thresholds on the cases of a table.

    Args:
        table, target, protocol: as `evaluate` takes them. What the protocol combines is scaled as one.
        part: whose cases are used; None: every case. grouping: the name of the column of groups in the file.
        method: "temperature": one number for exclusive classes and two classes, one a label else; keeps the order of
            cases. "isotonic": a rising curve a label, of two classes or labels; needs more cases (hundreds).
        rule, target_value: by which thresholds are chosen; None: the protocol's.

    Raises:
        TableError: as `evaluate`; a class without a case. UsageError: a method that there is not for such targets, or
            a protocol without scores.
    """
    if method not in METHODS:
        raise UsageError(
            f"one of {', '.join(METHODS)}, not {method!r}", where="method", remedy="name one of these"
        )
    if target.kind not in SCORED:
        raise UsageError(
            f"scores are scaled; it evaluates {target.kind}",
            where=f"protocol {protocol.name!r}",
            remedy="fit by a protocol of scores",
        )
    if method == "isotonic" and target.kind in EXCLUSIVE:
        raise UsageError(
            "exclusive classes are scaled by a temperature", where="method", remedy="leave --method out"
        )
    cases = read_cases(table, target, part, group=group, protocol=protocol)
    if not len(cases):
        raise TableError(
            f"no case of the part {part!r} has a known label" if part else "no case has a known label",
            where=str(table.attrs.get("source", "predictions")),
            remedy="name another part, or give a table with truth",
        )
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
    single = read_cases(table, target, part, group=group)
    grouped = has_groups(table, group)
    named = group if grouped else protocol.by
    return Recalibration(
        protocol.name,
        protocol.version,
        method,
        len(cases),
        len(np.unique(cases.groups.astype(str))),
        labels,
        tuple(scalings),
        tuple(thresholds),
        fingerprints_of(single, _column_of(single, table, named)),
        (grouping or group) if grouped else protocol.by,
        part or "",
    )


def read_recalibration(file: str | os.PathLike[str]) -> Recalibration:
    """What `Recalibration.write` wrote.

    Raises:
        TableError: it is something else, or damaged.
    """
    try:
        content = read_json(file, TableError, remedy="make it again with `graftwork calibrate`")
        if "sealed" in content and content.pop("sealed") != hash_of(content):
            raise ValueError("its content does not fit its checksum `sealed`")
        old = content["format"] == 1
        if content["format"] not in (1, FORMAT):
            raise ValueError(f"format {content['format']!r}, not {FORMAT}")
        kind = Temperature if content["method"] == "temperature" else Isotonic
        return Recalibration(
            str(content["protocol"]), content["version"], str(content["method"]), content["n"], content["groups"],
            tuple(content["labels"]), tuple(kind.from_json(each) for each in content["scalings"]),
            tuple(made(Threshold, each) for each in content["thresholds"]),
            None if old else Fingerprints.from_json(content["fingerprints"]),
            "" if old else str(content["grouping"]), "" if old else str(content["part"]),
            tuple(map(str, content["digests"])) if old else (), str(file), str(content.get("command", "")),
            content.get("synthetic") is True,
        )  # fmt: skip
    except OSError as error:
        raise TableError(
            f"cannot be read: {error.strerror or error}", where=str(file), remedy="check the path"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise TableError(
            f"no calibration, or damaged: {error}",
            where=str(file),
            remedy="make it again with `graftwork calibrate`",
        ) from error


def _column_of(cases: Cases, table: pd.DataFrame, column: str) -> list[str] | None:
    """The value of a column for each case; None where there is no such column."""
    if not column or column not in table:
        return None
    known = dict(zip(text_of(table["case"]).astype(str), text_of(table[column]), strict=True))
    return [str(known[name] or "") for name in cases.case.astype(str)]


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:20]
