"""Your own camera-trap images: a table with a column map, or a Camtrap DP package.

A file `columns.toml` beside the table says which column is the path, the label and the location. Without one the usual
names are looked for, and the notes say what was taken for what. See the data card.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from graftwork.common.data.domain import Dataset
from graftwork.common.data.manifest import Manifest
from graftwork.common.data.synthetic import NOTE, is_synthetic
from graftwork.common.data.targets import Target
from graftwork.common.memory import collecting_later
from graftwork.domains.camera_trap.columns import COLUMNS
from graftwork.domains.camera_trap.labelling import manifest_of
from graftwork.domains.camera_trap.own_tables import own_frames

DATASET = Dataset(
    name="camera_trap/own",
    title="Your own camera-trap images, with a table or as Camtrap DP",
    group="location",
    target=Target("species", "multi-class", ()),
    protocol="species",
    licence="your own",
    citation=(
        "Your own. The counts of the card are of small-mammal camera tunnels: Boehner H, Kleiven EF, Ims RA, "
        "Soininen EM. A semi-automatic workflow to process images from small mammal camera traps. Ecological "
        "Informatics 76:102150, 2023. doi:10.1016/j.ecoinf.2023.102150"
    ),
    further=("species-events", "empty", "empty-events", "count", "count-events"),
)


def read(root: str | os.PathLike[str]) -> Manifest:
    """The manifest of the dataset in `root`. It reads the table and file names, but no pixels.

    Args:
        root: a folder with a `columns.toml`; or a Camtrap DP package; or a folder with one table with the usual column
            names, or with an export of Wildlife Insights; or a file `columns.toml`, which may then name a table outside
            its folder. Images may be missing, even all of them (a note counts them).

    Returns:
        Groups are the values of the location column. Unit `event`: the sequence, or built from gaps in time. Targets
        `species`, `empty`, `count`. Covariates `event`, `datetime`, `frame_number`, `species_set` and, if a column
        names the source of labels, `label_source`.

    Raises:
        DatasetError: no table is found.
        TableError: the table is invalid; lists all errors.
    """
    with collecting_later():
        return _read(Path(root))


def _read(place: Path) -> Manifest:
    frames, notes, images = own_frames(place)
    folder = place if place.is_dir() else place.parent
    if is_synthetic(folder, images):
        notes.insert(0, NOTE)
    base = os.fspath(images)
    missing = sum(not os.path.isfile(os.path.join(base, frame.path)) for frame in frames)  # noqa: PTH113, PTH118 (quick)
    if missing == len(frames):
        notes.append("no image of the table is there: the table alone was read")
    elif missing:
        notes.append(f"{missing} of the {len(frames)} images of the table are missing")
    return manifest_of(frames, images, DATASET, notes)


def synthesize(folder: str | os.PathLike[str], *, cases: int = 60, seed: int = 0) -> None:
    """Write a small synthetic dataset with a table and a `columns.toml`.

    Drawn frames of fifteen or more locations, by day and by night: four animals that differ in shape, empty frames,
    bursts, up to three animals at once. The table is as a spreadsheet writes it: a byte order mark, semicolons,
    backslashes in the paths; no sequence ids, so that events are built from the times; a third of the labels are
    called a model's. What is written depends on `cases` and `seed` alone.

    Args:
        folder: the output folder; it must be new, empty, or hold the same synthetic dataset.
        cases: how many images, at least 24.
        seed: another seed, other places and animals.

    Raises:
        DatasetError: too few cases, or a folder that holds something else.
    """
    from graftwork.common.data.synthetic import begin
    from graftwork.domains.camera_trap.drawings import LEAST, draw, plan

    root = begin(folder, cases=cases, seed=seed, least=LEAST)
    rows = ["File;Station;Taken;Species;Animals;Labelled by"]
    for serial, planned in enumerate(plan(DATASET.name, cases, seed)):
        # a table has one label an image, so there is one species in it
        shot = replace(planned, animals=tuple(each for each in planned.animals if each == planned.animals[0]))
        image, _ = draw(DATASET.name, seed, shot)
        file = root / "images" / f"station {shot.location}" / f"IMG_{serial:04d}.JPG"
        file.parent.mkdir(parents=True, exist_ok=True)
        image.save(file, format="JPEG", quality=88)
        label = shot.animals[0] if shot.animals else "nothing"
        source = "model" if serial % 3 == 0 else "person"
        count = str(len(shot.animals)) if shot.animals else ""
        name = f"station {shot.location}\\{file.name}"
        rows.append(f"{name};{shot.location};{shot.time:%Y-%m-%d %H:%M:%S};{label};{count};{source}")
    (root / "labels.csv").write_bytes(("\ufeff" + "\r\n".join(rows) + "\r\n").encode())
    said = (
        '# SYNTHETIC\ntable = "labels.csv"\nimages = "images"\npath = "File"\nlabel = "Species"\n'
        'group = "Station"\ntime = "Taken"\ncount = "Animals"\nsource = "Labelled by"\nweak = ["model"]\n'
        'empty = ["nothing"]\n'
    )
    (root / COLUMNS).write_text(said, encoding="utf-8")
