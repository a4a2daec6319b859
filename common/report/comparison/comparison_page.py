"""The page that compares runs: seeds of one recipe together, recipes side by side."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from graftwork.common.errors import UsageError
from graftwork.common.files import hash_of
from graftwork.common.report.comparison.families import families_of, labels_of, without_domain
from graftwork.common.report.formatting import count, listing, metric_name, number, shortened
from graftwork.common.report.run.run_facts import Facts
from graftwork.common.report.run.run_page import warnings_of
from graftwork.common.report.section import Banner, Page, sections_of


class Runs:
    """The runs of a comparison, by recipe. `short`: names of the recipes; `labels`: unique names of the runs."""

    def __init__(self, runs: Sequence[Facts]) -> None:
        self.families = families_of(runs)
        self.runs = [facts for family in self.families for facts in family.runs]
        self.short = without_domain([family.label for family in self.families])
        self.labels = labels_of(self.families, self.short)

    def named(self, places: Sequence[int]) -> str:
        """Runs by recipe with their seeds: `full, seeds 0 and 1; scratch, seed 0`."""
        text = []
        for family, name in zip(self.families, self.short, strict=True):
            seeds = [str(self.runs[place].recipe.seed) for place in places if self.runs[place] in family.runs]
            if seeds:
                text.append(f"{name}, seed{'s' if len(seeds) > 1 else ''} {listing(seeds)}")
        return "; ".join(text)

    def style(self, place: int) -> tuple[str, int]:
        """The label in a legend and the style of the line of a run: one style per recipe, or per seed."""
        if len(self.families) == 1:
            return self.labels[place], place
        runs = 0
        for style, family in enumerate(self.families):
            if place < runs + len(family.runs):
                seeds = f", {count(len(family.runs), 'seed')}" if len(family.runs) > 1 else ""
                return (f"{self.short[style]}{seeds}" if place == runs else ""), style
            runs += len(family.runs)
        raise IndexError(place)

    @cached_property
    def same_cases(self) -> str:
        """Whether all runs were tested on the same cases with the same labels."""
        hashes = [_tested(facts) for facts in self.runs]
        if len({facts.manifest.dataset for facts in self.runs}) > 1:
            return "The runs are of different datasets: do not compare their results with each other."
        if (sets := len({cases for cases, _ in hashes})) > 1:
            return (
                f"The runs have {number(sets)} different test sets. A difference between two runs can come from the "
                "cases, and a paired comparison across test sets is not possible."
            )
        if len({truth for _, truth in hashes}) > 1:
            return "The runs have the same test cases with different labels."
        first = self.runs[0]
        cases = count(first.evaluation.n, first.unit)
        return f"All {count(len(self.runs), 'run')} have the same test cases: {cases}, with the same labels."


def comparison_page(facts: Sequence[Facts]) -> Page:
    """The page of several runs.

    Raises:
        UsageError: the runs have different targets.
    """
    _refuse_other_targets(facts)
    runs = Runs(facts)
    datasets = listing(dict.fromkeys(shortened(each.dataset_title, 80) for each in runs.runs))
    metrics = listing(dict.fromkeys(metric_name(each.primary).title for each in runs.runs))
    strategies = listing(dict.fromkeys(each.recipe.strategy.name for each in runs.runs))
    shared = any(each.leaks for each in runs.runs)
    totals = listing(dict.fromkeys(number(each.groups) for each in runs.runs))
    more = "overlap by class and images" if runs.runs[0].segments else "calibration, decisions and errors"
    folders = shortened(listing(each.folder.name for each in runs.runs), 300)
    return Page(
        kind="comparison of runs",
        title=f"{count(len(runs.runs), 'run')} of {count(len(runs.families), 'recipe')} on {datasets}",
        subtitle=f"{metrics} · {strategies}",
        warnings=tuple(_warnings(runs)),
        verified="" if shared else f"Groups shared between parts: 0 of {totals} in each run.",
        sections=sections_of("comparison", runs),
        footer=(
            f"Written by graftwork from the files of runs {folders} alone. The page loads nothing and runs no script. "
            f"The report of each run has more: {more}."
        ),
    )


def _warnings(runs: Runs) -> list[Banner]:
    """Each warning once, with the runs that have it."""
    labels_by: dict[Banner, list[str]] = {}
    for facts, label in zip(runs.runs, runs.labels, strict=True):
        for banner in warnings_of(facts):
            labels_by.setdefault(banner, []).append(label)
    return [
        banner if len(labels) == len(runs.runs) else Banner(f"{banner.text} ({listing(labels)})", banner.mild)
        for banner, labels in labels_by.items()
    ]


def _refuse_other_targets(runs: Sequence[Facts]) -> None:
    """Runs with different targets have no common metric.

    Raises:
        UsageError: the kind or the classes of their evaluated targets differ.
    """
    found: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for facts in runs:
        # first targets may differ in name, as between datasets; a further target is identified by its name
        name = f"{shortened(facts.target.name, 40)}, " if facts.evaluates_further else ""
        found.setdefault((name, facts.target.kind, facts.target.classes), []).append(
            f"{facts.short_name}/{facts.folder.name}"
        )
    if len(found) > 1:
        text = "; ".join(
            f"{listing(names[:3])}{' and others' if len(names) > 3 else ''}: {of}{kind} of {_named_classes(classes)}"
            for (of, kind, classes), names in found.items()
        )
        raise UsageError(
            f"the runs have different targets ({text})",
            where="report",
            remedy="compare runs with the same classes",
        )


def _named_classes(classes: Sequence[str]) -> str:
    return (
        listing(shortened(name, 30) for name in classes) if len(classes) <= 8 else f"{len(classes)} classes"
    )


def _tested(facts: Facts) -> tuple[str, str]:
    """Hashes of the test cases, and of their labels."""
    frame = facts.predictions[facts.predictions["part"] == facts.evaluation.part].sort_values("case")
    counts = [f"truth_{name}" for name in facts.classes]
    truth = [
        [None if value != value else str(value) for value in frame[name]]
        for name in (counts if facts.segments else facts.target.columns)
    ]
    return hash_of(frame["case"].astype(str).tolist()), hash_of(truth)
