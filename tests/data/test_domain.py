"""The register of domains: a stranger's package is found as ours are, and a broken one harms no other."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from graftwork.common.data import domain
from graftwork.common.errors import GraftworkError, UsageError

INIT = """
from pathlib import Path
from graftwork.common.data.domain import Domain
HERE = Path(__file__).parent
DOMAIN = Domain(
    name="{name}", title="Pond life", datasets={{"newts": "{package}.newts", "broken": "{package}.broken"}},
    protocols="{package}.protocols", recipes=HERE / "recipes", cards=HERE / "cards",
)
"""
NEWTS = """
from graftwork.common.data.domain import Dataset
from graftwork.common.data.manifest import Target
DATASET = Dataset(
    name="pond/newts", title="Newts", group="pond", target=Target("sex", "binary", ("f", "m")),
    protocol="newts", licence="CC0", citation="nobody",
)
def read(root): return "read " + str(root)
def synthesize(folder, *, cases=60, seed=0): print(folder, cases, seed)
"""
PROTOCOLS = """
from types import SimpleNamespace
PROTOCOLS = (SimpleNamespace(name="newts"), SimpleNamespace(name="pond/toads"))
"""


class Site:
    """A place on the path where packages may be installed, with their entry points."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, package: str, files: dict[str, str], point: str = "pond", value: str = "") -> None:
        for name, text in files.items():
            file = self.folder / package / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        about = self.folder / f"{package}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package.replace('_', '-')}\nVersion: 1.0\n"
        )
        (about / "entry_points.txt").write_text(
            f"[graftwork.domains]\n{point} = {value or f'{package}:DOMAIN'}\n"
        )

    def pond(self, package: str = "graftwork_pond", name: str = "pond") -> None:
        files = {
            "__init__.py": INIT.format(name=name, package=package),
            "newts.py": NEWTS,
            "broken.py": "import a_package_that_is_not_there",
            "protocols.py": PROTOCOLS,
            "recipes/newts_full.toml": "title = 'Newts'\n",
            "recipes/notes.txt": "",
            "cards/newts.md": "---\nname: pond/newts\n---\n# Newts of the pond — Molche\n",
        }
        self.install(package, files)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    domain.domains.cache_clear()
    yield Site(folder)
    domain.domains.cache_clear()
    for name in [name for name in sys.modules if name.startswith(("graftwork_pond", "other_pond"))]:
        del sys.modules[name]


def test_a_strangers_package_registers_as_ours_do(site: Site) -> None:
    site.pond()
    assert "pond" in domain.domains()
    assert len(domain.domains()) == len(list(domain.domains())) >= 2
    assert domain.domain("pond").title == "Pond life"
    assert "pond/newts" in domain.names("datasets")
    assert "pond/newts_full" in domain.names("recipes")
    assert not [name for name in domain.names("recipes") if "notes" in name]
    assert "pond/newts" in domain.names("cards")
    assert {"pond/newts", "pond/toads"} <= set(domain.names("protocols"))
    assert domain.names("datasets") == sorted(domain.names("datasets"))


def test_a_strangers_dataset_is_loaded_and_used(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.pond()
    newts = domain.dataset("pond/newts")
    assert (newts.name, newts.domain.name, newts.protocol) == ("pond/newts", "pond", "pond/newts")
    assert newts.read("/x") == "read /x"  # type: ignore[comparison-overlap]
    newts.synthesize("/y", cases=3, seed=4)
    assert capsys.readouterr().out == "/y 3 4\n"
    assert "Molche" in domain.card("pond/newts")
    text, where = domain.recipe_text("pond/newts_full")
    assert text == "title = 'Newts'\n"
    assert Path(where).is_file()
    assert domain.protocol("pond/newts").name == "newts"
    assert domain.protocol("pond/toads").name == "pond/toads"


def test_nothing_is_imported_before_it_is_asked_for(site: Site) -> None:
    site.pond()
    assert "pond" in list(domain.domains())
    assert "graftwork_pond" not in sys.modules
    domain.names("datasets")
    assert "graftwork_pond" in sys.modules
    assert "graftwork_pond.newts" not in sys.modules


def test_a_broken_package_is_an_error_only_when_asked_for(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    ours = domain.names("datasets")
    domain.domains.cache_clear()
    site.install("graftwork_pond", {"__init__.py": "raise OSError('no water')"})
    assert "pond" in domain.domains()
    with caplog.at_level(logging.WARNING, logger="graftwork"):
        assert domain.names("datasets") == ours
    assert "graftwork-pond" in caplog.text
    assert domain.dataset(ours[0]).name == ours[0]
    for ask in (lambda: domain.domain("pond"), lambda: domain.dataset("pond/newts")):
        with pytest.raises(GraftworkError, match=r"'graftwork-pond'.*no water") as caught:
            ask()
        assert "uninstall graftwork-pond" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "AttributeError"),
        ("DOMAIN = 3", "is a int, not a Domain"),
        (INIT.format(name="lake", package="graftwork_pond"), "calls itself 'lake', not 'pond'"),
        ("import a_package_that_is_not_there", "a_package_that_is_not_there"),
        ("this is no Python", "SyntaxError"),
    ],
)
def test_what_is_wrong_with_a_package_is_said_with_its_name(site: Site, text: str, said: str) -> None:
    site.install("graftwork_pond", {"__init__.py": text})
    with pytest.raises(GraftworkError, match=said) as caught:
        domain.domain("pond")
    assert "graftwork-pond" in str(caught.value)


