"""Whether the names and groups of a manifest can be believed: names that look alike, and group keys that are none.

A group key is what keeps images that belong together in one part of a split. One that is misspelt in some rows, is
another in every row or is the name of a file keeps nothing together, and the score is too good.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from graftwork.common.data.manifest import Manifest
from graftwork.common.data.manifest_names import is_file_name
from graftwork.common.errors import DatasetError, LeakError
from graftwork.common.names import is_no_name, look_alikes, name_key

if TYPE_CHECKING:
    import pandas as pd


_SHOWN = 5
_DIFFER = "differ only in case, leading zeros, '.0' or punctuation"
_ADDRESS = re.compile(r"^(?:[a-z][a-z0-9+.-]*://|www\.|[a-z]:[\\/]|\\\\|/|~/|\.\.?/)", re.IGNORECASE)
_LONGEST = 80  # characters of a covariate that is a name, and not a description
_MOST = 2000  # different values of a covariate that is a name
# words in the names of columns that say which images belong together
_KEYS = re.compile(
    r"(?:^|_)(?:patient|subject|person|participant|individual|animal|location|place|station|camera)s?(?:_?(?:id|name))?$",
    re.IGNORECASE,
)
_SHARE = 10  # groups to a value of a column of such a name, at most
_SHARE_OTHERS, _LEAST_OTHERS = 4, 10  # of a column of any other name, and the fewest values it then has


@dataclass(frozen=True)
class Doubt:
    """A reason not to believe a name or a group key.

    Attributes:
        kind: as a finding of `check`.
        severity: "error" or "warning", as a finding.
        where: the column that it concerns.
        what: what is wrong, in a sentence without a full stop.
        remedy: what to do.
        count: of how many names or cases. examples: some of them.
        allowance: the name under which a split is made all the same; empty: it is made, with a warning.
    """

    kind: str
    severity: Literal["error", "warning"]
    where: str
    what: str
    remedy: str
    count: int
    examples: tuple[str, ...] = ()
    allowance: str = ""

    @property
    def sentence(self) -> str:
        """What is wrong, with examples."""
        return f"{self.what}: {'; '.join(self.examples)}" if self.examples else self.what


def group_doubts(manifest: Manifest) -> list[Doubt]:
    """Why a split by the groups of a manifest may not keep apart what it should; quick enough for every split."""
    return [
        *_alike_groups(manifest),
        *_alike_units(manifest),
        *_alike_classes(manifest),
        *_key(manifest),
        *_no_names(manifest),
    ]


def name_doubts(manifest: Manifest) -> list[Doubt]:
    """Of all names: those of `group_doubts`, then cases and covariates that look alike, and better keys."""
    return [
        *group_doubts(manifest),
        *_alike_cases(manifest),
        *_alike_values(manifest),
        *_better_keys(manifest),
    ]


def refuse_doubts(manifest: Manifest, allow: Iterable[str]) -> None:
    """Refuse a manifest whose groups a split cannot go by, unless that is allowed by name.

    Raises:
        LeakError: groups or units look alike, or groups are no names of groups. DatasetError: classes look alike.
    """
    refused = [doubt for doubt in group_doubts(manifest) if doubt.allowance and doubt.allowance not in allow]
    if not refused:
        return
    kind = DatasetError if all(doubt.allowance == "look-alike-classes" for doubt in refused) else LeakError
    raise kind(
        "; ".join(doubt.sentence for doubt in refused),
        where=manifest.dataset,
        remedy="; ".join(doubt.remedy for doubt in refused),
    )


# Names that look alike


def _alike(
    names: pd.Series, noun: str, column: str, advice: str, allowance: str = "", *, signs: bool = False
) -> Iterator[Doubt]:
    """One doubt about all sets of names of a column that look alike.

    Args:
        noun: of the sentence, "groups (patient)". advice: the remedy.
    """
    known = [name for name in names.tolist() if isinstance(name, str)]
    yield from _as_doubt(look_alikes(known, signs=signs), Counter(known), noun, column, advice, allowance)


def _as_doubt(
    sets: Sequence[tuple[str, ...]],
    counts: Counter[str],
    noun: str,
    column: str,
    advice: str,
    allowance: str = "",
    kind: str = "",
) -> Iterator[Doubt]:
    if not sets:
        return
    shown = [
        " = ".join(
            f"{name!r} ({counts[name]:,} {'case' if counts[name] == 1 else 'cases'})" for name in alike[:6]
        )
        + (f" and {len(alike) - 6} more spellings" if len(alike) > 6 else "")
        for alike in sets[:_SHOWN]
    ]
    more = "" if len(sets) <= _SHOWN else f" (the first {_SHOWN} are shown)"
    what = f"{sum(map(len, sets)):,} names of {noun} {_DIFFER}; they would be {len(sets):,}{more}"
    yield Doubt(
        kind or allowance or "look-alike-names",
        "error",
        f"column {column!r}",
        what,
        advice,
        len(sets),
        tuple(shown),
        allowance,
    )


def _advice(thing: str, allowance: str) -> str:
    return (
        f"give each {thing} one spelling; where they are different, allow it by name: --allow {allowance} "
        f"(split.allow = [{allowance!r}])"
    )


def _alike_groups(manifest: Manifest) -> Iterator[Doubt]:
    name = "look-alike-groups"
    noun = f"groups ({manifest.group})"
    yield from _alike(manifest.frame["group"], noun, "group", _advice(manifest.group, name), name)


def _alike_units(manifest: Manifest) -> Iterator[Doubt]:
    """Units that look alike within one group; event 7 of one place is not event 07 of another."""
    if not manifest.unit:
        return
    pairs = manifest.frame[["group", manifest.unit]].drop_duplicates()
    within: dict[tuple[object, str], list[str]] = {}
    for group, unit in zip(*(pairs[name].tolist() for name in pairs), strict=True):
        if isinstance(unit, str):
            within.setdefault((group, name_key(unit)), []).append(unit)
    sets = [alike for names in within.values() if len(names) > 1 for alike in look_alikes(names)]
    counts = Counter(unit for unit in manifest.frame[manifest.unit].tolist() if isinstance(unit, str))
    name = "look-alike-units"
    yield from _as_doubt(
        sets, counts, f"units ({manifest.unit})", manifest.unit, _advice(manifest.unit, name), name
    )


def _alike_classes(manifest: Manifest) -> Iterator[Doubt]:
    name = "look-alike-classes"
    for target in manifest.targets:
        sets = look_alikes(target.classes, signs=True)
        if not sets:
            continue
        frame = manifest.frame
        if target.kind == "multi-label":
            counts = Counter(
                {
                    label: int((frame[column] == 1).sum())
                    for label, column in zip(target.classes, target.columns, strict=True)
                }
            )
        elif target.kind == "segmentation":
            counts = Counter()
        else:
            counts = Counter(frame[target.columns[0]].dropna().tolist())
        noun = f"classes of {target.name}"
        yield from _as_doubt(sets, counts, noun, target.columns[0], _advice("class", name), name)


def _alike_cases(manifest: Manifest) -> Iterator[Doubt]:
    known = manifest.frame["case"].tolist()
    yield from _as_doubt(
        look_alikes(known),
        Counter(known),
        "cases",
        "case",
        "see whether they are the same image, and keep one; predictions and labels are joined by exact names",
        kind="look-alike-cases",
    )


def _alike_values(manifest: Manifest) -> Iterator[Doubt]:
    """Covariates that are names (of sites, devices), with values that look alike."""
    for column in manifest.covariates:
        if column == manifest.unit or manifest.frame[column].dtype.kind in "biufcmM":
            continue
        known = [value for value in manifest.frame[column].tolist() if isinstance(value, str)]
        values = dict.fromkeys(known)
        if len(values) > _MOST or any(
            len(value) > _LONGEST or is_file_name(value) or not any(map(str.isalpha, value))
            for value in values
        ):
            continue
        yield from _as_doubt(
            look_alikes(values),
            Counter(known),
            f"{column!r}",
            column,
            "give each value one spelling in the table",
            kind="look-alike-values",
        )


# Keys that are none


def _key(manifest: Manifest) -> Iterator[Doubt]:
    frame = manifest.frame
    group = frame["group"]
    cases, groups = len(frame), int(group.nunique())
    if not cases or not group.notna().any():
        return  # a finding of its own
    named = [
        name for name in dict.fromkeys(group.dropna().tolist()) if _ADDRESS.match(name) or is_file_name(name)
    ]
    if named:
        yield Doubt(
            "group-key",
            "error",
            "column 'group'",
            f"{len(named):,} of {groups:,} groups ({manifest.group}) are named like files, paths or addresses",
            f"give the column that names the {manifest.group} of each image; where these are its names, allow it: "
            "--allow group-key (split.allow = ['group-key'])",
            len(named),
            tuple(map(repr, named[:_SHOWN])),
            "group-key",
        )
    own = _own_names(frame)
    if groups == cases and cases > 1 and not manifest.one_case_groups:
        same = " (the column repeats the names of cases or files)" if own.all() else ""
        yield Doubt(
            "group-key",
            "error",
            "column 'group'",
            f"each of the {cases:,} cases is its own group{same}; a split by {manifest.group} is then a split by image",
            f"give the column that names the {manifest.group} of each image; a dataset of one image a {manifest.group} "
            "says so by one_case_groups",
            cases,
            tuple(map(repr, group.tolist()[:3])),
        )
    elif own.any() and groups < cases and not manifest.one_case_groups:
        yield Doubt(
            "group-key",
            "warning",
            "column 'group'",
            f"{int(own.sum()):,} of {cases:,} cases have their own name, or that of their file, as group "
            f"({manifest.group}); nothing says to whom they belong",
            f"give the {manifest.group} of these cases, or leave them out",
            int(own.sum()),
            tuple(map(repr, group[own].tolist()[:_SHOWN])),
        )
    if groups == 1 and cases > 1:
        yield Doubt(
            "group-key",
            "error",
            "column 'group'",
            f"all {cases:,} cases are in one group ({manifest.group} {group.dropna().iloc[0]!r}): there is no split",
            f"give the column that names the {manifest.group} of each image",
            cases,
        )


def _no_names(manifest: Manifest) -> Iterator[Doubt]:
    """Groups called as programs write what is missing: their cases need not be of one group; one case joins nobody."""
    counts = manifest.frame["group"].value_counts()
    known = {str(name): int(count) for name, count in counts.items() if count > 1 and is_no_name(str(name))}
    if known:
        yield Doubt(
            "group-key",
            "error",
            "column 'group'",
            f"{sum(known.values()):,} cases have a {manifest.group} that says that there is none; they count as one",
            f"give these cases their {manifest.group}, or leave them out; if it is a name: --allow group-key "
            "(split.allow = ['group-key'])",
            sum(known.values()),
            tuple(f"{name!r} ({count:,})" for name, count in known.items()),
            "group-key",
        )


def _own_names(frame: pd.DataFrame) -> pd.Series:
    """Which cases have as group their own name, their path, or the name of their file, with its ending or without."""
    name = frame["path"].str.rpartition("/")[2]
    stem = name.str.replace(r"(?:\.nii)?\.[^.]+$", "", regex=True)
    group = frame["group"]
    same = (group == frame["case"]) | (group == frame["path"]) | (group == name) | (group == stem)
    alone = ~group.duplicated(keep=False)  # a volume of several slices has one file, and one name for both
    return same.fillna(False).astype(bool) & alone


def _better_keys(manifest: Manifest) -> Iterator[Doubt]:
    """Covariates within whose values whole groups lie, and that look like a key themselves."""
    import pandas as pd

    frame = manifest.frame
    groups = int(frame["group"].nunique())
    if groups < 2:
        return
    for column in manifest.covariates:
        values = frame[column]
        # a number describes (an age), unless its column is named as a key
        if column == manifest.unit or values.isna().any() or (pd.api.types.is_float_dtype(values)):
            continue
        different = int(values.nunique())
        named = bool(_KEYS.search(column))
        text = not pd.api.types.is_numeric_dtype(values)
        likely = (named and different * _SHARE >= groups) or (
            text and different >= _LEAST_OTHERS and different * _SHARE_OTHERS >= groups
        )
        if not 1 < different < groups or not likely:
            continue
        if int(frame.groupby("group")[column].nunique().max()) == 1:
            yield Doubt(
                "group-key",
                "warning",
                f"column {column!r}",
                f"the {groups:,} groups ({manifest.group}) lie within {different:,} values of {column!r}: images of "
                f"one {column} can be in two parts of a split by {manifest.group}",
                f"if one {column} shows the same, group by it",
                different,
            )
