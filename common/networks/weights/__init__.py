"""Pretrained tensors: read, verified, carried to a machine without internet; never fetched silently.

torch, timm and the client of the hub are imported only when tensors are asked for. Where weights are looked
for is in `weight_sources`, the card of a file in `cards`, and the training data of weights in `pretraining_overlap`.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from graftwork.common import files
from graftwork.common.errors import WeightsError
from graftwork.common.files.untrusted_files import read_bytes
from graftwork.common.networks.architectures import architecture_of, classes_of
from graftwork.common.networks.weights import archives
from graftwork.common.networks.weights.cards import CARD_KEYS, WeightsRecord, card_of, read_card, record_fault
from graftwork.common.networks.weights.pretraining_overlap import (
    Overlap,
    overlap,
    overlap_sentence,
    read_seen,
)
from graftwork.common.networks.weights.weight_sources import (
    PACKAGES,
    Absent,
    Found,
    find_file,
    find_hub,
    find_package,
    hub_cached,
    timm_key,
    weights_folder,
)
from graftwork.common.wording import short_list

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Overlap",
    "Weights",
    "WeightsRecord",
    "available",
    "hub_cached",
    "load_weights",
    "overlap",
    "overlap_sentence",
    "pack",
    "unpack",
    "weights_folder",
]

logger = logging.getLogger("graftwork")

SOURCES = ("file", "package", "hub")


@dataclass(frozen=True, eq=False)
class Weights:
    """Pretrained tensors under timm's names, floating ones as float32, the classifier included."""

    record: WeightsRecord
    tensors: dict[str, Tensor]


def available() -> list[WeightsRecord]:
    """The weights available here without internet: files of the weights folder with a card, then packages.

    Only cards are read and nothing is hashed: `sha256` is the recorded one. A card that is wrong is left out,
    with a warning in the log.
    """
    records = []
    for path in sorted(weights_folder().glob("*.safetensors")):
        card = path.with_suffix(".json")
        if card.is_file():
            try:
                records.append(read_card(card))
            except WeightsError as error:
                logger.warning("%s", error)
    for backbone in PACKAGES:
        with contextlib.suppress(Absent):
            records.append(find_package(backbone, "").record)
    return records


def load_weights(
    backbone: str,
    *,
    sources: Sequence[str] = ("file", "package"),
    file: str = "",
    offline: bool = False,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    padding: str = "",
) -> Weights:
    """Pretrained weights from the first source that has them.

    Args:
        backbone: timm's name, with or without a tag. A tag is demanded of each source but a named file.
        sources: of "file", "package", "hub", those allowed, in the order to try.
        file: a safetensors file. "": the weights folder is searched for `<backbone>.<tag>.safetensors`.
        offline: never ask the network; GRAFTWORK_OFFLINE=1 and HF_HUB_OFFLINE=1 say the same. What the hub's
            cache holds is used all the same.
        mean, std, padding: instead of what the record of the weights says. A file without a card needs `mean`
            and `std`: they are never guessed.

    The log ("graftwork", INFO) says what was taken and, before a request, what is asked of whom. Weights that
    are there but damaged are an error, not a reason to try the next source: results would change unseen.

    Raises:
        UsageError: no such backbone.
        WeightsError: no allowed source has the weights (each is named with its reason), or a file is damaged,
            of another backbone, not safetensors, or holds NaN.
    """
    found = _find(backbone, sources, file, offline)
    said = found.record
    record = replace(
        said,
        mean=tuple(float(value) for value in mean) or said.mean,
        std=tuple(float(value) for value in std) or said.std,
        padding=padding or said.padding,
    )
    if said.mean and (record.mean, record.std) != (said.mean, said.std):
        record = replace(record, said_mean=said.mean, said_std=said.std)
    if not record.mean or not record.std:
        raise _nobody_said(found.path)
    fault = record_fault(record)
    if fault:
        raise WeightsError(fault, where=found.path, remedy="correct mean, std and padding of the backbone")
    content = _content(found)
    tensors = _tensors(found, content)

    record = replace(
        record, sha256=_sha256(content), classes=classes_of(record.backbone, tensors) or record.classes
    )
    logger.info("weights of %s from %s: %s", record.backbone, record.source, record.origin)
    return Weights(record, tensors)


def _nobody_said(path: Path) -> WeightsError:
    card = path.with_suffix(".json").name
    return WeightsError(
        "it has no card, so the mean and standard deviation that it expects are unknown",
        where=path,
        remedy="set backbone.mean and backbone.std as its publisher says (and backbone.padding, if it pads "
        f"as TensorFlow does), or write {card} with the keys {', '.join(CARD_KEYS)}",
    )


