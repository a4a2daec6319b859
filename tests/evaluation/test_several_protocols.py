"""Several protocols, parts and targets of one table; what a run keeps of them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from predicted import BINARY, KERMANY, table

from graftwork.common.data import domain
from graftwork.common.data.targets import Target
from graftwork.common.errors import RunError, UsageError
from graftwork.common.evaluation import Evaluation, Protocol, evaluate
from graftwork.common.evaluation.evaluate_table import evaluate_all, keep, read_further
from graftwork.common.runs.run_evaluation import evaluate_run
from graftwork.common.runs.run_folder import Run

TARGETS = (Target("any", "binary", BINARY.classes), Target("number", "ordinal", ("1", "2", "3+"), "count_"))


def rules(name: str, kind: str, metrics: tuple[str, ...], **changes: Any) -> Protocol:
    return Protocol(name, 1, name, "nobody", "event", kind, metrics[0], metrics, **changes)


FIRST = rules("frames", "binary", ("auroc", "accuracy"), group="site")
EVENTS = rules("events", "binary", ("auroc", "accuracy"), by="event", pooling="max")
COUNTS = rules("counts", "ordinal", ("within_one", "mean_absolute_error"), target="number", by="event")


def predictions(seen: bool = True) -> pd.DataFrame:
    """Frames of two targets; a quarter of the test part is of groups that were learned from."""
    rng = np.random.default_rng(0)
    frame = table()
    frame["event"] = frame["group"] + "-" + (np.arange(len(frame)) % 2).astype(str)
    counts = rng.random((len(frame), 3))
    frame["count_target"] = np.array(["1", "2", "3+"])[counts.argmax(1)]
    for k, name in enumerate(("1", "2", "3+")):
        frame[f"count_score_{name}"] = counts[:, k] / counts.sum(axis=1)
    if seen:
        frame["part"] = frame["part"].where(~frame["group"].str.endswith(("1", "2")), "seen")
    return frame


def said(evaluations: tuple[Evaluation, ...]) -> list[tuple[str, str, str]]:
    return [(each.protocol, each.part, each.target) for each in evaluations]


def test_first_then_seen_then_each_further_protocol_on_both_parts() -> None:
    frame = predictions()
    found, others = evaluate_all(frame, TARGETS, FIRST, [FIRST, EVENTS, COUNTS], bootstrap=40)
    assert found == evaluate(frame, TARGETS[0], FIRST, bootstrap=40)
    assert said(others) == [
        ("frames", "seen", ""),
        ("events", "test", ""),
        ("events", "seen", ""),
        ("counts", "test", "number"),
        ("counts", "seen", "number"),
    ]
    assert others[3] == evaluate(frame, TARGETS[1], COUNTS, bootstrap=40)
    assert all(each.threshold.chosen_on == "validation" for each in others if each.kind == "binary")


def test_what_has_nothing_to_judge_is_left_out() -> None:
    further = [EVENTS, COUNTS]
    frame = predictions(seen=False)
    assert said(evaluate_all(frame, TARGETS, FIRST, further, bootstrap=40)[1]) == [
        ("events", "test", ""),
        ("counts", "test", "number"),
    ]
    no_events = frame.drop(columns="event")
    assert evaluate_all(no_events, TARGETS, FIRST, further, bootstrap=40)[1] == ()
    assert said(evaluate_all(frame, TARGETS[:1], FIRST, further, bootstrap=40)[1]) == [("events", "test", "")]
    unknown = frame.assign(count_target=frame["count_target"].where(frame["part"] != "test"))
    assert said(evaluate_all(unknown, TARGETS, FIRST, further, bootstrap=40)[1]) == [("events", "test", "")]
    with pytest.raises(UsageError, match=r"evaluates 'number' \(ordinal\), the targets are 'any' \(binary\)"):
        evaluate_all(frame, TARGETS[:1], COUNTS, bootstrap=40)


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    found, others = evaluate_all(predictions(), TARGETS, FIRST, [EVENTS, COUNTS], bootstrap=40)
    keep(tmp_path, found, others)
    assert read_further(tmp_path) == others
    assert Evaluation.from_json(json.loads((tmp_path / "metrics.json").read_text())) == found
    keep(tmp_path, found, ())
    assert read_further(tmp_path) == () and not (tmp_path / "further_metrics.json").exists()
    for damaged in ("{", "{}", "[]", '{"format": 9, "evaluations": []}', '{"format": 1, "evaluations": 3}'):
        (tmp_path / "further_metrics.json").write_text(damaged)
        with pytest.raises(RunError, match=r"damaged|not readable as JSON"):
            read_further(tmp_path)


def test_an_evaluation_of_before_further_targets_is_read() -> None:
    found = evaluate(table(), BINARY, KERMANY, bootstrap=40)
    content = found.to_json()
    del content["target"]
    assert Evaluation.from_json(content) == found


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The folder of a run of a domain that is not installed, with its predictions."""
    (tmp_path / "recipe.toml").write_text("")
    predictions().to_parquet(tmp_path / "predictions.parquet")
    named = {f"wild/{each.name}": each for each in (FIRST, EVENTS, COUNTS)}
    monkeypatch.setattr(domain, "protocol", named.__getitem__)
    about = SimpleNamespace(protocol="wild/frames", further=("wild/events", "wild/counts"))
    monkeypatch.setattr(domain, "dataset", lambda name: about)
    run = Run(tmp_path)
    wish = SimpleNamespace(protocol="", threshold="youden", threshold_target=0.95, bootstrap=40)
    run.__dict__["recipe"] = SimpleNamespace(dataset="wild/own", evaluation=wish)
    run.__dict__["manifest"] = SimpleNamespace(target=TARGETS[0], targets=TARGETS, synthetic=False)
    return run


def test_a_run_keeps_its_first_evaluation_and_the_further_ones(run: Run) -> None:
    assert run.further_evaluations == ()
    assert evaluate_run(run) == run.evaluation
    assert (run.evaluation.protocol, run.evaluation.part) == ("frames", "test")
    assert [each.protocol for each in run.further_evaluations] == ["frames", *["events"] * 2, *["counts"] * 2]


def test_results_of_an_earlier_training_are_forgotten(run: Run) -> None:
    evaluate_run(run)
    for name in ("mistakes", "examples", "masks"):
        (run.folder / name).mkdir()
        (run.folder / name / "index.json").write_text("[]")
    run.forget_results()
    assert sorted(path.name for path in run.folder.iterdir()) == ["recipe.toml"]
    assert not run.complete


def test_a_run_without_further_protocols_keeps_none(run: Run) -> None:
    evaluate_run(run)
    predictions(seen=False).to_parquet(run.folder / "predictions.parquet")
    domain.dataset("wild/own").further = ()
    evaluate_run(run)
    assert not (run.folder / "further_metrics.json").exists()
