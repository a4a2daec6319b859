"""Paediatric chest radiographs, normal or pneumonia (Kermany, Zhang, Goldbaum 2018; Guangzhou).

The layout is that of the copy that most people have, `{train,val,test}/{NORMAL,PNEUMONIA}/*.jpeg`. The
file name identifies the patient and the kind of pneumonia; nothing else does. See the data card.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from graftwork.common.data.domain import Dataset
from graftwork.common.data.file_layouts import find_folder, folders_below, hidden, left_out, walk
from graftwork.common.data.manifest import Manifest
from graftwork.common.data.synthetic import MARKER, NOTE, begin, generator, is_synthetic
from graftwork.common.data.targets import Target
from graftwork.common.errors import DatasetError
from graftwork.common.wording import fault_lines

DATASET = Dataset(
    name="chest_xray/kermany",
    title="Paediatric chest radiographs: normal or pneumonia (Kermany 2018)",
    group="patient",
    target=Target("diagnosis", "binary", ("normal", "pneumonia")),
    protocol="kermany",
    licence="CC BY 4.0",
    citation=(
        "Kermany D, Zhang K, Goldbaum M. Labeled Optical Coherence Tomography (OCT) and Chest X-Ray Images "
        "for Classification. Mendeley Data, 2018. doi:10.17632/rscbjbr9sj. Paper: Kermany DS et al. "
        "Identifying Medical Diagnoses and Treatable Diseases by Image-Based Deep Learning. "
        "Cell 172:1122-1131, 2018. doi:10.1016/j.cell.2018.02.010"
    ),
    # the name of the archive, of its copy on Kaggle, and of the MedMNIST dataset made from it
    known_as=("ChestXRay2017", "Chest X-Ray Images (Pneumonia)", "PneumoniaMNIST"),
)

_PARTS = {"train": "train", "val": "validation", "test": "test"}
_CLASSES = {"NORMAL": "normal", "PNEUMONIA": "pneumonia"}
_SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".dcm", ".dicom", ".tif", ".tiff")  # that can be read
_UNREADABLE = (".gif", ".webp", ".heic", ".avif", ".jp2", ".jfif", ".jpe", ".nii", ".gz", ".npy")
# one file of the real set has a second number at its end: person447_virus_921_1
_PNEUMONIA = re.compile(r"(?P<group>person[0-9]+)_(?P<kind>bacteria|virus)_[0-9]+(?:_[0-9]+)*")
# the prefix is part of the patient id: without it, 94 numbers would be in both train and test
_NORMAL = re.compile(r"(?P<group>(?:NORMAL2-)?IM-[0-9]+)-[0-9]+(?:-[0-9]+)*")
_FORMS = "personN_bacteria_M, personN_virus_M, IM-NNNN-MMMM or NORMAL2-IM-NNNN-MMMM"
_LISTED = 500


@dataclass(frozen=True)
class _Radiograph:
    path: str
    part: str
    label: str
    group: str
    kind: str


def read(root: str | os.PathLike[str]) -> Manifest:
    """The manifest of the dataset in `root`. It reads file names, but no pixels.

    Args:
        root: the folder with `train`, `val` and `test`, or a folder up to two levels above it (the usual archive
            unpacks to `chest_xray/chest_xray`). `val` may be missing. Other files are counted in a note.

    Returns:
        Cases such as `train/NORMAL/IM-0115-0001`, groups such as `IM-0115`, covariate `kind` (bacteria, virus, normal).

    Raises:
        DatasetError: the folders are missing, file names are invalid, one name is in two folders, or images are in
            other folders than those of the classes (lists all of them).
    """
    place = _find(Path(root))
    faults: list[str] = []
    radiographs = sorted(_radiographs(place, faults), key=lambda radiograph: radiograph.path)
    faults += _elsewhere(place, radiographs)
    if faults:
        listing = fault_lines(faults, _LISTED)
        count = "1 file or folder is" if len(faults) == 1 else f"{len(faults)} files or folders are"
        raise DatasetError(
            f"{count} not as published; a name is {_FORMS}:{listing}",
            where=place,
            remedy="restore the published names (they identify the patient), or move these files elsewhere",
        )
    if not radiographs:
        raise DatasetError(
            f"no image ({', '.join(_SUFFIXES)}) in the folders {'/'.join(_PARTS)} x {'/'.join(_CLASSES)}",
            where=place,
            remedy="unpack the archive again",
        )
    return _manifest(Path(root), place, radiographs)


def _elsewhere(place: Path, radiographs: list[_Radiograph]) -> Iterator[str]:
    """Images that the folders of the classes do not hold themselves, and names that are in two of these folders."""
    used = {radiograph.path for radiograph in radiographs}
    odd: dict[str, int] = {}
    for path in walk(place, _SUFFIXES):
        first, *inner = path.split("/")[:-1] or [""]
        if path in used or (first in _PARTS and inner[:1] and inner[0] in _CLASSES and len(inner) == 1):
            continue  # read, or a fault already
        if first in _PARTS:
            odd["/".join([first, *inner])] = odd.get("/".join([first, *inner]), 0) + 1
        elif inner and inner[0].upper() in _CLASSES:  # such as valid/NORMAL
            odd[f"{first}/{inner[0]}"] = odd.get(f"{first}/{inner[0]}", 0) + 1
    for folder, count in odd.items():
        shown = folder.encode(errors="backslashreplace").decode()
        images = "1 image" if count == 1 else f"{count:,} images"
        wanted = f"{{{','.join(_PARTS)}}}/{{{','.join(_CLASSES)}}}"
        yield f"{shown}: a folder with {images}, expected images in {wanted} alone"
    places: dict[str, list[str]] = {}
    for radiograph in radiographs:
        folder, _, name = radiograph.path.rpartition("/")
        found = places.setdefault(name.rpartition(".")[0], [])
        if folder not in found:
            found.append(folder)
    for name, found in places.items():
        if len(found) > 1:
            yield f"{name}: one name in {' and '.join(found)}; an image has one part and one class"


def _manifest(root: Path, place: Path, radiographs: list[_Radiograph]) -> Manifest:
    import pandas as pd

    stems = [radiograph.path.rpartition(".")[0] for radiograph in radiographs]
    counts = Counter(stems)
    frame = pd.DataFrame(
        {
            # two files may differ only in their suffix; then the suffix is kept
            "case": [
                stem if counts[stem] == 1 else radiograph.path
                for stem, radiograph in zip(stems, radiographs, strict=True)
            ],
            "path": [radiograph.path for radiograph in radiographs],
            "group": [radiograph.group for radiograph in radiographs],
            "part": [radiograph.part for radiograph in radiographs],
            "target": [radiograph.label for radiograph in radiographs],
            "kind": [radiograph.kind for radiograph in radiographs],
        }
    )
    return Manifest(
        frame=frame,
        root=place,
        dataset=DATASET.name,
        group=DATASET.group,
        target=DATASET.target,
        covariates=("kind",),
        notes=tuple(_notes(root, place, radiographs)),
    )


def _notes(root: Path, place: Path, radiographs: list[_Radiograph]) -> Iterator[str]:
    if is_synthetic(root, place):
        yield NOTE
    yield "patients are read from file names; one personN is one patient whatever the kind (cautious)"
    said = left_out(place, {*(radiograph.path for radiograph in radiographs), MARKER})
    if said:
        yield said
    parts: dict[str, set[str]] = {}
    for radiograph in radiographs:
        parts.setdefault(radiograph.part, set()).add(radiograph.group)
    shared = parts.get("train", set()) & parts.get("test", set())
    if shared:
        yield f"{len(shared)} patient ids are in both the published train part and the published test part"
    if "validation" not in parts:
        yield "the publisher's folder val is missing"
    absent = [f"val/{upper}" for upper in _CLASSES if not (place / "val" / upper).is_dir()]
    if len(absent) == 1:
        yield f"the folder {absent[0]} is missing"


def _find(root: Path) -> Path:
    """The folder that holds the parts: `root`, or one up to two folders below it."""
    wanted = [Path(part, label) for part in ("train", "test") for label in _CLASSES]
    looked_for = f"folders {{{','.join(_PARTS)}}}/{{{','.join(_CLASSES)}}}"

    def whole(place: Path) -> bool:
        return all((place / folder).is_dir() for folder in wanted)

    try:
        return find_folder(root, whole, looked_for, "give the folder that holds train, val and test")
    except DatasetError:
        places = [root, *folders_below(root)] if root.is_dir() else []
        near = next((place for place in places if any((place / part).is_dir() for part in _PARTS)), None)
        if near is None:
            raise
        missing = ", ".join(str(folder) for folder in wanted if not (near / folder).is_dir())
        raise DatasetError(
            f"looked for {looked_for}; missing: {missing}", where=near, remedy="unpack the archive again"
        ) from None


def _radiographs(place: Path, faults: list[str]) -> Iterator[_Radiograph]:
    for folder, part in _PARTS.items():
        for upper, label in _CLASSES.items():
            try:
                entries = sorted(os.scandir(place / folder / upper), key=lambda entry: entry.name)
            except FileNotFoundError:
                continue  # only val may be missing, see _find
            except OSError as error:
                raise DatasetError(
                    f"the folder cannot be listed ({error.strerror})",
                    where=place / folder / upper,
                    remedy="check the permissions of the folder",
                ) from error
            for entry in entries:
                stem, suffix = os.path.splitext(entry.name)  # noqa: PTH122 (a Path for each of many files is slow)
                if hidden(entry.name) or entry.is_dir():
                    continue
                path = f"{folder}/{upper}/{entry.name}"
                form, of_other = (_NORMAL, _PNEUMONIA) if label == "normal" else (_PNEUMONIA, _NORMAL)
                match, other = form.fullmatch(stem), of_other.fullmatch(stem)
                readable = suffix.lower() in _SUFFIXES
                begins = entry.name.partition(".")[0]
                named = form.fullmatch(begins) or of_other.fullmatch(begins)
                if not readable and not named and suffix.lower() not in _UNREADABLE:
                    continue  # no image; counted with the files that are not used
                if match is None or not readable:
                    shown = path.encode(errors="backslashreplace").decode()  # a name need not be Unicode
                    reason = ": a name of the other class" if other else ""
                    faults.append(
                        shown + (reason if readable else f": expected one of {', '.join(_SUFFIXES)}")
                    )
                    continue
                kind = match["kind"] if label == "pneumonia" else "normal"
                yield _Radiograph(path, part, label, match["group"], kind)


def synthesize(folder: str | os.PathLike[str], *, cases: int = 60, seed: int = 0) -> None:
    """Write a small synthetic dataset in the same layout and with the same quirks.

    Drawn radiographs of varying size, shape and exposure. A consolidated lobe means bacterial, streaky
    haze in both lungs for viral pneumonia. As in the published set: several images of a patient, two forms
    of name a class, a small `val`, ids that are in train and test with different kinds, one image stored
    as RGB. What is written depends on `cases` and `seed` alone.

    Args:
        folder: the output folder; it must be new, empty, or hold the same synthetic dataset.
        cases: how many images, at least 16.
        seed: another seed, other patients.

    Raises:
        DatasetError: too few cases, or a folder that holds something else.
    """
    import numpy as np
    from PIL import Image

    from graftwork.domains.chest_xray.drawings import draw

    root = begin(folder, cases=cases, seed=seed, least=16)
    for number, (path, patient, kind) in enumerate(_plan(cases, seed)):
        pixels = draw(generator(DATASET.name, seed, patient), generator(DATASET.name, seed, path), kind)
        radiograph = Image.fromarray((pixels * 255).astype(np.uint8))
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        (radiograph.convert("RGB") if number == 3 else radiograph).save(file, format="JPEG", quality=90)


def _plan(cases: int, seed: int) -> list[tuple[str, str, str]]:
    """Path, patient (whose anatomy is drawn) and kind of each image."""
    chance = generator(DATASET.name, seed, "plan")
    test, val = round(0.25 * cases), max(2, round(0.06 * cases))
    counts = {"train": cases - test - val, "val": val, "test": test}
    plan: list[tuple[str, str, str]] = []
    normal, person, serial = 101, 1, 1
    trained: list[tuple[int, str]] = []  # (personN, kind) of the train part
    for folder, count in counts.items():
        healthy = max(1, round((0.38 if folder == "test" else 0.42) * count))
        while healthy > 0:
            prefix = "NORMAL2-" if normal % 3 == 0 else ""
            for image in range(min(healthy, 1 + int(chance.integers(0, 5) == 0))):
                tail = "-0001" if image == 0 else f"-0001-000{image + 1}"
                stem = f"{prefix}IM-{normal:04d}{tail}"
                plan.append((f"{folder}/NORMAL/{stem}.jpeg", f"{prefix}{normal}", "normal"))
                healthy -= 1
            normal += int(chance.integers(1, 4))
        ill = count - sum(path.startswith(f"{folder}/") for path, _, _ in plan)
        shared = max(1, cases // 40) if folder == "test" else 0
        while ill > 0:
            kind, who = ("bacteria", "virus")[int(chance.integers(0, 5) < 2)], person
            if shared > 0:  # the same number as in train, and, as in the published set, the other kind
                who, seen = trained[-shared]
                kind = "virus" if seen == "bacteria" else "bacteria"
                shared -= 1
            elif folder == "train":
                trained.append((who, kind))
            for _ in range(min(ill, int(chance.integers(1, 4)))):
                odd = "_1" if serial == 7 else ""
                plan.append(
                    (f"{folder}/PNEUMONIA/person{who}_{kind}_{serial}{odd}.jpeg", f"{who} {kind}", kind)
                )
                serial += 1
                ill -= 1
            person += 1
    return plan
