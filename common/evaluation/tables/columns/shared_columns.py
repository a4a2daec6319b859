"""Group, unit and covariates of a case, from either of two tables. Tables that disagree are refused."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graftwork.common.evaluation.arrays import Array
from graftwork.common.evaluation.tables.columns.named_columns import NamedColumns
from graftwork.common.evaluation.tables.columns.part_columns import conflict
from graftwork.common.evaluation.tables.prediction_arrays import absent, faulty_cases, text_of
from graftwork.common.evaluation.tables.reading_options import LOOK_ALIKES
from graftwork.common.evaluation.tables.truth_tables import TruthTable
from graftwork.common.names import clean_names, is_no_name, look_alikes
from graftwork.common.wording import short_list


@dataclass
class SharedColumns:
    """Columns of tables of the same cases in the same order.

    Attributes:
        tables: all of them. labels: the one with the truth; own: which dataset's own table it is. case: names.
        faults, notes: added to.
    """

    tables: Sequence[NamedColumns]
    labels: NamedColumns
    own: TruthTable | None
    case: Array
    faults: list[str]
    notes: list[str]

    def group(self, asked: str, noun: str) -> Array | None:
        """The group of each case: of the column that was named, of `group`, or of the dataset's own table.

        Args:
            noun: what a group is, for notes.
        """
        found = self._agreed([asked] if asked else ["group"], "group", "--group" if asked else "")
        if found is None and not asked and self.own is not None:
            for name in self.labels.called(self.own.group)[:1]:
                self.notes.append(
                    f"The group is {name} of {self.labels.source}; --group names another column."
                )
                found = self._agreed([name], "group")
            if found is None:
                found = self._in_case(self.own.group_in_case, f"group ({noun})")
        for name, count in Counter([] if found is None else found.tolist()).items():
            if count > 1 and name is not None and is_no_name(name):
                self.notes.append(
                    f"{count:,} cases have the group {name!r}, which says that there is none; they count as one group."
                )
        if found is not None and len(found) > 1 and len(set(found)) == len(found) and not absent(found).any():
            self.notes.append(
                f"Every case is a {noun or 'group'} of its own: intervals take the cases as independent."
            )
        return found

    def unit(self, by: str) -> Array | None:
        """What the protocol combines: from a column of that name, of the dataset's own table, or in the case."""
        found = self._agreed([by], by)
        for name in () if found is not None or self.own is None else self.labels.called(self.own.unit)[:1]:
            self.notes.append(f"The {by} is {name} of {self.labels.source}.")
            found = text_of(self.labels.take(name, by))
        if found is None and self.own is not None:
            found = self._in_case(self.own.unit_in_case, by)
        return found

    def covariate(self, name: str) -> Any:
        """The values of a column of subgroups, as they are; None where no table has it."""
        self._agreed([name], name, "--by")
        for table in self.tables:
            if column := table.asked(name, "--by", needed=False):
                return table.frame[column]
        return None

    def _agreed(self, words: Sequence[str], what: str, option: str = "") -> Array | None:
        """What columns of these names say in all tables; a fault where two of them disagree."""
        found: list[tuple[str, Array]] = []
        for table in self.tables:
            columns = [table.asked(words[0], option, needed=False)] if option else table.called(words)
            for name in (each for each in columns if each):
                values = text_of(table.take(name, what))
                empty = absent(values)
                if option or not empty.all():
                    found.append((f"{name} ({table.source})", values))
                if what == "group":
                    several = empty & ~empty.all() if not option else empty
                    self.faults += faulty_cases(
                        f"{name} ({table.source}) says no group; fill it in", several, self.case
                    )
        if option == "--group" and not found:
            there = list(dict.fromkeys(name for table in self.tables for name in table.names))
            self.faults.append(
                f"no column {words[0]!r} says the group; there are {short_list(there, 30)}; name one with {option}"
            )
        for other in found[1:]:
            self.faults += conflict(what, found[0], other, self.case)
        return found[0][1] if found else None

    def _in_case(self, pattern: str, what: str) -> Array | None:
        """What a pattern finds in the name of each case; None where it finds nothing in one of them."""
        found = [re.search(pattern, str(name)) for name in self.case] if pattern else [None]
        values = [each.group(1) for each in found if each is not None]
        if len(values) < len(self.case):
            return None
        self.notes.append(f"The {what} was read from the names of the cases, such as {values[0]}.")
        return np.array(values, dtype=object)


def look_alike_findings(made: Mapping[str, Any], by: str) -> list[str]:
    """Cases, groups and units that would be the same without case, leading zeros, `.0` or punctuation, in sentences.

    Args:
        made: columns `case` and, where they are there, `group` and the one called `by`.
    """
    found = []
    for what, noun in (("case", "cases"), ("group", "groups"), (by, f"values of {by}")):
        sets = (
            look_alikes(each for each in clean_names(made[what])[0] if each is not None)
            if what in made
            else []
        )
        if sets:
            sets_text = short_list([" and ".join(map(repr, each[:4])) for each in sets])
            found.append(
                f"{sum(map(len, sets)):,} {noun} look alike and count as different: {sets_text}. Write each in one "
                f"way, or allow it with --allow {LOOK_ALIKES}."
            )
    return found
