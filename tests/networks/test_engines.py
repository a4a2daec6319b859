"""Engines: the same features as torch for every family of networks, the fastest one used, a wrong one refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from small_families import FAMILIES, small_backbone
from torch import Tensor, nn

from graftwork.common.cache import engine_choices
from graftwork.common.cache.engine_choices import Choice, choices
from graftwork.common.errors import UsageError
from graftwork.common.networks import engines
from graftwork.common.networks.cutting import Cut, cut
from graftwork.common.networks.engines import Engine, available_engines, engine_for

QUICK = {"efficientnet", "vit"}  # in the default suite
OTHERS = ("onnxruntime", "openvino")
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("GRAFTWORK_CACHE", str(tmp_path / "cache"))
    yield


def prefix(family: str, stages: int = 0) -> tuple[Cut, Tensor]:
    backbone = small_backbone(family).eval()
    size = FAMILIES[family][2]
    found = cut(backbone, stages or len(backbone.stages), size=size)
    assert isinstance(found, Cut)
    return found, torch.randn(5, 3, size, size, generator=torch.Generator().manual_seed(1))


def engine(network: nn.Module, sample: Tensor, **how: object) -> Engine:
    return engine_for(network, lambda: sample, name="small", size=sample.shape[-1], device=CPU, **how)  # type: ignore[arg-type]


class Steady(nn.Module):
    """Two features of an image: a network that is quick to convert."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([images.mean(dim=(1, 2, 3)), images.amax(dim=(1, 2, 3))], dim=1)


IMAGES = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(2))


def test_the_development_environment_has_all_engines() -> None:
    assert tuple(available_engines()) == ("torch", *OTHERS)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize(
    "family", [each if each in QUICK else pytest.param(each, marks=pytest.mark.slow) for each in FAMILIES]
)
def test_an_engine_gives_the_features_of_torch(family: str, name: str) -> None:
    found, images = prefix(family)
    expected = engine(found.prefix, images, asked="torch")(images)
    used = engine(found.prefix, images, asked=name)
    features = used(images)
    assert used.name == name and used.label == f"{name} {available_engines()[name]}"
    assert features.dtype == np.float32 and features.shape == expected.shape
    assert np.abs(features - expected).max() <= 1e-4 * np.abs(expected).max()
    # image by image: the others of a batch have no influence
    assert np.array_equal(used(images[2:3]), features[2:3])


@pytest.mark.parametrize("name", OTHERS)
def test_an_inner_cut_has_maps_in_an_engine_too(name: str) -> None:
    found, images = prefix("efficientnet", 2)
    expected = engine(found.prefix, images, asked="torch")(images)
    assert expected.ndim == 4
    assert engine(found.prefix, images, asked=name)(images) == pytest.approx(
        expected, abs=1e-4 * float(expected.max())
    )


def slowed(monkeypatch: pytest.MonkeyPatch, rates: dict[str, float], wrong: str = "") -> None:
    """Engines of Steady with given speeds; one of them with a wrong result."""

    def build(name: str) -> Callable[[nn.Module, Tensor, str], Callable[[Tensor], NDArray[np.float32]]]:
        def built(network: nn.Module, one: Tensor, precision: str) -> Callable[[Tensor], NDArray[np.float32]]:
            return lambda images: network(images).numpy() * (1.001 if name == wrong else 1.0)

        return built

    monkeypatch.setattr(engines, "_openvino_forward", build("openvino"))
    monkeypatch.setattr(engines, "_onnxruntime_forward", build("onnxruntime"))
    order = iter(rates.values())
    monkeypatch.setattr(engines, "_rate", lambda forward, batch: next(order))


MANY = {"images": 1000, "cost": lambda: 1e9}


def test_the_fastest_engine_is_measured_once_and_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    slowed(monkeypatch, {"torch": 10.0, "onnxruntime": 20.0, "openvino": 30.0})
    found = engine(Steady(), IMAGES, **MANY)
    assert found.name == "openvino" and found.choice is not None
    assert found.choice.describe() == "openvino 30, onnxruntime 20, torch 10 images/s"
    monkeypatch.setattr(engines, "_measured", lambda *_: pytest.fail("measured again"))
    assert engine(Steady(), IMAGES, **MANY).name == "openvino"
    assert [each.network for each in choices()] == ["small"]


def test_another_size_precision_or_number_of_threads_is_measured_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slowed(monkeypatch, dict.fromkeys(range(12), 10.0))  # type: ignore[arg-type]
    engine(Steady(), IMAGES, **MANY)
    engine(Steady(), IMAGES, precision="bfloat16", **MANY)
    engine(Steady(), IMAGES[..., :8, :8], **MANY)
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        engine(Steady(), IMAGES, **MANY)
    finally:
        torch.set_num_threads(before)
    assert len(choices()) == 4


