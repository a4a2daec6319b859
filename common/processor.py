"""The processor of this machine: its name and its instruction sets."""

from __future__ import annotations

import contextlib
import functools
import platform
from pathlib import Path


@functools.cache
def _first_lines() -> dict[str, str]:
    """The fields of the first processor in /proc/cpuinfo; empty on systems without it."""
    found: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            name, _, value = line.partition(":")
            found.setdefault(name.strip(), value.strip())
    return found


def processor_name() -> str:
    """The model of the processor, or its architecture where the system does not say the model."""
    return _first_lines().get("model name") or platform.processor() or platform.machine()


def instruction_sets() -> frozenset[str]:
    """The instruction sets, as Linux names them ("avx2", "avx512_bf16"); empty where the system does not list them."""
    fields = _first_lines()
    return frozenset((fields.get("flags") or fields.get("Features") or "").split())
