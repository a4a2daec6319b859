"""What a shell offers when a word is begun: names, files, keys of a recipe and their values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from graftwork.common import verbs

__all__ = ["backbones", "formats", "names", "overrides_of_a_recipe", "recipes_or_files", "words"]


def _starting(words: Sequence[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]


def names(*kinds: str) -> Callable[[str], list[str]]:
    """What completes a name of "recipes", "datasets", "protocols"."""

    def complete(incomplete: str) -> list[str]:
        from graftwork.common.data import domain

        try:
            known = [name for kind in kinds for name in domain.names(kind)]  # type: ignore[arg-type]
        except Exception:  # a shell that completes is no place for an error
            return []
        return _starting(list(dict.fromkeys(known)), incomplete)

    return complete


def backbones() -> list[str]:
    """The backbones that `ls` lists, as `show` takes them."""
    return [entry.name for entry in verbs.ls("backbones")]


def formats(incomplete: str) -> list[str]:
    """The formats of predictions: ours, then those of the domains."""
    from graftwork.common.data import domain

    found = ["csv", "parquet"]
    for name in domain.domains():
        try:
            found += domain.domain(name).formats
        except Exception:  # a broken package is named by the verbs
            continue
    return _starting(list(dict.fromkeys(found)), incomplete)


def recipes_or_files(incomplete: str) -> list[str]:
    """Recipes, then .toml files and the folders on the way to them."""
    folder, _, begun = incomplete.rpartition("/")
    files = []
    try:
        for file in sorted(Path(folder or ("/" if incomplete.startswith("/") else ".")).iterdir()):
            if file.name.startswith(begun) and (begun or not file.name.startswith(".")):
                word = f"{folder}/{file.name}" if "/" in incomplete else file.name
                files += [f"{word}/"] if file.is_dir() else [word] if file.suffix == ".toml" else []
    except OSError:
        files = []
    return names("recipes")(incomplete) + files


def overrides_of_a_recipe(incomplete: str) -> list[str]:
    """Keys of a recipe, then their values where there are few."""
    keys = {key.name: key for key in verbs.recipe_keys()}
    name, equals, _ = incomplete.partition("=")
    if equals and name in keys:
        choices = keys[name].choices or (("true", "false") if keys[name].kind == "boolean" else ())
        return _starting([f"{name}={choice}" for choice in choices], incomplete)
    return _starting([f"{each}=" for each in keys], incomplete)


def words(*choices: str) -> Callable[[str], list[str]]:
    """What completes one of a few words."""
    return lambda incomplete: _starting(choices, incomplete)
