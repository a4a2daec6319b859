"""The trained model of a run for prediction: targets, preprocessing, threshold and description."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graftwork.common.data import images, volumes
from graftwork.common.data.domain import dataset, domain
from graftwork.common.data.targets import Target
from graftwork.common.errors import GraftworkError, RunError
from graftwork.common.files import file_sha256
from graftwork.common.files.untrusted_files import interpreting
from graftwork.common.prediction.output_files import FORMAT

if TYPE_CHECKING:
    from graftwork.common.evaluation.results import Evaluation
    from graftwork.common.runs.run_folder import Run


@dataclass(frozen=True)
class Job:
    """A run that predicts.

    Attributes:
        run: it.
        targets: the predicted targets, the first one first.
        endings: of the names of what it reads.
        unit: in which its masks are counted, "ml" or "pixels"; "" where it writes none.
        about: the description of its rows.
    """

    run: Run
    targets: tuple[Target, ...]
    endings: tuple[str, ...]
    unit: str
    about: Mapping[str, Any]

    @property
    def masks(self) -> bool:
        """Whether it writes masks, not scores."""
        return self.targets[0].kind == "segmentation"

    @property
    def suffix(self) -> str:
        """The end of the name of a mask."""
        return ".nii.gz" if self.unit == "ml" else ".png"


def job_of(run: Run) -> Job:
    """What identifies the model of a run.

    Raises:
        RunError: its training is not complete.
    """
    with interpreting(Path(run.folder), RunError):
        network = run.network
        told = network.get("targets")  # a run of an earlier version says it in its manifest alone
        targets = run.manifest.targets if told is None else tuple(Target(**each) for each in told)
        volume = run.recipe.backbone.name == "unet3d"
        unit = ("ml" if volume else "pixels") if targets[0].kind == "segmentation" else ""
        tensors = run.folder / "best" / "model.safetensors"
        if not tensors.is_file():
            raise RunError(
                "its network is not there yet",
                where=run.folder,
                remedy=f"resume with: graftwork resume {run.folder}",
            )
        from graftwork import __version__

        weights = network["weights"]
        about = {
            "format": FORMAT,
            "graftwork": __version__,
            "run": str(Path(run.folder).absolute()),
            "recipe": run.recipe_name,
            "dataset": run.recipe.dataset,
            "synthetic": run.manifest.synthetic,
            "model_sha256": file_sha256(tensors),
            "targets": [
                {**asdict(each), "classes": list(each.classes), "values": list(each.values)}
                for each in targets
            ],
            "thresholds": [] if unit else _thresholds(run, targets),
            "preprocessing": network["preprocessing"],
            "unit": unit,
            "licences": {
                "data": _licence(run.recipe.dataset),
                "weights": "none: trained from random weights"
                if weights is None
                else weights.get("licence") or "not known",
            },
        }
        return Job(run, targets, volumes.SUFFIXES if volume else images.SUFFIXES, unit, about)


def _thresholds(run: Run, targets: Sequence[Target]) -> list[dict[str, Any]]:
    """The threshold and its reason; chosen on validation when the run was evaluated."""
    found = []
    judged: list[Evaluation] = [run.evaluation, *getattr(run, "further_evaluations", ())]
    for place, target in enumerate(targets):
        names = ("", target.name) if place == 0 else (target.name,)
        for evaluation in judged:
            if getattr(evaluation, "target", "") in names and evaluation.thresholds:
                found += [
                    {"target": target.name, "class": each.label, "value": each.value, "rule": each.describe()}
                    for each in evaluation.thresholds
                    if not math.isnan(each.value)
                ]
                break
    return found


def _licence(name: str) -> str:
    try:
        return dataset(name).about.licence
    except GraftworkError:  # the domain is not installed here, and nothing else of it is needed
        return f"not known here; it is that of {name}"


def formats_of(name: str) -> Mapping[str, str]:
    """The formats of the domain of a dataset; none where the domain is not installed here."""
    try:
        return domain(name.partition("/")[0]).formats
    except GraftworkError:
        return {}
