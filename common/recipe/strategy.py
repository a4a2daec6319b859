"""Freezing strategies: which stages are trained in which epoch, and the section `strategy` of a recipe.

A strategy is a record in `STRATEGIES`: its keys, its default norm mode and the function that lays it out as a `Plan`,
phase by phase. Which phase an epoch belongs to is a pure function of the epoch and of the epochs after which validation
stopped improving. `freezing.freeze.apply` sets a phase on a network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from graftwork.common.errors import UsageError
from graftwork.common.recipe.sections import Section, as_tuple, key
from graftwork.common.wording import and_list

HEAD = "head"  # the stage after the last of the backbone
Norm = Literal["hold", "adapt", "train"]
Part = Literal["all", "biases", "adapters"]


@dataclass(frozen=True)
class StageMode:
    """How one stage is trained in one epoch.

    Attributes:
        trained: its weights are trained.
        rate: factor on the learning rate of the recipe; 0 where it is frozen.
        norm: `hold`, statistics and affine weights of its norm layers fixed; `adapt`, statistics follow the data,
            affine weights fixed; `train`, both change.
        part: its trained weights: `all`, `biases` (those and norm layers) or `adapters`.
    """

    trained: bool
    rate: float
    norm: Norm
    part: Part = "all"


@dataclass(frozen=True)
class Phase:
    """Epochs in which the same stages are trained.

    Attributes:
        name: the trained parts, in words.
        until: its last epoch; None where a plateau of the validation metric ends it; of the last phase the
            training's last.
        modes: of each stage, from input to head.
    """

    name: str
    until: int | None
    modes: Mapping[str, StageMode]


@dataclass(frozen=True)
class Plan:
    """A strategy laid out for a network.

    Attributes:
        phases: in order.
        patience: epochs without a better validation metric that end a phase without a last epoch.
    """

    phases: tuple[Phase, ...]
    patience: int = 0

    def at(self, epoch: int, plateaus: Sequence[int] = ()) -> tuple[int, int]:
        """The number of the phase that `epoch` belongs to, from 0, and the phase's first epoch.

        A pure function, so a resumed run cannot disagree with an unbroken one.

        Args:
            epoch: from 1.
            plateaus: the epochs after which a phase was ended by a plateau; see `ends_by_plateau`.
        """
        first = 1
        for number, phase in enumerate(self.phases[:-1]):
            end = phase.until
            if end is None:
                end = next((each for each in plateaus if each >= first), epoch)
            if epoch <= end:
                return number, first
            first = end + 1
        return len(self.phases) - 1, first

    def ends_by_plateau(self, number: int) -> bool:
        """Whether a phase lasts until the validation metric stops improving."""
        return self.phases[number].until is None and number < len(self.phases) - 1

    def last_epoch(self, number: int, epochs: int) -> int | None:
        """The last epoch of a phase in a training of `epochs`; None where a plateau decides."""
        if number == len(self.phases) - 1:
            return epochs
        end = self.phases[number].until
        return None if end is None else min(end, epochs)


@dataclass(frozen=True)
class Strategy:
    """A freezing strategy.

    Attributes:
        summary: what it trains, in a phrase.
        plan: its phases for the stages of a network.
        keys: keys of a recipe that apply to this strategy only, or to some strategies.
        norms: the allowed modes of the backbone's norm layers, the default first.
        norms_reason: why other modes are refused.
        pretrained: whether training starts from pretrained weights.
        lora: whether LoRA updates are inserted into the backbone.
    """

    summary: str
    plan: Callable[[Layout], Plan]
    keys: tuple[str, ...] = ()
    norms: tuple[Norm, ...] = ("train", "adapt", "hold")
    norms_reason: str = ""
    pretrained: bool = True
    lora: bool = False


class Layout:
    """Builds the phases of a strategy for the stages of one network.

    Attributes:
        strategy: the section of the recipe.
        stages: names of the backbone's stages, from input to output.
        epochs: of the whole training.
        backbone_rate: factor on the learning rate of the backbone.
    """

    def __init__(
        self, strategy: StrategySection, stages: Sequence[str], epochs: int, backbone_rate: float = 1.0
    ) -> None:
        self.strategy, self.stages, self.epochs = strategy, tuple(stages), epochs
        self.backbone_rate = backbone_rate

    def phase(
        self,
        name: str,
        until: int | None,
        chosen: Sequence[str],
        *,
        part: Part = "all",
        factors: Mapping[str, float] | None = None,
        norm: Norm | None = None,
    ) -> Phase:
        """A phase in which `chosen` are trained and, without `factors`, the head."""
        norm = norm or self.strategy.norm
        still = StageMode(trained=False, rate=0.0, norm="adapt" if norm == "adapt" else "hold")
        modes = {}
        for depth, stage in enumerate(reversed(self.stages), 1):
            rate = self.backbone_rate * self.strategy.layer_decay**depth * (factors or {}).get(stage, 1.0)
            modes[stage] = StageMode(True, rate, norm, part) if stage in chosen else still
        modes = {stage: modes[stage] for stage in self.stages}
        if factors is None:
            modes[HEAD] = StageMode(trained=True, rate=1.0, norm="train")
        elif HEAD in chosen:
            modes[HEAD] = StageMode(trained=True, rate=factors[HEAD], norm="train")
        else:
            modes[HEAD] = StageMode(trained=False, rate=0.0, norm="hold")
        return Phase(name, until, modes)

    def chosen(self, patterns: Sequence[str], where: str, *, head: bool = False) -> tuple[str, ...]:
        """The stages that patterns name, in the network's order."""
        known = (*self.stages, *([HEAD] if head else []))
        for pattern in patterns:
            if not any(fnmatchcase(stage, pattern) for stage in known):
                raise UsageError(
                    f"no stage matches {pattern!r}",
                    where=where,
                    remedy=f"the stages are {', '.join(known)}",
                )
        return tuple(stage for stage in known if any(fnmatchcase(stage, pattern) for pattern in patterns))


