"""Predictions of a folder: the run's own numbers, whole after any kill, the same in shards, and only of what is new."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small_predictions import damage, picture, pictures, predicting
from small_runs import forked, recipe_file, synthetic_data

from graftwork.cli import main
from graftwork.common.data import domain
from graftwork.common.data.targets import Target
from graftwork.common.errors import GraftworkError, RunError, UsageError
from graftwork.common.runs.run_folder import open_run
from graftwork.common.verbs import merge, predict, run

SCORES = ["score_normal", "score_pneumonia"]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small complete run."""
    folder = tmp_path_factory.mktemp("run")
    data = synthetic_data(folder / "set")
    return run(recipe_file(folder), data, folder / "runs", ["training.epochs=1"]).folder


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of another run of the same kind."""
    folder = tmp_path_factory.mktemp("other")
    data = synthetic_data(folder / "set")
    return run(recipe_file(folder), data, folder / "runs", ["training.epochs=1", "seed=4"]).folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seventy images on one card."""
    return pictures(tmp_path / "photos", 70)


def quick(run: Path, source: Any, out: Path, **words: Any) -> Any:
    return predict(run, source, out, workers=0, **words)


def content(file: Path) -> dict[str, bytes]:
    """What a prediction leaves: the file and what is said about it."""
    return {name: (file.parent / f"{file.name}{name}").read_bytes() for name in ("", ".about.json")}


# The numbers -----------------------------------------------------------------------------------------------


def test_the_scores_are_those_of_the_runs_own_predictions(done: Path, tmp_path: Path) -> None:
    own = open_run(done).predictions.set_index("path")
    paths = tmp_path / "paths.txt"
    paths.write_text("\n".join(own.index))
    quick(done, paths, tmp_path / "out.parquet", root=open_run(done).data)
    found = pd.read_parquet(tmp_path / "out.parquet").set_index("file")
    assert sorted(found.index) == sorted(own.index)
    assert len(own) > 10
    assert np.abs(found[SCORES] - own.loc[found.index, SCORES]).to_numpy().max() < 1e-5
    threshold = open_run(done).evaluation.threshold
    assert threshold is not None
    positive = own.loc[found.index, "score_pneumonia"] >= threshold.value
    assert found["predicted"].eq("pneumonia").tolist() == positive.tolist()
    assert found["failure"].isna().all()


def test_what_is_said_about_them_is_beside_them(done: Path, folder: Path, tmp_path: Path) -> None:
    quick(done, folder, tmp_path / "out.csv")
    about = json.loads((tmp_path / "out.csv.about.json").read_text())
    network = open_run(done).network
    assert about["preprocessing"] == network["preprocessing"]
    assert about["run"] == str(done)
    assert about["folder"] == str(folder)
    assert len(about["model_sha256"]) == 64
    assert about["targets"][0]["classes"] == ["normal", "pneumonia"]
    assert (about["rows"], about["failed"]) == (70, 0)
    assert "CC BY 4.0" in about["licences"]["data"]
    threshold = open_run(done).evaluation.threshold
    assert threshold is not None
    assert about["thresholds"][0]["value"] == threshold.value


def test_each_kind_of_target_decides_by_its_rule() -> None:
    from graftwork.common.prediction.class_scores import decided

    scores = np.array([[0.6, 0.4], [0.61, 0.39], [0.2, 0.8]])
    binary = Target("ill", "binary", ("no", "yes"))
    assert decided(binary, scores, {("ill", ""): 0.4}).tolist() == [1, 0, 1]
    assert decided(binary, scores, {}).tolist() == [0, 0, 1]
    several = Target("kind", "multi-class", ("a", "b", "c"))
    three = np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]])
    assert decided(several, three, {("kind", ""): 0.9}).tolist() == [1, 0]
    assert decided(replace(several, kind="ordinal"), three, {}).tolist() == [1, 0]
    labels = replace(several, kind="multi-label")
    assert decided(labels, three, {("kind", "a"): 0.3, ("kind", "c"): np.nan}).tolist() == [
        [0, 1, 0],
        [1, 0, 0],
    ]


