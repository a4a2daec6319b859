"""Masks written in every usual way, for the fuzz of meanings: ways that mean the same, and ways that mean nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.orientations import aff2axcodes
from PIL import Image
from written_volumes import ORIENTATIONS, UPRIGHT, oriented, write

__all__ = ["BINARY", "LABELLED", "MEANINGLESS", "ODD_VOLUMES", "VOLUMES", "volume"]

Writer = Callable[[Path, np.ndarray], Path]
_COLOURS = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128, 128, 0, 128, 0, 128, 128]


def _saved(suffix: str, array: np.ndarray, path: Path, mode: str | None = None, **wishes: Any) -> Path:
    place = path.with_name(path.name + suffix)
    Image.fromarray(array, mode).save(place, **wishes)
    return place


def _of(suffix: str, kind: str, full: int = 1, **wishes: Any) -> Writer:
    return lambda path, mask: _saved(suffix, mask.astype(kind) * np.dtype(kind).type(full), path, **wishes)


def _palette(suffix: str, colours: list[int], **wishes: Any) -> Writer:
    def write_it(path: Path, mask: np.ndarray) -> Path:
        picture = Image.fromarray(mask.astype(np.uint8), "P")
        picture.putpalette(colours)
        place = path.with_name(path.name + suffix)
        picture.save(place, **wishes)
        return place

    return write_it


def _channels(
    suffix: str, full: int, grey: int, alpha: Callable[[np.ndarray], np.ndarray] | None = None
) -> Writer:
    def write_it(path: Path, mask: np.ndarray) -> Path:
        values = mask.astype(np.uint8) * np.uint8(full)
        planes = [values] * grey + ([] if alpha is None else [alpha(mask).astype(np.uint8)])
        return _saved(suffix, np.dstack(planes) if len(planes) > 1 else values, path)

    return write_it


def _bits(suffix: str, **wishes: Any) -> Writer:
    def write_it(path: Path, mask: np.ndarray) -> Path:
        place = path.with_name(path.name + suffix)
        Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).convert("1").save(place, **wishes)
        return place

    return write_it


def _opaque(mask: np.ndarray) -> np.ndarray:
    return np.full(mask.shape, 255)


def _background_clear(mask: np.ndarray) -> np.ndarray:
    return np.where(mask > 0, 255, 0)


# Of labels up to 6: each file means these labels.
LABELLED: dict[str, Writer] = {
    "grey png": _of(".png", "u1"),
    "grey PNG": _of(".PNG", "u1"),
    "grey bmp": _of(".bmp", "u1"),
    "grey tif": _of(".tif", "u1"),
    "grey tiff lzw": _of(".tiff", "u1", compression="tiff_lzw"),
    "grey tif deflate": _of(".TIF", "u1", compression="tiff_adobe_deflate"),
    "grey tif packbits": _of(".tif", "u1", compression="packbits"),
    "16 bits png": _of(".png", "u2"),
    "16 bits tif": _of(".tif", "u2"),
    "16 bits big-endian tif": _of(".tif", ">u2"),
    "32 bits tif": _of(".tif", "i4"),
    "float tif": _of(".tif", "f4"),
    "palette png": _palette(".png", _COLOURS),
    "palette png of 4 bits": _palette(".png", _COLOURS, bits=4),
    "palette png with a clear background": _palette(".png", _COLOURS, transparency=0),
    "palette bmp": _palette(".bmp", _COLOURS),
    "palette tif": _palette(".tif", _COLOURS),
    "palette of grey steps": _palette(".png", [level for level in range(256) for _ in range(3)]),
    "three channels": _channels(".png", 1, 3),
    "three channels tif": _channels(".tif", 1, 3),
    "grey and opaque": _channels(".png", 1, 1, _opaque),
    "three channels and opaque": _channels(".png", 1, 3, _opaque),
    "grey and clear background": _channels(".png", 1, 1, _background_clear),
    "three channels and clear background": _channels(".png", 1, 3, _background_clear),
    "key of the background": _of(".png", "u1", transparency=0),
    "key of no pixel": _of(".png", "u1", transparency=200),
}
# Of 0 and 1: each file means this foreground, whatever the number that stands for it.
BINARY: dict[str, Writer] = LABELLED | {
    "1 bit png": _bits(".png"),
    "1 bit bmp": _bits(".bmp"),
    "1 bit tif": _bits(".tif"),
    "1 bit tif group 4": _bits(".tif", compression="group4"),
    "255 png": _of(".png", "u1", 255),
    "255 bmp": _of(".bmp", "u1", 255),
    "255 tif": _of(".tif", "u1", 255),
    "255 in 16 bits": _of(".png", "u2", 255),
    "255 in 32 bits": _of(".tif", "i4", 255),
    "255 in float": _of(".tif", "f4", 255),
    "65535 png": _of(".png", "u2", 65535),
    "65535 tif": _of(".tif", "u2", 65535),
    "black and white palette": _palette(".png", [0, 0, 0, 255, 255, 255]),
    "255 in three channels": _channels(".png", 255, 3),
    "255 and opaque": _channels(".png", 255, 1, _opaque),
    "255 in three channels and opaque": _channels(".png", 255, 3, _opaque),
    "255 and clear background": _channels(".png", 255, 3, _background_clear),
}


def _colour(path: Path, mask: np.ndarray) -> Path:
    values = mask.astype(np.uint8)
    return _saved(".png", np.dstack([values * 255, values * 0, values * 90]), path)


def _jpeg(suffix: str) -> Writer:
    return lambda path, mask: _saved(
        suffix, mask.astype(np.uint8) * np.uint8(255), path, format="JPEG", quality=100
    )


def _frames(path: Path, mask: np.ndarray) -> Path:
    place = path.with_name(path.name + ".tif")
    pictures = [Image.fromarray(each) for each in (mask.astype(np.uint8), mask.astype(np.uint8) * 255)]
    pictures[0].save(place, save_all=True, append_images=pictures[1:])
    return place


def _cut(path: Path, mask: np.ndarray) -> Path:
    place = _of(".png", "u1", 255)(path, mask)
    place.write_bytes(place.read_bytes()[:-20])
    return place


# Of 0 and 1 with both in it: files that have no single reading as a mask.
MEANINGLESS: dict[str, Writer] = {
    "half-transparent labels": _channels(".png", 255, 1, lambda mask: np.where(mask > 0, 128, 255)),
    "half-transparent everywhere": _channels(".png", 255, 3, lambda mask: np.full(mask.shape, 90)),
    "clear labels": _channels(".png", 255, 3, lambda mask: np.where(mask > 0, 0, 255)),
    "labels in alpha": _channels(".png", 0, 3, _background_clear),
    "labels in alpha of white": lambda path, mask: _channels(
        ".png", 200, 3, lambda _: _background_clear(mask)
    )(path, np.ones_like(mask)),
    "key of the labels": _of(".png", "u1", transparency=1),
    "colour": _colour,
    "jpeg": _jpeg(".jpg"),
    "jpeg named png": _jpeg(".png"),
    "jpeg in tif": lambda path, mask: _saved(".tif", mask.astype(np.uint8) * 255, path, compression="jpeg"),
    "palette of white and black": _palette(".png", [255, 255, 255, 0, 0, 0]),
    "palette of two greys": _palette(".png", [0, 0, 0, 128, 128, 128]),
    "palette with black in it": _palette(".png", [200, 0, 0, 0, 0, 0]),
    "0 is white": _of(".tif", "u1", 255, tiffinfo={262: 0}),
    "fractions": lambda path, mask: _saved(".tif", mask.astype(np.float32) * np.float32(0.7), path),
    "not a number": lambda path, mask: _saved(".tif", np.where(mask > 0, np.nan, 0).astype(np.float32), path),
    "below zero": lambda path, mask: _saved(".tif", -mask.astype(np.int32), path),
    "a label above 255": _of(".png", "u2", 300),
    "cmyk": lambda path, mask: _saved(".tif", np.dstack([mask.astype(np.uint8) * 9] * 4), path, "CMYK"),
    "two frames": _frames,
    "cut": _cut,
    "no image": lambda path, mask: _text(path),
    "numpy": lambda path, mask: _numpy(path, mask),
}


def _text(path: Path) -> Path:
    place = path.with_name(path.name + ".png")
    place.write_text("0 1 1 0")
    return place


def _numpy(path: Path, mask: np.ndarray) -> Path:
    place = path.with_name(path.name + ".npy")
    np.save(place, mask)
    return place


# Volumes: how labels up to 6 are stored; each means these labels.
VOLUMES: dict[str, dict[str, Any]] = {
    **{
        kind: {"kind": kind}
        for kind in ("u1", "i1", "<i2", ">i2", "<u2", ">u2", "<i4", ">i4", "<u4", "<i8", ">i8", "<u8")
    },
    **{kind: {"kind": kind} for kind in ("<f4", ">f4", "<f8", ">f8")},
    "slope 1": {"kind": "<i2", "scl_slope": 1, "scl_inter": 0},
    "slope 0": {"kind": "<i2", "scl_slope": 0, "scl_inter": 7},
    "slope 2": {"kind": "<i2", "times": 0.5, "scl_slope": 2, "scl_inter": 0, "even": True},
    "slope 0.1": {"kind": "<i2", "times": 10, "scl_slope": 0.1, "scl_inter": 0},
    "intercept": {"kind": "u1", "plus": 5, "scl_slope": 1, "scl_inter": -5},
    "nifti-2": {"kind": "<i4", "two": True},
    "four axes": {"kind": "u1", "axes": 1},
    "five axes": {"kind": "u1", "axes": 2},
    "pixdim 0": {"kind": "u1", "pixdim": [1, 0, 0, 0, 1, 1, 1, 1]},
    "pixdim -1": {"kind": "u1", "pixdim": [1, 1, -1, 1, 1, 1, 1, 1]},
    "pixdim nan": {"kind": "u1", "pixdim": [1, np.nan, 1, 1, 1, 1, 1, 1]},
}
ODD_VOLUMES: dict[str, dict[str, Any]] = {
    "fractions": {"kind": "<f4", "times": 0.7},
    "half slope": {"kind": "<i2", "scl_slope": 0.5, "scl_inter": 0},
    "not a number": {"kind": "<f4", "times": np.nan},
    "pixdim 0 without a form": {
        "kind": "u1",
        "pixdim": [1, 0, 0, 0, 1, 1, 1, 1],
        "sform_code": 0,
        "qform_code": 0,
    },
    "two volumes": {"kind": "u1", "axes": 1, "repeat": 2},
    "flat": {"kind": "u1", "srow_x": [0, 0, 0, 0]},
    "complex": {"kind": "<c8"},
    "a label that is not known": {"kind": "u1", "plus": 40},
    "above float64": {"kind": "<f8", "plus": 2**60},
    "above 64 bits": {"kind": "<u8", "plus": 2**63},
}


def volume(path: Path, labels: np.ndarray, way: dict[str, Any], turn: int, packed: bool) -> Path:
    """Write labels [X, Y, Z] in one of the ways above, its axes turned; the name ends as `packed` says."""
    way = dict(way)
    kind, times, plus = way.pop("kind"), way.pop("times", 1), way.pop("plus", 0)
    axes, repeat = way.pop("axes", 0), way.pop("repeat", 1)
    way.pop("even", None)
    own, affine = oriented(labels, UPRIGHT, ORIENTATIONS[turn % len(ORIENTATIONS)])
    stored = own if (times, plus) == (1, 0) else own * times + (plus if times != 1 else 0)
    stored = np.asarray(stored).astype(kind)
    if plus and times == 1:
        stored = stored + stored.dtype.type(plus)
    stored = stored.reshape(*own.shape, *[1] * axes)
    place = path.with_name(path.name + (".nii.gz" if packed else ".nii"))
    assert aff2axcodes(affine)
    return write(place, np.repeat(stored, repeat, axis=-1) if repeat > 1 else stored, affine, **way)
