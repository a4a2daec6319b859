"""The section on abstention: risk over coverage, and conformal sets.

It needs targets with one true class per case (binary or exclusive classes); cases are those of the protocol.
"""

from __future__ import annotations

import math
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
from graftwork.common.report.external.predictions_page import CALIBRATED_ON, Predictions
from graftwork.common.report.figures import decision_figures
from graftwork.common.report.figures.decision_figures import Spread
from graftwork.common.report.formatting import NOT_AVAILABLE, count, interval, number, score, shortened
from graftwork.common.report.section import Column, Figure, Row, Section, Table, section
from graftwork.common.wording import plural

if TYPE_CHECKING:
    from graftwork.common.evaluation import Cases, Evaluation


ALPHA = 0.1  # the share of sets without the true class that is allowed
ANSWERED = (1.0, 0.9, 0.8, 0.5)  # shares of the cases answered in the table
CLASSES = 20  # with their coverage in the table


@section("predictions", 70)
def abstention(data: Predictions) -> Section | None:
    """Risk over coverage, and conformal sets."""
    cases, evaluation = data.cases, data.evaluation
    if cases is None or not (cases.kind == "binary" or cases.kind in EXCLUSIVE):
        return None
    if not len(cases):
        text = (f"No {evaluation.unit} of the {evaluation.part} part has a known label.",)
        return Section("Abstention", "abstention", text=text)
    figure, table, notes = _risk(cases, evaluation)
    sets, set_notes = _sets(cases, data.calibration_cases, evaluation)
    inner = Section("Conformal sets", text=tuple(set_notes), tables=sets)
    return Section(
        "Abstention", "abstention", figures=(figure,), tables=(table,), notes=tuple(notes), sections=(inner,)
    )


def _percent(evaluation: Evaluation) -> str:
    return f"{100 * evaluation.confidence:g}\u00a0%"


# risk over coverage ----------------------------------------------------------------------------------------


def _risk(cases: Cases, evaluation: Evaluation) -> tuple[Figure, Table, list[str]]:
    wrong = cases.choice != cases.truth
    band = risk_coverage_band(
        wrong, cases.scores.max(axis=1), cases.groups, replicates=evaluation.bootstrap, seed=evaluation.seed,
        level=evaluation.confidence, group=evaluation.group,
    )  # fmt: skip
    units, groups = plural(evaluation.unit), plural(evaluation.group)
    shaded = (
        f"Shaded: pointwise {_percent(evaluation)} limits, resampling {groups}." if not band.reason else ""
    )
    limits = interval(band.area_low, band.area_high)
    area = f"AURC {score(band.area)}" + (f" ({_percent(evaluation)} interval {limits})" if limits else "")
    figure = Figure(
        decision_figures.risk(Spread(band.coverage, band.risk, band.low, band.high), unit=units),
        "Risk over coverage.",
        f"{area}: the mean of the curve. {shaded}".strip(),
    )
    larger = "larger" if cases.kind == "binary" else "largest"
    half = (
        " This means a threshold of one half, whatever the threshold above." if cases.kind == "binary" else ""
    )
    tied = " A tie has no decision and counts as wrong." if cases.undecided else ""
    notes = [
        f"Each of the {units} gets the class with the {larger} probability, and this probability is the "
        "certainty of the "
        f"decision (Geifman and El-Yaniv, NeurIPS 2017).{half}{tied} Among {units} with the same certainty, "
        "each counts "
        "with their mean error.",
        "A curve that falls to the left shows that the model is less certain where it is wrong: a person can read the "
        "least certain cases, and the rest has fewer wrong decisions. Choose the number of such cases on other data.",
    ]
    return figure, _risk_table(band, evaluation), notes


def _place(share: float) -> int:
    return round(100 * share) - 1  # of a grid of 0.01 to 1


