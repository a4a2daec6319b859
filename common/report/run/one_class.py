"""Each class against the rest, on the evaluated part: the input of curves and decision tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from graftwork.common.report.formatting import shortened

if TYPE_CHECKING:
    import pandas as pd

    from graftwork.common.evaluation import Evaluation, Result, Threshold


class ScoredTarget(Protocol):
    """A target with its columns in a table of predictions."""

    @property
    def kind(self) -> str: ...
    @property
    def classes(self) -> Sequence[str]: ...
    @property
    def columns(self) -> Sequence[str]: ...
    @property
    def scores(self) -> Sequence[str]: ...


class Evaluated(Protocol):
    """Predictions and their evaluation, of a run or of any table."""

    @property
    def target(self) -> ScoredTarget: ...
    @property
    def evaluation(self) -> Evaluation: ...
    @property
    def predictions(self) -> pd.DataFrame: ...
    @property
    def image(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def group(self) -> str: ...
    def overall(self, metric: str) -> Result | None: ...


@dataclass(frozen=True, eq=False)
class OneClass:
    """A class against the rest on one part: y [n] of 0 and 1, s [n], groups [n], and its threshold, if any."""

    name: str
    y: NDArray[np.int64]
    s: NDArray[np.float64]
    groups: NDArray[Any]
    threshold: Threshold | None
    style: int

    @property
    def defined(self) -> bool:
        """Whether there are positive and negative cases, so that there is a curve."""
        return 0 < int(self.y.sum()) < len(self.y)

    @property
    def lack(self) -> str:
        """The reason why there is no curve."""
        if not len(self.y):
            return f"{self.name}: no case with a known label"
        return f"{self.name}: no {'positive' if not self.y.sum() else 'negative'} case"


def classes_of(facts: Evaluated) -> list[OneClass]:
    """Each class against the rest; of a binary target only the positive class. Unknown labels are left out."""
    target, evaluation = facts.target, facts.evaluation
    frame = facts.predictions[facts.predictions["part"] == evaluation.part]
    thresholds = {threshold.label: threshold for threshold in evaluation.thresholds}
    found: list[OneClass] = []
    for place, name in enumerate(target.classes):
        if target.kind == "binary" and place == 0:
            continue
        column = frame[target.columns[place if target.kind == "multi-label" else 0]]
        known = column.notna().to_numpy()
        truth = (column[known] == (1 if target.kind == "multi-label" else name)).to_numpy(dtype=bool)
        found.append(
            OneClass(
                name=shortened(name, 40),
                y=np.asarray(truth, dtype=np.int64),
                s=frame[target.scores[place]].to_numpy(dtype=np.float64)[known],
                groups=frame["group"].astype(str).to_numpy(dtype=object)[known],
                threshold=thresholds.get(name, thresholds.get("") if target.kind == "binary" else None),
                style=len(found),
            )
        )
    return found
