"""What else was judged: other targets, pictures put together, groups that training met beside those it did not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graftwork.common.data.splits import SEEN
from graftwork.common.evaluation.metrics.registry import EXCLUSIVE
from graftwork.common.report.formatting import count, metric_name, number, plural, sentence, shortened
from graftwork.common.report.run.data_tables import frequent
from graftwork.common.report.run.metrics_table import FEW, class_table, said_value
from graftwork.common.report.tables import Column, Row, Table

if TYPE_CHECKING:
    from graftwork.common.data.targets import Target
    from graftwork.common.evaluation import Evaluation, Result
    from graftwork.common.report.run.run_facts import Facts


@dataclass(frozen=True)
class FurtherTarget:
    """The further results of one target: a heading, how they are counted, the table, one table of each class for each
    column, and what the evaluations note."""

    title: str
    said: tuple[str, ...]
    table: Table
    classes: tuple[Table, ...]
    notes: tuple[str, ...]


def further_of(facts: Facts) -> list[FurtherTarget]:
    """The evaluations beside the headline by target; those of the headline's target with its own column before them."""
    found = []
    for place, target in enumerate(facts.manifest.targets):
        names = ("", target.name) if place == 0 else (target.name,)
        evaluations = [each for each in facts.further if each.target in names]
        if not evaluations:
            continue
        if target == facts.target:
            evaluations = [facts.evaluation, *evaluations]
        found.append(_of_target(facts, target, evaluations))
    return found


def _of_target(facts: Facts, target: Target, evaluations: Sequence[Evaluation]) -> FurtherTarget:
    heads = _heads(facts, evaluations)
    rows = [
        Row("cases", tuple(count(each.n, each.unit) for each in evaluations)),
        Row(plural(facts.group), tuple(number(each.groups) for each in evaluations)),
    ]
    primary = {_primary(facts, each) for each in evaluations}
    exclusive = target.kind in EXCLUSIVE
    for metric in dict.fromkeys(result.metric for each in evaluations for result in each.results):
        about = metric_name(metric, exclusive=exclusive)
        unit = f" ({about.unit})" if about.unit not in ("", "0 to 1") else ""
        cells = tuple(said_value(_whole(each, metric)) for each in evaluations)
        rows.append(Row(f"{about.title}{unit}", cells, strong=metric in primary))
    caption = f"{shortened(target.name, 60)}: each metric by what is counted and where"
    columns = (Column("metric"), *(Column(head, numeric=True) for head in heads))
    few = [
        f"{head} ({count(each.groups, facts.group)})"
        for head, each in zip(heads, evaluations, strict=True)
        if each.groups < FEW
    ]
    notes = ["In parentheses: 95 % interval."]
    if few:
        notes.append(f"Few {plural(facts.group)}, so that intervals are too narrow: {'; '.join(few)}.")
    notes += [
        f"{head}: {sentence(f'{each.metric_title} undefined: {each.reason}')}"
        for head, each in _undefined(heads, evaluations)
    ]
    classes = [
        class_table(each, frequent(facts, target), f"{shortened(target.name, 60)} by class: {head}")
        for head, each in zip(heads, evaluations, strict=True)
        if each is not facts.evaluation
    ]
    return FurtherTarget(
        f"{shortened(target.name, 60)} ({target.kind})",
        _said(facts, evaluations),
        Table(caption, columns, tuple(rows), stacks=True, notes=tuple(notes), spans=True),
        tuple(table for table in classes if table is not None),
        tuple(
            f"{head}: {sentence(note)}"
            for head, each in zip(heads, evaluations, strict=True)
            for note in each.notes
            if each is not facts.evaluation
        ),
    )


@dataclass(frozen=True)
class _Lack:
    metric_title: str
    reason: str


def _undefined(heads: Sequence[str], evaluations: Sequence[Evaluation]) -> list[tuple[str, _Lack]]:
    """The whole results that have no interval, each with its reason."""
    found = []
    for head, each in zip(heads, evaluations, strict=True):
        reasons: dict[str, list[str]] = {}
        for metric in dict.fromkeys(result.metric for result in each.results):
            result = _whole(each, metric)
            if result is not None and result.reason:
                reasons.setdefault(result.reason, []).append(metric_name(metric).title)
        found += [(head, _Lack(", ".join(titles), reason)) for reason, titles in reasons.items()]
    return found


def _whole(evaluation: Evaluation, metric: str) -> Result | None:
    """The result of a metric that stands for all classes; where there is none, that of the only class."""
    found = [result for result in evaluation.results if result.metric == metric]
    whole = [result for result in found if not result.label]
    return next(iter(whole or (found if len(found) == 1 else [])), None)


def _primary(facts: Facts, evaluation: Evaluation) -> str:
    protocol = facts.protocols.get(evaluation.protocol)
    return protocol.primary if protocol is not None else ""


def _heads(facts: Facts, evaluations: Sequence[Evaluation]) -> list[str]:
    """`images, unseen places`: what is counted, and of which groups; with the protocol's name where that leaves two
    alike."""
    plain = [f"{plural(each.unit)}, {_where(facts, each.part)}" for each in evaluations]
    return [
        head if plain.count(head) == 1 else f"{head} ({each.protocol.rpartition('/')[2]})"
        for head, each in zip(plain, evaluations, strict=True)
    ]


def _where(facts: Facts, part: str) -> str:
    if part == SEEN:
        return f"seen {plural(facts.group)}"
    return f"{part} part" if part != "test" or facts.leaks else f"unseen {plural(facts.group)}"


def _said(facts: Facts, evaluations: Sequence[Evaluation]) -> tuple[str, ...]:
    """What the columns are, and how units are put together."""
    said = []
    parts = {each.part for each in evaluations}
    if SEEN in parts:
        said.append(
            f"Unseen: of {plural(facts.group)} that no training met (the test part). Seen: other "
            f"{plural(facts.picture)} of {plural(facts.group)} that training met, kept out of it (the part {SEEN})."
        )
    for each in evaluations:
        protocol = facts.protocols.get(each.protocol)
        if protocol is not None and protocol.by:
            put = {"mean": "the mean of their scores", "max": "their highest score"}[protocol.pooling]
            rule = (
                protocol.aggregation
                or f"{plural(facts.picture)} of one {each.unit} are put together by {put}"
            )
            said.append(sentence(rule))
    return tuple(dict.fromkeys(said))
