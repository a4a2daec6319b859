"""What a strategy says of each stage, and what follows for a network's tensors, buffers included."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from graftwork.common.errors import UsageError
from graftwork.common.freezing.freeze import apply, frozen_stages, open_parameters
from graftwork.common.networks.backbones import create_backbone
from graftwork.common.networks.heads import LinearHead
from graftwork.common.networks.network import Network
from graftwork.common.networks.stages import HEAD
from graftwork.common.networks.unets import Segmenter, VolumeSegmenter
from graftwork.common.recipe.strategy import PhaseSection, Plan, StrategySection, plan_of

# one small network of each kind: batch norm, layer norm with drop-path, transformer
FAMILIES = ["test_efficientnet", "test_resnet", "test_convnext", "test_vit"]


def modes_of(name: str, norm: str, stages: tuple[str, ...], **options: object) -> dict:
    """What a strategy of one phase says of each stage."""
    (phase,) = plan_of(StrategySection(name=name, norm=norm, **options), stages, epochs=1).phases  # type: ignore[arg-type]
    return dict(phase.modes)


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
    learn(net, modes_of("linear-probe", "hold", net.stages))
    after = bits(net)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"head.linear.weight", "head.linear.bias"}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("strategy", ["full", "scratch"])
def test_open_strategies_move_every_parameter(family: str, strategy: str) -> None:
    net = network(family)
    before = bits(net)
    learn(net, modes_of(strategy, "train", net.stages), steps=3)
    still = [n for n, p in net.named_parameters() if p.requires_grad and torch.equal(before[n], p)]
    assert not still
    assert all(p.requires_grad for p in net.parameters())


@pytest.mark.parametrize("family", ["test_efficientnet", "test_resnet"])
def test_norm_policies(family: str) -> None:
    for policy in ("hold", "adapt", "train"):
        net = network(family)
        before = bits(net)
        learn(net, modes_of("full", policy, net.stages))
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
    modes = modes_of("linear-probe", "hold", net.stages)
    net.train()  # what other people's code does
    apply(net, modes)
    images = torch.randn(2, 3, net.backbone.input_size, net.backbone.input_size)
    assert torch.equal(net.backbone(images), net.backbone(images))
    assert net.head.training


STAGES = ("stem", "blocks.0", "blocks.1", "top")


def laid_out(name: str, epochs: int = 10, backbone_rate: float = 1.0, **options: object) -> Plan:
    return plan_of(StrategySection(name=name, **options), STAGES, epochs=epochs, backbone_rate=backbone_rate)  # type: ignore[arg-type]


def learning(plan: Plan, epoch: int, plateaus: tuple[int, ...] = ()) -> list[str]:
    modes = plan.phases[plan.at(epoch, plateaus)[0]].modes
    return [stage for stage, mode in modes.items() if mode.trained]


def rates(plan: Plan, epoch: int) -> list[float]:
    return [mode.rate for mode in plan.phases[plan.at(epoch)[0]].modes.values()]


def test_a_plan_names_every_stage_in_order_and_is_a_pure_function() -> None:
    for name in ("linear-probe", "full", "gradual", "lora", "bias-and-norm", "layer-wise"):
        plan = laid_out(name)
        assert plan == laid_out(name)
        assert all(list(phase.modes) == [*STAGES, HEAD] for phase in plan.phases)
    assert rates(laid_out("full", backbone_rate=0.1), 3) == [0.1, 0.1, 0.1, 0.1, 1.0]


def test_the_last_stages_and_chosen_ones_learn() -> None:
    assert learning(laid_out("last-stages", last_stages=2), 1) == ["blocks.1", "top", HEAD]
    assert learning(laid_out("surgical", stages=("stem", "blocks.*")), 1) == [
        "stem",
        "blocks.0",
        "blocks.1",
        HEAD,
    ]
    with pytest.raises(UsageError, match="4 stages"):
        laid_out("last-stages", last_stages=5)
    with pytest.raises(UsageError, match=r"layer4.*\n?.*stem, blocks.0"):
        laid_out("surgical", stages=("layer4",))


def test_gradual_opens_a_stage_at_a_time_from_the_head_downwards() -> None:
    plan = laid_out("gradual", unfreeze_every=2)
    assert [learning(plan, epoch) for epoch in (1, 2, 3, 5)] == [
        [HEAD], [HEAD], ["top", HEAD], ["blocks.1", "top", HEAD],
    ]  # fmt: skip
    assert learning(plan, 9) == learning(plan, 99) == [*STAGES, HEAD]
    assert [plan.at(epoch) for epoch in (1, 2, 3, 4, 9, 50)] == [
        (0, 1),
        (0, 1),
        (1, 3),
        (1, 3),
        (4, 9),
        (4, 9),
    ]


def test_gradual_on_plateau_follows_the_epochs_that_stood_still() -> None:
    plan = laid_out("gradual", unfreeze_every=0, unfreeze_patience=2)
    assert plan.patience == 2
    assert plan.at(40) == (0, 1), "no plateau yet"
    assert plan.at(4, [4]) == (0, 1) and plan.at(5, [4]) == (1, 5)
    assert plan.at(9, [4, 8]) == (2, 9) and plan.at(8, [4, 8]) == (1, 5)
    assert plan.ends_by_plateau(0) and not plan.ends_by_plateau(4)


def test_rates_fall_from_stage_to_stage() -> None:
    plan = laid_out("layer-wise", layer_decay=0.5, backbone_rate=0.8)
    assert rates(plan, 1) == pytest.approx([0.8 / 16, 0.8 / 8, 0.8 / 4, 0.8 / 2, 1.0])
    assert rates(laid_out("gradual", layer_decay=0.5), 2) == pytest.approx([0, 0, 0, 0.5, 1.0])


def test_the_probe_comes_first() -> None:
    plan = laid_out("probe-then-full", probe_epochs=3)
    assert learning(plan, 3) == [HEAD] and learning(plan, 4) == [*STAGES, HEAD]
    assert {mode.norm for stage, mode in plan.phases[0].modes.items() if stage != HEAD} == {"hold"}
    assert {mode.norm for mode in plan.phases[1].modes.values()} == {"train"}


def test_phases_are_data() -> None:
    plan = laid_out(
        "phases",
        phases=(
            PhaseSection(until=2, stages=("top",), learning_rate_factor=0.5),
            PhaseSection(
                until=5,
                stages=("blocks.*", HEAD),
                learning_rate_factor=2.0,
                learning_rate_factors={"blocks.*": 0.5, "blocks.1": 0.25},
            ),
            PhaseSection(stages=("*",), norm="adapt"),
        ),
    )
    assert [learning(plan, epoch) for epoch in (2, 3, 6)] == [
        ["top"], ["blocks.0", "blocks.1", HEAD], [*STAGES, HEAD],
    ]  # fmt: skip
    assert rates(plan, 1) == [0, 0, 0, 0.5, 0]
    assert rates(plan, 3) == [0, 1.0, 0.5, 0, 2.0]
    assert plan.phases[2].modes["stem"].norm == "adapt"
    with pytest.raises(UsageError, match="number 1"):
        laid_out("phases", phases=(PhaseSection(stages=("nowhere",)),))


def test_only_stages_that_never_move_may_be_kept() -> None:
    def kept(name: str, **options: object) -> int:
        return frozen_stages(laid_out(name, **options).phases[0].modes)

    assert kept("linear-probe") == 4 and kept("linear-probe", norm="adapt") == 0
    assert kept("last-stages", last_stages=1) == 3 and kept("surgical", stages=("blocks.0",)) == 1
    assert kept("full", norm="hold") == kept("lora") == kept("bias-and-norm") == 0


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
    modes = modes_of("full", "train", net.stages)
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
    moved = outline(net, modes_of("linear-probe", "hold", net.stages))
    assert not [tensor for tensor in moved if tensor.startswith("backbone.")]
    above = {tensor for tensor, _ in net.named_parameters() if not tensor.startswith("backbone.")}
    assert above <= moved
    counts = [tensor for tensor in moved if tensor.endswith("running_mean")]
    assert bool(counts) == (name != "unet3d")  # batch norm in the decoder of images, instance norm in volumes


@pytest.mark.parametrize("name", [*FAMILIES, "unet3d"])
def test_an_open_outliner_moves_as_a_whole(name: str) -> None:
    net = outliner(name)
    moved = outline(net, modes_of("scratch", "train", net.stages))
    assert {tensor for tensor, _ in net.named_parameters()} <= moved
    groups = open_parameters(net)
    assert list(groups) == [*net.stages, HEAD]
    names = [tensor for members in groups.values() for tensor, _, _ in members]
    assert sorted(names) == sorted(tensor for tensor, _ in net.named_parameters())
