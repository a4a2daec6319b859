"""Scaling and thresholds from a small local set: used on others, refused on the same, kept exactly."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from predicted import Target

from graftwork.common.data.domain import protocol
from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation import Temperature, auroc, brier, fit_temperature, read_cases
from graftwork.common.evaluation.recalibration import read_recalibration
from graftwork.common.evaluation.tables.external_tables import read_submission
from graftwork.common.evaluation.tables.predictions import units_table
from graftwork.common.verbs import calibrate, evaluate_file


def cases(seed: int, patients: range) -> pd.DataFrame:
    """Cases whose scores rank well and are far too sure (made up)."""
    rng = np.random.default_rng(seed)
    who = np.repeat(list(patients), 4)
    margin = rng.normal(0, 1.2, len(who))
    truth = rng.random(len(who)) < 1 / (1 + np.exp(-margin))
    return pd.DataFrame(
        {
            "image": [f"{seed}-{n}" for n in range(len(who))],
            "patient_id": [f"p{n}" for n in who],
            "target": truth.astype(int),
            "score": 1 / (1 + np.exp(-4 * margin)),
        }
    ).rename(columns={"score": "score_malignant"})


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    cases(0, range(60)).to_csv(tmp_path / "local.csv", index=False)
    cases(1, range(100, 160)).to_csv(tmp_path / "rest.csv", index=False)
    return tmp_path / "local.csv", tmp_path / "rest.csv", tmp_path / "local.json"


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_others_are_judged_with_it_and_probabilities_are_better(
    files: tuple[Path, Path, Path], method: str
) -> None:
    local, rest, out = files
    made = calibrate(local, "isic2020", out, group="patient_id", method=method)  # type: ignore[arg-type]
    assert read_recalibration(out) == made
    assert (made.n, made.groups, made.labels) == (240, 60, ("",))
    plain = evaluate_file(rest, "isic2020", group="patient_id", bootstrap=50).evaluation
    better = evaluate_file(rest, "isic2020", group="patient_id", bootstrap=50, calibration=out).evaluation
    assert better.result("brier").value < plain.result("brier").value - 0.01
    frame = pd.read_csv(rest)
    scaled = made.scalings[0].apply(frame["score_malignant"])
    assert better.result("brier").value == pytest.approx(brier(frame["target"], scaled), abs=1e-12)
    assert better.result("auroc").value == pytest.approx(auroc(frame["target"], scaled), abs=1e-12)
    assert better.threshold == made.thresholds[0] and better.threshold.chosen_on == "calibration"
    assert better.result("sensitivity").value > 0.5
    assert any("240 cases of 60 other groups" in note for note in better.notes)
    if method == "temperature":
        assert made.scalings[0].value == pytest.approx(4, rel=0.4)  # type: ignore[union-attr]
        assert better.result("auroc").value == plain.result("auroc").value


def test_the_groups_it_was_fitted_on_are_not_judged_with_it(files: tuple[Path, Path, Path]) -> None:
    local, rest, out = files
    calibrate(local, "isic2020", out, group="patient_id")
    assert "p3" not in out.read_text()
    mixed = pd.concat([pd.read_csv(rest), pd.read_csv(local)[:4].assign(image=list("abcd"))])
    mixed.to_csv(rest, index=False)
    with pytest.raises(
        TableError, match="4 of 244 cases are of 1 group that the calibration was fitted on: p0"
    ):
        evaluate_file(rest, "isic2020", group="patient_id", calibration=out)


@pytest.mark.parametrize(
    "renamed",
    [
        lambda name: name,
        lambda name: f" {name}\u00a0",
        lambda name: f"{name}.jpg",
        lambda name: f"scans/day 1/{name}.PNG",
        lambda name: f"C:\\scans\\{name}.nii.gz",
    ],
)
def test_the_cases_it_was_fitted_on_are_not_judged_with_it(
    files: tuple[Path, Path, Path], renamed: Callable[[str], str]
) -> None:
    local, rest, out = files
    calibrate(local, "isic2020", out)  # no group is named, neither here nor there
    leaked = pd.read_csv(local)[:4].assign(patient_id=list("abcd"))
    leaked["image"] = leaked["image"].map(renamed)
    pd.concat([pd.read_csv(rest), leaked]).to_csv(rest, index=False)
    with pytest.raises(
        TableError, match=r"4 of 244 cases are cases that the calibration was fitted on: .*0-0"
    ):
        evaluate_file(rest, "isic2020", calibration=out)
    with pytest.raises(TableError, match="4 of 244 cases"):  # by the library alone, too
        found = read_submission(rest, protocol("isic2020"))
        read_recalibration(out).apply(found.table, found.target, protocol("isic2020"))


def test_a_file_of_one_name_in_another_folder_is_another_case_unless_its_scores_are_equal(
    files: tuple[Path, Path, Path],
) -> None:
    local, rest, out = files
    frame = pd.read_csv(local)
    frame["image"] = [f"A/IMG_{n}.JPG" for n in range(len(frame))]
    frame.to_csv(local, index=False)
    calibrate(local, "isic2020", out)
    other = pd.read_csv(rest)
    other["image"] = [f"B/IMG_{n}.JPG" for n in range(len(other))]
    other.to_csv(rest, index=False)
    notes = evaluate_file(rest, "isic2020", calibration=out, bootstrap=20).evaluation.notes
    assert any("240 of 240 cases have a name or a group that only looks like one" in note for note in notes)
    pd.concat([other[9:], frame[:9].assign(image=[f"B/IMG_{n}.JPG" for n in range(9)])]).to_csv(
        rest, index=False
    )
    with pytest.raises(TableError, match="9 of 240 cases"):
        evaluate_file(rest, "isic2020", calibration=out)


def test_what_cannot_be_compared_with_the_fit_or_looks_like_it_is_said(
    files: tuple[Path, Path, Path],
) -> None:
    local, rest, out = files

    def notes(**how: str) -> str:
        return " ".join(
            evaluate_file(rest, "isic2020", calibration=out, bootstrap=20, **how).evaluation.notes
        )  # type: ignore[arg-type]

    calibrate(local, "isic2020", out, group="patient_id")
    assert "fitted on" not in notes(group="patient_id") and "fitted on" not in notes()  # patient_id is found
    other = pd.read_csv(rest).rename(columns={"patient_id": "person"})
    other.to_csv(rest, index=False)
    assert "this table names no groups, so only cases were compared" in notes()
    assert "only cases" not in notes(group="person")
    other.assign(person=other["person"].str.replace("p100", "P-03")).to_csv(rest, index=False)
    assert "4 of 240 cases have a name or a group that only looks like one" in notes(group="person")
    stolen = (
        pd.read_csv(local)[:5]
        .rename(columns={"patient_id": "person"})
        .assign(person="q", image=list("abcde"))
    )
    pd.concat([other, stolen]).to_csv(rest, index=False)
    assert "5 of 245 cases have exactly the scores and the truth of a case" in notes(group="person")
    calibrate(local, "isic2020", out)
    assert "groups could not be" in notes(group="person")


def test_an_earlier_file_which_kept_no_cases_is_refused_and_says_what_it_knows(
    files: tuple[Path, Path, Path],
) -> None:
    local, rest, out = files
    calibrate(local, "isic2020", out, group="patient_id")
    content = json.loads(out.read_text())
    digests = [hashlib.sha256(f"p{n}".encode()).hexdigest()[:20] for n in range(60)]
    for name in ("fingerprints", "grouping", "part", "sealed"):
        del content[name]
    out.write_text(json.dumps({**content, "format": 1, "digests": digests}))
    said = (
        "keeps no fingerprints of the cases .* 240 of 240 cases are of its groups, by the column 'patient_id'"
    )
    with pytest.raises(TableError, match=said):
        evaluate_file(local, "isic2020", calibration=out)
    with pytest.raises(TableError, match="fit it again with `graftwork calibrate`".capitalize()):
        evaluate_file(rest, "isic2020", calibration=out)


def test_of_a_table_with_parts_the_part_validation_is_fitted_on(files: tuple[Path, Path, Path]) -> None:
    local, rest, out = files
    whole = pd.concat(
        [pd.read_csv(local).assign(part="validation"), pd.read_csv(rest).assign(part="test"),
         cases(2, range(200, 230)).assign(part="train")]
    )  # fmt: skip
    whole.to_csv(rest, index=False)
    made = calibrate(rest, "isic2020", out, group="patient_id")
    assert (made.n, made.part) == (240, "validation")
    assert made.scalings == calibrate(local, "isic2020", out.with_name("b.json"), group="patient_id").scalings
    assert (
        evaluate_file(rest, "isic2020", group="patient_id", calibration=out, bootstrap=20).evaluation.n == 240
    )
    with pytest.raises(TableError, match="240 of 240 cases"):
        evaluate_file(rest, "isic2020", group="patient_id", calibration=out, part="validation")
    tested = calibrate(rest, "isic2020", out, group="patient_id", part="test")
    assert (tested.n, tested.part) == (240, "test")
    with pytest.raises(TableError, match="240 of 240 cases"):
        evaluate_file(rest, "isic2020", group="patient_id", calibration=out)
    whole[whole["part"] != "validation"].to_csv(rest, index=False)
    with pytest.raises(UsageError, match=r"found the parts test \(240\), train \(120\), expected validation"):
        calibrate(rest, "isic2020", out)
    with pytest.raises(UsageError, match="has no column of parts"):
        calibrate(local, "isic2020", out, part="test")


def test_each_label_has_its_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = protocol("nih14-official").classes
    tables = []
    for first in (0, 200):
        frame = pd.DataFrame({"image": [str(first + n) for n in range(120)]})
        for k, name in enumerate(names):
            margin = rng.normal(size=120)
            frame[f"target_{name}"] = (rng.random(120) < 1 / (1 + np.exp(-margin))).astype(int)
            frame[f"score_{name}"] = 1 / (1 + np.exp(-margin * (1 + k)))
        frame.to_csv(tmp_path / f"{first}.csv", index=False)
        tables.append(tmp_path / f"{first}.csv")
    made = calibrate(tables[0], "nih14-official", tmp_path / "c.json")
    assert made.labels == names and len(made.thresholds) == 14
    assert made.scalings[13].value > 2 * made.scalings[0].value  # type: ignore[union-attr]
    found = evaluate_file(
        tables[1], "nih14-official", bootstrap=20, calibration=tmp_path / "c.json"
    ).evaluation
    plain = evaluate_file(tables[1], "nih14-official", bootstrap=20).evaluation
    assert found.result("brier", "Hernia").value < plain.result("brier", "Hernia").value


def test_what_is_no_calibration_or_of_another_protocol_is_refused(files: tuple[Path, Path, Path]) -> None:
    local, rest, out = files
    calibrate(local, "isic2020", out, group="patient_id")
    with pytest.raises(UsageError, match="fitted by isic2020, version 1, not isic2024-pauc"):
        evaluate_file(rest, "isic2024-pauc", calibration=out)
    out.write_text(json.dumps({**json.loads(out.read_text()), "format": 9}))
    with pytest.raises(TableError, match="no calibration"):
        evaluate_file(rest, "isic2020", calibration=out)
    with pytest.raises(TableError, match="there is no such file"):
        evaluate_file(rest, "isic2020", calibration=out.parent / "missing.json")
    one = pd.read_csv(local).assign(target=0)
    one.to_csv(local, index=False)
    with pytest.raises(TableError):
        calibrate(local, "isic2020", out)


def test_what_a_protocol_puts_together_is_scaled_together(files: tuple[Path, Path, Path]) -> None:
    local, rest, out = files
    for file in (local, rest):  # two events a place
        frame = pd.read_csv(file).rename(columns={"score_malignant": "score_animal"})
        frame["event"] = frame["patient_id"] + np.where(np.arange(len(frame)) % 4 < 2, "a", "b")
        frame["place"] = frame["patient_id"]
        frame.to_csv(file, index=False)
    made = calibrate(local, "empty-filter", out, group="place")
    assert (made.n, made.groups) == (120, 60)
    assert made.thresholds[0].rule == "sensitivity"

    def events(file: Path) -> pd.DataFrame:
        return pd.read_csv(file).groupby("event").agg({"target": "max", "score_animal": "max"})

    fitted, _ = made.scalings[0], made.scalings
    alone = fit_temperature(events(local)["target"], events(local)["score_animal"])
    assert isinstance(fitted, Temperature) and fitted.value == pytest.approx(alone.value, rel=1e-9)
    found = evaluate_file(rest, "empty-filter", group="place", calibration=out, bootstrap=20).evaluation
    judged = events(rest)
    scaled = fitted.apply(judged["score_animal"].to_numpy())
    here = judged["target"].to_numpy() == 1
    assert (found.n, found.groups, found.group_column) == (120, 60, "group")
    called = scaled >= made.thresholds[0].value
    assert found.result("sensitivity").value == pytest.approx(called[here].mean(), abs=1e-12)
    assert found.result("specificity").value == pytest.approx((~called[~here]).mean(), abs=1e-12)


@pytest.mark.parametrize("name", ["chexpert", "species-events", "empty-events", "count-events"])
def test_a_table_of_units_gives_the_same_cases(name: str) -> None:
    rng = np.random.default_rng(2)
    found = protocol(name)
    classes = found.classes or ("empty", "cat", "dog")
    target = Target(found.kind, classes)
    who = np.repeat(np.arange(40), 3)
    frame = pd.DataFrame(
        {"case": [f"c{n}" for n in range(120)], "part": np.where(who % 4, "test", "validation")}
    )
    frame["group"], frame[found.by] = [f"g{n // 2}" for n in who], [f"u{n:02}" for n in who]
    scores = rng.dirichlet(np.ones(len(classes)), 120)
    for k, label in enumerate(classes):
        frame[f"score_{label}"] = scores[:, k]
        frame[f"target_{label}"] = rng.choice([0.0, 1.0, np.nan], 120)
    frame["target"] = rng.choice(
        np.array([*classes, None], dtype=object), 120, p=[*[0.95 / len(classes)] * len(classes), 0.05]
    )
    units = units_table(frame, target, found)
    assert len(units) == 40
    for part in (None, "test", "validation"):
        before = read_cases(frame, target, part, protocol=found)
        after = read_cases(units, target, part, protocol=found)
        for each in ("truth", "scores", "groups", "case"):
            np.testing.assert_array_equal(getattr(before, each), getattr(after, each))
        assert before.excluded == after.excluded


def test_grades_are_scaled_by_one_temperature(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    found = protocol("count")
    files = []
    for name, start in (("local", 0), ("rest", 500)):
        frame = pd.DataFrame(
            {
                "case": [f"{name}{n}" for n in range(200)],
                "location": [f"l{start + n // 5}" for n in range(200)],
            }
        )
        z = rng.normal(size=(200, len(found.classes)))
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        frame["target"] = [
            found.classes[np.searchsorted(row.cumsum(), u)]
            for row, u in zip(p, rng.random(200) * 0.999, strict=True)
        ]
        for k, label in enumerate(found.classes):
            frame[f"score_{label}"] = (p**3 / (p**3).sum(axis=1, keepdims=True))[:, k]  # three times too sure
        files.append(tmp_path / f"{name}.csv")
        frame.to_csv(files[-1], index=False)
    made = calibrate(files[0], "count", tmp_path / "c.json", group="location")
    assert isinstance(made.scalings[0], Temperature) and made.scalings[0].value == pytest.approx(3, rel=0.3)
    asked = {"group": "location", "bootstrap": 20, "also": ["brier"]}
    plain = evaluate_file(files[1], "count", **asked).evaluation  # type: ignore[arg-type]
    better = evaluate_file(files[1], "count", calibration=tmp_path / "c.json", **asked).evaluation  # type: ignore[arg-type]
    assert better.result("brier").value < plain.result("brier").value
    assert better.result("accuracy").value == plain.result("accuracy").value
