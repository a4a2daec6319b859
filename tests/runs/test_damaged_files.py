"""Whatever is damaged is found, reported or computed again: never another number, a traceback or a hang.

`GRAFTWORK_DAMAGES` is the number of cases of each test (default 60).
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damages import damaged
from small_runs import recipe_file, synthetic_data

from graftwork.common import verbs
from graftwork.common.errors import GraftworkError, RunError
from graftwork.common.files.checksums import CHECKSUMS
from graftwork.common.runs.run_folder import Run, open_run

CASES = int(os.environ.get("GRAFTWORK_DAMAGES", "60"))
BEGUN = ("recipe.toml", "manifest.parquet", "split.csv", "files.parquet", "environment.json", "network.json")
DONE = (
    "frozen.json",
    "ledger.csv",
    "log.jsonl",
    "predictions.parquet",
    "metrics.json",
    "mistakes/index.json",
)
TENSORS = ("model.safetensors", "optimizer.safetensors", "state.json")
SAVED = tuple(f"{which}/{name}" for which in ("last", "best") for name in TENSORS)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small complete run, its shards and their merged table."""
    base = tmp_path_factory.mktemp("damage")
    data = synthetic_data(base / "set", cases=16)
    few = ["training.epochs=1", "evaluation.bootstrap=10", "image.size=16"]
    done = verbs.run(recipe_file(base / "recipe"), data, base / "runs", few)
    done.folder.rename(base / "run")
    for number in (1, 2):
        verbs.predict(base / "run", data, base / "all.csv", shard=f"{number}/2", workers=0)
    return base


def everything(run: Run) -> str:
    """All that a run's folder says, as text."""
    import torch

    from graftwork.common.networks.network import restore_network
    from graftwork.common.prediction.trained_model import job_of
    from graftwork.common.report.run.run_facts import facts_of

    facts = facts_of(run)
    network, preprocessing = restore_network(run)
    weights = [float(value.double().sum()) for value in network.state_dict().values()]
    saved = run.saved("last")
    assert saved is not None
    model, held, state = saved
    tensors = [
        (name, float(torch.nan_to_num(value.double()).abs().sum()))
        for each in (model, held)
        for name, value in sorted(each.items())
    ]
    about = job_of(run).about
    frames = (facts.predictions, facts.ledger, run.files, facts.manifest.frame, facts.split.parts.to_frame())
    said = [
        facts.environment,
        facts.network,
        facts.log,
        facts.frozen,
        facts.evaluation,
        facts.mistakes,
        facts.further,
    ]
    return repr(
        [*said, *(frame.to_csv() for frame in frames), weights, preprocessing, tensors, vars(state), about]
    )


def tried(work: Callable[[], Any], where: str) -> tuple[Any, GraftworkError | None]:
    """The result of `work` or its error; any other exception than a GraftworkError fails the test."""
    try:
        return work(), None
    except GraftworkError as error:
        assert str(error).strip(), where
        return None, error
    except BaseException as error:
        raise AssertionError(f"{where}: {type(error).__name__}: {error}") from error


