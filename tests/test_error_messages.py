"""Each place that raises an error for a user names a file or key and says what to do, and ends in no ellipsis.

What a table of inputs can reach is provoked, and its found values are checked, in the test of each reader.
"""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

from graftwork.common import errors

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(
    path for folder in ("common", "domains", "src/graftwork") for path in (ROOT / folder).rglob("*.py")
)
ERRORS = {
    name
    for name, kind in vars(errors).items()
    if inspect.isclass(kind) and issubclass(kind, errors.GraftworkError)
}
# A wrong argument or key: the sentence says what it must be, and that is the remedy. MissingLibraryError adds its own.
ARGUMENTS = {"UsageError", "RecipeError", "GraftworkError"}


def faults(source: str) -> list[str]:
    """What the errors lack that a source raises, a line each."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        if name not in ERRORS or None in given:
            continue
        if "where" not in given:
            found.append(f"line {node.lineno}: {name} names no file, key or argument (where=)")
        if name not in {*ARGUMENTS, "MissingLibraryError"} and not {"remedy", "faults"} & set(given):
            found.append(f"line {node.lineno}: {name} does not say what to do (remedy=)")
        parts = [*node.args[:1], *([given["remedy"]] if "remedy" in given else [])]
        ends = [each.values[-1] if isinstance(each, ast.JoinedStr) else each for each in parts]
        if any(
            isinstance(each, ast.Constant) and str(each.value).rstrip().endswith(("...", "…"))
            for each in ends
        ):
            found.append(f"line {node.lineno}: {name} ends in an ellipsis")
    return found


def test_errors_are_found() -> None:
    assert len(SOURCES) > 200
    assert len(ERRORS) > 8


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_error_says_where_and_what_to_do(path: Path) -> None:
    assert not faults(path.read_text())


def test_the_rule_sees_what_is_lacking() -> None:
    assert len(faults('raise TableError("wrong")')) == 2
    assert len(faults('raise TableError("names: a, b, ...", where="t", remedy="see ...")')) == 1
    assert not faults('raise UsageError("one of a, b, not c", where="key")')
    assert not faults('raise TableError(f"x {y}", where=place, remedy="correct it")')
