"""Images that were decoded once are the same images, bit for bit, and only 8-bit ones are kept."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from graftwork.common.data.manifest import Manifest
from graftwork.common.data.targets import Target
from graftwork.common.files import file_sha256
from graftwork.common.loading import samples
from graftwork.common.loading.image_cache import decode_once
from graftwork.common.loading.samples import ImageSource
from graftwork.common.loading.transforms import Preprocessing

HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """Grey, coloured and 16-bit images of several shapes, and one that cannot be read."""
    monkeypatch.setenv("GRAFTWORK_CACHE", str(tmp_path / "cache"))
    root, generator = tmp_path / "set", np.random.default_rng(0)
    root.mkdir()
    made = {
        "grey.png": generator.integers(0, 256, (50, 70), np.uint8),
        "colour.png": generator.integers(0, 256, (64, 40, 3), np.uint8),
        "deep.png": generator.integers(0, 65536, (60, 60)).astype(np.uint16),
        "same.png": generator.integers(0, 256, (32, 32, 3), np.uint8),
    }
    for name, pixels in made.items():
        Image.fromarray(pixels).save(root / name)
    (root / "broken.png").write_bytes(b"")
    names = [*made, "broken.png"]
    frame = pd.DataFrame({"case": names, "path": names, "group": names, "target": ["a", "b", "a", "b", "a"]})
    return Manifest(frame, root, "d/s", "a case", Target("t", "binary", ("a", "b")))


def source_of(manifest: Manifest, fit: str = "squash") -> ImageSource:
    return ImageSource(manifest, Preprocessing(32, fit, "bilinear", *HALF))  # type: ignore[arg-type]


def contents(manifest: Manifest) -> list[str]:
    return [file_sha256(manifest.file(row)) for row in range(len(manifest))]


@pytest.mark.parametrize("fit", ["squash", "pad", "crop"])
def test_they_are_the_same_to_the_bit_and_read_once(
    fit: str, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = source_of(manifest, fit)
    wanted = [plain.image(row) for row in range(4)]
    kept = source_of(manifest, fit)
    failures = decode_once(kept, np.arange(5), contents(manifest))
    assert [failure.row for failure in failures] == [4] and failures[0].stage
    read: list[str] = []
    original = samples.read_image
    monkeypatch.setattr(
        samples, "read_image", lambda path, **named: read.append(path.name) or original(path, **named)
    )
    for row, picture in enumerate(wanted):
        assert np.array_equal(kept.image(row), picture)
    assert read == ["deep.png"], "16 bits do not fit into 8: it is read each time"
    again = source_of(manifest, fit)
    assert [failure.row for failure in decode_once(again, np.arange(5), contents(manifest))] == [4]
    assert read == ["deep.png", "deep.png", "broken.png"]


def test_what_does_not_fit_the_budget_is_read_anew_and_said(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("GRAFTWORK_CACHE_GB", "1e-6")
    source = source_of(manifest)
    with caplog.at_level(logging.WARNING):
        assert len(decode_once(source, np.arange(5), contents(manifest))) == 1
    assert source.decoded is None and "read again in every epoch" in caplog.text
    assert np.array_equal(source.image(0), source_of(manifest).image(0))


def test_a_picture_that_changed_since_it_was_hashed_is_not_kept(manifest: Manifest) -> None:
    hashed, path = contents(manifest), manifest.file(1)
    before, wanted = path.read_bytes(), source_of(manifest).image(1)
    path.write_bytes(manifest.file(3).read_bytes())
    decode_once(source_of(manifest), np.arange(4), hashed)
    path.write_bytes(before)
    again = source_of(manifest)
    decode_once(again, np.arange(4), hashed)
    assert np.array_equal(again.image(1), wanted)
