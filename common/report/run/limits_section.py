"""The section on limits: of the run, of its data, and from the data card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graftwork.common.report.formatting import count, sentence
from graftwork.common.report.run.data_section import leak_sentence, quarantined
from graftwork.common.report.run.run_facts import limits_of
from graftwork.common.report.section import Section, section
from graftwork.common.wording import plural

if TYPE_CHECKING:
    from graftwork.common.report.run.run_facts import Facts


SMALL = 100  # groups in the test part: fewer give wide intervals
CONCLUSIVE = 5  # groups in the test part: fewer allow no conclusion


@section("run", 200)
def limits(facts: Facts) -> Section:
    """Of the run, its data and its data card."""
    found = [Section("Of this run", items=tuple(limits_of_run(facts)))]
    if facts.manifest.notes:
        found.append(Section("Of these data, from their loader", items=tuple(limits_of_data(facts))))
    blocks = [
        Section("", items=tuple(lines)) if kind == "list" else Section("", text=(" ".join(lines),))
        for kind, lines in limits_of(facts.card)
    ]
    no_card = f"No data card of {facts.manifest.dataset} is installed."
    empty = "The data card has no section on limits." if facts.card else no_card
    found.append(Section("From the data card", text=() if blocks else (empty,)))
    return Section("Limits", "limits", sections=(*found, *blocks))


def too_few(facts: Facts) -> str:
    """The warning on a test part with fewer than five groups; empty where it has more."""
    if facts.evaluation.groups >= CONCLUSIVE:
        return ""
    return (
        f"Only {count(facts.evaluation.groups, facts.group)} in the {facts.evaluation.part} part: too few for any "
        f"conclusion. The interval does not show what other {plural(facts.group)} would give."
    )


def limits_of_run(facts: Facts) -> list[str]:
    """What in the numbers of this run needs caution."""
    recipe, result = facts.recipe, facts.headline
    text = ["One run with one seed: this page does not show how the results vary with the seed."]
    if too_few(facts):
        text.append(too_few(facts))
    elif result is not None and result.groups < SMALL:
        text.append(
            f"The {facts.evaluation.part} part has {count(result.groups, facts.group)}: a few {plural(facts.group)} "
            "more or less change the results."
        )
    held = int((facts.split.parts == "validation").sum())
    if held < SMALL:
        epoch = "regularisation strength" if facts.solved else "epoch"
        what = f"threshold and {epoch} were" if facts.evaluation.thresholds else f"{epoch} was"
        text.append(f"The {what} chosen on only {count(held, f'validation {facts.image}')}.")
    epochs = recipe.training.epochs
    if not facts.solved and facts.best_epoch == len(facts.log) == epochs and epochs > 1:
        text.append("The chosen epoch is the last one: longer training may change the results.")
    if facts.quarantine:
        text.append(quarantined(facts))
    text += map(sentence, facts.evaluation.notes)
    if facts.leaks:
        text.append(f"{leak_sentence(facts)}.")
    return text


def limits_of_data(facts: Facts) -> list[str]:
    """The notes of the loader."""
    return [sentence(facts.scrub(note)) for note in facts.manifest.notes]
