"""The contract of a network's input: each way of breaking it is named."""

from __future__ import annotations

import pytest
import torch

from graftwork.common.errors import UsageError
from graftwork.common.inputs import check_inputs

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pictures() -> torch.Tensor:
    raw = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    raw[:, :, 0, 0], raw[:, :, 0, 1] = 0.0, 1.0
    return raw


def normalised(raw: torch.Tensor, mean=MEAN, std=STD) -> torch.Tensor:  # type: ignore[no-untyped-def]
    return (raw - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


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
        (lambda: pictures() * 255, "holds 0 to 255"),
        (lambda: normalised(pictures() * 255), "channel 1 holds"),
        (lambda: normalised(normalised(pictures())), "channel 1 holds"),
        (lambda: normalised(pictures(), MEAN[::-1], STD[::-1]), "channel 1 holds"),
        (lambda: normalised(torch.full((2, 3, 16, 16), 0.5)), "of one value"),
        (lambda: normalised(pictures()).fill_(float("nan")), "channel 1 holds nan"),
    ],
)
def test_each_breach_is_named(broken, said: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match=said):
        check(broken())