def test_two_packages_of_one_name_are_refused(site: Site) -> None:
    site.pond()
    site.pond("other_pond")
    with pytest.raises(GraftworkError, match="two packages register it: graftwork-pond, other-pond"):
        domain.domain("pond")


def test_a_broken_module_is_named(site: Site) -> None:
    site.pond()
    with pytest.raises(GraftworkError, match=r"graftwork-pond.*a_package_that_is_not_there"):
        domain.dataset("pond/broken")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no DATASET"),
        (NEWTS.replace("pond/newts", "pond/toads"), "calls itself 'pond/toads'"),
        (NEWTS.replace("def read", "def lies"), "no read"),
    ],
)
def test_a_module_that_does_not_keep_the_contract_is_refused(site: Site, text: str, said: str) -> None:
    site.pond()
    (site.folder / "graftwork_pond" / "newts.py").write_text(text)
    with pytest.raises(GraftworkError, match=said):
        domain.dataset("pond/newts")


def test_a_module_without_synthesize_is_read_and_says_so_where_it_is_called(site: Site) -> None:
    site.pond()
    file = site.folder / "graftwork_pond" / "newts.py"
    file.write_text(NEWTS.replace("def synthesize", "def invents"))
    newts = domain.dataset("pond/newts")
    assert newts.read("/x") == "read /x"  # type: ignore[comparison-overlap]
    with pytest.raises(GraftworkError, match=r"'pond/newts'.*no synthesize.*real data"):
        newts.synthesize("/y")


def test_protocols_that_are_none_are_refused(site: Site) -> None:
    site.pond()
    (site.folder / "graftwork_pond" / "protocols.py").write_text("PROTOCOLS = []")
    with pytest.raises(GraftworkError, match="no PROTOCOLS"):
        domain.protocol("pond/newts")


def test_an_unknown_name_is_answered_with_the_nearest(site: Site) -> None:
    site.pond()
    asked = {
        "pond/newt": domain.dataset,
        "newts": domain.dataset,
        "pnod/newts": domain.card,
        "pond/newts_ful": domain.recipe_text,
        "newts_full": domain.recipe_text,
        "pond/toad": domain.protocol,
    }
    for name, ask in asked.items():
        with pytest.raises(UsageError) as caught:
            ask(name)
        assert f"'{name}'" in str(caught.value)
        assert "nearest: pond/" in str(caught.value)
    with pytest.raises(UsageError, match=r"There are: .*pond/newts"):
        domain.dataset("zzzzzz/qqqqqq")
    with pytest.raises(UsageError, match="no domain of this name"):
        domain.domain("pund")


@pytest.mark.parametrize(
    "name", ["", "/", "pond", "pond/", "pond/../newts", "../x", "pond/newts/more", "a\0b"]
)
def test_odd_names_reach_no_file(site: Site, name: str) -> None:
    site.pond()
    for ask in (domain.dataset, domain.card, domain.recipe_text, domain.protocol):
        with pytest.raises(UsageError):
            ask(name)


def test_only_four_kinds_are_listed() -> None:
    with pytest.raises(UsageError, match="recipes, datasets, protocols and cards"):
        domain.names("networks")  # type: ignore[arg-type]
