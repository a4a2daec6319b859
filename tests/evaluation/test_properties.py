"""What must hold of any table of predictions: order, copies, files, scales and the names of classes change nothing.

The tables are small and random: groups of one to four cases, scores with many ties, some labels unknown.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings, strategies as st
from predicted import BINARY, KERMANY, Floats, Target, scored, table, tails

from graftwork.common.data.domain import protocol as named
from graftwork.common.evaluation import (
    METRICS,
    Evaluation,
    Protocol,
    accuracy,
    auroc,
    average_precision,
    balanced_accuracy,
    bca_interval,
    brier,
    calibration_in_the_large,
    calibration_slope,
    choose_threshold,
    clopper_pearson,
    compare,
    conformal_sets,
    confusion,
    decision_curve,
    delong,
    evaluate,
    exact,
    expanded_interval,
    expected_calibration_error,
    f1_score,
    fit_isotonic,
    fit_temperature,
    group_bootstrap,
    hand_till,
    holm,
    kappa,
    mae,
    matthews,
    mcnemar,
    net_benefit,
    operating_point_table,
    paired_bootstrap,
    paired_delong,
    partial_auroc,
    percentile_interval,
    permutation_test,
    precision_recall_band,
    precision_recall_curve,
    reliability,
    risk_coverage,
    rmse,
    roc_band,
    roc_curve,
    score,
    sensitivity,
    sensitivity_at_specificity,
    source_probe,
    specificity,
    specificity_at_sensitivity,
    subgroups,
    top_k_accuracy,
    wilson,
)
from graftwork.common.evaluation.results import Result
from graftwork.common.verbs import evaluate_file

few = settings(deadline=None, max_examples=12, derandomize=True)
fewer = settings(few, max_examples=5, suppress_health_check=[HealthCheck.too_slow])  # of whole tables
KINDS = ("binary", "multi-class", "ordinal", "multi-label", "counts")
CLASSES = {
    "binary": ("well", "ill"),
    "multi-class": ("a", "b", "c"),
    "ordinal": ("1", "2", "3+"),
    "multi-label": ("x", "y"),
    "counts": (),
}
EXACT: Any = {"abs": 1e-12, "rel": 0}
PIECES = 16  # of which the scores of a case are made: a power of two, so that sums and means are exact
FITTED = ("calibration_slope", "calibration_in_the_large")  # by steps that end when they are near enough


@dataclass(frozen=True, eq=False)
class Given:
    frame: pd.DataFrame
    target: Target
    protocol: Protocol

    def judged(self, frame: pd.DataFrame | None = None, **how: Any) -> Evaluation:
        options = {"bootstrap": 20, **how}
        return evaluate(self.frame if frame is None else frame, self.target, self.protocol, **options)


def rules(target: Target, by: str = "", **changes: Any) -> Protocol:
    """Every metric that there is of such a target."""
    metrics = tuple(name for name, text in METRICS.items() if target.kind in text.kinds)
    primary = "count_exact" if target.kind == "counts" else "accuracy"
    return Protocol(
        "trial",
        1,
        "A trial",
        "nobody",
        "case",
        target.kind,
        primary,
        metrics,
        by=by,
        group="place",
        **changes,
    )


@st.composite
def tables(
    draw: st.DrawFn,
    kind: str,
    *,
    classes: tuple[str, ...] | None = None,
    groups: tuple[int, int] = (2, 6),
    known: bool = False,
    together: bool = True,
) -> Given:
    """A table of a kind.

    `groups`: how few and many in the part test. `known`: no label is missing. `together`: now and then cases are put
    together into events.
    """
    sizes = draw(st.lists(st.integers(1, 4), min_size=groups[0] + 1, max_size=groups[1] + 2))
    tested = min(max(groups[0], len(sizes) - 2), groups[1])
    group = np.repeat(np.arange(len(sizes)), sizes)
    n = len(group)
    row = np.arange(n)
    frame = pd.DataFrame(
        {
            "case": [f"c{(7 * k) % 101:03}" for k in row],  # not in the order of the rows
            "group": [f"g{(5 * k) % 11:02}" for k in group],
            "part": np.where(group < tested, "test", "validation"),
            "event": [f"e{k:02}-{j % 2}" for k, j in zip(group, row, strict=True)],
            "sex": np.where(group % 2, "f", "m"),
        }
    )
    target = Target(kind, CLASSES[kind] if classes is None else classes)
    least = 0 if known else -1

    def whole(low: int, high: int) -> Any:
        return np.array(draw(st.lists(st.integers(low, high), min_size=n, max_size=n)))

    if kind == "counts":
        truth, predicted = whole(least, 4), whole(0, 4)
        frame["target"] = np.where(truth < 0, np.nan, truth)
        frame["predicted"] = predicted.astype(float)
        return Given(frame, target, rules(target))
    many = len(target.classes)
    if kind == "multi-label":
        for name in target.classes:
            truth, pieces = whole(least, 1), whole(0, PIECES)
            frame[f"target_{name}"] = np.where(truth < 0, np.nan, truth)
            frame[f"score_{name}"] = pieces / PIECES
    else:
        truth = whole(least, many - 1)
        cuts = np.sort(np.stack([whole(0, PIECES) for _ in range(many - 1)], axis=1), axis=1)
        pieces = np.diff(cuts, axis=1, prepend=0, append=PIECES)
        frame["target"] = np.array([*target.classes, None], dtype=object)[truth]
        for k, name in enumerate(target.classes):
            frame[f"score_{name}"] = pieces[:, k] / PIECES
    by = draw(st.sampled_from(["", "event"])) if together else ""
    more: dict[str, Any] = {"pooling": draw(st.sampled_from(["mean", "max"]))} if by else {}
    if kind == "multi-class":
        more["ties"] = draw(st.sampled_from(["first", "wrong"]))
        if by:
            more["rest"] = draw(st.sampled_from(["", "a"]))
    return Given(frame, target, rules(target, by, **more))


kinds = pytest.mark.parametrize("kind", KINDS)


def tables_of(kinds: tuple[str, ...] = KINDS, **how: Any) -> st.SearchStrategy[Given]:
    return st.sampled_from(kinds).flatmap(lambda kind: tables(kind, **how))


def limits(each: Result) -> tuple[float, float, float]:
    return each.value, each.low, each.high


def alike(found: Evaluation, expected: Evaluation) -> None:
    """The same values and limits, but for the last digits."""
    for one, other in zip(found.results, expected.results, strict=True):
        near: Any = {"abs": 1e-7, "rel": 1e-7} if one.metric in FITTED else EXACT
        assert (one.metric, one.label, one.undefined) == (other.metric, other.label, other.undefined)
        assert limits(one) == pytest.approx(limits(other), nan_ok=True, **near), one


def mixed(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    return frame.sample(frac=1, random_state=seed)


# Order, copies, files


@kinds
@fewer
@given(st.data(), st.integers(0, 1000))
def test_the_order_of_rows_and_columns_changes_nothing(kind: str, data: Any, seed: int) -> None:
    made = data.draw(tables(kind))
    other = mixed(made.frame, seed)[list(made.frame.columns[::-1])]
    once = made.judged()
    assert made.judged(other) == once
    if kind != "counts":
        one, two = (
            subgroups(each, made.target, made.protocol, once, ["sex"], smallest=1)
            for each in (made.frame, other)
        )
        assert one == two


def test_the_order_of_rows_does_not_matter_to_a_probe_of_the_source() -> None:
    frame = table(120, groups=40, parts=False)
    frame["site"] = np.where(frame["group"].str[-1].isin(list("024")), "north", "south")
    found = evaluate(frame, BINARY, KERMANY, bootstrap=20, threshold=0.5)
    once = source_probe(frame, BINARY, KERMANY, found, ["site"])
    assert once and source_probe(mixed(frame, 0), BINARY, KERMANY, found, ["site"]) == once


@kinds
@fewer
@given(st.data())
def test_every_case_twice_within_its_group_changes_nothing(kind: str, data: Any) -> None:
    """No value, no limit and no threshold: a group is not more certain for having its images copied."""
    made = data.draw(tables(kind))
    copies = made.frame.assign(case=made.frame["case"] + "-copy")
    once, twice = made.judged(), made.judged(pd.concat([made.frame, copies]))
    alike(twice, once)
    assert [each.groups for each in twice.results] == [each.groups for each in once.results]
    assert [each.value for each in twice.thresholds] == pytest.approx(
        [each.value for each in once.thresholds], abs=0, nan_ok=True
    )
    if not made.protocol.by:
        assert [each.n for each in twice.results] == [2 * each.n for each in once.results]


@kinds
@fewer
@given(st.data(), st.integers(0, 1000))
def test_groups_are_told_apart_by_their_order_alone(kind: str, data: Any, seed: int) -> None:
    """Whatever they are called; and where each case is its own group, no group need be told."""
    made = data.draw(tables(kind, together=False))
    called = made.frame.assign(group="site " + made.frame["group"] + " of many")
    once = made.judged(seed=seed)
    assert list(map(limits, made.judged(called, seed=seed).results)) == list(map(limits, once.results))
    alone = made.judged(made.frame.assign(group=made.frame["case"]), seed=seed)
    untold = made.judged(made.frame.drop(columns="group"), seed=seed)
    assert list(map(limits, alone.results)) == list(map(limits, untold.results))
    assert (alone.group_column, untold.group_column) == ("group", "")
    assert any("no groups" in note for note in untold.notes)


FILES = {
    "isic2020": "binary",
    "chexpert": "multi-label",
    "camera_trap/species": "multi-class",
    "camera_trap/count": "ordinal",
    "iwildcam2022-counts": "counts",
}


@pytest.mark.parametrize("name", FILES)
@fewer
@given(st.data(), st.sampled_from([",", ";", "\t"]))
def test_files_hold_what_was_put_into_them(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: Any, separator: str
) -> None:
    """CSV and Parquet, two halves in another order, and the truth apart: the same numbers to the last digit."""
    convention, kind = named(name), FILES[name]
    classes = convention.classes or CLASSES[kind]
    made = data.draw(tables(kind, classes=classes, together=False))
    frame = made.frame.rename(columns={"event": convention.by or "event"})
    if kind in ("binary", "multi-label"):  # scores with all their digits
        scores = [column for column in frame if column.startswith("score_")]
        frame[scores] = frame[scores] ** 0.7
        frame = frame.drop(columns=f"score_{classes[0]}") if kind == "binary" else frame
    expected = evaluate(frame, made.target, convention, bootstrap=20)
    half = len(frame) // 2
    turned = pd.concat([frame[half:], frame[:half]])
    folder = tmp_path_factory.mktemp("tables")
    turned.to_csv(folder / "all.csv", index=False, sep=separator)
    turned.to_parquet(folder / "all.parquet")
    truth = [column for column in frame if column.startswith("target") or column in ("group", "part")]
    mixed(frame[["case", *truth]], 1).to_csv(folder / "truth.csv", index=False)
    turned.drop(columns=truth).to_csv(folder / "scores.csv", index=False)
    for file, apart in (("all.csv", None), ("all.parquet", None), ("scores.csv", folder / "truth.csv")):
        found = evaluate_file(folder / file, name, truth=apart, bootstrap=20).evaluation
        beside = ("Columns not used", "Every case is")  # what is said of the table alone
        said = [note for note in found.notes if not note.startswith(beside)]
        assert tuple(said) == expected.notes, file
        assert replace(found, notes=expected.notes, command="") == expected, file


# Scales and names


@fewer
@given(tables_of(("binary", "multi-label"), together=False), st.sampled_from(["square", "root", "squeeze"]))
def test_a_rising_scale_of_scores_leaves_ranks_and_decisions(made: Given, how: str) -> None:
    """With the threshold chosen anew, on the same cases, every decision is the same one."""
    rises: Any = {"square": np.square, "root": np.sqrt, "squeeze": lambda p: 0.25 + p / 2}[how]
    frame = made.frame.copy()
    for name in made.target.classes:
        frame[f"score_{name}"] = rises(frame[f"score_{name}"])
    if made.target.kind == "binary":
        frame["score_well"] = 1 - frame["score_ill"]
    once, again = made.judged(), made.judged(frame)
    for one, other in zip(once.results, again.results, strict=True):
        if one.metric not in ("brier", "ece_top_label", *FITTED):
            assert other == one
    for at, then in zip(once.thresholds, again.thresholds, strict=True):
        assert then == replace(at, value=float(rises(at.value)))


@few
@given(scored(least=4), st.integers(0, 1000))
def test_a_rising_scale_of_scores_leaves_curves_areas_and_tests(data: Any, seed: int) -> None:
    y, s = data
    rng = np.random.default_rng(seed)
    other, groups = rng.permutation(s), rng.integers(0, 4, len(y))
    for t in (np.exp(s), 40 * s - 25, s**3, -1 / (1 + s)):
        for kind, limit in (("raw", 0.3), ("mcclish", 0.2), ("above-sensitivity", 0.8)):
            assert partial_auroc(y, t, limit, kind) == partial_auroc(y, s, limit, kind)  # type: ignore[arg-type]
        assert partial_auroc(y, t, 0.5, "right-of-sensitivity") == partial_auroc(
            y, s, 0.5, "right-of-sensitivity"
        )
        for curve in (roc_curve, precision_recall_curve):
            np.testing.assert_array_equal(curve(y, t)[:2], curve(y, s)[:2])
        assert delong(y, t) == delong(y, s)
        assert repr(paired_delong(y, t, other)) == repr(paired_delong(y, s, other))
        for reading in (sensitivity_at_specificity, specificity_at_sensitivity):
            assert reading(y, t, 0.7)[0] == reading(y, s, 0.7)[0]
        for band in (roc_band, precision_recall_band):
            found, expected = (band(y, each, groups, points=5, replicates=10) for each in (t, s))
            np.testing.assert_array_equal(
                [found.y, found.low, found.high], [expected.y, expected.low, expected.high]
            )


@few
@given(st.integers(2, 4), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=3, max_size=30))
def test_a_rising_scale_of_its_own_for_each_class(classes: int, rows: list[tuple[int, int]]) -> None:
    """Hand and Till's M and the means over one class against the rest compare scores within a class alone."""
    y = np.array([label for label, _ in rows]) % classes
    s = np.array([[(a + 3 * k * b) % 6 for k in range(classes)] for a, (_, b) in enumerate(rows)]) / 5
    scales: Any = [np.exp, lambda v: 7 * v - 3, np.sqrt, lambda v: v**3]
    t = np.stack([scales[k](s[:, k]) for k in range(classes)], axis=1)
    assert hand_till(y, t) == pytest.approx(hand_till(y, s), nan_ok=True, abs=0)
    for metric in ("auroc", "average_precision", "hand_till"):
        once, again = (score(metric, "multi-class", "abcd"[:classes], y, each) for each in (s, t))
        assert again == pytest.approx(once, nan_ok=True, abs=0)
    # and what takes the largest of a row takes the same under one scale for all
    for metric in ("accuracy", "balanced_accuracy", "macro_f1", "matthews"):
        once, again = (score(metric, "multi-class", "abcd"[:classes], y, each) for each in (s, np.exp(s)))
        assert again == pytest.approx(once, nan_ok=True, abs=0)
    for k in range(1, classes + 1):
        assert top_k_accuracy(y, np.exp(s), k) == top_k_accuracy(y, s, k)
        assert top_k_accuracy(y, s, k) >= top_k_accuracy(y, s, max(k - 1, 1))
    assert top_k_accuracy(y, s, classes) == 1.0


