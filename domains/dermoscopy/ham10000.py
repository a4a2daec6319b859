"""HAM10000: dermoscopic pictures of pigmented skin lesions, seven diagnoses (Tschandl, Rosendahl, Kittler 2018).

The table `HAM10000_metadata` tells lesion and diagnosis of each picture; the pictures, `ISIC_<number>.jpg`, are found
by their id wherever below the root they lie, as people unpack part 1 and part 2 side by side or together. See the
data card.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from graftwork.common.domain import Dataset
from graftwork.common.errors import DatasetError
from graftwork.common.layouts import listed, walk
from graftwork.common.manifest import Manifest, Target
from graftwork.common.synthetic import NOTE, begin, generator, is_synthetic

if TYPE_CHECKING:
    import pandas as pd

    from graftwork.common.checks.findings import Finding

__all__ = ["DATASET", "DIAGNOSES", "findings", "read", "synthesize"]

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
DATASET = Dataset(
    name="dermoscopy/ham10000",
    title="Dermoscopic pictures of pigmented skin lesions: seven diagnoses (HAM10000)",
    group="lesion",
    target=Target("diagnosis", "multi-class", tuple(DIAGNOSES.values())),
    protocol="ham10000",
    licence="CC BY-NC 4.0",
    citation=(
        "Tschandl P, Rosendahl C, Kittler H. The HAM10000 dataset, a large collection of multi-source "
        "dermatoscopic images of common pigmented skin lesions. Scientific Data 5:180161, 2018. "
        "doi:10.1038/sdata.2018.161. Data: Harvard Dataverse, doi:10.7910/DVN/DBW86T"
    ),
    # task 3 of 2018 is this set, 2019 holds it, and a part of MedMNIST was made of it
    known_as=("HAM10000", "ISIC 2018", "ISIC 2019", "DermaMNIST"),
)

_TABLE = "HAM10000_metadata"  # .csv on Kaggle, .tab on Dataverse, without a suffix after download
_COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
_SUFFIXES = (".jpg", ".jpeg", ".png")
_PICTURE = re.compile(r"(?P<id>ISIC_[0-9]{7})(?P<mask>_segmentation)?\.(?:jpe?g|png)", re.IGNORECASE)
_LOOKED_FOR = (
    f"the table {_TABLE} (.csv, .tab or without a suffix) and pictures ISIC_<number>.jpg, anywhere below"
)
_SHOWN = 10


@dataclass(frozen=True)
class _Layout:
    """What lies below a root: the table, and each id's pictures and masks (several where a copy lies about)."""

    root: Path
    table: Path
    others: tuple[Path, ...]  # further tables of that name, which are not read
    pictures: dict[str, list[str]]
    masks: dict[str, list[str]]


def read(root: str | os.PathLike[str]) -> Manifest:
    """The manifest of the set below `root`: the table and file names alone, no pixel is read.

    Args:
        root: a folder with the table and the pictures anywhere below it. Masks (`ISIC_..._segmentation.png`) may lie
            there too. Pictures may be missing: their rows are left out, and a note says how many.

    Returns:
        case `ISIC_0027419`, group `HAM_0000118` (the lesion), target the diagnosis in words; covariates `age` (years),
        `sex`, `localization`, `dx_type` (how the diagnosis was confirmed: it tells the diagnosis, so it is never an
        input) and, where masks lie below the root, `mask` (the path of the lesion's mask).

    Raises:
        DatasetError: the table or the pictures are not there, or the table says something impossible (all of it).
    """
    layout = _look(Path(root))
    table = _table(layout.table)
    _refuse_faults(table, layout.table)
    there = table["image_id"].isin(list(layout.pictures)).to_numpy()
    if not there.any():
        raise DatasetError(
            f"none of the {len(table)} pictures of the table is there; looked for {_LOOKED_FOR}",
            where=layout.root,
            remedy="unpack HAM10000_images_part_1 and part_2 below this folder",
        )
    return _manifest(layout, table[there].sort_values("image_id"), missing=int((~there).sum()))


