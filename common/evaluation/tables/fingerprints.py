"""Fingerprints of cases: whether two tables hold the same cases or groups, without keeping a name in clear.

Names are compared after `clean_name`, files also by name without folder and extension. Every fingerprint is a keyed
hash (BLAKE2b). The key is drawn from the content of the table: the same table gives the same bytes, and lists of hashes
that were made beforehand are of no use.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from graftwork.common.evaluation.arrays import BoolArray
from graftwork.common.names import clean_name, name_key

if TYPE_CHECKING:
    from graftwork.common.evaluation.tables.predictions import Cases


_EXTENSION = re.compile(
    r"(?:\.[a-z][a-z0-9]{1,4}){1,2}$", re.IGNORECASE
)  # .jpg, .nii.gz; not the .10 of 1.10
_PRECISE = 5  # significant digits of a score from which equal rows are no accident


@dataclass(frozen=True, eq=False)
class Overlap:
    """Which of some cases match a fingerprint, [n] bool each.

    Attributes:
        cases: by name, or by file name. groups: by group. alike: by a name that only looks alike (case, leading zeros,
            punctuation), or by file name in another folder. rows: by scores and truth.
    """

    cases: BoolArray
    groups: BoolArray
    alike: BoolArray
    rows: BoolArray


@dataclass(frozen=True)
class Fingerprints:
    """Keyed hashes of the cases and groups of a table.

    Attributes:
        key: of the hashes. cases: names. files, filed: names without folder and extension, of names without and with a
            folder. alike: names without case, leading zeros and punctuation. groups, alike_groups: the same of groups,
            empty where the table names none. rows: scores and truth of rows that have many digits and stand once.
    """

    key: str
    cases: tuple[str, ...]
    files: tuple[str, ...]
    filed: tuple[str, ...]
    alike: tuple[str, ...]
    groups: tuple[str, ...]
    alike_groups: tuple[str, ...]
    rows: tuple[str, ...]

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Fingerprints:
        """What `plain` made of one.

        Raises:
            KeyError, TypeError: it is something else.
        """
        lists = {each.name: tuple(map(str, content[each.name])) for each in fields(cls) if each.name != "key"}
        return cls(str(content["key"]), **lists)

    def overlap(self, cases: Cases, groups: Iterable[str] | None) -> Overlap:
        """Compare cases with the fingerprints.

        Args:
            cases: of another table, as `read_cases` gives them. groups: the group of each; None where none is named.
        """
        names = list(map(str, cases.case))
        stems = [_stem(name) for name in names]
        once = Counter(stem for stem, _ in stems)
        known = {each.name: set(getattr(self, each.name)) for each in fields(self)}
        rows = np.array(
            [bool(row) and self._of("row", row) in known["rows"] for row in _rows(cases)], dtype=bool
        )
        same, alike = np.zeros(len(names), dtype=bool), np.zeros(len(names), dtype=bool)
        for at, (name, (stem, folder)) in enumerate(zip(names, stems, strict=True)):
            digest = self._of("file", stem)
            bare = digest in known["files"] and once[stem] == 1
            filed = digest in known["filed"] and once[stem] == 1
            same[at] = (
                self._of("case", name) in known["cases"] or bare or (filed and (not folder or rows[at]))
            )
            alike[at] = filed or self._of("alike", _loose(stem)) in known["alike"]
        if groups is None:
            theirs = np.zeros(len(names), dtype=bool)
        else:
            cleaned = [clean_name(str(name)) for name in groups]
            theirs = np.array(
                [bool(name) and self._of("group", name) in known["groups"] for name in cleaned], dtype=bool
            )
            keys = [bool(name) and self._of("alike group", _loose(name)) for name in cleaned]
            alike |= np.array([key in known["alike_groups"] for key in keys], dtype=bool)
        return Overlap(same, theirs, alike & ~same & ~theirs, rows & ~same & ~theirs)

    def _of(self, what: str, text: str) -> str:
        return _digest(self.key, what, text)


def fingerprints_of(cases: Cases, groups: Iterable[str] | None) -> Fingerprints:
    """The fingerprints of cases.

    Args:
        cases: as `read_cases` gives them, each row by itself. groups: the group of each; None where none is named.
    """
    names = list(map(str, cases.case))
    content = hashlib.sha256()
    for part in (np.ascontiguousarray(cases.scores), np.ascontiguousarray(cases.truth, dtype=np.float64)):
        content.update(part.tobytes())
    content.update("\0".join(names).encode())
    key = content.hexdigest()[:32]
    stems = [_stem(name) for name in names]
    once = Counter(stem for stem, _ in stems)
    repeats = Counter(filter(None, _rows(cases)))
    own = [] if groups is None else sorted({clean_name(str(name)) for name in groups} - {""})

    def all_of(what: str, texts: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted({_digest(key, what, text) for text in texts}))

    return Fingerprints(
        key,
        all_of("case", names),
        all_of("file", (stem for stem, folder in stems if not folder and once[stem] == 1)),
        all_of("file", (stem for stem, folder in stems if folder and once[stem] == 1)),
        all_of("alike", (_loose(stem) for stem in once if once[stem] == 1)),
        all_of("group", own),
        all_of("alike group", map(_loose, own)),
        all_of("row", (row for row, times in repeats.items() if times == 1)),
    )


def _digest(key: str, what: str, text: str) -> str:
    return hashlib.blake2b(f"{what}\0{text}".encode(), key=key.encode(), digest_size=8).hexdigest()


def _stem(name: str) -> tuple[str, bool]:
    """The name of a file without folder and extension, in small letters; and whether it had a folder."""
    parts = re.split(r"[/\\]", name.strip("/\\"))
    return _EXTENSION.sub("", parts[-1]).casefold() or parts[-1].casefold(), len(parts) > 1


def _loose(name: str) -> str:
    """A name without case, leading zeros and punctuation; numbers stay apart, so that 1-11 is not like 11-1."""
    return "|".join(name_key(part) for part in re.split(r"(?<=\d)[\W_]+(?=\d)", name))


def _rows(cases: Cases) -> list[str]:
    """Scores and truth of each row as text; empty where the scores have so few digits that equal rows mean nothing."""
    found = []
    for scores, truth in zip(cases.scores, np.asarray(cases.truth, dtype=np.float64), strict=True):
        digits = [f"{score:.10g}" for score in scores]
        precise = any(len(text.partition("e")[0].replace(".", "").lstrip("0")) >= _PRECISE for text in digits)
        found.append(f"{','.join(digits)};{np.atleast_1d(truth).tolist()}" if precise else "")
    return found
