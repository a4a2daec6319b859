"""The contract of a network's input: each way of breaking it is named."""

from __future__ import annotations

import pytest
import torch

from graftwork.common.errors import UsageError
from graftwork.common.networks.input_checks import check_inputs

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pictures() -> torch.Tensor:
    raw = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    raw[:, :, 0, 0], raw[:, :, 0, 1] = 0.0, 1.0
    return raw


def normalised(raw: torch.Tensor, mean=MEAN, std=STD) -> torch.Tensor:  # type: ignore[no-untyped-def]
    return (raw - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


def one_pixel(value: float) -> torch.Tensor:
    inputs = normalised(pictures())
    inputs[3, 2, 5, 7] = value
    return inputs


def check(inputs: torch.Tensor) -> None:
    check_inputs(inputs, mean=MEAN, std=STD, size=16)


def test_what_preprocessing_gives_is_taken() -> None:
    check(normalised(pictures()))
    check(normalised(pictures().mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)))


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda: normalised(pictures()).permute(0, 2, 3, 1), "channels stand last"),
        (lambda: normalised(pictures())[:, :1], "expected floating"),
        (lambda: normalised(pictures())[..., :8], "expected floating"),
        (lambda: (pictures() * 255).to(torch.uint8), "expected floating"),
        (lambda: normalised(pictures()).to(torch.int32), "divide|Divide"),
        (lambda: pictures() * 255, "holds 0 to 255.*8 bits a channel.*[Dd]ivide by 255"),
        (lambda: pictures() * 65535, "16 bits a channel.*[Dd]ivide by 65535"),
        (lambda: pictures(), "scaled, and not normalised"),
        (lambda: normalised(pictures() * 255), "channel 1 holds.*without being scaled"),
        (lambda: normalised(normalised(pictures())), "channel 1 holds.*normalised twice"),
        (lambda: normalised(pictures(), MEAN[::-1], STD[::-1]), r"channel 1 holds.*\(BGR\)"),
        (lambda: normalised(pictures()) * 1e6, "channel 1 holds"),
        (lambda: normalised(torch.full((2, 3, 16, 16), 0.5)), "of one value"),
        (lambda: normalised(torch.zeros(2, 3, 16, 16)), "of one value"),
        (lambda: normalised(pictures()).fill_(float("nan")), "channel 1 holds nan"),
        (lambda: one_pixel(3.0), "channel 3 holds .* to 3,"),
        (lambda: one_pixel(float("nan")), "channel 3 holds nan.*finite"),
        (lambda: one_pixel(float("inf")), "channel 3 holds .* to inf.*finite"),
    ],
)
def test_each_breach_is_named(broken, said: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match=said):
        check(broken())


def test_pictures_normalised_for_other_weights_are_told_by_name() -> None:
    half = (0.5,) * 3
    with pytest.raises(UsageError, match="with ImageNet's mean and deviation"):
        check_inputs(normalised(pictures()), mean=half, std=half, size=16)
    with pytest.raises(UsageError, match="normalised twice"):
        check_inputs(normalised(normalised(pictures(), half, half), half, half), mean=half, std=half, size=16)


def test_dull_dark_and_bright_pictures_grey_ones_and_an_empty_batch_are_taken() -> None:
    half = (0.5,) * 3
    for low, high in ((0.0, 0.1), (0.9, 1.0), (0.45, 0.55), (0.51, 1.0)):
        raw = low + (high - low) * pictures()
        check(normalised(raw))
        check_inputs(normalised(raw, half, half), mean=half, std=half, size=16)
    one = normalised(pictures())[:, :1]
    check_inputs(one, mean=MEAN[:1], std=STD[:1], size=16)
    check(normalised(pictures())[:0])
    mixed = normalised(pictures())
    mixed[0] = 0.3  # a single image of one value among others
    check(mixed)


def test_the_layout_in_memory_does_not_matter_and_nothing_is_changed() -> None:
    inputs = normalised(pictures()).to(memory_format=torch.channels_last)
    before = inputs.clone()
    check(inputs)
    assert torch.equal(inputs, before)
    with pytest.raises(UsageError, match=r"\(BGR\)"):
        check(normalised(pictures(), MEAN[::-1], STD[::-1]).to(memory_format=torch.channels_last))
