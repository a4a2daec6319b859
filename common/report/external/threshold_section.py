"""What decisions at a threshold come to: operating points, what a filter leaves to people, net benefit.

The cases are those that the protocol judges: where it puts several rows together, what became of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from graftwork.common.evaluation.intervals.bootstrap import describe
from graftwork.common.evaluation.metrics.decision_curves import (
    DecisionCurve,
    OperatingPoint,
    Share,
    decision_curve,
    operating_points_of,
)
from graftwork.common.evaluation.metrics.registry import EXCLUSIVE
from graftwork.common.evaluation.metrics.workload import work_curve
from graftwork.common.report.figures import decision_figures
from graftwork.common.report.figures.decision_figures import Benefit, Marked, Spread
from graftwork.common.report.formatting import (
    NOT_AVAILABLE,
    count,
    interval,
    listing,
    number,
    plural,
    score,
    shortened,
)
from graftwork.common.report.run.run_figures import Shown
from graftwork.common.report.tables import Column, Row, Table

if TYPE_CHECKING:
    from graftwork.common.evaluation import Cases, Evaluation, Protocol, Threshold
    from graftwork.common.evaluation.tables.predictions import Question


CURVES = 4  # labels whose decision curve is drawn
REACH = 0.2  # of the positives, up to which a filter's misses are drawn where its threshold misses fewer

# the shares of an operating point: attribute, name, of which cases, and what is missing where it is undefined
SHARES = (
    ("sensitivity", "Sensitivity", "positive", "no case is positive"),
    ("specificity", "Specificity", "negative", "no case is negative"),
    ("ppv", "PPV", "called positive", "no case is called positive"),
    ("npv", "NPV", "called negative", "no case is called negative"),
    ("prevalence", "Prevalence", "all", "no case"),
)


@dataclass
class Decided:
    """The tables, figures and sentences of the sections on operating points and decision curves.

    Attributes:
        points: operating points with limits by groups; None where there are none. alone: the same with Wilson's limits,
            where they do not stand in `points`. point_notes: sentences.
        work, work_notes: what a filter leaves, where the protocol's threshold is chosen for a sensitivity.
        curves, curve_notes: decision curves.
    """

    points: Table | None = None
    alone: Table | None = None
    point_notes: list[str] = field(default_factory=list)
    work: Shown | None = None
    work_notes: list[str] = field(default_factory=list)
    curves: list[Shown] = field(default_factory=list)
    curve_notes: list[str] = field(default_factory=list)


def decided_of(cases: Cases, evaluation: Evaluation, protocol: Protocol) -> Decided:
    """What decisions on the evaluated part come to; of exclusive classes, which have no threshold, nothing.

    Raises:
        UsageError: a threshold that was chosen on the part that is evaluated.
    """
    found = Decided()
    if cases.kind in EXCLUSIVE:
        return found
    if not len(cases):
        found.point_notes.append(f"No {evaluation.unit} of the {evaluation.part} part has a known label.")
        return found
    questions = cases.questions()
    points = _operating_points(cases, questions, evaluation, found)
    if cases.kind == "binary" and protocol.threshold == "sensitivity":
        _work(cases, questions[0], points, evaluation, found)
    _curves(cases, questions, evaluation, found)
    return found


def _name(cases: Cases, question: Question) -> str:
    return shortened(question.label or cases.classes[1], 40)


def _percent(evaluation: Evaluation) -> str:
    return f"{100 * evaluation.confidence:g}\u00a0%"


# operating points ------------------------------------------------------------------------------------------


def _operating_points(
    cases: Cases, questions: Sequence[Question], evaluation: Evaluation, found: Decided
) -> list[OperatingPoint]:
    pairs = list(zip(questions, evaluation.thresholds, strict=True)) if evaluation.thresholds else []
    ready = [(each, at) for each, at in pairs if not math.isnan(at.value)]
    lacking: dict[str, list[str]] = {}
    for each, at in pairs:
        if math.isnan(at.value):
            lacking.setdefault(at.reason or "no threshold", []).append(_name(cases, each))
    for reason, names in lacking.items():
        of = "" if len(names) == len(pairs) else f" of {listing(names)}"
        found.point_notes.append(f"No operating point{of}, as {reason}.")
    if lacking:
        found.point_notes.append(
            "A threshold comes from other cases, those of the part validation of the table, or is fixed beforehand; it "
            "is never chosen on the cases that it judges."
        )
    points = operating_points_of(
        [each for each, _ in ready], [at for _, at in ready], part=evaluation.part, replicates=evaluation.bootstrap,
        seed=evaluation.seed, confidence=evaluation.confidence, group=evaluation.group,
    )  # fmt: skip
    if not points:
        return []
    names = [_name(cases, each) for each, _ in ready]
    notes = _point_notes(evaluation, points, names)
    if cases.kind == "binary":
        found.points = _one_point(evaluation, points[0], names[0], notes)
    else:
        found.points, found.alone = _many_points(evaluation, points, names, notes)
    return points


def _point_notes(evaluation: Evaluation, points: Sequence[OperatingPoint], names: Sequence[str]) -> list[str]:
    units = plural(evaluation.unit)
    method = describe(
        points[0].groups, evaluation.bootstrap, evaluation.group, grouped=bool(evaluation.group_column)
    )
    notes = [
        f"{_rules([each.threshold for each in points])} A score at or above the threshold is called positive.",
        "PPV and NPV: the share of those called positive, or negative, that are; both hold at this prevalence alone.",
        f"Intervals: {method}. Wilson's take {units} as independent and are too narrow where several come from one "
        f"{evaluation.group}." if evaluation.group_column else
        f"Intervals: {method}. Wilson's take {units} as independent, as these do here.",
    ]  # fmt: skip
    still, undefined = False, []
    for point, name in zip(points, names, strict=True):
        for attribute, title, _, lack in SHARES:
            share: Share = getattr(point, attribute)
            still |= share.group_low == share.group_high
            if math.isnan(share.value):
                undefined.append(f"{title} of {name} is undefined: {lack}.")
            elif share.reason and not point.reason:
                undefined.append(f"{title} of {name} has no interval: {share.reason}.")
    if points[0].reason:
        undefined.append(f"No intervals by {plural(evaluation.group)}: {points[0].reason}.")
    if still:
        notes.append(
            "An interval without width is no certainty: every replicate gave the same number. Wilson's has one."
        )
    return [*notes, *undefined]


def _rules(thresholds: Sequence[Threshold]) -> str:
    """Where thresholds come from, in a sentence: the rule, and the part they were chosen on with its cases."""
    said: dict[str, list[Threshold]] = {}
    for each in thresholds:
        how = {
            "fixed": "fixed beforehand",
            "youden": "chosen for the largest sensitivity + specificity − 1 (Youden's index)",
        }.get(each.rule, f"chosen for a {each.rule} of at least {each.target:g}")
        on = f" on the part {each.chosen_on}" if each.chosen_on else ""
        said.setdefault(f"{how}{on}", []).append(each)
    parts = []
    for words, given in said.items():
        sizes = sorted({each.n for each in given if each.chosen_on})
        among = ""
        if sizes:
            many = (
                count(sizes[0], "case")
                if len(sizes) == 1
                else f"{number(sizes[0])} to {count(sizes[-1], 'case')}"
            )
            among = f" ({many}{f', {number(given[0].positives)} positive' if len(given) == 1 else ''})"
        parts.append(
            f"{words}{among}" + ("" if len(said) == 1 else f" of {listing(each.label for each in given)}")
        )
    return f"Threshold{'' if len(thresholds) == 1 else 's'}: {'; '.join(parts)}."


def _one_point(evaluation: Evaluation, point: OperatingPoint, name: str, notes: Sequence[str]) -> Table:
    rows = []
    for attribute, title, among, _ in (*SHARES, ("called", "Called positive", "all", "")):
        share: Share = getattr(point, attribute)
        rows.append(
            Row(
                title,
                (
                    score(share.value),
                    interval(share.group_low, share.group_high) or NOT_AVAILABLE,
                    interval(share.low, share.high) or NOT_AVAILABLE,
                    f"{number(share.hits)} of {number(share.n)} {among}".removesuffix(" all"),
                ),
            )
        )
    sure = _percent(evaluation)
    columns = (
        Column("measure"), Column("value", numeric=True),
        Column(f"{sure} interval, resampling {plural(evaluation.group)}", numeric=True),
        Column(f"{sure} interval by Wilson, {plural(evaluation.unit)} as independent", numeric=True),
        Column(plural(evaluation.unit)),
    )  # fmt: skip
    caption = f"{name} (positive) on the {evaluation.part} part at the threshold {point.threshold.value:.4g}"
    return Table(caption, columns, tuple(rows), stacks=True, notes=tuple(notes), spans=True)


def _many_points(
    evaluation: Evaluation, points: Sequence[OperatingPoint], names: Sequence[str], notes: Sequence[str]
) -> tuple[Table, Table]:
    rows, alone = [], []
    for point, name in zip(points, names, strict=True):
        shares: list[Share] = [getattr(point, attribute) for attribute, *_ in SHARES]
        limits = [interval(each.group_low, each.group_high) for each in shares]
        cells = [
            f"{score(each.value)} ({between})" if between else score(each.value)
            for each, between in zip(shares, limits, strict=True)
        ]
        rows.append(Row(name, (f"{point.threshold.value:.4g}", *cells)))
        counted = [
            f"{number(each.hits)} of {number(each.n)} ({between})" if (between := interval(each.low, each.high)) else
            f"{number(each.hits)} of {number(each.n)}"
            for each in shares
        ]  # fmt: skip
        alone.append(Row(name, tuple(counted)))
    sure = _percent(evaluation)
    measures = tuple(
        Column(title if title.isupper() else title.lower(), numeric=True) for _, title, *_ in SHARES
    )
    part = evaluation.part
    return (
        Table(
            f"Operating points on the {part} part, with {sure} intervals, resampling {plural(evaluation.group)}",
            (Column("class"), Column("threshold", numeric=True), *measures),
            tuple(rows), stacks=True, notes=tuple(notes), spans=True,
        ),
        Table(
            f"Counts of {plural(evaluation.unit)}, and {sure} intervals by Wilson, which take them as independent",
            (Column("class"), *measures), tuple(alone), stacks=True, spans=True,
        ),
    )  # fmt: skip


# what a filter leaves --------------------------------------------------------------------------------------


def _work(
    cases: Cases,
    question: Question,
    points: Sequence[OperatingPoint],
    evaluation: Evaluation,
    found: Decided,
) -> None:
    units = plural(evaluation.unit)
    if not question.truth.any():
        found.work_notes.append(f"No curve of {units} left to look at: none is positive.")
        return
    point, said = None, ""
    if points and math.isfinite(points[0].threshold.value):
        kept, called = points[0].sensitivity, points[0].called
        across = (1 - kept.group_high, 1 - kept.group_low)
        point = Marked(1 - kept.value, called.value, across, (called.group_low, called.group_high))
        misses, left = (
            f" ({_percent(evaluation)} interval {between})" if (between := interval(*limits)) else ""
            for limits in (point.across, point.along)
        )
        said = (
            f"At the threshold, {score(point.x)} of the positive {units} are missed{misses}, and {score(point.y)} of "
            f"all are left to look at{left}."
        )
    edges = [] if point is None else [value for value in (point.x, point.across[1]) if math.isfinite(value)]
    end = min(1.0, max(REACH, math.ceil(22 * max(edges, default=0.0)) / 20))
    curve = work_curve(
        question.truth, question.scores, cases.groups, np.linspace(0.0, end, 201), replicates=evaluation.bootstrap,
        seed=evaluation.seed, confidence=evaluation.confidence, group=evaluation.group,
    )  # fmt: skip
    name = _name(cases, question)
    some = "; ".join(
        f"{score(float(curve.left[place]))} left at {score(float(curve.missed[place]), 2)} missed"
        for place in np.unique(np.linspace(0, 200, 5).astype(int))
    )
    found.work = Shown(
        decision_figures.work(
            Spread(curve.missed, curve.left, curve.low, curve.high), point=point,
            positive=float(question.truth.mean()), unit=units,
            alt=f"Share of {units} left to look at over the share of positives ({name}) missed. {said} {some}.",
        ),
        f"What is left to look at, over what is missed ({name} is positive).",
        f"{said} {_shaded(evaluation, curve.reason)} A threshold read off this curve would be chosen on the {units} "
        "that judge it.".strip(),
    )  # fmt: skip


def _shaded(evaluation: Evaluation, reason: str) -> str:
    if reason:
        return f"No band: {reason}."
    return f"Shaded: pointwise {_percent(evaluation)} limits, resampling {plural(evaluation.group)}."


# decision curves -------------------------------------------------------------------------------------------


def _curves(cases: Cases, questions: Sequence[Question], evaluation: Evaluation, found: Decided) -> None:
    there = [each for each in questions if 0 < int(each.truth.sum()) < len(each.truth)]
    asked = sorted(there, key=lambda each: -int(each.truth.sum()))[:CURVES]
    for each in asked:
        name = _name(cases, each)
        if not (each.scores.min() >= 0 and each.scores.max() <= 1):
            found.curve_notes.append(
                f"No decision curve of {name}: its scores are no probabilities in 0 to 1."
            )
            continue
        curve = decision_curve(
            each.truth, each.scores, cases.groups[each.rows], _grid(each.scores), replicates=evaluation.bootstrap,
            seed=evaluation.seed, confidence=evaluation.confidence, group=evaluation.group,
        )  # fmt: skip
        worth = _worth(curve, evaluation)
        at = [int(place) for place in np.linspace(0, len(curve.thresholds) - 1, 5)]
        values = "; ".join(
            f"{score(float(curve.model[k]))} at {score(float(curve.thresholds[k]), 2)} "
            f"(treat all {score(float(curve.treat_all[k]))})"
            for k in at
        )
        found.curves.append(
            Shown(
                decision_figures.benefit(
                    Benefit(
                        Spread(curve.thresholds, curve.model, curve.low, curve.high),
                        Spread(curve.thresholds, curve.treat_all, curve.all_low, curve.all_high),
                    ),
                    alt=f"Net benefit of treating by the score of {name} over the threshold probability: {values}. "
                    f"{worth}",
                ),
                f"Decision curve of {name}.",
                f"{worth} {_shaded(evaluation, curve.reason)} {count(curve.n, evaluation.unit)}, "
                f"{number(curve.positives)} positive.",
            )
        )  # fmt: skip
    if not found.curves:
        return
    if len(asked) < len(questions):
        found.curve_notes.append(f"Shown are the {len(asked)} most frequent of {len(questions)} classes.")
    found.curve_notes.append(
        "Net benefit at a threshold t: true positives less false ones weighed by t / (1 − t), over all cases (Vickers "
        "and Elkin, Medical Decision Making 26:565, 2006); 0.05 is worth 5 true positives in 100 cases and no false "
        "one. To treat is to act on a case called positive; to act from t on says that one true positive outweighs "
        "(1 − t) / t false ones, 9 at 0.1, 1 at 0.5. Scores are taken as probabilities: where calibration is off, so "
        "is this."
    )


def _grid(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Thresholds up to the tenth above the largest score; beyond it nobody is treated by the score."""
    end = min(0.99, max(0.1, math.ceil(10 * float(scores.max()) - 1e-9) / 10))
    return np.linspace(end / 100, end, 100)


def _worth(curve: DecisionCurve, evaluation: Evaluation) -> str:
    """At which thresholds treating by the score is worth more than both others, by the limits of the differences."""
    if curve.reason:
        return ""
    better = (curve.low > 0) & (curve.gain_low > 0)
    by = f"(pointwise {_percent(evaluation)} limits of both differences lie above 0)"
    if not better.any():
        return f"At no threshold is treating by the score shown to be worth more than treating all and none {by}."
    edges = np.flatnonzero(np.diff(np.concatenate([[False], better, [False]]).astype(int)))
    runs = [
        " to ".join(dict.fromkeys(score(float(curve.thresholds[place]), 2) for place in (first, last - 1)))
        for first, last in zip(edges[::2], edges[1::2], strict=True)
    ]
    where = listing(runs) if len(runs) <= 3 else f"{len(runs)} stretches between {runs[0].partition(' ')[0]} and " + (
        runs[-1].rpartition(" ")[2]
    )  # fmt: skip
    return f"Treating by the score is worth more than treating all and none at thresholds from {where} {by}."
