"""Read a page of a report as a browser does: tags, text, sections, tables and figures; and check every page."""

from __future__ import annotations

import base64
import hashlib
import html
import itertools
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from unittest import mock
from xml.etree import ElementTree

from graftwork.common.report.page import render
from graftwork.common.runs.run_folder import Run

VOID = {"meta", "img", "br", "source", "link", "input"}
EMPTY = '<svg xmlns="http://www.w3.org/2000/svg"/>'


class Page(HTMLParser):
    """The tags, the text and the figures of a page; fails on tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.html = text
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.style = ""
        self.feed(text)
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        elif data.strip():
            self.words.append(data.strip())

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]

    def pictures(self) -> list[str]:
        """Every SVG of the page, decoded."""
        sources = [attrs["src"] or "" for attrs in self.named("img")]
        head = "data:image/svg+xml;base64,"
        return [
            base64.b64decode(source[len(head) :]).decode() for source in sources if source.startswith(head)
        ]

    def warnings(self) -> list[str]:
        """The warnings at the top."""
        return re.findall(r'<p class="warning(?: mild)?" role="note">(.*?)</p>', self.html)

    def title(self) -> str:
        """The heading of the page."""
        return html.unescape(re.findall(r"<h1>(.*?)</h1>", self.html)[0])

    def section(self, anchor: str) -> Page:
        """The section with this name."""
        start = self.html.index(f'<section aria-labelledby="{anchor}">')
        end = self.html.index("</section>", start) + len("</section>")
        return Page(self.html[start:end])

    def sections(self) -> list[str]:
        """The names of the sections, in their order."""
        return re.findall(r'<h2 id="([\w-]+)">', self.html)

    def result(self) -> tuple[str, str, str]:
        """Name, value and interval of the primary result."""
        found = re.search(
            r'<div class="result">\s*<p>(.*?)</p>\s*<p><span class="figure">(.*?)</span> '
            r'<span class="within">(.*?)</span>',
            self.html,
        )
        assert found is not None
        return html.unescape(found[1]), html.unescape(found[2]), html.unescape(found[3])

    def links(self) -> list[str]:
        """The targets of the contents."""
        return [href for attrs in self.named("a") if (href := attrs["href"] or "") != "#content"]

    def rows(self, caption: str) -> list[list[str]]:
        """The cells of the table with this caption, its heading row first."""
        table = next(
            part for part in self.html.split("<table")[1:] if re.search(f"<caption[^>]*>{caption}", part)
        )
        rows = re.findall(r"<tr.*?</tr>", table.split("</table>")[0], re.DOTALL)
        return [
            [re.sub(r"<.*?>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)]
            for row in rows
        ]


def words(runs: list[Run]) -> Page:
    """The page without its figures: quicker, for texts and tables."""
    with mock.patch("graftwork.common.report.figures.drawing._svg", return_value=EMPTY):
        return Page(render(runs))


def worded(write: Callable[[Path], Path], folder: Path) -> Page:
    """The page that `write` writes into a folder, without its figures: quicker, for texts and tables."""
    with mock.patch("graftwork.common.report.figures.drawing._svg", return_value=EMPTY):
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
    assert page.links() == [f"#{each}" for each in page.sections()]

    pictures = page.named("img")
    assert len([each for each in pictures if each["class"] == "chart"]) == figures
    assert all(len(each["alt"] or "") > 60 for each in pictures)
    for svg in page.pictures():
        ElementTree.fromstring(svg)
        assert "http" not in svg.replace("http://www.w3.org/", "") and "<style" not in svg
