"""What every page holds: nothing loaded, nothing run, a policy that admits its own style alone, words for figures."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from collections.abc import Callable
from pathlib import Path
from unittest import mock
from xml.etree import ElementTree

from read_pages import Page

__all__ = ["check", "worded"]

_EMPTY = '<svg xmlns="http://www.w3.org/2000/svg"/>'


def worded(write: Callable[[Path], Path], folder: Path) -> Page:
    """The page that `write` writes into a folder, without its figures: quicker, for what stands in text and tables."""
    with mock.patch("graftwork.common.report.figures.drawing._svg", return_value=_EMPTY):
        return Page(write(folder / "page.html").read_text("utf-8"))


def check(page: Page, figures: int) -> None:
    """Fails on a page that loads or runs something, whose headings, ids or tables are amiss, or figures lack words."""
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.tags}
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for tag, attrs in page.tags:
        assert not [name for name in attrs if name.startswith("on") or name == "style"], tag
        assert (attrs.get("src") or "data:image/").startswith("data:image/")
        assert (attrs.get("href") or "#content").removeprefix("#") in ids
    assert "url(" not in page.style and "@import" not in page.style
    (policy,) = [attrs["content"] or "" for attrs in page.named("meta") if "http-equiv" in attrs]
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert (rules["default-src"], rules["style-src"]) == ("'none'", f"'sha256-{digest}'")

    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert {"header", "nav", "main", "footer"} <= {tag for tag, _ in page.tags}
    assert page.html.count("<table") == page.html.count("<caption") == page.html.count("<thead")
    sections = re.findall(r'<h2 id="(\w+)">', page.html)
    assert [attrs["href"] for attrs in page.named("a")][1:] == [f"#{each}" for each in sections]

    pictures = page.named("img")
    day, night = ([each for each in pictures if each["class"] == kind] for kind in ("by-day", "by-night"))
    assert len(day) == len(night) == figures
    assert all(light["src"] != dark["src"] for light, dark in zip(day, night, strict=True))
    assert all(len(each["alt"] or "") > 60 for each in pictures)
    for svg in page.pictures():
        ElementTree.fromstring(svg)
        assert "http" not in svg.replace("http://www.w3.org/", "") and "<style" not in svg