def test_several_targets_stand_side_by_side() -> None:
    from graftwork.common.prediction.class_scores import _table
    from graftwork.common.prediction.row_stream import columns

    targets = (
        Target("kind", "multi-class", ("a", "b")),
        Target("count", "ordinal", ("1", "2", "3+"), "count_"),
        Target("marks", "multi-label", ("x", "y"), "marks_"),
    )
    scores = np.array([[0.1, 0.9, 0.2, 0.3, 0.5, 0.7, 0.1234567], [np.nan] * 7])
    parts, failures = ["train", "test"], [None, "open: gone"]
    found = _table(["f", "g"], scores, parts, failures, targets, {}, columns(targets)).to_pylist()
    assert found[0] == {
        "file": "f", "score_a": 0.1, "score_b": 0.9, "predicted": "b",
        "count_score_1": 0.2, "count_score_2": 0.3, "count_score_3+": 0.5, "count_predicted": "3+",
        "marks_score_x": 0.7, "marks_score_y": 0.123457, "marks_predicted_x": 1, "marks_predicted_y": 0,
        "seen_by_run": "train", "failure": None,
    }  # fmt: skip
    assert {name for name, value in found[1].items() if value is not None} == {"file", "failure"}


# Killed ----------------------------------------------------------------------------------------------------


def test_a_prediction_killed_over_2000_files_ends_byte_identical(done: Path, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "photos", 2000)
    damage(folder / "card 03" / "IMG_0007.png")
    context, words = forked(), {"portion": 64, "workers": 0}
    child = predicting(context, done, folder, tmp_path / "whole.csv", **words)
    child.join()
    assert child.exitcode == 0
    for suffix, workers, wished in ((".csv", 0, (3, 9, 20)), (".csv", 2, (5,))):
        out = tmp_path / f"killed-{workers}{suffix}"
        for parts in wished:
            child = predicting(context, done, folder, out, pause=0.02, **{**words, "workers": workers})
            until = time.monotonic() + 60
            while (
                len(list(tmp_path.glob(f"{out.name}.partial/*.parquet"))) < parts and time.monotonic() < until
            ):
                time.sleep(0.005)
            child.kill()
            child.join()
            assert child.exitcode == -signal.SIGKILL
            assert not out.exists()
        before = len(list(tmp_path.glob(f"{out.name}.partial/*.parquet")))
        assert before >= wished[-1]
        child = predicting(context, done, folder, out, **words)
        child.join()
        assert child.exitcode == 0
        assert content(out) == content(tmp_path / "whole.csv")
        assert not (tmp_path / f"{out.name}.partial").exists()
    table = pd.read_csv(tmp_path / "whole.csv")
    assert len(table) == 2000
    assert table["file"].is_monotonic_increasing


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_signal_keeps_the_batch_at_hand(
    done: Path, folder: Path, tmp_path: Path, number: int, code: int
) -> None:
    quick(done, folder, tmp_path / "whole.parquet")
    out = tmp_path / "out.parquet"

    def stop(what: str, count: int, total: int) -> None:
        assert (what, total) == ("predicting", 70)
        if count == 32:
            os.kill(os.getpid(), number)

    with pytest.raises(GraftworkError, match="what was done is kept") as caught:
        quick(done, folder, out, progress=stop)
    assert caught.value.exit_code == code
    assert not out.exists()
    seen: list[int] = []
    quick(done, folder, out, progress=lambda _, count, total: seen.append(total))
    assert seen[-1] == 6  # the batch after the signal was kept too
    assert content(out) == content(tmp_path / "whole.parquet")


