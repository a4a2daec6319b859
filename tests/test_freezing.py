"""What a strategy freezes stays bit-identical, buffers included; what it opens moves."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from graftwork.common.backbones import create_backbone
from graftwork.common.freezing import apply, backbone_is_fixed, open_parameters, trainability
from graftwork.common.heads import LinearHead
from graftwork.common.networks import HEAD, Network
from graftwork.common.segmenters import Segmenter, VolumeSegmenter

# one small network of each kind: batch norm, layer norm with drop-path, transformer
FAMILIES = ["test_efficientnet", "test_resnet", "test_convnext", "test_vit"]


def network(name: str) -> Network:
    backbone = create_backbone(name, weights=None, seed=0)
    for module in backbone.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.5
    return Network(backbone, LinearHead(backbone.width, 2, dropout=0.5, seed=0))


def bits(net: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}


def learn(net: Network, modes: dict, steps: int = 2) -> None:
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=0.1)
    torch.manual_seed(0)
    for _ in range(steps):
        apply(net, modes)
        images = torch.randn(4, 3, net.backbone.input_size, net.backbone.input_size)
        net(images).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        net.eval()  # a validation in between must undo nothing
        with torch.inference_mode():
            net(images)


@pytest.mark.parametrize("family", FAMILIES)
def test_linear_probe_holds_parameters_and_buffers_bit_identical(family: str) -> None:
    net = network(family)
    before = bits(net)
    learn(net, trainability("linear-probe", "hold", net.stages, epoch=1))
    after = bits(net)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"head.linear.weight", "head.linear.bias"}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("strategy", ["full", "scratch"])
def test_open_strategies_move_every_parameter(family: str, strategy: str) -> None:
    net = network(family)
    before = bits(net)
    learn(net, trainability(strategy, "train", net.stages, epoch=1), steps=3)
    still = [n for n, p in net.named_parameters() if p.requires_grad and torch.equal(before[n], p)]
    assert not still
    assert all(p.requires_grad for p in net.parameters())


@pytest.mark.parametrize("family", ["test_efficientnet", "test_resnet"])
def test_norm_policies(family: str) -> None:
    for policy in ("hold", "adapt", "train"):
        net = network(family)
        before = bits(net)
        learn(net, trainability("full", policy, net.stages, epoch=1))
        after = bits(net)
        norms = {n for n, m in net.named_modules() if isinstance(m, nn.BatchNorm2d)}
        statistics = {f"{n}.{key}" for n in norms for key in ("running_mean", "running_var")}
        affine = {f"{n}.{key}" for n in norms for key in ("weight", "bias")}
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        assert statistics <= moved if policy != "hold" else not statistics & moved
        assert affine <= moved if policy == "train" else not affine & moved


@pytest.mark.parametrize("family", FAMILIES)
def test_a_frozen_backbone_has_no_dropout_and_stays_so_after_train(family: str) -> None:
    net = network(family)
    modes = trainability("linear-probe", "hold", net.stages, epoch=1)
    net.train()  # what other people's code does
    apply(net, modes)
    images = torch.randn(2, 3, net.backbone.input_size, net.backbone.input_size)
    assert torch.equal(net.backbone(images), net.backbone(images))
    assert net.head.training


def test_trainability_is_pure_and_names_every_stage() -> None:
    net = network("test_efficientnet")
    one = trainability("full", "train", net.stages, epoch=3, backbone_rate=0.1)
    assert one == trainability("full", "train", net.stages, epoch=3, backbone_rate=0.1)
    assert list(one) == [*net.stages, HEAD]
    assert {mode.rate for stage, mode in one.items() if stage != HEAD} == {0.1}
    assert one[HEAD].rate == 1.0
    with pytest.raises(ValueError, match="unknown strategy"):
        trainability("melt", "train", net.stages, epoch=1)


def test_only_a_backbone_that_never_moves_may_be_cached() -> None:
    stages = ("stem", "blocks")
    assert backbone_is_fixed([trainability("linear-probe", "hold", stages, epoch=1)])
    assert not backbone_is_fixed([trainability("linear-probe", "adapt", stages, epoch=1)])
    assert not backbone_is_fixed([trainability("full", "hold", stages, epoch=1)])


@pytest.mark.parametrize("family", FAMILIES)
def test_each_tensor_belongs_to_one_stage_in_order(family: str) -> None:
    net = network(family)
    groups = open_parameters(net)
    assert list(groups) == [*net.stages, HEAD]
    names = [name for members in groups.values() for name, _, _ in members]
    assert sorted(names) == sorted(name for name, _ in net.named_parameters())
    assert all(net.stage_of(name) in (*net.stages, HEAD) for name, _ in net.named_buffers())
    spared = {name for members in groups.values() for name, _, exempt in members if exempt}
    assert all(dict(net.named_parameters())[name].ndim > 1 for name in names if name not in spared)


def test_apply_overrules_whatever_was_set_before() -> None:
    net = network("test_resnet")
    other = copy.deepcopy(net)
    for parameter in other.parameters():
        parameter.requires_grad_(False)
    other.eval()
    modes = trainability("full", "train", net.stages, epoch=1)
    apply(net, modes)
    apply(other, modes)
    assert [p.requires_grad for p in net.parameters()] == [p.requires_grad for p in other.parameters()]
    assert [m.training for m in net.modules()] == [m.training for m in other.modules()]


# networks that outline ----------------------------------------------------------------------------------------


def outliner(name: str) -> Segmenter | VolumeSegmenter:
    if name == "unet3d":
        return VolumeSegmenter(2, 4, (32, 16, 16), dropout=0.5, seed=0)
    return Segmenter(create_backbone(name, weights=None, seed=0), 2, width=4, dropout=0.5, seed=0)


def outline(net: Segmenter | VolumeSegmenter, modes: dict) -> set[str]:
    """Names of the tensors that two steps, and a validation between them, have moved."""
    before = bits(net)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=0.1)
    torch.manual_seed(0)
    shape = (2, 1, 32, 16, 16) if isinstance(net, VolumeSegmenter) else (2, 3, 160, 160)
    for _ in range(2):
        apply(net, modes)
        net(torch.randn(shape)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        net.eval()
        with torch.inference_mode():
            net(torch.randn(shape))
    after = bits(net)
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("name", [*FAMILIES, "unet3d"])
def test_a_frozen_encoder_stays_bit_identical_under_a_decoder_that_learns(name: str) -> None:
    net = outliner(name)
    moved = outline(net, trainability("linear-probe", "hold", net.stages, epoch=1))
    assert not [tensor for tensor in moved if tensor.startswith("backbone.")]
    above = {tensor for tensor, _ in net.named_parameters() if not tensor.startswith("backbone.")}
    assert above <= moved
    counts = [tensor for tensor in moved if tensor.endswith("running_mean")]
    assert bool(counts) == (
        name != "unet3d"
    )  # batch norm in the decoder of pictures, instance norm in volumes


@pytest.mark.parametrize("name", [*FAMILIES, "unet3d"])
def test_an_open_outliner_moves_as_a_whole(name: str) -> None:
    net = outliner(name)
    moved = outline(net, trainability("scratch", "train", net.stages, epoch=1))
    assert {tensor for tensor, _ in net.named_parameters()} <= moved
    groups = open_parameters(net)
    assert list(groups) == [*net.stages, HEAD]
    names = [tensor for members in groups.values() for tensor, _, _ in members]
    assert sorted(names) == sorted(tensor for tensor, _ in net.named_parameters())
