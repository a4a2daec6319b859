"""List, show and copy what is available by name: recipes, datasets, protocols, weights and backbones."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from graftwork.common.errors import GraftworkError, RecipeError, UsageError, require_training
from graftwork.common.files.untrusted_files import is_file

if TYPE_CHECKING:
    from graftwork.common.networks.architectures import Figures
    from graftwork.common.recipe import Recipe
    from graftwork.common.recipe.keys import Key


Kind = Literal["recipes", "datasets", "protocols", "weights", "backbones"]
StrPath = str | os.PathLike[str]
RECIPE_KEYS = "recipe-keys"  # the name of the table of keys in `show`


@dataclass(frozen=True)
class Entry:
    """One line of `ls`.

    Attributes:
        kind: "recipes", "datasets", "protocols", "weights" or "backbones".
        name: the name for other commands.
        title: the title for readers.
        about: for a recipe, the expected score; for a dataset, its classes and groups; for a protocol, its
            source; for weights, their origin and licence; for a backbone, where its weights are available.
    """

    kind: Kind
    name: str
    title: str
    about: str


@dataclass(frozen=True)
class BackboneEntry(Entry):
    """One backbone in `ls`. `weights` lists its sources: "file", "package", "hub cache", "hub"."""

    figures: Figures
    licence: str
    weights: tuple[str, ...]


@dataclass(frozen=True)
class Shown:
    """The result of `show`: a kind ("recipe", "dataset", "protocol", "keys", "backbone"), its text and its origin.

    Attributes:
        about: for a backbone, the facts of the text as values.
    """

    kind: str
    name: str
    text: str
    where: str
    about: dict[str, Any] = field(default_factory=dict)


def ls(kind: Kind | None = None) -> list[Entry]:
    """List the available recipes, datasets, protocols, pretrained weights and backbones.

    Weights are listed if they are available offline.

    Args:
        kind: "recipes", "datasets", "protocols", "weights" or "backbones". None: all of them.

    Raises:
        UsageError: the kind is unknown.
    """
    kinds = get_args(Kind)
    if kind is None:
        return [entry for each in kinds for entry in ls(each)]
    if kind not in kinds:
        from graftwork.common.recipe.keys import nearest

        close = nearest(kind, kinds)
        remedy = f"did you mean {close[0]}?" if close else f"use one of {', '.join(kinds)}"
        raise UsageError(f"unknown kind: {kind}", where="ls", remedy=remedy)
    if kind == "weights":
        return _weights()
    if kind == "backbones":
        return _backbones()
    from graftwork.common.data.domain import names

    describe = {"recipes": _about_recipe, "datasets": _about_dataset, "protocols": _about_protocol}[kind]
    return [entry for name in names(kind) if (entry := _or_warn(describe, name)) is not None]


def _or_warn(describe: Callable[[str], Entry], name: str) -> Entry | None:
    """Describe an entry; a broken entry, such as one of an external package, is a warning and hides no other."""
    try:
        return describe(name)
    except GraftworkError as error:
        import logging

        logging.getLogger("graftwork").warning("%s is skipped: %s", name, error)
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
    """The comments at the head of a recipe: `# cost: ...`, `# expect: ...`, continued on indented lines."""
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
    classes = ", ".join(about.target.classes) or "the classes in its table"
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
    """The backbones of each family, from the table in families.csv; no network is built."""
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
                about if here or each.repository else "your own file",
                each,
                own[0].licence if own else each.licence,
                (*dict.fromkeys(here), *(["hub"] if each.repository else [])),
            )
        )
    return list(found)


def _backbone(name: str) -> Shown:
    """The text of `show backbone/NAME`: the size and cost of each stage, and the available weights."""
    require_training(f"graftwork show backbone/{name}")
    from graftwork.common.networks.architectures import architecture_of, describe
    from graftwork.common.networks.backbones import create_backbone, sizes_of
    from graftwork.common.networks.costs import multiply_adds, parameters
    from graftwork.common.networks.weights import available, hub_cached

    architecture, tag = architecture_of(name)
    backbone = create_backbone(name, weights=None, seed=0)
    held, costs = parameters(backbone), multiply_adds(backbone, backbone.input_size)
    whole, work = sum(held.values()), sum(costs.values())
    described = describe(architecture, tag)
    repository = described.repository if described is not None else ""
    licence = described.licence if described is not None else ""
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
        f"- multiply-adds of an image at {backbone.input_size} px: {work / 1e9:.3f} G",
        f"- image size: {backbone.input_size} px; accepts: {about['sizes']}",
        f"- features: {backbone.width:,}",
        f"- mean and standard deviation of the usual weights: {_few(backbone.mean)} and {_few(backbone.std)}",
        f"- licence of the usual weights: {licence or 'unknown'}",
        "", "| stage | parameters | share | multiply-adds, M | share |", "| --- | ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    lines += [
        f"| {stage} | {number:,} | {number / whole:.1%} | {costs[stage] / 1e6:,.1f} | {costs[stage] / work:.1%} |"
        for stage, number in held.items()
    ]
    lines += ["", "Pretrained weights:", ""]
    lines += [
        f"- available, {each.source}: {each.origin}; {each.trained_on}; {each.licence or 'no licence'}; "
        f"mean {_few(each.mean)}, standard deviation {_few(each.std)}"
        for each in records
    ]
    if repository:
        where = "available, in the hub cache" if cached else "by download"
        lines.append(
            f'- {where}, with backbone.weights = ["hub"]: {repository} ({described.tag if described else ""})'
        )
    if not records and cached is None:
        lines.append(
            "- none on this machine; you can use your own safetensors file with a card beside it (backbone.file)"
        )
    return Shown("backbone", f"backbone/{name}", "\n".join(lines) + "\n", "timm", about)


def _few(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def show(name: str, kind: str | None = None) -> Shown:
    """Show a recipe, the card of a dataset, the methods of a protocol, or the stages of a backbone.

    If a dataset and a protocol have the same name, the dataset is shown; `--kind protocol` or `protocol/NAME` shows
    the protocol. `recipe-keys` shows every key of a recipe with its values, its default and its meaning.
    `backbone/NAME` shows the stages of any network in timm, and its available pretrained weights.

    Args:
        name: a name that `ls` lists.
        kind: "recipe", "dataset" or "protocol". None: the first that has this name.

    Raises:
        UsageError: the name is unknown; suggests similar names.
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
            remedy = f"use one of {', '.join(sources)}"
            raise UsageError(f"unknown kind: {kind}", where="show", remedy=remedy)
        return sources[kind]()
    known = {each: domain.names(f"{each}s") for each in ("recipe", "dataset", "protocol")}  # type: ignore[arg-type]
    for each, found in known.items():
        if name in found:
            return sources[each]()
    from graftwork.common.recipe.keys import nearest

    everything = dict.fromkeys(one for found in known.values() for one in found)
    close = nearest(name, everything) or [one for one in everything if one.startswith(f"{name}/")][:3]
    remedy = f"did you mean {' or '.join(close)}?" if close else "run `graftwork ls` for a list"
    raise UsageError("no recipe, dataset or protocol has this name", where=repr(name), remedy=remedy)


