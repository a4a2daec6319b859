"""The study of the README runs on synthetic data: a table, a torch dataset, MONAI dictionaries."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from graftwork.common.verbs import synthesize

ROOT = Path(__file__).resolve().parents[2]
SYNTHETIC = {
    "HAM10000/": "dermoscopy/ham10000",
    "Task04_Hippocampus/": "brain_mri/hippocampus_msd",
    "kaggle_3m/": "brain_mri/lgg",
    "cct/": "camera_trap/coco_camera_traps",
    "chest_xray/": "chest_xray/kermany",
}
STUDIES = [
    block
    for block in re.findall(
        r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    if "import split" in block or "split," in block
]


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The variables after the study, with synthetic data instead of real data."""
    place = tmp_path_factory.mktemp("synthetic")
    left: dict[str, Any] = {}
    for block in STUDIES:
        for folder, dataset in SYNTHETIC.items():
            if f'"{folder}"' in block:
                if not (place / folder).exists():
                    synthesize(dataset, place / folder, cases=60)
                block = block.replace(f'"{folder}"', repr(str(place / folder)))
        exec(compile(block, "README.md", "exec"), left)
    return left


def test_a_study_has_ten_lines(studied: dict[str, Any]) -> None:
    assert STUDIES
    for block in STUDIES:
        assert len([line for line in block.splitlines() if line.strip()]) <= 12


def test_the_table_is_a_pandas_table(studied: dict[str, Any]) -> None:
    table = studied["table"]
    assert isinstance(table, pd.DataFrame)
    assert {"case", "path", "group", "target", "age", "sex"} <= set(table.columns)


def test_the_images_work_with_a_torch_loader(studied: dict[str, Any]) -> None:
    images, targets = next(iter(torch.utils.data.DataLoader(studied["images"], batch_size=4)))
    assert images.shape == (4, 3, 224, 224) and images.dtype == torch.float32
    assert targets.shape == (4,) and targets.min() >= 0


def test_the_volumes_work_with_monai(studied: dict[str, Any]) -> None:
    from monai.data import Dataset
    from monai.transforms import Compose, LoadImaged

    keys = ["image", "label"]
    loaded = Dataset(studied["volumes"], Compose([LoadImaged(keys, ensure_channel_first=True)]))[0]
    assert loaded["image"].shape == loaded["label"].shape and loaded["image"].ndim == 4
    assert set(loaded["label"].unique().tolist()) <= {0, 1, 2}
    assert {"case", "group"} <= set(studied["volumes"][0])