@fewer
@given(tables("binary", together=False))
def test_which_class_is_called_positive_turns_the_numbers_over(made: Given) -> None:
    """Sensitivity and specificity change places; what looks at both classes alike stays, with its interval."""
    frame = made.frame.copy()
    frame["score_ill"] = (PIECES * frame["score_ill"] * 2 + 1) / (
        2 * PIECES + 2
    )  # 17 levels, none of them 1/2 ...
    frame["score_ill"] -= (frame["score_ill"] == 0.5) / (2 * PIECES + 2)  # ... where a tie has a side
    frame["score_well"] = 1 - frame["score_ill"]
    swapped = Target("binary", made.target.classes[::-1])
    places = {"sensitivity": "specificity", "specificity": "sensitivity"}
    same = ("auroc", "accuracy", "balanced_accuracy", "brier", "ece_top_label", "matthews", *places)
    at = 0.4 + 1e-3
    once = made.judged(frame, threshold=at)
    other = evaluate(frame, swapped, rules(swapped), threshold=1 - at, bootstrap=20)
    for metric in same:
        one, turned = once.result(metric), other.result(places.get(metric, metric))
        assert [turned.value, turned.low, turned.high] == pytest.approx(
            [one.value, one.low, one.high], nan_ok=True, **EXACT
        )
        assert turned.undefined == one.undefined
    against = frame.assign(score_ill=frame["score_well"], score_well=frame["score_ill"])
    one, turned = once.result("auroc"), made.judged(against, threshold=at).result("auroc")
    assert [1 - turned.value, 1 - turned.high, 1 - turned.low] == pytest.approx(
        [one.value, one.low, one.high], nan_ok=True, **EXACT
    )


