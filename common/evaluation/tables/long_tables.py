"""Tables in long format: several models, or a row for each case and class, as one row a case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation.tables.columns.named_columns import NamedColumns, nearest
from graftwork.common.evaluation.tables.columns.score_columns import SCORE_WORDS
from graftwork.common.evaluation.tables.prediction_arrays import absent, text_of
from graftwork.common.names import match_names
from graftwork.common.wording import short_list

_MODELS = ("model", "model name", "algorithm", "classifier", "network", "method", "wflow id", "learner")
_CLASSES = (
    "class",
    "label",
    "finding",
    "class name",
    "species",
    "category",
    "name",
    "level",
    "variable",
    "task",
)
_SCORES = ("score", "prob", "probability", "pred", "prediction", "p", "value", "estimate")
_TRUTHS = ("target", "truth", "true", "obs", "y", "present")


def of_one_model(table: NamedColumns, case: str, model: str, column: str, notes: list[str]) -> NamedColumns:
    """The rows of one model, where a table has those of several.

    Args:
        case: its column of cases. model: which one; column: that names it; empty: one of its usual names.

    Raises:
        UsageError: the table has several models and none was named, or not that one.
    """
    text = text_of(table.frame[case])
    repeated = len(set(text.tolist())) < len(text)
    if column:
        name = table.asked(column, "--model-column")
    else:
        name = next((each for each in table.called(_MODELS) if each != case), "") if repeated or model else ""
    if not name:
        if model:
            raise UsageError(
                f"no column names the model {model!r}; there are {table.there()}",
                where=f"{table.where}, --model",
                remedy="name the column with --model-column",
            )
        return table
    models = text_of(table.frame[name])
    there = [str(each) for each in dict.fromkeys(models.tolist())]
    if not model and len(there) > 1:
        raise UsageError(
            f"the column {name} holds {len(there)} models ({short_list(there, 12)}), expected one",
            where=table.where,
            remedy=f"name one with --model, such as --model {there[0]!r}",
        )
    wanted = match_names([model], there, "model").get(model, "") if model else there[0]
    if not wanted:
        near = nearest(model, there)
        raise UsageError(
            f"no model {model!r} in the column {name}; there are {short_list(there, 12)}",
            where=f"{table.where}, --model",
            remedy=f"write --model {near!r}" if near else "name one of them",
        )
    rows = models == wanted
    notes.append(
        f"{int(rows.sum()):,} of {len(rows):,} rows of {table.source} are of the model {wanted!r} ({name})."
    )
    found = table.with_frame(table.frame[rows].reset_index(drop=True))
    found.used[name] = "model"
    return found


def one_row_a_case(
    table: NamedColumns, case: str, classes: Sequence[str], ignored: Sequence[str], notes: list[str]
) -> NamedColumns:
    """A table with a row for each case and class as one with a row a case and columns such as `score_CLASS`.

    It is of that form where cases repeat and a column holds nothing but classes. Other columns have one value a case.

    Raises:
        TableError: a case lacks a class or has one twice, or another column has several values in one case.
    """
    import pandas as pd

    text = text_of(table.frame[case])
    if absent(text).any() or len(set(text.tolist())) == len(text):
        return table
    if match_names(list(classes), list(table.of_classes(SCORE_WORDS, ends=True)), "class"):
        return table  # a column a class: cases that repeat are a fault
    for name in (each for each in table.called(_CLASSES) if each != case):
        held = text_of(table.frame[name])
        there = [str(each) for each in dict.fromkeys(held.tolist()) if each is not None]
        wanted = list(dict.fromkeys([*classes, *ignored]))
        known = {written: each for each, written in match_names(wanted, there, "class").items()}
        values = [each for each in table.called((*_SCORES, *_TRUTHS)) if each not in (name, case)]
        if values and len(known) == len(there) and not absent(held).any() and len(there) > 1:
            break
        if values and len(known) > 1 and 2 * len(known) >= len(there):
            odd = [each for each in there if each not in known]
            near = [f"{each!r} (nearest: {nearest(each, classes)})" for each in odd] or ["empty cells"]
            raise TableError(
                f"has a row for each case and class, and its column {name} holds {short_list(near, 6)}, expected "
                f"{short_list(list(classes), 20)}",
                where=table.where,
                remedy="correct these cells, or leave their class out with --ignore-labels",
            )
    else:
        return table
    label = np.array([known[each] for each in held], dtype=object)
    cases = list(dict.fromkeys(text.tolist()))
    place = {each: row for row, each in enumerate(cases)}
    rows = np.array([place[each] for each in text])
    faults: list[str] = []
    pairs = pd.MultiIndex.from_arrays([text, label])
    twice = pairs[pairs.duplicated()]
    if len(twice):
        faults.append(
            f"{len(twice):,} rows repeat a case and class: {short_list([f'{a}, {b}' for a, b in twice])}"
        )
    every = list(dict.fromkeys(label.tolist()))
    held_by = {each: set(text[label == each]) for each in every}
    lacking = [f"{a}, {b}" for b in every for a in cases if a not in held_by[b]]
    if lacking and not len(twice):
        faults.append(f"{len(lacking):,} pairs of case and class have no row: {short_list(lacking)}")
    made: dict[str, Any] = {case: np.array(cases, dtype=object)}
    for column in (each for each in table.names if each not in (case, name)):
        cells = table.frame[column].to_numpy(dtype=object)
        several = pd.Series(text_of(table.frame[column])).groupby(rows).nunique(dropna=False) > 1
        word = "score" if column in table.called(_SCORES) else ""
        if column in table.called(_TRUTHS) and not word and several.any():
            word = "target"  # a truth that is one in each case is that of the case
        if word:
            if f"{word}_{every[0]}" in made:
                faults.append(
                    f"{column} is a second column of what each class has as its {word}, expected one"
                )
            for each in every:
                here = label == each
                found = np.full(len(cases), None, dtype=object)
                found[rows[here]] = cells[here]
                made[f"{word}_{each}"] = found
            continue
        if several.any():
            odd = [cases[row] for row in several.index[several]]
            faults.append(
                f"{column} has several values in one case: {short_list(odd)} ({len(odd):,} of {len(cases):,} cases)"
            )
        made[column] = np.full(len(cases), None, dtype=object)
        made[column][rows[::-1]] = cells[::-1]
    if faults:
        raise TableError(
            "has a row for each case and class, and:" + "".join(f"\n  - {each}" for each in faults),
            where=table.where,
            remedy="give each case one row of each class, or one row a case with columns score_CLASS",
        )
    notes.append(
        f"{len(table):,} rows of {table.source}, one for each case and class ({name}), are {len(cases):,} cases."
    )
    return table.with_frame(pd.DataFrame(made))
