"""Parts of the ROC curve: each quantity by its name, as the program that is known for it gives it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.metrics import roc_auc_score

from graftwork.common.errors import UsageError
from graftwork.common.evaluation import (
    auroc,
    partial_auroc,
    sensitivity_at_specificity,
    specificity_at_sensitivity,
)

EXACT = {"abs": 1e-9, "rel": 0}
Y = np.array([0] * 6 + [1] * 6)
A = np.array([0.10, 0.30, 0.30, 0.35, 0.60, 0.80, 0.20, 0.35, 0.55, 0.60, 0.90, 0.95])
B = np.array([0.20, 0.10, 0.40, 0.30, 0.50, 0.45, 0.30, 0.50, 0.60, 0.40, 0.70, 0.65])


@pytest.mark.parametrize(
    ("kind", "limit", "of_a", "of_b"),
    [
        ("above-sensitivity", 0.8, 0.045, 0.086666666667),  # the challenge's scorer
        ("mcclish", 0.2, 0.631172840, 0.776234568),  # scikit-learn 1.9.1, roc_auc_score(max_fpr=0.2)
        ("right-of-sensitivity", 0.8, 0.471666667, 0.513333333),  # isic-challenge-scoring 5.6.0
    ],
)
def test_the_figures_of_each_tool(kind: str, limit: float, of_a: float, of_b: float) -> None:
    assert partial_auroc(Y, A, limit, kind) == pytest.approx(of_a, **EXACT)  # type: ignore[arg-type]
    assert partial_auroc(Y, B, limit, kind) == pytest.approx(of_b, **EXACT)  # type: ignore[arg-type]


def test_the_scaled_one_of_negated_labels() -> None:
    """scikit-learn 1.9.1, roc_auc_score(1 - y, -s, max_fpr=0.2)."""
    assert partial_auroc(1 - Y, -A, 0.2, "mcclish") == pytest.approx(0.569444444, **EXACT)
    assert partial_auroc(1 - Y, -B, 0.2, "mcclish") == pytest.approx(0.685185185, **EXACT)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=2, max_size=40),
    st.sampled_from([0.05, 0.1, 0.2, 0.5, 0.9]),
)
def test_areas_are_those_of_sklearn_and_lie_in_their_ranges(
    rows: list[tuple[bool, int]], limit: float
) -> None:
    y, s = (np.array(each) for each in zip(*rows, strict=True))
    if y.all() or not y.any():
        assert math.isnan(partial_auroc(y, s, limit, "raw"))
        return
    assert partial_auroc(y, s, limit, "mcclish") == pytest.approx(
        roc_auc_score(y, s, max_fpr=limit), abs=1e-12
    )
    raw, above = partial_auroc(y, s, limit, "raw"), partial_auroc(y, s, limit, "above-sensitivity")
    assert 0.0 <= raw <= limit and -1e-12 <= above <= 1.0 - limit + 1e-12
    assert partial_auroc(y, s, 1.0, "raw") == pytest.approx(auroc(y, s), abs=1e-12)
    assert raw == pytest.approx(partial_auroc(y, np.exp(s.astype(float)), limit, "raw"), abs=1e-12)


def test_sensitivity_at_a_specificity_by_steps_and_between_them() -> None:
    assert sensitivity_at_specificity(Y, A, 0.8) == pytest.approx((1 / 3, 0.9), **EXACT)
    assert sensitivity_at_specificity(Y, A, 0.8, "interp")[0] == pytest.approx(0.366666666667, **EXACT)
    assert sensitivity_at_specificity(Y, A, 1.0) == pytest.approx((1 / 3, 0.9), **EXACT)
    assert sensitivity_at_specificity(Y, A, 0.0)[0] == 1.0
    # mirrored: what is positive becomes negative, and scores turn round
    assert specificity_at_sensitivity(1 - Y, -A, 0.8)[0] == pytest.approx(1 / 3, **EXACT)
    assert specificity_at_sensitivity(1 - Y, -A, 0.8, "interp")[0] == pytest.approx(0.366666666667, **EXACT)


def test_nothing_is_positive_where_no_score_is_specific_enough() -> None:
    assert sensitivity_at_specificity([0, 1], [2.0, 1.0], 0.9) == (0.0, math.inf)


def test_one_class_is_undefined_and_a_wrong_word_refused() -> None:
    assert all(math.isnan(each) for each in sensitivity_at_specificity([1, 1], [0.2, 0.3], 0.9))
    assert all(math.isnan(each) for each in specificity_at_sensitivity([0, 0], [0.2, 0.3], 0.9))
    with pytest.raises(UsageError, match="in 0"):
        sensitivity_at_specificity(Y, A, 80)
    with pytest.raises(UsageError, match="step, interp"):
        specificity_at_sensitivity(Y, A, 0.8, "nearest")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="kind"):
        partial_auroc(Y, A, 0.2, "scaled")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="above 0"):
        partial_auroc(Y, A, 0.0, "raw")