_FROZEN = "the norm layers of the backbone are frozen"


def plan_of(
    strategy: StrategySection, stages: Sequence[str], *, epochs: int, backbone_rate: float = 1.0
) -> Plan:
    """Lay a strategy out for the stages of a network.

    Linear probe, full fine-tuning and fine-tuning of the last stages as in Kornblith et al. 2019; gradual unfreezing
    and learning rates that fall from stage to stage as in Howard and Ruder 2018, sections 3.2 and 3.3; the probe first
    as in Kumar et al. 2022; chosen stages as in Lee et al. 2023; biases alone as in Ben Zaken et al. 2022, with the
    norm layers of Frankle et al. 2021; LoRA updates as in Hu et al. 2021.

    Args:
        stages: names from input to output, without the head.
        epochs: of the whole training.
        backbone_rate: factor on the learning rate of the backbone's stages.

    Raises:
        UsageError: the strategy names an unknown stage, or trains nothing.
    """
    return STRATEGIES[strategy.name].plan(Layout(strategy, stages, epochs, backbone_rate))


def _linear_probe(lay: Layout) -> Plan:
    return Plan((lay.phase("head", lay.epochs, ()),))


def _last_stages(lay: Layout) -> Plan:
    count = lay.strategy.last_stages
    if count > len(lay.stages):
        raise UsageError(
            f"the network has {len(lay.stages)} stages below the head, not {count}",
            where="strategy.last_stages",
            remedy=f"the stages are {', '.join(lay.stages)}",
        )
    return Plan((lay.phase(f"last {count}", lay.epochs, lay.stages[-count:]),))


def _gradual(lay: Layout) -> Plan:
    every, interval = lay.stages, lay.strategy.unfreeze_every
    return Plan(
        tuple(
            lay.phase(
                "head" if not depth else f"+ {every[-depth]}",
                (depth + 1) * interval if interval else None,
                every[len(every) - depth :],
            )
            for depth in range(len(every) + 1)
        ),
        patience=lay.strategy.unfreeze_patience,
    )


def _whole_network(lay: Layout) -> Plan:
    return Plan((lay.phase("everything", lay.epochs, lay.stages),))


def _probe_then_full(lay: Layout) -> Plan:
    return Plan(
        (lay.phase("probe", lay.strategy.probe_epochs, ()), lay.phase("full", lay.epochs, lay.stages))
    )


def _surgical(lay: Layout) -> Plan:
    chosen = lay.chosen(lay.strategy.stages, "strategy.stages")
    return Plan((lay.phase(_listed(chosen), lay.epochs, chosen),))


