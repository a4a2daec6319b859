"""Merge the shards of a prediction: all present, all of one network, sorted by file."""

from __future__ import annotations

import itertools
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from graftwork.common.data.targets import Target
from graftwork.common.errors import RunError, UsageError
from graftwork.common.prediction import Outcome
from graftwork.common.prediction.folder_prediction import assemble, less, table_of
from graftwork.common.prediction.image_list import INDEX, Shard
from graftwork.common.prediction.mask_folder_owner import check_owner
from graftwork.common.prediction.output_files import Place, about_of, check_content, check_same
from graftwork.common.prediction.output_formats import choose_format, load_writer
from graftwork.common.prediction.row_stream import columns, files_of, read_parquet, read_rows, without
from graftwork.common.prediction.trained_model import formats_of
from graftwork.common.wording import short_list

log = logging.getLogger("graftwork")


def merge(out: str | os.PathLike[str], *, form: str = "", escape: bool = False) -> Outcome:
    """The shards of `out` as one file; see `graftwork.merge`."""
    wished = Path(os.path.abspath(out))  # noqa: PTH100
    file = wished / INDEX if wished.is_dir() else wished
    shards = _shards(file)
    said = [about_of(shard) for shard in shards]
    for shard, each in zip(shards, said, strict=True):
        if not check_content(shard.file, each):
            raise RunError(
                f"damaged or changed: it has not the content that {shard.about.name} states",
                where=shard.file,
                remedy=f"remove both and predict again with --shard {each['shard']}",
            )
    for shard, each in zip(shards[1:], said[1:], strict=True):
        check_same(each, said[0], where=shard.file, remedy="predict all shards with one run over one folder")
    if any(each["exclude"] != said[0]["exclude"] for each in said):
        raise RunError(
            "the shards left out different files", where=file, remedy="predict all with one --exclude"
        )
    if any(each["listed"] != said[0]["listed"] for each in said):
        counts = [each["listed"]["files"] for each in said]
        log.warning(
            "the shards have different files (%d to %d): predict again for files that were added in between",
            min(counts),
            max(counts),
        )
    about = {**said[0], "shard": "", "merged": len(shards)}
    targets = tuple(Target(**each) for each in about["targets"])
    masks = targets[0].kind == "segmentation"
    formats = {} if masks else formats_of(about["dataset"])
    chosen = choose_format(file, form or about["wished_as"], formats, escape=escape)
    writer = load_writer(chosen, formats[chosen]) if chosen in formats else None
    about["written_as"] = chosen
    if masks:
        check_owner(file.parent, about)
    schema = columns(targets, about["unit"])
    place = Place(file)
    old = ""
    if file.exists():
        then = about_of(place)
        check_same(then, about, where=file, said=place.about, remedy="move it away")
        if not check_content(place.table(str(then["written_as"])), then):
            log.warning("%s was changed or damaged since it was written; its rows are used unchanged", file)
        old = str(then["written_as"])
    with place.open(about):
        if place.parts():
            raise RunError(
                "a prediction without shards is half done here",
                where=place.partial,
                remedy="finish it with the same command, or remove this folder",
            )
        streams: list[Iterable[pa.Table]] = [read_parquet(shard.file, schema) for shard in shards]
        if old:  # what was predicted without shards stays
            there = files_of(itertools.chain(*(read_parquet(shard.file, schema) for shard in shards)))
            rest = without(read_rows(place.table(old), table_of(old), schema), there)
            streams.append(less(rest, about["exclude"]))
        if masks:
            _check_masks(shards, schema)
            streams = [_with_masks(stream, file.parent) for stream in streams]
        outcome = assemble(place, streams, schema, chosen, writer, targets, about)
        place.clear()
    return outcome


def _shards(file: Path) -> list[Place]:
    """All shards of a file, in order.

    Raises:
        UsageError: there are none, or they are of several numbers.
        RunError: some are missing or half done.
    """
    pattern = re.compile(re.escape(file.name) + r"\.shard-(\d+)-of-(\d+)\.parquet")
    beside = sorted(file.parent.iterdir()) if file.parent.is_dir() else []
    found: dict[int, set[int]] = {}
    for entry in beside:
        if (match := pattern.fullmatch(entry.name)) is not None:
            found.setdefault(int(match[2]), set()).add(int(match[1]))
    if not found:
        raise UsageError(
            f"there are no shards of it ({file.name}.shard-1-of-8.parquet, ...)",
            where=file,
            remedy="predict them with --shard 1/8 to --shard 8/8, all with this file as --out",
        )
    if len(found) > 1:
        numbers = " and ".join(f"of {of}" for of in sorted(found))
        raise UsageError(
            f"there are shards {numbers}", where=file, remedy="move away those that do not count"
        )
    ((of, numbers_there),) = found.items()
    missing = [f"{number}/{of}" for number in range(1, of + 1) if number not in numbers_there]
    places = [Place.of(file, Shard(number, of)) for number in range(1, of + 1)]
    half = [
        f"{at}/{of}" for at, place in enumerate(places, 1) if f"{at}/{of}" not in missing and place.parts()
    ]
    if missing or half:
        faults = [f"missing: {', '.join(missing)}"] * bool(missing) + [
            f"half done: {', '.join(half)}"
        ] * bool(half)
        raise RunError(
            f"not all shards are there; {'; '.join(faults)}",
            where=file,
            remedy=f"predict with --shard {(missing + half)[0]}"
            + (", and so on" if len(missing + half) > 1 else ""),
        )
    return places


def _check_masks(shards: Sequence[Place], schema: pa.Schema) -> None:
    """See that no two files of the shards have one mask.

    Raises:
        RunError: names those that have.
    """
    owners: dict[str, str] = {}
    for shard in shards:
        for table in read_parquet(shard.file, schema):
            for key, mask in zip(table["file"].to_pylist(), table["mask"].to_pylist(), strict=True):
                if mask is not None and owners.setdefault(mask, key) != key:
                    raise RunError(
                        f"{owners[mask]} and {key} have one mask, {mask}",
                        where=shard.file.parent,
                        remedy="predict all shards with --exclude of one of them",
                    )


def _with_masks(stream: Iterable[pa.Table], folder: Path) -> Iterator[pa.Table]:
    for table in stream:
        lost: list[Any] = [
            name for name in table["mask"].to_pylist() if name and not (folder / name).is_file()
        ]
        if lost:
            raise RunError(
                f"masks are missing: {short_list(lost)}",
                where=folder,
                remedy="predict the shards again: only missing files are computed",
            )
        yield table
