"""The best, the median and the worst unit with the outlines of truth and prediction, carried inside the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from graftwork.common.report.formatting import NOT_AVAILABLE, plural, score, shortened
from graftwork.common.report.run.mistakes import PICTURES, picture_uri

if TYPE_CHECKING:
    from graftwork.common.report.run.run_facts import Facts


@dataclass(frozen=True)
class Example:
    """A unit with its outlines: a `data:` address (or an empty one, and why) and its captions."""

    picture: str
    alt: str
    title: str
    caption: str
    origin: str
    absent: str


def examples_of(facts: Facts) -> list[Example]:
    """The pictures with captions, as many as the page has room for."""
    room, found = PICTURES, []
    for entry in facts.examples:
        picture = picture_uri(facts.folder / "examples", entry.get("picture"))
        fits = len(picture) <= room
        room -= len(picture) if fits else 0
        which, _, rest = str(entry.get("label") or entry.get("which", "")).partition(" ")
        value = score(float(entry["dice"])) if isinstance(entry.get("dice"), int | float) else NOT_AVAILABLE
        case, group = (shortened(facts.scrub(str(entry.get(key, ""))), 60) for key in ("case", "group"))
        title = f"{which.capitalize()} {rest}".strip()
        caption = facts.scrub(str(entry.get("caption", "")))
        found.append(
            Example(
                picture=picture if fits else "",
                alt=f"{title} {plural(facts.unit)}, {case}: outlines of truth and prediction. {caption}",
                title=f"{title} {plural(facts.unit)}: mean Dice {value}",
                caption=caption,
                origin=f"{facts.group} {group}" + (f", {facts.unit} {case}" if case != group else ""),
                absent="picture not kept" if fits else "left out: the page is full",
            )
        )
    return found


def examples_sentence(facts: Facts) -> str:
    """What the pictures are, or that there are none."""
    if not facts.examples:
        return f"None: the run drew no {facts.unit} of the test part."
    return (
        f"Chosen by the mean Dice over the classes, not by eye, from all {plural(facts.unit)} of the "
        f"{facts.evaluation.part} part in which truth or prediction holds something. Solid white: the border of the "
        "truth; dashed orange: that of the prediction."
    )
