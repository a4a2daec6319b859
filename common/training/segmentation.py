"""Segmentation of images or volumes: network, loss, training data, validation and masks of a run.

A unit is evaluated as a whole: a volume, a stack of slices, or a single image.
"""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graftwork.common.data.images import read_image
from graftwork.common.data.masks import measure, write_mask
from graftwork.common.data.volumes import Geometry, is_volume, read_geometry, read_volume
from graftwork.common.errors import UsageError
from graftwork.common.evaluation.metrics.mask_overlap import segmentation_score
from graftwork.common.files import writing
from graftwork.common.loading.batches import Failure, batches
from graftwork.common.loading.samples import MaskSource, VolumeSource, Whole
from graftwork.common.loading.target_encoding import UNKNOWN_MASK
from graftwork.common.loading.transforms import (
    Preprocessing,
    VolumePreprocessing,
    augmenter,
    volume_augmenter,
)
from graftwork.common.networks.network import AnyPreprocessing
from graftwork.common.networks.unets import UNET3D
from graftwork.common.training.example_images.overlays import write_examples
from graftwork.common.training.inference import (
    Check,
    Validation,
    check_finite,
    evaluated_parts,
    quarantine,
    read_first,
    settle,
    shared,
    stoppable,
    to_device,
)
from graftwork.common.training.losses import dice_loss
from graftwork.common.training.network_setup import network_of

if TYPE_CHECKING:
    from accelerate import Accelerator
    from numpy.typing import NDArray

    from graftwork.common.data.manifest import Manifest
    from graftwork.common.recipe.strategy import Plan
    from graftwork.common.runs.provenance import Progress
    from graftwork.common.runs.run_folder import Run
    from graftwork.common.runs.signals import Signals


Classes: TypeAlias = "NDArray[np.uint8]"
Source: TypeAlias = MaskSource | VolumeSource


@dataclass(frozen=True)
class Unit:
    """A unit of evaluation: its name, its part, and its rows in the manifest in slice order."""

    name: str
    part: str
    rows: tuple[int, ...]


def units_of(manifest: Manifest, rows: NDArray[np.int64], part: str) -> list[Unit]:
    """The units of some rows, in the order in which they first occur."""
    frame = manifest.frame.iloc[rows]
    if not manifest.unit or manifest.holds_volumes:
        return [Unit(str(case), part, (int(row),)) for case, row in zip(frame["case"], rows, strict=True)]
    order = frame["slice"].to_numpy() if "slice" in frame.columns else np.arange(len(frame))
    found: dict[str, list[tuple[Any, int]]] = {}
    for name, at, row in zip(frame[manifest.unit].astype(str), order, rows.tolist(), strict=True):
        found.setdefault(name, []).append((at, row))
    return [Unit(name, part, tuple(row for _, row in sorted(members))) for name, members in found.items()]


