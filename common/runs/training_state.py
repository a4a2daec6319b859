"""Where a training stands: all that has a history and is no tensor."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from graftwork.common.errors import RunError
from graftwork.common.files.untrusted_files import check_keys


@dataclass
class State:
    """Where training stands. Together with the tensors beside it, all that a resumed run needs.

    Attributes:
        epoch, step: the next step to be done, epochs counted from 1 and steps from 0.
        best_value, best_epoch: the validation's primary metric at its best so far (None before the first).
        phase_best: the same at its best in the phase of the strategy under way.
        stale: epochs since then (early stopping, the end of a phase).
        rate_stale, reductions: epochs since then or since the rate was lowered last, and how often it was.
        plateaus: the epochs after which a phase ended because validation stopped improving.
        halvings: how often the parts of a batch were halved for want of memory.
        averaged: steps of the EMA of the weights.
        finished: training has ended, by its epochs or early.
        loss_sum, loss_count: of the epoch under way.
        log: a line an epoch, as in log.jsonl.
        ledger: a row an epoch and stage, as in ledger.csv.
        quarantine: row of the manifest to (stage, reason), for images that could not be read.
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


def state_from(content: Any, where: Path) -> State:
    """The state that a JSON file holds, or that of an earlier version: what was added since has its default.

    Raises:
        RunError: it is damaged.
    """
    missing = type(None)
    kinds: dict[str, type | tuple[type, ...]] = {
        each.name: (list, missing) if "list[" in str(each.type)[:5]
        else (dict, missing) if str(each.type).startswith("dict")
        else (bool, missing) if each.type == "bool"
        else (int, missing) if each.type == "int"
        else (int, float, missing)
        for each in fields(State)
    }  # fmt: skip
    said = check_keys(content, kinds, where, RunError)
    unknown = [key for key in said if key not in kinds]
    nothing = [key for key in said if said[key] is None and key not in ("best_value", "phase_best")]
    rows = [each for name in ("log", "ledger") for each in said.get(name, []) if not isinstance(each, dict)]
    reasons = [
        row for row, each in said.get("quarantine", {}).items()
        if not row.isdecimal() or not isinstance(each, list) or len(each) != 2
        or not all(isinstance(text, str) for text in each)
    ]  # fmt: skip
    faults = [f"no key {key} is known" for key in unknown] + [f"{key} is null" for key in nothing]
    faults += ["log or ledger hold something else than objects"] * bool(rows)
    faults += [f"quarantine of row {row} is no pair of texts" for row in reasons]
    if faults or min(said.get("epoch", 1), 1) < 1 or min(said.get("step", 0), 0) < 0:
        raise RunError(
            f"damaged: {'; '.join(faults) or 'epoch or step is negative'}",
            where=where,
            remedy="remove the folder last to train this run again",
        )
    return State(**said)
