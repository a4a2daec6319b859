"""Reading a page of a report as a browser does: its tags, its text, its tables and its pictures."""

from __future__ import annotations

import base64
import html
import re
from html.parser import HTMLParser
from unittest import mock

from graftwork.common.report.page import render
from graftwork.common.runs.run_folder import Run

__all__ = ["Page", "words"]

VOID = {"meta", "img", "br", "source", "link", "input"}


class Page(HTMLParser):
    """The tags, the text and the pictures of a page; fails on tags that do not close."""

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

    def stamps(self) -> list[str]:
        return re.findall(r'<p class="stamp(?: made-up)?" role="note">(.*?)</p>', self.html)

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
    """The page without its figures: quicker, for what stands in text and tables."""
    empty = '<svg xmlns="http://www.w3.org/2000/svg"/>'
    with mock.patch("graftwork.common.report.figures.drawing._svg", return_value=empty):
        return Page(render(runs))
