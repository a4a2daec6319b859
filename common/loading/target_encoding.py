"""Targets as numbers: encoding, the loss of each case, and the scores of a prediction.

A binary target is a multi-class one of two classes: one path for both, and two score columns that sum to one. An
ordinal target of K classes is K - 1 questions, "more than this class?" (Frank and Hall 2001), all answered by one
network (Niu et al. 2016). Several targets lie side by side, in the outputs, in the scores and in the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from graftwork.common.data.targets import Target

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


UNKNOWN = -1  # the code of a missing class label; it is never counted as negative
UNKNOWN_MASK = 255  # the class of every pixel of a case without a mask


def outputs(targets: Sequence[Target]) -> int:
    """How many numbers a classifier of these targets puts out for a case."""
    return sum(target.outputs for target in targets)


def encode(targets: Sequence[Target], frame: pd.DataFrame) -> NDArray[np.int64] | NDArray[np.float32]:
    """The target columns of a manifest's frame as an array.

    Returns:
        one target of exclusive classes (binary, multi-class, ordinal): int64 [n], the index of the class, -1 where
        unknown; one multi-label target: float32 [n, classes], 1, 0 or NaN where unknown; several targets: float32
        [n, columns], side by side, exclusive classes in one column each, NaN where unknown.
    """
    each = [_encoded(target, frame) for target in targets]
    return each[0] if len(each) == 1 else np.concatenate([_column(codes) for codes in each], axis=1)


def _encoded(target: Target, frame: pd.DataFrame) -> NDArray[np.int64] | NDArray[np.float32]:
    if target.kind == "multi-label":
        return frame[list(target.columns)].to_numpy(dtype=np.float32, na_value=np.nan, copy=True)
    code = {name: index for index, name in enumerate(target.classes)}
    return np.array(frame[target.columns[0]].map(code).fillna(UNKNOWN), np.int64)


def _column(codes: NDArray[Any]) -> NDArray[np.float32]:
    if codes.ndim == 2:
        return codes.astype(np.float32)
    return np.where(codes == UNKNOWN, np.nan, codes).astype(np.float32)[:, None]


def losses(
    targets: Sequence[Target],
    logits: Tensor,
    truth: Tensor,
    *,
    weights: Sequence[Tensor] | None = None,
    smoothing: float = 0.0,
    other: Tensor | None = None,
    share: Tensor | None = None,
) -> Tensor:
    """The loss of each case: the mean over its targets, each zero where its label is unknown.

    A class weight is a weight of the case (multi-label: of the case's label), taken from its true class. It multiplies
    the whole cross-entropy of the smoothed or mixed label, so it never changes the scores at which the loss of a case
    is lowest.

    Args:
        logits: [B, outputs].
        truth: as `encode` gives it.
        weights: for each target [classes], a factor for each class (exclusive) or each positive (multi-label).
        smoothing: label smoothing in 0..1 (Szegedy et al. 2016, section 7).
        other: of cases that are mixed (mixup, cutmix) the truth of the partner, as `truth`.
        share: with `other`, [B] in 0..1: the share of `truth` in the mixed label. The weight is mixed in the same
            shares. An unknown label has no share.

    Returns:
        [B]; binary and multi-class: cross-entropy; multi-label and ordinal: the mean binary cross-entropy over
        known labels, over the questions.
    """
    if len(targets) == 1:
        weight = None if weights is None else weights[0]
        return _losses(targets[0], logits, truth, weight, smoothing, other, share)
    each, at, column = [], 0, 0
    for place, target in enumerate(targets):
        wide = target.kind == "multi-label"
        width = len(target.classes) if wide else 1
        own, partner = (_own(part, column, width, wide) for part in (truth, other))
        weight = None if weights is None else weights[place]
        assert own is not None
        part = logits[:, at : at + target.outputs]
        each.append(_losses(target, part, own, weight, smoothing, partner, share))
        at, column = at + target.outputs, column + width
    return torch.stack(each).mean(dim=0)


def _own(truth: Tensor | None, column: int, width: int, wide: bool) -> Tensor | None:
    """The columns of one target among those of several, as they are when it is the only one."""
    if truth is None:
        return None
    part = truth[:, column : column + width]
    return part if wide else torch.nan_to_num(part[:, 0], nan=float(UNKNOWN)).long()


def _losses(
    target: Target,
    logits: Tensor,
    truth: Tensor,
    weights: Tensor | None,
    smoothing: float,
    other: Tensor | None,
    share: Tensor | None,
) -> Tensor:
    each, known, factor = _questions(target, logits, truth, weights, smoothing)
    count = known.sum(dim=1).clamp(min=1)
    if other is None or share is None:
        return (each * known if factor is None else each * known * factor).sum(dim=1) / count
    each_other, known_other, factor_other = _questions(target, logits, other, weights, smoothing)
    count_other = known_other.sum(dim=1).clamp(min=1)
    if factor is None or factor_other is None:
        first, second = (each * known).sum(dim=1) / count, (each_other * known_other).sum(dim=1) / count_other
        return share * first + (1 - share) * second
    first = (share / count)[:, None] * known
    second = ((1 - share) / count_other)[:, None] * known_other
    least = torch.finfo(first.dtype).tiny
    weight = (first * factor + second * factor_other) / (first + second).clamp(min=least)
    return (weight * (first * each + second * each_other)).sum(dim=1)


def _questions(
    target: Target, logits: Tensor, truth: Tensor, weights: Tensor | None, smoothing: float
) -> tuple[Tensor, Tensor, Tensor | None]:
    """What is asked of each case, [B, labels] of multi-label, else [B, 1]: the loss without a weight, 1 where the label
    is known and 0 elsewhere, and the weight of the true class (None: no weights)."""
    if target.kind == "multi-label":
        known = ~torch.isnan(truth)
        given = torch.where(known, truth, torch.zeros_like(truth)).to(logits.dtype)
        wanted = given * (1 - smoothing) + smoothing / 2
        each = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        return each, known.to(each.dtype), None if weights is None else 1 + (weights - 1) * given
    if target.kind == "ordinal":
        steps = torch.arange(target.outputs, device=truth.device)
        wanted = (truth[:, None] > steps).to(logits.dtype) * (1 - smoothing) + smoothing / 2
        loss = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(dim=1)
    else:
        loss = F.cross_entropy(
            logits, truth, ignore_index=UNKNOWN, label_smoothing=smoothing, reduction="none"
        )
    factor = None if weights is None else weights[truth.clamp(min=0)][:, None]
    return loss[:, None], (truth != UNKNOWN).to(loss.dtype)[:, None], factor


def probabilities(targets: Sequence[Target], logits: Tensor) -> Tensor:
    """Logits [B, outputs] to scores in 0..1 [B, classes of all targets], in the order of their score columns.

    Softmax over exclusive classes, a sigmoid for each label. Of an ordinal target the probabilities of "more than
    this class" are made to fall by their running minimum; what each falls by is the score of its class, and the
    scores sum to 1.
    """
    found, at = [], 0
    for target in targets:
        found.append(_probabilities(target, logits[:, at : at + target.outputs]))
        at += target.outputs
    return torch.cat(found, dim=1)


def _probabilities(target: Target, logits: Tensor) -> Tensor:
    if target.kind == "multi-label":
        return logits.sigmoid()
    if target.kind != "ordinal":
        return logits.softmax(dim=1)
    more = torch.cummin(logits.sigmoid(), dim=1).values
    ends = torch.ones_like(more[:, :1])
    return torch.cat([ends, more], dim=1) - torch.cat([more, 0 * ends], dim=1)


def class_weights(
    targets: Sequence[Target],
    truth: NDArray[np.int64] | NDArray[np.float32],
    *,
    sampled: bool = False,
) -> tuple[NDArray[np.float32], ...]:
    """For each target weights [classes] that give each class the same total weight over the known cases of `truth`.

    Exclusive classes: n / (classes present * n of the class), the `balanced` heuristic of King and Zeng (2001);
    an absent class gets 0. Multi-label: negatives / positives of each label (a factor on its positives), 1 where there
    are no negatives or no positives.

    Args:
        sampled: cases are drawn such that each class of the first target comes equally often (balanced sampling): the
            weights then balance the cases as drawn, so those of the first target are 1.
    """
    mass = np.ones(len(truth))
    if sampled:
        codes = np.nan_to_num(truth if truth.ndim == 1 else truth[:, 0], nan=UNKNOWN)
        mass = _balanced(codes, len(targets[0].classes), mass)[codes.astype(np.int64)] * (codes != UNKNOWN)
    found, column = [], 0
    for target in targets:
        width = len(target.classes) if target.kind == "multi-label" else 1
        part = truth if len(targets) == 1 else truth[:, column : column + width]
        column += width
        if target.kind == "multi-label":
            positive, negative = mass @ (part == 1), mass @ (part == 0)
            both = (positive > 0) & (negative > 0)
            ratio = np.divide(negative, positive, out=np.ones_like(positive), where=both)
            found.append(ratio.astype(np.float32))
        else:
            codes = np.nan_to_num(part.ravel(), nan=UNKNOWN)
            found.append(_balanced(codes, len(target.classes), mass).astype(np.float32))
    return tuple(found)


def _balanced(codes: NDArray[Any], classes: int, mass: NDArray[np.float64]) -> NDArray[np.float64]:
    known = codes != UNKNOWN
    counts = np.bincount(codes[known].astype(np.int64), mass[known], minlength=classes)
    present = counts > 0
    weights = np.zeros(classes)
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights
