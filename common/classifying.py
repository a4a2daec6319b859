"""A run whose pictures are classified: what its network learns from, how it is judged, and what it predicts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from graftwork.common.errors import UsageError
from graftwork.common.evaluation import score
from graftwork.common.explanation import write_mistakes
from graftwork.common.features import FeatureSource, compute_features
from graftwork.common.files import writing
from graftwork.common.freezing import apply, backbone_is_fixed, trainability
from graftwork.common.networks import Network
from graftwork.common.objectives import objective
from graftwork.common.prediction import (
    Check,
    Validation,
    heeding,
    parts_judged,
    predict_rows,
    prediction_table,
    quarantine,
    read_first,
)
from graftwork.common.sources import ImageSource
from graftwork.common.tasks import encode, outputs, probabilities
from graftwork.common.training import begin_network
from graftwork.common.transforms import Preprocessing, augmenter
from graftwork.common.volumes import is_volume

if TYPE_CHECKING:
    from accelerate import Accelerator

    from graftwork.common.manifest import Target
    from graftwork.common.provenance import Progress
    from graftwork.common.runs import Run
    from graftwork.common.signals import Signals
    from graftwork.common.weights import WeightsRecord

__all__ = ["Classifying"]


class Classifying:
    """The parts of a run that classifies; one target or several.

    Attributes:
        network: a backbone with a head.
        source: what it learns from: pictures, or the output of a backbone that never changes.
        minimise: the loss of each case.
    """

    def __init__(
        self, run: Run, accelerator: Accelerator, signals: Signals, progress: Progress | None
    ) -> None:
        if any(is_volume(path) for path in run.manifest.frame["path"]):
            raise UsageError("volumes are outlined, and not classified", where=run.manifest.dataset)
        self.run, self.accelerator, self.signals, self.progress = run, accelerator, signals, progress
        network, preprocessing, record = begin_network(run, accelerator)
        self.network = cast(Network, network)
        self.pictures = ImageSource(
            run.manifest,
            cast(Preprocessing, preprocessing),
            augment=augmenter(run.recipe.augmentation),
            seed=run.recipe.seed,
        )
        self.source = self._source(record)
        truth = self.pictures.targets[run.split.rows("train")]
        self.minimise = objective(run.manifest.targets, run.recipe.training, truth, accelerator.device)

    def _source(self, record: WeightsRecord | None) -> ImageSource | FeatureSource:
        run, recipe = self.run, self.run.recipe
        main = self.accelerator.is_main_process
        modes = [
            trainability(recipe.strategy.name, recipe.strategy.norm, self.network.stages, epoch=epoch)
            for epoch in range(1, recipe.training.epochs + 1)
        ]
        if self.pictures.augment is not None or not backbone_is_fixed(modes) or record is None:
            if main and not (run.folder / "last").is_dir():
                read_first(run, self.pictures, self._check("reading the parts that are judged"))
            return self.pictures
        apply(self.network, modes[0])
        backbone = self.network.backbone
        with self.accelerator.main_process_first():  # the others find them in the cache
            return compute_features(
                backbone,
                self.pictures,
                run.files["sha256"].tolist(),
                weights=f"{backbone.name} {record.sha256} {record.padding}",
                device=self.accelerator.device,
                precision=recipe.training.precision,
                workers=recipe.training.workers,
                progress=self._check("features of the frozen backbone"),
            )

    def _check(self, what: str) -> Check:
        return heeding(what, self.signals, self.progress)

    def validate(self, check: Check) -> Validation:
        """Loss and primary metric of the validation part, picture by picture.

        The metric is that of the protocol's target; what the protocol puts together is judged so in the end alone.
        """
        run, rows = self.run, self.run.split.rows("validation")
        logits, failures = predict_rows(
            self.network, self.source, rows,
            accelerator=self.accelerator, outputs=outputs(run.manifest.targets),
            workers=run.recipe.training.workers, progress=check,
        )  # fmt: skip
        read = ~np.isnan(logits).any(axis=1)
        tensor = torch.from_numpy(logits[read])
        device = self.accelerator.device
        truth = torch.from_numpy(self.source.targets[rows[read]])
        loss = self.minimise(tensor.to(device), truth.to(device))
        target, columns = self._judged()
        scores = probabilities(run.manifest.targets, tensor.double()).numpy()[:, columns]
        codes = encode([target], run.manifest.frame.iloc[rows[read]])
        value = score(run.protocol.primary, target.kind, target.classes, codes, scores)
        return Validation(
            float(loss.mean()) if len(loss) else None, None if math.isnan(value) else value, failures
        )

    def _judged(self) -> tuple[Target, slice]:
        """The target of the protocol, and where its scores stand among those of all."""
        name, at = self.run.protocol.target, 0
        for target in self.run.manifest.targets:
            if name in ("", target.name):
                return target, slice(at, at + len(target.classes))
            at += len(target.classes)
        raise UsageError(
            f"the protocol judges {name!r}, which this dataset does not tell", where=self.run.protocol.name
        )

    def predict(self) -> None:
        """Write the scores of the parts that are judged; this is the one time that the test parts are read."""
        run, parts = self.run, parts_judged(self.run)
        rows = np.concatenate([run.split.rows(part) for part in parts])
        logits, failures = predict_rows(
            self.network, self.source, rows,
            accelerator=self.accelerator, outputs=outputs(run.manifest.targets),
            workers=run.recipe.training.workers, progress=self._check("predicting"),
        )  # fmt: skip
        if self.accelerator.is_main_process:
            _, _, state = run.saved("last")  # type: ignore[misc]
            quarantine(state, failures, run.recipe.training.tolerance, run)
            run.write_progress(state)
            with writing(run.folder / "predictions.parquet") as temporary:
                prediction_table(run.manifest, rows, run.split.parts.to_numpy()[rows], logits).to_parquet(
                    temporary, index=False
                )

    def illustrate(self) -> None:
        """Write the pictures of the most confident mistakes."""
        plain = ImageSource(self.run.manifest, self.pictures.preprocessing)
        write_mistakes(self.run, self.network, plain, self.accelerator.device)
