"""Every command as a plain function that returns a typed result and prints nothing.

The docstring of a function, up to `Args:`, is the help of its command. Heavy libraries are imported by the function
that needs them.
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
from graftwork.common.errors import UsageError, require_training
from graftwork.common.external.evaluate_any import evaluate, evaluate_readers
from graftwork.common.external.evaluate_regions import evaluate_boxes, evaluate_masks
from graftwork.common.external.evaluate_tables import FileEvaluation, calibrate, compare, evaluate_file
from graftwork.common.prediction import Outcome, merge, predict
from graftwork.common.recipe.allowances import ALLOWANCES, known_allowances
from graftwork.common.report.commands import listed
from graftwork.common.runs.preparation import prepared
from graftwork.common.searches import find_lr, select

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
    "FileEvaluation",
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
    "find_lr",
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

StrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class RunResult:
    """A complete run.

    Attributes:
        folder: the folder of the run.
        report: the HTML report.
        evaluation: the metrics with their intervals.
        further: the evaluations of other subsets, protocols and targets.
        already: whether the run was complete before, so that nothing was done.
    """

    folder: Path
    report: Path
    evaluation: Evaluation
    already: bool = False
    further: tuple[Evaluation, ...] = ()


def doctor() -> Checkup:
    """Check this machine: libraries, GPU, CPUs, memory, disk space, weights, DICOM decoders and domains.

    It takes at most two seconds, uses no internet and changes nothing.
    """
    from graftwork.common.doctor import examine

    return examine()


def check(
    dataset: str,
    data: StrPath,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Findings:
    """Check the files of a dataset and report all problems at once.

    It finds missing, damaged and unlisted files, duplicates, near-duplicates between the publisher's subsets,
    groups in two subsets, classes that are too small to split, impossible values, masks on another grid than
    their image, and mask values that are no class. Every image is fully decoded. The results are cached by the
    content of the files, so that a second check is fast.

    Args:
        dataset: a name that `ls datasets` lists.
        data: the folder with the unpacked dataset.
        workers: processes that decode images. None: one for each CPU.
        progress: called with (images done, total).

    Raises:
        UsageError: the dataset is unknown.
        DatasetError: the folder does not contain the dataset.
    """
    from graftwork.common.cache.file_facts import Cache
    from graftwork.common.data import checks, domain

    loaded = domain.dataset(dataset)
    manifest = loaded.read(data)
    chosen: dict[str, Any] = {} if workers is None else {"workers": workers}
    with Cache() as cache:
        return checks.check(manifest, extra=loaded.findings(data), cache=cache, progress=progress, **chosen)


def run(
    recipe: StrPath,
    data: StrPath,
    out: StrPath = "runs",
    overrides: str | Sequence[str] = (),
    *,
    allow_leak: bool = False,
    allow: Sequence[str] = (),
    progress: Callable[[str, int, int], None] | None = None,
) -> RunResult:
    """Run a recipe: train, predict, evaluate and write the report.

    The run is saved in OUT/RECIPE/SEED-HASH. The same command resumes an interrupted run, and does not repeat a
    complete run. Ctrl-C, SIGTERM and SIGUSR1 stop the run after the current step; nothing is lost.

    Args:
        recipe: a name that `ls recipes` lists, or a .toml file.
        data: the folder with the unpacked dataset.
        out: the folder in which runs are saved.
        overrides: `key=value`, as in `training.epochs=3`; `show recipe-keys` lists the keys.
        allow_leak: allow a group in two subsets, for studies of leakage. Every report shows it.
        allow: other reasons to accept a split that is otherwise refused ("look-alike-groups", ...). Every report
            shows them, and the recipe of the run keeps them as split.allow. "leak" is the same as `allow_leak`.
        progress: called with (current step, units done, total).

    Raises:
        RecipeError: the recipe or an override is invalid; lists all errors.
        UsageError: the data do not use a key of the recipe, or a name in `allow` is unknown.
        DatasetError, LeakError, WeightsError, RunError: the run cannot start or continue.
        Interrupted: stopped by a signal; the same call resumes.
    """
    require_training("graftwork run")
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
    already = begun.complete
    if not already:
        from graftwork.common.pipeline import run_pipeline

        run_pipeline(begun, progress)
    return _result(begun, already)


def resume(run: StrPath, *, progress: Callable[[str, int, int], None] | None = None) -> RunResult:
    """Resume an interrupted run. The result is identical to that of a run without interruption.

    Args:
        run: the folder of the run.
        progress: called with (current step, units done, total).

    Raises:
        RunError: the folder is no run, or its data have changed.
        Interrupted: stopped by a signal; the same call resumes.
    """
    require_training("graftwork resume")
    from graftwork.common.runs.provenance import check_unchanged
    from graftwork.common.runs.run_folder import open_run

    opened = open_run(run)
    if not opened.complete:
        check_unchanged(opened.data, opened.files, where=opened.folder)
    already = opened.complete
    if not already:
        from graftwork.common.pipeline import run_pipeline

        run_pipeline(opened, progress)
    return _result(opened, already)


@contextlib.contextmanager
def _main_process_first() -> Iterator[None]:
    """With torchrun, the first process creates the folder of the run before the others continue."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    import torch
    from accelerate import PartialState

    with PartialState(cpu=not torch.cuda.is_available()).main_process_first():
        yield


