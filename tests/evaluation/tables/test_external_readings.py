"""Tables of predictions that were once misread or refused untruly: parts, numbers, lists, groups."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from graftwork.common.errors import GraftworkError, TableError, UsageError
from graftwork.common.evaluation import auroc
from graftwork.common.evaluation.tables.columns.list_cells import read_lists
from graftwork.common.names import match_names, name_key
from graftwork.common.verbs import evaluate_file

N = 60
RNG = np.random.default_rng(3)
Y = RNG.integers(0, 2, N)
S = np.round(np.clip(0.3 * Y + 0.7 * RNG.random(N), 0.001, 0.999), 4)
CASE = [f"c{number:03d}" for number in range(N)]
AREA = float(auroc(Y, S))
TEST = np.arange(N) % 2 == 1
HALF = float(auroc(Y[TEST], S[TEST]))
TRUTH = pd.DataFrame({"case": CASE, "target": Y})


def base(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"case": CASE}).assign(**(columns or {"score_malignant": S}))


def evaluated(
    frame: pd.DataFrame, folder: Path, truth: pd.DataFrame = TRUTH, separator: str = ",", **how: Any
) -> tuple[float, str]:
    """The AUROC and the notes."""
    frame.to_csv(folder / "p.csv", index=False, sep=separator)
    truth.to_csv(folder / "t.csv", index=False)
    found = evaluate_file(folder / "p.csv", "isic2020", bootstrap=2, truth=folder / "t.csv", **how).evaluation
    return found.result("auroc").value, " ".join(found.notes)


def refused(*args: Any, **how: Any) -> str:
    with pytest.raises(GraftworkError) as caught:
        evaluated(*args, **how)
    return str(caught.value)


def commas(value: float) -> str:
    return f"{value:.4f}".replace(".", ",")


@pytest.mark.parametrize("column", ["score_malignant", "score", "prob", "pred", "malignant", "y_prob"])
@pytest.mark.parametrize(
    ("written", "said"),
    [
        (commas, "Numbers with a decimal comma were read"),
        (lambda value: f"{100 * value:.2f}%", "Percentages were read"),
        (lambda value: f"{100 * value:.2f} %", "Percentages were read"),
    ],
)
def test_decimal_commas_and_percentages_are_read_and_told(
    column: str, written: Callable[[float], str], said: str, tmp_path: Path
) -> None:
    value, notes = evaluated(base(**{column: [written(each) for each in S]}), tmp_path)
    assert value == pytest.approx(AREA)
    assert said in notes


def test_a_comma_that_may_separate_thousands_is_refused(tmp_path: Path) -> None:
    frame = base(score_malignant=[f"{10_000 * value:,.0f}" for value in S])
    assert "may separate thousands" in refused(frame, tmp_path, separator=";", ranks=True)
    assert "score_malignant is not a number" in refused(frame, tmp_path, ranks=True)


def test_numbers_in_a_form_that_is_not_read_are_quoted(tmp_path: Path) -> None:
    said = refused(base(score=[f"tensor({value:.4f})" for value in S]), tmp_path)
    assert "score is not a number" in said
    assert "'tensor(" in said
    assert "no column has the scores" not in said


@pytest.mark.parametrize(
    "name", ["phase", "stage", "split_v1", "cv_fold", "dataset", "dataset_type", "train/test"]
)
def test_a_column_with_the_words_of_parts_is_the_part_whatever_its_name(name: str, tmp_path: Path) -> None:
    frame = base().assign(**{name: np.where(TEST, "Test", "train")})
    value, notes = evaluated(frame, tmp_path)
    assert value == pytest.approx(HALF)
    assert f"The column {name} of p.csv was read as the part" in notes
    assert evaluated(frame, tmp_path, part_column="none")[0] == pytest.approx(AREA)


@pytest.mark.parametrize(
    ("name", "values", "advice"),
    [
        ("is_test", (1, 0), "--part-column 'is_test' --part 1"),
        ("isTest", ("TRUE", "FALSE"), "--part-column 'isTest' --part TRUE"),
        ("test", (1, 0), "--part 1"),
        ("train", (0, 1), "--part-column 'train' --part 0"),
        ("is_train", ("no", "yes"), "--part no"),
        ("holdout", (1.0, 0.0), "--part 1.0"),
    ],
)
def test_a_flag_of_a_part_is_refused_until_it_is_named(
    name: str, values: tuple[Any, Any], advice: str, tmp_path: Path
) -> None:
    frame = base().assign(**{name: np.where(TEST, *values)})
    said = refused(frame, tmp_path)
    assert f"the column {name} (p.csv) holds" in said
    assert advice in said
    assert evaluated(frame, tmp_path, part_column=name, part=advice.split()[-1])[0] == pytest.approx(HALF)
    assert evaluated(frame, tmp_path, part_column="none")[0] == pytest.approx(AREA)
    assert evaluated(frame.assign(**{name: values[0]}), tmp_path)[0] == pytest.approx(AREA)


def test_other_columns_are_no_parts(tmp_path: Path) -> None:
    """A dataset's source, a site and a body part are covariates."""
    about = {
        "dataset": "vidir_modern",
        "site": np.where(TEST, "A", "B"),
        "body_part": "back",
        "valid": 1 * TEST,
    }
    value, notes = evaluated(base().assign(**about), tmp_path)
    assert value == pytest.approx(AREA)
    assert "Columns not used (p.csv): dataset, site, body_part, valid" in notes


