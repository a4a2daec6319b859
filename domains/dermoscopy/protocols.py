"""By which conventions dermoscopic pictures are judged, and what others have published by them."""

from __future__ import annotations

from graftwork.common.evaluation.protocols import Protocol
from graftwork.domains.dermoscopy.ham10000 import DIAGNOSES

__all__ = ["PROTOCOLS"]

PROTOCOLS = (
    Protocol(
        name="ham10000",
        version=1,
        title="Seven diagnoses of pigmented skin lesions (HAM10000)",
        source="measures of the ISIC 2018 challenge, task 3 (Codella et al., arXiv:1902.03368), parts drawn by lesion",
        unit="image",
        kind="multi-class",
        primary="balanced_accuracy",
        metrics=(
            "balanced_accuracy",
            "auroc",
            "average_precision",
            "sensitivity",
            "specificity",
            "accuracy",
            "brier",
            "ece_top_label",
        ),
        labels="Every image is labelled with one of seven diagnoses; a lesion has one diagnosis in all its images.",
        notes=(
            "Images of one lesion are not independent, so intervals resample lesions; the set tells no patients.",
            "The hidden test set of the challenge holds other images: its published scores (0.885 for the best "
            "ensemble) are not measured on the same thing and do not stand beside these.",
        ),
        group="lesion",
        classes=tuple(DIAGNOSES.values()),
        ties="wrong",  # as in the challenge: a tie at the top is no diagnosis
    ),
)
