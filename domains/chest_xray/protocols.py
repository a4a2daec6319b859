"""By which conventions chest radiographs are judged, and what others have published by them."""

from __future__ import annotations

from graftwork.common.evaluation.protocols import Protocol, Published

__all__ = ["PROTOCOLS"]

_KERMANY = "Kermany et al., Cell 172:1122-1131 (2018), figure 6, doi:10.1016/j.cell.2018.02.010"
_NETWORK = "Inception-v3, 624 test images"

PROTOCOLS = (
    Protocol(
        name="kermany",
        version=1,
        title="Paediatric pneumonia on chest radiographs (Kermany 2018)",
        source="after Kermany et al., Cell 172:1122-1131 (2018)",
        unit="image",
        kind="binary",
        primary="auroc",
        metrics=(
            "auroc",
            "average_precision",
            "sensitivity",
            "specificity",
            "accuracy",
            "balanced_accuracy",
            "brier",
        ),
        labels="Every image is labelled; bacterial and viral pneumonia count as one class.",
        threshold="youden",
        notes=(
            "Images of one patient are not independent, so intervals resample patients.",
            "The published figures are of the published test part. 170 patient numbers of its pneumonia "
            "images also stand in the published training part; whether they are the same patients is not "
            "documented.",
        ),
        published=(
            Published("auroc", 0.968, _NETWORK, _KERMANY),
            Published("accuracy", 0.928, _NETWORK, _KERMANY),
            Published("sensitivity", 0.932, _NETWORK, _KERMANY),
            Published("specificity", 0.901, _NETWORK, _KERMANY),
        ),
        group="patient",
        classes=("normal", "pneumonia"),
    ),
)
