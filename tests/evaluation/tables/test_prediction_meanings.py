"""A fuzz of meanings: one study written in many ways gives the same numbers, and contradictory tables are refused.

Each seed writes the same cases anew: encodings, separators, spellings of columns, orders, truth beside or apart. A
writing that means the same gives the same truth, scores and groups; one that contradicts itself is refused (or, where
groups look alike, found). Some hundreds run by default; GRAFTWORK_MEANINGS=5000 runs as many.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from graftwork.common.data.domain import protocol
from graftwork.common.errors import GraftworkError
from graftwork.common.evaluation import Protocol, read_cases
from graftwork.common.evaluation.tables.external_tables import Submission
from graftwork.common.external.table_inputs import read_tables

COUNT = int(os.environ.get("GRAFTWORK_MEANINGS", "320"))
BATCH = 20
PROTOCOLS = ("isic2020", "isic2018-task3", "nih14-official")
PARTS = {
    "train": ("train", "Training", "TRAIN", "trn"),
    "validation": ("validation", "val", "Valid", "dev"),
    "test": ("test", "Test", "testing", "TEST"),
}
N = 24


@dataclass
class Study:
    """The meaning: cases with their truth, scores, groups and parts."""

    convention: Protocol
    case: list[str]
    group: list[str]
    part: list[str]
    truth: np.ndarray  # [n] index of the class, or [n, K] of 0 and 1
    scores: np.ndarray  # [n, K] of the classes that have scores


@dataclass
class Writing:
    """One way to write a study: two tables, and how they are read."""

    predictions: pd.DataFrame
    truth: pd.DataFrame | None
    how: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)  # what it is for, to what it is called


def study(rng: np.random.Generator) -> Study:
    convention = protocol(str(rng.choice(PROTOCOLS)))
    classes = convention.classes
    case = [f"é{number:03d}" if number % 7 == 0 else f"img_{number:03d}" for number in range(N)]
    group = [f"Zoë {number // 3}" if number % 2 else f"p{number // 3}" for number in range(N)]
    part = [str(each) for each in rng.choice(list(PARTS), N, p=[0.2, 0.3, 0.5])]
    if convention.kind == "multi-label":
        truth = (rng.random((N, len(classes))) < 0.3).astype(int)
        scores = np.round(rng.random((N, len(classes))), 4)
    elif convention.kind == "binary":
        truth, scores = rng.integers(0, 2, N), np.round(rng.uniform(0.01, 0.99, (N, 1)), 4)
    else:
        truth = rng.integers(0, len(classes), N)
        scores = np.round(rng.dirichlet(np.ones(len(classes)), N), 4)
    part[0] = "test"
    return Study(convention, case, group, part, truth, scores)


def write(rng: np.random.Generator, of: Study) -> Writing:
    """The study as tables of text, in one of many ways."""
    pick = lambda *words: str(rng.choice(words))  # noqa: E731
    convention, classes = of.convention, of.convention.classes
    apart, names = bool(rng.integers(2)), {}
    case = pick("case", "Case", "Image Index", "image_id", "FileName", "isic_id", "image name")
    frame = pd.DataFrame({case: [_messy(rng, each) for each in of.case]})
    labels = frame.copy() if apart else frame
    if apart:
        place = pick(case, "case", "image", "Image Index")
        labels.columns = pd.Index([place])
        ending = pick("", "", ".jpg", ".PNG")
        folder = pick("", "", "a/b/", "photos\\")
        if ending or folder:
            frame[case] = [f"{folder}{each}{ending}" for each in of.case]
        names["place"] = place
    style = pick(
        "score_{}",
        "prob_{}",
        "Score {}",
        "PROBABILITY_{}",
        ".pred_{}",
        "{}_prob",
        "prob.{}",
        *(["{}"] if apart else []),
    )
    scored = classes[1:] if convention.kind == "binary" else classes
    for k, name in enumerate(scored):
        frame[style.format(name)] = [repr(float(each)) for each in of.scores[:, k]]
    names |= {"case": case, "score": style.format(scored[0]), "style": style}
    _write_truth(rng, of, labels, apart, names)
    beside = labels if rng.integers(2) else frame
    names["group"] = pick("group", "Group", "patient")
    how: dict[str, Any] = {"group": "patient" if names["group"] == "patient" else ""}
    beside[names["group"]] = [_messy(rng, each) for each in of.group]
    names["part"] = pick("part", "Part", "split", "Set", "FOLD", "subset")
    words = {part: pick(*each) for part, each in PARTS.items()}
    (labels if rng.integers(2) else frame)[names["part"]] = [words[each] for each in of.part]
    for extra in ("age", "comment", ".config", "Follow-up #"):
        if rng.random() < 0.3:
            frame[extra] = [str(each) for each in rng.integers(1, 90, N)]
    return Writing(_shuffled(rng, frame), _shuffled(rng, labels) if apart else None, how, names)


def _write_truth(
    rng: np.random.Generator, of: Study, table: pd.DataFrame, apart: bool, names: dict[str, str]
) -> None:
    classes = of.convention.classes
    if of.convention.kind == "binary":
        no, yes = [
            ("0", "1"),
            ("no", "yes"),
            ("FALSE", "TRUE"),
            ("N", "Y"),
            classes,
            ("Benign", "Malignant"),
        ][rng.integers(6)]
        names["truth"] = str(rng.choice(["target", "truth", "Label", "obs", "y"]))
        table[names["truth"]] = [yes if each else no for each in of.truth]
    elif of.convention.kind == "multi-class":
        if rng.integers(2):
            names["truth"] = str(rng.choice(["target", "Truth", "label"]))
            table[names["truth"]] = [_messy(rng, classes[each]) for each in of.truth]
        else:
            style = str(rng.choice(["target_{}", "Truth {}", *(["{}"] if apart else [])]))
            names["truth"] = style.format(classes[0])
            for k, name in enumerate(classes):
                table[style.format(name)] = [
                    str(rng.choice(["1", "1.0"])) if each == k else "0" for each in of.truth
                ]
    elif rng.integers(2):
        style = str(rng.choice(["target_{}", "label {}", *(["{}"] if apart else [])]))
        names["truth"] = style.format(classes[0])
        one, zero = [("1", "0"), ("1.0", "0.0"), ("YES", "NO"), ("True", "False")][rng.integers(4)]
        for k, name in enumerate(classes):
            table[style.format(name)] = [one if each else zero for each in of.truth[:, k]]
    else:
        names["truth"] = names["list"] = str(rng.choice(["Finding Labels", "findings", "Labels"]))
        mark = str(rng.choice(["|", ",", ";", "/", ", ", " | "]))
        table[names["truth"]] = [
            mark.join(rng.permutation([classes[k] for k in np.flatnonzero(row)])) or "No Finding"
            for row in of.truth
        ]


def _messy(rng: np.random.Generator, text: str) -> str:
    """The same name with white space at its ends, a no-break space inside, or in another Unicode form."""
    way = rng.integers(6)
    if way == 0:
        return f"{text} "
    if way == 1:
        return text.replace(" ", " " if rng.integers(2) else "  ")
    return unicodedata.normalize("NFD", text) if way == 2 else text


def _shuffled(rng: np.random.Generator, frame: pd.DataFrame) -> pd.DataFrame:
    return frame.iloc[rng.permutation(len(frame))][list(rng.permutation(frame.columns))].reset_index(
        drop=True
    )


def put(rng: np.random.Generator, frame: pd.DataFrame, place: Path) -> Path:
    """The table as a file of one of many formats."""
    way = int(rng.integers(10))
    if way == 0:
        frame.to_excel(place.with_suffix(".xlsx"), index=False)
        return place.with_suffix(".xlsx")
    if way == 1:
        typed = frame.copy()
        for name in typed.columns:
            if typed[name].str.fullmatch(r"[0-9]+\.[0-9]+").all():
                typed[name] = typed[name].astype(float)
        typed.to_parquet(place.with_suffix(".parquet"))
        return place.with_suffix(".parquet")
    separator = str(rng.choice([",", ";", "\t", "|"]))
    if separator != "," and rng.integers(2):
        frame = frame.copy()
        for name in frame.columns:
            if frame[name].str.fullmatch(r"[0-9]+\.[0-9]{2,}").all():
                frame[name] = frame[name].str.replace(".", ",")
    text = frame.to_csv(index=False, sep=separator, lineterminator=str(rng.choice(["\n", "\r\n"])))
    encoding = str(rng.choice(["utf-8", "utf-8-sig", "utf-16", "cp1252"]))
    try:
        content = text.encode(encoding)
    except UnicodeEncodeError:  # decomposed letters
        content = text.encode("utf-8")
    file = place.with_suffix(".csv")
    file.write_bytes(content)
    return file


def read(rng: np.random.Generator, of: Study, how: Writing, folder: Path) -> Submission:
    predictions = put(rng, how.predictions, folder / "predictions")
    truth = None if how.truth is None else put(rng, how.truth, folder / "truth")
    group = how.how.get("group", "")
    return read_tables(predictions, of.convention, truth, group, False, "", "", "test", (), {})


def expected(of: Study) -> dict[str, Any]:
    rows = [row for row in range(N) if of.part[row] == "test"]
    rows.sort(key=lambda row: of.case[row])
    truth = of.truth[rows]
    scores = of.scores[rows]
    if of.convention.kind == "binary":
        scores = np.hstack([1 - scores, scores])
    return {"truth": truth.tolist(), "scores": scores.tolist(), "groups": [of.group[row] for row in rows]}


def found(of: Study, submission: Submission) -> dict[str, Any]:
    cases = read_cases(submission.table, submission.target, "test", protocol=of.convention)
    order = np.argsort([_bare(each) for each in cases.case])
    return {
        "truth": cases.truth[order].tolist(),
        "scores": cases.scores[order].tolist(),
        "groups": cases.groups[order].tolist(),
    }


def _bare(case: str) -> str:
    return case.replace("\\", "/").rpartition("/")[2].removesuffix(".jpg").removesuffix(".PNG")


@pytest.mark.parametrize("batch", range(max(1, COUNT // (2 * BATCH))))
def test_equivalent_tables_give_the_same_numbers(batch: int, tmp_path: Path) -> None:
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        rng = np.random.default_rng([1, seed])
        of = study(rng)
        how = write(rng, of)
        submission = read(rng, of, how, tmp_path)
        assert found(of, submission) == expected(of), (seed, how.columns, submission.notes)
        assert not submission.findings, (seed, submission.findings)


# Contradictory tables --------------------------------------------------------------------------------------

Change = Callable[[np.random.Generator, Study, Writing], str]


def _case_twice(rng: np.random.Generator, of: Study, how: Writing) -> str:
    how.predictions = pd.concat([how.predictions, how.predictions[:1]], ignore_index=True)
    return "once"


def _case_without_truth(rng: np.random.Generator, of: Study, how: Writing) -> str:
    if how.truth is None:
        return ""
    how.truth = how.truth[1:].reset_index(drop=True)
    return "no truth"


def _case_without_prediction(rng: np.random.Generator, of: Study, how: Writing) -> str:
    if how.truth is None:
        return ""
    how.predictions = how.predictions[1:].reset_index(drop=True)
    return "have no prediction"


def _score(rng: np.random.Generator, how: Writing, value: str) -> None:
    how.predictions.loc[int(rng.integers(N)), how.columns["score"]] = value


def _score_outside(rng: np.random.Generator, of: Study, how: Writing) -> str:
    _score(rng, how, "1.5")
    return "1.5"


def _score_of_text(rng: np.random.Generator, of: Study, how: Writing) -> str:
    _score(rng, how, "high")
    return "high"


def _score_missing(rng: np.random.Generator, of: Study, how: Writing) -> str:
    _score(rng, how, "")
    return "missing"


def _two_scores(rng: np.random.Generator, of: Study, how: Writing) -> str:
    name = of.convention.classes[-1]
    how.predictions[f"score {name.lower()}"] = [repr(float(each)) for each in rng.uniform(0.1, 0.9, N)]
    return name.lower()


def _unknown_score(rng: np.random.Generator, of: Study, how: Writing) -> str:
    how.predictions["score_Unheard"] = "0.25"
    return "Unheard"


def _unknown_truth(rng: np.random.Generator, of: Study, how: Writing) -> str:
    table = how.predictions if how.truth is None else how.truth
    row = int(rng.integers(N))
    listed = how.columns.get("list")
    table.loc[row, how.columns["truth"]] = "Unheard|Mass" if listed else "Unheard"
    return "Unheard"


def _second_truth(rng: np.random.Generator, of: Study, how: Writing) -> str:
    table = how.predictions if how.truth is None else how.truth
    if of.convention.kind != "binary":
        return ""
    flipped = {case: str(1 - each) for case, each in zip(of.case, of.truth, strict=True)}
    key = how.columns["case"] if how.truth is None else how.columns["place"]
    table["ground truth"] = [
        flipped[unicodedata.normalize("NFC", _bare(each)).strip()] for each in table[key]
    ]
    return "disagree"


def _second_part(rng: np.random.Generator, of: Study, how: Writing) -> str:
    taken = how.columns["part"].lower()
    how.predictions["split" if taken != "split" else "part"] = "test" if len(set(of.part)) > 1 else "train"
    return "disagree"


def _second_group(rng: np.random.Generator, of: Study, how: Writing) -> str:
    if how.truth is None:
        return ""
    for table in (how.predictions, how.truth):
        if how.columns["group"] not in table:
            table[how.columns["group"]] = [f"other {number}" for number in range(N)]
    return "disagree"


def _unknown_part(rng: np.random.Generator, of: Study, how: Writing) -> str:
    table = how.predictions if how.columns["part"] in how.predictions else how.truth
    assert table is not None
    table.loc[int(rng.integers(N)), how.columns["part"]] = "wave 2"
    return "wave 2"


def _numbered_folds(rng: np.random.Generator, of: Study, how: Writing) -> str:
    table = how.predictions if how.columns["part"] in how.predictions else how.truth
    assert table is not None
    table[how.columns["part"]] = [str(each % 5) for each in range(N)]
    return "--part"


def _failure_with_score(rng: np.random.Generator, of: Study, how: Writing) -> str:
    how.predictions["failure"] = ""
    how.predictions.loc[3, "failure"] = "decode: truncated"
    return "failure"


def _alike_groups(rng: np.random.Generator, of: Study, how: Writing) -> str:
    table = how.predictions if how.columns["group"] in how.predictions else how.truth
    assert table is not None
    table[how.columns["group"]] = [["p1", "P01"][each % 2] for each in range(N)]
    return "look alike"


CHANGES: dict[str, Change] = {
    name.removeprefix("_"): change
    for name, change in list(globals().items())
    if callable(change)
    and getattr(change, "__annotations__", {}).get("how") == "Writing"
    and name not in ("_score", "read")
}


@pytest.mark.parametrize("batch", range(max(1, COUNT // (2 * BATCH))))
def test_contradictory_tables_are_refused(batch: int, tmp_path: Path) -> None:
    names = list(CHANGES)
    assert len(names) >= 15
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        rng = np.random.default_rng([2, seed])
        of = study(rng)
        how = write(rng, of)
        change = names[seed % len(names)]
        said = CHANGES[change](rng, of, how)
        if not said:
            continue
        try:
            submission = read(rng, of, how, tmp_path)
            read_cases(submission.table, submission.target, "test", protocol=of.convention)
        except GraftworkError as error:
            assert said in str(error), (seed, change, how.columns, str(error))
            assert error.where and error.remedy, (seed, str(error))
        else:
            assert said in " ".join(submission.findings), (seed, change, how.columns, submission.notes)
