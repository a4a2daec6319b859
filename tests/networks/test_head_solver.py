"""The head of a linear probe, solved: the solution is that of scikit-learn, for every kind of target."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from graftwork.common.data.targets import Target
from graftwork.common.errors import RunError, UsageError
from graftwork.common.networks.head_solver import Standardised, solve, strengths
from graftwork.common.networks.heads import LinearHead
from graftwork.common.recipe.sections import TrainingSection
from graftwork.common.training.losses import loss_for

CASES, WIDTH = 300, 20


def features(seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(WIDTH, WIDTH))
    return (generator.normal(size=(CASES, WIDTH)) @ mixing + generator.normal(size=WIDTH)).astype(np.float32)


def minimise(target: Target, truth: np.ndarray):  # type: ignore[no-untyped-def]
    return loss_for([target], TrainingSection(), truth, torch.device("cpu"))


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("decay", [1.0, 1e-2, 1e-4])
def test_it_is_the_logistic_regression_of_scikit_learn(classes: int, decay: float) -> None:
    table = features()
    truth = np.random.default_rng(1).integers(0, classes, CASES)
    truth[: CASES // 2] = (table[: CASES // 2, 0] > 0).astype(int)
    kind = "binary" if classes == 2 else "multi-class"
    target = Target("t", kind, tuple("abcd"[:classes]))  # type: ignore[arg-type]
    head = LinearHead(WIDTH, classes, seed=0)
    found = solve(head, table, torch.from_numpy(truth), minimise(target, truth), decay=decay)
    assert found.converged and found.gradient <= 1e-5
    scaled = StandardScaler().fit_transform(table.astype(np.float64))
    # two columns of weights for two classes share the penalty: each has half of what one column would
    strength = 1 / (CASES * decay) * (2 if classes == 2 else 1)
    theirs = LogisticRegression(C=strength, tol=1e-9, max_iter=10_000).fit(scaled, truth)
    with torch.inference_mode():
        ours = head.eval()(torch.from_numpy(table)).softmax(dim=1).numpy()
    np.testing.assert_allclose(ours, theirs.predict_proba(scaled), atol=1e-4)


def test_labels_that_are_not_known_have_no_say() -> None:
    table = features()
    truth = (table[:, :3] > table[:, :3].mean(axis=0)).astype(np.float32)
    truth[::5, 1] = np.nan
    target = Target("t", "multi-label", ("a", "b", "c"))
    whole, part = LinearHead(WIDTH, 3), LinearHead(WIDTH, 3)
    solve(whole, table, torch.from_numpy(truth), minimise(target, truth), decay=0.1)
    changed = truth.copy()
    known = ~np.isnan(truth[:, 1])
    single = solve(part, table, torch.from_numpy(changed), minimise(target, changed), decay=0.1)
    assert single.converged and torch.equal(whole.linear.weight, part.linear.weight)
    with torch.inference_mode():
        scores = whole.eval()(torch.from_numpy(table))[:, 1].numpy()
    assert np.mean((scores > 0) == (truth[:, 1] > 0.5), where=known) > 0.9


def test_a_constant_feature_has_no_weight_and_a_warm_start_ends_in_the_same_place() -> None:
    table = features()
    table[:, 3] = 7.0
    truth = (table[:, 0] > 0).astype(np.int64)
    target = Target("t", "binary", ("a", "b"))
    cold, warm = LinearHead(WIDTH, 2), LinearHead(WIDTH, 2)
    solve(warm, table, torch.from_numpy(truth), minimise(target, truth), decay=10.0)
    for head in (cold, warm):
        assert solve(head, table, torch.from_numpy(truth), minimise(target, truth), decay=0.01).converged
        assert float(head.linear.weight[:, 3].abs().max()) == 0.0
    torch.testing.assert_close(cold.linear.weight, warm.linear.weight, rtol=0, atol=1e-3)


def test_the_path_goes_from_strong_to_weak_and_wrong_input_is_refused() -> None:
    path = strengths(6)
    assert list(path) == sorted(path, reverse=True) and (path[0], path[-1]) == (10.0, 1e-5)
    assert len(strengths(1)) == 1
    with pytest.raises(UsageError):
        strengths(0)
    broken = features()
    broken[4, 4] = np.inf
    with pytest.raises(RunError, match="not a finite number"):
        Standardised(broken)
    with pytest.raises(UsageError, match="table"):
        Standardised(np.zeros((0, 3), np.float32))
    truth = np.zeros(CASES, np.int64)
    target = Target("t", "binary", ("a", "b"))
    with pytest.raises(UsageError, match="do not fit"):
        solve(LinearHead(3, 2), features(), torch.from_numpy(truth), minimise(target, truth), decay=1.0)
    with pytest.raises(UsageError, match="above 0"):
        solve(LinearHead(WIDTH, 2), features(), torch.from_numpy(truth), minimise(target, truth), decay=0.0)