class SegmentationTask:
    """A run that segments images or volumes.

    Attributes:
        network: a U-Net on a timm encoder, or one for volumes.
        source: images and their masks, or blocks of volumes and of theirs.
        balanced: None, as a mask has many classes at once; see `ClassificationTask.balanced`.
        loss: logits and truth to the loss of each case.
    """

    def __init__(
        self, run: Run, accelerator: Accelerator, signals: Signals, progress: Progress | None
    ) -> None:
        self.run, self.accelerator, self.signals, self.progress = run, accelerator, signals, progress
        manifest, recipe = run.manifest, run.recipe
        _refuse_wrong_network(manifest, recipe.backbone.name)
        self.network, self.preprocessing, _ = network_of(run, accelerator)
        self.source: MaskSource | VolumeSource
        if isinstance(self.preprocessing, VolumePreprocessing):
            self.source = VolumeSource(
                manifest, self.preprocessing, patches=recipe.volume.patches_per_volume,
                augment=volume_augmenter(recipe.augmentation), seed=recipe.seed,
            )  # fmt: skip
        else:
            self.source = MaskSource(
                manifest, self.preprocessing, augment=augmenter(recipe.augmentation), seed=recipe.seed
            )
        self.loss = dice_loss(recipe.training.label_smoothing)
        self.classes = manifest.target.classes
        if accelerator.is_main_process and not (run.folder / "last").is_dir():
            read_first(run, Whole(self.source), self._progress("reading the evaluated parts"), size=1)

    balanced = None

    def training_source(self, plan: Plan, number: int, first: int) -> tuple[Source, int]:
        """See `loop.Sources`: always images or volumes, without cached features."""
        return self.source, 0

    def prediction_source(self) -> Source:
        """The images or volumes."""
        return self.source

    def _progress(self, what: str) -> Check:
        return stoppable(what, self.signals, self.progress)

    def validate(self, source: Source, check: Check) -> Validation:
        """Loss and primary metric of the validation part, unit by unit."""
        units = units_of(self.run.manifest, self.run.split.rows("validation"), "validation")
        losses: list[float] = []
        rows: list[tuple[int, dict[str, Any]]] = []
        failures: list[Failure] = []
        distances = self.run.protocol.primary == "hausdorff_95"  # slow, so only if it is the primary metric
        for at, unit, pictures, failed in self._segmented(source, units, check, losses):
            failures += failed
            if pictures:
                rows.append((at, self._row(unit, pictures, distances, whole=not failed)))
        rows = sorted(shared(rows, self.accelerator), key=lambda pair: pair[0])
        losses = shared(losses, self.accelerator)
        failures = shared(failures, self.accelerator)
        known = [loss for loss in losses if not math.isnan(loss)]
        value = float("nan")
        if rows:
            import pandas as pd

            table = pd.DataFrame([row for _, row in rows])
            value = segmentation_score(
                self.run.protocol.primary, table, self.classes, self.run.protocol.empty
            )
        return Validation(
            math.fsum(known) / len(known) if known else None, None if math.isnan(value) else value, failures
        )

    def predict(self, source: Any) -> None:
        """Write the masks of the evaluated parts and their overlap with the truth; only this reads the test parts."""
        import pandas as pd

        run, main = self.run, self.accelerator.is_main_process
        if main:
            shutil.rmtree(run.folder / "masks", ignore_errors=True)
        self.accelerator.wait_for_everyone()
        units = [
            unit
            for part in evaluated_parts(run)
            for unit in units_of(run.manifest, run.split.rows(part), part)
        ]
        rows: list[tuple[int, dict[str, Any]]] = []
        failures: list[Failure] = []
        for at, unit, pictures, failed in self._segmented(source, units, self._progress("predicting")):
            failures += failed
            for picture in pictures:
                self._write(picture)
            if pictures:
                rows.append((at, self._row(unit, pictures, True, whole=not failed)))
        rows = sorted(shared(rows, self.accelerator), key=lambda pair: pair[0])
        failures = shared(failures, self.accelerator)
        if main:
            _, _, state = run.saved("last")  # type: ignore[misc]
            quarantine(state, failures, run.recipe.training.max_unreadable_files, run)
            run.write_progress(state)
            with writing(run.folder / "predictions.parquet") as temporary:
                pd.DataFrame([row for _, row in rows]).to_parquet(
                    temporary, index=False, write_page_checksum=True
                )

    def write_examples(self) -> None:
        """Write the images of the best, the median and the worst unit."""
        write_examples(self.run)

    def _segmented(
        self, source: Source, units: Sequence[Unit], check: Check, losses: list[float] | None = None
    ) -> Iterator[tuple[int, Unit, list[_Segmented], list[Failure]]]:
        """This process's share of the units, one after the other: its place, the unit, its images that could be read
        with the network's and the true classes, and the others. `losses` gets the loss of each image."""
        accelerator = self.accelerator
        settle(self.network, accelerator)
        mine = range(accelerator.process_index, len(units), accelerator.num_processes)
        plan = [np.array([row]) for at in mine for row in units[at].rows]
        workers, done = self.run.recipe.training.workers, 0
        with (
            torch.inference_mode(),
            accelerator.autocast(),
            contextlib.closing(batches(Whole(source), plan, workers=workers)) as reader,
        ):
            for at in mine:
                pictures: list[_Segmented] = []
                failures: list[Failure] = []
                for row in units[at].rows:
                    batch = next(reader)
                    failures += batch.failures
                    if len(batch):
                        logits = logits_of(self.network, self.preprocessing, batch.inputs, accelerator.device)
                        truth = batch.targets[0].numpy()
                        if losses is not None:
                            losses.append(self._loss(logits, truth))
                        pictures.append(
                            _Segmented(row, truth, decided(logits, self.preprocessing, truth.shape))
                        )
                    done += 1
                    check(done, len(plan))
                yield at, units[at], pictures, failures

    def _loss(self, logits: Tensor, truth: Classes) -> float:
        """Of one image or volume; NaN where its mask is not known."""
        if (truth == UNKNOWN_MASK).any():
            return float("nan")
        fitted = (
            self.preprocessing.fitted_mask(truth) if isinstance(self.preprocessing, Preprocessing) else truth
        )
        wanted = torch.from_numpy(np.ascontiguousarray(fitted))[None].to(logits.device)
        return float(self.loss(logits, wanted))

    def _write(self, picture: _Segmented) -> None:
        manifest = self.run.manifest
        case = str(manifest.frame["case"].iloc[picture.row])
        file = manifest.file(picture.row)
        volume = is_volume(file)
        place = self.run.folder / "masks" / f"{case}{'.nii.gz' if volume else '.png'}"
        place.parent.mkdir(parents=True, exist_ok=True)
        like = read_geometry(file) if volume else None
        write_mask(place, picture.predicted, manifest.target.values, like)

    def _row(
        self, unit: Unit, pictures: Sequence[_Segmented], distances: bool, *, whole: bool
    ) -> dict[str, Any]:
        """What a unit's table row holds: who it is, the counts, the distances, and the covariates that are constant.

        `whole`: every image of it could be read; else its truth is not known, as where a mask is missing.
        """
        frame = self.run.manifest.frame.iloc[[picture.row for picture in pictures]]
        first = frame.iloc[0]
        spacing, same = self._spacing(frame), len({picture.truth.shape for picture in pictures}) == 1
        truth, predicted = (
            _stacked([getattr(picture, which) for picture in pictures], same)
            for which in ("truth", "predicted")
        )
        known = whole and not (truth == UNKNOWN_MASK).any()
        found: dict[str, Any] = measure(
            truth if known else np.zeros_like(truth), predicted, self.classes,
            _sides(spacing, truth.ndim) if distances and same else None,
        )  # fmt: skip
        if not known:  # an unknown mask is not an empty mask
            found |= {name: math.nan for name in found if not name.startswith("predicted_")}
        covariates = {
            name: first[name] if frame[name].nunique(dropna=False) == 1 else None
            for name in self.run.manifest.covariates
            if name not in ("slice", "spacing")
        }
        return {
            "case": unit.name, "group": first["group"], "part": unit.part, "path": first["path"],
            "images": len(pictures), "spacing": spacing, **found, **covariates,
        }  # fmt: skip

    def _spacing(self, frame: Any) -> str | None:
        """mm between the voxels of a unit as text, in the order of its axes; None where it is not known."""
        first = self.run.manifest.root / str(frame["path"].iloc[0])
        if is_volume(first):
            return " ".join(f"{side:g}" for side in canonical_spacing(read_geometry(first)))
        if "spacing" not in frame.columns or frame["spacing"].isna().any() or frame["spacing"].nunique() > 1:
            return None
        if "slice" in frame.columns and (np.diff(frame["slice"].to_numpy()) != 1).any():
            return None  # a slice is missing: the spacing of the table does not hold
        return str(frame["spacing"].iloc[0])


