"""Signals that ask a run to stop, heard between its steps."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from graftwork.common.errors import Interrupted

__all__ = ["Signals"]


class Signals:
    """SIGTERM and SIGUSR1 (a cluster takes its machine back) and SIGINT, heard between steps.

    Within the context the first signal is noted, so that a step ends and its state is written; a second one acts
    at once. `check` raises `Interrupted` once one was noted, for work that needs nothing written.
    """

    CODES: Mapping[int, int] = {signal.SIGTERM: 75, signal.SIGUSR1: 75, signal.SIGINT: 130}

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.caught: int | None = None
        self._before: dict[int, Any] = {}

    def _note(self, number: int, _: FrameType | None) -> None:
        self.caught = number
        signal.signal(number, self._before.get(number) or signal.SIG_DFL)

    def __enter__(self) -> Signals:
        with contextlib.suppress(ValueError):  # not in the main thread: the program around us decides
            for number in self.CODES:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise `Interrupted` where a signal was noted."""
        if self.caught is not None:
            self.stop()

    def stop(self) -> NoReturn:
        """Raise `Interrupted`; for a signal that another process of this run noted too."""
        number = signal.SIGTERM if self.caught is None else self.caught
        raise Interrupted(
            f"stopped by {signal.Signals(number).name}; what was done is kept",
            exit_code=self.CODES[number],
            where=self.folder,
            remedy=f"go on with: graftwork resume {self.folder}",
        )
