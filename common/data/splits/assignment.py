"""Which group goes to which part: by the hash of its name first, then as the shares and the classes ask for.

Arrays in, arrays out; `splits.py` says what they mean.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import combinations, permutations
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


_PARTS_OF = 10_000  # shares are counted in these, so that sums are whole numbers


def allot(
    names: Sequence[str], counts: NDArray[np.int64], shares: NDArray[np.float64], seed: int
) -> NDArray[np.int64]:
    """The part of each group.

    Args:
        names: the groups, each once.
        counts: [groups, classes + 1], cases of each class in each group, the last column all its cases.
        shares: [parts], of all cases, of each class alike; they sum to 1. The last part is the one that trains.
        seed: another seed, another order of the groups.

    Returns:
        [groups], numbers of parts. Each part's share of the cases, and of each class, is matched as closely as
        whole groups allow; a class that occurs in enough groups is in every part. One that does not is kept
        in the last part first, then in the others in their order: a class without training cases cannot be predicted.
        The order
        of `names` and the history of the process have no say.
    """
    rank = ranks(names, seed)
    return _improve(counts, _fill(counts, rank, shares), rank, shares)


def ranks(names: Sequence[str], seed: int) -> NDArray[np.int64]:
    """The place of each group in the order of SHA-256(seed, name)."""
    digests = b"".join(hashlib.sha256(f"{seed}\0{name}".encode()).digest()[:8] for name in names)
    order = np.argsort(np.frombuffer(digests, dtype=">u8"), kind="stable")
    rank = np.empty(len(names), dtype=np.int64)
    rank[order] = np.arange(len(names))
    return rank


def _fill(
    counts: NDArray[np.int64], rank: NDArray[np.int64], shares: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Lay the groups of each stratum end to end in the order of `rank`; where its middle falls, a group goes.

    The stratum of a group is its rarest class.
    """
    classes = counts.shape[1] - 1
    rarity = np.argsort(counts[:, :-1].sum(0), kind="stable")
    present = counts[:, rarity] > 0
    stratum = np.where(present.any(1), present.argmax(1), classes)
    order = np.lexsort((rank, stratum))
    size = counts[order, -1].astype(np.float64)
    ends = np.cumsum(size)
    starts_of = np.searchsorted(stratum[order], np.arange(classes + 2))
    before = np.append(0.0, ends)[starts_of]
    total = np.diff(before)[stratum[order]]
    middle = (ends - size / 2 - before[stratum[order]]) / total
    chosen = np.empty(len(counts), dtype=np.int64)
    chosen[order] = np.searchsorted(np.cumsum(shares)[:-1], middle, side="right")
    return chosen