def _find(backbone: str, sources: Sequence[str], file: str, offline: bool) -> Found:
    architecture, tag = architecture_of(backbone)
    unknown = [source for source in sources if source not in SOURCES]
    if unknown or not sources:
        raise WeightsError(
            f"weights come from {', '.join(SOURCES)}, not from {', '.join(unknown) or 'nowhere'}",
            where="backbone.weights",
            remedy="name some of these sources",
        )
    if file and "file" not in sources:
        raise WeightsError(
            f"a file is named, but the only source allowed is {', '.join(sources)}",
            where="backbone.weights",
            remedy='add "file" to backbone.weights, or leave backbone.file empty',
        )
    reasons = []
    for source in sources:
        try:
            if source == "file":
                return find_file(architecture, tag, file)
            if source == "package":
                return find_package(architecture, tag)
            return find_hub(architecture, tag, _offline(offline))
        except Absent as absent:
            reasons.append(f"{source}: {absent}")
    reasons += [f"{source}: not allowed by backbone.weights" for source in SOURCES if source not in sources]
    raise WeightsError(
        f"no pretrained weights ({'; '.join(reasons)})",
        where=backbone,
        remedy="allow another source, name a file in backbone.file, or bring weights with "
        "`graftwork weights unpack`",
    )


def _offline(asked: bool) -> bool:
    switches = (os.environ.get(name, "") for name in ("GRAFTWORK_OFFLINE", "HF_HUB_OFFLINE"))
    return asked or any(switch.strip().lower() not in ("", "0", "false", "no", "off") for switch in switches)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _content(found: Found) -> bytes:
    """The bytes of a weights file, read once, so that what is hashed is what is used."""
    content = read_bytes(found.path, WeightsError, remedy="bring the file again")
    if not content:
        raise WeightsError("the file is empty", where=found.path, remedy="bring the file again")
    digest = _sha256(content)
    if found.record.sha256 and digest != found.record.sha256:
        raise WeightsError(
            f"damaged or changed: SHA-256 is {digest}, recorded is {found.record.sha256}",
            where=found.path,
            remedy="install the package again"
            if found.record.source == "package"
            else "bring file and card again",
        )
    return content


def _tensors(found: Found, content: bytes) -> dict[str, Tensor]:
    if found.record.source == "package":
        import torch

        package = PACKAGES[found.record.backbone]
        # `_content` has matched the recorded hash; weights_only keeps the unpickler to plain tensors even so
        theirs: dict[str, Tensor] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        expanding = frozenset(key.split(".")[1] for key in theirs if "._expand_conv." in key)
        raw = {timm_key(key, package, expanding): value for key, value in theirs.items()}
    else:
        raw = _safetensors(found.path, content)
    # made contiguous, because those of the packages lie channels last, and no safetensors can be written of that
    tensors = {
        key: (value.float() if value.is_floating_point() else value).contiguous()
        for key, value in raw.items()
    }
    broken = [
        key for key, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()
    ]
    if broken:
        raise WeightsError(
            f"NaN or infinite values in {short_list(broken)}",
            where=found.path,
            remedy="get the file from its source again",
        )
    return tensors


def _safetensors(path: Path, content: bytes) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    if (
        content[:2] == b"PK" or content[:1] == b"\x80"
    ):  # a zip archive, as torch.save writes it, or a bare pickle
        raise WeightsError(
            "not safetensors but a pickle or an archive; pickles can run foreign code and are never loaded",
            where=path,
            remedy="convert it, if you trust it, by safetensors.torch.save_file(torch.load("
            f"'{path.name}', weights_only=True), '{path.stem}.safetensors')",
        )
    try:
        tensors: dict[str, Tensor] = load(content)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"not a whole safetensors file ({len(content):,} bytes): {error}",
            where=path,
            remedy="it may be truncated or of another format: bring it again",
        ) from error
    if not tensors:
        raise WeightsError("holds no tensor", where=path, remedy="name a file of weights")
    return tensors


# --- to a machine without internet