@few
@given(scored(), st.integers(0, 10))
def test_turning_classes_and_scores_over(data: Any, step: int) -> None:
    y, s = data
    assert auroc(1 - y, -s) == auroc(y, s)
    assert auroc(1 - y, s) == pytest.approx(1 - auroc(y, s), **EXACT)
    found, turned = delong(y, s), delong(1 - y, s)
    assert [1 - turned.value, turned.standard_error, 1 - turned.high, 1 - turned.low] == pytest.approx(
        [found.value, found.standard_error, found.low, found.high], nan_ok=True, **EXACT
    )
    t = (step + 0.25) / 11  # no score is there
    assume(not (s == t).any())
    assert sensitivity(1 - y, -s, -t) == specificity(y, s, t)
    assert specificity(1 - y, -s, -t) == sensitivity(y, s, t)
    for reading, other in (
        (sensitivity_at_specificity, specificity_at_sensitivity),
        (specificity_at_sensitivity, sensitivity_at_specificity),
    ):
        for how in ("step", "interp"):
            assert other(1 - y, -s, 0.7, how)[0] == pytest.approx(reading(y, s, 0.7, how)[0], **EXACT)
    (one,) = operating_point_table(y, s, [t])
    (two,) = operating_point_table(1 - y, -s, [-t])
    assert (two.sensitivity, two.specificity, two.ppv, two.npv) == (
        one.specificity, one.sensitivity, one.npv, one.ppv,
    )  # fmt: skip
    assert brier(1 - y, 1 - s) == pytest.approx(brier(y, s), **EXACT)
    called = (s >= t).astype(int)
    for metric in (kappa, matthews):
        value = metric(y, called, "ab")
        for others in ((1 - y, 1 - called), (called, y)):
            assert metric(*others, "ab") == pytest.approx(value, nan_ok=True, **EXACT)
    assert f1_score(called, y) == pytest.approx(f1_score(y, called), nan_ok=True, **EXACT)
    np.testing.assert_array_equal(confusion(called, y, "ab"), confusion(y, called, "ab").T)


