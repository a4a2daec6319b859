"""What a page that compares runs says: seeds of one recipe together, recipes beside each other."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from graftwork.common.errors import UsageError
from graftwork.common.files import hash_of
from graftwork.common.report import figures
from graftwork.common.report.comparison.families import (
    as_text,
    families_of,
    flat,
    labels_of,
    without_domain,
    without_seed,
)
from graftwork.common.report.comparison.runs_table import primary_value, runs_table
from graftwork.common.report.figures import ForestRow, Line
from graftwork.common.report.formatting import (
    count,
    interval,
    listing,
    metric_name,
    number,
    score,
    sentence,
    shortened,
)
from graftwork.common.report.run import run_figures
from graftwork.common.report.run.class_against_rest import classes_of
from graftwork.common.report.run.curves_section import roc_line
from graftwork.common.report.run.run_facts import Facts
from graftwork.common.report.run.run_figures import Shown
from graftwork.common.report.run.run_page import Link
from graftwork.common.report.run.warning_banners import Stamp, leak_sentence, stamps_of, too_few
from graftwork.common.report.tables import Column, Row, Table

CURVES = 12  # runs drawn over each other; all stand in the table
LEDGERS = 12
FOREST = 60  # rows; with more runs the means alone are drawn


class ComparisonPage:
    """The page of several runs."""

    sections = (
        Link("runs", "Runs"), Link("forest", "Side by side"), Link("training", "Training"),
        Link("ledgers", "What learned"), Link("settings", "What differs"), Link("limits", "Limits"),
    )  # fmt: skip

    def __init__(self, runs: Sequence[Facts]) -> None:
        _refuse_other_targets(runs)
        self.families = families_of(runs)
        self.runs = [facts for family in self.families for facts in family.runs]
        self.short = without_domain([family.label for family in self.families])
        self.labels = labels_of(self.families, self.short)
        self.table = runs_table(self.families, self.short)
        self.forests = self._forests()
        self.overlaid, self.overlaid_note = self._overlaid()
        self.curves = self._curves()
        self.ledgers, self.ledgers_note = self._ledgers()

    @property
    def title(self) -> str:
        """What is compared."""
        recipes = len(self.families)
        datasets = list(dict.fromkeys(shortened(facts.dataset_title, 80) for facts in self.runs))
        return f"{count(len(self.runs), 'run')} of {count(recipes, 'recipe')} on {listing(datasets)}"

    @property
    def subtitle(self) -> str:
        """The primary metrics and the strategies."""
        metrics = dict.fromkeys(metric_name(facts.primary).title for facts in self.runs)
        strategies = dict.fromkeys(facts.recipe.strategy.name for facts in self.runs)
        return f"{listing(metrics)} · {listing(strategies)}"

    @property
    def stamps(self) -> list[Stamp]:
        """One stamp for each warning, naming the runs that carry it."""
        said: dict[tuple[str, bool], list[str]] = {}
        for facts, label in zip(self.runs, self.labels, strict=True):
            for stamp in stamps_of(facts):
                said.setdefault((stamp.text, stamp.made_up), []).append(label)
        return [
            Stamp(text if len(labels) == len(self.runs) else f"{text} ({listing(labels)})", made_up)
            for (text, made_up), labels in said.items()
        ]

    @property
    def proven(self) -> str:
        """The proof that no group is shared, where that holds for every run."""
        if any(facts.leaks for facts in self.runs):
            return ""
        totals = dict.fromkeys(number(facts.groups) for facts in self.runs)
        return f"Groups shared between parts: 0 of {listing(totals)} in each run."

    @property
    def same_cases(self) -> str:
        """Whether all runs were tested on the same cases with the same truth."""
        said = [_tested(facts) for facts in self.runs]
        if len({facts.manifest.dataset for facts in self.runs}) > 1:
            return "The runs are of different datasets: their values are not to be compared with each other."
        if len({cases for cases, _ in said}) > 1:
            sets = len({cases for cases, _ in said})
            return (
                f"The runs do not share their test cases: there are {number(sets)} different test sets. A difference "
                "between two runs can come from the cases; a paired comparison is not possible across them."
            )
        if len({truth for _, truth in said}) > 1:
            return "The runs share their test cases, but not the truth of all of them: the labels differ."
        n = self.runs[0].evaluation.n
        unit = self.runs[0].unit
        return f"All {count(len(self.runs), 'run')} share the same test cases: {count(n, unit)}, with the same labels."

    def _forests(self) -> list[Shown]:
        shown: list[Shown] = []
        for metric in dict.fromkeys(facts.primary for facts in self.runs):
            rows: list[ForestRow] = []
            published: dict[tuple[str, float], None] = {}
            for family, name in zip(self.families, self.short, strict=True):
                members = [facts for facts in family.runs if facts.primary == metric]
                for facts in members:
                    result = facts.headline
                    value, low, high = (
                        (math.nan,) * 3 if result is None else (result.value, result.low, result.high)
                    )
                    rows.append(ForestRow(f"{name}, seed {facts.recipe.seed}", value, low, high))
                    if facts.protocol is not None:
                        published |= {
                            (each.what, each.value): None
                            for each in facts.protocol.published
                            if each.metric == metric and not each.label
                        }
                values = [v for facts in members if (v := primary_value(facts)) is not None]
                if len(values) > 1:
                    rows.append(
                        ForestRow(
                            f"{name}, mean", statistics.fmean(values), min(values), max(values), summary=True
                        )
                    )
            if len(rows) > FOREST:
                rows = [row for row in rows if row.summary] or rows[:FOREST]
            title = metric_name(metric).title
            said = "; ".join(
                f"{row.label} {score(row.value)}"
                + (f" ({limits})" if (limits := interval(row.low, row.high)) else "")
                for row in rows
            )
            shown.append(
                Shown(
                    figures.forest(
                        rows,
                        metric=metric,
                        published=list(published)[:4],
                        alt=f"{title} of each run: {said}.",
                    ),
                    f"{title} of each run.",
                    "Circle: one run with its 95 % interval. Diamond, dashed: mean and range over seeds."
                    + (" Vertical line: published, on the split of its source." if published else ""),
                )
            )
        return shown

    def _style(self, place: int) -> tuple[str, int]:
        """The name in the key and the style of a run's line: one style a recipe, or a seed."""
        if len(self.families) == 1:
            return self.labels[place], place
        runs = 0
        for style, family in enumerate(self.families):
            if place < runs + len(family.runs):
                seeds = f", {count(len(family.runs), 'seed')}" if len(family.runs) > 1 else ""
                return (f"{self.short[style]}{seeds}" if place == runs else ""), style
            runs += len(family.runs)
        raise IndexError(place)

    def _overlaid(self) -> tuple[list[Shown], str]:
        lines: list[Line] = []
        left_out: list[str] = []
        for place, (facts, label) in enumerate(zip(self.runs, self.labels, strict=True)):
            if facts.segments:
                continue
            classes = [one for one in classes_of(facts) if one.defined]
            if facts.target.kind != "binary" or not classes:
                left_out.append(label)
            elif len(lines) < CURVES:
                name, style = self._style(place)
                lines.append(replace(roc_line(classes[0], label=name, style=style), point=None))
        note = ""
        if left_out:
            note = f"No ROC curve of {listing(left_out)}: only a binary target with both classes has one."
        drawable = sum(not facts.segments for facts in self.runs) - len(left_out)
        if drawable > CURVES:
            note += f" Drawn are the first {CURVES} of {drawable} runs."
        if not lines:
            return [], note.strip()
        names = listing(line.label for line in lines if line.label)
        drawing = figures.unit_square(
            lines, x_label="1 − specificity", y_label="sensitivity", diagonal=True,
            alt=f"ROC curves of {count(len(lines), 'run')} over each other: {names}.",
        )  # fmt: skip
        each = "Each line is a run" + (
            "; the runs of a recipe look alike." if len(self.families) > 1 else "."
        )
        return [
            Shown(drawing, "ROC curves of the runs.", f"On the test part of each run, without bands. {each}")
        ], note.strip()

    def _curves(self) -> list[Shown]:
        runs = list(enumerate(zip(self.runs, self.labels, strict=True)))[:CURVES]
        shown: list[Shown] = []
        metrics = dict.fromkeys(run_figures.validation_metric(facts) for facts in self.runs[:CURVES])
        for key in ("validation_loss", *metrics):
            lines, ends = [], []
            for place, (facts, label) in runs:
                line = run_figures.epoch_values(facts, key)
                known = line.y[np.isfinite(line.y)]
                if len(known):
                    name, style = self._style(place)
                    lines.append(replace(line, label=name, style=style))
                    ends.append(f"{label} ends at {score(float(known[-1]))}")
            if not lines:
                continue
            about = metric_name(key)
            name, unit = (
                ("Validation loss", run_figures.loss_words(self.runs[0])[1])
                if key == "validation_loss"
                else (f"Validation {about.title}", about.unit)
            )
            shown.append(
                Shown(
                    figures.learning(
                        lines,
                        y_label=f"{name} ({unit})" if unit else name,
                        alt=f"{name} over epochs: {'; '.join(ends)}.",
                    ),
                    f"{name}.",
                    "The larger point of a line is its chosen epoch.",
                )
            )
        return shown

    def _ledgers(self) -> tuple[list[Shown], str]:
        """One small ledger for each different one, with the runs that share it."""
        sharing: dict[str, list[int]] = {}
        for place, facts in enumerate(self.runs):
            rows = [
                (row.stage, row.learning, row.rates, row.norms, row.kept)
                for row in run_figures.ledger_rows(facts)
            ]
            sharing.setdefault(repr(rows), []).append(place)
        shown: list[Shown] = []
        for places in list(sharing.values())[:LEDGERS]:
            chart = run_figures.ledger_chart(self.runs[places[0]], small=True)
            if chart is not None:
                shared = "One ledger, the same in each run." if len(places) > 1 else ""
                caption = " ".join(each for each in (chart.caption, shared) if each)
                shown.append(Shown(chart.drawing, f"{self._named(places)}.", caption))
        more = len(sharing) - LEDGERS
        return (
            shown,
            f"{number(more)} further ledgers are not drawn; each run's own report has its own."
            if more > 0
            else "",
        )

    def _named(self, places: Sequence[int]) -> str:
        """Runs by recipe with their seeds: `full, seeds 0 and 1; scratch, seed 0`."""
        said = []
        for family, name in zip(self.families, self.short, strict=True):
            seeds = [str(self.runs[place].recipe.seed) for place in places if self.runs[place] in family.runs]
            if seeds:
                said.append(f"{name}, seed{'s' if len(seeds) > 1 else ''} {listing(seeds)}")
        return "; ".join(said)

    @property
    def settings(self) -> Table | None:
        """The recipe's keys in which the families differ; None where they do not."""
        settings = [
            {"recipe": family.label, **flat(without_seed(family.runs[0]))} for family in self.families
        ]
        keys = [key for key in dict.fromkeys(key for each in settings for key in each) if key != "recipe"]
        differing = [
            key for key in keys if len({repr(each.get(key)) for each in settings}) > 1 and key != "title"
        ]
        if len(settings) < 2 or not differing:
            return None
        rows = []
        for key in differing:
            scrub = self.runs[0].scrub
            rows.append(Row(key, tuple(shortened(scrub(as_text(each.get(key))), 40) for each in settings)))
        columns = (Column("key"), *(Column(name) for name in self.short))
        return Table(
            "Keys in which the recipes differ", columns, tuple(rows), stacks=True, notes=("The seed aside.",)
        )

    @property
    def limits(self) -> list[str]:
        """What the numbers on this page do not say."""
        said = [self.same_cases]
        few = [name for family, name in zip(self.families, self.short, strict=True) if len(family.runs) == 1]
        if few:
            said.append(f"One seed only of {listing(few)}: a difference can be one of seeds.")
        said.append(
            "Intervals that overlap, or do not, are no test: a test of a difference needs both runs on the same cases, "
            "resampled together."
        )
        said += dict.fromkeys(lack for facts in self.runs if (lack := too_few(facts)))
        said += [
            f"{label}: {leak_sentence(facts)}."
            for facts, label in zip(self.runs, self.labels, strict=True)
            if facts.leaks
        ]
        versions = dict.fromkeys(str(facts.environment.get("graftwork")) for facts in self.runs)
        if len(versions) > 1:
            said.append(f"The runs were made by different versions of graftwork: {listing(versions)}.")
        machines = dict.fromkeys(
            str(facts.environment.get("device_name") or facts.environment.get("processor") or "unknown")
            for facts in self.runs
        )
        if len(machines) > 1:
            said.append(f"Times are of different machines ({listing(machines)}) and not to be compared.")
        notes = dict.fromkeys(
            sentence(facts.scrub(note)) for facts in self.runs for note in facts.manifest.notes
        )
        return said + list(notes)

    @property
    def footer(self) -> str:
        """Where the page comes from."""
        folders = listing(facts.folder.name for facts in self.runs)
        outlined = self.runs[0].segments
        more = "overlap by class and pictures" if outlined else "bands, calibration, decisions and mistakes"
        return (
            f"Made by graftwork from the files of runs {shortened(folders, 300)} alone. The page loads nothing and "
            f"runs no script. Each run has a report of its own with {more}."
        )


