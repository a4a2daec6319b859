"""What abstaining comes to: risk over the share of cases answered, and conformal sets of classes.

Of targets of which one class is true: exclusive classes, and binary ones, decided by the larger probability. The cases
are those that the protocol judges: where it puts several rows together, what became of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from graftwork.common.evaluation.metrics.abstention import (
    RiskCoverageBand,
    conformal_quantile,
    conformal_sets,
    risk_coverage_band,
)
from graftwork.common.evaluation.metrics.conformal_coverage import (
    SetShare,
    coverage_intervals,
    coverage_spread,
    one_per_group,
)
from graftwork.common.evaluation.metrics.registry import EXCLUSIVE
from graftwork.common.report.figures import decision_figures
from graftwork.common.report.figures.decision_figures import Spread
from graftwork.common.report.formatting import (
    NOT_AVAILABLE,
    count,
    interval,
    number,
    plural,
    score,
    shortened,
)
from graftwork.common.report.run.run_figures import Shown
from graftwork.common.report.tables import Column, Row, Table

if TYPE_CHECKING:
    from graftwork.common.evaluation import Cases, Evaluation


CALIBRATED_ON = "validation"  # the part on which thresholds are chosen, and sets calibrated
ALPHA = 0.1  # the share of misses that sets are allowed
ANSWERED = (1.0, 0.9, 0.8, 0.5)  # shares of the cases answered that stand in the table
CLASSES = 20  # whose coverage stands in the table


@dataclass
class Abstaining:
    """The figure, tables and sentences of the section on abstention.

    Attributes:
        figure, table: risk over coverage; None without a case. notes: sentences on it.
        sets, by_class: conformal sets, None where there are none. set_notes: sentences on them, or why there are none.
    """

    figure: Shown | None = None
    table: Table | None = None
    notes: list[str] = field(default_factory=list)
    sets: Table | None = None
    by_class: Table | None = None
    set_notes: list[str] = field(default_factory=list)


def abstains(kind: str) -> bool:
    """Whether one class of a case is true, so that a model may be sure of it or not."""
    return kind == "binary" or kind in EXCLUSIVE


def abstaining_of(cases: Cases, others: Cases | None, evaluation: Evaluation) -> Abstaining:
    """What abstaining comes to on the evaluated part.

    Args:
        cases: of the part evaluated. others: of the part `CALIBRATED_ON`; None where it is the one evaluated.
    """
    found = Abstaining()
    if not abstains(cases.kind):
        return found
    if not len(cases):
        found.notes.append(f"No {evaluation.unit} of the {evaluation.part} part has a known label.")
        return found
    _risk(cases, evaluation, found)
    _sets(cases, others, evaluation, found)
    return found


def _percent(evaluation: Evaluation) -> str:
    return f"{100 * evaluation.confidence:g}\u00a0%"


# risk over coverage ----------------------------------------------------------------------------------------


def _risk(cases: Cases, evaluation: Evaluation, found: Abstaining) -> None:
    wrong = cases.choice != cases.truth
    band = risk_coverage_band(
        wrong, cases.scores.max(axis=1), cases.groups, replicates=evaluation.bootstrap, seed=evaluation.seed,
        level=evaluation.confidence, group=evaluation.group,
    )  # fmt: skip
    units, groups = plural(evaluation.unit), plural(evaluation.group)
    shaded = (
        f"Shaded: pointwise {_percent(evaluation)} limits, resampling {groups}." if not band.reason else ""
    )
    said = [
        f"{score(float(band.risk[at]))} of the surest {100 * band.coverage[at]:.0f} %"
        for at in map(_place, ANSWERED)
    ]
    limits = interval(band.area_low, band.area_high)
    area = f"AURC {score(band.area)}" + (f" ({_percent(evaluation)} interval {limits})" if limits else "")
    words = f"Share of wrong decisions over the share of {units} answered, the surest first: {', '.join(said)}. {area}."
    found.figure = Shown(
        decision_figures.risk(Spread(band.coverage, band.risk, band.low, band.high), unit=units, alt=words),
        "Risk over coverage.",
        f"{area}: the mean of the curve. {shaded}".strip(),
    )
    found.table = _risk_table(band, evaluation)
    either = "larger" if cases.kind == "binary" else "largest"
    above = " That is at one half, whatever threshold stands above." if cases.kind == "binary" else ""
    tied = " A tie is decided for no class and counts as wrong." if cases.undecided else ""
    found.notes += [
        f"Each of the {units} is decided for the class with the {either} probability, and that probability is how sure "
        f"the decision is (Geifman and El-Yaniv, NeurIPS 2017).{above}{tied} Of {units} that are equally sure each "
        "counts with the mean error of all of them.",
        "A curve that falls to the left says that the model knows where it errs: leaving the least sure to a person "
        "lowers the share of wrong decisions among the rest. How many to leave has to be fixed on other cases.",
    ]


def _place(share: float) -> int:
    return round(100 * share) - 1  # of a grid of 0.01 to 1


def _risk_table(band: RiskCoverageBand, evaluation: Evaluation) -> Table:
    rows = []
    for share in ANSWERED:
        at = _place(share)
        limits = interval(float(band.low[at]), float(band.high[at])) or NOT_AVAILABLE
        answered = number(math.ceil(round(share * band.n, 9)))
        head = "Wrong, all answered" if share == 1.0 else f"Wrong, the surest {100 * share:g} % answered"
        rows.append(Row(head, (score(float(band.risk[at])), limits, answered)))
    area = interval(band.area_low, band.area_high) or NOT_AVAILABLE
    rows.append(Row("AURC", (score(band.area), area, number(band.n))))
    columns = (
        Column("measure"), Column("value", numeric=True), Column(f"{_percent(evaluation)} interval", numeric=True),
        Column(f"{plural(evaluation.unit)} answered", numeric=True),
    )  # fmt: skip
    notes = [
        f"Intervals: {band.method}; in each replicate the surest of the {plural(evaluation.unit)} drawn.",
        "AURC: area under the risk-coverage curve, the mean over k of the share wrong among the k surest; lower is "
        "better.",
    ]
    if band.reason:
        notes.append(f"No intervals: {band.reason}.")
    elif band.area_low == band.area_high:
        notes.append("Every replicate gave the same AURC; an interval without width is no certainty.")
    return Table(
        "Risk where the least sure are left out", columns, tuple(rows), stacks=True, notes=tuple(notes)
    )


# conformal sets --------------------------------------------------------------------------------------------


def _sets(cases: Cases, others: Cases | None, evaluation: Evaluation, found: Abstaining) -> None:
    promised, least = f"{100 * (1 - ALPHA):g}\u00a0%", _least()
    without = f"No conformal sets at {promised}: "
    if others is None:
        found.set_notes.append(
            f"{without}they are calibrated on the part {CALIBRATED_ON}, which is the one that is judged here."
        )
        return
    if not len(others):
        found.set_notes.append(
            f"{without}they are calibrated on other cases than those judged, and the table has none of a part "
            f"{CALIBRATED_ON} with a known label."
        )
        return
    apart = ~np.isin(others.groups, np.unique(cases.groups))
    shared = len(np.unique(others.groups[~apart]))
    kept = np.flatnonzero(apart)
    kept = kept[one_per_group(others.groups[kept], evaluation.seed)] if len(kept) else kept
    if len(kept) < least:
        left = (
            f", without {count(shared, evaluation.group)} that also stand in part {evaluation.part}"
            if shared
            else ""
        )
        found.set_notes.append(
            f"{without}they take at least {count(least, evaluation.group)} to calibrate on; part {CALIBRATED_ON} has "
            f"{number(len(kept))}{left}."
        )  # fmt: skip
        return
    known, new = _summed(others.scores[kept]), _summed(cases.scores)
    sets = conformal_sets(others.truth[kept], known, new, ALPHA)
    judged = coverage_intervals(
        sets, cases.truth, cases.groups, replicates=evaluation.bootstrap, seed=evaluation.seed,
        confidence=evaluation.confidence, group=evaluation.group,
    )  # fmt: skip
    several = judged.n > judged.groups
    rows = [("Coverage", judged.coverage)]
    rows += [(f"Coverage, mean over {plural(evaluation.group)}", judged.by_group)] if several else []
    rows += [
        ("Mean number of classes in a set", judged.size),
        ("Share of sets with one class", judged.single),
        ("Share of empty sets", judged.empty),
    ]
    notes = [f"Intervals: {judged.method}; the sets are held as they are."]
    notes += _reasons(rows)
    found.sets = Table(
        f"Conformal sets at {promised} on the {evaluation.part} part", _columns("measure", evaluation),
        tuple(Row(name, _cells(share)) for name, share in rows), stacks=True, notes=tuple(notes),
    )  # fmt: skip
    shown = np.sort(np.argsort(-np.array(judged.cases), kind="stable")[:CLASSES])
    each = [(shortened(cases.classes[k], 40), judged.per_class[k]) for k in shown]
    said = [f"Shown are the {len(shown)} most frequent of {len(cases.classes)} classes."] if len(shown) < len(
        cases.classes) else []  # fmt: skip
    counted = [number(judged.cases[k]) for k in shown]
    found.by_class = Table(
        "Coverage by true class (not promised)",
        (*_columns("class", evaluation), Column(plural(evaluation.unit), numeric=True)),
        tuple(Row(name, (*_cells(share), n)) for (name, share), n in zip(each, counted, strict=True)),
        stacks=True, notes=(*said, *_reasons(each)),
    )  # fmt: skip
    limit = conformal_quantile(1.0 - known[np.arange(len(kept)), others.truth[kept]], ALPHA)
    drawn = len(kept) < int(apart.sum())
    found.set_notes += _set_notes(evaluation, len(kept), drawn, shared, limit, several)


def _least() -> int:
    """The number of cases from which sets at the level promised are not all classes."""
    return math.ceil(round((1 - ALPHA) / ALPHA, 9))


def _summed(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows made to sum to 1: those of probabilities that were rounded to a few digits miss it."""
    return np.asarray(scores / scores.sum(axis=1, keepdims=True))