@few
@given(scored(least=6), st.integers(0, 1000))
def test_exchanging_two_models_turns_every_difference_over(data: Any, seed: int) -> None:
    y, a = data
    rng = np.random.default_rng(seed)
    b, groups = rng.permutation(a), rng.integers(0, 5, len(y))
    one, other = paired_delong(y, a, b), paired_delong(y, b, a)
    assert [-other.difference, -other.high, -other.low, -other.z, other.p, other.covariance] == pytest.approx(
        [one.difference, one.low, one.high, one.z, one.p, one.covariance], nan_ok=True, **EXACT
    )
    right, wrong = (a > 0.5) == y, (b > 0.5) == y
    test, turned = mcnemar(right, wrong), mcnemar(wrong, right)
    assert (turned.only_second, turned.only_first, turned.p) == (test.only_first, test.only_second, test.p)
    order = rng.permutation(len(y))
    assert mcnemar(right[order], wrong[order]) == test

    def gap(first: Floats, second: Floats) -> float:
        return float((first - second).mean())

    p, exact = permutation_test(gap, a, b, groups)
    assert exact and 2 ** -len(np.unique(groups)) <= p <= 1
    assert permutation_test(gap, b, a, groups) == (p, True)
    assert permutation_test(gap, a[order], b[order], groups[order]) == (p, True)
    assert permutation_test(gap, a, b, np.array(list("vwxyz"))[groups]) == (p, True)

    def of(scores: Floats) -> Any:
        return lambda weights: auroc(y, scores, weights=weights)

    apart, back = (paired_bootstrap(of(m), of(n), groups, replicates=40) for m, n in ((a, b), (b, a)))
    assert [-back.value, -back.high, -back.low, back.p, back.undefined] == pytest.approx(
        [apart.value, apart.low, apart.high, apart.p, apart.undefined], nan_ok=True, **EXACT
    )


