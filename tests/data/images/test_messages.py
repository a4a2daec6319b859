"""What the errors of the readers claim: the file, what was found and what was expected, and a remedy that ends."""

from __future__ import annotations

import io
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from written_pictures import GREY, RAMP, dicom, png, save, table, tiff

from graftwork.common.data.images import read_image, stored_pixels
from graftwork.common.errors import DatasetError, GraftworkError, ImageError, RunError, UsageError
from graftwork.common.loading.batches import Failure
from graftwork.common.loading.transforms import Preprocessing
from graftwork.common.prediction.image_list import list_files, shard_of
from graftwork.common.runs.training_state import State
from graftwork.common.training.inference import quarantine

JPEG = io.BytesIO()
Image.fromarray(GREY).save(JPEG, "JPEG")
DATA = JPEG.getvalue()
CUT = DATA[: DATA.index(b"\xff\xda") + 40] + b"\xff\xd9"


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def failures(folder: Path) -> dict[str, tuple[Any, dict[str, Any], str, tuple[str, ...]]]:
    """By name: a file, how it is read, the stage at which reading ends, and what the message has to name."""
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    pages = folder / "pages.tif"
    Image.fromarray(GREY).save(pages, save_all=True, append_images=[Image.fromarray(GREY)])
    crc = bytearray(save(folder / "crc.png", GREY).read_bytes())
    crc[-20] ^= 1

    def dcm(name: str, stored: np.ndarray = RAMP, **elements: Any) -> Path:
        return dicom(folder / f"{name}.dcm", stored, **elements)

    return {
        "missing": (folder / "no.png", {}, "open", ("no such file",)),
        "long": (folder / ("x" * 5000), {}, "open", ("too long",)),
        "deep": (folder.joinpath(*["y" * 250] * 20), {}, "open", ("too long",)),
        "null": (folder / "a\0b.png", {}, "open", ("null byte",)),
        "folder": (folder / "folder.png", {}, "open", ("folder",)),
        "pipe": (folder / "pipe.png", {}, "open", ("regular file",)),
        "device": ("/dev/zero", {}, "open", ("regular file",)),
        "empty": (written(folder / "empty.png", b""), {}, "open", ("empty",)),
        "text": (written(folder / "text.png", b"hello " * 40), {}, "header", ("68 65 6c 6c", "PNG, JPEG, TIFF")),
        "video": (written(folder / "v.jpg", b"\0\0\0\x18ftypmp42" + bytes(200)), {}, "header", ("MP4",)),
        "webp": (written(folder / "w.png", b"RIFF\1\0\0\0WEBP" + bytes(200)), {}, "header", ("WebP",)),
        "gif": (written(folder / "g.png", b"GIF89a" + bytes(200)), {}, "header", ("GIF",)),
        "no meta": (written(folder / "t.dcm", b"hello " * 40), {}, "header", ("file meta information",)),
        "budget": (save(folder / "b.png", GREY), {"pixel_budget": 3000}, "budget", ("3,072", "3,000")),
        "header": (written(folder / "h.png", b"\x89PNG\r\n\x1a\n"), {}, "header", ("PNG",)),
        "pages": (pages, {}, "header", ("2 pages",)),
        "page": (pages, {"frame": 7}, "header", ("page 7", "holds 2")),
        "frame": (save(folder / "f.png", GREY), {"frame": 3}, "header", ("frame 3",)),
        "stack": (
            save(folder / "s.tif", GREY, tiffinfo={270: "ImageJ=1.5\nimages=9\n"}), {}, "header",
            ("9 images", "ImageJ"),
        ),
        "float": (tiff(folder / "fl.tif", GREY.astype(np.float32), t339=3), {}, "content", ("floating point",)),
        "strip": (tiff(folder / "st.tif", GREY, t279=10), {}, "decode", ("10 bytes", "3,072")),
        "checksum": (written(folder / "crc.png", bytes(crc)), {}, "decode", ("IDAT", "checksum")),
        "rows": (png(folder / "r.png", GREY[:20, :, None], 8, 0), {}, "", ()),
        "cut": (written(folder / "c.jpg", CUT), {}, "decode", ("coded data",)),
        "constant": (save(folder / "k.png", np.zeros((9, 9), np.uint8)), {}, "content", ("same value",)),
        "frames": (dcm("frames", np.stack([RAMP] * 3)), {}, "header", ("3 frames",)),
        "which frame": (dcm("which", np.stack([RAMP] * 3)), {"frame": 5}, "header", ("frame 5", "holds 3")),
        "samples": (dcm("samples", SamplesPerPixel=2), {}, "header", ("2 samples",)),
        "photometric": (dcm("photo", PhotometricInterpretation="RGB"), {}, "header", ("RGB", "1 samples")),
        "bits": (dcm("bits", BitsStored=9), {}, "header", ("Bits Allocated 8", "Bits Stored 9")),
        "high bit": (dcm("high", HighBit=3), {}, "header", ("High Bit is 3", "Bits Stored is 8")),
        "absent": (dcm("absent", Rows=None), {}, "header", ("Rows is missing",)),
        "no size": (dcm("size", Rows=0), {}, "header", ("0 x 4",)),
        "truncated": (dcm("short", Rows=30), {}, "decode", ("12 bytes", "120")),
        "too much": (dcm("much", Rows=1), {}, "header", ("12 bytes", "1 x 4 x 1")),
        "slope": (dcm("slope", RescaleSlope="0", RescaleIntercept="0"), {}, "header", ("Rescale Slope is 0",)),
        "function": (
            dcm("fn", WindowCenter="1", WindowWidth="9", VOILUTFunction="CUBIC"), {}, "header",
            ("VOI LUT Function",),
        ),
        "table": (dcm("lut", ModalityLUTSequence=table([1, 2], 0, 17)), {}, "header", ("look-up table",)),
    }  # fmt: skip


