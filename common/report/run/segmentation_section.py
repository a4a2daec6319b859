"""The section on overlap: Dice of single cases, predicted against true volume, and the rules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from graftwork.common.evaluation.metrics.mask_overlap import read_masks, unit_values
from graftwork.common.report.figures import segmentation_figures as figures
from graftwork.common.report.figures.segmentation_figures import Amounts, Strip
from graftwork.common.report.formatting import count, listing, metric_name, number, sentence, shortened
from graftwork.common.report.section import Figure, Section, section
from graftwork.common.wording import plural

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from graftwork.common.evaluation import Result
    from graftwork.common.evaluation.metrics.mask_overlap import Masks
    from graftwork.common.report.run.run_facts import Facts


DRAWN = 8  # classes in a figure; the table has every class
ML = 1000.0  # mm³
LARGE = 10_000.0  # mm³; larger volumes are given in ml


@section("run", 40)
def overlap(facts: Facts) -> Section | None:
    """The overlap of each unit of the evaluated part."""
    if not facts.segments:
        return None
    part, protocol = facts.evaluation.part, facts.protocol
    by = protocol.by if protocol is not None else ""
    masks = read_masks(facts.predictions, facts.manifest.target.classes, part, by=by)
    if not len(masks):
        return Section("Overlap", "overlap", text=(f"No {facts.unit} of the {part} part has a known mask.",))
    dice = unit_values("dice", masks, protocol.empty if protocol is not None else "one")
    units = _described(facts, masks, by)
    drawn, notes = list(facts.classes[:DRAWN]), []
    if len(drawn) < len(facts.classes):
        notes.append(f"The first {len(drawn)} of {len(facts.classes)} classes; All metrics has every class.")
    notes += _rules(facts, masks, units)
    if not facts.examples:
        notes.append(f"The run saved no image of a {facts.unit} of the {part} part with its masks.")
    found = (_spread(facts, dice, drawn), _volumes(facts, masks, units, drawn))
    return Section("Overlap", "overlap", figures=found, notes=tuple(notes))


def _described(facts: Facts, masks: Masks, by: str) -> pd.DataFrame:
    """The rows of the predictions, one per unit, in the order of `masks`; of several the first."""
    frame = facts.predictions
    return frame.groupby(frame[by or "case"].astype(str)).first().loc[[str(case) for case in masks.case]]


def _spread(facts: Facts, dice: NDArray[np.float64], drawn: Sequence[str]) -> Figure:
    rows = []
    for k, name in enumerate(drawn):
        result = _of(facts, "dice", name)
        known = dice[:, k][np.isfinite(dice[:, k])]
        mean, low, high = float(known.mean()) if len(known) else math.nan, math.nan, math.nan
        if result is not None:
            mean, low, high = result.value, result.low, result.high
        rows.append(Strip(name, dice[:, k], mean, low, high))
    return Figure(
        figures.strips(rows, x_label=f"Dice of each {facts.unit}", unit=facts.unit),
        f"Dice of each {facts.unit}.",
        f"{count(len(dice), facts.unit)} of the {facts.evaluation.part} part, one point per {facts.unit} and class. 1: "
        "true and predicted mask are the same; 0: they do not overlap. The interval of the mean resamples "
        f"{plural(facts.group)}.",
    )


def _of(facts: Facts, metric: str, name: str) -> Result | None:
    """The result of a class; of a single class the overall result."""
    found = [result for result in facts.evaluation.results if result.metric == metric]
    own = [result for result in found if result.label == name]
    return next(iter(own or (found if len(facts.classes) == 1 else [])), None)


def _volumes(facts: Facts, masks: Masks, units: pd.DataFrame, drawn: Sequence[str]) -> Figure:
    size, measure = _scale(facts, masks, units)
    rows = [
        Amounts(name, masks.truth[:, k] * size, masks.predicted[:, k] * size) for k, name in enumerate(drawn)
    ]
    name = figures.volume_name(measure).capitalize()
    return Figure(
        figures.agreement(rows, measure=measure, unit=facts.unit),
        f"{name}, predicted against true.",
        f"In {measure}. On the dotted line both are equal; above it, the predicted mask is too large. "
        f"Median difference: {listing(figures.median_differences(rows, measure))}.",
    )


def _sizes(units: pd.DataFrame) -> list[float | None]:
    """The volume of a voxel of each unit in mm³, None where its spacing is unknown."""
    found: list[float | None] = []
    for text in units["spacing"] if "spacing" in units.columns else [None] * len(units):
        sides = [float(side) for side in text.split()] if isinstance(text, str) else []
        found.append(float(np.prod(sides)) if len(sides) == 3 else None)
    return found


def _scale(facts: Facts, masks: Masks, units: pd.DataFrame) -> tuple[NDArray[np.float64], str]:
    """The size of a voxel of each unit, and its measure."""
    sizes = [size for size in _sizes(units) if size is not None]
    if len(sizes) < len(units):
        flat = not facts.manifest.unit and facts.image == "image"
        return np.ones(len(units)), "pixels" if flat else "voxels"
    each = np.array(sizes)
    top = float((masks.truth * each[:, None]).max(initial=0))
    return (each / ML, "ml") if top >= LARGE else (each, "mm³")


def _rules(facts: Facts, masks: Masks, units: pd.DataFrame) -> list[str]:
    """The rule for empty masks, how distances are measured, and where they are undefined."""
    truth, predicted, several = masks.truth, masks.predicted, count(len(units), facts.unit)
    both, only_predicted, only_true = (
        (truth + predicted == 0), (truth == 0) & (predicted > 0), (truth > 0) & (predicted == 0),
    )  # fmt: skip
    if facts.protocol is None:
        text = ["The protocol of this run is not installed, so its rule for empty masks is unknown."]
    else:
        rule = "is 1" if facts.protocol.empty == "one" else "is undefined and left out of the mean"
        text = [
            f"Where the true and the predicted mask are both empty, Dice {rule}; where only one is, it is 0."
        ]
    if (both | only_predicted | only_true).any():
        counts = [
            f"{shortened(name, 40)}: both empty {number(int(both[:, k].sum()))}, only the true mask empty "
            f"{number(int(only_predicted[:, k].sum()))}, only the predicted mask empty "
            f"{number(int(only_true[:, k].sum()))}"
            for k, name in enumerate(facts.classes[:DRAWN])
        ]
        text.append(f"Of {several}: {'; '.join(counts)}.")
    else:
        text.append(f"None of {several} has an empty mask.")
    if any(result.metric == "hausdorff_95" for result in facts.evaluation.results):
        about = metric_name("hausdorff_95")
        text.append(
            f"{about.title}: {sentence(about.meaning)} It is measured between the centres of surface voxels, as in "
            "MONAI. Other programs combine both directions or weigh by area, and give other values under this name."
        )
        unknown = sum(size is None for size in _sizes(units))
        if unknown:
            text.append(
                f"The spacing of {number(unknown)} of {several} is unknown, so distances in mm are undefined there."
            )
    n = (
        units["images"].to_numpy(dtype=np.int64)
        if "images" in units.columns
        else np.ones(len(units), np.int64)
    )
    if n.max(initial=1) > 1:
        text.append(
            f"A {facts.unit} is the stack of its {plural(facts.image)} ({n.min()} to {n.max()}, {number(int(n.sum()))} "
            f"in all). Its voxels are counted together, not {facts.image} by {facts.image}."
        )
    return text
