"""The sections on operating points, workload and decision curves; cases are those of the protocol."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
from graftwork.common.report.external.predictions_page import Predictions
from graftwork.common.report.figures import decision_figures
from graftwork.common.report.figures.decision_figures import Benefit, Marked, Spread
from graftwork.common.report.formatting import (
    NOT_AVAILABLE,
    count,
    interval,
    listing,
    number,
    score,
    shortened,
)
from graftwork.common.report.section import Column, Figure, Row, Section, Table, section
from graftwork.common.wording import plural

if TYPE_CHECKING:
    from graftwork.common.evaluation import Cases, Evaluation, Threshold
    from graftwork.common.evaluation.tables.predictions import Question


CURVES = 4  # labels whose decision curve is drawn
REACH = 0.2  # share of the positives up to which the workload curve is drawn at least

# the shares of an operating point: attribute, name, of which cases, and the reason where it is undefined
SHARES = (
    ("sensitivity", "Sensitivity", "positive", "no case is positive"),
    ("specificity", "Specificity", "negative", "no case is negative"),
    ("ppv", "PPV", "predicted positive", "no case is predicted positive"),
    ("npv", "NPV", "predicted negative", "no case is predicted negative"),
    ("prevalence", "Prevalence", "all", "no case"),
)


@section("predictions", 50)
def operating_points(data: Predictions) -> Section | None:
    """Sensitivity, specificity, PPV and NPV at the thresholds, and the workload curve.

    Raises:
        UsageError: a threshold was chosen on the evaluated part.
    """
    cases, evaluation = data.cases, data.evaluation
    if cases is None or cases.kind in EXCLUSIVE:
        return None
    title, anchor = "Operating points", "operating-points"
    if not len(cases):
        text = f"No {evaluation.unit} of the {evaluation.part} part has a known label."
        return Section(title, anchor, text=(text,))
    questions = cases.questions()
    points, tables, folded, notes = _operating_points(cases, questions, evaluation)
    below = f"Counts, and intervals that treat {plural(data.unit)} as independent"
    inner = [Section(below, tables=(each,), folded=True) for each in folded]
    work = None
    if cases.kind == "binary" and data.protocol.threshold == "sensitivity":
        work = _work(cases, questions[0], points, evaluation)
        if work is None:
            notes.append(f"No workload curve: no {evaluation.unit} is positive.")
    if not (tables or notes or work):
        return None
    figures = () if work is None else (work,)
    return Section(
        title, anchor, text=tuple(notes), figures=figures, tables=tuple(tables), sections=tuple(inner)
    )


@section("predictions", 60)
def decision_curves(data: Predictions) -> Section | None:
    """Net benefit over the threshold."""
    cases = data.cases
    if cases is None or cases.kind in EXCLUSIVE or not len(cases):
        return None
    figures, notes = _curves(cases, cases.questions(), data.evaluation)
    if not (figures or notes):
        return None
    title = "Decision curves" if len(figures) > 1 else "Decision curve"
    return Section(title, "decision-curves", figures=tuple(figures), notes=tuple(notes))


def _name(cases: Cases, question: Question) -> str:
    return shortened(question.label or cases.classes[1], 40)


def _percent(evaluation: Evaluation) -> str:
    return f"{100 * evaluation.confidence:g}\u00a0%"


def _operating_points(
    cases: Cases, questions: Sequence[Question], evaluation: Evaluation
) -> tuple[list[OperatingPoint], list[Table], list[Table], list[str]]:
    """The points, their tables, tables that are folded, and notes."""
    pairs = list(zip(questions, evaluation.thresholds, strict=True)) if evaluation.thresholds else []
    ready = [(each, at) for each, at in pairs if not math.isnan(at.value)]
    lacking: dict[str, list[str]] = {}
    for each, at in pairs:
        if math.isnan(at.value):
            lacking.setdefault(at.reason or "no threshold", []).append(_name(cases, each))
    notes = []
    for reason, names in lacking.items():
        of = "" if len(names) == len(pairs) else f" of {listing(names)}"
        notes.append(f"No operating point{of}: {reason}.")
    if lacking:
        notes.append(
            "A threshold is fixed beforehand or chosen on other cases, those of the part validation of the "
            "table. It is "
            "never chosen on the cases that are evaluated."
        )
    points = operating_points_of(
        [each for each, _ in ready], [at for _, at in ready], part=evaluation.part, replicates=evaluation.bootstrap,
        seed=evaluation.seed, confidence=evaluation.confidence, group=evaluation.group,
    )  # fmt: skip
    if not points:
        return [], [], [], notes
    names = [_name(cases, each) for each, _ in ready]
    table_notes = _point_notes(evaluation, points, names)
    if cases.kind == "binary":
        return points, [_one_point(evaluation, points[0], names[0], table_notes)], [], notes
    first, second = _many_points(evaluation, points, names, table_notes)
    return points, [first], [second], notes


def _point_notes(evaluation: Evaluation, points: Sequence[OperatingPoint], names: Sequence[str]) -> list[str]:
    units = plural(evaluation.unit)
    method = describe(
        points[0].groups, evaluation.bootstrap, evaluation.group, grouped=bool(evaluation.group_column)
    )
    notes = [
        f"{_rules([each.threshold for each in points])} Positive: a score at or above the threshold.",
        "PPV and NPV: the share of the predicted positives, or negatives, that is correct. Both depend on the "
        "prevalence.",
        f"Intervals: {method}. Wilson's treat {units} as independent and are too narrow with several per "
        f"{evaluation.group}." if evaluation.group_column else
        f"Intervals: {method}. Wilson's treat {units} as independent, as these do.",
    ]  # fmt: skip
    no_width, undefined = False, []
    for point, name in zip(points, names, strict=True):
        for attribute, title, _, lack in SHARES:
            share: Share = getattr(point, attribute)
            no_width |= share.group_low == share.group_high
            if math.isnan(share.value):
                undefined.append(f"{title} of {name} is undefined: {lack}.")
            elif share.reason and not point.reason:
                undefined.append(f"{title} of {name} has no interval: {share.reason}.")
    if points[0].reason:
        undefined.append(f"No intervals by {plural(evaluation.group)}: {points[0].reason}.")
    if no_width:
        notes.append(
            "An interval of width 0 does not mean certainty: every replicate gave the same value. See Wilson's "
            "interval."
        )
    return [*notes, *undefined]


def _rules(thresholds: Sequence[Threshold]) -> str:
    """How thresholds were chosen, in a sentence: the rule, the part and its cases."""
    by_rule: dict[str, list[Threshold]] = {}
    for each in thresholds:
        how = {
            "fixed": "fixed beforehand",
            "youden": "chosen for the largest sensitivity + specificity − 1 (Youden's index)",
        }.get(each.rule, f"chosen for a {each.rule} of at least {each.target:g}")
        on = f" on the part {each.chosen_on}" if each.chosen_on else ""
        by_rule.setdefault(f"{how}{on}", []).append(each)
    parts = []
    for words, given in by_rule.items():
        sizes = sorted({each.n for each in given if each.chosen_on})
        among = ""
        if sizes:
            few = f"{number(sizes[0])} to " if len(sizes) > 1 else ""
            positives = f", {number(given[0].positives)} positive" if len(given) == 1 else ""
            among = f" ({few}{count(sizes[-1], 'case')}{positives})"
        of = "" if len(by_rule) == 1 else f" of {listing(each.label for each in given)}"
        parts.append(f"{words}{among}{of}")
    return f"Threshold{'' if len(thresholds) == 1 else 's'}: {'; '.join(parts)}."


def _one_point(evaluation: Evaluation, point: OperatingPoint, name: str, notes: Sequence[str]) -> Table:
    rows = []
    for attribute, title, among, _ in (*SHARES, ("called", "Predicted positive", "all", "")):
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
        Column(f"{sure} interval by Wilson, {plural(evaluation.unit)} independent", numeric=True),
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
            f"Counts of {plural(evaluation.unit)}, and {sure} intervals by Wilson, which treat them as independent",
            (Column("class"), *measures), tuple(alone), stacks=True, spans=True,
        ),
    )  # fmt: skip


def _work(
    cases: Cases, question: Question, points: Sequence[OperatingPoint], evaluation: Evaluation
) -> Figure | None:
    """The share of cases left to read over the share of positives missed; None without a positive case."""
    if not question.truth.any():
        return None
    units, point, text = plural(evaluation.unit), None, ""
    if points and math.isfinite(points[0].threshold.value):
        hit, positive = points[0].sensitivity, points[0].called
        across = (1 - hit.group_high, 1 - hit.group_low)
        point = Marked(1 - hit.value, positive.value, across, (positive.group_low, positive.group_high))
        misses, left = (
            f" ({_percent(evaluation)} interval {between})" if (between := interval(*limits)) else ""
            for limits in (point.across, point.along)
        )
        text = (
            f"At the threshold, {score(point.x)} of the positive {units} are missed{misses}, and {score(point.y)} of "
            f"all {units} are left to read{left}."
        )
    edges = [] if point is None else [value for value in (point.x, point.across[1]) if math.isfinite(value)]
    end = min(1.0, max(REACH, math.ceil(22 * max(edges, default=0.0)) / 20))
    curve = work_curve(
        question.truth, question.scores, cases.groups, np.linspace(0.0, end, 201), replicates=evaluation.bootstrap,
        seed=evaluation.seed, confidence=evaluation.confidence, group=evaluation.group,
    )  # fmt: skip
    name = _name(cases, question)
    drawing = decision_figures.work(
        Spread(curve.missed, curve.left, curve.low, curve.high), point=point,
        positive=float(question.truth.mean()), unit=units, name=name,
    )  # fmt: skip
    caption = (
        f"{text} {_shaded(evaluation, curve.reason)} Do not choose a threshold from this curve: it would be chosen on "
        f"the {units} that evaluate it."
    )
    return Figure(drawing, f"Workload: {units} left to read over {name} missed.", caption.strip())


def _shaded(evaluation: Evaluation, reason: str) -> str:
    if reason:
        return f"No band: {reason}."
    return f"Shaded: pointwise {_percent(evaluation)} limits, resampling {plural(evaluation.group)}."


def _curves(
    cases: Cases, questions: Sequence[Question], evaluation: Evaluation
) -> tuple[list[Figure], list[str]]:
    both = [each for each in questions if 0 < int(each.truth.sum()) < len(each.truth)]
    asked = sorted(both, key=lambda each: -int(each.truth.sum()))[:CURVES]
    found: list[Figure] = []
    notes: list[str] = []
    for each in asked:
        name = _name(cases, each)
        if not (each.scores.min() >= 0 and each.scores.max() <= 1):
            notes.append(f"No decision curve of {name}: its scores are not probabilities from 0 to 1.")
            continue
        curve = decision_curve(
            each.truth, each.scores, cases.groups[each.rows], _grid(each.scores), replicates=evaluation.bootstrap,
            seed=evaluation.seed, confidence=evaluation.confidence, group=evaluation.group,
        )  # fmt: skip
        shown = Benefit(
            Spread(curve.thresholds, curve.model, curve.low, curve.high),
            Spread(curve.thresholds, curve.treat_all, curve.all_low, curve.all_high),
        )
        caption = (
            f"{_worth(curve, evaluation)} {_shaded(evaluation, curve.reason)} {count(curve.n, evaluation.unit)}, "
            f"{number(curve.positives)} positive."
        )
        found.append(
            Figure(decision_figures.benefit(shown, name=name), f"Decision curve of {name}.", caption.strip())
        )
    if not found:
        return found, notes
    if len(asked) < len(questions):
        notes.append(f"The {len(asked)} most frequent of {len(questions)} classes.")
    notes.append(
        "Net benefit at a threshold t: true positives minus false positives times t / (1 − t), divided by all cases "
        "(Vickers and Elkin, Medical Decision Making 26:565, 2006). 0.05 means 5 true positives in 100 cases without a "
        "false positive. To treat is to act on a predicted positive. With threshold t, one true positive outweighs "
        "(1 − t) / t false positives: 9 at 0.1, 1 at 0.5. The scores are used as probabilities: with poor calibration, "
        "the net benefit is wrong."
    )
    return found, notes


def _grid(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Thresholds up to the tenth above the largest score; above it no case is treated."""
    end = min(0.99, max(0.1, math.ceil(10 * float(scores.max()) - 1e-9) / 10))
    return np.linspace(end / 100, end, 100)


def _worth(curve: DecisionCurve, evaluation: Evaluation) -> str:
    """The thresholds at which treating by the score has the higher net benefit, by the limits of the differences."""
    if curve.reason:
        return ""
    better = (curve.low > 0) & (curve.gain_low > 0)
    by = f"(pointwise {_percent(evaluation)} limits of both differences are above 0)"
    if not better.any():
        return f"At no threshold does treating by the score have a higher net benefit than treating all and none {by}."
    edges = np.flatnonzero(np.diff(np.concatenate([[False], better, [False]]).astype(int)))
    runs = [
        " to ".join(dict.fromkeys(score(float(curve.thresholds[place]), 2) for place in (first, last - 1)))
        for first, last in zip(edges[::2], edges[1::2], strict=True)
    ]
    where = listing(runs) if len(runs) <= 3 else f"{len(runs)} ranges between {runs[0].partition(' ')[0]} and " + (
        runs[-1].rpartition(" ")[2]
    )  # fmt: skip
    return f"Treating by the score has a higher net benefit than treating all and none at thresholds from {where} {by}."
