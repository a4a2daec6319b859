"""Readers by meaning: equivalent files give one manifest, contradictory ones are refused or found, never a third.

A new reader is added to `READERS`. `GRAFTWORK_MEANINGS` sets how many variants of each kind are drawn.
"""

from __future__ import annotations

import copy
import csv
import os
import random
import tempfile
from functools import cache
from pathlib import Path

import pytest
from varied_readers import Change, Laid, Reader, Table, table_changes

from graftwork.common.data import domain
from graftwork.common.data.group_keys import name_doubts
from graftwork.common.errors import GraftworkError

VARIANTS = int(os.environ.get("GRAFTWORK_MEANINGS", "60"))


# HAM10000

HAM = "HAM10000_metadata.csv"
SCORED = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")


@cache
def _ham() -> Laid:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "set"
        domain.dataset("dermoscopy/ham10000").synthesize(root, cases=42, seed=0)
        with (root / HAM).open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        names = [each.relative_to(root).as_posix() for each in root.rglob("ISIC_*")]
        masks = sorted(name for name in names if "_segmentation" in name)
        names = [
            name for name in names if name not in masks[6:]
        ]  # few files, so that many variants are quick
    return Laid({HAM: Table(header, rows)}, {name: name.encode()[-40:] for name in sorted(names)})


def ham() -> Laid:
    return copy.deepcopy(_ham())


def table_of(laid: Laid) -> Table:
    return laid.tables[HAM]


def shared_row(chance: random.Random, table: Table) -> int:
    """A row whose lesion has another row."""
    lesions = [each.strip() for each in table.cells("lesion_id")]
    return chance.choice([row for row, each in enumerate(lesions) if lesions.count(each) > 1])


def in_subfolders(chance: random.Random, laid: Laid) -> None:
    folders = ("a", "a/b \u00fc", "c")
    for path in list(laid.files):
        laid.move(path, f"{chance.choice(folders)}/{path}")


def capitals_of_endings(chance: random.Random, laid: Laid) -> None:
    for path in list(laid.files):
        stem, _, ending = path.rpartition(".")
        laid.move(path, f"{stem}.{chance.choice([ending.upper(), ending.title(), ending])}")


def other_files(chance: random.Random, laid: Laid) -> None:
    more = {
        ".DS_Store": b"x", "__MACOSX/._a.jpg": b"x", "readme.txt": b"hello", "notes/a.pdf": b"%PDF",
        "patients.csv": b"name,age\nA,3\n", "hmnist_8_8_L.csv": b"pixel0000,label\n1,2\n",
    }  # fmt: skip
    for name in chance.sample(sorted(more), chance.randint(1, len(more))):
        laid.files[name] = more[name]


def agreeing_table(chance: random.Random, laid: Laid) -> None:
    if {"image_id", "dx"} <= {name.strip() for name in table_of(laid).header}:
        laid.tables["labels/truth.csv"] = one_hot(table_of(laid))


def one_hot(table: Table) -> Table:
    codes = [code.strip().upper() for code in table.cells("dx")]
    rows = [
        [image.strip(), *("1.0" if code == name else "0.0" for name in SCORED)]
        for image, code in zip(table.cells("image_id"), codes, strict=True)
    ]
    return Table(["image", *SCORED], rows)


def ham_change(column: str, *values: str) -> Change:
    def change(chance: random.Random, laid: Laid) -> None:
        table = table_of(laid)
        table.put(chance.randrange(len(table.rows)), column, chance.choice(values))

    change.__name__ = f"{column} {values[0]!r}"
    return change


def respelt_lesion(chance: random.Random, laid: Laid) -> None:
    table = table_of(laid)
    row = shared_row(chance, table)
    name = table.cells("lesion_id")[row].strip()
    digits = name.partition("_")[2]
    spelt = [
        name.lower(),
        f"HAM_{digits.lstrip('0') or '0'}",
        f"HAM-{digits}",
        f"HAM{digits}",
        f"{name}.0",
        f"{name}_",
    ]
    table.put(row, "lesion_id", chance.choice(spelt))


def second_row(chance: random.Random, laid: Laid) -> None:
    table = table_of(laid)
    again = list(chance.choice(table.rows))
    at = table.place("lesion_id")
    if chance.random() < 0.5:
        again[at] = chance.choice(table.cells("lesion_id"))
    table.rows.insert(chance.randrange(len(table.rows)), again)


