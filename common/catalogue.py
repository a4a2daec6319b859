"""What there is, by name: recipes, datasets, protocols, weights; and how to look at one or take a copy."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from graftwork.common.errors import GraftworkError, RecipeError, UsageError
from graftwork.common.files.untrusted_files import is_file

if TYPE_CHECKING:
    from graftwork.common.networks.architectures import Figures
    from graftwork.common.recipe import Recipe
    from graftwork.common.recipe.keys import Key


Kind = Literal["recipes", "datasets", "protocols", "weights", "backbones"]
Words = str | os.PathLike[str]
RECIPE_KEYS = "recipe-keys"  # what `show` calls the table of keys


@dataclass(frozen=True)
class Entry:
    """One line of `ls`.

    Attributes:
        kind: "recipes", "datasets", "protocols", "weights" or "backbones".
        name: what the other verbs call it.
        title: for people.
        about: of a recipe, the score to expect; of a dataset, its classes and groups; of a protocol, its
            source; of weights, where they lie and their licence; of a backbone, where its weights are to be had.
    """

    kind: Kind
    name: str
    title: str
    about: str


@dataclass(frozen=True)
class BackboneEntry(Entry):
    """One backbone in `ls`, with what is known of it; `weights`: "file", "package", "hub cache", "hub"."""

    figures: Figures
    licence: str
    weights: tuple[str, ...]


@dataclass(frozen=True)
class Shown:
    """What `show` found: its kind ("recipe", "dataset", "protocol", "keys", "backbone"), its text, where it lies.

    Attributes:
        about: of a backbone, the same as values.
    """

    kind: str
    name: str
    text: str
    where: str
    about: dict[str, Any] = field(default_factory=dict)


def ls(kind: Kind | None = None) -> list[Entry]:
    """List what there is: recipes, datasets, protocols, the weights to be had without a network, and backbones.

    Args:
        kind: one of them; None for all.

    Raises:
        UsageError: there is no such kind.
    """
    kinds = get_args(Kind)
    if kind is None:
        return [entry for each in kinds for entry in ls(each)]
    if kind not in kinds:
        from graftwork.common.recipe.keys import nearest

        close = nearest(kind, kinds)
        remedy = f"did you mean {close[0]}?" if close else f"there are {', '.join(kinds)}"
        raise UsageError(f"nothing of this kind: {kind}", where="ls", remedy=remedy)
    if kind == "weights":
        return _weights()
    if kind == "backbones":
        return _backbones()
    from graftwork.common.data.domain import names

    describe = {"recipes": _about_recipe, "datasets": _about_dataset, "protocols": _about_protocol}[kind]
    return [entry for name in names(kind) if (entry := _or_warn(describe, name)) is not None]


def _or_warn(describe: Callable[[str], Entry], name: str) -> Entry | None:
    """One broken entry, of a stranger's package for one, does not hide the others."""
    try:
        return describe(name)
    except GraftworkError as error:
        import logging

        logging.getLogger("graftwork").warning("%s is left out: %s", name, error)
        return None


def _about_recipe(name: str) -> Entry:
    from graftwork.common.data.domain import recipe_text

    text, where = recipe_text(name)
    try:
        title = str(tomllib.loads(text).get("title", ""))
    except ValueError as error:
        raise RecipeError(f"not valid TOML: {error}", where=where) from error
    return Entry("recipes", name, title, _head(text).get("expect", ""))


def _head(text: str) -> dict[str, str]:
    """What the comments at a recipe's head say: `# cost: ...`, `# expect: ...`, further lines indented."""
    found: dict[str, str] = {}
    word = ""
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        comment = line[1:].removeprefix(" ")
        name, colon, rest = comment.partition(":")
        if colon and name.isalpha() and name.islower():
            word, found[name] = name, rest.strip()
        elif word and comment.startswith("  "):
            found[word] += f" {comment.strip()}"
        else:
            word = ""
    return found


def _about_dataset(name: str) -> Entry:
    from graftwork.common.data.domain import dataset

    about = dataset(name).about
    classes = ", ".join(about.target.classes) or "the classes that its table names"
    return Entry("datasets", name, about.title, f"{about.target.kind}: {classes}; grouped by {about.group}")


def _about_protocol(name: str) -> Entry:
    from graftwork.common.data.domain import protocol

    found = protocol(name)
    return Entry("protocols", name, found.title, found.source)


def _weights() -> list[Entry]:
    from graftwork.common.networks.weights import available

    return [
        Entry("weights", each.backbone, each.trained_on, f"{each.origin}; {each.licence or 'no licence'}")
        for each in available()
    ]


