"""What a network must be fed: a batch that breaks the contract is refused, before it passes for a weak result."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from graftwork.common.errors import UsageError

if TYPE_CHECKING:
    from graftwork.common.networks.weights import WeightsRecord


SLACK = 0.02  # of the full range, by which interpolation may overshoot
WHERE = "the network's input"

Range = tuple[Sequence[float], Sequence[float]]  # least and greatest value of each channel

# Normalisations in wide use (timm.data.constants has the first two; the third is of Radford et al. 2021)
USUAL = {
    "ImageNet's": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "0.5": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "CLIP's": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}


def check_inputs(inputs: Tensor, *, mean: Sequence[float], std: Sequence[float], size: int) -> None:
    """See that a batch of images is what normalisation with `mean` and `std` makes of values in 0..1.

    Layout, number of channels, size and type; finite values; per channel the range that values in 0..1 can reach,
    which detects images that were never scaled, were normalised twice, with other numbers or in another order of
    channels, where these differ; images in 0..1 with black in them that were never normalised; and images of a
    single value. Values within the range are not checked: a dark image or one of low contrast may pass.

    Args:
        inputs: [B, C, size, size], floating; C as many as `mean` has.

    Raises:
        UsageError: says what was expected, what was found and what to do.
    """
    _check_form(inputs, len(mean), size)
    if not len(inputs):
        return
    each_low, each_high = inputs.amin(dim=(2, 3)), inputs.amax(dim=(2, 3))  # NaN, where there is one, is both
    low, high = each_low.amin(dim=0).tolist(), each_high.amax(dim=0).tolist()
    if not all(map(math.isfinite, (*low, *high))):
        channel = next(at for at in range(len(mean)) if not math.isfinite(low[at] + high[at]))
        raise UsageError(
            f"channel {channel + 1} holds {low[channel]:.3g} to {high[channel]:.3g}, which are not finite numbers",
            where=WHERE,
            remedy="look at the images and at what changes them: a division by 0, an overflow of float16",
        )
    expected = _reached(mean, std)
    wrong = [at for at in range(len(mean)) if not _within(low, high, expected, std, (at,))]
    if wrong:
        problem, remedy = _explained(low, high, mean, std)
        at = wrong[0]
        raise UsageError(
            f"channel {at + 1} holds {low[at]:.3g} to {high[at]:.3g}, and images in 0..1 normalised with mean "
            f"{mean[at]:g} and deviation {std[at]:g} hold {expected[0][at]:.3g} to {expected[1][at]:.3g}{problem}",
            where=WHERE,
            remedy=remedy,
        )
    if min(low) == 0 and max(high) <= 1 and max(expected[0]) < 0:
        raise UsageError(
            f"all values are in 0..1, the smallest is exactly 0, and black is {max(expected[0]):.3g} or less when it "
            f"is "
            "normalised: the images were scaled, and not normalised",
            where=WHERE,
            remedy=f"normalise with mean {_listed(mean)} and deviation {_listed(std)}",
        )
    if bool((each_low == each_high).all()):
        raise UsageError(
            "every image of the batch is of one value",
            where=WHERE,
            remedy="look at the files: are they empty?",
        )


def _check_form(inputs: Tensor, channels: int, size: int) -> None:
    if inputs.ndim == 4 and inputs.shape[-1] == channels and inputs.shape[1] != channels:
        raise UsageError(
            f"channels stand last in {list(inputs.shape)}",
            where=WHERE,
            remedy="bring them to [B, C, H, W]: permute(0, 3, 1, 2)",
        )
    fits = inputs.ndim == 4 and tuple(inputs.shape[1:]) == (channels, size, size)
    if not fits or not inputs.is_floating_point():
        whole = (
            "" if inputs.is_floating_point() else "divide by the greatest value of the type, normalise, and "
        )
        raise UsageError(
            f"expected floating [B, {channels}, {size}, {size}], found {inputs.dtype} {list(inputs.shape)}",
            where=WHERE,
            remedy=f"{whole}use the preprocessing that was stored with the run",
        )


def _reached(
    mean: Sequence[float], std: Sequence[float], start: Range | None = None, top: float = 1.0
) -> Range:
    """What normalisation makes of values from 0 to `top`, or of those in `start`."""
    channels = range(len(mean))
    least, most = start if start is not None else ([0.0] * len(mean), [top] * len(mean))
    return [(least[at] - mean[at]) / std[at] for at in channels], [
        (most[at] - mean[at]) / std[at] for at in channels
    ]


def _within(
    low: Sequence[float],
    high: Sequence[float],
    limits: Range,
    std: Sequence[float],
    channels: Sequence[int],
) -> bool:
    least, most = limits
    return all(
        least[at] - SLACK / std[at] <= low[at] and high[at] <= most[at] + SLACK / std[at] for at in channels
    )


def _explained(
    low: Sequence[float], high: Sequence[float], mean: Sequence[float], std: Sequence[float]
) -> tuple[str, str]:
    """What values that are out of range look like, and what to do about it."""
    every = range(len(mean))
    likely = [
        said for said, limits, spread in _mistakes(mean, std) if _within(low, high, limits, spread, every)
    ]
    if likely:
        return (
            f": they look like images that were normalised {' or '.join(likely)}",
            "scale pixels to 0..1, and normalise them once, with these numbers in the order of the channels",
        )
    if min(low) >= 0 and max(high) <= 65535:
        kind = "8" if max(high) <= 255 else "16"
        return (
            f": they look like images of {kind} bits a channel as they were read",
            f"divide by {2 ** int(kind) - 1}, and normalise",
        )
    if _within(low, high, _reached(mean, std, top=65535.0), std, every):
        return (
            ": they look like images that were normalised without being scaled to 0..1",
            "divide by the greatest value of the type (255 of 8 bits) before they are normalised",
        )
    return (
        "",
        "scale pixels to 0..1 first, and normalise once, with these numbers in the order of the channels",
    )


def _mistakes(mean: Sequence[float], std: Sequence[float]) -> Iterator[tuple[str, Range, Sequence[float]]]:
    """How images in 0..1 are normalised by mistake: in words, what it makes of them, by which deviation."""
    if list(mean) != list(mean[::-1]) or list(std) != list(std[::-1]):
        yield "with the channels in reverse order (BGR)", _reached(mean[::-1], std[::-1]), std[::-1]
    for name, (theirs, spread) in USUAL.items():
        if len(mean) == len(theirs) and _differ(theirs, mean, spread, std):
            yield f"with {name} mean and deviation", _reached(theirs, spread), spread
    yield "twice", _reached(mean, std, _reached(mean, std)), [each * each for each in std]


def _differ(
    mean: Sequence[float], other_mean: Sequence[float], std: Sequence[float], other_std: Sequence[float]
) -> bool:
    """Whether two normalisations are not the same to three digits, as people write them."""
    pairs = (*zip(mean, other_mean, strict=True), *zip(std, other_std, strict=True))
    return any(abs(one - other) > 1e-3 for one, other in pairs)


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def normalisation_fault(mean: Sequence[float], std: Sequence[float], record: WeightsRecord) -> str:
    """What is wrong with a normalisation for pretrained weights, in a sentence; "" where it is theirs.

    Compared with what the card of the weights (or their package, or the hub) says, to three digits; where nobody
    said, as of a file without a card, nothing is wrong.

    Args:
        mean, std: of the recipe or of a preprocessing, one number a channel; () where it leaves them open.
    """
    said_mean, said_std = record.said_mean or record.mean, record.said_std or record.std
    mean, std = mean or said_mean, std or said_std
    if not said_mean or (len(mean) == len(said_mean) and not _differ(mean, said_mean, std, said_std)):
        return ""
    return (
        f"images are normalised with mean {_listed(mean)} and deviation {_listed(std)}, and the weights "
        f"({record.origin}) were trained on images normalised with mean {_listed(said_mean)} and deviation "
        f"{_listed(said_std)}"
    )
