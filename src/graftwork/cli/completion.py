"""Shell completion of names, files, recipe keys and their values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from graftwork.common import verbs


def _starting(words: Sequence[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]


def names(*kinds: str) -> Callable[[str], list[str]]:
    """A function that completes names of these kinds: "recipes", "datasets", "protocols"."""

    def complete(incomplete: str) -> list[str]:
        from graftwork.common.data import domain

        try:
            known = [name for kind in kinds for name in domain.names(kind)]  # type: ignore[arg-type]
        except Exception:  # completion must not print an error
            return []
        return _starting(list(dict.fromkeys(known)), incomplete)

    return complete


def backbones() -> list[str]:
    """The backbones that `ls` lists, as `show` takes them."""
    return [entry.name for entry in verbs.ls("backbones")]


def formats(incomplete: str) -> list[str]:
    """The formats of predictions: csv and parquet, then those of the domains."""
    from graftwork.common.data import domain

    found = ["csv", "parquet"]
    for name in domain.domains():
        try:
            found += domain.domain(name).formats
        except Exception:  # the commands report a broken package
            continue
    return _starting(list(dict.fromkeys(found)), incomplete)


def recipes_or_files(incomplete: str) -> list[str]:
    """Recipes, then .toml files and folders."""
    folder, _, start = incomplete.rpartition("/")
    files = []
    try:
        for file in sorted(Path(folder or ("/" if incomplete.startswith("/") else ".")).iterdir()):
            if file.name.startswith(start) and (start or not file.name.startswith(".")):
                word = f"{folder}/{file.name}" if "/" in incomplete else file.name
                files += [f"{word}/"] if file.is_dir() else [word] if file.suffix == ".toml" else []
    except OSError:
        files = []
    return names("recipes")(incomplete) + files


def overrides_of_a_recipe(incomplete: str) -> list[str]:
    """Recipe keys, and their values if there are only a few."""
    keys = {key.name: key for key in verbs.recipe_keys()}
    name, equals, _ = incomplete.partition("=")
    if equals and name in keys:
        choices = keys[name].choices or (("true", "false") if keys[name].kind == "boolean" else ())
        return _starting([f"{name}={choice}" for choice in choices], incomplete)
    return _starting([f"{each}=" for each in keys], incomplete)


def words(*choices: str) -> Callable[[str], list[str]]:
    """A function that completes one of these words."""
    return lambda incomplete: _starting(choices, incomplete)
