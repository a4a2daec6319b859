"""Splits: which case trains, which validates, which tests. A group stands in one part, or there is no split.

Where a group goes depends on the seed and on its name alone (SHA-256), then on what the fractions and the
classes ask for; not on the order of rows, not on a generator, not on the machine. Of several targets the first
is stratified by.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np

from graftwork.common.data.group_keys import Doubt, group_doubts, refuse_doubts
from graftwork.common.data.manifest import PARTS, Manifest
from graftwork.common.data.splits.saved_splits import saved_parts, some_of
from graftwork.common.data.splits.stratification import (
    SEEN,
    absences,
    draw_parts,
    draw_seen,
    numbered,
    require_classes,
    unit_names,
)
from graftwork.common.errors import DatasetError, LeakError, TableError, UsageError
from graftwork.common.files import writing
from graftwork.common.recipe.allowances import known_allowances

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["SEEN", "SharedGroups", "Split", "split"]

_SHOWN = 5

log = logging.getLogger("graftwork")


@dataclass(frozen=True)
class SharedGroups:
    """How many groups (or units) stand both in the part `first` and in the part `second`, `of` how many in all."""

    first: str
    second: str
    shared: int
    of: int


@dataclass(frozen=True, eq=False)
class Split:
    """A manifest and the subset of each of its rows.

    Attributes:
        manifest: the whole dataset.
        parts: "train", "validation" or "test" for each row, or "seen" for cases of training groups that are kept as
            another test subset.
        by: "group" or "publisher".
        seed: the seed of the split.
        allow_leak: whether a group may be in two subsets, for a study of leakage.
        allow: other allowed reasons, of `graftwork.common.recipe.allowances.ALLOWANCES`; "leak" is `allow_leak`.

    Raises:
        TableError: the subsets do not fit the manifest.
        DatasetError: the manifest has no groups.
        LeakError: a group is in two subsets without `allow_leak`, or a unit is in both "train" and "seen".
    """

    manifest: Manifest
    parts: pd.Series
    by: str
    seed: int
    allow_leak: bool
    allow: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        import pandas as pd

        object.__setattr__(self, "allow", known_allowances(self.allow))
        object.__setattr__(self, "allow_leak", self.allow_leak or "leak" in self.allow)
        if len(self.parts) != len(self.manifest):
            raise TableError(
                f"{len(self.parts)} parts for {len(self.manifest)} cases",
                where=self.manifest.dataset,
                remedy="give one part for each case",
            )
        values = np.asarray(self.parts, dtype=object)
        allowed = (*PARTS, SEEN)
        odd = sorted({repr(value) for value in values[~np.isin(values.astype(str), allowed)]})
        if odd:
            raise TableError(
                f"a part is one of {', '.join(allowed)}, not {some_of(odd)}",
                where="part",
                remedy="correct these parts",
            )
        _require_groups(self.manifest)
        index, text = self.manifest.frame.index, self.manifest.frame["case"].dtype
        object.__setattr__(self, "parts", pd.Series(values, index=index, name="part").astype(text))
        if not self.allow_leak:
            _refuse_leak(self)
        _refuse_unseen(self)

    @property
    def train(self) -> Manifest:
        return self.manifest.subset(self.rows("train"))

    @property
    def validation(self) -> Manifest:
        return self.manifest.subset(self.rows("validation"))

    @property
    def test(self) -> Manifest:
        return self.manifest.subset(self.rows("test"))

    @property
    def seen(self) -> Manifest:
        """Cases that were not learned from, of groups that were; empty where none were asked for."""
        return self.manifest.subset(self.rows(SEEN))

    def rows(self, part: str) -> NDArray[np.int64]:
        """The rows of a part (of the three, or "seen") in the manifest, ascending."""
        if part not in (*PARTS, SEEN):
            raise UsageError(f"a part is one of {', '.join((*PARTS, SEEN))}", where=repr(part))
        return np.flatnonzero(self.parts.to_numpy() == part)

    def proof(self) -> list[SharedGroups]:
        """For each pair of the three parts, how many groups stand in both; counted from the table. Those of
        "seen" count as training groups, which they are."""
        stands = self._stands()
        return [
            SharedGroups(first, second, int((stands[first] & stands[second]).sum()), len(stands["train"]))
            for first, second in combinations(PARTS, 2)
        ]

    @property
    def leaks(self) -> int:
        """How many groups stand in more than one part."""
        return int((self._times() > 1).sum())

    @property
    def shared_units(self) -> SharedGroups:
        """How many units (events, volumes; cases where the manifest tells none) both train and are "seen"; always
        0, counted from the table. `of`: units in either."""
        codes, names = numbered(unit_names(self.manifest))
        values = self.parts.to_numpy()
        train, seen = (
            np.bincount(codes[values == part], minlength=len(names)) > 0 for part in ("train", SEEN)
        )
        return SharedGroups("train", SEEN, int((train & seen).sum()), int((train | seen).sum()))

    @cached_property
    def doubts(self) -> tuple[Doubt, ...]:
        """Why the groups of the manifest may not be what keeps images of the same apart."""
        return tuple(group_doubts(self.manifest))

    @property
    def absent(self) -> list[str]:
        """A sentence for each part (of those that have cases) in which classes have no known case."""
        return absences(self.manifest, self.parts.to_numpy())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `case,group,part` as CSV, one line a case in the manifest's order.

        Raises:
            RunError: it cannot be written.
        """
        table = self.manifest.frame[["case", "group"]].assign(part=self.parts)
        with writing(path) as temporary:
            table.to_csv(temporary, index=False, encoding="utf-8", lineterminator="\n")

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        manifest: Manifest,
        *,
        by: str = "group",
        seed: int = 0,
        allow_leak: bool = False,
        allow: Iterable[str] = (),
    ) -> Split:
        """Read what `save` wrote, whatever the order of its lines; groups are compared and counted again.

        Raises:
            TableError: not such a table, or not of this manifest.
            LeakError: a group stands in two parts and `allow_leak` is not set.
            UsageError: `allow` holds an unknown name.
        """
        parts = saved_parts(path, manifest)
        return cls(manifest, parts, by, seed, allow_leak, known_allowances(allow))

    def _times(self) -> NDArray[np.int64]:
        """In how many parts each group stands."""
        times: NDArray[np.int64] = np.array(list(self._stands().values())).sum(axis=0, dtype=np.int64)
        return times

    def _stands(self) -> dict[str, NDArray[np.bool_]]:
        codes, names = numbered(self.manifest.frame["group"])
        values = np.where(self.parts == SEEN, "train", self.parts)
        return {part: np.bincount(codes[values == part], minlength=len(names)) > 0 for part in PARTS}


