"""Anterior and posterior hippocampus in T1-weighted MRI (Medical Segmentation Decathlon, Task04).

The layout is that of the Decathlon: `imagesTr/hippocampus_001.nii.gz`, `labelsTr/hippocampus_001.nii.gz` and
`dataset.json`, which lists the pairs and names the labels. See the data card.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graftwork.common.data.domain import Dataset
from graftwork.common.data.file_layouts import find_folder, folders_below, walk
from graftwork.common.data.manifest import Manifest
from graftwork.common.data.synthetic import NOTE, begin, generator, is_synthetic
from graftwork.common.data.targets import Target
from graftwork.common.errors import DatasetError
from graftwork.common.names import look_alikes
from graftwork.common.wording import fault_lines
from graftwork.domains.brain_mri.decathlon import NAMES, PairList, read_list

if TYPE_CHECKING:
    import numpy as np

    from graftwork.common.data.checks.findings import Finding


DATASET = Dataset(
    name="brain_mri/hippocampus_msd",
    title="Anterior and posterior hippocampus on T1-weighted MRI (Medical Segmentation Decathlon)",
    group="volume",
    target=Target("hippocampus", "segmentation", ("background", "anterior", "posterior")),
    protocol="msd-hippocampus",
    licence="CC BY-SA 4.0",
    citation=(
        "Antonelli M, Reinke A, Bakas S, et al. The Medical Segmentation Decathlon. Nature Communications 13:4128, "
        "2022. doi:10.1038/s41467-022-30695-9. Simpson AL, Antonelli M, Bakas S, et al. A large annotated medical "
        "image dataset for the development and evaluation of segmentation algorithms. arXiv:1902.09063, 2019"
    ),
    known_as=("Medical Segmentation Decathlon", "MSD Task04", "Task04_Hippocampus"),
    one_case_groups=True,
)

_FOLDERS = ("imagesTr", "labelsTr")
_SUFFIXES = (".nii", ".nii.gz")
_LISTED = 500


@dataclass
class _Files:
    """The files in the folders and the entries of `dataset.json`; keys are cases, values paths."""

    place: Path
    images: dict[str, str]
    labels: dict[str, str]
    about: PairList
    faults: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)  # files of another type
    copies: list[Path] = field(default_factory=list)  # other folders of the same layout

    @property
    def pairs(self) -> list[str]:
        return sorted(self.images.keys() & self.labels.keys())

    @property
    def unpaired(self) -> dict[str, list[str]]:
        """What is wrong, and the paths of which it is."""
        return {
            "images without labels": sorted(
                self.images[case] for case in self.images.keys() - self.labels.keys()
            ),
            "labels without an image": sorted(
                self.labels[case] for case in self.labels.keys() - self.images.keys()
            ),
        }

    @property
    def unlisted(self) -> dict[str, list[str]]:
        """The same of pairs in the folders and in `dataset.json`."""
        if self.about.cases is None:
            return {}
        return {
            "pairs of dataset.json that are not here": sorted(self.about.cases - set(self.pairs)),
            "pairs that dataset.json does not list": sorted(set(self.pairs) - self.about.cases),
        }

    @property
    def alike(self) -> list[str]:
        """Names of cases that differ in case, leading zeros or punctuation alone, in folders and list together."""
        return [
            " and ".join(each)
            for each in look_alikes([*self.images, *self.labels, *sorted(self.about.cases or ())])
        ]


def read(root: str | os.PathLike[str]) -> Manifest:
    """The manifest of the dataset in `root`. It reads file names and `dataset.json`, but no volumes.

    Args:
        root: the folder with `imagesTr` and `labelsTr`, or a folder up to two levels above it. `imagesTs` is ignored,
            because its labels are not published.

    Returns:
        Cases and groups such as `hippocampus_001`, one row per volume with image and labels. The group is the volume,
        because the dataset does not name the person.

    Raises:
        DatasetError: the folders are missing, file names are invalid (lists all of them), or `dataset.json` is damaged
            or of another task.
    """
    import pandas as pd

    files = _files(Path(root))
    if files.faults:
        listing = fault_lines(files.faults, _LISTED)
        count = "1 file name" if len(files.faults) == 1 else f"{len(files.faults)} file names"
        raise DatasetError(
            f"{count} cannot be read; a name is hippocampus_NUMBER.nii.gz, once in each folder:{listing}",
            where=files.place,
            remedy="restore the published names, or move these files elsewhere",
        )
    if not files.pairs:
        raise DatasetError(
            f"no volume has both an image and labels ({len(files.images)} images, {len(files.labels)} labels)",
            where=files.place,
            remedy="unpack the archive again",
        )
    cases = files.pairs
    frame = pd.DataFrame(
        {
            "case": cases,
            "path": [files.images[case] for case in cases],
            "group": cases,
            "mask": [files.labels[case] for case in cases],
        }
    )
    return Manifest(
        frame=frame,
        root=files.place,
        dataset=DATASET.name,
        group=DATASET.group,
        target=DATASET.target,
        notes=tuple(_notes(Path(root), files)),
        one_case_groups=DATASET.one_case_groups,
    )


def _notes(root: Path, files: _Files) -> Iterator[str]:
    if is_synthetic(root, files.place):
        yield NOTE
    yield "the dataset does not say which volumes are of the same person (left and right): parts may share persons"
    yield "headers place every crop at 0 or 1 mm: where in the head it lay, and on which side, is not known"
    for what, names in files.unpaired.items():
        if names:
            yield f"left out: {len(names)} {what} ({', '.join(names[:5])})"
    for what, names in files.unlisted.items():
        if names:
            yield f"{len(names)} {what} ({', '.join(names[:5])}): the folders decide"
    if files.copies:
        yield f"not read: {len(files.copies)} other folders of this layout ({', '.join(map(str, files.copies[:5]))})"
    if files.others:
        yield f"left out: {len(files.others)} files of another type ({', '.join(files.others[:5])})"
    if files.alike:
        yield f"names that look alike count as different: {'; '.join(files.alike[:5])}"
    yield from files.about.notes
    if files.about.cases is None:
        yield "there is no list of pairs (dataset.json): those in the folders are taken"
    if (files.place / "imagesTs").is_dir():
        yield "imagesTs is left alone: its labels are not published"


def _is_it(folder: Path) -> bool:
    return all((folder / name).is_dir() for name in _FOLDERS)


def _files(root: Path) -> _Files:
    place = find_folder(
        root,
        _is_it,
        "the folders imagesTr and labelsTr",
        "unpack the archive again (Task04_Hippocampus)",
    )
    below = [root, *folders_below(root)]
    near = [*below, *(deeper for each in below[1:] for deeper in folders_below(each))]
    copies = [each for each in near if each != place and _is_it(each)]
    faults: list[str] = []
    others: list[str] = []
    images, labels = (
        _cases(place, folder, form, faults, others) for folder, form in zip(_FOLDERS, NAMES, strict=True)
    )
    return _Files(
        place,
        images,
        labels,
        read_list(place / "dataset.json", DATASET.target.classes),
        faults,
        others,
        copies,
    )


def _cases(
    place: Path, folder: str, form: re.Pattern[str], faults: list[str], others: list[str]
) -> dict[str, str]:
    """The files of a folder by case, as paths; to `faults` go names that cannot be read, to `others` other files."""
    paths: dict[str, str] = {}
    for name in walk(place / folder, ("",)):
        if not name.lower().endswith(_SUFFIXES):
            others.append(f"{folder}/{name}".encode(errors="backslashreplace").decode())
            continue
        match = form.fullmatch(re.sub(r"\.nii(\.gz)?$", "", name, flags=re.IGNORECASE))
        shown = f"{folder}/{name}".encode(errors="backslashreplace").decode()  # a name need not be Unicode
        if match is None:
            faults.append(shown)
        elif match[1] in paths:
            faults.append(f"{shown}: {paths[match[1]]} is of the same case")
        else:
            paths[match[1]] = f"{folder}/{name}"
    return paths


def findings(root: str | os.PathLike[str]) -> Iterator[Finding]:
    """Files without their other half, and what `dataset.json` lists otherwise than the folders.

    Args:
        root: as for `read`.

    Raises:
        DatasetError: there is no such set.
    """
    from graftwork.common.data.checks.findings import Finding

    files = _files(Path(root))
    remedy = "they are left out; find the other half, or take them away"
    for what, names in files.unpaired.items():
        if names:
            yield Finding("missing", "warning", str(files.place), what, remedy, len(names), tuple(names[:5]))
    if files.alike:
        yield Finding(
            "contradiction",
            "error",
            str(files.place),
            "names of volumes look alike and count as different",
            "give each volume one name, as the published set has it",
            len(files.alike),
            tuple(files.alike[:5]),
        )
    remedy = "the pairs in the folders are taken; unpack the archive again if they should be others"
    for what, names in files.unlisted.items():
        if names:
            kind = "missing" if "not here" in what else "unlisted-file"
            yield Finding(kind, "warning", str(files.place), what, remedy, len(names), tuple(names[:5]))


def synthesize(folder: str | os.PathLike[str], *, cases: int = 60, seed: int = 0) -> None:
    """Write a small synthetic dataset in the same layout and with the same quirks.

    Blocks of tissue, about 24 x 32 x 24 voxels, with a bent body whose front and rear part are labelled. As in
    the published set: numbers with gaps, volumes of different size, intensities from a hundred to a million,
    some stored as uint8, headers placed at 1 mm or at 0, the litter of a foreign file system. What is written
    depends on `cases` and `seed` alone.

    Args:
        folder: the output folder; it must be new, empty, or hold the same synthetic dataset.
        cases: how many volumes, at least 10.
        seed: another seed, other volumes.

    Raises:
        DatasetError: too few cases, or a folder that holds something else.
    """
    import numpy as np

    from graftwork.domains.brain_mri.drawings import draw_hippocampus

    root = begin(folder, cases=cases, seed=seed, least=10)
    plan = generator(DATASET.name, seed, "plan")
    numbers = np.cumsum(plan.integers(1, 3, cases))
    for name in _FOLDERS:
        (root / name).mkdir(exist_ok=True)
    pairs = []
    for place, number in enumerate(map(int, numbers)):
        file = f"hippocampus_{number:03d}.nii.gz"
        chance = generator(DATASET.name, seed, file)
        shape = tuple(int(side + chance.integers(-3, 4)) for side in (24, 32, 24))
        scan, labels = draw_hippocampus(chance, (shape[0], shape[1], shape[2]))
        byte = place % 5 == 2
        top = chance.uniform(112, 255) if byte else 10 ** chance.uniform(2.5, 6.2)
        image = np.round(scan * top).astype(np.uint8) if byte else (scan * top).astype(np.float32)
        offset = 0.0 if place % 14 == 3 else 1.0
        (root / "imagesTr" / file).write_bytes(_nifti(image, offset))
        (root / "labelsTr" / file).write_bytes(_nifti(labels, offset))
        pairs.append({"image": f"./imagesTr/{file}", "label": f"./labelsTr/{file}"})
    (root / "imagesTr" / f"._{Path(pairs[0]['image']).name}").write_bytes(b"\0\x05\x16\x07")
    about = {
        "name": "Hippocampus (synthetic)",
        "description": "SYNTHETIC: drawn by graftwork, shows nobody",
        "tensorImageSize": "3D",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "Anterior", "2": "Posterior"},
        "numTraining": len(pairs),
        "numTest": 0,
        "training": pairs,
        "test": [],
    }
    (root / "dataset.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def _nifti(array: np.ndarray, offset: float) -> bytes:
    """A gzipped NIfTI-1 file of 1 mm voxels with the first voxel at `offset` on each axis."""
    import nibabel
    import numpy as np

    images: Any = nibabel  # its classes carry no types
    affine = np.eye(4)
    affine[:3, 3] = offset
    image = images.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    content: bytes = image.to_bytes()
    return gzip.compress(content, mtime=0)  # without the time, so that equal sets are equal bytes
