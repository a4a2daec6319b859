"""The keys of a recipe in words: what each expects, and suggestions for misspelt ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graftwork.common.recipe.toml import value_text

HUGE = 100_000  # limits from here on only catch typing errors and are not shown


@dataclass(frozen=True)
class Key:
    """One key of a recipe.

    Attributes:
        name: dotted, `training.epochs`.
        section: `training`, or empty at the top.
        kind: the JSON type: `string`, `integer`, `number`, `boolean`, `array`.
        expected: the allowed values, in words.
        default: in TOML; `required` or `absent` where there is none.
        unit: empty where it has none.
        description: what it does.
        choices: the values of a key that takes one of a few.
    """

    name: str
    section: str
    kind: str
    expected: str
    default: str
    unit: str
    description: str
    choices: tuple[str, ...] = ()


def keys_of(schema: Mapping[str, Any]) -> dict[str, Key]:
    """Every key of a JSON Schema of tables in tables, by its dotted name, in the order of the schema."""
    return {key.name: key for key in _walk(schema, schema, "")}


def _walk(whole: Mapping[str, Any], table: Mapping[str, Any], section: str) -> Iterator[Key]:
    for name, entry in table["properties"].items():
        dotted = f"{section}.{name}" if section else name
        if "$ref" in entry:
            yield from _walk(whole, whole["$defs"][entry["$ref"].rpartition("/")[2]], dotted)
            continue
        default = value_text(entry["default"]) if "default" in entry else "absent"
        yield Key(
            dotted,
            section,
            entry["type"],
            _expected(entry),
            "required" if name in table.get("required", ()) else default,
            entry.get("x-unit", ""),
            entry["description"],
            tuple(entry.get("enum", entry.get("items", {}).get("enum", ()))),
        )


def _expected(entry: Mapping[str, Any]) -> str:
    if "x-expected" in entry:
        return str(entry["x-expected"])
    if "enum" in entry or "const" in entry:
        return _either(entry.get("enum", [entry.get("const")]))
    if entry["type"] == "array":
        items = entry["items"]
        if "enum" in items:
            return f"a list of {_either(items['enum'])}"
        return f"a list of three numbers {_range(items)}, or an empty one"
    if entry["type"] in ("integer", "number"):
        noun = "a whole number" if entry["type"] == "integer" else "a number"
        return f"{noun} {_range(entry)}".rstrip()
    return {"boolean": "true or false", "string": "text"}[entry["type"]]


def _either(values: Iterable[str]) -> str:
    quoted = [f'"{value}"' for value in values]
    return f"{', '.join(quoted[:-1])} or {quoted[-1]}" if len(quoted) > 1 else quoted[0]


def _range(entry: Mapping[str, Any]) -> str:
    """From the four limits of a JSON Schema to words: `from 0 to 1`, `above 0`, `at least 1`."""
    low, above = entry.get("minimum"), entry.get("exclusiveMinimum")
    high, below = entry.get("maximum"), entry.get("exclusiveMaximum")
    if high is not None and high >= HUGE:
        high = None
    if low is not None and high is not None:
        return f"from {low:g} to {high:g}"
    start = f"at least {low:g}" if low is not None else f"above {above:g}" if above is not None else ""
    end = f"at most {high:g}" if high is not None else f"below {below:g}" if below is not None else ""
    return " and ".join(part for part in (start, end) if part)


def found_text(value: object) -> str:
    """A value for a message: TOML, shortened."""
    if isinstance(value, dict):
        return "a table"
    text = printable(value_text(value))
    return text if len(text) <= 60 else f"{text[:57]}..."


def printable(text: str) -> str:
    """Text with invisible and terminal-control characters written as escapes."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )


def nearest(name: str, candidates: Iterable[str]) -> list[str]:
    """The at most two candidates most similar to `name`, best first; none if nothing is similar.

    Dotted names are compared as wholes and by their last part, so `epochs` finds `training.epochs`; in one
    section only the last part counts.
    """
    section, _, last = name.casefold().rpartition(".")
    scored = []
    for candidate in candidates:
        home, _, tail = candidate.casefold().rpartition(".")
        alike = _likeness(last, tail)
        score = (
            alike if home == section else max(0.95 * alike, _likeness(name.casefold(), candidate.casefold()))
        )
        scored.append((score, candidate))
    best = max((score for score, _ in scored), default=0.0)
    if best < 0.65:
        return []
    return [candidate for score, candidate in scored if score > best - 0.01][:2]


def _likeness(first: str, second: str) -> float:
    return difflib.SequenceMatcher(None, first, second, autojunk=False).ratio()
