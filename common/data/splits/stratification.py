"""What is drawn for a split: groups to parts, and of the groups that train, units to be tested on beside.

The manifest is counted here by class; `assignment.py` uses the counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from graftwork.common.data.manifest import PARTS, Manifest
from graftwork.common.data.splits.assignment import allot, ranks
from graftwork.common.errors import DatasetError
from graftwork.common.wording import short_list

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


SEEN = "seen"  # cases of the groups that train, set aside to be tested on
_ORDER = ("test", "validation", "train")  # test is drawn first, so it stays when only `validation` changes


def numbered(column: pd.Series) -> tuple[NDArray[np.int64], list[str]]:
    """The number of each row's group or unit, and their names in alphabetical order."""
    import pandas as pd

    codes, names = pd.factorize(column, sort=True)
    return codes.astype(np.int64), [str(name) for name in names]


def unit_names(manifest: Manifest) -> pd.Series:
    """The unit of each row; each case is its own unit if the manifest has none."""
    return manifest.frame[manifest.unit or "case"].astype(str)


def draw_parts(manifest: Manifest, shares: Mapping[str, float], seed: int) -> NDArray[np.object_]:
    """The part of each row, by group.

    Args:
        shares: of validation and test; what is left trains.

    Raises:
        DatasetError: too few groups; a class of a binary target in too few of them.
    """
    active = [part for part in _ORDER if part == "train" or shares.get(part, 0) > 0]
    if len(active) == 1:
        return np.full(len(manifest), "train", dtype=object)
    codes, names = numbered(manifest.frame["group"])
    if len(names) < len(active):
        word = "one group only" if len(names) == 1 else f"{len(names)} groups only"
        raise DatasetError(
            f"{word} ({manifest.group} {', '.join(names)}); {', '.join(reversed(active))} need one each",
            where=manifest.dataset,
            remedy=f"add images of another {manifest.group}, or set split.validation or split.test to 0",
        )
    counts = _counts(manifest, codes, len(names))
    # of many classes one may be rare, or live at one place only; its metric then says why it is undefined
    if manifest.target.kind == "binary":
        stands = dict(zip(manifest.target.classes, (counts[:, :-1] > 0).sum(0), strict=True))
        small = [f"{label!r} ({groups})" for label, groups in stands.items() if groups < len(active)]
        if small:
            raise DatasetError(
                f"too few groups ({manifest.group}) to be in each of {', '.join(reversed(active))}: "
                f"class {', '.join(small)}",
                where=manifest.dataset,
                remedy="leave the class out, or set split.validation or split.test to 0",
            )
    wanted = np.array([shares[part] for part in active[:-1]])
    chosen = allot(names, counts, np.append(wanted, 1 - wanted.sum()), seed)
    return np.array(active, dtype=object)[chosen][codes]


def draw_seen(training: Manifest, share: float, seed: int) -> NDArray[np.bool_]:
    """Which training cases are held out, to evaluate on groups that are in the training part.

    Whole units, and never the last one of a group or of a class: each keeps training cases.

    Args:
        training: the cases of the train part.
        share: of these cases, as close as whole units allow, in every class.

    Raises:
        DatasetError: too few groups with more than one unit.
    """
    codes, names = numbered(unit_names(training))
    group_of = np.empty(len(names), dtype=np.int64)
    group_of[codes], _ = numbered(training.frame["group"])
    unit = training.unit or "case"

    # one unit of each group stays: the one that comes first in an order of its own
    ahead = np.argsort(ranks([f"kept\0{name}" for name in names], seed))
    _, first = np.unique(group_of[ahead], return_index=True)
    free = np.ones(len(names), dtype=bool)
    free[ahead[first]] = False
    cases = np.bincount(codes, minlength=len(names))
    wanted = share * len(training) / max(int(cases[free].sum()), 1)
    if free.sum() < 2 or wanted >= 1:
        raise DatasetError(
            f"of {len(training)} training cases {int(cases[free].sum())} can be set aside as seen, because each "
            f"{training.group} keeps one {unit} to learn from; {share:.3g} of all were asked for",
            where=training.dataset,
            remedy="set split.seen lower, or to 0",
        )
    counts = _counts(training, codes, len(names))[free]
    aside = np.zeros(len(names), dtype=bool)
    loose = [f"seen\0{name}" for name, may in zip(names, free, strict=True) if may]
    aside[free] = allot(loose, counts, np.array([wanted, 1 - wanted]), seed) == 0
    return aside[codes]


