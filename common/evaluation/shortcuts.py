"""Find possible shortcuts: scores that reveal the source of a case, where the source correlates with the label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graftwork.common.evaluation.arrays import FloatArray, ratio
from graftwork.common.evaluation.intervals.bootstrap import Interval, expanded_interval, replicate
from graftwork.common.evaluation.intervals.paired_tests import Difference, difference_of
from graftwork.common.evaluation.metrics.discrimination import Ranking
from graftwork.common.evaluation.subgroup_metrics import SMALLEST, values_of
from graftwork.common.evaluation.tables.predictions import TargetLike, read_cases

if TYPE_CHECKING:
    import pandas as pd

    from graftwork.common.evaluation.protocols import Protocol
    from graftwork.common.evaluation.results import Evaluation


REVEALED = 0.6  # an AUROC whose whole interval is above it shows that the score reveals the source


@dataclass(frozen=True)
class Shortcut:
    """How well the scores of one class reveal one value of a covariate.

    Attributes:
        covariate, value: the source, against all other values. label: the class; empty for a binary target.
        area, interval: AUROC of the score for the source among cases *without* the class, 0.5 to 1 in either
            direction; among these cases the label cannot explain it.
        there, elsewhere: share of cases with the class at the source and elsewhere. difference: with its interval and
        p.
    """

    covariate: str
    value: str
    label: str
    area: float
    interval: Interval
    there: float
    elsewhere: float
    difference: Difference

    @property
    def suspected(self) -> bool:
        """Whether the score reveals the source, and the source correlates with the label."""
        apart = self.difference
        return self.interval.low > REVEALED and (apart.low > 0 or apart.high < 0)

    def describe(self) -> str:
        """The numbers, in words."""
        of = f"{self.label}, " if self.label else ""
        return (
            f"{of}AUROC {self.area:.3f} ({self.interval.low:.3f} to {self.interval.high:.3f}), class "
            f"{100 * self.there:.1f} % there, {100 * self.elsewhere:.1f} % elsewhere"
        )


def warnings_of(probed: Sequence[Shortcut]) -> list[str]:
    """A sentence for each value of a covariate that is a possible shortcut, with the classes."""
    by_value: dict[tuple[str, str], list[Shortcut]] = {}
    for each in probed:
        if each.suspected:
            by_value.setdefault((each.covariate, each.value), []).append(each)
    return [
        f"A shortcut is possible: among cases without the class, scores distinguish {covariate} {value} from other "
        f"values, and the class correlates with it ({'; '.join(each.describe() for each in found)}). Part of the "
        "performance may come from the source."
        for (covariate, value), found in by_value.items()
    ]


def source_probe(
    predictions: pd.DataFrame,
    target: TargetLike,
    protocol: Protocol,
    evaluation: Evaluation,
    covariates: Sequence[str],
    *,
    group: str = "group",
) -> tuple[Shortcut, ...]:
    """Test for each class and value of some covariates whether scores reveal the value and labels correlate with it.

    Only scores are tested, not features. A source can also differ in the difficulty of its cases: the warning is a
    reason to check, not a proof.

    Args:
        as `subgroups`. Values with fewer than ten groups, or of all cases, are left out; of two values one is tested.

    Raises:
        UsageError: as `subgroups`.
    """
    cases = read_cases(predictions, target, evaluation.part, group=group, protocol=protocol)
    codes, count = cases.units
    found = []
    for name in covariates:
        values = values_of(predictions, name, evaluation.part, cases, protocol.by)
        distinct = [each for each in sorted(set(values)) if len(np.unique(codes[values == each])) >= SMALLEST]
        for value in distinct[:1] if len(set(values)) == 2 else distinct:
            for question in cases.questions():
                here = (values == value)[question.rows]
                without = ~question.truth
                if (
                    not (here.any() and not here.all() and 0 < here[without].sum() < without.sum())
                    or count < 2
                ):
                    continue
                truth, units = question.truth, question.units
                area = Ranking(here[without], question.scores[without], units[without], count).auroc
                there, elsewhere = (ratio(truth & each, each, units, count) for each in (here, ~here))
                once = np.ones((1, count))
                turned = float(area(once)[0]) < 0.5

                def area_of(drawn: FloatArray, area=area, turned=turned) -> FloatArray:  # type: ignore[no-untyped-def]
                    values: FloatArray = 1.0 - area(drawn) if turned else area(drawn)
                    return values

                areas, one, other = replicate(
                    [area_of, there, elsewhere],
                    count,
                    items=len(truth),
                    replicates=evaluation.bootstrap,
                    seed=evaluation.seed,
                )
                shares = (float(there(once)[0]), float(elsewhere(once)[0]))
                found.append(
                    Shortcut(
                        name,
                        value,
                        question.label,
                        float(area_of(once)[0]),
                        expanded_interval(areas, count, evaluation.confidence),
                        *shares,
                        difference_of(shares[0] - shares[1], one - other, count, evaluation.confidence),
                    )
                )
    return tuple(found)