def split(
    manifest: Manifest,
    *,
    validation: float = 0.15,
    test: float = 0.2,
    seed: int = 0,
    by: Literal["group", "publisher"] = "group",
    allow_leak: bool = False,
    seen: float = 0.0,
    allow: Iterable[str] = (),
) -> Split:
    """Split a manifest by group. A warning names classes that are missing in a subset; `Split.absent` has them too.

    Groups, units and classes whose names differ only in case, leading zeros, `.0` or punctuation are refused, and so
    are groups named like files or addresses. A warning reports a group key that differs in each case (`Split.doubts`).

    Args:
        manifest: the whole dataset.
        validation, test: shares of the cases, as exact as complete groups allow, with similar shares of each class.
        seed: another seed gives another split.
        by: "group": a random split. "publisher": the published test subset, and `test` is not used. With `validation` =
            0, the published validation subset is kept. With a larger value, the published train and validation subsets
            are combined, and `validation` is the share of them that is drawn.
        allow_leak: allow groups in two subsets, for a study of leakage; the same as "leak" in `allow`.
        seen: a share of the training cases that is kept as another test subset, in complete units of `manifest.unit`,
            of groups that are also trained on. Each group and class keeps training cases.
        allow: reasons to accept a split that is otherwise refused: "look-alike-groups", "group-key", ...

    Raises:
        UsageError: the shares are invalid, or a name in `allow` is unknown.
        DatasetError: there are no groups or too few, too few classes in a subset (both of two classes are needed), or
            no published subsets.
        LeakError: the published subsets share groups; groups or units look alike, or their names are no groups.
    """
    allow = known_allowances(allow)
    allow_leak = allow_leak or "leak" in allow
    if by not in ("group", "publisher"):
        raise UsageError(
            f"a split is by group or by publisher, not {by!r}", where="split.by", remedy="name one of these"
        )
    shares = {"validation": validation, "test": test if by == "group" else 0.0}
    for name, share in {**shares, "seen": seen}.items():
        if not 0 <= share < 1:
            raise UsageError(
                f"a share of the cases from 0 to below 1, not {share!r}",
                where=f"split.{name}",
                remedy="as in 0.2",
            )
    if sum(shares.values()) >= 1:
        raise UsageError(
            f"validation and test take {sum(shares.values()):.3g} of 1; nothing is left to train on",
            where="split.validation and split.test",
        )
    if not len(manifest):
        raise DatasetError("there is no case to split", where=manifest.dataset, remedy="check --data")

    _require_groups(manifest)
    refuse_doubts(manifest, allow)

    if by == "group":
        parts = draw_parts(manifest, shares, seed)
    else:
        _require_given(manifest, validation == 0)
        parts = manifest.frame["part"].to_numpy(dtype=object, copy=True)
        # before anything is drawn: what the publisher's own parts share is the news
        _refuse_leak_of_publisher(manifest, allow_leak)
        if validation > 0:
            pool = np.flatnonzero(parts != "test")
            parts[pool] = draw_parts(manifest.subset(pool), {"validation": validation}, seed)
    if seen > 0:
        training = np.flatnonzero(parts == "train")
        parts[training[draw_seen(manifest.subset(training), seen, seed)]] = SEEN
    require_classes(manifest, parts)
    made = Split(manifest, _series(parts, manifest), by, seed, allow_leak, allow)
    for sentence in [*(doubt.sentence for doubt in made.doubts), *made.absent]:
        log.warning("%s: %s", manifest.dataset, sentence)
    return made


