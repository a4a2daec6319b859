"""The sections of a comparison of runs: table, forest plot, ROC curves, training, ledgers, settings, limits."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import numpy as np

from graftwork.common.report.comparison.comparison_page import Runs
from graftwork.common.report.comparison.families import as_text, flat, primary_value, runs_table, without_seed
from graftwork.common.report.figures import curve_figures as figures
from graftwork.common.report.figures.curve_figures import ForestRow, Line
from graftwork.common.report.formatting import listing, metric_name, number, sentence, shortened
from graftwork.common.report.run import training_section as training_of
from graftwork.common.report.run.curves_section import roc_line
from graftwork.common.report.run.data_section import leak_sentence
from graftwork.common.report.run.limits_section import too_few
from graftwork.common.report.run.one_class import classes_of
from graftwork.common.report.section import Column, Figure, Row, Section, Table, section

CURVES = 12  # runs drawn in one figure; the table has every run
LEDGERS = 12
FOREST = 60  # rows; with more runs only the means are drawn


@section("comparison", 10)
def table(runs: Runs) -> Section:
    """Every run, and the means over seeds."""
    return Section("Runs", "runs", text=(runs.same_cases,), tables=(runs_table(runs.families, runs.short),))


@section("comparison", 20)
def side_by_side(runs: Runs) -> Section:
    """Primary metrics with intervals, and ROC curves."""
    metrics = dict.fromkeys(facts.primary for facts in runs.runs)
    curves, notes = _roc_curves(runs)
    found = (*(_forest(runs, metric) for metric in metrics), *curves)
    return Section("Side by side", "forest", figures=found, notes=(notes,) if notes else ())


def _forest(runs: Runs, metric: str) -> Figure:
    rows: list[ForestRow] = []
    published: dict[tuple[str, float], None] = {}
    for family, name in zip(runs.families, runs.short, strict=True):
        members = [facts for facts in family.runs if facts.primary == metric]
        for facts in members:
            found = facts.headline
            limits = (math.nan,) * 3 if found is None else (found.value, found.low, found.high)
            rows.append(ForestRow(f"{name}, seed {facts.recipe.seed}", *limits))
            if facts.protocol is not None:
                published |= {
                    (each.what, each.value): None
                    for each in facts.protocol.published
                    if each.metric == metric and not each.label
                }
        values = [v for facts in members if (v := primary_value(facts)) is not None]
        if len(values) > 1:
            mean = statistics.fmean(values)
            rows.append(ForestRow(f"{name}, mean", mean, min(values), max(values), summary=True))
    if len(rows) > FOREST:
        rows = [row for row in rows if row.summary] or rows[:FOREST]
    lines = " Vertical line: published value, on the split of its source." if published else ""
    return Figure(
        figures.forest(rows, metric=metric, each="run", published=list(published)[:4]),
        f"{metric_name(metric).title} of each run.",
        f"Circle: one run with its 95 % interval. Diamond, dashed: mean and range over seeds.{lines}",
    )


def _roc_curves(runs: Runs) -> tuple[list[Figure], str]:
    lines: list[Line] = []
    left_out: list[str] = []
    for place, (facts, label) in enumerate(zip(runs.runs, runs.labels, strict=True)):
        if facts.segments:
            continue
        classes = [one for one in classes_of(facts) if one.defined]
        if facts.target.kind != "binary" or not classes:
            left_out.append(label)
        elif len(lines) < CURVES:
            name, style = runs.style(place)
            lines.append(replace(roc_line(classes[0], label=name, style=style), point=None))
    note = ""
    if left_out:
        note = (
            f"No ROC curve of {listing(left_out)}: only a binary target with cases of both classes has one."
        )
    drawable = sum(not facts.segments for facts in runs.runs) - len(left_out)
    if drawable > CURVES:
        note += f" The figure shows the first {CURVES} of {drawable} runs."
    if not lines:
        return [], note.strip()
    drawing = figures.unit_square(
        lines, x_label="1 − specificity", y_label="sensitivity", diagonal=True,
        title=f"ROC curves of {len(lines)} runs in one figure.",
    )  # fmt: skip
    each = "Each line is a run" + ("; the runs of a recipe look the same." if len(runs.families) > 1 else ".")
    text = f"On the test part of each run, without bands. {each}"
    return [Figure(drawing, "ROC curves of the runs.", text)], note.strip()


@section("comparison", 30)
def training(runs: Runs) -> Section:
    """Validation loss and metric over epochs."""
    found = []
    metrics = dict.fromkeys(training_of.validation_metric(facts) for facts in runs.runs[:CURVES])
    for key in ("validation_loss", *metrics):
        lines = []
        for place, facts in enumerate(runs.runs[:CURVES]):
            line = training_of.epoch_values(facts, key)
            if np.isfinite(line.y).any():
                name, style = runs.style(place)
                lines.append(replace(line, label=name, style=style))
        if not lines:
            continue
        about = metric_name(key)
        name, unit = (
            ("Validation loss", training_of.loss_words(runs.runs[0])[1])
            if key == "validation_loss"
            else (f"Validation {about.title}", about.unit)
        )
        drawing = figures.learning(lines, y_label=f"{name} ({unit})" if unit else name)
        found.append(Figure(drawing, f"{name}.", "The larger point of a line is its chosen epoch."))
    text = () if found else ("None of the runs has a log of its training.",)
    return Section("Training", "training", text=text, figures=tuple(found))


@section("comparison", 40)
def ledgers(runs: Runs) -> Section:
    """The training ledgers; equal ones once."""
    same: dict[str, list[int]] = {}
    for place, facts in enumerate(runs.runs):
        rows = [
            (row.stage, row.trained, row.rates, row.norms, row.cached)
            for row in training_of.ledger_rows(facts)
        ]
        same.setdefault(repr(rows), []).append(place)
    found = []
    for places in list(same.values())[:LEDGERS]:
        chart = training_of.ledger_chart(runs.runs[places[0]], small=True)
        if chart is not None:
            shared = "The ledger is the same in each run." if len(places) > 1 else ""
            caption = " ".join(each for each in (chart.caption, shared) if each)
            found.append(Figure(chart.drawing, f"{runs.named(places)}.", caption))
    more = len(same) - LEDGERS
    notes = (f"{number(more)} further ledgers are not drawn; the report of each run has its ledger.",)
    text = () if found else ("None of the runs has a ledger.",)
    return Section(
        "Training ledgers", "ledgers", text=text, figures=tuple(found), notes=notes if more > 0 else ()
    )


@section("comparison", 50)
def settings(runs: Runs) -> Section:
    """The recipe keys in which the recipes differ."""
    found = [{"recipe": family.label, **flat(without_seed(family.runs[0]))} for family in runs.families]
    keys = [
        key for key in dict.fromkeys(key for each in found for key in each) if key not in ("recipe", "title")
    ]
    differing = [key for key in keys if len({repr(each.get(key)) for each in found}) > 1]
    if len(found) < 2 or not differing:
        return Section(
            "Differences in the recipes", "settings", text=("The recipes differ only in their seed.",)
        )
    scrub = runs.runs[0].scrub
    rows = [
        Row(key, tuple(shortened(scrub(as_text(each.get(key))), 40) for each in found)) for key in differing
    ]
    columns = (Column("key"), *(Column(name) for name in runs.short))
    table = Table(
        "Keys in which the recipes differ",
        columns,
        tuple(rows),
        stacks=True,
        notes=("Without the seed.",),
        titled=True,
    )
    return Section("Differences in the recipes", "settings", tables=(table,))


@section("comparison", 60)
def limits(runs: Runs) -> Section:
    """What the numbers of the page do not show."""
    text = [runs.same_cases]
    one_seed = [name for family, name in zip(runs.families, runs.short, strict=True) if len(family.runs) == 1]
    if one_seed:
        text.append(f"Only one seed of {listing(one_seed)}: a difference can come from the seed.")
    text.append(
        "Overlap of intervals is not a test. A test of a difference needs both runs on the same cases, "
        "resampled together."
    )
    text += dict.fromkeys(warning for facts in runs.runs if (warning := too_few(facts)))
    text += [
        f"{label}: {leak_sentence(facts)}."
        for facts, label in zip(runs.runs, runs.labels, strict=True)
        if facts.leaks
    ]
    versions = dict.fromkeys(str(facts.environment.get("graftwork")) for facts in runs.runs)
    if len(versions) > 1:
        text.append(f"The runs were made by different versions of graftwork: {listing(versions)}.")
    machines = dict.fromkeys(
        str(facts.environment.get("device_name") or facts.environment.get("processor") or "unknown")
        for facts in runs.runs
    )
    if len(machines) > 1:
        text.append(f"The times are from different machines ({listing(machines)}): do not compare them.")
    text += dict.fromkeys(sentence(facts.scrub(note)) for facts in runs.runs for note in facts.manifest.notes)
    return Section("Limits", "limits", items=tuple(text))
