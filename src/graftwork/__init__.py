"""graftwork: transfer learning for medical and wildlife imaging.

The public names below are loaded when they are first used, so that `import graftwork` costs nothing:

    from graftwork import split, torch_dataset
    from graftwork.domains.chest_xray import kermany

    parts = split(kermany.read("chest_xray/"), validation=0.1, test=0.2, seed=0)
    images = torch_dataset(parts.train, size=224)

Each verb of the command line is a function of the same name with the same arguments: `graftwork find-rate` is
`graftwork.find_rate`, `graftwork weights pack` is `graftwork.weights.pack`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "calibrate": "verbs",
    "check": "verbs",
    "compare": "verbs",
    "cp": "verbs",
    "doctor": "verbs",
    "evaluate": "verbs",
    "evaluate_boxes": "verbs",
    "evaluate_file": "verbs",
    "evaluate_masks": "verbs",
    "evaluate_readers": "verbs",
    "find_rate": "verbs",
    "further_evaluations": "verbs",
    "ls": "verbs",
    "Manifest": "manifest",
    "merge": "verbs",
    "monai_dicts": "sources",
    "open_run": "runs",
    "predict": "verbs",
    "read_image": "images",
    "regrid": "verbs",
    "report": "verbs",
    "resume": "verbs",
    "run": "verbs",
    "schema": "verbs",
    "select": "verbs",
    "show": "verbs",
    "Split": "splits",
    "split": "splits",
    "synthesize": "verbs",
    "Target": "manifest",
    "torch_dataset": "sources",
}

if TYPE_CHECKING:
    from graftwork import weights as weights
    from graftwork.common.images import read_image as read_image
    from graftwork.common.manifest import Manifest as Manifest
    from graftwork.common.manifest import Target as Target
    from graftwork.common.runs import open_run as open_run
    from graftwork.common.sources import monai_dicts as monai_dicts
    from graftwork.common.sources import torch_dataset as torch_dataset
    from graftwork.common.splits import Split as Split
    from graftwork.common.splits import split as split
    from graftwork.common.verbs import calibrate as calibrate
    from graftwork.common.verbs import check as check
    from graftwork.common.verbs import compare as compare
    from graftwork.common.verbs import cp as cp
    from graftwork.common.verbs import doctor as doctor
    from graftwork.common.verbs import evaluate as evaluate
    from graftwork.common.verbs import evaluate_boxes as evaluate_boxes
    from graftwork.common.verbs import evaluate_file as evaluate_file
    from graftwork.common.verbs import evaluate_masks as evaluate_masks
    from graftwork.common.verbs import evaluate_readers as evaluate_readers
    from graftwork.common.verbs import find_rate as find_rate
    from graftwork.common.verbs import further_evaluations as further_evaluations
    from graftwork.common.verbs import ls as ls
    from graftwork.common.verbs import merge as merge
    from graftwork.common.verbs import predict as predict
    from graftwork.common.verbs import regrid as regrid
    from graftwork.common.verbs import report as report
    from graftwork.common.verbs import resume as resume
    from graftwork.common.verbs import run as run
    from graftwork.common.verbs import schema as schema
    from graftwork.common.verbs import select as select
    from graftwork.common.verbs import show as show
    from graftwork.common.verbs import synthesize as synthesize

__all__ = ["__version__", "weights", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name == "weights":
        return importlib.import_module("graftwork.weights")
    if name not in _HOMES:
        raise AttributeError(f"module 'graftwork' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"graftwork.common.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
