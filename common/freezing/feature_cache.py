"""Frozen work is done once: what the frozen stages of a backbone put out, kept by content.

A row is what crosses behind the last frozen stage for one image. It is found by a hash of all that it depends on:
the frozen weights, the preprocessing, the reader, the libraries and the content of the image. So the same image is
never sent through the same stages twice, whatever the seed, the strategy or the split, and nothing stale can be found.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from graftwork.common.cache.array_cache import VARIABLE, Kept, Rows, as_half, budget
from graftwork.common.data.images import READER_VERSION
from graftwork.common.errors import RunError
from graftwork.common.files import cache_folder, file_sha256
from graftwork.common.loading.batches import Failure, batches
from graftwork.common.loading.samples import ImageSource
from graftwork.common.networks.costs import multiply_adds
from graftwork.common.networks.engines import SAMPLE, Engine, engine_for
from graftwork.common.processor import instruction_sets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graftwork.common.networks.backbones import Backbone
    from graftwork.common.networks.cutting import Cut


log = logging.getLogger("graftwork")

VERSION = 1  # of what this file computes; a change that alters rows raises it
STEP = 32  # images that go through the network at once
PACK = 32 * 2**20  # bytes of rows that are written together, about
READING = 300e6  # bytes a second that an ordinary disk gives, assumed
COMPUTING = (
    20e9  # multiply-adds a second of a processor, assumed; a GPU has more, and its disk is quicker too
)


class FeatureSource:
    """Kept rows in the place of images: `source[epoch, row]` is `(what crosses, target)` or a `Failure`.

    Attributes:
        views: augmented versions of each training image; epoch e uses version 1 + (e - 1) % views. 0: none.
        targets: as `tasks.encode`.
        failures: images that could not be read, by row.
        in_memory: rows are in memory or mapped from the cache, so no worker processes read them.
    """

    in_memory = True

    def __init__(
        self,
        parts: Sequence[Rows | NDArray[Any]],
        place: NDArray[np.int64],
        targets: NDArray[Any],
        failures: Sequence[Failure],
        views: int,
    ) -> None:
        self._parts, self._place = parts, place
        self.targets, self.views = targets, views
        self.failures = {failure.row: failure for failure in failures}

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Any, Any]:
        epoch, row = key
        view = 1 + (epoch - 1) % self.views if self.views and epoch else 0
        if row in self.failures:
            return self.failures[row], self.targets[row]
        return self._row(view, row), self.targets[row]

    def gather(self, rows: NDArray[np.int64], view: int = 0) -> NDArray[np.float32]:
        """What is kept of several rows, [n, ...]."""
        return np.stack([self._row(view, row) for row in rows.tolist()])

    def _row(self, view: int, row: int) -> NDArray[np.float32]:
        try:
            return np.asarray(self._parts[view][int(self._place[view, row])], np.float32)
        except KeyError as error:  # verified when it was found; damaged, or removed, since then
            raise RunError(
                "cached features were damaged or removed while they were in use",
                where=cache_folder(),
                remedy="run the same command again: they are computed again",
            ) from error


def compute_features(
    backbone: Backbone,
    source: ImageSource,
    contents: Sequence[str],
    *,
    cut: Cut,
    weights: str,
    device: torch.device,
    precision: str = "float32",
    workers: int = 0,
    views: int = 0,
    changed: NDArray[np.int64] | None = None,
    rows: NDArray[np.int64] | None = None,
    engine: str = "auto",
    chosen: Callable[[Engine], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FeatureSource:
    """What the first stages put out for the cases of `source`, computed where it is not kept.

    Args:
        contents: SHA-256 of each image's file, in the order of the source.
        cut: of `backbone`; its prefix is what runs.
        weights: what identifies the frozen tensors, `prefix.fingerprint`.
        precision: "bfloat16" runs the prefix under autocast.
        views: how many changed views of the images `changed` are kept beside each image as it is.
        rows: the cases that are wanted; None for all.
        engine: see `engine_for`. chosen: called with the engine of the rows.
        progress: called with (images done, images in all).

    Raises:
        RunError: rows can be kept neither on disk nor, as they are no pooled features, in memory.
    """
    wanted = np.arange(len(source)) if rows is None else np.sort(rows)
    about = {
        "version": VERSION,
        "weights": weights,
        "preprocessing": source.preprocessing.to_json(),
        "reader": READER_VERSION,
        "torch": torch.__version__,
        "timm": importlib.metadata.version("timm"),
        "device": device.type,
        "precision": precision,
        "threads": torch.get_num_threads() if device.type == "cpu" else 0,
    }
    prefix = cut.prefix.to(device)
    plans = [wanted, *([wanted if changed is None else np.sort(changed)] * views)]

    def digests_of(view: int) -> list[str]:
        return [contents[row] if not view else f"{contents[row]} {row}" for row in plans[view].tolist()]

    def store_of(view: int, label: str) -> Kept:
        more = {"view": view, "seed": source.seed, "changes": repr(source.augment)} if view else {}
        return Kept("features", {**about, **({"engine": label} if label else {}), **more})

    used = engine_for(
        prefix,
        lambda: _sample(source, wanted),
        name=cut.name_of(backbone),
        size=source.preprocessing.size,
        device=device,
        precision=precision,
        asked=engine,
        cost=lambda: sum(multiply_adds(backbone, source.preprocessing.size).values()),
        images=sum(len(store_of(view, "").find(digests_of(view)).missing) for view in range(views + 1)),
    )
    if chosen is not None:
        chosen(used)

    def unchanged(row: int) -> None:
        path = source.root / source.paths[row].as_py()
        if file_sha256(path) != contents[row]:  # else it would be kept as what another content puts out
            raise RunError(
                "changed between being hashed and being read",
                where=path,
                remedy="do not change the data while a run reads them, and start the run again",
            )

    parts: list[Rows | NDArray[Any]] = []
    place = np.full((views + 1, len(source)), -1, np.int64)
    failures: dict[int, Failure] = {}
    total, done = sum(map(len, plans)), 0
    for view, asked in enumerate(plans):
        store, digests = store_of(view, used.label), digests_of(view)
        place[view, asked] = np.arange(len(asked))
        found = store.find(digests, verify=True)
        missing = found.missing
        if len(missing):
            log.info(
                "feature cache: %d of %d images cached, computing %d",
                len(asked) - len(missing),
                len(asked),
                len(missing),
            )

            def note(count: int, before: int = done + len(asked) - len(missing)) -> None:
                if progress is not None:
                    progress(before + count, total)

            computed = _computed(used, source, asked[missing], view, workers, note)
            loose = _stored(
                store, computed, asked[missing], [digests[each] for each in missing], failures, unchanged
            )
            found = store.find(digests, verify=True)
            absent = [each for each in found.missing.tolist() if int(asked[each]) not in failures]
            if absent:
                whole = _in_memory(found, loose, asked, cut.shape, failures)
                parts.append(whole)
                done += len(asked)
                continue
        parts.append(found)
        done += len(asked)
        if progress is not None:
            progress(done, total)
    return FeatureSource(parts, place, source.targets, list(failures.values()), views)


def _computed(
    engine: Engine,
    source: ImageSource,
    rows: NDArray[np.int64],
    view: int,
    workers: int,
    note: Callable[[int], None],
) -> Any:
    """Batches of (rows, what crosses [n, ...] float32, failures)."""
    plan = [rows[at : at + STEP] for at in range(0, len(rows), STEP)]
    done = 0
    with contextlib.closing(batches(source, plan, epoch=view, workers=workers)) as reader:
        for batch in reader:
            crossing = engine(batch.inputs) if len(batch) else np.zeros((0,), np.float32)
            yield batch.rows, crossing, batch.failures
            done += len(batch) + len(batch.failures)
            note(done)


def _sample(source: ImageSource, rows: NDArray[np.int64]) -> torch.Tensor:
    """The first readable images of some rows, [n, C, H, W], n at most `SAMPLE`."""
    found = []
    for row in rows[: 4 * SAMPLE].tolist():
        value = source[0, row][0]
        if not isinstance(value, Failure):
            found.append(torch.from_numpy(np.ascontiguousarray(value)))
        if len(found) == SAMPLE:
            break
    return torch.stack(found) if found else torch.empty(0)


def _stored(
    store: Kept,
    computed: Any,
    rows: NDArray[np.int64],
    digests: Sequence[str],
    failures: dict[int, Failure],
    unchanged: Callable[[int], None],
) -> dict[int, NDArray[Any]]:
    """Put what is computed into the store, a pack at a time; what it does not take is returned.

    Args:
        unchanged: raises where the file of a row is no longer the one that was hashed.
    """
    digest = dict(zip(rows.tolist(), digests, strict=True))
    loose: dict[int, NDArray[Any]] = {}
    waiting: list[tuple[list[int], NDArray[Any]]] = []

    def put() -> None:
        if waiting:
            members = [row for each, _ in waiting for row in each]
            array = as_half(np.concatenate([each for _, each in waiting]))
            if not store.put([digest[row] for row in members], array):
                loose.update(zip(members, array, strict=True))
            waiting.clear()

    for members, crossing, failed in computed:
        failures.update({failure.row: failure for failure in failed})
        for row in members.tolist():
            unchanged(row)
        if len(members):
            waiting.append((members.tolist(), crossing))
        if sum(each.nbytes // 2 for _, each in waiting) >= PACK:
            put()
    put()
    return loose


def _in_memory(
    found: Rows,
    loose: dict[int, NDArray[Any]],
    asked: NDArray[np.int64],
    shape: tuple[int, ...],
    failures: dict[int, Failure],
) -> NDArray[Any]:
    """Pooled features that cannot be kept on disk, in memory; larger ones are refused."""
    if len(shape) > 1:
        raise RunError(
            "what the frozen stages put out cannot be kept, and is too much for memory",
            where="the cache folder",
            remedy=f"make room on its disk or raise {VARIABLE}; a new run decides again",
        )
    whole = np.zeros((len(asked), *shape), np.float32)
    for position, row in enumerate(asked.tolist()):
        kept = found.get(position)
        if kept is not None:
            whole[position] = kept
        elif row not in failures:
            whole[position] = loose[row]
    return whole


@dataclass(frozen=True)
class Decision:
    """Whether the output of frozen stages is kept, and why, in a sentence."""

    keep: bool
    why: str


def worth_keeping(
    backbone: Backbone,
    cut: Cut,
    stages: int,
    *,
    size: int,
    epochs: int,
    trained: int,
    evaluated: int,
    views: int,
    fresh: bool,
) -> Decision:
    """Whether keeping what crosses saves work: by arithmetic alone, so that a resumed run decides the same.

    Args:
        stages: that are frozen, of which `cut` is the cut.
        size: side of the images, px.
        epochs: of the phase in which they are frozen.
        trained, evaluated: numbers of cases; the latter are also read in each epoch.
        views: augmented versions of each training image; fresh: new augmentation in every epoch.
    """
    behind = backbone.stages[stages - 1].name
    if fresh:
        return Decision(
            False, "features not cached: each epoch has other augmented images (augmentation.views = 0)"
        )
    costs = multiply_adds(backbone, size)
    whole, frozen = sum(costs.values()), sum(list(costs.values())[:stages])
    row = 2 * math.prod(cut.shape)
    total = row * (trained * max(1, views) + evaluated + (trained if views else 0))
    said = f"{frozen / 1e9:.2f} of {whole / 1e9:.2f} G multiply-adds per image are frozen for {epochs} epochs"
    size_text = f"{row / 1e3:.1f} kB per image, {total / 1e6:.0f} MB in total"
    why = ""
    if epochs <= max(1, views):
        why = f"each image is used in only {epochs} epochs"
    elif total > budget():
        why = f"{size_text}, more than the limit {VARIABLE} ({budget() / 2**30:.1f} GiB)"
    elif row / READING > frozen / COMPUTING:
        why = f"reading {size_text} takes longer than computing {frozen / 1e9:.3f} G multiply-adds"
    if why:
        return Decision(False, f"features after {behind} not cached: {why}")
    return Decision(True, f"features cached after {behind}: {said}; {size_text}")


def best_precision(device: torch.device) -> str:
    """`bfloat16` where the device computes with it in hardware, else `float32`."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if instruction_sets() & {"avx512_bf16", "amx_bf16", "bf16"} else "float32"
