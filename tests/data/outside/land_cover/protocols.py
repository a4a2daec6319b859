"""The protocol for land cover."""

from __future__ import annotations

from graftwork import Protocol
from land_cover.eurosat import CLASSES

__all__ = ["PROTOCOLS"]

PROTOCOLS = (
    Protocol(
        name="eurosat",
        version=1,
        title="Land cover of satellite patches",
        source="after Helber et al., IEEE JSTARS 12:2217-2226 (2019)",
        unit="patch",
        kind="multi-class",
        primary="accuracy",
        metrics=("accuracy", "balanced_accuracy", "auroc"),
        labels="Every patch is labelled with one class.",
        group="scene",
        classes=CLASSES,
    ),
)
