"""The data of a run that reports need, read once from its folder and from the registered domains."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graftwork.common.data import domain
from graftwork.common.data.manifest import PARTS
from graftwork.common.errors import GraftworkError, RunError
from graftwork.common.evaluation.metrics.registry import EXCLUSIVE
from graftwork.common.files.untrusted_files import interpreting
from graftwork.common.recipe import Recipe, to_toml
from graftwork.common.report.formatting import Scrubber, shortened
from graftwork.common.runs.saved_files import read_index

if TYPE_CHECKING:
    import pandas as pd

    from graftwork.common.data.domain import Dataset
    from graftwork.common.data.manifest import Manifest
    from graftwork.common.data.splits import SharedGroups, Split
    from graftwork.common.data.targets import Target
    from graftwork.common.evaluation import Evaluation, Protocol, Result
    from graftwork.common.runs.run_folder import Run


NORMS = {
    "hold": "statistics and affine weights stay as pretrained",
    "adapt": "statistics are updated from the data, affine weights stay",
    "train": "statistics and affine weights both change",
}


@dataclass(frozen=True, eq=False)
class Facts:
    """One run, read once. `dataset`, `protocol` and `card` are None or empty where its domain is not installed.

    `further` are its other evaluations, `protocols` the registered protocols of its dataset by name, `examples` the
    index of the images with masks.
    """

    folder: Path
    recipe: Recipe
    name: str
    manifest: Manifest
    split: Split
    proof: Sequence[SharedGroups]
    environment: Mapping[str, Any]
    network: Mapping[str, Any]
    log: Sequence[Mapping[str, Any]]
    ledger: pd.DataFrame
    frozen: dict[str, Any]
    predictions: pd.DataFrame
    evaluation: Evaluation
    mistakes: Sequence[Mapping[str, Any]]
    quarantine: Sequence[Mapping[str, str]]
    dataset: Dataset | None
    protocol: Protocol | None
    card: str
    scrub: Scrubber
    further: Sequence[Evaluation] = ()
    protocols: Mapping[str, Protocol] = field(default_factory=dict)
    examples: Sequence[Mapping[str, Any]] = ()
    unverified: Sequence[str] = ()

    @property
    def title(self) -> str:
        """The recipe's title, for a heading."""
        return self.scrub(self.recipe.title)

    @property
    def short_name(self) -> str:
        """The recipe's name, for a table."""
        return shortened(self.scrub(self.name))

    @property
    def dataset_title(self) -> str:
        """The title of the dataset."""
        return self.dataset.title if self.dataset is not None else self.manifest.dataset

    @property
    def group(self) -> str:
        """What a group is: "patient"."""
        return self.evaluation.group or self.manifest.group

    @property
    def unit(self) -> str:
        """The unit of evaluation: "image", "volume"."""
        return self.evaluation.unit or "image"

    @property
    def image(self) -> str:
        """What a row of the manifest is: the unit, or where several form one unit, "slice" or "image"."""
        if self.segments:
            joined = "images" in self.predictions.columns and bool((self.predictions["images"] > 1).any())
        else:
            joined = self.protocol is not None and bool(self.protocol.by)
        if not joined:
            return self.unit
        return "slice" if "slice" in self.manifest.covariates else "image"

    @property
    def target(self) -> Target:
        """The target of the primary result: the first, or another one that the protocol names.

        Raises:
            RunError: the manifest has no such target.
        """
        name = self.evaluation.target
        for target in self.manifest.targets:
            if name in ("", target.name):
                return target
        raise RunError(
            f"the run has no target {name!r} (found in metrics.json)",
            where=self.folder / "metrics.json",
            remedy="write it again with `graftwork evaluate`",
        )

    @property
    def evaluates_further(self) -> bool:
        """Whether the primary result is of another target than the first."""
        return self.target != self.manifest.target

    @property
    def segments(self) -> bool:
        """Whether the first target is a segmentation."""
        return self.manifest.target.kind == "segmentation"

    @property
    def exclusive(self) -> bool:
        """Whether a case has one of several classes, which changes the definition of some metrics."""
        return self.target.kind in EXCLUSIVE

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes with results: all of the evaluated target; of a segmentation without the background."""
        return self.target.classes[1:] if self.segments else self.target.classes

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the split: train, validation, test, and `seen` where the run has it."""
        found = dict.fromkeys(self.split.parts.tolist())
        return (*PARTS, *(part for part in found if part not in PARTS))

    @property
    def synthetic(self) -> bool:
        """Whether the data are synthetic."""
        return self.manifest.synthetic

    @property
    def groups(self) -> int:
        """Groups in all parts together."""
        return int(self.manifest.frame["group"].nunique())

    @property
    def leaks(self) -> int:
        """The number of groups with cases in more than one part."""
        return int(self.split.leaks)

    @property
    def absent(self) -> tuple[str, ...]:
        """Sentences of the split on classes that a part lacks."""
        return tuple(self.split.absent)

    @property
    def leak_allowed(self) -> bool:
        """Whether the recipe allowed groups with cases in two parts."""
        return bool(self.split.allow_leak or self.recipe.split.allow_leak)

    @property
    def primary(self) -> str:
        """The primary metric of the protocol."""
        if self.protocol is not None:
            return self.protocol.primary
        return self.evaluation.results[0].metric if self.evaluation.results else "auroc"

    @property
    def headline(self) -> Result | None:
        """The primary result: over all classes where there is one, else of the first class."""
        return self.overall(self.primary)

    def overall(self, metric: str) -> Result | None:
        """The result of a metric: over all classes where there is one, else of the first class."""
        found = [result for result in self.evaluation.results if result.metric == metric]
        whole = [result for result in found if not result.label]
        return next(iter(whole or found), None)

    @property
    def recipe_text(self) -> str:
        """The resolved recipe as TOML, without the folder of a weights file."""
        shown = self.recipe
        if shown.backbone.file:
            backbone = shown.backbone.model_copy(update={"file": self.scrub(shown.backbone.file)})
            shown = shown.model_copy(update={"backbone": backbone})
        return self.scrub(to_toml(shown))

    @property
    def best_epoch(self) -> int | None:
        """The epoch whose weights were saved, or None where the log names none."""
        best = [int(line["epoch"]) for line in self.log if line.get("best")]
        return best[-1] if best else None

    @property
    def solved(self) -> bool:
        """Whether the head was solved for several regularisation strengths, not trained in epochs."""
        return bool(self.log) and all("strength" in line for line in self.log)

    @property
    def weights(self) -> Mapping[str, Any]:
        """The entry of network.json on pretrained weights."""
        found = self.network.get("weights")
        return found if isinstance(found, Mapping) else {}


