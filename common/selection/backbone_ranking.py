"""Which backbone to choose: candidates ranked by how well their features would transfer, beside what they cost."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from graftwork.common.cache.file_facts import Cache
from graftwork.common.errors import GraftworkError, UsageError, shown_path
from graftwork.common.files import write_text
from graftwork.common.files.formulas import escape_formula
from graftwork.common.freezing.feature_cache import best_precision, compute_features
from graftwork.common.loading.samples import ImageSource
from graftwork.common.loading.transforms import Preprocessing
from graftwork.common.networks.backbones import Backbone, create_backbone
from graftwork.common.networks.costs import multiply_adds
from graftwork.common.networks.cutting import Cut, cut, fingerprint
from graftwork.common.networks.weights import Weights, load_weights
from graftwork.common.seeds import seed_of
from graftwork.common.selection.transferability import cross_validated_probe, h_score, leep, log_me

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graftwork.common.data.manifest import Manifest
    from graftwork.common.data.splits import Split
    from graftwork.common.recipe import Recipe
    from graftwork.common.runs.provenance import Progress


CRITERIA = ("log_me", "leep", "h_score", "probe")
TIMED = 32  # images on which the speed is measured


@dataclass(frozen=True)
class Candidate:
    """A backbone with its weights, evaluated on the training part.

    Attributes:
        name: as it was named.
        backbone, weights, trained_on, licence: what it is, where its weights are from, what they saw.
        parameters, multiply_adds: of the backbone; of one image at the recipe's size.
        images_per_second: through the frozen network here, measured on a batch of random images.
        log_me, leep, h_score: see `transferability`; NaN where undefined.
        probe, probe_low, probe_high: AUROC of the cross-validated linear probe, with its 95 % interval by group.
        note: why a score is missing.
        rank: by the criterion asked for, from 1; 0 for one that could not be evaluated.
    """

    name: str
    backbone: str
    weights: str
    trained_on: str
    licence: str
    parameters: int
    multiply_adds: int
    images_per_second: float
    log_me: float
    leep: float
    h_score: float
    probe: float
    probe_low: float
    probe_high: float
    note: str = ""
    rank: int = 0


@dataclass(frozen=True)
class Selection:
    """Candidates in the order of the criterion `by`, and those that could not be evaluated (name to reason).

    Attributes:
        cases, groups: of the training part, on which all were evaluated.
    """

    by: str
    cases: int
    groups: int
    candidates: tuple[Candidate, ...]
    left_out: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The values as JSON-like types; NaN is None."""
        return {
            "by": self.by, "cases": self.cases, "groups": self.groups,
            "candidates": [
                {key: None if isinstance(value, float) and math.isnan(value) else value
                 for key, value in asdict(each).items()}
                for each in self.candidates
            ],
            "left_out": dict(self.left_out),
        }  # fmt: skip


def select_among(
    recipe: Recipe,
    manifest: Manifest,
    split: Split,
    among: Sequence[str],
    *,
    by: str = "log_me",
    progress: Progress | None = None,
) -> Selection:
    """Evaluate candidates on the training part of a recipe; validation and test are not read.

    Args:
        among: timm names, or NAME@FILE for weights in a safetensors file with its card.
        by: one of `CRITERIA`.

    Raises:
        UsageError: no candidate, none that can be ranked, an unknown criterion, a target without exclusive classes.
    """
    if by not in CRITERIA or not among:
        raise UsageError(
            f"expected a criterion of {', '.join(CRITERIA)} and at least one candidate",
            where="select",
            remedy="name them with --by and --among",
        )
    target = manifest.targets[0]
    if target.kind not in ("binary", "multi-class", "ordinal") or recipe.backbone.channels != 3:
        raise UsageError(
            f"the scores of transferability are for exclusive classes of images, not for {target.kind}",
            where=manifest.dataset,
            remedy="choose by training candidates for a few epochs",
        )
    rows = split.rows("train")
    digests = _contents(manifest, rows)
    judged: list[Candidate] = []
    left_out: list[tuple[str, str]] = []
    for number, name in enumerate(dict.fromkeys(among)):
        if progress is not None:
            progress("ranking backbones", number, len(among))
        try:
            judged.append(_judge(recipe, manifest, rows, digests, name, progress))
        except GraftworkError as error:
            left_out.append((name, str(error)))
    if not judged:
        raise UsageError(
            "no candidate can be ranked: "
            + "; ".join(f"{shown_path(name)}: {why.rstrip('.')}" for name, why in left_out),
            where="select",
            remedy="correct --among",
        )
    order = sorted(
        judged, key=lambda each: (math.isnan(getattr(each, by)), -np.nan_to_num(getattr(each, by)))
    )
    ranked = tuple(
        Candidate(**{**asdict(each), "rank": 0 if math.isnan(getattr(each, by)) else place})
        for place, each in enumerate(order, 1)
    )
    groups = manifest.frame["group"].iloc[rows].nunique()
    return Selection(by, len(rows), int(groups), ranked, tuple(left_out))


