"""The opener of tables: what people write is read as written, said where assumed, and refused where it is no table."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import zipfile
from pathlib import Path

import openpyxl
import pandas as pd
import pytest

from graftwork.common.errors import TableError
from graftwork.common.files.table_files import read_table

ROWS = [["id", "name", "score"], ["007", "Île", "0.5"], ["1.10", "a, b", "1e-3"], ["7", "", "1"]]
EXPECTED = {"id": ["007", "1.10", "7"], "name": ["Île", "a, b", None], "score": ["0.5", "1e-3", "1"]}


def text(separator: str = ",", end: str = "\n", quote_all: bool = False) -> str:
    def cell(value: str) -> str:
        return f'"{value}"' if quote_all or separator in value else value

    return end.join(separator.join(map(cell, row)) for row in ROWS) + end


def content(path: Path, **how: object) -> dict[str, list[str | None]]:
    frame = read_table(path, **how).frame  # type: ignore[arg-type]
    return {
        str(name): [None if pd.isna(value) else value for value in frame[name].tolist()]
        for name in frame.columns
    }


@pytest.mark.parametrize("separator", list(",;\t|"))
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("quote_all", [False, True])
def test_one_table_in_any_usual_form(
    tmp_path: Path, separator: str, end: str, encoding: str, quote_all: bool
) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(text(separator, end, quote_all).encode(encoding))
    assert content(file) == EXPECTED


@pytest.mark.parametrize(
    ("name", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)]
)
def test_packed_text_is_unpacked_and_said(tmp_path: Path, name: str, pack: object) -> None:
    file = tmp_path / f"t.csv.{name}"
    file.write_bytes(pack(text().encode()))  # type: ignore[operator]
    assert content(file) == EXPECTED
    assert "unpacked" in read_table(file).notes[0]
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(TableError, match="damaged"):
        read_table(file)


def test_a_zip_file_of_one_table(tmp_path: Path) -> None:
    file = tmp_path / "t.zip"
    for names in (["t.csv"], ["t.csv", "u.csv"]):
        with zipfile.ZipFile(file, "w") as archive:
            for name in names:
                archive.writestr(name, text())
        if len(names) == 1:
            assert content(file) == EXPECTED
        else:
            with pytest.raises(TableError, match="2 files"):
                read_table(file)


def test_a_spreadsheet(tmp_path: Path) -> None:
    file = tmp_path / "t.xlsx"
    book = openpyxl.Workbook()
    for row in [ROWS[0], ["007", "Île", 0.5], ["1.10", "a, b", 1e-3], [7.0, None, 1]]:
        book.active.append(row)
    book.create_sheet("empty")
    book.save(file)
    assert content(file) == {**EXPECTED, "score": ["0.5", "0.001", "1"]}
    book["empty"].append(["more"])
    book.save(file)
    with pytest.raises(TableError, match="'Sheet', 'empty'"):
        read_table(file)
    assert content(file, sheet="Sheet")["id"] == EXPECTED["id"]
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(TableError, match="damaged"):
        read_table(file)


def test_parquet_keeps_types_and_a_flipped_bit_is_found(tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    frame = pd.DataFrame({"id": ["007", "7"] * 500, "score": [0.5, 0.25] * 500})
    frame.to_parquet(file, write_page_checksum=True, compression=None, use_dictionary=False)
    assert read_table(file).frame["score"].tolist() == frame["score"].tolist()
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 3] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(TableError, match="damaged"):
        read_table(file)


def test_windows_1252_is_said_with_the_line(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes("id,name\n1,Île\n".encode("cp1252"))
    (note,) = read_table(file).notes
    assert "0xce in line 2" in note
    assert "1,Île" in note


def test_a_line_that_names_the_separator(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("sep=;\nid;a,b,c\n1;2\n")
    table = read_table(file)
    assert table.columns == ("id", "a,b,c")
    assert list(table.lines) == [3]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("", "empty"),
        (" \n\n", "empty"),
        ("a,b\n", "no rows"),
        ("a,b\n1\n1,2\n", "line 2 has 1 cells, the header has 2"),
        ("a,b\n1,2,3\n", "line 2 has 3 cells"),
        ("a,a\n1,2\n", "'a' is there twice"),
        ("a,a\u00a0\n1,2\n", "'a' is there twice"),
        ('a,b\n1,"2\n', "line 2"),
        ("a\0,b\n1,2\n", "binary"),
        (",\n1,2\n", "no rows"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, written: str, said: str) -> None:
    file = tmp_path / "t.csv"
    file.write_text(written)
    with pytest.raises(TableError, match=said) as caught:
        read_table(file)
    assert caught.value.where == str(file)
    assert caught.value.remedy


def test_rows_may_end_early_where_it_is_allowed(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("a,b\n1\n")
    assert content(file, short=True) == {"a": ["1"], "b": [None]}


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, said in (
        (tmp_path, "folder"),
        (tmp_path / "pipe", "pipe"),
        (Path("/dev/zero"), "device"),
        (tmp_path / "none.csv", "no such file"),
        (tmp_path / ("x" * 5000), "cannot be read"),
        (Path("a\0b"), "cannot be read"),
    ):
        with pytest.raises(TableError, match=said):
            read_table(path)


def test_empty_lines_within_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("a,b\n1,2\n,\n3,4\n\n")
    table = read_table(file)
    assert list(table.lines) == [2, 4]
    assert "empty lines" in table.notes[0]


def test_the_column_of_an_index_may_have_no_name(tmp_path: Path) -> None:
    buffer = io.StringIO()
    pd.DataFrame({"a": [1]}).to_csv(buffer)
    file = tmp_path / "t.csv"
    file.write_text(buffer.getvalue())
    assert read_table(file).columns == ("", "a")


def test_white_space_that_is_removed_is_counted(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("id,name\nA ,x\nB,y \nC ,  \n")
    table = read_table(file)
    assert table.frame["id"].tolist() == ["A", "B", "C"]
    assert table.notes == (
        "t.csv: white space at the ends of cells was removed (2 of `id`, 1 of `name`), such as 'A '.",
    )


@pytest.mark.parametrize(("was", "now"), [(b"case-0", b"case\xff0"), (b'"name": "case"', b'"nume": "case"')])
def test_damaged_text_in_a_parquet_table_is_refused_when_it_is_read(
    was: bytes, now: bytes, tmp_path: Path
) -> None:
    place = tmp_path / "a.parquet"
    frame = pd.DataFrame({"case": ["case-0", "case-1"], "x": [1, 2]})
    frame.to_parquet(place, compression="none")
    content = place.read_bytes()
    assert was in content
    place.write_bytes(content.replace(was, now))
    with pytest.raises(TableError, match=r"a.parquet: is a damaged Parquet file"):
        read_table(place)