def _refuse_other_targets(runs: Sequence[Facts]) -> None:
    """Runs that tell different things have no common number.

    Raises:
        UsageError: they differ in the kind or the classes of the target that they are judged by.
    """
    asked: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for facts in runs:
        # first targets may differ in name, as between datasets; a further one is told from them by its name
        name = f"{shortened(facts.target.name, 40)}, " if facts.judges_further else ""
        asked.setdefault((name, facts.target.kind, facts.target.classes), []).append(
            f"{facts.short_name}/{facts.folder.name}"
        )
    if len(asked) > 1:
        said = "; ".join(
            f"{listing(names[:3])}{' and others' if len(names) > 3 else ''}: {of}{kind} of {_named_classes(classes)}"
            for (of, kind, classes), names in asked.items()
        )
        raise UsageError(
            f"runs of different targets cannot be compared ({said})",
            where="report",
            remedy="compare runs that tell the same classes",
        )


def _named_classes(classes: Sequence[str]) -> str:
    return (
        listing(shortened(name, 30) for name in classes) if len(classes) <= 8 else f"{len(classes)} classes"
    )


def _tested(facts: Facts) -> tuple[str, str]:
    """Hashes of the test cases, and of their truth."""
    frame = facts.predictions[facts.predictions["part"] == facts.evaluation.part].sort_values("case")
    counts = [f"truth_{name}" for name in facts.classes]
    truth = [
        [None if value != value else str(value) for value in frame[name]]
        for name in (counts if facts.segments else facts.target.columns)
    ]
    return hash_of(frame["case"].astype(str).tolist()), hash_of(truth)
