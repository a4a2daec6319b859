"""A backbone cut in two between two stages, so that the frozen half need run only once.

The network is traced into a graph (torch.fx, with timm's own list of what must not be traced into). Everything up to
the last operation of the frozen stages is the prefix, everything behind it the suffix; where several values would cross
and all but one are the same for every image, such as tables of positions, these are noted as constants. A cut is held
against the whole network before it is used; where it does not give the same, the network is not cut.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from graftwork.common.networks.backbones import Backbone


@dataclass(frozen=True)
class Uncut:
    """A network that cannot be cut there, and why."""

    reason: str


class Cut:
    """A backbone in two halves.

    Attributes:
        prefix: images [B, C, H, W] to what crosses, in eval mode; a copy, norms folded, of the stages as they were.
        suffix: what crosses to pooled features [B, width]; shares modules and parameters with the backbone.
        shape: of what crosses, for one image.
    """

    def __init__(self, prefix: nn.Module, suffix: _Suffix, shape: tuple[int, ...]) -> None:
        self.prefix, self.suffix, self.shape = prefix, suffix, shape

    def name_of(self, backbone: Backbone) -> str:
        """The prefix in words: `resnet50 to 2048`, `tf_efficientnet_lite0 (same padding) to 112x14x14`."""
        padding = getattr(backbone, "padding", "")
        return (
            f"{backbone.name}{f' ({padding} padding)' if padding else ''} to {'x'.join(map(str, self.shape))}"
        )


class _Suffix:
    """The second half, by the graph of the mode that its stages are in: dropout within functions is part of it."""

    def __init__(self, learning: fx.GraphModule, resting: fx.GraphModule, modules: list[nn.Module]) -> None:
        self._learning, self._resting, self._modules = learning, resting, modules

    def __call__(self, crossing: Tensor) -> Tensor:
        graph = self._learning if any(module.training for module in self._modules) else self._resting
        features: Tensor = graph(crossing)
        return features


class _Identity(_Suffix):
    """Behind the last stage nothing is left to do."""

    def __init__(self) -> None:
        pass

    def __call__(self, crossing: Tensor) -> Tensor:
        return crossing


def cut(backbone: Backbone, stages: int, *, size: int) -> Cut | Uncut:
    """Cut a backbone behind its first stages.

    The prefix is taken of the weights as they are now. The modes of the backbone's modules are left as they were.

    Args:
        stages: how many, from 1 to all; behind all of them cross the pooled features.
        size: side of the images, px; a cut is good for these alone.
    """
    if not 1 <= stages <= len(backbone.stages):
        raise ValueError(f"a cut behind {stages} of {len(backbone.stages)} stages")
    with _modes_kept(backbone), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        device = next(backbone.parameters()).device
        images = [torch.randn(count, _channels(backbone), size, size, device=device) for count in (2, 3)]
        try:
            backbone.eval()
            resting = _Halves(backbone, stages, images)
        except (
            Exception
        ) as error:  # tracing runs the network's own code on stand-ins, which fails in many ways
            if stages < len(backbone.stages):
                return Uncut(
                    f"{backbone.name} cannot be cut behind {_last(backbone, stages)} ({_first_line(error)})"
                )
            whole = copy.deepcopy(backbone).eval().requires_grad_(False)
            return Cut(whole, _Identity(), (backbone.width,))
        if stages == len(backbone.stages):
            return Cut(folded(resting.prefix()), _Identity(), (backbone.width,))
        try:
            backbone.train()
            learning = _Halves(backbone, stages, images)
        except Exception as error:
            return Uncut(
                f"{backbone.name} cannot be cut behind {_last(backbone, stages)} ({_first_line(error)})"
            )
        suffix = _Suffix(learning.suffix(), resting.suffix(), _modules_behind(backbone, stages))
        prefix = resting.prefix()
        if not _same(backbone, prefix, suffix, stages, images[0]):
            return Uncut(f"{backbone.name}, cut behind {_last(backbone, stages)}, does not give the same")
        with torch.no_grad():
            backbone.eval()
            shape = tuple(prefix(images[0])[0].shape)
        return Cut(folded(prefix), suffix, shape)


def fingerprint(backbone: Backbone, stages: int) -> str:
    """SHA-256 of all that the first stages compute with: their names, weights and statistics as they are now."""
    digest = hashlib.sha256(f"{backbone.name} {getattr(backbone, 'padding', '')} {stages}".encode())
    tensors = dict([*backbone.named_parameters(), *backbone.named_buffers()])
    for stage in backbone.stages[:stages]:
        for name in (*stage.parameters, *stage.buffers):
            value = tensors[name].detach().cpu()
            digest.update(f"{stage.name} {name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update((value.float() if value.dtype == torch.bfloat16 else value).numpy().tobytes())
    return digest.hexdigest()


def folded(prefix: fx.GraphModule) -> nn.Module:
    """A copy with each batch norm that follows a convolution or a linear layer folded into it; of eval mode, without
    gradients, channels last."""
    whole = copy.deepcopy(prefix)
    modules = dict(whole.named_modules())
    uses: dict[str, int] = {}
    for node in whole.graph.nodes:
        if node.op == "call_module":
            uses[node.target] = uses.get(node.target, 0) + 1
    for node in whole.graph.nodes:
        before = node.args[0] if node.op == "call_module" and node.args else None
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) != 1:
            continue
        layer, norm = modules[str(before.target)], modules[str(node.target)]
        if not isinstance(norm, nn.modules.batchnorm._BatchNorm) or norm.running_mean is None:
            continue
        if uses[str(before.target)] > 1 or uses[str(node.target)] > 1:
            continue
        if isinstance(layer, nn.Conv2d):
            fused: nn.Module = fuse_conv_bn_eval(layer.eval(), norm.eval())
        elif isinstance(layer, nn.Linear):
            fused = fuse_linear_bn_eval(layer.eval(), norm.eval())
        else:
            continue
        _put(whole, str(before.target), fused)
        _put(
            whole, str(node.target), getattr(norm, "act", nn.Identity())
        )  # timm's norms may hold an activation
    whole.recompile()
    return whole.eval().requires_grad_(False).to(memory_format=torch.channels_last)


class _Whole(nn.Module):
    """Pixels to pooled features, under the names that the backbone's stages use."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Any:
        network: Any = self.network
        return network.forward_head(network.forward_features(images), pre_logits=True)


