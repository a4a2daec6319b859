"""EMA: exponentially averaged weights, which are evaluated and saved instead of the raw ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from graftwork.common.errors import RunError, UsageError


class Average:
    """EMA of all weights and buffers of a network (Polyak and Juditsky 1992).

    After step n, counted from 0, the average becomes d * average + (1 - d) * weight with d = min(decay, (1 + n) /
    (10 + n)), the warm-up of TensorFlow's `tf.train.ExponentialMovingAverage`. Statistics of norm layers, and whatever
    else is a fraction, are averaged in the same way; whole numbers are copied. What does not move stays as it is, bit
    for bit.

    Args:
        network: on its device, with all of its parameters; it is held, and one copy of its values.
        decay: in (0, 1); about 1 / (1 - decay) steps are averaged over.

    Attributes:
        steps: updates so far.

    Raises:
        UsageError: the decay is out of its range.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        if not 0.0 < decay < 1.0:
            raise UsageError(f"the EMA decay is {decay}, expected between 0 and 1", where="training.ema")
        self.decay = decay
        self.steps = 0
        self._network = network
        self._tensors = {name: value.detach().clone() for name, value in self._values()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in what the network holds now; to be called after each step of the optimiser."""
        share = 1.0 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, value in self._values():
            average = self._tensors[name]
            if average.is_floating_point():
                # of this order of terms, an unmoved value comes out as it went in, a negative zero too
                average.sub_(average - value, alpha=share)
            else:
                average.copy_(value)
        self.steps += 1

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Within this context the network holds the averages; after it, whatever happened, its own values again."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, value in self._values():
            average = self._tensors[name]
            own = value.clone()
            value.copy_(average)
            average.copy_(own)

    def tensors(self) -> dict[str, Tensor]:
        """The averages by the names of the network's `state_dict`: not copies, so the next update changes them."""
        return dict(self._tensors)

    def load(self, tensors: Mapping[str, Tensor], steps: int) -> None:
        """Go on from what `tensors` and `steps` once were.

        Raises:
            RunError: these are not the averages of such a network.
        """
        unfit = [
            name
            for name in {**self._tensors, **tensors}
            if name not in tensors
            or name not in self._tensors
            or tensors[name].shape != self._tensors[name].shape
        ]
        if unfit:
            raise RunError(
                f"the saved average is not one of this network: {', '.join(unfit[:5])} ({len(unfit)} tensors)",
                where="training.ema",
                remedy="begin a new run with --out elsewhere",
            )
        for name, average in self._tensors.items():
            average.copy_(tensors[name])
        self.steps = steps

    def _values(self) -> Iterator[tuple[str, Tensor]]:
        """What the network holds, each tensor once, though two layers share it."""
        met = set()
        for name, value in self._network.state_dict(keep_vars=True).items():
            if id(value) not in met:
                met.add(id(value))
                yield name, value
