"""Datasets as tables and files that a test varies: equivalent forms of one meaning, and contradictions.

A reader of any domain is tried by a `Reader`: its files as they are published, changes that keep their meaning, and
changes that contradict it. `test_reader_meanings.py` draws from them.
"""

from __future__ import annotations

import csv
import io
import random
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from graftwork.common.data.manifest import Manifest

__all__ = ["Change", "Laid", "Reader", "Table", "table_changes"]

SPACES = (" ", "  ", "\t", "\u00a0", "\u2009")


@dataclass
class Table:
    """A table by its cells, and how it is written."""

    header: list[str]
    rows: list[list[str]]
    separator: str = ","
    encoding: str = "utf-8"
    end: str = "\n"
    quote: bool = False
    cut: int | None = None  # a row whose last cell is not written

    def place(self, column: str) -> int:
        return [name.strip() for name in self.header].index(column)

    def cells(self, column: str) -> list[str]:
        at = self.place(column)
        return [row[at] for row in self.rows]

    def put(self, row: int, column: str, value: str) -> None:
        self.rows[row][self.place(column)] = value

    def written(self) -> bytes:
        text = io.StringIO(newline="")
        quoting = csv.QUOTE_ALL if self.quote else csv.QUOTE_MINIMAL
        writer = csv.writer(text, delimiter=self.separator, lineterminator=self.end, quoting=quoting)
        writer.writerow(self.header)
        writer.writerows(row[:-1] if number == self.cut else row for number, row in enumerate(self.rows))
        try:
            return text.getvalue().encode(self.encoding)
        except UnicodeEncodeError:  # letters that cp1252 has not
            return text.getvalue().encode("utf-8")


@dataclass
class Laid:
    """Files of a dataset by path: tables, and other files as bytes."""

    tables: dict[str, Table] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    def lay(self, root: Path) -> Path:
        for path, content in [
            *self.files.items(),
            *((path, each.written()) for path, each in self.tables.items()),
        ]:
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        return root

    def move(self, path: str, to: str) -> None:
        self.files[to] = self.files.pop(path)


Change = Callable[[random.Random, Laid], None]


@dataclass(frozen=True)
class Reader:
    """How a reader is tried.

    Attributes:
        name: of the dataset.
        published: the files as published, anew at each call.
        equivalent: changes in place after which the manifest is the same, but for notes and paths.
        contradictory: changes in place after which it is refused, or an error is found.
    """

    name: str
    published: Callable[[], Laid]
    equivalent: tuple[Change, ...]
    contradictory: tuple[Change, ...]

    def meaning(self, manifest: Manifest) -> list[tuple[str, ...]]:
        """The rows of a manifest without what may differ: where files are, and how their endings are written."""
        frame = manifest.frame.copy()
        for column in ("path", "mask"):
            if column in frame:
                frame[column] = frame[column].str.rpartition("/")[2].str.rpartition(".")[0].str.lower()
        return sorted(tuple(map(str, row)) for row in frame.itertuples(index=False))


def table_changes(path: str, names: tuple[str, ...]) -> tuple[Change, ...]:
    """Changes of a table that keep its meaning.

    Args:
        path: of the table in a `Laid`. names: columns of identifiers and names, whose cells may have white space.
    """

    def separator(chance: random.Random, laid: Laid) -> None:
        laid.tables[path].separator = chance.choice(",;\t|")

    def encoding(chance: random.Random, laid: Laid) -> None:
        laid.tables[path].encoding = chance.choice(["utf-8-sig", "utf-16", "cp1252", "utf-8"])

    def line_ends(chance: random.Random, laid: Laid) -> None:
        laid.tables[path].end = chance.choice(["\r\n", "\r", "\n"])

    def quotes(chance: random.Random, laid: Laid) -> None:
        laid.tables[path].quote = True

    def order_of_rows(chance: random.Random, laid: Laid) -> None:
        chance.shuffle(laid.tables[path].rows)

    def order_of_columns(chance: random.Random, laid: Laid) -> None:
        table = laid.tables[path]
        order = list(range(len(table.header)))
        chance.shuffle(order)
        table.header = [table.header[at] for at in order]
        table.rows = [[row[at] for at in order] for row in table.rows]

    def another_column(chance: random.Random, laid: Laid) -> None:
        table = laid.tables[path]
        if "remark" not in table.header:
            table.header.append("remark")
            for row in table.rows:
                row.append(chance.choice(["", "\u00cele", "a, b; c", 'he said "no"']))

    def white_space(chance: random.Random, laid: Laid) -> None:
        table = laid.tables[path]
        there = [name for name in names if name in {each.strip() for each in table.header}]
        for _ in range(chance.randint(1, 8)):
            row, column = chance.randrange(len(table.rows)), chance.choice(there)
            value = table.rows[row][table.place(column)]
            before, after = (
                ("", chance.choice(SPACES)) if chance.random() < 0.6 else (chance.choice(SPACES), "")
            )
            table.put(row, column, f"{before}{value}{after}" if value else value)

    def white_space_of_the_header(chance: random.Random, laid: Laid) -> None:
        table = laid.tables[path]
        at = chance.randrange(len(table.header))
        table.header[at] = f" {table.header[at]} "

    def decomposed(chance: random.Random, laid: Laid) -> None:
        table = laid.tables[path]
        table.rows = [[unicodedata.normalize("NFD", cell) for cell in row] for row in table.rows]

    return (
        separator, encoding, line_ends, quotes, order_of_rows, order_of_columns, another_column, white_space,
        decomposed, white_space_of_the_header,
    )  # fmt: skip
