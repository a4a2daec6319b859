"""The check of volumes, slices and masks: grids, values, foreground; and of sets whose groups nobody knows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from written_volumes import UPRIGHT, oriented, write

from graftwork.common import verbs
from graftwork.common.cache.file_facts import Cache
from graftwork.common.data import domain
from graftwork.common.data.checks import Finding, Findings, check, file_inspection
from graftwork.common.data.checks.file_inspection import look
from graftwork.common.data.manifest import Manifest
from graftwork.common.data.targets import Target

TARGET = Target("part", "segmentation", ("none", "left", "right"), values=(0, 1, 4))


def texture(seed: int, *shape: int) -> np.ndarray:
    """Soft shapes; no two seeds look alike."""
    coarse = np.random.default_rng(seed).random([-(-side // 6) for side in shape])
    for axis, side in enumerate(shape):
        coarse = coarse.repeat(6, axis).take(range(side), axis)
    return coarse


def box(*shape: int) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    middle = [slice(side // 4, side // 2) for side in shape]
    mask[tuple(middle)] = 1
    mask[tuple([slice(side // 2, side // 2 + 3) for side in shape])] = 4
    return mask


class Volumes:
    """Twelve volumes of as many patients and their masks, nothing wrong."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.rows: list[dict[str, Any]] = []
        for n in range(12):
            self.add(n, texture(n, 12, 14, 16), box(12, 14, 16))

    def add(self, n: int, image: np.ndarray, mask: np.ndarray | None, affine: np.ndarray = UPRIGHT) -> None:
        write(self.root / f"images/{n:02d}.nii.gz", image.astype(np.float32), UPRIGHT)
        if mask is not None:
            write(self.root / f"labels/{n:02d}.nii.gz", mask, affine)
        row = {"case": f"c{n:02d}", "path": f"images/{n:02d}.nii.gz", "group": f"p{n}", "part": None}
        self.rows = [other for other in self.rows if other["case"] != row["case"]]
        self.rows.append({**row, "mask": f"labels/{n:02d}.nii.gz"})

    def check(self, **wishes: Any) -> Findings:
        manifest = Manifest(
            pd.DataFrame(self.rows), self.root, "d/x", "patient", TARGET, one_case_groups=True
        )
        return check(manifest, **{"workers": 0, **wishes})


@pytest.fixture
def volumes(tmp_path: Path) -> Volumes:
    return Volumes(tmp_path / "data")


def of(findings: Findings, kind: str) -> list[Finding]:
    return [finding for finding in findings.findings if finding.kind == kind]


# Volumes and their masks


def test_nothing_is_found_where_nothing_is_wrong(volumes: Volumes) -> None:
    told: list[tuple[int, int]] = []
    found = volumes.check(workers=2, progress=lambda done, total: told.append((done, total)))
    assert found.findings == ()
    assert told[-1] == (24, 24)


def test_each_mask_off_its_images_grid_is_named_with_the_command(volumes: Volumes) -> None:
    moved = UPRIGHT.copy()
    moved[1, 3] += 3
    volumes.add(3, texture(3, 12, 14, 16), box(12, 14, 16), moved)
    volumes.add(5, texture(5, 12, 14, 16), box(12, 14, 15))
    one, other = volumes.check().findings
    assert (one.kind, one.severity, one.where) == ("geometry", "error", "images/03.nii.gz")
    assert "the mask labels/03.nii.gz is not on its grid (affine: image RAS [1.5 0 0 -20;" in one.what
    assert "up to 3 mm away" in one.what
    root = volumes.root
    assert f"graftwork regrid {root}/labels/03.nii.gz --like {root}/images/03.nii.gz --out" in one.remedy
    assert "shape: image 12 x 14 x 16, mask 12 x 14 x 15" in other.what


def test_values_that_are_no_class_are_counted_over_all_masks(volumes: Volumes) -> None:
    for n in (2, 7):
        mask = box(12, 14, 16)
        mask[0, 0, : n + 1] = 3
        volumes.add(n, texture(n, 12, 14, 16), mask)
    (found,) = volumes.check().findings
    assert (found.kind, found.severity, found.where, found.count) == ("mask-values", "error", "2 masks", 2)
    assert "3 (11); the classes are 0, 1, 4" in found.what
    assert found.examples == ("labels/02.nii.gz: 3 (3)", "labels/07.nii.gz: 3 (8)")
    assert found.remedy