def _bias_and_norm(lay: Layout) -> Plan:
    return Plan((lay.phase("biases and norms", lay.epochs, lay.stages, part="biases"),))


def _lora(lay: Layout) -> Plan:
    return Plan((lay.phase("LoRA", lay.epochs, lay.stages, part="adapters"),))


def _phases(lay: Layout) -> Plan:
    phases = []
    for number, wish in enumerate(lay.strategy.phases, 1):
        where = f"strategy.phases, number {number}"
        chosen = lay.chosen(wish.stages, where, head=True)
        factors = {
            stage: wish.learning_rate_factor
            * next(reversed([1.0, *_factors(wish.learning_rate_factors, stage)]))
            for stage in chosen
        }
        for pattern in wish.learning_rate_factors:
            lay.chosen((pattern,), where, head=True)
        phases.append(
            lay.phase(
                _listed(chosen), wish.until or lay.epochs, chosen, factors=factors, norm=wish.norm or None
            )
        )
    return Plan(tuple(phases))


def _factors(rates: Mapping[str, float], stage: str) -> list[float]:
    return [factor for pattern, factor in rates.items() if fnmatchcase(stage, pattern)]


def _listed(stages: Sequence[str]) -> str:
    return ", ".join(stages) if len(stages) <= 3 else f"{stages[0]} to {stages[-1]} ({len(stages)})"


STRATEGIES: Mapping[str, Strategy] = {
    "linear-probe": Strategy(
        "only the head, on a frozen backbone", _linear_probe, ("strategy.regularisation_strengths",),
        norms=("hold", "adapt"), norms_reason=_FROZEN,
    ),
    "last-stages": Strategy(
        "the head and the last stages", _last_stages,
        ("strategy.last_stages", "strategy.layer_decay", "training.l2_sp"),
    ),
    "gradual": Strategy(
        "unfreezing from the head to the input, one stage at a time", _gradual,
        ("strategy.unfreeze_every", "strategy.layer_decay", "training.l2_sp", "training.restart_schedule"),
    ),
    "full": Strategy("the whole network, from pretrained weights", _whole_network, ("training.l2_sp",)),
    "layer-wise": Strategy(
        "the whole network, with a lower learning rate for each earlier stage", _whole_network,
        ("strategy.layer_decay", "training.l2_sp"),
    ),
    "probe-then-full": Strategy(
        "the head first, then the whole network", _probe_then_full,
        ("strategy.probe_epochs", "strategy.layer_decay", "training.l2_sp", "training.restart_schedule"),
    ),
    "surgical": Strategy(
        "the head and chosen stages", _surgical, ("strategy.stages", "strategy.layer_decay", "training.l2_sp")
    ),
    "bias-and-norm": Strategy(
        "the head, biases and norm layers", _bias_and_norm,
        norms=("train",), norms_reason="the norm layers are trained",
    ),
    "lora": Strategy(
        "the head and LoRA updates, merged into the weights after training", _lora,
        ("strategy.lora_rank", "strategy.lora_alpha"), norms=("hold", "adapt"), norms_reason=_FROZEN, lora=True,
    ),
    "scratch": Strategy(
        "the whole network from random weights, as a baseline", _whole_network,
        norms=("train", "adapt"), norms_reason="random weights have no statistics to hold", pretrained=False,
    ),
    "phases": Strategy(
        "as in strategy.phases", _phases, ("strategy.phases", "training.l2_sp", "training.restart_schedule")
    ),
}  # fmt: skip


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
if TYPE_CHECKING:
    StrategyName = str
else:
    StrategyName = Literal[tuple(STRATEGIES)]


class StrategySection(Section):
    """Which parts of the network are trained, and when."""

    name: StrategyName = key(
        "; ".join(f"`{name}`: {each.summary}" for name, each in STRATEGIES.items()) + "."
    )
    norm: Norm = Field(
        default_factory=lambda data: STRATEGIES[data["name"]].norms[0] if data.get("name") else "train",
        description="Norm layers of the backbone: `hold` statistics and affine weights, `adapt` (statistics "
        "follow the data), `train` both; those of frozen stages are held unless `adapt` is set. Absent: `hold` for "
        f"{and_list(name for name, each in STRATEGIES.items() if each.norms[0] == 'hold')}, `train` for the others.",
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
