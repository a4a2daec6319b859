"""Networks that outline: as large as what they see, with the stages of their encoder, and drawn from a seed alone."""

from __future__ import annotations

import pytest
import torch

from graftwork.common.data.targets import Target
from graftwork.common.errors import RecipeError, UsageError
from graftwork.common.networks.backbones import create_backbone
from graftwork.common.networks.network import build_network, describe
from graftwork.common.networks.stages import HEAD
from graftwork.common.networks.unets import Segmenter, VolumeSegmenter
from graftwork.common.recipe import load

FAMILIES = ["test_efficientnet", "test_resnet", "test_convnext", "test_vit"]
SHAPE = Target("shape", "segmentation", ("ground", "shape"))


def segmenter(family: str, seed: int = 0) -> Segmenter:
    return Segmenter(create_backbone(family, weights=None, seed=0), 3, width=8, dropout=0.1, seed=seed)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_pixel_gets_a_logit_a_class(family: str) -> None:
    net = segmenter(family).eval()
    for height, width in [(160, 160)] + ([] if family == "test_vit" else [(96, 131)]):
        with torch.inference_mode():
            found = net(torch.randn(2, 3, height, width))
        assert found.shape == (2, 3, height, width)
        assert torch.isfinite(found).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_encoder_keeps_its_weights_and_loses_only_what_no_map_needs(family: str) -> None:
    whole = create_backbone(family, weights=None, seed=0)
    net = segmenter(family)
    kept = net.backbone.state_dict()
    assert kept
    for name, value in kept.items():
        assert torch.equal(value, whole.state_dict()[name])
    assert {stage.name for stage in net.backbone.stages} <= {stage.name for stage in whole.stages}
    net(torch.randn(2, 3, 160, 160)).square().mean().backward()
    idle = [name for name, parameter in net.named_parameters() if parameter.grad is None]
    assert idle == []


@pytest.mark.parametrize("family", FAMILIES)
def test_all_above_the_encoder_is_the_head(family: str) -> None:
    net = segmenter(family)
    names = [name for name, _ in (*net.named_parameters(), *net.named_buffers(), *net.named_modules())]
    for name in names:
        above = name.split(".")[0] in ("decoder", "head")
        assert (net.stage_of(name) == HEAD) == above, name
    assert list(net.stages) == [stage.name for stage in net.backbone.stages]


def test_what_is_drawn_depends_on_the_seed_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, two, other = segmenter("test_resnet"), segmenter("test_resnet"), segmenter("test_resnet", seed=1)
    volume = [VolumeSegmenter(2, 4, (32, 16, 16), seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(before, torch.get_rng_state())
    for first, same, third in ((one, two, other), tuple(volume)):
        values = [torch.cat([p.flatten() for p in net.decoder.parameters()]) for net in (first, same, third)]
        assert torch.equal(values[0], values[1])
        assert not torch.equal(values[0], values[2])


def test_a_decoder_widens_with_the_depth_to_a_limit() -> None:
    net = Segmenter(create_backbone("test_efficientnet", weights=None, seed=0), 2, width=32)
    assert [block.conv_1.conv.out_channels for block in net.decoder] == [256, 256, 128, 64, 32]


def test_a_network_without_inner_maps_is_refused_with_those_that_have_them() -> None:
    with pytest.raises(UsageError, match="feature maps") as caught:
        Segmenter(create_backbone("squeezenet1_1", weights=None, seed=0), 2, width=8)
    assert "tf_efficientnet_lite0" in str(caught.value)


def test_volumes_are_outlined_in_blocks(capsys: pytest.CaptureFixture[str]) -> None:
    net = VolumeSegmenter(3, 4, (32, 16, 48)).eval()
    blocks = torch.randn(2, 2, 1, 32, 16, 48)
    with torch.inference_mode():
        both = net(blocks)
        assert both.shape == (2, 2, 3, 32, 16, 48)
        assert torch.allclose(both[1, 0], net(blocks[1, :1])[0], atol=1e-5)
    assert capsys.readouterr().out == ""  # MONAI's network prints
    assert net.stages == ("levels.0", "levels.1", "levels.2", "levels.3", "levels.4")
    assert net.stage_of("backbone.levels.3.convs.conv_0.conv.weight") == "levels.3"
    assert net.stage_of("decoder.0.upsample.deconv.weight") == net.stage_of("head.1.weight") == HEAD
    with pytest.raises(UsageError, match="one voxel"):
        VolumeSegmenter(2, 4, (16, 16, 16))


def recipe(*words: str):
    text = 'title = "t"\ndataset = "x/y"\n[strategy]\nname = "scratch"\n'
    return load(text, overrides=words)


def test_a_recipe_builds_the_network_that_its_target_needs() -> None:
    net, _, record = build_network(recipe("backbone.name=test_resnet", "decoder.width=8"), [SHAPE])
    assert isinstance(net, Segmenter)
    assert record is None
    net, preprocessing, _ = build_network(recipe("backbone.name=unet3d", "decoder.width=4"), [SHAPE])
    assert isinstance(net, VolumeSegmenter)
    about = describe(net, preprocessing, None, [SHAPE])
    assert about["backbone"] == "unet3d"
    assert [stage["name"] for stage in about["stages"]] == [*net.stages, HEAD]
    assert about["parameters"] == sum(p.numel() for p in net.parameters())
    assert about["preprocessing"]["patch"] == [32, 48, 32]


def test_what_cannot_be_built_is_said_with_the_way_out() -> None:
    with pytest.raises(RecipeError, match="no weights are published for it"):
        recipe("backbone.name=unet3d", "strategy.name=full")
    label = Target("label", "binary", ("no", "yes"))
    with pytest.raises(UsageError, match="cannot classify"):
        build_network(recipe("backbone.name=unet3d"), [label])
    further = Target("label", "binary", ("no", "yes"), prefix="label_")
    with pytest.raises(UsageError, match="has no other targets"):
        build_network(recipe("backbone.name=test_resnet"), [SHAPE, further])
