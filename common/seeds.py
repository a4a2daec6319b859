"""Seeds without a history: a hash of what a random draw is for."""

from __future__ import annotations

import hashlib


def seed_of(*parts: int | str) -> int:
    """A seed in 0..2**63-1 from whole numbers and words: a hash, so that no two uses share a stream."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
