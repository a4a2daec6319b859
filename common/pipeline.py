"""A run from where it stands to its report: network, training, predictions, evaluation, pictures, report.

Each stage leaves its result in the run's folder before the next begins, so that whatever ends the process, the
next call goes on behind the last stage that was done.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import torch

from graftwork.common.adapters import merge
from graftwork.common.classifying import Classifying
from graftwork.common.errors import RunError
from graftwork.common.features import best_precision
from graftwork.common.files import write_text
from graftwork.common.memory import memory_for
from graftwork.common.probing import solve_probe
from graftwork.common.provenance import library_versions
from graftwork.common.report import model_card, report
from graftwork.common.runs import Stopwatch
from graftwork.common.segmenting import Segmenting
from graftwork.common.signals import Signals
from graftwork.common.training import train

if TYPE_CHECKING:
    from accelerate import Accelerator

    from graftwork.common.provenance import Progress
    from graftwork.common.runs import Run

__all__ = ["accelerator_for", "carry_out", "task_of"]

log = logging.getLogger("graftwork")

MORE = "close other programs, or use a machine with more memory"
SMALLER = f"{MORE}; or begin a new run with a smaller image.size, backbone.name"


def carry_out(run: Run, progress: Progress | None = None) -> None:
    """Do what is left to do in a run, up to its report.

    Raises:
        Interrupted: a signal came; all that was done is kept.
        RunError, WeightsError, ImageError: see `train`, `load_weights`.
    """
    accelerator = accelerator_for(run)
    main = accelerator.is_main_process
    with run.writer(main), Signals(run.folder) as signals, Stopwatch(run, main) as clock:
        accelerator.wait_for_everyone()  # the folder is settled: now all may read where the run stands
        with signals.at_once(), memory_for("building the network", SMALLER, where=run.folder):
            task = task_of(run, accelerator, signals, progress)
        clock.store()
        learn: Callable[..., object] = solve_probe if run.recipe.strategy.strengths else train
        with memory_for("training", f"{SMALLER}, training.batch_size or training.workers", where=run.folder):
            learn(
                run, task.network, task.learn_from, task.minimise,
                validate=task.validate, primary=run.protocol.primary, classes=task.balanced,
                accelerator=accelerator, signals=signals, progress=progress,
            )  # fmt: skip
            merge(task.network)
            task.network.load_state_dict(_best(run), strict=True)
        if not (run.folder / "predictions.parquet").is_file():
            with memory_for("predicting", f"{SMALLER} or training.workers", where=run.folder):
                task.predict()
        if main:
            with signals.at_once():
                with memory_for("evaluating", "lower evaluation.bootstrap", where=run.folder):
                    run.judge()
                with memory_for("writing the report", MORE, where=run.folder):
                    task.illustrate()
                    clock.store(finished=datetime.now(UTC).isoformat(timespec="seconds"))
                    write_text(run.folder / "MODEL_CARD.md", model_card(run))
                    report([run])
        accelerator.wait_for_everyone()


def task_of(
    run: Run, accelerator: Accelerator, signals: Signals, progress: Progress | None
) -> Classifying | Segmenting:
    """The parts of a run: its network, what it learns from, and how it is judged."""
    doing = Segmenting if run.manifest.target.kind == "segmentation" else Classifying
    return doing(run, accelerator, signals, progress)


def accelerator_for(run: Run) -> Accelerator:
    """Device, precision and processes. On a CPU a run is resumed with as many threads as it began with."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what deterministic sums on a GPU ask for
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()  # the run before this one, in the same process, may have had another precision
    asked = str(run.environment.get("precision") or run.recipe.training.precision)
    if asked == "auto":
        asked = best_precision(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    accelerator = Accelerator(
        mixed_precision="bf16" if asked == "bfloat16" else "no",
        cpu=not torch.cuda.is_available(),  # else it does not see the processes that torchrun started on a CPU
    )
    torch.use_deterministic_algorithms(True, warn_only=True)
    threads = run.environment.get("threads")
    if threads:
        torch.set_num_threads(threads)
        _say_what_changed(run, accelerator)
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


def _say_what_changed(run: Run, accelerator: Accelerator) -> None:
    """Warn where a run goes on under other conditions, under which its bytes may differ."""
    begun = run.environment
    then = {**begun["versions"], "device": begun.get("device"), "processes": begun.get("processes")}
    now = {**library_versions(), "device": accelerator.device.type, "processes": accelerator.num_processes}
    changed = [
        f"{name} {then.get(name)}, now {now.get(name)}"
        for name in {**then, **now}
        if then.get(name) != now.get(name)
    ]
    if changed:
        log.warning("this run began with %s: it may end with slightly other numbers", "; ".join(changed))


def _best(run: Run) -> dict[str, torch.Tensor]:
    saved = run.saved("best")
    if saved is None:
        raise RunError(
            "the best epoch is gone", where=run.folder / "best", remedy="remove the folder last to train anew"
        )
    return saved[0]
