"""The same batches for any number of workers; every row once; failures set apart."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.utils.data import get_worker_info
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from graftwork.common.data.manifest import Manifest
from graftwork.common.data.targets import Target
from graftwork.common.errors import ImageError
from graftwork.common.loading.batches import batches, epoch_plan
from graftwork.common.loading.samples import ImageSource, monai_dicts, torch_dataset
from graftwork.common.loading.transforms import Preprocessing, augmenter
from graftwork.common.recipe.sections import AugmentationSection
from graftwork.common.seeds import seed_of

PREPROCESSING = Preprocessing(32, "squash", "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(11):
        pixels = rng.integers(0, 255, (40, 48), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        rows.append((f"c{number}", f"{number}.png", f"g{number // 2}", "no" if number % 2 else "yes"))
    frame = pd.DataFrame(rows, columns=["case", "path", "group", "target"])
    return Manifest(frame, tmp_path, "x/y", "patient", Target("t", "binary", ("no", "yes")))


def source(manifest: Manifest, seed: int = 0) -> ImageSource:
    wish = AugmentationSection(
        horizontal_flip=0.5,
        vertical_flip=0.5,
        rotation=20.0,
        zoom=0.2,
        shift=0.1,
        brightness=0.3,
        contrast=0.3,
    )
    return ImageSource(manifest, PREPROCESSING, augment=augmenter(wish), seed=seed)


def test_batches_do_not_depend_on_the_number_of_workers(manifest: Manifest) -> None:
    plan = epoch_plan(np.arange(11), 3, seed=5, epoch=2)
    found = [list(batches(source(manifest), plan, epoch=2, workers=workers)) for workers in (0, 1, 4)]
    for one, two, three in zip(*found, strict=True):
        assert torch.equal(one.inputs, two.inputs)
        assert torch.equal(one.inputs, three.inputs)
        assert np.array_equal(one.rows, three.rows)
        assert torch.equal(one.targets, three.targets)


def test_augmentation_depends_on_seed_epoch_and_index_alone(manifest: Manifest) -> None:
    first = source(manifest).image(3, 1)
    np.random.seed(99)
    torch.manual_seed(99)
    assert np.array_equal(first, source(manifest).image(3, 1))
    assert not np.array_equal(first, source(manifest).image(3, 2))
    assert not np.array_equal(first, source(manifest, seed=1).image(3, 1))
    plain = source(manifest).image(3, 0)
    assert np.array_equal(plain, ImageSource(manifest, PREPROCESSING).image(3, 7))


def test_reading_draws_nothing_from_global_generators(manifest: Manifest) -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    list(batches(source(manifest), epoch_plan(np.arange(11), 4, seed=0, epoch=1), epoch=1, workers=2))
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])


@pytest.mark.parametrize(("n", "size"), [(11, 3), (7, 7), (1, 4), (100, 33), (5, 1)])
def test_a_plan_holds_each_row_once_in_even_batches(n: int, size: int) -> None:
    rows = np.arange(1000, 1000 + n)
    plan = epoch_plan(rows, size, seed=3, epoch=1)
    assert sorted(np.concatenate(plan)) == rows.tolist()
    again = epoch_plan(rows, size, seed=3, epoch=1)
    assert [batch.tolist() for batch in again] == [batch.tolist() for batch in plan]
    sizes = {len(batch) for batch in plan}
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1
    if n > 4:
        assert not np.array_equal(
            np.concatenate(plan), np.concatenate(epoch_plan(rows, size, seed=3, epoch=2))
        )
        assert not np.array_equal(
            np.concatenate(plan), np.concatenate(epoch_plan(rows, size, seed=4, epoch=1))
        )


def test_seeds_are_the_same_everywhere() -> None:
    assert seed_of(0, "order", 1) == 4489457307835839548
    assert seed_of(1, 23) != seed_of(12, 3)


def test_an_unreadable_picture_is_set_apart_with_its_reason(manifest: Manifest) -> None:
    (manifest.root / "4.png").write_bytes(b"not an image")
    for workers in (0, 2):
        (batch,) = batches(source(manifest), [np.array([3, 4, 5])], workers=workers)
        assert batch.rows.tolist() == [3, 5]
        assert batch.inputs.shape == (2, 3, 32, 32)
        assert [failure.row for failure in batch.failures] == [4]
        assert batch.failures[0].reason
    with pytest.raises(ImageError, match=r"4\.png"):
        source(manifest)[4]


# Balanced epochs


def drawn(classes: np.ndarray, epoch: int = 1, seed: int = 0, size: int = 7) -> np.ndarray:
    rows = np.arange(500, 500 + len(classes))
    plan = epoch_plan(rows, size, seed=seed, epoch=epoch, classes=classes)
    sizes = {len(batch) for batch in plan}
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1
    return np.concatenate(plan) - 500


CLASSES = np.repeat([0, 1, 2, -1, 5], [70, 20, 3, 6, 1])


def test_a_balanced_epoch_meets_each_known_class_equally_often() -> None:
    for epoch in range(1, 6):
        met = drawn(CLASSES, epoch)
        assert len(met) == len(CLASSES)
        counts = Counter(CLASSES[met].tolist())
        assert set(counts) == {0, 1, 2, 5}, "a case whose class is not known is left out"
        assert max(counts.values()) - min(counts.values()) <= 1
        times = np.bincount(met, minlength=len(CLASSES))
        for code in counts:
            members = times[np.flatnonzero(code == CLASSES)]
            assert members.max() - members.min() <= 1, "no member of a class comes twice as often as another"
        assert times[CLASSES == 0].max() == 1, "of a frequent class nobody comes again"
        assert times[CLASSES == 2].min() == 8
    odd = np.repeat([0, 1, 2], [30, 4, 1])  # 35 draws, and 11 + 2/3 for each class
    assert sorted(Counter(odd[drawn(odd)].tolist()).values()) == [11, 12, 12]


def test_a_balanced_epoch_depends_on_seed_and_epoch_alone() -> None:
    np.random.seed(3)
    first = drawn(CLASSES, 1)
    assert np.array_equal(first, drawn(CLASSES, 1))
    for other in (drawn(CLASSES, 2), drawn(CLASSES, 1, seed=1)):
        assert not np.array_equal(first, other)
        assert set(first[CLASSES[first] == 0]) != set(other[CLASSES[other] == 0]), "another part of the many"
        more = [np.bincount(met, minlength=len(CLASSES))[CLASSES == 1] for met in (first, other)]
        assert more[0].sum() == more[1].sum()
        assert not np.array_equal(*more), "other ones come once more"
    seen = np.unique(np.concatenate([drawn(CLASSES, epoch) for epoch in range(1, 30)]))
    assert np.array_equal(seen, np.flatnonzero(CLASSES >= 0)), "nobody is left out for ever"
    shuffled = drawn(CLASSES, 1, size=25)
    assert len(set(CLASSES[shuffled[:25]].tolist())) > 2, "classes are mixed within a batch"


def test_a_plan_without_classes_is_what_it_was() -> None:
    plan = epoch_plan(np.arange(8), 3, seed=5, epoch=2)
    assert [batch.tolist() for batch in plan] == [[2, 3, 7], [5, 4, 0], [1, 6]]
    assert epoch_plan(np.arange(4), 2, seed=0, epoch=1, classes=np.full(4, -1)) == []


# Loading processes that die


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch looks every five seconds whether a worker is dead."""
    monkeypatch.setattr(_MultiProcessingDataLoaderIter._try_get_data, "__defaults__", (0.3,))


