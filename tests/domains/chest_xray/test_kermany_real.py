"""kermany on the 5,856 real radiographs: counts, the leak of the publisher's parts, the images that stand twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from real_data import real

from graftwork.common.cache.file_facts import Cache
from graftwork.common.data import domain
from graftwork.common.data.checks import Findings, check
from graftwork.common.data.checks.duplicates import NEAR
from graftwork.common.data.checks.file_inspection import look
from graftwork.common.data.manifest import Manifest
from graftwork.common.data.splits import split
from graftwork.common.errors import LeakError

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return domain.dataset("chest_xray/kermany").read(real("chest_xray/kermany_224"))


@pytest.fixture(scope="module")
def checked(
    manifest: Manifest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Findings, Findings, float, float]:
    """A first and a second check, and how long each took (s)."""
    folder = tmp_path_factory.mktemp("cache")
    results: list[Findings] = []
    seconds: list[float] = []
    for _ in range(2):
        begun = time.perf_counter()
        with Cache(folder) as cache:
            results.append(check(manifest, cache=cache, workers=2))
        seconds.append(time.perf_counter() - begun)
    return results[0], results[1], seconds[0], seconds[1]


def test_counts_are_those_of_the_publisher(manifest: Manifest) -> None:
    frame = manifest.frame
    counted = frame.groupby(["part", "target", "kind"])["group"].agg(["size", "nunique"])
    assert {key: tuple(row) for key, row in zip(counted.index, counted.to_numpy().tolist(), strict=True)} == {
        ("train", "normal", "normal"): (1341, 1211),
        ("train", "pneumonia", "bacteria"): (2530, 1353),
        ("train", "pneumonia", "virus"): (1345, 1090),
        ("validation", "normal", "normal"): (8, 8),
        ("validation", "pneumonia", "bacteria"): (8, 7),
        ("test", "normal", "normal"): (234, 225),
        ("test", "pneumonia", "bacteria"): (242, 77),
        ("test", "pneumonia", "virus"): (148, 126),
    }
    assert len(frame) == 5856


def test_the_card_says_what_is_there(manifest: Manifest) -> None:
    import yaml

    front = yaml.safe_load(domain.card("chest_xray/kermany").split("---\n")[1])["counts"]
    frame = manifest.frame
    assert front == {
        "cases": len(frame),
        "groups": frame["group"].nunique(),
        **{part: int((frame["part"] == part).sum()) for part in ("train", "validation", "test")},
        **{label: int((frame["target"] == label).sum()) for label in manifest.target.classes},
    }


def test_the_shared_ids_are_never_of_one_kind(manifest: Manifest) -> None:
    ill = manifest.frame[manifest.frame["target"] == "pneumonia"]
    kinds = ill.groupby(["group", "part"])["kind"].agg(set).unstack()
    both = kinds[kinds["train"].notna() & kinds["test"].notna()]
    assert len(both) == 170
    assert not any(a & b for a, b in zip(both["train"], both["test"], strict=True))
    assert (kinds["train"].dropna().map(len) == 2).sum() == 808


def test_the_check_finds_the_170_ids_and_the_30_sets(
    checked: tuple[Findings, Findings, float, float],
) -> None:
    found = {finding.kind: finding for finding in checked[0].findings if finding.severity == "error"}
    assert set(found) == {"group-across-parts", "duplicate"}
    assert (found["group-across-parts"].where, found["group-across-parts"].count) == ("train and test", 170)
    assert found["duplicate"].count == 30
    assert found["duplicate"].where == "62 files"
    assert "32 of the files are too many" in found["duplicate"].what
    assert "0 in several parts" in found["duplicate"].what
    assert (
        "NORMAL2-IM-0095-0001.jpeg = test/NORMAL/NORMAL2-IM-0096-0001.jpeg" in found["duplicate"].examples[0]
    )


def test_no_false_alarm_of_near_duplicates(checked: tuple[Findings, Findings, float, float]) -> None:
    warnings = [finding for finding in checked[0].findings if finding.severity == "warning"]
    assert [finding.kind for finding in warnings] == ["small-class", "small-class"]
    assert all("in validation" in finding.where for finding in warnings)


def test_a_radiograph_stored_anew_is_near_to_itself(manifest: Manifest, tmp_path: Path) -> None:
    ways: dict[str, Callable[[Image.Image], Image.Image]] = {
        "half the size": lambda own: own.resize((112, 112)),
        "less contrast": lambda own: own.point(lambda value: 40 + value * 0.7),
        "brighter": lambda own: own.point(lambda value: value * 1.3),
        "gamma": lambda own: own.point([int(255 * (value / 255) ** 0.7) for value in range(256)]),
    }
    apart: list[int] = []
    for row in range(0, len(manifest), 300):
        with Image.open(manifest.file(row)) as picture:
            own = picture.convert("L")
        first = int(look(str(manifest.file(row))).appearance, 16)
        for change in ways.values():
            change(own).save(tmp_path / "again.jpg", quality=50)
            apart.append((first ^ int(look(str(tmp_path / "again.jpg")).appearance, 16)).bit_count())
    assert len(apart) == 80
    assert max(apart) <= NEAR
    assert max(apart) > 6  # it is a property of the images, not of their size


def test_a_second_check_is_quick(checked: tuple[Findings, Findings, float, float]) -> None:
    first, second, before, after = checked
    assert (first.remembered, second.remembered) == (0, 5856)
    assert second.findings == first.findings
    assert after < before / 3  # 14 times on an idle machine


def test_the_publishers_split_is_refused_and_may_be_studied(manifest: Manifest) -> None:
    with pytest.raises(LeakError, match="170 of 3118 groups"):
        split(manifest, by="publisher", validation=0.15)
    made = split(manifest, by="publisher", validation=0.15, allow_leak=True)
    assert made.leaks == 170
    assert len(made.rows("test")) == 624


def test_grouped_splits_meet_their_shares(manifest: Manifest) -> None:
    for seed in range(3):
        made = split(manifest, seed=seed)
        assert made.leaks == 0
        for part, share in {"train": 0.65, "validation": 0.15, "test": 0.2}.items():
            rows = made.rows(part)
            assert len(rows) / len(manifest) == pytest.approx(share, abs=0.001)
            ill = (manifest.frame["target"].iloc[rows] == "pneumonia").mean()
            assert ill == pytest.approx(4273 / 5856, abs=0.002)
