"""The data cards say what the loaders say, and all that a user must know before using a dataset."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from graftwork.common.data.domain import card, dataset, names
from graftwork.common.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
OURS = [name for name in names("datasets") if (ROOT / "domains" / name.partition("/")[0]).is_dir()]
CHAPTERS = ("shows", "collected", "labels", "groups", "quirks", "licence")


def front(name: str) -> tuple[dict[str, Any], str]:
    found = re.match(r"---\n(.*?)\n---\n(.*)", card(name), re.DOTALL)
    assert found, f"the card of {name} has no front matter"
    fields = yaml.safe_load(found.group(1))
    assert isinstance(fields, dict)
    return fields, found.group(2)


def test_every_dataset_has_a_card_and_every_card_a_dataset() -> None:
    assert OURS
    assert set(OURS) <= set(names("cards"))
    assert {f"{path.parent.name}/{path.stem}" for path in (ROOT / "data_cards").rglob("*.md")} == set(OURS)


@pytest.mark.parametrize("name", OURS)
def test_a_card_says_what_its_loader_says(name: str) -> None:
    fields, _ = front(name)
    loaded = dataset(name)
    about = loaded.about
    assert fields["name"] == about.name
    assert fields["title"] == about.title
    assert fields["licence"] == about.licence
    assert fields["citation"] == about.citation
    assert fields["groups"] == about.group
    assert fields["classes"] == list(about.target.classes)
    assert fields["loader"] == loaded.module.__name__
    assert str(fields["source"]).startswith("https://")


@pytest.mark.parametrize("name", OURS)
def test_the_counts_of_a_card_add_up(name: str) -> None:
    counts = front(name)[0]["counts"]
    parts = [counts[part] for part in ("train", "validation", "test") if part in counts]
    assert not parts or sum(parts) == counts["cases"]
    about = dataset(name).about
    counted = about.target.kind not in ("multi-label", "segmentation")  # of those a case may have several
    if counted and about.target.classes:
        assert sum(counts[each] for each in about.target.classes) == counts["cases"]
    assert counts["groups"] <= counts["cases"]


@pytest.mark.parametrize("name", OURS)
def test_a_card_has_its_chapters(name: str) -> None:
    heads = " ".join(re.findall(r"^## (.*)$", front(name)[1], re.MULTILINE)).lower()
    assert not [chapter for chapter in CHAPTERS if chapter not in heads]


def test_a_card_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(UsageError, match=OURS[0]):
        card(f"{OURS[0]}s")
    with pytest.raises(UsageError):
        card(f"{OURS[0].partition('/')[0]}/../../pyproject")


def test_nothing_published_waits_for_a_number() -> None:
    """Placeholders of results, in what a user reads."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "recipes").rglob("*.toml")]
    pages += [*(ROOT / "data_cards").rglob("*.md")]
    waiting = [
        f"{path.relative_to(ROOT)}: {found}"
        for path in pages
        for found in re.findall(r"PENDING|TODO|TBD|to be measured|filled in by", path.read_text())
    ]
    assert not waiting
