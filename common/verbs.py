"""What a user does, as plain functions: each takes words and folders, returns a typed result, prints nothing.

The command line is these functions and no more. Each docstring, up to its `Args:`, is the help of its verb.
Heavy libraries are imported by the verb that needs them.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graftwork.common.catalogue import (
    BackboneEntry,
    Entry,
    Kind,
    Shown,
    cp,
    find_recipe,
    ls,
    recipe_keys,
    show,
)
from graftwork.common.errors import UsageError
from graftwork.common.external.evaluate_any import evaluate, evaluate_readers
from graftwork.common.external.evaluate_regions import evaluate_boxes, evaluate_masks
from graftwork.common.external.evaluate_tables import Judged, calibrate, compare, evaluate_file
from graftwork.common.prediction import Outcome, merge, predict
from graftwork.common.recipe.allowances import ALLOWANCES, known_allowances
from graftwork.common.report.commands import listed
from graftwork.common.runs.preparation import prepared
from graftwork.common.searches import find_rate, select

if TYPE_CHECKING:
    from graftwork.common.data.checks import Findings
    from graftwork.common.data.volumes import Regridded
    from graftwork.common.doctor import Checkup
    from graftwork.common.evaluation.results import Evaluation
    from graftwork.common.networks.weights import WeightsRecord
    from graftwork.common.runs.run_folder import Run

__all__ = [
    "BackboneEntry",
    "Entry",
    "Judged",
    "Kind",
    "Outcome",
    "RunResult",
    "Shown",
    "calibrate",
    "check",
    "compare",
    "cp",
    "doctor",
    "evaluate",
    "evaluate_boxes",
    "evaluate_file",
    "evaluate_masks",
    "evaluate_readers",
    "find_rate",
    "find_recipe",
    "further_evaluations",
    "ls",
    "merge",
    "pack_weights",
    "predict",
    "recipe_keys",
    "regrid",
    "report",
    "resume",
    "run",
    "schema",
    "select",
    "show",
    "synthesize",
    "unpack_weights",
]


Words = str | os.PathLike[str]


@dataclass(frozen=True)
class RunResult:
    """A run that is complete.

    Attributes:
        folder: of the run.
        report: the page to open.
        evaluation: the numbers, with their intervals.
        further: those of further parts, protocols and targets.
        already: it was complete before; nothing was done.
    """

    folder: Path
    report: Path
    evaluation: Evaluation
    already: bool = False
    further: tuple[Evaluation, ...] = ()


def doctor() -> Checkup:
    """Say what this machine can do: libraries, device, processors, memory, room, weights, decoders, domains.

    Takes two seconds at most, uses no network, and changes nothing.
    """
    from graftwork.common.doctor import examine

    return examine()


def check(
    dataset: str,
    data: Words,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Findings:
    """Check a dataset before it is used, and report everything at once.

    Files that are missing, damaged or listed nowhere, duplicates, near-duplicates across the publisher's
    parts, groups that stand in two parts, classes too small to split, impossible values, masks off the grid of
    their picture or with values that are no class. Every picture is decoded in full; what was found is
    remembered by content, so a second check is quick.

    Args:
        dataset: as `ls datasets` lists it.
        data: the folder in which it was unpacked.
        workers: processes that decode; None for as many as there are processors.
        progress: called with (pictures done, pictures in all).

    Raises:
        UsageError: there is no such dataset.
        DatasetError: the folder does not hold it.
    """
    from graftwork.common.cache.file_facts import Cache
    from graftwork.common.data import checks, domain

    loaded = domain.dataset(dataset)
    manifest = loaded.read(data)
    chosen: dict[str, Any] = {} if workers is None else {"workers": workers}
    with Cache() as cache:
        return checks.check(manifest, extra=loaded.findings(data), cache=cache, progress=progress, **chosen)


def run(
    recipe: Words,
    data: Words,
    out: Words = "runs",
    overrides: str | Sequence[str] = (),
    *,
    allow_leak: bool = False,
    allow: Sequence[str] = (),
    progress: Callable[[str, int, int], None] | None = None,
) -> RunResult:
    """Carry a recipe out, from the files of its dataset to a report.

    The run lies in OUT/RECIPE/SEED-HASH. Asked for again, a run that was interrupted goes on, and one that is
    complete is left as it is. Ctrl-C, SIGTERM and SIGUSR1 end it after the step at hand; nothing is lost.

    Args:
        recipe: as `ls recipes` lists it, or a .toml file.
        data: the folder in which the dataset was unpacked.
        out: the folder of runs.
        overrides: `key=value`, as in `training.epochs=3`; `show recipe-keys` lists the keys.
        allow_leak: let groups stand in two parts, for studies of leakage; stamped on every report.
        allow: what else is allowed where the split is refused ("look-alike-groups", ...); stamped too, and kept in the
            recipe of the run as split.allow. "leak" is `allow_leak`.
        progress: called with (what is being done, units done, units in all).

    Raises:
        RecipeError: all faults of the recipe and the overrides at once.
        UsageError: the recipe sets what its data have no use for; an unknown name in `allow`.
        DatasetError, LeakError, WeightsError, RunError: before or during the work; says what to do.
        Interrupted: by a signal; the same call goes on.
    """

    from graftwork.common.runs.run_folder import begin_run

    overrides = [overrides] if isinstance(overrides, str) else overrides
    permitted = set(known_allowances(allow))
    if allow_leak or "leak" in permitted:
        overrides = (*overrides, "split.allow_leak=true")
    name, asked = find_recipe(recipe, overrides)
    more = [each for each in ALLOWANCES if each in {*permitted, *asked.split.allow} - {"leak"}]
    if more and more != list(asked.split.allow):
        name, asked = find_recipe(recipe, (*overrides, f"split.allow={json.dumps(more)}"))
    manifest, parts = prepared(asked, data)
    with _main_process_first():
        begun = begin_run(out, name, asked, manifest, parts, progress=progress)
    return _carry_out(begun, progress)


def resume(run: Words, *, progress: Callable[[str, int, int], None] | None = None) -> RunResult:
    """Go on with a run that was interrupted; it ends as if it had not been.

    Args:
        run: its folder.
        progress: called with (what is being done, units done, units in all).

    Raises:
        RunError: not the folder of a run, or its data are not those that it began with.
        Interrupted: by a signal; the same call goes on.
    """
    from graftwork.common.runs.provenance import check_unchanged
    from graftwork.common.runs.run_folder import open_run

    opened = open_run(run)
    if not opened.complete:
        check_unchanged(opened.data, opened.files, where=opened.folder)
    return _carry_out(opened, progress)


@contextlib.contextmanager
def _main_process_first() -> Iterator[None]:
    """Of the processes that torchrun started, the first lays out the folder, and the others find it there."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    import torch
    from accelerate import PartialState

    with PartialState(cpu=not torch.cuda.is_available()).main_process_first():
        yield


