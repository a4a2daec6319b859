"""A run from where it stands to its report: network, training, predictions, evaluation, mistakes, report.

Each stage leaves its result in the run's folder before the next begins, so that whatever ends the process, the
next call goes on behind the last stage that was done.
"""

from __future__ import annotations

import contextlib
import logging
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from graftwork.common.batches import Failure, ImageSource, batches
from graftwork.common.errors import RunError
from graftwork.common.explanation import write_mistakes
from graftwork.common.features import FeatureSource, compute_features
from graftwork.common.files import write_json, write_text, writing
from graftwork.common.freezing import apply, backbone_is_fixed, trainability
from graftwork.common.networks import Network, build_network, describe
from graftwork.common.objectives import objective
from graftwork.common.prediction import predict_rows, prediction_table
from graftwork.common.provenance import library_versions
from graftwork.common.report import model_card, report
from graftwork.common.runs import State, Stopwatch
from graftwork.common.signals import Signals
from graftwork.common.training import quarantine, train
from graftwork.common.transforms import Preprocessing, augmenter

if TYPE_CHECKING:
    from collections.abc import Callable

    from accelerate import Accelerator

    from graftwork.common.provenance import Progress
    from graftwork.common.runs import Run
    from graftwork.common.weights import WeightsRecord

__all__ = ["carry_out"]

log = logging.getLogger("graftwork")


def carry_out(run: Run, progress: Progress | None = None) -> None:
    """Do what is left to do in a run, up to its report.

    Raises:
        Interrupted: a signal came; all that was done is kept.
        RunError, WeightsError, ImageError: see `train`, `load_weights`.
    """
    accelerator = _accelerator(run)
    main = accelerator.is_main_process
    with run.writer(main), Signals(run.folder) as signals, Stopwatch(run, main) as clock:
        accelerator.wait_for_everyone()  # the folder is settled: now all may read where the run stands
        source, network = _prepare(run, accelerator, signals, progress)
        clock.store()
        truth = source.targets[run.split.rows("train")]
        minimise = objective(run.manifest.target, run.recipe.training, truth, accelerator.device)
        train(
            run, network, source, minimise,
            primary=run.protocol.primary, accelerator=accelerator, signals=signals, progress=progress,
        )  # fmt: skip
        network.load_state_dict(_best(run), strict=True)
        if not (run.folder / "predictions.parquet").is_file():
            _predict(run, network, source, accelerator, signals, progress)
        if main:
            run.judge()
            signals.check()
            write_mistakes(run, network, _pictures(run), accelerator.device)
            clock.store(finished=datetime.now(UTC).isoformat(timespec="seconds"))
            write_text(run.folder / "MODEL_CARD.md", model_card(run))
            report([run])
        accelerator.wait_for_everyone()


def _accelerator(run: Run) -> Accelerator:
    """Device, precision and processes. On a CPU a run is resumed with as many threads as it began with."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what deterministic sums on a GPU ask for
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()  # the run before this one, in the same process, may have had another precision
    accelerator = Accelerator(
        mixed_precision="bf16" if run.recipe.training.precision == "bfloat16" else "no",
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


def _check_weights(run: Run, record: WeightsRecord | None) -> None:
    """A run that was trained on some pretrained weights never goes on with others."""
    if record is None or not (run.folder / "last").is_dir():
        return
    then = run.network["weights"]
    if then is not None and then["sha256"] != record.sha256:
        raise RunError(
            f"the pretrained weights ({record.origin}) are not those this run began with ({then['origin']})",
            where=run.folder,
            remedy="restore them, or begin a new run with --out elsewhere",
        )


def _note(what: str, signals: Signals, progress: Progress | None) -> Callable[[int, int], None]:
    """Progress of work of which nothing must be written before a signal ends it."""

    def note(done: int, total: int) -> None:
        signals.check()
        if progress is not None:
            progress(what, done, total)

    return note


def _prepare(
    run: Run, accelerator: Accelerator, signals: Signals, progress: Progress | None
) -> tuple[ImageSource | FeatureSource, Network]:
    """The network and what it learns from: pictures, or the output of a backbone that never changes."""
    recipe = run.recipe
    network, preprocessing, record = build_network(recipe, run.manifest.target)
    _check_weights(run, record)
    network.to(accelerator.device)
    if accelerator.is_main_process:
        write_json(run.folder / "network.json", describe(network, preprocessing, record, run.manifest.target))
    pictures = ImageSource(
        run.manifest, preprocessing, augment=augmenter(recipe.augmentation), seed=recipe.seed
    )
    modes = [
        trainability(recipe.strategy.name, recipe.strategy.norm, network.stages, epoch=epoch)
        for epoch in range(1, recipe.training.epochs + 1)
    ]
    if pictures.augment is not None or not backbone_is_fixed(modes) or record is None:
        if accelerator.is_main_process and not (run.folder / "last").is_dir():
            _read_first(run, pictures, _note("reading validation and test", signals, progress))
        return pictures, network

    apply(network, modes[0])
    with accelerator.main_process_first():  # the others find them in the cache
        features = compute_features(
            network.backbone,
            pictures,
            run.files["sha256"].tolist(),
            weights=f"{network.backbone.name} {record.sha256} {record.padding}",
            device=accelerator.device,
            precision=recipe.training.precision,
            workers=recipe.training.workers,
            progress=_note("features of the frozen backbone", signals, progress),
        )
    return features, network


def _read_first(run: Run, pictures: ImageSource, note: Callable[[int, int], None]) -> None:
    """Read each picture of validation and test once before hours of training, so that a damaged one ends no long run.

    Raises:
        RunError: more of them than the recipe bears cannot be read; lists them all.
    """
    rows = np.concatenate([run.split.rows(part) for part in ("validation", "test")])
    plan = [rows[at : at + 32] for at in range(0, len(rows), 32)]
    failures: list[Failure] = []
    with contextlib.closing(batches(pictures, plan, workers=run.recipe.training.workers)) as reader:
        for done, batch in enumerate(reader, 1):
            failures += batch.failures
            note(min(32 * done, len(rows)), len(rows))
    quarantine(State(), failures, run.recipe.training.tolerance, run)


def _predict(
    run: Run,
    network: Network,
    source: Any,
    accelerator: Accelerator,
    signals: Signals,
    progress: Progress | None,
) -> None:
    """Scores of validation and test by the best epoch; this is the one time that the test part is read."""
    rows = np.concatenate([run.split.rows(part) for part in ("validation", "test")])
    logits, failures = predict_rows(
        network, source, rows,
        accelerator=accelerator, outputs=len(run.manifest.target.classes), workers=run.recipe.training.workers,
        progress=_note("predicting", signals, progress),
    )  # fmt: skip
    if accelerator.is_main_process:
        _, _, state = run.saved("last")  # type: ignore[misc]
        quarantine(state, failures, run.recipe.training.tolerance, run)
        run.write_progress(state)
        parts = run.split.parts.to_numpy()[rows]
        with writing(run.folder / "predictions.parquet") as temporary:
            prediction_table(run.manifest, rows, parts, logits).to_parquet(temporary, index=False)


def _best(run: Run) -> dict[str, torch.Tensor]:
    saved = run.saved("best")
    if saved is None:
        raise RunError(
            "the best epoch is gone", where=run.folder / "best", remedy="remove the folder last to train anew"
        )
    return saved[0]


def _pictures(run: Run) -> ImageSource:
    return ImageSource(run.manifest, Preprocessing.from_json(run.network["preprocessing"]))
