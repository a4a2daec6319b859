"""A model among readers: worked by hand, by scikit-learn, and what must hold of any readings."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as extra
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, recall_score

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation.readers import against_readers, majority

NAN = math.nan
READINGS = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 1, 1, 1], [0, 0, 0, 1], [1, 0, 1, 1]])
MODEL = np.array([1, 1, 0, 1, 0, 0])


def readers(n: int, seed: int, missing: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.4
    read = np.where(rng.random((n, 4)) < 0.2, ~truth[:, None], truth[:, None]).astype(float)
    read[rng.random((n, 4)) < missing] = NAN
    return read, np.where(rng.random(n) < 0.1, ~truth, truth), rng.integers(0, max(n // 4, 1), n)


def test_a_majority_and_its_ties() -> None:
    found = majority([[1, 1, 0], [0, 0, 1], [1, 0, NAN], [NAN, NAN, 1], [NAN, NAN, NAN]])
    assert found == pytest.approx([1, 0, NAN, 1, NAN], nan_ok=True)
    assert majority(np.zeros((0, 3))).shape == (0,)
    assert np.isnan(majority(np.zeros((2, 0)))).all()


def test_the_example_by_hand() -> None:
    """Each reader left out in turn; of the three that remain a majority is never tied."""
    votes = np.array(
        [[1, 0, 0, 1, 0, 1], [1, 0, 0, 1, 0, 1], [1, 1, 0, 1, 0, 1], [1, 1, 0, 1, 0, 1]]
    )  # rows: without reader 1, 2, 3, 4
    found = against_readers(READINGS, MODEL, replicates=50)
    # reader 1: 1 1 0 0 0 1 against 1 0 0 1 0 1: TP 2, FP 1, FN 1
    assert found.readers[0].value == pytest.approx(2 / 3, abs=1e-12)
    for k in range(4):
        assert found.readers[k].value == pytest.approx(f1_score(votes[k], READINGS[:, k]), abs=1e-12)
    assert found.model.value == pytest.approx(np.mean([f1_score(v, MODEL) for v in votes]), abs=1e-12)
    assert found.mean.value == pytest.approx(np.mean([r.value for r in found.readers]), abs=1e-12)
    assert found.difference.value == pytest.approx(found.model.value - found.mean.value, abs=1e-12)
    assert (found.model.defined, found.model.comparisons, found.model.cases) == (4, 4, (6, 6))
    assert "no groups known" in found.method and (found.n, found.groups) == (6, 6)


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize(
    ("metric", "theirs"),
    [
        ("f1", f1_score),
        ("accuracy", accuracy_score),
        ("kappa", cohen_kappa_score),
        ("sensitivity", recall_score),
        ("specificity", lambda t, p: recall_score(1 - t, 1 - p)),
    ],
)
def test_every_metric_is_that_of_sklearn(metric: str, theirs: object, missing: float) -> None:
    read, model, _ = readers(120, 1, missing)
    for reference in ("majority-of-others", "each"):
        found = against_readers(read, model, metric, reference, replicates=20)  # type: ignore[arg-type]
        ours, of_readers = [], []
        for k in range(4):
            others = [j for j in range(4) if j != k]
            if reference == "each":
                known = ~np.isnan(read[:, k])
                ours.append(theirs(read[known, k], model[known].astype(float)))  # type: ignore[operator]
                pairs = [(j, ~np.isnan(read[:, [j, k]]).any(1)) for j in others]
                of_readers.append(np.mean([theirs(read[s, j], read[s, k]) for j, s in pairs]))  # type: ignore[operator]
                continue
            share = np.nanmean(read[:, others], axis=1) if not missing else _share(read[:, others])
            known = ~np.isnan(read[:, k]) & ~np.isnan(share) & (share != 0.5)
            vote = (share[known] > 0.5).astype(float)
            ours.append(theirs(vote, model[known].astype(float)))  # type: ignore[operator]
            of_readers.append(theirs(vote, read[known, k]))  # type: ignore[operator]
            assert found.readers[k].cases == (known.sum(), known.sum())
        assert found.model.value == pytest.approx(np.mean(ours), abs=1e-9)
        assert [each.value for each in found.readers] == pytest.approx(of_readers, abs=1e-9)


def _share(read: np.ndarray) -> np.ndarray:
    there = (~np.isnan(read)).sum(1)
    return np.where(there > 0, np.nansum(read, axis=1) / np.maximum(there, 1), np.nan)


def test_limits_are_of_groups_and_the_difference_is_paired() -> None:
    read, model, patient = readers(200, 2)
    found = against_readers(read, model, groups=patient, replicates=400, seed=5, group="patient")
    for each in (found.model, found.mean, *found.readers):
        assert each.low < each.value < each.high and not each.reason
    assert found.difference.low < found.difference.value < found.difference.high
    assert found.difference.p < 0.05 and found.difference.value > 0  # the model errs half as often
    width = found.difference.high - found.difference.low
    assert width < (found.model.high - found.model.low) + (found.mean.high - found.mean.low)
    assert found == against_readers(read, model, groups=patient, replicates=400, seed=5, group="patient")
    twice = against_readers(
        np.tile(read, (2, 1)), np.tile(model, 2), groups=np.tile(patient, 2), replicates=400, seed=5
    )
    assert twice.difference.low == pytest.approx(found.difference.low, abs=1e-12)  # no narrower
    assert "patients" in found.method


def test_one_replicate_by_hand() -> None:
    """Limits of two groups come from replicates (2, 0), (1, 1), (0, 2) only."""
    found = against_readers(READINGS, MODEL, groups=[0, 0, 0, 1, 1, 1], replicates=300)
    halves = [
        against_readers(READINGS[rows], MODEL[rows], replicates=20).mean.value
        for rows in (slice(0, 3), slice(3, 6))
    ]
    assert (found.mean.low, found.mean.high) == pytest.approx(
        (min(*halves, found.mean.value), max(*halves, found.mean.value)), abs=1e-12
    )


@settings(max_examples=40, deadline=None)
@given(
    extra.arrays(
        float, st.tuples(st.integers(1, 12), st.integers(2, 5)), elements=st.sampled_from([0, 1, NAN])
    ),
    st.sampled_from(["majority-of-others", "each"]),
    st.sampled_from(["f1", "accuracy", "kappa"]),
)
def test_what_holds_of_any_readings(read: np.ndarray, reference: str, metric: str) -> None:
    model = np.arange(len(read)) % 2

    def values(read: np.ndarray, model: np.ndarray) -> list[float]:
        found = against_readers(read, model, metric, reference, replicates=5)  # type: ignore[arg-type]
        for each in (found.model, found.mean, *found.readers):
            assert not math.isnan(each.low) or each.reason
            assert math.isnan(each.value) == (each.defined == 0)
            assert not each.value > 1 and not each.value < (-1 if metric == "kappa" else 0)
        return [found.model.value, found.mean.value, found.difference.value]

    once = values(read, model)
    rng = np.random.default_rng(0)
    rows, columns = rng.permutation(len(read)), rng.permutation(read.shape[1])
    assert values(read[rows][:, columns], model[rows]) == pytest.approx(once, abs=1e-9, nan_ok=True)
    if metric != "f1":  # the others do not care which answer is called 1
        assert values(1 - read, 1 - model) == pytest.approx(once, abs=1e-9, nan_ok=True)


def test_a_model_that_is_a_reader_equals_that_reader() -> None:
    read, _, _ = readers(80, 3)
    same = np.repeat(read[:, :1], 3, axis=1)
    found = against_readers(same, read[:, 0], replicates=50)
    assert (found.model.value, found.mean.value, found.difference.value) == (1.0, 1.0, 0.0)
    assert found.difference.p == 1.0


def test_what_is_undefined_says_why() -> None:
    nobody = against_readers(np.zeros((5, 3)), np.zeros(5), replicates=20)  # no positive anywhere: no F1
    assert math.isnan(nobody.model.value) and nobody.model.reason and nobody.difference.reason
    assert against_readers(np.zeros((5, 3)), np.zeros(5), "accuracy", replicates=20).model.value == 1.0
    lone = against_readers(READINGS, MODEL, groups=np.zeros(6))
    assert (
        lone.model.value > 0 and math.isnan(lone.model.low) and lone.model.reason and lone.difference.reason
    )
    empty = against_readers(np.zeros((0, 3)), [])
    assert math.isnan(empty.mean.value) and empty.n == 0


def test_what_are_no_readings_is_refused() -> None:
    for args, match in (
        ((READINGS[:, :1], MODEL), "two readers"),
        ((READINGS[:, 0], MODEL), "shape"),
        ((READINGS * 2, MODEL), "hold 2"),
        ((np.array([["yes", "no"]]), [1]), "0, 1 and NaN"),
        ((READINGS, MODEL[:4]), "model has 4 values for 6 cases"),
        ((READINGS, MODEL * 0.7), "model"),
    ):
        with pytest.raises(TableError, match=match):
            against_readers(*args)
    with pytest.raises(TableError, match="groups"):
        against_readers(READINGS, MODEL, groups=[1, 2])
    with pytest.raises(UsageError, match="metric"):
        against_readers(READINGS, MODEL, "auroc")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="majority-of-others"):
        against_readers(READINGS, MODEL, "f1", "all")  # type: ignore[arg-type]
