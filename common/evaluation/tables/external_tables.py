"""Predictions as other programs write them, with the truth beside them or in a table of its own, in our columns.

A statistician has one file with scores, maybe a second one with labels, and no run. Columns are found by their names.
Every column is used, ignored by a rule that a note states, or refused; nothing is guessed from the order of columns.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation.arrays import Array
from graftwork.common.evaluation.metrics.registry import EXCLUSIVE
from graftwork.common.evaluation.tables.case_rows import (
    case_columns,
    scored_failures,
    with_truth,
    without_failures,
)
from graftwork.common.evaluation.tables.case_tables import read_predictions
from graftwork.common.evaluation.tables.columns.named_columns import NamedColumns, class_in, of_target
from graftwork.common.evaluation.tables.columns.part_columns import SEEN_BY_RUN, read_parts
from graftwork.common.evaluation.tables.columns.score_columns import (
    SCORE_WORDS,
    ScoreReader,
    aliases_of,
    classes_of_scores,
    ranked,
)
from graftwork.common.evaluation.tables.columns.shared_columns import SharedColumns, look_alike_findings
from graftwork.common.evaluation.tables.columns.truth_columns import SINGLE, Truth, TruthReader, disagreement
from graftwork.common.evaluation.tables.label_policies import Which, settle_columns
from graftwork.common.evaluation.tables.long_tables import of_one_model, one_row_a_case
from graftwork.common.evaluation.tables.prediction_arrays import numbers, refuse, text_of
from graftwork.common.evaluation.tables.reading_options import LOOK_ALIKES, Reading
from graftwork.common.names import match_names
from graftwork.common.wording import short_list

if TYPE_CHECKING:
    import pandas as pd

    from graftwork.common.evaluation.protocols import Protocol
    from graftwork.common.evaluation.tables.truth_tables import TruthTable


_SURE_TRUTH = ("target", "truth", "obs", "observed", "ground truth", "gt", "y true", "true label")
_ONLY = "test"  # the part of a table without a column for it


@dataclass(frozen=True)
class TableTarget:
    """What a table holds: its kind and classes, as `evaluate` takes a target, and the columns that hold it."""

    kind: str
    classes: tuple[str, ...]
    name: str = ""
    prefix: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the truth."""
        several = self.kind == "multi-label"
        return tuple(f"target_{name}" for name in self.classes) if several else ("target",)

    @property
    def scores(self) -> tuple[str, ...]:
        """Of the scores, one a class."""
        return tuple(f"score_{name}" for name in self.classes)


@dataclass(frozen=True, eq=False)
class Submission:
    """A table in our columns, and what it holds.

    Attributes:
        table: as `read_predictions` gives one; its other columns stand as they were. `attrs`: `source`, and `parts`,
            whether a column says the part (else every case is of the part test),
            and `parts_by_run`, whether it is `seen_by_run` alone.
        target: of the protocol. notes: what was done to make it so, a sentence each.
        findings: what makes a caller look again, such as groups that look alike, other than what was allowed.
    """

    table: pd.DataFrame
    target: TableTarget
    notes: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()


