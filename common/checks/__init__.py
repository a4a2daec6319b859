"""All findings about a dataset at once. The public names load when first used.

Importing this package, or its `findings`, imports neither numpy nor pandas: a dataset module makes findings of its
own with what it has.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graftwork.common.checks.checking import check
    from graftwork.common.checks.findings import KINDS, Finding, Findings

__all__ = ["KINDS", "Finding", "Findings", "check"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "checking" if name == "check" else "findings"
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
