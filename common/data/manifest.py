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
from typing import TYPE_CHECKING, Any

from graftwork.common.data.manifest_names import nearest_name, normal_column
from graftwork.common.data.targets import Target
from graftwork.common.errors import DatasetError
from graftwork.common.files import writing
from graftwork.common.names import clean_name
from graftwork.common.wording import more_than

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


PARTS = ("train", "validation", "test")
_FIXED = ("case", "path", "group", "part")
_MEASURED = (
    "truth_",
    "predicted_",
    "both_",
    "hausdorff_",
    "images",
)  # columns of a segmentation's predictions
_METADATA = b"graftwork.manifest"
_SYNTHETIC = "synthetic"  # how the note begins that marks data as drawn by a program; see synthetic.NOTE
_SHOWN = 5  # examples of a fault in a message


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
        target: what is to be predicted.
        covariates: columns that describe a case and are never an input. Of images that are slices of a volume,
            `slice` is the place in it, counted from 0, and `spacing` (if known) the text of three numbers: mm
            between slices, rows and columns.
        notes: what a reader of a report must know, a sentence each.
        further: further targets, told by the same network; each has a prefix of its own.
        unit: the covariate whose equal values belong together within a group: frames of an event, slices of a
            volume. They stay in one part and can be evaluated together. Empty: each case is alone.
        one_case_groups: whether the publisher has one case a group (one image a patient), so that each case may be
            a group of its own.
        as_written: whether names are kept as an older version stored them.

    Names (cases, groups, classes, subsets, units and covariates that are text) get a normal form from `clean_name`. A
    note counts the changes in each column. File names are never changed.

    Raises:
        DatasetError: the table is invalid; lists all errors with column, value and rows.
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
    one_case_groups: bool = False
    as_written: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root))
        object.__setattr__(self, "covariates", tuple(map(clean_name, self.covariates)))
        object.__setattr__(self, "unit", clean_name(self.unit))
        object.__setattr__(self, "further", tuple(self.further))
        frame, notes = _valid_frame(self)
        object.__setattr__(self, "frame", frame)
        if self.one_case_groups and 1 < len(frame) == frame["group"].nunique():
            notes.append(
                f"each of the {len(frame):,} cases is its own group; a split by {self.group} is then a split by image"
            )
        object.__setattr__(self, "notes", tuple(dict.fromkeys((*self.notes, *notes))))

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        return f"Manifest({self.dataset}: {len(self)} cases, {self.frame['group'].nunique()} groups)"

    @property
    def holds_volumes(self) -> bool:
        """Whether files of it are volumes (NIfTI), and not 2-D images."""
        from graftwork.common.data.volumes import is_volume

        return any(is_volume(path) for path in self.frame["path"])

    @property
    def targets(self) -> tuple[Target, ...]:
        """All targets, the first one first."""
        return (self.target, *self.further)

    @property
    def synthetic(self) -> bool:
        """Whether the data were drawn by a program: a note says so, which goes along into every subset and file."""
        return any(note.lower().startswith(_SYNTHETIC) for note in self.notes)

    def file(self, row: int) -> Path:
        """The file of a row (counted from 0)."""
        return self.root / str(self.frame["path"].iloc[row])

    def subset(self, mask_or_rows: Sequence[int] | Sequence[bool] | np.ndarray | pd.Series) -> Manifest:
        """The rows where a mask (as long as the manifest) is true, or the rows of these numbers, in order."""
        import numpy as np

        chosen = np.asarray(mask_or_rows)
        if chosen.dtype == bool and len(chosen) != len(self):
            raise DatasetError(
                f"a mask of {len(chosen)} for {len(self)} cases",
                where=self.dataset,
                remedy="give one value a case",
            )
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
            "one_case_groups": self.one_case_groups,
            "as_written": self.as_written,
        }
        table = pa.Table.from_pandas(self.frame, preserve_index=False)
        said = json.dumps(about, ensure_ascii=False).encode()
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), _METADATA: said})
        with writing(path) as temporary:
            pq.write_table(table, temporary, write_page_checksum=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str], root: str | os.PathLike[str]) -> Manifest:
        """Read what `save` wrote; `root` is the image folder on this machine.

        Raises:
            DatasetError: the file is missing, damaged, not a manifest, or not valid.
        """
        import pyarrow.parquet as pq

        try:
            # ParquetFile, not read_table: a folder name like part=test above the file is no column
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                table = file.read()
            table.validate(full=True)  # text that is no UTF-8 would fail later
            about = json.loads((table.schema.metadata or {})[_METADATA])
            target, *further = (Target(**each) for each in about["targets"])
            said = {name: about[name] for name in ("dataset", "group", "covariates", "notes", "unit")}
            # of an older version: its split and its predictions have the names as they were written
            said["as_written"] = about.get("as_written", True)
            said["one_case_groups"] = about.get("one_case_groups", False)
            frame = table.to_pandas()
        except FileNotFoundError as error:
            raise DatasetError("there is no such manifest", where=path, remedy="check the path") from error
        except KeyError as error:
            raise DatasetError(
                f"a Parquet file, but not a manifest of graftwork (it lacks {error})",
                where=path,
                remedy="give a manifest.parquet that Manifest.save or a run wrote",
            ) from error
        except Exception as error:  # whatever the library's parsers raise
            raise DatasetError(
                f"not a readable manifest ({error})",
                where=path,
                remedy="write it again, or get it from its source",
            ) from error
        return cls(frame=frame, root=Path(root), target=target, further=tuple(further), **said)


