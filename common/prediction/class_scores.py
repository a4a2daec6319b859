"""The scores of files by a classifier: read by loading processes, sent through the network in batches of one shape.

A batch that is not full, or of which files could not be read, is filled up, so that what is computed of a file does
not depend on which others are predicted with it: of a shard, after a kill or of new files alone, it is the same.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch

from graftwork.common.data.images import read_image
from graftwork.common.errors import ImageError
from graftwork.common.loading.batches import Failure, batches
from graftwork.common.loading.target_encoding import probabilities
from graftwork.common.networks.costs import multiply_adds
from graftwork.common.networks.cutting import Cut, cut
from graftwork.common.networks.engines import MEASURED_FROM, SAMPLE, engine_for
from graftwork.common.prediction.row_stream import one_line
from graftwork.common.prediction.training_overlap import SEEN_PARTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graftwork.common.data.targets import Target
    from graftwork.common.loading.transforms import Preprocessing
    from graftwork.common.networks.network import Network
    from graftwork.common.prediction.image_list import Listing
    from graftwork.common.prediction.training_overlap import SeenFiles


STEP = 32  # files that go through the network at once
DECIMALS = 6  # of a score in a file


class _Pictures:
    """The images of a listing, as `batches` asks for them: `source[epoch, row]` is `(image or Failure, part)`.

    The part is the place in `SEEN_PARTS` of that of the run which has this image, or -1.
    """

    def __init__(self, listing: Listing, preprocessing: Preprocessing, seen: SeenFiles) -> None:
        self.listing, self.preprocessing, self.seen = listing, preprocessing, seen

    def __getitem__(self, key: tuple[int, int]) -> tuple[Any, int]:
        row = key[1]
        try:
            picture = read_image(self.listing.file(row), cover=self.preprocessing.cover)
            part = self.seen.part_of(self.listing.file(row))
            values = np.ascontiguousarray(self.preprocessing(picture))
            return values, -1 if part is None else SEEN_PARTS.index(part)
        except ImageError as error:
            return Failure(row, error.stage, error.reason), -1
        except Exception as error:  # one odd file must not end the prediction of a million others
            return Failure(row, "preprocessing", f"{type(error).__name__}: {error}"), -1


def scored(
    forward: Callable[[torch.Tensor], torch.Tensor],
    preprocessing: Preprocessing,
    listing: Listing,
    targets: Sequence[Target],
    thresholds: Mapping[tuple[str, str], float],
    schema: pa.Schema,
    seen: SeenFiles,
    *,
    workers: int = 0,
) -> Generator[pa.Table]:
    """The rows of a listing in its order, `STEP` at a time, as columns of `schema`.

    Args:
        forward: images [n, C, H, W], n at most `STEP`, to logits; see `forward_of`.
        thresholds: see `decided`. seen: the images of the run.
    """
    total = len(listing)
    plan = [np.arange(start, min(start + STEP, total)) for start in range(0, total, STEP)]
    source = _Pictures(listing, preprocessing, seen)
    with contextlib.closing(batches(source, plan, workers=workers)) as reader:
        for rows, batch in zip(plan, reader, strict=True):
            reasons = {
                failure.row: one_line(f"{failure.stage}: {failure.reason}") for failure in batch.failures
            }
            read = batch.rows.tolist()
            scores = np.full((len(rows), sum(len(target.classes) for target in targets)), np.nan)
            parts: list[str | None] = [None] * len(rows)
            if read:
                values = probabilities(targets, forward(batch.inputs).double()).numpy()
                scores[[row - int(rows[0]) for row in read]] = values
                for row, place in zip(read, batch.targets.tolist(), strict=True):
                    parts[row - int(rows[0])] = None if place < 0 else SEEN_PARTS[place]
                lost = np.flatnonzero(~np.isfinite(values).all(axis=1)).tolist()
                reasons |= {read[at]: "network: its output is not a finite number" for at in lost}
            files = listing.keys[int(rows[0]) : int(rows[-1]) + 1].to_pylist()
            failures = [reasons.get(int(row)) for row in rows]
            yield _table(files, scores, parts, failures, targets, thresholds, schema)


def forward_of(
    network: Network,
    preprocessing: Preprocessing,
    listing: Listing,
    *,
    device: torch.device,
    precision: str = "float32",
    engine: str = "auto",
    images: int = 0,
) -> tuple[Callable[[torch.Tensor], torch.Tensor], str]:
    """The computation of logits from images, and the name of its engine.

    Args:
        network: in eval mode, on `device`.
        precision: "float32" or "bfloat16", as the run was trained.
        engine: see `engine_for`. "torch" is the network as it was trained; "torch-folded" and other engines have batch
            norms folded into convolutions.
        images: in the whole listing, of which `listing` may be a share or what is left, so that all shares, and a
            resumed prediction, are computed alike. With few of them "auto" is "torch".
    """

    def cost() -> float:
        return sum(multiply_adds(network.backbone, preprocessing.size).values())

    @contextlib.contextmanager
    def computing() -> Iterator[None]:
        with (
            torch.inference_mode(),
            torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"),
        ):
            yield

    def filled(inputs: torch.Tensor) -> torch.Tensor:
        whole = torch.zeros((STEP, *inputs.shape[1:]), dtype=inputs.dtype)
        whole[: len(inputs)] = inputs
        return whole

    def as_trained(inputs: torch.Tensor) -> torch.Tensor:
        with computing():
            whole = network(filled(inputs).to(device, memory_format=torch.channels_last))
        logits: torch.Tensor = whole[: len(inputs)].float().cpu()
        return logits

    if engine == "torch" or (engine == "auto" and images * cost() < MEASURED_FROM):
        return as_trained, "torch"
    backbone = network.backbone
    found = cut(backbone, len(backbone.stages), size=preprocessing.size)
    assert isinstance(found, Cut)  # behind the last stage any network can be cut
    used = engine_for(
        found.prefix, lambda: _sample(listing, preprocessing), name=found.name_of(backbone),
        size=preprocessing.size, device=device, precision=precision, images=images, cost=cost,
        asked="torch" if engine == "torch-folded" else engine,
    )  # fmt: skip

    def folded(inputs: torch.Tensor) -> torch.Tensor:
        features = torch.from_numpy(used(filled(inputs) if used.name == "torch" else inputs)[: len(inputs)])
        with computing():
            logits: torch.Tensor = network.head(features.to(device)).float().cpu()
        return logits

    return folded, "torch-folded" if used.name == "torch" else used.name


def _sample(listing: Listing, preprocessing: Preprocessing) -> torch.Tensor:
    """The first readable images of a listing, [n, C, H, W], n at most `SAMPLE`."""
    found: list[torch.Tensor] = []
    for row in range(min(len(listing), 4 * SAMPLE)):
        with contextlib.suppress(Exception):  # reported when the file is predicted
            image = read_image(listing.file(row), cover=preprocessing.cover)
            found.append(torch.from_numpy(np.ascontiguousarray(preprocessing(image))))
        if len(found) == SAMPLE:
            break
    return torch.stack(found) if found else torch.empty(0)


def decided(
    target: Target, scores: NDArray[np.float64], thresholds: Mapping[tuple[str, str], float]
) -> NDArray[np.int64]:
    """What scores [n, classes] say: the index of the class [n], of a multi-label target 1 or 0 [n, classes].

    A binary target is positive at its threshold and above; a label likewise, or from 0.5 where it has none. Of other
    classes that with the highest score is chosen, of equals the first.

    Args:
        thresholds: by (name of the target, class), the class "" of a binary one; NaN and absent ones do not count.
    """
    if target.kind == "multi-label":
        bars = [thresholds.get((target.name, name), math.nan) for name in target.classes]
        return (scores >= np.where(np.isnan(bars), 0.5, bars)).astype(np.int64)
    bar = thresholds.get((target.name, ""), math.nan)
    if target.kind == "binary" and not math.isnan(bar):
        return (scores[:, 1] >= bar).astype(np.int64)
    return np.asarray(np.nan_to_num(scores, nan=-1.0).argmax(axis=1), np.int64)


def _table(
    files: Sequence[str],
    scores: NDArray[np.float64],
    parts: Sequence[str | None],
    failures: Sequence[str | None],
    targets: Sequence[Target],
    thresholds: Mapping[tuple[str, str], float],
    schema: pa.Schema,
) -> pa.Table:
    columns: list[Any] = [files]
    failed = np.array([reason is not None for reason in failures])
    at = 0
    for target in targets:
        own = scores[:, at : at + len(target.classes)]
        at += len(target.classes)
        rounded = np.round(own, DECIMALS)
        columns += [pa.array(rounded[:, index], mask=failed) for index in range(own.shape[1])]
        choice = decided(target, own, thresholds)
        if target.kind == "multi-label":
            columns += [pa.array(choice[:, index], pa.int8(), mask=failed) for index in range(own.shape[1])]
        else:
            names = np.array(target.classes, dtype=object)[choice]
            columns.append(pa.array(names, pa.string(), mask=failed))
    columns += [pa.array(parts, pa.string(), mask=failed), pa.array(failures, pa.string())]
    return pa.table(columns, schema=schema)
