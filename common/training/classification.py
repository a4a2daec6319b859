"""Image classification: network, loss, training data, validation and predictions of a run."""

from __future__ import annotations

import logging
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import torch

from graftwork.common.errors import RunError, UsageError
from graftwork.common.evaluation import score
from graftwork.common.files import writing
from graftwork.common.freezing.feature_cache import FeatureSource, compute_features, worth_keeping
from graftwork.common.freezing.freeze import frozen_stages
from graftwork.common.loading.batches import Failure
from graftwork.common.loading.image_cache import decode_once
from graftwork.common.loading.samples import ImageSource
from graftwork.common.loading.target_encoding import encode, outputs, probabilities
from graftwork.common.loading.transforms import Preprocessing, augmenter
from graftwork.common.networks.cutting import Cut, Uncut, cut, fingerprint
from graftwork.common.networks.engines import Engine
from graftwork.common.networks.input_checks import check_inputs
from graftwork.common.networks.network import Network
from graftwork.common.runs.training_state import State
from graftwork.common.training.example_images.grad_cam import write_mistakes
from graftwork.common.training.inference import (
    Check,
    Validation,
    evaluated_parts,
    predict_rows,
    prediction_table,
    quarantine,
    stoppable,
)
from graftwork.common.training.losses import loss_for
from graftwork.common.training.network_setup import network_of
from graftwork.common.training.schedule import plan_for

if TYPE_CHECKING:
    from accelerate import Accelerator
    from numpy.typing import NDArray

    from graftwork.common.data.targets import Target
    from graftwork.common.recipe.strategy import Plan
    from graftwork.common.runs.provenance import Progress
    from graftwork.common.runs.run_folder import Run
    from graftwork.common.runs.signals import Signals


log = logging.getLogger("graftwork")

Source: TypeAlias = ImageSource | FeatureSource


