"""Frozen work is done once, and never stands in for other work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import synthetic_data

from graftwork.common import features
from graftwork.common.backbones import Backbone, create_backbone
from graftwork.common.domain import dataset
from graftwork.common.features import FeatureSource, compute_features
from graftwork.common.files import file_sha256
from graftwork.common.manifest import Manifest
from graftwork.common.sources import ImageSource
from graftwork.common.transforms import Preprocessing

HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class Counted(torch.nn.Module):
    """A backbone that counts the pictures that go through it."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone, self.width, self.seen = backbone, backbone.width, 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen += len(images)
        return self.backbone(images)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = synthetic_data(tmp_path_factory.mktemp("data") / "set", cases=40)
    return dataset("chest_xray/kermany").read(folder)


def compute(
    manifest: Manifest, folder: Path, size: int = 32, weights: str = "w"
) -> tuple[FeatureSource, int]:
    backbone = Counted(create_backbone("test_efficientnet", weights=None, seed=0).eval())
    found = compute_features(
        backbone,  # type: ignore[arg-type]
        ImageSource(manifest, Preprocessing(size, "squash", "bilinear", *HALF)),
        [file_sha256(manifest.file(row)) for row in range(len(manifest))],
        weights=weights,
        device=torch.device("cpu"),
        folder=folder,
    )
    return found, backbone.seen


def test_kept_features_are_the_network_s_own(manifest: Manifest, tmp_path: Path) -> None:
    found, seen = compute(manifest, tmp_path)
    assert seen == len(manifest)
    backbone = create_backbone("test_efficientnet", weights=None, seed=0).eval()
    source = ImageSource(manifest, Preprocessing(32, "squash", "bilinear", *HALF))
    with torch.inference_mode():
        fresh = backbone(torch.stack([source[row][0] for row in range(5)]))
    np.testing.assert_allclose(found.features[:5], fresh.numpy(), atol=1e-5)
    assert np.array_equal(found.targets, source.targets)
    again, seen = compute(manifest, tmp_path)
    assert seen == 0
    assert np.array_equal(again.features, found.features)


def test_whatever_matters_makes_them_anew(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute(manifest, tmp_path)
    assert compute(manifest, tmp_path, size=48)[1] == len(manifest)
    assert compute(manifest, tmp_path, weights="other")[1] == len(manifest)
    monkeypatch.setattr(features, "READER_VERSION", "another")
    assert compute(manifest, tmp_path)[1] == len(manifest)


def test_a_changed_picture_makes_its_chunk_anew(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "CHUNK", 8)
    compute(manifest, tmp_path)
    picture = manifest.file(0)
    content = picture.read_bytes()
    picture.write_bytes(manifest.file(len(manifest) - 1).read_bytes())
    try:
        found, seen = compute(manifest, tmp_path)
    finally:
        picture.write_bytes(content)
    assert seen == 8
    np.testing.assert_allclose(found.features[0], found.features[-1], atol=1e-5)


def test_an_interrupted_pass_keeps_what_was_done(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "CHUNK", 8)
    monkeypatch.setattr(features, "STEP", 4)
    source = ImageSource(manifest, Preprocessing(32, "squash", "bilinear", *HALF))
    contents = [file_sha256(manifest.file(row)) for row in range(len(manifest))]

    def stop(done: int, total: int) -> None:
        if done >= 20:
            raise KeyboardInterrupt

    backbone = create_backbone("test_efficientnet", weights=None, seed=0).eval()
    with pytest.raises(KeyboardInterrupt):
        compute_features(
            backbone,
            source,
            contents,
            weights="w",
            device=torch.device("cpu"),
            folder=tmp_path,
            progress=stop,
        )
    assert compute(manifest, tmp_path)[1] == len(manifest) - 16


def test_damaged_or_unwritable_caches_only_cost_time(manifest: Manifest, tmp_path: Path) -> None:
    found, _ = compute(manifest, tmp_path)
    for kept in tmp_path.rglob("*.npy"):
        kept.write_bytes(kept.read_bytes()[:100])
    again, seen = compute(manifest, tmp_path)
    assert seen == len(manifest)
    assert np.array_equal(again.features, found.features)
    (tmp_path / "file").write_text("")
    assert compute(manifest, tmp_path / "file" / "below")[1] == len(manifest)


def test_an_unreadable_picture_is_a_failure_and_never_kept(tmp_path: Path) -> None:
    folder = synthetic_data(tmp_path / "set", cases=20)
    manifest = dataset("chest_xray/kermany").read(folder)
    manifest.file(3).write_bytes(b"")
    found, _ = compute(manifest, tmp_path / "cache")
    assert found[1, 3][0].stage
    assert np.isnan(found.features[3]).all()
    assert not list((tmp_path / "cache").rglob("*.npy"))
