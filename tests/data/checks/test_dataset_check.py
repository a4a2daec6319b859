"""The check of a dataset: every bad file a line, every image that stands twice, every leak; and no way to end it."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from graftwork.common.cache.file_facts import Cache
from graftwork.common.data import checks
from graftwork.common.data.checks import Finding, Findings, check, file_inspection
from graftwork.common.data.checks.duplicates import NEAR, near_pairs
from graftwork.common.data.checks.file_inspection import look, looks
from graftwork.common.data.manifest import Manifest
from graftwork.common.data.splits import split
from graftwork.common.data.targets import Target
from graftwork.common.errors import TableError


def picture(seed: int, height: int = 160, width: int = 200) -> Image.Image:
    """Soft shapes in grey; no two seeds look alike."""
    chance = np.random.default_rng(seed)
    coarse = Image.fromarray(chance.integers(0, 256, (12, 14), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


class Folder:
    """A small dataset under way: images on disk and their table."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.rows: list[dict[str, Any]] = []

    def add(self, path: str, image: Image.Image | bytes | None, *, group: str = "", **more: Any) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(image, bytes):
            file.write_bytes(image)
        elif image is not None:
            image.save(file)
        row = {
            "case": path,
            "path": path,
            "group": group or f"g{len(self.rows)}",
            "part": None,
            "target": "no",
        }
        self.rows.append(row | more)

    def manifest(self, **fields: Any) -> Manifest:
        frame = pd.DataFrame(self.rows)
        target = Target("t", "binary", ("no", "yes"))
        extra = tuple(
            name for name in frame.columns if name not in ("case", "path", "group", "part", "target")
        )
        return Manifest(frame, self.root, "d/x", "patient", target, extra, one_case_groups=True, **fields)

    def check(self, **wishes: Any) -> Findings:
        return check(self.manifest(), **{"workers": 0, **wishes})


@pytest.fixture
def clean(tmp_path: Path) -> Folder:
    """Twenty-four images of as many patients, both classes, nothing wrong."""
    folder = Folder(tmp_path / "data")
    for n in range(24):
        folder.add(f"{n:02d}.png", picture(n), group=f"p{n}", target=("no", "yes")[n % 2])
    return folder