def _backbones() -> list[Entry]:
    """The backbones of each family, from the table of their figures; nothing is built."""
    from graftwork.common.networks.architectures import figures
    from graftwork.common.networks.weights import available, hub_cached

    records, found = available(), []
    for each in figures():
        own = [record for record in records if record.backbone == each.name]
        here = [record.source for record in own]
        here += ["hub cache"] if each.repository and hub_cached(each.repository) else []
        about = f"here, {' and '.join(dict.fromkeys(here))}" if here else "from the hub"
        found.append(
            BackboneEntry(
                "backbones",
                f"backbone/{each.name}",
                f"{each.family}: {each.parameters / 1e6:.1f} M parameters, {each.multiply_adds / 1e9:.2f} G "
                f"multiply-adds at {each.size} px, {each.stages} stages",
                about if here or each.repository else "a file of one's own",
                each,
                own[0].licence if own else each.licence,
                (*dict.fromkeys(here), *(["hub"] if each.repository else [])),
            )
        )
    return list(found)


def _backbone(name: str) -> Shown:
    """What `show backbone/NAME` shows: the stages with what they hold and cost, and where weights are to be had."""
    from graftwork.common.networks.architectures import architecture_of, describe
    from graftwork.common.networks.backbones import create_backbone, sizes_of
    from graftwork.common.networks.costs import multiply_adds, parameters
    from graftwork.common.networks.weights import available, hub_cached

    architecture, tag = architecture_of(name)
    backbone = create_backbone(name, weights=None, seed=0)
    held, costs = parameters(backbone), multiply_adds(backbone, backbone.input_size)
    whole, work = sum(held.values()), sum(costs.values())
    said = describe(architecture, tag)
    repository = said.repository if said is not None else ""
    licence = said.licence if said is not None else ""
    cached = hub_cached(repository) if repository else None
    records = [each for each in available() if each.backbone == architecture]
    about: dict[str, Any] = {
        "backbone": architecture,
        "parameters": whole,
        "multiply_adds": work,
        "size": backbone.input_size,
        "sizes": sizes_of(backbone),
        "width": backbone.width,
        "mean": backbone.mean,
        "std": backbone.std,
        "licence": licence,
        "stages": [
            {"name": stage, "parameters": number, "multiply_adds": costs[stage]}
            for stage, number in held.items()
        ],
        "weights": [each.to_json() for each in records],
        "hub": repository,
        "hub_cache": cached is not None,
    }
    lines = [
        f"# {architecture}", "",
        f"- parameters: {whole:,}",
        f"- multiply-adds of a picture at {backbone.input_size} px: {work / 1e9:.3f} G",
        f"- made for pictures of {backbone.input_size} px; sizes that it takes: {about['sizes']}",
        f"- features: {backbone.width:,}",
        f"- mean and deviation of the usual weights: {_few(backbone.mean)} and {_few(backbone.std)}",
        f"- licence of the usual weights: {licence or 'not said'}",
        "", "| stage | parameters | share | multiply-adds, M | share |", "| --- | ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    lines += [
        f"| {stage} | {number:,} | {number / whole:.1%} | {costs[stage] / 1e6:,.1f} | {costs[stage] / work:.1%} |"
        for stage, number in held.items()
    ]
    lines += ["", "Pretrained weights:", ""]
    lines += [
        f"- here, {each.source}: {each.origin}; {each.trained_on}; {each.licence or 'no licence'}; "
        f"mean {_few(each.mean)}, deviation {_few(each.std)}"
        for each in records
    ]
    if repository:
        where = "here, in the hub's cache" if cached else "with a network"
        lines.append(f'- {where} and backbone.weights = ["hub"]: {repository} ({said.tag if said else ""})')
    if not records and cached is None:
        lines.append(
            "- none here; a safetensors file of your own with a card beside it will do (backbone.file)"
        )
    return Shown("backbone", f"backbone/{name}", "\n".join(lines) + "\n", "timm", about)


