"""The public names of evaluation, each imported from its module when it is first used."""

from .compare_models import Compared as Compared, Comparison as Comparison, compare as compare
from .early_stopping_score import primary_metric as primary_metric, score as score
from .evaluate_table import evaluate as evaluate
from .intervals.bootstrap import (
    Interval as Interval,
    bca_interval as bca_interval,
    expanded_interval as expanded_interval,
    group_bootstrap as group_bootstrap,
    percentile_interval as percentile_interval,
)
from .intervals.delong import (
    DeLong as DeLong,
    PairedDeLong as PairedDeLong,
    delong as delong,
    paired_delong as paired_delong,
)
from .intervals.independent_cases import (
    CaseInterval as CaseInterval,
    case_interval as case_interval,
    clopper_pearson as clopper_pearson,
    wilson as wilson,
)
from .intervals.paired_tests import (
    Difference as Difference,
    McNemar as McNemar,
    holm as holm,
    mcnemar as mcnemar,
    paired_bootstrap as paired_bootstrap,
    permutation_test as permutation_test,
)
from .mask_rules import MaskRules as MaskRules, Region as Region
from .metrics.abstention import (
    Coverage as Coverage,
    RiskCoverage as RiskCoverage,
    RiskCoverageBand as RiskCoverageBand,
    aurc as aurc,
    conformal_quantile as conformal_quantile,
    conformal_sets as conformal_sets,
    coverage as coverage,
    risk_coverage as risk_coverage,
    risk_coverage_band as risk_coverage_band,
)
from .metrics.agreement import f1_score as f1_score, kappa as kappa, matthews as matthews
from .metrics.calibration import (
    Reliability as Reliability,
    brier as brier,
    expected_calibration_error as expected_calibration_error,
    reliability as reliability,
)
from .metrics.conformal_coverage import (
    CoverageIntervals as CoverageIntervals,
    SetShare as SetShare,
    coverage_intervals as coverage_intervals,
    coverage_spread as coverage_spread,
    one_per_group as one_per_group,
)
from .metrics.counting import (
    EmptyFilter as EmptyFilter,
    count_bin as count_bin,
    empty_filter_curve as empty_filter_curve,
    empty_threshold as empty_threshold,
    exact as exact,
    mae as mae,
    mcrmse as mcrmse,
    rmse as rmse,
    set_jaccard as set_jaccard,
    within_one_bin as within_one_bin,
)
from .metrics.curves import (
    Band as Band,
    Curve as Curve,
    partial_auroc as partial_auroc,
    precision_recall_band as precision_recall_band,
    precision_recall_curve as precision_recall_curve,
    roc_band as roc_band,
    roc_curve as roc_curve,
    sensitivity_at_specificity as sensitivity_at_specificity,
    specificity_at_sensitivity as specificity_at_sensitivity,
)
from .metrics.decision_curves import (
    DecisionCurve as DecisionCurve,
    OperatingPoint as OperatingPoint,
    Share as Share,
    decision_curve as decision_curve,
    net_benefit as net_benefit,
    operating_point_table as operating_point_table,
    operating_points_of as operating_points_of,
    treat_all as treat_all,
)
from .metrics.detection import coco_scores as coco_scores
from .metrics.discrimination import (
    auroc as auroc,
    average_precision as average_precision,
    hand_till as hand_till,
    top_k_accuracy as top_k_accuracy,
)
from .metrics.lesions import (
    Lesion as Lesion,
    LesionWise as LesionWise,
    SubRegion as SubRegion,
    lesion_wise as lesion_wise,
)
from .metrics.mask_overlap import dice as dice, jaccard as jaccard, segmentation_score as segmentation_score
from .metrics.operating_points import (
    Threshold as Threshold,
    accuracy as accuracy,
    balanced_accuracy as balanced_accuracy,
    choose_threshold as choose_threshold,
    confusion as confusion,
    sensitivity as sensitivity,
    specificity as specificity,
)
from .metrics.registry import METRICS as METRICS, Metric as Metric
from .metrics.surface_distances import (
    Surfaces as Surfaces,
    average_surface_distance as average_surface_distance,
    hausdorff as hausdorff,
    hausdorff_95 as hausdorff_95,
    surface_dice as surface_dice,
    volume_difference as volume_difference,
)
from .metrics.workload import WorkCurve as WorkCurve, work_curve as work_curve
from .protocols import (
    Protocol as Protocol,
    Published as Published,
)
from .readers import (
    AgainstReaders as AgainstReaders,
    against_readers as against_readers,
    majority as majority,
)
from .recalibration import (
    Recalibration as Recalibration,
    read_recalibration as read_recalibration,
    recalibrate as recalibrate,
)
from .rescaling import (
    Isotonic as Isotonic,
    Temperature as Temperature,
    calibration_in_the_large as calibration_in_the_large,
    calibration_slope as calibration_slope,
    fit_isotonic as fit_isotonic,
    fit_temperature as fit_temperature,
)
from .results import Evaluation as Evaluation, Result as Result
from .shortcuts import Shortcut as Shortcut, source_probe as source_probe
from .subgroup_metrics import Subgroups as Subgroups, subgroups as subgroups
from .tables.case_tables import read_predictions as read_predictions
from .tables.external_tables import Submission as Submission, read_submission as read_submission
from .tables.label_policies import policy_by_class as policy_by_class, settle_labels as settle_labels
from .tables.predictions import Cases as Cases, read_cases as read_cases
