"""The engines that were measured on this machine: one small file per network in the cache folder."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from graftwork.common.errors import GraftworkError
from graftwork.common.files import cache_folder, hash_of, write_json

ENGINES = {"torch": "train", "onnxruntime": "onnx", "openvino": "openvino"}  # name: extra that installs it


@dataclass(frozen=True)
class Choice:
    """The measured speed of the engines for a network on this machine.

    Attributes:
        network, size, precision, threads, processor: what was measured; size in px.
        versions: of the engines.
        images_per_second: of each engine that agrees with torch. setup_seconds: to convert the network.
        refused: engines that do not agree, with the reason.
    """

    network: str
    size: int
    precision: str
    threads: int
    processor: str
    versions: Mapping[str, str]
    images_per_second: Mapping[str, float] = field(default_factory=dict)
    setup_seconds: Mapping[str, float] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)

    def fastest(self, images: int) -> str:
        """The engine that computes a number of images in the shortest time, conversion included."""
        return min(
            self.images_per_second,
            key=lambda name: self.setup_seconds.get(name, 0.0) + images / self.images_per_second[name],
        )

    def describe(self) -> str:
        """`openvino 126, onnxruntime 117, torch 70 images/s`."""
        rates = sorted(self.images_per_second.items(), key=lambda item: -item[1])
        text = ", ".join(f"{name} {rate:.3g}" for name, rate in rates) + " images/s"
        return text + "".join(f"; {name} refused: {reason}" for name, reason in self.refused.items())


def remembered(about: Mapping[str, Any]) -> Choice | None:
    """The choice for a network; None if it was not measured here, or the file is damaged.

    Args:
        about: network, size, precision, threads, processor and versions, as in `Choice`.
    """
    return _read(_file(about))


def remember(choice: Choice, about: Mapping[str, Any]) -> None:
    """Save a choice. A cache that cannot be written is no error: the engine is measured again next time."""
    file = _file(about)
    with contextlib.suppress(OSError, GraftworkError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, asdict(choice))


def choices() -> tuple[Choice, ...]:
    """All choices on this machine."""
    found = [_read(file) for file in sorted((cache_folder() / "engines").glob("*.json"))]
    return tuple(each for each in found if each is not None)


def _file(about: Mapping[str, Any]) -> Path:
    return cache_folder() / "engines" / f"{hash_of(about)[:32]}.json"


def _read(file: Path) -> Choice | None:
    try:
        found = Choice(**json.loads(file.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    rates = found.images_per_second
    return found if rates.get("torch") and set(rates) <= set(ENGINES) and all(rates.values()) else None
