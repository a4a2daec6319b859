"""The moving average of weights: its numbers, what it leaves alone, and that it goes on where it stood."""

from __future__ import annotations

import pytest
import torch
from small_families import small_network
from torch import Tensor, nn

from graftwork.common.errors import RunError, UsageError
from graftwork.common.networks import lora
from graftwork.common.training.ema import Average


def bits(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Bit for bit: a negative zero is another number here."""
    return one.keys() == other.keys() and all(
        value.shape == other[name].shape
        and value.contiguous().numpy().tobytes() == other[name].contiguous().numpy().tobytes()
        for name, value in one.items()
    )


def step(network: nn.Module, seed: int, only: str = "") -> None:
    """Move the weights (and the statistics of norm layers), or those of which the name begins with `only`."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.state_dict(keep_vars=True).items():
            if name.startswith(only):
                if value.is_floating_point():
                    value.add_(torch.randn(value.shape, generator=generator))
                else:
                    value.add_(1)


def test_the_average_by_hand() -> None:
    network = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(1.0)
    average, wanted = Average(network, 0.5), 1.0
    for number, value in enumerate((2.0, -3.0, 0.5, 7.0, 7.0, 7.0, 1.0, 0.0, 4.0, 2.0)):
        with torch.no_grad():
            network.weight.fill_(value)
        average.update()
        decay = min(0.5, (1 + number) / (10 + number))  # 0.1, 2 / 11, 3 / 12 ... and 0.5 from the ninth on
        wanted = decay * wanted + (1 - decay) * value
        assert float(average.tensors()["weight"]) == pytest.approx(wanted, rel=1e-6)
    assert average.steps == 10


def test_statistics_are_averaged_and_counts_copied() -> None:
    network = nn.BatchNorm1d(3)
    average, mean = Average(network, 0.9), network.running_mean.clone()
    step(network, 0)
    average.update()
    found = average.tensors()
    torch.testing.assert_close(found["running_mean"], 0.1 * mean + 0.9 * network.running_mean)
    assert found["num_batches_tracked"] == network.num_batches_tracked == 1


def test_swapped_and_back_bit_for_bit() -> None:
    network = small_network("resnet").to(memory_format=torch.channels_last)
    average = Average(network, 0.9)
    for seed in range(3):
        step(network, seed)
        average.update()
    own, held = bits(network), {name: value.clone() for name, value in average.tensors().items()}
    places = {name: value.data_ptr() for name, value in network.state_dict().items()}
    with average.swapped():
        assert same(bits(network), held)
    assert same(bits(network), own) and same(average.tensors(), held)
    with pytest.raises(KeyError), average.swapped():
        raise KeyError
    assert same(bits(network), own) and same(average.tensors(), held)
    assert places == {name: value.data_ptr() for name, value in network.state_dict().items()}


def test_what_does_not_move_stays_bit_for_bit() -> None:
    network = small_network("efficientnet")
    with torch.no_grad():
        network.backbone.network.conv_stem.weight[0].fill_(-0.0)
    average, before = Average(network, 0.99), bits(network)
    for seed in range(5):
        step(network, seed, only="head.")
        average.update()
    found = average.tensors()
    frozen = {name: value for name, value in before.items() if not name.startswith("head.")}
    assert frozen and same({name: found[name] for name in frozen}, frozen)
    assert not torch.equal(found["head.linear.weight"], before["head.linear.weight"])

    for seed in range(5):  # other weights learn from now on
        step(network, seed)
        average.update()
    assert not any(torch.equal(found[name], value) for name, value in before.items())


def test_resumed_byte_identical() -> None:
    def begun() -> tuple[nn.Module, Average]:
        network = small_network("resnet").to(memory_format=torch.channels_last)
        return network, Average(network, 0.95)

    network, average = begun()
    for seed in range(20):
        step(network, seed)
        average.update()
        if seed == 7:
            kept = (
                bits(network),
                {n: v.clone().contiguous() for n, v in average.tensors().items()},
                average.steps,
            )
    again, resumed = begun()
    again.load_state_dict(kept[0])
    resumed.load(kept[1], kept[2])
    for seed in range(8, 20):
        step(again, seed)
        resumed.update()
    assert same(resumed.tensors(), average.tensors()) and resumed.steps == average.steps == 20
    layouts = {name: value.stride() for name, value in network.state_dict().items()}
    assert {name: value.stride() for name, value in resumed.tensors().items()} == layouts


def test_shared_and_parametrized_tensors() -> None:
    network = small_network("vit")
    lora.insert(network, 2, 2.0, 0)
    network.twin = network.head.linear
    average = Average(network, 0.9)
    step(network, 0)
    average.update()
    own = bits(network)
    with average.swapped():
        assert not torch.equal(network.twin.weight, own["head.linear.weight"])
        assert torch.equal(network.twin.weight, average._network.head.linear.weight)
        lora.merged_state(network)
    assert same(bits(network), own)


def test_no_gradient_is_kept() -> None:
    network = nn.Linear(2, 2)
    average = Average(network, 0.9)
    network(torch.ones(1, 2)).sum().backward()
    average.update()
    with average.swapped():
        assert network.weight.requires_grad and network.weight.grad is not None
    assert not any(value.requires_grad for value in average.tensors().values())


def test_what_cannot_be_is_refused() -> None:
    for decay in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(UsageError, match=r"between 0 and 1"):
            Average(nn.Linear(2, 2), decay)
    average = Average(nn.Linear(2, 2), 0.9)
    good = average.tensors()
    for wrong in ({}, {**good, "more": good["bias"]}, {**good, "bias": torch.zeros(3)}):
        with pytest.raises(RunError, match="not one of this network"):
            average.load(wrong, 3)
    assert average.steps == 0
