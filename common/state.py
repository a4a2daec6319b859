"""Where a training stands: all that has a history and is no tensor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["State"]


@dataclass
class State:
    """Where training stands. Together with the tensors beside it, all that a resumed run needs.

    Attributes:
        epoch, step: the next step to be done, epochs counted from 1 and steps from 0.
        best_value, best_epoch: the validation's primary metric at its best so far (None before the first).
        phase_best: the same at its best in the phase of the strategy under way.
        stale: epochs since then (early stopping, the end of a phase).
        rate_stale, reductions: epochs since then or since the rate was lowered last, and how often it was.
        plateaus: the epochs after which a phase was ended because validation stood still.
        halvings: how often the parts of a batch were halved for want of memory.
        averaged: steps that the moving average of the weights has seen.
        finished: training has ended, by its epochs or early.
        loss_sum, loss_count: of the epoch under way.
        log: a line an epoch, as in log.jsonl.
        ledger: a row an epoch and stage, as in ledger.csv.
        quarantine: row of the manifest to (stage, reason), for pictures that could not be read.
    """

    epoch: int = 1
    step: int = 0
    best_value: float | None = None
    best_epoch: int = 0
    phase_best: float | None = None
    stale: int = 0
    rate_stale: int = 0
    reductions: int = 0
    plateaus: list[int] = field(default_factory=list)
    halvings: int = 0
    averaged: int = 0
    finished: bool = False
    loss_sum: float = 0.0
    loss_count: int = 0
    log: list[dict[str, Any]] = field(default_factory=list)
    ledger: list[dict[str, Any]] = field(default_factory=list)
    quarantine: dict[str, list[str]] = field(default_factory=dict)