# What the parts hold


def absences(manifest: Manifest, parts: NDArray[np.object_]) -> list[str]:
    """A sentence for each part (of those that have cases) in which classes have no known case."""
    member, classes = _members(manifest), manifest.target.classes
    nowhere = np.asarray(~member.any(axis=0))
    said = [f"No case of {_some(classes, nowhere)} in the whole set."] if nowhere.any() else []
    for part in (*PARTS, SEEN):
        rows = parts == part
        lacking = np.asarray(~member[rows].any(axis=0) & ~nowhere)
        if rows.any() and lacking.any():
            learned = f"{'it' if lacking.sum() == 1 else 'they'} cannot be trained"
            follows = learned if part == "train" else "figures of such a class are undefined there"
            said.append(f"No case of {_some(classes, lacking)} in the {part} part; {follows}.")
    return said


def require_classes(manifest: Manifest, parts: NDArray[np.object_]) -> None:
    """Two classes must both be in each part; of more, two in train and one in each other part.

    Raises:
        DatasetError: they do not.
    """
    target, member, known = manifest.target, _members(manifest), _known(manifest)
    remedy = "try another split.seed, or other shares (split.test, split.validation)"
    for part in (each for each in (*PARTS, SEEN) if each in parts):
        rows = parts == part
        stand = np.asarray(member[rows].any(axis=0))
        if not known[rows].any():
            raise DatasetError(
                f"no known {target.name} in the {part} part", where=manifest.dataset, remedy=remedy
            )
        if target.kind == "binary" and not stand.all() and part != SEEN:
            absent = target.classes[int(stand.argmin())]
            raise DatasetError(
                f"no case of class {absent!r} in the {part} part", where=manifest.dataset, remedy=remedy
            )
        if target.kind in ("multi-class", "ordinal") and part == "train" and stand.sum() < 2:
            raise DatasetError(
                f"only {_some(target.classes, stand)} in the train part; there is nothing to classify",
                where=manifest.dataset,
                remedy=remedy,
            )


# How cases are counted


def _members(manifest: Manifest) -> NDArray[np.bool_]:
    """Which case is of which class of the first target, [cases, classes]; of a segmentation [cases, 0]."""
    target = manifest.target
    if target.kind == "segmentation":
        return np.zeros((len(manifest), 0), dtype=bool)
    columns = [manifest.frame[name].to_numpy() for name in target.columns]
    if target.kind == "multi-label":
        return np.column_stack([values == 1 for values in columns])
    return np.column_stack([columns[0] == name for name in target.classes])


def _known(manifest: Manifest) -> NDArray[np.bool_]:
    """Of which case the first target, or any label of it, is known."""
    return np.asarray(manifest.frame[list(manifest.target.columns)].notna().any(axis=1), dtype=bool)


def _counts(manifest: Manifest, codes: NDArray[np.int64], many: int) -> NDArray[np.int64]:
    """Cases of each class of the first target in each group or unit [many, classes + 1], the last column all
    cases. Of a segmentation the only class is that the mask is known."""
    member = _members(manifest)
    if manifest.target.kind == "segmentation":
        member = _known(manifest)[:, None]
    by_class = [np.bincount(codes[column], minlength=many) for column in member.T]
    return np.column_stack([*by_class, np.bincount(codes, minlength=many)]).astype(np.int64)


def _some(names: Sequence[str], chosen: NDArray[np.bool_]) -> str:
    return short_list(name for name, is_it in zip(names, chosen, strict=True) if is_it)
