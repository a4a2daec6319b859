"""Cases put together into units, further targets, ordinal classes: what is judged, and what is left out and counted."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as reference
from hypothesis import given, strategies as st
from predicted import BINARY, EXACT, KERMANY, Target, protocol, quick, table, tails

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation import Protocol, evaluate, read_cases, read_predictions, score
from graftwork.common.evaluation.metrics.registry import METRICS
from graftwork.common.evaluation.tables.prediction_arrays import numbers

CLASSES = ("none", "a", "b", "c")
ORDINAL = tuple(name for name, text in METRICS.items() if "ordinal" in text.kinds)
SEVERAL = tuple(name for name, text in METRICS.items() if "multi-class" in text.kinds)


def frames(kind: str, *, events: int = 60, seed: int = 0, prefix: str = "") -> pd.DataFrame:
    """Predictions of one to four frames an event, two events a group; some frames unlabelled."""
    rng = np.random.default_rng(seed)
    event = np.repeat(np.arange(events), rng.integers(1, 5, events))
    n = len(event)
    found = pd.DataFrame(
        {
            "case": [f"frame{row:04}" for row in rng.permutation(n)],
            "group": [f"site{number // 2:03}" for number in event],
            "part": np.where(event // 2 % 3 == 0, "validation", "test"),
            "event": [f"e{number:03}" for number in event],
        }
    )
    classes = ("no", "yes") if kind == "binary" else CLASSES
    y = rng.integers(0, len(classes), events)[event]
    y = np.where(rng.random(n) < 0.2, 0, y)
    p = rng.random((n, len(classes))) + 0.6 * np.eye(len(classes))[y]
    if kind == "multi-label":
        for k, name in enumerate(classes):
            found[f"{prefix}target_{name}"] = np.where(rng.random(n) < 0.1, np.nan, y == k)
            found[f"{prefix}score_{name}"] = p[:, k] / 1.6
        return found
    p /= p.sum(axis=1, keepdims=True)
    found[f"{prefix}target"] = np.where(rng.random(n) < 0.1, None, np.array(classes, dtype=object)[y])
    return found.assign(**{f"{prefix}score_{name}": p[:, k] for k, name in enumerate(classes)})


def of_events(kind: Any, **changes: Any) -> tuple[Target, Protocol]:
    target = Target(kind, ("no", "yes") if kind == "binary" else CLASSES)
    metrics = {"ordinal": ORDINAL, "multi-class": SEVERAL}.get(kind, ("auroc", "accuracy", "brier"))
    rules = Protocol(
        "trial", 1, "A trial", "nobody", "event", kind, metrics[0], metrics, group="site", by="event"
    )
    changed = {**vars(rules), **changes}
    return target, Protocol(**changed)


# The truth and the scores of a unit


def judged(kind: str, truth: list[Any], scores: list[list[float]] | None = None, **changes: Any) -> Any:
    """The cases of one unit whose frames have these truths (and scores)."""
    target, rules = of_events(kind, **changes)
    n = len(truth)
    given = np.full((n, len(target.classes)), 1 / len(target.classes)) if scores is None else np.array(scores)
    frame = pd.DataFrame(
        {"case": [f"f{row}" for row in range(n)], "group": "g", "part": "test", "event": "e"}
    )
    if kind == "multi-label":
        for k, name in enumerate(target.classes):
            frame[f"target_{name}"] = [row[k] for row in truth]
    else:
        frame["target"] = truth
    frame = frame.assign(**{f"score_{name}": given[:, k] for k, name in enumerate(target.classes)})
    return read_cases(frame, target, "test", protocol=rules)


@pytest.mark.parametrize(
    ("kind", "truth", "rest", "expected"),
    [
        ("binary", ["no", "yes", None], "", "yes"),
        ("binary", ["no", "no"], "", "no"),
        ("binary", ["no", None], "", None),  # the unknown one might be positive
        ("multi-class", ["none", "b", None], "none", None),  # the unknown one might be of a third
        ("multi-class", ["none", "none"], "none", "none"),
        ("multi-class", ["none", None], "none", None),
        ("multi-class", ["b", None], "", None),
        ("multi-class", ["none", "b"], "", None),  # without a class that yields, two classes
        ("multi-class", [None, None], "", None),
        ("multi-class", ["none", "b"], "rest of another set", None),
        ("ordinal", ["none", "c", "a", None], "", "c"),
        ("ordinal", [None], "", None),
    ],
)
def test_the_truth_of_a_unit(kind: str, truth: list[Any], rest: str, expected: str | None) -> None:
    for order in (truth, truth[::-1]):
        cases = judged(kind, order, rest=rest)
        assert [cases.classes[index] for index in cases.truth] == ([] if expected is None else [expected])
        assert (cases.excluded, cases.several) == ((0, 0) if expected else (1, int(None not in truth)))


def test_the_labels_of_a_unit() -> None:
    truth = [[0, 1, 0, math.nan], [0, 0, math.nan, math.nan]]
    cases = judged("multi-label", truth)
    np.testing.assert_array_equal(cases.truth, [[0, 1, math.nan, math.nan]])


def test_the_scores_of_a_unit() -> None:
    rows = [[0.1, 0.6, 0.2, 0.1], [0.5, 0.1, 0.1, 0.3]]
    for kind in ("multi-class", "ordinal"):
        cases = judged(kind, ["a", "a"], rows)
        assert cases.scores[0] == pytest.approx([0.3, 0.35, 0.15, 0.2], **EXACT)
    cases = judged("multi-class", ["a", "a"], rows, pooling="max")
    assert cases.scores[0] == pytest.approx(np.array([0.5, 0.6, 0.2, 0.3]) / 1.6, **EXACT)
    cases = judged("ordinal", ["a", "a"], rows, pooling="max")  # expected classes 1.3 and 1.2
    assert cases.scores[0] == pytest.approx(rows[0], **EXACT)
    cases = judged("multi-label", [[0, 1, 0, 0]] * 2, rows, pooling="max")
    assert cases.scores[0] == pytest.approx([0.5, 0.6, 0.2, 0.3], **EXACT)
    cases = judged("binary", ["no", "yes"], [[0.9, 0.1], [0.2, 0.8]], pooling="max")
    assert cases.scores[0] == pytest.approx([0.2, 0.8], **EXACT)


# Evaluations of units


@pytest.mark.parametrize("kind", ["binary", "multi-class", "multi-label", "ordinal"])
@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_order_of_rows_changes_nothing(kind: str, pooling: str) -> None:
    frame = frames(kind)
    target, rules = of_events(kind, pooling=pooling, rest="none" if kind == "multi-class" else "")
    found = evaluate(frame, target, rules, bootstrap=60)
    assert found.n + found.excluded == frame.loc[frame["part"] == "test", "event"].nunique()
    for seed in range(3):
        assert evaluate(frame.sample(frac=1, random_state=seed), target, rules, bootstrap=60) == found


def test_events_by_the_mean_agree_with_a_loop() -> None:
    frame = frames("binary", events=200).dropna()
    target, rules = of_events("binary")
    found = evaluate(frame, target, rules, threshold=0.5, bootstrap=60)
    test = frame[frame["part"] == "test"].groupby("event")
    y, s = test["target"].apply(lambda each: (each == "yes").any()), test["score_yes"].mean()
    assert found.result("auroc").value == pytest.approx(reference.roc_auc_score(y, s), **EXACT)
    assert found.result("accuracy").value == pytest.approx(np.mean((s >= 0.5) == y), **EXACT)
    assert (found.n, found.groups, found.unit) == (
        len(y),
        frame.query("part == 'test'").group.nunique(),
        "event",
    )
    assert found.result("auroc").method.startswith(f"cluster bootstrap over {found.groups} sites")
    validation = frame[frame["part"] == "validation"].groupby("event")
    chosen = evaluate(frame, target, rules, bootstrap=60).threshold
    assert chosen.n == len(validation)
    assert any(chosen.value == pytest.approx(mean, **EXACT) for mean in validation["score_yes"].mean())


@pytest.mark.parametrize("kind", ["binary", "multi-class", "multi-label", "ordinal"])
def test_units_of_one_case_are_the_cases(kind: str) -> None:
    frame = frames(kind).assign(event=lambda f: f["case"])
    for pooling in ("mean", "max"):
        target, rules = of_events(kind, pooling=pooling)
        alone = evaluate(frame, target, of_events(kind, by="")[1], bootstrap=40)
        for one, other in zip(
            evaluate(frame, target, rules, bootstrap=40).results, alone.results, strict=True
        ):
            assert one.value == pytest.approx(other.value, **EXACT)
            assert (one.low, one.high) == pytest.approx((other.low, other.high), **EXACT)


def test_units_of_several_classes_are_left_out_and_counted() -> None:
    target, rules = of_events("multi-class")
    frame = frames("multi-class")
    found = evaluate(frame, target, rules, bootstrap=40)
    test = frame[frame["part"] == "test"]
    mixed = int((test.groupby("event")["target"].nunique() > 1).sum())
    events = test.groupby("event")["target"]
    unknown = int((events.apply(lambda truth: truth.isna().any()) & (events.nunique() <= 1)).sum())
    assert mixed > 3 and found.excluded == mixed + unknown
    said = f"{found.excluded} events without a known label left out, {mixed} of them with several classes."
    assert said in found.notes
    yielding = evaluate(frame, target, of_events("multi-class", rest="none")[1], bootstrap=40)
    assert yielding.excluded < found.excluded


def test_a_unit_comes_from_one_group() -> None:
    frame = frames("binary")
    target, rules = of_events("binary")
    torn = frame.assign(group=frame["group"].where(frame.index != 1, "elsewhere"))
    torn.loc[0, "event"] = torn.loc[1, "event"]
    torn.loc[5, "event"] = None
    with pytest.raises(TableError) as caught:
        evaluate(torn, target, rules)
    assert f"event is in two groups: {torn.loc[1, 'event']} (1 of 60)" in str(caught.value)
    assert "event is missing: 1 of" in str(caught.value)
    with pytest.raises(TableError, match="columns are missing: event"):
        evaluate(frame.drop(columns="event"), target, rules)


def test_a_table_whose_groups_are_all_unknown_has_none() -> None:
    frame = table()
    none = evaluate(frame.drop(columns="group"), BINARY, KERMANY, bootstrap=40)
    assert evaluate(frame.assign(group=np.nan), BINARY, KERMANY, bootstrap=40) == none
    target, rules = of_events("binary")
    found = evaluate(frames("binary").assign(group=None), target, rules, bootstrap=40)
    assert found.groups == found.n and any("no groups" in note for note in found.notes)


# Further targets


@pytest.mark.parametrize("kind", ["binary", "multi-class", "multi-label", "ordinal"])
def test_a_further_target_is_read_by_its_prefix(kind: str) -> None:
    class Further(Target):
        prefix = "count_"
        name = "count"

    target, rules = of_events(kind)
    first = evaluate(frames(kind), target, rules, bootstrap=40)
    further = Further(target.kind, target.classes)
    both = frames(kind, prefix="count_").assign(target="nothing", score_a="nonsense")
    named = Protocol(**{**vars(rules), "target": "count"})
    found = evaluate(both, further, named, bootstrap=40)
    assert found.results == first.results
    assert (found.target, first.target) == ("count", "")
    with pytest.raises(TableError, match="count_"):
        evaluate(frames(kind), further, named)
    with pytest.raises(UsageError, match="evaluates the target 'other', this target is 'count'"):
        evaluate(both, further, Protocol(**{**vars(rules), "target": "other"}))


# Ordinal classes


@quick
@given(st.integers(2, 6), st.integers(1, 40), st.integers(0, 10_000))
def test_ordinal_measures_agree_with_scikit_learn(classes: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = rng.integers(1, 6, (n, classes)) / 1.0
    p /= p.sum(axis=1, keepdims=True)
    y = rng.integers(0, classes, n)
    names = "abcdef"[:classes]
    called = p.argmax(1)
    assert score("mean_absolute_error", "ordinal", names, y, p) == pytest.approx(
        reference.mean_absolute_error(y, called), **EXACT
    )
    assert score("within_one", "ordinal", names, y, p) == np.mean(np.abs(y - called) <= 1)
    assert score("accuracy", "ordinal", names, y, p) == pytest.approx(np.mean(y == called), **EXACT)
    f1 = reference.f1_score(y, called, average="macro", labels=np.unique(y))
    for kind in ("ordinal", "multi-class"):
        assert score("macro_f1", kind, names, y, p) == pytest.approx(f1, **EXACT)
        with_unknown = np.append(y, -1), np.vstack([p, p[:1]])
        assert score("macro_f1", kind, names, *with_unknown) == score("macro_f1", kind, names, y, p)


def test_an_ordinal_evaluation_has_every_metric_with_an_interval() -> None:
    target, _ = of_events("ordinal")
    frame = frames("ordinal", events=150)
    rules = protocol(target, ORDINAL)
    found = evaluate(frame, target, rules, bootstrap=100)
    assert found.thresholds == () and found.kind == "ordinal"
    for name in ORDINAL:
        result = found.result(name)
        assert result.low < result.value < result.high
    assert found.result("macro_f1").classes == (4, 4)
    fewer = evaluate(frame[frame["target"] != "c"], target, rules, bootstrap=100)
    assert fewer.result("macro_f1").classes == fewer.result("balanced_accuracy").classes == (3, 4)


def test_the_interval_of_macro_f1_is_that_of_the_loop_over_drawn_sites() -> None:
    target, _ = of_events("multi-class")
    frame = frames("multi-class").dropna()
    found = evaluate(frame, target, protocol(target, ("auroc", "macro_f1")), bootstrap=200, seed=4).result(
        "macro_f1"
    )
    test = frame[frame["part"] == "test"]
    y = test["target"].map(CLASSES.index).to_numpy()
    called = test[[f"score_{name}" for name in CLASSES]].to_numpy().argmax(1)
    names, site = np.unique(test["group"], return_inverse=True)
    rng = np.random.default_rng(4)
    loop = []
    for _ in range(200):
        rows = np.concatenate(
            [np.flatnonzero(site == each) for each in rng.integers(0, len(names), len(names))]
        )
        loop.append(reference.f1_score(y[rows], called[rows], average="macro", labels=np.unique(y[rows])))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(loop, tails(len(names)))), **EXACT)


def test_metrics_of_another_kind_are_refused() -> None:
    p = np.full((3, 3), 1 / 3)
    for name, kind in (("within_one", "multi-class"), ("macro_f1", "binary")):
        with pytest.raises(UsageError, match=r"does not apply to|is not one of"):
            score(name, kind, "abc", [0, 1, 2], p)
    with pytest.raises(UsageError, match="of masks, not of scores"):
        score("dice", "ordinal", "abc", [0, 1, 2], p)


def test_names_of_events_in_a_csv_stay_names(tmp_path: Path) -> None:
    for texts in (["001", "1", "002", "2"], ["5e3", "50e2", "1e1", "10"]):
        place = tmp_path / "table.csv"
        rows = [f"c{k},g,test,a,0.5,{text},{k}.5" for k, text in enumerate(texts)]
        place.write_text("\n".join(["case,group,part,target,score_a,event,age", *rows]) + "\n")
        table = read_predictions(place)
        assert table["event"].tolist() == texts
        assert numbers(table["age"])[0].tolist() == [0.5, 1.5, 2.5, 3.5]
