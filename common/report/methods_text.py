"""The methods section of a protocol, block by block, as a page sets it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graftwork.common.evaluation import Evaluation, Protocol

__all__ = ["Block", "blocks_of", "methods_of"]


@dataclass(frozen=True)
class Block:
    """A paragraph of the methods, or (`items`) a list."""

    text: str = ""
    items: tuple[str, ...] = ()


def methods_of(protocol: Protocol, evaluation: Evaluation) -> list[Block]:
    """The methods section of a protocol, without its heading, as an evaluation followed it."""
    chosen = next((each for each in evaluation.thresholds if not math.isnan(each.value)), None)
    text = protocol.methods(
        replicates=evaluation.bootstrap,
        confidence=evaluation.confidence,
        group=evaluation.group,
        target=0.95 if chosen is None else chosen.target,
        rule="" if chosen is None else chosen.rule,
        chosen_on="validation" if chosen is None else chosen.chosen_on,
        unchosen=evaluation.thresholds[0].reason if evaluation.thresholds and chosen is None else "",
    )
    return blocks_of(text.partition("\n\n")[2])


def blocks_of(markdown: str) -> list[Block]:
    """Paragraphs and lists of a text in which an empty line parts them; bold and code are set as plain text."""
    found = []
    for part in filter(None, markdown.split("\n\n")):
        plain = re.sub(r"\*\*|`", "", part)
        lines = plain.splitlines()
        if all(line.startswith("- ") for line in lines):
            found.append(Block(items=tuple(line[2:] for line in lines)))
        else:
            found.append(Block(plain))
    return found
