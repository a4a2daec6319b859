"""The same batches for any number of workers; every row once; failures set apart."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from graftwork.common.batches import batches, epoch_plan
from graftwork.common.errors import ImageError
from graftwork.common.manifest import Manifest, Target
from graftwork.common.recipe.sections import AugmentationSection
from graftwork.common.seeds import seed_of
from graftwork.common.sources import ImageSource, monai_dicts, torch_dataset
from graftwork.common.transforms import Preprocessing, augmenter

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
    (manifest.root / "4.png").write_bytes(b"not a picture")
    for workers in (0, 2):
        (batch,) = batches(source(manifest), [np.array([3, 4, 5])], workers=workers)
        assert batch.rows.tolist() == [3, 5]
        assert batch.inputs.shape == (2, 3, 32, 32)
        assert [failure.row for failure in batch.failures] == [4]
        assert batch.failures[0].reason
    with pytest.raises(ImageError, match=r"4\.png"):
        source(manifest)[4]


class _Deadly:
    """A source whose row 7 kills a loading process, as the kernel does when memory runs out."""

    def __init__(self, parent: int) -> None:
        self.parent = parent

    def __getitem__(self, key: tuple[int, int]) -> tuple[np.ndarray, np.int64]:
        if key[1] == 7 and os.getpid() != self.parent:
            os._exit(9)
        return np.full(2, key[1], np.float32), np.int64(0)


def test_a_dead_worker_costs_no_batch(caplog: pytest.LogCaptureFixture) -> None:
    plan = [np.array([row]) for row in range(12)]
    found = [int(batch.rows[0]) for batch in batches(_Deadly(os.getpid()), plan, workers=2)]
    assert found == list(range(12))
    assert "without loading processes" in caplog.text


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
