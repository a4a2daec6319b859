"""Evaluation protocols for dermoscopic images, with published results."""

from __future__ import annotations

from graftwork.common.evaluation.mask_rules import MaskRules, Region
from graftwork.common.evaluation.protocols import Protocol, Published
from graftwork.common.evaluation.tables.truth_tables import TruthTable
from graftwork.domains.dermoscopy.lesion_tables import DIAGNOSES

_SEVEN = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
_EIGHT = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")
_METADATA = ("lesion_id", "image_id", "dx")
_BINARY = (
    TruthTable(
        "the table of ISIC 2020 or 2024",
        (("image_name", "isic_id"), "patient_id", "target"),
        ("image_name", "isic_id"),
        ("benign_malignant",),
        group=("patient_id",),
    ),
    TruthTable(
        "a table of the ISIC archive",
        (("image_name", "isic_id"), "benign_malignant"),
        ("image_name", "isic_id"),
        ("benign_malignant",),
    ),
    TruthTable(
        "part 3 of ISIC 2017 (melanoma is malignant)",
        ("image_id", "melanoma", "seborrheic_keratosis"),
        ("image_id",),
        ("melanoma",),
        codes=(("0", "benign"), ("1", "malignant"), ("0.0", "benign"), ("1.0", "malignant")),
    ),
)
_SCORING = "isic-challenge-scoring 5.6"
_LESIONS = (
    "Images of one lesion or patient are not independent: name the column of their group, so that intervals resample "
    "groups."
)
_TIED = "An image whose largest score several classes share has no diagnosis and is wrong."
_DIAGNOSED = (
    "Every image has one diagnosis; the balanced accuracy is the mean recall over the classes that occur."
)

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
            "Images of one lesion are not independent, so intervals resample lesions; the dataset does not identify "
            "patients.",
            "The hidden test set of the challenge holds other images: its published scores (0.885 for the best "
            "ensemble) are measured on different images and are not compared with these.",
        ),
        group="lesion",
        classes=tuple(DIAGNOSES.values()),
        tables=(
            TruthTable(
                "HAM10000_metadata",
                _METADATA,
                ("image_id",),
                ("dx",),
                tuple(DIAGNOSES.items()),
                group=("lesion_id",),
            ),
            TruthTable(
                "the truth of ISIC 2018, task 3",
                ("image", *_SEVEN),
                ("image",),
                codes=tuple(zip(_SEVEN, DIAGNOSES.values(), strict=True)),
            ),
        ),
        ties="wrong",  # as in the challenge: a tie at the top is no diagnosis
    ),
    Protocol(
        name="isic2018-task3",
        version=1,
        title="Seven diagnoses, ISIC 2018 challenge, task 3",
        source=f"Codella et al., arXiv:1902.03368; {_SCORING}",
        unit="image",
        kind="multi-class",
        primary="balanced_accuracy",
        metrics=("balanced_accuracy", "auroc", "average_precision", "sensitivity", "specificity", "accuracy"),
        labels=_DIAGNOSED,
        notes=(
            _LESIONS,
            _TIED,
            "The challenge gives image ISIC_0035068 the weight 0: leave it out of both tables to get its figures.",
        ),
        published=(
            Published(
                "balanced_accuracy",
                0.885,
                "best ensemble, hidden test set",
                "announcement of the challenge, 2018",
            ),
        ),
        group="lesion",
        classes=_SEVEN,
        tables=(
            TruthTable(
                "HAM10000_metadata",
                _METADATA,
                ("image_id",),
                ("dx",),
                (*zip(DIAGNOSES, _SEVEN, strict=True), *zip(DIAGNOSES.values(), _SEVEN, strict=True)),
                group=("lesion_id",),
            ),
            TruthTable("the truth of ISIC 2018, task 3", ("image", *_SEVEN), ("image",)),
        ),
        ties="wrong",
    ),
    Protocol(
        name="isic2019",
        version=1,
        title="Eight diagnoses, ISIC 2019 challenge",
        source=f"ISIC 2019 challenge; {_SCORING}",
        unit="image",
        kind="multi-class",
        primary="balanced_accuracy",
        metrics=("balanced_accuracy", "auroc", "average_precision", "sensitivity", "specificity", "accuracy"),
        labels=_DIAGNOSED,
        notes=(
            _LESIONS,
            _TIED,
            "The hidden test set has a ninth class of unknown diagnoses (UNK), which the public images lack: the "
            "published figure is of nine classes, those of public images are of eight.",
        ),
        published=(
            Published("balanced_accuracy", 0.636, "winner, hidden test set, 9 classes", "arXiv:1910.03910"),
        ),
        group="lesion",
        classes=_EIGHT,
        other_labels=("UNK",),
        tables=(TruthTable("the truth of ISIC 2019", ("image", *_EIGHT), ("image",)),),
        ties="wrong",
    ),
    Protocol(
        name="isic2020",
        version=1,
        title="Melanoma, SIIM-ISIC 2020 challenge",
        source="Rotemberg et al., Scientific Data 8:34 (2021), doi:10.1038/s41597-021-00815-z",
        unit="image",
        kind="binary",
        primary="auroc",
        metrics=("auroc", "average_precision", "sensitivity", "specificity", "brier"),
        labels="Every image is malignant or benign.",
        notes=("Images of one patient are not independent, so intervals resample patients.",),
        group="patient",
        classes=("benign", "malignant"),
        tables=_BINARY,
    ),
    Protocol(
        name="isic2024-pauc",
        version=1,
        title="Malignant lesions in 3-D body photographs, ISIC 2024 challenge",
        source="Kurtansky et al., Scientific Data 11:884 (2024), doi:10.1038/s41597-024-03743-w, and the scorer of the "
        "challenge",
        unit="image",
        kind="binary",
        primary="partial_auroc",
        metrics=("partial_auroc", "auroc", "average_precision", "sensitivity", "specificity"),
        labels="Every image is malignant or benign.",
        notes=(
            "The partial area is not scaled and runs from 0 to 0.2. A text of the challenge says 88 % and 0 to 0.12; "
            "its scorer takes 80 %.",
            "Images of one patient are not independent, so intervals resample patients.",
        ),
        group="patient",
        classes=("benign", "malignant"),
        tables=_BINARY,
    ),
    Protocol(
        name="isic2018-task1-masks",
        version=1,
        title="Lesion segmentation, ISIC 2018 challenge, task 1",
        source=f"Codella et al., arXiv:1902.03368; {_SCORING}",
        unit="image",
        kind="segmentation",
        primary="least_jaccard",
        metrics=("least_jaccard", "jaccard", "dice", "voxel_sensitivity", "voxel_specificity"),
        labels="A mask has two values (0 and 1, or 0 and 255); of grey levels, those above 128 are the lesion.",
        notes=(_LESIONS,),
        group="lesion",
        classes=("background", "lesion"),
        masks=MaskRules(regions=(Region("lesion", (1,)),), above=128),
    ),
)
