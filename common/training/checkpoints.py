"""Checkpoints: save and restore network, optimizer, EMA and training state completely."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from graftwork.common.errors import RunError
from graftwork.common.files.untrusted_files import interpreting
from graftwork.common.networks.lora import merged_state
from graftwork.common.networks.network import AnyNetwork
from graftwork.common.networks.stages import HEAD
from graftwork.common.runs.training_state import State
from graftwork.common.training.ema import Average
from graftwork.common.training.inference import shared
from graftwork.common.training.optimizer import Pull, optimizer_of

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor

    from graftwork.common.recipe.sections import TrainingSection
    from graftwork.common.runs.run_folder import Run


log = logging.getLogger("graftwork")


@dataclass
class Trainable:
    """A network with what changes it.

    Attributes:
        network: as it was built, with its pretrained weights, when this object is made.
        optimizer: AdamW over all parameters, frozen ones too.
        average: the EMA of the weights, if the recipe asks for one.
        pull: towards the pretrained weights, where the recipe asks for it; it follows from the network as built,
            so nothing of it is saved.
        head_only: only the head changes, so `last` holds the head alone. `best` is always a whole network.
    """

    network: AnyNetwork
    optimizer: torch.optim.Optimizer
    average: Average | None
    pull: Pull | None
    head_only: bool = False

    @classmethod
    def of(cls, network: AnyNetwork, settings: TrainingSection, *, head_only: bool = False) -> Trainable:
        """For a network before its first training step."""
        return cls(
            network,
            optimizer_of(network, settings),
            Average(network, settings.ema) if settings.ema else None,
            Pull(network, settings.l2_sp) if settings.l2_sp else None,
            head_only,
        )


def save(run: Run, which: str, trainable: Trainable, state: State, accelerator: Accelerator) -> None:
    """Have the main process write `last` or `best`, while the others wait."""
    share_quarantine(state, accelerator)
    if accelerator.is_main_process:
        write(run, which, trainable, state)
    accelerator.wait_for_everyone()


def write(run: Run, which: str, trainable: Trainable, state: State) -> None:
    """Write `last`, from which a run is resumed: the weights, what the optimiser and the average hold, the state; or
    `best`, which is used: the averaged weights where there are such, updates merged into them."""
    network, average = trainable.network, trainable.average
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    held = {
        f"{names[id(parameter)]}/{key}": value.contiguous()
        for parameter, moments in trainable.optimizer.state.items()
        for key, value in moments.items()
    }
    if average is not None:
        held |= {f"{name}/average": value.contiguous() for name, value in average.tensors().items()}
        state.averaged = average.steps
    if which == "last":
        model = _changing(trainable)
    elif average is not None:
        with average.swapped():
            model = {name: value.clone() for name, value in merged_state(network).items()}
    else:
        model = merged_state(network)
    run.save(which, {name: value.contiguous() for name, value in model.items()}, held, state)
    run.write_progress(state)


def _changing(trainable: Trainable) -> dict[str, Tensor]:
    """The tensors that training changes."""
    everything = trainable.network.state_dict()
    if not trainable.head_only:
        return everything
    return {name: value for name, value in everything.items() if trainable.network.stage_of(name) == HEAD}


def restore(run: Run, trainable: Trainable) -> State | None:
    """Restore the checkpoint `last`; None if there is none yet."""
    with interpreting(run.folder, RunError):
        saved = run.saved("last")
        if saved is None:
            return None
        model, held, state = saved
        # the pretrained weights of a run are checked when it is resumed, so the backbone is the same
        part = trainable.head_only and set(model) == set(_changing(trainable))
        trainable.network.load_state_dict(model, strict=not part)
        parameters = dict(trainable.network.named_parameters())
        averaged: dict[str, Tensor] = {}
        for name, value in held.items():
            owner, _, key = name.rpartition("/")
            if key == "average":
                averaged[owner] = value
                continue
            parameter = parameters[owner]
            # step is a number; the moments take the parameter's device and memory layout
            trainable.optimizer.state[parameter][key] = (
                value if key == "step" else torch.empty_like(parameter).copy_(value)
            )
        if trainable.average is not None:
            trainable.average.load(averaged, state.averaged)
        log.info("resuming at epoch %d, step %d", state.epoch, state.step)
        return state


def share_quarantine(state: State, accelerator: Accelerator) -> None:
    """Share the unreadable images between all processes."""
    for met in shared([state.quarantine], accelerator):
        state.quarantine.update(met)
