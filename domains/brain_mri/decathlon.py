"""`dataset.json` of the Medical Segmentation Decathlon, and of nnU-Net: its labels and its list of pairs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graftwork.common.data.file_layouts import hidden
from graftwork.common.errors import DatasetError
from graftwork.common.files.untrusted_files import read_json
from graftwork.common.names import clean_name
from graftwork.common.wording import fault_lines

# nnU-Net, which many people convert the set for, adds the number of the channel to the name of an image
NAMES = (re.compile(r"(hippocampus_[0-9]+)(?:_0000)?"), re.compile(r"(hippocampus_[0-9]+)"))
_LISTED = 500
# What the Decathlon and nnU-Net write; `labels` and `training` are read, `numTraining` is compared.
_KEYS = frozenset(
    [
        "name",
        "description",
        "reference",
        "licence",
        "license",
        "release",
        "relase",
        "tensorImageSize",
        "modality",
        "labels",
        "numTraining",
        "numTest",
        "training",
        "test",
        "validation",
        "numValidation",
        "citation",
        "channel_names",
        "file_ending",
        "converted_by",
        "dataset_name",
        "overwrite_image_reader_writer",
        "regions_class_order",
    ]
)


@dataclass
class PairList:
    """What `dataset.json` says: the cases that it lists (None: there is no list), and what is odd in it."""

    cases: set[str] | None = None
    notes: list[str] = field(default_factory=list)


def read_list(path: Path, classes: Sequence[str]) -> PairList:
    """What dataset.json says; nothing where there is none.

    Args:
        classes: the names that its labels must have, by value.

    Raises:
        DatasetError: it is damaged, contradicts itself, or its labels are those of another task.
    """
    if not path.is_file():
        return PairList()
    remedy = "unpack it again, or remove it: then the pairs in the folders are taken"
    try:
        about: dict[str, Any] = read_json(path, DatasetError, remedy=remedy)
        labels = {
            clean_name(str(value)).lower(): clean_name(str(name)).lower()
            for value, name in about["labels"].items()
        }
        entries = about.get("training")
        names = None if entries is None else [(str(each["image"]), each.get("label")) for each in entries]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"not a readable dataset.json of the Decathlon ({type(error).__name__}: {error})",
            where=path,
            remedy=remedy,
        ) from error
    wanted = dict(enumerate(classes))
    # the Decathlon has {"1": "Anterior"}, nnU-Net {"Anterior": 1}
    if labels not in (
        {str(v): name for v, name in wanted.items()},
        {name: str(v) for v, name in wanted.items()},
    ):
        said = ", ".join(f"{value} {name}" for value, name in labels.items())
        looked = ", ".join(f"{value} {name}" for value, name in wanted.items())
        raise DatasetError(
            f"the labels are {said}; looked for {looked}", where=path, remedy="is it another task?"
        )
    notes = []
    unknown = [key for key in about if key not in _KEYS]
    if unknown:
        notes.append(
            f"dataset.json: {len(unknown)} keys are not known and not used ({', '.join(unknown[:5])})"
        )
    if names is None:
        return PairList(notes=notes)
    cases: set[str] = set()
    faults: list[str] = []
    for image, label in names:
        if hidden(Path(image).name):
            continue
        case = _case_in(image, 0)
        if label is not None and _case_in(str(label), 1) != case:
            faults.append(f"{image} has the label {label}, expected that of {case}")
        if case in cases:
            faults.append(f"{case} is listed twice")
        cases.add(case)
    if faults:
        listing = fault_lines(faults, _LISTED)
        raise DatasetError(
            f"its list of pairs contradicts the file names:{listing}", where=path, remedy=remedy
        )
    count = about.get("numTraining")
    if count is not None and count != len(names):
        notes.append(f"dataset.json: numTraining is {count}, and it lists {len(names)} pairs")
    return PairList(cases, notes)


def _case_in(path: str, which: int) -> str:
    """The case of an image (0) or label (1) that dataset.json names; the file's name where it has another form."""
    name = clean_name(Path(path).name)
    match = NAMES[which].fullmatch(name.removesuffix(".gz").removesuffix(".nii"))
    return match[1] if match else name
