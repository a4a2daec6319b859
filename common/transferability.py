"""How well features would transfer to a task, judged before any fine-tuning: four scores, each from its paper.

Features [n, d] are those of a frozen backbone, labels [n] class codes from 0. A higher score is better. Where a score
is undefined it is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Probe", "cross_validated_probe", "h_score", "leep", "log_me"]

ROUNDS = 100  # of LogME's fixed point, which needs a handful
CLOSE = 1e-4  # relative change of its two precisions at which it has converged


def log_me(features: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """LogME: the log evidence of a Bayesian linear model, a case, the mean over one-vs-rest labels.

    You et al. 2021 (ICML), equations 2 and 3; the fixed point of alpha and beta as in algorithm 3 of You et al. 2022
    (JMLR).
    """
    values = np.asarray(features, np.float64)
    classes = np.unique(labels)
    if len(classes) < 2:
        return float("nan")
    count, width = values.shape
    left, singular, _ = np.linalg.svd(values, full_matrices=False)
    squares = singular**2
    found = []
    for one in classes:
        target = (labels == one).astype(np.float64)
        along = (left.T @ target) ** 2  # of the target, by singular direction
        outside = max(float(target @ target - along.sum()), 0.0)
        alpha, beta = 1.0, 1.0
        for _ in range(ROUNDS):
            ratio = alpha / beta
            effective = float((squares / (squares + ratio)).sum())
            weights = float((squares * along / (squares + ratio) ** 2).sum())
            residual = float((along * (ratio / (squares + ratio)) ** 2).sum()) + outside
            alpha, beta = effective / (weights + 1e-12), (count - effective) / (residual + 1e-12)
            if abs(alpha / beta - ratio) <= CLOSE * ratio:
                break
        ratio = alpha / beta
        weights = float((squares * along / (squares + ratio) ** 2).sum())
        residual = float((along * (ratio / (squares + ratio)) ** 2).sum()) + outside
        determinant = float(np.log(alpha + beta * squares).sum()) + (width - len(squares)) * np.log(alpha)
        evidence = (
            width / 2 * np.log(alpha)
            + count / 2 * np.log(beta)
            - beta / 2 * residual
            - alpha / 2 * weights
            - determinant / 2
            - count / 2 * np.log(2 * np.pi)
        )
        found.append(evidence / count)
    return float(np.mean(found))


def leep(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """LEEP: the mean log likelihood of the labels, given what the old classifier says (Nguyen et al. 2020, equation 2).

    Args:
        probabilities: [n, old classes], of the classifier that the weights came with.
    """
    codes = np.unique(labels, return_inverse=True)[1]
    if codes.max(initial=0) < 1:
        return float("nan")
    joint = np.zeros((codes.max() + 1, probabilities.shape[1]))
    np.add.at(joint, codes, np.asarray(probabilities, np.float64))
    joint /= len(codes)
    conditional = joint / np.maximum(joint.sum(axis=0, keepdims=True), 1e-300)
    likelihood = np.asarray(probabilities, np.float64) @ conditional.T
    return float(np.log(np.maximum(likelihood[np.arange(len(codes)), codes], 1e-300)).mean())


def h_score(features: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """H-score: trace of the inverse covariance of the features times the covariance of their class means.

    Bao et al. 2019, definition 2; the covariance is shrunk towards a multiple of the unit matrix (Ledoit et al.
    2004), as Ibrahim et al. 2021 propose, since cases are few beside features.
    """
    from sklearn.covariance import ledoit_wolf

    values = np.asarray(features, np.float64)
    values = values - values.mean(axis=0)
    classes = np.unique(labels)
    if len(classes) < 2:
        return float("nan")
    covariance, shrinkage = ledoit_wolf(values, assume_centered=True)
    means = np.zeros_like(values)
    for one in classes:
        means[labels == one] = values[labels == one].mean(axis=0)
    between = means.T @ means / len(values)
    return float((1 - shrinkage) * np.trace(np.linalg.lstsq(covariance, between, rcond=None)[0]))


@dataclass(frozen=True)
class Probe:
    """A linear probe, cross-validated.

    Attributes:
        auroc: macro mean over the classes, of scores on held-out folds; low, high: its 95 % interval by group.
        folds: how many; 0 where there were too few groups.
    """

    auroc: float
    low: float
    high: float
    folds: int


def cross_validated_probe(
    features: NDArray[np.floating],
    labels: NDArray[np.integer],
    groups: NDArray[np.generic],
    *,
    folds: int = 5,
    seed: int = 0,
) -> Probe:
    """The reference: logistic regression on standardised features, each group wholly in one fold.

    The penalty is that of C = 0.01 in scikit-learn's terms. Of more than two classes the macro mean of one-vs-rest
    AUROCs over the classes that are defined. The interval resamples groups.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from graftwork.common.evaluation import auroc

    nothing = Probe(float("nan"), float("nan"), float("nan"), 0)
    classes, codes = np.unique(labels, return_inverse=True)
    if len(classes) < 2 or len(np.unique(groups)) < folds:
        return nothing
    scores = np.full((len(codes), len(classes)), np.nan)
    parts = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for train, held in parts.split(features, codes, groups):
        if len(np.unique(codes[train])) < len(classes):
            return nothing
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
        scores[held] = model.fit(features[train], codes[train]).predict_proba(features[held])

    def macro(rows: NDArray[np.integer]) -> float:
        ones = range(1, 2) if len(classes) == 2 else range(len(classes))
        found = [auroc(codes[rows] == one, scores[rows, one]) for one in ones]
        known = [float(each) for each in found if np.isfinite(float(each))]
        return float(np.mean(known)) if known else float("nan")

    names, place = np.unique(groups, return_inverse=True)
    members = [np.flatnonzero(place == each) for each in range(len(names))]
    generator = np.random.Generator(np.random.Philox(seed))
    drawn = [
        macro(np.concatenate([members[each] for each in generator.integers(len(names), size=len(names))]))
        for _ in range(200)
    ]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Probe(macro(np.arange(len(codes))), float(low), float(high), folds)
