"""Every file that a verb reads, damaged: a result or an error that says what is wrong, never a fault of ours or a hang.

Where a checksum protects the file, the result is that of the undamaged one. `GRAFTWORK_DAMAGES_VERBS` is the number of
cases of each kind (default: a few), `GRAFTWORK_DAMAGES_SEED` another draw.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from damages import damaged
from small_predictions import pictures
from small_runs import recipe_file, small_weights, synthetic_data

from graftwork.common import verbs
from graftwork.common.data import domain
from graftwork.common.data.splits import Split, split
from graftwork.common.errors import GraftworkError, as_user_error
from graftwork.common.files.checksums import CHECKSUMS

CASES = int(os.environ.get("GRAFTWORK_DAMAGES_VERBS", "0"))
SEED = os.environ.get("GRAFTWORK_DAMAGES_SEED", "verbs")
SECONDS = 20  # of a case, on a machine that does other things too


@dataclass
class Kind:
    """Files that are damaged one at a time, in a folder, and what reads them.

    Attributes:
        folder: holds the files, and everything that is as it was before each case.
        names: of the files below it. work: what reads them, of the folder.
        usual: cases by default. protected: a result is that of the undamaged files.
    """

    folder: Path
    names: tuple[str, ...]
    work: Callable[[Path], Any]
    usual: int
    protected: bool = False


def predictions() -> pd.DataFrame:
    rows = np.random.default_rng(1).random(24).round(3)
    return pd.DataFrame(
        {
            "case": [f"c{n}" for n in range(24)], "group": [f"g{n // 2}" for n in range(24)],
            "part": ["test"] * 16 + ["validation"] * 8, "target": [n % 2 for n in range(24)],
            "score_pneumonia": rows, "sex": ["f", "m", "m"] * 8,
        }
    )  # fmt: skip


def of_tables(folder: Path) -> dict[str, Kind]:
    frame, kinds = predictions(), {}
    for ending in ("csv", "xlsx", "parquet", "csv.gz"):
        place = folder / ending
        place.mkdir()
        name = f"table.{ending}"
        if ending == "xlsx":
            frame.to_excel(place / name, index=False)
        elif ending == "parquet":
            frame.to_parquet(place / name)
        else:
            frame.to_csv(place / name, index=False)

        def work(here: Path, name: str = name) -> str:
            return repr(verbs.evaluate_file(here / name, "kermany", by="sex", bootstrap=5).evaluation.results)

        kinds[f"evaluate {ending}"] = Kind(place, (name,), work, 6)
    place = folder / "pair"
    place.mkdir()
    for name in ("a.csv", "b.csv"):
        frame.to_csv(place / name, index=False)
    kinds["compare"] = Kind(
        place,
        ("a.csv", "b.csv"),
        lambda here: verbs.compare(here / "a.csv", here / "b.csv", "kermany", bootstrap=5),
        6,
    )
    kinds["calibrate"] = Kind(
        place, ("a.csv",), lambda here: verbs.calibrate(here / "a.csv", "kermany", here / "o.json"), 4
    )
    place = folder / "calibration"
    place.mkdir()
    frame.to_csv(place / "a.csv", index=False)
    for method in ("temperature", "isotonic"):
        verbs.calibrate(place / "a.csv", "kermany", place / f"{method}.json", method=method)  # type: ignore[arg-type]

    def calibrated(here: Path) -> str:
        return repr(
            [
                verbs.evaluate_file(
                    here / "a.csv", "kermany", calibration=here / f"{method}.json", bootstrap=5
                ).evaluation.results
                for method in ("temperature", "isotonic")
            ]
        )

    kinds["calibration"] = Kind(place, ("temperature.json", "isotonic.json"), calibrated, 12, True)
    place = folder / "about"
    place.mkdir()
    frame.to_csv(place / "a.csv", index=False)
    (place / "a.csv.about.json").write_text(
        json.dumps({"written_as": "csv", "sha256": ["0" * 64], "synthetic": False})
    )
    kinds["about of a table"] = Kind(
        place,
        ("a.csv.about.json",),
        lambda here: verbs.evaluate_file(here / "a.csv", "kermany", bootstrap=5),
        8,
    )
    place = folder / "truth"
    place.mkdir()
    frame.drop(columns="target").to_csv(place / "a.csv", index=False)
    frame[["case", "target"]].to_csv(place / "truth.csv", index=False)
    frame[["case"]].assign(one=range(24), two=range(24)).to_csv(place / "features.csv", index=False)
    kinds["truth, features"] = Kind(
        place,
        ("truth.csv", "features.csv"),
        lambda here: verbs.evaluate_file(
            here / "a.csv",
            "kermany",
            truth=here / "truth.csv",
            by="sex",
            features=here / "features.csv",
            bootstrap=5,
        ),
        8,
    )
    (folder / "readings").mkdir()
    frame.rename(columns={"score_pneumonia": "model"}).assign(
        a=frame["target"], b=1 - frame["target"]
    ).to_csv(folder / "readings" / "a.csv", index=False)
    kinds["readers"] = Kind(
        folder / "readings",
        ("a.csv",),
        lambda here: verbs.evaluate_readers(here / "a.csv", "model", "a,b", threshold=0.5, bootstrap=5),
        6,
    )
    return kinds


def of_boxes(folder: Path) -> dict[str, Kind]:
    boxes = folder / "boxes"
    boxes.mkdir()
    (boxes / "truth.json").write_text(
        json.dumps(
            {
                "images": [{"id": n, "file_name": f"{n}.jpg", "width": 9, "height": 9} for n in range(4)],
                "annotations": [
                    {"id": n, "image_id": n, "category_id": 1, "bbox": [1, 1, 4, 4], "area": 16, "iscrowd": 0}
                    for n in range(4)
                ],
                "categories": [{"id": 1, "name": "animal"}],
            }
        )
    )
    (boxes / "found.json").write_text(
        json.dumps(
            [{"image_id": n, "category_id": 1, "bbox": [1, 1, 4, 3.5], "score": 0.5} for n in range(4)]
        )
    )
    (boxes / "groups.csv").write_text("case,group\n" + "".join(f"{n}.jpg,{n}\n" for n in range(4)))
    (boxes / "megadetector.json").write_text(
        json.dumps(
            {
                "info": {"format_version": "1.4"},
                "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
                "images": [
                    {
                        "file": f"{n}.jpg",
                        "detections": [{"category": "1", "conf": 0.9, "bbox": [0.1, 0.1, 0.5, 0.4]}],
                    }
                    for n in range(4)
                ],
            }
        )
    )
    (boxes / "truth.csv").write_text(
        "case,target,group\n" + "".join(f"{n}.jpg,{n % 2},{n}\n" for n in range(4))
    )

    def coco(here: Path) -> Any:
        return verbs.evaluate_boxes(
            here / "truth.json", here / "found.json", "coco-boxes", groups=here / "groups.csv", bootstrap=5
        )

    def detector(here: Path) -> Any:
        found = verbs.evaluate_boxes(
            here / "truth.json", here / "megadetector.json", "coco-boxes", bootstrap=5
        )
        return found, verbs.evaluate_file(
            here / "megadetector.json", "empty", truth=here / "truth.csv", group="group", bootstrap=5
        )

    return {
        "boxes": Kind(boxes, ("truth.json", "found.json", "groups.csv"), coco, 15),
        "MegaDetector": Kind(boxes, ("megadetector.json", "truth.csv"), detector, 15),
    }


def of_datasets(folder: Path) -> dict[str, Kind]:
    """The tables and descriptions of each dataset that can be synthesised."""
    kinds = {}
    for name in domain.names("datasets"):
        place = folder / name.replace("/", " ")
        try:
            verbs.synthesize(name, place, cases=42, seed=1)
        except GraftworkError:
            continue  # cannot be made up
        tables = [
            str(each.relative_to(place))
            for each in sorted(place.rglob("*"))
            if each.suffix in (".csv", ".json", ".toml", ".xlsx", ".tab", ".tsv")
        ]
        if tables:

            def read(here: Path, name: str = name) -> Any:
                loaded = domain.dataset(name)
                return len(loaded.read(here)), loaded.findings(here)

            kinds[name] = Kind(place, tuple(tables), read, 12)
    return kinds


def of_package(folder: Path) -> dict[str, Kind]:
    """A Camtrap DP package, and a table of one's own with its columns.toml."""
    package = folder / "package"
    pictures(package / "media", 6)
    names = [str(each.relative_to(package)) for each in sorted((package / "media").rglob("*.png"))]
    (package / "dialect.json").write_text('{"delimiter": ","}')
    resources = [
        {"name": name, "path": f"{name}.csv", "profile": "tabular-data-resource", "dialect": "dialect.json"}
        for name in ("deployments", "media", "observations")
    ]
    (package / "datapackage.json").write_text(json.dumps({"profile": "camtrap-dp", "resources": resources}))
    (package / "deployments.csv").write_text(
        "deploymentID,locationID,deploymentStart,deploymentEnd\n"
        + "".join(f"d{n},l{n},2020-01-01T00:00:00Z,2020-12-31T00:00:00Z\n" for n in range(3))
    )
    (package / "media.csv").write_text(
        "mediaID,deploymentID,timestamp,filePath,fileMediatype\n"
        + "".join(
            f"m{n},d{n % 3},2020-05-0{n + 1}T12:00:00Z,{file},image/png\n" for n, file in enumerate(names)
        )
    )
    (package / "observations.csv").write_text(
        "observationID,deploymentID,mediaID,eventID,observationLevel,observationType,scientificName,count\n"
        + "".join(f"o{n},d{n % 3},m{n},,media,animal,Vulpes {'ab'[n % 2]},1\n" for n in range(6))
    )
    own = folder / "own"
    pictures(own / "media", 6)
    (own / "table.csv").write_text(
        "path,what,where\n" + "".join(f"{file},{'ab'[n % 2]},s{n % 3}\n" for n, file in enumerate(names))
    )
    (own / "columns.toml").write_text('table = "table.csv"\npath = "path"\nlabel = "what"\ngroup = "where"\n')

    def read(here: Path) -> Any:
        return domain.dataset("camera_trap/own").read(here).frame

    listed = ("datapackage.json", "dialect.json", "deployments.csv", "media.csv", "observations.csv")
    return {
        "package": Kind(package, listed, read, 15),
        "own table": Kind(own, ("table.csv", "columns.toml"), read, 10),
    }


