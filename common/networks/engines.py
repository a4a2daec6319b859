"""Engines: run the frozen part of a network with the fastest installed library that agrees with torch.

Engines other than torch compute image by image, so a result does not depend on the other images of its batch. Which
engine is used is measured once for each network, image size, precision, number of threads and processor, and
remembered in the cache folder.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from graftwork.common.cache.engine_choices import ENGINES, Choice, remember, remembered
from graftwork.common.errors import UsageError
from graftwork.common.processor import processor_name

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

log = logging.getLogger("graftwork")

TOLERANCE = 1e-4  # largest difference from torch in float32, as a share of the largest absolute feature
BFLOAT16_TOLERANCE = 1.5  # with bfloat16: this times the difference of torch's own bfloat16, if that is more
MEASURED_FROM = 600e9  # multiply-adds: half a minute on an ordinary core; less is not worth the measurement
SAMPLE = 8  # images that engines are compared and timed on
ROUNDS = 3  # timings of each engine; the fastest counts

Forward = Callable[["Tensor"], "NDArray[np.float32]"]


class Engine:
    """A network in an engine: images [n, C, H, W] to what the network gives, float32 [n, ...] on the CPU.

    Attributes:
        name: one of `ENGINES`. version: of its library.
        choice: the measurement; None if nothing was measured.
    """

    def __init__(
        self, name: str, version: str, build: Callable[[], Forward], choice: Choice | None = None
    ) -> None:
        self.name, self.version, self.choice = name, version, choice
        self._build = build
        self._forward: Forward | None = None

    def __call__(self, images: Tensor) -> NDArray[np.float32]:
        if self._forward is None:  # converting a network takes seconds, and all its results may be cached
            self._forward = self._build()
        return self._forward(images)

    @property
    def label(self) -> str:
        """For keys of caches: empty for torch, whose results do not depend on this module."""
        return "" if self.name == "torch" else f"{self.name} {self.version}"


def available_engines() -> dict[str, str]:
    """The installed engines and their versions. ONNX Runtime needs onnx and onnxscript to convert a model."""
    needed = {"torch": (), "onnxruntime": ("onnx", "onnxscript"), "openvino": ()}
    found = {}
    for name, others in needed.items():
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions = [importlib.metadata.version(each) for each in (name, *others)]
            found[name] = versions[0]
    return found


def engine_for(
    network: nn.Module,
    sample: Callable[[], Tensor],
    *,
    name: str,
    size: int,
    device: torch.device,
    precision: str = "float32",
    asked: str = "auto",
    images: int = 0,
    cost: Callable[[], float] = lambda: 0.0,
) -> Engine:
    """The engine for a network in eval mode.

    Args:
        network: on `device`, without gradients.
        sample: gives a few images [n, C, size, size] of the data, to compare and time engines on.
        name: of the network's architecture, with the place where it is cut.
        precision: "float32" or "bfloat16".
        asked: "auto", or one of the installed engines.
        images: how many will be computed. An engine is used where it saves more time than its conversion takes.
        cost: gives the multiply-adds of an image; engines are measured from `MEASURED_FROM` for all images on.

    Raises:
        UsageError: the engine asked for is unknown or not installed. At the first use of the engine asked for: it does
            not agree with torch.
    """
    forward = _torch_forward(network, device, precision)
    if asked not in ("auto", *ENGINES):
        raise UsageError(
            f"unknown engine {asked!r}, expected auto, {', '.join(ENGINES)}",
            where="engine",
            remedy="use engine=auto",
        )

    def reference(known: Choice | None = None) -> Engine:
        return Engine("torch", torch.__version__, lambda: forward, known)

    if asked == "torch" or device.type != "cpu":
        return reference()
    versions = available_engines()
    if asked not in ("auto", *versions):
        raise UsageError(
            f"{asked} is not installed",
            where="engine",
            remedy=f'run: pip install "graftwork[{ENGINES[asked]}]", or use engine=torch',
        )

    def build() -> Forward:
        built, reason = _built(asked, network, sample(), precision)
        if built is None:
            raise UsageError(
                f"{asked} does not compute {name} like torch: {reason}",
                where="engine",
                remedy="use engine=torch",
            )
        return built

    if asked != "auto":
        return Engine(asked, versions[asked], build)
    if len(versions) == 1 or not images:
        return reference()
    about: dict[str, Any] = {
        "network": name,
        "size": size,
        "precision": precision,
        "threads": torch.get_num_threads(),
        "processor": processor_name(),
        "versions": versions,
    }
    known = remembered(about)
    if known is None:
        if images * cost() < MEASURED_FROM:
            return reference()
        batch = sample()
        if not len(batch):
            return reference()
        known = _measured(network, batch, precision, forward, about)
        remember(known, about)
        log.info("engine for %s, %d px: %s", name, size, known.describe())
    fastest = known.fastest(images)

    def build_known() -> Forward:
        built, reason = _built(fastest, network, sample(), precision)
        if built is None:  # it agreed with the weights that it was measured with
            log.warning("torch is used in place of %s for %s: %s", fastest, name, reason)
        return built or forward

    if fastest == "torch":
        return reference(known)
    return Engine(fastest, versions[fastest], build_known, known)


def _measured(
    network: nn.Module, batch: Tensor, precision: str, forward: Forward, about: Mapping[str, Any]
) -> Choice:
    """Build, compare and time all installed engines."""
    rates, setup, refused = {"torch": _rate(forward, batch)}, {"torch": 0.0}, {}
    for name in about["versions"]:
        if name == "torch":
            continue
        start = time.perf_counter()
        built, reason = _built(name, network, batch, precision)
        setup[name] = round(time.perf_counter() - start, 2)
        if built is None:
            refused[name] = reason
        else:
            rates[name] = _rate(built, batch)
    return Choice(
        **about,
        images_per_second={name: round(rate, 2) for name, rate in rates.items()},
        setup_seconds=setup,
        refused=refused,
    )


def _rate(forward: Forward, batch: Tensor) -> float:
    """Images per second."""
    forward(batch)
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        forward(batch)
        seconds.append(time.perf_counter() - start)
    return len(batch) / max(min(seconds), 1e-9)


class _Expected:
    """What eager torch computes in float32 for some images, and how far an engine may be from it."""

    def __init__(self, network: nn.Module, batch: Tensor, precision: str) -> None:
        cpu = torch.device("cpu")
        self.values = _torch_forward(network, cpu, "float32")(batch)
        self.allowed = TOLERANCE * float(np.abs(self.values).max(initial=0.0))
        if precision == "bfloat16":
            rounded = _torch_forward(network, cpu, precision)(batch)
            self.allowed = max(self.allowed, BFLOAT16_TOLERANCE * float(np.abs(rounded - self.values).max()))

    def fault(self, found: NDArray[np.float32]) -> str:
        """Why an engine's result is refused; empty if it agrees."""
        if found.shape != self.values.shape:
            return f"its output has the shape {found.shape}, expected {self.values.shape}"
        difference = float(np.abs(found - self.values).max(initial=0.0))
        if not difference <= self.allowed:
            return f"it differs from torch by {difference:.3g}, allowed {self.allowed:.3g}"
        return ""


