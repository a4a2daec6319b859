"""The truth of each case: from a column a class, one with the class by name or code, or one that lists classes.

Every column that may hold the truth is read. Where two of them name it and disagree, neither wins: that is a fault.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from graftwork.common.errors import TableError
from graftwork.common.evaluation.arrays import Array, FloatArray
from graftwork.common.evaluation.metrics.registry import EXCLUSIVE
from graftwork.common.evaluation.tables.columns.list_cells import read_lists
from graftwork.common.evaluation.tables.columns.named_columns import NamedColumns, nearest
from graftwork.common.evaluation.tables.columns.part_columns import conflict
from graftwork.common.evaluation.tables.prediction_arrays import absent, faulty_cases, numbers, text_of
from graftwork.common.names import clean_name, match_names
from graftwork.common.wording import short_list

if TYPE_CHECKING:
    import pandas as pd

    from graftwork.common.evaluation.tables.truth_tables import TruthTable


TRUTH_WORDS = ("target", "truth", "true", "label", "y", "gt")  # before the name of a class
SINGLE = (
    "target",
    "truth",
    "true",
    "label",
    "y",
    "obs",
    "observed",
    "ground truth",
    "gt",
    "y true",
    "true label",
)
LISTED = ("Finding Labels", "Finding Label", "labels", "findings")  # several classes in one cell
YES = ("yes", "y", "true", "t", "positive", "pos", "present", "1")
NO = ("no", "n", "false", "f", "negative", "neg", "absent", "0")


@dataclass(frozen=True, eq=False)
class Truth:
    """What one way of reading it gives.

    Attributes:
        columns: it was read from, for messages. values: exclusive classes: [n], the class by name, None where unknown;
            labels: [n, K] of 0, 1, -1 and NaN.
        raw: labels: what the cells hold, by class, where they are no such numbers. faults: why it cannot be the truth.
        written: class to how the cells write it, of two classes. lacking: labels that no column has.
    """

    columns: str
    values: Array
    raw: Mapping[str, Array] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    written: Mapping[str, str] = field(default_factory=dict)
    lacking: tuple[str, ...] = ()


@dataclass
class TruthReader:
    """Reads the truth of one table.

    Attributes:
        table, case: whose rows are the cases, and their names. kind, classes: of the protocol.
        bare: a column called as a class holds its truth (the table holds no scores). own: the dataset's own table.
        column: the one column that was named; empty: all that may hold it. positive: the value of the positive class.
        nothing, ignored: words of lists, and classes that are not evaluated. words, single: names of columns.
        notes: what a reader must know is added here; conflicts: columns of one class that disagree; places: class
            to its column, for messages.
    """

    table: NamedColumns
    case: Array
    kind: str
    classes: Sequence[str]
    bare: bool
    own: TruthTable | None = None
    column: str = ""
    positive: str = ""
    nothing: Sequence[str] = ()
    ignored: Sequence[str] = ()
    words: Sequence[str] = TRUTH_WORDS
    single: Sequence[str] = SINGLE
    notes: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    places: dict[str, str] = field(default_factory=dict)

    def read(self, faults: list[str]) -> Truth | None:
        """The truth; None where no column has it. Faults of its cells, and of columns that disagree, are added."""
        found = self._all()
        faults += self.conflicts
        if not found:
            return None
        good = [each for each in found if not each.faults]
        if not good or self.column:
            faults += found[0].faults
            return found[0]
        first = good[0]
        for each in found:
            if each.faults:
                self.notes.append(f"{each.columns} was not read as the truth: {each.faults[0]}.")
        for other in good[1:]:
            faults += disagreement(first, other, self.classes, self.case)
            self.notes.append(f"{first.columns} and {other.columns} say the same truth.")
        return first

    def _all(self) -> list[Truth]:
        """The truth as each column, or set of columns, says it."""
        own = self.table.called(self.own.truth)[:1] if self.own else []
        if self.column:
            named = self.table.asked(self.column, "--truth-column")
            return [self._single(named, own=named in own)]
        singles = own + [
            name for name in self.table.called(self.single) if name not in own and name not in self.table.used
        ]
        if self.kind == "multi-label":
            return self._labels(singles)
        found = [self._single(name, own=name in own) for name in own]
        wide = self._wide()
        if self.kind == "binary":
            negative, positive = self.classes
            if positive in wide:
                found.append(self._single(wide[positive]))
                if negative in wide:
                    found.append(self._flipped(wide[negative]))
            elif negative in wide and not singles:
                found.append(self._flipped(wide[negative]))
                self.notes.append(f"{found[-1].columns}: 1 is {negative}, 0 is {positive}.")
        elif self.kind in EXCLUSIVE and set(wide) == set(self.classes):
            found.append(self._one_hot(wide))
        found += [self._single(name) for name in singles if name not in own and name not in self.table.used]
        return found

    def _wide(self) -> dict[str, str]:
        """Class to its column, of those that have one."""
        codes = dict(self.own.codes) if self.own and not self.own.truth else {}
        there = self.table.of_classes(self.words, bare=self.bare)
        found = match_names(list(self.classes), list(there), "class")
        for code, written in match_names(list(codes), list(there), "class").items():
            found.setdefault(codes[code], written)
        several = {name: there[written] for name, written in found.items() if len(there[written]) > 1}
        for name, columns in several.items():
            values = [text_of(self.table.frame[column]) for column in columns]
            for other, each in zip(columns[1:], values[1:], strict=True):
                self.table.take(other, "truth")
                self.conflicts += conflict(
                    f"truth of {name}", (columns[0], values[0]), (other, each), self.case
                )
        return {name: there[written][0] for name, written in found.items()}

    def _single(self, column_name: str, own: bool = False) -> Truth:
        column = self.table.take(column_name, "truth")
        text, name = text_of(column), f"{column_name} ({self.table.source})"
        if self.own is not None and own:
            return self._coded(name, text)
        if self.kind == "binary":
            return self._binary(name, text, column)
        return self._named(name, text)

    def _coded(self, name: str, text: Array) -> Truth:
        assert self.own is not None
        codes = dict(self.own.codes)
        distinct = list(dict.fromkeys(value for value in text if value is not None))
        known = {there: codes[code] for code, there in self._matched(list(codes), distinct, name).items()}
        rest = [value for value in distinct if value not in known]
        if self.own.rest and not any(
            self._yes_or_no(value) or value.replace(".", "").isdigit() for value in rest
        ):
            known |= dict.fromkeys(rest, self.own.rest)
        classes = match_names(list(self.classes), list(dict.fromkeys([*known.values(), *rest])), "class")
        back = {there: each for each, there in classes.items()}
        known = {value: back.get(each, each) for value, each in known.items()}
        known |= {value: back[value] for value in rest if value in back and value not in known}
        return self._of_known(name, text, known, f"codes {short_list(list(codes), 12)}, or classes")

    def _named(self, name: str, text: Array) -> Truth:
        distinct = list(dict.fromkeys(value for value in text if value is not None))
        known = {there: each for each, there in self._matched(list(self.classes), distinct, name).items()}
        if self.kind == "ordinal":
            whole = {value: str(int(float(value))) for value in distinct if value.replace(".0", "").isdigit()}
            known |= {
                value: each for value, each in whole.items() if value not in known and each in self.classes
            }
        alike = [f"{value!r} as {each}" for value, each in known.items() if value != each]
        if alike:
            self.notes.append(f"{name}: read {', '.join(alike)}.")
        return self._of_known(name, text, known, "classes")

    def _matched(self, wanted: Sequence[str], there: Sequence[str], column: str) -> dict[str, str]:
        """The value of a column that each class or code is; an error says which column it is."""
        try:
            return match_names(wanted, there, "class")
        except TableError as error:
            raise TableError(error.what, where=column, remedy=error.remedy) from error

    def _of_known(self, name: str, text: Array, known: dict[str, str], what: str) -> Truth:
        left = [value for value in dict.fromkeys(text) if value in self.ignored and value not in known]
        if left:
            count = int(np.isin(text.astype(str), left).sum())
            self.notes.append(
                f"{name}: {short_list(left, 12)} is not evaluated, {count:,} cases are left out."
            )
        odd = np.array(
            [value is not None and value not in known and value not in left for value in text], dtype=np.bool_
        )
        held = list(dict.fromkeys(text[odd]))
        outside = [value for value in dict.fromkeys(known.values()) if value and value not in self.classes]
        near = [
            f"{value!r}" + (f" (nearest: {best})" if (best := nearest(value, self.classes)) else "")
            for value in held
        ]
        faults = faulty_cases(
            f"{name} holds unknown classes: {short_list(near, 6)} (known: {short_list(list(self.classes), 20)}), "
            f"expected {what}; correct them, or leave them out with --ignore-labels",
            odd, self.case, text,
        )  # fmt: skip
        values = np.array(
            [(known.get(value) or None) if value is not None else None for value in text], dtype=object
        )
        more = [f"{name} holds {short_list(outside)}, which no class is"] if outside else []
        return Truth(name, values, faults=(*faults, *more))

    def _binary(self, name: str, text: Array, column: pd.Series[Any]) -> Truth:
        negative, positive = self.classes
        distinct = list(dict.fromkeys(value for value in text if value is not None))
        left = [value for value in distinct if value in self.ignored]
        if left:
            count = int(np.isin(text.astype(str), left).sum())
            self.notes.append(
                f"{name}: {short_list(left, 12)} is not evaluated, {count:,} cases are left out."
            )
            text = np.array([None if value in left else value for value in text], dtype=object)
            distinct = [value for value in distinct if value not in left]
        known: dict[str, str] = {}
        if self.positive:
            there = match_names([self.positive], distinct, "value").get(self.positive, "")
            same = match_names([negative], [self.positive], "class")
            if there and not same and len(distinct) <= 2:
                known = {value: positive if value == there else negative for value in distinct}
                self.notes.append(
                    f"{name}: {there!r} is {positive}, as was asked, "
                    f"{short_list([repr(value) for value in distinct if value != there]) or 'no other value'} "
                    f"is {negative}."
                )
            else:
                why = f"--positive {self.positive} " + (
                    f"names the negative class {negative}"
                    if same
                    else "is not among them"
                    if not there
                    else "leaves several"
                )
                return Truth(name, text, faults=(
                    f"{name} holds {short_list([repr(value) for value in sorted(distinct)], 6)}, and {why}; expected "
                    f"two values, one of them the value of {positive}",
                ))  # fmt: skip
        else:
            classes = {
                there: each for each, there in self._matched(list(self.classes), distinct, name).items()
            }
            if len(classes) == len(distinct) or len(classes) == len(self.classes):
                known = classes
                alike = [f"{value!r} as {each}" for value, each in known.items() if value != each]
            else:
                known = {value: each for value in distinct if (each := self._yes_or_no(value))}
                alike = [
                    f"{value!r} as {each}"
                    for value, each in known.items()
                    if value not in ("0", "1", "0.0", "1.0")
                ]
            if alike and len(known) == len(distinct):
                self.notes.append(f"{name}: read {', '.join(alike)}.")
        odd = np.array([value is not None and value not in known for value in text])
        held = short_list([repr(value) for value in sorted(distinct)], 6)
        faults = faulty_cases(
            f"{name} is neither 0 or 1 nor {negative} or {positive}: it holds {held}; "
            + ("" if len(distinct) <= 2 else "leave further values out with --ignore-labels, and ")
            + f"name the value of {positive} with --positive VALUE",
            odd, self.case, text,
        )  # fmt: skip
        values = np.array([known.get(value) if value is not None else None for value in text], dtype=object)
        return Truth(
            name, values, faults=tuple(faults), written={each: value for value, each in known.items()}
        )

    def _flipped(self, name: str) -> Truth:
        """The truth by the column of the negative class: 1 where a case is negative."""
        values, odd = _as_numbers(self.table.take(name, "truth"))
        text = np.full(len(values), None, dtype=object)
        text[values == 1.0], text[values == 0.0] = self.classes[0], self.classes[1]
        wrong = odd | ~(np.isnan(values) | np.isin(values, (0.0, 1.0)))
        named = f"{name} ({self.table.source})"
        faults = faulty_cases(f"{named} is not 0 or 1", wrong, self.case, text_of(self.table.frame[name]))
        return Truth(named, text, faults=tuple(faults))

    def _yes_or_no(self, value: str) -> str:
        low = value.casefold()
        low = {"1.0": "1", "0.0": "0"}.get(low, low)
        return self.classes[1] if low in YES else self.classes[0] if low in NO else ""

    def _one_hot(self, wide: Mapping[str, str]) -> Truth:
        table = self.table
        values = np.stack([_as_numbers(table.take(wide[name], "truth"))[0] for name in self.classes], axis=1)
        beside = [table.take(name, "truth, not evaluated") for name in table.called(self.ignored)]
        other = np.zeros(len(values), dtype=np.bool_)
        for column in beside:
            other |= _as_numbers(column)[0] == 1
        zero_or_one = np.isin(values, (0.0, 1.0)).all(axis=1)
        empty = np.isnan(values).all(axis=1)
        none = other & zero_or_one & (values.sum(axis=1) == 0)
        good = zero_or_one & (values.sum(axis=1) == 1) & ~other
        cells = [text_of(table.frame[wide[name]]) for name in self.classes]
        rows = np.array(
            ["/".join(str(each) for each in row) for row in zip(*cells, strict=True)], dtype=object
        )
        faults = tuple(
            faulty_cases("rows of the truth do not name one class", ~(good | none | empty), self.case, rows)
        )
        if none.any():
            self.notes.append(
                f"{int(none.sum()):,} cases of {short_list(list(self.ignored))} alone have no class and are left out."
            )
        found = np.full(len(values), None, dtype=object)
        found[good] = np.array(list(self.classes), dtype=object)[values[good].argmax(axis=1)]
        return Truth(
            f"{short_list([wide[name] for name in self.classes])} ({self.table.source})", found, faults=faults
        )

    def _labels(self, singles: Sequence[str]) -> list[Truth]:
        """Of labels that do not exclude each other: a column a class, and columns that list classes."""
        found = []
        wide = self._wide()
        lists = [name for name in self.table.called(LISTED) if name not in self.table.used]
        lists += [name for name in singles if name not in lists and not self._numeric(name)]
        if set(wide) == set(self.classes) or (wide and not lists):
            found.append(self._columns(wide))
        for name in lists:
            if name in wide.values():
                continue
            faults: list[str] = []
            values = read_lists(
                text_of(self.table.take(name, "truth")), self.classes, self.nothing, self.ignored,
                name=f"{name} ({self.table.source})", case=self.case, faults=faults, notes=self.notes,
            )  # fmt: skip
            nothing = np.full((len(self.case), len(self.classes)), np.nan)
            found.append(
                Truth(
                    f"{name} ({self.table.source})",
                    nothing if values is None else values,
                    faults=tuple(faults),
                )
            )
        if lists and wide and set(wide) != set(self.classes):
            found.append(self._columns(wide))
        return found

    def _numeric(self, name: str) -> bool:
        values, odd = numbers(self.table.frame[name])
        return not odd.any() and not np.isnan(values).all()

    def _columns(self, wide: Mapping[str, str]) -> Truth:
        values = np.full((len(self.case), len(self.classes)), np.nan)
        raw = {}
        for k, name in enumerate(self.classes):
            if name in wide:
                self.places[name] = wide[name]
                column = self.table.take(wide[name], "truth")
                values[:, k], odd = _as_numbers(column)
                if odd.any():
                    raw[name] = text_of(column)
        lacking = [name for name in self.classes if name not in wide]
        whole = f"{short_list(list(wide.values()))} ({self.table.source})"
        for name in self.table.called(self.nothing):
            if name not in self.table.used:
                none = _as_numbers(self.table.take(name, "nothing"))[0] == 1
                self.conflicts += faulty_cases(
                    f"{name} ({self.table.source}) is 1 and a class is 1 too; correct these rows",
                    none & (values == 1).any(axis=1),
                    self.case,
                )
        return Truth(whole, values, raw, lacking=tuple(lacking))


def _as_numbers(column: pd.Series[Any]) -> tuple[FloatArray, Array]:
    """0, 1 and other numbers, with yes and no as 1 and 0; and where a cell holds something else."""
    values, odd = numbers(column)
    if odd.any():
        for row in np.flatnonzero(odd):
            low = clean_name(str(column.iloc[row])).casefold()
            if low in YES or low in NO:
                values[row], odd[row] = float(low in YES), False
    return values, odd


def disagreement(
    one: Truth, other: Truth, classes: Sequence[str], case: Array, remedy: str = ""
) -> list[str]:
    """Faults where two readings of the truth differ in cases that both know."""
    advice = remedy or "name the right one with --truth-column, or correct them"
    first, second = one.columns, other.columns
    if one.values.ndim == 1:
        return conflict("truth", (first, one.values), (second, other.values), case, advice)
    found = []
    for k, name in enumerate(classes):
        both = [
            np.array([None if np.isnan(v) else f"{v:g}" for v in each.values[:, k]], dtype=object)
            for each in (one, other)
        ]
        if not absent(both[0]).all() and not absent(both[1]).all():
            found += conflict(f"truth of {name}", (first, both[0]), (second, both[1]), case, advice)
    return found
