"""The contract of DESIGN.md, held by every dataset and recipe of every domain that is registered here.

A new loader is found by its entry point and gets these tests for nothing; it runs on what its `synthesize` writes.
"""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from graftwork.common.data import domain
from graftwork.common.data.checks import KINDS, Finding, check
from graftwork.common.data.domain import LoadedDataset
from graftwork.common.data.manifest import PARTS, Manifest
from graftwork.common.data.masks import read_mask
from graftwork.common.data.splits import Split, split
from graftwork.common.errors import DatasetError, LeakError
from graftwork.common.recipe import load

DATASETS = domain.names("datasets")
RECIPES = domain.names("recipes")
CASES = 60
SECTIONS = (
    "What it shows",
    "How it was collected",
    "Labels",
    "Groups and leakage",
    "Known quirks",
    "Recommended split",
    "Limits",
    "Licence and citation",
    "How to obtain",
)
# what a set may have and be sound: parts of the publisher that share groups, of sixty cases small classes, and
# cases of which something is not known
EXPECTED = {"group-across-parts", "small-class"}
UNKNOWN = "without a known"


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder that each dataset's `synthesize` wrote, once for all tests; none of them changes it."""
    folders: dict[str, Path] = {}
    for name in DATASETS:
        folders[name] = tmp_path_factory.mktemp("synthetic") / "daten ü"
        domain.dataset(name).synthesize(folders[name], cases=CASES, seed=0)
    return folders


