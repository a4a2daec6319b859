"""The command line: standard output and error, exit codes, start-up time, and suggestions for typing errors."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
import pty
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from jsonschema import Draft202012Validator

import graftwork
from graftwork.cli import app, main, terminal
from graftwork.common import catalogue, verbs
from graftwork.common.data import domain
from graftwork.common.data.checks.findings import Finding, Findings
from graftwork.common.errors import GraftworkError, Interrupted, RunError, UsageError
from graftwork.common.evaluation.metrics.operating_points import Threshold
from graftwork.common.evaluation.results import Evaluation, Result
from graftwork.common.recipe import keys, load

HEAVY = (
    "torch",
    "torchvision",
    "monai",
    "timm",
    "pandas",
    "matplotlib",
    "accelerate",
    "albumentations",
    "scipy",
)
RECIPE = "chest_xray/kermany_linear-probe"


@dataclasses.dataclass
class Output:
    code: int
    out: str
    err: str


Call = Callable[..., Output]


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Call]:
    """Run the command line in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRAFTWORK_CACHE", str(tmp_path / ".cache"))
    monkeypatch.setattr(terminal.settings, "traceback", False)

    def run_command(*words: str) -> Output:
        with pytest.raises(SystemExit) as ended:
            main(words)
        output = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Output(ended.value.code, output.out, output.err)

    yield run_command


