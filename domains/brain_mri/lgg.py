"""Slices of brain MRI with segmented lower-grade glioma (Buda 2019; TCGA-LGG), "kaggle_3m".

The layout is that of the public archive, `kaggle_3m/TCGA_CS_4942_19970222/TCGA_CS_4942_19970222_12.tif` with
`..._12_mask.tif` beside it and `data.csv` above. Numbers of slices are not padded with zeros. See the data card.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graftwork.common.data.domain import Dataset
from graftwork.common.data.file_layouts import find_folder
from graftwork.common.data.manifest import Manifest
from graftwork.common.data.synthetic import NOTE, begin, generator, is_synthetic
from graftwork.common.data.targets import Target
from graftwork.common.errors import DatasetError
from graftwork.domains.brain_mri.patients import SPACING, TABLE, read_patients, read_spacings
from graftwork.domains.brain_mri.stacks import (
    LOOKED_FOR,
    SUFFIXES,
    Volume,
    complain,
    copies,
    holds_volumes,
    left_out,
    volumes_in,
)

if TYPE_CHECKING:
    from graftwork.common.data.checks.findings import Finding


DATASET = Dataset(
    name="brain_mri/lgg",
    title="FLAIR abnormality of lower-grade glioma on brain MRI (Buda 2019, kaggle_3m)",
    group="patient",
    target=Target("abnormality", "segmentation", ("background", "abnormality"), values=(0, 255)),
    protocol="lgg-buda",
    licence="CC BY-NC-SA 4.0",
    citation=(
        "Buda M, Saha A, Mazurowski MA. Association of genomic subtypes of lower-grade gliomas with shape "
        "features automatically extracted by a deep learning algorithm. Computers in Biology and Medicine "
        "109:218-225, 2019. doi:10.1016/j.compbiomed.2019.05.002. Images: The Cancer Imaging Archive, TCGA-LGG, "
        "doi:10.7937/K9/TCIA.2016.L4LTD3TK"
    ),
    # Kaggle's two names, the collection that the patients are of, and the challenges that drew on it from 2017 on
    known_as=("LGG Segmentation Dataset", "kaggle_3m", "TCGA-LGG", "BraTS"),
)

_COVARIATES = ("volume", "slice", "spacing", "institution", *TABLE)
_SEQUENCES = {0: "pre-contrast", 2: "post-contrast"}  # channel 1 is FLAIR


def read(root: str | os.PathLike[str]) -> Manifest:
    """The manifest of the dataset in `root`. It reads file names and tables, but no pixels.

    Args:
        root: the folder with the folders of the patients, or a folder up to two levels above it. The archive contains
            two copies of the dataset; the copy in the higher folder is read. An optional table `spacing.csv` (patient,
            slice_mm, row_mm, column_mm) can be beside `data.csv` or in `root`.

    Returns:
        Cases such as `TCGA_CS_4942_19970222/12`, groups such as `TCGA_CS_4942`, unit `volume` (the folder of the
        patient). `slice` is the number of the slice, counted from the lowest; `spacing` is unknown without the table.

    Raises:
        DatasetError: the folders are missing, or file names or tables are invalid (lists all of them).
    """
    place = find_folder(root, holds_volumes, LOOKED_FOR, "unpack the archive again")
    faults: list[str] = []
    volumes = volumes_in(place, faults)
    complain(faults, "file name", "a name is FOLDER_NUMBER.tif or FOLDER_NUMBER_mask.tif", place)
    if not any(volume.images for volume in volumes):
        raise DatasetError(
            f"no image ({', '.join(SUFFIXES)}) in the folders",
            where=place,
            remedy="give the folder that holds the folders of the patients",
        )
    return _manifest(Path(root), place, volumes)


def _manifest(root: Path, place: Path, volumes: list[Volume]) -> Manifest:
    import pandas as pd

    patients = read_patients(place, {volume.group for volume in volumes})
    spacings, remarks = read_spacings(root, place, volumes)
    rows: list[dict[str, Any]] = []
    for volume in volumes:
        for number in sorted(volume.images):
            row = patients.rows.get(volume.group, {})
            mask = volume.masks.get(number)
            rows.append(
                {
                    "case": f"{volume.name}/{number}",
                    "path": f"{volume.name}/{volume.images[number]}",
                    "group": volume.group,
                    "mask": None if mask is None else f"{volume.name}/{mask}",
                    "volume": volume.name,
                    "slice": number - min(volume.images),
                    "spacing": spacings.get(volume.name, spacings.get(volume.group)),
                    "institution": volume.institution,
                    **{name: row.get(name) for name in TABLE},
                }
            )
    frame = pd.DataFrame(rows, columns=["case", "path", "group", "mask", *_COVARIATES])
    text = pd.StringDtype(na_value=float("nan"))  # of a column without any value too
    kinds = {name: text for name in _COVARIATES if name != "slice"} | {"age": "float64"}
    return Manifest(
        frame=frame.astype(kinds),
        root=place,
        dataset=DATASET.name,
        group=DATASET.group,
        target=DATASET.target,
        covariates=_COVARIATES,
        notes=(*_notes(root, place, volumes, bool(patients.rows), bool(spacings)), *patients.notes, *remarks),
        unit="volume",
    )


def _notes(root: Path, place: Path, volumes: list[Volume], has_table: bool, spaced: bool) -> Iterator[str]:
    if is_synthetic(root, place):
        yield NOTE
    if not spaced:
        yield "the TIFF files state no spacing and there is no spacing.csv: distances in mm are undefined"
    blind = sum(number not in volume.masks for volume in volumes for number in volume.images)
    if blind:
        yield f"{blind} slices have no mask; what is true in them is unknown"
    spare = sum(number not in volume.images for volume in volumes for number in volume.masks)
    if spare:
        yield f"{spare} masks without a slice are left out"
    if not has_table:
        yield "data.csv is missing: histology, grade, gender and age are unknown"
    left = left_out(place, volumes, ("data.csv", SPACING))
    if left:
        yield f"left out: {len(left)} files and folders that are no slice ({', '.join(left[:5])})"
    if copies(root, place):
        yield "the set lies here twice, as in the public archive; one copy is read"


def findings(root: str | os.PathLike[str]) -> Iterator[Finding]:
    """What only this layout can have wrong with it; images are read, to find sequences that are missing.

    Args:
        root: as for `read`.

    Raises:
        DatasetError: there is no such set.
    """
    from graftwork.common.data.checks.findings import Finding

    place = find_folder(root, holds_volumes, LOOKED_FOR, "unpack the archive again")
    volumes = volumes_in(place, [])
    for copy in copies(Path(root), place):
        yield _compared(place, copy)
    kinds = {
        "slices have no mask": [
            f"{volume.name}/{volume.images[number]}"
            for volume in volumes
            for number in sorted(volume.images.keys() - volume.masks.keys())
        ],
        "masks have no slice and are left out": [
            f"{volume.name}/{volume.masks[number]}"
            for volume in volumes
            for number in sorted(volume.masks.keys() - volume.images.keys())
        ],
        "numbers of slices are missing between the first and the last of a patient": [
            f"{volume.name}_{number}" for volume in volumes for number in volume.gaps
        ],
        "folders of patients hold no image": [volume.name for volume in volumes if not volume.images],
    }
    groups = {volume.group for volume in volumes}
    patients = read_patients(place, groups)
    if patients.rows:
        kinds["patients are missing in data.csv"] = sorted(groups - patients.rows.keys())
    if patients.alike:
        yield Finding(
            "contradiction",
            "error",
            str(place / "data.csv"),
            "names look alike and count as different",
            "write each name in one way, as the folders have it",
            len(patients.alike),
            tuple(patients.alike[:5]),
        )
    for what, names in kinds.items():
        if names:
            yield Finding(
                "missing",
                "warning",
                str(place),
                what,
                "unpack the archive again",
                len(names),
                tuple(names[:5]),
            )
    equal = {
        channel: [each.name for each in volumes if _equals_flair(place, each, channel)]
        for channel in _SEQUENCES
    }
    for channel, names in equal.items():
        if names:
            yield Finding(
                kind="missing",
                severity="warning",
                where=f"channel {channel} ({_SEQUENCES[channel]})",
                what="equals FLAIR in every slice of a patient: the publisher puts FLAIR where a sequence is missing",
                remedy="nothing can be restored; mind it when a network is to rely on this sequence",
                count=len(names),
                examples=tuple(names[:5]),
            )


def _compared(place: Path, copy: Path) -> Finding:
    import filecmp

    from graftwork.common.data.checks.findings import Finding

    mine, theirs = (
        {
            f"{each.name}/{name}"
            for each in volumes_in(tree, [])
            for name in (*each.images.values(), *each.masks.values())
        }
        for tree in (place, copy)
    )
    both = sorted(mine & theirs)
    other = [name for name in both if not filecmp.cmp(place / name, copy / name, shallow=False)]
    if mine == theirs and not other:
        what = f"a second copy of the whole set, the same byte for byte in all {len(both)} files"
    else:
        what = (
            f"a second copy of the dataset: {len(other)} of {len(both)} files in both copies differ; "
            f"{len(mine - theirs)} are missing there, {len(theirs - mine)} are only there"
        )
    remedy = f"nothing, if {place.name} is the right one: it alone is read; else delete the other"
    return Finding("duplicate", "warning", str(copy), what, remedy, len(both), tuple(other[:5]))


def _equals_flair(place: Path, volume: Volume, channel: int) -> bool:
    """Whether a channel is the same as FLAIR in all slices; False if one cannot be read."""
    import numpy as np
    from PIL import Image

    found = False
    for name in volume.images.values():
        try:
            with Image.open(place / volume.name / name) as image:
                pixels = np.asarray(image)
        except (OSError, ValueError):
            continue
        if (
            pixels.ndim != 3
            or pixels.shape[2] != 3
            or not np.array_equal(pixels[..., channel], pixels[..., 1])
        ):
            return False
        found = True
    return found


def synthesize(folder: str | os.PathLike[str], *, cases: int = 60, seed: int = 0) -> None:
    """Write a small synthetic dataset in the same layout and with the same quirks.

    Drawn heads with a blob that is bright in FLAIR, 64 px wide, several slices a patient. As in the published
    set: numbers without zeros in front, masks of 0 and 255, slices without a blob, two patients for whom FLAIR
    replaces missing sequences, empty cells in `data.csv`. What is written depends on `cases` and `seed`
    alone.

    Args:
        folder: the output folder; it must be new, empty, or hold the same synthetic dataset.
        cases: how many slices, at least 20.
        seed: another seed, other patients.

    Raises:
        DatasetError: too few cases, or a folder that holds something else.
    """
    import numpy as np
    from PIL import Image

    from graftwork.domains.brain_mri.drawings import draw_stack

    place = begin(folder, cases=cases, seed=seed, least=20) / "kaggle_3m"
    place.mkdir(exist_ok=True)
    chance = generator(DATASET.name, seed, "plan")
    header = ("Patient", *TABLE.values())
    lines = [",".join(header)]
    for number, slices in enumerate(_sizes(cases, chance)):
        institution = ("CS", "DU", "EZ", "FG", "HT")[number % 5]
        group = f"TCGA_{institution}_Z{number:03d}"
        name = f"{group}_{int(chance.integers(1995, 2005))}{int(chance.integers(1, 13)):02d}15"
        values = [int(chance.integers(1, 4)), int(chance.integers(1, 3)), int(chance.integers(1, 3))]
        cells = ["", "", "", ""] if number == 4 else [*map(str, values), str(int(chance.integers(20, 76)))]
        lines.append(",".join([group, *cells]))
        drawn = generator(DATASET.name, seed, group)
        images, masks = draw_stack(drawn, slices, 64, pre=number != 2, post=number not in (2, 5))
        (place / name).mkdir(exist_ok=True)
        for layer in range(slices):
            stem = place / name / f"{name}_{layer + 1}"
            Image.fromarray(images[layer]).save(f"{stem}.tif", compression="tiff_lzw")
            mask = (masks[layer] * 255).astype(np.uint8)
            Image.fromarray(mask).save(f"{stem}_mask.tif", compression="tiff_lzw")
    (place / "data.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _sizes(cases: int, chance: Any) -> list[int]:
    """Slices of each patient: two at least, ten and more of the first if there are enough."""
    patients = max(10, cases // 5)
    sizes = [2] * patients
    if cases >= 2 * patients + 16:
        sizes[0] = 12  # so that 10 stands before 2 where names are sorted as text
    while sum(sizes) < cases:
        number = int(chance.integers(1, patients))
        sizes[number] += sizes[number] < 9
    return sizes
