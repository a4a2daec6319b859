"""What is predicted for an image: a target, its kind and its classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from graftwork.common.errors import DatasetError
from graftwork.common.names import clean_name

KINDS = ("binary", "multi-class", "multi-label", "ordinal", "segmentation")


@dataclass(frozen=True)
class Target:
    """What is predicted for an image.

    Attributes:
        name: for people, "diagnosis".
        kind: "binary" or "multi-class" (one class a case), "multi-label" (each class yes or no), "ordinal" (one
            class a case, of classes in an order) or "segmentation" (one class a pixel or voxel).
        classes: in the order of a network's outputs; of a binary target (negative, positive), of a segmentation
            (background, ...). Empty in a `DATASET` whose classes come from its tables; never in a manifest. Names are
            kept in their normal form (`clean_name`).
        prefix: what its columns begin with: "" for the first target of a manifest, "count_" for a further one.
        values: of a segmentation, the value of each class in a mask's file; empty: 0, 1, 2, ...

    Raises:
        DatasetError: too few classes, one of them twice, two look-alike classes, or values that do not fit.
    """

    name: str
    kind: Literal["binary", "multi-class", "multi-label", "ordinal", "segmentation"]
    classes: tuple[str, ...]
    prefix: str = ""
    values: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        where = f"target {self.name!r}"
        if self.kind not in KINDS:
            raise DatasetError(
                f"kind is one of {', '.join(KINDS)}, not {self.kind!r}",
                where=where,
                remedy="name one of these kinds",
            )
        values = tuple(self.values)
        if self.kind == "segmentation" and not values:
            values = tuple(range(len(self.classes)))
        object.__setattr__(self, "values", values)
        if any(not isinstance(name, str) or not name.strip() for name in self.classes):
            raise DatasetError(
                f"classes are names, not {self.classes!r}",
                where=where,
                remedy="give each class a text that is not empty",
            )
        given, names = self.classes, tuple(map(clean_name, self.classes))
        object.__setattr__(self, "classes", names)
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if twice:
            same = [repr(each) for each in dict.fromkeys(given) if clean_name(each) in twice]
            if len(same) == 1:
                raise DatasetError(
                    f"a class is there twice in {', '.join(names)}",
                    where=where,
                    remedy="name each class once",
                )
            raise DatasetError(
                f"look-alike classes: {', '.join(same)} are equal without white space and Unicode forms",
                where=where,
                remedy="give each class a name of its own",
            )
        if self.kind == "segmentation" and (
            len(set(values)) != len(values) or len(values) != len(self.classes)
        ):
            raise DatasetError(
                f"each class has a value of its own, found {values} for {len(self.classes)} classes",
                where=where,
                remedy="give one value a class, in the order of the classes",
            )
        if any(not isinstance(value, int) or value < 0 for value in values):
            raise DatasetError(
                f"the values of a mask are whole numbers from 0, not {values}",
                where=where,
                remedy="give the values as the files of the masks hold them",
            )
        if self.prefix and not (self.prefix.endswith("_") and self.prefix[:-1].isidentifier()):
            raise DatasetError(
                f"a prefix is a word and '_' at its end, not {self.prefix!r}",
                where=where,
                remedy="as in 'count_'",
            )
        if self.kind != "segmentation" and values:
            raise DatasetError(
                f"only the classes of a segmentation have values, found {values}",
                where=where,
                remedy="leave them out",
            )
        if not self.classes:
            return
        least = 1 if self.kind == "multi-label" else 2
        if len(self.classes) < least or (self.kind == "binary" and len(self.classes) != 2):
            wanted = "two classes (negative, positive)" if self.kind == "binary" else f"at least {least}"
            named = ", ".join(map(repr, self.classes[:8])) + (" and more" if len(self.classes) > 8 else "")
            raise DatasetError(
                f"{self.kind} takes {wanted}, got {len(self.classes)} ({named})",
                where=where,
                remedy="change the classes or the kind",
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """The manifest's columns, after the prefix. `target` holds the class by name (NA: unknown); of a
        multi-label target each `target_<class>` holds 0, 1 or NaN (unknown); of a segmentation `mask` holds the
        path of the mask's file, POSIX and relative to the root (NA: unknown)."""
        if self.kind == "multi-label":
            return tuple(f"{self.prefix}target_{name}" for name in self.classes)
        return (f"{self.prefix}{'mask' if self.kind == 'segmentation' else 'target'}",)

    @property
    def scores(self) -> tuple[str, ...]:
        """The predictions' columns, after the prefix `score_<class>`, one a class (two that sum to 1 of a binary
        target); none of a segmentation, whose predictions are masks."""
        if self.kind == "segmentation":
            return ()
        return tuple(f"{self.prefix}score_{name}" for name in self.classes)

    @property
    def outputs(self) -> int:
        """How many numbers a network puts out for it: one a class; of an ordinal target one a step between two."""
        return len(self.classes) - (self.kind == "ordinal")