def facts_of(run: Run) -> Facts:
    """Read a run.

    Raises:
        RunError: something in its folder is missing or damaged, or there is nothing to report yet.
    """
    with interpreting(run.folder, RunError):
        manifest, environment = run.manifest, dict(run.environment)
        evaluation, split = run.evaluation, run.split
        about, protocol, card = _domain(run, manifest.dataset, evaluation.protocol)
        if len(split.parts) != len(manifest):
            raise RunError(
                f"split.csv has {len(split.parts):,} rows, manifest.parquet {len(manifest):,}",
                where=run.folder,
                remedy="start the run again in another folder with --out; one of the files was changed",
            )
        private = {
            str(environment.get("data") or ""): "DIR",
            str(manifest.root): "DIR",
            str(run.folder.absolute()): "RUN",
            str(run.recipe.backbone.file): f"…/{Path(run.recipe.backbone.file).name}",
            str(Path.home()): "~",
        }
        return Facts(
            folder=run.folder,
            recipe=run.recipe,
            name=run.recipe_name,
            manifest=manifest,
            split=split,
            proof=split.proof(),
            environment=environment,
            network=dict(run.network),
            log=list(run.log),
            ledger=run.ledger,
            frozen=run.frozen,
            predictions=run.predictions,
            evaluation=evaluation,
            mistakes=list(run.mistakes),
            quarantine=list(run.quarantine),
            dataset=about,
            protocol=protocol,
            card=card,
            scrub=Scrubber(private),
            further=run.further_evaluations,
            protocols=_protocols(manifest.dataset),
            examples=_examples(run),
            unverified=run.unverified,
        )


def _protocols(dataset: str) -> dict[str, Protocol]:
    """The protocols of a dataset, by name."""
    found: dict[str, Protocol] = {}
    with contextlib.suppress(GraftworkError):
        loaded = domain.dataset(dataset)
        for name in (loaded.protocol, *loaded.further):
            with contextlib.suppress(GraftworkError):
                each = domain.protocol(name)
                found[each.name] = each
    return found


def _examples(run: Run) -> list[Mapping[str, Any]]:
    """The index of `examples/`; empty where the run has none."""
    return list(read_index(run.folder / "examples" / "index.json"))


def _domain(run: Run, dataset: str, protocol: str) -> tuple[Dataset | None, Protocol | None, str]:
    """Dataset, protocol and card; a report can be written where the domain is no longer installed."""
    about: Dataset | None = None
    protocol_found: Protocol | None = None
    card = ""
    with contextlib.suppress(GraftworkError):
        about = domain.dataset(dataset).about
        card = domain.card(dataset)
    with contextlib.suppress(GraftworkError):
        found = run.protocol
        if found.name.rpartition("/")[2] == protocol.rpartition("/")[2]:  # else the numbers come from another
            protocol_found = found
    return about, protocol_found, card


def limits_of(card: str) -> list[tuple[str, list[str]]]:
    """The section of a data card with `limit` in its heading, as ("text" or "list", lines)."""
    lines, level, inside = card.splitlines(), 0, False
    blocks: list[tuple[str, list[str]]] = []
    fresh = True
    for line in lines:
        stripped = line.strip()
        if stripped.startswith("#"):
            depth = len(stripped) - len(stripped.lstrip("#"))
            if inside and depth <= level:
                break
            if not inside and "limit" in stripped.lower():
                inside, level = True, depth
            fresh = True
        elif inside and not stripped:
            fresh = True
        elif inside and stripped[:2] in ("- ", "* "):
            if not blocks or blocks[-1][0] != "list":
                blocks.append(("list", []))
            blocks[-1][1].append(_plain(stripped[2:]))
            fresh = False
        elif inside and not fresh:
            blocks[-1][1][-1] += " " + _plain(stripped)
        elif inside:
            blocks.append(("text", [_plain(stripped)]))
            fresh = False
    return blocks


def _plain(markdown: str) -> str:
    """A line of Markdown without its marks: **bold**, `code`, [text](address)."""
    text = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", markdown)
    text = re.sub(r"\*\*|`", "", text)
    return re.sub(r"(?<!\w)([*_])(\S[^*_]*?)\1(?!\w)", r"\2", text).strip()
