"""Files that cannot be read as images: one typed error each, quickly, in bounded memory, and nothing else."""

from __future__ import annotations

import io
import os
import pickle
import resource
import stat
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile
from written_pictures import COLOUR, GREY, expect, failure, save

from graftwork.common.data.images import (
    read_image,
)
from graftwork.common.errors import ImageError

RNG = np.random.default_rng(0)


def bomb(path: Path) -> Path:
    """A PNG of 20,000 x 20,000 pixels in about 49 kB: one bit a pixel, all of them zero."""
    packed = zlib.compressobj(9)
    row = b"\0" + bytes(2500)
    content = b"".join(packed.compress(row) for _ in range(20_000)) + packed.flush()

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", content) + chunk(b"IEND", b"")
    )
    return path


def test_a_bomb_is_refused_from_its_header_with_bounded_memory(tmp_path: Path) -> None:
    path = bomb(tmp_path / "bomb.png")
    assert path.stat().st_size < 60_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Pillow's DecompressionBombWarning among them
        assert failure(path).stage == "budget"
        assert failure(save(tmp_path / "small.png", GREY), pixel_budget=48 * 64 - 1).stage == "budget"
        read_image(tmp_path / "small.png", pixel_budget=48 * 64)
    assert time.perf_counter() - began < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB


def test_a_picture_between_pillows_warning_and_its_error_is_read_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "grey.png", GREY)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", GREY.size - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_image(path)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", GREY.size // 3)
        assert failure(path).stage == "budget"


def test_truncated_files_are_errors_whatever_the_program_around_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    noise = RNG.integers(0, 256, (64, 64, 3)).astype(np.uint8)
    for suffix in ("jpg", "png", "bmp", "tif"):
        path = save(tmp_path / f"whole.{suffix}", noise)
        read_image(path)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
        error = failure(path)
        assert error.stage in ("decode", "header"), suffix
        assert error.remedy
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_a_progressive_jpeg_of_endless_scans_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "large.jpg", np.tile(COLOUR, (10, 10, 1)), progressive=True)
    read_image(path)
    content = path.read_bytes()
    scan = content[content.rindex(b"\xff\xda") : -2]
    path.write_bytes(content[:-2] + scan * 40_000 + content[-2:])
    began = time.perf_counter()
    assert failure(path).stage == "budget"
    assert time.perf_counter() - began < 2


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    assert "empty" in failure(tmp_path / "empty.jpg").reason
    (tmp_path / "text.png").write_text("this is no image\n" * 20, encoding="utf-8")
    assert failure(tmp_path / "text.png").stage == "header"
    (tmp_path / "short.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert failure(tmp_path / "short.png").stage == "header"
    assert failure(tmp_path / "missing.png").stage == "open"
    assert "folder" in failure(tmp_path).reason
    with pytest.raises(ImageError, match="name"):
        read_image("a\0b.png")
    assert failure(tmp_path / ("x" * 300 + ".png")).stage == "open"
    assert failure(tmp_path / "text.png" / "below.png").stage == "open"
    error = failure(tmp_path / "missing.png")
    again = pickle.loads(pickle.dumps(error))
    assert (again.stage, again.reason, again.where, str(again)) == (
        "open",
        error.reason,
        error.where,
        str(error),
    )


def test_pipes_and_devices_neither_hang_nor_fill_the_memory(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    outcome: list[ImageError] = []
    reader = threading.Thread(target=lambda: outcome.append(failure(pipe)), daemon=True)
    reader.start()
    reader.join(5)
    assert outcome, "reading a pipe hangs"
    assert "regular file" in outcome[0].reason
    for device in ("/dev/zero", "/dev/null"):
        assert "regular file" in failure(device).reason


def test_permission_denied(tmp_path: Path) -> None:
    path = save(tmp_path / "grey.png", GREY)
    path.chmod(0)
    if os.geteuid() == 0:  # root reads everything: ask as somebody else, in a process of their own
        for folder in [tmp_path, *tmp_path.parents]:
            with_all = folder.stat().st_mode | stat.S_IXOTH | stat.S_IROTH
            if folder.stat().st_mode != with_all and folder != Path("/"):
                folder.chmod(with_all)
        code = (
            "import os, sys; from graftwork.common.data.images import read_image\n"
            "from graftwork.common.errors import ImageError\n"
            "os.seteuid(65534)\n"
            "try: read_image(sys.argv[1])\n"
            "except ImageError as error: print(error.stage, error.reason)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "open permission denied"
    else:
        assert failure(path).reason == "permission denied"


def test_non_ascii_and_very_long_names(tmp_path: Path) -> None:
    for name in ("Röntgen späť 肺炎 🦓.png", "x" * 251 + ".png", "-rf.png", "a\nb.png"):
        expect(read_image(save(tmp_path / name, GREY, format="PNG")), GREY, 255)
    not_utf8 = tmp_path / os.fsdecode(b"\xff\xfe.png")
    not_utf8.write_bytes((tmp_path / "-rf.png").read_bytes())
    expect(read_image(not_utf8), GREY, 255)
    deep = tmp_path.joinpath(*["y" * 200] * 15)
    deep.mkdir(parents=True)
    expect(read_image(save(deep / "grey.png", GREY)), GREY, 255)


def test_no_other_format_of_pillow_is_opened(tmp_path: Path) -> None:
    for suffix in ("gif", "webp", "ico", "ppm", "pdf", "eps"):
        image = Image.fromarray(COLOUR)
        content = io.BytesIO()
        image.save(content, "PPM" if suffix == "ppm" else suffix.upper())
        (tmp_path / f"other.{suffix}").write_bytes(content.getvalue())
        assert failure(tmp_path / f"other.{suffix}").stage == "header"


def test_pillow_is_always_told_the_one_format_that_a_file_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []
    real = Image.open
    monkeypatch.setattr(Image, "open", lambda *a, **k: told.append(k.get("formats")) or real(*a, **k))
    for suffix in ("png", "jpg", "tif", "bmp"):
        read_image(save(tmp_path / f"grey.{suffix}", GREY))
    assert told == [("PNG",), ("JPEG",), ("TIFF",), ("TIFF",), ("BMP",)]


def test_damaged_exif_does_not_cost_the_picture(tmp_path: Path) -> None:
    path = save(tmp_path / "grey.jpg", GREY, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(range(200)))
    assert read_image(path).pixels.shape == (48, 64, 1)


def test_several_threads_read_at_once_and_leave_the_process_as_it_was(tmp_path: Path) -> None:
    path = save(tmp_path / "grey.png", GREY)
    filters = list(warnings.filters)
    threads = [threading.Thread(target=lambda: [read_image(path) for _ in range(50)]) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == filters
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
