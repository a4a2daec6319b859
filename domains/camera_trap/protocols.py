"""Evaluation protocols for camera-trap images, with published results."""

from __future__ import annotations

from graftwork.common.evaluation.protocols import Protocol, Published
from graftwork.common.evaluation.tables.truth_tables import TruthTable
from graftwork.domains.camera_trap.coco_tables import EMPTIES
from graftwork.domains.camera_trap.labelling import BINS

_FILES = ("path", "file", "filename", "filepath", "relative path", "image", "image path")
_LABELS = ("label", "species", "scientific name", "category", "class", "common name")
_PLACES = ("location", "site", "deployment id", "deployment", "camera", "camera id", "station", "location id")
_SEQUENCES = ("sequence id", "seq id", "event id")
_NUMBERS = ("count", "group size", "number of objects")
_EMPTY = tuple((name, "empty") for name in (*EMPTIES, "nothing"))
_TABLE = "a table of frames, with columns for file and label"
_OF_SPECIES = (TruthTable(_TABLE, (_FILES, _LABELS), _FILES, _LABELS, _EMPTY, "", _PLACES, _SEQUENCES),)
_OF_EMPTY = (TruthTable(_TABLE, (_FILES, _LABELS), _FILES, _LABELS, _EMPTY, "animal", _PLACES, _SEQUENCES),)
_OF_COUNTS = (
    TruthTable(
        "a table of frames, with columns for file and count",
        (_FILES, _NUMBERS),
        _FILES,
        _NUMBERS,
        (("0", ""), *((str(n), BINS[min(n, 11 if n <= 50 else 12) - 1]) for n in range(1, 1000))),
        "",
        _PLACES,
        _SEQUENCES,
    ),
)
_WILDS = (
    "Koh et al., WILDS: A Benchmark of in-the-Wild Distribution Shifts, ICML 2021, table 1, arXiv:2012.07421"
)
_SERENGETI = (
    "Norouzzadeh et al., Automatically identifying, counting, and describing wild animals in camera-trap images "
    "with deep learning, PNAS 115:E5716-E5725 (2018), abstract, doi:10.1073/pnas.1719367115"
)
_LOCATIONS = "Frames of one location share what stands behind the animals, so intervals resample locations."
_EVENTS = (
    "An event is the sequence that the set names; where it names none, frames of one location belong together while "
    "the gap between them is at most 60 s."
)
_SPECIES = (
    "A frame has the one species that is in it, or is empty; frames with several species, with contradictory labels or "
    "without any are left out and counted."
)
_ANIMAL = (
    "Positive is a frame that is not empty; people and vehicles, where a set has them, count as not empty."
)
_COUNTS = (
    "The number of animals is predicted in twelve bins: 1 to 10, 11 to 50, 51 and more; the prediction is the bin "
    "with the "
    "largest score. Empty frames and frames whose number is not known are left out and counted."
)
_BOXES = (
    "The truth is the boxes of a COCO file, in px; an image without an annotation shows nothing. A crowd (iscrowd) is "
    "neither found nor missed. A class of which the truth has no box is undefined and has no share in the means. "
    "Images with an annotation that has no box are left out and counted, other than those called empty, which show "
    "nothing."
)
_MACRO = (
    "Macro F1 is the mean over the classes that occur in the truth of the part; a class that is only predicted lowers "
    "the precision of the others and has no term of its own (as in WILDS)."
)

