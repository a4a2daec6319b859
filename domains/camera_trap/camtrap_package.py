"""The tables of a Camtrap DP package, as its `datapackage.json` describes them (Data Package, versions 1 and 2)."""

from __future__ import annotations

import codecs
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graftwork.common.errors import DatasetError, TableError
from graftwork.common.files.table_files import MISSING, TextTable, read_table
from graftwork.common.files.untrusted_files import is_file, read_json

if TYPE_CHECKING:
    import pandas as pd


PACKAGE = "datapackage.json"
TABLES = ("deployments", "media", "observations")
_WANTED = {
    "deployments": ("deploymentID",),
    "media": ("mediaID", "deploymentID", "filePath"),
    "observations": ("deploymentID", "mediaID", "observationType", "scientificName"),
}
_DIALECT = frozenset(
    {
        "delimiter",
        "quoteChar",
        "doubleQuote",
        "escapeChar",
        "header",
        "commentChar",
        "nullSequence",
        # what needs no setting here: cells are read without white space around them, and every line end is known
        "skipInitialSpace",
        "lineTerminator",
        "caseSensitiveHeader",
        "csvddfVersion",
        "type",
        "$schema",
    }
)
_TEXT = (".csv", ".tsv", ".txt")


@dataclass(frozen=True)
class PackageTable:
    """One table of a package.

    Attributes:
        name: of the resource. columns: name to cells, "" where there is no value. rows: how many.
        notes: what was assumed when it was opened.
    """

    name: str
    columns: Mapping[str, Sequence[str]]
    rows: int
    notes: tuple[str, ...] = ()

    def cells(self, name: str) -> Sequence[str]:
        """The cells of a column; "" for every row where there is no such column."""
        return self.columns.get(name) or [""] * self.rows


def package_tables(folder: Path) -> tuple[dict[str, PackageTable], list[str]]:
    """The tables `deployments`, `media` and `observations` of a package, and notes on what was ignored or assumed.

    Raises:
        DatasetError: the description is no JSON or no Camtrap DP. TableError: a table is missing, outside of the
            folder, damaged, or described in a way that is not known.
    """
    resources = _resources(folder / PACKAGE)
    notes = []
    others = [name for name in resources if name not in TABLES]
    if others:
        notes.append(f"{len(others)} other resources of the package are not read: {', '.join(others)}")
    tables = {name: _table(folder, resources[name]) for name in TABLES}
    for table in tables.values():
        notes += table.notes
    return tables, notes


def _resources(file: Path) -> dict[str, Mapping[str, Any]]:
    wanted = f"resources named {', '.join(TABLES)}"
    remedy = "correct it, or write a columns.toml that names your own table"
    content = read_json(file, DatasetError, remedy=remedy)
    listed = content.get("resources") if isinstance(content, dict) else None
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        kind = f"resources: {listed!r}"[:200] if isinstance(content, dict) else type(content).__name__
        raise DatasetError(
            f"is no Camtrap DP package (found {kind}, expected a list of {wanted})", where=file, remedy=remedy
        )
    names = [str(each.get("name")) for each in listed]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DatasetError(f"resources have the same name: {', '.join(twice)}", where=file, remedy=remedy)
    lacking = [name for name in TABLES if name not in names]
    if lacking:
        found = ", ".join(names) or "none"
        raise DatasetError(
            f"lists no resource {' and no '.join(lacking)} (found {found}, expected {wanted}); files that it does not "
            "list are not read",
            where=file,
            remedy=remedy,
        )
    return dict(zip(names, listed, strict=True))


def _table(folder: Path, resource: Mapping[str, Any]) -> PackageTable:
    name = str(resource["name"])
    where = f"{folder / PACKAGE}, resource {name}"
    dialect = _described(folder, resource.get("dialect"), f"{where}, dialect")
    schema = _described(folder, resource.get("schema"), f"{where}, schema", optional=True)
    said = _arguments(resource, dialect, schema, where)
    fields = [str(each.get("name")) for each in schema.get("fields", []) if isinstance(each, dict)]
    header: Sequence[str] = ()
    if dialect.get("header") is False:
        if not fields:
            raise TableError(
                "has no header line, and its schema names no fields",
                where=where,
                remedy="name the fields in the schema",
            )
        header = fields
    parts: list[TextTable] = []
    for path in _paths(folder, resource, where):
        if parts and not header:
            parts.append(_part(path, parts[0], said))
        else:
            parts.append(read_table(path, header=header, **said))
    frame = parts[0].frame
    if len(parts) > 1:
        import pandas as pd

        frame = pd.concat([part.frame for part in parts], ignore_index=True)
    lacking = [column for column in _WANTED[name] if column not in frame.columns]
    if lacking:
        raise TableError(
            f"column {', '.join(lacking)} is missing (found {', '.join(map(str, frame.columns))})",
            where=parts[0].file,
            remedy=f"add it; a Camtrap DP table {name} has the columns {', '.join(_WANTED[name])}",
        )
    columns = {str(column): _cells(frame[column]) for column in frame.columns}
    notes = tuple(note for part in parts for note in part.notes)
    if len(parts) > 1:
        notes += (f"{name} is read from {len(parts)} files",)
    return PackageTable(name, columns, len(frame), notes)


