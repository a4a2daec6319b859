"""Evaluation protocols for chest radiographs, with published results."""

from __future__ import annotations

from graftwork.common.evaluation.protocols import Protocol, Published
from graftwork.common.evaluation.tables.truth_tables import TruthTable

_KERMANY = "Kermany et al., Cell 172:1122-1131 (2018), figure 6, doi:10.1016/j.cell.2018.02.010"
_NETWORK = "Inception-v3, 624 test images"
_NIH = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip
_TASKS = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
_CHEXNET = "Rajpurkar et al., CheXNet, arXiv:1711.05225v3 (2017), table 2"
_CHEXNET_AUROC = (
    0.8094, 0.9248, 0.8638, 0.7345, 0.8676, 0.7802, 0.7680, 0.8887, 0.7901, 0.8878, 0.9371, 0.8047, 0.8062, 0.9164,
)  # fmt: skip
_MINED = (
    'Labels were mined from reports, 1 where a finding is named and else 0; "No Finding" is not a class. A label that '
    "is not known is left out for that class alone and counted, never taken as 0."
)
_NEVER_ACROSS = (
    "Figures of the official split and of a random split of patients are not measured on the same images: the official "
    "test part holds more findings. Never compare across the two."
)
_NOTHING = ("No Finding",)
_DATA_ENTRY = TruthTable(
    name="Data_Entry_2017 of ChestX-ray14",
    columns=("Image Index", "Finding Labels", "Patient ID"),
    case=("Image Index",),
    group=("Patient ID",),
)
_OTHER_TASKS = (
    "No Finding", "Enlarged Cardiomediastinum", "Lung Opacity", "Lung Lesion", "Pneumonia", "Pneumothorax",
    "Pleural Other", "Fracture", "Support Devices",
)  # fmt: skip
_CHEXPERT = tuple(
    TruthTable(
        f"a table of CheXpert, by {what}",
        (column, *_TASKS),
        (column,),
        group_in_case=r"(patient\d+)",
        unit_in_case=r"(patient\d+[/\\]study\d+)",
    )
    for what, column in (("image", "Path"), ("study", "Study"))
)
_PATIENTS = "Images of one patient are not independent, so intervals resample patients."

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
            "The published results are on the published test part. 170 patient numbers of its pneumonia "
            "images also appear in the published training part; whether they are the same patients is not "
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
    Protocol(
        name="nih14-official",
        version=1,
        title="Fourteen findings of ChestX-ray14, the official test list",
        source="Wang et al., CVPR 2017, arXiv:1705.02315",
        unit="image",
        kind="multi-label",
        primary="auroc",
        metrics=("auroc", "average_precision", "brier"),
        labels=_MINED,
        notes=(
            _PATIENTS,
            "The official test list has 25,596 images of patients that are not in the training list; a test set of "
            "22,433 images is another split.",
            _NEVER_ACROSS,
        ),
        group="patient",
        classes=_NIH,
        nothing=_NOTHING,
        other_labels=_NOTHING,
        tables=(_DATA_ENTRY,),
    ),
    Protocol(
        name="chexnet-random",
        version=1,
        title="Fourteen findings of ChestX-ray14, parts drawn by patient",
        source="after Rajpurkar et al., CheXNet, arXiv:1711.05225v3 (2017)",
        unit="image",
        kind="multi-label",
        primary="auroc",
        metrics=("auroc", "average_precision", "brier"),
        labels=_MINED,
        notes=(
            _PATIENTS,
            "Parts are drawn by patient, 70, 10 and 20 %; the lists of the paper were not published, so that its "
            "figures are of other images.",
            _NEVER_ACROSS,
        ),
        published=tuple(
            Published("auroc", value, "CheXNet, DenseNet-121, a random split of its own", _CHEXNET, name)
            for name, value in zip(_NIH, _CHEXNET_AUROC, strict=True)
        ),
        group="patient",
        classes=_NIH,
        nothing=_NOTHING,
        other_labels=_NOTHING,
        tables=(_DATA_ENTRY,),
    ),
    Protocol(
        name="chexpert",
        version=1,
        title="Five competition tasks of CheXpert, by study",
        source="Irvin et al., AAAI 2019, arXiv:1901.07031",
        unit="study",
        kind="multi-label",
        primary="auroc",
        metrics=("auroc", "average_precision", "brier"),
        aggregation="All views of a study are evaluated together.",
        labels="The validation and test studies are labelled by radiologists and have no uncertain label. Where a "
        "label is uncertain (-1) or blank all the same, give it as empty: it is left out for that class and counted. "
        "Training policies for uncertain labels (ignore, zeros, ones, self-trained) do not change the labels used "
        "for evaluation.",
        notes=(
            "Studies of one patient are not independent, so intervals resample patients.",
            "The score of a study is the largest over its views, and the mean of the five AUROCs is the figure of the "
            "competition.",
        ),
        group="patient",
        classes=_TASKS,
        by="study",
        pooling="max",
        nothing=_NOTHING,
        other_labels=_OTHER_TASKS,
        tables=_CHEXPERT,
    ),
)