def _result(run: Run, already: bool) -> RunResult:
    page, further = run.folder / "report.html", run.further_evaluations
    return RunResult(run.folder, page, run.evaluation, already, further)


def further_evaluations(run: StrPath) -> tuple[Evaluation, ...]:
    """The evaluations of other subsets, protocols and targets, saved beside the first evaluation.

    Args:
        run: the folder of the run.
    """
    from graftwork.common.evaluation.evaluate_table import read_further

    return read_further(run)


def report(runs: StrPath | Sequence[StrPath], out: StrPath | None = None) -> Path:
    """Write the report of a run again, or one report that compares several runs.

    It needs no images and no internet.

    Args:
        runs: the folders of the runs; a folder that is given twice counts once.
        out: the file to write. None: report.html in the folder of the run, or comparison.html for several.

    Returns:
        the file.

    Raises:
        UsageError: no run is given.
        RunError: a folder is no run, or its run is not complete.
    """
    from graftwork.common.files import check_target
    from graftwork.common.report import report as write
    from graftwork.common.runs.run_folder import open_run

    if not runs:
        raise UsageError("no run is given", where="report", remedy="give the folder of at least one run")
    if out is not None:
        check_target(Path(out))
    different: dict[Path, StrPath] = {}
    # two patterns of a shell can match one run, which must not count as two seeds
    for each in [runs] if isinstance(runs, str | os.PathLike) else runs:
        different.setdefault(Path(each).resolve(), each)
    return write([open_run(each) for each in different.values()], None if out is None else Path(out))


def synthesize(dataset: str, folder: StrPath, *, cases: int = 60, seed: int = 0) -> Path:
    """Write a small synthetic dataset in the published layout, for trying things out.

    Args:
        dataset: a name that `ls datasets` lists.
        folder: a new or empty folder.
        cases: approximate number of images.
        seed: the same seed writes the same files.

    Raises:
        UsageError: the dataset is unknown, or the folder is not empty.
    """
    from graftwork.common.data import domain
    from graftwork.common.files import check_writable

    target = Path(folder)
    if cases < 1 or seed < 0:
        raise UsageError(
            f"cases or seed is out of range (found cases={cases} and seed={seed}, expected cases >= 1 and seed >= 0)",
            where="synthesize",
            remedy="use larger numbers",
        )
    found = domain.dataset(dataset)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError("the folder is not empty", where=target, remedy="choose another folder")
    check_writable(target)
    found.synthesize(target, cases=cases, seed=seed)
    return target


def regrid(mask: StrPath, like: StrPath, out: StrPath) -> Regridded:
    """Resample a mask to the grid of its image (nearest neighbour).

    Use it for a mask whose shape, voxel size or affine differs from its image. First look at both, and check that
    they show the same place. The header of the new file records the change. The number of voxels of each value
    before and after is reported, so that you notice a mask that lost its content.

    Args:
        mask: a NIfTI file of whole numbers.
        like: a NIfTI file on the grid that you want: the image.
        out: the file to write, .nii or .nii.gz.

    Raises:
        ImageError: a file cannot be read, or a value of the mask is not a whole number.
        UsageError: `out` is one of the two files, or its name does not end in .nii or .nii.gz.
    """
    from graftwork.common.data.volumes import regrid as resample

    return resample(mask, like, out)


def schema() -> dict[str, Any]:
    """Write the JSON Schema of recipes, with which an editor completes and checks a recipe."""
    from graftwork.common.recipe import schema as recipe_schema

    return recipe_schema()


def pack_weights(file: StrPath, backbones: str | Sequence[str] = ()) -> Sequence[WeightsRecord]:
    """Pack pretrained weights into one file, for a machine without internet.

    Args:
        file: the file to write.
        backbones: names in timm. Missing weights are downloaded from the Hugging Face hub, and the log says so.
            Empty: all weights on this machine, without any download.
    """
    require_training("graftwork weights pack")
    from graftwork.common.networks.weights import pack

    sources = ("file", "package", "hub") if backbones else ("file", "package")
    return pack(Path(file), listed(backbones), sources=sources)


def unpack_weights(file: StrPath) -> Sequence[WeightsRecord]:
    """Unpack a file written by `weights pack` into the weights folder.

    Args:
        file: a file written by `weights pack`.
    """
    from graftwork.common.networks.weights import unpack

    return unpack(Path(file))
