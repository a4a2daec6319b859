"""The warnings across the top of a page: leakage in red, made-up data, labels that are not what they seem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from graftwork.common.report.formatting import count, number, plural, sentence

if TYPE_CHECKING:
    from graftwork.common.report.run.run_facts import Facts


WEAK = "weak labels:"  # how a loader's note begins that must stand near the result
CONCLUSIVE = 5  # groups in the test part below which nothing can be concluded


@dataclass(frozen=True)
class Stamp:
    """A warning across the top; `made_up` are those about data or labels that are not the real ones."""

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
    """The warnings that a run carries: leakage, doubtful groups, weights that saw the data, what is synthetic."""
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
    for doubt in facts.split.doubts:
        allowed = "" if not doubt.allowance else f" (allowed by --allow {doubt.allowance})"
        found.append(Stamp(f"GROUPS IN DOUBT: {sentence(facts.scrub(doubt.sentence + allowed))}"))
    if facts.synthetic:
        found.append(
            Stamp(
                "SYNTHETIC DATA: made up to try the program. These numbers say nothing about the world.", True
            )
        )
    if facts.unverified:
        found.append(
            Stamp(
                "NOT VERIFIED: checksums.txt was removed from this run; its files may be damaged or changed."
            )
        )
    overlap = str(facts.weights.get("overlap") or "")
    if overlap:
        found.append(Stamp(f"SEEN BEFORE: {overlap}"))
    for note in facts.manifest.notes:
        if note.lower().startswith(WEAK):
            said = sentence(facts.scrub(note[len(WEAK) :].strip()))
            found.append(Stamp(f"WEAK LABELS: {said[:1].upper()}{said[1:]}", True))
    return found


def too_few(facts: Facts) -> str:
    """What is said where the test part has fewer than five groups; empty where it has more."""
    groups = facts.evaluation.groups
    if groups >= CONCLUSIVE:
        return ""
    return (
        f"Only {count(groups, facts.group)} in the {facts.evaluation.part} part: too few to conclude anything. The "
        f"interval cannot say what other {plural(facts.group)} would give."
    )