def test_a_kill_between_the_last_two_steps_doubles_no_row(
    done: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graftwork.common.prediction.output_files import Place

    out = tmp_path / "out.csv"
    monkeypatch.setattr(Place, "clear", lambda self: None)
    quick(done, folder, out)
    monkeypatch.undo()
    first = content(out)
    assert quick(done, folder, out).new == 0
    assert content(out) == first
    assert not out.with_name("out.csv.partial").exists()


def test_two_processes_cannot_write_one_file(done: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"

    def again(*_: Any) -> None:
        with pytest.raises(RunError, match="another process"):
            quick(done, folder, out)

    quick(done, folder, out, progress=again)


# In shards -------------------------------------------------------------------------------------------------


def test_shards_put_together_are_one_prediction(done: Path, folder: Path, tmp_path: Path) -> None:
    damage(folder / "card 00" / "IMG_0033.png")
    whole = quick(done, folder, tmp_path / "whole.csv")
    counts = [quick(done, folder, tmp_path / "out.csv", shard=f"{number}/3").files for number in (3, 1, 2)]
    assert min(counts) > 5
    assert sum(counts) == 70
    found = merge(tmp_path / "out.csv")
    assert (found.files, found.failed) == (70, 1) == (whole.files, whole.failed)
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_new_files_leave_the_shard_of_others_as_it_is(done: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    for number in (1, 2):
        quick(done, folder, out, shard=f"{number}/2")
    merge(out)
    pictures(folder, 8, start=200)
    new = [quick(done, folder, out, shard=f"{number}/2").new for number in (1, 2)]
    assert sum(new) == 8
    assert merge(out).files == 78
    quick(done, folder, tmp_path / "whole.parquet")
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_shards_that_do_not_fit_are_refused(
    done: Path, other: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.csv"
    with pytest.raises(UsageError, match="no shards"):
        merge(out)
    for number in (1, 4):
        quick(done, folder, out, shard=f"{number}/4")
    with pytest.raises(RunError, match="missing: 2/4, 3/4"):
        merge(out)
    quick(other, folder, out, shard="2/4")
    quick(done, folder, out, shard="3/4")
    with pytest.raises(RunError, match="the network's tensors") as caught:
        merge(out)
    assert "shard-2-of-4" in str(caught.value)
    assert not out.exists()
    quick(done, folder, out, shard="1/2")
    with pytest.raises(UsageError, match="of 2 and of 4"):
        merge(out)
    for wrong in ("0/4", "5/4", "2", "a/b", "1/0"):
        with pytest.raises(UsageError, match="no shard"):
            quick(done, folder, out, shard=wrong)


# What is new -----------------------------------------------------------------------------------------------


def test_formulas_are_escaped_on_request_and_their_files_are_known_again(
    done: Path, folder: Path, tmp_path: Path
) -> None:
    first = sorted(folder.rglob("*.*"))[0]
    shutil.copy(first, folder / f"=1+1{first.suffix}")
    out = tmp_path / "p.csv"
    found = predict(done, folder, out, workers=0, escape_formulas=True)
    assert f"\n'=1+1{first.suffix}," in out.read_text()
    again = predict(done, folder, out, workers=0, escape_formulas=True)
    assert (again.files, again.new) == (found.files, 0)
    plain = predict(done, folder, out, workers=0)  # the same rows, written anew
    assert (plain.files, plain.new) == (found.files, 0) and f"\n=1+1{first.suffix}," in out.read_text()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_only_what_is_new_or_failed_is_predicted(
    done: Path, folder: Path, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graftwork.common.prediction import class_scores

    out = tmp_path / f"out{suffix}"
    mended, gone = folder / "card 00" / "IMG_0001.png", folder / "card 00" / "IMG_0002.png"
    damage(mended)
    assert quick(done, folder, out).failed == 1
    picture(mended, 1)
    gone.unlink()
    pictures(folder, 5, start=95)
    picture(folder / "a first one.png", 7)
    read: list[str] = []
    original = class_scores.read_image

    def noted(path: Path, **words: Any) -> Any:
        read.append(path.name)
        return original(path, **words)

    monkeypatch.setattr(class_scores, "read_image", noted)
    assert quick(done, folder, out).new == 7
    assert sorted(read) == [
        "IMG_0001.png",
        *(f"IMG_00{number}.png" for number in range(95, 100)),
        "a first one.png",
    ]
    assert quick(done, folder, out).new == 0
    monkeypatch.undo()
    picture(gone, 2)  # what was predicted stays, also when its file is gone
    quick(done, folder, tmp_path / f"whole{suffix}")
    assert out.read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()


def test_nothing_of_another_run_or_folder_is_added_to(
    done: Path, other: Path, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    quick(done, folder, out)
    before = content(out)
    with pytest.raises(RunError, match="the network's tensors") as caught:
        quick(other, folder, out)
    assert "--out" in str(caught.value)
    second = pictures(tmp_path / "second card", 3)  # the same names on another card
    with pytest.raises(RunError, match="second card"):
        quick(done, second, out)
    assert content(out) == before
    out.with_name("out.csv.about.json").unlink()
    with pytest.raises(RunError, match="which says what made it, is not"):
        quick(done, folder, out)


def test_half_done_work_of_another_run_is_refused(
    done: Path, other: Path, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"

    def stop(_: str, count: int, __: int) -> None:
        if count == 32:  # a second signal would act at once
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(GraftworkError, match="SIGTERM"):
        quick(done, folder, out, progress=stop)
    with pytest.raises(RunError, match="the network's tensors"):
        quick(other, folder, out)
    picture(folder / "new.png", 9)  # came in between
    assert quick(done, folder, out).files == 71
    quick(done, folder, tmp_path / "whole.csv")
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()


# What cannot be read, and where nothing can be written ------------------------------------------------------


def test_a_file_that_cannot_be_read_has_a_row_with_its_reason(
    done: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(folder / "card 00" / "IMG_0003.png")
    (folder / "empty.jpg").touch()
    (folder / "text.png").write_text("no image")
    (folder / "RCNX0004.MP4").touch()
    (folder / "RCNX0005.AVI").touch()
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(done), str(folder), "--out", str(tmp_path / "out.csv"), "--workers", "2"])
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert said.out == f"{tmp_path / 'out.csv'}\n"
    assert "72 files, 72 of them new; 3 could not be read" in said.err
    assert "2 skipped that are no images (.AVI 1, .MP4 1)" in said.err
    about = tmp_path / "out.csv.about.json"
    assert json.loads(about.read_text(encoding="utf-8"))["left_out"] == {".AVI": 1, ".MP4": 1}
    table = pd.read_csv(tmp_path / "out.csv").set_index("file")
    failed = table[table["failure"].notna()]
    assert sorted(failed.index) == ["card 00/IMG_0003.png", "empty.jpg", "text.png"]
    assert failed[[*SCORES, "predicted"]].isna().all(axis=None)
    assert "empty" in failed.loc["empty.jpg", "failure"]
    good = table[table["failure"].isna()]
    assert good[[*SCORES, "predicted"]].notna().all(axis=None)
    assert np.allclose(good[SCORES].sum(axis=1), 1, atol=2e-6)


@pytest.mark.parametrize("case", ["a file in the way", "a full disk", "a folder"])
def test_a_place_that_cannot_be_written_is_refused_before_any_picture(
    done: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    from graftwork.common.networks import network
    from graftwork.common.prediction import class_scores

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("an image was read, or the network made")

    monkeypatch.setattr(class_scores, "read_image", never)
    monkeypatch.setattr(network, "restore_network", never)
    out = tmp_path / "out.csv"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if case == "a file in the way":
        out.write_text("")
        out = out / "deeper.csv"
    elif case == "a folder":
        out.mkdir()
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(GraftworkError) as caught:
            quick(done, folder, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not isinstance(caught.value, AssertionError)
    assert caught.value.exit_code == 2


def test_words_that_do_not_fit_are_refused(done: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="how to write it"):
        quick(done, folder, tmp_path / "out.xlsx")
    with pytest.raises(UsageError, match=r"no format 'xlsx'.*csv, parquet"):
        quick(done, folder, tmp_path / "out.csv", format="xlsx")
    with pytest.raises(UsageError, match="no such folder"):
        quick(done, tmp_path / "nowhere", tmp_path / "out.csv")
    with pytest.raises(UsageError, match="no file to predict"):
        quick(done, folder, tmp_path / "out.csv", exclude=["*.png"])
    with pytest.raises(UsageError, match="--root goes with a list"):
        quick(done, folder, tmp_path / "out.csv", root=tmp_path)
    with pytest.raises(RunError, match="not the folder of a run"):
        quick(folder, folder, tmp_path / "out.csv")
    assert [entry.name for entry in tmp_path.iterdir()] == ["photos"]


def test_a_bare_name_is_a_file_where_the_command_was_given(
    done: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    quick(done, "../photos", Path("out.csv"), progress=lambda *_: os.chdir(tmp_path / "there"))
    assert pd.read_csv(tmp_path / "here" / "out.csv")["file"].iloc[0] == "card 00/IMG_0000.png"
    assert not list((tmp_path / "there").iterdir())


# A domain's format -----------------------------------------------------------------------------------------


@pytest.fixture
def words_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Give the domain of the run a format `words`, written by the function of this source."""

    def register(source: str) -> None:
        (tmp_path / "modules").mkdir()
        (tmp_path / "modules" / "words_format.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path / "modules")
        monkeypatch.delitem(sys.modules, "words_format", raising=False)
        home = domain.domain("chest_xray")
        loaded: Any = domain.domains()
        monkeypatch.setitem(
            loaded._loaded, "chest_xray", replace(home, formats={"words": "words_format:write"})
        )

    return register


WORDS = """
import json

def write(predictions, file):
    rows = {row.file: row.predicted for row in predictions.frame.itertuples() if row.file not in predictions.failures}
    classes = list(predictions.targets[0].classes)
    content = {"rows": rows, "failures": dict(predictions.failures), "classes": classes,
               "folder": predictions.about["folder"]}
    file.write_text(json.dumps(content, ensure_ascii=False))
"""


def test_a_domain_writes_a_format_of_its_own(
    done: Path, folder: Path, tmp_path: Path, words_format: Callable[[str], None]
) -> None:
    words_format(WORDS)
    damage(folder / "x.png")
    out = tmp_path / "out.json"
    assert quick(done, folder, out, format="words").failed == 1
    found = json.loads(out.read_text())
    assert len(found["rows"]) == 70
    assert found["failures"].keys() == {"x.png"}
    assert (found["classes"], found["folder"]) == (["normal", "pneumonia"], str(folder))
    picture(folder / "x.png", 3)  # read back from the table beside it
    assert quick(done, folder, out, format="words").new == 1
    assert len(json.loads(out.read_text())["rows"]) == 71
    for number in (1, 2):
        quick(done, folder, tmp_path / "shards.json", format="words", shard=f"{number}/2")
    merge(tmp_path / "shards.json")
    assert json.loads((tmp_path / "shards.json").read_text()) == json.loads(out.read_text())


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_module", "cannot be imported"),
        ("write = 3", "no function 'write'"),
        ("def write(predictions, file): raise KeyError('place')", "KeyError"),
    ],
)
def test_a_broken_format_is_named(
    done: Path, folder: Path, tmp_path: Path, words_format: Callable[[str], None], source: str, said: str
) -> None:
    words_format(source)
    with pytest.raises(GraftworkError, match=said) as caught:
        quick(done, folder, tmp_path / "out.json", format="words")
    assert "format 'words'" in str(caught.value)
    assert not (tmp_path / "out.json").exists()


def test_nothing_to_do_needs_no_torch(done: Path, folder: Path, tmp_path: Path) -> None:
    quick(done, folder, tmp_path / "out.csv")
    program = (
        "import sys\n"
        "from graftwork.common.verbs import predict\n"
        f"assert predict({str(done)!r}, {str(folder)!r}, {str(tmp_path / 'out.csv')!r}).new == 0\n"
        "assert not {'torch', 'timm', 'monai'} & set(sys.modules)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_an_engine_predicts_what_torch_predicts(
    done: Path, folder: Path, tmp_path: Path, engine: str
) -> None:
    quick(done, folder, tmp_path / "torch.csv", engine="torch")
    quick(done, folder, tmp_path / "engine.csv", engine=engine)
    expected, found = pd.read_csv(tmp_path / "torch.csv"), pd.read_csv(tmp_path / "engine.csv")
    assert found[SCORES].to_numpy() == pytest.approx(expected[SCORES].to_numpy(), abs=2e-4)
    pd.testing.assert_frame_equal(found.drop(columns=SCORES), expected.drop(columns=SCORES))
    assert json.loads((tmp_path / "engine.csv.about.json").read_text())["engine"] == engine


def test_new_files_are_predicted_with_the_engine_of_the_others(
    done: Path, folder: Path, tmp_path: Path
) -> None:
    quick(done, folder, tmp_path / "out.csv", engine="openvino")
    picture(folder / "new.png", 99)
    quick(done, folder, tmp_path / "out.csv")
    assert json.loads((tmp_path / "out.csv.about.json").read_text())["engine"] == "openvino"


def test_an_unknown_engine_is_refused(done: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="unknown engine 'onnx', expected auto, torch, onnxruntime, openvino"
    ):
        quick(done, folder, tmp_path / "out.csv", engine="onnx")


def test_many_images_are_computed_folded_and_a_share_of_them_too(
    done: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graftwork.common.networks import engines
    from graftwork.common.prediction import class_scores

    quick(done, folder, tmp_path / "few.csv")
    monkeypatch.setattr(class_scores, "MEASURED_FROM", 1)
    monkeypatch.setattr(engines, "available_engines", lambda: {"torch": "2"})
    quick(done, folder, tmp_path / "many.csv")
    for share in ("1/2", "2/2"):
        quick(done, folder, tmp_path / "shared.csv", shard=share)
    merge(tmp_path / "shared.csv")
    assert (tmp_path / "shared.csv").read_bytes() == (tmp_path / "many.csv").read_bytes()
    few, many = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("few", "many"))
    assert many[SCORES].to_numpy() == pytest.approx(few[SCORES].to_numpy(), abs=2e-6)
    names = [
        json.loads((tmp_path / f"{name}.csv.about.json").read_text())["engine"] for name in ("few", "many")
    ]
    assert names == ["torch", "torch-folded"]


def test_the_log_says_how_long_it_will_take(
    done: Path,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from graftwork.common.prediction import folder_prediction

    monkeypatch.setattr(folder_prediction, "FIRST_ESTIMATE", 0.0)
    with caplog.at_level("INFO", logger="graftwork"):
        quick(done, folder, tmp_path / "out.csv")
    estimates = [
        each.message for each in caplog.records if "left" in each.message and "predicted" in each.message
    ]
    assert estimates == ["32 of 70 files predicted, about 1 min left"]
