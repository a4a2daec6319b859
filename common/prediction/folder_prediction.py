"""Predictions of a folder from its list to the file: what is left to do, the work in portions, the file at the end."""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from signal import Signals as Names
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from graftwork.common.data.synthetic import is_synthetic
from graftwork.common.errors import Interrupted, UsageError
from graftwork.common.files import file_sha256
from graftwork.common.memory import keep_freed_memory
from graftwork.common.prediction import Outcome
from graftwork.common.prediction.image_list import INDEX, Listing, Shard, excluded, list_files, shard_of
from graftwork.common.prediction.mask_folder_owner import check_apart, check_names, claim
from graftwork.common.prediction.output_files import (
    Place,
    about_of,
    check_content,
    check_same,
    read_json,
    write_about,
)
from graftwork.common.prediction.output_formats import ESCAPED, Writer, choose_format, load_writer, write_rows
from graftwork.common.prediction.row_stream import columns, files_of, merged, read_rows, without
from graftwork.common.prediction.trained_model import Job, formats_of, job_of
from graftwork.common.prediction.training_overlap import SEEN_BY_RUN, SEEN_PARTS, seen_files
from graftwork.common.runs.run_folder import open_run
from graftwork.common.runs.signals import CODES, Signals

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from graftwork.common.data.targets import Target
    from graftwork.common.runs.provenance import Progress


log = logging.getLogger("graftwork")

FIRST_ESTIMATE, NEXT_ESTIMATE = 60.0, 600.0  # seconds until the log says how long it will take, and again
PORTIONS = {"": 256, "pixels": 16, "ml": 1}  # files whose rows are kept together: what a kill costs at most


def predict(
    run: str | os.PathLike[str],
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    form: str = "",
    shard: str = "",
    exclude: Sequence[str] = (),
    root: str | os.PathLike[str] | None = None,
    workers: int = 2,
    escape: bool = False,
    engine: str = "auto",
    progress: Progress | None = None,
) -> Outcome:
    """What a run says of the files that `source` names, written to `out`; see `graftwork.predict`."""
    job = job_of(open_run(run))
    wished = Path(os.path.abspath(out))  # noqa: PTH100 (the folder may change, links may stay)
    share = shard_of(shard) if shard else None
    if job.masks and form:
        raise UsageError(
            "masks have one format each, by their images", where="--format", remedy="leave it out"
        )
    if job.masks and wished.is_file():
        raise UsageError("it is a file; masks go into a folder", where=wished, remedy="name a folder")
    target = wished / INDEX if job.masks else wished
    formats = {} if job.masks else formats_of(job.run.recipe.dataset)
    chosen = choose_format(target, form, formats, escape=escape)
    writer = load_writer(chosen, formats[chosen]) if chosen in formats else None
    apart, own = (wished, None) if job.masks else (None, wished)
    listing = list_files(source, job.endings, exclude=exclude, root=root, apart=apart, out=own)
    if job.masks:
        check_names(listing.keys.to_pylist(), job.suffix, job.endings, listing.root)
        check_apart(wished, listing, job.suffix, job.endings)
    about = {
        **job.about,
        "folder": str(listing.root),
        "synthetic": job.about["synthetic"] or is_synthetic(listing.root),
        "exclude": list(exclude),
        "listed": {"files": len(listing), "sha256": listing.digest()},
        "left_out": dict(listing.left_out),
        "shard": "" if share is None else str(share),
        "wished_as": chosen,
        "written_as": chosen if share is None else "parquet",
    }
    if share is not None:
        listing = _share(listing, share)
        chosen, writer = "parquet", None
    place = Place.of(target, share)
    schema = columns(job.targets, job.unit)
    if job.masks:
        claim(wished, about)
    then = _old(place, about)
    old = str(then.get("written_as", ""))
    asked = str(then.get("engine", "auto")) if engine == "auto" else engine
    about["engine"] = then.get("engine", "")
    with place.open(about), Signals(place.partial) as signals:
        left = _left(job, place, listing, schema, old, wished, exclude)
        if len(left):
            total = about["listed"]["files"]
            about["engine"] = _work(
                job, place, left, schema, signals, wished, workers, asked, total, progress
            )
        streams = place.streams(schema)
        if old == chosen and not streams and then["exclude"] == about["exclude"]:
            outcome = Outcome(
                place.file, then["rows"], then["failed"], 0, about["left_out"], then["seen_by_run"]
            )
            if then.get("left_out") != about["left_out"]:
                write_about(place.about, {**then, "left_out": about["left_out"]})
        else:
            if old:
                done = files_of(itertools.chain(*place.streams(schema)))
                streams.append(without(read_rows(place.table(old), table_of(old), schema), done))
            streams = [less(stream, exclude) for stream in streams]
            outcome = assemble(place, streams, schema, chosen, writer, job.targets, about)
        place.clear()
    return replace(outcome, new=len(left))


