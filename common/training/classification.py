"""A run whose images are classified: what its network learns from, how it is judged, and what it predicts."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from graftwork.common.data.volumes import is_volume
from graftwork.common.errors import RunError, UsageError
from graftwork.common.evaluation import score
from graftwork.common.files import writing
from graftwork.common.freezing.feature_cache import FeatureSource, compute_features, worth_keeping
from graftwork.common.freezing.strategies import frozen_stages
from graftwork.common.loading.batches import Failure
from graftwork.common.loading.image_cache import decode_once
from graftwork.common.loading.samples import ImageSource
from graftwork.common.loading.target_encoding import encode, outputs, probabilities
from graftwork.common.loading.transforms import Preprocessing, augmenter
from graftwork.common.networks.cutting import Cut, Uncut, cut, fingerprint
from graftwork.common.networks.input_checks import check_inputs
from graftwork.common.networks.network import Network
from graftwork.common.runs.training_state import State
from graftwork.common.training.checkpoints import begin_network
from graftwork.common.training.grad_cam import write_mistakes
from graftwork.common.training.inference import (
    Check,
    Validation,
    heeding,
    parts_judged,
    predict_rows,
    prediction_table,
    quarantine,
)
from graftwork.common.training.losses import objective
from graftwork.common.training.schedule import plan_for

if TYPE_CHECKING:
    from accelerate import Accelerator
    from numpy.typing import NDArray

    from graftwork.common.data.targets import Target
    from graftwork.common.freezing.strategies import Plan
    from graftwork.common.runs.provenance import Progress
    from graftwork.common.runs.run_folder import Run
    from graftwork.common.runs.signals import Signals


log = logging.getLogger("graftwork")


class Classifying:
    """The parts of a run that classifies; one target or several.

    Attributes:
        network: a backbone with a head.
        source: what it learns from and is judged on: images, or the kept output of frozen stages.
        minimise: the loss of each case.
    """

    def __init__(
        self, run: Run, accelerator: Accelerator, signals: Signals, progress: Progress | None
    ) -> None:
        if any(is_volume(path) for path in run.manifest.frame["path"]):
            raise UsageError("volumes are outlined, and not classified", where=run.manifest.dataset)
        self.run, self.accelerator, self.signals, self.progress = run, accelerator, signals, progress
        network, preprocessing, _ = begin_network(run, accelerator)
        self.network = cast(Network, network)
        self.pictures = ImageSource(
            run.manifest,
            cast(Preprocessing, preprocessing),
            augment=augmenter(run.recipe.augmentation),
            seed=run.recipe.seed,
        )
        self.source: ImageSource | FeatureSource = self.pictures
        self._cuts: dict[int, Cut | Uncut] = {}
        self._decoded = False
        truth = self.pictures.targets[run.split.rows("train")]
        self.minimise = objective(run.manifest.targets, run.recipe.training, truth, accelerator.device)

    def learn_from(self, plan: Plan, number: int, first: int) -> tuple[ImageSource | FeatureSource, int]:
        """See `training.Sources`: the kept output of the frozen stages where that saves work, else images, decoded
        once."""
        run, network = self.run, self.network
        stages = frozen_stages(plan.phases[number].modes)
        key = str(number + 1)
        if self.accelerator.is_main_process and key not in run.frozen:
            said = self._decide(plan, number, first, stages)
            run.write_frozen(number + 1, said)
            log.info("%s: %s", said["phase"], said["why"])
        self.accelerator.wait_for_everyone()  # all of them wait, whether the decision was there or not
        decided = run.frozen[key]
        network.enter(None)
        self.source, kept = self.pictures, 0
        if decided["keep"]:
            self.source, kept = self._features(stages), stages
        else:
            self._decode()
        return self.source, kept

    def _decide(self, plan: Plan, number: int, first: int, stages: int) -> dict[str, Any]:
        """Whether what the frozen stages of a phase put out is kept, and why; arithmetic alone, so that a resumed run
        would decide the same."""
        recipe, phase = self.run.recipe, plan.phases[number]
        names, augmented = self.network.stages, self.pictures.augment is not None
        said = {"phase": phase.name, "stages": stages, "behind": names[stages - 1] if stages else ""}
        mixes = recipe.training.mixup or recipe.training.cutmix
        if not stages:
            return said | {"keep": False, "why": "the first stage is not frozen"}
        if mixes:
            return said | {"keep": False, "why": "features not cached: each step mixes other images"}
        if recipe.strategy.regularisation_strengths:
            return said | {
                "keep": True,
                "why": f"features cached after {said['behind']}: the head is solved on them",
            }
        last = plan.last_epoch(number, recipe.training.epochs)
        found = self._cut(stages)
        if isinstance(found, Uncut):
            return said | {"keep": False, "why": f"features not cached: {found.reason}"}
        decision = worth_keeping(
            self.network.backbone,
            found,
            stages,
            size=recipe.image.size,
            epochs=recipe.strategy.unfreeze_patience + 1 if last is None else last - first + 1,
            trained=len(self.run.split.rows("train")),
            judged=sum(len(self.run.split.rows(part)) for part in parts_judged(self.run)),
            views=recipe.augmentation.views,
            fresh=augmented and not recipe.augmentation.views,
        )
        return said | {"keep": decision.keep, "why": decision.why}

    def _cut(self, stages: int) -> Cut | Uncut:
        if stages not in self._cuts:
            self._cuts[stages] = cut(self.network.backbone, stages, size=self.run.recipe.image.size)
        return self._cuts[stages]

    def _features(self, stages: int) -> FeatureSource:
        """What the first stages, as they are now, put out for every case; the network enters behind them."""
        run, recipe, backbone = self.run, self.run.recipe, self.network.backbone
        found = self._cut(stages)
        if isinstance(found, Uncut):
            raise RunError(
                f"what was kept cannot be entered again: {found.reason}",
                where=run.folder,
                remedy="delete the cache folder (`graftwork doctor` names it) and give the command again",
            )
        with self.accelerator.main_process_first():  # the others find them in the cache
            source = compute_features(
                backbone,
                self.pictures,
                run.files["sha256"].tolist(),
                cut=found,
                weights=fingerprint(backbone, stages),
                device=self.accelerator.device,
                precision=str(run.environment["precision"]),
                workers=recipe.training.workers,
                views=recipe.augmentation.views if self.pictures.augment is not None else 0,
                changed=run.split.rows("train"),
                progress=self._check("features of the frozen stages"),
            )
        if stages < len(self.network.stages):
            self.network.enter(found)
        return source

    def _decode(self) -> None:
        """Read each image once, the judged ones too, so that a damaged one ends no long run."""
        run = self.run
        if self._decoded:
            return
        self._decoded = True
        with self.accelerator.main_process_first():
            failures = decode_once(
                self.pictures,
                np.concatenate([run.split.rows(part) for part in ("train", *parts_judged(run))]),
                run.files["sha256"].tolist(),
                workers=run.recipe.training.workers,
                progress=self._check("reading images"),
            )
        if self.accelerator.is_main_process:
            quarantine(State(), failures, run.recipe.training.max_unreadable_files, run)
        told = [self.pictures[0, row][0] for row in run.split.rows("train")[:8].tolist()]
        first = [torch.from_numpy(each) for each in told if not isinstance(each, Failure)]
        if first:
            about = self.pictures.preprocessing
            check_inputs(torch.stack(first), mean=about.mean, std=about.std, size=about.size)

    def _check(self, what: str) -> Check:
        return heeding(what, self.signals, self.progress)

    def validate(self, check: Check) -> Validation:
        """Loss and primary metric of the validation part, image by image.

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

    @property
    def balanced(self) -> NDArray[np.int64] | None:
        """The class of each training case by which sampling is balanced; None where the recipe does not ask for it.

        Raises:
            UsageError: the first target has no exclusive classes.
        """
        if self.run.recipe.training.sampling != "balanced":
            return None
        target = self.run.manifest.targets[0]
        if target.kind == "multi-label":
            raise UsageError(
                f"{target.name} has labels that go together, so there is no one class to balance by",
                where="training.sampling",
                remedy="use training.class_weights=balanced",
            )
        return np.asarray(
            encode([target], self.run.manifest.frame.iloc[self.run.split.rows("train")]), np.int64
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
        _, _, state = run.saved("last")  # type: ignore[misc]
        plan = plan_for(run.recipe, self.network)
        self.learn_from(plan, *plan.at(state.best_epoch, state.plateaus))
        rows = np.concatenate([run.split.rows(part) for part in parts])
        logits, failures = predict_rows(
            self.network, self.source, rows,
            accelerator=self.accelerator, outputs=outputs(run.manifest.targets),
            workers=run.recipe.training.workers, progress=self._check("predicting"),
        )  # fmt: skip
        if self.accelerator.is_main_process:
            quarantine(state, failures, run.recipe.training.max_unreadable_files, run)
            run.write_progress(state)
            with writing(run.folder / "predictions.parquet") as temporary:
                prediction_table(run.manifest, rows, run.split.parts.to_numpy()[rows], logits).to_parquet(
                    temporary, index=False, write_page_checksum=True
                )

    def illustrate(self) -> None:
        """Write the images of the most confident mistakes."""
        self.network.enter(None)
        plain = ImageSource(self.run.manifest, self.pictures.preprocessing)
        write_mistakes(self.run, self.network, plain, self.accelerator.device)
