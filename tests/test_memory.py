"""Memory that does not suffice is said in a line that names the work and what to lower."""

from __future__ import annotations

import errno

import numpy as np
import pytest
import torch

from graftwork.cli.terminal import exit_code
from graftwork.common.errors import RunError
from graftwork.common.memory import memory_for, memory_lack


def too_large() -> None:
    torch.empty(1 << 60)


def too_many() -> None:
    np.empty((1 << 30, 1 << 20))


@pytest.mark.parametrize("fails", [too_large, too_many])
def test_work_without_memory_says_what_it_was_and_what_to_lower(fails) -> None:  # type: ignore[no-untyped-def]
    said = r"r: memory ran out while predicting \(.+\). Lower training.workers."
    with (
        pytest.raises(RunError, match=said),
        memory_for("predicting", "lower training.workers", where="r"),
    ):
        fails()


@pytest.mark.parametrize("fails", [too_large, too_many])
def test_outside_of_such_work_it_is_no_fault_of_graftwork(fails, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        fails()
    assert exit_code(caught.value) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: out of memory (")
    assert "Fix: use a lower --workers" in said
    assert "fault of graftwork" not in said


def test_other_errors_are_left_alone() -> None:
    assert not memory_lack(RuntimeError("sizes do not match"))
    assert not memory_lack(OSError(errno.ENOSPC, "No space left on device"))
    assert memory_lack(OSError(errno.ENOMEM, "Cannot allocate memory"))
    assert memory_lack(torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(ValueError, match="another"), memory_for("predicting", "lower it"):
        raise ValueError("another")
