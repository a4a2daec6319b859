"""The manifest: one table of a dataset, one row an image or volume, and what its columns mean.

A loader turns a published layout into a `Manifest`; everything later (splits, checks, batches, reports) reads
nothing else about a dataset. A manifest that exists is valid: it is checked as a whole when it is made.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from graftwork.common.errors import DatasetError
from graftwork.common.files import writing

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["KINDS", "PARTS", "Manifest", "Target"]

PARTS = ("train", "validation", "test")
KINDS = ("binary", "multi-class", "multi-label", "ordinal", "segmentation")
_FIXED = ("case", "path", "group", "part")
_MEASURED = (
    "truth_",
    "predicted_",
    "both_",
    "hausdorff_",
    "images",
)  # columns of a segmentation's predictions
_METADATA = b"graftwork.manifest"
_SHOWN = 5  # examples of a fault in a message


@dataclass(frozen=True)
class Target:
    """What is to be told from a picture.

    Attributes:
        name: for people, "diagnosis".
        kind: "binary" or "multi-class" (one class a case), "multi-label" (each class yes or no), "ordinal" (one
            class a case, of classes in an order) or "segmentation" (one class a pixel or voxel).
        classes: in the order of a network's outputs; of a binary target (negative, positive), of a segmentation
            (background, ...). Empty in a `DATASET` whose classes only its tables tell; in a manifest never.
        prefix: what its columns begin with: "" for the first target of a manifest, "count_" for a further one.
        values: of a segmentation, the value of each class in a mask's file; empty: 0, 1, 2, ...

    Raises:
        DatasetError: too few classes, one of them twice, or values that do not fit.
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
            raise DatasetError(f"kind is one of {', '.join(KINDS)}, not {self.kind!r}", where=where)
        values = tuple(self.values)
        if self.kind == "segmentation" and not values:
            values = tuple(range(len(self.classes)))
        object.__setattr__(self, "values", values)
        if any(not isinstance(name, str) or not name.strip() for name in self.classes):
            raise DatasetError(f"classes are names, not {self.classes!r}", where=where)
        if len(set(self.classes)) != len(self.classes):
            raise DatasetError(f"a class stands twice in {', '.join(self.classes)}", where=where)
        if self.kind == "segmentation" and (
            len(set(values)) != len(values) or len(values) != len(self.classes)
        ):
            raise DatasetError(f"each class has a value of its own, not {values}", where=where)
        if any(not isinstance(value, int) or value < 0 for value in values):
            raise DatasetError(f"the values of a mask are whole numbers from 0, not {values}", where=where)
        if self.prefix and not (self.prefix.endswith("_") and self.prefix[:-1].isidentifier()):
            raise DatasetError(f"a prefix is a word and '_' at its end, not {self.prefix!r}", where=where)
        if self.kind != "segmentation" and values:
            raise DatasetError("only the classes of a segmentation have values", where=where)
        if not self.classes:
            return
        least = 1 if self.kind == "multi-label" else 2
        if len(self.classes) < least or (self.kind == "binary" and len(self.classes) != 2):
            wanted = "two classes (negative, positive)" if self.kind == "binary" else f"at least {least}"
            raise DatasetError(f"{self.kind} takes {wanted}, got {len(self.classes)}", where=where)

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


