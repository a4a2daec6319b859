"""The table of several runs: seeds of a recipe one below the other, then their mean and range."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from graftwork.common.report.formatting import (
    NOT_AVAILABLE,
    count,
    duration,
    interval,
    metric_name,
    number,
    plural,
    score,
)
from graftwork.common.report.tables import Column, Row, Table

if TYPE_CHECKING:
    from graftwork.common.report.comparison.families import Family
    from graftwork.common.report.run.run_facts import Facts


def runs_table(families: Sequence[Family], short: Sequence[str]) -> Table:
    """Each run with its primary metric, interval and time, and below the runs of a recipe their mean and range."""
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
        f"An interval comes from resampling {plural(facts.group)} of one run's test part; the range over seeds is "
        "the lowest and the highest value of a recipe's runs. They answer different questions.",
        "Time is that of the whole run on its machine.",
    ]
    return Table("Runs", columns, tuple(rows), stacks=True, notes=tuple(notes))


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