def _manifest(layout: _Layout, table: pd.DataFrame, missing: int) -> Manifest:
    import pandas as pd

    ids = table["image_id"].tolist()
    frame = pd.DataFrame(
        {
            "case": ids,
            "path": [layout.pictures[each][0] for each in ids],
            "group": table["lesion_id"].tolist(),
            "target": [DIAGNOSES[code] for code in table["dx"]],
            "age": pd.to_numeric(table["age"], errors="coerce").to_numpy(),
            **{
                name: table[name].where(~table[name].isin(["", "unknown"])).tolist()
                for name in ("sex", "localization", "dx_type")
            },
        }
    )
    covariates = ["age", "sex", "localization", "dx_type"]
    if layout.masks:
        frame["mask"] = [layout.masks.get(each, [None])[0] for each in ids]
        covariates.append("mask")
    several = int((frame["group"].value_counts() > 1).sum())
    notes = [NOTE] if is_synthetic(layout.root) else []
    notes.append(f"{several} lesions stand in several pictures: by picture a split would leak")
    notes.append("the set tells no patient, so two lesions of one person may stand in two parts")
    if missing:
        notes.append(f"{missing} rows of the table have no picture here and are left out")
    return Manifest(
        frame=frame,
        root=layout.root,
        dataset=DATASET.name,
        group=DATASET.group,
        target=DATASET.target,
        covariates=tuple(covariates),
        notes=tuple(notes),
    )


def findings(root: str | os.PathLike[str]) -> Iterator[Finding]:
    """What only this layout can have wrong with it: rows without a picture, and copies.

    Raises:
        DatasetError: as `read`.
    """
    from graftwork.common.checks.findings import Finding

    layout = _look(Path(root))
    table = _table(layout.table)
    known, where = set(table["image_id"]), layout.table.name
    for other in layout.others:
        same = other.read_bytes() == layout.table.read_bytes()
        yield Finding(
            "copy" if same else "contradiction", "warning" if same else "error", str(other),
            f"a second table of this name, {'the same' if same else 'with other content'}; {layout.table} is read",
            "remove the one that is not meant",
        )  # fmt: skip
    gone = sorted(known - set(layout.pictures))
    if gone:
        lesions = table.loc[~table["image_id"].isin(list(layout.pictures)), "lesion_id"]
        whole = int((~lesions.drop_duplicates().isin(table["lesion_id"].drop(lesions.index))).sum())
        yield Finding(
            "missing", "warning", where,
            f"{len(gone)} rows of the table have no picture below the root ({whole} lesions have none at all)",
            "unpack both parts, or accept that these rows are left out", len(gone), tuple(gone[:_SHOWN]),
        )  # fmt: skip
    for kind, places in (("picture", layout.pictures), ("mask", layout.masks)):
        twice = {each: found for each, found in places.items() if len(found) > 1}
        if twice:
            first = next(iter(twice.values()))
            yield Finding(
                "copy", "warning", str(Path(first[1]).parent),
                f"{len(twice)} {kind}s stand below the root more than once; the first is taken",
                "remove the copies, so that it is certain which is used", len(twice),
                tuple(f"{found[0]} = {found[1]}" for found in list(twice.values())[:_SHOWN]),
            )  # fmt: skip


def _look(root: Path) -> _Layout:
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "there is no such folder"
        raise DatasetError(f"{what}; looked for {_LOOKED_FOR}", where=root)
    tables: list[str] = []
    pictures: dict[str, list[str]] = {}
    masks: dict[str, list[str]] = {}
    for path in sorted(walk(root, (*_SUFFIXES, ".csv", ".tab", _TABLE.lower())), key=_order):
        name = path.rpartition("/")[2]
        match = _PICTURE.fullmatch(name)
        if match:
            places = masks if match["mask"] else pictures
            places.setdefault(f"ISIC_{match['id'][5:]}", []).append(path)
        elif name.partition(".")[0] == _TABLE:
            tables.append(path)
    if not tables:
        raise DatasetError(
            f"looked for {_LOOKED_FOR}; found: {listed(root)}",
            where=root,
            remedy=f"put {_TABLE}.csv, as published, into this folder",
        )
    first, *others = (root / table for table in tables)
    return _Layout(root, first, tuple(others), pictures, masks)


def _order(path: str) -> tuple[int, str]:
    """Of two copies the one that lies less deep comes first."""
    return path.count("/"), path


