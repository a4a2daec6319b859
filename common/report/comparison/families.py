"""Runs by recipe: seeds of one recipe belong together, and each run gets a name unlike every other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graftwork.common.files import hash_of
from graftwork.common.report.formatting import rate, shortened
from graftwork.common.report.run.run_facts import Facts


@dataclass(frozen=True, eq=False)
class Family:
    """Runs of one recipe that differ in their seed alone."""

    label: str
    runs: tuple[Facts, ...]


def families_of(runs: Sequence[Facts]) -> list[Family]:
    """The runs by recipe, the seed left out; in the order in which recipes come first, runs by seed.

    Two recipes of one name (an override changed one of them) are told apart by what differs.
    """
    found: dict[str, list[Facts]] = {}
    for facts in runs:
        found.setdefault(_key(facts), []).append(facts)
    named: dict[str, list[str]] = {}
    for key, members in found.items():
        named.setdefault(members[0].short_name, []).append(key)
    labels: dict[str, str] = {}
    for name, keys in named.items():
        settings = [flat(without_seed(found[key][0])) for key in keys]
        for key, setting in zip(keys, settings, strict=True):
            differs = [
                f"{option.rpartition('.')[2]}={as_text(value)}"
                for option, value in sorted(setting.items())
                if any(other.get(option) != value for other in settings)
            ]
            said = found[key][0].scrub(", ".join(differs))
            labels[key] = f"{name} ({shortened(said, 80)})" if len(keys) > 1 and differs else name
    return [
        Family(labels[key], tuple(sorted(members, key=lambda facts: facts.recipe.seed)))
        for key, members in found.items()
    ]


def without_seed(facts: Facts) -> dict[str, Any]:
    """The recipe of a run as plain values, its seed left out: what runs of one family share."""
    values = facts.recipe.model_dump(mode="json")
    values.pop("seed")
    return values


def _key(facts: Facts) -> str:
    return hash_of([facts.name, without_seed(facts)])


def flat(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Nested sections as one level: `{"image": {"size": 224}}` is `{"image.size": 224}`."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{above}{key}.") if isinstance(value, dict) else {f"{above}{key}": value}
    return found


def without_domain(labels: Sequence[str]) -> list[str]:
    """Names of recipes without their domain, where all are of one."""
    domains = {label.partition("/")[0] for label in labels}
    return [label.partition("/")[2] or label for label in labels] if len(domains) == 1 else list(labels)


def labels_of(families: Sequence[Family], short: Sequence[str]) -> list[str]:
    """A name for each run, unlike every other."""
    plain = [
        (f"{name}, seed {facts.recipe.seed}", facts.folder.name)
        for family, name in zip(families, short, strict=True)
        for facts in family.runs
    ]
    names = [name for name, _ in plain]
    seen: dict[str, int] = {}
    unique = []
    for name, folder in plain:
        full = name if names.count(name) == 1 else f"{name}, {folder}"
        seen[full] = seen.get(full, 0) + 1
        unique.append(full if seen[full] == 1 else f"{full} ({seen[full]})")
    return unique


def as_text(value: Any) -> str:
    """A value of a recipe for people."""
    if isinstance(value, float):
        return rate(value) if 0 < abs(value) < 1e-3 else f"{value:g}"
    if value is None:
        return "–"
    return (
        ", ".join(map(str, value))
        if isinstance(value, list)
        else (str(value).lower() if isinstance(value, bool) else str(value))
    )