class _Faulty:
    """A source whose row 7 does something, in a loading process alone, where there are more of them than `bears`."""

    def __init__(self, act: Callable[[], object], bears: int = 0) -> None:
        self.act, self.bears = act, bears

    def __getitem__(self, key: tuple[int, int]) -> tuple[np.ndarray, np.int64]:
        worker = get_worker_info()
        if key[1] == 7 and worker is not None and worker.num_workers > self.bears:
            self.act()
        return np.full(2, key[1], np.float32), np.int64(key[1] % 2)


PLAN = [np.array([row]) for row in range(12)]


def read(source: object, workers: int) -> list[int]:
    found = list(batches(source, PLAN, epoch=1, workers=workers))
    for row, batch in enumerate(found):
        assert batch.inputs.tolist() == [[row, row]]
        assert batch.targets.tolist() == [row % 2]
    return [int(batch.rows[0]) for batch in found]


def die(number: int) -> Callable[[], object]:
    return lambda: os.kill(os.getpid(), number)


def fail(error: BaseException) -> Callable[[], object]:
    def raising() -> None:
        raise error

    return raising


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: os._exit(9), ["ended with code 9"]),
        (die(signal.SIGKILL), ["signal 9", "memory ran out", "training.workers"]),
        (die(signal.SIGBUS), ["SIGBUS", "shared memory", "training.workers", "--shm-size"]),
        (die(signal.SIGSEGV), ["signal 11"]),
        (fail(RuntimeError("row 7 is\nodd")), ["its own error: odd"]),
        (fail(OSError(24, "Too many open files")), ["ulimit -n"]),
        (fail(MemoryError("17 GiB")), ["memory ran out", "training.batch_size"]),
    ],
    ids=["exit", "kill", "bus", "segfault", "error", "files", "memory"],
)
def test_a_dead_worker_costs_no_batch_and_its_cause_is_said(
    caplog: pytest.LogCaptureFixture, impatient: None, act: Callable[[], object], words: list[str]
) -> None:
    assert read(_Faulty(act), workers=1) == list(range(12))
    (record,) = caplog.records
    assert "continuing with the main process" in record.getMessage()
    assert all(word in record.getMessage() for word in words), record.getMessage()


