"""Low-rank updates: where they stand, that a network begins unchanged, and that merging leaves what it computed."""

from __future__ import annotations

import copy

import pytest
import torch
from small_families import FAMILIES, small_backbone, small_network
from torch import Tensor, nn
from torch.nn.utils import parametrize

from graftwork.common.errors import UsageError
from graftwork.common.networks import lora
from graftwork.common.networks.network import Network
from graftwork.common.networks.stages import HEAD
from graftwork.common.networks.unets import Segmenter, VolumeSegmenter


def layout(name: str, seed: int = 0) -> tuple[Network, Tensor]:
    network = small_network(name, seed=seed).eval().to(memory_format=torch.channels_last)
    side = FAMILIES[name][2]
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    return network, images.contiguous(memory_format=torch.channels_last)


def outcome(network: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = network.eval()(inputs)
    return found


def bits(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def learn(network: nn.Module, inputs: Tensor, steps: int = 3) -> None:
    """Steps on the updates alone, large enough that they are seen."""
    network.eval()
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(lora.is_adapter(name))
    optimizer = torch.optim.Adam(lora.adapter_parameters(network).values(), lr=1e-2)
    for _ in range(steps):
        network(inputs).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("family", list(FAMILIES))
def test_begin_unchanged_learn_alone_and_merge(family: str) -> None:
    network, images = layout(family)
    before, first = bits(network), outcome(network, images)
    strides = {name: value.stride() for name, value in network.state_dict().items()}
    stages = {name: network.stage_of(name) for name in before}
    torch.manual_seed(7)
    drawn = torch.get_rng_state()

    names = lora.insert(network, rank=4, alpha=8.0, seed=0)

    assert torch.equal(torch.get_rng_state(), drawn)
    assert torch.equal(outcome(network, images), first)
    assert names and all(name.startswith("backbone.") for name in names)
    updates = lora.adapter_parameters(network)
    assert len(updates) == 2 * len(names)
    for name in network.state_dict():  # each tensor, old or new, in the stage of its layer
        layer, parametrized, _ = name.partition(".parametrizations.weight.")
        assert network.stage_of(name) == stages[f"{layer}.weight" if parametrized else name]

    learn(network, images)
    originals = {
        name.replace(".parametrizations.weight.original", ".weight"): value
        for name, value in network.state_dict().items()
        if not lora.is_adapter(name)
    }
    assert originals.keys() == before.keys()
    assert all(torch.equal(originals[name], value) for name, value in before.items())
    for name, update in updates.items():
        assert update.abs().sum() > 0, name
    learned = outcome(network, images)
    assert not torch.allclose(learned, first, atol=1e-4)

    merged = lora.merged_state(network)
    assert list(merged) == list(before)
    assert torch.equal(outcome(network, images), learned)  # not touched
    plain, _ = layout(family, seed=1)
    plain.load_state_dict(merged, strict=True)
    torch.testing.assert_close(outcome(plain, images), learned, atol=1e-5, rtol=1e-5)

    held = dict(network.named_parameters())
    lora.merge(network)
    assert list(network.state_dict()) == list(before)
    assert {name: value.stride() for name, value in network.state_dict().items()} == strides
    assert all(torch.equal(value, merged[name]) for name, value in network.state_dict().items())
    assert not any(parametrize.is_parametrized(module) for module in network.modules())
    torch.testing.assert_close(outcome(network, images), learned, atol=1e-5, rtol=1e-5)
    for name, parameter in network.named_parameters():  # an optimiser that holds a parameter still does
        assert parameter is held.get(
            name, held.get(name.replace(".weight", ".parametrizations.weight.original"))
        )


def test_updates_stand_on_attention_where_there_is_any() -> None:
    def chosen(family: str) -> set[str]:
        return {name.rpartition(".")[2] for name in lora.insert(layout(family)[0], 2, 2.0, 0)}

    assert chosen("vit") == {"proj", "qkv"}  # the projection of patches is called proj, too
    assert chosen("swin") == {"proj", "qkv"}  # the reductions between stages are no attention
    assert chosen("eva02") == {"proj", "qkv"}
    assert {"fc1", "fc2"} <= chosen("convnext")  # no attention: every linear layer
    network, _ = layout("maxvit")
    inside = {name for name in lora.insert(network, 2, 2.0, 0) if ".attn_" in name}
    assert inside and not any(".mlp." in name for name in inside)  # of a block called attention


def test_depthwise_convolutions_have_no_update() -> None:
    network, _ = layout("efficientnet")
    convolutions = {
        name: each for name, each in network.backbone.named_modules() if isinstance(each, nn.Conv2d)
    }
    names = {name.removeprefix("backbone.") for name in lora.insert(network, 4, 4.0, 0)}
    assert names == {name for name, each in convolutions.items() if each.groups == 1}
    assert names < set(convolutions)


def test_rank_is_what_the_weight_can_have_and_the_scale_what_was_asked() -> None:
    network, _ = layout("resnet")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    names = lora.insert(network, rank=10**6, alpha=2.0, seed=0)
    for name in names:
        held = network.get_submodule(name).parametrizations.weight
        a, b = held[0].lora_a, held[0].lora_b
        assert a.shape[0] == b.shape[1] == min(len(held.original), held.original[0].numel())
    name = names[0]
    module = network.get_submodule(name)
    update = module.parametrizations.weight[0]
    with torch.no_grad():
        update.lora_b.normal_(generator=torch.Generator().manual_seed(0))
    wanted = before[f"{name}.weight"] + 2.0 / 10**6 * (update.lora_b @ update.lora_a).view_as(module.weight)
    torch.testing.assert_close(module.weight, wanted)


def test_the_update_is_computed_in_full_precision_under_autocast() -> None:
    network, images = layout("resnet")
    names = lora.insert(network, 4, 8.0, 0)
    learn(network, images)
    module = network.get_submodule(names[-1])
    plain = module.weight
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(module.weight, plain)


def test_the_seed_decides_the_beginning() -> None:
    def factors(seed: int) -> dict[str, Tensor]:
        network, _ = layout("vit")
        lora.insert(network, 4, 8.0, seed)
        return lora.adapter_parameters(network)

    one, same, other = factors(1), factors(1), factors(2)
    assert all(torch.equal(one[name], same[name]) for name in one)
    first = [name for name in one if name.endswith("lora_a")]
    assert not any(torch.equal(one[name], other[name]) for name in first)
    assert len({float(one[name].sum()) for name in first}) == len(first)  # nor are two layers alike


@pytest.mark.parametrize("family", ["efficientnet", "vit"])
def test_state_goes_round_unmerged(family: str) -> None:
    network, images = layout(family)
    lora.insert(network, 4, 8.0, 0)
    learn(network, images)
    again, _ = layout(family, seed=1)
    lora.insert(again, 4, 8.0, 1)
    again.load_state_dict(bits(network), strict=True)
    assert torch.equal(outcome(again, images), outcome(network, images))


def test_a_copy_is_merged_alone() -> None:
    network, images = layout("vit")
    lora.insert(network, 4, 8.0, 0)
    learn(network, images)
    learned, state = outcome(network, images), bits(network)
    twin = copy.deepcopy(network)
    assert torch.equal(outcome(twin, images), learned)
    lora.merge(twin)
    torch.testing.assert_close(outcome(twin, images), learned, atol=1e-5, rtol=1e-5)
    assert torch.equal(outcome(network, images), learned)
    assert network.state_dict().keys() == state.keys()


def test_merged_state_does_not_trust_cached_readings() -> None:
    network, images = layout("vit")
    lora.insert(network, 4, 8.0, 0)
    with parametrize.cached():
        outcome(network, images)
        with torch.no_grad():
            for update in lora.adapter_parameters(network).values():
                update.add_(0.1)
        merged = lora.merged_state(network)
    lora.merge(network)
    assert all(torch.equal(value, merged[name]) for name, value in network.state_dict().items())


def test_networks_that_outline() -> None:
    pictures = Segmenter(small_backbone("efficientnet"), outputs=2, width=4).eval()
    volumes = VolumeSegmenter(outputs=2, width=4, patch=(32, 32, 32)).eval()
    for network, inputs in ((pictures, torch.randn(1, 3, 32, 32)), (volumes, torch.randn(1, 1, 32, 32, 32))):
        first, keys = outcome(network, inputs), list(network.state_dict())
        lora.insert(network, 4, 8.0, 0)
        assert torch.equal(outcome(network, inputs), first)
        assert HEAD not in {network.stage_of(name) for name in lora.adapter_parameters(network)}
        learn(network, inputs, steps=2)
        learned = outcome(network, inputs)
        lora.merge(network)
        assert list(network.state_dict()) == keys
        torch.testing.assert_close(outcome(network, inputs), learned, atol=1e-5, rtol=1e-5)


def test_a_network_without_updates_is_left_alone() -> None:
    network, _ = layout("vit")
    before = bits(network)
    lora.merge(network)
    assert list(lora.merged_state(network)) == list(before) == list(network.state_dict())
    assert not lora.adapter_parameters(network)
    assert not any(lora.is_adapter(name) for name in before)


def test_what_cannot_be_is_refused() -> None:
    network, _ = layout("vit")
    with pytest.raises(UsageError, match="rank of at least 1"):
        lora.insert(network, 0, 1.0, 0)
    for alpha in (0.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="above 0"):
            lora.insert(network, 1, alpha, 0)
    lora.insert(network, 1, 1.0, 0)
    with pytest.raises(UsageError, match="already"):
        lora.insert(network, 1, 1.0, 0)
    bare, _ = layout("resnet")
    bare.backbone.network = nn.BatchNorm2d(3)
    with pytest.raises(UsageError, match="neither linear layers nor"):
        lora.insert(bare, 1, 1.0, 0)