def pack(
    out: str | os.PathLike[str],
    backbones: Sequence[str],
    *,
    sources: Sequence[str] = ("file", "package"),
    offline: bool = False,
) -> list[WeightsRecord]:
    """Write weights with their cards (licence included) into one archive, `.tar` or `.zip`.

    Args:
        out: the archive. The same weights give the same bytes.
        backbones: timm's names, with or without a tag; none for all available here. A file of the
            weights folder must have a card.
        sources, offline: as in `load_weights`. With "hub" the files are downloaded where need be.

    Raises:
        UsageError: the name ends neither in .tar nor in .zip; no such backbone.
        WeightsError: as `load_weights`.
        RunError: the archive cannot be written.
    """
    target = archives.check_name(out)
    names = list(backbones) or _all_here()
    if not names:
        raise WeightsError(
            "there are no weights here to be packed",
            where=weights_folder(),
            remedy="put weights into this folder, or install a package that holds them (`graftwork ls weights`)",
        )
    records: dict[str, WeightsRecord] = {}
    members: dict[str, bytes] = {}
    for backbone in names:
        found = _find(backbone, sources, "", offline)
        name = ".".join(part for part in (found.record.backbone, found.tag) if part)
        records[name], members[f"{name}.safetensors"], members[f"{name}.json"] = _packed(found)
        listed = records[name].seen_sha256
        if listed:
            read_seen(found.path.parent / listed)
            members[listed] = (found.path.parent / listed).read_bytes()
    archives.write(target, members)
    logger.info("%s: %s", target, ", ".join(records))
    return list(records.values())


def _all_here() -> list[str]:
    stems = [path.stem for path in sorted(weights_folder().glob("*.safetensors"))]
    stems = [stem for stem in stems if (weights_folder() / f"{stem}.json").is_file()]
    held = {stem.partition(".")[0] for stem in stems}
    return stems + [record.backbone for record in available() if record.backbone not in held]


def _packed(found: Found) -> tuple[WeightsRecord, bytes, bytes]:
    content = _content(found)
    tensors = _tensors(found, content)
    if found.record.source == "file":
        if not found.record.mean:
            raise _nobody_said(found.path)
        return found.record, content, found.path.with_suffix(".json").read_bytes()
    from safetensors.torch import save

    origin = f"{found.record.origin}, SHA-256 {_sha256(content)}"
    if found.record.source == "package":
        content = save(tensors)
    record = replace(
        found.record,
        origin=origin,
        sha256=_sha256(content),
        classes=classes_of(found.record.backbone, tensors),
    )
    return record, content, (json.dumps(card_of(record), indent=2, ensure_ascii=False) + "\n").encode()


def unpack(archive: str | os.PathLike[str]) -> list[WeightsRecord]:
    """Put the weights of an archive into the weights folder, where `load_weights` finds them as files.

    All is verified before anything appears there: each file by the SHA-256 on its card (which proves that it
    came whole, not who packed it).

    Raises:
        UsageError: not an archive that `pack` wrote: damaged, a member that is neither a weights file nor a
            card, a path that leads elsewhere, far larger than it looks.
        WeightsError: a card that is missing or wrong, a hash that does not fit.
        RunError: the weights folder cannot be written.
    After an error the weights folder is as it was.
    """
    source = Path(archive)
    folder = files.check_writable(weights_folder())
    files.remove_leftovers(folder)
    with tempfile.TemporaryDirectory(prefix=files.temporary_prefix(), dir=folder) as staging:
        names = archives.extract(source, staging, r"\w[\w.-]*\.(safetensors|json|txt)")
        records = [_verified(source, Path(staging), name) for name in names if name.endswith(".safetensors")]
        lists = {record.seen_sha256 for record in records}
        lonely = [
            name
            for name in names
            if not (Path(staging) / name).with_suffix(".safetensors").is_file() and name not in lists
        ]
        if lonely or not records:
            what = f"no weights file beside {', '.join(lonely)}" if lonely else "holds no weights"
            raise WeightsError(what, where=source, remedy="get the archive from its source again")
        for name in sorted(names, key=lambda each: (each.endswith(".safetensors"), each)):
            # what goes with a file before it: alone it counts for nothing
            with files.writing(folder / name) as temporary:
                (Path(staging) / name).replace(temporary)
    logger.info("%s: %s", folder, ", ".join(record.origin for record in records))
    return records


def _verified(source: Path, staging: Path, name: str) -> WeightsRecord:
    card = (staging / name).with_suffix(".json")
    if not card.is_file():
        raise WeightsError(
            f"no card beside {name}",
            where=source,
            remedy="put its card, a .json file of the same name, beside it",
        )
    record = read_card(card)
    if record.seen_sha256:
        read_seen(staging / record.seen_sha256)
    digest = files.file_sha256(staging / name)
    if digest != record.sha256:
        raise WeightsError(
            f"{name} is damaged: SHA-256 is {digest}, its card says {record.sha256}",
            where=source,
            remedy="bring the archive again",
        )
    if not name.startswith(f"{record.backbone}."):
        raise WeightsError(
            f"{name} is by its card of {record.backbone}",
            where=source,
            remedy="name the backbone of the card, or another file",
        )
    return record