def test_every_error_names_file_fault_and_remedy(tmp_path: Path) -> None:
    made = failures(tmp_path)
    assert len(made) >= 36
    for name, (path, options, stage, words) in made.items():
        if not stage:
            read_image(path, **options)
            continue
        with pytest.raises(ImageError) as caught:
            read_image(path, **options)
            pytest.fail(f"{name} was read")
        error = caught.value
        assert error.stage == stage, name
        claims(error, str(path) if "\0" not in str(path) else repr(str(path)), words)


def claims(error: GraftworkError, where: str, words: tuple[str, ...]) -> None:
    assert error.where == where
    assert str(error).startswith(f"{where}: " if len(where) <= 400 else where[:150])
    assert error.remedy, error.what
    assert not error.remedy.rstrip(".").endswith(("…", "..", ",", ":")), error.remedy
    assert "…" not in str(error).replace(where, "")
    for word in words:
        assert word in error.what, (word, error.what)


def test_stored_pixels_name_what_they_got(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", GREY)
    with pytest.raises(ImageError) as caught:
        stored_pixels(path)
    claims(caught.value, str(path), ("not a DICOM file",))


def test_errors_of_what_is_to_be_predicted(tmp_path: Path) -> None:
    def listing(name: str, text: str | bytes) -> Path:
        return written(tmp_path / name, text if isinstance(text, bytes) else text.encode())

    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "a.MP4").touch()
    for source, options, kind, words in (
        (tmp_path / "no", {}, UsageError, ("no such folder",)),
        (videos, {}, UsageError, (".jpg", ".MP4 1")),
        (tmp_path / "no*" / "x.jpg", {}, UsageError, ("no file to predict",)),
        (listing("a.csv", "name\nx.jpg\n"), {}, DatasetError, ("no column path", "it has name")),
        (listing("b.csv", "path,n\n,1\n"), {}, DatasetError, ("1 rows have no path: line 2",)),
        (listing("c.csv", b"path\n\xff.jpg\n"), {}, DatasetError, ("not UTF-8 (byte 5)",)),
        (listing("d.txt", "../x.jpg\n"), {}, DatasetError, ("1 files lie outside", "../x.jpg")),
        (
            listing("e.txt", "https://example.org/x.jpg\n"),
            {},
            DatasetError,
            ("addresses", "https://example.org"),
        ),
    ):
        with pytest.raises(kind) as caught:
            list_files(source, (".jpg",), **options)
        claims(caught.value, caught.value.where or "", words)
    with pytest.raises(UsageError) as shard:
        shard_of("9/8")
    claims(shard.value, "--shard", ("'9/8'",))


def test_a_recipe_that_does_not_fit_is_not_called_a_damaged_file(tmp_path: Path) -> None:
    four = Preprocessing(32, "squash", "bilinear", (0.5,) * 4, (0.5,) * 4)
    with pytest.raises(ImageError) as caught:
        four.normalised(np.zeros((32, 32, 3), np.float32))
    assert (caught.value.stage, caught.value.where) == ("recipe", "backbone.channels")

    manifest = SimpleNamespace(frame={"path": pd.Series(["a.png", "b.png"])})
    run: Any = SimpleNamespace(folder=tmp_path, manifest=manifest)
    failed = [Failure(row, caught.value.stage, caught.value.reason) for row in (0, 1)]
    with pytest.raises(RunError) as refused:
        quarantine(State(), failed, 10, run)
    assert "backbone.channels=4" in refused.value.what
    assert "cannot be read" not in str(refused.value)
    assert "check" not in (refused.value.remedy or "")
