"""Print evaluations as tables, for the commands that show one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graftwork.cli.terminal import print_table, print_text
from graftwork.common.evaluation.text_tables import (
    evaluation_rows,
    limits_text,
    metric_text,
    number_text,
    readers_rows,
)

if TYPE_CHECKING:
    from graftwork.common.evaluation.readers import AgainstReaders
    from graftwork.common.evaluation.results import Evaluation
    from graftwork.common.evaluation.subgroup_metrics import Subgroups


def print_evaluation(found: Evaluation) -> None:
    print_text(f"{found.part}: {found.n:,} cases, {found.groups:,} groups, protocol {found.protocol}")
    of = f"; the target is {found.target}" if found.target else ""
    print_text(f"each case is one {found.unit}, each group one {found.group}{of}")
    if found.threshold is not None:
        chosen = f" on {found.threshold.chosen_on}" if found.threshold.chosen_on else ""
        print_text(f"threshold: {number_text(found.threshold.value)}, {found.threshold.rule}{chosen}")
    print_table(*evaluation_rows(found))


def print_readers(found: AgainstReaders) -> None:
    print_text(f"{found.metric} by {found.reference}: {found.n:,} cases, {found.groups:,} groups")
    print_table(*readers_rows(found))
    for note in found.notes:
        print_text(note)
    print_text(f"{found.method}; intervals are for these readers on other cases")


def print_subgroups(found: Subgroups) -> None:
    rows = [
        (found.covariate, each.value, metric_text(one.metric), one.label, number_text(one.value),
         limits_text(one.low, one.high), one.n,
         "" if one.positives is None else one.positives, one.groups, one.reason)
        for each in found.subgroups
        for one in each.results
        if not one.label or len(each.results) <= 8
    ]  # fmt: skip
    columns = (
        "covariate", "value", "metric", "class", "value", "interval", "n", "positive", "groups", "why undefined",
    )  # fmt: skip
    print_table(columns, rows)
    for gap in found.gaps:
        apart = gap.difference
        of = f"{number_text(apart.value)} ({number_text(apart.low)} to {number_text(apart.high)})"
        print_text(f"{gap.metric}: the largest difference is between {gap.highest} and {gap.lowest}: {of}")
    for value, groups in found.suppressed:
        print_text(f"{found.covariate} {value}: only {groups} groups, not evaluated")
