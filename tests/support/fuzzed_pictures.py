"""Small images of every format and coding, damaged at random, read in a child process that may die without harm."""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import struct
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)
from written_pictures import dicom, lossless_jpeg, png, table, tiff

from graftwork.common.data.images import read_image
from graftwork.common.errors import ImageError

__all__ = ["Outcome", "fuzz", "rle_frame", "write_sources"]

MEMORY = 6 * 2**30
INTERESTING = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1)


@dataclass
class Outcome:
    """What became of the damaged files: images, errors by stage, and everything that must not be."""

    pictures: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest: float = 0.0
    said: str = ""

    @property
    def total(self) -> int:
        return self.pictures + self.errors.total()


def write_sources(folder: Path) -> list[Path]:
    """Write the images to damage: PNG, JPEG, TIFF, BMP in their codings, DICOM in its transfer syntaxes."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[0:20, 0:24]
    grey = (5 * rows + 4 * columns + rng.integers(0, 9, rows.shape)).astype(np.uint8)
    colour = np.stack([grey, 255 - grey, grey // 2], axis=-1)
    deep = grey.astype(np.uint16) * 16
    _write_rasters(folder, grey, colour, deep)
    _write_dicoms(folder, grey, colour, deep)
    return sorted(folder.iterdir())


def _write_rasters(folder: Path, grey: np.ndarray, colour: np.ndarray, deep: np.ndarray) -> None:
    exif = Image.Exif()
    exif[274] = 6
    images = {"grey": Image.fromarray(grey), "rgb": Image.fromarray(colour), "deep": Image.fromarray(deep)}
    images["palette"] = images["rgb"].quantize(16)
    images["bits"] = images["grey"].convert("1")
    images["rgba"] = images["rgb"].convert("RGBA")
    images["rgba"].putalpha(images["grey"])
    images["cmyk"] = images["rgb"].convert("CMYK")
    for name in ("grey", "rgb", "deep", "palette", "bits", "rgba"):
        images[name].save(folder / f"{name}.png", exif=exif)
    png(folder / "rgb16.png", np.stack([deep] * 3, -1), 16, 2)
    png(folder / "la16.png", np.stack([deep] * 2, -1), 16, 4)
    for name in ("grey", "rgb", "cmyk"):
        images[name].save(folder / f"{name}.jpg", exif=exif)
        images[name].save(folder / f"{name}_progressive.jpg", progressive=True, quality=60)
    for name, compression in [
        ("grey", None),
        ("rgb", "tiff_lzw"),
        ("rgb", "packbits"),
        ("rgba", "tiff_adobe_deflate"),
        ("rgb", "jpeg"),
        ("bits", "group4"),
        ("bits", "group3"),
        ("deep", "tiff_lzw"),
        ("palette", None),
        ("cmyk", None),
    ]:
        images[name].save(folder / f"{name}_{compression}.tif", compression=compression)
    tiff(folder / "rgb16.tif", np.stack([deep] * 3, -1), ">", True, t274=6)
    images["grey"].save(folder / "pages.tif", save_all=True, append_images=[images["rgb"]], big_tiff=True)
    for name in ("grey", "rgb", "palette", "bits"):
        images[name].save(folder / f"{name}.bmp")


def _write_dicoms(folder: Path, grey: np.ndarray, colour: np.ndarray, deep: np.ndarray) -> None:
    def write(
        name: str, stored: np.ndarray, syntax: UID = ExplicitVRLittleEndian, *frames: bytes, **more: Any
    ) -> None:
        dicom(folder / f"{name}.dcm", stored, syntax=syntax, frames=list(frames) or None, **more)

    def jpeg(pixels: np.ndarray, **options: Any) -> bytes:
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "JPEG", **options)
        return content.getvalue()

    window: dict[str, Any] = {
        "WindowCenter": ["100", "50"],
        "WindowWidth": ["90", "20"],
        "VOILUTFunction": "SIGMOID",
    }
    write("implicit", grey, ImplicitVRLittleEndian, **window)
    write(
        "explicit",
        deep,
        bits=12,
        RescaleSlope="-2",
        RescaleIntercept="7",
        PhotometricInterpretation="MONOCHROME1",
    )
    write("big_endian", deep, ExplicitVRBigEndian, bits=12, VOILUTSequence=table(list(range(300)), 5, 10))
    write("deflated", grey, DeflatedExplicitVRLittleEndian, ModalityLUTSequence=table(list(range(256)), 0, 8))
    write("ybr", colour, PhotometricInterpretation="YBR_FULL")
    palette: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for hue in ("Red", "Green", "Blue"):
        palette[f"{hue}PaletteColorLookupTableDescriptor"] = [8, 0, 16]
        palette[f"Segmented{hue}PaletteColorLookupTableData"] = struct.pack(
            "<11H", 0, 2, 10, 20, 1, 4, 60, 2, 1, 0, 0
        )
    write("palette", grey % 8, **palette)
    item, group = Dataset(), Dataset()
    item.WindowCenter, item.WindowWidth = "60", "100"
    group.FrameVOILUTSequence = Sequence([item])
    write("frames", np.stack([grey, grey]), SharedFunctionalGroupsSequence=Sequence([group]))
    write("rle", deep, RLELossless, *(rle_frame(deep),), bits=12)
    write("rle_rgb", colour, RLELossless, rle_frame(colour))
    write("baseline", grey, JPEGBaseline8Bit, jpeg(grey))
    write("baseline_rgb", colour, JPEGBaseline8Bit, jpeg(colour), PhotometricInterpretation="YBR_FULL_422")
    twelve = bytes(imagecodecs.jpeg8_encode(deep, level=90, bitspersample=12))
    write("extended", deep, JPEGExtended12Bit, twelve, bits=12)
    write("lossless", deep, JPEGLossless, lossless_jpeg(deep, 12, 6), bits=12)
    write("lossless_sv1", grey, JPEGLosslessSV1, lossless_jpeg(grey, 8, 1))
    write("lossless_rgb", colour, JPEGLosslessSV1, lossless_jpeg(colour, 8, 1))
    write("jpeg_ls", deep, JPEGLSLossless, bytes(imagecodecs.jpegls_encode(deep)), bits=16)
    write("jpeg_ls_near", grey, JPEGLSNearLossless, bytes(imagecodecs.jpegls_encode(grey, level=3)))
    j2k: dict[str, Any] = {"codecformat": "J2K", "resolutions": 3}
    write(
        "j2k", deep, JPEG2000Lossless, bytes(imagecodecs.jpeg2k_encode(deep, level=0, reversible=True, **j2k))
    )
    lossy = bytes(imagecodecs.jpeg2k_encode(colour, level=40, reversible=False, **j2k))
    write("j2k_rgb", colour, JPEG2000, lossy, PhotometricInterpretation="YBR_ICT")
    write("htj2k", grey, HTJ2KLossless, bytes(imagecodecs.htj2k_encode(grey, reversible=True)))


def rle_frame(stored: np.ndarray) -> bytes:
    """DICOM RLE (PS3.5, annex G): each byte plane packed, the high byte first."""
    planes = stored[..., None] if stored.ndim == 2 else stored
    parts = []
    for channel in range(planes.shape[2]):
        plane = planes[..., channel]
        raw = plane.astype(plane.dtype.newbyteorder(">")).view(np.uint8).reshape(-1, plane.dtype.itemsize)
        for place in range(raw.shape[1]):
            part = bytes(imagecodecs.packbits_encode(np.ascontiguousarray(raw[:, place]).tobytes()))
            parts.append(part + b"\0" * (len(part) % 2))
    offsets = [64 + sum(map(len, parts[:index])) for index in range(len(parts))]
    head = struct.pack(f"<{1 + len(parts)}I", len(parts), *offsets)
    return head.ljust(64, b"\0") + b"".join(parts)


def damaged(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """`content` with one to four random changes, half of them near its beginning, where the headers are."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        # of a DICOM file the first 400 bytes are preamble and names; what matters begins after them
        start = 330 if bytes(data[128:132]) == b"DICM" and rng.random() < 0.8 else 0
        reach = min(len(data), start + 600) if rng.random() < 0.5 else len(data)
        if reach <= start:
            start = 0
        place = int(rng.integers(start, max(reach, start + 1)))
        length = int(rng.integers(1, 9))
        match rng.integers(0, 9):
            case 0:
                data[place : place + 1] = bytes([int(rng.integers(0, 256))])
            case 1:
                data[place : place + length] = rng.bytes(length)
            case 2 if place < len(data):
                data[place] ^= 1 << int(rng.integers(0, 8))
            case 3:
                del data[place:]
            case 4:
                del data[place : place + int(rng.integers(1, 40))]
            case 5:
                data[place:place] = data[place : place + int(rng.integers(1, 40))]
            case 6:
                order = "<" if rng.random() < 0.5 else ">"
                number = INTERESTING[int(rng.integers(0, len(INTERESTING)))]
                form = "I" if number > 0xFFFF or rng.random() < 0.5 else "H"
                packed = struct.pack(order + form, number)
                data[place : place + len(packed)] = packed
            case 7:
                data[place : place + length] = bytes([int(rng.choice([0, 0xFF]))]) * length
            case _:
                cut = int(rng.integers(0, max(1, len(other))))
                data[place : place + 16] = other[cut : cut + 16]
    return bytes(data)