def _share(listing: Listing, share: Shard) -> Listing:
    return listing.rows(np.flatnonzero([key in share for key in listing.keys.to_pylist()]))


def table_of(form: str) -> str:
    """The format that rows of a file are read back in."""
    return form if form in ("csv", ESCAPED) else "parquet"


# What is left to do ----------------------------------------------------------------------------------------


def _old(place: Place, about: Mapping[str, Any]) -> Mapping[str, Any]:
    """The description of existing predictions; empty if there are none.

    Raises:
        RunError: they were made by something else.
    """
    if not place.file.exists():
        return {}
    if place.file.is_dir():
        raise UsageError("it is a folder", where=place.file, remedy="name a file")
    then = about_of(place)
    remedy = "name another file with --out, or move this one away"
    check_same(then, about, where=place.file, said=place.about, remedy=remedy)
    if not check_content(place.table(str(then["written_as"])), then):
        log.warning("%s was changed or damaged since it was written; its rows are used unchanged", place.file)
    return then


def _left(
    job: Job,
    place: Place,
    listing: Listing,
    schema: pa.Schema,
    old: str,
    folder: Path,
    exclude: Sequence[str],
) -> Listing:
    """The files of a listing that were not predicted yet, or could not be read when they were.

    Raises:
        UsageError: one of them would have the mask of a file that was predicted before.
    """
    named: set[str] = set()  # files that have a mask

    def there(stream: Iterable[pa.Table]) -> Iterator[pa.Table]:
        for table in stream:
            if not job.masks:
                yield table
                continue
            masks = table["mask"].to_pylist()
            pairs = zip(table["file"].to_pylist(), masks, strict=True)
            named.update(key for key, mask in pairs if mask and not excluded(key, exclude))
            # one that was removed is made again
            yield table.filter(
                pa.array([mask is None or (folder / mask).is_file() for mask in masks], pa.bool_())
            )

    def read(stream: Iterable[pa.Table]) -> Iterator[pa.Table]:
        return (table.filter(pc.is_null(table["failure"])) for table in stream)

    known = files_of(there(itertools.chain(*place.streams(schema))))
    if old:
        before = files_of(there(read(read_rows(place.table(old), table_of(old), schema))))
        _say_changed(listing, before, place.file)
        known = pa.concat_arrays([known, before])
    if job.masks:
        check_names(named.union(listing.keys.to_pylist()), job.suffix, job.endings, folder)
    return listing.rows(np.flatnonzero(~_among(listing, known)))


def _among(listing: Listing, keys: pa.Array) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = pc.is_in(listing.keys, keys).to_numpy(zero_copy_only=False)
    return found


def _say_changed(listing: Listing, keys: pa.Array, file: Path) -> None:
    """Warn of files that were written after `file`, in which they stand."""
    since, count = file.stat().st_mtime_ns, 0
    for row in np.flatnonzero(_among(listing, keys)).tolist():
        with suppress(OSError):  # a list may name what is gone
            count += listing.file(row).stat().st_mtime_ns > since
    if count:
        log.warning(
            "%d files changed since they were predicted: remove their rows to predict them again (%s)",
            count,
            file,
        )


# The work --------------------------------------------------------------------------------------------------


