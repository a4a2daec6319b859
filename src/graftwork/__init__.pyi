"""The public names of graftwork, each imported from its module when it is first used."""

from . import evaluation as evaluation, weights as weights
from .common.data.domain import Dataset as Dataset, Domain as Domain
from .common.data.images import read_image as read_image
from .common.data.manifest import Manifest as Manifest
from .common.data.splits import Split as Split, split as split
from .common.data.targets import Target as Target
from .common.errors import DatasetError as DatasetError, GraftworkError as GraftworkError
from .common.evaluation.protocols import Protocol as Protocol
from .common.loading.samples import monai_dicts as monai_dicts, torch_dataset as torch_dataset
from .common.runs.run_folder import open_run as open_run
from .common.verbs import (
    calibrate as calibrate,
    check as check,
    compare as compare,
    cp as cp,
    doctor as doctor,
    evaluate as evaluate,
    evaluate_boxes as evaluate_boxes,
    evaluate_file as evaluate_file,
    evaluate_masks as evaluate_masks,
    evaluate_readers as evaluate_readers,
    find_lr as find_lr,
    further_evaluations as further_evaluations,
    ls as ls,
    merge as merge,
    predict as predict,
    regrid as regrid,
    report as report,
    resume as resume,
    run as run,
    schema as schema,
    select as select,
    show as show,
    synthesize as synthesize,
)

__version__: str