PROTOCOLS = (
    Protocol(
        name="species",
        version=1,
        title="Species in camera-trap frames",
        source="macro F1 after WILDS iWildCam (Koh et al., ICML 2021)",
        unit="frame",
        kind="multi-class",
        primary="macro_f1",
        metrics=("macro_f1", "accuracy", "balanced_accuracy", "auroc", "average_precision", "brier"),
        labels=_SPECIES,
        notes=(
            _LOCATIONS,
            _MACRO,
            "The published figures are of another set, iWildCam 2020: a yardstick of how much is lost at cameras that "
            "were not seen in training, not a mark to reach.",
        ),
        published=(
            Published("macro_f1", 0.470, "ResNet-50, iWildCam 2020, cameras seen in training", _WILDS),
            Published("macro_f1", 0.310, "ResNet-50, iWildCam 2020, cameras not seen in training", _WILDS),
        ),
        group="location",
        tables=_OF_SPECIES,
    ),
    Protocol(
        name="species-events",
        version=1,
        title="Species in camera-trap events",
        source="events after Norouzzadeh et al., PNAS 115:E5716 (2018); macro F1 after WILDS iWildCam",
        unit="event",
        kind="multi-class",
        primary="macro_f1",
        metrics=("macro_f1", "accuracy", "balanced_accuracy", "auroc", "average_precision"),
        aggregation=_EVENTS,
        labels=_SPECIES,
        notes=(
            _LOCATIONS,
            _MACRO,
            "The published figure is of Snapshot Serengeti, events that show animals, with the same cameras in "
            "training and test.",
        ),
        published=(
            Published(
                "accuracy", 0.938, "ensemble, Snapshot Serengeti, cameras seen in training", _SERENGETI
            ),
        ),
        group="location",
        by="event",
        pooling="mean",
        rest="empty",
        tables=_OF_SPECIES,
    ),
    Protocol(
        name="empty",
        version=1,
        title="Empty or not, in camera-trap frames",
        source="the filter of empty frames, as MegaDetector is used (Beery et al., 2019, arXiv:1907.06772)",
        unit="frame",
        kind="binary",
        primary="auroc",
        metrics=("auroc", "average_precision", "sensitivity", "specificity", "balanced_accuracy", "brier"),
        labels=_ANIMAL,
        notes=(_LOCATIONS,),
        group="location",
        classes=("empty", "animal"),
        target="empty",
        tables=_OF_EMPTY,
    ),
    Protocol(
        name="empty-events",
        version=1,
        title="Empty or not, in camera-trap events",
        source="the filter of empty frames, as MegaDetector is used (Beery et al., 2019, arXiv:1907.06772)",
        unit="event",
        kind="binary",
        primary="auroc",
        metrics=("auroc", "average_precision", "sensitivity", "specificity", "balanced_accuracy"),
        aggregation=_EVENTS,
        labels=_ANIMAL,
        notes=(_LOCATIONS,),
        group="location",
        classes=("empty", "animal"),
        target="empty",
        by="event",
        pooling="max",
        tables=_OF_EMPTY,
    ),
    Protocol(
        name="count",
        version=1,
        title="How many animals, in camera-trap frames",
        source="bins and the bin beside after Norouzzadeh et al., PNAS 115:E5716 (2018)",
        unit="frame",
        kind="ordinal",
        primary="within_one",
        metrics=("within_one", "accuracy", "mean_absolute_error"),
        labels=_COUNTS,
        notes=(_LOCATIONS, "Differences are in bins, so 11 to 50 is one bin from 10."),
        group="location",
        classes=BINS,
        target="count",
        tables=_OF_COUNTS,
    ),
    Protocol(
        name="count-events",
        version=1,
        title="How many animals, in camera-trap events",
        source="bins and the bin beside after Norouzzadeh et al., PNAS 115:E5716 (2018)",
        unit="event",
        kind="ordinal",
        primary="within_one",
        metrics=("within_one", "accuracy", "mean_absolute_error"),
        aggregation=_EVENTS,
        labels=_COUNTS,
        notes=(
            _LOCATIONS,
            "Differences are in bins, so 11 to 50 is one bin from 10.",
            "The number of an event is the largest of its frames, not the number of animals that passed.",
        ),
        group="location",
        classes=BINS,
        target="count",
        by="event",
        pooling="max",
        tables=_OF_COUNTS,
    ),
    Protocol(
        name="wilds-iwildcam",
        version=1,
        title="Species in camera-trap frames, WILDS iWildCam",
        source="Koh et al., ICML 2021, arXiv:2012.07421; WILDS 2.0",
        unit="frame",
        kind="multi-class",
        primary="macro_f1",
        metrics=("macro_f1", "accuracy", "balanced_accuracy"),
        labels="Every frame has one of 182 classes; the classes are those of the columns of scores.",
        notes=(
            _LOCATIONS,
            _MACRO,
            "Evaluate frames of known cameras (ID) and of new ones (OOD) separately; WILDS gives mean and standard "
            "deviation "
            "of three seeds.",
        ),
        published=(
            Published("macro_f1", 0.470, "ResNet-50, ID, three seeds", _WILDS),
            Published("macro_f1", 0.310, "ResNet-50, OOD, three seeds", _WILDS),
        ),
        group="location",
        tables=_OF_SPECIES,
    ),
    Protocol(
        name="serengeti",
        version=1,
        title="Species in capture events, Snapshot Serengeti",
        source="Norouzzadeh et al., PNAS 115:E5716 (2018)",
        unit="event",
        kind="multi-class",
        primary="accuracy",
        metrics=("accuracy", "top_5_accuracy", "macro_f1"),
        aggregation="An event is the capture event of the set.",
        labels="An event has one of 48 species; events with several are left out and counted.",
        notes=(
            _LOCATIONS,
            "The authors average the accuracy of batches, which weighs a short last one too much; here all events "
            "are pooled. State whether empty and non-empty events have their natural shares or half each.",
            "Numbers of animals are evaluated by the protocol count-events.",
        ),
        published=(Published("accuracy", 0.938, "ensemble, cameras seen in training", _SERENGETI),),
        group="location",
        by="event",
        pooling="mean",
    ),
    Protocol(
        name="species-sets",
        version=1,
        title="Sets of species in camera-trap frames",
        source="the Jaccard index of sets after Norouzzadeh et al., PNAS 115:E5716 (2018), there of behaviours",
        unit="frame",
        kind="multi-label",
        primary="set_jaccard",
        metrics=("set_jaccard", "f1", "average_precision"),
        labels="Each species is in a frame or not; a species that is not known to be there or not is in no set.",
        notes=(
            _LOCATIONS,
            "A table of sets that were decided already, with scores of 0 and 1, is evaluated at the fixed threshold "
            "0.5, "
            "beforehand.",
        ),
        group="location",
        nothing=tuple(name for name, _ in _EMPTY),
    ),
    Protocol(
        name="empty-filter",
        version=1,
        title="A filter of empty events",
        source="share of empties removed at a miss rate fixed beforehand; after Beery et al., arXiv:1907.06772",
        unit="event",
        kind="binary",
        primary="specificity",
        metrics=("specificity", "sensitivity", "auroc", "average_precision"),
        aggregation=_EVENTS,
        labels=_ANIMAL,
        threshold="sensitivity",
        notes=(
            _LOCATIONS,
            "The specificity is the share of empty events that nobody has to look at; one minus the sensitivity that "
            "of animals missed. Both are at a threshold chosen on other events for a sensitivity of 95 %.",
        ),
        group="location",
        classes=("empty", "animal"),
        by="event",
        pooling="max",
        tables=_OF_EMPTY,
    ),
    Protocol(
        name="iwildcam2022-counts",
        version=1,
        title="Animals counted in sequences, iWildCam 2022",
        source="iWildCam 2022 competition, mean absolute error over sequences",
        unit="sequence",
        kind="counts",
        primary="count_exact",
        metrics=("count_error", "count_exact", "count_rmse"),
        labels="Every sequence has a number of animals, 0 where it is empty; every sequence needs a prediction.",
        notes=(
            _LOCATIONS,
            "The competition ranked by the mean absolute error, where lower is better; the primary metric here is the "
            "share of exact counts, as protocols rank by a metric that is better when higher.",
        ),
        group="location",
    ),
    Protocol(
        name="coco-boxes",
        version=1,
        title="Animals and other things found by boxes, in camera-trap frames",
        source=(
            "Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014, arXiv:1405.0312; COCO's evaluation "
            "code as pycocotools 2.0 has it"
        ),
        unit="image",
        kind="boxes",
        primary="coco_ap",
        metrics=("coco_ap", "coco_ap_50", "coco_ap_75", "coco_ar_100"),
        labels=_BOXES,
        notes=(
            _LOCATIONS,
            "Detections are taken in the order of their scores; each finds the free true box of its class and image "
            "with which it shares most, if the intersection over union reaches the threshold, and each true box is "
            "found once. Boxes of all sizes count, and at most 100 detections of a class in an image.",
            "Equal scores keep the order of the images' ids and, in an image, of the file, as in COCO's code: where "
            "many are equal (scores rounded to one digit), this order has a share in the number.",
            "A file that leaves out detections below some score has a lower average precision than the detector: write "
            "them with a low threshold.",
            "In COCO results an image without a row counts as one without a detection. In MegaDetector's results each "
            "image needs a record; one with a failure was not processed, and is left out and counted, never called "
            "empty.",
        ),
        group="location",
    ),
)
