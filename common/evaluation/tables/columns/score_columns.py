"""The score of each class: which column has it, which hold decisions, and which look like scores of no class."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from graftwork.common.errors import UsageError
from graftwork.common.evaluation.arrays import Array
from graftwork.common.evaluation.tables.columns.named_columns import NamedColumns, class_in, nearest
from graftwork.common.evaluation.tables.prediction_arrays import decimal_commas, numbers, percentages, text_of
from graftwork.common.names import clean_name, match_names, name_key
from graftwork.common.wording import short_list

SCORE_WORDS = ("score", "prob", "probability", "pred", "prediction", "p", "proba")
_SINGLE = (
    *("score", "prob", "probability", "pred", "prediction", "p", "proba"),
    *("y score", "y prob", "y proba", "y pred proba", "y pred", "pred proba"),
)
_SURE = (
    "score",
    "prob",
    "probability",
    "target",
    "truth",
)  # a column that begins so is of a class, or refused
_DECIDED = ("predicted", "pred class", "prediction class", "predicted class")


@dataclass
class ScoreReader:
    """Reads the scores of a table.

    Attributes:
        table: the predictions. classes: whose scores are needed. alone: there is one score, so that a column `score`
            has it. bare: a column called as the class holds scores. target: `target` may hold them, as in challenges.
        aliases: class to how else it may be written. ignored: classes that are not evaluated.
        column: the one that was named. notes: what a reader must know is added here.
    """

    table: NamedColumns
    classes: Sequence[str]
    alone: bool
    bare: bool
    target: bool = False
    aliases: Mapping[str, Sequence[str]] = field(default_factory=dict)
    ignored: Sequence[str] = ()
    column: str = ""
    notes: list[str] = field(default_factory=list)
    commas: list[str] = field(default_factory=list)  # columns with decimal commas
    percents: list[str] = field(default_factory=list)  # and of percentages
    places: dict[str, str] = field(default_factory=dict)  # class to its column

    def read(self, faults: list[str], optional: Sequence[str] = ()) -> dict[str, Array]:
        """Class to its scores, [n]; a class without a column is a fault, unless it is optional."""
        for name in self.table.called(_DECIDED):
            if name not in self.table.used:
                self._decided(name)
        if self.column:
            if not self.alone:
                raise UsageError(
                    f"{len(self.classes)} classes have scores, expected one class",
                    where="--score",
                    remedy="call the columns score_CLASS",
                )
            name = self.table.asked(self.column, "--score")
            named = [class_in(name, SCORE_WORDS) or name]
            if match_names(list(optional), named, "class") and not match_names(self.classes, named, "class"):
                raise UsageError(
                    f"the column {name!r} has the scores of {', '.join(optional)}, expected those of "
                    f"{self.classes[-1]}",
                    where="--score",
                    remedy=f"write 1 minus these scores into a column score_{self.classes[-1]}",
                )
            self.places[self.classes[-1]] = name
            values = self._values(name, faults)
            self._said()
            return {self.classes[-1]: values}
        every = [*optional, *self.classes]
        there = self.table.of_classes(SCORE_WORDS, bare=self.bare, ends=True)
        found = match_names(every, list(there), "class")
        for name, others in self.aliases.items():
            for each in match_names(list(others), list(there), "class").values():
                if name in every and name not in found and each not in found.values():
                    found[name] = each
        scores: dict[str, Array] = {}
        for name in every:
            columns = there[found[name]] if name in found else []
            if not columns and self.alone and name in self.classes:
                columns = [each for each in self.table.called(_SINGLE) if each not in self.table.used]
                columns = columns or (self.table.called(["target"]) if self.target else [])
            column = self._one_of(name, columns, faults)
            if column:
                scores[name] = self._values(column, faults)
                self.places[name] = column
                written = class_in(column, SCORE_WORDS) or column
                if name in found and clean_name(found[name]) != name:
                    self.notes.append(
                        f"{column} of {self.table.source} was read as the scores of {name} ({written!r})."
                    )
                elif self.alone and name not in found:
                    self.notes.append(f"{column} of {self.table.source} was read as the scores of {name}.")
            elif name not in optional:
                ways = [f"{word}_{name}" for word in SCORE_WORDS[:3]] + ([name] if self.bare else [])
                near = nearest(name, [each for each in self.table.names if each not in self.table.used])
                decided = [each for each, what in self.table.used.items() if what == "decision"]
                negative = next((scores_of for scores_of in optional if scores_of in self.places), "")
                class_name = (
                    f"; {self.places[negative]!r} has those of {negative}: write 1 minus it into score_{name}"
                    if negative
                    else "; name it with --score COLUMN"
                )
                faults.append(
                    f"no column has the scores of {name}: expected {', '.join(ways)}; found {self.table.there()}"
                    + (f"; {short_list(decided)} holds decisions" if decided else "")
                    + (f"; nearest is {near!r}" if near and not negative else "")
                    + (class_name if self.alone else "")
                )
        self._said()
        self._rivals(scores, faults)
        self._others(set(every), faults)
        return scores

    def of_the_predicted(self, name: str, classes: Sequence[str]) -> list[str]:
        """A fault where the one column of scores has the score of the predicted class, not of the positive one.

        Args:
            name: the column, which names no class. classes: negative and positive.
        """
        values, odd = numbers(self.table.frame[name])
        if odd.any() or not (values[~np.isnan(values)] >= 0.5).all():
            return []
        for decided in (each for each, what in self.table.used.items() if what == "decision"):
            text = text_of(self.table.frame[decided])
            there = [value for value in dict.fromkeys(text) if value is not None]
            negatives = [*match_names([classes[0]], there, "class").values(), "0", "0.0"]
            below = np.array([value in negatives for value in text]) & (values > 0.5)
            if below.any() and not below.all():
                return [
                    f"{name} is 0.5 or more in every case, also where {decided} is {text[below][0]!r} "
                    f"({int(below.sum()):,} of {len(text):,} cases): it looks like the score of the predicted class, "
                    f"expected that of {classes[1]}; write 1 minus the score where the prediction is {classes[0]}"
                ]
        return []

    def _said(self) -> None:
        for columns, what in (
            (self.commas, "Numbers with a decimal comma were read"),
            (self.percents, "Percentages were read, 50 % as 0.5"),
        ):
            if columns:
                self.notes.append(f"{what} ({self.table.source}): {short_list(columns, 6)}.")
        for name in self.places.values():
            values = numbers(self.table.frame[name])[0]
            known = values[~np.isnan(values)]
            if len(self.classes) == 1 and len(known) and set(known.tolist()) == {0.0, 1.0}:
                self.notes.append(
                    f"{name} of {self.table.source} is 0 or 1 in every case: these are decisions, whose AUROC is "
                    "not that of scores."
                )

    def _rivals(self, scores: Mapping[str, Array], faults: list[str]) -> None:
        """Further columns whose names only look like that of a class: the same scores, or a fault."""
        there = self.table.of_classes(SCORE_WORDS, bare=self.bare, ends=True)
        for name, values in scores.items():
            key = name_key(name, signs=True)
            for column in (
                each for rest in there if name_key(rest, signs=True) == key for each in there[rest]
            ):
                if self._decisive(column):
                    self._decided(column)
                    continue
                other = numbers(self.table.frame[column])[0]
                apart = int((~((values == other) | (other != other))).sum())
                self.table.take(column, "score, the same")
                if apart:
                    faults.append(
                        f"the column {column} looks like the scores of {name} as well and differs in {apart:,} of "
                        f"{len(other):,} cases; remove or rename one"
                    )

    def _values(self, name: str, faults: list[str]) -> Array:
        """The numbers of a column; as it is where some are none, for `evaluate` to say."""
        column = self.table.take(name, "score")
        commas, mixed = decimal_commas(column)
        if mixed:
            faults.append(f"{mixed}; write all numbers in one way")
        if commas:
            self.commas.append(name)
        if percentages(column):
            self.percents.append(name)
        values, odd = numbers(column)
        return text_of(column) if odd.any() else values

    def _one_of(self, name: str, columns: Sequence[str], faults: list[str]) -> str:
        """The column of several that holds the scores; a fault where they differ."""
        scored = [each for each in columns if not self._decisive(each)]
        for each in columns:
            if scored and each not in scored:
                self._decided(each)
        sure = [each for each in columns if each not in self.table.called(_SINGLE)]
        rest = scored or [
            each for each in columns if each in sure or not numbers(self.table.frame[each])[1].all()
        ]
        for each in columns:
            if not scored and each not in rest:
                self._decided(each)
        if not rest:
            return ""
        first = numbers(self.table.frame[rest[0]])[0]
        for other in rest[1:]:
            values = numbers(self.table.frame[other])[0]
            apart = int((~((first == values) | (np.isnan(first) & np.isnan(values)))).sum())
            if apart:
                faults.append(
                    f"the columns {rest[0]} and {other} could both be the scores of {name} and differ in {apart:,} of "
                    f"{len(values):,} cases; remove one"
                    + (", or name the right one with --score" if self.alone else "")
                )
            self.table.take(other, "score, the same")
            self.notes += (
                []
                if apart
                else [f"{other} of {self.table.source} has the scores of {rest[0]} and was not used."]
            )
        return rest[0]

    def _decisive(self, name: str) -> bool:
        """Whether a column holds decisions (names, or 0 and 1 alone), not scores."""
        values, odd = numbers(self.table.frame[name])
        known = values[~np.isnan(values)]
        if odd.all():
            few = self.table.frame[name].nunique() <= max(20, 2 * len(self.classes))
            return few or not _written_numbers(text_of(self.table.frame[name]))
        return bool(len(known) and np.isin(known, (0.0, 1.0)).all())

    def _decided(self, name: str) -> None:
        self.table.take(name, "decision")
        self.notes.append(f"{name} of {self.table.source} holds decisions, not scores, and was not used.")

    def _others(self, classes: set[str], faults: list[str]) -> None:
        """Columns that look like the scores or the truth of a class that there is not."""
        aliases = {
            name_key(each, signs=True)
            for each in (*classes, *(each for others in self.aliases.values() for each in others))
        }
        ignored = {name_key(each, signs=True) for each in self.ignored}
        left = []
        for name in self.table.unused():
            word = class_in(name, _SURE)
            maybe = class_in(name, SCORE_WORDS) if not word and self._looks_scored(name) else ""
            class_name = word or maybe
            if not class_name and name_key(name, signs=True) in ignored:
                class_name = name
            if not class_name:
                continue
            if name_key(class_name, signs=True) in ignored:
                self.table.take(name, "not evaluated")
                left.append(name)
            elif name_key(class_name, signs=True) in aliases and not self.table.used:
                continue
            elif name_key(class_name, signs=True) not in aliases:
                near = nearest(class_name, sorted(classes))
                faults.append(
                    f"the column {name!r} looks like one of a class {class_name!r}, which the protocol does not have"
                    + (f" (nearest: {near})" if near else "")
                    + "; rename or remove it, or leave it out with --ignore-labels"
                )
        if left:
            self.notes.append(
                f"Columns of classes that are not evaluated ({self.table.source}): {short_list(left, 12)}."
            )

    def _looks_scored(self, name: str) -> bool:
        values, odd = numbers(self.table.frame[name])
        known = values[~np.isnan(values)]
        return (
            not odd.any()
            and len(known) > 0
            and bool(((known >= 0) & (known <= 1)).all())
            and not self._decisive(name)
        )


def _written_numbers(cells: Array) -> bool:
    """Whether most cells are numbers in a form that is not read, such as `tensor(0.5)`: scores, no names."""
    known = [str(cell) for cell in cells if cell is not None]
    return 2 * sum(bool(re.search(r"[0-9][.,][0-9]|[0-9] ?%", cell)) for cell in known) > len(known)


def aliases_of(written: Mapping[str, str], codes: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """How else each class may be written in the names of columns.

    Args:
        written: class to how the truth has it. codes: (code, class) of the dataset's own table.
    """
    found = {name: [each] for name, each in written.items()}
    for code, name in codes:
        if name and not code.replace(".", "").isdigit():
            found.setdefault(name, []).append(code)
    return found


def classes_of_scores(table: NamedColumns, ignored: Sequence[str], faults: list[str]) -> tuple[str, ...]:
    """The classes that columns of scores name, in their order; of several words for scores the first that is there."""
    for word in SCORE_WORDS[:5]:
        found = [clean_name(each) for each in table.of_classes([word])]
        if found:
            break
    else:
        return ()
    dropped = {name_key(each, signs=True) for each in ignored}
    found = [name for name in found if name_key(name, signs=True) not in dropped]
    alike: dict[str, list[str]] = {}
    for name in found:
        alike.setdefault(name_key(name, signs=True), []).append(name)
    for names in alike.values():
        if len(names) > 1:
            faults.append(
                f"the classes {short_list([repr(name) for name in names])} are ambiguous; rename or remove "
                "one of their columns"
            )
    return tuple(found)


def ranked(scores: Array) -> Array:
    """Scores of any range by their order, 0 to 1: equal ones stay equal, so areas under curves are the same."""
    values = np.asarray(scores, dtype=np.float64)
    known = ~np.isnan(values)
    _, place = np.unique(values[known], return_inverse=True)
    found = np.full(len(values), np.nan)
    found[known] = place / max(place.max(initial=0), 1)
    return found
