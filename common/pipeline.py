"""The stages of a run: train, predict, evaluate, report.

Each stage saves its result in the folder of the run before the next starts, so an interrupted run continues after
its last finished stage.
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
from graftwork.common.runs.run_evaluation import evaluate_run
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
SMALLER = f"{MORE}; or start a new run with a smaller image.size, backbone.name"


def run_pipeline(run: Run, progress: Progress | None = None) -> None:
    """Do the remaining stages of a run, up to its report.

    Raises:
        Interrupted: a signal came; everything done so far is saved.
        RunError, WeightsError, ImageError: see `train`, `load_weights`.
    """
    accelerator = accelerator_for(run)
    main = accelerator.is_main_process
    with run.writer(main), Signals(run.folder) as signals, Stopwatch(run, main) as clock:
        accelerator.wait_for_everyone()  # the main process has the folder ready for the others
        with signals.at_once(), memory_for("building the network", SMALLER, where=run.folder):
            task = task_of(run, accelerator, signals, progress)
        clock.store()
        fit: Callable[..., object] = solve_probe if run.recipe.strategy.regularisation_strengths else train
        with memory_for("training", f"{SMALLER}, training.batch_size or training.workers", where=run.folder):
            fit(
                run, task.network, task.training_source, task.loss,
                validate=task.validate, primary=run.protocol.primary, classes=task.balanced,
                accelerator=accelerator, signals=signals, progress=progress,
            )  # fmt: skip
            merge(task.network)
            task.network.load_state_dict(_best(run), strict=True)
        if not (run.folder / "predictions.parquet").is_file():
            with memory_for("predicting", f"{SMALLER} or training.workers", where=run.folder):
                task.predict(task.prediction_source())
        if main:
            with signals.at_once():
                with memory_for("evaluating", "lower evaluation.bootstrap", where=run.folder):
                    evaluate_run(run)
                with memory_for("writing the report", MORE, where=run.folder):
                    task.write_examples()
                    clock.store(finished=datetime.now(UTC).isoformat(timespec="seconds"))
                    write_text(run.folder / "MODEL_CARD.md", model_card(run))
                    report([run])
        accelerator.wait_for_everyone()


def _best(run: Run) -> dict[str, torch.Tensor]:
    saved = run.saved("best")
    if saved is None:
        raise RunError(
            "the weights of the best epoch are missing",
            where=run.folder / "best",
            remedy="remove the folder last to train again",
        )
    return saved[0]
