"""Sums over cases from the highest score down, of many resamples at once: what risk over coverage is made from."""

from __future__ import annotations

import numpy as np

from graftwork.common.evaluation.arrays import FloatArray, IntArray

__all__ = ["RankedSums"]


class RankedSums:
    """Cases in the order of falling scores, those of equal score taken together.

    Args:
        scores: [n]. units: [n], the unit of each in 0..count-1, whose multiplicities are given later.
    """

    def __init__(self, scores: FloatArray, units: IntArray) -> None:
        self._order = np.argsort(-scores, kind="stable")
        self._units = units[self._order]
        ranked = scores[self._order]
        ends = np.append(ranked[1:] != ranked[:-1], True) if len(ranked) else np.zeros(0, np.bool_)
        self._last = np.flatnonzero(ends)

    def of(self, multiplicity: FloatArray, *values: FloatArray) -> list[FloatArray]:
        """The number of cases, and the sum of each of `values` ([n]), down to each distinct score.

        Args:
            multiplicity: [b, units].

        Returns:
            Arrays [b, 1 + distinct scores], each from 0 at a score above all.
        """
        drawn = np.take(multiplicity, self._units, axis=1)
        return [self._summed(drawn), *(self._summed(drawn * each[self._order]) for each in values)]

    def _summed(self, drawn: FloatArray) -> FloatArray:
        found = np.zeros((len(drawn), len(self._last) + 1))
        sums = np.cumsum(drawn, axis=1)
        found[:, 1:] = sums if len(self._last) == sums.shape[1] else sums[:, self._last]
        return found
