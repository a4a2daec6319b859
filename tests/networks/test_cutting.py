"""A backbone cut behind any of its stages computes the same in two halves, and is left as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_families import FAMILIES, small_backbone, small_network
from torch import nn

from graftwork.common.freezing.freeze import apply
from graftwork.common.networks.backbones import create_backbone
from graftwork.common.networks.cutting import Cut, Uncut, cut, fingerprint
from graftwork.common.recipe.strategy import StrategySection, plan_of


@pytest.mark.parametrize("family", FAMILIES)
def test_every_boundary_of_every_family(family: str) -> None:
    backbone, size = small_backbone(family).eval(), FAMILIES[family][2]
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    modes = [module.training for module in backbone.modules()]
    images = torch.randn(3, 3, size, size)
    count = len(backbone.stages)
    places = range(1, count + 1) if count < 9 else (1, count // 2, count - 1, count)
    for stages in places:
        found = cut(backbone, stages, size=size)
        assert isinstance(found, Cut), f"{stages}: {found}"
        with torch.no_grad():
            crossing = found.prefix(images)
            wanted = backbone(images)
            assert tuple(crossing.shape[1:]) == found.shape
            scale = float(wanted.abs().max())
            torch.testing.assert_close(found.suffix(crossing), wanted, rtol=0, atol=1e-4 * scale)
    assert [module.training for module in backbone.modules()] == modes
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, before[name]), f"{name} was changed by cutting"


@pytest.mark.parametrize("family", ["resnet", "efficientnet", "densenet", "vit", "swin"])
def test_what_learns_behind_the_cut_learns_the_same(family: str) -> None:
    """Gradients of the open stages, their norm statistics and their dropout are those of the whole network."""
    size, outcomes = FAMILIES[family][2], []
    images = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0))
    for halves in (False, True):
        net = small_network(family)
        last = len(net.stages) - 1
        asked = StrategySection(name="last-stages", last_stages=1, norm="train")
        apply(net, plan_of(asked, net.stages, epochs=1).phases[0].modes)
        inputs = images
        if halves:
            found = cut(net.backbone, last, size=size)
            assert isinstance(found, Cut)
            net.enter(found)
            with torch.no_grad():
                inputs = found.prefix(images)
        torch.manual_seed(0)
        net(inputs).square().mean().backward()
        gradients = {name: each.grad for name, each in net.named_parameters() if each.grad is not None}
        outcomes.append((gradients, dict(net.named_buffers())))
    (whole, statistics), (half, half_statistics) = outcomes
    assert whole.keys() == half.keys() and len(whole) > 2
    for name, value in whole.items():
        scale = float(value.abs().max()) + 1e-12
        torch.testing.assert_close(half[name], value, rtol=0, atol=1e-3 * scale, msg=name)
    for name, value in statistics.items():
        torch.testing.assert_close(half_statistics[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_the_prefix_is_a_copy_and_the_suffix_is_the_network() -> None:
    backbone = small_backbone("resnet").eval()
    found = cut(backbone, 2, size=48)
    assert isinstance(found, Cut)
    images = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        crossing = found.prefix(images)
        for parameter in backbone.parameters():
            parameter.mul_(1.5)
        assert torch.equal(found.prefix(images), crossing), "taken of the weights as they were"
        late = [stage.parameters for stage in backbone.stages[2:]]
        assert late
        features = found.suffix(crossing)
        for name, parameter in backbone.named_parameters():
            if any(name in names for names in late):
                parameter.zero_()
        assert not torch.equal(found.suffix(crossing), features), "of the weights as they are"


def test_norms_are_folded_away() -> None:
    backbone = small_backbone("efficientnet").eval()
    found = cut(backbone, len(backbone.stages), size=48)
    assert isinstance(found, Cut)
    norms = [each for each in found.prefix.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    used = {str(node.target) for node in found.prefix.graph.nodes}  # type: ignore[union-attr]
    assert not [name for name, module in found.prefix.named_modules() if module in norms and name in used]
    assert not any(parameter.requires_grad for parameter in found.prefix.parameters())


def test_a_network_that_cannot_be_traced_is_whole_or_not_cut() -> None:
    backbone = create_backbone("test_vit", weights=None, seed=0).eval()
    found = cut(backbone, 2, size=160)
    assert isinstance(found, Uncut) and "cannot be cut behind blocks.0" in found.reason
    whole = cut(backbone, len(backbone.stages), size=160)
    assert isinstance(whole, Cut)
    images = torch.randn(2, 3, 160, 160)
    with torch.no_grad():
        assert torch.equal(whole.suffix(whole.prefix(images)), backbone(images))


def test_a_fingerprint_tells_frozen_stages_apart_and_no_others() -> None:
    one, other = small_backbone("efficientnet", 0), small_backbone("efficientnet", 0)
    before = fingerprint(one, 3)
    assert before == fingerprint(other, 3) != fingerprint(one, 4)
    tensors: dict[str, Any] = dict([*other.named_parameters(), *other.named_buffers()])
    with torch.no_grad():
        tensors[other.stages[5].parameters[0]].add_(1)
        assert fingerprint(other, 3) == before
        tensors[other.stages[2].buffers[0]].add_(1)
        assert fingerprint(other, 3) != before
