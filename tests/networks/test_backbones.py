"""Backbones and heads: one surface, stages that hold each tensor once, seeded initialisation."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import norm, norm_act

from graftwork.common.errors import UsageError, WeightsError
from graftwork.common.networks.backbones import NORM_LAYERS, Backbone, create_backbone, meta_copy, sizes_of
from graftwork.common.networks.costs import multiply_adds, parameters
from graftwork.common.networks.heads import LinearHead
from graftwork.common.networks.weights import Weights, WeightsRecord

# one small member of each family, with the stages that a ledger shows for it
FAMILIES = {
    "tf_efficientnet_lite0": ["stem", *(f"blocks.{stage}" for stage in range(7)), "conv_head"],
    "mobilenetv2_035": ["stem", *(f"blocks.{stage}" for stage in range(7)), "conv_head"],
    "mobilenetv3_small_050": ["stem", *(f"blocks.{stage}" for stage in range(6)), "conv_head"],
    "resnet10t": ["stem", "layer1", "layer2", "layer3", "layer4"],
    "densenet121": ["stem", *(f"features.denseblock{stage}" for stage in range(1, 5))],
    "inception_v3": [
        *("stem", "Conv2d_3b_1x1", "Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c"),
        *("Mixed_6d", "Mixed_6e", "Mixed_7a", "Mixed_7b", "Mixed_7c"),
    ],
    "test_convnext": ["stem", *(f"stages.{stage}" for stage in range(4))],
    "test_vit": ["stem", *(f"blocks.{stage}" for stage in range(6))],
    "eva02_tiny_patch14_224": ["stem", *(f"blocks.{stage}" for stage in range(12))],
    "swin_tiny_patch4_window7_224": ["stem", *(f"layers.{stage}" for stage in range(4))],
    "squeezenet1_1": ["stem", *(f"features.{stage}" for stage in (3, 4, 6, 7, 9, 10, 11, 12))],
    "test_maxvit": ["stem", *(f"stages.{stage}" for stage in range(4))],
    "vit_small_patch16_dinov3": ["stem", *(f"blocks.{stage}" for stage in range(12))],
}


def built(name: str, seed: int = 0) -> Backbone:
    return create_backbone(name, weights=None, seed=seed).eval()


def record(**changes: object) -> WeightsRecord:
    said: dict[str, object] = {"backbone": "test_resnet", "source": "file", "origin": "a file"}
    said |= {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), **changes}
    return WeightsRecord(**said)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_keeps_the_contract(name: str) -> None:
    backbone = built(name)
    assert [stage.name for stage in backbone.stages] == FAMILIES[name]

    held = [tensor for stage in backbone.stages for tensor in (*stage.parameters, *stage.buffers)]
    parameters = {key for key, _ in backbone.named_parameters()}
    buffers = {key for key, _ in backbone.named_buffers()}
    assert len(held) == len(set(held)) and set(held) == parameters | buffers
    assert {key for stage in backbone.stages for key in stage.parameters} == parameters
    assert all(
        any(dict(backbone.named_parameters())[key].ndim > 1 for key in stage.parameters)
        for stage in backbone.stages
    ), "each stage can learn more than a norm"

    side = backbone.input_size if name.startswith(("test_vit", "test_maxvit", "vit", "eva", "swin")) else 96
    with torch.inference_mode():
        images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
        maps = backbone.maps(images)
        features = backbone(images)
        assert torch.equal(features, backbone.pooled(maps))
        grid = backbone.grid(maps)
    assert features.shape == (2, backbone.width)
    assert grid.ndim == 4 and grid.shape[0] == 2 and grid.shape[2] == grid.shape[3]
    assert len(backbone.mean) == len(backbone.std) == 3


def test_a_table_of_positions_that_all_blocks_read_belongs_to_the_stem() -> None:
    first, *others = built("eva02_tiny_patch14_224").stages
    assert any("rope" in name for name in first.buffers)
    assert not any("rope" in name for stage in others for name in stage.buffers)


def test_stages_follow_the_data_through_the_network() -> None:
    backbone = built("tf_efficientnet_lite0")
    seen: list[str] = []
    for stage in backbone.stages:
        module = backbone.get_submodule("network." + ("conv_stem" if stage.name == "stem" else stage.name))
        module.register_forward_hook(lambda *_, name=stage.name: seen.append(name))
    with torch.inference_mode():
        backbone(torch.zeros(1, 3, 64, 64))
    assert seen == [stage.name for stage in backbone.stages]


def test_initialisation_is_seeded_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    first = built("test_resnet", seed=1).state_dict()
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(12)
    again, other = built("test_resnet", seed=1).state_dict(), built("test_resnet", seed=2).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_padding_is_what_the_weights_say_or_what_is_asked() -> None:
    """TensorFlow pads an even image by 0 before and 1 after; PyTorch by 1 on both sides."""
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    plain = built("mobilenetv2_035")
    tensors = {
        key.removeprefix("network."): value.clone()
        for key, value in plain.state_dict().items()
        if key.startswith("network.")
    }
    kept = record(backbone="mobilenetv2_035", padding="same")
    by_record = create_backbone("mobilenetv2_035", weights=Weights(kept, tensors), seed=0).eval()
    asked = create_backbone("mobilenetv2_035", weights=None, seed=0, padding="same").eval()
    with torch.inference_mode():
        assert torch.equal(by_record(images), asked(images))
        assert not torch.allclose(by_record(images), plain(images))


@pytest.mark.parametrize("name", ["resnet10t", "squeezenet1_1"])
def test_a_network_that_cannot_pad_as_tensorflow_says_so(name: str) -> None:
    with pytest.raises(UsageError, match="cannot pad"):
        create_backbone(name, weights=None, seed=0, padding="same")
    with pytest.raises(UsageError, match="'reflect'"):
        create_backbone(name, weights=None, seed=0, padding="reflect")


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("resnet81", "resnet"), ("ResNet50", "resnet50"), ("sqeezenet1_1", "squeezenet1_1"), ("", "timm")],
)
def test_an_unknown_name_is_answered_with_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(UsageError, match=near):
        create_backbone(wrong, weights=None, seed=0)


def test_weights_are_loaded_strictly_and_all_faults_named_at_once() -> None:
    tensors = {
        key.removeprefix("network."): value for key, value in built("test_resnet", 5).state_dict().items()
    }
    loaded = create_backbone(
        "test_resnet", weights=Weights(record(), {**tensors, "fc.weight": torch.zeros(7, 96)}), seed=0
    )
    assert all(torch.equal(loaded.state_dict()[f"network.{key}"], value) for key, value in tensors.items())
    assert loaded.mean == (0.1, 0.2, 0.3) and loaded.std == (0.4, 0.5, 0.6)

    del tensors["layer1.0.conv1.weight"]
    tensors["layer9.weight"] = torch.zeros(3)
    tensors["bn1.bias"] = torch.zeros(5)
    with pytest.raises(WeightsError) as caught:
        create_backbone("test_resnet", weights=Weights(record(), tensors), seed=0)
    said = str(caught.value)
    assert "missing: layer1.0.conv1.weight" in said
    assert "unexpected: layer9.weight [3]" in said
    assert "bn1.bias is [5], expected" in said and "a file" in said


def test_a_linear_head_is_seeded_and_checked() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    head, again, other = (
        LinearHead(6, 2, 0.5, seed=4),
        LinearHead(6, 2, 0.5, seed=4),
        LinearHead(6, 2, 0.5, seed=5),
    )
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(head.linear.weight, again.linear.weight)
    assert not torch.equal(head.linear.weight, other.linear.weight)
    assert not head.linear.bias.any()

    features = torch.ones(400, 6)
    assert head(features).shape == (400, 2)
    dropped = (head.train()(features) - head.eval()(features)).abs().amax(1)
    assert (dropped > 0).float().mean() > 0.9, "dropout is on in training mode"
    assert torch.equal(head(features), head(features)), "and off in evaluation"
    for wrong in ((0, 2, 0.0), (6, 0, 0.0), (6, 2, 1.0), (6, 2, -0.1)):
        with pytest.raises(UsageError):
            LinearHead(*wrong, seed=0)


# other inputs -------------------------------------------------------------------------------------------------


def tensors_of(name: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix("network."): value for key, value in built(name, 5).state_dict().items()}


@pytest.mark.parametrize("name", ["test_resnet", "tf_efficientnet_lite0", "test_vit", "squeezenet1_1"])
def test_weights_are_adapted_to_one_and_to_four_channels(name: str) -> None:
    """Of grey images, repeated in three channels or given as one, the features are the same."""
    kept = Weights(record(backbone=name, mean=(0.5,) * 3, std=(0.5,) * 3), tensors_of(name))
    three = create_backbone(name, weights=kept, seed=0).eval()
    one = create_backbone(name, weights=kept, seed=0, channels=1).eval()
    four = create_backbone(name, weights=kept, seed=0, channels=4).eval()
    grey = torch.randn(2, 1, three.input_size, three.input_size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(one(grey), three(grey.expand(-1, 3, -1, -1)), rtol=1e-3, atol=1e-4)
        assert four(grey.expand(-1, 4, -1, -1)).shape == (2, four.width)
    assert (len(one.mean), len(four.mean)) == (1, 4) and four.mean[:3] == three.mean


@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "eva02_tiny_patch14_224"]
)
def test_tables_of_positions_are_resampled_to_another_size(name: str) -> None:
    kept = Weights(record(backbone=name), tensors_of(name))
    native = create_backbone(name, weights=kept, seed=0)
    same = create_backbone(name, weights=kept, seed=0, size=native.input_size)
    assert all(torch.equal(a, b) for a, b in zip(native.parameters(), same.parameters(), strict=True))
    other = create_backbone(name, weights=kept, seed=0, size=112).eval()
    with torch.inference_mode():
        assert other(torch.zeros(1, 3, 112, 112)).shape == (1, other.width)
    assert [stage.name for stage in other.stages] == [stage.name for stage in native.stages]


@pytest.mark.parametrize(
    ("name", "size", "channels"),
    [
        ("test_resnet", 48, 1),
        ("densenet121", 64, 4),
        ("inception_v3", 96, 1),
        ("mobilenetv3_small_050", 64, 4),
        ("test_convnext", 64, 1),
        ("test_vit", 96, 4),
        ("vit_small_patch16_dinov3", 96, 1),
        ("eva02_tiny_patch14_224", 112, 1),
        ("swin_tiny_patch4_window7_224", 112, 4),
        ("test_maxvit", 96, 1),
    ],
)
def test_weights_at_another_size_and_number_of_channels_are_those_that_timm_loads(
    tmp_path: Path, name: str, size: int, channels: int
) -> None:
    tensors = tensors_of(name)
    save_file({key: value.contiguous() for key, value in tensors.items()}, tmp_path / "w.safetensors")
    backbone = create_backbone(
        name, weights=Weights(record(backbone=name), tensors), seed=0, size=size, channels=channels
    ).eval()
    fixed = timm.get_pretrained_cfg(name).fixed_input_size
    theirs = timm.create_model(
        name,
        pretrained=True,
        pretrained_cfg_overlay={"file": str(tmp_path / "w.safetensors")},
        num_classes=0,
        in_chans=channels,
        **({"img_size": size} if fixed else {}),
    ).eval()
    ours = backbone.network.state_dict()
    assert ours.keys() == theirs.state_dict().keys()
    for key, value in theirs.state_dict().items():
        torch.testing.assert_close(ours[key], value, rtol=0, atol=1e-6)
    images = torch.randn(1, channels, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(backbone(images), theirs(images), rtol=1e-3, atol=1e-4)


def test_weights_of_four_channels_are_taken_as_they_are_by_a_network_of_four() -> None:
    tensors = tensors_of("test_resnet")
    first = tensors["conv1.0.weight"] if "conv1.0.weight" in tensors else tensors["conv1.weight"]
    key = "conv1.0.weight" if "conv1.0.weight" in tensors else "conv1.weight"
    tensors[key] = torch.randn(first.shape[0], 4, *first.shape[2:])
    kept = Weights(record(mean=(0.1, 0.2, 0.3, 0.4), std=(0.5,) * 4), tensors)
    four = create_backbone("test_resnet", weights=kept, seed=0, channels=4)
    assert torch.equal(four.network.state_dict()[key], tensors[key]) and four.mean == (0.1, 0.2, 0.3, 0.4)
    with pytest.raises(WeightsError, match="another shape"):
        create_backbone("test_resnet", weights=kept, seed=0)


def test_weights_of_another_network_are_told_at_another_size_too() -> None:
    other = Weights(record(backbone="test_vit"), tensors_of("test_resnet"))
    with pytest.raises(WeightsError, match="missing: cls_token"):
        create_backbone("test_vit", weights=other, seed=0, size=96)


@pytest.mark.parametrize(
    ("name", "size", "said", "near"),
    [
        ("vit_tiny_patch16_224", 100, "multiple of 16, such as 96 or 112", (96, 112)),
        ("test_maxvit", 100, "multiple of 32, such as 96 or 128", (96, 128)),
        ("test_maxvit", 16, "multiple of 32, such as 32;", (32,)),
        ("swin_tiny_patch4_window7_224", 226, "multiple of 4, such as 224 or 228", (228,)),
        ("eva02_tiny_patch14_224", 300, "multiple of 14, such as 294 or 308", (294,)),
        ("inception_v3", 32, "a larger size, 75 px at least; it was made for 299 px", (75,)),
        ("squeezenet1_1", 16, "a larger size, 17 px at least", (17,)),
    ],
)
def test_a_size_that_cannot_be_says_which_can(name: str, size: int, said: str, near: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        create_backbone(name, weights=None, seed=0, size=size)
    assert caught.value.where == "image.size"
    for each in near:
        backbone = create_backbone(name, weights=None, seed=0, size=each).eval()
        with torch.inference_mode():
            assert backbone(torch.zeros(1, 3, each, each)).shape == (1, backbone.width)


def test_the_sizes_that_a_network_takes_are_told() -> None:
    told = {
        name: sizes_of(built(name))
        for name in ("inception_v3", "test_resnet", "swin_tiny_patch4_window7_224")
    }
    assert told["inception_v3"] == "any from 75 px" and told["test_resnet"] == "any from 16 px"
    assert told["swin_tiny_patch4_window7_224"].startswith("multiples of 4 px")


def test_costs_are_told_by_stage() -> None:
    backbone = built("test_resnet")
    held, costs = parameters(backbone), multiply_adds(backbone, 64)
    assert list(held) == list(costs) == [stage.name for stage in backbone.stages]
    assert sum(held.values()) == sum(each.numel() for each in backbone.parameters())
    assert sum(multiply_adds(backbone, 128).values()) == 4 * sum(costs.values()), (
        "convolutions grow with the area"
    )


def test_a_copy_without_content_leaves_the_network_alone() -> None:
    backbone = built("test_vit").train()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    copied = meta_copy(backbone)
    assert all(value.is_meta for value in (*copied.parameters(), *copied.buffers())) and not copied.training
    assert backbone.training and all(torch.equal(backbone.state_dict()[key], before[key]) for key in before)


def test_every_norm_layer_of_timm_is_known_as_one() -> None:
    """Those that have weights or statistics; torch's own classes are known to the freezing."""
    of_torch = (
        torch.nn.modules.batchnorm._NormBase,
        torch.nn.LayerNorm,
        torch.nn.GroupNorm,
        torch.nn.RMSNorm,
    )
    found = {
        kind
        for module in (norm, norm_act)
        for name, kind in vars(module).items()
        if isinstance(kind, type)
        and issubclass(kind, torch.nn.Module)
        and "Norm" in name
        and kind.__module__.startswith("timm.")
    }
    assert len(found) > 20
    assert [kind for kind in found if not issubclass(kind, (*of_torch, *NORM_LAYERS))] == []


def test_branches_are_left_out_where_there_are_any() -> None:
    net = create_backbone("test_convnext", weights=None, seed=0, drop_path=0.5).train()
    with torch.no_grad():  # branches begin as nearly nothing
        for key, value in net.named_parameters():
            if key.endswith("gamma"):
                value.fill_(1.0)
    images = torch.randn(4, 3, 64, 64)
    assert not torch.equal(net.maps(images), net.maps(images))
    assert torch.equal(net.eval().maps(images), net.maps(images))
    for name in ("densenet121", "squeezenet1_1"):
        with pytest.raises(UsageError, match="no residual branches") as caught:
            create_backbone(name, weights=None, seed=0, drop_path=0.5)
        assert caught.value.where == "backbone.drop_path"
