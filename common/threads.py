"""How many threads a computation uses: small ones are slower with many, above all beside other work."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

PER_THREAD = (
    20e6  # multiply-adds of one matrix product that occupy a thread for longer than it takes to start it
)


@contextlib.contextmanager
def threads_for(work: float) -> Iterator[int]:
    """Use as many threads of torch as a computation has work for, at most those in use now.

    Args:
        work: multiply-adds of each of its matrix products.
    """
    import torch

    before = torch.get_num_threads()
    wanted = max(1, min(before, int(work / PER_THREAD)))
    torch.set_num_threads(wanted)
    try:
        yield wanted
    finally:
        torch.set_num_threads(before)
