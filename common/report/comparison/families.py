"""Runs by recipe, their unique names, and the table of all runs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graftwork.common.files import hash_of
from graftwork.common.report.formatting import (
    NOT_AVAILABLE,
    count,
    duration,
    interval,
    metric_name,
    number,
    rate,
    score,
    shortened,
)
from graftwork.common.report.run.run_facts import Facts
from graftwork.common.report.section import Column, Row, Table
from graftwork.common.wording import plural


@dataclass(frozen=True, eq=False)
class Family:
    """Runs of one recipe that differ in their seed alone."""

    label: str
    runs: tuple[Facts, ...]


def families_of(runs: Sequence[Facts]) -> list[Family]:
    """The runs by recipe without its seed, in the order of their first run; runs by seed.

    Two recipes with the same name (one of them with an override) get the differing keys in their labels.
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
            text = found[key][0].scrub(", ".join(differs))
            labels[key] = f"{name} ({shortened(text, 80)})" if len(keys) > 1 and differs else name
    return [
        Family(labels[key], tuple(sorted(members, key=lambda facts: facts.recipe.seed)))
        for key, members in found.items()
    ]


def without_seed(facts: Facts) -> dict[str, Any]:
    """The recipe of a run as plain values without its seed, which runs of one family share."""
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
    """Names of recipes, without their domain where all have the same."""
    domains = {label.partition("/")[0] for label in labels}
    return [label.partition("/")[2] or label for label in labels] if len(domains) == 1 else list(labels)


def labels_of(families: Sequence[Family], short: Sequence[str]) -> list[str]:
    """A unique name for each run."""
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
    """A value of a recipe as text."""
    if isinstance(value, float):
        return rate(value) if 0 < abs(value) < 1e-3 else f"{value:g}"
    if value is None:
        return "–"
    return (
        ", ".join(map(str, value))
        if isinstance(value, list)
        else (str(value).lower() if isinstance(value, bool) else str(value))
    )


def runs_table(families: Sequence[Family], short: Sequence[str]) -> Table:
    """Each run with its primary metric, interval and time, and the mean and range over the seeds of a recipe."""
    runs = [facts for family in families for facts in family.runs]
    rows: list[Row] = []
    metrics = list(dict.fromkeys(facts.primary for facts in runs))
    one = metric_name(metrics[0]).title if len(metrics) == 1 else "primary metric"
    for family, name in zip(families, short, strict=True):
        for facts in family.runs:
            result = facts.headline
            value = score(result.value) if result is not None else NOT_AVAILABLE
            if len(metrics) > 1:
                value = f"{value} ({metric_name(facts.primary).title})"
            limits = interval(result.low, result.high) if result is not None else ""
            reason = result.reason if result is not None else "not computed"
            rows.append(
                Row(
                    name,
                    (
                        facts.recipe.strategy.name, str(facts.recipe.seed),
                        number(result.n if result is not None else facts.evaluation.n),
                        number(result.groups if result is not None else facts.evaluation.groups),
                        value, limits or f"{NOT_AVAILABLE}: {reason}", duration(_seconds(facts)),
                    ),
                )
            )  # fmt: skip
        if len(family.runs) > 1:
            rows.append(_mean_row(family, name))
    facts = runs[0]
    columns = (
        Column("recipe"), Column("strategy"), Column("seed", numeric=True),
        Column(f"test {plural(facts.unit)}", numeric=True), Column(plural(facts.group), numeric=True),
        Column(one, numeric=True), Column("95 % interval", numeric=True), Column("time", numeric=True),
    )  # fmt: skip
    notes = [
        f"An interval comes from resampling {plural(facts.group)} of the test part of one run. The range over seeds is "
        "the lowest and the highest value of the runs of a recipe. They are different kinds of uncertainty.",
        "Time: of the whole run on its machine.",
    ]
    return Table("Runs", columns, tuple(rows), stacks=True, notes=tuple(notes), titled=True)


def primary_value(facts: Facts) -> float | None:
    """The value of the primary metric, or None where it is undefined."""
    result = facts.headline
    return result.value if result is not None and math.isfinite(result.value) else None


def _mean_row(family: Family, label: str) -> Row:
    values = [value for facts in family.runs if (value := primary_value(facts)) is not None]
    seeds = count(len(family.runs), "seed")
    if not values:
        return Row(
            f"{label}, mean", ("", seeds, "", "", NOT_AVAILABLE, "no run has a value", ""), strong=True
        )
    spread = f"range {score(min(values))} to {score(max(values))}"
    times = [seconds for facts in family.runs if (seconds := _seconds(facts)) is not None]
    total = duration(statistics.fmean(times)) if times else NOT_AVAILABLE
    name = family.runs[0].recipe.strategy.name
    return Row(
        f"{label}, mean", (name, seeds, "", "", score(statistics.fmean(values)), spread, total), strong=True
    )


def _seconds(facts: Facts) -> float | None:
    value = facts.environment.get("seconds")
    return float(value) if isinstance(value, int | float) and value > 0 else None
