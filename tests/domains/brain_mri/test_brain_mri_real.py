"""lgg on 16 real patients, hippocampus_msd on 260 real volumes: counts, and what of them is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from real_data import real

from graftwork.common.data import domain
from graftwork.common.data.manifest import Manifest
from graftwork.domains.brain_mri import hippocampus_msd, lgg

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def slices() -> tuple[Path, Manifest]:
    root = real("brain_mri/lgg_kaggle3m")
    return root, domain.dataset("brain_mri/lgg").read(root)


@pytest.fixture(scope="module")
def volumes() -> tuple[Path, Manifest]:
    root = real("brain_mri/hippocampus_msd")
    return root, domain.dataset("brain_mri/hippocampus_msd").read(root)


def test_each_slice_of_each_patient_is_there(slices: tuple[Path, Manifest]) -> None:
    root, manifest = slices
    frame = manifest.frame
    assert (len(frame), frame["group"].nunique()) == (429, 16)
    assert frame["institution"].groupby(frame["group"]).first().value_counts().to_dict() == {
        "HT": 8,
        "CS": 4,
        "DU": 2,
        "EZ": 1,
        "FG": 1,
    }
    counted = pd.read_csv(root / "patients.csv").set_index("patient")["slices"]
    assert frame.groupby("volume").size().to_dict() == counted.to_dict()
    for _, rows in frame.groupby("volume"):
        assert rows["slice"].tolist() == list(range(len(rows)))
        numbers = rows["path"].str.extract(r"_([0-9]+)\.tif$")[0].astype(int)
        assert numbers.tolist() == list(range(1, len(rows) + 1))


def test_the_table_tells_of_every_patient(slices: tuple[Path, Manifest]) -> None:
    _, manifest = slices
    first = manifest.frame.groupby("group")[["histology", "grade", "gender", "age"]].first()
    assert first.notna().all(axis=None)
    assert first.loc["TCGA_CS_4942"].tolist() == ["1", "2", "1", 44.0]
    assert manifest.frame["spacing"].isna().all()


def test_masks_are_0_and_255_and_149_are_filled(slices: tuple[Path, Manifest]) -> None:
    root, manifest = slices
    filled: dict[str, int] = {}
    for volume, name in zip(manifest.frame["volume"], manifest.frame["mask"], strict=True):
        with Image.open(manifest.root / name) as mask:
            values = set(np.unique(np.asarray(mask)).tolist())
        assert values <= set(manifest.target.values)
        filled[volume] = filled.get(volume, 0) + (255 in values)
    assert sum(filled.values()) == 149
    assert filled == pd.read_csv(root / "patients.csv").set_index("patient")["slices_with_tumour"].to_dict()


def test_the_patients_whose_sequences_are_missing_are_found(slices: tuple[Path, Manifest]) -> None:
    root, _ = slices
    found = list(lgg.findings(root))
    equal = (
        "TCGA_FG_A60K_20040224",
        "TCGA_HT_7877_19980917",
        "TCGA_HT_8105_19980826",
        "TCGA_HT_A616_19991226",
    )
    assert [(each.kind, each.where[:9], each.count, each.examples) for each in found] == [
        ("missing", "channel 0", 4, equal),
        ("missing", "channel 2", 4, equal),
    ]


def test_the_pairs_are_those_that_dataset_json_lists(volumes: tuple[Path, Manifest]) -> None:
    root, manifest = volumes
    assert (len(manifest), manifest.frame["group"].nunique()) == (260, 260)
    table = pd.read_csv(root / "volumes.csv")
    pairs = table[(table["has_image"] == 1) & (table["has_label"] == 1)]["file"].str.removesuffix(".nii.gz")
    assert manifest.frame["case"].tolist() == sorted(pairs)


def test_the_three_unpaired_files_are_found(volumes: tuple[Path, Manifest]) -> None:
    root, manifest = volumes
    assert [(each.kind, each.what, each.examples) for each in hippocampus_msd.findings(root)] == [
        ("missing", "images without labels", ("imagesTr/hippocampus_118.nii.gz",)),
        (
            "missing",
            "labels without an image",
            ("labelsTr/hippocampus_010.nii.gz", "labelsTr/hippocampus_281.nii.gz"),
        ),
    ]
    assert sum(note.startswith("left out") for note in manifest.notes) == 2


def test_headers_and_labels_are_as_the_card_says(volumes: tuple[Path, Manifest]) -> None:
    import nibabel

    images: Any = nibabel
    _, manifest = volumes
    kinds: list[str] = []
    offsets: list[float] = []
    sizes: list[int] = []
    tops: list[float] = []
    for row in range(len(manifest)):
        image = images.load(manifest.file(row))
        labels = np.asarray(images.load(manifest.root / manifest.frame["mask"][row]).dataobj)
        assert image.shape == labels.shape
        assert np.array_equal(image.affine[:3, :3], np.eye(3))
        assert set(np.unique(labels).tolist()) == {0, 1, 2}
        front, rear = (np.argwhere(labels == value).mean(axis=0) for value in (1, 2))
        assert front[1] > rear[1]
        offsets.append(float(image.affine[0, 3]))
        kinds.append(image.get_data_dtype().name)
        sizes.append(int((labels > 0).sum()))
        tops.append(float(np.asarray(image.dataobj).max()))
    assert (kinds.count("float32"), kinds.count("uint8")) == (205, 55)
    assert (offsets.count(1.0), offsets.count(0.0)) == (241, 19)
    assert (min(sizes), max(sizes), float(np.median(sizes))) == (2382, 4401, 3326.5)
    assert (round(min(tops)), round(max(tops))) == (112, 1_704_295)
