"""The stages of a network: the parts that are frozen or opened as one, from input to output."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

from timm.models._manipulate import MATCH_PREV_GROUP, group_with_matcher
from torch import nn

from graftwork.common.recipe.strategy import HEAD as HEAD

_Matcher = dict[str, Any] | Callable[[str], Any]


@dataclass(frozen=True)
class Stage:
    """A part of a backbone that is frozen or opened as one.

    Attributes:
        name: stable and readable, the path of its first module: `stem`, `blocks.0`, `layer4`, `conv_head`.
        parameters, buffers: names inside the backbone module, as its `named_parameters` and `named_buffers`
            give them.
    """

    name: str
    parameters: tuple[str, ...]
    buffers: tuple[str, ...]


class Staged(nn.Module):
    """A network of which each tensor belongs to a stage: those of its backbone, and `HEAD` for everything after it.

    Attributes:
        stages: names of the backbone's stages from input to output; `HEAD` comes after them.
    """

    stages: tuple[str, ...]

    def lay_out(self, stages: Iterable[Stage], below: str = "backbone") -> None:
        """Take note of the stages of the module called `below`; to be called once, when all modules are there."""
        self.stages = tuple(stage.name for stage in stages)
        self._below = below
        self._stage_of = {
            f"{below}.{tensor}": stage.name
            for stage in stages
            for tensor in (*stage.parameters, *stage.buffers)
        }
        for name, _ in reversed(
            list(self.named_modules())
        ):  # a module belongs to the stage of all its tensors
            if name.partition(".")[0] == below:
                within = {stage for key, stage in self._stage_of.items() if key.startswith(f"{name}.")}
                if len(within) == 1:
                    self._stage_of[name] = within.pop()

    def stage_of(self, name: str) -> str:
        """The stage of a parameter, a buffer or a module by its name in this network.

        A module without tensors (dropout, drop-path) belongs to the stage around it; one that holds several
        stages, to the last.
        """
        if name and name.partition(".")[0] != self._below:
            return HEAD
        while name and name not in self._stage_of:
            name = name.rpartition(".")[0]
        return self._stage_of.get(name, self.stages[-1])


def stages_of(network: nn.Module) -> tuple[Stage, ...]:
    """Group all parameters and buffers by timm's own coarse matcher, with three adjustments.

    A convolution after the blocks (`conv_head`) is a stage of its own, where timm adds it to the last block.
    A norm layer that would stand alone (the last one of DenseNet, Swin, ViT; those of VGG) belongs to the
    stage before it. Tables of positions that all blocks read belong to the stem.
    """
    parameters = dict(network.named_parameters())
    buffers = dict(network.named_buffers())
    names = [*parameters, *buffers]
    shared = [name for name in names if name.split(".")[0] in ("rope", "rel_pos_bias")]
    rest = [(name, None) for name in names if name not in shared]
    matcher = _without_merging(cast(Any, network).group_matcher(coarse=True))
    groups: list[list[str]] = []
    for _, members in sorted(group_with_matcher(iter(rest), matcher).items()):
        holds_weights = any(name in parameters and parameters[name].ndim > 1 for name in members)
        if groups and not holds_weights:
            groups[-1] += members
        else:
            groups.append(list(members))
    groups[0] += shared
    if sorted(name for group in groups for name in group) != sorted(names):
        raise RuntimeError(f"the stages of {type(network).__name__} do not hold each tensor exactly once")
    return tuple(
        Stage(
            "stem" if position == 0 else _stage_name(group, names),
            tuple(f"network.{name}" for name in group if name in parameters),
            tuple(f"network.{name}" for name in group if name in buffers),
        )
        for position, group in enumerate(groups)
    )


def _without_merging(matcher: _Matcher) -> _Matcher:
    """timm's matcher, with what it adds to the group before as a group of its own, in the same order."""
    if not isinstance(matcher, dict):
        return matcher

    def apart(rule: tuple[str, Any]) -> tuple[str, Any]:
        pattern, suffix = rule
        return pattern, (MATCH_PREV_GROUP[0] - 1,) if suffix == MATCH_PREV_GROUP else suffix

    return {
        key: [apart(rule) for rule in rules] if isinstance(rules, list | tuple) else rules
        for key, rules in matcher.items()
    }


def _stage_name(group: Iterable[str], names: Iterable[str]) -> str:
    """The shortest path of modules to the group's first tensor under which no other group's tensor lies."""
    inside = set(group)
    first = next(iter(group)).split(".")
    for depth in range(1, len(first)):
        path = ".".join(first[:depth])
        if all(name in inside for name in names if name.startswith(path + ".")):
            return path
    return ".".join(first)
