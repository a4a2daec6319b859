"""Predictions as other programs write them, with the truth beside them or in a table of its own, in our columns.

A statistician has one file with scores, maybe a second one with labels, and no run. Columns are found by their names,
whatever their case and punctuation: a class `Pleural_Thickening` by `prob_Pleural_Thickening`, `score_pleural
thickening` or `Pleural Thickening`. What is not found is said, with the names that would have been taken; nothing is
guessed from the order of columns.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation.label_policies import Which, policy_by_class, settle_labels
from graftwork.common.evaluation.metric_texts import EXCLUSIVE
from graftwork.common.evaluation.table_files import read_predictions
from graftwork.common.evaluation.tables import absent, numbers, refuse, shown, some, text_of

if TYPE_CHECKING:
    import pandas as pd

    from graftwork.common.evaluation.protocols import Protocol

__all__ = ["Submission", "TableTarget", "read_submission"]

CASES = (
    "case",
    "image",
    "image_name",
    "isic_id",
    "image_id",
    "Image Index",
    "Path",
    "filename",
    "file",
    "id",
    "study",
)  # fmt: skip
_SCORE = ("score", "prob", "probability", "pred", "prediction", "p")
_TRUTH = ("target", "truth", "true", "label", "y")
_LISTED = ("Finding Labels", "labels", "findings")  # several classes in one cell
_ONLY = "test"  # the part of a table that tells none


@dataclass(frozen=True)
class TableTarget:
    """What a table tells: its kind and classes, as `evaluate` takes a target, and the columns that hold it."""

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
    """A table in our columns, and what it tells.

    Attributes:
        table: as `read_predictions` gives one; its other columns stand as they were.
        target: of the protocol. notes: what was done to make it so, a sentence each.
    """

    table: pd.DataFrame
    target: TableTarget
    notes: tuple[str, ...] = ()


def read_submission(
    predictions: str | os.PathLike[str] | pd.DataFrame,
    protocol: Protocol,
    *,
    truth: str | os.PathLike[str] | None = None,
    group: str = "",
    only_predicted: bool = False,
    uncertain: str = "",
    blank: str = "",
) -> Submission:
    """Read predictions of any program for a protocol.

    Args:
        predictions: CSV or Parquet, or a table that was read from another format: a case a row (a column such as
            `case`, `image`, `isic_id`, `Image Index`), a score a class; the truth and the group too, where there is no
            table `truth`.
        protocol: says which classes there are; where it fixes none, they are those of the columns `score_...`.
        truth: a table with the same cases: a column a class of 0, 1 (or nothing), one with the class by name, or
            one that lists findings (`Finding Labels`, separated by `|`).
        group: the column whose equal values belong together, in either table; empty: `group`, where there is one.
        uncertain: what an uncertain label (-1) is, of labels that do not exclude each other: "ignore" (unknown),
            "zero" or "one"; for single classes "Edema=one,Atelectasis=zero". Without it -1 is a fault.
        blank: what an empty label is: "ignore", the default, or "zero" (not mentioned is not there); by class as well.
        only_predicted: judge the predicted cases where `truth` has more. Without it a case that is missing is a
            fault, since leaving out the hard ones would raise every number.

    Raises:
        TableError: all faults at once: columns that are not there, cases that are missing, too many or twice, truth
            that is no class.
        UsageError: the protocol judges masks or boxes.
    """
    protocol.refuse_shapes()
    scores = read_predictions(predictions) if isinstance(predictions, str | os.PathLike) else predictions
    failed = scores.attrs.get("failed", ())
    labels = scores if truth is None else read_predictions(truth)
    source = str(scores.attrs.get("source", "predictions"))
    faults: list[str] = []
    counts = protocol.kind == "counts"
    classes = protocol.classes or (() if counts else _classes_of(scores))
    if not classes and not counts:
        raise TableError("the protocol fixes no classes, and there is no column score_<class>", where=source)
    case = _column(scores, CASES)
    place = _column(labels, [case, *CASES])  # one of the same name, where there is one
    for frame, found, what in ((scores, case, source), (labels, place, str(truth))):
        if not found:
            faults.append(
                f"{what}: no column says the case; it is one of {shown(CASES)}; there are {_there(frame)}"
            )
        if truth is None:
            break
    if faults:
        refuse(scores, faults)
    notes = []
    if truth is None:
        joined = labels
    else:
        if failed:
            labels = labels[~np.isin(text_of(labels[place]).astype(str), list(failed))]
            notes.append(
                f"{len(failed):,} cases were not processed; they are left out and judged by nothing."
            )
        joined = _joined(labels, place, text_of(scores[case]), faults, only_predicted)
        left = len(labels) - len(joined)
        if only_predicted and left > 0:
            notes.append(
                f"{left:,} cases of the table of truth have no prediction and were left out, as was asked."
            )
    refuse(scores, faults)
    made: dict[str, Any] = {"case": text_of(scores[case])}
    parts = scores if "part" in scores else joined if "part" in joined else None
    made["part"] = np.full(len(scores), _ONLY, dtype=object) if parts is None else text_of(parts["part"])
    wanted = classes[1:] if protocol.kind == "binary" else classes
    apart = truth is not None
    for name in wanted:
        column = _score_column(scores, name, alone=len(wanted) == 1, bare=apart)
        if column:
            made[f"score_{name}"] = _to_the_last_digit(scores[column])
        else:
            ways = [f"{word}_{name}" for word in _SCORE[:3]] + ([name] if apart else [])
            faults.append(f"no column has the scores of {name}: it is called {', '.join(ways)}")
    if counts:
        made |= _counts(scores, joined, apart, faults)
    else:
        made |= _truth(joined, protocol.kind, classes, apart, faults)
    policies: dict[Which, str] = {"uncertain": uncertain, "blank": blank}
    for which, policy in policies.items():
        if policy:
            notes.append(_settled(made, protocol.kind, classes, which, policy))
    told = _group(scores, joined, group, faults)
    if told is not None:
        made["group"] = told
    if protocol.by:
        found = protocol.by if protocol.by in scores else protocol.by if protocol.by in joined else ""
        if found:
            made[protocol.by] = (scores if found in scores else joined)[found].to_numpy()
    refuse(scores, faults)
    table = _frame(made, scores, joined, {case, place, "part"})
    table.attrs["source"] = source
    table.attrs["parts"] = parts is not None  # else every case was taken for one of the part test
    return Submission(table, TableTarget(protocol.kind, tuple(classes), protocol.target), tuple(notes))


def _frame(made: dict[str, Any], scores: pd.DataFrame, labels: pd.DataFrame, used: set[str]) -> pd.DataFrame:
    """Our columns, and beside them those of both tables that have other names: what subgroups are told by."""
    import pandas as pd

    for frame in (scores, labels):
        for name in frame.columns:
            if str(name) not in made and str(name) not in used:
                made[str(name)] = frame[name].to_numpy()
    return pd.DataFrame(made)


def _plain(name: object) -> str:
    return re.sub(r"[^a-z0-9]", "", str(name).lower())


def _column(frame: pd.DataFrame, names: Sequence[str]) -> str:
    """The first of some names that a column has, whatever its case and punctuation; empty where none does."""
    there = {_plain(name): str(name) for name in reversed(list(frame.columns))}
    return next((there[_plain(name)] for name in names if _plain(name) in there), "")


def _there(frame: pd.DataFrame) -> str:
    return shown([str(name) for name in frame.columns])


def _classes_of(frame: pd.DataFrame) -> tuple[str, ...]:
    return tuple(str(name)[6:] for name in frame.columns if str(name).startswith("score_"))


def _score_column(frame: pd.DataFrame, name: str, *, alone: bool, bare: bool) -> str:
    """The column of the scores of a class. `alone`: there is no other. `bare`: the truth stands elsewhere, so that a
    column called as the class, or of one class `target` as challenges have it, holds scores."""
    names = [f"{word}{name}" for word in _SCORE] + ([name] if bare else [])
    if alone:
        names += [*_SCORE[:5], *(("target",) if bare else ())]
    return _column(frame, names)


def _to_the_last_digit(column: pd.Series[Any]) -> Any:
    """Scores as numbers, to the last digit where they were read as text; else as they are, for `evaluate` to say."""
    values = column.to_numpy()
    if values.dtype != object and np.issubdtype(values.dtype, np.number):
        return values
    try:
        return np.array([float(text) for text in text_of(column)])
    except (TypeError, ValueError):
        return values


def _joined(
    labels: pd.DataFrame, place: str, cases: Any, faults: list[str], only_predicted: bool
) -> pd.DataFrame:
    """The rows of the truth in the order of the predicted cases."""
    import pandas as pd

    names = text_of(labels[place]).astype(str)
    wanted = cases.astype(str)
    faults += some("cases stand twice in the table of truth", pd.Series(names).duplicated().to_numpy(), names)
    faults += some("cases stand twice", pd.Series(wanted).duplicated().to_numpy(), wanted)
    extra = ~np.isin(wanted, names)
    faults += some("cases have no truth", extra, wanted)
    missing = ~np.isin(names, wanted)
    if not only_predicted:
        faults += some(
            "cases of the table of truth have no prediction (--only-predicted judges the others alone)",
            missing,
            names,
        )
    if faults:
        return labels
    order = pd.Series(np.arange(len(names)), index=names).loc[wanted].to_numpy()
    found: pd.DataFrame = labels.iloc[order].reset_index(drop=True)
    return found


def _truth(
    labels: pd.DataFrame, kind: str, classes: Sequence[str], apart: bool, faults: list[str]
) -> dict[str, Any]:
    """The columns of the truth, from a column a class, one of names, or one of lists."""
    columns = {
        name: _column(labels, [f"{word}{name}" for word in _TRUTH] + ([name] if apart else []))
        for name in classes
    }
    single = _column(labels, _TRUTH)
    listed = _column(labels, _LISTED)
    cases = np.arange(1, len(labels) + 1).astype(str).astype(object)
    if kind == "multi-label":
        if all(columns.values()):
            return {f"target_{name}": labels[columns[name]].to_numpy() for name in classes}
        if listed:
            return _from_lists(text_of(labels[listed]), classes)
        lacking = [name for name in classes if not columns[name]]
        faults.append(
            f"no column has the truth of {shown(lacking)}: it is called target_{lacking[0]}, or one column lists the "
            f"findings ({shown(_LISTED)}); there are {_there(labels)}"
        )
        return {}
    if kind == "binary":
        column = columns[classes[1]] or single
        if not column:
            faults.append(
                f"no column has the truth: it is called {shown(_TRUTH)}; there are {_there(labels)}"
            )
            return {}
        return {"target": _binary(labels[column], classes, column, cases, faults)}
    if kind in EXCLUSIVE and all(columns.values()) and not single:
        values = np.stack([numbers(labels[columns[name]])[0] for name in classes], axis=1)
        odd = ~(np.isin(values, (0.0, 1.0)).all(axis=1) & (values.sum(axis=1) == 1))
        faults += some("rows of the truth do not name one class", odd, cases)
        return {"target": np.array(classes, dtype=object)[np.nan_to_num(values).argmax(axis=1)]}
    if single:
        return {"target": labels[single].to_numpy()}
    faults.append(
        f"no column has the truth: a column a class, or one of {shown(_TRUTH)}; there are {_there(labels)}"
    )
    return {}


def _settled(made: dict[str, Any], kind: str, classes: Sequence[str], which: Which, policy: str) -> str:
    """Labels of -1, or empty ones, become what a policy says; returns what was done, for a reader."""
    import pandas as pd

    if kind != "multi-label":
        raise UsageError(
            f"a policy is of labels that do not exclude each other, not of {kind} targets", where=which
        )
    told = policy_by_class(policy, classes, which)
    if "self-trained" in told.values():
        raise UsageError(
            "self-trained labels are a model's own probabilities: something to train on, no truth to be judged by",
            where=which,
            remedy="judge by ignore, zero or one; `settle_labels` makes self-trained labels for training",
        )
    changed = 0
    for name, what in told.items():
        column = f"target_{name}"
        if column in made:
            values, odd = numbers(pd.Series(made[column]))
            label = ~odd & (np.isnan(values) | np.isin(values, (-1.0, 0.0, 1.0)))
            settled, count = settle_labels(values[label, None], [name], {name: what}, which)
            column_of = np.asarray(made[column], dtype=object)
            column_of[label] = settled[:, 0]  # what is no label stays, for `evaluate` to say
            made[column], changed = column_of, changed + count
    word = "Uncertain" if which == "uncertain" else "Empty"
    return f"{word} labels were taken by the policy {policy}: {changed:,} of them."


def _counts(scores: pd.DataFrame, labels: pd.DataFrame, apart: bool, faults: list[str]) -> dict[str, Any]:
    """The predicted and the true number of each case."""
    found = {}
    for what, frame, known in (
        ("predicted", scores, ["predicted", "prediction", *(["count", "predicted count"] if apart else [])]),
        ("target", labels, [*_TRUTH, *(["count"] if apart else [])]),
    ):
        column = _column(frame, known)
        if column:
            found[what] = frame[column].to_numpy()
        else:
            faults.append(
                f"no column has the {what} number: it is called {shown(known)}; there are {_there(frame)}"
            )
    return found


def _binary(column: pd.Series[Any], classes: Sequence[str], name: str, case: Any, faults: list[str]) -> Any:
    """Truth told by name, or by 0 and 1."""
    text = text_of(column)
    missing = absent(text)
    if np.isin(text[~missing].astype(str), list(classes)).all():
        return text
    values, odd = numbers(column)
    odd |= ~missing & ~np.isin(values, (0.0, 1.0))
    faults += some(f"{name} is neither 0 or 1 nor {' or '.join(classes)}", odd, case)
    found = np.full(len(text), None, dtype=object)
    found[values == 0.0], found[values == 1.0] = classes[0], classes[1]
    return found


def _from_lists(cells: Any, classes: Sequence[str]) -> dict[str, Any]:
    """0 and 1 of each class from cells that list what is there; a cell that is empty is unknown."""
    sets = [{_plain(each) for each in re.split(r"[|;]", str(cell))} for cell in cells]
    unknown = absent(cells)
    found = {}
    for name in classes:
        values = np.array([float(_plain(name) in each) for each in sets])
        values[unknown] = np.nan
        found[f"target_{name}"] = values
    return found


def _group(scores: pd.DataFrame, labels: pd.DataFrame, group: str, faults: list[str]) -> Any:
    wanted = group or "group"
    for frame in (scores, labels):
        found = _column(frame, [wanted])
        if found:
            return text_of(frame[found])
    if group:
        both: Iterator[str] = iter(dict.fromkeys([*map(str, scores.columns), *map(str, labels.columns)]))
        faults.append(f"no column {group!r} says the group; there are {shown(list(both))}")
    return None
