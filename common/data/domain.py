"""The contract that a domain keeps, and the register of domains.

A domain is a package that registers under the entry point `graftwork.domains`, for the included and for external
domains:

    [project.entry-points."graftwork.domains"]
    my_domain = "my_package:DOMAIN"

Everything in it has a path for a name: `my_domain/my_dataset` is a dataset, its card and its protocol,
`my_domain/my_dataset_full` a recipe. Nothing is imported before it is asked for.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, Literal, cast

from graftwork.common.data.manifest import Manifest
from graftwork.common.data.targets import Target
from graftwork.common.errors import GraftworkError, UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from graftwork.common.data.checks.findings import Finding
    from graftwork.common.evaluation.protocols import Protocol


ENTRY_POINTS = "graftwork.domains"
_log = logging.getLogger("graftwork")
Kind = Literal["recipes", "datasets", "protocols", "cards"]


@dataclass(frozen=True)
class Dataset:
    """What a dataset module says of itself, as `DATASET`.

    Attributes:
        name: "my_domain/my_dataset".
        title: for people.
        group: what a group is, for people: "patient".
        target: what is to be predicted.
        protocol: the name, within the domain, of its evaluation protocol.
        licence: of the data, as the publisher states it.
        citation: how the data are cited.
        further: names of further protocols, in the order of a report: for other targets, or for combined cases
            (the frames of an event).
        known_as: further names that the data, or the collections that they are drawn from, go by; weights that say
            they were trained on one of them have seen these images.
        one_case_groups: whether each group is expected to have one case, as where a patient has one image.
    """

    name: str
    title: str
    group: str
    target: Target
    protocol: str
    licence: str
    citation: str
    further: tuple[str, ...] = ()
    known_as: tuple[str, ...] = ()
    one_case_groups: bool = False


_DEFINES = re.compile(r"^DATASET\b", re.MULTILINE)


def datasets_of(package: str) -> dict[str, str]:
    """The dataset modules of a package, name to path: those whose source defines `DATASET`. Nothing is imported."""
    try:
        spec = importlib.util.find_spec(package) if package else None
    except (ImportError, ValueError):
        spec = None
    folders = [Path(each) for each in (spec.submodule_search_locations or ())] if spec else []
    return {
        file.stem: f"{package}.{file.stem}"
        for folder in folders
        for file in sorted(folder.glob("*.py"))
        if _DEFINES.search(file.read_text("utf-8"))
    }


@dataclass(frozen=True)
class Domain:
    """What a domain's package offers, as the object that its entry point names.

    Attributes:
        name: "my_domain"; also the name of the entry point.
        title: for people.
        protocols: the path of a module that offers `PROTOCOLS`, a tuple of `Protocol`.
        recipes: the folder of its recipes, `<name>.toml`.
        cards: the folder of its data cards, `<dataset>.md`.
        datasets: name (without the domain's) to the path of its module, which is imported when asked for. Empty: the
            modules beside `protocols` that define `DATASET` are found, see `datasets_of`. A module offers
            `DATASET` and `read(root) -> Manifest`; it may offer `synthesize(folder, *, cases, seed)`, a small synthetic
            dataset, and `findings(root) -> Iterable[Finding]` for errors that only this layout can have.
        formats: files that its people exchange predictions in: name, as `predict --format` takes it, to
            "module:function"; see `graftwork.common.prediction.output_formats`.
        readers: of such files, ending (".json") to "module:function", which takes a path and returns a table of scores
            for `evaluate`: one row a case. Cases that were not processed are no rows; `attrs["failed"]` names them.
        box_readers: likewise, to tables of boxes; see `graftwork.common.external.box_files`.
    """

    name: str
    title: str
    protocols: str
    recipes: Traversable | Path
    cards: Traversable | Path
    datasets: Mapping[str, str] = field(default_factory=dict)
    formats: Mapping[str, str] = field(default_factory=dict)
    readers: Mapping[str, str] = field(default_factory=dict)
    box_readers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.datasets:
            object.__setattr__(self, "datasets", datasets_of(self.protocols.rpartition(".")[0]))
        for name in ("datasets", "formats", "readers", "box_readers"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))


@dataclass(frozen=True)
class LoadedDataset:
    """A dataset whose module has been imported.

    Attributes:
        domain: where it belongs.
        about: the module's `DATASET`.
        module: the module.
    """

    domain: Domain
    about: Dataset
    module: ModuleType

    @property
    def name(self) -> str:
        """ "my_domain/my_dataset"."""
        return self.about.name

    @property
    def protocol(self) -> str:
        """The full name of its evaluation protocol, "my_domain/my_dataset"."""
        return self._full(self.about.protocol)

    @property
    def further(self) -> tuple[str, ...]:
        """The full names of its further protocols."""
        return tuple(map(self._full, self.about.further))

    def _full(self, own: str) -> str:
        return own if "/" in own else f"{self.domain.name}/{own}"

    def read(self, root: str | os.PathLike[str]) -> Manifest:
        """The published layout below `root` as a manifest; reads tables and file names, never pixels.

        Raises:
            DatasetError: what was looked for, where, and what was found.
        """
        found = cast("Callable[[Any], Manifest]", self.module.read)(root)
        if isinstance(found, Manifest) and found.one_case_groups != self.about.one_case_groups:
            return replace(found, one_case_groups=self.about.one_case_groups)
        return found

    def findings(self, root: str | os.PathLike[str]) -> Iterable[Finding]:
        """What only this layout can have wrong with it, where its module looks for that."""
        own: Callable[[Any], Iterable[Finding]] = getattr(self.module, "findings", lambda _: ())
        return own(root)

    def synthesize(self, folder: str | os.PathLike[str], *, cases: int = 60, seed: int = 0) -> None:
        """Write a small synthetic dataset in the published layout; GraftworkError where the module offers none."""
        if not callable(getattr(self.module, "synthesize", None)):
            raise GraftworkError(
                "the module offers no synthesize, so it has no synthetic data",
                where=f"dataset {self.name!r} ({self.module.__name__})",
                remedy="use the real data; `check`, `run` and `predict` need no synthesize",
            )
        self.module.synthesize(folder, cases=cases, seed=seed)


class _Register(Mapping[str, Domain]):
    """The domains by name. A package is imported when its domain is asked for, and only then can it fail."""

    def __init__(self, found: Mapping[str, tuple[EntryPoint, ...]]) -> None:
        self._found = found
        self._loaded: dict[str, Domain] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __contains__(self, name: object) -> bool:
        return name in self._found

    def __getitem__(self, name: str) -> Domain:
        if name not in self._loaded:
            self._loaded[name] = _load(self._found[name])
        return self._loaded[name]


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.module.partition(".")[0]


def _load(points: tuple[EntryPoint, ...]) -> Domain:
    point = points[0]
    where = f"domain {point.name!r} of the package {_package(point)!r}"
    if len(points) > 1:
        raise GraftworkError(
            f"two packages register it: {', '.join(sorted(map(_package, points)))}",
            where=f"domain {point.name!r}",
            remedy="uninstall one of them",
        )
    try:
        found = point.load()
    except Exception as error:  # whatever an external module raises on import
        raise GraftworkError(
            f"{point.value} cannot be imported ({type(error).__name__}: {error})",
            where=where,
            remedy=f"update or uninstall {_package(point)}",
        ) from error
    if not isinstance(found, Domain):
        raise GraftworkError(
            f"{point.value} is a {type(found).__name__}, not a Domain",
            where=where,
            remedy="let the entry point name a `Domain`",
        )
    if found.name != point.name:
        raise GraftworkError(
            f"its Domain calls itself {found.name!r}, not {point.name!r}",
            where=where,
            remedy="give the Domain and its entry point the same name",
        )
    return found


@lru_cache(maxsize=1)
def domains() -> Mapping[str, Domain]:
    """The registered domains by name, in alphabetical order.

    Listing the names imports nothing. Asking for a domain whose package is broken raises a `GraftworkError`
    that names the package; the others are not affected.
    """
    from importlib.metadata import entry_points

    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: (point.name, point.value)):
        others = found.get(point.name, ())
        # one package may be seen twice (an editable install beside its folder): same value, same thing
        if all((other.value, _package(other)) != (point.value, _package(point)) for other in others):
            found[point.name] = (*others, point)
    return _Register(found)


def domain(name: str) -> Domain:
    """The domain of this name.

    Raises:
        UsageError: there is none; says which are near.
        GraftworkError: its package is broken.
    """
    register = domains()
    if name not in register:
        raise _unknown("domain", name, list(register))
    return register[name]


def dataset(name: str) -> LoadedDataset:
    """The dataset of this name, "my_domain/my_dataset", its module imported.

    Raises:
        UsageError: there is none; says which are near.
        GraftworkError: its module is broken, or does not keep the contract.
    """
    home, own = _of(name, "dataset")
    if own not in home.datasets:
        raise _unknown("dataset", name, names("datasets"))
    module = _module(home, home.datasets[own])
    where = f"dataset {name!r} ({module.__name__})"
    about = getattr(module, "DATASET", None)
    if not isinstance(about, Dataset):
        raise GraftworkError(
            "the module offers no DATASET (a Dataset)",
            where=where,
            remedy="add DATASET, as docs/how-to/add-a-dataset.md shows",
        )
    if about.name != name:
        raise GraftworkError(
            f"its DATASET calls itself {about.name!r}",
            where=where,
            remedy="give DATASET the name under which the Domain lists its module",
        )
    if not callable(getattr(module, "read", None)):
        raise GraftworkError(
            "the module offers no read", where=where, remedy="write read(root) -> Manifest in it"
        )
    return LoadedDataset(home, about, module)


def protocol(name: str) -> Protocol:
    """The protocol of this name, "my_domain/my_dataset", or without its domain where only one has it.

    Raises:
        UsageError: there is none; says which are near.
        GraftworkError: its module is broken.
    """
    if "/" not in name:
        alike = [each for each in names("protocols") if each.rpartition("/")[2] == name]
        name = alike[0] if len(alike) == 1 else name
    home, own = _of(name, "protocol")
    for found in _protocols(home):
        if found.name in (own, name):
            return found
    raise _unknown("protocol", name, names("protocols"))


def card(name: str) -> str:
    """The data card of a dataset, as Markdown with YAML front matter.

    Raises:
        UsageError: there is none; says which are near.
    """
    home, own = _of(name, "card")
    return _text(home.cards, f"{own}.md", "card", name)[0]


def recipe_text(name: str) -> tuple[str, str]:
    """A recipe's TOML and where it lies, for messages.

    Raises:
        UsageError: there is none; says which are near.
    """
    home, own = _of(name, "recipe")
    return _text(home.recipes, f"{own}.toml", "recipe", name)


def names(kind: Kind) -> list[str]:
    """All names of "recipes", "datasets", "protocols" or "cards", in alphabetical order.

    A domain whose package is broken is left out and named in the log; asking for it says why.
    """
    found: list[str] = []
    for name in domains():
        try:
            home = domains()[name]
            if kind == "datasets":
                own = list(home.datasets)
            elif kind == "protocols":
                own = [each.name.rpartition("/")[2] for each in _protocols(home)]
            elif kind in ("recipes", "cards"):
                folder, suffix = (home.recipes, ".toml") if kind == "recipes" else (home.cards, ".md")
                files = [file.name for file in folder.iterdir()]
                own = [file.removesuffix(suffix) for file in files if file.endswith(suffix)]
            else:
                raise UsageError(
                    f"there are recipes, datasets, protocols and cards, not {kind!r}", where="kind"
                )
        except UsageError:
            raise
        except GraftworkError as error:
            _log.warning("%s", error)
            continue
        except OSError as error:
            _log.warning("domain %r: its %s cannot be listed (%s)", name, kind, error.strerror or error)
            continue
        found += [f"{name}/{each}" for each in own]
    return sorted(found)


def _of(name: str, kind: str) -> tuple[Domain, str]:
    first, slash, own = name.partition("/")
    if not slash or first not in domains():
        raise _unknown(kind, name, names(cast("Kind", f"{kind}s")))
    return domains()[first], own


def _unknown(kind: str, name: str, known: list[str]) -> UsageError:
    # a name given without its domain is near the one with it
    near = [each for each in known if each.rpartition("/")[2] == name]
    near += [each for each in difflib.get_close_matches(name, known, n=3, cutoff=0.5) if each not in near]
    remedy = f"the nearest: {', '.join(near[:3])}" if near else f"there are: {', '.join(known) or 'none'}"
    return UsageError(f"there is no {kind} of this name", where=repr(name), remedy=remedy)


def _module(home: Domain, path: str) -> ModuleType:
    try:
        return importlib.import_module(path)
    except Exception as error:  # whatever an external module raises on import
        package = next((_package(point) for point in _points(home.name)), path.partition(".")[0])
        raise GraftworkError(
            f"{path} cannot be imported ({type(error).__name__}: {error})",
            where=f"domain {home.name!r} of the package {package!r}",
            remedy=f"update or uninstall {package}",
        ) from error


def _points(name: str) -> tuple[EntryPoint, ...]:
    register = domains()
    return register._found.get(name, ()) if isinstance(register, _Register) else ()


def _protocols(home: Domain) -> tuple[Protocol, ...]:
    module = _module(home, home.protocols)
    found = getattr(module, "PROTOCOLS", None)
    if not isinstance(found, tuple):
        where = f"domain {home.name!r} ({home.protocols})"
        raise GraftworkError(
            "the module offers no PROTOCOLS (a tuple)",
            where=where,
            remedy="add PROTOCOLS, a tuple of `Protocol`",
        )
    return cast("tuple[Protocol, ...]", found)


def _text(folder: Traversable | Path, file: str, kind: str, name: str) -> tuple[str, str]:
    known = names(cast("Kind", f"{kind}s"))
    if name not in known:  # looked up, never joined: a name with '..' reaches no file
        raise _unknown(kind, name, known)
    place = folder / file
    return place.read_text(encoding="utf-8"), str(place)