class ClassificationTask:
    """A run that classifies images, for one target or several.

    Attributes:
        network: a backbone with a head.
        images: the images of the manifest as network input.
        loss: logits and truth to the loss of each case.
    """

    def __init__(
        self, run: Run, accelerator: Accelerator, signals: Signals, progress: Progress | None
    ) -> None:
        if run.manifest.holds_volumes:
            raise UsageError(
                "volumes can be segmented but not classified",
                where=run.manifest.dataset,
                remedy="use a dataset of images, or one with masks",
            )
        self.run, self.accelerator, self.signals, self.progress = run, accelerator, signals, progress
        network, preprocessing, _ = network_of(run, accelerator)
        self.network = cast(Network, network)
        self.images = ImageSource(
            run.manifest,
            cast(Preprocessing, preprocessing),
            augment=augmenter(run.recipe.augmentation),
            seed=run.recipe.seed,
        )
        self._cuts: dict[int, Cut | Uncut] = {}
        self._decoded = False
        truth = self.images.targets[run.split.rows("train")]
        self.loss = loss_for(run.manifest.targets, run.recipe.training, truth, accelerator.device)

    def training_source(self, plan: Plan, number: int, first: int) -> tuple[Source, int]:
        """See `loop.Sources`: cached features of the frozen stages if that saves work, else images, decoded once."""
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
        if decided["keep"]:
            return self._features(stages), stages
        self._decode()
        return self.images, 0

    def _decide(self, plan: Plan, number: int, first: int, stages: int) -> dict[str, Any]:
        """Whether the features of the frozen stages of a phase are cached, and why; a resumed run decides the same."""
        recipe, phase = self.run.recipe, plan.phases[number]
        names, augmented = self.network.stages, self.images.augment is not None
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
            evaluated=sum(len(self.run.split.rows(part)) for part in evaluated_parts(self.run)),
            views=recipe.augmentation.views,
            fresh=augmented and not recipe.augmentation.views,
        )
        return said | {"keep": decision.keep, "why": decision.why}

    def _cut(self, stages: int) -> Cut | Uncut:
        if stages not in self._cuts:
            self._cuts[stages] = cut(self.network.backbone, stages, size=self.run.recipe.image.size)
        return self._cuts[stages]

    def _features(self, stages: int) -> FeatureSource:
        """The features of the first stages for every case; the network then starts after these stages."""
        run, recipe, backbone = self.run, self.run.recipe, self.network.backbone
        found = self._cut(stages)
        if isinstance(found, Uncut):
            raise RunError(
                f"cached features cannot be used: {found.reason}",
                where=run.folder,
                remedy="delete the cache folder (`graftwork doctor` shows it) and run the command again",
            )
        with self.accelerator.main_process_first():  # the others read them from the cache
            source = compute_features(
                backbone,
                self.images,
                run.files["sha256"].tolist(),
                cut=found,
                weights=fingerprint(backbone, stages),
                device=self.accelerator.device,
                precision=str(run.environment["precision"]),
                workers=recipe.training.workers,
                views=recipe.augmentation.views if self.images.augment is not None else 0,
                changed=run.split.rows("train"),
                engine=self._engine(),
                chosen=self._note_engine,
                progress=self._progress("computing features of the frozen stages"),
            )
        if stages < len(self.network.stages):
            self.network.enter(found)
        return source

    def _engine(self) -> str:
        """The engine that the run started with; a run that started without one (version 0.1) continues with torch."""
        recorded = self.run.environment.get("engine")
        return str(recorded or ("torch" if self.run.saved("last") else self.run.recipe.engine))

    def _note_engine(self, engine: Engine) -> None:
        """Write the engine of cached features to environment.json, so that a resumed run uses the same."""
        if self.accelerator.is_main_process and self.run.environment.get("engine") != engine.name:
            choice = None if engine.choice is None else asdict(engine.choice)
            self.run.write_environment(
                engine=engine.name, engine_version=engine.version, engine_choice=choice
            )

    def _decode(self) -> None:
        """Read each image once, also of the evaluated parts, so that a damaged image does not end a long run."""
        run = self.run
        if self._decoded:
            return
        self._decoded = True
        with self.accelerator.main_process_first():
            failures = decode_once(
                self.images,
                np.concatenate([run.split.rows(part) for part in ("train", *evaluated_parts(run))]),
                run.files["sha256"].tolist(),
                workers=run.recipe.training.workers,
                progress=self._progress("reading images"),
            )
        if self.accelerator.is_main_process:
            quarantine(State(), failures, run.recipe.training.max_unreadable_files, run)
        told = [self.images[0, row][0] for row in run.split.rows("train")[:8].tolist()]
        first = [torch.from_numpy(each) for each in told if not isinstance(each, Failure)]
        if first:
            about = self.images.preprocessing
            check_inputs(torch.stack(first), mean=about.mean, std=about.std, size=about.size)

    def _progress(self, what: str) -> Check:
        return stoppable(what, self.signals, self.progress)

    def validate(self, source: Source, check: Check) -> Validation:
        """Loss and primary metric of the validation part, image by image, from the output of `training_source`.

        The metric is computed for the target of the protocol; images of a unit are only combined in the final
        evaluation.
        """
        run, rows = self.run, self.run.split.rows("validation")
        logits, failures = predict_rows(
            self.network, source, rows,
            accelerator=self.accelerator, outputs=outputs(run.manifest.targets),
            workers=run.recipe.training.workers, progress=check,
        )  # fmt: skip
        read = ~np.isnan(logits).any(axis=1)
        tensor = torch.from_numpy(logits[read])
        device = self.accelerator.device
        truth = torch.from_numpy(source.targets[rows[read]])
        loss = self.loss(tensor.to(device), truth.to(device))
        target, columns = self._protocol_target()
        scores = probabilities(run.manifest.targets, tensor.double()).numpy()[:, columns]
        codes = encode([target], run.manifest.frame.iloc[rows[read]])
        value = score(run.protocol.primary, target.kind, target.classes, codes, scores)
        return Validation(
            float(loss.mean()) if len(loss) else None, None if math.isnan(value) else value, failures
        )

    @property
    def balanced(self) -> NDArray[np.int64] | None:
        """The class of each training case for balanced sampling; None if the recipe does not ask for it.

        Raises:
            UsageError: the first target has no exclusive classes.
        """
        if self.run.recipe.training.sampling != "balanced":
            return None
        target = self.run.manifest.targets[0]
        if target.kind == "multi-label":
            raise UsageError(
                f"{target.name} can have several labels per case, so sampling cannot be balanced by class",
                where="training.sampling",
                remedy="use training.class_weights=balanced",
            )
        return np.asarray(
            encode([target], self.run.manifest.frame.iloc[self.run.split.rows("train")]), np.int64
        )

    def _protocol_target(self) -> tuple[Target, slice]:
        """The target of the protocol, and the columns of its scores."""
        name, at = self.run.protocol.target, 0
        for target in self.run.manifest.targets:
            if name in ("", target.name):
                return target, slice(at, at + len(target.classes))
            at += len(target.classes)
        raise UsageError(
            f"the target {name!r} of the protocol is missing in this dataset",
            where=self.run.protocol.name,
            remedy="choose another protocol with evaluation.protocol",
        )

    def prediction_source(self) -> Source:
        """The training source of the phase of the best epoch, which may be cached features."""
        _, _, state = self.run.saved("last")  # type: ignore[misc]
        plan = plan_for(self.run.recipe, self.network)
        return self.training_source(plan, *plan.at(state.best_epoch, state.plateaus))[0]

    def predict(self, source: Any) -> None:
        """Write the scores of the evaluated parts; the test parts are read only here."""
        run, parts = self.run, evaluated_parts(self.run)
        _, _, state = run.saved("last")  # type: ignore[misc]
        rows = np.concatenate([run.split.rows(part) for part in parts])
        logits, failures = predict_rows(
            self.network, source, rows,
            accelerator=self.accelerator, outputs=outputs(run.manifest.targets),
            workers=run.recipe.training.workers, progress=self._progress("predicting"),
        )  # fmt: skip
        if self.accelerator.is_main_process:
            quarantine(state, failures, run.recipe.training.max_unreadable_files, run)
            run.write_progress(state)
            with writing(run.folder / "predictions.parquet") as temporary:
                prediction_table(run.manifest, rows, run.split.parts.to_numpy()[rows], logits).to_parquet(
                    temporary, index=False, write_page_checksum=True
                )

    def write_examples(self) -> None:
        """Write the images of the most confident mistakes."""
        self.network.enter(None)
        plain = ImageSource(self.run.manifest, self.images.preprocessing)
        write_mistakes(self.run, self.network, plain, self.accelerator.device)