@dataclass(frozen=True)
class _Segmented:
    """A row of the manifest with its true and its predicted classes, in the image's own size (canonical order)."""

    row: int
    truth: Classes
    predicted: Classes


def _stacked(planes: Sequence[Classes], same: bool) -> Classes:
    """One array of a unit: a volume as it is, slices as [slice, row, column], of several sizes one after the other."""
    if len(planes) == 1:
        return planes[0]
    return np.stack(planes) if same else np.concatenate([plane.ravel() for plane in planes])


def _sides(spacing: str | None, axes: int) -> tuple[float, ...] | None:
    sides = tuple(float(side) for side in spacing.split()) if spacing else ()
    return sides[-axes:] if len(sides) >= axes else None


def canonical_spacing(geometry: Geometry) -> tuple[float, ...]:
    """mm between voxels along the axes of a volume in canonical order."""
    from graftwork.common.data.volumes import nifti

    places = nifti.orientation(geometry.affine)[:, 0].astype(int).tolist()
    return tuple(geometry.spacing[places.index(axis)] for axis in range(3))


def _refuse_wrong_network(manifest: Manifest, name: str) -> None:
    volumes = [is_volume(path) for path in manifest.frame["path"]]
    if any(volumes) != all(volumes):
        raise UsageError(
            "the dataset has both images and volumes",
            where=manifest.dataset,
            remedy="train on one kind at a time",
        )
    if any(volumes) and name != UNET3D:
        raise UsageError(
            f"{name} is a network for images, but the data are volumes",
            where="backbone.name",
            remedy=f'set backbone.name = "{UNET3D}"',
        )
    if not any(volumes) and name == UNET3D:
        raise UsageError(
            f"{UNET3D} is a network for volumes, but the data are images",
            where="backbone.name",
            remedy="name one of timm's networks, such as tf_efficientnet_lite0",
        )


