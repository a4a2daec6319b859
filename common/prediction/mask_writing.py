"""The masks of files by a segmenter: one at a time, each written whole at the same relative path as its image."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch

from graftwork.common.data.masks import write_mask
from graftwork.common.errors import ImageError
from graftwork.common.prediction.mask_folder_owner import mask_name
from graftwork.common.prediction.row_stream import one_line
from graftwork.common.prediction.training_overlap import SEEN_BY_RUN
from graftwork.common.training.segmentation import segment_picture

if TYPE_CHECKING:
    from torch import nn

    from graftwork.common.data.targets import Target
    from graftwork.common.data.volumes import Geometry
    from graftwork.common.prediction.image_list import Listing
    from graftwork.common.prediction.training_overlap import SeenFiles


def _millilitres(geometry: Geometry) -> float:
    """The volume of a voxel, ml; of a sheared grid too."""
    return abs(float(np.linalg.det(geometry.affine[:3, :3]))) / 1000


def masked(
    network: nn.Module,
    preprocessing: Any,
    listing: Listing,
    target: Target,
    schema: pa.Schema,
    seen: SeenFiles,
    out: Path,
    *,
    suffix: str,
    endings: Sequence[str],
    device: torch.device,
    precision: str = "float32",
) -> Generator[pa.Table]:
    """Write the mask of each file of a listing below `out`, and yield its row: what it holds, or why there is none.

    Args:
        network: in eval mode, on `device`. seen: the images of the run.
        suffix: ".png", or ".nii.gz" for volumes. endings: those of images.

    Raises:
        RunError: a mask cannot be written.
    """
    for row in range(len(listing)):
        key = str(listing.keys[row].as_py())
        name = mask_name(key, suffix, endings)
        values: dict[str, Any] = {"file": key}
        try:
            with (
                torch.inference_mode(),
                torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"),
            ):
                classes, geometry = segment_picture(network, preprocessing, listing.file(row))
        except ImageError as error:
            values["failure"] = one_line(f"{error.stage}: {error.reason}")
        except Exception as error:  # one odd file must not end the work on all others
            values["failure"] = one_line(f"{type(error).__name__}: {error}")
        else:
            write_mask(out / name, classes, target.values, geometry)
            each = 1.0 if geometry is None else _millilitres(geometry)
            counts = np.bincount(classes.reshape(-1), minlength=len(target.classes))[1:].tolist()
            volumes = zip(schema.names[2:-2], counts, strict=True)
            values[SEEN_BY_RUN] = seen.part_of(listing.file(row))
            values |= {"mask": name, **{column: round(count * each, 6) for column, count in volumes}}
        yield pa.Table.from_pylist([{name: values.get(name) for name in schema.names}], schema=schema)
