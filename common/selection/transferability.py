"""Transferability scores: how well features fit a task, before any fine-tuning. Four scores, each from its paper.

Features [n, d] are those of a frozen backbone, labels [n] class codes from 0. A higher score is better. Where a score
is undefined it is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from graftwork.common.data.splits.assignment import allot
from graftwork.common.evaluation import auroc
from graftwork.common.networks.head_solver import solve
from graftwork.common.networks.heads import LinearHead

if TYPE_CHECKING:
    from numpy.typing import NDArray


ROUNDS = 100  # of LogME's fixed point, which needs a handful
PENALTY = 0.01  # C of the probe, the inverse of the strength
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
    values = np.asarray(features, np.float64)
    values = values - values.mean(axis=0)
    classes = np.unique(labels)
    if len(classes) < 2:
        return float("nan")
    covariance, shrinkage = _shrunk(values)
    means = np.zeros_like(values)
    for one in classes:
        means[labels == one] = values[labels == one].mean(axis=0)
    between = means.T @ means / len(values)
    return float((1 - shrinkage) * np.trace(np.linalg.lstsq(covariance, between, rcond=None)[0]))


def _shrunk(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """The covariance [d, d] of centred values [n, d], drawn towards the unit matrix times its mean variance, and by how
    much (Ledoit et al. 2004, section 3.3)."""
    count, width = values.shape
    sample = values.T @ values / count
    middle = float(np.trace(sample)) / width
    distance = float(np.square(sample).sum()) - width * middle**2
    scatter = (
        float(np.square(np.square(values).sum(axis=1)).sum()) / count - float(np.square(sample).sum())
    ) / count
    shrinkage = min(1.0, max(0.0, scatter / distance)) if distance > 0 else 1.0
    shrunk = (1 - shrinkage) * sample
    shrunk[np.diag_indices(width)] += shrinkage * middle
    return shrunk, shrinkage


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

    The penalty is that of C = 0.01 in scikit-learn's terms, folds are drawn as splits are. Of more than two classes the
    macro mean of one-vs-rest AUROCs over the classes that are defined. The interval resamples groups.
    """
    nothing = Probe(float("nan"), float("nan"), float("nan"), 0)
    classes, codes = np.unique(labels, return_inverse=True)
    if len(classes) < 2 or len(np.unique(groups)) < folds:
        return nothing
    names, place = np.unique(groups.astype(str), return_inverse=True)
    counts = np.zeros((len(names), len(classes) + 1), np.int64)
    np.add.at(counts, (place, codes), 1)
    counts[:, -1] = counts[:, :-1].sum(axis=1)
    fold = allot(names.tolist(), counts, np.full(folds, 1 / folds), seed)[place]
    scores = np.full((len(codes), len(classes)), np.nan)
    for each in range(folds):
        held = fold == each
        if not held.any() or len(np.unique(codes[~held])) < len(classes):
            return nothing
        scores[held] = _probed(features[~held], codes[~held], features[held], len(classes))

    def macro(rows: NDArray[np.integer]) -> float:
        ones = range(1, 2) if len(classes) == 2 else range(len(classes))
        found = [auroc(codes[rows] == one, scores[rows, one]) for one in ones]
        known = [float(each) for each in found if np.isfinite(float(each))]
        return float(np.mean(known)) if known else float("nan")

    members = [np.flatnonzero(place == each) for each in range(len(names))]
    generator = np.random.Generator(np.random.Philox(seed))
    drawn = [
        macro(np.concatenate([members[each] for each in generator.integers(len(names), size=len(names))]))
        for _ in range(200)
    ]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Probe(macro(np.arange(len(codes))), float(low), float(high), folds)


def _probed(
    features: NDArray[np.floating], codes: NDArray[np.integer], held: NDArray[np.floating], classes: int
) -> NDArray[np.float64]:
    """Scores [n, classes] of held-out features by a head that is solved on the others."""
    truth = torch.from_numpy(np.asarray(codes, np.int64))
    head = LinearHead(features.shape[1], classes)
    # with two classes both columns have the penalty, each half of what a single one would have
    decay = (2 if classes == 2 else 1) / (PENALTY * len(codes))
    solve(
        head,
        features,
        truth,
        lambda logits, wanted: F.cross_entropy(logits, wanted, reduction="none"),
        decay=decay,
    )
    with torch.inference_mode():
        logits = head.eval()(torch.from_numpy(np.asarray(held, np.float32)))
        found: NDArray[np.float64] = logits.double().softmax(dim=1).numpy()
    return found