def _carry_out(run: Run, progress: Callable[[str, int, int], None] | None) -> RunResult:
    already = run.complete
    if not already:
        from graftwork.common.pipeline import carry_out

        carry_out(run, progress)
    page, further = run.folder / "report.html", run.further_evaluations
    return RunResult(run.folder, page, run.evaluation, already, further)


def further_evaluations(run: Words) -> tuple[Evaluation, ...]:
    """What `evaluate` wrote beside the first evaluation: of further parts, protocols and targets.

    Args:
        run: its folder.
    """
    from graftwork.common.evaluation.evaluate_table import kept_further

    return kept_further(run)


def report(runs: Words | Sequence[Words], out: Words | None = None) -> Path:
    """Write the report of a run anew, or one page that compares several.

    Needs neither the network nor the pictures.

    Args:
        runs: their folders; one that is named twice counts once.
        out: the file to write; None for report.html in the run's folder, comparison.html of several.

    Returns:
        the page.

    Raises:
        UsageError: no run was named.
        RunError: not the folder of a run, or it is not complete.
    """
    from graftwork.common.files import check_target
    from graftwork.common.report import report as write
    from graftwork.common.runs.run_folder import open_run

    if not runs:
        raise UsageError("no run was named", where="report", remedy="give the folder of at least one run")
    if out is not None:
        check_target(Path(out))
    different: dict[Path, Words] = {}
    for each in (
        [runs] if isinstance(runs, str | os.PathLike) else runs
    ):  # two patterns of a shell may name one run, which must not count as two seeds
        different.setdefault(Path(each).resolve(), each)
    return write([open_run(each) for each in different.values()], None if out is None else Path(out))


def synthesize(dataset: str, folder: Words, *, cases: int = 60, seed: int = 0) -> Path:
    """Write a small made-up dataset in the published layout, to try things on. It is no data.

    Args:
        dataset: as `ls datasets` lists it.
        folder: where; it must be empty or missing.
        cases: pictures, about.
        seed: equal seeds write equal files.

    Raises:
        UsageError: there is no such dataset, or the folder holds something.
    """
    from graftwork.common.data import domain
    from graftwork.common.files import check_writable

    target = Path(folder)
    if cases < 1 or seed < 0:
        raise UsageError(
            "expected at least one case and a seed of at least 0",
            where="synthesize",
            remedy="give larger numbers",
        )
    found = domain.dataset(dataset)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError("exists and is not empty", where=target, remedy="choose another folder")
    check_writable(target)
    found.synthesize(target, cases=cases, seed=seed)
    return target


def regrid(mask: Words, like: Words, out: Words) -> Regridded:
    """Put a mask on the grid of its image: the nearest voxel in the world, no value is interpolated.

    For a mask whose shape, voxel size or affine differs from its image's, once somebody has looked at both and
    found that they show the same place. What was done stands in the header of the file that is written; the
    voxels of each value before and after are told, so that a mask that lost its content is seen.

    Args:
        mask: a NIfTI file of whole numbers.
        like: a NIfTI file on the grid that is wanted: the image.
        out: the file to write, .nii or .nii.gz.

    Raises:
        ImageError: a file cannot be read, or the mask holds what is not a whole number.
        UsageError: `out` is one of the two, or no NIfTI file by its name.
    """
    from graftwork.common.data.volumes import regrid as put

    return put(mask, like, out)


def schema() -> dict[str, Any]:
    """Write the JSON Schema of a recipe, with which an editor completes and checks it while it is written."""
    from graftwork.common.recipe import schema as of_recipe

    return of_recipe()


def pack_weights(file: Words, backbones: str | Sequence[str] = ()) -> Sequence[WeightsRecord]:
    """Pack pretrained weights into one file, to carry them to a machine without internet.

    Args:
        file: the file to write.
        backbones: their timm names, fetched from the Hugging Face hub where they are not here (the log says so);
            none for all that are here, of which nothing is fetched.
    """
    from graftwork.common.networks.weights import pack

    sources = ("file", "package", "hub") if backbones else ("file", "package")
    return pack(Path(file), listed(backbones), sources=sources)


def unpack_weights(file: Words) -> Sequence[WeightsRecord]:
    """Unpack a file that `weights pack` wrote, into the folder in which weights are looked for.

    Args:
        file: what `weights pack` wrote.
    """
    from graftwork.common.networks.weights import unpack

    return unpack(Path(file))
