"""The whole numbers that an image file stores for its pixels: the reader of masks, whose values are labels.

Nothing is scaled, composited or converted: what a mask means must not depend on how `read_image` shows an image.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from graftwork.common.data import images
from graftwork.common.data.images import raster
from graftwork.common.errors import ImageError

_COMPRESSION, _BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 259, 258, 262, 339
# TIFF compressions that change values, or may: JPEG, JPEG 2000, WebP, JPEG XL
_LOSSY = {
    6: "JPEG",
    7: "JPEG",
    33003: "JPEG 2000",
    33004: "JPEG 2000",
    33005: "JPEG 2000",
    34712: "JPEG 2000",
}
_LOSSY |= {34892: "JPEG", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL"}
_LOSSLESS = "export it again from its source without loss: PNG, TIFF (LZW or none) or NIfTI"


@dataclass(frozen=True, eq=False)
class LabelImage:
    """The values of a mask.

    Attributes:
        values: [H, W], upright; integers, or float32 of a TIFF file of floating point numbers.
        graded: whether they are levels of grey, between which a threshold has a meaning; not so of palette indices.
    """

    values: NDArray[Any]
    graded: bool = True


def read_label_image(path: str | os.PathLike[str]) -> LabelImage:
    """Read the values of a PNG, TIFF or BMP mask, told apart by content.

    Grey: the values as they are, of any depth; 1 bit gives 0 and 255. RGB with three equal channels counts as grey.
    Palette: the index of each pixel, whatever its colour; refused where index and colour contradict each other (grey
    entries at other indices than their level, but for black at 0 and white at 1; black at another index than 0).
    Transparency: dropped where all is opaque, or where exactly the pixels of value 0 are clear; else refused.

    Raises:
        ImageError: it cannot be read, is in colour, lossy (JPEG), or has no single reading; says which and why.
    """
    return images._reading(path, _read)


def _refuse(what: str, where: str, remedy: str) -> ImageError:
    return ImageError(what, where=where, stage="content", remedy=remedy)


def _read(file: BinaryIO, size: int, where: str) -> LabelImage:
    kind = images._kind(file, where)
    if kind == "JPEG":
        raise _refuse(
            "it is a JPEG file, which stores values that are only near those that were saved; a mask has one value a "
            "class",
            where,
            _LOSSLESS,
        )
    if kind == "DICOM":
        raise _refuse(
            "it is a DICOM file, expected PNG, TIFF, BMP or NIfTI", where, "convert the mask to one of these"
        )
    image, file = raster.opened_raster(
        file, kind, where, pixel_budget=images.PIXEL_BUDGET, frame=None, floating=True
    )
    tags: Any = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise _refuse(f"it holds {frames} frames, expected one", where, "save the mask as one image")
    lossy = _LOSSY.get(tags.get(_COMPRESSION, 1))
    if lossy:
        raise _refuse(f"its values are compressed by {lossy}, which can change them", where, _LOSSLESS)
    raw = raster._raw_mode(image)
    if image.mode in ("P", "PA"):
        return LabelImage(_indices(image, where), graded=False)
    if ";16" in raw and image.mode in ("RGB", "RGBA") and "a" not in raw:
        again = raster._page(raster._opened(file, kind, where), where, None)
        clear = image.info.get("transparency")
        return LabelImage(_grey(raster._sixteen_bits(image, again, raw), 65535, clear, where))
    return LabelImage(_values(image, raw, tags, where))


def _values(image: Image.Image, raw: str, tags: Any, where: str) -> NDArray[Any]:
    bits = int(max(np.ravel(tags.get(_BITS, (8,)))))
    signed = int(max(np.ravel(tags.get(_SAMPLE_FORMAT, (1,))))) == 2
    clear = image.info.get("transparency")
    if tags.get(_PHOTOMETRIC) == 0 and image.mode != "1":
        raise _refuse(
            "its TIFF header says that 0 is white, so that stored values and shown levels are each other's opposite",
            where,
            "save it with 0 as black (PhotometricInterpretation 1)",
        )
    image = raster._upright(image)
    pixels: NDArray[Any] = np.array(image)
    if image.mode == "F":
        if np.abs(pixels[np.isfinite(pixels)]).max(initial=0) > 2**24:
            raise _refuse(
                "its floating point values pass 16,777,216, above which integers are lost", where, _LOSSLESS
            )
        return pixels
    if image.mode == "1":
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    elif image.mode == "L" and signed:
        pixels = pixels.view(np.int8)
    elif image.mode == "I" and not signed and bits == 32:
        pixels = pixels.view(np.uint32)
    elif image.mode.startswith("I;16"):
        pixels = pixels.astype(np.uint16)
    elif image.mode == "RGBX":
        if (pixels[..., 3] != pixels[0, 0, 3]).any():
            raise _refuse("it has a fourth channel of unknown meaning", where, "save it in grey")
        pixels = pixels[..., :3]
    if image.mode not in ("1", "L", "I", "LA", "RGB", "RGBA", "RGBX") and not image.mode.startswith("I;16"):
        raise _refuse(
            f"its colour space is {image.mode}, expected grey or a palette",
            where,
            "save it in grey, each class by its value",
        )
    if raw.startswith(("L;2", "L;4")) and not np.isin(pixels, (0, 255)).all():
        low = "2" if raw.startswith("L;2") else "4"
        raise _refuse(
            f"its grey has {low} bits, of which programs read the stored value (1) or the level (85 or 17)",
            where,
            "save it with 8 bits",
        )
    high = 65535 if image.mode.startswith("I;16") else 255
    return _grey(pixels[..., None] if pixels.ndim == 2 else pixels, high, clear, where)


def _grey(pixels: NDArray[Any], high: int, clear: Any, where: str) -> NDArray[Any]:
    """[H, W, 1 to 4] to the one value of each pixel; transparency and colour are refused, unless they say nothing."""
    channels = pixels.shape[2]
    colours = pixels[..., :-1] if channels in (2, 4) else pixels
    alpha = pixels[..., -1] if channels in (2, 4) else None
    if isinstance(clear, (int, tuple)):  # the transparent colour of a PNG
        key = (colours == np.asarray(clear)).all(axis=-1)
        alpha = np.where(key, 0, high if alpha is None else alpha)
    if alpha is not None and (alpha != high).any():
        _transparent(colours, alpha, high, where)
    if colours.shape[2] == 3 and (colours != colours[..., :1]).any():
        raise _refuse(
            "it is in colour; a mask has one value a class",
            where,
            "save it in grey (or with a palette), each class by its value, or name the mask instead of the image",
        )
    return colours[..., 0]


def _transparent(colours: NDArray[Any], alpha: NDArray[Any], high: int, where: str) -> None:
    """Refuse transparency, but for a background (value 0) that is clear where all else is opaque."""
    shown = (colours != 0).any(axis=-1)
    clear = int((alpha == 0).sum())
    soft = int(((alpha > 0) & (alpha < high)).sum())
    if not (colours != colours[:1, :1]).any() and (alpha != alpha[0, 0]).any():
        raise _refuse(
            f"every pixel has the same value and only transparency differs ({clear:,} of {alpha.size:,} pixels are "
            f"clear, {soft:,} partly clear): its labels are in the alpha channel, which is not read",
            where,
            "save the labels as values of grey, without an alpha channel",
        )
    if soft or ((alpha > 0) != shown).any():
        raise _refuse(
            f"its alpha channel is not opaque ({clear:,} of {alpha.size:,} pixels are clear, {soft:,} partly clear) "
            "and does not agree with its values, so that a label may be shown, hidden or changed by it",
            where,
            "save it without an alpha channel, and see that every label is there",
        )


def _indices(image: Image.Image, where: str) -> NDArray[np.uint8]:
    """The index of each pixel in the palette, where its colours do not say something else."""
    image = raster._upright(image)
    pixels = np.array(image)
    indices: NDArray[np.uint8] = pixels[..., 0] if pixels.ndim == 3 else pixels
    palette = np.zeros((256, 3), np.int64)
    entries = np.array(image.getpalette("RGB") or [], np.int64).reshape(-1, 3)[:256]
    palette[: len(entries)] = entries
    used = np.unique(indices)
    colours = palette[used]
    advice = "save it in grey without a palette, each class by its value"
    if (colours == colours[:, :1]).all():
        levels = dict(zip(used.tolist(), colours[:, 0].tolist(), strict=True))
        if any(level != index and (index, level) != (1, 255) for index, level in levels.items()) or (
            levels.get(1) == 255 and not set(levels) <= {0, 1}
        ):
            shown = ", ".join(f"{index} is grey {level}" for index, level in list(levels.items())[:5])
            raise _refuse(
                f"the indices and the greys of its palette are different labels ({shown})", where, advice
            )
    else:
        black = [
            index for index, colour in zip(used.tolist(), colours.tolist(), strict=True) if not any(colour)
        ]
        if black and black != [0]:
            raise _refuse(
                f"black is entry {', '.join(map(str, black))} of its palette, expected 0 for the background: index and "
                "colour are different labels",
                where,
                advice,
            )
    return indices