def test_masks_that_are_missing_or_cannot_be_read_are_lines(volumes: Volumes) -> None:
    (volumes.root / "labels/01.nii.gz").unlink()
    (volumes.root / "labels/02.nii.gz").write_bytes(b"no mask")
    write(volumes.root / "labels/03.nii.gz", texture(3, 12, 14, 16).astype(np.float32), UPRIGHT)
    volumes.rows[4]["mask"] = None
    (volumes.root / "labels/04.nii.gz").unlink()
    found = volumes.check()
    assert [(each.kind, each.where) for each in found.findings] == [
        ("missing", "labels/01.nii.gz"),
        ("unreadable", "labels/02.nii.gz"),
        ("unreadable", "labels/03.nii.gz"),
        ("impossible-value", "column 'mask'"),
    ]
    assert "no whole numbers" in found.findings[2].what


def test_an_empty_mask_is_no_news_and_a_set_of_them_is(volumes: Volumes) -> None:
    volumes.add(3, texture(3, 12, 14, 16), np.zeros((12, 14, 16), np.uint8))
    assert volumes.check().ok
    for n in range(12):
        volumes.add(n, texture(n, 12, 14, 16), np.zeros((12, 14, 16), np.uint8))
    (found,) = volumes.check().findings
    assert (found.kind, found.severity, found.count) == ("no-foreground", "error", 12)
    assert "in none of them a pixel of left, right" in found.what
    assert "none is 0, left is 1, right is 4" in found.remedy


def test_a_class_that_few_masks_hold_is_small(volumes: Volumes) -> None:
    for n in range(10):
        mask = box(12, 14, 16)
        mask[mask == 4] = 0
        volumes.add(n, texture(n, 12, 14, 16), mask)
    (found,) = volumes.check().findings
    assert (found.kind, found.where, found.count) == ("small-class", "class 'right'", 2)
    assert "2 cases of 2 groups (patient)" in found.what


def test_the_same_voxels_are_the_same_volume_whatever_the_header(volumes: Volumes) -> None:
    array = texture(0, 12, 14, 16).astype(np.float32)
    volumes.add(12, array, box(12, 14, 16))
    turned, affine = oriented(array, UPRIGHT, "LIP")
    affine[:3, 3] += 40
    write(volumes.root / "images/12.nii.gz", turned, affine)
    (found,) = of(volumes.check(), "duplicate")
    assert found.severity == "error"
    assert found.examples == ("images/00.nii.gz = images/12.nii.gz",)


def test_a_volume_that_looks_alike_is_near_across_patients(volumes: Volumes) -> None:
    image = texture(0, 12, 14, 16)
    volumes.add(12, image * 90 + 7, box(12, 14, 16))
    (found,) = volumes.check().findings
    assert (found.kind, found.severity) == ("near-duplicate", "warning")
    assert "images/00.nii.gz ~ images/12.nii.gz" in found.examples[0]


def test_bad_volumes_and_those_of_one_value_are_lines(volumes: Volumes) -> None:
    file = volumes.root / "images/00.nii.gz"
    file.write_bytes(file.read_bytes()[:300])
    write(volumes.root / "images/01.nii.gz", np.ones((12, 14, 16), np.uint8), UPRIGHT)
    found = volumes.check(workers=1)
    assert [(each.kind, each.where) for each in found.findings] == [
        ("unreadable", "images/00.nii.gz"),
        ("unreadable", "images/01.nii.gz"),
    ]
    assert "every voxel has the same value" in found.findings[1].what


def test_unlisted_knows_nifti_and_does_not_name_the_masks(volumes: Volumes) -> None:
    write(volumes.root / "labels/extra.nii.gz", box(4, 4, 4), UPRIGHT)
    write(volumes.root / "extra.nii", box(4, 4, 4), UPRIGHT)
    (found,) = volumes.check().findings
    assert found.examples == ("extra.nii", "labels/extra.nii.gz")


def test_a_second_check_decodes_neither_volumes_nor_masks(
    volumes: Volumes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = box(12, 14, 16)
    mask[0, 0, 0] = 9
    volumes.add(7, texture(7, 12, 14, 16), mask)
    # a file named both as an image and as a mask is two questions
    volumes.rows[8]["mask"] = "images/07.nii.gz"
    with Cache(tmp_path / "cache") as cache:
        first = volumes.check(cache=cache)

        def refuse(*_: Any, **__: Any) -> Any:
            raise AssertionError("a file was looked at again")

        monkeypatch.setattr(file_inspection, "look", refuse)
        second = volumes.check(cache=cache)
    assert second.findings == first.findings
    assert [each.where for each in of(first, "unreadable")] == ["images/07.nii.gz"]
    assert (first.remembered, second.remembered) == (0, 24)


# Slices


def slices(root: Path, *, size: tuple[int, int] = (40, 44)) -> list[dict[str, Any]]:
    """Four patients of six slices each; the first and the last slice of each are black."""
    rows = []
    for patient in range(4):
        for place in range(6):
            black = place in (0, 5)
            picture = texture(patient * 10 + place, *size) * 255 if not black else np.zeros(size)
            mask = np.zeros(size, np.uint8) if black else (box(*size) > 0).astype(np.uint8) * 255
            name = f"p{patient}/{place}"
            (root / f"p{patient}").mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture.astype(np.uint8)).save(root / f"{name}.tif")
            Image.fromarray(mask).save(root / f"{name}_mask.tif")
            row = {"case": name, "path": f"{name}.tif", "group": f"p{patient}", "part": None}
            rows.append({**row, "mask": f"{name}_mask.tif", "slice": place, "volume": f"v{patient}"})
    return rows


