"""Exceptions that a user can allow by name: without them, the split is refused."""

from __future__ import annotations

from collections.abc import Iterable

from graftwork.common.errors import UsageError

ALLOWANCES = {
    "leak": "groups that appear in two parts of the split, for a study of leakage",
    "look-alike-groups": "groups whose names differ only in case, leading zeros, `.0` or punctuation",
    "look-alike-units": "units (events, volumes) of one group whose names differ only in these ways",
    "look-alike-classes": "classes whose names differ only in these ways",
    "group-key": "groups whose names are file names, paths or addresses",
}


def known_allowances(allow: Iterable[str]) -> tuple[str, ...]:
    """The names of `ALLOWANCES` in `allow`, each once and in their order.

    Raises:
        UsageError: another name is among them; lists those that are known.
    """
    given = (allow,) if isinstance(allow, str) else tuple(allow)
    unknown = [name for name in given if name not in ALLOWANCES]
    if unknown:
        raise UsageError(
            f"unknown name: {', '.join(map(repr, unknown))}; expected one of {', '.join(ALLOWANCES)}",
            where="allow",
        )
    return tuple(name for name in ALLOWANCES if name in given)
