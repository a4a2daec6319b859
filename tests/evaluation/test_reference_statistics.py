"""Statistics beside statsmodels, on random and edge cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
from statsmodels.api import GLM, add_constant, families
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from graftwork.common.evaluation import (
    calibration_in_the_large,
    calibration_slope,
    clopper_pearson,
    confusion,
    holm,
    kappa,
    mcnemar,
    wilson,
)


@pytest.mark.parametrize("seed", range(4))
def test_slope_and_calibration_in_the_large_are_those_of_a_binomial_model(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 2, 300)
    y = rng.random(300) < 1 / (1 + np.exp(-(0.4 + 0.6 * x)))
    p = 1 / (1 + np.exp(-x))
    model = GLM(y.astype(float), add_constant(x), family=families.Binomial()).fit(tol=1e-12)
    slope, intercept = calibration_slope(y, p)
    assert (intercept, slope) == pytest.approx(tuple(model.params), abs=1e-8)
    offset = GLM(y.astype(float), np.ones(300), family=families.Binomial(), offset=x).fit(tol=1e-12)
    assert calibration_in_the_large(y, p) == pytest.approx(offset.params[0], abs=1e-8)


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (0, 20), (45, 50), (1, 10_000), (9_999, 10_000)])
def test_proportions(hits: int, n: int) -> None:
    for method, ours in (("wilson", wilson), ("beta", clopper_pearson)):
        expected = np.nan_to_num(proportion_confint(hits, n, method=method), nan=0.0 if hits == 0 else 1.0)
        assert np.array(ours(hits, n)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_families_of_tests_and_discordant_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = rng.random(12) ** 3
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-12)
    first, second = rng.random(80) < 0.8, rng.random(80) < 0.6
    table = [
        [int((first & second).sum()), int((first & ~second).sum())],
        [int((~first & second).sum()), int((~first & ~second).sum())],
    ]
    assert mcnemar(first, second).p == pytest.approx(reference_mcnemar(table, exact=True).pvalue, abs=1e-12)


@pytest.mark.parametrize(
    ("weights", "theirs"), [("none", None), ("linear", "linear"), ("quadratic", "quadratic")]
)
def test_kappa_with_a_grade_that_nobody_gave(weights: str, theirs: str | None) -> None:
    rng = np.random.default_rng(0)
    y, q = rng.choice([0, 1, 3], 60), rng.choice([0, 1, 3], 60)
    grades = ("0", "1", "2", "3")
    found = kappa(y, q, grades, weights)  # type: ignore[arg-type]
    expected = cohens_kappa(confusion(y, q, grades), wt=theirs, return_results=False)
    assert found == pytest.approx(expected, abs=1e-12)


def test_perfect_separation_has_no_slope() -> None:
    assert all(math.isnan(each) for each in calibration_slope([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]))