@pytest.fixture(params=DATASETS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def loaded(name: str) -> LoadedDataset:
    return domain.dataset(name)


@pytest.fixture
def root(name: str, synthetic: dict[str, Path]) -> Path:
    return synthetic[name]


@pytest.fixture
def manifest(loaded: LoadedDataset, root: Path) -> Manifest:
    return loaded.read(root)


def masks(manifest: Manifest) -> list[Path]:
    """The files of all masks: those that are a target, and those that lie beside other targets."""
    columns = [target.columns[0] for target in manifest.targets if target.kind == "segmentation"]
    columns += [name for name in manifest.covariates if name == "mask"]
    return [manifest.root / path for column in columns for path in manifest.frame[column].dropna()]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# That something is visited


def test_every_dataset_of_every_registered_domain_is_visited() -> None:
    registered = {point.name for point in entry_points(group="graftwork.domains")}
    here = Path(__file__).parent.parent / "domains"
    assert {path.name for path in here.iterdir() if (path / "__init__.py").is_file()} <= registered
    assert registered == set(domain.domains())
    visited = {f"{each}/{own}" for each in registered for own in domain.domains()[each].datasets}
    assert visited == set(DATASETS)
    assert len(DATASETS) >= 1
    assert {each.partition("/")[0] for each in DATASETS} == registered


def test_every_dataset_has_card_recipe_and_protocol(name: str, loaded: LoadedDataset) -> None:
    assert name in domain.names("cards")
    assert any(each.startswith(f"{name}_") for each in RECIPES)
    assert {loaded.protocol, *loaded.further} <= set(domain.names("protocols"))


@pytest.mark.parametrize("name_of_domain", sorted(domain.domains()))
def test_every_format_can_be_written(name_of_domain: str) -> None:
    for path in domain.domains()[name_of_domain].formats.values():
        module, _, function = path.partition(":")
        assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_loads_and_names_what_there_is(recipe: str) -> None:
    text, where = domain.recipe_text(recipe)
    read = load(text, where=where)
    assert read.dataset in DATASETS
    assert recipe.startswith(f"{read.dataset}_")
    assert not read.evaluation.protocol or domain.protocol(read.evaluation.protocol)


# What a dataset says of itself


def test_the_module_says_what_it_is(name: str, loaded: LoadedDataset) -> None:
    about = loaded.about
    assert about.name == name
    for said in (about.title, about.group, about.licence, about.citation):
        assert said.strip() and "\n" not in said


def test_the_protocols_judge_what_the_targets_are(loaded: LoadedDataset, manifest: Manifest) -> None:
    targets = {target.name: target for target in manifest.targets}
    judged = [domain.protocol(name) for name in (loaded.protocol, *loaded.further)]
    whole = manifest.unit if manifest.target.kind == "segmentation" else ""  # masks are judged by unit anyway
    assert judged[0].by in ("", whole) and judged[0].target in ("", manifest.target.name)
    for protocol in judged:
        target = targets[protocol.target or manifest.target.name]
        assert protocol.kind == target.kind
        assert protocol.primary in protocol.metrics
        assert protocol.by in ("", *manifest.covariates)
        assert protocol.rest in ("", *target.classes)
    assert {protocol.target or manifest.target.name for protocol in judged} == set(targets), (
        "one is never judged"
    )
    assert len({(protocol.target, protocol.by) for protocol in judged}) == len(judged)


def test_the_card_holds_what_cards_hold(name: str, loaded: LoadedDataset, manifest: Manifest) -> None:
    text = domain.card(name)
    match = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    assert match, "a card begins with front matter"
    front: dict[str, Any] = yaml.safe_load(match[1])
    about = loaded.about
    assert front["name"] == name
    assert front["title"] == about.title
    assert front["licence"] == about.licence
    assert front["citation"] == about.citation
    assert front["groups"] == about.group
    assert front["classes"] == list(about.target.classes)
    assert front["loader"] == loaded.module.__name__
    assert front["source"].startswith("https://")
    assert "doi" in front  # null where there is none
    assert isinstance(front["counts"]["cases"], int) and isinstance(front["counts"]["groups"], int)
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert [heading for heading in headings if heading in SECTIONS] == list(SECTIONS)
    for heading in SECTIONS:
        body = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
        assert len(body.split()) >= 10, f"{heading} says nothing"


def test_the_module_is_light(loaded: LoadedDataset) -> None:
    heavy = (
        "torch",
        "monai",
        "timm",
        "pandas",
        "numpy",
        "matplotlib",
        "pydicom",
        "nibabel",
        "albumentations",
        "PIL",
        "cv2",
    )
    program = (
        f"import sys, {loaded.module.__name__}, {loaded.domain.protocols}\n"
        f"print(*[name for name in {heavy!r} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


# Reading


def test_what_was_synthesized_is_read(loaded: LoadedDataset, manifest: Manifest) -> None:
    about = loaded.about
    assert 0.5 * CASES <= len(manifest) <= 1.5 * CASES
    assert (manifest.dataset, manifest.group) == (about.name, about.group)
    if about.target.classes:
        assert manifest.target == about.target
    else:  # only the tables tell the classes
        assert (manifest.target.name, manifest.target.kind) == (about.target.name, about.target.kind)
    assert all(manifest.file(row).is_file() for row in range(len(manifest)))
    assert manifest.frame["path"].is_unique


def test_every_mask_is_there_and_belongs_to_one_picture(manifest: Manifest) -> None:
    found = masks(manifest)
    assert all(path.is_file() for path in found)
    assert len(set(found)) == len(found)
    assert not set(found) & {manifest.file(row) for row in range(len(manifest))}
    if manifest.target.kind == "segmentation":
        assert found


def test_a_synthetic_set_never_pretends_to_be_data(manifest: Manifest, root: Path) -> None:
    assert any("synthetic" in note.lower() for note in manifest.notes)
    markers = [path for path in root.iterdir() if path.is_file() and path.suffix in (".txt", ".md")]
    assert any("synthetic" in path.read_text().lower() for path in markers)


def test_a_manifest_comes_back_from_its_file(manifest: Manifest, tmp_path: Path) -> None:
    manifest.save(tmp_path / "m.parquet")
    back = Manifest.load(tmp_path / "m.parquet", manifest.root)
    pd.testing.assert_frame_equal(back.frame, manifest.frame)
    for field in ("root", "dataset", "group", "targets", "covariates", "notes", "unit"):
        assert getattr(back, field) == getattr(manifest, field)


def test_groups_are_real(manifest: Manifest) -> None:
    sizes = manifest.frame["group"].value_counts()
    assert len(sizes) >= 10
    alone = (
        manifest.frame["group"] == manifest.frame["case"]
    ).all()  # the set tells nothing wider than the case
    assert alone or sizes.max() > 1, "a twin without a group of several cases tests no grouping"
    assert sizes.max() <= CASES / 3


def test_units_are_real(manifest: Manifest) -> None:
    if manifest.unit:
        sizes = manifest.frame[manifest.unit].value_counts()
        assert 1 < sizes.max() < len(manifest) / 3
        assert len(sizes) >= 10


def test_every_class_occurs(loaded: LoadedDataset, manifest: Manifest) -> None:
    for target in manifest.targets:
        least = 3 if target is manifest.target and loaded.about.target.classes else 0
        if target.kind == "multi-label":
            assert all({0.0, 1.0} <= set(manifest.frame[column].dropna()) for column in target.columns)
        elif target.kind == "segmentation":
            files = manifest.frame[target.columns[0]].dropna()
            held = [set(np.unique(read_mask(manifest.root / file, target.values))) for file in files]
            assert all(sum(k in each for each in held) >= 3 for k in range(len(target.classes)))
        else:
            counts = manifest.frame[target.columns[0]].value_counts()
            assert len(counts) >= 2
            assert all(counts.get(label, 0) >= least for label in target.classes)


def test_reading_needs_names_and_tables_but_no_pixel(
    loaded: LoadedDataset, manifest: Manifest, root: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(root, copy)
    for row in range(len(manifest)):
        (copy / manifest.file(row).relative_to(root)).write_bytes(b"")
    for file in masks(manifest):
        (copy / file.relative_to(root)).write_bytes(b"")
    pd.testing.assert_frame_equal(loaded.read(copy).frame, manifest.frame)
    pd.testing.assert_frame_equal(loaded.read(str(copy)).frame, manifest.frame)


def test_unrelated_files_are_ignored(
    loaded: LoadedDataset, manifest: Manifest, root: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(root, copy)
    for folder in [copy, *(path for path in copy.rglob("*") if path.is_dir())]:
        for stray in (".DS_Store", "Thumbs.db", "README", "notes.md", "desktop.ini", "._x.jpeg", "._x.png"):
            (folder / stray).write_bytes(b"\0\x05\x16\x07")
    (copy / "__MACOSX").mkdir()
    (copy / "__MACOSX" / "._x.jpeg").write_bytes(b"")
    (copy / "lost+found").mkdir()
    pd.testing.assert_frame_equal(loaded.read(copy).frame, manifest.frame)


def test_a_missing_root_is_named(loaded: LoadedDataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        loaded.read(tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in str(caught.value)


def test_an_empty_root_says_what_was_looked_for(loaded: LoadedDataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        loaded.read(tmp_path)
    said = str(caught.value)
    assert str(tmp_path) in said
    assert "looked for" in said


def test_a_file_is_no_root(loaded: LoadedDataset, tmp_path: Path) -> None:
    (tmp_path / "archive.zip").write_bytes(b"PK")
    with pytest.raises(DatasetError, match=r"archive\.zip"):
        loaded.read(tmp_path / "archive.zip")


# Synthesizing


def test_the_same_seed_writes_the_same_bytes(loaded: LoadedDataset, root: Path, tmp_path: Path) -> None:
    loaded.synthesize(tmp_path / "again", cases=CASES, seed=0)
    assert contents(tmp_path / "again") == contents(root)


def test_another_seed_writes_other_pictures(loaded: LoadedDataset, root: Path, tmp_path: Path) -> None:
    loaded.synthesize(tmp_path / "other", cases=CASES, seed=1)
    other = loaded.read(tmp_path / "other")
    mine = {content for path, content in contents(root).items() if Path(path).suffix != ".txt"}
    assert not any(other.file(row).read_bytes() in mine for row in range(len(other)))


def test_nothing_is_written_over_what_is_there(loaded: LoadedDataset, tmp_path: Path) -> None:
    (tmp_path / "precious.png").write_bytes(b"data")
    with pytest.raises(DatasetError, match=re.escape(str(tmp_path))):
        loaded.synthesize(tmp_path, cases=CASES)
    assert contents(tmp_path) == {"precious.png": b"data"}


def test_too_few_cases_are_refused(loaded: LoadedDataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cases"):
        loaded.synthesize(tmp_path / "few", cases=1)


# Splitting and checking


def test_a_grouped_split_does_not_leak(manifest: Manifest) -> None:
    for seed in range(3):
        made = split(manifest, validation=0.2, test=0.2, seed=seed)
        assert made.leaks == 0
        assert [pair.shared for pair in made.proof()] == [0, 0, 0]
        assert all(0.1 <= len(made.rows(part)) / len(manifest) <= 0.3 for part in ("validation", "test"))
        assert {len(set(made.parts[rows])) for rows in manifest.frame.groupby("group").groups.values()} == {1}


def test_cases_set_aside_in_known_groups_are_whole_units_or_refused_with_a_reason(manifest: Manifest) -> None:
    def asked() -> Split:
        return split(manifest, validation=0.2, test=0.2, seen=0.2)

    train = split(manifest, validation=0.2, test=0.2).train.frame
    if train.groupby("group")[manifest.unit or "case"].nunique().max() == 1:
        with pytest.raises(DatasetError, match="to learn from"):
            asked()
        return
    made = asked()
    assert len(made.seen) and made.leaks == 0
    assert made.shared_units.shared == 0
    assert set(made.seen.frame["group"]) <= set(made.train.frame["group"])


def test_the_publishers_split_is_built_or_refused_with_a_reason(manifest: Manifest) -> None:
    given = manifest.frame["part"]
    if given.isna().all():
        with pytest.raises(DatasetError, match="the publisher gives no"):
            split(manifest, by="publisher")
        return
    groups = [set(manifest.frame["group"][given == part]) for part in PARTS]
    if groups[2] & (groups[0] | groups[1]):
        with pytest.raises(LeakError, match="--allow-leak"):
            split(manifest, by="publisher", validation=0.15)
        made = split(manifest, by="publisher", validation=0.15, allow_leak=True)
        assert made.leaks > 0
    else:
        made = split(manifest, by="publisher", validation=0.15)
        assert made.leaks == 0
    assert ((made.parts == "test") == (given == "test").to_numpy()).all()


def test_the_check_finds_nothing_surprising(manifest: Manifest) -> None:
    found = check(manifest, workers=0)
    surprises = [finding for finding in found.findings if finding.kind not in EXPECTED]
    assert not [finding for finding in surprises if UNKNOWN not in finding.what]
    assert found.cases == len(manifest)


def test_what_the_layout_itself_tells_is_well_said_and_no_error(loaded: LoadedDataset, root: Path) -> None:
    """A twin has the quirks of its set, so `findings` may find them; but it is sound, so none is an error."""
    found = list(getattr(loaded.module, "findings", lambda root: ())(root))
    for finding in found:
        assert isinstance(finding, Finding)
        assert finding.kind in KINDS
        assert finding.severity == "warning"
        assert all(text.strip() and not text.endswith(".") for text in (finding.what, finding.remedy))
        assert finding.where and finding.count >= 1
