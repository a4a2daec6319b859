"""Signals before, between and after the steps of a training: exit code 75 (130), and the same command goes on."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_runs import digests, forked, recipe_file, start, synthetic_data

from graftwork.common.errors import Interrupted
from graftwork.common.runs.run_folder import open_run
from graftwork.common.runs.signals import Signals, Stopped

MOMENTS = (
    "graftwork.common.verbs:prepared", "graftwork.common.training.network_setup:build_network",
    "graftwork.common.training.classification:decode_once",
    "graftwork.common.pipeline:evaluate_run", "graftwork.common.pipeline:report",
)  # fmt: skip


def command_in_child(words: list[str], moment: str, number: int) -> None:
    """The body of a child: the command line, to which a signal comes as the function at `moment` begins."""
    import torch

    from graftwork.cli import main
    from graftwork.common.runs.signals import heed

    heed()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)
    if moment:
        module, _, name = moment.partition(":")
        holder = importlib.import_module(module)
        *inner, last = name.split(".")
        for each in inner:
            holder = getattr(holder, each)
        original = getattr(holder, last)

        def signalled(*words: object, **named: object) -> object:
            os.kill(os.getpid(), number)
            return original(*words, **named)

        setattr(holder, last, signalled)
    main(words)


def test_at_each_moment_of_a_run_a_signal_exits_resumable_and_changes_no_byte(tmp_path: Path) -> None:
    data, recipe = synthetic_data(tmp_path / "set"), recipe_file(tmp_path / "recipe")

    def finished(out: str, moment: str, number: int) -> int:
        words = ["run", str(recipe), "--data", str(data), "--out", str(tmp_path / out), "training.epochs=1"]
        child = start(forked(), words, moment, number, body=command_in_child)
        child.join()
        return int(child.exitcode)

    assert finished("whole", "", 0) == 0
    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    for place, moment in enumerate(MOMENTS):
        number = numbers[place % 3]
        assert finished("cut", moment, number) == (130 if number == signal.SIGINT else 75), moment
    assert finished("cut", "", 0) == 0
    whole, cut = (next((tmp_path / out / "small").iterdir()) for out in ("whole", "cut"))
    assert open_run(cut).complete
    assert digests(whole) == digests(cut)


HOOKED = """
import os, signal, sys
class Hook:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.{number})
sys.meta_path.insert(0, Hook())
sys.argv = ["graftwork", *{words!r}]
from graftwork.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("module", "number", "code", "words"),
    [
        ("typer", "SIGUSR1", 75, ["ls"]),
        ("pandas", "SIGTERM", 75, ["run", "camera_trap/own_linear-probe", "--data", "."]),
        ("numpy", "SIGUSR1", 75, ["evaluate", "table.csv", "--protocol", "isic2018-task3"]),
    ],
)
def test_a_signal_that_comes_while_a_library_is_imported(
    tmp_path: Path, module: str, number: str, code: int, words: list[str]
) -> None:
    (tmp_path / "table.csv").write_text("case,target,score_a\n")
    (tmp_path / "labels.csv").write_text("path,species,location\na.jpg,fox,s\n")
    done = subprocess.run(
        [sys.executable, "-c", HOOKED.format(module=module, number=number, words=words)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr.count("stopped by " + number)) == (code, 1), done.stderr
    assert "Traceback" not in done.stderr


def test_a_signal_is_noted_between_steps_and_acts_at_once_where_nothing_is_to_be_written() -> None:
    with pytest.raises(Interrupted, match="SIGUSR1") as caught, Signals(Path("r")) as signals:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert signals.caught == signal.SIGUSR1  # noted, and nothing raised
        with signals.at_once():
            raise AssertionError
    assert caught.value.exit_code == 75
    with pytest.raises(Interrupted, match="SIGTERM"), Signals(Path("r")) as signals, signals.at_once():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_second_signal_ends_work_that_does_not_heed_the_first() -> None:
    with pytest.raises(Interrupted) as caught, Signals(Path("r")):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert caught.value.exit_code == 75
    assert issubclass(Stopped, KeyboardInterrupt)
