"""Pretrained weights, as `graftwork weights`: which are available here, and how to carry them to another machine."""

from __future__ import annotations

from collections.abc import Sequence

from graftwork.common import verbs
from graftwork.common.verbs import pack_weights as pack, unpack_weights as unpack

__all__ = ["ls", "pack", "unpack"]


def ls() -> Sequence[verbs.Entry]:
    """List the pretrained weights that are available without a network."""
    return verbs.ls("weights")
