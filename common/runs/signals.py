"""Signals that ask for an end: SIGTERM and SIGUSR1 (a cluster takes its machine back) and SIGINT (Ctrl-C).

The command line handles them from its first line on (`heed`); a run and a prediction first finish the current step
(`Signals`). This module imports nothing that takes time.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from graftwork.common.errors import Interrupted

CODES: Mapping[int, int] = {signal.SIGTERM: 75, signal.SIGUSR1: 75, signal.SIGINT: 130}
"""Signals and the exit codes that they end in; 75 is EX_TEMPFAIL: the same command goes on."""


class Stopped(KeyboardInterrupt):
    """A signal came where nothing has to be written first: what is kept is whole, and the rest is done again.

    A `KeyboardInterrupt`, so that no `except Exception` on the way swallows it.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(signal.Signals(number).name)

    @property
    def exit_code(self) -> int:
        """With which the process ends."""
        return CODES[self.number]


class _Heeding:
    """Raises `Stopped` in the process that began to heed; a process forked from it ends as the system has it."""

    def __init__(self) -> None:
        self.process, self.heard = os.getpid(), 0

    def __call__(self, number: int, _: FrameType | None) -> None:
        if os.getpid() != self.process:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self.heard += 1
        if self.heard > 2:  # twice it was raised, and something holds the process up
            os._exit(CODES[number])
        raise Stopped(number)


def heed() -> None:
    """Have SIGTERM and SIGUSR1 end this process as Ctrl-C does, by `Stopped`. For a program's first line."""
    handler = _Heeding()
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, handler)


def heed_no_more(code: int) -> None:
    """Have them end this process at once with `code`, which is settled; for a program's last line."""
    for number in (signal.SIGTERM, signal.SIGUSR1):
        if isinstance(signal.getsignal(number), _Heeding):
            signal.signal(number, lambda *_: os._exit(code))


class Signals:
    """SIGTERM, SIGUSR1 and SIGINT, heard between steps.

    Within the context the first signal is noted, so that a step ends and its state is written; a second one acts
    at once, and so does the first one within `at_once`. `check` raises `Interrupted` once one was noted, for work that
    needs nothing written. In a process with no handlers of ours that is no main thread, the program around us decides.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.caught: int | None = None
        self._prompt = False
        self._process = os.getpid()
        self._before: dict[int, Any] = {}

    def _note(self, number: int, _: FrameType | None) -> None:
        again, self.caught = self.caught is not None, number
        if again:
            signal.signal(number, self._before.get(number) or signal.SIG_DFL)
        if (again or self._prompt) and os.getpid() == self._process:
            raise Stopped(number)

    def __enter__(self) -> Signals:
        with contextlib.suppress(ValueError):  # not in the main thread: the program around us decides
            for number in CODES:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, _: object, error: object, __: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if isinstance(error, Stopped):
            raise self._interrupted(error.number) from None

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """For work that keeps whole files alone: a signal ends it at once; one noted before keeps it from starting."""
        self.check()
        before, self._prompt = self._prompt, True
        try:
            yield
        finally:
            self._prompt = before

    def check(self) -> None:
        """Raise `Interrupted` where a signal was noted."""
        if self.caught is not None:
            self.stop()

    def stop(self) -> NoReturn:
        """Raise `Interrupted`; for a signal that another process of this run noted too."""
        raise self._interrupted(signal.SIGTERM if self.caught is None else self.caught)

    def _interrupted(self, number: int) -> Interrupted:
        return Interrupted(
            f"stopped by {signal.Signals(number).name}; what was done is kept",
            exit_code=CODES[number],
            where=self.folder,
            remedy=f"resume with: graftwork resume {self.folder}",
        )
