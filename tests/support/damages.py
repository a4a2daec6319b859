"""Damage to a file's content, drawn by a seed: what disks, networks, editors and killed programs do to files."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

__all__ = ["DAMAGES", "damaged"]


_OTHERS = [
    b"", b"\0", b"\n", b"null", b"[]", b"{}", b"1e999", b"NaN", b'"text"', b"[1]", b"[" * 100_000, b"\x80abc",
    b'{"a":' * 100_000, b'{"a": 1, "a": 2}', b"1" * 5000, b"\xff\xfe{\0}\0", b"\xef\xbb\xbf{}", b"a = 1\n",
    b"PAR1" + bytes(40) + b"PAR1", b"a = [" * 5000, b"x = " + b"9" * 5000, b"PK\x03\x04", b"case,case\n1,2\n",
    b"\x1f\x8b\x08" + bytes(20), b"\xf0\xff\xff\xff\xff\xff\xff\x7f{}", bytes(8) + b"{}",
]  # fmt: skip


def _truncated(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content) + 1)]


def _flipped(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 8])):
        if changed:
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _zeroed(content: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(content) + 1)
    length = min(draw.choice([1, 16, 512, 4096]), len(content) - start)
    return content[:start] + bytes(length) + content[start + length :]


def _doubled(content: bytes, draw: random.Random) -> bytes:
    return content + content


def _inserted(content: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(content) + 1)
    return content[:at] + draw.randbytes(draw.choice([1, 3, 100])) + content[at:]


def _replaced(content: bytes, draw: random.Random) -> bytes:
    return draw.choice(_OTHERS)


def _value(draw: random.Random) -> Any:
    return draw.choice(
        [
            None,
            True,
            0,
            -1,
            10**25,
            1.5,
            float("nan"),
            float("inf"),
            "",
            "text",
            "\0",
            [],
            [None],
            ["a", 1],
            {},
            {"a": 1},
        ]
    )


def _retyped(content: bytes, draw: random.Random) -> bytes:
    """Of JSON: one value, anywhere, becomes one of another type, or its key goes; of anything else a flipped bit."""
    try:
        whole = json.loads(content)
    except (ValueError, RecursionError):
        return _flipped(content, draw)
    place = whole
    while True:
        keys = (
            list(place)
            if isinstance(place, dict)
            else list(range(len(place)))
            if isinstance(place, list)
            else []
        )
        if not keys:
            return json.dumps(_value(draw)).encode()
        key = draw.choice(keys)
        if isinstance(place[key], dict | list) and place[key] and draw.random() < 0.7:
            place = place[key]
            continue
        if draw.random() < 0.3:
            del place[key]
        else:
            place[key] = _value(draw)
        return json.dumps(whole).encode()


DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "truncated": _truncated,
    "flipped": _flipped,
    "zeroed": _zeroed,
    "doubled": _doubled,
    "inserted": _inserted,
    "replaced": _replaced,
    "retyped": _retyped,
}


def damaged(content: bytes, draw: random.Random) -> tuple[str, bytes]:
    """The name of a damage, and the content after it."""
    name = draw.choice(list(DAMAGES))
    return name, DAMAGES[name](content, draw)