@dataclass(frozen=True, eq=False)
class Manifest:
    """A dataset as a table.

    Attributes:
        frame: one row a case; RangeIndex. Columns, in this order: `case` (unique), `path` (POSIX, relative to
            `root`), `group`, `part` (as the publisher gave it: train, validation, test or NA; may be left out
            when a manifest is made), the target's columns, the covariates.
        root: the folder below which the paths lie.
        dataset: its name, "my_domain/my_dataset".
        group: what a group is, for people: "patient".
        target: what is to be told.
        covariates: columns that describe a case and are never an input. Of pictures that are slices of a volume,
            `slice` is the place in it, counted from 0, and `spacing` (if known) the text of three numbers: mm
            between slices, rows and columns.
        notes: what a reader of a report must know, a sentence each.
        further: further targets, told by the same network; each has a prefix of its own.
        unit: the covariate whose equal values belong together within a group: frames of an event, slices of a
            volume. They stay in one part and may be judged together. Empty: each case is alone.

    Raises:
        DatasetError: the table is not so. All faults at once, each with column, value and rows.
    """

    frame: pd.DataFrame
    root: Path
    dataset: str
    group: str
    target: Target
    covariates: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    further: tuple[Target, ...] = ()
    unit: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root))
        object.__setattr__(self, "covariates", tuple(self.covariates))
        object.__setattr__(self, "notes", tuple(self.notes))
        object.__setattr__(self, "further", tuple(self.further))
        object.__setattr__(self, "frame", _valid_frame(self))

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        return f"Manifest({self.dataset}: {len(self)} cases, {self.frame['group'].nunique()} groups)"

    @property
    def targets(self) -> tuple[Target, ...]:
        """All that is to be told, the first one first."""
        return (self.target, *self.further)

    def file(self, row: int) -> Path:
        """The file of a row (counted from 0)."""
        return self.root / str(self.frame["path"].iloc[row])

    def subset(self, mask_or_rows: Sequence[int] | Sequence[bool] | np.ndarray | pd.Series) -> Manifest:
        """The rows where a mask (as long as the manifest) is true, or the rows of these numbers, in order."""
        import numpy as np

        chosen = np.asarray(mask_or_rows)
        if chosen.dtype == bool and len(chosen) != len(self):
            raise DatasetError(f"a mask of {len(chosen)} for {len(self)} cases", where=self.dataset)
        rows = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
        frame = self.frame.iloc[rows].reset_index(drop=True)
        if len(np.unique(rows)) < len(rows):
            return replace(self, frame=frame)  # raises: a case stands twice
        part = copy.copy(self)  # rows of a valid table are valid, and looking at each again takes its time
        object.__setattr__(part, "frame", frame)
        return part

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table as Parquet; all but `root` goes along as JSON in the schema's metadata.

        Raises:
            RunError: it cannot be written.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        about = {
            "dataset": self.dataset,
            "group": self.group,
            "targets": [asdict(target) for target in self.targets],
            "covariates": list(self.covariates),
            "notes": list(self.notes),
            "unit": self.unit,
        }
        table = pa.Table.from_pandas(self.frame, preserve_index=False)
        said = json.dumps(about, ensure_ascii=False).encode()
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), _METADATA: said})
        with writing(path) as temporary:
            pq.write_table(table, temporary)

    @classmethod
    def load(cls, path: str | os.PathLike[str], root: str | os.PathLike[str]) -> Manifest:
        """Read what `save` wrote; `root` is where the pictures lie on this machine.

        Raises:
            DatasetError: the file is missing, damaged, not a manifest, or not valid.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            # ParquetFile, not read_table: a folder name like part=test above the file is no column
            with pq.ParquetFile(path) as file:
                table = file.read()
            about = json.loads((table.schema.metadata or {})[_METADATA])
            target, *further = (Target(**each) for each in about["targets"])
            said = {name: about[name] for name in ("dataset", "group", "covariates", "notes", "unit")}
            frame = table.to_pandas()
        except FileNotFoundError as error:
            raise DatasetError("there is no such manifest", where=path) from error
        except KeyError as error:
            raise DatasetError("a Parquet file, but not a manifest of graftwork", where=path) from error
        except (OSError, pa.ArrowException, ValueError, TypeError) as error:
            raise DatasetError(f"not a readable manifest ({error})", where=path) from error
        return cls(frame=frame, root=Path(root), target=target, further=tuple(further), **said)


def _valid_frame(manifest: Manifest) -> pd.DataFrame:
    """The frame in canonical order and types, or a DatasetError that lists all that is wrong with it."""
    import numpy as np
    import pandas as pd

    frame, targets = manifest.frame, manifest.targets
    where = f"manifest of {manifest.dataset}"
    if not isinstance(frame, pd.DataFrame):
        raise DatasetError(f"the frame is a pandas DataFrame, not {type(frame).__name__}", where=where)
    faults = _column_faults(manifest)
    if faults:
        raise _as_error(faults, where)

    result = pd.DataFrame(index=pd.RangeIndex(len(frame)))
    source = frame.reset_index(drop=True)
    if "part" not in source.columns:
        source["part"] = pd.Series(np.nan, index=source.index, dtype="object")
    single = [target for target in targets if target.kind != "multi-label"]
    for name in (*_FIXED, *(column for target in single for column in target.columns)):
        column = source[name]
        plain = column.dtype == _text() or pd.api.types.infer_dtype(column, skipna=True) in (
            "string",
            "empty",
        )
        if not plain:
            odd = column[[not isinstance(value, str) and pd.notna(value) for value in column.tolist()]]
            if len(odd):
                faults.append(_fault(name, "is text", odd))
                continue
        # the same type whatever the version of pandas and whatever the loader made: text, NaN where unknown
        try:
            result[name] = column.astype("object").where(column.notna(), np.nan).astype(_text())
        except UnicodeEncodeError:  # a file name in another encoding
            broken = column.map(
                lambda text: text != text.encode(errors="replace").decode(), na_action="ignore"
            )
            faults.append(_fault(name, "is valid Unicode", column[broken == True]))  # noqa: E712
    if not faults:
        grouped = result["group"].notna().any()  # a set that tells no group at all is read, and never split
        for name in ("case", "path", *(["group"] if grouped else [])):
            blank = result[name][result[name].isna() | result[name].isin(["", " "])]
            if len(blank):
                faults.append(_fault(name, "is never empty", blank))
        case = result["case"]
        if (again := case[case.duplicated(keep=False) & case.notna()]).size:
            faults.append(_fault("case", "is unique", again.sort_values(kind="stable")))
        masks = [target.columns[0] for target in targets if target.kind == "segmentation"]
        for name in masks:
            if (blank := result[name][result[name].isin(["", " "])]).size:
                faults.append(_fault(name, "is a path or NA", blank))
        for name in ("path", *masks):
            astray = result[name].fillna("").str.contains(r"^/|\\|\x00|(?:^|/)\.\.(?:/|$)", regex=True)
            if astray.any():
                faults.append(_fault(name, "is POSIX and relative, without '..'", result[name][astray]))
        faults += _outside(result["part"], PARTS)
        for target in single:
            if target.kind != "segmentation":
                faults += _outside(result[target.columns[0]], target.classes)
    for name in (column for target in targets if target.kind == "multi-label" for column in target.columns):
        values = pd.to_numeric(source[name], errors="coerce").astype("float64")
        odd = source[name][source[name].notna() & ~values.isin([0, 1])]
        if len(odd):
            faults.append(_fault(name, "is 0, 1 or NaN", odd))
        result[name] = values
    for name in manifest.covariates:
        result[name] = source[name]
    if manifest.unit and not faults:
        faults += _unit_faults(result, manifest.unit)
    if faults:
        raise _as_error(faults, where)
    return result


def _column_faults(manifest: Manifest) -> list[str]:
    """What is wrong with the targets that are declared, and with the names of the columns."""
    frame, targets = manifest.frame, manifest.targets
    faults = [f"target {target.name!r} has no classes" for target in targets if not target.classes]
    if targets[0].prefix or not all(target.prefix for target in targets[1:]):
        faults.append("the first target has no prefix, each further one has one of its own")
    for what in ("name", "prefix"):
        given = [str(getattr(target, what)) for target in targets]
        again = sorted({each for each in given if each and given.count(each) > 1})
        faults += [f"two targets have the {what} {each!r}" for each in again]
    declared = (*_FIXED, *(name for target in targets for name in target.columns), *manifest.covariates)
    twice = sorted({name for name in (*declared, *map(str, frame.columns)) if declared.count(name) > 1})
    twice += [str(name) for name in frame.columns[frame.columns.duplicated()] if str(name) not in twice]
    if twice:
        faults.append(f"column {', '.join(map(repr, twice))} stands twice")
    missing = [name for name in declared if name != "part" and name not in frame.columns]
    if missing:
        faults.append(f"column {', '.join(map(repr, missing))} is missing")
    undeclared = [str(name) for name in frame.columns if name not in declared]
    if undeclared:
        faults.append(f"column {', '.join(map(repr, undeclared))} is neither a target nor a named covariate")
    kept = tuple(f"{target.prefix}{word}" for target in targets for word in ("target", "score_"))
    if any(target.kind == "segmentation" for target in targets):
        kept += _MEASURED
    reserved = [name for name in manifest.covariates if name.startswith(kept)]
    if reserved:
        faults.append(f"covariate {', '.join(map(repr, reserved))}: this name is kept for targets and scores")
    if manifest.unit and manifest.unit not in manifest.covariates:
        faults.append(f"the unit {manifest.unit!r} is not one of the covariates")
    return faults


def _unit_faults(frame: pd.DataFrame, unit: str) -> list[str]:
    blank = frame[unit][frame[unit].isna()]
    if len(blank):
        return [_fault(unit, "is never empty, as the unit", blank)]
    groups = frame.groupby(unit)["group"].nunique()
    torn = frame[unit][frame[unit].isin(groups.index[groups > 1])]
    faults = [_fault(unit, "stands in one group alone, as the unit", torn)] if len(torn) else []
    if "slice" in frame.columns:
        again = frame["slice"][frame.duplicated([unit, "slice"], keep=False)]
        if len(again):
            faults.append(_fault("slice", f"is another in each picture of a {unit}", again))
    return faults


def _text() -> Any:
    import numpy as np
    import pandas as pd

    return pd.StringDtype(na_value=np.nan)


def _outside(column: pd.Series, allowed: Sequence[str]) -> list[str]:
    odd = column[column.notna() & ~column.isin(list(allowed))]
    return [_fault(str(column.name), f"is one of {', '.join(allowed)} or NA", odd)] if len(odd) else []


def _fault(name: str, rule: str, odd: pd.Series) -> str:
    values = ", ".join(dict.fromkeys(map(repr, odd.iloc[:_SHOWN].tolist())))
    rows = ", ".join(str(row) for row in odd.index[:_SHOWN])
    more = f" and {len(odd) - _SHOWN} more" if len(odd) > _SHOWN else ""
    return f"column {name!r} {rule}; found {values} in row {rows}{more}"


def _as_error(faults: Sequence[str], where: str) -> DatasetError:
    return DatasetError("; ".join(faults), where=where)
