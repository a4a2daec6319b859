"""Kappa, Matthews' correlation, Hand and Till's M, top k: scikit-learn's where it is right, ours where it is not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, f1_score as sklearn_f1, matthews_corrcoef, roc_auc_score

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation import f1_score, hand_till, kappa, matthews, top_k_accuracy

EXACT = {"abs": 1e-9, "rel": 0}
T, Q = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4], [0, 1, 1, 2, 2, 0, 3, 4, 4, 2]
GRADES = ("0", "1", "2", "3", "4")
Y = np.array([0] * 5 + [1] * 3 + [2] * 2)
P = np.array([[6, 3, 1], [5, 3, 2], [2, 5, 3], [7, 2, 1], [4, 1, 5], [3, 5, 2], [4, 4, 2], [1, 3, 6], [2, 2, 6],
              [3, 4, 3]]) / 10  # fmt: skip


def test_the_figures_of_sklearn() -> None:
    """scikit-learn 1.9.1: cohen_kappa_score with weights, matthews_corrcoef, roc_auc_score(multi_class="ovo")."""
    found = [kappa(T, Q, GRADES, weights) for weights in ("none", "linear", "quadratic")]  # type: ignore[arg-type]
    assert found == pytest.approx([0.375, 0.556962025, 0.717948718], **EXACT)
    assert matthews(T, Q, GRADES) == pytest.approx(0.379777263, **EXACT)
    assert hand_till(Y, P) == (pytest.approx(0.8, **EXACT), 3, 3)


@pytest.mark.parametrize("seed", range(5))
def test_random_tables_are_those_of_sklearn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, q = rng.integers(0, 4, 60), rng.integers(0, 4, 60)
    names = ("a", "b", "c", "d")
    for ours, theirs in (("none", None), ("linear", "linear"), ("quadratic", "quadratic")):
        assert kappa(y, q, names, ours) == pytest.approx(cohen_kappa_score(y, q, weights=theirs), abs=1e-12)  # type: ignore[arg-type]
    assert matthews(y, q, names) == pytest.approx(matthews_corrcoef(y, q), abs=1e-12)
    assert f1_score(y > 1, q > 1) == pytest.approx(sklearn_f1(y > 1, q > 1), abs=1e-12)
    p = rng.dirichlet(np.ones(4), 60).round(1)
    p[:, 3] = 1 - p[:, :3].sum(1)
    expected = roc_auc_score(y, p, multi_class="ovo", average="macro")
    assert hand_till(y, p)[0] == pytest.approx(expected, abs=1e-12)
    assert top_k_accuracy(y, p, 1) == np.mean(p.argmax(1) == y)


def test_a_grade_that_nobody_gave_still_counts() -> None:
    y, q = [0, 0, 2, 2], [0, 2, 2, 2]
    assert kappa(y, q, ("low", "middle", "high"), "quadratic") == pytest.approx(
        cohen_kappa_score(y, q, labels=[0, 1, 2], weights="quadratic"), abs=1e-12
    )
    assert kappa(y, q, ("low", "middle", "high"), "linear") == kappa(y, q, ("low", "middle", "high"))


def test_what_is_undefined_is_not_nought() -> None:
    assert math.isnan(kappa([1, 1], [1, 1], ("a", "b")))
    assert math.isnan(matthews([1, 1], [0, 1], ("a", "b")))
    assert math.isnan(f1_score([0, 0], [0, 0]))
    assert f1_score([1, 0], [0, 0]) == 0.0
    assert math.isnan(top_k_accuracy([], np.empty((0, 3)), 1))


def test_pairs_without_a_case_are_left_out_and_counted() -> None:
    here = Y < 2
    value, defined, pairs = hand_till(Y[here], P[here])
    assert (value, defined, pairs) == (pytest.approx(0.8, **EXACT), 1, 3)
    assert hand_till([0, 0], P[:2])[1:] == (0, 3) and math.isnan(hand_till([0, 0], P[:2])[0])


def test_ties_go_to_the_lower_index() -> None:
    assert top_k_accuracy(Y, P, 1) == 0.5
    assert top_k_accuracy([0, 1], [[0.5, 0.5], [0.5, 0.5]], 1) == 0.5
    assert top_k_accuracy(Y, P, 3) == 1.0


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(UsageError, match=r"1\.\.3"):
        top_k_accuracy(Y, P, 4)
    with pytest.raises(TableError, match="the classes are"):
        kappa([0, 5], [0, 1], ("a", "b"))
    with pytest.raises(UsageError, match="quadratic"):
        kappa(T, Q, GRADES, "cubic")  # type: ignore[arg-type]
