"""Wilson's and Clopper and Pearson's intervals: figures of statsmodels and scipy, and what holds of any."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation import clopper_pearson, wilson

EXACT = {"abs": 1e-9, "rel": 0}


def test_the_figures_of_statsmodels() -> None:
    """statsmodels 0.15.0, proportion_confint(45, 50, method="wilson" and "beta"); (0, 20) the upper limits."""
    assert wilson(45, 50) == pytest.approx((0.786397686, 0.956524235), **EXACT)
    assert clopper_pearson(45, 50) == pytest.approx((0.781864634, 0.966724906), **EXACT)
    assert wilson(0, 20) == pytest.approx((0.0, 0.161125158), **EXACT)
    assert clopper_pearson(0, 20) == pytest.approx((0.0, 0.168433471), **EXACT)


@pytest.mark.parametrize("n", [1, 2, 7, 60, 10_000])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_every_count_is_that_of_scipy(n: int, confidence: float) -> None:
    hits = np.unique(np.linspace(0, n, 8).astype(int))
    for method, function in (("wilson", wilson), ("exact", clopper_pearson)):
        low, high = function(hits, n, confidence)
        for k, one, other in zip(hits, low, high, strict=True):
            limits = binomtest(int(k), n).proportion_ci(confidence, method)
            assert (one, other) == pytest.approx((limits.low, limits.high), abs=1e-9)
            assert 0.0 <= one <= k / n <= other <= 1.0


def test_no_case_has_no_interval() -> None:
    assert np.isnan([*wilson(0, 0), *clopper_pearson(0, 0)]).all()


@pytest.mark.parametrize(("hits", "n"), [(3, 2), (-1, 2), (0.5, 2), (1, 2.5)])
def test_what_are_no_counts_is_refused(hits: float, n: float) -> None:
    for function in (wilson, clopper_pearson):
        with pytest.raises(TableError, match="whole numbers"):
            function(hits, n)
    with pytest.raises(UsageError, match="confidence"):
        wilson(1, 2, 95)
