"""Evaluation protocols for brain MRI segmentation, with published results."""

from __future__ import annotations

from graftwork.common.evaluation.mask_rules import MaskRules, Region
from graftwork.common.evaluation.protocols import Protocol, Published

_BUDA = (
    "Buda et al., Computers in Biology and Medicine 109:218-225 (2019), doi:10.1016/j.compbiomed.2019.05.002"
)
_REPOSITORY = "the authors' repository, github.com/MaciejMazurowski/brain-segmentation"
_PAPER_WHAT = "2-D U-Net, cross-validation over 110 patients, as the paper says"
_REPOSITORY_WHAT = "2-D U-Net, cross-validation over 110 patients, as the repository says"
_WINNER = "Isensee et al., nnU-Net for Brain Tumor Segmentation, arXiv:2011.00848 (2020)"
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
        aggregation="All slices of a patient are evaluated as one volume; values of slices are never averaged.",
        labels="Every slice has a mask, which may be empty; every patient has an abnormality.",
        notes=(
            "The paper keeps the largest connected part of each predicted volume; here nothing is taken away.",
            "The files state no pixel or slice spacing. Unless a table spacing.csv has it, the "
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
            "The dataset does not say which volumes are of the same person, and many probably are (left and right): "
            "parts "
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
    Protocol(
        name="brats2020",
        version=1,
        title="Glioma regions, BraTS 2020",
        source="Menze et al., IEEE TMI 34:1993 (2015), doi:10.1109/TMI.2014.2377694; nnU-Net's script for BraTS, as "
        "the server's code is not published",
        unit="case",
        kind="segmentation",
        primary="dice",
        metrics=("dice", "hausdorff_95", "voxel_sensitivity", "voxel_specificity"),
        labels="Labels are 1 (necrotic core), 2 (oedema) and 4 (enhancing tumour).",
        notes=(
            "A region that only one of the masks holds has a distance of 373.1287 mm, the diagonal of the grid.",
        ),
        published=(
            Published("dice", 0.8895, "winner of 2020, nnU-Net", _WINNER, "WT"),
            Published("dice", 0.8506, "winner of 2020, nnU-Net", _WINNER, "TC"),
            Published("dice", 0.8203, "winner of 2020, nnU-Net", _WINNER, "ET"),
            Published("hausdorff_95", 8.498, "winner of 2020, nnU-Net", _WINNER, "WT"),
            Published("hausdorff_95", 17.337, "winner of 2020, nnU-Net", _WINNER, "TC"),
            Published("hausdorff_95", 17.805, "winner of 2020, nnU-Net", _WINNER, "ET"),
        ),
        group="patient",
        classes=("background", "WT", "TC", "ET"),
        masks=MaskRules(
            regions=(Region("WT", (1, 2, 4)), Region("TC", (1, 4)), Region("ET", (4,))),
            labels=(1, 2, 4),
            hausdorff="pooled",
            empty_one=373.12866,
        ),
    ),
    Protocol(
        name="brats2023-lesionwise",
        version=1,
        title="Glioma lesions, BraTS 2023 (adult glioma)",
        source="BraTS-2023-Metrics of the organisers, commit 43c9052",
        unit="case",
        kind="segmentation",
        primary="lesion_dice",
        metrics=("lesion_dice", "lesion_hausdorff_95", "dice", "hausdorff_95"),
        labels="Labels are 1 (necrotic core), 2 (oedema) and 3 (enhancing tumour).",
        notes=(
            "Other tumour types have other parameters: a dilation of 1 for meningioma, 1 and a least volume of 2 mm3 "
            "for metastases.",
        ),
        group="patient",
        classes=("background", "WT", "TC", "ET"),
        masks=MaskRules(
            regions=(Region("WT", (1, 2, 3)), Region("TC", (1, 3)), Region("ET", (3,))),
            labels=(1, 2, 3),
            hausdorff="surfel-weighted",
            empty_one=374.0,
            lesions="2023",
        ),
    ),
    Protocol(
        name="brats2024",
        version=1,
        title="Glioma lesions after treatment, BraTS 2024",
        source="BraTS-2024-Metrics of the organisers, commit f1131e3",
        unit="case",
        kind="segmentation",
        primary="lesion_dice",
        metrics=(
            "lesion_dice",
            "lesion_hausdorff_95",
            "lesion_surface_dice_half",
            "lesion_surface_dice_one",
            "dice",
            "hausdorff_95",
        ),
        labels="Labels are 1 (non-enhancing core), 2 (surrounding FLAIR hyperintensity), 3 (enhancing tissue) and 4 "
        "(resection cavity).",
        notes=(
            "The penalty is 337 mm since July 2024; before, and in 2023, it was 374.",
            "The Dice coefficient and the distance of a whole region are those of the masks as they are. The program's "
            "own figures of that kind (Legacy) are taken after small predicted parts were deleted, and differ.",
        ),
        group="patient",
        classes=("background", "WT", "TC", "NETC", "SNFH", "ET", "RC"),
        masks=MaskRules(
            regions=(
                Region("WT", (1, 2, 3), 3, 20),
                Region("TC", (1, 3), 3, 20),
                Region("NETC", (1,), 5, 20, ("ET", "RC")),
                Region("SNFH", (2,), 3, 20, ("ET", "RC", "NETC")),
                Region("ET", (3,), 3, 10, ("NETC", "RC")),
                Region("RC", (4,), 5, 20, ("ET", "NETC")),
            ),
            labels=(1, 2, 3, 4),
            hausdorff="surfel-weighted",
            empty_one=337.0,
            lesions="2024",
            penalty=337.0,
        ),
    ),
)
