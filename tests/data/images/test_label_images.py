"""The reader of masks: what a file stores, whatever its depth, or a refusal that says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from written_volumes import write

from graftwork.common.data.masks import measure, other_scale, read_labels, read_mask, read_values, write_mask
from graftwork.common.data.volumes import read_geometry, regrid
from graftwork.common.errors import ImageError, TableError
from graftwork.common.evaluation.mask_values import foreground
from graftwork.common.evaluation.metrics.mask_overlap import dice, jaccard

IDS = np.array([0, 312782560, 312782564, 576073732, 182305689])
LABELS = np.random.default_rng(3).integers(0, 3, (9, 11)).astype(np.uint8)


def refused(path: Path, said: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_values(path)
    assert said in str(caught.value) and caught.value.remedy, str(caught.value)
    assert caught.value.stage == "content"


@pytest.mark.parametrize("kind", ["<i4", ">i4", "<u4", "<i8", ">i8", "<u8", "<f8"])
def test_ids_above_24_bits_survive_reading_and_regridding(tmp_path: Path, kind: str) -> None:
    array = IDS[np.random.default_rng(0).integers(0, 5, (4, 5, 6))]
    affine = np.diag([1.0, 1, 1, 1])
    path = write(tmp_path / "ids.nii.gz", array.astype(kind), affine)
    np.testing.assert_array_equal(read_values(path), array)
    classes = read_mask(path, IDS.tolist())
    np.testing.assert_array_equal(IDS[classes], array)
    done = regrid(path, path, tmp_path / "out.nii.gz")
    assert {value: pair[1] for value, pair in done.counts.items()} == {
        int(value): int((array == value).sum()) for value in IDS if (array == value).any()
    }
    np.testing.assert_array_equal(read_values(tmp_path / "out.nii.gz"), array)


def test_what_passes_a_type_is_refused_and_64_bits_are_kept(tmp_path: Path) -> None:
    large = np.array([0, 2**53 + 1, 2**62 + 3]).reshape(3, 1, 1) * np.ones((3, 2, 2), np.int64)
    np.testing.assert_array_equal(read_values(write(tmp_path / "a.nii", large)), large)
    refused(write(tmp_path / "b.nii", large.astype(np.float64)), "exact up to 9,007,199,254,740,992")
    refused(write(tmp_path / "c.nii", np.full((2, 2, 2), 2**64 - 1, np.uint64)), "passes 64 bits")
    scaled = write(tmp_path / "d.nii", np.full((2, 2, 2), 300_000_000, np.int32), scl_slope=0.1, scl_inter=0)
    refused(scaled, "exact up to 8,388,608")
    whole = write(tmp_path / "e.nii", np.full((2, 2, 2), 300_000_001, np.int32), scl_slope=3, scl_inter=-2)
    assert set(read_values(whole).ravel().tolist()) == {900_000_001}
    geometry = read_geometry(whole)
    write_mask(tmp_path / "f.nii", np.ones((2, 2, 2), np.uint8), (0, 2**40), geometry)
    assert set(read_values(tmp_path / "f.nii").ravel().tolist()) == {2**40}


def test_a_tiff_of_32_bits_keeps_its_ids(tmp_path: Path) -> None:
    array = IDS[np.random.default_rng(0).integers(0, 5, (4, 5))].astype(np.int32)
    Image.fromarray(array).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_values(tmp_path / "a.tif"), array)
    Image.fromarray(LABELS.astype(np.float32)).save(tmp_path / "f.tif")
    np.testing.assert_array_equal(read_values(tmp_path / "f.tif"), LABELS)
    Image.fromarray(LABELS + np.float32(0.3)).save(tmp_path / "g.tif")
    refused(tmp_path / "g.tif", "no whole numbers, such as")


def palette(path: Path, indices: np.ndarray, colours: list[tuple[int, int, int]], **wishes: Any) -> Path:
    picture = Image.fromarray(indices.astype(np.uint8), "P")
    picture.putpalette([value for colour in colours for value in colour])
    picture.save(path, **wishes)
    return path


def test_the_labels_of_a_palette_are_its_indices(tmp_path: Path) -> None:
    voc = [(0, 0, 0), (128, 0, 0), (0, 128, 0)]
    for name, wishes in (("a.png", {}), ("b.png", {"transparency": 0}), ("c.bmp", {}), ("d.tif", {})):
        found = read_labels(palette(tmp_path / name, LABELS, voc, **wishes))
        np.testing.assert_array_equal(found.values, LABELS)
        assert not found.graded
    black_and_white = palette(tmp_path / "e.png", LABELS > 0, [(0, 0, 0), (255, 255, 255)])
    np.testing.assert_array_equal(read_values(black_and_white), LABELS > 0)
    np.testing.assert_array_equal(read_mask(black_and_white, (0, 255)), LABELS > 0)


def test_a_palette_whose_colours_say_something_else_is_refused(tmp_path: Path) -> None:
    grey = palette(tmp_path / "a.png", LABELS, [(0, 0, 0), (128, 128, 128), (255, 255, 255)])
    refused(grey, "0 is grey 0, 1 is grey 128, 2 is grey 255")
    turned = palette(tmp_path / "b.png", LABELS > 0, [(255, 255, 255), (0, 0, 0)])
    refused(turned, "0 is grey 255, 1 is grey 0")
    refused(palette(tmp_path / "c.png", LABELS, [(255, 0, 0), (0, 0, 0), (0, 255, 0)]), "black is entry 1")


def test_transparency_never_changes_a_label(tmp_path: Path) -> None:
    full = np.full_like(LABELS, 255)
    for name, alpha in (("opaque", full), ("background", np.where(LABELS > 0, 255, 0).astype(np.uint8))):
        Image.fromarray(np.dstack([LABELS, alpha]), "LA").save(tmp_path / f"{name}.png")
        np.testing.assert_array_equal(read_values(tmp_path / f"{name}.png"), LABELS)
        Image.fromarray(np.dstack([LABELS, LABELS, LABELS, alpha]), "RGBA").save(tmp_path / f"{name}4.png")
        np.testing.assert_array_equal(read_values(tmp_path / f"{name}4.png"), LABELS)
    for alpha in (
        np.where(LABELS > 0, 128, 255),
        np.where(LABELS == 2, 0, 255),
        np.where(LABELS > 1, 255, 0),
    ):
        Image.fromarray(np.dstack([LABELS, alpha.astype(np.uint8)]), "LA").save(tmp_path / "m.png")
        refused(tmp_path / "m.png", "does not agree with its values")
    Image.fromarray(LABELS).save(tmp_path / "key.png", transparency=2)
    refused(tmp_path / "key.png", "does not agree with its values")
    Image.fromarray(LABELS).save(tmp_path / "key0.png", transparency=0)
    np.testing.assert_array_equal(read_values(tmp_path / "key0.png"), LABELS)


def test_labels_in_alpha_alone_are_refused(tmp_path: Path) -> None:
    alpha = np.where(LABELS > 0, 255, 0).astype(np.uint8)
    for colour in (0, 200):
        same = np.full_like(LABELS, colour)
        Image.fromarray(np.dstack([same, same, same, alpha]), "RGBA").save(tmp_path / "m.png")
        refused(tmp_path / "m.png", "its labels are in the alpha channel")


def test_files_that_change_values_are_refused_by_what_they_are(tmp_path: Path) -> None:
    Image.fromarray(LABELS * 100).save(tmp_path / "m.jpg", quality=100)
    refused(tmp_path / "m.jpg", "it is a JPEG file")
    (tmp_path / "named.png").write_bytes((tmp_path / "m.jpg").read_bytes())
    refused(tmp_path / "named.png", "it is a JPEG file")
    Image.fromarray(np.kron(LABELS, np.ones((8, 8), np.uint8))).save(tmp_path / "m.tif", compression="jpeg")
    refused(tmp_path / "m.tif", "compressed by JPEG")
    Image.fromarray(LABELS).save(tmp_path / "w.tif", tiffinfo={262: 0})
    refused(tmp_path / "w.tif", "0 is white")
    frames = [Image.fromarray(LABELS), Image.fromarray(LABELS * 2)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    refused(tmp_path / "a.png", "it holds 2 frames")


def test_grey_of_two_or_four_bits_is_two_things(tmp_path: Path) -> None:
    import struct
    import zlib

    def png(rows: bytes, bits: int) -> bytes:
        def chunk(kind: bytes, data: bytes) -> bytes:
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

        head = struct.pack(">IIBBBBB", 4, 1, bits, 0, 0, 0, 0)
        return (
            b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", head)
            + chunk(b"IDAT", zlib.compress(rows))
            + chunk(b"IEND", b"")
        )

    (tmp_path / "a.png").write_bytes(png(b"\0" + bytes([0b00011011]), 2))
    refused(tmp_path / "a.png", "its grey has 2 bits")
    (tmp_path / "b.png").write_bytes(png(b"\0" + bytes([0b00110011]), 2))
    assert read_values(tmp_path / "b.png").tolist() == [[0, 255, 0, 255]]
    (tmp_path / "c.png").write_bytes(png(b"\0" + bytes([0x01, 0x2F]), 4))
    refused(tmp_path / "c.png", "its grey has 4 bits")


def test_a_damaged_mask_is_refused_as_any_image_is(tmp_path: Path) -> None:
    Image.fromarray(np.kron(LABELS, np.ones((9, 9), np.uint8))).save(tmp_path / "m.png")
    content = bytearray((tmp_path / "m.png").read_bytes())
    content[content.index(b"IDAT") + 12] ^= 0xFF
    (tmp_path / "m.png").write_bytes(content)
    with pytest.raises(ImageError, match="fails its checksum"):
        read_values(tmp_path / "m.png")


# what values mean ------------------------------------------------------------------------------------------


def test_two_values_have_one_foreground_whatever_their_scale() -> None:
    bits = LABELS > 0
    for full in (1, 255, 65535):
        found = foreground(bits * np.int64(full), 128)
        np.testing.assert_array_equal(found.mask, bits)
        assert (found.scale, found.grey) == (f"0/{full}", 0)
        assert foreground(np.full((2, 2), full), 128).mask.all()
    assert foreground(np.zeros((2, 2)), 128).scale == "empty"
    grey = foreground(np.array([[0, 3, 128, 129, 255]]), 128)
    assert (grey.mask.tolist(), grey.scale, grey.grey) == ([[False, False, False, True, True]], "grey", 3)
    deep = foreground(np.array([[0, 128 * 257, 128 * 257 + 1, 65535]]), 128)
    assert (deep.mask.tolist(), deep.grey) == ([[False, False, True, True]], 2)
    assert foreground(np.array([[0, 1, 2]]), 128).scale == "faint"
    assert foreground(np.array([[0, 1, 2]]), 0).mask.tolist() == [[False, True, True]]
    for values, graded, said in (
        ([[0, 1, 2]], False, "it holds 0, 1, 2; expected two values"),
        ([[0, 300]], True, "it holds 0, 300; expected two values"),
        ([[-1, 0]], True, "lowest value is -1"),
        ([[0, 0.5]], True, "whole numbers, it holds 0.5"),
        ([[0, np.nan]], True, "whole numbers, it holds nan"),
        ([["0"]], True, "a mask is of numbers"),
    ):
        with pytest.raises(TableError, match=said):
            foreground(np.array(values), 128, graded=graded)


def test_another_scale_is_known_where_two_classes_have_one_foreground(tmp_path: Path) -> None:
    assert other_scale([0, 255], (0, 1)) == other_scale([255], (1, 0)) == 255
    assert other_scale([0, 1], (0, 255)) == 1
    for found, values in (
        ([0, 1], (0, 1)),
        ([0], (0, 255)),
        ([0, 1, 255], (0, 1)),
        ([0, 255], (0, 1, 2)),
        ([0, 7], (0, 1)),
    ):
        assert not other_scale(found, values)
    Image.fromarray((LABELS > 0).astype(np.uint8)).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", (255, 0)), LABELS == 0)


@pytest.mark.parametrize("metric", [dice, jaccard])
def test_labels_and_probabilities_are_no_binary_masks(metric: Any) -> None:
    with pytest.raises(TableError, match="must hold 0 and 1, it holds 2"):
        metric(np.array([[1, 2]]), np.array([[2, 1]]))
    with pytest.raises(TableError, match=r"whole numbers, it holds 0\.3"):
        metric(np.array([[1.0, 0.3]]), np.array([[0, 1]]))
    with pytest.raises(TableError, match="predicted: it must hold 0 and 1, it holds 255"):
        metric(np.array([[1, 0]]), np.array([[255, 0]]))
    assert metric(np.array([[1.0, 0.0]]), np.array([[True, False]])) == 1


def test_measure_refuses_classes_that_it_does_not_know() -> None:
    names = ("none", "a")
    with pytest.raises(TableError, match="predicted: it must hold 0, 1 and 255, it holds 2"):
        measure(LABELS.clip(0, 1), LABELS, names)
    with pytest.raises(TableError, match="truth"):
        measure(LABELS.clip(0, 1) * 0.5, LABELS.clip(0, 1), names)
    assert measure(np.full((2, 2), 255, np.uint8), np.ones((2, 2), np.uint8), names)["both_a"] == 0
