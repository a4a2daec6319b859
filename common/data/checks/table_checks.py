"""What the table of a dataset says of itself: values, groups, classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from graftwork.common.data.checks.file_inspection import Look
from graftwork.common.data.checks.findings import SHOWN, Finding
from graftwork.common.data.group_keys import name_doubts
from graftwork.common.data.manifest import PARTS, Manifest
from graftwork.common.data.targets import Target
from graftwork.common.wording import quantity

if TYPE_CHECKING:
    from numpy.typing import NDArray


_LEAST_GROUPS = 3  # one for each of train, validation and test
_LEAST_CASES = 10  # of a class in a part, below which a part says little about it
_LEAST_SIDE = 32  # px


def values(manifest: Manifest, seen: Mapping[int, Look | None]) -> Iterator[Finding]:
    """Unknown targets, infinite covariates, images of a size that no image has."""
    frame, cases = manifest.frame, manifest.frame["case"]
    for column in (column for target in manifest.targets for column in target.columns):
        unknown = frame[column].isna()
        if unknown.any():
            yield Finding(
                "impossible-value",
                "warning",
                f"column {column!r}",
                f"{quantity(int(unknown.sum()), 'case')} without a known target",
                "they are neither trained on nor counted; leave them out if that is not meant",
                int(unknown.sum()),
                tuple(cases[unknown][:SHOWN]),
            )
    for column in manifest.covariates:
        if frame[column].dtype.kind == "f" and (infinite := np.isinf(frame[column])).any():
            yield Finding(
                "impossible-value",
                "error",
                f"column {column!r}",
                f"{quantity(int(infinite.sum()), 'infinite value')}",
                "correct the table; an unknown value is NaN",
                int(infinite.sum()),
                tuple(cases[infinite][:SHOWN]),
            )
    small = [
        f"{cases.iloc[row]} ({look.width} x {look.height} px)"
        for row in range(len(manifest))
        if (look := seen[row]) is not None
        and look.readable
        and not look.depth  # a small volume is cut out of a larger one on purpose
        and min(look.height, look.width) < _LEAST_SIDE
    ]
    if small:
        yield Finding(
            "impossible-value",
            "warning",
            "size",
            f"{quantity(len(small), 'image')} with a side shorter than {_LEAST_SIDE} px",
            "see whether these are thumbnails",
            len(small),
            tuple(small[:SHOWN]),
        )


def doubtful_names(manifest: Manifest) -> Iterator[Finding]:
    """Names that look alike, and group keys that cannot be believed."""
    for doubt in name_doubts(manifest):
        yield Finding(
            doubt.kind, doubt.severity, doubt.where, doubt.what, doubt.remedy, doubt.count, doubt.examples
        )


def no_group(manifest: Manifest) -> Iterator[Finding]:
    """That no case has a known group, as one finding."""
    unknown = int(manifest.frame["group"].isna().sum())
    if unknown and unknown == len(manifest):
        yield Finding(
            "no-group",
            "error",
            "column 'group'",
            f"no case has a known group ({manifest.group}): nothing says which images belong together",
            "add the groups to the table; a split by group refuses without them",
            unknown,
        )


def shared_groups(manifest: Manifest, parts: NDArray[np.object_], whose: str) -> Iterator[Finding]:
    """Groups that appear in two parts."""
    if not manifest.frame["group"].notna().any():
        return
    group = manifest.frame["group"].to_numpy(dtype=object)
    groups_of = {part: set(group[parts == part]) for part in PARTS}
    for first, second in combinations(PARTS, 2):
        shared = sorted(groups_of[first] & groups_of[second])
        if shared:
            yield Finding(
                "group-across-parts",
                "error",
                f"{first} and {second}",
                f"{quantity(len(shared), 'group')} ({manifest.group}) in both of {whose}",
                "split by group (split.by = 'group'); --allow-leak is for studies of leakage",
                len(shared),
                tuple(shared[:SHOWN]),
            )


def members(manifest: Manifest, target: Target) -> dict[str, NDArray[np.bool_]]:
    """The cases of each class of a target that the table has."""
    frame = manifest.frame
    if target.kind == "multi-label":
        return {
            label: (frame[column] == 1).to_numpy(dtype=bool)
            for label, column in zip(target.classes, target.columns, strict=True)
        }
    (column,) = target.columns
    return {label: (frame[column] == label).to_numpy(dtype=bool) for label in target.classes}


def small_classes(
    manifest: Manifest,
    target: Target,
    of_class: Mapping[str, NDArray[np.bool_]],
    parts: NDArray[np.object_],
) -> Iterator[Finding]:
    """Classes too small to be split, or to say much in a part; the steps of an ordinal target in one finding.

    Args:
        of_class: which cases are of each class (or show it).
    """
    group = manifest.frame["group"]
    known = group.notna().any()
    # where no group is known, each case is taken for one
    names = (group if known else manifest.frame["case"]).to_numpy(dtype=object)
    kind = f"groups ({manifest.group})" if known else "cases"
    of = "" if target == manifest.target else f" of {target.name}"
    counts = {label: (int(each.sum()), len(set(names[each]))) for label, each in of_class.items()}
    if target.kind == "ordinal":
        few = [label for label in of_class if counts[label][1] < _LEAST_GROUPS]
        if few:
            yield Finding(
                "small-class",
                "warning",
                f"steps{of}",
                f"{len(few)} of {len(of_class)} steps appear in fewer than {_LEAST_GROUPS} {kind}",
                "nothing can be said of these steps; mind that the others come first in every average",
                len(few),
                tuple(f"{label}: {quantity(counts[label][0], 'case')}" for label in few[:SHOWN]),
            )
        return
    for label, member in of_class.items():
        cases, groups = counts[label]
        if groups < _LEAST_GROUPS:
            where_from = f" of {quantity(groups, 'group')} ({manifest.group})" if known else ""
            yield Finding(
                "small-class",
                "error",
                f"class {label!r}{of}",
                f"{quantity(cases, 'case')}{where_from}: it cannot be in each of train, validation and test",
                "leave the class out or join it with another",
                cases,
            )
            continue
        for part in PARTS:
            there = parts == part
            count = int((member & there).sum())
            if there.any() and count < _LEAST_CASES:
                yield Finding(
                    "small-class",
                    "warning",
                    f"class {label!r}{of} in {part}",
                    f"{quantity(count, 'case')} of {int(there.sum())}: too few to say much",
                    "draw this part again from a larger one (split.by, split.validation)",
                    count,
                )