def _improve(
    counts: NDArray[np.int64], chosen: NDArray[np.int64], rank: NDArray[np.int64], shares: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Move or exchange single groups as long as that brings the parts nearer to their shares.

    What falls: the squared distance, in cases, of each part from its share of all cases and of each class,
    and before these the classes that a part lacks. Groups with equal counts are one kind here, which keeps
    this quick for any number of groups. All numbers are whole, so every machine decides alike.
    """
    kinds, kind = np.unique(counts, axis=0, return_inverse=True)
    kind = kind.reshape(-1)
    held = np.zeros((len(shares), len(kinds)), dtype=np.int64)  # groups of each kind in each part
    np.add.at(held, (chosen, kind), 1)
    aim = _Aim(kinds, counts, shares)
    for _ in range(200 + 4 * len(shares) * counts.shape[1]):
        cases = held @ kinds
        moves = [aim.move(cases, held, *pair) for pair in permutations(range(len(shares)), 2)]
        *gain, one, other, first, second = min(moves)
        if gain >= [0, 0]:
            swaps = [aim.swap(cases, held, *pair) for pair in combinations(range(len(shares)), 2)]
            *gain, one, other, first, second = min(swaps)
        if gain >= [0, 0]:
            break
        held[[first, second], one] += [-1, 1]
        if other >= 0:
            held[[first, second], other] += [1, -1]
    return _settle(chosen, kind, rank, held)


class _Aim:
    """How much nearer to its aim a change brings a division of groups; see `_improve`."""

    _NONE = (2**62, 0, -1, -1, -1, -1)

    def __init__(
        self, kinds: NDArray[np.int64], counts: NDArray[np.int64], shares: NDArray[np.float64]
    ) -> None:
        whole = np.round(shares * _PARTS_OF).astype(np.int64)
        whole[-1] = _PARTS_OF - whole[:-1].sum()
        self.kinds, self.has = kinds, kinds > 0
        every = counts.sum(0)
        self.wanted = whole[:, None] * every
        # classes count alike, whatever their size; all cases count four times as much as all classes
        classes = len(every) - 1
        self.weight = np.append(16 * every[-1] // (classes * np.maximum(every[:-1], 1)) + 1, 64)
        # [parts, classes + 1], how grave it is that a part lacks a class. Of a class in two groups the last part
        # asks for one and the first for the other; what trains counts double, and no part is ever left empty
        groups = (counts[:, :-1] > 0).sum(0)
        asks = np.append(np.arange(2, len(shares) + 1), 1)
        self.needed = np.full((len(shares), len(every)), 3 * len(shares) * len(every), dtype=np.int64)
        self.needed[:, :-1] = groups >= asks[:, None]
        self.needed[-1, :-1] *= 2
        self.square = (kinds**2) @ self.weight * _PARTS_OF

    def _slope(self, cases: NDArray[np.int64], first: int, second: int) -> NDArray[np.int64]:
        off = cases * _PARTS_OF - self.wanted
        slope: NDArray[np.int64] = self.kinds @ (self.weight * (off[second] - off[first]))
        return slope

    def _lost(self, cases: NDArray[np.int64], first: int, second: int) -> NDArray[np.int64]:
        """How much more is lacked after one group of each kind has moved."""
        emptied: NDArray[np.int64] = (self.has & (self.kinds == cases[first])) @ self.needed[first]
        filled: NDArray[np.int64] = (self.has & (cases[second] == 0)) @ self.needed[second]
        return emptied - filled

    def move(
        self, cases: NDArray[np.int64], held: NDArray[np.int64], first: int, second: int
    ) -> tuple[int, int, int, int, int, int]:
        """The best move of one group: (change of what is lacked, change, its kind, -1, from, to)."""
        there = np.flatnonzero(held[first])
        if not len(there):
            return self._NONE
        lost = self._lost(cases, first, second)[there]
        change = (self.square + self._slope(cases, first, second))[there]
        least = np.flatnonzero(lost == lost.min())
        best = int(least[change[least].argmin()])
        return int(lost[best]), int(change[best]), int(there[best]), -1, first, second

    def swap(
        self, cases: NDArray[np.int64], held: NDArray[np.int64], first: int, second: int
    ) -> tuple[int, int, int, int, int, int]:
        """The best exchange that leaves nothing lacking: (0, change, the kind that goes, the one that comes, from,
        to)."""
        slope = self._slope(cases, first, second)
        go = self._likely(self.square + slope, held[first])
        come = self._likely(self.square - slope, held[second])
        if not len(go) or not len(come):
            return self._NONE
        mutual = (self.kinds[go] * self.weight) @ self.kinds[come].T
        change = (self.square + slope)[go][:, None] + (self.square - slope)[come] - 2 * mutual * _PARTS_OF
        row, column = np.unravel_index(int(change.argmin()), change.shape)
        one, other = int(go[row]), int(come[column])
        after = cases[[first, second]] + np.outer([-1, 1], self.kinds[one] - self.kinds[other])
        pair = [first, second]
        if ((after == 0) & (cases[pair] > 0) & (self.needed[pair] > 0)).any():
            return self._NONE
        return 0, int(change[row, column]), one, other, first, second

    @staticmethod
    def _likely(change: NDArray[np.int64], there: NDArray[np.int64]) -> NDArray[np.int64]:
        """The kinds of a part that are most likely to gain by an exchange."""
        held = np.flatnonzero(there)
        return held[np.argsort(change[held], kind="stable")[:256]]


def _settle(
    chosen: NDArray[np.int64], kind: NDArray[np.int64], rank: NDArray[np.int64], held: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Apply `held`; of each kind, the groups last in `rank` move."""
    result = chosen.copy()
    before = np.zeros_like(held)
    np.add.at(before, (chosen, kind), 1)
    for each in np.flatnonzero((before != held).any(0)):
        members = np.flatnonzero(kind == each)
        members = members[np.argsort(rank[members])]
        loose: list[int] = []
        for part in range(len(held)):
            surplus = before[part, each] - held[part, each]
            if surplus > 0:
                loose += members[chosen[members] == part][-surplus:].tolist()
        for part in range(len(held)):
            for _ in range(held[part, each] - before[part, each]):
                result[loose.pop()] = part
    return result
