"""All commands and Python blocks of README and docs run, page by page and in order, in a separate folder.

Small synthetic data in the same layout replace the data of the reader, and runs are shortened. `NOT_RUN` lists the
lines that are not run, with the reason.
"""

from __future__ import annotations

import json
import logging
import re
import shlex
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from graftwork.cli import main
from graftwork.common.data.domain import names, protocol, recipe_text
from graftwork.common.recipe import load
from graftwork.common.verbs import run, synthesize

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Pages that another test runs: two make a package, one is generated from `--help`.
ELSEWHERE = {
    "docs/reference/command-line.md": "test_cli.py",
    "docs/how-to/add-a-dataset.md": "test_docs.py",
    "docs/how-to/add-a-domain.md": "data/test_outside_domain.py",
}
# The beginnings of lines that are no command of graftwork, each with the reason why it is not run.
NOT_RUN = {
    "make ": "`make demo` and `make test` are run by .ci/run; a benchmark is no test",
    "pip ": "installs from the network; .ci/run builds the wheel and installs it",
    "python3.11 -m venv": "makes an environment; .ci/run does",
    ". ": "activates an environment",
    "torchrun ": "tests/training/test_distributed.py starts several processes",
    "git ": "fetches from the network",
}
CASES = {
    "brain_mri/hippocampus_msd": 12,
    "brain_mri/lgg": 20,
    "camera_trap/own": 80,
    "dermoscopy/ham10000": 100,
}
# Verbs that exit with 1 as the page says: `check` has a finding, `doctor` has advice.
FOUND = {"check": {0, 1}, "doctor": {0, 1}}