def of_weights(folder: Path) -> dict[str, Kind]:
    from graftwork.common.networks.backbones import create_backbone
    from graftwork.common.networks.weights import load_weights

    place = folder / "weights"
    weights = small_weights(place)
    card = weights.with_suffix(".json").name

    def load(here: Path, given: bool = True) -> Any:
        chosen: dict[str, Any] = {} if given else {"mean": (0.5,) * 3, "std": (0.5,) * 3}
        found = load_weights("test_efficientnet", sources=("file",), file=str(here / weights.name), **chosen)
        create_backbone("test_efficientnet", weights=found, seed=0)
        return [float(each.double().sum()) for each in found.tensors.values()]

    bare = folder / "bare"
    bare.mkdir()
    shutil.copy(weights, bare)
    packed = folder / "packed"
    packed.mkdir()
    os.environ["GRAFTWORK_WEIGHTS"] = str(place)
    verbs.pack_weights(packed / "a.tar", "test_efficientnet.random")
    verbs.pack_weights(packed / "a.zip", "test_efficientnet.random")
    with zipfile.ZipFile(packed / "a.zip") as archive, zipfile.ZipFile(packed / "b.zip", "w", 8) as other:
        for name in archive.namelist():
            other.writestr(name, archive.read(name))

    def unpack(here: Path) -> None:
        for name in ("a.tar", "a.zip", "b.zip"):
            os.environ["GRAFTWORK_WEIGHTS"] = str(here / "into")
            verbs.unpack_weights(here / name)

    return {
        "weights": Kind(place, (weights.name,), load, 8, True),
        "card of weights": Kind(place, (card,), load, 12),
        "weights without a card": Kind(bare, (weights.name,), lambda here: load(here, False), 8),
        "packed weights": Kind(packed, ("a.tar", "a.zip", "b.zip"), unpack, 9),
    }