def of_slices(root: Path, rows: list[dict[str, Any]], values: tuple[int, int] = (0, 255)) -> Manifest:
    target = Target("part", "segmentation", ("none", "it"), values=values)
    frame = pd.DataFrame(rows)
    named = tuple(name for name in ("slice", "volume") if name in frame)
    unit = "volume" if "volume" in frame else ""
    return Manifest(frame, root, "d/x", "patient", target, covariates=named, unit=unit)


def test_black_slices_at_the_ends_are_no_news(tmp_path: Path) -> None:
    rows = slices(tmp_path)
    assert check(of_slices(tmp_path, rows), workers=0).ok
    # where the images are no slices, an image of one value shows nothing
    alone = [{name: row[name] for name in ("case", "path", "group", "part", "mask")} for row in rows]
    found = check(of_slices(tmp_path, alone), workers=0)
    assert {each.kind for each in found.findings} == {"unreadable"}
    assert len(found.findings) == 8


def test_a_slice_that_stands_twice_is_found_all_the_same(tmp_path: Path) -> None:
    rows = slices(tmp_path)
    (tmp_path / "p1/2.tif").write_bytes((tmp_path / "p0/2.tif").read_bytes())
    (found,) = check(of_slices(tmp_path, rows), workers=0).findings
    assert (found.kind, found.severity, found.count) == ("duplicate", "error", 1)


def test_masks_of_pictures_have_their_size_and_the_way_out_fits(tmp_path: Path) -> None:
    rows = slices(tmp_path)
    Image.fromarray(np.zeros((44, 40), np.uint8)).save(tmp_path / "p2/0_mask.tif")
    (found,) = check(of_slices(tmp_path, rows), workers=0).findings
    assert (found.kind, found.where) == ("geometry", "p2/0.tif")
    assert "size: image 40 x 44 px, mask 44 x 40 px" in found.what
    found = of(check(of_slices(tmp_path, rows, values=(0, 1)), workers=0), "mask-values")[0]
    assert (found.count, found.severity) == (16, "warning")
    assert "the values are 0 and 255, those of the classes 0, 1: 255 is read as the foreground" in found.what


# Groups that nobody knows, and what a dataset's own module finds


