"""`graftwork doctor` reports the machine and remedies for its problems, without internet and without torch."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from graftwork.common import doctor
from graftwork.common.cache.array_cache import Kept
from graftwork.common.data import domain
from graftwork.common.doctor import Advice, Checkup, Device, Place, examine
from graftwork.common.files import GraftworkError

GIB = 2**30


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRAFTWORK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def advice(found: Checkup, words: str) -> Advice:
    fitting = [each for each in found.advice if words in each.what]
    assert len(fitting) == 1, [each.what for each in found.advice]
    return fitting[0]


def test_this_machine_is_described() -> None:
    found = examine()
    assert found.python == sys.version.split()[0]
    assert found.libraries["torch"] == importlib.metadata.version("torch")
    assert None not in found.libraries.values()
    assert "ruff" not in found.libraries, "extras are not needed to work"
    assert found.processors.allowed == len(os.sched_getaffinity(0))
    assert 0 < found.processors.usable <= found.processors.installed
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert found.memory.total_gib == pytest.approx(pages / GIB, rel=0.02)
    assert 0 < found.memory.available_gib <= found.memory.total_gib
    assert ("tf_efficientnet_lite0", "package") in [
        (name, origin.split()[0]) for name, origin in found.weights
    ]
    assert found.decoders["JPEG Baseline (Process 1)"]
    assert [each.name for each in found.domains] == list(domain.domains())
    assert all(each.datasets and not each.fault for each in found.domains)
    assert found.ok


def test_the_result_is_json_and_frozen() -> None:
    found = examine()
    again = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert again["ok"] is True
    assert again["processors"]["allowed"] == found.processors.allowed
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.python = "4"  # type: ignore[misc]


def test_it_takes_two_seconds_at_most_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from graftwork.common.doctor import examine; examine();"
        "print([name for name in ('torch', 'monai', 'pandas', 'timm', 'matplotlib', 'scipy') if name in sys.modules])"
    )
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert time.monotonic() - begun < 6, "2 s on an idle machine; this one may be busy"


def test_it_asks_nothing_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert examine().ok


def test_nothing_is_left_behind(own_cache: Path) -> None:
    examine()
    assert not own_cache.exists()
    own_cache.mkdir()
    examine()
    assert list(own_cache.iterdir()) == []


# What is amiss


def test_a_missing_library_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name in ("scipy", "pyarrow") else real(name))
    monkeypatch.setattr(doctor, "_shared_memory", lambda: None)
    found = examine()
    assert not found.ok
    problem = advice(found, "not installed: pyarrow, scipy")
    assert (problem.severity, problem.remedy) == ("problem", "pip install pyarrow scipy")
    assert [each.severity for each in found.advice] == ["problem", "note"], "problems come first"


def test_a_torchvision_for_another_torch_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"torch": "2.13.0+cpu", "torchvision": "0.28.0"}
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: versions.get(name) or real(name))
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: ["numpy", "torch==2.13.0"])
    assert doctor._torchvision_mismatch() == "", "what follows the plus sign is no other version"
    versions["torch"] = "2.12.1"
    found = examine()
    assert (
        "torchvision 0.28.0 was built for torch 2.13.0, but torch 2.12.1 is installed" in found.advice[0].what
    )
    assert not found.ok


def gpu(folder: Path, script: str) -> Path:
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    return tool


def test_gpus_are_seen_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu(tmp_path, "echo 'NVIDIA H100 80GB HBM3, 81559, 580.65.06'; echo 'NVIDIA GB10, [N/A], 580.65.06'")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(doctor, "_torch_cuda", lambda: "13.0")
    found = examine()
    assert found.devices == (
        Device("NVIDIA H100 80GB HBM3", 79.6, "580.65.06"),
        Device("NVIDIA GB10", 0.0, "580.65.06"),
    )
    assert not any("CUDA" in each.what for each in found.advice)


def test_a_gpu_that_torch_cannot_use_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu(tmp_path, "echo 'Tesla T4, 15360, 550.1'")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(doctor, "_torch_cuda", lambda: "")
    found = examine()
    assert advice(found, "torch was built without CUDA and cannot use Tesla T4").severity == "note"
    assert found.ok


@pytest.mark.parametrize("script", ["sleep 30", "echo 'no devices were found'; exit 6", "echo"])
def test_a_driver_that_hangs_or_fails_is_borne(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    gpu(tmp_path, f"exec {script}" if script.startswith("sleep") else script)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    begun = time.monotonic()
    assert all(isinstance(each, Device) for each in doctor._devices())
    assert time.monotonic() - begun < 3


def test_small_shared_memory_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_shared_memory", lambda: Place("/dev/shm", 0.0625, 0.0625, ""))
    note = advice(examine(), "/dev/shm")
    assert "64 MiB, too small" in note.what
    assert "training.workers=0" in note.remedy
    assert "--shm-size" in note.remedy
    monkeypatch.setattr(doctor, "_shared_memory", lambda: None)
    assert "is missing" in advice(examine(), "/dev/shm").what
    monkeypatch.undo()
    assert doctor._shared_memory("/no/such/folder") is None


def test_a_cache_that_cannot_be_written_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("GRAFTWORK_CACHE", str(file))
    found = examine()
    assert found.cache.fault
    assert "GRAFTWORK_CACHE" in advice(found, f"the cache folder {file}").remedy
    assert found.ok, "graftwork works without a cache"

    def refuse(*_: object) -> Path:
        raise GraftworkError("cannot be written: the file system is read-only")

    monkeypatch.setenv("GRAFTWORK_CACHE", str(tmp_path))
    monkeypatch.setattr(doctor, "check_writable", refuse)
    assert examine().cache.fault == "cannot be written: the file system is read-only"
    monkeypatch.setenv("GRAFTWORK_CACHE", str(tmp_path / "new"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert examine().cache.fault == "cannot be created"


def test_size_and_limit_of_the_cache_are_reported(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert examine().kept_gib == 0
    assert Kept("features", {}).put(["a"], np.zeros((1, 30 * 2**20), np.uint8))
    found = examine()
    assert found.kept_gib == pytest.approx(30 / 1024, abs=0.005)
    assert found.cache.path == str(own_cache)
    assert 0 < found.budget_gib <= 20
    monkeypatch.setenv("GRAFTWORK_CACHE_GB", "1.5")
    assert examine().budget_gib == 1.5
    monkeypatch.setenv("GRAFTWORK_CACHE_GB", "much")
    found = examine()
    problem = advice(found, "GRAFTWORK_CACHE_GB")
    assert "much" in problem.what
    assert problem.severity == "problem", "a run is refused with it"
    assert problem.remedy
    assert found.budget_gib == 0


def test_a_stranger_s_broken_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(dict[str, object]):
        def __getitem__(self, name: str) -> object:
            raise GraftworkError(
                f"stranger:{name} cannot be imported (ImportError: no numpy)", where="domain 'plants'"
            )

    monkeypatch.setattr(domain, "domains", lambda: Broken(plants=None))
    found = examine()
    assert [each.name for each in found.domains] == ["plants"]
    assert "cannot be imported" in found.domains[0].fault
    assert not found.ok
    assert found.advice[0].severity == "problem"


@pytest.mark.parametrize(
    ("module", "name", "words"),
    [
        ("networks.weights", "available", "cannot list the pretrained weights"),
        ("data.images", "decoders", "cannot read images"),
    ],
)
def test_a_broken_installation_is_a_problem_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, module: str, name: str, words: str
) -> None:
    imported = __import__(f"graftwork.common.{module}", fromlist=[name])

    def broken() -> None:
        raise ImportError("libjpeg.so.8: cannot open shared object file")

    monkeypatch.setattr(imported, name, broken)
    found = examine()
    assert not found.ok
    assert "ImportError: libjpeg.so.8" in advice(found, words).what


def test_missing_weights_and_decoders_have_a_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from graftwork.common.data import images
    from graftwork.common.networks import weights

    monkeypatch.setattr(weights, "available", list)
    monkeypatch.setattr(images, "decoders", lambda: {"RLE Lossless": "pydicom 3", "JPEG-LS": None})
    found = examine()
    assert "weights unpack" in advice(found, "no pretrained weights").remedy
    assert "pyjpegls" in advice(found, "no decoder for JPEG-LS").remedy
    assert found.decoders == {"RLE Lossless": "pydicom 3", "JPEG-LS": None}


# Containers


def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str]) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)

    def below(function: Callable[..., object]) -> Callable[..., object]:
        return lambda *words: list(function(*words, root=tmp_path))  # type: ignore[call-overload]

    monkeypatch.setattr(doctor, "_cgroup", below(doctor._cgroup))
    monkeypatch.setattr(doctor, "_cgroup_v1", below(doctor._cgroup_v1))


@pytest.mark.parametrize(
    ("files", "cpus", "memory"),
    [
        ({}, None, None),
        ({"cpu.max": "max 100000\n", "memory.max": "max\n"}, None, None),
        ({"cpu.max": "50000 100000\n", "memory.max": f"{GIB}\n"}, 0.5, 1.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None, None),
        ({"cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1.5, None),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, None, None),
        ({"memory/memory.limit_in_bytes": f"{GIB // 2}\n"}, None, 0.5),
        ({"cpu.max": "rubbish", "memory.max": ""}, None, None),
    ],
)
def test_the_limits_of_a_container_are_seen(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, str],
    cpus: float | None,
    memory: float | None,
) -> None:
    cgroup(tmp_path, monkeypatch, files)
    assert doctor._processors().limit == cpus
    assert doctor._memory().limit_gib == memory
    if cpus is not None:
        assert doctor._processors().usable <= cpus
    if memory is not None:
        note = advice(examine(), f"the memory is small ({memory:.1f} GiB)")
        assert "training.batch_size" in note.remedy


def test_the_tightest_of_nested_limits_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own"
    own.write_text("0::/pod/job\n")
    limits = {"": "max 100000", "pod": "100000 100000", "pod/job": "400000 100000"}
    for name, limit in limits.items():
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "cpu.max").write_text(f"{limit}\n")
    found = list(doctor._cgroup("cpu.max", root=tmp_path, own=own))
    assert found == [["400000", "100000"], ["100000", "100000"], ["max", "100000"]]
    monkeypatch.setattr(doctor, "_cgroup", lambda file: found if file == "cpu.max" else [])
    assert doctor._processors().limit == 1.0


def test_a_domain_is_listed_with_its_package() -> None:
    packages = {each.name: each.package for each in examine().domains}
    assert packages["chest_xray"] == "graftwork"


def test_offline_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFTWORK_OFFLINE", "1")
    assert examine().offline
    monkeypatch.setenv("GRAFTWORK_OFFLINE", "0")
    assert not examine().offline
