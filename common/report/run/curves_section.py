"""The sections with ROC curves, precision-recall curves and calibration, computed from the predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from graftwork.common.evaluation import (
    precision_recall_band,
    precision_recall_curve,
    reliability,
    roc_band,
    roc_curve,
)
from graftwork.common.evaluation.metrics.registry import SCORED
from graftwork.common.report.figures import curve_figures as figures
from graftwork.common.report.figures.curve_figures import Line
from graftwork.common.report.formatting import count, interval, listing, score
from graftwork.common.report.run.one_class import Evaluated, OneClass, classes_of
from graftwork.common.report.section import Figure, Section, section
from graftwork.common.wording import plural

if TYPE_CHECKING:
    from graftwork.common.evaluation import Curve, Threshold


LINES = 8  # classes drawn in one figure; the table of all metrics has every class
BANDED = 2  # classes up to which bands are drawn; more would hide each other
CALIBRATED = 4  # labels whose calibration is drawn
BINS = 10


def roc_line(one: OneClass, *, label: str, style: int, band: tuple[int, int, str] | None = None) -> Line:
    """The ROC curve of a class; `band` (replicates, seed, name of a group) adds its pointwise limits."""
    curve = roc_curve(one.y, one.s)
    limits = None
    if band is not None:
        limits = roc_band(one.y, one.s, one.groups, replicates=band[0], seed=band[1], group=band[2])
    return Line(
        label, curve.x, curve.y, style,
        band_x=None if limits is None else limits.x,
        low=None if limits is None else limits.low,
        high=None if limits is None else limits.high,
        point=_operating_point(curve, one.threshold),
    )  # fmt: skip


def _recall_line(one: OneClass, *, label: str, style: int, band: tuple[int, int, str] | None = None) -> Line:
    """Precision over recall of a class, as the steps that average precision sums: at each recall its best point."""
    curve = precision_recall_curve(one.y, one.s)
    limits = None
    if band is not None:
        limits = precision_recall_band(
            one.y, one.s, one.groups, replicates=band[0], seed=band[1], group=band[2]
        )
    first = np.concatenate([[True], np.diff(curve.x) > 0])
    return Line(
        label, np.concatenate([[0.0], curve.x[first]]), np.concatenate([curve.y[:1], curve.y[first]]), style,
        band_x=None if limits is None else limits.x,
        low=None if limits is None else limits.low,
        high=None if limits is None else limits.high,
        point=_operating_point(curve, one.threshold),
    )  # fmt: skip


def _operating_point(curve: Curve, chosen: Threshold | None) -> tuple[float, float] | None:
    """The point of a curve at which scores >= the threshold are positive; None without one."""
    if chosen is None or not math.isfinite(chosen.value):
        return None
    at_or_above = int(np.count_nonzero(curve.thresholds >= chosen.value))
    return (float(curve.x[at_or_above - 1]), float(curve.y[at_or_above - 1])) if at_or_above else None


def _drawn(classes: Sequence[OneClass]) -> tuple[list[OneClass], list[str]]:
    """The classes that are drawn, the most frequent of many, and notes on the others."""
    notes = [f"No curve of {one.lack}." for one in classes if not one.defined]
    defined = [one for one in classes if one.defined]
    drawn = sorted(defined, key=lambda one: -int(one.y.sum()))[:LINES]
    drawn.sort(key=lambda one: one.style)
    if len(drawn) < len(defined):
        notes.append(
            f"The {len(drawn)} most frequent of {len(defined)} classes; All metrics has every class."
        )
    return drawn, notes


@section("run", 50)
@section("predictions", 30)
def curves(facts: Evaluated) -> Section | None:
    """ROC and precision-recall curves."""
    if facts.target.kind not in SCORED:
        return None
    drawn, notes = _drawn(classes_of(facts))
    if facts.image != facts.unit:
        notes.append(
            f"Curves, calibration and decisions are of single {plural(facts.image)}, metrics of {plural(facts.unit)}."
        )
    if not drawn:
        text = ("No curve: no class has both positive and negative cases.",)
        return Section("ROC and precision-recall curves", "curves", text=text, notes=tuple(notes))
    evaluation = facts.evaluation
    band = (evaluation.bootstrap, evaluation.seed, facts.group) if len(drawn) <= BANDED else None
    single = facts.target.kind == "binary"
    thresholds = [
        one.threshold for one in drawn if one.threshold is not None and math.isfinite(one.threshold.value)
    ]
    names = [f"{one.name} (positive)" if single else one.name for one in drawn]
    numbered = list(enumerate(zip(drawn, names, strict=True)))
    rocs = [roc_line(one, label=name, style=k, band=band) for k, (one, name) in numbered]
    recalls = [_recall_line(one, label=name, style=k, band=band) for k, (one, name) in numbered]
    share = float(drawn[0].y.mean())
    after = "" if single else " One class against the rest."
    if band is not None:
        after += f" Shaded: pointwise 95 % limits, resampling {plural(facts.group)}."
    if thresholds:
        chosen = f"chosen on {thresholds[0].chosen_on}" if thresholds[0].chosen_on else "fixed beforehand"
        after += f" The marked point is the threshold {chosen}."
    auroc, precision = _metric_words(facts, "auroc"), _metric_words(facts, "average_precision")
    of = f"of {listing(one.name for one in drawn)} on the {evaluation.part} part."
    roc = figures.unit_square(
        rocs,
        x_label="1 − specificity",
        y_label="sensitivity",
        diagonal=True,
        title=f"ROC curve {of} {auroc}".strip(),
    )
    recall = figures.unit_square(
        recalls, x_label="recall (sensitivity)", y_label="precision", steps=True, level=share if single else None,
        level_label=f"guessing, {score(share)}", title=f"Precision over recall {of} {precision}".strip(),
    )  # fmt: skip
    guess = f" Guessing gives the share of positives, {score(share)}." if single else ""
    found = (
        Figure(roc, "ROC curve.", f"{auroc}{after} Guessing gives the dotted diagonal.".strip()),
        Figure(recall, "Precision-recall curve.", f"{precision}{after}{guess}".strip()),
    )
    return Section("ROC and precision-recall curves", "curves", figures=found, notes=tuple(notes))


def _metric_words(facts: Evaluated, metric: str) -> str:
    result = facts.overall(metric)
    if result is None or not math.isfinite(result.value):
        return ""
    title = {"auroc": "AUROC", "average_precision": "Average precision"}[metric]
    limits = interval(result.low, result.high)
    mean = f" (mean over {result.classes[0]} of {result.classes[1]} classes)" if result.classes else ""
    return f"{title} {score(result.value)}{mean}" + (f", 95 % interval {limits}." if limits else ".")


@section("run", 60)
@section("predictions", 40)
def calibration(facts: Evaluated) -> Section | None:
    """Observed shares over predicted probabilities."""
    evaluation, target = facts.evaluation, facts.target
    if target.kind not in SCORED:
        return None
    classes, notes, found = classes_of(facts), list[str](), list[Figure]()
    exclusive = target.kind in ("multi-class", "ordinal")
    if exclusive:
        classes = _top_label(facts)
    elif target.kind == "multi-label":
        every = len(classes)
        classes = sorted((one for one in classes if one.defined), key=lambda one: -int(one.y.sum()))[
            :CALIBRATED
        ]
        if len(classes) < every:
            notes.append(f"The {len(classes)} most frequent of {every} classes.")
    for one in classes:
        if not len(one.y):
            notes.append(f"No calibration of {one.lack}.")
            continue
        if not (one.s.min() >= 0 and one.s.max() <= 1):
            notes.append(f"No calibration of {one.name}: its scores are not probabilities from 0 to 1.")
            continue
        curve = reliability(
            one.y, one.s, one.groups, BINS, replicates=evaluation.bootstrap, seed=evaluation.seed, group=facts.group,
            variant="top-label" if exclusive else "class-1",
        )  # fmt: skip
        n = curve.n.astype(np.float64)
        positives = np.where(curve.n > 0, np.nan_to_num(curve.observed) * n, 0.0)
        limits = interval(curve.ece_low, curve.ece_high)
        error = f"Expected calibration error {score(curve.ece)}" + (
            f" (95 % interval {limits})" if limits else ""
        )
        data = figures.Calibration(
            one.name,
            curve.edges,
            curve.predicted,
            curve.observed,
            curve.low,
            curve.high,
            n - positives,
            positives,
        )
        lacking = f"; {curve.reason}" if curve.reason else ""
        found.append(
            Figure(
                figures.calibration(data, unit=plural(facts.image)),
                f"Calibration of {one.name}.",
                f"{error}; {curve.variant}. Bands: pointwise 95 % limits, resampling {plural(facts.group)}{lacking}. "
                f"Below: histogram of the {count(len(one.y), facts.image)}.",
            )
        )
    if not found and not notes:
        return None
    if found:
        notes.append(
            "Points on the diagonal are perfectly calibrated; above it, the class is more frequent than predicted. A "
            "bin that is empty in many of the resamples has no band. Calibration depends on the share of positives: "
            "with another share, the probabilities are no longer right."
        )
    return Section("Calibration", "calibration", figures=tuple(found), notes=tuple(notes))


def _top_label(facts: Evaluated) -> list[OneClass]:
    """Of exclusive classes: whether the predicted class is right, and its probability."""
    target = facts.target
    (column,) = target.columns
    frame = facts.predictions[
        (facts.predictions["part"] == facts.evaluation.part) & facts.predictions[column].notna()
    ]
    scores = frame[list(target.scores)].to_numpy(dtype=np.float64)
    if not len(scores):
        return []
    decided = np.array(target.classes, dtype=object)[scores.argmax(axis=1)]
    right = (decided == frame[column].to_numpy(dtype=object)).astype(np.int64)
    groups = frame["group"].astype(str).to_numpy(dtype=object)
    return [OneClass("the predicted class", right, scores.max(axis=1), groups, None, 0)]
