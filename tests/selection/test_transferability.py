"""Scores of transferability against slow definitions and cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from graftwork.common.selection.transferability import cross_validated_probe, h_score, leep, log_me


def separated(
    distance: float, seed: int = 0, count: int = 120, width: int = 6
) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    centres = np.eye(3, width) * distance
    return generator.normal(size=(count, width)) + centres[labels], labels


def test_log_me_is_the_largest_evidence_of_a_bayesian_linear_model() -> None:
    features, labels = separated(1.5, count=40)
    found = []
    for one in range(3):
        target = (labels == one).astype(float)

        def evidence(logs: np.ndarray, target: np.ndarray = target) -> float:
            alpha, beta = np.exp(logs)
            covariance = np.eye(len(target)) / beta + features @ features.T / alpha
            return -float(multivariate_normal(np.zeros(len(target)), covariance).logpdf(target))

        best = minimize(evidence, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9})
        found.append(-best.fun / len(target))
    assert log_me(features, labels) == pytest.approx(np.mean(found), abs=1e-4)


def test_log_me_of_more_features_than_cases() -> None:
    generator = np.random.default_rng(0)
    labels = np.arange(30) % 2
    features = np.concatenate([labels[:, None] * 3.0, generator.normal(size=(30, 80))], axis=1)
    assert np.isfinite(log_me(features, labels))
    assert log_me(features, labels) > log_me(generator.normal(size=(30, 81)), labels)


def test_leep_by_hand() -> None:
    # two old classes, which tell the new ones apart in three cases of four
    scores = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    labels = np.array([0, 0, 1, 1])
    # P(0|a) = 2/3, P(1|a) = 1/3, P(1|b) = 1: the mean of log 2/3, log 2/3, log 1, log 1/3
    assert leep(scores, labels) == pytest.approx((2 * np.log(2 / 3) + np.log(1) + np.log(1 / 3)) / 4)
    assert leep(np.full((4, 2), 0.5), labels) == pytest.approx(np.log(0.5))


def test_h_score_approaches_its_definition_with_many_cases() -> None:
    features, labels = separated(2.0, count=30_000)
    values = features - features.mean(axis=0)
    means = np.stack([values[labels == one].mean(axis=0) for one in range(3)])[labels]
    plain = np.trace(np.linalg.pinv(np.cov(values.T, bias=True)) @ np.cov(means.T, bias=True))
    assert h_score(features, labels) == pytest.approx(plain, rel=1e-2)


@pytest.mark.parametrize("score", [log_me, h_score])
def test_better_features_score_higher_and_one_class_alone_has_no_score(score) -> None:  # type: ignore[no-untyped-def]
    ordered = [score(*separated(distance)) for distance in (0.0, 1.0, 3.0)]
    assert ordered == sorted(ordered) and ordered[0] < ordered[2]
    assert np.isnan(score(separated(1.0)[0], np.zeros(120, int)))


def test_the_probe_keeps_groups_whole_and_says_where_it_cannot_be_had() -> None:
    features, labels = separated(0.0, count=90)
    groups = np.arange(90) // 3  # three cases of a group, one of each class
    # a column that gives each group away helps only where a group stands on both sides of a fold
    giveaway = np.eye(30)[groups]
    found = cross_validated_probe(np.concatenate([features, giveaway * 50], axis=1), labels, groups)
    assert 0.3 < found.auroc < 0.7 and found.low <= found.auroc <= found.high and found.folds == 5
    assert cross_validated_probe(*separated(4.0), np.arange(120)).auroc > 0.95
    few = cross_validated_probe(features, labels, np.arange(90) % 4)
    assert np.isnan(few.auroc) and few.folds == 0


def test_the_shrunk_covariance_is_that_of_scikit_learn() -> None:
    from sklearn.covariance import ledoit_wolf

    from graftwork.common.selection.transferability import _shrunk

    for count in (20, 400):
        values = separated(1.0, count=count, width=30)[0]
        values -= values.mean(axis=0)
        theirs, shrinkage = ledoit_wolf(values, assume_centered=True)
        ours, how_much = _shrunk(values)
        assert how_much == pytest.approx(shrinkage, abs=1e-10)
        np.testing.assert_allclose(ours, theirs, atol=1e-10)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_fold_is_scored_as_by_scikit_learn(classes: int) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    from graftwork.common.selection.transferability import PENALTY, _probed

    features, labels = separated(1.0)
    features, labels = features.astype(np.float32), labels % classes
    ours = _probed(features[:90], labels[:90], features[90:], classes)
    scaler = StandardScaler().fit(features[:90].astype(np.float64))
    theirs = LogisticRegression(C=PENALTY, tol=1e-9, max_iter=5000).fit(
        scaler.transform(features[:90]), labels[:90]
    )
    np.testing.assert_allclose(ours, theirs.predict_proba(scaler.transform(features[90:])), atol=1e-4)
