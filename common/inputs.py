"""What a network must be fed: a batch that breaks the contract is refused, before it passes for a weak result."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from graftwork.common.errors import UsageError

__all__ = ["check_inputs"]

SLACK = 0.02  # of the full range, by which interpolation may overshoot


def check_inputs(inputs: Tensor, *, mean: Sequence[float], std: Sequence[float], size: int) -> None:
    """See that a batch of pictures is what normalisation with `mean` and `std` makes of values in 0..1.

    Layout, number of channels, size and type; finite values; per channel the range that values in 0..1 can reach,
    which tells pictures that were never scaled or were normalised with other numbers or in another order of
    channels, where these differ; and pictures of a single value.

    Args:
        inputs: [B, C, size, size], floating.

    Raises:
        UsageError: says what was expected, what was found and what to do.
    """
    channels = len(mean)
    where = "the network's input"
    if inputs.ndim == 4 and inputs.shape[-1] == channels and inputs.shape[1] != channels:
        raise UsageError(
            f"channels stand last in {list(inputs.shape)}", where=where, remedy="bring them to [B, C, H, W]"
        )
    if (
        inputs.ndim != 4
        or tuple(inputs.shape[1:]) != (channels, size, size)
        or not inputs.is_floating_point()
    ):
        raise UsageError(
            f"expected floating [B, {channels}, {size}, {size}], found {inputs.dtype} {list(inputs.shape)}",
            where=where,
            remedy="use the preprocessing that was stored with the run",
        )
    low, high = inputs.amin(dim=(0, 2, 3)).tolist(), inputs.amax(dim=(0, 2, 3)).tolist()
    for channel in range(channels):
        least, most = (-mean[channel] / std[channel]), ((1 - mean[channel]) / std[channel])
        slack = SLACK / std[channel]
        if not (least - slack <= low[channel] <= high[channel] <= most + slack):
            raise UsageError(
                f"channel {channel + 1} holds {low[channel]:.3g} to {high[channel]:.3g}, and pictures in 0..1 "
                f"normalised with mean {mean[channel]:g} and deviation {std[channel]:g} hold {least:.3g} to {most:.3g}",
                where=where,
                remedy="scale pixels to 0..1 first, normalise once, with these numbers in the order of the channels",
            )
    flat = inputs.flatten(2)
    if len(inputs) and bool((flat.amin(dim=2) == flat.amax(dim=2)).all()):
        raise UsageError(
            "every picture of the batch is of one value",
            where=where,
            remedy="look at the files: are they empty?",
        )