def _columns(first: str, evaluation: Evaluation) -> tuple[Column, ...]:
    return (
        Column(first), Column("coverage" if first == "class" else "value", numeric=True),
        Column(f"{_percent(evaluation)} interval", numeric=True),
    )  # fmt: skip


def _cells(share: SetShare) -> tuple[str, str]:
    return score(share.value), interval(share.low, share.high) or NOT_AVAILABLE


def _reasons(rows: list[tuple[str, SetShare]]) -> list[str]:
    """Why there is no number, or no interval, and that one without width is no certainty."""
    said: dict[str, list[str]] = {}
    for name, share in rows:
        if share.reason:
            said.setdefault(share.reason, []).append(name)
    found = [f"{'; '.join(names)}: {reason}." for reason, names in said.items()]
    if any(share.low == share.high for _, share in rows):
        found.append(
            "Where an interval has no width, every replicate gave the same number; that is no certainty."
        )
    return found


def _set_notes(
    evaluation: Evaluation, n: int, drawn: bool, shared: int, limit: float, several: bool
) -> list[str]:
    unit, units, groups = evaluation.unit, plural(evaluation.unit), plural(evaluation.group)
    k = math.ceil(round((n + 1) * (1 - ALPHA), 9))
    low, high = coverage_spread(n, ALPHA, evaluation.confidence)
    one = (
        f"{units[:1].upper()}{units[1:]} of one {evaluation.group} are not exchangeable, so one {unit} of each of "
        f"{count(n, evaluation.group)} of part {CALIBRATED_ON} was drawn (seed {evaluation.seed}) to calibrate on."
        if drawn
        else f"Calibrated on one {unit} of each of {count(n, evaluation.group)} of part {CALIBRATED_ON}."
        if evaluation.group_column
        else f"Calibrated on {count(n, unit)} of part {CALIBRATED_ON}. The table has no groups: where several {units} "
        "come from one source they are not exchangeable, and the promise does not hold."
    )  # fmt: skip
    left = (
        f" {count(shared, evaluation.group)} that also stand in part {evaluation.part} were left out."
        if shared
        else ""
    )
    over = (
        f"one {unit} drawn of each {evaluation.group}: the mean over {groups}"
        if several
        else f"{units} like these"
    )
    return [
        f"A set holds each class with a probability of at least {score(1 - limit)}: number {number(k)}, from the "
        f"largest, of the probabilities of the true class in {number(n)} calibration cases (LAC; Sadinle, Lei and "
        "Wasserman, JASA 114:223, 2019). In an empty set no class is likely enough.",
        f"{one}{left}",
        f"Promised is a coverage of at least {100 * (1 - ALPHA):g}\u00a0% for {over}, on average over draws of the "
        f"calibration cases, where both parts are of one population and the model has not learned from part "
        f"{CALIBRATED_ON}. For {number(n)} calibration cases it lies between {score(low)} and {score(high)} in "
        f"{_percent(evaluation)} of the draws (Vovk, PMLR 25:475, 2012).",
    ]