def missing_column(chance: random.Random, laid: Laid) -> None:
    table = table_of(laid)
    at = table.place(chance.choice(["lesion_id", "image_id", "dx", "age", "sex"]))
    for row in (table.header, *table.rows):
        del row[at]


def column_like_another(chance: random.Random, laid: Laid) -> None:
    table = table_of(laid)
    name = chance.choice(["Lesion_ID", "lesion id", "DX", "imageid"])
    table.header.append(name)
    for row in table.rows:
        row.append(f"x{chance.randint(0, 9)}")


def disagreeing_copy(chance: random.Random, laid: Laid) -> None:
    other = Table(list(table_of(laid).header), [list(row) for row in table_of(laid).rows])
    row = chance.randrange(len(other.rows))
    column, value = chance.choice([("dx", "nv"), ("dx", "mel"), ("lesion_id", "HAM_9999999"), ("age", "3")])
    if other.cells(column)[row].strip() == value:
        value = "bkl" if column == "dx" else "4"
    other.put(row, column, value)
    laid.tables[f"old/{HAM}"] = other


def disagreeing_truth(chance: random.Random, laid: Laid) -> None:
    truth = one_hot(table_of(laid))
    row = chance.choice(truth.rows)
    at = row.index("1.0")
    row[at], row[1 + at % 7] = "0.0", "1.0"
    laid.tables["ISIC2018_Task3_Training_GroundTruth.csv"] = truth


def disagreeing_groups(chance: random.Random, laid: Laid) -> None:
    table = table_of(laid)
    row = shared_row(chance, table)
    names = {each.strip(): f"IL_{number}" for number, each in enumerate(table.cells("lesion_id"))}
    rows = [
        [image.strip(), names[lesion.strip()]]
        for image, lesion in zip(table.cells("image_id"), table.cells("lesion_id"), strict=True)
    ]
    rows[row][1] = "IL_9999"
    laid.tables["groups.tsv"] = Table(["isic_id", "lesion_id"], rows, separator="\t")


def copy_with_other_content(chance: random.Random, laid: Laid) -> None:
    path = chance.choice([each for each in laid.files if each.lower().endswith(".jpg")])
    laid.files[f"deep/er/still/{path}"] = b"another image"


def row_cut_short(chance: random.Random, laid: Laid) -> None:
    table_of(laid).cut = chance.randrange(len(table_of(laid).rows))


# Kermany


def kermany() -> Laid:
    """The names of a synthetic set; the reader opens no file."""
    from graftwork.domains.chest_xray.kermany import _plan

    return Laid(files={path: b"" for path, _, _ in _plan(60, 1)})


def other_ending(chance: random.Random, laid: Laid) -> None:
    for path in chance.sample(sorted(laid.files), 5):
        if path.endswith(".jpeg"):
            laid.move(path, f"{path.removesuffix('.jpeg')}.{chance.choice(['jpg', 'png', 'PNG', 'tif'])}")


def below_a_folder(chance: random.Random, laid: Laid) -> None:
    above = chance.choice(["chest_xray", "chest_xray/chest_xray", "my copy \u00fc"])
    if all(path.split("/")[0] in ("train", "val", "test") for path in laid.files):
        for path in list(laid.files):
            laid.move(path, f"{above}/{path}")


def litter(chance: random.Random, laid: Laid) -> None:
    place = chance.choice(sorted(laid.files)).rpartition("/")[0]
    laid.files[
        f"{place}/{chance.choice(['.DS_Store', '._x.jpeg', 'notes.txt', 'sizes.csv', 'Thumbs.db'])}"
    ] = b""


def images(laid: Laid) -> list[str]:
    endings = (".jpeg", ".jpg", ".png", ".tif")
    return [path for path in sorted(laid.files) if path.lower().endswith(endings) and "/._" not in path]


def moved(chance: random.Random, laid: Laid) -> None:
    """An image to where it cannot be: the other class, a third one, below or above its folder, another part too."""
    path = chance.choice(images(laid))
    folder, _, name = path.rpartition("/")
    part, _, label = folder.rpartition("/")
    other = "NORMAL" if label == "PNEUMONIA" else "PNEUMONIA"
    laid.move(
        path,
        chance.choice(
            [f"{part}/{other}/{name}", f"{part}/COVID/{name}", f"{folder}/sub/{name}", f"{part}/{name}",
             f"{part}/{label.lower()}/{name}"]
        ),
    )  # fmt: skip


