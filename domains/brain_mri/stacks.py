"""Folders of slices as the archive holds them: one a patient, file names with unpadded numbers, masks beside."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from graftwork.common.data.file_layouts import folders_below, hidden
from graftwork.common.data.synthetic import MARKER
from graftwork.common.errors import DatasetError
from graftwork.common.names import name_key
from graftwork.common.wording import fault_lines

LOOKED_FOR = "folders such as TCGA_CS_4942_19970222"
SUFFIXES = (".tif", ".tiff")
_OTHERS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")  # of masks that were stored again

_VOLUME = re.compile(r"(?P<group>TCGA_(?P<institution>[A-Z0-9]{2})_[A-Z0-9]{4})_[0-9]{8}")
_TAIL = re.compile(r"_(?P<number>[0-9]+)(?P<mask>_mask)?", re.ASCII)
_LISTED = 500  # faults that are named one by one


@dataclass
class Volume:
    """The folder of a patient: its file names by slice number; `others` are not slices."""

    name: str
    group: str
    institution: str
    images: dict[int, str] = field(default_factory=dict)
    masks: dict[int, str] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)

    @property
    def gaps(self) -> list[int]:
        """Numbers without an image between the first and the last."""
        return (
            [n for n in range(min(self.images), max(self.images)) if n not in self.images]
            if self.images
            else []
        )


def holds_volumes(place: Path) -> bool:
    """Whether it has folders of patients."""
    return any(_VOLUME.fullmatch(folder.name) for folder in folders_below(place))


def complain(faults: list[str], noun: str, rule: str, where: Path) -> None:
    """Raise a `DatasetError` that lists the faults, if there are any; each is of one `noun` that breaks the rule."""
    if faults:
        count = f"{len(faults)} {noun}{'' if len(faults) == 1 else 's'}"
        listing = fault_lines(faults, _LISTED)
        remedy = "restore what was published, or move these elsewhere"
        raise DatasetError(f"{count} cannot be read; {rule}:{listing}", where=where, remedy=remedy)


def volumes_in(place: Path, faults: list[str]) -> list[Volume]:
    """The patients' folders in `place`, by name; to `faults` goes what has a name that cannot be read.

    Raises:
        DatasetError: a folder cannot be listed.
    """
    volumes = []
    for folder in folders_below(place):
        match = _VOLUME.fullmatch(folder.name)
        if match is None:
            if name_key(folder.name).startswith("tcga"):
                faults.append(f"{_shown(folder.name)}: a folder is TCGA_site_patient_date")
            continue
        volume = Volume(folder.name, match["group"], match["institution"])
        try:
            entries = sorted((entry.name, entry.is_dir()) for entry in os.scandir(folder))
        except OSError as error:
            raise DatasetError(
                f"the folder cannot be listed ({error.strerror})",
                where=folder,
                remedy="check the permissions of the folder",
            ) from error
        for name, is_folder in entries:
            stem, suffix = os.path.splitext(name)  # noqa: PTH122 (a Path for each of many files is slow)
            if hidden(name):
                continue
            if not is_folder and stem.endswith("_mask") and suffix.lower() in _OTHERS:
                faults.append(_shown(f"{folder.name}/{name}: a mask of another type"))
                continue
            if is_folder or suffix.lower() not in SUFFIXES:
                volume.others.append(name)
                continue
            tail = _TAIL.fullmatch(stem.removeprefix(folder.name)) if stem.startswith(folder.name) else None
            if tail is None:
                faults.append(_shown(f"{folder.name}/{name}"))
                continue
            files = volume.masks if tail["mask"] else volume.images
            if int(tail["number"]) in files:
                faults.append(f"{folder.name}/{name}: {files[int(tail['number'])]} has the same number")
            files[int(tail["number"])] = name
        volumes.append(volume)
    return volumes


def left_out(place: Path, volumes: list[Volume], used: tuple[str, ...]) -> list[str]:
    """Files in `place` and in the patient folders that are neither slices nor tables in use.

    What file systems leave behind is not named, and neither are folders that hold a copy of the set.

    Args:
        used: the names of the tables.
    """
    known = {volume.name for volume in volumes} | set(used)
    here = [
        _shown(entry.name)
        for entry in sorted(place.iterdir())
        if entry.name not in known and not hidden(entry.name) and entry.name != MARKER
        if not (entry.is_dir() and any(holds_volumes(each) for each in (entry, *folders_below(entry))))
    ]
    return [*here, *(_shown(f"{volume.name}/{name}") for volume in volumes for name in volume.others)]


def _shown(path: str) -> str:
    return path.encode(errors="backslashreplace").decode()  # a name need not be Unicode


def copies(root: Path, place: Path) -> list[Path]:
    """Other folders that hold patients: below `root`, and where the archive puts the second one.

    Raises:
        DatasetError: a folder cannot be listed.
    """
    below = folders_below(root)
    near = [root, *below, *(deeper for folder in below for deeper in folders_below(folder))]
    near.append(place.parent / "lgg-mri-segmentation" / "kaggle_3m")
    others = {each.resolve(): each for each in near if each.is_dir() and each.resolve() != place.resolve()}
    return [each for each in others.values() if holds_volumes(each)]
