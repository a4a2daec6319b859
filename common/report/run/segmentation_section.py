"""How well what was outlined lies on the truth: the spread over units, volume against volume, and by which rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from graftwork.common.evaluation.metrics.mask_overlap import read_masks, unit_values
from graftwork.common.report.figures import segmentation_figures as figures
from graftwork.common.report.figures.segmentation_figures import Amounts, Strip
from graftwork.common.report.formatting import (
    count,
    interval,
    listing,
    metric_name,
    number,
    plural,
    score,
    sentence,
    shortened,
)
from graftwork.common.report.run.run_figures import Shown

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from graftwork.common.evaluation import Result
    from graftwork.common.evaluation.metrics.mask_overlap import Masks
    from graftwork.common.report.run.run_facts import Facts


DRAWN = 8  # classes in a figure; all stand in the table
ML = 1000.0  # mm³
LARGE = 10_000.0  # mm³ from which volumes are given in ml


@dataclass
class Overlap:
    """The figures and sentences of the section on overlap."""

    figures: list[Shown] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def overlap_of(facts: Facts) -> Overlap:
    """The overlap of each unit of the part that was evaluated."""
    found = Overlap()
    part = facts.evaluation.part
    protocol = facts.protocol
    by = protocol.by if protocol is not None else ""
    masks = read_masks(facts.predictions, facts.manifest.target.classes, part, by=by)
    if not len(masks):
        found.notes.append(f"No {facts.unit} of the {part} part has a known mask.")
        return found
    dice = unit_values("dice", masks, protocol.empty if protocol is not None else "one")
    units = _described(facts, masks, by)
    drawn = list(facts.classes[:DRAWN])
    found.figures.append(_spread(facts, dice, drawn))
    found.figures.append(_volumes(facts, masks, units, drawn))
    if len(drawn) < len(facts.classes):
        found.notes.append(
            f"Drawn are the first {len(drawn)} of {len(facts.classes)} classes; all stand under All metrics."
        )
    found.notes += _rules(facts, masks, units)
    return found


def _described(facts: Facts, masks: Masks, by: str) -> pd.DataFrame:
    """The rows of the predictions, one a unit, in the order of `masks`; of several of one unit the first."""
    frame = facts.predictions
    return frame.groupby(frame[by or "case"].astype(str)).first().loc[[str(case) for case in masks.case]]


def _spread(facts: Facts, dice: NDArray[np.float64], drawn: Sequence[str]) -> Shown:
    rows, said = [], []
    for k, name in enumerate(drawn):
        result = _of(facts, "dice", name)
        known = dice[:, k][np.isfinite(dice[:, k])]
        mean = float(known.mean()) if len(known) else float("nan")
        low, high = (result.low, result.high) if result is not None else (float("nan"), float("nan"))
        mean = result.value if result is not None else mean
        rows.append(Strip(name, dice[:, k], mean, low, high))
        limits = interval(low, high)
        spread = (
            f"median {score(float(np.median(known)))}, from {score(float(known.min()))} to {score(float(known.max()))}"
            if len(known)
            else "no value"
        )
        said.append(f"{shortened(name, 40)}: mean {score(mean)}{f' ({limits})' if limits else ''}, {spread}")
    n = count(len(dice), facts.unit)
    return Shown(
        figures.strips(
            rows,
            x_label=f"Dice of each {facts.unit}",
            unit=facts.unit,
            alt=f"Dice of {n} of the {facts.evaluation.part} part by class. {'; '.join(said)}.",
        ),
        f"Dice of each {facts.unit}.",
        f"{n} of the {facts.evaluation.part} part, each a point of each class. 1: truth and prediction are the same; "
        f"0: they have nothing in common. The interval of the mean resamples {plural(facts.group)}.",
    )


def _of(facts: Facts, metric: str, name: str) -> Result | None:
    """The result of a class; of the only class that of the whole."""
    found = [result for result in facts.evaluation.results if result.metric == metric]
    own = [result for result in found if result.label == name]
    return next(iter(own or (found if len(facts.classes) == 1 else [])), None)


def _volumes(facts: Facts, masks: Masks, units: pd.DataFrame, drawn: Sequence[str]) -> Shown:
    size, measure = _scale(facts, masks, units)
    rows, said = [], []
    for k, name in enumerate(drawn):
        truth, predicted = masks.truth[:, k] * size, masks.predicted[:, k] * size
        rows.append(Amounts(name, truth, predicted))
        middle = float(np.median(predicted - truth))
        more = "more" if middle > 0 else "less"
        said.append(
            f"{shortened(name, 40)}: true {_amount(truth)}, predicted {_amount(predicted)}; "
            + (f"in the median {_figure(abs(middle))} {more}" if middle else "in the median the same")
        )
    what = "Area" if measure == "pixels" else "Volume"
    return Shown(
        figures.agreement(
            rows,
            measure=measure,
            alt=f"Predicted against true {what.lower()} in {measure} of {count(len(units), facts.unit)}. "
            f"{'; '.join(said)}.",
        ),
        f"{what}, predicted against true.",
        f"In {measure}. On the dotted line both are equal; above it too much was outlined. "
        f"Median difference: {listing(_difference(rows, measure))}.",
    )


def _difference(rows: Sequence[Amounts], measure: str) -> list[str]:
    found = []
    for row in rows:
        middle = float(np.median(row.predicted - row.truth))
        sign = "+" if middle > 0 else "−" if middle < 0 else ""
        found.append(f"{shortened(row.label, 40)} {sign}{_figure(abs(middle))} {measure}")
    return found


def _figure(value: float) -> str:
    """Three digits that count: `0.0213`, `4.12`, `1,090`."""
    return number(round(value)) if value >= 100 else f"{value:.3g}"


def _amount(values: NDArray[np.float64]) -> str:
    return f"{_figure(float(values.min()))} to {_figure(float(values.max()))}"


def _sizes(units: pd.DataFrame) -> list[float | None]:
    """mm³ of a voxel of each unit, None where its spacing is not known."""
    found: list[float | None] = []
    for text in units["spacing"] if "spacing" in units.columns else [None] * len(units):
        sides = [float(side) for side in text.split()] if isinstance(text, str) else []
        found.append(float(np.prod(sides)) if len(sides) == 3 else None)
    return found


def _scale(facts: Facts, masks: Masks, units: pd.DataFrame) -> tuple[NDArray[np.float64], str]:
    """What a voxel of each unit counts, and in which measure."""
    sizes = [size for size in _sizes(units) if size is not None]
    if len(sizes) < len(units):
        flat = not facts.manifest.unit and facts.picture == "image"
        return np.ones(len(units)), "pixels" if flat else "voxels"
    each = np.array(sizes)
    top = float((masks.truth * each[:, None]).max(initial=0))
    return (each / ML, "ml") if top >= LARGE else (each, "mm³")


def _rules(facts: Facts, masks: Masks, units: pd.DataFrame) -> list[str]:
    """The rule for empty cases, how distances are measured, and where they are not."""
    said = []
    truth, predicted = masks.truth, masks.predicted
    both, invented, missed = (
        (truth + predicted == 0),
        (truth == 0) & (predicted > 0),
        (truth > 0) & (predicted == 0),
    )
    if facts.protocol is None:
        said.append(
            "The protocol of this run is not installed here, so its rule for empty cases cannot be named."
        )
    else:
        rule = "counts as 1" if facts.protocol.empty == "one" else "is undefined and left out of the mean"
        said.append(
            f"Where truth and prediction of a class are both empty, its Dice {rule}; where one of them alone is empty, "
            "it is 0."
        )
    counted = [
        f"{shortened(name, 40)}: both empty {number(int(both[:, k].sum()))}, predicted where there is none "
        f"{number(int(invented[:, k].sum()))}, missed altogether {number(int(missed[:, k].sum()))}"
        for k, name in enumerate(facts.classes[:DRAWN])
    ]
    if (both | invented | missed).any():
        said.append(f"Of {count(len(units), facts.unit)}: {'; '.join(counted)}.")
    else:
        said.append(f"Of {count(len(units), facts.unit)} none lacks a class, in truth or prediction.")
    if any(result.metric == "hausdorff_95" for result in facts.evaluation.results):
        about = metric_name("hausdorff_95")
        said.append(
            f"{about.title}: {sentence(about.meaning)} Measured between the centres of surface voxels, as MONAI does; "
            "other programs take both directions together or weigh by area, and report other numbers by this name."
        )
        unknown = sum(size is None for size in _sizes(units))
        if unknown:
            said.append(
                f"The spacing of {number(unknown)} of {count(len(units), facts.unit)} is not known: without it a "
                "distance in mm is undefined."
            )
    pictures = (
        units["images"].to_numpy(dtype=np.int64)
        if "images" in units.columns
        else np.ones(len(units), np.int64)
    )
    if pictures.max(initial=1) > 1:
        said.append(
            f"A {facts.unit} is the stack of its {plural(facts.picture)} ({pictures.min()} to {pictures.max()}, "
            f"{number(int(pictures.sum()))} in all); its voxels are counted together, not {facts.picture} by "
            f"{facts.picture}."
        )
    return said
