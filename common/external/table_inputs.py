"""Tables of predictions and of truth for `evaluate`, `compare` and `calibrate`, and what a domain reads itself."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from graftwork.common.errors import TableError, UsageError
from graftwork.common.files.checksums import file_sha256
from graftwork.common.files.untrusted_files import is_file, read_json

if TYPE_CHECKING:
    import pandas as pd

    from graftwork.common.evaluation.protocols import Protocol
    from graftwork.common.evaluation.tables.external_tables import Submission
    from graftwork.common.evaluation.tables.reading_options import ReadingOptions


log = logging.getLogger("graftwork")

StrPath = str | os.PathLike[str]


def read_tables(
    predictions: StrPath,
    convention: Protocol,
    truth: StrPath | None,
    group: str,
    only_predicted: bool,
    uncertain: str,
    blank: str,
    part: str,
    by: Sequence[str],
    reading: ReadingOptions,
) -> Submission:
    """External predictions, or predictions in a format of a domain, as `read_submission` reads them.

    Args:
        predictions: a file. convention: the protocol. truth: a table, or the folder of a dataset that has the protocol.
        part: that is evaluated. by: covariates. reading: fields of `Reading`. The others: as `read_submission`.

    Raises:
        TableError, UsageError: as `read_submission`; a folder that is no dataset of the protocol.
    """
    from graftwork.common.evaluation.tables.external_tables import read_submission
    from graftwork.common.evaluation.tables.reading_options import Reading

    convention.refuse_shapes()
    read = domain_reader(predictions, "readers")
    found = read_submission(
        predictions if read is None else read(os.fspath(predictions)),
        convention,
        truth=_truth_of(truth, convention) if truth is not None and Path(truth).is_dir() else truth,
        group=group,
        only_predicted=only_predicted,
        uncertain=uncertain,
        blank=blank,
        part=part,
        covariates=by,
        reading=Reading(**reading),
    )
    changed = _changed_since(predictions)
    for note in changed:
        log.warning("%s", note)
    return replace(found, notes=(*changed, *found.notes))


def _changed_since(predictions: StrPath) -> tuple[str, ...]:
    """A note where FILE.about.json, which `predict` writes beside its table, states another content or is damaged."""
    file = Path(predictions)
    about = file.with_name(f"{file.name}.about.json")
    try:
        if not is_file(about, TableError):
            return ()
        said = read_json(about, TableError)
    except TableError as error:
        return (
            f"{about.name} beside {file.name} cannot be read, so its content is not verified ({error.what}).",
        )
    if not isinstance(said, dict) or said.get("written_as") not in ("csv", "csv-escaped", "parquet"):
        return ()
    stated = said.get("sha256") or []
    if not isinstance(stated, list) or not stated or file_sha256(file) in stated:
        return ()
    return (
        f"{file.name} was changed or damaged after `predict` wrote it: its SHA-256 is not the one in {about.name}.",
    )


def domain_reader(file: StrPath, kind: Literal["readers", "box_readers"]) -> Callable[[StrPath], Any] | None:
    """The function with which a domain reads a file of this ending; None where no domain does."""
    from graftwork.common.data import domain

    for name in domain.domains():
        for ending, path in getattr(domain.domain(name), kind).items():
            if os.fspath(file).lower().endswith(ending):
                module, _, function = path.partition(":")
                found: Callable[[StrPath], Any] = getattr(import_module(module), function)
                return found
    return None


def _truth_of(folder: StrPath, convention: Protocol) -> pd.DataFrame:
    """The truth of a dataset that has this protocol, read from its folder as a run reads it.

    Raises:
        UsageError: no dataset has the protocol, or the folder is none of them; says why for each.
    """
    from graftwork.common.data import domain
    from graftwork.common.errors import GraftworkError

    why = []
    for name in domain.names("datasets"):
        loaded = domain.dataset(name)
        if convention.name not in [each.rpartition("/")[2] for each in (loaded.protocol, *loaded.further)]:
            continue
        try:
            manifest = loaded.read(folder)
        except GraftworkError as error:
            why.append(f"{name}: {error.what}")
            continue
        named = [each for each in manifest.targets if convention.target in ("", each.name)]
        target = named[0] if named else None
        if target is None or target.kind != convention.kind:
            why.append(f"{name}: it has no target {convention.target or convention.kind}")
            continue
        columns = {each: each.removeprefix(target.prefix) for each in target.columns}
        kept = dict.fromkeys(("path", "group", "part", "event", *manifest.covariates))
        kept_columns = [each for each in kept if each in manifest.frame]
        frame = manifest.frame[[*kept_columns, *columns]].rename(columns=columns)
        notes = (f"The truth is the dataset {name} in {folder}.",)
        frame.attrs = {"source": os.fspath(folder), "notes": notes}
        return frame
    raise UsageError(
        "is a folder, expected a table, or the folder of a dataset with this protocol"
        + (f" ({'; '.join(why)})" if why else ""),
        where=str(folder),
        remedy="name the file of the table with --truth",
    )
