"""HAM10000: dermoscopic images of pigmented skin lesions, seven diagnoses (Tschandl, Rosendahl, Kittler 2018).

The table `HAM10000_metadata` has the lesion and the diagnosis of each image; the images, `ISIC_<number>.jpg`, are found
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

from graftwork.common.data.domain import Dataset
from graftwork.common.data.file_layouts import left_out, listed, walk
from graftwork.common.data.manifest import Manifest
from graftwork.common.data.synthetic import MARKER, NOTE, begin, generator, is_synthetic
from graftwork.common.data.targets import Target
from graftwork.common.errors import DatasetError
from graftwork.domains.dermoscopy.lesion_tables import COLUMNS, DIAGNOSES, compare_tables, read_lesions

if TYPE_CHECKING:
    import pandas as pd

    from graftwork.common.data.checks.findings import Finding


DATASET = Dataset(
    name="dermoscopy/ham10000",
    title="Dermoscopic images of pigmented skin lesions: seven diagnoses (HAM10000)",
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
_TABLES = (".csv", ".tab", ".tsv", ".txt", ".xlsx", ".parquet", ".csv.gz", ".csv.zip", ".csv.bz2", ".csv.xz")
_SUFFIXES = (".jpg", ".jpeg", ".png")
_IMAGE = re.compile(r"(?P<id>ISIC_[0-9]{7})(?P<mask>_segmentation)?\.(?:jpe?g|png)", re.IGNORECASE)
_LOOKED_FOR = (
    f"the table {_TABLE} (.csv, .tab or without a suffix) and images ISIC_<number>.jpg, anywhere below"
)
_SHOWN = 10


@dataclass(frozen=True)
class _Layout:
    """What is below a root: the tables, and each id's images and masks (several where there are copies).

    Attributes:
        root: the folder. table: the table that is read. copies: further tables of that name. others: tables of other
            names. images, masks: id to paths, the one that is used first.
    """

    root: Path
    table: Path
    copies: tuple[Path, ...]
    others: tuple[Path, ...]
    images: dict[str, list[str]]
    masks: dict[str, list[str]]


def read(root: str | os.PathLike[str]) -> Manifest:
    """The manifest of the dataset in `root`. It reads tables and file names, but no pixels.

    Args:
        root: a folder with the table and the images, in any subfolders. It may also contain masks
            (`ISIC_..._segmentation.png`). Rows of missing images are left out and counted in a note, and so are images
            without a row and unused files.

    Returns:
        Cases such as `ISIC_0027419`, groups such as `HAM_0000118` (the lesion), and the diagnosis in words as target.
        Covariates `age` (years), `sex`, `localization`, `dx_type` (how the diagnosis was confirmed; it is never an
        input, because it reveals the diagnosis) and, if there are masks, `mask` (the path of the mask of the lesion).

    Raises:
        DatasetError: the table or the images are missing, the table is invalid (lists all errors), or two tables
            disagree about the lesion or the diagnosis of an image.
    """
    layout = _look(Path(root))
    table = read_lesions(layout.table)
    notes = [*table.notes, *compare_tables(table, (*layout.copies, *layout.others), layout.root)]
    there = table.frame["image_id"].isin(list(layout.images)).to_numpy()
    if not there.any():
        raise DatasetError(
            f"none of the {len(there):,} images of the table is there; looked for {_LOOKED_FOR}",
            where=layout.root,
            remedy="unpack HAM10000_images_part_1 and part_2 below this folder",
        )
    notes += _unused(layout, set(table.frame["image_id"]))
    return _manifest(layout, table.frame[there].sort_values("image_id"), notes, missing=int((~there).sum()))


def _unused(layout: _Layout, known: set[str]) -> Iterator[str]:
    """Images and masks that no row names, copies, and files of other kinds, counted."""
    for kind, places in (("image", layout.images), ("mask", layout.masks)):
        odd = sorted(set(places) - known)
        if odd:
            count = f"1 {kind} has" if len(odd) == 1 else f"{len(odd):,} {kind}s have"
            yield f"{count} no row in the table and {'is' if len(odd) == 1 else 'are'} not used, such as {odd[0]}"
        again = sum(len(found) - 1 for found in places.values())
        if again:
            yield f"{again:,} further copies of {kind}s are not used; of each id the file less deep is taken"
    named = {path for places in (layout.images, layout.masks) for found in places.values() for path in found}
    tables = {
        file.relative_to(layout.root).as_posix() for file in (layout.table, *layout.copies, *layout.others)
    }
    said = left_out(layout.root, named | tables | {MARKER})
    if said:
        yield said


def _manifest(layout: _Layout, table: pd.DataFrame, said: list[str], missing: int) -> Manifest:
    import pandas as pd

    ids = table["image_id"].tolist()
    frame = pd.DataFrame(
        {
            "case": ids,
            "path": [layout.images[each][0] for each in ids],
            "group": table["lesion_id"].tolist(),
            "target": [DIAGNOSES[code] for code in table["dx"]],
            "age": pd.to_numeric(table["age"]).astype(float).to_numpy(),
            **{
                name: table[name].where(table[name] != "unknown").astype(object).tolist()
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
    notes.append(f"{several} lesions have several images: a split by image leaks")
    notes.append("the set names no patients, so two lesions of one person can be in two parts")
    if missing:
        notes.append(f"{missing} rows of the table have no image here and are left out")
    return Manifest(
        frame=frame,
        root=layout.root,
        dataset=DATASET.name,
        group=DATASET.group,
        target=DATASET.target,
        covariates=tuple(covariates),
        notes=(*notes, *said),
    )


def findings(root: str | os.PathLike[str]) -> Iterator[Finding]:
    """What only this layout can have wrong with it: rows without an image, further tables, and copies.

    Raises:
        DatasetError: as `read`.
    """
    from graftwork.common.data.checks.findings import Finding

    layout = _look(Path(root))
    table = read_lesions(layout.table)
    known, where = set(table.frame["image_id"]), layout.table.name
    for other in layout.copies:
        what = _difference(table.frame, read_lesions(other).frame)
        yield Finding(
            "contradiction" if what else "copy", "error" if what else "warning", str(other),
            f"a second table of this name, {what or 'the same'}; {layout.table} is read",
            "remove the one that is not meant",
        )  # fmt: skip
    gone = sorted(known - set(layout.images))
    if gone:
        lesions = table.frame.loc[~table.frame["image_id"].isin(list(layout.images)), "lesion_id"]
        rest = table.frame["lesion_id"].drop(lesions.index)
        whole = int((~lesions.drop_duplicates().isin(rest)).sum())
        yield Finding(
            "missing", "warning", where,
            f"{len(gone)} rows of the table have no image below the root ({whole} lesions have none at all)",
            "unpack both parts, or accept that these rows are left out", len(gone), tuple(gone[:_SHOWN]),
        )  # fmt: skip
    for kind, places in (("image", layout.images), ("mask", layout.masks)):
        yield from _copies(layout.root, kind, places)


def _difference(one: pd.DataFrame, other: pd.DataFrame) -> str:
    """In what two tables of the same images differ, as "another age of 3 images"; "" where they are the same."""
    first, second = (each.set_index("image_id").fillna("") for each in (one, other))
    only = len(first.index.symmetric_difference(second.index))
    found = [f"{only:,} images in one of them only"] if only else []
    both = first.index.intersection(second.index)
    for name in first.columns:
        differ = int((first.loc[both, name] != second.loc[both, name]).sum())
        found += [f"another {name} of {differ:,} images"] if differ else []
    return " and ".join(found)


def _copies(root: Path, kind: str, places: dict[str, list[str]]) -> Iterator[Finding]:
    """Ids with several files: a warning where they are the same, an error where they are not."""
    import filecmp

    from graftwork.common.data.checks.findings import Finding

    same: list[list[str]] = []
    differ: list[list[str]] = []
    for found in places.values():
        if len(found) > 1:
            alike = all(filecmp.cmp(root / found[0], root / each, shallow=False) for each in found[1:])
            (same if alike else differ).append(found)
    for twice, severity in ((same, "warning"), (differ, "error")):
        if twice:
            yield Finding(
                "copy" if twice is same else "contradiction", "warning" if severity == "warning" else "error",
                str(Path(twice[0][1]).parent),
                f"{len(twice)} {kind}s are below the root more than once"
                f"{'' if twice is same else ', with other content'}; the first is taken",
                "remove the copies, so that it is certain which is used", len(twice),
                tuple(f"{found[0]} = {found[1]}" for found in twice[:_SHOWN]),
            )  # fmt: skip


def _look(root: Path) -> _Layout:
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "there is no such folder"
        raise DatasetError(
            f"{what}; looked for {_LOOKED_FOR}", where=root, remedy="check the path given with --data"
        )
    tables: list[str] = []
    others: list[str] = []
    images: dict[str, list[str]] = {}
    masks: dict[str, list[str]] = {}
    for path in sorted(walk(root, (*_SUFFIXES, *_TABLES, _TABLE.lower())), key=_order):
        name = path.rpartition("/")[2]
        match = _IMAGE.fullmatch(name)
        if match:
            places = masks if match["mask"] else images
            places.setdefault(f"ISIC_{match['id'][5:]}", []).append(path)
        elif name.partition(".")[0].lower() == _TABLE.lower():
            tables.append(path)
        elif name.lower().endswith(_TABLES) and name != MARKER:
            others.append(path)
    if not tables:
        raise DatasetError(
            f"looked for {_LOOKED_FOR}; found: {listed(root)}",
            where=root,
            remedy=f"put {_TABLE}.csv, as published, into this folder",
        )
    first, *copies = (root / table for table in tables)
    return _Layout(root, first, tuple(copies), tuple(root / each for each in others), images, masks)


def _order(path: str) -> tuple[int, str]:
    """Of two copies the one that lies less deep comes first."""
    return path.count("/"), path


def synthesize(folder: str | os.PathLike[str], *, cases: int = 60, seed: int = 0) -> None:
    """Write a small synthetic dataset in the same layout and with the same quirks.

    Drawn lesions on drawn skin, seven kinds that differ in shape, colour and structure. As in the published set: two
    folders of images, several images of a lesion (another place, light and zoom), empty ages, `unknown` sexes,
    `follow_up` only for nevi, masks in a folder of their own. What is depends on `cases` and `seed` alone.

    Args:
        folder: the output folder; it must be new, empty, or hold the same synthetic dataset.
        cases: how many images, at least 42.
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
        image = Image.fromarray((pixels * 255).round().astype(np.uint8))
        image.save(root / part / f"{row['image_id']}.jpg", quality=90)
        outline = Image.fromarray(mask.astype(np.uint8) * 255).convert("1")
        outline.save(root / "HAM10000_segmentations" / f"{row['image_id']}_segmentation.png")
    with (root / f"{_TABLE}.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def _plan(cases: int, seed: int) -> Iterator[dict[str, str]]:
    """The rows of the table: each diagnosis gets its share, at least four images of three lesions."""
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
            # three lesions of each diagnosis first, so that each can be in every part
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