def _valid_frame(manifest: Manifest) -> tuple[pd.DataFrame, list[str]]:
    """The frame in canonical order and types, and what was normalised in it; or a DatasetError that lists all that is
    wrong with it."""
    import numpy as np
    import pandas as pd

    frame, targets = manifest.frame, manifest.targets
    where = f"manifest of {manifest.dataset}"
    if not isinstance(frame, pd.DataFrame):
        raise DatasetError(
            f"the frame is a pandas DataFrame, not {type(frame).__name__}",
            where=where,
            remedy="give a pandas DataFrame",
        )
    written = frame.columns
    frame = frame.rename(columns={name: clean_name(name) for name in written if isinstance(name, str)})
    faults = _column_faults(manifest, frame, written)
    if faults:
        raise _as_error(faults, where)

    result = pd.DataFrame(index=pd.RangeIndex(len(frame)))
    given = frame.reset_index(drop=True)
    if "part" not in given.columns:
        given["part"] = pd.Series(np.nan, index=given.index, dtype="object")
    single = [target for target in targets if target.kind != "multi-label"]
    source, notes = _normal_names(manifest, given)
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
        grouped = given["group"].notna().any()  # a dataset without groups is read but cannot be split
        for name in ("case", "path", *(["group"] if grouped else [])):
            blank = given[name][result[name].isna() | result[name].isin(["", " "])]
            if len(blank):
                faults.append(_fault(name, "is never empty", blank))
        case = result["case"]
        if (again := case[case.duplicated(keep=False) & case.notna()].sort_values(kind="stable")).size:
            faults.append(_fault("case", "is unique", given["case"][again.index]))
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
    return result, notes


def _normal_names(manifest: Manifest, frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The columns with names in their normal form, and a sentence for each in which names were changed."""
    labels = [
        target.columns[0] for target in manifest.targets if target.kind not in ("multi-label", "segmentation")
    ]
    names = ["part", *labels]
    if not manifest.as_written:
        names += ["case", "group", *manifest.covariates]
    columns, notes = {}, []
    for name in names:
        mixed = name == manifest.unit and frame[name].dtype == object
        columns[name], said = normal_column(frame[name], numbers=name in ("case", "group") or mixed)
        notes += [said] if said else []
    return frame.assign(**columns), notes


def _column_faults(manifest: Manifest, frame: pd.DataFrame, written: pd.Index) -> list[str]:
    """What is wrong with the targets that are declared, and with the names of the columns."""
    targets = manifest.targets
    faults = [f"target {target.name!r} has no classes" for target in targets if not target.classes]
    if targets[0].prefix or not all(target.prefix for target in targets[1:]):
        faults.append("the first target has no prefix, each further one has one of its own")
    for what in ("name", "prefix"):
        given = [str(getattr(target, what)) for target in targets]
        again = sorted({each for each in given if each and given.count(each) > 1})
        faults += [f"two targets have the {what} {each!r}" for each in again]
    declared = (*_FIXED, *(name for target in targets for name in target.columns), *manifest.covariates)
    twice = sorted({name for name in (*declared, *map(str, frame.columns)) if declared.count(name) > 1})
    repeated = frame.columns.duplicated(keep=False)
    twice += [str(name) for name in dict.fromkeys(written[repeated]) if str(name) not in twice]
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
    faults = [_fault(unit, "is in only one group, as the unit", torn)] if len(torn) else []
    if "slice" in frame.columns:
        again = frame["slice"][frame.duplicated([unit, "slice"], keep=False)]
        if len(again):
            faults.append(_fault("slice", f"is another in each image of a {unit}", again))
    return faults


def _text() -> Any:
    import numpy as np
    import pandas as pd

    return pd.StringDtype(na_value=np.nan)


def _outside(column: pd.Series, allowed: Sequence[str]) -> list[str]:
    odd = column[column.notna() & ~column.isin(list(allowed))]
    if not len(odd):
        return []
    near = {value: nearest_name(value, allowed) for value in odd.unique()[:_SHOWN].tolist()}
    meant = "".join(f"; {value!r} looks like {name!r}" for value, name in near.items() if name)
    return [_fault(str(column.name), f"is one of {', '.join(allowed)} or NA", odd) + meant]


def _fault(name: str, rule: str, odd: pd.Series) -> str:
    values = ", ".join(dict.fromkeys(map(repr, odd.iloc[:_SHOWN].tolist())))
    rows = ", ".join(str(row) for row in odd.index[:_SHOWN])
    more = more_than(odd, _SHOWN)
    return f"column {name!r} {rule}; found {values} in row {rows}{more}"


def _as_error(faults: Sequence[str], where: str) -> DatasetError:
    return DatasetError("; ".join(faults), where=where, remedy="correct the table or the loader that made it")
