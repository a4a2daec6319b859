"""Recipes: read TOML and `key=value` overrides into one frozen, typed object, and write it back.

`sections.py` defines the keys. `load` reports all errors of a recipe at once.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from graftwork.common.errors import RecipeError
from graftwork.common.files import hash_of
from graftwork.common.files.untrusted_files import read_text
from graftwork.common.recipe.consistency import contradictions, idle_under
from graftwork.common.recipe.keys import Key, found_text, keys_of, nearest
from graftwork.common.recipe.renamed_keys import (
    RENAMED,
    RENAMED_IN_PHASES,
    with_first_names,
    with_present_names,
)
from graftwork.common.recipe.sections import (
    SEED_EXPECTED,
    SEEDS,
    AugmentationSection,
    BackboneSection,
    DecoderSection,
    EvaluationSection,
    ImageSection,
    Section,
    SplitSection,
    TrainingSection,
    VolumeSection,
    key,
)
from graftwork.common.recipe.strategy import StrategySection
from graftwork.common.recipe.toml import LARGEST, key_lines, parse, value_text

__all__ = ["Recipe", "idle_under", "keys", "load", "schema", "to_toml"]

MANY = 50  # unknown keys listed one by one; a file with more is probably not a recipe


class Recipe(Section):
    """The settings of a run. It holds no paths, devices or code.

    Frozen and complete: defaults are resolved when it is made. `load` reads one from TOML; `to_toml` writes it back.
    """

    title: str = key(
        "One line that says what the recipe does.",
        min_length=1,
        max_length=200,
        pattern=r"^[^\r\n]*$",
        expected="one line of text",
    )
    dataset: str = key(
        "Dataset, as `graftwork ls datasets` names it.",
        pattern=r"^[A-Za-z0-9_]+/[A-Za-z0-9_.-]+$",
        expected='a name as in "domain/dataset"',
    )
    seed: int = key(
        "Seed of training and, where split.seed is absent, of the split.",
        0,
        ge=0,
        le=SEEDS,
        expected=SEED_EXPECTED,
    )
    offline: bool = key("Forbid every use of the network.", False)
    engine: Literal["auto", "torch", "onnxruntime", "openvino"] = key(
        "Library that computes frozen stages on a CPU: `auto` measures the installed ones once per network and machine "
        "and uses the fastest that agrees with torch; `torch` is the reference.",
        "auto",
    )
    backbone: BackboneSection = Field(default_factory=BackboneSection)
    image: ImageSection = Field(default_factory=ImageSection)
    decoder: DecoderSection = Field(default_factory=DecoderSection)
    volume: VolumeSection = Field(default_factory=VolumeSection)
    augmentation: AugmentationSection = Field(default_factory=AugmentationSection)
    split: SplitSection = Field(default_factory=SplitSection)
    strategy: StrategySection
    training: TrainingSection = Field(default_factory=TrainingSection)
    evaluation: EvaluationSection = Field(default_factory=EvaluationSection)

    @property
    def split_seed(self) -> int:
        """The seed of the split."""
        return self.seed if self.split.seed is None else self.split.seed

    @property
    def augments(self) -> bool:
        """Whether training images are augmented."""
        return any(value for name, value in self.augmentation.model_dump().items() if name != "views")

    def digest(self) -> str:
        """SHA-256 of the resolved recipe, 64 hex digits: equal recipes, equal digest, on every machine."""
        whole = self.model_dump(mode="json")
        if not whole["split"]["allow"]:
            del whole["split"]["allow"]  # older recipes lack this key and `engine`: their digests stay
        if whole["engine"] == "auto":
            del whole["engine"]
        return hash_of(with_first_names(whole))  # the names of runs stay when keys are renamed

    @model_validator(mode="after")
    def _agree(self) -> Recipe:
        found = contradictions(self.model_dump(exclude_unset=True), (), _defaults())
        if found:
            raise ValueError("; ".join(f"{concerned[0]}: {text}" for concerned, text in found))
        return self


def load(
    text_or_path: str | os.PathLike[str],
    *,
    overrides: Sequence[str] = (),
    where: str | None = None,
    of_a_run: bool = False,
) -> Recipe:
    """Read a recipe.

    Args:
        text_or_path: the TOML text (a str), or the path of a file (a `Path`).
        overrides: `key=value` words with a dotted key and a TOML value; a value that is not TOML is taken as text.
            The last value of a key counts.
        where: name of the recipe in messages; a path names itself.
        of_a_run: whether the text is the recipe.toml of a run: keys of earlier versions are then read under their
            present names, and refused otherwise.

    Raises:
        RecipeError: `faults` has a line per error: key, line number (or "command line"), what was expected,
            what was found, and for an unknown key the most similar one.
    """
    if isinstance(text_or_path, str):
        text, where = text_or_path, where or "recipe"
    else:
        text, where = read_text(text_or_path, RecipeError, largest=LARGEST), where or str(text_or_path)
    data = parse(text, where)
    if of_a_run:
        data = with_present_names(data)
    places = {".".join(name): f"line {line}" for name, line in key_lines(text).items()}
    faults = _Faults(places)
    for word in overrides:
        _override(data, word, faults)
    recipe = None
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        _explain(data, error, faults)
    if recipe is None or faults.lines:
        count = len(faults.lines)
        raise RecipeError(f"{count} error{'s' * (count > 1)}", faults=faults.in_order(), where=where)
    return recipe


class _Faults:
    """The errors found so far, at most one per key."""

    def __init__(self, places: dict[str, str]) -> None:
        self.places = places  # dotted key to "line 3" or "command line"
        self.lines: list[tuple[int, str]] = []
        self.blamed: set[str] = set()

    def add(self, name: str, text: str, *others: str) -> None:
        """`others`: keys involved in the same error; the first key that the text holds gives the line."""
        place = next((self.places[each] for each in (name, *others) if each in self.places), "")
        if not place:  # a missing key: the line of its section
            section = name.rpartition(".")[0]
            place = f"[{section}], {self.places[section]}" if section in self.places else ""
        self.blamed.add(name)
        digits = "".join(letter for letter in place if letter.isdigit())
        rank = int(digits) if digits else 1 << 62 if place else 0
        shown = name if name.isprintable() and len(name) <= 80 else found_text(name)
        self.lines.append((rank, f"{shown} ({place}): {text}" if place else f"{shown}: {text}"))

    def in_order(self) -> list[str]:
        return [line for _, line in sorted(self.lines, key=lambda fault: fault[0])]


def _override(data: dict[str, Any], word: str, faults: _Faults) -> None:
    name, equals, text = word.partition("=")
    name, text = name.strip(), text.strip()
    if not equals or not name:
        faults.places.setdefault(word, "command line")
        faults.add(word, "expected key=value, as in training.epochs=3")
        return
    if name not in keys() and name not in _sections():
        faults.places[name] = "command line"
        faults.add(name, _unknown(name))
        return
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # TOMLDecodeError is a ValueError
        table = {}
    value = table["value"] if set(table) == {"value"} else text
    if name in keys() and keys()[name].kind == "string" and not isinstance(value, str):
        value = text  # title=2026 is text
    section, _, last = name.rpartition(".")
    target = data.setdefault(section, {}) if section else data
    if not isinstance(target, dict):
        return  # the section itself is wrong and is reported as such
    if isinstance(value, dict) and name in _sections():
        for each, inner in value.items():
            _override(data, f"{name}.{each}={value_text(inner)}", faults)
        return
    target[last] = value
    faults.places[name] = "command line"


def _explain(data: dict[str, Any], error: ValidationError, faults: _Faults) -> None:
    """Turn the errors of pydantic, and contradictions between keys, into messages."""
    unknown = 0
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        path, inner = _place(fault["loc"])
        name = ".".join(path)
        if not path or name in faults.blamed:  # not path: a contradiction, added below
            continue
        if fault["type"] == "default_factory_not_called":  # it depends on another key, which is reported
            continue
        value: Any = data
        for part in path:
            value = value.get(part, _NOTHING) if isinstance(value, dict) else _NOTHING
        if fault["type"] == "extra_forbidden" and not inner:
            unknown += 1
            if unknown <= MANY:
                faults.add(name, _unknown(name, is_table=isinstance(value, dict)))
        elif name in keys():
            found = "nothing" if value is _NOTHING else found_text(value)
            faults.add(name, f"expected {keys()[name].expected}, found {found}{inner}")
        elif value is _NOTHING:  # a required section
            needed = [each for each in keys().values() if each.section == name and each.default == "required"]
            for each in needed:
                faults.add(each.name, f"expected {each.expected}, found nothing")
        else:
            faults.add(name, f"expected a table of keys, [{name}], found {found_text(value)}")
    if unknown > MANY:
        faults.add("...", f"{unknown - MANY} more unknown keys; is this a recipe?")
    for concerned, text in contradictions(data, faults.blamed, _defaults()):
        faults.add(concerned[0], text, *concerned[1:])


def _place(loc: tuple[int | str, ...]) -> tuple[list[str], str]:
    """The path of the key in which pydantic found an error and, within a list of tables, the place in words."""
    path: list[str] = []
    for at, part in enumerate(loc):
        if isinstance(part, int):
            within = [str(each) for each in loc[at + 1 :]]
            if within and within[-1] in RENAMED_IN_PHASES:
                return (
                    path,
                    f" ({within[-1]} of number {part + 1} is now called {RENAMED_IN_PHASES[within[-1]]})",
                )
            return path, f" ({'.'.join(within)} of number {part + 1} is wrong)" if within else ""
        path.append(part)
    return path, ""


_NOTHING = object()


def _unknown(name: str, *, is_table: bool = False) -> str:
    if name in RENAMED:
        return f"this key is now called {RENAMED[name]}"
    if is_table:
        close = nearest(name, _sections())
        listing = f"the sections are {', '.join(_sections())}"
        return f"unknown section; did you mean {close[0]}?" if close else f"unknown section; {listing}"
    close = nearest(name, keys())
    if close:
        return f"unknown key; did you mean {' or '.join(close)}?"
    section = name.rpartition(".")[0]
    siblings = [each.name for each in keys().values() if each.section == section]
    if siblings:
        return f"unknown key; the keys are {', '.join(siblings)}"
    return f"unknown key; the sections are {', '.join(_sections())}"


@cache
def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a recipe, for editors that check TOML while you type."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Recipe.model_json_schema()}


@cache
def keys() -> dict[str, Key]:
    """Every key of a recipe by its dotted name: expected value, default, unit, description."""
    return keys_of(schema())


@cache
def _sections() -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.section for each in keys().values() if each.section))


@cache
def _defaults() -> dict[str, Any]:
    named = {
        name: each.default for name, each in keys().items() if each.default not in ("required", "absent")
    }
    return {name: tomllib.loads(f"value = {text}")["value"] for name, text in named.items()}


def to_toml(recipe: Recipe) -> str:
    """The resolved recipe as TOML, with a comment on each section; `load(to_toml(recipe)) == recipe`."""
    return "\n".join(_lines(recipe)) + "\n"


def _lines(recipe: Recipe) -> Iterator[str]:
    section = ""
    for each in keys().values():
        table = getattr(recipe, each.section) if each.section else recipe
        if each.section != section:
            section = each.section
            yield from ("", f"[{section}]  # {str(type(table).__doc__).splitlines()[0]}")
        name = each.name.rpartition(".")[2]
        value = getattr(table, name)
        if value is None:
            yield f"# {name}: {each.description}"
        elif idle_under(recipe, each.name):
            yield f"# {name}: {idle_under(recipe, each.name)}"
        else:
            yield f"{name} = {value_text(_plain(value))}"


def _plain(value: Any) -> Any:
    """A value with sections as dictionaries, without the defaults of a phase."""
    if isinstance(value, Section):
        return value.model_dump(exclude_defaults=True)
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
