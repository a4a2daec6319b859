"""Cases of two tables that are the same: by exact id, else by file name, else by file name without its ending."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from graftwork.common.evaluation.arrays import Array, IntArray
from graftwork.common.evaluation.tables.prediction_arrays import faulty_cases
from graftwork.common.names import name_key
from graftwork.common.wording import short_list

# of files that hold an image; `1.10` has none of them, so that it never loses a digit
_ENDING = re.compile(
    r"\.(?:jpe?g|jp2|png|tiff?|bmp|gif|webp|dcm|dicom|nii(?:\.gz)?|mha|mhd|nrrd|npy|npz|mp4|avi|mov|mkv)$",
    re.IGNORECASE,
)


@dataclass(frozen=True, eq=False)
class Joined:
    """Which row of the truth each predicted case has.

    Attributes:
        rows: [n], of the table of truth; None where that is unknown.
        left: how many cases of the truth have no prediction. note: by which rule cases were joined, where it is not
            by exact id.
    """

    rows: IntArray | None
    left: int = 0
    note: str = ""


def join_cases(
    wanted: Array,
    names: Array,
    failed: Sequence[str],
    *,
    only_predicted: bool,
    where: tuple[str, str],
    faults: list[str],
) -> Joined:
    """Find the row of the truth of each predicted case, by one rule for all of them.

    Exact ids first; where none of them matches, paths without their first folders, file names, and both without the
    ending of an image file. A rule is used only where it gives each case one row, in both tables.

    Args:
        wanted: [n], predicted cases. names: [m], of the truth. failed: further cases, without a prediction.
        only_predicted: the truth may have more. where: the tables, for messages.
        faults: what is wrong is added here.
    """
    before = len(faults)
    faults += faulty_cases(f"cases are more than once in {where[0]}", _twice(wanted), wanted)
    faults += faulty_cases(f"cases are more than once in {where[1]}", _twice(names), names)
    twice = len(faults) > before
    for rule, key in _rules([*wanted, *names]):
        mine, theirs = [key(name) for name in wanted], [key(name) for name in names]
        met = set(mine) & set(theirs)
        if not met or (twice and rule != "id"):
            continue
        several = [
            (table, word)
            for keys, table in ((mine, where[0]), (theirs, where[1]))
            for word, count in Counter(keys).items()
            if count > 1 and word in met
        ]
        if several and not twice:
            faults.append(
                f"cases of {where[0]} and {where[1]} match by {rule} alone, and {len(several):,} of them are there "
                f"several times ({short_list([f'{word} in {table}' for table, word in several])}); write the same ids "
                "in both tables"
            )
            return Joined(None)
        return _joined(
            wanted, names, mine, theirs, {key(name) for name in failed}, rule, only_predicted, where, faults
        )
    faults += faulty_cases("cases have no truth", np.ones(len(wanted), dtype=np.bool_), wanted)
    faults.append(
        f"no case of the two tables is the same ({short_list(wanted)}; {short_list(names)}){_alike(wanted, names)}"
    )
    return Joined(None)


def _joined(
    wanted: Array, names: Array, mine: list[str], theirs: list[str], failed: set[str], rule: str, only_predicted: bool,
    where: tuple[str, str], faults: list[str],
) -> Joined:  # fmt: skip
    place = {word: row for row, word in enumerate(theirs)}
    lacking = np.array([word not in place for word in mine])
    for fault in faulty_cases("cases have no truth", lacking, wanted):
        faults.append(f"{fault}{_alike(wanted[lacking], names)}")
    known = set(mine)
    missing = np.array([word not in known and word not in failed for word in theirs])
    if not only_predicted:
        faults += faulty_cases(
            "cases of the table of truth have no prediction (--only-predicted evaluates the others alone)",
            missing,
            names,
        )
    if faults:
        return Joined(None)
    note = (
        ""
        if rule == "id"
        else f"{len(wanted):,} cases were joined with {where[1]} by {rule}, as no id is the same."
    )
    return Joined(np.array([place[word] for word in mine], dtype=np.intp), int(missing.sum()), note)


def _rules(names: Sequence[str]) -> Iterator[tuple[str, Callable[[str], str]]]:
    """Rules in their order: name, and what of a case must be equal."""

    def tail(depth: int, ending: bool) -> Callable[[str], str]:
        def key(name: str) -> str:
            last = "/".join(name.replace("\\", "/").strip("/").split("/")[-depth:])
            return last if ending else _ENDING.sub("", last)

        return key

    yield "id", lambda name: name
    deepest = max((name.replace("\\", "/").count("/") + 1 for name in names), default=1)
    for ending in (True, False):
        for depth in range(deepest, 0, -1):
            what = "file name" if depth == 1 else f"the last {depth} steps of the path"
            yield what if ending else f"{what} without its ending", tail(depth, ending)


def _twice(names: Array) -> Array:
    count = Counter(names.tolist())
    return np.array([count[name] > 1 for name in names], dtype=np.bool_)


def _alike(wanted: Array, names: Array) -> str:
    """Names of the other table that only look alike, or are the same number, for a message."""
    there = {key: name for name in names for key in (name_key(name), _number(name)) if key}
    found = [(name, there.get(name_key(name)) or there.get(_number(name))) for name in wanted]
    pairs = [f"{name!r} looks like {other!r}" for name, other in found if other is not None and other != name]
    return f"; {short_list(pairs)}, which is another id (ids are text)" if pairs else ""


def _number(name: str) -> str:
    """The number that an id is, as text; empty where it is none."""
    return f"= {float(name)!r}" if re.fullmatch(r"[0-9]+\.?[0-9]*", name) else ""
