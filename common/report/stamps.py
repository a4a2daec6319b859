"""The warnings across the top of a page: leakage in red, made-up data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from graftwork.common.report.wording import count, number

if TYPE_CHECKING:
    from graftwork.common.report.facts import Facts

__all__ = ["Stamp", "leak_sentence", "stamps_of"]


@dataclass(frozen=True)
class Stamp:
    """A warning across the top; `made_up` is the one about data that are not real."""

    text: str
    made_up: bool = False


def leak_sentence(facts: Facts) -> str:
    """How many groups stand in more than one part, and what that does to the numbers."""
    one = facts.leaks == 1
    return (
        f"{number(facts.leaks)} of {count(facts.groups, facts.group)} {'stands' if one else 'stand'} in more than "
        "one part: these numbers flatter"
    )


def stamps_of(facts: Facts) -> list[Stamp]:
    """The warnings that a run must carry: leakage (red), made-up data."""
    found: list[Stamp] = []
    if facts.leaks:
        found.append(Stamp(f"LEAKAGE: {leak_sentence(facts)}."))
    elif facts.leak_allowed:
        found.append(
            Stamp(
                "LEAKAGE ALLOWED: the split was made with --allow-leak; "
                f"0 of {count(facts.groups, facts.group)} stand in more than one part."
            )
        )
    if facts.synthetic:
        found.append(
            Stamp(
                "SYNTHETIC DATA: made up to try the program. These numbers say nothing about the world.", True
            )
        )
    return found
