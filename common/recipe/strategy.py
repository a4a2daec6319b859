"""The strategy section of a recipe: which stages are trained, and when."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from graftwork.common.recipe.sections import Section, as_tuple, key


def _some(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value or not all(value):
        raise ValueError("at least one name, none of them empty")
    return value


class PhaseSection(Section):
    """A phase of the strategy `phases`: its stages, its last epoch and its learning rates."""

    until: int = key("Its last epoch; 0: to the end of the training.", 0, ge=0, le=100_000, unit="epochs")
    stages: Annotated[tuple[str, ...], BeforeValidator(as_tuple), AfterValidator(_some)] = key(
        'Stages that are trained: names or patterns ("layer4", "blocks.*"), "head" for the head.'
    )
    learning_rate_factor: float = key("Factor on the learning rate of these stages.", 1.0, gt=0, le=100)
    learning_rate_factors: dict[str, Annotated[float, Field(gt=0, le=100)]] = key(
        "Further factors for single stages, by name or pattern; of several that match, the last.", {}
    )
    norm: Literal["", "hold", "adapt", "train"] = key("Norm layers of its stages; empty: strategy.norm.", "")


Names = Annotated[tuple[str, ...], BeforeValidator(as_tuple)]
Phases = Annotated[tuple[PhaseSection, ...], BeforeValidator(as_tuple)]
Strategy = Literal[
    "linear-probe", "last-stages", "gradual", "full", "layer-wise", "probe-then-full", "surgical",
    "bias-and-norm", "lora", "scratch", "phases",
]  # fmt: skip
HELD = ("linear-probe", "lora")  # strategies with frozen norm layers by default


class StrategySection(Section):
    """Which parts of the network are trained, and when."""

    name: Strategy = key(
        "`linear-probe`: only the head, on a frozen backbone; `last-stages`: the head and the last stages; `gradual`: "
        "unfreezing from the head to the input, one stage at a time; `full`: the whole network, from pretrained "
        "weights; `layer-wise`: the whole network, with a lower learning rate for each earlier stage; "
        "`probe-then-full`: the head first, then the whole network; `surgical`: the head and chosen stages; "
        "`bias-and-norm`: the head, biases and norm layers; `lora`: the head and LoRA updates, merged into the "
        "weights after training; `scratch`: the whole network from random weights, as a baseline; `phases`: as in "
        "strategy.phases."
    )
    norm: Literal["hold", "adapt", "train"] = Field(
        default_factory=lambda data: "hold" if data.get("name") in HELD else "train",
        description="Norm layers of the backbone: `hold` statistics and affine weights, `adapt` (statistics "
        "follow the data), `train` both; those of frozen stages are held unless `adapt` is set. Absent: `hold` for "
        "linear-probe and lora, `train` for the others.",
    )
    last_stages: int = key(
        "last-stages: number of backbone stages that are trained.", 1, ge=1, le=1000, unit="stages"
    )
    stages: Names = Field(
        default=(),
        description='surgical: the trained stages, by name or pattern ("stem", "blocks.*"); '
        "`graftwork show backbone/resnet50` lists those of ResNet-50.",
        json_schema_extra={"x-expected": "a list of names of stages"},
    )
    unfreeze_every: int = key(
        "gradual: epochs until the next stage is unfrozen; 0: when the validation metric stops improving.",
        1,
        ge=0,
        le=100_000,
        unit="epochs",
    )
    unfreeze_patience: int = key(
        "gradual with unfreeze_every = 0: epochs without a better validation metric before the next stage is unfrozen.",
        2,
        ge=1,
        le=100_000,
        unit="epochs",
    )
    probe_epochs: int = key(
        "probe-then-full: epochs in which only the head is trained.", 3, ge=1, le=100_000, unit="epochs"
    )
    layer_decay: float = Field(
        default_factory=lambda data: 0.75 if data.get("name") == "layer-wise" else 1.0,
        description="Factor on the learning rate from each stage to the previous one. Absent: 0.75 for layer-wise, "
        "else 1.",
        gt=0,
        le=1,
    )
    lora_rank: int = key("lora: rank of the updates.", 8, ge=1, le=1024)
    lora_alpha: float = key("lora: the updates are scaled by lora_alpha / lora_rank.", 16.0, gt=0, le=10_000)
    regularisation_strengths: int = key(
        "linear-probe: fit the head to convergence for this many regularisation strengths, from strong to weak, "
        "and keep the best on validation; 0: train it step by step.",
        0,
        ge=0,
        le=50,
        unit="strengths",
    )
    phases: Phases = Field(
        default=(),
        description="phases: a list of tables with until (its last epoch; 0: to the end), stages (names or "
        'patterns, "head" too), learning_rate_factor, learning_rate_factors (of single stages) and norm.',
        json_schema_extra={
            "x-expected": 'a list of phases, as in [{ until = 3, stages = ["head"] }, '
            '{ stages = ["*"], learning_rate_factor = 0.1 }]'
        },
    )