class _Tracer(fx.Tracer):
    """Keeps out of what timm says must not be traced into."""

    def __init__(self) -> None:
        from timm.models import _features_fx as theirs

        untyped: Any = theirs
        super().__init__(autowrap_functions=tuple(untyped.get_notrace_functions()))
        self._closed = tuple(untyped.get_notrace_modules())

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return super().is_leaf_module(m, module_qualified_name) or isinstance(m, self._closed)


class _Halves:
    """The graph of a network in the mode that it is in, with the place where it is cut."""

    def __init__(self, backbone: Backbone, stages: int, images: list[Tensor]) -> None:
        self.root = _Whole(backbone.network)
        self.graph = _Tracer().trace(self.root)
        self.nodes = list(self.graph.nodes)
        if stages == len(backbone.stages):
            return
        places = [_stage_of(node, backbone) for node in self.nodes]
        first = max(
            (at for at, place in enumerate(places) if place is not None and place < stages), default=0
        )
        last = min(
            (at for at, place in enumerate(places) if place is not None and place >= stages), default=-1
        )
        if last <= first:
            raise ValueError("later stages run before earlier ones")
        backbone.eval()  # the values that cross are wanted, and norm layers must not learn from this noise
        values = [self._values(each, last) for each in images]
        found: list[tuple[int, int, fx.Node, dict[fx.Node, Any]]] = []
        for at in range(first, last):
            crossing = self._crossing(at)
            constant = {
                node: values[0][node] for node in crossing if _equal(values[0][node], values[1][node])
            }
            rest = [node for node in crossing if node not in constant]
            if len(rest) == 1 and isinstance(values[0][rest[0]], Tensor):
                value = values[0][rest[0]]
                if len(value) == len(images[0]) and len(values[1][rest[0]]) == len(images[1]):
                    found.append((value[0].numel(), at, rest[0], constant))
        if not found:
            raise ValueError("more than one value crosses")
        _, self.at, self.boundary, self.constants = min(found, key=lambda each: each[:2])

    def _crossing(self, at: int) -> list[fx.Node]:
        place = {node: number for number, node in enumerate(self.nodes)}
        return [node for node in self.nodes[: at + 1] if any(place[user] > at for user in node.users)]

    def _values(self, images: Tensor, until: int) -> dict[fx.Node, Any]:
        """What each node up to `until` puts out."""
        runner = fx.Interpreter(fx.GraphModule(self.root, self.graph))
        runner.env = {}
        with torch.no_grad():
            arguments = iter([images])
            for node in self.nodes[:until]:
                runner.env[node] = next(arguments) if node.op == "placeholder" else runner.run_node(node)
        return dict(runner.env)

    def prefix(self) -> fx.GraphModule:
        """Images to what crosses."""
        if not hasattr(self, "at"):
            return fx.GraphModule(self.root, self.graph)
        graph = fx.Graph()
        new: dict[fx.Node, Any] = {}
        for node in self.nodes[: self.at + 1]:
            new[node] = graph.node_copy(node, lambda each: new[each])
        graph.output(new[self.boundary])
        return fx.GraphModule(self.root, graph)  # nothing is left out: in-place operations have no users

    def suffix(self) -> fx.GraphModule:
        """What crosses to pooled features."""
        graph = fx.Graph()
        new: dict[fx.Node, Any] = {}
        new[self.boundary] = graph.placeholder("crossing")
        constants: dict[str, Any] = {}
        for number, (node, value) in enumerate(self.constants.items()):
            if isinstance(value, Tensor):
                constants[f"constant_{number}"] = value
                new[node] = graph.get_attr(f"constant_{number}")
            else:
                new[node] = value
        for node in self.nodes[self.at + 1 :]:
            new[node] = graph.node_copy(node, lambda each: new[each])
        holder = nn.Module()
        holder.network = self.root.network
        for name, value in constants.items():
            holder.register_buffer(name, value)
        for name, value in vars(self.root).items():  # plain tensors found in tracing
            if isinstance(value, Tensor):
                setattr(holder, name, value)
        return fx.GraphModule(holder, graph)


