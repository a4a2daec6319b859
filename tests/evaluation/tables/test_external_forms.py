"""Tables in the forms that programs and people write: caret, tidymodels, long formats, a dataset's own table, parts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from graftwork.cli import app
from graftwork.common.data.domain import dataset, protocol
from graftwork.common.errors import GraftworkError, TableError, UsageError
from graftwork.common.evaluation import auroc
from graftwork.common.evaluation.tables.case_joining import join_cases
from graftwork.common.evaluation.tables.columns.list_cells import read_lists
from graftwork.common.evaluation.tables.external_tables import read_submission
from graftwork.common.verbs import calibrate, compare, evaluate_file, synthesize
from graftwork.domains.dermoscopy.ham10000 import DIAGNOSES

N = 120
RNG = np.random.default_rng(3)
Y = RNG.integers(0, 2, N)
S = np.round(np.clip(0.3 * Y + 0.7 * RNG.random(N), 0.001, 0.999), 5)
YES = np.where(Y == 1, "yes", "no")
CASE = [f"c{number:03d}" for number in range(N)]
AREA = float(auroc(Y, S))


def base(**columns: Any) -> pd.DataFrame:
    frame = pd.DataFrame({"case": CASE, "score_malignant": S, "target": Y})
    return frame.assign(**columns)


def area(frame: pd.DataFrame, folder: Path, truth: pd.DataFrame | None = None, **how: Any) -> float:
    frame.to_csv(folder / "p.csv", index=False)
    if truth is not None:
        truth.to_csv(folder / "t.csv", index=False)
        how["truth"] = folder / "t.csv"
    found = evaluate_file(folder / "p.csv", "isic2020", bootstrap=2, **how)
    return found.evaluation.result("auroc").value


def notes(frame: pd.DataFrame, folder: Path, **how: Any) -> str:
    frame.to_csv(folder / "p.csv", index=False)
    return " ".join(evaluate_file(folder / "p.csv", "isic2020", bootstrap=2, **how).evaluation.notes)


CARET = pd.DataFrame(
    {
        "pred": np.where(S > 0.5, "yes", "no"),
        "obs": YES,
        "no": 1 - S,
        "yes": S,
        "rowIndex": range(1, N + 1),
        "Resample": "Fold1",
    }
)
TIDY = pd.DataFrame(
    {
        ".row": range(1, N + 1),
        ".pred_yes": S,
        ".pred_no": 1 - S,
        ".pred_class": CARET["pred"],
        "disease": YES,
        "id": "Fold1",
    }
)


def test_tables_of_caret_and_tidymodels(tmp_path: Path) -> None:
    assert area(CARET, tmp_path) == AREA
    assert area(TIDY, tmp_path, truth_column="disease") == AREA
    assert area(TIDY.rename(columns={"disease": "obs"}), tmp_path) == AREA
    assert ".pred_class of p.csv holds decisions" in notes(TIDY.rename(columns={"disease": "obs"}), tmp_path)
    with pytest.raises(TableError, match="the scores do not sum to 1"):
        area(CARET.assign(no=S), tmp_path)


@pytest.mark.parametrize(
    "words", [("yes", "no"), ("Y", "N"), ("TRUE", "FALSE"), ("T", "F"), ("True", "False"), ("1.0", "0.0")]
)
def test_words_for_yes_and_no(words: tuple[str, str], tmp_path: Path) -> None:
    assert area(base(target=np.where(Y == 1, *words)), tmp_path) == AREA


def test_a_positive_value_is_named(tmp_path: Path) -> None:
    for yes, no in (("2", "1"), ("ill", "well"), ("Mel", "NV")):
        frame = base(target=np.where(Y == 1, yes, no))
        with pytest.raises(TableError, match=rf"it holds .*'{yes}'.*--positive VALUE"):
            area(frame, tmp_path)
        assert area(frame, tmp_path, positive=yes) == AREA
        assert area(frame, tmp_path, positive=no) == pytest.approx(1 - AREA)
    named = base(target=np.where(Y == 1, "ill", "well")).rename(columns={"score_malignant": ".pred_ill"})
    assert area(named, tmp_path, positive="ill") == AREA
    for wrong, said in (("3", "is not among them"), ("benign", "names the negative class")):
        with pytest.raises(TableError, match=said):
            area(base(target=Y + 1), tmp_path, positive=wrong)
    with pytest.raises(TableError, match="names the negative class benign"):
        area(base(target=np.where(Y == 1, "malignant", "benign")), tmp_path, positive="benign")
    with pytest.raises(TableError, match="leaves several; expected two values"):
        area(base(target=Y + np.arange(N) % 2), tmp_path, positive="2")
    with pytest.raises(TableError, match="'maybe'"):
        area(base(target=np.where(Y == 1, "yes", "maybe")), tmp_path)


def test_several_models_and_a_row_for_each_class(tmp_path: Path) -> None:
    both = pd.concat([base(model="A"), base(model="B", score_malignant=1 - S)])
    with pytest.raises(UsageError, match=r"holds 2 models \(A, B\).*--model"):
        area(both, tmp_path)
    assert area(both, tmp_path, model="A") == AREA
    assert area(both, tmp_path, model="B") == pytest.approx(1 - AREA)
    assert area(both.rename(columns={"model": "who"}), tmp_path, model="A", model_column="who") == AREA
    with pytest.raises(UsageError, match="no model 'C' in the column model"):
        area(both, tmp_path, model="C")
    both.to_csv(tmp_path / "p.csv", index=False)
    found = compare(
        tmp_path / "p.csv", tmp_path / "p.csv", "isic2020", model="A,B", threshold=0.5, bootstrap=20
    )
    assert (found.compared[0].first, found.compared[0].second) == (AREA, pytest.approx(1 - AREA))
    rows = [
        (c, k, v, t)
        for c, a, t in zip(CASE, S, Y, strict=True)
        for k, v in (("malignant", a), ("benign", 1 - a))
    ]
    long = pd.DataFrame(rows, columns=["case", "class", "prob", "target"]).sample(frac=1, random_state=1)
    assert area(long, tmp_path) == AREA
    assert area(long.drop(columns="target"), tmp_path, base()[["case", "target"]]) == AREA
    with pytest.raises(TableError, match="1 pairs of case and class have no row: c000, "):
        area(long[~((long["case"] == "c000") & (long["class"] == "benign"))], tmp_path)
    with pytest.raises(TableError, match="rows repeat a case and class"):
        area(pd.concat([long, long[:1]]), tmp_path)


def test_columns_that_are_named(tmp_path: Path) -> None:
    frame = base().rename(columns={"case": "Nr", "score_malignant": "risk", "target": "outcome_2y"})
    assert area(frame, tmp_path, case="Nr", score="risk", truth_column="outcome_2y") == AREA
    with pytest.raises(UsageError, match=r"--score: no column 'riks'; there are .*Write --score 'risk'"):
        area(frame, tmp_path, case="Nr", score="riks", truth_column="outcome_2y")


def test_scores_of_any_range_are_ranked_where_asked_for(tmp_path: Path) -> None:
    frame = base(score_malignant=S * 37 - 5)
    with pytest.raises(TableError, match=r"outside 0..1 .* --ranks"):
        area(frame, tmp_path)
    frame.to_csv(tmp_path / "p.csv", index=False)
    found = evaluate_file(tmp_path / "p.csv", "isic2020", bootstrap=20, ranks=True).evaluation
    base().to_csv(tmp_path / "q.csv", index=False)
    right = evaluate_file(tmp_path / "q.csv", "isic2020", bootstrap=20).evaluation
    for metric in ("auroc", "average_precision"):
        assert found.result(metric) == right.result(metric)
    brier = found.result("brier")
    assert math.isnan(brier.value) and "ranks" in brier.reason and math.isfinite(right.result("brier").value)
    for option in ({"threshold": 0.5}, {"report": tmp_path / "r.html"}):
        with pytest.raises(UsageError, match="needs probabilities"):
            evaluate_file(tmp_path / "p.csv", "isic2020", ranks=True, **option)  # type: ignore[arg-type]
    pair = compare(tmp_path / "p.csv", tmp_path / "q.csv", "isic2020", ranks=True, bootstrap=20)
    assert [each.metric for each in pair.compared] == ["auroc", "average_precision"]
    assert pair.compared[0].difference.value == 0


PART = np.array([["train", "dev", "test"][number % 3] for number in range(N)])
TEST = PART == "test"


@pytest.mark.parametrize("name", ["part", "Part", "split", "SET", "fold", "Subset", "Set Id"])
def test_a_column_of_parts_is_understood_in_either_table(name: str, tmp_path: Path) -> None:
    right = float(auroc(Y[TEST], S[TEST]))
    assert area(base(**{name: PART}), tmp_path) == right
    truth = base()[["case", "target"]].assign(**{name: PART})
    assert area(base().drop(columns="target"), tmp_path, truth) == right
    base(**{name: PART}).to_csv(tmp_path / "p.csv", index=False)
    both = compare(tmp_path / "p.csv", tmp_path / "p.csv", "isic2020", bootstrap=20)
    assert both.evaluations[0].n == TEST.sum()
    assert calibrate(tmp_path / "p.csv", "isic2020", tmp_path / "c.json").n == (PART == "dev").sum()


def test_parts_that_are_not_known_or_disagree_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"fold holds numbers of folds \('0', '1', '2'\).*--part VALUE"):
        area(base(fold=np.arange(N) % 3), tmp_path)
    here = np.arange(N) % 3 == 1
    assert area(base(fold=np.arange(N) % 3), tmp_path, part="1") == float(auroc(Y[here], S[here]))
    assert area(base(fold=np.arange(N) % 3), tmp_path, part_column="none") == AREA
    with pytest.raises(TableError, match=r"split holds no part \('wave 2'"):
        area(base(split=np.where(TEST, "test", "wave 2")), tmp_path)
    with pytest.raises(
        TableError, match=r"split \(p.csv\) and Set \(p.csv\) name the part and disagree: 40 of 120"
    ):
        area(base(split="test", Set=np.where(TEST, "val", "test")), tmp_path)


def test_names_that_disagree_or_look_alike(tmp_path: Path) -> None:
    two = [f"p{number // 2}" for number in range(N)]
    with pytest.raises(
        TableError, match=r"group \(p.csv\) and group \(t.csv\) name the group and disagree: 1 of 120"
    ):
        area(base(group=two), tmp_path, base(group=["q", *two[1:]])[["case", "target", "group"]])
    with pytest.raises(TableError, match="name the truth and disagree: 120 of 120"):
        area(base(), tmp_path, base(target=1 - Y)[["case", "target"]])
    with pytest.raises(TableError, match="name the truth and disagree"):
        area(base(truth=1 - Y), tmp_path)
    spaced = base(group=[f"{name} " if number % 2 else name for number, name in enumerate(two)])
    spaced.to_parquet(tmp_path / "p.parquet")
    found = evaluate_file(tmp_path / "p.parquet", "isic2020", bootstrap=2)
    assert found.evaluation.groups == N // 2 and not found.findings
    assert any("group of p.parquet: white space" in note for note in found.evaluation.notes)
    alike = base(group=[name.upper() if number % 2 else name for number, name in enumerate(two)])
    alike.to_csv(tmp_path / "a.csv", index=False)
    words = ["evaluate", str(tmp_path / "a.csv"), "--protocol", "isic2020", "--bootstrap", "2", "--json"]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 1 and "look alike" in json.loads(said.stdout)["findings"][0]
    assert CliRunner().invoke(app, [*words, "--allow", "look-alikes"]).exit_code == 0
    both = ["compare", str(tmp_path / "a.csv"), str(tmp_path / "a.csv"), *words[2:]]
    assert CliRunner().invoke(app, both).exit_code == 1
    with pytest.raises(TableError, match=r"look alike.*--allow look-alikes"):
        calibrate(tmp_path / "a.csv", "isic2020", tmp_path / "c.json")
    with pytest.raises(UsageError, match="expected look-alikes"):
        evaluate_file(tmp_path / "a.csv", "isic2020", allow=("lookalikes",))


def test_classes_that_differ_in_a_sign_read_their_own_columns(tmp_path: Path) -> None:
    for one, other in (("HER2+", "HER2-"), ("<5", ">5"), ("лиса", "волк")):
        rows = [("a", 0.9, 0.5, 1, 0), ("b", 0.8, 0.5, 1, 0), ("c", 0.1, 0.5, 0, 1), ("d", 0.2, 0.5, 0, 1)]
        columns = ["case", f"score_{one}", f"score_{other}", f"target_{one}", f"target_{other}"]
        pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "p.csv", index=False)
        found = evaluate_file(
            tmp_path / "p.csv", "species-sets", threshold=0.5, also=["auroc"], bootstrap=2
        ).evaluation
        assert found.result("auroc", one).value == 1.0 and found.result("auroc", other).value == 0.5
    columns[2] = "score_Лиса"
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(TableError, match="'лиса', 'Лиса' are ambiguous"):
        evaluate_file(tmp_path / "p.csv", "species-sets", threshold=0.5)


def test_ids_are_text(tmp_path: Path) -> None:
    def ids(*names: object) -> pd.DataFrame:
        return pd.DataFrame({"case": names, "score_malignant": [0.1, 0.9, 0.2], "target": [0, 1, 0]})

    (tmp_path / "p.csv").write_text("case,score\n1.10,0.1\n1.20,0.9\n7,0.2\n")
    (tmp_path / "t.csv").write_text("case,target\n1.1,0\n1.2,1\n007,0\n")
    with pytest.raises(TableError, match="'7' looks like '007', which is another id"):
        evaluate_file(tmp_path / "p.csv", "isic2020", truth=tmp_path / "t.csv", bootstrap=2)
    (tmp_path / "t.csv").write_text("case,target\n1,0\n2,1\n3,0\n")
    for frame in (ids(1, 2, 3), ids(1.0, 2.0, 3.0), ids("1", "2", "3")):
        frame.drop(columns="target").to_parquet(tmp_path / "p.parquet")
        found = evaluate_file(
            tmp_path / "p.parquet", "isic2020", truth=tmp_path / "t.csv", bootstrap=2
        ).evaluation
        assert found.result("auroc").value == 1.0


def joined(wanted: list[str], names: list[str], **how: Any) -> tuple[list[int] | None, str, list[str]]:
    faults: list[str] = []
    options: dict[str, Any] = {"only_predicted": False, "where": ("p.csv", "t.csv"), "faults": faults, **how}
    one, other = np.array(wanted, dtype=object), np.array(names, dtype=object)
    found = join_cases(one, other, (), **options)
    return None if found.rows is None else found.rows.tolist(), found.note, faults


@pytest.mark.parametrize(
    ("wanted", "names", "rule"),
    [
        (["a", "b"], ["b", "a"], ""),
        (["x/a.jpg", "x/b.jpg"], ["b.jpg", "a.jpg"], "by file name, as"),
        (["a.jpg", "b.png"], ["b", "a"], "by file name without its ending"),
        (
            ["p\\1\\a.jpg", "p\\2\\a.jpg"],
            ["set/p/2/a.jpg", "set/p/1/a.jpg"],
            "by the last 3 steps of the path",
        ),
        (["v/1.nii.gz", "v/2.nii.gz"], ["2", "1"], "by file name without its ending"),
    ],
)
def test_one_rule_joins_all_cases(wanted: list[str], names: list[str], rule: str) -> None:
    rows, note, faults = joined(wanted, names)
    assert rows == [1, 0] and not faults and rule in note and bool(rule) == bool(note)


@pytest.mark.parametrize(
    ("wanted", "names", "said"),
    [
        (["x/a.jpg", "y/a.jpg"], ["a.jpg", "b.jpg"], "several times (a.jpg in p.csv)"),
        (["a", "b.jpg"], ["a", "b"], "cases have no truth: 1 of 2 cases (b.jpg)"),  # never a mix of rules
        (["1.10", "2.10"], ["1.1", "2.1"], "'1.10' looks like '1.1'"),
        (["a.v1", "b.v1"], ["a.v2", "b.v2"], "no case of the two tables is the same"),
        (["a", "a"], ["a", "b"], "more than once in p.csv"),
    ],
)
def test_cases_that_do_not_meet_are_refused(wanted: list[str], names: list[str], said: str) -> None:
    rows, _, faults = joined(wanted, names)
    assert rows is None and said in " ".join(faults)


def listed(cells: list[str | None], ignored: tuple[str, ...] = ()) -> tuple[Any, list[str], list[str]]:
    faults: list[str] = []
    said: list[str] = []
    found = read_lists(
        np.array(cells, dtype=object), ("Mass", "Edema", "Pleural_Thickening"), ("No Finding",), ignored,
        name="Finding Labels", case=np.array([f"c{n}" for n in range(len(cells))], dtype=object), faults=faults,
        notes=said,
    )  # fmt: skip
    return found, faults, said


@pytest.mark.parametrize("mark", ["|", ",", ";", "/", ", ", " | "])
def test_the_separator_of_a_list_is_found_where_every_name_is_known(mark: str) -> None:
    found, faults, _ = listed(
        [f"Mass{mark}Edema", "Edema", "No Finding", None, f"Pleural Thickening{mark}Mass"]
    )
    assert not faults
    assert found.tolist()[:3] == [[1, 1, 0], [0, 1, 0], [0, 0, 0]] and found[4].tolist() == [1, 0, 1]
    assert np.isnan(found[3]).all()


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["Mass|Oedema", "Edema"], "'Oedema' in 1 cells (nearest: Edema); in 1 of 2 cases (c0)"),
        (["Mass Edema"], "'Mass Edema' in 1 cells"),
        (["No Finding|Mass"], "nothing is there and lists a class: 1 of 1 cases (c0: 'No Finding|Mass')"),
        (["Mass", "normal"], "'normal' in 1 cells"),
    ],
)
def test_a_name_that_is_no_class_is_refused(cells: list[str | None], said: str) -> None:
    _, faults, _ = listed(cells)
    assert said in " ".join(faults)


def test_classes_that_are_not_evaluated_are_told() -> None:
    found, faults, said = listed(["Mass|Fracture", "Fracture"], ("Fracture",))
    assert not faults and found.tolist() == [[1, 0, 0], [0, 0, 0]]
    assert "Fracture are not evaluated, in 2 cells" in " ".join(said)


def test_the_output_of_predict_is_evaluated_by_the_datasets_own_table(tmp_path: Path) -> None:
    names, codes = list(DIAGNOSES.values()), list(DIAGNOSES)
    truth = RNG.integers(0, 7, N)
    scores = np.round(RNG.dirichlet(np.ones(7), N) * 0.5 + 0.5 * np.eye(7)[truth], 6)
    ids = [f"ISIC_{number:07d}" for number in range(N)]
    table = pd.DataFrame(
        {
            "lesion_id": [f"HAM_{n // 2}" for n in range(N)],
            "image_id": ids,
            "dx": [codes[each] for each in truth],
            "age": 50,
        }
    )
    table["dx"] = [table["dx"][number - number % 2] for number in range(N)]
    truth = np.array([codes.index(each) for each in table["dx"]])
    table.sample(frac=1, random_state=0).to_csv(tmp_path / "HAM10000_metadata.csv", index=False)
    frame = pd.DataFrame({"file": [f"part_1/{each}.jpg" for each in ids]})
    for k, name in enumerate(names):
        frame[f"score_{name}"] = scores[:, k]
    frame["predicted"] = [names[each] for each in scores.argmax(1)]
    frame["failure"] = None
    frame.loc[4, [*(f"score_{name}" for name in names), "predicted"]] = None
    frame.loc[4, "failure"] = "decode: truncated"
    frame.to_csv(tmp_path / "pred.csv", index=False)
    found = evaluate_file(
        tmp_path / "pred.csv", "ham10000", truth=tmp_path / "HAM10000_metadata.csv", bootstrap=2
    ).evaluation
    kept = np.arange(N) != 4
    assert (found.n, found.groups) == (N - 1, N // 2)
    assert found.result("accuracy").value == pytest.approx((scores.argmax(1) == truth)[kept].mean())
    told = " ".join(found.notes)
    for said in ("119 cases were joined with HAM10000_metadata.csv by file name without its ending",
                 "1 cases were not processed", "The group is lesion_id",
                 "Columns not used (HAM10000_metadata.csv): age"):  # fmt: skip
        assert said in told
    again = evaluate_file(
        tmp_path / "pred.csv", "isic2018-task3", truth=tmp_path / "HAM10000_metadata.csv", bootstrap=2
    )
    assert again.evaluation.result("accuracy").value == found.result("accuracy").value
    table.assign(dx="melanocytic").to_csv(tmp_path / "HAM10000_metadata.csv", index=False)
    with pytest.raises(
        TableError, match=r"dx \(HAM10000_metadata.csv\) holds unknown classes: 'melanocytic'"
    ):
        evaluate_file(tmp_path / "pred.csv", "ham10000", truth=tmp_path / "HAM10000_metadata.csv")


def test_a_table_of_chexpert_and_one_by_study(tmp_path: Path) -> None:
    tasks = protocol("chexpert").classes
    views = [f"valid/patient{n // 4}/study{1 + n % 4 // 2}/view{1 + n % 2}.jpg" for n in range(40)]
    studies = [each.rpartition("/")[0] for each in views]
    truth = {each: RNG.integers(0, 2, 5) for each in dict.fromkeys(studies)}
    scores = RNG.random((40, 5))
    frame = pd.DataFrame({"file": views, **{f"score_{name}": scores[:, k] for k, name in enumerate(tasks)}})
    frame["score_Fracture"] = 0.5
    by_image = pd.DataFrame({"Path": [f"CheXpert-v1.0-small/{each}" for each in views]})
    for k, name in enumerate(tasks):
        by_image[name] = [float(truth[each][k]) for each in studies]
    by_image.loc[0, "Edema"] = None
    by_image.loc[1, "Edema"] = -1.0
    frame.to_csv(tmp_path / "p.csv", index=False)
    by_image.to_csv(tmp_path / "valid.csv", index=False)
    how: dict[str, Any] = {"uncertain": "zero", "blank": "zero", "bootstrap": 2}
    with pytest.raises(TableError, match="not 0, 1 or empty but -1"):
        evaluate_file(tmp_path / "p.csv", "chexpert", truth=tmp_path / "valid.csv")
    found = evaluate_file(tmp_path / "p.csv", "chexpert", truth=tmp_path / "valid.csv", **how).evaluation
    assert (found.n, found.groups) == (20, 10)
    largest = pd.DataFrame({"study": studies, "s": scores[:, 0]}).groupby("study")["s"].max()
    y = pd.Series({each: value[0] for each, value in truth.items()})
    assert found.result("auroc", tasks[0]).value == auroc(y[largest.index], largest)
    by_study = pd.DataFrame({"Study": list(truth)})
    for k, name in enumerate(tasks):
        by_study[name] = [int(each[k]) for each in truth.values()]
    by_study.to_csv(tmp_path / "groundtruth.csv", index=False)
    frame.assign(Study=studies).to_csv(tmp_path / "p.csv", index=False)
    again = evaluate_file(
        tmp_path / "p.csv", "chexpert", truth=tmp_path / "groundtruth.csv", bootstrap=2
    ).evaluation
    assert again.result("auroc", tasks[0]).value == found.result("auroc", tasks[0]).value


def test_a_further_target_of_a_run_and_a_table_of_ones_own(tmp_path: Path) -> None:
    species = RNG.choice(["fox", "deer", "nothing"], N)
    files = [f"site{n // 12}/IMG_{n:04d}.JPG" for n in range(N)]
    pd.DataFrame({"File": files, "Station": [f"S{n // 12}" for n in range(N)], "Species": species}).to_csv(
        tmp_path / "own.csv", index=False, sep=";"
    )
    scores, animal = RNG.dirichlet(np.ones(3), N), RNG.random(N)
    frame = pd.DataFrame(
        {"file": files, **{f"score_{name}": scores[:, k] for k, name in enumerate(("deer", "empty", "fox"))}}
    )
    frame = frame.assign(
        predicted="fox", empty_score_empty=1 - animal, empty_score_animal=animal, empty_predicted="animal"
    )
    frame.to_csv(tmp_path / "p.csv", index=False)
    found = evaluate_file(
        tmp_path / "p.csv", "camera_trap/empty", truth=tmp_path / "own.csv", bootstrap=2
    ).evaluation
    assert found.result("auroc").value == auroc(species != "nothing", animal) and found.groups == 10
    which = evaluate_file(
        tmp_path / "p.csv", "camera_trap/species", truth=tmp_path / "own.csv", bootstrap=2
    ).evaluation
    assert which.result("auroc", "fox").value == auroc(species == "fox", scores[:, 2])


def test_the_truth_is_read_from_the_folder_of_a_dataset(tmp_path: Path) -> None:
    synthesize("chest_xray/kermany", tmp_path / "set", cases=40)
    frame = dataset("chest_xray/kermany").read(tmp_path / "set").frame
    scores = np.round(RNG.random(len(frame)), 6)
    table = pd.DataFrame({"file": frame["path"], "score_pneumonia": scores, "predicted": "normal"})
    table.sample(frac=1, random_state=0).to_csv(tmp_path / "p.csv", index=False)
    found = evaluate_file(tmp_path / "p.csv", "kermany", truth=tmp_path / "set", bootstrap=2).evaluation
    here = (frame["part"] == "test").to_numpy()
    assert found.result("auroc").value == auroc(frame["target"][here] == "pneumonia", scores[here])
    assert found.groups == frame["group"][here].nunique()
    with pytest.raises(UsageError, match="is a folder, expected a table"):
        evaluate_file(tmp_path / "p.csv", "isic2020", truth=tmp_path / "set")


def test_a_table_with_missing_values_of_pandas_is_read() -> None:
    frame = base(group=pd.array(["g", *["h"] * (N - 1)], dtype="string"))
    frame["target"] = pd.array([pd.NA, *map(str, Y[1:])], dtype="string").astype(object)
    found = read_submission(frame, protocol("isic2020"))
    assert found.table["target"].isna().sum() == 1 and found.table["score_malignant"].tolist() == S.tolist()


def test_columns_that_nothing_was_taken_from_are_told_or_refused(tmp_path: Path) -> None:
    assert "Columns not used (p.csv): age, note." in notes(base(age=3, note="x"), tmp_path)
    for name in ("score_xyz", "prob_xyz", "target_xyz", ".pred_xyz"):
        with pytest.raises(TableError, match="looks like one of a class 'xyz'"):
            area(base(**{name: 0.25}), tmp_path)
        assert "not evaluated (p.csv): " in notes(base(**{name: 0.25}), tmp_path, ignore_labels=("xyz",))
    with pytest.raises(TableError, match="could both be the scores of malignant and differ"):
        area(base(prob_malignant=1 - S), tmp_path)


# What errors say -------------------------------------------------------------------------------------------

Case = tuple[Callable[[], pd.DataFrame], dict[str, Any], tuple[str, ...]]
REFUSED: dict[str, Case] = {
    "no case": (lambda: base().drop(columns="case"),
        {}, ("p.csv", "no column says the case", "score_malignant", "--case")),
    "no score": (lambda: base().drop(columns="score_malignant"),
        {}, ("no column has the scores of malignant", "--score")),
    "no truth": (lambda: base().drop(columns="target"), {}, ("no column has the truth", "--truth-column")),
    "no group": (base, {"group": "patient"}, ("no column 'patient'", "--group")),
    "score is text": (lambda: base(score_malignant=["high", *S[1:]]),
        {}, ("score_malignant", "'high'", "c000", "not a number")),
    "score is missing": (lambda: base(score_malignant=[None, *S[1:]]), {}, ("score_malignant is missing", "c000")),
    "score is outside": (lambda: base(score_malignant=[7.5, *S[1:]]), {}, ("outside 0..1", "7.5", "c000", "--ranks")),
    "truth is no class": (lambda: base(target=["maybe", *Y[1:]]),
        {}, ("target (p.csv)", "'maybe'", "benign or malignant", "--positive")),
    "case twice": (lambda: base(case=["c001", *CASE[1:]]), {}, ("case stands more than once", "c001")),
    "case missing": (lambda: base(case=[None, *CASE[1:]]), {}, ("case is missing",)),
    "part unknown": (lambda: base(split=["x", *PART[1:]]),
        {}, ("split", "'x'", "c000", "train, validation and test", "--part")),
    "class unknown": (lambda: base(score_x=0.2), {}, ("'score_x'", "'x'", "--ignore-labels")),
    "two truths": (lambda: base(truth=1 - Y),
        {}, ("target (p.csv)", "truth (p.csv)", "disagree", "c000", "--truth-column")),
    "positive": (lambda: base(target=Y + 1), {"positive": "3"}, ("target (p.csv)", "'1', '2'", "--positive 3")),
    "score named": (base, {"score": "risk"}, ("--score", "'risk'", "score_malignant")),
    "truth named": (base, {"truth_column": "truht"}, ("--truth-column", "'truht'", "target")),
    "part named": (base, {"part_column": "phase"}, ("--part-column", "'phase'", "score_malignant")),
    "model named": (base, {"model": "A"}, ("--model", "'A'", "--model-column")),
    "two cases": (
        lambda: base().assign(Case=CASE[::-1]),
        {},
        ("p.csv", "'case' and 'Case' both say the case", "--case"),
    ),
    "idle option": (base, {"nothing": "none"}, ("--nothing", "multi-label", "binary")),
    "allow": (base, {"allow": "all"}, ("--allow", "'all'", "look-alikes")),
    "policy": (base, {"uncertain": "zero"}, ("--uncertain", "binary")),
    "mixed decimals": (lambda: base(score_malignant=["0,5", *S[1:]]),
        {}, ("0,5", "decimal", "write all numbers in one way")),
    "failure scored": (lambda: base(failure=["cut", *[None] * (N - 1)]),
        {}, ("failure and a score", "c000", "correct them")),
    "long name": (lambda: base(target=["m" * 300, *Y[1:]]), {}, ("... (cut, ", " characters)")),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_every_refusal_names_file_column_value_and_remedy(name: str, tmp_path: Path) -> None:
    made, how, said = REFUSED[name]
    made().to_csv(tmp_path / "p.csv", index=False, sep=";")
    with pytest.raises(GraftworkError) as caught:
        evaluate_file(tmp_path / "p.csv", "isic2020", bootstrap=2, **how)
    message = str(caught.value)
    for each in said:
        assert each in message, message
    assert caught.value.remedy and "..." not in str(caught.value.remedy)
    assert "p.csv" in message or str(caught.value.where).startswith("--")


def test_a_protocol_knows_its_words_and_tables() -> None:
    convention = replace(protocol("chexpert"), nothing=["normal"], other_labels=["x"])  # type: ignore[arg-type]
    assert (convention.nothing, convention.other_labels) == (("normal",), ("x",))
    assert hash(convention) is not None


def test_a_label_to_be_ignored_that_is_nowhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="--ignore-labels names 'nevuss'"):
        notes(base(), tmp_path, ignore_labels=("nevuss",))


def test_cases_whose_group_says_that_there_is_none_are_named(tmp_path: Path) -> None:
    frame = base()
    groups = [f"p{n}" for n in range(len(frame))]
    groups[:3] = ["Unknown"] * 3
    assert "3 cases have the group 'Unknown'" in notes(frame.assign(group=groups), tmp_path)
    groups[:3] = ["p1"] * 3
    assert "says that there is none" not in notes(frame.assign(group=groups), tmp_path)
