"""The training losses: per case, with class weights, label smoothing and mixed cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from graftwork.common.loading.target_encoding import UNKNOWN_MASK, class_weights, losses

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graftwork.common.data.targets import Target
    from graftwork.common.recipe.sections import TrainingSection


class Loss(Protocol):
    """Logits [B, outputs] and truth (see `target_encoding.encode`) to the loss of each case [B]; for mixed cases also
    the
    truth of the partner and the share [B] of the first truth."""

    def __call__(
        self, logits: Tensor, truth: Tensor, other: Tensor | None = None, share: Tensor | None = None, /
    ) -> Tensor: ...


def loss_for(
    targets: Sequence[Target], training: TrainingSection, truth: NDArray[Any], device: torch.device
) -> Loss:
    """The classification loss of a run.

    Args:
        truth: the encoded targets of the training part, from which balanced class weights come.
    """
    weights = None
    if training.class_weights == "balanced":
        found = class_weights(targets, truth, sampled=training.sampling == "balanced")
        weights = [torch.from_numpy(each).to(device) for each in found]

    def loss_of(
        logits: Tensor, wanted: Tensor, other: Tensor | None = None, share: Tensor | None = None
    ) -> Tensor:
        exact = (
            logits if logits.dtype == torch.float64 else logits.float()
        )  # a solved head uses double precision
        weighed = None if weights is None else [each.to(exact.dtype) for each in weights]
        return losses(
            targets, exact, wanted,
            weights=weighed, smoothing=training.label_smoothing, other=other, share=share,
        )  # fmt: skip

    return loss_of


def dice_loss(smoothing: float = 0.0) -> Loss:
    """The segmentation loss: one minus the soft Dice of the foreground classes, plus the cross-entropy of all classes.

    The Dice (Milletari et al. 2016) is computed by MONAI per case as the mean over its classes; the cross-entropy is
    the mean over pixels or voxels. The sum equals `monai.losses.DiceCELoss(include_background=False,
    to_onehot_y=True, softmax=True)`, for each case. A case without a mask has weight 0.

    Args:
        smoothing: label smoothing of the cross-entropy.

    Returns:
        logits [B, classes, *size] and classes [B, *size] to [B]; for [B, P, classes, *size] the mean over P patches.
        For
        mixed cases the losses of both masks, weighted by their shares.
    """
    from monai.losses.dice import DiceLoss

    dice = DiceLoss(include_background=False, to_onehot_y=True, softmax=True, reduction="none")

    def loss_of(
        logits: Tensor, truth: Tensor, other: Tensor | None = None, share: Tensor | None = None
    ) -> Tensor:
        if other is not None and share is not None:
            return share * loss_of(logits, truth) + (1 - share) * loss_of(logits, other)
        if logits.ndim == 6:  # patches of volumes
            each = loss_of(logits.flatten(0, 1), truth.flatten(0, 1))
            return each.reshape(logits.shape[:2]).mean(dim=1)
        logits, unknown = logits.float(), (truth == UNKNOWN_MASK).flatten(1).any(dim=1)
        wanted = torch.where(truth == UNKNOWN_MASK, 0, truth).long()
        overlap = dice(logits, wanted[:, None]).flatten(1).mean(dim=1)
        entropy = F.cross_entropy(logits, wanted, reduction="none", label_smoothing=smoothing)
        found: Tensor = (overlap + entropy.flatten(1).mean(dim=1)) * ~unknown
        return found

    return loss_of