def logits_of(
    network: nn.Module, preprocessing: AnyPreprocessing, inputs: Tensor, device: torch.device
) -> Tensor:
    """Logits [1, classes, *size] of one image [1, 3, size, size], or of one volume [1, 1, X, Y, Z] of any size.

    A volume is worked through in blocks that overlap; where they do, their logits are averaged, the middle of a block
    weighing most (a Gaussian window).

    Raises:
        RunError: the network's output is not finite.
    """
    if isinstance(preprocessing, Preprocessing):
        logits = network(to_device(inputs, device))
    else:
        from monai.inferers.inferer import SlidingWindowInferer

        inferer = SlidingWindowInferer(
            preprocessing.patch, sw_batch_size=4, overlap=preprocessing.overlap, mode="gaussian"
        )
        blocks: Callable[[Tensor], Tensor] = lambda block: network(block.to(device)).float()  # noqa: E731
        logits = inferer(inputs.to(device), blocks)
    logits = logits.float()
    check_finite(logits)
    return cast(Tensor, logits)


def decided(logits: Tensor, preprocessing: AnyPreprocessing, shape: Sequence[int]) -> Classes:
    """The likeliest class of each pixel of an image of `shape`, or of each voxel.

    Of an image the probabilities are brought from the network's size to the image's own first.
    """
    if isinstance(preprocessing, Preprocessing):
        top, left, *inner = preprocessing.window(shape[0], shape[1])
        scores = logits.softmax(dim=1)[..., top : top + inner[0], left : left + inner[1]]
        if tuple(scores.shape[-2:]) != tuple(shape):
            scores = F.interpolate(
                scores, size=tuple(shape), mode="bilinear", align_corners=False, antialias=True
            )
    else:
        scores = logits
    return scores[0].argmax(dim=0).to(torch.uint8).cpu().numpy()


def segment_picture(
    network: nn.Module, preprocessing: AnyPreprocessing, path: str | Path
) -> tuple[Classes, Geometry | None]:
    """The classes of an image [H, W] in its own size, or of a volume [X, Y, Z] in canonical order, with its geometry.

    A pure function of the network and the file; nothing is kept of the one for the next.

    Args:
        network: in eval mode, on its device.

    Raises:
        ImageError: the file cannot be read. RunError: the network's output is not finite.
    """
    device = next(network.parameters()).device
    with torch.inference_mode():
        if isinstance(preprocessing, Preprocessing):
            picture = read_image(path, constant="allow")
            inputs = torch.from_numpy(np.ascontiguousarray(preprocessing(picture)))[None]
            logits = logits_of(network, preprocessing, inputs, device)
            return decided(logits, preprocessing, picture.pixels.shape[:2]), None
        volume = read_volume(path)
        inputs = torch.from_numpy(preprocessing(volume))[None]
        return decided(logits_of(network, preprocessing, inputs, device), preprocessing, ()), volume.geometry