def _table(place: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        with place.open(encoding="utf-8-sig") as file:
            separator = "\t" if "\t" in file.readline() else ","
        table = pd.read_csv(
            place,
            sep=separator,
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
            skipinitialspace=True,
        )
    except (OSError, ValueError) as error:
        raise DatasetError(f"the table cannot be read ({error})", where=place) from error
    missing = [name for name in _COLUMNS if name not in table.columns]
    if missing:
        raise DatasetError(
            f"column {', '.join(missing)} is missing; found: {', '.join(map(str, table.columns))}",
            where=place,
            remedy="take the table as it was published",
        )
    return table[list(_COLUMNS)]


def _refuse_faults(table: pd.DataFrame, place: Path) -> None:
    """All that the table must not say, in one message."""
    faults: list[str] = []

    def blame(what: str, odd: pd.Series[str]) -> None:
        if len(odd):
            more = f" and {len(odd) - _SHOWN} more" if len(odd) > _SHOWN else ""
            faults.append(f"{what}: {', '.join(map(repr, odd.iloc[:_SHOWN]))}{more}")

    ids = table["image_id"]
    blame("image_id is not ISIC_ and seven digits", ids[~ids.str.fullmatch("ISIC_[0-9]{7}")])
    blame("image_id stands twice", ids[ids.duplicated()])
    blame("lesion_id is empty, of image", ids[table["lesion_id"].str.strip() == ""])
    odd = table["dx"][~table["dx"].isin(list(DIAGNOSES))].drop_duplicates()
    blame(f"dx is not one of {', '.join(DIAGNOSES)}", odd)
    diagnoses = table.groupby("lesion_id")["dx"].nunique()
    blame("a lesion has two diagnoses", diagnoses.index[diagnoses > 1].to_series())
    age = table["age"][table["age"] != ""]
    blame(
        "age is not a number of years from 0 to 120",
        age[~age.str.fullmatch(r"(?:\d{1,2}|1[01]\d|120)(?:\.\d*)?")],
    )
    if faults:
        raise DatasetError(
            "; ".join(faults), where=place, remedy="take the table as it was published, or correct these rows"
        )


def synthesize(folder: str | os.PathLike[str], *, cases: int = 60, seed: int = 0) -> None:
    """Write a small made-up set in the same layout and with the same quirks; it shows nobody.

    Drawn lesions on drawn skin, seven kinds that differ in shape, colour and structure. As in the published set: two
    folders of pictures, several pictures of a lesion (another place, light and zoom), empty ages, `unknown` sexes,
    `follow_up` only for nevi, masks in a folder of their own. What is depends on `cases` and `seed` alone.

    Args:
        folder: where to; must be new, empty, or hold the same made-up set already.
        cases: how many pictures, at least 42.
        seed: another seed, other lesions.

    Raises:
        DatasetError: too few cases, or a folder that holds something else.
    """
    import csv

    import numpy as np
    from PIL import Image

    from graftwork.domains.dermoscopy.drawings import draw

    root = begin(folder, cases=cases, seed=seed, least=42)
    rows = list(_plan(cases, seed))
    for name in ("HAM10000_images_part_1", "HAM10000_images_part_2", "HAM10000_segmentations"):
        (root / name).mkdir(exist_ok=True)
    for number, row in enumerate(rows):
        lesion = generator(DATASET.name, seed, row["lesion_id"])
        pixels, mask = draw(lesion, generator(DATASET.name, seed, row["image_id"]), row["dx"])
        part = "HAM10000_images_part_1" if number < len(rows) // 2 else "HAM10000_images_part_2"
        picture = Image.fromarray((pixels * 255).round().astype(np.uint8))
        picture.save(root / part / f"{row['image_id']}.jpg", quality=90)
        outline = Image.fromarray(mask.astype(np.uint8) * 255).convert("1")
        outline.save(root / "HAM10000_segmentations" / f"{row['image_id']}_segmentation.png")
    with (root / f"{_TABLE}.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def _plan(cases: int, seed: int) -> Iterator[dict[str, str]]:
    """The rows of the table: each diagnosis gets its share, at least four pictures of three lesions."""
    chance = generator(DATASET.name, seed, "plan")
    shares = {"nv": 0.34, "mel": 0.15, "bkl": 0.15, "bcc": 0.10, "akiec": 0.09, "vasc": 0.09, "df": 0.08}
    counts = {code: max(4, int(share * cases)) for code, share in shares.items()}
    counts["nv"] += cases - sum(counts.values())
    image, lesion = 24300 + 100 * seed, 1000 * seed
    for code, count in counts.items():
        left, lesions = count, 0
        while left > 0:
            lesion += 1
            lesions += 1
            # three lesions of each diagnosis first, so that each can stand in every part
            together = min(
                left - max(0, 3 - lesions), 1 + int(chance.integers(0, 3) == 0) + int(lesions == 1)
            )
            age = "" if chance.integers(0, 20) == 0 else f"{5.0 * chance.integers(4, 17):.1f}"
            sex = ("male", "female")[int(chance.integers(0, 2))] if chance.integers(0, 20) else "unknown"
            site = ("back", "lower extremity", "trunk", "face", "unknown")[int(chance.integers(0, 5))]
            how = "follow_up" if code == "nv" and chance.integers(0, 2) else "histo"
            for _ in range(max(1, together)):
                image += 1
                yield {
                    "lesion_id": f"HAM_{lesion:07d}", "image_id": f"ISIC_{image:07d}", "dx": code, "dx_type": how,
                    "age": age, "sex": sex, "localization": site,
                }  # fmt: skip
            left -= max(1, together)