def test_an_engine_that_differs_from_torch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    slowed(monkeypatch, {"torch": 10.0, "onnxruntime": 20.0}, wrong="openvino")
    found = engine(Steady(), IMAGES, **MANY)
    assert found.name == "onnxruntime" and found.choice is not None
    assert "differs from torch by" in found.choice.refused["openvino"]
    with pytest.raises(UsageError, match="openvino does not compute small like torch: it differs"):
        engine(Steady(), IMAGES, asked="openvino")(IMAGES)


def test_a_converter_that_fails_is_refused_with_its_reason() -> None:
    class Untraceable(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            if images.mean().item() > 1e9:
                raise ValueError
            return torch.from_numpy(np.median(images.numpy(), axis=(2, 3)))

    used = engine(Untraceable(), IMAGES, **MANY)
    assert used.name == "torch" and used.choice is not None
    assert "onnxruntime" in used.choice.refused


def test_little_work_and_conversion_that_takes_longer_leave_it_to_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slowed(monkeypatch, {"torch": 10.0, "onnxruntime": 20.0, "openvino": 30.0})
    assert engine(Steady(), IMAGES, images=100, cost=lambda: 1e9).choice is None
    known = Choice(
        "n", 1, "float32", 1, "p", {}, {"torch": 10.0, "openvino": 30.0}, {"torch": 0.0, "openvino": 2.0}
    )
    assert known.fastest(29) == "torch" and known.fastest(31) == "openvino"


def test_weights_for_which_the_remembered_engine_is_wrong_are_computed_by_torch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    slowed(monkeypatch, {"torch": 10.0, "onnxruntime": 20.0, "openvino": 30.0})
    engine(Steady(), IMAGES, **MANY)
    slowed(monkeypatch, {}, wrong="openvino")
    found = engine(Steady(), IMAGES, **MANY)
    assert found(IMAGES) == pytest.approx(Steady()(IMAGES).numpy(), abs=1e-6)
    assert "torch is used in place of openvino for small: it differs" in caplog.text


@pytest.mark.parametrize("content", ["", "{", "[]", '{"network": "small"}', '{"images_per_second": 3}'])
def test_a_damaged_measurement_is_made_again(monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    slowed(monkeypatch, {"torch": 10.0, "onnxruntime": 20.0, "openvino": 30.0})
    engine(Steady(), IMAGES, **MANY)
    (file,) = (engine_choices.cache_folder() / "engines").glob("*.json")
    whole = json.loads(file.read_text())
    file.write_text(content or json.dumps({**whole, "images_per_second": {}}))
    assert not choices()
    slowed(monkeypatch, {"torch": 30.0, "onnxruntime": 20.0, "openvino": 10.0})
    assert engine(Steady(), IMAGES, **MANY).name == "torch"


def test_an_unknown_and_a_missing_engine_are_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        UsageError, match="unknown engine 'tensorrt', expected auto, torch, onnxruntime, openvino"
    ):
        engine(Steady(), IMAGES, asked="tensorrt")
    monkeypatch.setattr(engines, "available_engines", lambda: {"torch": "2"})
    with pytest.raises(UsageError, match=r'openvino is not installed.*ip install "graftwork\[openvino\]"'):
        engine(Steady(), IMAGES, asked="openvino")
    assert engine(Steady(), IMAGES, **MANY).name == "torch"


def test_a_cache_that_cannot_be_written_only_costs_the_measurement(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file in the way")
    slowed(monkeypatch, {"torch": 10.0, "onnxruntime": 20.0, "openvino": 30.0})
    assert engine(Steady(), IMAGES, **MANY).name == "openvino"
    assert not choices()


NO_REPORTS = """
import sys, threading
import psutil, torch
from graftwork.common.networks.engines import engine_for

class Mean(torch.nn.Module):
    def forward(self, images):
        return images.mean(dim=(2, 3))

images = torch.randn(2, 3, 8, 8)
for name in ("onnxruntime", "openvino"):
    engine_for(Mean(), lambda: images, name="mean", size=8, device=torch.device("cpu"), asked=name)(images)
assert sys.modules["openvino_telemetry"] is None
assert not psutil.Process().children(), "a process that reports to somebody"
assert all(each is threading.main_thread() or each.daemon for each in threading.enumerate())
"""


def test_no_engine_reports_its_use_over_the_internet(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    environment = {**os.environ, "HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", NO_REPORTS], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert not list(home.rglob("*openvino*"))
