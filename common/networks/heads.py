"""Heads of backbones: pooled features in, logits out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graftwork.common.errors import UsageError


class LinearHead(nn.Module):
    """Dropout and one affine layer.

    Args:
        width: number of features a case, `Backbone.width`.
        outputs: number of logits a case.
        dropout: probability in [0, 1) with which a feature is zeroed in training mode.
        seed: of the initial weights, drawn from a generator of its own; the global one is not touched.

    The weights begin as normal(0, 0.01), the bias as 0: the first probabilities are close to even, and the
    first gradients that reach an open backbone small.

    Raises:
        UsageError: a number is out of its range.
    """

    def __init__(self, width: int, outputs: int, dropout: float = 0.0, seed: int = 0) -> None:
        super().__init__()
        if width < 1 or outputs < 1:
            raise UsageError(
                f"a head needs at least one feature and one output, not {width} and {outputs}", where="head"
            )
        if not 0.0 <= dropout < 1.0:
            raise UsageError(f"dropout is a probability in [0, 1), not {dropout}", where="training.dropout")
        self.width = width
        self.outputs = outputs
        self.dropout = nn.Dropout(dropout)
        # made on the meta device, because nn.Linear would draw from the global generator
        self.linear = nn.Linear(width, outputs, device="meta").to_empty(device="cpu")
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.linear.weight.normal_(0.0, 0.01, generator=generator)
            self.linear.bias.zero_()

    def forward(self, features: Tensor) -> Tensor:
        """Logits [B, outputs] of pooled features [B, width]."""
        logits: Tensor = self.linear(self.dropout(features))
        return logits