def _risk_table(band: RiskCoverageBand, evaluation: Evaluation) -> Table:
    rows = []
    for share in ANSWERED:
        at = _place(share)
        limits = interval(float(band.low[at]), float(band.high[at])) or NOT_AVAILABLE
        answered = number(math.ceil(round(share * band.n, 9)))
        head = "Wrong, all answered" if share == 1.0 else f"Wrong, most certain {100 * share:g} % answered"
        rows.append(Row(head, (score(float(band.risk[at])), limits, answered)))
    area = interval(band.area_low, band.area_high) or NOT_AVAILABLE
    rows.append(Row("AURC", (score(band.area), area, number(band.n))))
    columns = (
        Column("measure"), Column("value", numeric=True), Column(f"{_percent(evaluation)} interval", numeric=True),
        Column(f"{plural(evaluation.unit)} answered", numeric=True),
    )  # fmt: skip
    notes = [
        f"Intervals: {band.method}; each replicate takes the most certain of its {plural(evaluation.unit)}.",
        "AURC: area under the risk-coverage curve, the mean over k of the share of wrong decisions among the k most "
        "certain; lower is better.",
    ]
    if band.reason:
        notes.append(f"No intervals: {band.reason}.")
    elif band.area_low == band.area_high:
        notes.append("Every replicate gave the same AURC; an interval of width 0 does not mean certainty.")
    return Table(
        "Risk without the least certain cases", columns, tuple(rows), stacks=True, notes=tuple(notes)
    )


# conformal sets --------------------------------------------------------------------------------------------


def _sets(cases: Cases, others: Cases | None, evaluation: Evaluation) -> tuple[tuple[Table, ...], list[str]]:
    promised, least = f"{100 * (1 - ALPHA):g}\u00a0%", _least()
    without = f"No conformal sets at {promised}: "
    if others is None:
        return (), [f"{without}they are calibrated on the part {CALIBRATED_ON}, which is evaluated here."]
    if not len(others):
        return (), [
            f"{without}they are calibrated on other cases, and the table has no case of the part "
            f"{CALIBRATED_ON} with a "
            "known label."
        ]
    apart = ~np.isin(others.groups, np.unique(cases.groups))
    shared = len(np.unique(others.groups[~apart]))
    used = np.flatnonzero(apart)
    used = used[one_per_group(others.groups[used], evaluation.seed)] if len(used) else used
    if len(used) < least:
        left = (
            f", without {count(shared, evaluation.group)} that part {evaluation.part} also has"
            if shared
            else ""
        )
        return (), [
            f"{without}calibration needs at least {count(least, evaluation.group)}; part {CALIBRATED_ON} has "
            f"{number(len(used))}{left}."
        ]
    known, new = _summed(others.scores[used]), _summed(cases.scores)
    sets = conformal_sets(others.truth[used], known, new, ALPHA)
    measured = coverage_intervals(
        sets, cases.truth, cases.groups, replicates=evaluation.bootstrap, seed=evaluation.seed,
        confidence=evaluation.confidence, group=evaluation.group,
    )  # fmt: skip
    several = measured.n > measured.groups
    rows = [("Coverage", measured.coverage)]
    rows += [(f"Coverage, mean over {plural(evaluation.group)}", measured.by_group)] if several else []
    rows += [
        ("Mean number of classes in a set", measured.size),
        ("Share of sets with one class", measured.single),
        ("Share of empty sets", measured.empty),
    ]
    notes = [f"Intervals: {measured.method}; the sets are not calibrated again."]
    notes += _reasons(rows)
    coverage = Table(
        f"Conformal sets at {promised} on the {evaluation.part} part", _columns("measure", evaluation),
        tuple(Row(name, _cells(share)) for name, share in rows), stacks=True, notes=tuple(notes),
    )  # fmt: skip
    shown = np.sort(np.argsort(-np.array(measured.cases), kind="stable")[:CLASSES])
    each = [(shortened(cases.classes[k], 40), measured.per_class[k]) for k in shown]
    some = [f"The {len(shown)} most frequent of {len(cases.classes)} classes."] * (
        len(shown) < len(cases.classes)
    )
    counted = [number(measured.cases[k]) for k in shown]
    by_class = Table(
        "Coverage by true class (not guaranteed)",
        (*_columns("class", evaluation), Column(plural(evaluation.unit), numeric=True)),
        tuple(Row(name, (*_cells(share), n)) for (name, share), n in zip(each, counted, strict=True)),
        stacks=True, notes=(*some, *_reasons(each)),
    )  # fmt: skip
    limit = conformal_quantile(1.0 - known[np.arange(len(used)), others.truth[used]], ALPHA)
    drawn = len(used) < int(apart.sum())
    return (coverage, by_class), _set_notes(evaluation, len(used), drawn, shared, limit, several)


