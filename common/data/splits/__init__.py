"""Split cases into training, validation and test parts. Each group stays in one part.

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
from graftwork.common.data.splits.saved_splits import saved_parts
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
from graftwork.common.wording import short_list

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["SEEN", "SharedGroups", "Split", "split"]


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
        TableError: the parts do not fit the manifest.
        DatasetError: the manifest has no groups.
        LeakError: a group is in two parts and `allow_leak` is not set, or a unit is in both train and "seen".
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
                f"a part is one of {', '.join(allowed)}, not {short_list(odd)}",
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
        """Cases of training groups that are held out from training; empty if none were requested."""
        return self.manifest.subset(self.rows(SEEN))

    def rows(self, part: str) -> NDArray[np.int64]:
        """The rows of a part (of the three, or "seen") in the manifest, ascending."""
        if part not in (*PARTS, SEEN):
            raise UsageError(f"a part is one of {', '.join((*PARTS, SEEN))}", where=repr(part))
        return np.flatnonzero(self.parts.to_numpy() == part)

    def proof(self) -> list[SharedGroups]:
        """For each pair of the three parts, the number of shared groups, counted from the table. Those of
        "seen" count as training groups, which they are."""
        stands = self._stands()
        return [
            SharedGroups(first, second, int((stands[first] & stands[second]).sum()), len(stands["train"]))
            for first, second in combinations(PARTS, 2)
        ]

    @property
    def leaks(self) -> int:
        """The number of groups in more than one part."""
        return int((self._times() > 1).sum())

    @property
    def shared_units(self) -> SharedGroups:
        """The number of units (events, volumes; cases if the manifest has none) in both train and "seen"; always
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
            LeakError: a group is in two parts and `allow_leak` is not set.
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
        manifest: the whole set.
        validation, test: shares of the cases, as close as whole groups allow, in every class.
        seed: another seed, another split.
        by: "group": all is drawn. "publisher": the test part is the publisher's and `test` is not used;
            `validation` = 0 keeps the publisher's validation part; above 0 the publisher's train and
            validation parts are pooled and `validation` is the share of that pool that is drawn from it.
        allow_leak: allow groups in two parts, for a study of leakage; the same as "leak" in `allow`.
        seen: share of the training cases that is set aside, as whole units of `manifest.unit`, to be tested on
            in addition to the test part: in training groups. Each group and class keeps training cases.
        allow: names of `graftwork.common.recipe.allowances.ALLOWANCES`: "look-alike-groups", "group-key", ...

    Raises:
        UsageError: impossible shares; an unknown name in `allow`.
        DatasetError: no groups or too few, too few classes in a part (two classes must both be in each part), no
            part given by the publisher.
        LeakError: the publisher's parts share groups; groups or units look alike or are no names of groups.
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
            f"no case has a {manifest.group}, so no split can keep each {manifest.group} in one part: "
            "training and test would share them, and the score would be too optimistic",
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
    wrong = frame["case"][aside & ~frame["group"].isin(frame["group"][values == "train"]).to_numpy()]
    if len(wrong):
        raise TableError(
            f"{len(wrong)} cases are {SEEN!r} but no case of their group ({found.manifest.group}) is in train, such "
            f"as {wrong.iloc[0]!r}",
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
    some = short_list(names[code] for code in np.flatnonzero(both))
    raise LeakError(
        f"{both.sum()} of {len(names)} groups ({found.manifest.group}) would be in more than one part "
        f"({pairs}): {some}",
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
