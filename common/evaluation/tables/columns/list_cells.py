"""Cells that list what is there, such as "Mass|Edema": each name is a class, or the cell is refused."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from graftwork.common.errors import TableError
from graftwork.common.evaluation.arrays import Array, FloatArray
from graftwork.common.evaluation.tables.columns.named_columns import nearest
from graftwork.common.evaluation.tables.prediction_arrays import absent
from graftwork.common.names import clean_name, match_names
from graftwork.common.wording import short_list

_SEPARATORS = ("|", ",", ";", "/")
_NAMED = {"|": "a bar", ",": "a comma", ";": "a semicolon", "/": "a slash"}


def read_lists(
    cells: Array,
    classes: Sequence[str],
    nothing: Sequence[str],
    ignored: Sequence[str],
    *,
    name: str,
    case: Array,
    faults: list[str],
    notes: list[str],
) -> FloatArray | None:
    """0 and 1 of each class, [n, K], from cells that list the classes; a cell that is empty is unknown (NaN).

    The separator is the bar, comma, semicolon or slash with which every name of every cell is a class, one of
    `ignored`, or a word of `nothing`. Where there is none, the names that are no class are faults. Lists as Python,
    JSON, NumPy and R write them, `['Mass', 'Edema']`, are read without their brackets and quotation marks; an empty
    one says that nothing is there.

    Raises:
        TableError: two spellings of one class are ambiguous.
    """
    cells = _without_brackets(cells, nothing, name, notes)
    missing = absent(cells)
    texts = [str(cell) for cell in cells[~missing]]
    wanted = list(dict.fromkeys([*classes, *ignored, *nothing]))
    best: tuple[int, str, dict[str, str], Counter[str]] | None = None
    for separator in (*_SEPARATORS, "|,;/"):
        counted = Counter(each for text in texts for each in set(_split(text, separator)))
        try:
            known = {there: each for each, there in match_names(wanted, list(counted), "class").items()}
        except TableError as error:
            raise TableError(error.what, where=name, remedy=error.remedy) from error
        unknown = sum(count for each, count in counted.items() if each not in known)
        if best is None or unknown < best[0]:
            best = (unknown, separator, known, counted)
        if not unknown:
            break
    assert best is not None
    _, separator, known, counted = best
    odd = {each: count for each, count in counted.items() if each not in known}
    if odd:
        examples = [
            f"{each!r} in {count:,} cells"
            + (f" (nearest: {near})" if (near := nearest(each, classes)) else "")
            for each, count in odd.items()
        ]
        rows = [
            str(label)
            for label, cell in zip(case, cells, strict=True)
            if cell is not None and not set(_split(str(cell), separator)) <= set(known)
        ]
        faults.append(
            f"{name} lists {len(odd):,} names that are no class: {short_list(examples, 8)}; in {len(rows):,} of "
            f"{len(cells):,} cases ({short_list(rows)}); expected {short_list(list(classes), 20)}, separated by a bar; "
            "correct them, or leave them out of the evaluation (--ignore-labels NAME,...; --nothing WORDS for words "
            "that say that nothing is there)"
        )
        return None
    said = {there: each for there, each in known.items() if there != each}
    if said:
        notes.append(f"{name}: read {', '.join(f'{there!r} as {each}' for there, each in said.items())}.")
    several = sum(len(_split(text, separator)) > 1 for text in texts)
    if several and separator != "|":
        marks = " and ".join(_NAMED[each] for each in separator if any(each in text for text in texts))
        notes.append(f"{name}: names are separated by {marks}, in {several:,} cells.")
    left = [each for each in ignored if each in known.values() and each not in nothing]
    if left:
        count = sum(count for there, count in counted.items() if known[there] in left)
        notes.append(f"{name}: {short_list(left, 12)} are not evaluated, in {count:,} cells.")
    voids = {there for there, each in known.items() if each in nothing and each not in classes}
    found = np.full((len(cells), len(classes)), np.nan)
    place = {each: k for k, each in enumerate(classes)}
    mixed: list[str] = []
    for row, cell in enumerate(cells):
        if cell is not None:
            names = set(_split(str(cell), separator))
            if names & voids and names - voids:
                mixed.append(f"{case[row]}: {cell!r}")
            found[row] = 0.0
            for each in names:
                if known[each] in place:
                    found[row, place[known[each]]] = 1.0
    if mixed:
        faults.append(
            f"{name} says that nothing is there and lists a class: {len(mixed):,} of {len(cells):,} cases "
            f"({short_list(mixed)}); correct these cells"
        )
    return found


_BRACKETS = re.compile(
    r"(?:c|list|array)?(?:\((.*)\)|\[(.*)\]|\{(.*)\})(?:, dtype=.*\))?|(set)\(\)", re.DOTALL
)
_QUOTED = re.compile(r"\s*(?:'([^']*)'|\"([^\"]*)\")\s*(?:,|;|\||$|(?=['\"]))")


def _without_brackets(cells: Array, nothing: Sequence[str], name: str, notes: list[str]) -> Array:
    """Cells such as `['Mass', 'Edema']` as `Mass|Edema`, where every cell has brackets; others as they are."""
    found = np.array(cells, dtype=object)
    held = [row for row, cell in enumerate(cells) if cell is not None]
    inner: list[str] = []
    for row in held:
        text = str(cells[row])
        match = _BRACKETS.fullmatch(text)
        if match is None and text not in nothing:
            return cells
        inner.append(text if match is None else next((each for each in match.groups()[:3] if each), ""))
    empty = 0
    for row, text in zip(held, inner, strict=True):
        quoted = _QUOTED.findall(text)
        if quoted and not _QUOTED.sub("", text).strip(" ,"):
            text = "|".join(one or other for one, other in quoted)
        empty += not text.strip(" ,")
        found[row] = text
    changed = sum(found[row] != cells[row] for row in held)
    if changed:
        said = f"; {empty:,} of them are empty, which says that nothing is there" if empty else ""
        notes.append(
            f"{name}: lists in brackets were read, such as {cells[held[0]]}, in {changed:,} cells{said}."
        )
    return found


def _split(text: str, separator: str) -> list[str]:
    return [name for each in re.split(f"[{re.escape(separator)}]", text) if (name := clean_name(each))]
