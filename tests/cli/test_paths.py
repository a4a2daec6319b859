"""Every path argument accepts or refuses a pipe, device, socket, folder, file, too long name or NUL byte.

The options come from the command line, so a new option without a row here fails.
"""

from __future__ import annotations

import inspect
import os
import shutil
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from small_predictions import pictures
from small_runs import RECIPE, recipe_file, small_weights, synthetic_data

from graftwork.cli import app, main, terminal, weights
from graftwork.common import verbs
from graftwork.common.errors import as_user_error

# A complete call of each command, with each path as the name of its parameter in braces
CALLS = {
    "cp": ["cp", "chest_xray/kermany_scratch", "{to}"],
    "check": ["check", "chest_xray/kermany", "--data", "{data}", "--workers", "0"],
    "run": ["run", "{recipe}", "--data", "{data}", "--out", "{runs}"],
    "run weights": ["run", "{probe}", "--data", "{data}", "--out", "{runs}", "backbone.file={file}"],
    "resume": ["resume", "{run}"],
    "find-lr": ["find-lr", "{recipe}", "--data", "{data}", "--out", "{folder}", "--steps", "20"],
    "select": ["select", "{recipe}", "--data", "{data}", "--out", "{out}", "--among", "test_efficientnet@{file}"],
    "evaluate": [
        "evaluate", "{what}", "--protocol", "kermany", "--truth", "{truth}", "--calibration", "{calibration}",
        "--by", "sex", "--features", "{features}", "--report", "{report}",
    ],
    "evaluate run": ["evaluate", "{run}"],
    "evaluate readers": ["evaluate", "readers", "{table}", "--model", "model", "--readers", "a,b"],
    "evaluate seg": [
        "evaluate", "seg", "--truth", "{truth_masks}", "--predicted", "{predicted}", "--groups", "{groups}", "--out",
        "{out}", "--protocol", "isic2018-task1-masks",
    ],
    "evaluate boxes": [
        "evaluate", "boxes", "--truth", "{boxes}", "--predicted", "{found}", "--protocol", "coco-boxes", "--groups",
        "{box_groups}",
    ],
    "calibrate": ["calibrate", "{what}", "--protocol", "kermany", "--out", "{json}", "--truth", "{truth}"],
    "compare": [
        "compare", "{what}", "{second}", "--protocol", "kermany", "--truth", "{truth}", "--report", "{report}",
    ],
    "predict": ["predict", "{run}", "{images}", "--out", "{out}", "--workers", "0"],
    "predict a list": ["predict", "{run}", "{list}", "--root", "{root}", "--out", "{out}", "--workers", "0"],
    "merge": ["merge", "{out}"],
    "report": ["report", "{run}", "--out", "{report}"],
    "synthesize": ["synthesize", "chest_xray/kermany", "{folder}", "--cases", "20"],
    "regrid": ["regrid", "{mask}", "--like", "{like}", "--out", "{nifti}"],
    "pack": ["weights", "pack", "{archive}", "test_efficientnet.random"],
    "unpack": ["weights", "unpack", "{archive}"],
}  # fmt: skip
PATHS = [
    (call, word[word.index("{") + 1 : -1]) for call, words in CALLS.items() for word in words if "{" in word
]
# A folder where one belongs is right, and so is a new file in the place of an old one
FOLDERS = {"to", "data", "runs", "run", "folder", "truth_masks", "predicted", "images", "root", "truth"}
NEW = {"to", "out", "report", "json", "nifti", "archive"}
KINDS = ("pipe", "device", "socket", "folder", "file", "long", "long name", "NUL")


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A valid value of each path."""
    base = tmp_path_factory.mktemp("paths")
    data = synthetic_data(base / "set", cases=16)
    small = RECIPE.replace("epochs = 3", "epochs = 1").replace("size = 32", "size = 16")
    small = small.replace("bootstrap = 50", "bootstrap = 10")
    recipe = recipe_file(base / "recipe", small)
    text = small.replace('"scratch"', '"linear-probe"').replace("rotation = 10.0\nbrightness = 0.2\n", "")
    probe = recipe_file(base / "probe", text)
    run = verbs.run(recipe, data, base / "runs").folder
    rows = [f"c{n},p{n},test,{n % 2},0.{n},{'fm'[n % 2]}" for n in range(1, 9)]
    table = base / "table.csv"
    table.write_text("case,group,part,target,score_pneumonia,sex\n" + "\n".join(rows) + "\n")
    (base / "truth.csv").write_text(
        "case,target\n"
        + "".join(f"c{n},{n % 2}\n" for n in range(1, 9))
        + "".join(f"v{n},{n % 2}\n" for n in range(1, 9))
    )
    (base / "features.csv").write_text(
        "case,f1\n" + "".join(f"{e}{n},{n}\n" for e in "cv" for n in range(1, 9))
    )
    (base / "readings.csv").write_text(
        "case,target,model,a,b\n" + "c1,1,1,1,0\nc2,0,0,1,0\nc3,1,0,1,1\nc4,0,1,0,0\n"
    )
    (base / "groups.csv").write_text("case,group\na,1\n")
    (base / "box_groups.csv").write_text("case,group\n1,1\n")
    (base / "list.txt").write_text("pictures/card 00/IMG_0000.png\n")
    (base / "boxes.json").write_text(
        '{"images": [{"id": 1}], "annotations": [], "categories": [{"id": 1, "name": "a"}]}'
    )
    (base / "found.json").write_text("[]")
    with_validation = table.read_text() + table.read_text().partition("\n")[2].replace(
        "test", "validation"
    ).replace("c", "v").replace("p", "w")
    table.write_text(with_validation)
    verbs.calibrate(table, "kermany", base / "local.json", group="group")
    pictures(base / "pictures", 1)
    for name in ("masks", "others"):
        (base / name).mkdir()
        Image.fromarray(np.eye(16, dtype=np.uint8) * 255).save(base / name / "a.png")
    for name in ("a", "b"):
        nibabel.save(
            nibabel.Nifti1Image(np.eye(16, dtype=np.uint8)[..., None], np.eye(4)), base / f"{name}.nii.gz"
        )
    return {
        "to": base / "copied.toml", "data": data, "recipe": recipe, "probe": probe, "runs": base / "new", "run": run,
        "file": small_weights(base / "weights"), "folder": base / "fresh", "out": base / "out" / "out.csv",
        "what": table,
        "second": table, "truth": base / "truth.csv", "features": base / "features.csv",
        "calibration": base / "local.json", "report": base / "page.html", "table": base / "readings.csv",
        "truth_masks": base / "masks", "predicted": base / "others", "groups": base / "groups.csv",
        "box_groups": base / "box_groups.csv",
        "boxes": base / "boxes.json", "found": base / "found.json", "json": base / "fitted.json",
        "images": base / "pictures", "list": base / "list.txt", "root": base, "mask": base / "a.nii.gz",
        "like": base / "b.nii.gz", "nifti": base / "c.nii.gz", "archive": base / "weights.tar",
    }  # type: ignore[return-value]  # fmt: skip


@pytest.fixture
def bounded() -> Iterator[None]:
    """Five seconds; a call that blocks fails the test."""

    def over(*_: object) -> None:
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, over)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def strange(kind: str, place: Path) -> str:
    """A path of this kind; its name ends as that of the valid one, where the kind allows it."""
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "device":
        place.symlink_to("/dev/zero")
    elif kind == "socket":
        where = os.open(place.parent, os.O_RDONLY)
        made = socket.socket(socket.AF_UNIX)
        made.bind(f"/proc/self/fd/{where}/{place.name}")  # a socket's path is short
        made.close()
        os.close(where)
    elif kind == "folder":
        place.mkdir()
        (place / "thing.txt").write_text("x")
    elif kind == "file":
        place.write_bytes(b"\0\x01x")
    elif kind == "long":
        return str(place.parent / "/".join(["folder"] * 700) / place.name)
    elif kind == "long name":
        return str(place.parent / ("x" * 5000 + place.suffix))
    else:
        return str(place.parent / f"a\0b{place.suffix}")
    return str(place)


@pytest.mark.parametrize(("call", "name"), PATHS, ids=[f"{call}-{name}" for call, name in PATHS])
def test_a_strange_path_is_refused_and_never_blocks(
    call: str,
    name: str,
    right: dict[str, str],
    bounded: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GRAFTWORK_CACHE", str(tmp_path / ".cache"))
    monkeypatch.setenv("GRAFTWORK_WEIGHTS", str(Path(right["file"]).parent))
    monkeypatch.setattr(terminal.settings, "traceback", False)
    monkeypatch.chdir(tmp_path)
    for number, kind in enumerate(KINDS):
        if (kind == "file" and name in NEW) or (kind == "folder" and name in FOLDERS):
            continue
        (tmp_path / str(number)).mkdir()
        value = strange(kind, tmp_path / str(number) / Path(right[name]).name)
        fresh = {each: tmp_path / str(number) / "new" / Path(right[each]).name for each in NEW}
        words = [word.format(**{**right, **fresh, name: value}) for word in CALLS[call]]
        signal.setitimer(signal.ITIMER_REAL, 5)
        with pytest.raises(SystemExit) as ended:
            main(words)
        signal.setitimer(signal.ITIMER_REAL, 0)
        output = capsys.readouterr()
        where = f"{' '.join(CALLS[call])} with {kind} as {name}: {ended.value.code} {output.err[-300:]}"
        assert "it hangs" not in output.err, where
        if kind == "file" and name in ("images", "list"):  # a file that cannot be read is counted
            assert ended.value.code == 1, where
            continue
        assert ended.value.code == 2, where
        assert "error: " in output.err, where
        named = (
            ("(cut, ", "too long", "null byte", "NUL byte", "\\x00")
            if kind in ("long", "long name", "NUL")
            else (value,)
        )
        assert any(word in output.err for word in named), f"{where}: does not say which path"
        assert len(output.err) < 4000, where
        if kind == "pipe":
            assert stat.S_ISFIFO(Path(value).stat().st_mode), f"{where}: the pipe was replaced"
        if kind == "device":
            assert stat.S_ISCHR(Path(value).stat().st_mode), f"{where}: the device was replaced"


def test_each_call_is_right_but_for_the_path(
    right: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRAFTWORK_CACHE", str(tmp_path / ".cache"))
    monkeypatch.setenv("GRAFTWORK_WEIGHTS", str(Path(right["file"]).parent))
    fresh = {
        name: tmp_path / Path(value).name for name, value in right.items() if name in (*NEW, "runs", "folder")
    }
    for call, words in CALLS.items():
        for each in tmp_path.glob("out.csv*"):
            shutil.rmtree(each) if each.is_dir() else each.unlink()
        if call == "merge":
            continue  # shards are missing: refused by its name
        with pytest.raises(SystemExit) as ended:
            main([word.format(**{**right, **fresh}) for word in words])
        assert ended.value.code in (0, 1), f"{call}: {capsys.readouterr().err}"
        shutil.rmtree(tmp_path / "fresh", ignore_errors=True)


def test_each_path_of_the_command_line_has_a_row() -> None:
    known = {name for _, name in PATHS} | {"runs", "predictions", "first", "list"}
    for each in (app, weights):
        for command in each.registered_commands:
            assert command.callback is not None
            for name, found in inspect.signature(
                inspect.unwrap(command.callback), eval_str=True
            ).parameters.items():
                name = {"file": "archive"}.get(name, name)
                assert "pathlib" not in str(found.annotation) or name in known, f"{command.name}: {name}"


def test_a_nul_byte_in_any_path_is_an_error_of_the_user() -> None:
    for touch in (Path("a\0b").open, Path("a\0b").mkdir, Path("a\0b").stat):
        with pytest.raises(ValueError, match="embedded null") as found:
            touch()
        assert "a path holds a NUL byte" in str(as_user_error(found.value))
    assert as_user_error(ValueError("another")) is None