@fewer
@given(tables_of(KINDS[:4]), st.integers(0, 1000))
def test_comparing_two_tables_the_other_way_round(made: Given, seed: int) -> None:
    frame = made.frame
    scores = [column for column in frame.columns if column.startswith("score_")]
    other = frame.copy()
    other[scores] = frame[scores].sample(frac=1, random_state=seed).to_numpy()
    how: Any = (
        {"bootstrap": 20, "threshold": 0.4}
        if made.target.kind in ("binary", "multi-label")
        else {"bootstrap": 20}
    )
    there, back = (
        compare(first, mixed(second, seed), made.target, made.protocol, **how)
        for first, second in ((frame, other), (other, frame))
    )
    assert (there.only_first, there.only_second) == (back.only_second, back.only_first)
    assert there.mcnemar_p == pytest.approx(back.mcnemar_p, nan_ok=True, abs=0)
    for one, two in zip(there.compared, back.compared, strict=True):
        a, b = one.difference, two.difference
        assert (one.first, one.second) == pytest.approx((two.second, two.first), nan_ok=True, abs=0)
        assert [-b.value, -b.high, -b.low, b.p, two.adjusted, two.delong_p] == pytest.approx(
            [a.value, a.low, a.high, a.p, one.adjusted, one.delong_p], nan_ok=True, **EXACT
        )
        assert math.isnan(a.low) == math.isnan(a.p) == bool(one.reason)
        assert math.isnan(a.p) or (a.low <= a.high and 0 < a.p <= one.adjusted <= 1)


