"""Headers that differ within a set: slopes, units, windows and ranges; images that use little of their range."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from written_pictures import dicom, save

from graftwork.common.data.checks import check
from graftwork.common.data.checks.file_inspection import Look
from graftwork.common.data.checks.findings import Finding, Findings
from graftwork.common.data.checks.intensity_checks import intensities
from graftwork.common.data.manifest import Manifest
from graftwork.common.data.targets import Target

RNG = np.random.default_rng(0)


def checked(folder: Path, *names: str) -> Findings:
    frame = pd.DataFrame(
        {"case": names, "path": names, "group": names, "part": None, "target": ["a", "b"] * (len(names) // 2)}
    )
    target = Target("label", "multi-class", ("a", "b"))
    return check(Manifest(frame, folder, "d/x", "patient", target), workers=0)


def of(findings: Findings, where: str) -> list[Finding]:
    return [each for each in findings.findings if each.where == where]


def values(most: int) -> np.ndarray:
    return RNG.integers(0, most, (40, 40)).astype(np.int16)


def test_slopes_units_and_windows_that_differ_are_counted_by_value(tmp_path: Path) -> None:
    for name, slope, more in (
        ("a.dcm", "1", {"Units": "BQML"}),
        ("b.dcm", "4", {"Units": "BQML"}),
        ("c.dcm", "4", {"Units": "CNTS", "WindowCenter": "8000", "WindowWidth": "16000"}),
        ("d.dcm", "4", {"Units": "BQML", "bits": 15}),
    ):
        dicom(tmp_path / name, values(16000), RescaleSlope=slope, RescaleIntercept="0", **more)
    found = checked(tmp_path, "a.dcm", "b.dcm", "c.dcm", "d.dcm")
    (slope,) = of(found, "Rescale Slope")
    assert (slope.kind, slope.severity, slope.count) == ("intensity", "warning", 4)
    assert slope.what == "Rescale Slope differs between the images: 4 (3 images), 1 (1 image)"
    assert slope.examples == ("b.dcm: 4", "a.dcm: 1")
    assert "BQML (3 images), CNTS (1 image)" in of(found, "Units")[0].what
    assert "none (3 images), 8000, 16000 (1 image)" in of(found, "Window Center and Width")[0].what
    assert "16 (3 images), 15 (1 image)" in of(found, "Bits Stored")[0].what
    assert not of(found, "Rescale Intercept")


def test_one_scale_for_all_is_no_finding(tmp_path: Path) -> None:
    for name in ("a.dcm", "b.dcm"):
        dicom(
            tmp_path / name,
            values(30000),
            RescaleSlope="2",
            RescaleIntercept="-5",
            WindowCenter="1",
            WindowWidth="90",
        )
    assert not [each for each in checked(tmp_path, "a.dcm", "b.dcm").findings if each.kind == "intensity"]


def test_many_values_are_counted_and_not_cut_off_without_a_mark(tmp_path: Path) -> None:
    names = [f"{number}.dcm" for number in range(12)]
    for number, name in enumerate(names):
        dicom(tmp_path / name, values(16000), RescaleSlope=str(number + 1))
    (slope,) = of(checked(tmp_path, *names), "Rescale Slope")
    assert slope.what.count("(1 image)") == 8
    assert slope.what.endswith("4 more values (4 images)")


def test_text_in_the_place_of_a_unit_is_not_shown(tmp_path: Path) -> None:
    dicom(tmp_path / "a.dcm", values(16000), RescaleType="HU")
    dicom(tmp_path / "b.dcm", values(16000), RescaleType="of Jane Doe, who")
    found = of(checked(tmp_path, "a.dcm", "b.dcm"), "Rescale Type")
    assert "another (" in found[0].what
    assert "Jane" not in str(found)


def test_windows_without_width_are_counted(tmp_path: Path) -> None:
    for name in ("a.dcm", "b.dcm"):
        dicom(tmp_path / name, values(30000), WindowCenter="1", WindowWidth="0")
    (found,) = [each for each in checked(tmp_path, "a.dcm", "b.dcm").findings if each.kind == "header"]
    assert "Window Width of 0" in found.what
    assert (found.where, found.examples) == ("2 files", ("a.dcm", "b.dcm"))


def test_remarks_that_differ_by_a_number_alone_are_one_finding() -> None:
    names = [f"{number}.nii.gz" for number in range(4)]
    looks = {row: Look(depth=3, remarks=(f"its voxel size (pixdim) is {row}.5",)) for row in range(4)}
    (found,) = intensities(names, looks)
    assert found.count == 4 and found.what.endswith(
        "is 0.5; the same of 3 other files, with other numbers in some"
    )


def test_images_in_a_small_part_of_their_range_and_of_two_depths(tmp_path: Path) -> None:
    save(tmp_path / "a.png", values(1000).astype(np.uint16))
    save(tmp_path / "b.png", RNG.integers(0, 256, (40, 40)).astype(np.uint8))
    found = checked(tmp_path, "a.png", "b.png")
    (narrow,) = of(found, "1 image")
    assert "1 image of 2 with values in less than 5% of the range" in narrow.what
    assert narrow.examples == ("a.png (1.5%)",)
    assert "0 to 65535 (1 image), 0 to 255 (1 image)" in of(found, "Range")[0].what
