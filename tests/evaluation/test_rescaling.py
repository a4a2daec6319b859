"""Calibration slope, temperature and isotonic curves: figures of statsmodels, fits of scikit-learn."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from graftwork.common.errors import TableError
from graftwork.common.evaluation import auroc
from graftwork.common.evaluation.rescaling import (
    Isotonic,
    Temperature,
    calibration_in_the_large,
    calibration_slope,
    fit_isotonic,
    fit_temperature,
)

EXACT = {"abs": 1e-9, "rel": 0}
Y = np.array([0, 0, 0, 0, 1, 0, 1, 0, 1, 1, 1, 1])
P = np.array([0.03, 0.12, 0.22, 0.27, 0.31, 0.41, 0.48, 0.56, 0.71, 0.83, 0.91, 0.97])
ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=1, max_size=40)


def log_odds(p: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(p / (1 - p)))


def test_the_figures_of_statsmodels() -> None:
    """statsmodels 0.15.0, GLM(family=Binomial()), of the slope, and with an offset of the intercept alone."""
    assert calibration_slope(Y, P) == pytest.approx((1.757830643, 0.266240532), **EXACT)
    assert calibration_in_the_large(Y, P) == pytest.approx(0.093820179, **EXACT)


def test_the_slope_is_that_of_an_unpenalised_fit() -> None:
    rng = np.random.default_rng(0)
    for n in (20, 300, 5000):
        p = rng.uniform(0.001, 0.999, n)
        y = rng.random(n) < 1 / (1 + np.exp(-(0.4 + 0.6 * log_odds(p))))
        x = log_odds(p)[:, None]
        theirs = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000).fit(x, y)
        assert calibration_slope(y, p) == pytest.approx(
            (theirs.coef_[0, 0], theirs.intercept_[0]), abs=2e-5, rel=1e-5
        )
        penalised = LogisticRegression(C=0.05).fit(x, y).coef_[0, 0]
        assert abs(penalised - calibration_slope(y, p)[0]) > 1e-4


def test_a_fit_that_does_not_exist_is_undefined() -> None:
    for y, p in (
        ([], []),
        ([1, 1], [0.2, 0.6]),
        ([0, 1], [0.2, 0.6]),  # separated
        ([1, 0], [0.2, 0.6]),  # separated the other way round
        ([0, 0, 1, 1], [0.1, 0.5, 0.5, 0.9]),  # but for one shared value
        ([0, 1, 0, 1], [0.3] * 4),
    ):
        assert all(math.isnan(each) for each in calibration_slope(y, p))
    assert math.isnan(calibration_in_the_large([0, 0], [0.2, 0.3]))
    assert calibration_in_the_large([0, 1, 0, 1], [0.3] * 4) == pytest.approx(math.log(7 / 3), **EXACT)


def test_probabilities_of_0_and_1_have_a_fit() -> None:
    slope, intercept = calibration_slope([0, 1, 0, 1, 0, 1], [0.0, 0.0, 0.5, 0.4, 1.0, 1.0])
    assert math.isfinite(slope) and math.isfinite(intercept)
    assert math.isfinite(calibration_in_the_large([0, 1, 0, 1], [0.0, 0.0, 1.0, 1.0]))


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_the_fits_satisfy_their_equations_and_scale_as_logits_do(rows: list[tuple[bool, int]]) -> None:
    y, k = (np.array(each) for each in zip(*rows, strict=True))
    p = (k + 0.5) / 21
    a = calibration_in_the_large(y, p)
    if not math.isnan(a):
        moved = 1 / (1 + np.exp(-(a + log_odds(p))))
        assert moved.mean() == pytest.approx(y.mean(), abs=1e-12)
    slope, intercept = calibration_slope(y, p)
    if math.isnan(slope):
        return
    apart = y - 1 / (1 + np.exp(-(intercept + slope * log_odds(p))))
    assert apart.sum() == pytest.approx(0, abs=1e-8)
    assert (apart * log_odds(p)).sum() == pytest.approx(0, abs=1e-8)
    half = 1 / (1 + np.exp(-log_odds(p) / 2))
    assert calibration_slope(y, half) == pytest.approx((2 * slope, intercept), abs=1e-7, rel=1e-7)
    assert calibration_slope(~y, 1 - p) == pytest.approx((slope, -intercept), abs=1e-7, rel=1e-7)


def test_the_temperature_of_the_example() -> None:
    found = fit_temperature(Y, P)
    assert found.value == pytest.approx(0.595676089, **EXACT)
    assert found.loss_before == pytest.approx(0.385734992, **EXACT)
    assert found.loss_after == pytest.approx(0.358482036, **EXACT)
    assert (found.chosen_on, found.n, found.reason) == ("validation", 12, "")
    assert log_loss(Y, found.apply(P)) == pytest.approx(found.loss_after, abs=1e-12)


def test_two_columns_are_one_probability() -> None:
    one, two = fit_temperature(Y, P, "fold 3"), fit_temperature(Y, np.column_stack([1 - P, P]), "fold 3")
    assert one.value == pytest.approx(two.value, abs=1e-10)
    assert two.apply(np.column_stack([1 - P, P]))[:, 1] == pytest.approx(one.apply(P), abs=1e-10)
    assert one.chosen_on == "fold 3"


def test_a_known_temperature_is_found_again() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 1.5, (4000, 5))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    y = np.array([rng.choice(5, p=row) for row in p])
    sharp = np.exp(3 * logits) / np.exp(3 * logits).sum(1, keepdims=True)
    found = fit_temperature(y, sharp)
    assert found.value == pytest.approx(3.0, rel=0.05)
    assert found.loss_after < found.loss_before
    near = [
        log_loss(y, Temperature(found.value * f, "", 0, 0, 0).apply(sharp), labels=range(5))
        for f in (0.99, 1, 1.01)
    ]
    assert near[1] == min(near) and near[1] == pytest.approx(found.loss_after, abs=1e-9)
    assert (found.apply(sharp).argmax(1) == sharp.argmax(1)).all()
    assert found.apply(sharp).sum(1) == pytest.approx(1.0)
    assert fit_temperature(y, p).value == pytest.approx(1.0, rel=0.05)


def test_a_temperature_without_end_says_so() -> None:
    found = fit_temperature([0, 1], [0.3, 0.7])
    assert found.value == pytest.approx(0.01) and "lowest" in found.reason
    found = fit_temperature([1, 0], [0.3, 0.7])
    assert found.value == pytest.approx(100.0) and "highest" in found.reason


@settings(max_examples=40, deadline=None)
@given(ROWS)
def test_the_temperature_leaves_ranks_and_lowers_the_loss(rows: list[tuple[bool, int]]) -> None:
    y, k = (np.array(each) for each in zip(*rows, strict=True))
    p = k / 20
    if y.all() or not y.any():
        with pytest.raises(TableError, match="one class"):
            fit_temperature(y, p)
        return
    found = fit_temperature(y, p)
    assert found.loss_after <= found.loss_before + 1e-12
    if not found.reason:
        assert auroc(y, found.apply(p)) == pytest.approx(auroc(y, p), abs=1e-12)
    turned = np.random.default_rng(0).permutation(len(y))
    assert fit_temperature(y[turned], p[turned]).value == pytest.approx(found.value, rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_isotonic_is_that_of_sklearn(rows: list[tuple[bool, int]]) -> None:
    y, k = (np.array(each) for each in zip(*rows, strict=True))
    p = k / 20
    if y.all() or not y.any():
        with pytest.raises(TableError, match="one class"):
            fit_isotonic(y, p)
        return
    found = fit_isotonic(y, p)
    grid = np.linspace(0, 1, 201)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(p, y)
    assert found.apply(grid) == pytest.approx(theirs.predict(grid), abs=1e-9)
    assert (np.diff(found.apply(grid)) >= -1e-12).all()
    assert found.apply(p).mean() == pytest.approx(y.mean(), abs=1e-9)
    assert Isotonic.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_isotonic_of_many_cases_keeps_few_points() -> None:
    rng = np.random.default_rng(2)
    p = rng.random(20_000)
    found = fit_isotonic(rng.random(20_000) < p**2, p)
    assert len(found.x) < 400 and found.n == 20_000
    assert found.apply([0.5]) == pytest.approx([0.25], abs=0.05)
    assert fit_isotonic([1, 0], [0.2, 0.6]).apply([0.0, 0.4, 1.0]).tolist() == [0.5] * 3


def test_scalings_come_back_from_json() -> None:
    found = fit_temperature(Y, P)
    assert Temperature.from_json(json.loads(json.dumps(found.to_json()))) == found
    curve = fit_isotonic(Y, P).to_json()
    for read, content, match in (
        (Temperature.from_json, curve, "isotonic"),
        (Temperature.from_json, [1], "list"),
        (Temperature.from_json, {"kind": "temperature"}, "lacks"),
        (Temperature.from_json, {**found.to_json(), "value": "warm"}, "damaged"),
        (Temperature.from_json, {**found.to_json(), "value": 0.0}, "above 0"),
        (Isotonic.from_json, {**curve, "x": curve["x"][::-1]}, "rising"),
        (Isotonic.from_json, {**curve, "x": 3}, "damaged"),
        (Isotonic.from_json, {**curve, "y": curve["y"][1:]}, "as many"),
    ):
        with pytest.raises(TableError, match=match):
            read(content)  # type: ignore[operator]


def test_nothing_is_fitted_on_nothing() -> None:
    for fit in (fit_temperature, fit_isotonic):
        with pytest.raises(TableError, match="no case"):
            fit([], [], "validation")
        with pytest.raises(TableError, match="NaN"):
            fit([0, 1], [0.1, math.nan])
        with pytest.raises(TableError, match=r"0\.\.1"):
            fit([0, 1], [0.1, 1.1])
    with pytest.raises(TableError, match="classes"):
        fit_temperature([0, 3], [[0.5, 0.5], [0.1, 0.9]])
    with pytest.raises(TableError, match="dimension"):
        calibration_slope([0, 1], [[0.5, 0.5], [0.1, 0.9]])
    with pytest.raises(TableError, match="dimension"):
        fit_isotonic(Y, P).apply([[0.5, 0.5]])
