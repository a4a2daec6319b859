"""Two models on the same cases, and BCa limits: figures of scipy and statsmodels, and what must hold."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binomtest, permutation_test as scipy_permutation

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation import (
    auroc,
    bca_interval,
    group_bootstrap,
    holm,
    mcnemar,
    paired_bootstrap,
    permutation_test,
)

EXACT = {"abs": 1e-9, "rel": 0}
FLAGS = [[1, 0, 1], [0, 0], [1, 1, 1, 1], [0, 1, 0]]  # right or wrong, of four patients
STEPS = np.array([0.02, 0.05, -0.01, 0.04, 0.03, 0, 0.06, -0.02, 0.05, 0.01])


def share(groups: tuple[list[int], ...] | list[list[int]]) -> float:
    flags = [flag for group in groups for flag in group]
    return sum(flags) / len(flags)


def test_bca_limits_of_every_resample_there_is() -> None:
    """All 4^4 draws: bias 0.058782936, acceleration over groups 0.052513402."""
    values = np.array([share(drawn) for drawn in itertools.product(FLAGS, repeat=4)])
    left_out = np.array([share([*FLAGS[:k], *FLAGS[k + 1 :]]) for k in range(4)])
    found = bca_interval(values, share(FLAGS), left_out)
    assert (found.low, found.high) == pytest.approx((0.222222222222, 0.933333333333), **EXACT)


def test_the_bootstrap_leaves_out_groups_not_cases() -> None:
    rng = np.random.default_rng(3)
    right, group = rng.random(90) < 0.8, rng.integers(0, 12, 90)

    def metric(weights: np.ndarray) -> np.ndarray:
        return np.asarray((weights @ right) / weights.sum(1))

    plain = group_bootstrap(metric, group)
    accelerated = group_bootstrap(metric, group, method="bca")
    twice = group_bootstrap(lambda w: metric(w[:, ::2]), np.repeat(group, 2), method="bca")
    assert plain != accelerated
    assert (twice.low, twice.high) == pytest.approx(
        (accelerated.low, accelerated.high)
    )  # cases doubled: no narrower
    assert 0 < accelerated.low < right.mean() < accelerated.high < 1
    with pytest.raises(UsageError, match="bca"):
        group_bootstrap(metric, group, method="basic")  # type: ignore[arg-type]


def test_bca_limits_are_undefined_where_all_replicates_are_one_value() -> None:
    found = bca_interval(np.full(100, 0.5), 0.5, np.full(10, 0.5))
    assert math.isnan(found.low) and "same without any group" in found.reason


def test_the_sign_flip_of_scipy() -> None:
    p, exact = permutation_test(lambda a, b: float((a - b).mean()), STEPS, np.zeros(10))
    assert exact and p == 44 / 1024
    theirs = scipy_permutation((STEPS,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert p == pytest.approx(theirs.pvalue, abs=1e-12)


def test_outputs_are_swapped_by_group_and_drawn_where_they_are_many() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.3, 1, 200), rng.normal(0, 1, 200)

    def difference(one: np.ndarray, other: np.ndarray) -> float:
        return float((one - other).mean())

    groups = np.repeat(np.arange(4), 50)
    assert permutation_test(difference, a, b, groups)[0] * 16 == pytest.approx(
        sum(
            abs(sum(sign * (a - b)[groups == k].sum() for k, sign in enumerate(signs)))
            >= abs((a - b).sum()) - 1e-9
            for signs in itertools.product([-1, 1], repeat=4)
        )
    )
    p, exact = permutation_test(difference, a, b, replicates=999, seed=1)
    assert not exact and p == permutation_test(difference, a, b, replicates=999, seed=1)[0]
    assert 1 / 1000 <= p < 0.05
    assert permutation_test(difference, a, a, replicates=99)[0] == 1.0
    with pytest.raises(TableError, match="not paired"):
        permutation_test(difference, a, b[:5])


def test_mcnemar_is_the_binomial_test_of_discordant_pairs() -> None:
    first = np.array([True] * 10 + [False] * 3 + [True] * 20)
    second = np.array([False] * 10 + [True] * 3 + [True] * 20)
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second) == (10, 3)
    assert found.p == pytest.approx(0.092285156, **EXACT)
    assert found.p == pytest.approx(binomtest(3, 13).pvalue, abs=1e-12)
    assert mcnemar([True], [True]).p == 1.0


def test_holm_is_that_of_statsmodels() -> None:
    """statsmodels 0.15.0, multipletests(method="holm")."""
    assert holm([0.01, 0.04, 0.03, 0.005, 0.20]) == pytest.approx([0.04, 0.09, 0.09, 0.025, 0.20], **EXACT)
    found = holm([0.5, math.nan, 0.9])
    assert found[[0, 2]].tolist() == [1.0, 1.0] and math.isnan(found[1])
    assert holm([]).tolist() == []
    with pytest.raises(UsageError):
        holm([1.2])


def test_a_difference_is_paired() -> None:
    rng = np.random.default_rng(1)
    y = rng.random(300) < 0.4
    patients = rng.integers(0, 60, 300)
    a = y + rng.normal(0, 1, 300)
    b = a + rng.normal(0, 0.1, 300)  # nearly the same model
    found = paired_bootstrap(
        lambda w: auroc(y, a, weights=w), lambda w: auroc(y, b, weights=w), patients, replicates=500
    )
    alone = group_bootstrap(lambda w: auroc(y, a, weights=w), patients, replicates=500)
    assert found.value == pytest.approx(auroc(y, a) - auroc(y, b), abs=1e-12)
    assert found.low <= found.value <= found.high
    assert found.high - found.low < 0.3 * (alone.high - alone.low)
    same = paired_bootstrap(
        lambda w: auroc(y, a, weights=w), lambda w: auroc(y, a, weights=w), patients, replicates=50
    )
    assert (same.value, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)
    one = paired_bootstrap(lambda w: auroc(y, a, weights=w), lambda w: auroc(y, b, weights=w), np.zeros(300))
    assert math.isnan(one.low) and one.reason