def fuzz(sources: list[Path], count: int, seed: int, folder: Path, seconds: int = 20) -> Outcome:
    """Damage `sources` `count` times and read each result in a child; one that dies is a finding, and another goes on.

    A file that takes longer than `seconds` is a hang: the kernel ends the child then, whatever native code it is in.
    """
    outcome = Outcome()
    done = 0
    folder.mkdir(parents=True, exist_ok=True)
    while done < count:
        command = [
            sys.executable,
            __file__,
            str(folder),
            str(seed),
            str(done),
            str(count),
            str(seconds),
            *map(str, sources),
        ]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
        child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        written, said = child.communicate()
        outcome.said += said
        for line in written.splitlines():
            if not line.endswith("}"):
                continue
            report = json.loads(line)
            done = report["index"] + 1
            outcome.slowest = max(outcome.slowest, report["seconds"])
            if report["wrong"]:
                outcome.wrong.append(report["wrong"])
            elif report["stage"]:
                outcome.errors[report["stage"]] += 1
            else:
                outcome.pictures += 1
        if child.returncode:
            kept = folder / f"killed_{seed}_{done}"
            (folder / "current").rename(kept)
            outcome.wrong.append(f"{kept}: the process ended with {child.returncode}")
            done += 1
    return outcome


def _child(folder: Path, seed: int, first: int, count: int, seconds: int, sources: list[Path]) -> None:
    contents = [source.read_bytes() for source in sources]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    current = folder / "current"
    for index in range(first, count):
        rng = np.random.default_rng((seed, index))
        which = index % len(sources)
        other = contents[int(rng.integers(0, len(sources)))]
        current.write_bytes(damaged(contents[which], other, rng))
        stage, wrong = "", ""
        began = time.perf_counter()
        signal.alarm(seconds)
        try:
            picture = read_image(current, cover=int(rng.integers(0, 2)) * 8, constant="allow")
            pixels = picture.pixels
            fine = (
                pixels.ndim == 3 and pixels.shape[2] in (1, 3) and pixels.size and picture.low < picture.high
            )
            if not fine or not (picture.low <= pixels.min() <= pixels.max() <= picture.high):
                wrong = (
                    f"{pixels.shape}, {pixels.min()} to {pixels.max()}, not {picture.low} to {picture.high}"
                )
        except ImageError as error:
            stage = error.stage
        except BaseException as error:
            wrong = f"{type(error).__name__}: {error}"
        signal.alarm(0)
        if wrong:
            kept = folder / f"wrong_{seed}_{index}_{sources[which].name}"
            kept.write_bytes(current.read_bytes())
            wrong = f"{kept}: {wrong}"
        report = {"index": index, "seconds": time.perf_counter() - began, "stage": stage, "wrong": wrong}
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    _child(Path(sys.argv[1]), *map(int, sys.argv[2:6]), sources=[Path(name) for name in sys.argv[6:]])
