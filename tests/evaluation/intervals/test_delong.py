"""DeLong's interval and paired test: numbers of other programs, ends of the scale, what must not matter."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.metrics import roc_auc_score

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation import delong, paired_delong

EXACT = {"abs": 1e-9, "rel": 0}
Y = np.array([0] * 6 + [1] * 6)
A = np.array([0.10, 0.30, 0.30, 0.35, 0.60, 0.80, 0.20, 0.35, 0.55, 0.60, 0.90, 0.95])
B = np.array([0.20, 0.10, 0.40, 0.30, 0.50, 0.45, 0.30, 0.50, 0.60, 0.40, 0.70, 0.65])


def test_the_figures_of_roc_comparison() -> None:
    """delong_roc_variance of roc_comparison at 62da5b8; limits clipped as pROC 1.19.0.1 `ci.auc` does."""
    a, b = delong(Y, A), delong(Y, B)
    assert (a.value, a.standard_error) == pytest.approx((0.694444444444, 0.165738154), **EXACT)
    assert a.low == pytest.approx(0.694444444444 - 1.959963984540 * 0.165738154, **EXACT)
    assert a.low == pytest.approx(
        0.369603634, abs=5e-9
    )  # as recorded, which its own standard error misses by 3e-9
    assert a.high == 1.0
    assert (b.value, b.standard_error) == pytest.approx((0.819444444444, 0.126990327), **EXACT)
    assert b.low == pytest.approx(0.570547978, abs=5e-9)
    assert (a.n, a.positives, a.reason) == (12, 6, "")


def test_the_paired_test_of_roc_comparison() -> None:
    found = paired_delong(Y, A, B)
    assert found.difference == pytest.approx(-0.125, **EXACT)
    assert found.covariance == pytest.approx(0.016358024691, **EXACT)
    assert (found.z, found.p) == pytest.approx((-1.198403193, 0.230760090), **EXACT)
    assert (found.low, found.high) == pytest.approx((-0.329434951, 0.079434951), **EXACT)
    other = paired_delong(Y, B, A)
    assert (other.difference, other.z, other.p) == pytest.approx((0.125, -found.z, found.p), **EXACT)


def by_pairs(y: np.ndarray, s: np.ndarray) -> tuple[float, float]:
    """AUROC and its standard error from the definition, pair by pair."""
    positive, negative = s[y == 1], s[y == 0]
    kernel = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    variance = np.var(kernel.mean(1), ddof=1) / len(positive) + np.var(kernel.mean(0), ddof=1) / len(negative)
    return float(kernel.mean()), float(np.sqrt(variance))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 1000)), min_size=4, max_size=50),
    st.randoms(use_true_random=False),
)
def test_it_is_the_definition_whatever_the_order_and_the_scale(
    rows: list[tuple[bool, int, int]], random: object
) -> None:
    y, a, b = (np.array(each) for each in zip(*rows, strict=True))
    if min(y.sum(), (~y).sum()) < 2:
        return
    found = delong(y, a)
    value, error = by_pairs(y, a)
    assert (found.value, found.standard_error) == pytest.approx((value, error), abs=1e-12)
    assert found.value == pytest.approx(roc_auc_score(y, a), abs=1e-12)
    order = np.arange(len(y))
    random.shuffle(order)  # type: ignore[attr-defined]
    moved = delong(y[order], np.exp(a[order].astype(float)))
    assert (moved.value, moved.low, moved.high) == pytest.approx(
        (found.value, found.low, found.high), abs=1e-12
    )
    assert 0.0 <= found.low <= found.value <= found.high <= 1.0
    both = paired_delong(y, a, b)
    if not math.isnan(both.z) and both.z:
        # the variance of a difference is that of its parts less twice what they share
        parts = both.first.standard_error**2 + both.second.standard_error**2 - 2 * both.covariance
        assert (both.difference / both.z) ** 2 == pytest.approx(parts, abs=1e-12)


def test_ends_of_the_scale() -> None:
    perfect = delong([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])
    assert (perfect.value, perfect.standard_error, perfect.low, perfect.high) == (1.0, 0.0, 1.0, 1.0)
    assert "no certainty" in perfect.reason
    one = delong([0, 0, 1], [0.1, 0.2, 0.15])
    assert one.value == 0.5 and math.isnan(one.low) and "one positive case only" in one.reason
    none = delong([0, 0], [0.1, 0.2])
    assert math.isnan(none.value) and "no positive case" in none.reason
    assert delong([], []).reason == "no case"


def test_equal_models_do_not_differ_and_a_difference_without_variance_is_not_tested() -> None:
    same = paired_delong(Y, A, A * 2 + 1)
    assert (same.difference, same.z, same.p, same.low, same.high) == (0.0, 0.0, 1.0, 0.0, 0.0)
    apart = paired_delong([0, 0, 1, 1], [1, 2, 3, 4], [4, 3, 2, 1])
    assert apart.difference == 1.0 and math.isnan(apart.p) and "no variance" in apart.reason
    lacking = paired_delong([0, 0, 1], [1, 2, 3], [3, 2, 1])
    assert math.isnan(lacking.p) and "one positive case" in lacking.reason


def test_one_in_ten_thousand() -> None:
    rng = np.random.default_rng(0)
    y = np.zeros(30_000, dtype=int)
    y[:3] = 1
    s = rng.normal(size=len(y)).round(2) + y
    assert (delong(y, s).value, delong(y, s).standard_error) == pytest.approx(by_pairs(y, s), abs=1e-12)


@pytest.mark.parametrize(("y", "s"), [([0, 1, 2], [1, 2, 3]), ([0, 1], [1, math.nan]), ([0, 1], [1, 2, 3])])
def test_what_is_no_such_table_is_refused(y: list[int], s: list[float]) -> None:
    with pytest.raises(TableError):
        delong(y, s)


def test_a_confidence_is_a_share() -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        delong(Y, A, confidence=95)