def page_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def steps(path: Path) -> Iterator[tuple[str, str]]:
    """("command", line) and ("python", block) of a page, in order, including the commands of job scripts."""
    for language, body in FENCE.findall(path.read_text()):
        if language == "python":
            yield "python", textwrap.dedent(body)
        elif language in ("", "bash", "sh", "console"):
            script = body.startswith("#!")
            for line in body.replace("\\\n", " ").splitlines():
                line = re.sub(r"\s+#.*$", "", line.strip()).removeprefix("$ ")
                if line.startswith("graftwork "):
                    yield "command", line.removesuffix(" &")
                elif line and not script and not line.startswith("#"):
                    yield "other", line


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The synthetic set of a dataset, made once."""
    place = tmp_path_factory.mktemp("sets")

    def made(dataset: str) -> Path:
        folder = place / dataset
        if not folder.exists():
            synthesize(dataset, folder, cases=CASES.get(dataset, 60))
        return folder

    return made


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, sets: Callable[[str], Path]) -> Callable[[str], Path]:
    """A finished run of a recipe, made once."""
    place = tmp_path_factory.mktemp("runs")
    done: dict[str, Path] = {}

    def made(recipe: str) -> Path:
        if recipe not in done:
            text, where = recipe_text(recipe)
            dataset = load(text, where=where).dataset
            done[recipe] = run(recipe, data=sets(dataset), out=place, overrides=shortened(recipe, [])).folder
        return done[recipe]

    return made


def shortened(recipe: str, words: list[str]) -> list[str]:
    """Overrides that make a run short. Shorter values on the page are kept."""
    text, where = recipe_text(recipe)
    asked = load(text, where=where)
    most = {"evaluation.bootstrap": 20, "training.workers": 0}
    if asked.backbone.name != "unet3d":
        most["image.size"] = 32
    if not asked.strategy.regularisation_strengths:
        most["training.epochs"] = 1
    given = dict(word.split("=", 1) for word in words if "=" in word and not word.startswith("-"))
    return [f"{key}={value}" for key, value in most.items() if float(given.get(key, "inf")) > value]


class Page:
    """A folder in which the steps of one page run."""

    def __init__(
        self, folder: Path, sets: Callable[[str], Path], runs: Callable[[str], Path], read_output: Any
    ) -> None:
        self.folder, self.sets, self.runs, self.read_output = folder, sets, runs, read_output
        self.names: dict[str, Any] = {}
        self.made: dict[str, Path] = {}  # dataset to the folder in which the page synthesized it

    def python(self, block: str) -> None:
        """A block; the data that it names lie in the folder."""
        for dataset in names("datasets"):
            module = dataset.rpartition("/")[2]
            for folder in re.findall(rf'{module}\.read\("([^"]+)"\)', block):
                self._link(folder.rstrip("/"), self.sets(dataset))
        if '"RUN' in block:
            self._link("RUN", self.runs("chest_xray/kermany_linear-probe"))
            photos(self.folder)
        if "radiograph.dcm" in block:
            radiograph(self.folder / "radiograph.dcm")
        exec(compile(block, "page", "exec"), self.names)

    def command(self, line: str) -> None:
        words = shlex.split(line)[1:]
        quoted = set(re.findall(r"'([^']+)'", line))
        words = [
            each
            for word in words
            for each in (sorted(map(str, Path().glob(word))) if "*" in word and word not in quoted else [])
            or [word]
        ]
        recipe = next((word for word in words if word in names("recipes")), "")
        dataset = next((word for word in words if word in names("datasets")), "")
        if recipe:
            text, where = recipe_text(recipe)
            dataset = load(text, where=where).dataset
        own = next((word for word in words if word.endswith(".toml") and Path(word).exists()), "")
        if own:
            recipe = next(name for name in names("recipes") if name.endswith(f"/{Path(own).stem}"))
        if words[0] == "synthesize":
            self.made[dataset] = Path(words[2])
            words = [str(CASES.get(dataset, 60)) if word == "400" else word for word in words]
        if "--data" in words:
            place = words.index("--data") + 1
            if not Path(words[place]).exists():
                words[place] = str(self.made.get(dataset) or self.sets(dataset))
        words = self._prepared(words)
        if words[0] in ("run", "find-lr", "select") and recipe:
            short = shortened(recipe, words)
            keys = {word.partition("=")[0] for word in short}
            words = [word for word in words if word.partition("=")[0] not in keys] + short
        with pytest.raises(SystemExit) as ended:
            main(words)
        output = self.read_output()
        allowed = FOUND.get(words[0], {0})
        assert ended.value.code in allowed, (
            f"{line}\nas {words}\nexit {ended.value.code}\n{output.out}\n{output.err}"
        )

    def _prepared(self, words: list[str]) -> list[str]:
        """The words with real values for RUN, $VARIABLES and similar."""
        kind = (
            "brain_mri/hippocampus_msd_scratch" if words[-1] == "masks" else "chest_xray/kermany_linear-probe"
        )
        if "megadetector" in words:
            kind = "camera_trap/own_linear-probe"
        known = {
            "RUN": lambda: self.runs(kind),
            "$RUN": lambda: self.runs(kind),
            "runs/chest_xray/kermany_full/0-1a2b3c4d": lambda: self.runs("chest_xray/kermany_full"),
            "$DATA": lambda: self.sets("chest_xray/kermany"),
            "$OUT": lambda: self.folder / "out",
            "$PHOTOS": lambda: photos(self.folder),
            "$SLURM_ARRAY_TASK_ID/8": lambda: "1/8",
        }
        found = [str(known[word]()) if word in known else word for word in words]
        if words[0] in ("predict", "regrid"):
            photos(self.folder)
            volumes(self.folder, self.sets("brain_mri/hippocampus_msd"))
            found = [str(self.folder / "photos") if word == "FOLDER" else word for word in found]
        if words[0] == "merge":  # what the other jobs of the array write
            self._shards(words[1])
        if "--protocol" in words or "readers" in words:
            found = external_predictions(self.folder, found)
        return found

    def _shards(self, table: str) -> None:
        about = next(Path().glob(f"{table}.shard-*-of-8.parquet.about.json"), None)
        assert about is not None, f"no command of the page wrote a shard of {table}"
        source = json.loads(about.read_text())
        for number in range(1, 9):
            if not list(Path().glob(f"{table}.shard-{number}-of-8.parquet")):
                words = ["predict", source["run"], source["folder"], "--out", table, "--shard", f"{number}/8"]
                with pytest.raises(SystemExit) as ended:
                    main(words)
                assert ended.value.code == 0, self.read_output().err

    def _link(self, name: str, target: Path) -> None:
        if not (self.folder / name).exists():
            (self.folder / name).symlink_to(target, target_is_directory=True)


# Files that readers of the pages have ----------------------------------------------------------------------


def photos(folder: Path) -> Path:
    for name in ("photos/a.png", "photos/b/c.png", "photos/thumbnails/t.png", "cards/1/DCIM/100/I1.JPG"):
        place = folder / name
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(len(name)).integers(0, 256, (40, 40), np.uint8)
            Image.fromarray(noise).save(place)
    (folder / "list.csv").write_text("path\na.png\nb/c.png\n")
    return folder / "photos"


def volumes(folder: Path, data: Path) -> None:
    if (folder / "volumes").exists():
        return
    files = [
        each.parent.parent / "imagesTr" / each.name for each in sorted(data.rglob("labelsTr/[!.]*.nii.gz"))
    ]
    files = [each for each in files if each.exists()][:2]
    for name in ("volumes", "new_volumes"):
        (folder / name).mkdir()
        for file in files:
            (folder / name / file.name).symlink_to(file)
    (folder / "image.nii.gz").symlink_to(files[0])
    (folder / "mask.nii.gz").symlink_to(files[0].parent.parent / "labelsTr" / files[0].name)


def radiograph(place: Path) -> None:
    from written_pictures import GREY, dicom

    dicom(place, GREY)


def external_predictions(folder: Path, words: list[str]) -> list[str]:
    """Make the tables, boxes and masks for a command of evaluate, compare or calibrate."""
    if "readers" in words:
        readings(folder / "readings.csv")
        return words
    convention = protocol(words[words.index("--protocol") + 1])
    if convention.kind == "segmentation":
        truth, predicted = masks(folder)
        places = {words.index("--truth") + 1: truth, words.index("--predicted") + 1: predicted}
        return [str(places.get(number, word)) for number, word in enumerate(words)]
    if convention.kind == "boxes":
        boxes(folder)
        return words
    files = [word for word in words if re.fullmatch(r"(preds|a|b|local|rest)\.csv", word)]
    group = words[words.index("--group") + 1] if "--group" in words else "patient_id"
    for number, name in enumerate(files):
        place = ("local.csv", "rest.csv").index(name) if name in ("local.csv", "rest.csv") else 0
        prediction_table(
            folder, name, convention, group, first=100 * place, seed=number, apart="--truth" in words
        )
    return words


def prediction_table(
    folder: Path, name: str, convention: Any, group: str, *, first: int, seed: int, apart: bool
) -> None:
    """60 cases of 30 groups with scores of the classes, and labels in the same table or in the table of NIH."""
    classes, count = list(convention.classes), 60
    truth = np.random.default_rng(1).integers(0, 2, (count, len(classes))).astype(float)
    table = pd.DataFrame({"case": [f"{first + n:08}_000.png" for n in range(count)]})
    if convention.kind == "multi-label":
        scores = 0.4 * truth + 0.6 * np.random.default_rng(seed + 2).random(truth.shape)
        labels = {f"target_{each}": truth[:, k] for k, each in enumerate(classes)}
        scored = {f"score_{each}": scores[:, k] for k, each in enumerate(classes)}
    else:
        chosen = np.arange(count) % len(classes)
        scores = np.random.default_rng(seed + 2).random(truth.shape) + np.eye(len(classes))[chosen]
        scores /= scores.sum(axis=1, keepdims=True)
        labels = {"target": [classes[k] for k in chosen]}
        scored = {f"score_{each}": scores[:, k] for k, each in enumerate(classes)}
        if len(classes) == 2:
            del scored[f"score_{classes[0]}"]
    about = {
        group: [f"P{first + n // 2}" for n in range(count)],
        "Patient Gender": ["F" if n % 4 < 2 else "M" for n in range(count)],
        "View Position": ["PA" if n % 3 else "AP" for n in range(count)],
    }
    if apart:
        found = [
            "|".join(each for each, there in zip(classes, row, strict=True) if there) or "No Finding"
            for row in truth
        ]
        listed = pd.DataFrame({"Image Index": table["case"], "Finding Labels": found, **about})
        listed.to_csv(folder / "Data_Entry_2017_v2020.csv", index=False)
        table.assign(**scored).to_csv(folder / name, index=False)
    else:
        table.assign(**labels, **scored, **about).to_csv(folder / name, index=False)


def readings(place: Path) -> None:
    draw = np.random.default_rng(0)
    truth = draw.random(80) < 0.5
    readers = {
        name: np.where(draw.random(80) < 0.85, truth, ~truth).astype(int)
        for name in ("network", *(f"r{k}" for k in range(1, 9)))
    }
    table = pd.DataFrame(
        {"case": [f"c{n}" for n in range(80)], "patient_id": [f"P{n // 2}" for n in range(80)], **readers}
    )
    table.to_csv(place, index=False)
    histology = pd.DataFrame({"case": table["case"], "malignant": np.where(truth, "yes", "no")})
    histology.to_csv(place.with_name("histology.csv"), index=False)


def masks(folder: Path) -> tuple[Path, Path]:
    for name, shift in (("truth", 0), ("predicted", 1)):
        (folder / name).mkdir(exist_ok=True)
        for number in range(3):
            mask = np.zeros((16, 16, 12), np.uint8)
            mask[3 + shift : 9 + shift, 3:9, 3:9] = 2
            mask[4:7, 4:7, 4:7] = 1
            mask[5:6, 5:6, 5:6] = 3
            nibabel.save(nibabel.Nifti1Image(mask, np.eye(4)), folder / name / f"case{number}.nii.gz")
    return folder / "truth", folder / "predicted"


def boxes(folder: Path) -> None:
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 100, "height": 100} for n in range(6)]
    notes = [
        {"id": n + 1, "image_id": n, "category_id": 1, "bbox": [10, 10, 30, 30], "area": 900, "iscrowd": 0}
        for n in range(6)
    ]
    truth = {"images": images, "annotations": notes, "categories": [{"id": 1, "name": "animal"}]}
    (folder / "coco.json").write_text(json.dumps(truth))
    found = [{"image_id": n, "category_id": 1, "bbox": [12, 10, 30, 30], "score": 0.9} for n in range(6)]
    (folder / "detections.json").write_text(json.dumps(found))


# Pages ------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(900)  # README.md trains: it passes 300 s on a loaded machine
@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in PAGES if page_id(path) not in ELSEWHERE], ids=page_id)
def test_every_command_of_a_page_runs(
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    sets: Callable[[str], Path],
    runs: Callable[[str], Path],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRAFTWORK_CACHE", str(tmp_path / ".cache"))
    logging.getLogger("graftwork").handlers.clear()
    page = Page(tmp_path, sets, runs, capsys.readouterr)
    for kind, text in steps(path):
        if kind == "python":
            page.python(text)
        elif kind == "command":
            page.command(text)
        else:
            assert text.startswith(tuple(NOT_RUN)), f"no rule says what to do with the line {text!r}"


def test_steps_are_found() -> None:
    found = [step for path in PAGES for step in steps(path)]
    assert sum(kind == "command" for kind, _ in found) > 60, "the tests above would pass by finding nothing"
    assert sum(kind == "python" for kind, _ in found) >= 5
    for beginning in NOT_RUN:
        if beginning != "git ":
            assert any(text.startswith(beginning) for kind, text in found if kind == "other"), beginning
