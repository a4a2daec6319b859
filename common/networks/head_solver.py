"""The head of a linear probe, solved to convergence on cached features instead of trained step by step.

Minimised is the mean loss plus decay / 2 * |W|^2 over features of mean 0 and deviation 1, the bias free, by L-BFGS (Liu
and Nocedal 1989) in double precision: of a cross-entropy over classes that is the logistic regression of scikit-learn
with C = 1 / (n * decay). Pooled features go together so closely that L-BFGS alone would take hundreds of iterations; so
it works in coordinates in which the curvature at even odds is 1 in every direction (preconditioning).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from graftwork.common.errors import RunError, UsageError
from graftwork.common.networks.heads import LinearHead
from graftwork.common.threads import threads_for

STRONGEST, WEAKEST = 1e1, 1e-5
MEMORY = 2 << 30  # bytes of standardised features held in memory; more are read again, part by part
PART = 1 << 28  # bytes of such a part
WIDEST = 8192  # features, at most, of which the curvature is computed
ROUNDING = (
    1e-6  # a deviation below this share of the largest is taken for rounding, and its feature for constant
)
HISTORY = 20  # steps that L-BFGS remembers
STALE = 60  # evaluations without a lower value after which it has come to its end
ATTEMPTS = 5  # of L-BFGS, each from the best point before, with nothing remembered


def strengths(count: int) -> tuple[float, ...]:
    """Strengths of the penalty from strong to weak, evenly spaced on a logarithmic scale: 10 to 1e-5; of one, 0.01.

    Of features with deviation 1 and of the mean loss, so they mean the same for every width and number of cases.

    Raises:
        UsageError: fewer than one is asked for.
    """
    if count < 1:
        raise UsageError(
            f"a path has at least one strength, not {count}", where="strategy.regularisation_strengths"
        )
    if count == 1:
        return (float(np.sqrt(STRONGEST * WEAKEST)),)
    return tuple(float(f"{value:.6g}") for value in np.geomspace(STRONGEST, WEAKEST, count))


@dataclass(frozen=True)
class Solved:
    """How a head was solved.

    Attributes:
        iterations: of L-BFGS.
        gradient: the largest absolute entry of the gradient of mean loss and penalty, features standardised.
        loss: the mean loss, without the penalty.
        converged: the gradient is within the tolerance.
    """

    iterations: int
    gradient: float
    loss: float
    converged: bool


class Standardised:
    """Features less their mean and divided by their deviation over all cases; what does not vary is 0.

    To be made once where several heads are solved on the same features.

    Args:
        features: [n, width], n at least 1: an array, a memory map or a tensor, of any floating type. More than 2 GiB
            (in double precision) are never held at once, but read in parts.
        device: to compute on.

    Attributes:
        mean, deviation: [width], double precision; the deviation is 0 where a feature counts as constant.

    Raises:
        UsageError: this is not such a table.
        RunError: a feature is not finite.
    """

    def __init__(self, features: Any, device: torch.device | str = "cpu") -> None:
        if getattr(features, "ndim", 0) != 2 or not features.shape[0]:
            raise UsageError(
                f"features are a table [n, width], not {getattr(features, 'shape', features)}",
                where="features",
            )
        self.device = torch.device(device)
        self._features = features
        self.cases, self.width = (int(size) for size in features.shape)
        self._size = max(1, PART // (8 * self.width))
        self._curvature: Tensor | None = None
        total = sum((part.sum(dim=0) for part in self._read()), torch.zeros(()))
        if not bool(torch.isfinite(total).all()):
            raise RunError(
                "a feature is not a finite number: the output of the backbone is invalid",
                where="features",
                remedy="use training.precision=float32",
            )
        self.mean = total / self.cases
        squares = sum(((part - self.mean).square().sum(dim=0) for part in self._read()), torch.zeros(()))
        deviation = (squares / self.cases).sqrt()
        self.deviation = torch.where(deviation > ROUNDING * deviation.max(), deviation, 0.0)
        self._scale = torch.where(self.deviation > 0, 1 / self.deviation, 0.0)
        whole = self.cases * self.width * 8 <= MEMORY
        self._held = torch.cat(list(self._parts())) if whole else None

    def _read(self) -> Iterator[Tensor]:
        for at in range(0, self.cases, self._size):
            part = self._features[at : at + self._size]
            part = part.detach() if isinstance(part, Tensor) else torch.from_numpy(np.array(part))
            yield part.to(self.device, torch.float64, copy=True)

    def _parts(self) -> Iterator[Tensor]:
        for part in self._read():
            yield part.sub_(self.mean).mul_(self._scale)

    def parts(self) -> Iterator[Tensor]:
        """All cases [n, width], in order, in one part or several."""
        yield from self._parts() if self._held is None else [self._held]

    def curvature(self) -> Tensor:
        """The mean of x x^T over the cases, [width, width]."""
        if self._curvature is None:
            products = (part.T @ part for part in self.parts())
            self._curvature = sum(products, torch.zeros((), device=self.device)) / self.cases
        return self._curvature


def solve(
    head: LinearHead,
    features: Any,
    truth: Tensor,
    loss_fn: Callable[[Tensor, Tensor], Tensor],
    *,
    decay: float,
    tolerance: float = 1e-5,
    iterations: int = 2000,
) -> Solved:
    """Solve `head` in place, from where it stands: it is a plain affine layer of the features as given afterwards.

    Deterministic on one kind of machine. Dropout has no part in it.

    Args:
        features: [n, width] as `Standardised` takes it, or such a table.
        truth: [n, ...] as `loss_fn` takes it.
        loss_fn: logits and truth to the loss of each case.
        decay: strength of the penalty, above 0; without it there is no solution where a plane parts the classes.
        tolerance: of the gradient's largest entry.
        iterations: at most.

    Raises:
        UsageError: a number is out of its range, or the sizes do not agree.
        RunError: a feature or the loss is not finite.
    """
    if not 0.0 < decay < float("inf") or not tolerance > 0.0:
        raise UsageError(f"strength and tolerance are above 0, not {decay} and {tolerance}", where="decay")
    weight, bias = head.linear.weight, head.linear.bias
    table = features if isinstance(features, Standardised) else Standardised(features, weight.device)
    if table.cases != len(truth) or table.width != head.width:
        raise UsageError(
            f"features [{table.cases}, {table.width}] do not fit {len(truth)} targets and a head of {head.width}",
            where="features",
        )
    problem = _Problem(table, truth.to(table.device), loss_fn, decay, head.outputs)
    scale = table.deviation[:, None]
    with torch.no_grad():
        slopes = weight.double().T  # [width, outputs]
        start = problem.packed(slopes * scale, bias.double() + table.mean @ slopes)
    with threads_for(len(truth) * head.width * head.outputs):
        found, count = _minimise(problem, start, tolerance, iterations)
    slopes, level = problem.unpacked(found)
    outcome = problem.at(found)
    with torch.no_grad():
        slopes = torch.where(scale > 0, slopes / scale, 0.0)
        weight.copy_(slopes.T)
        bias.copy_(level - table.mean @ slopes)
    return Solved(count, outcome.gradient, outcome.loss, outcome.gradient <= tolerance)


class _Ended(Exception):
    """The gradient is small enough, or the loss falls no further."""


def _minimise(problem: _Problem, start: Tensor, tolerance: float, iterations: int) -> tuple[Tensor, int]:
    """The best point of L-BFGS, and the number of iterations."""
    point = start.clone().requires_grad_()
    best, least, stale, count = start, float("inf"), 0, 0

    def value() -> Tensor:
        nonlocal best, least, stale
        outcome = problem.at(point.detach())
        stale += 1
        if outcome.value < least or outcome.gradient <= tolerance:
            best, least, stale = point.detach().clone(), outcome.value, 0
        # evaluated on the weights themselves, not in the inner coordinates
        if outcome.gradient <= tolerance or stale > STALE:
            raise _Ended
        point.grad = outcome.slope
        return torch.tensor(outcome.value, dtype=torch.float64)

    for _ in range(ATTEMPTS):
        before = least
        optimizer = torch.optim.LBFGS(
            [point],
            max_iter=iterations - count,
            max_eval=10 * iterations,
            tolerance_grad=0.0,
            tolerance_change=0.0,
            history_size=HISTORY,
            line_search_fn="strong_wolfe",
        )
        with contextlib.suppress(_Ended):
            cast(Any, optimizer).step(value)
        count += int(optimizer.state[point].get("n_iter", 0))
        stuck = least >= before  # the precision of the loss ends here
        if stuck or count >= iterations or problem.at(best).gradient <= tolerance:
            break
        point.data.copy_(best)
        stale = 0
    return best, count


@dataclass(frozen=True)
class _Outcome:
    value: float
    slope: Tensor
    gradient: float
    loss: float


class _Problem:
    """Mean loss and penalty as a function of one vector: V [width, outputs], row by row, and the bias [outputs].

    The weights are W = L^-T V, where L L^T is the curvature of loss and penalty at logits of 0, as if each output had
    the same. A bound of this form is Boehning's (1992).
    """

    def __init__(
        self,
        table: Standardised,
        truth: Tensor,
        loss_fn: Callable[[Tensor, Tensor], Tensor],
        decay: float,
        outputs: int,
    ) -> None:
        self.table, self.truth, self.loss_fn = table, truth, loss_fn
        self.decay, self.outputs = decay, outputs
        self.factor: Tensor | None = None
        if table.width <= WIDEST:
            curvature = self._steepness() * table.curvature()
            curvature.diagonal().add_(decay)
            self.factor = torch.linalg.cholesky(curvature)

    def _steepness(self) -> float:
        """The second derivative of a case's loss by an output at logits of 0: the mean over cases and outputs."""
        logits = torch.zeros(len(self.truth), self.outputs, dtype=torch.float64, device=self.table.device)
        generator = torch.Generator().manual_seed(0)  # signs of a trace's estimate (Hutchinson 1989)
        signs = (torch.randint(0, 2, logits.shape, generator=generator) * 2.0 - 1.0).to(logits)
        with torch.enable_grad():
            loss = self.loss_fn(logits.requires_grad_(), self.truth).double().mean()
            (first,) = torch.autograd.grad(loss, logits, create_graph=True)
            (second,) = torch.autograd.grad((first * signs).sum(), logits)
        found = float((second * signs).sum()) / self.outputs
        return found if np.isfinite(found) and found > 0 else 1.0

    def packed(self, slopes: Tensor, level: Tensor) -> Tensor:
        inner = slopes if self.factor is None else self.factor.T @ slopes
        return torch.cat([inner.reshape(-1), level.reshape(-1)])

    def unpacked(self, point: Tensor) -> tuple[Tensor, Tensor]:
        inner, level = point[: -self.outputs].reshape(-1, self.outputs), point[-self.outputs :]
        if self.factor is not None:
            inner = torch.linalg.solve_triangular(self.factor.T, inner, upper=True)
        return inner, level

    def at(self, point: Tensor) -> _Outcome:
        """Value and gradient; the loss is differentiated by the logits alone, so no part of the features is kept."""
        slopes, level = self.unpacked(point)
        logits = torch.cat([part @ slopes for part in self.table.parts()]).add_(level)
        with torch.enable_grad():
            loss = self.loss_fn(logits.requires_grad_(), self.truth).double().mean()
            (push,) = torch.autograd.grad(loss, logits)
        if not bool(torch.isfinite(loss)):
            raise RunError(
                f"the loss is {float(loss)} while the head is solved",
                where="strategy.regularisation_strengths",
                remedy="set a smaller strategy.regularisation_strengths, or look for values that are not finite",
            )
        pull, at = self.decay * slopes, 0
        for part in self.table.parts():
            pull += (push[at : at + len(part)].T @ part).T  # quicker than part.T @ push
            at += len(part)
        level_pull = push.sum(dim=0)
        steepest = max(float(pull.abs().max()), float(level_pull.abs().max()))
        if self.factor is not None:
            pull = torch.linalg.solve_triangular(self.factor, pull, upper=False)
        found = float(loss.detach())
        value = found + self.decay / 2 * float(slopes.square().sum())
        return _Outcome(value, torch.cat([pull.reshape(-1), level_pull]), steepest, found)
