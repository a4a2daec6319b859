"""The table of families by strategies: what is frozen stays bit-identical, what is open moves, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_families import FAMILIES, small_network
from torch import Tensor, nn

from graftwork.common.freezing.freeze import NORM_LAYERS, apply, frozen_stages
from graftwork.common.networks import lora
from graftwork.common.networks.network import Network
from graftwork.common.networks.stages import HEAD
from graftwork.common.recipe.sections import TrainingSection
from graftwork.common.recipe.strategy import PhaseSection, Plan, StrategySection, plan_of
from graftwork.common.training.optimizer import optimizer_of, set_rates

EPOCHS = 4
QUICK = {"resnet", "efficientnet", "convnext", "dinov2"}  # in the default suite: two of each kind
# of each strategy what is asked beside its name; stages are filled in for the network at hand
STRATEGIES: dict[str, dict[str, Any]] = {
    "linear-probe": {},
    "last-stages": {"norm": "hold", "last_stages": 2},
    "gradual": {"norm": "hold"},
    "full": {},
    "layer-wise": {"layer_decay": 0.7},
    "probe-then-full": {"probe_epochs": 2},
    "surgical": {"norm": "hold"},
    "bias-and-norm": {},
    "lora": {"lora_rank": 2},
    "scratch": {},
    "phases": {},
}


def wish(strategy: str, stages: tuple[str, ...]) -> StrategySection:
    options = dict(STRATEGIES[strategy])
    if strategy == "surgical":
        options["stages"] = (stages[0], stages[-1])
    if strategy == "phases":
        options["phases"] = (
            PhaseSection(until=1, stages=(stages[1], HEAD)),
            PhaseSection(until=2, stages=(HEAD,)),
            PhaseSection(
                stages=("*",), learning_rate_factor=0.5, learning_rate_factors={stages[0]: 0.1}, norm="hold"
            ),
        )
    return StrategySection(name=strategy, **options)


def bits(net: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}


def steps_of(optimizer: torch.optim.Optimizer) -> dict[int, int]:
    return {id(parameter): int(held["step"]) for parameter, held in optimizer.state.items()}


def learn(net: Network, plan: Plan, epoch: int, optimizer: torch.optim.Optimizer, size: int) -> None:
    """An epoch of two steps as the loop does them, and a validation."""
    number, _ = plan.at(epoch)
    modes = plan.phases[number].modes
    net.train()  # what other people's code does
    apply(net, modes)
    set_rates(optimizer, modes, 0.01)
    for _ in range(2):
        net(torch.randn(4, 3, size, size)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    net.eval()
    with torch.inference_mode():
        images = torch.randn(2, 3, size, size)
        assert torch.equal(net(images), net(images)), "two passes of a validation are equal"


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    "family", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES]
)
def test_a_family_keeps_the_contract_of_a_strategy(family: str, strategy: str) -> None:
    torch.manual_seed(1)
    net, size = small_network(family), FAMILIES[family][2]
    asked = wish(strategy, net.stages)
    if strategy == "lora":
        lora.insert(net, asked.lora_rank, asked.lora_alpha, seed=0)
    plan = plan_of(asked, net.stages, epochs=EPOCHS)
    optimizer = optimizer_of(net, TrainingSection(weight_decay=0.1))
    norms = {
        f"{name}.{key}"
        for name, module in net.named_modules()
        if isinstance(module, NORM_LAYERS)
        for key, _ in module.named_parameters(recurse=False)
    }
    for epoch in sorted({1, 2, EPOCHS}):
        phase = plan.phases[plan.at(epoch)[0]]
        before, steps = bits(net), steps_of(optimizer)
        learn(net, plan, epoch, optimizer, size)
        after, now = bits(net), steps_of(optimizer)
        for name, parameter in net.named_parameters():
            mode = phase.modes[net.stage_of(name)]
            may = {
                "all": name not in norms or mode.norm == "train",
                "biases": name in norms or name.endswith(".bias"),
                "adapters": lora.is_adapter(name),
            }[mode.part]
            open_now = mode.trained and may
            moved = not torch.equal(before[name], after[name])
            assert moved == open_now, f"epoch {epoch}: {name} {'moved' if moved else 'stood still'}"
            stepped = now.get(id(parameter), 0) - steps.get(id(parameter), 0)
            assert stepped == (2 if open_now else 0), f"epoch {epoch}: {name} was stepped {stepped} times"
        for name, _ in net.named_buffers():
            if name in after and phase.modes[net.stage_of(name)].norm == "hold":
                assert torch.equal(before[name], after[name]), f"epoch {epoch}: buffer {name} moved"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_frozen_part_has_no_dropout_and_no_drop_path_though_the_rest_learns(family: str) -> None:
    net, size = small_network(family), FAMILIES[family][2]
    modes = plan_of(wish("linear-probe", net.stages), net.stages, epochs=1).phases[0].modes
    net.train()
    apply(net, modes)
    assert frozen_stages(modes) == len(net.stages)
    images = torch.randn(2, 3, size, size)
    assert torch.equal(net.backbone(images), net.backbone(images))
    assert not torch.equal(net(images), net(images)), "the head, which learns, drops features"
