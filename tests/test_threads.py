"""Small computations use one thread, whatever the recipe or the machine has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from graftwork.common.networks import head_solver
from graftwork.common.networks.heads import LinearHead
from graftwork.common.threads import PER_THREAD, threads_for


@pytest.fixture(autouse=True)
def _four() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("work", "expected"), [(0, 1), (PER_THREAD, 1), (2.5 * PER_THREAD, 2), (1e12, 4)])
def test_threads_follow_the_work_and_are_given_back(work: float, expected: int) -> None:
    with threads_for(work) as used:
        assert used == torch.get_num_threads() == expected
    assert torch.get_num_threads() == 4
    with pytest.raises(ValueError, match="inside"), threads_for(work):
        raise ValueError("inside")
    assert torch.get_num_threads() == 4


def test_the_solver_of_a_small_head_uses_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    minimise = head_solver._minimise

    def noted(*of: object) -> object:
        seen.append(torch.get_num_threads())
        return minimise(*of)  # type: ignore[arg-type]

    monkeypatch.setattr(head_solver, "_minimise", noted)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(100, 20, generator=generator)
    truth = (features[:, 0] > 0).long()
    loss = torch.nn.functional.cross_entropy
    head_solver.solve(
        LinearHead(20, 2), features, truth, lambda logits, y: loss(logits, y, reduction="none"), decay=0.1
    )
    assert seen == [1]