def _least() -> int:
    """The smallest number of calibration cases with which a set is not all classes."""
    return math.ceil(round((1 - ALPHA) / ALPHA, 9))


def _summed(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows that sum to 1: rounded probabilities may not."""
    return np.asarray(scores / scores.sum(axis=1, keepdims=True))


def _columns(first: str, evaluation: Evaluation) -> tuple[Column, ...]:
    return (
        Column(first), Column("coverage" if first == "class" else "value", numeric=True),
        Column(f"{_percent(evaluation)} interval", numeric=True),
    )  # fmt: skip


def _cells(share: SetShare) -> tuple[str, str]:
    return score(share.value), interval(share.low, share.high) or NOT_AVAILABLE


def _reasons(rows: list[tuple[str, SetShare]]) -> list[str]:
    """Why there is no value or no interval, and a note on intervals of width 0."""
    names_by: dict[str, list[str]] = {}
    for name, share in rows:
        if share.reason:
            names_by.setdefault(share.reason, []).append(name)
    found = [f"{'; '.join(names)}: {reason}." for reason, names in names_by.items()]
    if any(share.low == share.high for _, share in rows):
        found.append("An interval of width 0 does not mean certainty: every replicate gave the same value.")
    return found


def _set_notes(
    evaluation: Evaluation, n: int, drawn: bool, shared: int, limit: float, several: bool
) -> list[str]:
    unit, units, groups = evaluation.unit, plural(evaluation.unit), plural(evaluation.group)
    k = math.ceil(round((n + 1) * (1 - ALPHA), 9))
    low, high = coverage_spread(n, ALPHA, evaluation.confidence)
    one = (
        f"{units[:1].upper()}{units[1:]} of one {evaluation.group} are not exchangeable, so one {unit} of each of "
        f"{count(n, evaluation.group)} of part {CALIBRATED_ON} was drawn (seed {evaluation.seed}) for calibration."
        if drawn
        else f"Calibrated on one {unit} of each of {count(n, evaluation.group)} of part {CALIBRATED_ON}."
        if evaluation.group_column
        else f"Calibrated on {count(n, unit)} of part {CALIBRATED_ON}. The table has no groups: several {units} of one "
        "source are not exchangeable, and then the guarantee does not hold."
    )  # fmt: skip
    left = (
        f" Left out: {count(shared, evaluation.group)} that part {evaluation.part} also has."
        if shared
        else ""
    )
    over = (
        f"one {unit} drawn of each {evaluation.group}: the mean over {groups}"
        if several
        else f"{units} like these"
    )
    return [
        f"A set has each class with a probability of at least {score(1 - limit)}: this is number {number(k)}, "
        "in falling order, of the "
        f"probabilities of the true class in {number(n)} calibration cases (LAC; Sadinle, Lei and Wasserman, JASA "
        "114:223, 2019). A set is empty where no class is that probable.",
        f"{one}{left}",
        f"Guaranteed is a coverage of at least {100 * (1 - ALPHA):g}\u00a0% for {over}, on average over calibration "
        "cases, if both parts come from one population and the model was not trained on part "
        f"{CALIBRATED_ON}. With {number(n)} calibration cases it is between {score(low)} and {score(high)} in "
        f"{_percent(evaluation)} of the draws (Vovk, PMLR 25:475, 2012).",
    ]