def _built(name: str, network: nn.Module, batch: Tensor, precision: str) -> tuple[Forward | None, str]:
    """The network in an engine, or why it is refused."""
    build = {"onnxruntime": _onnxruntime_forward, "openvino": _openvino_forward}[name]
    try:
        with _quiet():
            forward = build(network, batch[:1], precision)
        fault = _Expected(network, batch, precision).fault(forward(batch))
    except Exception as error:  # converters fail in many ways, and torch remains
        fault = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return (None, fault) if fault else (forward, "")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Converters warn of their own deprecations and print their progress."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _torch_forward(network: nn.Module, device: torch.device, precision: str) -> Forward:
    def forward(images: Tensor) -> NDArray[np.float32]:
        inputs = images.to(device, memory_format=torch.channels_last)
        with (
            torch.inference_mode(),
            torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"),
        ):
            found: NDArray[np.float32] = network(inputs).float().cpu().numpy()
        return found

    return forward


def _openvino() -> Any:
    """OpenVINO without its telemetry, which reports each import and conversion over the internet."""
    sys.modules.setdefault(
        "openvino_telemetry", cast(Any, None)
    )  # its import fails, and OpenVINO goes without
    import openvino

    return openvino


def _openvino_forward(network: nn.Module, one: Tensor, precision: str) -> Forward:
    openvino = _openvino()
    with torch.no_grad():
        model = openvino.convert_model(network, example_input=one, input=list(one.shape))
    compiled = openvino.Core().compile_model(
        model,
        "CPU",
        {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
        },
    )
    request = compiled.create_infer_request()

    def forward(images: Tensor) -> NDArray[np.float32]:
        values = images.contiguous().numpy()
        return np.concatenate(
            [
                np.array(request.infer({0: values[at : at + 1]}, share_inputs=True)[0], np.float32)
                for at in range(len(values))
            ]
        )

    return forward


def _onnxruntime_forward(network: nn.Module, one: Tensor, precision: str) -> Forward:
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # of Windows builds
    with torch.no_grad():
        program = torch.onnx.export(network, (one,), dynamo=True, verbose=False)
    assert program is not None
    content = program.model_proto.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def forward(images: Tensor) -> NDArray[np.float32]:
        values = images.contiguous().numpy()
        return np.concatenate(
            [session.run(None, {name: values[at : at + 1]})[0] for at in range(len(values))]
        )

    return forward
