"""What is known about pretrained weights, and the card beside a file on which it stands.

A weights file is safetensors. Beside `NAME.safetensors` stands its card `NAME.json`, which says what the file
itself cannot:

    {"backbone": "mobilenetv2_100", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "padding": "same",
     "licence": "Apache-2.0", "trained_on": "ImageNet-1k", "classes": 1000,
     "sha256": "64 hex digits of the file"}

and may say: `origin`, where it was had from; `seen`, a list of the names of the datasets whose images the weights
were trained on; `seen_sha256`, the name of a text file beside it with the SHA-256 of these files, one a line (as
sha256sum writes them; what follows the digits is not read).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from graftwork.common.errors import WeightsError
from graftwork.common.files.untrusted_files import read_json

CARD_KEYS = ("backbone", "mean", "std", "padding", "licence", "trained_on", "classes", "sha256")
MAY_SAY = ("origin", "seen", "seen_sha256")
SHORT = 3  # letters and digits of a name that, within a sentence, may be a word like any other


@dataclass(frozen=True)
class WeightsRecord:
    """What is known about pretrained weights.

    Attributes:
        backbone: timm's name of the architecture, without a tag.
        source: "file", "package" or "hub"; "none" for a fresh initialisation.
        origin: file, package or repository, for people.
        sha256: of the file; "" where it was neither recorded nor read.
        licence, trained_on: as the publisher says; "" where nobody said.
        mean, std: of the normalisation of images in 0..1 that the weights expect, one number a channel.
        padding: "same" where the network must pad as TensorFlow does, else "".
        classes: number of classes of the classifier in the file, 0 where it holds none.
        seen: names of the datasets whose images they were trained on, as the card says.
        seen_sha256: name of the file beside the card that lists the SHA-256 of these images' files; "" without.
        said_mean, said_std: what card, package or hub say where a recipe put others in place of them; else ().
    """

    backbone: str
    source: str
    origin: str
    sha256: str = ""
    licence: str = ""
    trained_on: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    padding: str = ""
    classes: int = 0
    seen: tuple[str, ...] = ()
    seen_sha256: str = ""
    said_mean: tuple[float, ...] = ()
    said_std: tuple[float, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The attributes as JSON-like values."""
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }

    def shared_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """Those of `names` that the card says the weights were trained on.

        Compared are letters and digits alone, case apart; a name counts where it stands within what the card says
        from the beginning of a word to the end of one. A name of three letters or fewer must match the whole text.
        """
        sources = [*self.seen, self.trained_on]
        return tuple(name for name in names if any(_names(name, each) for each in sources))

    def overlap(self, names: Sequence[str]) -> str:
        """A sentence where the weights were trained on a dataset that goes by one of `names`; else ""."""
        shared = self.shared_names(names)
        if not shared:
            return ""
        return (
            f"the pretrained weights ({self.origin}) were trained on {shared[0]}, which contains this dataset or from "
            f"which it "
            "is drawn: the network may have seen these very images, those of the test part too"
        )


def _names(name: str, text: str) -> bool:
    """Whether a text names a dataset, as whole words."""
    sought = "".join(_words(name))
    words = _words(text)
    if len(sought) <= SHORT:
        return bool(sought) and sought == "".join(words)
    return any(
        sought == "".join(words[first:last])
        for first in range(len(words))
        for last in range(first + 1, min(first + len(sought), len(words)) + 1)
    )


def _words(text: str) -> list[str]:
    """Runs of letters and of digits: "Set2018" is set, 2018."""
    return re.findall(r"[^\W\d_]+|\d+", text.casefold())


def read_card(card: Path) -> WeightsRecord:
    """The record on the card of the weights file of the same name.

    Raises:
        WeightsError: says everything that is wrong with the card.
    """
    said = read_json(card, WeightsError, remedy="bring file and card again")
    if not isinstance(said, dict):
        raise WeightsError(
            "the card is not a JSON object",
            where=card,
            remedy="write the card as docs/how-to/choose-a-backbone.md shows",
        )
    classes = said.get("classes", 0)
    classes = (
        len(classes) if isinstance(classes, list) else classes
    )  # the names of the classes will do as well
    faults = _faults(said, classes)
    if not faults:
        name = f"{card.stem}.safetensors"
        record = WeightsRecord(
            backbone=said["backbone"],
            source="file",
            origin=f"{name} ({said['origin']})" if said.get("origin") else name,
            sha256=said["sha256"].lower(),
            licence=said["licence"],
            trained_on=said["trained_on"],
            mean=tuple(float(value) for value in said["mean"]),
            std=tuple(float(value) for value in said["std"]),
            padding=said["padding"],
            classes=classes,
            seen=tuple(said.get("seen", ())),
            seen_sha256=said.get("seen_sha256", ""),
        )
        fault = record_fault(record)
        if not fault and len(record.sha256) != 64:
            fault = "sha256 is not the 64 hex digits of the file"
        if not fault:
            return record
        faults = [fault]
    raise WeightsError(
        f"the card is wrong: {'; '.join(faults)}",
        where=card,
        remedy="correct the card; docs/how-to/choose-a-backbone.md lists its keys",
    )


def _faults(said: dict[str, Any], classes: object) -> list[str]:
    """What is missing on a card, or of another type."""
    faults = [f"{key} is missing" for key in CARD_KEYS if key not in said]
    for key in ("backbone", "padding", "licence", "trained_on", "sha256", "origin", "seen_sha256"):
        if not isinstance(said.get(key, ""), str):
            faults.append(f"{key} is not a text")
    if type(classes) is not int or classes < 0:
        faults.append("classes is neither a number nor a list of names")
    seen = said.get("seen", [])
    if not isinstance(seen, list) or not all(isinstance(name, str) for name in seen):
        faults.append("seen is not a list of names of datasets")
    listed = said.get("seen_sha256", "")
    if isinstance(listed, str) and listed and not re.fullmatch(r"\w[\w.-]*\.txt", listed, re.ASCII):
        faults.append("seen_sha256 is not the name of a .txt file beside the card")
    for key in ("mean", "std"):
        values = said.get(key, [0.5])
        if not isinstance(values, list) or not values or {type(value) for value in values} - {int, float}:
            faults.append(f"{key} is not a list of numbers, one a channel")
    return faults


def card_of(record: WeightsRecord) -> dict[str, Any]:
    """What a card says about these weights, ready to be written as JSON."""
    said = record.to_json()
    return {key: said[key] for key in (*CARD_KEYS, *MAY_SAY) if key in CARD_KEYS or said[key]}


def record_fault(record: WeightsRecord) -> str:
    """What is impossible about mean, std or padding, or ""."""
    if len(record.mean) != len(record.std):
        return f"mean has {len(record.mean)} numbers, std has {len(record.std)}"
    if not all(math.isfinite(value) for value in record.mean + record.std) or min(record.std) <= 0:
        return f"mean {record.mean} and std {record.std} must be finite, std above 0"
    if record.padding not in ("", "same"):
        return f"padding is '' or 'same', not '{record.padding}'"
    return ""
