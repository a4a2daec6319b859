"""Arrays in, a value with its interval out; protocols as data. The public names load when first used.

Importing this package, or its `protocols`, imports neither numpy nor scipy nor pandas.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graftwork.common.evaluation.calibration import (
        Reliability,
        brier,
        expected_calibration_error,
        reliability,
    )
    from graftwork.common.evaluation.curves import (
        Band,
        Curve,
        precision_recall_band,
        precision_recall_curve,
        roc_band,
        roc_curve,
    )
    from graftwork.common.evaluation.discrimination import auroc, average_precision
    from graftwork.common.evaluation.evaluating import evaluate
    from graftwork.common.evaluation.intervals import Interval, group_bootstrap, percentile_interval
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
    from graftwork.common.evaluation.overlap import dice, hausdorff_95, jaccard
    from graftwork.common.evaluation.predictions import Cases, read_cases, read_predictions
    from graftwork.common.evaluation.protocols import METRICS, MetricText, Protocol, Published
    from graftwork.common.evaluation.results import Evaluation, Result
    from graftwork.common.evaluation.segmentation import segmentation_score

__all__ = [
    "METRICS",
    "Band",
    "Cases",
    "Curve",
    "Evaluation",
    "Interval",
    "MetricText",
    "Protocol",
    "Published",
    "Reliability",
    "Result",
    "Threshold",
    "accuracy",
    "auroc",
    "average_precision",
    "balanced_accuracy",
    "brier",
    "choose_threshold",
    "confusion",
    "dice",
    "evaluate",
    "expected_calibration_error",
    "group_bootstrap",
    "hausdorff_95",
    "jaccard",
    "percentile_interval",
    "precision_recall_band",
    "precision_recall_curve",
    "primary_metric",
    "read_cases",
    "read_predictions",
    "reliability",
    "roc_band",
    "roc_curve",
    "score",
    "segmentation_score",
    "sensitivity",
    "specificity",
]

_HOMES = {
    "calibration": ("Reliability", "brier", "expected_calibration_error", "reliability"),
    "curves": ("Band", "Curve", "precision_recall_band", "precision_recall_curve", "roc_band", "roc_curve"),
    "discrimination": ("auroc", "average_precision"),
    "evaluating": ("evaluate",),
    "intervals": ("Interval", "group_bootstrap", "percentile_interval"),
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
    "overlap": ("dice", "hausdorff_95", "jaccard"),
    "predictions": ("Cases", "read_cases", "read_predictions"),
    "protocols": ("METRICS", "MetricText", "Protocol", "Published"),
    "results": ("Evaluation", "Result"),
    "segmentation": ("segmentation_score",),
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