def of(findings: Findings, kind: str) -> list[Finding]:
    return [finding for finding in findings.findings if finding.kind == kind]


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bomb() -> bytes:
    """A valid PNG of 20,000 x 20,000 px in 49 kB."""
    packer = zlib.compressobj(9)
    line = b"\0" * (20_000 // 8 + 1)
    content = b"".join(packer.compress(line) for _ in range(20_000)) + packer.flush()
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


# Nothing wrong


def test_nothing_is_found_where_nothing_is_wrong(clean: Folder) -> None:
    found = clean.check(workers=2)
    assert found.findings == ()
    assert found.ok
    assert (found.cases, found.groups) == (24, 24)


def test_progress_counts_every_file_once(clean: Folder) -> None:
    clean.add("none.png", None)
    clean.add("00-again.png", picture(0), group="p0")
    told: list[tuple[int, int]] = []
    clean.check(progress=lambda done, total: told.append((done, total)))
    assert told == [(n, 26) for n in range(1, 27)]


# Bad files


def test_each_bad_file_is_one_line(clean: Folder, tmp_path: Path) -> None:
    picture(50).save(tmp_path / "whole.jpg")
    clean.add("truncated.jpg", (tmp_path / "whole.jpg").read_bytes()[:900])
    clean.add("empty.png", b"")
    clean.add("text.png", b"this is no image\n" * 20)
    big = bomb()
    assert len(big) < 60_000
    clean.add("huge.png", big)
    clean.add("labels row.png", None)
    found = clean.check(workers=1)
    assert {(finding.where, finding.kind, finding.severity) for finding in found.findings} == {
        ("truncated.jpg", "unreadable", "error"),
        ("empty.png", "unreadable", "error"),
        ("text.png", "unreadable", "error"),
        ("huge.png", "unreadable", "error"),
        ("labels row.png", "missing", "error"),
    }
    assert not found.ok
    for row in found.rows():
        assert all("\n" not in text and "Traceback" not in text for text in row.values())
        assert row["what"] and row["remedy"]


def test_a_huge_picture_is_refused_without_being_decoded(tmp_path: Path) -> None:
    (tmp_path / "huge.png").write_bytes(bomb())
    code = (
        "import re, sys; from pathlib import Path; from graftwork.common.errors import ImageError\n"
        "from graftwork.common.data.images import read_image\n"
        "try:\n read_image(sys.argv[1])\n"
        "except ImageError as error:\n print(error.stage)\n"
        # not ru_maxrss, which begins with what the process that forked this one had
        "print(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "huge.png")], capture_output=True, text=True, check=True
    )
    stage, kibibytes = done.stdout.split()
    assert stage == "budget"
    assert int(kibibytes) < 300_000  # 400 million pixels would be as many bytes at least


def test_a_folder_a_pipe_and_an_endless_name_are_findings_too(clean: Folder) -> None:
    (clean.root / "folder.png").mkdir()
    clean.add("folder.png", None)
    os.mkfifo(clean.root / "pipe.png")
    clean.add("pipe.png", None)
    for name in ("x" * 5000, "00.png/below a file.png"):
        clean.rows.append({"case": name, "path": name, "group": name, "part": None, "target": "no"})
    found = clean.check()
    assert [finding.where for finding in of(found, "unreadable")] == ["folder.png", "pipe.png", "x" * 5000]
    assert [finding.where for finding in of(found, "missing")] == ["00.png/below a file.png"]


def test_names_of_any_kind_are_read(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "ä ö/数据 'x'")
    for n, name in enumerate(["ü.png", "a b.png", "\U0001f98a.png", "x" * 200 + ".png"]):
        folder.add(name, picture(n), target=("no", "yes")[n % 2])
    found = folder.check(workers=1)
    assert {finding.kind for finding in found.findings} <= {"small-class"}


def test_many_missing_files_are_one_line(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for n in range(150):
        folder.add(f"gone/{n}.png", None, target=("no", "yes")[n % 2])
    (missing,) = of(folder.check(), "missing")
    assert missing.count == 150
    assert len(missing.examples) == 5


# A decoder that dies or hangs


@pytest.fixture
def perilous(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the reading processes, images named so bring the decoder down or keep it busy for ever."""
    place = tmp_path / "site"
    place.mkdir()
    (place / "sitecustomize.py").write_text(
        "import os, signal, time\n"
        "from graftwork.common.data import images\n"
        "read = images.read_image\n"
        "def read_image(path, **more):\n"
        "    name = os.path.basename(path)\n"
        "    if 'crash' in name: os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    if 'hang' in name: time.sleep(600)\n"
        "    if 'print' in name: os.write(1, b'noise\\n')\n"
        "    if 'fault' in name: raise RuntimeError('a fault of the reader')\n"
        "    return read(path, **more)\n"
        "images.read_image = read_image\n"
    )
    monkeypatch.setattr(sys, "path", [str(place), *sys.path])


@pytest.mark.usefixtures("perilous")
def test_a_crash_costs_its_file_and_no_other(clean: Folder) -> None:
    for n in range(3):
        clean.add(f"crash{n}.png", picture(60 + n))
    clean.add("fault.png", picture(70))
    clean.add("print.png", picture(71))
    found = clean.check(workers=2)
    assert [finding.where for finding in found.findings] == [
        "crash0.png",
        "crash1.png",
        "crash2.png",
        "fault.png",
    ]
    assert "SIGSEGV" in found.findings[0].what
    assert "a fault of the reader" in found.findings[3].what


@pytest.mark.usefixtures("perilous")
def test_a_crash_is_not_remembered(clean: Folder, tmp_path: Path) -> None:
    clean.add("crash.png", picture(60))
    with Cache(tmp_path / "cache") as cache:
        assert len(clean.check(workers=1, cache=cache).findings) == 1
        # the same content, read in this process, where nothing is perilous
        assert clean.check(workers=0, cache=cache).ok


@pytest.mark.usefixtures("perilous")
def test_a_file_that_is_never_read_is_given_up(clean: Folder) -> None:
    clean.add("hang.png", picture(60))
    paths = [clean.root / "hang.png", *(clean.root / f"{n:02d}.png" for n in range(6))]
    begun = time.monotonic()
    seen = dict(looks(paths, workers=1, limit=4))
    assert time.monotonic() - begun < 30
    assert len(seen) == 7
    assert "not read after 4 s" in seen[0].reason
    assert all(seen[n].readable for n in range(1, 7))


@pytest.mark.usefixtures("perilous")
@pytest.mark.parametrize("seconds", [0, 2], ids=["reading", "still starting"])
def test_an_interrupted_check_leaves_no_process_behind(
    clean: Folder, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    begun: list[subprocess.Popen[bytes]] = []
    asked = itertools.count()
    real = subprocess.Popen

    def start(*words: Any, **more: Any) -> subprocess.Popen[bytes]:
        if next(asked):
            time.sleep(seconds)
        begun.append(real(*words, **more))
        return begun[-1]

    monkeypatch.setattr(file_inspection.subprocess, "Popen", start)
    clean.add("hang.png", picture(60))
    paths = [clean.root / "00.png", *[clean.root / "hang.png"] * 5]
    going = looks(paths, workers=2, limit=600)
    next(going)
    then = time.monotonic()
    going.close()
    assert time.monotonic() - then < 10
    assert begun
    assert all(child.poll() == -signal.SIGKILL for child in begun)


# Images that stand twice


def test_identical_pixels_are_found_whatever_the_file(clean: Folder) -> None:
    clean.add("copy.png", (clean.root / "00.png").read_bytes(), group="p0")
    clean.add("other form.tif", picture(0), group="p0")
    clean.add("as colour.png", picture(0).convert("RGB"), group="p0")
    (found,) = clean.check().findings
    assert (found.kind, found.severity, found.count) == ("duplicate", "warning", 1)
    assert found.examples == ("00.png = copy.png = other form.tif = as colour.png",)
    assert "1 set of images with identical pixels, 3 of the files are too many" in found.what


def test_identical_pixels_of_two_patients_are_an_error(clean: Folder) -> None:
    clean.add("copy.png", picture(0), group="p1")
    clean.add("second copy.png", picture(2), group="p2")
    (found,) = clean.check().findings
    assert (found.severity, found.count) == ("error", 2)
    assert "1 of the sets under several groups (patient), 0 in several parts" in found.what


def test_identical_pixels_in_two_parts_are_an_error(clean: Folder) -> None:
    for row in clean.rows:
        row["part"] = "train"
    clean.add("copy.png", picture(0), group="p0", part="test")
    assert "1 in several parts" in of(clean.check(), "duplicate")[0].what


def test_identical_pixels_with_two_targets_contradict(clean: Folder) -> None:
    clean.add("copy.png", picture(0), group="p0", target="yes")
    (found,) = of(clean.check(), "contradiction")
    assert (found.severity, found.examples) == ("error", ("00.png = copy.png",))


def test_files_that_cannot_be_read_are_no_duplicates(clean: Folder) -> None:
    clean.add("a.png", b"")
    clean.add("b.png", b"")
    assert {finding.kind for finding in clean.check().findings} == {"unreadable"}


def test_two_rows_may_name_one_file(clean: Folder) -> None:
    clean.rows.append({**clean.rows[0], "case": "again"})
    (found,) = clean.check().findings
    assert found.kind == "duplicate"


@pytest.fixture
def parted(clean: Folder) -> Folder:
    for n, row in enumerate(clean.rows):
        row["part"] = "train" if n < 12 else "test"
    return clean


@pytest.mark.parametrize("change", ["quality", "size", "contrast", "brightness"])
def test_a_picture_stored_anew_is_near(parted: Folder, change: str) -> None:
    own = picture(0)
    changed = {
        "quality": own,
        "size": own.resize((100, 80)),
        "contrast": own.point(lambda value: 40 + value * 0.6),
        "brightness": own.point(lambda value: value * 0.75),
    }[change]
    changed.save(parted.root / "near.jpg", quality=30 if change == "quality" else 90)
    parted.add("near.jpg", (parted.root / "near.jpg").read_bytes(), group="other", part="test")
    (found,) = of(parted.check(), "near-duplicate")
    assert (found.severity, found.where, found.count) == ("warning", "across parts", 1)
    assert found.examples[0].startswith(("00.png ~ near.jpg (", "near.jpg ~ 00.png ("))
    assert f"at most {NEAR} of 256 bits" in found.what


def test_near_pictures_within_a_part_or_a_group_are_no_news(parted: Folder) -> None:
    picture(0).save(parted.root / "near.jpg", quality=40)
    content = (parted.root / "near.jpg").read_bytes()
    parted.add("near.jpg", content, group="other", part="train")
    assert not of(parted.check(), "near-duplicate")
    parted.rows[-1] |= {"part": "test", "group": "p0"}
    assert not of(parted.check(), "near-duplicate")


def test_without_parts_near_pictures_are_looked_for_across_groups(clean: Folder) -> None:
    picture(0).save(clean.root / "near.jpg", quality=40)
    clean.add("near.jpg", (clean.root / "near.jpg").read_bytes(), group="other")
    assert of(clean.check(), "near-duplicate")[0].where == "across groups"


def test_parts_of_a_split_count_where_one_is_given(clean: Folder) -> None:
    picture(0).save(clean.root / "near.jpg", quality=40)
    clean.add("near.jpg", (clean.root / "near.jpg").read_bytes(), group="other", target="yes")
    manifest = clean.manifest()
    apart = next(
        made
        for seed in range(99)
        if (made := split(manifest, seed=seed)).parts.iloc[0] != made.parts.iloc[-1]
    )
    assert of(check(manifest, split=apart, workers=0), "near-duplicate")[0].where == "across parts"
    with pytest.raises(TableError, match="another manifest"):
        check(manifest.subset([0, 1]), split=apart, workers=0)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(0, 60), most=st.integers(0, 120))
def test_near_pairs_are_those_of_counting_bits(seed: int, count: int, most: int) -> None:
    chance = np.random.default_rng(seed)
    some = chance.integers(0, 2**63, (5, 4)).astype(np.uint64)
    words = some[chance.integers(0, 5, count)] ^ (
        np.uint64(1) << chance.integers(0, 64, (count, 4)).astype(np.uint64)
    )
    labels = chance.integers(0, 3, count)
    expected = []
    for one in range(count):
        for other in range(one + 1, count):
            bits = sum(int(a ^ b).bit_count() for a, b in zip(words[one], words[other], strict=True))
            if bits <= most and labels[one] != labels[other]:
                expected.append((one, other, bits))
    assert list(zip(*(each.tolist() for each in near_pairs(words, labels, most)), strict=True)) == expected


def test_near_pairs_cross_the_tiles() -> None:
    words = np.random.default_rng(0).integers(0, 2**63, (2500, 4)).astype(np.uint64)
    words[2400] = words[3]
    first, second, distance = near_pairs(words, np.arange(2500), 10)
    assert (first.tolist(), second.tolist(), distance.tolist()) == ([3], [2400], [0])


# The table


def test_groups_across_the_publishers_parts_are_counted(parted: Folder) -> None:
    parted.rows[20]["group"] = "p1"
    parted.rows[21]["group"] = "p2"
    (found,) = of(parted.check(), "group-across-parts")
    assert (found.severity, found.where, found.count) == ("error", "train and test", 2)
    assert found.examples == ("p1", "p2")
    assert "2 groups (patient)" in found.what


def test_a_leak_of_the_split_is_found_beside_the_publishers(parted: Folder) -> None:
    for row in parted.rows:
        row["group"] = "p" + str(int(row["group"][1:]) % 12)
    leaky = split(parted.manifest(), by="publisher", validation=0.2, allow_leak=True)
    found = of(check(parted.manifest(), split=leaky, workers=0), "group-across-parts")
    assert any("the publisher's parts" in finding.what for finding in found)
    assert any("the split" in finding.what for finding in found)


def test_small_classes_are_found(clean: Folder) -> None:
    for row in clean.rows:
        row["target"] = "no"
    (found,) = of(clean.check(), "small-class")
    assert (found.severity, found.where, found.count) == ("error", "class 'yes'", 0)
    clean.rows[0]["target"] = clean.rows[1]["target"] = "yes"
    (found,) = of(clean.check(), "small-class")
    assert "2 cases of 2 groups (patient)" in found.what


def test_a_class_that_is_small_in_a_part_is_a_warning(parted: Folder) -> None:
    found = of(parted.check(), "small-class")
    assert [(finding.severity, finding.where) for finding in found] == [
        ("warning", f"class {label!r} in {part}") for label in ("no", "yes") for part in ("train", "test")
    ]


def test_impossible_values_are_found(clean: Folder) -> None:
    for row in clean.rows:
        row["age"] = 3.0
    clean.rows[3]["age"] = float("inf")
    clean.rows[4]["target"] = None
    clean.add("thumb.png", picture(99, 16, 20), age=float("nan"))
    found = of(clean.check(), "impossible-value")
    assert [(finding.where, finding.severity, finding.examples) for finding in found] == [
        ("column 'age'", "error", ("03.png",)),
        ("column 'target'", "warning", ("04.png",)),
        ("size", "warning", ("thumb.png (20 x 16 px)",)),
    ]


def test_pictures_that_no_row_names_are_found(clean: Folder) -> None:
    for path in ("extra/x.PNG", ".hidden/y.png", "__MACOSX/z.png", "._w.png", ".DS_Store", "read me.txt"):
        file = clean.root / path
        file.parent.mkdir(exist_ok=True)
        file.write_bytes((clean.root / "00.png").read_bytes())
    (found,) = clean.check().findings
    assert (found.kind, found.severity, found.examples) == ("unlisted-file", "warning", ("extra/x.PNG",))


# The second time


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    with Cache(tmp_path / "cache") as made:
        yield made


def refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("a file was looked at again")


def test_a_second_check_decodes_nothing(clean: Folder, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    clean.add("bad.png", b"")
    clean.add("copy.png", picture(1), group="p1")
    first = clean.check(cache=cache)
    assert first.remembered == 0
    monkeypatch.setattr(file_inspection, "look", refuse)
    second = clean.check(cache=cache)
    assert second.remembered == 26
    assert second.findings == first.findings
    # the same files elsewhere are the same content
    shutil.copytree(clean.root, clean.root.with_name("moved"))
    clean.root = clean.root.with_name("moved")
    assert clean.check(cache=cache).remembered == 26


def test_a_changed_file_is_looked_at_again(clean: Folder, cache: Cache) -> None:
    clean.check(cache=cache)
    (clean.root / "05.png").write_bytes(b"spoilt")
    found = clean.check(cache=cache)
    assert [finding.where for finding in found.findings] == ["05.png"]
    assert found.remembered == 23


def test_another_reader_looks_again(clean: Folder, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    from graftwork.common.data import images

    clean.check(cache=cache)
    monkeypatch.setattr(images, "READER_VERSION", "another")
    assert clean.check(cache=cache).remembered == 0


def test_without_a_cache_nothing_is_remembered(clean: Folder) -> None:
    assert clean.check().remembered == clean.check().remembered == 0


# What comes out


def test_findings_are_the_same_as_a_table_and_as_json(parted: Folder) -> None:
    parted.add("none.png", None, target="yes", part="test")
    found = parted.check()
    said = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert said["dataset"] == "d/x"
    assert (said["cases"], said["groups"], said["ok"]) == (25, 25, False)
    assert len(said["findings"]) == len(found.rows()) == len(found.findings)
    for one, other in zip(said["findings"], found.rows(), strict=True):
        assert all(one[name] == other[name] for name in ("severity", "kind", "where", "remedy"))
        assert other["what"].startswith(one["what"])
    assert {finding["kind"] for finding in said["findings"]} <= set(checks.KINDS)
    # errors first
    severities = [finding["severity"] for finding in said["findings"]]
    assert severities == sorted(severities)


def test_look_tells_size_and_why_not(tmp_path: Path) -> None:
    picture(1, 30, 50).save(tmp_path / "a.png")
    seen = look(str(tmp_path / "a.png"))
    assert (seen.height, seen.width, seen.readable, len(seen.appearance)) == (30, 50, True, 64)
    assert not look(str(tmp_path / "none.png")).readable
