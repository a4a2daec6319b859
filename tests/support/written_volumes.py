"""Volumes as files, written for tests: any order of the axes, any affine, any header."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform

__all__ = ["OBLIQUE", "ORIENTATIONS", "UPRIGHT", "oriented", "write"]

ORIENTATIONS = tuple(
    "".join(codes)
    for order in itertools.permutations(("RL", "AP", "SI"))
    for codes in itertools.product(*order)
)
UPRIGHT = np.array([[1.5, 0, 0, -20], [0, 2, 0, 7], [0, 0, 3, 40], [0, 0, 0, 1.0]])
_TURN = np.array([[0.9, -0.35, 0.26], [0.4, 0.9, -0.15], [-0.18, 0.24, 0.95]])
OBLIQUE = UPRIGHT.copy()
OBLIQUE[:3, :3] = np.linalg.qr(_TURN)[0] * np.sign(np.diag(np.linalg.qr(_TURN)[0])) @ np.diag([1.5, 2.0, 3.0])


def oriented(array: np.ndarray, affine: np.ndarray, codes: str) -> tuple[np.ndarray, np.ndarray]:
    """An array whose axes run to the right, front and top, and its affine, in another order of the axes."""
    turn = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    return apply_orientation(array, turn), affine @ inv_ornt_aff(turn, array.shape)


def write(
    path: Path, array: np.ndarray, affine: np.ndarray | None = None, *, two: bool = False, **fields: Any
) -> Path:
    """A NIfTI file as nibabel writes it; `fields` go into its header as they are."""
    kind = nibabel.Nifti2Image if two else nibabel.Nifti1Image
    image = kind(array, UPRIGHT if affine is None else affine, dtype=array.dtype)
    path.parent.mkdir(parents=True, exist_ok=True)
    if "forms" in fields:
        qform, sform = fields.pop("forms")
        image.set_qform(image.affine, qform)
        image.set_sform(image.affine, sform)
    if not fields:
        image.to_filename(path)
        return path
    content = bytearray(image.to_bytes())
    header = type(image.header)(bytes(content[: image.header.sizeof_hdr]), check=False)
    for name, value in fields.items():
        header[name] = value
    content[: image.header.sizeof_hdr] = header.binaryblock
    path.write_bytes(bytes(content))
    return path
