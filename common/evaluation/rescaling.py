"""Calibration of probabilities after training: a temperature, a logistic or an isotonic curve.

A scaling is fitted on one part (validation) and carries its name, so that it is never evaluated on the same cases.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq, isotonic_regression, minimize_scalar
from scipy.special import expit, log_softmax, logit, softmax

from graftwork.common.errors import TableError
from graftwork.common.evaluation.arrays import (
    Array,
    FloatArray,
    as_binary,
    as_scores,
    as_truth,
    require_vector,
)
from graftwork.common.evaluation.metrics.calibration import CLIP, log_odds
from graftwork.common.evaluation.metrics.operating_points import class_indices

_LOG_T = math.log(100.0)  # temperatures are looked for in 1/100..100
_ROUNDS = 100  # Newton steps; a fit that exists is found in a few


def calibration_slope(y: npt.ArrayLike, p: npt.ArrayLike) -> tuple[float, float]:
    """Slope b and intercept a of the unpenalised logistic fit y ~ a + b logit(p).

    A slope below 1 says that the probabilities are too extreme, above 1 too timid. The intercept is that of this
    fit; whether probabilities are too high on the whole is `calibration_in_the_large`.

    Args:
        y: [n], 0 or 1. p: [n], 0..1; clipped to 1e-12..1 - 1e-12.

    Returns:
        slope, intercept; both NaN where no finite fit exists: one class, one value of p, or classes that a
        threshold on p separates.

    Raises:
        TableError: NaN, probabilities outside 0..1, labels other than 0 and 1, lengths that differ.

    Source: Cox, Biometrika 45:562 (1958); equal to statsmodels' `GLM(family=Binomial())`. scikit-learn's
    `LogisticRegression()` penalises by default, and gives another slope.
    """
    truth, scores = as_binary(y, p, "p", probability=True)
    x = log_odds(scores)
    above, below = x[truth], x[~truth]
    # a finite fit of one variable exists just where the two classes overlap (Albert and Anderson 1984)
    if not len(above) or not len(below) or above.min() >= below.max() or above.max() <= below.min():
        return math.nan, math.nan
    middle, spread = float(x.mean()), float(x.std())
    design = np.column_stack([np.ones(len(x)), (x - middle) / spread])
    wanted = truth.astype(np.float64)

    def loss(weights: FloatArray) -> float:
        z = design @ weights
        return float((np.logaddexp(0.0, z) - wanted * z).sum())

    weights = np.array([float(logit(wanted.mean())), 0.0])
    now = loss(weights)
    for _ in range(_ROUNDS):
        fitted = expit(design @ weights)
        gradient = design.T @ (wanted - fitted)
        curvature = design.T @ (design * (fitted * (1.0 - fitted))[:, None])
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while (found := loss(weights + size * step)) > now + 1e-12 * abs(now) and size > 1e-10:
            size /= 2.0  # far from the fit a whole step can go too far
        weights, now = weights + size * step, found
        if np.abs(size * step).max() < 1e-13 * max(1.0, float(np.abs(weights).max())):
            break
    slope = float(weights[1]) / spread
    return slope, float(weights[0]) - slope * middle


def calibration_in_the_large(y: npt.ArrayLike, p: npt.ArrayLike) -> float:
    """The a of the logistic fit y ~ a + logit(p), its slope fixed at 1: 0 where p is right on the whole.

    Above 0 the probabilities are too low, below 0 too high, on the scale of log odds.

    Args, Raises: as `calibration_slope`.

    Returns:
        NaN where one of the classes has no case.

    Source: Cox 1958; statsmodels' `GLM(family=Binomial(), offset=logit(p))`.
    """
    truth, scores = as_binary(y, p, "p", probability=True)
    if truth.all() or not truth.any():
        return math.nan
    x = log_odds(scores)
    share = float(truth.mean())
    low, high = float(logit(share)) - float(x.max()), float(logit(share)) - float(x.min())
    if high - low < 1e-12:  # one value of p
        return low

    def excess(a: float) -> float:
        return float(expit(a + x).mean()) - share

    # rounding may put the root on an end of the bracket
    return float(brentq(excess, low - 1e-9, high + 1e-9, xtol=1e-14))


@dataclass(frozen=True)
class Temperature:
    """One temperature: probabilities p become softmax(log(p) / T).

    Attributes:
        value: T; above 1 it makes probabilities less extreme, below 1 more.
        chosen_on: the part it was fitted on. n: cases there.
        loss_before, loss_after: mean negative log-likelihood there, in nats, at T = 1 and at T.
        reason: not empty where T is at an end of 1/100..100, since the loss falls all the way to it.
    """

    value: float
    chosen_on: str
    n: int
    loss_before: float
    loss_after: float
    reason: str = ""

    def apply(self, p: npt.ArrayLike) -> FloatArray:
        """Probabilities [n] (of the positive class) or [n, K] at this temperature, of the same shape.

        The order of cases (of [n]) and of the classes of a case stays, but for p nearer to 0 or 1 than 1e-12.

        Raises:
            TableError: NaN, or probabilities outside 0..1.
        """
        scores = as_scores(p, len(np.asarray(p)), "p", probability=True)
        if scores.ndim == 1:
            return np.asarray(expit(log_odds(scores) / self.value))
        return np.asarray(softmax(np.log(np.clip(scores, CLIP, 1.0)) / self.value, axis=1))

    def to_json(self) -> dict[str, Any]:
        """As JSON values; `from_json` gives it back exactly."""
        return {"kind": "temperature", **asdict(self)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Temperature:
        """What `to_json` wrote.

        Raises:
            TableError: it is something else, or damaged.
        """
        found = _fields(content, "temperature", ("value", "chosen_on", "n", "loss_before", "loss_after"))
        try:
            value, before, after = (float(found[name]) for name in ("value", "loss_before", "loss_after"))
            n, reason = int(found["n"]), str(found.get("reason", ""))
            made = cls(value, str(found["chosen_on"]), n, before, after, reason)
        except (TypeError, ValueError) as error:
            raise TableError(
                f"the temperature is damaged: {error}", where="temperature", remedy="fit the scaling again"
            ) from error
        if not (made.value > 0.0 and math.isfinite(made.value)):
            raise TableError(
                f"a temperature above 0 was expected, found {made.value}",
                where="temperature",
                remedy="fit the scaling again",
            )
        return made


def fit_temperature(y: npt.ArrayLike, p: npt.ArrayLike, part: str = "validation") -> Temperature:
    """The temperature of the least negative log-likelihood, one for all classes.

    Args:
        y: [n], 0 or 1, with p [n]; or [n] class indices with p [n, K]. p: probabilities; their logarithms serve
            as logits (a softmax's logits differ from them by a constant a case, which changes nothing).
        part: the part that these cases are of; the temperature carries it.

    Raises:
        TableError: no case, or cases of one class only; NaN, probabilities outside 0..1, unknown classes.

    Source: Guo et al., ICML 2017.
    """
    truth = np.asarray(y)
    scores = as_scores(p, len(truth), "p", probability=True)
    index: Array
    if scores.ndim == 1:
        index = as_truth(truth).astype(np.intp)
        half = log_odds(scores) / 2.0
        logits = np.column_stack([-half, half])
    else:
        index = class_indices(truth, [str(k) for k in range(scores.shape[1])], "y")
        logits = np.log(np.clip(scores, CLIP, 1.0))
    _two_classes(index, part)
    rows = np.arange(len(index))
    right = logits[rows, index]

    def loss(log_t: float) -> float:
        return -float(log_softmax(logits * math.exp(-log_t), axis=1)[rows, index].mean())

    def slope(beta: float) -> float:
        """The derivative of the loss by 1 / T, which rises: the loss is convex in 1 / T."""
        return float(((softmax(beta * logits, axis=1) * logits).sum(axis=1) - right).mean())

    log_t = float(minimize_scalar(loss, bounds=(-_LOG_T, _LOG_T), method="bounded").x)
    reason = ""
    if slope(math.exp(_LOG_T)) <= 0.0:
        log_t, reason = -_LOG_T, "the loss falls down to the lowest temperature tried"
    elif slope(math.exp(-_LOG_T)) >= 0.0:
        log_t, reason = _LOG_T, "the loss falls up to the highest temperature tried"
    else:  # a minimum is had to half the digits only; the root of the derivative to nearly all
        low, high = (math.exp(-max(min(log_t + off, _LOG_T), -_LOG_T)) for off in (1e-3, -1e-3))
        if not slope(low) < 0.0 < slope(high):
            low, high = math.exp(-_LOG_T), math.exp(_LOG_T)
        log_t = -math.log(float(brentq(slope, low, high, xtol=1e-14)))
    return Temperature(math.exp(log_t), part, len(index), loss(0.0), loss(log_t), reason)


@dataclass(frozen=True)
class Isotonic:
    """A rising curve from probabilities to probabilities; between its points linear, beyond them constant.

    Attributes:
        x: thresholds, rising. y: the probability at each, not falling, 0..1.
        chosen_on: the part it was fitted on. n: cases there.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    chosen_on: str
    n: int

    def apply(self, p: npt.ArrayLike) -> FloatArray:
        """Probabilities [n] on the curve, [n]. It ties cases, so that ranks, and with them AUROC, may change.

        Raises:
            TableError: NaN, probabilities outside 0..1, or more than one a case.
        """
        scores = as_scores(p, len(np.asarray(p)), "p", probability=True)
        return np.interp(require_vector(scores, "p"), self.x, self.y)

    def to_json(self) -> dict[str, Any]:
        """As JSON values; `from_json` gives it back exactly."""
        return {"kind": "isotonic", **asdict(self), "x": list(self.x), "y": list(self.y)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Isotonic:
        """What `to_json` wrote.

        Raises:
            TableError: it is something else, or damaged.
        """
        found = _fields(content, "isotonic", ("x", "y", "chosen_on", "n"))
        try:
            x, y = (tuple(float(value) for value in found[name]) for name in ("x", "y"))
            n = int(found["n"])
        except (TypeError, ValueError) as error:
            raise TableError(
                f"the isotonic curve is damaged: {error}", where="isotonic", remedy="fit the scaling again"
            ) from error
        rising = all(a < b for a, b in pairwise(x)) and list(y) == sorted(y)
        if not x or len(x) != len(y) or not rising or not all(0.0 <= value <= 1.0 for value in (*x, *y)):
            raise TableError(
                "a curve of as many x as y, x rising and y not falling, in 0..1, was expected",
                where="isotonic",
                remedy="fit the scaling again",
            )
        return cls(x, y, str(found["chosen_on"]), n)


def fit_isotonic(y: npt.ArrayLike, p: npt.ArrayLike, part: str = "validation") -> Isotonic:
    """The rising curve nearest to the outcomes in squared distance, by pooling adjacent violators.

    Args:
        y: [n], 0 or 1. p: [n], 0..1; equal ones are taken together. part: the part that these cases are of.

    Raises:
        TableError: no case, or cases of one class only; NaN, probabilities outside 0..1, labels other than 0, 1.

    Source: Zadrozny and Elkan, KDD 2002; equal to scikit-learn's `IsotonicRegression(out_of_bounds="clip")`.
    """
    truth, scores = as_binary(y, p, "p", probability=True)
    _two_classes(truth, part)
    levels, place, cases = np.unique(scores, return_inverse=True, return_counts=True)
    share = np.bincount(place, truth) / cases
    found = isotonic_regression(share, weights=cases.astype(np.float64))
    # pooled means may leave 0..1, or fall, by rounding
    values = np.maximum.accumulate(np.clip(found.x, 0.0, 1.0))
    # of a level stretch its ends say all
    inner = np.zeros(len(values), dtype=bool)
    inner[1:-1] = (values[1:-1] == values[:-2]) & (values[1:-1] == values[2:])
    return Isotonic(
        tuple(float(value) for value in levels[~inner]),
        tuple(float(value) for value in values[~inner]),
        part,
        len(truth),
    )


def _two_classes(index: Array, part: str) -> None:
    present = len(np.unique(index))
    if present < 2:
        what = "no case" if present == 0 else f"{len(index):,} cases of one class only"
        raise TableError(
            f"cases of two classes are needed to fit a scaling, part {part} has {what}",
            where=part,
            remedy="add labelled cases of the other class",
        )


def _fields(content: Mapping[str, Any], kind: str, names: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(content, Mapping) or content.get("kind") != kind:
        found = content.get("kind") if isinstance(content, Mapping) else type(content).__name__
        raise TableError(
            f"a scaling of the kind {kind!r} was expected, found {found!r}",
            where=kind,
            remedy="fit the scaling again",
        )
    lacking = [name for name in names if name not in content]
    if lacking:
        raise TableError(
            f"the scaling lacks {', '.join(lacking)}", where=kind, remedy="fit the scaling again"
        )
    return content