@few
@given(st.lists(st.integers(0, 20), max_size=12), st.integers(0, 1000))
def test_a_family_of_tests_has_no_order(p: list[int], seed: int) -> None:
    values = np.array(p) / 20
    order = np.random.default_rng(seed).permutation(len(p))
    found = holm(values)
    np.testing.assert_array_equal(holm(values[order]), found[order])
    assert (found >= values).all() and (found <= np.minimum(len(p) * values, 1.0) + 1e-12).all()
    assert all(found[i] <= found[j] for i, j in itertools.permutations(range(len(p)), 2) if p[i] <= p[j])
    unknown = np.insert(values, len(p) // 2, np.nan)  # one that was not tested costs the others nothing
    np.testing.assert_array_equal(np.delete(holm(unknown), len(p) // 2), found)


@pytest.mark.parametrize("kind", ["binary", "multi-class", "ordinal", "counts"])
@fewer
@given(st.data())
def test_a_metric_of_a_table_is_the_function_of_that_name(kind: str, data: Any) -> None:
    """Of the cases of the part test whose truth is known, asked for one by one. One score lies at the threshold."""
    made = data.draw(tables(kind, together=False))
    names = made.target.classes
    tested = made.frame[(made.frame["part"] == "test") & made.frame["target"].notna()]
    assume(len(tested) > 0)
    at = float(np.sort(tested["score_ill"])[len(tested) // 2]) if kind == "binary" else 0.5
    found = made.judged(threshold=at, bootstrap=2)
    expected: dict[str, float]
    if kind == "counts":
        truth, predicted = tested["target"], tested["predicted"]
        expected = {
            "count_error": mae(truth, predicted),
            "count_rmse": rmse(truth, predicted),
            "count_exact": exact(truth, predicted, None),
        }
    elif kind == "binary":
        y, s = (tested["target"] == names[1]).to_numpy(), tested["score_ill"].to_numpy()
        expected = {
            "auroc": auroc(y, s),
            "average_precision": average_precision(y, s),
            "partial_auroc": partial_auroc(y, s, 0.8, "above-sensitivity"),
            "sensitivity": sensitivity(y, s, at),
            "specificity": specificity(y, s, at),
            "accuracy": accuracy(y, s, at),
            "balanced_accuracy": balanced_accuracy(y, s, at),
            "f1": f1_score(y, s >= at),
            "matthews": matthews(y, s >= at, "ab"),
            "brier": brier(y, s),
            "ece_top_label": expected_calibration_error(y, s),
        }
        if ((s > 0) & (s < 1)).any():
            expected["calibration_slope"] = calibration_slope(y, s)[0]
            expected["calibration_in_the_large"] = calibration_in_the_large(y, s)
    else:
        y = np.array([names.index(name) for name in tested["target"]])
        p = tested[[f"score_{name}" for name in names]].to_numpy()
        expected = {"brier": brier(y, p), "ece_top_label": expected_calibration_error(y, p)}
        if made.protocol.ties == "first":
            called = p.argmax(axis=1)
            expected |= {
                "accuracy": top_k_accuracy(y, p, 1),
                "balanced_accuracy": balanced_accuracy(y, p),
                "macro_f1": score("macro_f1", kind, names, y, p),
            }
            if kind == "ordinal":
                expected["kappa_quadratic"] = kappa(y, called, names, "quadratic")
                expected["within_one"] = float(np.mean(np.abs(y - called) <= 1))
                expected["mean_absolute_error"] = mae(y, called)
            else:
                expected["matthews"] = matthews(y, called, names)
        if kind == "multi-class":
            expected["hand_till"] = hand_till(y, p)[0]
    for metric, value in expected.items():
        near: Any = {"abs": 1e-6, "rel": 1e-6} if metric in FITTED else EXACT
        assert found.result(metric).value == pytest.approx(value, nan_ok=True, **near), metric


def test_calibration_in_the_large_of_hard_decisions_is_the_function_of_that_name() -> None:
    y, p = np.array([0, 0, 0, 1, 1, 0, 1, 0, 1, 1]), np.array([0, 0, 1, 1, 1, 0, 0, 0, 1, 1])
    frame = pd.DataFrame({"case": np.arange(10), "group": np.arange(10) // 2, "part": "test"})
    frame = frame.assign(target=np.array(["well", "ill"])[y], score_ill=p)
    target = Target("binary", ("well", "ill"))
    found = evaluate(frame, target, rules(target), threshold=0.5, bootstrap=20)
    expected = calibration_in_the_large(y, p.astype(float))
    assert found.result("calibration_in_the_large").value == pytest.approx(expected, abs=1e-3)


# Bounds


def bounds(metric: str, kind: str) -> tuple[float, float]:
    """What the texts say that a number lies between."""
    if metric == "brier":
        return 0.0, 2.0 if kind in ("multi-class", "ordinal") else 1.0
    if metric == "mean_absolute_error":
        return 0.0, len(CLASSES[kind]) - 1.0
    if metric in FITTED:
        return -math.inf, math.inf
    low, to, high = METRICS[metric].unit.partition(" to ")
    return (float(low), float(high)) if to else (0.0, math.inf)


def sound(results: tuple[Result, ...], kind: str) -> None:
    for each in results:
        low, high = bounds(each.metric, kind)
        assert math.isnan(each.low) == math.isnan(each.high) == bool(each.reason), each
        assert not math.isnan(each.value) or each.reason, each
        assert math.isnan(each.value) or low - 1e-12 <= each.value <= high + 1e-12, each
        assert each.reason or low - 1e-12 <= each.low <= each.high <= high + 1e-12, each


@kinds
@fewer
@given(st.data(), st.integers(0, 1000))
def test_numbers_lie_in_their_ranges_or_have_a_reason(kind: str, data: Any, seed: int) -> None:
    made = data.draw(tables(kind, groups=(1, 6)))
    narrow, wide = (made.judged(seed=seed, confidence=share) for share in (0.5, 0.95))
    for found in (narrow, wide):
        sound(found.results, kind)
        assert Evaluation.from_json(found.to_json()) == found
    for one, other in zip(narrow.results, wide.results, strict=True):
        assert other.value == one.value or math.isnan(one.value)
        assert one.reason or other.low <= one.low <= one.high <= other.high
    if kind != "counts":
        for part in subgroups(made.frame, made.target, made.protocol, wide, ["sex"], smallest=1):
            for each in part.subgroups:
                sound(each.results, kind)
            for gap in part.gaps:
                assert gap.difference.value >= 0
                assert math.isnan(gap.difference.low) == bool(gap.difference.reason)


@few
@given(
    st.lists(st.integers(-8, 8), min_size=20, max_size=60),
    st.integers(0, 4),
    st.integers(2, 50),
    st.sampled_from([0.5, 0.9, 0.95, 0.999]),
)
def test_limits_are_among_the_replicates(
    drawn: list[int], unknown: int, groups: int, confidence: float
) -> None:
    values = np.append(np.array(drawn) / 8, np.full(unknown, math.nan))
    plain, expanded = percentile_interval(values, confidence), expanded_interval(values, groups, confidence)
    for found in (plain, expanded):
        assert (found.undefined, found.replicates) == (unknown, len(values))
        assert math.isnan(found.low) == math.isnan(found.high) == bool(found.reason)
        assert bool(found.reason) == (unknown > 0.05 * len(values))
    if plain.reason:
        return
    assert np.nanmin(values) <= expanded.low <= plain.low <= plain.high <= expanded.high <= np.nanmax(values)
    assert expanded_interval(values[::-1], groups, confidence) == expanded
    if confidence == 0.95:
        assert (expanded.low, expanded.high) == pytest.approx(np.nanquantile(values, tails(groups)), **EXACT)
    turned = expanded_interval(-values, groups, confidence)
    assert (-turned.high, -turned.low) == pytest.approx((expanded.low, expanded.high), **EXACT)
    fewer = expanded_interval(values, 2, confidence)
    assert fewer.low <= expanded.low and expanded.high <= fewer.high
    corrected = bca_interval(values, float(np.nanmedian(values)), np.array([0.1, 0.2, 0.6]), confidence)
    assert corrected.reason or np.nanmin(values) <= corrected.low <= corrected.high <= np.nanmax(values)


@few
@given(scored(least=4), st.integers(0, 1000))
def test_functions_of_arrays_keep_to_their_ranges(data: Any, seed: int) -> None:
    y, s = data
    rng = np.random.default_rng(seed)
    n, groups = len(y), rng.integers(0, 5, len(y))
    for limit in (0.1, 0.5, 1.0):
        assert -1e-12 <= partial_auroc(y, s, limit, "raw") <= limit + 1e-12
        assert -1e-12 <= partial_auroc(y, s, limit, "above-sensitivity") <= 1 - limit + 1e-12
        assert -1e-12 <= partial_auroc(y, s, limit, "mcclish") <= 1 + 1e-12
        assert -1e-12 <= partial_auroc(y, s, limit, "right-of-sensitivity") <= auroc(y, s) + 1e-12
    base = y.mean()
    assert base / 2 <= average_precision(y, s) <= 1 + 1e-12  # of all the positive cases last
    for variant in ("class-1", "top-label"):
        assert 0 <= expected_calibration_error(y, s, bins=4, variant=variant) <= 1 + 1e-12
    assert expected_calibration_error(y, s, bins=1, variant="class-1") == pytest.approx(
        abs(base - s.mean()), **EXACT
    )
    curve = reliability(y, s, groups, bins=4, replicates=10)
    assert curve.n.sum() == n and np.nansum(curve.n * curve.observed) == pytest.approx(y.sum())
    for found in (
        roc_band(y, s, groups, points=5, replicates=10),
        precision_recall_band(y, s, groups, points=5, replicates=10),
    ):
        assert ((found.y >= 0) & (found.y <= 1)).all()
        there = ~np.isnan(found.low)
        assert (found.low[there] <= found.high[there]).all() and (there.all() or found.reason)
    benefit = decision_curve(y, s, groups, [0.1, 0.5, 0.9], replicates=10)
    assert (benefit.model <= base + 1e-12).all()
    assert np.isnan(benefit.low).all() == bool(benefit.reason)
    assert bool(benefit.reason) or (benefit.low <= benefit.high).all()
    assert net_benefit(y, s, [0.0]) == pytest.approx([base])
    (point,) = operating_point_table(y, s, [0.5], groups, replicates=10)
    for share in (point.sensitivity, point.specificity, point.ppv, point.npv):
        assert math.isnan(share.value) == (share.n == 0) == math.isnan(share.low)
        assert share.n == 0 or 0 <= share.low <= share.value <= share.high <= 1
        low, high = clopper_pearson(share.hits, share.n)
        assert share.n == 0 or 0 <= low <= share.value <= high <= 1
        low, high = wilson(share.hits, share.n)
        assert share.n == 0 or (float(low), float(high)) == (share.low, share.high)
    for rule in ("youden", "sensitivity", "specificity"):
        chosen = choose_threshold(y, s, rule, 0.8)
        order = rng.permutation(n)
        assert choose_threshold(y[order], s[order], rule, 0.8) == chosen
        assert chosen.sensitivity == sensitivity(y, s, chosen.value)
        assert rule == "youden" or getattr(chosen, rule) >= 0.8 - 1e-12
        assert rule != "youden" or chosen.sensitivity + chosen.specificity >= 1
    risk = risk_coverage((s > 0.5) != y, np.abs(s - 0.5))
    assert ((risk.risk >= 0) & (risk.risk <= 1)).all()
    p = np.stack([1 - s, s], axis=1)
    inside = conformal_sets(y, p, p, 0.3)
    assert (conformal_sets(y, p, p, 0.1) >= inside).all()


def of_arrays(y: Any, s: Floats, groups: Any) -> dict[str, list[float]]:
    """Numbers of public functions that know neither the order of cases nor how often all of them stand there."""
    p = np.stack([1 - s, s], axis=1)
    band = roc_band(y, s, groups, points=4, replicates=8)
    steps = precision_recall_band(y, s, groups, points=4, replicates=8)
    curve = reliability(y, s, groups, bins=3, replicates=8)
    benefit = decision_curve(y, s, groups, [0.15, 0.55], replicates=8)
    (point,) = operating_point_table(y, s, [0.5], groups, replicates=8)
    shares = (point.sensitivity, point.specificity, point.ppv, point.npv)
    interval = group_bootstrap(lambda w: average_precision(y, s, weights=w), groups, replicates=8)
    scaled = fit_temperature(y, s).apply([0.1, 0.45, 0.9]) if 0 < y.sum() < len(y) else [math.nan]
    return {
        "areas": [auroc(y, s), average_precision(y, s), partial_auroc(y, s, 0.8, "above-sensitivity")],
        "roc": [*band.y, *band.low, *band.high],
        "precision": [*steps.y, *steps.low, *steps.high],
        "reliability": [*curve.observed, *curve.low, *curve.high, curve.ece, curve.ece_low, curve.ece_high],
        "benefit": [*benefit.model, *benefit.low, *benefit.high, *benefit.gain_low, *benefit.gain_high],
        "points": [each for share in shares for each in (share.value, share.group_low, share.group_high)],
        "bootstrap": [interval.low, interval.high, interval.undefined],
        "agreement": [kappa(y, s > 0.5, "ab"), matthews(y, s > 0.5, "ab"), f1_score(y, s > 0.5)],
        "classes": [
            hand_till(y, p)[0],
            top_k_accuracy(y, p, 1),
            score("macro_f1", "multi-class", "ab", y, p),
        ],
        "delong": [delong(y, s).value],
        "isotonic": list(fit_isotonic(y, s).apply([0.0, 0.3, 1.0])),
        "temperature": list(scaled),
    }


@few
@given(scored(least=5), st.integers(0, 1000))
def test_arrays_in_another_order_or_twice_over(data: Any, seed: int) -> None:
    y, s = data
    rng = np.random.default_rng(seed)
    groups = np.array(["n", "o", "p", "q"])[rng.integers(0, 4, len(y))]
    order = rng.permutation(len(y))
    once = of_arrays(y, s, groups)
    for rows in (order, np.repeat(order, 2)):
        for name, found in of_arrays(y[rows], s[rows], groups[rows]).items():
            near = 1e-6 if name == "temperature" else 1e-12  # a fit, stopped when it is near enough
            assert found == pytest.approx(once[name], abs=near, rel=0, nan_ok=True), name
    single, double = delong(y, s), delong(np.repeat(y, 2), np.repeat(s, 2))
    if not single.reason:  # it takes cases as independent, and believes the copies
        assert double.standard_error < 0.75 * single.standard_error


# Where nothing can be said


@kinds
@fewer
@given(st.data())
def test_one_group_has_values_and_no_limits(kind: str, data: Any) -> None:
    made = data.draw(tables(kind, groups=(2, 4)))
    tested = made.frame["part"] == "test"
    several = made.judged()
    found = made.judged(made.frame.assign(group=np.where(tested, "g", "other")))
    for one, many in zip(found.results, several.results, strict=True):
        assert one.value == pytest.approx(many.value, nan_ok=True, **EXACT)
        assert math.isnan(one.low) and math.isnan(one.high) and one.reason
        if not found.n:
            continue
        assert math.isnan(one.value) or one.reason == "1 place only: nothing to resample"
    sound(found.results, kind)


LACKING = {
    ("binary", 0): {"auroc", "average_precision", "sensitivity", "balanced_accuracy", "partial_auroc", "matthews"},
    ("binary", 1): {"auroc", "specificity", "balanced_accuracy", "partial_auroc", "matthews"},
    ("multi-label", 0): {"auroc", "average_precision", "sensitivity", "balanced_accuracy"},
    ("multi-label", 1): {"auroc", "specificity", "balanced_accuracy"},
    ("multi-class", 0): {"auroc", "hand_till", "matthews"},
    ("multi-class", 1): {"auroc", "hand_till", "matthews"},
    ("ordinal", 0): {"auroc"},
    ("ordinal", 1): {"auroc"},
}  # fmt: skip


@pytest.mark.parametrize(("kind", "only"), LACKING)
@fewer
@given(st.data())
def test_one_class_is_nan_with_a_reason_and_never_a_number(kind: str, only: int, data: Any) -> None:
    made = data.draw(tables(kind, known=True, together=False))
    names = made.target.classes
    columns = [f"target_{name}" for name in names] if kind == "multi-label" else ["target"]
    value = float(only) if kind == "multi-label" else names[only]
    found = made.judged(made.frame.assign(**dict.fromkeys(columns, value)), threshold=0.4)
    for metric in LACKING[kind, only]:
        for each in (each for each in found.results if each.metric == metric):
            assert math.isnan(each.value) and math.isnan(each.low) and math.isnan(each.high) and each.reason
    if kind in ("multi-class", "ordinal"):  # of the classes that nobody has; the one there is has its recall
        for each in found.results:
            absent = each.label not in ("", names[only])
            if each.metric in ("average_precision", "sensitivity"):
                assert math.isnan(each.value) == absent
        assert found.result("average_precision").value == 1.0
        assert found.result("balanced_accuracy").value == found.result("accuracy").value
    sound(found.results, kind)


@fewer
@given(tables("multi-label", known=True, together=False), st.integers(0, 1))
def test_a_class_that_nobody_has_is_left_out_of_the_mean(made: Given, only: int) -> None:
    found = made.judged(made.frame.assign(target_y=float(only)), threshold=0.4)
    for metric in ("auroc", "balanced_accuracy"):
        whole, there = found.result(metric), found.result(metric, "x")
        assert math.isnan(found.result(metric, "y").value)
        assert (whole.value, whole.low, whole.high) == pytest.approx(
            (there.value, there.low, there.high), nan_ok=True, **EXACT
        )
        assert whole.classes == ((1, 2) if not math.isnan(there.value) else (0, 2))


@pytest.mark.parametrize("metric", ["calibration_slope", "f1", "matthews"])
def test_an_undefined_label_is_left_out_of_the_mean(metric: str) -> None:
    """Of y no case is called positive, and all have one score: no correlation, no slope, and, where none is positive,
    no F1."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"case": np.arange(40), "group": np.arange(40) // 2, "part": "test"})
    frame = frame.assign(
        target_x=rng.integers(0, 2, 40), target_y=rng.integers(0, 2, 40), score_x=rng.random(40), score_y=0.1
    )
    frame["target_y"] = 0 if metric == "f1" else frame["target_y"]
    target = Target("multi-label", ("x", "y"))
    trial = Protocol(
        "trial", 1, "A trial", "nobody", "image", "multi-label", "accuracy", (metric, "accuracy")
    )
    found = evaluate(frame, target, trial, threshold=0.5, bootstrap=50)
    whole, x, y = found.results[:3]
    assert math.isnan(y.value) and y.reason
    assert (whole.value, whole.low, whole.high) == (x.value, x.low, x.high)
    assert whole.classes == (1, 2)