def _contents(manifest: Manifest, rows: NDArray[np.int64]) -> list[str]:
    """SHA-256 of the files of some rows, "" for the others, which are not looked at."""
    found = [""] * len(manifest.frame)
    with Cache() as cache:
        for row in rows.tolist():
            with contextlib.suppress(OSError):  # said when the image is read
                found[row] = cache.fingerprint(manifest.file(row)).sha256
    return found


def _judge(
    recipe: Recipe,
    manifest: Manifest,
    rows: NDArray[np.int64],
    digests: Sequence[str],
    name: str,
    progress: Progress | None,
) -> Candidate:
    """One candidate; see `select_among`."""
    backbone_name, _, file = name.partition("@")
    weights = load_weights(
        backbone_name,
        sources=("file",) if file else recipe.backbone.weights,
        file=file,
        offline=recipe.offline,
    )
    size = recipe.image.size
    backbone = create_backbone(
        backbone_name, weights=weights, seed=seed_of(recipe.seed, "backbone"), size=size
    ).eval()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    backbone.to(device)
    preprocessing = Preprocessing(
        size, recipe.image.fit, recipe.image.interpolation, tuple(backbone.mean), tuple(backbone.std)
    )
    source = ImageSource(manifest, preprocessing)
    whole = cut(backbone, len(backbone.stages), size=size)
    assert isinstance(whole, Cut)  # behind all stages there is nothing to be cut
    asked = recipe.training.precision
    precision = best_precision(device) if asked == "auto" else str(asked)
    features = compute_features(
        backbone, source, digests, cut=whole, weights=fingerprint(backbone, len(backbone.stages)), device=device,
        precision=precision, workers=recipe.training.workers, rows=rows, engine=recipe.engine,
        progress=None if progress is None else lambda done, total: progress(f"features of {name}", done, total),
    )  # fmt: skip
    codes = features.targets if features.targets.ndim == 1 else features.targets[:, 0]
    known = np.array(
        [row for row in rows.tolist() if row not in features.failures and codes[row] >= 0], np.int64
    )
    if len(known) < 2:
        raise UsageError(
            "of the training part no label is known, or no image can be read",
            where=name,
            remedy="`graftwork check` says what is wrong with the dataset",
        )
    table, labels = features.gather(known), codes[known].astype(np.int64)
    old = _old_classes(backbone, weights, table)
    probe = cross_validated_probe(
        table, labels, manifest.frame["group"].to_numpy()[known].astype(str), seed=recipe.seed
    )
    notes = [] if old is not None else ["no LEEP: the weights came without a linear classifier"]
    notes += [] if probe.folds else ["no probe: too few groups or classes for five folds"]
    record = weights.record
    return Candidate(
        name, record.backbone, f"{record.source}: {record.origin}", record.trained_on, record.licence,
        sum(each.numel() for each in backbone.parameters()), sum(multiply_adds(backbone, size).values()),
        _speed(whole, size, device, precision), log_me(table, labels),
        float("nan") if old is None else leep(old, labels), h_score(table, labels),
        probe.auroc, probe.low, probe.high, "; ".join(notes),
    )  # fmt: skip


def _old_classes(
    backbone: Backbone, weights: Weights, features: NDArray[np.float32]
) -> NDArray[np.float64] | None:
    """What the classifier that came with the weights says of features, [n, its classes]; None where it has none that
    is linear in them."""
    found = [
        key
        for key, value in weights.tensors.items()
        if key.endswith(".weight")
        and value.ndim == 2
        and value.shape[1] == backbone.width
        and key.partition(".")[0] in ("classifier", "fc", "head", "head_drop", "last_linear")
    ]
    if len(found) != 1:
        return None
    weight = weights.tensors[found[0]].double().numpy()
    bias = weights.tensors.get(found[0].removesuffix("weight") + "bias")
    logits = features.astype(np.float64) @ weight.T + (0.0 if bias is None else bias.double().numpy())
    logits -= logits.max(axis=1, keepdims=True)
    scores = np.exp(logits)
    normed: NDArray[np.float64] = scores / scores.sum(axis=1, keepdims=True)
    return normed


def _speed(whole: Cut, size: int, device: torch.device, precision: str) -> float:
    """Images a second through the frozen network, the best of three batches after one to warm up."""
    channels = 3
    images = torch.randn(TIMED, channels, size, size, device=device).to(memory_format=torch.channels_last)
    best = math.inf
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        for _ in range(4):
            begun = time.monotonic()
            whole.prefix(images).sum().item()
            best = min(best, time.monotonic() - begun)
    return TIMED / best


def write_selection(found: Selection, place: Path, *, escape: bool = False) -> Path:
    """Write the candidates as CSV.

    Args:
        escape: put an apostrophe before text that a spreadsheet would run as a formula.

    Raises:
        GraftworkError: the file cannot be written.
    """
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    names = [each.name for each in fields(Candidate)]
    rows.writerow(names)
    for candidate in found.candidates:
        cells = [getattr(candidate, name) for name in names]
        rows.writerow(map(escape_formula, cells) if escape else cells)
    write_text(place, table.getvalue())
    return place
