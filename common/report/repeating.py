"""The command that does a run again."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graftwork.common import domain
from graftwork.common.errors import GraftworkError
from graftwork.common.recipe import load
from graftwork.common.recipe.toml import value_text
from graftwork.common.report.wording import shortened

if TYPE_CHECKING:
    from graftwork.common.report.facts import Facts

__all__ = ["Repeat", "command_of", "repeat_of"]

OVERRIDES = 6  # in a command; where more differ, the recipe is better given as a file


@dataclass(frozen=True)
class Repeat:
    """How to do it again."""

    sentence: str
    command: str
    data: str


def repeat_of(facts: Facts) -> Repeat:
    """The command that does it again."""
    command = command_of(facts)
    sentence = (
        "Save the recipe above as recipe.toml (it lies in the run's folder), then:"
        if "recipe.toml" in command
        else "With the same version of graftwork:"
    )
    about = facts.dataset
    where = f" ({shortened(about.title, 120)})" if about is not None else ""
    return Repeat(
        sentence,
        command,
        f"DIR is the folder of {facts.manifest.dataset}{where}, laid out as its publisher gives it. The same "
        "recipe, data, versions and kind of machine give the same bytes.",
    )


def command_of(facts: Facts) -> str:
    """The shortest command that asks for the same: the recipe's name with overrides, or the recipe as a file."""
    fallback = "graftwork run recipe.toml --data DIR"
    try:
        text, where = domain.recipe_text(facts.name)
        base = load(text, where=where)
        changed = _changes(base.model_dump(mode="json"), facts.recipe.model_dump(mode="json"))
        overrides = [f"{key}={value_text(value)}" for key, value in changed.items()]
        if (
            facts.recipe.backbone.file
            or len(overrides) > OVERRIDES
            or load(text, overrides=overrides, where=where) != facts.recipe
        ):
            return fallback
    except (GraftworkError, TypeError):
        return fallback
    return " ".join(["graftwork run", shlex.quote(facts.name), "--data DIR", *map(shlex.quote, overrides)])


def _changes(base: dict[str, Any], now: dict[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in now.items():
        if isinstance(value, dict):
            found |= _changes(base.get(key) or {}, value, f"{above}{key}.")
        elif value != base.get(key):
            found[f"{above}{key}"] = value
    return found