def cases(names: tuple[str, ...], seed: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """A file of the folder after a damage, again and again; it is as it was afterwards."""
    draw = random.Random(seed)
    for number in range(CASES):
        name = names[number % len(names)]
        place = folder / name
        whole = place.read_bytes()
        how, content = damaged(whole, draw)
        try:
            if draw.random() < 0.03:
                how = "deleted"
                place.unlink()
            elif draw.random() < 0.03:
                how = "a folder"
                place.unlink()
                place.mkdir()
            else:
                place.write_bytes(content)
            yield f"case {number}: {name} {how}", place
        finally:
            if place.is_dir():
                place.rmdir()
            place.write_bytes(whole)


def test_a_damaged_file_of_a_run_is_found_or_changes_nothing(work: Path) -> None:
    right = everything(open_run(work / "run"))
    found = 0
    for where, _ in cases((*BEGUN, *DONE, *SAVED, CHECKSUMS), "run", work / "run"):
        result, error = tried(lambda: everything(open_run(work / "run")), where)
        assert error is not None or result == right, where
        found += error is not None
    assert found > CASES // 2
    assert everything(open_run(work / "run")) == right


def test_a_damaged_file_of_a_run_without_checksums_never_ends_in_a_fault_of_ours(
    work: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "old"
    shutil.copytree(work / "run", folder)
    for listed in folder.rglob(CHECKSUMS):
        listed.unlink()
    assert everything(open_run(folder)).replace(str(folder), "RUN") == everything(
        open_run(work / "run")
    ).replace(str(work / "run"), "RUN"), "a folder of an earlier version is read"
    for where, _ in cases((*BEGUN, *DONE, *SAVED), "old", folder):
        tried(lambda: everything(open_run(folder)), where)


def test_damaged_predictions_are_not_evaluated(work: Path) -> None:
    right = verbs.evaluate(work / "run")
    for where, _ in cases(
        ("predictions.parquet", "metrics.json", "manifest.parquet"), "evaluate", work / "run"
    ):
        if where.split(" ")[1] == "1:" or CASES > 60:
            result, error = tried(lambda: verbs.evaluate(work / "run"), where)
            assert error is not None or repr(result) == repr(right), where
    assert repr(verbs.evaluate(work / "run")) == repr(right)


def test_damaged_shards_are_not_merged(work: Path, tmp_path: Path) -> None:
    names = [
        f"all.csv.shard-{number}-of-2.parquet{more}" for number in (1, 2) for more in ("", ".about.json")
    ]
    for name in names:
        shutil.copy(work / name, tmp_path / name)

    def merged() -> bytes:
        verbs.merge(tmp_path / "all.csv")
        return (tmp_path / "all.csv").read_bytes()

    right, found = merged(), 0
    for where, _ in cases(tuple(names), "shards", tmp_path):
        for each in tmp_path.glob("all.csv*"):
            if each.name not in names:
                shutil.rmtree(each) if each.is_dir() else each.unlink()
        result, error = tried(merged, where)
        assert error is not None or result == right, where
        found += error is not None
    assert found > CASES // 3


def test_half_done_predictions_that_are_damaged_are_predicted_again(work: Path, tmp_path: Path) -> None:
    from graftwork.common.prediction import folder_prediction as portions

    kept: list[Path] = []
    real = portions.Place.clear
    portions.Place.clear = lambda place: kept.append(place.partial)  # type: ignore[method-assign]
    try:
        verbs.predict(work / "run", work / "set", tmp_path / "a.csv", workers=0)
    finally:
        portions.Place.clear = real  # type: ignore[method-assign]
    right = (tmp_path / "a.csv").read_bytes()
    (tmp_path / "a.csv").unlink()
    (tmp_path / "a.csv.about.json").unlink()
    (part,) = kept[0].glob("0*.parquet")
    part.write_bytes(part.read_bytes()[:-300] + bytes(300))
    verbs.predict(work / "run", work / "set", tmp_path / "a.csv", workers=0)
    assert (tmp_path / "a.csv").read_bytes() == right


def test_a_run_on_a_damaged_feature_cache_is_the_same_run(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from small_runs import RECIPE, small_weights

    cache = tmp_path / "cache"
    monkeypatch.setenv("GRAFTWORK_CACHE", str(cache))
    weights = small_weights(tmp_path / "weights")
    text = RECIPE.replace('"scratch"', '"linear-probe"').replace("rotation = 10.0\nbrightness = 0.2\n", "")
    text = text.replace("[backbone]\n", f'[backbone]\nfile = "{weights}"\n')
    recipe = recipe_file(tmp_path / "recipe", text)

    def numbers(out: str) -> tuple[bytes, bytes]:
        done = verbs.run(recipe, work / "set", tmp_path / out, ["evaluation.bootstrap=10"])
        return tuple(
            (done.folder / name).read_bytes() for name in ("best/model.safetensors", "predictions.parquet")
        )  # type: ignore[return-value]

    right = numbers("first")
    packs = list((cache / "features").rglob("*.npy"))
    assert packs
    for pack in packs:
        content = bytearray(pack.read_bytes())
        start = content.index(b"\n") + 1
        for offset in range(start, start + 200, 2):
            content[offset + 1] ^= 64  # an exponent bit of half-precision values
        pack.write_bytes(content)
    caplog.clear()
    assert numbers("second") == right
    assert "damaged" in caplog.text
    caplog.clear()
    assert numbers("third") == right
    assert "damaged" not in caplog.text


def test_a_changed_file_of_a_run_is_named_with_a_remedy(work: Path) -> None:
    place = work / "run" / "network.json"
    whole = place.read_bytes()
    place.write_bytes(whole.replace(b'"backbone"', b'"backbona"', 1))
    try:
        with pytest.raises(
            RunError, match=r"network.json: damaged or changed: its SHA-256 is [0-9a-f]{64}, .*Restore"
        ):
            _ = open_run(work / "run").network
    finally:
        place.write_bytes(whole)
    assert np.isfinite(open_run(work / "run").environment["seconds"])


def test_a_list_of_checksums_that_is_gone_is_said(
    work: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(work / "run", tmp_path / "run")
    caplog.clear()
    assert open_run(tmp_path / "run").unverified == ()
    assert "NOT VERIFIED" not in verbs.report(tmp_path / "run", tmp_path / "a.html").read_text()
    assert "unverified" not in caplog.text
    (tmp_path / "run" / "last" / CHECKSUMS).unlink()
    assert open_run(tmp_path / "run").unverified == ("last",)
    (tmp_path / "run" / CHECKSUMS).unlink()
    assert "NOT VERIFIED" in verbs.report(tmp_path / "run", tmp_path / "a.html").read_text()
    assert "checksums.txt is missing; its files are read unverified" in caplog.text
    caplog.clear()
    environment = tmp_path / "run" / "environment.json"
    environment.write_text(environment.read_text().replace('"checksums": true,', ""))
    assert open_run(tmp_path / "run").unverified == (), "an earlier version wrote no list"
    assert "unverified" not in caplog.text


def test_a_line_that_is_gone_from_the_checksums_is_said(
    work: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(work / "run", tmp_path / "run")
    listed = tmp_path / "run" / CHECKSUMS
    lines = [line for line in listed.read_text().splitlines() if not line.endswith("network.json")]
    listed.write_text("\n".join(lines) + "\n")
    _ = open_run(tmp_path / "run").network
    assert "network.json: checksums.txt beside it has no line for it" in caplog.text


def test_a_table_that_changed_after_predict_is_said(work: Path, tmp_path: Path) -> None:
    verbs.predict(work / "run", work / "set", tmp_path / "a.csv", workers=0)
    table = tmp_path / "a.csv"

    def notes() -> str:
        return " ".join(
            verbs.evaluate_file(table, "kermany", truth=work / "set", bootstrap=10).evaluation.notes
        )

    assert "SHA-256" not in notes()
    table.write_text(table.read_text().replace("\n", "\r\n"), newline="")
    assert "a.csv was changed or damaged after `predict` wrote it" in notes()
    about = tmp_path / "a.csv.about.json"
    about.write_text("[" * 100_000)
    assert "a.csv.about.json beside a.csv cannot be read" in notes()