def in_two_parts(chance: random.Random, laid: Laid) -> None:
    path = chance.choice(images(laid))
    swapped = path.replace("train/", "test/") if "train/" in path else path.replace("test/", "train/")
    laid.files[swapped.replace("val/", "train/")] = b""


def misnamed(chance: random.Random, laid: Laid) -> None:
    path = chance.choice(images(laid))
    folder, _, name = path.rpartition("/")
    stem, _, ending = name.rpartition(".")
    spelt = [
        f"{stem} (1)",
        f"{stem} ",
        f" {stem}",
        stem.lower().replace("person", "Person"),
        f"copy of {stem}",
    ]
    laid.files[f"{folder}/{chance.choice(spelt)}.{ending}"] = b""


def unreadable_ending(chance: random.Random, laid: Laid) -> None:
    path = chance.choice(images(laid))
    laid.move(path, f"{path.rpartition('.')[0]}.{chance.choice(['webp', 'gif', 'jpeg.part', 'JPE'])}")


def zeros(chance: random.Random, laid: Laid) -> None:
    """The same number with other zeros: another patient by name, perhaps the same."""
    path = chance.choice([each for each in images(laid) if "person" in each or "IM-0" in each])
    old, new = ("person", "person0") if "person" in path else ("IM-0", "IM-00")
    folder, _, name = path.rpartition("/")
    laid.files[f"{folder}/{name.replace(old, new)}"] = b""


READERS = (
    Reader(
        "dermoscopy/ham10000",
        ham,
        (*table_changes(HAM, ("lesion_id", "image_id", "dx", "sex", "localization", "dx_type")), in_subfolders,
         capitals_of_endings, other_files, agreeing_table),
        (ham_change("dx", "MEL", "naevus", "melanoma", "", "nv;mel"),
         ham_change("age", "old", "eighty", "-5", "1e5", "80+"),
         ham_change("sex", "M", "Female", "weiblich"), ham_change("dx_type", "Histo", "biopsy"),
         ham_change("localization", "Back", "lower_extremity"), ham_change("lesion_id", ""),
         ham_change("image_id", "isic_0024301", "ISIC_24301", "24301", "ISIC_0024301.jpg", ""),
         respelt_lesion, second_row, missing_column, column_like_another, disagreeing_copy, disagreeing_truth,
         disagreeing_groups, copy_with_other_content, row_cut_short),
    ),
    Reader(
        "chest_xray/kermany",
        kermany,
        (capitals_of_endings, other_ending, below_a_folder, litter),
        (moved, in_two_parts, misnamed, unreadable_ending, zeros),
    ),
)  # fmt: skip


def outcome(reader: Reader, laid: Laid, root: Path) -> tuple[str, object]:
    """("refused", why), ("found", what) or ("read", the meaning of the manifest)."""
    laid.lay(root)
    loaded = domain.dataset(reader.name)
    try:
        manifest = loaded.read(root)
        errors = [each for each in loaded.findings(root) if each.severity == "error"]
    except GraftworkError as error:
        return "refused", str(error)
    doubts = [each.what for each in name_doubts(manifest) if each.severity == "error"]
    if errors or doubts:
        return "found", [*(each.what for each in errors), *doubts]
    return "read", reader.meaning(manifest)


def varied(reader: Reader, seed: int, contradiction: bool) -> tuple[list[str], tuple[str, object]]:
    """The changes of a variant by name, and what came of it."""
    chance = random.Random(f"{reader.name} {seed} {contradiction}")
    laid = reader.published()
    changes = chance.sample(reader.equivalent, chance.randint(0 if contradiction else 1, 3))
    if contradiction:
        changes.insert(0, chance.choice(reader.contradictory))
    for change in changes:
        change(chance, laid)
    with tempfile.TemporaryDirectory() as folder:
        return [change.__name__ for change in changes], outcome(reader, laid, Path(folder))


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_equivalent_files_give_the_same_manifest(reader: Reader, tmp_path: Path) -> None:
    what, expected = outcome(reader, reader.published(), tmp_path)
    assert what == "read", expected
    for seed in range(VARIANTS):
        names, (what, found) = varied(reader, seed, contradiction=False)
        assert what == "read", (seed, names, found)
        assert found == expected, (seed, names)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_contradictory_files_are_refused_or_found(reader: Reader, tmp_path: Path) -> None:
    for seed in range(VARIANTS):
        names, (what, found) = varied(reader, seed, contradiction=True)
        assert what in ("refused", "found"), (seed, names)
        assert found, (seed, names)
