"""A run from where it stands to its report: network, training, predictions, evaluation, images, report.

Each stage leaves its result in the run's folder before the next begins, so that whatever ends the process, the
next call goes on behind the last stage that was done.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import torch

from graftwork.common.errors import RunError
from graftwork.common.files import write_text
from graftwork.common.memory import memory_for
from graftwork.common.networks.lora import merge
from graftwork.common.report import model_card, report
from graftwork.common.runs.run_folder import Stopwatch
from graftwork.common.runs.signals import Signals
from graftwork.common.training.linear_probe import solve_probe
from graftwork.common.training.loop import train
from graftwork.common.training.setup import accelerator_for, task_of

if TYPE_CHECKING:
    from graftwork.common.runs.provenance import Progress
    from graftwork.common.runs.run_folder import Run


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
        learn: Callable[..., object] = solve_probe if run.recipe.strategy.regularisation_strengths else train
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


def _best(run: Run) -> dict[str, torch.Tensor]:
    saved = run.saved("best")
    if saved is None:
        raise RunError(
            "the best epoch is gone", where=run.folder / "best", remedy="remove the folder last to train anew"
        )
    return saved[0]