def of_recipes(folder: Path, data: Path) -> dict[str, Kind]:
    from graftwork.common.catalogue import find_recipe

    place = folder / "recipe"
    recipe_file(place)
    manifest = domain.dataset("chest_xray/kermany").read(data)
    saved = folder / "split"
    saved.mkdir()
    split(manifest, by="group", seed=1).save(saved / "split.csv")
    manifest.save(saved / "manifest.parquet")

    def load(here: Path) -> Any:
        again = type(manifest).load(here / "manifest.parquet", data)
        return Split.load(here / "split.csv", again, by="group", seed=1).parts.tolist()

    return {
        "recipe": Kind(place, ("small.toml",), lambda here: find_recipe(here / "small.toml")[1], 30),
        "split": Kind(saved, ("split.csv", "manifest.parquet"), load, 20),
    }


def of_runs(folder: Path, data: Path) -> dict[str, Kind]:
    """A complete run, one that was stopped, lists of files for it, and the checks of its data."""

    class Stop(BaseException):
        pass

    def stop(what: str, done: int, total: int) -> None:
        if what.startswith("epoch 2 of"):
            raise Stop

    few = ["training.epochs=2", "evaluation.bootstrap=10", "image.size=16"]
    recipe = recipe_file(folder / "recipe of a run")
    whole = folder / "whole"
    whole.mkdir()
    shutil.move(verbs.run(recipe, data, folder / "runs", few).folder, whole / "run")
    with pytest.raises(Stop):
        verbs.run(recipe, data, folder / "stopped", few, progress=stop)
    (half,) = (folder / "stopped" / "small").iterdir()
    stopped = folder / "half"
    stopped.mkdir()
    shutil.move(half, stopped / "run")
    begun = tuple(
        f"run/{name}"
        for name in (
            *(
                "recipe.toml",
                "manifest.parquet",
                "split.csv",
                "files.parquet",
                "environment.json",
                "network.json",
            ),
            *("frozen.json", "log.jsonl", "ledger.csv", CHECKSUMS),
            *(
                f"last/{name}"
                for name in ("model.safetensors", "optimizer.safetensors", "state.json", CHECKSUMS)
            ),
        )
    )
    done = tuple(f"run/{name}" for name in ("predictions.parquet", "metrics.json", "mistakes/index.json"))

    def resume(here: Path) -> Any:
        found = verbs.resume(here / "run")
        return repr(found.evaluation.results), (here / "run" / "best" / "model.safetensors").read_bytes()

    def report(here: Path) -> bytes:
        return verbs.report(here / "run", here / "page.html").read_bytes()

    listed = folder / "listed"
    listed.mkdir()
    names = sorted(str(each) for each in data.rglob("*.jpeg"))[:2]
    (listed / "list.csv").write_text("file\n" + "".join(f"{name}\n" for name in names))
    (listed / "list.txt").write_text("".join(f"{name}\n" for name in names))

    def predict(here: Path) -> None:
        from graftwork.common.prediction.image_list import list_files

        for name in ("list.csv", "list.txt"):
            list_files(here / name, (".jpeg",), root="/")

    cache = folder / "cache"
    cache.mkdir()
    os.environ["GRAFTWORK_CACHE"] = str(cache)
    verbs.check("chest_xray/kermany", data, workers=0)
    index = tuple(str(each.relative_to(cache)) for each in cache.rglob("*") if each.is_file())

    def check(here: Path) -> str:
        os.environ["GRAFTWORK_CACHE"] = str(here)
        found = verbs.check("chest_xray/kermany", data, workers=0).to_json()
        return json.dumps({key: value for key, value in found.items() if key != "remembered"})

    return {
        "resume": Kind(stopped, begun, resume, 6, True),
        "report": Kind(whole, (*begun, *done), report, 6, True),
        "list of files": Kind(listed, ("list.csv", "list.txt"), predict, 12),
        "cache of check": Kind(cache, index, check, 4, True),
    }


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Kind]]:
    before = {name: os.environ.get(name) for name in ("GRAFTWORK_WEIGHTS", "GRAFTWORK_CACHE")}
    base = tmp_path_factory.mktemp("kinds")
    os.environ["GRAFTWORK_CACHE"] = str(base / "first cache")
    data = synthetic_data(base / "set", cases=16)
    found: dict[str, Kind] = {}
    for make in (of_tables, of_boxes, of_datasets, of_package, of_weights):
        (base / make.__name__).mkdir()
        found |= make(base / make.__name__)
    for further in (of_recipes, of_runs):
        (base / further.__name__).mkdir()
        found |= further(base / further.__name__, data)
    yield found
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@pytest.fixture
def bounded() -> Iterator[None]:
    """An alarm for each case; one that hangs fails the test."""

    def over(*_: object) -> None:
        raise KeyboardInterrupt("it hangs")

    before = signal.signal(signal.SIGALRM, over)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


