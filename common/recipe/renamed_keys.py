"""Recipe keys of version 0.1 and their present names: a recipe is refused with the new name, an old run is read."""

from __future__ import annotations

from typing import Any

RENAMED = {
    "training.rate": "training.learning_rate",
    "training.backbone_rate": "training.backbone_learning_rate_factor",
    "training.accumulate": "training.accumulation_steps",
    "training.clip": "training.gradient_clip_norm",
    "training.restart": "training.restart_schedule",
    "training.tolerance": "training.max_unreadable_files",
    "strategy.last": "strategy.last_stages",
    "strategy.every": "strategy.unfreeze_every",
    "strategy.plateau": "strategy.unfreeze_patience",
    "strategy.probe": "strategy.probe_epochs",
    "strategy.decay": "strategy.layer_decay",
    "strategy.rank": "strategy.lora_rank",
    "strategy.alpha": "strategy.lora_alpha",
    "strategy.strengths": "strategy.regularisation_strengths",
    "volume.patch": "volume.patch_size",
    "volume.patches": "volume.patches_per_volume",
    "volume.overlap": "volume.patch_overlap",
    "evaluation.target": "evaluation.threshold_target",
}
RENAMED_IN_PHASES = {"rate": "learning_rate_factor", "rates": "learning_rate_factors"}


def with_present_names(data: dict[str, Any]) -> dict[str, Any]:
    """The tables of a recipe that version 0.1 wrote, with the present names of its keys."""
    return _renamed(data, RENAMED, RENAMED_IN_PHASES)


def with_first_names(data: dict[str, Any]) -> dict[str, Any]:
    """The tables of a recipe with the names of version 0.1: a run's folder is named after the hash of these."""
    return _renamed(
        data,
        {new: old for old, new in RENAMED.items()},
        {new: old for old, new in RENAMED_IN_PHASES.items()},
    )


def _renamed(data: dict[str, Any], keys: dict[str, str], in_phases: dict[str, str]) -> dict[str, Any]:
    found = {
        section: {
            keys.get(f"{section}.{key}", f".{key}").split(".")[1]: value for key, value in table.items()
        }
        if isinstance(table, dict)
        else table
        for section, table in data.items()
    }
    strategy = found.get("strategy")
    if isinstance(strategy, dict) and isinstance(strategy.get("phases"), list):
        strategy["phases"] = [
            {in_phases.get(key, key): value for key, value in phase.items()}
            if isinstance(phase, dict)
            else phase
            for phase in strategy["phases"]
        ]
    return found