def test_a_part_that_is_missing_or_cannot_be_named(tmp_path: Path) -> None:
    split = np.where(TEST, "test", "train").astype(object)
    split[:3] = None
    assert "split (p.csv) says no part; fill it in: 3 of 60" in refused(base().assign(split=split), tmp_path)
    assert "no column holds the part" in refused(base(), tmp_path, part="train")


def test_the_score_of_the_negative_class_is_no_score_of_the_positive_one(tmp_path: Path) -> None:
    for name in ("benign", "score_benign"):
        frame = base(**{name: 1 - S})
        with pytest.raises(UsageError, match="has the scores of benign, expected those of malignant"):
            evaluated(frame, tmp_path, score=name)
    assert "'score_benign' has those of benign: write 1 minus it" in refused(
        base(score_benign=1 - S), tmp_path
    )


def test_the_score_of_the_predicted_class_is_refused(tmp_path: Path) -> None:
    frame = base(prediction=np.where(S > 0.5, "malignant", "benign"), probability=np.maximum(S, 1 - S))
    assert "looks like the score of the predicted class" in refused(frame, tmp_path)
    assert evaluated(frame.assign(probability=S), tmp_path)[0] == pytest.approx(AREA)


def test_decisions_in_place_of_scores_are_told(tmp_path: Path) -> None:
    assert "is 0 or 1 in every case" in evaluated(base(score_malignant=1 * (S > 0.5)), tmp_path)[1]


def test_two_tables_that_name_the_group_of_a_published_table_must_agree(tmp_path: Path) -> None:
    patients = [f"P{number // 2}" for number in range(N)]
    truth = TRUTH.rename(columns={"case": "image_name"}).assign(patient_id=patients)
    frame = base().assign(patient_id=patients)
    assert evaluated(frame, tmp_path, truth)[0] == pytest.approx(AREA)
    other = frame.assign(patient_id=[f"P{number // 3}" for number in range(N)])
    assert "patient_id (p.csv) and patient_id (t.csv) name the group and disagree" in refused(
        other, tmp_path, truth
    )
    gaps = truth.assign(patient_id=[None, *patients[1:]])
    assert "patient_id (t.csv) says no group; fill it in: 1 of 60" in refused(base(), tmp_path, gaps)
    alone = truth.assign(patient_id=CASE)
    assert "Every case is a patient of its own" in evaluated(base(), tmp_path, alone)[1]


def test_the_truth_of_two_classes_in_further_forms(tmp_path: Path) -> None:
    value, notes = evaluated(base(), tmp_path, pd.DataFrame({"case": CASE, "benign": 1 - Y}))
    assert value == pytest.approx(AREA)
    assert "1 is benign, 0 is malignant" in notes
    words = np.where(Y == 1, "malignant", "benign").astype(object)
    words[:4] = "indeterminate"
    truth = TRUTH.assign(target=words)
    assert "4 of 60 cases (c000: 'indeterminate'" in refused(base(), tmp_path, truth)
    value, notes = evaluated(base(), tmp_path, truth, ignore_labels=("indeterminate",))
    assert value == pytest.approx(float(auroc(Y[4:], S[4:])))
    assert "indeterminate is not evaluated, 4 cases are left out" in notes
    truth = pd.DataFrame(
        {"image_name": CASE, "target": Y, "benign_malignant": np.where(Y == 1, "benign", "malignant")}
    )
    assert "benign_malignant (t.csv) and target (t.csv) name the truth and disagree" in refused(
        base(), tmp_path, truth
    )


def listed(
    cells: list[str | None], nothing: tuple[str, ...] = ("No Finding",)
) -> tuple[Any, list[str], list[str]]:
    faults: list[str] = []
    notes: list[str] = []
    case = np.array([f"c{row}" for row in range(len(cells))], dtype=object)
    found = read_lists(
        np.array(cells, dtype=object), ("Mass", "Edema"), nothing, (), name="findings", case=case, faults=faults,
        notes=notes,
    )  # fmt: skip
    return (None if found is None else found.tolist()), faults, notes


