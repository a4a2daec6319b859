"""Frozen work is done once, and never stands in for other work."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import synthetic_data

from graftwork.common.data.domain import dataset
from graftwork.common.data.manifest import Manifest
from graftwork.common.errors import RunError, UsageError
from graftwork.common.files import file_sha256
from graftwork.common.freezing import feature_cache
from graftwork.common.freezing.feature_cache import (
    FeatureSource,
    best_precision,
    compute_features,
    worth_keeping,
)
from graftwork.common.loading.samples import ImageSource
from graftwork.common.loading.transforms import Preprocessing, augmenter
from graftwork.common.networks.backbones import Backbone, create_backbone
from graftwork.common.networks.costs import multiply_adds
from graftwork.common.networks.cutting import Cut, cut, fingerprint
from graftwork.common.recipe.sections import AugmentationSection

HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class Counted(torch.nn.Module):
    """A prefix that counts the images that go through it."""

    def __init__(self, prefix: torch.nn.Module) -> None:
        super().__init__()
        self.prefix, self.seen = prefix, 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen += len(images)
        found: torch.Tensor = self.prefix(images)
        return found


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = synthetic_data(tmp_path_factory.mktemp("data") / "set", cases=40)
    return dataset("chest_xray/kermany").read(folder)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRAFTWORK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def small() -> Backbone:
    return create_backbone("test_efficientnet", weights=None, seed=0).eval()


def compute(
    manifest: Manifest, *, stages: int = 0, size: int = 32, backbone: Backbone | None = None, seed: int = 0,
    rotation: float = 0.0, **named: Any,
) -> tuple[FeatureSource, int]:  # fmt: skip
    backbone = backbone or small()
    stages = stages or len(backbone.stages)
    found = cut(backbone, stages, size=size)
    assert isinstance(found, Cut)
    counted = Counted(found.prefix)
    found.prefix = counted
    source = ImageSource(
        manifest,
        Preprocessing(size, "squash", "bilinear", *HALF),
        augment=augmenter(AugmentationSection(rotation=rotation)),
        seed=seed,
    )
    made = compute_features(
        backbone, source, [file_sha256(manifest.file(row)) for row in range(len(manifest))], cut=found,
        weights=fingerprint(backbone, stages), device=torch.device("cpu"), **named,
    )  # fmt: skip
    return made, counted.seen


def test_kept_features_are_the_network_s_own(manifest: Manifest) -> None:
    found, seen = compute(manifest)
    assert seen == len(manifest)
    source = ImageSource(manifest, Preprocessing(32, "squash", "bilinear", *HALF))
    with torch.inference_mode():
        fresh = small()(torch.stack([source[row][0] for row in range(5)]))
    np.testing.assert_allclose(found.gather(np.arange(5)), fresh.numpy(), rtol=2e-3, atol=2e-3)
    assert found[0, 2][0].dtype == np.float32 and np.array_equal(
        found[3, 2][0], found.gather(np.array([2]))[0]
    )
    assert np.array_equal(found.targets, source.targets)
    again, seen = compute(manifest, seed=5)
    assert seen == 0, "shared by seeds"
    every = np.arange(len(manifest))
    assert np.array_equal(again.gather(every), found.gather(every))


def test_what_crosses_an_inner_boundary_is_kept_too(manifest: Manifest) -> None:
    backbone = small()
    found, seen = compute(manifest, stages=3, backbone=backbone)
    assert seen == len(manifest) and found[1, 0][0].ndim == 3
    halves = cut(backbone, 3, size=32)
    assert isinstance(halves, Cut)
    source = ImageSource(manifest, Preprocessing(32, "squash", "bilinear", *HALF))
    with torch.inference_mode():
        wanted = backbone(source[7][0][None])
        got = halves.suffix(torch.from_numpy(found[1, 7][0])[None])
    torch.testing.assert_close(got, wanted, rtol=1e-2, atol=1e-2)


def test_whatever_matters_makes_them_anew(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    compute(manifest)
    assert compute(manifest, size=48)[1] == len(manifest)
    other = small()
    with torch.no_grad():
        next(other.parameters()).add_(0.1)
    assert compute(manifest, backbone=other)[1] == len(manifest)
    assert compute(manifest, precision="bfloat16")[1] == len(manifest)
    assert compute(manifest, stages=4)[1] == len(manifest)
    for name in ("READER_VERSION", "VERSION"):
        monkeypatch.setattr(feature_cache, name, "another")
        assert compute(manifest)[1] == len(manifest)
    assert compute(manifest)[1] == 0


def test_only_a_changed_picture_is_done_anew(manifest: Manifest) -> None:
    compute(manifest)
    picture = manifest.file(0)
    content = picture.read_bytes()
    picture.write_bytes(manifest.file(len(manifest) - 1).read_bytes())
    try:
        found, seen = compute(manifest)
        assert seen == 0, "its content is that of another image, which was kept"
        assert np.array_equal(found[0, 0][0], found[0, len(manifest) - 1][0])
        picture.write_bytes(content + b"\n")
        assert compute(manifest)[1] == 1
    finally:
        picture.write_bytes(content)


def test_a_picture_that_changed_since_it_was_hashed_is_never_kept(tmp_path: Path, cache: Path) -> None:
    manifest = dataset("chest_xray/kermany").read(synthetic_data(tmp_path / "set", cases=20))
    backbone, source = small(), ImageSource(manifest, Preprocessing(32, "squash", "bilinear", *HALF))
    hashed = [file_sha256(manifest.file(row)) for row in range(len(manifest))]
    manifest.file(3).write_bytes(manifest.file(0).read_bytes())
    found = cut(backbone, len(backbone.stages), size=32)
    assert isinstance(found, Cut)
    with pytest.raises(RunError, match="changed between being hashed and being read") as caught:
        compute_features(
            backbone, source, hashed, cut=found, weights="w", device=torch.device("cpu")
        )  # fmt: skip
    assert manifest.file(3).name in str(caught.value)
    assert not torch.is_inference_mode_enabled(), "an error leaves no mode behind"
    assert not list(cache.rglob("features/**/*.npy"))


def test_changed_views_are_met_in_turn_by_what_is_trained_alone(manifest: Manifest) -> None:
    trained = np.arange(0, 20)
    wish = {"rotation": 20.0, "views": 3, "changed": trained}
    found, seen = compute(manifest, **wish)
    assert seen == len(manifest) + 3 * len(trained) and found.views == 3
    views = [found[epoch, 4][0] for epoch in range(1, 8)]
    assert np.array_equal(views[0], views[3]) and np.array_equal(views[2], views[5])
    assert not np.array_equal(views[0], views[1]) and not np.array_equal(views[0], found[0, 4][0])
    assert compute(manifest, **wish)[1] == 0
    assert compute(manifest, **{**wish, "rotation": 10.0})[1] == 3 * len(trained), "plain images are at hand"
    assert compute(manifest, seed=1, **wish)[1] == 3 * len(trained), "changes depend on the seed"


def test_an_interrupted_pass_keeps_what_was_done(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_cache, "STEP", 4)
    monkeypatch.setattr(feature_cache, "PACK", 1)

    def stop(done: int, total: int) -> None:
        if done >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compute(manifest, progress=stop)
    assert compute(manifest)[1] <= len(manifest) - 16


def test_a_store_that_cannot_be_written_or_is_damaged_only_costs_time(
    manifest: Manifest, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    every = np.arange(len(manifest))
    wanted = compute(manifest)[0].gather(every)
    for kept in cache.rglob("*.npy"):
        kept.write_bytes(kept.read_bytes()[:100])
    again, seen = compute(manifest)
    assert seen == len(manifest) and np.array_equal(again.gather(every), wanted)
    monkeypatch.setenv("GRAFTWORK_CACHE_GB", "1e-6")
    monkeypatch.setenv("GRAFTWORK_CACHE", str(tmp_path / "other"))
    loose, seen = compute(manifest)
    assert seen == len(manifest) and np.array_equal(loose.gather(every), wanted)
    with pytest.raises(RunError, match="cannot be kept"):
        compute(manifest, stages=2)


def test_an_unreadable_picture_is_a_failure_and_never_kept(tmp_path: Path) -> None:
    folder = synthetic_data(tmp_path / "set", cases=20)
    manifest = dataset("chest_xray/kermany").read(folder)
    manifest.file(3).write_bytes(b"")
    found, seen = compute(manifest)
    assert found[1, 3][0].stage and seen == len(manifest) - 1
    assert compute(manifest)[0].failures.keys() == {3}


def test_a_loading_process_is_handed_no_features(manifest: Manifest) -> None:
    found, _ = compute(manifest, stages=2)
    size = len(pickle.dumps(found))
    assert size < 20_000 < found.gather(np.arange(len(manifest))).nbytes
    assert np.array_equal(pickle.loads(pickle.dumps(found))[1, 5][0], found[1, 5][0])


def test_the_decision_is_arithmetic_and_says_why(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = create_backbone("resnet10t", weights=None, seed=0).eval()
    found = cut(backbone, 4, size=64)
    assert isinstance(found, Cut)
    wish = {"size": 64, "epochs": 5, "trained": 1000, "evaluated": 300, "views": 0, "fresh": False}
    decided = worth_keeping(backbone, found, 4, **wish)
    assert decided.keep and decided == worth_keeping(backbone, found, 4, **wish)
    assert decided.why.startswith("features cached after layer3: ") and "for 5 epochs" in decided.why
    for changed, why in (
        ({"epochs": 1}, "only 1 epochs"), ({"fresh": True}, "other augmented images"), ({"views": 5}, "only 5 epochs"),
    ):  # fmt: skip
        other = worth_keeping(backbone, found, 4, **{**wish, **changed})
        assert not other.keep and why in other.why
    lite = create_backbone("tf_efficientnet_lite0", weights=None, seed=0).eval()
    first = cut(lite, 1, size=64)
    assert isinstance(first, Cut)
    assert "takes longer than computing" in worth_keeping(lite, first, 1, **wish).why
    monkeypatch.setenv("GRAFTWORK_CACHE_GB", "0.001")
    assert "more than the limit GRAFTWORK_CACHE_GB" in worth_keeping(backbone, found, 4, **wish).why
    monkeypatch.setenv("GRAFTWORK_CACHE_GB", "much")
    with pytest.raises(UsageError, match="GRAFTWORK_CACHE_GB"):
        worth_keeping(backbone, found, 4, **wish)


@pytest.mark.parametrize(
    ("name", "size", "published"),
    # G multiply-adds: He et al. 2016 and torchvision's table; Tan and Le 2019; Touvron et al. 2021
    [
        ("resnet50", 224, 4.09), ("densenet121", 224, 2.83), ("efficientnet_b0", 224, 0.39),
        ("vit_small_patch16_224", 224, 4.6),
    ],
)  # fmt: skip
def test_multiply_adds_are_those_published(name: str, size: int, published: float) -> None:
    backbone = create_backbone(name, weights=None, seed=0)
    found = multiply_adds(backbone, size)
    assert list(found) == [stage.name for stage in backbone.stages] and min(found.values()) > 0
    assert sum(found.values()) / 1e9 == pytest.approx(published, rel=0.02)


def test_the_precision_of_this_machine_is_one_of_two() -> None:
    assert best_precision(torch.device("cpu")) in ("float32", "bfloat16")
