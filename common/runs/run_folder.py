"""The folder of a run: its files, and how it is started, resumed and read.

Reading needs no torch: a report can be remade years later, without the network. Every file appears whole or not
at all, and one process at a time writes (a lock that dies with its owner).
"""

from __future__ import annotations

import contextlib
import csv
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graftwork.common.errors import GraftworkError, RunError
from graftwork.common.files import (
    check_writable,
    lock,
    remove_leftovers,
    save_tensors,
    settle_folder,
    swap_folder,
    write_json,
    write_text,
    writing,
)
from graftwork.common.files.checksums import CHECKSUMS, begin_checksums, compact_checksums, verified
from graftwork.common.files.untrusted_files import is_file, read_json, read_parquet
from graftwork.common.recipe import Recipe, load, to_toml
from graftwork.common.runs.provenance import (
    Progress,
    check_same_rows,
    check_unchanged,
    describe_machine,
    fingerprints,
)
from graftwork.common.runs.saved_files import (
    LEDGER,
    QUARANTINE,
    read_environment,
    read_frozen,
    read_index,
    read_ledger,
    read_log,
    read_network,
    read_quarantine,
    read_saved,
    remedy_of,
)
from graftwork.common.runs.training_state import State

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from graftwork.common.data.manifest import Manifest
    from graftwork.common.data.splits import Split
    from graftwork.common.evaluation.protocols import Protocol
    from graftwork.common.evaluation.results import Evaluation


log = logging.getLogger("graftwork")

RESULTS = ("predictions.parquet", "metrics.json", "further_metrics.json", "report.html", "MODEL_CARD.md")


