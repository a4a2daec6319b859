"""The files that predictions are written as: CSV and Parquet, and what a domain's people exchange.

A domain defines its own format in its `Domain.formats`, as "module:function". It is a function of
`(predictions: Predictions, file: Path)` and writes `file`, a new one in the folder of the wished one, which takes
its place once it is whole. What it may count on:

- `predictions.frame` has one row a file, sorted by `file`, with the columns that CSV and Parquet have.
- A file that could not be read has a `failure` and no scores: it is not known to be empty or anything else.
- The paths in `file` are relative to `predictions.about["folder"]`, with forward slashes.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from graftwork.common.errors import GraftworkError, UsageError
from graftwork.common.files import writing
from graftwork.common.prediction.row_stream import read_parquet, write_csv, write_parquet

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from graftwork.common.data.targets import Target


BUILT_IN = ("csv", "parquet")
ESCAPED = "csv-escaped"  # CSV in which no text begins as a formula does


@dataclass(frozen=True)
class Predictions:
    """What a domain's format is given to write.

    Attributes:
        frame: a row a file, sorted: `file`; for each target a score a class (0..1, to six decimals; NaN in a row with
            a failure) and `predicted`, both after the target's prefix; `failure` (NA where there is none).
        targets: the predicted targets, the first one first.
        about: what made them, as FILE.about.json: run, model_sha256, graftwork, dataset, folder, thresholds, ...
        failures: file to reason, of those that could not be read.
    """

    frame: pd.DataFrame
    targets: tuple[Target, ...]
    about: Mapping[str, Any]
    failures: Mapping[str, str]


Writer = Callable[[Predictions, Path], None]


def choose_format(file: Path, wish: str, formats: Mapping[str, str], *, escape: bool = False) -> str:
    """The name of the format that `file` is written in.

    Args:
        wish: the name that was asked for; "" to go by the end of the file's name.
        formats: those of the domain.
        escape: of CSV, text that begins as a formula does is escaped.

    Raises:
        UsageError: unknown format, unknown file ending, or escaping was requested for a format other than CSV.
    """
    found = _chosen(file, wish, formats)
    if escape and found not in ("csv", ESCAPED):
        raise UsageError(
            f"formulas are escaped in CSV, and the format is {found}",
            where="--escape-formulas",
            remedy="leave it out, or write .csv",
        )
    return ESCAPED if escape else found


def _chosen(file: Path, wish: str, formats: Mapping[str, str]) -> str:
    known = (*BUILT_IN, *formats)
    if wish:
        if wish in (*known, ESCAPED):
            return wish
        raise UsageError(
            f"there is no format {wish!r}", where="--format", remedy=f"there are {', '.join(known)}"
        )
    found = file.suffix.lower().removeprefix(".")
    if found in BUILT_IN:
        return found
    raise UsageError(
        "the end of its name does not say how to write it",
        where=file,
        remedy=f"end it in .csv or .parquet, or say --format; there are {', '.join(known)}",
    )


def load_writer(name: str, path: str) -> Writer:
    """The function that writes a domain's format; `path` is "module:function".

    Raises:
        GraftworkError: it cannot be imported, or is not there.
    """
    module, _, function = path.partition(":")
    where = f"format {name!r} ({path})"
    try:
        found = getattr(importlib.import_module(module), function, None)
    except Exception as error:  # whatever an external module raises on import
        raise GraftworkError(
            f"{module} cannot be imported ({type(error).__name__}: {error})",
            where=where,
            remedy="update its package, or write .csv or .parquet",
        ) from error
    if not callable(found):
        raise GraftworkError(
            f"{module} offers no function {function!r}",
            where=where,
            remedy="correct the name in the Domain's `formats`",
        )
    return cast("Writer", found)


def table_beside(file: Path, form: str) -> Path:
    """Where the rows can be read back from: the file itself, or a table that is kept beside it."""
    return file if form in (*BUILT_IN, ESCAPED) else file.with_name(f"{file.name}.table.parquet")


def write_rows(
    stream: Iterable[pa.Table],
    schema: pa.Schema,
    file: Path,
    form: str,
    writer: Writer | None,
    targets: tuple[Target, ...],
    about: Callable[[Path], Mapping[str, Any]],
) -> None:
    """Write `file` whole or not at all, in the format `form`.

    Args:
        writer: of a domain's format, else None.
        about: asked with the written table once all rows have flowed, before it takes its place.

    Raises:
        RunError: it cannot be written.
        GraftworkError: a domain's format failed.
    """
    built_in: dict[str, Callable[[Iterable[pa.Table], pa.Schema, Path], None]]
    built_in = {"csv": write_csv, ESCAPED: partial(write_csv, escape=True), "parquet": write_parquet}
    table = table_beside(file, form)
    with writing(table) as temporary:
        built_in.get(form, write_parquet)(stream, schema, temporary)
        said = about(temporary)
    if writer is None:
        return
    import pyarrow as pa

    parts = list(read_parquet(table, schema))
    frame: pd.DataFrame = (pa.concat_tables(parts) if parts else schema.empty_table()).to_pandas()
    failed = frame[frame["failure"].notna()]
    failures = dict(zip(failed["file"].tolist(), failed["failure"].tolist(), strict=True))
    with writing(file) as temporary:
        try:
            writer(Predictions(frame, targets, said, failures), temporary)
        except Exception as error:
            ours = isinstance(error, (GraftworkError, OSError))
            reason = error.what if isinstance(error, GraftworkError) else f"{type(error).__name__}: {error}"
            further = "" if ours else "; report the fault to the format's authors"
            raise GraftworkError(
                f"it could not be written as format {form!r} ({reason.replace(str(temporary), str(file))})",
                where=file,
                remedy=f"the predictions are kept in {table}{further}",
            ) from error
