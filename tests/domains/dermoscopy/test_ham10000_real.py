"""ham10000 on the 7,193 real images at 200 x 150 px: counts, groups and findings; lesions are no findings."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from real_data import real

from graftwork.common.data import domain
from graftwork.common.data.manifest import Manifest
from graftwork.common.data.splits import split
from graftwork.common.verbs import check
from graftwork.domains.dermoscopy import ham10000

pytestmark = pytest.mark.real

COUNTS = {
    "nevus": 3883, "melanoma": 1113, "benign keratosis": 1099, "basal cell carcinoma": 514,
    "actinic keratosis": 327, "vascular lesion": 142, "dermatofibroma": 115,
}  # fmt: skip


@pytest.fixture(scope="module")
def root() -> Path:
    return real("dermoscopy/ham10000_200x150")


@pytest.fixture(scope="module")
def manifest(root: Path) -> Manifest:
    return domain.dataset("dermoscopy/ham10000").read(root)


def test_what_is_there_is_counted(manifest: Manifest) -> None:
    assert len(manifest) == 7193
    assert manifest.frame["group"].nunique() == 5181
    assert manifest.frame["target"].value_counts().to_dict() == COUNTS
    missing = manifest.frame[["age", "sex", "localization"]].isna().sum().to_dict()
    assert missing == {"age": 40, "sex": 41, "localization": 147}
    assert any(note.startswith("2822 rows") for note in manifest.notes)


def test_a_split_parts_lesions_and_keeps_the_shares_of_the_classes(manifest: Manifest) -> None:
    made = split(manifest, seed=0)
    assert made.leaks == 0
    shares = made.test.frame["target"].value_counts(normalize=True)
    for label, count in COUNTS.items():
        assert shares[label] == pytest.approx(count / 7193, abs=0.01)


def test_the_masks_are_known_to_the_loader(tmp_path: Path, root: Path) -> None:
    masks = real("dermoscopy/ham10000_masks_200x150")
    (tmp_path / "pictures").symlink_to(root)
    (tmp_path / "masks").symlink_to(masks)
    found = ham10000.read(tmp_path)
    assert len(found) == 7193 and found.frame["mask"].notna().all()


def test_the_check_finds_what_is_true_and_no_lesion(root: Path) -> None:
    found = check("dermoscopy/ham10000", root)
    kinds = {each.kind: each for each in found.findings}
    assert kinds["missing"].count == 2822
    assert "2289 lesions" in kinds["missing"].what
    assert kinds["duplicate"].count == 1
    assert "ISIC_0024777" in " ".join(kinds["duplicate"].examples)
    assert "group-across-parts" not in kinds


def test_a_copy_beside_the_set_is_found(tmp_path: Path, root: Path) -> None:
    (tmp_path / "a").symlink_to(root)
    shutil.copytree(root / "images", tmp_path / "b")
    (found,) = [each for each in ham10000.findings(tmp_path) if each.kind == "copy"]
    assert found.count == 7193
