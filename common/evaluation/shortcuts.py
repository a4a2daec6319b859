"""Whether scores tell where a case comes from, and whether that goes with the label: the marks of a shortcut."""

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


TOLD = 0.6  # an area above it, by its whole interval, says that the source is told from the score


@dataclass(frozen=True)
class Shortcut:
    """What the scores of one class say of one value of a covariate.

    Attributes:
        covariate, value: the source, against all others. label: the class; empty for a binary target.
        area, interval: how well the score tells the source among cases *without* the class, 0.5 to 1, whichever way
            round; among these the label cannot be what it tells.
        there, elsewhere: share of cases with the class. difference: of the two, with its interval and p.
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
        """Whether the score tells the source, and the source goes with the label."""
        apart = self.difference
        return self.interval.low > TOLD and (apart.low > 0 or apart.high < 0)

    def describe(self) -> str:
        """The numbers, in words."""
        of = f"{self.label}, " if self.label else ""
        return (
            f"{of}AUROC {self.area:.3f} ({self.interval.low:.3f} to {self.interval.high:.3f}), class "
            f"{100 * self.there:.1f} % there, {100 * self.elsewhere:.1f} % elsewhere"
        )


def warnings_of(probed: Sequence[Shortcut]) -> list[str]:
    """A sentence for each value of a covariate of which a shortcut is suspected, with the classes."""
    by_value: dict[tuple[str, str], list[Shortcut]] = {}
    for each in probed:
        if each.suspected:
            by_value.setdefault((each.covariate, each.value), []).append(each)
    return [
        f"A shortcut is possible: among cases without the class, scores tell {covariate} {value} from others, and the "
        f"class goes with it ({'; '.join(each.describe() for each in found)}). Part of the performance may be "
        "knowledge of the source."
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
    """Ask of every class and value of some covariates whether the score tells the value, and the label goes with it.

    It is a probe of scores, not of features: what a network knows of the source and does not put into its scores is
    not seen. A source may also differ in what is truly hard; the warning is a reason to look, not a verdict.

    Args:
        as `subgroups`. Values with fewer than ten groups, or of all cases, are left out; of two values one is asked.

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

                def told(drawn: FloatArray, area=area, turned=turned) -> FloatArray:  # type: ignore[no-untyped-def]
                    values: FloatArray = 1.0 - area(drawn) if turned else area(drawn)
                    return values

                areas, one, other = replicate(
                    [told, there, elsewhere],
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
                        float(told(once)[0]),
                        expanded_interval(areas, count, evaluation.confidence),
                        *shares,
                        difference_of(shares[0] - shares[1], one - other, count, evaluation.confidence),
                    )
                )
    return tuple(found)
