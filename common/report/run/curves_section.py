"""What came out, as curves with bands: ROC, precision over recall, reliability.

Everything is computed anew from the run's predictions, with the statistics of `graftwork.common.evaluation`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from graftwork.common.evaluation import (
    precision_recall_band,
    precision_recall_curve,
    reliability,
    roc_band,
    roc_curve,
)
from graftwork.common.report import figures
from graftwork.common.report.figures import Line
from graftwork.common.report.formatting import (
    count,
    interval,
    listing,
    plural,
    score,
)
from graftwork.common.report.run.class_against_rest import OneClass, classes_of
from graftwork.common.report.run.run_figures import Shown

if TYPE_CHECKING:
    from graftwork.common.evaluation import Curve, Threshold
    from graftwork.common.report.run.class_against_rest import Judged


LINES = 8  # classes drawn in one figure; all stand in the table
BANDED = 2  # classes up to which bands are drawn; more would hide each other
CALIBRATED = 4  # labels whose calibration is drawn
BINS = 10


@dataclass
class Outcomes:
    """The figures and sentences of the sections on discrimination and calibration."""

    discrimination: list[Shown] = field(default_factory=list)
    discrimination_notes: list[str] = field(default_factory=list)
    calibration: list[Shown] = field(default_factory=list)
    calibration_notes: list[str] = field(default_factory=list)


def outcomes_of(facts: Judged) -> Outcomes:
    """The outcome of a run on the part that was evaluated."""
    found = Outcomes()
    classes = classes_of(facts)
    _discrimination(facts, classes, found)
    _calibration(facts, classes, found)
    return found


def roc_line(one: OneClass, *, label: str, style: int, band: tuple[int, int, str] | None = None) -> Line:
    """The ROC curve of a class; `band` (replicates, seed, what a group is) adds its pointwise limits."""
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
    """The classes that are drawn, the most frequent ones where there are many, and what is said of the others."""
    notes = [f"No curve of {one.lack}." for one in classes if not one.defined]
    there = [one for one in classes if one.defined]
    drawn = sorted(there, key=lambda one: -int(one.y.sum()))[:LINES]
    drawn.sort(key=lambda one: one.style)
    if len(drawn) < len(there):
        notes.append(
            f"Drawn are the {len(drawn)} most frequent of {len(there)} classes; all stand under All metrics."
        )
    return drawn, notes


def _discrimination(facts: Judged, classes: Sequence[OneClass], found: Outcomes) -> None:
    drawn, notes = _drawn(classes)
    found.discrimination_notes += notes
    if facts.picture != facts.unit:
        found.discrimination_notes.append(
            f"Curves, calibration and decisions are of single {plural(facts.picture)}, values of {plural(facts.unit)}."
        )
    if not drawn:
        return
    evaluation = facts.evaluation
    band = (evaluation.bootstrap, evaluation.seed, facts.group) if len(drawn) <= BANDED else None
    single = facts.target.kind == "binary"
    marked = [
        one.threshold for one in drawn if one.threshold is not None and math.isfinite(one.threshold.value)
    ]
    rocs, recalls = [], []
    for place, one in enumerate(drawn):
        name = f"{one.name} (positive)" if single else one.name
        rocs.append(roc_line(one, label=name, style=place, band=band))
        recalls.append(_recall_line(one, label=name, style=place, band=band))
    share = float(drawn[0].y.mean())
    said = {metric: _said(facts, metric) for metric in ("auroc", "average_precision")}
    names = listing(one.name for one in drawn)
    shaded = f" Shaded: pointwise 95 % limits, resampling {plural(facts.group)}." if band is not None else ""
    point = ""
    if marked:
        chosen = f"chosen on {marked[0].chosen_on}" if marked[0].chosen_on else "fixed beforehand"
        point = f" The marked point is the threshold {chosen}."
    against = "" if single else " One class against the rest."
    found.discrimination.append(
        Shown(
            figures.unit_square(
                rocs, x_label="1 − specificity", y_label="sensitivity", diagonal=True,
                alt=f"ROC curve of {names} on the {evaluation.part} part. {said['auroc']}{_at(rocs)}",
            ),
            "ROC.",
            f"{said['auroc']}{against}{shaded}{point} Guessing gives the dotted diagonal.".strip(),
        )
    )  # fmt: skip
    found.discrimination.append(
        Shown(
            figures.unit_square(
                recalls, x_label="recall (sensitivity)", y_label="precision", steps=True,
                level=share if single else None, level_label=f"guessing, {score(share)}",
                alt=f"Precision over recall of {names} on the {evaluation.part} part. {said['average_precision']}",
            ),
            "Precision and recall.",
            f"{said['average_precision']}{against}{shaded}{point}"
            + (f" Guessing gives the share of positives, {score(share)}." if single else ""),
        )
    )  # fmt: skip


def _said(facts: Judged, metric: str) -> str:
    result = facts.overall(metric)
    if result is None or not math.isfinite(result.value):
        return ""
    title = {"auroc": "AUROC", "average_precision": "Average precision"}[metric]
    limits = interval(result.low, result.high)
    mean = f" (mean over {result.classes[0]} of {result.classes[1]} classes)" if result.classes else ""
    return f"{title} {score(result.value)}{mean}" + (f", 95 % interval {limits}." if limits else ".")


def _at(lines: Sequence[Line]) -> str:
    if len(lines) != 1 or lines[0].point is None:
        return ""
    x, y = lines[0].point
    return f" At the threshold: sensitivity {score(y)}, specificity {score(1 - x)}."


def _calibration(facts: Judged, classes: Sequence[OneClass], found: Outcomes) -> None:
    evaluation, target = facts.evaluation, facts.target
    asked = list(classes)
    decided = target.kind in ("multi-class", "ordinal")
    if decided:
        asked = _top_label(facts)
    elif target.kind == "multi-label":
        asked = sorted((one for one in classes if one.defined), key=lambda one: -int(one.y.sum()))[
            :CALIBRATED
        ]
        if len(asked) < len(classes):
            found.calibration_notes.append(
                f"Shown are the {len(asked)} most frequent of {len(classes)} classes."
            )
    for one in asked:
        if not len(one.y):
            found.calibration_notes.append(f"No calibration of {one.lack}.")
            continue
        if not (one.s.min() >= 0 and one.s.max() <= 1):
            found.calibration_notes.append(
                f"No calibration of {one.name}: its scores are no probabilities in 0 to 1."
            )
            continue
        curve = reliability(
            one.y,
            one.s,
            one.groups,
            BINS,
            replicates=evaluation.bootstrap,
            seed=evaluation.seed,
            group=facts.group,
            variant="top-label" if decided else "class-1",
        )
        n = curve.n.astype(np.float64)
        positives = np.where(curve.n > 0, np.nan_to_num(curve.observed) * n, 0.0)
        limits = interval(curve.ece_low, curve.ece_high)
        error = f"Expected calibration error {score(curve.ece)}" + (
            f" (95 % interval {limits})" if limits else ""
        )
        shown = figures.Calibration(
            one.name,
            curve.edges,
            curve.predicted,
            curve.observed,
            curve.low,
            curve.high,
            n - positives,
            positives,
        )
        over = "decided class" if decided else one.name
        found.calibration.append(
            Shown(
                figures.calibration(
                    shown, unit=plural(facts.picture),
                    alt=f"Observed share against predicted probability of {over} in {BINS} bins. {error}. "
                    + _bin_words(shown),
                ),
                f"Calibration of {one.name}.",
                f"{error}; {curve.variant}. Bands: pointwise 95 % limits, resampling {plural(facts.group)}"
                + (f"; {curve.reason}" if curve.reason else "")
                + f". Below: where the {count(len(one.y), facts.picture)} lie.",
            )
        )  # fmt: skip
    if found.calibration:
        found.calibration_notes.append(
            "A point on the dotted diagonal comes true as often as its probability says; above it, more often. A bin "
            "that is empty in many of the resamples has no band. The share of positives is that of this collection; "
            "where it is another, probabilities are no longer right."
        )


def _top_label(facts: Judged) -> list[OneClass]:
    """Of exclusive classes: whether the class decided for is right, and the probability it was given."""
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
    return [OneClass("the class decided for", right, scores.max(axis=1), groups, None, 0)]


def _bin_words(shown: figures.Calibration) -> str:
    filled = [
        f"{score(float(x), 2)} predicted, {score(float(y), 2)} observed"
        for x, y in zip(shown.predicted, shown.observed, strict=True)
        if math.isfinite(x) and math.isfinite(y)
    ]
    return f"By bin: {'; '.join(filled)}." if filled else "Every bin is empty."