def _few(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def show(name: str, kind: str | None = None) -> Shown:
    """Show a recipe, the card of a dataset, the methods of a protocol, or the stages of a backbone.

    A dataset and its protocol may share a name; the dataset comes first, --kind protocol asks for the other.
    `protocol/NAME` asks for it too. `recipe-keys` shows every key of a recipe with what it takes, its default and
    what it does; `backbone/NAME` the stages of any network of timm, and where pretrained weights are to be had.

    Args:
        name: as `ls` lists it.
        kind: "recipe", "dataset" or "protocol"; None for the first that there is.

    Raises:
        UsageError: there is nothing of this name; says which are near.
    """
    from graftwork.common.data import domain

    if name == RECIPE_KEYS and kind is None:
        return Shown("keys", name, _key_table(), "graftwork.common.recipe.sections")
    if name.startswith("backbone/") and kind in (None, "backbone"):
        return _backbone(name.removeprefix("backbone/"))
    if name.startswith("protocol/") and kind in (None, "protocol"):
        return _methods(name.removeprefix("protocol/"))
    sources: dict[str, Callable[[], Shown]] = {
        "recipe": lambda: Shown("recipe", name, *domain.recipe_text(name)),
        "dataset": lambda: Shown("dataset", name, domain.card(name), domain.dataset(name).module.__name__),
        "protocol": lambda: _methods(name),
    }
    if kind is not None:
        if kind not in sources:
            remedy = f"there are {', '.join(sources)}"
            raise UsageError(f"nothing of this kind: {kind}", where="show", remedy=remedy)
        return sources[kind]()
    known = {each: domain.names(f"{each}s") for each in ("recipe", "dataset", "protocol")}  # type: ignore[arg-type]
    for each, found in known.items():
        if name in found:
            return sources[each]()
    from graftwork.common.recipe.keys import nearest

    everything = dict.fromkeys(one for found in known.values() for one in found)
    close = nearest(name, everything) or [one for one in everything if one.startswith(f"{name}/")][:3]
    remedy = f"did you mean {' or '.join(close)}?" if close else "`graftwork ls` lists what there is"
    raise UsageError("there is no recipe, dataset or protocol of this name", where=repr(name), remedy=remedy)


def _methods(name: str) -> Shown:
    from graftwork.common.data.domain import protocol

    found = protocol(name)
    return Shown("protocol", name, found.methods(), found.source)


def recipe_keys() -> list[Key]:
    """Every key of a recipe: what it expects, its default, its unit, what it does."""
    from graftwork.common.recipe import keys

    return list(keys().values())


def _key_table() -> str:
    """The keys as Markdown, a table for each section; the page of the documentation is made from it."""
    lines: list[str] = []
    section = None
    for key in recipe_keys():
        if key.section != section:
            section = key.section
            lines += ["", f"## [{section}]" if section else "## At the top", ""]
            lines += ["| key | takes | default | unit | what it does |", "| --- | --- | --- | --- | --- |"]
        cells = (f"`{key.name}`", key.expected, f"`{key.default}`", key.unit, key.description)
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines).strip() + "\n"


def cp(recipe: str, to: Words = ".") -> Path:
    """Copy a recipe, to change it; nothing is overwritten.

    Args:
        recipe: as `ls recipes` lists it.
        to: a folder, or the name of the new file, which ends in .toml.

    Returns:
        the new file.

    Raises:
        UsageError: there is no such recipe, or the file exists.
    """
    from graftwork.common.data.domain import recipe_text
    from graftwork.common.files import write_text

    text, _ = recipe_text(recipe)
    target = Path(to)
    if target.suffix != ".toml" or target.is_dir():
        target = target / f"{recipe.rpartition('/')[2]}.toml"
    if target.exists() or target.is_symlink():
        remedy = "choose another name, or remove it"
        raise UsageError("exists, and is not overwritten", where=target, remedy=remedy)
    write_text(target, text)
    return target


def find_recipe(recipe: Words, overrides: str | Sequence[str] = ()) -> tuple[str, Recipe]:
    """The recipe of a name that `ls recipes` lists, or in a .toml file, with `key=value` overrides.

    Returns:
        the name that its runs go by (of a file: its name without .toml), and the recipe.

    Raises:
        UsageError: there is no such recipe; says which are near.
        RecipeError: all faults at once.
    """
    from graftwork.common.data.domain import names, recipe_text
    from graftwork.common.recipe import load

    overrides = [overrides] if isinstance(overrides, str) else overrides  # one override, not its letters
    path = Path(recipe)
    if isinstance(recipe, str) and recipe in names("recipes"):
        text, where = recipe_text(recipe)
        return recipe, load(text, overrides=overrides, where=where)
    if is_file(path, RecipeError) or path.suffix == ".toml" or not isinstance(recipe, str):
        if not path.exists() and str(recipe).removesuffix(".toml") in names("recipes"):
            name = str(recipe).removesuffix(".toml")
            raise UsageError("no such file", where=recipe, remedy=f"the registered recipe is called {name}")
        return path.stem, load(path, overrides=overrides)
    recipe_text(recipe)  # raises, and says which are near
    raise UsageError("there is no recipe of this name", where=repr(recipe))