class Run:
    """The folder of a run. Its files are read when first used, and kept in memory.

    Raises:
        RunError: on opening, the folder is not that of a run; on reading, a file is missing or damaged.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        if not is_file(self.folder / "recipe.toml", RunError):
            found = "no such folder" if not self.folder.is_dir() else "it holds no recipe.toml"
            raise RunError(
                f"not the folder of a run: {found}",
                where=self.folder,
                remedy="give the folder that `graftwork run` named, such as runs/<recipe>/<seed>-<hash>",
            )

    # What was asked

    @cached_property
    def recipe(self) -> Recipe:
        place = self.folder / "recipe.toml"
        return load(verified(place, remedy=remedy_of("recipe.toml")), where=str(place), of_a_run=True)

    @cached_property
    def recipe_name(self) -> str:
        return str(self.environment["recipe"])

    @cached_property
    def manifest(self) -> Manifest:
        return self.manifest_at(self.data)

    def manifest_at(self, root: Path) -> Manifest:
        """The manifest of the run, for images in `root`."""
        from graftwork.common.data.manifest import Manifest

        return Manifest.load(self._there("manifest.parquet"), root)

    @cached_property
    def split(self) -> Split:
        from graftwork.common.data.splits import Split

        asked = self.recipe.split
        return Split.load(
            self._there("split.csv"),
            self.manifest,
            by=asked.by,
            seed=self.recipe.split_seed,
            allow=asked.allowed,
        )

    @property
    def data(self) -> Path:
        """The folder of the images, as given by --data."""
        return Path(self.environment["data"])

    @cached_property
    def protocol(self) -> Protocol:
        """The protocol that the recipe names, or else its dataset's."""
        from graftwork.common.data.domain import dataset, protocol

        return protocol(self.recipe.evaluation.protocol or dataset(self.recipe.dataset).protocol)

    @cached_property
    def files(self) -> pd.DataFrame:
        """What `fingerprints` said of every file when the run began: images in the manifest's order, then masks."""
        return self._table("files.parquet")

    # What happened

    @property
    def environment(self) -> dict[str, Any]:
        return read_environment(self._there("environment.json"))

    @property
    def network(self) -> dict[str, Any]:
        return read_network(self._there("network.json"))

    @property
    def frozen(self) -> dict[str, Any]:
        """Of each phase of the strategy, by its number: what was decided about the output of frozen stages."""
        return read_frozen(self.folder / "frozen.json")

    @property
    def log(self) -> list[dict[str, Any]]:
        return read_log(self._there("log.jsonl"))

    @property
    def ledger(self) -> pd.DataFrame:
        return read_ledger(self._there("ledger.csv"))

    @property
    def quarantine(self) -> list[dict[str, str]]:
        """The images that could not be read: case, stage, reason."""
        return read_quarantine(self.folder / "quarantine.csv")

    @property
    def unverified(self) -> tuple[str, ...]:
        """The folders of this run whose list of checksums is gone, so that damage is not found: ".", "last", "best"."""
        if not self.environment.get("checksums"):  # of an earlier version, which wrote none
            return ()
        folders = [(name, self.folder / name) for name in (".", "last", "best")]
        return tuple(name for name, each in folders if each.is_dir() and not (each / CHECKSUMS).is_file())

    # What came out

    @property
    def predictions(self) -> pd.DataFrame:
        return self._table(
            "predictions.parquet", remedy=f"remove it, then run: graftwork resume {self.folder}"
        )

    @property
    def evaluation(self) -> Evaluation:
        from graftwork.common.evaluation.results import Evaluation

        return Evaluation.from_json(
            read_json(self._there("metrics.json"), RunError, remedy=remedy_of("metrics.json"))
        )

    @property
    def further_evaluations(self) -> tuple[Evaluation, ...]:
        """The other evaluations: the part "seen" and further protocols of the dataset; see `evaluate_run`."""
        from graftwork.common.evaluation.evaluate_table import read_further

        return read_further(self.folder)

    @property
    def mistakes(self) -> list[dict[str, Any]]:
        return read_index(self.folder / "mistakes" / "index.json")

    @property
    def complete(self) -> bool:
        """Whether everything that the recipe asked for has been done, the report included."""
        wanted = ("metrics.json", "report.html", "MODEL_CARD.md")
        return all((self.folder / name).is_file() for name in wanted)

    # Writing

    @contextlib.contextmanager
    def writer(self, main: bool = True) -> Iterator[None]:
        """Hold the right to write into this run: one process at a time, of several that share the work `main`."""
        if not main:
            yield
            return
        with lock(self.folder / ".lock", "another process is working on this run"):
            remove_leftovers(self.folder)
            with contextlib.suppress(OSError):  # read-only: then nothing is written either
                compact_checksums(self.folder)
            for name in ("last", "best", "mistakes", "examples"):
                settle_folder(self.folder / name)
            yield

    def write_frozen(self, phase: int, decision: Mapping[str, Any]) -> None:
        """Note what was decided about the frozen stages of a phase, so that a resumed run does the same."""
        write_json(self.folder / "frozen.json", {**self.frozen, str(phase): dict(decision)})

    def write_environment(self, **changes: Any) -> None:
        """Add to or change environment.json."""
        write_json(self.folder / "environment.json", {**self.environment, **changes})

    def write_progress(self, state: State) -> None:
        """Bring log.jsonl, ledger.csv and quarantine.csv to what `state` says (lines after it are dropped)."""
        write_text(self.folder / "log.jsonl", "".join(json.dumps(line) + "\n" for line in state.log))
        self._write_csv("ledger.csv", LEDGER, state.ledger)
        if state.quarantine:
            cases = self.manifest.frame["case"]
            rows = [
                {"case": cases.iloc[int(row)], "stage": stage, "reason": reason}
                for row, (stage, reason) in sorted(state.quarantine.items(), key=lambda item: int(item[0]))
            ]
            self._write_csv("quarantine.csv", QUARANTINE, rows)
        else:
            (self.folder / "quarantine.csv").unlink(missing_ok=True)

    def forget_results(self) -> None:
        """Remove what came of an earlier training, so that it never passes for that of the one under way."""
        for name in RESULTS:
            (self.folder / name).unlink(missing_ok=True)
        for name in ("mistakes", "examples", "masks"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def save(
        self, which: str, model: Mapping[str, Tensor], optimizer: Mapping[str, Tensor], state: State
    ) -> None:
        """Write `last` or `best`: the three files together, or none."""
        described = {"graftwork": json.dumps(self.network, sort_keys=True)}
        with swap_folder(self.folder / which) as folder:
            save_tensors(folder / "model.safetensors", model, described)
            save_tensors(folder / "optimizer.safetensors", optimizer)
            write_json(folder / "state.json", vars(state))

    def saved(self, which: str) -> tuple[dict[str, Tensor], dict[str, Tensor], State] | None:
        """What `save` wrote: model, optimizer, state; None where nothing was written yet.

        Raises:
            RunError: a file of it is damaged.
        """
        folder = self.folder / which
        return read_saved(folder) if folder.is_dir() else None

    # Reading

    def _there(self, name: str) -> Path:
        place = self.folder / name
        if not place.is_file():
            raise RunError(
                f"{name} is not there yet",
                where=self.folder,
                remedy=f"resume with: graftwork resume {self.folder}",
            )
        return verified(place, remedy=remedy_of(name))

    def _table(self, name: str, remedy: str = "") -> pd.DataFrame:
        return read_parquet(self._there(name), RunError, remedy=remedy or remedy_of(name))

    def _write_csv(self, name: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
        with (
            writing(self.folder / name) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            table = csv.DictWriter(file, columns, lineterminator="\n")
            table.writeheader()
            table.writerows(rows)


def open_run(folder: str | os.PathLike[str]) -> Run:
    """Open the folder of a run, for reading.

    Raises:
        RunError: the folder is no run.
    """
    run = Run(folder)
    with contextlib.suppress(RunError):  # damage is reported when a file is read
        for name in run.unverified:
            log.warning("%s: %s is missing; its files are read unverified", run.folder / name, CHECKSUMS)
    return run


def begin_run(
    out: str | os.PathLike[str],
    name: str,
    recipe: Recipe,
    manifest: Manifest,
    split: Split,
    *,
    progress: Progress | None = None,
) -> Run:
    """Lay out the folder of a run: `<out>/<name>/<seed>-<hash of the recipe>/`.

    A folder of the same recipe and data is resumed.

    Raises:
        RunError: the folder cannot be written, or was started with other data.
    """
    folder = Path(out) / name / f"{recipe.seed}-{recipe.digest()[:8]}"
    if (folder / "recipe.toml").is_file():
        run = Run(folder)
        if run.recipe != recipe:
            raise RunError("holds another recipe", where=folder, remedy="choose another folder with --out")
        begun = run.manifest_at(manifest.root.absolute())
        check_same_rows(begun, manifest, where=folder)
        check_unchanged(begun.root, run.files, where=folder)
        if run.data != begun.root:  # moved; never written before it is known to be the same
            with run.writer():
                run.write_environment(data=str(begun.root))
        return run
    check_writable(folder)
    begin_checksums(folder)
    write_json(folder / "environment.json", describe_machine(name, manifest))
    manifest.save(folder / "manifest.parquet")
    split.save(folder / "split.csv")
    files = fingerprints(manifest, progress)
    with writing(folder / "files.parquet") as temporary:
        files.to_parquet(temporary, index=False, write_page_checksum=True)
    write_text(folder / "recipe.toml", to_toml(recipe))  # last: with it, the folder is a run
    return Run(folder)


class Stopwatch:
    """Seconds of work of a run, over all its resumptions, interrupted ones too; `main`: of the process that writes."""

    def __init__(self, run: Run, main: bool = True) -> None:
        self.run, self.main = run, main
        self.before, self.begun = float(run.environment["seconds"]), time.monotonic()

    def store(self, **changes: Any) -> None:
        """Write the seconds so far, and `changes`, to environment.json."""
        if self.main:
            seconds = round(self.before + time.monotonic() - self.begun, 1)
            self.run.write_environment(seconds=seconds, **changes)

    def __enter__(self) -> Stopwatch:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            with contextlib.suppress(GraftworkError):  # a full disk: the original error says so
                self.store()
