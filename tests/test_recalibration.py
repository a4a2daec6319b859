"""Scaling and thresholds from a small local set: used on others, refused on the same, kept exactly."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from graftwork.common.domain import protocol
from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation import auroc, brier
from graftwork.common.evaluation.recalibration import read_recalibration
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
    with pytest.raises(TableError, match="1 groups are those that the calibration was fitted on: p0"):
        evaluate_file(rest, "isic2020", group="patient_id", calibration=out)


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
    with pytest.raises(TableError, match="cannot be read"):
        evaluate_file(rest, "isic2020", calibration=out.parent / "missing.json")
    with pytest.raises(UsageError, match="puts cases together"):
        calibrate(with_events(rest), "empty-filter", out)
    one = pd.read_csv(local).assign(target=0)
    one.to_csv(local, index=False)
    with pytest.raises(TableError):
        calibrate(local, "isic2020", out)


def with_events(file: Path) -> Path:
    frame = pd.read_csv(file).rename(columns={"score_malignant": "score_animal"})
    frame["event"] = frame["patient_id"]
    frame.to_csv(file, index=False)
    return file