def _methods(name: str) -> Shown:
    from graftwork.common.data.domain import protocol

    found = protocol(name)
    return Shown("protocol", name, found.methods(), found.source)


def recipe_keys() -> list[Key]:
    """Every key of a recipe: its values, default, unit and meaning."""
    from graftwork.common.recipe import keys

    return list(keys().values())


def _key_table() -> str:
    """The keys as Markdown, one table for each section; also the text of docs/reference/recipe-keys.md."""
    lines: list[str] = []
    section = None
    for key in recipe_keys():
        if key.section != section:
            section = key.section
            lines += ["", f"## [{section}]" if section else "## Top level", ""]
            lines += ["| key | values | default | unit | meaning |", "| --- | --- | --- | --- | --- |"]
        cells = (f"`{key.name}`", key.expected, f"`{key.default}`", key.unit, key.description)
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines).strip() + "\n"


def cp(recipe: str, to: StrPath = ".") -> Path:
    """Copy a recipe, so that you can edit it. No file is overwritten.

    Args:
        recipe: a name that `ls recipes` lists.
        to: a folder, or the new file (FILE.toml).

    Returns:
        the new file.

    Raises:
        UsageError: the recipe is unknown, or the file exists.
    """
    from graftwork.common.data.domain import recipe_text
    from graftwork.common.files import write_text

    text, _ = recipe_text(recipe)
    target = Path(to)
    if target.suffix != ".toml" or target.is_dir():
        target = target / f"{recipe.rpartition('/')[2]}.toml"
    if target.exists() or target.is_symlink():
        remedy = "choose another name, or remove the file"
        raise UsageError("the file already exists", where=target, remedy=remedy)
    write_text(target, text)
    return target


def find_recipe(recipe: StrPath, overrides: str | Sequence[str] = ()) -> tuple[str, Recipe]:
    """Load a recipe by name or from a .toml file, with `key=value` overrides.

    Returns:
        the name of its runs (for a file: its name without .toml), and the recipe.

    Raises:
        UsageError: the recipe is unknown; suggests similar names.
        RecipeError: the recipe or an override is invalid; lists all errors.
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
            raise UsageError(
                "there is no such file", where=recipe, remedy=f"use the name of the recipe: {name}"
            )
        return path.stem, load(path, overrides=overrides)
    recipe_text(recipe)  # raises, and suggests similar names
    raise UsageError("no recipe has this name", where=repr(recipe), remedy="run `graftwork ls recipes`")
