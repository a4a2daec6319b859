"""What is to be learned, as numbers: how a target is encoded, its loss for each case, and the scores of a prediction.

A binary target is a multi-class one of two classes: one path for both, and two score columns that sum to one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from graftwork.common.manifest import Target

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["class_weights", "encode", "losses", "probabilities"]

UNKNOWN = -1  # the code of a missing class label; it is never counted as negative


def encode(target: Target, frame: pd.DataFrame) -> NDArray[np.int64] | NDArray[np.float32]:
    """The target columns of a manifest's frame as an array.

    Returns:
        binary and multi-class: int64 [n], the index of the class, -1 where unknown;
        multi-label: float32 [n, classes], 1, 0 or NaN where unknown.
    """
    if target.kind == "multi-label":
        return frame[list(target.columns)].to_numpy(dtype=np.float32, na_value=np.nan)
    code = {name: index for index, name in enumerate(target.classes)}
    return np.asarray(frame[target.columns[0]].map(code).fillna(UNKNOWN), np.int64)


def losses(
    target: Target, logits: Tensor, truth: Tensor, *, weights: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """The loss of each case, zero where its label is unknown.

    Args:
        logits: [B, classes].
        truth: as `encode` gives it.
        weights: [classes], a factor for each class (binary, multi-class) or each positive (multi-label).
        smoothing: label smoothing in 0..1 (Szegedy et al. 2016, section 7).

    Returns:
        [B]; binary and multi-class: cross-entropy; multi-label: the mean binary cross-entropy over known labels.
    """
    if target.kind != "multi-label":
        return F.cross_entropy(
            logits, truth, weight=weights, ignore_index=UNKNOWN, label_smoothing=smoothing, reduction="none"
        )
    known = ~torch.isnan(truth)
    wanted = torch.where(known, truth, torch.zeros_like(truth)) * (1 - smoothing) + smoothing / 2
    each = F.binary_cross_entropy_with_logits(logits, wanted, pos_weight=weights, reduction="none")
    return (each * known).sum(dim=1) / known.sum(dim=1).clamp(min=1)


def probabilities(target: Target, logits: Tensor) -> Tensor:
    """Logits [B, classes] to scores in 0..1: softmax over exclusive classes, else a sigmoid for each label."""
    return logits.sigmoid() if target.kind == "multi-label" else logits.softmax(dim=1)


def class_weights(target: Target, truth: NDArray[np.int64] | NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights [classes] that give each class the same total weight over the known cases of `truth`.

    Exclusive classes: n / (classes present * n of the class), the `balanced` heuristic of King and Zeng (2001);
    an absent class gets 0. Multi-label: negatives / positives of each label (a factor on its positives).
    """
    if target.kind == "multi-label":
        positive, negative = np.nansum(truth == 1, axis=0), np.nansum(truth == 0, axis=0)
        return np.asarray(negative / np.maximum(positive, 1), np.float32)
    counts = np.bincount(truth[truth != UNKNOWN].astype(np.int64), minlength=len(target.classes))
    present = counts > 0
    weights = np.zeros(len(target.classes))
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights.astype(np.float32)
