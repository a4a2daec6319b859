"""Two cases mixed into one: mixup and cutmix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from graftwork.common.errors import UsageError
from graftwork.common.seeds import seed_of


@dataclass(frozen=True)
class Mixed:
    """A mixed batch, of which the loss of a case is share * loss(truth) + (1 - share) * loss(other).

    Of a cross-entropy that is the loss of the mixed label (Yun et al. 2019, equation 1). As each truth keeps a term of
    its own, it works for every kind of target, and an unknown label weighs nothing in its own term alone. A class
    weight multiplies the whole, see `tasks.losses`.

    Attributes:
        inputs: as given, mixed.
        truth, other: of each case and of its partner, [B, ...].
        share: [B], in 0..1: the weight of `truth`.
    """

    inputs: Tensor
    truth: Tensor
    other: Tensor
    share: Tensor


class Mixing:
    """Mixes each case of a batch with a partner, another one of the batch or itself.

    mixup (Zhang et al. 2018) blends the inputs of both; cutmix (Yun et al. 2019) pastes a rectangle of the partner's
    image. As in both papers, one share is drawn for a batch, and one rectangle. All draws come from (seed, epoch,
    step, part).

    Args:
        mixup, cutmix: alpha of the share's distribution Beta(alpha, alpha); 0 switches off. With both on, a fair coin
            chooses one for each batch.
        seed: of the run.

    Raises:
        UsageError: an alpha is below 0.
    """

    def __init__(self, mixup: float, cutmix: float, seed: int) -> None:
        for name, alpha in (("mixup", mixup), ("cutmix", cutmix)):
            if not 0.0 <= alpha < float("inf"):
                raise UsageError(f"alpha is 0 or more, not {alpha}", where=f"training.{name}")
        self.mixup, self.cutmix, self.seed = mixup, cutmix, seed

    def __call__(self, inputs: Tensor, truth: Tensor, *, epoch: int, step: int, part: int) -> Mixed:
        """Mix a batch; a batch of one is returned as it is. Neither argument is changed.

        Args:
            inputs: [B, C, H, W]; for mixup alone of any shape [B, ...].
            truth: [B, ...]; classes [B, H, W] of segmented images are cut and pasted with the image, and `share`
                is then 1.
            part: number of the batch within its step.

        Raises:
            UsageError: cutmix of what is not images.
        """
        if self.cutmix and (inputs.ndim != 4 or (truth.ndim == 3 and truth.shape[1:] != inputs.shape[2:])):
            raise UsageError(
                f"cutmix cuts images [B, C, H, W] and their masks, not inputs {list(inputs.shape)} with targets "
                f"{list(truth.shape)}",
                where="training.cutmix",
                remedy="set training.cutmix to 0; training.mixup works for all data",
            )
        share = torch.ones(len(inputs), device=inputs.device)
        if len(inputs) < 2 or not (self.mixup or self.cutmix):
            return Mixed(inputs, truth, truth, share)
        draw = np.random.default_rng(seed_of(self.seed, "mix", epoch, step, part))
        heads = draw.random() < 0.5
        partner = torch.from_numpy(draw.permutation(len(inputs)))
        theirs, other = inputs[partner.to(inputs.device)], truth[partner.to(truth.device)]
        mixed = inputs.clone()  # keeps the memory layout
        if self.mixup and (heads or not self.cutmix):
            kept = float(draw.beta(self.mixup, self.mixup))
            mixed.mul_(kept).add_(theirs, alpha=1.0 - kept)
            return Mixed(mixed, truth, other, share * kept)
        height, width = inputs.shape[2:]
        box = _rectangle(draw, float(draw.beta(self.cutmix, self.cutmix)), height, width)
        rows, columns = box
        mixed[..., rows, columns] = theirs[..., rows, columns]
        if truth.ndim == 3:
            pasted = truth.clone()
            pasted[..., rows, columns] = other[..., rows, columns]
            return Mixed(mixed, pasted, pasted, share)
        area = (rows.stop - rows.start) * (columns.stop - columns.start)
        return Mixed(mixed, truth, other, share * (1.0 - area / (height * width)))


def _rectangle(draw: np.random.Generator, kept: float, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of a rectangle of an image's shape, and of 1 - `kept` of its area where no edge cuts it off.

    Its middle is drawn uniformly (Yun et al. 2019, equation 2).
    """
    found = []
    for size in (height, width):
        side, middle = size * (1.0 - kept) ** 0.5, draw.uniform(0.0, size)
        start, stop = round(max(0.0, middle - side / 2)), round(min(float(size), middle + side / 2))
        found.append(slice(start, stop))
    return found[0], found[1]
