"""Images that a run was trained on are recognised by predict, and are not evaluated as a test set without a word."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from predicted import table as predicted_table
from small_predictions import picture
from small_runs import recipe_file, synthetic_data

from graftwork.common.errors import GraftworkError, RunError, TableError
from graftwork.common.external.evaluate_tables import calibrate, compare, evaluate_file
from graftwork.common.external.mask_pairs import pairs_of
from graftwork.common.prediction import Outcome, output_files, training_overlap
from graftwork.common.prediction.training_overlap import SeenFiles
from graftwork.common.runs.run_folder import open_run
from graftwork.common.verbs import merge, predict, run


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small complete run."""
    folder = tmp_path_factory.mktemp("run")
    data = synthetic_data(folder / "set")
    return run(recipe_file(folder), data, folder / "runs", ["training.epochs=1"]).folder


@pytest.fixture
def folder(done: Path, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """The run's own images under other names, and two that are new; and the part of each of the run's."""
    opened, photos, parts = open_run(done), tmp_path / "photos", {}
    photos.mkdir()
    for row, (path, part) in enumerate(zip(opened.manifest.frame["path"], opened.split.parts, strict=True)):
        name = f"IMG_{row:04}{Path(path).suffix}"
        shutil.copyfile(opened.data / path, photos / name)
        parts[name] = part
    picture(photos / "new.png", 1)
    changed = bytearray((opened.data / opened.manifest.frame["path"].iloc[0]).read_bytes())
    changed[15] ^= 2  # the density: of the size of a known one, with another content
    (photos / "new.jpeg").write_bytes(bytes(changed))
    return photos, parts


def test_images_of_the_run_are_recognised_by_their_content(
    done: Path, folder: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    photos, parts = folder
    found = predict(done, photos, tmp_path / "whole.csv", workers=0)
    table = pd.read_csv(tmp_path / "whole.csv").set_index("file")
    assert table["seen_by_run"].dropna().to_dict() == parts
    counts = Counter(parts.values())
    assert found.seen_by_run == counts and min(counts.values()) > 0
    assert json.loads((tmp_path / "whole.csv.about.json").read_text())["seen_by_run"] == counts
    again = predict(done, photos, tmp_path / "whole.csv", workers=0)
    assert (again.new, again.seen_by_run) == (0, counts)


def test_a_stop_workers_and_shards_change_nothing(
    done: Path, folder: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    photos, _ = folder
    for number in range(20):
        picture(photos / f"IMG_0010 {number}.png", number)
    predict(done, photos, tmp_path / "whole.csv", workers=0)

    def stop(_: str, count: int, __: int) -> None:
        if count == 32:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(GraftworkError, match="what was done is kept"):
        predict(done, photos, tmp_path / "stopped.csv", workers=0, progress=stop)
    predict(done, photos, tmp_path / "stopped.csv", workers=1)
    shards = [predict(done, photos, tmp_path / "shards.csv", shard=f"{n}/2", workers=0) for n in (1, 2)]
    merged = merge(tmp_path / "shards.csv")
    for name in ("stopped", "shards"):
        assert (tmp_path / f"{name}.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert merged.seen_by_run == Counter(shards[0].seen_by_run) + Counter(shards[1].seen_by_run)


def test_only_files_of_a_known_size_are_read_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(training_overlap, "file_sha256", lambda file: read.append(file.name) or "abc")
    for name, size in (("same.jpg", 7), ("other.jpg", 8)):
        (tmp_path / name).write_bytes(bytes(size))
    known = SeenFiles({7: {"abc": "train"}})
    found = [known.part_of(tmp_path / name) for name in ("same.jpg", "other.jpg", "missing.jpg")]
    assert (found, read) == (["train", None, None], ["same.jpg"])


def test_an_image_in_two_parts_counts_as_trained_on() -> None:
    class Parts:
        manifest = type("", (), {"frame": pd.DataFrame({"case": ["a", "b"], "path": ["a.png", "b.png"]})})
        split = type("", (), {"parts": pd.Series(["test", "train"])})
        files = pd.DataFrame(
            {"case": ["a", "b", "a"], "file": ["a.png", "b.png", "a_mask.png"], "size": [5, 5, 6],
             "sha256": ["x", "x", "y"]}
        )  # fmt: skip

    known: Any = Parts()
    assert training_overlap.seen_files(known) == SeenFiles({5: {"x": "train"}})


def test_the_summary_names_each_part() -> None:
    def text(**counts: int) -> str:
        return Outcome(Path("p.csv"), 1000, 0, 0, {}, counts).seen_text

    said = "of 1,000 files, this run already used 650 for training, 15 for validation, 20 for the test"
    assert text(train=650, validation=15, test=20) == said
    assert (text(test=3), text()) == ("of 1,000 files, this run already used 3 for the test", "")


@pytest.mark.parametrize("half", [False, True])
def test_a_table_of_an_earlier_version_is_refused_with_the_reason(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, half: bool
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out.csv"
    for number in range(2):
        picture(photos / f"{number}.png", number)

    def broken(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if half:
            patch.setattr("graftwork.common.prediction.folder_prediction.assemble", broken)
        try:
            predict(done, photos, out, workers=0)
        except KeyboardInterrupt:
            assert half
    said = tmp_path / ("out.csv.partial/plan.json" if half else "out.csv.about.json")
    about = output_files.read_json(said)
    del about["format"]
    about.pop("sealed", None)
    said.write_text(json.dumps(about))
    with pytest.raises(RunError, match=r"earlier version of graftwork, without the column seen_by_run"):
        predict(done, photos, out, workers=0)


def test_shards_of_an_earlier_version_are_not_merged(tmp_path: Path) -> None:
    shard = tmp_path / "out.csv.shard-1-of-1.parquet"
    shard.touch()
    output_files.write_about(shard.with_name(f"{shard.name}.about.json"), {"format": 1})
    with pytest.raises(RunError, match=r"earlier version of graftwork, without the column seen_by_run"):
        merge(tmp_path / "out.csv")


# Evaluated ---------------------------------------------------------------------------------------------------


def written(tmp_path: Path, name: str = "p.csv", **columns: Any) -> tuple[Path, pd.DataFrame]:
    """A table as of `predict`, with its truth: of six cases, one trained the run, one validated it, one tested it."""
    frame = predicted_table(240, parts=False).drop(columns=["part", "path"])
    parts = np.resize(np.array(["train", "validation", "test", "", "", ""], dtype=object), len(frame))
    frame = frame.assign(seen_by_run=parts).assign(**columns)
    frame.to_csv(tmp_path / name, index=False)
    return tmp_path / name, frame


def judged(file: Path, **words: Any) -> Any:
    return evaluate_file(file, "chest_xray/kermany", bootstrap=20, **words).evaluation


def test_images_that_trained_or_validated_the_run_are_left_out_and_counted(tmp_path: Path) -> None:
    file, frame = written(tmp_path)
    unseen = frame[~frame["seen_by_run"].isin(["train", "validation"])].drop(columns="seen_by_run")
    unseen.to_csv(tmp_path / "unseen.csv", index=False)
    found, alone = judged(file, threshold=0.5), judged(tmp_path / "unseen.csv", threshold=0.5)
    assert (found.n, found.result("auroc")) == (160, alone.result("auroc"))
    assert any("of 240 cases, 40 trained the run" in note and "40 validated" in note for note in found.notes)
    assert judged(file, part="train").n == 40
    everything, _ = written(tmp_path, "new.csv", seen_by_run=None)
    assert judged(everything).n == 240


def test_a_table_of_training_images_alone_is_refused(tmp_path: Path) -> None:
    file, _ = written(tmp_path, seen_by_run="train")
    with pytest.raises(TableError, match=r"no case is in part 'test' \(found train.*--part"):
        judged(file)
    file, _ = written(tmp_path, seen_by_run="perhaps")
    with pytest.raises(TableError, match=r"seen_by_run of p\.csv holds no part of a run"):
        judged(file)


def test_what_the_run_has_seen_goes_before_another_column_of_parts(tmp_path: Path) -> None:
    split = np.resize(np.array(["test", "test", "test", "test", "train", "validation"], dtype=object), 240)
    file, _ = written(tmp_path, split=split)
    assert judged(file).n == 80  # the third and the fourth of six
    found = judged(file, part_column="split")
    assert found.n == 160
    assert any("seen_by_run of p.csv was not read as the part" in note for note in found.notes)
    assert judged(file, part_column="seen_by_run").n == 160
    assert judged(file, part_column="none").n == 240


def test_compare_and_calibrate_leave_them_out_too(tmp_path: Path) -> None:
    file, _ = written(tmp_path)
    compared = compare(file, file, "chest_xray/kermany", bootstrap=20, threshold=0.5)
    assert [each.n for each in compared.evaluations] == [160, 160]
    assert calibrate(file, "chest_xray/kermany", tmp_path / "c.json").n == 160
    assert calibrate(file, "chest_xray/kermany", tmp_path / "c.json", part="validation").n == 40


def test_cases_of_the_truth_that_were_left_out_are_not_missing(tmp_path: Path) -> None:
    file, frame = written(tmp_path)
    frame[["case", "group", "target"]].to_csv(tmp_path / "truth.csv", index=False)
    frame.drop(columns=["group", "target"]).to_csv(file, index=False)
    assert judged(file, truth=tmp_path / "truth.csv").n == 160


def test_masks_of_training_images_are_named_where_they_are_evaluated(tmp_path: Path) -> None:
    for folder in ("truth", "masks"):
        (tmp_path / folder).mkdir()
        for name in "abc":
            Image.new("L", (4, 4), 1).save(tmp_path / folder / f"{name}.png")
    index = tmp_path / "masks" / "index.csv"
    index.write_text(
        "file,mask,pixels_x,seen_by_run,failure\na.jpg,a.png,1,train,\nb.jpg,b.png,1,,\nc.jpg,c.png,1,test,\n"
        "d.jpg,,,,open: damaged\n"
    )
    (tmp_path / "masks" / "index.csv.about.json").write_text("{}")
    with pytest.raises(TableError, match="not a mask"):  # anybody's other files
        pairs_of(tmp_path / "truth", tmp_path / "masks")
    (tmp_path / "masks" / "masks.about.json").write_text("{}")
    found = pairs_of(tmp_path / "truth", tmp_path / "masks")
    assert list(found.files) == ["a", "b", "c"]
    texts, note = found.notes
    assert "2 accompanying texts ignored: index.csv.about.json, masks.about.json" in texts
    assert "knows some of the images by its own split, and they are evaluated: 1 train." in note
    index.write_text("file,mask,pixels_x,failure\na.jpg,a.png,1,\n")
    assert "no column seen_by_run" in pairs_of(tmp_path / "truth", tmp_path / "masks").notes[1]