def read_submission(
    predictions: str | os.PathLike[str] | pd.DataFrame,
    protocol: Protocol,
    *,
    truth: str | os.PathLike[str] | pd.DataFrame | None = None,
    group: str = "",
    only_predicted: bool = False,
    uncertain: str = "",
    blank: str = "",
    part: str = _ONLY,
    covariates: Sequence[str] = (),
    reading: Reading | None = None,
) -> Submission:
    """Read external predictions for a protocol.

    Args:
        predictions: text, XLSX or Parquet, or a table that was read from another format: a case a row (a column such as
            `case`, `image`, `isic_id`, `Image Index`), a score a class; the truth and the group too, where there is no
            table `truth`. Or in long format: a row for each case and class, or for each model and case.
        protocol: says which classes there are; where it fixes none, they are those of the columns `score_...`.
        truth: a table with the same cases: a column a class of 0, 1 (or nothing), one with the class by name, one that
            lists findings (`Finding Labels`), or the dataset's own table (`protocol.tables`).
        group: the column whose equal values belong together, in either table; empty: `group`, or that of the dataset's
            own table.
        uncertain: what an uncertain label (-1) is, of labels that do not exclude each other: "ignore" (unknown),
            "zero" or "one"; for single classes "Edema=one,Atelectasis=zero". Without it -1 is a fault.
        blank: what an empty label is: "ignore", the default, or "zero" (not mentioned is not there); by class as well.
        only_predicted: evaluate the predicted cases where `truth` has more. Without it a case that is missing is a
            fault, since leaving out the hard ones would raise every number.
        part: that is to be evaluated: it makes a value of its own of a column of parts known, such as a fold's number.
        covariates: columns of subgroups, in either table. reading: notes about the tables.

    Raises:
        TableError: all faults at once: columns that are not there, cases that are missing, too many or twice, truth
            that is no class, tables that disagree.
        UsageError: the protocol evaluates masks or boxes, or an option names a column or value that is not there.
    """
    protocol.refuse_shapes()
    how = reading or Reading()
    how.refuse_idle(protocol.kind)
    return _Reader(
        protocol,
        how,
        group,
        part,
        only_predicted,
        tuple(covariates),
        {"uncertain": uncertain, "blank": blank},
    ).read(predictions, truth)


