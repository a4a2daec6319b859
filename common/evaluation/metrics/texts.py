"""The metrics for people: title, definition, unit, which way is better. Plain data; imports no numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

SCORED = ("binary", "multi-class", "multi-label", "ordinal")  # kinds of targets that are told by scores
COUNTS = ("counts",)  # a whole number a case
FOLDERS = ("masks in folders",)  # what only two folders of masks tell
BOXES = ("boxes",)  # true and predicted boxes of each image
EXCLUSIVE = ("multi-class", "ordinal")  # of these, one of several classes: the one with the largest score


@dataclass(frozen=True)
class MetricText:
    """What a metric is, for people: a title, its definition in a sentence, and which way is better.

    `exclusive` is the definition for several exclusive classes, where it differs; `unit` what its numbers are in;
    `kinds` the kinds of targets it is of.
    """

    title: str
    definition: str
    better: Literal["higher", "lower", "closer to 1", "closer to 0"] = "higher"
    exclusive: str = ""
    unit: str = "0 to 1"
    kinds: tuple[str, ...] = SCORED


METRICS: Mapping[str, MetricText] = MappingProxyType(
    {
        "auroc": MetricText(
            "area under the ROC curve (AUROC)",
            "the share of pairs of a positive and a negative case that the score puts in the right order, "
            "ties counted half",
            exclusive="one class against the rest: the share of pairs of a case of the class and another "
            "that the score of the class puts in the right order, ties counted half",
        ),
        "average_precision": MetricText(
            "average precision",
            "the sum over distinct thresholds of the step in recall times the precision there, "
            "without interpolation",
            exclusive="one class against the rest: the sum over distinct thresholds of the step in recall "
            "times the precision there, without interpolation",
        ),
        "sensitivity": MetricText(
            "sensitivity",
            "the share of positive cases with a score at or above the threshold",
            exclusive="the share of the cases of a class that were given that class",
        ),
        "specificity": MetricText(
            "specificity",
            "the share of negative cases with a score below the threshold",
            exclusive="the share of the cases of other classes that were not given the class",
        ),
        "accuracy": MetricText(
            "accuracy",
            "the share of cases decided rightly at the threshold",
            exclusive="the share of cases that were given the right class",
        ),
        "balanced_accuracy": MetricText(
            "balanced accuracy",
            "the mean of sensitivity and specificity at the threshold",
            exclusive="the mean over the classes present in the truth of the share given the right class",
        ),
        "brier": MetricText(
            "Brier score",
            "the mean squared difference of the predicted probability and the outcome, 0 or 1",
            "lower",
            exclusive="the squared differences of predicted probabilities and outcomes, summed over classes "
            "(0 to 2) and averaged over cases",
        ),
        "ece_top_label": MetricText(
            "expected calibration error (top-label)",
            "the mean difference, in 15 equal-width right-closed bins of the probability of the class "
            "decided for, between that probability and the share decided rightly; resampling adds noise to "
            "it, so that its interval can lie above a small value",
            "lower",
        ),
        "calibration_slope": MetricText(
            "calibration slope",
            "the slope of the unpenalised logistic regression of the outcome on the log odds of the predicted "
            "probability: 1 where they fit, below 1 where probabilities are too extreme",
            "closer to 1",
            unit="",
            kinds=("binary", "multi-label"),
        ),
        "calibration_in_the_large": MetricText(
            "calibration-in-the-large",
            "the intercept of that regression with the slope fixed at 1: 0 where probabilities are right on the "
            "whole, below 0 where they are too high",
            "closer to 0",
            unit="log odds",
            kinds=("binary", "multi-label"),
        ),
        "set_jaccard": MetricText(
            "Jaccard index of the sets of classes",
            "the mean over cases of the number of classes that are in both, truth and decision, over the number in "
            "either; 1 where both sets are empty; labels that are not known are in neither",
            kinds=("multi-label",),
        ),
        "macro_f1": MetricText(
            "macro F1",
            "the mean over the classes present in the truth of 2 TP / (2 TP + FP + FN); a class that is only "
            "predicted is not averaged, but costs the class it was taken for",
            kinds=EXCLUSIVE,
        ),
        "f1": MetricText(
            "F1",
            "2 TP / (2 TP + FP + FN) at the threshold; undefined where no case is or is called positive",
            kinds=("binary", "multi-label"),
        ),
        "partial_auroc": MetricText(
            "partial AUROC above 80 % sensitivity",
            "the area between the ROC curve and a sensitivity of 0.8, not scaled: chance is 0.02, the best 0.2",
            unit="0 to 0.2",
            kinds=("binary",),
        ),
        "hand_till": MetricText(
            "Hand and Till's M",
            "the mean over pairs of classes present in the truth of the area under the ROC curve of the two",
            kinds=("multi-class",),
        ),
        "top_5_accuracy": MetricText(
            "top-5 accuracy",
            "the share of cases whose class is among the five with the largest scores, of equals the first ones",
            kinds=("multi-class",),
        ),
        "matthews": MetricText(
            "Matthews correlation",
            "the correlation of truth and decision; undefined where one of them is one class only",
            unit="-1 to 1",
            kinds=("binary", "multi-class", "multi-label"),
        ),
        "kappa_quadratic": MetricText(
            "quadratic kappa",
            "the agreement of the class given and the right one beyond chance, disagreements weighted by the square "
            "of their distance in the order of the classes",
            unit="-1 to 1",
            kinds=("ordinal",),
        ),
        "within_one": MetricText(
            "accuracy within one class",
            "the share of cases given the right class or one next to it in the order of the classes",
            kinds=("ordinal",),
        ),
        "mean_absolute_error": MetricText(
            "mean absolute error",
            "the mean distance, in steps of the order of the classes, of the class given and the right one",
            "lower",
            unit="classes",
            kinds=("ordinal",),
        ),
        "dice": MetricText(
            "Dice coefficient",
            "twice the volume shared by prediction and truth over the sum of both volumes, of each unit as a "
            "whole, averaged over units",
            kinds=("segmentation",),
        ),
        "dice_median": MetricText(
            "Dice coefficient, median",
            "the median over units of the Dice coefficient of each unit as a whole",
            kinds=("segmentation",),
        ),
        "jaccard": MetricText(
            "Jaccard index",
            "the volume shared by prediction and truth over that of both together, of each unit as a whole, "
            "averaged over units",
            kinds=("segmentation",),
        ),
        "hausdorff_95": MetricText(
            "Hausdorff distance, 95th percentile (larger of the two directed)",
            "the larger of the two directed 95th percentiles (linearly interpolated) of the distance from one "
            "boundary to the nearest point of the other, averaged over the units in which truth and prediction "
            "hold the class and the spacing is known",
            "lower",
            unit="mm",
            kinds=("segmentation",),
        ),
        "volume_difference": MetricText(
            "relative volume difference",
            "the absolute difference of the predicted and the true volume over the true one, averaged over the "
            "units whose truth holds the class",
            "lower",
            unit="of the true volume",
            kinds=("segmentation",),
        ),
        "count_exact": MetricText(
            "exact counts", "the share of cases whose number is the predicted one", kinds=COUNTS
        ),
        "count_error": MetricText(
            "mean absolute error of counts",
            "the mean absolute difference of the predicted and the true number",
            "lower",
            unit="animals or things counted",
            kinds=COUNTS,
        ),
        "count_rmse": MetricText(
            "root mean squared error of counts",
            "the root of the mean squared difference of the predicted and the true number",
            "lower",
            unit="animals or things counted",
            kinds=COUNTS,
        ),
        "least_jaccard": MetricText(
            "Jaccard index, 0 below 0.65",
            "the Jaccard index of each case, counted as 0 where it is below 0.65, averaged over cases",
            kinds=FOLDERS,
        ),
        "average_surface_distance": MetricText(
            "average symmetric surface distance",
            "the mean of all distances from one boundary to the nearest point of the other, both ways together",
            "lower",
            unit="mm",
            kinds=FOLDERS,
        ),
        "surface_dice_half": MetricText(
            "normalised surface distance at 0.5 mm",
            "the share of both surfaces, by area, that lies within 0.5 mm of the other",
            kinds=FOLDERS,
        ),
        "surface_dice_one": MetricText(
            "normalised surface distance at 1 mm",
            "the share of both surfaces, by area, that lies within 1 mm of the other",
            kinds=FOLDERS,
        ),
        "voxel_sensitivity": MetricText(
            "sensitivity by voxel", "the share of the true volume that is predicted", kinds=FOLDERS
        ),
        "voxel_specificity": MetricText(
            "specificity by voxel",
            "the share of the volume outside the truth that is not predicted",
            kinds=FOLDERS,
        ),
        "lesion_dice": MetricText(
            "lesion-wise Dice coefficient",
            "the mean over lesions of the truth and false positives of the Dice coefficient of each, 0 where missed or "
            "false",
            kinds=FOLDERS,
        ),
        "lesion_hausdorff_95": MetricText(
            "lesion-wise Hausdorff distance, 95th percentile (surfel-weighted)",
            "the mean over lesions of the truth and false positives of the distance of each, a penalty where missed or "
            "false",
            "lower",
            unit="mm",
            kinds=FOLDERS,
        ),
        "lesion_surface_dice_half": MetricText(
            "lesion-wise normalised surface distance at 0.5 mm",
            "the mean over lesions of the truth and false positives of the share of both surfaces within 0.5 mm",
            kinds=FOLDERS,
        ),
        "lesion_surface_dice_one": MetricText(
            "lesion-wise normalised surface distance at 1 mm",
            "the mean over lesions of the truth and false positives of the share of both surfaces within 1 mm",
            kinds=FOLDERS,
        ),
        "coco_ap": MetricText(
            "average precision (COCO, IoU 0.50 to 0.95)",
            "the mean over ten thresholds of the intersection over union (IoU), 0.50 to 0.95 in steps of 0.05, and "
            "over 101 recalls, 0 to 1 in steps of 0.01, of the largest precision at that recall or a larger one, the "
            "detections of all images taken in the order of their scores; 0 at recalls that are not reached",
            kinds=BOXES,
        ),
        "coco_ap_50": MetricText(
            "average precision (COCO, IoU 0.50)",
            "average precision as COCO defines it, at the threshold 0.50 of the intersection over union alone",
            kinds=BOXES,
        ),
        "coco_ap_75": MetricText(
            "average precision (COCO, IoU 0.75)",
            "average precision as COCO defines it, at the threshold 0.75 of the intersection over union alone",
            kinds=BOXES,
        ),
        "coco_ar_100": MetricText(
            "average recall (COCO, 100 detections)",
            "the mean over ten thresholds of the intersection over union, 0.50 to 0.95, of the share of true boxes "
            "that are found by at most 100 detections of the class in each image",
            kinds=BOXES,
        ),
    }
)