def test_shared_memory_that_is_full_is_an_error_that_arrives(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # torch 2.13 with /dev/shm of 1 MiB says this; said while a batch is handed over, the parent would wait for ever
    said = "unable to allocate shared memory(shm) for file </torch_1_2_0>: No space left on device (28)"

    def full(*_: object) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(torch.UntypedStorage, "_share_fd_cpu_", full)
    assert read(_Faulty(lambda: None), workers=2) == list(range(12))
    assert [record.getMessage().split("; continuing with ")[1] for record in caplog.records] == [
        "1 worker",
        "the main process",
    ]
    assert all("shared memory" in line and "--shm-size" in line for line in caplog.messages)


def test_fewer_workers_go_on_and_are_remembered(caplog: pytest.LogCaptureFixture, impatient: None) -> None:
    source = _Faulty(die(signal.SIGKILL), bears=1)
    assert read(source, workers=4) == list(range(12))
    assert [line.split("; ")[-1] for line in caplog.messages] == [
        "continuing with 2 workers",
        "continuing with 1 worker",
    ], "half of them, then one; and one is enough"
    caplog.clear()
    assert read(source, workers=4) == list(range(12))
    assert not caplog.records, "the next epoch does not try again what failed"
    assert not multiprocessing.active_children(), "no loading process is left behind"


def test_workers_that_cannot_be_started_are_done_without(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", refuse)
    assert read(_Faulty(lambda: None), workers=2) == list(range(12))
    assert "memory ran out" in caplog.text


class _Broken(_Faulty):
    def __getitem__(self, key: tuple[int, int]) -> tuple[np.ndarray, np.int64]:
        if key[1] == 7:
            self.act()
        return super().__getitem__(key)


@pytest.mark.parametrize("error", [RuntimeError("a fault"), KeyError("a fault"), OSError(5, "a fault")])
def test_a_source_s_own_error_is_raised_in_the_end(error: Exception) -> None:
    with pytest.raises(type(error), match="a fault"):
        list(batches(_Broken(fail(error)), PLAN, workers=2))


def test_a_source_that_is_no_object_of_a_class_will_do() -> None:
    table = {(0, row): (np.float32(row), np.int64(0)) for row in range(12)}
    assert [int(batch.rows[0]) for batch in batches(table, PLAN, workers=2)] == list(range(12))


def test_a_batch_of_failures_alone_crosses_from_a_worker(manifest: Manifest) -> None:
    for name in ("4.png", "5.png"):
        (manifest.root / name).write_bytes(b"not an image")
    found = list(batches(source(manifest), [np.array([4, 5]), np.array([6])], workers=1))
    assert [len(batch) for batch in found] == [0, 1]
    assert [failure.row for failure in found[0].failures] == [4, 5]


def test_public_datasets_for_studies(manifest: Manifest) -> None:
    dataset = torch_dataset(manifest, size=48)
    image, target = dataset[0]
    assert image.shape == (3, 48, 48)
    assert image.dtype == torch.float32
    assert int(target) == 1
    assert len(dataset) == 11
    first = monai_dicts(manifest)[0]
    assert Path(first["image"]).is_file()
    assert first["label"] == 1
    assert first["group"] == "g0"
