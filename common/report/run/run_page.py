"""The page of one run: its title, its warnings, the primary result and the sections."""

from __future__ import annotations

import shlex

from graftwork.common.report.formatting import (
    NOT_AVAILABLE,
    count,
    interval,
    metric_name,
    number,
    score,
    sentence,
    shortened,
)
from graftwork.common.report.run.data_section import leak_sentence, verified
from graftwork.common.report.run.images_section import class_examples
from graftwork.common.report.run.limits_section import too_few
from graftwork.common.report.run.run_facts import Facts
from graftwork.common.report.section import Banner, Page, Value, sections_of
from graftwork.common.wording import plural

WEAK = "weak labels:"  # the start of a loader's note that belongs to the warnings
TILES = 6


def run_page(facts: Facts) -> Page:
    """The page of one run."""
    day = str(facts.environment.get("finished") or facts.environment.get("started") or "")[:10]
    about = [
        shortened(facts.dataset_title, 120), facts.recipe.strategy.name, f"seed {facts.recipe.seed}",
        f"graftwork {facts.environment.get('graftwork', '')}".strip(), day,
    ]  # fmt: skip
    name = facts.folder.name
    return Page(
        kind="report of one run",
        title=facts.title,
        subtitle=" · ".join(part for part in about if part),
        warnings=tuple(warnings_of(facts)),
        verified=verified(facts),
        result=primary_result(facts),
        tiles=tuple(other_results(facts)),
        caution=too_few(facts),
        text=tuple(meaning(facts)),
        examples=class_examples(facts),
        sections=sections_of("run", facts),
        footer=(
            f"Written by graftwork from the files of run {name} and example images from its data. The page contains "
            "images of the data: share it only as the data may be shared. It loads nothing and runs no script. "
            f"Intervals are 95 %. To write it again: graftwork report {shlex.quote(name)}"
        ),
    )


def warnings_of(facts: Facts) -> list[Banner]:
    """Leakage, doubtful groups, synthetic data, weights that saw the data, weak labels."""
    found: list[Banner] = []
    if facts.leaks:
        found.append(Banner(f"LEAKAGE: {leak_sentence(facts)}."))
    elif facts.leak_allowed:
        groups = count(facts.groups, facts.group)
        found.append(
            Banner(
                f"LEAKAGE ALLOWED: the split was made with --allow-leak; 0 of {groups} "
                f"have {plural(facts.image)} in more than one part."
            )
        )
    for doubt in facts.split.doubts:
        allowed = f" (allowed by --allow {doubt.allowance})" if doubt.allowance else ""
        found.append(Banner(f"DOUBTFUL GROUPS: {sentence(facts.scrub(doubt.sentence + allowed))}"))
    if facts.synthetic:
        text = (
            "SYNTHETIC DATA: generated for trying out the program. The results say nothing about real data."
        )
        found.append(Banner(text, mild=True))
    if facts.unverified:
        text = "NOT VERIFIED: checksums.txt was removed from this run; its files may be damaged or changed."
        found.append(Banner(text))
    if overlap := str(facts.weights.get("overlap") or ""):
        found.append(Banner(f"DATA SEEN IN PRETRAINING: {overlap}"))
    for note in facts.manifest.notes:
        if note.lower().startswith(WEAK):
            text = sentence(facts.scrub(note[len(WEAK) :].strip()))
            found.append(Banner(f"WEAK LABELS: {text[:1].upper()}{text[1:]}", mild=True))
    return found


def primary_result(facts: Facts) -> Value:
    """The primary metric of the protocol with its interval and its cases."""
    result, about, part = facts.headline, metric_name(facts.primary), facts.evaluation.part
    if result is None:
        return Value(
            f"{about.title} on the {part} part", NOT_AVAILABLE, "", f"{about.title} was not computed."
        )
    limits = interval(result.low, result.high)
    within = f"95 % interval {limits}" if limits else f"no interval: {result.reason or 'no reason given'}"
    of_class = f"with {facts.classes[0]}" if facts.segments else "positive"
    positives = f" ({number(result.positives)} of them {of_class})" if result.positives is not None else ""
    groups = f" of {count(result.groups, facts.group)}" if facts.unit != facts.group else ""
    name = f"{about.title} of {shortened(result.label, 40)}" if result.label else about.title
    if result.classes is not None:
        name += f", mean over {result.classes[0]} of {result.classes[1]} classes,"
    if facts.evaluates_further:
        name = f"{name.rstrip(',')}, target {shortened(facts.target.name, 40)},"
    sample = f"{count(result.n, facts.unit)}{positives}{groups}."
    return Value(f"{name} on the {part} part", score(result.value), within, sample)


def other_results(facts: Facts) -> list[Value]:
    """The other results over all classes."""
    found = [each for each in facts.evaluation.results if each is not facts.headline and not each.label]
    tiles = []
    for each in found[:TILES]:
        about, text = metric_name(each.metric), score(each.value)
        unit = f" {about.unit}" if about.unit in ("mm", "classes") and text != NOT_AVAILABLE else ""
        limits = interval(each.low, each.high)
        tiles.append(
            Value(about.title, f"{text}{unit}", limits or f"no interval: {each.reason or 'no reason given'}")
        )
    return tiles


def meaning(facts: Facts) -> list[str]:
    """The definition of the primary metric, and the meaning of its interval."""
    result, about = facts.headline, metric_name(facts.primary, exclusive=facts.exclusive)
    text = [f"{about.title} is {about.meaning}."] if about.meaning else []
    if result is not None and interval(result.low, result.high):
        text.append(
            f"The interval shows how the value varies with other {plural(facts.group)} like these. It does not cover "
            "other places, devices, years, labels or seeds."
        )
    return text
