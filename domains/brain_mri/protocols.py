"""By which conventions outlines in brain images are judged, and what others have published by them."""

from __future__ import annotations

from graftwork.common.evaluation.protocols import Protocol, Published

__all__ = ["PROTOCOLS"]

_BUDA = (
    "Buda et al., Computers in Biology and Medicine 109:218-225 (2019), doi:10.1016/j.compbiomed.2019.05.002"
)
_REPOSITORY = "the authors' repository, github.com/MaciejMazurowski/brain-segmentation"
_PAPER_WHAT = "2-D U-Net, cross-validation over 110 patients, as the paper says"
_REPOSITORY_WHAT = "2-D U-Net, cross-validation over 110 patients, as the repository says"
_NNUNET = "Isensee et al., Nature Methods 18:203-211 (2021), doi:10.1038/s41592-020-01008-z"

PROTOCOLS = (
    Protocol(
        name="lgg-buda",
        version=1,
        title="FLAIR abnormality of lower-grade glioma, patient by patient (Buda 2019)",
        source=f"after {_BUDA}",
        unit="patient",
        kind="segmentation",
        primary="dice",
        metrics=("dice", "dice_median", "jaccard", "hausdorff_95", "volume_difference"),
        by="volume",  # so that a table with a row a slice is not taken for patients
        aggregation="All slices of a patient are judged as one volume; values of slices are never averaged.",
        labels="Every slice has a mask, which may be empty; every patient has an abnormality.",
        notes=(
            "The paper keeps the largest connected part of each predicted volume; here nothing is taken away.",
            "The files state no distance between pixels or slices. Unless a table spacing.csv tells it, the "
            "Hausdorff distance is undefined; no spacing is assumed.",
            "Two pairs of figures are in circulation for the same network: 0.82 and 0.85 in the paper, "
            "0.836 and 0.873 in the authors' repository. Say which is cited.",
        ),
        published=(
            Published("dice", 0.82, _PAPER_WHAT, _BUDA),
            Published("dice_median", 0.85, _PAPER_WHAT, _BUDA),
            Published("dice", 0.8360, _REPOSITORY_WHAT, _REPOSITORY),
            Published("dice_median", 0.8733, _REPOSITORY_WHAT, _REPOSITORY),
        ),
        group="patient",
        classes=("background", "abnormality"),
    ),
    Protocol(
        name="msd-hippocampus",
        version=1,
        title="Anterior and posterior hippocampus (Medical Segmentation Decathlon)",
        source="after Antonelli et al., Nature Communications 13:4128 (2022), doi:10.1038/s41467-022-30695-9",
        unit="volume",
        kind="segmentation",
        primary="dice",
        metrics=("dice", "dice_median", "jaccard", "hausdorff_95", "volume_difference"),
        labels="Every voxel is labelled; both parts occur in every volume.",
        notes=(
            "The set does not tell which volumes are of one person, and many probably are (left and right): parts "
            "and resamples are by volume, so figures may be too good and intervals too narrow.",
            "The published values are about these and of the Decathlon's hidden test volumes: no more than "
            "neighbours of values obtained on volumes held out of the training set.",
        ),
        published=(
            Published("dice", 0.90, "nnU-Net, about", _NNUNET, "anterior"),
            Published("dice", 0.89, "nnU-Net, about", _NNUNET, "posterior"),
        ),
        group="volume",
        classes=("background", "anterior", "posterior"),
    ),
)
