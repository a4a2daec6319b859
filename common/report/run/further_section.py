"""The section on further results: other targets, combined images, and groups that are also in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from graftwork.common.data.splits import SEEN
from graftwork.common.report.formatting import count, metric_name, number, sentence, shortened, title_of
from graftwork.common.report.run.data_section import frequent
from graftwork.common.report.run.metrics_section import FEW, class_table, with_interval
from graftwork.common.report.section import Column, Row, Section, Table, section
from graftwork.common.wording import plural

if TYPE_CHECKING:
    from graftwork.common.data.targets import Target
    from graftwork.common.evaluation import Evaluation, Result
    from graftwork.common.report.run.run_facts import Facts


@section("run", 80)
def further(facts: Facts) -> Section | None:
    """The evaluations beside the primary one, by target."""
    found = further_of(facts)
    return Section("Further results", "further", sections=tuple(found)) if found else None


def further_of(facts: Facts) -> list[Section]:
    """A section for each target; the primary result is the first column of its own target."""
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


def _of_target(facts: Facts, target: Target, evaluations: Sequence[Evaluation]) -> Section:
    heads = _heads(facts, evaluations)
    rows = [
        Row("cases", tuple(count(each.n, each.unit) for each in evaluations)),
        Row(plural(facts.group), tuple(number(each.groups) for each in evaluations)),
    ]
    primary = {_primary(facts, each) for each in evaluations}
    for metric in dict.fromkeys(result.metric for each in evaluations for result in each.results):
        cells = tuple(with_interval(_whole(each, metric)) for each in evaluations)
        rows.append(Row(title_of(metric, target.kind), cells, strong=metric in primary))
    caption = f"{shortened(target.name, 60)}: metrics by unit and part"
    columns = (Column("metric"), *(Column(head, numeric=True) for head in heads))
    few = [
        f"{head} ({count(each.groups, facts.group)})"
        for head, each in zip(heads, evaluations, strict=True)
        if each.groups < FEW
    ]
    notes = ["In parentheses: 95 % interval."]
    if few:
        notes.append(f"Few {plural(facts.group)}, so the intervals are too narrow: {'; '.join(few)}.")
    notes += [
        f"{head}: {sentence(f'{titles} undefined: {reason}')}"
        for head, titles, reason in _undefined(heads, evaluations)
    ]
    classes = [
        class_table(each, frequent(facts, target), f"{shortened(target.name, 60)} by class: {head}")
        for head, each in zip(heads, evaluations, strict=True)
        if each is not facts.evaluation
    ]
    tables = tuple(table for table in classes if table is not None)
    items = tuple(
        f"{head}: {sentence(note)}"
        for head, each in zip(heads, evaluations, strict=True)
        for note in each.notes
        if each is not facts.evaluation
    )
    folded = [Section("Results by class", tables=tables, folded=True, screen=True)] if tables else []
    folded += [Section("Notes on these results", items=items, folded=True)] if items else []
    table = Table(caption, columns, tuple(rows), stacks=True, notes=tuple(notes), spans=True, titled=True)
    return Section(
        f"{shortened(target.name, 60)} ({target.kind})",
        text=_explanation(facts, evaluations), tables=(table,), sections=tuple(folded),
    )  # fmt: skip


def _undefined(heads: Sequence[str], evaluations: Sequence[Evaluation]) -> list[tuple[str, str, str]]:
    """The overall results without an interval: the column, their names and the reason."""
    found = []
    for head, each in zip(heads, evaluations, strict=True):
        reasons: dict[str, list[str]] = {}
        for metric in dict.fromkeys(result.metric for result in each.results):
            result = _whole(each, metric)
            if result is not None and result.reason:
                reasons.setdefault(result.reason, []).append(metric_name(metric).title)
        found += [(head, ", ".join(titles), reason) for reason, titles in reasons.items()]
    return found


def _whole(evaluation: Evaluation, metric: str) -> Result | None:
    """The result over all classes; where there is none, that of the only class."""
    found = [result for result in evaluation.results if result.metric == metric]
    whole = [result for result in found if not result.label]
    return next(iter(whole or (found if len(found) == 1 else [])), None)


def _primary(facts: Facts, evaluation: Evaluation) -> str:
    protocol = facts.protocols.get(evaluation.protocol)
    return protocol.primary if protocol is not None else ""


def _heads(facts: Facts, evaluations: Sequence[Evaluation]) -> list[str]:
    """`images, unseen places`: units and groups of each column; with the protocol's name where two are the same."""
    plain = [f"{plural(each.unit)}, {_where(facts, each.part)}" for each in evaluations]
    return [
        head if plain.count(head) == 1 else f"{head} ({each.protocol.rpartition('/')[2]})"
        for head, each in zip(plain, evaluations, strict=True)
    ]


def _where(facts: Facts, part: str) -> str:
    if part == SEEN:
        return f"seen {plural(facts.group)}"
    return f"{part} part" if part != "test" or facts.leaks else f"unseen {plural(facts.group)}"


def _explanation(facts: Facts, evaluations: Sequence[Evaluation]) -> tuple[str, ...]:
    """What the columns are, and how images are combined into units."""
    text, groups, images = [], plural(facts.group), plural(facts.image)
    if SEEN in {each.part for each in evaluations}:
        text.append(
            f"Unseen: {groups} that are not in training (the test part). Seen: {images} that are not in training, of "
            f"{groups} that are (the part {SEEN})."
        )
    for each in evaluations:
        protocol = facts.protocols.get(each.protocol)
        if protocol is not None and protocol.by:
            how = {"mean": "the mean of their scores", "max": "their highest score"}[protocol.pooling]
            rule = (
                protocol.aggregation
                or f"the scores of the {images} of one {each.unit} are combined into {how}"
            )
            text.append(sentence(rule))
    return tuple(dict.fromkeys(text))
