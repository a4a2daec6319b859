"""2,000 damaged files of every format: an image or an ImageError, never a crash, a hang or a word on the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzzed_pictures import fuzz, write_sources

from graftwork.common.data.images import read_image
from graftwork.common.errors import ImageError


def test_two_thousand_damaged_files(tmp_path: Path) -> None:
    sources = write_sources(tmp_path / "sources")
    assert len(sources) == 50
    for source in sources:  # each is read before it is damaged, so that the damage is what is tested
        frame = 0 if source.stem in ("frames", "pages") else None
        assert read_image(source, frame=frame).pixels.size
    outcome = fuzz(sources, 2_000, seed=20_261_124, folder=tmp_path / "damaged")
    assert outcome.wrong == []
    assert outcome.said == ""
    assert outcome.total == 2_000
    assert outcome.slowest < 10
    # the damage is neither so small that all goes well nor so large that no decoder is reached
    assert outcome.pictures > 200
    assert outcome.errors["decode"] > 400
    assert outcome.errors["header"] > 400


def test_a_crash_and_a_hang_of_the_child_would_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The net itself: a reader that dies or never ends is reported file by file, and the rest is still read."""
    sources = write_sources(tmp_path / "sources")[:3]
    (tmp_path / "sitecustomize.py").write_text(
        "import os, graftwork.common.data.images as images\n"
        "real, calls = images.read_image, []\n"
        "def read_image(path, **options):\n"
        "    calls.append(path)\n"
        "    if len(calls) == 2 and os.environ['END'] == 'crash': os.abort()\n"
        "    while len(calls) == 2: pass\n"
        "    return real(path, **options)\n"
        "images.read_image = read_image\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for end, signal_number in [("crash", 6), ("hang", 14)]:  # SIGABRT, SIGALRM
        monkeypatch.setenv("END", end)
        outcome = fuzz(sources, 3, seed=1, folder=tmp_path / end, seconds=1)
        assert [line.split(": ")[1] for line in outcome.wrong] == [f"the process ended with -{signal_number}"]
        assert outcome.total == 2


def test_every_truncation_of_every_source_is_an_error_or_a_whole_picture(tmp_path: Path) -> None:
    """What is cut off after its image data (padding, an end marker that adds nothing) may be read."""
    for source in write_sources(tmp_path / "sources"):
        content = source.read_bytes()
        if source.stem in ("frames", "pages"):
            continue
        whole = read_image(source).pixels
        cut = tmp_path / f"cut{source.suffix}"
        for share in (0.1, 0.3, 0.5, 0.7, 0.9):
            cut.write_bytes(content[: int(len(content) * share)])
            try:
                picture = read_image(cut, constant="allow").pixels
            except ImageError:
                continue
            assert (picture == whole).all(), f"{source.name} cut to {share:.0%} is read as another image"
