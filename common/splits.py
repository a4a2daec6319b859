"""Splits: which case trains, which validates, which tests. A group stands in one part, or there is no split.

Where a group goes depends on the seed and on its name alone (SHA-256), then on what the fractions and the
classes ask for; not on the order of rows, not on a generator, not on the machine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np

from graftwork.common.allotment import allot
from graftwork.common.errors import DatasetError, LeakError, TableError, UsageError
from graftwork.common.files import writing
from graftwork.common.manifest import PARTS, Manifest

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["SharedGroups", "Split", "split"]

_ORDER = ("test", "validation", "train")  # test is drawn first, so it stays when only `validation` changes
_SHOWN = 5


@dataclass(frozen=True)
class SharedGroups:
    """How many groups stand both in the part `first` and in the part `second`, `of` how many in all."""

    first: str
    second: str
    shared: int
    of: int


@dataclass(frozen=True, eq=False)
class Split:
    """A manifest and the part of each of its rows.

    Attributes:
        manifest: the whole set.
        parts: "train", "validation" or "test", one a row.
        by: "group" or "publisher".
        seed: what was drawn was drawn with it.
        allow_leak: whether groups in two parts are borne, for a study of leakage.

    Raises:
        TableError: the parts do not fit the manifest.
        LeakError: a group stands in two parts and `allow_leak` is not set.
    """

    manifest: Manifest
    parts: pd.Series
    by: str
    seed: int
    allow_leak: bool

    def __post_init__(self) -> None:
        import pandas as pd

        if len(self.parts) != len(self.manifest):
            raise TableError(
                f"{len(self.parts)} parts for {len(self.manifest)} cases", where=self.manifest.dataset
            )
        values = np.asarray(self.parts, dtype=object)
        odd = sorted({repr(value) for value in values[~np.isin(values.astype(str), PARTS)][:_SHOWN]})
        if odd:
            raise TableError(f"a part is one of {', '.join(PARTS)}, not {', '.join(odd)}", where="part")
        index, text = self.manifest.frame.index, self.manifest.frame["case"].dtype
        object.__setattr__(self, "parts", pd.Series(values, index=index, name="part").astype(text))
        if not self.allow_leak:
            _refuse_leak(self)

    @property
    def train(self) -> Manifest:
        return self.manifest.subset(self.rows("train"))

    @property
    def validation(self) -> Manifest:
        return self.manifest.subset(self.rows("validation"))

    @property
    def test(self) -> Manifest:
        return self.manifest.subset(self.rows("test"))

    def rows(self, part: str) -> NDArray[np.int64]:
        """The rows of a part in the manifest, ascending."""
        if part not in PARTS:
            raise UsageError(f"a part is one of {', '.join(PARTS)}", where=repr(part))
        return np.flatnonzero(self.parts.to_numpy() == part)

    def proof(self) -> list[SharedGroups]:
        """For each pair of parts, how many groups stand in both; counted from the table."""
        stands = self._stands()
        return [
            SharedGroups(first, second, int((stands[first] & stands[second]).sum()), len(stands["train"]))
            for first, second in combinations(PARTS, 2)
        ]

    @property
    def leaks(self) -> int:
        """How many groups stand in more than one part."""
        return int((self._times() > 1).sum())

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
    ) -> Split:
        """Read what `save` wrote, whatever the order of its lines; groups are compared and counted again.

        Raises:
            TableError: not such a table, or not of this manifest.
            LeakError: a group stands in two parts and `allow_leak` is not set.
        """
        import pandas as pd

        try:
            table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
        except FileNotFoundError as error:
            raise TableError("there is no such split", where=path) from error
        except (OSError, ValueError) as error:
            raise TableError(f"not a readable table ({error})", where=path) from error
        missing = [name for name in ("case", "group", "part") if name not in table.columns]
        if missing:
            raise TableError(f"column {', '.join(map(repr, missing))} is missing", where=path)
        again = table["case"][table["case"].duplicated()]
        if len(again):
            raise TableError(f"case {again.iloc[0]!r} stands in it twice", where=path)
        table = table.set_index("case")
        cases = manifest.frame["case"]
        if len(table) != len(cases) or not cases.isin(table.index).all():
            astray = [*cases[~cases.isin(table.index)], *table.index[~table.index.isin(cases)]]
            raise TableError(
                f"the split has {len(table)} cases, the manifest {len(cases)}; in one of them only: "
                f"{', '.join(astray[:_SHOWN])}",
                where=path,
            )
        table = table.loc[cases.tolist()]
        differ = np.flatnonzero(table["group"].to_numpy() != manifest.frame["group"].to_numpy())
        if len(differ):
            raise TableError(
                f"{len(differ)} cases have another group than in the manifest, "
                f"such as {cases.iloc[differ[0]]!r}",
                where=path,
            )
        return cls(manifest, table["part"].reset_index(drop=True), by, seed, allow_leak)

    def _times(self) -> NDArray[np.int64]:
        """In how many parts each group stands."""
        times: NDArray[np.int64] = np.array(list(self._stands().values())).sum(axis=0, dtype=np.int64)
        return times

    def _stands(self) -> dict[str, NDArray[np.bool_]]:
        codes, names = _groups(self.manifest.frame["group"])
        values = self.parts.to_numpy()
        return {part: np.bincount(codes[values == part], minlength=len(names)) > 0 for part in PARTS}


def split(
    manifest: Manifest,
    *,
    validation: float = 0.15,
    test: float = 0.2,
    seed: int = 0,
    by: Literal["group", "publisher"] = "group",
    allow_leak: bool = False,
) -> Split:
    """Part a manifest by group.

    Args:
        manifest: the whole set.
        validation, test: shares of the cases, met as closely as whole groups allow, in each class alike.
        seed: another seed, another split.
        by: "group": all is drawn. "publisher": the test part is the publisher's and `test` is not used;
            `validation` = 0 keeps the publisher's validation part; above 0 the publisher's train and
            validation parts are pooled and `validation` is the share of that pool that is drawn from it.
        allow_leak: bear groups in two parts, for a study of leakage.

    Raises:
        UsageError: impossible shares.
        DatasetError: too few groups, a class too small to stand in each part, no part given by the publisher.
        LeakError: the publisher's parts share groups.
    """
    if by not in ("group", "publisher"):
        raise UsageError(f"a split is by group or by publisher, not {by!r}", where="split.by")
    shares = {"validation": validation, "test": test if by == "group" else 0.0}
    for name, share in shares.items():
        if not 0 <= share < 1:
            raise UsageError(f"a share of the cases from 0 to below 1, not {share!r}", where=f"split.{name}")
    if sum(shares.values()) >= 1:
        raise UsageError(
            f"validation and test take {sum(shares.values()):.3g} of 1; nothing is left to train on"
        )
    if not len(manifest):
        raise DatasetError("there is no case to split", where=manifest.dataset)

    parts = np.full(len(manifest), "train", dtype=object)
    if by == "group":
        parts[:] = _drawn(manifest, shares, seed)
        return Split(manifest, _series(parts, manifest), by, seed, allow_leak)
    given = manifest.frame["part"]
    _require_given(manifest, validation == 0)
    parts[:] = given.to_numpy()
    # before anything is drawn: what the publisher's own parts share is the news
    _refuse_leak_of_publisher(manifest, allow_leak)
    if validation > 0:
        pool = np.flatnonzero(parts != "test")
        parts[pool] = _drawn(manifest.subset(pool), {"validation": validation}, seed)
    _require_classes(manifest, parts)
    return Split(manifest, _series(parts, manifest), by, seed, allow_leak)


def _series(parts: NDArray[np.object_], manifest: Manifest) -> pd.Series:
    import pandas as pd

    return pd.Series(parts, index=manifest.frame.index, name="part")


def _groups(column: pd.Series) -> tuple[NDArray[np.int64], list[str]]:
    """The number of each row's group, and the groups' names in alphabetical order."""
    import pandas as pd

    codes, names = pd.factorize(column, sort=True)
    return codes.astype(np.int64), [str(name) for name in names]


# What is refused


def _refuse_leak(found: Split) -> None:
    if not found.leaks:
        return
    _, names = _groups(found.manifest.frame["group"])
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


def _require_classes(manifest: Manifest, parts: NDArray[np.object_]) -> None:
    """Both classes of a binary target stand in each part; of many a publisher may have left some out."""
    if manifest.target.kind != "binary":
        return
    target = manifest.frame["target"].to_numpy()
    for part in PARTS:
        absent = [name for name in manifest.target.classes if not (target[parts == part] == name).any()]
        if absent:
            raise DatasetError(f"no case of class {absent[0]!r} in the {part} part", where=manifest.dataset)


# How groups are drawn


def _drawn(manifest: Manifest, shares: Mapping[str, float], seed: int) -> NDArray[np.object_]:
    """The part of each row. `shares`: of validation and test; what is left trains."""
    active = [part for part in _ORDER if part == "train" or shares.get(part, 0) > 0]
    codes, names = _groups(manifest.frame["group"])
    labels = manifest.target.classes
    counts, groups_of = _counts(manifest, codes, len(names))
    if len(active) == 1:
        return np.full(len(codes), "train", dtype=object)
    if len(names) < len(active):
        word = "one group only" if len(names) == 1 else f"{len(names)} groups only"
        raise DatasetError(
            f"{word} ({manifest.group} {', '.join(names)}); {', '.join(reversed(active))} need one each",
            where=manifest.dataset,
        )
    small = [f"{label!r} ({groups_of[k]})" for k, label in enumerate(labels) if groups_of[k] < len(active)]
    # of many labels one may be rare; its metric then says why it is undefined
    if small and manifest.target.kind != "multi-label":
        raise DatasetError(
            f"too few groups ({manifest.group}) to stand in each of {', '.join(reversed(active))}: "
            f"class {', '.join(small)}",
            where=manifest.dataset,
            remedy="leave the class out, or set split.validation or split.test to 0",
        )
    wanted = np.array([shares.get(part, 0.0) for part in active[:-1]])
    chosen = allot(names, counts, np.append(wanted, 1 - wanted.sum()), seed)
    return np.array(active, dtype=object)[chosen][codes]


def _counts(
    manifest: Manifest, codes: NDArray[np.int64], groups: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cases of each class in each group [groups, classes + 1], the last column all cases; and in how many
    groups each class stands. Unknown labels count among all cases alone."""
    frame, target = manifest.frame, manifest.target
    counts = np.zeros((groups, len(target.classes) + 1), dtype=np.int64)
    for k, label in enumerate(target.classes):
        column = f"target_{label}" if target.kind == "multi-label" else "target"
        member = (frame[column] == (1 if target.kind == "multi-label" else label)).to_numpy(dtype=bool)
        counts[:, k] = np.bincount(codes[member], minlength=groups)
    counts[:, -1] = np.bincount(codes, minlength=groups)
    return counts, (counts[:, :-1] > 0).sum(0)
