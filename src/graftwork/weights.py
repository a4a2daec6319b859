"""The functions of `graftwork weights`: list pretrained weights, and copy them to another machine."""

from __future__ import annotations

from collections.abc import Sequence

from graftwork.common import verbs
from graftwork.common.verbs import pack_weights as pack, unpack_weights as unpack

__all__ = ["ls", "pack", "unpack"]


def ls() -> Sequence[verbs.Entry]:
    """List the pretrained weights that are available offline."""
    return verbs.ls("weights")
