"""Arrays in, a value with its interval out; protocols as data. The public names load when first used.

Importing this package, or its `protocols`, imports neither numpy nor scipy nor pandas.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graftwork.common.evaluation.abstention import (
        Coverage,
        RiskCoverage,
        RiskCoverageBand,
        aurc,
        conformal_quantile,
        conformal_sets,
        coverage,
        risk_coverage,
        risk_coverage_band,
    )
    from graftwork.common.evaluation.agreement import f1_score, hand_till, kappa, matthews, top_k_accuracy
    from graftwork.common.evaluation.area_intervals import DeLong, PairedDeLong, delong, paired_delong
    from graftwork.common.evaluation.calibration import (
        Reliability,
        brier,
        expected_calibration_error,
        reliability,
    )
    from graftwork.common.evaluation.case_intervals import CaseInterval, case_interval
    from graftwork.common.evaluation.comparing import (
        Difference,
        McNemar,
        holm,
        mcnemar,
        paired_bootstrap,
        permutation_test,
    )
    from graftwork.common.evaluation.counting import (
        EmptyFilter,
        count_bin,
        empty_filter_curve,
        empty_threshold,
        exact,
        mae,
        mcrmse,
        rmse,
        set_jaccard,
        within_one_bin,
    )
    from graftwork.common.evaluation.curves import (
        Band,
        Curve,
        precision_recall_band,
        precision_recall_curve,
        roc_band,
        roc_curve,
    )
    from graftwork.common.evaluation.decisions import (
        DecisionCurve,
        OperatingPoint,
        Share,
        decision_curve,
        net_benefit,
        operating_point_table,
        operating_points_of,
        treat_all,
    )
    from graftwork.common.evaluation.detection import coco_scores
    from graftwork.common.evaluation.discrimination import auroc, average_precision
    from graftwork.common.evaluation.evaluating import evaluate
    from graftwork.common.evaluation.intervals import (
        Interval,
        bca_interval,
        expanded_interval,
        group_bootstrap,
        percentile_interval,
    )
    from graftwork.common.evaluation.label_policies import policy_by_class, settle_labels
    from graftwork.common.evaluation.lesions import Lesion, LesionWise, SubRegion, lesion_wise
    from graftwork.common.evaluation.mask_rules import MaskRules, Region
    from graftwork.common.evaluation.metrics import primary_metric, score
    from graftwork.common.evaluation.operating_points import (
        Threshold,
        accuracy,
        balanced_accuracy,
        choose_threshold,
        confusion,
        sensitivity,
        specificity,
    )
    from graftwork.common.evaluation.overlap import dice, jaccard
    from graftwork.common.evaluation.paired import Compared, Comparison, compare
    from graftwork.common.evaluation.partial_areas import (
        partial_auroc,
        sensitivity_at_specificity,
        specificity_at_sensitivity,
    )
    from graftwork.common.evaluation.predictions import Cases, read_cases
    from graftwork.common.evaluation.proportions import clopper_pearson, wilson
    from graftwork.common.evaluation.protocols import METRICS, MetricText, Protocol, Published
    from graftwork.common.evaluation.readers import AgainstReaders, against_readers, majority
    from graftwork.common.evaluation.recalibration import Recalibration, read_recalibration, recalibrate
    from graftwork.common.evaluation.results import Evaluation, Result
    from graftwork.common.evaluation.scaling import (
        Isotonic,
        Temperature,
        calibration_in_the_large,
        calibration_slope,
        fit_isotonic,
        fit_temperature,
    )
    from graftwork.common.evaluation.segmentation import segmentation_score
    from graftwork.common.evaluation.set_coverage import (
        CoverageIntervals,
        SetShare,
        coverage_intervals,
        coverage_spread,
        one_per_group,
    )
    from graftwork.common.evaluation.shortcuts import Shortcut, source_probe
    from graftwork.common.evaluation.subgrouping import Subgroups, subgroups
    from graftwork.common.evaluation.submissions import Submission, read_submission
    from graftwork.common.evaluation.surfaces import (
        Surfaces,
        average_surface_distance,
        hausdorff,
        hausdorff_95,
        surface_dice,
        volume_difference,
    )
    from graftwork.common.evaluation.table_files import read_predictions
    from graftwork.common.evaluation.workload import WorkCurve, work_curve

__all__ = [
    "METRICS",
    "AgainstReaders",
    "Band",
    "CaseInterval",
    "Cases",
    "Compared",
    "Comparison",
    "Coverage",
    "CoverageIntervals",
    "Curve",
    "DeLong",
    "DecisionCurve",
    "Difference",
    "EmptyFilter",
    "Evaluation",
    "Interval",
    "Isotonic",
    "Lesion",
    "LesionWise",
    "MaskRules",
    "McNemar",
    "MetricText",
    "OperatingPoint",
    "PairedDeLong",
    "Protocol",
    "Published",
    "Recalibration",
    "Region",
    "Reliability",
    "Result",
    "RiskCoverage",
    "RiskCoverageBand",
    "SetShare",
    "Share",
    "Shortcut",
    "SubRegion",
    "Subgroups",
    "Submission",
    "Surfaces",
    "Temperature",
    "Threshold",
    "WorkCurve",
    "accuracy",
    "against_readers",
    "aurc",
    "auroc",
    "average_precision",
    "average_surface_distance",
    "balanced_accuracy",
    "bca_interval",
    "brier",
    "calibration_in_the_large",
    "calibration_slope",
    "case_interval",
    "choose_threshold",
    "clopper_pearson",
    "coco_scores",
    "compare",
    "conformal_quantile",
    "conformal_sets",
    "confusion",
    "count_bin",
    "coverage",
    "coverage_intervals",
    "coverage_spread",
    "decision_curve",
    "delong",
    "dice",
    "empty_filter_curve",
    "empty_threshold",
    "evaluate",
    "exact",
    "expanded_interval",
    "expected_calibration_error",
    "f1_score",
    "fit_isotonic",
    "fit_temperature",
    "group_bootstrap",
    "hand_till",
    "hausdorff",
    "hausdorff_95",
    "holm",
    "jaccard",
    "kappa",
    "lesion_wise",
    "mae",
    "majority",
    "matthews",
    "mcnemar",
    "mcrmse",
    "net_benefit",
    "one_per_group",
    "operating_point_table",
    "operating_points_of",
    "paired_bootstrap",
    "paired_delong",
    "partial_auroc",
    "percentile_interval",
    "permutation_test",
    "policy_by_class",
    "precision_recall_band",
    "precision_recall_curve",
    "primary_metric",
    "read_cases",
    "read_predictions",
    "read_recalibration",
    "read_submission",
    "recalibrate",
    "reliability",
    "risk_coverage",
    "risk_coverage_band",
    "rmse",
    "roc_band",
    "roc_curve",
    "score",
    "segmentation_score",
    "sensitivity",
    "sensitivity_at_specificity",
    "set_jaccard",
    "settle_labels",
    "source_probe",
    "specificity",
    "specificity_at_sensitivity",
    "subgroups",
    "surface_dice",
    "top_k_accuracy",
    "treat_all",
    "volume_difference",
    "wilson",
    "within_one_bin",
    "work_curve",
]

_HOMES = {
    "abstention": (
        "Coverage",
        "RiskCoverage",
        "RiskCoverageBand",
        "aurc",
        "conformal_quantile",
        "conformal_sets",
        "coverage",
        "risk_coverage",
        "risk_coverage_band",
    ),
    "agreement": ("f1_score", "hand_till", "kappa", "matthews", "top_k_accuracy"),
    "area_intervals": ("DeLong", "PairedDeLong", "delong", "paired_delong"),
    "calibration": ("Reliability", "brier", "expected_calibration_error", "reliability"),
    "case_intervals": ("CaseInterval", "case_interval"),
    "comparing": ("Difference", "McNemar", "holm", "mcnemar", "paired_bootstrap", "permutation_test"),
    "counting": (
        "EmptyFilter",
        "count_bin",
        "empty_filter_curve",
        "empty_threshold",
        "exact",
        "mae",
        "mcrmse",
        "rmse",
        "set_jaccard",
        "within_one_bin",
    ),
    "curves": ("Band", "Curve", "precision_recall_band", "precision_recall_curve", "roc_band", "roc_curve"),
    "decisions": (
        "DecisionCurve",
        "OperatingPoint",
        "Share",
        "decision_curve",
        "net_benefit",
        "operating_point_table",
        "operating_points_of",
        "treat_all",
    ),
    "detection": ("coco_scores",),
    "discrimination": ("auroc", "average_precision"),
    "evaluating": ("evaluate",),
    "intervals": ("Interval", "bca_interval", "expanded_interval", "group_bootstrap", "percentile_interval"),
    "label_policies": ("policy_by_class", "settle_labels"),
    "lesions": ("Lesion", "LesionWise", "SubRegion", "lesion_wise"),
    "mask_rules": ("MaskRules", "Region"),
    "metrics": ("primary_metric", "score"),
    "operating_points": (
        "Threshold",
        "accuracy",
        "balanced_accuracy",
        "choose_threshold",
        "confusion",
        "sensitivity",
        "specificity",
    ),
    "overlap": ("dice", "jaccard"),
    "paired": ("Compared", "Comparison", "compare"),
    "partial_areas": ("partial_auroc", "sensitivity_at_specificity", "specificity_at_sensitivity"),
    "predictions": ("Cases", "read_cases"),
    "proportions": ("clopper_pearson", "wilson"),
    "protocols": ("METRICS", "MetricText", "Protocol", "Published"),
    "readers": ("AgainstReaders", "against_readers", "majority"),
    "recalibration": ("Recalibration", "read_recalibration", "recalibrate"),
    "results": ("Evaluation", "Result"),
    "scaling": (
        "Isotonic",
        "Temperature",
        "calibration_in_the_large",
        "calibration_slope",
        "fit_isotonic",
        "fit_temperature",
    ),
    "segmentation": ("segmentation_score",),
    "set_coverage": (
        "CoverageIntervals",
        "SetShare",
        "coverage_intervals",
        "coverage_spread",
        "one_per_group",
    ),
    "shortcuts": ("Shortcut", "source_probe"),
    "subgrouping": ("Subgroups", "subgroups"),
    "submissions": ("Submission", "read_submission"),
    "surfaces": (
        "Surfaces",
        "average_surface_distance",
        "hausdorff",
        "hausdorff_95",
        "surface_dice",
        "volume_difference",
    ),
    "table_files": ("read_predictions",),
    "workload": ("WorkCurve", "work_curve"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
