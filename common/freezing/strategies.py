"""Freezing strategies: for each stage and epoch, whether it is trained, its learning rate and its norm mode.

A strategy is laid out as a `Plan`, phase by phase; which phase an epoch belongs to is a pure function of the epoch and
of the epochs after which validation stopped improving. `apply` sets it on a network. Nothing else in graftwork
touches `requires_grad` or the train and eval modes of a network in training, so the ledger is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from graftwork.common.errors import UsageError
from graftwork.common.networks import backbones
from graftwork.common.networks.lora import is_adapter
from graftwork.common.networks.stages import HEAD, Staged

if TYPE_CHECKING:
    from graftwork.common.recipe.strategy import StrategySection


Norm = Literal["hold", "adapt", "train"]
Part = Literal["all", "biases", "adapters"]

NORM_LAYERS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, *backbones.NORM_LAYERS)


@dataclass(frozen=True)
class StageMode:
    """What one stage may do in one epoch.

    Attributes:
        trained: its weights are trained.
        rate: factor on the recipe's rate; 0 where it does not learn.
        norm: `hold`, statistics and affine weights of its norm layers fixed; `adapt`, statistics follow the data,
            affine weights fixed; `train`, both change.
        part: of its weights those that learn: `all`, `biases` (those and norm layers) or `adapters`.
    """

    trained: bool
    rate: float
    norm: Norm
    part: Part = "all"


@dataclass(frozen=True)
class Phase:
    """Epochs in which the same stages learn.

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
        """Whether a phase lasts until the validation stands still."""
        return self.phases[number].until is None and number < len(self.phases) - 1

    def last_epoch(self, number: int, epochs: int) -> int | None:
        """The last epoch of a phase in a training of `epochs`; None where a plateau decides."""
        if number == len(self.phases) - 1:
            return epochs
        end = self.phases[number].until
        return None if end is None else min(end, epochs)


def plan_of(
    strategy: StrategySection, stages: Sequence[str], *, epochs: int, backbone_rate: float = 1.0
) -> Plan:
    """Lay a strategy out for the stages of a network.

    Linear probe, full fine-tuning and fine-tuning of the last stages as in Kornblith et al. 2019; gradual unfreezing
    and rates that fall from stage to stage as in Howard and Ruder 2018, sections 3.2 and 3.3; the probe first as in
    Kumar et al. 2022; chosen stages as in Lee et al. 2023; biases alone as in Ben Zaken et al. 2022, with the norm
    layers of Frankle et al. 2021; LoRA updates as in Hu et al. 2021.

    Args:
        stages: names from input to output, the head left out.
        epochs: of the whole training.
        backbone_rate: factor on the rate of the backbone's stages.

    Raises:
        UsageError: the strategy names a stage that there is not, or leaves nothing to learn.
    """
    lay = _Layout(strategy, stages, backbone_rate)
    every = tuple(stages)
    name = strategy.name
    if name == "linear-probe":
        return Plan((lay.phase("head", epochs, ()),))
    if name == "last-stages":
        if strategy.last_stages > len(stages):
            raise UsageError(
                f"the network has {len(stages)} stages below the head, not {strategy.last_stages}",
                where="strategy.last_stages",
                remedy=f"the stages are {', '.join(stages)}",
            )
        return Plan((lay.phase(f"last {strategy.last_stages}", epochs, every[-strategy.last_stages :]),))
    if name == "surgical":
        chosen = lay.chosen(strategy.stages, "strategy.stages")
        return Plan((lay.phase(_listed(chosen), epochs, chosen),))
    if name == "gradual":
        return Plan(
            tuple(
                lay.phase(
                    "head" if not depth else f"+ {every[-depth]}",
                    (depth + 1) * strategy.unfreeze_every if strategy.unfreeze_every else None,
                    every[len(every) - depth :],
                )
                for depth in range(len(every) + 1)
            ),
            patience=strategy.unfreeze_patience,
        )
    if name == "probe-then-full":
        return Plan((lay.phase("probe", strategy.probe_epochs, ()), lay.phase("full", epochs, every)))
    if name == "bias-and-norm":
        return Plan((lay.phase("biases and norms", epochs, every, part="biases"),))
    if name == "lora":
        return Plan((lay.phase("LoRA", epochs, every, part="adapters"),))
    if name == "phases":
        phases = []
        for number, wish in enumerate(strategy.phases, 1):
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
                    _listed(chosen), wish.until or epochs, chosen, factors=factors, norm=wish.norm or None
                )
            )
        return Plan(tuple(phases))
    return Plan((lay.phase("everything", epochs, every),))  # full, layer-wise, scratch


class _Layout:
    """Makes phases of one network's stages."""

    def __init__(self, strategy: StrategySection, stages: Sequence[str], backbone_rate: float) -> None:
        self.strategy, self.stages, self.backbone_rate = strategy, tuple(stages), backbone_rate

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
        """A phase in which `chosen` learn and, without `factors`, the head."""
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


def _factors(rates: Mapping[str, float], stage: str) -> list[float]:
    return [factor for pattern, factor in rates.items() if fnmatchcase(stage, pattern)]


def _listed(stages: Sequence[str]) -> str:
    return ", ".join(stages) if len(stages) <= 3 else f"{stages[0]} to {stages[-1]} ({len(stages)})"


def frozen_stages(modes: Mapping[str, StageMode]) -> int:
    """How many stages from the input on do not change under `modes`, so that what they put out may be kept."""
    count = 0
    for stage, mode in modes.items():
        if stage == HEAD or mode.trained or mode.norm != "hold":
            break
        count += 1
    return count


def apply(network: Staged, modes: Mapping[str, StageMode]) -> None:
    """Set `requires_grad` and the train or eval mode of every module as `modes` says, whatever they were before.

    In a stage that does not learn, dropout and drop-path are off, and under `hold` its batch-norm buffers stand still.
    """
    for name, parameter, is_norm in _parameters(network):
        mode = modes[network.stage_of(name)]
        parameter.requires_grad_(mode.trained and _trainable(name, is_norm, mode))
    for name, module in network.named_modules():
        mode = modes[network.stage_of(name)]
        moves = mode.norm != "hold" if isinstance(module, NORM_LAYERS) else mode.trained
        module.training = moves  # not train(): that would reach down into other stages


def _trainable(name: str, is_norm: bool, mode: StageMode) -> bool:
    if mode.part == "adapters":
        return is_adapter(name)
    if is_norm:
        return mode.norm == "train"
    return mode.part == "all" or name.rpartition(".")[2] == "bias"


def open_parameters(network: Staged) -> dict[str, list[tuple[str, nn.Parameter, bool]]]:
    """All parameters by stage: name, parameter, and whether weight decay spares it (biases and norm layers)."""
    groups: dict[str, list[tuple[str, nn.Parameter, bool]]] = {stage: [] for stage in (*network.stages, HEAD)}
    for name, parameter, is_norm in _parameters(network):
        groups[network.stage_of(name)].append((name, parameter, is_norm or parameter.ndim <= 1))
    return groups


def _parameters(network: nn.Module) -> Iterator[tuple[str, nn.Parameter, bool]]:
    for prefix, module in network.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            yield f"{prefix}.{name}" if prefix else name, parameter, isinstance(module, NORM_LAYERS)
