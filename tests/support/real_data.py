"""Where the real data sets lie, for tests marked `real`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

__all__ = ["real"]


def real(path: str) -> Path:
    """A file or folder of the real sets: below `GRAFTWORK_DATA`, else `../shared/data` beside the checkout.

    The test is skipped, and says for want of what, where it is missing.
    """
    chosen = os.environ.get("GRAFTWORK_DATA")
    folder = Path(chosen) if chosen else Path(__file__).resolve().parents[3] / "shared" / "data"
    place = folder / path
    if not place.exists():
        pytest.skip(f"no real data at {place}")
    return place