def _cells(column: pd.Series) -> list[str]:
    return ["" if value is None or value != value else str(value).strip() for value in column.tolist()]


def _described(folder: Path, said: object, where: str, *, optional: bool = False) -> Mapping[str, Any]:
    """A dialect or a schema: an object, or the path of a file that holds one."""
    if said is None:
        return {}
    if isinstance(said, dict):
        return said
    if isinstance(said, str) and "://" not in said:
        place = _within(folder, said, where)
        if optional and not is_file(place, TableError) and not place.exists():
            return {}
        found = read_json(place, TableError, remedy=f"correct it, or remove its name from {where}")
        if isinstance(found, dict):
            return found
    elif optional:
        return {}  # a schema in the web: the columns of the standard are known
    raise TableError(
        f"is {said!r} (expected an object or a JSON file in the package)", where=where, remedy="correct it"
    )


def _arguments(
    resource: Mapping[str, Any], dialect: Mapping[str, Any], schema: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """The arguments of `read_table` that a resource describes."""
    unknown = sorted(set(dialect) - _DIALECT)
    if unknown:
        raise TableError(
            f"its dialect has the unknown keys {', '.join(unknown)} (expected {', '.join(sorted(_DIALECT))})",
            where=where,
            remedy="save the table as CSV and remove them",
        )
    faults = [
        f"{key} is {dialect[key]!r}, expected one character"
        for key in ("delimiter", "quoteChar", "escapeChar", "commentChar")
        if dialect.get(key) and (not isinstance(dialect[key], str) or len(dialect[key]) != 1)
    ]
    faults += [
        f"{key} is {dialect[key]!r}, expected true or false"
        for key in ("doubleQuote", "header")
        if not isinstance(dialect.get(key, True), bool)
    ]
    missing = schema.get("missingValues", [""])
    values = [each.get("value") if isinstance(each, dict) else each for each in missing] if missing else []
    if not all(isinstance(each, str) for each in values):
        faults.append(f"missingValues is {missing!r}, expected a list of texts")
    if faults:
        raise TableError("; ".join(faults), where=where, remedy="correct the description of the table")
    if isinstance(dialect.get("nullSequence"), str):
        values = [*values, dialect["nullSequence"]]
    escape = dialect.get("escapeChar") or ""
    if dialect.get("doubleQuote") is False and not escape:
        escape = "\\"
    encoding = str(resource.get("encoding") or "")
    try:
        codecs.lookup(encoding or "utf-8")
    except LookupError as error:
        raise TableError(
            f"the encoding {encoding!r} is unknown (expected one such as utf-8)",
            where=where,
            remedy="correct the description of the table",
        ) from error
    return {
        "separator": dialect.get("delimiter") or ("" if not dialect else ","),
        "quote": dialect.get("quoteChar", '"') or "",
        "escape": escape,
        "comment": dialect.get("commentChar") or "",
        "encoding": encoding,
        "short": True,
        "missing": tuple(dict.fromkeys([*MISSING, *values])),
    }


def _paths(folder: Path, resource: Mapping[str, Any], where: str) -> list[Path]:
    said = resource.get("path")
    paths = [said] if isinstance(said, str) else said
    if not isinstance(paths, list) or not paths or not all(isinstance(each, str) and each for each in paths):
        inline = " (it holds its data itself)" if "data" in resource else ""
        raise TableError(
            f"path is {said!r}, expected the name of a file or a list of names{inline}",
            where=where,
            remedy="name the file of the table; files that nobody names are not read",
        )
    return [_within(folder, each, where) for each in paths]


def _within(folder: Path, path: str, where: str) -> Path:
    """A file of the package, which must not lead out of its folder."""
    if "://" in path:
        raise TableError(
            f"path is the address {path}, expected a file in the package", where=where, remedy="download it"
        )
    plain = posixpath.normpath(path.replace("\\", "/"))
    if plain.startswith(("/", "../")) or plain == ".." or plain[1:2] == ":":
        raise TableError(
            f"path {path!r} leads out of the package (expected a file in {folder})",
            where=where,
            remedy="put the file into the folder of the package",
        )
    return folder / plain


def _part(path: Path, first: TextTable, said: Mapping[str, Any]) -> TextTable:
    """A further file of a table: with the same header, or without one."""
    found = read_table(path, header=first.columns, **said)
    names = [str(value) for value in found.frame.iloc[0].tolist()]
    if set(names) & set(first.columns):
        found = read_table(path, **said)
        if set(found.columns) != set(first.columns):
            raise TableError(
                f"has the columns {', '.join(found.columns)} (expected those of {first.file.name}: "
                f"{', '.join(first.columns)})",
                where=path,
                remedy="give all files of a table the same columns",
            )
    return found