def _work(
    job: Job,
    place: Place,
    left: Listing,
    schema: pa.Schema,
    signals: Signals,
    folder: Path,
    workers: int,
    engine: str,
    images: int,
    progress: Progress | None,
) -> str:
    """Predict the files that are left, keep their rows a portion at a time, and return the name of the engine.

    Raises:
        Interrupted: by a signal, after the current batch was saved.
    """
    session, number, count, waiting = len(place.parts()) + 1, 0, 0, []
    rows, used = _tables(job, left, schema, folder, workers, engine, images)
    start = time.monotonic()
    next_estimate = start + FIRST_ESTIMATE
    with closing(rows) as tables:
        for table in tables:
            waiting.append(table)
            count += len(table)
            stop = signals.caught is not None
            if stop or count == len(left) or sum(map(len, waiting)) >= PORTIONS[job.unit]:
                number += 1
                place.keep(session, number, pa.concat_tables(waiting))
                waiting = []
            if progress is not None:
                progress("predicting", count, len(left))
            now = time.monotonic()
            if now >= next_estimate and count < len(left):
                minutes = (now - start) / count * (len(left) - count) / 60
                log.info("%d of %d files predicted, about %.0f min left", count, len(left), max(1, minutes))
                next_estimate = now + NEXT_ESTIMATE
            if stop and count < len(left):
                _stop(signals, place)
    return used


def _stop(signals: Signals, place: Place) -> None:
    caught = signals.caught or 0
    raise Interrupted(
        f"stopped by {Names(caught).name}; what was done is kept",
        exit_code=CODES[caught],
        where=place.partial,
        remedy="the same command goes on from here",
    )


def _tables(
    job: Job, left: Listing, schema: pa.Schema, folder: Path, workers: int, engine: str, images: int
) -> tuple[Generator[pa.Table], str]:
    """The rows of the files that are left, in their order, and the name of the engine."""
    import torch

    from graftwork.common.networks.network import Network, restore_network

    keep_freed_memory()
    seen = seen_files(job.run)
    network, preprocessing = restore_network(job.run)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = network.to(device).eval()
    precision = str(job.run.environment.get("precision") or job.run.recipe.training.precision)
    if job.masks:
        from graftwork.common.prediction.mask_writing import masked

        rows = masked(
            network, preprocessing, left, job.targets[0], schema, seen, folder,
            suffix=job.suffix, endings=job.endings, device=device, precision=precision,
        )  # fmt: skip
        return rows, "torch"
    from graftwork.common.loading.transforms import Preprocessing
    from graftwork.common.prediction.class_scores import forward_of, scored

    assert isinstance(preprocessing, Preprocessing) and isinstance(network, Network)
    bars = {(each["target"], each["class"]): each["value"] for each in job.about["thresholds"]}
    forward, used = forward_of(
        network, preprocessing, left, device=device, precision=precision, engine=engine, images=images
    )
    return scored(forward, preprocessing, left, job.targets, bars, schema, seen, workers=workers), used


# The file --------------------------------------------------------------------------------------------------


def less(stream: Iterable[pa.Table], exclude: Sequence[str]) -> Iterator[pa.Table]:
    """The rows whose file is not excluded."""
    for table in stream:
        if not exclude:
            yield table
            continue
        kept = [not excluded(key, exclude) for key in table["file"].to_pylist()]
        yield table.filter(pa.array(kept, pa.bool_()))


def assemble(
    place: Place,
    streams: Sequence[Iterable[pa.Table]],
    schema: pa.Schema,
    form: str,
    writer: Writer | None,
    targets: tuple[Target, ...],
    about: Mapping[str, Any],
) -> Outcome:
    """Write a file from streams of rows, each sorted by file, and its description next to it.

    The description is written first: a file without it would have no owner.

    Raises:
        RunError, GraftworkError: see `write_rows`.
    """
    rows = failed = 0
    parts: Counter[str] = Counter()

    def flowing() -> Iterator[pa.Table]:
        nonlocal rows, failed
        for table in merged(streams):
            rows += len(table)
            failed += len(table) - table["failure"].null_count
            parts.update(table[SEEN_BY_RUN].drop_null().to_pylist())
            yield table

    def known() -> dict[str, int]:
        return {part: parts[part] for part in SEEN_PARTS if parts[part]}

    def said(table: Path) -> dict[str, Any]:
        before = read_json(place.about).get("sha256") or [] if place.about.is_file() else []
        new = file_sha256(table)  # the old table stays when this process is killed now
        digests = [new, *[each for each in before if each != new][:1]]
        facts = {**about, "rows": rows, "failed": failed, "seen_by_run": known(), "sha256": digests}
        write_about(place.about, facts)
        return facts

    write_rows(flowing(), schema, place.file, form, writer, targets, said)
    return Outcome(place.file, rows, failed, rows, about.get("left_out", {}), known())
