"""Errors of evaluate, compare, calibrate, readers and boxes: each names file or key, what was found, and what to do."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import graftwork
from graftwork.common.errors import GraftworkError

ROOT = Path(__file__).resolve().parents[2]
COMMON = ROOT / "common"
MODULES = [
    *sorted((COMMON / "evaluation").glob("*.py")),
    *sorted((COMMON / "external").glob("*.py")),
    *sorted((COMMON / "selection").glob("*.py")),
    COMMON / "evaluation" / "intervals" / "paired_tests.py",
    COMMON / "evaluation" / "tables" / "fingerprints.py",
    COMMON / "evaluation" / "tables" / "reader_tables.py",
    COMMON / "training" / "lr_finder.py",
    COMMON / "searches.py",
    COMMON / "verbs.py",
    *sorted((ROOT / "src" / "graftwork" / "cli").glob("*.py")),
]
ERRORS = {"DatasetError", "GraftworkError", "RecipeError", "RunError", "TableError", "UsageError"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_every_raise_says_where_and_what_to_do(path: Path) -> None:
    lacking = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ERRORS:
            missing = {"where", "remedy"} - {each.arg for each in node.keywords}
            lacking += [f"line {node.lineno}: {sorted(missing)}"] if missing else []
    assert not lacking


def table(change: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    truth = np.arange(40) % 2
    frame = pd.DataFrame(
        {"case": [f"c{n:02}" for n in range(40)], "group": [f"g{n // 2}" for n in range(40)], "target": truth,
         "score": np.clip(0.4 * truth + 0.6 * rng.random(40), 0, 1)}
    )  # fmt: skip
    return change(frame)


def read(**how: Any) -> Any:
    return graftwork.evaluate(
        "readers", "r.csv", **{"model": "m", "readers": "r1,r2", "bootstrap": 20, **how}
    )


def boxes(**how: Any) -> Any:
    return graftwork.evaluate("boxes", predicted="d.json", **how)


def judged(**how: Any) -> Any:
    return graftwork.evaluate("a.csv", **{"protocol": "isic2020", "threshold": 0.5, "bootstrap": 20, **how})


def compared(change: Callable[[pd.DataFrame], pd.DataFrame], **how: Any) -> Any:
    table(change).to_csv("b.csv", index=False)
    return graftwork.compare("a.csv", "b.csv", "isic2020", threshold=0.5, bootstrap=20, **how)


# What is asked, where it is wrong, what was found, and what to do.
TABLE: list[tuple[Callable[[], Any], str, str, str]] = [
    (lambda: judged(protocol="isic2021"), "isic2021", "isic2021", "isic2020"),
    (lambda: judged(part="train"), "a.csv", "train", "--part"),
    (lambda: judged(by="ward"), "by", "ward", "column"),
    (lambda: judged(also="aurocc"), "aurocc", "aurocc", "auroc"),
    (lambda: judged(report="page.pdf"), "page.pdf", "html", ".html"),
    (lambda: judged(calibration="none.json"), "none.json", "no such file", "graftwork calibrate"),
    (lambda: judged(calibration="odd.json"), "odd.json", "format 9", "graftwork calibrate"),
    (lambda: judged(calibration="own.json"), "a.csv", "40 of 40 cases", "own.json"),
    (lambda: judged(threshold=float("nan")), "threshold", "NaN", "number"),
    (lambda: judged(group="patient"), "a.csv", "patient", "name"),
    (lambda: graftwork.calibrate("a.csv", "isic2020", "o.json", method="platt"), "method", "platt", "name one"),
    (lambda: graftwork.calibrate("a.csv", "isic2020", "o.json", part="train"), "a.csv", "train", "--part"),
    (lambda: graftwork.calibrate("parts.csv", "isic2020", "o.json"), "parts.csv", "test (40)", "--part"),
    (lambda: graftwork.calibrate("a.csv", "coco-boxes", "o.json"), "coco-boxes", "table of scores", "evaluate boxes"),
    (lambda: compared(lambda f: f[:30]), "b.csv", "lacks 10 of 40 cases", "same cases"),
    (lambda: compared(lambda f: f.assign(target=1 - f["target"])), "b.csv", "truth differs in 40 of 40", "same cases"),
    (lambda: compared(lambda f: f.assign(group="h")), "b.csv", "group differs in 40 of 40", "same cases"),
    (lambda: compared(lambda f: f.drop(columns="group")), "b.csv", "names groups", "same cases"),
    (lambda: read(model="net"), "r.csv", "net", "name columns"),
    (lambda: read(readers="r1,m"), "r.csv", "named twice", "another column"),
    (lambda: read(readers="r1,r3"), "r.csv", "0 and 2", "--positive"),
    (lambda: read(model="p"), "r.csv", "0.", "--threshold"),
    (lambda: read(readers="r1"), "readings", "there is 1", "further readers"),
    (lambda: read(metric="dice"), "metric", "dice", "name one"),
    (lambda: read(reference="all"), "reference", "all", "name one"),
    (lambda: read(truth="a.csv", truth_column="dx"), "a.csv", "dx", "--truth-column"),
    (lambda: read(group="ward"), "r.csv", "ward is missing: 5 of 40", "orrect"),
    (lambda: boxes(truth="t.json", protocol="isic2020"), "isic2020", "boxes", "ls protocols"),
    (lambda: boxes(truth="no.json", protocol="coco-boxes"), "d.json", "no.json", "correct"),
    (lambda: graftwork.evaluate("seg", truth="no", predicted="no", protocol="brats2020"), "no", "no", ""),
    (lambda: graftwork.evaluate("nowhere"), "nowhere", "not the folder of a run", ""),
    (lambda: graftwork.evaluate("a.csv"), "a.csv", "none is named", "--protocol"),
    (lambda: graftwork.evaluate("a.csv", protocol="isic2020", predicted="p"), "evaluate", "--predicted", "--help"),
    (lambda: graftwork.evaluate("readers", "r.csv", model="m"), "evaluate readers", "readers are needed", "--readers"),
    (lambda: graftwork.report([]), "report", "no run", "folder"),
    (lambda: graftwork.synthesize("chest_xray/kermany", "s", cases=0), "synthesize", "is out of range", "larger"),
    (lambda: graftwork.predict("nowhere", "f", "o.csv"), "nowhere", "not the folder of a run", ""),
    (lambda: graftwork.evaluate_file("a.csv", "isic2020", features="f.csv"), "features", "covariates", "--by"),
]  # fmt: skip


@pytest.mark.parametrize("row", TABLE, ids=range(len(TABLE)))
def test_an_error_names_file_value_and_remedy(
    row: tuple[Callable[[], Any], str, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table().to_csv("a.csv", index=False)
    table(lambda frame: frame.assign(part="test")).to_csv("parts.csv", index=False)
    rng = np.random.default_rng(1)
    readings = pd.DataFrame(rng.integers(0, 2, (40, 3)), columns=["m", "r1", "r2"])
    readings.insert(0, "case", [f"c{n:02}" for n in range(40)])
    ward = [None] * 5 + ["w"] * 35
    readings.assign(r3=2 * readings["r2"], p=rng.random(40), ward=ward).to_csv("r.csv", index=False)
    Path("odd.json").write_text('{"format": 9}')
    Path("d.json").write_text(json.dumps([]))
    graftwork.calibrate("a.csv", "isic2020", "own.json")
    call, where, found, remedy = row
    with pytest.raises(GraftworkError) as caught:
        call()
    error = caught.value
    assert where in str(error.where) or where in str(error), str(error)
    assert found in str(error) and remedy.lower() in str(error).lower() and error.remedy, str(error)
    assert "..." not in str(error) and not str(error).rstrip(".").endswith(","), str(error)


def test_a_long_name_is_cut_with_a_mark(tmp_path: Path) -> None:
    long = "x" * 150
    table(lambda frame: frame.assign(case=[long, *frame["case"][1:]])).to_csv(tmp_path / "a.csv", index=False)
    table().to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(GraftworkError) as caught:
        graftwork.compare(tmp_path / "a.csv", tmp_path / "b.csv", "isic2020", threshold=0.5)
    assert f"{'x' * 100}... (cut, 150 characters)" in str(caught.value) and "x" * 101 not in str(caught.value)
