"""The files of a prediction: the table, its description, and unfinished work.

`FILE.partial/` holds a table for each few hundred files that were predicted. It is gone once FILE is whole; a
killed prediction continues after the last table. `FILE.about.json` says what made FILE, so that nothing of
another model is ever added to it.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from graftwork.common.errors import RunError, UsageError
from graftwork.common.files import check_writable, hash_of, lock, write_json, writing
from graftwork.common.files.checksums import begin_checksums, file_sha256, verified
from graftwork.common.files.untrusted_files import check_keys, is_file, read_json as read_json_file
from graftwork.common.prediction.image_list import Shard
from graftwork.common.prediction.output_formats import table_beside
from graftwork.common.prediction.row_stream import files_of, read_parquet, without

FORMAT = 2  # of FILE.about.json and of the columns; rises when rows of an older one cannot be continued

SAME = {  # what must be equal for rows of one file, and its name in messages
    "model_sha256": "the network's tensors",
    "targets": "the targets",
    "thresholds": "the thresholds",
    "preprocessing": "the preprocessing",
    "folder": "the folder",
}


log = logging.getLogger("graftwork")

_ABOUT: dict[str, type | tuple[type, ...]] = {
    "exclude": list, "listed": dict, "targets": list, "thresholds": list, "written_as": str, "wished_as": str,
    "dataset": str, "unit": str, "rows": int, "failed": int, "seen_by_run": dict, "sha256": (list, type(None)),
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """The file of predictions, of a shard or of all, and the files next to it."""

    file: Path

    @classmethod
    def of(cls, wished: Path, shard: Shard | None = None) -> Place:
        """Where the predictions (of a shard) go, for the file that was wished."""
        if shard is None:
            return cls(wished)
        return cls(wished.with_name(f"{wished.name}.shard-{shard.number}-of-{shard.of}.parquet"))

    def table(self, form: str) -> Path:
        """Where its rows are read back from."""
        return table_beside(self.file, form)

    @property
    def about(self) -> Path:
        """Its description."""
        return self.file.with_name(f"{self.file.name}.about.json")

    @property
    def partial(self) -> Path:
        """The folder of work that is half done."""
        return self.file.with_name(f"{self.file.name}.partial")

    @contextlib.contextmanager
    def open(self, identity: Mapping[str, Any]) -> Iterator[None]:
        """Prove that the file can be written, and hold the right to write it.

        Args:
            identity: what makes the rows; half-done work of another one is refused.

        Raises:
            UsageError: a folder has this name.
            RunError: it cannot be written, another process is writing it, or what is there is of another model.
        """
        if not is_file(self.file, UsageError) and self.file.is_dir():
            raise UsageError("it is a folder", where=self.file, remedy="name a file in it")
        check_writable(self.file.parent)
        check_writable(self.partial)
        with lock(self.partial / ".lock", "another process is writing these predictions"):
            begin_checksums(self.partial)
            self._drop_damaged()
            plan = self.partial / "plan.json"
            if plan.is_file() and self.parts():
                check_same(read_json(plan), identity, where=self.partial, remedy="remove it to start again")
            else:
                write_json(plan, identity_of(identity))
            yield

    def _drop_damaged(self) -> None:
        """Remove damaged tables of half-done work, so that their files are predicted again."""
        dropped = 0
        for part in itertools.chain(*self.parts()):
            try:
                verified(part)
            except RunError:
                part.unlink(missing_ok=True)
                dropped += 1
        if dropped:
            log.warning(
                "%s: %d damaged tables were removed; their files are predicted again", self.partial, dropped
            )

    def parts(self) -> list[list[Path]]:
        """The tables of half-done work: a list for each start or resumption, in order."""
        found: dict[str, list[Path]] = {}
        for part in sorted(self.partial.glob("[0-9]*-[0-9]*.parquet")):
            found.setdefault(part.name.partition("-")[0], []).append(part)
        return list(found.values())

    def streams(self, schema: pa.Schema) -> list[Iterable[pa.Table]]:
        """The rows of half-done work, each stream sorted by file; of a file that was done again, the last row.

        Raises:
            RunError: a table of it is damaged.
        """
        found: list[Iterable[pa.Table]] = []
        later = pa.array([], pa.large_string())
        for session in reversed(self.parts()):
            own = files_of(_rows(session, schema))
            found.append(without(_rows(session, schema), own.filter(pc.is_in(own, later))))
            later = pa.concat_arrays([own, later])
        return found

    def keep(self, session: int, number: int, table: pa.Table) -> None:
        """Write a table of half-done work: the `number`th of the `session`th time."""
        with writing(self.partial / f"{session:06d}-{number:08d}.parquet") as temporary:
            pq.write_table(table, temporary, write_page_checksum=True)

    def clear(self) -> None:
        """Remove what was half done."""
        shutil.rmtree(self.partial, ignore_errors=True)


def _rows(parts: Iterable[Path], schema: pa.Schema) -> Iterator[pa.Table]:
    for part in parts:
        yield from read_parquet(part, schema)


def about_of(place: Place) -> dict[str, Any]:
    """The description of a file of predictions.

    Raises:
        RunError: it is missing, damaged, or of a version with other columns.
    """
    if not place.about.is_file():
        raise RunError(
            f"it is there, but {place.about.name} beside it, which says what made it, is not",
            where=place.file,
            remedy="name another file with --out, or move this one away",
        )
    found = read_json(place.about)
    _check_format(found, place.file, "name another file with --out, or move this one away")
    return check_keys(found, _ABOUT, place.about, RunError)


def identity_of(about: Mapping[str, Any]) -> dict[str, Any]:
    """What of `about` must be equal for rows to be in one file, and the format of the rows."""
    return {key: about[key] for key in ("format", *SAME)}


def _check_format(said: Mapping[str, Any], where: Path, remedy: str) -> None:
    found = said.get("format", 1)
    if found != FORMAT:
        which = "an earlier" if found == 1 else "another"
        lacks = ", without the column seen_by_run" if found == 1 else ""
        raise RunError(
            f"written by {which} version of graftwork{lacks} (found format {found!r}, expected {FORMAT})",
            where=where,
            remedy=remedy,
        )


def check_content(place: Path, about: Mapping[str, Any]) -> bool:
    """Whether a table of predictions has the content that `about` states; True where nothing is stated.

    Raises:
        RunError: it cannot be read.
    """
    stated = about.get("sha256") or []
    try:
        return not stated or file_sha256(place) in stated
    except OSError as error:
        raise RunError(
            f"cannot be read ({error.strerror})", where=place, remedy="predict it again"
        ) from error


def check_same(
    then: Mapping[str, Any], now: Mapping[str, Any], *, where: Path, remedy: str, said: Path | None = None
) -> None:
    """Compare what made some rows with what makes others.

    Args:
        said: the file that says `then`, in which a folder that was moved can be corrected.

    Raises:
        RunError: says what differs; `then` is of a version with other columns.
    """
    _check_format(then, where, remedy)
    different = [key for key in SAME if then.get(key) != now.get(key)]
    if not different:
        return
    what = ", ".join(SAME[key] for key in different)
    if different == ["folder"]:
        what = f"the folder {then.get('folder')}, now {now.get('folder')}"
        if said is not None:
            remedy += f"; if it is the same folder, moved, write its path as `folder` in {said}"
    raise RunError(f"made by something else: {what}", where=where, remedy=remedy)


def read_json(place: Path) -> dict[str, Any]:
    """What a file says of predictions.

    Raises:
        RunError: it is damaged.
    """
    remedy = "remove it and the predictions beside it"
    found = read_json_file(place, RunError, remedy=remedy)
    if not isinstance(found, dict):
        raise RunError(
            f"damaged: found a {type(found).__name__}, expected an object", where=place, remedy=remedy
        )
    if "sealed" in found and not _fits(found):
        raise RunError(
            "damaged or changed: its content does not fit its checksum `sealed`", where=place, remedy=remedy
        )
    return found


def _fits(about: Mapping[str, Any]) -> bool:
    try:
        return bool(about["sealed"] == _seal(about))
    except ValueError:  # NaN, which is never written
        return False


def _seal(about: Mapping[str, Any]) -> str:
    """The checksum of a description without the folder, which a user may correct after moving the images."""
    return hash_of({key: value for key, value in about.items() if key not in ("folder", "sealed")})


def write_about(place: Path, about: Mapping[str, Any]) -> None:
    """Write the description of predictions, with its checksum.

    Raises:
        RunError: it cannot be written.
    """
    write_json(place, {**about, "sealed": _seal(about)})