def _series(parts: NDArray[np.object_], manifest: Manifest) -> pd.Series:
    import pandas as pd

    return pd.Series(parts, index=manifest.frame.index, name="part")


# What is refused


def _require_groups(manifest: Manifest) -> None:
    if len(manifest) and manifest.frame["group"].isna().any():
        raise DatasetError(
            f"the data tell no {manifest.group} of any case, so no split can keep one {manifest.group} out of two "
            "parts; images of the same would be learned and tested, and the score would flatter",
            where=manifest.dataset,
            remedy=f"find out the {manifest.group} of each case and give it to the loader; such a set can be "
            "predicted on and checked as it is",
        )


def _refuse_unseen(found: Split) -> None:
    """Cases called "seen" whose group never trains, or whose unit does."""
    values, frame = found.parts.to_numpy(), found.manifest.frame
    aside = values == SEEN
    if not aside.any():
        return
    astray = frame["case"][aside & ~frame["group"].isin(frame["group"][values == "train"]).to_numpy()]
    if len(astray):
        raise TableError(
            f"{len(astray)} cases are {SEEN!r} though no case of their group ({found.manifest.group}) trains, such "
            f"as {astray.iloc[0]!r}",
            where=found.manifest.dataset,
            remedy="give these cases another part, or cases of their group the part train",
        )
    if (shared := found.shared_units).shared:
        raise LeakError(
            f"{shared.shared} of {shared.of} units ({found.manifest.unit or 'case'}) stand both in {shared.first} "
            f"and in {shared.second}",
            where=found.manifest.dataset,
            remedy="split again; the cases of one unit stay together",
        )


def _refuse_leak(found: Split) -> None:
    if not found.leaks:
        return
    _, names = numbered(found.manifest.frame["group"])
    both = found._times() > 1
    pairs = ", ".join(
        f"{each.first} and {each.second} share {each.shared}" for each in found.proof() if each.shared
    )
    some = ", ".join(names[code] for code in np.flatnonzero(both)[:_SHOWN])
    more = f" and {both.sum() - _SHOWN} more" if both.sum() > _SHOWN else ""
    raise LeakError(
        f"{both.sum()} of {len(names)} groups ({found.manifest.group}) would stand in more than one part "
        f"({pairs}): {some}{more}",
        where=found.manifest.dataset,
        remedy="split by group (split.by = 'group'); for a study of leakage there is --allow-leak",
    )


def _refuse_leak_of_publisher(manifest: Manifest, allow_leak: bool) -> None:
    """Groups in the publisher's test part and outside it; train and validation may yet be pooled."""
    import pandas as pd

    test = pd.Series(np.where(manifest.frame["part"] == "test", "test", "train"))
    Split(manifest, test, "publisher", 0, allow_leak)


def _require_given(manifest: Manifest, validation: bool) -> None:
    given = manifest.frame["part"]
    count = {part: int((given == part).sum()) for part in PARTS}
    unknown = int(given.isna().sum())
    remedy = "split by group (split.by = 'group')"
    if unknown == len(manifest):
        raise DatasetError("the publisher gives no parts", where=manifest.dataset, remedy=remedy)
    if unknown:
        raise DatasetError(
            f"the publisher gives no part for {unknown} of {len(manifest)} cases",
            where=manifest.dataset,
            remedy=remedy,
        )
    for part in ("train", "test"):
        if not count[part]:
            raise DatasetError(f"the publisher gives no {part} part", where=manifest.dataset, remedy=remedy)
    if validation and not count["validation"]:
        raise DatasetError(
            "the publisher gives no validation part",
            where=manifest.dataset,
            remedy="set split.validation above 0 to draw one from the train part, by group",
        )
