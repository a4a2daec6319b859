"""What the page of one run says, section by section; the template only lays it out."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import cached_property

from graftwork.common.data.splits import SEEN
from graftwork.common.report import tables
from graftwork.common.report.commands import Repeat, repeat_of
from graftwork.common.report.formatting import (
    NOT_AVAILABLE,
    count,
    interval,
    metric_name,
    number,
    plural,
    score,
    sentence,
    shortened,
)
from graftwork.common.report.run import curves_section, run_figures
from graftwork.common.report.run.confusion_tables import Decisions, decisions_of
from graftwork.common.report.run.data_tables import (
    covariates_table,
    frequent,
    parts_table,
    proof_table,
    quarantine_table,
)
from graftwork.common.report.run.metrics_table import class_table, metrics_table
from graftwork.common.report.run.mistakes import Mistake, mistakes_of, mistakes_sentence
from graftwork.common.report.run.other_evaluations import further_of
from graftwork.common.report.run.run_facts import Facts, limits_of
from graftwork.common.report.run.segmentation_examples import Example, examples_of, examples_sentence
from graftwork.common.report.run.segmentation_section import Overlap, overlap_of
from graftwork.common.report.run.training_summary import ledger_notes, training_words
from graftwork.common.report.run.warning_banners import leak_sentence, stamps_of, too_few

SMALL = 100  # groups in the test part below which the page says that few groups carry the interval


@dataclass(frozen=True)
class Headline:
    """The primary result in the words of the page."""

    name: str
    part: str
    value: str
    within: str
    sample: str


@dataclass(frozen=True)
class Tile:
    """A further result in short."""

    name: str
    value: str
    within: str


@dataclass(frozen=True)
class Link:
    """A section, for the list of contents."""

    id: str
    title: str


_BEFORE = (
    Link("result", "Result"), Link("asked", "What was asked"), Link("data", "Data"), Link("training", "Training"),
)  # fmt: skip
_CLASSIFIED = (
    Link("discrimination", "Discrimination"), Link("calibration", "Calibration"), Link("decisions", "Decisions"),
    Link("classes", "By class"), Link("metrics", "All metrics"), Link("further", "Further results"),
    Link("mistakes", "Most confidently wrong"),
)  # fmt: skip
_OUTLINED = (
    Link("overlap", "Overlap"), Link("classes", "By class"), Link("metrics", "All metrics"),
    Link("examples", "Best, median and worst"), Link("further", "Further results"),
)  # fmt: skip
_AFTER = (
    Link("limits", "Limits"), Link("licences", "Licences"), Link("environment", "Environment"),
    Link("repeat", "How to repeat it"),
)  # fmt: skip


def _measured(metric: str, value: float) -> str:
    """A value with its unit where it has one that is short: `2.812 mm`."""
    unit = metric_name(metric).unit
    text = score(value)
    return f"{text} {unit}" if unit in ("mm", "classes") and text != NOT_AVAILABLE else text


class RunPage:
    """The page of one run. Every attribute is finished text, a table or a figure."""

    def __init__(self, facts: Facts, *, figures: bool = True) -> None:
        self.facts = facts
        self.title = facts.title
        self.stamps = stamps_of(facts)
        apart = " (train, validation, test)" if SEEN in facts.parts else ""
        self.proven = (
            "" if facts.leaks else f"Groups shared between parts{apart}: 0 of {number(facts.groups)}."
        )
        self.asked = tables.asked_table(facts)
        self.recipe = facts.recipe_text
        self.parts, self.proof = parts_table(facts), proof_table(facts)
        self.covariates = covariates_table(facts)
        self.quarantine = quarantine_table(facts)
        self.metrics = metrics_table(facts)
        self.environment = tables.environment_table(facts)
        self.ledger_table = tables.ledger_table(facts)
        self.curves = run_figures.training_charts(facts) if figures else []
        self.ledger = run_figures.ledger_chart(facts) if figures else None
        self.further = further_of(facts)
        self.classes = class_table(
            facts.evaluation, frequent(facts), f"Each class on the {facts.evaluation.part} part"
        )
        self.licences = tables.licences_table(facts)
        drawn = figures and not facts.segments
        self.decided = decisions_of(facts) if drawn else Decisions()
        outcome = curves_section.outcomes_of(facts) if drawn else curves_section.Outcomes()
        self.discrimination, self.discrimination_notes = outcome.discrimination, outcome.discrimination_notes
        self.calibration, self.calibration_notes = outcome.calibration, outcome.calibration_notes
        self.overlap = overlap_of(facts) if figures and facts.segments else Overlap()

    @property
    def sections(self) -> list[Link]:
        """The sections that this run has, in the order of the page."""
        own = _OUTLINED if self.facts.segments else _CLASSIFIED
        absent = {"further": not self.further, "classes": self.classes is None}
        return [link for link in (*_BEFORE, *own, *_AFTER) if not absent.get(link.id, False)]

    @property
    def shown(self) -> frozenset[str]:
        """The names of these sections."""
        return frozenset(link.id for link in self.sections)

    @property
    def subtitle(self) -> str:
        """Dataset, strategy, seed and day."""
        facts = self.facts
        day = str(facts.environment.get("finished") or facts.environment.get("started") or "")[:10]
        parts = [
            shortened(facts.dataset_title, 120), facts.recipe.strategy.name, f"seed {facts.recipe.seed}",
            f"graftwork {facts.environment.get('graftwork', '')}".strip(), day,
        ]  # fmt: skip
        return " · ".join(part for part in parts if part)

    @property
    def headline(self) -> Headline:
        """The primary metric of the protocol."""
        facts, result = self.facts, self.facts.headline
        about = metric_name(facts.primary)
        if result is None:
            return Headline(
                about.title, facts.evaluation.part, NOT_AVAILABLE, "", f"{about.title} was not computed."
            )
        found = interval(result.low, result.high)
        reason = result.reason or "the evaluation gave no reason"
        within = f"95 % interval {found}" if found else f"no interval: {reason}"
        which = f"with {facts.classes[0]}" if facts.segments else "positive"
        positives = f" ({number(result.positives)} of them {which})" if result.positives is not None else ""
        of = f" of {count(result.groups, facts.group)}" if facts.unit != facts.group else ""
        sample = f"{count(result.n, facts.unit)}{positives}{of}."
        name = f"{about.title} of {shortened(result.label, 40)}" if result.label else about.title
        if result.classes is not None:
            name += f", mean over {result.classes[0]} of {result.classes[1]} classes,"
        if facts.judges_further:
            name = f"{name.rstrip(',')}, target {shortened(facts.target.name, 40)},"
        return Headline(name, facts.evaluation.part, score(result.value), within, sample)

    @property
    def tiles(self) -> list[Tile]:
        """The other results that stand for all classes."""
        found = [
            result for result in self.facts.evaluation.results
            if result is not self.facts.headline and not result.label
        ]  # fmt: skip
        return [
            Tile(metric_name(each.metric).title, _measured(each.metric, each.value), interval(each.low, each.high) or
                 f"no interval: {each.reason or 'no reason given'}")
            for each in found[:6]
        ]  # fmt: skip

    @property
    def plain(self) -> list[str]:
        """What the headline means, without a verdict."""
        facts, result = self.facts, self.facts.headline
        about = metric_name(facts.primary, exclusive=facts.exclusive)
        said: list[str] = []
        if about.meaning:
            said.append(f"{about.title} is {about.meaning}.")
        if result is not None and interval(result.low, result.high):
            said.append(
                f"The interval says how far the value would move with other {plural(facts.group)} like these; it "
                "says nothing about other places, devices, years or ways of labelling, nor about another seed."
            )
        return said

    @property
    def too_few(self) -> str:
        """What stands beside the result where the test part has too few groups for any conclusion."""
        return too_few(self.facts)

    @property
    def proof_sentence(self) -> str:
        """The outcome of counting shared groups."""
        facts = self.facts
        if facts.leaks:
            return f"{leak_sentence(facts)}. A network can recognise a {facts.group} it was trained on."
        return f"{self.proven} A group is a {facts.group}."

    @property
    def absent(self) -> list[str]:
        """What the split says of classes that a part lacks."""
        return [sentence(self.facts.scrub(said)) for said in self.facts.absent]

    @property
    def ledger_notes(self) -> list[str]:
        """How the ledger is read, and what the norm modes in it mean."""
        return ledger_notes(self.facts)

    @property
    def frozen(self) -> list[str]:
        """What was decided about the output of frozen stages, phase by phase; once where it is the same."""
        said = [
            f"{decided['phase']}: {decided['why']}"
            for decided in self.facts.frozen.values()
            if decided["stages"]
        ]
        return [f"Frozen work, {sentence(each)}" for each in dict.fromkeys(said)]

    @property
    def quarantined(self) -> str:
        """How many files could not be read."""
        n = len(self.facts.quarantine)
        return (
            f"{count(n, 'file')} could not be read and {'was' if n == 1 else 'were'} left out; the recipe bears "
            f"{number(self.facts.recipe.training.max_unreadable_files)}."
        )

    @property
    def training(self) -> str:
        """How training went, in a few sentences."""
        return training_words(self.facts)

    @property
    def mistakes_sentence(self) -> str:
        """What the pictures are, or that there are none."""
        return mistakes_sentence(self.facts)

    @cached_property
    def mistakes(self) -> list[Mistake]:
        """The pictures with captions, as many as the page has room for."""
        return mistakes_of(self.facts)

    @property
    def examples_sentence(self) -> str:
        """What the outlined pictures are, or that there are none."""
        return examples_sentence(self.facts)

    @cached_property
    def examples(self) -> list[Example]:
        """The outlined pictures with captions."""
        return examples_of(self.facts)

    @property
    def limits_run(self) -> list[str]:
        """What in this run's own numbers calls for care."""
        facts, said = self.facts, []
        recipe, result = facts.recipe, facts.headline
        said.append("One run with one seed: how much the values change with the seed is not shown here.")
        if self.too_few:
            said.append(self.too_few)
        elif result is not None and result.groups < SMALL:
            said.append(
                f"The {facts.evaluation.part} part holds {count(result.groups, facts.group)}: "
                f"a few {plural(facts.group)} more or less move the values."
            )
        held = int((facts.split.parts == "validation").sum())
        if held < SMALL:
            epoch = "strength of the penalty" if facts.solved else "epoch"
            what = f"Threshold and {epoch} were" if facts.evaluation.thresholds else f"The {epoch} was"
            said.append(f"{what} chosen on {count(held, f'validation {facts.picture}')} only.")
        if (
            facts.best_epoch is not None
            and not facts.solved
            and facts.best_epoch == len(facts.log) == recipe.training.epochs
            and recipe.training.epochs > 1
        ):
            said.append("The chosen epoch is the last one: training longer might have changed the values.")
        if facts.quarantine:
            said.append(self.quarantined)
        said += map(sentence, facts.evaluation.notes)
        if facts.leaks:
            said.append(f"{leak_sentence(facts)}.")
        return said

    @property
    def limits_notes(self) -> list[str]:
        """What the loader says that a reader must know."""
        return [sentence(self.facts.scrub(note)) for note in self.facts.manifest.notes]

    @property
    def limits_card(self) -> list[tuple[str, list[str]]]:
        """What the data card says under limits."""
        return limits_of(self.facts.card)

    @property
    def no_card(self) -> str:
        """What stands where the data card has nothing to say."""
        if not self.facts.card:
            return f"There is no data card of {self.facts.manifest.dataset} here."
        return "The data card has no section on limits."

    @property
    def repeat(self) -> Repeat:
        """The command that does it again."""
        return repeat_of(self.facts)

    @property
    def footer(self) -> str:
        """Where the page comes from and what it does not do."""
        return (
            f"Made by graftwork from the files of run {self.facts.folder.name} alone. The page loads nothing, runs no "
            "script and can be kept as one file. Intervals are 95 %. "
            f"Made anew with: graftwork report {shlex.quote(self.facts.folder.name)}"
        )