def process(*words: str, code: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
    start = ["-c", code] if code else ["-m", "graftwork"]
    return subprocess.run(
        [sys.executable, *start, *words], capture_output=True, text=True, timeout=60, **options
    )


# List and show


def test_version_is_printed(call: Call) -> None:
    assert call("--version") == Output(0, f"graftwork {graftwork.__version__}\n", "")


def test_help_has_valid_examples(call: Call) -> None:
    output = call("--help")
    assert output.code == 0
    assert output.err == ""
    assert output.out == call().out, "without a word, the same"
    command: Any = typer.main.get_command(app)
    visited = 0
    for path, verb in [*command.commands.items(), *command.commands["weights"].commands.items()]:
        if path == "weights":
            continue
        group = ["weights"] if verb in command.commands["weights"].commands.values() else []
        output = call(*group, path, "--help")
        assert output.code == 0
        assert "Examples:\n    graftwork " in output.out, path
        assert max(map(len, output.out.splitlines())) <= 100
        examples = [line.split()[1:] for line in output.out.splitlines() if line.startswith("    graftwork ")]
        assert examples and all(words[: len(group) + 1] == [*group, path] for words in examples)
        for words in examples:
            if ">" in words:
                words = words[: words.index(">")]
            verb.make_context(path, words[len(group) + 1 :])
            visited += 1
    assert visited > 15


@pytest.mark.parametrize(
    "verb", ["ls", "show", "cp", "doctor", "check", "run", "resume", "evaluate", "report"]
)
def test_every_command_is_a_function_of_the_same_name(verb: str) -> None:
    command: Any = typer.main.get_command(app)
    words = (getattr(verbs, verb).__doc__ or "").partition("\n")[0]
    assert words
    assert command.commands[verb].help.startswith(words)


def test_ls_lists_all_names(call: Call) -> None:
    output = call("ls", "recipes")
    assert output.code == 0
    lines = output.out.splitlines()
    assert lines[0].split() == ["recipes", "title", "expect"]
    assert [line.split()[0] for line in lines[1:]] == domain.names("recipes")
    everything = call("ls").out
    for kind in ("recipes", "datasets", "protocols"):
        assert all(name in everything for name in domain.names(kind))  # type: ignore[arg-type]
    assert "tf_efficientnet_lite0" in everything
    found = json.loads(call("ls", "datasets", "--json").out)
    assert [entry["name"] for entry in found] == domain.names("datasets")
    assert all(entry["kind"] == "datasets" and entry["title"] for entry in found)
    assert json.loads(call("weights", "ls", "--json").out) == json.loads(call("ls", "weights", "--json").out)


def test_expected_result_is_read_from_the_head_of_a_recipe() -> None:
    head = "# A trial.\n#\n# run:    graftwork run a/b\n# expect: AUROC 0.99\n#         (0.98 to 0.995)\n"
    head += "\n# expect: no\n"
    assert catalogue._head(head) == {"run": "graftwork run a/b", "expect": "AUROC 0.99 (0.98 to 0.995)"}
    for entry in verbs.ls("recipes"):
        assert entry.about


def test_a_broken_recipe_is_skipped_with_a_warning(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    real = domain.recipe_text

    def broken(name: str) -> tuple[str, str]:
        return ("title = ", "there") if name == RECIPE else real(name)

    monkeypatch.setattr(domain, "recipe_text", broken)
    output = call("ls", "recipes")
    assert output.code == 0
    assert RECIPE not in output.out
    assert len(output.out.splitlines()) == len(domain.names("recipes"))
    assert output.err.startswith(f"warning: {RECIPE} is skipped: there: not valid TOML")


def test_show_prints_texts_unchanged(call: Call) -> None:
    assert call("show", RECIPE).out == domain.recipe_text(RECIPE)[0]
    assert call("show", "chest_xray/kermany").out.strip() == domain.card("chest_xray/kermany").strip()
    methods = call("show", "chest_xray/kermany", "--kind", "protocol").out
    assert methods.strip() == domain.protocol("chest_xray/kermany").methods().strip()
    found = json.loads(call("show", RECIPE, "--json").out)
    assert (found["kind"], found["name"], found["text"]) == ("recipe", RECIPE, domain.recipe_text(RECIPE)[0])


def test_show_lists_recipe_keys(call: Call) -> None:
    text = call("show", "recipe-keys").out
    assert all(f"| `{name}` |" in text for name in keys())
    found = json.loads(call("show", "recipe-keys", "--json").out)
    assert [key["name"] for key in found["keys"]] == list(keys())


def test_schema_is_valid(call: Call) -> None:
    found = json.loads(call("schema").out)
    Draft202012Validator.check_schema(found)
    Draft202012Validator(found).validate(tomllib.loads(domain.recipe_text(RECIPE)[0]))


def test_cp_copies_and_never_overwrites(call: Call, tmp_path: Path) -> None:
    output = call("cp", RECIPE)
    assert (output.code, output.out) == (0, "kermany_linear-probe.toml\n")
    copied = tmp_path / "kermany_linear-probe.toml"
    assert copied.read_text() == domain.recipe_text(RECIPE)[0]
    copied.write_text("mine")
    output = call("cp", RECIPE, ".")
    assert output.code == 2
    assert "kermany_linear-probe.toml: the file already exists" in output.err
    assert copied.read_text() == "mine"
    assert call("cp", RECIPE, "new/mine ü.toml").out == "new/mine ü.toml\n"
    assert call("cp", RECIPE, "folder").out == "folder/kermany_linear-probe.toml\n"
    (tmp_path / "dead.toml").symlink_to("nowhere")
    assert call("cp", RECIPE, "dead.toml").code == 2
    assert call("cp", RECIPE, "mine.toml/x.toml").code == 0
    assert "cannot be written" in call("cp", RECIPE, f"{copied.name}/x.toml").err


def test_a_copied_recipe_is_found_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = verbs.cp(RECIPE, "mine.toml")
    name, recipe = verbs.find_recipe("mine.toml", ["training.epochs=2"])
    assert (name, recipe.training.epochs) == ("mine", 2)
    assert verbs.find_recipe(path)[1] == verbs.find_recipe(RECIPE)[1] == load(domain.recipe_text(RECIPE)[0])
    assert verbs.find_recipe(RECIPE)[0] == RECIPE
    with pytest.raises(UsageError, match=f"Use the name of the recipe: {RECIPE}"):
        verbs.find_recipe(f"{RECIPE}.toml")
    with pytest.raises(GraftworkError, match=r"none\.toml: there is no such file"):
        verbs.find_recipe("none.toml")
    with pytest.raises(UsageError, match=RECIPE):
        verbs.find_recipe("kermany_linear-probe")


def test_doctor_reports_the_machine_and_its_problems(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    from graftwork.common import doctor

    output = call("doctor")
    assert output.code == 0
    for word in ("Python", "device", "CPUs", "memory", "/dev/shm", "cache", "weights", "DICOM", "torch "):
        assert word in output.out
    assert json.loads(call("doctor", "--json").out)["ok"]
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "scipy" else "1")
    output = call("doctor")
    assert output.code == 1, "something was found"
    assert "problem: not installed: scipy; pip install scipy" in output.out


# Typing errors


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["find-rate", "x"], ["find-rate: this command is now `graftwork find-lr`. Run `graftwork find-lr`."]),
        (["rnu"], ["No such command 'rnu'", "'run'", "graftwork --help"]),
        (["ls", "recipez"], ["ls: unknown kind: recipez. Did you mean recipes?"]),
        (["ls", "x"], ["Use one of recipes, datasets, protocols, weights, backbones."]),
        (["ls", "--jsno"], ["No such option: --jsno", "--json", "graftwork ls --help"]),
        (["show"], ["Missing argument 'NAME'", "graftwork show --help"]),
        (["show", "chest_xray/kermany_linear_probe"], ["no recipe, dataset or protocol", f"Did you mean {RECIPE}?"]),
        (["show", "chest_xray/kermany", "--kind", "paper"], ["Use one of recipe, dataset, protocol."]),
        (["show", "../../etc/passwd"], ["no recipe, dataset or protocol has this name"]),
        (["cp", "kermany_full"], ["there is no recipe of this name", "chest_xray/kermany_full"]),
        (["check", "chest_xray/kermany"], ["Missing option '--data'"]),
        (["check", "chest_xray/kermani", "--data", "."], ["there is no dataset of this name", "chest_xray/kermany"]),
        (["check", "chest_xray/kermany", "--data", "none"], ["none: there is no such folder"]),
        (["check", "chest_xray/kermany", "--data", ".", "--workers", "-1"], ["'--workers'", "equal to 0"]),
        (["run", RECIPE], ["Missing option '--data'", "graftwork run --help"]),
        (["run", RECIPE, "--data", ".", "epochs=3"], ["1 error.", "did you mean training.epochs?"]),
        (["run", "none.toml", "--data", "."], ["none.toml: there is no such file"]),
        (["run", "kermany", "--data", "."], ["there is no recipe of this name"]),
        (["run", RECIPE, "--data", "none"], ["none: there is no such folder"]),
        (["resume", "none"], ["none: not the folder of a run: no such folder"]),
        (["resume", "."], ["it holds no recipe.toml"]),
        (["evaluate", "none"], ["none: not the folder of a run"]),
        (["report"], ["Missing argument 'RUN'"]),
        (["report", "none"], ["none: not the folder of a run"]),
        (["synthesize", "chest_xray/kermany", "x", "--cases", "0"], ["'--cases'"]),
        (["synthesize", "none", "x"], ["there is no dataset of this name"]),
        (["weights", "lss"], ["No such command 'lss'", "graftwork weights --help"]),
        (["weights", "pack", "x.rar"], ["x.rar: the name of an archive ends in .tar or .zip"]),
        (["weights", "unpack", "none.tar"], ["none.tar: there is no such archive"]),
    ],
)  # fmt: skip
def test_a_typing_error_gives_one_or_two_lines_on_standard_error(
    call: Call, words: list[str], parts: list[str]
) -> None:
    output = call(*words)
    assert output.code == 2
    assert output.out == ""
    assert len(output.err.splitlines()) <= 2
    assert output.err.startswith("error: ")
    assert "?." not in output.err and ".." not in output.err.replace("../..", "")
    for part in parts:
        assert part in output.err


