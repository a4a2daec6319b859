"""A table of readings: a model among readers, judged by the others, by further readers or by a truth of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from graftwork.cli import app
from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation import against_readers, majority
from graftwork.common.verbs import evaluate_readers


def readings(folder: Path) -> tuple[Path, pd.DataFrame]:
    rng = np.random.default_rng(1)
    truth = rng.random(60) < 0.4
    frame = pd.DataFrame({f"r{k}": np.where(rng.random(60) < 0.8, truth, ~truth) for k in range(4)}).astype(
        float
    )
    frame.loc[3, "r2"] = np.nan
    frame["patient"] = np.arange(60) // 2
    frame["p"] = np.clip(truth * 0.4 + rng.random(60) * 0.6, 0, 1)
    frame["net"] = (frame["p"] >= 0.5).astype(int)
    file = folder / "readings.csv"
    frame.to_csv(file, index=False)
    return file, frame


def test_readings_of_synthetic_data_say_so_in_a_field(tmp_path: Path) -> None:
    file, _ = readings(tmp_path)
    assert not evaluate_readers(file, "net", "r0,r1,r2", bootstrap=20).synthetic
    (tmp_path / "readings.csv.about.json").write_text('{"synthetic": true}')
    found = evaluate_readers(file, "net", "r0,r1,r2", bootstrap=20)
    assert found.synthetic and found.notes[0].startswith("SYNTHETIC DATA")


def test_a_model_among_readers(tmp_path: Path) -> None:
    file, frame = readings(tmp_path)
    people = [f"r{k}" for k in range(4)]
    for metric, reference in (("f1", "majority-of-others"), ("kappa", "each")):
        found = evaluate_readers(
            file, "net", people, metric=metric, reference=reference, group="patient", bootstrap=50
        )
        direct = against_readers(
            frame[people], frame["net"], metric, reference, frame["patient"].astype(str), replicates=50, group="patient"
        )  # fmt: skip
        assert replace(found, notes=()) == direct and found.groups == 30
    by_score = evaluate_readers(file, "p", people, threshold=0.5, group="patient", bootstrap=50)
    assert by_score.model == evaluate_readers(file, "net", people, group="patient", bootstrap=50).model


@pytest.mark.parametrize(
    ("written", "said"), [("{:.4f}", "decimal comma"), ("{:.4f} %", "Percentages were read")]
)
def test_scores_that_are_converted_are_said(tmp_path: Path, written: str, said: str) -> None:
    file, frame = readings(tmp_path)
    people = [f"r{k}" for k in range(4)]
    plain = evaluate_readers(file, "p", people, threshold=0.5, bootstrap=20)
    times = 100 if "%" in written else 1
    cells = [written.format(times * value) for value in frame["p"]]
    frame.assign(p=cells if times > 1 else [cell.replace(".", ",") for cell in cells]).to_csv(
        file, index=False, sep=";"
    )
    found = evaluate_readers(file, "p", people, threshold=0.5, bootstrap=20)
    assert found.model == plain.model
    assert any(said in note and "p." in note for note in found.notes)


def test_what_readings_lack_is_said(tmp_path: Path) -> None:
    file, frame = readings(tmp_path)
    with pytest.raises(UsageError, match="no column r9; there are r0"):
        evaluate_readers(file, "net", ["r0", "r9"])
    with pytest.raises(UsageError, match="named twice"):
        evaluate_readers(file, "net", ["r0", "r0"])
    with pytest.raises(TableError, match="at least two readers"):
        evaluate_readers(file, "net", ["r0"])
    with pytest.raises(UsageError, match="dice"):
        evaluate_readers(file, "net", ["r0", "r1"], metric="dice")
    frame.loc[5, "r1"], frame.loc[7, "net"] = 2, np.nan
    frame.to_csv(file, index=False)
    with pytest.raises(TableError, match="2 faults") as caught:
        evaluate_readers(file, "net", ["r0", "r1"])
    assert "net, the model's column, is empty: 1 of 60 cases (line 9)" in str(caught.value)
    assert "r1 holds 0 and 1 and 2, expected 0 and 1" in str(caught.value)
    assert "1 of 60 cases (line 7)" in str(caught.value)


def test_the_words_of_the_command_line(tmp_path: Path) -> None:
    file, _ = readings(tmp_path)
    run = CliRunner().invoke
    asked = ["evaluate", "readers", str(file), "--model", "net", "--readers", "r0,r1,r2", "--bootstrap", "50"]
    said = run(app, asked)
    assert said.exit_code == 0 and "net minus mean" in said.stdout and "mean of readers" in said.stdout
    assert len(json.loads(run(app, [*asked, "--json"]).stdout)["readers"]) == 3
    short = run(app, ["evaluate", "readers", str(file)])
    assert short.exit_code == 2 and "--readers A,B,C" in short.output
    many = run(app, ["evaluate", str(file), str(file), "--protocol", "isic2020"])
    assert many.exit_code == 2 and "would do nothing for a table" in many.output


PEOPLE = [f"r{k}" for k in range(4)]


def told(folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame) -> Path:
    """Readings with a column of cases, changed."""
    _, frame = readings(folder)
    frame.insert(0, "case", [f"c{n:03}" for n in range(60)])
    change(frame).to_csv(folder / "told.csv", index=False)
    return folder / "told.csv"


def ask(file: Path, **how: Any) -> Any:
    return evaluate_readers(file, how.pop("model", "net"), how.pop("readers", PEOPLE), bootstrap=20, **how)


def test_a_truth_of_its_own_is_the_reference_of_all(tmp_path: Path) -> None:
    file, frame = told(tmp_path), readings(tmp_path)[1]
    truth = pd.DataFrame({"image": [f" c{n:03}" for n in range(60)], "dx": np.arange(60) % 3 == 0})
    truth["dx"] = truth["dx"].map({True: "yes", False: "no"})
    truth.loc[4, "dx"] = None
    truth[::-1].to_csv(tmp_path / "truth.csv", index=False)
    known = (np.arange(60) % 3 == 0).astype(float)
    known[4] = np.nan
    found = ask(file, truth=tmp_path / "truth.csv", truth_column="dx", metric="sensitivity")
    direct = against_readers(frame[PEOPLE], frame["net"], "sensitivity", truth=known, replicates=20)
    assert replace(found, notes=()) == direct and found.reference == "truth"
    there = ~np.isnan(known)
    assert found.model.value == pytest.approx(frame["net"][there & (known == 1)].mean(), abs=1e-12)
    assert (found.model.cases, found.model.positives) == ((59, 59), (20, 20))
    assert (found.readers[2].cases, found.readers[2].positives) == (
        (58, 58),
        (19, 19),
    )  # r2 did not read case 3
    said = " ".join(found.notes)
    assert "1 of 60 cases without a known truth were left out" in said and "patient, p" in said
    own = pd.read_csv(file)
    own["dx"] = known
    own.to_csv(file, index=False)
    assert ask(file, truth_column="dx", metric="sensitivity").model == found.model
    one = ask(file, truth_column="dx", readers=["r0"])  # one reader is enough
    assert one.mean.value == one.readers[0].value


def test_readers_of_the_reference_vote_on_all(tmp_path: Path) -> None:
    file, frame = told(tmp_path), readings(tmp_path)[1]
    found = ask(file, readers=["r0"], reference_readers=["r1", "r2", "r3"], metric="kappa")
    vote = majority(frame[["r1", "r2", "r3"]])
    direct = against_readers(frame[["r0"]], frame["net"], "kappa", truth=vote, replicates=20)
    assert replace(found, notes=(), reference="truth") == direct
    assert found.reference == "the majority of r1, r2, r3"
    assert any("without a majority" in note for note in found.notes) == bool(np.isnan(vote).any())


@pytest.mark.parametrize(
    ("change", "how", "said"),
    [
        (lambda f: pd.concat([f, f[:2].assign(case=["c000 ", "\u00a0c001"])]), {},
         "case is there more than once: c000, c001"),
        (lambda f: f.assign(case=f["case"].where(f.index > 2)), {}, "case is missing: 3 of 60 cases"),
        (lambda f: f.assign(patient=f["patient"].where(f.index > 9)), {"group": "patient"},
         "patient is missing: 10 of 60"),
        (lambda f: f.assign(r1=f["r1"] + 1), {}, "r1 holds 1 and 2, expected 0 and 1"),
        (lambda f: f.assign(r1=-f["r1"]), {}, "r1 holds -1 and 0, expected 0 and 1"),
        (lambda f: f.assign(net=f["p"]), {}, r"net holds \d+ values such as .*--threshold"),
        (lambda f: f.assign(net=f["net"].where(f.index > 2)), {}, "net, the model's column, is empty: 3 of 60"),
        (lambda f: f.assign(p="high"), {"model": "p", "threshold": 0.5}, "p is not a number: 60 of 60"),
        (lambda f: f.assign(r3=f["net"]), {},
         r"net \(the model\) and r3 \(a reader\) hold the same decision in all 60"),
        (lambda f: f.assign(r1=f["r1"] + 1), {"positive": "2.0"}, "found the values .*, expected 2.0 and one other"),
        (lambda f: f.assign(Split="train"), {}, "found the parts train in the column Split, expected test"),
        (lambda f: f, {"readers": ["r0", "net"]}, "'net' is named twice: as the model and a reader"),
        (lambda f: f, {"readers": ["r0", "r0 "]}, "'r0' is named twice: as a reader twice"),
        (lambda f: f, {"reference_readers": ["r0"]}, "as a reader and a reader of the reference"),
        (lambda f: f, {"readers": ["r0", "r1"], "reference_readers": ["r2"], "truth_column": "p"}, "one of the two"),
        (lambda f: f, {"truth_column": "patient", "reference": "each"}, "another reference was named"),
        (lambda f: f, {"truth_column": "dx"}, "no column dx"),
        (lambda f: f.assign(R0=f["r0"]), {"readers": ["r-0", "r1"]}, "are ambiguous as the column 'r-0'"),
    ],
)  # fmt: skip
def test_what_would_be_read_twice_or_wrongly_is_refused(
    tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], how: dict[str, Any], said: str
) -> None:
    with pytest.raises((TableError, UsageError), match=said):
        ask(told(tmp_path, change), **how)


def test_a_truth_that_is_not_of_these_cases_is_refused(tmp_path: Path) -> None:
    file = told(tmp_path)
    truth = pd.DataFrame({"case": [f"c{n:03}" for n in range(61)], "target": np.arange(61) % 2})
    truth.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(
        TableError,
        match=r"cases of the table of truth have no prediction \(--only-predicted .* 1 of 61 cases \(c060\)",
    ):
        ask(file, truth=tmp_path / "t.csv")
    assert "1 cases of" in " ".join(ask(file, truth=tmp_path / "t.csv", only_predicted=True).notes)
    truth[:50].to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(TableError, match=r"cases have no truth: 10 of 60"):
        ask(file, truth=tmp_path / "t.csv")
    pd.concat([truth[:60], truth[:1]]).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(TableError, match=r"t.csv: a case is there more than once: c000"):
        ask(file, truth=tmp_path / "t.csv")
    truth[:60].assign(label=1).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(UsageError, match=r"found the columns target, label, expected one .*--truth-column"):
        ask(file, truth=tmp_path / "t.csv")
    files = pd.DataFrame({"Path": [f"data/c{n:03}.png" for n in range(60)], "target": np.arange(60) % 2})
    files.to_csv(tmp_path / "t.csv", index=False)
    found = ask(file, truth=tmp_path / "t.csv")
    assert any("60 cases were joined with" in note and "without its ending" in note for note in found.notes)
    with pytest.raises(TableError, match="no column names the cases, by which the truth is found"):
        ask(readings(tmp_path)[0], truth=tmp_path / "t.csv", truth_column="target")


def test_what_means_the_same_gives_the_same_and_what_was_assumed_is_said(tmp_path: Path) -> None:
    plain = ask(told(tmp_path), group="patient")
    words = {0.0: "No", 1.0: "yes"}
    for change, note in (
        (
            lambda f: f.assign(**{name: f[name].map(words) for name in PEOPLE}),
            "read as positive: 1, yes; as negative: 0",
        ),
        (lambda f: f.assign(net=f["net"].astype(bool)), "read as positive: 1, true"),
        (lambda f: f.assign(patient=[f"  {p}\u00a0" for p in f["patient"]]), "not used: p"),
        (lambda f: f.sample(frac=1, random_state=0)[f.columns[::-1]], "not used: p"),
        (lambda f: f.rename(columns={"patient": "group", "case": "Image Index"}), "not used: p"),
        (
            lambda f: pd.concat([f, f.assign(case=f["case"] + "x", part="train")]).fillna({"part": "test"}),
            "60 of 120 rows",
        ),
    ):
        file = told(tmp_path, change)
        found = ask(file, group="patient" if "patient" in pd.read_csv(file) else "")
        assert (found.model, found.mean, found.difference) == (plain.model, plain.mean, plain.difference)
        assert note in " ".join(found.notes)
    coded = told(tmp_path, lambda f: f.assign(**{name: f[name] + 1 for name in [*PEOPLE, "net"]}))
    assert ask(coded, group="patient", positive="2.0").model == plain.model
    alike = told(tmp_path, lambda f: f.assign(patient=["p1", "P-01", *[f"q{n}" for n in range(58)]]))
    said = " ".join(ask(alike, group="patient").notes)
    assert "Groups whose names only look alike were taken for different ones: P-01 and p1" in said
    same = told(tmp_path, lambda f: f.assign(r1=f["r0"]))
    assert "r0 and r1 gave the same decision in all 60" in " ".join(ask(same).notes)
    assert "No column names the cases" in " ".join(ask(readings(tmp_path)[0]).notes)
