"""What a check finds, as a type. Imports nothing, so that a dataset module may make findings of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

KINDS = (
    "missing",
    "unreadable",
    "geometry",
    "header",
    "intensity",
    "mask-values",
    "no-foreground",
    "no-group",
    "group-key",
    "look-alike-groups",
    "look-alike-units",
    "look-alike-classes",
    "look-alike-cases",
    "look-alike-values",
    "group-across-parts",
    "duplicate",
    "contradiction",
    "copy",
    "near-duplicate",
    "impossible-value",
    "small-class",
    "unlisted-file",
)
SHOWN = 5  # examples of a finding
_EACH = 100  # findings of one kind that are named one by one; above, they are counted


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        kind: one of `KINDS`, or a word of the dataset's own module.
        severity: "error" (a result would be wrong or a run would stop) or "warning" (look at it).
        where: the file, column, class or pair of parts that it concerns.
        what: what was found, in a sentence without a full stop.
        remedy: what to do about it.
        count: of how many files, groups or pairs.
        examples: some of them.
    """

    kind: str
    severity: Literal["error", "warning"]
    where: str
    what: str
    remedy: str
    count: int = 1
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Findings:
    """All that was found about a dataset, errors first.

    Attributes:
        dataset: its name.
        cases, groups: how many were looked at.
        findings: what was found.
        remembered: files whose content had been looked at in an earlier check.
        notes: what the reader of the dataset assumed, normalised or left out, a sentence each; no findings.
    """

    dataset: str
    cases: int
    groups: int
    findings: tuple[Finding, ...] = field(default=())
    remembered: int = 0
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing was found, not even a warning."""
        return not self.findings

    def rows(self) -> list[dict[str, str]]:
        """A row of text a finding, for a table: severity, kind, where, what, remedy."""
        return [
            {
                "severity": finding.severity,
                "kind": finding.kind,
                "where": finding.where,
                "what": finding.what
                + (f", such as {'; '.join(finding.examples[:3])}" if finding.examples else ""),
                "remedy": finding.remedy,
            }
            for finding in self.findings
        ]

    def to_json(self) -> dict[str, Any]:
        """The same for programs; plain values only."""
        return {
            "dataset": self.dataset,
            "cases": self.cases,
            "groups": self.groups,
            "ok": self.ok,
            "remembered": self.remembered,
            "notes": list(self.notes),
            "findings": [
                {**asdict(finding), "examples": list(finding.examples)} for finding in self.findings
            ],
        }


def each(
    kind: str, items: Sequence[tuple[str, str]], remedy: str, remedies: Sequence[str] = ()
) -> Iterator[Finding]:
    """An error for each item (where, what), or one for all where they are too many to be read.

    Args:
        remedies: of each item, where one has a remedy of its own (not empty).
    """
    if len(items) > _EACH:
        examples = tuple(f"{where}: {what}" for where, what in items[:SHOWN])
        yield Finding(kind, "error", f"{len(items)} files", f"{kind} files", remedy, len(items), examples)
        return
    for index, (where, what) in enumerate(items):
        own = remedies[index] if remedies and remedies[index] else remedy
        yield Finding(kind, "error", where, what, own)