def _stage_of(node: fx.Node, backbone: Backbone) -> int | None:
    """The stage whose tensors a node uses; None where it uses none. Of several the last."""
    if node.op not in ("call_module", "get_attr"):
        return None
    name = str(node.target)
    found = [
        number
        for number, stage in enumerate(backbone.stages)
        if any(each == name or each.startswith(f"{name}.") for each in (*stage.parameters, *stage.buffers))
    ]
    return max(found, default=None)


def _equal(one: Any, other: Any) -> bool:
    """Whether a value is the same for other images, and another number of them."""
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return isinstance(one, Tensor) and isinstance(other, Tensor) and torch.equal(one, other)
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)


def _same(backbone: Backbone, prefix: nn.Module, suffix: _Suffix, stages: int, images: Tensor) -> bool:
    """Whether prefix and suffix give what the backbone gives, at rest and while the later stages learn."""
    kept = {name: buffer.clone() for name, buffer in backbone.named_buffers()}
    results = []
    for learning in (False, True):
        outcomes = []
        for halves in (False, True):
            backbone.eval()
            with torch.no_grad():
                crossing = prefix(images)
            for module in _modules_behind(backbone, stages) if learning else ():
                module.training = True
            torch.manual_seed(1)
            with torch.no_grad():
                outcomes.append(suffix(crossing) if halves else backbone(images))
                for name, buffer in backbone.named_buffers():
                    buffer.copy_(kept[name])
        one, other = outcomes
        results.append(torch.allclose(one, other, rtol=0.0, atol=1e-5 * float(one.abs().max())))
    return all(results)


def _modules_behind(backbone: Backbone, stages: int) -> list[nn.Module]:
    """The modules that hold tensors of later stages alone, and those within them that hold none."""
    behind = {name for stage in backbone.stages[stages:] for name in (*stage.parameters, *stage.buffers)}
    every = [name for name, _ in [*backbone.named_parameters(), *backbone.named_buffers()]]
    found = []
    homes: set[str] = set()
    for name, module in backbone.named_modules():
        inside = [each for each in every if each.startswith(f"{name}.")]
        if inside and all(each in behind for each in inside):
            homes.add(name)
            found.append(module)
        elif not inside and any(name.startswith(f"{home}.") for home in homes):
            found.append(module)
    return found


def _put(whole: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(whole.get_submodule(parent), name, module)


def _channels(backbone: Backbone) -> int:
    return len(backbone.mean)


def _last(backbone: Backbone, stages: int) -> str:
    return backbone.stages[stages - 1].name


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).split("\n")[0][:200]


@contextlib.contextmanager
def _modes_kept(module: nn.Module) -> Iterator[None]:
    before = [(each, each.training) for each in module.modules()]
    try:
        yield
    finally:
        for each, training in before:
            each.training = training