@pytest.mark.parametrize(
    "cells",
    [
        ["['Mass', 'Edema']", "['Edema']", "[]"],
        ['["Mass", "Edema"]', '["Edema"]', '["No Finding"]'],
        ["['Mass' 'Edema']", "['Edema']", "['No Finding']"],
        ["('Mass', 'Edema')", "('Edema',)", "()"],
        ["{'Mass', 'Edema'}", "{'Edema'}", "set()"],
        ['c("Mass", "Edema")', 'c("Edema")', "No Finding"],
        ["[Mass, Edema]", "[Edema]", "[]"],
    ],
)
def test_lists_as_programs_write_them(cells: list[str | None]) -> None:
    found, faults, notes = listed(cells)
    assert not faults
    assert found == [[1, 1], [0, 1], [0, 0]]
    assert "lists in brackets were read" in notes[0]


def test_lists_with_a_name_that_is_no_class_or_that_is_uncertain() -> None:
    assert "'Masse' in 1 cells (nearest: Mass)" in listed(["['Masse']", "['Edema']"])[1][0]
    assert "'Mass?'" in listed(["Mass?", "Edema"])[1][0]
    with pytest.raises(TableError, match="findings: 'MASS', 'mass' are ambiguous"):
        listed(["MASS", "mass"])


def test_signs_in_brackets_keep_classes_apart() -> None:
    assert name_key("HER2 (+)", signs=True) != name_key("HER2 (-)", signs=True)
    assert name_key("HER2 (+)", signs=True) == name_key("her2+", signs=True)
    assert match_names(["Edema"], ["Edema (-)", "Edema?"]) == {}


def test_no_finding_beside_a_finding_is_refused(tmp_path: Path) -> None:
    names = (
        "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
        "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
    )  # fmt: skip
    truth = pd.DataFrame({"case": CASE, **{name: np.arange(N) % 14 == k for k, name in enumerate(names)}})
    pd.DataFrame({"case": CASE, **{f"score_{name}": S for name in names}}).to_csv(
        tmp_path / "p.csv", index=False
    )
    truth.assign(**{"No Finding": 1}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(
        TableError, match=r"No Finding \(t.csv\) is 1 and a class is 1 too; correct these rows: 60"
    ):
        evaluate_file(tmp_path / "p.csv", "nih14-official", truth=tmp_path / "t.csv", bootstrap=2)
    truth.assign(Mass="x").to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(TableError) as caught:
        evaluate_file(tmp_path / "p.csv", "nih14-official", truth=tmp_path / "t.csv", bootstrap=2)
    assert "Mass (t.csv) is not 0, 1 or empty but x: 60 of 60" in str(caught.value)
    assert "--uncertain" not in str(caught.value)
    wide = pd.read_csv(tmp_path / "p.csv").melt("case", var_name="finding", value_name="probability")
    wide["finding"] = wide["finding"].str.removeprefix("score_").replace("Mass", "Masse")
    wide.to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(TableError, match=r"its column finding holds 'Masse' \(nearest: Mass\)"):
        evaluate_file(tmp_path / "p.csv", "nih14-official", truth=tmp_path / "t.csv", bootstrap=2)


def test_scores_rounded_to_two_decimals_sum_to_one(tmp_path: Path) -> None:
    names = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
    true = np.arange(N) % 7
    scores = RNG.dirichlet(np.ones(7), N)
    truth = pd.DataFrame({"image": CASE, **{name: 1.0 * (true == k) for k, name in enumerate(names)}})
    truth.to_csv(tmp_path / "t.csv", index=False)

    def accuracy(values: Any) -> float:
        pd.DataFrame(values, columns=list(names)).assign(image=CASE).to_csv(tmp_path / "p.csv", index=False)
        found = evaluate_file(tmp_path / "p.csv", "isic2018-task3", truth=tmp_path / "t.csv", bootstrap=2)
        return found.evaluation.result("accuracy").value

    rounded = np.round(scores, 2)
    assert np.abs(rounded.sum(axis=1) - 1).max() > 0.01
    alone = (rounded == rounded.max(axis=1, keepdims=True)).sum(
        axis=1
    ) == 1  # a tie is wrong, as in the challenge
    assert accuracy(rounded) == pytest.approx(np.mean((rounded.argmax(axis=1) == true) & alone))
    with pytest.raises(TableError, match=r"the scores do not sum to 1 \(MEL, .*c000: '0.8"):
        accuracy(0.85 * scores)
    with pytest.raises(TableError, match=r"MEL lies outside 0..1 .*; give probabilities"):
        accuracy(100 * scores)