@dataclass
class _Reader:
    protocol: Protocol
    how: Reading
    group: str
    part: str
    only_predicted: bool
    covariates: tuple[str, ...]
    policies: dict[Which, str]
    notes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)  # of ours to how the tables call them

    @property
    def ignored(self) -> tuple[str, ...]:
        return (*self.protocol.other_labels, *self.how.ignore_labels)

    @property
    def nothing(self) -> tuple[str, ...]:
        return (*self.protocol.nothing, *self.how.nothing)

    def read(self, predictions: Any, truth: Any) -> Submission:
        scores = self._opened(predictions, "predictions")
        failed = tuple(scores.frame.attrs.get("failed", ()))
        if failed:
            self.notes.append(f"{len(failed):,} cases were not processed; they are left out.")
        apart = truth is not None
        labels = self._opened(truth, "truth") if apart else scores
        opened = (scores, labels) if apart else (scores,)
        own = next((each for each in self.protocol.tables if _is_of(labels, each)), None)
        if own is not None and apart:
            self.notes.append(f"{labels.source} is read as {own.name}.")
        case, place = case_columns(scores, labels if apart else None, own.case if own else (), self.how.case)
        scores = of_one_model(scores, case, self.how.model, self.how.model_column, self.notes)
        classes = self.protocol.classes or ()
        counts = self.protocol.kind == "counts"
        if not classes and not counts:
            classes = classes_of_scores(scores, self.ignored, self.faults)
            if not classes:
                classes = self._classes_by_row(scores, case)
            if not classes:
                raise TableError(
                    f"the protocol fixes no classes, and there is no column score_<class>; there are {scores.there()}",
                    where=scores.where,
                    remedy="call the columns of scores score_CLASS",
                )
        scores = one_row_a_case(scores, case, classes, self.ignored, self.notes)
        labels = one_row_a_case(labels, place, classes, self.ignored, self.notes) if apart else scores
        for name in self.how.ignore_labels:
            if not any(each.mentions(name) for each in opened):
                self.faults.append(
                    f"--ignore-labels names {name!r}, which is in no column and no cell; correct the name"
                )
        scores.take(case, "case")
        labels.take(place, "case")
        scores, gone = without_failures(scores, case, self.notes)
        failed = (*failed, *map(str, text_of(gone[case])))
        names = text_of(scores.frame[case])
        if apart:
            labels, names = with_truth(
                scores, labels, case, place, failed, by=self.protocol.by, only_predicted=self.only_predicted,
                faults=self.faults, notes=self.notes,
            )  # fmt: skip
        else:
            labels = scores
        refuse(scores.frame, self.faults)
        tables = (scores, labels) if apart else (scores,)
        made: dict[str, Any] = {"case": names}
        parts = read_parts(tables, names, self.part, self.how.part_column, self.faults, self.notes)
        made["part"] = np.full(len(names), _ONLY, dtype=object) if parts is None else parts
        made |= self._shared(tables, labels, own, names)
        if counts:
            made |= self._counts(scores, labels, apart)
        else:
            made |= self._truth_and_scores(scores, labels, own, classes, names, apart)
        self.faults += scored_failures(scores, gone, case)
        for which, policy in self.policies.items():
            if policy:
                self.notes.append(settle_columns(made, self.protocol.kind, classes, which, policy))
        refuse(scores.frame, self.faults)
        table = _frame(made, tables)
        said_by = {name for each in tables for name, what in each.used.items() if what == "part"}
        by_run = parts is not None and said_by == {SEEN_BY_RUN}
        table.attrs = {
            "source": scores.where,
            "parts": parts is not None,
            "parts_by_run": by_run,
            "columns": self.columns,
        }
        self.notes += [note for each in tables for note in each.cleaned()]
        for each in tables:
            if left := each.unused():
                self.notes.append(f"Columns not used ({each.source}): {short_list(left, 20)}.")
        found = look_alike_findings(made, self.protocol.by)
        self.notes += found
        findings = [] if LOOK_ALIKES in self.how.allow else found
        target = TableTarget(self.protocol.kind, tuple(classes), self.protocol.target)
        return Submission(table, target, tuple(dict.fromkeys(self.notes)), tuple(findings))

    def _opened(self, table: Any, what: str) -> NamedColumns:
        frame = read_predictions(table) if isinstance(table, str | os.PathLike) else table
        self.notes += frame.attrs.get("notes", ())
        found = NamedColumns(frame, str(frame.attrs.get("source", what)))
        return of_target(found, self.protocol.target, self.notes)

    def _classes_by_row(self, table: NamedColumns, case: str) -> tuple[str, ...]:
        """The classes of a table in long format, where the protocol fixes none."""
        for name in table.called(("class", "label", "species", "category", "class name")):
            if name != case and table.called(SCORE_WORDS):
                return tuple(
                    dict.fromkeys(str(each) for each in text_of(table.frame[name]) if each is not None)
                )
        return ()

    def _shared(
        self, tables: Sequence[NamedColumns], labels: NamedColumns, own: TruthTable | None, names: Array
    ) -> dict[str, Any]:
        """The group, the unit that the protocol combines, and the covariates: what either table may say."""
        shared = SharedColumns(tables, labels, own, names, self.faults, self.notes)
        made: dict[str, Any] = {}
        if (group := shared.group(self.group, self.protocol.group)) is not None:
            made["group"] = group
        if self.protocol.by and (unit := shared.unit(self.protocol.by)) is not None:
            made[self.protocol.by] = unit
        for name in self.covariates:
            if name not in made and (values := shared.covariate(name)) is not None:
                made[name] = values
        return made

    def _truth_and_scores(
        self,
        scores: NamedColumns,
        labels: NamedColumns,
        own: TruthTable | None,
        classes: Sequence[str],
        names: Array,
        apart: bool,
    ) -> dict[str, Any]:
        kind = self.protocol.kind
        reader = TruthReader(
            labels, names, kind, classes, bare=apart, own=own, column=self.how.truth_column, positive=self.how.positive,
            nothing=self.nothing, ignored=self.ignored, notes=self.notes,
        )  # fmt: skip
        truth = reader.read(self.faults)
        made = self._made(truth, labels, kind, classes)
        single = truth is not None and not apart and kind != "multi-label"
        exclusive = kind in EXCLUSIVE or kind == "binary"
        wanted = classes[1:] if kind == "binary" else classes
        scorer = ScoreReader(
            scores, wanted, alone=len(wanted) == 1, bare=apart or (single and exclusive), target=apart,
            aliases=aliases_of(truth.written if truth else {}, own.codes if own else ()),
            ignored=self.ignored, column=self.how.score, notes=self.notes,
        )  # fmt: skip
        found = scorer.read(self.faults, classes[:1] if kind == "binary" else ())
        column = scorer.places.get(classes[1], "") if kind == "binary" and not self.how.score else ""
        if column and not match_names([classes[1]], [class_in(column, SCORE_WORDS) or column], "class"):
            self.faults += scorer.of_the_predicted(column, classes)
        self.columns |= {f"score_{name}": column for name, column in scorer.places.items()}
        origin = f" ({labels.source})" if apart else ""
        self.columns |= {f"target_{name}": f"{column}{origin}" for name, column in reader.places.items()}
        for name, values in found.items():
            made[f"score_{name}"] = self._ordered(values, kind)
        if self.how.ranks:
            self.notes.append("Scores were taken by their order alone (--ranks).")
            if kind == "binary":
                made.pop(f"score_{classes[0]}", None)
        if apart and truth is not None and not truth.faults:
            beside = TruthReader(
                scores, names, kind, classes, bare=False, positive=self.how.positive, nothing=self.nothing,
                ignored=self.ignored, words=("target", "truth"), single=_SURE_TRUTH, notes=self.notes,
            )  # fmt: skip
            other = beside.read(self.faults)
            if other is not None:
                self.faults += disagreement(
                    truth, other, classes, names, "correct one of the tables, or leave it out there"
                )
        return made

    def _made(
        self, truth: Truth | None, labels: NamedColumns, kind: str, classes: Sequence[str]
    ) -> dict[str, Any]:
        several = kind == "multi-label"
        lacking = list(truth.lacking if truth is not None else classes)
        if truth is None or lacking:
            called = f"target_{lacking[0]}" if several else short_list(SINGLE, 20)
            what = f"the truth of {short_list(lacking, 6)}" if several else "the truth"
            ways = (
                ", or one column lists the findings (Finding Labels)"
                if several
                else ", or a column a class (target_CLASS)"
            )
            self.faults.append(
                f"no column has {what}: expected {called}{ways}; found {labels.there()}; name it with --truth-column"
            )
            return {}
        if not several:
            return {"target": truth.values}
        return {f"target_{name}": truth.raw.get(name, truth.values[:, k]) for k, name in enumerate(classes)}

    def _ordered(self, values: Array, kind: str) -> Array:
        if not self.how.ranks:
            return values
        if kind in EXCLUSIVE:
            raise UsageError(
                f"the order of scores says nothing of {kind} targets, expected binary or multi-label ones",
                where="--ranks",
                remedy="give probabilities",
            )
        return ranked(values) if values.dtype != object else values

    def _counts(self, scores: NamedColumns, labels: NamedColumns, apart: bool) -> dict[str, Any]:
        """The predicted and the true number of each case."""
        found = {}
        for what, table, asked, words in (
            (
                "predicted",
                scores,
                self.how.score,
                ("predicted", "prediction", *(("count", "predicted count") if apart else ())),
            ),
            ("target", labels, self.how.truth_column, (*SINGLE, *(("count",) if apart else ()))),
        ):
            option = "--score" if what == "predicted" else "--truth-column"
            column = table.asked(asked, option) if asked else next(iter(table.called(words)), "")
            if column:
                values, odd = numbers(table.take(column, what))
                found[what] = text_of(table.frame[column]) if odd.any() else values
            else:
                self.faults.append(
                    f"no column has the {what} number: expected {short_list(words, 20)}; found {table.there()}; name "
                    f"it with {option}"
                )
        return found


def _is_of(table: NamedColumns, own: TruthTable) -> bool:
    """Whether a table has all columns that identify a dataset's own table."""
    return all(table.called([each] if isinstance(each, str) else each) for each in own.columns)


def _frame(made: dict[str, Any], tables: Sequence[NamedColumns]) -> pd.DataFrame:
    """Our columns, and beside them those of all tables that have other names: for subgroups."""
    import pandas as pd

    for table in tables:
        for name in table.names:
            if name not in made and table.used.get(name) not in ("case", "part"):
                made[name] = table.frame[name].array
    return pd.DataFrame({name: getattr(values, "array", values) for name, values in made.items()})
