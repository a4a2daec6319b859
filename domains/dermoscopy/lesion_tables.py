"""The tables of lesions: the published one, checked cell by cell, and others that name the same images."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from graftwork.common.data.manifest_names import nearest_name
from graftwork.common.errors import DatasetError, TableError
from graftwork.common.files.table_files import read_table
from graftwork.common.names import clean_names, match_names, name_key
from graftwork.common.wording import more_than

if TYPE_CHECKING:
    import pandas as pd


# the code in the table, and the name in full; in the order of the columns of the ISIC 2018 challenge
DIAGNOSES = {
    "mel": "melanoma",
    "nv": "nevus",
    "bcc": "basal cell carcinoma",
    "akiec": "actinic keratosis",
    "bkl": "benign keratosis",
    "df": "dermatofibroma",
    "vasc": "vascular lesion",
}
COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
IMAGE_ID = re.compile(r"ISIC_[0-9]{7}")
# the values of the published table
_SEXES = ("male", "female", "unknown")
_CONFIRMED = ("histo", "follow_up", "consensus", "confocal")
_PLACES = (
    "abdomen", "acral", "back", "chest", "ear", "face", "foot", "genital", "hand", "lower extremity", "neck", "scalp",
    "trunk", "unknown", "upper extremity",
)  # fmt: skip
_AGE = re.compile(r"(?:\d{1,2}|1[01]\d|120)(?:\.\d*)?")
_SHOWN = 10
# how other tables of these images (ISIC challenges and archive) call the columns, in lower case
_IMAGE = ("image_id", "image", "isic_id", "image_name", "name")
# one column a diagnosis, 1 or 0; actinic keratosis and carcinoma in situ are apart in the challenge of 2019
_SCORED = {**{code: code for code in DIAGNOSES}, "ak": "akiec", "scc": "akiec"}
_PIXELS = re.compile(r"hmnist_.*", re.IGNORECASE)  # images as rows of numbers, beside the copy on Kaggle
_LARGEST = 50 << 20  # bytes of a further table that is opened


@dataclass(frozen=True)
class LesionTable:
    """A table as published, valid.

    Attributes:
        file: where it is.
        frame: the columns `COLUMNS`, text in its normal form, NaN where a cell is empty.
        notes: what was assumed, normalised or left out.
    """

    file: Path
    frame: pd.DataFrame
    notes: tuple[str, ...]


def read_lesions(file: Path) -> LesionTable:
    """Read the published table, whatever its separator, encoding and order of columns.

    Raises:
        DatasetError: it cannot be opened, a column is missing or there twice, or cells say something impossible; all
            faults at once, with value and line.
    """
    import pandas as pd

    try:
        table = read_table(file)
        found = match_names(COLUMNS, table.columns, "column")
    except TableError as error:
        raise DatasetError(error.what, where=error.where or file, remedy=error.remedy) from error
    missing = [name for name in COLUMNS if name not in found]
    if missing:
        raise DatasetError(
            f"column {', '.join(missing)} is missing; found: {', '.join(table.columns)}",
            where=file,
            remedy="take the table as it was published",
        )
    rest = [name for name in table.columns if name not in found.values()]
    rivals = [(name, own) for name in rest for own in COLUMNS if name_key(name) == name_key(own)]
    if rivals:
        pairs = ", ".join(f"{name!r} and {found[own]!r}" for name, own in rivals)
        raise DatasetError(f"ambiguous columns: {pairs}", where=file, remedy="remove or rename one of each")
    notes = list(table.notes)
    notes += [
        f"{file.name}: the column {there!r} is read as {own}" for own, there in found.items() if own != there
    ]
    if rest:
        notes.append(f"{file.name}: columns that are not used: {', '.join(rest)}")
    columns = {}
    for own, there in found.items():
        names, changed = clean_names(table.frame[there].tolist())
        columns[own] = pd.Series(names, dtype=pd.StringDtype(na_value=float("nan")))
        if changed:
            notes.append(
                f"{changed:,} cells of `{own}` in {file.name} had white space or Unicode forms normalised"
            )
    frame = pd.DataFrame(columns)
    if table.separator in (";", "\t"):  # where a comma separates nothing, it may be a decimal comma
        frame["age"] = frame["age"].str.replace(r"^(\d+),(\d+)$", r"\1.\2", regex=True)
    _refuse_faults(frame, table.lines, file)
    odd = frame["localization"][frame["localization"].notna() & ~frame["localization"].isin(_PLACES)]
    if len(odd):
        counted = ", ".join(f"{value!r} {count:,}" for value, count in odd.value_counts().items())
        notes.append(f"{file.name}: localization has values that the published table has not: {counted}")
    return LesionTable(file, frame, tuple(notes))


def _refuse_faults(table: pd.DataFrame, lines: Sequence[int], place: Path) -> None:
    """All that the table must not say, in one message."""
    faults: list[str] = []

    def blame(what: str, odd: pd.Series, shown: pd.Series | None = None) -> None:
        """`shown`: what is listed in place of the values of `odd`."""
        if not len(odd):
            return
        values = odd if shown is None else shown[odd.index]
        listing = [
            f"{value!r} (line {lines[row]})"
            for row, value in zip(odd.index[:_SHOWN], values.iloc[:_SHOWN], strict=True)
        ]
        more = more_than(odd, _SHOWN)
        faults.append(f"{what}: {', '.join(listing)}{more}")

    def among(name: str, known: Sequence[str], *, closed: bool = True) -> None:
        """Refuse what is none of the known values; of an open list, what only looks like one of them."""
        odd = table[name][table[name].notna() & ~table[name].isin(list(known))]
        if not closed:
            alike = {name_key(each) for each in known}
            odd = odd[[name_key(value) in alike for value in odd.tolist()]]
        near = {value: nearest_name(value, known) for value in odd.unique().tolist()[:_SHOWN]}
        meant = ", ".join(f"{name!r} for {value!r}" for value, name in near.items() if name)
        blame(f"{name} is not one of {', '.join(known)}" + (f" (nearest: {meant})" if meant else ""), odd)

    ids = table["image_id"]
    blame("image_id is empty", ids[ids.isna()], table["lesion_id"])
    blame("image_id is not ISIC_ and seven digits", ids[ids.notna() & ~ids.str.fullmatch(IMAGE_ID.pattern)])
    blame("image_id is there twice", ids[ids.notna() & ids.duplicated()])
    blame("lesion_id is empty, of image", ids[table["lesion_id"].isna()])
    blame("dx is empty, of image", ids[table["dx"].isna()])
    among("dx", tuple(DIAGNOSES))
    among("sex", _SEXES)
    among("dx_type", _CONFIRMED)
    among("localization", _PLACES, closed=False)
    diagnoses = table.groupby("lesion_id")["dx"].nunique()
    torn = table["lesion_id"].isin(diagnoses.index[diagnoses > 1]) & table["dx"].notna()
    blame(
        "a lesion has two diagnoses",
        table["lesion_id"][torn],
        table["lesion_id"] + ": " + table["dx"].fillna(""),
    )
    age = table["age"][table["age"].notna()]
    blame("age is not a number of years from 0 to 120", age[~age.str.fullmatch(_AGE.pattern)])
    if faults:
        raise DatasetError(
            "; ".join(faults),
            where=place,
            remedy="take the table as it was published, or correct these lines",
        )


# Other tables


@dataclass
class _Compared:
    """What further tables came to: names of files by what was done with them."""

    agree: list[str] = field(default_factory=list)
    ignored: dict[str, list[str]] = field(default_factory=dict)

    def notes(self) -> Iterator[str]:
        if self.agree:
            yield f"further tables agree with the one that is read: {', '.join(self.agree)}"
        for reason, names in self.ignored.items():
            yield (
                f"{len(names):,} further {'table is' if len(names) == 1 else 'tables are'} not used ({reason}): "
                + (", ".join(names))
            )


def compare_tables(own: LesionTable, others: Sequence[Path], root: Path) -> list[str]:
    """Compare lesion and diagnosis of each image with what other tables say of it.

    Args:
        own: the table that is read. others: files. root: names of files are shown relative to it.

    Returns:
        Notes: which tables agree, and which were not used and why.

    Raises:
        DatasetError: a table disagrees; names both files, the images and the values, with counts.
    """
    done = _Compared()
    faults: list[str] = []
    for file in others:
        name = os.path.relpath(file, root)
        reason = _why_not(file)
        if not reason:
            try:
                frame = read_table(file).frame
            except TableError as error:
                reason = f"cannot be read: {error.what.partition(chr(10))[0]}"
            else:
                reason = _disagreements(own, frame, name, faults, done)
        if reason:
            done.ignored.setdefault(reason, []).append(name)
    if faults:
        raise DatasetError(
            "; ".join(faults),
            where=own.file,
            remedy="find out which table is right, and remove the other from the folder",
        )
    return list(done.notes())


def _why_not(file: Path) -> str:
    if _PIXELS.fullmatch(file.name):
        return "pixels as numbers"
    if file.stat().st_size > _LARGEST:
        return f"more than {_LARGEST >> 20} MiB"
    return ""


def _disagreements(
    own: LesionTable, other: pd.DataFrame, name: str, faults: list[str], done: _Compared
) -> str:
    """Add the faults of a table, or count it among those that agree; why it cannot be compared, else ""."""
    columns = {str(column).lower(): column for column in other.columns}
    image = next((columns[each] for each in _IMAGE if each in columns), None)
    if image is None:
        return f"no column {', '.join(_IMAGE[:3])}"
    ids = other[image].astype("string").str.replace(r"\.(?:jpe?g|png)$", "", regex=True).fillna("")
    row_of = {each: row for row, each in enumerate(own.frame["image_id"])}
    rows = [(row_of[each], row) for row, each in enumerate(clean_names(ids.tolist())[0]) if each in row_of]
    if not rows:
        return "it holds none of these images"
    pairs = {"lesion_id": _lesions(other, columns), "dx": _codes(other, columns)}
    compared = {what: said for what, said in pairs.items() if said is not None}
    if not compared:
        return "no column of lesions or diagnoses"
    found: list[str] = []
    for what, said in compared.items():
        mine = own.frame[what].tolist()
        known = [(at, there) for at, there in rows if said[there] is not None]
        if what == "lesion_id" and not {mine[at] for at, _ in known} & {said[there] for _, there in known}:
            odd = _torn(mine, said, known)  # names of another register: only what they join can be compared
        else:
            odd = [(at, there) for at, there in known if mine[at] != said[there]]
        if odd:
            listing = [
                f"{own.frame['image_id'].iloc[at]} ({mine[at]!r}, {said[there]!r})"
                for at, there in odd[:_SHOWN]
            ]
            more = more_than(odd, _SHOWN)
            found.append(f"{what} of {len(odd):,} of {len(known):,} images: {', '.join(listing)}{more}")
    if found:
        faults.append(f"{own.file.name} and {name} disagree about {'; '.join(found)}")
    else:
        done.agree.append(f"{name} ({' and '.join(compared)} of {len(rows):,} images)")
    return ""


def _lesions(other: pd.DataFrame, columns: dict[str, str]) -> list[str | None] | None:
    return clean_names(other[columns["lesion_id"]].tolist())[0] if "lesion_id" in columns else None


def _codes(other: pd.DataFrame, columns: dict[str, str]) -> list[str | None] | None:
    """The code of the diagnosis in each row, None where it is not one of ours; None where no column says it."""
    words = {**{word: code for code, word in DIAGNOSES.items()}, **{code: code for code in DIAGNOSES}}
    for name in ("dx", "diagnosis"):
        if name in columns:
            return [
                words.get(each or "", each if name == "dx" else None)
                for each in clean_names(other[columns[name]])[0]
            ]
    scored = {columns[name]: code for name, code in _SCORED.items() if name in columns}
    if len(scored) < len(DIAGNOSES):
        return None
    import pandas as pd

    values = other[list(scored)].apply(pd.to_numeric, errors="coerce")
    certain = (values.eq(1).sum(axis=1) == 1) & values.isin([0, 1]).all(axis=1)
    best = values.fillna(0).idxmax(axis=1)
    return [scored[name] if sure else None for name, sure in zip(best, certain, strict=True)]


def _torn(
    mine: Sequence[str], said: Sequence[str | None], rows: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Images whose lesion is one here and several there, or the other way round."""
    here: dict[str, set[str | None]] = {}
    there: dict[str | None, set[str]] = {}
    for at, row in rows:
        here.setdefault(mine[at], set()).add(said[row])
        there.setdefault(said[row], set()).add(mine[at])
    return [(at, row) for at, row in rows if len(here[mine[at]]) > 1 or len(there[said[row]]) > 1]
