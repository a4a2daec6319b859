"""Find the columns of an external table by their names; unused columns are listed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation.tables.prediction_arrays import is_number
from graftwork.common.names import clean_name, clean_names, match_names, name_key
from graftwork.common.wording import short_list

if TYPE_CHECKING:
    import pandas as pd


_BETWEEN = " _.:\t"  # between a word and the name of a class: score_Edema, prob.Edema
_ENDS = ("score", "prob", "probability")


class NamedColumns:
    """A table and its columns by name.

    Attributes:
        frame: the table, its columns in the normal form of names. where: its file. source: the name of that file.
        used: column to what it was used for, of those that were.
    """

    def __init__(self, frame: pd.DataFrame, source: str = "predictions") -> None:
        names = [clean_name(str(name)) for name in frame.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise TableError(
                f"the column {short_list([repr(each) for each in twice])} is there twice, expected one of each name",
                where=source,
                remedy="rename or remove one of each",
            )
        self.frame = frame.set_axis(names, axis=1)
        self.frame.attrs = dict(frame.attrs)
        self.where, self.source = source, PurePath(source).name or source
        self.used: dict[str, str] = {}

    def with_frame(self, frame: pd.DataFrame) -> NamedColumns:
        """Another frame of the same file; columns that count as used still do."""
        frame.attrs = dict(self.frame.attrs)
        found = NamedColumns(frame, self.where)
        found.used = dict(self.used)
        return found

    def __contains__(self, name: str) -> bool:
        return name in self.frame.columns

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def names(self) -> list[str]:
        return [str(name) for name in self.frame.columns]

    def there(self) -> str:
        """The names of the columns, for a message."""
        return short_list(self.names, 30)

    def mentions(self, name: str) -> bool:
        """Whether a class is named in a column's name or in a cell of text, by what it looks like."""
        key = name_key(name)
        texts = [*self.names]
        for column in self.frame.columns:
            if not is_number(self.frame[column]):
                texts += map(str, self.frame[column].dropna().unique())
        return any(key in name_key(text) for text in texts)

    def take(self, name: str, what: str) -> pd.Series[Any]:
        """A column, which now counts as used."""
        self.used.setdefault(name, what)
        return self.frame[name]

    def asked(self, name: str, option: str, *, needed: bool = True) -> str:
        """The column that an option names: exactly, else the only one that looks alike; empty where there is none.

        Raises:
            UsageError: there is none, and it is needed. TableError: several look alike.
        """
        found = match_names([name], self.names, "column").get(name, "")
        if not found and needed:
            near = nearest(name, self.names)
            raise UsageError(
                f"no column {name!r}; there are {self.there()}",
                where=f"{self.where}, {option}",
                remedy=f"write {option} {near!r}" if near else f"name one of its columns with {option}",
            )
        return found

    def called(self, words: Iterable[str]) -> list[str]:
        """All columns called as one of some words, whatever their case and punctuation, in the order of the words."""
        alike: dict[str, list[str]] = {}
        for name in self.names:
            alike.setdefault(name_key(name), []).append(name)
        found: list[str] = []
        for word in words:
            found += [name for name in alike.get(name_key(word), ()) if name not in found]
        return found

    def of_classes(
        self, words: Sequence[str], *, bare: bool = False, ends: bool = False
    ) -> dict[str, list[str]]:
        """Name of a class, as written, to the columns called `WORD_CLASS`; with `ends` also `CLASS_score`, with `bare`
        `CLASS`. Columns that are used already are left out."""
        found: dict[str, list[str]] = {}
        for name in self.names:
            if name in self.used:
                continue
            rest = class_in(name, words) or (_before_end(name) if ends else "")
            if rest:
                found.setdefault(rest, []).append(name)
            if bare and name not in found.get(name, ()):
                found.setdefault(name, []).append(name)
        return found

    def cleaned(self) -> list[str]:
        """Sentences on the cells of used columns of names that were not in the normal form of names."""
        notes = []
        for name, what in self.used.items():
            if what not in ("score", "failure", "decision") and not is_number(self.frame[name]):
                changed = clean_names(self.frame[name].dropna().to_numpy(dtype=object))[1]
                if changed:
                    notes.append(
                        f"{name} of {self.source}: white space or Unicode forms were cleaned in {changed:,} cells."
                    )
        return notes

    def unused(self) -> list[str]:
        """The columns that nothing was taken from."""
        return [name for name in self.names if name not in self.used]


def class_in(name: str, words: Sequence[str]) -> str:
    """The class in `score_Edema`, `ProbEdema` or `.pred_Edema`; empty where the name does not begin with a word."""
    text = name.lstrip(".")
    for word in sorted(words, key=len, reverse=True):
        if text.casefold().startswith(word):
            rest = text[len(word) :]
            if rest[:1] in tuple(_BETWEEN) and rest.strip(_BETWEEN):
                return rest.strip(_BETWEEN)
            if len(word) > 2 and rest[:1].isupper() and text[len(word) - 1].islower():
                return rest
    return ""


def _before_end(name: str) -> str:
    for word in _ENDS:
        start = name[: -len(word)]
        if name.casefold().endswith(word) and start.strip(_BETWEEN) and start[-1] in _BETWEEN:
            return start.strip(_BETWEEN)
    return ""


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is written most like another; empty where none is near."""
    import difflib

    names = list(known)
    low = {each.casefold(): each for each in names}
    near = difflib.get_close_matches(name.casefold(), low, n=1, cutoff=0.5)
    if near:
        return low[near[0]]
    return next((each for each in names if len(each) > 2 and each.casefold() in name.casefold()), "")


def of_target(table: NamedColumns, target: str, notes: list[str]) -> NamedColumns:
    """The columns of a further target, `empty_score_animal`, without its prefix; those of the first are left out."""
    start = f"{target}_"
    if not target or not any(name.startswith(f"{start}score_") for name in table.names):
        return table
    first = [
        name for name in table.names if re.match(r"(?:score_|target$|target_|predicted$|predicted_)", name)
    ]
    frame = table.frame.drop(columns=first)
    frame = frame.rename(columns={name: name.removeprefix(start) for name in frame.columns})
    if first:
        notes.append(
            f"Columns of another target than {target} ({table.source}) were not read: {short_list(first, 12)}."
        )
    return table.with_frame(frame)