def test_unknown_groups_are_one_line_and_nothing_else_is_said_of_them(tmp_path: Path) -> None:
    rows = []
    for n in range(24):
        Image.fromarray((texture(n, 60, 60) * 255).astype(np.uint8)).save(tmp_path / f"{n}.png")
        part = ("train", "test")[n % 2]
        rows.append(
            {"case": str(n), "path": f"{n}.png", "group": None, "part": part, "target": "ab"[n // 12]}
        )
    target = Target("t", "binary", ("a", "b"))
    manifest = Manifest(pd.DataFrame(rows), tmp_path, "d/x", "location", target, one_case_groups=True)
    found = check(manifest, workers=0)
    (none,) = of(found, "no-group")
    assert (none.severity, none.count) == ("error", 24)
    assert "location" in none.what
    assert {each.kind for each in found.findings} == {"no-group", "small-class"}
    assert found.groups == 0
    # images that look alike are looked for among all
    again = Image.open(tmp_path / "0.png").resize((90, 90))
    again.save(tmp_path / "1.png")
    (near,) = of(check(manifest, workers=0), "near-duplicate")
    assert "unknown groups (location)" in near.what


def test_what_the_datasets_own_module_finds_stands_with_the_rest(volumes: Volumes) -> None:
    (volumes.root / "labels/01.nii.gz").unlink()
    own = [
        Finding("a kind of its own", "warning", "here", "something", "do this"),
        Finding("copy", "warning", "there", "a copy", "remove it"),
        Finding("contradiction", "error", "table", "two answers", "choose"),
    ]
    found = volumes.check(extra=iter(own))
    assert [each.kind for each in found.findings] == ["missing", "contradiction", "copy", "a kind of its own"]


def test_the_verb_asks_the_datasets_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def findings(root: Path) -> list[Finding]:
        asked.append(root)
        return [Finding("copy", "warning", "there", "a copy", "remove it")]

    module = domain.dataset("chest_xray/kermany").module
    monkeypatch.setattr(module, "findings", findings, raising=False)
    monkeypatch.setenv("GRAFTWORK_CACHE", str(tmp_path / "cache"))
    verbs.synthesize("chest_xray/kermany", tmp_path / "toy", cases=20)
    found = verbs.check("chest_xray/kermany", tmp_path / "toy", workers=0)
    assert asked == [tmp_path / "toy"]
    assert [each.what for each in of(found, "copy")] == ["a copy"]


def test_steps_of_an_ordinal_target_that_are_rare_are_one_line(tmp_path: Path) -> None:
    rows = []
    for n in range(24):
        Image.fromarray((texture(n, 60, 60) * 255).astype(np.uint8)).save(tmp_path / f"{n}.png")
        row = {"case": str(n), "path": f"{n}.png", "group": f"g{n}", "part": None, "target": "ab"[n % 2]}
        rows.append({**row, "count_target": str(1 + n % 2)})
    steps = Target("count", "ordinal", ("1", "2", "3", "4"), prefix="count_")
    target = Target("t", "binary", ("a", "b"))
    manifest = Manifest(
        pd.DataFrame(rows), tmp_path, "d/x", "site", target, further=(steps,), one_case_groups=True
    )
    (found,) = check(manifest, workers=0).findings
    assert (found.kind, found.severity, found.where) == ("small-class", "warning", "steps of count")
    assert found.what.startswith("2 of 4 steps appear in fewer than 3 groups (site)")


def test_look_tells_what_is_in_a_volume_and_in_a_mask(tmp_path: Path) -> None:
    write(tmp_path / "a.nii", texture(0, 12, 14, 16).astype(np.float32), UPRIGHT)
    seen = look(str(tmp_path / "a.nii"))
    assert (seen.height, seen.width, seen.depth, len(seen.appearance)) == (12, 14, 16, 64)
    write(tmp_path / "m.nii", box(12, 14, 16), UPRIGHT)
    assert look(str(tmp_path / "m.nii"), mask=True).values == {"0": 2613, "1": 48, "4": 27}


def test_a_finding_is_made_without_numpy() -> None:
    code = (
        "import sys; from graftwork.common.data.checks.findings import Finding\n"
        "Finding('copy', 'warning', 'a', 'b', 'c')\n"
        "print(sorted({'numpy', 'pandas', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# What is passed over is said


def test_odd_headers_are_read_and_found(volumes: Volumes) -> None:
    image, mask = texture(3, 12, 14, 16).astype(np.float32), box(12, 14, 16)
    write(volumes.root / "images/03.nii.gz", image, UPRIGHT, pixdim=[1, 0, 0, 0, 1, 1, 1, 1])
    write(volumes.root / "images/04.nii.gz", texture(4, 12, 14, 16).astype(np.float32)[..., None], UPRIGHT)
    write(volumes.root / "labels/05.nii.gz", mask, UPRIGHT, pixdim=[1, 1.5, -1, 3, 1, 1, 1, 1])
    found = volumes.check().findings
    assert [(each.kind, each.severity, each.where, each.examples) for each in found] == [
        ("geometry", "warning", "1 file", ("images/03.nii.gz",)),
        ("geometry", "warning", "1 file", ("images/04.nii.gz",)),
        ("geometry", "warning", "1 file", ("labels/05.nii.gz",)),
    ]
    assert found[0].what == "its voxel size (pixdim) is 0 x 0 x 0; that of its affine is used, 1.5 x 2 x 3 mm"
    assert "it has 4 axes (12 x 14 x 16 x 1), all beyond the third of length 1" in found[1].what
    assert "(pixdim) is 1.5 x -1 x 3; that of its affine is used, 1.5 x 2 x 3 mm" in found[2].what


def test_masks_of_another_scale_count_as_their_class(tmp_path: Path) -> None:
    rows = slices(tmp_path)
    found = check(of_slices(tmp_path, rows, values=(0, 1)), workers=1).findings
    assert [(each.kind, each.severity) for each in found] == [("mask-values", "warning")]
    assert not of(check(of_slices(tmp_path, rows, values=(0, 1)), workers=0), "no-foreground")


def test_ids_above_24_bits_are_told_apart(tmp_path: Path) -> None:
    ids = np.array([0, 312782560, 312782564])[box(12, 14, 16) % 3]
    write(tmp_path / "ids.nii", ids.astype(np.int32), UPRIGHT)
    assert look(str(tmp_path / "ids.nii"), mask=True).values == {"0": 2613, "312782560": 75}
    ids[0, 0, 0] = 312782564
    write(tmp_path / "ids.nii", ids.astype(np.int32), UPRIGHT)
    assert look(str(tmp_path / "ids.nii"), mask=True).values == {
        "0": 2612,
        "312782560": 75,
        "312782564": 1,
    }
