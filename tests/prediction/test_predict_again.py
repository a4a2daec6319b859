"""The same command again: over what is excluded now, what changed, and names that are hard to write."""

from __future__ import annotations

import csv
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from small_predictions import picture
from small_runs import recipe_file, synthetic_data

from graftwork.common.data import domain
from graftwork.common.errors import GraftworkError, TableError
from graftwork.common.prediction import output_formats
from graftwork.common.verbs import predict, run


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small complete run."""
    folder = tmp_path_factory.mktemp("run")
    data = synthetic_data(folder / "set")
    return run(recipe_file(folder), data, folder / "runs", ["training.epochs=1"]).folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed, name in enumerate(("a.png", "b.png", "thumbs/a.png")):
        picture(tmp_path / "photos" / name, seed)
    return tmp_path / "photos"


def quick(run: Path, source: Path, out: Path, **words: Any) -> Any:
    return predict(run, source, out, workers=0, **words)


def files(out: Path) -> list[str]:
    return [str(name) for name in pd.read_csv(out)["file"]]


def about(out: Path) -> dict[str, Any]:
    return dict(json.loads(out.with_name(f"{out.name}.about.json").read_text()))


def test_rows_that_are_excluded_now_leave_the_file(done: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    quick(done, folder, out)
    found = quick(done, folder, out, exclude=["thumbs"])
    assert (found.files, found.new, files(out)) == (2, 0, ["a.png", "b.png"])
    assert (about(out)["exclude"], about(out)["rows"]) == (["thumbs"], 2)
    assert quick(done, folder, out).new == 1
    assert (files(out), about(out)["exclude"]) == (["a.png", "b.png", "thumbs/a.png"], [])


def test_half_done_rows_that_are_excluded_now_are_not_written(
    done: Path, folder: Path, tmp_path: Path
) -> None:
    for seed in range(70):
        picture(folder / "thumbs" / f"{seed:02}.png", seed)

    def stop(_: str, count: int, __: int) -> None:
        if count == 32:
            os.kill(os.getpid(), signal.SIGTERM)

    out = tmp_path / "out.csv"
    picture(folder / "z.png", 9)
    with pytest.raises(GraftworkError, match="what was done is kept"):
        quick(done, folder, out, progress=stop)
    (folder / "z2.png").write_bytes((folder / "z.png").read_bytes())
    quick(done, folder, out, exclude=["thumbs"])
    assert files(out) == ["a.png", "b.png", "z.png", "z2.png"]


def test_a_carriage_return_in_a_name_or_a_reason_keeps_the_table_readable(
    done: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graftwork.common.prediction import class_scores

    original = class_scores.read_image

    def refuse(path: Path, **words: Any) -> Any:
        if path.name == "b.png":
            raise ValueError("one\r\ntwo\rthree")
        return original(path, **words)

    monkeypatch.setattr(class_scores, "read_image", refuse)
    picture(folder / "c\rd.png", 5)
    picture(folder / "e\nf.png", 6)
    out = tmp_path / "out.csv"
    quick(done, folder, out)
    with out.open(newline="", encoding="utf-8") as opened:
        rows = list(csv.reader(opened, strict=True))
    assert [row[0] for row in rows[1:]] == ["a.png", "b.png", "c\rd.png", "e\nf.png", "thumbs/a.png"]
    assert {len(row) for row in rows} == {len(rows[0])}
    assert rows[2][-1].endswith("ValueError: one two three")
    assert b"\r\n" not in out.read_bytes()
    monkeypatch.undo()
    assert quick(done, folder, out).new == 1  # read back: b.png alone
    assert quick(done, folder, out).new == 0


def test_files_that_changed_are_counted(
    done: Path, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out.csv"
    quick(done, folder, out)
    quick(done, folder, out)
    assert "changed" not in caplog.text
    later = out.stat().st_mtime + 10
    picture(folder / "new.png", 8)
    for name in ("a.png", "new.png"):  # what is new did not change
        os.utime(folder / name, (later, later))
    quick(done, folder, out)
    assert "1 files changed since they were predicted: remove their rows" in caplog.text


def test_a_format_that_refuses_names_the_file_and_the_table_that_is_kept(
    done: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = domain.domain("chest_xray")
    loaded: Any = domain.domains()
    monkeypatch.setitem(loaded._loaded, "chest_xray", replace(home, formats={"words": "x:write"}))

    def refuse(_: output_formats.Predictions, file: Path) -> None:
        raise TableError("this cannot be said", where=file)

    monkeypatch.setattr("graftwork.common.prediction.folder_prediction.load_writer", lambda *_: refuse)
    out = tmp_path / "out.json"
    with pytest.raises(GraftworkError, match="this cannot be said") as caught:
        quick(done, folder, out, format="words")
    assert caught.value.where == str(out)
    assert ".writing-" not in str(caught.value)
    table = tmp_path / "out.json.table.parquet"
    assert str(table) in str(caught.value)
    assert len(pd.read_parquet(table)) == 3
