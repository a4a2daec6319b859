"""Names and identifiers: one normal form for the whole program, and names that look alike without being equal.

An identifier is text: `1.10` is not `1.1`, `007` is not `7`. Names are compared exactly after `clean_name`. Names that
would be equal only without case, leading zeros, a trailing `.0` or punctuation are never merged; `look_alikes` lists
them, so that a check, a split or an evaluation can refuse or report them.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence

from graftwork.common.errors import TableError

_INVISIBLE = dict.fromkeys(
    (0x200B, 0x200E, 0x200F, 0x2060, 0xFEFF)
)  # zero-width space, marks of direction, BOM
_DIGITS = re.compile(r"\d+")
_WHOLE = re.compile(r"^(\D*\d+)\.0+$")  # 7.0, P7.0
_BETWEEN_DIGITS = re.compile(r"(?<=\d)\W+(?=\d)")
_SIGNS = frozenset("+-<>=≤≥±!~*?")
_ROUND = "()[]{} "  # around a sign: HER2 (+)
# What programs and people write where a patient, site or camera is not known; cases that share it share nothing.
_NO_NAMES = frozenset(
    [
        "na",
        "n/a",
        "#n/a",
        "<na>",
        "nan",
        "null",
        "nil",
        "none",
        "?",
        "-",
        "--",
        ".",
        "unknown",
        "unspecified",
        "undefined",
        "missing",
        "anonymous",
        "anonymised",
        "anonymized",
    ]
)
_DASHES = str.maketrans(dict.fromkeys("‐‑‒–—−", "-"))


def clean_name(text: str) -> str:
    """A name in its normal form: Unicode NFC, no invisible characters, no white space at its ends, one space inside.

    A no-break space is white space. Case, punctuation and digits stay as they are.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text.translate(_INVISIBLE))
    elif text.isalnum():  # nothing to fold, as in most cells of a table
        return text
    return " ".join(text.split())


def clean_names(values: Iterable[object]) -> tuple[list[str | None], int]:
    """Names of a column in their normal form, and how many of them were changed.

    Args:
        values: str, or None or NaN where there is no name. A whole number stored as a float (7.0, as spreadsheets store
            identifiers) becomes "7" and does not count as changed.

    Returns:
        The names, None where there is none or nothing but white space is left; and the count.
    """
    known: dict[str, str] = {}
    found: list[str | None] = []
    changed = 0
    for value in values:
        if value is None or value != value or type(value).__name__ in ("NAType", "NaTType"):
            found.append(None)
            continue
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        text = str(value)
        if text not in known:
            known[text] = clean_name(text)
        name = known[text]
        changed += name != text
        found.append(name or None)
    return found, changed


def is_no_name(name: str) -> bool:
    """Whether a name says that there is none, such as `unknown`, `NA` or `Anonymous`, in any case."""
    return clean_name(name).casefold() in _NO_NAMES


def name_key(name: str, *, signs: bool = False) -> str:
    """What a name comes to without case, leading zeros, a trailing `.0` and punctuation; equal keys look alike.

    Args:
        signs: signs at the ends of a name count (of classes: `HER2+` and `HER2-`, `<5` and `>5`).
    """
    text = unicodedata.normalize("NFKC", clean_name(name)).casefold().translate(_DASHES)
    begin = end = ""
    if signs:
        either = "".join(_SIGNS) + _ROUND
        bare = text.lstrip(either)
        begin, text = text[: len(text) - len(bare)], bare
        bare = text.rstrip(either)
        end, text = text[len(bare) :], bare
        begin, end = ("".join(each for each in part if each in _SIGNS) for part in (begin, end))
    text = _WHOLE.sub(r"\1", text)
    letters = "".join(each for each in text if each.isalnum() or unicodedata.category(each)[0] == "M")
    key = begin + _DIGITS.sub(_without_zeros, letters) + end
    return key or name


def _without_zeros(digits: re.Match[str]) -> str:
    return digits.group().lstrip("0") or "0"


def look_alikes(names: Iterable[str], *, signs: bool = False) -> list[tuple[str, ...]]:
    """Sets of different names that would be equal without case, leading zeros, `.0` or punctuation.

    `1-11` and `11-1` are not alike, although both are 111 without punctuation: what separates digits is dropped only
    where one of the names has no separator there.

    Args:
        names: any number of times each. signs: as `name_key`.

    Returns:
        The sets, each in alphabetical order, ordered by their first name.
    """
    sets: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(names):
        sets[name_key(name, signs=signs)].append(name)
    found: list[tuple[str, ...]] = []
    for alike in sets.values():
        if len(alike) < 2:
            continue
        parts: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for name in alike:
            parts[_separated(name)].append(name)
        joined = any(len(numbers) < 2 for numbers in parts)
        found += [tuple(sorted(each)) for each in ([alike] if joined else parts.values()) if len(each) > 1]
    return sorted(found)


def _separated(name: str) -> tuple[str, ...]:
    """The parts of a name between separators of digits, each as its key: ("1", "11") of 1-11."""
    text = _WHOLE.sub(r"\1", unicodedata.normalize("NFKC", clean_name(name)).replace("_", "-"))
    return tuple(name_key(part) for part in _BETWEEN_DIGITS.split(text))


def match_names(wanted: Sequence[str], there: Sequence[str], what: str = "name") -> dict[str, str]:
    """For each wanted name the one that is there: equal after `clean_name`, else the only one that looks alike.

    Whoever uses a name that only looks alike says so: compare `clean_name` of both.

    Args:
        wanted: names, such as classes. there: names, such as columns. what: for the message.

    Returns:
        Wanted name to the name that is there, in the order of `wanted`; names that are not there are left out.

    Raises:
        TableError: two names that are there, or two that are wanted, are ambiguous.
    """
    exact: dict[str, list[str]] = defaultdict(list)
    alike: dict[str, list[str]] = defaultdict(list)
    for name in there:
        exact[clean_name(name)].append(name)
    found: dict[str, str] = {}
    for name in wanted:
        same = exact.get(clean_name(name), [])
        if len(same) > 1:
            raise _ambiguous(what, name, same)
        if same:
            found[name] = same[0]
    taken = set(found.values())
    for name in there:
        if name not in taken:
            alike[name_key(name, signs=True)].append(name)
    rest = [name for name in wanted if name not in found]
    for name in rest:
        key = name_key(name, signs=True)
        if key not in alike:
            continue
        rivals = [each for each in rest if name_key(each, signs=True) == key]
        if len(alike[key]) > 1 or len(rivals) > 1:
            raise _ambiguous(what, " and ".join(rivals), alike[key])
        found[name] = alike[key][0]
    return {name: found[name] for name in wanted if name in found}


def _ambiguous(what: str, name: str, same: Sequence[str]) -> TableError:
    return TableError(
        f"{', '.join(map(repr, same))} are ambiguous as the {what} {name!r}",
        where=what,
        remedy=f"rename or remove one, so that one {what} has this name",
    )
