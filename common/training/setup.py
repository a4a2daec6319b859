"""The parts of a training: device, precision and processes, and the task that a recipe asks for."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, cast

import torch

from graftwork.common.freezing.feature_cache import best_precision
from graftwork.common.memory import keep_freed_memory
from graftwork.common.runs.provenance import library_versions
from graftwork.common.training.classification import ClassificationTask
from graftwork.common.training.segmentation import SegmentationTask

if TYPE_CHECKING:
    from accelerate import Accelerator

    from graftwork.common.runs.provenance import Progress
    from graftwork.common.runs.run_folder import Run
    from graftwork.common.runs.signals import Signals

log = logging.getLogger("graftwork")


def task_of(
    run: Run, accelerator: Accelerator, signals: Signals, progress: Progress | None
) -> ClassificationTask | SegmentationTask:
    """The task of a run: network, loss, training data, validation and prediction."""
    task = SegmentationTask if run.manifest.target.kind == "segmentation" else ClassificationTask
    return task(run, accelerator, signals, progress)


def accelerator_for(run: Run) -> Accelerator:
    """Device, precision and processes. On a CPU, a run resumes with the number of threads it started with."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # needed for deterministic sums on a GPU
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()  # an earlier run in this process may have used another precision
    asked = str(run.environment.get("precision") or run.recipe.training.precision)
    if asked == "auto":
        asked = best_precision(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    accelerator = Accelerator(
        mixed_precision="bf16" if asked == "bfloat16" else "no",
        cpu=not torch.cuda.is_available(),  # else it ignores processes that torchrun started on a CPU
    )
    torch.use_deterministic_algorithms(True, warn_only=True)
    # no memory is read before it is written, so new tensors need not be filled
    cast(Any, torch.utils.deterministic).fill_uninitialized_memory = False
    keep_freed_memory()
    threads = run.environment.get("threads")
    if threads:
        torch.set_num_threads(threads)
        _warn_of_changes(run, accelerator)
    elif accelerator.is_main_process:
        device = accelerator.device
        run.write_environment(
            device=device.type,
            device_name=torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
            threads=torch.get_num_threads(),
            precision=asked,
            processes=accelerator.num_processes,
        )
    return accelerator


def _warn_of_changes(run: Run, accelerator: Accelerator) -> None:
    """Warn if a run resumes under other conditions, which may change its results slightly."""
    begun = run.environment
    then = {**begun["versions"], "device": begun.get("device"), "processes": begun.get("processes")}
    now = {**library_versions(), "device": accelerator.device.type, "processes": accelerator.num_processes}
    changed = [
        f"{name} {then.get(name)}, now {now.get(name)}"
        for name in {**then, **now}
        if then.get(name) != now.get(name)
    ]
    if changed:
        log.warning("this run started with %s: its results may differ slightly", "; ".join(changed))
