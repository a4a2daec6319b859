"""Pair two folders of masks by name: every file is used, ignored by a reported rule, or refused by name."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from graftwork.common.data.file_layouts import hidden
from graftwork.common.errors import TableError, UsageError
from graftwork.common.files.table_files import read_table
from graftwork.common.names import clean_name, look_alikes
from graftwork.common.prediction.image_list import IDENTITY, INDEX
from graftwork.common.prediction.training_overlap import SEEN_BY_RUN
from graftwork.common.wording import fault_lines, short_list

MASK_ENDINGS = (".nii.gz", ".nii", ".png", ".tif", ".tiff", ".bmp")
_MARKS = ("_segmentation", "_seg", "-seg", "_mask")
_LISTED = 20
# Left by file systems (beside names that begin with a point, and __MACOSX).
_LITTER = ("thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r")
# Texts that publishers and nnU-Net put beside masks, by their whole names.
_TEXTS = {
    *(f"{stem}{end}" for stem in ("license", "licence", "attribution", "readme", "notice", "citation", "copying")
      for end in ("", ".txt", ".md", ".rst")),
    *("dataset.json", "plans.json", "predict_from_raw_data_args.json", "summary.json", "postprocessing.pkl"),
}  # fmt: skip
_JPEG = (".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".webp")


@dataclass(frozen=True)
class Pairs:
    """Cases of two folders.

    Attributes:
        files: case to its file in the truth and in the prediction, in the order of their names. A case is the path
            below the folder without the file's ending and without `_seg`, `-seg`, `_segmentation`, `_mask`.
        notes: what was ignored or assumed, a sentence each.
    """

    files: dict[str, tuple[Path, Path]]
    notes: tuple[str, ...] = ()


@dataclass
class _Folder:
    place: Path
    what: str
    cases: dict[str, Path] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    litter: int = 0
    texts: list[str] = field(default_factory=list)
    index: Path | None = None
    others: Counter[str] = field(default_factory=Counter)


def pairs_of(truth: Path, predicted: Path) -> Pairs:
    """The files of two folders and of the folders in them, paired by case.

    Files that file systems leave behind (names that begin with a point, __MACOSX, Thumbs.db, desktop.ini) and the texts
    of publishers and nnU-Net (LICENSE.txt, README.md, dataset.json, plans.json ...) are ignored and counted. Of what
    `predict` writes beside masks, the table says which cases the run was trained on (`seen_by_run`). Any other file
    that is no mask is refused by name, and so is a mask without a partner in the other folder.

    Raises:
        UsageError: a folder is none, or both are one and the same. TableError: everything that is wrong, at once.
    """
    for folder in (truth, predicted):
        if not folder.is_dir():
            what = "is a file" if folder.exists() else "there is no such folder"
            raise UsageError(
                f"{what}; a folder of masks was expected", where=str(folder), remedy="check the path"
            )
    if os.path.realpath(truth) == os.path.realpath(predicted):
        raise UsageError(
            "is the folder of the truth and of the prediction at once",
            where=str(truth),
            remedy="name two folders",
        )
    found = [_listed(truth, "truth", predicted), _listed(predicted, "prediction", truth)]
    faults = [fault for each in found for fault in each.faults]
    for one, other in ((found[0], found[1]), (found[1], found[0])):
        lost = [name for name in one.cases if name not in other.cases]
        if lost and other.cases:
            count = (
                f"{len(lost)} cases of {one.place} have" if len(lost) > 1 else f"1 case of {one.place} has"
            )
            faults.append(
                f"{count} no {other.what} in {other.place}: {short_list(lost)}. Fix: add the masks, or remove these "
                "cases from both folders"
            )
    faults += _hints(found)
    refuse_faults(faults, predicted)
    files = {name: (file, found[1].cases[name]) for name, file in found[0].cases.items()}
    return Pairs(files, (*_notes(found, list(files)), *_seen_by_run(found[1], files)))


def refuse_faults(faults: Sequence[str], where: object) -> None:
    """Raise a TableError that lists all faults; with none, nothing happens."""
    if faults:
        listing = fault_lines(faults, _LISTED, bullet="- ")
        several = f"{len(faults)} faults" if len(faults) > 1 else "a fault"
        raise TableError(
            f"the masks have {several}:{listing}",
            where=str(where),
            remedy="correct these files, or name other folders",
        )


def _listed(place: Path, what: str, other: Path) -> _Folder:
    """The content of a folder; the other folder may be inside it and is not counted."""
    folder = _Folder(place, what)
    jpegs: list[str] = []
    others: list[str] = []
    ours = (place / IDENTITY).is_file()  # masks that `predict` wrote
    for name in _walk(place, folder, other):
        base = name.rpartition("/")[2].lower()
        case = case_of(name)
        file = place / name
        if not file.is_file():
            folder.faults.append(
                f"{file} is no regular file (a broken link, a pipe or a device). Fix: remove it"
            )
        elif ours and (name == IDENTITY or name.startswith(INDEX)):
            folder.index = place / INDEX
            folder.texts += [] if name == INDEX else [name]
        elif base in _TEXTS:
            folder.texts.append(name)
        elif case is None:
            folder.others[Path(name).suffix.lower() or "no ending"] += 1
            (jpegs if base.endswith(_JPEG) else others).append(name)
        elif case in folder.cases:
            here = folder.cases[case].relative_to(place).as_posix()
            folder.faults.append(f"{place}: the case {case} stands twice, {here} and {name}")
        else:
            folder.cases[case] = file
    if jpegs:
        folder.faults.append(
            f"{place}: {_files(jpegs)} in a format that changes values when it is saved (JPEG, WebP), so that they are "
            f"no labels: {short_list(jpegs)}. Fix: export the masks again as PNG, TIFF or NIfTI, or move these files "
            "elsewhere"
        )
    if others:
        folder.faults.append(
            f"{place}: {_files(others)} not a mask (expected {', '.join(MASK_ENDINGS)}): {short_list(others)}. Fix: "
            "convert the masks among them, or move them elsewhere"
        )
    if not folder.cases:
        there = ", ".join(f"{count} of type {ending}" for ending, count in sorted(folder.others.items()))
        seen = f"files of other types ({there})" if there else "no other file"
        folder.faults.append(
            f"{place}: it holds no mask ({', '.join(MASK_ENDINGS)}), nor do the folders in it; it holds {seen}"
        )
    return folder


def _seen_by_run(folder: _Folder, cases: Container[str]) -> Iterator[str]:
    """A sentence on predicted masks of images that the run was trained on, by the table that `predict` wrote.

    Raises:
        TableError: the table cannot be read.
    """
    if folder.index is None or not folder.index.is_file():
        return
    table = read_table(folder.index)
    names = [name for name in ("mask", SEEN_BY_RUN) if name in table.columns]
    if len(names) < 2:
        yield f"{folder.index} says nothing of images that the run was trained on (no column {SEEN_BY_RUN})."
        return
    counts: Counter[str] = Counter()
    for mask, part in zip(*(table.frame[name].tolist() for name in names), strict=True):
        counts[str(part)] += isinstance(mask, str) and case_of(mask) in cases
    said = [f"{counts[part]:,} {part}" for part in ("train", "validation", "seen") if counts[part]]
    if said:
        yield (
            f"{folder.index}: the run that predicted these masks knows some of the images by its own split, and "
            f"they are evaluated: {', '.join(said)}. The result is not that of unseen images; evaluate without them."
        )


def _files(names: Sequence[str]) -> str:
    return "1 file is" if len(names) == 1 else f"{len(names)} files are"


def _walk(place: Path, folder: _Folder, other: Path) -> Iterator[str]:
    """Paths of the files below a folder, POSIX and relative, in order; what file systems leave behind is counted."""

    def refuse(error: OSError) -> None:
        raise UsageError(
            f"the folder cannot be listed ({error.strerror})",
            where=error.filename,
            remedy="check its permissions",
        ) from error

    status = other.stat()
    seen = {(status.st_dev, status.st_ino)}
    for here, below, names in os.walk(place, onerror=refuse, followlinks=True):
        status = os.stat(here)  # noqa: PTH116 (a Path for each of many folders is slow)
        if (status.st_dev, status.st_ino) in seen:  # a link to a folder above, or the other folder
            below.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folder.litter += sum(map(hidden, below))
        below[:] = sorted(name for name in below if not hidden(name))
        relative = os.path.relpath(here, place).replace(os.sep, "/")
        for name in sorted(names):
            if hidden(name) or name.lower() in _LITTER:
                folder.litter += 1
            else:
                yield name if relative == "." else f"{relative}/{name}"


def case_of(name: str) -> str | None:
    """The case that the path of a file names: without its ending and `_seg` and the like; None where it is no mask."""
    for ending in MASK_ENDINGS:
        if name.lower().endswith(ending):
            stem = name[: -len(ending)]
            mark = next((mark for mark in _MARKS if stem.lower().endswith(mark)), "")
            return clean_name((stem[: -len(mark)] if mark else "") or stem)
    return None


def _hints(found: Sequence[_Folder]) -> Iterator[str]:
    """Cases without a partner that look like each other: what is probably meant."""
    lost = [[name for name in one.cases if name not in other.cases] for one, other in (found, found[::-1])]
    if not all(lost):
        return
    alike = [each for each in look_alikes([*lost[0], *lost[1]]) if len(each) > 1]
    if alike:
        shown = "; ".join(" and ".join(each) for each in alike[:5])
        yield f"these look alike but are different names: {shown}. Fix: give both files of a case the same name"
    last = {name.rpartition("/")[2]: name for name in lost[1]}
    moved = [
        f"{name} and {last[name.rpartition('/')[2]]}" for name in lost[0] if name.rpartition("/")[2] in last
    ]
    if moved:
        yield f"these are in different subfolders: {short_list(moved)}. Fix: use the same subfolders in both folders"


def _notes(found: Sequence[_Folder], cases: list[str]) -> Iterator[str]:
    for each in found:
        if each.litter:
            entries = "1 entry" if each.litter == 1 else f"{each.litter} entries"
            yield (
                f"{each.place}: {entries} of the file system ignored (names that begin with a point, __MACOSX, "
                "Thumbs.db, desktop.ini)."
            )
        if each.texts:
            yield f"{each.place}: {len(each.texts)} accompanying texts ignored: {short_list(each.texts)}."
    deeper = sum("/" in case for case in cases)
    if deeper:
        yield f"{deeper:,} of {len(cases):,} cases are in subfolders; their names are paths."
    alike = look_alikes(cases)
    if alike:
        shown = "; ".join(" and ".join(each) for each in alike[:5])
        yield f"{len(alike)} sets of cases have names that look alike, and count as different cases: {shown}."