NAMES = (
    *(f"evaluate {ending}" for ending in ("csv", "xlsx", "parquet", "csv.gz")),
    *("compare", "calibrate", "calibration", "about of a table", "truth, features", "readers", "boxes"),
    *(
        "MegaDetector",
        "camera_trap/coco_camera_traps",
        "camera_trap/own",
        "brain_mri/lgg",
        "brain_mri/hippocampus_msd",
    ),
    *("dermoscopy/ham10000", "package", "own table", "weights", "card of weights", "weights without a card"),
    *("packed weights", "recipe", "split", "resume", "report", "list of files", "cache of check"),
)


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_ends_in_a_result_or_an_error_of_the_user(
    name: str, kinds: dict[str, Kind], bounded: None, tmp_path: Path
) -> None:
    kind = kinds[name]

    def tried(where: str) -> tuple[Any, GraftworkError | None]:
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            return kind.work(tmp_path / "copy"), None
        except GraftworkError as error:
            assert str(error).strip(), where
            assert len(str(error)) < 100_000, where
            return None, error
        except BaseException as error:
            if (known := as_user_error(error)) is not None:
                return None, known
            raise AssertionError(f"{where}: {type(error).__name__}: {error}") from error
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def fresh() -> None:
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(kind.folder, tmp_path / "copy")

    fresh()
    right, error = tried(f"{name}, undamaged")
    assert error is None, f"{name}, undamaged: {error}"
    draw = random.Random(f"{SEED} {name}")
    refused = 0
    for number in range(CASES or kind.usual):
        file = kind.names[number % len(kind.names)]
        fresh()
        place = tmp_path / "copy" / file
        how, content = damaged(place.read_bytes(), draw)
        place.write_bytes(content)
        where = f"{name}, case {number}: {file} {how} {content[:80]!r}"
        result, error = tried(where)
        refused += error is not None
        assert not kind.protected or error is not None or result == right, where
    assert refused or kind.usual < 8 or name in ("about of a table", "cache of check")


def test_each_kind_of_file_has_its_cases(kinds: dict[str, Kind]) -> None:
    assert set(NAMES) == set(kinds)
