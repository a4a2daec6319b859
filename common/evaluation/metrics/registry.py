"""Each metric as one record: title, definition, range, direction and estimator.

To add a metric, write its function and its record here; `evaluate`, reports and methods sections take it from the
record. Importing this file imports no numpy: functions of numpy are loaded (`_load`) when a metric is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from graftwork.common.errors import UsageError

if TYPE_CHECKING:
    from graftwork.common.evaluation.arrays import Estimator, FloatArray
    from graftwork.common.evaluation.metrics.detection import BoxRanking
    from graftwork.common.evaluation.metrics.mask_overlap import Masks, RegionMasks
    from graftwork.common.evaluation.tables.predictions import Cases, Question

SCORED = ("binary", "multi-class", "multi-label", "ordinal")  # kinds of targets with a score for each class
EXCLUSIVE = ("multi-class", "ordinal")  # a case has exactly one class: the one with the largest score
COUNTS = ("counts",)  # a whole number for each case
FOLDERS = ("masks in folders",)  # metrics that need the masks themselves, not only counts of voxels
BOXES = ("boxes",)  # true and predicted boxes of each image


@dataclass(frozen=True)
class Metric:
    """A metric: its description, and how to compute it for each kind of target.

    Attributes:
        title, definition: for reports and methods sections; `exclusive` is the definition for exclusive classes,
            and `short` the title in tables and figures, where they differ.
        better: the direction. kinds: of targets. unit: range or unit; `exclusive_unit`: that for exclusive classes.
        one: makes the estimator for one class against the rest; None for metrics of exclusive classes only.
        whole: makes the estimator for exclusive classes together, where it is not the mean over classes;
            `over_present`: it is a mean over the classes that are present in the truth.
        label_sets: makes the estimator for all labels of a case together, where labels do not exclude each other.
        needs: "positive", "negative": cases without which it is undefined; "decision": a threshold, or the class
            with the largest score.
        among: "positive" or "negative": the cases in the denominator, where these are not all.
        order: it depends only on the order of the scores.
        interval: for independent cases, "delong" (of an AUROC) or "wilson" (of a share of correct decisions).
        count: the value for each case from truth and prediction, averaged; `root`: the square root of that mean.
        unit_values: the value for each unit and class from counts of voxels; `empty_one`: 1 where neither mask holds
            the class, if the protocol says so; `undefined`: why a unit has no value; `median`: over units.
        region: the value from two masks of one region. boxes: makes the estimator for boxes.
    """

    title: str
    definition: str
    better: Literal["higher", "lower", "closer to 1", "closer to 0"] = "higher"
    exclusive: str = ""
    unit: str = "0 to 1"
    kinds: tuple[str, ...] = SCORED
    short: str = ""
    exclusive_unit: str = ""
    one: Callable[[Question], Estimator] | None = None
    whole: Callable[[Cases], Estimator] | None = None
    over_present: bool = False
    label_sets: Callable[[Cases, Sequence[Question]], Estimator] | None = None
    needs: tuple[str, ...] = ()
    among: str = ""
    interval: Literal["", "delong", "wilson"] = ""
    order: bool = False
    count: Callable[[FloatArray, FloatArray], FloatArray] | None = None
    root: bool = False
    unit_values: Callable[[Masks], FloatArray] | None = None
    empty_one: bool = False
    undefined: str = ""
    median: bool = False
    region: Callable[[RegionMasks], float] | None = None
    boxes: Callable[[BoxRanking], Estimator] | None = None


def _load(name: str) -> Any:
    """A module beside this file, imported when a metric is computed."""
    return import_module(f"{__package__}.{name}")


def _ranking(q: Question) -> Any:
    return _load("discrimination").Ranking(q.truth, q.scores, q.units, q.count)


def _chosen(c: Cases) -> tuple[Any, ...]:
    return c.choice, c.truth, len(c.classes), *c.units


_BOTH = ("positive", "negative")
_NEITHER = "neither truth nor prediction holds it"
_LESIONS = "the mean over true lesions and false positive lesions of"

METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "auroc": Metric(
            "area under the ROC curve (AUROC)",
            "the share of pairs of a positive and a negative case in which the positive case has the higher score, "
            "ties counted half",
            exclusive="one class against the rest: the share of pairs of a case of the class and another case in "
            "which the case of the class has the higher score for it, ties counted half",
            short="AUROC",
            one=lambda q: _ranking(q).auroc,
            needs=_BOTH,
            interval="delong",
            order=True,
        ),
        "average_precision": Metric(
            "average precision",
            "the sum over distinct thresholds of the step in recall times the precision there, without interpolation",
            exclusive="one class against the rest: the sum over distinct thresholds of the step in recall "
            "times the precision there, without interpolation",
            one=lambda q: _ranking(q).average_precision,
            needs=("positive",),
            order=True,
        ),
        "sensitivity": Metric(
            "sensitivity",
            "the share of positive cases with a score at or above the threshold",
            exclusive="the share of the cases of a class that are predicted as that class",
            one=lambda q: _load("operating_points").rate(q.decision, q.truth, q.units, q.count),
            needs=("positive", "decision"),
            among="positive",
            interval="wilson",
        ),
        "specificity": Metric(
            "specificity",
            "the share of negative cases with a score below the threshold",
            exclusive="the share of the cases of other classes that are not predicted as the class",
            one=lambda q: _load("operating_points").rate(~q.decision, ~q.truth, q.units, q.count),
            needs=("negative", "decision"),
            among="negative",
            interval="wilson",
        ),
        "accuracy": Metric(
            "accuracy",
            "the share of cases classified correctly at the threshold",
            exclusive="the share of cases predicted as the correct class",
            one=lambda q: _load("operating_points").correct(q.decision, q.truth, q.units, q.count),
            needs=("decision",),
            whole=lambda c: _load("operating_points").correct(c.choice, c.truth, *c.units),
            interval="wilson",
        ),
        "balanced_accuracy": Metric(
            "balanced accuracy",
            "the mean of sensitivity and specificity at the threshold",
            exclusive="the mean over the classes present in the truth of the share predicted as the correct class",
            one=lambda q: _load("operating_points").mean_rate(q.decision, q.truth, q.units, q.count),
            needs=("positive", "negative", "decision"),
            whole=lambda c: _load("operating_points").mean_recall(*_chosen(c)),
            over_present=True,
        ),
        "brier": Metric(
            "Brier score",
            "the mean squared difference between the predicted probability and the outcome, 0 or 1",
            "lower",
            exclusive="the squared differences between predicted probabilities and outcomes, summed over classes "
            "(0 to 2) and averaged over cases",
            short="Brier score",
            exclusive_unit="0 to 2",
            one=lambda q: _load("calibration").squared_error(q.truth, q.scores, q.units, q.count),
            whole=lambda c: _load("calibration").squared_error(c.outcomes, c.scores, *c.units),
        ),
        "ece_top_label": Metric(
            "expected calibration error (top-label)",
            "the mean difference, in 15 equal-width right-closed bins of the probability of the predicted class, "
            "between that probability and the share classified correctly; resampling adds noise to it, so its "
            "interval can be above a small value",
            "lower",
            short="ECE (top-label)",
            one=lambda q: _load("calibration").top_label_error(q.truth, q.scores, q.units, q.count),
            whole=lambda c: _load("calibration").top_label_error(c.truth, c.scores, *c.units),
        ),
        "calibration_slope": Metric(
            "calibration slope",
            "the slope of the unpenalised logistic regression of the outcome on the log odds of the predicted "
            "probability: 1 for calibrated probabilities, below 1 for probabilities that are too extreme",
            "closer to 1",
            unit="",
            kinds=("binary", "multi-label"),
            one=lambda q: _load("calibration").slope_of_logits(q.truth, q.scores, q.units, q.count),
            needs=_BOTH,
        ),
        "calibration_in_the_large": Metric(
            "calibration-in-the-large",
            "the intercept of that regression with the slope fixed at 1: 0 for probabilities that are correct on "
            "average, below 0 for probabilities that are too high",
            "closer to 0",
            unit="log odds",
            kinds=("binary", "multi-label"),
            one=lambda q: _load("calibration").intercept_at_slope_one(q.truth, q.scores, q.units, q.count),
            needs=_BOTH,
        ),
        "set_jaccard": Metric(
            "Jaccard index of the sets of classes",
            "the mean over cases of the number of classes that are in both truth and prediction, over the number in "
            "either; 1 where both sets are empty; unknown labels are in neither",
            kinds=("multi-label",),
            label_sets=lambda cases, questions: _load("operating_points").label_sets(cases, questions),
            needs=("decision",),
        ),
        "macro_f1": Metric(
            "macro F1",
            "the mean over the classes present in the truth of 2 TP / (2 TP + FP + FN); a class that is only "
            "predicted is not averaged, but lowers the F1 of the true class",
            kinds=EXCLUSIVE,
            whole=lambda c: _load("operating_points").mean_f1(*_chosen(c)),
            over_present=True,
            needs=("decision",),
        ),
        "f1": Metric(
            "F1",
            "2 TP / (2 TP + FP + FN) at the threshold; undefined where no case is positive in truth or prediction",
            kinds=("binary", "multi-label"),
            one=lambda q: _load("agreement").f1_estimator(q.decision, q.truth, q.units, q.count),
            needs=("decision",),
        ),
        "partial_auroc": Metric(
            "partial AUROC above 80 % sensitivity",
            "the area between the ROC curve and a sensitivity of 0.8, not scaled: chance is 0.02, the best 0.2",
            unit="0 to 0.2",
            kinds=("binary",),
            one=lambda q: _load("curves").area_above_sensitivity(q.truth, q.scores, q.units),
            needs=_BOTH,
            order=True,
        ),
        "hand_till": Metric(
            "Hand and Till's M",
            "the mean over pairs of classes present in the truth of the area under the ROC curve of the two",
            kinds=("multi-class",),
            whole=lambda c: _load("discrimination").pairwise(c.truth, c.scores, *c.units),
        ),
        "top_5_accuracy": Metric(
            "top-5 accuracy",
            "the share of cases whose class is among the five with the largest scores; of equal scores the first "
            "classes count",
            kinds=("multi-class",),
            whole=lambda c: _load("discrimination").top_k(c.truth, c.scores, 5, *c.units),
        ),
        "matthews": Metric(
            "Matthews correlation",
            "the correlation between truth and predicted class; undefined where one of them has only one class",
            unit="-1 to 1",
            kinds=("binary", "multi-class", "multi-label"),
            one=lambda q: _load("agreement").square("matthews", q.decision, q.truth, 2, q.units, q.count),
            needs=("positive", "negative", "decision"),
            whole=lambda c: _load("agreement").square("matthews", *_chosen(c)),
        ),
        "kappa_quadratic": Metric(
            "quadratic kappa",
            "the agreement between predicted and true class beyond chance, disagreements weighted by the square of "
            "their distance in the order of the classes",
            unit="-1 to 1",
            kinds=("ordinal",),
            whole=lambda c: _load("agreement").square("quadratic", *_chosen(c)),
            needs=("decision",),
        ),
        "within_one": Metric(
            "accuracy within one class",
            "the share of cases predicted as the correct class or one next to it in the order of the classes",
            kinds=("ordinal",),
            short="Within one class",
            whole=lambda c: _load("operating_points").near_hits(c.choice, c.truth, *c.units),
            needs=("decision",),
        ),
        "mean_absolute_error": Metric(
            "mean absolute error",
            "the mean distance between predicted and true class, in steps of the order of the classes",
            "lower",
            unit="classes",
            kinds=("ordinal",),
            whole=lambda c: _load("operating_points").steps_apart(c.choice, c.truth, *c.units),
            needs=("decision",),
        ),
        "dice": Metric(
            "Dice coefficient",
            "twice the volume shared by prediction and truth over the sum of both volumes, for each unit as a "
            "whole, averaged over units",
            kinds=("segmentation",),
            short="Dice",
            unit_values=lambda m: _load("mask_overlap").dice_of_counts(m),
            empty_one=True,
            undefined=_NEITHER,
            region=lambda m: m.share(lambda: _load("mask_overlap").dice(m.truth, m.predicted)),
        ),
        "dice_median": Metric(
            "Dice coefficient, median",
            "the median over units of the Dice coefficient of each unit as a whole",
            kinds=("segmentation",),
            short="Dice, median",
            unit_values=lambda m: _load("mask_overlap").dice_of_counts(m),
            empty_one=True,
            undefined=_NEITHER,
            median=True,
        ),
        "jaccard": Metric(
            "Jaccard index",
            "the volume shared by prediction and truth over that of both together, for each unit as a whole, "
            "averaged over units",
            kinds=("segmentation",),
            unit_values=lambda m: _load("mask_overlap").jaccard_of_counts(m),
            empty_one=True,
            undefined=_NEITHER,
            region=lambda m: m.share(lambda: _load("mask_overlap").jaccard(m.truth, m.predicted)),
        ),
        "hausdorff_95": Metric(
            "Hausdorff distance, 95th percentile (larger of the two directed)",
            "the larger of the two directed 95th percentiles (linearly interpolated) of the distance from one "
            "boundary to the nearest point of the other, averaged over the units in which truth and prediction "
            "hold the class and the spacing is known",
            "lower",
            unit="mm",
            kinds=("segmentation",),
            short="Hausdorff distance, 95 %",
            unit_values=lambda m: m.known_distance,
            region=lambda m: m.distance(lambda surfaces: surfaces.hausdorff_95(m.rules.hausdorff)),
        ),
        "volume_difference": Metric(
            "relative volume difference",
            "the absolute difference between predicted and true volume over the true volume, averaged over the units "
            "whose truth holds the class",
            "lower",
            unit="of the true volume",
            kinds=("segmentation",),
            short="Volume difference",
            unit_values=lambda m: _load("mask_overlap").volume_difference_of_counts(m),
            undefined="the truth does not hold it",
            region=lambda m: _load("surface_distances").volume_difference(m.truth, m.predicted),
        ),
        "count_exact": Metric(
            "exact counts",
            "the share of cases whose predicted number is the true number",
            kinds=COUNTS,
            count=lambda truth, predicted: (predicted == truth).astype(float),
        ),
        "count_error": Metric(
            "mean absolute error of counts",
            "the mean absolute difference between the predicted and the true number",
            "lower",
            unit="animals or things counted",
            kinds=COUNTS,
            count=lambda truth, predicted: abs(predicted - truth),
        ),
        "count_rmse": Metric(
            "root mean squared error of counts",
            "the root of the mean squared difference between the predicted and the true number",
            "lower",
            unit="animals or things counted",
            kinds=COUNTS,
            count=lambda truth, predicted: (predicted - truth) ** 2,
            root=True,
        ),
        "least_jaccard": Metric(
            "Jaccard index, 0 below 0.65",
            "the Jaccard index of each case, counted as 0 where it is below 0.65, averaged over cases",
            kinds=FOLDERS,
            region=lambda m: m.share(m.jaccard_from_least),
        ),
        "average_surface_distance": Metric(
            "average symmetric surface distance",
            "the mean of all distances from one boundary to the nearest point of the other, in both directions",
            "lower",
            unit="mm",
            kinds=FOLDERS,
            region=lambda m: m.distance(lambda surfaces: surfaces.average_distance()),
        ),
        "surface_dice_half": Metric(
            "normalised surface distance at 0.5 mm",
            "the share of both surfaces, by area, that is within 0.5 mm of the other",
            kinds=FOLDERS,
            region=lambda m: m.share(lambda: m.surface_dice(0.5)),
        ),
        "surface_dice_one": Metric(
            "normalised surface distance at 1 mm",
            "the share of both surfaces, by area, that is within 1 mm of the other",
            kinds=FOLDERS,
            region=lambda m: m.share(lambda: m.surface_dice(1.0)),
        ),
        "voxel_sensitivity": Metric(
            "sensitivity by voxel",
            "the share of the true volume that is predicted",
            kinds=FOLDERS,
            region=lambda m: m.rate(m.truth, m.predicted),
        ),
        "voxel_specificity": Metric(
            "specificity by voxel",
            "the share of the volume outside the truth that is not predicted",
            kinds=FOLDERS,
            region=lambda m: m.rate(~m.truth, ~m.predicted),
        ),
        "lesion_dice": Metric(
            "lesion-wise Dice coefficient",
            f"{_LESIONS} the Dice coefficient, 0 for a missed or false positive lesion",
            kinds=FOLDERS,
            region=lambda m: m.of_lesions(lambda lesions: lesions.dice),
        ),
        "lesion_hausdorff_95": Metric(
            "lesion-wise Hausdorff distance, 95th percentile (surfel-weighted)",
            f"{_LESIONS} the distance, a penalty for a missed or false positive lesion",
            "lower",
            unit="mm",
            kinds=FOLDERS,
            region=lambda m: m.of_lesions(lambda lesions: lesions.hausdorff_95),
        ),
        "lesion_surface_dice_half": Metric(
            "lesion-wise normalised surface distance at 0.5 mm",
            f"{_LESIONS} the share of both surfaces within 0.5 mm",
            kinds=FOLDERS,
            region=lambda m: m.of_lesions(lambda lesions: lesions.surface_dice[0]),
        ),
        "lesion_surface_dice_one": Metric(
            "lesion-wise normalised surface distance at 1 mm",
            f"{_LESIONS} the share of both surfaces within 1 mm",
            kinds=FOLDERS,
            region=lambda m: m.of_lesions(lambda lesions: lesions.surface_dice[1]),
        ),
        "coco_ap": Metric(
            "average precision (COCO, IoU 0.50 to 0.95)",
            "the mean over ten thresholds of the intersection over union (IoU), 0.50 to 0.95 in steps of 0.05, and "
            "over 101 recalls, 0 to 1 in steps of 0.01, of the largest precision at that recall or a larger one, the "
            "detections of all images taken in the order of their scores; 0 at recalls that are not reached",
            kinds=BOXES,
            boxes=lambda r: lambda multiplicity: r.average_precision(range(10), multiplicity),
        ),
        "coco_ap_50": Metric(
            "average precision (COCO, IoU 0.50)",
            "average precision as COCO defines it, at the threshold 0.50 of the intersection over union alone",
            kinds=BOXES,
            boxes=lambda r: lambda multiplicity: r.average_precision((0,), multiplicity),
        ),
        "coco_ap_75": Metric(
            "average precision (COCO, IoU 0.75)",
            "average precision as COCO defines it, at the threshold 0.75 of the intersection over union alone",
            kinds=BOXES,
            boxes=lambda r: lambda multiplicity: r.average_precision((5,), multiplicity),
        ),
        "coco_ar_100": Metric(
            "average recall (COCO, 100 detections)",
            "the mean over ten thresholds of the intersection over union, 0.50 to 0.95, of the share of true boxes "
            "that are found by at most 100 detections of the class in each image",
            kinds=BOXES,
            boxes=lambda r: r.recall,
        ),
    }
)


def scored_metric(name: str) -> Metric:
    """The metric of that name, for targets with scores.

    Raises:
        UsageError: unknown, or a metric of masks, counts or boxes.
    """
    found = METRICS.get(name)
    scored = [each for each, metric in METRICS.items() if set(metric.kinds) & set(SCORED)]
    if found is None:
        near = get_close_matches(name, scored, n=1)
        raise UsageError(
            f"the metric {name!r} is unknown; known metrics: {', '.join(scored)}",
            where="metric",
            remedy=f"write {near[0]!r}" if near else "name one of these",
        )
    if name not in scored:
        masks = "segmentation" in found.kinds
        raise UsageError(
            f"{name} is a metric of {'masks' if masks else ' and '.join(found.kinds)}, not of scores",
            where="metric",
            remedy="call segmentation_score" if masks else f"name one of {', '.join(scored)}",
        )
    return found


def function_of(name: str, field: str, kind: str) -> Callable[..., Any]:
    """The function in a field of a metric's record, such as `region`. `kind`: what it evaluates, for the message.

    Raises:
        UsageError: the metric is unknown, or the field is empty.
    """
    found: Callable[..., Any] | None = getattr(METRICS.get(name), field, None)
    if found is None:
        known = ", ".join(each for each, metric in METRICS.items() if getattr(metric, field))
        raise UsageError(f"{name!r} is not a metric of {kind}", where="metric", remedy=f"name one of {known}")
    return found


def why_undefined(needs: Sequence[str], question: Question) -> str:
    """Why a metric with such needs is undefined for a question; empty where it is defined."""
    n, positives = len(question.truth), int(question.truth.sum())
    if n == 0:
        return "no case with a known label"
    if "positive" in needs and positives == 0:
        return f"no positive case among {n:,}"
    if "negative" in needs and positives == n:
        return f"no negative case among {n:,}"
    if "decision" in needs and question.decided is None:
        return question.undecided
    return ""