def test_each_error_of_a_recipe_has_its_own_line(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(
        'title = "x"\ndataset = "chest_xray/kermany"\n[strategy]\nname = "fulll"\n[training]\nepochs = 0\n'
    )
    output = call("run", "bad.toml", "--data", ".", "sed=1")
    assert output.code == 2
    assert output.err == (
        "error: bad.toml: 3 errors.\n"
        '  strategy.name (line 4): expected "linear-probe", "last-stages", "gradual", "full", "layer-wise", '
        '"probe-then-full", "surgical", "bias-and-norm", "lora", "scratch" or "phases", found "fulll"\n'
        "  training.epochs (line 6): expected a whole number at least 1, found 0\n"
        "  sed (command line): unknown key; did you mean seed?\n"
    )


def test_control_characters_are_escaped(call: Call) -> None:
    output = call("run", "\x1b[31mred\a.toml", "--data", ".")
    assert "\x1b" not in output.err
    assert r"\x1b[31mred\x07.toml" in output.err


# Findings, runs and exit codes


def test_check_exits_with_1_for_findings(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = Finding("missing", "error", "a\nb.png", "listed and not there", "unpack again", 3, ("b.png",))
    results = [Findings("plants/leaves", 1200, 300, (odd,)), Findings("plants/leaves", 1200, 300, ())]
    seen: list[Any] = []

    def check(*words: Any, **options: Any) -> Findings:
        seen.append((words, options))
        return results[len(seen) % 2 - 1]

    monkeypatch.setattr(verbs, "check", check)
    output = call("check", "plants/leaves", "--data", "d", "--workers", "0")
    assert seen[0] == (("plants/leaves", Path("d")), {"workers": 0, "progress": None})
    assert output.code == 1
    assert output.err == ""
    assert "listed and not there" in output.out and "unpack again" in output.out
    assert output.out.splitlines()[-1] == "plants/leaves: 1,200 cases, 300 groups; 1 finding"
    output = call("check", "plants/leaves", "--data", "d")
    assert (output.code, output.out) == (0, "plants/leaves: 1,200 cases, 300 groups; no findings\n")
    assert (
        json.loads(call("check", "plants/leaves", "--data", "d", "--json").out)["findings"][0]["count"] == 3
    )


def test_check_and_synthesize_work_together(call: Call) -> None:
    assert call("synthesize", "chest_xray/kermany", "toy", "--cases", "24", "--seed", "3") == Output(
        0, "toy\n", ""
    )
    assert "toy: the folder is not empty" in call("synthesize", "chest_xray/kermany", "toy").err
    sorted(Path("toy/train/NORMAL").iterdir())[0].write_bytes(b"")
    output = call("check", "chest_xray/kermany", "--data", "toy", "--workers", "0", "--json")
    assert output.code == 1
    assert "unreadable" in {finding["kind"] for finding in json.loads(output.out)["findings"]}
    assert output.err == "", "no bar in a pipe"


def evaluation() -> Evaluation:
    return Evaluation(
        protocol="plants/leaves", version=1, kind="binary", classes=("healthy", "ill"), part="test", n=1234,
        groups=300, excluded=0, thresholds=(Threshold(0.4321, "youden"),), bootstrap=2000, seed=0, confidence=0.95,
        numpy="2", unit="leaf", group="plant", group_column="group",
        results=(
            Result("auroc", "", 0.987654, 0.98, 0.99, 1234, 600, 300, "", "group bootstrap"),
            Result("sensitivity", "", math.nan, math.nan, math.nan, 0, 0, 0, "no positive case", "none"),
        ),
    )  # fmt: skip


def test_run_prints_metrics_and_then_the_path_of_the_report(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def run(*words: Any, **options: Any) -> verbs.RunResult:
        seen.append((words, options))
        logging.getLogger("graftwork").info("epoch 1 of 1")
        return verbs.RunResult(Path("r"), Path("r/report.html"), evaluation(), already=len(seen) > 1)

    monkeypatch.setattr(verbs, "run", run)
    output = call("run", "a/b", "--data", "d", "seed=1", "--allow-leak", "title=x y", "--out", "o")
    assert seen[0] == (
        ("a/b", Path("d"), Path("o"), ["seed=1", "title=x y"]),
        {"allow_leak": True, "allow": (), "progress": None},
    )
    assert output.code == 0
    assert output.err == "epoch 1 of 1\n"
    assert "test: 1,234 cases, 300 groups, protocol plants/leaves\n" in output.out
    assert "threshold: 0.432, youden on validation\n" in output.out
    assert "95 % interval" in output.out
    assert ["auroc", "0.988", "0.980", "to", "0.990", "1234", "600"] in [
        line.split() for line in output.out.splitlines()
    ]
    assert "undefined" in output.out and "no positive case" in output.out
    assert output.out.splitlines()[-1] == "r/report.html"
    output = call("run", "a/b", "--data", "d")
    assert "r is already complete; nothing to do" in output.err
    assert output.out.splitlines()[-1] == "r/report.html"
    assert seen[1][0] == ("a/b", Path("d"), Path("runs"), ())
    found = json.loads(call("run", "a/b", "--data", "d", "--json").out)
    assert (found["report"], found["already"]) == ("r/report.html", True)
    assert found["evaluation"]["n"] == 1234


def test_resume_evaluate_and_report_pass_their_arguments(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    result = verbs.RunResult(Path("r"), Path("r/report.html"), evaluation())
    monkeypatch.setattr(verbs, "resume", lambda *words, **_: seen.append(words) or result)
    monkeypatch.setattr(verbs, "evaluate", lambda *words: seen.append(words) or evaluation())
    monkeypatch.setattr(verbs, "report", lambda *words: seen.append(words) or Path("page.html"))
    assert call("resume", "r").out.splitlines()[-1] == "r/report.html"
    assert "0.988" in call("evaluate", "r").out
    assert json.loads(call("evaluate", "r", "--json").out)["n"] == 1234
    assert call("report", "a", "b", "--out", "c.html") == Output(0, "page.html\n", "")
    assert seen == [(Path("r"),), ("r",), ("r",), ([Path("a"), Path("b")], Path("c.html"))]


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (RunError("no room", where="r", remedy="free some"), 2, "error: r: no room. Free some."),
        (Interrupted("stopped by SIGTERM", exit_code=75, where="r"), 75, "stopped: r: stopped by SIGTERM."),
        (Interrupted("stopped by SIGINT", exit_code=130), 130, "stopped: stopped by SIGINT."),
        (KeyboardInterrupt(), 130, "stopped: interrupted"),
    ],
)  # fmt: skip
def test_each_error_has_its_exit_code(
    call: Call, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, line: str
) -> None:
    def run(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(verbs, "run", run)
    assert call("run", "a/b", "--data", "d") == Output(code, "", f"{line}\n")


def test_a_bug_is_one_line_and_the_traceback_is_saved(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def run(*_: object, **__: object) -> None:
        raise ZeroDivisionError("division by zero\nand more")

    monkeypatch.setattr(verbs, "run", run)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    output = call("run", "a/b", "--data", "d")
    assert output.code == 70
    start, _, file = output.err.strip().rpartition(" ")
    assert start == "error: ZeroDivisionError: division by zero. This is a bug in graftwork. Traceback:"
    assert "ZeroDivisionError: division by zero\nand more" in Path(file).read_text()
    assert "in run" in Path(file).read_text()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    assert "Run again with --traceback" in call("run", "a/b", "--data", "d").err
    with pytest.raises(ZeroDivisionError):
        main(["run", "a/b", "--data", "d", "--traceback"])


def test_only_the_first_process_of_a_run_prints(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object, **__: object) -> verbs.RunResult:
        logging.getLogger("graftwork").info("epoch 1 of 1")
        return verbs.RunResult(Path("r"), Path("r/report.html"), evaluation())

    monkeypatch.setattr(verbs, "run", run)
    monkeypatch.setenv("RANK", "1")
    assert call("run", "a/b", "--data", "d") == Output(0, "", "")
    monkeypatch.setenv("RANK", "0")
    assert "r/report.html" in call("run", "a/b", "--data", "d").out


def test_log_handlers_are_removed(call: Call) -> None:
    logger = logging.getLogger("graftwork")
    before = (logger.level, logger.propagate, list(logger.handlers))
    call("ls")
    assert (logger.level, logger.propagate, list(logger.handlers)) == before


# Processes: streams, speed, signals


@pytest.mark.parametrize(
    "words",
    [[], ["--version"], ["--help"], ["ls"], ["show", RECIPE], ["show", "chest_xray/kermany"], ["doctor"], ["schema"],
     ["rnu"], ["run", RECIPE, "--data", "d", "epochs=3"], ["show", "none"], ["run", "--help"]],
    ids=" ".join,
)  # fmt: skip
def test_light_commands_import_nothing_heavy(words: list[str]) -> None:
    code = f"""
import sys
from graftwork.cli import main
try:
    main({words!r})
except SystemExit:
    pass
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.__stderr__)
"""
    done = process(code=code)
    assert done.stderr.splitlines()[-1] == "[]"


def test_results_and_errors_go_to_their_streams_with_an_exit_code() -> None:
    done = process("ls", "recipes")
    assert (done.returncode, done.stderr) == (0, "")
    assert RECIPE in done.stdout
    done = process("ls", "x")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["schema"], ["ls"], ["--help"], ["--version"]], ids=" ".join)
def test_a_closed_pipe_is_no_error(words: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "graftwork", *words], stdout=gone, stderr=subprocess.PIPE, check=False
        )
    assert done.stderr == b""
    assert done.returncode in (0, 1)


@pytest.mark.parametrize("words", [["schema"], ["ls"], ["--version"]], ids=" ".join)
def test_a_full_disk_on_standard_output_is_an_error(words: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "graftwork", *words], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 2
    assert done.stderr == (
        b"error: standard output: cannot write: No space left on device. Free disk space, or write the output to "
        b"another disk.\n"
    )


def test_an_interrupt_ends_quietly(tmp_path: Path) -> None:
    code = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell starts without one
from graftwork.common import verbs
from graftwork.cli import main
def slow(*words, **options):
    print("started", flush=True)
    time.sleep(60)
verbs.check = slow
main(["check", "a/b", "--data", "d"])
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None and running.stderr is not None
        assert running.stdout.readline() == "started\n"
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 130
        assert running.stderr.read() == "stopped: interrupted\n"


def test_characters_that_a_stream_cannot_encode_are_escaped(tmp_path: Path) -> None:
    surroundings = {**os.environ, "PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "0"}
    done = process("cp", RECIPE, "/proc/ü/肺.toml", env=surroundings)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert r"\u80ba.toml" in done.stderr
    done = process("cp", RECIPE, "肺.toml", env=surroundings, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\\u80ba.toml\n", "")
    assert (tmp_path / "肺.toml").exists()
    done = process("run", os.fsdecode(b"\xff.toml"), "--data", ".", env=surroundings)
    assert done.returncode == 2
    assert r"\udcff.toml: there is no such file" in done.stderr


def at_terminal(code: str, columns: int = 80) -> str:
    """The output of a process with a terminal on both streams."""
    main_end, other_end = pty.openpty()
    surroundings = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color"}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=other_end, stdout=other_end, stderr=other_end, env=surroundings
    ) as running:
        os.close(other_end)
        shown = b""
        while True:
            try:
                piece = os.read(main_end, 65536)
            except OSError:  # the other end was closed
                break
            if not piece:
                break
            shown += piece
        running.wait(20)
    os.close(main_end)
    return shown.decode()


def test_a_bar_shows_on_a_terminal_with_the_log_above_it() -> None:
    code = """
import logging, time
from graftwork.cli import terminal
with terminal.logs(), terminal.bars() as move:
    for step in range(4 if move else 0):
        move("epoch [1] of 2", step + 1, 4)
        time.sleep(0.1)
    logging.getLogger("graftwork").info("epoch [1] is done")
    if move:
        move("epoch 2 of 2", 1, 4)
        time.sleep(0.3)
print("the end")
"""
    shown = at_terminal(code)
    assert "epoch [1] of 2" in shown
    assert "4/4" in shown
    assert "epoch [1] is done" in shown
    assert "epoch 2 of 2" in shown
    assert "the end" in shown
    quiet = process(code=code)
    assert quiet.stdout == "the end\n"
    assert quiet.stderr == "epoch [1] is done\n"


def test_tables_fit_a_terminal_and_have_one_line_per_row_in_a_pipe() -> None:
    code = "from graftwork.cli import main; main(['ls', 'recipes'])"
    shown = at_terminal(code, columns=70)
    assert RECIPE in shown, "a name stays whole, so that it can be copied"
    piped = process(code=code).stdout
    assert len(piped.splitlines()) == len(domain.names("recipes")) + 1
    assert not any(line != line.rstrip() for line in piped.splitlines())
    assert "\x1b" not in piped


# Completion


def complete(*words: str) -> list[str]:
    surroundings = {
        **os.environ,
        "_GRAFTWORK_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(["graftwork", *words]),
        "COMP_CWORD": str(len(words)),
    }
    return process(env=surroundings).stdout.split()


def test_the_shell_completes_names_keys_and_values() -> None:
    assert {"run", "report", "resume"} <= set(complete("r"))
    assert complete("show", "chest_xray/kermany_li") == [RECIPE]
    assert complete("show", "recipe-") == ["recipe-keys"]
    assert complete("run", "chest_xray/kermany_sc") == ["chest_xray/kermany_scratch"]
    assert complete("check", "chest") == ["chest_xray/kermany"]
    assert complete("ls", "w") == ["weights"]
    assert complete("run", RECIPE, "training.ep") == ["training.epochs="]
    offered = complete("run", RECIPE, "strategy.name=")
    assert offered[0] == "strategy.name=linear-probe" and "strategy.name=scratch" in offered
    assert len(offered) == 11


def test_the_shell_completes_recipe_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from graftwork.cli.completion import recipes_or_files

    monkeypatch.chdir(tmp_path)
    for name in ("mine.toml", "mine.txt", "more/other.toml", ".hidden.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert recipes_or_files("m") == ["mine.toml", "more/"]
    assert recipes_or_files("more/") == ["more/other.toml"]
    assert recipes_or_files(f"{tmp_path}/mi") == [f"{tmp_path}/mine.toml"]
    assert recipes_or_files("none/x") == []
    assert recipes_or_files("[") == []
    assert "/proc/" in recipes_or_files("/pro")


def test_completion_installs_with_one_command(tmp_path: Path) -> None:
    surroundings = {**os.environ, "HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = process("--install-completion", "bash", env=surroundings)
    assert done.returncode == 0
    assert (
        "_GRAFTWORK_COMPLETE=complete_bash" in (tmp_path / ".bash_completions" / "graftwork.sh").read_text()
    )
    assert "graftwork.sh" in (tmp_path / ".bashrc").read_text()
